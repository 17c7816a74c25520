"""Who else has a document: what a share lets do, when it ends, and that nobody sees what is not theirs."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any, NamedTuple

import pytest

from app.documents import service
from tests.accounts import Person, make_account, make_group, make_person, sign_in
from tests.house import House, opened
from tests.office import DOCUMENTS, TEAMS, document, folder, listed, made, sees, share, team
from tests.support import Clock, call_meanwhile, refusal
from tests.test_documents import call, revisions
from tests.test_group_members import move
from tests.test_roles import at_once

pytestmark = pytest.mark.slow  # a world of people and shares

PERMISSIONS = ("read", "comment", "edit")


def shares(house: House, owner: Person, document_id: int) -> list[tuple[int | None, int | None, str]]:
    """To whom a document is shared, as its owner sees it: account, team, permission."""
    found = made(call(house, owner, "GET", str(document_id)), 200)["shares"]
    return [(row["user_id"], row["team_id"], row["permission"]) for row in found]


def has(house: House, who: Person, document_id: int) -> str | None:
    """What somebody may do with a document; None when it is not there for them, wherever they look."""
    paths = [f"{document_id}{what}" for what in ("", "/revisions", "/revisions/1")]
    answers = [call(house, who, "GET", path) for path in paths]
    there = document_id in listed(house, who, "documents", shared="true")
    if answers[0].status_code == 200:
        assert there
        access = str(answers[0].json()["access"])
        history = 403 if access == "read" else 200
        assert [answer.status_code for answer in answers[1:]] == [history] * 2
        return access
    for answer in answers:
        refusal(answer, 404, "NOT_FOUND")
    assert not there
    return None


@pytest.mark.parametrize("way", ["user_id", "username", "team_id"])
@pytest.mark.parametrize("permission", PERMISSIONS)
def test_what_a_share_lets_do_and_what_not(house: House, permission: str, way: str) -> None:
    anna, ben = house.person(), house.person()
    lies_in = folder(house, anna)["id"]
    one = document(house, anna, "Title", "text", folder_id=lies_in, tags=["old"])["id"]
    to = {"user_id": ben.id, "username": ben.username.upper(), "team_id": team(house, anna, ben)}[way]
    found = share(house, anna, f"documents/{one}", **{way: to, "permission": permission})
    (row,) = found["shares"]
    assert (row["permission"], row["expires_at"], row["created_by"]) == (permission, None, anna.id)
    assert (row["user_id"], row["team_id"]) == ((None, to) if way == "team_id" else (ben.id, None))
    assert (row["username"], row["team_name"]) == ((None, "team") if way == "team_id" else (ben.username, None))
    access = "edit" if permission == "edit" else "read"
    seen = made(call(house, ben, "GET", str(one)), 200)
    assert seen == found | {"access": access, "folder_id": None, "shares": []}
    assert [entry["folder_id"] for entry in house.client.get(DOCUMENTS, headers=ben.headers).json()] == [None]
    assert has(house, ben, one) == access
    changes: tuple[tuple[str, str, object], ...] = (
        ("PATCH", "", {"content": "new"}),
        ("PUT", "", {"title": "New", "tags": ["b"]}),
        ("POST", "/rename", {"title": "Newer"}),
        ("POST", "/tags", {"tags": ["c"]}),
        ("POST", "/revisions/1/restore", None),
    )
    for method, what, given in changes:
        answer = call(house, ben, method, f"{one}{what}", given)
        if access == "edit":
            changed = made(answer, 200)
            assert (changed["access"], changed["folder_id"], changed["shares"]) == ("edit", None, [])
        else:
            assert refusal(answer, 403, "FORBIDDEN")["access"] == access
    before = made(call(house, anna, "GET", str(one)), 200)
    assert (before["folder_id"], before["owner_id"]) == (lies_in, anna.id)
    changes = (
        ("PATCH", "", {"title": "Stolen", "folder_id": None}),
        ("PATCH", "", {"folder_id": folder(house, ben)["id"]}),
        ("POST", "/move", {"folder_id": None}),
        ("POST", "/share", {"user_id": ben.id, "permission": "edit"}),
        ("POST", "/unshare", {way: to}),
        ("DELETE", "", None),
    )
    for method, what, given in changes:
        assert refusal(call(house, ben, method, f"{one}{what}", given), 403, "FORBIDDEN")["access"] == access
    refusal(call(house, ben, "POST", "batch-delete", {"ids": [one]}), 404, "NOT_FOUND")
    assert made(call(house, anna, "GET", str(one)), 200) == before
    assert listed(house, ben, "documents", folder_id=lies_in) == listed(house, ben, "documents", folder_id=0) == []


def test_sharing_again_says_anew_how(house: House) -> None:
    anna, ben = house.person(), house.person()
    one = document(house, anna)["id"]
    crew = team(house, anna, ben)
    first = share(house, anna, f"documents/{one}", user_id=ben.id, expires_at="2999-01-01T00:00:00Z")["shares"]
    assert first[0]["expires_at"] == "2999-01-01T00:00:00.000Z"
    (again,) = share(house, anna, f"documents/{one}", username=ben.username, permission="edit")["shares"]
    assert again == first[0] | {"permission": "edit", "expires_at": None}
    for permission in ("edit", "comment"):
        share(house, anna, f"documents/{one}", team_id=crew, permission=permission)
    assert shares(house, anna, one) == [(ben.id, None, "edit"), (None, crew, "comment")]


def test_of_two_shares_the_wider_holds_and_the_document_is_listed_once(house: House) -> None:
    anna, ben = house.person(), house.person()
    one = document(house, anna)["id"]
    for permission in ("read", "edit", "read"):
        share(house, anna, f"documents/{one}", team_id=team(house, anna, ben), permission=permission)
    share(house, anna, f"documents/{one}", user_id=ben.id)
    assert has(house, ben, one) == "edit"
    for asked in ("", "&shared=true", "&q=title", "&shared=true&q=title", f"&owner_id={anna.id}"):
        answer = house.client.get(f"{DOCUMENTS}?count=true{asked}", headers=ben.headers)
        assert ([row["id"] for row in answer.json()], answer.headers["x-total-count"]) == ([one], "1")
    assert listed(house, anna, "documents", shared="true") == []  # she is in the teams herself


def test_a_share_that_expired_gives_nothing(house: House, clock: Clock) -> None:
    anna, ben = house.person(), house.person()
    one = document(house, anna)["id"]
    crew = team(house, anna, ben)
    clock.at = int(clock.at) + 0.5
    soon, later = (instant(clock.at + seconds) for seconds in (10, 20))
    share(house, anna, f"documents/{one}", user_id=ben.id, permission="edit", expires_at=soon)
    share(house, anna, f"documents/{one}", team_id=crew, expires_at=later)
    clock.at += 9.999
    assert has(house, ben, one) == "edit"
    clock.at += 0.001
    assert has(house, ben, one) == "read"
    refusal(call(house, ben, "PATCH", str(one), {"title": "New"}), 403, "FORBIDDEN")
    clock.at += 10
    assert has(house, ben, one) is None
    for asked in ({}, {"shared": "true"}, {"q": "title"}, {"owner_id": anna.id}):
        answer = house.client.get(DOCUMENTS, params={**asked, "count": "true"}, headers=ben.headers)
        assert (answer.json(), answer.headers["x-total-count"]) == ([], "0")
    assert shares(house, anna, one) != []
    share(house, anna, f"documents/{one}", user_id=ben.id)
    assert (has(house, ben, one), shares(house, anna, one)) == ("read", [(ben.id, None, "read")])


def instant(at: float) -> str:
    """The millisecond that an instant lies in."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.mark.parametrize("ends", ["2000-01-01T00:00:00Z", "2999-02-30T00:00:00Z", "2999-01-01T24:00:00Z", "now"])
def test_a_share_ends_at_an_instant_that_is_to_come(house: House, clock: Clock, ends: str) -> None:
    anna, ben = house.person(), house.person()
    one = document(house, anna)["id"]
    given = {"user_id": ben.id, "expires_at": instant(clock.at) if ends == "now" else ends}
    answer = call(house, anna, "POST", f"{one}/share", given)
    assert refusal(answer, 400, "VALIDATION_ERROR")["errors"][0]["field"] == "/expires_at"
    assert shares(house, anna, one) == []


def test_what_is_unshared_is_gone_also_for_an_account_that_is_inactive(house: House) -> None:
    anna, ben, cleo = house.person(), house.person(), house.person()
    one = document(house, anna)["id"]
    crew = team(house, anna, cleo)
    for way, to in (("user_id", ben.id), ("username", ben.username), ("team_id", crew)):
        refusal(call(house, anna, "POST", f"{one}/unshare", {way: to}), 404, "NOT_FOUND")
        share(house, anna, f"documents/{one}", **{way: to})
        assert has(house, cleo if way == "team_id" else ben, one) == "read"
        assert made(call(house, anna, "POST", f"{one}/unshare", {way: to}), 200)["shares"] == []
        assert has(house, cleo if way == "team_id" else ben, one) is None
        refusal(call(house, anna, "POST", f"{one}/unshare", {way: to}), 404, "NOT_FOUND")
    share(house, anna, f"documents/{one}", user_id=ben.id)
    made(house.client.patch(f"/api/v1/users/{ben.id}/status", json={"status": "suspended"}), 200)
    refusal(call(house, anna, "POST", f"{one}/share", {"user_id": ben.id}), 404, "NOT_FOUND")
    assert made(call(house, anna, "POST", f"{one}/unshare", {"user_id": ben.id}), 200)["shares"] == []


def test_a_share_with_a_team_is_its_members_at_the_time(house: House) -> None:
    anna, ben, cleo, dora = (house.person() for _ in range(4))
    one = document(house, anna)["id"]
    crew = team(house, anna, ben, cleo)
    share(house, anna, f"documents/{one}", team_id=crew, permission="edit")
    assert [has(house, who, one) for who in (ben, cleo, dora)] == ["edit", "edit", None]
    assert house.client.delete(f"{TEAMS}/{crew}/members/{ben.id}", headers=ben.headers).status_code == 204
    assert house.client.delete(f"{TEAMS}/{crew}/members/{cleo.id}", headers=anna.headers).status_code == 204
    made(house.client.post(f"{TEAMS}/{crew}/members", json={"user_id": dora.id}, headers=anna.headers))
    assert [has(house, who, one) for who in (ben, cleo, dora)] == [None, None, "edit"]
    refusal(call(house, ben, "PATCH", str(one), {"title": "New"}), 404, "NOT_FOUND")
    assert house.client.delete(f"{TEAMS}/{crew}", headers=anna.headers).status_code == 204
    assert (has(house, dora, one), shares(house, anna, one)) == (None, [])


def test_one_shares_with_a_team_that_one_is_in_and_takes_it_back_when_one_is_not(house: House) -> None:
    anna, ben, cleo = house.person(), house.person(), house.person()
    one, crew = document(house, anna)["id"], team(house, ben, anna, cleo)
    foreign = team(house, ben, cleo)
    for wrong in (foreign, 10**17):
        refusal(call(house, anna, "POST", f"{one}/share", {"team_id": wrong}), 404, "NOT_FOUND")
    share(house, anna, f"documents/{one}", team_id=crew)
    assert house.client.delete(f"{TEAMS}/{crew}/members/{anna.id}", headers=anna.headers).status_code == 204
    assert has(house, cleo, one) == "read"
    assert made(call(house, anna, "POST", f"{one}/unshare", {"team_id": crew}), 200)["shares"] == []
    assert has(house, cleo, one) is None


@pytest.fixture(scope="module")
def north(house: House) -> dict[str, Person]:
    """People of one group, whose chief reaches all that is kept in it; one of another group."""
    client, config = house.client, house.config
    near = {"name": "near", "permissions": [{"permission": "documents:admin", "reach": "group"}]}
    assert client.post("/api/v1/roles", json=near).status_code == 201
    north, south = make_group(client, "North", "00000021"), make_group(client, "South", "00000022")
    person = partial(make_person, client, config)
    found = {name: person(f"north-{name}", "user", group_id=north) for name in ("owner", "member")}
    found["chief"] = person("north-chief", "user", "near", group_id=north)
    return found | {"southerner": person("southerner", "user", group_id=south)}


def test_one_shares_with_ones_neighbours_and_never_with_the_owner(house: House, north: dict[str, Person]) -> None:
    owner, member, chief, southerner = (north[name] for name in ("owner", "member", "chief", "southerner"))
    one = document(house, owner)["id"]
    for who in (southerner, house.person()):
        refusal(call(house, owner, "POST", f"{one}/share", {"user_id": who.id}), 404, "NOT_FOUND")
        refusal(call(house, owner, "POST", f"{one}/share", {"username": who.username}), 404, "NOT_FOUND")
    for who in (owner, chief):
        answer = call(house, who, "POST", f"{one}/share", {"user_id": owner.id})
        assert refusal(answer, 400, "VALIDATION_ERROR")["errors"][0]["field"] == "/user_id"
    made(call(house, chief, "POST", f"{one}/share", {"user_id": member.id}), 200)
    assert shares(house, owner, one) == shares(house, chief, one) == [(member.id, None, "read")]
    (row,) = made(call(house, owner, "GET", str(one)), 200)["shares"]
    assert row["created_by"] == chief.id
    assert move(house, member.id, None).status_code == 200
    back = Person(member.id, member.username, sign_in(house.client, member.username))
    assert has(house, back, one) == "read"  # the share was with them, wherever they are now
    assert made(call(house, owner, "POST", f"{one}/unshare", {"user_id": member.id}), 200)["shares"] == []


def test_what_a_guest_is_given_they_do_not_see(house: House) -> None:
    """Their role holds nothing of documents."""
    anna, guest = house.person(), house.person("guest")
    one = document(house, anna)["id"]
    share(house, anna, f"documents/{one}", user_id=guest.id, permission="edit")
    for method, what, given in (("GET", "", None), ("PATCH", "", {"title": "x"}), ("GET", "/revisions/1", None)):
        refusal(call(house, guest, method, f"{one}{what}", given), 403, "FORBIDDEN")


def test_a_document_has_a_thousand_shares_at_most(house: House) -> None:
    anna = house.person()
    one, ends = document(house, anna)["id"], "2000-01-01T00:00:00.000Z"
    ids = [make_account(house.config) for _ in range(3)]
    with sqlite3.connect(house.config.database_path) as outside:
        crowd = [(f"sharee{number}", ends) for number in range(999)]
        sql = "INSERT INTO users (username, username_key, status, role, created_at, updated_at)"
        outside.executemany(f"{sql} VALUES (?1, ?1, 'active', 'user', ?2, ?2)", crowd)
        outside.execute(
            "INSERT INTO document_shares (document_id, user_id, permission, created_at)"
            " SELECT ?, id, 'read', ? FROM users WHERE username LIKE 'sharee%'",
            (one, ends),
        )
    outside.close()
    answers = at_once(*(partial(call, house, anna, "POST", f"{one}/share", {"user_id": user_id}) for user_id in ids))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    (refused, _) = (answer for answer in answers if answer.status_code == 409)
    assert refusal(refused, 409, "CONFLICT")["share_count"] == 1000
    late = min(set(ids) - {user_id for user_id, _, _ in shares(house, anna, one)})
    there = shares(house, anna, one)[0][0]
    made(call(house, anna, "POST", f"{one}/share", {"user_id": there, "permission": "edit"}), 200)
    with sqlite3.connect(house.config.database_path) as outside:
        outside.execute("UPDATE document_shares SET expires_at = ? WHERE user_id = ?", (ends, there))
    outside.close()
    assert len(made(call(house, anna, "POST", f"{one}/share", {"user_id": late}), 200)["shares"]) == 1000


def test_of_shares_made_at_once_one_is_kept(house: House) -> None:
    anna, ben = house.person(), house.person()
    one = document(house, anna)["id"]
    given = [{"user_id": ben.id, "permission": permission} for permission in PERMISSIONS * 3]
    answers = at_once(*(partial(call, house, anna, "POST", f"{one}/share", new) for new in given))
    assert {answer.status_code for answer in answers} == {200}
    assert len(shares(house, anna, one)) == 1


def test_who_is_put_out_while_their_change_is_on_its_way_changes_nothing(house: House) -> None:
    anna, ben = house.person(), house.person()
    one = document(house, anna, content="hers")["id"]
    share(house, anna, f"documents/{one}", user_id=ben.id, permission="edit")
    unshare = partial(call, house, anna, "POST", f"{one}/unshare", {"user_id": ben.id})
    body = [b'{"content": "his"}']
    answer = call_meanwhile(house.client, "PATCH", f"{DOCUMENTS}/{one}", body, ben.headers, unshare)
    refusal(answer, 404, "NOT_FOUND")
    assert (made(call(house, anna, "GET", str(one)), 200)["content"], revisions(house, anna, one)) == ("hers", [1])


class Kept(NamedTuple):
    """A document as an oracle knows it."""

    id: int
    owner_id: int
    folder_id: int | None
    title: str
    text: str
    tags: frozenset[str]
    updated_at: str


@dataclass
class World:
    """A house in which much is shared at random, and all that is known of it."""

    house: House
    people: dict[str, Person]
    groups: dict[int, int | None]
    kept: list[Kept]
    given: dict[tuple[int, int], str]
    """To whom (document, account) a share that holds gives what at the most, teams' members among them."""

    def within(self, name: str, kept: Kept) -> bool:
        """Whether somebody may do all with a document."""
        who, group_id = self.people[name].id, self.groups[self.people[name].id]
        same = name.startswith("chief") and group_id is not None and self.groups[kept.owner_id] == group_id
        return name == "boss" or kept.owner_id == who or same

    def access(self, name: str, kept: Kept) -> str | None:
        found = self.given.get((kept.id, self.people[name].id))
        return "full" if self.within(name, kept) else found and ("edit" if found == "edit" else "read")

    def expected(self, name: str, asked: dict[str, Any]) -> list[int]:
        """What a list shows. Where a document lies is known of those alone with which one may do all."""
        me, place = self.people[name].id, asked.get("folder_id")
        wanted = {tag.strip().casefold() for tag in asked.get("tags", "").split(",")}
        by_title = asked.get("sort") == "title"
        found = [
            (one.title.casefold() if by_title else one.updated_at, one.id)
            for one in self.kept
            if self.access(name, one)
            and asked.get("q", "").casefold() in f"{one.title}\n{one.text}".casefold()
            and ("tags" not in asked or {tag.casefold() for tag in one.tags} & wanted)
            and asked.get("owner_id") in (None, one.owner_id)
            and (place is None or (self.within(name, one) and (one.folder_id or 0) == place))
            and (asked.get("shared") != "false" or one.owner_id == me)
            and (asked.get("shared") != "true" or (one.owner_id != me and (one.id, me) in self.given and place is None))
        ]
        return [document_id for _, document_id in sorted(found, reverse=not by_title)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    pick = Random(7)
    with opened(tmp_path_factory.mktemp("world")) as house:
        near = {"name": "near", "permissions": [{"permission": "documents:admin", "reach": "group"}]}
        assert house.client.post("/api/v1/roles", json=near).status_code == 201
        north, south = (make_group(house.client, name, f"0000003{len(name)}") for name in ("North", "Southern"))
        cast = {"n1": north, "n2": north, "chief": north, "s1": south, "chief alone": None, "free": None, "boss": None}
        people, groups = {}, {}
        for name, group_id in cast.items():
            roles = ["super_admin"] if name == "boss" else ["user", *(["near"] if "chief" in name else [])]
            who = make_person(house.client, house.config, name.replace(" ", "-"), *roles, group_id=group_id)
            people[name], groups[who.id] = who, group_id
        folders = {name: folder(house, who)["id"] for name, who in people.items()}
        teams = [team(house, people["boss"], *pick.sample([*people.values()][:-1], 3)) for _ in range(3)]
        for _ in range(70):
            name = pick.choice([*people])
            title, text = (" ".join(pick.choices(["Red", "reD", "fox", "Ä", "漢字"], k=2)) for _ in range(2))
            tags = pick.sample(["A", "b", "C d"], pick.randrange(3))
            document(house, people[name], title, text, tags=tags, folder_id=pick.choice([None, folders[name]]))
        with sqlite3.connect(house.config.database_path) as outside:
            share_at_random(outside, pick, [who.id for who in people.values()], teams)
        outside.close()
        yield World(house, people, groups, known(house), given(house))


def share_at_random(outside: sqlite3.Connection, pick: Random, users: list[int], teams: list[int]) -> None:
    """Shares documents with anybody, as may come to be when people change their group."""
    ends = [None, None, "2000-01-01T00:00:00.000Z", "2999-01-01T00:00:00.000Z"]
    sql = "INSERT INTO document_shares (document_id, user_id, team_id, permission, expires_at, created_at)"
    for document_id, owner_id in outside.execute("SELECT id, owner_id FROM documents").fetchall():
        anybody = [(user_id, None) for user_id in users if user_id != owner_id] + [(None, team_id) for team_id in teams]
        for user_id, team_id in pick.sample(anybody, pick.choice([0, 0, 1, 1, 2, 4])):
            to = (
                document_id,
                user_id,
                team_id,
                pick.choice(PERMISSIONS),
                pick.choice(ends),
                "2026-01-01T00:00:00.000Z",
            )
            outside.execute(f"{sql} VALUES (?, ?, ?, ?, ?, ?)", to)


def known(house: House) -> list[Kept]:
    tags: dict[int, set[str]] = {}
    for row in house.rows("SELECT document_id, name FROM document_tags"):
        tags.setdefault(row["document_id"], set()).add(row["name"])
    sql = "SELECT id, owner_id, folder_id, title, content AS text, updated_at FROM documents JOIN document_texts"
    return [Kept(**row, tags=frozenset(tags.get(row["id"], ()))) for row in house.rows(f"{sql} ON id = document_id")]


def given(house: House) -> dict[tuple[int, int], str]:
    members = house.rows("SELECT team_id, user_id FROM team_members")
    found: dict[tuple[int, int], str] = {}
    for row in house.rows("SELECT * FROM document_shares WHERE expires_at IS NULL OR expires_at > '2900'"):
        team_of = [member["user_id"] for member in members if member["team_id"] == row["team_id"]]
        for user_id in [row["user_id"]] if row["team_id"] is None else team_of:
            key = (row["document_id"], user_id)
            found[key] = "edit" if "edit" in (row["permission"], found.get(key)) else row["permission"]
    return found


NAMES = ["n1", "chief", "s1", "chief alone", "free", "boss"]


@pytest.mark.parametrize("look", [service.LOOK, 3])
@pytest.mark.parametrize("name", NAMES)
def test_a_list_shows_what_an_oracle_says(world: World, monkeypatch: pytest.MonkeyPatch, name: str, look: int) -> None:
    """Whatever is asked, page after page, and its count; also when a search has to look at all there is."""
    monkeypatch.setattr(service, "LOOK", look)
    pick = Random(f"{name} {look}")
    owners, places = [*world.groups], [0, *{one.folder_id for one in world.kept if one.folder_id}]
    choices: dict[str, list[Any]] = {
        "q": ["red", "FOX", "ä", "漢", "d fox", "x\n", "zzz"],
        "tags": ["a", "B,c D", "no"],
    }
    choices |= {"shared": ["true", "false"], "owner_id": owners, "folder_id": places, "sort": ["title", "-updated_at"]}
    wrong = []
    for _ in range(60):
        asked = {what: pick.choice(of) for what, of in choices.items() if pick.random() < 0.4}
        expected = world.expected(name, asked)
        found = listed(world.house, world.people[name], "documents", **asked, limit=pick.choice([4, 100]))
        headers = world.people[name].headers
        answer = world.house.client.get(DOCUMENTS, params={**asked, "count": "true"}, headers=headers)
        counted = int(answer.headers["x-total-count"])
        if (found, counted) != (expected, len(expected)):
            wrong.append((asked, {"expected": expected, "found": found, "counted": counted}))
    assert wrong == []


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_listed_is_not_there(world: World, name: str) -> None:
    who, house = world.people[name], world.house
    for one in world.kept:
        access = world.access(name, one)
        assert sees(house, who, f"documents/{one.id}") == (access is not None)
        reading = [call(house, who, "GET", f"{one.id}/{what}").status_code for what in ("revisions", "revisions/1")]
        writing = call(house, who, "PATCH", str(one.id), {"title": one.title}).status_code
        assert reading == [{None: 404, "read": 403}.get(access, 200)] * 2
        assert writing == {None: 404, "read": 403, "edit": 200, "full": 200}[access]
    assert {access for one in world.kept if (access := world.access(name, one))} <= {"full", "edit", "read"}


@pytest.mark.parametrize("name", ["chief", "boss"])
def test_the_own_alone_are_the_own_alone_in_whatever_folder(world: World, name: str) -> None:
    """`shared=false`, asked for by who reaches others' folders too."""
    who = world.people[name]
    foreign = {
        one.folder_id for one in world.kept if one.folder_id and one.owner_id != who.id and world.within(name, one)
    }
    assert foreign
    for place in foreign:
        assert listed(world.house, who, "documents", folder_id=place, shared="false") == []


@pytest.mark.parametrize("asked", [{}, {"q": "e"}])
def test_what_a_colleague_shares_is_among_what_is_shared(
    house: House, north: dict[str, Person], asked: dict[str, str]
) -> None:
    """For who reaches it anyhow as for anybody else; list and count say the same."""
    owner, chief = north["owner"], north["chief"]
    one = document(house, owner)["id"]
    share(house, owner, f"documents/{one}", user_id=chief.id)
    answer = house.client.get(DOCUMENTS, params={**asked, "shared": "true", "count": "true"}, headers=chief.headers)
    ids = [row["id"] for row in answer.json()]
    assert (ids[0], answer.headers["x-total-count"]) == (one, str(len(ids)))
