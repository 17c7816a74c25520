"""What `pkgctl` does to the database itself, without the service; refused while the service holds the file."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Concatenate, ParamSpec, TypeVar

import msgspec

from app.config import Config
from app.datadir import open_database, prepare, secret_key
from app.db import Database, Tx
from app.db.database import DatabaseInUse
from app.db.files import pending_migrations
from app.db.sqlite import SqliteDatabase
from app.errors import StartError, Unauthorized
from app.tokens import service as tokens
from app.tokens.structs import TokenCreate

P = ParamSpec("P")
T = TypeVar("T")


class OfflineError(StartError):
    """An offline command cannot be done: one clear line."""


class InUse(OfflineError):
    """The service holds the database; the command must go through it."""


class Initialized(msgspec.Struct, frozen=True):
    """The database after `init`: its URL, its schema's number, how many migrations were applied just now."""

    url: str
    version: int
    applied: int


def initialize(config: Config, drop_all: bool = False) -> Initialized:
    """Creates or migrates the database; with `drop_all` an empty one takes its place. May be repeated."""
    return asyncio.run(_initialize(config, drop_all))


async def _initialize(config: Config, drop_all: bool) -> Initialized:
    database = await _open(config, empty=drop_all)
    await database.close()
    return Initialized(config.database_url, database.migrated.version, database.migrated.applied)


def check_schema(config: Config) -> None:
    """OfflineError when the database is not at this version's schema; looks, and changes nothing."""
    waiting = pending_migrations(config.database_path)
    if waiting:
        raise OfflineError(f"{config.database_path}: {len(waiting)} migrations wait, the first is {waiting[0]}")


def claim(config: Config) -> str:
    """Claims the appliance and returns its first token. OfflineError when it is claimed already."""
    try:
        return _write(config, tokens.claim, None, TokenCreate(), local=True).token
    except Unauthorized:
        raise OfflineError("The appliance is claimed already; a lost token: pkgctl tokens create --offline") from None


def new_token(config: Config, name: str | None, scopes: Sequence[str] | None, days: int | None) -> str:
    """A token of the first super admin's; `days` None: 90, 0: no end."""
    new = TokenCreate(
        name=name or "made offline",
        scopes=None if scopes is None else list(scopes),
        expires_in_days=days or None,
        expires_in="never" if days == 0 else None,
    )
    return _write(config, tokens.offline, new).token


def _write(config: Config, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    async def write() -> T:
        database: Database = await _open(config)
        try:
            return await database.write(fn, *args, **kwargs)
        finally:
            await database.close()

    return asyncio.run(write())


async def _open(config: Config, *, empty: bool = False) -> SqliteDatabase:
    try:
        prepare(config)
        database = await open_database(config, empty=empty)
    except DatabaseInUse as error:
        raise InUse(f"{error}; go through the service") from None
    try:
        secret_key(config)
    except BaseException:
        await database.close()
        raise
    return database
