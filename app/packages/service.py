"""The rules of packages: what may follow what. Nothing here waits for a process; workers are rung after commit."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import UNSET, UnsetType

from app.actor import Actor, Identity
from app.audit import service as audit
from app.db import Query, Tx, load
from app.db.rows import to_json
from app.errors import Conflict, NotFound, PreconditionFailed, Unavailable
from app.packages.structs import (
    Activated,
    Activation,
    ActivationRow,
    Attempt,
    AttemptRow,
    Cancelling,
    Download,
    Package,
    PackageCreate,
    PackageFilter,
    PackageRow,
    Queued,
    RowId,
    StackEntry,
    activation_shown,
    attempt_shown,
    shown,
)
from app.permissions import Permissions

q = load("packages")

QUEUED = "packages.queued"
"""Message after commit: an attempt id that waits for a worker."""
CANCELLED = "packages.cancelled"
"""Message after commit: the id of a running attempt that shall stop."""


MOST_INTERRUPTIONS = 3
APPLIANCE = Actor(Identity(0, "purser", Permissions(())))
"""Who acts when a build ends by itself."""


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
    pattern = None
    if wanted.q is not None:
        text = wanted.q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        pattern = f"%{text}%"
    return {"name": wanted.name, "status": wanted.status, "pattern": pattern}


def remove(tx: Tx, actor: Actor, package_id: int, revision: int | None) -> Removed:
    """Deletes a package that is neither downloading nor active; answers what is left to clear on disk."""
    found = row(tx, package_id)
    if revision not in (None, found.revision):
        raise PreconditionFailed("The package has changed since.", revision=found.revision)
    attempts = [attempt.id for attempt in tx.many(q.attempt_ids, RowId, package_id=package_id)]
    if not tx.exec(q.remove, id=package_id):
        raise Conflict(f"A package cannot be deleted while it is {_standing(found)}.", state=found.status)
    audit.record(tx, actor, "packages.delete", f"packages/{package_id}")
    return Removed(package_id, found.name, found.store_path, attempts)


def _standing(found: PackageRow) -> str:
    return found.status if found.status in ("downloading", "activated") else "being switched to or from"


def download(tx: Tx, actor: Actor, package_id: int) -> Download:
    """Queues a download. While one is live: that one. Already there: the status, and nothing is started."""
    found = row(tx, package_id)
    attempt: AttemptRow | None
    if tx.exec(q.begin_download, id=package_id, now=tx.now):
        attempt = _queue(tx, package_id, interruptions=0, queued_by=actor.user_id)
        found = row(tx, package_id)
    else:
        attempt = tx.one(q.live_attempt, AttemptRow, package_id=package_id)
    audit.record(tx, actor, "packages.download", f"packages/{package_id}")
    number, status = (attempt.number, attempt.status) if attempt else (None, None)
    return Download(found.status, found.id, found.name, found.version, number, status)


def _queue(tx: Tx, package_id: int, *, interruptions: int, queued_by: int | None) -> AttemptRow:
    attempt = tx.one(
        q.add_attempt, AttemptRow, package_id=package_id, interruptions=interruptions, queued_by=queued_by, now=tx.now
    )
    if attempt is None:
        raise Conflict("A download of this package runs already.", state="downloading")
    tx.notify(QUEUED, attempt.id)
    return attempt


def cancel(tx: Tx, actor: Actor, package_id: int) -> Cancelling:
    """Stops the live attempt: at once when it waits, else by asking its worker. Conflict when nothing runs."""
    found = row(tx, package_id)
    attempt = tx.one(q.live_attempt, AttemptRow, package_id=package_id)
    if attempt is None:
        raise Conflict("Nothing is being downloaded.", state=found.status)
    tx.exec(q.request_cancel, id=attempt.id)
    if attempt.status == "queued":
        end_attempt(tx, attempt, "cancelled")
        tx.exec(q.undo_download, id=package_id, now=tx.now)
    else:
        tx.notify(CANCELLED, attempt.id)
    audit.record(tx, actor, "packages.cancel", f"packages/{package_id}")
    return Cancelling("cancelling", package_id, attempt.number)


def end_attempt(
    tx: Tx,
    attempt: AttemptRow,
    status: str,
    *,
    failure: str | None = None,
    failure_detail: str | None = None,
    exit_code: int | None = None,
    log_bytes: int = 0,
) -> bool:
    """Ends a live attempt; False when it had ended before."""
    return bool(
        tx.exec(
            q.end_attempt,
            id=attempt.id,
            status=status,
            failure=failure,
            failure_detail=failure_detail,
            exit_code=exit_code,
            log_bytes=log_bytes,
            now=tx.now,
        )
    )


def attempts(tx: Tx, package_id: int, *, after: int, limit: int) -> list[Attempt]:
    """The package's attempts, the oldest first, behind the number `after`."""
    row(tx, package_id)
    found = tx.many(q.attempts_page, AttemptRow, package_id=package_id, after=after, limit=limit)
    return [attempt_shown(attempt) for attempt in found]


def count_attempts(tx: Tx, package_id: int) -> int:
    """How many attempts the package has had."""
    return tx.value(q.count_attempts, int, package_id=package_id) or 0


def logged_attempt(tx: Tx, package_id: int, number: int | None) -> AttemptRow | None:
    """The attempt whose log is wanted, by default the last; None before any. NotFound for an unknown number."""
    row(tx, package_id)
    if number is None:
        return tx.one(q.last_attempt, AttemptRow, package_id=package_id)
    attempt = tx.one(q.attempt_numbered, AttemptRow, package_id=package_id, number=number)
    if attempt is None:
        raise NotFound("No such attempt.")
    return attempt


def activations(tx: Tx, package_id: int, *, after: int, limit: int) -> list[Activation]:
    """The switches of the package's name, the oldest first, behind the id `after`."""
    name = row(tx, package_id).name
    found = tx.many(q.activations_page, ActivationRow, name=name, after=after, limit=limit)
    return [activation_shown(activation) for activation in found]


def count_activations(tx: Tx, package_id: int) -> int:
    """How many switches the package's name has had."""
    return tx.value(q.count_activations, int, name=row(tx, package_id).name) or 0


def begin_activation(tx: Tx, actor: Actor, package_id: int) -> ActivationRow | None:
    """Notes that the profile is about to be switched to this version; None when it points there already."""
    wanted = row(tx, package_id)
    if wanted.status == "activated":
        return None
    if wanted.status != "downloaded":
        raise Conflict(f"Only a downloaded package can be activated; this one is {wanted.status}.", state=wanted.status)
    return _begin(tx, actor, "activate", tx.one(q.active_of, PackageRow, name=wanted.name), wanted)


def begin_rollback(tx: Tx, actor: Actor, package_id: int) -> ActivationRow:
    """Notes that the profile is about to go back to the version that was active before this one."""
    active = row(tx, package_id)
    if active.status != "activated":
        raise Conflict(f"Only the active version can be rolled back; this one is {active.status}.", state=active.status)
    entry = tx.one(q.before_active, StackEntry, name=active.name, active_id=package_id)
    if entry is None:
        raise Conflict(f"No version of {active.name} was active before this one.", state=active.status)
    return _begin(tx, actor, "rollback", active, row(tx, entry.package_id))


def _begin(tx: Tx, actor: Actor, kind: str, active: PackageRow | None, wanted: PackageRow) -> ActivationRow:
    begun = tx.one(
        q.begin_switch,
        ActivationRow,
        name=wanted.name,
        kind=kind,
        from_package_id=active.id if active else None,
        from_version=active.version if active else None,
        to_package_id=wanted.id,
        to_version=wanted.version,
        store_path=wanted.store_path,
        actor_id=actor.user_id,
        actor_name=actor.who.user_name,
        now=tx.now,
    )
    if begun is None:
        raise Conflict(f"{wanted.name} is being switched already.", state="switching")
    return begun


def finish_activation(tx: Tx, actor: Actor, activation_id: int, generation: int, profile: str) -> Activated:
    """Moves the rows, after the profile was read back and points at the version. Unavailable when it was undone."""
    begun = tx.one(q.activation_by_id, ActivationRow, id=activation_id)
    if begun is None or begun.to_package_id is None or not _end_switch(tx, begun, "done", generation):
        raise Unavailable("The switch was settled otherwise.")
    tx.exec(q.set_inactive, name=begun.name, now=tx.now)
    tx.exec(q.set_active, id=begun.to_package_id, now=tx.now)
    from_id: int | UnsetType = UNSET
    if begun.kind == "rollback":
        from_id = begun.from_package_id or UNSET
        entry = tx.value(q.stack_entry, int, name=begun.name, package_id=begun.to_package_id)
        tx.exec(q.pop_above, name=begun.name, entry_id=entry or 0)
    audit.record(tx, actor, f"packages.{begun.kind}", f"packages/{begun.to_package_id}")
    return active(tx, begun.to_package_id, generation, profile, from_id)


def confirm_activation(tx: Tx, actor: Actor, package_id: int, generation: int, profile: str) -> Activated:
    """The answer to activating what is active already."""
    audit.record(tx, actor, "packages.activate", f"packages/{package_id}")
    return active(tx, package_id, generation, profile)


def active(tx: Tx, package_id: int, generation: int, profile: str, from_id: int | UnsetType = UNSET) -> Activated:
    """What the profile points at, as an answer; `previous_id` is where a rollback would lead."""
    found = row(tx, package_id)
    if found.status != "activated" or found.store_path is None:
        raise Conflict(f"The package has just become {found.status}.", state=found.status)
    entry = tx.one(q.before_active, StackEntry, name=found.name, active_id=package_id)
    return Activated(
        status="activated",
        id=found.id,
        name=found.name,
        version=found.version,
        profile=profile,
        store_path=found.store_path,
        generation=generation,
        previous_id=entry.package_id if entry else None,
        from_id=from_id,
    )


def undo_activation(tx: Tx, begun: ActivationRow, damage: str | None) -> None:
    """Notes that the switch did not happen; with `damage`, that the version's path is missing or broken."""
    _end_switch(tx, begun, "undone", None)
    if damage is not None and begun.to_package_id is not None:
        tx.exec(q.mark_damaged, id=begun.to_package_id, failure_detail=damage, now=tx.now)


def _end_switch(tx: Tx, begun: ActivationRow, status: str, generation: int | None) -> bool:
    return bool(tx.exec(q.end_switch, id=begun.id, status=status, generation=generation, now=tx.now))


def unsettled(tx: Tx) -> list[ActivationRow]:
    """The switches of which nobody knows yet whether they happened."""
    return tx.many(q.unsettled, ActivationRow)


def claim_attempt(tx: Tx, lease_until: str) -> Queued | None:
    """Takes the attempt that has waited longest off the queue; None when none waits."""
    queued = tx.one(q.next_queued, Queued)
    if queued is not None and not tx.exec(q.start_attempt, id=queued.id, now=tx.now, lease_until=lease_until):
        return None
    return queued


def renew_lease(tx: Tx, attempt_id: int, lease_until: str) -> bool:
    """Says that the attempt is still being built; False when it is no longer running."""
    return bool(tx.exec(q.renew_lease, id=attempt_id, lease_until=lease_until))


def succeed(tx: Tx, attempt_id: int, store_path: str, closure_bytes: int, log_bytes: int) -> None:
    """The build has ended well and its path is rooted: the package is downloaded."""
    attempt = tx.one(q.attempt_by_id, AttemptRow, id=attempt_id)
    if attempt is None or not end_attempt(tx, attempt, "succeeded", exit_code=0, log_bytes=log_bytes):
        return
    tx.exec(q.end_download, id=attempt.package_id, store_path=store_path, closure_bytes=closure_bytes, now=tx.now)
    audit.record(tx, APPLIANCE, "packages.downloaded", f"packages/{attempt.package_id}")


def fail(tx: Tx, attempt_id: int, failure: str, detail: str, exit_code: int | None, log_bytes: int) -> None:
    """The build has failed, and so has the package."""
    attempt = tx.one(q.attempt_by_id, AttemptRow, id=attempt_id)
    if attempt is None or not end_attempt(
        tx, attempt, "failed", failure=failure, failure_detail=detail, exit_code=exit_code, log_bytes=log_bytes
    ):
        return
    _fail_package(tx, attempt.package_id, failure, detail)


def _fail_package(tx: Tx, package_id: int, failure: str, detail: str) -> None:
    tx.exec(q.fail_download, id=package_id, failure=failure, failure_detail=detail, now=tx.now)
    audit.record(tx, APPLIANCE, "packages.failed", f"packages/{package_id}")


def stop(tx: Tx, attempt_id: int, log_bytes: int) -> None:
    """The build was stopped: cancelled when somebody asked for it, else interrupted and queued once more."""
    attempt = tx.one(q.attempt_by_id, AttemptRow, id=attempt_id)
    if attempt is not None:
        _stop(tx, attempt, log_bytes)


def _stop(tx: Tx, attempt: AttemptRow, log_bytes: int) -> None:
    if attempt.cancel_requested:
        if end_attempt(tx, attempt, "cancelled", log_bytes=log_bytes):
            tx.exec(q.undo_download, id=attempt.package_id, now=tx.now)
            audit.record(tx, APPLIANCE, "packages.cancelled", f"packages/{attempt.package_id}")
        return
    if not end_attempt(tx, attempt, "interrupted", failure="interrupted", log_bytes=log_bytes):
        return
    interruptions = attempt.interruptions + 1
    if interruptions < MOST_INTERRUPTIONS:
        _queue(tx, attempt.package_id, interruptions=interruptions, queued_by=None)
    else:
        detail = f"The service stopped {interruptions} times in a row while this was being built."
        _fail_package(tx, attempt.package_id, "interrupted", detail)


def interrupt_running(tx: Tx) -> int:
    """At the start: whatever a former life of the service was building is stopped by now. Returns how many."""
    running = tx.many(q.running_attempts, AttemptRow)
    for attempt in running:
        _stop(tx, attempt, attempt.log_bytes)
    return len(running)


def existing(tx: Tx, package_ids: Sequence[int]) -> set[int]:
    """Those of the ids that are packages."""
    return {row.id for row in tx.many(q.existing, RowId, ids=to_json(package_ids))}


def existing_attempts(tx: Tx, attempt_ids: Sequence[int]) -> set[int]:
    """Those of the ids that are attempts."""
    return {row.id for row in tx.many(q.existing_attempts, RowId, ids=to_json(attempt_ids))}
