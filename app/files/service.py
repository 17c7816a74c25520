"""The rules of files: who sees and changes them, what they count, how uploads come to be files."""

from collections.abc import Sequence

from msgspec import UNSET

from app.actor import Actor
from app.audit import service as audit
from app.blobs import Blob
from app.db import Query, Tx, load
from app.db.rows import to_json
from app.errors import Forbidden, NoSpace, NotFound, PreconditionFailed, PurserError, TooLarge, TooMany
from app.files.naming import sanitised as sanitised
from app.files.sniffing import kind, media_type
from app.files.structs import (
    BlobName,
    File,
    FileFilter,
    FilePatch,
    FileRow,
    FileUpload,
    KindUse,
    Place,
    Removed,
    Reserved,
    Storage,
    UseByType,
    shown,
)
from app.values import folded, like, sort_key

q = load("files")

MOST_UPLOADS = 16
"""So many uploads of one account may be on their way."""
RETRY_S = 10
_LATEST = "9999"
_KINDS = {"images": "image", "videos": "video", "audio": "audio", "documents": "document", "archives": "archive"}
_KINDS |= {"others": "other", "texts": "text", "fcs": "fcs"}


def page(tx: Tx, actor: Actor, wanted: FileFilter, behind: Place | None, limit: int) -> tuple[list[File], Place | None]:
    """Files that match behind a place, in a folder by name, else the newest first; the last place if more follow."""
    begin = behind or (Place("", 0) if wanted.folder_id else Place(_LATEST, 0))
    places: list[Place] = []
    for statement, asked in _drives(tx, actor, wanted):
        more = {"behind": begin.place, "behind_id": begin.id, "limit": limit + 1}
        places += tx.many(statement[0], Place, **statement[0].its(asked | more))
    places.sort(key=lambda place: (place.place, place.id), reverse=not wanted.folder_id)
    here = places[:limit]
    found = {file.id: file for file in cards(tx, actor, "files:read", [place.id for place in here])}
    return [shown(found[place.id]) for place in here], here[-1] if len(places) > limit else None


def count(tx: Tx, actor: Actor, wanted: FileFilter) -> int:
    """How many files match, on all pages together."""
    drives = _drives(tx, actor, wanted)
    return sum(tx.value(statement[1], int, **statement[1].its(asked)) or 0 for statement, asked in drives)


def _drives(tx: Tx, actor: Actor, wanted: FileFilter) -> list[tuple[tuple[Query, Query], dict[str, object]]]:
    """The statements, page and count, that tell between them what matches, none of it twice; with their parameters."""
    reach, owner_id = actor.reach("files:read"), wanted.owner_id
    asked = actor.within("files:read") | {
        "now": tx.now,
        "owner_id": owner_id,
        "folder_id": wanted.folder_id,
        "at_root": wanted.folder_id == 0,
        "favorite": wanted.favorite,
        "pattern": None if wanted.q is None else like(folded(wanted.q)),
        "type": None if wanted.type is None else like(wanted.type),
    }
    shared = ((q.shared, q.count_shared), asked)
    mine = asked | {"owner_id": actor.user_id}
    not_mine = owner_id not in (None, actor.user_id)
    if wanted.shared:
        alone = (shared[0], asked | {"own_group_id": None})
        return [] if wanted.folder_id is not None or wanted.favorite is not None else [alone]
    if wanted.shared is False and not_mine:
        return []
    if wanted.folder_id:
        return [((q.in_folder, q.count_in_folder), asked if wanted.shared is None else mine)]
    own = (q.of_owner, q.count_of_owner)
    if wanted.shared is False or owner_id == actor.user_id:
        return [(own, mine)]
    if reach == "all":
        return [(own if owner_id else (q.reachable, q.count_reachable), asked)]
    within = [((q.reachable, q.count_reachable), asked)] if reach == "group" else []
    if reach == "own" and owner_id is None:
        within = [(own, mine)]
    elsewhere = wanted.folder_id is None and wanted.favorite is None
    return [*within, shared] if elsewhere else within


def cards(tx: Tx, actor: Actor, permission: str, ids: Sequence[int]) -> list[FileRow]:
    """Of these files those that the actor reaches or has through a share."""
    if not ids:
        return []
    return tx.many(q.cards, FileRow, ids=to_json(ids), now=tx.now, **actor.within(permission))


def row(tx: Tx, actor: Actor, permission: str, file_id: int) -> FileRow:
    """A file that the actor reaches or has through a share; NotFound for any other."""
    found = cards(tx, actor, permission, [file_id])
    if not found:
        raise NotFound("No such file.")
    return found[0]


def owned(tx: Tx, actor: Actor, permission: str, file_id: int, revision: int | None = None) -> FileRow:
    """A file with which the actor may do all, as the caller has seen it; Forbidden for who has it through a share."""
    found = row(tx, actor, permission, file_id)
    if found.access != "full":
        raise Forbidden("Only the owner of this file may do that.", access=found.access)
    PreconditionFailed.unless_same("file", found.revision, revision)
    return found


def get(tx: Tx, actor: Actor, file_id: int) -> File:
    """A file that the actor may see; NotFound for any other."""
    return shown(row(tx, actor, "files:read", file_id))


def update(tx: Tx, actor: Actor, file_id: int, patch: FilePatch, revision: int | None) -> File:
    """Changes what a file is called, where it lies, whether it is a favourite; of an editor what it is called."""
    found = row(tx, actor, "files:write", file_id)
    if found.access == "read" or (found.access == "edit" and (patch.folder_id, patch.is_favorite) != (UNSET, UNSET)):
        raise Forbidden("Only the owner of this file may do that.", access=found.access)
    PreconditionFailed.unless_same("file", found.revision, revision)
    if patch.folder_id is not UNSET and patch.folder_id is not None:
        own_folder(tx, found.owner_id, patch.folder_id)
    name = found.name if patch.name is UNSET else patch.name
    tx.exec(
        q.update,
        id=file_id,
        name=name,
        name_key=sort_key(name),
        search_text=folded(name),
        folder_id=found.folder_id if patch.folder_id is UNSET else patch.folder_id,
        is_favorite=found.is_favorite if patch.is_favorite is UNSET else patch.is_favorite,
        now=tx.now,
    )
    audit.record(tx, actor, "files.update", f"files/{file_id}")
    return shown(row(tx, actor, "files:write", file_id))


def favorite(tx: Tx, actor: Actor, file_id: int, wanted: bool | None, revision: int | None) -> File:
    """Makes a file a favourite or not; None: the other way round."""
    if wanted is None:
        wanted = owned(tx, actor, "files:write", file_id).is_favorite == 0
    return update(tx, actor, file_id, FilePatch(is_favorite=wanted), revision)


def remove(tx: Tx, actor: Actor, file_id: int, revision: int | None) -> None:
    """Deletes a file; its bytes go when no other file has them."""
    owned(tx, actor, "files:delete", file_id, revision)
    tx.exec(q.remove, id=file_id)
    audit.record(tx, actor, "files.delete", f"files/{file_id}")


def remove_many(tx: Tx, actor: Actor, file_ids: Sequence[int]) -> int:
    """Deletes files, all or none; how many. NotFound names those that are not the actor's to delete."""
    wanted = sorted(set(file_ids))
    gone = tx.many(q.remove_many, Removed, ids=to_json(wanted), **actor.within("files:delete"))
    if missing := sorted(set(wanted) - {file.id for file in gone}):
        raise NotFound(f"Of these files you have not {', '.join(map(str, missing))}; none was deleted.")
    audit.record(tx, actor, "files.delete", f"files/{','.join(map(str, wanted))}")
    return len(wanted)


def own_folder(tx: Tx, owner_id: int, folder_id: int) -> None:
    """NotFound unless the folder is that account's: what somebody keeps lies in their own tree."""
    if tx.value(q.folder_of, int, id=folder_id, owner_id=owner_id) is None:
        raise NotFound("No such folder.")


def storage(tx: Tx, actor: Actor, quota_bytes: int) -> Storage:
    """What the actor keeps and may keep."""
    found = {use.kind: use.used_bytes for use in tx.many(q.use_by_kind, KindUse, owner_id=actor.user_id)}
    used = sum(found.values())
    by_type = UseByType(**{name: found.get(kind, 0) for name, kind in _KINDS.items()})
    return Storage(used, quota_bytes, round(100 * used / quota_bytes, 2) if quota_bytes else 100.0, by_type)


def refuse_beyond_quota(tx: Tx, owner_id: int, more_bytes: int, quota_bytes: int) -> None:
    """NoSpace when an account would keep more than its quota, uploads on their way counted in."""
    left = quota_bytes - _used(tx, owner_id)
    if more_bytes > left:
        raise beyond_quota(more_bytes, left, quota_bytes)


def _used(tx: Tx, owner_id: int) -> int:
    return tx.value(q.used, int, owner_id=owner_id, now=tx.now) or 0


def beyond_quota(needed_bytes: int, left_bytes: int, quota_bytes: int) -> NoSpace:
    """The refusal of what does not fit into an account's quota."""
    left = max(0, left_bytes)
    return NoSpace(
        f"Of the quota of {quota_bytes} bytes {left} are left.",
        needed_bytes=needed_bytes,
        free_bytes=left,
        quota_bytes=quota_bytes,
    )


def begin(tx: Tx, actor: Actor, folder_id: int | None, at_least: int, most_bytes: int, quota_bytes: int) -> Reserved:
    """Lets an upload begin, its place reserved as far as its length is known; how much it may be."""
    if folder_id:
        own_folder(tx, actor.user_id, folder_id)
    left = quota_bytes - _used(tx, actor.user_id)
    if at_least > left:
        raise beyond_quota(at_least, left, quota_bytes)
    now, most = tx.now, MOST_UPLOADS
    found = tx.value(q.begin_upload, int, owner_id=actor.user_id, reserved_bytes=at_least, now=now, most=most)
    if found is None:
        raise TooMany(f"You have {most} uploads on their way.", retry_after_s=RETRY_S)
    return Reserved(found, max(0, min(most_bytes, left)), left < most_bytes)


def refusal(upload: Reserved, quota_bytes: int) -> PurserError:
    """What is raised when an upload is longer than its limit."""
    most = upload.most_bytes
    if upload.by_quota:
        return beyond_quota(most + 1, most, quota_bytes)
    return TooLarge(f"A file may have {most} bytes.", limit_bytes=most)


def finish(tx: Tx, actor: Actor, upload_id: int, said: FileUpload, blob: Blob, quota_bytes: int) -> File:
    """Makes a file of what was uploaded."""
    tx.exec(q.end_upload, id=upload_id)
    refuse_beyond_quota(tx, actor.user_id, blob.size_bytes, quota_bytes)
    name = sanitised(said.name or "")
    found = media_type(blob.head, name)
    file_id = add(tx, actor, name, said.folder_id or None, blob.sha256, blob.size_bytes, found)
    audit.record(tx, actor, "files.upload", f"files/{file_id}")
    return shown(row(tx, actor, "files:write", file_id))


def add(tx: Tx, actor: Actor, name: str, folder_id: int | None, sha256: str, size_bytes: int, media_type: str) -> int:
    """The id of a new file of the actor's, which names a blob that is held, or named by another file."""
    if folder_id is not None:
        own_folder(tx, actor.user_id, folder_id)
    found = tx.value(
        q.add,
        int,
        owner_id=actor.user_id,
        folder_id=folder_id,
        name=name,
        name_key=sort_key(name),
        search_text=folded(name),
        sha256=sha256,
        size_bytes=size_bytes,
        media_type=media_type,
        kind=kind(media_type),
        now=tx.now,
    )
    if found is None:
        raise RuntimeError("a file was not made")
    return found


def abandon(tx: Tx, upload_id: int) -> None:
    """Gives up an upload, and what it had reserved; one that is a file already is left alone."""
    tx.exec(q.end_upload, id=upload_id)


def abandon_all(tx: Tx) -> None:
    """Gives up what was on its way when the service ended."""
    tx.exec(q.end_uploads)


def named(tx: Tx, blobs: Sequence[str]) -> list[str]:
    """Which of these blobs files name."""
    return [blob.sha256 for blob in tx.many(q.named, BlobName, blobs=to_json(blobs))]
