"""Letters over SMTP: to a server that is well, ill, slow, gone or not the one it says it is."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest

from app import mail
from app.auth import recovery
from tests import mail_server
from tests.accounts import PASSWORD, Person
from tests.house import AUTH, NOBODY
from tests.mail_server import (
    CLOSES,
    ELSEWHERE,
    HANGS,
    USER,
    Certificates,
    Mail,
    MailServer,
    Office,
    address_of,
    certificates,
    office,
)
from tests.support import Clock, Service, refusal, until
from tests.test_secrets import spellings

NEW = "another horse, another battery"
ANN = {"email": "ann@example.com", "username": "ann", "name": "Ann", "password": PASSWORD}
UNKNOWN = "nobody@nowhere.example"


@pytest.fixture(scope="session")
def trust(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def serve() -> Iterator[Callable[..., MailServer]]:
    """Starts mail servers."""
    with ExitStack() as running:

        def start(**how: Any) -> MailServer:
            server = MailServer(**how).start()
            running.callback(server.stop)
            return server

        yield start


@pytest.fixture
def server(serve: Callable[..., MailServer]) -> MailServer:
    return serve()


@pytest.fixture
def opened(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Office]]:
    """Opens an appliance that mails to this address, within a time that stands still."""
    with ExitStack() as stack:

        def open_(url: str, **settings: str) -> Office:
            made: AbstractContextManager[Office] = office(
                tmp_path, SMTP_URL=url, MAIL_FROM="Purser <purser@box.example>", **settings
            )
            return stack.enter_context(made)

        yield open_


@pytest.fixture
def house(opened: Callable[..., Office], server: MailServer) -> Office:
    return opened(server.url())


def sets_a_password(house: Office, person: Person, letter: Mail) -> None:
    """The code of the letter does, and the account is signed in to with it."""
    assert house.reset(letter.code, NEW).status_code == 200
    assert house.login(NEW, identifier=person.username).status_code == 200


def log(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Why mail was not taken."""
    return [getattr(record, "detail", "") for record in caplog.records if record.name == "purser.mail"]


def post(service: Service, what: str, given: object) -> int:
    with service.client() as client:
        return client.post(f"{AUTH}/{what}", json=given, headers=NOBODY).status_code


def begins(service: Service, url: str, **settings: str) -> Service:
    """The service as a process, with an account in it."""
    service.settings |= {"SMTP_URL": url, "MAIL_FROM": "purser@box.example", **settings}
    service.start()
    assert post(service, "register", ANN) == 201
    return service


def signs_in(service: Service, password: str) -> bool:
    return post(service, "login", {"identifier": "ann", "password": password}) == 200


def test_a_letter_is_handed_to_the_server_and_nothing_lies_in_the_outbox(house: Office, server: MailServer) -> None:
    person = house.person()
    house.asks(address_of(person))
    letter = server.next()
    assert (letter.sender, letter.recipients) == ("purser@box.example", [address_of(person)])
    assert (letter.parsed["From"], letter.parsed["To"]) == ("Purser <purser@box.example>", address_of(person))
    assert letter.parsed["Message-ID"].endswith("@box.example>")
    assert {*letter.parsed.keys()} == {
        *("From", "To", "Subject", "Date", "Expires", "Message-ID", "Auto-Submitted"),
        *("MIME-Version", "Content-Type", "Content-Transfer-Encoding"),
    }
    assert max(map(len, letter.content.split(b"\r\n"))) < 79
    assert b"\n" not in letter.content.replace(b"\r\n", b"")
    assert house.letters() == []
    assert [*(house.config.data_dir / "outbox").iterdir()] == []
    sets_a_password(house, person, letter)
    target = f"users/{person.id}"
    told = house.rows("SELECT action FROM audit WHERE target = ? AND action LIKE 'auth.%reset%'", target)
    assert [row["action"] for row in told] == ["auth.mail_reset", "auth.reset_password"]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["smtp", "smtp+starttls", "smtps"])
def test_a_real_service_mails_a_code_that_sets_a_password(
    service: Service, serve: Callable[..., MailServer], trust: Certificates, scheme: str
) -> None:
    tls = {"smtp": {}, "smtp+starttls": {"starttls": trust.here}, "smtps": {"implicit": trust.here}}[scheme]
    server = serve(**tls, auth=scheme != "smtp")
    begins(service, server.url(scheme, user=scheme != "smtp"), SSL_CERT_FILE=str(trust.authority))
    assert post(service, "forgot-password", {"email": ANN["email"]}) == 202
    letter = server.next()
    assert (letter.secured, letter.user) == ((False, None) if scheme == "smtp" else (True, USER))
    assert post(service, "reset-password", {"token": letter.code, "password": NEW}) == 200
    assert post(service, "reset-password", {"token": letter.code, "password": NEW}) == 400
    assert (signs_in(service, NEW), signs_in(service, PASSWORD)) == (True, False)
    code, output = service.stop()
    assert code == 0
    assert '"level":"error"' not in output
    assert letter.code not in output


@pytest.mark.slow
def test_kill_9_between_code_and_letter_loses_neither(service: Service, server: MailServer) -> None:
    """The server has heard the letter and did not say that it took it: its code is replaced by another."""
    server.answers["DATA"] = HANGS
    begins(service, server.url())
    assert post(service, "forgot-password", {"email": ANN["email"]}) == 202
    assert server.hanging.acquire(timeout=30)
    service.kill()
    server.answers.clear()
    service.start()
    letter, (lost,) = server.next(), server.rejected
    assert post(service, "reset-password", {"token": lost.code, "password": NEW}) == 400
    assert post(service, "reset-password", {"token": letter.code, "password": NEW}) == 200
    assert server.has_none()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["CONNECT", "RCPT", "DATA"])
def test_a_server_that_hangs_keeps_neither_callers_nor_the_end_waiting(
    service: Service, server: MailServer, command: str
) -> None:
    server.answers[command] = HANGS
    begins(service, server.url())
    assert post(service, "forgot-password", {"email": ANN["email"]}) == 202
    assert server.hanging.acquire(timeout=30)
    with service.client() as client:
        for path in ("/health", "/readyz", "/api/v1/users/me", "/api/v1/system/outbox"):
            assert client.get(path).status_code == 200
    assert signs_in(service, PASSWORD)
    assert post(service, "forgot-password", {"email": UNKNOWN}) == 202
    begun = time.monotonic()
    code, output = service.stop()
    assert time.monotonic() - begun < mail.TIMEOUT_S / 2  # nobody waited for the server to be given up
    assert code == 0
    assert '"level":"error"' not in output
    assert (server.conversations, server.has_none()) == (1, True)
    server.answers.clear()
    service.start()
    until(lambda: post(service, "forgot-password", {"email": UNKNOWN}) == 202 and not server.has_none())
    assert post(service, "reset-password", {"token": server.next().code, "password": NEW}) == 200


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("CONNECT", "421 too busy"),
        ("MAIL", "451 local error"),
        ("RCPT", "450 mailbox busy"),
        ("DATA", "452 no room"),
        *((command, how) for command in ("CONNECT", "EHLO", "MAIL", "RCPT", "DATA") for how in (CLOSES, HANGS)),
    ],
)
def test_a_letter_that_was_not_taken_now_is_sent_later_with_another_code(
    house: Office,
    server: MailServer,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    answer: str,
) -> None:
    monkeypatch.setattr(mail, "TIMEOUT_S", 0.3)
    person = house.person()
    server.answers[command] = answer
    house.asks(address_of(person))
    assert (server.conversations, house.waiting(), len(log(caplog))) == (1, 1, 1)
    assert answer in (HANGS, CLOSES) or answer in log(caplog)[0]
    assert house.rows("SELECT id FROM password_resets") == []
    server.answers.clear()
    clock.at += 9.9
    house.wake()
    assert server.conversations == 1
    clock.at += 0.1
    house.wake()
    letter = server.next()
    for lost in server.rejected:
        refusal(house.reset(lost.code, NEW), 400)
    sets_a_password(house, person, letter)
    assert (server.conversations, house.waiting(), server.has_none()) == (2, 0, True)


def test_a_server_that_is_down_is_tried_ever_later_for_half_an_hour(
    house: Office, server: MailServer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    server.stop()
    person = house.person()
    house.asks(address_of(person))
    begun, tried_at = clock.at, [0.0]
    while house.waiting():
        clock.at += 10
        house.wake()
        if len(log(caplog)) > len(tried_at):
            tried_at.append(clock.at - begun)
    assert tried_at == [0, 10, 30, 70, 150, 310, 630, 1270]
    assert all("ConnectionRefusedError" in detail for detail in log(caplog))
    server.start()
    clock.at += 3600
    house.wake()
    assert server.conversations == 0
    house.asks(address_of(person))
    sets_a_password(house, person, server.next())


def test_a_server_that_comes_back_is_given_one_letter_for_all_who_asked(
    house: Office, server: MailServer, clock: Clock
) -> None:
    server.answers["MAIL"] = "451 later"
    people = [house.person() for _ in range(2)]
    for _ in range(5):
        for person in people:
            house.asks(address_of(person))
    assert (server.conversations, house.waiting()) == (10, 10)
    server.answers.clear()
    clock.at += 10
    house.wake()
    letters = [server.next(), server.next()]
    assert {letter.recipients[0] for letter in letters} == {address_of(person) for person in people}
    assert (server.has_none(), house.waiting()) == (True, 0)


@pytest.mark.parametrize(
    ("command", "answer"),
    [("MAIL", "553 not from you"), ("RCPT", "550 no such mailbox"), ("DATA", "554 that is spam")],
)
def test_a_letter_that_is_refused_for_good_is_given_up(
    house: Office,
    server: MailServer,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    command: str,
    answer: str,
) -> None:
    person, neighbour = house.person(), house.person()
    server.answers[command] = answer
    house.asks(address_of(person))
    assert (house.waiting(), house.rows("SELECT id FROM password_resets")) == (0, [])
    assert log(caplog) == [f"The mail server answered {answer}."]
    assert house.rows("SELECT id FROM audit WHERE action = 'auth.mail_reset'") == []
    for lost in server.rejected:
        refusal(house.reset(lost.code, NEW), 400)
    server.answers.clear()
    clock.at += 3600
    house.wake()
    assert server.conversations == 1
    house.asks(address_of(neighbour))
    sets_a_password(house, neighbour, server.next())


@pytest.mark.parametrize("shown", ["another_name", "self_signed"])
@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
def test_who_cannot_show_a_trusted_certificate_is_told_nothing(
    opened: Callable[..., Office],
    serve: Callable[..., MailServer],
    trust: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    scheme: str,
    shown: str,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(trust.authority))
    server = serve(**{"implicit" if scheme == "smtps" else "starttls": getattr(trust, shown), "auth": True})
    house = opened(server.url(scheme, user=True))
    person = house.person()
    house.asks(address_of(person))
    assert (server.has_none(), house.waiting(), server.conversations) == (True, 1, 1)
    assert "certificate verify failed" in log(caplog)[0]
    _nothing_was_told(server, person)


def _nothing_was_told(server: MailServer, person: Person) -> None:
    """Neither the password nor the address came over the line unencrypted; nor did anybody sign in."""
    assert b"AUTH" not in server.in_clear
    assert address_of(person).encode() not in server.in_clear
    for spelt in spellings(mail_server.PASSWORD):
        assert spelt not in server.in_clear


@pytest.mark.parametrize(
    ("scheme", "host", "user"),
    [("smtp+starttls", "127.0.0.1", False), ("smtp+starttls", "127.0.0.1", True), ("smtp", ELSEWHERE, True)],
)
def test_a_server_without_tls_is_told_nothing_where_tls_is_wanted_or_a_password_would_be_heard(
    opened: Callable[..., Office],
    serve: Callable[..., MailServer],
    caplog: pytest.LogCaptureFixture,
    scheme: str,
    host: str,
    user: bool,
) -> None:
    """Also when somebody in between has taken the offer of it away."""
    server = serve(auth=True)
    house = opened(server.url(scheme, host, user=user))
    person = house.person()
    house.asks(address_of(person))
    assert server.has_none()
    assert "STARTTLS" in log(caplog)[0]
    _nothing_was_told(server, person)


@pytest.mark.parametrize(
    ("scheme", "host", "shown", "user", "secured"),
    [
        ("smtp", "127.0.0.1", None, True, False),
        ("smtp", "localhost", None, True, False),
        ("smtp", ELSEWHERE, "here", True, True),
        ("smtp", ELSEWHERE, "self_signed", False, True),
        ("smtp", ELSEWHERE, None, False, False),
        ("smtp+starttls", "localhost", "here", True, True),
        ("smtp+starttls", "127.0.0.1", "here", False, True),
    ],
)
def test_a_letter_is_encrypted_where_that_is_wanted_needed_or_offered(
    opened: Callable[..., Office],
    serve: Callable[..., MailServer],
    trust: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    host: str,
    shown: str | None,
    user: bool,
    secured: bool,
) -> None:
    """A password travels in clear on the machine itself alone; where nothing is asked for, any certificate will do."""
    monkeypatch.setenv("SSL_CERT_FILE", str(trust.authority))
    server = serve(starttls=shown and getattr(trust, shown), auth=user)
    house = opened(server.url(scheme, host, user=user))
    person = house.person()
    house.asks(address_of(person))
    letter = server.next()
    assert (letter.secured, letter.user) == (secured, USER if user else None)
    sets_a_password(house, person, letter)
    if secured:
        _nothing_was_told(server, person)


def test_with_a_user_a_certificate_must_be_trusted_whatever_the_scheme(
    opened: Callable[..., Office], serve: Callable[..., MailServer], trust: Certificates
) -> None:
    server = serve(starttls=trust.self_signed, auth=True)
    house = opened(server.url("smtp", ELSEWHERE, user=True))
    person = house.person()
    house.asks(address_of(person))
    assert server.has_none()
    _nothing_was_told(server, person)


@pytest.mark.parametrize("answer", ["535 no such user or password", "454 try again"])
def test_a_wrong_password_of_the_mail_server_is_tried_again_and_logged_without_it(
    opened: Callable[..., Office],
    serve: Callable[..., MailServer],
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    answer: str,
) -> None:
    """Whoever runs the mail server may have to mend it first."""
    caplog.set_level(logging.DEBUG)
    server = serve(auth=True)
    server.answers["AUTH"] = answer
    house = opened(server.url(user=True))
    person = house.person()
    house.asks(address_of(person))
    assert (house.waiting(), server.conversations, server.has_none()) == (1, 1, True)
    ours = "\n".join(str(vars(one)) for one in caplog.records if one.name.startswith("purser"))
    assert answer in ours
    assert [spelt for spelt in spellings(mail_server.PASSWORD) if spelt in ours.encode()] == []
    server.answers.clear()
    clock.at += 10
    house.wake()
    sets_a_password(house, person, server.next())


def with_address(house: Office, address: str) -> Person:
    person = house.person()
    answer = house.client.patch(f"/api/v1/users/{person.id}", json={"email": address})
    assert answer.status_code == 200, answer.text
    return person


@pytest.mark.parametrize("address", ["jörg@example.com", "用户@例え.example", "ann@bücher.example"])
@pytest.mark.parametrize("with_utf8", [True, False])
def test_an_address_that_is_not_ascii_needs_a_server_that_knows_such(
    opened: Callable[..., Office],
    serve: Callable[..., MailServer],
    caplog: pytest.LogCaptureFixture,
    address: str,
    with_utf8: bool,
) -> None:
    server = serve(with_utf8=with_utf8)
    house = opened(server.url())
    person, neighbour = with_address(house, address), house.person()
    house.asks(address)
    assert house.waiting() == 0
    if with_utf8:
        letter = server.next()
        assert (letter.recipients, letter.parsed["To"]) == ([address], address)
        sets_a_password(house, person, letter)
    else:
        assert server.has_none()
        assert "SMTPUTF8" in log(caplog)[0]
    house.asks(address_of(neighbour))
    sets_a_password(house, neighbour, server.next())


@pytest.mark.parametrize(
    "address",
    [
        "o'brien+purser@example.com",
        "%s{code}`id`|$HOME@example.com",
        f"{'a' * 243}@example.com",
        "=?utf-8?q?eve=40evil.example=2c?=@example.com",
        "eve=?utf-8?q?=40evil.example=2c?=x@example.com",
        "ann@=?utf-8?q?=0d=0aBcc=3aeve=40evil.example=0d=0a?=",
        "ann@=?utf-8?q?=0d=0aSubject=3a_You_won=0d=0a=0d=0aevil.example",
        "=?utf-8?b?DQpCY2M6IGV2ZUBldmlsLmV4YW1wbGU=?=@example.com",
        "ß@=?us-ascii?q?=80?=.",
        "=?us-ascii?q?=80?=@example.com",
        "DQo=@=?unknown-8bit?q?=ff?==?utf-8?b??==2caaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "a..b@..",
        ".@.",
        "*@%",
    ],
)
def test_a_letter_goes_to_the_one_address_or_nowhere_and_holds_nobody_up(
    house: Office, server: MailServer, address: str
) -> None:
    """Neither a further line nor another recipient is smuggled in, by mail's own way to write other characters."""
    with_address(house, address)
    neighbour = house.person()
    for one in (address, address_of(neighbour)):
        assert house.forgot(one).status_code == 202
    arrived = [server.next()]
    while arrived[-1].recipients != [address_of(neighbour)]:
        arrived.append(server.next())
    for letter in arrived:
        assert letter.recipients in ([address], [address_of(neighbour)])
        assert b"evil.example" not in letter.content.replace(address.encode(), b"")
        assert letter.parsed["Subject"] == "A new password"
    sets_a_password(house, neighbour, arrived[-1])


def test_a_username_is_told_in_a_letter_as_it_is(house: Office, server: MailServer) -> None:
    """A line of its own that is a dot would end a letter."""
    for name in (".", "Zoë-日本語", "\U0001f600" * 100, "{code}"):
        person = house.person()
        renamed = {"username": name, "full_name": "Ann <eve@evil.example>"}
        assert house.client.patch(f"/api/v1/users/{person.id}", json=renamed).status_code == 200
        house.asks(address_of(person))
        letter = server.next()
        assert letter.parsed.get_content().startswith(f"Hello {name},")
        assert b"evil.example" not in letter.content
        assert house.reset(letter.code, NEW).status_code == 200


@pytest.mark.slow
def test_a_thousand_may_wait_for_a_mail_server_and_no_more(house: Office, server: MailServer) -> None:
    server.answers["RCPT"] = HANGS
    person = house.person()
    assert house.forgot(address_of(person)).status_code == 202
    assert server.hanging.acquire(timeout=30)
    for number in range(recovery.MOST_WAITING - 1):
        assert house.forgot(f"nobody{number % 7}@example.com").status_code == 202
    for address in (address_of(person), UNKNOWN):
        refusal(house.forgot(address), 503, "UNAVAILABLE")
    assert house.waiting() == recovery.MOST_WAITING
    assert house.login(identifier=person.username).status_code == 200
    server.answers.clear()
    server.stop()
    until(lambda: house.waiting() == 1, "all have been seen to but the one whose letter was not taken")
    assert server.conversations == 1
    assert house.forgot(UNKNOWN).status_code == 202
