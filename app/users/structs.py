"""Accounts on the wire, in the table, and as other rooms see them."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.permissions import Grant
from app.values import LINE, Id, Paging
from app.values import BatchDelete as BatchDelete
from app.values import BatchDeleted as BatchDeleted

Status = Literal["pending", "active", "inactive", "suspended"]
_UNSEEN = r"\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufe6b\ufeff\uff20"
"""Characters that are not seen, or that read as another: two that fold to @ among them."""

Username = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=100,
        pattern=rf"^[^\x00-\x20\x7f-\xa0@/\\\s{_UNSEEN}]+$(?!\n)",
        description="1 to 100 characters without spaces, @ and slashes",
    ),
]
Email = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=255,
        pattern=rf"""^[^\x00-\x20\x7f-\xa0@<>()\[\]\\,;:"\s{_UNSEEN}]+@[^\x00-\x20\x7f-\xa0@<>()\[\]\\,;:"/\s{_UNSEEN}]+$(?!\n)""",
        description="an e-mail address",
    ),
]
Name = Annotated[str, Meta(min_length=1, max_length=255, pattern=LINE, description="one line of text")]
Phone = Annotated[
    str, Meta(max_length=30, pattern=r"^\+?[0-9][0-9 ()./-]{2,28}$(?!\n)", description="a telephone number")
]
Line = Annotated[str, Meta(max_length=100, pattern=LINE, description="one line of text")]
Avatar = Annotated[
    str,
    Meta(max_length=500, pattern=r"^(https?://|/)[\x21-\x7e]+$(?!\n)", description="an http(s) URL or a path"),
]
Bio = Annotated[str, Meta(max_length=2000)]
Password = Annotated[str, Meta(max_length=1000)]
"""As it comes; how long it must be and what it must not be is said by app/passwords.py."""


class _Named(msgspec.Struct, frozen=True, kw_only=True):
    """An input that takes the full name as `name` or as `full_name`."""

    name: Name | UnsetType = UNSET
    full_name: Name | UnsetType = UNSET


class Register(_Named, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """An account for oneself; the username is made of the e-mail's local part when none is given."""

    email: Email
    password: Password
    username: Username | None = None
    phone: Phone | None = None


class UserCreate(Register, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """An account for somebody else."""

    avatar: Avatar | None = None
    department: Line | None = None
    position: Line | None = None
    bio: Bio | None = None


class UserPatch(_Named, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What of an account changes; null empties a field that may be empty."""

    email: Email | UnsetType = UNSET
    username: Username | UnsetType = UNSET
    phone: Phone | UnsetType | None = UNSET
    avatar: Avatar | UnsetType | None = UNSET
    department: Line | UnsetType | None = UNSET
    position: Line | UnsetType | None = UNSET
    bio: Bio | UnsetType | None = UNSET


class StatusPatch(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The status an account shall have."""

    status: Status


class PasswordPatch(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The password an account shall have."""

    password: Password


class GroupSet(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The group an account shall belong to; null: to none."""

    group_id: Id | None


class UserFilter(Paging, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which accounts a list shows. `q` is found anywhere in name, username and e-mail, without regard to case."""

    q: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    status: Status | None = None
    role: Annotated[str, Meta(min_length=1, max_length=50)] | None = None
    group_id: Id | None = None
    sort: Literal["created_at", "-created_at", "username", "-username", "name", "-name"] = "created_at"


class UserRow(msgspec.Struct, frozen=True, gc=False):
    """A row of the table, without the password's hash."""

    id: int
    username: str
    email: str | None
    full_name: str
    status: Status
    role: str
    group_id: int | None
    phone: str | None
    avatar: str | None
    department: str | None
    position: str | None
    bio: str | None
    revision: int
    created_at: str
    updated_at: str
    last_login_at: str | None


class User(msgspec.Struct, frozen=True, kw_only=True):
    """An account as it is shown. `name` and `full_name` are the same; `role` is the first of `roles`."""

    id: int
    email: str | None
    username: str
    name: str
    full_name: str
    status: Status
    is_active: bool
    role: str
    roles: tuple[str, ...]
    group_id: int | None
    phone: str | None
    avatar: str | None
    department: str | None
    position: str | None
    bio: str | None
    created_at: str
    updated_at: str
    last_login_at: str | None
    revision: int


class GroupOf(msgspec.Struct, frozen=True):
    """The group of an account."""

    id: int
    name: str
    uniform_number: str
    max_allowed_streams: int


class CallLimits(msgspec.Struct, frozen=True):
    """What the caller may ask within a minute, and what is left; `reset_s` is when some of it is free again."""

    requests_per_minute: int
    remaining: int
    reset_s: int


class Me(User, frozen=True, kw_only=True):
    """The caller: the account, what it may do now, and through which credential."""

    group: GroupOf | None
    permissions: tuple[Grant, ...]
    scopes: tuple[str, ...] | None
    token_id: int | None
    session_id: int | None
    limits: CallLimits | None
    """None: any number of calls is taken."""


class Account(msgspec.Struct, frozen=True):
    """Who an account is and what decides what it may do."""

    id: int
    username: str
    role: str
    status: str
    group_id: int | None
    session_epoch: int


class Credentials(msgspec.Struct, frozen=True):
    """An account as signing in needs it; `password_hash` None: none is set, nobody signs in with one."""

    id: int
    username: str
    email: str | None
    status: Status
    password_hash: str | None
    session_epoch: int


class RoleGrants(msgspec.Struct, frozen=True):
    """A role of an account: its name and what it grants."""

    name: str
    grants: tuple[Grant, ...]


class RoleOf(msgspec.Struct, frozen=True):
    """One of an account's roles beside its first."""

    user_id: int
    name: str


def shown(row: UserRow, further: tuple[str, ...] = ()) -> User:
    """The row as it is shown, with the roles beside its first one."""
    return User(
        **msgspec.structs.asdict(row), name=row.full_name, is_active=row.status == "active", roles=(row.role, *further)
    )
