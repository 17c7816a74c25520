"""The SQL loader: what it reads, what it refuses and where, and that calls name exactly a statement's parameters."""

import shutil
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from app.db.queries import Query, QueryError, check, folder, load, parse

ROOT = Path(__file__).resolve().parent.parent
FILE = "sql/packages.sql"
GOOD = """\
-- Packages: what can be installed.

-- name: by_id :one
-- The package of this id.
-- None when there is none.
SELECT id, name FROM packages WHERE id = :id;

-- name: page :many
/* One page, by id. */
SELECT id, name FROM packages WHERE id > :after ORDER BY id LIMIT :limit

-- What follows has no semicolon above it.
-- name: count :value
SELECT count(*) FROM packages;
-- name: remove :exec
DELETE FROM packages WHERE id = :id AND revision = :revision;
"""


def one(sql: str) -> Query:
    """The statement of a file that holds only this one."""
    return parse(f"-- name: it :one\n{sql}", "packages", FILE).it


def test_a_file_gives_its_statements_by_name_and_in_order() -> None:
    q = parse(GOOD, "packages", FILE)
    assert [query.name for query in q] == ["by_id", "page", "count", "remove"]
    assert [query.kind for query in q] == ["one", "many", "value", "exec"]
    assert [query.line for query in q] == [3, 8, 13, 15]
    assert q.by_id.sql == "SELECT id, name FROM packages WHERE id = :id"
    assert q.by_id.doc == "The package of this id.\nNone when there is none."
    assert q.page.sql.endswith("LIMIT :limit")
    assert q.page.parameters == {"after", "limit"}
    assert q.count.parameters == frozenset()
    assert str(q.remove) == "packages.remove"


def test_a_statement_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        one("SELECT 1").sql = "SELECT 2"  # type: ignore[misc]  # that it cannot be written is the point


def test_an_unknown_name_says_which_file_and_what_is_near() -> None:
    q = parse(GOOD, "packages", FILE)
    with pytest.raises(AttributeError, match=r"sql/packages\.sql has no statement 'by_ids'; did you mean by_id\?"):
        _ = q.by_ids
    with pytest.raises(AttributeError, match=r"no statement 'zzz'$"):
        _ = q.zzz
    assert not hasattr(q, "__deepcopy__")


@pytest.mark.parametrize(
    ("sql", "parameters"),
    [
        ("SELECT ':no', 'it''s :no', :yes", {"yes"}),
        ("SELECT :yes -- and :no\n, 1", {"yes"}),
        ("SELECT /* :no */ :yes", {"yes"}),
        ("SELECT 'a?b', '$1 @x' WHERE name = :yes", {"yes"}),
        ("SELECT name::text, :yes", {"yes"}),
        ('SELECT ":no", :yes', {"yes"}),
        ("SELECT :a, :b_2, :a", {"a", "b_2"}),
        ("SELECT ';' WHERE 1 = :yes", {"yes"}),
        ("SELECT 2 WHERE :yes>=1.5", {"yes"}),
    ],
)
def test_parameters_are_found_where_sql_sees_them(sql: str, parameters: set[str]) -> None:
    assert one(sql).parameters == parameters


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("SELECT 1;\n-- name: a :one\nSELECT 1;", "1: SQL before the first '-- name:' line"),
        ("-- name: a :one\nSELECT 1;\n-- name: a :one\nSELECT 2;", "3: a is already the name of line 1"),
        ("-- name: a :one\n-- only a doc\n", "1: a name without a statement"),
        ("-- name: a :one\n;", "1: a name without a statement"),
        ("-- name: a :one\nSELECT 1;\nSELECT 2;", "2: two statements under one name"),
        ("-- name: a :one\nSELECT 1;;", "2: two statements under one name"),
        ("-- name: A :one\nSELECT 1;", "1: expected a line"),
        ("-- name: a-b :one\nSELECT 1;", "1: expected a line"),
        ("-- name: a :all\nSELECT 1;", "1: expected a line"),
        ("-- name: a\nSELECT 1;", "1: expected a line"),
        ("--name: a :one\nSELECT 1;", "1: expected a line"),
        ("-- name a :one\nSELECT 1;", "1: expected a line"),
        (" -- name: a :one\nSELECT 1;", "1: expected a line"),
        ("-- name: class :one\nSELECT 1;", "1: expected a line"),
        ("-- name: a :one\nSELECT 1 -- name: b :one\nSELECT 2;", "2: expected a line"),
        ("-- name: a :one\nSELECT ?;", "2: parameters are written :lower_case, not ?"),
        ("-- name: a :one\nSELECT\n ?1;", "3: parameters are written :lower_case, not ?1"),
        ("-- name: a :one\nSELECT $1;", "2: parameters are written :lower_case, not $1"),
        ("-- name: a :one\nSELECT @x;", "2: parameters are written :lower_case, not @x"),
        ("-- name: a :one\nSELECT :1;", "2: parameters are written :lower_case, not :1"),
        ("-- name: a :one\nSELECT :Id;", "2: parameters are written :lower_case, not :Id"),
        ("-- name: a :one\nSELECT 'open;", "2: ' is never closed"),
        ('-- name: a :one\nSELECT "open;', '2: " is never closed'),
        ("-- name: a :one\nSELECT 1\n/* open;", "3: /* is never closed"),
    ],
)
def test_what_is_malformed_is_refused_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(QueryError) as refused:
        parse(text, "packages", FILE)
    assert str(refused.value).startswith(f"{FILE}:{problem}")


def test_a_call_names_exactly_the_parameters() -> None:
    query = one("SELECT :a, :b")
    check(query, {"b": 1, "a": None})
    with pytest.raises(QueryError, match=r"^sql/packages\.sql:1: wrong parameters for packages\.it: missing a$"):
        check(query, {"b": 1})
    with pytest.raises(QueryError, match=r"missing b; unknown c, d$"):
        check(query, {"a": 1, "c": 2, "d": 3})
    with pytest.raises(QueryError, match=r"it: unknown x$"):
        check(one("SELECT 1"), {"x": 1})


def test_the_files_of_this_tree_load() -> None:
    rooms = [path.name.removesuffix(".sql") for path in folder().iterdir() if path.name.endswith(".sql")]
    statements = [query for room in rooms if room != "schema" for query in load(room)]
    assert all(query.sql and query.file == f"sql/{query.room}.sql" for query in statements)
    assert (folder() / "migrations").is_dir()


def test_a_room_without_a_file_is_refused() -> None:
    with pytest.raises(QueryError, match=r"^sql/nowhere\.sql: no such file in "):
        load("nowhere")


def test_an_installed_package_carries_the_files_inside(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "app", tmp_path / "app")
    shutil.copytree(ROOT / "sql", tmp_path / "app/sql")
    (tmp_path / "app/sql/probe.sql").write_text(GOOD)
    code = "from app.db.queries import folder, load; print(folder()); print([str(query) for query in load('probe')])"
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    place, names = run.stdout.splitlines()
    assert Path(place) == tmp_path / "app/sql"
    assert names == "['probe.by_id', 'probe.page', 'probe.count', 'probe.remove']"
