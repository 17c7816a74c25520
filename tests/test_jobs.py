"""Bells, waits and workers: nothing rung is lost, a table is the queue, and a worker outlives what goes wrong."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from app import jobs
from app.errors import Unavailable
from app.jobs import Bell, Bells, Locks, Worker, both, first_of
from tests.notes import add, opened, soon, statement

# Bells


async def test_a_bell_wakes_everybody_who_took_it_before_it_rang() -> None:
    bell = Bell()
    early = [bell.next(), bell.next()]
    bell.ring()
    late = bell.next()
    assert all(rung.is_set() for rung in early)
    assert not late.is_set()
    bell.ring()
    assert late.is_set()


async def test_a_ring_between_taking_and_waiting_is_not_lost() -> None:
    bell = Bell()
    rung = bell.next()
    bell.ring()
    await soon(rung.wait())


async def test_a_row_s_bell_is_heard_by_those_who_watch_that_row_alone() -> None:
    bells = Bells()
    mine, theirs = bells.of(1), bells.of(2)
    rung, other = mine.next(), theirs.next()
    bells.ring(1)
    bells.ring(3)  # nobody listens
    assert rung.is_set()
    assert not other.is_set()
    assert bells.of(1) is mine
    del mine
    assert len(bells) == 1


# The first of several waits


class Watched:
    """Waits for an event and remembers how that ended."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.outcome = "waits"

    async def wait(self) -> None:
        try:
            await self.event.wait()
            self.outcome = "over"
        except asyncio.CancelledError:
            self.outcome = "cancelled"
            raise


async def test_it_returns_with_the_first_and_the_others_are_cancelled_by_then() -> None:
    one, two, three = Watched(), Watched(), Watched()

    async def outcomes() -> list[str]:
        await first_of(one.wait(), two.wait(), three.wait())
        return [watched.outcome for watched in (one, two, three)]

    waiting = asyncio.create_task(outcomes())
    await asyncio.sleep(0)
    assert not waiting.done()
    two.event.set()
    assert await soon(waiting) == ["cancelled", "over", "cancelled"]


async def test_it_returns_when_the_time_is_over() -> None:
    watched = Watched()
    await soon(first_of(watched.wait(), timeout_s=0.001))
    assert watched.outcome == "cancelled"


async def test_it_takes_its_waits_along_when_it_is_cancelled() -> None:
    one, two = Watched(), Watched()
    waiting = asyncio.create_task(first_of(one.wait(), two.wait()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [watched.outcome for watched in (one, two)] in (["cancelled"] * 2, ["waits"] * 2)
    assert len(asyncio.all_tasks()) <= 2  # this test and the runner's own


# Two side by side


async def test_both_results_come_together() -> None:
    one, two = Watched(), Watched()
    running = asyncio.create_task(both(one.wait(), two.wait()))
    await asyncio.sleep(0)
    two.event.set()
    one.event.set()
    assert await soon(running) == (None, None)
    assert (one.outcome, two.outcome) == ("over", "over")


async def test_the_first_that_raises_ends_the_other_and_is_raised() -> None:
    waiting = Watched()

    async def refuse() -> None:
        raise Unavailable("Not now.")

    with pytest.raises(Unavailable, match=r"Not now\."):
        await soon(both(waiting.wait(), refuse()))
    assert waiting.outcome == "cancelled"


async def test_both_are_taken_along_when_their_caller_is_cancelled() -> None:
    one, two = Watched(), Watched()
    running = asyncio.create_task(both(one.wait(), two.wait()))
    await asyncio.sleep(0.001)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (one.outcome, two.outcome) == ("cancelled", "cancelled")


# Workers


class Rows:
    """A queue and what became of its rows; `fail` says which row raises what."""

    def __init__(self, *waiting: str) -> None:
        self.waiting = [*waiting]
        self.done: list[str] = []
        self.looked = 0
        self.fail: dict[str, BaseException] = {}
        self.empty = asyncio.Event()

    async def claim(self) -> str | None:
        self.looked += 1
        if "claim" in self.fail:
            raise self.fail.pop("claim")
        if self.waiting:
            return self.waiting.pop(0)
        self.empty.set()
        return None

    async def run(self, row: str) -> None:
        if row in self.fail:
            raise self.fail[row]
        self.done.append(row)

    async def until_empty(self) -> None:
        """Returns when the worker has found nothing more to do."""
        self.empty.clear()
        await soon(self.empty.wait())


async def test_a_worker_runs_what_waits_and_then_what_the_bell_announces() -> None:
    rows = Rows("a", "b", "c")
    worker = Worker("rows", rows.claim, rows.run)
    await rows.until_empty()
    assert rows.done == ["a", "b", "c"]
    rows.waiting.append("d")
    worker.bell.ring()
    await rows.until_empty()
    assert rows.done == ["a", "b", "c", "d"]
    await soon(worker.stop())


async def test_a_worker_sleeps_when_there_is_nothing_to_do() -> None:
    rows = Rows()
    worker = Worker("rows", rows.claim, rows.run)
    await rows.until_empty()
    for _ in range(100):
        await asyncio.sleep(0)
    assert rows.looked == 1
    await soon(worker.stop())
    assert rows.looked == 1


async def test_a_ring_while_the_worker_looks_makes_it_look_again() -> None:
    rows = Rows()

    async def claim() -> str | None:
        found = await rows.claim()
        if rows.looked == 1:
            rows.waiting.append("a")  # arrives after the look and before the sleep
            worker.bell.ring()
        return found

    worker = Worker("rows", claim, rows.run)
    await rows.until_empty()
    await rows.until_empty()
    assert rows.done == ["a"]
    await soon(worker.stop())


async def test_a_worker_looks_again_by_itself_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "LOOK_AGAIN_S", 0.001)
    rows = Rows()
    worker = Worker("rows", rows.claim, rows.run)
    await rows.until_empty()
    rows.waiting.append("a")  # nobody rings
    await rows.until_empty()
    assert rows.done == ["a"]
    await soon(worker.stop())


@pytest.mark.parametrize(
    ("where", "error", "line"),
    [
        ("claim", Unavailable("The database is busy."), "a worker cannot go on for now"),
        ("a", Unavailable("The database is busy."), "a worker cannot go on for now"),
        ("claim", ValueError("odd"), "a worker's job failed"),
        ("a", ValueError("odd"), "a worker's job failed"),
    ],
)
async def test_a_worker_outlives_what_goes_wrong_and_says_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, where: str, error: Exception, line: str
) -> None:
    monkeypatch.setattr(jobs, "LOOK_AGAIN_S", 0.001)
    rows = Rows("a", "b")
    rows.fail[where] = error
    worker = Worker("rows", rows.claim, rows.run)
    await rows.until_empty()
    assert rows.done == (["b"] if where == "a" else ["a", "b"])
    (record,) = [record for record in caplog.records if record.name == "purser.jobs"]
    assert record.message == line
    assert vars(record)["worker"] == "rows"
    assert (record.exc_info is not None) == isinstance(error, ValueError)
    await soon(worker.stop())


async def test_after_an_error_a_worker_does_not_spin(caplog: pytest.LogCaptureFixture) -> None:
    rows = Rows("a", "a", "a")
    rows.fail["a"] = ValueError("odd")
    worker = Worker("rows", rows.claim, rows.run)
    for _ in range(100):
        await asyncio.sleep(0)
    assert rows.looked == 1
    worker.bell.ring()
    for _ in range(100):
        await asyncio.sleep(0)
    assert rows.looked == 2
    await soon(worker.stop())


async def test_stop_waits_for_what_runs_and_nothing_more_is_claimed() -> None:
    rows = Rows("a", "b")
    running, may_end = asyncio.Event(), asyncio.Event()

    async def run(row: str) -> None:
        running.set()
        await worker.stopping.wait()
        await may_end.wait()
        rows.done.append(row)

    worker = Worker("rows", rows.claim, run)
    await soon(running.wait())
    stopping = asyncio.create_task(worker.stop())
    for _ in range(20):
        await asyncio.sleep(0)
    assert not stopping.done()
    may_end.set()
    await soon(stopping)
    assert (rows.done, rows.waiting) == (["a"], ["b"])


async def test_as_many_run_at_once_as_the_worker_may() -> None:
    rows = Rows(*"abcdefgh")
    running: list[str] = []
    most = 0
    full = asyncio.Event()

    async def run(row: str) -> None:
        nonlocal most
        running.append(row)
        most = max(most, len(running))
        if len(running) == 3:
            full.set()
        await full.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        running.remove(row)
        await rows.run(row)

    worker = Worker("rows", rows.claim, run, concurrency=3)
    await rows.until_empty()
    await soon(worker.stop())
    assert most == 3
    assert sorted(rows.done) == [*"abcdefgh"]


async def test_four_workers_claim_five_hundred_rows_and_none_twice(tmp_path: Path) -> None:
    take = statement("value", "DELETE FROM notes WHERE id = (SELECT min(id) FROM notes) RETURNING text")
    db = await opened(tmp_path)
    wanted = [f"{n}" for n in range(500)]
    ran: Counter[str] = Counter()
    all_done = asyncio.Event()

    async def claim() -> str | None:
        return await db.write(lambda tx: tx.value(take, str))

    async def run(row: str) -> None:
        ran[row] += 1
        if len(ran) == len(wanted):
            all_done.set()

    worker = Worker("queue", claim, run, concurrency=4)
    for text in wanted:
        await db.write(add, text)
        worker.bell.ring()
    await soon(all_done.wait())
    await soon(worker.stop())
    assert ran == Counter(wanted)
    await db.close()


async def test_a_name_has_one_lock_for_as_long_as_somebody_holds_it() -> None:
    locks = Locks()
    held = locks.of("tool")
    async with held:
        assert locks.of("tool") is held
        assert locks.of("other") is not held
        assert not locks.of("other").locked()
    assert len(locks) == 1
    del held
    assert len(locks) == 0
