"""The claim, and the built-in super admin that it makes."""

from app.actor import Actor, Call, Identity
from app.db import Tx, load
from app.errors import Conflict
from app.permissions import ROLES, Permissions
from app.users.structs import Account

q = load("users")

ADMIN = "admin"


def claimed(tx: Tx) -> bool:
    """True once somebody has claimed the appliance; it stays true whatever is deleted later."""
    return bool(tx.value(q.is_claimed, int))


def claim(tx: Tx) -> Account:
    """Claims the appliance: makes the super admin `admin`, without a password. Conflict for all but the first."""
    if tx.value(q.claim, int, now=tx.now) is None:
        raise Conflict("The appliance is claimed already.")
    account = tx.one(q.add, Account, username=ADMIN, username_key=ADMIN, full_name="", role="super_admin", now=tx.now)
    if account is None:
        raise Conflict(f"There is an account called {ADMIN} already.")
    return account


def first_super_admin(tx: Tx) -> Account:
    """The oldest active super admin: who an offline command acts as. Conflict before the claim."""
    account = tx.one(q.first_super_admin, Account)
    if account is None:
        raise Conflict("The appliance is not claimed yet.")
    return account


def acting(account: Account, call: Call | None = None) -> Actor:
    """The account as an actor with all that its role grants."""
    return Actor(Identity(account.id, account.username, Permissions(ROLES.get(account.role, ()))), call)
