"""A forgotten password: a code is mailed that sets a new one, once, and whoever asks learns nothing."""

import itertools
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

import httpx2
import msgspec
import pytest

from app import values
from app.auth import recovery
from tests.accounts import PASSWORD, Person, bearer
from tests.house import AUTH
from tests.mail_server import Office, address_of, code_in, office
from tests.support import Clock, ask, refusal

NEW = "another horse, another battery"
USELESS = "expected a code that was mailed within half an hour and has not been used"
LATER = {"live", "tidy", "due", "write_letter", "sent"}
"""What the service asks the database for when nobody waits for an answer."""
UNKNOWN = "never-was@example.com"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with office(tmp_path_factory.mktemp("house")) as made:
        yield made


@pytest.fixture
def person(house: Office) -> Person:
    return house.person()


def useless(answer: httpx2.Response, code: str) -> None:
    """The code was refused, and is not repeated."""
    document = refusal(answer, 400, "VALIDATION_ERROR")
    assert document["errors"] == [{"field": "/token", "message": USELESS}]
    assert code not in answer.text + str(answer.headers)


def set_status(house: Office, person: Person, status: str) -> None:
    answer = house.client.patch(f"/api/v1/users/{person.id}/status", json={"status": status})
    assert answer.status_code == 200, answer.text


def take_password(house: Office, person: Person) -> None:
    """An account that was never given a password: the service makes none of this kind but the first."""
    with sqlite3.connect(house.config.database_path) as outside:
        outside.execute("UPDATE users SET password_hash = NULL WHERE id = ?", (person.id,))
    outside.close()


def delete(house: Office, person: Person) -> None:
    assert house.client.delete(f"/api/v1/users/{person.id}").status_code == 204


def codes(house: Office, person: Person) -> int:
    return len(house.rows("SELECT id FROM password_resets WHERE user_id = ?", person.id))


def test_the_code_of_a_letter_sets_a_new_password(house: Office, person: Person) -> None:
    answer = house.reset(house.code(person), NEW)
    assert (answer.status_code, answer.json()) == (200, {})
    refusal(house.login(identifier=person.username), 401)
    assert house.login(NEW, identifier=person.username).status_code == 200


def test_new_password_is_another_name_of_password(house: Office, person: Person) -> None:
    given = {"token": house.code(person), "new_password": NEW}
    assert house.post("reset-password", given).status_code == 200
    assert house.login(NEW, identifier=person.username).status_code == 200


def test_all_sessions_end_and_access_tokens_go_on(house: Office, person: Person) -> None:
    token, bystander = house.token(person), house.person()
    other = house.login(identifier=person.username).json()
    assert house.reset(house.code(person), NEW).status_code == 200
    for pair in (person.pair, other):
        assert not house.lets_in(pair)
        refusal(house.refresh(pair), 401)
    assert house.me(token).json()["id"] == person.id
    assert house.lets_in(bystander.pair)


def test_an_account_that_never_had_a_password_gets_one(house: Office, person: Person) -> None:
    take_password(house, person)
    assert house.reset(house.code(person), NEW).status_code == 200
    assert house.login(NEW, identifier=person.username).status_code == 200


def test_a_code_works_once(house: Office, person: Person) -> None:
    code = house.code(person)
    assert house.reset(code, NEW).status_code == 200
    useless(house.reset(code, PASSWORD), code)
    assert house.login(NEW, identifier=person.username).status_code == 200


def test_of_twenty_who_use_a_code_at_once_one_wins(house: Office, person: Person) -> None:
    code = house.code(person)
    passwords = [f"{NEW} {number}" for number in range(20)]
    with ThreadPoolExecutor(20) as pool:
        answers = [*pool.map(lambda password: house.reset(code, password), passwords)]
    won = [password for password, answer in zip(passwords, answers, strict=True) if answer.status_code == 200]
    assert len(won) == 1
    for answer in answers:
        if answer.status_code != 200:
            useless(answer, code)
    assert house.login(*won, identifier=person.username).status_code == 200
    assert len(house.rows("SELECT id FROM audit WHERE action = 'auth.reset_password' AND actor_id = ?", person.id)) == 1


@pytest.mark.parametrize(("after_s", "works"), [(30 * 60 - 0.001, True), (30 * 60, False), (30 * 86400, False)])
def test_a_code_works_for_half_an_hour(
    house: Office, person: Person, clock: Clock, after_s: float, works: bool
) -> None:
    code = house.code(person)
    clock.at += after_s
    answer = house.reset(code, NEW)
    if works:
        assert answer.status_code == 200
    else:
        useless(answer, code)
    assert (house.login(NEW, identifier=person.username).status_code == 200) is works


def test_every_code_of_the_account_dies_with_the_one_that_was_used(house: Office, clock: Clock) -> None:
    person, neighbour = house.person(), house.person()
    other = house.code(neighbour)
    found = []
    for _ in range(3):
        clock.at += 60
        found.append(house.code(person))
    assert len({*found}) == 3
    assert house.reset(found[1], NEW).status_code == 200
    for code in found:
        useless(house.reset(code, PASSWORD), code)
    assert house.reset(other, NEW).status_code == 200


def change_own_password(house: Office, person: Person) -> httpx2.Response:
    return house.post("change-password", {"old_password": PASSWORD, "new_password": NEW}, person.headers)


def set_password_of(house: Office, person: Person) -> httpx2.Response:
    return house.client.patch(f"/api/v1/users/{person.id}/password", json={"password": NEW})


def move(house: Office, person: Person) -> httpx2.Response:
    moved = {"email": f"moved-{person.id}@example.com"}
    return house.client.patch(f"/api/v1/users/{person.id}", json=moved)


@pytest.mark.parametrize("change", [change_own_password, set_password_of, move])
def test_a_code_dies_when_the_password_or_the_address_it_went_to_changes(
    house: Office, person: Person, change: Callable[[Office, Person], httpx2.Response]
) -> None:
    """Who changes them may do it because somebody else reads the mail that went there."""
    code = house.code(person)
    assert change(house, person).status_code == 200
    useless(house.reset(code, "a stranger's own password"), code)


def test_who_was_shut_out_by_wrong_passwords_is_let_in(house: Office, person: Person, clock: Clock) -> None:
    def signs_in(password: str, host: str) -> int:
        given = msgspec.json.encode({"identifier": person.username, "password": password})
        return ask(house.client, "POST", f"{AUTH}/login", body=[given], host=host).status_code

    for number in range(10):
        assert signs_in("wrong password", f"198.51.100.{number // 4}") == 401
    assert signs_in(PASSWORD, "192.0.2.1") == 429
    assert house.reset(house.code(person), NEW).status_code == 200
    assert signs_in(PASSWORD, "192.0.2.1") == 401
    assert signs_in(NEW, "192.0.2.1") == 200


def test_the_trail_tells_of_the_letter_and_of_the_new_password_and_not_the_code(house: Office, person: Person) -> None:
    code = house.code(person)
    answer = house.reset(code, NEW)
    target = f"users/{person.id}"
    found = house.rows("SELECT * FROM audit WHERE target = ? AND action LIKE 'auth.%reset%' ORDER BY id", target)
    assert [(row["action"], row["actor_id"], row["path"], row["status"]) for row in found] == [
        ("auth.mail_reset", None, None, None),
        ("auth.reset_password", person.id, f"{AUTH}/reset-password", 200),
    ]
    assert found[1]["request_id"] == answer.headers["x-request-id"]
    assert code not in str(house.rows("SELECT * FROM audit"))


def test_a_letter_goes_to_the_address_of_the_account_not_to_the_one_that_was_typed(house: Office) -> None:
    """Some other addresses are the same to us, and somebody else's to a mail server."""
    person = house.person()
    for typed in (address_of(person).upper(), f"\uff50{address_of(person)[1:]}"):  # a wide p
        house.asks(typed)
    (letter,) = house.letters(address_of(person))
    assert letter["to"] == address_of(person)
    assert [one for one in house.letters() if "\uff50" in one["to"] or "PERSON" in one["to"]] == []


KINDS: dict[str, Callable[[Office, Person], None]] = {
    "active": lambda house, person: None,
    "without a password": take_password,
    "pending": lambda house, person: set_status(house, person, "pending"),
    "suspended": lambda house, person: set_status(house, person, "suspended"),
    "inactive": lambda house, person: set_status(house, person, "inactive"),
    "deleted": delete,
}
WRITTEN_TO = ("active", "without a password")


@pytest.fixture(scope="module")
def addresses(house: Office) -> dict[str, str]:
    """An address of each kind: with an account in every state, and without one."""
    found = {"unknown": UNKNOWN}
    for kind, become in KINDS.items():
        person = house.person()
        become(house, person)
        found[kind] = address_of(person)
    return found


def test_whoever_asks_is_told_the_same_whatever_account_there_is(
    house: Office, addresses: dict[str, str], clock: Clock
) -> None:
    """And by the same number of statements before the answer; what else is done, is done later."""
    heard: list[tuple[str, int]] = []
    told: dict[str, Any] = {}
    house.app.state.db.observe = lambda name, statements, _: heard.append((name, statements))
    try:
        for kind, address in addresses.items():
            heard.clear()
            answer = house.forgot(address)
            asked = [job for job in heard if job[0] not in LATER]
            headers = {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}
            told[kind] = (answer.status_code, answer.content, headers, asked)
            house.settle()
    finally:
        house.app.state.db.observe = None
    assert told["unknown"][:2] == (202, b"{}")
    assert [name for name, _ in told["unknown"][3]] == ["ask"]
    assert [kind for kind, found in told.items() if found != told["unknown"]] == []


def test_only_who_may_sign_in_is_written_to(house: Office, addresses: dict[str, str], clock: Clock) -> None:
    clock.at += 3600  # letters of other tests are of no use any more
    for address in addresses.values():
        house.asks(address)
    assert {letter["to"] for letter in house.letters()} == {addresses[kind] for kind in WRITTEN_TO}
    assert house.waiting() == 0


def test_a_username_is_no_address_to_write_to(house: Office, person: Person) -> None:
    refusal(house.forgot(person.username), 400, "VALIDATION_ERROR")


@pytest.mark.slow
def test_an_answer_takes_as_long_whether_there_is_such_an_account_or_not(
    house: Office, addresses: dict[str, str]
) -> None:
    """The writing of a letter is not what is measured: an account gets one a minute, and each asks many times."""
    took_s: dict[str, list[float]] = {kind: [] for kind in addresses}
    for _ in range(60):
        for kind, address in addresses.items():
            begun = time.perf_counter()
            answer = house.forgot(address)
            took_s[kind].append(time.perf_counter() - begun)
            assert answer.status_code == 202
            house.settle()
    medians = {kind: median(times) for kind, times in took_s.items()}
    print("medians of an answer, ms:", {kind: round(1000 * found, 2) for kind, found in medians.items()})
    for found in medians.values():
        assert 0.5 < found / medians["unknown"] < 2, medians


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"email": None},
        {"email": ["ann@example.com"]},
        {"email": ""},
        {"email": "ann"},
        {"email": "ann@example.com\n"},
        {"email": "ann@example.com\r\nBcc: eve@example.com"},
        {"email": "ann@example.com, eve@example.com"},
        {"email": "ann@example.com eve@example.com"},
        {"email": "Ann <ann@example.com>"},
        {"email": "ann@example.com\0"},
        {"email": "ann\u2028@example.com"},
        {"email": "a@b@c"},
        {"email": f"{'a' * 250}@example.com"},
        {"email": "ann@example.com", "url": "https://evil.example"},
    ],
)
def test_what_is_no_address_is_refused_and_nothing_is_noted(house: Office, given: dict[str, Any]) -> None:
    answer = house.post("forgot-password", given)
    refusal(answer, 400, "VALIDATION_ERROR")
    assert house.waiting() == 0


def test_an_account_gets_one_letter_a_minute(house: Office, person: Person, clock: Clock) -> None:
    house.asks(address_of(person))
    clock.at += 59.999
    for _ in range(5):
        house.asks(address_of(person))
    assert len(house.letters(address_of(person))) == codes(house, person) == 1
    clock.at += 0.001
    house.asks(address_of(person))
    assert len(house.letters(address_of(person))) == codes(house, person) == 2


def test_an_account_gets_five_letters_in_half_an_hour(house: Office, person: Person, clock: Clock) -> None:
    for _ in range(25):
        house.asks(address_of(person))
        clock.at += 60
    assert len(house.letters(address_of(person))) == codes(house, person) == 5
    clock.at += 5 * 60  # since the first of them it is half an hour
    house.asks(address_of(person))
    clock.at += 60
    house.asks(address_of(person))
    found = house.rows("SELECT created_at FROM password_resets WHERE user_id = ? ORDER BY id", person.id)
    assert [row["created_at"] for row in found][-2:] == [values.instant(clock.at - 60), values.instant(clock.at)]
    assert len(found) == 5


def test_a_stranger_who_asks_again_takes_nobodys_code_away(house: Office, person: Person, clock: Clock) -> None:
    code = house.code(person)
    for _ in range(28):
        clock.at += 60
        house.asks(address_of(person))
    assert house.reset(code, NEW).status_code == 200


def test_after_a_code_was_used_another_may_be_asked_for_at_once(house: Office, person: Person, clock: Clock) -> None:
    assert house.reset(house.code(person), NEW).status_code == 200
    assert house.reset(house.code(person), PASSWORD).status_code == 200
    assert house.login(identifier=person.username).status_code == 200


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "/token"),
        ({"token": None, "password": NEW}, "/token"),
        ({"token": "", "password": NEW}, "/token"),
        ({"token": "x" * 4097, "password": NEW}, "/token"),
        ({"token": ["CODE"], "password": NEW}, "/token"),
        ({"token": "CODE\0", "password": NEW}, "/token"),
        ({"token": "CODE"}, "/password"),
        ({"token": "CODE", "password": None}, "/password"),
        ({"token": "CODE", "password": NEW, "new_password": NEW}, "/password"),
        ({"token": "CODE", "password": 12345678}, "/password"),
        ({"token": "CODE", "password": "x" * 1001}, "/password"),
        ({"token": "CODE", "password": "short"}, "/password"),
        ({"token": "CODE", "new_password": "short"}, "/password"),
        ({"token": "CODE", "password": "x" * 129}, "/password"),
        ({"token": "CODE", "password": "password1"}, "/password"),
        ({"token": "CODE", "password": "USERNAME"}, "/password"),
        ({"token": "CODE", "password": "USERNAME@example.com"}, "/password"),
        ({"token": "CODE", "password": NEW, "email": UNKNOWN}, "/email"),
    ],
)
def test_a_body_that_sets_no_password_is_refused_and_leaves_the_code_as_it_is(
    house: Office, given: dict[str, Any], field: str
) -> None:
    """The rules of a password are those of the registration."""
    name = f"{house.person().username}-long"
    made = {"email": f"{name}@example.com", "username": name, "name": "Ann", "password": PASSWORD}
    assert house.client.post("/api/v1/users", json=made).status_code == 201
    house.asks(made["email"])
    code = code_in(house.letters(made["email"])[-1]["text"])
    text = msgspec.json.encode(given).decode().replace("CODE", code).replace("USERNAME", name)
    answer = house.post("reset-password", msgspec.json.decode(text))
    document = refusal(answer, 400, "VALIDATION_ERROR")
    assert field in [error["field"] for error in document["errors"]]
    assert code not in answer.text
    assert house.reset(code, NEW).status_code == 200


@pytest.mark.parametrize("kind", ["pending", "suspended", "inactive"])
def test_the_code_of_an_account_that_may_not_sign_in_does_nothing(house: Office, person: Person, kind: str) -> None:
    code = house.code(person)
    KINDS[kind](house, person)
    useless(house.reset(code, NEW), code)
    set_status(house, person, "active")
    refusal(house.login(NEW, identifier=person.username), 401)


def test_the_code_of_a_deleted_account_does_nothing(house: Office, person: Person) -> None:
    code = house.code(person)
    delete(house, person)
    useless(house.reset(code, NEW), code)
    assert codes(house, person) == 0


def test_a_code_that_was_guessed_is_refused_like_any_other_and_never_repeated(house: Office, person: Person) -> None:
    code = house.code(person)
    guesses = [values.new_secret(), code.swapcase(), f"{code} ", f" {code}", code[:-1], f"{code}\n", "' OR 1=1 --"]
    guesses += ["%", "_" * 43, "é" * 43, values.hashed(code), person.pair["refresh_token"], "\U0001f600" * 1000]
    for guess in guesses:
        useless(house.reset(guess, NEW), guess)
    assert house.reset(code, NEW).status_code == 200


def test_a_code_is_refused_before_anything_costly_is_done(house: Office) -> None:
    """Guessing is not paid for with a password hash, nor with a write."""
    heard: list[str] = []
    house.settle()
    house.app.state.db.observe = lambda name, *_: heard.append(name)
    try:
        refusal(house.reset(values.new_secret(), NEW), 400)
    finally:
        house.app.state.db.observe = None
    assert [name for name in heard if name not in LATER] == ["holder"]


def test_a_code_is_for_one_account_whoever_is_signed_in(house: Office, person: Person) -> None:
    """Nobody sets another's password by sending the own code along with the other's session."""
    neighbour = house.person()
    code = house.code(person)
    given = {"token": code, "password": NEW}
    assert house.post("reset-password", given, bearer(neighbour.pair["access_token"])).status_code == 200
    assert house.login(identifier=neighbour.username).status_code == 200
    assert house.login(NEW, identifier=person.username).status_code == 200


def test_codes_are_never_made_twice(house: Office, clock: Clock) -> None:
    person = house.person()
    found = []
    for _ in itertools.repeat(None, 4):
        found.append(house.code(person))
        clock.at += 60
    assert len({*found}) == 4
    assert {code_in(letter["text"]) for letter in house.letters(address_of(person))} == {*found}


def test_what_is_kept_of_a_code_is_its_hash(house: Office, person: Person, clock: Clock) -> None:
    code = house.code(person)
    (row,) = house.rows("SELECT * FROM password_resets WHERE user_id = ?", person.id)
    assert row["code_sha256"] == values.hashed(code)
    assert values.seconds(row["expires_at"]) - values.seconds(row["created_at"]) == recovery.LASTS_S
    assert code not in str(house.rows("SELECT * FROM password_reset_requests")) + str(row)
