"""The API as pkgctl sees it: one HTTP request at a time, over TCP, TLS or a Unix socket.

Every request has its own connection: none finds one that the server has closed meanwhile. Redirects are not
followed and links are used without their host, so the token goes to the given URL alone.
"""

import http.client
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar
from urllib.parse import urlencode, urljoin, urlsplit

import msgspec

from app import __version__
from app.cli.address import Address
from app.cli.answers import read
from app.cli.outcomes import NotPurser, Refused, Unreachable, Usage
from app.cli.sending import Upload, response_to
from app.errors import TOKEN_REQUIRED

__all__ = ["Address", "Answer", "Client", "Refused", "Unreachable", "Upload"]

T = TypeVar("T")
Query = Mapping[str, str | int | None]

TIMEOUT_S = 15.0
SILENCE_S = 60.0
"""So long a transfer may pause, however long it is as a whole; the service bears with us for as long."""
ANSWER_LIMIT_BYTES = 32 * 1024 * 1024
PAGES_LIMIT = 10_000
CHUNK_BYTES = 65536


@dataclass(frozen=True)
class Answer:
    """A 2xx answer. `next_target` is the path and query of the next page, None on the last one."""

    status: int
    content: bytes
    next_target: str | None = None

    def decode(self, kind: type[T]) -> T:
        """Returns the JSON body as a `kind`; NotPurser when it is something else."""
        return read(self.content, kind, "the answer")


@dataclass(frozen=True)
class Download:
    """The bytes of a file as they come, from `begin` on; `size_bytes` is that of the whole, None where nobody knows it.

    `disposition` is the header that says what the file is called.
    """

    disposition: str
    sha256: str
    begin: int
    size_bytes: int | None
    pieces: Iterator[bytes]


class _FieldError(msgspec.Struct):
    field: str = ""
    message: str = ""


class _Problem(msgspec.Struct):
    title: str
    detail: str = ""
    code: str = ""
    errors: list[_FieldError] = msgspec.field(default_factory=list)


class Renewable(Protocol):
    """A credential that lasts longer than its token."""

    def token(self) -> str:
        """The token to send now."""

    def renew(self) -> None:
        """Gets another token, because the last one was refused; raises when there is none to be had."""


class Client:
    """Sends requests to one service on behalf of one token, of a session, or of nobody.

    `label` is the id that all its requests have; None: the service gives each its own.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        timeout_s: float = TIMEOUT_S,
        session: Renewable | None = None,
        label: str | None = None,
    ) -> None:
        self._address = Address.parse(url)
        self._timeout_s = timeout_s
        if token is not None and not re.fullmatch(r"[\x21-\x7e]+", token):
            raise Usage("The token is empty or holds a character that no token has")
        self._token = token
        self._session = session
        self._label = label

    def send(self, method: str, path: str, query: Query | None = None, body: object = None) -> Answer:
        """Returns the answer to one request below `/api/v1`; raises Refused or Unreachable."""
        return self._send(method, self._target(path, query), body)

    def get(self, path: str, kind: type[T], query: Query | None = None) -> T:
        """Returns what is at `path`, decoded."""
        return self.send("GET", path, query).decode(kind)

    def items(self, path: str, query: Query | None = None, limit: int | None = None) -> list[msgspec.Raw]:
        """Returns the items of a collection, page after page, at most `limit` of them, each as the server wrote it."""
        found: list[msgspec.Raw] = []
        for page in self.pages(path, query):
            found += page.decode(list[msgspec.Raw])
            if limit is not None and len(found) >= limit:
                break
        return found[:limit]

    def pages(self, path: str, query: Query | None = None) -> Iterator[Answer]:
        """Yields the answers that are the pages of a list, asking for each as it is wanted."""
        target: str | None = self._target(path, query)
        seen = set[str]()
        while target is not None:
            if target in seen or len(seen) == PAGES_LIMIT:
                raise NotPurser("the list has no end")
            seen.add(target)
            answer = self._send("GET", target, None)
            target = answer.next_target
            yield answer

    def upload(self, path: str, query: Query, body: Upload) -> Answer:
        """Returns the answer to a body of any length; it may take its time, unless nothing moves for `SILENCE_S`."""
        return self._send("PUT", self._target(path, query), body, SILENCE_S)

    @contextmanager
    def download(self, path: str, begin: int = 0, sha256: str = "") -> Iterator[Download]:
        """Gives a file from `begin` on; all of it when it is no longer the one with this SHA-256."""
        wanted = {"Range": f"bytes={begin}-", "If-Range": f'"{sha256}"'} if begin else None
        with self._asked("GET", self._target(path, None), None, SILENCE_S, wanted) as response:
            if response.status not in (200, 206):
                raise _refusal(response, _whole(response, self._timeout_s))
            yield _download(response, begin, sha256)

    @contextmanager
    def stream(
        self, path: str, query: Query | None = None, media_type: str = "text/plain", silence_s: float | None = None
    ) -> Iterator[Iterator[bytes] | None]:
        """Gives a body of any length in the pieces in which it comes, None for a 204.

        Unreachable when no byte comes for `silence_s`, by default the client's time limit.
        """
        timeout_s = silence_s or self._timeout_s
        with self._asked("GET", self._target(path, query), None, timeout_s) as response:
            if response.status == 204:
                yield None
                return
            if response.status != 200:
                raise _refusal(response, _whole(response, timeout_s))
            if response.headers.get_content_type() != media_type:
                raise NotPurser(f"{response.headers.get_content_type()} where {media_type} was expected")
            yield _pieces(response)

    def _target(self, path: str, query: Query | None) -> str:
        given = {name: value for name, value in (query or {}).items() if value is not None}
        return f"{self._address.prefix}/api/v1{path}" + (f"?{urlencode(given)}" if given else "")

    def _send(self, method: str, target: str, body: object, timeout_s: float | None = None) -> Answer:
        with self._asked(method, target, body, timeout_s or self._timeout_s) as response:
            content = _whole(response, self._timeout_s)
            if not 200 <= response.status < 300:
                raise _refusal(response, content)
            return Answer(response.status, content, _next_target(response, target))

    @contextmanager
    def _asked(
        self, method: str, target: str, body: object, timeout_s: float, wanted: Mapping[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """Gives the response to a request, which is sent once more when the session has to be renewed for it.

        `wanted` are headers beside those of every request. A body that does not rewind is sent once.
        """
        with ExitStack() as exchange:
            response = exchange.enter_context(self._exchange(method, target, body, timeout_s, wanted))
            again = body.rewinds if isinstance(body, Upload) else True
            if response.status == 401 and self._session is not None and again:
                exchange.close()
                self._session.renew()
                response = exchange.enter_context(self._exchange(method, target, body, timeout_s, wanted))
            yield response

    @contextmanager
    def _exchange(
        self, method: str, target: str, body: object, timeout_s: float, wanted: Mapping[str, str] | None
    ) -> Iterator[http.client.HTTPResponse]:
        """Gives the response to a request that is sent once; turns every way a connection can fail into Unreachable."""
        connection = self._address.connection(timeout_s)
        headers = {**self._headers(body), **(wanted or {})}
        try:
            with response_to(connection, method, target, body, headers) as response:
                yield response
        except TimeoutError:
            raise Unreachable(f"No answer from {self._address.url} within {timeout_s:g} s") from None
        except OSError as error:
            raise Unreachable(f"Cannot reach {self._address.url}: {error.strerror or error}") from None
        except (http.client.HTTPException, UnicodeError) as error:
            raise Unreachable(f"Cannot talk to {self._address.url}: {error or type(error).__name__}") from None
        finally:
            connection.close()

    def _headers(self, body: object) -> dict[str, str]:
        headers = {"Accept": "*/*", "User-Agent": f"pkgctl/{__version__}", "Connection": "close"}
        if isinstance(body, Upload):
            headers["Content-Type"] = "application/octet-stream"
        elif body is not None:
            headers["Content-Type"] = "application/json"
        if self._label is not None:
            headers["X-Request-Id"] = self._label
        token = self._token if self._session is None else self._session.token()
        if token is not None:
            headers["Authorization"] = f"Token {token}"
        return headers


_ETAG = re.compile(r'"([0-9a-f]{64})"')
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18})")


def _download(response: http.client.HTTPResponse, begin: int, sha256: str) -> Download:
    """What an answer with bytes tells of them; NotPurser when that is not what was asked for."""
    tag = _ETAG.fullmatch(response.headers.get("ETag", ""))
    if tag is None:
        raise NotPurser("an answer does not tell the SHA-256 of what it holds")
    size, disposition = response.length, response.headers.get("Content-Disposition", "")
    if response.status == 206:
        part = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if part is None or (int(part[1]), tag[1]) != (begin, sha256):
            raise NotPurser("an answer holds a part of a file that was not asked for")
        size = int(part[2])
    return Download(disposition, tag[1], begin if response.status == 206 else 0, size, _pieces(response))


def _pieces(response: http.client.HTTPResponse) -> Iterator[bytes]:
    while piece := response.read1(CHUNK_BYTES):
        yield piece
    if response.length:  # http.client reports a body that ended too early only when it is read in one go
        raise http.client.IncompleteRead(b"", response.length)


def _whole(response: http.client.HTTPResponse, timeout_s: float) -> bytes:
    """Returns the body, bounded in size and in time: a server that drips must not hold us for ever."""
    content = bytearray()
    deadline = time.monotonic() + timeout_s
    for piece in _pieces(response):
        content += piece
        if len(content) > ANSWER_LIMIT_BYTES:
            raise NotPurser(f"an answer of more than {ANSWER_LIMIT_BYTES} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError
    return bytes(content)


def _refusal(response: http.client.HTTPResponse, content: bytes) -> Refused:
    retry_after_s = _seconds(response.headers.get("Retry-After"))
    try:
        problem = msgspec.json.decode(content, type=_Problem)
    except (ValueError, RecursionError):
        title = f"{response.status} {response.reason}".strip()
        location = response.headers.get("Location")
        detail = f"it points to {location}" if location else ""
        return Refused(response.status, title, detail, retry_after_s=retry_after_s)
    if problem.detail == TOKEN_REQUIRED:
        problem.detail = "sign in with `pkgctl login`, or set PURSER_TOKEN"
    errors = [(error.field, error.message) for error in problem.errors]
    return Refused(response.status, problem.title, problem.detail, problem.code, errors, retry_after_s)


def _seconds(header: str | None) -> float | None:
    """What a Retry-After asks for; None without one, and for a date, which Purser never sends."""
    return float(header) if header is not None and re.fullmatch(r"[0-9]{1,6}", header) else None


def _next_target(response: http.client.HTTPResponse, target: str) -> str | None:
    header = ", ".join(response.headers.get_all("Link", []))
    link = re.search(r'<([^<>]*)>[^<,]*;\s*rel="?next"?', header)
    if link is None:
        return None
    try:
        parts = urlsplit(urljoin(target, str(link[1])))
    except ValueError:
        raise NotPurser("the link to the next page is no link") from None
    return parts.path + (f"?{parts.query}" if parts.query else "")
