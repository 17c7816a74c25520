"""The fcs part: a million events of twelve parameters, beside FlowIO and numpy on the same file.

Each round is another file: statistics are computed once for each content. `/health` is asked over and over meanwhile.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import NamedTuple

import numpy

from tests.bench.appliance import Caller
from tests.bench.servers import ROOT, memory_mib
from tests.bench.watching import PAUSE_S, Spread, Watcher, forget_peak, latencies
from tests.fcs_writer import fcs
from tests.support import Service

EVENTS, PARAMETERS = 1_000_000, 12
PAGE = 100
PAGES = 50
FCS = "/api/v1/fcs"


class Round(NamedTuple):
    """What one file took: seconds, MiB, and what `/health` took meanwhile."""

    upload_s: float
    page_s: float
    statistics_s: float
    histogram_s: float
    density_s: float
    grew_mib: float
    worker_mib: float
    health: Spread
    parsed_s: float
    numpy_s: float


def sample(number: int) -> bytes:
    """A file of three populations, float32."""
    chance = numpy.random.default_rng(number)
    population = chance.integers(0, 3, EVENTS)
    values = numpy.empty((EVENTS, PARAMETERS), "<f4")
    for at in range(PARAMETERS - 1):
        middle = 5 + (population + at) % 3 * 2
        values[:, at] = chance.lognormal(middle, 0.6) + chance.normal(0, 80, EVENTS)
    values[:, -1] = numpy.sort(chance.uniform(0, 300_000, EVENTS))
    names = [f"FL{number}-A" for number in range(1, PARAMETERS)] + ["Time"]
    return fcs([[0.0]] * PARAMETERS, names=names, ranges=262144, stored=values.tobytes(), tot=EVENTS)


def worker_memory(stop: Event, pid: int) -> float:
    """The most memory that any process had which the service started, in MiB."""
    most = 0.0
    while not stop.wait(PAUSE_S):
        for child in _children(pid):
            try:
                most = max(most, memory_mib(child, "VmHWM"))
            except (OSError, AssertionError):  # it has ended
                continue
    return most


def _children(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            yield from map(int, (task / "children").read_text().split())
        except OSError:  # the thread has ended
            continue


def beside(path: Path) -> tuple[float, float]:
    """How long FlowIO takes for the whole file, and with numpy's statistics of it."""
    argv = [sys.executable, "-m", "tests.bench.flowio_whole", str(path)]
    told = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    parsed_s, whole_s = map(float, told.split())
    return parsed_s, whole_s


def measure(rounds: int) -> None:
    """Uploads, reads a page at the end, waits for the statistics, plots; prints medians, and ratios in each round."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        box = Service(folder / "box").start()
        try:
            found = [_round(box, folder, number) for number in range(rounds)]
        finally:
            box.stop()
    _report(found)


def _round(box: Service, folder: Path, number: int) -> Round:
    path = folder / "sample.fcs"
    path.write_bytes(sample(number))
    assert box.process is not None
    pid, caller = box.process.pid, Caller(box.url, box.token)
    before = memory_mib(pid, "VmRSS")
    forget_peak(pid)
    watchers = Watcher(latencies, box.url, box.token, "/health"), Watcher(worker_memory, pid)
    began = time.perf_counter()
    argv = ["curl", "-sSf", "-o", "/dev/null", "-H", f"Authorization: Token {box.token}", "-T", str(path)]
    subprocess.run([*argv, f"{box.url}{FCS}/content?name=sample.fcs"], check=True)
    uploaded = time.perf_counter()
    caller.call("GET", f"{FCS}/statistics")
    computed = time.perf_counter()
    health, worker_mib = (watcher.end() for watcher in watchers)
    grew = memory_mib(pid, "VmHWM") - before
    page_s = statistics.median(_took(caller, f"events?offset={EVENTS - PAGE}&limit={PAGE}") for _ in range(PAGES))
    plots = [_took(caller, f"{query}&format=svg") for query in ("histogram?x=FL1-A", "density?x=FL1-A&y=FL2-A")]
    caller.close()
    return Round(uploaded - began, page_s, computed - uploaded, *plots, grew, worker_mib, health, *beside(path))


def _took(caller: Caller, query: str) -> float:
    began = time.perf_counter()
    caller.call("GET", f"{FCS}/{query}")
    return time.perf_counter() - began


def _report(found: list[Round]) -> None:
    middle = [statistics.median(column) for column in zip(*(each[:7] for each in found), strict=True)]
    upload_s, page_s, statistics_s, histogram_s, density_s, grew, worker = middle
    parsed_s, numpy_s = (statistics.median(column) for column in zip(*(each[-2:] for each in found), strict=True))
    page = statistics.median(each.parsed_s / each.page_s for each in found)
    times = statistics.median(each.statistics_s / each.numpy_s for each in found)
    print(
        f"{EVENTS} events of {PARAMETERS} parameters, {EVENTS * PARAMETERS * 4 / 1e6:.0f} MB,"
        f" medians of {len(found)} files:\n"
        f"  upload {upload_s * 1000:.0f} ms; the last page of {PAGE} events {page_s * 1000:.2f} ms,"
        f" FlowIO the whole file {parsed_s * 1000:.0f} ms: {page:.0f} times\n"
        f"  statistics {statistics_s:.2f} s behind the upload, FlowIO and numpy {numpy_s:.2f} s: {times:.1f} times;"
        f" the worker had {worker:.0f} MiB\n"
        f"  histogram {histogram_s * 1000:.0f} ms, density {density_s * 1000:.0f} ms, as SVG\n"
        f"  meanwhile the service grew by {grew:.1f} MiB at its peak; GET /health {found[-1].health},"
        f" the worst p99 of all rounds {max(each.health.p99 for each in found):.1f} ms",
        flush=True,
    )
