"""The session that `pkgctl login` keeps: when it is used, when it is renewed, and what lies in its file.

Against a small HTTP server that refuses and lies, which knows package 1 and signs anybody in.
"""

import fcntl
import os
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest

from app.cli.answers import Pair
from app.cli.client import Address
from app.cli.sessions import Session, SessionFile
from tests import test_cli_login as signing_in
from tests.test_cli import FIREFOX, Asked, Outcome, Pkgctl, Reply, Server, problem
from tests.test_cli_login import ENDED, PAIR, SIGNED_IN, keep, mode, sent

server, kept, pkgctl, login = signing_in.server, signing_in.kept, signing_in.pkgctl, signing_in.login

# Which credential is used


def test_a_token_goes_before_the_session(pkgctl: Pkgctl, server: Server, kept: SessionFile, tmp_path: Path) -> None:
    keep(kept, server.url)
    (tmp_path / "token").write_text("from-file\n")
    file = {"PURSER_TOKEN_FILE": str(tmp_path / "token")}
    pkgctl("show", "1", "--token", "from-words", PURSER_TOKEN="from-environment", **file)
    pkgctl("show", "1", PURSER_TOKEN="from-environment", **file)
    pkgctl("show", "1", **file)
    pkgctl("show", "1")
    assert [asked.headers["Authorization"].split()[1] for asked in server.asked] == [
        "from-words",
        "from-environment",
        "from-file",
        "access-1",
    ]


def test_signing_in_says_when_a_token_goes_before_the_session(login: Callable[..., Outcome]) -> None:
    assert login(PURSER_TOKEN="pat_x")[2] == "PURSER_TOKEN or PURSER_TOKEN_FILE is set, and goes before the session\n"


def test_a_session_is_for_its_own_service(pkgctl: Pkgctl, server: Server, kept: SessionFile) -> None:
    keep(kept, "http://127.0.0.1:1")
    pkgctl("show", "1")
    assert "Authorization" not in server.asked[0].headers


def test_one_service_has_one_session_however_its_url_is_spelt(
    login: Callable[..., Outcome], pkgctl: Pkgctl, server: Server, kept: SessionFile
) -> None:
    spelt = server.url.replace("http:", "HTTP:") + "/"
    assert login("--url", spelt)[0] == 0
    assert list(kept.read()) == [server.url]
    assert pkgctl("show", "1")[0] == 0
    assert "Authorization" in server.asked[-1].headers


def test_the_version_of_the_service_is_told_to_who_is_signed_in(
    pkgctl: Pkgctl, server: Server, kept: SessionFile
) -> None:
    server.on("GET /version", {"version": "0.9"})
    assert "server" not in pkgctl("version")[1]
    keep(kept, server.url)
    assert "server 0.9" in pkgctl("version")[1]


@pytest.mark.parametrize("url", ["unix:/run/purser.sock", "unix:///run/purser.sock"])
def test_a_socket_is_one_service_too(url: str) -> None:
    assert Address.parse(url).key == "unix:/run/purser.sock"


# Renewing


def test_a_session_is_renewed_before_its_token_ends(pkgctl: Pkgctl, server: Server, kept: SessionFile) -> None:
    keep(kept, server.url, expires_at=time.time() + 20)
    assert pkgctl("show", "1")[0] == 0
    assert [asked.target for asked in server.asked] == ["/api/v1/auth/refresh", "/api/v1/packages/1"]
    assert msgspec.json.decode(server.asked[0].body) == {"refresh_token": "refresh-1"}
    assert "Authorization" not in server.asked[0].headers
    assert server.asked[1].headers["Authorization"] == "Token access-2"
    assert kept.read()[server.url].refresh_token == "refresh-2"
    assert mode(kept.path) == 0o600


def test_a_token_that_is_refused_is_renewed_once(pkgctl: Pkgctl, server: Server, kept: SessionFile) -> None:
    keep(kept, server.url)
    refusal = problem(401, "Unauthorized", "Token expired", code="UNAUTHORIZED")
    server.on("GET /packages/1", refusal, FIREFOX)
    assert pkgctl("show", "1")[0] == 0
    assert [asked.headers["Authorization"] for asked in sent(server, "GET /packages/1")] == [
        "Token access-1",
        "Token access-2",
    ]
    server.on("GET /packages/1", refusal)
    assert pkgctl("show", "1") == (1, "", "pkgctl: Unauthorized: Token expired\n")
    assert len(sent(server, "POST /auth/refresh")) == 2


def test_a_token_that_was_given_is_never_renewed(pkgctl: Pkgctl, server: Server, kept: SessionFile) -> None:
    keep(kept, server.url)
    server.on("GET /packages/1", problem(401, "Unauthorized", "Token revoked", code="UNAUTHORIZED"))
    assert pkgctl("show", "1", PURSER_TOKEN="pat_x") == (1, "", "pkgctl: Unauthorized: Token revoked\n")
    assert len(server.asked) == 1


def test_a_session_that_has_ended_is_forgotten(pkgctl: Pkgctl, server: Server, kept: SessionFile) -> None:
    keep(kept, server.url, expires_at=0)
    other = keep(kept, "http://other")
    server.on("POST /auth/refresh", problem(401, "Unauthorized", "Invalid refresh token", code="UNAUTHORIZED"))
    assert pkgctl("show", "1") == (1, "", ENDED)
    assert kept.read() == {"http://other": other}
    assert sent(server, "GET /packages/1") == []


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (problem(503, "Service Unavailable", "Purser is stopping.", code="UNAVAILABLE"), 1),
        (problem(429, "Too Many Requests", "Slowly.", code="TOO_MANY_REQUESTS"), 1),
        (Reply(b"<html>sign in to this network</html>", 401), 1),
        (Reply(b"<html>"), 3),
        (Reply({**PAIR, "access_token": "a\r\nX-Evil: 1"}), 3),
        (Reply({**PAIR, "refresh_token": "\x1b[2J"}), 3),
        (Reply({**PAIR, "expires_in": -1}), 3),
        (Reply(raw=b""), 3),
    ],
)
def test_a_session_survives_a_refresh_that_came_to_nothing(
    pkgctl: Pkgctl, server: Server, kept: SessionFile, reply: Reply, code: int
) -> None:
    session = keep(kept, server.url, expires_at=0)
    server.on("POST /auth/refresh", reply)
    ended, out, err = pkgctl("show", "1")
    assert (ended, out) == (code, "")
    assert re.fullmatch(r"pkgctl: [ -~]+\n", err)
    assert kept.read() == {server.url: session}
    assert sent(server, "GET /packages/1") == []


@pytest.mark.parametrize("username", [None, "bob"])
def test_who_has_signed_out_meanwhile_or_in_as_another_does_not_go_on(
    pkgctl: Pkgctl, server: Server, kept: SessionFile, username: str | None
) -> None:
    """Given a call that has begun, when the session is another's as its token is refused, then it is not taken."""
    keep(kept, server.url)

    def refuse(_: Asked) -> Reply:
        with kept.changing() as sessions:
            del sessions[server.url]
        if username:
            keep(kept, server.url, username=username)
        return problem(401, "Unauthorized", "Session ended", code="UNAUTHORIZED")

    server.routes["GET /packages/1"] = refuse
    assert pkgctl("show", "1") == (1, "", ENDED)
    assert [session.username for session in kept.read().values()] == ([username] if username else [])
    assert sent(server, "POST /auth/refresh") == []


def test_calls_side_by_side_lose_nothing_of_each_other(kept: SessionFile) -> None:
    with ThreadPoolExecutor(8) as pool:
        sessions = list(pool.map(lambda number: keep(kept, f"http://box{number}"), range(40)))
    assert kept.read() == {f"http://box{number}": session for number, session in enumerate(sessions)}


def test_a_refresh_token_is_spent_once_however_many_need_another(kept: SessionFile) -> None:
    """Given a refresh that takes a while, when others want one meanwhile, then they wait, and take what it got."""
    ended = keep(kept, "http://box", expires_at=0)
    spent: list[str] = []
    another = threading.Event()

    def refresh(secret: str) -> Pair:
        spent.append(secret)
        if len(spent) > 1:
            another.set()
        another.wait(0.3)
        return Pair(**PAIR)

    with ThreadPoolExecutor(4) as pool:
        calls = [Session(kept, "http://box", ended, refresh) for _ in range(4)]
        assert list(pool.map(Session.token, calls)) == ["access-2"] * 4
    assert spent == ["refresh-1"]


# The file


def test_a_file_that_others_can_read_is_refused_and_mended_by_signing_in(
    login: Callable[..., Outcome], pkgctl: Pkgctl, server: Server, kept: SessionFile
) -> None:
    other = keep(kept, "http://other")
    kept.path.chmod(0o644)
    told = f"pkgctl: {kept.path} is open to others (mode 0644); sign in again: pkgctl login\n"
    assert pkgctl("show", "1") == (1, "", told)
    assert pkgctl("logout") == (1, "", told)
    assert server.asked == []
    assert login()[0] == 0
    assert mode(kept.path) == 0o600
    assert kept.read()["http://other"] == other


def test_what_others_may_have_written_is_not_taken_over(login: Callable[..., Outcome], kept: SessionFile) -> None:
    keep(kept, "http://planted")
    kept.path.chmod(0o620)
    assert login()[0] == 0
    assert "http://planted" not in kept.read()
    assert mode(kept.path) == 0o600


def test_a_folder_that_was_open_is_closed(login: Callable[..., Outcome], kept: SessionFile) -> None:
    kept.path.parent.mkdir(parents=True)
    kept.path.parent.chmod(0o755)
    assert login()[0] == 0
    assert mode(kept.path.parent) == 0o700


def test_a_file_of_somebody_else_is_never_used(
    login: Callable[..., Outcome], pkgctl: Pkgctl, server: Server, kept: SessionFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(kept, server.url)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    told = f"pkgctl: {kept.path} belongs to somebody else; it is not used\n"
    assert pkgctl("show", "1") == (1, "", told)
    assert login() == (1, "", told)
    assert server.asked == []


def test_a_link_is_neither_followed_nor_replaced(
    login: Callable[..., Outcome], pkgctl: Pkgctl, server: Server, kept: SessionFile, tmp_path: Path
) -> None:
    keep(kept, server.url)
    elsewhere = kept.path.rename(tmp_path / "elsewhere")
    before = elsewhere.read_bytes()
    kept.path.symlink_to(elsewhere)
    told = f"pkgctl: {kept.path} is a symbolic link; it is not used\n"
    assert pkgctl("show", "1") == (1, "", told)
    assert login() == (1, "", told)
    assert (kept.path.is_symlink(), elsewhere.read_bytes(), server.asked) == (True, before, [])


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_file_is_not_read(
    pkgctl: Pkgctl, server: Server, kept: SessionFile, make: Callable[[Path], None]
) -> None:
    kept.path.parent.mkdir(parents=True)
    make(kept.path)
    assert pkgctl("show", "1") == (1, "", f"pkgctl: {kept.path} is no regular file; it is not used\n")
    assert server.asked == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 100_000,
        b'{"%b": {"access_token": "a\\r\\nX-Evil: 1", "refresh_token": "r", "expires_at": 9e9, "username": "ann"}}',
    ],
)
def test_a_damaged_file_is_told_and_replaced_by_signing_in(
    login: Callable[..., Outcome], pkgctl: Pkgctl, server: Server, kept: SessionFile, content: bytes
) -> None:
    keep(kept, server.url)
    kept.path.write_bytes(content.replace(b"%b", server.url.encode()))
    told = f"pkgctl: {kept.path} is damaged; sign in again: pkgctl login\n"
    assert pkgctl("show", "1") == (1, "", told)
    assert server.asked == []
    assert login()[0] == 0
    assert pkgctl("show", "1")[0] == 0


def test_what_a_crash_left_does_not_stand_in_the_way(login: Callable[..., Outcome], kept: SessionFile) -> None:
    kept.path.parent.mkdir(parents=True)
    left = kept.path.with_name("sessions.json.part")
    left.write_text("half of")
    left.chmod(0o666)
    assert login()[0] == 0
    assert (mode(kept.path), left.exists()) == (0o600, False)


def test_the_folder_is_named_by_the_environment(
    login: Callable[..., Outcome], server: Server, kept: SessionFile, tmp_path: Path
) -> None:
    assert login(XDG_CONFIG_HOME=f"{tmp_path}/xdg")[0] == 0
    assert list(SessionFile(tmp_path / "xdg/purser/sessions.json").read()) == [server.url]
    assert login(XDG_CONFIG_HOME="relative")[0] == 0  # XDG Base Directory Specification: to be ignored
    assert list(kept.read()) == [server.url]


def test_without_a_home_nothing_is_kept(login: Callable[..., Outcome], pkgctl: Pkgctl, server: Server) -> None:
    told = "pkgctl: There is no place to keep a session: neither XDG_CONFIG_HOME nor HOME is set\n"
    assert login(HOME="") == (2, "", told)
    assert server.asked == []
    assert pkgctl("show", "1", HOME="")[0] == 0
    assert pkgctl("logout", HOME="") == (2, "", told)


def test_a_home_that_cannot_be_written_is_told_before_anybody_signs_in(
    login: Callable[..., Outcome], pkgctl: Pkgctl, server: Server
) -> None:
    told = "pkgctl: /dev/null/.config/purser/sessions.json cannot be used: Not a directory\n"
    assert login(HOME="/dev/null") == (1, "", told)
    assert server.asked == []
    assert pkgctl("show", "1", HOME="/dev/null")[0] == 0


def test_a_session_that_cannot_be_kept_is_ended_again(
    login: Callable[..., Outcome], server: Server, kept: SessionFile
) -> None:
    def signed_in(_: Asked) -> Reply:
        kept.path.unlink()
        kept.path.mkdir()
        return Reply(SIGNED_IN)

    server.routes["POST /auth/login"] = signed_in
    assert login() == (1, "", f"pkgctl: {kept.path} is no regular file; it is not used\n")
    assert sent(server, "POST /auth/logout")[0].headers["Authorization"] == "Token access-2"


def test_a_call_that_holds_the_file_for_ever_is_told(
    pkgctl: Pkgctl, server: Server, kept: SessionFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cli.sessions.PATIENCE_S", 0.1)
    keep(kept, server.url, expires_at=0)
    told = f"pkgctl: {kept.path} is being changed by another pkgctl, for too long\n"
    with open(kept.path.with_name("sessions.lock")) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert pkgctl("show", "1") == (1, "", told)
    assert server.asked == []
    assert pkgctl("show", "1")[0] == 0
