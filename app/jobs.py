"""A table is the queue: a worker claims a row, runs it, sleeps until the bell rings, and stops on shutdown."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from app.errors import PurserError

T = TypeVar("T")

log = logging.getLogger("purser.jobs")

LOOK_AGAIN_S = 30.0
RETRY_S = 1.0


class Bell:
    """Wakes everybody who took `next()` before it rang. Take it before looking, or a ring is lost."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def next(self) -> asyncio.Event:
        return self._event

    def ring(self) -> None:
        self._event.set()
        self._event = asyncio.Event()


class Locks:
    """A lock for each name, as long as somebody holds or waits for it."""

    def __init__(self) -> None:
        self._known: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def __len__(self) -> int:
        """How many names have a lock now: none is kept for a name that nobody uses."""
        return len(self._known)

    def of(self, name: str) -> asyncio.Lock:
        """The name's lock."""
        lock = self._known.get(name)
        if lock is None:
            lock = self._known[name] = asyncio.Lock()
        return lock


async def first_of(*waits: Coroutine[Any, Any, object], timeout_s: float | None = None) -> None:
    """Returns when one of the waits is over, or after `timeout_s`; the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Worker:
    """Tasks that claim rows and run them, `concurrency` at a time, until stopped."""

    def __init__(
        self,
        name: str,
        claim: Callable[[], Awaitable[T | None]],
        run: Callable[[T], Awaitable[None]],
        *,
        concurrency: int = 1,
    ) -> None:
        self.name = name
        self.bell = Bell()
        self.stopping = asyncio.Event()
        self._claim = claim
        self._run: Callable[[Any], Awaitable[None]] = run
        self._tasks = [asyncio.create_task(self._work(), name=f"{name}-{n}") for n in range(concurrency)]

    async def stop(self) -> None:
        """Lets what runs end by itself: `run` sees `stopping`."""
        self.stopping.set()
        await asyncio.gather(*self._tasks)

    async def _work(self) -> None:
        while not self.stopping.is_set():
            rung = self.bell.next()
            rest_s = LOOK_AGAIN_S
            try:
                row = await self._claim()
                if row is not None:
                    await self._run(row)
                    continue
            except PurserError as error:  # the database is full, busy or closing: the row is claimed again later
                log.warning("a worker cannot go on for now", extra={"worker": self.name, "detail": error.detail})
                rest_s = RETRY_S
            except Exception as error:
                log.error("a worker's job failed", exc_info=error, extra={"worker": self.name})
                rest_s = RETRY_S
            await first_of(rung.wait(), self.stopping.wait(), timeout_s=rest_s)
