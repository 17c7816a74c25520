"""What a handler asks of its request: who acts, on which database, in which revision, where the answer will lie."""

from typing import cast

from starlette.requests import Request

from app.actor import Actor, Identity
from app.db import Database
from app.errors import PreconditionFailed
from app.passwords import Passwords
from app.values import Quota, source_of
from app.web.access import Credential
from app.web.codec import Header


def database(request: Request) -> Database:
    """The application's database."""
    return cast(Database, request.app.state.db)


def actor(request: Request) -> Actor:
    """Who acts in this request; only for handlers behind a guard that lets nobody through unknown."""
    return Actor(cast(Identity, request.scope["identity"]), request.scope["credential"].call)


def item(request: Request) -> int:
    """The id in the path."""
    return cast(int, request.path_params["id"])


def caller(request: Request) -> str:
    """Where a call counts when callers share something scarce: its address, of IPv6 the /64 network."""
    return source_of(request.scope["credential"].call.ip)


def is_local(request: Request) -> bool:
    """Whether a call may claim the appliance: made on it, or CLAIM_FROM lets anybody."""
    return credential(request).local or request.app.state.config.claim_from == "any"


def passwords(request: Request) -> Passwords:
    """Hashes and verifies passwords, off the event loop."""
    return cast(Passwords, request.app.state.passwords)


def quota(request: Request) -> Quota | None:
    """What the caller may still ask; None: any number."""
    return cast("Quota | None", request.scope["quota"])


async def settled_trail(request: Request) -> None:
    """Returns when the calls that have ended are in the audit trail, for whoever is about to read it."""
    await request.app.state.trail.settle()


def credential(request: Request) -> Credential:
    """What the call said about itself: for the few handlers that judge an anonymous caller."""
    return cast(Credential, request.scope["credential"])


def if_match(request: Request) -> int | None:
    """The revision that If-Match demands; None when it demands none. PreconditionFailed for what is no revision."""
    wanted = request.headers.get("if-match")
    if wanted is None or wanted.strip() == "*":
        return None
    text = wanted.strip().removeprefix("W/").strip('"')
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise PreconditionFailed("If-Match names no revision of this resource.")
    return int(text)


def etag(revision: int) -> Header:
    """The ETag header of a resource: its revision."""
    return (b"etag", b'"%d"' % revision)


def address(request: Request, path: str) -> str:
    """The path of something under the API, where the application is mounted."""
    return f"{request.scope.get('root_path', '')}/api/v1{path}"


def location(request: Request, path: str) -> Header:
    """The Location header of something under the API."""
    return (b"location", address(request, path).encode())


def user_quota_bytes(request: Request) -> int:
    """How much an account may keep."""
    return cast(int, request.app.state.config.user_quota_bytes)
