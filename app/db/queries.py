"""The loader of the SQL files: every statement the rooms run lives in `sql/<room>.sql` under a name.

    -- name: by_id :one
    -- The package, None when there is none.
    SELECT id, name FROM packages WHERE id = :id;

`q = load("packages")`, then `tx.one(q.by_id, Package, id=7)`. The kind says what comes back: `:one` a row or
None, `:many` rows, `:value` a single column of a row, `:exec` the number of rows touched.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from keyword import iskeyword
from pathlib import Path
from typing import Literal, NamedTuple, cast

Kind = Literal["one", "many", "value", "exec"]

_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<comment>--[^\n]*|/\*.*?\*/)
    | (?P<string>'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")*")
    | (?P<cast>::)
    | (?P<parameter>:[A-Za-z_]\w*)
    | (?P<positional>\?\d*|[$@:]\w+)
    | (?P<number>\d\w*(?:\.\w+)?)
    | (?P<word>\w+)
    | (?P<end>;)
    | (?P<broken>'|"|/\*)
    | (?P<sign><=|>=|<>|!=|==|\|\||.)
    """,
    re.VERBOSE | re.DOTALL,
)
_PARAMETER = re.compile(r":[a-z_][a-z0-9_]*")
_NAME = re.compile(r"-- name: ([a-z][a-z0-9_]*) :(one|many|value|exec)\s*")
_MEANT_AS_NAME = re.compile(r"--\s*name\s*:|--.*\s:(one|many|value|exec)\s*$")


class QueryError(Exception):
    """An SQL file is malformed, or a statement was called with the wrong parameters; the text says file:line."""


class Token(NamedTuple):
    """A piece of SQL: its kind (a group of `_TOKEN`), its text, and the offset where it stands."""

    kind: str
    text: str
    at: int


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """One named statement of an SQL file; `str(query)` is `room.name`."""

    name: str
    room: str
    kind: Kind
    sql: str
    parameters: frozenset[str]
    doc: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.room}.{self.name}"

    def its(self, known: Mapping[str, object]) -> dict[str, object]:
        """Of these parameters those that the statement takes: for statements that ask for the same in several ways."""
        return {name: value for name, value in known.items() if name in self.parameters}


class Queries:
    """The statements of one file, each an attribute; iterating gives them in the order of the file."""

    def __init__(self, file: str, queries: Iterable[Query]) -> None:
        self._file = file
        self.__dict__.update((query.name, query) for query in queries)

    def __getattr__(self, name: str) -> Query:
        if name.startswith("_"):
            raise AttributeError(name)
        near = get_close_matches(name, [query.name for query in self])
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise AttributeError(f"{self._file} has no statement {name!r}{hint}")

    def __iter__(self) -> Iterator[Query]:
        return (value for value in self.__dict__.values() if isinstance(value, Query))


def check(query: Query, parameters: Mapping[str, object]) -> None:
    """Raises QueryError unless exactly the statement's parameters are given."""
    if parameters.keys() == query.parameters:
        return
    missing = ", ".join(sorted(query.parameters - parameters.keys()))
    unknown = ", ".join(sorted(parameters.keys() - query.parameters))
    wrong = "; ".join(f"{what} {names}" for what, names in (("missing", missing), ("unknown", unknown)) if names)
    raise QueryError(f"{query.file}:{query.line}: wrong parameters for {query}: {wrong}")


def folder() -> Traversable:
    """The folder of the SQL files: `app/sql` in the installed package, `sql` beside `app` in a checkout."""
    package = files("app")
    inside = package / "sql"
    return inside if inside.is_dir() else Path(str(package)).parent / "sql"


@cache
def load(room: str) -> Queries:
    """The statements of `sql/<room>.sql`, read once however many modules ask."""
    path = folder() / f"{room}.sql"
    if not path.is_file():
        raise QueryError(f"sql/{room}.sql: no such file in {folder()}")
    return parse(path.read_text("utf-8"), room, f"sql/{room}.sql")


def parse(text: str, room: str, file: str) -> Queries:
    """The statements of an SQL text; `file` is only for messages. Raises QueryError with file:line."""
    source = _Source(text, room, file)
    found: dict[str, Query] = {}
    for header, pieces in _parts(source):
        code = [piece for piece in pieces if piece.kind != "comment"]
        if header is not None:
            query = _query(source, header, pieces, code)
            if query.name in found:
                raise source.error(header.at, f"{query.name} is already the name of line {found[query.name].line}")
            found[query.name] = query
        elif code:
            raise source.error(code[0].at, "SQL before the first '-- name:' line")
    return Queries(file, found.values())


def tokens(text: str, file: str) -> Iterator[Token]:
    """The pieces of an SQL text, white space and comments included; QueryError for an unclosed quote or comment."""
    for match in _TOKEN.finditer(text):
        token = Token(match.lastgroup or "", match.group(), match.start())
        if token.kind == "broken":
            raise _Source(text, "", file).error(token.at, f"{token.text} is never closed")
        yield token


class _Source(NamedTuple):
    text: str
    room: str
    file: str

    def line(self, at: int) -> int:
        return self.text.count("\n", 0, at) + 1

    def error(self, at: int, problem: str) -> QueryError:
        return QueryError(f"{self.file}:{self.line(at)}: {problem}")


def _parts(source: _Source) -> Iterator[tuple[Token | None, list[Token]]]:
    """What stands before the first name line (with None), then each name line and what follows it."""
    header: Token | None = None
    pieces: list[Token] = []
    for token in tokens(source.text, source.file):
        if token.kind == "comment" and _MEANT_AS_NAME.match(token.text):
            yield header, pieces
            header, pieces = token, []
        elif token.kind != "space":
            pieces.append(token)
    yield header, pieces


def _query(source: _Source, header: Token, pieces: list[Token], code: list[Token]) -> Query:
    """The statement under a name line; its doc is the comments between the two."""
    named = _NAME.fullmatch(header.text)
    if named is None or iskeyword(named[1]) or source.text[header.at - 1 : header.at] not in ("", "\n"):
        raise source.error(header.at, "expected a line '-- name: lower_case :one|:many|:value|:exec'")
    code = _one_statement(source, header, code)
    first, last = code[0], code[-1]
    return Query(
        name=named[1],
        room=source.room,
        kind=cast(Kind, named[2]),
        sql=source.text[first.at : last.at + len(last.text)],
        parameters=frozenset(piece.text[1:] for piece in code if piece.kind == "parameter"),
        doc="\n".join(piece.text.removeprefix("--").strip() for piece in pieces if piece.at < first.at),
        file=source.file,
        line=source.line(header.at),
    )


def _one_statement(source: _Source, header: Token, code: list[Token]) -> list[Token]:
    """The statement without its closing semicolon; QueryError when it is none, two, or has odd parameters."""
    if code and code[-1].kind == "end":
        code = code[:-1]
    if not code:
        raise source.error(header.at, "a name without a statement")
    for piece in code:
        if piece.kind == "end":
            raise source.error(piece.at, "two statements under one name")
        if piece.kind == "positional" or (piece.kind == "parameter" and not _PARAMETER.fullmatch(piece.text)):
            raise source.error(piece.at, f"parameters are written :lower_case, not {piece.text}")
    return code
