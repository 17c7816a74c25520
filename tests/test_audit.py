"""The trail: a row for every call with a credential, a change's row in its own transaction, and nothing secret."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.audit import trail
from app.config import Config
from app.main import Purser, create_app
from app.routes import ROUTES
from app.values import new_token
from app.web.access import PUBLIC, SIGNED_IN, RouteLine
from tests.accounts import make_person
from tests.support import Service, ask, claim, configured, create_until, rows
from tests.test_system import fill, limit

LINES = ROUTES


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """No build is meant here: the program that would build ends at once."""
    return configured(tmp_path / "data", NIX_BUILD="false")


def title(line: RouteLine) -> str:
    return f"{line.method} {line.path}"


def flushed(
    client: TestClient, app: Purser, config: Config, where: str = "1 = 1", *values: object
) -> list[dict[str, Any]]:
    """Rows of the trail, after what is gathered has been written."""
    assert client.portal is not None
    client.portal.call(app.state.trail.flush)
    return rows(config.database_path, f"SELECT * FROM audit WHERE {where} ORDER BY id", *values)  # noqa: S608


def tokens(client: TestClient) -> dict[str, tuple[str, int | None]]:
    """Credentials of every kind: the text of the header's second half, and the token that it names."""
    narrow = client.post("/api/v1/tokens", json={"scopes": ["fcs:read"]}).json()
    revoked = client.post("/api/v1/tokens").json()
    client.delete(f"/api/v1/tokens/{revoked['id']}")
    return {
        "narrow": (narrow["token"], narrow["id"]),
        "revoked": (revoked["token"], revoked["id"]),
        "unknown": (new_token(), None),
        "nonsense": ("nonsense", None),
        "full": (client.headers["authorization"].split()[1], 1),
    }


@pytest.mark.parametrize("line", LINES, ids=title)
def test_every_call_with_a_credential_leaves_exactly_one_row(
    client: TestClient, app: Purser, config: Config, line: RouteLine
) -> None:
    """Well asked, badly asked, asked for nothing, by a wrong method, by everybody: each call is found by its id."""
    client.post("/api/v1/packages", json={"name": "vim", "version": "9.1"})
    ways = {
        "plain": (line.method, line.path.replace("{id}", "1"), b""),
        "missing": (line.method, line.path.replace("{id}", "999"), b""),
        "huge id": (line.method, line.path.replace("{id}", "9" * 30), b""),
        "bad query": (line.method, line.path.replace("{id}", "1"), b"unheard=1"),
        "wrong method": ("BREW", line.path.replace("{id}", "1"), b""),
        "slash": (line.method, line.path.replace("{id}", "998") + "/", b""),
    }
    told = {}
    for kind, (secret, token_id) in tokens(client).items():
        for way, (method, path, query) in ways.items():
            headers = [
                (b"authorization", f"Token {secret}".encode()),
                (b"x-request-id", f"{kind}-{way}".replace(" ", "-").encode()),
            ]
            own = client.headers.pop("authorization")
            answer = ask(client, method, path, query=query, headers=headers)
            client.headers["authorization"] = own
            told[answer.headers["x-request-id"]] = (method, path, answer.status_code, token_id)
            if line.path.startswith("/api/v1/tokens/{id}") and way == "plain" and answer.is_success and method != "GET":
                break  # it has just revoked itself, or replaced its secret
    found = {number: flushed(client, app, config, "request_id = ?", number) for number in told}
    assert {number: len(entries) for number, entries in found.items()} == dict.fromkeys(told, 1)
    for number, (method, path, status, token_id) in told.items():
        (entry,) = found[number]
        assert (entry["method"], entry["path"], entry["token_id"]) == (method, path, token_id), number
        assert entry["authorized"] == (status not in (401, 403)), number
        assert entry["status"] == (line.status if entry["kind"] == "change" else status), number
        assert entry["actor_id"] == (1 if token_id and "revoked" not in number else None), number
        assert entry["ip"] == "127.0.0.1"
        assert (entry["reason"] is None) == (status < 400), number


@pytest.mark.parametrize("line", LINES, ids=title)
def test_a_call_without_a_credential_leaves_none(
    client: TestClient, app: Purser, config: Config, line: RouteLine
) -> None:
    before = len(flushed(client, app, config))
    del client.headers["authorization"]
    for method in (line.method, "BREW"):
        ask(client, method, line.path.replace("{id}", "1"))
    assert len(flushed(client, app, config)) == before


def test_a_row_says_who_did_what_from_where_and_why_not(client: TestClient, app: Purser, config: Config) -> None:
    ask(client, "GET", "/api/v1/packages/7", query=b"", headers=[(b"x-request-id", b"one")], host="192.0.2.9")
    (entry,) = flushed(client, app, config, "request_id = 'one'")
    assert entry["at"].endswith("Z")
    del entry["id"], entry["at"]
    assert entry == {
        "kind": "call",
        "request_id": "one",
        "actor_id": 1,
        "actor_name": "admin",
        "token_id": 1,
        "session_id": None,
        "ip": "192.0.2.9",
        "method": "GET",
        "path": "/api/v1/packages/7",
        "route": "/api/v1/packages/{id}",
        "status": 404,
        "authorized": 1,
        "reason": "No such package.",
        "action": None,
        "target": None,
    }


def test_a_change_is_told_with_its_action_and_target(client: TestClient, config: Config) -> None:
    """Without any flush: the row came with the change."""
    client.post("/api/v1/packages", json={"name": "vim", "version": "9.1"}, headers={"X-Request-ID": "made"})
    client.delete("/api/v1/packages/1", headers={"X-Request-ID": "gone"})
    token = client.post("/api/v1/tokens", headers={"X-Request-ID": "mint"}).json()
    client.delete(f"/api/v1/tokens/{token['id']}", headers={"X-Request-ID": "revoke"})
    client.delete("/api/v1/tokens/all", headers={"X-Request-ID": "all"})
    found = rows(config.database_path, "SELECT * FROM audit WHERE kind = 'change' AND action <> 'appliance.claim'")
    assert [(entry["request_id"], entry["action"], entry["target"], entry["status"]) for entry in found] == [
        ("made", "packages.create", "packages/1", 201),
        ("gone", "packages.delete", "packages/1", 204),
        ("mint", "tokens.create", "tokens/2", 201),
        ("revoke", "tokens.revoke", "tokens/2", 200),
        ("all", "tokens.revoke_others", "users/1", 200),
    ]
    assert {(entry["actor_name"], entry["token_id"], entry["authorized"]) for entry in found} == {("admin", 1, 1)}


def test_a_change_that_is_refused_is_a_call_and_no_change(client: TestClient, app: Purser, config: Config) -> None:
    client.post("/api/v1/packages", json={"name": "vim", "version": "9.1"})
    again = {"X-Request-ID": "again"}
    assert client.post("/api/v1/packages", json={"name": "vim", "version": "9.1"}, headers=again).status_code == 409
    (entry,) = flushed(client, app, config, "request_id = 'again'")
    assert (entry["kind"], entry["status"], entry["reason"]) == ("call", 409, "vim 9.1 exists already.")


@pytest.mark.parametrize(("kind", "begins"), [("token", "pat_"), ("session", "eyJ")])
def test_nothing_secret_is_told(client: TestClient, app: Purser, config: Config, kind: str, begins: str) -> None:
    """Neither query strings nor tokens of either kind, wherever a confused caller may put one."""
    secret = client.headers["authorization"].split()[1]
    if kind == "session":
        secret = make_person(client, config, "ann", "super_admin").pair["access_token"]
        client.headers["authorization"] = f"Bearer {secret}"
    before = len(flushed(client, app, config))
    client.get("/api/v1/packages", params={"q": "s3same"})
    client.get("/api/v1/packages", params={"s3same": secret})
    client.get("/api/v1/packages", params={secret: "x"})
    client.get(f"/api/v1/packages/{secret}")
    client.post("/api/v1/packages", json={secret: 1})
    client.post("/api/v1/packages", json={"name": f"{secret}!", "version": "1.0"})
    client.get("/hello", headers={"Authorization": f"Basic {secret}"})
    found = flushed(client, app, config)[before:]
    assert len(found) == 7
    text = str(found)
    assert secret not in text
    assert secret[4:-6] not in text
    assert "?" not in "".join(entry["path"] for entry in found)
    assert f"{begins}…" in text


def test_what_no_database_takes_does_not_stop_the_trail(client: TestClient, app: Purser, config: Config) -> None:
    """NUL, lone surrogates and endless text, in the path, the method and the reason."""
    for path in ("/a\0b", "/\ud800", "/" + "x" * 60_000):
        ask(client, "GET", path, headers=[(b"x-request-id", b"odd")])
    ask(client, "M" * 60_000, "/hello", headers=[(b"x-request-id", b"odd")])
    ask(client, "GET", "/api/v1/packages", query=b"%00=1", headers=[(b"x-request-id", b"odd")])
    ask(
        client,
        "POST",
        "/api/v1/packages",
        body=[b'{"' + b"x" * 500_000 + b'": 1}'],
        headers=[(b"x-request-id", b"odd")],
    )
    found = flushed(client, app, config, "request_id = 'odd'")
    assert [entry["status"] for entry in found] == [404, 404, 404, 405, 400, 400]
    assert [entry["path"][:5] for entry in found[:2]] == ["/a\ufffdb", "/?"]
    assert max(len(str(value)) for entry in found for value in entry.values()) <= 500
    assert "\0" not in str(found)


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


def test_unknown_tokens_leave_at_most_60_rows_a_minute_from_one_address(
    client: TestClient, app: Purser, config: Config
) -> None:
    """The rest is counted; other addresses and known tokens have their rows all the same."""
    headers = [(b"authorization", b"Token nonsense")]
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
    assert found[-1] == "full-299"
    assert app.state.trail.lost > 200
    assert len(found) < 100


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


@pytest.mark.slow
def test_after_a_crash_every_acknowledged_change_has_its_row(service: Service) -> None:
    """Eight callers create packages until the plug is pulled; whatever was answered 201 stands in both tables."""
    service.start()
    answers, _ = create_until(service, service.kill, writers=8, enough=300)
    assert {answer.status_code for answer in answers} == {201}
    acknowledged = [answer.json()["id"] for answer in answers]
    service.start()
    assert service.stop()[0] == 0
    told = rows(service.database, "SELECT target FROM audit WHERE action = 'packages.create'")
    kept = rows(service.database, "SELECT id FROM packages")
    assert len(acknowledged) >= 300
    assert {f"packages/{number}" for number in acknowledged} <= {entry["target"] for entry in told}
    assert sorted(entry["target"] for entry in told) == sorted(f"packages/{entry['id']}" for entry in kept)


def test_the_trail_knows_every_route_by_its_line(client: TestClient, app: Purser, config: Config) -> None:
    """Not by the path that was asked for: what is counted by route has few values."""
    told = [line for line in LINES if line.permission in (PUBLIC, SIGNED_IN) or line.method == "GET"]
    for line in told:
        client.request(line.method, line.path.replace("{id}", "12345"))
    client.get("/none")
    client.put("/hello")
    found = {entry["route"] for entry in flushed(client, app, config, "kind = 'call'")}
    assert found == {line.path for line in told} | {"(none)", "(method)"}


def test_a_call_whose_client_leaves_before_it_was_read_has_its_row(client: TestClient, app: Purser) -> None:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/v1/packages",
        "query_string": b"",
        "headers": [(b"authorization", client.headers["Authorization"].encode()), (b"content-length", b"100")],
        "client": ("127.0.0.1", 1),
    }
    sent: list[Any] = []

    async def leave() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    assert client.portal is not None
    client.portal.call(app, scope, leave, send)
    client.portal.call(app.state.trail.flush)
    [row] = rows(app.state.config.database_path, "SELECT status, actor_name FROM audit WHERE path = ?", scope["path"])
    assert (row["status"], row["actor_name"]) == (499, "admin")
    assert sent == []
