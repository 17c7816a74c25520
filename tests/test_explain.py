"""Why somebody may do something, or what is missing: told by GET /authz/explain, and held against what then happens.

The people are those of tests/test_matrix.py, whose oracle says how far they may, and some who cannot call at all.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.main import create_app
from app.permissions import ALIASES, REACHES, Grant, Permissions, reaches, standing
from app.routes import ROUTES
from app.values import hashed, new_token
from tests.accounts import Person, bearer, make_group, make_person
from tests.house import House
from tests.support import claim, configured, refusal, rows
from tests.test_matrix import WIDTH, Caller, call, everybody, grouped, may, needed, title
from tests.test_permissions import ALL, GRANTED, held
from tests.test_users import insert

EXPLAIN, TOKENS, ROLES = "/api/v1/authz/explain", "/api/v1/tokens", "/api/v1/roles"
NAMED = sorted({wanted for line in ROUTES if (wanted := needed(line)) is not None})
"""Every permission that a route names."""
PAST = "2026-01-02T03:04:05.678Z"
HOME = "192.0.2.77"
OUT_OF_REACH, NO_TOKEN = "No such user.", "This account has no such token."


class Subject(NamedTuple):
    """Who is asked about: an account, or one of its tokens; `ended` is a word for why it can do nothing at all."""

    caller: Caller
    user_id: int
    token_id: int | None = None
    ended: str | None = None

    def reach(self, wanted: str) -> str | None:
        """How far it may, by the oracle."""
        far = [reach for reach in WIDTH if self.ended is None and may(self.caller, wanted, reach)]
        return far[-1] if far else None


class Scene:
    """A claimed service, all who are asked about, and `owner`, the headers of a super admin who asks."""

    def __init__(self, client: TestClient) -> None:
        self.client, self.config = client, client.app.state.config  # type: ignore[attr-defined]
        self.owner = {"Authorization": f"Token {claim(client)}"}
        client.headers.update(self.owner)
        self.subjects = [self.subject(caller) for caller in everybody(client, self.config)]
        self.by_name: dict[str, Subject] = {}
        (north,) = rows(self.config.database_path, "SELECT id FROM groups")
        self.north, self.south = north["id"], make_group(client, "South", "00000002")
        self.nils, self.sam, self.otto = (
            make_person(client, self.config, name, group_id=group_id)
            for name, group_id in (("nils", self.north), ("sam", self.south), ("otto", None))
        )
        self.mover = make_person(client, self.config, "mover")
        self.subjects += [*self.several_roles(), *self.people_shut_out(), *self.tokens_that_are_over()]
        for subject in self.subjects:
            self.by_name.setdefault(subject.caller.name, subject)
        del client.headers["Authorization"]

    def subject(self, caller: Caller, ended: str | None = None) -> Subject:
        """Whose credential it is, as the database has it."""
        secret = caller.headers["Authorization"].partition(" ")[2]
        found = rows(self.config.database_path, "SELECT * FROM tokens WHERE secret_sha256 = ?", hashed(secret))
        if found:
            return Subject(caller, found[0]["user_id"], found[0]["id"], ended)
        (user,) = rows(self.config.database_path, "SELECT id FROM users WHERE username = ?", caller.name)
        return Subject(caller, user["id"], None, ended)

    def several_roles(self) -> Iterator[Subject]:
        """People with a role of this test's own, alone or beside others."""
        inside = grouped(GRANTED["admin"])
        for name, grants, others, more, group_id in (
            ("bare", {}, (), {}, None),
            ("lead", {"users:admin": "group", "tokens:read": "all"}, (), {}, None),
            ("beside", {"packages:activate": "all"}, ("user",), GRANTED["user"], None),
            ("wide", {"users:read": "all", "groups:*": "all"}, ("admin",), inside, self.north),
        ):
            wanted = [{"permission": permission, "reach": reach} for permission, reach in grants.items()]
            assert self.client.post(ROLES, json={"name": name, "permissions": wanted}).status_code == 201
            person = make_person(self.client, self.config, f"{name}-one", name, *others, group_id=group_id)
            yield self.subject(Caller(person.username, person.headers, {**more, **grants}))

    def token(self, person: Person, **wanted: Any) -> str:
        answer = self.client.post(TOKENS, json=wanted, headers=person.headers)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    def people_shut_out(self) -> Iterator[Subject]:
        """Accounts of each status in which nobody is let in, each by its session and by a token."""
        for status in ("suspended", "inactive", "pending"):
            person = make_person(self.client, self.config, status)
            secret = self.token(person)
            path = f"/api/v1/users/{person.id}/status"
            assert self.client.patch(path, json={"status": status}).status_code == 200
            yield self.subject(Caller(status, person.headers, GRANTED["user"]), status)
            yield self.subject(Caller(status, bearer(secret), GRANTED["user"], tuple(GRANTED["user"])), status)

    def tokens_that_are_over(self) -> Iterator[Subject]:
        """Tokens of somebody who may do what they were made for; one that is both is told to be revoked, as ever."""
        for columns, ended in ((["revoked_at"], "revoked"), (["expires_at"], "expired")):
            yield self.over(columns, ended)
        yield self.over(["expires_at", "revoked_at"], "revoked")

    def over(self, columns: list[str], ended: str) -> Subject:
        secret = self.token(self.otto, scopes=["users:write"], allowed_ips=[HOME])
        for column in columns:
            insert(self.config, f"UPDATE tokens SET {column} = ? WHERE secret_sha256 = ?", PAST, hashed(secret))  # noqa: S608
        return self.subject(Caller("otto", bearer(secret), GRANTED["user"], ("users:write",)), ended)

    def ask(
        self, headers: dict[str, str], user_id: int, permission: str, token_id: int | None = None
    ) -> httpx2.Response:
        wanted: dict[str, Any] = {"user_id": user_id, "permission": permission}
        params = wanted if token_id is None else wanted | {"token_id": token_id}
        return self.client.get(EXPLAIN, params=params, headers=headers)

    def told(self, subject: Subject, permission: str) -> dict[str, Any]:
        """What a super admin is told of it."""
        answer = self.ask(self.owner, subject.user_id, permission, subject.token_id)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    config = configured(tmp_path_factory.mktemp("explain") / "data")
    with TestClient(create_app(config), client=("127.0.0.1", 50000)) as client:
        yield Scene(client)


def test_every_kind_of_caller_is_asked_about(scene: Scene) -> None:
    """Else the agreement below would say little."""
    assert {subject.ended for subject in scene.subjects} == {
        *(None, "suspended", "inactive", "pending", "revoked", "expired"),
    }
    assert {(subject.token_id is None, subject.reach("users:read")) for subject in scene.subjects} >= {
        *((True, reach) for reach in ("own", "group", "all", None)),
        *((False, reach) for reach in ("own", "all", None)),
    }


def let_in(scene: Scene, line: Any, subject: Subject) -> bool:
    """Whether the guard lets the subject through to what the route does; what that refuses is its own affair."""
    answer = call(scene.client, line, subject.caller)
    return answer.status_code != 401 and not (answer.status_code == 403 and "reach" in answer.json())


@pytest.mark.slow
@pytest.mark.parametrize("wanted", NAMED)
def test_what_is_told_is_what_happens(scene: Scene, wanted: str) -> None:
    """Of everybody, on every route that asks for this permission: with the reach told it is open as far as that."""
    lines = [line for line in ROUTES if needed(line) == wanted]
    for subject in scene.subjects:
        told = scene.told(subject, wanted)
        who = f"{subject.caller.name} {subject.token_id}: {told}"
        assert told["reach"] == subject.reach(wanted), who
        assert told["allowed"] == (told["reach"] is not None) == (not told["missing"]), who
        for line in lines:
            if line.permission != "SIGNED_IN" or subject.token_id is not None:
                open_to = told["allowed"] and reaches(told["reach"], line.reach)
                assert let_in(scene, line, subject) == open_to, f"{title(line)}: {who}"


@pytest.mark.parametrize("wanted", ["*", "users:*", "packages:*", "sites:read", "streams:admin", "fcs:admin"])
def test_what_no_route_names_is_explained_too(scene: Scene, wanted: str) -> None:
    for subject in scene.subjects:
        if "*" in wanted.partition(":")[2] + wanted[:1]:
            whole = [held for held in subject.caller.grants if held in ("*", wanted)]
            scoped = subject.caller.scopes is None or {"*", wanted} & {*subject.caller.scopes}
            expected = bool(whole) and bool(scoped) and subject.ended is None
        else:
            expected = subject.reach(wanted) is not None
        assert scene.told(subject, wanted)["allowed"] == expected, subject


def test_the_roles_and_scopes_that_allow_it_are_named(scene: Scene) -> None:
    wide = scene.by_name["wide-one"]
    told = scene.told(wide, "users:view")
    assert told == {
        "user_id": wide.user_id,
        "username": "wide-one",
        "token_id": None,
        "permission": "users:read",
        "allowed": True,
        "reach": "all",
        "roles": [
            {"role": "admin", "permission": "users:*", "reach": "group"},
            {"role": "wide", "permission": "users:read", "reach": "all"},
        ],
        "scopes": None,
        "missing": [],
    }
    narrow = scene.by_name["super admin through a token for packages:build"]
    told = scene.told(narrow, "packages:read")
    assert (told["token_id"], told["scopes"], told["reach"]) == (narrow.token_id, ["packages:build"], "all")
    assert told["roles"] == [{"role": "super_admin", "permission": "*", "reach": "all"}]


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_an_action_under_another_name_is_the_same(scene: Scene, alias: str) -> None:
    for name in ("admin-of-a-group", "user", "super admin through a token for users:write"):
        told = scene.told(scene.by_name[name], f"users:{alias}")
        assert told == scene.told(scene.by_name[name], f"users:{ALIASES[alias]}")
        assert told["permission"] == f"users:{ALIASES[alias]}"


@pytest.mark.parametrize(
    "permission",
    [
        *("", " ", "users", "users:", ":read", "*:read", "**", "users:read:write", "Users:read", "users:READ"),
        *("users:read ", " users:read", "users:read\n", "*\n", "users:fly", "nobody:read", "packages:delete"),
        *("usеrs:read", "'; DROP TABLE users; --", "x" * 51, "users:read,users:write", "null", "\u202eusers:read"),
    ],
)
def test_what_is_no_permission_is_refused_by_name(scene: Scene, permission: str) -> None:
    """Also of nobody: the refusal does not tell who there is."""
    for user_id in (scene.otto.id, 999):
        (error,) = refusal(scene.ask(scene.owner, user_id, permission), 400, "VALIDATION_ERROR")["errors"]
        assert error["field"] == "permission"


@pytest.mark.parametrize(
    ("given_query", "field"),
    [
        ({}, "user_id"),
        ({"user_id": "1"}, "permission"),
        ({"permission": "users:read"}, "user_id"),
        *(
            ({"user_id": wrong, "permission": "*"}, "user_id")
            for wrong in ("0", "-1", "x", "", "1.5", "9" * 30, "null")
        ),
        *(
            ({"user_id": "1", "permission": "*", "token_id": wrong}, "token_id")
            for wrong in ("0", "-1", "x", "", "null", new_token())
        ),
        ({"user_id": "1", "permission": "*", "reach": "all"}, "reach"),
    ],
)
def test_a_question_that_is_none_is_refused_by_field(scene: Scene, given_query: dict[str, str], field: str) -> None:
    answer = scene.client.get(EXPLAIN, params=given_query, headers=scene.owner)
    (error,) = refusal(answer, 400, "VALIDATION_ERROR")["errors"]
    assert error["field"] == field
    assert not any(secret in answer.text for secret in given_query.values() if len(secret) > 40)


def test_who_is_out_of_reach_is_not_found(scene: Scene) -> None:
    """An admin of a group asks about the group, whoever else there is; a `lead` without a group about itself."""
    nora, lead = scene.by_name["admin-of-a-group"], scene.by_name["lead-one"]
    super_admin = scene.by_name["super"].user_id
    for asker, found, missing in (
        (nora.caller.headers, [nora.user_id, scene.nils.id], [scene.sam.id, scene.otto.id, super_admin, 1, 999]),
        (lead.caller.headers, [lead.user_id], [scene.otto.id, scene.sam.id, super_admin, 999]),
        (scene.by_name["admin-of-all"].caller.headers, [scene.sam.id, scene.otto.id, super_admin], [999, 10**18 - 1]),
    ):
        assert {scene.ask(asker, user_id, "users:read").status_code for user_id in found} == {200}
        for user_id in missing:
            assert refusal(scene.ask(asker, user_id, "users:read"), 404, "NOT_FOUND")["detail"] == OUT_OF_REACH


def test_a_token_of_somebody_else_is_not_found(scene: Scene) -> None:
    """Nor one that nobody has; and of an account out of reach it is the account that is not found."""
    theirs = scene.by_name["user through a token"].token_id
    for token_id in (theirs, 10**9):
        answer = scene.ask(scene.owner, scene.otto.id, "users:read", token_id)
        assert refusal(answer, 404, "NOT_FOUND")["detail"] == NO_TOKEN
    nora = scene.by_name["admin-of-a-group"].caller.headers
    own = scene.by_name["super admin through a token for *"]
    assert refusal(scene.ask(nora, scene.nils.id, "*", own.token_id), 404)["detail"] == NO_TOKEN
    assert refusal(scene.ask(nora, own.user_id, "*", own.token_id), 404)["detail"] == OUT_OF_REACH


@pytest.mark.parametrize("name", ["user", "guest", "builder", "keeper", "super admin through a token for users:delete"])
def test_whoever_does_not_administer_people_does_not_ask(scene: Scene, name: str) -> None:
    """Not about themselves either: what they hold is told by /users/me."""
    subject = scene.by_name[name]
    for user_id in (subject.user_id, scene.otto.id, 999):
        answer = scene.ask(subject.caller.headers, user_id, "users:read")
        assert refusal(answer, 403, "FORBIDDEN")["required"] == ["users:admin"]
    refusal(scene.ask({}, scene.otto.id, "users:read"), 401)


@pytest.mark.parametrize("scope", ["users:admin", "users:*", "*"])
def test_a_token_with_the_scope_asks_as_its_owner_does(scene: Scene, scope: str) -> None:
    nora = scene.by_name["admin-of-a-group"]
    made = scene.client.post(TOKENS, json={"scopes": [scope]} if scope != "*" else {}, headers=nora.caller.headers)
    headers = bearer(made.json()["token"])
    assert scene.ask(headers, scene.nils.id, "users:read").json()["reach"] == "own"
    refusal(scene.ask(headers, scene.sam.id, "users:read"), 404)


def test_what_is_missing_is_named(scene: Scene) -> None:
    """The role, the scope, the group, the status, the token's state; all that is missing, not the first of it."""
    for name, wanted, words in (
        ("user", "packages:write", [("roles", "user", "packages:write")]),
        ("guest", "tokens:read", [("roles", "guest", "tokens:read")]),
        ("beside-one", "groups:read", [("roles", "user", "beside", "groups:read")]),
        ("admin-of-all", "sites:read", [("roles", "admin", "sites:read", "group")]),
        ("super admin through a token for users:write", "users:delete", [("scopes", "users:write", "users:delete")]),
        (
            "a super admin that was through a token for users:write",
            "packages:build",
            [("scopes", "users:write", "packages:build"), ("roles", "user", "packages:build")],
        ),
        ("suspended", "users:read", [("account", "suspended")]),
        ("inactive", "users:read", [("account", "inactive")]),
        ("pending", "packages:write", [("account", "pending"), ("roles", "user", "packages:write")]),
    ):
        missing = scene.told(scene.by_name[name], wanted)["missing"]
        assert len(missing) == len(words), (name, missing)
        for text, expected in zip(missing, words, strict=True):
            assert all(word in text for word in expected), (name, text)


def test_only_an_admin_is_told_to_lack_a_group(scene: Scene) -> None:
    """Who holds nothing of sites in a group either lacks a role; who is in a group lacks none."""
    assert "group" in scene.told(scene.by_name["admin-of-all"], "streams:read")["missing"][0]
    assert scene.told(scene.by_name["admin-of-a-group"], "streams:read")["reach"] == "group"
    for name in ("user", "guest", "builder"):
        assert "group" not in scene.told(scene.by_name[name], "streams:read")["missing"][0], name


def test_the_state_of_a_token_is_named(scene: Scene) -> None:
    ended = [subject for subject in scene.subjects if subject.ended in ("revoked", "expired")]
    assert [subject.ended for subject in ended] == ["revoked", "expired", "revoked"]
    for subject in ended:
        told = scene.told(subject, "users:read")
        assert (told["allowed"], told["reach"], len(told["missing"])) == (False, None, 1)
        assert subject.ended is not None
        assert subject.ended in told["missing"][0]
        assert told["scopes"] == ["users:write"]
        assert len(scene.told(subject, "packages:admin")["missing"]) == 3


def test_nothing_is_told_that_opens_anything(scene: Scene) -> None:
    """Not the secret, its beginning or its hash, and not from where a token may be used."""
    subject = next(subject for subject in scene.subjects if subject.ended == "revoked")
    (token,) = rows(scene.config.database_path, "SELECT * FROM tokens WHERE id = ?", subject.token_id)
    for wanted in ("users:read", "packages:admin", "*"):
        answer = scene.ask(scene.owner, subject.user_id, wanted, subject.token_id)
        assert answer.status_code == 200
        for secret in (token["prefix"], token["secret_sha256"], HOME, "pat_", "scrypt", "@"):
            assert secret not in answer.text, secret


def test_an_answer_is_one_snapshot_of_a_few_statements(scene: Scene) -> None:
    """As many for who has one role as for who has several, for what is allowed as for what is not."""
    database, heard = scene.client.app.state.db, []  # type: ignore[attr-defined]
    names = ("user", "beside-one", "wide-one", "suspended", "super")
    database.observe = lambda name, statements, _: heard.append((name, statements))
    try:
        for name in names:
            scene.told(scene.by_name[name]._replace(token_id=None), "packages:activate")
        for name in ("user through a token", "super admin through a token for *"):
            scene.told(scene.by_name[name], "packages:activate")
    finally:
        database.observe = None
    jobs = [job for job in heard if job[0] not in ("add_many", "touch", "identify")]
    assert {name for name, _ in jobs} == {"explain"}
    assert len({count for _, count in jobs[: len(names)]}) == len({count for _, count in jobs[len(names) :]}) == 1
    assert max(count for _, count in jobs) <= 4
    assert len(jobs) == len(names) + 2


def test_a_change_is_told_at_once(scene: Scene) -> None:
    person = scene.mover
    subject = Subject(Caller("mover", person.headers, {}), person.id)
    assert scene.told(subject, "users:admin")["reach"] is None
    for path, body, reach in (
        ("roles", {"roles": ["admin"]}, "all"),
        ("group", {"group_id": scene.north}, "group"),
        ("roles", {"roles": ["guest"]}, None),
    ):
        answer = scene.client.put(f"/api/v1/users/{person.id}/{path}", json=body, headers=scene.owner)
        assert answer.status_code == 200, answer.text
        assert scene.told(subject, "users:admin")["reach"] == reach


@pytest.fixture(scope="module")
def drawn(house: House) -> dict[tuple[str, bool], tuple[int, int]]:
    """By role and whether it is in a group: an account and a token of it; the roles are `admin` and one of our own."""
    group_id = make_group(house.client, "North", "00000001")
    assert house.client.post(ROLES, json={"name": "drawn", "permissions": []}).status_code == 201
    found = {}
    for role in ("admin", "drawn"):
        for inside in (True, False):
            name, group = f"{role}-{inside}".lower(), group_id if inside else None
            person = make_person(house.client, house.config, name, role, group_id=group)
            insert(
                house.config,
                "INSERT INTO tokens (user_id, name, prefix, secret_sha256, scopes, created_at)"
                " VALUES (?, 'drawn', 'pat_00000000', ?, '[]', ?)",
                *(person.id, hashed(new_token()), PAST),
            )
            (token,) = house.rows("SELECT id FROM tokens WHERE user_id = ?", person.id)
            found[role, inside] = (person.id, token["id"])
    return found


@settings(max_examples=60)
@given(
    st.sampled_from(["admin", "drawn"]),
    st.booleans(),
    st.dictionaries(held, st.sampled_from(REACHES), max_size=6),
    st.none() | st.lists(held, min_size=1, max_size=4),
    st.sampled_from([*ALL, "*", "users:*", "packages:*", "sites:*"]),
)
def test_whatever_a_role_grants_and_a_token_covers_is_explained_as_it_is_judged(
    house: House,
    drawn: dict[tuple[str, bool], tuple[int, int]],
    role: str,
    inside: bool,
    granted: dict[str, Any],
    scopes: list[str] | None,
    wanted: str,
) -> None:
    """Of an admin's role a group narrows some; `*` is none of its grants."""
    grants = [Grant(permission, reach) for permission, reach in granted.items() if (role, permission) != ("admin", "*")]
    given_grants = [{"permission": grant.permission, "reach": grant.reach} for grant in grants]
    (row,) = house.rows("SELECT id FROM roles WHERE name = ?", role)
    answer = house.client.put(f"{ROLES}/{row['id']}/permissions", json={"permissions": given_grants})
    assert answer.status_code == 200, answer.text
    user_id, token_id = drawn[role, inside]
    params: dict[str, Any] = {"user_id": user_id, "permission": wanted}
    if scopes is not None:
        text = "[" + ", ".join(f'"{scope}"' for scope in scopes) + "]"
        insert(house.config, "UPDATE tokens SET scopes = ? WHERE id = ?", text, token_id)
        params["token_id"] = token_id
    told = house.client.get(EXPLAIN, params=params).json()
    judged = Permissions(standing(role, grants, grouped=inside), scopes)
    assert (told["reach"], told["allowed"]) == (judged.reach(wanted), judged.reach(wanted) is not None)
    assert bool(told["missing"]) == (not told["allowed"])
    assert told["scopes"] is None or {*told["scopes"]} <= {*(scopes or ())}
