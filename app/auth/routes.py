"""Signing in over HTTP: /api/v1/auth."""

import re
from typing import NamedTuple, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app.auth import recovery, service
from app.auth.authentication import Sessions
from app.auth.service import Opened
from app.auth.structs import (
    ChangePassword,
    Device,
    Forgot,
    Login,
    Logout,
    Pair,
    Refresh,
    ResetPassword,
    Session,
    SignedIn,
    TokenForm,
)
from app.errors import Invalid, PurserError
from app.passwords import check, outdated
from app.web.access import PUBLIC, SIGNED_IN, route
from app.web.asked import actor, caller, credential, database, item, passwords
from app.web.codec import Header, Reply, body, form, respond
from app.web.paging import Paging, numbered
from app.web.problems import STATUSES, refusal_headers

_MOST_AGENT = 200
_UNSPEAKABLE = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")  # in an error_description: RFC 6749, 5.2


def _sessions(request: Request) -> Sessions:
    return cast(Sessions, request.app.state.sessions)


def _device(request: Request) -> Device:
    agent = request.headers.get("user-agent", "")[:_MOST_AGENT]
    return Device(credential(request).call.ip, caller(request), "".join(filter(str.isprintable, agent)))


async def login(request: Request) -> Response:
    asked = await body(request, Login)
    names = [name for name in (asked.identifier, asked.email, asked.username) if name is not None]
    if len(names) != 1:
        raise Invalid.field("/identifier", "expected one of identifier, email and username")
    return respond(await _sign_in(request, names[0], asked.password))


async def _sign_in(request: Request, identifier: str, password: str) -> SignedIn:
    """Reads who it may be, verifies off the event loop, then opens the session: three steps, two transactions."""
    db, device, sessions = database(request), _device(request), _sessions(request)
    attempt = await db.read(service.begin, identifier, device, sessions.key)
    hashed = attempt.password_hash
    right = await passwords(request).verify(password, hashed, device.source)
    stronger = right and hashed is not None and outdated(hashed)
    rehashed = await passwords(request).hash(password, device.source) if stronger else None
    call, lasts_s = credential(request).call, sessions.refresh_expires_s
    opened, user = await db.write(service.sign_in, attempt, right, rehashed, device, call, lasts_s)
    return SignedIn(**msgspec.structs.asdict(_pair(sessions, opened)), user=user)


def _pair(sessions: Sessions, opened: Opened) -> Pair:
    return Pair(
        access_token=sessions.access_token(opened),
        refresh_token=opened.refresh_token,
        expires_in=sessions.access_expires_s,
    )


async def _refresh(request: Request, secret: str) -> Pair:
    sessions, call = _sessions(request), credential(request).call
    opened = await database(request).write(service.refresh, secret, _device(request), call, sessions.refresh_expires_s)
    return _pair(sessions, opened)


async def refresh(request: Request) -> Response:
    return respond(await _refresh(request, (await body(request, Refresh)).refresh_token))


async def token(request: Request) -> Response:
    """The token endpoint of OAuth 2: password grant and refresh (RFC 6749, 4.3 and 6)."""
    asked = await form(request, TokenForm)
    grant_type = asked.grant_type or ("password" if asked.username else "")
    pair: Pair
    if grant_type == "password" and asked.username and asked.password:
        signed_in = await _sign_in(request, asked.username, asked.password)
        pair = Pair(**{name: getattr(signed_in, name) for name in Pair.__struct_fields__})
    elif grant_type == "refresh_token" and asked.refresh_token:
        pair = await _refresh(request, asked.refresh_token)
    else:
        raise _BadGrant.of(grant_type)
    return respond(pair, 200, (b"pragma", b"no-cache"))


class _BadGrant(Invalid):
    """A token request that asks for no grant we have, or lacks what the grant needs."""

    @classmethod
    def of(cls, grant_type: str) -> "_BadGrant":
        if grant_type == "password":
            return cls("username and password are required.")
        if grant_type == "refresh_token":
            return cls("refresh_token is required.")
        if not grant_type:
            return cls("grant_type is required.")
        return cls("grant_type is password or refresh_token.", unsupported=True)


class _Refusal(NamedTuple):
    error: str
    status: int


_BY_CODE = {
    "VALIDATION_ERROR": _Refusal("invalid_request", 400),
    "UNSUPPORTED_MEDIA_TYPE": _Refusal("invalid_request", 400),
    "UNAUTHORIZED": _Refusal("invalid_grant", 400),
    "FORBIDDEN": _Refusal("invalid_grant", 400),
    "TOO_MANY_REQUESTS": _Refusal("temporarily_unavailable", 429),
}


def oauth_refusal(error: PurserError, request_id: str) -> Reply:
    """A refusal as RFC 6749, 5.2 has it."""
    status = STATUSES[error.code][0]
    name, status = _BY_CODE.get(error.code, _Refusal("server_error" if status >= 500 else "invalid_request", status))
    if error.facts.get("unsupported"):
        name = "unsupported_grant_type"
    told = {"error": name, "error_description": _UNSPEAKABLE.sub("?", error.detail), "request_id": request_id}
    headers: list[Header] = [header for header in refusal_headers(error) if header[0] != b"www-authenticate"]
    return respond(told, status, (b"pragma", b"no-cache"), *headers)


async def logout(request: Request) -> Response:
    asked = await body(request, Logout)
    await database(request).write(service.sign_out, actor(request), everywhere=asked.all)
    return respond({})


async def change_password(request: Request) -> Response:
    asked = await body(request, ChangePassword)
    db, who, device = database(request), actor(request), _device(request)
    attempt = await db.read(service.begin_own, who, device)
    found = attempt.found
    if found is not None:
        check(asked.new_password, field="/new_password", email=found.email, username=found.username)
    right = await passwords(request).verify(asked.old_password, attempt.password_hash, device.source)
    hashed = await passwords(request).hash(asked.new_password, device.source) if right else None
    await db.write(service.change_password, who, attempt, right, hashed, device)
    return respond({})


async def forgot_password(request: Request) -> Response:
    asked = await body(request, Forgot)
    await database(request).write(recovery.ask, asked.email, credential(request).call.ip)
    return respond({}, 202)


async def reset_password(request: Request) -> Response:
    asked = await body(request, ResetPassword)
    given = [text for text in (asked.password, asked.new_password) if text is not None]
    if len(given) != 1:
        raise Invalid.field("/password", "required, once; new_password is the same")
    db, (password,) = database(request), given
    found = await db.read(recovery.holder, asked.token)
    check(password, field="/password", email=found.email, username=found.username)
    hashed = await passwords(request).hash(password, caller(request))
    await db.write(recovery.set_password, credential(request).call, asked.token, hashed)
    return respond({})


async def index(request: Request) -> Response:
    db, who = database(request), actor(request)
    return await numbered(
        request,
        rows=lambda after, limit: db.read(service.page, who, after=after, limit=limit),
        total=lambda: db.read(service.count, who),
        at=lambda session: session.id,
    )


async def end(request: Request) -> Response:
    await database(request).write(service.end, actor(request), item(request))
    return respond(None, 204)


ROUTES = (
    route("POST", "/auth/login", login, PUBLIC, body=Login, answer=SignedIn),
    route("POST", "/auth/token", token, PUBLIC, form=TokenForm, answer=Pair, refuse=oauth_refusal),
    route("POST", "/auth/refresh", refresh, PUBLIC, body=Refresh, answer=Pair),
    route("POST", "/auth/logout", logout, SIGNED_IN, scope="users:write", body=Logout, answer=dict),
    route(
        "POST",
        "/auth/change-password",
        change_password,
        SIGNED_IN,
        scope="users:write",
        body=ChangePassword,
        answer=dict,
    ),
    route(
        "POST", "/auth/forgot-password", forgot_password, PUBLIC, body=Forgot, answer=dict, status=202, recorded=False
    ),
    route("POST", "/auth/reset-password", reset_password, PUBLIC, body=ResetPassword, answer=dict),
    route("GET", "/auth/sessions", index, SIGNED_IN, scope="users:read", query=Paging, answer=list[Session]),
    route("DELETE", "/auth/sessions/{id}", end, SIGNED_IN, scope="users:write", status=204),
)
