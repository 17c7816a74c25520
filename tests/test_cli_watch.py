"""`pkgctl audit` against the real service: what is listed, and -f over restarts, until Ctrl-C."""

import csv
import io
import re
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx2
import msgspec
import pytest

from tests import test_cli_accounts as accounts
from tests.accounts import PASSWORD
from tests.support import NO_TLS, Service, rows, until
from tests.test_cli import Pkgctl, process

box, pkgctl = accounts.box, accounts.pkgctl

pytestmark = pytest.mark.slow
POLLS = "SELECT count(*) AS n FROM audit WHERE request_id LIKE 'pkgctl-%'"


def listed(pkgctl: Pkgctl, *words: str) -> list[dict[str, Any]]:
    code, out, err = pkgctl("audit", "--json", *words)
    assert (code, err) == (0, "")
    found: list[dict[str, Any]] = msgspec.json.decode(out)
    return found


def told(line: str) -> str:
    """A line of the table without the time."""
    return re.sub(r"^[0-9]{4}-[0-9-]{5}T[0-9:.]{12}Z +", "", line)


def test_people_see_who_did_what_through_which_credential(pkgctl: Pkgctl, box: Service, tmp_path: Path) -> None:
    words = ("users", "create", "ann@example.com", "--password-file", f"{tmp_path}/password")
    assert pkgctl(*words)[0] == 0
    assert pkgctl("login", "ann", "--password-file", f"{tmp_path}/password", PURSER_TOKEN="")[0] == 0
    session = rows(box.database, "SELECT id, user_id FROM sessions")[0]
    assert pkgctl("create", "vim", "9.1", PURSER_TOKEN="")[0] == 1
    heading, signed_in, refused = map(told, pkgctl("audit", "-n", "2")[1].splitlines())
    who = f"ann (session {session['id']})"
    assert heading.split() == ["TIME", "WHO", "ADDRESS", "WHAT", "STATUS", "REASON"]
    assert re.fullmatch(rf"{re.escape(who)} +127.0.0.1 +auth.sign_in users/{session['user_id']} +200 +-", signed_in)
    assert re.fullmatch(rf"{re.escape(who)} +127.0.0.1 +POST /api/v1/packages +403 +[A-Z].+", refused)
    assert [row["path"] for row in listed(pkgctl, "--refused")] == ["/api/v1/packages"]
    assert {row["action"] for row in listed(pkgctl, "--action", "users.create", "--since", "1h")} == {"users.create"}
    assert listed(pkgctl, "--until", "1h") == []
    own = listed(pkgctl, "--actor", str(session["user_id"]))
    assert {row["actor_name"] for row in own} == {"ann"}
    assert [row["id"] for row in own] == sorted(row["id"] for row in own)
    assert [row["target"] for row in listed(pkgctl, "--target", f"users/{session['user_id']}", "-n", "1")]
    assert listed(pkgctl, "--token-id", "1", "-n", "1")[0]["path"] == "/api/v1/audit"


def test_who_may_not_read_everything_reads_what_is_within_reach(pkgctl: Pkgctl, box: Service) -> None:
    with box.client() as client:
        made = client.post("/api/v1/tokens", json={"scopes": ["packages:read"]}).json()
    code, out, err = pkgctl("audit", PURSER_TOKEN=made["token"])
    assert (code, out) == (1, "")
    assert err.startswith("pkgctl: Forbidden: ")
    assert pkgctl("audit", PURSER_TOKEN="")[:2] == (1, "")
    code, out, err = pkgctl("audit", "--since", "2027-02-31T00:00:00Z")
    assert (code, out, err) == (1, "", "pkgctl: Bad Request: since: there is no such day or hour\n")
    lines = pkgctl("tokens", "logs", str(made["id"]))[1].splitlines()
    assert told(lines[1]).split()[:4] == ["127.0.0.1", "GET", "/api/v1/audit", "403"]
    assert pkgctl("tokens", "logs", "999") == (1, "", "pkgctl: Not Found: No such token.\n")


def test_the_sheet_holds_all_rows_however_many_pages_they_are(pkgctl: Pkgctl, box: Service) -> None:
    with box.client() as client:
        for _ in range(1100):
            client.get("/api/v1/packages", headers={"X-Request-Id": "many"})
    code, out, err = pkgctl("audit", "--csv", "--token-id", "1")
    assert (code, err) == (0, "")
    sheet = list(csv.DictReader(io.StringIO(out, newline="")))
    ours = [row for row in sheet if row["request_id"] == "many"]
    assert (len(ours), len({row["id"] for row in ours})) == (1100, 1100)
    assert out.count("\r\n") == len(sheet) + 1


def test_a_path_that_could_act_on_a_terminal_does_not(pkgctl: Pkgctl, box: Service) -> None:
    with httpx2.Client(base_url=box.url, trust_env=False, verify=NO_TLS) as client:
        headers = {"Authorization": f"Token {box.token}"}
        assert client.get("/api/v1/%1B%5B2J%0A%09x", headers=headers).status_code == 404
    out = pkgctl("audit", "-n", "1")[1]
    assert out.count("\n") == 2
    assert out.replace("\n", "").isprintable()
    assert "\\x1b[2J\\n\\tx" in out


# Following


@pytest.fixture
def lasting(tmp_path: Path) -> Iterator[Service]:
    """A service that keeps its port over a restart."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    running = Service(tmp_path / "box", PORT=str(port))
    running.start()
    yield running
    running.stop()


@contextmanager
def following(service: Service, *words: str, **environ: str) -> Iterator["Popen[str]"]:
    """`pkgctl audit -f` beside the test."""
    environ = {"PURSER_URL": service.url, "PURSER_TOKEN": service.token} | environ
    with process("audit", "-f", *words, environ=environ) as child:
        too_late = threading.Timer(60, child.kill)  # whoever reads a line that never comes finds the end instead
        too_late.start()
        try:
            yield child
        finally:
            too_late.cancel()
            child.kill()


def create(service: Service, name: str) -> None:
    with service.client() as client:
        assert client.post("/api/v1/packages", json={"name": name, "version": "1.0"}).status_code == 201


def read_until(child: "Popen[str]", reached: int) -> list[dict[str, Any]]:
    """The rows that come, to the one that tells of this package."""
    assert child.stdout is not None
    found = []
    for line in child.stdout:
        found.append(msgspec.json.decode(line, type=dict[str, Any]))
        if found[-1]["target"] == f"packages/{reached}":
            return found
    raise AssertionError(f"package {reached} never came, but {found}")


def interrupted(child: "Popen[str]") -> tuple[int, str, str]:
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    return child.returncode, out, err


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_restart_loses_nothing_and_doubles_nothing(lasting: Service, how: str) -> None:
    """Given changes before, during and after a restart, when somebody follows, then each row comes once, in order."""
    create(lasting, "one")
    with following(lasting, "--json") as child:
        found = read_until(child, 1)
        create(lasting, "two")
        found += read_until(child, 2)
        create(lasting, "three")
        getattr(lasting, how)()
        lasting.start()
        for name in ("four", "five"):
            create(lasting, name)
        found += read_until(child, 5)
        assert interrupted(child) == (130, "", "")
    written = rows(lasting.database, "SELECT id FROM audit WHERE request_id NOT LIKE 'pkgctl-%' ORDER BY id")
    ids = [row["id"] for row in found]
    assert ids == [row["id"] for row in written if row["id"] <= ids[-1]]
    changes = [f"{row['action']} {row['target']}" for row in found if row["action"]]
    assert changes == ["appliance.claim tokens/1", *(f"packages.create packages/{number}" for number in range(1, 6))]


def test_ctrl_c_ends_the_following_while_it_waits(lasting: Service) -> None:
    with following(lasting, "--refused") as child:
        until(lambda: rows(lasting.database, POLLS)[0]["n"] >= 3, "it asked again")
        assert interrupted(child) == (130, "", "")


def test_ctrl_c_ends_the_following_while_nobody_answers(lasting: Service) -> None:
    with following(lasting, "--refused") as child:
        until(lambda: rows(lasting.database, POLLS)[0]["n"] >= 3, "it asked again")
        lasting.kill()
        assert interrupted(child) == (130, "", "")


def test_a_filter_holds_for_what_is_followed(lasting: Service) -> None:
    with following(lasting, "--json", "--action", "packages.create") as child:
        until(lambda: rows(lasting.database, POLLS)[0]["n"] >= 3, "it asked again")
        with lasting.client() as client:
            client.get("/api/v1/packages")
            client.post("/api/v1/tokens")
        create(lasting, "one")
        assert [row["action"] for row in read_until(child, 1)] == ["packages.create"]


def test_a_reader_that_goes_away_ends_the_following(lasting: Service) -> None:
    with following(lasting) as child:
        assert child.stdout is not None
        assert child.stdout.readline().split()[0] == "TIME"
        child.stdout.close()
        create(lasting, "one")
        assert child.wait(30) == 141
        assert child.stderr is not None
        assert child.stderr.read() == ""


def test_a_revoked_token_follows_no_further(lasting: Service) -> None:
    with lasting.client() as client:
        made = client.post("/api/v1/tokens", json={"scopes": ["audit:read"]}).json()
        with following(lasting, PURSER_TOKEN=made["token"]) as child:
            until(lambda: rows(lasting.database, POLLS)[0]["n"] >= 3, "it asked again")
            client.delete(f"/api/v1/tokens/{made['id']}")
            assert child.wait(30) == 1
            assert child.stderr is not None
            assert child.stderr.read() == "pkgctl: Unauthorized: Token revoked\n"


def test_following_outlives_the_tokens_of_its_session(tmp_path: Path) -> None:
    service = Service(tmp_path / "box", JWT_ACCESS_EXPIRES="2s")
    service.start()
    try:
        with service.client() as client:
            new = {"email": "ann@example.com", "name": "Ann", "password": PASSWORD}
            number = client.post("/api/v1/users", json=new).json()["id"]
            assert client.put(f"/api/v1/users/{number}/roles", json={"roles": ["admin"]}).status_code == 200
        (tmp_path / "password").write_text(PASSWORD)
        environ = {"HOME": str(tmp_path), "PURSER_TOKEN": ""}
        assert service.run("login", "ann", "--password-file", f"{tmp_path}/password", environ=environ).returncode == 0
        with following(service, "--json", **environ) as child:
            refreshed = "SELECT count(*) AS n FROM audit WHERE action = 'auth.refresh'"
            until(lambda: rows(service.database, refreshed)[0]["n"] >= 3, "the session was renewed")
            create(service, "one")
            ids = [row["id"] for row in read_until(child, 1)]
            assert ids == sorted(set(ids))
    finally:
        service.stop()
