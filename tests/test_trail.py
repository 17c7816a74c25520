"""The batch in memory: what of the trail is not written yet is neither lost, nor told twice, nor turned round."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.audit import trail
from app.config import Config
from app.main import Purser, create_app
from app.values import new_token
from tests.support import ask, claim, configured, rows
from tests.test_audit import flushed
from tests.test_system import fill, limit

VERSION = "/api/v1/version"


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """No build is meant here: the program that would build ends at once."""
    return configured(tmp_path / "data", NIX_BUILD="false")


def on_loop(client: TestClient, fn: Callable[..., Any], *arguments: object) -> Any:
    """What an async function returns that runs where the service does."""
    assert client.portal is not None
    return client.portal.call(fn, *arguments)


def call(client: TestClient, first: int, last: int) -> None:
    """Calls that change nothing, each with its number."""
    for number in range(first, last):
        assert client.get(VERSION, headers={"X-Request-ID": f"n-{number}"}).status_code == 200


def told(config: Config) -> list[str]:
    """The numbers of those calls in the order of writing."""
    return [
        row["request_id"]
        for row in rows(config.database_path, "SELECT * FROM audit WHERE path = ? ORDER BY id", VERSION)
    ]


def numbers(first: int, last: int) -> list[str]:
    return [f"n-{number}" for number in range(first, last)]


@contextmanager
def writer_held(client: TestClient, app: Purser) -> Iterator[None]:
    """The database's writer is busy meanwhile: what is handed to it waits."""
    began, over = threading.Event(), threading.Event()

    def hold(tx: object) -> None:
        began.set()
        over.wait(30)

    assert client.portal is not None
    held = client.portal.start_task_soon(app.state.db.write, hold)
    assert began.wait(10)
    try:
        yield
    finally:
        over.set()
        held.result(10)


async def turns() -> None:
    """Lets everything that is ready on the loop have its turn, and what comes of it."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("sender", ["the batch itself", "a change about to begin", "another reader"])
def test_a_reader_waits_for_rows_that_are_on_their_way(
    client: TestClient, app: Purser, config: Config, monkeypatch: pytest.MonkeyPatch, sender: str
) -> None:
    """Whoever sent them: whoever reads finds every call that ended before."""
    monkeypatch.setattr(trail, "FLUSH_S", 3600)
    monkeypatch.setattr(trail, "FLUSH_ROWS", 3 if sender == "the batch itself" else 500)
    reading: list[asyncio.Task[None]] = []

    async def send_and_read() -> bool:
        if sender == "a change about to begin":
            await app.state.trail.begin()
        if sender == "another reader":
            reading.append(asyncio.create_task(app.state.trail.settle()))
        await turns()
        assert not app.state.trail.waiting
        reading.append(asyncio.create_task(app.state.trail.settle()))
        await turns()
        return reading[-1].done()

    async def finish() -> None:
        await asyncio.wait(reading)

    with writer_held(client, app):
        call(client, 0, 3)
        too_soon = on_loop(client, send_and_read)
    on_loop(client, finish)
    assert told(config) == numbers(0, 3)
    assert not too_soon


@pytest.mark.parametrize("path", ["/api/v1/audit", "/api/v1/tokens/1/logs"])
def test_a_reader_finds_what_was_gathered(client: TestClient, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(trail, "FLUSH_S", 3600)
    call(client, 0, 5)
    found = client.get(path)
    entries = found.json() if path.endswith("audit") else found.json()["logs"]
    assert (found.status_code, [entry.get("path", entry.get("endpoint")) for entry in entries[:5]]) == (
        200,
        [VERSION] * 5,
    )


def test_a_reader_that_is_cut_off_does_not_have_rows_told_twice(
    client: TestClient, app: Purser, config: Config
) -> None:
    """Its write has begun and will be done, although nobody waits for it any more."""
    began, over = threading.Event(), threading.Event()

    def hold(tx: object) -> None:
        began.set()
        over.wait(30)

    async def leave() -> None:
        holding = asyncio.create_task(app.state.db.write(hold))
        reading = asyncio.create_task(app.state.trail.settle())
        await asyncio.to_thread(began.wait, 10)  # both are in one batch, whose first member has begun
        reading.cancel()
        await asyncio.wait((reading,))
        over.set()
        await holding
        await app.state.trail.settle()

    call(client, 0, 5)
    on_loop(client, leave)
    assert told(config) == numbers(0, 5)


@given(st.text())
def test_any_text_becomes_storable(text: str) -> None:
    kept = trail.storable(text)
    assert len(kept.encode()) <= 4 * trail.MOST_CHARACTERS
    assert "\0" not in kept


def minute(client: TestClient, app: Purser) -> int:
    async def now() -> float:
        return asyncio.get_running_loop().time()

    assert client.portal is not None
    return int(client.portal.call(now) // 60)


@pytest.mark.parametrize("secret", ["nonsense", new_token(), "eyJhbGciOiJub25lIn0.e30."], ids=["no", "pat", "jwt"])
def test_unknown_tokens_leave_at_most_60_rows_a_minute_from_one_address(
    client: TestClient, app: Purser, config: Config, secret: str
) -> None:
    """The rest is counted; other addresses and known tokens have their rows all the same."""
    headers = [(b"authorization", f"Token {secret}".encode())]
    for attempt in range(5):
        host, uncounted, began = f"192.0.2.{attempt}", app.state.trail.uncounted, minute(client, app)
        own = client.headers.pop("authorization")
        for _ in range(75):
            ask(client, "GET", "/api/v1/packages", headers=headers, host=host)
        ask(client, "GET", "/api/v1/packages", headers=headers, host="198.51.100.1")
        client.headers["authorization"] = own
        ask(client, "GET", "/api/v1/packages", host=host)
        if minute(client, app) == began:
            break
    assert app.state.trail.uncounted == uncounted + 15
    found = flushed(client, app, config, "ip = ?", host)
    assert [entry["token_id"] for entry in found] == [None] * 60 + [1]
    assert len(flushed(client, app, config, "ip = '198.51.100.1'")) == attempt + 1


def test_the_addresses_of_one_ipv6_network_leave_no_more_rows_than_one(
    client: TestClient, app: Purser, config: Config
) -> None:
    own = client.headers.pop("authorization")
    for attempt in range(5):
        network, before, began = f"2001:db8:0:{attempt}", app.state.trail.uncounted, minute(client, app)
        for number in range(70):
            host = f"{network}:{number:x}::1"
            ask(client, "GET", "/api/v1/packages", headers=[(b"authorization", b"Token pat_nonsense")], host=host)
        if minute(client, app) == began:
            break
    client.headers["authorization"] = own
    assert app.state.trail.uncounted == before + 10
    assert len(flushed(client, app, config, "ip LIKE ?", f"{network}:%")) == 60


def test_the_count_of_addresses_is_bounded(
    client: TestClient, app: Purser, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail, "MOST_ADDRESSES", 3)
    own = client.headers.pop("authorization")
    for attempt in range(5):
        before, began = app.state.trail.uncounted, minute(client, app)
        for number in range(10):
            ask(client, "GET", "/none", headers=[(b"authorization", b"Token x")], host=f"192.0.{attempt}.{number}")
        if minute(client, app) == began:
            break
    client.headers["authorization"] = own
    assert app.state.trail.uncounted - before in (7, 10)
    assert len(flushed(client, app, config, "path = '/none'")) <= 6


@pytest.fixture
def written(app: Purser, client: TestClient) -> Iterator[threading.Event]:
    """Set when the trail's rows have been written by themselves."""
    event = threading.Event()

    def heard(name: str, statements: int, seconds: float) -> None:
        if name == "add_many":
            event.set()

    app.state.db.observe = heard
    yield event
    app.state.db.observe = None


def test_rows_are_written_within_a_moment_by_themselves(
    client: TestClient, config: Config, written: threading.Event
) -> None:
    client.get("/api/v1/packages", headers={"X-Request-ID": "soon"})
    assert written.wait(10)
    assert len(rows(config.database_path, "SELECT * FROM audit WHERE request_id = 'soon'")) == 1


def test_rows_are_written_at_once_when_there_are_many(
    client: TestClient, app: Purser, config: Config, written: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail, "FLUSH_S", 3600)
    monkeypatch.setattr(trail, "FLUSH_ROWS", 20)
    for _ in range(19):
        client.get("/api/v1/version")
    assert rows(config.database_path, "SELECT count(*) AS n FROM audit WHERE kind = 'call'") == [{"n": 0}]
    client.get("/api/v1/version")
    assert written.wait(10)
    assert rows(config.database_path, "SELECT count(*) AS n FROM audit WHERE kind = 'call'") == [{"n": 20}]


def test_rows_are_written_when_the_service_stops(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trail, "FLUSH_S", 3600)
    with TestClient(create_app(config), client=("127.0.0.1", 1)) as client:
        client.headers["Authorization"] = f"Token {claim(client)}"
        for _ in range(7):
            client.get("/api/v1/version")
    assert rows(config.database_path, "SELECT count(*) AS n FROM audit WHERE kind = 'call'") == [{"n": 7}]


def test_rows_wait_while_the_disk_is_full_and_none_is_lost(
    client: TestClient, app: Purser, config: Config, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Calls go on being answered; their rows are written when there is room, in their order."""
    monkeypatch.setattr(trail, "FLUSH_ROWS", 10)
    pages = fill(client, app)
    for number in range(300):
        assert client.get("/api/v1/version", headers={"X-Request-ID": f"full-{number}"}).status_code == 200
    assert "audit rows wait" in caplog.text
    assert app.state.trail.lost == 0
    limit(client, app, pages + 1000)
    found = flushed(client, app, config, "request_id LIKE 'full-%'")
    assert [entry["request_id"] for entry in found] == [f"full-{number}" for number in range(300)]


def test_while_the_disk_stays_full_the_oldest_rows_give_way(
    client: TestClient, app: Purser, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail, "MOST_ROWS", 50)
    monkeypatch.setattr(trail, "FLUSH_ROWS", 10)
    pages = fill(client, app)
    for number in range(300):
        client.get("/api/v1/version", headers={"X-Request-ID": f"full-{number}"})
    limit(client, app, pages + 1000)
    found = [entry["request_id"] for entry in flushed(client, app, config, "request_id LIKE 'full-%'")]
    assert found == [f"full-{number}" for number in range(300 - len(found), 300)]
    assert app.state.trail.lost == 301 - len(found) > 200  # one is the call that found the disk full


def test_a_stop_with_a_full_disk_is_a_stop_and_says_what_is_lost(
    config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(config)
    with TestClient(app, client=("127.0.0.1", 1)) as client:
        client.headers["Authorization"] = f"Token {claim(client)}"
        fill(client, app)
        for _ in range(400):
            client.get("/api/v1/version")
    (record,) = [record for record in caplog.records if record.getMessage() == "audit rows are lost"]
    assert record.levelno == logging.ERROR
    assert app.state.trail.lost == record.__dict__["rows"] >= 400


def test_rows_that_were_refused_go_before_those_that_came_later(
    client: TestClient, app: Purser, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two batches are on their way when the disk proves to be full; there is room, and they are told in order."""
    monkeypatch.setattr(trail, "FLUSH_S", 3600)
    monkeypatch.setattr(trail, "FLUSH_ROWS", 100)
    pages = fill(client, app)
    with writer_held(client, app):
        call(client, 0, 250)
    limit(client, app, pages + 1000)
    on_loop(client, app.state.trail.settle)
    assert told(config) == numbers(0, 250)
    assert app.state.trail.lost == 0


def test_while_the_disk_is_full_the_database_is_asked_once_in_a_while(
    client: TestClient, app: Purser, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by every call, with all rows that wait: that would be the more work the longer it lasts."""
    monkeypatch.setattr(trail, "FLUSH_ROWS", 100)
    fill(client, app)
    call(client, 0, 600)
    said = [record for record in caplog.records if record.getMessage() == "audit rows wait"]
    assert 1 <= len(said) <= 20
    assert app.state.trail.lost == 0
