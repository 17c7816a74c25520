"""Every refusal has one shape, the framework's own included; and what every answer carries."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from app.config import Config
from app.errors import Conflict, PurserError, TooMany
from app.main import Purser, create_app
from app.permissions import LADDER
from app.routes import ROUTES
from app.web.access import RouteLine
from app.web.problems import STATUSES, internal, problem
from tests.fcs_writer import fcs
from tests.support import Service, ask, claim, configured, refusal

pytestmark = pytest.mark.slow  # an application of its own for each route

PACKAGE = {"name": "firefox", "version": "2.1.0"}
SAMPLE = fcs([[1.0, 2.0]], names=["FSC-A"])
ASKED = {"/api/v1/fcs/histogram": "?x=1", "/api/v1/fcs/density": "?x=1&y=1&format=svg"}
"""What must be said for an answer."""


@pytest.fixture
def package(client: TestClient) -> dict[str, Any]:
    return dict(client.post("/api/v1/packages", json=PACKAGE).json())


def at(line: RouteLine, number: str) -> str:
    """The path of a route with this number for every id in it."""
    return re.sub(r"\{\w+\}", number, line.path)


def subclasses(kind: type[PurserError]) -> Iterator[type[PurserError]]:
    for sub in kind.__subclasses__():
        yield sub
        yield from subclasses(sub)


def test_every_kind_of_refusal_has_a_status_and_every_status_a_title() -> None:
    assert {kind.code for kind in subclasses(PurserError)} <= STATUSES.keys()
    assert len({status for status, _ in STATUSES.values()}) == len(STATUSES)
    assert all(title and 400 <= status < 600 for status, title in STATUSES.values())


def test_every_error_has_one_shape(client: TestClient, package: dict[str, Any]) -> None:
    """Each status that a caller can bring about today, with the members, the code and the headers it must have."""
    item = f"/api/v1/packages/{package['id']}"
    refusal(client.post("/api/v1/packages", content=b"{"), 400, "VALIDATION_ERROR")
    unauthorized = client.get("/api/v1/packages", headers={"Authorization": "Token nonsense"})
    refusal(unauthorized, 401, "UNAUTHORIZED")
    assert unauthorized.headers["www-authenticate"] == 'Bearer realm="purser"'
    scopes = {"scopes": ["packages:read"]}
    narrow = client.post("/api/v1/tokens", json=scopes).json()["token"]
    forbidden = refusal(client.delete(item, headers={"Authorization": f"Token {narrow}"}), 403, "FORBIDDEN")
    assert (forbidden["required"], forbidden["held"]) == (["packages:write"], ["packages:read"])
    refusal(client.get("/api/v1/packages/999"), 404, "NOT_FOUND")
    refusal(client.get("/nothing/here"), 404, "NOT_FOUND")
    not_allowed = client.put(item)
    assert refusal(not_allowed, 405, "METHOD_NOT_ALLOWED")["allow"] == ["DELETE", "GET", "HEAD"]
    assert not_allowed.headers["allow"] == "DELETE, GET, HEAD"
    conflict = refusal(client.post("/api/v1/packages", json=PACKAGE), 409, "CONFLICT")
    assert (conflict["name"], conflict["version"]) == ("firefox", "2.1.0")
    stale = client.delete(item, headers={"If-Match": '"7"'})
    assert refusal(stale, 412, "PRECONDITION_FAILED")["revision"] == 1
    refusal(client.delete(item, headers={"If-Match": "yesterday"}), 412, "PRECONDITION_FAILED")
    large = refusal(client.post("/api/v1/packages", content=b" " * (2**20 + 1)), 413, "PAYLOAD_TOO_LARGE")
    assert large["limit_bytes"] == 2**20
    refusal(client.post("/api/v1/files", content=b"hello"), 415, "UNSUPPORTED_MEDIA_TYPE")
    file = client.put("/api/v1/files/content?name=a.txt", content=b"hello").json()["id"]
    behind = client.get(f"/api/v1/files/{file}/download", headers={"Range": "bytes=5-"})
    assert refusal(behind, 416, "RANGE_NOT_SATISFIABLE")["size_bytes"] == 5
    assert behind.headers["content-range"] == "bytes */5"
    none = refusal(client.put("/api/v1/fcs/content?name=a.fcs", content=b"hello"), 400, "VALIDATION_ERROR")
    assert none["errors"][0]["field"] == "/file"
    upload = client.post("/api/v1/fcs/uploads", json={"filename": "a.fcs", "file_size": 2}).json()["id"]
    unfinished = refusal(client.post(f"/api/v1/fcs/uploads/{upload}/complete"), 409, "CONFLICT")
    assert (unfinished["state"], unfinished["missing"]) == ("processing", [0])


def test_what_finds_no_room_has_that_shape_too(tmp_path: Path) -> None:
    """With the numbers: what was needed, what there was, and whose limit it is. A file and a document count alike."""
    config = configured(tmp_path / "data", USER_QUOTA_BYTES="8", MAX_UPLOAD_BYTES="20")
    with TestClient(create_app(config), client=("127.0.0.1", 50000)) as client:
        client.headers["Authorization"] = f"Token {claim(client)}"
        made = client.post("/api/v1/documents", json={"title": "Title", "content": "hello"})
        assert (made.status_code, made.json()["size_bytes"]) == (201, 5)
        numbers = {"needed_bytes": 4, "free_bytes": 3, "quota_bytes": 8}
        for answer in (
            client.put("/api/v1/files/content?name=a.txt", content=b"four"),
            client.post("/api/v1/documents", json={"title": "Title", "content": "four"}),
            client.patch("/api/v1/documents/1", json={"content": "four"}),
        ):
            document = refusal(answer, 507)
            assert {name: document[name] for name in numbers} == numbers
        too_large = client.put("/api/v1/files/content?name=a.txt", content=b"x" * 21)
        assert refusal(too_large, 413, "PAYLOAD_TOO_LARGE")["limit_bytes"] == 20


def test_a_call_too_many_has_that_shape_too(tmp_path: Path) -> None:
    with TestClient(create_app(configured(tmp_path / "data", RATE_LIMIT_PER_MINUTE="1"))) as client:
        assert client.get("/hello").status_code == 200
        answer = client.get("/hello")
        refusal(answer, 429, "TOO_MANY_REQUESTS")
        assert 1 <= int(answer.headers["retry-after"]) <= 60


def test_an_internal_error_says_nothing_of_itself(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    """An application whose lifespan nobody entered has no database: an error that no handler expects."""
    answer = TestClient(create_app(config)).get("/readyz")
    document = refusal(answer, 500, "INTERNAL_ERROR")
    assert document["detail"] == "Something went wrong here; the request id finds it in the log."
    assert "attribute" not in answer.text
    (record,) = caplog.records
    assert record.exc_info is not None
    assert (record.levelname, record.__dict__["request_id"]) == ("ERROR", document["request_id"])


def test_a_refusal_of_an_unknown_kind_is_an_internal_error() -> None:
    assert problem(internal(), "id").status_code == 500
    assert problem(TooMany("Slowly.", retry_after_s=7), "id").raw_headers[1] == (b"retry-after", b"7")
    assert len(problem(Conflict("x" * 100_000), "id").body) < 3000


@pytest.mark.parametrize("line", ROUTES, ids=lambda line: f"{line.method} {line.path}")
def test_an_unknown_method_is_answered_with_all_methods_of_the_path(client: TestClient, line: RouteLine) -> None:
    methods = {other.method for other in ROUTES if other.path == line.path}
    path = at(line, "1")
    if path == "/api/v1/tokens/all":
        assert methods == {"DELETE"}
    allowed = sorted(methods | ({"HEAD"} if "GET" in methods else set()))
    for method in {"PUT", "PATCH", "POST", "OPTIONS", "BREW"} - methods:
        answer = client.request(method, path)
        assert refusal(answer, 405, "METHOD_NOT_ALLOWED")["allow"] == allowed
        assert answer.headers["allow"] == ", ".join(allowed)


@pytest.mark.parametrize("line", [line for line in ROUTES if line.method == "GET"], ids=lambda line: line.path)
def test_head_answers_as_get_does_without_a_body(client: TestClient, package: dict[str, Any], line: RouteLine) -> None:
    path = at(line, "1")
    for noun, wanted in {"folders": {"name": "letters"}, "documents": {"title": "Title"}}.items():
        assert client.post(f"/api/v1/{noun}", json=wanted).json()["id"] == 1
    assert client.put("/api/v1/files/content?name=a.txt", content=b"hello").json()["id"] == 1
    query = ASKED.get(line.path, "")
    if line.path.startswith("/api/v1/fcs"):
        assert client.put("/api/v1/fcs/content?name=a.fcs", content=SAMPLE).json()["file_id"] == 1
        assert client.post("/api/v1/fcs/uploads", json={"filename": "b", "file_size": 9}).json()["id"] == 1
        assert client.get(f"{path}{query}").status_code == 200
    get, head = ask(client, "GET", path, query=query[1:].encode()), client.head(f"{path}{query}")
    assert (head.status_code, head.headers["content-type"]) == (get.status_code, get.headers["content-type"])
    for name in ("etag", "accept-ranges", "content-disposition", "content-security-policy"):
        assert head.headers.get(name) == get.headers.get(name)


@pytest.mark.slow
def test_head_sends_no_body_over_a_socket(service: Service) -> None:
    service.start()
    with service.client() as client:
        for path in ("/health", "/api/v1/version", "/api/v1/tokens", "/api/v1/packages/7", "/nothing"):
            get, head = client.get(path), client.head(path)
            assert (head.status_code, head.content) == (get.status_code, b"")
            assert head.headers["content-length"] == get.headers["content-length"]


@pytest.mark.parametrize("line", ROUTES, ids=lambda line: f"{line.method} {line.path}")
def test_a_slash_at_the_end_changes_nothing(stranger: TestClient, line: RouteLine) -> None:
    """Without a redirect, for strangers and known callers alike; the claim is left to its own test."""
    path = at(line, "7")
    bad = {"Authorization": "Token nonsense"}
    without = stranger.request(line.method, path, headers=bad, follow_redirects=False)
    for slashes in ("/", "//"):
        answer = stranger.request(line.method, path + slashes, headers=bad, follow_redirects=False)
        assert (answer.status_code, answer.json().keys()) == (without.status_code, without.json().keys())


def test_singular_names_reach_the_same_handlers(client: TestClient, package: dict[str, Any]) -> None:
    for path in ("/api/v1/package/1", "/api/v1/package/1/", "/api/v1/packages/1/"):
        assert client.get(path, follow_redirects=False).json() == package
    assert client.get("/api/v1/token/1").json()["id"] == 1
    assert client.get("/api/v1/package/1/attempts").json() == []
    assert client.delete("/api/v1/package/1").status_code == 204
    refusal(client.get("/api/v1/packages/1"), 404)
    refusal(client.get("/api/v1/packageses/1"), 404)
    refusal(client.patch("/api/v1/package/1"), 405)


def test_a_well_formed_request_id_is_kept_and_another_is_made_anew(client: TestClient) -> None:
    for good in ("a", "3f2a-7.b_C", "x" * 64):
        assert client.get("/hello", headers={"X-Request-ID": good}).headers["x-request-id"] == good
    made = set()
    for bad in ("", " ", "x" * 65, "a b", "a;b", "ä".encode().decode("latin-1"), '"a"', "a,b"):
        answer = ask(client, "GET", "/hello", headers=[(b"x-request-id", bad.encode("latin-1"))])
        made.add(answer.headers["x-request-id"])
        assert answer.headers["x-request-id"] != bad
    assert len(made) == 8
    newline = ask(client, "GET", "/hello", headers=[(b"x-request-id", b"a\n")])
    assert newline.headers["x-request-id"] != "a\n"


@pytest.mark.parametrize("path", ["/hello", "/api/v1/version", "/api/v1/packages", "/api/v1/packages/9", "/none"])
def test_every_answer_carries_the_common_headers(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-request-id"]
    for name in ("cache-control", "x-request-id", "x-content-type-options", "content-type", "content-length"):
        assert len(answer.headers.get_list(name)) == 1


def test_the_path_in_front_of_the_api_is_honoured(client: TestClient) -> None:
    """With uvicorn's --root-path the path begins with it; a proxy may also have stripped it."""
    raw = [b'{"name":"a","version":"1.0"}'], [b'{"name":"b","version":"1.0"}']
    made = ask(client, "POST", "/box/api/v1/packages", root_path="/box", body=raw[0])
    assert (made.status_code, made.headers["location"]) == (201, "/box/api/v1/packages/1")
    ask(client, "POST", "/box/api/v1/package/", root_path="/box", body=raw[1])
    assert ask(client, "GET", "/box/api/v1/package/2/", root_path="/box").json()["name"] == "b"
    listed = ask(client, "GET", "/box/api/v1/packages", root_path="/box", query=b"limit=1")
    assert listed.headers["link"].startswith("</box/api/v1/packages?limit=1&sort=created_at&cursor=")
    refusal(ask(client, "GET", "/box", root_path="/box"), 404)
    refusal(ask(client, "GET", "/box/", root_path="/box"), 404)


def test_a_page_of_another_origin_reads_answers_only_when_it_may(client: TestClient) -> None:
    allowed = client.get("/api/v1/packages/9", headers={"Origin": "http://localhost:3000"})
    refusal(allowed, 404)
    assert allowed.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert "X-Request-ID" in allowed.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in client.get("/hello", headers={"Origin": "http://evil.example"}).headers


def test_a_browser_that_asks_first_is_answered_in_the_same_shape(client: TestClient) -> None:
    asking = {"Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "authorization, if-match"}
    yes = client.options("/api/v1/packages/1", headers={**asking, "Origin": "http://localhost:3000"})
    assert (yes.status_code, yes.content) == (204, b"")
    assert yes.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert "DELETE" in yes.headers["access-control-allow-methods"]
    assert yes.headers["x-request-id"]
    no = client.options("/api/v1/packages/1", headers={**asking, "Origin": "http://evil.example"})
    assert refusal(no, 400)["detail"] == "Disallowed CORS origin."
    assert "access-control-allow-origin" not in no.headers
    asking["Access-Control-Request-Headers"] = "x-evil"
    refusal(client.options("/hello", headers={**asking, "Origin": "http://localhost:3000"}), 400)


def test_without_origins_there_is_no_cross_origin_access(tmp_path: Path) -> None:
    config = configured(tmp_path / "data", CORS_ORIGINS="[]")
    with TestClient(create_app(config)) as client:
        answer = client.get("/hello", headers={"Origin": "http://localhost:3000"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_websocket_is_turned_away(app: Purser) -> None:
    with TestClient(app) as client, pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect("/hello"):
        pass
    assert closed.value.code == 1008


def test_the_ladder_of_a_refusal_names_what_was_held(client: TestClient) -> None:
    """Held are the token's own scopes, sorted, as granted."""
    scopes = [f"users:{action}" for action in reversed(LADDER)]
    token = client.post("/api/v1/tokens", json={"scopes": scopes}).json()["token"]
    document = refusal(client.get("/api/v1/packages", headers={"Authorization": f"Bearer {token}"}), 403)
    assert document["held"] == sorted(scopes)
    assert document["required"] == ["packages:read"]
    assert document["reach"] == "all"
