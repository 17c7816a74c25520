"""What the statements of FCS files cost: each finds its rows by an index, and no more of them for more files."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import httpx2
import pytest

from app.db import Query
from app.db.migrate import migrate
from app.db.queries import load
from app.db.rows import to_json
from app.fcs import service, uploads
from app.files import service as files
from tests.accounts import Person
from tests.fcs_writer import fcs
from tests.house import House
from tests.office import API, made, statements

FCS = f"{API}/fcs"
SAMPLE = fcs([[1.0, 2.0]], names=["FSC-A"])
NOW, LATER, EARLIER = "2026-11-21T06:17:00.123Z", "2026-11-22T06:17:00.123Z", "2026-11-20T06:17:00.123Z"
FEW, MANY = 60, 6000
ANNA, BERT = 1, 2
"""Anna has a few files and uploads; Bert has had thousands of others, before hers and after."""
INDEX = {
    "newest": "fcs_files_owner_id",
    "default": "fcs_files_owner_id",
    "of_owner": "fcs_files_owner_id",
    "count_of_owner": "fcs_files_owner_id",
    "due": "fcs_contents_status",
    "content": "sqlite_autoindex_fcs_contents_1",
    "named": "fcs_chunks_sha256",
    "uploads": "fcs_uploads_owner_id",
    "count_uploads": "fcs_uploads_owner_id",
    "begin_upload": "fcs_uploads_owner_id",
    "chunks": "sqlite_autoindex_fcs_chunks_1",
    "forget_uploads": "fcs_uploads_expires_at",
}
BY_ID = ("by_id", "outdated", "reachable", "upload")
COUNTS_ALL = "count_reachable"
"""The one that reads all that there are: whoever asks for it is told how many."""


def sha256(number: int) -> str:
    return f"{number:064}"


def filled(number: int) -> sqlite3.Connection:
    """Today's schema with so many files and uploads of Bert's about those of Anna; one content is to be computed."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, now=NOW)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("BEGIN")
    for name in ("anna", "bert"):
        connection.execute(
            "INSERT INTO users (username, username_key, status, role, created_at, updated_at)"
            " VALUES (?, ?, 'active', 'user', ?, ?)",
            (name, name, NOW, NOW),
        )
    for n in range(1, number + 1):
        owner = ANNA if abs(n - number // 2) < 5 else BERT
        status, failure = ("pending", None) if n == number // 2 else ("failed", "It had to be.")
        connection.execute(
            "INSERT INTO fcs_contents (sha256, size_bytes, parser_version, fcs_version, total_events,"
            " total_parameters, warnings, description, status, failure, created_at)"
            " VALUES (?, 1, 1, 'FCS3.1', 1, 1, '[]', '{}', ?, ?, ?)",
            (sha256(n), status, failure, NOW),
        )
        connection.execute(
            "INSERT INTO fcs_files (owner_id, content_id, filename, created_at) VALUES (?, ?, 'a.fcs', ?)",
            (owner, n, NOW),
        )
        connection.execute(
            "INSERT INTO fcs_uploads (owner_id, filename, size_bytes, chunk_bytes, created_at, expires_at)"
            " VALUES (?, 'a.fcs', 10, 5, ?, ?)",
            (owner, NOW, EARLIER if n in (1, number) else LATER),
        )
        for place in range(2):
            connection.execute(
                "INSERT INTO fcs_chunks (upload_id, number, sha256, size_bytes) VALUES (?, ?, ?, 5)",
                (n, place, sha256(10**6 + 2 * n + place)),
            )
    connection.execute("COMMIT")
    return connection


@pytest.fixture(scope="module")
def few() -> Iterator[sqlite3.Connection]:
    with closing(filled(FEW)) as connection:
        yield connection


@pytest.fixture(scope="module")
def many() -> Iterator[sqlite3.Connection]:
    with closing(filled(MANY)) as connection:
        yield connection


def plan(connection: sqlite3.Connection, query: Query) -> str:
    """How SQLite would run it."""
    found = connection.execute(f"EXPLAIN QUERY PLAN {query.sql}", dict.fromkeys(query.parameters, 1)).fetchall()
    return "; ".join(row[3] for row in found)


@pytest.mark.parametrize("query", list(load("fcs")), ids=str)
def test_nothing_is_read_from_end_to_end_and_no_list_is_sorted(few: sqlite3.Connection, query: Query) -> None:
    """But the blobs of one batch of the sweeper, which come as a parameter."""
    told = plan(few, query)
    assert "AUTOMATIC" not in told
    scans = {step for step in told.split("; ") if step.startswith("SCAN ")} - {"SCAN CONSTANT ROW"}
    sorts = "TEMP B-TREE" in told
    if query.name == "named":
        assert (scans, sorts) == ({"SCAN json_each VIRTUAL TABLE INDEX 1:", "SCAN found"}, True)
    elif query.name == COUNTS_ALL:
        assert (scans, sorts) == ({"SCAN fcs_files USING COVERING INDEX fcs_files_owner_id"}, False)
    else:
        assert (scans, sorts) == (set(), False)


@pytest.mark.parametrize(("name", "index"), INDEX.items(), ids=INDEX.keys())
def test_each_question_has_its_index(few: sqlite3.Connection, name: str, index: str) -> None:
    assert f"INDEX {index} (" in plan(few, getattr(service.q, name))


@pytest.mark.parametrize("name", BY_ID)
def test_what_goes_by_the_number_of_the_row_needs_none(few: sqlite3.Connection, name: str) -> None:
    first = plan(few, getattr(service.q, name)).split("; ")[0]
    assert "USING INTEGER PRIMARY KEY (rowid" in first


def test_every_statement_that_reads_is_looked_at_here() -> None:
    reads = {query.name for query in load("fcs") if query.kind != "exec" and query.sql.startswith("SELECT")}
    assert reads == {*INDEX, *BY_ID, COUNTS_ALL, "default_content", "chunk"} - {"begin_upload", "forget_uploads"}


def steps(connection: sqlite3.Connection, query: Query, given: dict[str, object]) -> tuple[int, int]:
    """How many instructions of SQLite's machine a statement takes, and how many rows come; nothing of it stays."""
    taken = 0

    def tick() -> int:
        nonlocal taken
        taken += 1
        return 0

    connection.execute("BEGIN")
    connection.set_progress_handler(tick, 1)
    try:
        cursor = connection.execute(query.sql, {name: given[name] for name in query.parameters})
        found = len(cursor.fetchall()) + max(0, cursor.rowcount)
    finally:
        connection.set_progress_handler(None, 0)
        connection.execute("ROLLBACK")
    return taken, found


BLOBS = to_json([sha256(n) for n in (1, 2, 10**6 + 10, 10**6 + 11, 10**7)])
MIDDLE = {"self_id": ANNA, "owner_id": ANNA, "everyone": 0, "own_group_id": None}
HERS: dict[str, dict[str, object]] = {
    "by_id": MIDDLE,
    "newest": MIDDLE,
    "content": {"sha256": sha256(7)},
    "of_owner": MIDDLE | {"before_id": 2**62, "limit": 101},
    "count_of_owner": MIDDLE,
    "reachable": MIDDLE | {"everyone": 1, "before_id": 2**62, "limit": 20},
    "outdated": {"parser_version": 0, "after_id": 0, "limit": 20},
    "due": {},
    "named": {"blobs": BLOBS, "now": NOW},
    "begin_upload": MIDDLE
    | {"filename": "a", "size_bytes": 1, "chunk_bytes": 1, "sha256": None, "now": NOW, "expires_at": LATER, "most": 16},
    "upload": MIDDLE | {"now": NOW},
    "uploads": MIDDLE | {"now": NOW, "before_id": 2**62, "limit": 101},
    "count_uploads": MIDDLE | {"now": NOW},
    "chunks": {},
    "chunk": {"number": 1},
    "drop_chunks": {},
    "remove": {},
    "abort_upload": {},
    "forget_uploads": {"now": NOW},
}


@pytest.mark.parametrize(("name", "given"), HERS.items(), ids=HERS.keys())
def test_thousands_of_others_cost_nothing(
    few: sqlite3.Connection, many: sqlite3.Connection, name: str, given: dict[str, object]
) -> None:
    """Neither those that came before nor those that came after."""
    query: Query = getattr(service.q, name)
    taken = []
    for connection, number in ((few, FEW), (many, MANY)):
        instructions, found = steps(connection, query, {"id": number // 2, "upload_id": number // 2} | given)
        assert found > 0
        taken.append((instructions, found))
    assert taken[1][1] == taken[0][1]
    assert taken[1][0] <= 1.2 * taken[0][0] + 20


def test_what_an_account_uses_is_told_without_a_look_at_others(
    few: sqlite3.Connection, many: sqlite3.Connection
) -> None:
    given: dict[str, object] = {"owner_id": ANNA, "now": NOW}
    assert steps(few, files.q.used, given) == steps(many, files.q.used, given)


OURS = {*vars(service), *vars(uploads), *vars(files)}


def counted(house: House, number: int) -> dict[str, list[tuple[str, int]]]:
    """The statements of each call, of somebody who keeps so many files, and has had as many uploads."""
    who, admin = house.person(), house.person("admin")
    client = house.client
    ids = []
    for _ in range(number):
        new = {"filename": "a.fcs", "file_size": len(SAMPLE)}
        upload_id = made(client.post(f"{FCS}/uploads", json=new, headers=who.headers))["id"]
        answer = client.put(f"{FCS}/uploads/{upload_id}/chunks/0", content=SAMPLE, headers=who.headers)
        assert answer.status_code == 200, answer.text
        ids.append(made(client.post(f"{FCS}/uploads/{upload_id}/complete", headers=who.headers))["file_id"])
    assert client.get(f"{FCS}/statistics", headers=who.headers).status_code == 200, "nothing more is being computed"
    found: dict[str, list[tuple[str, int]]] = {}
    with statements(house) as seen:

        def note(what: str, method: str, path: str, person: Person, **more: object) -> httpx2.Response:
            seen.clear()
            answer = client.request(method, f"{FCS}/{path}", headers=person.headers, **more)  # type: ignore[arg-type]
            assert answer.is_success, (what, answer.text)
            found[what] = [
                call for call in seen if call[0] in OURS and call[0] != "due"
            ]  # the worker asks when it likes
            assert found[what], (what, seen)
            return answer

        for who_asks, person in (("owner", who), ("admin", admin)):
            for limit, size in ((3, 3), (100, min(100, number))):
                answer = note(f"files {who_asks} {limit}", "GET", f"files?limit={limit}&count=true", person)
                assert len(answer.json()) >= size
        assert len(note("uploads", "GET", "uploads?count=true&limit=100", who).json()) == number
        for path in ("parameters", "events", "keywords", "statistics", f"files/{ids[0]}", f"files/{ids[0]}/download"):
            note(path.replace(str(ids[0]), "1"), "GET", path, who)
        note("raw", "PUT", "content?name=a.fcs", who, content=SAMPLE)
        begun = note("begin", "POST", "uploads", who, json={"filename": "a.fcs", "file_size": len(SAMPLE)}).json()["id"]
        note("a chunk", "PUT", f"uploads/{begun}/chunks/0", who, content=SAMPLE)
        note("complete", "POST", f"uploads/{begun}/complete", who)
        note("delete", "DELETE", f"files/{ids[0]}", who)
    return found


@pytest.mark.slow
def test_no_call_runs_more_statements_for_more_files(house: House) -> None:
    assert counted(house, 3) == counted(house, 60)
