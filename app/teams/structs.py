"""Teams on the wire and in the tables."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.values import Description, Id, OneLine


class TeamCreate(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A new team, of the caller alone at first."""

    name: OneLine
    description: Description = ""


class TeamPatch(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What of a team changes; `owner_id` hands it over to one of its members."""

    name: OneLine | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    owner_id: Id | UnsetType = UNSET


Username = Annotated[str, Meta(min_length=1, max_length=100)]


class Recipient(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Whom something is shared with: an account by its id or its username, or a team."""

    user_id: Id | None = None
    username: Username | None = None
    team_id: Id | None = None


class MemberAdd(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Who joins a team, by one of the two."""

    user_id: Id | None = None
    username: Username | None = None


class TeamRow(msgspec.Struct, frozen=True):
    """A team with its owner as it is now."""

    id: int
    name: str
    description: str
    owner_id: int
    owner_name: str
    owner_group_id: int | None
    member_count: int
    revision: int
    created_at: str
    updated_at: str


class Team(msgspec.Struct, frozen=True, kw_only=True):
    """A team as it is listed."""

    id: int
    name: str
    description: str
    owner_id: int
    owner_name: str
    member_count: int
    created_at: str
    updated_at: str
    revision: int


class Member(msgspec.Struct, frozen=True):
    """Somebody in a team; `id` is the account's."""

    id: int
    username: str
    name: str
    role: Literal["owner", "member"]
    joined_at: str


class TeamWithMembers(Team, frozen=True, kw_only=True):
    """A team with those who are in it, in the order in which they came."""

    members: list[Member]


class MemberRow(msgspec.Struct, frozen=True):
    """A row of the table with the account's names."""

    user_id: int
    username: str
    full_name: str
    joined_at: str


def shown(row: TeamRow) -> Team:
    """The row as it is listed."""
    return Team(**{name: getattr(row, name) for name in Team.__struct_fields__})


def with_members(row: TeamRow, members: list[MemberRow]) -> TeamWithMembers:
    """The row with its members."""
    return TeamWithMembers(
        **msgspec.structs.asdict(shown(row)),
        members=[
            Member(
                member.user_id,
                member.username,
                member.full_name,
                "owner" if member.user_id == row.owner_id else "member",
                member.joined_at,
            )
            for member in members
        ],
    )
