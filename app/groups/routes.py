"""Groups over HTTP: /api/v1/groups."""

from starlette.requests import Request
from starlette.responses import Response

from app.groups import service
from app.groups.structs import Group, GroupCreate, GroupPatch
from app.web.access import route
from app.web.asked import actor, database, etag, if_match, item, location
from app.web.codec import body, respond
from app.web.paging import Paging, numbered


async def index(request: Request) -> Response:
    db = database(request)
    return await numbered(
        request,
        rows=lambda after, limit: db.read(service.page, after, limit),
        total=lambda: db.read(service.count),
        at=lambda group: group.id,
    )


async def create(request: Request) -> Response:
    new = await body(request, GroupCreate)
    group = await database(request).write(service.create, actor(request), new)
    return respond(group, 201, location(request, f"/groups/{group.id}"), etag(group.revision))


async def show(request: Request) -> Response:
    group = await database(request).read(service.get, item(request))
    return respond(group, 200, etag(group.revision))


async def update(request: Request) -> Response:
    patch = await body(request, GroupPatch)
    group = await database(request).write(service.update, actor(request), item(request), patch, if_match(request))
    return respond(group, 200, etag(group.revision))


async def remove(request: Request) -> Response:
    await database(request).write(service.remove, actor(request), item(request), if_match(request))
    return respond(None, 204)


ROUTES = (
    route("GET", "/groups", index, "groups:read", reach="all", query=Paging, answer=list[Group]),
    route("POST", "/groups", create, "groups:write", reach="all", body=GroupCreate, answer=Group, status=201),
    route("GET", "/groups/{id}", show, "groups:read", reach="all", answer=Group),
    route("PATCH", "/groups/{id}", update, "groups:write", reach="all", body=GroupPatch, answer=Group),
    route("DELETE", "/groups/{id}", remove, "groups:delete", reach="all", status=204),
)
