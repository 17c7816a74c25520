"""What somebody else sees while a build prints: processes of their own, so that they do not wait for each other."""

import http.client
import multiprocessing
import re
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import urlsplit

from tests.bench.appliance import PACKAGES, Caller
from tests.bench.servers import memory_mib

T = TypeVar("T")
PAUSE_S = 0.01
_STAMP = re.compile(rb"begun at ([0-9]+\.[0-9]+)")
_start = multiprocessing.get_context("spawn")


class Spread(NamedTuple):
    """The median, the 99th percentile and the worst of so many figures."""

    p50: float
    p99: float
    most: float
    number: int

    @classmethod
    def of(cls, figures: list[float]) -> "Spread":
        ordered = sorted(figures) or [float("nan")]
        return cls(statistics.median(ordered), ordered[len(ordered) * 99 // 100], ordered[-1], len(figures))

    def __str__(self) -> str:
        return f"p50 {self.p50:.1f} p99 {self.p99:.1f} most {self.most:.1f} ms ({self.number})"


class Watcher(Generic[T]):
    """A function in a process of its own that goes on until it is told to stop, and answers with what it saw."""

    def __init__(self, see: Callable[..., T], *arguments: object) -> None:
        self._stop = _start.Event()
        self._answer, theirs = _start.Pipe(duplex=False)
        begun = _start.Event()
        self._process = _start.Process(target=_watch, args=(see, begun, self._stop, theirs, *arguments), daemon=True)
        self._process.start()
        theirs.close()
        if not begun.wait(20):
            raise SystemExit("bench: a watcher did not start")

    def end(self) -> T:
        """Stops it; what it saw."""
        self._stop.set()
        seen: T = self._answer.recv()
        self._process.join()
        return seen


def _watch(see: Callable[..., Any], begun: Event, stop: Event, answer: Connection, *arguments: object) -> None:
    begun.set()
    answer.send(see(stop, *arguments))


def latencies(stop: Event, url: str, token: str, path: str) -> Spread:
    """How long an answer takes in milliseconds, asked over and over with a pause between."""
    caller, took = Caller(url, token), []
    while not stop.wait(PAUSE_S):
        began = time.perf_counter()
        caller.call("GET", path)
        took.append((time.perf_counter() - began) * 1000)
    return Spread.of(took)


def memory(stop: Event, pid: int) -> float:
    """The most memory that the process had at any look, in MiB."""
    most = 0.0
    while not stop.wait(PAUSE_S):
        most = max(most, memory_mib(pid, "VmRSS"))
    return most


class Followed(NamedTuple):
    """An event stream from its begin to its end: how late the builder's time stamps came, and how much came at all."""

    lag: Spread
    mib: float
    ended: bytes


def follow(stop: Event, url: str, token: str, package_id: int) -> Followed:
    """Reads a package's events until the stream ends by itself, as it does behind the end of the build."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
    connection.request("GET", f"{PACKAGES}/{package_id}/events?since=0", headers={"Authorization": f"Token {token}"})
    lags, size, last = [], 0, b""
    with connection.getresponse() as stream:
        for line in stream:
            size += len(line)
            now = time.time()
            lags += [(now - float(stamp)) * 1000 for stamp in _STAMP.findall(line)]
            last = line if line.startswith(b"data:") else last
    return Followed(Spread.of(lags), size / 2**20, last.strip()[:100])


def forget_peak(pid: int) -> None:
    """Makes VmHWM count from now on. Linux: proc(5), clear_refs."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
