"""A table is the queue: a worker claims a row, runs it, sleeps until the bell rings, and stops on shutdown."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from contextlib import suppress
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

from app.errors import PurserError

T = TypeVar("T")
U = TypeVar("U")
K = TypeVar("K", bound=Hashable)

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


class Named(Generic[K, T]):
    """One thing for each name, as long as somebody holds it."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._known: WeakValueDictionary[K, T] = WeakValueDictionary()

    def __len__(self) -> int:
        """How many names have one now: none is kept for a name that nobody uses."""
        return len(self._known)

    def of(self, name: K) -> T:
        """The name's own."""
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = self._make()
        return found


class Locks(Named[str, asyncio.Lock]):
    """A lock for each name."""

    def __init__(self) -> None:
        super().__init__(asyncio.Lock)


class Bells(Named[int, Bell]):
    """A bell for each id of a table: those who watch a row hear of that row alone."""

    def __init__(self) -> None:
        super().__init__(Bell)

    def ring(self, name: int) -> None:
        """Rings the bell, if anybody listens."""
        bell = self._known.get(name)
        if bell is not None:
            bell.ring()


async def first_of(*waits: Coroutine[Any, Any, object], timeout_s: float | None = None) -> None:
    """Returns when one of the waits is over, or after `timeout_s`; the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def both(one: Coroutine[Any, Any, T], other: Coroutine[Any, Any, U]) -> tuple[T, U]:
    """The results of two that run side by side. The first that raises ends the other, and is what is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            first, second = group.create_task(one), group.create_task(other)
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return first.result(), second.result()


async def in_any_case(doing: Awaitable[T]) -> T:
    """Waits for the end of `doing` however often the caller is cancelled; the caller raises again itself."""
    task = asyncio.ensure_future(doing)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    return task.result()


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
