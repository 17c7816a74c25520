"""Files as answers: whole, from an offset, or the range that a client resumes with."""

import asyncio
import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import IO
from urllib.parse import quote

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.errors import RangeNotSatisfiable
from app.web.codec import Header, Reply

CHUNK_BYTES = 128 * 1024
SANDBOX: Header = (b"content-security-policy", b"sandbox; default-src 'none'")
"""For bytes that somebody has brought: a browser that shows them all the same runs nothing of them."""
_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")
_ATTACHED = re.compile(r"[^A-Za-z0-9!#$&+.^_`|~ ()\[\],=@'-]")


def requested(header: str | None, size: int) -> tuple[int, int] | None:
    """The first byte and the one behind the last that a Range header asks for; None for the whole.

    RFC 9110, 14.2: what is malformed, of another unit or several ranges is ignored; a range beyond the end is refused.
    """
    match = _RANGE.fullmatch((header or "").replace(" ", ""))
    if match is None:
        return None
    first, last, suffix = match.groups()
    begin, end = (max(0, size - int(suffix)), size) if suffix else (int(first), int(last or size) + 1)
    if suffix is None and last and end <= begin:
        return None
    if begin >= size:
        raise RangeNotSatisfiable(f"There are only {size} bytes.", size_bytes=size)
    return begin, min(end, size)


def part_of(request: Request, size: int, tag: str) -> tuple[int, int] | None:
    """As `requested`, of the version that If-Range names: the whole when that is another one (RFC 9110, 13.1.5).

    Ranges are of GET alone (14.2).
    """
    wanted = request.headers.get("if-range")
    if request.method != "GET" or (wanted is not None and wanted != tag):
        return None
    return requested(request.headers.get("range"), size)


def unchanged(request: Request, tag: str) -> bool:
    """Whether the caller has this version already: If-None-Match names it (RFC 9110, 13.1.2)."""
    known = request.headers.get("if-none-match", "")
    return known == "*" or tag in (text.strip().removeprefix("W/") for text in known.split(","))


def attached(name: str) -> Header:
    """The Content-Disposition of a file to be kept (RFC 6266): its name in ASCII, and as it is (RFC 8187)."""
    plain = _ATTACHED.sub("_", name)
    exact = quote(name, safe="!#$&+-.^_`|~")
    return (b"content-disposition", f"attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}".encode())


async def file_part(
    path: Path, media_type: str, size: int, part: tuple[int, int] | None, *, offset: int = 0
) -> Response:
    """The file's bytes up to `size`: a 206 for a part, else from `offset` on. It may grow meanwhile."""
    file = await anyio.to_thread.run_sync(lambda: path.open("rb", buffering=0))
    return sent(file, media_type, size, part, offset=offset)


def sent(
    file: IO[bytes],
    media_type: str,
    size: int,
    part: tuple[int, int] | None,
    headers: Sequence[Header] = (),
    *,
    offset: int = 0,
) -> Response:
    """An open file's bytes, as `file_part` gives them; it is closed when they are sent."""
    begin, end = part or (min(offset, size), size)
    given: list[Header] = [(b"content-type", media_type.encode()), (b"accept-ranges", b"bytes"), *headers]
    if part is not None:
        given.append((b"content-range", b"bytes %d-%d/%d" % (begin, end - 1, size)))
    return _Sent(file, begin, end, 206 if part else 200, given)


class _Sent(Response):
    """Sends the bytes of a file in chunks: from the page cache at once, from the disk in a thread."""

    def __init__(self, file: IO[bytes], begin: int, end: int, status: int, headers: Sequence[Header]) -> None:
        self.status_code = status
        self.background = None
        self.raw_headers = [*headers, (b"content-length", b"%d" % (end - begin))]
        self._file = file
        self._begin = begin
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            await send(start)
            if scope["method"] != "HEAD":
                await self._send_bytes(send)
            await send({"type": "http.response.body", "body": b""})
        finally:
            self._file.close()

    async def _send_bytes(self, send: Send) -> None:
        at, end = self._begin, self._end
        number = self._file.fileno()
        buffer = bytearray(min(CHUNK_BYTES, end - at))
        while at < end:
            wanted = memoryview(buffer)[: min(CHUNK_BYTES, end - at)]
            count = _at_once(number, wanted, at)
            if count is None:
                count = await asyncio.to_thread(os.preadv, number, [wanted], at)
            if count == 0:
                return
            at += count
            await send({"type": "http.response.body", "body": bytes(wanted[:count]), "more_body": True})


def _at_once(number: int, wanted: memoryview, at: int) -> int | None:
    """Reads what is in the page cache; None when the disk would have to be waited for, or nobody can tell."""
    try:
        return os.preadv(number, [wanted], at, os.RWF_NOWAIT)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL):
            return None
        raise


def not_modified(tag: str) -> Reply:
    """The answer to who has this version already."""
    reply = Reply(b"", 304, [(b"etag", tag.encode())])
    reply.raw_headers = [header for header in reply.raw_headers if header[0] != b"content-length"]
    return reply
