"""A token cannot mint, widen or list beyond itself, nor outlast what its owner may."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app import values
from app.config import Config
from app.main import Purser, create_app
from app.permissions import LADDER, LADDERS, RESOURCES
from tests.accounts import Person, bearer, make_group, make_person
from tests.support import ask, claim, configured, refusal, rows
from tests.test_tokens import DAY_S, NOW, TOKENS, made, using, version

USERS = "/api/v1/users"
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return configured(tmp_path_factory.mktemp("bounds") / "data")


@pytest.fixture(scope="module")
def app(config: Config) -> Purser:
    return create_app(config)


@pytest.fixture(scope="module")
def client(app: Purser) -> Iterator[TestClient]:
    """A super admin with a token that may do everything, for ever, from anywhere."""
    with TestClient(app, client=("127.0.0.1", 50000)) as client:
        client.headers["Authorization"] = f"Token {claim(client)}"
        yield client


@dataclass
class Cast:
    """Who plays: users, administrators, and those of one group."""

    ann: Person
    bob: Person
    admin: Person
    member: Person
    group_admin: Person
    group_colleague: Person


@pytest.fixture(scope="module")
def cast(client: TestClient, config: Config) -> Cast:
    group = make_group(client, "one", "00000001")
    return Cast(
        make_person(client, config, "ann"),
        make_person(client, config, "bob"),
        make_person(client, config, "adam", "admin"),
        make_person(client, config, "mia", group_id=group),
        make_person(client, config, "gus", "admin", group_id=group),
        make_person(client, config, "gil", "admin", group_id=group),
    )


def token_of(client: TestClient, who: Person, **wanted: Any) -> dict[str, Any]:
    answer = client.post(TOKENS, json=wanted, headers=who.headers)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def tokens_made(config: Config) -> int:
    return int(rows(config.database_path, "SELECT count(*) AS n FROM tokens")[0]["n"])


def from_host(
    client: TestClient, method: str, path: str, token: dict[str, Any], host: str, body: bytes = b"{}"
) -> httpx2.Response:
    """A call with this token from this address."""
    own = client.headers.pop("authorization")
    try:
        headers = [(b"authorization", f"Token {token['token']}".encode())]
        return ask(client, method, path, headers=headers, body=[body], host=host)
    finally:
        client.headers["authorization"] = own


@pytest.mark.parametrize(
    ("held", "asked", "beyond"),
    [
        (["tokens:write", "packages:activate"], ["packages:build"], []),
        (["tokens:write", "packages:activate"], ["packages:read", "packages:write", "packages:activate"], []),
        (["tokens:write", "packages:build"], ["packages:activate", "packages:build"], ["packages:activate"]),
        (["tokens:write", "packages:admin"], ["packages:*"], ["packages:*"]),
        (["tokens:write", "packages:*"], ["packages:admin", "packages:*"], []),
        (["tokens:write"], ["tokens:read", "tokens:write"], []),
        (["tokens:write"], ["tokens:delete"], ["tokens:delete"]),
        (["tokens:write"], ["*"], ["*"]),
        (["tokens:*"], ["users:read", "tokens:admin"], ["users:read"]),
        (["tokens:write", "fcs:analyze"], ["fcs:write", "fcs:admin"], ["fcs:admin"]),
        (["tokens:write", "packages:write"], ["packages:view", "packages:upload"], []),
        (["tokens:write", "packages:write"], ["packages:manage"], ["packages:admin"]),
        (["*"], ["*", "users:*", "packages:activate"], []),
        ([f"{resource}:*" for resource in sorted(RESOURCES)], ["*"], ["*"]),
    ],
)
def test_a_token_is_never_given_more_than_its_maker_holds(
    client: TestClient, config: Config, held: list[str], asked: list[str], beyond: list[str]
) -> None:
    maker = made(client, scopes=held)
    before = tokens_made(config)
    answer = client.post(TOKENS, json={"scopes": asked}, headers=using(maker))
    if beyond:
        document = refusal(answer, 403, "FORBIDDEN")
        assert document["detail"] == "A token cannot be given more than its maker holds."
        assert (document["required"], document["held"]) == (beyond, sorted(held))
    else:
        assert answer.status_code == 201
    assert tokens_made(config) - before == (not beyond)


ALL = [f"{resource}:{action}" for resource in sorted(RESOURCES) for action in LADDERS.get(resource, LADDER)]
WILD = [*(f"{resource}:*" for resource in sorted(RESOURCES)), "*"]


def atoms(scope: str) -> set[str]:
    """Every single action that a scope stands for, told anew from the ladders; a wildcard stands for itself too."""
    if scope == "*":
        return {*ALL, *WILD}
    resource, action = scope.split(":")
    ladder = LADDERS.get(resource, LADDER)
    if action == "*":
        return {scope, *(f"{resource}:{rung}" for rung in ladder)}
    return {f"{resource}:{rung}" for rung in ladder[: ladder.index(action) + 1]}


scopes = st.lists(st.sampled_from([*ALL, *WILD, "*"]), min_size=1, max_size=4)


@settings(max_examples=60)
@given(scopes, scopes)
def test_whatever_is_asked_for_what_is_made_holds_no_more(
    client: TestClient, held: list[str], asked: list[str]
) -> None:
    maker = made(client, scopes=["tokens:write", *held])
    answer = client.post(TOKENS, json={"scopes": asked}, headers=using(maker))
    own = set().union(*map(atoms, maker["scopes"]))
    wanted = set().union(*map(atoms, asked))
    assert (answer.status_code == 201) == (wanted <= own)
    if answer.status_code == 201:
        assert set().union(*map(atoms, answer.json()["scopes"])) == wanted
    inherited = client.post(TOKENS, json={}, headers=using(maker)).json()
    assert set().union(*map(atoms, inherited["scopes"])) == own


def test_a_user_holds_no_wildcard_to_give_away(client: TestClient, cast: Cast, config: Config) -> None:
    before = tokens_made(config)
    for wanted in ("*", "users:*", "users:admin", "users:delete", "packages:write", "tokens:admin", "audit:read"):
        answer = client.post(TOKENS, json={"scopes": ["packages:read", wanted]}, headers=cast.ann.headers)
        assert refusal(answer, 403)["required"] == [wanted]
    answer = client.post(TOKENS, json={"expires_in": "never"}, headers=cast.ann.headers)
    assert refusal(answer, 403)["required"] == ["tokens:admin"]
    for wanted in ("*", "roles:write", "system:write"):
        answer = client.post(TOKENS, json={"scopes": [wanted]}, headers=cast.admin.headers)
        assert refusal(answer, 403)["required"] == [wanted]
    assert tokens_made(config) == before
    assert token_of(client, cast.admin, scopes=["users:*"], expires_in="never")["expires_at"] is None


@pytest.mark.parametrize("scope", ["packages:read", "tokens:read", "users:admin", "fcs:*"])
def test_a_token_without_tokens_write_makes_none(client: TestClient, scope: str) -> None:
    held = made(client, scopes=[scope])
    for method, path in (
        ("POST", TOKENS),
        ("DELETE", f"{TOKENS}/all"),
        ("DELETE", f"{TOKENS}/{held['id']}"),
        ("POST", f"{TOKENS}/{held['id']}/regenerate"),
        ("PUT", f"{TOKENS}/{held['id']}/allowed-ips"),
    ):
        document = refusal(client.request(method, path, json={}, headers=using(held)), 403)
        assert (document["required"], document["held"]) == (["tokens:write"], [scope])
    assert version(client, held).status_code == 200


def test_a_token_for_tokens_opens_nothing_else(client: TestClient) -> None:
    held = made(client, scopes=["tokens:*"])
    for path, needed in ((USERS, "users:read"), ("/api/v1/packages", "packages:read"), ("/api/v1/roles", "roles:read")):
        assert refusal(client.get(path, headers=using(held)), 403)["required"] == [needed]
    refusal(client.post(TOKENS, json={"scopes": ["users:read"]}, headers=using(held)), 403)
    assert client.post(TOKENS, json={}, headers=using(held)).json()["scopes"] == ["tokens:*"]


def test_no_end_needs_tokens_admin(client: TestClient) -> None:
    for scope in ("tokens:write", "tokens:delete"):
        maker = made(client, scopes=[scope], expires_in="never")
        document = refusal(client.post(TOKENS, json={"expires_in": "never"}, headers=using(maker)), 403)
        assert (document["required"], document["held"]) == (["tokens:admin"], [scope])
    admin = made(client, scopes=["tokens:admin"], expires_in="never")
    endless = client.post(TOKENS, json={"expires_in": "never"}, headers=using(admin)).json()
    assert endless["expires_at"] is None


def test_no_token_outlives_the_one_that_makes_it(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "clock", lambda: NOW)
    maker = made(client, expires_in_days=10)
    for wanted in (
        {"expires_in_days": 11},
        {"expires_in": "30d"},
        {"expires_in": "never"},
        {"expires_at": "2027-01-25T08:00:00.501Z"},
    ):
        document = refusal(client.post(TOKENS, json=wanted, headers=using(maker)), 403)
        assert document["detail"] == "A token cannot outlive the token that makes it."
        assert document["expires_at"] == maker["expires_at"] == "2027-01-25T08:00:00.500Z"
    for wanted in ({}, {"expires_in_days": 10}, {"expires_at": maker["expires_at"]}):
        answer = client.post(TOKENS, json=wanted, headers=using(maker))
        assert (answer.status_code, answer.json()["expires_at"]) == (201, maker["expires_at"])


@settings(max_examples=40)
@given(st.integers(1, 365), st.integers(1, 365))
def test_a_chain_of_tokens_never_grows_longer(client: TestClient, days: int, asked: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values, "clock", lambda: NOW)
        maker = made(client, expires_in_days=days)
        answer = client.post(TOKENS, json={"expires_in_days": asked}, headers=using(maker))
        assert answer.status_code == (201 if asked <= days else 403)
        inherited = client.post(TOKENS, json={}, headers=using(maker)).json()
        assert inherited["expires_at"] == values.later(min(days, 90) * DAY_S)


V4, V6 = "192.0.2.9", "2001:db8::9"


@pytest.mark.parametrize(
    ("own", "host", "asked", "kept"),
    [
        (["192.0.2.0/24"], V4, ["192.0.2.7"], ["192.0.2.7"]),
        (["192.0.2.0/24"], V4, ["192.0.2.200/25", "::ffff:192.0.2.1"], ["192.0.2.128/25", "192.0.2.1"]),
        (["192.0.2.0/24"], V4, ["192.0.2.0/24"], ["192.0.2.0/24"]),
        (["192.0.2.0/24"], V4, None, ["192.0.2.0/24"]),
        (["192.0.2.0/24"], V4, [], 403),
        (["192.0.2.0/24"], V4, ["192.0.2.0/23"], 403),
        (["192.0.2.0/24"], V4, ["192.0.2.7", "192.0.3.7"], 403),
        (["192.0.2.0/24"], V4, ["0.0.0.0/0"], 403),
        (["192.0.2.0/24"], V4, ["::ffff:0:0/96"], 403),
        (["192.0.2.0/24"], V4, ["192.0.2.7", "2001:db8::1"], 403),
        (["192.0.2.0/24"], V4, ["::/0"], 403),
        (["2001:db8::/32"], V6, ["2001:db8:1::/48"], ["2001:db8:1::/48"]),
        (["2001:db8::/32"], V6, ["2001::/16"], 403),
        (["2001:db8::/32"], V6, [V4], 403),
        (["2001:db8::/32"], V6, ["::ffff:192.0.2.1"], 403),
        (["::/0"], V6, ["0.0.0.0/0"], 403),
        (["::/0"], V6, [], 403),
        (["0.0.0.0/0", "2001:db8::/32"], V6, [V4, V6], [V4, V6]),
        (["0.0.0.0/0", "::/0"], V6, [], None),
        (None, V4, [], None),
        (None, V4, ["0.0.0.0/0"], ["0.0.0.0/0"]),
    ],
)
def test_no_token_is_used_from_more_addresses_than_the_one_that_makes_it(
    client: TestClient, config: Config, own: list[str] | None, host: str, asked: list[str] | None, kept: object
) -> None:
    """The same for the addresses that a token gives itself later."""
    maker = made(client, allowed_ips=own)
    before = tokens_made(config)
    body = httpx2.Request("POST", "http://x", json={"allowed_ips": asked}).content
    answer = from_host(client, "POST", TOKENS, maker, host, body)
    if kept == 403:
        document = refusal(answer, 403, "FORBIDDEN")
        assert document["detail"] == "A token cannot be used from more addresses than the token that makes it."
        assert tokens_made(config) == before
    else:
        assert (answer.status_code, answer.json()["allowed_ips"]) == (201, kept)
    if asked is not None:
        itself = from_host(client, "PUT", f"{TOKENS}/{maker['id']}/allowed-ips", maker, host, body)
        assert itself.status_code == (403 if kept == 403 else 200)
        now_kept = client.get(f"{TOKENS}/{maker['id']}").json()["allowed_ips"]
        assert now_kept == (maker["allowed_ips"] if kept == 403 else kept)


IN_USE: dict[str, Any] = {
    "scopes": ["tokens:write", "packages:admin"],
    "expires_in_days": 10,
    "allowed_ips": ["127.0.0.0/8"],
}


@pytest.mark.parametrize(
    ("other", "beyond"),
    [
        ({}, None),
        ({"scopes": ["packages:read"], "expires_in_days": 1, "allowed_ips": ["127.0.0.1"]}, None),
        ({"scopes": ["packages:admin", "users:read"]}, ["users:read"]),
        ({"scopes": ["packages:*"]}, ["packages:*"]),
        ({"scopes": ["*"]}, ["*"]),
        ({"scopes": ["tokens:admin"]}, ["tokens:admin"]),
        ({"expires_in_days": 11}, []),
        ({"expires_in_days": None, "expires_in": "never"}, []),
        ({"allowed_ips": ["127.0.0.0/7"]}, []),
        ({"allowed_ips": ["127.0.0.1", "::1"]}, []),
        ({"allowed_ips": None}, []),
    ],
)
def test_a_token_that_may_do_more_is_neither_renewed_nor_moved_through_a_lesser_one(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, other: dict[str, Any], beyond: list[str] | None
) -> None:
    """Else a lesser token would hand out the greater one's new secret. A session of the owner's may."""
    monkeypatch.setattr(values, "clock", lambda: NOW)
    in_use, greater = made(client, **IN_USE), made(client, **(IN_USE | other))
    calls: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("POST", "regenerate", {}),
        ("PUT", "allowed-ips", {"allowed_ips": ["127.0.0.1"]}),
    )
    for method, path, body in reversed(calls):
        answer = client.request(method, f"{TOKENS}/{greater['id']}/{path}", json=body, headers=using(in_use))
        if beyond is None:
            assert answer.status_code == 200
        else:
            document = refusal(answer, 403, "FORBIDDEN")
            assert document["detail"] == "That token may do more than the one in use."
            assert (document["required"], document["held"]) == (beyond, ["packages:admin", "tokens:write"])
            assert version(client, greater).status_code == 200
            assert client.get(f"{TOKENS}/{greater['id']}").json()["allowed_ips"] == greater["allowed_ips"]


def test_a_token_renews_and_narrows_itself(client: TestClient) -> None:
    token = made(client, **IN_USE)
    path = f"{TOKENS}/{token['id']}"
    narrowed = client.put(f"{path}/allowed-ips", json={"allowed_ips": ["127.0.0.1"]}, headers=using(token))
    assert (narrowed.status_code, narrowed.json()["allowed_ips"]) == (200, ["127.0.0.1"])
    widened = client.put(f"{path}/allowed-ips", json={"allowed_ips": ["127.0.0.0/8"]}, headers=using(token))
    refusal(widened, 403)
    new = client.post(f"{path}/regenerate", json={}, headers=using(token)).json()
    assert refusal(version(client, token), 401)["detail"] == "Token revoked"
    assert version(client, new).status_code == 200
    assert new["allowed_ips"] == ["127.0.0.1"]


def test_a_demoted_owners_token_shrinks_with_the_next_request(client: TestClient, config: Config) -> None:
    dora = make_person(client, config, f"dora{next(numbers)}", "super_admin")
    token = token_of(client, dora, scopes=["*"])
    for _ in range(2):
        assert client.get(USERS, headers=using(token)).status_code == 200
    assert client.put(f"{USERS}/{dora.id}/roles", json={"roles": ["user"]}).status_code == 200
    assert refusal(client.get(USERS, headers=using(token)), 403)["required"] == ["users:read"]
    assert client.get("/api/v1/packages", headers=using(token)).status_code == 200
    refusal(client.post(TOKENS, json={"scopes": ["*"]}, headers=using(token)), 403)
    refusal(client.get(f"{TOKENS}?all=true", headers=using(token)), 403)
    refusal(client.post(TOKENS, json={"expires_in": "never"}, headers=using(token)), 403)


def test_what_a_demoted_owner_no_longer_holds_is_not_handed_on_by_default(client: TestClient, config: Config) -> None:
    """A token made without scopes has what its maker can do at that moment, and not more when that rises again."""
    dora = make_person(client, config, f"dora{next(numbers)}", "super_admin")
    everything, some = token_of(client, dora, scopes=["*"]), token_of(client, dora, scopes=["tokens:*", "users:read"])
    assert client.put(f"{USERS}/{dora.id}/roles", json={"roles": ["user"]}).status_code == 200
    inherited = client.post(TOKENS, json={}, headers=using(everything)).json()["scopes"]
    assert set().union(*map(atoms, inherited)) <= set(ALL)
    assert {"tokens:write", "users:write", "packages:read"} <= set(inherited)
    assert "users:delete" not in inherited
    inherited = client.post(TOKENS, json={}, headers=using(some)).json()["scopes"]
    assert set().union(*map(atoms, inherited)) == {"tokens:read", "tokens:write", "users:read"}


@pytest.mark.parametrize("status", ["inactive", "suspended", "pending"])
def test_an_owner_who_is_not_active_has_no_tokens_that_work(client: TestClient, config: Config, status: str) -> None:
    ed = make_person(client, config, f"ed{next(numbers)}")
    token = token_of(client, ed)
    assert version(client, token).status_code == 200
    assert client.patch(f"{USERS}/{ed.id}/status", json={"status": status}).status_code == 200
    for _ in range(2):
        assert refusal(version(client, token), 401)["detail"] == "Invalid token"
    assert client.patch(f"{USERS}/{ed.id}/status", json={"status": "active"}).status_code == 200
    assert version(client, token).status_code == 200


def test_a_deleted_owners_tokens_are_gone(client: TestClient, config: Config) -> None:
    ed = make_person(client, config, f"ed{next(numbers)}")
    token = token_of(client, ed)
    assert version(client, token).status_code == 200
    assert client.delete(f"{USERS}/{ed.id}").status_code == 204
    for _ in range(2):
        assert refusal(version(client, token), 401)["detail"] == "Invalid token"
    assert rows(config.database_path, "SELECT id FROM tokens WHERE id = ?", token["id"]) == []


CHANGES: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
    ("GET", "", None),
    ("DELETE", "", None),
    ("POST", "/regenerate", {}),
    ("PUT", "/allowed-ips", {"allowed_ips": None}),
)


def test_a_foreign_token_is_not_told_apart_from_none(client: TestClient, cast: Cast) -> None:
    foreign = token_of(client, cast.bob)
    own = token_of(client, cast.ann)
    narrow = token_of(client, cast.admin, scopes=["tokens:delete"])
    for headers in (cast.ann.headers, using(own), using(narrow)):
        for token_id in (foreign["id"], 10**6):
            for method, path, body in CHANGES:
                answer = client.request(method, f"{TOKENS}/{token_id}{path}", json=body, headers=headers)
                assert refusal(answer, 404)["detail"] == "No such token."
    assert client.delete(f"{TOKENS}/all", headers=cast.ann.headers).status_code == 200
    assert version(client, foreign).status_code == 200
    assert client.get(f"{TOKENS}/{foreign['id']}", headers=cast.bob.headers).json()["allowed_ips"] is None


def test_who_may_see_and_end_whose_tokens(client: TestClient, cast: Cast) -> None:
    """A table: who calls, whose token, what seeing and revoking it answer."""
    owner = Person(1, "admin", {"access_token": client.headers["authorization"].split()[1], "refresh_token": ""})
    table: list[tuple[str, dict[str, str], Person, int, int]] = [
        ("an admin, a user's", cast.admin.headers, cast.ann, 200, 200),
        ("an admin, another admin's", cast.admin.headers, cast.group_admin, 200, 403),
        ("an admin, a super admin's", cast.admin.headers, owner, 200, 403),
        ("an admin, the own", cast.admin.headers, cast.admin, 200, 200),
        ("an admin's token for tokens, a user's", using(token_of(client, cast.admin)), cast.ann, 200, 200),
        ("a super admin, an admin's", owner.headers, cast.admin, 200, 200),
        ("a super admin's lesser token, an admin's", using(made(client, scopes=["tokens:*"])), cast.admin, 200, 403),
        ("a group's admin, a member's", cast.group_admin.headers, cast.member, 200, 200),
        ("a group's admin, a colleague's", cast.group_admin.headers, cast.group_colleague, 200, 403),
        ("a group's admin, an outsider's", cast.group_admin.headers, cast.ann, 404, 404),
        ("a group's admin, an admin's outside", cast.group_admin.headers, cast.admin, 404, 404),
        ("a member, its admin's", cast.member.headers, cast.group_admin, 404, 404),
    ]
    for title, headers, whose, seen, ended in table:
        token = token_of(client, whose)
        path = f"{TOKENS}/{token['id']}"
        assert client.get(path, headers=headers).status_code == seen, title
        if whose is not cast.admin or headers is not cast.admin.headers:
            for method, more, body in CHANGES[2:]:
                answer = client.request(method, path + more, json=body, headers=headers)
                assert answer.status_code == 404, title
        assert client.delete(path, headers=headers).status_code == ended, title
        assert version(client, token).status_code == (401 if ended == 200 else 200), title


def test_who_lists_whose_tokens(client: TestClient, cast: Cast) -> None:
    people = (cast.ann, cast.admin, cast.member, cast.group_admin, cast.group_colleague)
    for person in people:
        token_of(client, person)

    def owners(headers: dict[str, str], **query: Any) -> set[int] | int:
        answer = client.get(TOKENS, params={"limit": 1000, "count": True, **query}, headers=headers)
        if answer.status_code != 200:
            return answer.status_code
        assert answer.headers["x-total-count"] == str(len(answer.json()))
        return {entry["user_id"] for entry in answer.json()}

    group = {cast.member.id, cast.group_admin.id, cast.group_colleague.id}
    everybody = owners(cast.admin.headers, all=True)
    assert isinstance(everybody, set)
    assert everybody >= {1, *(person.id for person in people)}
    assert owners(cast.group_admin.headers, all=True) == group
    assert owners(cast.group_admin.headers, user_id=cast.member.id) == {cast.member.id}
    assert owners(cast.group_admin.headers, user_id=cast.ann.id) == 404
    assert owners(cast.group_admin.headers, user_id=10**6) == 404
    assert owners(cast.admin.headers, user_id=cast.ann.id) == {cast.ann.id}
    lesser = using(token_of(client, cast.admin, scopes=["tokens:delete"]))
    assert owners(lesser, all=True) == owners(lesser, user_id=cast.ann.id) == 403
    assert owners(lesser) == owners(lesser, user_id=cast.admin.id) == {cast.admin.id}
    assert owners(cast.ann.headers, all=True) == owners(cast.ann.headers, user_id=10**6) == 403


def test_a_credential_in_a_session_header_is_the_same_credential(client: TestClient, cast: Cast) -> None:
    """`Token` and `Bearer` are both accepted, for access tokens and sessions alike."""
    token = token_of(client, cast.ann)
    for scheme in ("Token", "Bearer", "token", "BEARER"):
        for secret in (token["token"], cast.ann.pair["access_token"]):
            answer = client.get("/api/v1/users/me", headers={"Authorization": f"{scheme} {secret}"})
            assert (answer.status_code, answer.json()["username"]) == (200, "ann")
    refusal(client.get("/api/v1/users/me", headers=bearer(cast.ann.pair["refresh_token"])), 401)
