"""The rules of uploads in chunks: each chunk is a blob; when all are there they become a file. A day is their life."""

from collections.abc import Sequence

from app.actor import Actor
from app.audit import service as audit
from app.blobs import Blob
from app.db import Tx, load
from app.errors import Conflict, Invalid, NotFound, TooLarge, TooMany
from app.fcs import service
from app.fcs.layout import Description
from app.fcs.structs import Chunk, FcsFile, Upload, UploadCreate, UploadRow
from app.files import service as files
from app.values import instant, seconds

q = load("fcs")

LIFE_S = 24 * 3600.0
MOST_OPEN = 16
"""So many uploads of one account may be open."""
MOST_MISSING = 100
RETRY_S = 60


def begin(tx: Tx, actor: Actor, new: UploadCreate, most_bytes: int, quota_bytes: int) -> Upload:
    """An upload, for whose whole length there is room in the actor's quota from now on."""
    if new.file_size > most_bytes:
        raise TooLarge(f"An FCS file may have {most_bytes} bytes.", limit_bytes=most_bytes)
    tx.exec(q.forget_uploads, now=tx.now)
    files.refuse_beyond_quota(tx, actor.user_id, new.file_size, quota_bytes)
    found = tx.value(
        q.begin_upload,
        int,
        owner_id=actor.user_id,
        filename=new.filename,
        size_bytes=new.file_size,
        chunk_bytes=new.chunk_size,
        sha256=new.sha256,
        now=tx.now,
        expires_at=instant(seconds(tx.now) + LIFE_S),
        most=MOST_OPEN,
    )
    if found is None:
        raise TooMany(f"You have {MOST_OPEN} uploads open: complete or abort one.", retry_after_s=RETRY_S)
    audit.record(tx, actor, "fcs.upload_begin", f"fcs/uploads/{found}")
    return get(tx, actor, found)


def row(tx: Tx, actor: Actor, upload_id: int) -> UploadRow:
    """An upload of the actor's; NotFound for any other, and for one that has expired."""
    found = tx.one(q.upload, UploadRow, id=upload_id, owner_id=actor.user_id, now=tx.now)
    if found is None:
        raise NotFound("No such upload, or it has expired.")
    return found


def get(tx: Tx, actor: Actor, upload_id: int) -> Upload:
    """How far an upload has come."""
    found = row(tx, actor, upload_id)
    return _shown(found, _missing(found, _chunks(tx, upload_id)))


def page(tx: Tx, actor: Actor, after: int, limit: int) -> list[Upload]:
    """The actor's uploads, the newest first."""
    asked = {"owner_id": actor.user_id, "now": tx.now, "before_id": after or 2**62, "limit": limit}
    return [_shown(found, None) for found in tx.many(q.uploads, UploadRow, **asked)]


def count(tx: Tx, actor: Actor) -> int:
    """How many there are on all pages."""
    return tx.value(q.count_uploads, int, owner_id=actor.user_id, now=tx.now) or 0


def _chunks(tx: Tx, upload_id: int) -> list[Chunk]:
    return tx.many(q.chunks, Chunk, upload_id=upload_id)


def _missing(upload: UploadRow, chunks: Sequence[Chunk]) -> list[int]:
    """The first of the chunks that have not come."""
    if upload.status == "completed":
        return []
    there = {chunk.number for chunk in chunks}
    missing = (number for number in range(upload.total_chunks) if number not in there)
    return [number for number, _ in zip(missing, range(MOST_MISSING), strict=False)]


def _shown(found: UploadRow, missing: list[int] | None) -> Upload:
    over = found.status == "completed"
    there = found.size_bytes if over else found.uploaded_bytes
    percentage = round(100 * there / found.size_bytes, 2)
    return Upload(
        id=found.id,
        filename=found.filename,
        file_size=found.size_bytes,
        chunk_size=found.chunk_bytes,
        total_chunks=found.total_chunks,
        uploaded_chunks=found.total_chunks if over else found.chunks,
        uploaded_bytes=there,
        progress_percentage=percentage if there == found.size_bytes else min(99.99, percentage),
        status=found.status,
        file_id=found.file_id,
        created_at=found.created_at,
        expires_at=found.expires_at,
        missing=missing,
    )


def expected(tx: Tx, actor: Actor, upload_id: int, number: int) -> int:
    """How many bytes a chunk has; Invalid where there is no such chunk, Conflict when the upload is over."""
    found = row(tx, actor, upload_id)
    if number >= found.total_chunks:
        raise Invalid.field("chunk", f"expected 0 to {found.total_chunks - 1}, not {number}")
    if found.status == "completed":
        raise Conflict("This upload is completed.", state=found.status)
    return found.length(number)


def put(tx: Tx, actor: Actor, upload_id: int, number: int, blob: Blob) -> tuple[Upload, str | None]:
    """Keeps a chunk, which is held; how far the upload has come, and the other blob that was this chunk, if any."""
    length = expected(tx, actor, upload_id, number)
    if blob.size_bytes != length:
        raise Invalid(f"Chunk {number} has {length} bytes; {blob.size_bytes} came.")
    if number == 0 and not blob.head.startswith(b"FCS"):
        raise Invalid.field("/file", "byte 0: expected FCS; this is no FCS file")
    before = tx.value(q.chunk, str, upload_id=upload_id, number=number)
    tx.exec(q.put_chunk, upload_id=upload_id, number=number, sha256=blob.sha256, size_bytes=blob.size_bytes)
    return get(tx, actor, upload_id), before if before != blob.sha256 else None


def gathered(tx: Tx, actor: Actor, upload_id: int) -> tuple[UploadRow, list[Chunk]]:
    """An upload with its chunks, all of which are there unless it is completed; Conflict names those that are not."""
    found = row(tx, actor, upload_id)
    if found.status == "completed":
        return found, []
    chunks = _chunks(tx, upload_id)
    if missing := _missing(found, chunks):
        raise Conflict(
            f"Chunks are missing: {found.total_chunks - found.chunks} of {found.total_chunks}.",
            state=found.status,
            missing=missing,
        )
    return found, chunks


def unchanged(tx: Tx, actor: Actor, upload_id: int, chunks: Sequence[Chunk]) -> UploadRow:
    """An upload whose chunks are these; Conflict when others have come, or it has been completed."""
    found = row(tx, actor, upload_id)
    if found.status == "completed" or _chunks(tx, upload_id) != list(chunks):
        raise Conflict("The upload has changed meanwhile.", state=found.status)
    return found


def complete(
    tx: Tx, actor: Actor, upload_id: int, chunks: Sequence[Chunk], blob: Blob, described: Description
) -> FcsFile:
    """The file that an upload becomes, in the place that was reserved for it; its chunks are let go.

    Conflict when they are not those any more that were joined.
    """
    found = unchanged(tx, actor, upload_id, chunks)
    file = service.make(tx, actor, found.filename, blob, described)
    tx.exec(q.complete_upload, id=upload_id, file_id=file.file_id)
    tx.exec(q.drop_chunks, upload_id=upload_id)
    return file


def complete_again(tx: Tx, actor: Actor, upload_id: int) -> FcsFile:
    """The file that a completed upload is; NotFound for any other."""
    found = row(tx, actor, upload_id)
    if found.file_id is None:
        raise NotFound("This upload is not completed.")
    audit.record(tx, actor, "fcs.upload_again", f"fcs/files/{found.file_id}")
    return service.get(tx, actor, found.file_id)


def abort(tx: Tx, actor: Actor, upload_id: int) -> list[str]:
    """Gives an upload up; the blobs that were its chunks. Conflict when it is completed."""
    found = row(tx, actor, upload_id)
    if found.status == "completed":
        raise Conflict("This upload is completed: delete its file.", state=found.status, file_id=found.file_id)
    chunks = [chunk.sha256 for chunk in _chunks(tx, upload_id)]
    tx.exec(q.abort_upload, id=upload_id)
    audit.record(tx, actor, "fcs.upload_abort", f"fcs/uploads/{upload_id}")
    return chunks
