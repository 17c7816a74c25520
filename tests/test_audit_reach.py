"""How far somebody sees into the trail, and the calls of one token: whose row it is, and who belonged where then."""

from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

import httpx2
import pytest

from app.values import new_token
from tests.accounts import Person, bearer, make_group, make_person, sign_in
from tests.house import House, opened
from tests.support import refusal
from tests.test_audit_csv import read
from tests.test_audit_reading import AUDIT, pages

VERSION = "/api/v1/version"
_numbers = count(1)


class Town(NamedTuple):
    """Two groups and people in and out of them, each of whom has called once."""

    house: House
    north: int
    south: int
    people: dict[str, Person]

    def seen(self, reader: dict[str, str], path: str = AUDIT, **asked: Any) -> set[str]:
        """Whose calls somebody finds, of those that the people made."""
        self.house.client.headers, kept = {**self.house.client.headers, **reader}, self.house.client.headers
        try:
            answers = pages(self.house.client, path, limit=200, **asked)
        finally:
            self.house.client.headers = kept
        rows = [row for answer in answers for row in answer.json() if row["path"] == VERSION]
        return {row["actor_name"] for row in rows}


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    with opened(tmp_path_factory.mktemp("reach")) as house:
        north, south = (make_group(house.client, name, f"0000000{len(name)}") for name in ("nord", "south"))
        for reach in ("own", "group"):
            role = {"name": f"reads-{reach}", "permissions": [{"permission": "audit:read", "reach": reach}]}
            assert house.client.post("/api/v1/roles", json=role).status_code == 201
        made = {
            "nora": (["admin"], north),
            "nils": ([], north),
            "sven": (["admin"], south),
            "sam": ([], south),
            "ann": (["admin"], None),
            "otto": ([], None),
            "olga": (["user", "reads-own"], None),
            "greta": (["user", "reads-group"], None),
            "nelly": (["user", "reads-group"], north),
            "gus": (["guest"], None),
        }
        people = {
            name: make_person(house.client, house.config, name, *roles, group_id=group)
            for name, (roles, group) in made.items()
        }
        for person in people.values():
            assert house.client.get(VERSION, headers=person.headers).status_code == 200
        yield Town(house, north, south, people)


NORTH, SOUTH = {"nora", "nils", "nelly"}, {"sven", "sam"}
ALL = NORTH | SOUTH | {"ann", "otto", "olga", "greta", "gus"}


@pytest.mark.parametrize(
    ("reader", "people"),
    [("ann", ALL), ("nora", NORTH), ("nelly", NORTH), ("sven", SOUTH), ("olga", {"olga"}), ("greta", {"greta"})],
)
def test_a_reader_sees_as_far_as_its_roles_reach(town: Town, reader: str, people: set[str]) -> None:
    """By every filter, in the order of writing and in a sheet alike, and the count tells no more than the rows do."""
    headers, client = town.people[reader].headers, town.house.client
    assert town.seen(headers) & ALL == people
    assert town.seen(headers, after=0) & ALL == people
    for name, person in town.people.items():
        assert town.seen(headers, actor_id=person.id) == ({name} & people)
        found = client.get(AUDIT, params={"actor_id": person.id, "count": "true", "limit": 1000}, headers=headers)
        assert found.headers["x-total-count"] == str(len(found.json()))
        for one in ({"target": f"users/{person.id}"}, {"action": "auth.sign_in"}, {"authorized": "true"}):
            told = client.get(AUDIT, params={**one, "limit": 1000}, headers=headers).json()
            assert {row["actor_name"] for row in told} <= people | ({None, "admin"} if reader == "ann" else set())
    sheet = read(client.get(AUDIT, params={"format": "csv"}, headers=headers))
    assert {row["actor_name"] for row in sheet if row["path"] == VERSION} & ALL == people


def test_a_super_admin_sees_everybody(town: Town) -> None:
    assert town.seen({}) >= ALL
    assert {row["actor_name"] for row in town.house.client.get(AUDIT, params={"limit": 1000}).json()} >= {"admin", *ALL}


@pytest.mark.parametrize("reader", ["otto", "nils", "gus"])
def test_users_and_guests_do_not_see_the_trail(town: Town, reader: str) -> None:
    for asked in ({}, {"actor_id": town.people[reader].id}, {"format": "csv"}):
        answer = town.house.client.get(AUDIT, params=asked, headers=town.people[reader].headers)
        assert refusal(answer, 403, "FORBIDDEN")["required"] == ["audit:read"]
    refusal(town.house.client.get(AUDIT, headers={"Authorization": ""}), 401)


def test_a_token_reads_as_far_as_its_owner_and_only_with_its_scope(town: Town) -> None:
    house = town.house
    for name, people in (("ann", ALL), ("nora", NORTH), ("olga", {"olga"})):
        assert town.seen(house.token(town.people[name], "audit:read")) & ALL == people
        assert refusal(house.client.get(AUDIT, headers=house.token(town.people[name], "tokens:read")), 403)
    answer = house.client.post("/api/v1/tokens", json={"scopes": ["audit:read"]}, headers=town.people["otto"].headers)
    refusal(answer, 403, "FORBIDDEN")


def marked(town: Town, headers: dict[str, str]) -> str:
    """A call of somebody's; its request id."""
    number = f"marked-{next(_numbers)}"
    assert town.house.client.get(VERSION, headers={**headers, "X-Request-ID": number}).status_code == 200
    return number


def found_by(town: Town, reader: str, wanted: set[str]) -> set[str]:
    told = town.house.client.get(AUDIT, params={"limit": 1000}, headers=town.people[reader].headers).json()
    return {row["request_id"] for row in told} & wanted


def test_rows_belong_to_the_group_that_somebody_belonged_to_then(town: Town) -> None:
    """From North to South, to none, back to North, and then the account is deleted."""
    house = town.house
    mover = make_person(house.client, house.config, "mover", group_id=town.north)
    calls: dict[int | None, set[str]] = {town.north: set(), town.south: set(), None: set()}
    for group in (town.north, town.south, None, town.north):
        moved = house.client.put(f"/api/v1/users/{mover.id}/group", json={"group_id": group})
        assert moved.status_code == 200, moved.text
        calls[group].add(marked(town, bearer(sign_in(house.client, "mover")["access_token"])))
    assert house.client.delete(f"/api/v1/users/{mover.id}").status_code == 204
    every = set().union(*calls.values())
    assert found_by(town, "nora", every) == calls[town.north]
    assert found_by(town, "sven", every) == calls[town.south]
    assert found_by(town, "ann", every) == every


def test_an_admin_of_a_group_sees_its_people_sign_in_and_change_things(town: Town) -> None:
    house = town.house
    nina = make_person(house.client, house.config, "nina", group_id=town.north)
    for what, given, headers in (
        ("login", {"identifier": "nina", "password": "correct horse battery"}, {"Authorization": ""}),
        ("refresh", {"refresh_token": nina.pair["refresh_token"]}, {"Authorization": ""}),
    ):
        answer = house.client.post(f"/api/v1/auth/{what}", json=given, headers=headers)
        assert answer.status_code == 200, answer.text
    house.client.patch("/api/v1/users/me", json={"bio": "x"}, headers=bearer(answer.json()["access_token"]))
    asked = {"actor_id": nina.id, "limit": 1000}
    told = house.client.get(AUDIT, params=asked, headers=town.people["nora"].headers).json()
    assert [row["action"] for row in told] == ["users.update", "auth.refresh", "auth.sign_in", "auth.sign_in"]
    assert house.client.get(AUDIT, params=asked, headers=town.people["sven"].headers).json() == []


def logs_of(town: Town, token_id: int, headers: dict[str, str] | None = None, **asked: Any) -> httpx2.Response:
    return town.house.client.get(f"/api/v1/tokens/{token_id}/logs", params=asked, headers=headers or {})


def test_the_calls_of_a_token_are_told_in_these_words(town: Town) -> None:
    """The newest first; a reason only where it was refused; what was asked for without its query, and no secret."""
    client = town.house.client
    made = client.post("/api/v1/tokens", json={"name": "ci", "scopes": ["packages:write"]}).json()
    own = {"Authorization": f"Token {made['token']}"}
    client.get(f"/api/v1/packages?q={new_token()}", headers=own)
    client.post("/api/v1/packages", json={"name": "logged", "version": "1.0"}, headers=own)
    client.get(f"/api/v1/packages/{made['token']}", headers=own)
    client.get("/api/v1/users", headers=own)
    client.delete(f"/api/v1/tokens/{made['id']}")
    client.get("/api/v1/packages", headers=own)
    answer = logs_of(town, made["id"])
    document = answer.json()
    assert answer.status_code == 200
    assert [*document] == ["token_id", "token_name", "total_logs", "logs"]
    assert (document["token_id"], document["token_name"], document["total_logs"]) == (made["id"], "ci", 5)
    keys = ["timestamp", "ip", "method", "endpoint", "status_code", "authorized"]
    assert [[*log] for log in document["logs"]] == [[*keys, "reason"], [*keys, "reason"], [*keys, "reason"], keys, keys]
    assert [(log["method"], log["endpoint"], log["status_code"], log["authorized"]) for log in document["logs"]] == [
        ("GET", "/api/v1/packages", 401, False),
        ("GET", "/api/v1/users", 403, False),
        ("GET", "/api/v1/packages/pat_…", 404, True),
        ("POST", "/api/v1/packages", 201, True),
        ("GET", "/api/v1/packages", 200, True),
    ]
    reasons = [log["reason"] for log in document["logs"][:3]]
    assert reasons == ["Token revoked", "This needs users:read.", "There is nothing at this path."]
    assert all(log["ip"] == "127.0.0.1" and log["timestamp"].endswith("Z") for log in document["logs"])
    assert made["token"] not in answer.text
    assert made["token"][4:-6] not in answer.text


def test_the_calls_of_a_token_are_told_page_by_page(town: Town) -> None:
    client = town.house.client
    made = client.post("/api/v1/tokens", json={"name": "paged"}).json()
    for number in range(23):
        client.get(f"/none/{number}", headers={"Authorization": f"Token {made['token']}"})
    answers = pages(client, f"/api/v1/tokens/{made['id']}/logs", limit=5, count="true")
    documents = [answer.json() for answer in answers]
    told = [log["endpoint"] for document in documents for log in document["logs"]]
    assert told == [f"/none/{number}" for number in reversed(range(23))]
    assert {document["total_logs"] for document in documents} == {23}
    assert answers[0].headers["x-total-count"] == "23"
    for bad in ({"limit": 0}, {"cursor": "x"}, {"since": "2026-01-01T00:00:00Z"}, {"format": "csv"}):
        refusal(logs_of(town, made["id"], **bad), 400, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    ("reader", "sees"),
    [
        ("nils", {"nils"}),
        ("otto", set()),
        ("nora", {"nils"}),
        ("sven", {"sam"}),
        ("ann", {"nils", "sam"}),
        ("olga", set()),
    ],
)
def test_the_calls_of_somebody_elses_token_are_for_those_who_administer_it(
    town: Town, reader: str, sees: set[str]
) -> None:
    """For others there is no such token."""
    for owner in ("nils", "sam"):
        token = town.house.token(town.people[owner], "packages:read")
        town.house.client.get("/api/v1/packages", headers=token)
        [row] = town.house.rows("SELECT max(id) AS id FROM tokens")
        answer = logs_of(town, row["id"], town.people[reader].headers)
        if owner in sees:
            assert (answer.status_code, answer.json()["total_logs"]) == (200, 1)
        else:
            told = refusal(answer, 404, "NOT_FOUND")["detail"]
            assert told == refusal(logs_of(town, 10**9, town.people[reader].headers), 404)["detail"]
        assert logs_of(town, row["id"]).json()["total_logs"] == 1


def test_a_token_needs_the_scope_to_read_its_own_calls(town: Town) -> None:
    house = town.house
    for scope, status in (("tokens:read", 200), ("tokens:admin", 200), ("packages:read", 403), ("audit:read", 403)):
        token = house.token(town.people["ann"], scope)
        [row] = house.rows("SELECT max(id) AS id FROM tokens")
        assert logs_of(town, row["id"], token).status_code == status
    refusal(logs_of(town, 1, {"Authorization": ""}), 401)
