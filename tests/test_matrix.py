"""Who may call what: every route with every role and every scope, held against the rules as they are written.

What is expected is worked out here, from the tables of tests/test_permissions.py and a few lines, not from the code
that decides. Whoever may sends a body that the route refuses, so that nothing changes.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import httpx2
import msgspec
import pytest
from starlette.testclient import TestClient

from app.config import Config
from app.main import create_app
from app.routes import ROUTES
from app.values import new_token
from app.web.access import RouteLine
from tests.accounts import Person, bearer, make_group, make_person
from tests.support import ask, claim, configured, refusal
from tests.test_permissions import GRANTED, GROUPED, RUNGS

Grants = dict[str, str]
WIDTH = ("own", "group", "all")
MUTATING = ("POST", "PUT", "PATCH", "DELETE")
REFUSED_BODY = b'{"no_such_field": 1}'
ALONE: dict[str, Grants] = {"builder": {"packages:build": "all"}, "keeper": {"users:admin": "own"}}
"""Roles of one permission each: one that goes up a ladder, one that goes up but not far."""
SUPER = {"super"}
ADMINS = SUPER | {"admin-of-all", "admin-of-a-group"}
KEEPERS = ADMINS | {"keeper"}
USERS = ADMINS | {"user"}
MAY = {
    "GET /api/v1/groups": ADMINS,
    "GET /api/v1/groups/{id}": ADMINS,
    "POST /api/v1/groups": SUPER,
    "PATCH /api/v1/groups/{id}": SUPER,
    "DELETE /api/v1/groups/{id}": SUPER,
    "PUT /api/v1/users/{id}/group": SUPER,
    "GET /api/v1/teams": USERS,
    "POST /api/v1/teams": USERS,
    "GET /api/v1/teams/{id}": USERS,
    "PATCH /api/v1/teams/{id}": USERS,
    "DELETE /api/v1/teams/{id}": USERS,
    "POST /api/v1/teams/{id}/members": USERS,
    "DELETE /api/v1/teams/{id}/members/{user_id}": USERS,
    "GET /api/v1/audit": ADMINS,
    "GET /api/v1/tokens/{id}/logs": USERS,
    "GET /api/v1/authz/explain": ADMINS,
    "GET /api/v1/system/outbox": SUPER,
    "GET /api/v1/users": ADMINS,
    "POST /api/v1/users": ADMINS,
    "PATCH /api/v1/users/{id}": USERS | KEEPERS,
    "PUT /api/v1/users/{id}/roles": ADMINS,
    "GET /api/v1/roles": ADMINS,
    "GET /api/v1/permissions": ADMINS,
    "POST /api/v1/roles": SUPER,
    "PUT /api/v1/roles/{id}/permissions": SUPER,
}
"""Who gets past the door with a session, as people were told, whatever the route's own line says."""


class Caller(NamedTuple):
    """Somebody with a credential: what the roles grant, and through a token its scopes."""

    name: str
    headers: dict[str, str]
    grants: Grants
    scopes: tuple[str, ...] | None = None

    @property
    def held(self) -> list[str]:
        """What a refusal says the caller holds."""
        return sorted(self.grants if self.scopes is None else self.scopes)


STRANGER = Caller("a stranger", {}, {})
IMPOSTOR = Caller("somebody with a made-up token", bearer(new_token()), {})


def needed(line: RouteLine) -> str | None:
    """The permission that a route asks for, on a SIGNED_IN one of tokens alone."""
    return line.scope if line.permission in ("PUBLIC", "SIGNED_IN") else line.permission


def includes(held: str, wanted: str) -> bool:
    """A rung includes those below it on its own ladder, `resource:*` the ladder, `*` all ladders."""
    if "*" in (held, wanted):
        return held == "*"
    (resource, action), (wanted_resource, wanted_action) = held.split(":"), wanted.split(":")
    if resource != wanted_resource:
        return False
    ladder = RUNGS[resource]
    return action == "*" or ladder.index(action) >= ladder.index(wanted_action)


def may(caller: Caller, wanted: str, reach: str) -> bool:
    """Whether a role grants it as far as that and, for a token, a scope includes it too."""
    wide = [held for permission, held in caller.grants.items() if includes(permission, wanted)]
    far_enough = any(WIDTH.index(held) >= WIDTH.index(reach) for held in wide)
    return far_enough and (caller.scopes is None or any(includes(scope, wanted) for scope in caller.scopes))


def expected(line: RouteLine, caller: Caller) -> str:
    """`unknown` for 401, `refused` for 403, `allowed` for anything else."""
    wanted = needed(line)
    if line.permission == "PUBLIC":
        return "allowed"
    if caller in (STRANGER, IMPOSTOR):
        return "unknown"
    if wanted is None or (line.permission == "SIGNED_IN" and caller.scopes is None):
        return "allowed"
    return "allowed" if may(caller, wanted, line.reach) else "refused"


def levels() -> list[str]:
    """Every rung of every ladder that a route stands on, each whole ladder, a foreign one, and all of them."""
    wanted = {needed(line) for line in ROUTES} - {None, "*"}
    resources = {str(permission).partition(":")[0] for permission in wanted}
    rungs = [f"{resource}:{action}" for resource in sorted(resources) for action in (*RUNGS[resource], "*")]
    return [*rungs, "fcs:admin", "system:admin", "*"]


def grouped(grants: Grants) -> Grants:
    """An admin's grants in a group: some of them end at it."""
    return {name: "group" if name.partition(":")[0] in GROUPED else reach for name, reach in grants.items()}


def ungrouped(grants: Grants) -> Grants:
    """An admin's grants without a group: sites and streams are none of theirs."""
    return {name: reach for name, reach in grants.items() if name.partition(":")[0] not in ("sites", "streams")}


def session(person: Person, grants: Grants) -> Caller:
    return Caller(person.username, person.headers, grants)


def tokens(client: TestClient, name: str, headers: dict[str, str], grants: Grants) -> Iterator[Caller]:
    """An access token of each level, made by an account that may make any; `grants` are what it grants from then on."""
    for scope in levels():
        made = client.post("/api/v1/tokens", json={"name": "matrix", "scopes": [scope]}, headers=headers)
        assert made.status_code == 201, made.text
        yield Caller(f"{name} through a token for {scope}", bearer(made.json()["token"]), grants, (scope,))


def custom(client: TestClient, name: str) -> None:
    """Makes one of the roles of one permission."""
    grants = [{"permission": permission, "reach": reach} for permission, reach in ALONE[name].items()]
    assert client.post("/api/v1/roles", json={"name": name, "permissions": grants}).status_code == 201


def everybody(client: TestClient, config: Config) -> Iterator[Caller]:
    """A session of each role, and tokens of a super admin, of a user and of a super admin that was."""
    group_id = make_group(client, "North", "00000001")
    admin = GRANTED["admin"]
    yield session(make_person(client, config, "super", "super_admin"), GRANTED["super_admin"])
    yield session(make_person(client, config, "admin-of-all", "admin"), ungrouped(admin))
    yield session(make_person(client, config, "admin-of-a-group", "admin", group_id=group_id), grouped(admin))
    yield session(make_person(client, config, "guest", "guest"), GRANTED["guest"])
    for name in ALONE:
        custom(client, name)
        yield session(make_person(client, config, name, name), ALONE[name])
    user = make_person(client, config, "user")
    yield session(user, GRANTED["user"])
    own = client.post("/api/v1/tokens", headers=user.headers).json()
    yield Caller("user through a token", bearer(own["token"]), GRANTED["user"], tuple(sorted(GRANTED["user"])))
    yield from tokens(client, "super admin", {}, GRANTED["super_admin"])
    fallen = make_person(client, config, "fallen", "super_admin")
    yield from tokens(client, "a super admin that was", fallen.headers, GRANTED["user"])
    assert client.put(f"/api/v1/users/{fallen.id}/roles", json={"roles": ["user"]}).status_code == 200


class Scene(NamedTuple):
    """The service and all who call it."""

    client: TestClient
    callers: Sequence[Caller]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    config = configured(tmp_path_factory.mktemp("matrix") / "data")
    with TestClient(create_app(config), client=("127.0.0.1", 50000)) as client:
        client.headers["Authorization"] = f"Token {claim(client)}"
        callers = [STRANGER, IMPOSTOR, *everybody(client, config)]
        del client.headers["Authorization"]
        yield Scene(client, callers)


def call(client: TestClient, line: RouteLine, caller: Caller) -> httpx2.Response:
    """One call; a stranger sends nothing, because what is wrong with it may be told to whoever claims."""
    headers = [(name.lower().encode(), value.encode()) for name, value in caller.headers.items()]
    body = [REFUSED_BODY] if line.method in MUTATING and caller is not STRANGER else []
    return ask(client, line.method, re.sub(r"{\w+}", "999", line.path), headers=headers, body=body)


def title(line: RouteLine) -> str:
    return f"{line.method} {line.path}"


@pytest.mark.parametrize("line", ROUTES, ids=title)
def test_everybody_may_what_is_theirs_and_nobody_more(scene: Scene, line: RouteLine) -> None:
    wrong = []
    for caller in scene.callers:
        answer = call(scene.client, line, caller)
        verdict = {401: "unknown", 403: "refused"}.get(answer.status_code, "allowed")
        if verdict != expected(line, caller):
            wrong.append(f"{caller.name}: {answer.status_code} {answer.text[:200]}")
        elif verdict == "allowed":
            check_allowed(line, caller, answer)
        elif verdict == "refused":
            check_refused(line, caller, answer)
        else:
            refusal(answer, 401, "UNAUTHORIZED")
    assert wrong == []


def check_allowed(line: RouteLine, caller: Caller, answer: httpx2.Response) -> None:
    """It got past the guard, was refused for its body if it had one, and says what the route accepts."""
    if line.permission == "PUBLIC" and caller in (STRANGER, IMPOSTOR):
        assert answer.status_code in (200, 400, 415)
        return
    asking = line.query is not None and any(field.required for field in msgspec.structs.fields(line.query))
    assert answer.status_code in ((400, 415) if line.method in MUTATING or asking else (200, 404)), caller.name
    assert answer.headers["x-accepted-scopes"] == (needed(line) or "")


def check_refused(line: RouteLine, caller: Caller, answer: httpx2.Response) -> None:
    """It says what is needed, how far, and what the caller holds: the role's grants, or the token's scopes."""
    document = refusal(answer, 403, "FORBIDDEN")
    wanted = needed(line)
    assert (document["required"], document["reach"]) == ([wanted], line.reach), caller.name
    assert document["held"] == caller.held, caller.name
    assert answer.headers["x-accepted-scopes"] == needed(line)


@pytest.mark.parametrize("line", ROUTES, ids=title)
def test_no_route_is_without_a_permission_and_a_reach(line: RouteLine) -> None:
    assert line.reach in WIDTH
    if line.permission not in ("PUBLIC", "SIGNED_IN", "*"):
        resource, action = line.permission.split(":")
        assert action in RUNGS[resource]


def test_what_is_open_to_all_is_only_how_one_gets_in_and_how_the_service_is() -> None:
    assert {title(line) for line in ROUTES if line.permission == "PUBLIC"} == {
        *("POST /api/v1/auth/login", "POST /api/v1/auth/token", "POST /api/v1/auth/refresh"),
        *("POST /api/v1/auth/forgot-password", "POST /api/v1/auth/reset-password", "POST /api/v1/auth/register"),
        *("GET /health", "GET /livez", "GET /readyz", "GET /hello"),
    }


@pytest.mark.parametrize("line", [line for line in ROUTES if needed(line)], ids=title)
def test_the_matrix_holds_every_verdict_for_every_guarded_route(scene: Scene, line: RouteLine) -> None:
    """Else a row of it would say nothing."""
    assert {expected(line, caller) for caller in scene.callers} == {"unknown", "refused", "allowed"}


@pytest.mark.parametrize("line", [line for line in ROUTES if title(line) in MAY], ids=title)
def test_a_session_opens_what_its_role_was_said_to_open(scene: Scene, line: RouteLine) -> None:
    """By name and not by the permission on the line, so that a wrong one there is seen."""
    sessions = [caller for caller in scene.callers if caller.grants and caller.scopes is None]
    assert {caller.name for caller in sessions} == KEEPERS | {"user", "guest", "builder"}
    open_to = {caller.name for caller in sessions if call(scene.client, line, caller).status_code != 403}
    assert open_to == MAY[title(line)]


def test_what_is_said_of_sessions_is_said_of_routes_that_exist() -> None:
    assert MAY.keys() <= {title(line) for line in ROUTES}


def test_a_role_ends_where_it_is_written_to_end(scene: Scene) -> None:
    """A few cells by hand, that the oracle is seen to say what people were told."""
    lines = {title(line): line for line in ROUTES}
    callers = {caller.name: caller for caller in scene.callers}
    for name, route, verdict in (
        ("super", "POST /api/v1/roles", "allowed"),
        ("admin-of-all", "POST /api/v1/roles", "refused"),
        ("admin-of-all", "GET /api/v1/roles", "allowed"),
        ("admin-of-a-group", "GET /api/v1/users", "allowed"),
        ("admin-of-a-group", "POST /api/v1/packages/{id}/activate", "allowed"),
        ("user", "GET /api/v1/users", "refused"),
        ("user", "GET /api/v1/users/{id}", "allowed"),
        ("user", "DELETE /api/v1/users/{id}", "refused"),
        ("user", "POST /api/v1/packages", "refused"),
        ("guest", "GET /api/v1/packages", "refused"),
        ("guest", "GET /api/v1/users/me", "allowed"),
        ("guest", "POST /api/v1/tokens", "refused"),
        ("guest", "POST /api/v1/auth/change-password", "allowed"),
        ("builder", "POST /api/v1/packages/{id}/download", "allowed"),
        ("builder", "POST /api/v1/packages/{id}/activate", "refused"),
        ("keeper", "PUT /api/v1/users/{id}/roles", "refused"),
        ("super admin through a token for system:admin", "GET /api/v1/system/outbox", "refused"),
        ("super admin through a token for *", "GET /api/v1/system/outbox", "allowed"),
        ("super admin through a token for groups:read", "POST /api/v1/groups", "refused"),
        ("a super admin that was through a token for *", "GET /api/v1/audit", "refused"),
        ("super admin through a token for users:read", "POST /api/v1/auth/logout", "refused"),
        ("super admin through a token for users:write", "POST /api/v1/auth/logout", "allowed"),
        ("a super admin that was through a token for *", "POST /api/v1/packages", "refused"),
        ("a super admin that was through a token for packages:admin", "GET /api/v1/packages", "allowed"),
    ):
        assert expected(lines[route], callers[name]) == verdict, (name, route)
