"""What people do with accounts, their own and others': register, look, change, suspend, delete."""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET

from app.actor import CALLERS, EVERYBODY, Actor, Call
from app.audit import service as audit
from app.db import Query, Tx, limit_s, load
from app.errors import Conflict, Forbidden, Invalid, PreconditionFailed
from app.permissions import USER
from app.users import service
from app.users.structs import (
    CallLimits,
    Credentials,
    GroupOf,
    Me,
    Register,
    RoleGrants,
    User,
    UserCreate,
    UserFilter,
    UserPatch,
    UserRow,
    shown,
)
from app.values import Quota, folded, like

q = load("users")

REMOVE_S = 300.0
"""What deleting may take: all that somebody keeps goes along, of a hundred thousand documents in seconds."""
_LAST_OF_ALL = "\U0010ffff" * 256  # no name sorts behind it
_OWN = "Nobody deletes or suspends the own account here."


def create(tx: Tx, actor: Actor, new: UserCreate, password_hash: str) -> User:
    """Makes an active account with the role `user`; in a group admin's own group."""
    role = tx.one(q.role_grants, RoleGrants, name=USER)
    if role is not None and (beyond := actor.permissions.unscoped().beyond_grants(role.grants)):
        raise actor.lacks(beyond, "The account could do more than you.")
    own_group = actor.who.group_id if actor.reach("users:write") == "group" else None
    row = service.add(tx, new_account(new, password_hash)._replace(group_id=own_group))
    audit.record(tx, actor, "users.create", f"users/{row.id}")
    return shown(row)


def may_register(tx: Tx, policy: str, *, local: bool) -> None:
    """Forbidden where nobody may register: closed, or not claimed yet and not at the appliance."""
    if not service.claimed(tx):
        if not local:
            raise Forbidden("This appliance is not claimed yet; its first account is made on the appliance itself.")
    elif policy == "closed":
        raise Forbidden("Registration is closed.")


def register(tx: Tx, call: Call | None, new: Register, password_hash: str, policy: str, *, local: bool) -> User:
    """Makes an account for whoever asks: the first one claims the appliance, any other is a `user`."""
    may_register(tx, policy, local=local)
    asked = new_account(new, password_hash)
    if not service.claimed(tx):
        owner = service.claim(tx, asked)
        audit.record(tx, service.acting(tx, owner, call), "appliance.claim", f"users/{owner.id}")
        return service.again(tx, owner.id)
    row = service.add(tx, asked._replace(status="active" if policy == "open" else "pending"))
    audit.record(tx, service.acting(tx, service.account(tx, row.id), call), "users.register", f"users/{row.id}")
    return shown(row)


def new_account(new: Register, password_hash: str) -> service.NewAccount:
    """An account as it was asked for."""
    given = msgspec.structs.asdict(new)
    del given["name"], given["full_name"], given["password"]
    return service.NewAccount(**given, full_name=named(new), password_hash=password_hash)


def named(new: Register) -> str:
    """The full name that is asked for; Invalid without one."""
    name = _full_name(new.name, new.full_name, "")
    if not name:
        raise Invalid.field("/name", "required, and missing; full_name is the same")
    return name


def username_of(new: Register) -> str:
    """The username that is asked for, else what it is derived from."""
    return new.username or new.email.partition("@")[0]


def _full_name(name: object, full_name: object, otherwise: str) -> str:
    """The full name under either of its names; Invalid when the two differ."""
    wanted = {str(text) for text in (name, full_name) if text is not UNSET}
    if len(wanted) > 1:
        raise Invalid.field("/full_name", "name and full_name say different things")
    return wanted.pop() if wanted else otherwise


def page(tx: Tx, actor: Actor, wanted: UserFilter, after: tuple[str, int] | None, limit: int) -> list[User]:
    """Up to `limit` accounts within reach behind the position `after`, a text and an id."""
    statement, backwards = _ORDERS[wanted.sort]
    text, last_id = after or (_LAST_OF_ALL if backwards else "", 2**62 if backwards else 0)
    known = {"after_text": text, "after_id": last_id}
    rows = tx.many(statement, UserRow, **_matching(actor, wanted), **statement.its(known), limit=limit)
    return service.with_roles(tx, rows)


_ORDERS: dict[str, tuple[Query, bool]] = {
    "created_at": (q.page_by_created, False),
    "-created_at": (q.page_by_created_down, True),
    "username": (q.page_by_username, False),
    "-username": (q.page_by_username_down, True),
    "name": (q.page_by_name, False),
    "-name": (q.page_by_name_down, True),
}


def place(wanted: UserFilter, user: User) -> tuple[str, int]:
    """Where an account stands in the order of a list."""
    return (folded(user.username) if wanted.sort.endswith("username") else user.name, user.id)


def count(tx: Tx, actor: Actor, wanted: UserFilter) -> int:
    """How many accounts match, on all pages together."""
    return tx.value(q.count_matching, int, **_matching(actor, wanted)) or 0


def _matching(actor: Actor, wanted: UserFilter) -> dict[str, object]:
    return {
        **actor.within("users:read"),
        "pattern": None if wanted.q is None else like(folded(wanted.q)),
        "status": wanted.status,
        "role": wanted.role,
        "group_id": wanted.group_id,
    }


def get(tx: Tx, actor: Actor, user_id: int) -> User:
    """An account within reach; NotFound for any other."""
    return service.with_roles(tx, [service.row_of(tx, user_id, actor.within("users:read"))])[0]


def me(tx: Tx, actor: Actor, quota: Quota | None) -> Me:
    """The caller's own account, and what the caller may do, and how often, through the credential in use."""
    user = service.again(tx, actor.user_id)
    who = actor.who
    return Me(
        **msgspec.structs.asdict(user),
        group=tx.one(q.group_of, GroupOf, id=user.group_id or 0),
        permissions=tuple(who.permissions.effective()),
        scopes=who.permissions.scopes,
        token_id=who.token_id,
        session_id=who.session_id,
        limits=None if quota is None else CallLimits(quota.limit, quota.remaining, quota.reset_s),
    )


def update(tx: Tx, actor: Actor, user_id: int, patch: UserPatch, revision: int | None) -> User:
    """Changes a profile: the own one, or one that the actor manages."""
    return _update(tx, actor, service.manageable(tx, actor, "users:write", user_id, revision), patch)


def update_own(tx: Tx, actor: Actor, patch: UserPatch, revision: int | None) -> User:
    """Changes the caller's own profile."""
    row = service.row_of(tx, actor.user_id, EVERYBODY)
    PreconditionFailed.unless_same("user", row.revision, revision)
    return _update(tx, actor, row, patch)


def _update(tx: Tx, actor: Actor, row: UserRow, patch: UserPatch) -> User:
    given = {name: value for name, value in msgspec.structs.asdict(patch).items() if value is not UNSET}
    given["full_name"] = _full_name(patch.name, patch.full_name, row.full_name)
    given.pop("name", None)
    new = msgspec.structs.replace(row, **given)
    if row.id == actor.user_id and new.email != row.email and actor.permissions.scopes is not None:
        # Whoever holds the e-mail address can have a new password sent to it.
        raise Forbidden(
            "The own e-mail is not changed through an access token; sign in.", held=actor.permissions.held()
        )
    names = service.names(new.username, new.email, new.full_name)
    keys = {name: names[name] for name in ("username_key", "email_key")}
    if tx.value(q.taken_by_another, int, id=row.id, **keys) is not None:
        raise service.taken(tx, row.id, new.username, new.email)
    profile = ("full_name", "phone", "avatar", "department", "position", "bio")
    tx.exec(q.update, id=row.id, **names, **{name: getattr(new, name) for name in profile}, now=tx.now)
    audit.record(tx, actor, "users.update", f"users/{row.id}")
    tx.notify(CALLERS, row.id)  # the cached name
    return service.again(tx, row.id)


def set_status(tx: Tx, actor: Actor, user_id: int, status: str, revision: int | None) -> User:
    """Activates, deactivates or suspends an account; a change ends its sessions.

    Not the own account, and not the last super admin's.
    """
    row = service.manageable(tx, actor, "users:write", user_id, revision)
    if user_id == actor.user_id and status != "active":
        raise Conflict(_OWN, state=row.status)
    if status != row.status and not tx.exec(q.set_status, id=user_id, status=status, now=tx.now):
        raise Conflict(service.LAST, state=row.status)
    audit.record(tx, actor, f"users.{status}", f"users/{user_id}")
    tx.notify(CALLERS, user_id)
    return service.again(tx, user_id)


def set_group(tx: Tx, actor: Actor, user_id: int, group_id: int | None, revision: int | None) -> User:
    """Moves an account to another group or out of its own; its sessions end, and an admin's reach is another."""
    row = service.manageable(tx, actor, "groups:write", user_id, revision)
    if group_id is not None and tx.one(q.group_of, GroupOf, id=group_id) is None:
        raise Invalid.field("/group_id", f"there is no group {group_id}")
    if row.group_id != group_id:
        if user_id == actor.user_id and not actor.permissions.everything:
            raise actor.lacks(["*"], "Only a super admin moves the own account: it would choose its own reach.")
        tx.exec(q.set_group, id=user_id, group_id=group_id, now=tx.now)
    audit.record(tx, actor, "users.set_group", f"users/{user_id}")
    tx.notify(CALLERS, user_id)
    return service.again(tx, user_id)


def resettable(tx: Tx, actor: Actor, user_id: int, revision: int | None) -> Credentials:
    """An account whose password the actor may set: one that the actor manages, or the own one while it has none."""
    service.manageable(tx, actor, "users:write", user_id, revision)
    found = service.credentials_of(tx, user_id)
    if user_id == actor.user_id and found.password_hash is not None:
        raise Conflict("The own password is changed with the old one: POST /auth/change-password.", state="set")
    service.refuse_narrowed(actor, user_id)
    return found


def reset_password(tx: Tx, actor: Actor, user_id: int, password_hash: str, revision: int | None) -> None:
    """Sets the password of such an account; all its sessions end."""
    seen = resettable(tx, actor, user_id, revision).password_hash
    service.set_password(tx, user_id, password_hash, seen)
    audit.record(tx, actor, "users.reset_password", f"users/{user_id}")


@limit_s(REMOVE_S)
def remove(tx: Tx, actor: Actor, user_id: int, revision: int | None) -> None:
    """Deletes an account and what only it owns. Never the own one, never the last super admin."""
    _remove(tx, actor, service.manageable(tx, actor, "users:delete", user_id, revision))
    audit.record(tx, actor, "users.delete", f"users/{user_id}")


@limit_s(REMOVE_S)
def remove_many(tx: Tx, actor: Actor, user_ids: Sequence[int]) -> int:
    """Deletes accounts, all or none; how many."""
    wanted = sorted(set(user_ids))
    for user_id in wanted:
        _remove(tx, actor, service.manageable(tx, actor, "users:delete", user_id))
    audit.record(tx, actor, "users.delete", f"users/{','.join(map(str, wanted))}")
    return len(wanted)


def _remove(tx: Tx, actor: Actor, row: UserRow) -> None:
    if row.id == actor.user_id:
        raise Conflict(_OWN, state=row.status)
    if not tx.exec(q.remove, id=row.id):
        raise Conflict(service.LAST, state=row.status)
    tx.notify(CALLERS, row.id)
