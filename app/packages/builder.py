"""Everything Purser asks of Nix: builds, checks, switches profiles, and lets go."""

import asyncio
import errno
import os
import shutil
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import msgspec

from app.jobs import Locks, both
from app.packages import nix
from app.packages.attempt_log import AttemptLog
from app.packages.nix import Ended, LogReader
from app.packages.space import Space, free_bytes
from app.packages.supervision import in_any_case, supervise
from app.packages.survivors import end_survivors, remove_tree

CLOSURE_BYTES = 8 * 1024 * 1024
PATHS_AT_ONCE = 2000  # on one command line
ASK_S = 600.0  # nix-store reads every byte of what it verifies
_DEFAULT = Path(__file__).resolve().with_name("default.nix")


class Built(msgspec.Struct, frozen=True):
    """The package is in the store, verified, on disk, and held by its root."""

    store_path: str
    closure_bytes: int
    exit_code: int
    log_bytes: int


class Failed(msgspec.Struct, frozen=True):
    """The build did not succeed; `exit_code` is None when there was no process or a signal ended it."""

    failure: nix.Failure
    detail: str
    exit_code: int | None
    log_bytes: int


class Stopped(msgspec.Struct, frozen=True):
    """The build was stopped because the caller's event was set."""

    log_bytes: int
    exit_code: int | None


class SwitchFailed(Exception):
    """Nix could not be asked, or did not do it; `detail` is its last line, 500 characters at most."""

    def __init__(self, detail: str, failure: nix.Failure = "unknown") -> None:
        super().__init__(detail)
        self.detail = detail
        self.failure = failure


class _Halted(Exception):
    """The stop event was set while Nix was asked something."""


class Nix:
    """Everything Purser asks of Nix: builds, checks, switches, and the ends of all three."""

    missing = nix.HOW_TO_INSTALL

    def __init__(
        self,
        *,
        program: str,
        expression: Path | None,
        options: Sequence[str],
        inherited: Mapping[str, str],
        data_dir: Path,
        timeout_s: float,
        silent_timeout_s: float,
        log_limit_bytes: int,
        min_free_bytes: int = 0,
    ) -> None:
        self._program = os.path.abspath(program) if "/" in program else program
        self._expression = None if expression is None else expression.absolute()
        self._options = list(options)
        self._inherited = dict(inherited)
        self._data_dir = data_dir.absolute()
        self._timeout_s = timeout_s
        self._silent_timeout_s = silent_timeout_s
        self._log_limit_bytes = log_limit_bytes
        self._min_free_bytes = min_free_bytes
        self._switching = Locks()

    async def available(self) -> bool:
        """True when the programs are there; otherwise `missing` says how to install them."""
        try:
            return all(map(self._path_of, ("nix-build", "nix-store", "nix-env")))
        except FileNotFoundError:
            return False

    def space(self) -> Space:
        """How much room a build would find."""
        store = Path(self._inherited.get("NIX_STORE_DIR", "/nix/store"))
        return Space(free_bytes((self._data_dir, store)), self._min_free_bytes)

    async def build(
        self,
        package_id: int,
        attempt_id: int,
        name: str,
        version: str,
        *,
        stop: asyncio.Event,
        on_log: Callable[[], None] | None = None,
    ) -> Built | Failed | Stopped:
        """Builds one package into the store and holds it there by a root; the log grows while it runs.

        A path that was built before and has since been damaged is built again: Nix alone would call it done.
        """
        held = self._roots(package_id)
        tmpdir = self._data_dir / "tmp" / str(attempt_id)
        outcome: Built | Failed | Stopped | None = None
        try:
            space = self.space()
            if not space.enough:  # it has shrunk while the download waited for its turn
                return Failed("no_space", str(space), exit_code=None, log_bytes=0)
            with AttemptLog(self.log_path(attempt_id), self._log_limit_bytes, on_log) as attempt:
                tmpdir.mkdir(parents=True, exist_ok=True)
                outcome = await self._build(package_id, name, version, tmpdir, attempt, stop)
        except OSError as error:
            refusal = nix.refused_start(error, self._program)
            outcome = Failed(*refusal, exit_code=None, log_bytes=self.log_bytes(attempt_id))
        finally:
            await in_any_case(asyncio.to_thread(end_survivors, tmpdir))  # Nix ends a builder's group, not its daemons
            await in_any_case(asyncio.to_thread(remove_tree, tmpdir))
            if not isinstance(outcome, Built) and not held:
                self._let_go(package_id)
        return outcome

    def log_path(self, attempt_id: int) -> Path:
        """Where the attempt's log is, once there is one."""
        return self._data_dir / "logs" / f"{attempt_id}.log"

    def log_bytes(self, attempt_id: int) -> int:
        """How long the attempt's log is; 0 when there is none."""
        try:
            return self.log_path(attempt_id).stat().st_size
        except OSError:
            return 0

    async def verify(self, store_path: str) -> bool:
        """True when the path is in the store and unchanged; SwitchFailed when Nix could not look."""
        try:
            return await self._verified([store_path])
        except OSError as error:
            raise SwitchFailed(nix.refused_start(error, self._program)[1]) from error

    async def switch(self, name: str, store_path: str, *, timeout_s: float = 30) -> int:
        """Makes the path the current one of the name's profile; the generation's number, read back from the profile."""
        async with self._switching.of(name):
            try:
                profile = self._folder("profiles", name) / "current"
                words = nix.switch_command(self._path_of("nix-env"), profile, store_path)
                ended, _, said = await self._ask(words, timeout_s=timeout_s)
            except OSError as error:
                raise SwitchFailed(nix.refused_start(error, self._program)[1]) from error
            now = self.current(name)
            if now is None or now[0] != store_path:
                late = f"nix-env did not end within {timeout_s:g} s." if ended.cause == "timeout" else ""
                raise SwitchFailed(late or nix.short(said.last_line) or "nix-env did not switch the profile.")
            await asyncio.to_thread(os.sync)
            return now[1]

    def profile(self, name: str) -> Path:
        """The symlink that always points at the active version; a folder for each name, so that none meet."""
        return self._data_dir / "profiles" / name / "current"

    def current(self, name: str) -> tuple[str, int] | None:
        """What the profile points at: store path and generation; None when there is none."""
        profile = self.profile(name)
        try:
            link = os.readlink(profile)
            number = nix.LINK_NUMBER.fullmatch(link)
            return None if number is None else (os.readlink(profile.with_name(link)), int(number[1]))
        except OSError:
            return None

    async def forget(self, package_id: int, name: str, store_path: str | None) -> None:
        """Lets the garbage collector have a package: its root goes, and the generations that are not current.

        What `nix-env --delete-generations` does, without a process: a generation is a link, and the link is the root.
        """
        self._let_go(package_id)
        if store_path is None:
            return
        async with self._switching.of(name):
            current = self.current(name)
            kept = None if current is None else current[1]
            for number, path in self._generations(name):
                if path == store_path and number != kept:
                    self.profile(name).with_name(f"current-{number}-link").unlink(missing_ok=True)

    def forget_all_but(self, store_paths: Collection[str]) -> None:
        """Lets go of every generation, of whatever profile, that is not current and points at none of the paths."""
        for profile in self._folder("profiles").iterdir():
            current = self.current(profile.name)
            for number, path in self._generations(profile.name):
                if path not in store_paths and (current is None or number != current[1]):
                    self.profile(profile.name).with_name(f"current-{number}-link").unlink(missing_ok=True)

    async def recover(self) -> int:
        """Ends what a former process left running, then clears its temporary folders; how many were ended."""
        folder = self._data_dir / "tmp"
        ended = await asyncio.to_thread(end_survivors, folder)
        await asyncio.to_thread(remove_tree, folder)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return ended

    # one build

    async def _build(
        self, package_id: int, name: str, version: str, tmpdir: Path, attempt: AttemptLog, stop: asyncio.Event
    ) -> Built | Failed | Stopped:
        root = self._folder("roots") / str(package_id)
        expression, options, env = self._evaluation(tmpdir)
        words = nix.build_command(self._path_of("nix-build"), expression, name, version, root, options)
        try:
            for repair in ([], ["--repair"]):
                found = await self._run(words + repair, env, tmpdir, attempt, stop)
                if isinstance(found, Failed) and found.failure == "damaged" and not repair:
                    continue  # what it is built from, or by, has been changed or lost
                if not isinstance(found, str):
                    return found
                whole, closure_bytes = await self._examined(found, stop)
                if whole:
                    await self._hold(found, package_id, stop)
                    await asyncio.to_thread(os.sync)
                    return Built(found, closure_bytes, 0, attempt.size_bytes)
        except _Halted:
            return Stopped(attempt.size_bytes, None)
        except SwitchFailed as error:
            return Failed(error.failure, error.detail, 0, attempt.size_bytes)
        return Failed("damaged", f"{found} is damaged, and could not be repaired.", 0, attempt.size_bytes)

    async def _run(
        self, words: Sequence[str], env: Mapping[str, str], tmpdir: Path, attempt: AttemptLog, stop: asyncio.Event
    ) -> str | Failed | Stopped:
        """One nix-build; the store path when it succeeded."""
        ended, printed = await supervise(
            words,
            env=env,
            cwd=tmpdir,
            output=attempt.hear,
            timeout_s=self._timeout_s,
            silent_timeout_s=self._silent_timeout_s,
            stop=stop,
            enough=attempt.enough,
        )
        attempt.finish(nix.ENDED_BY_US.get(ended.cause, ""))
        if ended.cause == "stopped":
            return Stopped(attempt.size_bytes, ended.exit_code)
        if attempt.error is not None:
            refusal = nix.refused_start(attempt.error, "The log")
            return Failed(*refusal, exit_code=ended.exit_code, log_bytes=attempt.size_bytes)
        if ended.cause != "exit" or ended.exit_code != 0:
            judged = nix.classify(ended, attempt.reader)
            return Failed(*judged, exit_code=ended.exit_code, log_bytes=attempt.size_bytes)
        paths = printed.decode().split()
        if len(paths) != 1:
            detail = f"The expression gives {len(paths)} packages for this name and version; it must give one."
            return Failed("evaluation", detail, 0, attempt.size_bytes)
        return paths[0]

    def _evaluation(self, tmpdir: Path) -> tuple[Path, list[str], dict[str, str]]:
        """Expression, options and environment of a build; the bundled expression may read nothing but <nixpkgs>."""
        # Nix holds a whole line in memory, however long, and this is its only bound
        options = ["--option", "max-build-log-size", str(self._log_limit_bytes), *self._options]
        env = self._environment(tmpdir)
        if self._expression is not None:
            return self._expression, options, env
        candidates = nix.nixpkgs_candidates(self._options, self._inherited)
        found = next((place.resolve() for place in candidates if place.exists()), None)
        if found is not None:
            env.pop("NIX_PATH", None)  # every place it names could be read too
        return _DEFAULT, nix.restricted(_DEFAULT, found) + options, env

    async def _hold(self, store_path: str, package_id: int, stop: asyncio.Event) -> None:
        """Makes roots/ID the one root: nix-build calls its link ID-bin when the package's default output is "bin"."""
        held = {link: os.readlink(link) for link in self._roots(package_id)}
        root = self._folder("roots") / str(package_id)
        if held.get(root) != store_path:
            await self._answer(nix.hold_command(self._path_of("nix-store"), store_path, root), stop)
        for other in held.keys() - {root}:
            os.unlink(other)

    # what Nix is asked

    async def _examined(self, store_path: str, stop: asyncio.Event) -> tuple[bool, int]:
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
        return await both(self._verified(store_paths, stop), self._size(store_paths, stop))

    async def _verified(self, store_paths: Sequence[str], stop: asyncio.Event | None = None) -> bool:
        for some in _portions(store_paths):
            ended, _, said = await self._ask(nix.verify_command(self._path_of("nix-store"), some), stop=stop)
            if ended.exit_code != 0:
                if ended.cause == "exit" and nix.says_damaged(said):
                    return False
                raise _unanswered(ended, said, "nix-store could not verify the path.")
        return True

    async def _closure(self, store_path: str, stop: asyncio.Event) -> list[str]:
        closure = await self._answer(nix.closure_command(self._path_of("nix-store"), store_path), stop)
        return closure if store_path in closure else [*closure, store_path]

    async def _size(self, store_paths: Sequence[str], stop: asyncio.Event) -> int:
        program = self._path_of("nix-store")
        answers = [await self._answer(nix.size_command(program, some), stop) for some in _portions(store_paths)]
        return sum(int(size) for answer in answers for size in answer)

    async def _answer(self, words: Sequence[str], stop: asyncio.Event) -> list[str]:
        ended, printed, said = await self._ask(words, stop=stop)
        if ended.exit_code != 0:
            raise _unanswered(ended, said, f"{words[0]} did not answer.")
        return printed.decode().split()

    async def _ask(
        self, words: Sequence[str], *, timeout_s: float = ASK_S, stop: asyncio.Event | None = None
    ) -> tuple[Ended, bytes, LogReader]:
        """Runs one of Nix's small programs: how it ended, what it printed, and what it said."""
        said = LogReader()
        tmpdir = self._folder("tmp")

        def hear(chunk: bytes) -> None:
            said.feed(chunk)

        ended, printed = await supervise(
            words,
            env=self._environment(tmpdir),
            cwd=tmpdir,
            output=hear,
            timeout_s=timeout_s,
            stop=stop,
            stdout_bytes=CLOSURE_BYTES,
        )
        said.close()
        if ended.cause == "stopped":
            raise _Halted
        return ended, printed, said

    def _environment(self, tmpdir: Path) -> dict[str, str]:
        return nix.environment(self._inherited, home=self._folder("home"), tmpdir=tmpdir)

    def _path_of(self, program: str) -> str:
        """Where one of Nix's programs is; FileNotFoundError when it is nowhere."""
        wanted = self._program if program == "nix-build" else str(Path(self._program).with_name(program))
        path = self._inherited.get("PATH", os.defpath)
        found = shutil.which(wanted, path=path) or (program != "nix-build" and shutil.which(program, path=path))
        if not found:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), wanted)
        return found

    # what lies on disk

    def _folder(self, *names: str) -> Path:
        folder = self._data_dir.joinpath(*names)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _roots(self, package_id: int) -> list[Path]:
        folder = self._data_dir / "roots"
        return [link for link in (folder / str(package_id), *folder.glob(f"{package_id}-*")) if link.is_symlink()]

    def _let_go(self, package_id: int) -> None:
        for link in self._roots(package_id):
            link.unlink(missing_ok=True)

    def _generations(self, name: str) -> list[tuple[int, str]]:
        links = self.profile(name).parent.glob("current-*-link")
        numbered = [(nix.LINK_NUMBER.fullmatch(link.name), link) for link in links]
        return [(int(number[1]), os.readlink(link)) for number, link in numbered if number]


def _unanswered(ended: Ended, said: LogReader, otherwise: str) -> SwitchFailed:
    """A question that Nix did not answer, with what it says of the machine; a build is not what has failed."""
    failure, _ = nix.classify(ended, said)
    ours = failure if failure in ("no_space", "out_of_memory", "interrupted", "damaged") else "unknown"
    return SwitchFailed(nix.short(said.last_line) or otherwise, ours)


def _portions(store_paths: Sequence[str]) -> list[Sequence[str]]:
    return [store_paths[start : start + PATHS_AT_ONCE] for start in range(0, len(store_paths), PATHS_AT_ONCE)]
