"""Reading the trail: filters alone and together, pages that neither skip nor repeat, followers, and what is refused.

What is expected is worked out in Python, over the rows of the table as they are.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from random import Random
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from app.config import Config
from app.values import now
from tests.house import House, opened
from tests.support import ask, refusal, rows

AUDIT = "/api/v1/audit"
COLUMNS = ["id", "at", "kind", "request_id", "actor_id", "actor_name", "token_id", "session_id", "ip", "method"]
COLUMNS += ["path", "route", "status", "authorized", "reason", "action", "target"]
NEW = (*COLUMNS[1:], "group_id")
DAY = "2026-11-20T"
TIED, OFTEN, LATER = f"{DAY}10:00:00.000Z", f"{DAY}10:00:00.001Z", f"{DAY}11:30:00.500Z"


def write(config: Config, entries: Iterable[Mapping[str, object]]) -> None:
    """Rows of the trail, put into the database from outside; what is not given is null."""
    full = [{**dict.fromkeys(NEW), **entry} for entry in entries]
    with sqlite3.connect(config.database_path) as outside:
        outside.executemany(
            f"INSERT INTO audit ({', '.join(NEW)}) VALUES ({', '.join(':' + name for name in NEW)})",  # noqa: S608
            full,
        )
    outside.close()


def generated(count: int, *, seed: int = 1) -> list[dict[str, object]]:
    """Rows out of the order of time, many at the very same instant, with few values in each column."""
    pick = Random(seed)
    made: list[dict[str, object]] = []
    for number in range(count):
        change = pick.random() < 0.3
        at = pick.choice([TIED, OFTEN, LATER, f"{DAY}{pick.randrange(24):02}:00:00.{pick.randrange(3):03}Z"])
        made.append(
            {
                "at": at,
                "kind": "change" if change else "call",
                "request_id": f"r-{seed}-{number}",
                "actor_id": pick.choice([1, 1, 501, 502, None]),
                "token_id": pick.choice([1, 601, 602, None]),
                "authorized": 1 if change else pick.choice([0, 1, 1]),
                "action": pick.choice(["things.create", "things.delete"]) if change else None,
                "target": pick.choice(["things/1", "things/2", "it's/100%"]) if change else None,
                "status": 200,
                "path": "/api/v1/things",
                "group_id": pick.choice([None, 1, 2]),
            }
        )
    return made


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """An appliance whose trail holds 400 rows from outside, older than its own."""
    with opened(tmp_path_factory.mktemp("trail")) as house:
        write(house.config, generated(400))
        yield house


def matching(house: House, **wanted: Any) -> list[dict[str, Any]]:
    """The rows that a question should find now, the newest first."""
    assert house.client.portal is not None
    house.client.portal.call(house.app.state.trail.settle)

    def fits(row: dict[str, Any]) -> bool:
        exact = all(row[name] == value for name, value in wanted.items() if name not in ("since", "until"))
        return exact and wanted.get("since", "") <= row["at"] and row["at"] < wanted.get("until", "9")

    found = [row for row in house.rows("SELECT * FROM audit") if fits(row)]
    return sorted(found, key=lambda row: (row["at"], row["id"]), reverse=True)


def pages(client: TestClient, path: str = AUDIT, **asked: Any) -> list[httpx2.Response]:
    """Every page, as the Link headers lead from one to the next."""
    answers = [client.get(path, params=asked)]
    while "next" in answers[-1].links:
        assert len(answers) < 1000
        answers.append(client.get(answers[-1].links["next"]["url"]))
    assert {answer.status_code for answer in answers} == {200}, answers[-1].text
    return answers


def ids(answers: Iterable[httpx2.Response]) -> list[int]:
    return [row["id"] for answer in answers for row in answer.json()]


QUESTIONS: dict[str, dict[str, Any]] = {
    "an account": {"actor_id": 501},
    "a token": {"token_id": 601},
    "a kind of change": {"action": "things.create"},
    "a thing": {"target": "it's/100%"},
    "no thing": {"target": "things"},
    "refused": {"authorized": False},
    "let in": {"authorized": True},
    "since": {"since": OFTEN},
    "until": {"until": OFTEN},
    "an hour": {"since": TIED, "until": LATER},
    "one instant": {"since": TIED, "until": OFTEN},
    "no time at all": {"since": TIED, "until": TIED},
    "a token's refusals": {"token_id": 602, "authorized": False},
    "an account through a token": {"actor_id": 502, "token_id": 601},
    "an account's changes of a thing": {"actor_id": 1, "action": "things.delete", "target": "things/1"},
    "a token's changes of a thing": {"token_id": 1, "action": "things.create", "target": "things/2"},
    "an account's refusals since": {"actor_id": 501, "authorized": False, "since": TIED},
    "a kind of change until": {"action": "things.create", "until": LATER},
    "refusals of a day": {"authorized": False, "since": f"{DAY}00:00:00.000Z", "until": LATER},
    "all there is to ask": {
        "actor_id": 1,
        "token_id": 1,
        "action": "things.create",
        "target": "things/1",
        "authorized": True,
        "since": f"{DAY}00:00:00.000Z",
        "until": "2026-11-21T00:00:00.000Z",
    },
    "nobody": {"actor_id": 987654321},
}


def asked(question: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(value).lower() if isinstance(value, bool) else value for name, value in question.items()}


@pytest.mark.parametrize("limit", [7, 100])
@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS.keys())
def test_a_filter_finds_its_rows_page_by_page(trail: House, question: dict[str, Any], limit: int) -> None:
    want = matching(trail, **question)
    answers = pages(trail.client, **asked(question), limit=limit, count="true")
    assert ids(answers) == [row["id"] for row in want]
    assert answers[0].headers["x-total-count"] == str(len(want))
    assert all(len(answer.json()) == limit for answer in answers[:-1])
    for told, row in zip((told for answer in answers for told in answer.json()), want, strict=True):
        assert told == {name: bool(row[name]) if name == "authorized" else row[name] for name in COLUMNS}


def test_without_a_filter_all_is_told_the_newest_first(trail: House) -> None:
    """But for the rows that reading it makes itself."""
    want = [row["id"] for row in matching(trail)]
    assert ids(pages(trail.client, limit=50))[-len(want) :] == want


def test_one_row_at_a_time_gives_the_same(trail: House) -> None:
    question = {"since": OFTEN, "until": LATER, "authorized": False}
    assert ids(pages(trail.client, **asked(question), limit=1)) == [row["id"] for row in matching(trail, **question)]


@pytest.mark.parametrize("question", [{}, {"authorized": True}, {"actor_id": 502}], ids=["all", "let-in", "account"])
def test_pages_stay_as_they_were_while_rows_are_added(trail: House, question: dict[str, Any]) -> None:
    """Newer ones, and calls that the reader makes itself: behind a page there is what there was."""
    first = trail.client.get(AUDIT, params={**asked(question), "limit": 40})
    want = [row["id"] for row in matching(trail, **question)]
    want = want[want.index(first.json()[0]["id"]) :]
    found, answer = ids([first]), first
    while "next" in answer.links:
        write(trail.config, [{"at": now(), "kind": "call", "authorized": 1, "actor_id": 502}] * 3)
        answer = trail.client.get(answer.links["next"]["url"])
        found += ids([answer])
    assert found == want


def test_who_follows_is_told_in_the_order_of_writing(trail: House) -> None:
    """Whatever instants the rows bear; the first page after 0 is the beginning."""
    newest = trail.rows("SELECT max(id) AS id FROM audit")[0]["id"]
    want = [row["id"] for row in trail.rows("SELECT id FROM audit ORDER BY id")]
    found = ids(pages(trail.client, after=0, limit=60))
    assert found[: len(want)] == want
    write(trail.config, generated(9, seed=2))
    added = [row["id"] for row in trail.rows("SELECT id FROM audit WHERE request_id LIKE 'r-2-%' ORDER BY id")]
    behind = [number for number in ids(pages(trail.client, after=newest, limit=4)) if number in added]
    assert behind == added
    assert trail.client.get(AUDIT, params={"after": 10**18 - 1}).json() == []


@pytest.mark.parametrize(
    "question",
    [
        {"actor_id": 501},
        {"authorized": False},
        {"since": TIED, "until": LATER},
        {"action": "things.create"},
        {"token_id": 1},
    ],
    ids=["account", "refused", "hour", "action", "token"],
)
def test_who_follows_may_filter(trail: House, question: dict[str, Any]) -> None:
    write(trail.config, generated(30, seed=3))
    start = trail.rows("SELECT id FROM audit ORDER BY id LIMIT 1 OFFSET 150")[0]["id"]
    want = sorted(row["id"] for row in matching(trail, **question) if row["id"] > start)
    found = ids(pages(trail.client, **asked(question), after=start, limit=8))
    assert [number for number in found if number <= want[-1]] == want


def test_what_is_followed_is_not_counted(trail: House) -> None:
    """It has no end; a count of the rows so far would be taken for one."""
    answer = trail.client.get(AUDIT, params={"after": 1, "count": "true"})
    assert [error["field"] for error in refusal(answer, 400, "VALIDATION_ERROR")["errors"]] == ["count"]
    assert trail.client.get(AUDIT, params={"after": 1, "count": "false"}).status_code == 200


def test_a_follower_misses_nothing_and_is_told_nothing_twice(trail: House) -> None:
    """It asks again and again behind the last row it has seen, while calls and changes come in."""
    seen = trail.rows("SELECT max(id) AS id FROM audit")[0]["id"]
    began, told = seen, []
    for turn in range(20):
        trail.client.get("/api/v1/version")
        trail.client.post("/api/v1/packages", json={"name": "followed", "version": f"1.{turn}"})
        told += ids(pages(trail.client, after=seen, limit=2))
        seen = told[-1]
    assert told == [row["id"] for row in trail.rows("SELECT id FROM audit WHERE id BETWEEN ? AND ?", began + 1, seen)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("actor_id", value) for value in ("0", "-1", "x", "", "1.5", "9" * 30)),
        *(("token_id", value) for value in ("0", "all", "NULL")),
        *(("action", value) for value in ("", "x" * 101)),
        *(("target", value) for value in ("", "x" * 201)),
        *(("since", value) for value in ("yesterday", "", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z")),
        *(("until", value) for value in ("2026-11-21", "2026-11-21T25:00:00Z", "2026-11-21T00:00:00+01:00", "1")),
        *(("authorized", value) for value in ("maybe", "2", "")),
        *(("after", value) for value in ("-1", "x", "9" * 30)),
        *(("limit", value) for value in ("0", "1001", "-1", "x")),
        *(("count", value) for value in ("maybe",)),
        *(("format", value) for value in ("xml", "CSV", "")),
        *(("cursor", value) for value in ("x", "=", "é", "A" * 1001)),
        *((name, "1") for name in ("Actor_id", "group_id", "user_id", "order", "offset", "q", "actor_id ")),
    ],
)
def test_a_bad_value_is_refused_by_its_name(trail: House, name: str, value: str) -> None:
    answer = trail.client.get(AUDIT, params={name: value})
    assert [error["field"] for error in refusal(answer, 400, "VALIDATION_ERROR")["errors"]] == [name]


@pytest.mark.parametrize("query", [b"actor_id=1&actor_id=2", b"limit=1&limit=2", b"actor_id=%00", b"since=%ff"])
def test_what_no_client_would_send_is_refused(trail: House, query: bytes) -> None:
    refusal(ask(trail.client, "GET", AUDIT, query=query), 400, "VALIDATION_ERROR")


@pytest.mark.parametrize("text", ["' OR 1=1 --", "%", "_", "things/1; DROP TABLE audit", "things/1\0"])
def test_text_is_compared_and_never_run(trail: House, text: str) -> None:
    answer = trail.client.get(AUDIT, params={"target": text})
    assert (answer.status_code, answer.json()) in ((200, []), (400, answer.json()))


def cursor(answer: httpx2.Response) -> str:
    return httpx2.URL(answer.links["next"]["url"]).params["cursor"]


def test_a_cursor_holds_for_the_list_that_gave_it_and_is_not_made_up(trail: House) -> None:
    given = cursor(trail.client.get(AUDIT, params={"limit": 3}))
    trail.client.post("/api/v1/packages", json={"name": "a", "version": "1"})
    trail.client.post("/api/v1/packages", json={"name": "b", "version": "1"})
    others = cursor(trail.client.get("/api/v1/packages", params={"limit": 1}))
    logs = cursor(trail.client.get("/api/v1/tokens/1/logs", params={"limit": 1}))
    for bad in (others, logs, given[:-1], given[1:], given + "A", given.swapcase(), given[:20] + "A" + given[21:]):
        answer = trail.client.get(AUDIT, params={"limit": 3, "cursor": bad})
        assert [error["field"] for error in refusal(answer, 400, "VALIDATION_ERROR")["errors"]] == ["cursor"], bad
    refusal(trail.client.get("/api/v1/tokens/1/logs", params={"cursor": given}), 400, "VALIDATION_ERROR")
    assert trail.client.get(AUDIT, params={"limit": 3, "cursor": given}).status_code == 200


def test_a_cursor_shows_nothing_outside_of_the_filter_it_is_used_with(trail: House) -> None:
    """It says where to begin, and widens nothing."""
    first = trail.client.get(AUDIT, params={"limit": 1, "since": LATER})
    answer = trail.client.get(AUDIT, params={"limit": 1000, "until": OFTEN, "cursor": cursor(first)})
    assert ids([answer]) == [row["id"] for row in matching(trail, until=OFTEN)]


def test_the_next_page_keeps_what_was_asked(trail: House) -> None:
    question = {"target": "it's/100%", "since": TIED, "until": LATER, "authorized": "true", "limit": "2"}
    link = httpx2.URL(trail.client.get(AUDIT, params={**question, "count": "true"}).links["next"]["url"])
    assert link.path == AUDIT
    assert {**link.params, "authorized": link.params["authorized"].lower()}.items() >= question.items()
    assert "count" not in link.params


def test_the_rows_of_the_table_are_what_the_columns_say(trail: House) -> None:
    """No column is kept from the reader by mistake; who belonged to which group is not told."""
    [row] = rows(trail.config.database_path, "SELECT * FROM audit LIMIT 1")
    assert [*row] == [*COLUMNS, "group_id"]
