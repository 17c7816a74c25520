"""Access tokens over HTTP: /api/v1/tokens."""

from starlette.requests import Request
from starlette.responses import Response

from app.tokens import service
from app.tokens.structs import NewToken, Token, TokenCreate
from app.web.access import actor, credential, database, location, route
from app.web.codec import body, respond
from app.web.paging import Paging, numbered

STRANGERS_BODY_BYTES = 4096
"""What a caller without a token may make the service hold in memory."""


async def index(request: Request) -> Response:
    db, who = database(request), actor(request)
    return await numbered(
        request,
        rows=lambda after, limit: db.read(service.page, who, after=after, limit=limit),
        total=lambda: db.read(service.count, who),
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
    caller = credential(request)
    local = caller.local or request.app.state.config.claim_from == "any"
    made = await database(request).write(service.claim, caller.call, new, local=local)
    return respond(made, 201, location(request, f"/tokens/{made.id}"))


async def show(request: Request) -> Response:
    return respond(await database(request).read(service.get, actor(request), request.path_params["id"]))


async def revoke(request: Request) -> Response:
    await database(request).write(service.revoke, actor(request), request.path_params["id"])
    return respond({})


async def revoke_others(request: Request) -> Response:
    await database(request).write(service.revoke_others, actor(request))
    return respond({})


ROUTES = (
    route("GET", "/tokens", index, "tokens:read", query=Paging, answer=list[Token]),
    route("POST", "/tokens", create, "tokens:write", body=TokenCreate, answer=NewToken, status=201, anonymous=True),
    route("DELETE", "/tokens/all", revoke_others, "tokens:write"),
    route("GET", "/tokens/{id}", show, "tokens:read", answer=Token),
    route("DELETE", "/tokens/{id}", revoke, "tokens:write"),
)
