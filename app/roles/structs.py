"""Roles and permissions on the wire and in the table."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.permissions import Grant, Reach

RoleName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=50,
        pattern=r"^[a-z][a-z0-9_-]*$(?!\n)",
        description="lower-case letters, digits, _ and -, a letter first",
    ),
]
Label = Annotated[
    str, Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)", description="one line of text")
]
Description = Annotated[str, Meta(max_length=1000)]


class GrantIn(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A permission that a role shall grant, and how far."""

    permission: Annotated[str, Meta(min_length=1, max_length=50)]
    reach: Reach = "own"


Grants = Annotated[list[GrantIn], Meta(max_length=200)]


class RoleCreate(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A new role; the label is the name when none is given."""

    name: RoleName
    label: Label | None = None
    description: Description = ""
    permissions: Grants = []


class RolePatch(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """How a role is called and what is said of it."""

    label: Label | UnsetType = UNSET
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


def shown(row: RoleRow) -> Role:
    """The row as it is shown."""
    known = msgspec.structs.asdict(row)
    return Role(permissions=known.pop("grants"), **known)
