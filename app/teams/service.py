"""The rules of teams: their owners and those who administer them change them, members see them and may leave."""

from msgspec import UNSET

from app.actor import EVERYBODY, Actor
from app.audit import service as audit
from app.db import Tx, load
from app.errors import Conflict, Invalid, NotFound, PreconditionFailed
from app.teams.structs import (
    MemberAdd,
    MemberRow,
    Recipient,
    Team,
    TeamCreate,
    TeamPatch,
    TeamRow,
    TeamWithMembers,
    shown,
    with_members,
)
from app.users import service as users
from app.values import coming

q = load("teams")

MOST_MEMBERS = 1_000


def page(tx: Tx, actor: Actor, after: int, limit: int) -> list[Team]:
    """Teams that the actor is in or reaches, the oldest first."""
    rows = tx.many(q.page, TeamRow, **actor.within("teams:read"), after=after, limit=limit)
    return [shown(row) for row in rows]


def count(tx: Tx, actor: Actor) -> int:
    """How many such teams there are."""
    return tx.value(q.count, int, **actor.within("teams:read")) or 0


def get(tx: Tx, actor: Actor, team_id: int) -> TeamWithMembers:
    """Such a team with its members; NotFound for any other."""
    return _whole(tx, _row(tx, actor, "teams:read", team_id))


def _row(tx: Tx, actor: Actor, permission: str, team_id: int) -> TeamRow:
    row = tx.one(q.by_id, TeamRow, id=team_id, **actor.within(permission))
    if row is None:
        raise NotFound("No such team.")
    return row


def _whole(tx: Tx, row: TeamRow) -> TeamWithMembers:
    return with_members(row, tx.many(q.members, MemberRow, id=row.id))


def _again(tx: Tx, team_id: int) -> TeamWithMembers:
    row = tx.one(q.by_id, TeamRow, id=team_id, **EVERYBODY)
    if row is None:
        raise NotFound("No such team.")
    return _whole(tx, row)


def create(tx: Tx, actor: Actor, new: TeamCreate) -> TeamWithMembers:
    """Makes a team of the actor's."""
    tx.exec(q.remove_empty)
    team_id = tx.value(q.add, int, name=new.name, description=new.description, owner_id=actor.user_id, now=tx.now)
    if team_id is None:
        raise RuntimeError("a team was not made")
    tx.exec(q.join, id=team_id, user_id=actor.user_id, now=tx.now)
    audit.record(tx, actor, "teams.create", f"teams/{team_id}")
    return _again(tx, team_id)


def _managed(tx: Tx, actor: Actor, permission: str, team_id: int, revision: int | None) -> TeamRow:
    """A team that the actor owns or administers, as the caller has seen it; Forbidden for its other members."""
    row = _row(tx, actor, permission, team_id)
    _refuse_members(actor, permission, row)
    PreconditionFailed.unless_same("team", row.revision, revision)
    return row


def _refuse_members(actor: Actor, permission: str, row: TeamRow) -> None:
    """Forbidden for who neither owns nor administers a team."""
    reach = actor.reach(permission)
    in_group = row.owner_group_id is not None and row.owner_group_id == actor.who.group_id
    if not (row.owner_id == actor.user_id or reach == "all" or (reach == "group" and in_group)):
        raise actor.lacks([permission], "Only the owner of a team changes it.")


def update(tx: Tx, actor: Actor, team_id: int, patch: TeamPatch, revision: int | None) -> TeamWithMembers:
    """Changes a team, or hands it over to one of its members."""
    row = _managed(tx, actor, "teams:write", team_id, revision)
    name = row.name if patch.name is UNSET else patch.name
    description = row.description if patch.description is UNSET else patch.description
    owner_id = row.owner_id if patch.owner_id is UNSET else patch.owner_id
    if owner_id != row.owner_id and not tx.value(q.is_member, int, id=team_id, user_id=owner_id):
        raise Invalid.field("/owner_id", "expected the id of one of the team's members, with an active account")
    tx.exec(q.update, id=team_id, name=name, description=description, owner_id=owner_id, now=tx.now)
    audit.record(tx, actor, "teams.update", f"teams/{team_id}")
    return _again(tx, team_id)


def remove(tx: Tx, actor: Actor, team_id: int, revision: int | None) -> None:
    """Deletes a team; what was shared with it is no longer shared."""
    _managed(tx, actor, "teams:delete", team_id, revision)
    tx.exec(q.remove, id=team_id)
    audit.record(tx, actor, "teams.delete", f"teams/{team_id}")


def add_member(tx: Tx, actor: Actor, team_id: int, new: MemberAdd, revision: int | None) -> TeamWithMembers:
    """Takes somebody into a team; who is in it already stays. Conflict when the team is full."""
    row = _managed(tx, actor, "teams:write", team_id, revision)
    if (new.user_id is None) == (new.username is None):
        raise Invalid.field("/user_id", "expected either user_id or username")
    joining = users.neighbour(tx, actor, new.user_id, new.username)
    if tx.exec(q.join, id=team_id, user_id=joining.id, now=tx.now):
        if row.member_count >= MOST_MEMBERS:
            raise Conflict(f"A team has at most {MOST_MEMBERS} members.", member_count=row.member_count)
        tx.exec(q.changed, id=team_id, now=tx.now)
    audit.record(tx, actor, "teams.add_member", f"teams/{team_id}/members/{joining.id}")
    return _again(tx, team_id)


def recipient(tx: Tx, actor: Actor, given: Recipient, owner_id: int | None = None) -> tuple[int | None, int | None]:
    """The account or the team, the other None, that the actor may share something of this owner's with.

    NotFound for accounts that are no neighbours, and teams that the actor is not in. Invalid unless it is exactly one,
    and not the owner.
    """
    refuse_unless_one(given)
    if given.team_id is not None:
        return None, _row(tx, actor, "teams:read", given.team_id).id
    user_id = users.neighbour(tx, actor, given.user_id, given.username).id
    if user_id == owner_id:
        raise Invalid.field("/user_id", "expected somebody other than the owner")
    return user_id, None


def refuse_unless_one(given: Recipient) -> None:
    """Invalid unless it is exactly one account or team that is named."""
    if [given.user_id, given.username, given.team_id].count(None) != 2:
        raise Invalid.field("/user_id", "expected one of user_id, username and team_id")


def ending(expires_at: str | None) -> str | None:
    """When a share ends, None for never; Invalid for an instant that is none, or over."""
    try:
        return None if expires_at is None else coming(expires_at)
    except ValueError as error:
        raise Invalid.field("/expires_at", str(error)) from None


def remove_member(tx: Tx, actor: Actor, team_id: int, user_id: int, revision: int | None) -> None:
    """Takes somebody out of a team, or lets the actor leave it. Conflict for its owner, who hands it over first."""
    row = _row(tx, actor, "teams:write", team_id)
    if user_id != actor.user_id:
        _refuse_members(actor, "teams:write", row)
    PreconditionFailed.unless_same("team", row.revision, revision)
    if user_id == row.owner_id:
        raise Conflict("The owner of a team hands it over before leaving it.", state="owner")
    if not tx.exec(q.leave, id=team_id, user_id=user_id):
        raise NotFound("There is no such member.")
    tx.exec(q.changed, id=team_id, now=tx.now)
    audit.record(tx, actor, "teams.remove_member", f"teams/{team_id}/members/{user_id}")
