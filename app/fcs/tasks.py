"""What the process that computes is told, and tells: one line of JSON in, the answer out."""

import msgspec

from app.fcs.layout import Layout, Parameter, Scale

OUT_OF_MEMORY = 4
"""The exit code of the process when the memory that it may use did not do."""


class AxisWish(msgspec.Struct, frozen=True):
    """The parameter of an axis, by its place from 0, and what of it was asked for; None: as the values suggest."""

    place: int
    scale: Scale
    low: float | None = None
    high: float | None = None
    cofactor: float = 150.0


class StatisticsWish(msgspec.Struct, frozen=True, tag="statistics"):
    """The statistics of every parameter. What the memory does not hold is put into a nameless file in `folder`."""

    folder: str


class HistogramWish(msgspec.Struct, frozen=True, tag="histogram"):
    """The histogram of a parameter."""

    x: AxisWish
    bins: int
    as_svg: bool


class DensityWish(msgspec.Struct, frozen=True, tag="density"):
    """The density of two parameters."""

    x: AxisWish
    y: AxisWish
    bins: int
    as_svg: bool


Wish = StatisticsWish | HistogramWish | DensityWish


class Task(msgspec.Struct, frozen=True):
    """What is to be computed, of which file."""

    path: str
    layout: Layout
    parameters: tuple[Parameter, ...]
    wish: Wish
    memory_bytes: int
    cpu_s: int
