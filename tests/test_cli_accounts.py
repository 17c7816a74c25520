"""Accounts, roles and tokens from the command line, against the real service; and what is done without the service."""

import io
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from app.cli import main
from tests.accounts import PASSWORD
from tests.support import NO_TLS, Service, rows
from tests.test_cli import Outcome, Pkgctl

slow = pytest.mark.slow
GENERATED = r"[A-Za-z0-9_-]{43}"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A claimed service; its first token is the super admin's."""
    service = Service(tmp_path_factory.mktemp("accounts"))
    service.start()
    yield service
    code, said = service.stop()
    assert code == 0, said


@pytest.fixture
def pkgctl(box: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Pkgctl:
    """Runs pkgctl as the super admin, with an empty home folder; keywords are its environment."""
    (tmp_path / "password").write_text(f"{PASSWORD}\n")

    def run(*words: str, **environ: str) -> Outcome:
        given = {"PURSER_URL": box.url, "PURSER_TOKEN": box.token, "HOME": str(tmp_path)} | environ
        code = main(words, given)
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@pytest.fixture
def made(pkgctl: Pkgctl, tmp_path: Path) -> Callable[[str], int]:
    """Makes an account with PASSWORD; its id."""

    def make(username: str) -> int:
        words = ("users", "create", f"{username}@example.com", "--password-file", f"{tmp_path}/password")
        code, out, err = pkgctl(*words)
        assert (code, err) == (0, "")
        created = re.fullmatch(rf"Success: Created user (\d+), {username}\n", out)
        assert created
        return int(created[1])

    return make


def signs_in(box: Service, identifier: str, password: str) -> httpx2.Response:
    with httpx2.Client(base_url=box.url, trust_env=False, verify=NO_TLS) as client:
        return client.post("/api/v1/auth/login", json={"identifier": identifier, "password": password})


def fields(shown: str) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in shown.splitlines())


# Users


@slow
def test_an_account_is_made_listed_and_shown(pkgctl: Pkgctl, box: Service, tmp_path: Path) -> None:
    words = ("--username", "ann", "--name", "Ann Example", "--password-file", f"{tmp_path}/password", "--json")
    code, out, err = pkgctl("users", "create", "ann@example.com", *words)
    assert (code, err) == (0, "")
    assert PASSWORD not in out
    account = msgspec.json.decode(out)
    assert (account["username"], account["name"], account["roles"]) == ("ann", "Ann Example", ["user"])
    assert signs_in(box, "ann", PASSWORD).status_code == 200
    shown = fields(pkgctl("users", "show", str(account["id"]))[1])
    assert (shown["email"], shown["status"]) == ("ann@example.com", "active")
    assert msgspec.json.decode(pkgctl("users", "show", str(account["id"]), "--json")[1])["id"] == account["id"]
    header, *lines = pkgctl("users", "list", "--q", "EXAMPLE", "--status", "active", "--role", "user")[1].splitlines()
    assert header.split()[:4] == ["ID", "USERNAME", "E-MAIL", "NAME"]
    assert [line.split()[:3] for line in lines] == [[str(account["id"]), "ann", "ann@example.com"]]
    assert pkgctl("users", "list", "--q", "nobody at all") == (0, "", "No users.\n")
    assert pkgctl("users", "list", "--group", "7", "--json") == (0, "[]\n", "")


@slow
def test_a_generated_password_is_printed_alone_and_works(pkgctl: Pkgctl, box: Service) -> None:
    code, out, err = pkgctl("users", "create", "gen@example.com", "--generate")
    assert code == 0
    assert re.fullmatch(rf"{GENERATED}\n", out)
    assert re.fullmatch(r"Success: Created user \d+, gen; the password is not shown again\.\n", err)
    assert signs_in(box, "gen", out.strip()).status_code == 200


@slow
def test_with_json_a_generated_password_is_part_of_the_answer(pkgctl: Pkgctl, box: Service) -> None:
    code, out, err = pkgctl("users", "create", "jay@example.com", "--generate", "--json")
    assert (code, err) == (0, "")
    account = msgspec.json.decode(out)
    assert re.fullmatch(GENERATED, account["password"])
    code, out, err = pkgctl("users", "reset-password", str(account["id"]), "--generate", "--json")
    assert (code, err) == (0, "")
    assert signs_in(box, "jay", account["password"]).status_code == 401
    assert signs_in(box, "jay", msgspec.json.decode(out)["password"]).status_code == 200


@slow
def test_a_password_that_is_refused_is_in_no_message(pkgctl: Pkgctl, tmp_path: Path) -> None:
    (tmp_path / "weak").write_text("iloveyou\n")
    (tmp_path / "short").write_text("seven77\n")
    (tmp_path / "long").write_text("long enough " * 100)
    for name in ("weak", "short", "long"):
        code, out, err = pkgctl("users", "create", "weak@example.com", "--password-file", f"{tmp_path}/{name}")
        assert (code, out) == (1, "")
        assert err.startswith("pkgctl: Bad Request: /password: ")
        assert (tmp_path / name).read_text().strip() not in err
    assert pkgctl("users", "list", "--q", "weak")[1] == ""


@slow
def test_roles_and_status_of_an_account_change(pkgctl: Pkgctl, made: Callable[[str], int], box: Service) -> None:
    number = str(made("rob"))
    assert pkgctl("users", "set-role", number, "guest", "user") == (
        0,
        f"Success: User {number} is now guest, user\n",
        "",
    )
    assert fields(pkgctl("users", "show", number)[1])["roles"] == "user,guest"
    code, _, err = pkgctl("users", "set-role", number, "king")
    assert (code, err) == (1, "pkgctl: Bad Request: /roles/0: there is no role called king\n")
    assert pkgctl("users", "set-status", number, "suspended") == (0, f"Success: User {number} is now suspended\n", "")
    assert signs_in(box, "rob", PASSWORD).status_code == 403
    assert pkgctl("users", "set-status", number, "lost")[0] == 1
    answer = msgspec.json.decode(pkgctl("users", "set-status", number, "active", "--json")[1])
    assert answer["status"] == "active"


@slow
def test_a_password_is_reset(pkgctl: Pkgctl, made: Callable[[str], int], box: Service, tmp_path: Path) -> None:
    number = str(made("pat"))
    (tmp_path / "another").write_text("another long password\r\n")
    words = ("users", "reset-password", number, "--password-file", f"{tmp_path}/another")
    assert pkgctl(*words) == (0, f"Success: Set the password of user {number}\n", "")
    assert signs_in(box, "pat", "another long password").status_code == 200


@slow
def test_an_account_is_deleted_after_a_yes(
    pkgctl: Pkgctl, made: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    number = str(made("del"))
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    told = "pkgctl: users delete asks first, and there is no terminal: say --yes as well\n"
    assert pkgctl("users", "delete", number) == (2, "", told)
    assert pkgctl("users", "show", number)[0] == 0
    assert pkgctl("users", "delete", number, "--yes") == (0, f"Success: Deleted user {number}\n", "")
    code, _, err = pkgctl("users", "show", number)
    assert (code, err) == (1, "pkgctl: Not Found: No such user.\n")


@pytest.mark.parametrize(
    "words",
    [
        "users",
        "users show ann",
        "users set-role 3",
        "users create a@example.com --generate --password-file x",
        "users create a@example.com --password secret",
        "users list --group north",
        "roles create editor --grant packages:read=everything",
        "roles create editor --grant =all",
        "roles set-permissions 5",
        "roles set-permissions 5 --none --grant packages:read",
        "tokens create --expires 0",
        "tokens create --expires 366",
        "tokens list --all --user 3",
        "tokens regenerate 3 --grace soon",
    ],
)
def test_words_without_sense_are_a_usage_error(capsys: pytest.CaptureFixture[str], words: str) -> None:
    assert main(words.split(), {}) == 2
    assert "usage: pkgctl" in capsys.readouterr().err


# Oneself


@slow
def test_who_one_is_and_through_which_token(pkgctl: Pkgctl) -> None:
    shown = fields(pkgctl("whoami")[1])
    assert (shown["user"], shown["roles"], shown["through"], shown["scopes"]) == (
        "admin",
        "super_admin",
        "token 1",
        "*",
    )
    assert msgspec.json.decode(pkgctl("whoami", "--json")[1])["token_id"] == 1


@slow
def test_the_own_password_is_changed_with_the_old_one(
    pkgctl: Pkgctl, made: Callable[[str], int], box: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session goes on in which it was changed."""
    made("own")
    assert pkgctl("login", "own", "--password-file", f"{tmp_path}/password", PURSER_TOKEN="")[0] == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO("wrong one\nanother long password\n"))
    words = ("passwd", "--old-password-file", "-", "--password-file", "-")
    code, out, err = pkgctl(*words, PURSER_TOKEN="")
    assert (code, out) == (1, "")
    assert err.startswith("pkgctl: Bad Request: /old_password: ")
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PASSWORD}\nanother long password\n"))
    told = "Success: Changed your password; your other sessions have ended\n"
    assert pkgctl(*words, PURSER_TOKEN="") == (0, told, "")
    assert fields(pkgctl("whoami", PURSER_TOKEN="")[1])["user"] == "own"
    assert signs_in(box, "own", "another long password").status_code == 200


# Roles


@slow
def test_a_role_is_made_shown_changed_and_deleted(pkgctl: Pkgctl) -> None:
    create = ("roles", "create", "editor", "--label", "Editors", "--description", "They edit.")
    code, out, err = pkgctl(*create, "--grant", "packages:view=all", "--grant", "files:write")
    assert (code, err) == (0, "")
    created = re.fullmatch(r"Success: Created role (\d+), editor\n", out)
    assert created
    number = created[1]
    shown = fields(pkgctl("roles", "show", number)[1])
    assert (shown["label"], shown["permissions"]) == ("Editors", "packages:read=all,files:write=own")
    assert "editor" in [line.split()[1] for line in pkgctl("roles", "list")[1].splitlines()]
    assert pkgctl("roles") == pkgctl("roles", "list")
    told = f"Success: Role {number} grants files:read=group\n"
    assert pkgctl("roles", "set-permissions", number, "--grant", "files:read=group") == (0, told, "")
    told = f"Success: Role {number} grants nothing\n"
    assert pkgctl("roles", "set-permissions", number, "--none") == (0, told, "")
    assert msgspec.json.decode(pkgctl("roles", "show", number, "--json")[1])["permissions"] == []
    assert pkgctl("roles", "delete", number) == (0, f"Success: Deleted role {number}\n", "")
    assert pkgctl("roles", "show", number)[0] == 1


@slow
def test_a_grant_that_is_none_is_named(pkgctl: Pkgctl) -> None:
    code, out, err = pkgctl("roles", "create", "wrong", "--grant", "packages:fly=all")
    assert (code, out) == (1, "")
    assert "/permissions/0/permission" in err


# Tokens


def token(pkgctl: Pkgctl, *words: str) -> dict[str, Any]:
    code, out, err = pkgctl("tokens", "create", *words, "--json")
    assert (code, err) == (0, "")
    found: dict[str, Any] = msgspec.json.decode(out)
    return found


@slow
def test_a_token_ends_when_it_is_told_and_is_used_from_where_it_may_be(pkgctl: Pkgctl) -> None:
    assert token(pkgctl, "--expires", "never")["expires_at"] is None
    made = token(pkgctl, "--expires", "7", "--allowed-ips", "192.0.2.7, 2001:db8::/32")
    assert made["allowed_ips"] == ["192.0.2.7", "2001:db8::/32"]
    code, _, err = pkgctl("whoami", PURSER_TOKEN=made["token"])
    assert (code, err) == (1, "pkgctl: Forbidden: Address not allowed\n")
    number = str(made["id"])
    told = f"Success: Token {number} may be used from 127.0.0.0/8\n"
    assert pkgctl("tokens", "allowed-ips", number, "127.0.0.0/8") == (0, told, "")
    assert pkgctl("whoami", PURSER_TOKEN=made["token"])[0] == 0
    assert pkgctl("tokens", "allowed-ips", number)[0] == 2
    assert pkgctl("tokens", "allowed-ips", number, "--anywhere") == (
        0,
        f"Success: Token {number} may be used from anywhere\n",
        "",
    )
    code, _, err = pkgctl("tokens", "allowed-ips", number, "nowhere")
    assert code == 1
    assert "/allowed_ips/0" in err


@slow
def test_a_regenerated_token_is_printed_alone(pkgctl: Pkgctl) -> None:
    made = token(pkgctl, "--name", "again")
    number = str(made["id"])
    code, out, err = pkgctl("tokens", "regenerate", number, "--grace", "600")
    assert code == 0
    assert re.fullmatch(r"pat_[0-9A-Za-z]{49}\n", out)
    assert err.startswith(f"Token {number} expires ")
    assert pkgctl("whoami", PURSER_TOKEN=made["token"])[0] == pkgctl("whoami", PURSER_TOKEN=out.strip())[0] == 0
    assert pkgctl("tokens", "regenerate", number)[0] == 0
    code, _, err = pkgctl("whoami", PURSER_TOKEN=out.strip())
    assert (code, err) == (1, "pkgctl: Unauthorized: Token revoked\n")


@slow
def test_the_tokens_of_others_are_listed_to_who_may(pkgctl: Pkgctl, made: Callable[[str], int], tmp_path: Path) -> None:
    number = made("tok")
    assert pkgctl("login", "tok", "--password-file", f"{tmp_path}/password", PURSER_TOKEN="")[0] == 0
    theirs = token(lambda *words: pkgctl(*words, PURSER_TOKEN=""), "--name", "theirs")
    header, line = pkgctl("tokens", "list", "--user", str(number))[1].splitlines()
    assert header.split()[:2] == ["ID", "USER"]
    assert line.split()[:3] == [str(theirs["id"]), str(number), "theirs"]
    everybodys = [line.split()[1] for line in pkgctl("tokens", "list", "--all")[1].splitlines()]
    assert {"1", str(number)} <= set(everybodys)
    assert pkgctl("tokens", "revoke", str(theirs["id"]))[0] == 0
    assert pkgctl("tokens", "list", "--user", str(number), "--state", "active") == (0, "", "No tokens.\n")
    assert pkgctl("tokens", "list", "--all", PURSER_TOKEN="")[0] == 1


# Without the service


@pytest.fixture
def appliance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pkgctl:
    """Runs pkgctl on a machine that is claimed, while no service runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "password").write_text(f"{PASSWORD}\n")

    def run(*words: str) -> Outcome:
        code = main(words, {"DATA_DIR": str(tmp_path / "data")})
        told = capsys.readouterr()
        return code, told.out, told.err

    assert run("init", "--token")[0] == 0
    return run


RESET = ("users", "reset-password", "1", "--offline")


def test_the_super_admins_lost_password_is_set_offline(appliance: Pkgctl, tmp_path: Path) -> None:
    database = tmp_path / "data/app.db"
    told = "Success: Set the password of user 1, admin\n"
    assert appliance(*RESET, "--password-file", "password") == (0, told, f"Opened {database}\n")
    before = rows(database, "SELECT session_epoch, password_hash FROM users")[0]
    code, out, err = appliance(*RESET, "--generate")
    assert code == 0
    assert re.fullmatch(rf"{GENERATED}\n", out)
    assert err.startswith(f"Opened {database}\nSuccess: Set the password of user 1, admin; ")
    after = rows(database, "SELECT session_epoch, password_hash FROM users")[0]
    assert after["session_epoch"] == before["session_epoch"] + 1
    assert after["password_hash"] != before["password_hash"]
    trail = rows(database, "SELECT actor_id, method, target FROM audit WHERE action = 'users.reset_password'")
    assert trail == [{"actor_id": 1, "method": None, "target": "users/1"}] * 2


@slow
def test_a_password_set_offline_signs_in(appliance: Pkgctl, tmp_path: Path) -> None:
    assert appliance(*RESET, "--password-file", "password")[0] == 0
    service = Service(tmp_path)
    try:
        service.start(claimed=False)
        assert signs_in(service, "admin", PASSWORD).status_code == 200
        code, out, err = appliance(*RESET, "--password-file", "password")
        assert (code, out) == (1, "")
        assert re.fullmatch(r"pkgctl: [^\n]+ is in use: [^\n]+; go through the service\n", err)
    finally:
        service.stop()


@slow
def test_an_account_that_is_not_active_is_named(appliance: Pkgctl, tmp_path: Path) -> None:
    service = Service(tmp_path)
    service.token = appliance("tokens", "create", "--offline")[1].strip()
    try:
        service.start()
        with service.client() as client:
            new = {"email": "ann@example.com", "name": "Ann", "password": PASSWORD}
            number = client.post("/api/v1/users", json=new).json()["id"]
            suspended = client.patch(f"/api/v1/users/{number}/status", json={"status": "suspended"})
            assert suspended.status_code == 200
    finally:
        service.stop()
    code, out, err = appliance("users", "reset-password", str(number), "--offline", "--password-file", "password")
    assert (code, out) == (0, f"Success: Set the password of user {number}, ann\n")
    assert err.endswith("The account is suspended: it signs in once somebody makes it active.\n")


def test_what_cannot_be_reset_offline_is_one_clear_line(appliance: Pkgctl, tmp_path: Path) -> None:
    opened = f"Opened {tmp_path}/data/app.db\n"
    nobody = ("users", "reset-password", "7", "--offline", "--password-file", "password")
    assert appliance(*nobody) == (1, "", f"{opened}pkgctl: No such user.\n")
    (tmp_path / "weak").write_text("password\n")
    code, out, err = appliance(*RESET, "--password-file", "weak")
    assert (code, out) == (1, "")
    assert re.fullmatch(rf"{re.escape(opened)}pkgctl: /password: [^\n]+\n", err)


def test_a_token_made_offline_has_what_was_asked_for(appliance: Pkgctl, tmp_path: Path) -> None:
    words = ("tokens", "create", "--offline", "--expires", "7", "--allowed-ips", "192.0.2.7")
    code, out, err = appliance(*words)
    assert (code, err) == (0, f"Opened {tmp_path}/data/app.db\n")
    assert re.fullmatch(r"pat_[0-9A-Za-z]{49}\n", out)
    made = rows(tmp_path / "data/app.db", "SELECT allowed_ips, expires_at FROM tokens ORDER BY id DESC LIMIT 1")[0]
    assert msgspec.json.decode(made["allowed_ips"]) == ["192.0.2.7"]
    code, out, err = appliance("tokens", "create", "--offline", "--allowed-ips", "nowhere")
    assert (code, out) == (1, "")
    assert "/allowed_ips/0" in err
