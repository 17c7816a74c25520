"""`pkgctl log -f` and `pkgctl download --wait`: a log appears as it is written, whole and once, whatever happens.

First against a small HTTP server that breaks off, stalls, floods or lies; then against the real service with real Nix.
"""

import itertools
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cli import follow, main
from app.cli.client import TIMEOUT_S, Client
from app.cli.events import LIMIT_BYTES, RETRY_S, Event, EventReader
from app.cli.outcomes import NotPurser
from tests.support import rows, until
from tests.test_cli import (
    FIREFOX,
    Asked,
    Handler,
    Outcome,
    Pkgctl,
    Reply,
    Server,
    TcpServer,
    problem,
    process,
    seen,
    serving,
)
from tests.test_main_job import Box

EVENTS = "GET /packages/1/events"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
HEARTBEAT = b":\n\n"


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that knows package 1 and its first attempt."""
    tcp = TcpServer(("127.0.0.1", 0), Handler)
    known = Server(f"http://127.0.0.1:{tcp.server_address[1]}")
    known.on("POST /packages/1/download", Reply({**FIREFOX, "status": "downloading", "attempt": 1}, 202))
    known.on("GET /packages/1", {**FIREFOX, "status": "downloading"})
    known.on("GET /packages/1/attempts", [{"number": 1}])
    yield from serving(tcp, known)


@pytest.fixture
def pkgctl(server: Server, capsys: pytest.CaptureFixture[str]) -> Pkgctl:
    """Runs pkgctl in this process against `server`."""

    def run(*words: str) -> Outcome:
        code = main(words, {"PURSER_URL": server.url, "PURSER_TOKEN": "pat_x"})
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def event(at: str, kind: str, **content: object) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (at.encode(), kind.encode(), msgspec.json.encode(content))


def status(at: str, to: str, package: str = "downloading", **more: object) -> bytes:
    """What tells that an attempt has got to a status; `at` begins with the attempt's number."""
    return event(at, "status", attempt=int(at.split(".")[0]), status=to, package_status=package, **more)


def log(at: str, text: str) -> bytes:
    """A piece of a log that ends where `at` says."""
    attempt, _, end = map(int, at.split("."))
    return event(at, "log", attempt=attempt, offset=end - len(text.encode()), text=text)


def line_of_progress(terminal: int, state: str, log_bytes: int, seconds: str = r"\d+") -> str:
    """What comes to the screen up to and with a progress line of such words."""
    shown = ""
    while not re.search(f": {state}, {seconds} s, {log_bytes} bytes of log$", shown):
        shown += seen(terminal, "bytes of log")
    return shown


def end(reason: str) -> bytes:
    return b'event: end\ndata: {"reason":"%b"}\n\n' % reason.encode()


def stream(*pieces: bytes | threading.Event, retry_ms: int = 0) -> Reply:
    """A stream that sends the pieces, waits at the events between them, and is over."""

    def told() -> Iterator[bytes]:
        yield HEAD + b"retry: %d\n\n" % retry_ms
        for piece in pieces:
            if isinstance(piece, bytes):
                yield piece
            else:
                piece.wait(30)

    return Reply(raw=told())


BEGUN = status("1.1.0", "queued") + status("1.2.0", "running")
DONE = status("1.3.4", "succeeded", "downloaded") + end("finished")


def since(server: Server) -> list[str | None]:
    """Behind which event each connection was to begin."""
    return [asked.query.get("since") for asked in server.asked if "/events" in asked.target]


# What is printed


def test_a_log_is_printed_until_the_download_has_ended(pkgctl: Pkgctl, server: Server) -> None:
    """A line end that is cut in two between events arrives whole, and so does one at the very end."""
    server.on(EVENTS, stream(BEGUN, log("1.2.7", "one é\r"), HEARTBEAT, log("1.2.13", "\ntwo\r\r"), DONE))
    assert pkgctl("log", "1", "-f") == (0, "one é\ntwo\n\n", "")
    assert since(server) == [None]


def test_a_log_that_could_act_on_the_terminal_is_shown_as_escapes(pkgctl: Pkgctl, server: Server) -> None:
    server.on(EVENTS, stream(BEGUN, log("1.2.4", "\x1b[2J"), DONE))
    assert pkgctl("log", "1", "-f") == (0, "\\x1b[2J", "")


def test_a_line_is_shown_while_the_build_goes_on(server: Server) -> None:
    go_on = threading.Event()
    server.on(EVENTS, stream(BEGUN, log("1.2.4", "one\n"), go_on, log("1.2.8", "two\n"), DONE))
    with process("log", "1", "-f", "--url", server.url) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "one\n"
        go_on.set()
        assert child.communicate(timeout=30) == ("two\n", "")
    assert child.returncode == 0


def test_a_package_that_was_never_downloaded_has_nothing_to_follow(pkgctl: Pkgctl, server: Server) -> None:
    server.on("GET /packages/1/attempts", [])
    assert pkgctl("log", "1", "-f") == (0, "", "")
    assert since(server) == []


def test_an_old_attempt_is_followed_to_its_own_end(pkgctl: Pkgctl, server: Server) -> None:
    server.on("GET /packages/1/attempts", [{"number": 1}, {"number": 2}])
    ended = status("1.3.4", "interrupted", failure="interrupted")
    server.on(EVENTS, stream(BEGUN, log("1.2.4", "old\n"), ended, status("2.1.0", "queued"), log("2.1.4", "new\n")))
    assert pkgctl("log", "1", "-f", "--attempt", "1") == (0, "old\n", "")
    assert since(server) == ["1.0.0"]


def test_an_attempt_that_was_never_made_cannot_be_followed(pkgctl: Pkgctl, server: Server) -> None:
    assert pkgctl("log", "1", "-f", "--attempt", "2") == (1, "", "pkgctl: Package 1 has no attempt 2\n")
    server.on("GET /packages/1/attempts", ["one"])
    assert pkgctl("log", "1", "-f", "--attempt", "1")[0] == 3


def test_waiting_shows_the_log_and_tells_success(pkgctl: Pkgctl, server: Server) -> None:
    server.on("POST /packages/1/download", Reply({**FIREFOX, "status": "downloading", "attempt": 4}, 202))
    told = status("4.1.0", "queued"), log("4.1.13", "unpacking\nbui"), log("4.1.19", "l\x1bding")
    server.on(EVENTS, stream(*told, status("4.3.19", "succeeded", "downloaded")))
    assert pkgctl("download", "1", "--wait") == (
        0,
        "Success: Downloaded package v2.1.0\n",
        "unpacking\nbuil\\x1bding\n",
    )
    assert since(server) == ["4.0.0"]


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        (
            status("1.3.0", "failed", "failed", failure="build", failure_detail="no rule to make"),
            "failed: build: no rule to make",
        ),
        (status("1.3.0", "failed", "failed"), "failed: unknown: see the log"),
        (status("1.3.0", "interrupted", "failed", failure="interrupted"), "failed: interrupted: see the log"),
        (status("1.3.0", "cancelled", "created"), "cancelled"),
    ],
)
def test_waiting_for_what_fails_is_exit_1(pkgctl: Pkgctl, server: Server, ended: bytes, told: str) -> None:
    server.routes[EVENTS] = lambda _: stream(BEGUN, ended, end("finished"))
    assert pkgctl("download", "1", "--wait") == (1, "", f"pkgctl: Download {told}\n")
    server.on("GET /packages/1", {**FIREFOX, "status": "anything"})
    code, out, err = pkgctl("download", "1", "--wait", "--json")
    assert (code, msgspec.json.decode(out)["status"], err) == (1, "anything", f"pkgctl: Download {told}\n")


def test_waiting_with_json_prints_the_package_alone(pkgctl: Pkgctl, server: Server) -> None:
    """Whether it had to be downloaded or was there already."""
    server.on(EVENTS, stream(BEGUN, log("1.2.4", "one\n"), DONE))
    server.on("GET /packages/1", FIREFOX)
    code, out, err = pkgctl("download", "1", "--wait", "--json")
    assert (code, msgspec.json.decode(out), err) == (0, FIREFOX, "one\n")
    server.on("POST /packages/1/download", FIREFOX)
    code, out, err = pkgctl("download", "1", "--wait", "--json")
    assert (code, msgspec.json.decode(out), err) == (0, FIREFOX, "")


@pytest.mark.slow
def test_on_a_terminal_a_progress_line_stands_below_the_log(server: Server, terminal: tuple[int, int]) -> None:
    begins, ends = threading.Event(), threading.Event()
    waiting = {**FIREFOX, "name": "\x1bfox", "status": "downloading", "attempt": 1}
    server.on("POST /packages/1/download", Reply(waiting, 202))
    server.on(
        EVENTS,
        stream(status("1.1.0", "queued"), begins, status("1.2.0", "running"), log("1.2.4", "one\n"), ends, DONE),
    )
    ours, theirs = terminal
    with process("download", "1", "--wait", "--url", server.url, stderr=theirs) as child:
        assert re.match(r"\r\x1b\[KDownloading \\x1bfox v2.1.0: queued", line_of_progress(ours, "queued", log_bytes=0))
        begins.set()
        shown = line_of_progress(ours, "building", log_bytes=4, seconds="[2-9]")  # it ticks although nothing comes
        assert "\r\x1b[Kone\r\n\r\x1b[KDownloading \\x1bfox v2.1.0: building, " in shown
        ends.set()
        out, _ = child.communicate(timeout=30)
        assert seen(ours, "\r\x1b[K").endswith("4 bytes of log\r\x1b[K")
    assert (child.returncode, out) == (0, "Success: Downloaded package v2.1.0\n")


@pytest.mark.slow
def test_the_progress_line_tells_of_a_restart(server: Server, terminal: tuple[int, int]) -> None:
    comes_back, goes_on = threading.Event(), threading.Event()
    again = status("1.3.4", "interrupted", failure="interrupted") + status("2.1.0", "queued")
    first = stream(BEGUN, log("1.2.4", "one\n"))
    second = stream(again, goes_on, status("2.2.0", "succeeded", "downloaded"))

    def answer(asked: Asked) -> Reply:
        if asked.query["since"] == "1.0.0":
            return first
        comes_back.wait(30)
        return second

    server.routes[EVENTS] = answer
    ours, theirs = terminal
    with process("download", "1", "--wait", "--url", server.url, stderr=theirs) as child:
        line_of_progress(ours, "reconnecting", log_bytes=4)
        comes_back.set()
        line_of_progress(ours, "queued", log_bytes=0)
        goes_on.set()
        assert child.wait(30) == 0
        seen(ours, "\r\x1b[K")


@pytest.mark.parametrize("json", [[], ["--json"]])
def test_an_interrupted_wait_leaves_the_download_running_and_says_so(
    pkgctl: Pkgctl, server: Server, json: list[str]
) -> None:
    never = threading.Event()

    def interrupting() -> Iterator[bytes]:
        yield HEAD + BEGUN
        os.kill(os.getpid(), signal.SIGINT)  # what a terminal sends for Ctrl-C
        never.wait(30)

    server.on(EVENTS, Reply(raw=interrupting()))
    told = "The download goes on: `pkgctl log 1 -f` follows it, `pkgctl cancel 1` stops it\n"
    assert pkgctl("download", "1", "--wait", *json) == (130, "", told)
    never.set()
    assert [asked.method for asked in server.asked] == ["POST", "GET"]


def test_following_a_log_is_interrupted_quietly(server: Server) -> None:
    never = threading.Event()
    server.on(EVENTS, stream(BEGUN, log("1.2.5", "line\n"), never))
    with process("log", "1", "-f", "--url", server.url) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "line\n"
        child.send_signal(signal.SIGINT)
        assert child.communicate(timeout=30) == ("", "")
    never.set()
    assert child.returncode == 130


# Connections that break


def test_half_an_event_is_not_printed_and_comes_whole_from_the_next_connection(pkgctl: Pkgctl, server: Server) -> None:
    """Wherever the connection breaks, the next one goes on behind the last event that was whole."""
    two = log("1.2.8", "two\n")
    server.on(
        EVENTS,
        stream(BEGUN, log("1.2.4", "one\n"), two[: len(two) // 2]),
        stream(two[:-1]),
        Reply(raw=b""),
        Reply(raw=HEAD.replace(b"Connection: close", b"Transfer-Encoding: chunked") + b"8\r\nid: 1.2."),
        stream(two, DONE),
    )
    assert pkgctl("log", "1", "-f") == (0, "one\ntwo\n", "")
    assert since(server) == [None, "1.2.4", "1.2.4", "1.2.4", "1.2.4"]


def test_waiting_survives_a_restart_of_the_service(pkgctl: Pkgctl, server: Server) -> None:
    """Given a service that stops, is away and comes back, then the wait goes on with the attempt that follows."""
    server.on(
        EVENTS,
        stream(BEGUN, log("1.2.6", "first\n"), end("stopping")),
        Reply(raw=b""),
        problem(503, "Service Unavailable", "Starting."),
        problem(502, "Bad Gateway", "Nobody there."),
        stream(status("1.3.6", "interrupted", failure="interrupted"), log("2.2.7", "second\n"), end("unavailable")),
        stream(status("2.3.7", "succeeded", "downloaded")),
    )
    assert pkgctl("download", "1", "--wait") == (0, "Success: Downloaded package v2.1.0\n", "first\nsecond\n")
    assert since(server) == ["1.0.0", "1.2.6", "1.2.6", "1.2.6", "1.2.6", "2.2.7"]


def test_a_connection_without_a_sound_is_given_up(
    pkgctl: Pkgctl, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "SILENCE_S", 0.1)
    never = threading.Event()
    server.on(EVENTS, stream(BEGUN, never), stream(never), stream(log("1.2.4", "one\n"), DONE))
    begins = time.monotonic()
    assert pkgctl("log", "1", "-f") == (0, "one\n", "")
    assert time.monotonic() - begins < TIMEOUT_S  # that of a request that waits for its answer
    never.set()
    assert since(server) == [None, "1.2.0", "1.2.0"]


def test_connections_that_bring_something_may_break_for_ever(
    pkgctl: Pkgctl, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patience is with a service that is away, and a silent build behind a proxy that hangs up is none of that."""
    monkeypatch.setattr(follow, "PATIENCE_S", 0.15)
    server.on(EVENTS, stream(BEGUN), *(stream(HEARTBEAT) for _ in range(5)), stream(DONE))
    assert pkgctl("log", "1", "-f") == (0, "", "")
    assert len(since(server)) == 7


@pytest.mark.parametrize(
    ("reply", "code", "told"),
    [
        (problem(429, "Too Many Requests", "Too many event streams are open."), 1, "Too Many Requests: Too many event"),
        (problem(503, "Service Unavailable", "Purser is stopping."), 1, "Service Unavailable: Purser is stopping."),
        (Reply(b"", 503, {"Retry-After": "3600"}), 1, "503 Service Unavailable"),
        (Reply(b"", 503, {"Retry-After": "Sat, 21 Nov 2026 06:17:00 GMT"}), 1, "503 Service Unavailable"),
        (Reply(raw=b""), 3, "Cannot reach http://127.0.0.1"),
        (Reply(raw=HEAD), 3, "The service ended the stream without a reason"),
    ],
)
def test_a_service_that_is_away_for_too_long_is_given_up(
    pkgctl: Pkgctl, server: Server, monkeypatch: pytest.MonkeyPatch, reply: Reply, code: int, told: str
) -> None:
    monkeypatch.setattr(follow, "PATIENCE_S", 0.25)
    server.on(EVENTS, stream(BEGUN, log("1.2.4", "one\n")), reply)
    found = pkgctl("log", "1", "-f")
    assert found[:2] == (code, "one\n")
    assert found[2].startswith(f"pkgctl: {told}")
    assert len(since(server)) >= 3


@pytest.mark.slow
def test_the_service_says_how_long_to_wait_before_the_next_connection(pkgctl: Pkgctl, server: Server) -> None:
    came: list[float] = []
    left = [Reply(b"", 429, {"Retry-After": "1"}), stream(BEGUN, retry_ms=500), stream(DONE)]

    def answer(_: Asked) -> Reply:
        came.append(time.monotonic())
        return left.pop(0)

    server.routes[EVENTS] = answer
    assert pkgctl("log", "1", "-f") == (0, "", "")
    refused, broken, ended = came
    assert broken - refused >= 1.0
    assert ended - broken >= 0.5


# Ends and refusals


@pytest.mark.parametrize(("number", "title"), [(401, "Unauthorized"), (403, "Forbidden"), (404, "Not Found")])
@pytest.mark.parametrize("words", ["log 1 -f", "download 1 --wait"])
def test_a_refusal_is_told_at_once(pkgctl: Pkgctl, server: Server, words: str, number: int, title: str) -> None:
    server.on(EVENTS, stream(BEGUN), problem(number, title, "Not any more."))
    assert pkgctl(*words.split()) == (1, "", f"pkgctl: {title}: Not any more.\n")
    assert len(since(server)) == 2


@pytest.mark.parametrize("words", ["log 1 -f", "download 1 --wait"])
@pytest.mark.parametrize(
    ("reason", "refusal", "told"),
    [
        ("deleted", problem(404, "Not Found", "No such package."), "Not Found: No such package."),
        ("revoked", problem(401, "Unauthorized", "Token revoked"), "Unauthorized: Token revoked"),
        ("revoked", problem(403, "Forbidden", "It takes packages:read."), "Forbidden: It takes packages:read."),
    ],
)
def test_an_end_for_a_reason_is_told_in_the_words_of_the_service(
    pkgctl: Pkgctl, server: Server, words: str, reason: str, refusal: Reply, told: str
) -> None:
    server.on(EVENTS, stream(BEGUN, log("1.2.4", "one\n"), end(reason)))
    server.on("GET /packages/1", refusal)
    code, out, err = pkgctl(*words.split())
    assert (code, out + err) == (1, f"one\npkgctl: {told}\n")
    assert len(since(server)) == 1


def test_a_caller_who_is_let_in_again_goes_on(pkgctl: Pkgctl, server: Server) -> None:
    server.on(EVENTS, stream(BEGUN, end("revoked")), stream(log("1.2.4", "one\n"), DONE))
    assert pkgctl("log", "1", "-f") == (0, "one\n", "")


def test_where_nothing_will_follow_a_log_ends_and_a_wait_does_not_guess(pkgctl: Pkgctl, server: Server) -> None:
    for reply in (Reply(raw=b"HTTP/1.1 204 No Content\r\n\r\n"), Reply(raw=HEAD + end("finished"))):
        server.on(EVENTS, reply)
        assert pkgctl("log", "1", "-f") == (0, "", "")
        told = "pkgctl: Not Purser's API: the events end before the download does\n"
        assert pkgctl("download", "1", "--wait") == (3, "", told)
    server.on("GET /packages/1", problem(404, "Not Found", "No such package."))
    assert pkgctl("download", "1", "--wait") == (1, "", "pkgctl: Not Found: No such package.\n")


# Servers that are none


@pytest.mark.parametrize(
    ("reply", "code", "told"),
    [
        (Reply(b"<html>"), 3, "Not Purser's API: text/plain where text/event-stream was expected"),
        (Reply(b"{}", headers={"Content-Type": "application/json"}), 3, "Not Purser's API: application/json where"),
        (Reply(b"", 307, {"Location": "https://elsewhere/"}), 1, "307 Temporary Redirect: it points to https://else"),
        (Reply(raw=HEAD + b"data: " + b"x" * 2 * LIMIT_BYTES), 3, "Not Purser's API: an event of more than"),
        (
            Reply(raw=HEAD + b"data: xxxxxxxxxxxxx\n" * (LIMIT_BYTES // 15)),
            3,
            "Not Purser's API: an event of more than",
        ),
        (Reply(raw=HEAD + b"event: log\ndata: \xff\n\n"), 3, "Not Purser's API: a log event is not the JSON"),
        (Reply(raw=HEAD + b"event: status\ndata: " + b"[" * 9999 + b"\n\n"), 3, "Not Purser's API: a status event is"),
        (Reply(raw=HEAD + b"event: end\ndata: {}\n\n"), 3, "Not Purser's API: an end event is not the JSON"),
    ],
)
def test_what_does_not_tell_events_like_purser_is_left_at_once(
    pkgctl: Pkgctl, server: Server, reply: Reply, code: int, told: str
) -> None:
    server.on(EVENTS, stream(BEGUN), reply, stream(log("1.2.4", "more\n"), DONE))
    found = pkgctl("log", "1", "-f")
    assert found[:2] == (code, "")
    assert found[2].startswith(f"pkgctl: {told}")
    assert len(since(server)) == 2


def test_comments_without_an_end_are_no_event(pkgctl: Pkgctl, server: Server) -> None:
    server.on(EVENTS, stream(BEGUN, b": still here\n" * (LIMIT_BYTES // 8), b"\n", DONE))
    assert pkgctl("log", "1", "-f") == (0, "", "")


def test_events_and_fields_of_later_versions_say_nothing(pkgctl: Pkgctl, server: Server) -> None:
    later = event("1.2.0", "weather", sky="blue") + b"colour: red\ndata: {}\n\n" + b"event\n\n" + b"\n\n"
    server.on(EVENTS, stream(BEGUN, later, log("1.2.4", "one\n"), DONE))
    assert pkgctl("log", "1", "-f") == (0, "one\n", "")


# The wire


WIRE = (
    b"retry: 250\n\n:\n\nid: 1.1.0\nevent: status\ndata: {}\n\n"
    b"id:1.1.4\r\nevent:log\r\ndata: a\r\ndata:  b\r\n\r\nid: 1.2.4\n\ndata\n\nretry: never\nretry: -1\n\n"
    b"id: 9.9.9\ndata: cut off\n"
)


@given(st.lists(st.integers(0, len(WIRE)), max_size=12))
def test_events_are_the_same_wherever_the_bytes_are_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(WIRE)]
    reader = EventReader("0")
    found = list(reader.events(WIRE[begin:stop] for begin, stop in itertools.pairwise(places)))
    assert found == [Event("status", b"{}"), Event("log", b"a\n b"), Event("message", b"")]
    assert (reader.last_id, reader.retry_s) == ("1.2.4", 0.25)


def test_an_event_may_be_as_large_as_the_service_makes_it() -> None:
    """64 KiB of log are the most in one event, and a control character is the longest in JSON."""
    largest = log("1.1.65536", "\x00" * 65536)
    [found] = EventReader(None).events([largest])
    assert msgspec.json.decode(found.data)["text"] == "\x00" * 65536


def test_a_line_without_an_end_is_not_gathered_for_ever() -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(100):
            taken += 65536
            yield b"x" * 65536

    with pytest.raises(NotPurser):
        list(EventReader(None).events(endless()))
    assert taken <= LIMIT_BYTES + 65536


def test_a_pause_before_the_next_connection_is_never_none_at_all() -> None:
    reader = EventReader(None)
    assert reader.retry_s == RETRY_S
    assert list(reader.events([b"retry: 0\n\n"])) == []
    assert reader.retry_s > 0


# The real service, with real Nix


def real(test: Callable[..., None]) -> Callable[..., None]:
    """Marks a test that starts the service and real Nix."""
    return pytest.mark.slow(pytest.mark.nix(test))


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    """A service that keeps its port over a restart."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    running = Box(tmp_path / "box", PORT=str(port))
    running.start()
    yield running
    running.stop()


@contextmanager
def following(box: Box, *words: str, token: str = "") -> Iterator["subprocess.Popen[str]"]:
    """pkgctl beside the test."""
    with process(*words, environ={"PURSER_URL": box.url, "PURSER_TOKEN": token or box.token}) as child:
        too_late = threading.Timer(60, child.kill)  # whoever reads a line that never comes finds the end instead
        too_late.start()
        try:
            yield child
            child.wait(60)
        finally:
            too_late.cancel()
            child.kill()


def line_of(child: "subprocess.Popen[str]", name: str, wanted: str) -> str:
    """What comes on the stream up to and with the line that is wanted."""
    told = ""
    for line in getattr(child, name):
        told += line
        if line == wanted:
            return told
    raise AssertionError(f"{wanted!r} never came, but {told!r}")


def logs_of(box: Box, package_id: int) -> list[str]:
    """The log of each attempt."""
    with box.client() as client:
        path = f"/api/v1/packages/{package_id}"
        numbers = [attempt["number"] for attempt in client.get(f"{path}/attempts").json()]
        return [client.get(f"{path}/log", params={"attempt": number}).text for number in numbers]


def begun(box: Box) -> int:
    """A package whose build has been begun, and will come to the gate."""
    package_id = box.create("tool", "7.0.0")
    assert box.post(package_id, "download").status_code == 202
    return package_id


FOLLOWED = [("log {} -f", "stdout"), ("download {} --wait", "stderr")]
AT_THE_GATE = "waiting for the gate\n"


@real
@pytest.mark.parametrize(("words", "name"), FOLLOWED)
def test_lines_are_there_while_the_build_stands_at_the_gate(box: Box, words: str, name: str) -> None:
    package_id = begun(box)
    with following(box, *words.format(package_id).split()) as child:
        told = line_of(child, name, AT_THE_GATE)
        assert box.get(package_id)["status"] == "downloading"
        box.open_gate()
        told += getattr(child, name).read()
    assert [told] == logs_of(box, package_id)
    assert "building tool 7.0.0" in told
    assert child.returncode == 0


@real
@pytest.mark.parametrize("how", ["kill", "stop"])
@pytest.mark.parametrize(("words", "name"), FOLLOWED)
def test_a_restart_loses_nothing_and_doubles_nothing(box: Box, words: str, name: str, how: str) -> None:
    package_id = begun(box)
    with following(box, *words.format(package_id).split()) as child:
        told = line_of(child, name, AT_THE_GATE)
        with box.gate.open("w"):
            getattr(box, how)()
            box.start()
        told += line_of(child, name, AT_THE_GATE)
        box.open_gate()
        told += getattr(child, name).read()
    first, second = logs_of(box, package_id)
    assert told == first + second
    assert [attempt["status"] for attempt in box.get(package_id, "/attempts")] == ["interrupted", "succeeded"]
    assert child.returncode == 0


@real
def test_an_attempt_that_was_interrupted_is_not_followed_by_another(box: Box) -> None:
    package_id = begun(box)
    with following(box, "log", str(package_id), "-f", "--attempt", "1") as child:
        told = line_of(child, "stdout", AT_THE_GATE)
        with box.gate.open("w"):
            box.kill()
            box.start()
        told += child.stdout.read() if child.stdout else ""
    assert told == logs_of(box, package_id)[0]
    assert child.returncode == 0
    assert box.get(package_id)["status"] == "downloading"
    box.open_gate()


@real
@pytest.mark.parametrize(("words", "name"), FOLLOWED)
def test_a_cancelled_build_ends_what_follows_it(box: Box, words: str, name: str) -> None:
    package_id = begun(box)
    with following(box, *words.format(package_id).split()) as child:
        line_of(child, name, AT_THE_GATE)
        assert box.run("cancel", str(package_id)).returncode == 0
        rest = getattr(child, name).read()
    if name == "stderr":
        assert rest.endswith("pkgctl: Download cancelled\n")
    assert child.returncode == (1 if name == "stderr" else 0)


@real
def test_a_build_that_fails_is_told_as_it_ends(box: Box) -> None:
    package_id = box.create("tool", "8.0.0")
    ran = box.run("download", str(package_id), "--wait")
    [whole] = logs_of(box, package_id)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith(f"{whole}pkgctl: Download failed: build: ")
    followed = box.run("log", str(package_id), "-f")
    assert (followed.returncode, followed.stdout, followed.stderr) == (0, whole, "")


@real
def test_an_interrupted_wait_leaves_the_build_running(box: Box) -> None:
    package_id = box.create("tool", "7.0.0")
    with following(box, "download", str(package_id), "--wait") as child:
        line_of(child, "stderr", AT_THE_GATE)
        child.send_signal(signal.SIGINT)
    assert child.returncode == 130
    box.open_gate()
    assert box.run("log", str(package_id), "-f").stdout == logs_of(box, package_id)[0]
    assert box.get(package_id)["status"] == "downloaded"


@real
def test_a_revoked_token_follows_no_further(box: Box) -> None:
    client = Client(box.url, box.token)
    made = client.send("POST", "/tokens", body={"name": "ci", "scopes": ["packages:read"]}).decode(dict[str, object])
    package_id = begun(box)
    with following(box, "log", str(package_id), "-f", token=str(made["token"])) as child:
        line_of(child, "stdout", AT_THE_GATE)
        client.send("DELETE", f"/tokens/{made['id']}")
        assert child.communicate(timeout=60) == ("", "pkgctl: Unauthorized: Token revoked\n")
    assert child.returncode == 1
    box.open_gate()


@real
@pytest.mark.parametrize(("words", "name"), FOLLOWED)
def test_a_package_that_is_deleted_meanwhile_is_told(box: Box, words: str, name: str) -> None:
    """Given a follower that is held while the service restarts, when the package goes, then it says so."""
    package_id = begun(box)
    with following(box, *words.format(package_id).split()) as child:
        line_of(child, name, AT_THE_GATE)
        child.send_signal(signal.SIGSTOP)
        box.kill()
        box.start()
        assert box.run("cancel", str(package_id)).returncode == 0
        until(lambda: box.get(package_id)["status"] == "created")
        assert box.run("delete", str(package_id)).returncode == 0
        child.send_signal(signal.SIGCONT)
        assert child.communicate(timeout=60)[1].endswith("pkgctl: Not Found: No such package.\n")
    assert child.returncode == 1


@real
def test_one_stream_too_many_waits_for_its_turn(box: Box) -> None:
    package_id, idle = begun(box), box.create("tool", "1.0.0")
    refused = "SELECT id FROM audit WHERE status = 429"
    with ExitStack() as stack:
        client = stack.enter_context(box.client())
        for _ in range(64):
            opened = stack.enter_context(client.stream("GET", f"/api/v1/packages/{idle}/events"))
            assert opened.status_code == 200
        child = stack.enter_context(following(box, "log", str(package_id), "-f"))
        until(lambda: len(rows(box.database, refused)) > 0)
        assert child.poll() is None
        opened.close()
        told = line_of(child, "stdout", AT_THE_GATE)
        box.open_gate()
        told += child.stdout.read() if child.stdout else ""
        assert child.wait(60) == 0
    assert [told] == logs_of(box, package_id)


@real
def test_a_unix_socket_is_followed_as_well(tmp_path: Path) -> None:
    box = Box(tmp_path / "box")
    path = tmp_path / "purser.sock"
    with box.spawn("serve", "--uds", str(path)) as service:
        assert service.stdout is not None
        try:
            assert f"listens on unix:{path}" in service.stdout.readline()
            box.url = f"unix:{path}"
            box.token = box.run("init", "--token").stdout.split()[1]
            assert box.run("create", "tool", "1.0.0").returncode == 0
            ran = box.run("download", "1", "--wait")
            assert (ran.returncode, ran.stdout) == (0, "Success: Downloaded package v1.0.0\n")
            assert "building tool 1.0.0" in ran.stderr
            assert "building tool 1.0.0" in box.run("log", "1", "-f").stdout
        finally:
            service.terminate()
            service.stdout.read()
