"""The guard on the route line: who calls, may they, what the handler answered, and the audit of it all."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.actor import Call, Identity
from app.errors import TOKEN_REQUIRED, Forbidden, Invalid, PurserError, TooMany, Unauthorized
from app.permissions import Reach, reaches
from app.values import Quota, unix
from app.web.codec import BODY_LIMIT_BYTES, ClientGone, Header, Reply, no_query, raw_body, too_large
from app.web.problems import internal, problem
from app.web.router import starlette_path

log = logging.getLogger("purser.web")

Handler = Callable[[Request], Awaitable[Response]]

PUBLIC = "PUBLIC"
SIGNED_IN = "SIGNED_IN"
COMMON: tuple[Header, ...] = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
CLIENT_GONE = 499
"""The status in the trail of a call whose client left before it was read: nginx's number, never sent."""
_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class RouteLine(msgspec.Struct, frozen=True):
    """One line of a room's table of contents: what is called, what it takes and answers, and who may."""

    method: str
    path: str
    handler: Handler
    permission: str
    reach: Reach = "own"
    body: Any = None
    """The struct of the body; None: it takes none, and a body other than `{}` is refused."""
    query: Any = None
    """The struct of the query string; None: any parameter is refused."""
    answer: Any = None
    status: int = 200
    form: Any = None
    """The struct of a form-encoded body, whose unknown fields are ignored."""
    scope: str | None = None
    """On a SIGNED_IN route: the scope that an access token needs; None: any token will do."""
    refuse: "Callable[[PurserError, str], Reply]" = problem
    """How a refusal is told, by default as problem+json; it takes the error and the request id."""
    anonymous: bool = False
    """True: a call without a credential is let through to the handler, which judges for itself."""
    recorded: bool = True
    """Of a route that changes something; False: a success writes no row of the trail, so that the call leaves one."""
    streams: bool = False
    """True: the handler reads a body of any size by itself, and asks again who calls (`ask_again`) when it is there."""
    limited: bool = True
    """False: calls are not counted against anybody's rate limit; for probes."""


def route(method: str, path: str, handler: Handler, permission: str, **more: Any) -> RouteLine:
    """A route line; `more` are RouteLine's further fields."""
    return RouteLine(method, path, handler, permission, **more)


def alike(methods: str, path: str, handler: Handler, permission: str, **more: Any) -> tuple[RouteLine, ...]:
    """A line for each of the methods, which are words in a text."""
    return tuple(RouteLine(method, path, handler, permission, **more) for method in methods.split())


ACTION = "POST PATCH PUT"
"""The methods of a path that names an action."""


def under(prefix: str, *tables: Sequence[RouteLine]) -> tuple[RouteLine, ...]:
    """The lines of these tables with their paths below a prefix."""
    return tuple(msgspec.structs.replace(line, path=prefix + line.path) for table in tables for line in table)


class Credential(msgspec.Struct, gc=False):
    """What a call said about itself, as the middleware read it from the headers."""

    call: Call
    secret: str | None = None
    """The text after `Token ` or `Bearer `."""
    local: bool = False
    """True for a loopback or Unix socket peer with nothing in between."""
    content_length: int | None = 0
    """None: a body of unknown length follows."""
    token_id: int | None = None
    """A token that was recognised and is refused; None also for one nobody was ever given."""
    session_id: int | None = None
    """A session that was recognised and is refused."""
    shown_at: float | None = None
    """When it was shown, where a call may outlast it: what was good then is asked for as of then. None: now."""


class Desk(Protocol):
    """What the guard needs from the rooms; `app.main` hands it over."""

    def known(self, credential: Credential) -> Identity | None:
        """The identity when it is cached and holds here."""

    async def identify(self, credential: Credential) -> Identity:
        """Looks the caller up, and notes a token that does not hold.

        Unauthorized says why not; Forbidden that the token is not to be used from this address.
        """

    def counted(self, credential: Credential, who: Identity | None) -> Quota | None:
        """Counts a call against the rate limit of who made it, or where it came from; None: there is no limit."""

    async def about_to_change(self) -> None:
        """Hears of every call that may change something, before it does."""

    def seen(self, credential: Credential, who: Identity | None, status: int, refusal: PurserError | None) -> None:
        """Hears of every call that carried a credential, but successful changes, whose row is in their transaction."""


class Guarded(Route):
    """A Starlette route whose endpoint is an ASGI object: guard, handler, answer, audit."""

    def __init__(self, line: RouteLine, desk: Desk) -> None:
        super().__init__(starlette_path(line.path), Endpoint(line, desk), methods=[line.method], name=line.path)
        self.line = line


class Endpoint:
    """Serves one route line; every answer of the API leaves through here."""

    def __init__(self, line: RouteLine, desk: Desk) -> None:
        self.line = line
        self.desk = desk
        self._needs = {PUBLIC: None, SIGNED_IN: line.scope}.get(line.permission, line.permission)
        self._guarded = line.permission not in (PUBLIC, SIGNED_IN)
        self._changes = line.method not in ("GET", "HEAD", "*")
        self._records = self._changes and line.recorded
        self._takes_body = line.method in _WITH_BODY
        self._accepted: Header = (b"x-accepted-scopes", (self._needs or "").encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request. Only a failure to send what has begun is raised."""
        credential: Credential = scope["credential"]
        call = credential.call
        call.route = self.line.path
        call.status = self.line.status
        scope["identity"] = scope["quota"] = None
        refusal: PurserError | None = None
        try:
            response = await self._answer(Request(scope, receive, send), credential)
        except PurserError as error:
            refusal = error
            response = self.line.refuse(error, call.request_id)
        except ClientGone:
            if credential.secret is not None:
                self.desk.seen(credential, scope["identity"], CLIENT_GONE, None)
            return
        except Exception as error:
            log.error("internal error", exc_info=error, extra={"request_id": call.request_id, "route": call.route})
            response = self.line.refuse(internal(), call.request_id)
        who: Identity | None = scope["identity"]
        status = response.status_code
        told = refusal.keeps if refusal is not None else self._records and status < 400
        if credential.secret is not None and not told:
            self.desk.seen(credential, who, status, refusal)
        headers = response.raw_headers
        headers += COMMON
        headers.append((b"x-request-id", call.request_id.encode()))
        if who is not None:
            headers.append(self._accepted)
            if who.token_id is not None:
                headers.append((b"x-token-expires", (who.expires_at or "never").encode()))
        quota: Quota | None = scope["quota"]
        if quota is not None:
            headers.append((b"ratelimit-limit", b"%d" % quota.limit))
            headers.append((b"ratelimit-remaining", b"%d" % quota.remaining))
            headers.append((b"ratelimit-reset", b"%d" % quota.reset_s))
        await response(scope, receive, send)

    async def _answer(self, request: Request, credential: Credential) -> Response:
        line = self.line
        secret = credential.secret
        if line.streams:
            credential.shown_at = unix()
        stranger = None if secret is None else await self._identify(request, credential)
        if line.limited:
            self._count(request, credential)
        if line.permission != PUBLIC:
            if stranger is not None:
                raise stranger
            self._guard(request.scope["identity"], secret)
        if self._takes_body and credential.content_length != 0 and not line.streams:
            await self._hear_out(request, credential)
        if line.query is None and request.scope["query_string"]:
            no_query(request)
        if self._changes:
            await self.desk.about_to_change()
        return await line.handler(request)

    async def _identify(self, request: Request, credential: Credential) -> Unauthorized | Forbidden | None:
        """Finds out who calls; returns why nobody was let in."""
        try:
            request.scope["identity"] = await self._who(credential)
        except (Unauthorized, Forbidden) as error:
            return error
        return None

    async def _who(self, credential: Credential) -> Identity:
        """Whose a credential is; Unauthorized or Forbidden where nobody is let in by it."""
        return self.desk.known(credential) or await self.desk.identify(credential)

    def _count(self, request: Request, credential: Credential) -> None:
        """Counts the call; TooMany when it is beyond the caller's limit."""
        quota = request.scope["quota"] = self.desk.counted(credential, request.scope["identity"])
        if quota is not None and not quota.taken:
            raise TooMany(
                f"Too many calls: {quota.limit} a minute are taken; try again in {quota.reset_s} s.",
                retry_after_s=quota.reset_s,
            )

    async def still_allows(self, credential: Credential) -> bool:
        """Whether the caller, who was let through once, would be again now."""
        secret = credential.secret
        if self.line.permission == PUBLIC:
            return True
        try:
            who = None if secret is None else await self._who(credential)
            self._guard(who, secret)
        except (Unauthorized, Forbidden):
            return False
        return True

    def _guard(self, who: Identity | None, secret: str | None) -> None:
        if who is None:
            if self.line.anonymous and secret is None:
                return
            raise Unauthorized(TOKEN_REQUIRED)
        required = self._needs
        if required is None or (not self._guarded and who.token_id is None):
            return
        reach = who.permissions.reach(required)
        if reach is None or not reaches(reach, self.line.reach):
            held = who.permissions.held()
            raise Forbidden(f"This needs {required}.", required=[required], reach=self.line.reach, held=held)

    async def _hear_out(self, request: Request, credential: Credential) -> None:
        """Refuses a body over the limit before it is read, and any body on a route that takes none.

        Of somebody who was let in it is read here, and then asked again who calls: it may have been held back until the
        caller was somebody else.
        """
        length, line, known = credential.content_length, self.line, request.scope["identity"]
        if length is not None and length > BODY_LIMIT_BYTES:
            raise too_large(BODY_LIMIT_BYTES)
        takes_none = line.body is line.form is None
        if not takes_none and (known is None or line.permission == PUBLIC):
            return
        request.scope["body"] = content = await raw_body(request)
        if takes_none and content.strip() not in (b"", b"{}"):
            raise Invalid("This takes no body.")
        if known is not None:
            await self.ask_again(request)

    async def ask_again(self, request: Request) -> None:
        """Asks again who calls, and lets go on only who still may; for when a body has come that took its time."""
        credential, known = request.scope["credential"], request.scope["identity"]
        if self.line.permission == PUBLIC:
            return
        who = await self._who(credential)
        if who is not known:
            request.scope["identity"] = who
            self._guard(who, credential.secret)


def _endpoint(request: Request) -> Endpoint:
    return cast(Endpoint, request.scope["endpoint"])


async def still_allowed(request: Request) -> bool:
    """Whether the caller may still have what this request is answered with: for answers that last."""
    return await _endpoint(request).still_allows(request.scope["credential"])


async def ask_again(request: Request) -> None:
    """Asks again who calls: for a handler that has read a body by itself. Unauthorized or Forbidden as at first."""
    await _endpoint(request).ask_again(request)
