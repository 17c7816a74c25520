"""Mail without a mail server: letters lie in a folder, for nobody but super admins, as long as they are of use."""

import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from app import values
from tests.accounts import Person, make_group, make_person
from tests.house import AUTH
from tests.mail_server import Office, address_of, code_in, office
from tests.support import ROOT, Clock, ask, refusal, until
from tests.test_no_space import CAN_MOUNT, Disk

OUTBOX = "/api/v1/system/outbox"
NEW = "another horse, another battery"
HEADERS = {"From", "To", "Subject", "Date", "Expires", "Message-ID", "Auto-Submitted"}
HEADERS |= {"MIME-Version", "Content-Type", "Content-Transfer-Encoding"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with office(tmp_path_factory.mktemp("house")) as made:
        yield made


@pytest.fixture
def person(house: Office) -> Person:
    return house.person()


def folder(house: Office) -> Path:
    return house.config.data_dir / "outbox"


def files(house: Office) -> list[Path]:
    return sorted(folder(house).iterdir())


def parsed(path: Path) -> EmailMessage:
    found = message_from_bytes(path.read_bytes(), policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


def to(house: Office, address: str) -> list[Path]:
    """The files of letters to this address."""
    return [path for path in sorted(folder(house).glob("*.eml")) if str(parsed(path)["To"]) == address]


def with_address(house: Office, address: str) -> Person:
    """A person whose e-mail is this one."""
    person = house.person()
    answer = house.client.patch(f"/api/v1/users/{person.id}", json={"email": address})
    assert answer.status_code == 200, answer.text
    return person


def test_a_letter_is_a_file_for_nobody_else(house: Office, person: Person) -> None:
    house.asks(address_of(person))
    (path,) = to(house, address_of(person))
    assert stat.S_IMODE(folder(house).stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.suffix == ".eml"
    assert path.stem.startswith("password-reset-")


def test_a_letter_has_what_mail_has_and_expires(house: Office, person: Person, clock: Clock) -> None:
    house.asks(address_of(person))
    (path,) = to(house, address_of(person))
    letter = parsed(path)
    assert {*letter.keys()} == HEADERS
    assert (letter["From"], letter["To"], letter["Subject"]) == (
        "purser@localhost",
        address_of(person),
        "A new password",
    )
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter["Message-ID"].endswith("@localhost>")
    begins, ends = (parsedate_to_datetime(letter[name]).timestamp() for name in ("Date", "Expires"))
    assert (int(begins), int(ends)) == (int(clock.at), int(clock.at + 30 * 60))


def test_the_outbox_shows_letters_the_oldest_first(house: Office, clock: Clock) -> None:
    clock.at += 3600
    people = [house.person() for _ in range(3)]
    for person in people:
        house.asks(address_of(person))
        clock.at += 1
    found = house.letters()
    assert [letter["to"] for letter in found] == [address_of(person) for person in people]
    assert found[0].keys() == {"name", "to", "subject", "text", "created_at", "expires_at"}
    assert [path.stem for path in files(house)] == [letter["name"] for letter in found]
    made, ends = (values.seconds(found[0][name]) for name in ("created_at", "expires_at"))
    assert (made, ends) == (int(clock.at - 3), int(clock.at - 3 + 30 * 60))


def test_a_letter_is_gone_once_its_code_was_used_and_others_stay(house: Office, clock: Clock) -> None:
    person, neighbour = house.person(), house.person()
    house.asks(address_of(neighbour))
    house.code(person)
    clock.at += 60
    code = house.code(person)
    found = to(house, address_of(person))
    assert len(found) == 2
    assert house.reset(code, NEW).status_code == 200
    until(lambda: not any(path.exists() for path in found), "both letters are gone")
    assert house.letters(address_of(person)) == []
    assert len(house.letters(address_of(neighbour))) == 1


def test_a_letter_is_gone_once_the_account_is(house: Office, person: Person) -> None:
    house.asks(address_of(person))
    (path,) = to(house, address_of(person))
    assert house.client.delete(f"/api/v1/users/{person.id}").status_code == 204
    house.wake()
    until(lambda: not path.exists(), "the letter is gone")


def test_a_letter_that_has_expired_is_not_shown_and_soon_gone(house: Office, person: Person, clock: Clock) -> None:
    house.asks(address_of(person))
    (path,) = to(house, address_of(person))
    clock.at += 30 * 60 - 1
    assert len(house.letters(address_of(person))) == 1
    clock.at += 1
    assert house.letters(address_of(person)) == []
    house.wake()
    until(lambda: not path.exists(), "the file is gone")
    assert house.rows("SELECT id FROM password_resets WHERE user_id = ?", person.id) == []


def test_what_expired_while_the_service_was_off_is_gone_when_it_comes_back(tmp_path: Path, clock: Clock) -> None:
    with office(tmp_path) as house:
        token = house.client.headers["Authorization"].split()[1]
        early, late = house.person(), house.person()
        house.asks(address_of(early))
        clock.at += 600
        code = house.code(late)
        (folder(house) / "password-reset-9.eml.part").write_bytes(b"half a letter")
        (folder(house) / "password-reset-999.eml").write_bytes(b"To: nobody\n\nof an old backup")
        assert len(files(house)) == 4
    clock.at += 30 * 60 - 600
    with office(tmp_path, token) as house:
        until(lambda: len(files(house)) == 1, "what is of no use is gone")
        assert [letter["to"] for letter in house.letters()] == [address_of(late)]
        assert house.reset(code, NEW).status_code == 200


@pytest.fixture(scope="module")
def people(house: Office) -> dict[str, dict[str, str]]:
    """What those send along who may not, or may, read the mail of others."""
    client = house.client
    for name, permissions in {"keeper": ["system:admin"], "everything-but": ["system:*", "users:*", "audit:*"]}.items():
        wanted = [{"permission": permission, "reach": "all"} for permission in permissions]
        assert client.post("/api/v1/roles", json={"name": name, "permissions": wanted}).status_code == 201
    group_id = make_group(client, "North", "00000001")
    second = house.person("super_admin")
    return {
        "nobody": {"Authorization": ""},
        "user": house.person().headers,
        "guest": house.person("guest").headers,
        "admin": house.person("admin").headers,
        "group admin": make_person(client, house.config, "nora", "admin", group_id=group_id).headers,
        "keeper": house.person("keeper").headers,
        "everything but *": house.person("everything-but").headers,
        "token of all but *": house.token(second, "system:*", "users:*"),
        "token of system:admin": house.token(second, "system:admin"),
        "super admin": second.headers,
        "token of *": house.token(second, "*"),
    }


@pytest.mark.parametrize(
    ("who", "status"),
    [
        ("nobody", 401),
        ("user", 403),
        ("guest", 403),
        ("admin", 403),
        ("group admin", 403),
        ("keeper", 403),
        ("everything but *", 403),
        ("token of all but *", 403),
        ("token of system:admin", 403),
        ("super admin", 200),
        ("token of *", 200),
    ],
)
def test_the_outbox_is_for_super_admins(
    house: Office, people: dict[str, dict[str, str]], person: Person, who: str, status: int
) -> None:
    code = house.code(person)
    answer = house.client.get(OUTBOX, headers=people[who])
    if status == 200:
        assert answer.status_code == 200
        assert code in answer.text
        assert answer.headers["cache-control"] == "no-store"
    else:
        refusal(answer, status)
        assert code not in answer.text


POISON = {
    "Host": "evil.example",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "evil",
    "X-Forwarded-For": "6.6.6.6, evil.example",
    "Forwarded": "host=evil.example;for=evil.example",
    "X-Original-URL": "https://evil.example/",
    "X-Forwarded-Prefix": "/evil",
    "Origin": "https://evil.example",
    "Referer": "https://evil.example/",
    "User-Agent": "evil.example",
    "X-Request-ID": "evil",
}


@pytest.mark.parametrize(
    ("public_url", "told"),
    [
        ("", "http://localhost:8000"),
        ("https://box.example/", "https://box.example"),
        ("http://b:81/p", "http://b:81/p"),
    ],
)
def test_a_letter_names_the_address_of_the_settings_never_that_of_the_call(
    tmp_path: Path, public_url: str, told: str
) -> None:
    """Or a stranger has the appliance send people to a page of the stranger's own, with the code."""
    with office(tmp_path, PUBLIC_URL=public_url) as house:
        person = house.person()
        assert house.forgot(address_of(person), **POISON).status_code == 202
        house.settle()
        (path,) = files(house)
        assert b"evil" not in path.read_bytes()
        assert b"6.6.6.6" not in path.read_bytes()
        text = parsed(path).get_content()
        assert f" {told}/api/v1/auth/reset-password \\\n" in text
        assert (f"for your account at {told}." in text) is bool(public_url)


def test_a_letter_says_who_asked_for_whom_from_where_and_until_when(
    house: Office, person: Person, clock: Clock
) -> None:
    given = msgspec.json.encode({"email": address_of(person)})
    assert ask(house.client, "POST", f"{AUTH}/forgot-password", body=[given], host="192.0.2.7").status_code == 202
    house.settle()
    (letter,) = house.letters(address_of(person))
    assert letter["text"].startswith(f"Hello {person.username},\n\nsomebody at 192.0.2.7 asked")
    assert f"until {letter['expires_at'][11:16]} (UTC)" in letter["text"]
    assert max(map(len, letter["text"].splitlines())) < 79


def test_what_a_letter_says_to_type_sets_the_password(house: Office, person: Person) -> None:
    house.asks(address_of(person))
    (letter,) = house.letters(address_of(person))
    typed = letter["text"][letter["text"].index("curl") :].partition("\n\n")[0]
    words = shlex.split(typed)
    url = next(word for word in words if word.startswith("http"))
    header, body = words[words.index("-H") + 1], words[words.index("-d") + 1]
    path = "/" + url.split("/", 3)[3]
    name, _, value = header.partition(": ")
    answer = house.client.post(path, content=body, headers={name: value, "Authorization": ""})
    assert (words[:3], answer.status_code) == (["curl", "-X", "POST"], 200)
    assert house.login("the new one", identifier=person.username).status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "{code}",
        "{0}%s$HOME`id`",
        "'; DROP TABLE users; --",
        '<b>"&',
        "Zoë-ßß-日本語",
        ".",
        "x" * 100,
        "\U0001f600" * 50,
    ],
)
def test_a_username_stands_in_a_letter_as_it_is_and_changes_nothing(house: Office, name: str) -> None:
    person, name = house.person(), name.replace(" ", "_")
    renamed = {"username": name, "full_name": "Ann <ann@evil.example>, Eve"}
    assert house.client.patch(f"/api/v1/users/{person.id}", json=renamed).status_code == 200
    code = house.code(person)
    (path,) = to(house, address_of(person))
    assert {*parsed(path).keys()} == HEADERS
    assert parsed(path).get_content().startswith(f"Hello {name},")
    assert b"evil.example" not in path.read_bytes()
    assert house.reset(code, NEW).status_code == 200


@pytest.mark.parametrize(
    "address",
    [
        "o'brien+purser@example.com",
        "a&b=c?d@example.com",
        "{code}%s$@example.com",
        "`id`|x@example.com",
        "jörg@example.com",
        "ann@bücher.example",
        "用户@例え.example",
        "\U0001f600@example.com",
        f"{'a' * 243}@example.com",
        f"{'é' * 60}@{'b' * 150}.example",
    ],
)
def test_a_letter_goes_to_an_odd_address_as_it_is(house: Office, address: str) -> None:
    with_address(house, address)
    house.asks(address)
    (letter,) = house.letters(address)
    (path,) = to(house, address)
    assert {*parsed(path).keys()} == HEADERS
    assert house.reset(code_in(letter["text"]), NEW).status_code == 200


@pytest.mark.parametrize(
    "address",
    [
        "=?utf-8?q?eve=40evil.example=2c?=@example.com",
        "ann@=?utf-8?q?=0d=0aBcc=3aeve=40evil.example=0d=0a?=",
        "ann@=?utf-8?q?=0d=0aBcc=3aeve",
        "ann@=?utf-8?q?=0d=0aSubject=3a_You_won=0d=0a=0d=0aevil.example",
        "=?utf-8?b?DQpCY2M6IGV2ZUBldmlsLmV4YW1wbGU=?=@example.com",
        "ß@=?us-ascii?q?=80?=.",
        "DQo=@=?unknown-8bit?q?=ff?==?utf-8?b??==2caaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "a..b@..",
        ".@.",
        "*@%",
    ],
)
def test_an_address_made_to_mislead_leads_nowhere_and_holds_nobody_up(
    tmp_path: Path, clock: Clock, address: str
) -> None:
    """Mail's own way to write other characters (RFC 2047) must not smuggle lines or addresses into a letter."""
    with office(tmp_path) as house:
        with_address(house, address)
        person = house.person()
        assert house.forgot(address).status_code == 202
        assert house.forgot(address_of(person)).status_code == 202
        until(lambda: to(house, address_of(person)), "the letter of the next one is written", patience_s=10)
        house.settle()
        assert house.waiting() == 0
        assert len(house.letters(address_of(person))) == 1
        for path in folder(house).glob("*.eml"):
            assert b"evil.example" not in path.read_bytes().replace(address.encode(), b"")
            assert {*parsed(path).keys()} == HEADERS
            assert path in to(house, address) + to(house, address_of(person))


@pytest.fixture
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder whose data folder has a small disk of its own, which is full but for what is needed to start."""
    folder = tmp_path_factory.mktemp("full")
    disk = Disk(folder / "data")
    for name in ("outbox", "roots", "logs", "tmp", "profiles"):
        (disk.folder / name).mkdir()
    disk.fill()
    yield folder
    disk.unmount()


@pytest.mark.slow
@pytest.mark.skipif(not CAN_MOUNT, reason="a small disk needs root with CAP_SYS_ADMIN")
def test_a_letter_that_the_disk_has_no_room_for_is_written_once_it_has(
    small: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with office(small, DATABASE_URL=f"sqlite:///{small}/app.db", SECRET_KEY="k3y" * 16) as house:
        person = house.person()
        house.asks(address_of(person))
        assert house.letters() == []
        assert house.waiting() == 1
        assert [path.name for path in folder(house).glob("*.eml")] == []
        told: list[Any] = [getattr(record, "detail", "") for record in caplog.records]
        assert "The outbox cannot be written: No space left on device." in told
        os.truncate(house.config.data_dir / "filler", 0)
        clock.at += 10
        assert house.reset(house.code(person), NEW).status_code == 200


UNUSED = """
import asyncio, sys
from app.config import load
from app.main import create_app
from pathlib import Path

async def run(app):
    async with app.router.lifespan_context(app):
        pass

asyncio.run(run(create_app(load({"DATA_DIR": sys.argv[1], "SMTP_URL": "smtp://mail.example"}, dotenv=Path("/none")))))
print(sorted({"smtplib", "email.policy", "email.headerregistry", "email._header_value_parser"} & {*sys.modules}))
"""


@pytest.mark.slow
def test_what_writes_mail_is_not_loaded_before_the_first_letter(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", UNUSED, tmp_path / "data"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert (ran.returncode, ran.stdout) == (0, "[]\n"), ran.stderr


def test_the_outbox_takes_no_parameters(house: Office) -> None:
    answer: httpx2.Response = house.client.get(OUTBOX, params={"name": "../secret.key"})
    refusal(answer, 400, "VALIDATION_ERROR")
