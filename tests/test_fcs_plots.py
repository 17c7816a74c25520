"""Histograms and densities: counted as numpy counts, on axes that the values suggest, whatever the values."""

import io
import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import httpx2
import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.errors import Invalid
from app.fcs import events, plots, service
from app.fcs.layout import Description, Scale
from app.fcs.parser import VERSION, parse
from app.fcs.plots import BinnedAxis, Density, Histogram
from app.fcs.scales import Axis
from app.fcs.structs import ContentRow, DensityAsked, HistogramAsked
from app.fcs.svg import density_svg, histogram_svg
from tests.accounts import Person
from tests.fcs_writer import Value, fcs
from tests.house import House
from tests.office import API, made
from tests.support import refusal
from tests.test_fcs_parser import SAMPLE
from tests.test_fcs_svg import sound

SCALES: list[Scale] = ["linear", "log", "asinh"]
NAN, INF = math.nan, math.inf
ODD: dict[str, list[Value]] = {
    "no events": [],
    "one value": [42.0],
    "one zero": [0.0],
    "all equal": [7.5] * 300,
    "all zero": [0.0] * 300,
    "only negatives": [-1.0 * n for n in range(1, 400)],
    "no number": [NAN] * 20,
    "hardly a number": [NAN, INF, -INF, 3.0],
    "only infinities": [INF, -INF],
    "huge": [1e308, -1e308, 1.7e308, -1.7e308],
    "all huge and equal": [1.7e308] * 9,
    "subnormal": [5e-324, -5e-324, 1e-310, 2e-320],
    "subnormal and alike": [3e-315, 6e-315, 4e-315],
    "the least": [5e-324] * 3,
    "all sizes": [10.0**n for n in range(-320, 309, 2)],
    "both ways": [sign * 10.0**n for n in range(-300, 301, 7) for sign in (1, -1)],
    "neighbours": [1.0, math.nextafter(1.0, 2)],
    "far neighbours": [1e300, math.nextafter(1e300, INF)],
    "minus zero": [-0.0, 0.0],
}
INTEGERS: dict[str, tuple[int, list[Value]]] = {
    "a range of 1024": (16, [n * n % 1024 for n in range(2000)]),
    "one byte": (8, [0, 255, 128, 7]),
    "three bytes": (24, [0, 2**24 - 1, 77]),
    "four bytes": (32, [0, 2**32 - 1, 2**31]),
    "eight bytes": (64, [0, 2**64 - 1, 2**53 + 1]),
    "eight bytes, alike": (64, [2**63, 2**63 + 1, 2**63 + 2]),
}

# Numbers that are counted


def described(content: bytes) -> tuple[io.BytesIO, Description]:
    file = io.BytesIO(content)
    return file, parse(file).description


def content_of(of: Description) -> ContentRow:
    return ContentRow(1, "0" * 64, VERSION, of, "pending", None, None, None)


def histogram(content: bytes, scale: Scale | None = None, bins: int = 16, x: str = "1", **more: object) -> Histogram:
    """The histogram that is asked for, after a look at its picture; `more` are min, max, cofactor."""
    file, of = described(content)
    query = msgspec.convert({"x": x, "scale": scale, "bins": bins, **more}, HistogramAsked)
    wanted = service.histogram(content_of(of), query)
    found = plots.histogram(file, of.layout, of.parameters, wanted.x, wanted.bins)
    sound(histogram_svg(found))
    return found


def density(
    content: bytes, across: Scale | None = None, up: Scale | None = None, bins: int = 8, **more: object
) -> Density:
    """The density of the first two parameters, after a look at its picture."""
    file, of = described(content)
    query = {"x": "1", "y": "2", "x_scale": across, "y_scale": up, "bins": bins, **more}
    wanted = service.density(content_of(of), msgspec.convert(query, DensityAsked))
    found = plots.density(file, of.layout, of.parameters, wanted.x, wanted.y, wanted.bins)
    sound(density_svg(found))
    return found


def doubles(*columns: Sequence[Value]) -> bytes:
    return fcs(columns, datatype="D")


def even(axis: BinnedAxis) -> None:
    """The bins are equally wide on their scale."""
    assert all(one < other for one, other in pairwise(axis.edges))
    scale, bins = Axis(axis.scale, axis.edges[0], axis.edges[-1], axis.cofactor or 150.0), len(axis.edges) - 1
    assert [scale.at(edge) for edge in axis.edges] == pytest.approx([n / bins for n in range(bins + 1)], abs=1e-4)


def counted(found: Histogram, values: Sequence[Value]) -> None:
    """The counts are those of numpy on the edges that are told, and no event is lost."""
    stored = np.array(values, dtype=np.float64)
    numbers = stored[np.isfinite(stored)]
    edges = np.array(found.x.edges)
    assert found.counts == np.histogram(numbers, edges)[0].tolist()
    assert (found.below, found.above) == (int((numbers < edges[0]).sum()), int((numbers > edges[-1]).sum()))
    assert found.nan_count == len(stored) - len(numbers)
    assert found.total_events == len(stored)
    assert sum(found.counts) + found.below + found.above + found.nan_count == len(stored)


def counted_both(found: Density, xs: Sequence[Value], ys: Sequence[Value]) -> None:
    """The counts are those of numpy, rows along y, and no event is lost."""
    stored = np.array([xs, ys], dtype=np.float64)
    x, y = stored[:, np.isfinite(stored).all(axis=0)]
    expected = np.histogram2d(y, x, [np.array(found.y.edges), np.array(found.x.edges)])[0].astype(int)
    assert found.counts == expected.tolist()
    assert found.nan_count == len(xs) - len(x)
    assert found.outside == len(x) - int(expected.sum())
    assert found.total_events == len(xs)


ANY = st.floats() | st.sampled_from([0.0, -0.0, 5e-324, 1e-310, 1e308, -1e308, NAN, INF, -INF])
COMMON = st.floats(-1e6, 1e6, width=32) | st.just(NAN)
VALUES = st.lists(ANY, max_size=40) | st.lists(COMMON, max_size=200) | st.lists(st.sampled_from([1.0, 2.0]), max_size=9)
COFACTORS = st.sampled_from([150.0, 5.0, 1e-3, 1e9])


@given(VALUES, st.sampled_from(SCALES), st.integers(2, 64), COFACTORS)
def test_a_histogram_counts_as_numpy_does(values: list[float], scale: Scale, bins: int, cofactor: float) -> None:
    found = histogram(doubles(values), scale, bins, cofactor=cofactor)
    assert len(found.counts) == bins
    counted(found, values)


@given(st.lists(st.tuples(ANY | COMMON, ANY | COMMON), max_size=60), st.sampled_from(SCALES), st.sampled_from(SCALES))
def test_a_density_counts_as_numpy_does(pairs: list[tuple[float, float]], x: Scale, y: Scale) -> None:
    xs, ys = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    counted_both(density(doubles(xs, ys), x, y), xs, ys)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ODD)
def test_odd_values_make_a_plot(name: str, scale: Scale) -> None:
    values = ODD[name]
    for bins in (2, 256):
        found = histogram(doubles(values), scale, bins)
        counted(found, values)
        even(found.x)
    other = [*reversed(values)]
    both = density(doubles(values, other), scale, scale, 16)
    counted_both(both, values, other)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", INTEGERS)
def test_integers_make_a_plot(name: str, scale: Scale) -> None:
    bits, values = INTEGERS[name]
    found = histogram(fcs([values], datatype="I", bits=bits, ranges=2**bits), scale)
    edges = found.x.edges
    places = [min(bisect_right(edges, value), 16) if value <= edges[-1] else 17 for value in values]
    expected = [places.count(place) for place in range(18)]  # exactly, as numpy's floats could not
    assert [found.below, *found.counts, found.above] == expected
    assert found.nan_count == 0
    even(found.x)


@pytest.mark.parametrize(("datatype", "bits"), [("F", 32), ("D", 64), ("A", "*"), ("A", 8), ("I", 16)])
def test_every_kind_of_file_is_counted_alike(datatype: str, bits: int | str) -> None:
    values = [n * 37 % 500 for n in range(700)]
    found = histogram(fcs([values], datatype=datatype, bits=bits, ranges=1024), "linear", min=0, max=500)
    counted(found, values)


@pytest.mark.parametrize("bins", [2, 16, 1024])
def test_values_on_edges_are_counted_in_the_bin_that_begins_there_and_the_last_one_within(bins: int) -> None:
    values = [float(n) for n in range(bins + 1)]
    found = histogram(doubles(values), "linear", bins, min=0, max=bins)
    assert found.counts == [1] * (bins - 1) + [2]
    assert (found.below, found.above) == (0, 0)
    below_above = histogram(doubles([math.nextafter(0, -1), math.nextafter(bins, INF)]), "linear", min=0, max=bins)
    assert (below_above.below, below_above.above, sum(below_above.counts)) == (1, 1, 0)


def test_what_is_not_above_zero_is_below_a_logarithmic_axis() -> None:
    values = [-5.0, 0.0, -0.0, NAN, 1.0, 10.0, 100.0]
    found = histogram(doubles(values), "log")
    assert (found.below, found.nan_count, sum(found.counts)) == (3, 1, 3)
    assert found.x.edges[0] > 0
    both = density(doubles(values, values), "log", "linear")
    assert (both.outside, both.nan_count, sum(map(sum, both.counts))) == (3, 1, 3)


def test_rows_of_a_density_lie_along_y_and_both_go_upwards() -> None:
    found = density(
        doubles([1.0, 9.0, 9.0], [1.0, 1.0, 9.0]), "linear", "linear", 2, x_min=0, x_max=10, y_min=0, y_max=10
    )
    assert found.counts == [[1, 1], [0, 1]]


def test_a_parameter_against_itself_is_a_diagonal() -> None:
    found = density(doubles([1.0, 6.0, 9.0]), "linear", "linear", 2, y="1", x_min=0, x_max=10, y_min=0, y_max=10)
    assert found.counts == [[1, 0], [0, 2]]


def test_an_event_without_one_of_the_numbers_has_no_place() -> None:
    found = density(doubles([1.0, NAN, 1.0, NAN, INF], [1.0, 1.0, NAN, NAN, 1.0]), "linear", "linear")
    assert (found.nan_count, sum(map(sum, found.counts))) == (4, 1)


# Limits that somebody asks for

LIMITS = st.floats(-1e300, 1e300, allow_subnormal=False) | st.sampled_from([0.0, 1.0, -1.0, 1e-300, 1e300, -1e300])


@given(VALUES, st.sampled_from(SCALES), st.none() | LIMITS, st.none() | LIMITS, COFACTORS)
@example([1.0, 2.0], "log", None, 1e-300, 150.0)
@example([1.0, 2.0], "asinh", 1e300, None, 1e-3)
@example([1.0, 2.0], "linear", None, -1e17, 150.0)
@example([1.0, 2.0], "asinh", None, -1e17, 150.0)
def test_any_limits_are_kept_or_refused(
    values: list[float], scale: Scale, low: float | None, high: float | None, cofactor: float
) -> None:
    limits = {name: value for name, value in (("min", low), ("max", high)) if value is not None}
    try:
        found = histogram(doubles(values), scale, 7, cofactor=cofactor, **limits)
    except Invalid:
        too_small = scale == "log" and min(limits.values()) < 1e-290
        assert too_small or high - low <= max(1e-6 * max(abs(low), abs(high)), 1e-290)
        return
    assert low is None or found.x.edges[0] == low
    assert high is None or found.x.edges[-1] == high
    counted(found, values)


LEAST = [("linear", 0.0, 5e-324), ("linear", -5e-324, 5e-324), ("linear", 0.0, 1e-322), ("linear", None, 5e-324)]
LEAST += [("log", None, 5e-324), ("log", 5e-324, 1e-323), ("log", 5e-324, None), ("asinh", 0.0, 1e-320)]


@pytest.mark.parametrize(("scale", "low", "high"), LEAST)
def test_limits_of_the_smallest_numbers_are_kept_or_refused(
    scale: Scale, low: float | None, high: float | None
) -> None:
    limits = {name: value for name, value in (("min", low), ("max", high)) if value is not None}
    values = [0.0, 1.0, 5e-324]
    try:
        found = histogram(doubles(values), scale, cofactor=1e9, **limits)
    except Invalid:
        return
    counted(found, values)


# Axes that nobody has asked for


@pytest.mark.parametrize("scale", SCALES)
def test_an_axis_shows_nearly_all_of_what_there_is(scale: Scale) -> None:
    """A few outliers do not make it useless."""
    values = [float(100 + n % 900) for n in range(20_000)]
    values[::4000] = [1e12, -1e12, 1e15, 1e9, -1e9]
    found = histogram(doubles(values), scale)
    assert found.x.edges[-1] < 10_000
    assert found.below + found.above < 0.02 * len(values)
    assert sum(count > 0 for count in found.counts) >= 4


def test_an_axis_of_intensities_begins_at_zero_and_ends_with_the_range_where_values_come_near_it() -> None:
    values = [float(n) for n in range(0, 200_000, 10)]
    assert histogram(fcs([values], datatype="D", ranges=262_144)).x.edges[::16] == [0, 262_144]
    assert histogram(fcs([[1.0, 2.0, 500.0]], datatype="D", ranges=262_144)).x.edges[-1] < 1000


def test_negative_values_are_shown_on_asinh() -> None:
    values = [float(n) for n in range(-500, 1500)] * 10
    found = histogram(doubles(values), "asinh")
    assert found.x.edges[0] < -400
    assert found.below + found.above <= len(values) / 400


def test_an_axis_of_time_shows_all_of_it_in_steps() -> None:
    values = [float(n) for n in range(30_000)]
    found = histogram(fcs([values], names=["Time"], keywords={"$TIMESTEP": "0.01"}), x="Time")
    assert (found.x.timestep_s, found.below, found.above) == (0.01, 0, 0)


# Over HTTP

HISTOGRAM, DENSITY = f"{API}/fcs/histogram", f"{API}/fcs/density"
NAMES = ["FSC-A", "FL1-A", "Time"]
CONTENT = fcs(
    [
        [float(n * 13 % 1000) for n in range(300)],
        [float(n * n % 70_000 - 300) for n in range(300)],
        [*map(float, range(300))],
    ],
    names=NAMES,
    keywords={"P1DISPLAY": "LIN", "P2DISPLAY": "LOG", "$P2S": 'CD4 <FITC> & "more"', "$TIMESTEP": "0.01"},
)


@pytest.fixture(scope="module")
def anna(house: House) -> Person:
    """Somebody with one file."""
    person = house.person()
    made(house.client.put(f"{API}/fcs/content?name=a.fcs", content=CONTENT, headers=person.headers))
    return person


def get(
    house: House, who: Person, path: str, headers: dict[str, str] | None = None, **query: object
) -> httpx2.Response:
    return house.client.get(path, params={**query}, headers=who.headers | (headers or {}))


def shown(house: House, who: Person, path: str, **query: object) -> dict[str, Any]:
    return made(get(house, who, path, **query), 200)


def column(place: int) -> list[Value]:
    file, of = described(CONTENT)
    return [*events.rows(file, of.layout, [place], 0, 1000)[0]]


def test_a_histogram_over_http(house: House, anna: Person) -> None:
    answer = get(house, anna, HISTOGRAM, x="FSC-A", bins=8)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    found = answer.json()
    assert list(found) == ["total_events", "x", "counts", "below", "above", "nan_count"]
    assert list(found["x"]) == ["parameter", "pns", "scale", "cofactor", "edges", "timestep_s"]
    assert (found["total_events"], found["x"]["parameter"], found["x"]["scale"]) == (300, "FSC-A", "linear")
    assert (len(found["counts"]), len(found["x"]["edges"])) == (8, 9)
    expected = np.histogram(np.array(column(0)), np.array(found["x"]["edges"]))[0].tolist()
    assert found["counts"] == expected


def test_a_density_over_http(house: House, anna: Person) -> None:
    found = shown(house, anna, DENSITY, x="FSC-A", y="FL1-A", bins=4)
    assert list(found) == ["total_events", "x", "y", "counts", "outside", "nan_count"]
    edges = np.array(found["y"]["edges"]), np.array(found["x"]["edges"])
    expected = np.histogram2d(np.array(column(1)), np.array(column(0)), edges)[0].astype(int).tolist()
    assert found["counts"] == expected
    assert sum(map(sum, found["counts"])) + found["outside"] + found["nan_count"] == 300


def test_the_scale_is_as_the_file_displays_a_parameter_unless_another_is_asked_for(house: House, anna: Person) -> None:
    found = shown(house, anna, DENSITY, x="FSC-A", y="FL1-A", bins=2)
    assert (found["x"]["scale"], found["y"]["scale"]) == ("linear", "asinh")
    assert (found["x"]["cofactor"], found["y"]["cofactor"]) == (None, 150)
    found = shown(house, anna, DENSITY, x="FSC-A", y="FL1-A", bins=2, scale="log", y_scale="asinh", cofactor=5)
    assert (found["x"]["scale"], found["y"]["scale"], found["y"]["cofactor"]) == ("log", "asinh", 5)


def test_limits_are_the_outermost_edges(house: House, anna: Person) -> None:
    found = shown(house, anna, HISTOGRAM, x="fl1-a", scale="linear", min=-10.5, max=1e4, bins=3)
    assert (found["x"]["edges"][0], found["x"]["edges"][-1]) == (-10.5, 10_000)
    assert found["below"] == sum(value < -10.5 for value in column(1))
    both = shown(house, anna, DENSITY, x="1", y="2", x_min=1, x_max=2, y_min=3, y_max=4, scale="log", bins=2)
    assert [both[axis]["edges"][place] for axis in "xy" for place in (0, -1)] == [1, 2, 3, 4]


def test_256_bins_are_counted_and_of_a_density_128_unless_asked_for_otherwise(house: House, anna: Person) -> None:
    assert len(shown(house, anna, HISTOGRAM, x="FSC-A")["counts"]) == 256
    found = shown(house, anna, DENSITY, x="FSC-A", y="FL1-A")["counts"]
    assert (len(found), len(found[0])) == (128, 128)


REFUSED: list[tuple[str, dict[str, object], str]] = [
    (HISTOGRAM, {}, "x"),
    (HISTOGRAM, {"x": ""}, "x"),
    (HISTOGRAM, {"x": "FL9"}, "x"),
    (HISTOGRAM, {"x": "0"}, "x"),
    (HISTOGRAM, {"x": "4"}, "x"),
    (HISTOGRAM, {"x": "1", "bins": 1}, "bins"),
    (HISTOGRAM, {"x": "1", "bins": 1025}, "bins"),
    (HISTOGRAM, {"x": "1", "bins": 2.5}, "bins"),
    (HISTOGRAM, {"x": "1", "scale": "biex"}, "scale"),
    (HISTOGRAM, {"x": "1", "min": "nan"}, "min"),
    (HISTOGRAM, {"x": "1", "max": "inf"}, "max"),
    (HISTOGRAM, {"x": "1", "max": 1.1e300}, "max"),
    (HISTOGRAM, {"x": "1", "min": 5, "max": 5}, "max"),
    (HISTOGRAM, {"x": "1", "min": 6, "max": 5}, "max"),
    (HISTOGRAM, {"x": "1", "min": 1e15, "max": 1e15 + 1}, "max"),
    (HISTOGRAM, {"x": "1", "min": 0, "max": 0}, "max"),
    (HISTOGRAM, {"x": "1", "scale": "log", "min": 0}, "min"),
    (HISTOGRAM, {"x": "1", "scale": "log", "max": -1}, "max"),
    (HISTOGRAM, {"x": "1", "cofactor": 0}, "cofactor"),
    (HISTOGRAM, {"x": "1", "cofactor": 1e10}, "cofactor"),
    (HISTOGRAM, {"x": "1", "cofactor": "nan"}, "cofactor"),
    (HISTOGRAM, {"x": "1", "format": "png"}, "format"),
    (HISTOGRAM, {"x": "1", "y": "2"}, "y"),
    (DENSITY, {"x": "1"}, "y"),
    (DENSITY, {"x": "1", "y": "FL9"}, "y"),
    (DENSITY, {"x": "1", "y": "2", "bins": 257}, "bins"),
    (DENSITY, {"x": "1", "y": "2", "x_min": 3, "x_max": 2}, "x_max"),
    (DENSITY, {"x": "1", "y": "2", "y_min": 3, "y_max": 2}, "y_max"),
    (DENSITY, {"x": "1", "y": "2", "y_scale": "log", "y_min": -3}, "y_min"),
    (DENSITY, {"x": "1", "y": "2", "scale": "log", "x_max": 0}, "x_max"),
    (DENSITY, {"x": "1", "y": "2", "min": 0}, "min"),
]


@pytest.mark.parametrize(("path", "query", "field"), REFUSED)
def test_what_cannot_be_shown_is_refused_by_its_field(
    house: House, anna: Person, path: str, query: dict[str, object], field: str
) -> None:
    problem = refusal(get(house, anna, path, **query), 400, "VALIDATION_ERROR")
    assert [error["field"] for error in problem["errors"]] == [field]


def test_an_unknown_parameter_is_answered_with_those_that_there_are(house: House, anna: Person) -> None:
    problem = refusal(get(house, anna, HISTOGRAM, x="FL9"), 400, "VALIDATION_ERROR")
    assert all(name in problem["errors"][0]["message"] for name in NAMES)


@pytest.mark.parametrize(
    "query",
    [
        {"scale": "log", "max": "5e-324"},
        {"scale": "linear", "min": 0, "max": "5e-324"},
        {"scale": "asinh", "cofactor": 1e9, "min": 0, "max": "1e-320"},
    ],
    ids=["log", "linear", "asinh"],
)
@pytest.mark.parametrize("format", ["json", "svg"])
def test_the_smallest_limits_are_shown_or_refused(
    house: House, anna: Person, query: dict[str, object], format: str
) -> None:
    answer = get(house, anna, HISTOGRAM, x="1", format=format, **query)
    assert answer.status_code in (200, 400), answer.text


# Pictures over HTTP


@pytest.mark.parametrize(("path", "query"), [(HISTOGRAM, {"x": "FL1-A"}), (DENSITY, {"x": "FSC-A", "y": "FL1-A"})])
def test_a_picture_is_svg_that_runs_nothing(house: House, anna: Person, path: str, query: dict[str, str]) -> None:
    answer = get(house, anna, path, format="svg", **query)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/svg+xml")
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    picture = sound(answer.text)
    assert 'CD4 <FITC> & "more" (FL1-A)' in picture.title
    assert picture.told.startswith("300 events")


def test_a_plot_that_the_caller_has_is_not_made_again(house: House, anna: Person) -> None:
    """Without a process: there is none to be had."""
    query = {"x": "FSC-A", "bins": 9}
    answer = get(house, anna, HISTOGRAM, **query)
    tag = answer.headers["etag"]
    computing = house.app.state.fcs_computing
    before, computing.command = computing.command, lambda: ["/nonexistent"]
    try:
        for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
            again = get(house, anna, HISTOGRAM, {"if-none-match": known}, **query)
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        other = get(house, anna, HISTOGRAM, {"if-none-match": tag}, x="FSC-A", bins=10)
        assert "could not be made" in refusal(other, 503, "UNAVAILABLE")["detail"]
    finally:
        computing.command = before


def test_every_plot_has_a_tag_of_its_own_and_the_same_plot_the_same(house: House, anna: Person) -> None:
    queries: list[dict[str, object]] = [
        {},
        {"bins": 8},
        {"scale": "log"},
        {"format": "svg"},
        {"min": 1},
        {"cofactor": 5},
    ]
    tags = [get(house, anna, HISTOGRAM, x="FSC-A", **query).headers["etag"] for query in queries]
    assert len(set(tags)) == len(tags)
    assert get(house, anna, HISTOGRAM, x="1", bins=8).headers["etag"] == tags[1]


def test_a_file_of_no_events_is_shown(house: House) -> None:
    person = house.person()
    made(house.client.put(f"{API}/fcs/content?name=0.fcs", content=fcs([[], []]), headers=person.headers))
    found = shown(house, person, HISTOGRAM, x="P1", bins=4)
    assert (found["total_events"], found["counts"], found["below"], found["above"]) == (0, [0] * 4, 0, 0)
    assert sound(get(house, person, DENSITY, x="P1", y="P2", format="svg").text).told == "0 events"


# The sample


@pytest.mark.skipif(not SAMPLE.exists(), reason="the sample is not there")
@pytest.mark.parametrize(("x", "y"), [("FL10-A", "SSC-A"), ("FSC-A", "SSC-A"), ("Time", "FL9-A")])
def test_the_sample_is_counted_as_numpy_does(x: str, y: str) -> None:
    with SAMPLE.open("rb") as file:
        of = parse(file).description
        content, names = content_of(of), [parameter.pnn for parameter in of.parameters]
        values = [np.array(column) for column in events.rows(file, of.layout, [*map(names.index, (x, y))], 0, 34_297)]
        both = service.density(content, DensityAsked(x=x, y=y, bins=64))
        found = plots.density(file, of.layout, of.parameters, both.x, both.y, 64)
        counted_both(found, *values)
        assert found.outside < 0.05 * 34_297
        alone = plots.histogram(file, of.layout, of.parameters, both.x, 256)
        counted(alone, values[0])
        sound(density_svg(found))
        sound(histogram_svg(alone))
