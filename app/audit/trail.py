"""Gathers the rows of reads and refused calls and writes them in batches, off the way of the request."""

import asyncio
import logging
from bisect import insort

from app.actor import Call, Identity
from app.audit import service
from app.audit.structs import Entry
from app.db import Database
from app.errors import PurserError
from app.values import now, source_of, without_tokens

log = logging.getLogger("purser.audit")

FLUSH_S = 0.25
FLUSH_ROWS = 500
RETRY_S = 1.0
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

    `uncounted` counts calls with unknown credentials beyond 60 a minute from one address, of IPv6 one /64 network: they
    leave no row.
    """

    def __init__(self, database: Database) -> None:
        self.lost = 0
        self.uncounted = 0
        self._database = database
        self._loop = asyncio.get_running_loop()
        self._rows: list[Entry] = []
        self._held: list[tuple[int, list[Entry]]] = []
        """Batches that the database refused, in the order of their numbers."""
        self._number = 0
        self._sending: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._resting = False
        self._closed = False
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
                group_id=who.group_id if who else None,
            )
        )
        if self._resting:
            self._bound()
        elif len(self._rows) >= FLUSH_ROWS:
            self._send()
        elif self._timer is None:
            self._timer = self._loop.call_later(FLUSH_S, self._send)

    def _worth_a_row(self, ip: str) -> bool:
        source, minute = source_of(ip), int(self._loop.time() // 60)
        if minute != self._minute:
            self._minute = minute
            self._unknown.clear()
        seen = self._unknown.get(source, 0)
        if seen >= UNKNOWN_PER_MINUTE or (seen == 0 and len(self._unknown) >= MOST_ADDRESSES):
            return False
        self._unknown[source] = seen + 1
        return True

    @property
    def waiting(self) -> bool:
        """Whether rows are gathered and not yet on their way."""
        return bool(self._rows) and not self._resting

    def _send(self) -> None:
        """Sends what is gathered on its way, in a task that no caller's going away ends."""
        self._resting = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        rows = [row for _, batch in self._held for row in batch] + self._rows
        if rows:
            self._held, self._rows = [], []
            self._number += 1
            task = asyncio.create_task(self._write(self._number, rows))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _write(self, number: int, rows: list[Entry]) -> None:
        try:
            await self._database.write(service.add_many, rows)
        except PurserError as error:
            log.warning("audit rows wait", extra={"rows": len(rows), "detail": error.detail})
            self._hold(number, rows)
        except BaseException:
            self._hold(number, rows)
            raise

    def _hold(self, number: int, rows: list[Entry]) -> None:
        """Keeps a batch that was refused; until the database is asked again nobody else asks it."""
        insort(self._held, (number, rows), key=lambda batch: batch[0])
        self._bound()
        if not self._closed and not self._resting:
            self._resting = True
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(RETRY_S, self._send)

    def _bound(self) -> None:
        """Drops the oldest rows of too many that wait."""
        beyond = sum(len(batch) for _, batch in self._held) + len(self._rows) - MOST_ROWS
        if beyond <= 0:
            return
        self.lost += beyond
        for rows in (*(batch for _, batch in self._held), self._rows):
            gone = min(beyond, len(rows))
            del rows[:gone]
            beyond -= gone

    async def begin(self) -> None:
        """Sends what is gathered on its way, so that it stands before the change whose call is about to begin."""
        if self.waiting:
            self._send()
            await asyncio.sleep(0)  # the task's turn: it queues its write

    async def settle(self) -> None:
        """Returns when every call that has ended is written, or the database has refused it."""
        self._send()
        if self._sending:
            await asyncio.wait(tuple(self._sending))

    async def close(self) -> None:
        """Writes the rest; what cannot be written is lost now, and said."""
        self._closed = True
        await self.settle()
        if self._timer is not None:
            self._timer.cancel()
        held = sum(len(batch) for _, batch in self._held)
        if held:
            self.lost += held
            log.error("audit rows are lost", extra={"rows": held})
