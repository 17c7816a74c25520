"""Reads the events of a data set: a page of rows, or whole columns piece by piece; never the whole file at once."""

import math
import re
import sys
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO, TypeAlias

from app.fcs.layout import Column, Layout

PIECE_BYTES = 2**20
"""So much of a file is read at once."""
_CODES = {("integer", 1): "B", ("integer", 2): "H", ("integer", 4): "I", ("integer", 8): "Q"}
_CODES |= {("float", 4): "f", ("float", 8): "d"}
_LITTLE = sys.byteorder == "little"
_DELIMITERS = b" \t\r\n,\0"
"""What stands between numbers without fixed places (FCS 3.0, 3.2.20, $PnB)."""
_NUMBERS = re.compile(rb"[^%s]+" % _DELIMITERS)
_OUTLINE = bytes(b" "[0] if sign in _DELIMITERS else b"x"[0] for sign in range(256))
_PIECE_NUMBERS = 65_536

Values: TypeAlias = "array[int] | array[float]"
"""The values of one parameter, in the order of the events. What is no number in a text is NaN."""


class Cut(Exception):
    """The file has become shorter than it was when it was parsed."""


def rows(file: IO[bytes], layout: Layout, wanted: Sequence[int], offset: int, limit: int) -> list[Values]:
    """The values of the parameters at these places (from 0), of `limit` events from `offset` on, as columns.

    Fewer events behind the end, none beyond it.
    """
    nothing: list[Values] = [array("d") for _ in wanted]
    return next(pieces(file, layout, wanted, offset, limit, max(1, limit)), nothing)


def columns(file: IO[bytes], layout: Layout, wanted: Sequence[int]) -> Iterator[list[Values]]:
    """The columns of the parameters at these places, piece by piece."""
    step = PIECE_BYTES // layout.record_bytes if layout.record_bytes else _PIECE_NUMBERS // len(layout.columns)
    return pieces(file, layout, wanted, 0, layout.total_events, max(1, step))


def pieces(
    file: IO[bytes], layout: Layout, wanted: Sequence[int], offset: int, limit: int, step: int
) -> Iterator[list[Values]]:
    """As `rows`, `step` events at a time: so many are in memory."""
    end = min(offset + limit, layout.total_events)
    if not layout.record_bytes:
        yield from _delimited(file, layout, wanted, offset, end, step)
        return
    for begin in range(offset, end, step):
        length = min(step, end - begin) * layout.record_bytes
        block = _read(file, layout.begin + begin * layout.record_bytes, length)
        yield [values(block, layout.record_bytes, layout.columns[place]) for place in wanted]


def values(block: bytes, record_bytes: int, column: Column) -> Values:
    """One parameter's values in whole records."""
    if column.kind == "text":
        starts = range(column.offset, len(block), record_bytes)
        return array("d", [_number(block[at : at + column.width]) for at in starts])
    size = _held(column.width)
    gathered = bytearray(len(block) // record_bytes * size)
    for place, at in enumerate(column.order):
        gathered[place if _LITTLE else size - 1 - place :: size] = block[column.offset + at :: record_bytes]
    found: Values = array(_CODES[column.kind, size])
    found.frombytes(gathered)
    if column.mask is not None:
        mask = column.mask
        return array(found.typecode, [int(value) & mask for value in found])
    return found


def value_bytes(column: Column) -> int:
    """How many bytes each value has in memory."""
    return 8 if column.kind == "text" else _held(column.width)


def _held(width: int) -> int:
    """The bytes of the machine's own type that holds so many."""
    return next(size for size in (1, 2, 4, 8) if width <= size)


def _number(text: bytes) -> float:
    try:
        return math.nan if b"_" in text else float(text)
    except ValueError:
        return math.nan


def count_numbers(text: bytes) -> int:
    """How many numbers without fixed places there are."""
    outline = text.translate(_OUTLINE)
    return outline.count(b" x") + outline.startswith(b"x")


def _delimited(
    file: IO[bytes], layout: Layout, wanted: Sequence[int], offset: int, end: int, step: int
) -> Iterator[list[Values]]:
    """Numbers without fixed places, of which a file has a bounded number: those before `offset` are passed over."""
    if offset >= end:
        return
    width = len(layout.columns)
    texts = _NUMBERS.finditer(_read(file, layout.begin, layout.data_bytes))
    for begin in range(0, offset * width, _PIECE_NUMBERS):  # in between other threads have their turn
        deque(islice(texts, min(_PIECE_NUMBERS, offset * width - begin)), 0)
    for begin in range(offset, end, step):
        piece = [_number(found[0]) for found in islice(texts, min(step, end - begin) * width)]
        yield [array("d", piece[place::width]) for place in wanted]


def _read(file: IO[bytes], begin: int, length: int) -> bytes:
    file.seek(begin)
    found = file.read(length)
    if len(found) < length:
        raise Cut(f"The file ends at byte {begin + len(found)}, within its events.")
    return found
