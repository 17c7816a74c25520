"""The rules of accounts: the claim, who may see and manage whom, and what must never happen to the last super admin."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from app.actor import CALLERS, Actor, Call, Identity
from app.audit import service as audit
from app.db import Query, Tx, load
from app.db.rows import to_json
from app.errors import Conflict, Forbidden, Invalid, NotFound, PreconditionFailed
from app.permissions import ADMIN, SUPER_ADMIN, USER, Grant, Permissions, standing
from app.users.structs import (
    Account,
    Credentials,
    Group,
    Me,
    Register,
    RoleGrants,
    RoleOf,
    User,
    UserCreate,
    UserFilter,
    UserPatch,
    UserRow,
    shown,
)
from app.values import folded, like, new_number

q = load("users")

FIRST = "admin"
"""The username of the super admin that the first token makes."""
_LAST = "The last active super admin can be neither deleted, deactivated nor demoted."
_OWN = "Nobody deletes or suspends the own account here."


class NewAccount(NamedTuple):
    """What the table needs of an account that is being made; `username` None: derived from the e-mail."""

    username: str | None
    email: str | None = None
    full_name: str = ""
    status: str = "active"
    role: str = USER
    group_id: int | None = None
    password_hash: str | None = None
    phone: str | None = None
    avatar: str | None = None
    department: str | None = None
    position: str | None = None
    bio: str | None = None


def claimed(tx: Tx) -> bool:
    """True once somebody has claimed the appliance; it stays true whatever is deleted later."""
    return bool(tx.value(q.is_claimed, int))


def claim(tx: Tx, new: NewAccount | None = None) -> Account:
    """Claims the appliance for a super admin: by default `admin`, without a password. Conflict but for the first."""
    if tx.value(q.claim, int, now=tx.now) is None:
        raise Conflict("The appliance is claimed already.")
    row = add(tx, (new or NewAccount(FIRST))._replace(role=SUPER_ADMIN, status="active"))
    return account(tx, row.id)


def account(tx: Tx, user_id: int) -> Account:
    """Who an account is; NotFound."""
    found = tx.one(q.account, Account, id=user_id)
    if found is None:
        raise NotFound("No such user.")
    return found


def first_super_admin(tx: Tx) -> Account:
    """The oldest active super admin: who an offline command acts as. Conflict before the claim."""
    found = tx.one(q.first_super_admin, Account)
    if found is None:
        raise Conflict("The appliance is not claimed yet.")
    return found


def acting(tx: Tx, who: Account, call: Call | None = None) -> Actor:
    """The account as an actor with all that its roles grant."""
    return Actor(Identity(who.id, who.username, Permissions(grants(tx, who)), group_id=who.group_id), call)


def grants(tx: Tx, who: Account) -> list[Grant]:
    """What the roles of an account grant it."""
    roles = tx.many(q.grants_of, RoleGrants, id=who.id)
    grouped = who.group_id is not None
    return [grant for role in roles for grant in standing(role.name, role.grants, grouped=grouped)]


def add(tx: Tx, new: NewAccount) -> UserRow:
    """Makes an account. Conflict when the username or the e-mail is taken; a derived username never is."""
    if new.username is not None:
        row = _insert(tx, new, new.username)
        if row is None:
            raise _taken(tx, 0, new.username, new.email)
        return row
    local = (new.email or "").partition("@")[0].replace("/", "-")[:90]
    for username in (local, *(f"{local}{number}" for number in range(2, 10)), f"{local}-{new_number()[:8]}"):
        if row := _insert(tx, new, username):
            return row
    raise _taken(tx, 0, local, new.email)


def _insert(tx: Tx, new: NewAccount, username: str) -> UserRow | None:
    values = new._asdict() | _keys(username, new.email, new.full_name)
    return tx.one(q.add, UserRow, **values, now=tx.now)


def _keys(username: str, email: str | None, full_name: str) -> dict[str, str | None]:
    """The columns that hold a name of the account, and their folded forms."""
    text = "\n".join(part for part in (username, email, full_name) if part)
    return {
        "username": username,
        "username_key": folded(username),
        "email": email,
        "email_key": None if email is None else folded(email),
        "search_text": folded(text),
    }


def _taken(tx: Tx, user_id: int, username: str, email: str | None) -> Conflict:
    keys = _keys(username, email, "")
    taken = tx.value(
        q.taken_by_another, int, id=user_id, username_key=keys["username_key"], email_key=keys["email_key"]
    )
    field = "username" if taken == 1 else "email"
    return Conflict(f"Another account has this {field} already.", field=field)


def create(tx: Tx, actor: Actor, new: UserCreate, password_hash: str) -> User:
    """Makes an active account with the role `user`; in a group admin's own group."""
    own_group = actor.who.group_id if actor.reach("users:write") == "group" else None
    row = add(tx, new_account(new, password_hash)._replace(group_id=own_group))
    audit.record(tx, actor, "users.create", f"users/{row.id}")
    return shown(row)


def may_register(tx: Tx, policy: str, *, local: bool) -> None:
    """Forbidden where nobody may register: closed, or not claimed yet and not at the appliance."""
    if not claimed(tx):
        if not local:
            raise Forbidden("This appliance is not claimed yet; its first account is made on the appliance itself.")
    elif policy == "closed":
        raise Forbidden("Registration is closed.")


def register(tx: Tx, call: Call | None, new: Register, password_hash: str, policy: str, *, local: bool) -> User:
    """Makes an account for whoever asks: the first one claims the appliance, any other is a `user`."""
    may_register(tx, policy, local=local)
    asked = new_account(new, password_hash)
    if not claimed(tx):
        owner = claim(tx, asked)
        audit.record(tx, acting(tx, owner, call), "appliance.claim", f"users/{owner.id}")
        return _again(tx, owner.id)
    row = add(tx, asked._replace(status="active" if policy == "open" else "pending"))
    audit.record(tx, acting(tx, account(tx, row.id), call), "users.register", f"users/{row.id}")
    return shown(row)


def new_account(new: Register, password_hash: str) -> NewAccount:
    """An account as it was asked for."""
    given = msgspec.structs.asdict(new)
    del given["name"], given["full_name"], given["password"]
    return NewAccount(**given, full_name=_full_name(new.name, new.full_name, ""), password_hash=password_hash)


def _full_name(name: object, full_name: object, otherwise: str) -> str:
    """The full name under either of its names; Invalid when the two differ."""
    wanted = {str(text) for text in (name, full_name) if text is not UNSET}
    if len(wanted) > 1:
        raise Invalid.field("/full_name", "name and full_name say different things")
    return wanted.pop() if wanted else otherwise


def page(tx: Tx, actor: Actor, wanted: UserFilter, after: tuple[str, int] | None, limit: int) -> list[User]:
    """Up to `limit` accounts within reach behind the position `after`, a text and an id."""
    statement, backwards = _ORDERS[wanted.sort]
    text, last_id = after or ("\U0010ffff" if backwards else "", 2**62 if backwards else 0)
    known = {"after_text": text, "after_id": last_id}
    order = {name: value for name, value in known.items() if name in statement.parameters}
    rows = tx.many(statement, UserRow, **_matching(actor, wanted), **order, limit=limit)
    return with_roles(tx, rows)


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
        **within(actor, "users:read"),
        "pattern": None if wanted.q is None else like(folded(wanted.q)),
        "status": wanted.status,
        "role": wanted.role,
        "group_id": wanted.group_id,
    }


def within(actor: Actor, permission: str) -> dict[str, object]:
    """The parameters that keep a statement to the accounts that the actor reaches with this permission."""
    reach = actor.reach(permission)
    group_id = actor.who.group_id if reach == "group" else None
    return {"everyone": reach == "all", "self_id": actor.user_id, "own_group_id": group_id}


def with_roles(tx: Tx, rows: Sequence[UserRow]) -> list[User]:
    """The rows as they are shown, each with all its roles."""
    further: dict[int, list[str]] = {}
    for role in tx.many(q.further_roles, RoleOf, ids=to_json([row.id for row in rows])):
        further.setdefault(role.user_id, []).append(role.name)
    return [shown(row, tuple(further.get(row.id, ()))) for row in rows]


def get(tx: Tx, actor: Actor, user_id: int) -> User:
    """An account within reach; NotFound for any other."""
    return with_roles(tx, [_row(tx, actor, "users:read", user_id)])[0]


def _row(tx: Tx, actor: Actor, permission: str, user_id: int) -> UserRow:
    row = tx.one(q.by_id, UserRow, id=user_id, **within(actor, permission))
    if row is None:
        raise NotFound("No such user.")
    return row


def me(tx: Tx, actor: Actor) -> Me:
    """The caller's own account, and what the caller may do through the credential in use."""
    user = with_roles(tx, [_own(tx, actor)])[0]
    who = actor.who
    return Me(
        **msgspec.structs.asdict(user),
        group=tx.one(q.group_of, Group, id=user.group_id or 0),
        permissions=tuple(who.permissions.effective()),
        scopes=who.permissions.scopes,
        token_id=who.token_id,
        session_id=who.session_id,
    )


def _own(tx: Tx, actor: Actor) -> UserRow:
    row = tx.one(q.by_id, UserRow, id=actor.user_id, everyone=0, self_id=actor.user_id, own_group_id=None)
    if row is None:
        raise NotFound("No such user.")
    return row


def manageable(tx: Tx, actor: Actor, permission: str, user_id: int) -> UserRow:
    """The account, when it is within reach and the actor may change it."""
    row = _row(tx, actor, permission, user_id)
    refuse_above(tx, actor, row.id)
    return row


def refuse_above(tx: Tx, actor: Actor, user_id: int) -> None:
    """Forbidden when the account is an admin's, or another that may do more than the actor; never the own one."""
    if user_id == actor.user_id or actor.permissions.everything:
        return
    roles = tx.many(q.grants_of, RoleGrants, id=user_id)
    if any(role.name in (SUPER_ADMIN, ADMIN) for role in roles):
        raise Forbidden("Only a super admin changes the account of an admin.", required=["*"], held=_held(actor))
    theirs = [grant for role in roles for grant in role.grants]
    if beyond := actor.permissions.unscoped().beyond_grants(theirs):
        raise Forbidden("This account may do more than you.", required=beyond, held=_held(actor))


def _held(actor: Actor) -> list[str]:
    return actor.permissions.held()


def update(tx: Tx, actor: Actor, user_id: int, patch: UserPatch, revision: int | None) -> User:
    """Changes a profile: the own one, or one that the actor manages."""
    return _update(tx, actor, manageable(tx, actor, "users:write", user_id), patch, revision)


def update_own(tx: Tx, actor: Actor, patch: UserPatch, revision: int | None) -> User:
    """Changes the caller's own profile."""
    return _update(tx, actor, _own(tx, actor), patch, revision)


def _update(tx: Tx, actor: Actor, row: UserRow, patch: UserPatch, revision: int | None) -> User:
    _unchanged_since(row, revision)
    given = {name: value for name, value in msgspec.structs.asdict(patch).items() if value is not UNSET}
    given["full_name"] = _full_name(patch.name, patch.full_name, row.full_name)
    given.pop("name", None)
    new = msgspec.structs.replace(row, **given)
    if row.id == actor.user_id and new.email != row.email and actor.permissions.scopes is not None:
        # Whoever holds the e-mail address can have a new password sent to it.
        raise Forbidden("The own e-mail is not changed through an access token; sign in.", held=_held(actor))
    names = _keys(new.username, new.email, new.full_name)
    keys = {name: names[name] for name in ("username_key", "email_key")}
    if tx.value(q.taken_by_another, int, id=row.id, **keys) is not None:
        raise _taken(tx, row.id, new.username, new.email)
    profile = ("full_name", "phone", "avatar", "department", "position", "bio")
    tx.exec(q.update, id=row.id, **names, **{name: getattr(new, name) for name in profile}, now=tx.now)
    audit.record(tx, actor, "users.update", f"users/{row.id}")
    tx.notify(CALLERS, row.id)  # the cached name
    return _again(tx, row.id)


def _unchanged_since(row: UserRow, revision: int | None) -> None:
    if revision not in (None, row.revision):
        raise PreconditionFailed("The user has changed since.", revision=row.revision)


def _again(tx: Tx, user_id: int) -> User:
    row = tx.one(q.by_id, UserRow, id=user_id, everyone=1, self_id=0, own_group_id=None)
    if row is None:
        raise NotFound("No such user.")
    return with_roles(tx, [row])[0]


def set_status(tx: Tx, actor: Actor, user_id: int, status: str, revision: int | None) -> User:
    """Activates, deactivates or suspends an account and ends its sessions; not the own, not the last super admin's."""
    row = manageable(tx, actor, "users:write", user_id)
    _unchanged_since(row, revision)
    if user_id == actor.user_id and status != "active":
        raise Conflict(_OWN, state=row.status)
    if not tx.exec(q.set_status, id=user_id, status=status, now=tx.now):
        raise Conflict(_LAST, state=row.status)
    audit.record(tx, actor, f"users.{status}", f"users/{user_id}")
    tx.notify(CALLERS, user_id)
    return _again(tx, user_id)


def reset_password(tx: Tx, actor: Actor, user_id: int, password_hash: str) -> None:
    """Sets the password of another account, or the first one of the own; all its sessions end."""
    manageable(tx, actor, "users:write", user_id)
    seen = credentials_of(tx, user_id).password_hash
    if user_id == actor.user_id and seen is not None:
        raise Conflict("The own password is changed with the old one: POST /auth/change-password.", state="set")
    if user_id == actor.user_id and actor.permissions.beyond_grants(actor.permissions.grants):
        raise Forbidden("The own password is not set through a token with less than all your permissions.")
    set_password(tx, user_id, password_hash, seen)
    audit.record(tx, actor, "users.reset_password", f"users/{user_id}")


def set_password(tx: Tx, user_id: int, password_hash: str, seen_hash: str | None) -> int:
    """Replaces the password that was seen and ends all sessions; the new epoch. Conflict when it changed meanwhile."""
    epoch = tx.value(q.set_password, int, id=user_id, password_hash=password_hash, seen_hash=seen_hash, now=tx.now)
    if epoch is None:
        raise Conflict("The password has been changed meanwhile.")
    tx.notify(CALLERS, user_id)
    return epoch


def set_role(tx: Tx, user_id: int, role: str) -> None:
    """Sets the first role and ends all sessions; Conflict for the last active super admin. Who may: app/roles."""
    if not tx.exec(q.set_role, id=user_id, role=role, now=tx.now):
        raise Conflict(_LAST, state=SUPER_ADMIN)
    tx.notify(CALLERS, user_id)


def remove(tx: Tx, actor: Actor, user_id: int, revision: int | None) -> None:
    """Deletes an account and what only it owns. Never the own one, never the last super admin."""
    row = manageable(tx, actor, "users:delete", user_id)
    _unchanged_since(row, revision)
    _remove(tx, actor, row)
    audit.record(tx, actor, "users.delete", f"users/{user_id}")


def remove_many(tx: Tx, actor: Actor, user_ids: Sequence[int]) -> int:
    """Deletes accounts, all or none; how many."""
    wanted = sorted(set(user_ids))
    for user_id in wanted:
        _remove(tx, actor, manageable(tx, actor, "users:delete", user_id))
    audit.record(tx, actor, "users.delete", f"users/{','.join(map(str, wanted))}")
    return len(wanted)


def _remove(tx: Tx, actor: Actor, row: UserRow) -> None:
    if row.id == actor.user_id:
        raise Conflict(_OWN, state=row.status)
    if not tx.exec(q.remove, id=row.id):
        raise Conflict(_LAST, state=row.status)
    tx.notify(CALLERS, row.id)


def credentials(tx: Tx, identifier: str) -> Credentials | None:
    """The account that a username or an e-mail names, without regard to case."""
    return tx.one(q.credentials, Credentials, key=folded(identifier))


def credentials_of(tx: Tx, user_id: int) -> Credentials:
    """An account as signing in needs it; NotFound."""
    found = tx.one(q.credentials_by_id, Credentials, id=user_id)
    if found is None:
        raise NotFound("No such user.")
    return found


def signed_in(tx: Tx, user_id: int) -> User:
    """Notes that somebody signed in; the account as it is shown."""
    tx.exec(q.signed_in, id=user_id, now=tx.now)
    return _again(tx, user_id)


def rehash(tx: Tx, user_id: int, password_hash: str, seen_hash: str) -> None:
    """Keeps the same password under today's parameters."""
    tx.exec(q.rehash, id=user_id, password_hash=password_hash, seen_hash=seen_hash)
