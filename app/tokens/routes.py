"""Access tokens over HTTP: /api/v1/tokens."""

from starlette.requests import Request
from starlette.responses import Response

from app.tokens import service
from app.tokens.structs import AllowedIps, Logs, NewToken, Regenerate, Token, TokenCreate, TokenFilter
from app.web.access import route
from app.web.asked import actor, credential, database, is_local, item, location, settled_trail
from app.web.codec import body, query, respond
from app.web.paging import Paging, cut, listing, position

STRANGERS_BODY_BYTES = 4096
"""What a caller without a token may make the service hold in memory."""


async def index(request: Request) -> Response:
    wanted = query(request, TokenFilter)
    after = position(request, wanted, int) or 0
    db, who = database(request), actor(request)
    return await listing(
        request,
        wanted,
        rows=lambda limit: db.read(service.page, who, wanted, after=after, limit=limit),
        total=lambda: db.read(service.count, who, wanted),
        at=lambda token: token.id,
    )


async def create(request: Request) -> Response:
    if request.scope["identity"] is None:
        return await _claim(request, await body(request, TokenCreate, STRANGERS_BODY_BYTES))
    new = await body(request, TokenCreate)
    made = await database(request).write(service.create, actor(request), new)
    return respond(made, 201, location(request, f"/tokens/{made.id}"))


async def _claim(request: Request, new: TokenCreate) -> Response:
    """The one call that needs no token: whoever sits at the appliance makes the first one."""
    call = credential(request).call
    made = await database(request).write(service.claim, call, new, local=is_local(request))
    return respond(made, 201, location(request, f"/tokens/{made.id}"))


async def show(request: Request) -> Response:
    return respond(await database(request).read(service.get, actor(request), item(request)))


async def revoke(request: Request) -> Response:
    await database(request).write(service.revoke, actor(request), item(request))
    return respond({})


async def revoke_others(request: Request) -> Response:
    await database(request).write(service.revoke_others, actor(request))
    return respond({})


async def regenerate(request: Request) -> Response:
    asked = await body(request, Regenerate)
    return respond(await database(request).write(service.regenerate, actor(request), item(request), asked))


async def set_allowed_ips(request: Request) -> Response:
    asked = await body(request, AllowedIps)
    return respond(await database(request).write(service.set_allowed_ips, actor(request), item(request), asked))


async def logs(request: Request) -> Response:
    paging = query(request, Paging)
    behind = position(request, paging, tuple[str, int])
    db, who, token_id = database(request), actor(request), item(request)
    await settled_trail(request)
    told = await db.read(service.logs, who, token_id, behind, paging.limit + 1)
    headers = cut(request, paging, told.calls, at=lambda call: call.place, total=told.total)
    return respond(Logs(token_id, told.token_name, told.total, [call.entry for call in told.calls]), 200, *headers)


ROUTES = (
    route("GET", "/tokens", index, "tokens:read", query=TokenFilter, answer=list[Token]),
    route("POST", "/tokens", create, "tokens:write", body=TokenCreate, answer=NewToken, status=201, anonymous=True),
    route("DELETE", "/tokens/all", revoke_others, "tokens:write"),
    route("GET", "/tokens/{id}", show, "tokens:read", answer=Token),
    route("DELETE", "/tokens/{id}", revoke, "tokens:write"),
    route("GET", "/tokens/{id}/logs", logs, "tokens:read", query=Paging, answer=Logs),
    route("POST", "/tokens/{id}/regenerate", regenerate, "tokens:write", body=Regenerate, answer=NewToken),
    route("PUT", "/tokens/{id}/allowed-ips", set_allowed_ips, "tokens:write", body=AllowedIps, answer=Token),
)
