"""Takes download attempts off the queue, has them built, and records what became of them."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from app.db import Database, Tx
from app.errors import Invalid, NoSpace, Unavailable
from app.jobs import Bells, Worker, first_of
from app.packages import attempts, service
from app.packages.builder import Built, Failed, Nix, Stopped
from app.packages.events import Feed, Position
from app.packages.service import Removed
from app.packages.space import Space
from app.packages.structs import Queued
from app.values import later

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("purser.packages")

LEASE_S = 60.0
RETRY_S = 5.0


class Downloads:
    """The builds of this process. `recover` settles what a former process left behind; then `start` begins to build."""

    def __init__(self, database: Database, nix: Nix, data_dir: Path, concurrency: int) -> None:
        self._database = database
        self._nix = nix
        self._data_dir = data_dir
        self._concurrency = concurrency
        self._stops: dict[int, asyncio.Event] = {}
        self._building: set[int] = set()
        self._bells = Bells()
        self._worker: Worker | None = None

    async def recover(self) -> None:
        """Ends surviving processes, marks their attempts interrupted, clears leftovers."""
        ended = await self._nix.recover()
        running = await self._database.read(attempts.running)
        log_bytes = {attempt: self._nix.log_bytes(attempt) for attempt in running}
        interrupted = await self._database.write(attempts.interrupt_running, log_bytes)
        if ended or interrupted:
            log.warning("a former run was cut off", extra={"processes": ended, "attempts": interrupted})
        await self._sweep()

    async def start(self) -> None:
        """Begins to take attempts off the queue."""
        self._worker = worker = Worker("downloads", self._claim, self._run, concurrency=self._concurrency)
        self._database.subscribe(attempts.QUEUED, lambda _: worker.bell.ring())
        self._database.subscribe(attempts.CANCELLED, lambda attempt_id: self._stop_of(attempt_id).set())
        self._database.subscribe(attempts.CHANGED, self._bells.ring)
        self._database.subscribe(service.REMOVED, self._bells.ring)

    async def stop(self) -> None:
        """Stops the running builds; they end as interrupted and are queued again for the next start."""
        if self._worker is None:
            return
        self._worker.stopping.set()
        for stop in self._stops.values():
            stop.set()
        await self._worker.stop()

    @property
    def running(self) -> bool:
        """True while queued attempts are taken up."""
        return self._worker is not None and not self._worker.stopping.is_set()

    def space(self) -> Space:
        """How much room a download would find now."""
        return self._nix.space()

    def log_path(self, attempt_id: int) -> Path:
        """Where the attempt's log is, once there is one."""
        return self._nix.log_path(attempt_id)

    async def feed(self, package_id: int, field: str, since: str | None) -> Feed:
        """The package's events: those behind the event `since`, by default those of the last attempt, from its start.

        Invalid, naming `field`, when `since` is no event of this package; NotFound.
        """
        last = await self._database.read(attempts.logged, package_id, None)
        newest = Position(last.number if last else 0)
        try:
            begin = newest if since is None else Position.read(since)
        except ValueError as error:
            raise Invalid.field(field, f"{error}, not `{since}`") from None
        if begin.attempt > newest.attempt:
            raise Invalid.field(field, f"expected an event of this package, which has had {newest.attempt} attempts")
        return Feed(self._database, self._bells.of(package_id), package_id, begin, self.log_path)

    async def clear(self, removed: Removed) -> None:
        """Takes a deleted package's root, profile generations and logs off the disk."""
        await self._nix.forget(removed.package_id, removed.name, removed.store_path)
        for attempt_id in removed.attempt_ids:
            self.log_path(attempt_id).unlink(missing_ok=True)

    async def _sweep(self) -> None:
        """Clears what a deletion, or a build that was not recorded, left on disk when the service died."""
        roots = _numbers(self._data_dir / "roots", "")
        for package_id in sorted(set(roots) - await self._database.read(service.held, roots)):
            await self._nix.forget(package_id, "", None)
        self._nix.profiles.let_go_all_but(await self._database.read(service.store_paths))
        logs = _numbers(self._data_dir / "logs", ".log")
        for attempt_id in set(logs) - await self._database.read(attempts.existing, logs):
            self.log_path(attempt_id).unlink(missing_ok=True)

    def _stop_of(self, attempt_id: int) -> asyncio.Event:
        """The attempt's stop signal; a cancel may arrive before the build has begun."""
        return self._stops.setdefault(attempt_id, asyncio.Event())

    async def _claim(self) -> Queued | None:
        return await self._database.write(attempts.claim, later(LEASE_S), frozenset(self._building))

    async def _run(self, queued: Queued) -> None:
        stop = self._stop_of(queued.id)
        if self._worker is None or self._worker.stopping.is_set():
            stop.set()
        self._building.add(queued.id)
        renewing = asyncio.create_task(self._keep_lease(queued.id, stop))
        log.info("download", extra={"package": f"{queued.name} {queued.version}", "attempt": queued.id})
        try:
            ended = await self._nix.build(
                queued.package_id,
                queued.id,
                queued.name,
                queued.version,
                stop=stop,
                on_log=lambda: self._bells.ring(queued.package_id),
            )
            log.info("download ended", extra={"attempt": queued.id, "outcome": type(ended).__name__.lower()})
            await self._record(queued.package_id, queued.id, ended)
        finally:
            renewing.cancel()
            self._building.discard(queued.id)
            self._stops.pop(queued.id, None)  # only now: until the outcome is written, a cancel may still arrive

    async def _record(self, package_id: int, attempt_id: int, ended: Built | Failed | Stopped) -> None:
        if isinstance(ended, Failed):
            await self._surely(attempts.fail, attempt_id, ended.failure, ended.detail, ended.exit_code, ended.log_bytes)
            return
        if isinstance(ended, Built):
            built = (ended.store_path, ended.closure_bytes, ended.log_bytes)
            if await self._surely(attempts.succeed, attempt_id, *built) is not False:
                return
            await self._nix.forget(package_id, "", None)  # before the package can be downloaded again
        await self._surely(attempts.stop, attempt_id, ended.log_bytes)

    async def _surely(self, fn: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """Writes an outcome although the disk may be full for a while; a stop leaves it to the next start: None."""
        assert self._worker is not None
        while True:
            try:
                return await self._database.write(fn, *args, **kwargs)
            except (NoSpace, Unavailable) as error:
                log.error("an outcome cannot be written for now", extra={"detail": error.detail})
                if self._worker.stopping.is_set():
                    return None
            await first_of(self._worker.stopping.wait(), timeout_s=RETRY_S)

    async def _keep_lease(self, attempt_id: int, lost: asyncio.Event) -> None:
        """Renews the lease; sets `lost` when somebody has taken the attempt over: it is not ours to build any more."""
        while not lost.is_set():
            await asyncio.sleep(LEASE_S / 3)
            with suppress(NoSpace, Unavailable):
                if not await self._database.write(attempts.renew_lease, attempt_id, later(LEASE_S)):
                    lost.set()


def _numbers(folder: Path, suffix: str) -> list[int]:
    """The numbers that name the entries of a folder; none when there is no folder."""
    if not folder.is_dir():
        return []
    names = [entry.name.removesuffix(suffix) for entry in folder.iterdir() if entry.name.endswith(suffix)]
    numbers = [name.partition("-")[0] for name in names]  # Nix calls the root of another output ID-bin
    return [int(number) for number in numbers if number.isascii() and number.isdigit() and len(number) < 19]
