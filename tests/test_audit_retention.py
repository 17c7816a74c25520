"""What bounds the trail: age and number of rows; and that a clock that errs does not cost what happened."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.audit import retention
from app.config import Config
from app.main import Purser, create_app
from app.values import instant
from tests.support import Clock, claim, configured, rows
from tests.test_audit_reading import write

DAY_S = 86400.0
READ = {"kind": "call", "authorized": 1, "status": 200}
REFUSED = {"kind": "call", "authorized": 0, "status": 403}
CHANGE = {"kind": "change", "authorized": 1, "status": 201}


class Times:
    """The clock, and how long the machine has run: they go together until somebody sets the clock."""

    def __init__(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = clock
        self.ran_s = 0.0
        monkeypatch.setattr(retention, "monotonic", lambda: time.monotonic() + self.ran_s)

    def go_by(self, days: float) -> None:
        self.clock.at += days * DAY_S
        self.ran_s += days * DAY_S

    def leap(self, days: float) -> None:
        """The clock alone."""
        self.clock.at += days * DAY_S

    def ago(self, days: float) -> str:
        return instant(self.clock.at - days * DAY_S)


@pytest.fixture
def times(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Times:
    """The service looks by itself when it starts; after that when a test says so."""
    monkeypatch.setattr(retention, "LOOK_S", 3600)
    return Times(clock, monkeypatch)


class Keeper:
    """A running appliance: `tidy` is one look, `kept` what is there of the rows that a test has written."""

    def __init__(self, client: TestClient, app: Purser, config: Config) -> None:
        self.client, self.app, self.config = client, app, config

    def tidy(self) -> None:
        assert self.client.portal is not None
        self.client.portal.call(self.app.state.retention.tidy)

    @property
    def kept(self) -> list[str]:
        return [row["target"] for row in rows(self.config.database_path, "SELECT target FROM audit ORDER BY id")]


@contextmanager
def running(config: Config) -> Iterator[Keeper]:
    app = create_app(config)
    with TestClient(app, client=("127.0.0.1", 50000)) as client:
        keeper = Keeper(client, app, config)
        keeper.tidy()  # the service's own first look has been, or this one is in its place
        yield keeper


Run = Callable[..., AbstractContextManager[Keeper]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs an appliance with these settings; always the same one, whose trail holds only what tests write."""
    return lambda **settings: running(configured(tmp_path / "data", **settings))


def dated(times: Times, *ages: float) -> list[dict[str, object]]:
    """A row of each kind from so many days ago, each: its target is the age."""
    return [{**kind, "at": times.ago(age), "target": f"{age}"} for age in ages for kind in (READ, REFUSED, CHANGE)]


def ages(*kept: float) -> list[str]:
    return [f"{age}" for age in kept for _ in range(3)]


def test_what_is_too_old_goes_once_a_day_whatever_it_tells(run: Run, times: Times) -> None:
    with run(AUDIT_RETENTION="30d") as box:
        write(box.config, dated(times, 400, 30.5, 29.5, 28.5, 0))
        box.tidy()
        assert box.kept == ages(400, 30.5, 29.5, 28.5, 0)
        times.go_by(1.01)
        box.tidy()
        assert box.kept == ages(28.5, 0)
        times.go_by(0.9)
        box.tidy()
        assert box.kept == ages(28.5, 0)
        times.go_by(0.2)
        box.tidy()
        assert box.kept == ages(0)


def test_what_became_too_old_in_a_short_absence_goes_at_the_start(run: Run, times: Times) -> None:
    with run(AUDIT_RETENTION="30d") as box:
        write(box.config, dated(times, 29, 25, 1))
    times.go_by(5)
    with run(AUDIT_RETENTION="30d") as box:
        assert box.kept == ages(25, 1)


def test_a_clock_that_leaps_years_ahead_removes_nothing_for_a_day(run: Run, times: Times) -> None:
    with run(AUDIT_RETENTION="30d") as box:
        write(box.config, dated(times, 20, 0))
        times.go_by(0.99)  # by itself it would look for old rows in a quarter of an hour
        times.leap(3650)
        box.tidy()
        for _ in range(3):
            times.go_by(0.3)
            box.tidy()
        assert box.kept == ages(20, 0)
        times.go_by(0.2)
        box.tidy()
        assert box.kept == []


def test_a_leap_that_is_set_right_within_a_day_costs_nothing(run: Run, times: Times) -> None:
    """Ahead for half a day, or on and off for a week."""
    with run(AUDIT_RETENTION="30d") as box:
        write(box.config, dated(times, 20, 0))
        for _ in range(7):
            times.leap(3650)
            box.tidy()
            times.go_by(0.5)
            box.tidy()
            times.leap(-3650)
            box.tidy()
            times.go_by(0.5)
            box.tidy()
        assert box.kept == ages(20, 0)


def test_a_start_long_after_the_newest_row_removes_nothing_for_a_day(run: Run, times: Times) -> None:
    with run(AUDIT_RETENTION="30d") as box:
        write(box.config, dated(times, 20, 0))
    times.go_by(40)
    with run(AUDIT_RETENTION="30d") as box:
        assert box.kept == ages(20, 0)
        times.go_by(0.9)
        box.tidy()
        assert box.kept == ages(20, 0)
        times.go_by(0.2)
        box.tidy()
        assert box.kept == []


def test_a_clock_that_is_wrong_at_two_starts_removes_nothing_for_a_day_either(run: Run, times: Times) -> None:
    """It leaps, something happens, and the appliance is switched off and on again, with the clock still wrong."""
    with run(AUDIT_RETENTION="30d") as box:
        write(box.config, dated(times, 20, 0))
        times.leap(3650)
        box.tidy()
        assert claim(box.client)
        kept = box.kept
        assert kept[:6] == ages(20, 0)
    with run(AUDIT_RETENTION="30d") as box:
        assert box.kept == kept


def test_beyond_the_number_reads_go_first_and_then_the_oldest(run: Run, times: Times) -> None:
    """Rows of every kind in turn; the oldest were not the first to be written."""
    kinds = {"read": READ, "refused": REFUSED, "change": CHANGE}
    made = [
        {**kinds[name], "at": times.ago(2 - (number * 7 % 60) / 60), "target": f"{name}-{number}"}
        for number, name in zip(range(60), itertools.cycle(kinds), strict=False)
    ]
    by_age = [str(row["target"]) for row in sorted(made, key=lambda row: str(row["at"]))]
    reads, others = ([name for name in by_age if (name[:4] == "read") is first] for first in (True, False))
    with run(AUDIT_MAX_ROWS="50") as box:
        write(box.config, made)
        box.tidy()
        assert sorted(box.kept) == sorted([*reads[10:], *others])
        write(box.config, [{**CHANGE, "at": times.ago(0), "target": "new"}] * 20)
        box.tidy()
        assert sorted(box.kept) == sorted([*others[10:], *["new"] * 20])


def test_reads_go_first_also_when_the_clock_was_ahead_for_a_while(run: Run, times: Times) -> None:
    """Those that are removed bear instants to come; it is set right, and the next ones are older than they."""
    with run(AUDIT_MAX_ROWS="50") as box:
        write(box.config, [{**CHANGE, "at": times.ago(1), "target": f"change-{number}"} for number in range(40)])
        write(box.config, [{**READ, "at": times.ago(-30), "target": f"ahead-{number}"} for number in range(60)])
        box.tidy()
        write(box.config, [{**READ, "at": times.ago(0), "target": f"read-{number}"} for number in range(60)])
        box.tidy()
        kept = box.kept
        assert len(kept) == 50
        assert [target for target in kept if target.startswith("change")] == [f"change-{n}" for n in range(40)]


@pytest.mark.parametrize(("most", "left"), [("0", 400), ("400", 400), ("399", 399), ("100", 100)])
def test_as_many_rows_stay_as_are_wanted(run: Run, times: Times, most: str, left: int) -> None:
    """0 is any number."""
    with run(AUDIT_MAX_ROWS=most) as box:
        write(box.config, [{**READ, "at": times.ago(0), "target": f"{number}"} for number in range(400)])
        box.tidy()
        assert box.kept == [f"{number}" for number in range(400 - left, 400)]


def test_calls_do_not_push_changes_out(run: Run, times: Times) -> None:
    """Somebody who calls without end does not wash away what was done, and the trail stays within its bound."""
    with run(AUDIT_MAX_ROWS="50") as box:
        box.client.headers["Authorization"] = f"Token {claim(box.client)}"
        for _ in range(3):
            for _ in range(60):
                box.client.get("/api/v1/version")
            assert box.client.get("/api/v1/audit").status_code == 200
            box.tidy()
            assert len(box.kept) <= 50
        assert "tokens/1" in box.kept


@pytest.mark.parametrize(("settings", "job"), [({"AUDIT_MAX_ROWS": "7"}, "forget"), ({}, "forget_older")])
def test_rows_are_removed_in_pieces_and_a_stop_is_heard_between_them(
    run: Run, times: Times, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], job: str
) -> None:
    monkeypatch.setattr(retention, "PIECE", 10)
    pieces: list[str] = []

    def heard(name: str, statements: int, seconds: float) -> None:
        if name == job:
            pieces.append(name)
            if len(pieces) == 2:
                stopping.append(asyncio.ensure_future(box.app.state.retention.stop()))

    stopping: list[asyncio.Future[None]] = []
    with run(AUDIT_RETENTION="30d", **settings) as box:
        box.app.state.db.observe = heard
        write(box.config, [{**READ, "at": times.ago(60), "target": f"{number}"} for number in range(57)])
        times.go_by(0 if settings else 1.1)
        box.tidy()
        assert box.kept == [f"{number}" for number in range(20, 57)]
    assert len(pieces) == 2
    with run(AUDIT_RETENTION="30d", AUDIT_MAX_ROWS="7") as box:
        assert box.kept == [f"{number}" for number in range(50, 57)]
