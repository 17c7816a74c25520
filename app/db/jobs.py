"""One queued transaction: a function, its arguments, the caller's context, and what became of it."""

import asyncio
import inspect
import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from enum import Enum
from functools import partial
from time import monotonic, perf_counter
from typing import Any, TypeAlias, TypeVar

from app.db.database import READ_LIMIT_S, WRITE_LIMIT_S, Tx
from app.db.queries import Query, check
from app.db.rows import converter
from app.errors import Conflict, NoSpace, PurserError, Unavailable
from app.values import now

T = TypeVar("T")

log = logging.getLogger("purser.db")

DatabaseError: TypeAlias = sqlite3.Error | MemoryError
"""What kills a transaction: SQLite may have rolled it back by itself, also when it ran out of memory."""

_NOT_PLAIN = inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
_converters: dict[tuple[Query, type], Callable[[Sequence[object]], Any]] = {}


class Verdict(Enum):
    """How a job ended: DONE and KEPT are committed, REFUSED undone, SPOILED may have taken the transaction along."""

    DONE = 1
    KEPT = 2
    REFUSED = 3
    SPOILED = 4


class Job:
    """A function on its way through a connection's thread. `run` may happen twice: alone after a spoiled group."""

    __slots__ = (
        "args", "context", "disk_failed", "error", "fn", "future", "kwargs", "limit_s", "name", "notes", "result",
        "seconds", "statements", "verdict", "writes",
    )  # fmt: skip

    def __init__(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        future: asyncio.Future[Any] | None,
        *,
        writes: bool,
    ) -> None:
        plain = fn.func if isinstance(fn, partial) else fn
        code = getattr(plain, "__code__", None)
        if code is not None and code.co_flags & _NOT_PLAIN:
            raise TypeError(f"{plain.__qualname__} must be a plain function: it runs whole, on the database's thread")
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.future = future
        self.writes = writes
        self.name: str = getattr(plain, "__qualname__", type(plain).__name__)
        self.limit_s: float = getattr(plain, "limit_s", WRITE_LIMIT_S if writes else READ_LIMIT_S)
        self.context = copy_context()
        self.verdict: Verdict | None = None
        self.disk_failed = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.notes: list[tuple[str, object]] = []
        self.statements = 0
        self.seconds = 0.0

    def abandoned(self) -> bool:
        """True when the caller left before the job began."""
        return self.future is not None and self.future.cancelled()

    def run(self, tx: "SqliteTx") -> Verdict:
        """Runs the function; never raises. The transaction around it is the engine's business."""
        began = monotonic()
        self.result = self.error = None
        self.disk_failed = False
        try:
            self.result = self.context.run(self.fn, tx, *self.args, **self.kwargs)
            verdict = Verdict.DONE
        except PurserError as error:
            self.error = error
            verdict = Verdict.KEPT if error.keeps else Verdict.REFUSED
        except Exception as error:
            self.error = error
            verdict = Verdict.REFUSED
        except BaseException as error:  # SystemExit and the like must not end the thread, nor reach the loop as such
            self.error = self._told_of(error)
            verdict = Verdict.REFUSED
        tx.over = True
        if tx.cause is not None:  # also when the function swallowed it
            verdict = self.fail(tx.cause)
        self.seconds = monotonic() - began
        self.statements = tx.statements
        self.notes = tx.notes
        self.verdict = verdict
        return verdict

    def fail(self, cause: DatabaseError) -> Verdict:
        """Notes a database error as the job's outcome, in words for the caller."""
        self.disk_failed = _code(cause) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
        self.error = _translated(cause, self)
        self.verdict = Verdict.REFUSED if isinstance(cause, sqlite3.IntegrityError) else Verdict.SPOILED
        return self.verdict

    def answer(self) -> None:
        """Resolves the caller's future, on the loop."""
        error, self.error = self.error, None
        if isinstance(error, StopIteration):  # a future cannot carry it: the caller would wait for ever
            error = self._told_of(error)
        if self.future is None:
            if error is not None:
                log.error("a posted write failed", exc_info=error, extra={"job": self.name})
        elif not self.future.done():
            if error is not None:
                self.future.set_exception(error)
            else:
                self.future.set_result(self.result)

    def _told_of(self, error: BaseException) -> RuntimeError:
        """An error that may travel to the caller, in the place of one that may not."""
        told = RuntimeError(f"{self.name} raised {type(error).__name__}")
        told.__cause__ = error
        return told


def _code(cause: DatabaseError) -> int:
    """SQLite's primary result code, 0 when Python refused."""
    return getattr(cause, "sqlite_errorcode", 0) & 0xFF


def _translated(cause: DatabaseError, job: Job) -> BaseException:
    """What the caller is told of a database error; what only a programmer can mend stays as it is."""
    code = _code(cause)
    refusal: PurserError | RuntimeError
    if code == sqlite3.SQLITE_FULL:
        refusal = NoSpace("The disk is full.")
    elif code == sqlite3.SQLITE_INTERRUPT:
        refusal = Unavailable("The database took too long.")
    elif code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        refusal = Unavailable("The database is busy.")
    elif code == sqlite3.SQLITE_IOERR:
        log.error("the database file cannot be read or written", exc_info=cause)
        refusal = Unavailable("The database cannot be read or written.")
    elif getattr(cause, "sqlite_errorcode", 0) == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
        log.warning("a write refers to what is gone", extra={"job": job.name})
        refusal = Conflict("Something that this belongs to has been deleted meanwhile.")
    elif code == sqlite3.SQLITE_READONLY and not job.writes:
        refusal = RuntimeError(f"{job.name} writes inside read()")
    else:
        return cause
    refusal.__cause__ = cause
    return refusal


class SqliteTx(Tx):
    """A transaction on a raw connection, on its thread. `cause` is the database error that killed it."""

    __slots__ = ("_connection", "_slow_s", "cause", "name", "notes", "now", "over", "statements")

    def __init__(self, connection: sqlite3.Connection, job: Job, slow_query_ms: float) -> None:
        self._connection = connection
        self._slow_s = slow_query_ms / 1000
        self.name = job.name
        self.now = now()
        self.notes: list[tuple[str, object]] = []
        self.statements = 0
        self.cause: DatabaseError | None = None
        self.over = False

    def _rows(self, query: Query, parameters: Mapping[str, object], kind: str) -> tuple[sqlite3.Cursor, list[Any]]:
        self._ready(query, kind)
        if parameters.keys() != query.parameters:
            check(query, parameters)
        began = perf_counter()
        try:
            cursor = self._connection.execute(query.sql, parameters)
            rows = cursor.fetchall()
        except (sqlite3.Error, MemoryError) as error:
            self.cause = error
            raise
        finally:
            self._clock(query, perf_counter() - began)
        return cursor, rows

    def _ready(self, query: Query, kind: str) -> None:
        self._usable()
        if query.kind != kind:
            raise TypeError(f"{query} is :{query.kind}, not :{kind}")
        self.statements += 1

    def _usable(self) -> None:
        if self.over:
            raise RuntimeError(f"the transaction of {self.name} has ended; it cannot be used any more")
        if self.cause is not None:
            raise RuntimeError(f"the transaction of {self.name} has failed; nothing can follow") from self.cause

    def _clock(self, query: Query, seconds: float) -> None:
        if seconds > self._slow_s:
            log.warning("slow query", extra={"query": str(query), "ms": round(seconds * 1000, 1)})

    def one(self, query: Query, row: type[T], /, **parameters: object) -> T | None:
        cursor, rows = self._rows(query, parameters, "one")
        if not rows:
            return None
        if len(rows) > 1:
            raise RuntimeError(f"{query} gave {len(rows)} rows")
        return _convert(query, row, cursor)(rows[0])

    def many(self, query: Query, row: type[T], /, **parameters: object) -> list[T]:
        cursor, rows = self._rows(query, parameters, "many")
        return [*map(_convert(query, row, cursor), rows)] if rows else []

    def value(self, query: Query, kind: type[T], /, **parameters: object) -> T | None:
        _, rows = self._rows(query, parameters, "value")
        found = rows[0][0] if rows else None
        if found is not None and not isinstance(found, kind):
            raise TypeError(f"{query} gave {type(found).__name__}, not {kind.__name__}")
        return found

    def exec(self, query: Query, /, **parameters: object) -> int:
        cursor, _ = self._rows(query, parameters, "exec")
        return cursor.rowcount

    def exec_many(self, query: Query, rows: Sequence[Mapping[str, object]], /) -> None:
        self._ready(query, "exec")
        for row in rows:
            check(query, row)
        began = perf_counter()
        try:
            self._connection.executemany(query.sql, rows)
        except (sqlite3.Error, MemoryError) as error:
            self.cause = error
            raise
        finally:
            self._clock(query, perf_counter() - began)

    def notify(self, topic: str, key: object) -> None:
        self._usable()
        self.notes.append((topic, key))


def _convert(query: Query, row: type[T], cursor: sqlite3.Cursor) -> Callable[[Sequence[object]], T]:
    known = _converters.get((query, row))
    if known is None:
        known = _converters[query, row] = converter([column[0] for column in cursor.description], row)
    return known
