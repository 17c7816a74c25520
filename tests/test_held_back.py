"""A body that is held back: whoever was let in at its beginning is asked for again at its end."""

from collections.abc import Callable

import httpx2
import pytest

from tests.accounts import Person, bearer
from tests.house import ACCESS_S, House
from tests.support import Clock, ask, call_meanwhile, refusal

USERS = "/api/v1/users"
ROLES = [b'{"roles": ["super_admin"]}']
Meanwhile = Callable[[House, Person], object]


def demote(house: House, person: Person) -> None:
    assert house.client.put(f"{USERS}/{person.id}/roles", json={"roles": ["user"]}).status_code == 200


def suspend(house: House, person: Person) -> None:
    assert house.client.patch(f"{USERS}/{person.id}/status", json={"status": "suspended"}).status_code == 200


def sign_out(house: House, person: Person) -> None:
    assert house.post("logout", {"all": True}, person.headers).status_code == 200


def make_super_admin(
    house: House, una: Person, headers: dict[str, str], happens: Callable[[], object]
) -> httpx2.Response:
    return call_meanwhile(house.client, "PUT", f"{USERS}/{una.id}/roles", ROLES, headers, happens)


@pytest.mark.parametrize("meanwhile", [demote, suspend, sign_out], ids=lambda act: act.__name__)
def test_a_session_that_ends_while_its_body_is_waited_for_changes_nothing(house: House, meanwhile: Meanwhile) -> None:
    sue, una = house.person("super_admin"), house.person()
    answer = make_super_admin(house, una, sue.headers, lambda: meanwhile(house, sue))
    assert refusal(answer, 401, "UNAUTHORIZED")["detail"] == "Session ended"
    assert house.client.get(f"{USERS}/{una.id}").json()["role"] == "user"


def test_a_token_whose_owner_is_demoted_meanwhile_may_no_more_than_its_owner(house: House) -> None:
    sue, una = house.person("super_admin"), house.person()
    answer = make_super_admin(house, una, house.token(sue), lambda: demote(house, sue))
    assert refusal(answer, 403, "FORBIDDEN")["required"] == ["users:admin"]
    assert house.client.get(f"{USERS}/{una.id}").json()["role"] == "user"


@pytest.mark.parametrize("body", [[b"{}"], [b"", b"{", b"}"]])
def test_a_route_that_takes_no_body_does_not_wait_for_one_in_trust(house: House, body: list[bytes]) -> None:
    sue, una = house.person("super_admin"), house.person()
    answer = call_meanwhile(house.client, "DELETE", f"{USERS}/{una.id}", body, sue.headers, lambda: demote(house, sue))
    refusal(answer, 401, "UNAUTHORIZED")
    assert house.client.get(f"{USERS}/{una.id}").status_code == 200


def test_what_happens_to_others_meanwhile_is_no_reason_to_refuse(house: House) -> None:
    sue, una, otto = house.person("super_admin"), house.person(), house.person()
    body = [b'{"position": ', b'"Optician"}']
    answer = call_meanwhile(house.client, "PATCH", f"{USERS}/{una.id}", body, sue.headers, lambda: suspend(house, otto))
    assert (answer.status_code, answer.json()["position"]) == (200, "Optician")


def test_a_public_route_asks_nobody_again(house: House) -> None:
    sue = house.person("super_admin")
    body = [b'{"refresh_token": "%s"}' % sue.pair["refresh_token"].encode()]
    answer = call_meanwhile(
        house.client, "POST", "/api/v1/auth/refresh", body, sue.headers, lambda: suspend(house, house.person())
    )
    assert answer.status_code == 200


def test_a_session_outlasts_its_token_during_an_upload_and_not_its_own_end(house: House, clock: Clock) -> None:
    anna, ends = house.person(), house.person()

    def later(person: Person, *, signs_out: bool = False) -> httpx2.Response:
        def happens() -> None:
            if signs_out:
                sign_out(house, person)
            clock.at += ACCESS_S + 1

        path = "/api/v1/files/content"
        given = [(name.lower().encode(), value.encode()) for name, value in person.headers.items()]
        return ask(house.client, "PUT", path, query=b"name=a", headers=given, body=[b"slow"], meanwhile=happens)

    assert later(anna).status_code == 201
    refusal(house.me(anna.headers), 401)  # the token is over all the same
    anna.headers |= bearer(house.refreshed(anna.pair)["access_token"])
    fresh = {row["id"] for row in house.client.get("/api/v1/files", headers=anna.headers).json()}
    ends.headers |= bearer(house.refreshed(ends.pair)["access_token"])
    refusal(later(ends, signs_out=True), 401, "UNAUTHORIZED")
    assert len(fresh) == 1


def test_an_access_token_with_an_end_ends_during_an_upload_too(house: House, clock: Clock) -> None:
    anna = house.person()
    made = house.client.post("/api/v1/tokens", json={"expires_in_days": 1}, headers=anna.headers).json()
    given = [(b"authorization", f"Token {made['token']}".encode())]

    def happens() -> None:
        clock.at += 86401

    path = "/api/v1/files/content"
    answer = ask(house.client, "PUT", path, query=b"name=a", headers=given, body=[b"slow"], meanwhile=happens)
    assert refusal(answer, 401)["detail"] == "Token expired"
