"""pkgctl: what it sends, what it prints, how it ends.

These tests talk to a small HTTP server of their own, because they are about what a client must survive: a server that
refuses, lies, stalls, floods or is none. The commands against the real service stand at the end.
"""

import io
import os
import pty
import re
import select
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

import app
from app.cli import example_init, main
from app.cli.client import ANSWER_LIMIT_BYTES, Client, Refused, Unreachable
from app.cli.outcomes import Failed, PipeClosed
from app.cli.output import Screen, plain, plain_json, size
from tests.support import ROOT, Service, until

FIREFOX = {
    "id": 1,
    "name": "firefox",
    "version": "2.1.0",
    "status": "downloaded",
    "store_path": "/nix/store/x-firefox",
    "closure_bytes": 1536,
    "failure": None,
    "failure_detail": None,
    "active": False,
    "created_at": "2026-11-21T06:17:00.123Z",
    "updated_at": "2026-11-21T06:18:00.123Z",
}


@dataclass
class Asked:
    """A request as the server got it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}


@dataclass
class Reply:
    """What the server answers; `raw` replaces the whole answer, head included, and may come in pieces."""

    content: object = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | Iterable[bytes] | None = None


Answering = Callable[[Asked], Reply]


@dataclass
class Server:
    """A server that answers each method and path as it is told to, and remembers what it was asked."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    routes: dict[str, Answering] = field(default_factory=dict)

    def on(self, line: str, *replies: Reply | object) -> None:
        """Answers `GET /packages` and the like with the replies one after the other, the last one for ever."""
        left = [reply if isinstance(reply, Reply) else Reply(reply) for reply in replies]
        self.routes[line] = lambda _: left.pop(0) if len(left) > 1 else left[0]

    def answer(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        path = urlsplit(asked.target).path.removeprefix("/api/v1")
        return self.routes.get(f"{asked.method} {path}", lambda _: problem(404, "Not Found", "No such path."))(asked)


def problem(status: int, title: str, detail: str, **more: object) -> Reply:
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return Reply(document, status, {"Content-Type": "application/problem+json"})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "TcpServer | UnixServer"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        reply = self.server.ours.answer(Asked(self.command, self.path, dict(self.headers.items()), body))
        if reply.raw is not None:
            for piece in [reply.raw] if isinstance(reply.raw, bytes) else reply.raw:
                self.wfile.write(piece)
            self.close_connection = True
            return
        content = reply.content if isinstance(reply.content, bytes) else msgspec.json.encode(reply.content)
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(content)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


class Quiet(socketserver.ThreadingMixIn):
    daemon_threads = True
    block_on_close = False
    ours: Server

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves early is what some tests are about."""


class TcpServer(Quiet, socketserver.TCPServer):
    allow_reuse_address = True


class UnixServer(Quiet, socketserver.UnixStreamServer):
    pass


def serving(server: TcpServer | UnixServer, ours: Server) -> Iterator[Server]:
    server.ours = ours
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield ours
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    tcp = TcpServer(("127.0.0.1", 0), Handler)
    yield from serving(tcp, Server(f"http://127.0.0.1:{tcp.server_address[1]}"))


@pytest.fixture
def unix_server(tmp_path: Path) -> Iterator[Server]:
    path = tmp_path / "purser.sock"
    yield from serving(UnixServer(str(path), Handler), Server(f"unix:{path}"))


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a socket that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def nobody() -> str:
    """A URL where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


Outcome = tuple[int, str, str]
Pkgctl = Callable[..., Outcome]


@pytest.fixture
def pkgctl(server: Server, capsys: pytest.CaptureFixture[str]) -> Pkgctl:
    """Runs pkgctl in this process against `server`; keywords are its environment."""

    def run(*words: str, **environ: str) -> Outcome:
        code = main(words, {"PURSER_URL": server.url} | environ)
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def process(*words: str, **options: object) -> subprocess.Popen[str]:
    """Starts `python -m app` with nothing in its environment but what the interpreter needs."""
    environ = {"PATH": os.environ["PATH"], "PYTHONWARNINGS": "error"} | options.pop("environ", {})  # type: ignore[operator]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen([sys.executable, "-m", "app", *words], cwd=ROOT, env=environ, text=True, **streams)  # type: ignore[call-overload]


def finished(*words: str, **options: object) -> Outcome:
    with process(*words, **options) as child:
        out, err = child.communicate(timeout=30)
        return child.returncode, out, err


# What people see


def test_activate_prints_the_one_line_that_scripts_look_for(pkgctl: Pkgctl, server: Server) -> None:
    server.on("POST /packages/1/activate", {"status": "activated", "id": 1, "name": "firefox", "version": "2.1.0"})
    assert pkgctl("activate", "1", "--token", "pat_x") == (0, "Success: Activated package v2.1.0\n", "")
    assert server.asked[0].headers["Authorization"] == "Token pat_x"


@pytest.mark.parametrize(
    ("words", "line", "answer", "printed"),
    [
        ("create firefox 2.1.0", "POST /packages", Reply(FIREFOX, 201), "Created package 1, firefox v2.1.0"),
        (
            "download 1",
            "POST /packages/1/download",
            Reply({**FIREFOX, "status": "downloading", "attempt": 2}, 202),
            "Downloading package 1, attempt 2",
        ),
        (
            "download 1",
            "POST /packages/1/download",
            {**FIREFOX, "status": "activated"},
            "Package 1 is activated already",
        ),
        ("download 1 --wait", "POST /packages/1/download", FIREFOX, "Package 1 is downloaded already"),
        (
            "cancel 1",
            "POST /packages/1/cancel",
            Reply({"status": "cancelling"}, 202),
            "Cancelling the download of package 1",
        ),
        ("rollback 1", "POST /packages/1/rollback", {"version": "2.0"}, "Rolled back to package v2.0"),
        ("delete 1", "DELETE /packages/1", Reply(b"", 204), "Deleted package 1"),
        ("tokens revoke 7", "DELETE /tokens/7", {}, "Revoked token 7"),
        ("tokens revoke-all", "DELETE /tokens/all", {}, "Revoked all your other tokens"),
    ],
)
def test_what_worked_is_told_in_one_line(
    pkgctl: Pkgctl, server: Server, words: str, line: str, answer: object, printed: str
) -> None:
    server.on(line, answer)
    assert pkgctl(*words.split()) == (0, f"Success: {printed}\n", "")


def test_list_aligns_its_columns(pkgctl: Pkgctl, server: Server) -> None:
    server.on("GET /packages", [FIREFOX, {**FIREFOX, "id": 12, "name": "vim", "closure_bytes": None}])
    code, out, _ = pkgctl("list")
    assert code == 0
    assert out.splitlines() == [
        "ID  NAME     VERSION  STATUS      SIZE     UPDATED",
        "1   firefox  2.1.0    downloaded  1.5 KiB  2026-11-21T06:18:00.123Z",
        "12  vim      2.1.0    downloaded  -        2026-11-21T06:18:00.123Z",
    ]


def test_an_empty_list_leaves_stdout_empty(pkgctl: Pkgctl, server: Server) -> None:
    server.on("GET /packages", [])
    assert pkgctl("list") == (0, "", "No packages.\n")
    assert pkgctl("list", "--json") == (0, "[]\n", "")


def test_show_prints_every_field_the_server_tells(pkgctl: Pkgctl, server: Server) -> None:
    server.on("GET /packages/1", {**FIREFOX, "active": True, "invented_later": "yes"})
    code, out, _ = pkgctl("show", "1")
    assert code == 0
    assert dict(line.split(maxsplit=1) for line in out.splitlines()) == {
        **{name: str(value) for name, value in FIREFOX.items()},
        "active": "yes",
        "closure_bytes": "1.5 KiB",
        "failure": "-",
        "failure_detail": "-",
        "invented_later": "yes",
    }


def test_attempts_activations_and_tokens_are_tables(pkgctl: Pkgctl, server: Server) -> None:
    server.on("GET /packages/1/attempts", [{"number": 1, "status": "failed", "failure": "build", "exit_code": 100}])
    activation = {
        "id": 5,
        "kind": "activate",
        "status": "done",
        "from_version": None,
        "to_version": "2.1.0",
        "by": "admin",
    }
    server.on("GET /packages/1/activations", [activation])
    server.on("GET /tokens", [{"id": 1, "name": "ci", "prefix": "pat_abc", "scopes": ["a:read", "b:write"]}])
    assert pkgctl("attempts", "1")[1].splitlines()[1].split()[:4] == ["1", "failed", "build", "100"]
    assert pkgctl("activations", "1")[1].splitlines()[1].split()[:5] == ["5", "activate", "done", "-", "2.1.0"]
    assert pkgctl("tokens", "list")[1].splitlines()[1].split()[:4] == ["1", "ci", "pat_abc", "a:read,b:write"]


def test_json_is_what_the_server_wrote(pkgctl: Pkgctl, server: Server) -> None:
    server.on("GET /packages/1", Reply(b'{"id": 1, "exact": 1.50, "large": 123456789012345678901234567890}'))
    answer = '{"id":1,"exact":1.50,"large":123456789012345678901234567890}\n'
    assert pkgctl("show", "1", "--json") == (0, answer, "")
    assert pkgctl("--json", "show", "1") == (0, answer, "")
    server.on("DELETE /packages/1", Reply(b"", 204))
    assert pkgctl("delete", "1", "--json") == (0, "", "")


def test_a_new_token_stands_alone_on_stdout(pkgctl: Pkgctl, server: Server) -> None:
    server.on("POST /tokens", Reply({"id": 3, "token": "pat_secret", "expires_at": "2027-02-19T06:17:00.123Z"}, 201))
    code, out, err = pkgctl(
        "tokens", "create", "--name", "ci", "--scopes", "packages:read, tokens:read", "--expires", "1y"
    )
    assert (code, out) == (0, "pat_secret\n")
    assert err == "Token 3 expires 2027-02-19T06:17:00.123Z; it is not shown again.\n"
    body = {"name": "ci", "scopes": ["packages:read", "tokens:read"], "expires_in_days": 365}
    assert msgspec.json.decode(server.asked[0].body) == body
    assert pkgctl("tokens", "create")[0] == 0
    assert server.asked[1].body == b""
    assert "Authorization" not in server.asked[1].headers


# Paging


def test_list_follows_the_links_to_the_last_page(pkgctl: Pkgctl, server: Server) -> None:
    def page(asked: Asked) -> Reply:
        number = int(asked.query.get("cursor", "1"))
        link = {"Link": f'</elsewhere>; rel="prev", <?cursor={number + 1}>; rel="next"'} if number < 3 else {}
        return Reply([{**FIREFOX, "id": number * 10 + at} for at in range(2)], headers=link)

    server.routes["GET /packages"] = page
    code, out, _ = pkgctl("list", "--json", "--name", "fire fox&x", "--status", "failed", "--q", "é")
    assert code == 0
    assert [package["id"] for package in msgspec.json.decode(out)] == [10, 11, 20, 21, 30, 31]
    assert server.asked[0].query == {"name": "fire fox&x", "status": "failed", "q": "é", "limit": "1000"}
    server.asked.clear()
    assert len(msgspec.json.decode(pkgctl("list", "--json", "--limit", "3")[1])) == 3
    assert [asked.query for asked in server.asked] == [{"limit": "3"}, {"cursor": "2"}]


def test_a_link_to_another_host_is_asked_of_ours(server: Server, nobody: str) -> None:
    first = Reply([1], headers={"Link": f'<{nobody}/api/v1/packages?cursor=2>; rel="next"'})
    server.routes["GET /packages"] = lambda asked: Reply([2]) if "cursor" in asked.query else first
    assert [bytes(item) for item in Client(server.url, "pat_x").items("/packages")] == [b"1", b"2"]


@pytest.mark.parametrize("link", ["</api/v1/packages>", "<>", "<http://[/>", "</api/v1/pack\x7fages>"])
def test_a_list_without_an_end_or_with_a_broken_link_ends(server: Server, link: str) -> None:
    server.on("GET /packages", Reply([1], headers={"Link": f'{link}; rel="next"'}))
    with pytest.raises(Unreachable):
        Client(server.url).items("/packages")


# Refusals, and servers that are none


def test_a_refusal_names_the_fields_at_fault(pkgctl: Pkgctl, server: Server) -> None:
    errors = [{"field": "/version", "message": "is no version"}, {"field": "/name", "message": "is too long"}]
    refusal = problem(400, "Bad Request", "The body does not hold.", code="VALIDATION_ERROR", errors=errors)
    server.on("POST /packages", refusal)
    assert pkgctl("create", "firefox", "two") == (
        1,
        "",
        "pkgctl: Bad Request: The body does not hold.\n  /version: is no version\n  /name: is too long\n",
    )
    with pytest.raises(Refused) as told:
        Client(server.url).send("POST", "/packages", body={})
    refused = told.value
    assert (refused.status, refused.code, refused.errors[0]) == (400, "VALIDATION_ERROR", ("/version", "is no version"))


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply(b"<html>", 502), "502 Bad Gateway"),
        (Reply(b"", 503), "503 Service Unavailable"),
        (Reply(b"[" * 100_000, 500), "500 Internal Server Error"),
        (Reply(b'{"title": 3}', 418), "418 I'm a Teapot"),
        (Reply(b"", 429, {"Retry-After": "30"}), "429 Too Many Requests (try again in 30 s)"),
        (
            Reply(b"", 307, {"Location": "https://elsewhere/"}),
            "307 Temporary Redirect: it points to https://elsewhere/",
        ),
    ],
)
def test_a_refusal_that_is_no_problem_document_is_told_by_its_status(
    pkgctl: Pkgctl, server: Server, reply: Reply, told: str
) -> None:
    server.on("GET /packages/1", reply)
    assert pkgctl("show", "1") == (1, "", f"pkgctl: {told}\n")
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("detail", "told"),
    [
        (
            "Too many wrong passwords; try again later.",
            "Too many wrong passwords; try again later. (try again in 30 s)",
        ),
        ("60 a minute are taken; try again in 30 s.", "60 a minute are taken; try again in 30 s."),
        ("130 s of silence are asked for.", "130 s of silence are asked for. (try again in 30 s)"),
    ],
)
def test_when_to_come_back_is_told_once(pkgctl: Pkgctl, server: Server, detail: str, told: str) -> None:
    refusal = problem(429, "Too Many Requests", detail, code="TOO_MANY_REQUESTS")
    refusal.headers["Retry-After"] = "30"
    server.on("GET /packages/1", refusal)
    assert pkgctl("show", "1") == (1, "", f"pkgctl: Too Many Requests: {told}\n")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"<html>hello</html>"),
        Reply(b""),
        Reply(b'"text"'),
        Reply(b"[" * 100_000),
        Reply(b'{"a": "\xff"}'),
        Reply(raw=b""),
        Reply(raw=b"SSH-2.0-OpenSSH_9.2\r\n"),
        Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}"),
        Reply(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}"),
        Reply(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n{}"),
        Reply(raw=b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"),
        Reply(raw=b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 200 + b"\r\n"),
    ],
)
def test_what_does_not_answer_like_purser_is_unreachable(pkgctl: Pkgctl, server: Server, reply: Reply) -> None:
    server.on("GET /packages/1", reply)
    code, out, err = pkgctl("show", "1")
    assert (code, out) == (3, "")
    assert re.fullmatch(r"pkgctl: [^\n]+\n", err)


@pytest.mark.parametrize("content", [[1], ["x"], [[]]])
def test_a_list_of_something_else_is_unreachable(pkgctl: Pkgctl, server: Server, content: object) -> None:
    server.on("GET /packages", content)
    assert pkgctl("list")[0] == 3


def test_an_answer_that_does_not_stop_is_cut_off(server: Server) -> None:
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    flood = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + piece * (ANSWER_LIMIT_BYTES // 65536 + 2)
    server.on("GET /packages/1", Reply(raw=flood))
    with pytest.raises(Unreachable, match="more than"):
        Client(server.url).get("/packages/1", object)


def test_nobody_there_is_exit_3(capsys: pytest.CaptureFixture[str], nobody: str, tmp_path: Path) -> None:
    assert main(["list", "--url", nobody], {}) == 3
    assert capsys.readouterr() == ("", f"pkgctl: Cannot reach {nobody}: Connection refused\n")
    assert main(["list", "--url", f"unix:{tmp_path}/none.sock"], {}) == 3
    assert main(["list", "--url", f"unix:{tmp_path}/{'x' * 200}"], {}) == 3
    assert main(["list", "--url", "http://a..b"], {}) == 3
    assert main(["list", "--url", nobody.replace("http:", "https:")], {}) == 3


def test_a_server_that_takes_the_call_and_says_nothing_times_out(silent: str) -> None:
    with pytest.raises(Unreachable, match=r"within 0\.05 s"):
        Client(silent, timeout_s=0.05).get("/packages", object)


def test_a_server_that_drips_times_out_as_a_whole(server: Server) -> None:
    """Given one byte at a time, each well within the time limit, when the answer takes longer than it, then it ends."""
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while not stop.wait(0.02):
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            with pytest.raises(Unreachable, match="No answer"):
                Client(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout_s=0.2).get("/packages", object)
        finally:
            stop.set()
            thread.join()


def test_a_tls_handshake_with_a_plain_server_is_unreachable(pkgctl: Pkgctl, server: Server) -> None:
    code, _, err = pkgctl("list", "--url", server.url.replace("http:", "https:"))
    assert code == 3
    assert err.startswith("pkgctl: Cannot reach https://127.0.0.1")


# Where and as whom


def test_a_unix_socket_is_as_good_as_a_port(unix_server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    unix_server.on("GET /packages/1", FIREFOX)
    assert main(["show", "1", "--json"], {"PURSER_URL": unix_server.url}) == 0
    assert main(["show", "1"], {"PURSER_URL": unix_server.url.replace("unix:", "unix://")}) == 0
    assert capsys.readouterr().err == ""
    assert unix_server.asked[0].headers["Host"] == "localhost"


def test_a_prefix_stands_before_the_api(pkgctl: Pkgctl, server: Server) -> None:
    pkgctl("list", "--url", f"{server.url}/box/purser/")
    assert server.asked[0].target == "/box/purser/api/v1/packages?limit=1000"


@pytest.mark.parametrize(
    "words", [("--token", "given", "show", "1"), ("show", "1", "--token=given"), ("show", "--token", "given", "1")]
)
def test_the_token_on_the_command_line_wins(pkgctl: Pkgctl, server: Server, words: tuple[str, ...]) -> None:
    server.on("GET /packages/1", FIREFOX)
    assert pkgctl(*words, PURSER_TOKEN="environment")[0] == 0
    assert server.asked[0].headers["Authorization"] == "Token given"


def test_the_token_comes_from_the_environment_or_from_a_file(pkgctl: Pkgctl, server: Server, tmp_path: Path) -> None:
    kept = tmp_path / "token"
    kept.write_text("pat_file\n")
    server.on("GET /packages/1", FIREFOX)
    pkgctl("show", "1", PURSER_TOKEN="pat_environment", PURSER_TOKEN_FILE=str(kept))
    pkgctl("show", "1", PURSER_TOKEN="", PURSER_TOKEN_FILE=str(kept))
    pkgctl("show", "1")
    sent = [asked.headers.get("Authorization") for asked in server.asked]
    assert sent == ["Token pat_environment", "Token pat_file", None]


def test_a_token_file_that_cannot_be_read_is_a_usage_error(pkgctl: Pkgctl, server: Server, tmp_path: Path) -> None:
    told = f"pkgctl: PURSER_TOKEN_FILE: {tmp_path}/none: No such file or directory\n"
    assert pkgctl("list", PURSER_TOKEN_FILE=f"{tmp_path}/none") == (2, "", told)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert pkgctl("list", PURSER_TOKEN_FILE=f"{tmp_path}/binary")[0] == 2
    (tmp_path / "empty").write_text("\n")
    assert pkgctl("list", PURSER_TOKEN_FILE=f"{tmp_path}/empty")[0] == 2
    assert server.asked == []


@pytest.mark.parametrize("token", ["", "a b", "a\r\nX-Forwarded-For: 127.0.0.1", "a\n", "é", "a\x00", "a\x7f"])
def test_a_token_cannot_smuggle_a_header(pkgctl: Pkgctl, server: Server, token: str) -> None:
    code, out, err = pkgctl("list", "--token", token)
    assert (code, out) == (2, "")
    assert err == "pkgctl: The token is empty or holds a character that no token has\n"
    assert server.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8000",
        "ftp://host",
        "http://",
        "http://host:port",
        "http://host:99999",
        "http://user:secret@host",
        "http://host/?q",
        "http://host/#f",
        "http://host/a b",
        "http://host/\r\nX: y",
        "http://[::1",
        "http://bücher",
        "unix:",
        "unix://host/path",
    ],
)
def test_a_url_that_is_none_is_a_usage_error(pkgctl: Pkgctl, url: str) -> None:
    code, out, err = pkgctl("list", "--url", url)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"pkgctl: Not a [^\n]+\n", err)
    assert "secret" not in err


# Words that make no sense


@pytest.mark.parametrize(
    "words",
    [
        "",
        "nonsense",
        "show",
        "show one",
        "show 1/../2",
        "show -1",
        "show 1234567890123456789",
        "show ١",
        "list --limit 0",
        "list --lim 3",
        "list extra",
        "log 1 --attempt x",
        "create firefox",
        "tokens",
        "tokens revoke all",
        "tokens create --expires tomorrow",
        "serve --port many",
        "serve --port 65536",
    ],
)
def test_words_without_sense_are_a_usage_error(pkgctl: Pkgctl, server: Server, words: str) -> None:
    code, out, err = pkgctl(*words.split())
    assert (code, out) == (2, "")
    assert "usage: pkgctl" in err
    assert server.asked == []


def test_words_that_are_not_utf8_are_a_usage_error(pkgctl: Pkgctl, server: Server) -> None:
    assert pkgctl("create", "\udcff", "1.0.0") == (2, "", "pkgctl: The command line is not UTF-8\n")
    assert server.asked == []


def test_help_warns_of_tokens_on_the_command_line(pkgctl: Pkgctl) -> None:
    code, out, _ = pkgctl("activate", "--help")
    assert code == 0
    assert "process list" in out
    assert "PURSER_TOKEN" in out


# Text from a server cannot drive the terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢字", "plain é 漢字"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("a\r\n\tb\x00\x7f", "a\\r\\n\\tb\\x00\\x7f"),
        ("\x9b31m \u202egnp.exe \u200b\u2028", "\\x9b31m \\u202egnp.exe \\u200b\\u2028"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_characters_that_act_are_shown_as_escapes(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_json_stays_the_same_json_with_escapes() -> None:
    document = {"name": "\x9b\x7f\u202e\U000e0041é", "\x1b": 1}
    text = plain_json(msgspec.json.encode(document))
    assert text.isprintable()
    assert msgspec.json.decode(text) == document


def test_a_hostile_name_is_shown_and_not_obeyed(pkgctl: Pkgctl, server: Server) -> None:
    hostile = {**FIREFOX, "name": "\x1b]0;owned\x07", "version": "1\n2"}
    server.on("GET /packages", [hostile])
    server.on("GET /packages/1", {**hostile, "\x1b[2J": ["\x1b"]})
    server.on(
        "POST /packages/1/activate", problem(409, "Con\x1bflict", "a\nb", errors=[{"field": "\x1b", "message": "\r"}])
    )
    answers = [pkgctl("list"), pkgctl("show", "1"), pkgctl("activate", "1"), pkgctl("list", "--json")]
    shown = "".join(out + err for _, out, err in answers)
    assert [code for code, _, _ in answers] == [0, 0, 1, 0]
    assert shown.replace("\n", "").isprintable()
    assert "\\x1b]0;owned\\x07" in shown
    assert "pkgctl: Con\\x1bflict: a\\nb\n  \\x1b: \\r\n" in shown


@pytest.mark.parametrize(
    ("count_bytes", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (5 * 2**20, "5.0 MiB"),
        (3 * 2**30, "3.0 GiB"),
        (2**41, "2.0 TiB"),
    ],
)
def test_sizes_are_for_people(count_bytes: int, shown: str) -> None:
    assert size(count_bytes) == shown


def test_a_log_is_printed_as_lines_without_control_characters(pkgctl: Pkgctl, server: Server) -> None:
    server.on("GET /packages/1/log", b"building\tx\r\n\x1b[31mred\xff\n\xc3\xa9 50%\r100%\nno end")
    assert pkgctl("log", "1", "--attempt", "2") == (0, "building\tx\n\\x1b[31mred\ufffd\né 50%\n100%\nno end", "")
    assert [(asked.target.partition("?")[0], asked.query) for asked in server.asked] == [
        ("/api/v1/packages/1/log", {"attempt": "2"})
    ]


# The screen


def seen(terminal: int, last: str) -> str:
    """What has come to the screen, up to and with `last`."""
    shown = b""
    while not shown.endswith(last.encode()):
        assert select.select([terminal], [], [], 10)[0], f"{last!r} never came, but {shown!r}"
        shown += os.read(terminal, 65536)
    return shown.decode()


def test_a_question_is_asked_of_people_alone(terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    asked = io.StringIO()
    assert Screen(io.StringIO(), asked, io.StringIO("yes\n")).ask("Sure?") is None
    assert asked.getvalue() == ""
    os.write(ours, b"yes \n")
    with open(theirs, closefd=False) as source:
        assert Screen(io.StringIO(), asked, source).ask("Sure\x1b?") == "yes"
    assert asked.getvalue() == "Sure\\x1b? "


def test_the_progress_line_fits_the_terminal(terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    with (
        open(theirs, "w", closefd=False) as err,
        Screen(io.StringIO(), err, io.StringIO()).progress(lambda: "x" * 500) as progress,
    ):
        progress.log("no end yet")
    shown = seen(ours, "\n\r\x1b[K")
    assert shown == "\r\x1b[K" + "x" * 79 + "\r\x1b[Kno end yet\r\n" + "\r\x1b[K"


@pytest.mark.slow
def test_the_progress_line_goes_on_while_nothing_is_logged(terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    seconds = iter(range(100))
    with open(theirs, "w", closefd=False) as err:
        with Screen(io.StringIO(), err, io.StringIO()).progress(lambda: f"{next(seconds)} s"):
            assert seen(ours, "1 s") == "\r\x1b[K0 s\r\x1b[K1 s"
        assert seen(ours, "\r\x1b[K") == "\r\x1b[K"


def test_a_terminal_that_is_gone_is_told_by_whoever_writes_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cli.output.TICK_S", 0.001)
    ours, theirs = pty.openpty()
    with open(theirs, "w") as err:
        screen = Screen(io.StringIO(), err, io.StringIO())
        progress = screen.progress(lambda: "x")
        os.close(ours)
        with pytest.raises(Failed, match="Cannot write the output"), progress:
            until(lambda: "progress" not in {thread.name for thread in threading.enumerate()})
        with pytest.raises(Failed, match="Cannot write the output"):
            progress.log("lost\n")
        screen.abandon()


def test_a_log_line_without_an_end_is_not_gathered_for_ever() -> None:
    err = io.StringIO()
    with Screen(io.StringIO(), err, io.StringIO()).progress(str) as progress:
        for _ in range(3):
            progress.log("x" * 50_000)
        assert len(err.getvalue()) == 100_001


def test_a_pipe_nobody_reads_ends_the_call_and_is_forgotten() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as out:
        screen = Screen(out, io.StringIO(), io.StringIO())
        with pytest.raises(PipeClosed):
            screen.text("lost")
        screen.abandon()
        assert PipeClosed().lines() == []


def test_a_disk_that_is_full_fails_the_call() -> None:
    with open("/dev/full", "w") as out:
        screen = Screen(out, io.StringIO(), io.StringIO())
        with pytest.raises(Failed, match="No space left on device"):
            screen.text("lost")
        screen.abandon()


# Versions


def test_version_tells_both_sides_when_it_can(pkgctl: Pkgctl, server: Server, nobody: str) -> None:
    server.on("GET /version", {"version": "0.9", "python": "3.11", "schema": 1})
    ours = f"pkgctl {app.__version__}\n"
    assert pkgctl("version") == (0, ours, "")
    assert pkgctl("version", "--token", "x") == (0, ours + "server 0.9 (python 3.11, schema 1)\n", "")
    code, out, err = pkgctl("version", "--token", "x", "--url", nobody)
    assert (code, out) == (0, ours)
    assert "Connection refused" in err
    both = pkgctl("version", "--token", "x", "--json")[1]
    assert msgspec.json.decode(both) == {
        "client": app.__version__,
        "server": {"version": "0.9", "python": "3.11", "schema": 1},
    }


def test_example_init_is_init(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["example-init", "--help"])
    assert example_init() == 0
    assert "--drop-all" in capsys.readouterr().out


# As a process


def test_the_module_is_the_program(server: Server) -> None:
    server.on("GET /packages/1", FIREFOX)
    assert finished("show", "1", "--json", "--url", server.url)[0] == 0
    assert finished("show", "2", "--url", server.url) == (1, "", "pkgctl: Not Found: No such path.\n")
    assert finished()[0] == 2
    assert finished("--version") == (0, f"pkgctl {app.__version__}\n", "")


def test_the_environment_of_the_process_is_the_default(server: Server) -> None:
    server.on("GET /packages/1", FIREFOX)
    assert finished("show", "1", environ={"PURSER_URL": server.url, "PURSER_TOKEN": "pat_x"})[0] == 0
    assert server.asked[0].headers["Authorization"] == "Token pat_x"


def test_a_reader_that_goes_away_is_no_error(server: Server) -> None:
    """`pkgctl log 1 | head`: the pipe is closed while the log still comes."""
    server.on("GET /packages/1/log", b"line\n" * 500_000)
    with process("log", "1", "--url", server.url) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == "line\n"
        child.stdout.close()
        assert child.stderr.read() == ""
        assert child.wait(30) == 141


def test_a_full_disk_is_told(server: Server) -> None:
    server.on("GET /packages", [FIREFOX])
    with open("/dev/full", "w") as full:
        code, _, err = finished("list", "--url", server.url, stdout=full)
    assert (code, err) == (1, "pkgctl: Cannot write the output: No space left on device\n")


def test_closed_streams_are_no_reason_to_fall_over(server: Server) -> None:
    server.on("GET /packages", [FIREFOX])
    shell = f'exec "{sys.executable}" -m app list --url {server.url} >&- 2>&- <&-'
    assert subprocess.run(["/bin/sh", "-c", shell], cwd=ROOT, timeout=30).returncode == 0


def test_a_terminal_without_the_letters_gets_escapes(server: Server) -> None:
    server.on("GET /packages/1", {"name": "é漢"})
    code, out, _ = finished("show", "1", "--url", server.url, environ={"PYTHONIOENCODING": "ascii"})
    assert (code, out) == (0, "name  \\xe9\\u6f22\n")


def test_asking_the_service_loads_nothing_of_the_service(nobody: str) -> None:
    """`pkgctl list` must start at once on a small machine."""
    code = "import sys; from app.cli import main; main(); print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code, "list", "--url", nobody], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    loaded = set(ran.stdout.split())
    assert "http.client" in loaded
    assert not loaded & {
        "asyncio",
        "starlette",
        "uvicorn",
        "aiosqlite",
        "anyio",
        "sqlite3",
        "app.config",
        "app.offline",
    }


# On the machine itself: init, migrate, serve, tokens create --offline


@pytest.fixture
def appliance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pkgctl:
    """Runs pkgctl on a machine whose DATA_DIR is empty at first; keywords are its environment."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, **environ: str) -> Outcome:
        code = main(words, {"DATA_DIR": str(tmp_path / "box")} | environ)
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def test_init_prints_the_database_url_and_may_be_repeated(appliance: Pkgctl, tmp_path: Path) -> None:
    url, opened = f"sqlite:///{tmp_path}/box/app.db", f"Opened {tmp_path}/box/app.db\n"
    assert appliance("init") == (0, f"{url}\n", opened)
    assert appliance("init") == (0, f"{url}\n", opened)
    assert appliance("init", "--json") == (0, f'{{"database_url":"{url}","token":null}}\n', opened)
    assert (tmp_path / "box/app.db").exists()


def test_init_with_token_claims_once(appliance: Pkgctl, tmp_path: Path) -> None:
    opened = f"Opened {tmp_path}/box/app.db\n"
    code, out, err = appliance("init", "--token")
    assert (code, err) == (0, opened)
    url, token = out.splitlines()
    assert url.startswith("sqlite:///")
    assert re.fullmatch(r"pat_[0-9A-Za-z]{49}", token)
    code, out, err = appliance("init", "--token")
    assert (code, out) == (1, f"{url}\n")
    assert re.fullmatch(rf"{re.escape(opened)}pkgctl: [^\n]+\n", err)


def test_drop_all_needs_a_yes(appliance: Pkgctl, monkeypatch: pytest.MonkeyPatch, terminal: tuple[int, int]) -> None:
    assert appliance("init", "--token")[0] == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    told = "pkgctl: --drop-all asks first, and there is no terminal: say --yes as well\n"
    assert appliance("init", "--drop-all") == (2, "", told)
    with open(terminal[1], closefd=False) as source:
        monkeypatch.setattr(sys, "stdin", source)
        os.write(terminal[0], b"no\n")
        code, out, err = appliance("init", "--drop-all")
        assert (code, out) == (1, "")
        assert err.endswith("Type yes: pkgctl: Nothing was deleted\n")
        assert appliance("init", "--token")[0] == 1
        os.write(terminal[0], b"yes\n")
        assert appliance("init", "--drop-all", "--token")[0] == 0
    assert appliance("init", "--drop-all", "--yes", "--token")[0] == 0


def test_migrate_check_tells_whether_there_is_something_to_do(appliance: Pkgctl, tmp_path: Path) -> None:
    code, out, err = appliance("migrate", "--check")
    assert (code, out) == (1, "")
    assert re.fullmatch(r"pkgctl: [^\n]+\n", err)
    code, out, err = appliance("migrate")
    assert (code, err) == (0, f"Opened {tmp_path}/box/app.db\n")
    assert re.fullmatch(r"Schema at \d{4} \([1-9]\d* applied\)\n", out)
    assert appliance("migrate", "--check") == (0, "The schema is up to date\n", "")
    assert appliance("migrate")[1].endswith("(0 applied)\n")


def test_a_lost_token_is_replaced_offline(appliance: Pkgctl, tmp_path: Path) -> None:
    assert appliance("init", "--token")[0] == 0
    create = ("tokens", "create", "--offline", "--name", "rescue", "--scopes", "packages:read", "--expires", "30d")
    code, out, err = appliance(*create)
    assert (code, err) == (0, f"Opened {tmp_path}/box/app.db\n")
    assert re.fullmatch(r"pat_[0-9A-Za-z]{49}\n", out)


@pytest.mark.parametrize("words", ["init", "serve", "migrate", "migrate --check", "tokens create --offline"])
def test_a_setting_that_does_not_hold_is_a_usage_error(appliance: Pkgctl, words: str) -> None:
    code, out, err = appliance(*words.split(), PORT="many")
    assert (code, out) == (2, "")
    assert re.fullmatch(r"pkgctl: PORT: [^\n]+\n", err)


def test_a_folder_that_cannot_be_made_is_one_clear_line(appliance: Pkgctl, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, out, err = appliance("init", DATA_DIR=f"{tmp_path}/file/box")
    assert (code, out) == (1, "")
    assert re.fullmatch(r"pkgctl: [^\n]+\n", err)


# Against the real service


class Box:
    """A claimed service, and pkgctl called with its URL and its first token."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.database = f"sqlite:///{service.database}"

    def pkgctl(self, *words: str, token: str | None = None) -> Outcome:
        ran = self.service.run(*words, environ={} if token is None else {"PURSER_TOKEN": token})
        return ran.returncode, ran.stdout, ran.stderr


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A service claimed through pkgctl, with a nix-build that always fails."""
    folder = tmp_path_factory.mktemp("box")
    builder = folder / "nix-build"
    builder.write_text("#!/bin/sh\necho building é >&2\necho error: no rule to make >&2\nexit 100\n")
    builder.chmod(0o755)
    service = Service(folder, NIX_BUILD=str(builder))
    ours = Box(service.start(claimed=False))
    try:
        code, out, err = ours.pkgctl("init", "--token", token="")
        assert (code, err) == (0, "")
        url, service.token = out.splitlines()
        assert url == ours.database
        yield ours
    finally:
        code, said = service.stop()
    assert code == 0, said


@pytest.mark.slow
def test_init_goes_through_the_service_that_holds_the_database(box: Box) -> None:
    assert box.pkgctl("init") == (0, f"{box.database}\n", "")
    code, out, err = box.pkgctl("init", "--token")
    assert (code, out) == (1, f"{box.database}\n")
    assert err == "pkgctl: The appliance is claimed already; make further tokens with one that you have\n"
    for words in ("init --drop-all --yes", "migrate", "tokens create --offline"):
        code, out, err = box.pkgctl(*words.split())
        assert (code, out) == (1, "")
        assert "go through the service" in err


@pytest.mark.slow
def test_a_package_is_created_listed_shown_and_deleted(box: Box) -> None:
    code, out, _ = box.pkgctl("create", "hello", "2.1.0")
    assert code == 0
    created = re.fullmatch(r"Success: Created package (\d+), hello v2\.1\.0\n", out)
    assert created
    assert [p["version"] for p in msgspec.json.decode(box.pkgctl("list", "--json", "--name", "hello")[1])] == ["2.1.0"]
    assert "created" in box.pkgctl("show", created[1])[1]
    assert box.pkgctl("attempts", created[1]) == (0, "", "No downloads yet.\n")
    assert box.pkgctl("activations", created[1]) == (0, "", "No activations yet.\n")
    assert box.pkgctl("log", created[1]) == (0, "", "")
    assert box.pkgctl("log", created[1], "-f") == (0, "", "")
    code, _, err = box.pkgctl("create", "hello", "2.1.0")
    assert code == 1
    assert err.startswith("pkgctl: Conflict: ")
    code, _, err = box.pkgctl("activate", created[1])
    assert (code, err.split(": ")[1]) == (1, "Conflict")
    assert box.pkgctl("delete", created[1]) == (0, f"Success: Deleted package {created[1]}\n", "")
    code, _, err = box.pkgctl("show", created[1])
    assert (code, err.split(": ")[1]) == (1, "Not Found")


@pytest.mark.slow
def test_the_service_names_the_field_at_fault(box: Box) -> None:
    code, _, err = box.pkgctl("create", "hello", "two")
    assert code == 1
    assert err.startswith("pkgctl: Bad Request: /version: ")
    assert len(err.splitlines()) == 1  # one field at fault is named once


@pytest.mark.slow
def test_a_list_longer_than_a_page_comes_whole(box: Box) -> None:
    client = Client(box.service.url, box.service.token)
    for number in range(3):
        client.send("POST", "/packages", body={"name": "paged", "version": f"1.{number}"})
    found = client.items("/packages", {"name": "paged", "limit": 1})
    assert [msgspec.json.decode(item)["version"] for item in found] == ["1.0", "1.1", "1.2"]


@pytest.mark.slow
def test_waiting_for_a_build_that_fails_shows_its_log(box: Box) -> None:
    made = Client(box.service.url, box.service.token).send(
        "POST", "/packages", body={"name": "broken", "version": "1.0"}
    )
    number = str(made.decode(dict[str, object])["id"])
    code, out, err = box.pkgctl("download", number, "--wait")
    assert (code, out) == (1, "")
    assert "building é\n" in err
    assert re.search(r"^pkgctl: Download failed: build: .*no rule to make", err, re.MULTILINE)
    assert "building é" in box.pkgctl("log", number)[1]
    assert box.pkgctl("log", number, "-f", "--attempt", "1") == box.pkgctl("log", number)
    assert box.pkgctl("attempts", number)[1].splitlines()[1].split()[:4] == ["1", "failed", "build", "100"]


@pytest.mark.slow
def test_tokens_are_made_listed_and_revoked(box: Box) -> None:
    code, secret, note = box.pkgctl("tokens", "create", "--name", "ci", "--scopes", "packages:read", "--expires", "30d")
    assert code == 0
    assert re.fullmatch(r"pat_[0-9A-Za-z]{49}\n", secret)
    number = note.split()[1]
    assert box.pkgctl("list", token=secret.strip())[0] == 0
    code, _, err = box.pkgctl("create", "hello", "9.0", token=secret.strip())
    assert (code, err.split(": ")[1]) == (1, "Forbidden")
    assert secret[:12] in box.pkgctl("tokens", "list")[1]
    assert box.pkgctl("tokens", "revoke", number) == (0, f"Success: Revoked token {number}\n", "")
    code, _, err = box.pkgctl("list", token=secret.strip())
    assert (code, err) == (1, "pkgctl: Unauthorized: Token revoked\n")
    assert box.pkgctl("tokens", "revoke-all")[0] == 0


@pytest.mark.slow
def test_version_tells_the_services_too(box: Box) -> None:
    code, out, err = box.pkgctl("version")
    assert (code, err) == (0, "")
    assert re.fullmatch(rf"pkgctl {re.escape(app.__version__)}\nserver \S+ \(.*sqlite.*\)\n", out)


@pytest.mark.slow
def test_a_box_may_be_claimed_and_used_over_a_unix_socket_alone(tmp_path: Path) -> None:
    url = f"unix:{tmp_path}/purser.sock"
    environ = {"DATA_DIR": str(tmp_path / "data"), "PURSER_URL": url}
    with process("serve", "--uds", f"{tmp_path}/purser.sock", environ=environ) as child:
        assert child.stdout is not None
        try:
            assert child.stdout.readline().endswith(f"listens on {url}\n")
            code, out, _ = finished("init", "--token", environ=environ)
            assert code == 0
            assert finished("list", environ=environ | {"PURSER_TOKEN": out.split()[1]}) == (0, "", "No packages.\n")
        finally:
            child.terminate()
        child.stdout.read()
    assert child.returncode == 0
