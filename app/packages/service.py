"""The rules of packages: names and versions that are known. What becomes of them: `attempts` and `activations`.

Nothing in the three waits for a process; workers are rung after commit.
"""

from collections.abc import Sequence
from typing import NamedTuple

from app.actor import Actor
from app.audit import service as audit
from app.db import Query, Tx, load
from app.db.rows import to_json
from app.errors import Conflict, NotFound, PreconditionFailed
from app.packages.structs import Package, PackageCreate, PackageFilter, PackageRow, RowId, StorePath, shown
from app.values import like

q = load("packages")

REMOVED = "packages.removed"
"""Message after commit: the id of a package that is no more."""


class Removed(NamedTuple):
    """What a deleted package leaves on disk, for the caller to clear after the commit."""

    package_id: int
    name: str
    store_path: str | None
    attempt_ids: list[int]


def create(tx: Tx, actor: Actor, new: PackageCreate) -> Package:
    """Makes a name and version known. Conflict when they are already."""
    row = tx.one(q.add, PackageRow, name=new.name, version=new.version, now=tx.now)
    if row is None:
        raise Conflict(f"{new.name} {new.version} exists already.", name=new.name, version=new.version)
    audit.record(tx, actor, "packages.create", f"packages/{row.id}")
    return shown(row)


def row(tx: Tx, package_id: int) -> PackageRow:
    """The package's row; NotFound."""
    found = tx.one(q.by_id, PackageRow, id=package_id)
    if found is None:
        raise NotFound("No such package.")
    return found


def page(tx: Tx, wanted: PackageFilter, after: tuple[str, int] | None, limit: int) -> list[Package]:
    """Up to `limit` packages behind the position `after`, which is a name and an id."""
    statement, backwards = _ORDERS[wanted.sort]
    name, last_id = after or ("", 2**62 if backwards else 0)
    parameters: dict[str, object] = {**_matching(wanted), "after_id": last_id, "limit": limit}
    if "after_name" in statement.parameters:
        # No name sorts behind the last character of Unicode's private use area.
        parameters["after_name"] = name if after or not backwards else "\U0010ffff"
    return [shown(row) for row in tx.many(statement, PackageRow, **parameters)]


_ORDERS: dict[str, tuple[Query, bool]] = {
    "created_at": (q.page_by_created, False),
    "-created_at": (q.page_by_created_down, True),
    "name": (q.page_by_name, False),
    "-name": (q.page_by_name_down, True),
}


def count(tx: Tx, wanted: PackageFilter) -> int:
    """How many packages match, on all pages together."""
    return tx.value(q.count_matching, int, **_matching(wanted)) or 0


def _matching(wanted: PackageFilter) -> dict[str, object]:
    return {"name": wanted.name, "status": wanted.status, "pattern": None if wanted.q is None else like(wanted.q)}


def remove(tx: Tx, actor: Actor, package_id: int, revision: int | None) -> Removed:
    """Deletes a package that is neither downloading nor active; answers what is left to clear on disk."""
    found = row(tx, package_id)
    PreconditionFailed.unless_same("package", found.revision, revision)
    attempts = [attempt.id for attempt in tx.many(q.attempt_ids, RowId, package_id=package_id)]
    if not tx.exec(q.remove, id=package_id):
        raise Conflict(f"A package cannot be deleted while it is {_standing(found)}.", state=found.status)
    audit.record(tx, actor, "packages.delete", f"packages/{package_id}")
    tx.notify(REMOVED, package_id)
    return Removed(package_id, found.name, found.store_path, attempts)


def _standing(found: PackageRow) -> str:
    return found.status if found.status in ("downloading", "activated") else "being switched to or from"


def held(tx: Tx, package_ids: Sequence[int]) -> set[int]:
    """Those of the ids whose paths are wanted in the store."""
    return {row.id for row in tx.many(q.held, RowId, ids=to_json(package_ids))}


def store_paths(tx: Tx) -> set[str]:
    """What the packages have in the store."""
    return {row.store_path for row in tx.many(q.store_paths, StorePath)}
