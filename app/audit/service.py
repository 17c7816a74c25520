"""Writing the trail."""

from collections.abc import Sequence

import msgspec

from app.actor import Actor
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


def add_many(tx: Tx, entries: Sequence[Entry]) -> None:
    """Writes gathered rows, in their order."""
    tx.exec_many(q.add, [msgspec.structs.asdict(entry) for entry in entries])
