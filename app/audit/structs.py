"""The audit trail's row."""

from typing import Literal

import msgspec


class Entry(msgspec.Struct, gc=False):
    """One row of the trail. `kind` is `call` for a request, `change` for something that was altered."""

    at: str
    kind: Literal["call", "change"]
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
