"""Bodies of any size: the raw one, and the file in a form, chunk by chunk as they come.

A form is `multipart/form-data` (RFC 7578): small fields, and one file in the part called `file`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from app.errors import Invalid, UnsupportedMedia
from app.web.codec import ClientGone, too_large, unstorable

logging.getLogger("python_multipart").setLevel(logging.ERROR)  # what is wrong with a body is told to whoever sent it

FIELD_LIMIT_BYTES = 4096
MOST_PARTS = 20
BESIDE_LIMIT_BYTES = 2**20
"""So much of a form may be something other than its file."""
SILENCE_S = 60.0
"""So long an upload may pause."""


class Upload(Protocol):
    """A file on its way. `name` is what its sender calls it; `fields` are complete once the chunks are."""

    name: str
    fields: dict[str, str]

    def at_least(self, body_bytes: int | None) -> int:
        """How many bytes the file has at the least, by the length of the body; None: not known."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes of the file, to be read once, to the end."""


class RawUpload:
    """The body is the file."""

    def __init__(self, request: Request, name: str) -> None:
        self.name = name
        self.fields: dict[str, str] = {}
        self._request = request

    def at_least(self, body_bytes: int | None) -> int:
        return body_bytes or 0

    def chunks(self) -> AsyncIterator[bytes]:
        return _body(self._request)


class FormUpload:
    """The file of a form; `FormUpload.begun` has read what stands before it."""

    def __init__(self, request: Request) -> None:
        kind, options = parse_options_header(request.headers.get("content-type"))
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise UnsupportedMedia(
                "Expected a body of the type multipart/form-data, with the file in the field `file`."
            )
        self.name = ""
        self.fields: dict[str, str] = {}
        self._body = _body(request)
        self._form = _Form(boundary)

    @classmethod
    async def begun(cls, request: Request) -> "FormUpload":
        """The form, read up to the bytes of its file; Invalid when there is none in it."""
        self = cls(request)
        async for chunk in self._body:
            self._form.feed(chunk)
            if self._form.name is not None:
                break
        else:
            self._form.end()
        self.name, self.fields = self._form.name or "", self._form.fields
        return self

    def at_least(self, body_bytes: int | None) -> int:
        return max(0, (body_bytes or 0) - BESIDE_LIMIT_BYTES)

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            while self._form.file:
                yield self._form.file.popleft()
            try:
                chunk = await anext(self._body)
            except StopAsyncIteration:
                self._form.end()
                return
            self._form.feed(chunk)


class _Form:
    """The parts of a form as python-multipart finds them, fed piece by piece; Invalid says what is wrong with it."""

    def __init__(self, boundary: bytes) -> None:
        self.name: str | None = None
        self.fields: dict[str, str] = {}
        self.file: deque[bytes] = deque()
        self._parts = 0
        self._beside_bytes = 0
        self._over = False
        self._header = bytearray()
        self._value = bytearray()
        self._disposition: bytes | None = None
        self._field: str | None = None
        self._content = bytearray()
        callbacks: Any = {
            "on_part_begin": self._begin,
            "on_header_begin": self._begin_header,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._named,
            "on_part_data": self._data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as error:
            raise Invalid(f"The boundary of the form does not hold: {error}.") from None

    def feed(self, chunk: bytes) -> None:
        """Takes the next piece of the body; what of it belongs to the file is in `file` then."""
        self._beside_bytes += len(chunk)
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise Invalid(f"The form does not hold: {error}.") from None
        if self._beside_bytes > BESIDE_LIMIT_BYTES:
            raise too_large(BESIDE_LIMIT_BYTES, "Beside its file the form")

    def end(self) -> None:
        """Refuses a form that broke off, and one without a file."""
        if not self._over:
            raise Invalid("The form breaks off before its end.")
        if self.name is None:
            raise Invalid.field("/file", "required, and missing: a part of the form that is a file")

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise Invalid(f"The form has more than {MOST_PARTS} parts.")
        self._disposition, self._field = None, None
        self._content.clear()

    def _begin_header(self) -> None:
        self._header.clear()
        self._value.clear()

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)

    def _named(self) -> None:
        """The headers of a part are there: what the part is."""
        _, options = parse_options_header((self._disposition or b"").decode("latin-1"))
        field = options.get(b"name")
        if field is None:
            raise Invalid("A part of the form has no name.")
        self._field = field.decode("utf-8", "replace")
        if self._field == "file":
            if self.name is not None:
                raise Invalid.field("/file", "given more than once; one upload is one file")
            self.name = options.get(b"filename", b"").decode("utf-8", "replace")
            if not self.name:
                raise Invalid.field("/file", "expected a file with a name")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._field == "file":
            self.file.append(data[start:end])
            self._beside_bytes -= end - start
            return
        self._content += data[start:end]
        if len(self._content) > FIELD_LIMIT_BYTES:
            raise Invalid.field(f"/{self._field}", f"expected at most {FIELD_LIMIT_BYTES} bytes")

    def _end_part(self) -> None:
        name = self._field or ""
        if name == "file":
            return
        if name in self.fields:
            raise Invalid.field(f"/{name}", "given more than once")
        try:
            text = self._content.decode()
        except UnicodeDecodeError:
            text = "\0"
        if unstorable(text):
            raise Invalid.field(f"/{name}", "expected text in UTF-8 without NUL characters")
        self.fields[name] = text

    def _end(self) -> None:
        self._over = True


async def _body(request: Request) -> AsyncIterator[bytes]:
    """The body in the chunks in which it comes; ClientGone when it breaks off, Invalid when it pauses for too long."""
    more = True
    while more:
        try:
            async with asyncio.timeout(SILENCE_S):
                message = await request.receive()
        except TimeoutError:
            raise Invalid(f"Nothing more of the body came within {SILENCE_S:g} s.") from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        if chunk := message.get("body", b""):
            yield chunk
        more = message.get("more_body", False)
