"""The data folder: made, locked to strangers, opened; and the secret key that lies in it."""

import os
from hashlib import sha256
from hmac import digest
from pathlib import Path

from app.config import Config
from app.db.sqlite import SqliteDatabase
from app.errors import StartError
from app.values import new_key


def prepare(config: Config) -> None:
    """Makes the data folder: others may pass through it (profiles are for everybody), not look around in it."""
    folders = {config.data_dir: 0o711, config.data_dir / "profiles": 0o755}
    folders |= dict.fromkeys((config.data_dir / name for name in ("roots", "logs", "tmp")), 0o700)
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
            _write_durably(path, new_key().encode())
        key = path.read_bytes().strip()
    except OSError as error:
        raise StartError(f"{path} cannot be used: {error.strerror}") from None
    if len(key) < 32:
        raise StartError(f"{path} is damaged: it holds fewer than 32 bytes")
    return key


def _write_durably(path: Path, content: bytes) -> None:
    """All of the file or nothing, also when the power goes: a temporary file, fsync, rename, fsync of the folder."""
    partial = path.with_name(path.name + ".part")
    with open(partial, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def derive_key(secret: bytes, purpose: str) -> bytes:
    """A key of its own for each purpose."""
    return digest(sha256(secret).digest(), purpose.encode(), "sha256")


async def open_database(config: Config, *, empty: bool = False) -> SqliteDatabase:
    """Takes the locks, opens and migrates; `empty` deletes the old file first. StartError says in one line why not."""
    return await SqliteDatabase.open(
        config.database_path, data_dir=config.data_dir, slow_query_ms=config.slow_query_ms, empty=empty
    )
