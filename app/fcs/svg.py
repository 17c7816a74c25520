"""Histograms and densities as pictures: SVG 1.1, without scripts, styles or anything from elsewhere."""

import math
from collections.abc import Iterator, Sequence
from unicodedata import east_asian_width
from xml.sax.saxutils import escape

from app.fcs.plots import BinnedAxis, Density, Histogram
from app.fcs.scales import Axis, Tick

WIDTH, HEIGHT = 520, 460
_LEFT, _TOP, _RIGHT, _BOTTOM = 84, 34, 18, 66
_ACROSS, _UP = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
_FOOT = _TOP + _UP
_TITLE_PX = 13
_STOPS = ((43, 45, 138), (36, 110, 200), (20, 175, 195), (70, 190, 90), (200, 215, 50), (250, 175, 30), (225, 40, 30))
"""From few events to many: what cytometrists know as pseudocolour."""
_LEVELS = 24


def histogram_svg(found: Histogram) -> str:
    """The histogram as a filled outline over its axis."""
    most = max(found.counts, default=0) or 1
    upwards = Axis("linear", 0.0, most * 1.05)
    outline = [f"M{_LEFT} {_FOOT}"]
    for number, count in enumerate(found.counts):
        left, right = (_LEFT + _ACROSS * (number + more) / len(found.counts) for more in (0, 1))
        height = _FOOT - _UP * upwards.at(count)
        outline.append(f"L{left:.2f} {height:.2f}L{right:.2f} {height:.2f}")
    outline.append(f"L{_LEFT + _ACROSS} {_FOOT}Z")
    shape = f'<path d="{"".join(outline)}" fill="#9db8dc" stroke="#27508f" stroke-width="1"/>'
    ticks = [tick for tick in upwards.ticks() if tick.value.is_integer()]
    axes = [*_x_axis(found.x), *_y_ticks(upwards, ticks), _y_title("Events per bin")]
    outside = found.below + found.above
    return _picture(f"Histogram of {_named(found.x)}", [shape, *axes], found.total_events, outside, found.nan_count)


def density_svg(found: Density) -> str:
    """The density in colours, by the logarithm of how many events lie in a bin."""
    bins = len(found.counts)
    steps = math.log(max(map(max, found.counts), default=1) or 1) or 1.0
    paths: dict[int, list[str]] = {}
    for row, counts in enumerate(found.counts):
        levels = [min(_LEVELS - 1, int(_LEVELS * math.log(count) / steps)) if count else None for count in counts]
        for level, begin, length in _runs(levels):
            paths.setdefault(level, []).append(f"M{begin} {bins - 1 - row}h{length}v1h-{length}z")
    cells = [f'<path fill="{_colour(level)}" d="{"".join(paths[level])}"/>' for level in sorted(paths)]
    scaled = f"translate({_LEFT} {_TOP}) scale({_ACROSS / bins:.6f} {_UP / bins:.6f})"
    shape = f'<g transform="{scaled}" shape-rendering="crispEdges">{"".join(cells)}</g>'
    axes = [*_x_axis(found.x), *_y_ticks(found.y.axis(), _ticks(found.y)), _y_title(_title(found.y, _UP))]
    name = f"Density of {_named(found.x)} and {_named(found.y)}"
    return _picture(name, [shape, *axes], found.total_events, found.outside, found.nan_count)


def _runs(levels: Sequence[int | None]) -> Iterator[tuple[int, int, int]]:
    """Level, beginning and length of what lies side by side and has one level."""
    begin = 0
    for at in range(1, len(levels) + 1):
        if at == len(levels) or levels[at] != levels[begin]:
            level = levels[begin]
            if level is not None:
                yield level, begin, at - begin
            begin = at


def _colour(level: int) -> str:
    place = level / (_LEVELS - 1) * (len(_STOPS) - 1)
    low = min(int(place), len(_STOPS) - 2)
    mixed = (round(a + (b - a) * (place - low)) for a, b in zip(_STOPS[low], _STOPS[low + 1], strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def _picture(name: str, parts: Sequence[str], total: int, outside: int, missing: int) -> str:
    told = [f"{total:,} event{'' if total == 1 else 's'}"]
    if outside:
        told.append(f"{_percent(outside, total)} off scale")
    if missing:
        told.append(f"{missing:,} without a number")
    frame = f'<rect x="{_LEFT}" y="{_TOP}" width="{_ACROSS}" height="{_UP}" fill="none" stroke="#222"/>'
    return "".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"',
            f' role="img" font-family="Helvetica, Arial, sans-serif" font-size="12"><title>{escape(name)}</title>',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
            *parts,
            frame,
            f'<text x="{_LEFT}" y="{_TOP - 12}" fill="#222">{", ".join(told)}</text></svg>\n',
        ]
    )


def _percent(part: int, whole: int) -> str:
    percent = 100 * part / whole
    return f"{percent:.1f} %" if percent >= 0.1 else "under 0.1 %"


def _named(axis: BinnedAxis) -> str:
    """Stain and detector."""
    return axis.pns if axis.pns == axis.parameter else f"{axis.pns} ({axis.parameter})"


def _title(axis: BinnedAxis, room: float) -> str:
    """What an axis tells: stain, detector, and the unit; intensities have none but their own.

    In `room` pixels: a long stain is cut, and the detector only when that does not do.
    """
    unit = ", s" if axis.timestep_s else ", a.u."
    ending = "" if axis.pns == axis.parameter else f" ({axis.parameter})"
    name = _cut(axis.pns, room - _width(ending + unit))
    return _cut(name + ending, room - _width(unit)) + unit


def _cut(text: str, room: float) -> str:
    if _width(text) <= room:
        return text
    while text and _width(text) + _TITLE_PX > room:
        text = text[:-1]
    return text + "…"


def _width(text: str) -> float:
    """About how wide a title is: a sign of Chinese as its height, a capital letter three quarters of it."""
    ems = {"W": 1.0, "F": 1.0}
    wide = sum(ems.get(east_asian_width(sign), 0.75 if sign.isupper() or sign in "MWmw@%" else 0.6) for sign in text)
    return wide * _TITLE_PX


def _ticks(axis: BinnedAxis) -> list[Tick]:
    """The ticks of an axis; of time in seconds."""
    shown = axis.axis()
    if not axis.timestep_s or axis.scale != "linear":
        return shown.ticks()
    seconds = Axis("linear", shown.low * axis.timestep_s, shown.high * axis.timestep_s).ticks()
    return [Tick(tick.value / axis.timestep_s, tick.text) for tick in seconds]


def _x_axis(binned: BinnedAxis) -> Iterator[str]:
    axis = binned.axis()
    for tick in _ticks(binned):
        x = _LEFT + _ACROSS * axis.at(tick.value)
        length = 4 if tick.text is None else 7
        yield f'<path d="M{x:.2f} {_FOOT}v{length}" stroke="#222"/>'
        if tick.text is not None:
            yield f'<text x="{x:.2f}" y="{_FOOT + 21}" text-anchor="middle" fill="#222">{_label(tick)}</text>'
    middle, title = _LEFT + _ACROSS / 2, escape(_title(binned, _ACROSS))
    yield f'<text x="{middle}" y="{HEIGHT - 16}" text-anchor="middle" font-size="{_TITLE_PX}">{title}</text>'


def _y_ticks(axis: Axis, ticks: Sequence[Tick]) -> Iterator[str]:
    for tick in ticks:
        y = _FOOT - _UP * axis.at(tick.value)
        length = 4 if tick.text is None else 7
        yield f'<path d="M{_LEFT} {y:.2f}h-{length}" stroke="#222"/>'
        if tick.text is not None:
            yield f'<text x="{_LEFT - 10}" y="{y + 4:.2f}" text-anchor="end" fill="#222">{_label(tick)}</text>'


def _y_title(text: str) -> str:
    x, y = 20, _TOP + _UP / 2
    turned = f'transform="translate({x} {y}) rotate(-90)" text-anchor="middle" font-size="{_TITLE_PX}"'
    return f"<text {turned}>{escape(text)}</text>"


def _label(tick: Tick) -> str:
    if tick.power is None:
        return escape(tick.text or "")
    return f'{tick.text}10<tspan dy="-5" font-size="9">{str(tick.power).replace("-", "−")}</tspan>'
