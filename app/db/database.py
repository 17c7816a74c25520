"""What rooms see of a database: an abstract `Database` and `Tx`. The engine behind them is app/db/sqlite.py.

A service function is synchronous, `def create(tx: Tx, actor: Actor, new: PackageCreate) -> Package`, and runs whole,
as one transaction, on the database's thread. It may run more than once, so it takes values, changes nothing but the
database through `tx`, and leaves its arguments alone. After a database error its `tx` is dead: never catch one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

from app.db.queries import Query
from app.errors import StartError

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

READ_LIMIT_S = 2.0
WRITE_LIMIT_S = 10.0


class DatabaseInUse(StartError):
    """Another process holds the database file or the data folder; the text names it."""


class Tx(ABC):
    """One transaction, valid while its function runs. `now` is the instant it began: one clock per transaction."""

    now: str

    @abstractmethod
    def one(self, query: Query, row: type[T], /, **parameters: object) -> T | None:
        """The row as a struct, None when there is none."""

    @abstractmethod
    def many(self, query: Query, row: type[T], /, **parameters: object) -> list[T]:
        """All rows as structs, in the statement's order."""

    @abstractmethod
    def value(self, query: Query, kind: type[T], /, **parameters: object) -> T | None:
        """The single column of the single row, None when there is no row or it is null."""

    @abstractmethod
    def exec(self, query: Query, /, **parameters: object) -> int:
        """Runs a statement; returns the number of rows it touched."""

    @abstractmethod
    def exec_many(self, query: Query, rows: Sequence[Mapping[str, object]], /) -> None:
        """Runs a statement once for each set of parameters."""

    @abstractmethod
    def notify(self, topic: str, key: object) -> None:
        """Leaves a message that is delivered on the event loop once this transaction is durable, else never."""


class Database(ABC):
    """Runs functions as transactions. `observe`, when set, hears of each job on the loop: name, statements, seconds."""

    observe: Callable[[str, int, float], None] | None = None
    dialect: str
    engine = ""
    """The engine's own version, once it is open."""
    schema = 0
    """The number of the newest migration that was applied."""

    @property
    @abstractmethod
    def writable(self) -> bool:
        """False while it is closing, or when the last commit failed for want of space or a broken disk."""

    @abstractmethod
    async def read(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `fn` on a snapshot; it cannot write. Raises what `fn` raises; Unavailable when it takes too long."""

    @abstractmethod
    async def write(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs `fn` on the one writer; returns once its changes are durable. Raises what `fn` raises, undone."""

    @abstractmethod
    def post(self, fn: Callable[Concatenate[Tx, P], T], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Queues a write that nobody waits for: for what must happen although the caller is being cancelled."""

    @abstractmethod
    def subscribe(self, topic: str, hear: Callable[[Any], None]) -> None:
        """Calls `hear(key)` on the loop for each message of the topic, after commit and before the answer."""

    @abstractmethod
    async def close(self, drain_s: float = 3.0) -> None:
        """Refuses new jobs, ends the queued ones (cut off after `drain_s`), closes every connection."""


def limit_s(seconds: float) -> Callable[[F], F]:
    """Gives a service function a time limit of its own instead of 2 s for reads and 10 s for writes."""

    def mark(fn: F) -> F:
        fn.limit_s = seconds  # type: ignore[attr-defined]  # read by the engine's job
        return fn

    return mark
