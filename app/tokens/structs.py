"""Access tokens on the wire and in the table."""

from typing import Annotated, Literal

import msgspec

from app.values import Id, Instant, OneLine, Paging, now

PREFIX_LENGTH = 12
MOST_GRACE_S = 86400

Scope = Annotated[str, msgspec.Meta(min_length=1, max_length=50)]
Addresses = Annotated[list[Annotated[str, msgspec.Meta(min_length=1, max_length=50)]], msgspec.Meta(max_length=100)]
State = Literal["active", "expired", "revoked"]


class TokenCreate(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a new token shall be. No scopes: the caller's own. No expiry: 90 days. No addresses: as the token in use."""

    name: OneLine = "token"
    scopes: Annotated[list[Scope], msgspec.Meta(min_length=1, max_length=50)] | None = None
    expires_in_days: Annotated[int, msgspec.Meta(ge=1, le=365)] | None = None
    expires_in: Literal["30d", "90d", "1y", "never"] | None = None
    expires_at: Instant | None = None
    allowed_ips: Addresses | None = None


class Regenerate(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How long the old secret goes on working beside the new one."""

    grace_seconds: Annotated[int, msgspec.Meta(ge=0, le=MOST_GRACE_S)] = 0


class AllowedIps(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where a token may be used from; null or an empty list: anywhere."""

    allowed_ips: Addresses | None


class TokenFilter(Paging, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which tokens a list shows: the caller's own, with `tokens:admin` also somebody else's or everybody's."""

    state: State | None = None
    user_id: Id | None = None
    all: bool = False


class TokenRow(msgspec.Struct, frozen=True):
    """A row of the table, without the secret's hash."""

    id: int
    user_id: int
    name: str
    prefix: str
    scopes: tuple[str, ...]
    allowed_ips: tuple[str, ...] | None
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
    allowed_ips: tuple[str, ...] | None
    state: State
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None


class NewToken(msgspec.Struct, frozen=True):
    """A token just made, or its secret replaced: the only answer that shows `token`, the secret."""

    id: int
    token: str
    user_id: int
    name: str
    prefix: str
    scopes: tuple[str, ...]
    allowed_ips: tuple[str, ...] | None
    state: State
    created_at: str
    expires_at: str | None


class LogEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One call with a token; `reason` says why it was refused."""

    timestamp: str
    ip: str | None
    method: str | None
    endpoint: str | None
    status_code: int | None
    authorized: bool
    reason: str | None = None


class Logged(msgspec.Struct, frozen=True):
    """Such a call, and where it stands in the trail."""

    entry: LogEntry
    place: tuple[str, int]


class Logs(msgspec.Struct, frozen=True):
    """What was called with a token, the newest first; `total_logs` counts all pages."""

    token_id: int
    token_name: str
    total_logs: int
    logs: list[LogEntry]


class Holder(msgspec.Struct, frozen=True):
    """A token with its owner, as the guard needs them; `old` says that the secret given is the replaced one."""

    id: int
    name: str
    scopes: tuple[str, ...]
    allowed_ips: tuple[str, ...] | None
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None
    old: bool
    old_until: str | None
    user_id: int


def state(expires_at: str | None, revoked_at: str | None) -> State:
    """The state of a token at this instant; revoked also when it has expired as well."""
    if revoked_at is not None:
        return "revoked"
    return "expired" if expires_at is not None and expires_at <= now() else "active"


def shown(row: TokenRow) -> Token:
    """The row as it is listed."""
    return Token(**msgspec.structs.asdict(row), state=state(row.expires_at, row.revoked_at))
