"""Lists of files against an oracle in Python, who reaches whose files, and how many statements all of it takes."""

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

import httpx2
import pytest

from app import values
from app.files import service, sharing
from app.folders import service as trees
from app.values import folded
from tests.accounts import Person, make_group, make_person
from tests.house import NOBODY, House, opened
from tests.office import (
    API,
    DOCUMENTS,
    FILES,
    FOLDERS,
    document,
    folder,
    form,
    listed,
    made,
    put,
    share,
    statements,
    team,
)
from tests.support import Clock, refusal
from tests.test_files import EACH, ask

NONE_SUCH = 10**17
Cast = dict[str, Person]
GROUPS = {"lead": "north", "ann": "north", "bea": "north", "cid": "south", "dan": "", "eve": "", "lone lead": ""}
GROUPS |= {"admin of all": "", "group admin": "south"}
ROLES = {"lead": "lead", "lone lead": "lead", "admin of all": "admin", "group admin": "admin"}
EVERYWHERE = {"admin of all", "group admin"}
"""Whose reach is not narrowed: of files an admin of a group reaches those of all."""
HEADS = {b"words": "text/plain", b"<html> ": "text/html", b"GIF89a": "image/gif", b"\x00": "application/octet-stream"}
WORDS = [
    "Größe",
    "GRÖSSE",
    "100%",
    "100x",
    "a_b",
    "axb",
    "İstanbul",
    "ﬁle",
    "ΣΊΣΥΦΟΣ",
    "日本語",
    "report",
    "REPORT",
    "🔬",
]
WORDS += ["e\u0301tude", "ÉTUDE", "'; DROP TABLE files; --", "%", "_", "1", "２"]


class Row(NamedTuple):
    """A file as its owner knows it, and who else has it."""

    id: int
    name: str
    owner: str
    folder_id: int | None
    media_type: str
    is_favorite: bool
    updated_at: str
    shared_with: frozenset[str]


class World(NamedTuple):
    """People who keep files and share some, of which nothing changes; folders by their owner."""

    house: House
    people: Cast
    folders: dict[str, list[int]]
    rows: list[Row]


def cast(house: House) -> Cast:
    """People in two groups and in none, of whom two lead what group they have."""
    client, config = house.client, house.config
    groups = {name: make_group(client, name, f"0000000{at}") for at, name in enumerate(("north", "south"), 1)}
    near = [{"permission": f"{noun}:delete", "reach": "group"} for noun in ("files", "folders")]
    assert client.post("/api/v1/roles", json={"name": "lead", "permissions": near}).status_code == 201
    return {
        name: make_person(client, config, name.replace(" ", "-"), ROLES.get(name, "user"), group_id=groups.get(group))
        for name, group in GROUPS.items()
    }


@pytest.fixture(scope="module")
def people(house: House) -> Cast:
    return cast(house)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Files of several people, several at the same instant; the super admin shares them, across groups as well."""
    with opened(tmp_path_factory.mktemp("world")) as house:
        yield filled(house, random.Random(5))


def filled(house: House, chance: random.Random) -> World:
    people = cast(house)
    owners = [name for name in people if name != "lone lead"]
    folders = {name: [folder(house, people[name], f"{number}")["id"] for number in range(2)] for name in owners}
    teams = {team(house, people[name]): {name} for name in ("ann", "cid")}
    for team_id, members in teams.items():
        for name in ("dan", "eve", "bea"):
            made(house.client.post(f"{API}/teams/{team_id}/members", json={"user_id": people[name].id}))
            members.add(name)
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock()
        patch.setattr(values, "clock", clock)
        rows = [_row(house, people, chance.choice(owners), folders, teams, chance, clock) for _ in range(70)]
    return World(house, people, folders, rows)


def _row(
    house: House,
    people: Cast,
    owner: str,
    folders: dict[str, list[int]],
    teams: dict[int, set[str]],
    chance: random.Random,
    clock: Clock,
) -> Row:
    clock.at += chance.choice((0, 0, 0, 0.001, 0.1))
    who = people[owner]
    name = " ".join(chance.sample(WORDS, chance.randint(1, 3)))
    place = {"folder_id": chance.choice(folders[owner])} if chance.random() < 0.5 else {}
    file = put(house, who, chance.choice([*HEADS]), name, **place)
    if chance.random() < 0.3:
        file = made(house.client.patch(f"{FILES}/{file['id']}", json={"is_favorite": True}, headers=who.headers), 200)
    shared: set[str] = set()
    for team_id in chance.sample([*teams], chance.choice((0, 0, 1, 2))):
        if _share(house, file["id"], chance, team_id=team_id):
            shared |= teams[team_id]
    for name in chance.sample(["ann", "bea", "cid", "dan", "eve", "lead"], chance.choice((0, 0, 1, 3))):
        apart = name != owner and (name, GROUPS[owner]) != ("lead", "north")
        if apart and _share(house, file["id"], chance, user_id=people[name].id):
            shared.add(name)
    told = {name: file[name] for name in Row._fields if name in file}
    return Row(**told, owner=owner, shared_with=frozenset(shared - {owner}))


def _share(house: House, file_id: int, chance: random.Random, **to: int) -> bool:
    """Shares a file as the super admin does; whether the share holds, or has expired, or been used up."""
    permission = chance.choice(("read", "edit"))
    given = {**to, "permission": permission, "max_access_count": 5, "expires_at": values.later(3600)}
    made_share = made(house.client.post(f"{FILES}/{file_id}/share", json=given), 200)
    over = {0: "access_count = 5", 1: "expires_at = '2001-01-01T00:00:00.000Z'"}.get(chance.randrange(5))
    if over is not None:
        with closing(sqlite3.connect(house.config.database_path)) as outside, outside:
            outside.execute(f"UPDATE file_shares SET {over} WHERE id = ?", (made_share["id"],))  # noqa: S608 - ours
    return over is None


def _within(row: Row, who: str) -> bool:
    return who in EVERYWHERE or row.owner == who or (who == "lead" and GROUPS[row.owner] == GROUPS[who])


def expected(world: World, who: str, wanted: dict[str, Any]) -> list[int]:
    """The ids that a list shall hold, in its order."""

    def matches(row: Row) -> bool:
        lent = who in row.shared_with and not _within(row, who)
        if not (lent or _within(row, who)):
            return False
        known = row._replace(folder_id=None, is_favorite=False) if lent else row
        tests: dict[str, Callable[[Any], bool]] = {
            "q": lambda q: folded(q) in folded(row.name),
            "type": lambda part: part.lower() in row.media_type.lower(),
            "owner_id": lambda owner_id: world.people[row.owner].id == owner_id,
            "folder_id": lambda folder_id: not lent and (known.folder_id or 0) == folder_id,
            "favorite": lambda favorite: not lent and known.is_favorite == (favorite == "true"),
            "shared": lambda shared: who in row.shared_with if shared == "true" else row.owner == who,
        }
        return all(tests[name](value) for name, value in wanted.items())

    rows = [row for row in world.rows if matches(row)]
    if wanted.get("folder_id"):
        return [row.id for row in sorted(rows, key=lambda row: (folded(row.name), row.id))]
    return [row.id for row in sorted(rows, key=lambda row: (row.updated_at, row.id), reverse=True)]


def test_the_oracle_has_something_to_tell_apart(world: World) -> None:
    """Otherwise the tests below would hold of anything."""
    assert len({row.updated_at for row in world.rows}) < len(world.rows) - 10
    assert all(expected(world, who, {}) for who in world.folders)
    assert all(expected(world, who, {"shared": "true"}) for who in ("ann", "bea", "cid", "dan", "eve", "lead"))
    assert not expected(world, "lone lead", {})


@pytest.mark.parametrize("who", GROUPS)
def test_a_list_holds_what_its_caller_reaches_or_was_given_once_and_in_order(world: World, who: str) -> None:
    house = world.house
    found = listed(house, world.people[who], "files", limit=7)
    assert found == expected(world, who, {})
    for shared in ("true", "false"):
        assert listed(house, world.people[who], "files", shared=shared) == expected(world, who, {"shared": shared})


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_every_list_is_what_the_oracle_tells(world: World, seed: int) -> None:
    house, chance = world.house, random.Random(seed)
    for _ in range(60):
        who = chance.choice([*world.people])
        wanted = _wanted(world, who, chance)
        order = expected(world, who, wanted)
        assert listed(house, world.people[who], "files", limit=chance.randint(1, 20), **wanted) == order, (who, wanted)
        answer = house.client.get(
            FILES, params={**wanted, "count": "true", "limit": 1}, headers=world.people[who].headers
        )
        assert (answer.status_code, answer.headers["x-total-count"]) == (200, str(len(order))), (who, wanted)
        for file in answer.json():
            row = next(row for row in world.rows if row.id == file["id"])
            place = (row.folder_id, row.is_favorite) if _within(row, who) else (None, False)
            assert (file["name"], file["folder_id"], file["is_favorite"]) == (row.name, *place)
            assert (file["access"] == "full") is _within(row, who)


def _wanted(world: World, who: str, chance: random.Random) -> dict[str, Any]:
    """Some filters of a list, that often find something."""
    row = chance.choice(world.rows)
    begin = chance.randrange(len(row.name))
    part = row.name[begin : begin + chance.randint(1, 6)]
    choices: dict[str, Any] = {
        "q": chance.choice((part, part.upper(), part.lower(), "%", "_", "\\", "%%", "ss", "xyz")),
        "type": chance.choice(("text", "TEXT/", "image/gif", "/", "%", "_", "octet")),
        "owner_id": chance.choice((world.people[row.owner].id, world.people[who].id, NONE_SUCH)),
        "folder_id": chance.choice((0, row.folder_id or 0, NONE_SUCH)),
        "favorite": chance.choice(("true", "false")),
        "shared": chance.choice(("true", "false")),
    }
    names = chance.sample([*choices], chance.choice((0, 1, 1, 2, 2, 3)))
    return {name: value for name, value in choices.items() if name in names}


FOUND = {
    "Straße 5": ("straße", "STRASSE", "sse 5", "ß"),
    "100% sure": ("100%", "0% s", "%", "％"),
    "a_b\u0301": ("a_B\u0301", "_"),
    "back slash": ("K SL", "back slash"),
    "ﬁnal ２.txt": ("FINAL", "final 2", "ﬁ", "２"),
    "ΟΔΥΣΣΕΥΣ": ("οδυσσευς", "σσευσ"),
    "e\u0301clair": ("ÉCLAIR", "é"),
}


@pytest.mark.parametrize("name", FOUND, ids=ascii)
def test_a_search_finds_names_without_regard_to_case_in_every_script(house: House, name: str) -> None:
    who = house.person()
    file_id = put(house, who, name=name)["id"]
    put(house, who, name="1000x surely abb backxslash")
    for q in FOUND[name]:
        assert listed(house, who, "files", q=q) == [file_id], q
    for q in ("100_", "a%b", "\\", "' OR 1=1 --", "ab", "%%"):
        assert file_id not in listed(house, who, "files", q=q), q


@pytest.mark.parametrize("where", ["", "folder"])
def test_a_page_behind_another_neither_repeats_nor_forgets_while_files_come_and_go(house: House, where: str) -> None:
    who = house.person()
    place = {"folder_id": folder(house, who)["id"]} if where else {}
    files = [put(house, who, name=name, **place)["id"] for name in ("f", "b", "d", "h", "d", "D", "j")]
    answer = house.client.get(FILES, params={"limit": 1, **place}, headers=who.headers)
    found = [file["id"] for file in answer.json()]
    gone = files[3]
    while "next" in answer.links:
        for name in ("a", "e", "z") if len(found) < 5 else ():
            put(house, who, name=name, **place)
        if len(found) == 2:
            assert house.client.delete(f"{FILES}/{gone}", headers=who.headers).status_code == 204
        answer = house.client.get(answer.links["next"]["url"], headers=who.headers)
        found += [file["id"] for file in answer.json()]
        assert len(found) < 100
    assert len(found) == len({*found})
    order = [files[at] for at in ((1, 2, 4, 5, 0, 6) if where else (6, 5, 4, 2, 1, 0))]
    assert [file_id for file_id in found if file_id in files and file_id != gone] == order


def test_a_cursor_is_this_lists_own_and_shows_nobody_more(house: House) -> None:
    who, other = house.person(), house.person()
    ids = [put(house, who)["id"] for _ in range(3)]
    theirs = [put(house, other)["id"] for _ in range(3)]
    for _ in range(2):
        document(house, who)
    link = house.client.get(FILES, params={"limit": 1}, headers=who.headers).links["next"]["url"]
    cursor = link.rpartition("cursor=")[2]
    foreign = house.client.get(DOCUMENTS, params={"limit": 1}, headers=who.headers).links["next"]["url"]
    flipped = [cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :] for at in range(len(cursor) - 1)]
    for wrong in (
        *flipped,
        foreign.rpartition("cursor=")[2],
        "",
        "x",
        "=",
        "é",
        "0",
        "null",
        "a" * 1001,
        cursor + "AAAA",
    ):
        answer = house.client.get(FILES, params={"cursor": wrong}, headers=who.headers)
        assert refusal(answer, 400, "VALIDATION_ERROR")["errors"][0]["field"] == "cursor", wrong
    assert listed(house, who, "files", cursor=cursor) == [ids[1], ids[0]]
    assert {*listed(house, other, "files", cursor=cursor)} <= {*theirs}


BAD = {
    "q": ["", "x" * 201, "a\0b"],
    "type": ["", "x" * 101],
    "folder_id": ["-1", "x", "1.5", "null", "", "1" + "0" * 18],
    "owner_id": ["0", "-1", "me", "null", ""],
    "favorite": ["yes", "2", "null", ""],
    "shared": ["all", "null", ""],
    "limit": ["0", "1001", "-1", "x", ""],
    "count": ["maybe"],
    **{name: ["1"] for name in ("sort", "name", "user_id", "offset", "page", "kind", "Q", "folder")},
}


@pytest.mark.parametrize("field", BAD)
def test_a_parameter_that_does_not_hold_or_is_unknown_is_named(house: House, people: Cast, field: str) -> None:
    for value in BAD[field]:
        answer = house.client.get(FILES, params={field: value}, headers=people["ann"].headers)
        assert refusal(answer, 400, "VALIDATION_ERROR")["errors"][0]["field"] == field, value


def test_who_is_nobody_or_a_guest_lists_nothing(house: House, people: Cast) -> None:
    refusal(house.client.get(FILES, headers=NOBODY), 401, "UNAUTHORIZED")
    refusal(house.client.get(FILES, headers=house.person("guest").headers), 403, "FORBIDDEN")
    narrow = house.token(people["ann"], "folders:read")
    assert refusal(house.client.get(FILES, headers=narrow), 403, "FORBIDDEN")["required"] == ["files:read"]


@pytest.mark.parametrize("role", ["user", "lead", "admin"])
def test_what_a_neighbour_shares_is_listed_among_what_is_shared(house: House, people: Cast, role: str) -> None:
    """Also by who would reach it anyway: `shared` tells what others share with the caller."""
    owner = people["bea"]
    who = {"user": people["ann"], "lead": people["lead"], "admin": people["admin of all"]}[role]
    file_id = put(house, owner)["id"]
    made(house.client.post(f"{FILES}/{file_id}/share", json={"user_id": who.id}), 200)
    assert listed(house, who, "files", q="a.txt", owner_id=owner.id).count(file_id) == 1
    assert file_id in listed(house, who, "files", shared="true")
    house.client.delete(f"{FILES}/{file_id}")


def test_what_is_not_shared_is_the_callers_own_in_every_folder(house: House, people: Cast) -> None:
    """`shared` false: the own files alone, of an admin too, who may look into the folders of others."""
    inside = folder(house, people["eve"], "looked into")["id"]
    file_id = put(house, people["eve"], folder_id=inside)["id"]
    admin = people["admin of all"]
    assert listed(house, admin, "files", folder_id=inside) == [file_id]
    assert listed(house, admin, "files", folder_id=inside, shared="false") == []
    answer = house.client.get(
        FILES, params={"folder_id": inside, "shared": "false", "count": "true"}, headers=admin.headers
    )
    assert answer.headers["x-total-count"] == "0"
    house.client.delete(f"{FILES}/{file_id}")


@pytest.mark.parametrize("who", ["admin of all", "group admin"])
def test_an_admin_reaches_the_files_of_all(house: House, people: Cast, who: str) -> None:
    """Whatever group they belong to; what they copy is their own."""
    files = [put(house, people[name]) for name in ("ann", "cid", "dan")]
    headers = people[who].headers
    assert {file["id"] for file in files} <= {*listed(house, people[who], "files")}
    for file in files:
        assert made(ask(house, "show", "GET", file["id"], headers), 200) == file
        assert ask(house, "download", "GET", file["id"], headers).content == b"hello\n"
        assert made(ask(house, "rename", "POST", file["id"], headers), 200)["owner_id"] == file["owner_id"]
        assert made(ask(house, "copy", "POST", file["id"], headers), 200)["owner_id"] == people[who].id
        assert ask(house, "delete", "DELETE", file["id"], headers).status_code == 204


def test_who_leads_a_group_reaches_the_files_of_it_and_no_others(house: House, people: Cast) -> None:
    own, near = put(house, people["lead"])["id"], put(house, people["ann"])["id"]
    far = [put(house, people[name])["id"] for name in ("cid", "dan", "lone lead")]
    lead = people["lead"]
    assert {own, near} == {*listed(house, lead, "files")} & {own, near, *far}
    assert made(ask(house, "show", "GET", near, lead.headers), 200)["access"] == "full"
    for file_id in far:
        for what, method in EACH:
            assert ask(house, what, method, file_id, lead.headers).status_code == 404, what
        answer = ask(house, "delete many", "POST", 0, lead.headers, body={"ids": [near, file_id]})
        refusal(answer, 404, "NOT_FOUND")
    for what, method in EACH:
        if "delete" not in what:
            assert ask(house, what, method, near, lead.headers).status_code == 200, what
    assert ask(house, "delete", "DELETE", near, lead.headers).status_code == 204


def test_who_leads_no_group_has_their_own_files_alone(house: House, people: Cast) -> None:
    """To have no group is not to share one with others who have none."""
    lead = people["lone lead"]
    own, others = put(house, lead)["id"], put(house, people["dan"])["id"]
    assert own in listed(house, lead, "files")
    assert {file["owner_id"] for file in house.client.get(FILES, headers=lead.headers).json()} == {lead.id}
    refusal(ask(house, "show", "GET", others, lead.headers), 404, "NOT_FOUND")


OURS = {*vars(service), *vars(sharing), *vars(trees)}
"""The transactions of these calls: workers that a change wakes have their own, whenever their turn comes."""
QUERIES = ("", "count=true", "q=a&type=text", "folder_id=0", "favorite=false", "shared=true", "shared=false", "limit=2")


@pytest.mark.slow
def test_no_call_runs_more_statements_for_more_files(house: House, people: Cast) -> None:
    assert counted(house, people, 3) == counted(house, people, 60)


def counted(house: House, people: Cast, number: int) -> dict[str, list[tuple[str, int]]]:
    """The statements of each call, of somebody who keeps so many files, and has as many of somebody else's."""
    who, other = house.person(), house.person()
    inside = folder(house, who)["id"]
    files = [put(house, who, folder_id=inside if index % 2 else 0)["id"] for index in range(number)]
    theirs = [put(house, other)["id"] for _ in range(number)]
    for file_id in theirs:
        share(house, other, f"files/{file_id}", user_id=who.id)
    found: dict[str, list[tuple[str, int]]] = {}
    with statements(house) as seen:

        def note(what: str, answer: httpx2.Response) -> None:
            assert answer.is_success, (what, answer.text)
            found[what] = [call for call in seen if call[0] in OURS]
            assert found[what], (what, seen)
            seen.clear()

        queries = {query: query for query in QUERIES}
        queries |= {"in a folder": f"folder_id={inside}", "of an owner": f"owner_id={other.id}&count=true"}
        for what, query in queries.items():
            for caller, headers in (("owner", who.headers), ("admin", people["admin of all"].headers)):
                note(f"{what} {caller}", house.client.get(f"{FILES}?{query}", headers=headers))
        for what, method in EACH:
            if "delete" not in what:
                note(f"{what} {method}", ask(house, what, method, files[0], who.headers))
        note("show a shared one", ask(house, "show", "GET", theirs[0], who.headers))
        note("download a shared one", ask(house, "download", "GET", theirs[0], who.headers))
        note("storage", house.client.get(f"{FILES}/storage", headers=who.headers))
        note("form", form(house, who, b"x", "x"))
        note("raw", house.client.put(f"{FILES}/content?name=x", content=b"x", headers=who.headers))
        note("folder", house.client.get(f"{FOLDERS}/{inside}", headers=who.headers))
        note("delete folder", house.client.delete(f"{FOLDERS}/{inside}", headers=who.headers))
        note("delete", ask(house, "delete", "DELETE", files[0], who.headers))
        note("delete many", ask(house, "delete many", "POST", 0, who.headers, body={"ids": files[2::2]}))
        note("delete account", house.client.delete(f"{API}/users/{other.id}"))
    return found
