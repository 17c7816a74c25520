"""Who else has a file: shares, links, and each time that somebody was given the bytes."""

from typing import NamedTuple

from msgspec import UNSET
from msgspec.structs import replace

from app.actor import EVERYBODY, Actor
from app.audit import service as audit
from app.db import Tx
from app.errors import Conflict, Forbidden, Invalid, NotFound, PreconditionFailed
from app.files import service
from app.files.naming import copied
from app.files.service import q
from app.files.structs import (
    File,
    FileAccess,
    FileCopy,
    FileRow,
    FileShare,
    FileShareCreate,
    Linked,
    shown,
)
from app.teams import service as teams
from app.values import hashed, instant, unix

MOST_SHARES = 1_000
MOST_ACCESSES = 10_000
URL_S = 3600
"""How long a download URL is good."""
RESUME_S = 3600.0
"""So long after an access its caller may go on with what broke off, without being counted again."""
MOST_AGENT = 200
_USED_UP = "This link has been used as often as it may."


class Visitor(NamedTuple):
    """Who asks for the bytes, and how: `resumes` when the answer is the rest of a file."""

    ip: str
    agent: str
    resumes: bool


def share(tx: Tx, actor: Actor, file_id: int, new: FileShareCreate, link: str, revision: int | None) -> FileShare:
    """Shares a file with an account, a team, or whoever has the link whose secret is given.

    Conflict when the account or the team has it already; a share that has ended makes room for the new one.
    """
    file = service.owned(tx, actor, "files:write", file_id, revision)
    user_id, team_id = (None, None) if new.link else teams.recipient(tx, actor, new, file.owner_id)
    if new.link and (new.user_id, new.username, new.team_id) != (None, None, None):
        raise Invalid.field("/link", "expected either a link, or one of user_id, username and team_id")
    if new.link and new.permission != "read":
        raise Invalid.field("/permission", "expected `read`: a link gives nothing else")
    expires_at = teams.ending(new.expires_at)
    share_id = _add(tx, actor, file_id, replace(new, user_id=user_id, team_id=team_id, expires_at=expires_at), link)
    audit.record(tx, actor, "files.share", f"files/{file_id}/shares/{share_id}")
    return _shares(tx, file_id, share_id)[0]


def _add(tx: Tx, actor: Actor, file_id: int, new: FileShareCreate, link: str) -> int:
    tx.exec(q.drop_spent, file_id=file_id, user_id=new.user_id, team_id=new.team_id, now=tx.now)
    if (tx.value(q.count_shares, int, file_id=file_id) or 0) >= MOST_SHARES:
        tx.exec(q.drop_all_spent, file_id=file_id, now=tx.now)
    if (shares := tx.value(q.count_shares, int, file_id=file_id) or 0) >= MOST_SHARES:
        raise Conflict(f"A file has at most {MOST_SHARES} shares.", share_count=shares)
    share_id = tx.value(
        q.share,
        int,
        file_id=file_id,
        user_id=new.user_id,
        team_id=new.team_id,
        link_sha256=hashed(link) if new.link else None,
        permission=new.permission,
        expires_at=new.expires_at,
        max_access_count=new.max_access_count,
        created_by=actor.user_id,
        now=tx.now,
    )
    if share_id is None:
        raise Conflict("It is shared with them already; revoke that share first.", state="shared")
    return share_id


def download_url(tx: Tx, actor: Actor, file_id: int, link: str) -> int:
    """Makes a link that is good for an hour; how many seconds that is."""
    if actor.permissions.reach("files:write") is None:
        raise actor.lacks(["files:write"], "A link gives the file to whoever has it.")
    service.owned(tx, actor, "files:write", file_id)
    new = FileShareCreate(link=True, expires_at=instant(unix() + URL_S))
    _add(tx, actor, file_id, new, link)
    return URL_S


def shares(tx: Tx, actor: Actor, file_id: int) -> list[FileShare]:
    """Who else has a file."""
    service.owned(tx, actor, "files:read", file_id)
    return _shares(tx, file_id)


def _shares(tx: Tx, file_id: int, share_id: int | None = None) -> list[FileShare]:
    return tx.many(q.shares, FileShare, file_id=file_id, share_id=share_id)


def revoke(tx: Tx, actor: Actor, file_id: int, share_id: int, revision: int | None) -> File:
    """Ends a share; who has the file through it alone has it no more."""
    file = service.owned(tx, actor, "files:write", file_id, revision)
    if not tx.exec(q.revoke, id=share_id, file_id=file_id):
        raise NotFound("No such share.")
    audit.record(tx, actor, "files.revoke_share", f"files/{file_id}/shares/{share_id}")
    return shown(file)


def accesses(tx: Tx, actor: Actor, file_id: int, before_id: int, limit: int) -> list[FileAccess]:
    """When others were given a file, the newest first."""
    service.owned(tx, actor, "files:read", file_id)
    return tx.many(q.accesses, FileAccess, file_id=file_id, before_id=before_id or 2**62, limit=limit)


def count_accesses(tx: Tx, actor: Actor, file_id: int) -> int:
    """How many times are told of."""
    service.owned(tx, actor, "files:read", file_id)
    return tx.value(q.count_accesses, int, file_id=file_id) or 0


def look(tx: Tx, actor: Actor, file_id: int) -> File:
    """A file of which the actor may be given bytes, before any is counted; also one that they were given just now."""
    found = service.cards(tx, actor, "files:read", [file_id])
    if not found and _goes_on(tx, actor, file_id):
        found = _any(tx, file_id)
    if not found:
        raise NotFound("No such file.")
    return shown(found[0])


def enter(tx: Tx, actor: Actor, file_id: int, visitor: Visitor) -> None:
    """Gives the bytes of a file: to somebody who is not its owner the access is counted, and noted."""
    if not (visitor.resumes and _goes_on(tx, actor, file_id)):
        _enter(tx, actor, file_id, visitor, "download")


def _enter(tx: Tx, actor: Actor, file_id: int, visitor: Visitor, action: str) -> FileRow:
    found = service.row(tx, actor, "files:read", file_id)
    if found.owner_id == actor.user_id:
        return found
    share_id = None
    if found.access != "full":
        share_id = tx.value(q.share_for, int, file_id=file_id, self_id=actor.user_id, now=tx.now)
        if share_id is None or tx.value(q.count_access, int, id=share_id, now=tx.now) is None:
            raise NotFound("No such file.")
    _note(tx, file_id, share_id, actor.user_id, action, visitor)
    return found


def _goes_on(tx: Tx, actor: Actor, file_id: int) -> bool:
    since = instant(unix() - RESUME_S)
    return tx.value(q.continued, int, file_id=file_id, self_id=actor.user_id, now=tx.now, since=since) is not None


def _any(tx: Tx, file_id: int) -> list[FileRow]:
    """A file whoever asks; of nobody's reach, so that it is shown as to who has it through a share."""
    return [row.through_share() for row in tx.many(q.cards, FileRow, ids=f"[{file_id}]", now=tx.now, **EVERYBODY)]


def _note(tx: Tx, file_id: int, share_id: int | None, user_id: int | None, action: str, visitor: Visitor) -> None:
    access_id = tx.value(
        q.note_access,
        int,
        file_id=file_id,
        share_id=share_id,
        user_id=user_id,
        action=action,
        ip=visitor.ip,
        user_agent=visitor.agent[:MOST_AGENT],
        now=tx.now,
    )
    if access_id is not None and access_id % 64 == 0:
        tx.exec(q.forget_accesses, file_id=file_id, most=MOST_ACCESSES)


def linked(tx: Tx, link: str, ip: str) -> Linked:
    """What a link leads to, before an access is counted.

    NotFound for one that never was or was revoked; Forbidden for one that has expired, or has been used as often as it
    may, but by who was given the bytes just now.
    """
    found = tx.one(q.by_link, Linked, link_sha256=hashed(link))
    if found is None:
        raise NotFound("There is nothing behind this link.")
    if found.expires_at is not None and found.expires_at <= tx.now:
        raise Forbidden("This link has expired.")
    used_up = found.max_access_count is not None and found.access_count >= found.max_access_count
    if used_up and not _goes_on_by_link(tx, found, ip):
        raise Forbidden(_USED_UP)
    return found


def _goes_on_by_link(tx: Tx, found: Linked, ip: str) -> bool:
    since = instant(unix() - RESUME_S)
    return tx.value(q.continued_by, int, share_id=found.share_id, ip=ip, since=since) is not None


def enter_by_link(tx: Tx, link: str, visitor: Visitor) -> None:
    """Gives the bytes of a file to whoever has its link: the access is counted, and noted."""
    found = linked(tx, link, visitor.ip)
    if visitor.resumes and _goes_on_by_link(tx, found, visitor.ip):
        return
    if tx.value(q.count_access, int, id=found.share_id, now=tx.now) is None:
        raise Forbidden(_USED_UP)
    _note(tx, found.file_id, found.share_id, None, "download", visitor)


def copy(
    tx: Tx, actor: Actor, file_id: int, wanted: FileCopy, revision: int | None, visitor: Visitor, quota_bytes: int
) -> File:
    """Makes another file of the same bytes, of the actor's; of one that is shared it is an access like any other."""
    file = _enter(tx, actor, file_id, visitor, "copy")
    PreconditionFailed.unless_same("file", file.revision, revision)
    service.refuse_beyond_quota(tx, actor.user_id, file.size_bytes, quota_bytes)
    own = file.folder_id if file.owner_id == actor.user_id else None
    folder_id = own if wanted.folder_id is UNSET else wanted.folder_id
    name = wanted.name or copied(file.name)
    copy_id = service.add(tx, actor, name, folder_id, file.sha256, file.size_bytes, file.media_type)
    audit.record(tx, actor, "files.copy", f"files/{copy_id}")
    return shown(service.row(tx, actor, "files:write", copy_id))
