"""What no caller should send, sent to every endpoint of the route table: refused in one shape, and nothing changes."""

import re
import socket
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from starlette.testclient import TestClient

from app.config import Config
from app.routes import ROUTES
from app.web.access import PUBLIC, RouteLine
from app.web.problems import problem
from tests.support import Service, ask, refusal, rows

pytestmark = pytest.mark.slow

LINES = [line for line in ROUTES if line.permission != PUBLIC]
WITH_ID = [(line, name) for line in LINES for name in re.findall(r"{(\w+)}", line.path)]
OURS = [line for line in ROUTES if line.refuse is problem]
"""Those that refuse as all do, public ones too."""
WITH_BODY = [line for line in OURS if line.body is not None]
CHANGES = [line for line in OURS if line.method not in ("GET", "HEAD")]
BIG = b" " * (2 * 2**20)

UNDECODABLE = {
    "nested arrays": b"[" * 100_000,
    "nested objects": b'{"name":' * 100_000,
    "nested and closed": b'{"name":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "bad UTF-8": b'{"name":"\xff\xfe"}',
    "no JSON": b"name=firefox",
    "half JSON": b'{"name":',
    "two documents": b"{}{}",
    "a comment": b"{} // yes",
    "raw NUL": b'{"name":"a\x00b"}',
    "NUL": b"\0",
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a lone surrogate": rb'{"name":"\ud800"}',
    "an encoded surrogate": b'{"name":"\xed\xa0\x80"}',
    "NaN": b"NaN",
    "an infinite number": b"1e999",
    "an array": b"[]",
    "a number": b"1",
    "text": b'"x"',
    "null": b"null",
    "an unknown field": b'{"unheard_of": 1}',
    "a hostile field": b'{"\'; DROP TABLE packages; --": 1}',
    "a NUL field": rb'{"\u0000": 1}',
    "a very long field": b'{"' + b"x" * 500_000 + b'": 1}',
}
STRANGE: list[Any] = [
    *(
        "",
        " ",
        "\0",
        "a\0b",
        "ok\n",
        "x" * 101,
        "x" * 500_000,
        "'; DROP TABLE packages; --",
        "../../etc/passwd",
        "null",
    ),
    *("a b", "\u202e", "\u2028", -1, 0, 1.5, 2**63, 2**64, True, [], [[]], {}, {"a": {"b": 1}}, [None], ["\0"], ["x"]),
    *(["packages:read"] * 51, ["x" * 51], 10**30, -(2**63)),
]
NUMBERS = ("1e999", "-1e999", "9" * 400, "1" + "0" * 400, "-" + "9" * 30, "1e400", "0.1e-999")
IDS = {
    **dict.fromkeys(("0", "999", "9" * 18, "000000000000000009"), "none has it"),
    **dict.fromkeys(("9" * 19, "9" * 30, "9223372036854775808", "-1", "+1", "1.0", "1e3", "0x1", "١", "²"), "no id"),
    **dict.fromkeys(
        ("1\n", "1\0", "1 ", " 1", "1;", "1%", "1'--", "null", "\ud800", "\ufffd", "%31", ".", ".."), "no id"
    ),
}
QUERIES = {
    b"unheard=1": "unheard",
    b"'%3B+DROP+TABLE+packages%3B+--=1": "'; DROP TABLE packages; --",
    b"%00=1": "\0",
    b"a=1&a=2": "a",
    b"%=1": None,
    b"a=%zz": None,
    b"a=%ff": None,
    b"\xff=1": None,
    b"a=\xed\xa0\x80": None,
    b"&".join(b"a%d=1" % number for number in range(60)): None,
}
PASSWORD = "correct horse battery"
VALID: dict[str, dict[str, Any]] = {
    "PackageCreate": {"name": "vim", "version": "9.1"},
    "AllowedIps": {"allowed_ips": ["192.0.2.1"]},
    "Register": {"email": "ann@example.com", "name": "Ann", "password": PASSWORD},
    "UserCreate": {"email": "ann@example.com", "name": "Ann", "password": PASSWORD},
    "StatusPatch": {"status": "active"},
    "PasswordPatch": {"password": PASSWORD},
    "BatchDelete": {"ids": [999]},
    "Login": {"identifier": "nobody", "password": PASSWORD},
    "Refresh": {"refresh_token": "x"},
    "ChangePassword": {"old_password": PASSWORD, "new_password": f"new {PASSWORD}"},
    "RoleCreate": {"name": "auditor"},
    "RolePermissions": {"permissions": [{"permission": "audit:read"}]},
    "UserRoles": {"roles": ["user"]},
    "GroupSet": {"group_id": None},
    "GroupCreate": {"name": "North", "uniform_number": "00000009"},
    "TeamCreate": {"name": "Optics"},
    "Forgot": {"email": "nobody@example.com"},
    "ResetPassword": {"token": "x", "password": PASSWORD},
}
VALID_QUERIES: dict[str, dict[str, str]] = {"Question": {"user_id": "1", "permission": "users:read"}}
FREE_TEXT = {"q", "name", "role", "offset", "attempt", "action", "target"}
"""Parameters that may look like anything; they are compared and never obeyed, and find nothing here."""
HOSTILE_VALUES = (
    *(b"%00", b"%zz", b"%ff", b"%ed%a0%80", b"9" * 400, b"1" + b"0" * 400, b"9223372036854775808", b"1e999", b"-1"),
    *(b"null", b"NULL", b"[]", b"x" * 5000, b"1.5", b"%0A", b"1%0A", b"%E2%80%AE", b"..%2F..", b"true%00"),
)


def title(line: RouteLine) -> str:
    return f"{line.method} {line.path}"


def tables(config: Config) -> dict[str, list[dict[str, Any]]]:
    """All that is stored, but the trail and when a token was last used."""
    names = [row["name"] for row in rows(config.database_path, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {name: rows(config.database_path, f'SELECT * FROM "{name}"') for name in names if name != "audit"}  # noqa: S608
    for table in found.values():
        for row in table:
            row.pop("last_used_at", None)
    del found["sqlite_sequence"]
    return found


@pytest.fixture
def unharmed(client: TestClient, config: Config) -> Any:
    """A claimed client with one thing of every kind that is made with a call; afterwards all must be as it was."""
    for noun, wanted in (
        ("packages", {"name": "firefox", "version": "2.1.0"}),
        ("groups", {"name": "South", "uniform_number": "00000001"}),
        ("teams", {"name": "Optics"}),
    ):
        assert client.post(f"/api/v1/{noun}", json=wanted).json()["id"] == 1
    before = tables(config)
    assert {len(before[noun]) for noun in ("packages", "tokens", "users", "groups", "teams", "team_members")} == {1}
    yield client
    assert tables(config) == before
    assert client.get("/readyz").json()["status"] == "ok"


def at(line: RouteLine, **ids: str) -> str:
    """The path of a route, 1 for every id in it but those that are given."""
    return re.sub(r"{(\w+)}", lambda place: ids.get(place[1], "1"), line.path)


def valid(kind: Any) -> dict[str, Any]:
    """A body that would be taken; what a field is wrong in must be wrong by itself."""
    return VALID.get(kind.__name__, {})


@pytest.mark.parametrize("line", CHANGES, ids=title)
def test_a_body_that_is_none_of_ours_is_refused(unharmed: TestClient, line: RouteLine) -> None:
    for what, content in UNDECODABLE.items():
        answer = ask(unharmed, line.method, at(line), body=[content])
        assert answer.status_code == 400, what
        refusal(answer, 400, "VALIDATION_ERROR")
        assert len(answer.content) < 20_000


@pytest.mark.parametrize("line", WITH_BODY, ids=title)
def test_every_field_refuses_what_it_does_not_take(unharmed: TestClient, line: RouteLine) -> None:
    """Each strange value in each field: whatever the field's own struct does not take is a 400 that names the field."""
    refusals = 0
    for field in line.body.__struct_fields__:
        for strange in STRANGE:
            document = {**valid(line.body), field: strange}
            raw = msgspec.json.encode(document) if not _huge(strange) else str(document).replace("'", '"').encode()
            try:
                msgspec.json.decode(raw, type=line.body)
                taken = b"\\u0000" not in raw
            except msgspec.ValidationError:
                taken = False
            if taken:
                continue
            document = refusal(ask(unharmed, line.method, at(line), body=[raw]), 400, "VALIDATION_ERROR")
            assert document["errors"][0]["field"].startswith(f"/{field}"), (field, strange)
            refusals += 1
        for number in NUMBERS:
            raw = msgspec.json.encode({**valid(line.body), field: 0}).replace(b":0", b":" + number.encode())
            document = refusal(ask(unharmed, line.method, at(line), body=[raw]), 400, "VALIDATION_ERROR")
            refusals += 1
    assert refusals > 20


def _huge(strange: Any) -> bool:
    return isinstance(strange, int) and not -(2**63) <= strange < 2**64


@pytest.mark.parametrize("line", [line for line in WITH_BODY if valid(line.body)], ids=title)
def test_every_field_that_is_required_is_asked_for(unharmed: TestClient, line: RouteLine) -> None:
    whole = valid(line.body)
    required = {field.name for field in msgspec.structs.fields(line.body) if field.required}
    assert required <= whole.keys()
    for field in required:
        raw = msgspec.json.encode({name: value for name, value in whole.items() if name != field})
        document = refusal(ask(unharmed, line.method, at(line), body=[raw]), 400)
        assert document["errors"] == [{"field": f"/{field}", "message": "required, and missing"}]


@pytest.mark.parametrize("text", ["firefox\n", "firefox\r\n", "\nfirefox", "fire\nfox", "firefox\\u000a", "firefox "])
def test_a_line_end_after_a_valid_name_or_version_is_refused(unharmed: TestClient, text: str) -> None:
    for document in ({"name": text, "version": "1.0"}, {"name": "a", "version": text.replace("firefox", "1.0")}):
        raw = msgspec.json.encode(document).replace(b"\\\\u", b"\\u")
        refused = refusal(ask(unharmed, "POST", "/api/v1/packages", body=[raw]), 400)
        assert refused["errors"][0]["field"] in ("/name", "/version")
    query = quote(text).encode()
    refusal(ask(unharmed, "GET", "/api/v1/packages", query=b"name=" + query), 400)


@pytest.mark.parametrize("line", CHANGES, ids=title)
def test_a_body_over_the_limit_is_refused_declared_or_not(unharmed: TestClient, line: RouteLine) -> None:
    declared = [(b"content-length", b"%d" % len(BIG))]
    answer = ask(unharmed, line.method, at(line), headers=declared, body=[])
    assert refusal(answer, 413, "PAYLOAD_TOO_LARGE")["limit_bytes"] == 2**20
    chunked = [(b"transfer-encoding", b"chunked")]
    chunks = [BIG[:65536]] * 32
    refusal(ask(unharmed, line.method, at(line), headers=chunked, body=chunks), 413, "PAYLOAD_TOO_LARGE")
    liar = [(b"content-length", b"2")]
    if line.body is not None:
        refusal(ask(unharmed, line.method, at(line), headers=liar, body=chunks), 413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize("line", [line for line in CHANGES if line.body is None], ids=title)
def test_a_body_where_none_is_taken_is_refused(unharmed: TestClient, line: RouteLine) -> None:
    for content in (b'{"force": true}', b"[]", b"x", b"null", b"{} {}"):
        document = refusal(ask(unharmed, line.method, at(line), body=[content]), 400)
        assert document["detail"] == "This takes no body."


@pytest.mark.parametrize(("line", "name"), WITH_ID, ids=lambda part: part if isinstance(part, str) else title(part))
def test_an_id_that_nothing_has_is_not_found(unharmed: TestClient, line: RouteLine, name: str) -> None:
    body = [msgspec.json.encode(valid(line.body))] if line.body else []
    for number, why in IDS.items():
        answer = ask(unharmed, line.method, at(line, **{name: number}), body=body)
        document = refusal(answer, 404, "NOT_FOUND")
        assert (document["detail"] == "There is nothing at this path.") == (why == "no id"), number


@pytest.mark.parametrize("line", LINES, ids=title)
def test_a_hostile_query_string_is_refused(unharmed: TestClient, line: RouteLine) -> None:
    for query, name in QUERIES.items():
        document = refusal(ask(unharmed, line.method, at(line), query=query), 400, "VALIDATION_ERROR")
        assert name is None or document["errors"][0]["field"] == name


@pytest.mark.parametrize("line", [line for line in LINES if line.query], ids=title)
def test_a_hostile_parameter_is_refused_or_finds_nothing(unharmed: TestClient, line: RouteLine) -> None:
    refusals = 0
    for name in line.query.__struct_fields__:
        known = VALID_QUERIES.get(line.query.__name__, {}).items()
        others = "".join(f"{other}={value}&" for other, value in known if other != name).encode()
        for value in HOSTILE_VALUES:
            answer = ask(unharmed, line.method, at(line), query=others + name.encode() + b"=" + value)
            if answer.status_code in (200, 404):
                assert name in FREE_TEXT, (name, value)
                assert answer.content in (b"[]", b"") or answer.status_code == 404
                continue
            document = refusal(answer, 400, "VALIDATION_ERROR")
            assert not document["errors"] or document["errors"][0]["field"] == name
            refusals += 1
        twice = refusal(ask(unharmed, line.method, at(line), query=b"%s=1&%s=1" % (name.encode(), name.encode())), 400)
        assert twice["errors"] == [{"field": name, "message": "given more than once"}]
    assert refusals >= 15


@pytest.mark.parametrize("line", LINES, ids=title)
def test_a_method_that_is_none_is_not_allowed(unharmed: TestClient, line: RouteLine) -> None:
    for method in ("BREW", "TRACE", "CONNECT", "PROPFIND", "get", "G\xe9T", "X" * 1000):
        answer = ask(unharmed, method, at(line))
        refusal(answer, 405, "METHOD_NOT_ALLOWED")
        assert len(answer.content) < 3000


@pytest.mark.parametrize(
    "path",
    [
        *("/", "//", "/api", "/api/v1", "/api/v2/packages", "/API/V1/packages", "/api/v1/packages/1/..", "/api/v1/\0"),
        *(
            "/api/v1//packages",
            "//api/v1/packages",
            "/api/v1/packages\n",
            "/api/v1/packages\0",
            "/api/v1/packages/1/log\n",
        ),
        *(
            "/api/v1/tokens/all/1",
            "/api/v1/tokens/ALL",
            "/api/v1/packages/1/download/1",
            "/api/v1/teams/1/members/1/1",
            "/api/v1/users/1/group/1",
            "/api/v1/audit/1",
            "/api/v1/authz",
            "/api/v1/system",
            "/hello/world",
            "/" + "x" * 9000,
        ),
        *("/api/v1/../../etc/passwd", "/api/v1/packages/%2e%2e", "/.env", "/\ud800", "/ü", "/api/v1/" + "a/" * 5000),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "BREW"])
def test_a_path_that_leads_nowhere_is_not_found(unharmed: TestClient, path: str, method: str) -> None:
    refusal(ask(unharmed, method, path), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    "header",
    [
        *(
            "",
            "Token",
            "Token ",
            "Bearer",
            "token pat_",
            "Basic YTpi",
            "Digest x",
            "pat_x",
            "Token \xff\xfe",
            "Token a b",
        ),
        *(
            "Token " + "x" * 60_000,
            "Token pat_" + "0" * 49,
            "Token pat_" + "é" * 49,
            "Token \0",
            "Tokens x",
            " Token x",
        ),
    ],
)
def test_a_credential_that_is_none_opens_nothing(unharmed: TestClient, header: str) -> None:
    own = unharmed.headers.pop("authorization")
    for line in LINES:
        answer = ask(unharmed, line.method, at(line), headers=[(b"authorization", header.encode("latin-1"))])
        assert refusal(answer, 401, "UNAUTHORIZED")["detail"] in (
            "Invalid token",
            "A token is required: send `Authorization: Token …`.",
        )
    unharmed.headers["authorization"] = own


@pytest.mark.parametrize("value", [b"", b"-1", b"1e3", b"\xff", b"9" * 30, b"+5", b"5 5"])
def test_a_length_that_is_none_does_no_harm(unharmed: TestClient, value: bytes) -> None:
    """The server in front refuses such a request; behind another one it reads the body as it comes."""
    answer = ask(unharmed, "POST", "/api/v1/packages/1/cancel", headers=[(b"content-length", value)], body=[b"x"])
    refusal(answer, 400)


@pytest.mark.parametrize(
    "value", ['"99"', 'W/"99"', "99", '""', '"1", "2"', "x" * 5000, '"' + "9" * 30 + '"', "é", '"١"']
)
def test_a_revision_that_does_not_hold_is_a_failed_precondition(unharmed: TestClient, value: str) -> None:
    header = [(b"if-match", value.encode())]
    refusal(ask(unharmed, "DELETE", "/api/v1/packages/1", headers=header), 412, "PRECONDITION_FAILED")


@pytest.mark.slow
def test_a_raw_socket_gets_one_shape_too(service: Service) -> None:
    """What no client library would write, over a real connection: the body limit both ways, and broken escapes."""
    service.start()
    host, port = service.url.removeprefix("http://").split(":")
    head = f"Host: x\r\nAuthorization: Token {service.token}\r\nConnection: close\r\n"
    before = rows(service.database, "SELECT count(*) AS n FROM packages")

    def said(request: bytes) -> tuple[int, dict[str, Any]]:
        with socket.create_connection((host, int(port)), timeout=20) as wire:
            wire.sendall(request)
            content = b""
            while more := wire.recv(65536):
                content += more
        top, _, body = content.partition(b"\r\n\r\n")
        return int(top.split()[1]), msgspec.json.decode(body)

    declared = f"POST /api/v1/packages HTTP/1.1\r\n{head}Content-Length: {2 * 2**20}\r\n\r\n".encode()
    assert said(declared)[0] == 413
    chunked = f"POST /api/v1/packages HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n".encode()
    chunk = b"100000\r\n" + b" " * 2**20 + b"\r\n1\r\n \r\n"
    assert said(chunked + chunk)[0] == 413
    for target, status in [
        *(("/api/v1/packages?name=%zz", 400), ("/api/v1/packages/%zz", 404), ("/api/v1/packages/%ff", 404)),
        *(("/api/v1/packages/1%0A", 404), ("/api/v1/packages/1%00", 404), ("/api/v1/packages?%00=1", 400)),
        *(("/api/v1/packages/" + "9" * 30, 404), ("/api/v1/packages?limit=" + "9" * 400, 400), ("/%ed%a0%80", 404)),
    ]:
        found, document = said(f"GET {target} HTTP/1.1\r\n{head}\r\n".encode())
        assert (found, document["status"]) == (status, status), target
    deep = b"[" * 100_000
    found, document = said(
        f"POST /api/v1/packages HTTP/1.1\r\n{head}Content-Length: {len(deep)}\r\n\r\n".encode() + deep
    )
    assert (found, document["code"]) == (400, "VALIDATION_ERROR")
    code, output = service.stop()
    assert code == 0
    assert '"level":"error"' not in output
    assert rows(service.database, "SELECT count(*) AS n FROM packages") == before
