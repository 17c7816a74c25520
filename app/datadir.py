"""The data folder: made, locked to strangers, opened; and the secret key that lies in it."""

import os
from hashlib import sha256
from hmac import digest

from app.config import Config
from app.db.sqlite import SqliteDatabase
from app.durable import write_durably
from app.errors import StartError
from app.values import new_key

OUTBOX = "outbox"
"""The folder of mail that people take themselves."""
BLOBS = "blobs"
"""The folder of uploaded bytes."""


def prepare(config: Config) -> None:
    """Makes the data folder: others may pass through it (profiles are for everybody), not look around in it."""
    folders = {config.data_dir: 0o711, config.data_dir / "profiles": 0o755}
    folders |= dict.fromkeys((config.data_dir / name for name in ("roots", "logs", "tmp", OUTBOX, BLOBS)), 0o700)
    for folder, mode in folders.items():
        try:
            folder.mkdir(mode=mode, parents=True, exist_ok=True)
        except OSError as error:
            raise StartError(f"DATA_DIR {config.data_dir} cannot be used: {error.strerror}") from None
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise StartError(f"DATA_DIR {config.data_dir} cannot be used: user {os.getuid()} cannot write to {folder}")


def secret_key(config: Config) -> bytes:
    """The key that all others are derived from: SECRET_KEY, else `secret.key`, made at the first start."""
    if config.secret_key is not None:
        return config.secret_key.encode(errors="surrogateescape")
    path = config.data_dir / "secret.key"
    try:
        if not path.exists():
            write_durably(path, new_key().encode())
        key = path.read_bytes().strip()
    except OSError as error:
        raise StartError(f"{path} cannot be used: {error.strerror}") from None
    if len(key) < 32:
        raise StartError(f"{path} is damaged: it holds fewer than 32 bytes")
    return key


def derive_key(secret: bytes, purpose: str) -> bytes:
    """A key of its own for each purpose."""
    return digest(sha256(secret).digest(), purpose.encode(), "sha256")


async def open_database(config: Config, *, empty: bool = False) -> SqliteDatabase:
    """Takes the locks, opens and migrates; `empty` deletes the old file first. StartError says in one line why not."""
    return await SqliteDatabase.open(
        config.database_path, data_dir=config.data_dir, slow_query_ms=config.slow_query_ms, empty=empty
    )
