"""Histograms of one parameter and densities of two: events counted in bins, in one way through the file."""

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from typing import IO

import msgspec

from app.fcs.events import columns, rows
from app.fcs.layout import Layout, Parameter, Scale
from app.fcs.scales import Axis
from app.fcs.tasks import AxisWish

STRIPS, STRIP = 400, 50
"""So many strips of so many events, evenly apart, tell how far an axis reaches."""
_OUTSIDE, _OUTSIDE_LINEAR = 0.001, 0.01
"""So many of the values at each end may lie beyond an axis: a linear one would show little else than outliers."""
_SPARE = 0.1
_MOST = 1e300
LEAST = 1e-290
"""No stretch is shorter, and none on a logarithmic scale begins before it: floats have too few digits there."""
NARROWEST = 1e-6
"""Nor shorter than this part of its values."""


class BinnedAxis(msgspec.Struct, frozen=True):
    """An axis as it was binned: `edges` are one more than its bins; a bin holds its lower edge, the last one both."""

    parameter: str
    pns: str
    scale: Scale
    cofactor: float | None
    edges: list[float]
    timestep_s: float | None
    """So many seconds a step of the time parameter takes; None for others."""

    def axis(self) -> Axis:
        """The axis."""
        return Axis(self.scale, self.edges[0], self.edges[-1], self.cofactor or 150.0)


class Histogram(msgspec.Struct, frozen=True):
    """How many events lie in each bin, how many beyond the axis, and how many are no number (`nan_count`)."""

    total_events: int
    x: BinnedAxis
    counts: list[int]
    below: int
    above: int
    nan_count: int


class Density(msgspec.Struct, frozen=True):
    """How many events lie in each bin of two axes: `counts[row][column]`, rows along y, columns along x, both upwards.

    `outside` lie beyond an axis; of `nan_count` a value is no number.
    """

    total_events: int
    x: BinnedAxis
    y: BinnedAxis
    counts: list[list[int]]
    outside: int
    nan_count: int


def histogram(file: IO[bytes], layout: Layout, parameters: Sequence[Parameter], wish: AxisWish, bins: int) -> Histogram:
    """The histogram of one parameter."""
    edges = _edges(file, layout, parameters, [wish], bins)[0]
    limits = _limits(edges)
    counts, missing = [0] * (bins + 2), 0
    for (values,) in columns(file, layout, [wish.place]):
        numbers = sorted(filter(math.isfinite, values))
        missing += len(values) - len(numbers)
        places = [0, *(bisect_left(numbers, limit) for limit in limits), len(numbers)]
        for number in range(bins + 2):
            counts[number] += places[number + 1] - places[number]
    binned = _binned(parameters, wish, edges)
    return Histogram(layout.total_events, binned, counts[1:-1], counts[0], counts[-1], missing)


def density(
    file: IO[bytes], layout: Layout, parameters: Sequence[Parameter], x: AxisWish, y: AxisWish, bins: int
) -> Density:
    """The density of two parameters."""
    x_edges, y_edges = _edges(file, layout, parameters, [x, y], bins)
    across, up, width = _limits(x_edges), _limits(y_edges), bins + 2
    found: Counter[int] = Counter()
    for xs, ys in columns(file, layout, [x.place, y.place]):
        found.update(
            bisect_right(up, b) * width + bisect_right(across, a)
            for a, b in zip(xs, ys, strict=True)
            if math.isfinite(a) and math.isfinite(b)
        )
    counts = [[found[row * width + column] for column in range(1, bins + 1)] for row in range(1, bins + 1)]
    numbers, inside = found.total(), sum(map(sum, counts))
    axes = _binned(parameters, x, x_edges), _binned(parameters, y, y_edges)
    return Density(layout.total_events, *axes, counts, numbers - inside, layout.total_events - numbers)


def _limits(edges: Sequence[float]) -> list[float]:
    """The edges as they are searched: a value on the last one is in the last bin."""
    return [*edges[:-1], math.nextafter(edges[-1], math.inf)]


def _binned(parameters: Sequence[Parameter], wish: AxisWish, edges: list[float]) -> BinnedAxis:
    parameter = parameters[wish.place]
    cofactor = wish.cofactor if wish.scale == "asinh" else None
    return BinnedAxis(parameter.pnn, parameter.pns, wish.scale, cofactor, edges, parameter.timestep_s)


def _edges(
    file: IO[bytes], layout: Layout, parameters: Sequence[Parameter], wishes: Sequence[AxisWish], bins: int
) -> list[list[float]]:
    """The edges of the bins of each axis, which reach as far as a sample of the events suggests."""
    samples = _sample(file, layout, [wish.place for wish in wishes])
    return [
        _axis(wish, parameters[wish.place], sample).edges(bins) for wish, sample in zip(wishes, samples, strict=True)
    ]


def _sample(file: IO[bytes], layout: Layout, places: Sequence[int]) -> list[list[float]]:
    """The values of some events, as columns: strips of them, evenly apart; of a small file all."""
    step = layout.total_events // STRIPS
    if step <= STRIP or not layout.record_bytes:
        pieces = columns(file, layout, places)
    else:
        pieces = (rows(file, layout, places, offset, STRIP) for offset in range(0, layout.total_events, step))
    found: list[list[float]] = [[] for _ in places]
    for piece in pieces:
        for gathered, values in zip(found, piece, strict=True):
            gathered += values
    return found


def _axis(wish: AxisWish, parameter: Parameter, sample: Sequence[float]) -> Axis:
    """What shows all but the outermost values of a sample; the whole range where they come near it."""
    values = sorted(value for value in sample if math.isfinite(value) and (value >= LEAST or wish.scale != "log"))
    if not values:
        values = [1.0, 10.0]
    linear = wish.scale == "linear"
    outside = 0 if parameter.timestep_s else int(len(values) * (_OUTSIDE_LINEAR if linear else _OUTSIDE))
    low, high = values[outside], values[-1 - outside]
    if linear:
        spare = (high - low) * _SPARE
        low, high = 0.0 if 0 <= low < high / 4 else low - spare, high + spare
    limit = parameter.range
    if limit is not None and limit / (3 if linear else 8) <= high <= limit:
        high = float(limit)
    low, high = (max(-_MOST, min(value, _MOST)) for value in (low, high))
    low = low if wish.low is None else wish.low
    high = high if wish.high is None else wish.high
    return Axis(wish.scale, *_apart(low, high, wish), wish.cofactor)


def _apart(low: float, high: float, wish: AxisWish) -> tuple[float, float]:
    """The two, the second one greater by so much that bins have a width; what was asked for stays."""
    if high - low >= max(max(abs(low), abs(high)) * NARROWEST, LEAST):
        return low, high
    if wish.scale == "log":
        kept_low, kept_high = (low, low * 10), (high / 10, high)
        middle = (low / 3, low * 3)
    else:
        half = max(abs(low) / 4, 0.5)
        kept_low, kept_high = (low, low + 2 * half), (high - max(abs(high) / 2, 1.0), high)
        middle = (low - half, low + half)
    if wish.low is not None:
        return kept_low
    return middle if wish.high is None else kept_high
