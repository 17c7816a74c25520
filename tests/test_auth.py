"""Signing in: what lets somebody in, how a session is kept alive, and everything that ends it on the next request."""

import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from starlette.testclient import TestClient

from app import passwords
from app.config import Config
from app.main import create_app
from app.passwords import Cost
from tests.accounts import PASSWORD, Person, bearer, make_person, sign_in
from tests.house import ACCESS_S, AUTH, ENDED, ME, NOBODY, REFRESH_S, House
from tests.nix_store import FAKES
from tests.support import Clock, Service, claim, configured, refusal
from tests.test_events import Listener

NEW_PASSWORD = "another staple entirely"


def test_an_account_is_found_by_each_of_its_names_in_any_case_and_unicode_form(house: House) -> None:
    new = {"email": "Jürgen@Example.com", "username": "Straße", "name": "J", "password": PASSWORD}
    assert house.client.post("/api/v1/users", json=new).status_code == 201
    for name in (
        {"email": "Jürgen@Example.com"},
        {"email": "JÜRGEN@EXAMPLE.COM"},
        {"email": unicodedata.normalize("NFD", "jürgen@example.com")},
        {"username": "Straße"},
        {"username": "STRASSE"},
        {"username": "ｓｔｒａｓｓｅ"},
        {"identifier": "strasse"},
        {"identifier": "jürgen@EXAMPLE.com"},
    ):
        answer = house.login(**name)
        assert answer.status_code == 200, (name, answer.text)
        assert answer.json()["user"]["username"] == "Straße"


def test_signing_in_answers_a_pair_and_the_account(house: House) -> None:
    person = house.person()
    answer = house.login(identifier=person.username)
    pair = answer.json()
    assert pair.keys() == {"access_token", "refresh_token", "token_type", "expires_in", "user"}
    assert (pair["token_type"], pair["expires_in"]) == ("Bearer", ACCESS_S)
    assert (pair["user"]["id"], pair["user"]["role"]) == (person.id, "user")
    assert pair["user"]["last_login_at"]
    assert answer.headers["cache-control"] == "no-store"
    mine = house.me(bearer(pair["access_token"])).json()
    assert (mine["username"], mine["token_id"], mine["scopes"]) == (person.username, None, None)


@pytest.mark.parametrize("names", [{}, {"email": "a@b.c", "username": "a"}, {"identifier": "a", "email": "a@b.c"}])
def test_exactly_one_name_is_given(house: House, names: dict[str, str]) -> None:
    assert refusal(house.login(**names), 400)["errors"][0]["field"] == "/identifier"


def test_two_sessions_of_one_second_have_different_tokens(house: House, clock: Clock) -> None:
    person = house.person()
    pairs = [person.pair, sign_in(house.client, person.username), house.refreshed(person.pair)]
    for name in ("access_token", "refresh_token"):
        assert len({pair[name] for pair in pairs}) == 3


def test_a_wrong_password_and_an_unknown_account_are_told_alike(house: House) -> None:
    """Nor is there a difference for the owner, who has no password at all."""
    person = house.person()
    answers = [
        house.login("wrong password", identifier=name) for name in (person.username, "nobody", "x@example.com", "admin")
    ]
    told = [refusal(answer, 401, "UNAUTHORIZED") for answer in answers]
    assert told[0]["detail"] == "Wrong identifier or password."
    assert all(document | {"request_id": ""} == told[0] | {"request_id": ""} for document in told)
    headers = [{name: text for name, text in answer.headers.items() if name != "x-request-id"} for answer in answers]
    sizes = {header.pop("content-length") for header in headers}
    assert len(sizes) == 1
    assert all(header == headers[0] for header in headers)


@pytest.mark.parametrize("status", ["pending", "inactive", "suspended"])
def test_only_the_right_password_tells_that_an_account_is_not_active(house: House, status: str) -> None:
    person = house.person()
    house.client.patch(f"/api/v1/users/{person.id}/status", json={"status": status}).raise_for_status()
    wrong = refusal(house.login("wrong password", identifier=person.username), 401)
    assert "state" not in wrong
    assert refusal(house.login(identifier=person.username), 403, "FORBIDDEN")["state"] == status
    assert house.sessions(person.id) == 0 or not house.lets_in(person.pair)
    house.client.patch(f"/api/v1/users/{person.id}/status", json={"status": "active"}).raise_for_status()
    sign_in(house.client, person.username)


def test_refreshing_gives_a_new_pair_of_the_same_session(house: House) -> None:
    person = house.person()
    second = house.refreshed(person.pair)
    third = house.refreshed(second)
    assert third.keys() == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert all(house.lets_in(pair) for pair in (person.pair, second, third))
    assert house.sessions(person.id) == 1


def test_within_ten_seconds_a_used_refresh_token_gives_a_sibling(house: House, clock: Clock) -> None:
    """Two tabs of a browser: both go on, each with its own pair."""
    person = house.person()
    first = house.refreshed(person.pair)
    clock.at += 10
    sibling = house.refreshed(person.pair)
    assert sibling["refresh_token"] != first["refresh_token"]
    for pair in (first, sibling):
        assert house.lets_in(pair)
        assert house.lets_in(house.refreshed(pair))
    assert house.sessions(person.id) == 1


def test_later_a_used_refresh_token_ends_its_whole_session(house: House, clock: Clock) -> None:
    """Someone has copied it: neither the thief nor the owner goes on, and the trail tells of it, once."""
    person = house.person()
    other = sign_in(house.client, person.username)
    first, sibling = house.refreshed(person.pair), house.refreshed(person.pair)
    newest = house.refreshed(first)
    family = [person.pair, first, sibling, newest]
    assert all(house.lets_in(pair) for pair in family)
    clock.at += 10.001
    assert refusal(house.refresh(person.pair), 401)["detail"] == "Invalid refresh token"
    assert not any([house.lets_in(pair) for pair in family])
    for pair in family:
        refusal(house.refresh(pair), 401)
    assert house.lets_in(other)
    (row,) = house.rows("SELECT * FROM audit WHERE action = 'auth.refresh_reused' AND request_id IS NOT NULL")
    assert (row["status"], row["authorized"], row["route"]) == (401, 0, f"{AUTH}/refresh")
    assert house.sessions(person.id) == 1


@pytest.mark.parametrize("secret", ["x", "x" * 43, "x" * 4096, "é\U0001f980"])
def test_a_refresh_token_that_nobody_was_given_refreshes_nothing(house: House, secret: str) -> None:
    assert refusal(house.post("refresh", {"refresh_token": secret}), 401)["detail"] == "Invalid refresh token"


def test_ten_refreshes_at_once_all_succeed_within_one_session(house: House) -> None:
    person = house.person()
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(house.refresh, [person.pair] * 10))
    assert [answer.status_code for answer in answers] == [200] * 10
    assert len({answer.json()["refresh_token"] for answer in answers}) == 10
    assert all(house.lets_in(answer.json()) for answer in answers)
    assert house.sessions(person.id) == 1


def test_logging_out_ends_this_session_at_once(house: House) -> None:
    person = house.person()
    other = sign_in(house.client, person.username)
    assert house.lets_in(person.pair)
    assert house.post("logout", {}, person.headers).json() == {}
    assert not house.lets_in(person.pair)
    refusal(house.refresh(person.pair), 401)
    assert refusal(house.post("logout", {}, person.headers), 401)["detail"] == ENDED
    assert house.lets_in(other)


def test_logging_out_everywhere_ends_all_sessions_and_no_token(house: House) -> None:
    person, neighbour = house.person(), house.person()
    token = house.token(person)
    pairs = [person.pair, sign_in(house.client, person.username)]
    assert all(house.lets_in(pair) for pair in pairs)
    assert house.post("logout", {"all": True}, bearer(pairs[1]["access_token"])).status_code == 200
    assert not any([house.lets_in(pair) for pair in pairs])
    assert house.me(token).status_code == 200
    assert house.lets_in(neighbour.pair)


def test_an_access_token_belongs_to_no_session_and_may_end_all(house: House) -> None:
    person = house.person()
    narrow, wide = house.token(person, "users:read"), house.token(person, "users:write")
    for asked in ({}, {"all": True}):
        assert refusal(house.post("logout", asked, narrow), 403)["required"] == ["users:write"]
    assert refusal(house.post("logout", {}, wide), 409)["state"] == "token"
    assert house.lets_in(person.pair)
    assert house.post("logout", {"all": True}, wide).status_code == 200
    assert not house.lets_in(person.pair)
    assert house.me(wide).status_code == 200


def test_changing_the_password_ends_the_other_sessions_and_not_this_one(house: House) -> None:
    person = house.person()
    token = house.token(person)
    other = sign_in(house.client, person.username)
    assert house.lets_in(other)
    given = {"old_password": PASSWORD, "new_password": NEW_PASSWORD}
    assert house.post("change-password", given, person.headers).json() == {}
    assert not house.lets_in(other)
    refusal(house.refresh(other), 401)
    assert house.lets_in(person.pair)
    assert house.lets_in(house.refreshed(person.pair))
    assert house.me(token).status_code == 200
    refusal(house.login(identifier=person.username), 401)
    sign_in(house.client, person.username, NEW_PASSWORD)


def test_a_wrong_old_password_is_named_and_counts_like_a_failed_sign_in(house: House) -> None:
    person = house.person()
    given = {"old_password": "wrong password", "new_password": NEW_PASSWORD}
    for _ in range(5):
        document = refusal(house.post("change-password", given, person.headers), 400, "VALIDATION_ERROR")
        assert [error["field"] for error in document["errors"]] == ["/old_password"]
    right = {"old_password": PASSWORD, "new_password": NEW_PASSWORD}
    for answer in (house.post("change-password", right, person.headers), house.login(identifier=person.username)):
        refusal(answer, 429, "TOO_MANY_REQUESTS")
        assert 0 < int(answer.headers["retry-after"]) <= 300
    assert house.lets_in(person.pair)


@pytest.mark.parametrize("password", ["short", "x" * 129, "password123", "{username}", "{username}@EXAMPLE.com"])
def test_a_new_password_that_breaks_a_rule_is_named(house: House, password: str) -> None:
    person = house.person()
    given = {"old_password": PASSWORD, "new_password": password.format(username=person.username)}
    document = refusal(house.post("change-password", given, person.headers), 400)
    assert [error["field"] for error in document["errors"]] == ["/new_password"]
    assert given["new_password"] not in document["detail"]
    sign_in(house.client, person.username)


def test_the_own_sessions_are_listed_without_their_secrets(house: House) -> None:
    person = house.person()
    agent = NOBODY | {"User-Agent": "Browser/1 \x07" + "x" * 300}
    pair = house.post("login", {"identifier": person.username, "password": PASSWORD}, agent).json()
    answer = house.client.get(f"{AUTH}/sessions", headers=bearer(pair["access_token"]))
    first, second = answer.json()
    assert second.keys() == {"id", "ip", "user_agent", "created_at", "last_used_at", "expires_at", "current"}
    assert ([first["current"], second["current"]], second["ip"]) == ([False, True], "127.0.0.1")
    assert (second["user_agent"][:12], len(second["user_agent"])) == ("Browser/1 xx", 199)
    assert first["id"] < second["id"]
    for secret in (*pair.values(), *person.pair.values()):
        assert not isinstance(secret, str) or secret == "Bearer" or secret not in answer.text


def test_sessions_come_in_pages(house: House) -> None:
    person = house.person()
    for _ in range(4):
        sign_in(house.client, person.username)
    first = house.client.get(f"{AUTH}/sessions?limit=2&count=true", headers=person.headers)
    assert first.headers["x-total-count"] == "5"
    found = [session["id"] for session in first.json()]
    answer = first
    while "next" in answer.links:
        answer = house.client.get(answer.links["next"]["url"], headers=person.headers)
        found += [session["id"] for session in answer.json()]
    assert len(found) == len(set(found)) == 5
    assert found == sorted(found)


def test_one_of_the_own_sessions_is_ended_and_nobody_elses(house: House) -> None:
    person, other = house.person(), house.person()
    second = sign_in(house.client, person.username)
    mine, theirs = (house.me(bearer(pair["access_token"])).json()["session_id"] for pair in (second, other.pair))
    for missing in (theirs, 10**17, 0):
        refusal(house.client.delete(f"{AUTH}/sessions/{missing}", headers=person.headers), 404)
    assert house.lets_in(other.pair)
    assert house.client.delete(f"{AUTH}/sessions/{mine}", headers=person.headers).status_code == 204
    assert not house.lets_in(second)
    refusal(house.refresh(second), 401)
    refusal(house.client.delete(f"{AUTH}/sessions/{mine}", headers=person.headers), 404)
    assert house.lets_in(person.pair)


def test_the_hundred_and_first_session_ends_the_oldest_at_once(house: House) -> None:
    person = house.person()
    second = sign_in(house.client, person.username)
    for _ in range(98):
        sign_in(house.client, person.username)
    assert house.lets_in(person.pair)
    newest = sign_in(house.client, person.username)
    assert house.sessions(person.id) == 100
    assert not house.lets_in(person.pair)
    refusal(house.refresh(person.pair), 401)
    assert house.lets_in(second)
    assert house.lets_in(newest)


def test_an_access_token_expires_by_the_clock_and_its_session_goes_on(house: House, clock: Clock) -> None:
    clock.at = float(int(clock.at))
    person = house.person()
    clock.at += ACCESS_S - 0.001
    assert house.lets_in(person.pair)
    clock.at += 0.001
    answer = house.me(person.headers)
    assert refusal(answer, 401)["detail"] == "Token expired"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert house.lets_in(house.refreshed(person.pair))


def test_a_session_lasts_as_long_as_it_is_refreshed_in_time(house: House, clock: Clock) -> None:
    person = house.person()
    pair = person.pair
    for _ in range(3):
        clock.at += REFRESH_S - 0.01
        pair = house.refreshed(pair)
    assert house.lets_in(pair)
    clock.at += REFRESH_S
    refusal(house.refresh(pair), 401)
    again = sign_in(house.client, person.username)
    assert len(house.client.get(f"{AUTH}/sessions", headers=bearer(again["access_token"])).json()) == 1
    assert house.sessions(person.id) == 1


def test_the_settings_say_how_long(tmp_path: Path, clock: Clock) -> None:
    clock.at = float(int(clock.at))
    config = configured(tmp_path / "data", JWT_ACCESS_EXPIRES="90s", JWT_REFRESH_EXPIRES="2m")
    with TestClient(create_app(config), client=("127.0.0.1", 7)) as client:
        client.headers["Authorization"] = f"Token {claim(client)}"
        person = make_person(client, config, "ann")
        assert person.pair["expires_in"] == 90
        clock.at += 90
        assert refusal(client.get(ME, headers=person.headers), 401)["detail"] == "Token expired"
        clock.at += 30
        answer = client.post(f"{AUTH}/refresh", json={"refresh_token": person.pair["refresh_token"]})
        refusal(answer, 401)


class Fate:
    """Something that befalls a caller, and what the session and the token are told on the next request."""

    def __init__(self, act: Callable[[House, Person], httpx2.Response], session: int, token: int) -> None:
        self.act = act
        self.session = session
        self.token = token


FATES = {
    "demoted": Fate(
        lambda house, who: house.client.put(f"/api/v1/users/{who.id}/roles", json={"roles": ["user"]}), 401, 403
    ),
    "deactivated": Fate(
        lambda house, who: house.client.patch(f"/api/v1/users/{who.id}/status", json={"status": "inactive"}), 401, 401
    ),
    "suspended": Fate(
        lambda house, who: house.client.patch(f"/api/v1/users/{who.id}/status", json={"status": "suspended"}), 401, 401
    ),
    "deleted": Fate(lambda house, who: house.client.delete(f"/api/v1/users/{who.id}"), 401, 401),
    "given a new password": Fate(
        lambda house, who: house.client.patch(f"/api/v1/users/{who.id}/password", json={"password": NEW_PASSWORD}),
        401,
        200,
    ),
    "logged out": Fate(lambda house, who: house.post("logout", {}, who.headers), 401, 200),
    "logged out everywhere": Fate(lambda house, who: house.post("logout", {"all": True}, who.headers), 401, 200),
}


@pytest.mark.parametrize("fate", FATES)
def test_what_befalls_a_caller_counts_on_the_very_next_request(house: House, fate: str) -> None:
    admin = house.person("admin")
    token = house.token(admin)
    for headers in (admin.headers, token):
        assert house.client.get("/api/v1/users", headers=headers).status_code == 200
    assert FATES[fate].act(house, admin).is_success
    answer = house.client.get("/api/v1/users", headers=admin.headers)
    assert refusal(answer, FATES[fate].session)["detail"] == ENDED
    assert house.client.get("/api/v1/users", headers=token).status_code == FATES[fate].token
    refusal(house.refresh(admin.pair), 401)


def restarted(config: Config) -> TestClient:
    return TestClient(create_app(config), client=("127.0.0.1", 7))


def test_a_restart_keeps_sessions_and_another_secret_key_ends_them(tmp_path: Path) -> None:
    config = configured(tmp_path / "data")
    with restarted(config) as client:
        client.headers["Authorization"] = f"Token {claim(client)}"
        person = make_person(client, config, "ann")
    with restarted(config) as client:
        assert client.get(ME, headers=person.headers).json()["username"] == "ann"
    with restarted(configured(tmp_path / "data", SECRET_KEY="k" * 40)) as client:
        assert refusal(client.get(ME, headers=person.headers), 401)["detail"] == "Invalid token"


def test_the_token_of_a_database_that_was_replaced_lets_nobody_in(tmp_path: Path, clock: Clock) -> None:
    """Not even once the new database has an account and a session of the same numbers, under the same key."""
    key = "a key that outlives the database it was made for"
    who = {"email": "ann@example.com", "username": "ann", "name": "Ann", "password": PASSWORD}
    found = []
    for folder in ("first", "second"):
        with restarted(configured(tmp_path / folder, SECRET_KEY=key)) as client:
            for headers in found:
                refusal(client.get(ME, headers=headers), 401)
            assert client.post(f"{AUTH}/register", json=who).status_code == 201
            headers = bearer(sign_in(client, "ann")["access_token"])
            mine = client.get(ME, headers=headers).json()
            assert (mine["id"], mine["session_id"]) == (1, 1)
            for old in found:
                refusal(client.get(ME, headers=old), 401)
            found.append(headers)
        clock.at += 60


@pytest.mark.slow
def test_the_stream_of_a_session_that_is_ended_ends(service: Service) -> None:
    service.settings |= {"NIX_BUILD": str(FAKES / "nix-build"), "MIN_FREE_BYTES": "0"}
    service.start()
    config = configured(service.data_dir)
    with service.client() as client:
        person = make_person(client, config, "ann")  # type: ignore[arg-type]
        package_id = client.post("/api/v1/packages", json={"name": "hang", "version": "1.0.0"}).json()["id"]
        assert client.post(f"/api/v1/packages/{package_id}/download").status_code == 202
        theirs = Listener(service, package_id, token=person.pair["access_token"])  # type: ignore[arg-type]
        own = Listener(service, package_id)  # type: ignore[arg-type]
        for listener in (theirs, own):
            listener.until("begun")
        assert client.post(f"{AUTH}/logout", json={}, headers=person.headers).status_code == 200
        assert theirs.end()[-1].content == {"reason": "revoked"}
        assert client.post(f"/api/v1/packages/{package_id}/cancel").status_code == 202
    assert own.end()[-1].content == {"reason": "finished"}


def test_a_hash_is_renewed_at_sign_in_when_its_parameters_have_risen(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only with the right password; nobody is signed out by it, and all who sign in at that moment are let in."""
    person = house.person()

    def stored() -> str:
        return str(house.rows("SELECT password_hash FROM users WHERE id = ?", person.id)[0]["password_hash"])

    before = stored()
    monkeypatch.setattr(passwords, "TODAY", Cost(5, 8, 1))
    assert house.login("not this one", username=person.username).status_code == 401
    assert stored() == before
    with ThreadPoolExecutor(4) as pool:
        answers = [*pool.map(lambda _: house.login(username=person.username), range(4))]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert before.startswith("$scrypt$ln=4,")
    assert (renewed := stored()).startswith("$scrypt$ln=5,")
    assert house.login(username=person.username).status_code == 200
    assert stored() == renewed
    assert house.lets_in(person.pair)


def test_a_session_belongs_to_the_account_and_not_to_a_name_of_it(house: House) -> None:
    """Another e-mail and another username leave it alone; the old names sign nobody in, the new ones do."""
    person = house.person()
    names = {"email": f"new-{person.username}@example.com", "username": f"new-{person.username}"}
    changed = house.client.patch(ME, json=names, headers=person.headers)
    assert changed.status_code == 200, changed.text
    assert house.me(person.headers).json()["username"] == names["username"]
    assert house.lets_in(house.refreshed(person.pair))
    assert house.login(username=person.username).status_code == 401
    assert house.login(email=names["email"]).json()["user"]["id"] == person.id
