"""Who a credential belongs to: looked up once and remembered, for access tokens and sessions alike."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
from starlette.testclient import TestClient

from app import values
from app.actor import CALLERS, Call, Identity
from app.config import Config
from app.db import Database, Tx
from app.errors import CredentialRefused, Forbidden
from app.main import Purser
from app.values import new_token
from app.web import callers as module
from app.web.access import Credential
from app.web.callers import Callers
from tests.accounts import Person, bearer, make_person
from tests.support import Clock, ask, refusal, rows
from tests.test_tokens import TOKENS, made

VERSION = "/api/v1/version"
KINDS = ("token", "session")


@pytest.fixture
def desk(client: TestClient, app: Purser) -> Callers:
    """The service's own look-up of callers."""
    return app.router.routes[0].app.desk.callers  # type: ignore[attr-defined,no-any-return]


@pytest.fixture
def ann(client: TestClient, config: Config) -> Person:
    """Somebody who is signed in."""
    return make_person(client, config, "ann")


@pytest.fixture
def secret(client: TestClient, ann: Person, request: pytest.FixtureRequest) -> str:
    """A credential of Ann's of the kind that the test is about."""
    if request.param == "session":
        return str(ann.pair["access_token"])
    return str(client.post(TOKENS, json={}, headers=ann.headers).json()["token"])


@pytest.fixture
def jobs(client: TestClient, app: Purser) -> Iterator[list[str]]:
    """The names of the database's jobs, the trail's own left out."""
    seen: list[str] = []

    def hear(name: str, statements: int, seconds: float) -> None:
        if name != "add_many":
            seen.append(name)

    database: Database = app.state.db
    database.observe = hear
    yield seen
    database.observe = None


both = pytest.mark.parametrize("secret", KINDS, indirect=True)


def presented(secret: str, ip: str = "127.0.0.1") -> Credential:
    """The credential as a call from this address carries it."""
    return Credential(Call("request", ip, "GET", VERSION), secret)


def known(desk: Callers, secret: str, ip: str = "127.0.0.1") -> Identity | None:
    return desk.known(presented(secret, ip))


def get(client: TestClient, secret: str) -> Any:
    return client.get(VERSION, headers=bearer(secret))


def behind_the_note(tx: Tx) -> None:
    """A write of no consequence: once it is done, so is what was queued before it."""


def look_up(client: TestClient, desk: Callers, secret: str, meanwhile: Callable[[], object]) -> Identity:
    """Looks a caller up, with something happening between the reading of its row and the answer."""

    async def together() -> Identity:
        task = asyncio.ensure_future(desk.identify(presented(secret)))
        await asyncio.sleep(0)
        meanwhile()
        return await task

    assert client.portal is not None
    return client.portal.call(together)


@both
def test_a_caller_is_looked_up_once_and_then_known(
    client: TestClient, desk: Callers, secret: str, jobs: list[str]
) -> None:
    assert known(desk, secret) is None
    for _ in range(5):
        assert get(client, secret).status_code == 200
    who = known(desk, secret)
    assert who is not None
    assert who.user_name == "ann"
    assert known(desk, secret) is who
    assert jobs.count("identify") == 1


@both
def test_a_caller_looked_up_before_an_invalidation_is_not_cached(
    client: TestClient, desk: Callers, secret: str
) -> None:
    assert look_up(client, desk, secret, lambda: desk.forget(1)).user_name == "ann"
    assert known(desk, secret) is None
    assert look_up(client, desk, secret, lambda: None).user_name == "ann"
    assert known(desk, secret) is not None


@both
def test_a_message_about_anybody_empties_the_cache(client: TestClient, app: Purser, desk: Callers, secret: str) -> None:
    get(client, secret)
    client.portal.call(app.state.db.write, lambda tx: tx.notify("another topic", 2))  # type: ignore[union-attr]
    assert known(desk, secret) is not None
    client.portal.call(app.state.db.write, lambda tx: tx.notify(CALLERS, 10**6))  # type: ignore[union-attr]
    assert known(desk, secret) is None
    assert get(client, secret).status_code == 200


@both
def test_a_suspended_owner_is_refused_from_the_very_next_request(
    client: TestClient, ann: Person, desk: Callers, secret: str
) -> None:
    for _ in range(3):
        assert get(client, secret).status_code == 200
    answer = client.patch(f"/api/v1/users/{ann.id}/status", json={"status": "suspended"})
    assert answer.status_code == 200
    assert known(desk, secret) is None
    refusal(get(client, secret), 401)


@both
def test_a_caller_in_the_cache_expires_by_the_clock(
    client: TestClient, desk: Callers, secret: str, clock: Clock
) -> None:
    """Nothing has to happen for it: a credential's last moment is its last."""
    get(client, secret)
    who = known(desk, secret)
    assert who is not None
    assert who.expires_at is not None
    left_s = values.seconds(who.expires_at) - values.unix()
    clock.at += left_s - 5
    assert known(desk, secret) is who
    clock.at += 5.01
    assert known(desk, secret) is None
    assert refusal(get(client, secret), 401)["detail"] == "Token expired"


def test_the_cache_of_callers_is_bounded(client: TestClient, desk: Callers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CACHED", 3)
    secrets = [made(client)["token"] for _ in range(6)]
    for secret in secrets:
        assert get(client, secret).status_code == 200
    assert [known(desk, secret) is not None for secret in secrets] == [False] * 3 + [True] * 3
    for secret in secrets:
        assert get(client, secret).status_code == 200


def test_one_cache_holds_credentials_of_every_kind(
    client: TestClient, ann: Person, desk: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_CACHED", 1)
    token, session = made(client)["token"], ann.pair["access_token"]
    get(client, token)
    assert get(client, session).status_code == 200
    assert (known(desk, token), known(desk, session) is not None) == (None, True)


def test_what_is_refused_is_not_cached(client: TestClient, ann: Person, desk: Callers) -> None:
    """A flood of guesses takes no memory: a cache that kept them would know them."""
    token = made(client)
    client.delete(f"{TOKENS}/{token['id']}")
    session = ann.pair["access_token"]
    assert client.post("/api/v1/auth/logout", json={}, headers=ann.headers).status_code == 200
    wrongs = (token["token"], new_token(), "nonsense", "", session, session[:-2] + "xx", "a.b.c", ".." + "x" * 3000)
    for wrong in wrongs:
        refusal(get(client, wrong), 401)
        assert known(desk, wrong) is None


@pytest.mark.parametrize("text", ["", "nonsense", "a.b", "a.b.c.d", "x" * 5000, "Pat_", "é" * 53])
def test_what_looks_like_no_credential_is_refused_without_asking_the_database(
    client: TestClient, desk: Callers, jobs: list[str], text: str
) -> None:
    assert client.portal is not None
    with pytest.raises(CredentialRefused, match=r"^Invalid token$"):
        client.portal.call(desk.identify, presented(text))
    assert jobs == []


def used_at(config: Config, kind: str) -> str | None:
    """When Ann's credential was last used, as it stands in the database."""
    table = {"token": "tokens", "session": "sessions"}[kind]
    found = rows(config.database_path, f"SELECT last_used_at FROM {table} WHERE user_id = 2 ORDER BY id")  # noqa: S608
    last: str | None = found[0]["last_used_at"]
    return last


@pytest.mark.parametrize(("secret", "kind"), [(kind, kind) for kind in KINDS], indirect=["secret"])
def test_its_last_use_is_noted_at_most_once_a_minute(
    client: TestClient, config: Config, secret: str, kind: str, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    moment = [1000.0]
    monkeypatch.setattr(module, "monotonic", lambda: moment[0])

    def use(after_s: float) -> str | None:
        """The noted time after using it some seconds later; the write to look behind is queued after the note."""
        moment[0] += after_s
        clock.at += after_s
        assert get(client, secret).status_code == 200
        client.post("/api/v1/packages", json={"name": "a", "version": "1.0"})
        return used_at(config, kind)

    before = used_at(config, kind)
    first = use(62)
    assert first is not None
    assert before is None or before < first
    assert [use(seconds) for seconds in (1, 29, 29)] == [first] * 3
    second = use(2)
    assert second is not None
    assert second > first
    client.delete(f"{TOKENS}/{made(client)['id']}")  # empties the cache
    assert [use(seconds) for seconds in (1, 1, 57)] == [second] * 3
    third = use(62)
    assert third is not None
    assert third > second
    client.delete(f"{TOKENS}/{made(client)['id']}")
    clock.at -= 50  # set back: an instant to come is no reason never to note it again
    assert use(0) != third


@both
def test_a_hundred_first_requests_at_once_note_one_use(
    client: TestClient, app: Purser, desk: Callers, secret: str, jobs: list[str], clock: Clock
) -> None:
    """Each looks the caller up, as none finds it cached; one of them notes the use."""
    clock.at += 120  # a session was used when it was opened

    async def together() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(desk.identify, presented(secret))

    assert client.portal is not None
    client.portal.call(together)
    client.portal.call(app.state.db.write, behind_the_note)
    assert (jobs.count("identify"), jobs.count("touch")) == (100, 1)


def test_where_a_token_may_be_used_from_is_judged_at_every_use(client: TestClient, desk: Callers) -> None:
    """A cached caller does not open a way from elsewhere, and a refusal from elsewhere does not shut the right one."""
    secret = made(client, allowed_ips=["192.0.2.0/24"])["token"]
    headers = [(b"authorization", f"Token {secret}".encode())]
    own = client.headers.pop("authorization")
    for _ in range(3):
        assert ask(client, "GET", VERSION, headers=headers, host="192.0.2.9").status_code == 200
        refusal(ask(client, "GET", VERSION, headers=headers, host="198.51.100.1"), 403)
    client.headers["authorization"] = own
    with pytest.raises(Forbidden, match=r"^Address not allowed$"):
        known(desk, secret, "198.51.100.1")
    assert known(desk, secret, "::ffff:192.0.2.9") is not None


def test_a_call_that_is_refused_for_its_address_is_no_use(client: TestClient, config: Config) -> None:
    token = made(client, allowed_ips=["192.0.2.0/24"])
    headers = [(b"authorization", f"Token {token['token']}".encode())]

    def use(host: str) -> str | None:
        own = client.headers.pop("authorization")
        ask(client, "GET", VERSION, headers=headers, host=host)
        client.headers["authorization"] = own
        client.post("/api/v1/packages", json={"name": "a", "version": "1.0"})  # a write behind the note
        sql = "SELECT last_used_at FROM tokens WHERE id = ?"
        noted: str | None = rows(config.database_path, sql, token["id"])[0]["last_used_at"]
        return noted

    assert use("198.51.100.1") is None
    assert use("198.51.100.1") is None
    assert use("192.0.2.9") is not None


@both
def test_a_use_that_cannot_be_noted_is_a_use_all_the_same(
    client: TestClient, app: Purser, desk: Callers, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the service stops, a caller who is known still gets an answer."""
    moment = [1000.0]
    monkeypatch.setattr(module, "monotonic", lambda: moment[0])
    get(client, secret)
    client.portal.call(app.state.trail.close)  # type: ignore[union-attr]
    client.portal.call(app.state.db.close)  # type: ignore[union-attr]
    moment[0] += 120
    who = known(desk, secret)
    assert who is not None
    assert who.user_name == "ann"
