"""Roles and permissions over HTTP: /api/v1/roles, /permissions, /authz/explain, /users/{id}/roles."""

from starlette.requests import Request
from starlette.responses import Response

from app.roles import authorization, service
from app.roles.structs import (
    Explanation,
    PermissionShown,
    Question,
    Role,
    RoleCreate,
    RolePatch,
    RolePermissions,
    RolesSet,
    RouteOf,
    UserRoles,
)
from app.web.access import PUBLIC, SIGNED_IN, Guarded, route
from app.web.asked import actor, database, etag, if_match, item, location
from app.web.codec import body, query, respond
from app.web.paging import Paging, numbered


async def index(request: Request) -> Response:
    db = database(request)
    return await numbered(
        request,
        rows=lambda after, limit: db.read(service.page, after, limit),
        total=lambda: db.read(service.count),
        at=lambda role: role.id,
    )


async def create(request: Request) -> Response:
    new = await body(request, RoleCreate)
    role = await database(request).write(service.create, actor(request), new)
    return respond(role, 201, location(request, f"/roles/{role.id}"), etag(role.revision))


async def show(request: Request) -> Response:
    role = await database(request).read(service.get, item(request))
    return respond(role, 200, etag(role.revision))


async def update(request: Request) -> Response:
    patch = await body(request, RolePatch)
    role = await database(request).write(service.update, actor(request), item(request), patch, if_match(request))
    return respond(role, 200, etag(role.revision))


async def set_permissions(request: Request) -> Response:
    wanted = (await body(request, RolePermissions)).permissions
    role = await database(request).write(
        service.set_permissions, actor(request), item(request), wanted, if_match(request)
    )
    return respond(role, 200, etag(role.revision))


async def remove(request: Request) -> Response:
    await database(request).write(service.remove, actor(request), item(request), if_match(request))
    return respond(None, 204)


async def assign(request: Request) -> Response:
    wanted = await body(request, UserRoles)
    assigned = await database(request).write(
        service.assign, actor(request), item(request), wanted.roles, if_match(request)
    )
    return respond(assigned)


async def permissions(request: Request) -> Response:
    """Every permission that a route names, with the routes: read from the routes themselves."""
    named: dict[str, list[RouteOf]] = {}
    for line in (guarded.line for guarded in request.app.router.routes if isinstance(guarded, Guarded)):
        if line.permission not in (PUBLIC, SIGNED_IN):
            named.setdefault(line.permission, []).append(RouteOf(line.method, line.path, line.reach))
    return respond([_shown(name, named[name]) for name in sorted(named)])


async def explain(request: Request) -> Response:
    asked = query(request, Question)
    return respond(await database(request).read(authorization.explain, actor(request), asked))


def _shown(name: str, routes: list[RouteOf]) -> PermissionShown:
    resource, _, action = name.partition(":")
    return PermissionShown(name, resource, action or "*", tuple(routes))


ROUTES = (
    route("GET", "/roles", index, "roles:read", reach="all", query=Paging, answer=list[Role]),
    route("POST", "/roles", create, "roles:admin", reach="all", body=RoleCreate, answer=Role, status=201),
    route("GET", "/roles/{id}", show, "roles:read", reach="all", answer=Role),
    route("PATCH", "/roles/{id}", update, "roles:admin", reach="all", body=RolePatch, answer=Role),
    route("DELETE", "/roles/{id}", remove, "roles:admin", reach="all", status=204),
    route(
        "PUT", "/roles/{id}/permissions", set_permissions, "roles:admin", reach="all", body=RolePermissions, answer=Role
    ),
    route("PUT", "/users/{id}/roles", assign, "users:admin", reach="group", body=UserRoles, answer=RolesSet),
    route("GET", "/permissions", permissions, "roles:read", reach="all", answer=list[PermissionShown]),
    route("GET", "/authz/explain", explain, "users:admin", reach="group", query=Question, answer=Explanation),
)
