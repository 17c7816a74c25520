"""Teams: who sees one, who changes it, whose it is when its owner hands it over or is gone."""

from collections.abc import Iterator
from functools import partial
from itertools import count
from typing import Any

import httpx2
import pytest

from tests.accounts import Person, bearer, make_account, make_group, make_person, sign_in
from tests.house import House
from tests.support import call_meanwhile, refusal
from tests.test_group_members import move
from tests.test_roles import at_once

TEAMS, USERS = "/api/v1/teams", "/api/v1/users"
_numbers = count(1)
Cast = dict[str, Person]


def cast(house: House) -> Cast:
    """People in two groups and in none; the tests move and delete only those that they make themselves."""
    client, config = house.client, house.config
    groups = {"north": make_group(client, "North", "00000001"), "south": make_group(client, "South", "00000002")}
    near = {"name": "near", "permissions": [{"permission": "teams:admin", "reach": "group"}]}
    assert client.post("/api/v1/roles", json=near).status_code == 201
    return {
        name: make_person(client, config, name.replace(" ", "-"), *roles, group_id=groups.get(group))
        for name, roles, group in (
            ("owner", ["user"], "north"),
            ("member", ["user"], "north"),
            ("colleague", ["user"], "north"),
            ("guest", ["guest"], "north"),
            ("group admin", ["admin"], "north"),
            ("lead", ["user", "near"], "north"),
            ("other group's user", ["user"], "south"),
            ("other group's admin", ["admin"], "south"),
            ("groupless", ["user"], ""),
            ("groupless too", ["user"], ""),
            ("groupless lead", ["user", "near"], ""),
            ("admin of all", ["admin"], ""),
        )
    }


@pytest.fixture(scope="module")
def people(house: House) -> Cast:
    return cast(house)


def team(house: House, owner: Person, *members: Person, **more: object) -> dict[str, Any]:
    """A team of this test alone, to whose members the super admin may add anybody."""
    answer = house.client.post(TEAMS, json={"name": "Sorters", **more}, headers=owner.headers)
    assert answer.status_code == 201, answer.text
    for person in members:
        answer = house.client.post(f"{TEAMS}/{answer.json()['id']}/members", json={"user_id": person.id})
        assert answer.status_code == 201, answer.text
    return dict(answer.json())


def member(house: House, group_id: int | None = None) -> Person:
    """Somebody of this test alone."""
    return make_person(house.client, house.config, f"player{next(_numbers)}", group_id=group_id)


def group_of(house: House, person: Person) -> int:
    group_id: int = house.client.get(f"{USERS}/{person.id}").json()["group_id"]
    return group_id


def members(house: House, team_id: int) -> list[tuple[int, str]]:
    """Who is in a team and as what, as the super admin sees it."""
    found = house.client.get(f"{TEAMS}/{team_id}").json()
    return [(entry["id"], entry["role"]) for entry in found["members"]]


def listed(house: House, headers: dict[str, str] | None = None) -> list[int]:
    answer = house.client.get(TEAMS, params={"limit": 1000}, headers=headers)
    assert answer.status_code == 200, answer.text
    return [entry["id"] for entry in answer.json()]


def test_a_team_is_made_shown_listed_changed_and_deleted(house: House, people: Cast) -> None:
    client, owner = house.client, people["owner"]
    answer = client.post(TEAMS, json={"name": "Sorters", "description": "Two\nlines"}, headers=owner.headers)
    made = answer.json()
    path = f"{TEAMS}/{made['id']}"
    assert (answer.status_code, answer.headers["location"], answer.headers["etag"]) == (201, path, '"1"')
    own = {"id": owner.id, "username": "owner", "name": "owner", "role": "owner", "joined_at": made["created_at"]}
    assert made == {
        **{"id": made["id"], "name": "Sorters", "description": "Two\nlines", "revision": 1, "member_count": 1},
        **{"owner_id": owner.id, "owner_name": "owner", "members": [own]},
        **{"created_at": made["created_at"], "updated_at": made["created_at"]},
    }
    shown = client.get(path, headers=owner.headers)
    assert (shown.status_code, shown.json(), shown.headers["etag"]) == (200, made, '"1"')
    (entry,) = [entry for entry in client.get(TEAMS, headers=owner.headers).json() if entry["id"] == made["id"]]
    assert entry == {name: value for name, value in made.items() if name != "members"}
    changed = client.patch(path, json={"description": ""}, headers=owner.headers)
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    assert changed.json() == {**made, "description": "", "revision": 2, "updated_at": changed.json()["updated_at"]}
    gone = client.delete(path, headers=owner.headers)
    assert (gone.status_code, gone.content) == (204, b"")
    for answer in (client.get(path), client.patch(path, json={"name": "x"}), client.delete(path)):
        assert refusal(answer, 404, "NOT_FOUND")["detail"] == "No such team."
    assert house.rows("SELECT * FROM team_members WHERE team_id = ?", made["id"]) == []
    assert team(house, owner)["id"] > made["id"]


TEXTS = ["O'Brien", '"', "100%", "_", "\\", "'; DROP TABLE teams; --", "🔬", "\u202eabc", "x" * 100, "🔬" * 100, " "]


@pytest.mark.parametrize("name", TEXTS)
def test_a_name_is_kept_as_it_was_written_and_is_nobodys_alone(house: House, people: Cast, name: str) -> None:
    first, second = (team(house, people["owner"], name=name, description=name) for _ in range(2))
    shown = house.client.get(f"{TEAMS}/{second['id']}", headers=people["owner"].headers).json()
    assert (shown["name"], shown["description"]) == (first["name"], first["description"]) == (name, name)


NAMES: tuple[object, ...] = ("", "x" * 101, "a\nb", "a\n", "\t", "\x7f", "a\u2028b", "a\0b", None, 5, ["x"], {}, True)
DESCRIPTIONS: tuple[object, ...] = ("x" * 1001, "a\0b", None, 5, [])
BAD = [
    *(("name", name) for name in NAMES),
    *(("description", description) for description in DESCRIPTIONS),
    *((field, 1) for field in ("id", "members", "member_count", "owner_name", "revision", "group_id", "Name", "")),
]
OWNERS: tuple[object, ...] = (0, -1, "1", None, 1.5, True, 10**18, 10**30, [1])


@pytest.mark.parametrize(("field", "value"), BAD)
def test_a_bad_field_is_named_and_nothing_is_written(house: House, people: Cast, field: str, value: object) -> None:
    client, owner = house.client, people["owner"].headers
    path = f"{TEAMS}/{team(house, people['owner'])['id']}"
    before = house.rows("SELECT * FROM teams")
    for answer in (
        client.post(TEAMS, json={"name": "Sorters", field: value}, headers=owner),
        client.patch(path, json={field: value}, headers=owner),
    ):
        assert refusal(answer, 400, "VALIDATION_ERROR")["errors"][0]["field"] == f"/{field}"
    assert house.rows("SELECT * FROM teams") == before


@pytest.mark.parametrize("value", OWNERS)
def test_an_owner_is_named_by_an_id(house: House, people: Cast, value: object) -> None:
    """And never when a team is made: it is its maker's."""
    client, owner = house.client, people["owner"].headers
    path = f"{TEAMS}/{team(house, people['owner'])['id']}"
    for answer in (
        client.post(TEAMS, json={"name": "Sorters", "owner_id": value}, headers=owner),
        client.patch(path, json={"owner_id": value}, headers=owner),
    ):
        assert refusal(answer, 400, "VALIDATION_ERROR")["errors"][0]["field"] == "/owner_id"


def test_a_new_team_has_a_name(house: House) -> None:
    document = refusal(house.client.post(TEAMS, json={}), 400, "VALIDATION_ERROR")
    assert document["errors"] == [{"field": "/name", "message": "required, and missing"}]


def calls(house: House, headers: dict[str, str], team_id: int, someone: int) -> Iterator[tuple[str, httpx2.Response]]:
    """One of each, the last of which deletes the team."""
    client, path = house.client, f"{TEAMS}/{team_id}"
    yield "see", client.get(path, headers=headers)
    yield "change", client.patch(path, json={"name": "Taken"}, headers=headers)
    yield "add", client.post(f"{path}/members", json={"user_id": someone}, headers=headers)
    yield "put out", client.delete(f"{path}/members/{someone}", headers=headers)
    yield "delete", client.delete(path, headers=headers)


MAY: dict[str, tuple[int, int]] = {
    "owner": (200, 200),
    "member": (200, 403),
    "colleague": (404, 404),
    "guest": (403, 403),
    "group admin": (200, 200),
    "lead": (200, 200),
    "other group's user": (404, 404),
    "other group's admin": (404, 404),
    "groupless": (404, 404),
    "groupless lead": (404, 404),
    "admin of all": (200, 200),
}
"""What becomes of looking at a team of the group North, and of changing it."""


@pytest.mark.parametrize("who", MAY)
def test_who_sees_a_team_and_who_changes_it(house: House, people: Cast, who: str) -> None:
    """Whoever is outside is told what is told of a team that is none."""
    someone = make_account(house.config, group_of(house, people["owner"]))
    made = team(house, people["owner"], people["member"], people["guest"])
    house.client.post(f"{TEAMS}/{made['id']}/members", json={"user_id": someone})
    before = house.client.get(f"{TEAMS}/{made['id']}").json()
    headers, (look, change) = people[who].headers, MAY[who]
    assert look == 403 or (made["id"] in listed(house, headers)) is (look == 200)
    for what, answer in calls(house, headers, made["id"], someone):
        status = look if what == "see" else change
        if status == 200:
            assert answer.is_success, (what, answer.text)
        elif status == 404:
            assert refusal(answer, 404, "NOT_FOUND")["detail"] == "No such team."
        else:
            needed = {"see": "teams:read", "delete": "teams:delete"}.get(what, "teams:write")
            assert refusal(answer, 403, "FORBIDDEN")["required"] == [needed]
    if change != 200:
        assert house.client.get(f"{TEAMS}/{made['id']}").json() == before
    for _, answer in calls(house, headers, 10**17, someone):
        refusal(answer, 403 if who == "guest" else 404)


@pytest.mark.parametrize(("owner", "who"), [("owner", "other group's admin"), ("groupless", "groupless lead")])
def test_who_leads_another_group_or_none_is_a_member_like_any_other(
    house: House, people: Cast, owner: str, who: str
) -> None:
    """To have no group is not to share one with the owner."""
    made, headers = team(house, people[owner], people[who], people["member"]), people[who].headers
    for what, answer in calls(house, headers, made["id"], people["member"].id):
        if what == "see":
            assert answer.status_code == 200, answer.text
        else:
            refusal(answer, 403, "FORBIDDEN")
    left = house.client.delete(f"{TEAMS}/{made['id']}/members/{people[who].id}", headers=headers)
    assert left.status_code == 204
    refusal(house.client.get(f"{TEAMS}/{made['id']}", headers=headers), 404, "NOT_FOUND")


def test_a_stranger_learns_nothing_of_teams(house: House, people: Cast) -> None:
    made = team(house, people["owner"])
    nobody = {"Authorization": ""}
    for team_id in (made["id"], 10**17):
        for _, answer in calls(house, nobody, team_id, 1):
            refusal(answer, 401, "UNAUTHORIZED")
    refusal(house.client.get(TEAMS, headers=nobody), 401)
    refusal(house.client.post(TEAMS, json={"name": "x"}, headers=nobody), 401)
    assert house.client.get(f"{TEAMS}/{made['id']}").json() == made


@pytest.mark.parametrize("team_id", ["1" + "0" * 17, "1" + "0" * 18, "0", "-1", "x", "1%00"])
def test_there_is_no_such_team(house: House, team_id: str) -> None:
    client, path = house.client, f"{TEAMS}/{team_id}"
    refusal(client.get(path), 404, "NOT_FOUND")
    refusal(client.patch(path, json={"name": "x"}), 404, "NOT_FOUND")
    refusal(client.delete(path), 404, "NOT_FOUND")
    refusal(client.post(f"{path}/members", json={"user_id": 1}), 404, "NOT_FOUND")
    refusal(client.delete(f"{path}/members/1"), 404, "NOT_FOUND")


def test_a_team_that_has_changed_meanwhile_is_neither_changed_nor_deleted(house: House, people: Cast) -> None:
    """Its members are a part of it."""
    client, owner = house.client, people["owner"].headers
    path = f"{TEAMS}/{team(house, people['owner'], people['member'])['id']}"
    for method, body in (("PATCH", {"name": "x"}), ("DELETE", None)):
        answer = client.request(method, path, json=body, headers={**owner, "If-Match": '"1"'})
        assert refusal(answer, 412, "PRECONDITION_FAILED")["revision"] == 2
    assert client.patch(path, json={"name": "x"}, headers={**owner, "If-Match": '"2"'}).headers["etag"] == '"3"'
    assert client.delete(f"{path}/members/{people['member'].id}", headers=owner).status_code == 204
    refusal(client.delete(path, headers={**owner, "If-Match": '"3"'}), 412)
    assert client.delete(path, headers={**owner, "If-Match": '"4"'}).status_code == 204


def test_a_token_changes_teams_as_far_as_its_scopes_go(house: House, people: Cast) -> None:
    for scope, statuses in (
        ("teams:read", [200, 403, 403, 403, 403]),
        ("teams:write", [200, 200, 201, 204, 403]),
        ("teams:delete", [200, 200, 201, 204, 204]),
        ("users:write", [403] * 5),
    ):
        made = team(house, people["owner"])
        headers = house.token(people["owner"], scope)
        answers = dict(calls(house, headers, made["id"], people["colleague"].id))
        assert [answer.status_code for answer in answers.values()] == statuses
        needed = {"see": "teams:read", "delete": "teams:delete"}
        for what, answer in answers.items():
            assert answer.headers["x-accepted-scopes"] == needed.get(what, "teams:write")


def test_an_owner_hands_a_team_over_to_a_member_and_stays_in_it(house: House, people: Cast) -> None:
    client, owner, other = house.client, people["owner"], people["member"]
    path = f"{TEAMS}/{team(house, owner, other)['id']}"
    handed = client.patch(path, json={"owner_id": other.id}, headers=owner.headers)
    assert (handed.status_code, handed.json()["owner_id"], handed.json()["owner_name"]) == (200, other.id, "member")
    assert [(entry["id"], entry["role"]) for entry in handed.json()["members"]] == [
        (owner.id, "member"),
        (other.id, "owner"),
    ]
    refusal(client.patch(path, json={"owner_id": owner.id}, headers=owner.headers), 403, "FORBIDDEN")
    assert client.get(path, headers=owner.headers).status_code == 200
    assert client.patch(path, json={"name": "Mine"}, headers=other.headers).status_code == 200


def test_a_team_is_handed_over_to_a_member_only(house: House, people: Cast) -> None:
    made = team(house, people["owner"], people["member"])
    for who in ("owner", "group admin", "admin of all"):
        for user_id in (people["colleague"].id, people["other group's user"].id, people["group admin"].id, 1, 10**17):
            answer = house.client.patch(
                f"{TEAMS}/{made['id']}", json={"owner_id": user_id}, headers=people[who].headers
            )
            assert refusal(answer, 400, "VALIDATION_ERROR")["errors"] == [
                {
                    "field": "/owner_id",
                    "message": "expected the id of one of the team's members, with an active account",
                }
            ]
    assert house.client.get(f"{TEAMS}/{made['id']}").json() == made


def test_a_team_goes_with_its_owner_from_one_groups_admin_to_anothers(house: House, people: Cast) -> None:
    south = people["other group's user"]
    made = team(house, people["owner"], south)
    path = f"{TEAMS}/{made['id']}"
    admins = [people["group admin"].headers, people["other group's admin"].headers]
    assert [house.client.get(path, headers=headers).status_code for headers in admins] == [200, 404]
    assert house.client.patch(path, json={"owner_id": south.id}).status_code == 200
    assert [house.client.get(path, headers=headers).status_code for headers in admins] == [404, 200]
    assert house.client.get(path, headers=people["owner"].headers).status_code == 200
    refusal(house.client.delete(path, headers=admins[0]), 404, "NOT_FOUND")


def test_who_leaves_as_a_team_is_handed_over_to_them_does_not_own_it_from_outside(house: House, people: Cast) -> None:
    for _ in range(10):
        owner, heir = people["owner"], people["member"]
        path = f"{TEAMS}/{team(house, owner, heir)['id']}"
        handed, left = at_once(
            partial(house.client.patch, path, json={"owner_id": heir.id}, headers=owner.headers),
            partial(house.client.delete, f"{path}/members/{heir.id}", headers=heir.headers),
        )
        assert (handed.status_code, left.status_code) in [(200, 409), (400, 204)]
        found = house.client.get(path).json()
        assert found["owner_id"] in [entry["id"] for entry in found["members"]]


def test_the_member_of_longest_standing_owns_a_team_whose_owners_account_is_deleted(house: House, people: Cast) -> None:
    """Not who has the lowest id; and manages it from then on."""
    client, group_id = house.client, group_of(house, people["owner"])
    second, first, owner = member(house, group_id), member(house, group_id), member(house, group_id)
    made = team(house, owner, first, second)
    path = f"{TEAMS}/{made['id']}"
    for gone, heir, left in ((owner, first, [first, second]), (first, second, [second])):
        assert client.delete(f"{USERS}/{gone.id}").status_code == 204
        found = client.get(path, headers=heir.headers).json()
        assert (found["owner_id"], found["owner_name"], found["member_count"]) == (heir.id, heir.username, len(left))
        assert members(house, made["id"]) == [(who.id, "owner" if who is heir else "member") for who in left]
        (entry,) = house.client.get(TEAMS, headers=heir.headers).json()
        assert entry == {name: value for name, value in found.items() if name != "members"}
        added = client.post(f"{path}/members", json={"user_id": people["colleague"].id}, headers=heir.headers)
        assert added.status_code == 201
        assert client.delete(f"{path}/members/{people['colleague'].id}", headers=heir.headers).status_code == 204
        refusal(client.delete(f"{path}/members/{heir.id}", headers=heir.headers), 409, "CONFLICT")
    assert client.patch(path, json={"name": "Kept"}, headers=second.headers).json()["owner_id"] == second.id


def test_a_team_with_nobody_left_is_none(house: House, people: Cast) -> None:
    """For everybody; its row goes when the next team is made, and its id comes to no other."""
    client, owner, other = house.client, member(house), member(house)
    made = team(house, owner, other)
    total = client.get(TEAMS, params={"count": True}).headers["x-total-count"]
    ids = [owner.id, other.id]
    assert client.post(f"{USERS}/batch-delete", json={"ids": ids}).json() == {"deleted_count": 2}
    for headers in (client.headers, people["admin of all"].headers, people["group admin"].headers):
        for _, answer in calls(house, dict(headers), made["id"], 1):
            assert refusal(answer, 404, "NOT_FOUND")["detail"] == "No such team."
        assert made["id"] not in listed(house, dict(headers))
    assert int(client.get(TEAMS, params={"count": True}).headers["x-total-count"]) == int(total) - 1
    assert team(house, people["owner"])["id"] > made["id"]
    assert house.rows("SELECT * FROM teams WHERE id = ?", made["id"]) == []


def test_an_owner_who_moves_takes_the_team_along_and_one_who_is_suspended_keeps_it(house: House, people: Cast) -> None:
    client, owner, south = house.client, member(house, group_of(house, people["owner"])), people["other group's admin"]
    path = f"{TEAMS}/{team(house, owner, people['member'])['id']}"
    assert move(house, owner.id, group_of(house, south)).status_code == 200
    refusal(client.get(path, headers=people["group admin"].headers), 404, "NOT_FOUND")
    assert client.patch(path, json={"name": "Ours"}, headers=south.headers).status_code == 200
    assert client.get(path, headers=people["member"].headers).json()["owner_id"] == owner.id
    assert client.patch(f"{USERS}/{owner.id}/status", json={"status": "suspended"}).status_code == 200
    assert client.get(path, headers=people["member"].headers).json()["owner_id"] == owner.id
    assert client.patch(path, json={"owner_id": people["member"].id}, headers=south.headers).status_code == 200
    assert client.patch(f"{USERS}/{owner.id}/status", json={"status": "active"}).status_code == 200
    again = bearer(sign_in(client, owner.username)["access_token"])
    assert client.get(path, headers=again).status_code == 200
    refusal(client.patch(path, json={"name": "x"}, headers=again), 403, "FORBIDDEN")


def test_a_team_that_is_made_while_its_makers_account_goes_is_none(house: House) -> None:
    """The maker was let in; when the team would be made, there is nobody to own it."""
    una = member(house)
    before = house.rows("SELECT id FROM teams")
    gone = partial(house.client.delete, f"{USERS}/{una.id}")
    answer = call_meanwhile(house.client, "POST", TEAMS, [b'{"name": "Orphans"}'], una.headers, gone)
    refusal(answer, answer.status_code)
    assert answer.status_code in (401, 403, 404, 409)
    assert house.rows("SELECT id FROM teams") == before


def test_the_trail_tells_of_every_change_and_of_no_refusal(house: House, people: Cast) -> None:
    client, owner, other = house.client, people["owner"], people["member"]
    made = team(house, owner)
    path, target = f"{TEAMS}/{made['id']}", f"teams/{made['id']}"
    assert client.post(f"{path}/members", json={"user_id": other.id}, headers=owner.headers).status_code == 201
    refusal(client.patch(path, json={"name": "x"}, headers=other.headers), 403)
    refusal(client.post(f"{path}/members", json={"user_id": 10**17}, headers=owner.headers), 404)
    refusal(client.delete(f"{path}/members/{owner.id}", headers=owner.headers), 409)
    assert client.patch(path, json={"name": "x"}, headers=owner.headers).status_code == 200
    assert client.delete(f"{path}/members/{other.id}", headers=other.headers).status_code == 204
    assert client.delete(path).status_code == 204
    found = house.rows(
        "SELECT * FROM audit WHERE kind = 'change' AND (target = ? OR target LIKE ?) ORDER BY id", target, f"{target}/%"
    )
    assert [(row["action"], row["target"], row["actor_id"], row["status"]) for row in found] == [
        ("teams.create", target, owner.id, 201),
        ("teams.add_member", f"{target}/members/{other.id}", owner.id, 201),
        ("teams.update", target, owner.id, 200),
        ("teams.remove_member", f"{target}/members/{other.id}", other.id, 204),
        ("teams.delete", target, 1, 204),
    ]


def test_pages_hold_every_team_once_while_others_come_and_go(house: House, people: Cast) -> None:
    """Only those that the caller is in, whatever lies between them."""
    client, una = house.client, member(house, group_of(house, people["owner"]))
    stay = set()
    for index in range(6):
        stay.add(team(house, una)["id"] if index % 2 else team(house, people["owner"], una)["id"])
        team(house, people["owner"])
    answer = client.get(TEAMS, params={"limit": 2, "count": True}, headers=una.headers)
    assert answer.headers["x-total-count"] == "6"
    seen = [entry["id"] for entry in answer.json()]
    while "next" in answer.links:
        if len(seen) < 12:
            client.delete(f"{TEAMS}/{team(house, una)['id']}")
            stay.add(team(house, una)["id"])
        client.delete(f"{TEAMS}/{seen[-1]}")
        answer = client.get(answer.links["next"]["url"], headers=una.headers)
        seen += [entry["id"] for entry in answer.json()]
        assert len(seen) < 50
    assert seen == sorted(set(seen))
    assert stay <= set(seen)
