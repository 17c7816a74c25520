"""Roles and permissions on the wire and in the table."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.permissions import Grant, Reach
from app.values import Description, Id, OneLine

RoleName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=50,
        pattern=r"^[a-z][a-z0-9_-]*$(?!\n)",
        description="lower-case letters, digits, _ and -, a letter first",
    ),
]


class GrantIn(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A permission that a role shall grant, and how far."""

    permission: Annotated[str, Meta(min_length=1, max_length=50)]
    reach: Reach = "own"


Grants = Annotated[list[GrantIn], Meta(max_length=200)]


class RoleCreate(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A new role; the label is the name when none is given."""

    name: RoleName
    label: OneLine | None = None
    description: Description = ""
    permissions: Grants = []


class RolePatch(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """How a role is called and what is said of it."""

    label: OneLine | UnsetType = UNSET
    description: Description | UnsetType = UNSET


class RolePermissions(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """All that a role shall grant."""

    permissions: Grants


class UserRoles(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """All roles that an account shall have, by name."""

    roles: Annotated[list[RoleName], Meta(min_length=1, max_length=20)]


class RoleRow(msgspec.Struct, frozen=True):
    """A row of the table with the number of accounts that have the role."""

    id: int
    name: str
    label: str
    description: str
    built_in: bool
    grants: tuple[Grant, ...]
    revision: int
    created_at: str
    updated_at: str
    user_count: int


class Role(msgspec.Struct, frozen=True):
    """A role as it is shown."""

    id: int
    name: str
    label: str
    description: str
    built_in: bool
    permissions: tuple[Grant, ...]
    user_count: int
    created_at: str
    updated_at: str
    revision: int


class RouteOf(msgspec.Struct, frozen=True):
    """A route that names a permission, and the reach it needs."""

    method: str
    path: str
    reach: Reach


class PermissionShown(msgspec.Struct, frozen=True):
    """A permission that routes name."""

    name: str
    resource: str
    action: str
    routes: tuple[RouteOf, ...]


class RolesSet(msgspec.Struct, frozen=True):
    """The roles of an account; `role` is the first."""

    user_id: int
    role: str
    roles: tuple[str, ...]


class Question(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Whether an account, or one of its access tokens, may do something."""

    user_id: Id
    permission: Annotated[str, Meta(min_length=1, max_length=50)]
    token_id: Id | None = None


class Granting(msgspec.Struct, frozen=True):
    """A role that grants what is asked for, by this permission and with this reach."""

    role: str
    permission: str
    reach: Reach


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Who may do what, and why, or why not. `missing` is empty where it is allowed."""

    user_id: int
    username: str
    token_id: int | None
    permission: str
    """In its normal spelling."""
    allowed: bool
    reach: Reach | None
    """How far; None where it is not allowed."""
    roles: list[Granting]
    scopes: list[str] | None
    """Those of the token that cover it; None without a token."""
    missing: list[str]


class TokenScopes(msgspec.Struct, frozen=True):
    """What of an access token decides what it may do."""

    scopes: tuple[str, ...]
    expires_at: str | None
    revoked_at: str | None


def shown(row: RoleRow) -> Role:
    """The row as it is shown."""
    known = msgspec.structs.asdict(row)
    return Role(permissions=known.pop("grants"), **known)
