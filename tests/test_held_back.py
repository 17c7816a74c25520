"""A body that is held back: whoever was let in at its beginning is asked for again at its end."""

from collections.abc import Callable

import httpx2
import pytest

from tests.accounts import Person
from tests.house import House
from tests.support import call_meanwhile, refusal

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
