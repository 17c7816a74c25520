"""Access tokens on the wire and in the table."""

from typing import Annotated, Literal

import msgspec

from app.values import now

PREFIX_LENGTH = 12

TokenName = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)", description="one line of text"),
]
Scope = Annotated[str, msgspec.Meta(min_length=1, max_length=50)]
State = Literal["active", "expired", "revoked"]


class TokenCreate(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a new token shall be. No scopes: the caller's own. No expiry: 90 days."""

    name: TokenName = "token"
    scopes: Annotated[list[Scope], msgspec.Meta(min_length=1, max_length=50)] | None = None
    expires_in_days: Annotated[int, msgspec.Meta(ge=1, le=365)] | None = None
    expires_in: Literal["30d", "90d", "1y", "never"] | None = None


class TokenRow(msgspec.Struct, frozen=True):
    """A row of the table, without the secret's hash."""

    id: int
    user_id: int
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None


class Token(msgspec.Struct, frozen=True, omit_defaults=False):
    """A token as it is listed."""

    id: int
    user_id: int
    name: str
    prefix: str
    scopes: tuple[str, ...]
    state: State
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None


class NewToken(msgspec.Struct, frozen=True):
    """A token just made: the only answer that shows `token`, its secret."""

    id: int
    token: str
    user_id: int
    name: str
    prefix: str
    scopes: tuple[str, ...]
    state: State
    created_at: str
    expires_at: str | None


class Holder(msgspec.Struct, frozen=True):
    """A token with its owner, as the guard needs them."""

    id: int
    name: str
    scopes: tuple[str, ...]
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None
    user_id: int
    username: str
    role: str
    status: str


def state(expires_at: str | None, revoked_at: str | None) -> State:
    """The state of a token at this instant; revoked also when it has expired as well."""
    if revoked_at is not None:
        return "revoked"
    return "expired" if expires_at is not None and expires_at <= now() else "active"


def shown(row: TokenRow) -> Token:
    """The row as it is listed."""
    return Token(**msgspec.structs.asdict(row), state=state(row.expires_at, row.revoked_at))
