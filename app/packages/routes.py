"""Packages over HTTP: /api/v1/packages."""

from typing import NamedTuple, cast

from starlette.requests import Request
from starlette.responses import Response

from app.packages import activations, attempts, service
from app.packages.downloads import Downloads
from app.packages.structs import (
    Activated,
    Activation,
    Attempt,
    Cancelling,
    Download,
    EventsQuery,
    LogQuery,
    Package,
    PackageCreate,
    PackageFilter,
    shown,
)
from app.packages.switching import Switching
from app.web.access import route
from app.web.asked import actor, database, etag, if_match, item, location
from app.web.codec import Reply, body, query, respond
from app.web.paging import Paging, listing, numbered, position
from app.web.ranges import file_part, requested
from app.web.sse import stream

_TEXT = "text/plain; charset=utf-8"


class Works(NamedTuple):
    """The room's workers, as `app.main` hands them over."""

    downloads: Downloads
    switching: Switching


def _works(request: Request) -> Works:
    return cast(Works, request.app.state.packages)


async def index(request: Request) -> Response:
    wanted = query(request, PackageFilter)
    after = position(request, wanted, tuple[str, int])
    db = database(request)
    return await listing(
        request,
        wanted,
        rows=lambda limit: db.read(service.page, wanted, after, limit),
        total=lambda: db.read(service.count, wanted),
        at=lambda package: (package.name, package.id),
    )


async def create(request: Request) -> Response:
    new = await body(request, PackageCreate)
    package = await database(request).write(service.create, actor(request), new)
    return respond(package, 201, location(request, f"/packages/{package.id}"), etag(1))


async def show(request: Request) -> Response:
    row = await database(request).read(service.row, item(request))
    return respond(shown(row), 200, etag(row.revision))


async def remove(request: Request) -> Response:
    removed = await database(request).write(service.remove, actor(request), item(request), if_match(request))
    await _works(request).downloads.clear(removed)
    return respond(None, 204)


async def download(request: Request) -> Response:
    answer = await database(request).write(
        attempts.download, actor(request), item(request), _works(request).downloads.space()
    )
    return respond(answer, 202 if answer.attempt is not None else 200)


async def cancel(request: Request) -> Response:
    return respond(await database(request).write(attempts.cancel, actor(request), item(request)), 202)


async def activate(request: Request) -> Response:
    return respond(await _works(request).switching.activate(actor(request), item(request)))


async def rollback(request: Request) -> Response:
    return respond(await _works(request).switching.rollback(actor(request), item(request)))


async def list_attempts(request: Request) -> Response:
    db, package_id = database(request), item(request)
    return await numbered(
        request,
        rows=lambda after, limit: db.read(attempts.page, package_id, after=after, limit=limit),
        total=lambda: db.read(attempts.count, package_id),
        at=lambda attempt: attempt.number,
    )


async def list_activations(request: Request) -> Response:
    db, package_id = database(request), item(request)
    return await numbered(
        request,
        rows=lambda after, limit: db.read(activations.page, package_id, after=after, limit=limit),
        total=lambda: db.read(activations.count, package_id),
        at=lambda activation: activation.id,
    )


async def log(request: Request) -> Response:
    wanted = query(request, LogQuery)
    attempt = await database(request).read(attempts.logged, item(request), wanted.attempt)
    path = _works(request).downloads.log_path(attempt.id) if attempt else None
    if path is None or not path.is_file():
        return Reply(b"", 200, [(b"content-type", _TEXT.encode())])
    size = path.stat().st_size
    if wanted.offset is None:
        return await file_part(path, _TEXT, size, requested(request.headers.get("range"), size))
    return await file_part(path, _TEXT, size, None, offset=wanted.offset)


async def events(request: Request) -> Response:
    asked = query(request, EventsQuery)
    seen = request.headers.get("last-event-id")
    field, since = ("Last-Event-ID", seen) if seen else ("since", asked.since)
    return await stream(request, await _works(request).downloads.feed(item(request), field, since))


ROUTES = (
    route("GET", "/packages", index, "packages:read", reach="all", query=PackageFilter, answer=list[Package]),
    route("POST", "/packages", create, "packages:write", reach="all", body=PackageCreate, answer=Package, status=201),
    route("GET", "/packages/{id}", show, "packages:read", reach="all", answer=Package),
    route("DELETE", "/packages/{id}", remove, "packages:write", reach="all", status=204),
    route("POST", "/packages/{id}/download", download, "packages:build", reach="all", answer=Download, status=202),
    route("POST", "/packages/{id}/cancel", cancel, "packages:build", reach="all", answer=Cancelling, status=202),
    route("POST", "/packages/{id}/activate", activate, "packages:activate", reach="all", answer=Activated),
    route("POST", "/packages/{id}/rollback", rollback, "packages:activate", reach="all", answer=Activated),
    route(
        "GET",
        "/packages/{id}/attempts",
        list_attempts,
        "packages:read",
        reach="all",
        query=Paging,
        answer=list[Attempt],
    ),
    route(
        "GET",
        "/packages/{id}/activations",
        list_activations,
        "packages:read",
        reach="all",
        query=Paging,
        answer=list[Activation],
    ),
    route("GET", "/packages/{id}/log", log, "packages:read", reach="all", query=LogQuery),
    route("GET", "/packages/{id}/events", events, "packages:read", reach="all", query=EventsQuery),
)
