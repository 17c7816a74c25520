"""Access tokens: made within what their maker holds, shown once, refused for the right reason, revoked at once."""

import asyncio
import re
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app import values
from app.actor import Identity
from app.config import Config
from app.db import Database
from app.main import Purser
from app.permissions import LADDERS
from app.tokens import authentication
from app.tokens import service as tokens
from app.tokens.authentication import Authentication
from app.users import service as users
from app.users.structs import Account
from app.values import BASE62, is_token, new_token
from tests.support import Service, refusal, rows

TOKENS = "/api/v1/tokens"
DAY_S = 86400


class Clock:
    """The time as the tests set it; it begins at the present and moves when told."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self._real = values.clock

    def __call__(self) -> float:
        return self._real() + self.ahead_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    own = Clock()
    monkeypatch.setattr(values, "clock", own)
    return own


def made(client: TestClient, **wanted: Any) -> dict[str, Any]:
    answer = client.post(TOKENS, json=wanted)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def using(token: dict[str, Any] | str) -> dict[str, str]:
    return {"Authorization": f"Token {token if isinstance(token, str) else token['token']}"}


def state(client: TestClient, number: int) -> str:
    return str(client.get(f"{TOKENS}/{number}").json()["state"])


def base62(number: int) -> str:
    digits = ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = BASE62[digit] + digits
    return digits


def test_a_token_is_its_prefix_43_characters_and_their_checksum(client: TestClient) -> None:
    secret = made(client)["token"]
    assert re.fullmatch(r"pat_[0-9A-Za-z]{49}", secret)
    assert secret[-6:] == base62(zlib.crc32(secret[:-6].encode()))
    assert len({new_token() for _ in range(1000)}) == 1000


@given(st.integers(4, 52), st.sampled_from(BASE62))
def test_a_typo_is_noticed_before_the_database_is_asked(place: int, sign: str) -> None:
    secret = new_token()
    typo = secret[:place] + sign + secret[place + 1 :]
    assert is_token(typo) is (typo == secret)
    assert not is_token(secret[:place])
    assert not is_token(secret + sign)


@given(st.text(max_size=60))
def test_no_guess_is_a_token(text: str) -> None:
    assert not is_token(text)
    assert not is_token(("pat_" + text).ljust(53, "0")[:53])


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
        (["*"], ["*", "users:*", "packages:activate"], []),
    ],
)
def test_a_token_is_never_given_more_than_its_maker_holds(
    client: TestClient, held: list[str], asked: list[str], beyond: list[str]
) -> None:
    maker = made(client, scopes=held)
    answer = client.post(TOKENS, json={"scopes": asked}, headers=using(maker))
    if beyond:
        document = refusal(answer, 403, "FORBIDDEN")
        assert document["detail"] == "A token cannot be given more than its maker holds."
        assert (document["required"], document["held"]) == (beyond, sorted(held))
        assert client.get(TOKENS).json()[-1]["id"] == maker["id"]
    else:
        assert answer.status_code == 201


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
    lives = {
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


def test_no_end_needs_tokens_admin(client: TestClient) -> None:
    for scope in ("tokens:write", "tokens:delete"):
        maker = made(client, scopes=[scope], expires_in="never")
        document = refusal(client.post(TOKENS, json={"expires_in": "never"}, headers=using(maker)), 403)
        assert (document["required"], document["held"]) == (["tokens:admin"], [scope])
    admin = made(client, scopes=["tokens:admin"], expires_in="never")
    endless = client.post(TOKENS, json={"expires_in": "never"}, headers=using(admin)).json()
    assert endless["expires_at"] is None


def test_no_token_outlives_the_one_that_makes_it(client: TestClient) -> None:
    maker = made(client, expires_in_days=10)
    for wanted in ({"expires_in_days": 11}, {"expires_in": "30d"}, {"expires_in": "never"}):
        document = refusal(client.post(TOKENS, json=wanted, headers=using(maker)), 403)
        assert document["detail"] == "A token cannot outlive the token that makes it."
        assert document["expires_at"] == maker["expires_at"]
    assert client.post(TOKENS, headers=using(maker)).json()["expires_at"] == maker["expires_at"]
    shorter = client.post(TOKENS, json={"expires_in_days": 9}, headers=using(maker)).json()
    assert shorter["expires_at"] < maker["expires_at"]


def test_an_unknown_or_mistyped_token_is_invalid(client: TestClient) -> None:
    secret = made(client)["token"]
    typo = secret[:10] + ("a" if secret[10] != "a" else "b") + secret[11:]
    for wrong in (new_token(), typo, secret[:-1], secret + "0", secret.swapcase(), "pat_", "x", secret[4:]):
        answer = client.get("/api/v1/version", headers=using(wrong))
        assert refusal(answer, 401)["detail"] == "Invalid token"
        assert "x-token-expires" not in answer.headers


def test_an_expired_token_says_so_from_its_last_moment_on(client: TestClient, clock: Clock) -> None:
    token = made(client, expires_in_days=1)
    for _ in range(2):
        assert client.get("/api/v1/version", headers=using(token)).status_code == 200
        clock.ahead_s = DAY_S - 60
    for later_s in (DAY_S, 400 * DAY_S):
        clock.ahead_s = later_s
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
    clock.ahead_s = 2 * DAY_S
    assert refusal(client.get("/api/v1/version", headers=using(token)), 401)["detail"] == "Token revoked"
    assert state(client, token["id"]) == "revoked"
    other = made(client, expires_in_days=1)
    clock.ahead_s = 5 * DAY_S
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
    clock.ahead_s = 10
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


def test_a_foreign_token_is_not_found(client: TestClient, config: Config, app: Purser) -> None:
    """Somebody else's token can be neither seen nor revoked, and is not told apart from none."""
    foreign = foreigner(client, app)
    for path in (f"{TOKENS}/{foreign['id']}", f"{TOKENS}/12345"):
        for method in ("GET", "DELETE"):
            assert refusal(client.request(method, path), 404)["detail"] == "No such token."
    assert [entry["id"] for entry in client.get(TOKENS).json()] == [1]
    client.delete(f"{TOKENS}/all")
    assert client.get(TOKENS, headers=using(foreign)).json()[0]["state"] == "active"
    assert [row["revoked_at"] for row in rows(config.database_path, "SELECT revoked_at FROM tokens")] == [None, None]


def foreigner(client: TestClient, app: Purser) -> dict[str, Any]:
    """A token of a second super admin, whom no endpoint can make yet."""

    def make(tx: Any) -> Any:
        other = tx.one(
            users.q.add, Account, username="eve", username_key="eve", full_name="", role="super_admin", now=tx.now
        )
        return tokens.create(tx, users.acting(other), tokens.TokenCreate())

    async def write() -> Any:
        return await app.state.db.write(make)

    assert client.portal is not None
    found = client.portal.call(write)
    return {"id": found.id, "token": found.token}


def used(config: Config, number: int) -> str | None:
    found: str | None = rows(config.database_path, "SELECT last_used_at FROM tokens WHERE id = ?", number)[0][
        "last_used_at"
    ]
    return found


def test_its_last_use_is_noted_at_most_once_a_minute(
    client: TestClient, config: Config, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    moment = [1000.0]
    monkeypatch.setattr(authentication, "monotonic", lambda: moment[0])
    token = made(client)
    assert used(config, token["id"]) is None

    def use(after_s: float) -> str | None:
        """The noted time after using it some seconds later; the write to look behind is queued after the note."""
        moment[0] += after_s
        clock.ahead_s += after_s
        client.get("/api/v1/version", headers=using(token))
        client.post("/api/v1/packages", json={"name": "a", "version": "1.0"})
        return used(config, token["id"])

    first = use(0)
    assert first is not None
    assert [use(seconds) for seconds in (1, 29, 29)] == [first] * 3
    second = use(2)
    assert second is not None and second > first  # noqa: PT018
    client.delete(f"{TOKENS}/{made(client)['id']}")  # empties the cache
    assert [use(seconds) for seconds in (1, 1, 57)] == [second] * 3
    third = use(62)
    assert third is not None and third > second  # noqa: PT018
    client.delete(f"{TOKENS}/{made(client)['id']}")
    clock.ahead_s = -DAY_S  # set back: an instant to come is no reason never to note it again
    assert use(0) != third


def test_a_hundred_first_requests_at_once_note_one_use(client: TestClient, app: Purser) -> None:
    """Each looks the token up, as none finds it cached; one of them notes the use."""
    secret = made(client)["token"]
    posted: list[str] = []
    database: Database = app.state.db
    database.observe = lambda name, statements, seconds: posted.append(name)

    async def together() -> None:
        desk: Authentication = app.router.routes[0].app.desk.authentication  # type: ignore[attr-defined]
        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(desk.identify, secret)

    assert client.portal is not None
    client.portal.call(together)
    client.post("/api/v1/packages", json={"name": "a", "version": "1.0"})  # a write behind the note
    assert posted.count("identify") == 100
    assert posted.count("touch") == 1


@pytest.fixture
def desk(client: TestClient, app: Purser) -> Authentication:
    """The service's own look-up of callers."""
    return app.router.routes[0].app.desk.authentication  # type: ignore[attr-defined,no-any-return]


def look_up(client: TestClient, desk: Authentication, secret: str, meanwhile: Callable[[], object]) -> Identity:
    """Looks a caller up, with something happening between the reading of its row and the answer."""

    async def both() -> Identity:
        task = asyncio.ensure_future(desk.identify(secret))
        await asyncio.sleep(0)
        meanwhile()
        return await task

    assert client.portal is not None
    return client.portal.call(both)


def test_a_caller_is_looked_up_once_and_then_known(client: TestClient, desk: Authentication) -> None:
    secret = made(client)["token"]
    assert desk.known(secret) is None
    client.get("/api/v1/version", headers=using(secret))
    who = desk.known(secret)
    assert who is not None and who.user_name == "admin"  # noqa: PT018
    assert desk.known(secret) is who


def test_a_caller_looked_up_before_an_invalidation_is_not_cached(client: TestClient, desk: Authentication) -> None:
    secret = made(client)["token"]
    assert look_up(client, desk, secret, lambda: desk.forget(1)).user_name == "admin"
    assert desk.known(secret) is None
    assert look_up(client, desk, secret, lambda: None).user_name == "admin"
    assert desk.known(secret) is not None


def test_the_cache_of_callers_is_bounded(
    client: TestClient, desk: Authentication, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "MOST_CACHED", 3)
    secrets = [made(client)["token"] for _ in range(6)]
    for secret in secrets:
        assert client.get("/api/v1/version", headers=using(secret)).status_code == 200
    assert [desk.known(secret) is not None for secret in secrets] == [False] * 3 + [True] * 3
    for secret in secrets:
        assert client.get("/api/v1/version", headers=using(secret)).status_code == 200


def test_what_is_refused_is_not_cached(client: TestClient, desk: Authentication) -> None:
    """A flood of guesses takes no memory: a cache that kept them would know them."""
    token = made(client)
    client.delete(f"{TOKENS}/{token['id']}")
    for wrong in (token["token"], new_token(), "nonsense"):
        refusal(client.get("/api/v1/version", headers=using(wrong)), 401)
        assert desk.known(wrong) is None


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
