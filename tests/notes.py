"""A little room for the tests of the database: notes, and the odd statements that put an engine under strain."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from app.db import Database, Query, Tx, limit_s
from app.db.queries import parse
from app.db.sqlite import SqliteDatabase
from app.errors import Conflict

T = TypeVar("T")

HANG_S = 60
"""How long a test waits for what must happen before it says that it never will."""

q = parse(
    """\
-- name: create_notes :exec
CREATE TABLE notes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    text TEXT NOT NULL UNIQUE,
    parent_id INTEGER REFERENCES notes (id) DEFERRABLE INITIALLY DEFERRED
) STRICT;

-- name: create_echoes :exec
CREATE TABLE echoes (text TEXT NOT NULL) STRICT;

-- name: add :exec
INSERT INTO notes (text) VALUES (:text);

-- name: add_new :value
-- The id, None when there is such a note.
INSERT INTO notes (text) VALUES (:text) ON CONFLICT DO NOTHING RETURNING id;

-- name: add_under :exec
INSERT INTO notes (text, parent_id) VALUES (:text, :parent_id);

-- name: add_echo :exec
INSERT INTO echoes (text) VALUES (:text);

-- name: by_text :one
SELECT id, text FROM notes WHERE text = :text;

-- name: all_notes :many
SELECT id, text FROM notes ORDER BY id;

-- name: count :value
SELECT count(*) FROM notes;

-- name: without_echo :value
SELECT count(*) FROM notes WHERE text NOT IN (SELECT text FROM echoes);

-- name: toil :value
-- Runs for as many steps; no index helps.
WITH RECURSIVE step (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM step WHERE n < :steps) SELECT max(n) FROM step;

-- name: add_endlessly :exec
INSERT INTO notes (text)
WITH RECURSIVE step (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM step) SELECT CAST(n AS TEXT) FROM step;

-- name: broken :exec
INSERT INTO no_such_table (text) VALUES ('x');
""",
    "notes",
    "tests/notes.py",
)

ENDLESS = 10**15


class Note(msgspec.Struct, frozen=True):
    """A row of the table."""

    id: int
    text: str


def statement(kind: str, sql: str) -> Query:
    """One statement made on the spot, called `odd.it`."""
    return parse(f"-- name: it :{kind}\n{sql}", "odd", "tests/odd.sql").it


def pragma(name: str) -> Query:
    """A pragma that answers with one value."""
    return statement("value", f"PRAGMA {name}")


def create_tables(tx: Tx) -> None:
    tx.exec(q.create_notes)
    tx.exec(q.create_echoes)


def add(tx: Tx, text: str) -> str:
    """A note; the same text twice violates a constraint."""
    tx.exec(q.add, text=text)
    return text


def add_new(tx: Tx, text: str) -> int:
    """The id of a new note; the same text twice is a Conflict."""
    if (id := tx.value(q.add_new, int, text=text)) is None:
        raise Conflict("There is such a note.")
    return id


def texts(tx: Tx) -> list[str]:
    return [note.text for note in tx.many(q.all_notes, Note)]


def count(tx: Tx) -> int:
    return tx.value(q.count, int) or 0


def has(tx: Tx, text: str) -> bool:
    return tx.one(q.by_text, Note, text=text) is not None


def ask(tx: Tx, name: str) -> object:
    """The value of a pragma on the connection that serves this transaction."""
    return tx.value(pragma(name), object)


@limit_s(60)
def toil_a_minute(tx: Tx) -> None:
    """Would run for a minute if it were let."""
    tx.value(q.toil, int, steps=ENDLESS)


@limit_s(0.05)
def toil_too_long(tx: Tx) -> None:
    """Runs into its own time limit."""
    tx.value(q.toil, int, steps=ENDLESS)


@limit_s(0.05)
def add_too_much(tx: Tx, text: str) -> None:
    """Runs into its own time limit while it writes."""
    tx.exec(q.add, text=text)
    tx.exec(q.add_endlessly)


class Gate:
    """Holds a database thread inside a function until it is opened: then what is queued behind is known exactly."""

    def __init__(self) -> None:
        self._entered = threading.Event()
        self._opened = threading.Event()

    def wait(self, tx: Tx) -> None:
        """The service function to hold a thread with."""
        self._entered.set()
        assert self._opened.wait(HANG_S)

    async def entered(self) -> None:
        """Returns when a thread is held."""
        assert await asyncio.to_thread(self._entered.wait, HANG_S)

    def open(self) -> None:
        self._opened.set()


@asynccontextmanager
async def held(db: Database) -> AsyncIterator[Gate]:
    """The writer is busy until the gate is opened, at the latest at the end."""
    gate = Gate()
    running = asyncio.create_task(db.write(gate.wait))
    await gate.entered()
    try:
        yield gate
    finally:
        gate.open()
        await running


async def opened(folder: Path, slow_query_ms: float = 1_000_000, readers: int = 2) -> SqliteDatabase:
    """A new database with the tables of this room."""
    db = await SqliteDatabase.open(folder / "app.db", data_dir=folder, slow_query_ms=slow_query_ms, readers=readers)
    await db.write(create_tables)
    return db


async def soon(what: Awaitable[T]) -> T:
    """The result of what would otherwise hang for ever."""
    return await asyncio.wait_for(what, HANG_S)


async def together(*calls: Awaitable[T]) -> list[T | BaseException]:
    """The outcomes of calls that are queued in the same turn of the loop, errors among them."""
    return await soon(asyncio.gather(*calls, return_exceptions=True))
