"""Who may call what: every route with every role and every scope, held against the rules as they are written.

What is expected is worked out here, from the tables of tests/test_permissions.py and a few lines, not from the code
that decides. Whoever may sends a body that the route refuses, so that nothing changes.
"""

import re
import sqlite3
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
from app.web.access import ACTION, RouteLine
from tests import office
from tests.accounts import Person, bearer, make_group, make_person
from tests.house import House, opened
from tests.support import ask, claim, configured, refusal
from tests.test_permissions import GRANTED, GROUPED, RUNGS

pytestmark = pytest.mark.slow  # every route for every kind of caller

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
KEPT = {
    "": "GET POST",
    "/{id}": "GET PATCH PUT DELETE",
    **dict.fromkeys(("/{id}/rename", "/{id}/move"), ACTION),
}
"""What there is of folders, files and documents alike."""
ROOMS = {
    "folders": KEPT | {"/tree": "GET"},
    "files": KEPT
    | dict.fromkeys(("/{id}/copy", "/{id}/favorite", "/{id}/share", "/{id}/revoke-share", "/batch-delete"), ACTION)
    | dict.fromkeys(("/storage", "/storage-info", "/{id}/download", "/{id}/download-url"), "GET")
    | dict.fromkeys(("/{id}/shares", "/{id}/access-logs"), "GET")
    | {"/upload": "POST", "/content": "PUT"},
    "documents": KEPT
    | dict.fromkeys(("/{id}/tags", "/{id}/share", "/{id}/unshare", "/batch-delete"), ACTION)
    | {"/{id}/revisions": "GET", "/{id}/revisions/{revision_id}": "GET"}
    | {"/{id}/revisions/{revision_id}/restore": ACTION},
    "fcs": dict.fromkeys(("/files", "/files/{id}/download", "/parameters", "/events", "/keywords"), "GET")
    | dict.fromkeys(("/statistics", "/histogram", "/density"), "GET")
    | {"/upload": "POST", "/content": "PUT", "/files/{id}": "GET DELETE", "/uploads": "GET POST"}
    | {"/uploads/{id}": "GET DELETE", "/uploads/{id}/complete": "POST", "/uploads/{id}/chunks/{chunk_id}": "PUT"},
}
MAY = {
    **{
        f"{method} /api/v1/{room}{path}": USERS
        for room, paths in ROOMS.items()
        for path, methods in paths.items()
        for method in methods.split()
    },
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


BEYOND = {"GET /api/v1/files/{id}/download-url": ["files:write"]}
"""What a call needs beside the permission on its line: who makes such a link gives the file away."""


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
    asked = [wanted, *BEYOND.get(title(line), ())]
    return "allowed" if all(may(caller, one, line.reach) for one in asked) else "refused"


def levels() -> list[str]:
    """Every rung of every ladder that a route stands on, each whole ladder, a foreign one, and all of them."""
    wanted = {needed(line) for line in ROUTES} - {None, "*"}
    resources = {str(permission).partition(":")[0] for permission in wanted}
    rungs = [f"{resource}:{action}" for resource in sorted(resources) for action in (*RUNGS[resource], "*")]
    return [*rungs, "system:admin", "*"]


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
        assert answer.status_code in (200, 400, 404, 415)
        return
    if line.path.endswith("/chunks/{chunk_id}"):
        assert answer.status_code == 404, caller.name  # there is no upload that would look at the body
        return
    asking = line.query is not None and any(field.required for field in msgspec.structs.fields(line.query))
    assert answer.status_code in ((400, 415) if line.method in MUTATING or asking else (200, 404)), caller.name
    assert answer.headers["x-accepted-scopes"] == (needed(line) or "")


def check_refused(line: RouteLine, caller: Caller, answer: httpx2.Response) -> None:
    """It says what is needed, how far, and what the caller holds: the role's grants, or the token's scopes."""
    document = refusal(answer, 403, "FORBIDDEN")
    wanted = str(needed(line))
    if may(caller, wanted, line.reach):
        assert document["required"] == BEYOND[title(line)], caller.name
    else:
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
        "GET /api/v1/files/shared/{link}",
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
    known = {title(line) for line in ROUTES}
    assert MAY.keys() <= known
    rooms = tuple(f"/api/v1/{room}" for room in ROOMS)
    kept = {title(line) for line in ROUTES if line.path.startswith(rooms) and line.permission != "PUBLIC"}
    assert kept <= MAY.keys()


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
        ("user", "DELETE /api/v1/folders/{id}", "allowed"),
        ("guest", "GET /api/v1/files", "refused"),
        ("builder", "GET /api/v1/documents/{id}", "refused"),
        ("super admin through a token for files:read", "POST /api/v1/files", "refused"),
        ("super admin through a token for files:write", "PUT /api/v1/files/content", "allowed"),
        ("super admin through a token for files:write", "PUT /api/v1/files/batch-delete", "refused"),
        ("user", "GET /api/v1/fcs/statistics", "allowed"),
        ("guest", "GET /api/v1/fcs/files", "refused"),
        ("super admin through a token for fcs:read", "GET /api/v1/fcs/keywords", "allowed"),
        ("super admin through a token for fcs:read", "GET /api/v1/fcs/uploads", "refused"),
        ("super admin through a token for fcs:write", "DELETE /api/v1/fcs/files/{id}", "allowed"),
        ("super admin through a token for fcs:write", "GET /api/v1/fcs/density", "refused"),
        ("super admin through a token for fcs:analyze", "PUT /api/v1/fcs/content", "allowed"),
        ("super admin through a token for folders:*", "GET /api/v1/files/{id}", "refused"),
    ):
        assert expected(lines[route], callers[name]) == verdict, (name, route)


STALE = {"If-Match": '"999"'}
"""Who may change a thing is told that it is another by now, so that it stays as it is."""
ACCESSES = ("full", "edit", "read", "none")
FILE_CALLS: list[tuple[str, str, object, str]] = [
    *(("GET", path, None, "200 200 200 404") for path in ("", "/download")),
    *(("GET", path, None, "200 403 403 404") for path in ("/download-url", "/shares", "/access-logs")),
    ("POST", "/copy", {}, "412 412 412 404"),
    *((method, "", {"name": "b.txt"}, "412 412 403 404") for method in ("PATCH", "PUT")),
    ("PATCH", "", {"name": "b.txt", "folder_id": None}, "412 403 403 404"),
    ("PATCH", "", {"is_favorite": True}, "412 403 403 404"),
    ("POST", "/rename", {"name": "b.txt"}, "412 412 403 404"),
    ("POST", "/move", {"folder_id": None}, "412 403 403 404"),
    ("POST", "/favorite", {"favorite": True}, "412 403 403 404"),
    ("POST", "/favorite", {}, "412 403 403 404"),
    ("POST", "/share", {"link": True}, "412 403 403 404"),
    ("POST", "/revoke-share", {"share_id": 1}, "412 403 403 404"),
    ("DELETE", "", None, "412 403 403 404"),
]
DOCUMENT_CALLS: list[tuple[str, str, object, str]] = [
    ("GET", "", None, "200 200 200 404"),
    *(("GET", path, None, "200 200 403 404") for path in ("/revisions", "/revisions/1")),
    *((method, "", {"title": "Other", "content": "x"}, "412 412 403 404") for method in ("PATCH", "PUT")),
    ("PATCH", "", {"title": "Other", "folder_id": None}, "412 403 403 404"),
    ("POST", "/rename", {"title": "Other"}, "412 412 403 404"),
    ("POST", "/tags", {"tags": ["x"]}, "412 412 403 404"),
    ("POST", "/move", {"folder_id": None}, "412 403 403 404"),
    ("POST", "/revisions/1/restore", None, "412 412 403 404"),
    ("POST", "/share", {"user_id": 1}, "412 403 403 404"),
    ("POST", "/unshare", {"user_id": 1}, "412 403 403 404"),
    ("DELETE", "", None, "412 403 403 404"),
]
FOLDER_CALLS: list[tuple[str, str, object, str]] = [
    ("GET", "", None, "200 404 404 404"),
    *((method, "", {"name": "b"}, "412 404 404 404") for method in ("PATCH", "PUT")),
    ("POST", "/rename", {"name": "b"}, "412 404 404 404"),
    ("POST", "/move", {"parent_id": None}, "412 404 404 404"),
    ("DELETE", "", None, "412 404 404 404"),
]
"""Method, path, body, and the status for each of `ACCESSES`; nobody has a folder through a share."""
CALLS = {"files": FILE_CALLS, "documents": DOCUMENT_CALLS, "folders": FOLDER_CALLS}


class Shared(NamedTuple):
    """A file, a document and the folder of both, everybody around them with the access that they have."""

    house: House
    owner: Person
    ids: dict[str, int]
    people: dict[str, tuple[Person, str]]

    @property
    def folder_id(self) -> int:
        return self.ids["folders"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    with opened(tmp_path_factory.mktemp("shared")) as house:
        owner = house.person()
        folder_id = office.folder(house, owner)["id"]
        ids = {"folders": folder_id, "files": office.put(house, owner, folder_id=folder_id)["id"]}
        ids["documents"] = office.document(house, owner, folder_id=folder_id)["id"]
        names = ("reader", "editor", "commenter", "member", "editing member", "both", "former member", "too late")
        others = {name: house.person() for name in names}
        reading = office.team(house, owner, *(others[name] for name in ("member", "both", "former member", "editor")))
        editing = office.team(house, owner, others["editing member"], others["both"])
        for noun in ("files", "documents"):
            what = f"{noun}/{ids[noun]}"
            for name, permission in {"reader": "read", "editor": "edit", "commenter": "comment"}.items():
                if (noun, permission) != ("files", "comment"):
                    office.share(house, owner, what, user_id=others[name].id, permission=permission)
            office.share(house, owner, what, team_id=reading, permission="read")
            office.share(house, owner, what, team_id=editing, permission="edit")
            office.share(house, owner, what, user_id=others["too late"].id, permission="edit")
        with sqlite3.connect(house.config.database_path) as outside:
            for noun in ("file", "document"):
                outside.execute(
                    f"UPDATE {noun}_shares SET expires_at = created_at WHERE user_id = ?",  # noqa: S608
                    (others["too late"].id,),
                )
        outside.close()
        gone = f"{office.TEAMS}/{reading}/members/{others['former member'].id}"
        assert house.client.delete(gone, headers=owner.headers).status_code == 204
        accesses = {"reader": "read", "editor": "edit", "commenter": "read", "member": "read"}
        accesses |= {"editing member": "edit", "both": "edit", "former member": "none", "too late": "none"}
        people = {name: (person, accesses[name]) for name, person in others.items()}
        people |= {
            "owner": (owner, "full"),
            "admin": (house.person("admin"), "full"),
            "outsider": (house.person(), "none"),
        }
        yield Shared(house, owner, ids, people | {"super admin": (house.person("super_admin"), "full")})


def access(noun: str, name: str, has: str) -> str:
    """What somebody may do with one of the things; files know no comments."""
    return "none" if (noun, name) == ("files", "commenter") else has


@pytest.mark.parametrize(
    ("noun", "method", "path", "body", "statuses"),
    [(noun, *given) for noun, calls in CALLS.items() for given in calls],
    ids=lambda part: part if isinstance(part, str) else None,
)
def test_things_of_others_are_not_there_and_shared_ones_are_as_they_were_shared(
    shared: Shared, noun: str, method: str, path: str, body: object, statuses: str
) -> None:
    expected = dict(zip(ACCESSES, map(int, statuses.split()), strict=True))
    target = f"/api/v1/{noun}/{shared.ids[noun]}{path}"
    for name, (person, has) in shared.people.items():
        answer = shared.house.client.request(method, target, json=body, headers={**person.headers, **STALE})
        wanted = expected[access(noun, name, has)]
        assert answer.status_code == wanted, (name, answer.text)
        if wanted == 404:
            assert refusal(answer, 404, "NOT_FOUND")["detail"] == f"No such {noun[:-1]}."
        elif wanted == 403:
            assert refusal(answer, 403, "FORBIDDEN")["access"] == access(noun, name, has)


@pytest.mark.parametrize("noun", ["files", "documents"])
def test_a_list_shows_each_what_they_may_see_and_how(shared: Shared, noun: str) -> None:
    """As shared, it is shown to those alone who have it through a share; where it lies, only to who has it whole."""
    for name, (person, has) in shared.people.items():
        may = access(noun, name, has)
        for query in ("", "?shared=true", "?shared=false", f"?owner_id={shared.owner.id}", "?q=t", "?folder_id=0"):
            found = shared.house.client.get(f"/api/v1/{noun}{query}", headers=person.headers).json()
            told = [(row["access"], row["folder_id"]) for row in found if row["id"] == shared.ids[noun]]
            sees = {"?shared=true": may in ("read", "edit"), "?shared=false": name == "owner", "?folder_id=0": False}
            place = shared.folder_id if may == "full" else None
            assert told == ([(may, place)] if sees.get(query, may != "none") else []), (name, query)
        inside = shared.house.client.get(f"/api/v1/{noun}?folder_id={shared.folder_id}", headers=person.headers)
        assert (shared.ids[noun] in [row["id"] for row in inside.json()]) == (may == "full"), name


def test_a_folder_is_seen_by_who_reaches_its_owner_alone(shared: Shared) -> None:
    for name, (person, has) in shared.people.items():
        client, status = shared.house.client, 200 if has == "full" else 404
        for query in (f"root_id={shared.folder_id}", f"owner_id={shared.owner.id}"):
            answer = client.get(f"/api/v1/folders/tree?{query}", headers=person.headers)
            assert answer.status_code == status, (name, query)
        found = client.get("/api/v1/folders?limit=1000", headers=person.headers).json()
        assert (shared.folder_id in [row["id"] for row in found]) == (status == 200), name


def test_into_a_folder_nobody_puts_anything_but_its_owner(shared: Shared) -> None:
    """Not even who reaches it: what somebody keeps lies in their own tree."""
    client, place = shared.house.client, shared.folder_id
    for name, (person, _) in shared.people.items():
        if name == "owner":
            continue
        file, text = office.put(shared.house, person), office.document(shared.house, person)
        for method, path, body in (
            ("POST", "folders", {"name": "b", "parent_id": place}),
            ("POST", "documents", {"title": "b", "folder_id": place}),
            ("PATCH", f"documents/{text['id']}", {"folder_id": place}),
            ("PATCH", f"files/{file['id']}", {"folder_id": place}),
            ("POST", f"files/{file['id']}/copy", {"folder_id": place}),
        ):
            answer = client.request(method, f"/api/v1/{path}", json=body, headers=person.headers)
            assert refusal(answer, 404, "NOT_FOUND")["detail"] == "No such folder.", (name, path)
        raw = client.put(f"/api/v1/files/content?name=b&folder_id={place}", content=b"x", headers=person.headers)
        refusal(raw, 404, "NOT_FOUND")
        form = office.form(shared.house, person, b"x", "b", folder_id=str(place))
        refusal(form, 404, "NOT_FOUND")


@pytest.mark.parametrize("noun", ["files", "documents"])
def test_of_several_things_none_is_deleted_where_one_is_not_the_callers(shared: Shared, noun: str) -> None:
    """Those that are missing are named; of what is shared nobody but who has it whole may be the one who deletes."""
    for name, (person, has) in shared.people.items():
        ids = [shared.ids[noun], 10**9]
        answer = shared.house.client.post(f"/api/v1/{noun}/batch-delete", json={"ids": ids}, headers=person.headers)
        missing = "1000000000" if access(noun, name, has) == "full" else f"{ids[0]}, 1000000000"
        assert f"you have not {missing};" in refusal(answer, 404, "NOT_FOUND")["detail"], name
        assert office.sees(shared.house, shared.owner, f"{noun}/{ids[0]}")
