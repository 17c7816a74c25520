"""Pages of events as text: JSON or CSV, piece by piece, so that memory is that of a piece however long the page is."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from typing import IO, Literal

import msgspec

from app.fcs.events import PIECE_BYTES, Values, pieces
from app.fcs.layout import Layout
from app.values import FORMULA

PIECE_VALUES = 32_768
"""So many values are told at once: longer, and other requests would wait."""
_encode = msgspec.json.Encoder().encode


class Page:
    """The events `offset` to `offset + limit` with these parameters: their places from 0, and their names."""

    def __init__(
        self,
        layout: Layout,
        names: Sequence[str],
        places: Sequence[int],
        offset: int,
        limit: int,
        format: Literal["json", "csv"],
    ) -> None:
        self._layout = layout
        self._names = list(names)
        self._places = places
        self._offset = offset
        self._limit = limit
        self._as_json = format == "json"
        self._step = max(1, min(PIECE_VALUES // len(places), PIECE_BYTES // (layout.record_bytes or 1)))

    @property
    def media_type(self) -> str:
        """The content type of the text."""
        return "application/json" if self._as_json else "text/csv; charset=utf-8; header=present"

    @property
    def is_short(self) -> bool:
        """Whether it is one piece."""
        return self._limit <= self._step

    def pieces(self, file: IO[bytes]) -> Iterator[bytes]:
        """The text. An open file is read from, and left open."""
        yield self._head()
        is_first = True
        for found in pieces(file, self._layout, self._places, self._offset, self._limit, self._step):
            yield self._json(found, is_first) if self._as_json else self._csv(found)
            is_first = False
        if self._as_json:
            yield b"]}"

    def _head(self) -> bytes:
        if not self._as_json:
            return _lines([[f"'{name}" if name.startswith(FORMULA) else name for name in self._names]])
        told = {"total_events": self._layout.total_events, "limit": self._limit, "offset": self._offset}
        return _encode(told)[:-1] + b',"events":['

    def _json(self, found: Sequence[Values], is_first: bool) -> bytes:
        names = self._names
        told = _encode([dict(zip(names, row, strict=True)) for row in zip(*found, strict=True)])
        return told[1:-1] if is_first else b"," + told[1:-1]

    def _csv(self, found: Sequence[Values]) -> bytes:
        return _lines([[_cell(value) for value in row] for row in zip(*found, strict=True)])


def _cell(value: float) -> object:
    return value if math.isfinite(value) else None


def _lines(lines: Sequence[Sequence[object]]) -> bytes:
    sheet = io.StringIO()
    csv.writer(sheet).writerows(lines)
    return sheet.getvalue().encode()
