"""Documents on the wire and in the tables."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.files.structs import Access, FolderChoice
from app.files.structs import Place as Place
from app.teams.structs import Recipient
from app.values import LINE, Id, Instant, Paging
from app.values import BatchDelete as BatchDelete
from app.values import BatchDeleted as BatchDeleted

Title = Annotated[str, Meta(min_length=1, max_length=255, pattern=LINE, description="one line of text")]
Content = Annotated[str, Meta(max_length=500_000)]
Tag = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=50,
        pattern=r"^[^,\s\x00-\x1f\x7f]([^,\x00-\x1f\x7f\u2028\u2029]*[^,\s\x00-\x1f\x7f])?$(?!\n)",
        description="a word or some, without commas",
    ),
]
Tags = Annotated[list[Tag], Meta(max_length=50)]


class DocumentFilter(Paging, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which documents a list shows. `q` is found anywhere in title and content, without regard to case.

    `tags` are words with commas between, any of which will do. `shared` true: what others share with the caller; false:
    the caller's own alone.
    """

    q: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    tags: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None
    folder_id: FolderChoice | None = None
    owner_id: Id | None = None
    shared: bool | None = None
    sort: Literal["-updated_at", "title"] = "-updated_at"


class DocumentCreate(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A new document; `folder_id` null: it lies in no folder."""

    title: Title
    content: Content = ""
    folder_id: Id | None = None
    tags: Tags = []


class DocumentPatch(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What of a document changes."""

    title: Title | UnsetType = UNSET
    content: Content | UnsetType = UNSET
    folder_id: Id | UnsetType | None = UNSET
    tags: Tags | UnsetType = UNSET


class DocumentRename(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a document shall be called."""

    title: Title


class DocumentMove(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where a document shall lie; null: in no folder."""

    folder_id: Id | None


class DocumentTags(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The tags that a document shall have, in the place of those it has."""

    tags: Tags


class DocumentShareCreate(Recipient, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Who else shall have a document; who has it already has it so from now on. `comment` lets them read, for now."""

    permission: Literal["read", "comment", "edit"] = "read"
    expires_at: Instant | None = None


class DocumentUnshare(Recipient, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Who shall have a document no more."""


class Card(msgspec.Struct, frozen=True):
    """A document without its tags and text. Who has it through a share is not told where it lies."""

    id: int
    title: str
    folder_id: int | None
    owner_id: int
    owner_name: str
    access: Access
    size_bytes: int
    revision: int
    created_at: str
    updated_at: str


class Document(Card, frozen=True):
    """A document as it is listed; `size_bytes` is that of its text."""

    tags: list[str]


class DocumentShare(msgspec.Struct, frozen=True, kw_only=True):
    """A share as it is listed."""

    id: int
    user_id: int | None
    username: str | None
    team_id: int | None
    team_name: str | None
    permission: Literal["read", "comment", "edit"]
    expires_at: str | None
    created_by: int | None
    created_at: str


class DocumentDetail(Document, frozen=True):
    """A document with its text; `shares` is empty for who has it through one."""

    content: str
    shares: list[DocumentShare]


class TagOf(msgspec.Struct, frozen=True):
    """A tag of a document."""

    document_id: int
    name: str


class Match(msgspec.Struct, frozen=True):
    """A document that a search has found, or a deletion removed."""

    id: int


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """What a document is or was. `number` is the document's revision in which it came to be so."""

    number: int
    title: str
    size_bytes: int
    edited_by: int | None
    editor_name: str | None
    edited_at: str


class RevisionDetail(Revision, frozen=True, kw_only=True):
    """A revision with its text."""

    content: str
