"""Streams of events: what is on the wire, and that none outlives its caller, its token or the service."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from starlette.requests import Request
from starlette.responses import Response

from app.actor import Call, Identity
from app.errors import Unauthorized, Unavailable
from app.jobs import Bell
from app.permissions import Grant, Permissions
from app.values import Quota
from app.web import sse
from app.web.access import PUBLIC, Credential, Endpoint, RouteLine
from app.web.sse import Streams, stream
from tests.notes import HANG_S, soon


class Event(NamedTuple):
    id: str
    kind: str
    content: object


class Feed:
    """Events that a test adds by hand."""

    def __init__(self, *events: Event) -> None:
        self.bell = Bell()
        self.over: str | None = None
        self.waiting: list[Event] = [*events]
        self.failure: Exception | None = None

    async def read(self) -> list[Event]:
        if self.failure is not None:
            raise self.failure
        found, self.waiting = self.waiting, []
        return found

    def add(self, *events: Event) -> None:
        self.waiting += events
        self.bell.ring()

    def end(self, reason: str = "finished") -> None:
        self.over = reason
        self.bell.ring()


class Desk:
    """Knows one secret, as long as it holds."""

    def __init__(self) -> None:
        self.holds = True
        self.permissions = Permissions([Grant("*", "all")])

    def known(self, credential: Credential) -> Identity | None:
        return None

    async def identify(self, credential: Credential) -> Identity:
        if not self.holds:
            raise Unauthorized("Token revoked")
        return Identity(1, "ann", self.permissions)

    def counted(self, credential: Credential, who: Identity | None) -> Quota | None:
        return None

    async def about_to_change(self) -> None:
        """Changes are not what these tests are about."""

    def seen(self, *_: object) -> None:
        """Nor is the trail."""


class Caller:
    """One call of a stream: what it was sent so far, and whether it still takes anything."""

    def __init__(self, feed: Feed, streams: Streams, desk: Desk, *, method: str = "GET", permission: str = "") -> None:
        self.sent: list[dict[str, Any]] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self._left = asyncio.Event()
        self._more = asyncio.Event()

        async def handler(request: Request) -> Response:
            return await stream(request, feed)

        endpoint = Endpoint(RouteLine("GET", "/events", handler, permission or "packages:read"), desk)
        app = SimpleNamespace(state=SimpleNamespace(streams=streams))
        credential = Credential(Call("id", "127.0.0.1", method, "/events"), None if permission == PUBLIC else "secret")
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": "/events",
            "query_string": b"",
            "headers": [],
        }
        scope |= {"app": app, "credential": credential, "endpoint": endpoint, "server": ("test", 80), "scheme": "http"}
        self.task = asyncio.create_task(endpoint(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.takes.wait()
        self.sent.append(message)
        self._more.set()

    @property
    def body(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    async def until(self, text: str) -> None:
        """Returns once the text has come."""
        async with asyncio.timeout(HANG_S):
            while text not in self.body:
                assert not self.task.done(), self.sent
                self._more.clear()
                await self._more.wait()

    async def end(self) -> str:
        """Waits for the end of the stream; the last event's data."""
        await soon(self.task)
        assert self.sent[-1]["more_body"] is False
        assert self.body.endswith("\n\n")
        return self.body.split("event: end\ndata: ")[1].strip()

    def leave(self) -> None:
        self._left.set()


@pytest.fixture
def streams() -> Streams:
    return Streams()


@pytest.fixture
def desk() -> Desk:
    return Desk()


FIRST = Event("1.1", "status", {"status": "queued", "text": "two\nlines\r\x85"})


async def test_events_are_sent_as_they_come_and_the_last_says_why(streams: Streams, desk: Desk) -> None:
    feed = Feed(FIRST)
    caller = Caller(feed, streams, desk)
    await caller.until("queued")
    assert dict(caller.sent[0]["headers"])[b"content-type"] == b"text/event-stream"
    assert caller.body == (
        'retry: 2000\n\nid: 1.1\nevent: status\ndata: {"status":"queued","text":"two\\nlines\\r\x85"}\n\n'
    )
    feed.add(Event("1.2", "log", "a"), Event("1.3", "log", "b"))
    await caller.until('data: "b"')
    feed.end()
    assert await caller.end() == '{"reason":"finished"}'
    assert caller.body.count("id: ") == 3
    assert len(streams) == 0


async def test_events_behind_which_nothing_follows_are_sent_before_the_end(streams: Streams, desk: Desk) -> None:
    feed = Feed(FIRST)
    feed.end("deleted")
    caller = Caller(feed, streams, desk)
    assert await caller.end() == '{"reason":"deleted"}'
    assert "queued" in caller.body


async def test_where_nothing_will_follow_a_client_is_told_not_to_come_back(streams: Streams, desk: Desk) -> None:
    feed = Feed()
    feed.end()
    caller = Caller(feed, streams, desk)
    await soon(caller.task)
    assert (caller.status, caller.body) == (204, "")


async def test_head_answers_at_once(streams: Streams, desk: Desk) -> None:
    caller = Caller(Feed(FIRST), streams, desk, method="HEAD")
    await soon(caller.task)
    assert (caller.status, caller.body) == (200, "")
    assert dict(caller.sent[0]["headers"])[b"content-type"] == b"text/event-stream"


async def test_a_silent_stream_has_a_heartbeat(streams: Streams, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sse.HEARTBEAT_S <= 15
    monkeypatch.setattr(sse, "HEARTBEAT_S", 0.01)
    feed = Feed()
    caller = Caller(feed, streams, desk)
    await caller.until(":\n\n:\n\n:\n\n")
    feed.end()
    await caller.end()


async def test_a_revoked_caller_hears_nothing_more(streams: Streams, desk: Desk) -> None:
    feed = Feed(FIRST)
    caller = Caller(feed, streams, desk)
    await caller.until("queued")
    desk.holds = False
    feed.waiting.append(Event("1.2", "log", "secret"))
    streams.recheck()
    assert await caller.end() == '{"reason":"revoked"}'
    assert "secret" not in caller.body


async def test_a_caller_who_may_no_longer_read_hears_nothing_more(streams: Streams, desk: Desk) -> None:
    caller = Caller(Feed(FIRST), streams, desk)
    await caller.until("queued")
    desk.permissions = Permissions([Grant("tokens:read", "all")])
    streams.recheck()
    assert await caller.end() == '{"reason":"revoked"}'


async def test_a_look_that_finds_all_well_is_not_seen(streams: Streams, desk: Desk) -> None:
    feed = Feed(FIRST)
    caller = Caller(feed, streams, desk)
    await caller.until("queued")
    before = caller.body
    streams.recheck()
    feed.add(Event("1.2", "log", "more"))
    await caller.until("more")
    assert caller.body.removeprefix(before) == 'id: 1.2\nevent: log\ndata: "more"\n\n'
    feed.end()
    await caller.end()


async def test_a_public_stream_asks_nobody(streams: Streams, desk: Desk) -> None:
    feed = Feed(FIRST)
    caller = Caller(feed, streams, desk, permission=PUBLIC)
    await caller.until("queued")
    streams.recheck()
    feed.end()
    assert await caller.end() == '{"reason":"finished"}'


async def test_a_client_that_goes_leaves_no_task_behind(streams: Streams, desk: Desk) -> None:
    before = asyncio.all_tasks()
    callers = [Caller(Feed(FIRST), streams, desk) for _ in range(20)]
    for caller in callers:
        await caller.until("queued")
    assert len(streams) == 20
    for caller in callers:
        caller.leave()
        await soon(caller.task)
    assert len(streams) == 0
    assert asyncio.all_tasks() == before


async def test_a_stream_that_is_cancelled_leaves_no_task_behind(streams: Streams, desk: Desk) -> None:
    before = asyncio.all_tasks()
    caller = Caller(Feed(FIRST), streams, desk)
    await caller.until("queued")
    caller.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller.task
    assert len(streams) == 0
    assert asyncio.all_tasks() == before


async def test_every_stream_ends_with_the_service(streams: Streams, desk: Desk) -> None:
    callers = [Caller(Feed(FIRST), streams, desk) for _ in range(50)]
    for caller in callers:
        await caller.until("queued")
    await soon(streams.close())
    assert {await caller.end() for caller in callers} == {'{"reason":"stopping"}'}
    late = Caller(Feed(FIRST), streams, desk)
    await soon(late.task)
    assert late.status == 503


async def test_a_client_that_does_not_read_does_not_hold_up_the_stop(
    streams: Streams, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, "LAST_WORDS_S", 0.01)
    before = asyncio.all_tasks()
    feed = Feed(FIRST)
    caller = Caller(feed, streams, desk)
    await caller.until("queued")
    caller.takes.clear()
    feed.add(Event("1.2", "log", "more"))
    streams.stop()
    await soon(caller.task)
    assert "end" not in caller.body
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("most", ["MOST", "MOST_OF_ONE_CALLER"])
async def test_there_are_never_too_many(
    streams: Streams, desk: Desk, most: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sse, most, 2)
    callers = [Caller(Feed(FIRST), streams, desk) for _ in range(2)]
    for caller in callers:
        await caller.until("queued")
    refused = Caller(Feed(FIRST), streams, desk)
    await soon(refused.task)
    assert refused.status == 429
    assert dict(refused.sent[0]["headers"])[b"retry-after"] == b"2"
    callers[0].leave()
    await soon(callers[0].task)
    again = Caller(Feed(FIRST), streams, desk)
    await again.until("queued")
    streams.stop()
    await asyncio.gather(again.end(), callers[1].end())


async def test_a_database_that_cannot_answer_ends_the_stream_for_now(streams: Streams, desk: Desk) -> None:
    feed = Feed(FIRST)
    caller = Caller(feed, streams, desk)
    await caller.until("queued")
    feed.failure = Unavailable("Too busy.")
    feed.bell.ring()
    assert await caller.end() == '{"reason":"unavailable"}'


async def test_an_error_nobody_expects_ends_the_stream_and_is_logged(
    streams: Streams, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    feed = Feed(FIRST)
    caller = Caller(feed, streams, desk)
    await caller.until("queued")
    feed.failure = ZeroDivisionError("inside")
    feed.bell.ring()
    assert await caller.end() == '{"reason":"unavailable"}'
    assert "inside" not in caller.body
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "a stream failed")


async def test_of_many_at_once_no_more_than_that_are_let_in(
    streams: Streams, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when all of them come in the same turn of the loop, before any has begun to hear anything."""
    monkeypatch.setattr(sse, "MOST_OF_ONE_CALLER", 5)
    feeds = [Feed(FIRST) for _ in range(40)]
    callers = [Caller(feed, streams, desk) for feed in feeds]
    async with asyncio.timeout(HANG_S):
        while sum(bool(caller.sent) for caller in callers) < len(callers):
            await asyncio.sleep(0)
    assert sorted(caller.status for caller in callers) == [200] * 5 + [429] * 35
    streams.stop()
    await asyncio.gather(*(caller.task for caller in callers))
    assert len(streams) == 0


@pytest.mark.parametrize("way", ["head", "nothing follows", "refused"])
async def test_a_call_that_becomes_no_stream_takes_no_place(streams: Streams, desk: Desk, way: str) -> None:
    feed = Feed()
    feed.over = "finished" if way == "nothing follows" else None
    feed.failure = Unavailable("Too busy.") if way == "refused" else None
    caller = Caller(feed, streams, desk, method="HEAD" if way == "head" else "GET")
    await soon(caller.task)
    assert len(streams) == 0
    await soon(streams.close())
