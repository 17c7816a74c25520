"""Guessing of passwords: slowed down for whoever guesses, never for the owner, and telling nothing meanwhile."""

import http.client
import os
import re
import selectors
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import httpx2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app import values
from app.auth import service as auth
from app.auth.guessing import FROM_ANYWHERE, FROM_ONE_PLACE, Rule, shut_out_s
from app.auth.service import WrongPassword
from app.auth.structs import Device
from tests.accounts import PASSWORD, Person
from tests.house import AUTH, House
from tests.support import Clock, Service, ask, refusal

WRONG = "wrong password"
HOME = "127.0.0.1"
"""Where everybody has signed in before."""
ELSEWHERE = "192.0.2.1"
DAY_S = 86400
AT = 1_800_000_000


def instants(*seconds: float) -> list[str]:
    """So many seconds after AT, newest first."""
    return [values.instant(AT + second) for second in sorted(seconds, reverse=True)]


@pytest.mark.parametrize(
    ("rule", "failures", "now", "expected_s"),
    [
        (FROM_ONE_PLACE, (), 0, 0),
        (FROM_ONE_PLACE, (0, 0, 0, 0), 0, 0),
        (FROM_ONE_PLACE, (0, 0, 0, 0, 0), 0, 300),
        (FROM_ONE_PLACE, (0, 75, 150, 225, 300), 300, 300),
        (FROM_ONE_PLACE, (0, 75, 150, 225, 301), 301, 0),
        (FROM_ONE_PLACE, (0, 0, 0, 0, 100), 399, 1),
        (FROM_ONE_PLACE, (0, 0, 0, 0, 100), 400, 0),
        (FROM_ONE_PLACE, (0, 0, 0, 0, 100), 10**6, 0),
        (FROM_ONE_PLACE, (0, 0, 0, 0, 0), -1000, 300),
        (FROM_ANYWHERE, (0,) * 9, 0, 0),
        (FROM_ANYWHERE, (0,) * 10, 1, 1799),
        (FROM_ANYWHERE, (*range(0, 2000, 200),), 1800, 1800),
        (FROM_ANYWHERE, (*range(0, 2010, 201),), 1809, 0),
    ],
)
def test_so_long_is_somebody_shut_out(rule: Rule, failures: tuple[int, ...], now: int, expected_s: int) -> None:
    assert shut_out_s(rule, instants(*failures), *instants(now)) == expected_s


SOME_FAILURES = st.lists(st.integers(0, 4000), max_size=15)


@given(st.sampled_from([FROM_ONE_PLACE, FROM_ANYWHERE]), SOME_FAILURES, st.integers(-5000, 10_000))
def test_nobody_is_shut_out_for_longer_than_the_rule_says(rule: Rule, failures: list[int], now: int) -> None:
    """Whatever the clock says; and who waits as long as told is let in."""
    latest = instants(*failures)[: rule.failures]
    wait_s = shut_out_s(rule, latest, *instants(now))
    assert 0 <= wait_s <= rule.window_s
    if now >= max(failures, default=0):
        assert shut_out_s(rule, latest, *instants(now + wait_s)) == 0
        assert wait_s <= 1 or shut_out_s(rule, latest, *instants(now + wait_s - 1)) == 1


@given(st.sampled_from([FROM_ONE_PLACE, FROM_ANYWHERE]), SOME_FAILURES, st.integers(0, 4000))
def test_a_further_failure_never_shortens_the_wait(rule: Rule, failures: list[int], another: int) -> None:
    now = instants(4000)[0]
    before = shut_out_s(rule, instants(*failures)[: rule.failures], now)
    assert shut_out_s(rule, instants(*failures, another)[: rule.failures], now) >= before


@given(SOME_FAILURES, st.integers(0, 5000))
def test_who_is_shut_out_has_failed_so_often_within_the_window(failures: list[int], now: int) -> None:
    latest = [second for second in sorted(failures, reverse=True) if second <= now]
    often = any(
        newest - oldest <= FROM_ONE_PLACE.window_s
        for newest, oldest in zip(latest[:1], latest[FROM_ONE_PLACE.failures - 1 :], strict=False)
    )
    lately = bool(latest) and now - latest[0] < FROM_ONE_PLACE.window_s
    shown = instants(*latest)[: FROM_ONE_PLACE.failures]
    assert (shut_out_s(FROM_ONE_PLACE, shown, *instants(now)) > 0) is (often and lately)


@pytest.fixture
def person(house: House) -> Person:
    """Somebody who has signed in from HOME."""
    return house.person()


def guess(client: TestClient, name: str, password: str = WRONG, host: str = ELSEWHERE) -> httpx2.Response:
    """One try to sign in from some address."""
    given = msgspec.json.encode({"identifier": name, "password": password})
    return ask(client, "POST", f"{AUTH}/login", body=[given], host=host)


def wait_s(answer: httpx2.Response) -> int:
    """How long a refused guesser is told to wait."""
    refusal(answer, 429, "TOO_MANY_REQUESTS")
    return int(answer.headers["retry-after"])


def fail(house: House, name: str, times: int, host: str = ELSEWHERE) -> None:
    for _ in range(times):
        refusal(guess(house.client, name, host=host), 401)


def fail_everywhere(house: House, name: str, times: int = 10) -> None:
    """Wrong passwords, each from another address."""
    for number in range(times):
        fail(house, name, 1, f"198.51.100.{number}")


def signs_in(house: House, name: str, host: str) -> bool:
    answer = guess(house.client, name, PASSWORD, host)
    assert answer.status_code in (200, 429), answer.text
    return answer.status_code == 200


def test_after_five_wrong_ones_it_works_again_exactly_when_told(house: House, person: Person, clock: Clock) -> None:
    for _ in range(5):
        fail(house, person.username, 1)
        clock.at += 30.3
    told_s = wait_s(guess(house.client, person.username))
    assert told_s == 270
    clock.at += told_s - 1
    assert wait_s(guess(house.client, person.username, PASSWORD)) == 1
    clock.at += 1
    assert signs_in(house, person.username, ELSEWHERE)


def test_meanwhile_the_right_password_is_refused_like_a_wrong_one(house: House, person: Person, clock: Clock) -> None:
    fail(house, person.username, 5)
    wrong, right = (guess(house.client, person.username, password) for password in (WRONG, PASSWORD))
    told, found = refusal(wrong, 429), refusal(right, 429)
    assert told | {"request_id": ""} == found | {"request_id": ""}
    assert wait_s(wrong) == wait_s(right) == 300
    assert told["retry_after_s"] == 300


def test_tries_while_shut_out_do_not_prolong_it(house: House, person: Person, clock: Clock) -> None:
    fail(house, person.username, 5)
    for _ in range(9):
        clock.at += 30
        wait_s(guess(house.client, person.username))
    clock.at += 30
    assert signs_in(house, person.username, ELSEWHERE)


def test_a_right_one_forgives_the_wrong_ones_before(house: House, person: Person, clock: Clock) -> None:
    for _ in range(4):
        fail(house, person.username, 4)
        assert signs_in(house, person.username, ELSEWHERE)


def test_slow_guesses_are_not_shut_out(house: House, person: Person, clock: Clock) -> None:
    for _ in range(9):
        fail(house, person.username, 1)
        clock.at += 76
    assert signs_in(house, person.username, ELSEWHERE)


def test_email_and_username_of_an_account_count_together(house: House, person: Person, clock: Clock) -> None:
    fail(house, person.username, 2)
    fail(house, person.username.upper(), 1)
    fail(house, f"{person.username}@example.com", 2)
    for name in (person.username, f"{person.username}@EXAMPLE.com"):
        wait_s(guess(house.client, name, PASSWORD))
    assert signs_in(house, person.username, "192.0.2.2")


def test_the_token_endpoint_counts_with_the_rest(house: House, person: Person, clock: Clock) -> None:
    fail(house, person.username, 5)
    form = f"grant_type=password&username={person.username}&password={PASSWORD}".encode()
    typed = (b"content-type", b"application/x-www-form-urlencoded")
    answer = ask(house.client, "POST", f"{AUTH}/token", headers=[typed], body=[form], host=ELSEWHERE)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "300")


def test_ten_from_anywhere_shut_everybody_out_but_the_places_known(house: House, person: Person, clock: Clock) -> None:
    fail_everywhere(house, person.username)
    assert wait_s(guess(house.client, person.username, PASSWORD)) == 1800
    assert signs_in(house, person.username, HOME)
    clock.at += 1799
    assert wait_s(guess(house.client, person.username, PASSWORD)) == 1
    assert signs_in(house, person.username, HOME)
    clock.at += 1
    assert signs_in(house, person.username, ELSEWHERE)


def test_a_place_is_known_for_thirty_days_after_the_last_time(house: House, person: Person, clock: Clock) -> None:
    for days in (29, 29, 31):
        clock.at += days * DAY_S
        fail_everywhere(house, person.username)
        assert signs_in(house, person.username, HOME) is (days < 30)
        assert not signs_in(house, person.username, ELSEWHERE)


def test_a_known_place_is_shut_out_by_its_own_guesses(house: House, person: Person, clock: Clock) -> None:
    fail(house, person.username, 5, HOME)
    assert wait_s(guess(house.client, person.username, PASSWORD, HOME)) == 300
    assert signs_in(house, person.username, ELSEWHERE)


def test_the_place_of_one_account_is_not_known_to_another(house: House, person: Person, clock: Clock) -> None:
    neighbour = house.person()
    assert signs_in(house, neighbour.username, ELSEWHERE)
    fail_everywhere(house, person.username)
    assert not signs_in(house, person.username, ELSEWHERE)
    assert signs_in(house, neighbour.username, "192.0.2.9")


def test_the_addresses_of_one_ipv6_network_count_as_one(house: House, person: Person, clock: Clock) -> None:
    for number in range(5):
        fail(house, person.username, 1, f"2001:db8:0:1:{number}::7")
    assert not signs_in(house, person.username, "2001:db8:0:1:ffff:ffff:ffff:ffff")
    assert signs_in(house, person.username, "2001:db8:0:2::7")


def test_an_ipv4_address_is_the_same_when_written_as_ipv6(house: House, person: Person, clock: Clock) -> None:
    fail(house, person.username, 3)
    fail(house, person.username, 2, f"::ffff:{ELSEWHERE}")
    assert not signs_in(house, person.username, ELSEWHERE)
    assert signs_in(house, person.username, "::ffff:192.0.2.2")


def heard(house: House, name: str, hosts: list[str]) -> list[tuple[int, dict[str, Any], str | None]]:
    """What a guesser is told at each try."""
    answers = [guess(house.client, name, host=host) for host in hosts]
    return [
        (answer.status_code, answer.json() | {"request_id": ""}, answer.headers.get("retry-after"))
        for answer in answers
    ]


@pytest.mark.parametrize("form", ["{}", "{}@example.com"])
@pytest.mark.parametrize("hosts", [[ELSEWHERE] * 7, [f"198.51.100.{number}" for number in range(12)]], ids=len)
def test_an_account_that_does_not_exist_behaves_alike(
    house: House, person: Person, clock: Clock, hosts: list[str], form: str
) -> None:
    known = heard(house, form.format(person.username), hosts)
    assert [status for status, *_ in known] == [401] * (5 if len(hosts) == 7 else 10) + [429] * 2
    assert heard(house, form.format(f"no-{person.username}"), hosts) == known


def test_what_was_typed_for_no_account_is_kept_nowhere(house: House, person: Person, clock: Clock) -> None:
    """It may have been a password, in the wrong field."""
    typed = f"My Secret {person.username}"
    fail(house, typed, 5)
    for table, column in (("sign_in_failures", "subject"), ("audit", "target"), ("audit", "reason")):
        for row in house.rows(f"SELECT {column} AS text FROM {table} WHERE {column} IS NOT NULL"):  # noqa: S608
            assert person.username not in row["text"].lower()
    last = house.rows("SELECT subject FROM sign_in_failures ORDER BY id DESC LIMIT 1")[0]["subject"]
    assert re.fullmatch(r"unknown/[0-9a-f]{32}", last)
    (row,) = house.rows("SELECT * FROM audit WHERE target = ? ORDER BY id DESC LIMIT 1", last)
    assert (row["action"], row["status"], row["ip"]) == ("auth.sign_in", 401, ELSEWHERE)
    assert row["reason"] == "Unknown account; shut out for a while"


def test_an_account_that_goes_while_its_password_is_checked_is_told_like_a_wrong_one(
    house: House, person: Person, clock: Clock
) -> None:
    db, device = house.app.state.db, Device(HOME, HOME, "")
    portal = house.client.portal
    assert portal is not None
    attempt = portal.call(db.read, auth.begin, person.username, device, house.app.state.sessions.key)
    assert house.client.delete(f"/api/v1/users/{person.id}").status_code == 204
    with pytest.raises(WrongPassword, match="Wrong identifier or password"):
        portal.call(db.write, auth.sign_in, attempt, True, None, device, None, 60)


def test_failures_are_forgotten_after_a_day(house: House, person: Person, clock: Clock) -> None:
    for number in range(20):
        fail(house, f"nobody-{person.username}-{number}", 3)
    clock.at += DAY_S + 0.001
    fail(house, person.username, 1)
    older = values.instant(clock.at - DAY_S)
    assert house.rows("SELECT id FROM sign_in_failures WHERE at < ?", older) == []


def test_a_clock_that_is_set_back_shuts_nobody_out_for_longer(house: House, person: Person, clock: Clock) -> None:
    """From years ahead, as a clock without a battery comes back from the network's time."""
    begun_at = clock.at
    clock.at += 1000 * DAY_S
    fail(house, person.username, 5)
    fail_everywhere(house, person.username, 5)
    clock.at = begun_at
    assert signs_in(house, person.username, ELSEWHERE)
    fail(house, person.username, 5)
    assert wait_s(guess(house.client, person.username, PASSWORD)) == 300
    clock.at -= 10
    assert signs_in(house, person.username, ELSEWHERE) or wait_s(guess(house.client, person.username)) <= 300
    clock.at += 310
    assert signs_in(house, person.username, ELSEWHERE)


def test_the_owner_is_never_shut_out_at_home_by_somebody_elsewhere(house: House, person: Person, clock: Clock) -> None:
    """Six hours of guesses from everywhere; at home it works each time, a typing error included."""
    told = []
    for hour in range(6):
        for minute in range(60):
            told.append(guess(house.client, person.username, host=f"203.0.{hour}.{minute}").status_code)
            clock.at += 60
        fail(house, person.username, 2, HOME)
        assert signs_in(house, person.username, HOME)
    assert set(told) == {401, 429}
    assert told.count(401) < 6 * 20


def memory_mib(pid: int, name: str) -> float:
    """A figure of a process's memory, as /proc tells it."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found.group(1)) / 1024


class Crowd:
    """Sign-ins with these passwords that are all sent before the first one is answered, on a connection each."""

    def __init__(self, url: str, passwords: Sequence[str]) -> None:
        host, port = url.removeprefix("http://").split(":")
        self.answers = [b""] * len(passwords)
        self._waiting = selectors.DefaultSelector()
        for number, password in enumerate(passwords):
            body = msgspec.json.encode({"identifier": "ann", "password": password})
            head = f"POST {AUTH}/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            wire = socket.create_connection((host, int(port)), timeout=30)
            wire.sendall(head.encode() + body)
            wire.setblocking(False)
            self._waiting.register(wire, selectors.EVENT_READ, number)

    def wait(self, seconds: float) -> bool:
        """Takes what comes within this time; False once all are answered."""
        for key, _ in self._waiting.select(seconds):
            wire: Any = key.fileobj
            if more := wire.recv(65536):
                self.answers[key.data] += more
                continue
            self._waiting.unregister(wire)
            wire.close()
        return bool(self._waiting.get_map())

    @property
    def statuses(self) -> list[int]:
        return [int(answer.split()[1]) for answer in self.answers]


@pytest.fixture
def real(service: Service) -> Service:
    """A service of its own, with hashes that cost what they cost, where `ann` has signed in from HOME."""
    service.settings |= {"TRUSTED_PROXIES": HOME}
    service.start()
    with service.client() as client:
        new = {"email": "ann@example.com", "username": "ann", "name": "Ann", "password": PASSWORD}
        client.post("/api/v1/users", json=new).raise_for_status()
        client.post(f"{AUTH}/login", json={"identifier": "ann", "password": PASSWORD}).raise_for_status()
    return service


@pytest.mark.slow
def test_of_forty_guesses_at_once_five_get_a_verdict(real: Service) -> None:
    """The right one among them, which began before anybody was shut out, comes too late."""
    crowd = Crowd(real.url, [WRONG] * 40 + [PASSWORD])
    begun = time.monotonic()
    while crowd.wait(1):
        assert time.monotonic() - begun < 120
    assert sorted(crowd.statuses) == [401] * 5 + [429] * 36
    assert crowd.statuses[-1] == 429
    with real.client() as client:
        elsewhere = {"X-Forwarded-For": ELSEWHERE}
        right = {"identifier": "ann", "password": PASSWORD}
        assert client.post(f"{AUTH}/login", json=right).status_code == 429
        assert client.post(f"{AUTH}/login", json=right, headers=elsewhere).status_code == 200


def processor_s(service: Service) -> float:
    """The processor's time that a service has had, in all its threads."""
    assert service.process is not None
    fields = Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # proc(5): utime and stime


@pytest.mark.slow
def test_a_guess_takes_as_long_whether_there_is_such_an_account_or_not(real: Service) -> None:
    """Told by the processor's time: that of the clock depends on what else runs on the machine."""
    names = ("ann", "nobody", "nobody@example.com", "admin")  # the last one has no password
    took_s = dict.fromkeys(names, 0.0)
    with real.client() as client:
        for number in range(9):
            for name in names:
                given, headers = {"identifier": name, "password": WRONG}, {"X-Forwarded-For": f"192.0.2.{number}"}
                begun = processor_s(real)
                refusal(client.post(f"{AUTH}/login", json=given, headers=headers), 401)
                took_s[name] += processor_s(real) - begun
    print("nine failed sign-ins, ms of the processor:", {name: round(1000 * took) for name, took in took_s.items()})
    for name in names[1:]:
        assert 0.7 < took_s[name] / took_s["ann"] < 1.4, took_s


def polled(connection: http.client.HTTPConnection, path: str, headers: dict[str, str]) -> float:
    """How long a GET took, in seconds."""
    begun = time.perf_counter()
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200
    return time.perf_counter() - begun


@pytest.mark.slow
def test_two_hundred_sign_ins_at_once_are_answered_and_disturb_nobody(real: Service) -> None:
    assert real.process is not None
    with real.client() as client:
        package_id = client.post("/api/v1/packages", json={"name": "tool", "version": "1.0.0"}).json()["id"]
    connection = http.client.HTTPConnection(real.url.removeprefix("http://"), timeout=30)
    headers = {"Authorization": f"Token {real.token}"}
    before_mib, begun = memory_mib(real.process.pid, "VmRSS"), time.monotonic()
    crowd = Crowd(real.url, [PASSWORD] * 200)
    waits: list[float] = []
    while crowd.wait(0.005):
        assert time.monotonic() - begun < 300
        waits += [polled(connection, path, headers) for path in ("/health", f"/api/v1/packages/{package_id}")]
    connection.close()
    took_s, grown_mib = time.monotonic() - begun, memory_mib(real.process.pid, "VmHWM") - before_mib
    waits.sort()
    p99 = waits[len(waits) * 99 // 100]
    print(
        f"200 sign-ins in {took_s:.1f} s; {len(waits)} polls meanwhile: median {1000 * median(waits):.1f} ms, "
        f"p99 {1000 * p99:.1f} ms, worst {1000 * waits[-1]:.1f} ms; memory {before_mib:.1f} MiB + {grown_mib:.1f} MiB"
    )
    assert crowd.statuses == [200] * 200
    assert p99 < 0.25
    assert grown_mib < 60
