"""Folders over HTTP: /api/v1/folders."""

from starlette.requests import Request
from starlette.responses import Response

from app.folders import service
from app.folders.structs import (
    Folder,
    FolderCreate,
    FolderDetail,
    FolderFilter,
    FolderMove,
    FolderNode,
    FolderPatch,
    FolderRename,
    TreeQuery,
)
from app.web.access import ACTION, alike, route
from app.web.asked import actor, database, etag, if_match, item, location
from app.web.codec import Reply, body, query, respond
from app.web.paging import listing, position


async def index(request: Request) -> Response:
    wanted = query(request, FolderFilter)
    after = position(request, wanted, int) or 0
    db, who = database(request), actor(request)
    return await listing(
        request,
        wanted,
        rows=lambda limit: db.read(service.page, who, wanted, after, limit),
        total=lambda: db.read(service.count, who, wanted),
        at=lambda folder: folder.id,
    )


async def tree(request: Request) -> Response:
    found = await database(request).read(service.tree, actor(request), query(request, TreeQuery))
    return Reply(found, 200, [(b"content-type", b"application/json")])


async def create(request: Request) -> Response:
    new = await body(request, FolderCreate)
    folder = await database(request).write(service.create, actor(request), new)
    return respond(folder, 201, location(request, f"/folders/{folder.id}"), etag(folder.revision))


async def show(request: Request) -> Response:
    folder = await database(request).read(service.get, actor(request), item(request))
    return respond(folder, 200, etag(folder.revision))


async def _updated(request: Request, patch: FolderPatch) -> Response:
    folder = await database(request).write(service.update, actor(request), item(request), patch, if_match(request))
    return respond(folder, 200, etag(folder.revision))


async def update(request: Request) -> Response:
    return await _updated(request, await body(request, FolderPatch))


async def rename(request: Request) -> Response:
    return await _updated(request, FolderPatch(name=(await body(request, FolderRename)).name))


async def move(request: Request) -> Response:
    return await _updated(request, FolderPatch(parent_id=(await body(request, FolderMove)).parent_id))


async def remove(request: Request) -> Response:
    await database(request).write(service.remove, actor(request), item(request), if_match(request))
    return respond(None, 204)


ROUTES = (
    route("GET", "/folders", index, "folders:read", query=FolderFilter, answer=list[Folder]),
    route("POST", "/folders", create, "folders:write", body=FolderCreate, answer=FolderDetail, status=201),
    route("GET", "/folders/tree", tree, "folders:read", query=TreeQuery, answer=list[FolderNode]),
    route("GET", "/folders/{id}", show, "folders:read", answer=FolderDetail),
    *alike("PATCH PUT", "/folders/{id}", update, "folders:write", body=FolderPatch, answer=FolderDetail),
    *alike(ACTION, "/folders/{id}/rename", rename, "folders:write", body=FolderRename, answer=FolderDetail),
    *alike(ACTION, "/folders/{id}/move", move, "folders:write", body=FolderMove, answer=FolderDetail),
    route("DELETE", "/folders/{id}", remove, "folders:delete", status=204),
)
"""Names are unique in their place; a folder takes all that is in it along."""
