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
    tx.exec(
        q.add,
        at=tx.now,
        kind="change",
        request_id=call and call.request_id,
        actor_id=who.user_id or None,
        actor_name=who.user_name,
        token_id=who.token_id,
        session_id=who.session_id,
        ip=call and call.ip,
        method=call and call.method,
        path=call and call.path,
        route=call and call.route,
        status=call and call.status,
        authorized=1,
        reason=None,
        action=action,
        target=target,
    )


def refused(tx: Tx, call: Call | None, action: str, target: str | None, status: int, reason: str) -> None:
    """Notes a refusal that must leave a trace, in its own transaction: a failed sign-in, a stolen refresh token."""
    entry = Entry(tx.now, "call", authorized=False, reason=reason, action=action, target=target, status=status)
    if call is not None:
        entry.request_id, entry.ip, entry.method = call.request_id, call.ip, call.method
        entry.path, entry.route = call.path, call.route
    tx.exec(q.add, **msgspec.structs.asdict(entry))


def add_many(tx: Tx, entries: Sequence[Entry]) -> None:
    """Writes gathered rows, in their order."""
    tx.exec_many(q.add, [msgspec.structs.asdict(entry) for entry in entries])
