"""What Nix is asked about the store: what a path needs, how large that is, whether it is whole; and to hold it."""

import asyncio
import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.jobs import both
from app.packages import nix
from app.packages.nix import Ended, LogReader
from app.packages.supervision import supervise

CLOSURE_BYTES = 8 * 1024 * 1024
PATHS_AT_ONCE = 2000  # on one command line
ASK_S = 600.0  # nix-store reads every byte of what it verifies


class NixFailed(Exception):
    """Nix could not be asked, or did not do it; `detail` is its last line, 500 characters at most."""

    def __init__(self, detail: str, failure: nix.Failure = "unknown") -> None:
        super().__init__(detail)
        self.detail = detail
        self.failure = failure


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

    async def examined(self, store_path: str, stop: asyncio.Event) -> tuple[bool, int]:
        """Whether a path and everything it needs is undamaged, and how many bytes that is together.

        Nix takes longer to start than to answer, so the path itself is looked at while its closure is asked for.
        """
        closure, own = await both(self._closure(store_path, stop), self._looked_at([store_path], stop))
        others = [path for path in closure if path != store_path]
        if not others:
            return own
        rest = await self._looked_at(others, stop)
        return own[0] and rest[0], own[1] + rest[1]

    async def _looked_at(self, store_paths: Sequence[str], stop: asyncio.Event) -> tuple[bool, int]:
        """Whether the paths are undamaged, and their size."""
        return await both(self.verified(store_paths, stop), self._size(store_paths, stop))

    async def verified(self, store_paths: Sequence[str], stop: asyncio.Event | None = None) -> bool:
        """True when the paths are in the store and unchanged; NixFailed when Nix could not look."""
        for some in _portions(store_paths):
            ended, _, said = await self.ask(nix.verify_command(self.path_of("nix-store"), some), stop=stop)
            if ended.exit_code != 0:
                if ended.cause == "exit" and nix.says_damaged(said):
                    return False
                raise _unanswered(ended, said, "nix-store could not verify the path.")
        return True

    async def hold(self, store_path: str, root: Path, stop: asyncio.Event) -> None:
        """Makes `root` a root of the garbage collector that holds the path."""
        await self._answer(nix.hold_command(self.path_of("nix-store"), store_path, root), stop)

    async def _closure(self, store_path: str, stop: asyncio.Event) -> list[str]:
        closure = await self._answer(nix.closure_command(self.path_of("nix-store"), store_path), stop)
        return closure if store_path in closure else [*closure, store_path]

    async def _size(self, store_paths: Sequence[str], stop: asyncio.Event) -> int:
        program = self.path_of("nix-store")
        answers = [await self._answer(nix.size_command(program, some), stop) for some in _portions(store_paths)]
        return sum(int(size) for answer in answers for size in answer)

    async def _answer(self, words: Sequence[str], stop: asyncio.Event) -> list[str]:
        ended, printed, said = await self.ask(words, stop=stop)
        if ended.exit_code != 0:
            raise _unanswered(ended, said, f"{words[0]} did not answer.")
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


def _unanswered(ended: Ended, said: LogReader, otherwise: str) -> NixFailed:
    """A question that Nix did not answer, with what it says of the machine; a build is not what has failed."""
    failure, _ = nix.classify(ended, said)
    ours = failure if failure in ("no_space", "out_of_memory", "interrupted", "damaged") else "unknown"
    return NixFailed(nix.short(said.last_line) or otherwise, ours)


def _portions(store_paths: Sequence[str]) -> list[Sequence[str]]:
    return [store_paths[start : start + PATHS_AT_ONCE] for start in range(0, len(store_paths), PATHS_AT_ONCE)]
