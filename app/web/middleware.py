"""The layers around everything: what a call says about itself, and which pages of other origins may read answers."""

import re
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.actor import Call
from app.errors import Invalid
from app.logs import request_id
from app.values import Network, address, new_request_id
from app.web.access import COMMON, Credential
from app.web.codec import Reply
from app.web.problems import problem

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}\Z")
_PROXIED = frozenset({b"forwarded", b"x-forwarded-for", b"via", b"origin"})
_LOOPBACK = frozenset({"127.0.0.1", "::1"})


class Reception:
    """Plain ASGI middleware, the outermost: gives every request an id and puts a `Credential` into its scope."""

    def __init__(self, app: ASGIApp, trusted_proxies: Sequence[Network] = ()) -> None:
        self.app = app
        self._trusted = tuple(trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["credential"] = self._read(scope)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "no websockets here"})
            return
        await self.app(scope, receive, send)

    def _read(self, scope: Scope) -> Credential:
        secret: str | None = None
        given_id = b""
        length: int | None = 0
        direct = True
        forwarded: list[str] = []
        for name, value in scope["headers"]:
            if name == b"authorization":
                secret = _secret(value)
            elif name == b"content-length":
                length = int(value) if value.isdigit() and len(value) < 19 else None
            elif name == b"transfer-encoding":
                length = None
            elif name == b"x-request-id":
                given_id = value
            elif name in _PROXIED:
                direct = False
                if name == b"x-forwarded-for":
                    forwarded += value.decode("latin-1").split(",")
        client = scope.get("client")
        ip = client[0] if client else ""
        local = direct and (not client or ip in _LOOPBACK or _is_loopback(ip))
        if forwarded and self._trusted:
            ip = walk(ip, forwarded, self._trusted)
        number = given_id.decode() if _REQUEST_ID.match(given_id) else new_request_id()
        request_id.set(number)
        return Credential(Call(number, ip, scope["method"], _told(scope["path"])), secret, local, length)


class Cors(CORSMiddleware):
    """Starlette's, but what it answers by itself has the headers of every answer, and a refusal its shape."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """Whether a page of another origin may make the call that its browser asks about."""
        theirs = super().preflight_response(request_headers)
        number = request_id.get()
        refusal = None if theirs.status_code == 200 else Invalid(f"{bytes(theirs.body).decode()}.")
        ours = problem(refusal, number) if refusal else Reply(b"", 204)
        ours.raw_headers += [*COMMON, (b"x-request-id", number.encode())]
        ours.raw_headers += [header for header in theirs.raw_headers if not header[0].startswith(b"content-")]
        return ours


def _told(path: str) -> str:
    """A path as it may be told of: what follows `/shared/` is the secret of a link, wherever such a call ends."""
    before, shared, _ = path.partition("/shared/")
    return path if not shared else f"{before}{shared}…"


def _secret(header: bytes) -> str | None:
    """The credential of an Authorization header, `Token` and `Bearer` alike; another scheme counts as a bad one."""
    scheme, _, secret = header.decode("latin-1").partition(" ")
    if not scheme:
        return None
    return secret.strip() if scheme.lower() in ("token", "bearer") else ""


def _is_loopback(ip: str) -> bool:
    try:
        return address(ip).is_loopback
    except ValueError:
        return False


def walk(peer: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """The client's address: from the right, past the proxies that are trusted, to the first address that is not."""
    found = peer
    for hop in (*reversed(forwarded), None):
        try:
            hop_address = address(found)
        except ValueError:
            return peer
        if hop is None or not any(hop_address in network for network in trusted):
            return found
        found = hop.strip()
    return found
