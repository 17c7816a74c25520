"""Who belongs to a group: moved by super admins, let go when the group is deleted, and nobody's reach grows by it."""

from functools import partial
from itertools import count
from typing import Any

import httpx2
import pytest

from tests.accounts import PASSWORD, Person, bearer, make_account, make_group, make_person, sign_in
from tests.house import ENDED, House
from tests.support import call_meanwhile, refusal
from tests.test_roles import at_once

USERS, GROUPS = "/api/v1/users", "/api/v1/groups"
_numbers = count(20_000_000)


def group(house: House) -> int:
    """A group of this test alone."""
    return make_group(house.client, "Optics", str(next(_numbers)))


def member(house: House, *roles: str, group_id: int | None = None) -> Person:
    """Somebody of this test alone, in a group, with a session."""
    return make_person(house.client, house.config, f"member{next(_numbers)}", *roles, group_id=group_id)


def move(house: House, user_id: int, group_id: object, headers: dict[str, str] | None = None) -> httpx2.Response:
    return house.client.put(f"{USERS}/{user_id}/group", json={"group_id": group_id}, headers=headers)


def stored(house: House, user_id: int) -> dict[str, Any]:
    (row,) = house.rows("SELECT * FROM users WHERE id = ?", user_id)
    return row


def roles(house: House, user_id: int) -> list[str]:
    found: list[str] = house.client.get(f"{USERS}/{user_id}").json()["roles"]
    return found


def role(house: House, *grants: tuple[str, str]) -> str:
    """A new role with these permissions and reaches."""
    name = f"role{next(_numbers)}"
    wanted = [{"permission": permission, "reach": reach} for permission, reach in grants]
    answer = house.client.post("/api/v1/roles", json={"name": name, "permissions": wanted})
    assert answer.status_code == 201, answer.text
    return name


def reached(house: House, headers: dict[str, str]) -> set[int]:
    """The ids of all accounts that a caller sees."""
    answer = house.client.get(USERS, params={"limit": 1000}, headers=headers)
    if answer.status_code == 403:
        return {house.client.get(f"{USERS}/me", headers=headers).json()["id"]}
    assert (answer.status_code, answer.links) == (200, {})
    return {user["id"] for user in answer.json()}


def test_a_super_admin_moves_an_account_which_ends_its_sessions_and_no_token(house: House) -> None:
    client, north, una = house.client, group(house), member(house)
    token = house.token(una)
    answer = move(house, una.id, north)
    assert (answer.status_code, answer.json()["group_id"]) == (200, north)
    assert answer.headers["etag"] == f'"{answer.json()["revision"]}"'
    assert client.get(f"{USERS}/{una.id}").json() == answer.json()
    assert not house.lets_in(una.pair)
    refusal(house.refresh(una.pair), 401, "UNAUTHORIZED")
    me = client.get(f"{USERS}/me", headers=token).json()
    shown = {"id": north, "name": "Optics", "uniform_number": me["group"]["uniform_number"], "max_allowed_streams": 8}
    assert (me["group_id"], me["group"]) == (north, shown)
    again = sign_in(client, una.username)
    out = move(house, una.id, None)
    assert (out.status_code, out.json()["group_id"]) == (200, None)
    assert not house.lets_in(again)
    me = client.get(f"{USERS}/me", headers=token).json()
    assert (me["group_id"], me["group"]) == (None, None)


def test_a_move_to_the_same_group_changes_nothing(house: House) -> None:
    north, una, lone = group(house), member(house), member(house)
    move(house, una.id, north)
    pair, before = sign_in(house.client, una.username), stored(house, una.id)
    assert [move(house, una.id, north).status_code, move(house, lone.id, None).status_code] == [200, 200]
    assert stored(house, una.id) == before
    assert house.lets_in(pair)
    assert house.lets_in(lone.pair)


def test_a_group_that_is_not_there_takes_nobody(house: House) -> None:
    north, gone, una = group(house), group(house), member(house)
    assert house.client.delete(f"{GROUPS}/{gone}").status_code == 204
    for group_id in (gone, 10**17):
        document = refusal(move(house, una.id, group_id), 400, "VALIDATION_ERROR")
        assert document["errors"] == [{"field": "/group_id", "message": f"there is no group {group_id}"}]
    assert house.lets_in(una.pair)
    refusal(move(house, 10**17, north), 404, "NOT_FOUND")


@pytest.mark.parametrize("value", ["1", "", "null", 0, -1, 1.5, True, 10**18, 10**30, [1], {}])
def test_a_group_is_named_by_its_number(house: House, value: object) -> None:
    document = refusal(move(house, 1, value), 400, "VALIDATION_ERROR")
    assert document["errors"][0]["field"] == "/group_id"


@pytest.mark.parametrize(("given", "field"), [({}, "group_id"), ({"group_id": None, "role": "admin"}, "role")])
def test_a_move_says_where_to_and_nothing_else(house: House, given: dict[str, Any], field: str) -> None:
    document = refusal(house.client.put(f"{USERS}/1/group", json=given), 400, "VALIDATION_ERROR")
    assert document["errors"][0]["field"] == f"/{field}"


def test_an_account_that_has_changed_meanwhile_is_not_moved(house: House) -> None:
    north, una = group(house), make_account(house.config)
    assert house.client.patch(f"{USERS}/{una}", json={"bio": "x"}).status_code == 200
    document = refusal(move(house, una, north, {"If-Match": '"1"'}), 412, "PRECONDITION_FAILED")
    assert (document["revision"], stored(house, una)["group_id"]) == (2, None)
    assert move(house, una, north, {"If-Match": '"2"'}).headers["etag"] == '"3"'


def test_only_who_holds_the_groups_moves_people(house: House) -> None:
    north = group(house)
    una = make_account(house.config, north)
    near = role(house, ("groups:admin", "group"), ("users:admin", "group"))
    for who in (member(house), member(house, "guest"), member(house, "admin"), member(house, "admin", group_id=north)):
        assert refusal(move(house, una, None, who.headers), 403, "FORBIDDEN")["required"] == ["groups:write"]
    refusal(move(house, una, None, member(house, "user", near, group_id=north).headers), 403, "FORBIDDEN")
    refusal(move(house, una, None, {"Authorization": ""}), 401, "UNAUTHORIZED")
    assert stored(house, una)["group_id"] == north


def test_a_role_that_changes_groups_moves_no_admin_nobody_who_may_more_and_not_the_own_account(house: House) -> None:
    north, south = group(house), group(house)
    mover = member(house, "user", role(house, ("groups:write", "all")), group_id=north)
    builder = member(house, "user", role(house, ("packages:build", "all")))
    for user_id in (1, make_account(house.config, role="admin"), make_account(house.config, south, role="admin")):
        before = stored(house, user_id)
        assert refusal(move(house, user_id, north, mover.headers), 403, "FORBIDDEN")["required"] == ["*"]
        assert stored(house, user_id) == before
    refusal(move(house, builder.id, north, mover.headers), 403, "FORBIDDEN")
    for group_id in (south, None):
        assert refusal(move(house, mover.id, group_id, mover.headers), 403, "FORBIDDEN")["required"] == ["*"]
    assert move(house, mover.id, north, mover.headers).status_code == 200
    una = make_account(house.config, south)
    assert move(house, una, north, mover.headers).json()["group_id"] == north
    assert house.lets_in(mover.pair)


def test_a_super_admins_narrow_token_moves_neither_admins_nor_its_owner(house: House) -> None:
    north, una = group(house), make_account(house.config)
    made = house.client.post("/api/v1/tokens", json={"scopes": ["groups:write"]}).json()
    for user_id in (1, make_account(house.config, role="admin")):
        refusal(move(house, user_id, north, bearer(made["token"])), 403, "FORBIDDEN")
        assert stored(house, user_id)["group_id"] is None
    answer = move(house, una, north, bearer(made["token"]))
    assert (answer.status_code, answer.headers["x-accepted-scopes"]) == (200, "groups:write")


def test_a_super_admin_moves_the_own_account_and_stays_one(house: House) -> None:
    """Also into a group: what a super admin reaches is not narrowed."""
    north, south, sue = group(house), make_account(house.config, group(house)), member(house, "super_admin")
    assert move(house, sue.id, north, sue.headers).status_code == 200
    assert refusal(house.me(sue.headers), 401)["detail"] == ENDED
    again = bearer(sign_in(house.client, sue.username)["access_token"])
    assert reached(house, again) >= {1, sue.id, south}
    assert move(house, sue.id, None, again).status_code == 200


def test_the_trail_tells_who_was_moved(house: House) -> None:
    north, una = group(house), make_account(house.config)
    refusal(move(house, una, 10**17), 400)
    assert move(house, una, north).status_code == 200
    found = house.rows("SELECT * FROM audit WHERE kind = 'change' AND target = ?", f"users/{una}")
    assert [(row["action"], row["actor_id"], row["status"]) for row in found] == [("users.set_group", 1, 200)]


def test_a_deleted_group_lets_its_people_go(house: House) -> None:
    """Their sessions end, their tokens go on, and nobody else hears of it."""
    north, south = group(house), group(house)
    una, sam = member(house, group_id=north), member(house, group_id=south)
    pending = make_account(house.config, north, status="pending")
    token = house.token(una)
    assert house.client.delete(f"{GROUPS}/{north}").status_code == 204
    assert [stored(house, user_id)["group_id"] for user_id in (una.id, pending, sam.id)] == [None, None, south]
    assert not house.lets_in(una.pair)
    assert house.lets_in(sam.pair)
    me = house.client.get(f"{USERS}/me", headers=token).json()
    assert (me["group_id"], me["group"], me["role"]) == (None, None, "user")
    assert house.lets_in(sign_in(house.client, una.username))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["admin"], ["user"]),
        (["admin", "user"], ["user"]),
        (["admin", "user", "{custom}"], ["user", "{custom}"]),
        (["admin", "guest", "{custom}"], ["user", "guest", "{custom}"]),
        (["super_admin"], None),
        (["super_admin", "admin"], None),
        (["user", "{custom}"], None),
        (["guest"], None),
    ],
)
@pytest.mark.parametrize("status", ["active", "suspended"])
def test_the_admins_of_a_deleted_group_are_users(
    house: House, before: list[str], after: list[str] | None, status: str
) -> None:
    """An admin without a group would reach everybody; their further roles stay, and so does everybody else's."""
    north, custom = group(house), role(house, ("packages:read", "all"))
    una = make_account(house.config, north)
    names = [name.format(custom=custom) for name in before]
    assert house.client.put(f"{USERS}/{una}/roles", json={"roles": names}).status_code == 200
    house.client.patch(f"{USERS}/{una}/status", json={"status": status})
    assert house.client.delete(f"{GROUPS}/{north}").status_code == 204
    wanted = names if after is None else [name.format(custom=custom) for name in after]
    assert (roles(house, una), stored(house, una)["status"]) == (wanted, status)
    assert len(house.rows("SELECT * FROM user_roles WHERE user_id = ?", una)) == len(wanted) - 1


def test_nobodys_reach_grows_when_a_group_goes(house: House) -> None:
    """Through the tokens, which stay: an admin's reach less, a role's that ends at the group themselves alone."""
    client, north = house.client, group(house)
    lead = role(house, ("users:admin", "group"), ("tokens:admin", "group"), ("teams:admin", "group"))
    sue = member(house, "super_admin", group_id=north)
    people = [sue, *(member(house, *names, group_id=north) for names in (["admin"], ["user", lead], ["user"]))]
    make_account(house.config)
    tokens = [house.token(person) for person in people]
    seen = [reached(house, token) for token in tokens]
    assert client.delete(f"{GROUPS}/{north}").status_code == 204
    now = [reached(house, token) for token in tokens]
    assert now == [seen[0], *({person.id} for person in people[1:])]
    assert all(later <= earlier for earlier, later in zip(seen, now, strict=True))
    for path in (f"{USERS}/1", f"{USERS}/{sue.id}", f"{USERS}/{people[3].id}"):
        refusal(client.get(path, headers=tokens[1]), 404, "NOT_FOUND")
        refusal(client.get(path, headers=tokens[2]), 404, "NOT_FOUND")
    refusal(client.patch(f"{USERS}/{people[3].id}/status", json={"status": "suspended"}, headers=tokens[1]), 403)
    assert client.get("/api/v1/tokens", params={"user_id": people[2].id}, headers=tokens[2]).status_code == 200
    refusal(client.get("/api/v1/tokens", params={"user_id": people[3].id}, headers=tokens[2]), 404)


def test_the_trail_tells_of_each_admin_that_a_deletion_made_a_user(house: House) -> None:
    north = group(house)
    admins = [make_account(house.config, north, role="admin") for _ in range(3)]
    make_account(house.config, north)
    answer = house.client.delete(f"{GROUPS}/{north}")
    (call,) = house.rows("SELECT * FROM audit WHERE request_id = ?", answer.headers["x-request-id"])
    assert (call["action"], call["target"], call["actor_id"], call["status"]) == (
        "groups.delete",
        f"groups/{north}",
        1,
        204,
    )
    beside = house.rows(
        "SELECT * FROM audit WHERE action = 'users.set_roles' AND id < ? ORDER BY id DESC LIMIT 3", call["id"]
    )
    assert [row["target"] for row in beside] == [f"users/{user_id}" for user_id in reversed(admins)]
    assert {(row["at"], row["actor_id"], row["method"], row["token_id"]) for row in beside} == {
        (call["at"], 1, None, None)
    }


def test_a_deletion_that_is_refused_lets_nobody_go(house: House) -> None:
    north = group(house)
    nora = member(house, "admin", group_id=north)
    before = stored(house, nora.id)
    refusal(house.client.delete(f"{GROUPS}/{north}", headers={"If-Match": '"9"'}), 412)
    refusal(house.client.delete(f"{GROUPS}/{north}", headers=nora.headers), 403)
    assert stored(house, nora.id) == {**before, "last_login_at": stored(house, nora.id)["last_login_at"]}
    assert house.lets_in(nora.pair)


def test_what_a_deleted_groups_people_did_is_read_by_those_who_read_everything(house: House) -> None:
    client, north, south = house.client, group(house), group(house)
    una, nora, sara, ann = (
        member(house, *names, group_id=group_id)
        for names, group_id in (([], north), (["admin"], north), (["admin"], south), (["admin"], None))
    )
    reader = role(house, ("audit:read", "group"))
    lead = member(house, "user", reader, group_id=north)
    tokens = {person.id: house.token(person) for person in (nora, lead, sara, ann)}
    assert client.patch(f"{USERS}/me", json={"bio": "x"}, headers=una.headers).status_code == 200

    def told(headers: dict[str, str]) -> list[int]:
        answer = client.get("/api/v1/audit", params={"target": f"users/{una.id}", "limit": 1000}, headers=headers)
        assert answer.status_code == 200, answer.text
        return [row["id"] for row in answer.json() if row["action"] == "users.update"]

    (own,) = house.rows("SELECT id FROM audit WHERE actor_id = ? AND action = 'users.update'", una.id)
    assert [told(tokens[person.id]) for person in (nora, lead, sara, ann)] == [
        [own["id"]],
        [own["id"]],
        [],
        [own["id"]],
    ]
    assert client.delete(f"{GROUPS}/{north}").status_code == 204
    move(house, nora.id, group(house))
    house.client.put(f"{USERS}/{nora.id}/roles", json={"roles": ["admin"]})
    assert [told(tokens[person.id]) for person in (nora, lead, sara, ann)] == [[], [], [], [own["id"]]]
    assert told({}) == [own["id"]]


def test_a_group_that_goes_while_people_move_in_keeps_nobody(house: House) -> None:
    """Deletions and moves at once: whoever came first left with it, whoever came later stayed where they were."""
    for _ in range(5):
        north, south = group(house), group(house)
        admins = [make_account(house.config, south, role="admin") for _ in range(8)]
        users = [make_account(house.config) for _ in range(8)]
        delete = partial(house.client.delete, f"{GROUPS}/{north}")
        moves = [partial(move, house, user_id, north) for user_id in (*admins, *users)]
        answers = at_once(*moves[:8], *[delete] * 4, *moves[8:])
        assert sorted(answer.status_code for answer in answers[8:12]) == [204, 404, 404, 404]
        assert {answer.status_code for answer in (*answers[:8], *answers[12:])} <= {200, 400}
        for user_id, answer in zip((*admins, *users), (*answers[:8], *answers[12:]), strict=True):
            came = answer.status_code == 200
            kept = (None, "user") if came or user_id in users else (south, "admin")
            assert (stored(house, user_id)["group_id"], stored(house, user_id)["role"]) == kept
    orphans = "SELECT id FROM users WHERE group_id NOT IN (SELECT id FROM groups)"
    assert house.rows(orphans) == []


def test_an_account_that_is_made_while_its_makers_group_goes_belongs_to_none_that_is_gone(house: House) -> None:
    """The maker was let in as an admin of the group; when the account would be made, there is no such group."""
    client, north = house.client, group(house)
    nora = member(house, "admin", group_id=north)
    email = f"new{next(_numbers)}@example.com"
    body = f'{{"email": "{email}", "name": "New", "password": "{PASSWORD}"}}'.encode()
    gone = partial(client.delete, f"{GROUPS}/{north}")
    answer = call_meanwhile(client, "POST", USERS, [body], nora.headers, gone)
    refusal(answer, answer.status_code)
    assert answer.status_code in (401, 403, 404, 409)
    assert house.rows("SELECT id FROM users WHERE email = ?", email) == []


def test_a_call_that_began_in_a_group_that_goes_meanwhile_reaches_nobody(house: House) -> None:
    client, north = house.client, group(house)
    nora, una = member(house, "admin", group_id=north), make_account(house.config, north)
    gone = partial(client.delete, f"{GROUPS}/{north}")
    answer = call_meanwhile(client, "PATCH", f"{USERS}/{una}/status", [b'{"status": "suspended"}'], nora.headers, gone)
    assert refusal(answer, 401, "UNAUTHORIZED")["detail"] == "Session ended"
    assert stored(house, una)["status"] == "active"
