"""The process that computes: whatever becomes of it is told in the row, nothing hangs, and nothing is left behind."""

import asyncio
import io
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import numpy as np
import pytest
from starlette.testclient import TestClient

from app.fcs import routes, worker
from app.fcs.parser import parse
from app.fcs.tasks import AxisWish, HistogramWish, StatisticsWish, Task, Wish
from app.fcs.worker import Died, command, compute
from app.main import create_app
from tests.accounts import Person
from tests.fcs_writer import fcs
from tests.house import House, opened
from tests.nix_store import FAKES
from tests.office import API, made, statements
from tests.support import Clock, Service, refusal, rows, until

FILES, STATISTICS, HISTOGRAM = (f"{API}/fcs/{noun}" for noun in ("files", "statistics", "histogram"))
SMALL = fcs([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
MIB = 2**20
SOON_S = 5.0
"""So soon what does not wait for anything is over, on a busy machine."""
WAITING = {"status": "computing"}


def processes(marker: str) -> list[int]:
    """The processes whose arguments name this."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            if marker.encode() in Path(f"/proc/{name}/cmdline").read_bytes():
                found.append(int(name))
    return found


async def nobody_waits_for_the_dead() -> None:
    """Fails where a process that was ended is waited for, instead of waiting with it for ever."""
    for _ in range(500):
        waiting = [task for task in asyncio.all_tasks() if getattr(task.get_coro(), "__name__", "") == "_end"]
        if not waiting:
            return
        await asyncio.sleep(0.01)
    for task in waiting:  # lets the house be left
        task.get_coro().cr_frame.f_locals["process"]._transport.close()  # type: ignore[union-attr]
    raise AssertionError("a process that was ended is waited for")


class Lab:
    """A house with a person and their FCS files, and a stand-in for the process that computes."""

    def __init__(self, house: House, folder: Path, pool: ThreadPoolExecutor) -> None:
        self.house = house
        self.folder = folder
        self.who = house.person()
        self._pool = pool
        self.real = self.computing.command
        self._gate: int | None = None
        folder.mkdir()
        os.mkfifo(folder / "gate")

    @property
    def computing(self) -> Any:
        return self.house.app.state.fcs_computing

    def does(self, mode: str) -> None:
        """From now on the process does this."""
        words = [sys.executable, "-SE", str(FAKES / "fcs-compute"), mode, str(self.folder)]
        self.computing.command = lambda: words

    def works(self) -> None:
        """From now on the process is the real one."""
        self.computing.command = self.real

    @property
    def left(self) -> list[int]:
        """The stand-ins that run."""
        return processes(str(self.folder))

    def begun(self) -> int:
        """How many stand-ins have begun."""
        return self.noted.count("begin")

    @property
    def noted(self) -> list[str]:
        path = self.folder / "noted"
        return path.read_text().split() if path.exists() else []

    def open_gate(self) -> None:
        """Lets those answer that hold, and all that come to it later."""
        self._gate = os.open(self.folder / "gate", os.O_RDWR)

    def stop(self) -> None:
        """What SIGTERM does first."""
        assert self.house.client.portal is not None
        self.house.client.portal.call(self.computing.end_waits)

    def close(self) -> None:
        """Ends what the product leaves running when it is told to stop, so that nothing waits for it."""
        self.stop()
        if self._gate is not None:
            os.close(self._gate)
        for number in self.left:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        assert self.house.client.portal is not None
        self.house.client.portal.call(nobody_waits_for_the_dead)

    def put(self, content: bytes = SMALL, who: Person | None = None) -> int:
        headers = (who or self.who).headers
        answer = self.house.client.put(f"{API}/fcs/content?name=a.fcs", content=content, headers=headers)
        return int(made(answer)["file_id"])

    def get(self, path: str = STATISTICS, who: Person | None = None, **query: object) -> httpx2.Response:
        return self.house.client.get(path, params={**query}, headers=(who or self.who).headers)

    def begin(self, path: str = STATISTICS, **query: object) -> "Future[httpx2.Response]":
        """A call that goes on beside the test."""
        return self._pool.submit(self.get, path, **query)

    def row(self) -> dict[str, Any]:
        """What is known of the newest content, once it is known."""
        [newest] = self.house.rows("SELECT status, failure, statistics FROM fcs_contents ORDER BY id DESC LIMIT 1")
        return newest

    def ended(self) -> dict[str, Any]:
        until(lambda: self.row()["status"] != "pending", "the statistics come to an end", patience_s=2 * SOON_S)
        return self.row()


@contextmanager
def furnished(folder: Path) -> Iterator[Lab]:
    """A lab in this folder."""
    with opened(folder) as house, ThreadPoolExecutor(8) as pool:
        lab = Lab(house, folder / "stand-in", pool)
        try:
            yield lab
        finally:
            lab.close()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with furnished(tmp_path) as lab:
        yield lab


# A process that does not do its task

FAILING = [
    ("hang", "It took longer than 0.5 s."),
    ("deaf", "It took longer than 0.5 s."),
    ("flood", "It took longer than 0.5 s."),
    ("shout", "It took longer than 0.5 s."),
    ("close-one", "It took longer than 0.5 s."),
    ("close", "It took longer than 0.5 s."),
    ("die", "ended by signal 9"),
    ("fail", "exit code 1"),
    ("nothing", ""),
    ("half", ""),
    ("no-text", ""),
    ("too-much", ""),
]


@pytest.mark.parametrize(("mode", "why"), FAILING)
def test_what_becomes_of_a_process_is_told_in_the_row_and_to_who_asks(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, clock: Clock, mode: str, why: str
) -> None:
    """And nothing is left of it, and a minute later it is tried again."""
    monkeypatch.setattr(worker, "STATISTICS_S", 0.5)
    lab.does(mode)
    lab.put()
    row = lab.ended()
    assert row["status"] == "failed", (row["statistics"] or "")[:100]
    assert why in row["failure"]
    assert 10 < len(row["failure"]) < 300
    answer = lab.get()
    assert row["failure"] in refusal(answer, 503, "UNAVAILABLE")["detail"]
    assert answer.headers["retry-after"] == "60"
    until(lambda: not lab.left, "no process is left", patience_s=SOON_S)

    monkeypatch.setattr(worker, "STATISTICS_S", 60.0)
    lab.works()
    clock.at += 59
    refusal(lab.get(), 503, "UNAVAILABLE")
    clock.at += 2
    assert [found["mean"] for found in made(lab.get(), 200)["statistics"]] == [2, 5]
    assert lab.row()["status"] == "done"


@pytest.mark.parametrize("kind", ["absent", "a folder", "not executable"])
def test_a_process_that_cannot_be_started_is_told_too(lab: Lab, kind: str) -> None:
    path = lab.folder / "program"
    if kind == "a folder":
        path.mkdir()
    if kind == "not executable":
        path.touch(0o600)
    lab.computing.command = lambda: [str(path)]
    lab.put()
    assert lab.ended()["failure"].startswith("The process that computes could not be started: ")
    assert "could not be started" in refusal(lab.get(), 503, "UNAVAILABLE")["detail"]
    assert "could not be started" in refusal(lab.get(HISTOGRAM, x="1"), 503, "UNAVAILABLE")["detail"]


def test_a_child_that_it_leaves_with_its_pipe_keeps_nobody_waiting(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "STATISTICS_S", 0.5)
    lab.does("grandchild")
    lab.put()
    assert lab.ended()["status"] in ("done", "failed")
    until(lambda: not lab.left, "no process is left", patience_s=SOON_S)


@pytest.mark.parametrize(
    ("mode", "why"), [("hang", "longer than 0.3 s"), ("die", "signal 9"), ("fail", "exit code 1"), ("nothing", "")]
)
def test_a_plot_that_fails_is_answered_so_and_the_next_one_works(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, mode: str, why: str
) -> None:
    lab.put()
    lab.ended()
    lab.does(mode)
    monkeypatch.setattr(worker, "PLOT_S", 0.3)
    problem = refusal(lab.get(HISTOGRAM, x="1"), 503, "UNAVAILABLE")
    assert "The plot could not be made: " in problem["detail"]
    assert why in problem["detail"]
    assert lab.left == []
    lab.works()
    monkeypatch.setattr(worker, "PLOT_S", 60.0)
    assert sum(made(lab.get(HISTOGRAM, x="1"), 200)["counts"]) == 3


def test_other_requests_go_on_while_a_process_hangs(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "WAIT_S", 0.05)
    lab.does("hang")
    file_id = lab.put()
    until(lambda: len(lab.left) == 1, "the process is there")
    answer = lab.get()
    assert (answer.status_code, answer.json(), answer.headers["retry-after"]) == (202, WAITING, "5")
    assert made(lab.get(f"{FILES}/{file_id}"), 200)["total_events"] == 3
    assert len(made(lab.get(f"{API}/fcs/events"), 200)["events"]) == 3
    lab.works()
    assert sum(made(lab.get(HISTOGRAM, x="1"), 200)["counts"]) == 3
    assert lab.row()["status"] == "pending"


def test_a_stop_does_not_wait_for_a_process_nor_count_it_as_a_failure(tmp_path: Path) -> None:
    with furnished(tmp_path) as lab:
        house = lab.house
        lab.does("hang")
        lab.put()
        until(lambda: len(lab.left) == 1, "the process is there")
        computing = lab.begin()
        lab.stop()
        answer = computing.result(SOON_S)
        assert (answer.status_code, answer.json()) == (202, WAITING)
        assert refusal(lab.get(HISTOGRAM, x="1"), 503, "UNAVAILABLE")["detail"].endswith("The service stops.")
    assert lab.left == []
    assert house.rows("SELECT status FROM fcs_contents") == [{"status": "pending"}]
    with TestClient(create_app(house.config), client=("127.0.0.1", 50000)) as client:
        client.headers.update(lab.who.headers)
        found = made(client.get(STATISTICS), 200)["statistics"]
    assert [of["mean"] for of in found] == [2, 5]


def test_what_another_version_of_the_parser_described_comes_to_an_end_even_if_this_one_refuses_it(
    tmp_path: Path,
) -> None:
    with furnished(tmp_path) as lab:
        house = lab.house
        lab.does("hang")
        lab.put()
    [blob] = [path for path in (house.config.data_dir / "blobs").rglob("*") if path.is_file()]
    blob.chmod(0o600)
    blob.write_bytes(b"XXX9.9" + SMALL[6:])
    with sqlite3.connect(house.config.database_path) as outside:
        outside.execute("UPDATE fcs_contents SET parser_version = 0")
    outside.close()
    with TestClient(create_app(house.config), client=("127.0.0.1", 50000)):
        until(
            lambda: house.rows("SELECT status FROM fcs_contents") != [{"status": "pending"}],
            "the statistics come to an end",
            patience_s=SOON_S,
        )


# Waiting for the end


def looks(seen: Sequence[tuple[str, int]]) -> int:
    """How often somebody who waits has looked."""
    return sum("chosen" in name for name, _ in seen)


def test_who_waits_is_woken_by_the_end_and_does_not_look_meanwhile(lab: Lab) -> None:
    lab.does("hold")
    lab.put()
    until(lambda: lab.begun() == 1)
    with statements(lab.house) as seen:
        waiting = lab.begin()
        until(lambda: looks(seen) >= 3, "it waits")
        assert not waiting.done()
        lab.open_gate()
        answer = waiting.result(SOON_S)
    assert (answer.status_code, answer.json()["statistics"]) == (200, [])
    assert looks(seen) == 4


def test_who_comes_too_late_to_wait_is_answered_at_once(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "MOST_LISTENING", 3)
    lab.does("hold")
    lab.put()
    with statements(lab.house) as seen:
        waiting = [lab.begin() for _ in range(3)]
        until(lambda: looks(seen) >= 9, "three wait")
        answer = lab.begin().result(SOON_S)
        assert (answer.status_code, answer.json(), answer.headers["retry-after"]) == (202, WAITING, "5")
        assert not any(one.done() for one in waiting)
    lab.open_gate()
    assert [one.result(SOON_S).status_code for one in waiting] == [200] * 3
    assert lab.get().status_code == 200


def test_who_waits_too_long_is_told_to_come_back(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "WAIT_S", 0.1)
    lab.does("hold")
    lab.put()
    answer = lab.get()
    assert (answer.status_code, answer.json(), answer.headers["retry-after"]) == (202, WAITING, "5")
    lab.open_gate()
    lab.ended()
    assert lab.get().status_code == 200


# One after the other


def test_uploads_are_computed_one_after_the_other_and_the_same_bytes_once(lab: Lab) -> None:
    lab.does("note")
    for number in range(4):
        lab.put(fcs([[float(number)]]))
        lab.put(fcs([[float(number)]]))
    until(lambda: lab.house.rows("SELECT 1 FROM fcs_contents WHERE status <> 'done'") == [], "all are computed")
    assert lab.noted == ["begin", "end"] * 4


def test_one_that_fails_does_not_keep_the_next(lab: Lab) -> None:
    lab.does("die")
    lab.put(fcs([[1.0]]))
    lab.ended()
    lab.works()
    lab.put(fcs([[2.0]]))
    assert lab.ended()["status"] == "done"


def test_a_file_that_is_deleted_while_it_is_computed_leaves_nothing(lab: Lab) -> None:
    lab.does("hold")
    file_id = lab.put()
    until(lambda: lab.begun() == 1)
    with statements(lab.house) as seen:
        waiting = lab.begin(file_id=file_id)
        until(lambda: looks(seen) >= 3, "it waits")
    assert lab.house.client.delete(f"{FILES}/{file_id}", headers=lab.who.headers).status_code == 204
    lab.open_gate()
    refusal(waiting.result(SOON_S), 404, "NOT_FOUND")
    assert lab.house.rows("SELECT * FROM fcs_contents") == []
    lab.works()
    lab.put()
    assert lab.ended()["status"] == "done"


def test_an_account_that_is_deleted_while_its_file_is_computed_leaves_nothing(lab: Lab) -> None:
    other = lab.house.person()
    lab.does("hold")
    lab.put(fcs([[1.0]]), other)
    until(lambda: lab.begun() == 1)
    assert lab.house.client.delete(f"{API}/users/{other.id}").is_success
    assert lab.house.rows("SELECT * FROM fcs_contents") == []
    lab.put()
    lab.open_gate()
    assert lab.ended()["status"] == "done"
    assert lab.get().status_code == 200


def test_a_file_that_a_colleague_has_too_is_computed_although_one_of_them_deletes_it(lab: Lab) -> None:
    other = lab.house.person()
    lab.does("hold")
    file_id = lab.put()
    lab.put(SMALL, other)
    until(lambda: lab.begun() == 1)
    assert lab.house.client.delete(f"{FILES}/{file_id}", headers=lab.who.headers).status_code == 204
    lab.open_gate()
    assert lab.get(who=other).status_code == 200
    refusal(lab.get(), 404, "NOT_FOUND")


# Plots


def test_two_plots_are_made_at_once_some_wait_and_the_others_are_refused(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "MOST_WAITING", 4)
    lab.put()
    lab.ended()
    lab.does("hold")
    with statements(lab.house) as seen:
        asked = [lab.begin(HISTOGRAM, x="1", bins=2 + number) for number in range(4)]
        until(lambda: lab.begun() == 2 and looks(seen) == 4, "two are made")
    answer = lab.get(HISTOGRAM, x="1")
    refusal(answer, 429, "TOO_MANY_REQUESTS")
    assert answer.headers["retry-after"] == "5"
    assert (len(lab.left), lab.begun()) == (2, 2)
    lab.open_gate()
    assert [one.result(2 * SOON_S).status_code for one in asked] == [200] * 4
    assert lab.get(HISTOGRAM, x="1").status_code == 200


def test_statistics_do_not_wait_for_plots_nor_plots_for_statistics(lab: Lab) -> None:
    lab.put()
    lab.ended()
    lab.does("hold")
    plots = [lab.begin(HISTOGRAM, x="1", bins=2 + number) for number in range(2)]
    until(lambda: lab.begun() == 2, "two are made")
    lab.works()
    lab.put(fcs([[7.0]]))
    assert lab.ended()["status"] == "done"
    lab.open_gate()
    assert [one.result(SOON_S).status_code for one in plots] == [200] * 2


class Leaving:
    """A call past every client, from which the caller goes away."""

    def __init__(self, lab: Lab, path: str, query: str) -> None:
        portal = lab.house.client.portal
        assert portal is not None
        self._portal, self._gone = portal, portal.call(asyncio.Event)
        headers = [(name.lower().encode(), text.encode()) for name, text in lab.who.headers.items()]
        scope = {"type": "http", "http_version": "1.1", "scheme": "http", "server": ("testserver", 80)}
        scope |= {"client": ("127.0.0.1", 50000), "method": "GET", "path": path, "root_path": ""}
        self._scope: dict[str, Any] = scope | {"query_string": query.encode(), "headers": headers}
        self._asked = 0
        self._app = lab.house.app
        self.ended = portal.start_task_soon(self._run)

    async def _run(self) -> None:
        await self._app(self._scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        self._asked += 1
        if self._asked == 1:
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        """Nobody reads it."""

    def leave(self) -> None:
        self._portal.call(self._gone.set)


def test_who_goes_away_during_a_plot_leaves_no_process(lab: Lab) -> None:
    lab.put()
    lab.ended()
    lab.does("hang")
    leaving = Leaving(lab, HISTOGRAM, "x=1")
    until(lambda: len(lab.left) == 1, "the process is there")
    leaving.leave()
    until(lambda: not lab.left, "no process is left", patience_s=SOON_S)


# The real process


def task(
    content: bytes, path: Path, wish: Wish | None = None, *, memory_bytes: int = 112 * MIB, cpu_s: int = 60
) -> Task:
    path.write_bytes(content)
    described = parse(io.BytesIO(content)).description
    asked = wish or StatisticsWish(str(path.parent))
    return Task(str(path), described.layout, described.parameters, asked, memory_bytes, cpu_s)


def normal(events: int, parameters: int) -> bytes:
    """A file of so many events, normally distributed."""
    stored = np.random.default_rng(1).normal(1000, 300, (events, parameters)).astype("<f4").tobytes()
    return fcs([[]] * parameters, stored=stored, tot=events, names=[f"FL{n}-A" for n in range(parameters)])


def children(of: int) -> list[int]:
    """The processes that this one has started."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            parent = Path(f"/proc/{name}/stat").read_text().rpartition(") ")[2].split()[1]
            if int(parent) == of:
                found.append(int(name))
    return found


def computing(of: int) -> list[int]:
    """Those of them that compute, once they are what they will be."""
    found = []
    for number in children(of):
        with suppress(OSError):
            if b"app.fcs.compute" in Path(f"/proc/{number}/cmdline").read_bytes():
                found.append(number)
    return found


def there(number: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked for does not."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(") ")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_the_real_process_answers(tmp_path: Path) -> None:
    counted = msgspec.json.decode(await compute(command(), task(SMALL, tmp_path / "a"), 60, asyncio.Event()))
    assert [of["median"] for of in counted] == [2, 5]
    wish = HistogramWish(AxisWish(0, "linear", 0.0, 4.0), 4, as_svg=False)
    plot = msgspec.json.decode(await compute(command(), task(SMALL, tmp_path / "a", wish), 60, asyncio.Event()))
    assert plot["counts"] == [0, 1, 1, 1]
    assert computing(os.getpid()) == []


async def test_a_process_that_needs_more_memory_than_it_may_use_says_so(tmp_path: Path) -> None:
    wanted = task(normal(100_000, 4), tmp_path / "a", memory_bytes=MIB)
    with pytest.raises(Died, match=r"used .* bytes that it may"):
        await compute(command(), wanted, 60, asyncio.Event())


async def test_a_process_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(Died, match=r"^It took longer than 0\.01 s\.$"):
        await compute(command(), task(SMALL, tmp_path / "a"), 0.01, asyncio.Event())
    assert computing(os.getpid()) == []


async def test_a_process_whose_file_has_become_shorter_fails(tmp_path: Path) -> None:
    wanted = task(normal(1000, 4), tmp_path / "a")
    os.truncate(wanted.path, 9000)
    with pytest.raises(Died, match="exit code 1"):
        await compute(command(), wanted, 60, asyncio.Event())


async def test_nothing_is_started_once_the_service_stops(tmp_path: Path) -> None:
    stop = asyncio.Event()
    stop.set()
    with pytest.raises(Died, match="stops"):
        await compute(command(), task(SMALL, tmp_path / "a"), 60, stop)


@pytest.mark.slow
async def test_a_process_that_uses_more_time_of_the_processor_than_it_may_is_ended(tmp_path: Path) -> None:
    wanted = task(normal(1_000_000, 8), tmp_path / "a", cpu_s=1)
    with pytest.raises(Died, match=r"signal (24|9)\."):
        await compute(command(), wanted, 60, asyncio.Event())


async def begun(of: int) -> int:
    """The process that computes, once it is there."""
    while not (found := computing(of)):
        await asyncio.sleep(0.005)
    return found[0]


@pytest.mark.parametrize("end", ["killed", "cancelled", "stopped"])
async def test_a_process_that_computes_is_gone_however_it_ends(tmp_path: Path, end: str) -> None:
    wanted, stop = task(normal(300_000, 12), tmp_path / "a"), asyncio.Event()
    running = asyncio.ensure_future(compute(command(), wanted, 60, stop))
    number = await asyncio.wait_for(begun(os.getpid()), SOON_S)
    if end == "killed":
        os.kill(number, signal.SIGKILL)
        expected: type[BaseException] = Died
    elif end == "stopped":
        stop.set()
        expected = Died
    else:
        running.cancel()
        expected = asyncio.CancelledError
    with pytest.raises(expected, match={"killed": "signal 9", "stopped": "stops"}.get(end)):
        await asyncio.wait_for(asyncio.shield(running), SOON_S)
    assert not there(number)


def test_the_real_process_killed_while_it_computes_is_told_in_the_row(lab: Lab) -> None:
    lab.put(normal(300_000, 12))
    [number] = until(lambda: computing(os.getpid()), "it computes")
    os.kill(number, signal.SIGKILL)
    assert lab.ended()["failure"] == "The process that computes was ended by signal 9."
    assert "signal 9" in refusal(lab.get(), 503, "UNAVAILABLE")["detail"]


def test_on_uvloop_a_process_is_ended_whatever_it_does(tmp_path: Path) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def outcome(mode: str) -> str:
        words = [sys.executable, "-SE", str(FAKES / "fcs-compute"), mode, str(tmp_path)]
        running = asyncio.ensure_future(compute(words, task(SMALL, tmp_path / "a"), 0.5, asyncio.Event()))
        await asyncio.wait([running], timeout=SOON_S)
        for number in processes(str(tmp_path)):
            os.kill(number, signal.SIGKILL)
        await nobody_waits_for_the_dead()
        try:
            return (await running).decode()
        except Died as died:
            return str(died)

    async def all_of_them() -> dict[str, str]:
        return {mode: await outcome(mode) for mode in ("hang", "die", "fail", "flood", "shout", "close", "note")}

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(all_of_them())
    assert found.pop("note") == "[]"
    assert "signal 9" in found.pop("die")
    assert "exit code 1" in found.pop("fail")
    assert set(found.values()) == {"It took longer than 0.5 s."}


# The service as a process of its own


@contextmanager
def computing_service(service: Service, events: int) -> Iterator[tuple[int, int]]:
    """A service that computes the statistics of a large file: its process's number, and that of what computes."""
    service.start()
    with service.client() as client:
        made(client.put(f"{API}/fcs/content?name=secret-name.fcs", content=normal(events, 12)))
    assert service.process is not None
    of = service.process.pid
    [number] = until(lambda: computing(of), "it computes")
    yield of, number


def statistics_of(service: Service) -> list[dict[str, Any]]:
    with service.client() as client:
        answer = until(lambda: (got := client.get(STATISTICS)).status_code != 202 and got, "they are there")
    found: list[dict[str, Any]] = made(answer, 200)["statistics"]
    return found


@pytest.mark.slow
def test_a_process_that_computes_ends_with_the_service_that_is_killed_and_is_begun_anew(service: Service) -> None:
    with computing_service(service, 300_000) as (_, number):
        assert there(number)
        service.kill()
        until(lambda: not there(number), "it ends", patience_s=SOON_S)
    assert rows(service.database, "SELECT status FROM fcs_contents") == [{"status": "pending"}]
    service.start()
    assert [of["n"] for of in statistics_of(service)] == [300_000] * 12


@pytest.mark.slow
def test_a_stop_while_it_computes_is_quick_and_the_next_start_computes(service: Service) -> None:
    with computing_service(service, 300_000) as (_, number), ThreadPoolExecutor(1) as pool, service.client() as client:
        waiting = pool.submit(client.get, STATISTICS)
        ended = threading.Event()
        stopping = threading.Thread(target=lambda: (service.stop(), ended.set()))
        stopping.start()
        assert ended.wait(SOON_S)
        assert not there(number)
        answer = waiting.result(SOON_S)
        assert (answer.status_code, answer.json()) == (202, WAITING)
        stopping.join()
    service.start()
    assert [of["n"] for of in statistics_of(service)] == [300_000] * 12


def status_of(number: int) -> dict[str, str]:
    """What /proc tells of a process."""
    lines = Path(f"/proc/{number}/status").read_text().splitlines()
    return {name: text.strip() for name, _, text in (line.partition(":") for line in lines)}


@pytest.mark.slow
def test_the_process_is_told_nothing_gives_way_and_keeps_to_its_memory(service: Service) -> None:
    """A million events of twelve parameters. The service keeps to one core, the process has all."""
    service.settings |= {"SECRET_KEY": "tell-nobody-this-of-all-secrets-0123456789", "SMTP_PASSWORD": "nor-that"}
    cores = os.sched_getaffinity(0)
    with computing_service(service, 1_000_000) as (of, number):
        environ = Path(f"/proc/{number}/environ").read_bytes()
        names = {line.partition(b"=")[0].decode() for line in environ.split(b"\0") if line}
        assert names == {"PYTHONPATH", "PYTHONUTF8", "PYTHONDONTWRITEBYTECODE"}
        words = Path(f"/proc/{number}/cmdline").read_bytes()
        for secret in (b"tell-nobody", b"nor-that", service.token.encode(), b"secret-name"):
            assert secret not in environ + words
        assert str(service.data_dir).encode() not in words
        until(lambda: os.getpriority(os.PRIO_PROCESS, number) == 10, "it is nice")
        assert os.getpriority(os.PRIO_PROCESS, of) == 0
        assert os.sched_getaffinity(number) == cores
        threads = [int(name) for name in os.listdir(f"/proc/{of}/task")]
        until(lambda: all(len(os.sched_getaffinity(thread)) == 1 for thread in threads), "it keeps to one core")
        peak_kib, soft = 0, ""
        while there(number):
            with suppress(OSError, KeyError):
                peak_kib = max(peak_kib, int(status_of(number)["VmHWM"].split()[0]))
                limits = Path(f"/proc/{number}/limits").read_text()
                soft = next(line for line in limits.splitlines() if line.startswith("Max data size"))
    assert 0 < peak_kib < 128 * 1024
    assert soft.split()[3:5] == [str(112 * MIB)] * 2
    found = statistics_of(service)
    assert [of["n"] for of in found] == [1_000_000] * 12
    assert all(abs(of["mean"] - 1000) < 3 and abs(of["std"] - 300) < 3 for of in found)
