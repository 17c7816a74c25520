"""An honest clock: what reads earlier than what is known to be past is not believed, and time is reckoned instead.

Appliances without a battery boot in 1970, and time servers correct them whenever they are reached.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app import values
from app.config import Config
from app.main import create_app
from app.values import SLACK_S, clock_behind_s, instant, not_before, now, seconds, unix
from tests.accounts import PASSWORD, bearer, make_person, sign_in
from tests.house import AUTH, ME, NOBODY
from tests.support import Clock, claim, refusal

BOOT = 12.0
"""What a clock reads soon after it lost the time."""
MINUTE_S, HOUR_S, DAY_S, YEAR_S = 60, 3600, 86400, 365 * 86400
TOKENS, PACKAGES, AUDIT = "/api/v1/tokens", "/api/v1/packages", "/api/v1/audit"


class Machine:
    """An appliance's clock and how far its run has come; stands for the module `time` where time is asked for."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.true_at = clock.at
        self.run_s = 1000.0

    def monotonic(self) -> float:
        return self.run_s

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def passes(self, seconds: float) -> None:
        """Time goes on, for the clock too, whatever it reads."""
        self.true_at += seconds
        self.run_s += seconds
        self.clock.at += seconds

    def loses_the_time(self, at: float = BOOT) -> None:
        self.clock.at = at

    def is_told_the_time(self) -> None:
        self.clock.at = self.true_at

    def boots(self) -> None:
        """All that a process knew is forgotten, and its run begins anew."""
        self.run_s = BOOT
        values._known = values._Known(self.clock.at, self.run_s)


@contextmanager
def machine_of(clock: Clock) -> Iterator[Machine]:
    with pytest.MonkeyPatch.context() as patch:
        machine = Machine(clock)
        patch.setattr(values, "time", machine)
        patch.setattr(values, "clock", clock)
        patch.setattr(values, "_known", values._Known(clock.at, machine.run_s))
        yield machine


@pytest.fixture
def machine(clock: Clock) -> Iterator[Machine]:
    """A machine whose clock is right."""
    with machine_of(clock) as machine:
        yield machine


@pytest.mark.parametrize("set_by_s", [-SLACK_S + 1, -30, -1, -0.001, 0, 0.001, 30, HOUR_S, 10 * YEAR_S])
def test_a_clock_that_is_put_right_is_believed_at_once(machine: Machine, set_by_s: float) -> None:
    machine.passes(DAY_S)
    machine.clock.at += set_by_s
    assert unix() == machine.clock.at
    assert clock_behind_s() == 0
    machine.passes(HOUR_S)
    assert now() == instant(machine.clock.at)


@pytest.mark.parametrize("behind_s", [SLACK_S + 1, HOUR_S, DAY_S, YEAR_S, 50 * YEAR_S])
def test_a_clock_that_is_set_back_further_is_not_believed(machine: Machine, behind_s: float) -> None:
    machine.passes(DAY_S)
    was = unix()
    machine.clock.at -= behind_s
    assert unix() == was
    assert clock_behind_s() == pytest.approx(behind_s)


def test_many_small_steps_back_are_not_believed_for_ever(machine: Machine) -> None:
    was = unix()
    for _ in range(100):
        machine.clock.at -= 30
        assert was - SLACK_S <= unix() <= was
    assert clock_behind_s() > 2900


def test_the_reckoned_time_goes_on_more_slowly_until_the_clock_has_caught_up(machine: Machine) -> None:
    """A clock that nobody puts right is believed again when it has made up for what it was behind."""
    was = unix()
    machine.clock.at -= HOUR_S
    unix()
    machine.passes(HOUR_S)
    assert unix() == pytest.approx(was + HOUR_S / 2)
    machine.passes(HOUR_S - 1)
    assert unix() > machine.clock.at
    machine.passes(2)
    assert unix() == machine.clock.at == pytest.approx(was + HOUR_S + 1)
    machine.passes(HOUR_S)
    assert unix() == machine.clock.at


def test_a_clock_that_was_years_ahead_is_believed_when_it_is_put_right(machine: Machine) -> None:
    machine.clock.at += 10 * YEAR_S
    assert unix() == machine.clock.at
    machine.passes(HOUR_S)
    machine.is_told_the_time()
    assert unix() == machine.true_at
    assert clock_behind_s() == 0


def test_what_is_known_to_be_past_is_never_made_earlier(machine: Machine) -> None:
    not_before(machine.true_at - YEAR_S)
    assert unix() == machine.true_at
    not_before(machine.true_at + YEAR_S)
    not_before(machine.true_at + HOUR_S)
    assert unix() == machine.true_at + YEAR_S
    assert clock_behind_s() == YEAR_S


STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 200), st.integers(0, YEAR_S)), max_size=30)
"""Whether the clock is right, after how long, and what it reads otherwise: all together less than a leap."""


@given(STEPS)
def test_a_clock_that_is_right_or_has_lost_the_time_never_makes_time_go_back(
    steps: list[tuple[bool, int, int]],
) -> None:
    """Nor ahead of the truth; and whenever it is right it is believed."""
    clock = Clock()
    clock.at = float(int(clock.at))  # whole seconds are added up exactly
    with machine_of(clock) as machine:
        last = unix()
        for is_right, passed_s, reads in steps:
            machine.passes(passed_s)
            machine.loses_the_time(machine.true_at if is_right else reads)
            found = unix()
            assert last <= found <= machine.true_at
            assert not is_right or found == machine.true_at
            last = found


def test_threads_that_ask_during_a_jump_see_no_time_go_back(clock: Clock) -> None:
    """By the machine's own run, and with threads that change places all the time."""
    right = clock.at
    ended = threading.Event()
    drops: list[float] = []

    def watch() -> None:
        last, drop = seconds(now()), 0.0
        while not ended.is_set():
            found = seconds(now())
            drop, last = max(drop, last - found), max(last, found)
        drops.append(drop)

    watchers = [threading.Thread(target=watch) for _ in range(4)]
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for watcher in watchers:
            watcher.start()
        for _ in range(300):
            for reads in (BOOT, right, right - HOUR_S, right + 1):
                clock.at = reads
                now()
    finally:
        ended.set()
        for watcher in watchers:
            watcher.join(60)
        sys.setswitchinterval(interval_s)
    assert len(drops) == 4
    assert max(drops) <= SLACK_S


@pytest.fixture
def box(machine: Machine, client: TestClient) -> TestClient:
    """A claimed appliance on that machine; its caller's token never expires."""
    return client


def minted(client: TestClient, days: int = 1) -> dict[str, str]:
    """A new token that is good for so many days, as a header."""
    answer = client.post(TOKENS, json={"expires_in_days": days})
    assert answer.status_code == 201, answer.text
    return {"Authorization": f"Token {answer.json()['token']}"}


def refreshed(client: TestClient, pair: dict[str, Any]) -> httpx2.Response:
    return client.post(f"{AUTH}/refresh", json={"refresh_token": pair["refresh_token"]}, headers=NOBODY)


def forget_callers(client: TestClient) -> None:
    """Has every credential looked up anew: a revocation empties the cache."""
    made = client.post(TOKENS).json()
    assert client.delete(f"{TOKENS}/{made['id']}").status_code == 200


def let_in(client: TestClient, *callers: dict[str, str]) -> bool:
    """Whether all of them are known, from the cache and looked up anew."""
    statuses = [client.get(ME, headers=headers).status_code for headers in callers]
    forget_callers(client)
    statuses += [client.get(ME, headers=headers).status_code for headers in callers]
    return statuses == [200] * 2 * len(callers)


def refused(client: TestClient, why: str, *callers: dict[str, str]) -> None:
    """Checks that none of them is known, for this reason."""
    for _ in range(2):
        for headers in callers:
            assert refusal(client.get(ME, headers=headers), 401, "UNAUTHORIZED")["detail"] == why
        forget_callers(client)


def clock_check(client: TestClient) -> str:
    """What /readyz says of the clock, which alone makes nothing unavailable."""
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    return str(answer.json()["checks"]["clock"])


JUMPS = pytest.mark.parametrize("behind_s", [HOUR_S, YEAR_S, 50 * YEAR_S], ids=["hour", "year", "1970"])


@JUMPS
def test_nothing_expires_while_the_clock_is_wrong_and_all_that_was_made_meanwhile_holds(
    machine: Machine, box: TestClient, config: Config, behind_s: float
) -> None:
    kim = make_person(box, config, "kim")
    token = minted(box)
    assert let_in(box, token, kim.headers)
    machine.passes(MINUTE_S)
    machine.loses_the_time(max(BOOT, machine.true_at - behind_s))
    assert let_in(box, token, kim.headers)
    renewed = refreshed(box, kim.pair)
    assert renewed.status_code == 200
    again = sign_in(box, "kim")
    meanwhile = (minted(box), bearer(renewed.json()["access_token"]), bearer(again["access_token"]))
    assert let_in(box, *meanwhile)
    machine.passes(MINUTE_S)
    machine.is_told_the_time()
    assert let_in(box, token, kim.headers, *meanwhile)
    assert refreshed(box, renewed.json()).status_code == 200
    assert refreshed(box, again).status_code == 200
    assert clock_check(box) == "ok"


@JUMPS
def test_what_has_expired_does_not_come_alive_again(
    machine: Machine, box: TestClient, config: Config, behind_s: float
) -> None:
    kim = make_person(box, config, "kim")
    token = minted(box)
    assert let_in(box, token, kim.headers)
    machine.passes(8 * DAY_S)
    refused(box, "Token expired", token, kim.headers)
    machine.loses_the_time(max(BOOT, machine.true_at - behind_s))
    refused(box, "Token expired", token, kim.headers)
    refusal(refreshed(box, kim.pair), 401, "UNAUTHORIZED")
    assert box.get(TOKENS, params={"state": "expired"}).json()[0]["state"] == "expired"


def test_what_is_good_for_a_time_expires_also_while_the_clock_is_wrong(
    machine: Machine, box: TestClient, config: Config
) -> None:
    """Later, since time is reckoned slowly: never early, and not never."""
    kim = make_person(box, config, "kim")
    token = minted(box)
    machine.loses_the_time()
    assert let_in(box, token, kim.headers)
    machine.passes(1.5 * DAY_S)
    refused(box, "Token expired", kim.headers)
    assert let_in(box, token)
    machine.passes(0.6 * DAY_S)
    refused(box, "Token expired", token)


def test_readiness_says_that_the_clock_is_wrong_until_it_is_right(machine: Machine, box: TestClient) -> None:
    assert clock_check(box) == "ok"
    machine.clock.at -= SLACK_S - 1
    assert clock_check(box) == "ok"
    machine.loses_the_time()
    behind_s = machine.true_at - BOOT
    assert clock_check(box) == f"reads {behind_s:.0f} s before the time that is known; not believed"
    machine.is_told_the_time()
    assert clock_check(box) == "ok"


def test_the_trail_tells_in_the_order_in_which_things_happened(machine: Machine, box: TestClient) -> None:
    """Also reads, whose rows come in batches; and nothing happened in 1970."""
    begun = instant(machine.true_at)

    def act(name: str) -> None:
        for number in range(3):
            machine.passes(1)
            made = box.post(PACKAGES, json={"name": name, "version": f"1.{number}"})
            assert made.status_code == 201
            assert made.json()["created_at"] >= begun
            assert box.get(made.headers["location"], headers={"X-Request-ID": f"{name}-{number}"}).status_code == 200

    act("before")
    machine.loses_the_time()
    act("meanwhile")
    machine.is_told_the_time()
    act("after")
    written = box.get(AUDIT, params={"after": 0, "limit": 1000}).json()
    newest_first = box.get(AUDIT, params={"limit": 1000}).json()
    told = [row["request_id"] for row in written if (row["path"] or "").startswith(f"{PACKAGES}/")]
    assert told == [f"{name}-{number}" for name in ("before", "meanwhile", "after") for number in range(3)]
    instants = [row["at"] for row in written]
    assert instants == sorted(instants)
    assert begun <= instants[0] <= instants[-1] <= instant(machine.true_at)
    assert [row["id"] for row in newest_first[-len(written) :]] == [row["id"] for row in reversed(written)]


def guess(client: TestClient, password: str = "wrong password") -> httpx2.Response:  # noqa: S107
    return client.post(f"{AUTH}/login", json={"identifier": "kim", "password": password}, headers=NOBODY)


@pytest.mark.parametrize("begins", ["before", "meanwhile"])
def test_a_shut_out_guesser_gets_in_again_while_the_clock_is_wrong_and_no_sooner(
    machine: Machine, box: TestClient, config: Config, begins: str
) -> None:
    make_person(box, config, "kim")
    if begins == "meanwhile":
        machine.loses_the_time()
    for _ in range(5):
        refusal(guess(box), 401)
    machine.loses_the_time()
    wait_s = int(guess(box, PASSWORD).headers["retry-after"])
    assert wait_s == 300
    machine.passes(wait_s - 1)
    refusal(guess(box, PASSWORD), 429, "TOO_MANY_REQUESTS")
    machine.passes(wait_s + 1)
    assert guess(box, PASSWORD).status_code == 200


def test_a_shut_out_guesser_waits_no_longer_when_the_clock_is_put_right(
    machine: Machine, box: TestClient, config: Config
) -> None:
    make_person(box, config, "kim")
    machine.loses_the_time()
    for _ in range(5):
        refusal(guess(box), 401)
    machine.passes(HOUR_S)
    machine.is_told_the_time()
    assert guess(box, PASSWORD).status_code == 200


def test_an_hour_of_a_clock_years_ahead_costs_nothing_for_good(
    machine: Machine, box: TestClient, config: Config
) -> None:
    """What had expired by it is good again, and so is what is made after."""
    kim = make_person(box, config, "kim")
    token = minted(box)
    machine.loses_the_time(machine.true_at + 10 * YEAR_S)
    refused(box, "Token expired", token, kim.headers)
    machine.passes(MINUTE_S)
    machine.is_told_the_time()
    assert let_in(box, token, kim.headers, minted(box))
    assert clock_check(box) == "ok"
    made = box.post(PACKAGES, json={"name": "vim", "version": "9.1"}).json()
    assert made["created_at"] == instant(machine.true_at)


@contextmanager
def started(config: Config) -> Iterator[TestClient]:
    """The service as a process of its own would be, on this data folder; its caller has no token yet."""
    with TestClient(create_app(config), client=("127.0.0.1", 50000)) as client:
        yield client


def test_a_service_that_boots_in_1970_knows_the_newest_row_of_the_trail(machine: Machine, config: Config) -> None:
    with started(config) as client:
        own = {"Authorization": f"Token {claim(client)}"}
        client.headers.update(own)
        kim = make_person(client, config, "kim")
        over, good = minted(client, days=1), minted(client, days=30)
        machine.passes(2 * DAY_S)
        refused(client, "Token expired", over)
        newest = instant(machine.true_at)
    machine.passes(DAY_S)
    machine.loses_the_time()
    machine.boots()
    with started(config) as client:
        client.headers.update(own)
        machine.passes(1)
        assert clock_check(client).endswith(" s before the time that is known; not believed")
        assert let_in(client, good)
        refused(client, "Token expired", over, kim.headers)
        assert refreshed(client, kim.pair).status_code == 200
        meanwhile = minted(client, days=2)
        made = client.post(PACKAGES, json={"name": "vim", "version": "9.1"}).json()
        assert made["created_at"] >= newest
        machine.passes(MINUTE_S)
        machine.is_told_the_time()
        assert clock_check(client) == "ok"
        assert let_in(client, good, meanwhile)
        rows = client.get(AUDIT, params={"after": 0, "limit": 1000}).json()
        assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)


def test_a_service_that_boots_in_1970_time_and_again_never_loses_more_than_it_was_away(
    machine: Machine, config: Config
) -> None:
    """Each run knows what the run before has written, though no clock was ever right in between."""
    with started(config) as client:
        own = {"Authorization": f"Token {claim(client)}"}
    newest = machine.true_at
    for run in range(4):
        machine.loses_the_time()
        machine.boots()
        with started(config) as client:
            client.headers.update(own)
            machine.passes(DAY_S)
            made = client.post(PACKAGES, json={"name": "vim", "version": f"1.{run}"}).json()
            assert seconds(made["created_at"]) == pytest.approx(newest + DAY_S / 2, abs=1)
            newest = seconds(made["created_at"])


def test_a_new_appliance_that_knows_no_time_at_all_works_and_is_then_told_it(machine: Machine, config: Config) -> None:
    machine.loses_the_time()
    machine.boots()
    with started(config) as client:
        client.headers["Authorization"] = f"Token {claim(client)}"
        assert clock_check(client) == "ok"
        assert let_in(client, minted(client))
        machine.is_told_the_time()
        assert clock_check(client) == "ok"
        assert let_in(client, minted(client), dict(client.headers))
        made = client.post(PACKAGES, json={"name": "vim", "version": "9.1"}).json()
        assert made["created_at"] == instant(machine.true_at)
