"""Files that are there whole or not at all, also when the power goes."""

import os
from pathlib import Path


def write_durably(path: Path, content: bytes) -> None:
    """Writes a file that nobody else may read: a temporary one of its own, fsync, rename, fsync of the folder."""
    partial = path.with_name(path.name + ".part")
    partial.unlink(missing_ok=True)
    with open(partial, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Makes what was made, renamed or removed in a folder durable."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
