"""Files over HTTP: /api/v1/files."""

from collections.abc import Awaitable, Callable
from typing import cast

from msgspec.structs import asdict
from starlette.requests import Request
from starlette.responses import Response

from app.actor import Actor
from app.files import service, sharing
from app.files.sharing import Visitor
from app.files.storing import Storing
from app.files.structs import (
    BatchDelete,
    BatchDeleted,
    DownloadUrl,
    File,
    FileAccess,
    FileContent,
    FileCopy,
    FileFavorite,
    FileFilter,
    FileMove,
    FilePatch,
    FileRename,
    FileRevoke,
    FileShare,
    FileShareCreate,
    FileShared,
    FileUpload,
    Linked,
    Place,
    Storage,
)
from app.web.access import ACTION, PUBLIC, alike, ask_again, route
from app.web.asked import actor, address, credential, database, etag, if_match, item, location
from app.web.codec import Header, body, query, respond, typed
from app.web.paging import Paging, listed, numbered, position
from app.web.ranges import SANDBOX, attached, not_modified, part_of, sent, unchanged
from app.web.uploads import FormUpload, RawUpload, Upload


def _storing(request: Request) -> Storing:
    return cast(Storing, request.app.state.files)


def _answer(file: File, status: int = 200, *headers: Header) -> Response:
    return respond(file, status, etag(file.revision), *headers)


async def index(request: Request) -> Response:
    wanted = query(request, FileFilter)
    behind = position(request, wanted, Place)
    db, who = database(request), actor(request)
    return await listed(
        request,
        wanted,
        page=lambda limit: db.read(service.page, who, wanted, behind, limit),
        total=lambda: db.read(service.count, who, wanted),
    )


async def upload(request: Request) -> Response:
    return await _stored(request, await FormUpload.begun(request))


async def upload_content(request: Request) -> Response:
    said = query(request, FileContent)
    raw = RawUpload(request, said.name)
    if said.folder_id is not None:
        raw.fields["folder_id"] = str(said.folder_id)
    return await _stored(request, raw)


async def _stored(request: Request, incoming: Upload) -> Response:
    def said() -> FileUpload:
        return typed({name: text for name, text in incoming.fields.items() if text}, FileUpload, "/")

    async def settled() -> tuple[Actor, FileUpload]:
        await ask_again(request)
        found = said()
        return actor(request), FileUpload(name=found.name or incoming.name, folder_id=found.folder_id)

    at_least = incoming.at_least(credential(request).content_length)
    file = await _storing(request).store(actor(request), incoming, at_least, said().folder_id, settled)
    return _answer(file, 201, location(request, f"/files/{file.id}"))


async def show(request: Request) -> Response:
    return _answer(await database(request).read(service.get, actor(request), item(request)))


async def _updated(request: Request, patch: FilePatch) -> Response:
    return _answer(
        await database(request).write(service.update, actor(request), item(request), patch, if_match(request))
    )


async def update(request: Request) -> Response:
    return await _updated(request, await body(request, FilePatch))


async def rename(request: Request) -> Response:
    return await _updated(request, FilePatch(name=(await body(request, FileRename)).name))


async def move(request: Request) -> Response:
    return await _updated(request, FilePatch(folder_id=(await body(request, FileMove)).folder_id))


async def favorite(request: Request) -> Response:
    wanted = (await body(request, FileFavorite)).favorite
    return _answer(
        await database(request).write(service.favorite, actor(request), item(request), wanted, if_match(request))
    )


async def copy(request: Request) -> Response:
    wanted, revision = await body(request, FileCopy), if_match(request)
    visitor, quota_bytes = _visitor(request), _storing(request).quota_bytes
    who, file_id = actor(request), item(request)
    file = await database(request).write(sharing.copy, who, file_id, wanted, revision, visitor, quota_bytes)
    return _answer(file, 200, location(request, f"/files/{file.id}"))


async def remove(request: Request) -> Response:
    await database(request).write(service.remove, actor(request), item(request), if_match(request))
    return respond(None, 204)


async def remove_many(request: Request) -> Response:
    wanted = await body(request, BatchDelete)
    return respond(BatchDeleted(await database(request).write(service.remove_many, actor(request), wanted.ids)))


async def storage(request: Request) -> Response:
    quota_bytes = _storing(request).quota_bytes
    return respond(await database(request).read(service.storage, actor(request), quota_bytes))


async def download(request: Request) -> Response:
    db, who, file_id = database(request), actor(request), item(request)
    file = await db.read(sharing.look, who, file_id)

    async def enter(resumes: bool) -> None:
        if file.owner_id != who.user_id:
            await db.write(sharing.enter, who, file_id, _visitor(request, resumes))

    return await _bytes(request, file, enter)


async def download_by_link(request: Request) -> Response:
    db, link = database(request), request.path_params["link"]
    file = await db.read(sharing.linked, link, _visitor(request).ip)

    async def enter(resumes: bool) -> None:
        await db.write(sharing.enter_by_link, link, _visitor(request, resumes))

    return await _bytes(request, file, enter)


def _visitor(request: Request, resumes: bool = False) -> Visitor:
    agent = "".join(filter(str.isprintable, request.headers.get("user-agent", "")))
    return Visitor(credential(request).call.ip, agent, resumes)


async def _bytes(request: Request, file: File | Linked, enter: Callable[[bool], Awaitable[None]]) -> Response:
    """The bytes of a file, to be kept and never to be shown as a page of ours.

    `enter` counts the access, and hears whether the answer is the rest of a file; it is not called when none is given.
    """
    tag = f'"{file.sha256}"'
    if unchanged(request, tag):
        return not_modified(tag)
    part = part_of(request, file.size_bytes, tag)
    content = await _storing(request).open(file.sha256)
    try:
        if request.method != "HEAD":
            await enter(part is not None and part[0] > 0)
    except BaseException:
        content.close()
        raise
    headers = [(b"etag", tag.encode()), attached(file.name), SANDBOX]
    return sent(content, file.media_type, file.size_bytes, part, headers)


async def download_url(request: Request) -> Response:
    link = _storing(request).new_link()
    expires_in = await database(request).write(sharing.download_url, actor(request), item(request), link)
    path = address(request, f"/files/shared/{link}")
    return respond(DownloadUrl(_url(request, link), path, expires_in))


def _url(request: Request, link: str) -> str:
    """Where a link leads: the whole URL where it is known how people reach the appliance, else its path."""
    public: str = request.app.state.config.public_url
    path = f"/files/shared/{link}"
    return f"{public}/api/v1{path}" if public else address(request, path)


async def share(request: Request) -> Response:
    new, link = await body(request, FileShareCreate), _storing(request).new_link()
    made = await database(request).write(sharing.share, actor(request), item(request), new, link, if_match(request))
    if not new.link:
        return respond(FileShared(**asdict(made)))
    return respond(FileShared(**asdict(made), link=link, url=_url(request, link)))


async def shares(request: Request) -> Response:
    return respond(await database(request).read(sharing.shares, actor(request), item(request)))


async def revoke(request: Request) -> Response:
    share_id = (await body(request, FileRevoke)).share_id
    return _answer(
        await database(request).write(sharing.revoke, actor(request), item(request), share_id, if_match(request))
    )


async def accesses(request: Request) -> Response:
    db, who, file_id = database(request), actor(request), item(request)
    return await numbered(
        request,
        rows=lambda after, limit: db.read(sharing.accesses, who, file_id, after, limit),
        total=lambda: db.read(sharing.count_accesses, who, file_id),
        at=lambda access: access.id,
    )


ROUTES = (
    route("GET", "/files", index, "files:read", query=FileFilter, answer=list[File]),
    route("POST", "/files", upload, "files:write", streams=True, answer=File, status=201),
    route("POST", "/files/upload", upload, "files:write", streams=True, answer=File, status=201),
    route(
        "PUT", "/files/content", upload_content, "files:write", streams=True, query=FileContent, answer=File, status=201
    ),
    *alike(ACTION, "/files/batch-delete", remove_many, "files:delete", body=BatchDelete, answer=BatchDeleted),
    route("GET", "/files/storage", storage, "files:read", answer=Storage),
    route("GET", "/files/storage-info", storage, "files:read", answer=Storage),
    route("GET", "/files/shared/{link}", download_by_link, PUBLIC),
    route("GET", "/files/{id}", show, "files:read", answer=File),
    *alike("PATCH PUT", "/files/{id}", update, "files:write", body=FilePatch, answer=File),
    route("DELETE", "/files/{id}", remove, "files:delete", status=204),
    route("GET", "/files/{id}/download", download, "files:read"),
    route("GET", "/files/{id}/download-url", download_url, "files:read", answer=DownloadUrl),
    *alike(ACTION, "/files/{id}/rename", rename, "files:write", body=FileRename, answer=File),
    *alike(ACTION, "/files/{id}/move", move, "files:write", body=FileMove, answer=File),
    *alike(ACTION, "/files/{id}/copy", copy, "files:write", body=FileCopy, answer=File),
    *alike(ACTION, "/files/{id}/favorite", favorite, "files:write", body=FileFavorite, answer=File),
    *alike(ACTION, "/files/{id}/share", share, "files:write", body=FileShareCreate, answer=FileShared),
    *alike(ACTION, "/files/{id}/revoke-share", revoke, "files:write", body=FileRevoke, answer=File),
    route("GET", "/files/{id}/shares", shares, "files:read", answer=list[FileShare]),
    route("GET", "/files/{id}/access-logs", accesses, "files:read", query=Paging, answer=list[FileAccess]),
)
