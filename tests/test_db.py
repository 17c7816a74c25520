"""What rooms see of the database: statements become structs, wrong use is refused, and the file is held and guarded."""

import asyncio
import re
import sqlite3
import stat
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest

from app import values
from app.db import Tx, limit_s
from app.db.database import DatabaseInUse
from app.db.files import _use_wal, pending_migrations
from app.db.migrate import Migrated
from app.db.queries import QueryError
from app.db.rows import converter, to_json
from app.db.sqlite import SqliteDatabase
from app.errors import Conflict, StartError
from tests.notes import (
    HANG_S,
    Note,
    add,
    ask,
    count,
    create_tables,
    has,
    opened,
    pragma,
    q,
    statement,
    texts,
    toil_too_long,
)

ROOT = Path(__file__).parent.parent


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    """A database with the notes."""
    database = await opened(tmp_path)
    yield database
    await database.close()


# Statements


async def test_one_gives_the_row_or_none(db: SqliteDatabase) -> None:
    await db.write(add, "a")
    assert await db.read(lambda tx: tx.one(q.by_text, Note, text="a")) == Note(1, "a")
    assert await db.read(lambda tx: tx.one(q.by_text, Note, text="b")) is None


async def test_one_does_not_choose_among_several_rows(db: SqliteDatabase) -> None:
    await db.write(add, "a")
    await db.write(add, "b")
    with pytest.raises(RuntimeError, match=r"odd\.it gave 2 rows"):
        await db.read(lambda tx: tx.one(statement("one", "SELECT id, text FROM notes"), Note))


async def test_many_gives_all_rows_in_the_order_of_the_statement(db: SqliteDatabase) -> None:
    assert await db.read(lambda tx: tx.many(q.all_notes, Note)) == []
    for text in ("b", "a"):
        await db.write(add, text)
    assert await db.read(lambda tx: tx.many(q.all_notes, Note)) == [Note(1, "b"), Note(2, "a")]


async def test_value_gives_one_column_or_none_and_holds_to_its_type(db: SqliteDatabase) -> None:
    def first(sql: str, kind: type) -> Callable[[Tx], object]:
        return lambda tx: tx.value(statement("value", sql), kind)

    assert await db.read(first("SELECT 7", int)) == 7
    assert await db.read(first("SELECT NULL", int)) is None
    assert await db.read(first("SELECT id FROM notes", int)) is None
    with pytest.raises(TypeError, match=r"odd\.it gave str, not int"):
        await db.read(first("SELECT '7'", int))


async def test_exec_gives_the_number_of_rows_it_touched(db: SqliteDatabase) -> None:
    assert await db.write(lambda tx: tx.exec(q.add, text="a")) == 1
    assert await db.write(lambda tx: tx.exec(statement("exec", "DELETE FROM notes"))) == 1
    assert await db.write(lambda tx: tx.exec(statement("exec", "DELETE FROM notes"))) == 0


async def test_exec_many_runs_for_each_set_of_parameters_or_for_none(db: SqliteDatabase) -> None:
    await db.write(lambda tx: tx.exec_many(q.add, [{"text": f"{n}"} for n in range(500)]))
    await db.write(lambda tx: tx.exec_many(q.add, []))
    assert await db.read(texts) == [f"{n}" for n in range(500)]
    with pytest.raises(sqlite3.IntegrityError):
        await db.write(lambda tx: tx.exec_many(q.add, [{"text": "new"}, {"text": "7"}]))
    with pytest.raises(QueryError, match=r"missing text; unknown txt"):
        await db.write(lambda tx: tx.exec_many(q.add, [{"text": "new"}, {"txt": "newer"}]))
    assert await db.read(count) == 500


async def test_a_transaction_has_one_instant(db: SqliteDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    instants = iter([4_102_444_800.0, 4_102_444_801.5])  # to come: what is past already is not believed
    monkeypatch.setattr(values, "clock", lambda: next(instants))
    assert await db.read(lambda tx: [tx.now, tx.now]) == ["2100-01-01T00:00:00.000Z"] * 2
    assert await db.write(lambda tx: tx.now) == "2100-01-01T00:00:01.500Z"


# Rows


class Inner(msgspec.Struct, frozen=True):
    size: int


class Wide(msgspec.Struct, frozen=True):
    """One field of each sort that a row can become."""

    id: int
    ready: bool
    ratio: float
    note: str | None
    state: Literal["on", "off"]
    tags: list[str]
    pairs: tuple[int, ...] | None
    facts: dict[str, int]
    names: Annotated[set[str], msgspec.Meta(max_length=3)]
    inner: Inner | None
    raw: bytes
    left: int = 5


GOOD: dict[str, object] = {
    "id": 1,
    "ready": 1,
    "ratio": 0.5,
    "note": None,
    "state": "on",
    "tags": '["a","b"]',
    "pairs": "[1,2]",
    "facts": '{"n":1}',
    "names": '["x"]',
    "inner": '{"size":3}',
    "raw": b"\x00\xff",
}


def wide(**members: object) -> Wide:
    row = GOOD | members
    return converter([*row], Wide)([*row.values()])


def test_a_row_becomes_a_struct_by_the_names_of_its_columns() -> None:
    assert wide() == Wide(1, True, 0.5, None, "on", ["a", "b"], (1, 2), {"n": 1}, {"x"}, Inner(3), b"\x00\xff")
    assert wide(left=6, ready=0, note="n", ratio=2, pairs=None, inner=None) == Wide(
        1, False, 2.0, "n", "on", ["a", "b"], None, {"n": 1}, {"x"}, None, b"\x00\xff", 6
    )
    assert converter(["right", "left"], dict)([1, "[2]"]) == {"right": 1, "left": "[2]"}


class Plain(msgspec.Struct, frozen=True):
    """Nothing in it needs converting."""

    id: int
    state: Literal["on", "off"]
    note: str | None


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """Its members are given by name alone."""

    id: int
    text: str


def test_a_struct_of_plain_fields_takes_its_columns_in_any_order() -> None:
    assert converter(["id", "state", "note"], Plain)([1, "on", None]) == Plain(1, "on", None)
    assert converter(["note", "id", "state"], Plain)(["n", 1, "off"]) == Plain(1, "off", "n")
    assert converter(["id", "text"], Named)([1, "a"]) == Named(id=1, text="a")


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"ready": 2}, r"\$\.ready"),
        ({"state": "broken"}, r"\$\.state"),
        ({"tags": '{"a": 1}'}, r"\$\.tags"),
        ({"tags": "[1]"}, r"\$\.tags\[0\]"),
        ({"tags": "["}, "truncated"),
        ({"tags": None}, r"\$\.tags"),
        ({"names": '["a", "b", "c", "d"]'}, r"\$\.names"),
    ],
)
def test_a_row_that_does_not_fit_is_an_error(members: dict[str, object], problem: str) -> None:
    with pytest.raises(msgspec.MsgspecError, match=problem):
        wide(**members)


def test_a_column_that_the_statement_forgot_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError, match="`text`"):
        converter(["id"], Note)([1])


def test_lists_and_objects_are_bound_as_json_and_come_back_the_same() -> None:
    assert to_json(["a", "é"]) == '["a","é"]'
    assert wide(tags=to_json(["a", '"', "é"])).tags == ["a", '"', "é"]
    assert wide(inner=to_json(Inner(9))).inner == Inner(9)


# Wrong use


async def coroutine(tx: Tx) -> None: ...


def generator(tx: Tx) -> Iterator[int]:
    yield 1


async def async_generator(tx: Tx) -> AsyncIterator[int]:
    yield 1


class Room:
    async def method(self, tx: Tx) -> None: ...


@pytest.mark.parametrize("fn", [coroutine, generator, async_generator, partial(coroutine), Room().method])
async def test_only_plain_functions_are_taken(db: SqliteDatabase, fn: Any) -> None:
    runs: list[Any] = [db.read, db.write, db.post]
    for run in runs:
        with pytest.raises(TypeError, match=r"must be a plain function"):
            await run(fn)


async def test_a_transaction_cannot_be_used_after_its_end(db: SqliteDatabase) -> None:
    kept: list[Tx] = []
    for run in (db.read, db.write):
        await run(kept.append)

    def fail(tx: Tx) -> None:
        kept.append(tx)
        raise Conflict("No.")

    with pytest.raises(Conflict):
        await db.write(fail)
    for tx in kept:
        for use in (count, lambda tx: tx.exec_many(q.add, []), lambda tx: tx.notify("notes", 1)):
            with pytest.raises(RuntimeError, match="has ended"):
                use(tx)


async def test_a_read_cannot_write(db: SqliteDatabase) -> None:
    with pytest.raises(RuntimeError, match=r"^add writes inside read\(\)$") as caught:
        await db.read(add, "a")
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)

    for lane in db._readers:  # the file is opened read-only besides
        await lane.thread.execute_fetchall("PRAGMA query_only = OFF")
    with pytest.raises(RuntimeError, match=r"^add writes inside read\(\)$"):
        await db.read(add, "a")
    assert await db.read(count) == 0


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (lambda tx: tx.one(q.all_notes, Note), r"notes\.all_notes is :many, not :one"),
        (lambda tx: tx.many(q.by_text, Note, text="a"), r"notes\.by_text is :one, not :many"),
        (lambda tx: tx.value(q.by_text, str, text="a"), r"notes\.by_text is :one, not :value"),
        (lambda tx: tx.exec(q.count), r"notes\.count is :value, not :exec"),
        (lambda tx: tx.exec_many(q.by_text, [{"text": "a"}]), r"notes\.by_text is :one, not :exec"),
    ],
)
async def test_a_statement_is_run_as_what_it_is(
    db: SqliteDatabase, wrong: Callable[[Tx], object], problem: str
) -> None:
    with pytest.raises(TypeError, match=problem):
        await db.write(wrong)


async def test_a_statement_takes_exactly_its_parameters(db: SqliteDatabase) -> None:
    with pytest.raises(QueryError, match=r"tests/notes.py:\d+: .* missing text; unknown txt"):
        await db.write(lambda tx: tx.exec(q.add, txt="a"))


@pytest.mark.parametrize("text", [2**63, "\ud800", object()])
async def test_a_value_that_sqlite_cannot_hold_is_refused_and_what_follows_works(
    db: SqliteDatabase, text: object
) -> None:
    with pytest.raises((OverflowError, UnicodeEncodeError, sqlite3.Error)):
        await db.write(lambda tx: tx.exec(q.add, text=text))
    assert await db.write(add, "a") == "a"


SNIPPET = """\
from app.db import Database, Tx


def keep(tx: Tx, name: str, *, size: int = 0) -> int:
    return len(name) + size


async def slow(tx: Tx) -> int:
    return 1


async def right(db: Database) -> int:
    db.post(keep, "a", size=2)
    await db.read(keep, "a")
    return await db.write(keep, "a", size=2)


async def wrong(db: Database) -> None:
    await db.write(keep, 1)  # WRONG
    await db.write(keep)  # WRONG
    await db.write(keep, "a", sise=2)  # WRONG
    await db.read(keep, "a", size="2")  # WRONG
    await db.read(keep, "a", 2)  # WRONG
    db.post(keep, 1)  # WRONG
    text: str = await db.read(keep, "a")  # WRONG
    (await db.read(keep, "a")).name  # WRONG
    await db.read(slow)  # WRONG
"""


@pytest.mark.slow
def test_mypy_checks_the_arguments_of_read_write_and_post(tmp_path: Path) -> None:
    snippet = tmp_path / "snippet.py"
    snippet.write_text(SNIPPET)
    settings = [f"--cache-dir={tmp_path / 'cache'}", f"--config-file={ROOT / 'pyproject.toml'}"]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", *settings, str(snippet)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    reported = {int(line.split(":")[1]) for line in checked.stdout.splitlines() if ": error:" in line}
    wrong = {number for number, line in enumerate(SNIPPET.splitlines(), 1) if line.endswith("# WRONG")}
    assert reported == wrong, checked.stdout + checked.stderr


# What people see of it


async def test_a_traceback_leads_from_the_handler_to_the_line_of_the_service(db: SqliteDatabase) -> None:
    class Odd(LookupError):
        pass

    def service(tx: Tx) -> None:
        raise Odd("here")

    async def handler() -> None:
        await db.read(service)

    with pytest.raises(Odd) as caught:
        await handler()
    assert caught.value.__cause__ is caught.value.__context__ is None
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[1:] == ["handler", "read", "run", "service"]


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The statements in the slow query log."""
    return [vars(record)["query"] for record in caplog.records if record.message == "slow query"]


async def test_a_slow_statement_is_logged_by_its_name_and_never_with_its_values(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    db = await opened(tmp_path, slow_query_ms=0)
    caplog.clear()
    await db.write(add, "a secret")
    await db.read(has, "a secret")
    await db.write(lambda tx: tx.exec_many(q.add, [{"text": "another secret"}]))
    assert logged(caplog) == ["notes.add", "notes.by_text", "notes.add"]
    assert all(vars(record)["ms"] >= 0 for record in caplog.records if record.message == "slow query")
    assert "secret" not in str([vars(record) for record in caplog.records])
    await db.close()


async def test_a_statement_that_was_cut_off_is_in_the_slow_query_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    db = await opened(tmp_path, slow_query_ms=10)
    caplog.clear()
    with pytest.raises(Exception, match="took too long"):
        await db.read(toil_too_long)
    assert logged(caplog) == ["notes.toil"]
    await db.close()


async def test_a_fast_statement_is_not_logged(db: SqliteDatabase, caplog: pytest.LogCaptureFixture) -> None:
    await db.write(add, "a")
    assert logged(caplog) == []


async def test_it_says_which_engine_and_which_schema_it_is(db: SqliteDatabase) -> None:
    migrations = sorted((ROOT / "sql" / "migrations").iterdir())
    assert db.dialect == "sqlite"
    assert db.engine == sqlite3.sqlite_version
    assert db.schema == len(migrations)
    assert db.migrated == Migrated(len(migrations), len(migrations))
    assert db.writable


def test_a_time_limit_is_marked_on_the_function_itself() -> None:
    @limit_s(7)
    def service(tx: Tx) -> None: ...

    assert vars(service)["limit_s"] == 7
    assert service.__name__ == "service"


async def test_a_statement_is_prepared_once_also_when_there_are_hundreds(db: SqliteDatabase) -> None:
    prepared: list[int] = []

    def count_prepared(action: int, *_: object) -> int:
        prepared.append(action)
        return sqlite3.SQLITE_OK

    statements = [statement("value", f"SELECT {n}") for n in range(500)]

    def run_all(tx: Tx) -> list[int | None]:
        return [tx.value(each, int) for each in statements]

    for lane in (db._writer, *db._readers):
        await lane.thread.call(lane.thread.raw.set_authorizer, count_prepared)
    assert await db.write(run_all) == [*range(500)]
    assert len(prepared) >= 500
    prepared.clear()
    await db.write(run_all)
    assert prepared == []


# The file


@pytest.mark.parametrize(
    ("name", "writer", "reader"),
    [
        ("journal_mode", "wal", "wal"),
        ("synchronous", 2, None),
        ("foreign_keys", 1, None),
        ("trusted_schema", 0, 0),
        ("temp_store", 2, 2),
        ("cache_size", -4000, -2000),
        ("mmap_size", 0, 0),
        ("busy_timeout", 5000, 5000),
        ("wal_autocheckpoint", 1000, None),
        ("journal_size_limit", 4_000_000, None),
        ("query_only", 0, 1),
    ],
)
async def test_connections_are_set_up_for_a_flash_disk(
    db: SqliteDatabase, name: str, writer: object, reader: object
) -> None:
    assert await db.write(ask, name) == writer
    if reader is not None:
        for lane in db._readers:
            found = await lane.thread.execute_fetchall(pragma(name).sql)
            assert [tuple(row) for row in found] == [(reader,)]


async def test_files_are_for_their_owner_alone(db: SqliteDatabase, tmp_path: Path) -> None:
    await db.write(add, "a")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    names = ["app.db", "app.db-shm", "app.db-wal", "app.db.lock", "lock"]
    assert modes == dict.fromkeys(names, 0o600)


async def test_names_may_hold_signs_that_mean_something_in_addresses(tmp_path: Path) -> None:
    folder = tmp_path / "a #1 100% folder?mode=memory"
    folder.mkdir()
    db = await SqliteDatabase.open(folder / "my ?#%20.db", data_dir=folder)
    await db.close()
    assert (folder / "my ?#%20.db").stat().st_size > 0
    assert pending_migrations(folder / "my ?#%20.db") == []


async def test_a_relative_path_is_taken_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    db = await SqliteDatabase.open(Path("deep/down/app.db"), data_dir=Path())
    await db.close()
    assert (tmp_path / "deep/down/app.db").is_file()
    assert pending_migrations(Path("deep/down/app.db")) == []


async def test_with_empty_the_old_file_is_deleted(tmp_path: Path) -> None:
    db = await opened(tmp_path)
    await db.write(add, "a")
    await db.close()
    (tmp_path / "app.db-wal").write_bytes(b"left behind")
    db = await SqliteDatabase.open(tmp_path / "app.db", data_dir=tmp_path, empty=True)
    await db.write(create_tables)
    assert await db.read(count) == 0
    await db.close()


async def test_a_database_that_holds_data_is_copied_before_it_is_migrated(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")) as old, old:
        old.execute("CREATE TABLE schema_migrations (version INTEGER, name TEXT, sha256 TEXT, applied_at TEXT)")
        old.execute("CREATE TABLE keepsakes (text TEXT)")
        old.execute("INSERT INTO keepsakes VALUES ('old')")
    assert pending_migrations(tmp_path / "app.db")[0].startswith("0001_")
    db = await SqliteDatabase.open(tmp_path / "app.db", data_dir=tmp_path)
    await db.close()
    (copy,) = (tmp_path / "backups").iterdir()
    assert copy.name == "before-migration-0000.db"
    assert {stat.S_IMODE(path.stat().st_mode) for path in (copy, copy.parent)} == {0o600, 0o700}
    with closing(sqlite3.connect(copy)) as found:
        assert found.execute("SELECT name FROM sqlite_schema ORDER BY name").fetchall() == [
            ("keepsakes",),
            ("schema_migrations",),
        ]


async def test_a_migration_that_fails_stops_the_start_with_one_line(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")) as old:
        old.execute("CREATE TABLE schema_migrations (version INTEGER, name TEXT, sha256 TEXT, applied_at TEXT)")
        old.execute("CREATE TABLE users (name TEXT)")
    with pytest.raises(StartError, match=r"^/\S+/app\.db: Migration 0001_.*table users already exists$"):
        await _closed(tmp_path / "app.db")
    (tmp_path / "app.db").unlink()
    await _closed(tmp_path / "app.db")


async def test_pending_migrations_are_told_without_touching_anything(tmp_path: Path) -> None:
    every = sorted(path.name for path in (ROOT / "sql" / "migrations").iterdir())
    assert pending_migrations(tmp_path / "app.db") == every
    assert [*tmp_path.iterdir()] == []
    db = await opened(tmp_path)
    assert pending_migrations(tmp_path / "app.db") == []  # also beside the running service
    await db.close()


def garbage(path: Path) -> None:
    path.write_bytes(b"This is a letter, not a database.\n" * 1000)


def header_alone(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\x00" + b"\xff" * 5000)


def torn(path: Path) -> None:
    """A real database whose schema page is overwritten."""
    asyncio.run(_closed(path))
    with open(path, "r+b") as file:
        file.seek(100)
        file.write(b"\xaa" * 3900)


async def _closed(path: Path) -> None:
    await (await SqliteDatabase.open(path, data_dir=path.parent)).close()


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE recipes (text TEXT)")


def newer(path: Path) -> None:
    asyncio.run(_closed(path))
    with closing(sqlite3.connect(path)) as later, later:
        later.execute("INSERT INTO schema_migrations VALUES (9999, '9999_future.sql', 'x', 'then')")


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (garbage, "file is not a database"),
        (header_alone, "file is not a database"),
        (torn, "malformed"),
        (foreign, "holds tables that are not Purser's"),
        (newer, "newer than this program"),
        (folder, "(Is a directory|disk I/O error)"),
    ],
)
def test_a_file_that_is_not_our_database_stops_the_start_with_one_line_and_stays_as_it_was(
    tmp_path: Path, spoil: Callable[[Path], None], reason: str
) -> None:
    path = tmp_path / "app.db"
    spoil(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(StartError) as refused:
        asyncio.run(_closed(path))
    line = str(refused.value)
    assert re.fullmatch(f"{re.escape(str(path))}: .*{reason}.*", line), line
    assert "Error" not in line
    with pytest.raises(StartError, match=reason):
        pending_migrations(path)
    assert before == (path.read_bytes() if path.is_file() else b"")
    path.rename(tmp_path / "spoilt")
    asyncio.run(_closed(path))  # nothing of the failed start holds the folder


@pytest.mark.parametrize(
    ("path", "data_dir", "reason"),
    [
        ("file/app.db", "", "/file cannot be used: File exists"),
        ("file/deeper/app.db", "", "/file/deeper cannot be used: Not a directory"),
        ("app.db", "missing", "/missing/lock cannot be used: No such file or directory"),
    ],
)
async def test_a_folder_that_cannot_be_used_stops_the_start_with_one_line(
    tmp_path: Path, path: str, data_dir: str, reason: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError) as refused:
        await SqliteDatabase.open(tmp_path / path, data_dir=tmp_path / data_dir)
    assert str(refused.value) == f"{tmp_path}{reason}"


def test_a_place_that_cannot_hold_a_write_ahead_log_is_refused() -> None:
    with closing(sqlite3.connect(":memory:")) as connection, pytest.raises(sqlite3.Error, match="only in memory mode"):
        _use_wal(connection)


async def test_a_start_that_is_cancelled_lets_go_of_everything(tmp_path: Path) -> None:
    for turns in range(12):
        starting = asyncio.create_task(SqliteDatabase.open(tmp_path / "app.db", data_dir=tmp_path))
        for _ in range(turns):
            await asyncio.sleep(0)
        starting.cancel()
        await asyncio.wait([starting])
        if not starting.cancelled():
            await starting.result().close()
    await _closed(tmp_path / "app.db")


# One process


async def in_use(path: Path, data_dir: Path) -> str:
    """The line with which a second opening is refused."""
    with pytest.raises(DatabaseInUse) as refused:
        await SqliteDatabase.open(path, data_dir=data_dir)
    return str(refused.value)


async def test_a_second_opening_of_the_file_or_of_the_folder_is_refused(tmp_path: Path) -> None:
    home, elsewhere, third = tmp_path / "home", tmp_path / "elsewhere", tmp_path / "third"
    for made in (home, elsewhere, third):
        made.mkdir()
    db = await SqliteDatabase.open(home / "app.db", data_dir=home)
    file, data_dir = home / "app.db", home
    assert await in_use(file, data_dir) == f"{file} is in use: another Purser holds {home / 'lock'}"
    assert await in_use(file, elsewhere) == f"{file} is in use: another Purser holds {home / 'app.db.lock'}"
    assert str(home / "lock") in await in_use(elsewhere / "other.db", home)
    (third / "link.db").symlink_to(file)
    assert str(home / "app.db.lock") in await in_use(third / "link.db", third)

    beside = await SqliteDatabase.open(home / "other.db", data_dir=elsewhere)
    await beside.close()
    await db.close()
    await _closed(file)


HOLD = """
import asyncio, sys
from pathlib import Path
from app.db.sqlite import SqliteDatabase
from app.errors import StartError

async def main(folder):
    try:
        db = await SqliteDatabase.open(folder / "app.db", data_dir=folder)
    except StartError as error:
        return print(type(error).__name__, error)
    print("holding", flush=True)
    sys.stdin.read()

asyncio.run(main(Path(sys.argv[1])))
"""


def holder(folder: Path) -> "subprocess.Popen[str]":
    """Another process that opens the database and holds it until its input ends."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.slow
async def test_another_process_is_refused_until_the_holder_is_gone_even_by_kill(tmp_path: Path) -> None:
    first = holder(tmp_path)
    assert first.stdout is not None
    assert first.stdout.readline() == "holding\n"
    assert "another Purser holds" in await in_use(tmp_path / "app.db", tmp_path)
    said, _ = holder(tmp_path).communicate(timeout=HANG_S)
    assert said.startswith(f"DatabaseInUse {tmp_path / 'app.db'} is in use")
    first.kill()
    first.communicate(timeout=HANG_S)

    db = await opened(tmp_path)
    await db.write(add, "a")
    await db.close()


MEMORY = """
import asyncio, resource, sys
from pathlib import Path
from tests.notes import add, count, opened, q, statement

BIG = statement("exec", "INSERT INTO notes (text) SELECT hex(randomblob(400000000))")

def swallow(tx):
    add(tx, "before")
    try:
        tx.exec(BIG)
    except MemoryError:
        pass
    try:
        add(tx, "after")
    except RuntimeError as error:
        print(error)

async def main(folder):
    db = await opened(folder)
    resource.setrlimit(resource.RLIMIT_AS, (600_000_000, 600_000_000))
    outcomes = await asyncio.gather(db.write(add, "a"), db.write(swallow), db.write(add, "c"), return_exceptions=True)
    print([type(outcome).__name__ for outcome in outcomes], await db.read(count))
    await db.close()

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.slow
def test_running_out_of_memory_ends_the_transaction_like_any_database_error(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    said = "the transaction of swallow has failed; nothing can follow\n" * 2
    assert ended.stdout == f"{said}['str', 'MemoryError', 'str'] 2\n"
