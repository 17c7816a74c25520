"""What `pkgctl` does without the service: to the database, unless the service holds it, and reading the outbox."""

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeAlias, TypeVar

import msgspec

from app.audit import service as audit
from app.config import Config
from app.datadir import OUTBOX, open_database, prepare, secret_key
from app.db import Database, Tx
from app.db.database import DatabaseInUse
from app.db.files import pending_migrations
from app.db.sqlite import SqliteDatabase
from app.errors import StartError, Unauthorized
from app.mail import Stored, stored
from app.passwords import Passwords, check
from app.tokens import service as tokens
from app.tokens.structs import TokenCreate
from app.users import service as users
from app.users.structs import Credentials

P = ParamSpec("P")
T = TypeVar("T")
Opened: TypeAlias = Callable[[Path], None]
"""Hears which database file was opened, as soon as it is."""


class OfflineError(StartError):
    """An offline command cannot be done: one clear line."""


class InUse(OfflineError):
    """The service holds the database; the command must go through it."""


class Initialized(msgspec.Struct, frozen=True):
    """The database after `init`: its URL, its schema's number, how many migrations were applied just now."""

    url: str
    version: int
    applied: int


def initialize(config: Config, drop_all: bool, opened: Opened) -> Initialized:
    """Creates or migrates the database; with `drop_all` an empty one takes its place. May be repeated."""
    return asyncio.run(_initialize(config, drop_all, opened))


async def _initialize(config: Config, drop_all: bool, opened: Opened) -> Initialized:
    database = await _open(config, opened, empty=drop_all)
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
        return _write(config, _unheard, tokens.claim, None, TokenCreate(), local=True).token
    except Unauthorized:
        raise OfflineError("The appliance is claimed already; a lost token: pkgctl tokens create --offline") from None


def new_token(
    config: Config,
    name: str | None,
    scopes: Sequence[str] | None,
    days: int,
    allowed_ips: Sequence[str] | None,
    opened: Opened,
) -> str:
    """A token of the first super admin's; 0 days: no end, no addresses: good anywhere."""
    new = TokenCreate(
        name=name or "made offline",
        scopes=None if scopes is None else list(scopes),
        expires_in_days=days or None,
        expires_in="never" if days == 0 else None,
        allowed_ips=None if allowed_ips is None else list(allowed_ips),
    )
    return _write(config, opened, tokens.offline, new).token


def account(config: Config, user_id: int, opened: Opened) -> Credentials:
    """The account whose password is to be set; NotFound."""
    return _write(config, opened, users.credentials_of, user_id)


def set_password(config: Config, account: Credentials, password: str) -> None:
    """Sets an account's password, the first super admin's own too, who acts; its sessions end. Invalid says why not."""
    check(password, field="/password", email=account.email, username=account.username)
    _write(config, _unheard, _set_password, account, asyncio.run(_hashed(password)))


async def _hashed(password: str) -> str:
    passwords = Passwords()
    try:
        return await passwords.hash(password)
    finally:
        await passwords.close()


def _set_password(tx: Tx, account: Credentials, password_hash: str) -> None:
    actor = users.acting(tx, users.first_super_admin(tx))
    users.set_password(tx, account.id, password_hash, account.password_hash)
    audit.record(tx, actor, "users.reset_password", f"users/{account.id}")


def outbox(config: Config) -> list[Stored]:
    """The messages that wait in the outbox, the oldest first; beside the service too, since they are only files."""
    folder = config.data_dir / OUTBOX
    try:
        os.listdir(folder)  # a folder that cannot be read is no empty one
        return stored(folder)
    except OSError as error:
        raise OfflineError(f"The outbox cannot be read: {error.filename or folder}: {error.strerror}") from None


def _unheard(_: Path) -> None:
    """For a file that is opened a second time."""


def _write(config: Config, opened: Opened, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    async def write() -> T:
        database: Database = await _open(config, opened)
        try:
            return await database.write(fn, *args, **kwargs)
        finally:
            await database.close()

    return asyncio.run(write())


async def _open(config: Config, opened: Opened, *, empty: bool = False) -> SqliteDatabase:
    try:
        prepare(config)
        database = await open_database(config, empty=empty)
    except DatabaseInUse as error:
        raise InUse(f"{error}; go through the service") from None
    try:
        opened(config.database_path)
        secret_key(config)
    except BaseException:
        await database.close()
        raise
    return database
