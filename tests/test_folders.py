"""Folders: who sees and changes them, what they are called, where they lie, and what goes when one is deleted."""

import sqlite3
from contextlib import closing
from itertools import count
from typing import Any, NamedTuple

import httpx2
import pytest

from tests.accounts import Person, make_group, make_person
from tests.house import NOBODY, House
from tests.office import API, DOCUMENTS, FILES, FOLDERS, document, folder, listed, made, put, sees, share, statements
from tests.office import team as make_team
from tests.support import ask, refusal, until

MISSING = 10**17
RENAMES = [("PATCH", ""), ("PUT", ""), ("POST", "/rename"), ("PATCH", "/rename"), ("PUT", "/rename")]
MOVES = [("PATCH", ""), ("PUT", ""), ("POST", "/move"), ("PATCH", "/move"), ("PUT", "/move")]
_numbers = count(1)


class Cast(NamedTuple):
    """People who keep nothing but what a test makes; anna and ben are of a group.

    Of it lea leads the folders, the chief what is in them, too; lone and lonelead are of no group.
    """

    anna: Person
    ben: Person
    lea: Person
    chief: Person
    guest: Person
    admin: Person
    loner: Person
    loner_lead: Person


@pytest.fixture(scope="module")
def people(house: House) -> Cast:
    client, config = house.client, house.config
    group_id = make_group(client, "North", "00000001")
    grants = [{"permission": f"{noun}:admin", "reach": "group"} for noun in ("folders", "files", "documents")]
    made(client.post(f"{API}/roles", json={"name": "leads", "permissions": grants[:1]}))
    made(client.post(f"{API}/roles", json={"name": "chief", "permissions": grants}))
    return Cast(
        make_person(client, config, "anna", group_id=group_id),
        make_person(client, config, "ben", group_id=group_id),
        make_person(client, config, "lea", "user", "leads", group_id=group_id),
        make_person(client, config, "chief", "user", "chief", group_id=group_id),
        make_person(client, config, "gus", "guest", group_id=group_id),
        make_person(client, config, "ada", "admin"),
        make_person(client, config, "lone"),
        make_person(client, config, "lonelead", "user", "leads"),
    )


def at(one: dict[str, Any] | int) -> str:
    return f"{FOLDERS}/{one if isinstance(one, int) else one['id']}"


def call(house: House, who: Person, method: str, target: str, body: object = None, **headers: str) -> httpx2.Response:
    """A call of somebody's, with a JSON body if there is one; `if_match` becomes If-Match."""
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return house.client.request(method, target, json=body, headers=who.headers | more)


def shown(house: House, who: Person, one: dict[str, Any] | int) -> dict[str, Any]:
    return made(call(house, who, "GET", at(one)), 200)


def create(house: House, who: Person, name: str, parent_id: int | None = None) -> httpx2.Response:
    return call(house, who, "POST", FOLDERS, {"name": name, "parent_id": parent_id})


def test_a_folder_is_made_shown_renamed_moved_and_deleted(house: House) -> None:
    anna = house.person()
    answer = create(house, anna, "Reports")
    top = answer.json()
    assert (answer.status_code, answer.headers["location"], answer.headers["etag"]) == (201, at(top), '"1"')
    assert top == {
        **{"id": top["id"], "name": "Reports", "parent_id": None, "owner_id": anna.id, "owner_name": anna.username},
        **{"revision": 1, "created_at": top["created_at"], "updated_at": top["created_at"], "path": "/Reports"},
        **{"ancestors": [], "folder_count": 0, "file_count": 0, "document_count": 0},
    }
    under = folder(house, anna, "2026", top["id"])
    assert (under["path"], under["ancestors"]) == ("/Reports/2026", [{"id": top["id"], "name": "Reports"}])
    answer = call(house, anna, "GET", at(top))
    assert (answer.status_code, answer.json(), answer.headers["etag"]) == (200, top | {"folder_count": 1}, '"1"')
    (entry,) = call(house, anna, "GET", f"{FOLDERS}?parent_id=0").json()
    assert entry == {name: top[name] for name in entry}
    assert "path" not in entry
    answer = call(house, anna, "PATCH", at(under), {"name": "Past", "parent_id": None})
    assert (answer.status_code, answer.headers["etag"]) == (200, '"2"')
    moved: dict[str, object] = {"name": "Past", "parent_id": None, "path": "/Past", "ancestors": [], "revision": 2}
    assert answer.json() == under | moved | {"updated_at": answer.json()["updated_at"]}
    assert answer.json() == shown(house, anna, under)
    answer = call(house, anna, "DELETE", at(under))
    assert (answer.status_code, answer.content) == (204, b"")
    assert refusal(call(house, anna, "GET", at(under)), 404, "NOT_FOUND")["detail"] == "No such folder."
    assert listed(house, anna, "folders") == [top["id"]]
    assert folder(house, anna, "Past")["id"] > under["id"]
    told = house.rows("SELECT action FROM audit WHERE actor_id = ? AND target = ?", anna.id, f"folders/{under['id']}")
    assert [row["action"] for row in told] == ["folders.create", "folders.update", "folders.delete"]


@pytest.mark.parametrize(("method", "suffix"), RENAMES)
def test_a_folder_is_renamed_and_its_contents_stay(house: House, method: str, suffix: str) -> None:
    anna = house.person()
    top = folder(house, anna, "old")
    under = folder(house, anna, "under", top["id"])
    file = put(house, anna, folder_id=top["id"])
    answer = call(house, anna, method, at(top) + suffix, {"name": "new"}, if_match='"1"')
    assert (answer.status_code, answer.headers["etag"]) == (200, '"2"')
    assert [answer.json()[name] for name in ("name", "path", "folder_count", "file_count")] == ["new", "/new", 1, 1]
    assert shown(house, anna, under)["path"] == "/new/under"
    assert (listed(house, anna, "folders", q="NEW"), listed(house, anna, "folders", q="old")) == ([top["id"]], [])
    assert listed(house, anna, "files", folder_id=top["id"]) == [file["id"]]
    answer = call(house, anna, method, at(top) + suffix, {"name": "new"})
    assert (answer.status_code, answer.json()["name"]) == (200, "new")


@pytest.mark.parametrize(("method", "suffix"), MOVES)
def test_a_folder_is_moved_with_all_that_is_below_it(house: House, method: str, suffix: str) -> None:
    anna = house.person()
    a, b = folder(house, anna, "a"), folder(house, anna, "b")
    c = folder(house, anna, "c", a["id"])
    d = folder(house, anna, "d", c["id"])
    answer = call(house, anna, method, at(c) + suffix, {"parent_id": b["id"]}, if_match='"1"')
    assert (answer.status_code, answer.headers["etag"], answer.json()["path"]) == (200, '"2"', "/b/c")
    assert answer.json()["ancestors"] == [{"id": b["id"], "name": "b"}]
    assert [step["name"] for step in shown(house, anna, d)["ancestors"]] == ["b", "c"]
    assert [shown(house, anna, one)["folder_count"] for one in (a, b, c, d)] == [0, 1, 1, 0]
    answer = call(house, anna, method, at(c) + suffix, {"parent_id": None})
    assert (answer.status_code, answer.json()["parent_id"], answer.json()["path"]) == (200, None, "/c")
    assert shown(house, anna, d)["path"] == "/c/d"


CALLS: list[tuple[str, str, object, str]] = [
    ("GET", "", None, "folders:read"),
    *((method, suffix, {"name": "taken over"}, "folders:write") for method, suffix in RENAMES),
    *((method, suffix, {"parent_id": None}, "folders:write") for method, suffix in MOVES),
    ("DELETE", "", None, "folders:delete"),
]


@pytest.mark.parametrize(("method", "suffix", "body", "needs"), CALLS)
def test_somebody_elses_folder_is_not_there(
    house: House, people: Cast, method: str, suffix: str, body: object, needs: str
) -> None:
    """A colleague of the same group is as much a stranger as any other, and learns no more than of a missing one."""
    top = folder(house, people.anna, f"kept from {method} {suffix[1:]} {body}")
    file = put(house, people.anna, folder_id=top["id"])
    before = shown(house, people.anna, top)
    target = at(top) + suffix
    refusal(house.client.request(method, target, json=body, headers=NOBODY), 401, "UNAUTHORIZED")
    held_back = refusal(call(house, people.guest, method, target, body), 403, "FORBIDDEN")
    assert held_back["required"] == [needs]
    missing = refusal(call(house, people.ben, method, at(MISSING) + suffix, body), 404, "NOT_FOUND")
    for who in (people.ben, people.loner, people.loner_lead):
        for if_match in ('"1"', '"9"', "*"):
            told = refusal(call(house, who, method, target, body, if_match=if_match), 404, "NOT_FOUND")
            assert told == missing | {"request_id": told["request_id"]}
    refusal(call(house, people.ben, method, f"{FOLDERS}/x{suffix}", body), 404, "NOT_FOUND")
    assert shown(house, people.anna, top) == before
    assert listed(house, people.anna, "files", folder_id=top["id"]) == [file["id"]]


def test_who_reads_folders_further_than_they_change_them_changes_none_of_others(house: House, people: Cast) -> None:
    grants = [{"permission": "folders:read", "reach": "all"}, {"permission": "folders:delete", "reach": "own"}]
    made(house.client.post(f"{API}/roles", json={"name": "reader", "permissions": grants}))
    reader, top = house.person("reader"), folder(house, people.loner, "read by all")
    own = folder(house, reader, "own")
    assert shown(house, reader, top) == top
    assert made(call(house, reader, "GET", f"{FOLDERS}/tree?owner_id={people.loner.id}"), 200)
    for method, suffix, body, _ in CALLS[1:]:
        refusal(call(house, reader, method, at(top) + suffix, body, if_match='"9"'), 404, "NOT_FOUND")
    refusal(call(house, reader, "POST", f"{at(own)}/move", {"parent_id": top["id"]}), 404, "NOT_FOUND")
    assert shown(house, reader, top) == top
    assert call(house, reader, "DELETE", at(own)).status_code == 204


def test_a_stranger_and_a_guest_neither_make_nor_list_folders(house: House, people: Cast) -> None:
    for method, target, body, needs in (
        ("GET", FOLDERS, None, "folders:read"),
        ("GET", f"{FOLDERS}/tree", None, "folders:read"),
        ("POST", FOLDERS, {"name": "x"}, "folders:write"),
    ):
        refusal(house.client.request(method, target, json=body, headers=NOBODY), 401, "UNAUTHORIZED")
        told = refusal(call(house, people.guest, method, target, body), 403, "FORBIDDEN")
        assert told["required"] == [needs]


@pytest.mark.parametrize(("method", "suffix", "body", "needs"), [one for one in CALLS if one[0] != "GET"])
def test_who_has_seen_another_revision_changes_nothing(
    house: House, method: str, suffix: str, body: object, needs: str
) -> None:
    anna = house.person()
    top = folder(house, anna, "top")
    under = folder(house, anna, "under", top["id"])
    for if_match in ('"2"', '"0"', 'W/"7"', '"x"', "x", '""', '"1", "2"', "9" * 30):
        refusal(call(house, anna, method, at(under) + suffix, body, if_match=if_match), 412, "PRECONDITION_FAILED")
    told = refusal(call(house, anna, method, at(under) + suffix, body, if_match='"2"'), 412)
    assert told["revision"] == 1
    assert shown(house, anna, under) == under
    assert call(house, anna, method, at(under) + suffix, body, if_match='"1"').status_code in (200, 204)


def test_a_name_is_taken_in_one_place_alone(house: House, people: Cast) -> None:
    anna, ben = house.person(), people.ben
    a, b = folder(house, anna, "a"), folder(house, anna, "b")
    inner = folder(house, anna, "a", a["id"])
    folder(house, anna, "a", b["id"])
    folder(house, ben, "a")
    for parent_id in (None, a["id"], b["id"]):
        told = refusal(create(house, anna, "a", parent_id), 409, "CONFLICT")
        assert (told["detail"], told["field"]) == ("There is a folder of this name here already.", "name")
    for method, suffix in RENAMES:
        refusal(call(house, anna, method, at(b) + suffix, {"name": "a"}), 409, "CONFLICT")
    for method, suffix in MOVES:
        refusal(call(house, anna, method, at(inner) + suffix, {"parent_id": b["id"]}), 409, "CONFLICT")
        refusal(call(house, anna, method, at(inner) + suffix, {"parent_id": None}), 409, "CONFLICT")
    assert (shown(house, anna, inner), shown(house, anna, b)["name"]) == (inner, "b")
    answer = call(house, anna, "PATCH", at(inner), {"name": "c", "parent_id": b["id"]})
    assert (answer.status_code, answer.json()["path"]) == (200, "/b/c")
    assert made(call(house, anna, "POST", f"{at(inner)}/rename", {"name": "b"}), 200)["path"] == "/b/b"
    assert made(call(house, anna, "POST", f"{at(inner)}/move", {"parent_id": a["id"]}), 200)["path"] == "/a/b"
    assert call(house, anna, "DELETE", at(b)).status_code == 204
    assert create(house, anna, "b").status_code == 201


ALIKE = ["Résumé", "Re\u0301sume\u0301", "résumé", "RÉSUMÉ", "R\u0450sumé", "ﬁle", "file", "Straße", "STRASSE"]


def test_names_that_only_look_alike_are_names_of_their_own(house: House) -> None:
    """What is written is what is kept, sign by sign; a search finds all forms of it."""
    anna = house.person()
    ids = [folder(house, anna, name)["id"] for name in ALIKE]
    assert [shown(house, anna, one)["name"] for one in ids] == ALIKE
    for name in ALIKE:
        refusal(create(house, anna, name), 409, "CONFLICT")
    for wanted, found in (("RE\u0301SUM", ids[:4]), ("résumé", ids[:4]), ("FILE", ids[5:7]), ("strasse", ids[7:])):
        assert listed(house, anna, "folders", q=wanted) == found


GOOD_NAMES = [
    *'x~_?*"',
    "a  b",
    ".x",
    "..x",
    "x.",
    "C:",
    "CON",
    "100%",
    "'; DROP TABLE folders; --",
    "x" * 255,
    "🔬" * 255,
]


@pytest.mark.parametrize("name", [*GOOD_NAMES, "e\u0301" * 127])
def test_a_name_is_kept_as_it_was_written(house: House, people: Cast, name: str) -> None:
    top = folder(house, people.anna, name)
    under = folder(house, people.anna, name, top["id"])
    assert (under["name"], under["path"]) == (name, f"/{name}/{name}")
    assert shown(house, people.anna, under) == under
    assert call(house, people.anna, "DELETE", at(top)).status_code == 204


BAD_NAMES: list[object] = [
    *(" ", " a", "a ", "\u00a0", "a\u3000", "...", "." * 255),
    *("", ".", "..", "/", "a/b", "/a", "a/", "../a", "\\", "a\\b", "a\n", "\n", "a\rb", "\t", "\0", "a\0b", "\x1b[2J"),
    *("\x7f", "\x85", "\x9f", "\u2028", "\u2029", "\u200e", "\u200f", "\u202a", "\u202egpj.exe", "\u2066a", "a\u2069"),
    *("\u061c", "x" * 256, "🔬" * 256, None, 1, True, 1.5, [], ["a"], {}, {"a": "b"}),
]
BAD_PLACES: list[object] = [0, -1, "1", "", True, 1.5, 10**18, 10**30, [1], {}]
BAD_BODIES: list[object] = [[], [{}], "x", 1, True]
NEW = [("POST", None)]
BAD: list[tuple[list[Any], Any, str]] = [
    *(([*NEW, *RENAMES], {"name": name}, "/name") for name in BAD_NAMES),
    *((NEW, {"name": "x", "parent_id": place}, "/parent_id") for place in BAD_PLACES),
    *((MOVES, {"parent_id": place}, "/parent_id") for place in BAD_PLACES),
    *(([*NEW, *RENAMES], {"name": "x", field: 1}, f"/{field}") for field in ("owner_id", "id", "revision", "Name")),
    *(([*NEW, *RENAMES, *MOVES], given, "/") for given in BAD_BODIES),
    *((targets, {}, "/name") for targets in (NEW, RENAMES[2:])),
    (RENAMES[2:], {"name": "x", "parent_id": None}, "/parent_id"),
    (MOVES[2:], {}, "/parent_id"),
    (MOVES[2:], {"parent_id": None, "name": "x"}, "/name"),
]


@pytest.mark.parametrize(("targets", "body", "field"), BAD)
def test_what_is_wrong_with_a_body_is_named(
    house: House, people: Cast, targets: list[tuple[str, str | None]], body: object, field: str
) -> None:
    top = folder(house, people.anna, f"top {next(_numbers)}")
    before = house.rows("SELECT * FROM folders ORDER BY id")
    for method, suffix in targets:
        answer = call(house, people.anna, method, FOLDERS if suffix is None else at(top) + suffix, body)
        assert [error["field"] for error in refusal(answer, 400, "VALIDATION_ERROR")["errors"]] == [field]
    assert house.rows("SELECT * FROM folders ORDER BY id") == before


def test_a_change_of_nothing_leaves_a_folder_where_and_what_it_is(house: House) -> None:
    anna = house.person()
    top = folder(house, anna, "top")
    under = folder(house, anna, "under", top["id"])
    bodies: list[dict[str, object]] = [{}, {"name": "under"}, {"parent_id": top["id"]}]
    for body in bodies:
        answer = made(call(house, anna, "PATCH", at(under), body), 200)
        assert (answer["name"], answer["parent_id"], answer["path"]) == ("under", top["id"], "/top/under")


@pytest.mark.parametrize(("method", "suffix"), MOVES)
def test_no_folder_lies_in_itself_or_below_itself(house: House, method: str, suffix: str) -> None:
    anna = house.person()
    chain = [folder(house, anna, "0")]
    for name in range(1, 8):
        chain.append(folder(house, anna, str(name), chain[-1]["id"]))
    for upper, lower in ((0, 0), (0, 1), (0, 7), (3, 3), (3, 4), (3, 7)):
        answer = call(house, anna, method, at(chain[upper]) + suffix, {"parent_id": chain[lower]["id"]})
        assert refusal(answer, 409, "CONFLICT")["field"] == "parent_id"
    assert shown(house, anna, chain[7])["path"] == "/0/1/2/3/4/5/6/7"
    made(call(house, anna, method, at(chain[7]) + suffix, {"parent_id": chain[0]["id"]}), 200)
    made(call(house, anna, method, at(chain[1]) + suffix, {"parent_id": chain[7]["id"]}), 200)
    assert shown(house, anna, chain[6])["path"] == "/0/7/1/2/3/4/5/6"


def test_nothing_is_put_into_a_folder_of_another(house: House, people: Cast) -> None:
    """Neither by a colleague, nor by who reaches both trees: a tree is of one account."""
    ben, theirs = people.ben, folder(house, people.anna, "theirs")["id"]
    own = folder(house, ben, "own")
    file, text = put(house, ben), document(house, ben)
    for who in (ben, people.lea, people.admin):
        for parent_id in (theirs, MISSING):
            refusal(create(house, who, "x", parent_id), 404, "NOT_FOUND")
            for method, suffix in MOVES:
                moved = call(house, who, method, at(own) + suffix, {"parent_id": parent_id})
                assert refusal(moved, 404, "NOT_FOUND")["detail"] == "No such folder."
    for noun, one in ((FILES, file), (DOCUMENTS, text)):
        refusal(call(house, ben, "POST", f"{noun}/{one['id']}/move", {"folder_id": theirs}), 404, "NOT_FOUND")
    refusal(house.client.put(f"{FILES}/content?name=a&folder_id={theirs}", content=b"x", headers=ben.headers), 404)
    refusal(call(house, ben, "POST", DOCUMENTS, {"title": "x", "folder_id": theirs}), 404, "NOT_FOUND")
    assert shown(house, ben, own) == own
    counts = shown(house, people.anna, theirs)
    assert [counts[name] for name in ("folder_count", "file_count", "document_count")] == [0, 0, 0]


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("PUT", f"{FILES}/content", b"some bytes"),
        ("POST", FOLDERS, b'{"name": "x", "parent_id": FOLDER}'),
        ("PUT", f"{FOLDERS}/OWN/move", b'{"parent_id": FOLDER}'),
        ("PATCH", f"{FOLDERS}/FOLDER", b'{"name": "x"}'),
    ],
)
def test_nothing_gets_into_a_folder_that_went_while_it_was_on_its_way(
    house: House, method: str, target: str, body: bytes
) -> None:
    """Whoever sends it was let in, and what they send arrives when the folder is gone."""
    anna = house.person()
    own, top = folder(house, anna, "own"), folder(house, anna, "top")["id"]
    target = target.replace("OWN", str(own["id"])).replace("FOLDER", str(top))
    query = f"name=a&folder_id={top}".encode() if target.startswith(FILES) else b""
    sent = [body.replace(b"FOLDER", str(top).encode())]
    headers = [(b"authorization", anna.headers["Authorization"].encode())]

    def gone() -> None:
        assert call(house, anna, "DELETE", at(top)).status_code == 204

    answer = ask(house.client, method, target, query=query, headers=headers, body=sent, meanwhile=gone)
    assert refusal(answer, 404, "NOT_FOUND")["detail"] == "No such folder."
    assert listed(house, anna, "files") == []
    assert listed(house, anna, "folders") == [own["id"]]
    assert shown(house, anna, own) == own
    left = "SELECT * FROM file_uploads WHERE owner_id = ?"
    assert until(lambda: not house.rows(left, anna.id), "nothing stays reserved for it")


def test_who_leads_a_group_reaches_the_folders_of_its_people_alone(house: House, people: Cast) -> None:
    lea, anna = people.lea, people.anna
    a, b = folder(house, anna, "led a"), folder(house, anna, "led b")
    far, guest_id = folder(house, people.loner, "far"), people.guest.id
    assert shown(house, lea, a)["owner_name"] == "anna"
    answer = made(call(house, lea, "PATCH", at(b), {"name": "renamed", "parent_id": a["id"]}), 200)
    assert (answer["path"], answer["owner_id"]) == ("/led a/renamed", anna.id)
    assert {a["id"], b["id"]} <= {*listed(house, lea, "folders")}
    assert far["id"] not in listed(house, lea, "folders")
    assert listed(house, lea, "folders", owner_id=people.loner.id) == []
    (root,) = call(house, lea, "GET", f"{FOLDERS}/tree?root_id={a['id']}").json()
    assert [one["id"] for one in root["children"]] == [b["id"]]
    assert call(house, lea, "GET", f"{FOLDERS}/tree?owner_id={guest_id}").json() == []
    for owner_id in (people.loner.id, people.admin.id, MISSING):
        told = refusal(call(house, lea, "GET", f"{FOLDERS}/tree?owner_id={owner_id}"), 404, "NOT_FOUND")
        assert told["detail"] == "No such user."
    for method, suffix, body, _ in CALLS:
        refusal(call(house, lea, method, at(far) + suffix, body), 404, "NOT_FOUND")
        refusal(call(house, people.loner_lead, method, at(far) + suffix, body), 404, "NOT_FOUND")
    assert call(house, lea, "DELETE", at(b)).status_code == 204
    file = put(house, anna, folder_id=a["id"])
    told = refusal(call(house, lea, "DELETE", at(a)), 403, "FORBIDDEN")
    assert (told["required"], sees(house, anna, f"files/{file['id']}")) == (["files:delete"], True)
    assert call(house, people.chief, "DELETE", at(a)).status_code == 204
    assert not sees(house, anna, f"files/{file['id']}")


@pytest.mark.parametrize("who", ["super admin", "admin"])
def test_an_admin_reaches_every_folder_and_leaves_it_to_its_owner(house: House, people: Cast, who: str) -> None:
    admin = people.admin.headers if who == "admin" else {}
    client, anna = house.client, house.person()
    a, b = folder(house, anna, "a"), folder(house, anna, "b")
    file = put(house, anna, folder_id=b["id"])
    assert client.get(at(b), headers=admin).json() == shown(house, anna, b)
    moved = made(client.patch(at(b), json={"parent_id": a["id"], "name": "c"}, headers=admin), 200)
    assert (moved["path"], moved["owner_id"], moved["owner_name"]) == ("/a/c", anna.id, anna.username)
    assert [one["id"] for one in client.get(f"{FOLDERS}?owner_id={anna.id}", headers=admin).json()] == [
        a["id"],
        b["id"],
    ]
    (root,) = client.get(f"{FOLDERS}/tree?owner_id={anna.id}", headers=admin).json()
    assert [one["name"] for one in root["children"]] == ["c"]
    (root,) = client.get(f"{FOLDERS}/tree?root_id={b['id']}", headers=admin).json()
    assert (root["id"], root["parent_id"], root["depth"]) == (b["id"], a["id"], 1)
    refusal(client.get(f"{FOLDERS}/tree?owner_id={MISSING}", headers=admin), 404, "NOT_FOUND")
    assert client.get(f"{FOLDERS}/tree?owner_id={people.ben.id}&root_id={b['id']}", headers=admin).json() == []
    assert client.delete(at(a), headers=admin).status_code == 204
    assert not sees(house, anna, f"files/{file['id']}")


KEPT = """
    SELECT owner_id, kind, sum(size) AS used_bytes FROM (
        SELECT owner_id, kind, size_bytes AS size FROM files
        UNION ALL
        SELECT owner_id, 'text', length(CAST(content AS BLOB)) FROM documents JOIN document_texts ON document_id = id
        UNION ALL
        SELECT owner_id, 'text', length(CAST(content AS BLOB))
        FROM documents JOIN document_revisions ON document_id = documents.id
    ) GROUP BY owner_id, kind HAVING sum(size) <> 0 ORDER BY owner_id, kind
"""


def use_is_right(house: House) -> bool:
    """Whether what is noted of what each account keeps is the sum of the rows themselves."""
    return house.rows(KEPT) == house.rows("SELECT * FROM storage_use WHERE used_bytes <> 0 ORDER BY owner_id, kind")


def storage(house: House, who: Person) -> dict[str, Any]:
    return made(call(house, who, "GET", f"{FILES}/storage"), 200)


GONE = {
    "folders": "id IN ({folders})",
    **dict.fromkeys(("files", "documents"), "folder_id IN ({folders})"),
    **dict.fromkeys(("file_shares", "file_accesses"), "file_id IN ({files})"),
    **{
        f"document_{noun}": "document_id IN ({documents})" for noun in ("shares", "texts", "signs", "revisions", "tags")
    },
}


class Filled(NamedTuple):
    """A folder with all that may lie below one, three levels deep, its ids by noun, and one of its links."""

    top: int
    folders: list[int]
    files: list[int]
    documents: list[int]
    link: str

    def left(self, house: House) -> dict[str, int]:
        """How many rows of each table are of it."""
        ids = {noun: ",".join(map(str, getattr(self, noun))) for noun in ("folders", "files", "documents")}
        return {
            table: house.rows(f"SELECT count(*) AS n FROM {table} WHERE {where.format(**ids)}")[0]["n"]  # noqa: S608
            for table, where in GONE.items()
        }


def filled(house: House, owner: Person, friend: Person) -> Filled:
    """Everything in it is shared with a friend, in person, through a team and by a link, and was looked at by them."""
    top = folder(house, owner, "top")["id"]
    folders = [top, middle := folder(house, owner, "middle", top)["id"], folder(house, owner, "low", middle)["id"]]
    team_id = make_team(house, owner, friend)
    files, documents, link = [], [], ""
    for folder_id in folders:
        for content, name in ((b"the same everywhere\n", "a.txt"), (b"\x89PNG\r\n\x1a\n" + bytes(folder_id), "b.png")):
            file_id = put(house, owner, content, name, folder_id=folder_id)["id"]
            files.append(file_id)
            share(house, owner, f"files/{file_id}", user_id=friend.id)
            share(house, owner, f"files/{file_id}", team_id=team_id)
            link = share(house, owner, f"files/{file_id}", link=True)["link"]
            assert call(house, friend, "GET", f"{FILES}/{file_id}/download").content == content
        text = document(house, owner, "Title", "First words", folder_id=folder_id, tags=["a", "b"])
        documents.append(text["id"])
        made(call(house, owner, "PATCH", f"{DOCUMENTS}/{text['id']}", {"content": "Others, and more of them"}), 200)
        share(house, owner, f"documents/{text['id']}", user_id=friend.id)
        share(house, owner, f"documents/{text['id']}", team_id=team_id, permission="edit")
    return Filled(top, folders, files, documents, link)


def test_a_folder_goes_with_all_that_is_in_it(house: House) -> None:
    """And with nothing else: what lies beside it stays, and the storage is what it was before."""
    anna, friend = house.person(), house.person()
    beside = folder(house, anna, "beside")["id"]
    kept = put(house, anna, b"the same everywhere\n", folder_id=beside), put(house, anna, b"loose")
    texts = document(house, anna, "kept", "words", folder_id=beside), document(house, anna, "loose", "words")
    share(house, anna, f"files/{kept[0]['id']}", user_id=friend.id)
    before = storage(house, anna)
    assert before["by_type"]["texts"] == 10
    assert use_is_right(house)
    full = filled(house, anna, friend)
    assert storage(house, anna)["by_type"]["images"] > 0
    assert use_is_right(house)
    assert all(full.left(house).values()), full.left(house)
    with statements(house) as seen:
        assert call(house, anna, "DELETE", at(full.top), None, if_match='"1"').status_code == 204
    assert [name for name, _ in seen] == ["remove"]
    assert full.left(house) == dict.fromkeys(GONE, 0)
    assert storage(house, anna) == before
    assert use_is_right(house)
    for who in (anna, friend):
        assert not any(sees(house, who, f"files/{file_id}") for file_id in full.files)
        assert not any(sees(house, who, f"documents/{document_id}") for document_id in full.documents)
    refusal(house.client.get(f"{FILES}/shared/{full.link}", headers=NOBODY), 404, "NOT_FOUND")
    for folder_id in full.folders:
        refusal(call(house, anna, "GET", at(folder_id)), 404, "NOT_FOUND")
    assert listed(house, friend, "files") == [kept[0]["id"]]
    assert sorted(listed(house, anna, "files")) == sorted(file["id"] for file in kept)
    assert sorted(listed(house, anna, "documents")) == sorted(text["id"] for text in texts)
    assert call(house, anna, "GET", f"{FILES}/{kept[0]['id']}/download").content == b"the same everywhere\n"


def test_however_much_is_in_it_a_folder_goes_with_as_many_statements(house: House) -> None:
    anna, friend = house.person(), house.person()
    little = folder(house, anna, "little")["id"]
    put(house, anna, folder_id=little)
    document(house, anna, folder_id=little)
    with statements(house) as seen:
        assert call(house, anna, "DELETE", at(little)).status_code == 204
        assert call(house, anna, "DELETE", at(filled(house, anna, friend).top)).status_code == 204
    small, large = [number for name, number in seen if name == "remove"]
    assert small == large


@pytest.mark.parametrize("table", ["folders", "files", "documents", "document_tags", "file_shares"])
def test_a_folder_goes_whole_or_not_at_all(house: House, table: str) -> None:
    """The deletion breaks at the last row of a table: everything is as it was, the storage too."""
    anna, friend = house.person(), house.person()
    full = filled(house, anna, friend)
    before = full.left(house), storage(house, anna)
    last = house.rows(f"SELECT max(id) AS id FROM {table}")[0]["id"]  # noqa: S608
    with closing(sqlite3.connect(house.config.database_path)) as outside:
        outside.execute(
            f"CREATE TRIGGER stone BEFORE DELETE ON {table} WHEN old.id = {last}"
            " BEGIN SELECT RAISE(ABORT, 'not this one'); END"
        )
        try:
            assert "not this" not in str(refusal(call(house, anna, "DELETE", at(full.top)), 500, "INTERNAL_ERROR"))
            assert (full.left(house), storage(house, anna)) == before
            assert use_is_right(house)
        finally:
            outside.execute("DROP TRIGGER stone")
    assert call(house, anna, "DELETE", at(full.top)).status_code == 204
    assert full.left(house) == dict.fromkeys(GONE, 0)


@pytest.mark.parametrize(
    ("scopes", "inside", "lacks"),
    [
        (["folders:delete"], "file", "files:delete"),
        (["folders:delete"], "document", "documents:delete"),
        (["folders:delete", "files:write", "documents:delete"], "file", "files:delete"),
        (["folders:delete", "documents:write", "files:delete"], "document", "documents:delete"),
        (["folders:delete", "files:delete", "documents:delete"], "file", None),
        (["folders:delete", "files:delete"], "file", None),
        (["folders:delete", "documents:delete"], "document", None),
        (["folders:delete"], "", None),
    ],
)
@pytest.mark.parametrize("depth", [1, 4])
def test_a_token_deletes_with_a_folder_only_what_it_may_delete(
    house: House, scopes: list[str], inside: str, lacks: str | None, depth: int
) -> None:
    anna = house.person()
    token = house.token(anna, *scopes)
    folder_id = top = folder(house, anna, "1")["id"]
    for level in range(2, depth + 1):
        folder_id = folder(house, anna, str(level), folder_id)["id"]
    if inside == "file":
        put(house, anna, folder_id=folder_id)
    elif inside:
        document(house, anna, folder_id=folder_id)
    answer = house.client.delete(at(top), headers=token)
    if lacks is None:
        assert (answer.status_code, listed(house, anna, "folders")) == (204, [])
        return
    told = refusal(answer, 403, "FORBIDDEN")
    assert (told["required"], lacks in told["detail"], set(told["held"])) == ([lacks], True, set(scopes))
    assert len(listed(house, anna, "folders")) == depth
    assert len(listed(house, anna, "files") + listed(house, anna, "documents")) == 1


@pytest.mark.parametrize(
    ("noun", "reach"), [("files", "own"), ("documents", "own"), ("files", "group"), ("documents", "group")]
)
def test_who_reaches_folders_further_than_what_is_in_them_deletes_none_that_hold_it(
    house: House, people: Cast, noun: str, reach: str
) -> None:
    """A role that deletes all folders, and files or documents only so far, deletes no others with a folder."""
    grants = [{"permission": "folders:delete", "reach": "all"}, {"permission": f"{noun}:delete", "reach": reach}]
    name = f"clears_{noun}_{reach}"
    made(house.client.post(f"{API}/roles", json={"name": name, "permissions": grants}))
    clerk = house.person(name)
    top = folder(house, people.loner, name)["id"]
    one = put(house, people.loner, folder_id=top) if noun == "files" else document(house, people.loner, folder_id=top)
    refusal(house.client.delete(f"{API}/{noun}/{one['id']}", headers=clerk.headers), 404, "NOT_FOUND")
    told = refusal(call(house, clerk, "DELETE", at(top)), 403, "FORBIDDEN")
    assert told["required"] == [f"{noun}:delete"]
    assert sees(house, people.loner, f"{noun}/{one['id']}")


def test_an_account_goes_with_its_tree(house: House) -> None:
    anna, friend = house.person(), house.person()
    full, theirs = filled(house, anna, friend), folder(house, friend, "top")
    assert house.client.delete(f"{API}/users/{anna.id}").status_code == 204
    assert full.left(house) == dict.fromkeys(GONE, 0)
    assert house.rows("SELECT * FROM storage_use WHERE owner_id = ?", anna.id) == []
    assert use_is_right(house)
    assert listed(house, friend, "folders") == [theirs["id"]]
    assert listed(house, friend, "files") == []
    refusal(house.client.get(f"{FILES}/shared/{full.link}", headers=NOBODY), 404, "NOT_FOUND")
    refusal(house.client.get(at(full.top)), 404, "NOT_FOUND")


def test_lists_are_cut_down_counted_and_turned_page_by_page(house: House, people: Cast) -> None:
    anna = house.person()
    top = folder(house, anna, "100% sure")["id"]
    ids = [folder(house, anna, name, top)["id"] for name in ("a_b", "Ärger", "b\u00e4r", "bar", "a%b", "a.b")]
    loose = folder(house, anna, "bar")["id"]
    folder(house, people.ben, "bar")
    for query, found in (
        ({}, [top, *ids, loose]),
        ({"parent_id": 0}, [top, loose]),
        ({"parent_id": top}, ids),
        ({"parent_id": loose}, []),
        ({"parent_id": MISSING}, []),
        ({"q": "%"}, [top, ids[4]]),
        ({"q": "_"}, [ids[0]]),
        ({"q": "BAR"}, [ids[3], loose]),
        ({"q": "BÄR"}, [ids[2]]),
        ({"q": "a\u0308rg"}, [ids[1]]),
        ({"q": "bar", "parent_id": top}, [ids[3]]),
        ({"owner_id": anna.id}, [top, *ids, loose]),
        ({"owner_id": people.ben.id}, []),
        ({"owner_id": MISSING}, []),
    ):
        for limit in (1, 2, 1000):
            assert listed(house, anna, "folders", **query, limit=limit) == found
        counted = house.client.get(FOLDERS, params={**query, "count": "true", "limit": "1"}, headers=anna.headers)
        assert counted.headers["x-total-count"] == str(len(found))


def test_a_page_turned_while_folders_come_go_and_move_shows_each_that_stays_once(house: House) -> None:
    anna = house.person()
    ids = [folder(house, anna, str(number))["id"] for number in range(6)]
    first = call(house, anna, "GET", f"{FOLDERS}?limit=3")
    assert call(house, anna, "DELETE", at(ids[0])).status_code == 204
    made(call(house, anna, "POST", f"{at(ids[1])}/move", {"parent_id": ids[5]}), 200)
    made(call(house, anna, "POST", f"{at(ids[4])}/rename", {"name": "0"}), 200)
    new = folder(house, anna, "new")["id"]
    following = first.links["next"]["url"]
    second = call(house, anna, "GET", following.replace("limit=3", "limit=5"))
    assert [one["id"] for one in first.json()] + [one["id"] for one in second.json()] == [*ids, new]
    assert "next" not in second.links
    refusal(call(house, house.person("guest"), "GET", following), 403, "FORBIDDEN")
    assert call(house, house.person(), "GET", following).json() == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        *(("limit=0", "limit"), ("limit=1001", "limit"), ("cursor=x", "cursor"), ("q=", "q"), (f"q={'x' * 201}", "q")),
        *(("parent_id=-1", "parent_id"), ("parent_id=null", "parent_id"), ("owner_id=0", "owner_id"), ("x=1", "x")),
        *(("q=a%00", "q"), ("sort=name", "sort"), ("parent_id=1&parent_id=2", "parent_id"), ("count=maybe", "count")),
    ],
)
def test_a_list_that_cannot_be_is_refused(house: House, people: Cast, query: str, field: str) -> None:
    told = refusal(call(house, people.anna, "GET", f"{FOLDERS}?{query}"), 400, "VALIDATION_ERROR")
    assert told["errors"][0]["field"] == field


def test_a_list_takes_as_many_statements_however_long_it_is(house: House) -> None:
    anna = house.person()
    top = folder(house, anna, "top")["id"]
    with statements(house) as few:
        assert listed(house, anna, "folders", count="true") == [top]
    for number in range(30):
        folder(house, anna, str(number), top)
    with statements(house) as many:
        assert len(listed(house, anna, "folders", count="true")) == 31
    assert few == many == [("page", 1), ("count", 1)]
