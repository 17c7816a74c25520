"""Writing the trail."""

from collections.abc import Sequence

import msgspec

from app.actor import Actor, Call
from app.audit.structs import Entry
from app.db import Tx, load

q = load("audit")


def record(tx: Tx, actor: Actor, action: str, target: str) -> None:
    """Notes a change in its own transaction, with the status that the call's route declares for success."""
    who, call = actor.who, actor.call
    entry = Entry(tx.now, "change", action=action, target=target, status=None if call is None else call.status)
    entry.actor_id, entry.actor_name = who.user_id or None, who.user_name
    entry.token_id, entry.session_id = who.token_id, who.session_id
    _add(tx, entry, call)


def refused(tx: Tx, call: Call | None, action: str, target: str | None, status: int, reason: str) -> None:
    """Notes a refusal that must leave a trace, in its own transaction: a failed sign-in, a stolen refresh token."""
    _add(tx, Entry(tx.now, "call", authorized=False, reason=reason, action=action, target=target, status=status), call)


def _add(tx: Tx, entry: Entry, call: Call | None) -> None:
    """Writes a row with what the call says of itself; None: no call."""
    if call is not None:
        entry.request_id, entry.ip, entry.method = call.request_id, call.ip, call.method
        entry.path, entry.route = call.path, call.route
    tx.exec(q.add, **msgspec.structs.asdict(entry))


def add_many(tx: Tx, entries: Sequence[Entry]) -> None:
    """Writes gathered rows, in their order."""
    tx.exec_many(q.add, [msgspec.structs.asdict(entry) for entry in entries])
