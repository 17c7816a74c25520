"""What no caller should send, sent to every endpoint of the route table: refused in one shape, and nothing changes."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
import pytest
from starlette.testclient import TestClient

from app.config import Config
from app.main import create_app
from app.routes import ROUTES
from app.values import FileName
from app.web.access import PUBLIC, RouteLine
from app.web.problems import problem
from tests.fcs_writer import fcs
from tests.support import Service, ask, claim, configured, refusal, rows, until

pytestmark = pytest.mark.slow

LINES = [line for line in ROUTES if line.permission != PUBLIC]
WITH_ID = [(line, name) for line in LINES for name in re.findall(r"{(\w+)}", line.path)]
OURS = [line for line in ROUTES if line.refuse is problem]
"""Those that refuse as all do, public ones too."""
WITH_BODY = [line for line in OURS if line.body is not None]
CHANGES = [line for line in OURS if line.method not in ("GET", "HEAD") and not line.streams]
CHUNK = next(line for line in ROUTES if line.path.endswith("/chunks/{chunk_id}"))
FORMS = [line for line in ROUTES if line.streams and line.query is None and line is not CHUNK]
RAW = [line for line in ROUTES if line.streams and line.query is not None]
"""Those whose body is a file; of `RAW` it is nothing but the file."""
SAMPLE = fcs([[1.0, 2.0]], names=["FSC-A"])
CHUNK_BYTES = 2**20
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
    "DocumentCreate": {"title": "Another"},
    "DocumentRename": {"title": "Another"},
    "DocumentMove": {"folder_id": None},
    "DocumentTags": {"tags": []},
    "FolderCreate": {"name": "another"},
    "FolderRename": {"name": "another"},
    "FolderMove": {"parent_id": None},
    "FileRename": {"name": "another.txt"},
    "FileMove": {"folder_id": None},
    "FileRevoke": {"share_id": 999},
    "UploadCreate": {"filename": "a.fcs", "file_size": 100},
}
VALID_QUERIES: dict[str, dict[str, str]] = {
    "Question": {"user_id": "1", "permission": "users:read"},
    "HistogramAsked": {"x": "FSC-A", "bins": "2"},
    "DensityAsked": {"x": "FSC-A", "y": "FSC-A", "bins": "2"},
}
MEANT: dict[str, tuple[bytes, ...]] = {
    **dict.fromkeys(("min", "max", "x_min", "x_max", "y_min", "y_max"), (b"-1", b"1.5", b"9223372036854775808")),
    "cofactor": (b"1.5",),
    "parameters": (b"1%0A",),
}
"""Of the hostile values those that are good ones: any number is a limit, and names may stand apart."""
FREE_TEXT = {"q", "name", "role", "offset", "attempt", "action", "target", "type", "tags"}
"""Parameters that may look like anything; they are compared and never obeyed, and find nothing here."""
HOSTILE_VALUES = (
    *(b"%00", b"%zz", b"%ff", b"%ed%a0%80", b"9" * 400, b"1" + b"0" * 400, b"9223372036854775808", b"1e999", b"-1"),
    *(b"null", b"NULL", b"[]", b"x" * 5000, b"1.5", b"%0A", b"1%0A", b"%E2%80%AE", b"..%2F..", b"true%00"),
)
ODD_LENGTHS = (b"", b"-1", b"1e3", b"+5", b"2", b"\xff", b"9" * 30)
BETWEEN = b"%0A"
"""What stands between the title and the text of a document, as they are searched."""
BOUNDARY = b"0123456789"
FORM = b"multipart/form-data; boundary=" + BOUNDARY
LETTER = b'Content-Disposition: form-data; name="file"; filename="letter.txt"\r\n\r\nDear'
ODD_TYPES = (
    *(b"", b"text/plain", b"application/json", b"application/x-www-form-urlencoded", b"multipart/form-data", b"\xff"),
    *(b"multipart/mixed; boundary=" + BOUNDARY, b"multipart/form-data; boundary=", b"multipart/form-data;" * 3000),
    *(b"multipart/form-data, " + FORM, b"multipart/form-data; boundary*=utf-8''%ff", b"x" * 60_000),
)
"""Content types of no form."""
ODD_HEADERS = (b"", b" ", b"\0", b"\xff\xfe", b"x" * 60_000, b"bytes", b"'; DROP TABLE files; --", b",,,,", b'"', b"W/")
"""Values that mean nothing in any header."""
KNOWN_HEADERS: dict[bytes, dict[bytes, int]] = {
    b"range": {
        **dict.fromkeys((b"bytes=", b"bytes=-", b"bytes=a-b", b"bytes=5-1", b"bytes=0-1,2-3", b"bytes=--1"), 200),
        **dict.fromkeys((b"bytes=0-" + b"9" * 400, b"bytes=" + b"9" * 30 + b"-", b"bytes=" + b"0-1," * 9000), 200),
        **dict.fromkeys((b"bytes=\xd9\xa1-", b"bytes=0x0-", b"bytes=+1-2", b"bytes=1-2\0", b"bytes=1-2-3"), 200),
        **dict.fromkeys((b"lines=0-1", b"BYTES=0-1", b"bytes:0-1", b"bytes"), 200),
        **dict.fromkeys((b"bytes=0-", b"bytes=1-2", b"bytes=-1", b"bytes=-" + b"9" * 18, b"bytes=5-" + b"9" * 18), 206),
        **dict.fromkeys((b"bytes=SIZE-", b"bytes=-0", b"bytes=" + b"9" * 18 + b"-", b"bytes=SIZE-SIZE9"), 416),
    },
    b"if-range": {b"TAG": 206, b"W/TAG": 200, b"Sat, 21 Nov 2026 06:17:00 GMT": 200, b"*": 200},
    b"if-none-match": {b"TAG": 304, b"W/TAG": 304, b"*": 304, b'"x", ' * 5000 + b"TAG": 304, b"TAGx": 200},
}


def form(*parts: bytes, end: bytes = b"--\r\n") -> bytes:
    """A form of these parts, each with its headers."""
    return b"".join(b"--" + BOUNDARY + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + BOUNDARY + end


def field(name: bytes, value: bytes) -> bytes:
    """A part that is no file."""
    return b'Content-Disposition: form-data; name="' + name + b'"\r\n\r\n' + value


ODD_FORMS = {
    "nothing": b"",
    "no form": b"Dear",
    "nothing but line ends": b"\r\n" * 5000,
    "NUL": b"\0" * 5000,
    "another boundary": form(LETTER).replace(BOUNDARY, b"9876543210"),
    "no parts": form(),
    "no file": form(field(b"name", b"a.txt")),
    "a file that is none": form(field(b"file", b"Dear")),
    "a file without a name": form(LETTER.replace(b"letter.txt", b"")),
    "two files": form(LETTER, LETTER),
    "no end": form(LETTER, end=b""),
    "an end in the file": form(LETTER)[:-20],
    "an end in the boundary": form(LETTER)[:-7],
    "an end in the headers": b"--" + BOUNDARY + b"\r\n" + LETTER[:20],
    "no headers": form(b"\r\nDear", LETTER),
    "no name": form(b"Content-Disposition: form-data\r\n\r\nDear", LETTER),
    "no disposition": form(b"Content-Type: text/plain\r\n\r\nDear", LETTER),
    "a header without a name": form(b": x\r\n" + LETTER),
    "a header with a NUL": form(b"X-\0: x\r\n" + LETTER),
    "a header that has no end": b"--" + BOUNDARY + b"\r\nX-Long: " + b"x" * 2_000_000,
    "headers without end": b"--" + BOUNDARY + b"\r\n" + b"X-More: x\r\n" * 200_000,
    "a long field": form(field(b"name", b"x" * 5000), LETTER),
    "a field of the longest kind": form(field(b"x" * 900_000, b"x" * 900_000), LETTER),
    "a field twice": form(field(b"name", b"a"), field(b"name", b"b"), LETTER),
    "a field that is unheard of": form(field(b"unheard", b"1"), LETTER),
    "a field with a NUL": form(field(b"name", b"a\0b"), LETTER),
    "a field of no text": form(field(b"name", b"\xff\xfe"), LETTER),
    "a field with a surrogate": form(field(b"name", b"\xed\xa0\x80"), LETTER),
    "a field after the file": form(LETTER, field(b"unheard", b"1")),
    "a folder that is no number": form(field(b"folder_id", b"1e999"), LETTER),
    "a folder below zero": form(field(b"folder_id", b"-1"), LETTER),
    "a folder that is null": form(field(b"folder_id", b"null"), LETTER),
    "a folder of many digits": form(field(b"folder_id", b"9" * 400), LETTER),
    "a folder that is a file": form(LETTER.replace(b'"file"', b'"folder_id"'), LETTER),
    "many parts": form(*(field(b"f%d" % number, b"") for number in range(30)), LETTER),
    "many empty parts": b"--" + BOUNDARY + b"\r\n" + (b"\r\n--" + BOUNDARY + b"\r\n") * 5000,
    "a form of forms": form(field(b'x"\r\nContent-Type: ' + FORM + b'; x="', form(LETTER))),
}
ODD_NAMES = (
    *("../../etc/passwd", "..\\..\\boot.ini", "/", "..", ".", " ", "...", "a\r\nX: y", 'a"; filename="b', "nul"),
    *("\u202egpj.exe", "\u2028", "a\x7f", "x" * 999, "é" * 300, "🧀" * 300 + ".tar.gz", "." * 300, "a." + "b" * 300),
    *("%00", "%2e%2e%2f", "'; DROP TABLE files; --", "\ufeff", "\x85", "e\u0301" * 300, "<script>", "C:\\a.txt"),
)


def title(line: RouteLine) -> str:
    return f"{line.method} {line.path}"


def is_fcs(line: RouteLine) -> bool:
    """Whether it takes an FCS file, and nothing else."""
    return line.path.startswith("/api/v1/fcs/")


def tables(config: Config) -> dict[str, list[dict[str, Any]]]:
    """All that is stored, but the trail and when a token was last used."""
    names = [row["name"] for row in rows(config.database_path, "SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {name: rows(config.database_path, f'SELECT * FROM "{name}"') for name in names if name != "audit"}  # noqa: S608
    for table in found.values():
        for row in table:
            row.pop("last_used_at", None)
    del found["sqlite_sequence"]
    return found


class Held(NamedTuple):
    """A claimed service with one thing of every kind that is made with a call, and where it keeps them."""

    client: TestClient
    config: Config

    def stored(self) -> tuple[dict[str, list[dict[str, Any]]], list[Path]]:
        """All that is stored, and what is arriving, once what is given up is given up."""
        until(lambda: not rows(self.config.database_path, "SELECT id FROM file_uploads"), "no upload is on its way")
        return tables(self.config), [*(self.config.data_dir / "blobs/incoming").iterdir()]


def opened(folder: Path) -> Iterator[Held]:
    config = configured(folder / "data")
    with TestClient(create_app(config), client=("127.0.0.1", 50000)) as client:
        client.headers["Authorization"] = f"Token {claim(client)}"
        for noun, wanted in (
            ("packages", {"name": "firefox", "version": "2.1.0"}),
            ("groups", {"name": "South", "uniform_number": "00000001"}),
            ("teams", {"name": "Optics"}),
            ("folders", {"name": "letters"}),
            ("documents", {"title": "Title", "content": "Text"}),
        ):
            assert client.post(f"/api/v1/{noun}", json=wanted).json()["id"] == 1
        assert client.put("/api/v1/files/content?name=a.txt", content=b"hello\n").json()["id"] == 1
        assert client.put("/api/v1/fcs/content?name=a.fcs", content=SAMPLE).json()["file_id"] == 1
        new = {"filename": "b.fcs", "file_size": CHUNK_BYTES + 1, "chunk_size": CHUNK_BYTES}
        assert client.post("/api/v1/fcs/uploads", json=new).json()["id"] == 1
        assert client.put("/api/v1/fcs/uploads/1/chunks/1", content=b"x").json()["missing"] == [0]
        assert client.get("/api/v1/fcs/statistics").status_code == 200, "nothing more is being computed"
        found = tables(config)
        kept = ("packages", "tokens", "users", "groups", "teams", "team_members", "folders", "documents", "files")
        kept += ("fcs_contents", "fcs_files", "fcs_uploads", "fcs_chunks")
        assert {len(found[noun]) for noun in kept} == {1}
        yield Held(client, config)


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    """Where nothing that tests do changes anything."""
    yield from opened(tmp_path_factory.mktemp("held"))


@pytest.fixture(scope="module")
def taking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Held]:
    """Where tests leave what they make."""
    yield from opened(tmp_path_factory.mktemp("taking"))


@pytest.fixture
def unharmed(held: Held) -> Iterator[TestClient]:
    """The claimed client; afterwards all must be as it was."""
    before = held.stored()
    yield held.client
    assert held.stored() == before
    assert held.client.get("/readyz").json()["status"] == "ok"


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


@pytest.mark.parametrize("line", FORMS, ids=title)
def test_a_form_that_is_none_is_refused(unharmed: TestClient, line: RouteLine) -> None:
    """Whole, and in small pieces; nothing of it is kept, and the refusal is as small as any."""
    letter = SAMPLE if is_fcs(line) else b"Dear"
    for what, content in ODD_FORMS.items():
        content = content.replace(b"Dear", letter)
        for size in (len(content) + 1, max(7, len(content) // 500)):
            body = [content[begin : begin + size] for begin in range(0, len(content), size)]
            answer = ask(unharmed, line.method, at(line), headers=[(b"content-type", FORM)], body=body)
            assert answer.status_code in (400, 413), what
            refusal(answer, answer.status_code)
            assert len(answer.content) < 10_000, what


@pytest.mark.parametrize("line", FORMS, ids=title)
def test_a_body_of_another_type_than_a_form_is_refused(unharmed: TestClient, line: RouteLine) -> None:
    for odd in ODD_TYPES:
        answer = ask(unharmed, line.method, at(line), headers=[(b"content-type", odd)], body=[form(LETTER)])
        refusal(answer, 415, "UNSUPPORTED_MEDIA_TYPE")
    for content in UNDECODABLE.values():
        refusal(ask(unharmed, line.method, at(line), body=[content]), 415, "UNSUPPORTED_MEDIA_TYPE")
    for odd in (b"x" * 60_000, b"\xff", b'" "', b"a\0b"):
        given = [(b"content-type", b"multipart/form-data; boundary=" + odd)]
        refusal(ask(unharmed, line.method, at(line), headers=given, body=[form(LETTER)]), 400, "VALIDATION_ERROR")


@pytest.mark.parametrize("line", [*FORMS, *RAW], ids=title)
def test_an_upload_over_its_limit_is_refused_before_it_is_read(unharmed: TestClient, line: RouteLine) -> None:
    """Of a form no more is read than stands before its file."""
    query, begun = (b"name=a.txt", []) if line.query else (b"", [form(LETTER, end=b"")])
    most = (1000 if is_fcs(line) else 100) * 2**20
    for length in (b"%d" % (most + 2**20 + 1), b"9" * 18):
        given = [(b"content-length", length), (b"content-type", FORM)]
        answer = ask(unharmed, line.method, at(line), query=query, headers=given, body=begun)
        assert refusal(answer, 413, "PAYLOAD_TOO_LARGE")["limit_bytes"] == most


def test_a_chunk_that_is_none_is_refused(unharmed: TestClient) -> None:
    """Declared or not, whole and in small pieces; also one that is too long for any."""
    path = at(CHUNK, chunk_id="0")
    for what, content in {**UNDECODABLE, "nothing": b"", "too long": BIG, "a byte too long": BIG[: 2**20 + 1]}.items():
        size = max(7, len(content) // 100)
        body = [content[begin : begin + size] for begin in range(0, len(content), size)]
        for given in ([(b"content-length", b"%d" % len(content))], [(b"transfer-encoding", b"chunked")]):
            answer = ask(unharmed, CHUNK.method, path, headers=given, body=body)
            assert answer.status_code == 400, what
            refusal(answer, 400, "VALIDATION_ERROR")
    for length in (b"9" * 18, b"1", b"%d" % (CHUNK_BYTES - 1)):
        given = [(b"content-length", length)]
        refusal(ask(unharmed, CHUNK.method, path, headers=given, body=[]), 400, "VALIDATION_ERROR")
    whole = [b" " * 2**16] * 16
    refusal(ask(unharmed, CHUNK.method, path, body=whole), 400, "VALIDATION_ERROR")  # it does not begin as FCS does


@pytest.mark.parametrize("line", RAW, ids=title)
def test_a_hostile_parameter_of_an_upload_is_refused(unharmed: TestClient, line: RouteLine) -> None:
    odd_folders = (b"-1", b"", b"null", b"1.5", b"9" * 30, b"a", b"1%0A")
    content = SAMPLE if is_fcs(line) else b"Dear"
    for query, named in {
        **dict.fromkeys((b"", b"name=", b"name=%00", b"name=" + b"x" * 1001, b"name=a&name=b"), "name"),
        **{b"name=a&folder_id=" + odd: "folder_id" for odd in odd_folders},
        **{b"name=a&unheard=1": "unheard", b"name=%ff": None, b"name=%ed%a0%80": None, b"name=%": None},
        b"folder_id=1": "folder_id" if is_fcs(line) else "name",
    }.items():
        document = refusal(ask(unharmed, line.method, at(line), query=query, body=[content]), 400, "VALIDATION_ERROR")
        assert named is None or document["errors"][0]["field"] == named, query
    elsewhere = ask(unharmed, line.method, at(line), query=b"name=a&folder_id=999", body=[content])
    refusal(elsewhere, *((400, "VALIDATION_ERROR") if is_fcs(line) else (404, "NOT_FOUND")))


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
@pytest.mark.parametrize("room", ["files", "fcs"])
def test_a_harmful_name_of_a_file_is_made_harmless(taking: Held, name: str, room: str) -> None:
    """By each way in; what is left is a name as those that are typed."""
    content = SAMPLE if room == "fcs" else b"Dear"
    letter = LETTER.replace(b"Dear", content)
    named = letter.replace(b"letter.txt", name.encode().translate(None, b'"\\\r\n') or b"\\")
    query, headers = b"name=" + quote(name, safe="").encode(), [(b"content-type", FORM)]
    answers = [ask(taking.client, "PUT", f"/api/v1/{room}/content", query=query, body=[content])]
    for body in [form(named)] if room == "fcs" else [form(named), form(field(b"name", name.encode()), letter)]:
        answers.append(ask(taking.client, "POST", f"/api/v1/{room}/upload", headers=headers, body=[body]))
    for answer in answers:
        assert answer.status_code == 201, answer.text
        made = answer.json()
        told, place = (made["filename"], "fcs/files") if room == "fcs" else (made["name"], "files")
        assert msgspec.convert(told, FileName) == told
        number = made["file_id" if room == "fcs" else "id"]
        header = taking.client.get(f"/api/v1/{place}/{number}/download").headers["content-disposition"]
        assert header.endswith("filename*=UTF-8''" + quote(told, safe="!#$&+-.^_`|~"))


@pytest.mark.parametrize("line", [line for line in RAW if not is_fcs(line)], ids=title)
def test_a_raw_body_is_taken_as_it_is_whatever_it_claims_to_be(taking: Held, line: RouteLine) -> None:
    """Its length is that of what comes, where the header is none; its type is not what the header says."""
    for odd in ODD_LENGTHS:
        given = [(b"content-length", odd), (b"content-type", b"text/html; charset=\xff")]
        answer = ask(taking.client, line.method, at(line), query=b"name=a.bin", headers=given, body=[b"\0De", b"ar"])
        assert (answer.status_code, answer.json()["size_bytes"]) == (201, 5), odd
        assert answer.json()["media_type"] == "application/octet-stream"
    for content in UNDECODABLE.values():
        answer = ask(taking.client, line.method, at(line), query=b"name=a.bin", body=[content])
        assert (answer.status_code, answer.json()["size_bytes"]) == (201, len(content))
        assert taking.client.get(f"/api/v1/files/{answer.json()['id']}/download").content == content


def test_an_fcs_file_is_told_by_its_bytes_whatever_they_are_said_to_be(taking: Held) -> None:
    """What is none is refused, and nothing of it stays."""
    line = next(line for line in RAW if is_fcs(line))
    for odd in ODD_LENGTHS:
        given = [(b"content-length", odd), (b"content-type", b"text/html; charset=\xff")]
        body = [SAMPLE[:2], SAMPLE[2:]]
        answer = ask(taking.client, line.method, at(line), query=b"name=a.html", headers=given, body=body)
        assert (answer.status_code, answer.json()["size_bytes"]) == (201, len(SAMPLE)), odd
    before = taking.stored()
    for content in (*UNDECODABLE.values(), b"", SAMPLE[:-20], b"FCS3.1", b"\0" + SAMPLE):
        answer = ask(taking.client, line.method, at(line), query=b"name=a.fcs", body=[content])
        refusal(answer, 400, "VALIDATION_ERROR")
        assert len(answer.content) < 10_000
    assert taking.stored() == before


@pytest.mark.parametrize("name", [*KNOWN_HEADERS, b"content-type", b"content-length", b"user-agent", b"accept"])
@pytest.mark.parametrize("way", ["own", "link", "fcs"])
def test_a_hostile_header_of_a_download_does_no_harm(taking: Held, name: bytes, way: str) -> None:
    """The whole file, the part that is meant, or a refusal; an odd header is none."""
    path = "/api/v1/fcs/files/1/download" if way == "fcs" else "/api/v1/files/1/download"
    if way == "link":
        path = taking.client.get("/api/v1/files/1/download-url").json()["path"]
    whole = SAMPLE if way == "fcs" else b"hello\n"
    tag = taking.client.get(path).headers["etag"].encode()
    for value, status in {**dict.fromkeys(ODD_HEADERS, 200), **KNOWN_HEADERS.get(name, {})}.items():
        given = [(b"range", b"bytes=0-1")] if name == b"if-range" else []
        meant = value.replace(b"TAG", tag).replace(b"SIZE", b"%d" % len(whole))
        answer = ask(taking.client, "GET", path, headers=[*given, (name, meant)])
        if status == 416:
            assert refusal(answer, 416, "RANGE_NOT_SATISFIABLE")["size_bytes"] == len(whole)
            continue
        part = answer.headers.get("content-range", f"bytes 0-{len(whole) - 1}/").removeprefix("bytes ")
        begin, end = part.split("/")[0].split("-")
        content = b"" if status == 304 else whole[int(begin) : int(end) + 1]
        assert (answer.status_code, answer.content) == (status, content), value
        assert answer.headers["etag"].encode() == tag


def test_what_callers_call_themselves_is_kept_short_and_in_one_line(taking: Held) -> None:
    path = taking.client.get("/api/v1/files/1/download-url").json()["path"]
    for agent in (b"\0\x1b[31m" + b"x" * 60_000, b"\xff\x85\x7f", b"a\rb"):
        assert ask(taking.client, "GET", path, headers=[(b"user-agent", agent)]).status_code == 200
        (told,) = taking.client.get("/api/v1/files/1/access-logs?limit=1").json()
        assert len(told["user_agent"]) <= 200
        assert told["user_agent"].isprintable(), ascii(told["user_agent"])


@pytest.mark.parametrize(
    "link", ["x", "\0", "\n", "\ud800", "é", "..", "%2e%2e", "'; DROP TABLE file_shares; --", "null", "1", "x" * 60_000]
)
def test_a_link_that_is_none_leads_nowhere(unharmed: TestClient, link: str) -> None:
    for method in ("GET", "HEAD"):
        answer = ask(unharmed, method, f"/api/v1/files/shared/{link}")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(("line", "name"), WITH_ID, ids=lambda part: part if isinstance(part, str) else title(part))
def test_an_id_that_nothing_has_is_not_found(unharmed: TestClient, line: RouteLine, name: str) -> None:
    body = [msgspec.json.encode(valid(line.body))] if line.body else []
    for number, why in IDS.items():
        answer = ask(unharmed, line.method, at(line, **{name: number}), body=body)
        if (name, why) == ("chunk_id", "none has it"):  # the upload is there: what is wrong is what is sent
            refusal(answer, 400, "VALIDATION_ERROR")
            continue
        document = refusal(answer, 404, "NOT_FOUND")
        assert (document["detail"] == "There is nothing at this path.") == (why == "no id"), number


@pytest.mark.parametrize("line", LINES, ids=title)
def test_a_hostile_query_string_is_refused(unharmed: TestClient, line: RouteLine) -> None:
    for query, name in QUERIES.items():
        document = refusal(ask(unharmed, line.method, at(line), query=query), 400, "VALIDATION_ERROR")
        assert name is None or document["errors"][0]["field"] == name


@pytest.mark.parametrize("line", [line for line in LINES if line.query and not line.streams], ids=title)
def test_a_hostile_parameter_is_refused_or_finds_nothing(unharmed: TestClient, line: RouteLine) -> None:
    refusals = 0
    for name in line.query.__struct_fields__:
        known = VALID_QUERIES.get(line.query.__name__, {}).items()
        others = "".join(f"{other}={value}&" for other, value in known if other != name).encode()
        for value in HOSTILE_VALUES:
            answer = ask(unharmed, line.method, at(line), query=others + name.encode() + b"=" + value)
            if value in MEANT.get(name, ()):
                assert answer.status_code == 200, (name, value, answer.text)
                continue
            if answer.status_code in (200, 404):
                assert name in FREE_TEXT, (name, value)
                found = answer.content not in (b"[]", b"") and answer.status_code == 200
                assert found == ((line.path, name, value) == ("/api/v1/documents", "q", BETWEEN)), (name, value)
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
            "/api/v1/documents/1/revisions/1/restore/1",
            "/api/v1/folders/tree/1",
            "/api/v1/files/shared",
            "/api/v1/files/shared/a/b",
            "/api/v1/files/1/shares/1",
            "/api/v1/fcs",
            "/api/v1/fcs/events/1",
            "/api/v1/fcs/files/1/download/1",
            "/api/v1/fcs/uploads/1/chunks",
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
