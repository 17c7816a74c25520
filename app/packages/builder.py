"""Builds packages with nix-build, one at a time for each caller, and lets go of them again."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from app.jobs import both, in_any_case
from app.packages import nix
from app.packages.attempt_log import AttemptLog
from app.packages.profiles import Profiles
from app.packages.space import Space, free_bytes
from app.packages.store import Halted, NixFailed, Store
from app.packages.survivors import end_survivors, remove_tree
from app.supervision import supervise

TRIES = 3
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


class Nix:
    """What Purser wants of Nix: builds here, the store's state in `store`, switches in `profiles`."""

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
        self._store = Store(program=program, inherited=inherited, data_dir=data_dir)
        self.profiles = Profiles(self._store)
        self._expression = None if expression is None else expression.absolute()
        self._options = list(options)
        self._data_dir = self._store.data_dir
        self._timeout_s = timeout_s
        self._silent_timeout_s = silent_timeout_s
        self._log_limit_bytes = log_limit_bytes
        self._min_free_bytes = min_free_bytes

    async def available(self) -> bool:
        """True when the programs are there; otherwise `missing` says how to install them."""
        try:
            return all(map(self._store.path_of, ("nix-build", "nix-store", "nix-env")))
        except FileNotFoundError:
            return False

    def space(self) -> Space:
        """How much room a build would find."""
        return Space(free_bytes((self._data_dir, self._store.folder)), self._min_free_bytes)

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
            refusal = nix.refused_start(error, self._store.program)
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
        """True when the path is in the store and unchanged; NixFailed when Nix could not look."""
        try:
            return await self._store.verified(store_path)
        except OSError as error:
            raise NixFailed(nix.refused_start(error, self._store.program)[1]) from error

    async def forget(self, package_id: int, name: str, store_path: str | None) -> None:
        """Lets the garbage collector have a package: its root goes, and the generations that are not current."""
        self._let_go(package_id)
        if store_path is not None:
            await self.profiles.let_go(name, store_path)

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
        root = self._store.made("roots") / str(package_id)
        expression, options, env = self._evaluation(tmpdir)
        words = nix.build_command(self._store.path_of("nix-build"), expression, name, version, root, options)
        repair: list[str] = []
        for _ in range(TRIES):
            found = await self._run(words + repair, env, tmpdir, attempt, stop)
            if isinstance(found, str):
                wrong = await self._kept(found, package_id, attempt, stop)
            elif isinstance(found, Failed) and found.failure == "damaged" and not repair:
                wrong = "changed"  # something that it is built from
            else:
                return found
            if isinstance(wrong, Built | Failed | Stopped):
                return wrong
            if wrong == "changed" and repair:
                break
            repair = ["--repair"] if wrong == "changed" else []
        if isinstance(found, Failed):
            return found
        return Failed("damaged", f"{found} is damaged, and could not be repaired.", 0, attempt.size_bytes)

    async def _kept(
        self, store_path: str, package_id: int, attempt: AttemptLog, stop: asyncio.Event
    ) -> Built | Failed | Stopped | nix.Condition:
        """Looks at what nix-build calls done, and holds it; what is wrong with it when building it again may help."""
        try:
            closure_bytes, _ = await both(
                self._store.examined(store_path, stop), self._hold(store_path, package_id, stop)
            )
        except Halted:
            return Stopped(attempt.size_bytes, None)
        except NixFailed as error:
            return error.condition or Failed(error.failure, error.detail, 0, attempt.size_bytes)
        await asyncio.to_thread(os.sync)
        return Built(store_path, closure_bytes, 0, attempt.size_bytes)

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
        env = self._store.environment(tmpdir)
        if self._expression is not None:
            return self._expression, options, env
        candidates = nix.nixpkgs_candidates(self._options, self._store.inherited)
        found = next((place.resolve() for place in candidates if place.exists()), None)
        if found is not None:
            env.pop("NIX_PATH", None)  # every place it names could be read too
        return _DEFAULT, nix.restricted(_DEFAULT, found) + options, env

    async def _hold(self, store_path: str, package_id: int, stop: asyncio.Event) -> None:
        """Makes roots/ID the one root: nix-build calls its link ID-bin when the package's default output is "bin"."""
        root = self._store.made("roots") / str(package_id)
        await self._store.hold(store_path, root, stop)
        for other in self._roots(package_id):
            if other != root:
                os.unlink(other)

    # what lies on disk

    def _roots(self, package_id: int) -> list[Path]:
        folder = self._data_dir / "roots"
        return [link for link in (folder / str(package_id), *folder.glob(f"{package_id}-*")) if link.is_symlink()]

    def _let_go(self, package_id: int) -> None:
        for link in self._roots(package_id):
            link.unlink(missing_ok=True)
