"""Rate limits over HTTP: who counts as one caller, what each answer says of it, and what a refused call never meets."""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.values import new_token
from app.web import limits
from tests.accounts import PASSWORD, Person
from tests.house import AUTH, House
from tests.support import Service, ask, claim, configured, refusal
from tests.test_limits import Run

STRANGERS, PEOPLE = 5, 8
VERSION, ME, TOKENS = "/api/v1/version", f"{AUTH}/me", "/api/v1/tokens"
PROBES = ("/health", "/livez", "/readyz")
TOLD = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")


class Box(House):
    """A house with limits; time passes for them when a test says so."""

    run: Run

    def call(
        self,
        path: str = "/hello",
        method: str = "GET",
        *,
        host: str = "192.0.2.1",
        headers: dict[str, str] | None = None,
        given: object = None,
    ) -> httpx2.Response:
        """One call from an address, with these headers and a JSON body or none."""
        pairs = [(name.lower().encode(), text.encode()) for name, text in (headers or {}).items()]
        body = [] if given is None else [msgspec.json.encode(given)]
        if not any(name == b"authorization" for name, _ in pairs):
            pairs.append((b"authorization", b""))
        return ask(self.client, method, path, headers=pairs, body=body, host=host)

    def calls(self, number: int, *arguments: Any, **more: Any) -> list[int]:
        """The statuses of so many calls."""
        return [self.call(*arguments, **more).status_code for _ in range(number)]

    def later(self) -> None:
        """A time that is enough for every window to be empty."""
        self.run.at += 1000

    def newcomer(self, *roles: str) -> Person:
        """Somebody new, with all calls before them."""
        self.later()
        person = self.person(*roles)
        self.later()
        return person


@contextmanager
def limited(folder: Path, **settings: str) -> Iterator[Box]:
    """A claimed appliance with low limits."""
    own = {"RATE_LIMIT_PER_MINUTE": f"{STRANGERS}", "RATE_LIMIT_USER_PER_MINUTE": f"{PEOPLE}"} | settings
    config = configured(folder / "data", **own)
    app = create_app(config)
    with pytest.MonkeyPatch.context() as patch, TestClient(app, client=("127.0.0.1", 50000)) as client:
        run = Run()
        patch.setattr(limits, "monotonic", run)
        client.headers["Authorization"] = f"Token {claim(client)}"
        box = Box(client, app, config)
        box.run = run
        yield box


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    with limited(tmp_path_factory.mktemp("limited")) as box:
        yield box


@pytest.fixture
def box(shared: Box) -> Box:
    """The appliance of this module, where nobody has called for long."""
    shared.later()
    return shared


def quota(answer: httpx2.Response) -> tuple[int, ...]:
    """The limit, what remains, and the seconds until more does; empty where no limit is told."""
    return tuple(int(answer.headers[name]) for name in TOLD if name in answer.headers)


def test_a_stranger_is_told_what_remains_and_then_to_wait(box: Box) -> None:
    for remaining in reversed(range(STRANGERS)):
        answer = box.call()
        assert (answer.status_code, quota(answer)) == (200, (STRANGERS, remaining, 60))
    box.run.at += 12.5
    answer = box.call()
    document = refusal(answer, 429, "TOO_MANY_REQUESTS")
    assert document["detail"] == f"Too many calls: {STRANGERS} a minute are taken; try again in 48 s."
    assert document["retry_after_s"] == int(answer.headers["retry-after"]) == 48
    assert quota(answer) == (STRANGERS, 0, 48)


def test_who_waits_as_long_as_told_is_taken_and_a_second_less_is_too_little(box: Box) -> None:
    for _ in range(STRANGERS):
        box.run.at += 3.25
        box.call()
    wait_s = int(box.call().headers["retry-after"])
    box.run.at += wait_s - 1
    refusal(box.call(), 429, "TOO_MANY_REQUESTS")
    box.run.at += 1
    assert box.calls(2) == [200, 429]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/hello", 200),
        ("HEAD", "/hello", 200),
        ("GET", "/hello?x=1", 400),
        ("GET", "/hello/", 200),
        ("GET", "/none", 404),
        ("GET", "/api/v1/none", 404),
        ("GET", "/", 404),
        ("POST", "/hello", 405),
        ("BREW", "/hello", 405),
        ("OPTIONS", "/hello", 405),
        ("POST", "/health", 405),
        ("GET", VERSION, 401),
        ("GET", "/api/v1/packages/9999", 401),
        ("POST", f"{AUTH}/login", 400),
        ("POST", f"{AUTH}/token", 400),
        ("POST", f"{AUTH}/refresh", 400),
    ],
)
def test_whatever_a_stranger_is_answered_it_counts_and_says_so(box: Box, method: str, path: str, status: int) -> None:
    path, _, query = path.partition("?")
    for remaining in reversed(range(STRANGERS)):
        answer = ask(
            box.client, method, path, query=query.encode(), headers=[(b"authorization", b"")], host="192.0.2.1"
        )
        assert (answer.status_code, quota(answer)) == (status, (STRANGERS, remaining, 60))
    answer = box.call(path, method)
    assert (answer.status_code, answer.headers["retry-after"], quota(answer)) == (429, "60", (STRANGERS, 0, 60))


def test_whatever_somebody_known_is_answered_it_counts_and_says_so(box: Box) -> None:
    kim = box.newcomer("guest")
    asked = [
        ("GET", VERSION, 200),
        ("GET", "/hello", 200),
        ("POST", "/api/v1/packages", 403),
        ("GET", "/api/v1/tokens/9999", 403),
        ("GET", f"{VERSION}?x", 404),
        ("GET", "/none", 404),
        ("PUT", VERSION, 405),
        ("DELETE", f"{AUTH}/sessions/9999", 404),
    ]
    for number, (method, path, status) in enumerate(asked, 1):
        answer = box.call(path, method, headers=kim.headers)
        assert (answer.status_code, quota(answer)) == (status, (PEOPLE, PEOPLE - number, 60)), path
    answer = box.call(VERSION, headers=kim.headers)
    refusal(answer, 429, "TOO_MANY_REQUESTS")
    assert quota(answer) == (PEOPLE, 0, 60)
    assert answer.headers["x-accepted-scopes"] == ""


@pytest.mark.parametrize("has_calls_left", [True, False])
def test_probes_are_neither_counted_nor_limited(box: Box, has_calls_left: bool) -> None:
    """Whoever asks, and be it somebody who has no calls left."""
    kim = box.newcomer()
    if not has_calls_left:
        assert box.calls(STRANGERS + 1)[-1] == 429
        assert box.calls(PEOPLE + 1, VERSION, headers=kim.headers)[-1] == 429
    for headers in ({}, kim.headers, {"Authorization": "Token nonsense"}):
        for path in (*PROBES, *(f"{path}/" for path in PROBES)):
            for method in ("GET", "HEAD"):
                answer = box.call(path, method, headers=headers)
                assert (answer.status_code, quota(answer)) == (200, ()), path
    left = 1 if has_calls_left else 0
    assert quota(box.call()) == (STRANGERS, left * (STRANGERS - 1), 60)
    assert quota(box.call(VERSION, headers=kim.headers)) == (PEOPLE, left * (PEOPLE - 1), 60)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:c000:201", "192.0.2.1", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:DB8:0001:2::1", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("192.0.2.1", "2001:db8::c000:201", False),
    ],
)
def test_a_stranger_counts_by_address_and_an_ipv6_house_as_one(box: Box, one: str, other: str, is_same: bool) -> None:
    assert box.calls(STRANGERS + 1, host=one) == [200] * STRANGERS + [429]
    assert box.call(host=other).status_code == (429 if is_same else 200)


def outdated(box: Box, kim: Person) -> dict[str, str]:
    """A token whose time was over before it was first used."""
    headers = box.token(kim)
    with sqlite3.connect(box.config.database_path) as outside:
        secret = headers["Authorization"].split()[1]
        found = outside.execute(
            "UPDATE tokens SET expires_at = '2020-01-01T00:00:00.000Z' WHERE prefix = ?", (secret[:12],)
        )
        assert found.rowcount == 1
    outside.close()
    return headers


def revoked(box: Box, kim: Person) -> dict[str, str]:
    """A token that its owner has taken back."""
    made = box.client.post(TOKENS, headers=kim.headers).json()
    assert box.client.delete(f"{TOKENS}/{made['id']}", headers=kim.headers).status_code == 200
    return {"Authorization": f"Token {made['token']}"}


def ended(box: Box, kim: Person) -> dict[str, str]:
    """A session that somebody has left."""
    assert box.client.post(f"{AUTH}/logout", json={}, headers=kim.headers).status_code == 200
    return kim.headers


def elsewhere(box: Box, kim: Person) -> dict[str, str]:
    """A token that is good at another address."""
    made = box.client.post(TOKENS, json={"allowed_ips": ["10.9.9.9"]}, headers=kim.headers).json()
    return {"Authorization": f"Token {made['token']}"}


BAD: dict[str, Callable[[Box, Person], dict[str, str]]] = {
    "nonsense": lambda box, kim: {"Authorization": "Token nonsense"},
    "another scheme": lambda box, kim: {"Authorization": "Basic YTpi"},
    "a typo": lambda box, kim: {"Authorization": box.token(kim)["Authorization"][:-1] + "_"},
    "unknown": lambda box, kim: {"Authorization": f"Token {new_token()}"},
    "not a session": lambda box, kim: {"Authorization": kim.headers["Authorization"][:-4] + "AAAA"},
    "outdated": outdated,
    "revoked": revoked,
    "ended": ended,
    "elsewhere": elsewhere,
}


@pytest.mark.parametrize("path", ["/hello", VERSION, "/none"])
@pytest.mark.parametrize("kind", BAD)
def test_a_credential_that_does_not_hold_counts_as_the_stranger_who_sends_it(box: Box, kind: str, path: str) -> None:
    """Also where a credential matters to nobody; and neither the owner nor another address has a call less."""
    kim = box.newcomer()
    good = box.token(kim)
    bad = BAD[kind](box, kim)
    box.later()
    box.call()
    for remaining in reversed(range(STRANGERS - 1)):
        answer = box.call(path, headers=bad)
        assert answer.status_code == {"/hello": 200, "/none": 404}.get(path, 403 if kind == "elsewhere" else 401)
        assert quota(answer) == (STRANGERS, remaining, 60)
    refusal(box.call(path, headers=bad), 429, "TOO_MANY_REQUESTS")
    assert box.calls(1) == [429]
    assert box.calls(1, host="192.0.2.2") == [200]
    assert quota(box.call(VERSION, headers=good)) == (PEOPLE, PEOPLE - 1, 60)


def test_every_token_counts_by_itself_and_the_sessions_of_an_account_together(box: Box) -> None:
    """From wherever they call."""
    kim, ann = box.newcomer(), box.newcomer()
    one, other = box.token(kim), box.token(kim)
    again = {"Authorization": f"Bearer {box.login(username=kim.username).json()['access_token']}"}
    box.later()
    half = PEOPLE // 2
    assert box.calls(half, VERSION, headers=kim.headers) == [200] * half
    assert box.calls(half + 1, VERSION, headers=again, host="198.51.100.7") == [200] * half + [429]
    assert box.calls(1, VERSION, headers=kim.headers) == [429]
    for headers in (one, other, ann.headers):
        assert box.calls(PEOPLE + 1, VERSION, headers=headers) == [200] * PEOPLE + [429]


def test_a_new_session_is_no_new_set_of_calls(box: Box) -> None:
    """Nor is a refreshed one."""
    kim = box.newcomer()
    assert box.calls(PEOPLE, VERSION, headers=kim.headers) == [200] * PEOPLE
    pair = box.refreshed(kim.pair)
    for secret in (pair["access_token"], box.login(username=kim.username).json()["access_token"]):
        refusal(box.call(VERSION, headers={"Authorization": f"Bearer {secret}"}), 429)


def test_one_is_not_limited_by_strangers_at_the_same_address_nor_they_by_one(box: Box) -> None:
    kim = box.newcomer()
    assert box.calls(STRANGERS + 1)[-1] == 429
    assert box.calls(PEOPLE, VERSION, headers=kim.headers) == [200] * PEOPLE
    box.later()
    assert box.calls(PEOPLE + 1, VERSION, headers=kim.headers)[-1] == 429
    assert box.calls(STRANGERS) == [200] * STRANGERS


def test_who_one_is_decides_and_not_which_path_is_called(box: Box) -> None:
    """A public path called with a good credential counts for its owner."""
    kim = box.newcomer()
    assert quota(box.call(headers=kim.headers)) == (PEOPLE, PEOPLE - 1, 60)
    assert quota(box.call()) == (STRANGERS, STRANGERS - 1, 60)


def test_a_person_is_told_the_own_limits(box: Box) -> None:
    kim = box.newcomer()
    for path in (ME, "/api/v1/users/me"):
        box.run.at += 1.5
        answer = box.call(path, headers=kim.headers)
        limit, remaining, reset_s = quota(answer)
        assert answer.json()["limits"] == {
            "requests_per_minute": limit,
            "remaining": remaining,
            "reset_s": reset_s,
        }
    assert (limit, remaining, reset_s) == (PEOPLE, PEOPLE - 2, 59)


def test_the_token_endpoint_says_so_as_rfc_6749_has_it(box: Box) -> None:
    box.calls(STRANGERS)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = box.call(f"{AUTH}/token", "POST", headers=form)
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "error": "temporarily_unavailable",
        "error_description": f"Too many calls: {STRANGERS} a minute are taken; try again in 60 s.",
        "request_id": answer.headers["x-request-id"],
    }
    assert (answer.headers["retry-after"], quota(answer)) == ("60", (STRANGERS, 0, 60))
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("settings", "is_limited"),
    [
        ({"RATE_LIMIT_PER_MINUTE": "0"}, (False, True)),
        ({"RATE_LIMIT_USER_PER_MINUTE": "0"}, (True, False)),
        ({"RATE_LIMIT_PER_MINUTE": "0", "RATE_LIMIT_USER_PER_MINUTE": "0"}, (False, False)),
        ({"RATE_LIMIT_PER_MINUTE": "1", "RATE_LIMIT_USER_PER_MINUTE": "1"}, (True, True)),
    ],
)
def test_each_limit_is_switched_off_by_itself(
    tmp_path: Path, settings: dict[str, str], is_limited: tuple[bool, bool]
) -> None:
    with limited(tmp_path, **settings) as box:
        box.later()
        strangers = [box.call() for _ in range(3 * STRANGERS)]
        people = [box.client.get(ME) for _ in range(3 * PEOPLE)]
    assert ([answers[-1].status_code == 429 for answers in (strangers, people)]) == [*is_limited]
    assert all(bool(quota(answer)) is is_limited[0] for answer in strangers)
    assert all(bool(quota(answer)) is is_limited[1] for answer in people)
    assert (people[0].json()["limits"] is None) is not is_limited[1]


def test_a_page_of_another_origin_can_read_when_to_come_back(box: Box) -> None:
    """What its browser asks beforehand does not count: the page cannot help it."""
    origin = {"Origin": "http://localhost:3000"}
    asked = {**origin, "Access-Control-Request-Method": "GET"}
    assert box.calls(2 * STRANGERS, "/hello", "OPTIONS", headers=asked) == [204] * 2 * STRANGERS
    assert box.calls(STRANGERS, headers=origin) == [200] * STRANGERS
    answer = box.call(headers=origin)
    refusal(answer, 429)
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
    exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
    assert {*TOLD, "retry-after"} <= {*exposed}


def test_a_refused_call_is_refused_before_its_body_is_looked_at(box: Box) -> None:
    box.calls(STRANGERS)
    for path in (f"{AUTH}/login", "/api/v1/packages", "/none"):
        answer = ask(box.client, "POST", path, headers=[(b"authorization", b"")], body=[b"["] * 50, host="192.0.2.1")
        refusal(answer, 429, "TOO_MANY_REQUESTS")


def guess(box: Box, host: str, name: str, password: str) -> httpx2.Response:
    return box.call(f"{AUTH}/login", "POST", host=host, given={"identifier": name, "password": password})


def test_a_guesser_of_passwords_is_limited_and_nobody_else_is(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each try names somebody else, so that no account is shut out; what is refused never costs a hash."""
    kim = box.newcomer()
    hashes = 0
    scrypt = hashlib.scrypt

    def counted(*arguments: Any, **more: Any) -> bytes:
        nonlocal hashes
        hashes += 1
        return scrypt(*arguments, **more)

    monkeypatch.setattr(hashlib, "scrypt", counted)
    statuses = [guess(box, "192.0.2.66", f"somebody{number}", "wrong password").status_code for number in range(40)]
    assert statuses == [401] * STRANGERS + [429] * (40 - STRANGERS)
    assert hashes == STRANGERS
    assert guess(box, "192.0.2.66", kim.username, PASSWORD).status_code == 429
    assert guess(box, "192.0.2.67", kim.username, PASSWORD).status_code == 200
    assert box.calls(1, VERSION, host="192.0.2.66", headers=kim.headers) == [200]


def test_a_guesser_of_tokens_is_limited_too(box: Box) -> None:
    """Whatever path is tried. The owner of a right one, at the same address, still gets in."""
    kim = box.newcomer()
    good = box.token(kim)
    box.later()
    paths = (VERSION, "/hello", "/none", ME, TOKENS)
    statuses = [
        box.call(paths[number % len(paths)], headers={"Authorization": f"Token {new_token()}"}).status_code
        for number in range(40)
    ]
    assert statuses == [401, 200, 404, 401, 401] + [429] * 35
    assert box.calls(1, VERSION, headers=good) == [200]


@pytest.mark.slow
def test_of_many_calls_at_once_exactly_so_many_are_taken(tmp_path: Path) -> None:
    """Over sockets, by several connections: strangers, one token, and the sessions of its owner."""
    service = Service(tmp_path, RATE_LIMIT_PER_MINUTE="20", RATE_LIMIT_USER_PER_MINUTE="50")
    service.start()

    def ask_often(path: str, headers: dict[str, str]) -> list[httpx2.Response]:
        with service.client() as client:
            client.headers.update(headers)
            return [client.get(path) for _ in range(15)]

    def all_at_once(path: str, headers: dict[str, str]) -> list[httpx2.Response]:
        with ThreadPoolExecutor(6) as pool:
            asked = [pool.submit(ask_often, path, headers) for _ in range(6)]
            return [answer for one in asked for answer in one.result(60)]

    try:
        strangers = all_at_once("/hello", {"Authorization": ""})
        people = all_at_once(VERSION, {})
    finally:
        service.stop()
    before = 1  # the claim
    for answers, taken in ((strangers, 20 - before), (people, 50)):
        assert sorted(answer.status_code for answer in answers) == [200] * taken + [429] * (90 - taken)
        left = sorted(quota(answer)[1] for answer in answers if answer.status_code == 200)
        assert left == list(range(taken))
        assert all(0 < int(answer.headers["retry-after"]) <= 60 for answer in answers if answer.status_code == 429)
