"""`pkgctl files put`, over servers that refuse in the middle, stall and hang up; and how far a transfer is.

Against small servers of the tests' own; the real service is in test_cli_files.py.
"""

import io
import os
import re
import select
import socket
import ssl
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from app.cli import client, sending
from app.cli.outcomes import Failed
from app.cli.sessions import SessionFile
from app.cli.transfers import Meter, reading
from tests import test_cli, test_cli_fetching
from tests.mail_server import certificates
from tests.test_cli import Asked, Pkgctl, Reply, Server, problem, process
from tests.test_cli_fetching import CONTENT, FILE, cut
from tests.test_cli_login import PAIR, keep

server, pkgctl, here = test_cli.server, test_cli.pkgctl, test_cli_fetching.here

slow = pytest.mark.slow
LARGE_BYTES = 32 * 2**20
"""More than what the system keeps between two ends of a connection."""

CREATED = b"HTTP/1.1 201 Created\r\n\r\n" + msgspec.json.encode(FILE)


@contextmanager
def receiving(
    answer: bytes,
    after: int | None = None,
    stays: bool = False,
    pause_s: float = 0,
    tls: ssl.SSLContext | None = None,
) -> Iterator[tuple[str, bytearray]]:
    """The URL of a server that reads a request, or so much of it, answers, and hangs up; and what it has read at first.

    It leaves the rest unread, `stays` instead of hanging up, pauses after each piece that it reads.
    """
    got, over = bytearray(), threading.Event()

    def whole(count: int, tail: bytes) -> bool:
        head, found, _ = bytes(got).partition(b"\r\n\r\n")
        length = re.search(rb"Content-Length: (\d+)", head)
        return bool(found) and (count >= len(head) + 4 + int(length[1]) if length else tail == b"0\r\n\r\n")

    def serve() -> None:
        plain, _ = listener.accept()
        plain.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )  # as servers do; else a reset may overtake an answer
        count, tail = 0, b""
        with plain if tls is None else tls.wrap_socket(plain, server_side=True) as connection:
            while not (whole(count, tail) if after is None else count >= after):
                piece = connection.recv(200_000 if after is None else min(200_000, after - count))
                if not piece:
                    return
                count, tail = count + len(piece), (tail + piece)[-5:]
                got.extend(piece[: max(0, 110_000 - len(got))])
                over.wait(pause_s)
            connection.sendall(answer)
            if stays:
                over.wait(30)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http{'' if tls is None else 's'}://127.0.0.1:{listener.getsockname()[1]}", got
        finally:
            over.set()
            thread.join(30)


# Sending


@pytest.fixture
def sent(server: Server) -> list[Asked]:
    """The server takes whatever it is sent, and calls it what it is to be called."""
    server.routes["PUT /files/content"] = lambda asked: Reply({**FILE, "name": asked.query["name"]}, 201)
    return server.asked


def test_files_are_sent_one_after_the_other(pkgctl: Pkgctl, sent: list[Asked], here: Path) -> None:
    (here / "a.txt").write_bytes(CONTENT)
    (here / "b & c").write_bytes(b"")
    code, out, err = pkgctl("files", "put", "a.txt", f"{here}/b & c", "--folder", "3", "--token", "pat_x")
    assert (code, err) == (0, "")
    header, *lines = out.splitlines()
    assert header.split() == ["ID", "NAME", "SIZE", "TYPE"]
    assert [line.split()[:2] for line in lines] == [["7", "a.txt"], ["7", "b"]]
    assert [(asked.query, asked.body) for asked in sent] == [
        ({"name": "a.txt", "folder_id": "3"}, CONTENT),
        ({"name": "b & c", "folder_id": "3"}, b""),
    ]
    assert [asked.headers["Content-Length"] for asked in sent] == ["10000", "0"]
    assert sent[0].headers["Authorization"] == "Token pat_x"
    code, out, _ = pkgctl("files", "put", "a.txt", "--name", "other", "--json")
    assert msgspec.json.decode(out) == {**FILE, "name": "other"}


def test_what_cannot_be_sent_is_told_before_anything_is(pkgctl: Pkgctl, sent: list[Asked], here: Path) -> None:
    (here / "a.txt").write_bytes(CONTENT)
    for words in ("a.txt none", "a.txt .", "-", "a.txt -", "a.txt a.txt --name x", "--name x a.txt -"):
        code, out, err = pkgctl("files", "put", *words.split())
        assert (code, out) == (2, "")
        assert re.fullmatch(r"pkgctl: [^\n]+\n", err)
    assert sent == []


def test_the_first_file_that_is_refused_is_the_last(pkgctl: Pkgctl, server: Server, here: Path) -> None:
    server.on("PUT /files/content", Reply(FILE, 201), problem(507, "Insufficient Storage", "Of the quota 3 are left."))
    for name in "abc":
        (here / name).write_text(name)
    code, out, err = pkgctl("files", "put", "a", "b", "c")
    assert (code, len(out.splitlines()), len(server.asked)) == (1, 2, 2)
    refused = "pkgctl: Insufficient Storage: Of the quota 3 are left.\n"
    assert err == f"b was not sent, nor what comes after it\n{refused}"
    assert pkgctl("files", "put", "c") == (1, "", refused)


def test_what_the_kernel_makes_up_is_sent_too(pkgctl: Pkgctl, server: Server) -> None:
    with reading("/proc/self/stat") as source:
        assert source.body.length is None
        assert b"".join(source.body.pieces()).startswith(str(os.getpid()).encode())


def test_a_file_that_shrinks_or_grows_meanwhile_is_sent_as_long_as_it_was_or_not_at_all(here: Path) -> None:
    path = here / "log"
    path.write_bytes(CONTENT)
    with reading("log") as source:
        path.write_bytes(CONTENT * 2)
        assert b"".join(source.body.pieces()) == CONTENT
        path.write_bytes(b"short")
        with pytest.raises(Failed, match="log has become shorter while it was sent"):
            list(source.body.pieces())


def test_standard_input_is_sent_as_it_comes(pkgctl: Pkgctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"x" * 100_000)))
    with receiving(CREATED) as (url, got):
        assert pkgctl("files", "put", "-", "--name", "in.txt", "--url", url)[0] == 0
    head, _, body = bytes(got).partition(b"\r\n\r\n")
    assert head.startswith(b"PUT /api/v1/files/content?name=in.txt HTTP/1.1\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert b"Content-Length" not in head
    assert body == b"10000\r\n" + b"x" * 65536 + b"\r\n86A0\r\n" + b"x" * 34464 + b"\r\n0\r\n\r\n"


def test_what_comes_through_a_pipe_is_sent_as_it_comes(pkgctl: Pkgctl, here: Path) -> None:
    os.mkfifo(here / "pipe")
    writer = threading.Thread(target=lambda: (here / "pipe").write_bytes(CONTENT))
    writer.start()
    with receiving(CREATED) as (url, got):
        assert pkgctl("files", "put", "pipe", "--url", url)[0] == 0
    writer.join(30)
    assert got.endswith(b"\r\n\r\n2710\r\n" + CONTENT + b"\r\n0\r\n\r\n")


def test_standard_input_that_was_closed_is_empty(pkgctl: Pkgctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with receiving(CREATED) as (url, got):
        assert pkgctl("files", "put", "-", "--name", "in.txt", "--url", url)[0] == 0
    assert got.endswith(b"\r\n\r\n0\r\n\r\n")


# Refusals in the middle


@pytest.fixture
def large(here: Path) -> Path:
    """A file that takes no room."""
    path = here / "large.iso"
    with path.open("wb") as file:
        file.truncate(LARGE_BYTES)
    return path


def refusing(status: int, title: str, detail: str) -> bytes:
    document = msgspec.json.encode({"title": title, "status": status, "detail": detail, "code": "X"})
    return f"HTTP/1.1 {status} {title}\r\nContent-Length: {len(document)}\r\n\r\n".encode() + document


@pytest.mark.parametrize("stays", [False, True])
@pytest.mark.parametrize("after", [1, 1000, 5_000_000])
@pytest.mark.parametrize(
    ("status", "title", "detail"),
    [
        (413, "Payload Too Large", "A file may have 100 bytes."),
        (507, "Insufficient Storage", "The disk is full."),
        (401, "Unauthorized", "Token revoked"),
    ],
)
def test_a_refusal_in_the_middle_is_told_in_the_words_of_the_service(
    pkgctl: Pkgctl, large: Path, status: int, title: str, detail: str, after: int, stays: bool
) -> None:
    with receiving(refusing(status, title, detail), after, stays=stays) as (url, _):
        assert pkgctl("files", "put", str(large), "--url", url) == (1, "", f"pkgctl: {title}: {detail}\n")


@pytest.mark.parametrize("answer", [b"", b"nonsense", b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"])
def test_who_hangs_up_in_the_middle_is_unreachable(pkgctl: Pkgctl, large: Path, answer: bytes) -> None:
    with receiving(answer, 1000) as (url, _):
        code, out, err = pkgctl("files", "put", str(large), "--url", url)
    assert (code, out) == (3, "")
    assert re.fullmatch(r"pkgctl: (Cannot|Not Purser's API: it answers before it has everything)[^\n]*\n", err)


def test_a_body_of_json_that_is_refused_in_the_middle_is_told_too(pkgctl: Pkgctl, here: Path) -> None:
    (here / "long.txt").write_bytes(b"\x01" * 1_900_000)  # six bytes each, in JSON
    with receiving(refusing(413, "Payload Too Large", "The body is too large."), 1000) as (url, _):
        told = "pkgctl: Payload Too Large: The body is too large.\n"
        assert pkgctl("docs", "add", "T", "--file", "long.txt", "--url", url) == (1, "", told)


def test_who_reads_no_further_and_says_nothing_is_given_up(
    pkgctl: Pkgctl, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "SILENCE_S", 0.2)
    monkeypatch.setattr(sending, "REFUSAL_S", 0.05)
    with receiving(b"", 1000, stays=True) as (url, _):
        told = f"pkgctl: No answer from {url} within 0.2 s\n"
        assert pkgctl("files", "put", str(large), "--url", url) == (3, "", told)


@slow
def test_a_transfer_may_take_longer_than_silence_may_last(
    pkgctl: Pkgctl, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "SILENCE_S", 0.5)
    (here / "some.iso").write_bytes(bytes(6 * 2**20))
    begun = time.monotonic()
    with receiving(CREATED, pause_s=0.02) as (url, _):
        assert pkgctl("files", "put", "some.iso", "--url", url)[0] == 0
    assert time.monotonic() - begun > 1


@slow
def test_below_tls_it_is_the_same(pkgctl: Pkgctl, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(known.authority))
    with receiving(CREATED, tls=known.here) as (url, _):
        assert pkgctl("files", "put", str(large), "--url", url)[0] == 0
    for after in (1, 1000, 5_000_000):
        with receiving(refusing(413, "Payload Too Large", "It is too long."), after, tls=known.here) as (url, _):
            told = "pkgctl: Payload Too Large: It is too long.\n"
            assert pkgctl("files", "put", str(large), "--url", url) == (1, "", told)


def test_a_file_is_never_wholly_in_memory(pkgctl: Pkgctl, large: Path) -> None:
    tracemalloc.start()
    try:
        with receiving(CREATED) as (url, _):
            assert pkgctl("files", "put", str(large), "--url", url)[0] == 0
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


# Sessions that end


def test_a_file_is_sent_again_when_its_session_had_to_be_renewed(
    pkgctl: Pkgctl, server: Server, here: Path, tmp_path: Path
) -> None:
    keep(SessionFile(tmp_path / ".config/purser/sessions.json"), server.url)
    server.on("POST /auth/refresh", PAIR)
    server.on("PUT /files/content", problem(401, "Unauthorized", "Token expired"), Reply(FILE, 201))
    (here / "a.txt").write_bytes(CONTENT)
    code, out, err = pkgctl("files", "put", "a.txt", HOME=str(tmp_path))
    assert (code, err, len(out.splitlines())) == (0, "", 2)
    sent = [asked for asked in server.asked if asked.method == "PUT"]
    assert [asked.body for asked in sent] == [CONTENT, CONTENT]
    assert [asked.headers["Authorization"] for asked in sent] == ["Token access-1", "Token access-2"]


def test_what_cannot_be_sent_again_is_not(
    pkgctl: Pkgctl, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(SessionFile(tmp_path / ".config/purser/sessions.json"), server.url)
    server.on("POST /auth/refresh", PAIR)
    server.on("PUT /files/content", problem(401, "Unauthorized", "Token expired"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(CONTENT)))
    told = (1, "", "pkgctl: Unauthorized: Token expired\n")
    assert pkgctl("files", "put", "-", "--name", "x", HOME=str(tmp_path)) == told
    assert [asked.method for asked in server.asked] == ["PUT"]


# Progress


def shown(terminal: int, pattern: str) -> str:
    """What has come to the screen, up to and with this."""
    found = ""
    while not re.search(pattern, found):
        assert select.select([terminal], [], [], 30)[0], f"{pattern!r} never came, but {found!r}"
        found += os.read(terminal, 65536).decode()
    return found


def test_a_download_shows_how_far_it_is(server: Server, terminal: tuple[int, int], tmp_path: Path) -> None:
    go_on = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield cut(CONTENT, 5000)
        assert go_on.wait(30)
        yield CONTENT[5000:]

    server.on("GET /files/7/download", Reply(raw=pieces()))
    with process("files", "get", "7", "-o", str(tmp_path), "--url", server.url, stderr=terminal[1]) as child:
        line = r"\r\x1b\[K\[#{10}-{10}\]  50 %  4\.9 KiB of 9\.8 KiB  \S+ \S+/s  \d+:\d\d left  a\.txt"
        assert "\n" not in shown(terminal[0], line)
        go_on.set()
        assert child.communicate(timeout=30)[0] == f"Success: Saved {tmp_path}/a.txt, 9.8 KiB\n"
    assert shown(terminal[0], r"\x1b\[K$")


def test_what_is_soon_done_shows_nothing(server: Server, terminal: tuple[int, int], tmp_path: Path) -> None:
    server.on("GET /files/7/download", Reply(raw=cut(CONTENT, len(CONTENT))))
    with process("files", "get", "7", "-o", str(tmp_path), "--url", server.url, stderr=terminal[1]) as child:
        child.communicate(timeout=30)
    assert shown(terminal[0], r"\x1b\[K") == "\r\x1b[K"


def test_a_meter_tells_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("app.cli.transfers.time.monotonic", lambda: now[0])
    resumed = Meter("a", 4 * 2**20, 2**20)
    now[0] = 2
    resumed.done += 2**20
    assert resumed.line() == "[##########----------]  50 %  2.0 MiB of 4.0 MiB  512.0 KiB/s  0:04 left  a"
    now[0] = 10
    assert resumed.line().split("  ")[3:] == ["102.4 KiB/s", "0:20 left", "a"]
    slow = Meter("a", 2**40)
    now[0], slow.done = 11, 2**20
    assert slow.line().split("  ")[-3:-1] == ["1.0 MiB/s", "99:59:59 left"]
    assert Meter("a", 10).line().endswith("0 B of 10 B  0 B/s  a")
    assert Meter("in.txt", None, 512).line() == "512 B  0 B/s  in.txt"
    assert Meter("empty", 0).line() == "0 B  0 B/s  empty"
