"""The guard: who calls, may they, and what an answer says about it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient

from app.config import Config, load
from app.main import Purser, create_app
from app.routes import ROUTES
from app.web.access import ACTION, PUBLIC, SIGNED_IN, Guarded, RouteLine, alike, ask_again, still_allowed
from app.web.codec import raw_body, respond
from app.web.middleware import walk
from tests.accounts import make_person
from tests.support import ask, configured, refusal, rows
from tests.test_limits_http import STRANGERS, Box, limited

pytestmark = pytest.mark.slow  # an application of its own for each route

NEEDED = "A token is required: send `Authorization: Token …`."
GUARDED = [line for line in ROUTES if line.permission not in (PUBLIC, SIGNED_IN)]
SIGNED = [line for line in ROUTES if line.permission == SIGNED_IN]
OPEN = [line for line in ROUTES if line.permission == PUBLIC]


def title(line: RouteLine) -> str:
    return f"{line.method} {line.path}"


def at(line: RouteLine) -> str:
    return re.sub(r"{\w+}", "77", line.path)


def token(client: TestClient, *scopes: str) -> dict[str, str]:
    """A new token with these scopes, as a header."""
    answer = client.post("/api/v1/tokens", json={"scopes": list(scopes)})
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Token {answer.json()['token']}"}


@pytest.mark.parametrize("line", [*GUARDED, *SIGNED], ids=title)
def test_a_stranger_is_asked_for_a_token(client: TestClient, line: RouteLine) -> None:
    del client.headers["authorization"]
    answer = client.request(line.method, at(line))
    assert refusal(answer, 401, "UNAUTHORIZED")["detail"] == NEEDED
    assert answer.headers["www-authenticate"] == 'Bearer realm="purser"'
    assert "x-accepted-scopes" not in answer.headers


@pytest.mark.parametrize("line", OPEN, ids=title)
def test_a_public_path_is_open_to_all_and_minds_no_credential(client: TestClient, line: RouteLine) -> None:
    """Whoever calls is told the same, be it only what is missing in the body, or that a link is none."""
    expected = told(client.request(line.method, at(line)))
    assert expected[0] in ((404,) if "{link}" in line.path else (200, 400, 415))
    del client.headers["authorization"]
    for headers in ({}, {"Authorization": "Token nonsense"}, {"Authorization": "Basic YTpi"}):
        assert told(client.request(line.method, at(line), headers=headers)) == expected


def told(answer: httpx2.Response) -> tuple[int, dict[str, Any]]:
    """What an answer says, but for the number of the request."""
    return answer.status_code, {name: value for name, value in answer.json().items() if name != "request_id"}


def test_who_may_too_little_is_told_what_is_needed_and_held(client: TestClient) -> None:
    """In full on one route; tests/test_matrix.py has every route, every role and every scope."""
    answer = client.get("/api/v1/packages", headers=token(client, "users:admin", "audit:*"))
    document = refusal(answer, 403, "FORBIDDEN")
    assert document["detail"] == "This needs packages:read."
    assert (document["required"], document["reach"]) == (["packages:read"], "all")
    assert document["held"] == ["audit:*", "users:admin"]
    assert answer.headers["x-accepted-scopes"] == "packages:read"


def test_a_role_with_too_short_a_reach_is_refused(client: TestClient, config: Config) -> None:
    """Packages are everybody's, so a permission for one's own does not reach them; for tokens it does."""
    grants = [{"permission": "packages:*", "reach": "own"}, {"permission": "tokens:*", "reach": "own"}]
    assert client.post("/api/v1/roles", json={"name": "keeper", "permissions": grants}).status_code == 201
    keeper = make_person(client, config, "kim", "keeper")
    document = refusal(client.get("/api/v1/packages", headers=keeper.headers), 403)
    assert (document["required"], document["reach"]) == (["packages:read"], "all")
    assert document["held"] == ["packages:*", "tokens:*"]
    assert client.get("/api/v1/tokens", headers=keeper.headers).status_code == 200


def test_any_token_will_do_where_one_must_only_be_signed_in(client: TestClient) -> None:
    answer = client.get("/api/v1/version", headers=token(client, "fcs:read"))
    assert answer.status_code == 200
    assert answer.headers["x-accepted-scopes"] == ""


def test_a_token_needs_a_scope_for_what_a_session_may_anyway(client: TestClient, config: Config) -> None:
    """The own sessions are the account's affair; a token made for packages has no business there."""
    kim = make_person(client, config, "kim", "guest")
    mine = client.get("/api/v1/auth/sessions", headers=kim.headers)
    assert [entry["current"] for entry in mine.json()] == [True]
    answer = client.get("/api/v1/auth/sessions", headers=token(client, "packages:admin"))
    document = refusal(answer, 403, "FORBIDDEN")
    assert (document["required"], document["held"]) == (["users:read"], ["packages:admin"])
    assert answer.headers["x-accepted-scopes"] == "users:read"
    assert client.get("/api/v1/auth/sessions", headers=token(client, "users:read")).status_code == 200


@pytest.mark.parametrize("scheme", ["Token", "Bearer", "token", "BEARER", "tOkEn"])
def test_both_schemes_are_taken_in_any_spelling(client: TestClient, scheme: str) -> None:
    secret = client.headers.pop("authorization").split()[1]
    for space in (" ", "  ", "   "):
        assert client.get("/api/v1/version", headers={"Authorization": f"{scheme}{space}{secret}"}).status_code == 200


@pytest.mark.parametrize(
    "form", ["Basic {}", "Digest {}", "{}", "Token={}", "Token:{}", "Tokenx {}", "Token {} x", 'Token "{}"']
)
def test_no_other_scheme_is_taken(client: TestClient, form: str) -> None:
    secret = client.headers.pop("authorization").split()[1]
    answer = client.get("/api/v1/version", headers={"Authorization": form.format(secret)})
    assert refusal(answer, 401)["detail"] == "Invalid token"


def test_an_empty_authorization_is_none(client: TestClient) -> None:
    client.headers["authorization"] = ""
    assert refusal(client.get("/api/v1/version"), 401)["detail"] == NEEDED


def test_a_token_in_the_query_string_is_no_credential(client: TestClient) -> None:
    secret = client.headers.pop("authorization").split()[1]
    refusal(client.get("/api/v1/version", params={"token": secret}), 401)


def test_answers_say_when_the_token_expires(client: TestClient) -> None:
    assert client.get("/hello").headers["x-token-expires"] == "never"
    made = client.post("/api/v1/tokens", json={"expires_in_days": 1}).json()
    headers = {"Authorization": f"Token {made['token']}"}
    for path, status in (("/api/v1/version", 200), ("/api/v1/packages/9", 404), ("/none", 404)):
        answer = client.get(path, headers=headers)
        assert (answer.status_code, answer.headers["x-token-expires"]) == (status, made["expires_at"])
    assert "x-token-expires" not in client.get("/hello", headers={"Authorization": "Token no"}).headers


def test_a_refusal_comes_before_the_body_is_looked_at(client: TestClient) -> None:
    """A stranger learns nothing about fields, and a narrow token nothing about what is there."""
    reader = token(client, "packages:read")
    for answer, status in (
        (client.post("/api/v1/packages", content=b"{", headers=reader), 403),
        (client.delete("/api/v1/packages/9", headers=reader), 403),
        (client.post("/api/v1/packages?x=1", content=b"[" * 10**6, headers={"Authorization": "Token no"}), 401),
    ):
        refusal(answer, status)


@pytest.mark.parametrize("line", [line for line in ROUTES if line.streams], ids=title)
def test_of_a_body_that_the_handler_reads_nothing_is_read_for_who_may_not(client: TestClient, line: RouteLine) -> None:
    """Neither for a stranger nor through a token for other things, however much they send."""
    asked: list[None] = []
    reader = token(client, f"{line.permission.partition(':')[0]}:read")
    del client.headers["authorization"]
    for headers, status in (({}, 401), ({"Authorization": "Token no"}, 401), (reader, 403)):
        given = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        answer = ask(
            client, line.method, at(line), headers=given, body=[b"x"] * 9, meanwhile=lambda: asked.append(None)
        )
        refusal(answer, status)
    assert asked == []


def serve(app: Purser, *lines: RouteLine) -> None:
    """Adds routes, as a host application may."""
    first: Any = app.router.routes[0]
    app.router.routes.extend(Guarded(line, first.endpoint.desk) for line in lines)


async def told_length(request: Request) -> Response:
    content = await raw_body(request)
    await ask_again(request)
    return respond(len(content))


def test_a_handler_that_reads_a_body_by_itself_asks_again_who_calls(
    client: TestClient, app: Purser, config: Config
) -> None:
    """But on a public route, where whoever calls is let in; there a body that is none is waited for by the guard."""
    serve(app, RouteLine("POST", "/streams", told_length, SIGNED_IN, streams=True))
    serve(app, *alike(ACTION, "/open", told_length, PUBLIC))
    kim = make_person(client, config, "kim")
    named = [(name.lower().encode(), value.encode()) for name, value in kim.headers.items()]

    def leave() -> None:
        client.post("/api/v1/auth/logout", json={"all": True}, headers=kim.headers)

    answer = ask(client, "POST", "/streams", headers=named, body=[b"x" * 9] * 2)
    assert (answer.status_code, answer.json()) == (200, 18)
    for method in ACTION.split():
        answer = ask(client, method, "/open", headers=named, body=[b"{", b"}"])
        assert (answer.status_code, answer.json()) == (200, 2)
        refusal(ask(client, method, "/open", headers=named, body=[b"{1}"]), 400, "VALIDATION_ERROR")
    answer = ask(client, "POST", "/streams", headers=named, body=[b"x" * 9], meanwhile=leave)
    assert refusal(answer, 401, "UNAUTHORIZED")["detail"] == "Session ended"


async def told_whether_still(request: Request) -> Response:
    await raw_body(request)
    return respond(await still_allowed(request))


def test_a_handler_hears_whether_its_caller_still_may(client: TestClient, app: Purser, config: Config) -> None:
    """Where all may, everybody still may; elsewhere nobody whose session has ended."""
    for path, permission in (("/all", PUBLIC), ("/some", SIGNED_IN)):
        serve(app, RouteLine("POST", path, told_whether_still, permission, streams=True))
    kim = make_person(client, config, "kim")
    named = [(name.lower().encode(), value.encode()) for name, value in kim.headers.items()]

    def leave() -> None:
        client.post("/api/v1/auth/logout", json={"all": True}, headers=kim.headers)

    def call(path: str, *headers: tuple[bytes, bytes], meanwhile: Callable[[], object] | None = None) -> object:
        answer = ask(client, "POST", path, headers=headers, body=[b"x"], meanwhile=meanwhile)
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert [call(path, *named) for path in ("/all", "/some")] == [True, True]
    assert call("/some", *named, meanwhile=leave) is False
    assert call("/all", *named) is True


def test_if_match_holds_a_change_to_the_revision_that_was_seen(client: TestClient) -> None:
    made = client.post("/api/v1/packages", json={"name": "vim", "version": "9.1"})
    seen = client.get(made.headers["location"])
    assert seen.headers["etag"] == made.headers["etag"] == '"1"'
    for stale in ('"2"', '"0"', "", "W/", '"x"'):
        refusal(client.delete(made.headers["location"], headers={"If-Match": stale}), 412)
    assert client.delete(made.headers["location"], headers={"If-Match": seen.headers["etag"]}).status_code == 204
    for fine in ("*", ' "1" ', 'W/"1"', "1"):
        again = client.post("/api/v1/packages", json={"name": "vim", "version": "9.1"}).headers["location"]
        assert client.delete(again, headers={"If-Match": fine}).status_code == 204


@pytest.mark.parametrize(
    ("peer", "forwarded", "client_ip"),
    [
        ("192.0.2.7", [], "192.0.2.7"),
        ("192.0.2.7", ["198.51.100.1"], "192.0.2.7"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.1", "10.9.9.9"], "198.51.100.1"),
        ("10.0.0.1", ["10.1.1.1", "10.2.2.2"], "10.1.1.1"),
        ("10.0.0.1", [" 198.51.100.1 "], "198.51.100.1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:443"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1", ""], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1", "unknown", "10.1.1.1"], "10.0.0.1"),
        ("10.0.0.1", ["unknown", "' OR 1", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["127.0.0.1", "::1", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["9.9.9.9", "::ffff:198.51.100.1", "::ffff:10.1.1.1"], "::ffff:198.51.100.1"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("fd00::1", ["2001:db8::7"], "2001:db8::7"),
        ("", ["198.51.100.1"], ""),
        ("testclient", ["198.51.100.1"], "testclient"),
    ],
)
def test_the_clients_address_is_the_first_from_the_right_that_is_no_trusted_proxy(
    tmp_path: Path, peer: str, forwarded: list[str], client_ip: str
) -> None:
    trusted = load({"TRUSTED_PROXIES": "10.0.0.0/8,fd00::/8"}, dotenv=tmp_path / "none").trusted_proxies
    assert walk(peer, forwarded, trusted) == client_ip


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[tuple[TestClient, Config]]:
    """A service that trusts a proxy on the appliance itself."""
    config = configured(tmp_path / "data", TRUSTED_PROXIES="127.0.0.1", CLAIM_FROM="any")
    with TestClient(create_app(config), client=("127.0.0.1", 50000)) as client:
        yield client, config


def test_a_trusted_proxy_says_who_called(behind: tuple[TestClient, Config]) -> None:
    client, config = behind
    client.post("/api/v1/tokens", headers={"X-Forwarded-For": "1.1.1.1, 198.51.100.7"})
    ask(client, "POST", "/api/v1/tokens", headers=[(b"x-forwarded-for", b"9.9.9.9"), (b"x-forwarded-for", b"8.8.8.8")])
    assert [row["ip"] for row in rows(config.database_path, "SELECT ip FROM audit")] == ["198.51.100.7"]


def test_nobody_else_may_say_who_called(client: TestClient, config: Config) -> None:
    body = {"name": "vim", "version": "9.1"}
    client.post("/api/v1/packages", json=body, headers={"X-Forwarded-For": "198.51.100.7", "X-Real-IP": "198.51.100.7"})
    (row,) = rows(config.database_path, "SELECT ip FROM audit WHERE action = 'packages.create'")
    assert row["ip"] == "127.0.0.1"


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    with limited(tmp_path_factory.mktemp("proxied"), TRUSTED_PROXIES="10.0.0.0/8, fd00::/8") as box:
        yield box


def forwarded(box: Box, *headers: str, host: str = "10.0.0.1") -> int:
    """The status of a call with these X-Forwarded-For headers."""
    pairs = [(b"authorization", b""), *((b"x-forwarded-for", text.encode()) for text in headers)]
    return ask(box.client, "GET", "/hello", headers=pairs, host=host).status_code


def test_whoever_does_not_come_through_the_proxy_is_not_believed(proxied: Box) -> None:
    proxied.later()
    statuses = [forwarded(proxied, f"198.51.100.{call}", host="192.0.2.1") for call in range(STRANGERS + 3)]
    assert statuses == [200] * STRANGERS + [429] * 3


def test_behind_a_trusted_proxy_everybody_counts_by_the_own_address(proxied: Box) -> None:
    proxied.later()
    for caller in ("198.51.100.1", "198.51.100.2", "2001:db8:1:2::1"):
        assert [forwarded(proxied, caller) for _ in range(STRANGERS + 1)] == [200] * STRANGERS + [429]
    assert forwarded(proxied, "2001:db8:1:2::9") == 429
    assert forwarded(proxied, "2001:db8:1:2::9", host="fd00::7") == 429
    assert forwarded(proxied, "198.51.100.1", "10.2.2.2") == 429
    assert forwarded(proxied, "198.51.100.3", "10.2.2.2") == forwarded(proxied, "10.2.2.2") == 200
    assert forwarded(proxied) == 200


@pytest.mark.parametrize(
    "spoof",
    [
        lambda call: (f"203.0.113.{call}, 198.51.100.1",),
        lambda call: (f"203.0.113.{call}", "198.51.100.1"),
        lambda call: (f"203.0.113.{call}", f"unknown{call}", "198.51.100.1, 10.2.2.2"),
        lambda call: (f"10.0.0.{call}, 198.51.100.1",),
        lambda call: (f"127.0.0.{call}, ::1, 198.51.100.1",),
        lambda call: ("198.51.100.1" + " " * call,),
        lambda call: ("1.1.1.1," * 2000 + f"203.0.113.{call},198.51.100.1",),
        lambda call: (*(f"203.0.113.{number}" for number in range(call)), "::ffff:198.51.100.1"),
    ],
)
def test_what_stands_left_of_the_callers_own_address_changes_nothing(
    proxied: Box, spoof: Callable[[int], tuple[str, ...]]
) -> None:
    proxied.later()
    statuses = [forwarded(proxied, *spoof(call)) for call in range(STRANGERS + 2)]
    assert statuses == [200] * STRANGERS + [429] * 2


@pytest.mark.parametrize("garbage", ["unknown", "", ",", "198.51.100.{}:443", "[2001:db8::{}]", "\xff{}", "1.2.3.{}.5"])
def test_what_is_no_address_counts_as_the_proxy_that_sent_it(proxied: Box, garbage: str) -> None:
    """Garbage that differs from call to call is one caller, not many."""
    proxied.later()
    statuses = [forwarded(proxied, garbage.format(call)) for call in range(STRANGERS + 2)]
    assert statuses == [200] * STRANGERS + [429] * 2
    assert forwarded(proxied, "198.51.100.9") == 200


def test_without_a_trusted_proxy_nobody_becomes_many_by_saying_so(tmp_path: Path) -> None:
    with limited(tmp_path) as box:
        box.later()
        statuses = []
        for call in range(STRANGERS + 3):
            made_up = [f"198.51.100.{call}"] * (1 + call)
            statuses.append(forwarded(box, *made_up, host="192.0.2.1"))
    assert statuses == [200] * STRANGERS + [429] * 3


def test_all_that_one_caller_may_do_stands_on_the_route_lines(app: Purser) -> None:
    """The guard serves the very lines of the table, in their order."""
    served: list[Any] = [route.line for route in app.router.routes]  # type: ignore[attr-defined]
    assert served == list(ROUTES)
