"""What people do with their own account: register, see it, change it; and what no body takes from anybody."""

import itertools
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from starlette.testclient import TestClient

from app.config import Config
from app.main import create_app
from app.routes import ROUTES
from app.web.access import RouteLine
from tests.accounts import PASSWORD, make_group, make_person, sign_in
from tests.support import ask, claim, configured, refusal, rows
from tests.test_users import USERS, Planted, at_once, field, give_token, made, plant, stored

REGISTER = "/api/v1/auth/register"
UNCLAIMED = "This appliance is not claimed yet; its first account is made on the appliance itself."
ANONYMOUS = {"Authorization": ""}


def wanting(name: str, /, **more: Any) -> dict[str, Any]:
    """What somebody sends who registers."""
    return {"email": f"{name}@example.com", "password": PASSWORD, "name": name, **more}


def register(client: TestClient, wanted: dict[str, Any]) -> httpx2.Response:
    return client.post(REGISTER, json=wanted, headers=ANONYMOUS)


def sign_in_fails_with(client: TestClient, identifier: str) -> int:
    login = {"identifier": identifier, "password": "a wrong one"}
    return client.post("/api/v1/auth/login", json=login, headers=ANONYMOUS).status_code


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., TestClient]]:
    """Starts an appliance with settings of its own, not claimed; a caller on it."""
    folders = (tmp_path / f"data{number}" for number in itertools.count())
    with ExitStack() as stack:

        def opened(**settings: str) -> TestClient:
            app = create_app(configured(next(folders), **settings))
            return stack.enter_context(TestClient(app, client=("127.0.0.1", 50000)))

        yield opened


def owned(client: TestClient) -> TestClient:
    """The same caller, who has claimed the appliance."""
    client.headers["Authorization"] = f"Token {claim(client)}"
    return client


@pytest.mark.parametrize("policy", ["open", "approval", "closed"])
def test_who_registers_first_on_the_appliance_owns_it(opened: Callable[..., TestClient], policy: str) -> None:
    client = opened(REGISTRATION=policy)
    answer = register(client, wanting("una"))
    una = answer.json()
    assert (answer.status_code, una["role"], una["status"], una["username"]) == (201, "super_admin", "active", "una")
    config = client.app.state.config  # type: ignore[attr-defined]
    (told,) = rows(config.database_path, "SELECT * FROM audit WHERE kind = 'change'")
    assert (told["action"], told["target"], told["actor_name"]) == ("appliance.claim", "users/1", "una")
    refusal(client.post("/api/v1/tokens"), 401)
    headers = {"Authorization": f"Bearer {sign_in(client, 'una')['access_token']}"}
    assert client.get(USERS, headers=headers).json()[0]["username"] == "una"


def test_who_registers_later_is_a_user_and_deletes_nobody(client: TestClient, config: Config) -> None:
    answer = register(client, wanting("una"))
    una = answer.json()
    assert (answer.status_code, una["role"], una["roles"], una["status"]) == (201, "user", ["user"], "active")
    assert "hash" not in answer.text
    (told,) = rows(config.database_path, "SELECT * FROM audit WHERE action = 'users.register'")
    assert (told["target"], told["actor_name"], told["status"]) == (f"users/{una['id']}", "una", 201)
    headers = {"Authorization": f"Bearer {sign_in(client, 'una')['access_token']}"}
    for method, path in (("DELETE", f"{USERS}/1"), ("GET", USERS), ("GET", "/api/v1/roles")):
        refusal(client.request(method, path, headers=headers), 403)


@pytest.mark.parametrize("host", ["192.0.2.7", "10.0.0.1", "fe80::1"])
def test_nobody_elsewhere_registers_first(stranger: TestClient, config: Config, host: str) -> None:
    body = [msgspec.json.encode(wanting("una"))]
    answer = ask(stranger, "POST", REGISTER, body=body, host=host)
    assert refusal(answer, 403, "FORBIDDEN")["detail"] == UNCLAIMED
    for header in ("X-Forwarded-For", "Forwarded", "Via", "Origin"):
        answer = stranger.post(REGISTER, json=wanting("una"), headers={header: "127.0.0.1"})
        assert refusal(answer, 403)["detail"] == UNCLAIMED
    assert rows(config.database_path, "SELECT count(*) AS n FROM users") == [{"n": 0}]
    owned(stranger)
    assert ask(stranger, "POST", REGISTER, body=body, host=host).json()["role"] == "user"


def test_where_anybody_may_claim_the_first_registrant_does(opened: Callable[..., TestClient]) -> None:
    client = opened(CLAIM_FROM="any")
    answer = ask(client, "POST", REGISTER, body=[msgspec.json.encode(wanting("una"))], host="192.0.2.7")
    assert answer.json()["role"] == "super_admin"


@pytest.mark.slow
@pytest.mark.parametrize("tokens", [0, 10])
def test_of_twenty_who_come_first_at_once_exactly_one_owns_the_appliance(
    stranger: TestClient, config: Config, tokens: int
) -> None:
    """Whether they register or ask for the first token; who comes too late is a user, or is told to sign in."""
    registering = [lambda n=n: register(stranger, wanting(f"u{n}")) for n in range(20 - tokens)]
    asking = [lambda: stranger.post("/api/v1/tokens")] * tokens
    answers = at_once(*registering, *asking)
    assert {answer.status_code for answer in answers[: 20 - tokens]} == {201}
    assert sum(answer.status_code == 201 for answer in answers[20 - tokens :]) <= 1
    assert {answer.status_code for answer in answers} <= {201, 401}
    found = rows(config.database_path, "SELECT role FROM users")
    assert [user["role"] for user in found].count("super_admin") == 1
    assert rows(config.database_path, "SELECT count(*) AS n FROM claims") == [{"n": 1}]


def test_with_approval_nobody_signs_in_before_an_admin_says_so(
    opened: Callable[..., TestClient],
) -> None:
    client = owned(opened(REGISTRATION="approval"))
    una = register(client, wanting("una")).json()
    assert (una["status"], una["is_active"], una["role"]) == ("pending", False, "user")
    login = {"identifier": "una", "password": PASSWORD}
    answer = client.post("/api/v1/auth/login", json=login, headers=ANONYMOUS)
    assert refusal(answer, 403, "FORBIDDEN")["state"] == "pending"
    admin = plant(client.app.state.config, "ada", "admin")  # type: ignore[attr-defined]
    path = f"{USERS}/{una['id']}/status"
    assert client.patch(path, json={"status": "active"}, headers=admin.headers).json()["is_active"] is True
    assert sign_in(client, "una")["user"]["last_login_at"] is not None


def test_in_production_accounts_wait_for_approval_unless_told_otherwise(opened: Callable[..., TestClient]) -> None:
    for settings, status in (({}, "pending"), ({"REGISTRATION": "open"}, "active")):
        client = owned(opened(APP_ENV="production", **settings))
        assert register(client, wanting("una")).json()["status"] == status


def test_where_registration_is_closed_only_admins_make_accounts(opened: Callable[..., TestClient]) -> None:
    client = opened(REGISTRATION="closed")
    owned(client)
    assert refusal(register(client, wanting("una")), 403, "FORBIDDEN")["detail"] == "Registration is closed."
    assert client.post(USERS, json=wanting("una")).status_code == 201


def test_an_account_is_registered_once(client: TestClient, config: Config) -> None:
    plant(config, "una")
    assert refusal(register(client, wanting("UNA", username="other")), 409, "CONFLICT")["field"] == "email"
    answer = register(client, wanting("other", username="Una"))
    assert refusal(answer, 409)["field"] == "username"
    for secret in ("UNIQUE", "constraint", "sqlite", "username_key"):
        assert secret not in answer.text


@pytest.mark.slow
def test_of_ten_who_register_one_e_mail_at_once_one_does(client: TestClient, config: Config) -> None:
    answers = at_once(*[lambda: register(client, wanting("una"))] * 10)
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9
    assert {refusal(answer, 409)["field"] for answer in answers if answer.status_code == 409} == {"email"}
    assert rows(config.database_path, "SELECT count(*) AS n FROM users") == [{"n": 2}]


def test_a_name_is_kept_as_it_was_given(client: TestClient) -> None:
    for number, name in enumerate(["<script>alert(1)</script>", "O'Brien; DROP TABLE users; --", "{{7*7}} ${x} %s"]):
        answer = register(client, wanting(f"u{number}", name=name))
        assert (answer.status_code, answer.json()["name"]) == (201, name)
        assert answer.headers["content-type"] == "application/json"


def test_a_name_is_asked_for(client: TestClient) -> None:
    """Under either of its two names, and not an empty one."""
    nameless = {"email": "una@example.com", "password": PASSWORD}
    for path in (REGISTER, USERS):
        for wanted, about in (({"name": ""}, "/name"), ({"full_name": ""}, "/full_name"), ({}, "/name")):
            assert field(client.post(path, json=nameless | wanted)) == about


@pytest.mark.parametrize(
    ("taken", "again"),
    [
        ("ärger@example.com", "ÄRGER@EXAMPLE.COM"),
        ("straße@example.com", "STRASSE@example.com"),
        ("иван@example.com", "ИВАН@example.com"),
        ("σίσυφος@example.com", "ΣΊΣΥΦΟΣ@example.com"),
        ("μαΐου@example.com", "μαΐου@example.com".upper()),
        ("a\u0308rger@example.com", "\u00c4rger@example.com"),
    ],
)
def test_e_mail_and_username_are_unique_without_regard_to_case(
    client: TestClient, config: Config, taken: str, again: str
) -> None:
    """In every script, and in every way to write the same letters; refused at making and at changing alike."""
    plant(config, taken.partition("@")[0], email=taken)
    other = plant(config, "other")
    fresh = {"email": again, "username": "fresh", "password": PASSWORD, "name": "x"}
    assert refusal(client.post(USERS, json=fresh), 409, "CONFLICT")["field"] == "email"
    path, local = f"{USERS}/{other.id}", again.partition("@")[0]
    for wanted, about in (({"email": again}, "email"), ({"username": local}, "username")):
        assert refusal(client.patch(path, json=wanted), 409, "CONFLICT")["field"] == about
    assert stored(config, other.id)["revision"] == 1


def test_a_conflict_names_what_the_caller_gave(client: TestClient, config: Config) -> None:
    """Not the username that would have been derived, and that somebody else has besides."""
    plant(config, "bob", email="first@example.com")
    plant(config, "robert", email="bob@example.com")
    answer = client.post(USERS, json={"email": "bob@example.com", "password": PASSWORD, "name": "x"})
    assert refusal(answer, 409)["field"] == "email"
    answer = client.post(
        USERS, json={"email": "third@example.com", "username": "BOB", "password": PASSWORD, "name": "x"}
    )
    assert refusal(answer, 409)["field"] == "username"


@pytest.mark.slow
def test_a_username_is_derived_from_the_e_mail_also_twelve_times(client: TestClient) -> None:
    found = [made(client, email=f"una@{number}.example.com")["username"] for number in range(12)]
    assert found[:9] == ["una", *(f"una{number}" for number in range(2, 10))]
    assert all(name.startswith("una-") for name in found[9:])
    assert len(set(found)) == 12


def test_a_username_never_reads_like_an_e_mail(client: TestClient, config: Config) -> None:
    """Full-width letters are the same letters when compared, so ＠ would name the account of another."""
    plant(config, "victim")
    for sign in ("＠", "﹫"):
        refused = wanting("other", username=f"victim{sign}example.com")
        assert field(client.post(USERS, json=refused)) == "/username"
        client.post(USERS, json=wanting("x", email=f"a{sign}b@example.com"))
    keys = [row["username_key"] for row in rows(config.database_path, "SELECT username_key FROM users")]
    assert [key for key in keys if "@" in key] == []
    assert sign_in_fails_with(client, "victim@example.com") == 401


def test_a_password_is_not_the_username_that_is_derived(client: TestClient) -> None:
    answer = client.post(USERS, json={"email": "bobby.tables@example.com", "password": "Bobby.Tables", "name": "Bobby"})
    assert field(answer) == "/password"


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A claimed appliance for tests that only look at what is let in."""
    with TestClient(
        create_app(configured(tmp_path_factory.mktemp("door") / "data")), client=("127.0.0.1", 50000)
    ) as client:
        yield owned(client)


@pytest.mark.parametrize(
    "email",
    [
        "una",
        "@example.com",
        "una@",
        "una@@example.com",
        "una@example.com@example.com",
        "u na@example.com",
        " una@example.com",
        "una@example.com\n",
        "una@example.com\r\nBcc: all@example.com",
        "una\x00@example.com",
        "una\x1b@example.com",
        "una\u2028@example.com",
        "una\u00a0@example.com",
        "<una@example.com>",
        "una@example.com, two@example.com",
        "u" * 244 + "@example.com",
        None,
        7,
    ],
)
def test_an_e_mail_that_is_none_is_refused(door: TestClient, email: object) -> None:
    assert field(register(door, wanting("x", email=email))) == "/email"


@pytest.mark.parametrize(
    "email",
    ["a@b", "una+news@example.com", "o'brien@example.com", "ünä@exämple.com", "漢@例え.jp", "u" * 243 + "@example.com"],
)
def test_an_e_mail_is_taken_as_it_is_written(door: TestClient, email: str) -> None:
    answer = register(door, wanting("x", email=email))
    assert (answer.status_code, answer.json()["email"]) == (201, email)
    assert email.startswith(answer.json()["username"])


@pytest.mark.parametrize(
    "username",
    ["", "una maria", " una", "una@example.com", "una\n", "una\r\nx", "u\x00", "u\x7f", "u/a", "u\\a", "u" * 101, 7],
)
def test_a_username_that_is_none_is_refused(door: TestClient, username: object) -> None:
    assert field(register(door, wanting("x", username=username))) == "/username"


@pytest.mark.parametrize("username", ["漢字", "o'brien-junior", "a.b_c-d", "u" * 100, "7", "me"])
def test_a_username_is_taken_as_it_is_written(door: TestClient, username: str) -> None:
    answer = register(door, wanting(f"x{ord(username[0])}", username=username))
    assert (answer.status_code, answer.json()["username"]) == (201, username)


def test_what_text_cannot_hold_is_refused(door: TestClient) -> None:
    content = f'{{"email":"l@example.com","password":"{PASSWORD}","name":"%s"}}'
    assert field(door.post(REGISTER, content=content % r"\u0000")) == "/name"
    refusal(door.post(REGISTER, content=content % r"\ud800"), 400, "VALIDATION_ERROR")


FORBIDDEN = (
    *("role", "roles", "status", "id", "revision", "group_id", "is_active", "password_hash", "session_epoch"),
    *("created_at", "updated_at", "last_login_at", "email_key"),
)
WHOLE: dict[str, dict[str, Any]] = {
    "AllowedIps": {"allowed_ips": []},
    "BatchDelete": {"ids": [2]},
    "ChangePassword": {"old_password": PASSWORD, "new_password": "quite another"},
    "Forgot": {"email": "una@example.com"},
    "GroupSet": {"group_id": None},
    "Login": {"identifier": "una", "password": PASSWORD},
    "Logout": {"all": True},
    "PasswordPatch": {"password": "quite another"},
    "Refresh": {"refresh_token": "x"},
    "Register": wanting("new"),
    "ResetPassword": {"token": "x", "password": "quite another"},
    "StatusPatch": {"status": "suspended"},
    "UserCreate": wanting("new"),
    "UserPatch": {"bio": "changed"},
    "UserRoles": {"roles": ["guest"]},
}
"""A body of each kind that would be taken as it is."""
TAKING = [line for line in ROUTES if line.body is not None and {"users", "auth"} & {*line.path.split("/")}]


def everything(config: Config) -> list[str]:
    """Accounts, their roles, their sessions and what they forgot, as SQL."""
    connection = sqlite3.connect(f"file:{config.database_path}?mode=ro", uri=True)
    try:
        dump = [*connection.iterdump()]
    finally:
        connection.close()
    kept = ("users", "user_roles", "sessions", "groups", "refresh_tokens", "password_reset_requests", "password_resets")
    return [line for line in dump if line.startswith(tuple(f'INSERT INTO "{table}"' for table in kept))]


@pytest.mark.parametrize("line", TAKING, ids=lambda line: f"{line.method} {line.path}")
def test_no_body_takes_what_is_not_the_callers_to_say(door: TestClient, line: RouteLine) -> None:
    """Not from a super admin either: role, status and group have routes of their own."""
    config = door.app.state.config  # type: ignore[attr-defined]
    if not rows(config.database_path, "SELECT 1 FROM users WHERE id = 2"):
        plant(config, "una")
    before = everything(config)
    own = set(line.body.__struct_fields__)
    for name in FORBIDDEN:
        if name in own:
            continue
        for value in ("super_admin", 1, None):
            wanted = {name: value} | WHOLE[line.body.__name__]
            assert field(door.request(line.method, line.path.replace("{id}", "2"), json=wanted)) == f"/{name}"
    assert own & set(FORBIDDEN) <= {"status", "roles", "group_id"}
    assert everything(config) == before


def test_status_roles_and_group_have_one_route_each() -> None:
    taking = {name: [line.path for line in TAKING if name in line.body.__struct_fields__] for name in FORBIDDEN}
    assert {name: paths for name, paths in taking.items() if paths} == {
        "group_id": ["/api/v1/users/{id}/group"],
        "roles": ["/api/v1/users/{id}/roles"],
        "status": ["/api/v1/users/{id}/status"],
    }


@pytest.fixture
def user(client: TestClient, config: Config) -> Planted:
    return plant(config, "una")


def test_me_is_who_calls_and_what_this_credential_may_do(client: TestClient, config: Config) -> None:
    group_id = make_group(client, "North", "00000001")
    una = make_person(client, config, "una", group_id=group_id)
    answers = [client.get(path, headers=una.headers) for path in (f"{USERS}/me", "/api/v1/auth/me")]
    me = answers[0].json()
    assert answers[1].json() == me
    assert answers[0].headers["etag"] == f'"{me["revision"]}"'
    assert (me["id"], me["username"], me["role"], me["roles"]) == (una.id, "una", "user", ["user"])
    assert me["group"] == {"id": group_id, "name": "North", "uniform_number": "00000001", "max_allowed_streams": 8}
    assert (me["token_id"], me["scopes"]) == (None, None)
    assert me["session_id"] == rows(config.database_path, "SELECT id FROM sessions")[0]["id"]
    held = {grant["permission"]: grant["reach"] for grant in me["permissions"]}
    assert (held["users:write"], held["packages:read"]) == ("own", "all")
    assert "packages:write" not in held
    assert "users:delete" not in held
    assert "hash" not in answers[0].text


def test_through_a_token_me_tells_what_both_allow(client: TestClient, config: Config, user: Planted) -> None:
    token = give_token(config, user.id, '["users:read", "packages:build"]')
    me = client.get(f"{USERS}/me", headers=token).json()
    assert me["permissions"] == [
        {"permission": "packages:read", "reach": "all"},
        {"permission": "users:read", "reach": "own"},
    ]
    assert (me["scopes"], me["session_id"]) == (["users:read", "packages:build"], None)
    assert me["token_id"] == rows(config.database_path, "SELECT max(id) AS id FROM tokens")[0]["id"]
    refusal(client.patch(f"{USERS}/me", json={"bio": "x"}, headers=token), 403)
    blind = give_token(config, user.id, '["packages:read"]')
    assert refusal(client.get(f"{USERS}/me", headers=blind), 403)["required"] == ["users:read"]


@pytest.mark.parametrize("path", [f"{USERS}/me", "/api/v1/auth/me"])
def test_everybody_changes_the_own_profile(client: TestClient, config: Config, user: Planted, path: str) -> None:
    for method in ("PATCH", "PUT"):
        answer = client.request(method, path, json={"name": method, "phone": "+46 8 123"}, headers=user.headers)
        assert (answer.status_code, answer.json()["id"], answer.json()["name"]) == (200, user.id, method)
    late = client.patch(path, json={"name": "late"}, headers=user.headers | {"If-Match": '"1"'})
    refusal(late, 412)
    refusal(client.patch(path, json={"username": "ADMIN"}, headers=user.headers), 409)
    assert field(client.patch(path, json={"name": None}, headers=user.headers)) == "/name"


def test_the_own_e_mail_is_changed_in_a_session_alone(client: TestClient, config: Config) -> None:
    """The session goes on: it belongs to the account, not to its address."""
    una = make_person(client, config, "una")
    token, wanted = give_token(config, una.id), {"email": "new@example.com"}
    for path in (f"{USERS}/me", f"{USERS}/{una.id}"):
        refusal(client.patch(path, json=wanted, headers=token), 403, "FORBIDDEN")
        assert client.patch(path, json={"email": "una@example.com"}, headers=token).status_code == 200
    assert client.patch(f"{USERS}/me", json=wanted, headers=una.headers).json()["email"] == "new@example.com"
    assert client.get(f"{USERS}/me", headers=una.headers).json()["email"] == "new@example.com"
    assert sign_in(client, "NEW@example.com")["user"]["id"] == una.id


def test_a_guest_reads_itself_and_writes_nothing(client: TestClient, config: Config, user: Planted) -> None:
    guest = plant(config, "guest", "guest")
    for path in (f"{USERS}/me", f"{USERS}/{guest.id}", "/api/v1/auth/me"):
        assert client.get(path, headers=guest.headers).json()["username"] == "guest"
        assert refusal(client.patch(path, json={"bio": "x"}, headers=guest.headers), 403)["required"] == ["users:write"]
    refusal(client.get(USERS, headers=guest.headers), 403)
    refusal(client.get(f"{USERS}/{user.id}", headers=guest.headers), 404)
