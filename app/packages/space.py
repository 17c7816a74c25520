"""How much room there is where a build writes: in the data folder and in the Nix store."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import msgspec


class Space(msgspec.Struct, frozen=True):
    """Free and needed bytes of the fuller of the two file systems."""

    free_bytes: int
    needed_bytes: int

    @property
    def enough(self) -> bool:
        """True when a build may begin."""
        return self.free_bytes >= self.needed_bytes

    def __str__(self) -> str:
        return f"{self.free_bytes} bytes are free, {self.needed_bytes} are needed."


def free_bytes(folders: Iterable[Path]) -> int:
    """What an ordinary user may still write on the fullest of the folders' file systems; they need not exist yet."""
    return min(shutil.disk_usage(_existing(folder)).free for folder in folders)


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())
