"""Why a token is refused: one answer and one row each, whatever else happens at the same time."""

import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from app.config import Config
from app.main import Purser
from app.values import BASE62, new_token
from tests.support import MEMBERS, Clock, ask, refusal, rows
from tests.test_tokens import DAY_S, TOKENS, made, version

V4, V6 = "192.0.2.9", "2001:db8::9"


@pytest.mark.parametrize(
    "field", ["id", "user_id", "state", "prefix", "revoked_at", "token", "role", "status", "revision", "secret_sha256"]
)
def test_a_body_sets_nothing_but_what_it_is_for(client: TestClient, config: Config, field: str) -> None:
    token = made(client)
    path = f"{TOKENS}/{token['id']}"
    before = rows(config.database_path, "SELECT * FROM tokens ORDER BY id")
    for answer in (
        client.post(TOKENS, json={"name": "x", field: 1}),
        client.post(f"{path}/regenerate", json={field: 1}),
        client.put(f"{path}/allowed-ips", json={"allowed_ips": ["127.0.0.1"], field: 1}),
        client.request("DELETE", path, json={field: 1}),
        client.request("DELETE", f"{TOKENS}/all", json={field: 1}),
    ):
        refusal(answer, 400, "VALIDATION_ERROR")
    assert rows(config.database_path, "SELECT * FROM tokens ORDER BY id") == before


def forged(token: dict[str, Any]) -> str:
    """A secret with a real token's first 12 characters, another rest, and the right checksum."""
    body = str(token["prefix"]) + new_token()[12:-6]
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = BASE62[digit] + digits
    return body + digits


def expired(client: TestClient, clock: Clock, token: dict[str, Any]) -> str:
    clock.at += 2 * DAY_S
    return str(token["token"])


def revoked(client: TestClient, clock: Clock, token: dict[str, Any]) -> str:
    assert client.delete(f"{TOKENS}/{token['id']}").status_code == 200
    return str(token["token"])


def revoked_and_expired(client: TestClient, clock: Clock, token: dict[str, Any]) -> str:
    expired(client, clock, token)
    return revoked(client, clock, token)


def replaced(client: TestClient, clock: Clock, token: dict[str, Any]) -> str:
    assert client.post(f"{TOKENS}/{token['id']}/regenerate", json={}).status_code == 200
    return str(token["token"])


def mistyped(client: TestClient, clock: Clock, token: dict[str, Any]) -> str:
    secret = token["token"]
    return str(secret[:20] + ("a" if secret[20] != "a" else "b") + secret[21:])


def same_prefix(client: TestClient, clock: Clock, token: dict[str, Any]) -> str:
    return forged(token)


def unknown(client: TestClient, clock: Clock, token: dict[str, Any]) -> str:
    return new_token()


def untouched(client: TestClient, clock: Clock, token: dict[str, Any]) -> str:
    return str(token["token"])


Break = Callable[[TestClient, Clock, dict[str, Any]], str]


@pytest.mark.parametrize(
    ("spoil", "host", "status", "detail", "is_known"),
    [
        (expired, V4, 401, "Token expired", True),
        (revoked, V4, 401, "Token revoked", True),
        (revoked_and_expired, V4, 401, "Token revoked", True),
        (replaced, V4, 401, "Token revoked", True),
        (unknown, V4, 401, "Invalid token", False),
        (mistyped, V4, 401, "Invalid token", False),
        (same_prefix, V4, 401, "Invalid token", False),
        (untouched, V6, 403, "Address not allowed", True),
    ],
    ids=["expired", "revoked", "revoked-and-expired", "replaced", "unknown", "mistyped", "same-prefix", "elsewhere"],
)
def test_each_refusal_says_why_and_leaves_one_row(
    client: TestClient,
    app: Purser,
    config: Config,
    clock: Clock,
    spoil: Break,
    host: str,
    status: int,
    detail: str,
    is_known: bool,
) -> None:
    """Also when the token has been used before, and again when it is refused a second time."""
    token = made(client, expires_in_days=1, allowed_ips=["192.0.2.0/24", "127.0.0.1"])
    assert version(client, token, V4).status_code == 200
    secret = spoil(client, clock, token)
    own = client.headers.pop("authorization")
    calls = ["first", "again"]
    for call in calls:
        headers = [(b"authorization", f"Bearer {secret}".encode()), (b"x-request-id", call.encode())]
        answer = ask(client, "GET", "/api/v1/packages", headers=headers, host=host)
        document = refusal(answer, status)
        assert document["detail"] == detail
        assert document.keys() == MEMBERS
        assert "x-token-expires" not in answer.headers
        assert ("www-authenticate" in answer.headers) == (status == 401)
    client.headers["authorization"] = own
    client.portal.call(app.state.trail.settle)  # type: ignore[union-attr]
    for call in calls:
        (row,) = rows(config.database_path, "SELECT * FROM audit WHERE request_id = ?", call)
        assert row["token_id"] == (token["id"] if is_known else None)
        assert (row["kind"], row["status"], row["authorized"], row["reason"]) == ("call", status, 0, detail)
        assert (row["ip"], row["route"], row["actor_id"]) == (host, "/api/v1/packages", None)


def test_a_typo_is_refused_without_asking_the_database(client: TestClient, app: Purser) -> None:
    token = made(client)
    asked: list[str] = []
    app.state.db.observe = lambda name, statements, seconds: asked.append(name)
    try:
        secret = token["token"]
        for wrong in (mistyped(client, Clock(), token), secret[:-1], secret + "0", secret.swapcase(), "pat_"):
            assert refusal(version(client, wrong), 401)["detail"] == "Invalid token"
        assert [name for name in asked if name != "add_many"] == []
        assert refusal(version(client, forged(token)), 401)["detail"] == "Invalid token"
        assert "identify" in asked
    finally:
        app.state.db.observe = None


def all_at_once(calls: list[Callable[[], httpx2.Response]]) -> list[httpx2.Response]:
    """The answers to calls that begin together."""
    go = threading.Barrier(len(calls))

    def begin(call: Callable[[], httpx2.Response]) -> httpx2.Response:
        go.wait(30)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(begin, calls))


@pytest.mark.parametrize(("grace", "working"), [(3600, 2), (0, 1)])
def test_of_twenty_renewals_at_once_only_the_last_secrets_work(
    client: TestClient, config: Config, grace: int, working: int
) -> None:
    token = made(client)
    path, body = f"{TOKENS}/{token['id']}/regenerate", b'{"grace_seconds": %d}' % grace
    answers = all_at_once([lambda: ask(client, "POST", path, body=[body])] * 20)
    assert [answer.status_code for answer in answers] == [200] * 20
    secrets = {str(answer.json()["token"]) for answer in answers}
    assert len(secrets) == 20
    (row,) = rows(config.database_path, "SELECT * FROM tokens WHERE id = ?", token["id"])
    alive = {secret for secret in (*secrets, token["token"]) if version(client, secret).status_code == 200}
    assert {sha256(secret.encode()).hexdigest() for secret in alive} == {
        row[column] for column in ("secret_sha256", "old_sha256")[:working]
    }
    told = "SELECT id FROM audit WHERE action = 'tokens.regenerate' AND target = ?"
    assert len(rows(config.database_path, told, f"tokens/{token['id']}")) == 20


def test_no_secret_outlives_a_revocation_however_many_are_made_meanwhile(client: TestClient) -> None:
    for _ in range(5):
        token = made(client)
        path = f"{TOKENS}/{token['id']}"
        renew = [partial(ask, client, "POST", f"{path}/regenerate", body=[b'{"grace_seconds": 600}'])] * 6
        revoke = [partial(ask, client, "DELETE", path)]
        answers = all_at_once([*renew[:3], *revoke, *renew[3:]])
        assert answers[3].status_code == 200
        assert {answer.status_code for answer in answers} <= {200, 409}
        secrets = [answer.json()["token"] for answer in answers if "token" in answer.json()]
        for secret in (token["token"], *secrets):
            refusal(version(client, secret), 401)
        assert client.get(path).json()["state"] == "revoked"


def test_calls_with_the_same_new_credential_from_many_places_are_judged_each(client: TestClient) -> None:
    """The first look-ups of a token all run at once, from inside and outside its network."""
    token = made(client, allowed_ips=["192.0.2.0/24"])
    headers = [(b"authorization", f"Token {token['token']}".encode())]
    own = client.headers.pop("authorization")
    hosts = [V4 if number % 2 else "198.51.100.1" for number in range(20)]

    def use(host: str) -> httpx2.Response:
        return ask(client, "GET", "/api/v1/version", headers=headers, host=host)

    answers = all_at_once([partial(use, host) for host in hosts])
    client.headers["authorization"] = own
    assert [answer.status_code for answer in answers] == [200 if host == V4 else 403 for host in hosts]
