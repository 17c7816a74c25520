"""Who is in a team: whom its owner may take in, who leaves, how many there may be."""

import sqlite3
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from app.config import Config
from app.main import Purser
from tests.accounts import Person, bearer, make_account, make_group, sign_in
from tests.house import House
from tests.support import refusal
from tests.test_group_members import move
from tests.test_roles import at_once
from tests.test_teams import TEAMS, USERS, Cast, cast, group_of, listed, member, members, team

MOST = 1_000
_numbers = count(30_000_000)


@pytest.fixture(scope="module")
def people(house: House) -> Cast:
    return cast(house)


def add(house: House, team_id: int, headers: dict[str, str], /, **who: object) -> httpx2.Response:
    return house.client.post(f"{TEAMS}/{team_id}/members", json=who, headers=headers)


def put_out(house: House, team_id: int, user_id: int, headers: dict[str, str]) -> httpx2.Response:
    return house.client.delete(f"{TEAMS}/{team_id}/members/{user_id}", headers=headers)


def username(house: House, user_id: int) -> str:
    found: str = house.client.get(f"{USERS}/{user_id}").json()["username"]
    return found


def fill(house: House, team_id: int, wanted: int) -> list[int]:
    """Takes new accounts into a team from outside until it has so many members: their ids."""
    at = "2026-11-21T00:00:00.000Z"
    with sqlite3.connect(house.config.database_path) as outside:
        have = outside.execute("SELECT count(*) FROM team_members WHERE team_id = ?", (team_id,)).fetchone()[0]
        names = [f"crowd{next(_numbers)}" for _ in range(wanted - have)]
        outside.executemany(
            "INSERT INTO users (username, username_key, status, role, created_at, updated_at)"
            " VALUES (?1, ?1, 'active', 'user', ?2, ?2)",
            [(name, at) for name in names],
        )
        outside.executemany(
            "INSERT INTO team_members (team_id, user_id, joined_at)"
            " SELECT ?1, id, ?2 FROM users WHERE username_key = ?3",
            [(team_id, at, name) for name in names],
        )
    outside.close()
    found = house.rows("SELECT user_id FROM team_members WHERE team_id = ? ORDER BY id", team_id)
    return [row["user_id"] for row in found[have:]]


def test_a_member_joins_sees_the_team_and_leaves(house: House, people: Cast) -> None:
    owner, other = people["owner"], people["member"]
    made = team(house, owner)
    path = f"{TEAMS}/{made['id']}"
    answer = add(house, made["id"], owner.headers, user_id=other.id)
    assert (answer.status_code, answer.headers["location"], answer.headers["etag"]) == (201, path, '"2"')
    joined = answer.json()["members"][1]
    assert joined == {
        **{"id": other.id, "username": "member", "name": "member", "role": "member"},
        **{"joined_at": answer.json()["updated_at"]},
    }
    assert (answer.json()["member_count"], answer.json()["members"][0]) == (2, made["members"][0])
    assert house.client.get(path, headers=other.headers).json() == answer.json()
    assert made["id"] in listed(house, other.headers)
    left = put_out(house, made["id"], other.id, other.headers)
    assert (left.status_code, left.content) == (204, b"")
    assert refusal(house.client.get(path, headers=other.headers), 404, "NOT_FOUND")["detail"] == "No such team."
    assert made["id"] not in listed(house, other.headers)
    assert house.client.get(path, headers=owner.headers).json()["revision"] == 3


def test_somebody_is_named_by_id_or_by_username_without_regard_to_case(house: House, people: Cast) -> None:
    owner = people["owner"]
    for who in ({"username": "MEMBER"}, {"username": "ｍｅｍｂｅｒ"}, {"user_id": people["member"].id}):
        made = team(house, owner)
        assert add(house, made["id"], owner.headers, **who).status_code == 201
        assert members(house, made["id"]) == [(owner.id, "owner"), (people["member"].id, "member")]
    for name in ("member@example.com", "member ", "%", "member' OR '1'='1", "member\n", "x" * 100):
        answer = add(house, made["id"], owner.headers, username=name)
        assert refusal(answer, 404, "NOT_FOUND")["detail"] == "No such user."


IDS: tuple[object, ...] = (0, -1, "1", 1.5, True, 10**18, 10**30, [1])
USERNAMES: tuple[object, ...] = ("", "x" * 101, "a\0b", 5, ["x"])


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "user_id"),
        ({"user_id": None}, "user_id"),
        ({"user_id": None, "username": None}, "user_id"),
        ({"user_id": 1, "username": "admin"}, "user_id"),
        *(({"user_id": user_id}, "user_id") for user_id in IDS),
        *(({"username": name}, "username") for name in USERNAMES),
        *(({"username": "member", field: 1}, field) for field in ("role", "team_id", "id", "members")),
    ],
)
def test_a_member_is_named_once(house: House, people: Cast, given: dict[str, Any], field: str) -> None:
    made = team(house, people["owner"])
    document = refusal(add(house, made["id"], people["owner"].headers, **given), 400, "VALIDATION_ERROR")
    assert document["errors"][0]["field"] == f"/{field}"
    assert members(house, made["id"]) == [(people["owner"].id, "owner")]


WITH: dict[str, set[str]] = {
    "owner": {"north", "north admin"},
    "group admin": {"north", "north admin"},
    "lead": {"north", "north admin"},
    "admin of all": {"north", "north admin", "south", "groupless", "super admin"},
}
"""Whom each may take into a team of the group North; nobody takes in who is not active, or not there."""


@pytest.mark.parametrize("who", WITH)
def test_whom_one_may_take_in(house: House, people: Cast, who: str) -> None:
    """All others look like nobody, so that no one learns by trying who else there is."""
    config, north, south = house.config, group_of(house, people["owner"]), group_of(house, people["other group's user"])
    candidates = {
        "north": make_account(config, north),
        "north admin": make_account(config, north, role="admin"),
        "south": make_account(config, south),
        "groupless": make_account(config),
        "super admin": 1,
        **{status: make_account(config, north, status=status) for status in ("pending", "inactive", "suspended")},
        "suspended elsewhere": make_account(config, south, status="suspended"),
    }
    made, headers = team(house, people["owner"]), people[who].headers
    for name, user_id in candidates.items():
        for given in ({"user_id": user_id}, {"username": username(house, user_id)}):
            answer = add(house, made["id"], headers, **given)
            if name in WITH[who]:
                assert answer.status_code == 201, (name, answer.text)
            else:
                assert refusal(answer, 404, "NOT_FOUND")["detail"] == "No such user.", name
    for given in ({"user_id": 10**17}, {"username": "nobody-of-this-name"}):
        assert refusal(add(house, made["id"], headers, **given), 404, "NOT_FOUND")["detail"] == "No such user."
    found = {user_id for user_id, _ in members(house, made["id"])}
    assert found == {people["owner"].id, *(candidates[name] for name in WITH[who])}


def test_who_has_no_group_shares_with_those_who_have_none(house: House, people: Cast) -> None:
    """An admin's reach is not the owner's: a token that may not look at users takes in whom anybody takes in."""
    owner = people["groupless"]
    made = team(house, owner)
    assert add(house, made["id"], owner.headers, user_id=people["groupless too"].id).status_code == 201
    for name in ("member", "group admin", "other group's user"):
        assert refusal(add(house, made["id"], owner.headers, user_id=people[name].id), 404)["detail"] == "No such user."
    narrow = house.token(people["admin of all"], "teams:write")
    refusal(add(house, made["id"], narrow, user_id=people["member"].id), 404, "NOT_FOUND")
    wide = house.token(people["admin of all"], "teams:write", "users:read")
    assert add(house, made["id"], wide, user_id=people["member"].id).status_code == 201


def test_who_is_in_a_team_already_stays_as_they_are(house: House, people: Cast) -> None:
    owner, other = people["owner"], people["member"]
    made = team(house, owner, other)
    before = house.client.get(f"{TEAMS}/{made['id']}").json()
    for person in (owner, other):
        again = add(house, made["id"], owner.headers, user_id=person.id)
        assert (again.status_code, again.json()) == (201, before)


def test_who_is_taken_in_twenty_times_at_once_is_in_once(house: House, people: Cast) -> None:
    made = team(house, people["owner"])
    answers = at_once(*[partial(add, house, made["id"], people["owner"].headers, user_id=people["member"].id)] * 20)
    assert {answer.status_code for answer in answers} == {201}
    assert members(house, made["id"]) == [(people["owner"].id, "owner"), (people["member"].id, "member")]
    assert house.client.get(f"{TEAMS}/{made['id']}").json()["revision"] == 2


def test_who_leaves_twenty_times_at_once_has_left_once(house: House, people: Cast) -> None:
    made = team(house, people["owner"], people["member"])
    answers = at_once(*[partial(put_out, house, made["id"], people["member"].id, people["owner"].headers)] * 20)
    assert sorted(answer.status_code for answer in answers) == [204, *[404] * 19]
    assert house.client.get(f"{TEAMS}/{made['id']}").json()["revision"] == 3


def test_an_owner_does_not_leave_and_is_not_put_out(house: House, people: Cast) -> None:
    owner = people["owner"]
    made = team(house, owner, people["member"])
    for who in ("owner", "group admin", "admin of all"):
        answer = put_out(house, made["id"], owner.id, people[who].headers)
        assert refusal(answer, 409, "CONFLICT")["state"] == "owner"
    refusal(put_out(house, made["id"], owner.id, people["member"].headers), 403, "FORBIDDEN")
    assert members(house, made["id"])[0] == (owner.id, "owner")


def test_who_is_not_in_a_team_is_not_put_out(house: House, people: Cast) -> None:
    made = team(house, people["owner"], people["member"])
    for user_id in (people["colleague"].id, people["other group's user"].id, 1, 10**17):
        answer = put_out(house, made["id"], user_id, people["owner"].headers)
        assert refusal(answer, 404, "NOT_FOUND")["detail"] == "There is no such member."
    assert len(members(house, made["id"])) == 2


def test_an_admin_who_is_in_no_team_has_none_to_leave(house: House, people: Cast) -> None:
    made = team(house, people["owner"])
    admin = people["group admin"]
    refusal(put_out(house, made["id"], admin.id, admin.headers), 404, "NOT_FOUND")


def test_a_team_has_a_thousand_members_at_most(house: House, people: Cast) -> None:
    """Who is in it already is no one more, and who leaves makes room."""
    owner, headers = people["owner"], people["owner"].headers
    north = group_of(house, owner)
    made = team(house, owner)
    fill(house, made["id"], MOST - 1)
    inside, outside = make_account(house.config, north), make_account(house.config, north)
    answer = add(house, made["id"], headers, user_id=inside)
    assert (answer.status_code, answer.json()["member_count"], len(answer.json()["members"])) == (201, MOST, MOST)
    for who in (people["owner"], people["admin of all"]):
        document = refusal(add(house, made["id"], who.headers, user_id=outside), 409, "CONFLICT")
        assert document["member_count"] == MOST
    assert add(house, made["id"], headers, user_id=inside).json() == answer.json()
    assert put_out(house, made["id"], inside, headers).status_code == 204
    assert add(house, made["id"], headers, user_id=outside).status_code == 201
    assert len(members(house, made["id"])) == MOST


def test_of_twenty_who_join_at_once_the_last_place_is_one_ones(house: House, people: Cast) -> None:
    made, headers = team(house, people["owner"]), people["owner"].headers
    fill(house, made["id"], MOST - 1)
    joining = [make_account(house.config, group_of(house, people["owner"])) for _ in range(20)]
    answers = at_once(*(partial(add, house, made["id"], headers, user_id=user_id) for user_id in joining))
    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 19]
    assert house.rows("SELECT count(*) AS n FROM team_members WHERE team_id = ?", made["id"]) == [{"n": MOST}]


def test_a_deleted_account_is_in_no_team(house: House, people: Cast) -> None:
    gone = member(house, group_of(house, people["owner"]))
    teams = [team(house, people["owner"], gone)["id"] for _ in range(2)]
    assert house.client.delete(f"{USERS}/{gone.id}").status_code == 204
    for team_id in teams:
        assert members(house, team_id) == [(people["owner"].id, "owner")]
        assert house.client.get(f"{TEAMS}/{team_id}").json()["member_count"] == 1
    assert house.rows("SELECT * FROM team_members WHERE user_id = ?", gone.id) == []


def test_a_member_who_moves_to_another_group_stays_until_put_out(house: House, people: Cast) -> None:
    """And is not taken in again by who does not reach them."""
    client, una = house.client, member(house, group_of(house, people["owner"]))
    made = team(house, people["owner"], una)
    assert move(house, una.id, make_group(client, "Away", str(next(_numbers)))).status_code == 200
    headers = bearer(sign_in(client, una.username)["access_token"])
    assert client.get(f"{TEAMS}/{made['id']}", headers=headers).status_code == 200
    assert add(house, made["id"], people["owner"].headers, user_id=people["member"].id).status_code == 201
    assert put_out(house, made["id"], una.id, people["owner"].headers).status_code == 204
    refusal(client.get(f"{TEAMS}/{made['id']}", headers=headers), 404, "NOT_FOUND")
    refusal(add(house, made["id"], people["owner"].headers, user_id=una.id), 404, "NOT_FOUND")


def test_a_member_whose_group_is_deleted_stays_and_leads_nothing(house: House, people: Cast) -> None:
    """Its admin saw the teams of its people, and is a user who sees the own ones."""
    client = house.client
    group_id = make_group(client, "Away", str(next(_numbers)))
    una, nora = member(house, group_id), member(house, group_id)
    assert client.put(f"{USERS}/{nora.id}/roles", json={"roles": ["admin"]}).status_code == 200
    token = house.token(Person(nora.id, nora.username, sign_in(client, nora.username)))
    theirs, shared = team(house, una), team(house, una, nora)
    assert listed(house, token) == [theirs["id"], shared["id"]]
    assert client.delete(f"/api/v1/groups/{group_id}").status_code == 204
    assert listed(house, token) == [shared["id"]]
    refusal(client.get(f"{TEAMS}/{theirs['id']}", headers=token), 404, "NOT_FOUND")
    refusal(client.patch(f"{TEAMS}/{shared['id']}", json={"name": "x"}, headers=token), 403, "FORBIDDEN")


def test_a_suspended_member_stays_and_sees_nothing_until_active_again(house: House, people: Cast) -> None:
    client, una = house.client, member(house, group_of(house, people["owner"]))
    made = team(house, people["owner"], una)
    path, token = f"{TEAMS}/{made['id']}", house.token(una)
    assert client.patch(f"{USERS}/{una.id}/status", json={"status": "suspended"}).status_code == 200
    refusal(client.get(path, headers=token), 401, "UNAUTHORIZED")
    assert members(house, made["id"])[1] == (una.id, "member")
    assert client.patch(f"{USERS}/{una.id}/status", json={"status": "active"}).status_code == 200
    assert client.get(path, headers=token).status_code == 200


def test_a_call_costs_as_many_statements_with_many_teams_and_members_as_with_one(
    client: TestClient, app: Purser, config: Config
) -> None:
    def statements(*calls: Callable[[], httpx2.Response]) -> list[tuple[str, int]]:
        heard: list[tuple[str, int]] = []
        names = {"page", "count", "get", "create", "update", "add_member", "remove_member"}
        app.state.db.observe = lambda name, number, _: heard.append((name, number)) if name in names else None
        for call in calls:
            assert call().is_success
        app.state.db.observe = None
        return heard

    path = f"{TEAMS}/{client.post(TEAMS, json={'name': 'One'}).json()['id']}"
    seen = []
    for _ in range(2):
        someone = make_account(config)
        seen.append(
            statements(
                partial(client.get, TEAMS, params={"limit": 1000, "count": True}),
                partial(client.get, path),
                partial(client.post, TEAMS, json={"name": "Another"}),
                partial(client.patch, path, json={"name": "Two"}),
                partial(client.post, f"{path}/members", json={"user_id": someone}),
                partial(client.delete, f"{path}/members/{someone}"),
            )
        )
        for _ in range(30):
            client.post(TEAMS, json={"name": "More"})
            client.post(f"{path}/members", json={"user_id": make_account(config)})
    assert seen[0] == seen[1]
    assert len(seen[0]) == 7
