"""The whole API on one page, so that a change of it is seen in review: tests/golden/routes.txt.

After a wanted change write the page anew: `python -m tests.test_routes > tests/golden/routes.txt`.
"""

import re
from collections import Counter
from typing import Any

import msgspec
import pytest

from app.permissions import REACHES, RESOURCES, normalise
from app.routes import ALIASES, API, ROUTES
from app.web.access import PUBLIC, SIGNED_IN, RouteLine
from app.web.problems import problem
from tests.support import ROOT

GOLDEN = ROOT / "tests" / "golden" / "routes.txt"
HEADINGS = ("method", "path", "permission", "reach", "anonymous", "body", "status")
ROOMS = RESOURCES | {"auth", "authz", "permissions"}
"""What a path below the API may begin with: a resource, or one of the nouns that are none."""


def name(kind: Any) -> str:
    return "-" if kind is None else str(kind.__name__)


def needs(line: RouteLine) -> str:
    """The permission on the line, on a SIGNED_IN one with what an access token must have."""
    return f"{line.permission}({line.scope})" if line.scope else line.permission


def page() -> str:
    """Every route line in the order in which it is tried, in columns."""
    found = [
        (
            line.method,
            line.path,
            needs(line),
            line.reach if line.permission not in (PUBLIC, SIGNED_IN) else "-",
            "anonymous" if line.anonymous else "-",
            name(line.body or line.form),
            str(line.status),
        )
        for line in ROUTES
    ]
    table = [HEADINGS, *found]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADINGS))]
    return "".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n" for row in table
    )


def test_the_api_is_the_one_on_the_page() -> None:
    assert page() == GOLDEN.read_text(), "after a wanted change: python -m tests.test_routes > tests/golden/routes.txt"


def test_no_method_and_path_is_taken_twice() -> None:
    twice = [taken for taken, times in Counter((line.method, line.path) for line in ROUTES).items() if times > 1]
    assert twice == []


@pytest.mark.parametrize("line", ROUTES, ids=lambda line: f"{line.method} {line.path}")
def test_a_route_line_holds_to_the_rules(line: RouteLine) -> None:
    """Plural nouns, ids called id, and every struct at the door refuses unknown fields, a form's alone ignores them."""
    assert line.method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    assert re.fullmatch(r"(/(v1|[a-z][a-z-]*|\{([a-z]+_)?id\}))+", line.path)
    for taken in (line.body, line.query):
        assert taken is None or taken.__struct_config__.forbid_unknown_fields
    assert line.form is None or not line.form.__struct_config__.forbid_unknown_fields
    assert line.body is None or line.form is None
    assert not (line.body or line.form) or line.method != "GET"


@pytest.mark.parametrize("line", ROUTES, ids=lambda line: f"{line.method} {line.path}")
def test_a_route_line_says_who_may(line: RouteLine) -> None:
    """PUBLIC, SIGNED_IN, or a permission in its normal spelling with its reach; a scope beside SIGNED_IN alone."""
    if line.permission not in (PUBLIC, SIGNED_IN):
        assert normalise(line.permission) == line.permission
        assert "*" not in line.permission or (line.permission, line.reach) == ("*", "all")
        assert line.reach in REACHES
        assert line.path.startswith(f"{API}/")
        assert line.path.split("/")[3] in ROOMS
    assert line.scope is None or (line.permission == SIGNED_IN and normalise(line.scope) == line.scope)
    assert not line.anonymous or (line.method, line.path) == ("POST", f"{API}/tokens")


@pytest.mark.parametrize("line", ROUTES, ids=lambda line: f"{line.method} {line.path}")
def test_a_route_line_says_what_it_answers(line: RouteLine) -> None:
    """A deletion may answer nothing, a log and a stream are no structs; every other route declares its answer."""
    if line.status == 204:
        assert line.answer is None
    elif line.method != "DELETE":
        assert line.answer is not None or line.path.split("/")[-1] in ("log", "events")
    if line.method not in ("GET", "DELETE"):
        assert line.answer is not None


def test_refusals_are_told_in_one_way_but_where_a_standard_says_otherwise() -> None:
    assert [line.path for line in ROUTES if line.refuse is not problem] == [f"{API}/auth/token"]


def test_an_alias_leads_to_what_exists() -> None:
    for prefix, meant in ALIASES.items():
        assert any(line.path == meant or line.path.startswith(f"{meant}/") for line in ROUTES)
        assert not any(line.path == prefix or line.path.startswith(f"{prefix}/") for line in ROUTES)


def test_every_answer_can_be_described() -> None:
    """Two structs of one name, or one that no JSON can hold, would show here."""
    kinds = [kind for line in ROUTES for kind in (line.body, line.form, line.query, line.answer) if kind is not None]
    _, components = msgspec.json.schema_components(kinds)
    assert components


if __name__ == "__main__":
    print(page(), end="")
