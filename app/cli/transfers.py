"""Transfers of files: what is sent, read piece by piece, and how far it has come, as people see it."""

import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Self

from app.cli.outcomes import Failed, Usage
from app.cli.output import Screen, size
from app.cli.sending import Upload

PIECE_BYTES = 65536
EVERY_S = 0.5
_BAR = 20
_LOOKS = 10
"""So many looks back the rate is reckoned from."""


class Meter:
    """How far a transfer has come, `begin` bytes of which were there before; `total` None: nobody knows how long it is.

    Each `line` is a look at it: the rate is that of the last few.
    """

    def __init__(self, name: str, total: int | None, begin: int = 0) -> None:
        self.done = begin
        self._name = name
        self._total = total
        self._looks = deque([(time.monotonic(), begin)], _LOOKS)

    def counted(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yields the pieces; each counts when the next one is asked for."""
        for piece in pieces:
            yield piece
            self.done += len(piece)

    def line(self) -> str:
        """`[##########----------]  50 %  1.0 MiB of 2.0 MiB  512.0 KiB/s  0:02 left  report.pdf`."""
        since, before = self._looks[0]
        now = time.monotonic()
        self._looks.append((now, self.done))
        rate = max(0, self.done - before) / max(now - since, 0.001)
        told = [size(self.done), f"{size(round(rate))}/s", self._name]
        if self._total:
            part = min(1.0, self.done / self._total)
            bar = "#" * int(part * _BAR)
            told[0] = f"[{bar:-<{_BAR}}] {int(part * 100):3} %  {size(self.done)} of {size(self._total)}"
            if rate:
                told.insert(2, f"{_duration((self._total - self.done) / rate)} left")
        return "  ".join(told)

    @contextmanager
    def shown(self, screen: Screen) -> Iterator[None]:
        """Shows the line, on a terminal, for as long as the transfer lasts; one that is soon over shows nothing."""
        with screen.progress(self.line, EVERY_S):
            yield


def _duration(seconds: float) -> str:
    """`0:04`, `12:30`, `1:05:09`; at most `99:59:59`."""
    whole = min(round(max(0.0, seconds)), 359_999)
    minutes, rest = divmod(whole, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


class Source:
    """What is to be sent, piece by piece. `length` None: nobody knows how much; `rewind` None: it comes but once.

    Of a part of something larger `meter` is that of the whole, and `before` what the whole has come to without it.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[int], bytes],
        length: int | None,
        rewind: Callable[[], object] | None,
        meter: Meter | None = None,
        before: int = 0,
    ) -> None:
        self.meter = meter or Meter(os.path.basename(name), length)
        self._before = before
        self._name = name
        self._read = read
        self._length = length
        self._rewind = rewind

    @property
    def body(self) -> Upload:
        """What the client sends."""
        return Upload(self._begun, self._length, self._rewind is not None)

    def _begun(self) -> Iterator[bytes]:
        if self._rewind is not None:
            self._rewind()
        self.meter.done = self._before
        return self.meter.counted(self._pieces())

    def _pieces(self) -> Iterator[bytes]:
        left = self._length
        while left is None or left > 0:
            piece = self._read(PIECE_BYTES if left is None else min(left, PIECE_BYTES))
            if not piece and left is None:
                return
            if not piece:
                raise Failed(f"{self._name} has become shorter while it was sent")
            left = None if left is None else left - len(piece)
            yield piece


class File:
    """A file that is read from any place on, as long as it is now. Failed when it cannot be read, also later."""

    def __init__(self, path: str) -> None:
        self.path = path
        with _told(path):
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed by `__exit__`
        status = os.fstat(self._file.fileno())
        self.is_regular = stat.S_ISREG(status.st_mode)
        self.length = status.st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, limit: int) -> bytes:
        """Returns the next bytes, at most `limit`; none at the end."""
        with _told(self.path):
            return self._file.read(limit) or b""

    def seek(self, at: int) -> None:
        """Goes on from this byte."""
        self._file.seek(at)


@contextmanager
def reading(path: str) -> Iterator[Source]:
    """Gives a file to be sent, as long as it is now. Failed when it cannot be read, also later."""
    with File(path) as file:
        if not file.is_regular:
            yield Source(path, file.read, None, None)
            return
        length: int | None = file.length
        if not length and file.read(1):  # what the kernel makes up, below /proc, is empty until it is read
            length = None
        yield Source(path, file.read, length, lambda: file.seek(0))


def source(screen: Screen, path: str, name: str | None) -> AbstractContextManager[Source]:
    """What is at a path; at `-` standard input, which is called `name`."""
    if path == "-":
        return nullcontext(Source(name or "", screen.read_bytes, None, None))
    return reading(path)


def refuse_unreadable(paths: Sequence[str], name: str | None) -> None:
    """Usage for what cannot be sent, before anything is; `name` is what one file is to be called."""
    if name is not None and len(paths) > 1:
        raise Usage("--name is for one file")
    if "-" in paths and name is None:
        raise Usage("What comes through standard input has no name: give --name")
    for path in paths:
        if path != "-":
            try:
                readable = not os.path.isdir(path) and os.access(path, os.R_OK)
                os.stat(path)
            except (OSError, ValueError) as error:
                raise Usage(f"{path}: {getattr(error, 'strerror', None) or 'is no path'}") from None
            if not readable:
                raise Usage(f"{path} is {'a folder' if os.path.isdir(path) else 'not yours to read'}")


@contextmanager
def _told(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None
