"""What Nix is asked about the store: what a path needs, how large that is, whether it is whole; and to hold it."""

import asyncio
import errno
import fcntl
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.jobs import both
from app.packages import nix
from app.packages.nix import LogReader
from app.supervision import Ended, supervise

CLOSURE_BYTES = 8 * 1024 * 1024
PATHS_AT_ONCE = 2000  # on one command line
ASK_S = 600.0  # nix-store reads every byte of what it verifies


class NixFailed(Exception):
    """Nix could not be asked, or did not do it; `detail` is its last line, 500 characters at most.

    `condition` is what it found wrong with a store path, if that is why.
    """

    def __init__(self, detail: str, failure: nix.Failure = "unknown", condition: nix.Condition | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.failure = failure
        self.condition = condition


class Halted(Exception):
    """The stop event was set while Nix was asked something."""


class Store:
    """The store of this machine, as Nix's small programs tell of it. OSError when one of them cannot be run.

    `stop`, where it is taken, ends the question: Halted.
    """

    def __init__(self, *, program: str, inherited: Mapping[str, str], data_dir: Path) -> None:
        self.program = os.path.abspath(program) if "/" in program else program
        self.inherited = dict(inherited)
        self.data_dir = data_dir.absolute()

    @property
    def folder(self) -> Path:
        """Where the store is."""
        return Path(self.inherited.get("NIX_STORE_DIR", "/nix/store"))

    async def examined(self, store_path: str, stop: asyncio.Event) -> int:
        """How many bytes a path and all that it needs has; NixFailed, with its condition, when any of it is damaged.

        Nix takes longer to start than to answer, so the path itself is looked at while its closure is asked for.
        """
        closure, size = await both(self._closure(store_path, stop), self._looked_at([store_path], stop))
        others = [path for path in closure if path != store_path]
        return size + await self._looked_at(others, stop) if others else size

    async def _looked_at(self, store_paths: Sequence[str], stop: asyncio.Event) -> int:
        """The size of the paths, after a look at every byte of them."""
        _, size = await both(self._verify(store_paths, stop), self._size(store_paths, stop))
        return size

    async def verified(self, store_path: str) -> bool:
        """True when the path is in the store and unchanged; NixFailed when Nix could not look."""
        try:
            await self._verify([store_path])
        except NixFailed as error:
            if error.condition is None:
                raise
            return False
        return True

    async def _verify(self, store_paths: Sequence[str], stop: asyncio.Event | None = None) -> None:
        for some in _portions(store_paths):
            await self._answer(nix.verify_command(self.path_of("nix-store"), some), stop)

    async def hold(self, store_path: str, root: Path, stop: asyncio.Event) -> None:
        """Makes `root` a root of the garbage collector that holds the path, which then is there, and stays.

        nix-build's own link may be made behind the back of a collector that has read the roots already and finds nobody
        using the path any more (seen with Nix 2.8, once in a thousand builds). Asked like this, Nix tells it.
        """
        if _target(root) == store_path and self._nobody_collects():
            return
        await self._answer(nix.hold_command(self.path_of("nix-store"), store_path, root), stop)

    def _nobody_collects(self) -> bool:
        """True when no collector is at work; each holds this lock meanwhile (Nix 2.8, libstore/gc.cc)."""
        try:
            with Path(self.inherited.get("NIX_STATE_DIR", "/nix/var/nix"), "gc.lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:  # held, or not for us to see
            return False
        return True

    async def _closure(self, store_path: str, stop: asyncio.Event) -> list[str]:
        closure = await self._answer(nix.closure_command(self.path_of("nix-store"), store_path), stop)
        return closure if store_path in closure else [*closure, store_path]

    async def _size(self, store_paths: Sequence[str], stop: asyncio.Event) -> int:
        program = self.path_of("nix-store")
        answers = [await self._answer(nix.size_command(program, some), stop) for some in _portions(store_paths)]
        return sum(int(size) for answer in answers for size in answer)

    async def _answer(self, words: Sequence[str], stop: asyncio.Event | None) -> list[str]:
        ended, printed, said = await self.ask(words, stop=stop)
        if ended.exit_code != 0:
            raise _unanswered(ended, said, words[0])
        return printed.decode().split()

    async def ask(
        self, words: Sequence[str], *, timeout_s: float = ASK_S, stop: asyncio.Event | None = None
    ) -> tuple[Ended, bytes, LogReader]:
        """Runs one of Nix's small programs: how it ended, what it printed, and what it said."""
        said = LogReader()
        tmpdir = self.made("tmp")

        def hear(chunk: bytes) -> None:
            said.feed(chunk)

        ended, printed = await supervise(
            words,
            env=self.environment(tmpdir),
            cwd=tmpdir,
            output=hear,
            timeout_s=timeout_s,
            stop=stop,
            stdout_bytes=CLOSURE_BYTES,
        )
        said.close()
        if ended.cause == "stopped":
            raise Halted
        return ended, printed, said

    def environment(self, tmpdir: Path) -> dict[str, str]:
        """What a Nix process sees of the environment."""
        return nix.environment(self.inherited, home=self.made("home"), tmpdir=tmpdir)

    def path_of(self, program: str) -> str:
        """Where one of Nix's programs is; FileNotFoundError when it is nowhere."""
        wanted = self.program if program == "nix-build" else str(Path(self.program).with_name(program))
        path = self.inherited.get("PATH", os.defpath)
        found = shutil.which(wanted, path=path) or (program != "nix-build" and shutil.which(program, path=path))
        if not found:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), wanted)
        return found

    def made(self, *names: str) -> Path:
        """A folder inside the data folder; it is made when it is not there."""
        folder = self.data_dir.joinpath(*names)
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _unanswered(ended: Ended, said: LogReader, program: str) -> NixFailed:
    """A question that Nix did not answer, with what it says of the path and the machine; no build has failed."""
    failure, _ = nix.classify(ended, said)
    ours = failure if failure in ("no_space", "out_of_memory", "interrupted", "damaged") else "unknown"
    condition = nix.condition(said) if ended.cause == "exit" else None
    return NixFailed(nix.short(said.last_line) or f"{program} did not answer.", ours, condition)


def _target(link: Path) -> str | None:
    try:
        return os.readlink(link)
    except OSError:
        return None


def _portions(store_paths: Sequence[str]) -> list[Sequence[str]]:
    return [store_paths[start : start + PATHS_AT_ONCE] for start in range(0, len(store_paths), PATHS_AT_ONCE)]
