"""Teams over HTTP: /api/v1/teams."""

from starlette.requests import Request
from starlette.responses import Response

from app.teams import service
from app.teams.structs import MemberAdd, Team, TeamCreate, TeamPatch, TeamWithMembers
from app.web.access import route
from app.web.asked import actor, database, etag, if_match, item, location
from app.web.codec import body, respond
from app.web.paging import Paging, numbered


async def index(request: Request) -> Response:
    db, who = database(request), actor(request)
    return await numbered(
        request,
        rows=lambda after, limit: db.read(service.page, who, after, limit),
        total=lambda: db.read(service.count, who),
        at=lambda team: team.id,
    )


async def create(request: Request) -> Response:
    new = await body(request, TeamCreate)
    team = await database(request).write(service.create, actor(request), new)
    return respond(team, 201, location(request, f"/teams/{team.id}"), etag(team.revision))


async def show(request: Request) -> Response:
    team = await database(request).read(service.get, actor(request), item(request))
    return respond(team, 200, etag(team.revision))


async def update(request: Request) -> Response:
    patch = await body(request, TeamPatch)
    team = await database(request).write(service.update, actor(request), item(request), patch, if_match(request))
    return respond(team, 200, etag(team.revision))


async def remove(request: Request) -> Response:
    await database(request).write(service.remove, actor(request), item(request), if_match(request))
    return respond(None, 204)


async def add_member(request: Request) -> Response:
    new = await body(request, MemberAdd)
    team = await database(request).write(service.add_member, actor(request), item(request), new, if_match(request))
    return respond(team, 201, location(request, f"/teams/{team.id}"), etag(team.revision))


async def remove_member(request: Request) -> Response:
    user_id: int = request.path_params["user_id"]
    revision = if_match(request)
    await database(request).write(service.remove_member, actor(request), item(request), user_id, revision)
    return respond(None, 204)


ROUTES = (
    route("GET", "/teams", index, "teams:read", query=Paging, answer=list[Team]),
    route("POST", "/teams", create, "teams:write", body=TeamCreate, answer=TeamWithMembers, status=201),
    route("GET", "/teams/{id}", show, "teams:read", answer=TeamWithMembers),
    route("PATCH", "/teams/{id}", update, "teams:write", body=TeamPatch, answer=TeamWithMembers),
    route("DELETE", "/teams/{id}", remove, "teams:delete", status=204),
    route("POST", "/teams/{id}/members", add_member, "teams:write", body=MemberAdd, answer=TeamWithMembers, status=201),
    route("DELETE", "/teams/{id}/members/{user_id}", remove_member, "teams:write", status=204),
)
