"""Files on the wire and in the tables."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import astuple, replace

from app.teams.structs import Recipient
from app.values import BatchDelete as BatchDelete
from app.values import BatchDeleted as BatchDeleted
from app.values import FileName, Id, Instant, Paging

FolderChoice = Annotated[int, Meta(ge=0, le=10**18 - 1)]
"""A folder's id; 0: what lies in none."""
Kind = Literal["image", "video", "audio", "document", "archive", "other"]
Access = Literal["full", "edit", "read"]
"""What a caller may do with something: everything, as its owner may; change it; have it."""


class FileFilter(Paging, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which files a list shows. `q` is found anywhere in the name, `type` in the media type, without regard to case.

    `shared` true: what others share with the caller; false: the caller's own alone.
    """

    q: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    type: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    folder_id: FolderChoice | None = None
    owner_id: Id | None = None
    favorite: bool | None = None
    shared: bool | None = None


class FileUpload(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What is said of a file beside its bytes, in the query string or in a form."""

    name: Annotated[str, Meta(min_length=1, max_length=1000)] | None = None
    folder_id: FolderChoice | None = None


class FileContent(FileUpload, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What is said of a file whose bytes are the body."""

    name: Annotated[str, Meta(min_length=1, max_length=1000)]


class FilePatch(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What of a file changes; `folder_id` null: it lies in none."""

    name: FileName | UnsetType = UNSET
    folder_id: Id | UnsetType | None = UNSET
    is_favorite: bool | UnsetType = UNSET


class FileRename(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a file shall be called."""

    name: FileName


class FileMove(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where a file shall lie; null: in no folder."""

    folder_id: Id | None


class FileCopy(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What the copy is called, and where it lies; both as the file's own where they are left out."""

    name: FileName | None = None
    folder_id: Id | UnsetType | None = UNSET


class FileFavorite(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Whether a file is a favourite; left out: the other way round."""

    favorite: bool | None = None


class FileShareCreate(Recipient, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Who else shall have a file: an account, a team, or whoever has a link, which only reads."""

    link: bool = False
    permission: Literal["read", "edit"] = "read"
    expires_at: Instant | None = None
    max_access_count: Annotated[int, Meta(ge=1, le=10**9)] | None = None


class FileRevoke(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The share that shall end."""

    share_id: Id


class _Kept(msgspec.Struct, frozen=True, gc=False):
    """What a row and what is shown of it have in common."""

    id: int
    name: str
    folder_id: int | None
    owner_id: int
    owner_name: str
    media_type: str
    kind: Kind
    size_bytes: int
    sha256: str
    access: Access
    revision: int
    created_at: str
    updated_at: str


class FileRow(_Kept, frozen=True, gc=False):
    """A file as somebody has it who may see it."""

    is_favorite: int
    """0 or 1."""

    def through_share(self) -> "FileRow":
        """The same as somebody has it who may read it and no more."""
        return replace(self, access="read")


class File(_Kept, frozen=True, gc=False):
    """A file as it is shown. Who has it through a share is told neither where it lies nor whether it is a favourite."""

    is_favorite: bool


def shown(row: FileRow) -> File:
    """The row as it is shown."""
    file = File(*(*astuple(row)[:-1], row.is_favorite == 1))
    return file if row.access == "full" else replace(file, folder_id=None, is_favorite=False)


class Place(msgspec.Struct, frozen=True):
    """Where a row stands in the order of a list."""

    place: str
    id: int


class FileShare(msgspec.Struct, frozen=True, kw_only=True):
    """A share as it is listed."""

    id: int
    user_id: int | None
    username: str | None
    team_id: int | None
    team_name: str | None
    is_link: bool
    permission: Literal["read", "edit"]
    expires_at: str | None
    max_access_count: int | None
    access_count: int
    created_by: int | None
    created_at: str


class FileShared(FileShare, frozen=True, kw_only=True):
    """A new share; its link, and where that leads, are told this once, and are None where it has none."""

    link: str | None = None
    url: str | None = None


class DownloadUrl(msgspec.Struct, frozen=True):
    """Where a file can be had without a credential; `expires_in` is in seconds."""

    url: str
    path: str
    expires_in: int


class FileAccess(msgspec.Struct, frozen=True):
    """A time that somebody was given a file. `user_id` None: through a link, or the account is gone."""

    id: int
    share_id: int | None
    user_id: int | None
    username: str | None
    action: Literal["download", "copy"]
    ip: str
    user_agent: str
    at: str


class UseByType(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes by what they are: of files; `texts` of documents, with their revisions; `fcs` of flow-cytometry files."""

    images: int
    videos: int
    audio: int
    documents: int
    archives: int
    others: int
    texts: int
    fcs: int


class Storage(msgspec.Struct, frozen=True):
    """What an account keeps and may keep, in bytes; `percentage` is of `total`."""

    used: int
    total: int
    percentage: float
    by_type: UseByType


class KindUse(msgspec.Struct, frozen=True):
    """The bytes of one kind."""

    kind: str
    used_bytes: int


class Linked(msgspec.Struct, frozen=True):
    """What a link leads to."""

    share_id: int
    file_id: int
    name: str
    media_type: str
    size_bytes: int
    sha256: str
    expires_at: str | None
    max_access_count: int | None
    access_count: int


class Removed(msgspec.Struct, frozen=True):
    """A file that is gone."""

    id: int


class BlobName(msgspec.Struct, frozen=True):
    """A blob that a file names, the oldest that does."""

    sha256: str
    id: int


class Reserved(msgspec.Struct, frozen=True):
    """An upload that may begin: how many bytes it may have, and whose limit that is."""

    id: int
    most_bytes: int
    by_quota: bool
