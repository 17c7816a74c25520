"""The log of one download attempt, as people read it."""

import asyncio
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

    def finish(self) -> None:
        """Writes what was held back in the hope of its line's end."""
        self._write(self.reader.close())

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
