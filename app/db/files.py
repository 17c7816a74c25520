"""The database file: locked, opened in the way that survives a power cut, brought to today's schema."""

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from fcntl import LOCK_EX, LOCK_NB, flock
from functools import partial
from pathlib import Path
from typing import IO

from app.db.database import DatabaseInUse
from app.db.migrate import Migrated, MigrationError, migrate, pending
from app.errors import StartError
from app.values import now

_WRITER_PRAGMAS = (
    "PRAGMA busy_timeout = 5000",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -4000",
    "PRAGMA mmap_size = 0",
    "PRAGMA wal_autocheckpoint = 1000",
    "PRAGMA journal_size_limit = 4000000",
)
_READER_PRAGMAS = (
    "PRAGMA busy_timeout = 5000",
    "PRAGMA query_only = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -2000",
    "PRAGMA mmap_size = 0",
)


def writer(path: Path) -> sqlite3.Connection:
    """The one connection that writes and checkpoints; the file is made when it is missing."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    return _connect(path, "rwc", _WRITER_PRAGMAS)


def reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write."""
    return _connect(path, "ro", _READER_PRAGMAS)


def _connect(path: Path, mode: str, pragmas: Iterable[str]) -> sqlite3.Connection:
    """Opens the file on the calling thread; `mode` is SQLite's."""
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode={mode}", uri=True, isolation_level=None, cached_statements=1024, timeout=5
    )
    try:
        if mode == "rwc":
            pending(connection)  # a database that is not ours is refused before anything in it changes
            _use_wal(connection)
        for pragma in pragmas:
            connection.execute(pragma)
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """SQLite answers with the mode it took; it does not fail when that is another one."""
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise sqlite3.OperationalError(f"the database cannot be in WAL mode here, only in {mode} mode")


def pending_migrations(path: Path) -> list[str]:
    """The migrations that a database file still waits for; all of them when there is no file. Changes nothing."""
    where = f"{path.resolve().as_uri()}?mode=ro" if path.exists() else ":memory:"
    try:
        with closing(sqlite3.connect(where, uri=True, isolation_level=None)) as connection:
            return pending(connection)
    except (sqlite3.Error, MigrationError) as error:
        raise StartError(f"{path}: {reason(error)}") from error


def bring_up(connection: sqlite3.Connection, data_dir: Path) -> Migrated:
    """Migrates, after a copy to `backups` when there is something to lose."""
    backups = data_dir / "backups"

    def copy_to(version: int) -> Path:
        backups.mkdir(mode=0o700, parents=True, exist_ok=True)
        return backups / f"before-migration-{version:04d}.db"

    return migrate(connection, now=now(), copy_to=copy_to)


def hold(path: Path, data_dir: Path) -> list[IO[str]]:
    """Locks the data folder and the database file, whichever folders they lie in; the kernel lets go when we end."""
    path = path.resolve()
    held: list[IO[str]] = []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for lock in (data_dir / "lock", path.with_name(path.name + ".lock")):
            opener = partial(os.open, mode=0o600)  # the file is close-on-exec by itself
            held.append(open(lock, "a+", opener=opener))  # noqa: SIM115 - open as long as the database
            flock(held[-1], LOCK_EX | LOCK_NB)
    except OSError as error:
        for file in held:
            file.close()
        if isinstance(error, BlockingIOError):
            raise DatabaseInUse(f"{path} is in use: another Purser holds {lock}") from None
        raise StartError(f"{error.filename or path} cannot be used: {error.strerror}") from error
    return held


def reason(error: BaseException) -> str:
    """What went wrong, in one line."""
    return (isinstance(error, OSError) and error.strerror) or str(error)
