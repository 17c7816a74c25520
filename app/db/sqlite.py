"""The SQLite engine: the only module that knows aiosqlite. One writer, two readers, each on a thread of its own.

Jobs that arrive in one turn of the event loop travel together: queued reads share a snapshot and one hop, queued
writes share a commit (a SAVEPOINT each, answers only after COMMIT). The loop is woken once for all of them.
"""

import asyncio
import logging
import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import IO, Any, Concatenate, ParamSpec, TypeVar

import aiosqlite

from app.db.database import Database, Tx
from app.db.files import bring_up, hold, reader, reason, writer
from app.db.jobs import Job, SqliteTx, Verdict
from app.db.migrate import Migrated, MigrationError
from app.errors import StartError, Unavailable

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("purser.db")

MOST_WAITING = 1000
MOST_TOGETHER = 256
READERS = 2
RESCUE_S = 0.010
CUT_S = 0.05
STOP_S = 1.0
STEPS_BETWEEN_CHECKS = 20_000
NEVER = float("inf")


class _Thread(aiosqlite.Connection):
    """aiosqlite's connection and thread; the thread never holds up the interpreter's exit, and takes whole batches."""

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._thread.daemon = True

    def submit(self, work: Callable[[], None]) -> None:
        """Queues `work`, which must not raise; nobody waits for it."""
        self._tx.put_nowait((None, work))

    async def call(self, fn: Callable[..., T], *args: object) -> T:
        """Runs `fn` on the connection's thread and waits for it."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((future, lambda: fn(*args)))
        return await future

    def join(self) -> None:
        """Returns when the thread has ended, after a `close` or when the connection could not be opened."""
        self._thread.join()

    @property
    def raw(self) -> sqlite3.Connection:
        return self._conn


class _Lane:
    """A connection with the batch it is serving. The loop fills `jobs` and empties `done`, the thread the reverse."""

    def __init__(self, thread: _Thread, slow_query_ms: float) -> None:
        self.thread = thread
        self.slow_query_ms = slow_query_ms
        self.jobs: deque[Job] = deque()
        self.done: deque[Job] = deque()
        self.busy = False
        self.slow = False
        self.began = 0.0
        self.job_began = NEVER
        self.limit_s = self.most_s = float("inf")

    def late(self) -> bool:
        """SQLite's progress handler: true interrupts the running statement; BEGIN and COMMIT have no limit."""
        return monotonic() - self.job_began > min(self.limit_s, self.most_s)

    def run(self, job: Job) -> Verdict:
        self.limit_s = job.limit_s
        self.job_began = monotonic()
        verdict = job.run(SqliteTx(self.thread.raw, job, self.slow_query_ms))
        self.job_began = NEVER
        return verdict

    def cut(self) -> None:
        """Leaves the running job and each after it a short time only."""
        self.most_s = CUT_S


class SqliteDatabase(Database):
    """The database file of one process. Open it with `SqliteDatabase.open`, close it with `close`."""

    dialect = "sqlite"
    engine = sqlite3.sqlite_version
    _writer: _Lane
    _readers: list[_Lane]

    def __init__(self, path: Path, locks: list[IO[str]]) -> None:
        self.path = path.resolve()
        self.migrated = Migrated(0, 0)
        self._broken = False
        self._locks = locks
        self._loop = asyncio.get_running_loop()
        self._heard: dict[str, list[Callable[[Any], None]]] = {}
        self._waiting = 0
        self._busy = 0
        self._closing = False
        self._one_closes = asyncio.Lock()
        self._writes: deque[Job] = deque()
        self._reads: deque[Job] = deque()
        self._turn_ends = False
        self._tick: asyncio.TimerHandle | None = None
        self._quiet = asyncio.Event()
        self._quiet.set()

    @classmethod
    async def open(
        cls, path: Path, *, data_dir: Path, slow_query_ms: float = 100, readers: int = READERS, empty: bool = False
    ) -> "SqliteDatabase":
        """Takes the locks, opens and migrates the file; `empty` deletes the old one under the lock.

        DatabaseInUse or StartError say in one line why not.
        """
        self = cls(path, hold(path, data_dir))
        path = self.path
        lanes: list[_Lane] = []
        try:
            for suffix in ("-wal", "-shm", "") if empty else ():
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            lanes.append(await _lane(lambda: writer(path), slow_query_ms))
            self.migrated = await lanes[0].thread.call(bring_up, lanes[0].thread.raw, data_dir)
            self.schema = self.migrated.version
            for _ in range(readers):
                lanes.append(await _lane(lambda: reader(path), slow_query_ms))
        except BaseException as error:
            for lane in lanes:
                await lane.thread.close()
            self._release()
            if isinstance(error, sqlite3.Error | MigrationError | OSError):
                raise StartError(f"{path}: {reason(error)}") from error
            raise
        self._writer, self._readers = lanes[0], lanes[1:]
        return self

    async def read(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue(self._reads, Job(fn, args, kwargs, future, writes=False))
        return await future

    async def write(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue(self._writes, Job(fn, args, kwargs, future, writes=True))
        return await future

    def post(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> None:
        self._queue(self._writes, Job(fn, args, kwargs, None, writes=True))

    def subscribe(self, topic: str, hear: Callable[[Any], None]) -> None:
        self._heard.setdefault(topic, []).append(hear)

    @property
    def writable(self) -> bool:
        return not (self._closing or self._broken)

    async def close(self, drain_s: float = 3.0) -> None:
        self._closing = True
        async with self._one_closes:  # a second call closes what the first had to leave open
            await self._drain(drain_s)
            if self._tick is not None:
                self._tick.cancel()
            for lane in (*self._readers, self._writer):
                if not lane.busy:
                    await lane.thread.close()
            if any(lane.busy for lane in (*self._readers, self._writer)):
                log.error("a database function does not end; its connection and the locks are left as they are")
            else:
                self._release()

    async def _drain(self, drain_s: float) -> None:
        """Returns when every job is answered: served, cut off, or refused when even cutting did not help."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), drain_s)
        for lane in (self._writer, *self._readers):
            lane.cut()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._quiet.wait(), STOP_S)
        for queue in (self._writes, self._reads):
            for job in queue:
                job.error = Unavailable("The service is stopping.")
            self._deliver(queue)

    def _release(self) -> None:
        for lock in self._locks:
            lock.close()

    def _queue(self, queue: deque[Job], job: Job) -> None:
        if self._closing:
            raise Unavailable("The service is stopping.")
        if self._waiting >= MOST_WAITING:
            raise Unavailable("Too many requests wait for the database.")
        self._waiting += 1
        self._quiet.clear()
        queue.append(job)
        if not self._turn_ends:
            self._turn_ends = True
            self._loop.call_soon(self._end_of_turn)

    def _end_of_turn(self) -> None:
        self._turn_ends = False
        self._dispatch()

    def _dispatch(self) -> None:
        """Hands what waits to idle connections. A second reader is used only while the first is held up."""
        if self._writes and not self._writer.busy:
            self._hand(self._writer, self._writes, self._serve_writes)
        for lane in self._readers if self._reads else ():
            if not lane.busy:
                self._hand(lane, self._reads, self._serve_reads)
                break
            if not lane.slow:
                break
        if self._tick is None and any(lane.busy for lane in self._readers):
            self._tick = self._loop.call_later(RESCUE_S, self._rescue)

    def _hand(self, lane: _Lane, queue: deque[Job], serve: Callable[[_Lane], None]) -> None:
        while queue and len(lane.jobs) < MOST_TOGETHER:
            lane.jobs.append(queue.popleft())
        self._busy += 1
        lane.busy, lane.slow, lane.began = True, False, monotonic()
        lane.thread.submit(lambda: serve(lane))

    def _rescue(self) -> None:
        """Every 10 ms while reads run: what stands behind a slow read moves to another reader, what is done answers."""
        self._tick = None
        for lane in self._readers:
            if lane.busy and monotonic() - lane.began >= RESCUE_S:
                lane.slow = True
                self._deliver(lane.done)
                while lane.jobs:
                    with suppress(IndexError):
                        self._reads.appendleft(lane.jobs.pop())
        self._dispatch()

    def _wake(self, lane: _Lane) -> None:
        """Called on the connection's thread when its batch is served."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._served, lane)

    def _served(self, lane: _Lane) -> None:
        self._busy -= 1
        lane.busy = lane.slow = False
        self._deliver(lane.done)
        self._dispatch()

    def _deliver(self, done: deque[Job]) -> None:
        while done:
            job = done.popleft()
            self._waiting -= 1
            if job.verdict is Verdict.DONE or job.verdict is Verdict.KEPT:
                for topic, key in job.notes:
                    for hear in self._heard.get(topic, ()):
                        _tell(hear, key)
            if self.observe is not None and job.verdict is not None:
                _tell(self.observe, job.name, job.statements, job.seconds)
            job.answer()
        if not self._waiting and not self._busy:  # a reader whose jobs were moved away may not even have begun
            self._quiet.set()

    # What follows runs on a connection's thread.

    def _serve_reads(self, lane: _Lane) -> None:
        """Serves the batch on snapshots begun after it was closed: no read is older than its caller's writes."""
        connection = lane.thread.raw
        with suppress(IndexError):  # the batch is served, or the loop has moved the rest to another reader
            while True:
                self._read_one(lane, connection, lane.jobs.popleft())
        _roll_back(connection)
        self._wake(lane)

    def _read_one(self, lane: _Lane, connection: sqlite3.Connection, job: Job) -> None:
        """Runs the next read of the batch, on a new snapshot when the one before is spoiled."""
        if not job.abandoned():
            try:
                if not connection.in_transaction:
                    connection.execute("BEGIN")
                if lane.run(job) is Verdict.SPOILED:
                    _roll_back(connection)
            except sqlite3.Error as error:
                job.fail(error)
        lane.done.append(job)

    def _serve_writes(self, lane: _Lane) -> None:
        jobs = [*lane.jobs]
        lane.jobs.clear()
        wanted = [job for job in jobs if not job.abandoned()]
        if not self._together(lane, wanted):
            for job in wanted:
                self._alone(lane, job)
        lane.done.extend(jobs)
        self._wake(lane)

    def _together(self, lane: _Lane, jobs: list[Job]) -> bool:
        """Runs the jobs in one transaction; False, with nothing done, when they must be run one by one."""
        if len(jobs) < 2:
            return False
        connection = lane.thread.raw
        try:
            connection.execute("BEGIN IMMEDIATE")
            for job in jobs:
                connection.execute("SAVEPOINT member")
                verdict = lane.run(job)
                if verdict is Verdict.SPOILED:
                    return False
                if verdict is Verdict.REFUSED:
                    connection.execute("ROLLBACK TO member")
                connection.execute("RELEASE member")
            connection.execute("COMMIT")
            self._broken = False
        except sqlite3.Error as error:
            log.info("a shared commit failed; its members are run one by one", extra={"error": str(error)})
            return False
        finally:
            _roll_back(connection)
        return True

    def _alone(self, lane: _Lane, job: Job) -> None:
        connection = lane.thread.raw
        try:
            connection.execute("BEGIN IMMEDIATE")
            if lane.run(job) in (Verdict.DONE, Verdict.KEPT):
                connection.execute("COMMIT")
                self._broken = False
        except sqlite3.Error as error:
            job.fail(error)
        finally:
            _roll_back(connection)
        if job.disk_failed:
            self._broken = True


def _tell(hear: Callable[..., None], *what: object) -> None:
    """Calls a listener, whose failure must harm nobody."""
    try:
        hear(*what)
    except Exception:
        log.exception("a listener of the database failed")


def _roll_back(connection: sqlite3.Connection) -> None:
    """Ends whatever transaction is still open."""
    if connection.in_transaction:
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            log.error("a rollback failed", exc_info=error)


async def _lane(connector: Callable[[], sqlite3.Connection], slow_query_ms: float) -> _Lane:
    thread = _Thread(connector)
    lane = _Lane(thread, slow_query_ms)
    try:
        await thread
        await thread.set_progress_handler(lane.late, STEPS_BETWEEN_CHECKS)
    except BaseException:
        await thread.close()
        await asyncio.to_thread(thread.join)  # its last words need the loop
        raise
    return lane
