"""Brings a database to today's schema: the files `sql/migrations/NNNN_words.sql`, in order, forward only.

Each file runs in one transaction together with its row in `schema_migrations`, so a migration is there whole or
not at all. All functions are synchronous and run on the thread that owns the connection.
"""

import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from hashlib import sha256
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

from app.db.queries import QueryError, folder, tokens

_FILE = re.compile(r"(\d{4})_([a-z0-9]+(?:_[a-z0-9]+)*)\.sql")
_COLUMNS = ["version", "name", "sha256", "applied_at"]
_CREATE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    applied_at TEXT NOT NULL
) STRICT
"""
# The engine quotes the table names itself (%w), so that no SQL is put together here.
_ROW_PROBES = """
SELECT printf('SELECT EXISTS (SELECT 1 FROM "%w")', name) FROM sqlite_schema
WHERE type = 'table' AND name <> 'schema_migrations' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
ORDER BY name
"""
# Words that would end or leave the transaction a migration runs in, or that do nothing inside one.
_FORBIDDEN = {"BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE", "VACUUM", "ATTACH", "DETACH", "PRAGMA"}


class MigrationError(Exception):
    """The database cannot be brought to today's schema; the text is one line for people."""


class Migrated(NamedTuple):
    """The version the database is at, and how many migrations were applied to get there."""

    version: int
    applied: int


class _Migration(NamedTuple):
    version: int
    name: str
    sha256: str
    sql: str


def migrate(
    connection: sqlite3.Connection,
    *,
    now: str,
    copy_to: Callable[[int], Path] | None = None,
    source: Traversable | None = None,
) -> Migrated:
    """Applies every pending migration; a second run applies none.

    `copy_to` is asked, with the version the database is at, where a copy of it belongs; only a database that holds
    rows is copied, before anything is changed. Foreign keys are on afterwards. A migration that fails leaves the
    database as it was and raises MigrationError.
    """
    cursor = _cursor(connection)
    known = _known(source)
    waiting = known[_applied(cursor, known) :]
    if waiting and copy_to is not None and _holds_rows(cursor):
        _copy(connection, copy_to(waiting[0].version - 1))
    for migration in waiting:
        _apply(cursor, migration, now)
    return Migrated(len(known), len(waiting))


def pending(connection: sqlite3.Connection, source: Traversable | None = None) -> list[str]:
    """The file names of the migrations that `migrate` would apply, the next one first."""
    known = _known(source)
    return [migration.name for migration in known[_applied(_cursor(connection), known) :]]


def _cursor(connection: sqlite3.Connection) -> sqlite3.Cursor:
    """A cursor that gives plain tuples, whatever row factory the connection has."""
    if connection.isolation_level is not None or connection.in_transaction:
        raise MigrationError("Migrations need a connection in autocommit mode, outside a transaction.")
    cursor = connection.cursor()
    cursor.row_factory = None
    return cursor


def _known(source: Traversable | None) -> list[_Migration]:
    """The migrations that came with this program, gapless from 1."""
    place = source if source is not None else folder() / "migrations"
    known: list[_Migration] = []
    for file in sorted((file for file in place.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name):
        content, version = file.read_bytes(), len(known) + 1
        named = _FILE.fullmatch(file.name)
        if named is None or int(named[1]) != version:
            raise MigrationError(f"Migration {file.name} is misnamed: {version:04d}_words.sql was expected.")
        known.append(_Migration(version, file.name, sha256(content).hexdigest(), content.decode()))
    return known


def _applied(cursor: sqlite3.Cursor, known: Sequence[_Migration]) -> int:
    """How many migrations the database has had; MigrationError when they are not the first of `known`."""
    columns = [row[0] for row in cursor.execute("SELECT name FROM pragma_table_info('schema_migrations')")]
    if not columns and cursor.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,):
        return 0
    if columns != _COLUMNS:
        raise MigrationError("The database file holds tables that are not Purser's: name another file.")
    rows = cursor.execute("SELECT version, name, sha256 FROM schema_migrations ORDER BY version").fetchall()
    if len(rows) > len(known):
        raise MigrationError(
            f"The database is at {rows[-1][1]}, newer than this program, which knows {len(known)} migrations: "
            "run the newer program, or restore the copy that was made before the upgrade."
        )
    for (version, name, digest), migration in zip(rows, known, strict=False):
        if version != migration.version or name != migration.name:
            raise MigrationError(f"The database has had migration {name}, where this program has {migration.name}.")
        if digest != migration.sha256:
            raise MigrationError(f"Migration {name} has changed since it was applied to the database.")
    return len(rows)


def _holds_rows(cursor: sqlite3.Cursor) -> bool:
    probes = [row[0] for row in cursor.execute(_ROW_PROBES)]
    return any(cursor.execute(probe).fetchone() == (1,) for probe in probes)


def _copy(connection: sqlite3.Connection, target: Path) -> None:
    """Puts a whole, checked, durable copy of the database at `target`, readable by its owner alone."""
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(sqlite3.connect(part, isolation_level=None)) as copy:
            connection.backup(copy, pages=-1)
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, no -wal beside it
            found = copy.execute("PRAGMA integrity_check").fetchone()[0]
        if found != "ok":
            raise MigrationError(f"The copy made before migrating is damaged, so nothing was changed: {_line(found)}")
        _sync(part)
        part.replace(target)
        _sync(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise MigrationError(f"No copy could be made before migrating, so nothing was changed: {error}") from error
    finally:
        with suppress(OSError):  # gone when all went well
            part.unlink()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _apply(cursor: sqlite3.Cursor, migration: _Migration, now: str) -> None:
    """Runs one migration and writes its row, in one transaction with foreign keys off.

    With foreign keys on, dropping a parent table to rebuild it would empty its children; the check before COMMIT
    finds what the migration left dangling.
    """
    statements = list(_statements(migration))
    try:
        cursor.execute("PRAGMA foreign_keys=OFF")
        cursor.execute("BEGIN IMMEDIATE")
        cursor.execute(_CREATE)
        for line, statement in statements:
            _run(cursor, migration, line, statement)
        if (dangling := cursor.execute("PRAGMA foreign_key_check").fetchone()) is not None:
            raise MigrationError(f"Migration {migration.name} leaves rows of {dangling[0]} without their parent.")
        row = (migration.version, migration.name, migration.sha256, now)
        cursor.execute("INSERT INTO schema_migrations (version, name, sha256, applied_at) VALUES (?, ?, ?, ?)", row)
        cursor.execute("COMMIT")
    except sqlite3.Error as error:
        raise MigrationError(f"Migration {migration.name} failed: {_line(error)}") from error
    finally:
        if cursor.connection.in_transaction:
            cursor.execute("ROLLBACK")
        cursor.execute("PRAGMA foreign_keys=ON")


def _run(cursor: sqlite3.Cursor, migration: _Migration, line: int, statement: str) -> None:
    try:
        cursor.execute(statement).fetchall()
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise MigrationError(f"Migration {migration.name}, line {line}: {_line(error)}") from error


def _statements(migration: _Migration) -> Iterator[tuple[int, str]]:
    """The statements of a file, each with the line it begins on; a trigger's inner semicolons do not end it."""
    text = migration.sql
    try:
        pieces = [piece for piece in tokens(text, migration.name) if piece.kind not in ("space", "comment")]
    except QueryError as error:
        raise MigrationError(f"Migration {error}") from error
    first = None
    for piece in pieces:
        first = first or piece
        end = piece.at + len(piece.text)
        if piece.kind == "end" and sqlite3.complete_statement(text[first.at : end]):
            line = text.count("\n", 0, first.at) + 1
            if first.text.upper() in _FORBIDDEN:
                raise MigrationError(f"Migration {migration.name}, line {line}: {first.text} has no place in it.")
            yield line, text[first.at : end]
            first = None
    if first is not None:
        raise MigrationError(f"Migration {migration.name} ends inside a statement: a semicolon is missing.")


def _line(error: object) -> str:
    return " ".join(str(error).split())
