"""Profiles: the symlinks that say which version of each name is active, with a generation for every switch."""

import asyncio
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from app.jobs import Locks
from app.packages import nix
from app.packages.store import NixFailed, Store


class Profiles:
    """One Nix profile for each name, `profiles/NAME/current`: a folder each, so that no two names meet."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._switching = Locks()

    async def switch(self, name: str, store_path: str, *, timeout_s: float = 30) -> int:
        """Makes the path the current one of the name's profile; the generation's number, read back from the profile."""
        async with self._switching.of(name):
            try:
                profile = self._store.made("profiles", name) / "current"
                words = nix.switch_command(self._store.path_of("nix-env"), profile, store_path)
                ended, _, said = await self._store.ask(words, timeout_s=timeout_s)
            except OSError as error:
                raise NixFailed(nix.refused_start(error, self._store.program)[1]) from error
            now = self.current(name)
            if now is None or now[0] != store_path:
                late = f"nix-env did not end within {timeout_s:g} s." if ended.cause == "timeout" else ""
                raise NixFailed(late or nix.short(said.last_line) or "nix-env did not switch the profile.")
            await asyncio.to_thread(os.sync)
            return now[1]

    def path(self, name: str) -> Path:
        """The symlink that always points at the active version."""
        return self._store.data_dir / "profiles" / name / "current"

    def current(self, name: str) -> tuple[str, int] | None:
        """What the profile points at: store path and generation; None when there is none."""
        profile = self.path(name)
        try:
            link = os.readlink(profile)
            number = nix.LINK_NUMBER.fullmatch(link)
            return None if number is None else (os.readlink(profile.with_name(link)), int(number[1]))
        except OSError:
            return None

    async def let_go(self, name: str, store_path: str) -> None:
        """Removes the generations of a name that point at the path, but for the current one.

        What `nix-env --delete-generations` does, without a process: a generation is a link, and the link is the root.
        """
        async with self._switching.of(name):
            for link, path in self._former(name):
                if path == store_path:
                    link.unlink(missing_ok=True)

    def let_go_all_but(self, store_paths: Collection[str]) -> None:
        """Removes every generation, of whatever name, that is not current and points at none of the paths."""
        for folder in self._store.made("profiles").iterdir():
            for link, path in self._former(folder.name):
                if path not in store_paths:
                    link.unlink(missing_ok=True)

    def _former(self, name: str) -> Iterator[tuple[Path, str]]:
        """The generations that are not current, as links and what they point at."""
        current = self.current(name)
        for link in self.path(name).parent.glob("current-*-link"):
            number = nix.LINK_NUMBER.fullmatch(link.name)
            if number and (current is None or int(number[1]) != current[1]):
                yield link, os.readlink(link)
