"""JSON at the door: bodies and query strings become structs, structs become answers. Hostile input is a 400 here."""

import asyncio
import re
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from app.errors import Invalid, TooLarge, UnsupportedMedia
from app.values import without_tokens

T = TypeVar("T")
Header = tuple[bytes, bytes]

BODY_LIMIT_BYTES = 2**20
_MOST_PARAMETERS = 50
_MOST_SHOWN = 60
_SENSITIVE = re.compile("password|secret|token", re.IGNORECASE)
_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_JSON_TYPE: Header = (b"content-type", b"application/json")
_encode = msgspec.json.Encoder().encode
_decoders: dict[type, msgspec.json.Decoder[Any]] = {}


class ClientGone(Exception):
    """The client went away before its request was read; there is nobody to answer."""


async def left(receive: Receive) -> None:
    """Returns when the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_there(request: Request, doing: Coroutine[Any, Any, T]) -> T:
    """The result of what takes its time. When the client goes away meanwhile, it is cancelled: ClientGone."""
    tasks = asyncio.ensure_future(doing), asyncio.ensure_future(left(request.receive))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not tasks[0].done():
            raise ClientGone
        return tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Reply(Response):
    """A whole answer with its headers as bytes: what `starlette.Response` is, without the work of building them."""

    def __init__(self, body: bytes, status: int = 200, headers: Sequence[Header] = ()) -> None:
        self.status_code = status
        self.background = None
        self.body = body
        self.raw_headers = [*headers]
        if status != 204:
            self.raw_headers.append((b"content-length", b"%d" % len(body)))


class Told(StreamingResponse):
    """An answer in pieces, of a length that nobody knows before. What makes them is closed in the end in any case."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], headers: Mapping[str, str]) -> None:
        super().__init__(pieces, 200, headers)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._pieces.aclose()


def respond(answer: object, status: int = 200, *headers: Header) -> Reply:
    """The answer as JSON; with status 204 it has no body."""
    if status == 204:
        return Reply(b"", 204, headers)
    return Reply(_encode(answer), status, (_JSON_TYPE, *headers))


async def raw_body(request: Request, limit_bytes: int = BODY_LIMIT_BYTES) -> bytes:
    """The whole body; TooLarge as soon as it grows beyond the limit, whatever it declared."""
    known: bytes | None = request.scope.get("body")
    if known is not None:
        if len(known) > limit_bytes:
            raise too_large(limit_bytes)
        return known
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        if size > limit_bytes:
            raise too_large(limit_bytes)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def too_large(limit_bytes: int, what: str = "The body") -> TooLarge:
    """The refusal of what has more bytes than are taken."""
    return TooLarge(f"{what} is larger than {limit_bytes} bytes.", limit_bytes=limit_bytes)


async def body(request: Request, kind: type[T], limit_bytes: int = BODY_LIMIT_BYTES) -> T:
    """The request's JSON body as a struct, whatever its content type; an empty body counts as `{}`."""
    return decode(await raw_body(request, limit_bytes) or b"{}", kind)


def decode(raw: bytes, kind: type[T]) -> T:
    """JSON text as a struct; Invalid names the field, what was expected and what came."""
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        found: T = decoder.decode(raw)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), kind, _untyped(raw), root="/") from None
    except (ValueError, RecursionError) as error:  # malformed, bad UTF-8, nested too deeply
        raise Invalid(_malformed(error)) from None
    if b"\\u" in raw:
        _refuse_unstorable(msgspec.to_builtins(found), "")
    return found


def _untyped(raw: bytes) -> object:
    """JSON text as it came, to tell what was wrong with it; None when it is not even JSON."""
    try:
        return msgspec.json.decode(raw)
    except (ValueError, RecursionError):
        return None


def _malformed(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "The body is nested too deeply."
    if isinstance(error, UnicodeDecodeError):
        return "The body is not UTF-8."
    return f"The body is not JSON: {error}."


def _refuse_unstorable(part: object, field: str) -> None:
    """Refuses NUL and lone surrogates anywhere in the text of a body: no engine stores them alike."""
    if isinstance(part, str):
        if unstorable(part):
            raise Invalid.field(field or "/", "expected text without NUL characters or lone surrogates")
    elif isinstance(part, dict):
        for name, member in part.items():
            _refuse_unstorable(name, field)
            _refuse_unstorable(member, f"{field}/{name}")
    elif isinstance(part, list):
        for index, member in enumerate(part):
            _refuse_unstorable(member, f"{field}/{index}")


def unstorable(text: str) -> bool:
    """True for text with a NUL or a lone surrogate in it."""
    return "\0" in text or (not text.isascii() and any("\ud800" <= sign <= "\udfff" for sign in text))


def query(request: Request, kind: type[T]) -> T:
    """The query string as a struct; unknown, repeated and ill-typed parameters are refused by name."""
    raw: bytes = request.scope["query_string"]
    return typed(_parameters(raw) if raw else {}, kind)


def typed(given: dict[str, str], kind: type[T], root: str = "") -> T:
    """Texts by name as a struct, numbers and booleans read from them; Invalid names a field after `root`."""
    try:
        found = msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), kind, given, root=root) from None
    for name in given:
        if getattr(found, name) is None:  # msgspec reads the text `null` as None: a filter would vanish
            raise Invalid.field(root + name, f"expected a value, not {_shown(given[name])}")
    return found


async def form(request: Request, kind: type[T]) -> T:
    """A URL-encoded form as a struct; empty fields count as left out, unknown ones are ignored (RFC 6749, 3.2)."""
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared != "application/x-www-form-urlencoded":
        raise UnsupportedMedia("Expected a body of the type application/x-www-form-urlencoded.")
    given = _parameters(await raw_body(request), "form")
    known = {name: value for name, value in given.items() if value and name in kind.__struct_fields__}  # type: ignore[attr-defined]  # a struct
    try:
        return msgspec.convert(known, kind)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), kind, known, root="") from None


def no_query(request: Request) -> None:
    """Refuses any query parameter: the route takes none."""
    raw: bytes = request.scope["query_string"]
    for name in _parameters(raw) if raw else ():
        raise Invalid.field(name, "unknown query parameter")


def _parameters(raw: bytes, what: str = "query string") -> dict[str, str]:
    try:
        if b"%" in raw and _BAD_PERCENT.search(raw):
            raise ValueError
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_PARAMETERS, errors="strict")
    except ValueError:
        raise Invalid(f"The {what} is not URL-encoded UTF-8, or has too many parameters.") from None
    given: dict[str, str] = {}
    for name, value in pairs:
        if name in given:
            raise Invalid.field(name, "given more than once")
        if unstorable(value):
            raise Invalid.field(name, "expected text without NUL characters")
        given[name] = value
    return given


def _invalid(text: str, kind: type, given: object, *, root: str) -> Invalid:
    """A msgspec message as field, rule and what came. `root` is `/` for JSON pointers, empty for parameter names."""
    message, _, place = text.partition(" - at `")
    names = re.findall(r"\.([^.\[\]`]+)|\[(\d+|\.\.\.)\]", place.rstrip("`").removeprefix("$"))
    path = [name or index for name, index in names]
    if match := re.fullmatch(r"Object (missing required|contains unknown) field `(.*)`", message, re.DOTALL):
        path.append(match.group(2))
        unknown = "unknown field" if root else "unknown query parameter"
        message = "required, and missing" if match.group(1) == "missing required" else unknown
    else:
        broken = "matching regex" in message or message.startswith("Invalid enum value")
        rule = _rule(kind, path) if broken else None
        message = f"expected {rule}" if rule else message[:1].lower() + message[1:]
        if came := _came(given, path):
            message = f"{message.partition(', got `')[0]}, not {came}"
    field = "/".join(part.replace("~", "~0").replace("/", "~1") for part in path) if root else ".".join(path)
    return Invalid.field(root + field, message)


def _came(given: object, path: list[str]) -> str | None:
    """The refused value as JSON, cut short; None for lists, objects and whatever may be secret."""
    if not path or any(_SENSITIVE.search(name) for name in path):
        return None
    for name in path:
        if isinstance(given, dict):
            given = given.get(name)
        elif isinstance(given, list) and name.isdigit() and int(name) < len(given):
            given = given[int(name)]
        else:
            return None
    if isinstance(given, dict | list) or without_tokens(text := str(given)) != text:
        return None
    return _shown(given)


def _shown(part: object) -> str:
    whole = isinstance(part, int) and not isinstance(part, bool)  # may be beyond 64 bits
    text = str(part) if whole else _encode(part).decode()
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 1] + "…"


def _rule(kind: Any, path: list[str]) -> str | None:
    """What a field takes, in words: the `description` beside its pattern, or the choices of its Literal."""
    for name in path:
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            kind = get_type_hints(kind, include_extras=True).get(name)
        else:
            kind = (*get_args(kind), None)[0]
    pending = [kind]
    while pending:
        part = pending.pop()
        if get_origin(part) is Annotated:
            for meta in part.__metadata__:
                if isinstance(meta, msgspec.Meta) and meta.description:
                    return meta.description
        if get_origin(part) is Literal:
            return " or ".join(f"`{choice}`" for choice in get_args(part))
        pending.extend(get_args(part))
    return None
