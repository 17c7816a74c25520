"""Accounts: who sees and manages whom, what a profile takes, and what must never happen to the last super admin."""

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from app.config import Config
from app.values import folded, new_token
from tests.accounts import PASSWORD, bearer, make_group, make_person, sign_in
from tests.support import refusal, rows

USERS = "/api/v1/users"
AT = "2026-11-21T06:17:00.123Z"


@dataclass(frozen=True)
class Planted:
    """An account that was put into the database from outside, without a password, with an access token."""

    id: int
    headers: dict[str, str]


def insert(config: Config, statement: str, *values: object) -> int:
    """Runs a statement on the database file from outside; the id of the new row."""
    with sqlite3.connect(config.database_path) as outside:
        outside.execute("PRAGMA foreign_keys = ON")
        made = outside.execute(statement, values).lastrowid
    outside.close()
    return made or 0


def plant(
    config: Config, username: str, role: str = "user", *, name: str = "", scopes: str = '["*"]', **more: object
) -> Planted:
    """An account with a token, without the quarter of a second that hashing a password takes; `more` are columns."""
    email = str(more.pop("email", f"{username}@example.com"))
    text = folded("\n".join(part for part in (username, email, name) if part))
    known = {"username": username, "username_key": folded(username), "email": email, "email_key": folded(email)}
    known |= {"full_name": name, "search_text": text, "status": "active", "role": role}
    columns: dict[str, object] = known | {"created_at": AT, "updated_at": AT} | more
    places = ", ".join("?" * len(columns))
    made = insert(config, f"INSERT INTO users ({', '.join(columns)}) VALUES ({places})", *columns.values())  # noqa: S608
    return Planted(made, give_token(config, made, scopes))


def give_token(config: Config, user_id: int, scopes: str = '["*"]') -> dict[str, str]:
    """The header of a call with a new token of an account's."""
    secret = new_token()
    insert(
        config,
        "INSERT INTO tokens (user_id, name, prefix, secret_sha256, scopes, created_at) VALUES (?, 'test', ?, ?, ?, ?)",
        *(user_id, secret[:12], sha256(secret.encode()).hexdigest(), scopes, AT),
    )
    return bearer(secret)


def made(client: TestClient, **wanted: Any) -> dict[str, Any]:
    answer = client.post(USERS, json={"password": PASSWORD, "name": "Somebody", **wanted})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def field(answer: httpx2.Response) -> str:
    """The one field that a refused input is about."""
    (error,) = refusal(answer, 400, "VALIDATION_ERROR")["errors"]
    return str(error["field"])


def names(answer: httpx2.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [user["username"] for user in answer.json()]


def stored(config: Config, user_id: int) -> dict[str, Any]:
    (row,) = rows(config.database_path, "SELECT * FROM users WHERE id = ?", user_id)
    return row


def at_once(*calls: Callable[[], httpx2.Response]) -> list[httpx2.Response]:
    """The answers to calls that all begin at the same time."""
    go = threading.Barrier(len(calls))

    def run(call: Callable[[], httpx2.Response]) -> httpx2.Response:
        go.wait(30)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def test_an_account_is_made_shown_and_never_tells_its_hash(client: TestClient, config: Config) -> None:
    answer = client.post(
        USERS, json={"email": "Una@Example.com", "password": PASSWORD, "full_name": "Una Åström", "phone": "+46 8 123"}
    )
    una = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"{USERS}/{una['id']}")
    assert answer.headers["etag"] == '"1"'
    told = {key: una[key] for key in ("email", "username", "name", "full_name", "phone", "avatar", "bio", "group_id")}
    assert told == {
        "email": "Una@Example.com",
        "username": "Una",
        "name": "Una Åström",
        "full_name": "Una Åström",
        "phone": "+46 8 123",
        "avatar": None,
        "bio": None,
        "group_id": None,
    }
    assert (una["status"], una["is_active"], una["role"], una["roles"]) == ("active", True, "user", ["user"])
    assert una["last_login_at"] is None
    shown = client.get(answer.headers["location"])
    assert (shown.json(), shown.headers["etag"]) == (una, '"1"')
    hashed = stored(config, una["id"])["password_hash"]
    assert hashed.startswith("$scrypt$ln=")
    for told_to in (answer, shown, client.get(USERS), client.patch(f"{USERS}/{una['id']}", json={"bio": "x"})):
        assert "hash" not in told_to.text
        assert "scrypt" not in told_to.text
        assert PASSWORD not in told_to.text


def test_a_change_keeps_what_it_does_not_name(client: TestClient, config: Config) -> None:
    profile = {"phone": "+46 8 123", "avatar": "/a.png", "department": "Lab", "position": "Head", "bio": "One\ntwo"}
    una = plant(config, "una", name="Una", **profile)
    path = f"{USERS}/{una.id}"
    before = client.get(path).json()
    for method in ("PATCH", "PUT"):
        answer = client.request(method, path, json={"department": method})
        assert answer.headers["etag"] == f'"{answer.json()["revision"]}"'
        ignored = {"department", "revision", "updated_at"}
        assert {k: v for k, v in answer.json().items() if k not in ignored} == {
            k: v for k, v in before.items() if k not in ignored
        }
        assert answer.json()["department"] == method
    emptied = client.patch(path, json=dict.fromkeys(profile)).json()
    assert {name: emptied[name] for name in profile} == dict.fromkeys(profile)
    assert emptied["name"] == "Una"


def test_an_empty_change_is_fine_and_changes_nothing(client: TestClient, config: Config) -> None:
    path = f"{USERS}/{plant(config, 'una', name='Una', phone='+46 8 123').id}"
    before = client.get(path).json()
    for method in ("PATCH", "PUT"):
        answer = client.request(method, path, json={})
        assert answer.status_code == 200
        assert answer.json() | {"revision": 1, "updated_at": AT} == before


def test_what_every_account_has_is_never_emptied(client: TestClient, config: Config) -> None:
    path = f"{USERS}/{plant(config, 'una').id}"
    for name in ("name", "full_name", "username", "email"):
        for nothing in (None, ""):
            assert field(client.patch(path, json={name: nothing})) == f"/{name}"
    assert client.get(path).json()["revision"] == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", "x" * 256),
        ("name", "two\nlines"),
        ("phone", "call me"),
        ("phone", "1" * 31),
        ("avatar", "javascript:alert(1)"),
        ("avatar", "https://example.com/a b.png"),
        ("department", "x" * 101),
        ("position", "a\tb"),
        ("bio", "x" * 2001),
        ("bio", 7),
    ],
)
def test_a_profile_does_not_take_everything(client: TestClient, name: str, value: object) -> None:
    assert field(client.patch(f"{USERS}/me", json={name: value})) == f"/{name}"
    whole = {"email": "una@example.com", "name": "Una", "password": PASSWORD}
    assert field(client.post(USERS, json=whole | {name: value})) == f"/{name}"


def test_name_and_full_name_are_the_same(client: TestClient, config: Config) -> None:
    path = f"{USERS}/{plant(config, 'una').id}"
    for wanted in ({"name": "A"}, {"full_name": "A"}, {"name": "A", "full_name": "A"}):
        client.patch(path, json={"name": "before"})
        answer = client.patch(path, json=wanted).json()
        assert (answer["name"], answer["full_name"]) == ("A", "A")
    assert field(client.patch(path, json={"name": "A", "full_name": "B"})) == "/full_name"
    both = {"email": "b@example.com", "password": PASSWORD, "name": "A", "full_name": "B"}
    assert field(client.post(USERS, json=both)) == "/full_name"


def test_an_account_that_has_changed_since_is_left_alone(client: TestClient, config: Config) -> None:
    path = f"{USERS}/{plant(config, 'una').id}"
    calls: list[tuple[str, str, object]] = [
        ("PATCH", path, {"bio": "late"}),
        ("PATCH", f"{path}/status", {"status": "suspended"}),
        ("DELETE", path, {}),
    ]
    for method, at, wanted in calls:
        for revision in ('"2"', 'W/"7"', "nonsense"):
            answer = client.request(method, at, json=wanted, headers={"If-Match": revision})
            refusal(answer, 412, "PRECONDITION_FAILED")
    assert (client.get(path).json()["revision"], client.get(path).json()["status"]) == (1, "active")
    assert client.patch(path, json={"bio": "x"}, headers={"If-Match": '"1"'}).json()["revision"] == 2
    assert client.delete(path, headers={"If-Match": '"2"'}).status_code == 204


def test_an_account_is_deleted_once(client: TestClient, config: Config) -> None:
    path = f"{USERS}/{plant(config, 'una').id}"
    answer = client.delete(path)
    assert (answer.status_code, answer.content) == (204, b"")
    for method in ("GET", "PATCH", "DELETE"):
        refusal(client.request(method, path, json=None if method == "GET" else {}), 404, "NOT_FOUND")
    refusal(client.patch(f"{path}/status", json={"status": "active"}), 404)
    refusal(client.patch(f"{path}/password", json={"password": PASSWORD}), 404)


def test_a_deletion_takes_no_body(client: TestClient, config: Config) -> None:
    una = plant(config, "una")
    refusal(client.request("DELETE", f"{USERS}/{una.id}", json={"user_id": una.id}), 400)
    assert client.get(f"{USERS}/{una.id}").status_code == 200


def test_with_an_account_goes_what_only_it_owns_and_the_trail_stays(client: TestClient, config: Config) -> None:
    role = client.post("/api/v1/roles", json={"name": "viewer", "permissions": []}).json()
    una = make_person(client, config, "una", "user", "viewer")
    give_token(config, una.id)
    assert client.patch(f"{USERS}/me", json={"bio": "x"}, headers=una.headers).status_code == 200
    package_id = client.post("/api/v1/packages", json={"name": "hello", "version": "1.0"}).json()["id"]
    insert(
        config,
        "INSERT INTO package_attempts (package_id, number, status, queued_by, queued_at) VALUES (?, 1, 'failed', ?, ?)",
        *(package_id, una.id, AT),
    )
    owned = ("sessions", "tokens", "user_roles", "sign_in_sources")

    def left() -> list[int]:
        counted = "SELECT count(*) AS n FROM {} WHERE user_id = ?"
        return [rows(config.database_path, counted.format(table), una.id)[0]["n"] for table in owned]

    assert min(left()) > 0
    assert client.delete(f"{USERS}/{una.id}").status_code == 204
    assert left() == [0] * len(owned)
    assert rows(config.database_path, "SELECT count(*) AS n FROM refresh_tokens") == [{"n": 0}]
    assert rows(config.database_path, "SELECT queued_by FROM package_attempts") == [{"queued_by": None}]
    trail = rows(config.database_path, "SELECT actor_name, action FROM audit WHERE actor_id = ?", una.id)
    assert {"actor_name": "una", "action": "users.update"} in trail
    refusal(client.get(f"{USERS}/me", headers=una.headers), 401)
    assert client.delete(f"/api/v1/roles/{role['id']}").status_code == 204


def test_an_id_is_never_given_to_another(client: TestClient, config: Config) -> None:
    first = plant(config, "una")
    client.delete(f"{USERS}/{first.id}")
    assert plant(config, "una").id > first.id


def test_a_status_decides_at_once_who_may_come_in(client: TestClient, config: Config) -> None:
    """Its sessions end for good; its tokens rest until it is active again."""
    una = make_person(client, config, "una")
    token = give_token(config, una.id)
    path = f"{USERS}/{una.id}/status"
    for status in ("inactive", "suspended", "pending"):
        assert client.get(f"{USERS}/me", headers=token).status_code == 200
        answer = client.patch(path, json={"status": status})
        assert (answer.status_code, answer.json()["status"], answer.json()["is_active"]) == (200, status, False)
        assert answer.headers["etag"] == f'"{answer.json()["revision"]}"'
        refusal(client.get(f"{USERS}/me", headers=token), 401, "UNAUTHORIZED")
        refusal(client.get(f"{USERS}/me", headers=una.headers), 401)
        assert client.patch(path, json={"status": "active"}).json()["is_active"] is True
        refusal(client.get(f"{USERS}/me", headers=una.headers), 401)
    refresh = {"refresh_token": una.pair["refresh_token"]}
    refusal(client.post("/api/v1/auth/refresh", json=refresh, headers={"Authorization": ""}), 401)
    actions = [row["action"] for row in rows(config.database_path, "SELECT action FROM audit WHERE kind = 'change'")]
    assert actions[-6::2] == ["users.inactive", "users.suspended", "users.pending"]
    assert actions[-5::2] == ["users.active"] * 3
    for wrong in ("deleted", "", None, 1):
        assert field(client.patch(path, json={"status": wrong})) == "/status"


def test_nobody_suspends_or_deletes_the_own_account(client: TestClient, config: Config) -> None:
    plant(config, "second", "super_admin")
    for status in ("inactive", "suspended", "pending"):
        assert refusal(client.patch(f"{USERS}/1/status", json={"status": status}), 409)["state"] == "active"
    refusal(client.delete(f"{USERS}/1"), 409, "CONFLICT")
    refusal(client.post(f"{USERS}/batch-delete", json={"ids": [1]}), 409, "CONFLICT")
    assert client.get(f"{USERS}/1").json()["status"] == "active"


@pytest.mark.parametrize("ends", ["PATCH", "DELETE", "POST"])
def test_of_two_super_admins_who_end_each_other_one_stays(client: TestClient, config: Config, ends: str) -> None:
    """Whether the later one is told so, or is nobody any more, depends on the moment."""

    def end(who: Planted, other: Planted) -> httpx2.Response:
        if ends == "PATCH":
            return client.patch(f"{USERS}/{other.id}/status", json={"status": "suspended"}, headers=who.headers)
        if ends == "DELETE":
            return client.delete(f"{USERS}/{other.id}", headers=who.headers)
        return client.post(f"{USERS}/batch-delete", json={"ids": [other.id]}, headers=who.headers)

    insert(config, "UPDATE users SET status = 'inactive' WHERE id = 1")
    for turn in range(5):
        one, two = plant(config, f"one{turn}", "super_admin"), plant(config, f"two{turn}", "super_admin")
        for who in (one, two):
            assert client.get(f"{USERS}/me", headers=who.headers).status_code == 200
        answers = at_once(lambda one=one, two=two: end(one, two), lambda one=one, two=two: end(two, one))
        ok, refused = sorted(answer.status_code for answer in answers)
        assert ok in (200, 204)
        assert refused in (401, 409)
        active = "SELECT id FROM users WHERE role = 'super_admin' AND status = 'active'"
        assert len(rows(config.database_path, active)) == 1
        insert(config, "UPDATE users SET status = 'inactive'")


@pytest.mark.slow
def test_a_password_that_was_reset_ends_the_sessions_and_no_token(client: TestClient, config: Config) -> None:
    una = make_person(client, config, "una")
    token = give_token(config, una.id)
    assert client.patch(f"{USERS}/{una.id}/password", json={"password": "quite another"}).json() == {}
    refusal(client.get(f"{USERS}/me", headers=una.headers), 401)
    assert client.get(f"{USERS}/me", headers=token).status_code == 200
    old = {"identifier": "una", "password": PASSWORD}
    refusal(client.post("/api/v1/auth/login", json=old, headers={"Authorization": ""}), 401)
    assert sign_in(client, "una", "quite another")["user"]["id"] == una.id


@pytest.mark.slow
def test_the_claims_admin_sets_a_password_once_and_signs_in(client: TestClient) -> None:
    narrow = client.post("/api/v1/tokens", json={"scopes": ["users:*"]}).json()["token"]
    path, wanted = f"{USERS}/1/password", {"password": PASSWORD}
    refusal(client.patch(path, json=wanted, headers=bearer(narrow)), 403)
    assert client.patch(path, json=wanted).status_code == 200
    own = bearer(sign_in(client, "ADMIN")["access_token"])
    for headers in ({}, own):
        assert refusal(client.patch(path, json=wanted, headers=headers), 409, "CONFLICT")["state"] == "set"
    assert client.get(f"{USERS}/me", headers=own).status_code == 200


def test_a_password_is_eight_to_128_characters_and_no_guess(client: TestClient, config: Config) -> None:
    una = plant(config, "una.longname")
    path = f"{USERS}/{una.id}/password"
    for wrong in ("7chars!", "x" * 129, "", "UNA.LongName", "Una.longname@EXAMPLE.com", "Password1", "x" * 1001):
        answers = [client.patch(path, json={"password": wrong})]
        new = {"email": "una.longname@example.com", "username": "una.longname", "name": "x", "password": wrong}
        answers.append(client.post(USERS, json=new))
        for answer in answers:
            assert field(answer) == "/password"
            assert not wrong or wrong not in answer.text
    assert stored(config, una.id)["password_hash"] is None
    for right in ("8 chars!", "漢" * 128):
        assert client.patch(path, json={"password": right}).status_code == 200


def test_many_accounts_go_together_or_none_does(client: TestClient, config: Config) -> None:
    three = [plant(config, f"u{number}").id for number in range(3)]

    def delete(*ids: int) -> httpx2.Response:
        return client.post(f"{USERS}/batch-delete", json={"ids": [*ids]})

    refusal(delete(*three, 999), 404, "NOT_FOUND")
    refusal(delete(*three, 1), 409, "CONFLICT")
    assert field(client.post(f"{USERS}/batch-delete", json={"ids": []})) == "/ids"
    assert field(delete(*three, *range(1000, 1098))) == "/ids"
    assert field(client.post(f"{USERS}/batch-delete", json={"ids": [three[0], 0]})) == "/ids/1"
    assert field(client.post(f"{USERS}/batch-delete")) in ("/ids", "/")
    assert len(client.get(USERS).json()) == 4
    answer = delete(*three, *three)
    assert (answer.status_code, answer.json()) == (200, {"deleted_count": 3})
    assert names(client.get(USERS)) == ["admin"]
    told = rows(config.database_path, "SELECT target FROM audit WHERE action = 'users.delete'")
    assert told == [{"target": f"users/{','.join(map(str, three))}"}]


@pytest.fixture
def user(client: TestClient, config: Config) -> Planted:
    return plant(config, "una")


def changes(user_id: int) -> list[tuple[str, str, object]]:
    """Every call that changes somebody's account."""
    path = f"{USERS}/{user_id}"
    return [
        ("PATCH", path, {"bio": "changed"}),
        ("PUT", path, {"email": "changed@example.com"}),
        ("PATCH", f"{path}/status", {"status": "suspended"}),
        ("PATCH", f"{path}/password", {"password": "changed by me"}),
        ("DELETE", path, None),
        ("POST", f"{USERS}/batch-delete", {"ids": [user_id]}),
    ]


def statuses(client: TestClient, who: Planted, user_id: int) -> list[int]:
    """What each of those calls is answered with; nothing may have changed."""
    found = [client.request(m, path, json=body, headers=who.headers).status_code for m, path, body in changes(user_id)]
    assert client.get(f"{USERS}/{user_id}").json()["revision"] == 1
    return found


def test_a_user_knows_of_nobody_else(client: TestClient, config: Config, user: Planted) -> None:
    other = plant(config, "other")
    refusal(client.get(f"{USERS}/{other.id}", headers=user.headers), 404)
    refusal(client.get(USERS, headers=user.headers), 403)
    refusal(client.post(USERS, json={}, headers=user.headers), 403)
    assert statuses(client, user, other.id) == [404, 404, 403, 403, 403, 403]
    own = client.get(f"{USERS}/{user.id}", headers=user.headers)
    assert (own.status_code, own.json()["username"]) == (200, "una")
    assert client.patch(f"{USERS}/{user.id}", json={"bio": "me"}, headers=user.headers).json()["bio"] == "me"


@pytest.mark.parametrize("role", ["admin", "super_admin"])
def test_an_admin_does_not_touch_the_account_of_an_admin(client: TestClient, config: Config, role: str) -> None:
    admin, other = plant(config, "ada", "admin"), plant(config, "other", role)
    assert client.get(f"{USERS}/{other.id}", headers=admin.headers).status_code == 200
    assert statuses(client, admin, other.id) == [403] * 6
    insert(config, "UPDATE users SET role = 'user' WHERE id = ?", other.id)
    insert(config, "INSERT INTO user_roles SELECT ?, id FROM roles WHERE name = ?", other.id, role)
    assert statuses(client, admin, other.id) == [403] * 6


def test_an_admin_without_a_group_manages_users(client: TestClient, config: Config, user: Planted) -> None:
    admin = plant(config, "ada", "admin")
    answers = [client.request(m, path, json=body, headers=admin.headers) for m, path, body in changes(user.id)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 204, 404]


def test_an_admin_of_a_group_manages_that_group_alone(client: TestClient, config: Config) -> None:
    north, south = make_group(client, "North", "00000001"), make_group(client, "South", "00000002")
    admin = plant(config, "ada", "admin", group_id=north)
    plant(config, "nina", group_id=north)
    others = [plant(config, "sven", group_id=south), plant(config, "lone"), plant(config, "root", "super_admin")]
    for other in others:
        refusal(client.get(f"{USERS}/{other.id}", headers=admin.headers), 404)
        assert statuses(client, admin, other.id) == [404] * 6
    answer = client.get(USERS, params={"count": "true"}, headers=admin.headers)
    assert (names(answer), answer.headers["x-total-count"]) == (["ada", "nina"], "2")
    assert names(client.get(USERS, params={"group_id": south}, headers=admin.headers)) == []
    new = {"email": "new@example.com", "password": PASSWORD, "name": "New"}
    assert client.post(USERS, json=new, headers=admin.headers).json()["group_id"] == north


def test_a_helpdesk_does_not_manage_who_may_do_more(client: TestClient, config: Config, user: Planted) -> None:
    """Else it would reset a password and sign in as somebody who may."""
    grants = [{"permission": "users:write", "reach": "all"}]
    client.post("/api/v1/roles", json={"name": "helpdesk", "permissions": grants})
    client.post(
        "/api/v1/roles", json={"name": "builder", "permissions": [{"permission": "packages:build", "reach": "all"}]}
    )
    desk = plant(config, "desk")
    insert(config, "INSERT INTO user_roles SELECT ?, id FROM roles WHERE name = 'helpdesk'", desk.id)
    for role, status in (("builder", 403), ("admin", 403), ("super_admin", 403), ("guest", 200), ("user", 200)):
        other = plant(config, f"a-{role}", role)
        path = f"{USERS}/{other.id}/password"
        answer = client.patch(path, json={"password": "by the helpdesk"}, headers=desk.headers)
        assert answer.status_code == status, role
        assert (stored(config, other.id)["password_hash"] is None) is (status == 403)
    refusal(client.delete(f"{USERS}/{user.id}", headers=desk.headers), 403)


def test_a_super_admins_narrow_token_does_not_touch_admins(client: TestClient, config: Config, user: Planted) -> None:
    admin = plant(config, "ada", "admin")
    narrow = Planted(1, give_token(config, 1, '["users:*"]'))
    assert statuses(client, narrow, admin.id) == [403] * 6
    assert client.patch(f"{USERS}/{user.id}", json={"bio": "x"}, headers=narrow.headers).status_code == 200


def test_a_name_gives_nobody_powers(client: TestClient, config: Config) -> None:
    """Nor does the super admin lose them with theirs."""
    for username in ("superadmin", "super_admin", "root", "Administrator"):
        assert client.get(USERS, headers=plant(config, username).headers).status_code == 403
    assert client.patch(f"{USERS}/1", json={"username": "somebody"}).status_code == 200
    assert client.get(USERS, headers=plant(config, "admin").headers).status_code == 403
    assert client.get(USERS).status_code == 200


def test_a_stranger_is_told_how_to_sign_in(client: TestClient) -> None:
    for path in (USERS, f"{USERS}/1", f"{USERS}/me", "/api/v1/auth/me"):
        answer = client.get(path, headers={"Authorization": ""})
        refusal(answer, 401, "UNAUTHORIZED")
        assert answer.headers["www-authenticate"] == 'Bearer realm="purser"'


def test_a_status_a_password_and_roles_are_not_set_on_what_has_changed_meanwhile(
    client: TestClient, config: Config
) -> None:
    ann = make_person(client, config, "ann")
    stale = {"If-Match": '"1"'}
    assert client.patch(f"{USERS}/{ann.id}", json={"bio": "a"}, headers=stale).status_code == 200
    for method, what, body in (
        ("PATCH", "status", {"status": "suspended"}),
        ("PATCH", "password", {"password": "another staple"}),
        ("PUT", "roles", {"roles": ["guest"]}),
    ):
        answer = client.request(method, f"{USERS}/{ann.id}/{what}", json=body, headers=stale)
        assert refusal(answer, 412, "PRECONDITION_FAILED")["revision"] == 2
    assert client.get(f"{USERS}/me", headers=ann.headers).json()["role"] == "user"
