"""The whole API on one page, so that a change of it is seen in review: tests/golden/routes.txt.

After a wanted change write the page anew: `python -m tests.test_routes > tests/golden/routes.txt`.
"""

import re
from collections import Counter
from typing import Any

import msgspec
import pytest

from app.permissions import RESOURCES, normalise
from app.routes import ALIASES, API, ROUTES
from app.web.access import PUBLIC, SIGNED_IN, RouteLine
from tests.support import ROOT

GOLDEN = ROOT / "tests" / "golden" / "routes.txt"
HEADINGS = ("method", "path", "permission", "reach", "anonymous", "body", "status")


def name(kind: Any) -> str:
    return "-" if kind is None else str(kind.__name__)


def page() -> str:
    """Every route line in the order in which it is tried, in columns."""
    found = [
        (
            line.method,
            line.path,
            line.permission,
            line.reach if line.permission not in (PUBLIC, SIGNED_IN) else "-",
            "anonymous" if line.anonymous else "-",
            name(line.body),
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
    """Plural nouns, known permissions, ids called id, and every struct at the door refuses unknown fields."""
    assert line.method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    assert re.fullmatch(r"(/(v1|[a-z][a-z-]*|\{([a-z]+_)?id\}))+", line.path)
    if line.permission not in (PUBLIC, SIGNED_IN):
        assert normalise(line.permission) == line.permission
    for taken in (line.body, line.query):
        assert taken is None or taken.__struct_config__.forbid_unknown_fields
    assert (
        line.answer is not None
        or line.status == 204
        or line.method == "DELETE"
        or line.path.split("/")[-1] in ("log", "events")
    )
    assert not (line.body and line.method == "GET")
    if line.path.startswith(API) and line.permission not in (PUBLIC, SIGNED_IN):
        assert line.path.split("/")[3] in RESOURCES


def test_an_alias_leads_to_what_exists() -> None:
    for prefix, meant in ALIASES.items():
        assert any(line.path == meant for line in ROUTES)
        assert not any(line.path == prefix or line.path.startswith(f"{prefix}/") for line in ROUTES)


def test_every_answer_can_be_described() -> None:
    """Two structs of one name, or one that no JSON can hold, would show here."""
    kinds = [kind for line in ROUTES for kind in (line.body, line.query, line.answer) if kind is not None]
    _, components = msgspec.json.schema_components(kinds)
    assert components


if __name__ == "__main__":
    print(page(), end="")
