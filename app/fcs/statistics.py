"""Statistics of every parameter of a data set, exact, in bounded memory: what a process of its own computes.

Values go through the machine's sort in runs of bounded length; a quantile is found by bisection over the runs. Sums are
exact (`math.fsum`), the deviation is that of the population in float64. NaN and infinities are counted apart.
"""

import math
import struct
import tempfile
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import IO, TypeAlias

import msgspec

from app.fcs.events import Values, columns, value_bytes
from app.fcs.layout import Layout, Parameter

RUN = 65_536
HELD_BYTES = 32 * 2**20
"""So many bytes of values are held in memory; what is beyond goes through a file."""
PERCENTILES = (5, 25, 50, 75, 95)

Run: TypeAlias = "Values | memoryview"


class Statistic(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one parameter's values, as they are stored; `n` of them are numbers.

    None: there is no number, or none that float64 can hold. `above_range` counts the values beyond `$PnR`: of
    floating-point ones those greater, of integers, which are below it, those that reach it; None without a range.
    """

    parameter: str
    pns: str
    display: str
    n: int
    min: int | float | None
    max: int | float | None
    mean: float | None
    median: float | None
    std: float | None
    p5: float | None
    p25: float | None
    p75: float | None
    p95: float | None
    negative_fraction: float | None
    nan_count: int
    above_range: int | None


def statistics(file: IO[bytes], layout: Layout, parameters: Sequence[Parameter], folder: Path) -> list[Statistic]:
    """The statistics of all parameters. Files that are too large for the memory leave no trace in `folder`."""
    found = []
    for group in _groups(layout):
        runs = [_Runs(layout, place, len(group), folder) for place in group]
        for piece in columns(file, layout, group):
            for held, values in zip(runs, piece, strict=True):
                held.add(values)
        for place, held in zip(group, runs, strict=True):
            found.append(_statistic(parameters[place], held))
            held.close()
    return found


def _groups(layout: Layout) -> Iterator[list[int]]:
    """The places of the parameters, together as many as the memory holds: each group is a way through the file."""
    group: list[int] = []
    needed = 0
    for place, column in enumerate(layout.columns):
        more = layout.total_events * value_bytes(column)
        if group and needed + more > HELD_BYTES:
            yield group
            group, needed = [], 0
        group.append(place)
        needed += more
    if group:
        yield group


class _Runs:
    """The numbers among the values of one parameter, sorted in runs; in a file where there are too many."""

    def __init__(self, layout: Layout, place: int, together: int, folder: Path) -> None:
        self._gathered: Values = array("d")
        self._code = ""
        needed = layout.total_events * value_bytes(layout.columns[place])
        self._file: IO[bytes] | None = None
        if together == 1 and needed > HELD_BYTES:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by `close`
        self._lengths: list[int] = []
        self._mapped: mmap | None = None
        self._runs: list[Run] = []
        self.sums: list[float] = []
        self.n = 0
        self.nan_count = 0

    def add(self, values: Values) -> None:
        """Takes the next values."""
        self._gathered = self._gathered + values if self._gathered else values  # type: ignore[operator]  # one kind
        self._code = values.typecode
        while len(self._gathered) >= RUN:
            self._sort(self._gathered[:RUN].tolist())
            del self._gathered[:RUN]

    def _sort(self, values: list[int] | list[float]) -> None:
        if not math.isfinite(_sum(values)):
            numbers: list[float] = [value for value in values if math.isfinite(value)]
            self.nan_count += len(values) - len(numbers)
            values = numbers
        values.sort()
        self.n += len(values)
        self.sums.append(_sum(values))
        run: Values = array(self._code, values)
        if self._file is None:
            self._runs.append(run)
        else:
            self._file.write(run)
            self._lengths.append(len(run))

    def all(self) -> list[Run]:
        """The runs, none of them empty."""
        if self._gathered:
            self._sort(self._gathered.tolist())
            self._gathered = array("d")
        if self._file is not None and self._mapped is None and self.n:
            self._file.flush()
            self._mapped = mmap(self._file.fileno(), 0, access=ACCESS_READ)
            at, whole = 0, memoryview(self._mapped).cast(self._code)  # type: ignore[call-overload]  # a code of array's
            for length in self._lengths:
                self._runs.append(whole[at : at + length])
                at += length
        return [run for run in self._runs if len(run)]

    def close(self) -> None:
        """Gives memory and file back."""
        self._runs.clear()
        if self._file is not None:
            self._file.close()


def _sum(values: Sequence[int | float]) -> float:
    """The exact sum, rounded once; NaN where one is among them, or the sum is beyond float64."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        return math.nan


def _statistic(parameter: Parameter, held: _Runs) -> Statistic:
    runs, n = held.all(), held.n
    nothing = dict.fromkeys(("min", "max", "mean", "median", "std", "p5", "p25", "p75", "p95", "negative_fraction"))
    limit = parameter.range
    beside: dict[str, object] = {
        "parameter": parameter.pnn,
        "pns": parameter.pns,
        "display": parameter.display,
        "n": n,
        "nan_count": held.nan_count,
        "above_range": None if limit is None else _beyond(runs, limit, parameter.datatype == "I"),
    }
    if not runs:
        return msgspec.convert(nothing | beside, Statistic)
    mean = _sum(held.sums) / n
    percentiles = [_number(_percentile(runs, n, percent)) for percent in PERCENTILES]
    p5, p25, median, p75, p95 = percentiles
    known = {
        "min": min(run[0] for run in runs),
        "max": max(run[-1] for run in runs),
        "mean": _number(mean),
        "std": _number(_deviation(runs, n, mean)),
        "negative_fraction": sum(bisect_left(run, 0) for run in runs) / n,
    }
    return msgspec.convert(known | {"p5": p5, "p25": p25, "median": median, "p75": p75, "p95": p95} | beside, Statistic)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _beyond(runs: Sequence[Run], limit: float, whole: bool) -> int:
    find = bisect_left if whole else bisect_right
    return sum(len(run) - find(run, limit) for run in runs)


def _deviation(runs: Sequence[Run], n: int, mean: float) -> float:
    """The root of the mean square of the distances from the mean; `dist` and `hypot` overflow on no way to it."""
    if not math.isfinite(mean):
        return math.nan
    return math.hypot(*(math.dist(tuple(run), (mean,) * len(run)) for run in runs)) / math.sqrt(n)


def _percentile(runs: Sequence[Run], n: int, percent: float) -> float:
    """The value below which so many percent lie, between two values in proportion, as numpy's default."""
    whole, part = divmod((n - 1) * percent, 100)
    rank, part = int(whole), part / 100
    low = _ranked(runs, rank)
    if not part:
        return float(low)
    high = _ranked(runs, rank + 1)
    return low * (1 - part) + high * part if low != high else float(low)


def _ranked(runs: Sequence[Run], rank: int) -> int | float:
    """The value of this rank, from 0, among all runs: found by halving what lies between the least and the greatest."""
    if len(runs) == 1:
        return runs[0][rank]
    least, most = min(run[0] for run in runs), max(run[-1] for run in runs)
    number: Callable[[int], int | float] = _float if isinstance(least, float) else int
    low, high = (_ordinal(end) if isinstance(end, float) else end for end in (least, most))
    while low < high:
        middle = (low + high) // 2
        value = number(middle)
        if sum(bisect_right(run, value) for run in runs) > rank:
            high = middle
        else:
            low = middle + 1
    return number(low) + 0.0 if isinstance(least, float) else low  # -0.0 is 0


def _ordinal(value: float) -> int:
    """Where a number stands in the order of all floats."""
    (bits,) = struct.unpack("<q", struct.pack("<d", value))
    return int(bits) if bits >= 0 else -(bits & 0x7FFF_FFFF_FFFF_FFFF)


def _float(ordinal: int) -> float:
    """The number that stands there."""
    (value,) = struct.unpack("<d", struct.pack("<q", abs(ordinal)))
    return math.copysign(value, ordinal)
