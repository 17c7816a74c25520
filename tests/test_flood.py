"""A build that prints without end: the log has a limit, memory too, and everybody else goes on being served."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench.servers import memory_mib
from tests.bench.watching import forget_peak
from tests.failures import Workshop, until
from tests.test_events import Listener, heard, log_of, statuses
from tests.test_main_job import PACKAGES

pytestmark = [pytest.mark.slow, pytest.mark.nix]

USUAL_LIMIT = 16 * 2**20
MOST_MIB = 10


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Workshop]:
    # Nix's own packed copy of the log takes most of the time, and nothing here reads it.
    running = Workshop(tmp_path / "box", NIX_OPTIONS="--option keep-build-log false")
    running.start()
    yield running
    running.stop()


def asked_until(box: Workshop, package_id: int, enough: threading.Event) -> list[int]:
    """The statuses of calls made one after the other meanwhile."""
    answered = []
    with box.client() as client:
        while not enough.is_set():
            answered.append(client.get(f"{PACKAGES}/{package_id}").status_code)
    return answered


def test_a_flood_fills_the_log_to_its_limit_and_no_memory(box: Workshop) -> None:
    assert box.process is not None
    known, flooding = box.create("known", "1.0.0"), box.create("flood", "1.0.0")
    box.mend("known")
    box.run("download", str(known), "--wait")  # what a first download imports and allocates is no growth
    with box.client() as client:
        heard(client, known)
    forget_peak(box.process.pid)
    before_mib = memory_mib(box.process.pid, "VmRSS")
    box.post(flooding, "download")
    listeners = [Listener(box, flooding) for _ in range(3)]
    enough = threading.Event()
    answered: list[int] = []
    asking = threading.Thread(target=lambda: answered.extend(asked_until(box, known, enough)))
    asking.start()
    until(lambda: box.get(flooding)["status"] == "failed", patience_s=120)
    enough.set()
    asking.join(30)
    told = [listener.end() for listener in listeners]
    grown_mib = memory_mib(box.process.pid, "VmHWM") - before_mib
    assert grown_mib < MOST_MIB
    assert set(answered) == {200}
    assert box.get(flooding)["failure"] == "log_limit"
    log = box.log(flooding)
    assert USUAL_LIMIT - 2**16 < len(log) <= USUAL_LIMIT
    # Nix has the same limit, for it alone would keep a line without end in memory: whoever is first says so.
    assert log.endswith((b"\n... the log has reached its limit\n", b"bytes of log output\n"))
    for events in told:
        assert statuses(events) == ["1 queued", "1 running", "1 failed"]
        assert log_of(events, 1).encode() == log
