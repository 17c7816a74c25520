"""Plots as pictures: well-formed, without anything that runs or comes from elsewhere, with axes that tell the truth."""

import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from random import Random
from typing import NamedTuple
from xml.etree import ElementTree

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.fcs.plots import BinnedAxis, Density, Histogram
from app.fcs.scales import Axis, Scale
from app.fcs.svg import HEIGHT, WIDTH, density_svg, histogram_svg

SVG = "{http://www.w3.org/2000/svg}"
LEFT, RIGHT, TOP, FOOT = 84.0, 502.0, 34.0, 394.0
"""The frame of the plot, which the picture itself tells, too."""
ELEMENTS = {"svg", "title", "rect", "g", "path", "text", "tspan"}
ATTRIBUTES = {"width", "height", "viewBox", "role", "font-family", "font-size", "x", "y", "dy", "d", "fill", "stroke"}
ATTRIBUTES |= {"stroke-width", "transform", "text-anchor", "shape-rendering"}
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
NASTY = ['<script>alert("1")</script>', "a & b", "]]>", "'\"", "&amp;", "CD4-Äß 日本 😀", "${x}", "--><!--", "%3Cb%3E"]


def axis(scale: Scale = "linear", low: float = 0.0, high: float = 1000.0, bins: int = 4, **more: object) -> BinnedAxis:
    """An axis of a plot; `more` are parameter, pns, cofactor, timestep_s."""
    known: dict[str, object] = {"parameter": "FL1-A", "pns": "CD4 FITC", "timestep_s": None}
    known |= {"cofactor": 150.0 if scale == "asinh" else None} | more
    edges = Axis(scale, low, high, float(str(known["cofactor"] or 150.0))).edges(bins)
    return BinnedAxis(scale=scale, edges=edges, **known)  # type: ignore[arg-type]


def histogram(
    counts: Sequence[int] = (1, 5, 3, 0), *, below: int = 0, above: int = 0, nan: int = 0, **of: object
) -> str:
    """The picture of a histogram; `of` is what `axis` takes."""
    total = sum(counts) + below + above + nan
    return histogram_svg(Histogram(total, axis(bins=len(counts), **of), [*counts], below, above, nan))  # type: ignore[arg-type]


def density(
    counts: Sequence[Sequence[int]], x: BinnedAxis | None = None, y: BinnedAxis | None = None, outside: int = 0
) -> str:
    """The picture of a density."""
    total, bins = sum(map(sum, counts)) + outside, len(counts)
    rows = [[*row] for row in counts]
    return density_svg(Density(total, x or axis(bins=bins), y or axis(bins=bins), rows, outside, 0))


class Label(NamedTuple):
    """A text in a picture: what it reads, where it is, which end of it is there; `raised` is its part in small."""

    text: str
    x: float
    y: float
    anchor: str
    raised: str

    @property
    def span(self) -> tuple[float, float]:
        """From where to where it reaches across, about as Helvetica of 12 pixels is wide, of 9 what is raised."""
        narrow = sum(sign in ".,il|" for sign in self.text)
        width = 6.7 * (len(self.text) - narrow) + 3.3 * narrow - 1.7 * len(self.raised)
        before = {"start": 0.0, "middle": 0.5, "end": 1.0}[self.anchor]
        return self.x - before * width, self.x + (1 - before) * width


class Picture:
    """A picture as a program that draws it reads it."""

    def __init__(self, svg: str) -> None:
        self.root = ElementTree.fromstring(svg)  # noqa: S314 - a picture of ours
        self.title = self.root.findtext(f"{SVG}title") or ""

    def paths(self, **attributes: str) -> list[str]:
        """The `d` of all paths with these attributes."""
        found = self.root.iter(f"{SVG}path")
        return [path.get("d", "") for path in found if all(path.get(name) == text for name, text in attributes.items())]

    def labels(self) -> Iterator[Label]:
        for text in self.root.iter(f"{SVG}text"):
            if text.get("transform") is None:
                place = (float(text.get(name, "nan")) for name in "xy")
                raised = "".join(span.text or "" for span in text)
                yield Label("".join(text.itertext()), *place, text.get("text-anchor", "start"), raised)

    @property
    def across(self) -> list[Label]:
        """The labels of the ticks below the frame."""
        return [label for label in self.labels() if label.y == FOOT + 21]

    @property
    def upwards(self) -> list[Label]:
        """The labels of the ticks beside the frame."""
        return [label for label in self.labels() if label.anchor == "end"]

    @property
    def x_title(self) -> str:
        [found] = [label for label in self.labels() if label.y > FOOT + 30]
        return found.text

    @property
    def y_title(self) -> str:
        [found] = [text for text in self.root.iter(f"{SVG}text") if text.get("transform")]
        return found.text or ""

    @property
    def told(self) -> str:
        """What stands above the frame."""
        [found] = [label for label in self.labels() if label.y < TOP]
        return found.text

    def ticks(self, axis: str) -> list[tuple[float, float]]:
        """Where ticks are, and how long; `axis` is v below the frame, h beside it."""
        shape = {"v": r"M(\S+) 394v(\d+)", "h": r"M84 (\S+)h-(\d+)"}[axis]
        matches = [re.fullmatch(shape, path) for path in self.paths(stroke="#222")]
        return [(float(match.group(1)), float(match.group(2))) for match in matches if match]


def sound(svg: str) -> Picture:
    """The picture, after checking that it is well-formed, draws nothing outside itself, and holds nothing that acts."""
    picture = Picture(svg)
    assert (picture.root.get("width"), picture.root.get("height")) == (str(WIDTH), str(HEIGHT))
    for element in picture.root.iter():
        assert element.tag.removeprefix(SVG) in ELEMENTS
        assert set(element.attrib) <= ATTRIBUTES
        assert "url(" not in "".join(element.attrib.values())
        for name in ("d", "x", "y", "transform", "width", "height"):
            assert not re.search("nan|inf|[eE][-+]?[0-9]", element.get(name, ""))
    for label in picture.labels():
        assert 0 <= label.x <= WIDTH
        assert 0 <= label.y <= HEIGHT
    for place, _ in picture.ticks("v"):
        assert LEFT <= place <= RIGHT
    for place, _ in picture.ticks("h"):
        assert TOP <= place <= FOOT
    return picture


# Titles and texts


def test_a_histogram_tells_what_was_measured_and_how_often() -> None:
    picture = sound(histogram([1000, 0, 234]))
    assert "CD4 FITC (FL1-A)" in picture.title
    assert picture.x_title == "CD4 FITC (FL1-A), a.u."
    assert picture.y_title == "Events per bin"
    assert picture.told == "1,234 events"


def test_a_density_tells_both() -> None:
    picture = sound(density([[1, 2], [3, 4]], axis(bins=2), axis(bins=2, parameter="SSC-A", pns="SSC-A")))
    assert "CD4 FITC (FL1-A)" in picture.title
    assert "SSC-A" in picture.title
    assert (picture.x_title, picture.y_title) == ("CD4 FITC (FL1-A), a.u.", "SSC-A, a.u.")
    assert picture.told == "10 events"


def test_what_is_not_shown_is_told() -> None:
    told = sound(histogram([95, 0], below=1, above=2, nan=2)).told
    assert told == "100 events, 3.0 % off scale, 2 without a number"
    assert sound(histogram([9999, 0], above=1)).told == "10,000 events, under 0.1 % off scale"
    assert sound(density([[7, 0], [0, 0]], outside=1)).told == "8 events, 12.5 % off scale"
    assert sound(histogram([1, 0])).told == "1 event"
    assert sound(histogram([0, 0])).told == "0 events"


def test_time_is_told_in_seconds() -> None:
    """Steps of a hundredth: 120,000 of them are 1,200 seconds."""
    picture = sound(histogram(high=120_000.0, parameter="Time", pns="Time", timestep_s=0.01))
    assert picture.x_title == "Time, s"
    assert [label.text for label in picture.across] == ["0", "200", "400", "600", "800", "1K", "1.2K"]
    assert [label.x for label in picture.across] == pytest.approx([LEFT + 418 * n / 6 for n in range(7)], abs=0.01)


@pytest.mark.parametrize("name", NASTY)
def test_names_are_text_and_nothing_else(name: str) -> None:
    for picture in (
        sound(histogram(parameter=name, pns=name)),
        sound(density([[1]], axis(bins=1, pns=name, parameter="P"), axis(bins=1, pns="Q", parameter=name))),
    ):
        assert name in picture.title
        assert name in picture.x_title + picture.y_title


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=80), st.integers(0, 9))
def test_any_name_that_the_parser_lets_through_is_well_formed(name: str, count: int) -> None:
    assert name[:20] in sound(histogram([count], pns=name)).x_title


@pytest.mark.parametrize("length", [60, 61, 250, 1000])
def test_long_names_are_cut(length: int) -> None:
    picture = sound(density([[1]], axis(bins=1, pns="x" * length, parameter="P"), axis(bins=1)))
    assert len(picture.x_title) < 80
    assert ("…" in picture.x_title) == (length + len(" (P)") > 60)


@pytest.mark.parametrize(("letter", "width"), [("n", 7.2), ("C", 9.4), ("日", 13.0)])
def test_the_longest_titles_fit_into_the_picture(letter: str, width: float) -> None:
    """So wide are the letters of Helvetica of 13 pixels; vendors like capitals."""
    wide = axis(bins=1, pns=letter * 300, parameter="P")
    picture = sound(density([[1]], wide, wide))
    assert width * picture.x_title.count(letter) <= WIDTH
    assert width * picture.y_title.count(letter) <= HEIGHT


# Axes

SHOWN = [
    ("linear", 0.0, 262_144.0, "0 50K 100K 150K 200K 250K"),
    ("linear", -500.0, 1000.0, "−500 0 500 1K"),
    ("log", 1.0, 10_000.0, "100 101 102 103 104"),
    ("log", 0.1, 10.0, "10−1 100 101"),
    ("asinh", -1000.0, 262_144.0, "−103 0 103 104 105"),
]


@pytest.mark.parametrize(("scale", "low", "high", "expected"), SHOWN)
def test_ticks_stand_where_their_values_lie(scale: Scale, low: float, high: float, expected: str) -> None:
    shown = axis(scale, low, high)
    picture = sound(density([[1] * 4] * 4, shown, shown))
    ticks = Axis(scale, low, high).ticks()
    lengths = [4 if tick.text is None else 7 for tick in ticks]
    places = [Axis(scale, low, high).at(tick.value) for tick in ticks]
    for way, begin, size in (("v", LEFT, RIGHT - LEFT), ("h", FOOT, TOP - FOOT)):
        found = picture.ticks(way)
        assert [place for place, _ in found] == pytest.approx([begin + size * place for place in places], abs=0.006)
        assert [length for _, length in found] == lengths
    for labels in (picture.across, picture.upwards):
        assert " ".join(label.text for label in labels) == expected
    named = [place for place, length in zip(places, lengths, strict=True) if length == 7]
    assert [label.x for label in picture.across] == pytest.approx([LEFT + 418 * at for at in named], abs=0.006)
    assert [label.y - 4 for label in picture.upwards] == pytest.approx([FOOT - 360 * at for at in named], abs=0.006)


def test_powers_are_set_above_the_line_with_the_sign_of_a_negative_one() -> None:
    spans = [span.text for span in sound(histogram(scale="log", low=0.01, high=10.0)).root.iter(f"{SVG}tspan")]
    assert spans == ["−2", "−1", "0", "1"]
    assert all(span.get("dy") == "-5" for span in sound(histogram(scale="log", low=1.0)).root.iter(f"{SVG}tspan"))


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=5))
def test_counts_are_told_in_whole_numbers_at_the_height_of_the_outline(counts: list[int]) -> None:
    picture = sound(histogram(counts))
    most = max(counts) or 1
    assert len(picture.upwards) >= 2
    assert all("." not in label.text or label.text[-1] in "KMGT" for label in picture.upwards)
    [outline] = picture.paths(fill="#9db8dc")
    heights = [float(height) for height in re.findall(r"L\S+ (\S+?)(?=[LZ])", outline)][:-1]
    expected = [FOOT - 360 * count / (most * 1.05) for count in counts for _ in range(2)]
    assert heights == pytest.approx(expected, abs=0.006)


def test_the_outline_is_as_wide_as_the_frame() -> None:
    [outline] = sound(histogram([1, 2, 3, 4])).paths(fill="#9db8dc")
    across = [float(x) for x in re.findall(r"[ML](\S+) ", outline)]
    assert across == [84, 84, 188.5, 188.5, 293, 293, 397.5, 397.5, 502, 502]


@st.composite
def measured(draw: st.DrawFn) -> tuple[Scale, float, float]:
    """An axis as cytometers' values make it."""
    scale: Scale = draw(st.sampled_from(["linear", "log", "asinh"]))
    high = draw(st.floats(1, 1e9) | st.sampled_from([1.0, 1023.0, 1024.0, 262_144.0, 16_777_215.0, 2.0**32]))
    if scale == "log":
        return scale, draw(st.floats(1e-3, 0.5)) * high, high
    low = draw(
        st.sampled_from([0.0, -high, -high / 10, -high / 1000, high / 10, high / 2]) | st.floats(-high, high / 2)
    )
    return scale, low, high


@given(measured())
def test_labels_lie_side_by_side_within_the_picture(of: tuple[Scale, float, float]) -> None:
    picture = sound(density([[1] * 4] * 4, axis(*of), axis(*of)))
    spans = [label.span for label in picture.across]
    assert all(one[1] < other[0] for one, other in pairwise(spans)), [label.text for label in picture.across]
    assert 0 <= spans[0][0] < spans[-1][1] <= WIDTH, [label.text for label in picture.across]
    heights = [label.y for label in picture.upwards]
    assert all(lower - upper > 11 for lower, upper in pairwise(heights)), [label.text for label in picture.upwards]
    assert all(label.span[0] > 24 for label in picture.upwards), [label.text for label in picture.upwards]


def test_labels_of_an_axis_as_long_as_there_can_be_lie_side_by_side() -> None:
    for scale, low, cofactor in (("log", 1e-300, None), ("asinh", -1e300, 1e-3), ("linear", -1e300, None)):
        of = axis(scale, low, 1e300, cofactor=cofactor)  # type: ignore[arg-type]
        picture = sound(density([[1] * 4] * 4, of, of))
        spans = [label.span for label in picture.across]
        assert all(one[1] < other[0] for one, other in pairwise(spans)), [label.text for label in picture.across]


def test_labels_of_a_narrow_stretch_lie_side_by_side() -> None:
    of = axis("linear", 1_000_000.0, 1_000_002.0)
    picture = sound(density([[1] * 4] * 4, of, of))
    spans = [label.span for label in picture.across]
    assert all(one[1] < other[0] for one, other in pairwise(spans)), [label.text for label in picture.across]
    assert all(label.span[0] > 24 for label in picture.upwards), [label.text for label in picture.upwards]


# Densities


def cells(picture: Picture, bins: int) -> dict[tuple[int, int], str]:
    """The colour of each bin that has one, by row and column, both from below left."""
    found: dict[tuple[int, int], str] = {}
    [group] = picture.root.findall(f"{SVG}g")
    for path in group:
        for column, row, length in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\3z", path.get("d", "")):
            for place in range(int(column), int(column) + int(length)):
                at = (bins - 1 - int(row), place)
                assert at not in found
                found[at] = path.get("fill", "")
    return found


def lightness(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))


def test_bins_are_drawn_from_below_left_and_empty_ones_are_not() -> None:
    found = cells(sound(density([[5, 0, 0], [0, 0, 0], [0, 1, 100]])), 3)
    assert set(found) == {(0, 0), (2, 1), (2, 2)}
    assert len(set(found.values())) == 3


@given(
    st.integers(1, 8).flatmap(
        lambda n: st.lists(st.lists(st.integers(0, 99), min_size=n, max_size=n), min_size=n, max_size=n)
    )
)
def test_every_bin_with_events_has_a_colour_that_tells_more_from_less(counts: list[list[int]]) -> None:
    picture, bins = sound(density(counts)), len(counts)
    found = cells(picture, bins)
    full = {(row, column): counts[row][column] for row in range(bins) for column in range(bins) if counts[row][column]}
    assert set(found) == set(full)
    colours: dict[int, str] = {}
    for at, count in full.items():
        assert colours.setdefault(count, found[at]) == found[at]
    if full:
        most = max(full.values())
        assert lightness(colours[most])[0] > lightness(colours[most])[2] or most == min(full.values())


def test_the_plane_is_stretched_over_the_frame() -> None:
    [group] = sound(density([[1] * 128] * 128)).root.findall(f"{SVG}g")
    match = re.fullmatch(r"translate\(84 34\) scale\((\S+) (\S+)\)", group.get("transform", ""))
    assert match
    assert [float(part) * 128 for part in match.groups()] == pytest.approx([RIGHT - LEFT, FOOT - TOP], abs=1e-3)


@pytest.mark.parametrize(("most", "bound"), [(1, 1_000_000), (2, 1_300_000), (10**6, 1_300_000)])
def test_noise_in_256_bins_stays_a_small_picture(most: int, bound: int) -> None:
    random = Random(7)
    counts = [[random.randint(0, most) for _ in range(256)] for _ in range(256)]
    picture = density(counts)
    assert len(picture) < bound
    assert len(cells(sound(picture), 256)) == sum(map(bool, (count for row in counts for count in row)))


def test_a_histogram_of_1024_bins_stays_a_small_picture() -> None:
    random = Random(7)
    assert len(histogram([random.randint(0, 10**6) for _ in range(1024)])) < 50_000


@given(
    st.lists(st.integers(0, 2**63), min_size=1, max_size=16),
    st.sampled_from(["linear", "log", "asinh"]),
    st.floats(-1e300, 1e300, allow_subnormal=False),
    st.floats(-1e300, 1e300, allow_subnormal=False),
)
def test_any_histogram_is_a_sound_picture(counts: list[int], scale: Scale, one: float, other: float) -> None:
    low, high = sorted((abs(one), abs(other)) if scale == "log" else (one, other))
    assume(high - low > 1e-6 * max(abs(low), abs(high)))
    assume(low > 1e-290 or scale != "log")
    assume(math.isfinite(high - low) and max(abs(low), abs(high)) > 1e-290)
    sound(histogram(counts, below=3, scale=scale, low=low, high=high))
