"""The whole API on one page, so that a change of it is seen in review: tests/golden/routes.txt.

After a wanted change write the page anew: `python -m tests.test_routes > tests/golden/routes.txt`.
"""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from app.permissions import REACHES, RESOURCES, normalise
from app.routes import ALIASES, API, ROUTES
from app.web.access import ACTION, PUBLIC, SIGNED_IN, RouteLine, alike
from app.web.problems import problem
from tests.accounts import Person
from tests.fcs_writer import fcs
from tests.house import House
from tests.support import ROOT, ask, refusal, until

GOLDEN = ROOT / "tests" / "golden" / "routes.txt"
HEADINGS = ("method", "path", "permission", "reach", "anonymous", "body", "status")
ROOMS = RESOURCES | {"auth", "authz", "permissions"}
"""What a path below the API may begin with: a resource, or one of the nouns that are none."""
KEEPING = tuple(f"{API}/{room}" for room in ("documents", "folders", "files"))
"""Where actions answer POST, PATCH and PUT."""
ACTIONS = ["rename", "move", "copy", "share", "unshare", "revoke-share", "favorite", "tags", "batch-delete", "restore"]
BY_PATH = {path: [line for line in ROUTES if line.path == path] for path in {line.path for line in ROUTES}}
STREAMS = [line for line in ROUTES if line.streams]
CHUNK = f"{API}/fcs/uploads/{{id}}/chunks/{{chunk_id}}"
"""Where a part of a file comes in."""


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
    assert re.fullmatch(r"(/(v1|[a-z][a-z-]*|\{([a-z]+_)?id\}|\{link\}))+", line.path)
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
    """A deletion may answer nothing; logs, streams, files and plots are no structs; all others declare their answer."""
    if line.status == 204:
        assert line.answer is None
    elif line.method != "DELETE":
        bare = ("log", "events", "download", "{link}", "histogram", "density")
        assert line.answer is not None or line.path.split("/")[-1] in bare
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


def same(lines: list[RouteLine]) -> bool:
    """Whether these lines differ in nothing but the method."""
    return len({repr(msgspec.structs.replace(line, method="-")) for line in lines}) == 1


def test_lines_that_are_alike_differ_in_their_method_alone() -> None:
    more: dict[str, Any] = {"reach": "group", "status": 202, "limited": False}
    lines = alike(ACTION, "/things/{id}/rename", problem, "teams:write", **more)  # type: ignore[arg-type]
    assert [line.method for line in lines] == ["POST", "PATCH", "PUT"]
    assert same([*lines])
    assert lines[2] == RouteLine("PUT", "/things/{id}/rename", problem, "teams:write", **more)  # type: ignore[arg-type]
    assert alike("GET", "/things", problem, PUBLIC)[0].method == "GET"  # type: ignore[arg-type]


@pytest.mark.parametrize("path", sorted(path for path in BY_PATH if path.startswith(KEEPING)))
def test_an_action_answers_three_methods_alike_and_a_change_two(path: str) -> None:
    """A word behind a thing, or behind things, is what is done with it; all else is a noun that is read."""
    methods = [line.method for line in BY_PATH[path]]
    last = path.rsplit("/", 1)[1]
    if last in ACTIONS:
        assert (methods, same(BY_PATH[path])) == (ACTION.split(), True)
    elif last == "{id}":
        changes = [line for line in BY_PATH[path] if line.method in ("PATCH", "PUT")]
        assert (methods, same(changes)) == (["GET", "PATCH", "PUT", "DELETE"], True)
    elif not any(line.streams for line in BY_PATH[path]):
        assert methods == (["GET", "POST"] if path in KEEPING else ["GET"])


def test_every_action_is_there_for_what_it_is_an_action_of() -> None:
    found = {path for path in BY_PATH if path.startswith(KEEPING) and path.rsplit("/", 1)[1] in ACTIONS}
    documents, folders, files = KEEPING
    assert found == {
        *(f"{documents}/{{id}}/{action}" for action in ("rename", "move", "tags", "share", "unshare")),
        *(f"{folders}/{{id}}/{action}" for action in ("rename", "move")),
        *(f"{files}/{{id}}/{action}" for action in ("rename", "move", "copy", "favorite", "share", "revoke-share")),
        *(
            f"{documents}/batch-delete",
            f"{files}/batch-delete",
            f"{documents}/{{id}}/revisions/{{revision_id}}/restore",
        ),
    }


@pytest.mark.parametrize(
    "line", [line for line in ROUTES if line.path.startswith(KEEPING)], ids=lambda line: f"{line.method} {line.path}"
)
def test_what_people_keep_is_read_written_and_deleted_with_the_permission_of_its_room(line: RouteLine) -> None:
    """Whose it is, is the service's to look at: the line asks for no more than the own."""
    if "{link}" in line.path:
        assert line.permission == PUBLIC
        return
    deletes = line.method == "DELETE" or line.path.endswith("/batch-delete")
    wanted = "read" if line.method == "GET" else "delete" if deletes else "write"
    assert (line.permission, line.reach) == (f"{line.path.split('/')[3]}:{wanted}", "own")


def test_what_is_secret_in_a_path_stands_where_the_trail_leaves_it_out() -> None:
    """Whatever is no id in a path is the secret of a link; it follows `/shared/` and ends the path."""
    secret = [line.path for line in ROUTES if re.sub(r"{([a-z]+_)?id}", "", line.path).count("{")]
    assert secret == [f"{API}/files/shared/{{link}}"]
    assert not [line for line in ROUTES if "/shared/" in line.path and line.path not in secret]


def test_a_line_whose_handler_reads_the_body_by_itself_takes_no_other_and_lets_nobody_in_unknown() -> None:
    assert [(line.method, line.path) for line in STREAMS] == [
        ("POST", f"{API}/files"),
        ("POST", f"{API}/files/upload"),
        ("PUT", f"{API}/files/content"),
        ("POST", f"{API}/fcs/upload"),
        ("PUT", f"{API}/fcs/content"),
        ("PUT", CHUNK),
    ]
    for line in STREAMS:
        assert line.body is line.form is None
        assert line.permission not in (PUBLIC, SIGNED_IN)
        assert not line.anonymous


def test_what_is_no_change_in_the_trail_is_a_call_there() -> None:
    """A chunk is a part of what the file's own row tells; who forgot a password is told nothing, whoever asks."""
    unrecorded = {line.path for line in ROUTES if not line.recorded}
    assert unrecorded == {CHUNK, f"{API}/auth/forgot-password"}


def revoke(house: House, person: Person, token_id: int) -> None:
    assert house.client.delete(f"{API}/tokens/{token_id}").status_code == 200


def demote(house: House, person: Person, token_id: int) -> None:
    assert house.client.put(f"{API}/users/{person.id}/roles", json={"roles": ["guest"]}).status_code == 200


def suspend(house: House, person: Person, token_id: int) -> None:
    assert house.client.patch(f"{API}/users/{person.id}/status", json={"status": "suspended"}).status_code == 200


def narrow(house: House, person: Person, token_id: int) -> None:
    """The token is no good from where the call came."""
    path, elsewhere = f"{API}/tokens/{token_id}/allowed-ips", {"allowed_ips": ["192.0.2.1"]}
    assert house.client.put(path, json=elsewhere, headers=person.headers).status_code == 200


def nothing(house: House, person: Person, token_id: int) -> None:
    """Something happens that is none of the caller's affair."""
    revoke(house, person, int(house.client.post(f"{API}/tokens").json()["id"]))


BOUNDARY = b"0123456789"
SAMPLE = fcs([[1.0, 2.0]], names=["FSC-A"])
"""What is uploaded, by every way in."""
LEFT = {
    CHUNK: "SELECT filename AS name, fcs_chunks.size_bytes FROM fcs_chunks"
    " JOIN fcs_uploads ON fcs_uploads.id = upload_id WHERE owner_id = ?",
    f"{API}/fcs": "SELECT filename AS name, size_bytes FROM fcs_files"
    " JOIN fcs_contents ON fcs_contents.id = content_id WHERE owner_id = ?",
    f"{API}/files": "SELECT name, size_bytes FROM files WHERE owner_id = ?",
}
"""By how its path begins, what an upload has left of somebody's."""


def place(house: House, line: RouteLine, person: Person) -> str:
    """The path of a route that takes an upload; of one in chunks, which is begun here, the first chunk's."""
    if line.path != CHUNK:
        return line.path
    new = {"filename": "a.txt", "file_size": len(SAMPLE)}
    begun = house.client.post(f"{API}/fcs/uploads", json=new, headers=person.headers)
    assert begun.status_code == 201, begun.text
    return f"{API}/fcs/uploads/{begun.json()['id']}/chunks/0"


def uploaded(
    house: House, line: RouteLine, path: str, headers: dict[str, str], meanwhile: Callable[[], object]
) -> tuple[int, dict[str, Any]]:
    """What a route that reads its body by itself answers, when something happens while the body is on its way."""
    pieces = [SAMPLE[:2], SAMPLE[2:]]
    if line.query is None and line.path != CHUNK:
        head = b'--%b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n' % BOUNDARY
        pieces = [head, *pieces, b"\r\n--%b--\r\n" % BOUNDARY]
    given = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    given.append((b"content-type", b"multipart/form-data; boundary=" + BOUNDARY))
    query = b"name=a.txt" if line.query else b""
    answer = ask(house.client, line.method, path, query=query, headers=given, body=pieces, meanwhile=meanwhile)
    if answer.status_code >= 400:
        refusal(answer, answer.status_code)
    return answer.status_code, answer.json()


@pytest.mark.parametrize("line", STREAMS, ids=lambda line: f"{line.method} {line.path}")
@pytest.mark.parametrize(
    ("meanwhile", "session", "token"),
    [(revoke, 201, 401), (demote, 401, 403), (suspend, 401, 401), (narrow, 201, 403), (nothing, 201, 201)],
    ids=lambda part: getattr(part, "__name__", str(part)),
)
def test_who_may_no_more_when_the_body_is_there_leaves_nothing(
    house: House, line: RouteLine, meanwhile: Callable[[House, Person, int], None], session: int, token: int
) -> None:
    left = next(sql for begins, sql in LEFT.items() if line.path.startswith(begins))
    for by_token, expected in ((False, session), (True, token)):
        person = house.person()
        made = house.client.post(f"{API}/tokens", headers=person.headers).json()
        headers = {"Authorization": f"Token {made['token']}"} if by_token else person.headers
        path = place(house, line, person)
        status, said = uploaded(house, line, path, headers, lambda: meanwhile(house, person, made["id"]))  # noqa: B023
        taken = expected == 201
        assert status == (line.status if taken else expected), said
        files = house.rows(left, person.id)
        assert files == ([{"name": "a.txt", "size_bytes": len(SAMPLE)}] if taken else [])
        until(lambda: not house.rows("SELECT id FROM file_uploads"), "nothing is reserved any more")
        assert [*(house.config.data_dir / "blobs" / "incoming").iterdir()] == []
        used = house.rows("SELECT sum(used_bytes) AS n FROM storage_use WHERE owner_id = ?", person.id)
        assert used == [{"n": len(SAMPLE) if taken and line.path != CHUNK else None}]


if __name__ == "__main__":
    print(page(), end="")
