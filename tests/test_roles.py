"""Roles: what they grant, who may change them, and who may have which."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier
from typing import Any, NamedTuple

import httpx2
import pytest
from starlette.testclient import TestClient

from app.config import Config
from app.main import Purser, create_app
from app.routes import ROUTES
from app.web.access import PUBLIC, SIGNED_IN
from tests.accounts import Person, bearer, make_account, make_group, make_person, sign_in
from tests.support import claim, configured, refusal, rows

ROLES = "/api/v1/roles"
_numbers = count(1)


class Office(NamedTuple):
    """A claimed service that several tests share. `client` is its super admin's; each test makes its own roles."""

    client: TestClient
    config: Config
    app: Purser
    admin: Person
    editor: Person


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    config = configured(tmp_path_factory.mktemp("roles") / "data")
    app = create_app(config)
    with TestClient(app, client=("127.0.0.1", 50000)) as client:
        client.headers["Authorization"] = f"Token {claim(client)}"
        made(client, "editor", ("roles:admin", "all"), ("packages:build", "all"), ("users:admin", "group"))
        admin = make_person(client, config, "ann", "admin")
        yield Office(client, config, app, admin, make_person(client, config, "eve", "editor"))


@pytest.fixture
def someone(office: Office) -> int:
    """The account of a `user`, of this test alone, that nobody signs in to."""
    return make_account(office.config)


@pytest.fixture
def person(office: Office) -> Person:
    """A `user` with a session, of this test alone."""
    return make_person(office.client, office.config, f"person{next(_numbers)}")


def fresh() -> str:
    """A name that no role has yet."""
    return f"role{next(_numbers)}"


def grants(*wanted: tuple[str, str]) -> list[dict[str, str]]:
    return [{"permission": permission, "reach": reach} for permission, reach in wanted]


def made(client: TestClient, name: str, *wanted: tuple[str, str]) -> dict[str, Any]:
    """A new role with these permissions."""
    answer = client.post(ROLES, json={"name": name, "permissions": grants(*wanted)})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def the(client: TestClient, name: str) -> dict[str, Any]:
    """The role of this name."""
    return next(role for role in client.get(ROLES).json() if role["name"] == name)


def assign(client: TestClient, user_id: int, *names: str, **more: Any) -> httpx2.Response:
    return client.put(f"/api/v1/users/{user_id}/roles", json={"roles": names}, **more)


def roles_of(client: TestClient, user_id: int) -> list[str]:
    return list(client.get(f"/api/v1/users/{user_id}").json()["roles"])


def token(client: TestClient, *scopes: str, headers: dict[str, str] | None = None) -> dict[str, str]:
    """The header of a new token with these scopes."""
    answer = client.post("/api/v1/tokens", json={"scopes": scopes}, headers=headers)
    assert answer.status_code == 201, answer.text
    return bearer(answer.json()["token"])


def test_the_roles_that_are_built_in_come_first_with_the_number_of_their_people(client: TestClient) -> None:
    found = client.get(ROLES).json()
    assert [role["name"] for role in found] == ["super_admin", "admin", "user", "guest"]
    assert [role["user_count"] for role in found] == [1, 0, 0, 0]
    assert {role["built_in"] for role in found} == {True}
    assert found[0]["permissions"] == [{"permission": "*", "reach": "all"}]
    assert [client.get(f"{ROLES}/{role['id']}").json() for role in found] == found


def test_a_list_costs_the_same_however_many_roles_there_are(office: Office) -> None:
    client, heard = office.client, []
    office.app.state.db.observe = lambda name, statements, _: heard.append((name, statements))
    try:
        client.get(ROLES)
        for _ in range(5):
            made(client, fresh(), ("packages:read", "all"))
        client.get(ROLES)
    finally:
        office.app.state.db.observe = None
    assert [entry for entry in heard if entry[0] == "page"] == [("page", 1), ("page", 1)]


def test_a_role_is_made_and_shown(office: Office) -> None:
    name = fresh()
    wanted = {
        "name": name,
        "label": "Bench",
        "description": "At the bench.",
        "permissions": grants(("fcs:read", "own")),
    }
    answer = office.client.post(ROLES, json=wanted)
    role = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (201, f"{ROLES}/{role['id']}")
    assert {name: role[name] for name in wanted} == wanted
    assert (role["built_in"], role["user_count"], role["revision"]) == (False, 0, 1)
    shown = office.client.get(answer.headers["location"])
    assert (shown.json(), shown.headers["etag"], answer.headers["etag"]) == (role, '"1"', '"1"')


def test_a_role_needs_a_name_and_nothing_else(office: Office) -> None:
    name = fresh()
    role = office.client.post(ROLES, json={"name": name}).json()
    assert (role["label"], role["description"], role["permissions"]) == (name, "", [])


@pytest.mark.parametrize("name", ["super_admin", "admin", "user", "guest", "editor"])
def test_a_name_is_taken_once(office: Office, name: str) -> None:
    assert refusal(office.client.post(ROLES, json={"name": name}), 409, "CONFLICT")["name"] == name


@pytest.mark.parametrize("name", ["", "x" * 51, "Admin", "1st", "a b", "a\n", "é", "_a", None, 7])
def test_a_name_that_is_none_is_refused(office: Office, name: object) -> None:
    document = refusal(office.client.post(ROLES, json={"name": name}), 400, "VALIDATION_ERROR")
    assert document["errors"][0]["field"] == "/name"


@pytest.mark.parametrize("wrong", ["packages:fly", "nothing:read", "read", "*:read", "packages:read\n"])
def test_a_permission_that_is_none_is_named_with_its_place(office: Office, wrong: str) -> None:
    permissions = grants(("packages:read", "all"), (wrong, "all"))
    name = fresh()
    for answer in (
        office.client.post(ROLES, json={"name": name, "permissions": permissions}),
        office.client.put(
            f"{ROLES}/{the(office.client, 'editor')['id']}/permissions", json={"permissions": permissions}
        ),
    ):
        assert refusal(answer, 400)["errors"][0]["field"] == "/permissions/1/permission"
    assert name not in {role["name"] for role in office.client.get(ROLES).json()}


def test_permissions_are_kept_in_their_normal_spelling_once_each(office: Office) -> None:
    asked = [("files:upload", "own"), ("files:write", "own"), ("packages:view", "all"), ("users:manage", "group")]
    role = made(office.client, fresh(), *asked)
    assert role["permissions"] == grants(("files:write", "own"), ("packages:read", "all"), ("users:admin", "group"))


def test_a_permission_has_one_reach(office: Office) -> None:
    wanted = grants(("files:upload", "own"), ("files:write", "all"))
    answer = office.client.post(ROLES, json={"name": fresh(), "permissions": wanted})
    assert refusal(answer, 400)["errors"][0]["field"] == "/permissions/1"


def test_a_patch_changes_what_a_role_is_called_and_nothing_else(office: Office) -> None:
    role = made(office.client, fresh(), ("packages:read", "all"))
    path = f"{ROLES}/{role['id']}"
    for field in ("name", "permissions", "built_in", "id", "revision", "user_count"):
        document = refusal(office.client.patch(path, json={field: role[field]}), 400)
        assert document["errors"][0]["field"] == f"/{field}"
    changed = office.client.patch(path, json={"label": "Bench", "description": "At the bench."})
    expected = role | {"label": "Bench", "description": "At the bench.", "revision": 2}
    assert changed.json() == expected | {"updated_at": changed.json()["updated_at"]}
    assert changed.headers["etag"] == '"2"'


@pytest.mark.parametrize(
    ("method", "below", "body"),
    [("PATCH", "", {"label": "x"}), ("PUT", "/permissions", {"permissions": []}), ("DELETE", "", None)],
)
def test_if_match_holds_a_change_to_the_revision_that_was_seen(
    office: Office, method: str, below: str, body: dict[str, Any] | None
) -> None:
    role = made(office.client, fresh(), ("packages:read", "all"))
    path = f"{ROLES}/{role['id']}"
    office.client.patch(path, json={"description": "seen by somebody else"})
    late = office.client.request(method, path + below, json=body, headers={"If-Match": '"1"'})
    assert refusal(late, 412, "PRECONDITION_FAILED")["revision"] == 2
    assert office.client.get(path).json()["permissions"] == grants(("packages:read", "all"))
    assert office.client.request(method, path + below, json=body, headers={"If-Match": '"2"'}).is_success


def test_what_a_role_grants_holds_from_the_next_request_in_the_same_session(office: Office, person: Person) -> None:
    client, role = office.client, made(office.client, fresh())
    assign(client, person.id, role["name"])
    again = bearer(sign_in(client, person.username)["access_token"])
    for wanted, status in (
        (("packages:read", "all"), 200),
        (("packages:read", "own"), 403),
        (("fcs:read", "all"), 403),
    ):
        changed = client.put(f"{ROLES}/{role['id']}/permissions", json={"permissions": grants(wanted)})
        assert changed.json()["permissions"] == grants(wanted)
        assert client.get("/api/v1/packages", headers=again).status_code == status
        mine = client.get("/api/v1/users/me", headers=again).json()
        assert (mine["session_id"] is not None, mine["permissions"][0]["permission"]) == (True, wanted[0])


def test_the_super_admins_role_is_never_changed(office: Office) -> None:
    path = f"{ROLES}/{the(office.client, 'super_admin')['id']}"
    for answer in (
        office.client.patch(path, json={"label": "Root"}),
        office.client.put(f"{path}/permissions", json={"permissions": grants(("*", "all"))}),
        office.client.put(f"{path}/permissions", json={"permissions": []}),
        office.client.delete(path),
    ):
        assert refusal(answer, 409, "CONFLICT")["name"] == "super_admin"


@pytest.mark.parametrize("name", ["admin", "user", "guest"])
def test_a_role_that_is_built_in_may_be_changed_but_not_deleted(client: TestClient, name: str) -> None:
    path = f"{ROLES}/{the(client, name)['id']}"
    assert refusal(client.delete(path), 409, "CONFLICT")["name"] == name
    wanted = grants(("packages:read", "all"))
    assert client.put(f"{path}/permissions", json={"permissions": wanted}).json()["permissions"] == wanted
    assert client.patch(path, json={"label": "Other"}).json()["label"] == "Other"


def test_an_admins_permissions_are_named_one_by_one(office: Office) -> None:
    path = f"{ROLES}/{the(office.client, 'admin')['id']}/permissions"
    answer = office.client.put(path, json={"permissions": grants(("*", "all"))})
    assert refusal(answer, 400)["errors"][0]["field"] == "/permissions"


def test_a_role_is_deleted_when_nobody_has_it(office: Office, someone: int) -> None:
    """Neither as first role nor beside it."""
    client, role = office.client, made(office.client, fresh())
    path = f"{ROLES}/{role['id']}"
    for names in ([role["name"]], ["user", role["name"]]):
        assert assign(client, someone, *names).status_code == 200
        assert refusal(client.delete(path), 409, "CONFLICT")["user_count"] == 1
        assert client.get(path).json()["user_count"] == 1
    assert assign(client, someone, "user").status_code == 200
    assert client.delete(path).status_code == 204
    refusal(client.get(path), 404, "NOT_FOUND")
    refusal(client.delete(path), 404, "NOT_FOUND")


def changes(role_id: int) -> list[tuple[str, str, dict[str, Any] | None]]:
    """Every way to change a role, as method, path and body."""
    return [
        ("PATCH", f"{ROLES}/{role_id}", {"label": "Mine"}),
        ("PUT", f"{ROLES}/{role_id}/permissions", {"permissions": []}),
        ("DELETE", f"{ROLES}/{role_id}", None),
    ]


def test_an_admin_looks_at_roles_and_changes_none(office: Office) -> None:
    headers, role = office.admin.headers, made(office.client, fresh())
    for path in (ROLES, f"{ROLES}/{role['id']}", "/api/v1/permissions"):
        assert office.client.get(path, headers=headers).status_code == 200
    for method, path, body in [("POST", ROLES, {"name": fresh()}), *changes(role["id"])]:
        answer = office.client.request(method, path, json=body, headers=headers)
        assert refusal(answer, 403, "FORBIDDEN")["required"] == ["roles:admin"]
    assert office.client.get(f"{ROLES}/{role['id']}").json() == role


@pytest.mark.parametrize(
    ("wanted", "beyond"),
    [
        (("packages:activate", "all"), True),
        (("packages:*", "all"), True),
        (("users:read", "all"), True),
        (("*", "own"), True),
        (("audit:read", "own"), True),
        (("packages:build", "all"), False),
        (("packages:write", "own"), False),
        (("roles:admin", "all"), False),
        (("users:delete", "group"), False),
    ],
)
def test_who_edits_roles_makes_none_that_grants_more_than_the_own(
    office: Office, wanted: tuple[str, str], beyond: bool
) -> None:
    client, name, headers = office.client, fresh(), office.editor.headers
    held = {"permissions": grants(("packages:read", "all"), wanted)}
    mine = the(client, "editor")
    answers = [client.post(ROLES, json={"name": name, **held}, headers=headers)]
    if beyond:
        answers.append(client.put(f"{ROLES}/{mine['id']}/permissions", json=held, headers=headers))
        for answer in answers:
            document = refusal(answer, 403, "FORBIDDEN")
            assert document["required"] == [wanted[0]]
            assert document["held"] == ["packages:build", "roles:admin", "users:admin"]
        assert the(client, "editor") == mine
    else:
        assert answers[0].status_code == 201


def test_who_edits_roles_leaves_those_alone_that_grant_more_than_the_own(office: Office) -> None:
    client = office.client
    larger = made(client, fresh(), ("packages:read", "all"), ("packages:activate", "all"))
    for role in (larger, the(client, "admin"), the(client, "user")):
        for method, path, body in changes(role["id"]):
            answer = client.request(method, path, json=body, headers=office.editor.headers)
            assert refusal(answer, 403, "FORBIDDEN")["required"]
        assert client.get(f"{ROLES}/{role['id']}").json() == role
    smaller = made(client, fresh(), ("packages:read", "all"))
    for method, path, body in changes(smaller["id"]):
        assert client.request(method, path, json=body, headers=office.editor.headers).is_success


def test_through_a_token_roles_are_edited_within_its_scopes(office: Office) -> None:
    """The owner is a super admin; the token is not."""
    client = office.client
    narrow, wider = token(client, "roles:admin"), token(client, "roles:admin", "packages:read")
    wanted = {"permissions": grants(("packages:read", "all"))}
    document = refusal(client.post(ROLES, json={"name": fresh(), **wanted}, headers=narrow), 403, "FORBIDDEN")
    assert (document["required"], document["held"]) == (["packages:read"], ["roles:admin"])
    role = client.post(ROLES, json={"name": fresh(), **wanted}, headers=wider).json()
    for headers, status in ((narrow, 403), (wider, 200)):
        for method, path, body in changes(role["id"]):
            answer = client.request(method, path, json=body, headers=headers)
            assert answer.status_code == (204 if method == "DELETE" and status == 200 else status), answer.text


def test_new_roles_end_the_sessions_at_once(office: Office, person: Person) -> None:
    client = office.client
    assert client.get("/api/v1/users/me", headers=person.headers).status_code == 200
    answer = assign(client, person.id, "guest")
    assert answer.json() == {"user_id": person.id, "role": "guest", "roles": ["guest"]}
    refusal(client.get("/api/v1/users/me", headers=person.headers), 401, "UNAUTHORIZED")
    refresh = {"refresh_token": person.pair["refresh_token"]}
    refusal(client.post("/api/v1/auth/refresh", json=refresh, headers={"Authorization": ""}), 401)


def test_new_roles_shrink_and_widen_the_tokens_at_once(office: Office, person: Person) -> None:
    """A token's scopes stay as they were granted; what its owner's roles no longer grant, it may not."""
    client = office.client
    role = made(client, fresh(), ("packages:build", "all"), ("tokens:write", "own"))
    assign(client, person.id, "user", role["name"])
    again = bearer(sign_in(client, person.username)["access_token"])
    headers = token(client, "packages:build", headers=again)
    builds = f"/api/v1/packages/{10**17}/download"
    for names, reads, status in ((["user"], 200, 403), (["guest"], 403, 403), ([role["name"], "user"], 200, 404)):
        assert assign(client, person.id, *names).status_code == 200
        assert client.get("/api/v1/packages", headers=headers).status_code == reads
        assert client.post(builds, headers=headers).status_code == status


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        (["guest", "user"], ["user", "guest"]),
        (["a", "guest", "user", "admin", "super_admin"], ["super_admin", "admin", "user", "guest", "a"]),
        (["b", "a"], ["b", "a"]),
        (["a", "b"], ["a", "b"]),
        (["b", "guest"], ["guest", "b"]),
        (["user", "user", "b", "user", "b"], ["user", "b"]),
    ],
)
def test_the_first_role_is_the_highest_that_is_built_in_else_the_first_given(
    office: Office, someone: int, asked: list[str], kept: list[str]
) -> None:
    for name in ("a", "b"):
        office.client.post(ROLES, json={"name": name})
    answer = assign(office.client, someone, *asked).json()
    assert (answer["role"], answer["roles"]) == (kept[0], kept)
    shown = office.client.get(f"/api/v1/users/{someone}").json()
    assert (shown["role"], shown["roles"]) == (kept[0], kept)


def test_the_roles_of_an_account_are_shown_everywhere_in_one_order(office: Office, someone: int) -> None:
    older, newer = (made(office.client, fresh())["name"] for _ in range(2))
    answer = assign(office.client, someone, "user", newer, older).json()
    assert roles_of(office.client, someone) == answer["roles"]


def test_a_role_that_nobody_made_is_named_with_its_place(office: Office, person: Person) -> None:
    for names, place in ((["user", "nobody"], 1), (["nobody"], 0), (["user", "user", "nobody"], 2)):
        document = refusal(assign(office.client, person.id, *names), 400, "VALIDATION_ERROR")
        assert document["errors"][0]["field"] == f"/roles/{place}"
    assert roles_of(office.client, person.id) == ["user"]
    assert office.client.get("/api/v1/users/me", headers=person.headers).status_code == 200


@pytest.mark.parametrize("body", [{"roles": []}, {"roles": ["user"] * 21}, {"roles": "user"}, {}])
def test_an_account_has_one_role_at_the_least(office: Office, body: dict[str, Any]) -> None:
    answer = office.client.put(f"/api/v1/users/{office.editor.id}/roles", json=body)
    assert refusal(answer, 400)["errors"][0]["field"] == "/roles"


def test_an_admin_neither_makes_nor_unmakes_admins(office: Office, someone: int) -> None:
    client, headers = office.client, office.admin.headers
    other = make_account(office.config)
    assert assign(client, other, "admin").status_code == 200
    for user_id, names in (
        (someone, ["admin"]),
        (someone, ["user", "super_admin"]),
        (other, ["user"]),
        (1, ["user"]),
        (office.admin.id, ["super_admin"]),
    ):
        document = refusal(assign(client, user_id, *names, headers=headers), 403, "FORBIDDEN")
        assert document["required"] == ["*"]
    assert (roles_of(client, someone), roles_of(client, other), roles_of(client, 1)) == (
        ["user"],
        ["admin"],
        ["super_admin"],
    )
    assert assign(client, someone, "guest", headers=headers).status_code == 200


def test_nobody_gives_a_role_that_grants_more_than_the_own(office: Office, someone: int) -> None:
    """Neither an admin, to whom roles are only to read, nor a token of a super admin's for users alone."""
    client = office.client
    role = made(client, fresh(), ("roles:admin", "all"), ("users:read", "all"))
    document = refusal(assign(client, someone, role["name"], headers=office.admin.headers), 403, "FORBIDDEN")
    assert document["required"] == ["roles:admin"]
    narrow = token(client, "users:admin")
    assert refusal(assign(client, someone, role["name"], headers=narrow), 403)["required"] == ["roles:admin"]
    refusal(assign(client, someone, "admin", headers=narrow), 403)
    assert roles_of(client, someone) == ["user"]
    fitting = made(client, fresh(), ("users:read", "all"))
    assert assign(client, someone, fitting["name"], headers=narrow).status_code == 200


def test_a_narrow_token_does_not_change_its_owners_roles(client: TestClient, config: Config) -> None:
    """Whoever finds a token for users alone does not demote the super admin whose it is, another one or not."""
    make_person(client, config, "sue", "super_admin")
    made(client, "empty")
    refusal(assign(client, 1, "empty", headers=token(client, "users:admin")), 403, "FORBIDDEN")
    assert roles_of(client, 1) == ["super_admin"]
    assert assign(client, 1, "super_admin", "empty", headers=token(client, "*")).status_code == 200


def test_nobody_changes_the_roles_of_who_may_more(office: Office, someone: int) -> None:
    role = made(office.client, fresh(), ("roles:admin", "all"))
    assign(office.client, someone, role["name"])
    document = refusal(assign(office.client, someone, "guest", headers=office.admin.headers), 403, "FORBIDDEN")
    assert document["required"] == ["roles:admin"]


def test_nobody_makes_an_account_that_may_more_than_the_own(office: Office) -> None:
    """Its maker gives it the role `user` and knows its password: that, too, is handing on."""
    client = office.client
    made(client, "greeter", ("users:write", "all"))
    greeter = make_person(client, office.config, "gus", "greeter")
    new = {"email": "gift@example.com", "name": "Gift", "password": "another battery horse"}
    answer = client.post("/api/v1/users", json=new, headers=greeter.headers)
    assert "packages:read" in refusal(answer, 403, "FORBIDDEN")["required"]


def test_a_group_admin_gives_roles_within_the_group_and_within_its_reach(office: Office) -> None:
    client, config = office.client, office.config
    north = make_group(client, "North", "00000001")
    admin = make_person(client, config, "nora", "admin", group_id=north)
    inside, outside = make_account(config, north), make_account(config)
    assert assign(client, inside, "guest", headers=admin.headers).status_code == 200
    refusal(assign(client, outside, "guest", headers=admin.headers), 404, "NOT_FOUND")
    everybody, of_group = (made(client, fresh(), ("users:read", reach))["name"] for reach in ("all", "group"))
    document = refusal(assign(client, inside, everybody, headers=admin.headers), 403, "FORBIDDEN")
    assert document["required"] == ["users:read"]
    assert assign(client, inside, of_group, headers=admin.headers).status_code == 200


def test_the_last_super_admin_is_not_demoted(client: TestClient, config: Config) -> None:
    """Also not while there is another who is not active."""
    other = make_person(client, config, "sue", "super_admin")
    status = f"/api/v1/users/{other.id}/status"
    assert client.patch(status, json={"status": "suspended"}).status_code == 200
    for names in (["user"], ["admin"]):
        refusal(assign(client, 1, *names), 409, "CONFLICT")
    assert assign(client, 1, "super_admin", "guest").status_code == 200
    assert client.patch(status, json={"status": "active"}).status_code == 200
    assert assign(client, 1, "user").status_code == 200


def at_once(*calls: Callable[[], httpx2.Response]) -> list[httpx2.Response]:
    """The answers to calls that are made at the same moment."""
    go = Barrier(len(calls))

    def make(call: Callable[[], httpx2.Response]) -> httpx2.Response:
        go.wait(30)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(make, calls))


@pytest.mark.parametrize("against", ["roles", "status"])
def test_of_two_super_admins_who_dismiss_each_other_one_stays(client: TestClient, config: Config, against: str) -> None:
    """One demotes; the other demotes or suspends. Many times over, as who is first is chance."""
    sue = make_person(client, config, "sue", "super_admin")
    people = {1: dict(client.headers), sue.id: token(client, "*", headers=sue.headers)}
    body = {"roles": {"roles": ["user"]}, "status": {"status": "suspended"}}[against]
    method = {"roles": "PUT", "status": "PATCH"}[against]
    for _ in range(20):
        answers = at_once(
            lambda: assign(client, sue.id, "user", headers=people[1]),
            lambda: client.request(method, f"/api/v1/users/1/{against}", json=body, headers=people[sue.id]),
        )
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses[0] == 200
        assert statuses[1] in (401, 403, 409), [answer.text for answer in answers]
        (left,) = rows(config.database_path, "SELECT id FROM users WHERE role = 'super_admin' AND status = 'active'")
        (other,) = people.keys() - {left["id"]}
        assert assign(client, other, "super_admin", headers=people[left["id"]]).status_code == 200
        active = {"status": "active"}
        assert client.patch(f"/api/v1/users/{other}/status", json=active, headers=people[left["id"]]).is_success


def test_the_permissions_are_those_that_routes_name_with_their_routes(office: Office) -> None:
    named: dict[str, list[dict[str, str]]] = {}
    for line in ROUTES:
        if line.permission not in (PUBLIC, SIGNED_IN):
            shown = {"method": line.method, "path": line.path, "reach": line.reach}
            named.setdefault(line.permission, []).append(shown)
    found = office.client.get("/api/v1/permissions").json()
    assert [entry["name"] for entry in found] == sorted(named)
    assert {entry["name"]: entry["routes"] for entry in found} == named
    for entry in found:
        whole = "*" if entry["resource"] == entry["action"] == "*" else f"{entry['resource']}:{entry['action']}"
        assert entry["name"] == whole
