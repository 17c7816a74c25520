"""The trail over HTTP: /api/v1/audit, to read."""

import csv
import io
from collections.abc import AsyncIterator

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.actor import Actor
from app.audit import service
from app.audit.structs import AuditFilter, Position, Record
from app.errors import Invalid
from app.values import FORMULA
from app.web.access import route
from app.web.asked import actor, database, settled_trail
from app.web.codec import Reply, query, respond
from app.web.paging import position, turned

_PIECE = 1_000
_COLUMNS = Record.__struct_fields__
_SHEET = (
    ("content-type", "text/csv; charset=utf-8; header=present"),
    ("content-disposition", 'attachment; filename="audit.csv"'),
)


async def index(request: Request) -> Response:
    wanted = query(request, AuditFilter)
    behind = position(request, wanted, tuple[str, int])
    if wanted.count and wanted.after is not None:
        raise Invalid.field("count", "not together with after: what is followed has no end")
    db, who = database(request), actor(request)
    await settled_trail(request)
    if wanted.format == "csv" and "limit" not in request.query_params:
        first = await db.read(service.page, who, wanted, behind, _PIECE)  # what is refused is refused before the answer
        headers = dict(_SHEET)
        if wanted.count:
            headers["x-total-count"] = str(await db.read(service.count, who, wanted))
        rows = _everything(request, who, wanted, first if request.method == "GET" else [])
        return StreamingResponse(rows, 200, headers)
    found, paged = await turned(
        request,
        wanted,
        rows=lambda limit: db.read(service.page, who, wanted, behind, limit),
        total=lambda: db.read(service.count, who, wanted),
        at=_place,
    )
    if wanted.format == "json":
        return respond(found, 200, *paged)
    sheet = [(name.encode(), text.encode()) for name, text in _SHEET]
    return Reply(_heading() + _lines(found), 200, (*sheet, *paged))


def _place(record: Record) -> Position:
    return record.at, record.id


async def _everything(request: Request, who: Actor, wanted: AuditFilter, rows: list[Record]) -> AsyncIterator[bytes]:
    """All rows that match, a page at a time: each is a short snapshot, and none is skipped or told twice."""
    yield _heading()
    while rows:
        yield _lines(rows)
        behind = _place(rows[-1])
        rows = await database(request).read(service.page, who, wanted, behind, _PIECE) if len(rows) == _PIECE else []


def _heading() -> bytes:
    return (",".join(_COLUMNS) + "\r\n").encode()


def _lines(rows: list[Record]) -> bytes:
    sheet = io.StringIO()
    csv.writer(sheet).writerows([_cell(value) for value in msgspec.structs.astuple(row)] for row in rows)
    return sheet.getvalue().encode()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


ROUTES = (route("GET", "/audit", index, "audit:read", query=AuditFilter, answer=list[Record]),)
