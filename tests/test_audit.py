"""The trail: a row for every call with a credential, a change's row in its own transaction, and nothing secret."""

import itertools
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from app.config import Config
from app.main import Purser, create_app
from app.routes import ROUTES
from app.values import new_secret, new_token
from app.web.access import ACTION, PUBLIC, SIGNED_IN, RouteLine
from tests.accounts import PASSWORD, Person, make_person
from tests.fcs_writer import fcs
from tests.support import Clock, ask, claim, configured, refusal, rows

pytestmark = pytest.mark.slow  # an application of its own for each route

LINES = ROUTES
AUDIT, PACKAGES, VERSION = "/api/v1/audit", "/api/v1/packages", "/api/v1/version"
SAMPLE = fcs([[1.0, 2.0]], names=["FSC-A"])
LINK = new_secret()
"""What stands for a link, which nobody was ever given."""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """No build is meant here: the program that would build ends at once."""
    return configured(tmp_path / "data", NIX_BUILD="false")


def title(line: RouteLine) -> str:
    return f"{line.method} {line.path}"


def at(line: RouteLine, number: str = "1") -> str:
    """The path of a route with this number for every id in it."""
    return re.sub(r"{\w+}", number, line.path.replace("{link}", LINK))


def flushed(
    client: TestClient, app: Purser, config: Config, where: str = "1 = 1", *values: object
) -> list[dict[str, Any]]:
    """Rows of the trail, after what is gathered has been written."""
    assert client.portal is not None
    client.portal.call(app.state.trail.settle)
    return rows(config.database_path, f"SELECT * FROM audit WHERE {where} ORDER BY id", *values)  # noqa: S608


def measured(client: TestClient) -> None:
    """An FCS file, and an upload of which all chunks have come; each has the id 1."""
    made = client.put("/api/v1/fcs/content?name=a.fcs", content=SAMPLE)
    begun = client.post("/api/v1/fcs/uploads", json={"filename": "b.fcs", "file_size": len(SAMPLE)})
    assert (made.json()["file_id"], begun.json()["id"]) == (1, 1)
    assert client.put("/api/v1/fcs/uploads/1/chunks/0", content=SAMPLE).json()["missing"] == []


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
    if line.path.startswith("/api/v1/fcs"):
        measured(client)
    ways = {
        "plain": (line.method, at(line), b""),
        "missing": (line.method, at(line, "999"), b""),
        "huge id": (line.method, at(line, "9" * 30), b""),
        "bad query": (line.method, at(line), b"unheard=1"),
        "wrong method": ("BREW", at(line), b""),
        "slash": (line.method, at(line, "998") + "/", b""),
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
        known = path.partition(LINK)[0] + "…" if LINK in path else path
        assert (entry["method"], entry["path"], entry["token_id"]) == (method, known, token_id), number
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
        ask(client, method, at(line))
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
        "group_id": None,
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


def test_the_trail_knows_every_route_by_its_line(client: TestClient, app: Purser, config: Config) -> None:
    """Not by the path that was asked for: what is counted by route has few values."""
    told = [line for line in LINES if line.permission in (PUBLIC, SIGNED_IN) or line.method == "GET"]
    for line in told:
        client.request(line.method, at(line, "12345"))
    client.get("/none")
    client.put("/hello")
    found = {entry["route"] for entry in flushed(client, app, config, "kind = 'call'")}
    assert found == {line.path for line in told} | {"(none)", "(method)"}


def leave(client: TestClient, path: str = PACKAGES, number: str = "left", *, method: str = "POST") -> None:
    """Calls with a body announced, and goes away before it is sent."""
    headers = {"authorization": client.headers["Authorization"], "content-length": "100", "x-request-id": number}
    headers["content-type"] = "multipart/form-data; boundary=0123456789"
    place, _, query = path.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": place,
        "query_string": query.encode(),
        "client": ("127.0.0.1", 1),
    }
    sent: list[Any] = []

    async def gone() -> dict[str, str]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    assert client.portal is not None
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    client.portal.call(client.app, scope | {"headers": raw}, gone, send)
    assert sent == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", PACKAGES),
        ("POST", "/api/v1/files"),
        ("PUT", "/api/v1/files/content?name=a.txt"),
        ("POST", "/api/v1/fcs/upload"),
        ("PUT", "/api/v1/fcs/content?name=a.fcs"),
        ("PUT", "/api/v1/fcs/uploads/1/chunks/0"),
        ("POST", "/api/v1/fcs/uploads/1/complete"),
        ("DELETE", f"{PACKAGES}/1"),
    ],
)
def test_a_call_whose_client_leaves_before_it_was_read_has_its_row(
    client: TestClient, app: Purser, config: Config, method: str, path: str
) -> None:
    begun = client.post("/api/v1/fcs/uploads", json={"filename": "a.fcs", "file_size": 100})
    assert (begun.status_code, begun.json()["id"]) == (201, 1)
    leave(client, path, method=method)
    [row] = flushed(client, app, config, "request_id = 'left'")
    assert (row["status"], row["actor_name"], row["kind"]) == (499, "admin", "call")
    assert (row["method"], row["path"], row["reason"]) == (method, path.partition("?")[0], None)


def as_told(entry: dict[str, Any]) -> tuple[object, ...]:
    return tuple(entry[name] for name in ("request_id", "kind", "status", "authorized", "token_id", "reason"))


def test_a_mixed_load_is_told_in_the_order_of_the_calls(client: TestClient, clock: Clock) -> None:
    """Reads, changes, refusals of every sort, one call after the other at one instant; a read before each change."""
    kinds = {name: (f"Token {secret}", token_id) for name, (secret, token_id) in tokens(client).items()}
    short = client.post("/api/v1/tokens", json={"expires_in_days": 1}).json()
    clock.at += 2 * 86400
    kinds |= {"expired": (f"Token {short['token']}", short["id"]), "none": ("", None)}
    began = client.get(AUDIT, params={"limit": 1}).json()[0]["id"]
    want: list[tuple[object, ...]] = []

    def call(who: str, method: str, path: str, status: int, reason: str | None = None, **more: Any) -> None:
        header, token_id = kinds[who]
        number = f"{len(want)}-{who}"
        answer = client.request(method, path, headers={"Authorization": header, "X-Request-ID": number}, **more)
        assert answer.status_code == status, answer.text
        changed = "change" if method not in ("GET", "HEAD") and status < 400 else "call"
        if who != "none":
            want.append((number, changed, status, status not in (401, 403), token_id, reason))

    for turn in range(3):
        call("full", "GET", PACKAGES, 200)
        call("full", "POST", PACKAGES, 201, json={"name": "vim", "version": f"9.{turn}"})
        call(
            "full", "POST", PACKAGES, 409, f"vim 9.{turn} exists already.", json={"name": "vim", "version": f"9.{turn}"}
        )
        call("narrow", "GET", PACKAGES, 403, "This needs packages:read.")
        call("none", "GET", PACKAGES, 401)
        call("revoked", "GET", PACKAGES, 401, "Token revoked")
        call("full", "DELETE", f"{PACKAGES}/{turn + 1}", 204)
        call("expired", "POST", PACKAGES, 401, "Token expired")
        call("unknown", "GET", PACKAGES, 401, "Invalid token")
        call("full", "GET", "/health", 200)
        call("revoked", "GET", "/health", 200)
        call("none", "GET", "/health", 200)
        leave(client, number=f"{len(want)}-left")
        want.append((f"{len(want)}-left", "call", 499, True, 1, None))
        call("full", "GET", "/none", 404, "There is nothing at this path.")
        call("full", "POST", "/api/v1/tokens", 201)
        call("full", "HEAD", VERSION, 200)

    told = client.get(AUDIT, params={"limit": 1000}).json()
    ours = [entry for entry in told if entry["id"] > began and entry["path"] != AUDIT]
    assert [as_told(entry) for entry in ours] == want[::-1]
    for name, (_, token_id) in kinds.items():
        if token_id not in (None, 1):
            logs = client.get(f"/api/v1/tokens/{token_id}/logs").json()
            mine = [number for number, *_ in reversed(want) if str(number).endswith(f"-{name}")]
            assert logs["total_logs"] == len(logs["logs"]) == len(mine)
            assert {log["status_code"] for log in logs["logs"]} == {row[2] for row in want if row[0] in mine}


def test_calls_at_once_have_one_row_each_and_whoever_reads_finds_those_that_ended(client: TestClient) -> None:
    """Six callers, each of whom looks for its own last call in the trail, while the others' rows are being written."""
    made = itertools.count()
    missed: list[str] = []

    def work(caller: int) -> list[str]:
        numbers = []
        for turn in range(15):
            path = (VERSION, PACKAGES, "/none")[turn % 3]
            method = "POST" if path == PACKAGES else "GET"
            body = {"name": f"p{next(made)}", "version": "1.0"} if method == "POST" else None
            numbers.append(f"{caller}-{turn}")
            client.request(method, path, json=body, headers={"X-Request-ID": numbers[-1]})
            found = {entry["request_id"] for entry in client.get(AUDIT, params={"limit": 1000}).json()}
            missed.extend(number for number in numbers if number not in found)
        return numbers

    with ThreadPoolExecutor(6) as pool:
        numbers = [number for done in pool.map(work, range(6)) for number in done]
    found = [entry["request_id"] for entry in client.get(AUDIT, params={"limit": 1000}).json()]
    assert missed == []
    assert {number: found.count(number) for number in numbers} == dict.fromkeys(numbers, 1)


def changes(client: TestClient, person: Person) -> dict[str, Callable[[], httpx2.Response]]:
    """Well-formed changes of a credential's that name nothing to change, or more than one thing."""
    post, put = client.post, client.put
    group = post("/api/v1/groups", json={"name": "North", "uniform_number": "00000001"}).json()["id"]
    team = post("/api/v1/teams", json={"name": "Red"}).json()["id"]
    put(f"/api/v1/users/{person.id}/group", json={"group_id": group})
    put(f"/api/v1/users/{person.id}/roles", json={"roles": ["admin"]})
    email = {"email": f"{person.username}@example.com"}
    new = {"email": "new@example.com", "password": PASSWORD, "name": "New"}
    return {
        "a forgotten password": lambda: post("/api/v1/auth/forgot-password", json=email),
        "the password of nobody": lambda: post("/api/v1/auth/forgot-password", json={"email": "no@example.com"}),
        "a sign-in": lambda: post("/api/v1/auth/login", json={**email, "password": PASSWORD}),
        "a wrong password": lambda: post("/api/v1/auth/login", json={**email, "password": "wrong horse"}),
        "a registration": lambda: post("/api/v1/auth/register", json=new),
        "a profile left as it is": lambda: client.patch("/api/v1/users/me", json={}),
        "a team left as it is": lambda: client.patch(f"/api/v1/teams/{team}", json={}),
        "the same address": lambda: put("/api/v1/tokens/1/allowed-ips", json={"allowed_ips": None}),
        "the same group": lambda: put(f"/api/v1/users/{person.id}/group", json={"group_id": group}),
        "the same roles": lambda: put(f"/api/v1/users/{person.id}/roles", json={"roles": ["admin"]}),
        "a group of admins": lambda: client.delete(f"/api/v1/groups/{group}"),
        "all people of a list": lambda: post("/api/v1/users/batch-delete", json={"ids": [person.id]}),
    }


def test_a_change_leaves_one_row_also_when_it_changes_nothing_or_much(
    client: TestClient, app: Purser, config: Config
) -> None:
    left, statuses = {}, set()
    for what, change in changes(client, make_person(client, config, "ann")).items():
        client.headers["X-Request-ID"] = what.replace(" ", "-")
        answer = change()
        statuses.add(answer.status_code)
        found = flushed(client, app, config, "request_id = ?", what.replace(" ", "-"))
        left[what] = [(row["status"], row["method"] is not None) for row in found]
        assert left[what][:1] in ([], [(answer.status_code, True)]), answer.text
    assert statuses == {200, 201, 202, 204, 401}
    assert {what: len(found) for what, found in left.items()} == dict.fromkeys(left, 1)


def kept(client: TestClient, ann: Person) -> Iterator[tuple[httpx2.Response, str, str]]:
    """What people keep, changed in every way there is, each time with the action and the target of the row."""

    def call(method: str, path: str, action: str, target: str = "", **more: Any) -> tuple[httpx2.Response, str, str]:
        return client.request(method, f"/api/v1/{path}", **more), action, target or path

    for number, name in enumerate(("letters", "drafts", "old"), 1):
        yield call("POST", "folders", "folders.create", f"folders/{number}", json={"name": name})
    for number in range(1, 7):
        yield call("POST", "documents", "documents.create", f"documents/{number}", json={"title": "Title"})
    upload: dict[str, Any] = {"files": {"file": ("a.txt", b"hello")}}
    for number, path in enumerate(("files", "files", "files", "files/upload", "files/upload"), 1):
        yield call("POST", path, "files.upload", f"files/{number}", **upload)
    yield call("PUT", "files/content?name=a.txt", "files.upload", "files/6", content=b"hello")
    made, shares = 6, 0
    for method in ("PATCH", "PUT"):
        yield call(method, "folders/1", "folders.update", json={"name": method})
        yield call(method, "documents/1", "documents.update", json={"content": method})
        yield call(method, "files/1", "files.update", json={"is_favorite": True})
    for number, method in enumerate(ACTION.split(), 1):
        for noun in ("folders", "files"):
            yield call(method, f"{noun}/1/rename", f"{noun}.update", f"{noun}/1", json={"name": f"{number}.txt"})
        yield call(method, "documents/1/rename", "documents.update", "documents/1", json={"title": str(number)})
        yield call(method, "folders/1/move", "folders.update", "folders/1", json={"parent_id": number % 2 + 2})
        for noun in ("documents", "files"):
            yield call(method, f"{noun}/1/move", f"{noun}.update", f"{noun}/1", json={"folder_id": number})
            yield call(
                method, f"{noun}/batch-delete", f"{noun}.delete", f"{noun}/{number + 1}", json={"ids": [number + 1]}
            )
        yield call(method, "documents/1/tags", "documents.update", "documents/1", json={"tags": ["a"]})
        yield call(method, "documents/1/share", "documents.share", "documents/1", json={"user_id": ann.id})
        yield call(method, "documents/1/unshare", "documents.unshare", "documents/1", json={"user_id": ann.id})
        yield call(method, "documents/1/revisions/1/restore", "documents.restore", "documents/1/revisions/1")
        yield call(method, "files/1/favorite", "files.update", "files/1", json={})
        made, shares = made + 1, shares + 1
        yield call(method, "files/1/copy", "files.copy", f"files/{made}", json={})
        yield call(method, "files/1/share", "files.share", f"files/1/shares/{shares}", json={"link": True})
        revoked = f"files/1/shares/{shares}"
        yield call(method, "files/1/revoke-share", "files.revoke_share", revoked, json={"share_id": shares})
    yield call("POST", "files/batch-delete", "files.delete", "files/5,6", json={"ids": [6, 5, 6]})
    for noun in ("files", "documents", "folders"):
        yield call("DELETE", f"{noun}/1", f"{noun}.delete")


def test_every_change_of_what_people_keep_leaves_its_one_row(client: TestClient, app: Purser, config: Config) -> None:
    """By every route that changes something of theirs, with what was done to what."""
    began = flushed(client, app, config)[-1]["id"]
    told = [
        (answer.headers["x-request-id"], answer.status_code, action, target)
        for answer, action, target in kept(client, make_person(client, config, "ann"))
    ]
    found = flushed(client, app, config, "id > ? AND route NOT LIKE '/api/v1/users%'", began)
    ours = [row for row in found if row["route"] != "/api/v1/auth/login"]
    assert [(row["request_id"], row["status"], row["action"], row["target"]) for row in ours] == told
    assert {(row["kind"], row["actor_name"], row["token_id"]) for row in ours} == {("change", "admin", 1)}
    rooms = tuple(f"/api/v1/{room}" for room in ("documents", "folders", "files"))
    changing = {(line.method, line.path) for line in LINES if line.path.startswith(rooms) and line.method != "GET"}
    assert {(row["method"], row["route"]) for row in ours} == changing


def sent(client: TestClient) -> Iterator[tuple[httpx2.Response, str | None, str | None]]:
    """FCS files that come in every way there is, and go, each time with the action and the target of the row."""

    def call(
        method: str, path: str, action: str | None = None, target: str | None = None, **more: Any
    ) -> tuple[httpx2.Response, str | None, str | None]:
        return client.request(method, f"/api/v1/fcs/{path}", **more), action, target

    new = {"filename": "c.fcs", "file_size": len(SAMPLE)}
    yield call("POST", "upload", "fcs.upload", "fcs/files/1", files={"file": ("a.fcs", SAMPLE)})
    yield call("PUT", "content?name=b.fcs", "fcs.upload", "fcs/files/2", content=SAMPLE)
    yield call("POST", "uploads", "fcs.upload_begin", "fcs/uploads/1", json=new)
    for _ in range(2):
        yield call("PUT", "uploads/1/chunks/0", content=SAMPLE)
    yield call("POST", "uploads/1/complete", "fcs.upload", "fcs/files/3")
    yield call("POST", "uploads", "fcs.upload_begin", "fcs/uploads/2", json=new)
    yield call("DELETE", "uploads/2", "fcs.upload_abort", "fcs/uploads/2")
    yield call("DELETE", "files/1", "fcs.delete", "fcs/files/1")


def test_every_change_of_fcs_files_leaves_its_one_row(client: TestClient, app: Purser, config: Config) -> None:
    """By every route that changes something of them; what changes nothing that anybody sees is a call."""
    began = flushed(client, app, config)[-1]["id"]
    told = [
        (answer.headers["x-request-id"], answer.status_code, action, target) for answer, action, target in sent(client)
    ]
    ours = flushed(client, app, config, "id > ?", began)
    assert [(row["request_id"], row["status"], row["action"], row["target"]) for row in ours] == told
    assert [row["kind"] for row in ours] == ["call" if row["action"] is None else "change" for row in ours]
    assert {(row["actor_name"], row["token_id"], row["authorized"]) for row in ours} == {("admin", 1, 1)}
    changing = {(line.method, line.path) for line in LINES if line.path.startswith("/api/v1/fcs")}
    assert {(row["method"], row["route"]) for row in ours} == {pair for pair in changing if pair[0] != "GET"}


def test_an_upload_that_is_completed_again_leaves_a_row_again(client: TestClient, app: Purser, config: Config) -> None:
    """Although it changes nothing any more: the same file is told."""
    measured(client)
    for number in ("first", "again"):
        answer = client.post("/api/v1/fcs/uploads/1/complete", headers={"X-Request-ID": number})
        assert (answer.status_code, answer.json()["file_id"]) == (201, 2)
        found = flushed(client, app, config, "request_id = ?", number)
        assert [(row["status"], row["authorized"], row["token_id"]) for row in found] == [(201, 1, 1)], number


def test_a_link_is_in_no_row_neither_where_it_is_made_nor_where_it_is_used(
    client: TestClient, app: Purser, config: Config
) -> None:
    """The call that makes a download URL is told as the read that it is; a stranger's use among the accesses alone."""
    client.put("/api/v1/files/content?name=a.txt", content=b"hello")
    made = client.get("/api/v1/files/1/download-url", headers={"X-Request-ID": "made"}).json()["path"]
    link = client.post("/api/v1/files/1/share", json={"link": True}).json()["link"]
    before = len(flushed(client, app, config))
    own = client.headers.pop("authorization")
    for path in (made, f"/api/v1/files/shared/{link}"):
        assert client.get(path).content == b"hello"
    assert len(flushed(client, app, config)) == before
    accesses = "SELECT share_id, user_id, action FROM file_accesses"
    assert rows(config.database_path, accesses) == [
        {"share_id": number, "user_id": None, "action": "download"} for number in (1, 2)
    ]
    client.headers["authorization"] = own
    assert client.get(made, headers={"X-Request-ID": "used"}).content == b"hello"
    told = flushed(client, app, config, "request_id IN ('made', 'used')")
    assert [(row["kind"], row["path"], row["status"], row["action"], row["target"]) for row in told] == [
        ("call", "/api/v1/files/1/download-url", 200, None, None),
        ("call", "/api/v1/files/shared/…", 200, None, None),
    ]
    everything = str(flushed(client, app, config)) + str(rows(config.database_path, "SELECT * FROM file_shares"))
    assert link not in everything
    assert made.rsplit("/", 1)[1] not in everything


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "{}"), ("BREW", "{}"), ("GET", "{}/a.txt"), ("GET", "/{}"), ("GET", "{}/.."), ("PUT", "{}/")],
)
def test_a_link_that_is_called_in_a_wrong_way_is_in_no_row_either(
    client: TestClient, app: Purser, config: Config, method: str, path: str
) -> None:
    client.put("/api/v1/files/content?name=a.txt", content=b"hello")
    link = client.post("/api/v1/files/1/share", json={"link": True}).json()["link"]
    answer = ask(client, method, "/api/v1/files/shared/" + path.format(link), headers=[(b"x-request-id", b"wrong")])
    assert answer.status_code in (404, 405)
    (row,) = flushed(client, app, config, "request_id = 'wrong'")
    assert link not in str(row)


def test_a_call_beyond_the_limit_leaves_one_row_that_says_so(tmp_path: Path) -> None:
    config = configured(tmp_path / "data", RATE_LIMIT_USER_PER_MINUTE="3")
    with TestClient(create_app(config), client=("127.0.0.1", 50000)) as client:
        client.headers["Authorization"] = f"Token {claim(client)}"
        answers = [client.get(VERSION, headers={"X-Request-ID": f"n{number}"}) for number in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        reasons = [refusal(answer, 429, "TOO_MANY_REQUESTS")["detail"] for answer in answers[3:]]
    told = rows(config.database_path, "SELECT * FROM audit WHERE path = ? ORDER BY id", VERSION)
    assert [(row["request_id"], row["status"], row["reason"], row["token_id"], row["actor_id"]) for row in told] == [
        *((f"n{number}", 200, None, 1, 1) for number in range(3)),
        *((f"n{number}", 429, reasons[number - 3], 1, 1) for number in (3, 4)),
    ]


def test_a_call_from_elsewhere_leaves_one_row_that_names_the_token(
    client: TestClient, app: Purser, config: Config
) -> None:
    """The first is looked up, the second is known by then."""
    tied = client.post("/api/v1/tokens", json={"allowed_ips": ["192.0.2.0/24"]}).json()
    client.headers["authorization"] = f"Token {tied['token']}"
    for number, host in enumerate(("198.51.100.7", "192.0.2.7", "198.51.100.7")):
        answer = ask(client, "GET", VERSION, host=host, headers=[(b"x-request-id", b"from-%d" % number)])
        assert answer.status_code == (200 if number == 1 else 403)
    told = flushed(client, app, config, "request_id LIKE 'from-%'")
    assert [(row["token_id"], row["actor_id"], row["status"], row["authorized"], row["reason"]) for row in told] == [
        (tied["id"], None, 403, 0, "Address not allowed"),
        (tied["id"], 1, 200, 1, None),
        (tied["id"], None, 403, 0, "Address not allowed"),
    ]
    assert "192.0.2.0" not in str(told)


def test_no_route_changes_or_removes_a_row(client: TestClient, app: Purser, config: Config) -> None:
    """Nothing but GET is served below the trail, whatever one says to it."""
    assert {line.method for line in LINES if "audit" in line.path or line.path.endswith("/logs")} == {"GET"}
    before = flushed(client, app, config)
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for path in (AUDIT, f"{AUDIT}/", "/api/v1/tokens/1/logs"):
            refusal(client.request(method, path, json={}), 405, "METHOD_NOT_ALLOWED")
        refusal(client.request(method, f"{AUDIT}/1"), 404)
    assert flushed(client, app, config)[: len(before)] == before
