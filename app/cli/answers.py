"""What pkgctl reads of the service's answers; what else they hold is shown as it is, or not at all."""

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from app.cli.outcomes import NotPurser

T = TypeVar("T")

Secret = Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,4096}$(?!\n)")]
"""What may stand in a header: nothing that a header or a terminal could act upon."""


def read(document: bytes | msgspec.Raw, kind: type[T], what: str) -> T:
    """Returns the JSON document as a `kind`; NotPurser, naming `what` it was to be, when it is something else."""
    try:
        return msgspec.json.decode(document, type=kind)
    except (ValueError, RecursionError):
        raise NotPurser(f"{what} is not the JSON that was expected") from None


class Package(msgspec.Struct, frozen=True):
    """What pkgctl reads of a package."""

    id: int
    name: str
    version: str


class Started(msgspec.Struct, frozen=True):
    """The answer to a download; `attempt` is None when nothing had to be started."""

    status: str
    name: str
    version: str
    attempt: int | None = None


class Attempt(msgspec.Struct, frozen=True):
    """What pkgctl reads of an attempt."""

    number: int


class StatusEvent(msgspec.Struct, frozen=True):
    """What pkgctl reads of a `status` event: how far an attempt has got, and the package with it."""

    status: str
    package_status: str
    failure: str | None = None
    failure_detail: str | None = None


class LogEvent(msgspec.Struct, frozen=True):
    """What pkgctl reads of a `log` event: the text that begins at this byte of the log."""

    offset: int
    text: str


class EndEvent(msgspec.Struct, frozen=True):
    """The last event of a stream."""

    reason: str


class Switched(msgspec.Struct, frozen=True):
    """The answer to an activation or a rollback: the version that is active now."""

    version: str


class Created(msgspec.Struct, frozen=True):
    """The answer to a creation, the only time the secret is told."""

    token: str
    id: int | None = None
    expires_at: str | None = None


class Pair(msgspec.Struct, frozen=True):
    """The answer to a refresh; `expires_in` is in seconds."""

    access_token: Secret
    refresh_token: Secret
    expires_in: Annotated[int, Meta(ge=1, le=10**9)]


class SignedIn(Pair, frozen=True):
    """The answer to signing in; `user` as the service wrote it."""

    user: msgspec.Raw


class Account(msgspec.Struct, frozen=True):
    """What pkgctl reads of an account."""

    id: int
    username: str
    roles: list[str]


class Limits(msgspec.Struct, frozen=True):
    """How many calls are taken of the caller."""

    requests_per_minute: int
    remaining: int


class Me(Account, frozen=True):
    """The caller, and the credential that it came with. `limits` None: any number of calls is taken."""

    name: str = ""
    email: str | None = None
    group: dict[str, object] | None = None
    scopes: list[str] | None = None
    token_id: int | None = None
    session_id: int | None = None
    limits: Limits | None = None


class Grant(msgspec.Struct, frozen=True):
    """A permission and how far it reaches."""

    permission: str
    reach: str


class Role(msgspec.Struct, frozen=True):
    """What pkgctl reads of a role."""

    id: int
    name: str
    permissions: list[Grant]


class Token(msgspec.Struct, frozen=True):
    """What pkgctl reads of a token."""

    id: int
    allowed_ips: list[str] | None


class Logs(msgspec.Struct, frozen=True):
    """A page of the calls with a token, each as the service wrote it."""

    logs: list[msgspec.Raw]


class Named(msgspec.Struct, frozen=True):
    """What pkgctl reads of a group or a team."""

    id: int
    name: str


class TeamMembers(msgspec.Struct, frozen=True):
    """Who is in a team."""

    members: list[dict[str, object]]


class Granting(Grant, frozen=True):
    """A role that grants what was asked for."""

    role: str


class Explanation(msgspec.Struct, frozen=True):
    """Whether somebody may do something, and why, or why not. `scopes` are those of the token that was asked about."""

    username: str
    permission: str
    allowed: bool
    missing: list[str]
    roles: list[Granting]
    reach: str | None = None
    token_id: int | None = None
    scopes: list[str] | None = None


class Mail(msgspec.Struct, frozen=True):
    """A message in the outbox."""

    to: str
    subject: str
    text: str
    expires_at: str


class AuditRow(msgspec.Struct, frozen=True):
    """What pkgctl reads of a row of the audit trail."""

    id: int
    at: str
    authorized: bool
    request_id: str | None = None
    actor_id: int | None = None
    actor_name: str | None = None
    token_id: int | None = None
    session_id: int | None = None
    ip: str | None = None
    method: str | None = None
    path: str | None = None
    route: str | None = None
    status: int | None = None
    reason: str | None = None
    action: str | None = None
    target: str | None = None


class Document(msgspec.Struct, frozen=True):
    """What pkgctl reads of a document, or of what it was."""

    title: str
    content: str
    id: int | None = None


class Shared(msgspec.Struct, frozen=True):
    """A new share; `url`, which is told this once, is None where it has no link."""

    id: int
    url: str | None = None
    expires_at: str | None = None


class Deleted(msgspec.Struct, frozen=True):
    """How many are gone."""

    deleted_count: int


class Storage(msgspec.Struct, frozen=True):
    """What an account keeps and may keep, in bytes."""

    used: int
    total: int
    percentage: float
    by_type: dict[str, int]


class Folder(msgspec.Struct, frozen=True):
    """A folder of a tree; `children` are the places of those that lie in it."""

    id: int
    name: str
    children: list[int]


class Located(msgspec.Struct, frozen=True):
    """Where a folder lies: its name behind those of the folders around it."""

    path: str


class Shares(msgspec.Struct, frozen=True):
    """Who else has a document."""

    shares: list[dict[str, object]]


class FcsFile(msgspec.Struct, frozen=True):
    """What pkgctl reads of a flow-cytometry file."""

    file_id: int
    filename: str
    warnings: list[str]


class FcsUpload(msgspec.Struct, frozen=True):
    """How far an upload in chunks has come; `missing` names some of the chunks that have not."""

    id: int
    filename: str
    file_size: int
    chunk_size: Annotated[int, Meta(ge=1)]
    uploaded_bytes: int
    status: str
    expires_at: str
    missing: list[int] | None = None


class FcsAmplification(msgspec.Struct, frozen=True):
    """How a logarithmic amplifier made the values."""

    decades: float
    offset: float


class FcsParameter(msgspec.Struct, frozen=True):
    """What pkgctl reads of a parameter."""

    index: int
    pnn: str
    pns: str
    display: str
    datatype: str
    range: int | float | None = None
    bits: int | None = None
    amplification: FcsAmplification | None = None
    gain: float | None = None


class FcsParameters(msgspec.Struct, frozen=True):
    """What was measured."""

    file_id: int
    parameters: list[FcsParameter]


class FcsMeasured(msgspec.Struct, frozen=True):
    """The parameters of a file as the service wrote them."""

    parameters: msgspec.Raw


class FcsKeywords(msgspec.Struct, frozen=True):
    """The keywords of a file; `hidden` are those whose values the caller may not see."""

    keywords: dict[str, str]
    hidden: list[str]


class FcsStatistics(msgspec.Struct, frozen=True):
    """The statistics of each parameter."""

    statistics: list[dict[str, object]]


class FcsEvents(msgspec.Struct, frozen=True):
    """Events: for each the values by the names of the parameters."""

    total_events: int
    events: list[dict[str, object]]
