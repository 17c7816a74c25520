"""Server-sent events: answers that last. None outlives its caller, its token or the service.

WHATWG HTML, 9.2: an event is a few lines and an empty one; a line that begins with a colon is a comment; a client that
loses the connection comes back with the last id it saw in the header Last-Event-ID, unless it is answered 204.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from app.errors import PurserError, TooMany, Unavailable
from app.jobs import Bell, first_of
from app.web.access import still_allowed
from app.web.codec import Header, Reply, left

HEARTBEAT_S = 10.0
GATHER_S = 0.05  # what is told in so short a time travels together
LAST_WORDS_S = 2.0  # for a client that does not read, when the service stops
MOST = 256
MOST_OF_ONE_CALLER = 64
RETRY_S = 2
_HEADERS: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream"),
    (b"x-accel-buffering", b"no"),  # nginx would gather them
)
_encode = msgspec.json.Encoder().encode

log = logging.getLogger("purser.web")


class Event(Protocol):
    """One event; `id` is what a client that comes back sends as Last-Event-ID."""

    @property
    def id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def content(self) -> object: ...


class Feed(Protocol):
    """Where the events of a stream come from. `bell` rings when there may be more; `over` says why none will come."""

    bell: Bell
    over: str | None

    async def read(self) -> Sequence[Event]:
        """What has happened since the last reading; empty when nothing has."""


class Streams:
    """The streams that are open: how many, when to look again whether they may go on, and when to end."""

    def __init__(self) -> None:
        self.bell = Bell()
        self.stopping = asyncio.Event()
        self._open: Counter[object] = Counter()
        self._none_open = asyncio.Event()
        self._none_open.set()

    def __len__(self) -> int:
        return self._open.total()

    def recheck(self, _: object = None) -> None:
        """Has every stream look whether its caller may still listen."""
        self.bell.ring()

    def stop(self) -> None:
        """Ends every stream with a last event; new ones are refused."""
        self.stopping.set()
        self.bell.ring()

    async def close(self) -> None:
        """Ends every stream, and waits for that."""
        self.stop()
        await first_of(self._none_open.wait(), timeout_s=LAST_WORDS_S)

    @contextmanager
    def entered(self, caller: object) -> Iterator[None]:
        """Counts a stream as one of the caller's while it is open; refuses one too many."""
        if self.stopping.is_set():
            raise Unavailable("Purser is stopping.", retry_after_s=RETRY_S)
        if len(self) >= MOST or self._open[caller] >= MOST_OF_ONE_CALLER:
            raise TooMany("Too many event streams are open.", retry_after_s=RETRY_S)
        self._open[caller] += 1
        self._none_open.clear()
        try:
            yield
        finally:
            self._open[caller] -= 1
            if not self._open[caller]:
                del self._open[caller]
            if not self._open:
                self._none_open.set()


async def stream(request: Request, feed: Feed) -> Response:
    """The feed's events as they come: 204 when there will be none; the headers alone for HEAD."""
    streams: Streams = request.app.state.streams
    caller = request.scope["identity"].user_id if request.scope["identity"] else None
    with ExitStack() as place:
        place.enter_context(streams.entered(caller))
        if request.method == "HEAD":
            return Reply(b"", 200, _HEADERS)
        first = await feed.read()
        if not first and feed.over is not None:
            return Reply(b"", 204)
        return EventStream(request, feed, first, streams, place.pop_all())


class EventStream(Response):
    """A stream of events that ends with one called `end`, whose `reason` says why.

    `finished` and `deleted`: nothing will follow; `stopping`: the service stops; `revoked`: the caller may not listen
    any more; `unavailable`: the service cannot say how it goes on. A comment every ten seconds keeps the connection.
    """

    def __init__(
        self, request: Request, feed: Feed, first: Sequence[Event], streams: Streams, place: AbstractContextManager[Any]
    ) -> None:
        self.status_code = 200
        self.background = None
        self.raw_headers = [*_HEADERS]
        self._request = request
        self._feed = feed
        self._first = first
        self._streams = streams
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tells until there is an end, the client goes away, or it does not take the last words in time."""
        with self._place:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            telling = asyncio.ensure_future(self._tell(send))
            leaving = asyncio.ensure_future(left(receive))
            stopping = asyncio.ensure_future(self._streams.stopping.wait())
            try:
                await asyncio.wait({telling, leaving, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if stopping.done():
                    await asyncio.wait({telling, leaving}, timeout=LAST_WORDS_S, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (telling, leaving, stopping):
                    task.cancel()
                await asyncio.gather(telling, leaving, stopping, return_exceptions=True)
        if not telling.cancelled():
            telling.result()

    async def _tell(self, send: Send) -> None:
        await send(_part(b"retry: %d\n\n" % (RETRY_S * 1000)))
        try:
            reason = await self._follow(send)
        except Exception as error:  # nobody above can tell the client any more
            reason = "unavailable"
            if not isinstance(error, PurserError):
                log.error("a stream failed", exc_info=error, extra={"path": self._request.url.path})
        last = b"event: end\ndata: %b\n\n" % _encode({"reason": reason})
        await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _follow(self, send: Send) -> str:
        """Sends what comes; why it has ended."""
        events = self._first
        while True:
            if events:
                await send(_part(b"".join(map(_lines, events))))
            elif self._feed.over is not None:
                return self._feed.over
            rung, looked_again = self._feed.bell.next(), self._streams.bell.next()  # before reading, or a ring is lost
            if self._streams.stopping.is_set():
                return "stopping"
            if not await still_allowed(self._request):
                return "revoked"
            events = await self._feed.read()
            if not events and self._feed.over is None:
                await first_of(rung.wait(), looked_again.wait(), timeout_s=HEARTBEAT_S)
                if rung.is_set():
                    await asyncio.sleep(GATHER_S)
                elif not looked_again.is_set():
                    await send(_part(b":\n\n"))


def _part(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


def _lines(event: Event) -> bytes:
    """The event on the wire; JSON has no line ends of its own."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event.id.encode(), event.kind.encode(), _encode(event.content))
