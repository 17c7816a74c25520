"""Signing in, on the wire and in the tables."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from app.users.structs import Email, User

Text = Annotated[str, Meta(min_length=1, max_length=1000)]
Name = Annotated[str, Meta(min_length=1, max_length=255)]
SecretText = Annotated[str, Meta(min_length=1, max_length=4096)]


class Login(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Who signs in, named by one of the three."""

    password: Text
    identifier: Name | None = None
    email: Name | None = None
    username: Name | None = None


class TokenForm(msgspec.Struct, frozen=True, kw_only=True):
    """An OAuth 2 token request (RFC 6749, 4.3.2 and 6); without `grant_type` a username makes it a password grant."""

    grant_type: Annotated[str, Meta(max_length=100)] | None = None
    username: Name | None = None
    password: Text | None = None
    refresh_token: SecretText | None = None


class Refresh(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The refresh token to trade for a new pair."""

    refresh_token: SecretText


class Logout(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Which sessions end: the one in use, or all of the account's."""

    all: bool = False


class ChangePassword(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The password as it is and as it shall be."""

    old_password: Text
    new_password: Text


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """An access token and the refresh token that renews it (RFC 6749, 5.1). `expires_in` is in seconds."""

    access_token: str
    refresh_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - the name of a kind
    expires_in: int


class SignedIn(Pair, frozen=True, kw_only=True):
    """The answer to signing in."""

    user: User


class SessionRow(msgspec.Struct, frozen=True):
    """A row of `sessions`."""

    id: int
    user_id: int
    epoch: int
    nonce: str
    ip: str
    user_agent: str
    created_at: str
    last_used_at: str
    expires_at: str


class Session(msgspec.Struct, frozen=True):
    """A session as its owner sees it; `current` is the one in use."""

    id: int
    ip: str
    user_agent: str
    created_at: str
    last_used_at: str
    expires_at: str
    current: bool


class RefreshToken(msgspec.Struct, frozen=True):
    """A refresh token with its session."""

    id: int
    session_id: int
    expires_at: str
    used_at: str | None
    user_id: int
    epoch: int
    nonce: str


class Failure(msgspec.Struct, frozen=True):
    """When somebody gave a wrong password."""

    at: str


class Device(msgspec.Struct, frozen=True):
    """Where a call comes from: its address, where that counts, and what the client calls itself."""

    ip: str
    source: str
    user_agent: str


class Claims(msgspec.Struct, frozen=True):
    """What an access token of a session says (RFC 7519, 4.1); `sid` is the session's id and its nonce."""

    sub: Annotated[str, Meta(pattern=r"^[0-9]{1,18}$(?!\n)")]
    sid: Annotated[str, Meta(pattern=r"^[0-9]{1,18}\.[0-9a-f]{32}$(?!\n)")]
    jti: str
    iat: int
    exp: Annotated[int, Meta(ge=0, le=10**11)]
    type: Literal["access"]


class Forgot(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Whose password is forgotten."""

    email: Email


class ResetPassword(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The code that was mailed, and the password as it shall be, under either name."""

    token: SecretText
    password: Text | None = None
    new_password: Text | None = None


class ResetRequest(msgspec.Struct, frozen=True):
    """Somebody who asked for a new password; `tries` letters were not taken by the mail server."""

    id: int
    email_key: str
    ip: str
    tries: int
    asked_at: str


class Reset(msgspec.Struct, frozen=True):
    """A code that was mailed."""

    id: int
    user_id: int
    created_at: str
    expires_at: str


class Letter(msgspec.Struct, frozen=True):
    """What is to be mailed: `code` is nowhere else in clear."""

    name: str
    reset_id: int
    user_id: int
    to: str
    username: str
    code: str
    ip: str
    expires_at: str
