"""The SQL files: every statement prepares on SQLite and PostgreSQL, is used, and keeps to the common dialect.

PREPARE does not see what merely differs between the two engines (the order of NULLs, the width of INTEGER, what LIKE
folds). The lints see that; each carries a statement it must refuse and one it must let pass.
"""

import ast
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pytest

from app.db.migrate import migrate
from app.db.queries import Query, Token, load, parse, tokens

ROOT = Path(__file__).resolve().parent.parent
APP = ROOT / "app"
ROOMS = sorted(path.stem for path in (ROOT / "sql").glob("*.sql") if path.stem != "schema")
STATEMENTS = [query for room in ROOMS for query in load(room)]


def words(text: str) -> set[str]:
    return set(text.split())


KEYWORDS = words(
    "SELECT FROM WHERE INSERT INTO VALUES UPDATE SET DELETE RETURNING ON CONFLICT DO NOTHING ORDER BY ASC DESC LIMIT"
    " OFFSET GROUP HAVING JOIN LEFT INNER OUTER CROSS USING AS AND OR NOT IN IS NULL NULLS LIKE ESCAPE BETWEEN EXISTS"
    " CASE WHEN THEN ELSE END CAST DISTINCT UNION ALL EXCEPT INTERSECT WITH RECURSIVE FILTER OVER PARTITION"
)
FORBIDDEN_FUNCTIONS = words(
    "IFNULL INSTR GROUP_CONCAT STRING_AGG STRFTIME DATETIME DATE TIME JULIANDAY UNIXEPOCH TOTAL PRINTF FORMAT IIF"
    " TYPEOF RANDOM RANDOMBLOB HEX UNHEX QUOTE UNICODE CHAR ZEROBLOB LAST_INSERT_ROWID CHANGES TOTAL_CHANGES SUBSTRING"
    " NOW"
)
FORBIDDEN_WORDS = words(
    "GLOB REGEXP MATCH ISNULL NOTNULL COLLATE INDEXED TRUE FALSE ROWID OID _ROWID_ REPLACE CURRENT_TIMESTAMP"
    " CURRENT_DATE CURRENT_TIME ILIKE"
)
# Reserved on PostgreSQL, though SQLite takes them for names.
FORBIDDEN_NAMES = words(
    "user end offset window desc asc left right full authorization binary freeze verbose like natural analyze any array"
    " both column do grant lateral leading limit only placing some symmetric trailing session_user current_user ilike"
    " similar overlaps concurrently collation table order group select from where"
)
BOOLEAN_NAME = re.compile(r"(is|has|can|was|may|must)_.*|.*(ed|able|active|public|private|hidden)")
GROWING = re.compile(r"(^|_)(audit|messages|events|attempts)(_|$)")


class Table(NamedTuple):
    """A table as the migrated database describes it; `unique` holds the column sets that identify a row."""

    name: str
    sql: str
    strict: bool
    columns: dict[str, str]
    nullable: set[str]
    unique: list[set[str]]
    indexed: set[str]
    references: list[str]


class Schema:
    """The tables of a database, who owns them, and which columns the rooms' structs call boolean."""

    def __init__(self, ddl: str | None = None, owners: dict[str, str] | None = None) -> None:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            if ddl is None:
                migrate(connection, now="2026-11-21T06:17:00.123Z")
            else:
                connection.executescript(ddl)
            names = "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
            self.tables = {name: _table(connection, name, sql) for name, sql in connection.execute(names).fetchall()}
        self.owners = owners if owners is not None else _owners()
        self.booleans = set() if ddl is not None else _boolean_fields()


def _table(connection: sqlite3.Connection, name: str, sql: str) -> Table:
    info = connection.execute("SELECT name, type, [notnull], pk FROM pragma_table_info(?)", (name,)).fetchall()
    indexes = connection.execute("SELECT name, [unique], partial FROM pragma_index_list(?)", (name,)).fetchall()
    unique, indexed = [{column for column, _, _, pk in info if pk}], {column for column, _, _, pk in info if pk == 1}
    for index, is_unique, partial in indexes:
        of = "SELECT name FROM pragma_index_info(?) ORDER BY seqno"
        columns = [column for (column,) in connection.execute(of, (index,))]
        (text,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (index,)).fetchone()
        if not partial or re.search(rf"WHERE {columns[0]} IS NOT NULL\s*$", text):
            indexed.add(columns[0])
        if is_unique and not partial:
            unique.append(set(columns))
    (strict,) = connection.execute("SELECT strict FROM pragma_table_list(?)", (name,)).fetchone()
    references = [row[0] for row in connection.execute("SELECT [from] FROM pragma_foreign_key_list(?)", (name,))]
    nullable = {column for column, _, notnull, pk in info if not notnull and not pk}
    kinds = {column: kind for column, kind, _, _ in info}
    return Table(
        name, sql, bool(strict), kinds, nullable, [columns for columns in unique if columns], indexed, references
    )


def _owners() -> dict[str, str]:
    """Which room owns each table: the tuple TABLES of every `app/<room>/__init__.py`."""
    owners: dict[str, str] = {}
    for path in APP.glob("*/__init__.py"):
        for node in ast.parse(path.read_text()).body:
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            if isinstance(target, ast.Name) and target.id == "TABLES" and isinstance(node, ast.Assign | ast.AnnAssign):
                assert node.value is not None
                for table in ast.literal_eval(node.value):
                    assert table not in owners, f"{table} is claimed by {owners[table]} and {path.parent.name}"
                    owners[table] = path.parent.name
    return owners


def _boolean_fields() -> set[str]:
    """The fields that a struct of any room annotates with `bool`."""
    fields = chain.from_iterable(ast.walk(ast.parse(path.read_text())) for path in APP.glob("*/structs.py"))
    return {
        node.target.id
        for node in fields
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and any(isinstance(part, ast.Name) and part.id == "bool" for part in ast.walk(node.annotation))
    }


class Statement:
    """A statement in pieces: `words` has their texts, words in upper case; `calls` the calls open around each."""

    def __init__(self, query: Query) -> None:
        self.query = query
        self.pieces = [piece for piece in tokens(query.sql, query.file) if piece.kind not in ("space", "comment")]
        self.words = [piece.text.upper() if piece.kind == "word" else piece.text for piece in self.pieces]
        self.calls: list[tuple[str, ...]] = []
        stack: tuple[str, ...] = ()
        for at, word in enumerate(self.words):
            stack = stack[:-1] if word == ")" else stack
            self.calls.append(stack)
            stack = (*stack, self.word(at - 1)) if word == "(" else stack

    def word(self, at: int) -> str:
        """The word at a place, "" outside the statement."""
        return self.words[at] if 0 <= at < len(self.words) else ""

    def depth(self, at: int) -> int:
        return len(self.calls[at])

    def all(self, *words: str) -> list[int]:
        """Every place where these words follow each other."""
        return [at for at in range(len(self.words)) if all(self.word(at + n) == word for n, word in enumerate(words))]

    def until(self, start: int, *stops: str) -> int:
        """Where the part that starts here ends: at one of `stops` on its level, or where its level closes."""
        level = self.depth(start)
        for at in range(start, len(self.words)):
            if self.depth(at) < level or (self.depth(at) == level and self.words[at] in stops):
                return at
        return len(self.words)

    def split(self, start: int, end: int) -> list[range]:
        """The parts between the commas of this level."""
        commas = [at for at in range(start, end) if self.words[at] == "," and self.depth(at) == self.depth(start)]
        return [range(a, b) for a, b in zip([start, *(at + 1 for at in commas)], [*commas, end], strict=True)]

    def columns(self, part: range) -> list[tuple[str, str]]:
        """The columns named in a part, each with its qualifier or ""."""
        return [
            (self.pieces[at - 2].text if self.word(at - 1) == "." else "", self.pieces[at].text)
            for at in part
            if self.pieces[at].kind == "word" and self.words[at] not in KEYWORDS and self.word(at + 1) not in ("(", ".")
        ]

    @cached_property
    def orders(self) -> list[tuple[int, list[range]]]:
        """Each ORDER BY: how deep it stands, and its keys."""
        starts = [at + 2 for at in self.all("ORDER", "BY")]
        stops = ("LIMIT", "OFFSET", "RETURNING", "UNION", "ROWS", "RANGE")
        return [(self.depth(at), self.split(at, self.until(at, *stops))) for at in starts]

    def written(self) -> list[str]:
        """The tables this statement inserts into, updates or deletes from."""
        places = [at + 2 for at in (*self.all("INSERT", "INTO"), *self.all("DELETE", "FROM"))]
        places += [at + 1 for at in self.all("UPDATE") if self.word(at - 1) != "DO"]
        return [self.pieces[at].text for at in places]

    def sources(self, schema: Schema) -> dict[str, tuple[Table, bool]]:
        """By alias, each table the statement names, and whether a LEFT JOIN may leave it out."""
        found: dict[str, tuple[Table, bool]] = {}
        for at, word in enumerate(self.words[:-1]):
            table = schema.tables.get(self.pieces[at + 1].text)
            if word in ("FROM", "JOIN", "INTO", "UPDATE") and table is not None:
                alias = at + 3 if self.word(at + 2) == "AS" else at + 2
                named = (
                    alias < len(self.pieces) and self.pieces[alias].kind == "word" and self.words[alias] not in KEYWORDS
                )
                optional = "LEFT" in (self.word(at - 1), self.word(at - 2))
                found[self.pieces[alias].text if named else table.name] = (table, optional)
        return found

    def nullable(self, schema: Schema, part: range) -> bool:
        """Whether a part may be NULL because a column of it may."""
        sources = self.sources(schema)
        return "COALESCE" not in self.words[part.start : part.stop] and any(
            column in table.columns and (column in table.nullable or optional)
            for qualifier, column in self.columns(part)
            for alias, (table, optional) in sources.items()
            if qualifier in ("", alias)
        )


Lint = Callable[[Statement, Schema], Iterable[str]]
SchemaLint = Callable[[Table, Schema], Iterable[str]]
LINTS: list[tuple[Lint, tuple[str, ...], tuple[str, ...]]] = []
SCHEMA_LINTS: list[tuple[SchemaLint, tuple[str, ...], tuple[str, ...]]] = []
# What the examples of the lints speak of.
EXAMPLE = """
CREATE TABLE things (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, note TEXT, size INTEGER NOT NULL,
    archived INTEGER NOT NULL, UNIQUE (name, size)
) STRICT;
CREATE TABLE boxes (id INTEGER PRIMARY KEY AUTOINCREMENT, label TEXT NOT NULL) STRICT;
CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL) STRICT;
"""
OWNERS = {"things": "things", "audit": "things", "boxes": "boxes"}


def lint(*, bad: tuple[str, ...], good: tuple[str, ...]) -> Callable[[Lint], Lint]:
    """Registers a rule for statements with examples that it refuses and lets pass."""

    def register(rule: Lint) -> Lint:
        LINTS.append((rule, bad, good))
        return rule

    return register


def schema_lint(*, bad: tuple[str, ...], good: tuple[str, ...]) -> Callable[[SchemaLint], SchemaLint]:
    """Registers a rule for tables; the examples are DDL."""

    def register(rule: SchemaLint) -> SchemaLint:
        SCHEMA_LINTS.append((rule, bad, good))
        return rule

    return register


@lint(
    bad=("select name FROM things", "SELECT name FROM things order BY id"), good=("SELECT name, t.id FROM things AS t",)
)
def keywords_are_in_upper_case(s: Statement, schema: Schema) -> Iterator[str]:
    for at, piece in enumerate(s.pieces):
        if piece.kind == "word" and s.words[at] in KEYWORDS and piece.text != s.words[at] and s.word(at - 1) != ".":
            yield f"{piece.text} is not in upper case"


@lint(
    bad=(
        "SELECT * FROM things",
        "SELECT t.* FROM things AS t",
        "DELETE FROM things RETURNING *",
        "SELECT 1, * FROM things",
    ),
    good=("SELECT count(*) FROM things", "SELECT size * 2 FROM things"),
)
def columns_are_spelled_out(s: Statement, schema: Schema) -> Iterator[str]:
    for at in s.all("*"):
        if s.word(at - 1) in ("SELECT", "DISTINCT", "ALL", "RETURNING", ",", "."):
            yield "columns are spelled out, not *"


@lint(
    bad=("SELECT name::text FROM things", 'SELECT "name" FROM things', "SELECT [name] FROM things", "SELECT x'41'"),
    good=("SELECT name FROM things WHERE name = 'a::\"b\"'",),
)
def only_plain_names_and_literals(s: Statement, schema: Schema) -> Iterator[str]:
    for at, piece in enumerate(s.pieces):
        if piece.kind in ("cast", "quoted") or piece.text in ("[", "`", "=="):
            yield f"{piece.text} is not in the common dialect"
        if piece.kind == "string" and s.word(at - 1) in ("X", "E", "B", "U") and s.pieces[at - 1].at + 1 == piece.at:
            yield f"{s.word(at - 1)}{piece.text} is not in the common dialect"


@lint(
    bad=(
        "SELECT ifnull(note, '') FROM things",
        "UPDATE things SET note = datetime('now')",
        "SELECT group_concat(name) FROM things",
        "SELECT json_extract(note, '$.a') FROM things",
        "SELECT max(size, 3) FROM things",
        "SELECT round(size, 2) FROM things",
    ),
    good=("SELECT max(size), lower(name) FROM things", "SELECT value FROM json_each(:ids)"),
)
def functions_exist_on_both_engines(s: Statement, schema: Schema) -> Iterator[str]:
    for at, word in enumerate(s.words):
        if s.word(at + 1) != "(":
            continue
        if word in FORBIDDEN_FUNCTIONS or (word.startswith("JSON") and word != "JSON_EACH"):
            yield f"{word.lower()}() is not in the common dialect"
        if word in ("MAX", "MIN", "ROUND") and at + 2 < len(s.words) and len(s.split(at + 2, s.until(at + 2))) > 1:
            yield f"{word.lower()}() with two arguments is not in the common dialect"


@lint(
    bad=(
        "SELECT name FROM things WHERE name GLOB 'a*'",
        "SELECT name FROM things WHERE name = 'a' COLLATE NOCASE",
        "INSERT OR IGNORE INTO things (name) VALUES (:name)",
        "SELECT rowid FROM things",
        "SELECT name FROM things WHERE archived = FALSE",
        "UPDATE things SET note = CURRENT_TIMESTAMP",
        "SELECT 'now'",
        "SELECT name FROM things ORDER BY id LIMIT 1, 2",
        "SELECT name FROM things LIMIT NULL",
    ),
    good=("SELECT replace(name, 'a', 'b') FROM things ORDER BY id LIMIT :limit",),
)
def words_mean_the_same_on_both_engines(s: Statement, schema: Schema) -> Iterator[str]:
    for at, word in enumerate(s.words):
        if word in FORBIDDEN_WORDS and not (word == "REPLACE" and s.word(at + 1) == "("):
            yield f"{word} is not in the common dialect"
        if word == "'now'" or (word in ("INSERT", "UPDATE") and s.word(at + 1) == "OR"):
            yield f"{word} {s.word(at + 1)} is not in the common dialect".replace("  ", " ")
    for at in s.all("LIMIT"):
        if s.pieces[at + 1].kind not in ("number", "parameter") or s.word(at + 2) == ",":
            yield "LIMIT takes one number or parameter"


@lint(
    bad=("SELECT name FROM things WHERE note IS :note", "SELECT name FROM things WHERE note IS NOT name"),
    good=("SELECT name FROM things WHERE note IS NOT NULL AND note IS NOT DISTINCT FROM :note AND name IS NULL",),
)
def is_compares_with_null_alone(s: Statement, schema: Schema) -> Iterator[str]:
    for at in s.all("IS"):
        after = at + 2 if s.word(at + 1) == "NOT" else at + 1
        if s.word(after) not in ("NULL", "DISTINCT"):
            yield f"IS {s.word(after)} is written IS NOT DISTINCT FROM"


@lint(
    bad=("SELECT CAST(size AS INTEGER) FROM things", "SELECT CAST(size AS REAL) FROM things"),
    good=("SELECT CAST(size AS BIGINT), CAST(size AS DOUBLE PRECISION), CAST(size AS TEXT) FROM things",),
)
def casts_are_wide(s: Statement, schema: Schema) -> Iterator[str]:
    for at in s.all("AS"):
        if s.calls[at][-1:] == ("CAST",):
            kind = " ".join(s.words[at + 1 : s.until(at + 1)])
            if kind not in ("BIGINT", "DOUBLE PRECISION", "TEXT"):
                yield f"CAST AS {kind}: only BIGINT, DOUBLE PRECISION and TEXT"


@lint(
    bad=("SELECT name FROM things WHERE :note IS NULL OR note = :note", "SELECT 1 WHERE (:note) IS NOT NULL"),
    good=("SELECT name FROM things WHERE (CAST(:note AS TEXT) IS NULL OR note = :note)",),
)
def nullable_parameters_are_cast(s: Statement, schema: Schema) -> Iterator[str]:
    for at, piece in enumerate(s.pieces):
        after = at + 2 if s.word(at + 1) == ")" and s.word(at - 1) == "(" else at + 1
        if piece.kind == "parameter" and s.word(after) == "IS":
            yield f"{piece.text} IS NULL: write CAST({piece.text} AS TEXT) IS NULL"


@lint(
    bad=(
        "SELECT sum(size) FROM things",
        "SELECT avg(size) FROM things",
        "SELECT CAST(avg(size) AS BIGINT) FROM things",
        "SELECT CAST(sum(size = 1) AS BIGINT) FROM things",
        "SELECT size * 0.5 FROM things",
    ),
    good=(
        "SELECT CAST(COALESCE(sum(size), 0) AS BIGINT), CAST(avg(size) AS DOUBLE PRECISION) FROM things",
        "SELECT CAST(sum(CASE WHEN size = 1 THEN 1 ELSE 0 END) AS BIGINT) FROM things",
        "SELECT size * CAST(0.5 AS DOUBLE PRECISION) FROM things",
    ),
)
def numbers_have_one_type(s: Statement, schema: Schema) -> Iterator[str]:
    for at, word in enumerate(s.words):
        if word in ("SUM", "AVG") and s.word(at + 1) == "(":
            inside = s.words[at + 2 : s.until(at + 2)]
            if "CAST" not in s.calls[at] or (word == "AVG" and not _cast_to_double(s, at)):
                yield f"{word.lower()}() needs a CAST (AS DOUBLE PRECISION for avg)"
            if "CASE" not in inside and {"=", "<", ">", "<=", ">=", "<>", "!="} & set(inside):
                yield "sum() of a comparison: write count(*) FILTER (WHERE …)"
        if s.pieces[at].kind == "number" and "." in word and not _cast_to_double(s, at):
            yield f"{word} is a decimal on PostgreSQL: CAST({word} AS DOUBLE PRECISION)"


def _cast_to_double(s: Statement, at: int) -> bool:
    """Whether some CAST around a place is AS DOUBLE PRECISION."""
    return any(
        s.calls[place][-1:] == ("CAST",) and s.depth(place) <= s.depth(at) and place > at
        for place in s.all("AS", "DOUBLE", "PRECISION")
    )


@lint(
    bad=(
        "SELECT name FROM things WHERE archived",
        "SELECT name FROM things WHERE id = :id AND NOT archived",
        "SELECT name FROM things WHERE (t.archived OR id = 1)",
    ),
    good=(
        "SELECT name FROM things WHERE archived = 0 AND NOT EXISTS (SELECT 1) AND size BETWEEN 1 AND size",
        "SELECT name FROM things WHERE note IN ('') OR size = 1",
    ),
)
def booleans_are_compared(s: Statement, schema: Schema) -> Iterator[str]:
    ends = {"AND", "OR", ")", "", "ORDER", "GROUP", "LIMIT", "RETURNING"}
    for at, word in enumerate(s.words):
        column = at + 3 if s.word(at + 2) == "." else at + 1
        if word not in ("WHERE", "AND", "OR", "NOT", "HAVING") and not (
            word == "(" and s.word(at - 1) in ("WHERE", "AND")
        ):
            continue
        if column >= len(s.pieces) or s.pieces[column].kind != "word" or s.words[column] in KEYWORDS:
            continue
        if s.word(column + 1) in ends and "BETWEEN" not in s.words[max(0, at - 4) : at]:
            yield f"{s.pieces[column].text} stands alone as a condition: write = 1 or = 0"


@lint(
    bad=(
        "-- name: a :many\nSELECT id FROM things ORDER BY id",
        "-- name: a :many\nSELECT id FROM things LIMIT :limit",
        "-- name: a :many\nSELECT id FROM things ORDER BY name LIMIT :limit",
        "-- name: a :many\nSELECT id FROM things ORDER BY id, name LIMIT :limit",
        "-- name: a :many\n-- lint: unbounded because\nSELECT id FROM things ORDER BY id",
        "-- name: a :many\nDELETE FROM things WHERE size > :size RETURNING id",
    ),
    good=(
        "-- name: a :many\nSELECT id FROM things ORDER BY name, id DESC LIMIT :limit",
        "-- name: a :many\nSELECT t.size FROM things AS t WHERE t.name = :name ORDER BY t.size LIMIT :limit",
        "-- name: a :many\n-- lint: unbounded because there are four.\nSELECT id FROM things ORDER BY id",
        "-- name: a :many\n-- lint: unbounded because one user has few.\nDELETE FROM things RETURNING id",
        "SELECT id FROM things",
    ),
)
def lists_are_ordered_and_bounded(s: Statement, schema: Schema) -> Iterator[str]:
    if s.query.kind != "many":
        return
    if "LIMIT" not in s.words and not re.search(r"^lint: unbounded because \S", s.query.doc, re.MULTILINE):
        yield "a :many statement has a LIMIT, or a line '-- lint: unbounded because …'"
    if s.words[0] in ("SELECT", "WITH") and not _ends_unique(s, schema) and not s.written():
        yield "a :many statement has an ORDER BY that ends in a unique column"


def _ends_unique(s: Statement, schema: Schema) -> bool:
    """Whether the outer order, with the columns held equal to something, tells every two rows apart."""
    keys = next((keys for depth, keys in reversed(s.orders) if depth == 0), [])
    columns = [column for key in keys for _, column in s.columns(key)]
    if not columns:
        return False
    fixed = {s.pieces[at - 1].text for at in s.all("=") if s.pieces[at + 1].kind == "parameter"}
    unique = [columns for table, _ in s.sources(schema).values() for columns in table.unique]
    return columns[-1] == "id" or any(columns[-1] in one and one <= fixed | set(columns) for one in unique)


@lint(
    bad=(
        "SELECT name FROM things WHERE lower(name) LIKE lower(:p)",
        "SELECT name FROM things WHERE name LIKE :p ESCAPE '\\'",
        "SELECT name FROM things WHERE lower(name) LIKE :p AND lower(note) LIKE lower(:p) ESCAPE '\\'",
    ),
    good=(
        "SELECT name FROM things WHERE (lower(name) LIKE lower(:p) ESCAPE '\\' OR note_folded NOT LIKE :p ESCAPE '\\')",
    ),
)
def like_folds_and_escapes(s: Statement, schema: Schema) -> Iterator[str]:
    for at in s.all("LIKE"):
        if "ESCAPE" not in s.words[at : s.until(at, "AND", "OR", "THEN", "ORDER", "GROUP", "LIMIT", "RETURNING")]:
            yield "LIKE has an ESCAPE"
        column = s.word(at - 2 if s.word(at - 1) == "NOT" else at - 1)
        if s.word(at + 1) != "LOWER" and not column.endswith(("_FOLDED", "_KEY", "SEARCH", "SEARCH_TEXT")):
            yield "LIKE folds on SQLite alone: lower(a) LIKE lower(:p), or a column folded in Python (…_key, …_folded)"


@lint(
    bad=("INSERT INTO things (id, name) VALUES (:id, :name)", "INSERT INTO things VALUES (:id, :name)"),
    good=("INSERT INTO things (name, note) VALUES (:id, :name) RETURNING id",),
)
def inserts_name_their_columns_but_never_the_id(s: Statement, schema: Schema) -> Iterator[str]:
    for at in s.all("INSERT", "INTO"):
        if s.word(at + 3) != "(":
            yield "INSERT spells out its columns"
        elif "ID" in s.words[at + 4 : s.until(at + 4)]:
            yield "an id is never inserted"


@lint(
    bad=(
        "UPDATE things AS t SET name = :name RETURNING id",
        "UPDATE things t SET name = :name WHERE t.id = 1 RETURNING t.id",
        "DELETE FROM things AS t WHERE t.id = :id RETURNING t.id",
    ),
    good=(
        "UPDATE things SET name = :name WHERE id = :id RETURNING id",
        "DELETE FROM things RETURNING id",
        "INSERT INTO things (name) VALUES ('') ON CONFLICT (name, size) DO UPDATE SET name = 'x' RETURNING id",
    ),
)
def a_write_that_returns_has_no_alias(s: Statement, schema: Schema) -> Iterator[str]:
    ends = [at + 2 for at in s.all("UPDATE") if s.word(at - 1) != "DO"] + [at + 3 for at in s.all("DELETE", "FROM")]
    if "RETURNING" in s.words and any(s.word(at) not in ("SET", "WHERE", "RETURNING") for at in ends):
        yield "a table written with RETURNING takes no alias (SQLite refuses it in RETURNING)"


@lint(
    bad=(
        "SELECT id FROM things ORDER BY note, id",
        "SELECT id FROM things AS t ORDER BY t.note DESC, t.id",
        "SELECT id FROM things ORDER BY lower(note)",
        "SELECT t.id FROM things AS t LEFT JOIN boxes AS b ON b.id = t.size ORDER BY b.label, t.id",
        "SELECT row_number() OVER (ORDER BY note) FROM things",
    ),
    good=(
        "SELECT id FROM things ORDER BY name, note DESC NULLS LAST, id",
        "SELECT t.id FROM things AS t JOIN boxes AS b ON b.id = t.size ORDER BY b.label, COALESCE(t.note, ''), t.id",
    ),
)
def nulls_have_a_place_in_the_order(s: Statement, schema: Schema) -> Iterator[str]:
    for key in (key for _, keys in s.orders for key in keys):
        if "NULLS" not in s.words[key.start : key.stop] and s.nullable(schema, key):
            yield f"ORDER BY {' '.join(s.words[key.start : key.stop]).lower()}: say NULLS FIRST or NULLS LAST"


@lint(
    bad=(
        "UPDATE boxes SET label = ''",
        "DELETE FROM boxes",
        "INSERT INTO boxes (label) VALUES ('')",
        "DELETE FROM nobodys",
    ),
    good=(
        "UPDATE things SET name = (SELECT label FROM boxes WHERE boxes.id = :id)",
        "INSERT INTO things (name) VALUES ('') ON CONFLICT DO UPDATE SET name = 'x'",
    ),
)
def only_the_owner_writes_a_table(s: Statement, schema: Schema) -> Iterator[str]:
    for table in s.written():
        if schema.owners.get(table) != s.query.room:
            yield f"{table} belongs to {schema.owners.get(table)}, only its file writes it"


@lint(
    bad=(
        "SELECT id FROM audit WHERE (CAST(:at AS TEXT) IS NULL OR at = :at)",
        "SELECT id FROM audit WHERE at >= :since AND (CAST(:id AS BIGINT) IS NULL OR id = :id)",
        "SELECT id FROM audit WHERE (at = :at OR id > :id) AND (CAST(:id AS BIGINT) IS NULL OR id = :id)",
        "-- name: a :one\n-- lint: filtered because\nSELECT 1 FROM audit WHERE (CAST(:at AS TEXT) IS NULL OR at = :at)",
        "SELECT id FROM audit ORDER BY CASE WHEN at = '' THEN 1 ELSE 2 END",
    ),
    good=(
        "SELECT id FROM things WHERE (CAST(:name AS TEXT) IS NULL OR name = :name)",
        "SELECT at FROM audit WHERE at = :at",
        "SELECT id FROM audit WHERE at = :at AND (CAST(:id AS BIGINT) IS NULL OR id = :id)",
        "SELECT at FROM audit WHERE id > :after AND (CAST(:at AS TEXT) IS NULL OR at = :at)",
        "-- name: a :one\n-- lint: filtered because x\nSELECT 1 FROM audit WHERE (CAST(:a AS TEXT) IS NULL OR at = :a)",
    ),
)
def tables_that_grow_are_filtered_behind_an_index(s: Statement, schema: Schema) -> Iterator[str]:
    if any(GROWING.search(table.name) for table, _ in s.sources(schema).values()):
        excused = re.search(r"^lint: filtered because \S", s.query.doc, re.MULTILINE)
        for at in s.all("IS", "NULL", "OR"):
            if s.words[at - 1] == ")" and s.pieces[at - 4].kind == "parameter" and not excused and not _picks_few(s):
                yield "an optional condition on a table that grows: one statement for each filter that picks few rows"
        if any(s.word(key.start) == "CASE" for _, keys in s.orders for key in keys):
            yield "an order by CASE on a table that grows: one statement for each order"


def _picks_few(s: Statement) -> bool:
    """Whether a condition of the whole statement holds a column equal to something, or reads on behind an id."""
    starts = [at + 1 for at in (*s.all("WHERE"), *s.all("AND")) if s.depth(at) == 0]
    return any(
        s.word(at + 1) == "=" or (s.word(at), s.word(at + 1)) == ("ID", ">")
        for at in starts
        if s.pieces[at + 2].kind in ("parameter", "number")
    )


@lint(bad=("SELECT name AS user FROM things",), good=("SELECT CAST(name AS TEXT) AS label FROM things",))
def aliases_are_not_reserved(s: Statement, schema: Schema) -> Iterator[str]:
    for at in s.all("AS"):
        if s.word(at + 1).lower() in FORBIDDEN_NAMES:
            yield f"AS {s.pieces[at + 1].text} is reserved on PostgreSQL"


ID = "id INTEGER PRIMARY KEY AUTOINCREMENT"


@schema_lint(bad=("CREATE TABLE t (id TEXT PRIMARY KEY)",), good=("CREATE TABLE t (id TEXT PRIMARY KEY) STRICT",))
def tables_are_strict(table: Table, schema: Schema) -> Iterator[str]:
    if not table.strict:
        yield "is not STRICT"


@schema_lint(
    bad=(
        "CREATE TABLE t (id INTEGER PRIMARY KEY) STRICT",
        f"CREATE TABLE t ({ID}, x INT) STRICT",
        f"CREATE TABLE t ({ID}, x ANY) STRICT",
        f"CREATE TABLE t ({ID}, made_at INTEGER) STRICT",
        f"CREATE TABLE t ({ID}, made_at TEXT DEFAULT CURRENT_TIMESTAMP) STRICT",
        f"CREATE TABLE t ({ID}, name TEXT COLLATE NOCASE) STRICT",
        f'CREATE TABLE t ({ID}, "name" TEXT) STRICT',
    ),
    good=(
        f"CREATE TABLE t ({ID}, a REAL, b TEXT, c BLOB, d INTEGER, made_at TEXT, lease_until TEXT) STRICT",
        f"CREATE TABLE s ({ID}) STRICT; ALTER TABLE s RENAME TO t",
    ),
)
def columns_have_the_common_types(table: Table, schema: Schema) -> Iterator[str]:
    for column, kind in table.columns.items():
        if kind not in ("INTEGER", "REAL", "TEXT", "BLOB"):
            yield f"{column} is {kind}"
        if column.endswith(("_at", "_until")) and kind != "TEXT":
            yield f"{column} is an instant, so TEXT"
    pieces = list(tokens(table.sql, table.name))
    words = " ".join(piece.text.upper() for piece in pieces if piece.kind not in ("space", "comment", "string"))
    if table.columns.get("id") == "INTEGER" and "ID INTEGER PRIMARY KEY AUTOINCREMENT" not in words:
        yield "has an id that is not INTEGER PRIMARY KEY AUTOINCREMENT"
    yield from (f"says {word}" for word in ("CURRENT_TIMESTAMP", "COLLATE", "DATETIME") if word in words.split())
    quoted = [piece.text for piece in pieces if piece.kind == "quoted"]
    yield from (f"quotes {text}" for text in quoted if text != f'"{table.name}"')  # SQLite quotes what it renames


@schema_lint(
    bad=(f"CREATE TABLE t ({ID}, verbose TEXT) STRICT",), good=(f"CREATE TABLE t ({ID}, username TEXT) STRICT",)
)
def columns_are_not_reserved(table: Table, schema: Schema) -> Iterator[str]:
    yield from (f"{name} is reserved on PostgreSQL" for name in (table.name, *table.columns) if name in FORBIDDEN_NAMES)


@schema_lint(
    bad=(
        f"CREATE TABLE t ({ID}, archived INTEGER NOT NULL) STRICT",
        f"CREATE TABLE t ({ID}, is_public INTEGER NOT NULL CHECK (is_public >= 0)) STRICT",
    ),
    good=(f"CREATE TABLE t ({ID}, archived INTEGER NOT NULL CHECK (archived IN (0, 1)), size INTEGER) STRICT",),
)
def booleans_are_checked(table: Table, schema: Schema) -> Iterator[str]:
    for column, kind in table.columns.items():
        boolean = column in schema.booleans or BOOLEAN_NAME.fullmatch(column)
        if boolean and kind == "INTEGER" and not re.search(rf"CHECK \({column} IN \(0, 1\)\)", table.sql):
            yield f"{column} is a boolean without CHECK ({column} IN (0, 1))"


REFERS = "REFERENCES p (id)"


@schema_lint(
    bad=(
        f"CREATE TABLE t ({ID}, p_id INTEGER {REFERS}, q_id INTEGER {REFERS} ON DELETE CASCADE) STRICT",
        f"CREATE TABLE t ({ID}, p_id INTEGER, FOREIGN KEY (p_id) {REFERS}) STRICT",
    ),
    good=(
        f"CREATE TABLE t ({ID}, p_id INTEGER {REFERS} ON DELETE SET NULL, q INTEGER {REFERS} ON DELETE CASCADE) STRICT",
    ),
)
def foreign_keys_say_what_a_deletion_does(table: Table, schema: Schema) -> Iterator[str]:
    s = Statement(parse(f"-- name: ddl :exec\n{table.sql}", "", table.name).ddl)
    for at in s.all("REFERENCES"):
        clause = " ".join(s.words[at : s.until(at, ",")])
        if "ON DELETE" not in clause:
            yield f"{clause} does not say ON DELETE"


@schema_lint(
    bad=(
        f"CREATE TABLE t ({ID}, p_id INTEGER {REFERS}) STRICT",
        f"CREATE TABLE t ({ID}, p_id INTEGER {REFERS}, n INTEGER, UNIQUE (n, p_id)) STRICT",
        f"CREATE TABLE t ({ID}, p_id INTEGER {REFERS}, n INTEGER) STRICT; CREATE INDEX i ON t (p_id) WHERE n = 1",
    ),
    good=(
        f"CREATE TABLE t ({ID}, p_id INTEGER {REFERS}, n INTEGER, UNIQUE (p_id, n)) STRICT",
        f"CREATE TABLE t ({ID}, p_id INTEGER {REFERS}) STRICT; CREATE INDEX i ON t (p_id) WHERE p_id IS NOT NULL",
    ),
)
def foreign_keys_are_indexed(table: Table, schema: Schema) -> Iterator[str]:
    yield from (f"{name} refers to a row but begins no index" for name in table.references if name not in table.indexed)


@schema_lint(bad=(f"CREATE TABLE nobodys ({ID}) STRICT",), good=(f"CREATE TABLE things ({ID}) STRICT",))
def tables_have_an_owner(table: Table, schema: Schema) -> Iterator[str]:
    if table.name not in schema.owners:
        yield "is in no room's TABLES"


def none_of(problems: Iterable[str]) -> None:
    """Fails with every problem in full, a line each."""
    found = sorted(problems)
    assert not found, "\n".join(["", *found])


def example(text: str) -> Statement:
    named = text if text.startswith("-- name:") else f"-- name: a :one\n{text}"
    return Statement(next(iter(parse(named, "things", "example.sql"))))


def name_of(rule: object) -> str:
    return getattr(rule, "__name__", "").replace("_", " ")


@pytest.fixture(scope="module")
def schema() -> Schema:
    return Schema()


@pytest.mark.parametrize(("rule", "bad", "good"), LINTS, ids=name_of)
def test_a_lint_refuses_what_it_should(rule: Lint, bad: tuple[str, ...], good: tuple[str, ...]) -> None:
    schema = Schema(EXAMPLE, OWNERS)
    assert [text for text in bad if not list(rule(example(text), schema))] == []
    assert {text: found for text in good if (found := list(rule(example(text), schema)))} == {}


@pytest.mark.parametrize(("rule", "bad", "good"), SCHEMA_LINTS, ids=name_of)
def test_a_lint_of_the_schema_refuses_what_it_should(
    rule: SchemaLint, bad: tuple[str, ...], good: tuple[str, ...]
) -> None:
    def complaints(ddl: str) -> list[str]:
        schema = Schema(ddl, {**OWNERS, "t": "things"})
        return [problem for table in schema.tables.values() for problem in rule(table, schema)]

    assert [ddl for ddl in bad if not complaints(ddl)] == []
    assert {ddl: found for ddl in good if (found := complaints(ddl))} == {}


@pytest.mark.parametrize("rule", [rule for rule, _, _ in LINTS], ids=name_of)
def test_the_statements_keep_to_the_common_dialect(rule: Lint, schema: Schema) -> None:
    none_of(
        f"{query.file}:{query.line}: {query.name}: {problem}"
        for query in STATEMENTS
        for problem in rule(Statement(query), schema)
    )


@pytest.mark.parametrize("rule", [rule for rule, _, _ in SCHEMA_LINTS], ids=name_of)
def test_the_tables_keep_to_the_rules(rule: SchemaLint, schema: Schema) -> None:
    tables = [table for table in schema.tables.values() if table.name != "schema_migrations"]
    none_of(f"{table.name} {problem}" for table in tables for problem in rule(table, schema))


def test_the_rooms_own_only_tables_that_exist(schema: Schema) -> None:
    none_of(schema.owners.keys() - schema.tables.keys())


def test_every_statement_prepares_on_sqlite() -> None:
    problems = []
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, now="2026-11-21T06:17:00.123Z")
        for query in STATEMENTS:
            try:
                connection.execute(f"EXPLAIN {query.sql}", dict.fromkeys(query.parameters))
            except sqlite3.Error as error:
                problems.append(f"{query.file}:{query.line}: {query.name}: {error}")
    none_of(problems)


def test_the_trail_is_read_by_its_indexes() -> None:
    """In the order in which rows are given: a page of a million neither reads them all nor sorts them."""
    problems = []
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, now="2026-11-21T06:17:00.123Z")
        for query in load("audit"):
            picks = re.search(r"\b(WHERE|JOIN)\b", query.sql) and "LIMIT" not in query.sql
            steps = connection.execute(f"EXPLAIN QUERY PLAN {query.sql}", dict.fromkeys(query.parameters))
            for step in (row[3] for row in steps):
                if "TEMP B-TREE" in step or (picks and step.startswith("SCAN audit")):
                    problems.append(f"{query.file}:{query.line}: {query.name}: {step}")
    none_of(problems)


# PostgreSQL: what its engine will have to know about the migrations and statements, as textual rules.

DDL_RULES = [
    (r"(?s)\bCREATE TRIGGER .*?\nEND;", ""),  # it has triggers of its own, written otherwise
    (r"\bDROP TRIGGER \w+;", ""),
    (r"\)\s*STRICT\b", ")"),
    (r"\bINTEGER PRIMARY KEY AUTOINCREMENT\b", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
    (r"\bINTEGER\b", "BIGINT"),
    (r"\bREAL\b", "DOUBLE PRECISION"),
    (r"\bBLOB\b", "BYTEA"),
    (r"(?<!AS )\bTEXT\b", 'TEXT COLLATE "C"'),
]
STATEMENT_RULES = [
    (r"\bjson_each\((\$\d+)\) AS (\w+)", r"json_array_elements_text(CAST(\1 AS json)) AS \2(value)"),
    (r"\bjson_each\((\$\d+)\)", r"json_array_elements_text(CAST(\1 AS json)) AS json_each(value)"),
]
PRELUDE = (
    "CREATE FUNCTION json_valid(t TEXT) RETURNS BOOLEAN IMMUTABLE LANGUAGE sql AS 'SELECT CAST(t AS json) IS NOT NULL';"
)


def rewritten(text: str, rules: list[tuple[str, str]]) -> str:
    for pattern, replacement in rules:
        text = re.sub(pattern, replacement, text)
    return text


def numbered(sql: str) -> str:
    """The statement with `$1`, `$2` … for its named parameters."""
    places: dict[str, int] = {}

    def place(token: Token) -> str:
        if token.kind != "parameter":
            return token.text
        return f"${places.setdefault(token.text, len(places) + 1)}"

    return rewritten("".join(place(token) for token in tokens(sql, "statement")), STATEMENT_RULES)


def server_programs() -> Path | None:
    """The folder of a PostgreSQL server's programs; None when this machine has none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3].split(".")[0]))
    other = shutil.which("initdb")
    return found[-1].parent if found else Path(other).parent if other else None


class Postgres:
    """A throw-away PostgreSQL that listens on a socket in its own folder alone."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder = programs, folder
        # initdb refuses to work as root.
        self.as_user = ["runuser", "-u", "nobody", "--"] if os.geteuid() == 0 else []
        if self.as_user:
            shutil.chown(folder, "nobody")

    def run(self, program: str, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        command = [*self.as_user, str(self.programs / program), *arguments]
        return subprocess.run(command, input=text, capture_output=True, text=True, cwd=self.folder, check=True)

    def start(self) -> None:
        self.run(
            "initdb", "-D", "cluster", "-U", "purser", "--locale=C", "--encoding=UTF8", "--auth=trust", "--no-sync"
        )
        options = f"-k {self.folder} -c listen_addresses='' -c fsync=off"
        self.run("pg_ctl", "-D", "cluster", "-w", "-s", "-l", "log", "-o", options, "start")

    def stop(self) -> None:
        self.run("pg_ctl", "-D", "cluster", "-w", "-s", "-m", "immediate", "stop")

    def psql(self, script: str) -> str:
        """What psql complained about, with the script's own \\warn lines between."""
        return self.run(
            "psql", "-X", "-q", "-h", str(self.folder), "-U", "purser", "-d", "postgres", text=script
        ).stderr


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    programs = server_programs()
    assert programs is not None
    with tempfile.TemporaryDirectory() as folder:
        server = Postgres(programs, Path(folder))
        server.start()
        try:
            schema = "".join(path.read_text() for path in sorted((ROOT / "sql/migrations").glob("*.sql")))
            assert server.psql(f"SET client_min_messages = warning; {PRELUDE}\n{rewritten(schema, DDL_RULES)}") == ""
            yield server
        finally:
            server.stop()


def prepared(server: Postgres, queries: list[Query]) -> dict[str, str]:
    """What PostgreSQL says against each statement it does not prepare."""
    script = ["\\set VERBOSITY terse"]
    for query in queries:
        script += [f"\\warn {query}", f"PREPARE s AS {numbered(query.sql)};", "DEALLOCATE ALL;"]
    said: dict[str, str] = {}
    name = ""
    for line in server.psql("\n".join(script) + "\n").splitlines():
        if "ERROR:" in line:
            said[name] = line.partition("ERROR:")[2].strip()
        elif not line.startswith("psql:"):
            name = line
    return said


# The statements must run there as well, later; so far the engine is SQLite, and no machine is asked to have the other.
with_postgresql = pytest.mark.skipif(server_programs() is None, reason="no PostgreSQL server is installed here")


@with_postgresql
@pytest.mark.slow
def test_every_statement_prepares_on_postgresql(postgres: Postgres) -> None:
    none_of(f"{name}: {problem}" for name, problem in prepared(postgres, STATEMENTS).items())


@with_postgresql
@pytest.mark.slow
def test_what_postgresql_does_not_know_is_noticed(postgres: Postgres) -> None:
    text = """
    -- name: good :value
    SELECT count(*) FROM json_each(:ids) WHERE CAST(value AS BIGINT) > CAST(:least AS BIGINT) AND ':no' = ':no';
    -- name: bad :value
    SELECT ifnull(:a, 1);
    -- name: worse :value
    SELECT nothing FROM nowhere WHERE a = :a AND b = :b AND c = :a;
    """
    queries = list(parse(re.sub(r"^ +", "", text, flags=re.MULTILINE), "example", "example.sql"))
    said = prepared(postgres, queries)
    assert list(said) == ["example.bad", "example.worse"]
    assert 'relation "nowhere" does not exist' in said["example.worse"]


# The Python side: every statement is used, and none is put together there.


def modules() -> dict[str, ast.Module]:
    """Every module of `app`, by its dotted name."""
    paths = [path for path in sorted(APP.rglob("*.py"))]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): ast.parse(path.read_text()) for path in paths}


def loaded(module: ast.Module) -> dict[str, str]:
    """The variables of a module that hold a room's statements: `q = load("packages")` gives q → packages."""
    found: dict[str, str] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call) and node.value.args:
            called, argument = node.value.func, node.value.args[0]
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            name = (
                called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""
            )
            if name == "load" and isinstance(argument, ast.Constant) and isinstance(target, ast.Name):
                found[target.id] = str(argument.value)
    return found


def uses(trees: dict[str, ast.Module]) -> set[str]:
    """`room.statement` for every attribute taken from a variable that holds a room's statements."""
    holders = {module: loaded(tree) for module, tree in trees.items()}
    used = set()
    for module, tree in trees.items():
        held = dict(holders[module])
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                source = holders.get(node.module or "", {})
                held |= {alias.asname or alias.name: source[alias.name] for alias in node.names if alias.name in source}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in held:
                used.add(f"{held[node.value.id]}.{node.attr}")
    return used


def test_uses_of_statements_are_found() -> None:
    trees = {
        "app.a.service": ast.parse(
            "q = load('a')\nother: Queries = queries.load('b')\nx = [q.one, other.two, z.three]"
        ),
        "app.a.worker": ast.parse("from app.a.service import q as mine\ndef f(): return mine.four"),
    }
    assert uses(trees) == {"a.one", "b.two", "a.four"}


def test_every_statement_that_is_named_exists() -> None:
    none_of(uses(modules()) - {str(query) for query in STATEMENTS})


def test_every_statement_is_used() -> None:
    none_of({str(query) for query in STATEMENTS} - uses(modules()))


def test_every_room_file_belongs_to_a_room() -> None:
    assert [room for room in ROOMS if not (APP / room).is_dir()] == []


SQL = re.compile(
    r"\s*(SELECT\s|INSERT\s+(INTO|OR)\b|UPDATE\s+\S*|DELETE\s+FROM\b|REPLACE\s+INTO\b|WITH\s+\w+\s+AS\b|PRAGMA\b|VACUUM\b"
    r"|(CREATE|DROP|ALTER)\s+(TABLE|INDEX|UNIQUE|VIEW|TRIGGER|TEMP|VIRTUAL)\b)"
)


def first_text(node: ast.expr) -> str:
    """The literal text an expression begins with, "" when it begins otherwise."""
    if isinstance(node, ast.JoinedStr):
        return first_text(node.values[0]) if node.values else ""
    if isinstance(node, ast.BinOp):
        return first_text(node.left)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def built(module: ast.Module) -> Iterator[int]:
    """The lines of a module that put SQL together."""
    for node in ast.walk(module):
        made: ast.expr | None = None
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mod)):
            made = node
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            made = node.func.value if node.func.attr in ("format", "format_map", "join", "replace") else None
        if made is not None and SQL.match(first_text(made)):
            yield made.lineno


def literal(module: ast.Module) -> Iterator[tuple[int, str]]:
    """The SQL that a module holds as text, docstrings apart."""
    docs = {id(node.value) for node in ast.walk(module) if isinstance(node, ast.Expr)}
    parts = {id(part) for node in ast.walk(module) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(module):
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docs | parts
            and SQL.match(node.value)
        ):
            yield node.lineno, node.value.split()[0]


@pytest.mark.parametrize(
    "code",
    [
        "f'SELECT {x}'",
        "f'''\n  DELETE FROM {x}'''",
        "'UPDATE %s' % x",
        "'INSERT INTO ' + x",
        "'PRAGMA {}'.format(x)",
        "f'PRAGMA user_version={x}'",
        "'CREATE TABLE t (' + x + ')'",
        "'SELECT x'.replace('x', y)",
    ],
)
def test_sql_that_is_built_is_noticed(code: str) -> None:
    assert list(built(ast.parse(code))) != []


def test_words_that_are_no_sql_are_let_pass() -> None:
    code = "'''SELECT in a docstring'''\nf'{x} SELECT 1'\nf'DELETE {path}'\nroute('DELETE', '/x')\n'Select a' + x"
    assert [*built(ast.parse(code)), *literal(ast.parse(code))] == []


def test_no_sql_is_built_in_python() -> None:
    none_of(f"{module}:{line}" for module, tree in modules().items() for line in built(tree))


def test_sql_stands_in_the_sql_files() -> None:
    """The engine may hold whole PRAGMAs, the migrations what they need before there is any table."""
    found = [(module, line, verb) for module, tree in modules().items() for line, verb in literal(tree)]
    none_of(
        f"{module}:{line}: {verb}"
        for module, line, verb in found
        if not (module == "app.db.migrate" or (module.startswith("app.db.") and verb in ("PRAGMA", "VACUUM")))
    )
