"""Files as answers: whole, from an offset, or the range that a client resumes with."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
from starlette.responses import StreamingResponse

from app.errors import RangeNotSatisfiable

_CHUNK_BYTES = 65536
_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")


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


def file_part(
    path: Path, media_type: str, size: int, part: tuple[int, int] | None, *, offset: int = 0
) -> StreamingResponse:
    """The file's bytes up to `size`: a 206 for a part, else from `offset` on. It may grow meanwhile."""
    begin, end = part or (min(offset, size), size)
    headers = {"content-length": str(end - begin), "accept-ranges": "bytes"}
    if part is not None:
        headers["content-range"] = f"bytes {begin}-{end - 1}/{size}"
    return StreamingResponse(_bytes(path, begin, end), 206 if part else 200, headers, media_type)


async def _bytes(path: Path, begin: int, end: int) -> AsyncIterator[bytes]:
    async with await anyio.open_file(path, "rb") as file:
        await file.seek(begin)
        while begin < end and (chunk := await file.read(min(end - begin, _CHUNK_BYTES))):
            begin += len(chunk)
            yield chunk
