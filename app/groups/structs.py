"""Groups on the wire and in the table."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.values import OneLine

UniformNumber = Annotated[str, Meta(pattern=r"^[0-9]{8}$(?!\n)", description="exactly 8 digits")]
Streams = Annotated[int, Meta(ge=0, le=10_000)]


class GroupCreate(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A new group."""

    name: OneLine
    uniform_number: UniformNumber
    max_allowed_streams: Streams = 8


class GroupPatch(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What of a group changes."""

    name: OneLine | UnsetType = UNSET
    uniform_number: UniformNumber | UnsetType = UNSET
    max_allowed_streams: Streams | UnsetType = UNSET


class Group(msgspec.Struct, frozen=True):
    """A group, with the number of its accounts."""

    id: int
    name: str
    uniform_number: str
    max_allowed_streams: int
    user_count: int
    revision: int
    created_at: str
    updated_at: str
