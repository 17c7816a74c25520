"""Writing the trail, and reading it."""

from collections.abc import Sequence

import msgspec

from app.actor import EVERYBODY, Actor, Call
from app.audit.structs import AuditFilter, Entry, Place, Position, Record
from app.db import Query, Tx, limit_s, load
from app.db.rows import to_json
from app.errors import Invalid
from app.permissions import Reach
from app.values import instant_of, seconds

q = load("audit")

EVER, _LAST = "0000", "9999"  # before and behind every instant
WEEK_S = 7 * 86400.0
READ_S = 10.0
"""What reading may take: of a million rows those that a filter leaves may lie far apart."""


def record(tx: Tx, actor: Actor, action: str, target: str) -> None:
    """Notes a change in its own transaction, with the status that the call's route declares for success."""
    who, call = actor.who, actor.call
    entry = Entry(tx.now, "change", action=action, target=target, status=None if call is None else call.status)
    entry.actor_id, entry.actor_name, entry.group_id = who.user_id or None, who.user_name, who.group_id
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


@limit_s(READ_S)
def page(tx: Tx, actor: Actor, wanted: AuditFilter, behind: Position | None, limit: int) -> list[Record]:
    """Rows within reach that match: the newest first behind a position; with `after` in the order of writing."""
    if _out_of_reach(actor, wanted):
        return []
    if wanted.after is not None:
        begin = wanted.after if behind is None else behind[1]
        return _many(tx, q.after, _asked(actor, wanted) | {"after": begin, "limit": limit})
    return _many(tx, _driven(actor, wanted)[0], _asked(actor, wanted, behind) | {"limit": limit})


@limit_s(READ_S)
def count(tx: Tx, actor: Actor, wanted: AuditFilter) -> int:
    """How many rows match, on all pages together."""
    if _out_of_reach(actor, wanted):
        return 0
    statement, asked = _driven(actor, wanted)[1], _asked(actor, wanted)
    return tx.value(statement, int, **statement.its(asked)) or 0


def _many(tx: Tx, statement: Query, asked: dict[str, object]) -> list[Record]:
    return tx.many(statement, Record, **statement.its(asked))


def _driven(actor: Actor, wanted: AuditFilter) -> tuple[Query, Query]:
    """The statements of the page and the count, by the filter that leaves the fewest rows."""
    if _reach(actor) == "own":
        return q.page_by, q.count_by
    if wanted.token_id is not None:
        return q.page_of_token, q.count_of_token
    if wanted.target is not None:
        return q.page_about, q.count_about
    if wanted.actor_id is not None:
        return q.page_by, q.count_by
    if wanted.action is not None:
        return q.page_doing, q.count_doing
    if wanted.authorized is False:
        return q.page_refused, q.count_refused
    if _reach(actor) == "group":
        return q.page_of_group, q.count_of_group
    return q.page, q.count


def _out_of_reach(actor: Actor, wanted: AuditFilter) -> bool:
    """Whether somebody asks for another's rows who reads the own ones alone."""
    return _reach(actor) == "own" and wanted.actor_id not in (None, actor.user_id)


def _reach(actor: Actor) -> Reach:
    """How far the actor reads; of a group that the actor does not belong to nothing but the own rows."""
    reach = actor.reach("audit:read")
    return "own" if reach == "group" and actor.who.group_id is None else reach


def _asked(actor: Actor, wanted: AuditFilter, behind: Position | None = None) -> dict[str, object]:
    """The parameters that keep a statement to what is asked for and within reach."""
    reach = _reach(actor)
    if reach == "own":
        wanted = msgspec.structs.replace(wanted, actor_id=actor.user_id)
    within: dict[str, object] = {
        "everyone": reach == "all",
        "self_id": actor.user_id if reach == "own" else 0,
        "own_group_id": actor.who.group_id if reach == "group" else None,
    }
    return within | _filters(wanted, behind)


def _filters(wanted: AuditFilter, behind: Position | None = None) -> dict[str, object]:
    """The parameters of what is asked for, behind a position."""
    latest = _bound("until", wanted.until, _LAST)
    place = behind if behind is not None and behind[0] < latest else (latest, 0)
    return {
        "actor_id": wanted.actor_id,
        "token_id": wanted.token_id,
        "action": wanted.action,
        "target": wanted.target,
        "authorized": wanted.authorized,
        "since": _bound("since", wanted.since, EVER),
        "latest": place[0],
        "before_id": place[1],
    }


def _bound(field: str, text: str | None, otherwise: str) -> str:
    try:
        return otherwise if text is None else instant_of(text)
    except ValueError as error:
        raise Invalid.field(field, str(error)) from None


def page_of_token(tx: Tx, token_id: int, behind: Position | None, limit: int) -> list[Record]:
    """What was called with an access token, the newest first; for those who may see the token."""
    asked = EVERYBODY | _filters(AuditFilter(token_id=token_id), behind)
    return _many(tx, q.page_of_token, asked | {"limit": limit})


def count_of_token(tx: Tx, token_id: int) -> int:
    """How many calls with an access token are told of."""
    asked = EVERYBODY | _filters(AuditFilter(token_id=token_id))
    return tx.value(q.count_of_token, int, **q.count_of_token.its(asked)) or 0


def newest(tx: Tx) -> Place | None:
    """The row that was written last."""
    return tx.one(q.newest, Place)


def is_torn(tx: Tx, at: str) -> bool:
    """Whether the trail has a hole of more than a week about an instant, as a clock that leapt leaves one."""
    before, behind = tx.value(q.last_before, str, at=at), tx.value(q.first_from, str, at=at)
    return before is not None and behind is not None and seconds(behind) - seconds(before) > WEEK_S


def size(tx: Tx) -> int:
    """How many rows there are."""
    return tx.value(q.size, int) or 0


def forget_older(tx: Tx, before: str, limit: int) -> int:
    """Removes some of the rows from before an instant; how many."""
    return tx.exec(q.forget_older, before=before, limit=limit)


@limit_s(READ_S)
def oldest_reads(tx: Tx, since: str, limit: int) -> list[Place]:
    """Some of the oldest rows of calls that were let in and changed nothing, from an instant on."""
    return tx.many(q.oldest_reads, Place, since=since, limit=limit)


def forget(tx: Tx, ids: Sequence[int]) -> None:
    """Removes these rows."""
    tx.exec(q.forget, ids=to_json(ids))


def forget_oldest(tx: Tx, limit: int) -> int:
    """Removes some of the oldest rows of any kind; how many."""
    return tx.exec(q.forget_oldest, limit=limit)
