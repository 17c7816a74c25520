"""Who an account is: the claim, what its roles grant, who may see and manage whom. What other rooms ask of accounts.

What people do with accounts, their own and others', is `accounts`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.actor import CALLERS, EVERYBODY, Actor, Call, Identity
from app.db import Tx, load
from app.db.rows import to_json
from app.errors import Conflict, NotFound, PreconditionFailed
from app.permissions import ADMIN, SUPER_ADMIN, USER, Grant, Permissions, standing
from app.users.structs import Account, Credentials, RoleGrants, RoleOf, User, UserRow, shown
from app.values import folded, new_number

q = load("users")

FIRST = "admin"
"""The username of the super admin that the first token makes."""
LAST = "The last active super admin can be neither deleted, deactivated nor demoted."


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
    return [grant for role in roles_of(tx, who) for grant in role.grants]


def roles_of(tx: Tx, who: Account) -> list[RoleGrants]:
    """The roles of an account, the first one first, with what each grants to it."""
    roles = tx.many(q.grants_of, RoleGrants, id=who.id)
    grouped = who.group_id is not None
    return [RoleGrants(role.name, standing(role.name, role.grants, grouped=grouped)) for role in roles]


def add(tx: Tx, new: NewAccount) -> UserRow:
    """Makes an account. Conflict when the username or the e-mail is taken; a derived username never is."""
    if new.username is not None:
        row = _insert(tx, new, new.username)
        if row is None:
            raise taken(tx, 0, new.username, new.email)
        return row
    local = (new.email or "").partition("@")[0].replace("/", "-")[:90]
    for username in (local, *(f"{local}{number}" for number in range(2, 10)), f"{local}-{new_number()[:8]}"):
        if row := _insert(tx, new, username):
            return row
    raise taken(tx, 0, "", new.email)


def _insert(tx: Tx, new: NewAccount, username: str) -> UserRow | None:
    values = new._asdict() | names(username, new.email, new.full_name)
    return tx.one(q.add, UserRow, **values, now=tx.now)


def names(username: str, email: str | None, full_name: str) -> dict[str, str | None]:
    """The columns that hold a name of the account, and their folded forms."""
    text = "\n".join(part for part in (username, email, full_name) if part)
    return {
        "username": username,
        "username_key": folded(username),
        "email": email,
        "email_key": None if email is None else folded(email),
        "search_text": folded(text),
    }


def taken(tx: Tx, user_id: int, username: str, email: str | None) -> Conflict:
    """The refusal of a name that another account has."""
    keys = names(username, email, "")
    which = tx.value(
        q.taken_by_another, int, id=user_id, username_key=keys["username_key"], email_key=keys["email_key"]
    )
    field = "username" if which == 1 else "email"
    return Conflict(f"Another account has this {field} already.", field=field)


def refuse_narrowed(actor: Actor, user_id: int) -> None:
    """Forbidden for the own account through a token that holds less than it: what it does there it does to itself."""
    if user_id == actor.user_id and actor.permissions.beyond_grants(actor.permissions.grants):
        raise actor.lacks(["*"], "This token may do less than you, and does not change that of you.")


def with_roles(tx: Tx, rows: Sequence[UserRow]) -> list[User]:
    """The rows as they are shown, each with all its roles."""
    further: dict[int, list[str]] = {}
    for role in tx.many(q.further_roles, RoleOf, ids=to_json([row.id for row in rows])):
        further.setdefault(role.user_id, []).append(role.name)
    return [shown(row, tuple(further.get(row.id, ()))) for row in rows]


def row_of(tx: Tx, user_id: int, reached: Mapping[str, object]) -> UserRow:
    """An account among those that `Actor.within` tells, or EVERYBODY; NotFound for any other."""
    row = tx.one(q.by_id, UserRow, id=user_id, **reached)
    if row is None:
        raise NotFound("No such user.")
    return row


def manageable(tx: Tx, actor: Actor, permission: str, user_id: int, revision: int | None = None) -> UserRow:
    """The account, when it is within reach, the actor may change it, and it is as the caller has seen it."""
    row = row_of(tx, user_id, actor.within(permission))
    refuse_above(tx, actor, row.id)
    PreconditionFailed.unless_same("user", row.revision, revision)
    return row


def refuse_above(tx: Tx, actor: Actor, user_id: int) -> None:
    """Forbidden when the account is an admin's, or another that may do more than the actor; never the own one."""
    if user_id == actor.user_id or actor.permissions.everything:
        return
    roles = tx.many(q.grants_of, RoleGrants, id=user_id)
    if any(role.name in (SUPER_ADMIN, ADMIN) for role in roles):
        raise actor.lacks(["*"], "Only a super admin changes the account of an admin.")
    theirs = [grant for role in roles for grant in role.grants]
    if beyond := actor.permissions.unscoped().beyond_grants(theirs):
        raise actor.lacks(beyond, "This account may do more than you.")


def again(tx: Tx, user_id: int) -> User:
    """The account as it is now, with all its roles."""
    return with_roles(tx, [row_of(tx, user_id, EVERYBODY)])[0]


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
        raise Conflict(LAST, state=SUPER_ADMIN)
    tx.notify(CALLERS, user_id)


def admins_of(tx: Tx, group_id: int) -> list[int]:
    """The ids of those whose first role is `admin` in a group."""
    return [who.id for who in tx.many(q.of_role_in_group, Account, group_id=group_id, role=ADMIN)]


def leave_group(tx: Tx, group_id: int) -> None:
    """Takes everybody out of a group that is about to go, and ends their sessions."""
    tx.exec(q.leave_group, group_id=group_id, now=tx.now)
    tx.notify(CALLERS, 0)


def neighbour(tx: Tx, actor: Actor, user_id: int | None, username: str | None) -> Account:
    """An active account that the actor may share with: of the same group, or none of both; anybody for who reaches all.

    NotFound for any other, so that nobody finds out by trying who else there is.
    """
    key = None if username is None else folded(username)
    found = tx.one(q.active_account, Account, id=user_id, username_key=key)
    if found is None or (actor.reach("users:read") != "all" and found.group_id != actor.who.group_id):
        raise NotFound("No such user.")
    return found


def credentials(tx: Tx, identifier: str) -> Credentials | None:
    """The account that a username or an e-mail names, without regard to case."""
    return tx.one(q.credentials, Credentials, key=folded(identifier))


def credentials_by_id(tx: Tx, user_id: int) -> Credentials | None:
    """An account as signing in needs it; None when it is gone."""
    return tx.one(q.credentials_by_id, Credentials, id=user_id)


def credentials_of(tx: Tx, user_id: int) -> Credentials:
    """An account as signing in needs it; NotFound."""
    found = credentials_by_id(tx, user_id)
    if found is None:
        raise NotFound("No such user.")
    return found


def signed_in(tx: Tx, user_id: int) -> User:
    """Notes that somebody signed in; the account as it is shown."""
    tx.exec(q.signed_in, id=user_id, now=tx.now)
    return again(tx, user_id)


def rehash(tx: Tx, user_id: int, password_hash: str, seen_hash: str) -> None:
    """Keeps the same password under today's parameters."""
    tx.exec(q.rehash, id=user_id, password_hash=password_hash, seen_hash=seen_hash)
