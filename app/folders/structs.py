"""Folders on the wire and in the table."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.values import FileName, Id, Paging

_encode = msgspec.json.Encoder().encode

MOST_DEPTH = 1_000
"""So many levels a tree may have."""


class FolderFilter(Paging, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which folders a list shows. `q` is found anywhere in the name; `parent_id` 0: those that lie in none."""

    q: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    parent_id: Annotated[int, Meta(ge=0, le=10**18 - 1)] | None = None
    owner_id: Id | None = None


class TreeQuery(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which tree, by default the caller's own; of it the part below a folder, so many levels of it."""

    owner_id: Id | None = None
    root_id: Id | None = None
    depth: Annotated[int, Meta(ge=1, le=MOST_DEPTH)] = MOST_DEPTH


class FolderCreate(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A new folder; `parent_id` null: it lies in none."""

    name: FileName
    parent_id: Id | None = None


class FolderPatch(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What of a folder changes."""

    name: FileName | UnsetType = UNSET
    parent_id: Id | UnsetType | None = UNSET


class FolderRename(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a folder shall be called."""

    name: FileName


class FolderMove(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where a folder shall lie; null: in none."""

    parent_id: Id | None


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """A folder as it is listed."""

    id: int
    name: str
    parent_id: int | None
    owner_id: int
    owner_name: str
    revision: int
    created_at: str
    updated_at: str


class Step(msgspec.Struct, frozen=True):
    """A folder on the way to another."""

    id: int
    name: str


class Contents(msgspec.Struct, frozen=True):
    """How much lies in a folder itself, not in those below it."""

    folder_count: int
    file_count: int
    document_count: int


class FolderDetail(Folder, frozen=True, kw_only=True):
    """A folder with the way to it, `ancestors` from the outermost on, and how much lies in it."""

    path: str
    ancestors: list[Step]
    folder_count: int
    file_count: int
    document_count: int


class Branch(msgspec.Struct, frozen=True):
    """A folder of a tree; `depth` is 1 for the outermost that is told."""

    id: int
    name: str
    parent_id: int | None
    depth: int
    revision: int


class FolderNode(Branch, frozen=True):
    """A folder of a tree with those that lie in it, by name."""

    children: "list[FolderNode]"


def nested(branches: Sequence[Branch]) -> bytes:
    """The outermost folders as JSON, an array of FolderNode, written without recursion: no encoder goes as deep.

    What is given in order stays in order.
    """
    children: dict[int | None, list[Branch]] = {}
    outermost: list[Branch] = []
    for branch in branches:
        (outermost if branch.depth == 1 else children.setdefault(branch.parent_id, [])).append(branch)
    written: list[bytes] = []
    pending: list[Branch | bytes] = [b"]", *_separated(outermost), b"["]
    while pending:
        part = pending.pop()
        if isinstance(part, bytes):
            written.append(part)
            continue
        written.append(_encode(part)[:-1] + b',"children":[')
        pending.append(b"]}")
        pending += _separated(children.get(part.id, ()))
    return b"".join(written)


def _separated(branches: Sequence[Branch]) -> list[Branch | bytes]:
    """The branches with commas between them, the first one last: as a stack is filled."""
    found: list[Branch | bytes] = []
    for branch in reversed(branches):
        found += [branch, b","]
    return found[:-1]
