"""The rules of groups: a number of their own, and nobody's reach grows when one goes."""

from msgspec import UNSET

from app.actor import Actor
from app.audit import service as audit
from app.db import Tx, load
from app.errors import Conflict, NotFound, PreconditionFailed
from app.groups.structs import Group, GroupCreate, GroupPatch
from app.roles import service as roles
from app.users import service as users

q = load("groups")


def page(tx: Tx, after: int, limit: int) -> list[Group]:
    """Groups, the oldest first."""
    return tx.many(q.page, Group, after=after, limit=limit)


def count(tx: Tx) -> int:
    """How many groups there are."""
    return tx.value(q.count, int) or 0


def get(tx: Tx, group_id: int) -> Group:
    """A group; NotFound."""
    found = tx.one(q.by_id, Group, id=group_id)
    if found is None:
        raise NotFound("No such group.")
    return found


def create(tx: Tx, actor: Actor, new: GroupCreate) -> Group:
    """Makes a group. Conflict when another has its number."""
    streams = new.max_allowed_streams
    group_id = tx.value(
        q.add, int, name=new.name, uniform_number=new.uniform_number, max_allowed_streams=streams, now=tx.now
    )
    if group_id is None:
        raise _taken(new.uniform_number)
    audit.record(tx, actor, "groups.create", f"groups/{group_id}")
    return get(tx, group_id)


def _taken(uniform_number: str) -> Conflict:
    return Conflict(f"Another group has the uniform number {uniform_number}.", field="uniform_number")


def update(tx: Tx, actor: Actor, group_id: int, patch: GroupPatch, revision: int | None) -> Group:
    """Changes a group."""
    found = get(tx, group_id)
    PreconditionFailed.unless_same("group", found.revision, revision)
    name = found.name if patch.name is UNSET else patch.name
    number = found.uniform_number if patch.uniform_number is UNSET else patch.uniform_number
    streams = found.max_allowed_streams if patch.max_allowed_streams is UNSET else patch.max_allowed_streams
    new = {"name": name, "uniform_number": number, "max_allowed_streams": streams}
    if not tx.exec(q.update, id=group_id, **new, now=tx.now):
        raise _taken(number)
    audit.record(tx, actor, "groups.update", f"groups/{group_id}")
    return get(tx, group_id)


def remove(tx: Tx, actor: Actor, group_id: int, revision: int | None) -> None:
    """Deletes a group. Its people belong to none from now on and sign in anew; its admins are users."""
    found = get(tx, group_id)
    PreconditionFailed.unless_same("group", found.revision, revision)
    admins = users.admins_of(tx, group_id)
    if admins and not actor.permissions.everything:
        raise actor.lacks(["*"], "Only a super admin takes the role from the admins of this group.")
    for user_id in admins:
        roles.take_admin(tx, user_id)
        audit.record(tx, actor.beside_the_call, "users.set_roles", f"users/{user_id}")
    users.leave_group(tx, group_id)
    tx.exec(q.remove, id=group_id)
    audit.record(tx, actor, "groups.delete", f"groups/{group_id}")
