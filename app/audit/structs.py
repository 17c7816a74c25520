"""The audit trail's row, in the table and on the wire."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from app.values import Id, Instant, Paging

Kind = Literal["call", "change"]


class Entry(msgspec.Struct, gc=False):
    """One row to be written. `kind` is `call` for a request, `change` for something that was altered."""

    at: str
    kind: Kind
    request_id: str | None = None
    actor_id: int | None = None
    actor_name: str | None = None
    token_id: int | None = None
    session_id: int | None = None
    ip: str | None = None
    method: str | None = None
    path: str | None = None
    route: str | None = None
    status: int | None = None
    authorized: bool = True
    reason: str | None = None
    action: str | None = None
    target: str | None = None
    group_id: int | None = None


class Record(msgspec.Struct, frozen=True):
    """One row as it is read. `path` is without the query string; a change without a call has no method and path."""

    id: int
    at: str
    kind: Kind
    request_id: str | None
    actor_id: int | None
    actor_name: str | None
    token_id: int | None
    session_id: int | None
    ip: str | None
    method: str | None
    path: str | None
    route: str | None
    status: int | None
    authorized: bool
    reason: str | None
    action: str | None
    target: str | None


class Place(msgspec.Struct, frozen=True):
    """Where a row stands."""

    id: int
    at: str


class AuditFilter(Paging, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which rows are shown: those of `since` and later, before `until`. `after` gives those written behind a row."""

    actor_id: Id | None = None
    token_id: Id | None = None
    action: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    target: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    since: Instant | None = None
    until: Instant | None = None
    authorized: bool | None = None
    after: Annotated[int, Meta(ge=0, le=10**18 - 1)] | None = None
    """The id of a row: what was written later follows, in the order of writing."""
    format: Literal["json", "csv"] = "json"
    """`csv` gives all rows that match, not a page of them."""


Position = tuple[str, int]
"""Where a page ended: the instant and the id of its last row."""
