"""What pkgctl reads of the service's answers; what else they hold is shown as it is, or not at all."""

import msgspec


class Package(msgspec.Struct, frozen=True):
    """What pkgctl reads of a package."""

    id: int
    name: str
    version: str
    status: str
    failure: str | None = None
    failure_detail: str | None = None


class Started(msgspec.Struct, frozen=True):
    """The answer to a download; `attempt` is None when nothing had to be started."""

    status: str
    attempt: int | None = None


class Switched(msgspec.Struct, frozen=True):
    """The answer to an activation or a rollback: the version that is active now."""

    version: str


class Created(msgspec.Struct, frozen=True):
    """The answer to a creation, the only time the secret is told."""

    token: str
    id: int | None = None
    expires_at: str | None = None
