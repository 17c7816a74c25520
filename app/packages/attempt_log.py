"""The log of one download attempt, as people read it."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from app.packages.nix import LogReader

_CUT = b"\n... the log has reached its limit\n"


class AttemptLog:
    """The log of one attempt: what people read of Nix's output, appended to a file up to a limit."""

    def __init__(self, path: Path, limit_bytes: int, on_log: Callable[[], None] | None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._limit_bytes = limit_bytes
        self._on_log = on_log
        self.size_bytes = self._file.tell()
        self.reader = LogReader()
        self.enough = asyncio.Event()
        self.error: OSError | None = None

    def hear(self, chunk: bytes) -> None:
        self._write(self.reader.feed(chunk))

    def finish(self, note: str) -> None:
        """Writes what was held back in the hope of its line's end, and a note of ours."""
        self._write(self.reader.close() + (f"... {note}\n".encode() if note else b""))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._file.close()

    def _write(self, text: bytes) -> None:
        if not text or self.enough.is_set():
            return
        room = max(0, self._limit_bytes - self.size_bytes - len(_CUT))
        if len(text) > room:
            text = text[:room].decode("utf-8", "ignore").encode() + _CUT
            self.enough.set()
        try:
            while text:
                written = self._file.write(text)
                self.size_bytes += written
                text = text[written:]
        except OSError as error:  # a full disk: the build is ended as if the log were at its limit
            self.error = error
            self.enough.set()
        if self._on_log is not None:
            self._on_log()


def part(path: Path, offset: int, size_bytes: int, *, whole: bool) -> bytes:
    """A piece of a log from an offset on, cut behind a line, or at least behind a character.

    Unless the log is `whole`, an unfinished character at its end is left for the next time. Empty behind the end.
    """
    try:
        with path.open("rb") as file:
            if offset >= file.seek(0, os.SEEK_END):  # a file system may refuse to seek beyond what it could hold
                return b""
            file.seek(offset)
            piece = file.read(size_bytes)
    except FileNotFoundError:
        return b""
    if whole and len(piece) < size_bytes:
        return piece
    return piece[: piece.rfind(b"\n") + 1] or piece[: _whole_characters(piece)]


def _whole_characters(piece: bytes) -> int:
    """Where the last character ends that is whole; UTF-8's later bytes are 10xxxxxx, and no character has over four."""
    for back in range(1, min(4, len(piece)) + 1):
        byte = piece[-back]
        if byte & 0xC0 != 0x80:
            wanted = 1 + (byte >= 0xC0) + (byte >= 0xE0) + (byte >= 0xF0)
            return len(piece) - back if wanted > back else len(piece)
    return len(piece)
