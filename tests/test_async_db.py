"""The engine under concurrency, on asyncio's loop and on uvloop: shared commits, order, time limits, leaving callers.

Nothing here is about how long something takes, only about what comes before what. Where a test must know what stands
in the queue it holds the database's thread with a gate.
"""

import asyncio
import gc
import os
import resource
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from importlib.util import find_spec
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

import pytest

from app.db import Tx, limit_s
from app.db.database import DatabaseInUse
from app.db.sqlite import MOST_TOGETHER, MOST_WAITING, SqliteDatabase
from app.errors import Conflict, NoSpace, Unauthorized, Unavailable
from tests.notes import (
    HANG_S,
    Gate,
    Note,
    add,
    add_new,
    add_too_much,
    ask,
    count,
    has,
    held,
    opened,
    q,
    soon,
    statement,
    texts,
    together,
    toil_a_minute,
    toil_too_long,
)

ROOT = Path(__file__).parent.parent
LOOPS = [
    "asyncio",
    pytest.param("uvloop", marks=pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is an extra")),
]


@pytest.fixture(scope="module", params=LOOPS)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    """A database with the notes; closed at the end with no transaction open and nothing said to the loop."""
    errors: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: errors.append(context))
    database = await opened(tmp_path)
    yield database
    for lane in (database._writer, *database._readers):
        if lane.thread._connection is not None and not lane.busy:
            assert not await lane.thread.call(lambda raw: raw.in_transaction, lane.thread.raw)
    await database.close()
    gc.collect()  # an error that nobody fetched is reported when it goes
    loop.set_exception_handler(before)
    assert errors == []


async def commits(db: SqliteDatabase) -> list[str]:
    """A list that grows by each COMMIT of the writer."""
    seen: list[str] = []
    await db._writer.thread.set_trace_callback(lambda sql: seen.append(sql) if sql == "COMMIT" else None)
    return seen


class Refused(Unauthorized):
    """A refusal that leaves a trace."""

    keeps = True


def add_then_refuse(tx: Tx, text: str, error: BaseException) -> None:
    add(tx, text)
    tx.notify("notes", text)
    raise error


# Shared commits


async def test_writes_of_one_turn_share_one_commit(db: SqliteDatabase) -> None:
    seen = await commits(db)
    assert await together(*(db.write(add, f"{n}") for n in range(40))) == [f"{n}" for n in range(40)]
    assert len(seen) == 1
    assert await db.read(count) == 40


async def test_conflicts_in_a_shared_commit_refuse_their_callers_alone(db: SqliteDatabase) -> None:
    for n in range(0, 40, 5):
        await db.write(add, f"{n}")
    seen = await commits(db)
    outcomes = await together(*(db.write(add_new, f"{n}") for n in range(40)))
    assert [isinstance(outcome, Conflict) for outcome in outcomes] == [n % 5 == 0 for n in range(40)]
    assert len(seen) == 1
    assert await db.read(count) == 8 + 32


async def test_what_a_refused_member_wrote_is_undone(db: SqliteDatabase) -> None:
    outcomes = await together(
        db.write(add, "a"), db.write(add_then_refuse, "b", Conflict("No.")), db.write(add, "a"), db.write(add, "c")
    )
    assert [type(outcome) for outcome in outcomes] == [str, Conflict, sqlite3.IntegrityError, str]
    assert await db.read(texts) == ["a", "c"]


async def test_a_refusal_that_keeps_is_committed_and_then_raised(db: SqliteDatabase) -> None:
    with pytest.raises(Refused, match="No"):
        await db.write(add_then_refuse, "alone", Refused("No."))
    outcomes = await together(db.write(add, "a"), db.write(add_then_refuse, "b", Refused("No.")), db.write(add, "c"))
    assert [type(outcome) for outcome in outcomes] == [str, Refused, str]
    assert await db.read(texts) == ["alone", "a", "b", "c"]


async def test_more_writes_than_one_commit_takes_go_into_the_next(db: SqliteDatabase) -> None:
    seen = await commits(db)
    await together(*(db.write(add, f"{n}") for n in range(MOST_TOGETHER + 1)))
    assert len(seen) == 2
    assert await db.read(count) == MOST_TOGETHER + 1


async def test_the_members_of_a_spoiled_commit_run_again_alone_with_the_same_arguments(db: SqliteDatabase) -> None:
    runs: list[list[str]] = []
    given = ["a", "b"]

    def add_all(tx: Tx, several: list[str]) -> int:
        runs.append([*several])
        for text in several:
            add(tx, text)
        return len(runs)

    def spoil(tx: Tx) -> None:
        tx.exec(q.broken)

    seen = await commits(db)
    outcomes = await together(db.write(add_all, given), db.write(spoil))
    assert outcomes[0] == 2
    assert isinstance(outcomes[1], sqlite3.OperationalError)
    assert runs == [["a", "b"], ["a", "b"]]
    assert given == ["a", "b"]
    assert len(seen) == 1
    assert await db.read(texts) == ["a", "b"]


async def test_a_member_that_ends_the_shared_transaction_harms_only_itself(db: SqliteDatabase) -> None:
    outcomes = await together(
        db.write(add, "a"), db.write(lambda tx: tx.exec(statement("exec", "ROLLBACK"))), db.write(add, "c")
    )
    assert [type(outcome) for outcome in outcomes] == [str, sqlite3.OperationalError, str]
    assert await db.read(texts) == ["a", "c"]


async def test_a_full_disk_refuses_those_that_do_not_fit_and_keeps_the_others(db: SqliteDatabase) -> None:
    pages = await db.read(ask, "page_count")
    assert isinstance(pages, int)
    await db.write(ask, f"max_page_count = {pages + 20}")
    small = [f"{n}" for n in range(5)]
    big = ["x" * 200_000, "y" * 200_000]
    outcomes = await together(*(db.write(add, text) for text in (*small[:3], *big, *small[3:])))
    assert [type(outcome) for outcome in outcomes] == [str, str, str, NoSpace, NoSpace, str, str]
    assert await db.read(texts) == small
    assert await db.read(ask, "integrity_check") == "ok"

    await db.write(ask, f"max_page_count = {pages + 1000}")
    assert await together(*(db.write(add, text) for text in big)) == big


async def test_it_says_that_it_cannot_write_until_a_commit_succeeds_again(db: SqliteDatabase) -> None:
    def find_no_room(tx: Tx) -> None:
        raise NoSpace("This would be too much.")

    with pytest.raises(NoSpace, match="too much"):
        await db.write(find_no_room)
    assert db.writable  # a rule of a room, not the disk

    await db.write(ask, f"max_page_count = {await db.read(ask, 'page_count')}")
    with pytest.raises(NoSpace, match="The disk is full"):
        await db.write(add, "x" * 200_000)
    assert not db.writable
    assert [*map(type, await together(db.write(ask, "page_count"), db.write(ask, "page_count")))] == [int, int]
    assert db.writable

    room = [200_000, 1]

    def add_less_each_time(tx: Tx) -> None:
        add(tx, "x" * room.pop(0))

    await together(db.write(count), db.write(add_less_each_time))
    assert room == []
    assert db.writable  # what was too much in the shared commit did fit when it ran alone
    with pytest.raises(NoSpace, match="The disk is full"):
        await db.write(add, "x" * 200_000)
    await db.write(ask, "max_page_count = 100000")
    assert db.writable


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


# Only root can mount; everybody else has the same story told by max_page_count above.
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
async def test_on_a_disk_that_is_really_full_it_goes_on_once_there_is_space(small_disk: Path) -> None:
    db = await opened(small_disk)
    ballast = small_disk / "ballast"
    with suppress(OSError), open(ballast, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    outcomes = await together(*(db.write(add, str(n) * 10_000) for n in range(5)))
    assert {type(outcome) for outcome in outcomes} == {NoSpace}
    assert len({id(outcome) for outcome in outcomes}) == 5
    assert not db.writable
    assert await db.read(count) == 0

    ballast.unlink()
    assert await db.write(add, "a") == "a"
    assert db.writable
    assert await db.read(texts) == ["a"]
    assert await db.read(ask, "integrity_check") == "ok"
    await db.close()


async def test_a_member_whose_foreign_key_fails_at_commit_fails_alone(db: SqliteDatabase) -> None:
    def add_orphan(tx: Tx, text: str) -> None:
        tx.exec(q.add_under, text=text, parent_id=999)

    with pytest.raises(Conflict, match="deleted meanwhile") as told:
        await db.write(add_orphan, "alone")
    assert isinstance(told.value.__cause__, sqlite3.IntegrityError)
    outcomes = await together(db.write(add, "a"), db.write(add_orphan, "b"), db.write(add, "c"))
    assert [type(outcome) for outcome in outcomes] == [str, Conflict, str]
    assert await db.read(texts) == ["a", "c"]


@contextmanager
def files_end_at(size_bytes: int) -> Iterator[None]:
    """No file of this process can grow beyond a size: the kernel answers EFBIG, as a broken disk answers EIO."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_commit_that_cannot_be_written_fails_for_each_caller_and_leaves_nothing_open(
    db: SqliteDatabase, tmp_path: Path
) -> None:
    with files_end_at((tmp_path / "app.db-wal").stat().st_size):
        outcomes = await together(*(db.write(add, f"{n}") for n in range(5)))
    assert {str(outcome) for outcome in outcomes} == {"The database cannot be read or written."}
    assert len({id(outcome) for outcome in outcomes}) == 5
    assert not db.writable
    assert await db.write(add, "a") == "a"
    assert db.writable
    assert await db.read(texts) == ["a"]


# Time limits


@pytest.mark.parametrize("how", ["read", "write"])
async def test_a_function_over_its_time_limit_is_refused_and_what_follows_works(db: SqliteDatabase, how: str) -> None:
    run: Callable[..., Any] = getattr(db, how)
    with pytest.raises(Unavailable, match="took too long"):
        await soon(run(toil_too_long))
    outcomes = await together(run(count), run(toil_too_long), run(count), run(toil_too_long), run(count))
    assert [type(outcome) for outcome in outcomes] == [int, Unavailable, int, Unavailable, int]


async def test_an_interrupted_write_leaves_its_neighbours_kept(db: SqliteDatabase) -> None:
    outcomes = await together(db.write(add, "a"), db.write(add_too_much, "b"), db.write(add, "c"))
    assert [type(outcome) for outcome in outcomes] == [str, Unavailable, str]
    assert await db.read(texts) == ["a", "c"]


async def test_each_job_has_the_time_limit_of_its_own_function(db: SqliteDatabase) -> None:
    @limit_s(HANG_S)
    def toil_for_long(tx: Tx) -> int | None:
        return tx.value(q.toil, int, steps=2_000_000)

    assert await together(db.read(toil_for_long), db.read(count)) == [2_000_000, 0]
    with pytest.raises(Unavailable, match="took too long"):
        await db.read(limit_s(0.0)(lambda tx: tx.value(q.toil, int, steps=2_000_000)))


async def test_a_database_error_that_is_swallowed_still_ends_the_transaction(db: SqliteDatabase) -> None:
    said: list[str] = []

    @limit_s(0.05)
    def swallow(tx: Tx) -> str:
        add(tx, "before")
        with suppress(sqlite3.Error):
            tx.exec(q.add_endlessly)  # the interrupt rolls everything back: what follows would be in autocommit
        for attempt in (lambda: tx.exec(q.add, text="after"), lambda: tx.notify("notes", 1), lambda: count(tx)):
            try:
                attempt()
            except RuntimeError as error:
                said.append(str(error))
        return "all is well"

    with pytest.raises(Unavailable, match="took too long"):
        await db.write(swallow)
    assert len(said) == 3
    assert all("has failed; nothing can follow" in text for text in said)
    assert await db.read(texts) == []
    outcomes = await together(db.write(add, "a"), db.write(swallow), db.write(add, "c"))
    assert [type(outcome) for outcome in outcomes] == [str, Unavailable, str]
    assert await db.read(texts) == ["a", "c"]


async def test_a_constraint_that_is_swallowed_is_a_refusal_all_the_same(db: SqliteDatabase) -> None:
    def swallow(tx: Tx) -> None:
        add(tx, "b")
        with suppress(sqlite3.IntegrityError):
            add(tx, "b")

    outcomes = await together(db.write(add, "a"), db.write(swallow), db.write(add, "c"))
    assert [type(outcome) for outcome in outcomes] == [str, sqlite3.IntegrityError, str]
    assert await db.read(texts) == ["a", "c"]


# Errors that cannot travel as they are


@pytest.mark.parametrize("how", ["read", "write"])
async def test_an_empty_next_does_not_hang_its_caller(db: SqliteDatabase, how: str) -> None:
    def first(tx: Tx) -> str:
        return next(iter(texts(tx)))

    run: Callable[..., Any] = getattr(db, how)
    with pytest.raises(RuntimeError, match=r"first raised StopIteration") as caught:
        await soon(run(first))
    assert isinstance(caught.value.__cause__, StopIteration)
    outcomes = await together(run(count), run(first), run(count))
    assert [type(outcome) for outcome in outcomes] == [int, RuntimeError, int]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()])
async def test_what_would_end_the_program_ends_only_the_call(db: SqliteDatabase, error: BaseException) -> None:
    outcomes = await together(db.write(add, "a"), db.write(add_then_refuse, "b", error), db.write(add, "c"))
    assert [type(outcome) for outcome in outcomes] == [str, RuntimeError, str]
    assert str(outcomes[1]) == f"add_then_refuse raised {type(error).__name__}"
    assert await db.read(texts) == ["a", "c"]


# Order


async def test_writes_run_in_the_order_of_their_calls_and_each_sees_those_before_it(db: SqliteDatabase) -> None:
    def number(tx: Tx) -> int:
        before = count(tx)
        add(tx, f"{before}")
        return before

    assert await together(*(db.write(number) for _ in range(200))) == [*range(200)]

    async def caller(first: int) -> int:
        for _ in range(first % 7):
            await asyncio.sleep(0)
        return await db.write(number)

    assert sorted(await asyncio.gather(*map(caller, range(200)))) == [*range(200, 400)]
    assert [int(text) for text in await db.read(texts)] == [*range(400)]


async def test_a_read_sees_what_its_caller_has_written(db: SqliteDatabase) -> None:
    async def caller(name: int) -> int:
        stale = 0
        for n in range(40):
            await db.write(add, f"{name}-{n}")
            stale += not await db.read(has, f"{name}-{n}")
        return stale

    assert await together(*map(caller, range(25))) == [0] * 25


async def test_a_read_that_waited_behind_a_long_batch_is_not_older_than_its_call(tmp_path: Path) -> None:
    db = await opened(tmp_path, readers=1)
    gate = Gate()

    def look_and_wait(tx: Tx) -> None:
        count(tx)  # from here on the snapshot is what it is
        gate.wait(tx)

    held_up = asyncio.create_task(db.read(look_and_wait))
    beside = asyncio.create_task(db.read(count))  # in the same batch
    await gate.entered()
    await db.write(add, "a")
    behind = asyncio.create_task(db.read(has, "a"))
    await asyncio.sleep(0)
    gate.open()
    assert await soon(behind) is True
    await asyncio.gather(held_up, beside)
    await db.close()


async def test_reads_of_one_turn_share_one_snapshot(db: SqliteDatabase) -> None:
    begun: list[str] = []
    for lane in db._readers:
        await lane.thread.set_trace_callback(lambda sql: begun.append(sql) if sql == "BEGIN" else None)
    assert await together(*(db.read(count) for _ in range(20))) == [0] * 20
    assert len(begun) == 1


async def test_a_read_sees_one_state_however_many_statements_it_runs(db: SqliteDatabase) -> None:
    gate = Gate()

    def twice(tx: Tx) -> tuple[int, int]:
        before = count(tx)
        gate.wait(tx)
        return before, count(tx)

    reading = asyncio.create_task(db.read(twice))
    await gate.entered()
    await db.write(add, "a")
    gate.open()
    assert await reading == (0, 0)
    assert await db.read(count) == 1


# Slow neighbours


@pytest.mark.parametrize("place", [0, 3, 5])
async def test_reads_beside_a_slow_one_do_not_wait_for_it(db: SqliteDatabase, place: int) -> None:
    gate = Gate()
    reads = [asyncio.create_task(db.read(gate.wait if n == place else count)) for n in range(6)]
    slow = reads.pop(place)
    assert await together(*reads) == [0] * 5
    assert not slow.done()
    assert await soon(db.read(count)) == 0  # nor does one that comes later
    assert await soon(db.write(add, "a")) == "a"
    gate.open()
    await slow


async def test_reads_behind_two_slow_ones_are_served_when_one_of_them_ends(db: SqliteDatabase) -> None:
    gates = Gate(), Gate()
    slow = [asyncio.create_task(db.read(gate.wait)) for gate in gates]
    for gate in gates:
        await gate.entered()
    behind = [asyncio.create_task(db.read(count)) for _ in range(5)]
    gates[1].open()
    await soon(slow[1])
    assert await together(*behind) == [0] * 5
    assert not slow[0].done()
    gates[0].open()
    await slow[0]


# Callers that leave


def add_with_echo(tx: Tx, text: str) -> None:
    tx.exec(q.add, text=text)
    tx.exec(q.add_echo, text=text)


@pytest.mark.slow
async def test_calls_cancelled_at_random_points_leave_nothing_half_done(db: SqliteDatabase) -> None:
    random = Random(20261121)
    done: set[str] = set()
    began = perf_counter()
    await together(*(db.write(add_with_echo, f"{n}") for n in range(10)))
    usual_s = perf_counter() - began

    async def client(name: int) -> None:
        for n in range(500):
            text = f"{name}-{n}"
            call = asyncio.create_task(db.read(has, text) if n % 10 == 9 else db.write(add_with_echo, text))
            await asyncio.wait([call], timeout=random.choice((0, 2 * random.random() * usual_s, HANG_S)))
            call.cancel()
            with suppress(asyncio.CancelledError):
                await call
                done.add(text)

    await asyncio.gather(*map(client, range(10)))
    assert not await db._writer.thread.call(lambda: db._writer.thread.raw.in_transaction)
    await soon(db.write(add_with_echo, "the next"))
    kept = await db.read(texts)
    assert 1000 < len(done) < 4000
    assert {text for text in done if not text.endswith("9")} <= set(kept)
    assert await db.read(lambda tx: tx.value(q.without_echo, int)) == 0
    assert db._waiting == 0


@pytest.mark.parametrize("how", ["read", "write"])
async def test_a_job_whose_caller_left_before_it_began_is_skipped(tmp_path: Path, how: str) -> None:
    db = await opened(tmp_path, readers=1)
    run: Callable[..., Any] = getattr(db, how)
    ran: list[str] = []
    gate = Gate()
    holding = asyncio.create_task(run(gate.wait))
    await gate.entered()
    calls = [asyncio.create_task(run(lambda tx, name: ran.append(name), name)) for name in ("a", "b", "c")]
    await asyncio.sleep(0)
    calls[1].cancel()
    gate.open()
    outcomes = await together(*calls, holding)
    assert isinstance(outcomes[1], asyncio.CancelledError)
    assert ran == ["a", "c"]
    await db.close()


async def test_a_write_whose_caller_leaves_while_it_runs_is_committed(db: SqliteDatabase) -> None:
    gate = Gate()

    def add_slowly(tx: Tx) -> None:
        add(tx, "a")
        gate.wait(tx)

    call = asyncio.create_task(db.write(add_slowly))
    await gate.entered()
    call.cancel()
    gate.open()
    with pytest.raises(asyncio.CancelledError):
        await call
    await db.write(add, "b")
    assert await db.read(texts) == ["a", "b"]


async def test_a_posted_write_is_done_although_its_caller_is_being_cancelled(db: SqliteDatabase) -> None:
    begun = asyncio.Event()

    async def upload() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        except BaseException:
            db.post(add, "abandoned")
            raise

    task = asyncio.create_task(upload())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await db.write(add, "the next")
    assert await db.read(texts) == ["abandoned", "the next"]


async def test_a_posted_write_that_fails_is_logged(db: SqliteDatabase, caplog: pytest.LogCaptureFixture) -> None:
    db.post(add_then_refuse, "a", StopIteration())
    db.post(add_then_refuse, "b", ValueError("no"))
    assert await db.write(add, "c") == "c"
    records = [record for record in caplog.records if record.message == "a posted write failed"]
    assert [record.exc_info[0] for record in records if record.exc_info] == [RuntimeError, ValueError]
    assert [vars(record)["job"] for record in records] == ["add_then_refuse", "add_then_refuse"]
    assert await db.read(texts) == ["c"]


# Messages after commit


def add_and_tell(tx: Tx, text: str) -> None:
    add(tx, text)
    tx.notify("notes", text)


async def test_messages_come_on_the_loop_after_commit_and_before_the_answer(db: SqliteDatabase, tmp_path: Path) -> None:
    events: list[object] = []

    def hear(key: object) -> None:
        with sqlite3.connect(f"file:{tmp_path}/app.db?mode=ro", uri=True) as outside:
            (found,) = outside.execute("SELECT count(*) FROM notes WHERE text = ?", (key,)).fetchone()
        outside.close()
        events.append((key, found, threading.get_ident()))

    async def call(text: str) -> None:
        await db.write(add_and_tell, text)
        events.append(f"{text} answered")

    db.subscribe("notes", hear)
    db.subscribe("others", events.append)
    await call("a")
    here = threading.get_ident()
    assert events == [("a", 1, here), "a answered"]
    events.clear()
    await together(call("b"), call("c"))
    assert events.index(("b", 1, here)) < events.index("b answered")
    assert events.index(("c", 1, here)) < events.index("c answered")


async def test_messages_come_also_when_the_caller_has_gone(db: SqliteDatabase) -> None:
    heard: list[object] = []
    db.subscribe("notes", heard.append)
    gate = Gate()

    def slowly(tx: Tx) -> None:
        tx.notify("notes", "a")
        gate.wait(tx)

    call = asyncio.create_task(db.write(slowly))
    await gate.entered()
    call.cancel()
    gate.open()
    db.post(add_and_tell, "posted")
    await db.write(add, "b")
    assert heard == ["a", "posted"]
    assert call.cancelled()


async def test_no_message_comes_of_what_was_rolled_back(db: SqliteDatabase) -> None:
    heard: list[object] = []
    db.subscribe("notes", heard.append)

    def tell_and_fail_at_commit(tx: Tx) -> None:
        tx.notify("notes", "orphan")
        tx.exec(q.add_under, text="orphan", parent_id=999)

    for _ in range(2):  # alone, then together
        await together(db.write(add_then_refuse, "refused", Conflict("No.")))
        await together(db.write(tell_and_fail_at_commit))
    await together(
        db.write(add_and_tell, "a"),
        db.write(add_then_refuse, "refused", Conflict("No.")),
        db.write(tell_and_fail_at_commit),
        db.write(add_then_refuse, "kept", Refused("No.")),
    )
    assert heard == ["a", "kept"]  # once each, although they ran twice


async def test_a_subscriber_that_fails_harms_nobody(db: SqliteDatabase, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[object] = []

    def fail(*_: object) -> None:
        raise ValueError("a bad listener")

    db.subscribe("notes", fail)
    db.subscribe("notes", heard.append)
    db.observe = fail
    outcomes = await together(db.write(add_and_tell, "a"), db.write(add_and_tell, "b"), db.read(count))
    assert outcomes[:2] == [None, None]
    assert heard == ["a", "b"]
    assert "a bad listener" in caplog.text


# What a job carries along


async def test_a_function_runs_in_the_context_of_its_caller(db: SqliteDatabase) -> None:
    request_id: ContextVar[str] = ContextVar("request_id", default="none")

    def said(tx: Tx) -> str:
        return request_id.get()

    async def handler(id: str) -> tuple[str, str]:
        request_id.set(id)
        return await db.read(said), await db.write(said)

    assert await together(*(handler(f"{n}") for n in range(20))) == [(f"{n}", f"{n}") for n in range(20)]
    assert await db.read(said) == "none"


async def test_services_call_services_within_one_transaction(db: SqliteDatabase) -> None:
    def both(tx: Tx) -> list[str]:
        add(tx, "inner")
        add_new(tx, "outer")
        return texts(tx)

    def fail(tx: Tx) -> None:
        both(tx)

    assert await db.write(both) == ["inner", "outer"]
    with pytest.raises(sqlite3.IntegrityError):
        await db.write(fail)
    assert await db.read(count) == 2


async def test_the_observer_hears_of_each_job_on_the_loop(db: SqliteDatabase) -> None:
    heard: list[tuple[str, int, bool, int]] = []
    db.observe = lambda name, statements, seconds: heard.append((name, statements, seconds >= 0, threading.get_ident()))
    here = threading.get_ident()
    await db.write(add_with_echo, "a")
    await db.read(texts)
    await together(db.write(add_then_refuse, "b", Conflict("No.")))
    expected = [("add_with_echo", 2), ("texts", 1), ("add_then_refuse", 1)]
    assert heard == [(name, statements, True, here) for name, statements in expected]


# Too much, and the end


async def test_the_call_beyond_a_thousand_waiting_is_refused(db: SqliteDatabase) -> None:
    async with held(db) as gate:
        waiting = [asyncio.create_task(db.write(add, f"{n}")) for n in range(MOST_WAITING - 1)]
        await asyncio.sleep(0)
        for run in (db.read, db.write):
            with pytest.raises(Unavailable, match="Too many requests wait"):
                await run(count)
        gate.open()
        await together(*waiting)
    assert MOST_WAITING == 1000
    assert await db.read(count) == 999


async def test_close_answers_all_that_is_queued_and_folds_the_log_into_the_file(
    db: SqliteDatabase, tmp_path: Path
) -> None:
    calls = [asyncio.create_task(db.write(add, f"{n}")) for n in range(500)]
    await asyncio.sleep(0)
    await db.close()
    assert await together(*calls) == [f"{n}" for n in range(500)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app.db", "app.db.lock", "lock"]
    again = await SqliteDatabase.open(tmp_path / "app.db", data_dir=tmp_path)
    assert await again.read(count) == 500
    await again.close()


@pytest.mark.slow
@pytest.mark.parametrize("drain_s", [0.0, 0.2])
async def test_close_cuts_off_what_would_take_a_minute_and_ends_what_stands_behind(
    db: SqliteDatabase, tmp_path: Path, drain_s: float
) -> None:
    long = [asyncio.create_task(db.write(toil_a_minute)), *(asyncio.create_task(db.read(toil_a_minute)) for _ in "12")]
    behind = [asyncio.create_task(db.write(add, f"{n}")) for n in range(20)]
    reads = [asyncio.create_task(db.read(count)) for _ in range(20)]
    await asyncio.sleep(0)
    await soon(db.close(drain_s))
    assert [str(outcome) for outcome in await together(*long)] == ["The database took too long."] * 3
    assert await together(*behind) == [f"{n}" for n in range(20)]
    assert {type(outcome) for outcome in await together(*reads)} == {int}
    assert not (tmp_path / "app.db-wal").exists()


async def test_after_close_begins_new_work_is_refused(db: SqliteDatabase) -> None:
    async with held(db) as gate:
        closing = asyncio.create_task(db.close())
        await asyncio.sleep(0)
        assert not db.writable
        for run in (db.read, db.write):
            with pytest.raises(Unavailable, match="is stopping"):
                await run(count)
        with pytest.raises(Unavailable, match="is stopping"):
            db.post(count)
        gate.open()
    await closing
    with pytest.raises(Unavailable, match="is stopping"):
        await db.read(count)
    await db.close()


@pytest.mark.slow
async def test_a_function_that_never_ends_does_not_hold_up_close_but_keeps_the_file_locked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    db = await opened(tmp_path)
    gate = Gate()
    stuck = asyncio.create_task(db.write(gate.wait))
    await gate.entered()
    behind = asyncio.create_task(db.write(add, "a"))
    await asyncio.sleep(0)
    await soon(db.close(0))
    assert "does not end" in caplog.text
    with pytest.raises(Unavailable, match="is stopping"):
        await behind
    with pytest.raises(DatabaseInUse):
        await SqliteDatabase.open(tmp_path / "app.db", data_dir=tmp_path)
    gate.open()
    await stuck
    await db.close()
    again = await SqliteDatabase.open(tmp_path / "app.db", data_dir=tmp_path)
    await again.close()


EXIT = """
import asyncio, sys
from pathlib import Path
from tests.notes import Gate, opened, toil_a_minute

async def main(loop, folder, how):
    global db
    db = await opened(Path(folder))
    if how == "busy":
        for run in (db.read, db.write):
            asyncio.ensure_future(run(toil_a_minute))
        await asyncio.sleep(0.05)
    elif how == "held":
        gate = Gate()
        asyncio.ensure_future(db.write(gate.wait))
        await gate.entered()

if sys.argv[1] == "uvloop":
    import uvloop
    uvloop.run(main(*sys.argv[1:]))
else:
    asyncio.run(main(*sys.argv[1:]))
print("the loop has ended")
"""


@pytest.mark.slow
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("how", ["idle", "busy", "held"])
def test_an_interpreter_whose_database_was_never_closed_exits(tmp_path: Path, loop: str, how: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", EXIT, loop, str(tmp_path), how],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=HANG_S / 2,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "the loop has ended\n"), ended.stderr


# A connection that fails by itself


async def deny(db: SqliteDatabase, lane: Any, *words: str) -> None:
    """SQLite refuses these transaction words on a connection, once each, as it does when it is out of order."""
    left = [*words]

    def authorize(action: int, word: str | None, *_: object) -> int:
        if action == sqlite3.SQLITE_TRANSACTION and word in left:
            left.remove(word)
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK

    await lane.thread.call(lane.thread.raw.set_authorizer, authorize)


async def test_a_read_whose_transaction_cannot_begin_fails_alone(db: SqliteDatabase) -> None:
    await deny(db, db._readers[0], "BEGIN")
    outcomes = await together(db.read(count), db.read(count))
    assert [type(outcome) for outcome in outcomes] == [sqlite3.DatabaseError, int]


async def test_a_write_whose_transaction_cannot_begin_fails_alone(db: SqliteDatabase) -> None:
    await deny(db, db._writer, "BEGIN", "BEGIN")  # the shared one, then that of the first
    outcomes = await together(db.write(add, "a"), db.write(add, "b"))
    assert [type(outcome) for outcome in outcomes] == [sqlite3.DatabaseError, str]
    assert await db.read(texts) == ["b"]


async def test_a_rollback_that_fails_is_logged_and_the_next_commit_keeps_nothing_of_it(
    db: SqliteDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    await deny(db, db._writer, "ROLLBACK")
    with pytest.raises(Conflict):
        await db.write(add_then_refuse, "a", Conflict("No."))
    assert "a rollback failed" in caplog.text
    outcomes = await together(db.write(add, "b"))
    assert [type(outcome) for outcome in outcomes] == [sqlite3.OperationalError]
    assert await db.write(add, "c") == "c"
    assert await db.read(texts) == ["c"]


async def test_another_program_that_holds_the_write_lock_is_a_busy_database(db: SqliteDatabase, tmp_path: Path) -> None:
    await db._writer.thread.execute_fetchall("PRAGMA busy_timeout = 0")
    other = sqlite3.connect(tmp_path / "app.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    outcomes = await together(db.write(add, "a"), db.write(add, "b"))
    assert {str(outcome) for outcome in outcomes} == {"The database is busy."}
    other.execute("ROLLBACK")
    other.close()
    assert await db.write(add, "c") == "c"
    assert await db.read(lambda tx: tx.many(q.all_notes, Note)) == [Note(1, "c")]
