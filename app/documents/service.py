"""The rules of documents: who sees and changes them, and that nothing of them is lost by a change."""

from collections.abc import Sequence

from msgspec import UNSET
from msgspec.structs import astuple, replace

from app.actor import Actor
from app.audit import service as audit
from app.db import Query, Tx, limit_s, load
from app.db.rows import to_json
from app.documents.signs import signature
from app.documents.structs import (
    Card,
    Document,
    DocumentCreate,
    DocumentDetail,
    DocumentFilter,
    DocumentPatch,
    DocumentShare,
    Match,
    Place,
    Revision,
    RevisionDetail,
    TagOf,
)
from app.errors import Forbidden, NotFound, PreconditionFailed
from app.files import service as files
from app.values import folded, like, sort_key

q = load("documents")

MOST_REVISIONS = 50
READ_S = 10.0
"""What a search may take: of long texts it spares little."""
LOOK = 2_000
"""A search looks through so many of the first documents before it asks for all that may match."""
_LATEST = "9999"

_Drive = tuple[tuple[Query, Query, Query], dict[str, object]]
_OWN = (q.of_owner_newest, q.of_owner_titles, q.count_of_owner)
_REACHABLE = (q.reachable_newest, q.reachable_titles, q.count_reachable)
_SHARED = (q.shared_newest, q.shared_titles, q.count_shared)
_IN_FOLDER = (q.in_folder_newest, q.in_folder_titles, q.count_in_folder)
_SEARCH = (q.search_newest, q.search_titles, q.count_search)


@limit_s(READ_S)
def page(
    tx: Tx, actor: Actor, wanted: DocumentFilter, behind: Place | None, limit: int
) -> tuple[list[Document], Place | None]:
    """Documents that match behind a place, in the order that is asked for; the place of the last if more follow."""
    by_title = wanted.sort == "title"
    begin = behind or (Place("", 0) if by_title else Place(_LATEST, 0))
    drives = _drives(tx, actor, wanted)
    places = _places(tx, drives, begin, by_title, limit + 1 if wanted.q is None else LOOK)
    if wanted.q is not None:
        found = _matching(tx, places, wanted.q)
        if len(found) <= limit and len(places) == LOOK:
            found = _places(tx, [_searched(drives, wanted.q)], begin, by_title, limit + 1)
        places = found
    here = places[:limit]
    cards = {card.id: card for card in _cards(tx, actor, "documents:read", [place.id for place in here])}
    shown = _with_tags(tx, [cards[place.id] for place in here])
    return shown, here[-1] if len(places) > limit else None


@limit_s(READ_S)
def count(tx: Tx, actor: Actor, wanted: DocumentFilter) -> int:
    """How many documents match, on all pages together."""
    drives = _drives(tx, actor, wanted)
    if wanted.q is not None:
        drives = [_searched(drives, wanted.q)] if drives else []
    return sum(tx.value(kinds[2], int, **kinds[2].its(asked)) or 0 for kinds, asked in drives)


def _drives(tx: Tx, actor: Actor, wanted: DocumentFilter) -> list[_Drive]:
    """The statements that tell between them what matches, none of it twice, with their parameters; `q` left aside."""
    reach, owner_id = actor.reach("documents:read"), wanted.owner_id
    tags = None if wanted.tags is None else to_json([_key(tag) for tag in wanted.tags.split(",")])
    asked = actor.within("documents:read") | {
        "now": tx.now,
        "owner_id": owner_id,
        "folder_id": wanted.folder_id,
        "at_root": wanted.folder_id == 0,
        "tags": tags,
    }
    shared = [(_SHARED, asked)] if wanted.folder_id is None else []
    mine = asked | {"owner_id": actor.user_id}
    if wanted.shared:
        return [(kinds, given | {"own_group_id": None}) for kinds, given in shared]
    if wanted.shared is False and owner_id not in (None, actor.user_id):
        return []
    if wanted.folder_id:
        return [(_IN_FOLDER, asked if wanted.shared is None else mine)]
    if wanted.shared is False or owner_id == actor.user_id:
        return [(_OWN, mine)]
    if reach == "all":
        return [(_OWN if owner_id else _REACHABLE, asked)]
    if reach == "group":
        return [(_REACHABLE, asked), *shared]
    return [*([(_OWN, mine)] if owner_id is None else []), *shared]


def _searched(drives: Sequence[_Drive], text: str) -> _Drive:
    """One statement in the place of these, that tells in which documents a text is found."""
    kinds, asked = [kinds for kinds, _ in drives], drives[-1][1]
    return _SEARCH, asked | _asked(text) | {"shared": _SHARED in kinds, "reached": kinds != [_SHARED]}


def _asked(text: str) -> dict[str, object]:
    key = folded(text)
    return {"pattern": like(key), **signature(key)}


def _places(tx: Tx, drives: Sequence[_Drive], begin: Place, by_title: bool, limit: int) -> list[Place]:
    """Where the first documents behind a place stand, in order."""
    places: list[Place] = []
    for kinds, asked in drives:
        statement = kinds[1] if by_title else kinds[0]
        more = {"behind": begin.place, "behind_id": begin.id, "limit": limit}
        places += tx.many(statement, Place, **statement.its(asked | more))
    places.sort(key=lambda place: (place.place, place.id), reverse=not by_title)
    return places[:limit]


def _matching(tx: Tx, places: Sequence[Place], text: str) -> list[Place]:
    ids = to_json([place.id for place in places])
    found = {match.id for match in tx.many(q.matching, Match, ids=ids, pattern=like(folded(text)))}
    return [place for place in places if place.id in found]


def _cards(tx: Tx, actor: Actor, permission: str, ids: Sequence[int]) -> list[Card]:
    if not ids:
        return []
    return tx.many(q.cards, Card, ids=to_json(ids), now=tx.now, **actor.within(permission))


def _with_tags(tx: Tx, cards: Sequence[Card]) -> list[Document]:
    tags: dict[int, list[str]] = {}
    for tag in tx.many(q.tags_of, TagOf, ids=to_json([card.id for card in cards])) if cards else ():
        tags.setdefault(tag.document_id, []).append(tag.name)
    return [Document(*(*astuple(_seen(card)), tags.get(card.id, []))) for card in cards]


def _seen(card: Card) -> Card:
    return card if card.access == "full" else replace(card, folder_id=None)


def row(tx: Tx, actor: Actor, permission: str, document_id: int) -> Card:
    """A document that the actor reaches or has through a share; NotFound for any other."""
    found = _cards(tx, actor, permission, [document_id])
    if not found:
        raise NotFound("No such document.")
    return found[0]


def owned(tx: Tx, actor: Actor, permission: str, document_id: int, revision: int | None = None) -> Card:
    """A document with which the actor may do all, as the caller has seen it; Forbidden through a share."""
    card = row(tx, actor, permission, document_id)
    _refuse_unless(card, "full")
    PreconditionFailed.unless_same("document", card.revision, revision)
    return card


def _refuse_unless(card: Card, *access: str) -> None:
    if card.access not in access:
        what = "change it" if "edit" in access else "do that"
        raise Forbidden(f"You have this document through a share, which does not let you {what}.", access=card.access)


def get(tx: Tx, actor: Actor, document_id: int, permission: str = "documents:read") -> DocumentDetail:
    """A document that the actor may see, with its text; NotFound for any other."""
    document = _with_tags(tx, [row(tx, actor, permission, document_id)])[0]
    shares = tx.many(q.shares, DocumentShare, id=document_id) if document.access == "full" else []
    content = tx.value(q.content, str, id=document_id) or ""
    return DocumentDetail(*(*astuple(document), content, shares))


def create(tx: Tx, actor: Actor, new: DocumentCreate, quota_bytes: int) -> DocumentDetail:
    """Makes a document of the actor's."""
    if new.folder_id is not None:
        files.own_folder(tx, actor.user_id, new.folder_id)
    size = len(new.content.encode())
    files.refuse_beyond_quota(tx, actor.user_id, size, quota_bytes)
    document_id = tx.value(
        q.add,
        int,
        owner_id=actor.user_id,
        folder_id=new.folder_id,
        title=new.title,
        title_key=sort_key(new.title),
        size_bytes=size,
        now=tx.now,
    )
    if document_id is None:
        raise RuntimeError("a document was not made")
    text = folded(f"{new.title}\n{new.content}")
    tx.exec(q.add_text, id=document_id, content=new.content, search_text=text)
    tx.exec(q.add_signs, id=document_id, **signature(text))
    _add_tags(tx, document_id, new.tags)
    audit.record(tx, actor, "documents.create", f"documents/{document_id}")
    return get(tx, actor, document_id, "documents:write")


def _key(tag: str) -> str:
    """What a tag is known by; folding turns some signs into a blank and another."""
    return folded(tag).strip()


def _add_tags(tx: Tx, document_id: int, tags: Sequence[str]) -> None:
    """Adds tags; of two that differ in case alone the first is kept."""
    if tags:
        tx.exec_many(q.add_tag, [{"id": document_id, "name": tag, "name_key": _key(tag)} for tag in tags])


def update(
    tx: Tx, actor: Actor, document_id: int, patch: DocumentPatch, revision: int | None, quota_bytes: int
) -> DocumentDetail:
    """Changes title, text, tags, and where a document lies, which is its owner's to say; what it was is kept."""
    card = row(tx, actor, "documents:write", document_id)
    _refuse_unless(card, "full", *(("edit",) if patch.folder_id is UNSET else ()))
    PreconditionFailed.unless_same("document", card.revision, revision)
    if patch.folder_id is not UNSET:
        if patch.folder_id is not None:
            files.own_folder(tx, card.owner_id, patch.folder_id)
        tx.exec(q.move, id=document_id, folder_id=patch.folder_id, now=tx.now)
    if patch.tags is not UNSET:
        tx.exec(q.clear_tags, id=document_id)
        _add_tags(tx, document_id, patch.tags)
        tx.exec(q.touch, id=document_id, now=tx.now)
    title = card.title if patch.title is UNSET else patch.title
    _edit(tx, actor, card, title, None if patch.content is UNSET else patch.content, quota_bytes)
    audit.record(tx, actor, "documents.update", f"documents/{document_id}")
    return get(tx, actor, document_id, "documents:write")


def _edit(tx: Tx, actor: Actor, card: Card, title: str, content: str | None, quota_bytes: int) -> None:
    """Gives a document another title or text (None: the same); keeps what it was, if it was something else."""
    was = tx.value(q.content, str, id=card.id) or ""
    content = was if content is None else content
    if (title, content) == (card.title, was):
        return
    size = len(content.encode())
    files.refuse_beyond_quota(tx, card.owner_id, size, quota_bytes)
    tx.exec(q.keep_revision, id=card.id)
    tx.exec(q.forget_revisions, id=card.id, most=MOST_REVISIONS)
    text = folded(f"{title}\n{content}")
    tx.exec(q.set_text, id=card.id, content=content, search_text=text)
    tx.exec(q.set_signs, id=card.id, **signature(text))
    tx.exec(
        q.edit, id=card.id, title=title, title_key=sort_key(title), size_bytes=size, edited_by=actor.user_id, now=tx.now
    )


def remove(tx: Tx, actor: Actor, document_id: int, revision: int | None) -> None:
    """Deletes a document with all that it was."""
    owned(tx, actor, "documents:delete", document_id, revision)
    tx.exec(q.remove, id=document_id)
    audit.record(tx, actor, "documents.delete", f"documents/{document_id}")


def remove_many(tx: Tx, actor: Actor, document_ids: Sequence[int]) -> int:
    """Deletes documents, all or none; how many. NotFound names those that are not the actor's to delete."""
    wanted = sorted(set(document_ids))
    gone = tx.many(q.remove_many, Match, ids=to_json(wanted), **actor.within("documents:delete"))
    if missing := sorted(set(wanted) - {document.id for document in gone}):
        raise NotFound(f"Of these documents you have not {', '.join(map(str, missing))}; none was deleted.")
    audit.record(tx, actor, "documents.delete", f"documents/{','.join(map(str, wanted))}")
    return len(wanted)


def revisions(tx: Tx, actor: Actor, document_id: int, before: int, limit: int) -> list[Revision]:
    """What a document is and was, the newest first; not for who may read it and no more."""
    _historian(tx, actor, document_id)
    return tx.many(q.revisions, Revision, id=document_id, before=before or 2**62, limit=limit)


def _historian(tx: Tx, actor: Actor, document_id: int) -> None:
    """Refuses who was shown what a document is, which is not what it once was."""
    _refuse_unless(row(tx, actor, "documents:read", document_id), "full", "edit")


def count_revisions(tx: Tx, actor: Actor, document_id: int) -> int:
    """How many revisions there are, today's among them."""
    _historian(tx, actor, document_id)
    return tx.value(q.count_revisions, int, id=document_id) or 0


def revision(tx: Tx, actor: Actor, document_id: int, number: int) -> RevisionDetail:
    """What a document was in one of its revisions; NotFound when that is not kept."""
    _historian(tx, actor, document_id)
    return _revision(tx, document_id, number)


def _revision(tx: Tx, document_id: int, number: int) -> RevisionDetail:
    found = tx.one(q.revision, RevisionDetail, id=document_id, number=number)
    if found is None:
        raise NotFound("No such revision.")
    return found


def restore(
    tx: Tx, actor: Actor, document_id: int, number: int, wanted: int | None, quota_bytes: int
) -> DocumentDetail:
    """Makes a document what it was in one of its revisions; what it is becomes a revision."""
    card = row(tx, actor, "documents:write", document_id)
    _refuse_unless(card, "full", "edit")
    PreconditionFailed.unless_same("document", card.revision, wanted)
    old = _revision(tx, document_id, number)
    _edit(tx, actor, card, old.title, old.content, quota_bytes)
    audit.record(tx, actor, "documents.restore", f"documents/{document_id}/revisions/{number}")
    return get(tx, actor, document_id, "documents:write")
