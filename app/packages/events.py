"""What happens to a package's downloads, as events that can be told again from any of them on.

Nothing is written down for it: an attempt's row holds when it was queued, begun and ended, and its log is a file that
only grows. So an event's id is a position in both, and holds after a restart.
"""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from app.db import Database
from app.errors import NotFound
from app.jobs import Bell
from app.packages import attempts
from app.packages.attempt_log import part
from app.packages.structs import AttemptRow, LogEvent, StatusEvent, status_events

_ID = re.compile(r"([0-9]{1,9})\.([0-3])\.([0-9]{1,18})")
CHUNK_BYTES = 64 * 1024


class Position(msgspec.Struct, frozen=True):
    """How much was told: so many status events and bytes of the log of this attempt, and all of those before it."""

    attempt: int = 0
    statuses: int = 0
    log_bytes: int = 0

    def __str__(self) -> str:
        return f"{self.attempt}.{self.statuses}.{self.log_bytes}"

    @classmethod
    def read(cls, text: str) -> "Position":
        """The position behind the event with this id; `0` is before the first. ValueError for what is no id."""
        if text == "0":
            return cls()
        match = _ID.fullmatch(text)
        if match is None:
            raise ValueError("expected the id of an event, or 0")
        return cls(*map(int, match.groups()))


class Event(NamedTuple):
    """One event on its way out."""

    id: str
    kind: str
    content: StatusEvent | LogEvent


class Feed:
    """The events of one package from a position on, as far as they have happened at each reading.

    `bell` rings when there may be more. `over` says why there will be none: the last attempt has ended ("finished"), or
    the package was deleted ("deleted").
    """

    def __init__(
        self, database: Database, bell: Bell, package_id: int, begin: Position, log_path: Callable[[int], Path]
    ) -> None:
        self.bell = bell
        self.over: str | None = None
        self._database = database
        self._package_id = package_id
        self._at = begin
        self._log_path = log_path

    async def read(self) -> list[Event]:
        """What has happened since the last reading, in order and in portions; empty when nothing has."""
        while True:
            try:
                found = await self._database.read(attempts.following, self._package_id, self._at.attempt)
            except NotFound:
                self.over = "deleted"
                return []
            if not found:
                return []
            attempt = found[0]
            if attempt.number != self._at.attempt:
                self._at = Position(attempt.number)
            events = await self._of(attempt)
            if events or attempt.finished_at is None:
                return events
            if len(found) == 1:
                self.over = "finished"
                return []
            self._at = Position(found[1].number)

    async def _of(self, attempt: AttemptRow) -> list[Event]:
        """The next events of one attempt: how it began, a piece of the log, and behind the whole log how it ended."""
        statuses = status_events(attempt)
        ended = attempt.finished_at is not None
        begun = len(statuses) - ended
        events = [self._status(status) for status in statuses[self._at.statuses : begun]]
        piece = await asyncio.to_thread(part, self._log_path(attempt.id), self._at.log_bytes, CHUNK_BYTES, whole=ended)
        if piece:
            events.append(self._log(attempt.number, piece))
        elif ended:
            events += [self._status(status) for status in statuses[self._at.statuses :]]
        return events

    def _status(self, status: StatusEvent) -> Event:
        self._at = Position(self._at.attempt, self._at.statuses + 1, self._at.log_bytes)
        return Event(str(self._at), "status", status)

    def _log(self, number: int, piece: bytes) -> Event:
        content = LogEvent(number, self._at.log_bytes, piece.decode("utf-8", "replace"))
        self._at = Position(number, self._at.statuses, self._at.log_bytes + len(piece))
        return Event(str(self._at), "log", content)
