"""Keeps the trail within its bounds: by age once a day, by rows as it grows."""

import asyncio
import logging
from time import monotonic

from app.audit import service
from app.audit.structs import Place
from app.db import Database
from app.errors import PurserError
from app.jobs import first_of
from app.values import instant, seconds, unix

log = logging.getLogger("purser.audit")

LOOK_S = 10.0
DAY_S = 86400.0
LEAP_S = 3600.0
PIECE = 2_000
"""Rows removed in one transaction: nobody waits long behind it."""


class Retention:
    """A task that removes what is older than `age_s` or beyond `most_rows` (0: any number).

    A clock may leap years ahead by mistake. After a leap, and after a start that finds a hole of a week in the trail or
    behind it, rows are held for a day before they go by age.
    """

    def __init__(self, database: Database, age_s: float, most_rows: int) -> None:
        self._database = database
        self._age_s = age_s
        self._most_rows = most_rows
        self._stopping = asyncio.Event()
        self._turn = asyncio.Lock()
        self._lead = unix() - monotonic()
        self._due = 0.0
        self._seen = 0
        self._reads_since = service.EVER
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins; the first look is at once."""
        newest = await self._database.read(service.newest)
        away = newest is not None and unix() - seconds(newest.at) > service.WEEK_S
        if away or await self._database.read(service.is_torn, self._bound()):
            self._due = monotonic() + DAY_S
        self._task = asyncio.create_task(self._run(), name="audit-retention")

    async def stop(self) -> None:
        """Ends after the piece in hand."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self.tidy()
            except PurserError as error:  # the database is full of work or closing: the next look will do
                log.warning("the audit trail is not tidied for now", extra={"detail": error.detail})
            await first_of(self._stopping.wait(), timeout_s=LOOK_S)

    async def tidy(self) -> None:
        """Removes what is beyond the bounds now; two at once take turns, for each counts what there is."""
        async with self._turn:
            await self._tidy()

    async def _tidy(self) -> None:
        lead = unix() - monotonic()
        if abs(lead - self._lead) > LEAP_S:
            self._due = monotonic() + DAY_S
        self._lead = lead
        if monotonic() >= self._due:
            await self._forget_older()
            self._due = monotonic() + DAY_S
        newest = await self._database.read(service.newest)
        slack = self._most_rows // 100
        if self._most_rows and newest is not None and newest.id - self._seen > slack:
            await self._forget_beyond()
            self._seen = newest.id

    async def _forget_older(self) -> None:
        before = self._bound()
        while not self._stopping.is_set() and await self._database.write(service.forget_older, before, PIECE) == PIECE:
            pass

    def _bound(self) -> str:
        """What is from before it is too old."""
        return instant(max(0.0, unix() - self._age_s))

    async def _forget_beyond(self) -> None:
        """Reads go first, the oldest of them, then the oldest rows of any kind."""
        beyond = await self._database.read(service.size) - self._most_rows
        while beyond > 0 and not self._stopping.is_set() and (found := await self._oldest_reads(min(beyond, PIECE))):
            await self._database.write(service.forget, [row.id for row in found])
            beyond -= len(found)
        while beyond > 0 and not self._stopping.is_set():
            removed = await self._database.write(service.forget_oldest, min(beyond, PIECE))
            beyond = beyond - removed if removed else 0

    async def _oldest_reads(self, most: int) -> list[Place]:
        """Those from where the last were found on, which spares a look at all that is older; at all rows if need be."""
        found = await self._database.read(service.oldest_reads, self._reads_since, most)
        if not found and self._reads_since != service.EVER:
            found = await self._database.read(service.oldest_reads, service.EVER, most)
        self._reads_since = found[-1].at if found else service.EVER
        return found
