"""Packages, attempts and activations: on the wire and in the tables."""

from typing import Annotated, Literal

import msgspec

from app.values import Paging

NAME = r"^[A-Za-z0-9][A-Za-z0-9+._-]{0,99}$(?!\n)"
# Semantic Versioning 2.0.0, https://semver.org, with an optional patch part: `2.10` is a real version in nixpkgs.
_NUMBER = r"(?:0|[1-9][0-9]*)"
_PRE = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
VERSION = (
    rf"^{_NUMBER}\.{_NUMBER}(?:\.{_NUMBER})?(?:-{_PRE}(?:\.{_PRE})*)?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?$(?!\n)"
)

Name = Annotated[
    str,
    msgspec.Meta(
        max_length=100,
        pattern=NAME,
        description="a letter or digit, then up to 99 letters, digits or any of + . _ -",
    ),
]
Version = Annotated[
    str,
    msgspec.Meta(
        max_length=100,
        pattern=VERSION,
        description="a semantic version such as 2.1.0, 2.10 or 1.0.0-rc.1, without leading zeros",
    ),
]
Status = Literal["created", "downloading", "downloaded", "activated", "failed"]
AttemptStatus = Literal["queued", "running", "succeeded", "failed", "cancelled", "interrupted"]


class PackageCreate(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A name and version to be known to the appliance."""

    name: Name
    version: Version


class PackageFilter(Paging, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Which packages a list shows. `q` is found anywhere in the name, without regard to case."""

    name: Name | None = None
    status: Status | None = None
    q: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] | None = None
    sort: Literal["name", "-name", "created_at", "-created_at"] = "created_at"


class PackageRow(msgspec.Struct, frozen=True, gc=False):
    """A row of `packages`."""

    id: int
    name: str
    version: str
    status: Status
    store_path: str | None
    closure_bytes: int | None
    failure: str | None
    failure_detail: str | None
    created_at: str
    updated_at: str
    downloaded_at: str | None
    activated_at: str | None
    revision: int


class Package(msgspec.Struct, frozen=True, gc=False):
    """A package as it is shown; its revision is the ETag."""

    id: int
    name: str
    version: str
    status: Status
    store_path: str | None
    closure_bytes: int | None
    failure: str | None
    failure_detail: str | None
    active: bool
    created_at: str
    updated_at: str
    downloaded_at: str | None
    activated_at: str | None


def shown(row: PackageRow) -> Package:
    """The row as it is shown."""
    return Package(
        row.id,
        row.name,
        row.version,
        row.status,
        row.store_path,
        row.closure_bytes,
        row.failure,
        row.failure_detail,
        row.status == "activated",
        row.created_at,
        row.updated_at,
        row.downloaded_at,
        row.activated_at,
    )


class AttemptRow(msgspec.Struct, frozen=True, gc=False):
    """A row of `package_attempts`."""

    id: int
    package_id: int
    number: int
    status: AttemptStatus
    failure: str | None
    failure_detail: str | None
    exit_code: int | None
    log_bytes: int
    interruptions: int
    cancel_requested: bool
    queued_at: str
    started_at: str | None
    finished_at: str | None


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """A download attempt as it is shown. `log_bytes` is final once it has finished."""

    number: int
    status: AttemptStatus
    failure: str | None
    failure_detail: str | None
    exit_code: int | None
    queued_at: str
    started_at: str | None
    finished_at: str | None
    log_bytes: int


def attempt_shown(row: AttemptRow) -> Attempt:
    """The row as it is shown."""
    return Attempt(
        row.number,
        row.status,
        row.failure,
        row.failure_detail,
        row.exit_code,
        row.queued_at,
        row.started_at,
        row.finished_at,
        row.log_bytes,
    )


class StatusEvent(msgspec.Struct, frozen=True):
    """What a `status` event tells: an attempt has got to this status, and the package with it, at this instant.

    `failure`, `failure_detail` and `exit_code` are null until it has ended, and unless they say something then.
    """

    attempt: int
    status: AttemptStatus
    package_status: Status
    failure: str | None
    failure_detail: str | None
    exit_code: int | None
    at: str


class LogEvent(msgspec.Struct, frozen=True):
    """What a `log` event tells: the text that begins at this byte of an attempt's log, in whole lines as a rule."""

    attempt: int
    offset: int
    text: str


def status_events(row: AttemptRow) -> list[StatusEvent]:
    """The statuses that an attempt has had so far, in order; its row holds all of them."""
    told = [StatusEvent(row.number, "queued", "downloading", None, None, None, row.queued_at)]
    if row.started_at is not None:
        told.append(StatusEvent(row.number, "running", "downloading", None, None, None, row.started_at))
    if row.finished_at is not None:
        package = "failed" if row.failure_detail is not None else _AFTER[row.status]
        end = StatusEvent(
            row.number, row.status, package, row.failure, row.failure_detail, row.exit_code, row.finished_at
        )
        told.append(end)
    return told


# Beside the last of several interruptions: it says what happened to the package, in `failure_detail`.
_AFTER: dict[AttemptStatus, Status] = {
    "succeeded": "downloaded",
    "failed": "failed",
    "cancelled": "created",
    "interrupted": "downloading",
}


class EventsQuery(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Behind which event a stream begins; the header Last-Event-ID, which browsers send, counts before it."""

    since: Annotated[str, msgspec.Meta(max_length=40)] | None = None


class RowId(msgspec.Struct, frozen=True):
    """The id of a row, where nothing else of it is wanted."""

    id: int


class StorePath(msgspec.Struct, frozen=True):
    """What a package has in the store, where nothing else of it is wanted."""

    store_path: str


class Queued(msgspec.Struct, frozen=True):
    """An attempt that waits to be built, with what is to be built."""

    id: int
    package_id: int
    number: int
    name: str
    version: str


class Download(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to a download: the package's status and the attempt that is live; no attempt when none is needed."""

    status: Status
    id: int
    name: str
    version: str
    attempt: int | None = None
    attempt_status: AttemptStatus | None = None


class Cancelling(msgspec.Struct, frozen=True):
    """The answer to a cancel."""

    status: Literal["cancelling"]
    id: int
    attempt: int


class ActivationRow(msgspec.Struct, frozen=True):
    """A row of `package_activations`."""

    id: int
    name: str
    kind: Literal["activate", "rollback"]
    status: Literal["switching", "done", "undone"]
    from_package_id: int | None
    from_version: str | None
    to_package_id: int | None
    to_version: str
    store_path: str
    generation: int | None
    popped: bool
    actor_id: int | None
    actor_name: str
    started_at: str
    finished_at: str | None


class Activation(msgspec.Struct, frozen=True):
    """One switch of a profile as it is shown. Ids are null where the version was deleted since."""

    id: int
    kind: Literal["activate", "rollback"]
    status: Literal["switching", "done", "undone"]
    from_id: int | None
    from_version: str | None
    to_id: int | None
    to_version: str
    generation: int | None
    by: str
    started_at: str
    finished_at: str | None


def activation_shown(row: ActivationRow) -> Activation:
    """The row as it is shown."""
    return Activation(
        row.id,
        row.kind,
        row.status,
        row.from_package_id,
        row.from_version,
        row.to_package_id,
        row.to_version,
        row.generation,
        row.actor_name,
        row.started_at,
        row.finished_at,
    )


class Activated(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer to an activation or a rollback: what the profile now points at. `from_id` only after a rollback."""

    status: Literal["activated"]
    id: int
    name: str
    version: str
    profile: str
    store_path: str
    generation: int
    previous_id: int | None
    from_id: int | msgspec.UnsetType = msgspec.UNSET


class StackEntry(msgspec.Struct, frozen=True):
    """An entry of a name's stack of activations: its id and the version it activated."""

    id: int
    package_id: int


class LogQuery(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Which log, and from which byte on."""

    attempt: Annotated[int, msgspec.Meta(ge=1, le=10**9)] | None = None
    offset: Annotated[int, msgspec.Meta(ge=0, le=2**62)] | None = None
