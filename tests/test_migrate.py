"""Migrations: forward only, each whole or not at all, a copy first, and the page sql/schema.sql tells the truth."""

import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.config import Config
from app.db.migrate import Migrated, MigrationError, migrate, pending
from app.main import create_app
from app.values import new_token
from tests.accounts import bearer
from tests.fcs_writer import fcs

ROOT = Path(__file__).resolve().parent.parent
NOW = "2026-11-21T06:17:00.123Z"
PARENTS = "-- Parents.\nCREATE TABLE parents (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL) STRICT;\n"
CHILDREN = """\
CREATE TABLE children (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    parent_id INTEGER NOT NULL REFERENCES parents (id) ON DELETE CASCADE
) STRICT;
CREATE INDEX children_parent ON children (parent_id); -- two statements on this page;
/* and a third; */ CREATE TRIGGER parents_fixed BEFORE UPDATE OF id ON parents
BEGIN SELECT RAISE(ABORT, 'ids are fixed'); SELECT 1; END;
"""


class House:
    """A folder of migrations, a database in WAL mode and a place for its copies."""

    def __init__(self, root: Path) -> None:
        self.root, self.source = root, root / "migrations"
        self.source.mkdir()
        self.connection = sqlite3.connect(root / "app.db", isolation_level=None)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.file("0001_parents.sql", PARENTS)
        self.file("0002_children.sql", CHILDREN)

    def file(self, name: str, sql: str) -> None:
        (self.source / name).write_text(sql)

    def copy_to(self, version: int) -> Path:
        return self.root / "backups" / f"before-{version + 1}.db"

    def migrate(self) -> Migrated:
        return migrate(self.connection, now=NOW, copy_to=self.copy_to, source=self.source)

    def copies(self) -> list[str]:
        return sorted(path.name for path in self.root.glob("backups/*"))

    def refused(self) -> str:
        """The line `migrate` refuses with, having left the database exactly as it was."""
        before = self.dump()
        with pytest.raises(MigrationError) as refusal:
            self.migrate()
        assert self.dump() == before
        assert "\n" not in str(refusal.value)
        return str(refusal.value)

    def dump(self) -> list[str]:
        assert not self.connection.in_transaction
        return list(self.connection.iterdump())


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    with closing(house.connection):
        yield house


def test_an_empty_database_gets_every_migration_once(house: House) -> None:
    assert pending(house.connection, house.source) == ["0001_parents.sql", "0002_children.sql"]
    assert house.migrate() == Migrated(version=2, applied=2)
    assert pending(house.connection, house.source) == []
    rows = house.connection.execute("SELECT version, name, length(sha256), applied_at FROM schema_migrations")
    assert rows.fetchall() == [(1, "0001_parents.sql", 64, NOW), (2, "0002_children.sql", 64, NOW)]
    assert house.connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
    with pytest.raises(sqlite3.IntegrityError, match="ids are fixed"):
        house.connection.executescript("INSERT INTO parents (name) VALUES ('a'); UPDATE parents SET id = 2")


def test_running_twice_changes_nothing(house: House) -> None:
    house.migrate()
    before = house.dump()
    assert house.migrate() == Migrated(version=2, applied=0)
    assert house.dump() == before
    assert house.copies() == []


def test_a_connection_with_a_row_factory_is_served_alike(house: House) -> None:
    house.connection.row_factory = lambda cursor, row: {"nothing": "useful"}
    assert house.migrate() == Migrated(version=2, applied=2)
    assert house.migrate() == Migrated(version=2, applied=0)


def test_a_database_with_rows_is_copied_before_it_is_changed(house: House) -> None:
    house.migrate()
    house.connection.execute("INSERT INTO parents (name) VALUES ('kept')")
    house.file("0003_rename.sql", "UPDATE parents SET name = 'changed';")
    assert house.migrate() == Migrated(version=3, applied=1)
    assert house.copies() == ["before-3.db"]
    copied = house.copy_to(2)
    assert stat.S_IMODE(copied.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copied)) as copy:
        assert copy.execute("SELECT name FROM parents").fetchall() == [("kept",)]
        assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert copy.execute("SELECT max(version) FROM schema_migrations").fetchone() == (2,)
    assert house.connection.execute("SELECT name FROM parents").fetchall() == [("changed",)]


def test_a_table_of_an_odd_name_counts_as_rows_too(house: House) -> None:
    house.migrate()
    house.connection.executescript('CREATE TABLE "odd ""name" (x); INSERT INTO "odd ""name" VALUES (1)')
    house.file("0003_more.sql", "CREATE TABLE more (id INTEGER PRIMARY KEY) STRICT;")
    house.migrate()
    assert house.copies() == ["before-3.db"]


def test_without_rows_no_copy_is_made(house: House) -> None:
    house.migrate()
    house.file("0003_more.sql", "CREATE TABLE more (id INTEGER PRIMARY KEY) STRICT;")
    assert house.migrate() == Migrated(version=3, applied=1)
    assert house.copies() == []


def test_when_no_copy_can_be_made_nothing_is_changed(house: House) -> None:
    house.migrate()
    house.connection.execute("INSERT INTO parents (name) VALUES ('kept')")
    house.file("0003_rename.sql", "UPDATE parents SET name = 'changed';")
    (house.root / "backups").write_text("a file where the folder should be")
    assert house.refused().startswith("No copy could be made before migrating, so nothing was changed: ")


def test_a_damaged_database_is_not_migrated_behind_a_damaged_copy(house: House) -> None:
    house.migrate()
    house.connection.executescript(
        """
        INSERT INTO parents (name) VALUES ('other'), ('kept');
        INSERT INTO children (parent_id) VALUES (2);
        PRAGMA writable_schema=ON; -- the index holds parents where it now claims to hold ids
        UPDATE sqlite_schema SET sql = replace(sql, '(parent_id)', '(id)') WHERE name = 'children_parent';
        PRAGMA writable_schema=OFF;
        """
    )
    house.file("0003_rename.sql", "UPDATE parents SET name = 'changed';")
    with pytest.raises(MigrationError, match=r"^The copy made before migrating is damaged, so nothing was changed: "):
        house.migrate()
    assert house.copies() == []
    assert house.connection.execute("SELECT name FROM parents").fetchall() == [("other",), ("kept",)]


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("DELETE FROM parents;\n\nSELECT missing;", "Migration 0003_bad.sql, line 3: no such column: missing"),
        ("UPDATE parents SET name = NULL;", "Migration 0003_bad.sql, line 1: NOT NULL constraint failed: parents.name"),
        ("DELETE FROM parents;", "Migration 0003_bad.sql leaves rows of children without their parent."),
        ("DELETE FROM parents;\nCOMMIT;", "Migration 0003_bad.sql, line 2: COMMIT has no place in it."),
        ("PRAGMA foreign_keys=ON;", "Migration 0003_bad.sql, line 1: PRAGMA has no place in it."),
        ("CREATE TABLE a (id INTEGER)", "Migration 0003_bad.sql ends inside a statement: a semicolon is missing."),
        ("SELECT 'open;", "Migration 0003_bad.sql:1: ' is never closed"),
        ("DROP TABLE schema_migrations;", "Migration 0003_bad.sql failed: no such table: schema_migrations"),
    ],
)
def test_a_failing_migration_leaves_the_database_as_it_was(house: House, sql: str, problem: str) -> None:
    house.migrate()
    house.connection.executescript(
        "INSERT INTO parents (name) VALUES ('a'); INSERT INTO children (parent_id) VALUES (1)"
    )
    house.file("0003_bad.sql", sql)
    assert house.refused() == problem
    assert house.connection.execute("PRAGMA foreign_keys").fetchone() == (1,)
    assert pending(house.connection, house.source) == ["0003_bad.sql"]


def test_the_migrations_before_a_failing_one_stay(house: House) -> None:
    house.file("0003_bad.sql", "SELECT missing;")
    with pytest.raises(MigrationError):
        house.migrate()
    assert pending(house.connection, house.source) == ["0003_bad.sql"]


def test_a_parent_is_rebuilt_without_losing_its_children(house: House) -> None:
    house.migrate()
    house.connection.executescript(
        "INSERT INTO parents (name) VALUES ('a'); INSERT INTO children (parent_id) VALUES (1)"
    )
    house.file(
        "0003_rebuild.sql",
        """\
        CREATE TABLE new_parents (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE) STRICT;
        INSERT INTO new_parents (id, name) SELECT id, name FROM parents;
        DROP TABLE parents;
        ALTER TABLE new_parents RENAME TO parents;
        """,
    )
    assert house.migrate() == Migrated(version=3, applied=1)
    assert house.connection.execute("SELECT parent_id FROM children").fetchall() == [(1,)]
    with pytest.raises(sqlite3.IntegrityError, match="FOREIGN KEY"):
        house.connection.execute("INSERT INTO children (parent_id) VALUES (99)")


def test_an_old_file_that_changed_is_refused_by_name(house: House) -> None:
    house.migrate()
    house.file("0001_parents.sql", PARENTS + "-- a later thought\n")
    assert house.refused() == "Migration 0001_parents.sql has changed since it was applied to the database."


def test_an_old_file_that_was_renamed_is_refused_by_both_names(house: House) -> None:
    house.migrate()
    (house.source / "0001_parents.sql").rename(house.source / "0001_elders.sql")
    assert house.refused() == "The database has had migration 0001_parents.sql, where this program has 0001_elders.sql."


def test_a_database_newer_than_the_program_is_refused(house: House) -> None:
    house.migrate()
    (house.source / "0002_children.sql").unlink()
    assert house.refused().startswith(
        "The database is at 0002_children.sql, newer than this program, which knows 1 migrations: "
    )


@pytest.mark.parametrize(
    "schema",
    [
        "CREATE TABLE notes (x)",
        "CREATE VIEW one AS SELECT 1 AS x",
        "CREATE TABLE schema_migrations (version TEXT PRIMARY KEY); CREATE TABLE notes (x)",
    ],
)
def test_a_database_of_another_program_is_refused(house: House, schema: str) -> None:
    house.connection.executescript(schema)
    assert house.refused() == "The database file holds tables that are not Purser's: name another file."


@pytest.mark.parametrize(
    ("name", "expected"),
    [("0004_gap.sql", "0003"), ("0002_again.sql", "0003"), ("3_short.sql", "0003"), ("0003_Caps.sql", "0003")],
)
def test_a_misnamed_file_is_refused(house: House, name: str, expected: str) -> None:
    house.file(name, "SELECT 1;")
    assert f"is misnamed: {expected}_words.sql was expected." in house.refused()


def test_what_is_no_sql_file_is_left_alone(house: House) -> None:
    house.file("README.md", "not SQL")
    assert house.migrate() == Migrated(version=2, applied=2)


def test_a_connection_that_would_begin_transactions_itself_is_refused(house: House) -> None:
    with (
        closing(sqlite3.connect(house.root / "other.db")) as connection,
        pytest.raises(MigrationError, match="autocommit"),
    ):
        migrate(connection, now=NOW, source=house.source)
    house.connection.execute("BEGIN")
    with pytest.raises(MigrationError, match="autocommit"):
        pending(house.connection, house.source)
    house.connection.execute("ROLLBACK")


def test_the_schema_page_is_what_the_migrations_make() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "scripts/schema", "--print"], capture_output=True, text=True, check=True
    )
    assert (ROOT / "sql/schema.sql").read_text() == made.stdout, "run scripts/schema"


def test_the_schema_page_makes_the_same_schema() -> None:
    listed = "SELECT type, name, tbl_name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_autoindex%' ORDER BY name"
    columns = "SELECT m.name, c.* FROM sqlite_schema m JOIN pragma_table_info(m.name) c ORDER BY m.name, c.cid"
    with (
        closing(sqlite3.connect(":memory:", isolation_level=None)) as migrated,
        closing(sqlite3.connect(":memory:")) as written,
    ):
        migrate(migrated, now=NOW)
        written.executescript((ROOT / "sql/schema.sql").read_text())
        for question in (listed, columns):
            assert written.execute(question).fetchall() == migrated.execute(question).fetchall()


SECOND = """
INSERT INTO claims (slot, claimed_at) VALUES (1, :at);
INSERT INTO groups (name, uniform_number, created_at, updated_at) VALUES ('North', '00000001', :at, :at);
INSERT INTO roles (name, label, grants, created_at, updated_at) VALUES ('bench', 'Bench', '[]', :at, :at);
INSERT INTO users (username, username_key, status, role, group_id, created_at, updated_at) VALUES
('root', 'root', 'active', 'super_admin', NULL, :at, :at), ('nora', 'nora', 'active', 'admin', 1, :at, :at);
INSERT INTO user_roles (user_id, role_id) VALUES (2, 5);
INSERT INTO tokens (user_id, name, prefix, secret_sha256, scopes, created_at) VALUES
(1, 'one', 'pat_00000000', :root, '["*"]', :at), (2, 'two', 'pat_00000000', :nora, '["audit:read"]', :at);
INSERT INTO sessions (user_id, epoch, nonce, ip, user_agent, created_at, last_used_at, expires_at)
VALUES (2, 0, '0123456789abcdef0123456789abcdef', '192.0.2.7', '', :at, :at, :at);
INSERT INTO refresh_tokens (session_id, secret_sha256, created_at, expires_at) VALUES (1, :root, :at, :at);
INSERT INTO sign_in_failures (subject, source, at) VALUES ('users/2', '192.0.2.7', :at);
INSERT INTO audit (at, kind, actor_id, actor_name, token_id, method, path, route, status, authorized, action, target)
VALUES
(:at, 'change', 1, 'root', 1, 'POST', '/a', '/a', 201, 1, 'roles.create', 'roles/5'),
(:at, 'call', 2, 'nora', 2, 'GET', '/b', '/b', 403, 0, NULL, NULL),
(:at, 'call', NULL, NULL, NULL, 'GET', '/c', '/c', 401, 0, NULL, NULL),
(:at, 'change', 9, 'gone', NULL, NULL, NULL, NULL, NULL, 1, 'downloads.end', 'packages/9');
"""


THIRD = """
INSERT INTO teams (name, owner_id, created_at, updated_at) VALUES ('Optics', 2, :at, :at);
INSERT INTO team_members (team_id, user_id, joined_at) VALUES (1, 2, :at), (1, 1, :at);
"""
"""What came with the third schema."""

FOURTH = """
INSERT INTO folders (owner_id, name, name_key, created_at, updated_at) VALUES (1, 'letters', 'letters', :at, :at);
INSERT INTO files
(owner_id, folder_id, name, name_key, search_text, sha256, size_bytes, media_type, kind, created_at, updated_at)
VALUES
(1, 1, 'a.txt', 'a.txt', 'a.txt', :root, 100, 'text/plain', 'document', :at, :at),
(1, NULL, 'b.png', 'b.png', 'b.png', :nora, 20, 'image/png', 'image', :at, :at),
(2, NULL, 'c.png', 'c.png', 'c.png', :nora, 20, 'image/png', 'image', :at, :at);
INSERT INTO documents (owner_id, title, title_key, size_bytes, stored_bytes, edited_at, created_at, updated_at)
VALUES (2, 'Title', 'title', 3, 7, :at, :at, :at);
DELETE FROM files WHERE id = 2;
"""
"""What came with the fourth, and of which something has gone already."""


class Old:
    """A database as it was under an old schema, in use: its owner, and an admin of a group."""

    def __init__(self, config: Config, source: Path, version: int, *more: str) -> None:
        self.config, self.root, self.nora = config, new_token(), new_token()
        source.mkdir()
        for path in sorted((ROOT / "sql/migrations").glob(f"000[1-{version}]_*.sql")):
            (source / path.name).write_bytes(path.read_bytes())
        config.data_dir.mkdir()
        hashes = {name: sha256(getattr(self, name).encode()).hexdigest() for name in ("root", "nora")}
        with closing(self.connect()) as connection:
            assert migrate(connection, now=NOW, source=source).version == version
            for statement in "".join((SECOND, *more)).split(";")[:-1]:
                known = {name: value for name, value in {"at": NOW, **hashes}.items() if f":{name}" in statement}
                connection.execute(statement, known)

    def connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.config.database_path, isolation_level=None)


@pytest.fixture
def second(config: Config, tmp_path: Path) -> Old:
    return Old(config, tmp_path / "migrations", 2)


@pytest.fixture
def third(config: Config, tmp_path: Path) -> Old:
    return Old(config, tmp_path / "migrations", 3, THIRD)


@pytest.fixture
def fourth(config: Config, tmp_path: Path) -> Old:
    """As the release before this one left it."""
    return Old(config, tmp_path / "migrations", 4, THIRD, FOURTH)


def contents(connection: sqlite3.Connection) -> dict[str, list[dict[str, object]]]:
    """All rows of all tables, but which migrations there were."""
    names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
    found = {}
    for (name,) in names.fetchall():
        cursor = connection.execute(f'SELECT * FROM "{name}" ORDER BY rowid')  # noqa: S608
        columns = [column for column, *_ in cursor.description]
        found[name] = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
    del found["schema_migrations"]
    return found


def test_the_trail_can_be_read_after_the_third_migration_and_nothing_is_lost(second: Old) -> None:
    with closing(second.connect()) as connection:
        before = contents(connection)
        assert all(before[name] for name in ("users", "tokens", "sessions", "refresh_tokens", "groups", "user_roles"))
        assert pending(connection)[0].startswith("0003_")
        migrate(connection, now=NOW)
        after = contents(connection)
        assert [row.pop("group_id") for row in after["audit"]] == [None] * 4
        assert {name: after[name] for name in before} == before
        assert after.keys() - before.keys() >= {"teams", "team_members", "password_reset_requests", "password_resets"}
        assert [after[name] for name in after.keys() - before.keys() if after[name]] == []
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_the_trails_indexes_are_replaced_by_those_that_tell_the_time(second: Old) -> None:
    listed = "SELECT name, sql FROM sqlite_schema WHERE tbl_name = 'audit' AND type = 'index' ORDER BY name"
    with closing(second.connect()) as connection:
        assert [name for name, _ in connection.execute(listed)] == ["audit_token_id"]
        migrate(connection, now=NOW)
        found = {name: sql.partition(" ON audit ")[2] for name, sql in connection.execute(listed)}
    wanted = {
        f"audit_{name}": f"({name}, at) WHERE {name} IS NOT NULL" for name in ("token_id", "actor_id", "group_id")
    }
    wanted |= {f"audit_{name}": f"({name}, at) WHERE {name} IS NOT NULL" for name in ("action", "target")}
    assert found == wanted | {"audit_at": "(at)", "audit_refused": "(at) WHERE authorized = 0"}


def test_an_appliance_of_the_second_schema_goes_on_under_todays_program(second: Old) -> None:
    """Its trail is read; an admin of a group is not shown what was written before rows told of groups."""
    with TestClient(create_app(second.config), client=("127.0.0.1", 50000)) as client:
        told = client.get("/api/v1/audit", params={"until": "2026-11-21T06:17:01Z"}, headers=bearer(second.root))
        assert (told.status_code, [row["id"] for row in told.json()]) == (200, [4, 3, 2, 1])
        logs = client.get("/api/v1/tokens/2/logs", headers=bearer(second.root)).json()
        assert (logs["total_logs"], logs["logs"][0]["status_code"]) == (1, 403)
        assert client.get("/api/v1/audit", headers=bearer(second.nora)).json() == []
        (own,) = client.get("/api/v1/audit", headers=bearer(second.nora)).json()
        assert (own["actor_name"], own["path"]) == ("nora", "/api/v1/audit")
        team = client.post("/api/v1/teams", json={"name": "Optics"}, headers=bearer(second.root))
        assert (team.status_code, team.json()["owner_name"]) == (201, "root")
    assert [path.name for path in (second.config.data_dir / "backups").iterdir()] == ["before-migration-0002.db"]


KEPT = (
    *("folders", "files", "file_shares", "file_accesses", "file_uploads", "storage_use"),
    *("documents", "document_texts", "document_signs", "document_revisions", "document_tags", "document_shares"),
)
FCS = ("fcs_contents", "fcs_files", "fcs_uploads", "fcs_chunks")


def test_the_fourth_migration_adds_what_people_keep_and_nothing_is_lost(third: Old) -> None:
    with closing(third.connect()) as connection:
        before = contents(connection)
        assert [name for name in ("users", "tokens", "sessions", "teams", "team_members") if not before[name]] == []
        assert pending(connection)[0].startswith("0004_")
        migrate(connection, now=NOW)
        after = contents(connection)
        assert {name: after[name] for name in before} == before
        new = {name: after[name] for name in after.keys() - before.keys()}
        assert new == {name: [] for name in (*KEPT, *FCS)}
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_an_appliance_of_the_third_schema_goes_on_under_todays_program(third: Old) -> None:
    """People who were there keep files, and share them with the team that was there."""
    with TestClient(create_app(third.config), client=("127.0.0.1", 50000)) as client:
        root, nora = bearer(third.root), bearer(third.nora)
        refused = client.get("/api/v1/files", headers=nora)
        assert (refused.status_code, refused.json()["held"]) == (403, ["audit:read"])
        made = client.put("/api/v1/files/content?name=a.txt", content=b"hello", headers=root)
        assert (made.status_code, made.json()["owner_name"]) == (201, "root")
        share = client.post("/api/v1/files/1/share", json={"team_id": 1}, headers=root)
        assert (share.status_code, share.json()["team_name"]) == (200, "Optics")
        assert client.post("/api/v1/documents", json={"title": "Title"}, headers=root).status_code == 201
        assert client.get("/api/v1/files/storage", headers=root).json()["used"] == 5
    assert [path.name for path in (third.config.data_dir / "backups").iterdir()] == ["before-migration-0003.db"]


def test_the_fifth_migration_adds_a_kind_of_use_and_loses_no_count(fourth: Old) -> None:
    """The table of use is made anew, and the triggers that write it: both go on where they were."""
    listed = "SELECT name FROM sqlite_schema WHERE type = 'trigger' ORDER BY name"
    with closing(fourth.connect()) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        before, triggers = contents(connection), connection.execute(listed).fetchall()
        uses = [(row["owner_id"], row["kind"], row["used_bytes"]) for row in before["storage_use"]]
        assert sorted(uses) == [(1, "document", 100), (1, "image", 0), (2, "image", 20), (2, "text", 7)]
        assert pending(connection)[0].startswith("0005_")
        migrate(connection, now=NOW)
        after = contents(connection)
        assert {name: after[name] for name in before} == before
        assert {name: after[name] for name in after.keys() - before.keys()} == {name: [] for name in FCS}
        assert {*triggers} < {*connection.execute(listed).fetchall()}
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        for owner in (1, 2):
            said = {"owner": owner, "folder": 0, "number": owner, "size": 5, "kind": "image"}
            for what in ("a file", "a document", "an FCS file"):
                add(connection, what, said)
        told, real = used(connection)
        assert told == real
        assert ((1, "document", 100) in told, (2, "fcs", 1002) in told) == (True, True)
        connection.execute("DELETE FROM users WHERE id = 2")
        assert {owner for owner, _, _ in connection.execute("SELECT * FROM storage_use")} == {1}


def test_an_appliance_of_the_fourth_schema_goes_on_under_todays_program(fourth: Old) -> None:
    """What was kept counts on, and FCS files beside it."""
    with TestClient(create_app(fourth.config), client=("127.0.0.1", 50000)) as client:
        root = bearer(fourth.root)
        content = fcs([[1.0, 2.0]], names=["FSC-A"])
        made = client.put("/api/v1/fcs/content?name=a.fcs", content=content, headers=root)
        assert (made.status_code, made.json()["owner_name"]) == (201, "root")
        told = client.get("/api/v1/files/storage", headers=root).json()
        assert (told["used"], told["by_type"]["documents"], told["by_type"]["fcs"]) == (
            100 + len(content),
            100,
            len(content),
        )
        assert client.delete("/api/v1/files/1", headers=root).status_code == 204
        assert client.get("/api/v1/files/storage", headers=root).json()["used"] == len(content)
    assert [path.name for path in (fourth.config.data_dir / "backups").iterdir()] == ["before-migration-0004.db"]


KINDS = ("image", "video", "audio", "document", "archive", "other")
CHANGES: dict[str, str] = {
    "a user goes": "DELETE FROM users WHERE id = :owner",
    "a folder goes": "DELETE FROM folders WHERE id = :folder AND id NOT IN"
    " (SELECT parent_id FROM folders WHERE parent_id IS NOT NULL)",
    "a file goes": "DELETE FROM files WHERE id = :number",
    "files go": "DELETE FROM files WHERE kind = :kind AND id % 2 = :number % 2",
    "a document goes": "DELETE FROM documents WHERE id = :number",
    "documents go": "DELETE FROM documents WHERE id % 2 = :number % 2",
    "a document is written": "UPDATE documents SET stored_bytes = stored_bytes + :size, size_bytes = :size"
    " WHERE id = :number",
    "documents are shortened": "UPDATE documents SET stored_bytes = stored_bytes / 2 WHERE owner_id = :owner",
    "a revision is forgotten": "UPDATE documents SET stored_bytes = max(0, stored_bytes - :size) WHERE id = :number",
    "a document is moved": "UPDATE documents SET folder_id = NULL, revision = revision + 1 WHERE id = :number",
    "a file is renamed": "UPDATE files SET name = 'b', is_favorite = 1, folder_id = NULL WHERE id = :number",
    "an FCS file goes": "DELETE FROM fcs_files WHERE id = :number",
    "FCS files go": "DELETE FROM fcs_files WHERE content_id % 2 = :number % 2",
    "the appliance's own FCS file goes": "DELETE FROM fcs_files WHERE owner_id IS NULL",
    "statistics are kept": "UPDATE fcs_contents SET status = 'done', statistics = '[]' WHERE status = 'pending'",
}
OF_NO_ACCOUNT = ("a document is moved", "a file is renamed", "the appliance's own FCS file goes", "statistics are kept")
"""Changes that add nothing to what an account keeps, and take nothing."""
NOBODYS = "SELECT sha256 FROM fcs_contents WHERE id NOT IN (SELECT content_id FROM fcs_files)"
"""Contents that should have gone with the last file that named them."""
ADDED = ("a user", "a folder", *("a file", "a document", "an FCS file") * 3, "the appliance's own FCS file")
numbers = st.fixed_dictionaries(
    {
        **{name: st.integers(1, 4) for name in ("number", "owner", "folder")},
        **{"size": st.integers(0, 2**40), "kind": st.sampled_from(KINDS)},
    }
)


@pytest.fixture(scope="module")
def empty() -> Iterator[sqlite3.Connection]:
    """Today's schema, as the service uses it."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, now=NOW)
        for pragma in ("foreign_keys = ON", "recursive_triggers = ON", "trusted_schema = OFF"):
            connection.execute(f"PRAGMA {pragma}")
        yield connection


def insert(connection: sqlite3.Connection, table: str, **known: Any) -> None:
    """A row of which nothing is said but what matters here; what must be there beside it is empty or 0."""
    for _, name, kind, must, default, key in connection.execute(f"PRAGMA table_info({table})").fetchall():
        if must and default is None and not key:
            known.setdefault(name, "" if kind == "TEXT" else 0)
    marks = ", ".join("?" * len(known))
    connection.execute(f"INSERT INTO {table} ({', '.join(known)}) VALUES ({marks})", [*known.values()])  # noqa: S608


def add(connection: sqlite3.Connection, what: str, said: dict[str, Any]) -> None:
    """Adds something below an account or a folder that is there; nothing where there is no account."""
    size, name = said["size"], f"n{connection.total_changes}"
    if what == "a user":
        insert(connection, "users", username=name, username_key=name, status="active", role="user")
    owner = connection.execute("SELECT max(id) FROM users WHERE id <= ?", [said["owner"]]).fetchone()[0]
    place = "SELECT max(id) FROM folders WHERE id <= ? AND owner_id = ?"
    lies = {"owner_id": owner, "folder_id": connection.execute(place, [said["folder"], owner]).fetchone()[0]}
    if "FCS" in what and (owner is not None or "own" in what):
        own = None if "own" in what else owner
        insert(connection, "fcs_files", owner_id=own, content_id=fcs_content(connection, said["number"]), filename="a")
    if owner is None:
        return
    if what == "a folder":
        insert(connection, "folders", owner_id=owner, parent_id=lies["folder_id"], name=name)
    elif what == "a file":
        insert(connection, "files", **lies, name=name, sha256="0" * 64, size_bytes=size, kind=said["kind"])
    elif what == "a document":
        insert(connection, "documents", **lies, title=name, size_bytes=size, stored_bytes=size)


def fcs_content(connection: sqlite3.Connection, number: int) -> int:
    """The id of one of the contents that files may have in common; made where no file has it."""
    known = {"sha256": f"{number:064}", "size_bytes": 1000 + number, "total_parameters": 1}
    look = "SELECT id FROM fcs_contents WHERE sha256 = ?"
    if connection.execute(look, [known["sha256"]]).fetchone() is None:
        insert(connection, "fcs_contents", **known)
    return int(connection.execute(look, [known["sha256"]]).fetchone()[0])


def used(connection: sqlite3.Connection) -> tuple[list[Any], list[Any]]:
    """What the triggers have counted, and what there is; of nothing there may be a zero or no row."""
    told = connection.execute("SELECT owner_id, kind, used_bytes FROM storage_use WHERE used_bytes <> 0 ORDER BY 1, 2")
    real = connection.execute(
        """
        SELECT owner_id, kind, sum(size) FROM (
            SELECT owner_id, kind, size_bytes AS size FROM files
            UNION ALL SELECT owner_id, 'text', stored_bytes FROM documents
            UNION ALL SELECT owner_id, 'fcs', size_bytes
            FROM fcs_files JOIN fcs_contents ON fcs_contents.id = content_id WHERE owner_id IS NOT NULL
        ) GROUP BY 1, 2 HAVING sum(size) <> 0 ORDER BY 1, 2
        """
    )
    return told.fetchall(), real.fetchall()


@contextmanager
def inhabited(connection: sqlite3.Connection) -> Iterator[None]:
    """Two accounts with a folder each, files and documents in and out of them, FCS files; as before afterwards."""
    connection.execute("BEGIN")
    try:
        for number in ("1", "2"):
            insert(connection, "users", id=number, username=number, username_key=number, status="active", role="user")
            said = {"owner": int(number), "number": int(number), "size": 1000 + int(number), "kind": "image"}
            kept = ("a file", "a document", "an FCS file")
            for what in (*kept, "a folder", *kept, "the appliance's own FCS file"):
                add(connection, what, said | {"folder": 9})
        yield
    finally:
        connection.execute("ROLLBACK")


def change(connection: sqlite3.Connection, what: str, said: dict[str, Any]) -> None:
    if what in CHANGES:
        connection.execute(CHANGES[what], {name: said[name] for name in said if f":{name}" in CHANGES[what]})
    else:
        add(connection, what, said)


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_changes_the_use_of_space_by_what_it_adds_or_takes(empty: sqlite3.Connection, what: str) -> None:
    with inhabited(empty):
        before = used(empty)
        assert (
            before[0]
            == before[1]
            == [(owner, kind, 2 * (1000 + owner)) for owner in (1, 2) for kind in ("fcs", "image", "text")]
        )
        change(empty, what, {"number": 1, "owner": 1, "folder": 1, "size": 10, "kind": "image"})
        told, real = used(empty)
        assert told == real
        assert (told == before[0]) == (what in OF_NO_ACCOUNT)


@given(
    st.lists(
        st.tuples(st.sampled_from([*ADDED, *CHANGES]), numbers),
        max_size=40,
    )
)
def test_whatever_is_kept_or_goes_the_use_of_space_is_the_sum_of_it(
    empty: sqlite3.Connection, steps: list[tuple[str, dict[str, Any]]]
) -> None:
    """Also when it goes with its folder, or with its owner."""
    with inhabited(empty):
        for what, said in steps:
            change(empty, what, said)
            told, real = used(empty)
            assert told == real, what
            assert empty.execute(NOBODYS).fetchall() == [], what


def test_the_next_migration_is_numbered_and_named(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "sql/migrations").mkdir(parents=True)
    script = tmp_path / "scripts/migration"
    script.write_text((ROOT / "scripts/migration").read_text())
    for words, made in [(["First", "tables"], "0001_first_tables.sql"), (["Who's  next? "], "0002_who_s_next.sql")]:
        run = subprocess.run(["bash", script, *words], capture_output=True, text=True, check=True)
        assert run.stdout == f"sql/migrations/{made}\n"
        assert (tmp_path / "sql/migrations" / made).read_text().startswith("-- ")
    assert subprocess.run(["bash", script], capture_output=True, check=False).returncode == 2
