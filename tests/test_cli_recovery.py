"""`pkgctl outbox`, `forgot` and `passwd --code`: the way back of who has forgotten a password; and the limits."""

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from app.cli import main
from tests import test_cli, test_cli_accounts
from tests.support import Service, until
from tests.test_cli import Outcome, Pkgctl, Server
from tests.test_cli_accounts import GENERATED, fields, signs_in
from tests.test_cli_login import Person

box, pkgctl, made = test_cli_accounts.box, test_cli_accounts.pkgctl, test_cli_accounts.made
server = test_cli.server

slow = pytest.mark.slow
NEW = "another long password"
SENT = "If there is such an account, a letter is on its way; its code sets a new password: pkgctl passwd --code\n"
EMPTY = "The outbox is empty.\n"


@pytest.fixture
def stranger(pkgctl: Pkgctl, box: Service, tmp_path: Path) -> Pkgctl:
    """Runs pkgctl on the appliance itself, beside the service, without any credential."""
    (tmp_path / "new").write_text(f"{NEW}\n")

    def run(*words: str, **environ: str) -> Outcome:
        return pkgctl(*words, **{"PURSER_TOKEN": "", "DATA_DIR": str(box.data_dir)} | environ)

    return run


def letters_to(stranger: Pkgctl, email: str) -> list[dict[str, str]]:
    code, out, err = stranger("outbox", "--json")
    assert (code, err) == (0, "")
    return [letter for letter in msgspec.json.decode(out, type=list[dict[str, str]]) if letter["to"] == email]


@pytest.fixture
def code_for(stranger: Pkgctl) -> Callable[[str], str]:
    """Asks for a new password; the code of the letter that comes."""

    def ask(email: str) -> str:
        assert stranger("forgot", email) == (0, SENT, "")
        (letter,) = until(lambda: letters_to(stranger, email), "a letter lies in the outbox")
        found = re.search(rf"^ +({GENERATED})$", letter["text"], re.MULTILINE)
        assert found
        return found[1]

    return ask


# The way back


@slow
def test_a_forgotten_password_is_replaced_with_the_code_of_a_letter(
    stranger: Pkgctl, made: Callable[[str], int], code_for: Callable[[str], str], box: Service, tmp_path: Path
) -> None:
    made("ann")
    (tmp_path / "code").write_text(f"    {code_for('ann@example.com')}  \n")
    words = ("passwd", "--code", "--code-file", f"{tmp_path}/code", "--password-file", f"{tmp_path}/new")
    assert stranger(*words) == (0, "Success: Set your password; all your sessions have ended\n", "")
    assert signs_in(box, "ann", NEW).status_code == 200
    until(lambda: letters_to(stranger, "ann@example.com") == [], "the letter is gone")
    code, out, err = stranger(*words)
    assert (code, out) == (1, "")
    assert re.fullmatch(r"pkgctl: Bad Request: /token: expected a code [^\n]+\n", err)


@slow
def test_code_and_password_come_through_a_pipe(
    stranger: Pkgctl,
    made: Callable[[str], int],
    code_for: Callable[[str], str],
    box: Service,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made("pip")
    secret = code_for("pip@example.com")
    for words, password, code in ((("passwd", "--code"), "short", 1), (("passwd", "--code-file", "-"), NEW, 0)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{secret}\r\n{password}\n"))
        found = stranger(*words, "--password-file", "-")
        assert found[0] == code
        assert secret not in found[1] + found[2]
        assert password not in found[1] + found[2]
    assert signs_in(box, "pip", NEW).status_code == 200


@slow
def test_a_generated_password_stands_alone(
    stranger: Pkgctl, made: Callable[[str], int], code_for: Callable[[str], str], box: Service, tmp_path: Path
) -> None:
    made("gen")
    (tmp_path / "code").write_text(code_for("gen@example.com"))
    code, out, err = stranger("passwd", "--code-file", f"{tmp_path}/code", "--generate")
    assert code == 0
    assert re.fullmatch(rf"{GENERATED}\n", out)
    assert err == "Success: Set your password; all your sessions have ended; the password is not shown again.\n"
    assert signs_in(box, "gen", out.strip()).status_code == 200
    (tmp_path / "password").write_text(out)
    assert stranger("login", "gen", "--password-file", f"{tmp_path}/password")[0] == 0
    code, out, err = stranger("passwd", "--old-password-file", f"{tmp_path}/password", "--generate", "--json")
    assert (code, err) == (0, "")
    assert signs_in(box, "gen", msgspec.json.decode(out)["password"]).status_code == 200


@slow
def test_nobody_learns_whether_there_is_an_account(stranger: Pkgctl) -> None:
    assert stranger("forgot", "nobody@example.com") == (0, SENT, "")
    assert stranger("forgot", "nobody@example.com", "--json") == (0, "{}\n", "")
    code, out, err = stranger("forgot", "nobody")
    assert (code, out) == (1, "")
    assert re.fullmatch(r"pkgctl: Bad Request: /email: [^\n]+\n", err)
    assert letters_to(stranger, "nobody@example.com") == []


def test_a_code_that_is_typed_does_not_show_and_no_credential_travels(server: Server, tmp_path: Path) -> None:
    server.on("POST /auth/reset-password", {})
    environ = {"PURSER_URL": server.url, "PURSER_TOKEN": "pat_x", "HOME": str(tmp_path)}
    person = Person("passwd", "--code", environ=environ)
    person.answers("Code: ", "  the-code ")
    person.answers("New password: ", NEW)
    person.answers("New password again: ", NEW)
    assert person.ends("Success: Set your password; all your sessions have ended\r\n") == 0
    assert "the-code" not in person.shown
    assert NEW not in person.shown
    assert msgspec.json.decode(server.asked[0].body) == {"token": "the-code", "password": NEW}
    assert "Authorization" not in server.asked[0].headers


@pytest.mark.parametrize(
    ("words", "typed", "told"),
    [
        ("passwd --code", "", "Standard input holds no code"),
        ("passwd --code", "\n", "Standard input holds no code"),
        ("passwd --code", "  \n", "The code is nothing but spaces"),
        ("passwd --code-file -", "x" * 5000, "the first line is too long for a code"),
        ("passwd --code-file /nowhere/at/all", "", "/nowhere/at/all: No such file or directory"),
        ("passwd --code", "code\n", "There is no terminal to type a password at: give --password-file"),
        ("passwd --code --old-password-file x", "", "not allowed with argument"),
        ("passwd --code-file x --old-password-file x", "", "A code takes the place of the present password"),
        ("passwd --code secret", "", "unrecognized arguments: secret"),
        ("passwd --code --generate --password-file x", "", "not allowed with argument"),
        ("passwd", "", "There is no terminal to type a password at: give --old-password-file"),
        ("forgot", "", "the following arguments are required: EMAIL"),
        ("forgot a@example.com --token x", "", "unrecognized arguments: --token x"),
        ("outbox all", "", "unrecognized arguments: all"),
    ],
)
def test_words_without_sense_are_a_usage_error(
    server: Server,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    typed: str,
    told: str,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    assert main(words.split(), {"PURSER_URL": server.url}) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert told in shown.err
    assert server.asked == []


# The outbox


@slow
def test_the_outbox_is_read_beside_the_service_and_through_it(
    stranger: Pkgctl, pkgctl: Pkgctl, made: Callable[[str], int], code_for: Callable[[str], str]
) -> None:
    made("out")
    secret = code_for("out@example.com")
    code, out, err = stranger("outbox")
    assert (code, err) == (0, "")
    letter = out[out.index("to       out@example.com\n") :]
    assert re.match(r"to +out@example.com\nsubject +A new password\nuntil +[-0-9T:.]+Z\n\nHello out,\n\n", letter)
    assert f"\n    {secret}\n" in letter
    assert pkgctl("outbox", "--online") == (0, out, "")
    offline, online = stranger("outbox", "--json")[1], pkgctl("outbox", "--online", "--json")[1]
    assert msgspec.json.decode(offline) == msgspec.json.decode(online)
    code, out, err = stranger("outbox", "--online")
    assert (code, out) == (1, "")
    assert err.startswith("pkgctl: Unauthorized: ")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The outbox of an appliance whose service does not run."""
    found = tmp_path / "data/outbox"
    found.mkdir(parents=True)
    return found


@pytest.fixture
def outbox(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Pkgctl:
    monkeypatch.chdir(tmp_path)

    def run(*words: str, **environ: str) -> Outcome:
        code = main(["outbox", *words], {"DATA_DIR": str(tmp_path / "data")} | environ)
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def letter(text: str, to: str = "ann@example.com", expires: str = "Fri, 31 Dec 2100 23:59:59 +0000") -> bytes:
    head = f"To: {to}\nSubject: A new password\nDate: Sat, 21 Nov 2026 06:17:00 +0000\nExpires: {expires}\n"
    return f'{head}Content-Type: text/plain; charset="utf-8"\n\n{text}\n'.encode()


def test_letters_are_printed_one_after_the_other(outbox: Pkgctl, folder: Path) -> None:
    (folder / "password-reset-1.eml").write_bytes(letter("Hello Ann."))
    (folder / "password-reset-2.eml").write_bytes(letter("Hello Bob.", to="bob@example.com"))
    (folder / "password-reset-3.eml").write_bytes(letter("Too late.", expires="Sat, 21 Nov 2020 06:17:00 +0000"))
    (folder / "password-reset-4.eml.part").write_bytes(b"To: begun@example.com")
    (folder / "notes.txt").write_text("none of ours")
    (folder / "empty.eml").write_bytes(b"")
    code, out, err = outbox()
    assert (code, err) == (0, "")
    assert out == (
        "to       ann@example.com\nsubject  A new password\nuntil    2100-12-31T23:59:59.000Z\n\nHello Ann.\n\n"
        "to       bob@example.com\nsubject  A new password\nuntil    2100-12-31T23:59:59.000Z\n\nHello Bob.\n"
    )
    assert [found["name"] for found in msgspec.json.decode(outbox("--json")[1])] == [
        "password-reset-1",
        "password-reset-2",
    ]


def test_a_letter_cannot_drive_the_terminal(outbox: Pkgctl, folder: Path) -> None:
    (folder / "a.eml").write_bytes(letter("Hello \x1b[2J\x07.", to='"\u202e" <ann@example.com>'))
    code, out, _ = outbox()
    assert code == 0
    assert out.replace("\n", "").isprintable()
    assert "Hello \\x1b[2J\\x07." in out
    assert outbox("--json")[1].replace("\n", "").isprintable()


def test_an_outbox_without_letters_says_so(outbox: Pkgctl, folder: Path) -> None:
    assert outbox() == (0, "", EMPTY)
    assert outbox("--json") == (0, "[]\n", "")


def test_an_outbox_that_cannot_be_read_is_one_clear_line(outbox: Pkgctl, tmp_path: Path) -> None:
    path = tmp_path / "data/outbox"
    cannot = f"pkgctl: The outbox cannot be read: {path}: "
    assert outbox() == (1, "", f"{cannot}No such file or directory\n")
    path.parent.mkdir()
    path.write_text("")
    assert outbox() == (1, "", f"{cannot}Not a directory\n")
    path.unlink()
    path.mkdir()
    (path / "odd.eml").mkdir()
    assert outbox() == (1, "", f"pkgctl: The outbox cannot be read: {path}/odd.eml: Is a directory\n")
    code, out, err = outbox(PORT="many")
    assert (code, out) == (2, "")
    assert re.fullmatch(r"pkgctl: PORT: [^\n]+\n", err)


def test_reading_the_outbox_changes_nothing(outbox: Pkgctl, folder: Path) -> None:
    (folder / "a.eml").write_bytes(letter("Hello."))
    before = sorted(folder.parent.rglob("*"))
    assert outbox()[0] == 0
    assert sorted(folder.parent.rglob("*")) == before


# Limits


@slow
def test_limits_are_told_and_when_to_come_back(tmp_path: Path) -> None:
    service = Service(tmp_path, RATE_LIMIT_USER_PER_MINUTE="4", RATE_LIMIT_PER_MINUTE="3")
    service.start()
    try:
        shown = fields(service.run("whoami").stdout)
        assert shown["limits"] == "4 calls a minute, 3 left"
        for _ in range(3):
            assert service.run("list").returncode == 0
        refused = service.run("list")
        assert (refused.returncode, refused.stdout) == (1, "")
        told = r"pkgctl: Too Many Requests: Too many calls: 4 a minute are taken; try again in \d+ s\.\n"
        assert re.fullmatch(told, refused.stderr)
    finally:
        service.stop()


def test_without_limits_none_are_told(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    me = {"id": 1, "username": "ann", "roles": ["user"], "session_id": 1, "limits": None}
    for limits, told in ((None, None), ({"requests_per_minute": 60, "remaining": 7}, "60 calls a minute, 7 left")):
        server.on("GET /auth/me", {**me, "limits": limits})
        assert main(["whoami"], {"PURSER_URL": server.url}) == 0
        assert fields(capsys.readouterr().out).get("limits") == told
