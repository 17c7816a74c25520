"""Who else has a document."""

from app.actor import Actor
from app.audit import service as audit
from app.db import Tx
from app.documents import service
from app.documents.service import q
from app.documents.structs import DocumentDetail, DocumentShareCreate, DocumentUnshare
from app.errors import Conflict, NotFound
from app.teams import service as teams

MOST_SHARES = 1_000


def share(tx: Tx, actor: Actor, document_id: int, new: DocumentShareCreate, revision: int | None) -> DocumentDetail:
    """Shares a document with an account or a team; who has it already has it as is said now."""
    card = service.owned(tx, actor, "documents:write", document_id, revision)
    user_id, team_id = teams.recipient(tx, actor, new, card.owner_id)
    expires_at = teams.ending(new.expires_at)
    shared = {"id": document_id, "user_id": user_id, "team_id": team_id}
    given = {"permission": new.permission, "expires_at": expires_at}
    tx.exec(q.drop_expired, id=document_id, now=tx.now)
    if not tx.exec(q.share_again, **shared, **given):
        if (shares := tx.value(q.count_shares, int, id=document_id) or 0) >= MOST_SHARES:
            raise Conflict(f"A document has at most {MOST_SHARES} shares.", share_count=shares)
        tx.exec(q.share, **shared, **given, created_by=actor.user_id, now=tx.now)
    audit.record(tx, actor, "documents.share", f"documents/{document_id}")
    return service.get(tx, actor, document_id, "documents:write")


def unshare(tx: Tx, actor: Actor, document_id: int, given: DocumentUnshare, revision: int | None) -> DocumentDetail:
    """Ends the share of an account, which need not be active any more, or of a team; NotFound when there is none."""
    service.owned(tx, actor, "documents:write", document_id, revision)
    teams.refuse_unless_one(given)
    user_id = given.user_id
    if given.username is not None:
        user_id, _ = teams.recipient(tx, actor, given)
    if not tx.exec(q.unshare, id=document_id, user_id=user_id, team_id=given.team_id):
        raise NotFound("It is not shared with them.")
    audit.record(tx, actor, "documents.unshare", f"documents/{document_id}")
    return service.get(tx, actor, document_id, "documents:write")
