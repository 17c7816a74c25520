"""Gathers the rows of reads and refused calls and writes them in batches, off the way of the request."""

import asyncio
import logging

from app.actor import Call, Identity
from app.audit import service
from app.audit.structs import Entry
from app.db import Database
from app.errors import PurserError
from app.values import now, without_tokens

log = logging.getLogger("purser.audit")

FLUSH_S = 0.25
FLUSH_ROWS = 500
MOST_ROWS = 20_000
UNKNOWN_PER_MINUTE = 60
MOST_ADDRESSES = 10_000
MOST_CHARACTERS = 500


def storable(text: str) -> str:
    """Text of a caller's as the table takes it: cut short, without NUL, lone surrogates, and tokens."""
    text = without_tokens(text[:MOST_CHARACTERS].replace("\0", "\ufffd"))
    return text if text.isascii() else text.encode(errors="replace").decode()


class Trail:
    """The batch in memory. `lost` counts rows dropped because the database took none for too long.

    `uncounted` counts calls with unknown credentials beyond 60 a minute from one address: they leave no row.
    """

    def __init__(self, database: Database) -> None:
        self.lost = 0
        self.uncounted = 0
        self._database = database
        self._loop = asyncio.get_running_loop()
        self._rows: list[Entry] = []
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._unknown: dict[str, int] = {}
        self._minute = 0

    def call(
        self,
        call: Call,
        who: Identity | None,
        status: int,
        refusal: PurserError | None,
        token_id: int | None,
        session_id: int | None = None,
    ) -> None:
        """Notes a call. `token_id` and `session_id` are what was recognised and refused, where nobody was let in."""
        if who is None and token_id is None and session_id is None and not self._worth_a_row(call.ip):
            self.uncounted += 1
            return
        self._rows.append(
            Entry(
                now(),
                "call",
                call.request_id,
                who.user_id if who else None,
                who.user_name if who else None,
                who.token_id if who else token_id,
                who.session_id if who else session_id,
                call.ip,
                storable(call.method),
                storable(call.path),
                call.route,
                status,
                status not in (401, 403),
                storable(refusal.detail) if refusal else None,
            )
        )
        if len(self._rows) >= FLUSH_ROWS:
            self._begin()
        elif self._timer is None:
            self._timer = self._loop.call_later(FLUSH_S, self._begin)

    def _worth_a_row(self, ip: str) -> bool:
        minute = int(self._loop.time() // 60)
        if minute != self._minute:
            self._minute = minute
            self._unknown.clear()
        seen = self._unknown.get(ip, 0)
        if seen >= UNKNOWN_PER_MINUTE or (seen == 0 and len(self._unknown) >= MOST_ADDRESSES):
            return False
        self._unknown[ip] = seen + 1
        return True

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush_quietly())

    async def _flush_quietly(self) -> None:
        try:
            await self.flush()
        except PurserError as error:
            log.warning("audit rows wait", extra={"rows": len(self._rows), "detail": error.detail})
            if self._timer is None:
                self._timer = self._loop.call_later(FLUSH_S * 4, self._begin)

    async def flush(self) -> None:
        """Writes what is gathered; when the database refuses, keeps it (up to 20,000 rows) and raises."""
        rows, self._rows = self._rows, []
        if not rows:
            return
        try:
            await self._database.write(service.add_many, rows)
        except BaseException:
            rows += self._rows
            self.lost += max(0, len(rows) - MOST_ROWS)
            self._rows = rows[-MOST_ROWS:]
            raise

    async def close(self) -> None:
        """Writes the rest; what cannot be written is lost now, and said."""
        if self._timer is not None:
            self._timer.cancel()
        if self._flushing is not None:
            await self._flushing
        try:
            await self.flush()
        except PurserError as error:
            self.lost += len(self._rows)
            log.error("audit rows are lost", extra={"rows": len(self._rows), "detail": error.detail})
