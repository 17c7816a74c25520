"""The rules of folders: where they lie, what they are called, and that none lies in itself."""

from msgspec import UNSET
from msgspec.structs import asdict

from app.actor import Actor
from app.audit import service as audit
from app.db import Tx, limit_s, load
from app.errors import Conflict, NotFound, PreconditionFailed
from app.folders.structs import (
    MOST_DEPTH,
    Branch,
    Contents,
    Folder,
    FolderCreate,
    FolderDetail,
    FolderFilter,
    FolderPatch,
    Step,
    TreeQuery,
    nested,
)
from app.values import folded, like

q = load("folders")

MOST_FOLDERS = 20_000
DELETE_S = 300.0
"""What deleting may take: of a hundred thousand documents it takes seconds, on slow flash many."""
_TAKEN = "There is a folder of this name here already."


def page(tx: Tx, actor: Actor, wanted: FolderFilter, after: int, limit: int) -> list[Folder]:
    """Folders within reach that match, in the order in which they were made."""
    statement, asked = (q.page_of_owner if _of_one(actor, wanted) else q.page), _matching(actor, wanted)
    return tx.many(statement, Folder, **statement.its(asked), after=after, limit=limit)


def count(tx: Tx, actor: Actor, wanted: FolderFilter) -> int:
    """How many match, on all pages together."""
    statement, asked = (q.count_page_of_owner if _of_one(actor, wanted) else q.count), _matching(actor, wanted)
    return tx.value(statement, int, **statement.its(asked)) or 0


def _of_one(actor: Actor, wanted: FolderFilter) -> bool:
    """Whether all that may be listed are one account's, so that its own index tells them."""
    mine = actor.reach("folders:read") == "own" and wanted.owner_id in (None, actor.user_id)
    return mine or (actor.reach("folders:read") == "all" and wanted.owner_id is not None)


def _matching(actor: Actor, wanted: FolderFilter) -> dict[str, object]:
    pattern = None if wanted.q is None else like(folded(wanted.q))
    owner_id = wanted.owner_id
    if owner_id is None and _of_one(actor, wanted):
        owner_id = actor.user_id
    asked: dict[str, object] = {"owner_id": owner_id, "parent_id": wanted.parent_id, "pattern": pattern}
    return asked | actor.within("folders:read")


def tree(tx: Tx, actor: Actor, wanted: TreeQuery) -> bytes:
    """The folders of a tree, by name, as JSON: a large one is written here, where it holds nobody up."""
    owner_id = wanted.owner_id or actor.user_id
    if wanted.root_id is not None:
        root = _row(tx, actor, "folders:read", wanted.root_id)
        owner_id = root.owner_id if wanted.owner_id is None else owner_id
    elif owner_id != actor.user_id and not tx.value(q.reaches, int, id=owner_id, **actor.within("folders:read")):
        raise NotFound("No such user.")
    return nested(tx.many(q.tree, Branch, owner_id=owner_id, root_id=wanted.root_id, depth=wanted.depth))


def _row(tx: Tx, actor: Actor, permission: str, folder_id: int) -> Folder:
    row = tx.one(q.by_id, Folder, id=folder_id, **actor.within(permission))
    if row is None:
        raise NotFound("No such folder.")
    return row


def get(tx: Tx, actor: Actor, folder_id: int) -> FolderDetail:
    """A folder within reach, with the way to it and how much lies in it; NotFound for any other."""
    return _detail(tx, _row(tx, actor, "folders:read", folder_id))


def _detail(tx: Tx, row: Folder) -> FolderDetail:
    steps = _path(tx, row.id)
    held = tx.one(q.contents, Contents, id=row.id)
    path = "/" + "/".join(step.name for step in steps)
    return FolderDetail(**asdict(row), **(asdict(held) if held else {}), path=path, ancestors=steps[:-1])


def _path(tx: Tx, folder_id: int) -> list[Step]:
    return tx.many(q.path, Step, id=folder_id)


def create(tx: Tx, actor: Actor, new: FolderCreate) -> FolderDetail:
    """Makes a folder of the actor's. Conflict when its name is taken there, or the tree is as deep as it may be."""
    if new.parent_id is not None:
        _in_tree_of(tx, actor, actor.user_id, new.parent_id)
        _refuse_deeper(len(_path(tx, new.parent_id)) + 1)
    if (there := tx.value(q.count_of_owner, int, owner_id=actor.user_id) or 0) >= MOST_FOLDERS:
        raise Conflict(f"An account has at most {MOST_FOLDERS} folders.", folder_count=there)
    key, mine = folded(new.name), actor.user_id
    made = tx.value(q.add, int, owner_id=mine, parent_id=new.parent_id, name=new.name, name_key=key, now=tx.now)
    if made is None:
        raise Conflict(_TAKEN, field="name")
    audit.record(tx, actor, "folders.create", f"folders/{made}")
    return _detail(tx, _row(tx, actor, "folders:write", made))


def _in_tree_of(tx: Tx, actor: Actor, owner_id: int, folder_id: int) -> None:
    """NotFound unless a folder, into which something shall go, is of the same account."""
    if _row(tx, actor, "folders:write", folder_id).owner_id != owner_id:
        raise NotFound("No such folder.")


def _refuse_deeper(depth: int) -> None:
    if depth > MOST_DEPTH:
        raise Conflict(f"A tree has at most {MOST_DEPTH} levels.", depth=depth)


def update(tx: Tx, actor: Actor, folder_id: int, patch: FolderPatch, revision: int | None) -> FolderDetail:
    """Renames or moves a folder. Conflict when it would lie in itself, too deep, or beside one of its name."""
    row = _row(tx, actor, "folders:write", folder_id)
    PreconditionFailed.unless_same("folder", row.revision, revision)
    parent_id = row.parent_id if patch.parent_id is UNSET else patch.parent_id
    if parent_id is not None and parent_id != row.parent_id:
        _in_tree_of(tx, actor, row.owner_id, parent_id)
        steps = _path(tx, parent_id)
        if any(step.id == folder_id for step in steps):
            raise Conflict("A folder cannot lie in itself, or in what is below it.", field="parent_id")
        _refuse_deeper(len(steps) + (tx.value(q.height, int, id=folder_id) or 0))
    name = row.name if patch.name is UNSET else patch.name
    place = {"id": folder_id, "owner_id": row.owner_id, "parent_id": parent_id}
    if not tx.exec(q.update, **place, name=name, name_key=folded(name), now=tx.now):
        raise Conflict(_TAKEN, field="name")
    audit.record(tx, actor, "folders.update", f"folders/{folder_id}")
    return _detail(tx, _row(tx, actor, "folders:write", folder_id))


@limit_s(DELETE_S)
def remove(tx: Tx, actor: Actor, folder_id: int, revision: int | None) -> None:
    """Deletes a folder with all that is in it and below it; Forbidden for who may not delete files that are."""
    row = _row(tx, actor, "folders:delete", folder_id)
    PreconditionFailed.unless_same("folder", row.revision, revision)
    held = tx.one(q.contents_below, Contents, id=folder_id)
    if held is not None:
        _refuse_without(tx, actor, "files:delete", held.file_count, row.owner_id)
        _refuse_without(tx, actor, "documents:delete", held.document_count, row.owner_id)
    tx.exec(q.remove, id=folder_id)
    audit.record(tx, actor, "folders.delete", f"folders/{folder_id}")


def _refuse_without(tx: Tx, actor: Actor, permission: str, count: int, owner_id: int) -> None:
    """Forbidden when there is something of this account's that the actor may not delete."""
    if not count:
        return
    asked = actor.within(permission) | {"id": owner_id}
    if actor.permissions.reach(permission) is None or not tx.value(q.reaches, int, **asked):
        raise actor.lacks([permission], f"In this folder there is what needs {permission}.")
