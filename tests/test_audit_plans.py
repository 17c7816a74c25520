"""What reading the trail costs: each statement finds its rows by its index and sorts nothing, however many."""

import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from app.actor import Actor, Identity
from app.audit import service
from app.audit.structs import AuditFilter
from app.db import Query
from app.permissions import Grant, Permissions, Reach
from tests.house import House, opened
from tests.test_audit_reading import AUDIT, write

INDEX = {
    "page": "audit_at",
    "of_token": "audit_token_id",
    "about": "audit_target",
    "by": "audit_actor_id",
    "doing": "audit_action",
    "refused": "audit_refused",
    "of_group": "audit_group_id",
}
FIRST, LAST = "2026-01-01T00:00:00.000Z", "2026-12-01T00:00:00.000Z"
ROWS = 200_000
RARE = 300
"""Of so many rows one is what a filter looks for."""


def values(query: Query) -> dict[str, object]:
    """Parameters for a plan, which does not depend on them."""
    return dict.fromkeys(query.parameters, 1)


def plan(connection: sqlite3.Connection, query: Query) -> str:
    """How SQLite would run it."""
    found = connection.execute(f"EXPLAIN QUERY PLAN {query.sql}", values(query)).fetchall()
    return "; ".join(row[3] for row in found)


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with opened(tmp_path_factory.mktemp("plans")) as house:
        yield house


@pytest.fixture
def outside(trail: House) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(f"file:{trail.config.database_path}?mode=ro", uri=True)
    yield connection
    connection.close()


@pytest.mark.parametrize("query", [query for query in service.q if query.kind != "exec"], ids=str)
def test_nothing_is_sorted_and_nothing_is_read_from_end_to_end(outside: sqlite3.Connection, query: Query) -> None:
    """Counting all rows, and looking at the last one, are all that goes without a condition."""
    told = plan(outside, query)
    assert "TEMP B-TREE" not in told
    assert "AUTOMATIC" not in told
    if query.name not in ("newest", "size"):
        assert "SCAN" not in told
        assert told.startswith("SEARCH audit USING")


@pytest.mark.parametrize("kind", ["page", "count"])
@pytest.mark.parametrize(("what", "index"), INDEX.items(), ids=INDEX.keys())
def test_each_filter_has_its_index(outside: sqlite3.Connection, kind: str, what: str, index: str) -> None:
    name = kind if what == "page" else f"{kind}_{what}"
    query = getattr(service.q, name)
    assert f"INDEX {index} (" in plan(outside, query)


def test_a_follower_goes_by_the_number_of_the_row(outside: sqlite3.Connection) -> None:
    assert plan(outside, service.q.after) == "SEARCH audit USING INTEGER PRIMARY KEY (rowid>?)"


@pytest.mark.parametrize("name", ["forget_older", "forget_oldest"])
def test_what_is_removed_is_found_by_age(outside: sqlite3.Connection, name: str) -> None:
    told = plan(outside, getattr(service.q, name))
    assert "INDEX audit_at" in told
    assert "TEMP B-TREE" not in told


def test_every_statement_that_reads_is_looked_at_here() -> None:
    """A new page is one more line in INDEX."""
    names = {query.name for query in service.q if query.name.startswith(("page", "count"))}
    assert names == {name if what == "page" else f"{name}_{what}" for what in INDEX for name in ("page", "count")}


def instant(number: int) -> str:
    """Instants in order, each some rows long."""
    minute = number // 3
    return (
        f"2026-{1 + minute // 40_000:02}-{1 + minute // 1440 % 28:02}T{minute // 60 % 24:02}:{minute % 60:02}:00.000Z"
    )


@pytest.fixture(scope="module")
def long_trail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """200,000 rows: every three hundredth is somebody's, something's, refused, and so on."""
    pick = Random(1)

    def rare(common: object, found: object) -> object:
        return found if pick.randrange(RARE) == 0 else common

    with opened(tmp_path_factory.mktemp("long")) as house:
        write(
            house.config,
            (
                {
                    "at": instant(number),
                    "kind": "change" if number % 5 == 0 else "call",
                    "actor_id": rare(1, 501),
                    "token_id": rare(1, 601),
                    "group_id": rare(None, 7),
                    "authorized": rare(1, 0),
                    "action": rare("things.update", "things.delete") if number % 5 == 0 else None,
                    "target": f"things/{pick.randrange(ROWS // RARE)}" if number % 5 == 0 else None,
                    "path": "/api/v1/things",
                    "status": 200,
                }
                for number in range(ROWS)
            ),
        )
        yield house


EVERYTHING = Permissions([Grant("*", "all")])


def actor(reach: Reach = "all", user_id: int = 1) -> Actor:
    permissions = EVERYTHING if reach == "all" else Permissions([Grant("audit:read", reach)])
    return Actor(Identity(user_id, "reader", permissions, group_id=7))


def steps(house: House, fn: Any, *arguments: object) -> tuple[int, Any]:
    """How many instructions of SQLite's machine a function of the service takes, to the nearest ten."""
    taken = 0

    def tick() -> int:
        nonlocal taken
        taken += 10
        return 0

    def measured(tx: Any) -> Any:
        tx._connection.set_progress_handler(tick, 10)
        try:
            return fn(tx, *arguments)
        finally:
            tx._connection.set_progress_handler(None, 0)

    async def read() -> Any:
        return await house.app.state.db.read(measured)

    assert house.client.portal is not None
    found = house.client.portal.call(read)
    return taken, found


QUESTIONS: dict[str, dict[str, Any]] = {
    "an account": {"actor_id": 501},
    "a token": {"token_id": 601},
    "an action": {"action": "things.delete"},
    "a thing": {"target": "things/3"},
    "refused": {"authorized": False},
    "since": {"since": instant(ROWS - 2000)},
    "until": {"until": instant(2000)},
    "an hour": {"since": instant(ROWS // 2), "until": instant(ROWS // 2 + 180)},
    "a thing and an action": {"target": "things/3", "action": "things.delete"},
    "a rare account and a common action": {"actor_id": 501, "action": "things.update"},
    "a rare token's refusals": {"token_id": 601, "authorized": False},
    "a rare account until": {"actor_id": 501, "until": instant(2000)},
}


@pytest.mark.slow
@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS.keys())
def test_a_page_of_a_filter_costs_little_more_than_a_page_of_everything(
    long_trail: House, question: Mapping[str, Any]
) -> None:
    """Thirty times at most, where one row in three hundred is what is looked for."""
    plain, rows = steps(long_trail, service.page, actor(), AuditFilter(), None, 101)
    assert len(rows) == 101
    taken, found = steps(long_trail, service.page, actor(), AuditFilter(**question), None, 101)
    assert taken < 30 * plain
    place = (found[-1].at, found[-1].id) if found else (FIRST, 1)
    taken, _ = steps(long_trail, service.page, actor(), AuditFilter(**question), place, 101)
    assert taken < 30 * plain


@pytest.mark.slow
@pytest.mark.parametrize("reach", [actor("group"), actor("own", 501)], ids=["group", "own"])
def test_a_narrow_reach_costs_little_more_than_a_wide_one(long_trail: House, reach: Actor) -> None:
    plain, _ = steps(long_trail, service.page, actor(), AuditFilter(), None, 101)
    taken, found = steps(long_trail, service.page, reach, AuditFilter(), None, 101)
    assert len(found) == 101
    assert taken < 3 * plain


@pytest.mark.slow
@pytest.mark.parametrize(
    "question", [{"authorized": False}, {"action": "things.update"}, {"actor_id": 1}, {"token_id": 1}], ids=str
)
def test_who_sees_the_own_rows_alone_does_not_make_others_be_read(
    long_trail: House, question: Mapping[str, Any]
) -> None:
    """Whatever is asked for: one's own rows are where the answer is."""
    plain, _ = steps(long_trail, service.page, actor(), AuditFilter(), None, 101)
    taken, _ = steps(long_trail, service.page, actor("own", 501), AuditFilter(**question), None, 101)
    assert taken < 30 * plain


@pytest.mark.slow
def test_a_late_page_costs_what_the_first_does(long_trail: House) -> None:
    plain, _ = steps(long_trail, service.page, actor(), AuditFilter(), None, 101)
    for number in (ROWS // 2, 2000):
        taken, found = steps(long_trail, service.page, actor(), AuditFilter(), (instant(number), 10**9), 101)
        assert len(found) == 101
        assert taken < 1.5 * plain
    taken, found = steps(long_trail, service.page, actor(), AuditFilter(after=ROWS - 500), None, 101)
    assert len(found) == 101
    assert taken < 1.5 * plain


@pytest.mark.slow
def test_what_makes_room_does_not_read_the_whole_trail(long_trail: House) -> None:
    """The oldest reads lie at its beginning."""
    plain, _ = steps(long_trail, service.page, actor(), AuditFilter(), None, 101)
    taken, found = steps(long_trail, service.oldest_reads, service.EVER, 101)
    assert len(found) == 101
    assert taken < 3 * plain


@pytest.mark.slow
def test_the_longest_trail_is_read_over_http(long_trail: House) -> None:
    """With the time limit that reading has; counting goes through the index of what is asked for."""
    for asked in ({}, {"actor_id": 501}, {"authorized": "false"}, {"target": "things/3"}, {"token_id": 1}):
        answer = long_trail.client.get(AUDIT, params={**asked, "count": "true"})
        assert answer.status_code == 200
        assert int(answer.headers["x-total-count"]) >= len(answer.json()) > 0


def test_the_schema_names_the_indexes_that_are_meant(tmp_path: Path, outside: sqlite3.Connection) -> None:
    """None is left over: each is written with every row."""
    found = outside.execute("SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'audit'").fetchall()
    assert {name for (name,) in found} == set(INDEX.values())
