"""The rules of downloads: attempts are queued, taken up, and end in one of their states, whatever happens."""

from collections.abc import Collection, Mapping, Sequence

from app.actor import APPLIANCE, Actor
from app.audit import service as audit
from app.db import Tx, load
from app.db.rows import to_json
from app.errors import Conflict, NoSpace, NotFound
from app.packages import service
from app.packages.space import Space
from app.packages.structs import Attempt, AttemptRow, Cancelling, Download, Queued, RowId, attempt_shown

q = load("packages")

QUEUED = "packages.queued"
"""Message after commit: an attempt id that waits for a worker."""
CHANGED = "packages.changed"
"""Message after commit: the id of a package whose download has begun, got further, or ended."""
CANCELLED = "packages.cancelled"
"""Message after commit: the id of a running attempt that shall stop."""

MOST_INTERRUPTIONS = 3


def download(tx: Tx, actor: Actor, package_id: int, space: Space) -> Download:
    """Queues a download. While one is live: that one. Already there: the status, and nothing is started.

    NoSpace when it would begin and there is too little room; Conflict while the live one is being cancelled.
    """
    found = service.row(tx, package_id)
    attempt: AttemptRow | None
    if tx.exec(q.begin_download, id=package_id, now=tx.now):
        if not space.enough:
            raise NoSpace(str(space), needed_bytes=space.needed_bytes, free_bytes=space.free_bytes)
        attempt = _queue(tx, package_id, interruptions=0, queued_by=actor.user_id)
        found = service.row(tx, package_id)
    else:
        attempt = tx.one(q.live_attempt, AttemptRow, package_id=package_id)
        if attempt is not None and attempt.cancel_requested:
            raise Conflict("The download is being cancelled; ask again when it has ended.", state="cancelling")
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
    tx.notify(CHANGED, package_id)
    return attempt


def cancel(tx: Tx, actor: Actor, package_id: int) -> Cancelling:
    """Stops the live attempt: at once when it waits, else by asking its worker. Conflict when nothing runs."""
    found = service.row(tx, package_id)
    attempt = tx.one(q.live_attempt, AttemptRow, package_id=package_id)
    if attempt is None:
        raise Conflict("Nothing is being downloaded.", state=found.status)
    tx.exec(q.request_cancel, id=attempt.id)
    if attempt.status == "queued":
        _end(tx, attempt, "cancelled")
        tx.exec(q.undo_download, id=package_id, now=tx.now)
    else:
        tx.notify(CANCELLED, attempt.id)
    audit.record(tx, actor, "packages.cancel", f"packages/{package_id}")
    return Cancelling("cancelling", package_id, attempt.number)


def _end(
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
    tx.notify(CHANGED, attempt.package_id)
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


def page(tx: Tx, package_id: int, *, after: int, limit: int) -> list[Attempt]:
    """The package's attempts, the oldest first, behind the number `after`."""
    service.row(tx, package_id)
    found = tx.many(q.attempts_page, AttemptRow, package_id=package_id, after=after, limit=limit)
    return [attempt_shown(attempt) for attempt in found]


def count(tx: Tx, package_id: int) -> int:
    """How many attempts the package has had."""
    return tx.value(q.count_attempts, int, package_id=package_id) or 0


def logged(tx: Tx, package_id: int, number: int | None) -> AttemptRow | None:
    """The attempt whose log is wanted, by default the last; None before any. NotFound for an unknown number."""
    service.row(tx, package_id)
    if number is None:
        return tx.one(q.last_attempt, AttemptRow, package_id=package_id)
    attempt = tx.one(q.attempt_numbered, AttemptRow, package_id=package_id, number=number)
    if attempt is None:
        raise NotFound("No such attempt.")
    return attempt


def following(tx: Tx, package_id: int, number: int) -> list[AttemptRow]:
    """The attempt of this number and the one after it, as far as there are any."""
    service.row(tx, package_id)
    return tx.many(q.attempts_page, AttemptRow, package_id=package_id, after=number - 1, limit=2)


def claim(tx: Tx, lease_until: str, own: Collection[int]) -> Queued | None:
    """Takes the attempt that has waited longest off the queue; None when none waits.

    First it takes over what other builders have left: running attempts, not among the caller's own, whose lease is
    over. They end as interrupted and are queued once more.
    """
    for attempt in tx.many(q.expired_attempts, AttemptRow, now=tx.now):
        if attempt.id not in own:
            _stop(tx, attempt, attempt.log_bytes)
    queued = tx.one(q.next_queued, Queued)
    if queued is None or not tx.exec(q.start_attempt, id=queued.id, now=tx.now, lease_until=lease_until):
        return None
    tx.notify(CHANGED, queued.package_id)
    return queued


def renew_lease(tx: Tx, attempt_id: int, lease_until: str) -> bool:
    """Says that the attempt is still being built; False when it is no longer running."""
    return bool(tx.exec(q.renew_lease, id=attempt_id, lease_until=lease_until))


def succeed(tx: Tx, attempt_id: int, store_path: str, closure_bytes: int, log_bytes: int) -> bool:
    """The build has ended well and its path is rooted: the package is downloaded.

    False when a cancel was acknowledged meanwhile: then nothing is changed, the path is to be let go, and `stop` is to
    be called.
    """
    attempt = tx.one(q.attempt_by_id, AttemptRow, id=attempt_id)
    if attempt is not None and attempt.cancel_requested and attempt.finished_at is None:
        return False
    if attempt is None or not _end(tx, attempt, "succeeded", exit_code=0, log_bytes=log_bytes):
        return True
    tx.exec(q.end_download, id=attempt.package_id, store_path=store_path, closure_bytes=closure_bytes, now=tx.now)
    audit.record(tx, APPLIANCE, "packages.downloaded", f"packages/{attempt.package_id}")
    return True


def fail(tx: Tx, attempt_id: int, failure: str, detail: str, exit_code: int | None, log_bytes: int) -> None:
    """The build has failed, and so has the package; unless a cancel was acknowledged meanwhile."""
    attempt = tx.one(q.attempt_by_id, AttemptRow, id=attempt_id)
    if attempt is not None and attempt.cancel_requested:
        _stop(tx, attempt, log_bytes)
        return
    if attempt is None or not _end(
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
        if _end(tx, attempt, "cancelled", log_bytes=log_bytes):
            tx.exec(q.undo_download, id=attempt.package_id, now=tx.now)
            audit.record(tx, APPLIANCE, "packages.cancelled", f"packages/{attempt.package_id}")
        return
    interruptions = attempt.interruptions + 1
    detail = None
    if interruptions >= MOST_INTERRUPTIONS:
        detail = f"The service stopped {interruptions} times in a row while this was being built."
    if not _end(tx, attempt, "interrupted", failure="interrupted", failure_detail=detail, log_bytes=log_bytes):
        return
    if detail is None:
        _queue(tx, attempt.package_id, interruptions=interruptions, queued_by=None)
    else:
        _fail_package(tx, attempt.package_id, "interrupted", detail)


def running(tx: Tx) -> list[int]:
    """The ids of the attempts that are being built, or were when the service died."""
    return [attempt.id for attempt in tx.many(q.running_attempts, AttemptRow)]


def interrupt_running(tx: Tx, log_bytes: Mapping[int, int]) -> int:
    """At the start: whatever a former life of the service was building is stopped by now. Returns how many.

    `log_bytes` holds the size of each one's log.
    """
    found = tx.many(q.running_attempts, AttemptRow)
    for attempt in found:
        _stop(tx, attempt, log_bytes.get(attempt.id, 0))
    return len(found)


def existing(tx: Tx, attempt_ids: Sequence[int]) -> set[int]:
    """Those of the ids that are attempts."""
    return {row.id for row in tx.many(q.existing_attempts, RowId, ids=to_json(attempt_ids))}
