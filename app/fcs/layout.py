"""Where the values of a data set lie: what the parser finds and the readers follow. Plain values, kept as JSON."""

from typing import Literal

import msgspec

Kind = Literal["integer", "float", "text"]
Datatype = Literal["I", "F", "D", "A"]
Display = Literal["LIN", "LOG"]
Scale = Literal["linear", "log", "asinh"]


class Column(msgspec.Struct, frozen=True):
    """The place of one parameter's value within a record.

    `order` tells where in it the bytes of a binary value lie, the least significant first; `mask` None: every bit
    counts. A `text` value is `width` characters.
    """

    offset: int
    width: int
    kind: Kind
    order: tuple[int, ...] = ()
    mask: int | None = None


class Layout(msgspec.Struct, frozen=True):
    """Where the records of a data set lie: `total_events` of them, `record_bytes` each, from the byte `begin` on.

    `record_bytes` 0: values are numbers of any length, with delimiters between them, in `data_bytes` bytes.
    """

    begin: int
    data_bytes: int
    total_events: int
    record_bytes: int
    columns: tuple[Column, ...]


class Amplification(msgspec.Struct, frozen=True):
    """How a logarithmic amplifier made the stored values: over so many decades, from `offset` on."""

    decades: float
    offset: float


class Parameter(msgspec.Struct, frozen=True):
    """What was measured: `pnn` is its short name, `pns` the long one; values are as stored, no gain taken out of them.

    `range` is None where the file states none. `timestep_s`: so many seconds a step of the time parameter takes.
    """

    index: int
    """From 1, as in the keyword `$P1N`."""
    pnn: str
    pns: str
    range: int | float | None
    display: Display
    datatype: Datatype
    bits: int | None
    """None: a number of any length, in characters."""
    amplification: Amplification | None
    """None: linear."""
    gain: float | None
    timestep_s: float | None = None


class Description(msgspec.Struct, frozen=True):
    """What a data set says of itself; `warnings` tell what of it was not as it should be."""

    fcs_version: str
    parameters: tuple[Parameter, ...]
    layout: Layout
    warnings: tuple[str, ...]
