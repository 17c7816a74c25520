"""Flow-cytometry files over HTTP: /api/v1/fcs."""

from functools import partial
from typing import cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.actor import Actor
from app.errors import Invalid
from app.fcs import service, uploads
from app.fcs.storing import Storing
from app.fcs.structs import (
    Computed,
    Computing,
    ContentRow,
    DensityAsked,
    Events,
    EventsAsked,
    FcsContent,
    FcsFile,
    FileAsked,
    HistogramAsked,
    Keywords,
    Parameters,
    Upload,
    UploadCreate,
)
from app.fcs.worker import Computing as Computer
from app.fcs.worker import Plot
from app.web.access import ask_again, route
from app.web.asked import actor, credential, database, item, location
from app.web.codec import Reply, Told, body, query, respond, while_there
from app.web.paging import Paging, numbered
from app.web.ranges import SANDBOX, attached, not_modified, part_of, sent, unchanged
from app.web.uploads import FormUpload, RawUpload
from app.web.uploads import Upload as Incoming

WAIT_S = 20.0
RETRY_S = 5
_TYPE = "application/vnd.isac.fcs"


def _storing(request: Request) -> Storing:
    return cast(Storing, request.app.state.fcs)


def _computer(request: Request) -> Computer:
    return cast(Computer, request.app.state.fcs_computing)


async def _again(request: Request) -> Actor:
    await ask_again(request)
    return actor(request)


# files


async def upload(request: Request) -> Response:
    return await _stored(request, await FormUpload.begun(request))


async def upload_content(request: Request) -> Response:
    return await _stored(request, RawUpload(request, query(request, FcsContent).name))


async def _stored(request: Request, incoming: Incoming) -> Response:
    async def again() -> Actor:
        for name in incoming.fields:
            raise Invalid.field(f"/{name}", "unknown field")
        return await _again(request)

    at_least = incoming.at_least(credential(request).content_length)
    return _made(request, await _storing(request).store(actor(request), incoming, at_least, again))


def _made(request: Request, file: FcsFile) -> Response:
    return respond(file, 201, location(request, f"/fcs/files/{file.file_id}"))


async def index(request: Request) -> Response:
    db, who = database(request), actor(request)
    return await numbered(
        request,
        rows=lambda after, limit: db.read(service.page, who, after, limit),
        total=lambda: db.read(service.count, who),
        at=lambda file: file.file_id,
    )


async def show(request: Request) -> Response:
    return respond(await database(request).read(service.get, actor(request), item(request)))


async def remove(request: Request) -> Response:
    await database(request).write(service.remove, actor(request), item(request))
    return respond(None, 204)


async def download(request: Request) -> Response:
    file = await database(request).read(service.get, actor(request), item(request))
    tag = f'"{file.sha256}"'
    if unchanged(request, tag):
        return not_modified(tag)
    part = part_of(request, file.size_bytes, tag)
    content = await _storing(request).open(file.sha256)
    return sent(content, _TYPE, file.size_bytes, part, [(b"etag", tag.encode()), attached(file.filename), SANDBOX])


# uploads in chunks


async def begin(request: Request) -> Response:
    new, storing = await body(request, UploadCreate), _storing(request)
    begun = await database(request).write(uploads.begin, actor(request), new, storing.most_bytes, storing.quota_bytes)
    return respond(begun, 201, location(request, f"/fcs/uploads/{begun.id}"))


async def list_uploads(request: Request) -> Response:
    db, who = database(request), actor(request)
    return await numbered(
        request,
        rows=lambda after, limit: db.read(uploads.page, who, after, limit),
        total=lambda: db.read(uploads.count, who),
        at=lambda found: found.id,
    )


async def show_upload(request: Request) -> Response:
    return respond(await database(request).read(uploads.get, actor(request), item(request)))


async def put_chunk(request: Request) -> Response:
    number = cast(int, request.path_params["chunk_id"])
    declared = credential(request).content_length
    incoming, again = RawUpload(request, ""), partial(_again, request)
    return respond(await _storing(request).put_chunk(actor(request), item(request), number, incoming, declared, again))


async def complete(request: Request) -> Response:
    return _made(request, await _storing(request).complete(actor(request), item(request)))


async def abort(request: Request) -> Response:
    await _storing(request).abort(actor(request), item(request))
    return respond(None, 204)


# what is in a file


async def parameters(request: Request) -> Response:
    asked = query(request, FileAsked)
    return respond(service.parameters(*await database(request).read(service.chosen, actor(request), asked.file_id)))


async def keywords(request: Request) -> Response:
    asked, who = query(request, FileAsked), actor(request)
    file, content = await database(request).read(service.chosen, who, asked.file_id)
    shown, hidden = await _storing(request).keywords(content.sha256, service.may_see_persons(who))
    return respond(Keywords(file.file_id, len(shown) + len(hidden), shown, hidden))


async def events(request: Request) -> Response:
    asked = query(request, EventsAsked)
    _, content = await database(request).read(service.chosen, actor(request), asked.file_id)
    page = service.events(content, asked)
    headers = {"content-type": page.media_type}
    if request.method == "HEAD":
        return StreamingResponse(iter(()), 200, headers)
    if not page.is_short:
        return Told(await _storing(request).told(content.sha256, page), headers)
    text = await _storing(request).text(content.sha256, page)
    return Reply(text, 200, [(b"content-type", page.media_type.encode())])


async def statistics(request: Request) -> Response:
    asked, db, who = query(request, FileAsked), database(request), actor(request)
    file, content = await db.read(service.chosen, who, asked.file_id)
    if content.status == "failed":
        await db.write(service.try_again, content.id)

    async def look() -> ContentRow:
        return (await db.read(service.chosen, who, file.file_id))[1]

    content = await _computer(request).settled(look, WAIT_S)
    await ask_again(request)
    if content.status == "pending":
        return respond(Computing(), 202, (b"retry-after", b"%d" % RETRY_S))
    found = service.statistics(content)
    return respond(Computed(file.file_id, file.total_events, content.parser_version, msgspec.Raw(found)))


async def histogram(request: Request) -> Response:
    asked = query(request, HistogramAsked)
    _, content = await database(request).read(service.chosen, actor(request), asked.file_id)
    return await _plot(request, Plot(content, service.histogram(content, asked)))


async def density(request: Request) -> Response:
    asked = query(request, DensityAsked)
    _, content = await database(request).read(service.chosen, actor(request), asked.file_id)
    return await _plot(request, Plot(content, service.density(content, asked)))


async def _plot(request: Request, plot: Plot) -> Response:
    """A plot, computed unless the caller has it already: of the same bytes it is always the same."""
    if unchanged(request, plot.tag):
        return not_modified(plot.tag)
    found = await while_there(request, _computer(request).plot(plot))
    await ask_again(request)
    return Reply(found, 200, [(b"content-type", plot.media_type.encode()), (b"etag", plot.tag.encode()), SANDBOX])


ROUTES = (
    route("POST", "/fcs/upload", upload, "fcs:write", streams=True, answer=FcsFile, status=201),
    route(
        "PUT", "/fcs/content", upload_content, "fcs:write", streams=True, query=FcsContent, answer=FcsFile, status=201
    ),
    route("GET", "/fcs/uploads", list_uploads, "fcs:write", query=Paging, answer=list[Upload]),
    route("POST", "/fcs/uploads", begin, "fcs:write", body=UploadCreate, answer=Upload, status=201),
    route("GET", "/fcs/uploads/{id}", show_upload, "fcs:write", answer=Upload),
    route("DELETE", "/fcs/uploads/{id}", abort, "fcs:write", status=204),
    route(
        "PUT",
        "/fcs/uploads/{id}/chunks/{chunk_id}",
        put_chunk,
        "fcs:write",
        streams=True,
        recorded=False,
        answer=Upload,
    ),
    route("POST", "/fcs/uploads/{id}/complete", complete, "fcs:write", answer=FcsFile, status=201),
    route("GET", "/fcs/files", index, "fcs:read", query=Paging, answer=list[FcsFile]),
    route("GET", "/fcs/files/{id}", show, "fcs:read", answer=FcsFile),
    route("DELETE", "/fcs/files/{id}", remove, "fcs:write", status=204),
    route("GET", "/fcs/files/{id}/download", download, "fcs:read"),
    route("GET", "/fcs/parameters", parameters, "fcs:read", query=FileAsked, answer=Parameters),
    route("GET", "/fcs/events", events, "fcs:read", query=EventsAsked, answer=Events),
    route("GET", "/fcs/keywords", keywords, "fcs:read", query=FileAsked, answer=Keywords),
    route("GET", "/fcs/statistics", statistics, "fcs:analyze", query=FileAsked, answer=Computed),
    route("GET", "/fcs/histogram", histogram, "fcs:analyze", query=HistogramAsked),
    route("GET", "/fcs/density", density, "fcs:analyze", query=DensityAsked),
)
