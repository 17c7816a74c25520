"""Keyset paging: an opaque, signed cursor, and the Link header that carries it to the next page."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable
from hmac import compare_digest, digest
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app.errors import Invalid
from app.values import Paging as Paging
from app.web.codec import Header, query, respond

T = TypeVar("T")

_SIGNATURE_BYTES = 12


def position(request: Request, paging: Paging, kind: type[T]) -> T | None:
    """Where the page begins, as the previous Link said; None for the first page. Invalid when tampered with."""
    if paging.cursor is None:
        return None
    try:
        raw = urlsafe_b64decode(paging.cursor.encode() + b"=" * (-len(paging.cursor) % 4))
        signature, text = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not compare_digest(signature, _sign(request, text)):
            raise ValueError
        return msgspec.json.decode(text, type=kind)
    except ValueError:  # also msgspec's and binascii's
        raise Invalid.field("cursor", "expected a cursor that a Link header of this list gave") from None


async def turned(
    request: Request,
    paging: Paging,
    *,
    rows: Callable[[int], Awaitable[list[T]]],
    total: Callable[[], Awaitable[int]],
    at: Callable[[T], object],
) -> tuple[list[T], list[Header]]:
    """A page and its headers. `rows` fetches up to so many rows behind the position, `at` is a row's own position."""
    found = await rows(paging.limit + 1)
    return found, cut(request, paging, found, at=at, total=await total() if paging.count else 0)


def cut(request: Request, paging: Paging, found: list[T], *, at: Callable[[T], object], total: int) -> list[Header]:
    """Takes the row beyond the page away; the page's headers. `total` is told when it was asked for."""
    headers: list[Header] = []
    if paging.count:
        headers.append((b"x-total-count", b"%d" % total))
    if len(found) > paging.limit:
        found.pop()
        headers.append(_next_link(request, paging, at(found[-1])))
    return headers


async def listing(
    request: Request,
    paging: Paging,
    *,
    rows: Callable[[int], Awaitable[list[T]]],
    total: Callable[[], Awaitable[int]],
    at: Callable[[T], object],
) -> Response:
    """A page as an array; the arguments are those of `turned`."""
    found, headers = await turned(request, paging, rows=rows, total=total, at=at)
    return respond(found, 200, *headers)


async def listed(
    request: Request,
    paging: Paging,
    *,
    page: Callable[[int], Awaitable[tuple[list[T], Any]]],
    total: Callable[[], Awaitable[int]],
) -> Response:
    """A page as an array. `page` fetches so many rows, and the place behind which more follow, None at the end."""
    found, behind = await page(paging.limit)
    headers: list[Header] = [(b"x-total-count", b"%d" % await total())] if paging.count else []
    if behind is not None:
        headers.append(_next_link(request, paging, behind))
    return respond(found, 200, *headers)


async def numbered(
    request: Request,
    *,
    rows: Callable[[int, int], Awaitable[list[T]]],
    total: Callable[[], Awaitable[int]],
    at: Callable[[T], int],
) -> Response:
    """A page of a list without filters, ordered by a number; `rows` takes the number to begin behind, and a limit."""
    paging = query(request, Paging)
    after = position(request, paging, int) or 0
    return await listing(request, paging, rows=lambda limit: rows(after, limit), total=total, at=at)


def _next_link(request: Request, paging: Paging, at: object) -> Header:
    """The Link header to the page that begins behind `at`."""
    text = msgspec.json.encode(at)
    cursor = urlsafe_b64encode(_sign(request, text) + text).rstrip(b"=").decode()
    given: dict[str, Any] = {
        name: value
        for name, value in msgspec.structs.asdict(paging).items()
        if value is not None and name not in ("cursor", "count")
    }
    scope = request.scope
    path = scope["path"] if scope["path"].startswith(scope.get("root_path", "")) else scope["root_path"] + scope["path"]
    return (b"link", f'<{path}?{urlencode({**given, "cursor": cursor})}>; rel="next"'.encode())


def _sign(request: Request, text: bytes) -> bytes:
    key: bytes = request.app.state.cursor_key
    return digest(key, request.scope["route"].path.encode() + b"\0" + text, "sha256")[:_SIGNATURE_BYTES]
