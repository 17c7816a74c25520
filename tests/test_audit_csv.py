"""The trail as CSV: whole, readable by every program that reads it, and nothing in it that a spreadsheet would run."""

import asyncio
import csv
import io
import tracemalloc
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.house import House, opened
from tests.support import refusal
from tests.test_audit_reading import AUDIT, COLUMNS, LATER, TIED, generated, matching, write

SHEET = {"format": "csv"}
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
HOSTILE = {
    "=cmd|' /C calc'!A0": "'=cmd|' /C calc'!A0",
    "+1+1": "'+1+1",
    "-2+3": "'-2+3",
    "@SUM(1;2)": "'@SUM(1;2)",
    "\t=1": "'\t=1",
    "\r=1": "'\r=1",
    'a "quote", a comma': 'a "quote", a comma',
    "two\nlines": "two\nlines",
    "two\r\nlines": "two\r\nlines",
    "žluťoučký 中文 🙂": "žluťoučký 中文 🙂",
    "\n=1": "'\n=1",
    "\uff1d1+1": "'\uff1d1+1",
    " =1": " =1",
    "a=1": "a=1",
    "'": "'",
    "": "",
}


@pytest.fixture(scope="module")
def trail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """An appliance whose trail holds 3,500 rows from outside."""
    with opened(tmp_path_factory.mktemp("sheet")) as house:
        write(house.config, generated(3500))
        yield house


def read(answer: httpx2.Response) -> list[dict[str, str]]:
    """The rows of a sheet, after checking that it is one: RFC 4180 with CRLF, as many cells in each line."""
    assert answer.status_code == 200, answer.text[:500]
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert answer.headers["content-disposition"] == 'attachment; filename="audit.csv"'
    assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == ("no-store", "nosniff")
    assert "x-request-id" in answer.headers
    text = answer.content.decode()
    assert text.endswith("\r\n")
    heading, *lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert heading == COLUMNS
    assert {len(line) for line in lines} <= {len(COLUMNS)}
    return [dict(zip(heading, line, strict=True)) for line in lines]


def cells(row: dict[str, Any]) -> dict[str, str]:
    """What a row of the table looks like in a sheet."""
    told = {name: "" if row[name] is None else str(row[name]) for name in COLUMNS}
    told = {name: f"'{text}" if text.startswith(FORMULA) else text for name, text in told.items()}
    return told | {"authorized": "true" if row["authorized"] else "false"}


@pytest.mark.parametrize(
    "question",
    [{}, {"authorized": False}, {"actor_id": 1}, {"since": TIED, "until": LATER}, {"target": "no such thing"}],
    ids=["all", "refused", "account", "hour", "none"],
)
def test_a_sheet_holds_every_row_that_matches(trail: House, question: dict[str, Any]) -> None:
    want = [cells(row) for row in matching(trail, **question)]
    asked = {name: str(value).lower() if value is False else value for name, value in question.items()}
    answer = trail.client.get(AUDIT, params={**asked, **SHEET})
    assert read(answer) == want
    assert "link" not in answer.headers


@pytest.mark.parametrize("count", [999, 1000, 1001, 2000])
def test_the_end_of_a_page_is_not_the_end_of_a_sheet(trail: House, count: int) -> None:
    write(trail.config, [{"at": TIED, "kind": "change", "authorized": 1, "target": f"exactly/{count}"}] * count)
    found = read(trail.client.get(AUDIT, params={"target": f"exactly/{count}", **SHEET}))
    assert len({row["id"] for row in found}) == len(found) == count


def test_a_limit_gives_a_page_and_the_way_to_the_next(trail: House) -> None:
    want = [cells(row) for row in matching(trail, authorized=False)]
    answers = [trail.client.get(AUDIT, params={"authorized": "false", "limit": 400, "count": "true", **SHEET})]
    while "next" in answers[-1].links:
        answers.append(trail.client.get(answers[-1].links["next"]["url"]))
    assert [len(read(answer)) for answer in answers[:-1]] == [400] * (len(want) // 400)
    assert [row for answer in answers for row in read(answer)] == want
    assert answers[0].headers["x-total-count"] == str(len(want))


def test_who_follows_may_have_a_sheet(trail: House) -> None:
    newest = trail.rows("SELECT max(id) AS id FROM audit")[0]["id"]
    write(trail.config, generated(1500, seed=5))
    added = trail.rows("SELECT id FROM audit WHERE request_id LIKE 'r-5-%' ORDER BY id")
    found = [int(row["id"]) for row in read(trail.client.get(AUDIT, params={"after": newest, **SHEET}))]
    assert [number for number in found if added[0]["id"] <= number <= added[-1]["id"]] == [row["id"] for row in added]


@pytest.mark.parametrize(("text", "cell"), HOSTILE.items(), ids=[ascii(text) for text in HOSTILE])
@pytest.mark.parametrize("limit", [{}, {"limit": 10}], ids=["whole", "page"])
def test_text_is_told_as_it_is_and_never_begins_as_a_formula(
    trail: House, text: str, cell: str, limit: dict[str, int]
) -> None:
    """In every column that text of others may come to stand in."""
    columns = ("actor_name", "reason", "path", "method", "ip", "request_id", "route")
    target = f"hostile/{text!a}/{len(limit)}"[:200]
    row = {"at": TIED, "kind": "change", "authorized": 1, "target": target, **dict.fromkeys(columns, text)}
    write(trail.config, [row])
    [found] = read(trail.client.get(AUDIT, params={"target": target, **SHEET, **limit}))
    assert {found[column] for column in columns} == {cell}


def test_a_hostile_name_reaches_no_cell_as_a_formula(trail: House) -> None:
    """Somebody who may choose a path or a method, over HTTP."""
    trail.client.get("/=1+1,@x%0A%22", headers={"X-Request-ID": "-1"})
    trail.client.request("-X", "/none", headers={"X-Request-ID": "-2"})
    found = [row for row in read(trail.client.get(AUDIT, params={**SHEET, "limit": 5}))][:2]
    assert [row["request_id"] for row in found] == ["'-2", "'-1"]
    assert found[0]["method"] == "'-X"
    assert not any(cell.startswith(FORMULA) for row in found for cell in row.values())


@pytest.mark.parametrize("bad", [{"since": "x"}, {"cursor": "x"}, {"limit": 0}, {"since": "2026-02-30T00:00:00Z"}])
def test_what_is_refused_is_refused_before_a_sheet_begins(trail: House, bad: dict[str, Any]) -> None:
    refusal(trail.client.get(AUDIT, params={**SHEET, **bad}), 400, "VALIDATION_ERROR")


def test_rows_that_come_while_a_sheet_is_told_neither_repeat_nor_shift_it(trail: House) -> None:
    """Newer ones are written after each piece that is sent."""
    want = [cells(row) for row in matching(trail)]
    chunks, _ = streamed(
        trail, lambda: write(trail.config, [{"at": "2026-11-30T", "kind": "call", "authorized": 1}] * 9)
    )
    found = read(httpx2.Response(200, headers=HEADERS, content=b"".join(chunks)))
    assert found == want


HEADERS = {
    "content-type": "text/csv; charset=utf-8; header=present",
    "content-disposition": 'attachment; filename="audit.csv"',
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-request-id": "x",
}


def streamed(house: House, between: Any = lambda: None) -> tuple[list[bytes], int]:
    """The pieces of a sheet of everything as they are sent, and the most memory that was taken meanwhile."""
    scope = {"type": "http", "method": "GET", "path": AUDIT, "query_string": b"format=csv", "client": ("127.0.0.1", 1)}
    headers = [(b"authorization", house.client.headers["Authorization"].encode())]
    chunks: list[bytes] = []
    peak = 0

    async def receive() -> dict[str, str]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        nonlocal peak
        if message.get("body"):
            peak = max(peak, tracemalloc.get_traced_memory()[1])
            chunks.append(message["body"] if between else b"")
            between() if between else None

    assert house.client.portal is not None
    house.client.portal.call(house.client.app, scope | {"headers": headers}, receive, send)
    return chunks, peak


@pytest.mark.slow
def test_the_whole_trail_is_never_held_at_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Twenty times the rows take no more memory: what is held is a page."""
    taken = []
    with opened(tmp_path_factory.mktemp("memory")) as house:
        for count in (3_000, 57_000):
            write(house.config, generated(count, seed=count))
            tracemalloc.start()
            try:
                chunks, peak = streamed(house, None)
            finally:
                tracemalloc.stop()
            taken.append((len(chunks), peak))
    assert taken[1][0] > 10 * taken[0][0]
    assert taken[1][1] < 1.5 * taken[0][1]


def test_of_a_sheet_that_nobody_reads_only_the_beginning_is_read(trail: House) -> None:
    """HEAD is answered with the headers, and has no more looked up than one page."""
    read_rows: list[str] = []
    trail.app.state.db.observe = lambda name, statements, seconds: read_rows.append(name)
    answer = trail.client.head(AUDIT, params=SHEET)
    trail.app.state.db.observe = None
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8; header=present")
    assert read_rows.count("page") == 1


def test_how_many_rows_a_sheet_has_is_told_when_asked(trail: House) -> None:
    answer = trail.client.get(AUDIT, params={**SHEET, "count": True, "until": LATER})
    assert answer.headers["x-total-count"] == str(len(read(answer)))
