"""Documents over HTTP: /api/v1/documents."""

from starlette.requests import Request
from starlette.responses import Response

from app.documents import service, sharing
from app.documents.structs import (
    BatchDelete,
    BatchDeleted,
    Document,
    DocumentCreate,
    DocumentDetail,
    DocumentFilter,
    DocumentMove,
    DocumentPatch,
    DocumentRename,
    DocumentShareCreate,
    DocumentTags,
    DocumentUnshare,
    Place,
    Revision,
    RevisionDetail,
)
from app.web.access import ACTION, alike, route
from app.web.asked import actor, database, etag, if_match, item, location, user_quota_bytes
from app.web.codec import Header, body, query, respond
from app.web.paging import Paging, listed, numbered, position


def _answer(document: DocumentDetail, status: int = 200, *headers: Header) -> Response:
    return respond(document, status, etag(document.revision), *headers)


async def index(request: Request) -> Response:
    wanted = query(request, DocumentFilter)
    behind = position(request, wanted, Place)
    db, who = database(request), actor(request)
    return await listed(
        request,
        wanted,
        page=lambda limit: db.read(service.page, who, wanted, behind, limit),
        total=lambda: db.read(service.count, who, wanted),
    )


async def create(request: Request) -> Response:
    new = await body(request, DocumentCreate)
    made = await database(request).write(service.create, actor(request), new, user_quota_bytes(request))
    return _answer(made, 201, location(request, f"/documents/{made.id}"))


async def show(request: Request) -> Response:
    return _answer(await database(request).read(service.get, actor(request), item(request)))


async def _updated(request: Request, patch: DocumentPatch) -> Response:
    revision, quota_bytes = if_match(request), user_quota_bytes(request)
    who, document_id = actor(request), item(request)
    return _answer(await database(request).write(service.update, who, document_id, patch, revision, quota_bytes))


async def update(request: Request) -> Response:
    return await _updated(request, await body(request, DocumentPatch))


async def rename(request: Request) -> Response:
    return await _updated(request, DocumentPatch(title=(await body(request, DocumentRename)).title))


async def move(request: Request) -> Response:
    return await _updated(request, DocumentPatch(folder_id=(await body(request, DocumentMove)).folder_id))


async def tags(request: Request) -> Response:
    return await _updated(request, DocumentPatch(tags=(await body(request, DocumentTags)).tags))


async def share(request: Request) -> Response:
    new = await body(request, DocumentShareCreate)
    return _answer(await database(request).write(sharing.share, actor(request), item(request), new, if_match(request)))


async def unshare(request: Request) -> Response:
    given = await body(request, DocumentUnshare)
    return _answer(
        await database(request).write(sharing.unshare, actor(request), item(request), given, if_match(request))
    )


async def remove(request: Request) -> Response:
    await database(request).write(service.remove, actor(request), item(request), if_match(request))
    return respond(None, 204)


async def remove_many(request: Request) -> Response:
    wanted = await body(request, BatchDelete)
    return respond(BatchDeleted(await database(request).write(service.remove_many, actor(request), wanted.ids)))


async def revisions(request: Request) -> Response:
    db, who, document_id = database(request), actor(request), item(request)
    return await numbered(
        request,
        rows=lambda after, limit: db.read(service.revisions, who, document_id, after, limit),
        total=lambda: db.read(service.count_revisions, who, document_id),
        at=lambda revision: revision.number,
    )


async def revision(request: Request) -> Response:
    number: int = request.path_params["revision_id"]
    return respond(await database(request).read(service.revision, actor(request), item(request), number))


async def restore(request: Request) -> Response:
    number: int = request.path_params["revision_id"]
    wanted, quota_bytes = if_match(request), user_quota_bytes(request)
    who, document_id = actor(request), item(request)
    return _answer(await database(request).write(service.restore, who, document_id, number, wanted, quota_bytes))


_ONE = "/documents/{id}"
ROUTES = (
    route("GET", "/documents", index, "documents:read", query=DocumentFilter, answer=list[Document]),
    route("POST", "/documents", create, "documents:write", body=DocumentCreate, answer=DocumentDetail, status=201),
    *alike(ACTION, "/documents/batch-delete", remove_many, "documents:delete", body=BatchDelete, answer=BatchDeleted),
    route("GET", _ONE, show, "documents:read", answer=DocumentDetail),
    *alike("PATCH PUT", _ONE, update, "documents:write", body=DocumentPatch, answer=DocumentDetail),
    route("DELETE", _ONE, remove, "documents:delete", status=204),
    *alike(ACTION, f"{_ONE}/rename", rename, "documents:write", body=DocumentRename, answer=DocumentDetail),
    *alike(ACTION, f"{_ONE}/move", move, "documents:write", body=DocumentMove, answer=DocumentDetail),
    *alike(ACTION, f"{_ONE}/tags", tags, "documents:write", body=DocumentTags, answer=DocumentDetail),
    *alike(ACTION, f"{_ONE}/share", share, "documents:write", body=DocumentShareCreate, answer=DocumentDetail),
    *alike(ACTION, f"{_ONE}/unshare", unshare, "documents:write", body=DocumentUnshare, answer=DocumentDetail),
    route("GET", f"{_ONE}/revisions", revisions, "documents:read", query=Paging, answer=list[Revision]),
    route("GET", f"{_ONE}/revisions/{{revision_id}}", revision, "documents:read", answer=RevisionDetail),
    *alike(ACTION, f"{_ONE}/revisions/{{revision_id}}/restore", restore, "documents:write", answer=DocumentDetail),
)
