"""A new secret for the same access token: the old one dies at once, or works beside it for a grace."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from app import values
from app.config import Config
from tests.support import Clock, refusal, rows
from tests.test_tokens import DAY_S, NOW, TOKENS, made, using, version


def renewed(client: TestClient, token: dict[str, Any], **asked: Any) -> dict[str, Any]:
    answer = client.post(f"{TOKENS}/{token['id']}/regenerate", json=asked)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_new_secret_replaces_the_old_one_at_once(client: TestClient, config: Config) -> None:
    old = made(client, name="ci", scopes=["packages:read"], allowed_ips=["127.0.0.1"], expires_in_days=7)
    for _ in range(3):
        assert version(client, old).status_code == 200
    new = renewed(client, old)
    assert new["token"] != old["token"]
    assert new["prefix"] == new["token"][:12]
    assert new | {"token": "", "prefix": ""} == old | {"token": "", "prefix": ""}
    for _ in range(2):
        assert refusal(version(client, old), 401)["detail"] == "Token revoked"
        assert version(client, new).status_code == 200
    assert new["token"] not in client.get(TOKENS).text
    assert client.get(f"{TOKENS}/{old['id']}").json()["prefix"] == new["prefix"]
    (change,) = rows(config.database_path, "SELECT * FROM audit WHERE action = 'tokens.regenerate'")
    assert (change["target"], change["status"]) == (f"tokens/{old['id']}", 200)


def test_without_a_body_there_is_no_grace(client: TestClient) -> None:
    old = made(client)
    assert client.post(f"{TOKENS}/{old['id']}/regenerate").status_code == 200
    assert refusal(version(client, old), 401)["detail"] == "Token revoked"


def test_in_its_grace_the_old_secret_works_beside_the_new_one(client: TestClient, clock: Clock) -> None:
    old = made(client)
    new = renewed(client, old, grace_seconds=600)
    began = clock.at
    for ahead_s in (0, 300, 595):
        clock.at = began + ahead_s
        assert [version(client, token).status_code for token in (old, new)] == [200, 200]
    for ahead_s in (600, 601, DAY_S):
        clock.at = began + ahead_s
        assert refusal(version(client, old), 401)["detail"] == "Token revoked"
        assert version(client, new).status_code == 200
    clock.at = began + 100 * DAY_S
    assert refusal(version(client, new), 401)["detail"] == "Token expired"


def test_an_old_secret_is_revoked_also_when_the_token_has_expired_as_well(client: TestClient, clock: Clock) -> None:
    at_once, later = made(client, expires_in_days=1), made(client, expires_in_days=1)
    renewed(client, at_once)
    renewed(client, later, grace_seconds=DAY_S // 2)
    clock.at += 2 * DAY_S
    for old in (at_once, later):
        assert refusal(version(client, old), 401)["detail"] == "Token revoked"


def test_the_old_secret_tells_the_end_of_its_grace(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "clock", lambda: NOW)
    endless, short = made(client, expires_in="never"), made(client, expires_at="2027-01-15T08:05:00.500Z")
    for token, old_until, new_until in (
        (endless, "2027-01-15T08:10:00.500Z", "never"),
        (short, "2027-01-15T08:05:00.500Z", "2027-01-15T08:05:00.500Z"),
    ):
        new = renewed(client, token, grace_seconds=600)
        for _ in range(2):
            assert version(client, token).headers["x-token-expires"] == old_until
            assert version(client, new).headers["x-token-expires"] == new_until


def test_what_an_old_secret_makes_cannot_outlive_its_grace(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "clock", lambda: NOW)
    old = made(client, expires_in="never")
    renewed(client, old, grace_seconds=600)
    end = "2027-01-15T08:10:00.500Z"
    assert client.post(TOKENS, headers=using(old)).json()["expires_at"] == end
    for longer in ({"expires_in_days": 1}, {"expires_in": "never"}, {"expires_at": "2027-01-15T08:10:00.501Z"}):
        assert refusal(client.post(TOKENS, json=longer, headers=using(old)), 403)["expires_at"] == end
    exact = client.post(TOKENS, json={"expires_at": end}, headers=using(old))
    assert (exact.status_code, exact.json()["expires_at"]) == (201, end)
    for path in ("regenerate", "allowed-ips"):
        method, body = ("POST", {}) if path == "regenerate" else ("PUT", {"allowed_ips": None})
        refusal(client.request(method, f"{TOKENS}/{old['id']}/{path}", json=body, headers=using(old)), 403)


def test_of_a_token_renewed_twice_the_latest_two_secrets_work(client: TestClient) -> None:
    first = made(client)
    second = renewed(client, first, grace_seconds=3600)
    assert version(client, first).status_code == 200
    third = renewed(client, first, grace_seconds=3600)
    assert [version(client, token).status_code for token in (first, second, third)] == [401, 200, 200]
    fourth = renewed(client, first)
    assert [version(client, token).status_code for token in (first, second, third, fourth)] == [401, 401, 401, 200]


def test_a_token_that_does_not_hold_gets_no_new_secret(client: TestClient, clock: Clock) -> None:
    revoked, expired = made(client), made(client, expires_in_days=1)
    client.delete(f"{TOKENS}/{revoked['id']}")
    clock.at += 2 * DAY_S
    for token, held in ((revoked, "revoked"), (expired, "expired")):
        document = refusal(client.post(f"{TOKENS}/{token['id']}/regenerate", json={}), 409, "CONFLICT")
        assert document["state"] == held
        assert refusal(version(client, token), 401)["detail"] == f"Token {held}"
        assert client.get(f"{TOKENS}/{token['id']}").json()["prefix"] == token["prefix"]
    refusal(client.post(f"{TOKENS}/999/regenerate", json={}), 404)


def test_a_revocation_ends_the_grace_too(client: TestClient) -> None:
    old = made(client)
    new = renewed(client, old, grace_seconds=3600)
    assert [version(client, token).status_code for token in (old, new)] == [200, 200]
    client.delete(f"{TOKENS}/{old['id']}")
    for token in (old, new):
        assert refusal(version(client, token), 401)["detail"] == "Token revoked"


@pytest.mark.parametrize("grace", [-1, 86401, 1.5, "600", None])
def test_a_grace_lasts_a_day_at_most(client: TestClient, grace: object) -> None:
    old = made(client)
    answer = client.post(f"{TOKENS}/{old['id']}/regenerate", json={"grace_seconds": grace})
    assert refusal(answer, 400)["errors"][0]["field"] == "/grace_seconds"
    assert version(client, old).status_code == 200
    assert renewed(client, old, grace_seconds=86400)["id"] == old["id"]
