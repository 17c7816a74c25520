"""The rules of roles: nobody hands on more than they hold, and only super admins make admins."""

from collections.abc import Sequence

from msgspec import UNSET

from app.actor import CALLERS, Actor
from app.audit import service as audit
from app.db import Tx, load
from app.db.rows import to_json
from app.errors import Conflict, Invalid, NotFound, PreconditionFailed
from app.permissions import ADMIN, STANDING, SUPER_ADMIN, USER, Grant, normalise
from app.roles.structs import GrantIn, Role, RoleCreate, RolePatch, RoleRow, RolesSet, shown
from app.users import service as users

q = load("roles")


def page(tx: Tx, after: int, limit: int) -> list[Role]:
    """Roles, those that are built in first."""
    return [shown(row) for row in tx.many(q.page, RoleRow, after=after, limit=limit)]


def count(tx: Tx) -> int:
    """How many roles there are."""
    return tx.value(q.count, int) or 0


def get(tx: Tx, role_id: int) -> Role:
    """A role; NotFound."""
    return shown(_row(tx, role_id))


def _row(tx: Tx, role_id: int) -> RoleRow:
    row = tx.one(q.by_id, RoleRow, id=role_id)
    if row is None:
        raise NotFound("No such role.")
    return row


def create(tx: Tx, actor: Actor, new: RoleCreate) -> Role:
    """Makes a role of permissions that the actor holds."""
    grants = _grants(actor, new.permissions)
    label = new.label or new.name
    role_id = tx.value(
        q.add, int, name=new.name, label=label, description=new.description, grants=to_json(grants), now=tx.now
    )
    if role_id is None:
        raise Conflict(f"There is a role called {new.name} already.", name=new.name)
    audit.record(tx, actor, "roles.create", f"roles/{role_id}")
    return get(tx, role_id)


def _grants(actor: Actor, wanted: Sequence[GrantIn]) -> list[Grant]:
    """The grants in their normal spelling, each permission once; Forbidden beyond the actor's own."""
    found: dict[str, Grant] = {}
    for index, grant in enumerate(wanted):
        try:
            name = normalise(grant.permission)
        except ValueError as error:
            raise Invalid.field(f"/permissions/{index}/permission", f"{error}, not `{grant.permission}`") from None
        if name in found and found[name].reach != grant.reach:
            raise Invalid.field(f"/permissions/{index}", f"{name} is given with two reaches")
        found[name] = Grant(name, grant.reach)
    _not_beyond(actor, list(found.values()))
    return list(found.values())


def _not_beyond(actor: Actor, grants: Sequence[Grant]) -> None:
    if beyond := actor.permissions.beyond_grants(grants):
        raise actor.lacks(beyond, "Nobody hands on more than they hold.")


def update(tx: Tx, actor: Actor, role_id: int, patch: RolePatch, revision: int | None) -> Role:
    """Changes what a role is called and what is said of it."""
    row = _changeable(tx, actor, role_id, revision)
    label = row.label if patch.label is UNSET else patch.label
    description = row.description if patch.description is UNSET else patch.description
    return _update(tx, actor, row, label, description, row.grants, "roles.update")


def set_permissions(tx: Tx, actor: Actor, role_id: int, permissions: Sequence[GrantIn], revision: int | None) -> Role:
    """Replaces all that a role grants, for everybody who has it, from the next request on."""
    row = _changeable(tx, actor, role_id, revision)
    grants = _grants(actor, permissions)
    if row.name == ADMIN and any(grant.permission == "*" for grant in grants):
        raise Invalid.field("/permissions", "an admin's permissions are named one by one: a group narrows some of them")
    return _update(tx, actor, row, row.label, row.description, grants, "roles.set_permissions")


def _changeable(tx: Tx, actor: Actor, role_id: int, revision: int | None) -> RoleRow:
    row = _row(tx, role_id)
    if row.name == SUPER_ADMIN:
        raise Conflict("The role super_admin is never changed.", name=row.name)
    _not_beyond(actor, row.grants)
    PreconditionFailed.unless_same("role", row.revision, revision)
    return row


def _update(
    tx: Tx, actor: Actor, row: RoleRow, label: str, description: str, grants: Sequence[Grant], action: str
) -> Role:
    tx.exec(q.update, id=row.id, label=label, description=description, grants=to_json(grants), now=tx.now)
    audit.record(tx, actor, action, f"roles/{row.id}")
    tx.notify(CALLERS, 0)
    return get(tx, row.id)


def remove(tx: Tx, actor: Actor, role_id: int, revision: int | None) -> None:
    """Deletes a role that is not built in and that nobody has."""
    row = _changeable(tx, actor, role_id, revision)
    if row.built_in:
        raise Conflict("A built-in role is not deleted.", name=row.name)
    if not tx.exec(q.remove, id=role_id):
        raise Conflict("Accounts have this role.", user_count=row.user_count)
    audit.record(tx, actor, "roles.delete", f"roles/{role_id}")


def assign(tx: Tx, actor: Actor, user_id: int, names: Sequence[str], revision: int | None) -> RolesSet:
    """Gives an account exactly these roles and ends its sessions. Conflict for the last active super admin."""
    users.manageable(tx, actor, "users:admin", user_id, revision)
    users.refuse_narrowed(actor, user_id)
    rows = [_named(tx, names.index(name), name) for name in dict.fromkeys(names)]
    if any(row.name in (SUPER_ADMIN, ADMIN) for row in rows) and not actor.permissions.everything:
        raise actor.lacks(["*"], "Only a super admin makes admins.")
    for row in rows:
        _not_beyond(actor, row.grants)
    rows.sort(key=lambda row: STANDING.index(row.name) if row.name in STANDING else len(STANDING))
    first, *further = rows
    further.sort(key=lambda row: row.id)
    users.set_role(tx, user_id, first.name)
    tx.exec(q.clear_further, user_id=user_id)
    tx.exec_many(q.add_further, [{"user_id": user_id, "role_id": row.id} for row in further])
    audit.record(tx, actor, "users.set_roles", f"users/{user_id}")
    return RolesSet(user_id, first.name, (first.name, *(row.name for row in further)))


def take_admin(tx: Tx, user_id: int) -> None:
    """Makes an account whose first role is `admin` a `user`, and ends its sessions."""
    users.set_role(tx, user_id, USER)
    tx.exec(q.take_further, user_id=user_id, name=USER)


def _named(tx: Tx, index: int, name: str) -> RoleRow:
    row = tx.one(q.by_name, RoleRow, name=name)
    if row is None:
        raise Invalid.field(f"/roles/{index}", f"there is no role called {name}")
    return row
