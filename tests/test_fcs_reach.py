"""Who reaches which FCS files: by scope, role and group; which is meant when none is named; the appliance's own."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import httpx2
import pytest

from app.config import Config
from app.errors import StartError
from app.main import create_app
from app.routes import ROUTES
from tests.accounts import Person, make_group, make_person
from tests.fcs_writer import fcs
from tests.house import NOBODY, House
from tests.office import API, FILES, made
from tests.support import configured, refusal, until
from tests.test_fcs import FCS, ask, contents, fresh, listed, put, remove, served
from tests.test_uploads import blobs, used

MIB = 2**20
NONE_SUCH = 10**17
READ, WRITE, ANALYZE, ADMIN = LADDER = ("fcs:read", "fcs:write", "fcs:analyze", "fcs:admin")
ABOUT = ("parameters", "events", "keywords", "statistics", "histogram", "density")
"""What tells of a file, which file_id names."""
AXES = {"histogram": {"x": "P1"}, "density": {"x": "P1", "y": "P2"}}
CONTENT = fcs([[1.5, 2.5], [3.5, 4.5]])
_numbers = count(1)


class Call(NamedTuple):
    """A route, called so that it does what it is for."""

    route: str
    needs: str
    status: int
    make: Callable[[House, Person, dict[str, str]], httpx2.Response]
    """Called with the headers, about what this person has."""


def file_of(house: House, who: Person) -> int:
    return int(put(house, who, CONTENT)["file_id"])


def upload_of(house: House, who: Person) -> int:
    """An upload in chunks that has not begun to come, the only one of this person's."""
    for upload in house.client.get(f"{FCS}/uploads", headers=who.headers).json():
        if upload["status"] == "processing":
            house.client.delete(f"{FCS}/uploads/{upload['id']}", headers=who.headers)
    new = {"filename": "a.fcs", "file_size": len(CONTENT), "chunk_size": MIB}
    return int(made(house.client.post(f"{FCS}/uploads", json=new, headers=who.headers))["id"])


def filled(house: House, who: Person) -> int:
    """An upload of which all chunks are there."""
    upload_id = upload_of(house, who)
    path = f"{FCS}/uploads/{upload_id}/chunks/0"
    assert house.client.put(path, content=CONTENT, headers=who.headers).status_code == 200
    return upload_id


def about(what: str) -> Callable[[House, Person, dict[str, str]], httpx2.Response]:
    def call(house: House, who: Person, headers: dict[str, str]) -> httpx2.Response:
        query = {"file_id": file_of(house, who)} | AXES.get(what, {})
        return house.client.get(f"{FCS}/{what}", params=query, headers=headers)

    return call


def on(method: str, path: str, of: Callable[[House, Person], int] | None = None, **more: Any) -> Any:
    """A call of a path, in which `{id}` is what `of` makes."""

    def call(house: House, who: Person, headers: dict[str, str]) -> httpx2.Response:
        whole = FCS + (path if of is None else path.replace("{id}", str(of(house, who))))
        return house.client.request(method, whole, headers=headers, **more)

    return call


def begin(house: House, who: Person, headers: dict[str, str]) -> httpx2.Response:
    upload_of(house, who)
    return house.client.post(f"{FCS}/uploads", json={"filename": "a.fcs", "file_size": 100}, headers=headers)


CALLS = [
    Call("POST /fcs/upload", WRITE, 201, on("POST", "/upload", files={"file": ("a.fcs", CONTENT)})),
    Call("PUT /fcs/content", WRITE, 201, on("PUT", "/content?name=a.fcs", content=CONTENT)),
    Call("GET /fcs/uploads", WRITE, 200, on("GET", "/uploads")),
    Call("POST /fcs/uploads", WRITE, 201, begin),
    Call("GET /fcs/uploads/{id}", WRITE, 200, on("GET", "/uploads/{id}", upload_of)),
    Call("DELETE /fcs/uploads/{id}", WRITE, 204, on("DELETE", "/uploads/{id}", upload_of)),
    Call(
        "PUT /fcs/uploads/{id}/chunks/{chunk_id}",
        WRITE,
        200,
        on("PUT", "/uploads/{id}/chunks/0", upload_of, content=CONTENT),
    ),
    Call("POST /fcs/uploads/{id}/complete", WRITE, 201, on("POST", "/uploads/{id}/complete", filled)),
    Call("GET /fcs/files", READ, 200, on("GET", "/files")),
    Call("GET /fcs/files/{id}", READ, 200, on("GET", "/files/{id}", file_of)),
    Call("DELETE /fcs/files/{id}", WRITE, 204, on("DELETE", "/files/{id}", file_of)),
    Call("GET /fcs/files/{id}/download", READ, 200, on("GET", "/files/{id}/download", file_of)),
    *(Call(f"GET /fcs/{what}", READ, 200, about(what)) for what in ABOUT[:3]),
    *(Call(f"GET /fcs/{what}", ANALYZE, 200, about(what)) for what in ABOUT[3:]),
]
EACH = pytest.mark.parametrize("call", CALLS, ids=[call.route.replace(" /fcs", "") for call in CALLS])


class Cast(NamedTuple):
    """Those whom the tests share, and their tokens by scope."""

    owner: Person
    other: Person
    guest: Person
    admin: Person
    tokens: dict[str, dict[str, str]]
    """The owner's."""
    of_admin: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def cast(house: House) -> Cast:
    """The owner holds every permission of the room, for the own files: what a token may not do is the token's fault."""
    role(house, "fcs-all-of-own", {"fcs:*": "own"})
    owner, admin = house.person("user", "fcs-all-of-own"), house.person("admin")
    foreign = ("workspaces:admin", "users:write", "files:delete", "documents:delete", "tokens:write")
    tokens = {scope: house.token(owner, scope) for scope in (*LADDER, "fcs:*", *foreign)}
    of_admin = {scope: house.token(admin, scope) for scope in (*LADDER, "fcs:*", "users:*", "workspaces:*")}
    return Cast(owner, house.person(), house.person("guest"), admin, tokens, of_admin)


def role(house: House, name: str, grants: dict[str, str]) -> None:
    """Makes a role of these permissions, each with its reach."""
    permissions = [{"permission": permission, "reach": reach} for permission, reach in grants.items()]
    answer = house.client.post(f"{API}/roles", json={"name": name, "permissions": permissions})
    assert answer.status_code == 201, answer.text


def test_every_route_of_the_room_is_among_the_calls() -> None:
    there = {f"{line.method} {line.path.removeprefix(API)}" for line in ROUTES if line.path.startswith(FCS)}
    assert {call.route for call in CALLS} == there


@EACH
@pytest.mark.parametrize("scope", [*LADDER, "fcs:*"])
def test_a_scope_includes_those_below_it(house: House, cast: Cast, call: Call, scope: str) -> None:
    answer = call.make(house, cast.owner, cast.tokens[scope])
    if scope == "fcs:*" or LADDER.index(scope) >= LADDER.index(call.needs):
        assert answer.status_code == call.status, answer.text
        assert answer.headers["x-accepted-scopes"] == call.needs
    else:
        document = refusal(answer, 403, "FORBIDDEN")
        assert (document["required"], document["held"]) == ([call.needs], [scope])


@EACH
def test_a_scope_of_another_resource_opens_nothing(house: House, cast: Cast, call: Call) -> None:
    foreign = [scope for scope in cast.tokens if not scope.startswith("fcs:")]
    for scope in foreign:
        document = refusal(call.make(house, cast.owner, cast.tokens[scope]), 403, "FORBIDDEN")
        assert (document["required"], document["held"]) == ([call.needs], [scope])
    for scope in ("users:*", "workspaces:*"):
        refusal(call.make(house, cast.admin, cast.of_admin[scope]), 403, "FORBIDDEN")
    assert len(foreign) == 5


@EACH
def test_whom_a_session_serves(house: House, cast: Cast, call: Call) -> None:
    assert call.make(house, cast.owner, cast.owner.headers).status_code == call.status
    refusal(call.make(house, cast.owner, NOBODY), 401, "UNAUTHORIZED")
    document = refusal(call.make(house, cast.owner, cast.guest.headers), 403, "FORBIDDEN")
    assert document["required"] == [call.needs]


NAMED = [call for call in CALLS if "{id}" in call.route or call.route.removeprefix("GET /fcs/") in ABOUT]
ONE = pytest.mark.parametrize("call", NAMED, ids=[call.route.replace(" /fcs", "") for call in NAMED])


@ONE
def test_what_others_have_is_not_there(house: House, cast: Cast, call: Call) -> None:
    """Whoever they are: also for an administrator through a token that is not the administrator's whole power."""
    refusal(call.make(house, cast.owner, cast.other.headers), 404, "NOT_FOUND")
    refusal(call.make(house, cast.other, cast.tokens[ADMIN]), 404, "NOT_FOUND")
    for scope in LADDER[:3]:
        if LADDER.index(scope) >= LADDER.index(call.needs):
            refusal(call.make(house, cast.owner, cast.of_admin[scope]), 404, "NOT_FOUND")


@ONE
def test_what_others_have_an_administrator_reaches(house: House, cast: Cast, call: Call) -> None:
    """Files, that is: an upload that has not become one is its owner's alone."""
    for headers in (cast.admin.headers, cast.of_admin[ADMIN], cast.of_admin["fcs:*"]):
        answer = call.make(house, cast.owner, headers)
        if "/uploads/" in call.route:
            refusal(answer, 404, "NOT_FOUND")
        else:
            assert answer.status_code == call.status, answer.text


@ONE
def test_what_is_nowhere_is_told_like_what_is_anothers(house: House, cast: Cast, call: Call) -> None:
    method, _, path = call.route.partition(" ")
    theirs = refusal(call.make(house, cast.owner, cast.other.headers), 404)
    query = {} if "{id}" in path else {"file_id": NONE_SUCH} | AXES.get(path.removeprefix("/fcs/"), {})
    path = API + path.replace("{id}", str(NONE_SUCH)).replace("{chunk_id}", "0")
    content: dict[str, Any] = {"content": CONTENT} if method == "PUT" else {}
    nowhere = house.client.request(method, path, params=query, headers=cast.other.headers, **content)
    assert refusal(nowhere, 404)["detail"] == theirs["detail"]


def test_nobody_is_told_that_another_has_the_same_bytes(house: House) -> None:
    anna, otto, common = house.person(), house.person(), fresh()
    file = put(house, anna, common, "secret.fcs")
    known, unknown = put(house, otto, common), put(house, otto, fresh())
    own = {"file_id", "sha256", "created_at", "size_bytes"}
    assert {name: value for name, value in known.items() if name not in own} == {
        name: value for name, value in unknown.items() if name not in own
    }
    tag = {"If-None-Match": f'"{file["sha256"]}"', "Range": "bytes=1-"}
    path = f"{FCS}/files/{file['file_id']}/download"
    refusal(house.client.get(path, headers=otto.headers | tag), 404, "NOT_FOUND")


def test_an_administrator_lists_everybodys_and_through_a_narrow_token_the_own(house: House) -> None:
    anna, otto, admin = house.person(), house.person(), house.person("admin")
    theirs = [file_of(house, anna), file_of(house, otto)]
    own = file_of(house, admin)
    wide = house.token(admin, ADMIN)
    for headers in (admin.headers, wide):
        answer = house.client.get(f"{FCS}/files?limit=3&count=true", headers=headers)
        found = answer.json()
        assert [file["file_id"] for file in found] == [own, *theirs[::-1]]
        assert [file["owner_name"] for file in found] == [admin.username, otto.username, anna.username]
        total = house.rows("SELECT count(*) AS n FROM fcs_files WHERE owner_id IS NOT NULL")[0]["n"]
        assert answer.headers["x-total-count"] == str(total)
    assert listed(house, admin, limit=2)[:3] == [own, *theirs[::-1]]
    for scope in LADDER[:3]:
        answer = house.client.get(f"{FCS}/files?count=true", headers=house.token(admin, scope))
        assert ([file["file_id"] for file in answer.json()], answer.headers["x-total-count"]) == ([own], "1")


def test_an_administrator_deletes_what_is_anothers_and_its_owner_has_the_room_again(house: House) -> None:
    anna, admin = house.person(), house.person("admin")
    file_id = file_of(house, anna)
    assert used(house, anna) == len(CONTENT)
    for scope in (WRITE, ANALYZE):
        path = f"{FCS}/files/{file_id}"
        refusal(house.client.delete(path, headers=house.token(admin, scope)), 404, "NOT_FOUND")
    remove(house, admin, file_id)
    assert (used(house, anna), listed(house, anna)) == (0, [])


class Town(NamedTuple):
    """Two groups; `lead` administers FCS files within the own one, `keeper` no farther than the own."""

    house: House
    people: dict[str, Person]
    files: dict[str, int]


@pytest.fixture(scope="module")
def town(house: House) -> Town:
    groups = {name: make_group(house.client, name, f"{n:08}") for n, name in enumerate(("north", "south"), 41)}
    role(house, "fcs-lead", {"fcs:admin": "group"})
    role(house, "fcs-keeper", {"fcs:admin": "own"})
    role(house, "fcs-reader-of-all", {"fcs:analyze": "all"})
    who = {
        "nora": (("admin",), "north"),
        "nils": (("user",), "north"),
        "lena": (("user", "fcs-lead"), "north"),
        "lars": (("fcs-lead",), None),
        "kim": (("fcs-keeper",), "north"),
        "rita": (("fcs-reader-of-all",), "north"),
        "sam": (("user",), "south"),
        "otto": (("user",), None),
    }
    people = {
        name: make_person(house.client, house.config, name, *roles, group_id=None if group is None else groups[group])
        for name, (roles, group) in who.items()
    }
    return Town(house, people, {name: file_of(house, person) for name, person in people.items()})


REACHED = {
    "nora": "nora nils lena lars kim rita sam otto",
    "nils": "nils",
    "lena": "nora nils lena kim rita",
    "lars": "lars",
    "kim": "kim",
    "rita": "rita",
    "sam": "sam",
    "otto": "otto",
}
"""An administrator's word in a group ends with it for people, not for FCS files; a role's does where it says so."""


@pytest.mark.parametrize("name", REACHED)
def test_whose_files_somebody_reaches(town: Town, name: str) -> None:
    house, person, reached = town.house, town.people[name], REACHED[name].split()
    for whose, file_id in town.files.items():
        for what in ABOUT:
            query: dict[str, Any] = {"file_id": file_id} | AXES.get(what, {})
            known = person.headers | ({"If-None-Match": "*"} if what in AXES else {})  # so that nothing is drawn
            answer = house.client.get(f"{FCS}/{what}", params=query, headers=known)
            found = 304 if what in AXES else 200
            assert answer.status_code == (found if whose in reached else 404), (whose, what, answer.text)
        for path in (f"files/{file_id}", f"files/{file_id}/download"):
            assert ask(house, person, path).status_code == (200 if whose in reached else 404), (whose, path)
        if whose not in reached:
            refusal(house.client.delete(f"{FCS}/files/{file_id}", headers=person.headers), 404, "NOT_FOUND")
    here = {*town.files.values()}
    assert [found for found in listed(house, person, limit=1000) if found in here] == sorted(
        (town.files[whose] for whose in reached), reverse=True
    )
    if name != "nora":
        assert ask(house, person, "files", count=1).headers["x-total-count"] == str(len(reached))


def test_who_leaves_a_group_is_out_of_its_leads_reach(town: Town) -> None:
    house, lena = town.house, town.people["lena"]
    person = make_person(house.client, house.config, "newcomer", group_id=_group(house, lena))
    file_id = file_of(house, person)
    assert ask(house, lena, "events", file_id=file_id).status_code == 200
    path = f"{API}/users/{person.id}/group"
    assert house.client.put(path, json={"group_id": None}).status_code == 200
    refusal(ask(house, lena, "events", file_id=file_id), 404, "NOT_FOUND")


def _group(house: House, who: Person) -> int:
    return int(house.rows("SELECT group_id FROM users WHERE id = ?", who.id)[0]["group_id"])


# which file is meant


@pytest.mark.parametrize("what", ABOUT)
def test_the_own_newest_file_is_meant_when_none_is_named(house: House, what: str) -> None:
    anna, query = house.person(), AXES.get(what, {})
    document = refusal(ask(house, anna, what, **query), 404, "NOT_FOUND")
    assert document["detail"] == "You have no FCS file; upload one, or name another with file_id."
    older, newer = (put(house, anna, fcs([[float(next(_numbers))] * n] * 2))["file_id"] for n in (3, 4))
    put(house, house.person(), CONTENT)
    told_older, told_newer = (ask(house, anna, what, file_id=file_id, **query).content for file_id in (older, newer))
    meant = ask(house, anna, what, **query)
    assert (meant.status_code, meant.content) == (200, told_newer)
    remove(house, anna, newer)
    assert told_newer != told_older == ask(house, anna, what, **query).content
    remove(house, anna, older)
    refusal(ask(house, anna, what, **query), 404, "NOT_FOUND")


def test_an_administrator_without_a_file_has_none_although_others_do(house: House) -> None:
    admin = house.person("admin")
    file_of(house, house.person())
    for what in ABOUT:
        refusal(ask(house, admin, what, **AXES.get(what, {})), 404, "NOT_FOUND")


DEFAULT = fcs([[7.0, 8.0, 9.0], [1.0, 2.0, 3.0]], keywords={"PATIENT": "Nobody"})


@pytest.fixture(scope="module")
def lent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house with a file of its own, which accounts see that have none."""
    folder = tmp_path_factory.mktemp("lent")
    (folder / "our sample.fcs").write_bytes(DEFAULT)
    with served(folder, DEFAULT_FCS_FILE=str(folder / "our sample.fcs"), USER_QUOTA_BYTES="1000") as house:
        yield house


def default_id(house: House) -> int:
    (row,) = house.rows("SELECT id FROM fcs_files WHERE owner_id IS NULL")
    return int(row["id"])


def test_everybody_who_may_reads_the_appliances_own_file(lent: House) -> None:
    file_id = default_id(lent)
    for who, told in ((lent.person(), ABOUT), (lent.person("admin"), ABOUT[:4])):
        file = made(ask(lent, who, f"files/{file_id}"), 200)
        assert (file["filename"], file["owner_id"], file["owner_name"]) == ("our sample.fcs", None, None)
        assert ask(lent, who, f"files/{file_id}/download").content == DEFAULT
        for what in told:
            meant = ask(lent, who, what, **AXES.get(what, {}))
            assert meant.status_code == 200, meant.text
            assert meant.content == ask(lent, who, what, file_id=file_id, **AXES.get(what, {})).content
        assert ask(lent, who, "events").json()["events"][0] == {"P1": 7.0, "P2": 1.0}
    guest = lent.person("guest")
    for path in ("events", f"events?file_id={file_id}", f"files/{file_id}"):
        refusal(lent.client.get(f"{FCS}/{path}", headers=guest.headers), 403, "FORBIDDEN")
    refusal(lent.client.get(f"{FCS}/events", headers=NOBODY), 401, "UNAUTHORIZED")


def test_who_only_reads_sees_no_persons_in_the_appliances_own_file_either(lent: House) -> None:
    anna = lent.person()
    found = lent.client.get(f"{FCS}/keywords", headers=lent.token(anna, READ)).json()
    assert (found["hidden"], "PATIENT" in found["keywords"]) == (["PATIENT"], False)


def test_an_own_file_comes_before_the_appliances(lent: House) -> None:
    anna = lent.person()
    file = put(lent, anna, fcs([[5.0]]))
    assert ask(lent, anna, "events").json()["events"] == [{"P1": 5.0}]
    assert ask(lent, anna, "parameters").json()["file_id"] == file["file_id"]
    remove(lent, anna, file["file_id"])
    assert ask(lent, anna, "parameters").json()["file_id"] == default_id(lent)


def test_the_appliances_own_file_is_in_no_list_and_no_quota_and_stays(lent: House) -> None:
    file_id, anna, admin = default_id(lent), lent.person(), lent.person("admin")
    for headers in (anna.headers, admin.headers, lent.client.headers):
        answer = lent.client.get(f"{FCS}/files?count=true&limit=1000", headers=dict(headers))
        assert file_id not in [file["file_id"] for file in answer.json()]
        assert answer.headers["x-total-count"] == str(len(answer.json()))
        document = refusal(lent.client.delete(f"{FCS}/files/{file_id}", headers=dict(headers)), 403, "FORBIDDEN")
        assert "DEFAULT_FCS_FILE" in document["detail"]
    assert (used(lent, anna), used(lent, admin)) == (0, 0)
    assert lent.rows("SELECT * FROM storage_use WHERE kind = 'fcs' AND owner_id IS NULL") == []
    assert ask(lent, anna, "events").status_code == 200


def test_the_same_bytes_as_ones_own_count_and_go_and_the_appliances_stay(lent: House) -> None:
    anna = lent.person()
    own = put(lent, anna, DEFAULT)
    assert (used(lent, anna), contents(lent, DEFAULT)) == (len(DEFAULT), 1)
    assert own["file_id"] != default_id(lent)
    remove(lent, anna, own["file_id"])
    assert (used(lent, anna), contents(lent, DEFAULT), len(blobs(lent, DEFAULT))) == (0, 1, 1)
    assert ask(lent, anna, f"files/{default_id(lent)}/download").content == DEFAULT


def test_the_appliances_own_file_follows_its_setting_from_start_to_start(tmp_path: Path) -> None:
    one, two, three = (fcs([[float(n)] * n]) for n in (1, 2, 3))
    path, other = tmp_path / "one.fcs", tmp_path / "two.fcs"
    path.write_bytes(one)
    with served(tmp_path) as house:
        token, anna = house.client.headers["Authorization"], house.person()
        refusal(ask(house, anna, "events"), 404, "NOT_FOUND")
    with served(tmp_path, token, DEFAULT_FCS_FILE=str(path)) as house:
        first = default_id(house)
        assert ask(house, anna, "events").json()["total_events"] == 1
    with served(tmp_path, token, DEFAULT_FCS_FILE=str(path)) as house:
        assert default_id(house) == first
    path.write_bytes(two)
    with served(tmp_path, token, DEFAULT_FCS_FILE=str(path)) as house:
        assert ask(house, anna, "events").json()["total_events"] == 2
        assert default_id(house) != first
        refusal(ask(house, anna, f"files/{first}"), 404, "NOT_FOUND")
        assert (contents(house, one), contents(house, two)) == (0, 1)
    path.unlink()
    other.write_bytes(three)
    with served(tmp_path, token, DEFAULT_FCS_FILE=str(other)) as house:
        (file,) = [made(ask(house, anna, f"files/{default_id(house)}"), 200)]
        assert (file["filename"], file["total_events"]) == ("two.fcs", 3)
    other.rename(path)
    with served(tmp_path, token, DEFAULT_FCS_FILE=str(path)) as house:
        assert made(ask(house, anna, f"files/{default_id(house)}"), 200)["filename"] == "one.fcs"
    with served(tmp_path, token) as house:
        refusal(ask(house, anna, "events"), 404, "NOT_FOUND")
        assert house.rows("SELECT id FROM fcs_files") == []
        assert (contents(house, three), house.rows("SELECT * FROM storage_use WHERE kind = 'fcs'")) == (0, [])


def test_the_appliances_own_file_is_treated_as_others_are(tmp_path: Path) -> None:
    """Its statistics are computed unasked, its coming is in the trail, its bytes go in time and not at once."""
    path = tmp_path / "a.fcs"
    path.write_bytes(DEFAULT)
    with served(tmp_path, DEFAULT_FCS_FILE=str(path)) as house:
        anna = house.person()
        until(lambda: house.rows("SELECT id FROM fcs_contents WHERE status = 'done'"), "they are computed unasked")
        assert made(ask(house, anna, "statistics"), 200)["statistics"][0]["median"] == 8
        token = house.client.headers["Authorization"]
        actions = house.rows("SELECT action, target, actor_name FROM audit WHERE action LIKE 'fcs.%'")
        assert actions == [
            {"action": "fcs.default", "target": f"fcs/files/{default_id(house)}", "actor_name": "purser"}
        ]
    with served(tmp_path, token) as house:
        assert len(blobs(house, DEFAULT)) == 1
        assert [*(house.config.data_dir / "blobs" / "incoming").iterdir()] == []


UNFIT = {
    "missing": (None, "No such file or directory"),
    "a folder": ("folder", "Is a directory"),
    "empty": (b"", "/file: HEADER, bytes 0 to 5"),
    "html": (b"<html>\nno FCS file\n</html>\n", "/file: HEADER, bytes 0 to 5"),
    "truncated": (DEFAULT[:300], "/file: "),
    "larger than MAX_FCS_BYTES": (DEFAULT + bytes(2000), "2000 bytes"),
}


async def started(config: Config) -> None:
    app = create_app(config)
    async with app.router.lifespan_context(app):
        pass


@pytest.mark.parametrize("what", UNFIT)
def test_a_file_that_is_none_stops_the_start_with_one_line(tmp_path: Path, what: str) -> None:
    """And leaves nothing; with the setting put right the appliance starts as it was."""
    path, (content, why) = tmp_path / "our own.fcs", UNFIT[what]
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with served(tmp_path) as house:
        token, anna = house.client.headers["Authorization"], house.person()
        file_id = file_of(house, anna)
    config = configured(tmp_path / "data", DEFAULT_FCS_FILE=str(path), MAX_FCS_BYTES="2000")
    with pytest.raises(StartError) as refused:
        anyio.run(started, config)
    line = str(refused.value)
    assert line.startswith(f"DEFAULT_FCS_FILE {path}: ")
    assert why in line
    assert len(line.splitlines()) == 1
    assert [*(config.data_dir / "blobs" / "incoming").iterdir()] == []
    with served(tmp_path, token) as house:
        assert listed(house, anna) == [file_id]
        if isinstance(content, bytes):
            assert contents(house, content) == 0
        assert made(house.client.get(f"{FILES}/storage", headers=anna.headers), 200)["used"] == len(CONTENT)
