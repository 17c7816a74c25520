"""Access tokens: what they are made of, shown once, refused for the right reason, replaced and revoked at once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from app import values
from app.config import Config
from app.permissions import LADDERS
from tests.accounts import Person, bearer, make_person
from tests.support import Clock, Service, ask, refusal

TOKENS = "/api/v1/tokens"
DAY_S = 86400
NOW = 1_800_000_000.5  # 2027-01-15T08:00:00.500Z


def made(client: TestClient, **wanted: Any) -> dict[str, Any]:
    answer = client.post(TOKENS, json=wanted)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def using(token: dict[str, Any] | str) -> dict[str, str]:
    return {"Authorization": f"Token {token if isinstance(token, str) else token['token']}"}


def version(client: TestClient, token: dict[str, Any] | str, host: str = "127.0.0.1") -> httpx2.Response:
    """The smallest call that a token is good for, from an address."""
    headers = [(name.lower().encode(), value.encode()) for name, value in using(token).items()]
    own = client.headers.pop("authorization")
    try:
        return ask(client, "GET", "/api/v1/version", headers=headers, host=host)
    finally:
        client.headers["authorization"] = own


def state(client: TestClient, number: int) -> str:
    return str(client.get(f"{TOKENS}/{number}").json()["state"])


def test_a_token_is_shown_once(client: TestClient) -> None:
    token = made(client, name="ci")
    assert token["prefix"] == token["token"][:12]
    for answer in (client.get(TOKENS), client.get(f"{TOKENS}/{token['id']}"), client.get(f"{TOKENS}?count=true")):
        assert answer.status_code == 200
        assert token["token"] not in answer.text
        assert "secret" not in answer.text
        assert "sha256" not in answer.text


def test_a_list_shows_what_people_need(client: TestClient) -> None:
    token = made(client, name="ci", scopes=["packages:read"])
    first, second = client.get(TOKENS).json()
    assert first.keys() == second.keys()
    assert second == {
        "id": token["id"],
        "user_id": 1,
        "name": "ci",
        "prefix": token["prefix"],
        "scopes": ["packages:read"],
        "allowed_ips": None,
        "state": "active",
        "created_at": token["created_at"],
        "expires_at": token["expires_at"],
        "last_used_at": None,
        "revoked_at": None,
    }
    assert client.get(f"{TOKENS}/{token['id']}").json() == second


def test_a_list_comes_in_pages(client: TestClient) -> None:
    numbers = [made(client, name=f"t{number}")["id"] for number in range(5)]
    answer = client.get(TOKENS, params={"limit": 2, "count": True})
    found = [entry["id"] for entry in answer.json()]
    assert answer.headers["x-total-count"] == "6"
    while "next" in answer.links:
        made(client, name="meanwhile") if len(found) == 2 else None
        answer = client.get(answer.links["next"]["url"])
        found += [entry["id"] for entry in answer.json()]
    assert found == [1, *numbers, numbers[-1] + 1]


def test_a_cursor_of_another_list_or_of_ones_own_making_is_refused(client: TestClient) -> None:
    for number in (1, 2):
        client.post("/api/v1/packages", json={"name": f"p{number}", "version": "1.0"})
    made(client)
    foreign = client.get("/api/v1/packages?limit=1").links["next"]["url"].rpartition("cursor=")[2]
    own = client.get(f"{TOKENS}?limit=1").links["next"]["url"].rpartition("cursor=")[2]
    assert client.get(f"{TOKENS}?cursor={own}").status_code == 200
    for cursor in (
        foreign,
        own[:-1],
        own[:-1] + ("A" if own[-1] != "A" else "B"),
        "",
        "1",
        "MQ",
        "é",
        "x" * 1000,
        own * 2,
    ):
        document = refusal(client.get(TOKENS, params={"cursor": cursor}), 400)
        assert document["errors"][0]["field"] == "cursor"


@pytest.mark.slow
def test_the_secret_is_kept_nowhere(service: Service) -> None:
    """Not in the database file, its journal, the trail, the log, nor anywhere else in the data folder."""
    service.start()
    with service.client() as client:
        second = client.post(TOKENS, json={"name": "second"}).json()["token"]
        for secret in (second, service.token, second[:-1] + ("0" if second[-1] != "0" else "1")):
            headers = {"Authorization": f"Bearer {secret}"}
            client.get("/api/v1/packages", headers=headers, params={"token": secret})
            client.get("/api/v1/version", headers=headers)
            client.post("/api/v1/packages", headers=headers, json={"name": f"{secret} "})
            client.post("/api/v1/packages", headers=headers, json={secret: 1})
            client.post("/api/v1/packages", headers=headers, content=f'"{secret}"')
            client.get("/api/v1/packages", headers=headers, params={secret: 1})
            client.get(f"/api/v1/packages/{secret}", headers=headers)
        service.run("tokens", "list", environ={"PURSER_TOKEN": second})

    def everything() -> bytes:
        return b"".join(path.read_bytes() for path in sorted(service.data_dir.rglob("*")) if path.is_file())

    running = everything()
    assert service.database.with_name("app.db-wal").exists()
    code, output = service.stop()
    assert code == 0
    for secret in (second, service.token):
        for content in (running, everything(), output.encode()):
            assert secret.encode() not in content
            assert secret[4:-6].encode() not in content


def test_without_scopes_a_token_gets_its_makers(client: TestClient) -> None:
    assert made(client)["scopes"] == ["*"]
    narrow = made(client, scopes=["tokens:write", "packages:read"])
    again = client.post(TOKENS, headers=using(narrow)).json()
    assert again["scopes"] == ["packages:read", "tokens:write"]


def test_aliases_are_scopes_in_their_normal_spelling_once_each(client: TestClient) -> None:
    asked = ["packages:view", "packages:list", "packages:read", "files:upload", "users:manage"]
    assert made(client, scopes=asked)["scopes"] == ["packages:read", "files:write", "users:admin"]


@pytest.mark.parametrize(
    ("scope", "why"),
    [
        (
            "packages:fly",
            "`packages` has no action `fly`; it has read, write, build, activate, admin, not `packages:fly`",
        ),
        ("nothing:read", "there is no resource `nothing`, not `nothing:read`"),
        ("read", "expected `resource:action`, `resource:*` or `*`, not `read`"),
        ("*:read", "expected `resource:action`, `resource:*` or `*`, not `*:read`"),
        ("packages:read\n", "expected `resource:action`, `resource:*` or `*`, not `packages:read\n`"),
    ],
)
def test_a_scope_that_is_none_is_named_with_its_place(client: TestClient, scope: str, why: str) -> None:
    document = refusal(client.post(TOKENS, json={"scopes": ["packages:read", scope]}), 400)
    assert document["errors"] == [{"field": "/scopes/1", "message": why}]


def test_a_token_lives_90_days_unless_told_otherwise(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "clock", lambda: 1_800_000_000.5)
    lives: dict[str | None, list[dict[str, Any]]] = {
        "2027-04-15T08:00:00.500Z": [{}, {"expires_in_days": 90}, {"expires_in": "90d"}],
        "2027-01-16T08:00:00.500Z": [{"expires_in_days": 1}],
        "2028-01-15T08:00:00.500Z": [{"expires_in_days": 365}, {"expires_in": "1y"}],
        "2027-02-14T08:00:00.500Z": [{"expires_in": "30d"}],
        None: [{"expires_in": "never"}],
    }
    for expires_at, ways in lives.items():
        for wanted in ways:
            token = made(client, **wanted)
            assert token["expires_at"] == expires_at
            assert token["created_at"] == "2027-01-15T08:00:00.500Z"


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ({"expires_in_days": 0}, "/expires_in_days"),
        ({"expires_in_days": 366}, "/expires_in_days"),
        ({"expires_in_days": 1.5}, "/expires_in_days"),
        ({"expires_in": "2d"}, "/expires_in"),
        ({"expires_in": "30d", "expires_in_days": 30}, "/expires_in"),
        ({"name": ""}, "/name"),
        ({"name": "x" * 101}, "/name"),
        ({"name": "a\nb"}, "/name"),
        ({"name": "a\n"}, "/name"),
        ({"name": "\x7f"}, "/name"),
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["packages:read"] * 51}, "/scopes"),
        ({"scopes": "packages:read"}, "/scopes"),
        ({"token": "pat_x"}, "/token"),
        ({"user_id": 2}, "/user_id"),
    ],
)
def test_what_a_token_cannot_be_is_refused_by_field(client: TestClient, wanted: dict[str, Any], field: str) -> None:
    assert refusal(client.post(TOKENS, json=wanted), 400)["errors"][0]["field"] == field
    assert len(client.get(TOKENS).json()) == 1


def test_an_expired_token_says_so_from_its_last_moment_on(client: TestClient, clock: Clock) -> None:
    token = made(client, expires_in_days=1)
    for _ in range(2):
        assert client.get("/api/v1/version", headers=using(token)).status_code == 200
        clock.at += DAY_S / 2 - 30
    for later_s in (60, 400 * DAY_S):
        clock.at += later_s
        assert refusal(client.get("/api/v1/version", headers=using(token)), 401)["detail"] == "Token expired"
    assert state(client, token["id"]) == "expired"


def test_a_token_expires_exactly_at_its_instant(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "clock", lambda: 1_800_000_000.0)
    token = made(client, expires_in_days=1)
    monkeypatch.setattr(values, "clock", lambda: 1_800_086_399.9985)
    assert client.get("/api/v1/version", headers=using(token)).status_code == 200
    monkeypatch.setattr(values, "clock", lambda: 1_800_086_400.0)
    assert refusal(client.get("/api/v1/version", headers=using(token)), 401)["detail"] == "Token expired"


def test_a_revoked_token_says_so_also_when_it_has_expired_as_well(client: TestClient, clock: Clock) -> None:
    token = made(client, expires_in_days=1)
    assert client.delete(f"{TOKENS}/{token['id']}").json() == {}
    assert refusal(client.get("/api/v1/version", headers=using(token)), 401)["detail"] == "Token revoked"
    clock.at += 2 * DAY_S
    assert refusal(client.get("/api/v1/version", headers=using(token)), 401)["detail"] == "Token revoked"
    assert state(client, token["id"]) == "revoked"
    other = made(client, expires_in_days=1)
    clock.at += 5 * DAY_S
    client.delete(f"{TOKENS}/{other['id']}")
    assert refusal(client.get("/api/v1/version", headers=using(other)), 401)["detail"] == "Token revoked"


def test_a_revocation_holds_from_the_very_next_request(client: TestClient) -> None:
    """Also when the token has just been used and is cached, and when it revokes itself."""
    for revoker in ("other", "itself"):
        token = made(client)
        for _ in range(3):
            assert client.get("/api/v1/version", headers=using(token)).status_code == 200
        headers = using(token) if revoker == "itself" else {}
        assert client.delete(f"{TOKENS}/{token['id']}", headers=headers).status_code == 200
        assert refusal(client.get("/api/v1/version", headers=using(token)), 401)["detail"] == "Token revoked"


def test_revoking_twice_is_no_error_and_keeps_the_first_time(client: TestClient, clock: Clock) -> None:
    token = made(client)
    answers = [client.delete(f"{TOKENS}/{token['id']}")]
    first = client.get(f"{TOKENS}/{token['id']}").json()["revoked_at"]
    clock.at += 10
    answers.append(client.delete(f"{TOKENS}/{token['id']}"))
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, {}), (200, {})]
    assert client.get(f"{TOKENS}/{token['id']}").json()["revoked_at"] == first


def test_revoking_all_spares_the_one_in_use(client: TestClient) -> None:
    others = [made(client) for _ in range(3)]
    for token in others:
        client.get("/api/v1/version", headers=using(token))
    keeper = others.pop(1)
    answer = client.delete(f"{TOKENS}/all", headers=using(keeper))
    assert (answer.status_code, answer.json()) == (200, {})
    for token in others:
        assert refusal(client.get("/api/v1/version", headers=using(token)), 401)["detail"] == "Token revoked"
    refusal(client.get("/api/v1/version"), 401)
    states = {entry["id"]: entry["state"] for entry in client.get(TOKENS, headers=using(keeper)).json()}
    assert {number for number, state in states.items() if state == "active"} == {keeper["id"]}
    assert client.delete(f"{TOKENS}/all", headers=using(keeper)).status_code == 200


@pytest.mark.slow
def test_a_revocation_is_heard_by_whoever_uses_the_token_at_the_same_time(service: Service) -> None:
    """While eight callers use a token without a pause it is revoked: no call that begins later gets through."""
    service.start()
    with service.client() as admin:
        for _ in range(5):
            token = admin.post(TOKENS).json()
            revoked = threading.Event()
            wrong: list[int] = []

            def use(secret: str = token["token"], gone: threading.Event = revoked, late: list[int] = wrong) -> int:
                refused = 0
                with httpx2.Client(base_url=service.url, headers=using(secret), trust_env=False) as client:
                    while refused < 5:
                        after = gone.is_set()
                        status = client.get("/api/v1/version").status_code
                        refused += status == 401
                        if after and status != 401:
                            late.append(status)
                return refused

            with ThreadPoolExecutor(8) as pool:
                callers = [pool.submit(use) for _ in range(8)]
                assert admin.delete(f"{TOKENS}/{token['id']}").status_code == 200
                revoked.set()
                assert [caller.result(30) for caller in callers] == [5] * 8
            assert wrong == []


def test_every_ladder_can_be_granted_rung_by_rung(client: TestClient) -> None:
    for resource, ladder in LADDERS.items():
        for action in ladder:
            assert made(client, scopes=[f"{resource}:{action}"])["scopes"] == [f"{resource}:{action}"]


def test_a_stranger_cannot_make_the_service_hold_much(stranger: TestClient) -> None:
    answer = stranger.post("/api/v1/tokens", content=b'{"name": "' + b"x" * 5000 + b'"}')
    assert (answer.status_code, answer.json()["limit_bytes"]) == (413, 4096)


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ("2027-01-15T08:00:00.501Z", "2027-01-15T08:00:00.501Z"),
        ("2027-01-15T08:00:01Z", "2027-01-15T08:00:01.000Z"),
        ("2027-06-01T12:00:00.5Z", "2027-06-01T12:00:00.500Z"),
        ("2027-06-01T12:00:00.07Z", "2027-06-01T12:00:00.070Z"),
        ("2028-01-15T08:00:00.500Z", "2028-01-15T08:00:00.500Z"),
    ],
)
def test_a_token_may_end_at_any_instant_of_the_next_365_days(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, asked: str, kept: str
) -> None:
    monkeypatch.setattr(values, "clock", lambda: NOW)
    token = made(client, expires_at=asked)
    assert token["expires_at"] == kept
    assert version(client, token).headers["x-token-expires"] == kept


@pytest.mark.parametrize(
    "asked",
    [
        "2027-01-15T08:00:00.500Z",
        "2027-01-15T08:00:00Z",
        "2020-01-01T00:00:00Z",
        "2028-01-15T08:00:00.501Z",
        "9999-12-31T23:59:59.999Z",
        "2027-02-29T00:00:00Z",
        "2027-04-31T00:00:00Z",
        "2027-13-01T00:00:00Z",
        "2027-06-00T00:00:00Z",
        "2027-06-01T24:00:00Z",
        "2027-06-01T29:00:00Z",
        "2027-06-01T12:00:60Z",
        "0000-06-01T12:00:00Z",
        "2027-06-01T12:00:00",
        "2027-06-01T12:00:00+00:00",
        "2027-06-01 12:00:00Z",
        "2027-06-01T12:00:00.1234Z",
        "2027-06-01T12:00:00.Z",
        "2027-06-01T12:00:00Z\n",
        "2027-06-01",
        "",
        "never",
        1811851200,
    ],
)
def test_an_end_that_is_past_too_far_or_none_is_refused(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, asked: object
) -> None:
    monkeypatch.setattr(values, "clock", lambda: NOW)
    document = refusal(client.post(TOKENS, json={"expires_at": asked}), 400)
    assert [error["field"] for error in document["errors"]] == ["/expires_at"]
    assert len(client.get(TOKENS).json()) == 1


@pytest.mark.parametrize(
    "ways",
    [
        {"expires_in_days": 30, "expires_at": "2027-06-01T12:00:00Z"},
        {"expires_in": "30d", "expires_at": "2027-06-01T12:00:00Z"},
        {"expires_in": "never", "expires_at": "2027-06-01T12:00:00Z"},
        {"expires_in": "never", "expires_in_days": 1},
        {"expires_in": "30d", "expires_in_days": 30, "expires_at": "2027-06-01T12:00:00Z"},
    ],
)
def test_an_end_is_said_in_one_way(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, ways: dict[str, object]
) -> None:
    monkeypatch.setattr(values, "clock", lambda: NOW)
    document = refusal(client.post(TOKENS, json=ways), 400)
    assert document["errors"][0]["field"].removeprefix("/") in ways


def test_a_list_is_cut_down_to_a_state(client: TestClient, clock: Clock) -> None:
    """Tokens that no longer hold stay listed; a token both revoked and expired counts as revoked."""
    expired, revoked, either = made(client, expires_in_days=1), made(client), made(client, expires_in_days=1)
    for token in (revoked, either):
        client.delete(f"{TOKENS}/{token['id']}")
    clock.at += 2 * DAY_S
    held = {"active": [1], "expired": [expired["id"]], "revoked": [revoked["id"], either["id"]]}
    for wanted, numbers in held.items():
        answer = client.get(TOKENS, params={"state": wanted, "count": True})
        assert [(entry["id"], entry["state"]) for entry in answer.json()] == [(number, wanted) for number in numbers]
        assert answer.headers["x-total-count"] == str(len(numbers))
    assert {entry["id"]: entry["state"] for entry in client.get(TOKENS).json()} == {
        number: wanted for wanted, numbers in held.items() for number in numbers
    }
    for wanted in ("gone", "", "ACTIVE"):
        refusal(client.get(TOKENS, params={"state": wanted}), 400)


@pytest.fixture
def ann(client: TestClient, config: Config) -> Person:
    return make_person(client, config, "ann")


def test_with_tokens_admin_a_list_shows_those_of_others(client: TestClient, ann: Person) -> None:
    theirs = client.post(TOKENS, json={"name": "hers"}, headers=ann.headers).json()
    assert [entry["id"] for entry in client.get(TOKENS).json()] == [1]
    lists: tuple[tuple[dict[str, Any], list[int]], ...] = (
        ({"user_id": ann.id}, [theirs["id"]]),
        ({"user_id": 1}, [1]),
        ({"all": True}, [1, theirs["id"]]),
        ({"all": False}, [1]),
        ({"all": True, "state": "revoked"}, []),
    )
    for query, numbers in lists:
        answer = client.get(TOKENS, params=query | {"count": True})
        assert [entry["id"] for entry in answer.json()] == numbers
        assert answer.headers["x-total-count"] == str(len(numbers))
        assert theirs["token"] not in answer.text
        assert all("token" not in entry for entry in answer.json())
    assert refusal(client.get(TOKENS, params={"user_id": 999}), 404)["detail"] == "No such user."
    assert refusal(client.get(TOKENS, params={"all": True, "user_id": 1}), 400)["errors"][0]["field"] == "user_id"
    for wrong in ({"user_id": 0}, {"user_id": "x"}, {"all": "perhaps"}, {"user_id": "9" * 30}):
        refusal(client.get(TOKENS, params=wrong), 400)


def test_without_tokens_admin_a_list_shows_the_own_alone(client: TestClient, ann: Person) -> None:
    theirs = client.post(TOKENS, json={}, headers=ann.headers).json()
    narrow = made(client, scopes=["tokens:delete"])
    for caller in (ann.headers, using(narrow)):
        for query in ({"all": True}, {"user_id": 1 if caller is ann.headers else ann.id}):
            assert refusal(client.get(TOKENS, params=query, headers=caller), 403)["required"] == ["tokens:admin"]
    for query in ({}, {"user_id": ann.id}):
        found = client.get(TOKENS, params=query, headers=ann.headers).json()
        assert [entry["id"] for entry in found] == [theirs["id"]]


def test_a_session_makes_tokens_too(client: TestClient, ann: Person) -> None:
    """With what the roles grant, for 90 days, whatever is left of the session's own life."""
    answer = client.post(TOKENS, json={}, headers=ann.headers)
    assert answer.status_code == 201
    assert "tokens:write" in answer.json()["scopes"]
    assert "*" not in answer.json()["scopes"]
    assert answer.json()["expires_at"] > values.later(89 * DAY_S)
    me = client.get("/api/v1/users/me", headers=bearer(answer.json()["token"])).json()
    assert me["permissions"] == client.get("/api/v1/users/me", headers=ann.headers).json()["permissions"]


def test_a_scope_named_twice_is_one_scope(client: TestClient) -> None:
    token = made(client, scopes=["files:write", "packages:read", "files:upload", "packages:view", "packages:read"])
    assert token["scopes"] == ["files:write", "packages:read"]
