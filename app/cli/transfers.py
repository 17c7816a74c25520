"""Transfers of files: what is sent, read piece by piece, and how far it has come, as people see it."""

import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from app.cli.outcomes import Failed
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
    """What is to be sent, piece by piece. `length` None: nobody knows how much; `rewind` None: it comes but once."""

    def __init__(
        self, name: str, read: Callable[[int], bytes], length: int | None, rewind: Callable[[], object] | None
    ) -> None:
        self.meter = Meter(os.path.basename(name), length)
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
        self.meter.done = 0
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


@contextmanager
def reading(path: str) -> Iterator[Source]:
    """Gives a file to be sent, as long as it is now. Failed when it cannot be read, also later."""
    with _told(path):
        file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed below

    def read(limit: int) -> bytes:
        with _told(path):
            return file.read(limit) or b""

    with file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            yield Source(path, read, None, None)
            return
        length: int | None = status.st_size
        if not length and read(1):  # what the kernel makes up, below /proc, is empty until it is read
            length = None
        yield Source(path, read, length, lambda: file.seek(0))


@contextmanager
def _told(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}") from None
