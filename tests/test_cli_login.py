"""`pkgctl login` and `logout`: where the password comes from, what is kept, and what a server cannot do to it.

First against a small HTTP server that lies; then against the real service: several calls at once, and a log that
outlives the token with which it began.
"""

import io
import os
import pty
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.cli import main
from app.cli.sessions import Kept, SessionFile
from tests.accounts import PASSWORD
from tests.support import ROOT, Service, rows, until
from tests.test_cli import FIREFOX, Asked, Handler, Outcome, Pkgctl, Reply, Server, TcpServer, problem, seen, serving

slow = pytest.mark.slow
PAIR = {"access_token": "access-2", "refresh_token": "refresh-2", "expires_in": 900}
ANN = {"id": 2, "username": "ann", "roles": ["user", "editor"]}
SIGNED_IN = {**PAIR, "user": ANN}
ENDED = "pkgctl: Your session has ended; sign in again: pkgctl login\n"


@pytest.fixture
def server() -> Iterator[Server]:
    """A server that signs anybody in and knows package 1."""
    tcp = TcpServer(("127.0.0.1", 0), Handler)
    known = Server(f"http://127.0.0.1:{tcp.server_address[1]}")
    known.on("POST /auth/login", SIGNED_IN)
    known.on("POST /auth/refresh", PAIR)
    known.on("POST /auth/logout", {})
    known.on("GET /packages/1", FIREFOX)
    yield from serving(tcp, known)


@pytest.fixture
def kept(tmp_path: Path) -> SessionFile:
    """Where the session of whoever uses `pkgctl` lies."""
    return SessionFile(tmp_path / "home/.config/purser/sessions.json")


@pytest.fixture
def pkgctl(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Pkgctl:
    """Runs pkgctl in this process against `server` with a home folder of its own; keywords are its environment."""
    (tmp_path / "home").mkdir()
    (tmp_path / "password").write_text(f"{PASSWORD}\nnot this\n")

    def run(*words: str, **environ: str) -> Outcome:
        given = {"PURSER_URL": server.url, "HOME": f"{tmp_path}/home"} | environ
        code = main(words, {name: value for name, value in given.items() if value})
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture
def login(pkgctl: Pkgctl, tmp_path: Path) -> Callable[..., Outcome]:
    """Signs ann in with the password from a file."""
    return lambda *words, **environ: pkgctl(
        "login", "ann", "--password-file", f"{tmp_path}/password", *words, **environ
    )


def keep(file: SessionFile, url: str, **more: Any) -> Kept:
    """Puts a session into the file, good for an hour unless told otherwise."""
    session = Kept(
        **{"access_token": "access-1", "refresh_token": "refresh-1", "username": "ann"}
        | {"expires_at": time.time() + 3600}
        | more
    )
    with file.changing() as sessions:
        sessions[url] = session
    return session


def sent(server: Server, line: str) -> list[Asked]:
    """The requests of one method and path that the server got."""
    method, path = line.split()
    return [asked for asked in server.asked if (asked.method, asked.target) == (method, f"/api/v1{path}")]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


# Signing in


def test_signing_in_keeps_a_session_that_its_owner_alone_can_read(
    login: Callable[..., Outcome], pkgctl: Pkgctl, server: Server, kept: SessionFile
) -> None:
    assert login() == (0, "Signed in as ann (user, editor)\n", "")
    assert msgspec.json.decode(sent(server, "POST /auth/login")[0].body) == {"identifier": "ann", "password": PASSWORD}
    assert (mode(kept.path), mode(kept.path.parent)) == (0o600, 0o700)
    session = msgspec.json.decode(kept.path.read_bytes())[server.url]
    assert session.pop("expires_at") == pytest.approx(time.time() + 900, abs=60)
    assert session == {"access_token": "access-2", "refresh_token": "refresh-2", "username": "ann"}
    assert pkgctl("show", "1")[0] == 0
    assert sent(server, "GET /packages/1")[0].headers["Authorization"] == "Token access-2"


def test_json_tells_the_account_and_no_secret(login: Callable[..., Outcome]) -> None:
    code, out, err = login("--json")
    assert (code, err, msgspec.json.decode(out)) == (0, "", ANN)


def test_the_password_may_come_through_a_pipe(pkgctl: Pkgctl, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("  pass \r\nnot this\n"))
    assert pkgctl("login", "ann", "--password-file", "-")[0] == 0
    assert msgspec.json.decode(sent(server, "POST /auth/login")[0].body)["password"] == "  pass "


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file or directory"),
        (b"", "holds no password"),
        (b"\nsecond", "holds no password"),
        (b"\xff\xfe", "is not text"),
        (b"x" * 5000, "too long"),
    ],
)
def test_a_password_file_without_a_password_is_a_usage_error(
    pkgctl: Pkgctl, server: Server, tmp_path: Path, content: bytes | None, told: str
) -> None:
    path = tmp_path / "no-password"
    if content is not None:
        path.write_bytes(content)
    code, out, err = pkgctl("login", "ann", "--password-file", str(path))
    assert (code, out) == (2, "")
    assert told in err
    assert "xxx" not in err
    assert server.asked == []


def test_a_pipe_that_is_not_utf8_is_a_usage_error(
    pkgctl: Pkgctl, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("pass\udcff\n"))
    assert pkgctl("login", "ann", "--password-file", "-") == (2, "", "pkgctl: Standard input is not text\n")
    assert server.asked == []


def test_nobody_is_asked_without_a_terminal(
    pkgctl: Pkgctl, server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("secret\n"))
    told = "pkgctl: There is no terminal to type a password at: give --password-file\n"
    assert pkgctl("login", "ann") == (2, "", told)
    assert pkgctl("passwd") == (2, "", told.replace("--password", "--old-password"))
    assert pkgctl("users", "create", "a@example.com") == (2, "", told)
    assert pkgctl("login", "--password-file", f"{tmp_path}/password")[0] == 2
    assert pkgctl("login", "ann", "--password", "secret")[0] == 2  # it would stand in the process list
    assert server.asked == []


class Person:
    """Somebody at a terminal, who runs pkgctl as a process of its own."""

    def __init__(self, *words: str, environ: dict[str, str]) -> None:
        self.screen, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app", *words],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONWARNINGS": "error"} | environ,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,  # no controlling terminal but this one
        )
        os.close(theirs)
        self.shown = ""

    def answers(self, question: str, answer: str) -> None:
        self.shown += seen(self.screen, question)
        os.write(self.screen, f"{answer}\n".encode())

    def ends(self, last: str) -> int:
        """The exit code, once the last words have come."""
        self.shown += seen(self.screen, last)
        code = self.process.wait(30)
        os.close(self.screen)
        return code


def test_a_password_that_is_typed_does_not_show(server: Server, kept: SessionFile) -> None:
    person = Person("login", environ={"PURSER_URL": server.url, "HOME": str(kept.path.parents[2])})
    person.answers("Username or e-mail: ", "ann")
    person.answers("Password: ", PASSWORD)
    assert person.ends("Signed in as ann (user, editor)\r\n") == 0
    assert PASSWORD not in person.shown
    assert msgspec.json.decode(sent(server, "POST /auth/login")[0].body) == {"identifier": "ann", "password": PASSWORD}


def test_a_new_password_is_typed_twice(server: Server) -> None:
    server.on("POST /users", Reply({**ANN, "status": "active"}, 201))
    environ = {"PURSER_URL": server.url, "PURSER_TOKEN": "pat_x"}
    person = Person("users", "create", "ann@example.com", environ=environ)
    person.answers("New password: ", PASSWORD)
    person.answers("New password again: ", PASSWORD + "!")
    assert person.ends("pkgctl: The two passwords differ; nothing was changed\r\n") == 1
    assert server.asked == []
    person = Person("users", "create", "ann@example.com", environ=environ)
    person.answers("New password: ", PASSWORD)
    person.answers("New password again: ", PASSWORD)
    assert person.ends("Success: Created user 2, ann\r\n") == 0
    assert PASSWORD not in person.shown
    assert msgspec.json.decode(server.asked[0].body) == {
        "email": "ann@example.com",
        "name": "ann",
        "password": PASSWORD,
    }


def test_a_name_that_could_act_on_a_terminal_is_a_usage_error(server: Server, kept: SessionFile) -> None:
    person = Person("login", environ={"PURSER_URL": server.url, "HOME": str(kept.path.parents[2])})
    person.answers("Username or e-mail: ", "ann\x07")
    assert person.ends("pkgctl: What was typed is no username and no e-mail\r\n") == 2
    assert server.asked == []


def test_no_password_at_the_terminal_is_a_usage_error(server: Server, kept: SessionFile) -> None:
    person = Person("login", "ann", environ={"PURSER_URL": server.url, "HOME": str(kept.path.parents[2])})
    person.answers("Password: ", "")
    assert person.ends("pkgctl: What was typed holds no password\r\n") == 2
    assert server.asked == []


# Servers that lie


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>hello</html>",
        b"",
        b"[" * 100_000,
        {**SIGNED_IN, "access_token": "a\r\nX-Evil: 1"},
        {**SIGNED_IN, "access_token": "a\n"},
        {**SIGNED_IN, "access_token": ""},
        {**SIGNED_IN, "access_token": "x" * 5000},
        {**SIGNED_IN, "refresh_token": "\x1b]0;owned\x07"},
        {**SIGNED_IN, "refresh_token": 3},
        {**SIGNED_IN, "expires_in": 0},
        {**SIGNED_IN, "expires_in": 10**12},
        {**SIGNED_IN, "user": {"username": "ann"}},
        PAIR,
    ],
)
def test_an_answer_that_is_no_session_is_not_kept(
    login: Callable[..., Outcome], server: Server, kept: SessionFile, answer: object
) -> None:
    server.on("POST /auth/login", answer)
    code, out, err = login()
    assert (code, out) == (3, "")
    assert re.fullmatch(r"pkgctl: Not Purser's API: [ -~]+\n", err)
    assert kept.read() == {}


def test_a_hostile_name_is_shown_and_not_obeyed(login: Callable[..., Outcome], server: Server) -> None:
    server.on("POST /auth/login", {**PAIR, "user": {"id": 2, "username": "\x1b[2Jann", "roles": ["a\nb"]}})
    assert login() == (0, "Signed in as \\x1b[2Jann (a\\nb)\n", "")


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (problem(401, "Unauthorized", "Wrong identifier or password."), "Unauthorized: Wrong identifier or password."),
        (problem(403, "Forbidden", "The account is pending.", state="pending"), "Forbidden: The account is pending."),
    ],
)
def test_a_refusal_to_sign_in_is_told_in_the_services_words(
    login: Callable[..., Outcome], server: Server, kept: SessionFile, refusal: Reply, told: str
) -> None:
    server.on("POST /auth/login", refusal)
    assert login() == (1, "", f"pkgctl: {told}\n")
    assert kept.read() == {}


# Signing out


def test_signing_out_ends_the_session_there_and_here(pkgctl: Pkgctl, server: Server, kept: SessionFile) -> None:
    keep(kept, server.url)
    other = keep(kept, "http://other")
    assert pkgctl("logout", PURSER_TOKEN="pat_x") == (0, "Signed out\n", "")
    asked = sent(server, "POST /auth/logout")[0]
    assert (asked.headers["Authorization"], asked.body) == ("Token access-1", b'{"all":false}')
    assert kept.read() == {"http://other": other}
    assert pkgctl("logout") == (1, "", f"pkgctl: You are not signed in at {server.url}\n")


def test_all_sessions_are_ended_at_once(pkgctl: Pkgctl, server: Server, kept: SessionFile) -> None:
    keep(kept, server.url)
    assert pkgctl("logout", "--all", "--json") == (0, "{}\n", "")
    assert sent(server, "POST /auth/logout")[0].body == b'{"all":true}'


def test_a_session_is_forgotten_here_also_when_nobody_answers_there(
    pkgctl: Pkgctl, kept: SessionFile, server: Server
) -> None:
    keep(kept, server.url)
    server.on("POST /auth/logout", Reply(raw=b""))
    code, out, err = pkgctl("logout")
    assert (code, out) == (3, "")
    assert err.endswith(". The session is forgotten here, and goes on there until it expires\n")
    assert kept.read() == {}


def test_a_session_that_has_ended_already_is_signed_out(pkgctl: Pkgctl, server: Server, kept: SessionFile) -> None:
    keep(kept, server.url, expires_at=0)
    server.on("POST /auth/refresh", problem(401, "Unauthorized", "Invalid refresh token", code="UNAUTHORIZED"))
    assert pkgctl("logout") == (0, "Signed out\n", "The session had ended already\n")
    assert kept.read() == {}


def test_a_refusal_to_sign_out_leaves_the_session_to_try_again(
    pkgctl: Pkgctl, server: Server, kept: SessionFile
) -> None:
    session = keep(kept, server.url)
    server.on("POST /auth/logout", problem(503, "Service Unavailable", "Purser is stopping.", code="UNAVAILABLE"))
    assert pkgctl("logout") == (1, "", "pkgctl: Service Unavailable: Purser is stopping.\n")
    assert kept.read() == {server.url: session}


# Against the real service


class Desk:
    """Somebody's account at a running service, and a home folder in which pkgctl keeps the session."""

    def __init__(self, service: Service, username: str) -> None:
        self.service = service
        self.home = service.folder / "home" / username
        self.home.mkdir(parents=True)
        self.file = SessionFile(self.home / ".config/purser/sessions.json")
        (self.home / "password").write_text(PASSWORD)
        with service.client() as client:
            new = {"email": f"{username}@example.com", "username": username, "name": username, "password": PASSWORD}
            made = client.post("/api/v1/users", json=new)
            assert made.status_code == 201, made.text
            self.id = made.json()["id"]

    @property
    def environ(self) -> dict[str, str]:
        return {"HOME": str(self.home), "PURSER_TOKEN": ""}

    def pkgctl(self, *words: str) -> Outcome:
        ran = self.service.run(*words, environ=self.environ)
        return ran.returncode, ran.stdout, ran.stderr

    def login(self) -> None:
        code, _, err = self.pkgctl("login", self.home.name, "--password-file", str(self.home / "password"))
        assert code == 0, err

    def change(self, **values: Any) -> None:
        """Makes the session in the file another than the service knows."""
        with self.file.changing() as sessions:
            sessions[self.service.url] = msgspec.structs.replace(sessions[self.service.url], **values)

    def refreshes(self) -> int:
        """How often the account's session was renewed."""
        sql = "SELECT count(*) AS n FROM audit WHERE action = 'auth.refresh' AND actor_id = ?"
        return int(rows(self.service.database, sql, self.id)[0]["n"])


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("login"))
    service.start()
    yield service
    code, said = service.stop()
    assert code == 0, said


@slow
def test_a_session_lasts_from_signing_in_to_signing_out(box: Service) -> None:
    desk = Desk(box, "ann")
    way_in = "sign in with `pkgctl login`, or set PURSER_TOKEN"
    assert desk.pkgctl("whoami") == (1, "", f"pkgctl: Unauthorized: {way_in}\n")
    code, out, err = desk.pkgctl("login", "ANN@example.com", "--password-file", str(desk.home / "password"))
    assert (code, out, err) == (0, "Signed in as ann (user)\n", "")
    code, out, _ = desk.pkgctl("whoami")
    assert code == 0
    assert re.search(r"^user +ann$", out, re.MULTILINE)
    assert re.search(r"^through +session \d+$", out, re.MULTILINE)
    assert desk.pkgctl("list") == (0, "", "No packages.\n")
    session = desk.file.read()[box.url]
    assert desk.pkgctl("logout") == (0, "Signed out\n", "")
    desk.file.path.write_bytes(msgspec.json.encode({box.url: session}))
    assert desk.pkgctl("whoami") == (1, "", ENDED)  # the service has forgotten it as well
    assert desk.file.read() == {}


@slow
def test_calls_at_once_renew_a_session_once_and_all_go_on(box: Service) -> None:
    """Given a token that has ended, when several calls find that out together, then one of them spends the refresh
    token and the others take what it got; the service sees no token used twice."""
    desk = Desk(box, "bea")
    desk.login()
    for ended in ({"expires_at": 0.0}, {"access_token": "ended.by.now"}):
        before = desk.refreshes()
        desk.change(**ended)
        with ThreadPoolExecutor(4) as pool:
            codes = [code for code, _, _ in pool.map(lambda _: desk.pkgctl("whoami"), range(4))]
        assert codes == [0, 0, 0, 0]
        assert desk.refreshes() == before + 1
    assert desk.pkgctl("whoami")[0] == 0


@slow
def test_a_suspended_account_is_told_that_its_session_has_ended(box: Service) -> None:
    desk = Desk(box, "cid")
    desk.login()
    assert box.run("users", "set-status", str(desk.id), "suspended").returncode == 0
    assert desk.pkgctl("list") == (1, "", ENDED)
    code, out, err = desk.pkgctl("login", "cid", "--password-file", str(desk.home / "password"))
    assert (code, out, err) == (1, "", "pkgctl: Forbidden: The account is suspended.\n")


@slow
@pytest.mark.parametrize("words", [["download", "--wait"], ["log", "-f"]], ids=["download", "log"])
def test_a_log_outlives_the_token_with_which_it_began(tmp_path: Path, words: list[str]) -> None:
    """Given access tokens of three seconds, when a build takes longer, then its log comes whole and once."""
    gate = tmp_path / "gate"
    builder = tmp_path / "nix-build"
    builder.write_text(
        "#!/bin/sh\n"
        f'n=0; while [ ! -e "{gate}" ]; do n=$((n + 1)); echo "line $n" >&2; sleep 0.2; done\n'
        "echo error: no rule to make >&2; exit 100\n"
    )
    builder.chmod(0o755)
    service = Service(tmp_path / "box", NIX_BUILD=str(builder), JWT_ACCESS_EXPIRES="3s")
    service.start()
    try:
        desk = Desk(service, "ann")
        with service.client() as client:
            client.put(f"/api/v1/users/{desk.id}/roles", json={"roles": ["admin"]})
            number = str(client.post("/api/v1/packages", json={"name": "hello", "version": "1.0"}).json()["id"])
        desk.login()
        if words[0] == "log":
            assert desk.pkgctl("download", number)[0] == 0
        begun = desk.refreshes()
        environ = service.environ() | desk.environ | {"PURSER_URL": service.url}
        with subprocess.Popen(
            [sys.executable, "-m", "app", words[0], number, *words[1:]],
            cwd=tmp_path,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as child:
            opened = "SELECT count(*) AS n FROM audit WHERE route LIKE '%/events'"
            until(lambda: rows(service.database, opened)[0]["n"] >= 3, "the follower came back twice")
            assert child.poll() is None
            gate.touch()
            out, err = child.communicate(timeout=60)
        assert desk.refreshes() > begun
        log = out if words[0] == "log" else err
        counted = [int(line.split()[1]) for line in log.splitlines() if re.fullmatch(r"line \d+", line)]
        assert counted == list(range(1, len(counted) + 1))
        assert len(counted) > 10
        assert "error: no rule to make" in log
        if words[0] == "log":
            assert (child.returncode, err) == (0, "")
        else:
            assert child.returncode == 1
            assert "pkgctl: Download failed: build: " in err
    finally:
        service.stop()
