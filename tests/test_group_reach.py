"""Who reaches whom through a group: what an admin of one sees and manages ends at it."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, NamedTuple

import pytest
from starlette.testclient import TestClient

from app.config import Config
from app.main import create_app
from app.routes import ROUTES
from app.web.access import RouteLine
from tests.accounts import PASSWORD, Person, bearer, make_account, make_group, make_person, sign_in
from tests.fcs_writer import fcs
from tests.support import claim, configured, refusal

USERS, TOKENS = "/api/v1/users", "/api/v1/tokens"
_numbers = count(1)


class Town(NamedTuple):
    """Two groups and people in and out of them. `client` is the super admin's; what a test changes is its own."""

    client: TestClient
    config: Config
    north: int
    south: int
    people: dict[str, Person]

    def ids(self, *names: str) -> list[int]:
        return [self.people[name].id for name in names]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    config = configured(tmp_path_factory.mktemp("groups") / "data")
    with TestClient(create_app(config), client=("127.0.0.1", 50000)) as client:
        client.headers["Authorization"] = f"Token {claim(client)}"
        north, south = make_group(client, "North", "00000001"), make_group(client, "South", "00000002")
        lead = [{"permission": f"{resource}:admin", "reach": "group"} for resource in ("users", "tokens")]
        assert client.post("/api/v1/roles", json={"name": "lead", "permissions": lead}).status_code == 201
        people = [
            make_person(client, config, "nora", "admin", group_id=north),
            make_person(client, config, "nell", "admin", group_id=north),
            make_person(client, config, "nils", group_id=north),
            make_person(client, config, "sam", group_id=south),
            make_person(client, config, "ann", "admin"),
            make_person(client, config, "otto"),
            make_person(client, config, "lars", "lead"),
            make_person(client, config, "lena", "user", "lead", group_id=north),
        ]
        yield Town(client, config, north, south, {person.username: person for person in people})


@pytest.fixture
def nora(town: Town) -> dict[str, str]:
    """Calls of the admin of the group North."""
    return town.people["nora"].headers


def person(town: Town, *roles: str, group_id: int | None = None) -> Person:
    """Somebody of this test alone, with a session."""
    return make_person(town.client, town.config, f"person{next(_numbers)}", *roles, group_id=group_id)


def move(town: Town, user_id: int, group_id: int | None) -> None:
    """Puts somebody into another group or none."""
    assert town.client.put(f"{USERS}/{user_id}/group", json={"group_id": group_id}).status_code == 200


def token(client: TestClient, who: Person, *scopes: str) -> dict[str, Any]:
    """A new token of somebody's."""
    answer = client.post(TOKENS, json={"scopes": scopes}, headers=who.headers)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def changes(user_id: int) -> list[tuple[str, str, dict[str, Any] | None]]:
    """Every way to change an account, the last of which deletes it."""
    return [
        ("PATCH", f"{USERS}/{user_id}", {"department": "Optics"}),
        ("PUT", f"{USERS}/{user_id}", {"department": "Optics"}),
        ("PATCH", f"{USERS}/{user_id}/status", {"status": "suspended"}),
        ("PATCH", f"{USERS}/{user_id}/password", {"password": "another battery horse"}),
        ("PUT", f"{USERS}/{user_id}/roles", {"roles": ["guest"]}),
        ("DELETE", f"{USERS}/{user_id}", None),
        ("POST", f"{USERS}/batch-delete", {"ids": [user_id]}),
    ]


def test_a_group_admin_lists_the_own_group_and_nobody_else(town: Town, nora: dict[str, str]) -> None:
    answer = town.client.get(USERS, params={"count": True, "limit": 1000}, headers=nora)
    found = answer.json()
    assert {user["group_id"] for user in found} == {town.north}
    assert {user["id"] for user in found} >= {*town.ids("nora", "nell", "nils")}
    assert answer.headers["x-total-count"] == str(len(found))


@pytest.mark.parametrize("sort", ["created_at", "-created_at", "username", "-username", "name", "-name"])
def test_no_order_and_no_page_of_a_list_leads_out_of_the_group(town: Town, nora: dict[str, str], sort: str) -> None:
    found: list[dict[str, Any]] = []
    answer = town.client.get(USERS, params={"sort": sort, "limit": 1}, headers=nora)
    found += answer.json()
    while "next" in answer.links:
        answer = town.client.get(answer.links["next"]["url"], headers=nora)
        found += answer.json()
        assert len(found) < 100
    assert {user["group_id"] for user in found} == {town.north}
    assert {user["id"] for user in found} >= {*town.ids("nora", "nell", "nils")}


def test_no_filter_leads_out_of_the_group(town: Town, nora: dict[str, str]) -> None:
    for wanted in ({"group_id": town.south}, {"q": "sam"}, {"role": "super_admin"}, {"q": "otto", "status": "active"}):
        answer = town.client.get(USERS, params={**wanted, "count": True}, headers=nora)
        assert (answer.json(), answer.headers["x-total-count"]) == ([], "0")


def test_of_several_accounts_one_outside_spares_them_all(town: Town, nora: dict[str, str]) -> None:
    ids = [make_account(town.config, group_id) for group_id in (town.north, town.south)]
    refusal(town.client.post(f"{USERS}/batch-delete", json={"ids": ids}, headers=nora), 404, "NOT_FOUND")
    assert [town.client.get(f"{USERS}/{user_id}").status_code for user_id in ids] == [200, 200]


def test_an_admin_without_a_group_reaches_everybody_and_changes_no_admin(town: Town) -> None:
    client, ann = town.client, town.people["ann"].headers
    found = {user["id"] for user in client.get(USERS, params={"limit": 1000}, headers=ann).json()}
    assert found == {user["id"] for user in client.get(USERS, params={"limit": 1000}).json()}
    for group_id in (town.north, town.south, None):
        for method, path, body in changes(make_account(town.config, group_id))[:-1]:
            assert client.request(method, path, json=body, headers=ann).is_success, (method, path)
    for user_id in [1, *town.ids("nora", "nell")]:
        before = client.get(f"{USERS}/{user_id}", headers=ann).json()
        for method, path, body in changes(user_id):
            document = refusal(client.request(method, path, json=body, headers=ann), 403, "FORBIDDEN")
            assert document["required"] == ["*"]
        assert client.get(f"{USERS}/{user_id}").json() == before


def test_an_account_is_made_in_its_makers_group(town: Town, nora: dict[str, str]) -> None:
    ann = town.people["ann"].headers
    for headers, group_id in ((nora, town.north), (ann, None), ({}, None)):
        new = {"email": f"new{next(_numbers)}@example.com", "name": "New", "password": PASSWORD}
        made = town.client.post(USERS, json=new, headers=headers).json()
        assert (made["group_id"], made["role"], made["status"]) == (group_id, "user", "active")
        told = town.client.post(USERS, json={**new, "group_id": town.south}, headers=headers)
        assert refusal(told, 400)["errors"][0]["field"] == "/group_id"


def test_a_user_sees_and_changes_the_own_account_alone(town: Town) -> None:
    """Not that of somebody in the same group either, and no list."""
    nils, client = town.people["nils"], town.client
    assert client.get(f"{USERS}/{nils.id}", headers=nils.headers).json()["username"] == "nils"
    changed = client.patch(f"{USERS}/{nils.id}", json={"position": "Optician"}, headers=nils.headers)
    assert (changed.status_code, changed.json()["position"]) == (200, "Optician")
    for user_id in [*town.ids("nora", "nell", "sam", "otto"), 1]:
        refusal(client.get(f"{USERS}/{user_id}", headers=nils.headers), 404, "NOT_FOUND")
        for method, path, body in changes(user_id)[:2]:
            refusal(client.request(method, path, json=body, headers=nils.headers), 404, "NOT_FOUND")
        for method, path, body in changes(user_id)[2:]:
            refusal(client.request(method, path, json=body, headers=nils.headers), 403, "FORBIDDEN")
    refusal(client.get(USERS, headers=nils.headers), 403, "FORBIDDEN")


@pytest.mark.parametrize("field", ["role", "roles", "status", "is_active", "id", "revision", "group_id", "group"])
def test_nobody_changes_through_a_profile_what_has_a_route_of_its_own(town: Town, field: str) -> None:
    nils = town.people["nils"]
    mine = town.client.get(f"{USERS}/me", headers=nils.headers).json()
    for path in (f"{USERS}/{nils.id}", f"{USERS}/me", "/api/v1/auth/me"):
        answer = town.client.patch(path, json={field: mine[field]}, headers=nils.headers)
        assert refusal(answer, 400)["errors"][0]["field"] == f"/{field}"


def test_who_has_no_group_reaches_nobody_else_without_one(town: Town) -> None:
    """A reach of `group` without a group is the own account alone: no group is not one that people share."""
    client, lars, otto = town.client, town.people["lars"], town.people["otto"]
    answer = client.get(USERS, params={"count": True}, headers=lars.headers)
    assert ([user["id"] for user in answer.json()], answer.headers["x-total-count"]) == ([lars.id], "1")
    assert client.get(f"{USERS}/{lars.id}", headers=lars.headers).status_code == 200
    refusal(client.get(f"{USERS}/{otto.id}", headers=lars.headers), 404, "NOT_FOUND")
    for method, path, body in changes(otto.id):
        refusal(client.request(method, path, json=body, headers=lars.headers), 404, "NOT_FOUND")
    theirs = token(client, otto, "packages:read")
    refusal(client.get(TOKENS, params={"user_id": otto.id}, headers=lars.headers), 404, "NOT_FOUND")
    assert client.get(TOKENS, params={"all": True, "count": True}, headers=lars.headers).json() == []
    for method in ("GET", "DELETE"):
        refusal(client.request(method, f"{TOKENS}/{theirs['id']}", headers=lars.headers), 404, "NOT_FOUND")


def test_a_group_admin_lists_the_tokens_of_the_group(town: Town, nora: dict[str, str]) -> None:
    client, people = town.client, town.people
    ids = {name: token(client, people[name], "users:read")["id"] for name in ("nora", "nell", "nils", "sam", "otto")}
    answer = client.get(TOKENS, params={"all": True, "count": True, "limit": 1000}, headers=nora)
    found = answer.json()
    assert {entry["user_id"] for entry in found} == {*town.ids("nora", "nell", "nils")}
    assert {entry["id"] for entry in found} >= {ids[name] for name in ("nora", "nell", "nils")}
    assert answer.headers["x-total-count"] == str(len(found))
    (nils, sam, otto) = town.ids("nils", "sam", "otto")
    of_nils = client.get(TOKENS, params={"user_id": nils}, headers=nora).json()
    assert {entry["user_id"] for entry in of_nils} == {nils}
    for user_id in (sam, otto, 1, 10**17):
        answer = client.get(TOKENS, params={"user_id": user_id}, headers=nora)
        assert refusal(answer, 404, "NOT_FOUND")["detail"] == "No such user."


def test_a_group_admin_ends_the_tokens_of_the_group_and_uses_none(town: Town, nora: dict[str, str]) -> None:
    """Those of another admin are seen and stay; a new secret and addresses are for the owner alone to give."""
    client, people = town.client, town.people
    own = {name: token(client, people[name], "users:read") for name in ("nils", "nell", "sam", "otto")}
    for name in ("sam", "otto"):
        for method in ("GET", "DELETE"):
            refusal(client.request(method, f"{TOKENS}/{own[name]['id']}", headers=nora), 404, "NOT_FOUND")
        assert client.get(f"{USERS}/me", headers=bearer(own[name]["token"])).status_code == 200
    path = f"{TOKENS}/{own['nils']['id']}"
    refusal(client.post(f"{path}/regenerate", headers=nora), 404, "NOT_FOUND")
    refusal(client.put(f"{path}/allowed-ips", json={"allowed_ips": []}, headers=nora), 404, "NOT_FOUND")
    assert client.get(path, headers=nora).json()["state"] == "active"
    assert client.delete(path, headers=nora).status_code == 200
    refusal(client.get(f"{USERS}/me", headers=bearer(own["nils"]["token"])), 401, "UNAUTHORIZED")
    assert client.get(f"{TOKENS}/{own['nell']['id']}", headers=nora).status_code == 200
    refusal(client.delete(f"{TOKENS}/{own['nell']['id']}", headers=nora), 403, "FORBIDDEN")
    assert client.get(f"{USERS}/me", headers=bearer(own["nell"]["token"])).status_code == 200


def test_an_admin_without_a_group_lists_all_tokens_and_ends_no_admins(town: Town) -> None:
    client, ann = town.client, town.people["ann"].headers
    own = {name: token(client, town.people[name], "users:read")["id"] for name in ("nora", "nils", "sam")}
    found = client.get(TOKENS, params={"all": True, "limit": 1000}, headers=ann).json()
    assert {entry["id"] for entry in found} >= {1, *own.values()}
    refusal(client.delete(f"{TOKENS}/{own['nora']}", headers=ann), 403, "FORBIDDEN")
    refusal(client.delete(f"{TOKENS}/1", headers=ann), 403, "FORBIDDEN")
    assert [client.delete(f"{TOKENS}/{own[name]}", headers=ann).status_code for name in ("nils", "sam")] == [200, 200]


def test_a_user_has_the_own_tokens_alone(town: Town) -> None:
    client, nils = town.client, town.people["nils"]
    foreign = token(client, town.people["nora"], "users:read")["id"]
    (nora,) = town.ids("nora")
    for wanted in ({"all": True}, {"user_id": nora}):
        document = refusal(client.get(TOKENS, params=wanted, headers=nils.headers), 403, "FORBIDDEN")
        assert document["required"] == ["tokens:admin"]
    for method in ("GET", "DELETE"):
        refusal(client.request(method, f"{TOKENS}/{foreign}", headers=nils.headers), 404, "NOT_FOUND")
    assert {entry["user_id"] for entry in client.get(TOKENS, headers=nils.headers).json()} <= {nils.id}


def test_an_admin_who_moves_to_another_group_reaches_that_one(town: Town) -> None:
    """Through a token, which goes on, from the next request."""
    client, admin = town.client, person(town, "admin", group_id=town.north)
    through = bearer(token(client, admin, "users:admin")["token"])
    (nils, sam) = town.ids("nils", "sam")
    seen = [client.get(f"{USERS}/{user_id}", headers=through).status_code for user_id in (nils, sam)]
    move(town, admin.id, town.south)
    now = [client.get(f"{USERS}/{user_id}", headers=through).status_code for user_id in (nils, sam)]
    assert (seen, now) == ([200, 404], [404, 200])


def test_who_loses_the_group_no_longer_reaches_it(town: Town) -> None:
    """Neither in a new session nor through a token."""
    client, lead = town.client, person(town, "lead", group_id=town.north)
    (nils,) = town.ids("nils")
    through = bearer(token(client, lead, "users:admin", "tokens:admin")["token"])
    for headers in (lead.headers, through):
        assert client.get(f"{USERS}/{nils}", headers=headers).status_code == 200
        assert client.get(TOKENS, params={"user_id": nils}, headers=headers).status_code == 200
    move(town, lead.id, None)
    for headers in (through, bearer(sign_in(client, lead.username)["access_token"])):
        refusal(client.get(f"{USERS}/{nils}", headers=headers), 404, "NOT_FOUND")
        refusal(client.get(TOKENS, params={"user_id": nils}, headers=headers), 404, "NOT_FOUND")
        assert [user["id"] for user in client.get(USERS, headers=headers).json()] == [lead.id]


def test_who_leaves_the_group_is_out_of_its_admins_reach(town: Town, nora: dict[str, str]) -> None:
    someone = make_account(town.config, town.north)
    assert town.client.get(f"{USERS}/{someone}", headers=nora).status_code == 200
    for group_id in (town.south, None):
        move(town, someone, group_id)
        refusal(town.client.get(f"{USERS}/{someone}", headers=nora), 404, "NOT_FOUND")
    move(town, someone, town.north)
    assert town.client.get(f"{USERS}/{someone}", headers=nora).status_code == 200


KEPT: dict[str, dict[str, Any]] = {
    "folders": {"json": {"name": "letters"}},
    "documents": {"json": {"title": "Letter", "content": "Dear"}},
    "files": {"files": {"file": ("letter.txt", b"Dear")}},
}
"""What people keep, and how each is made."""


@pytest.fixture(scope="module")
def keeping(town: Town) -> dict[str, dict[str, int]]:
    """One thing of each kind of somebody in each group, and in none; a role that reaches what a group keeps."""
    grants = [{"permission": f"{noun}:delete", "reach": "group"} for noun in KEPT]
    assert town.client.post("/api/v1/roles", json={"name": "archivist", "permissions": grants}).status_code == 201
    made: dict[str, dict[str, int]] = {noun: {} for noun in KEPT}
    for noun, given in KEPT.items():
        for name in ("nils", "nora", "sam", "otto"):
            answer = town.client.post(f"/api/v1/{noun}", headers=town.people[name].headers, **given)
            assert answer.status_code == 201, answer.text
            made[noun][name] = answer.json()["id"]
    return made


def reached(town: Town, headers: dict[str, str], noun: str, ids: dict[str, int]) -> set[str]:
    """Whose things somebody is shown, by each of them, by the list and by its search alike; of any other nothing."""
    client = town.client
    found: set[str] = set()
    for name, number in ids.items():
        answer = client.get(f"/api/v1/{noun}/{number}", headers=headers)
        new = {"title" if noun == "documents" else "name": "x"}
        change = client.patch(f"/api/v1/{noun}/{number}", json=new, headers={**headers, "If-Match": '"9"'})
        if answer.status_code == 200:
            found.add(name)
            refusal(change, 412, "PRECONDITION_FAILED")
        else:
            refusal(answer, 404, "NOT_FOUND")
            refusal(change, 404, "NOT_FOUND")
    for query in ("", "&q=letter", "&sort=title" if noun == "documents" else "&limit=1000"):
        listed = client.get(f"/api/v1/{noun}?count=true{query}", headers=headers)
        shown = {row["id"] for row in listed.json()}
        assert {name for name, number in ids.items() if number in shown} == found, (noun, query)
        assert listed.headers["x-total-count"] == str(len(shown))
    return found


@pytest.mark.parametrize("noun", KEPT)
def test_who_reaches_what_a_group_keeps_reaches_it_as_long_as_in_the_group(
    town: Town, keeping: dict[str, dict[str, int]], noun: str
) -> None:
    """An admin reaches it all, of whichever group: it is people that an admin of a group is kept to."""
    lead, ids = person(town, "user", "archivist", group_id=town.north), keeping[noun]
    through = bearer(token(town.client, lead, f"{noun}:delete")["token"])
    assert reached(town, through, noun, ids) == {"nils", "nora"}
    move(town, lead.id, town.south)
    assert reached(town, through, noun, ids) == {"sam"}
    move(town, lead.id, None)
    assert reached(town, through, noun, ids) == set()
    assert reached(town, town.people["nils"].headers, noun, ids) == {"nils"}
    for name in ("nora", "ann"):
        assert reached(town, town.people[name].headers, noun, ids) == {*ids}


@pytest.mark.parametrize("noun", ["documents", "files"])
def test_what_a_group_keeps_is_deleted_within_it_and_not_beside_it(
    town: Town, keeping: dict[str, dict[str, int]], noun: str
) -> None:
    client, ids = town.client, keeping[noun]
    lead = person(town, "archivist", group_id=town.south)
    both = {"ids": [ids["sam"], ids["nils"]]}
    answer = client.post(f"/api/v1/{noun}/batch-delete", json=both, headers=lead.headers)
    assert f"not {ids['nils']};" in refusal(answer, 404, "NOT_FOUND")["detail"]
    assert client.get(f"/api/v1/{noun}/{ids['sam']}", headers=lead.headers).status_code == 200
    nils = town.people["nils"].headers
    own = client.post(f"/api/v1/{noun}", headers=nils, **KEPT[noun]).json()["id"]
    refusal(client.delete(f"/api/v1/{noun}/{own}", headers=lead.headers), 404, "NOT_FOUND")
    move(town, lead.id, town.north)
    again = bearer(sign_in(client, lead.username)["access_token"])
    assert client.delete(f"/api/v1/{noun}/{own}", headers=again).status_code == 204
    refusal(client.get(f"/api/v1/{noun}/{own}", headers=nils), 404, "NOT_FOUND")


SAMPLE = fcs([[1.0, 2.0]], names=["FSC-A"])
OF_A_FILE = ("files/{}", "files/{}/download", "parameters?file_id={}", "events?file_id={}", "keywords?file_id={}")
OF_A_FILE += ("statistics?file_id={}", "histogram?x=1&bins=2&file_id={}", "density?x=1&y=1&bins=2&file_id={}")


def measured(town: Town, who: Person) -> int:
    """The id of a new FCS file of somebody's."""
    made = town.client.put("/api/v1/fcs/content?name=a.fcs", content=SAMPLE, headers=who.headers)
    assert made.status_code == 201, made.text
    return int(made.json()["file_id"])


@pytest.fixture(scope="module")
def files(town: Town) -> dict[str, int]:
    """An FCS file of somebody in each group, and in none; a role that administers those of a group."""
    grants = [{"permission": "fcs:admin", "reach": "group"}]
    assert town.client.post("/api/v1/roles", json={"name": "cytometrist", "permissions": grants}).status_code == 201
    return {name: measured(town, town.people[name]) for name in ("nils", "nora", "sam", "otto")}


def opened_files(town: Town, headers: dict[str, str], files: dict[str, int]) -> set[str]:
    """Whose FCS files somebody is shown, by every route that reads one and by the list alike; of any other nothing."""
    found = set()
    for name, file_id in files.items():
        answers = [town.client.get(f"/api/v1/fcs/{path.format(file_id)}", headers=headers) for path in OF_A_FILE]
        if answers[0].status_code == 200:
            found.add(name)
            assert [answer.status_code for answer in answers] == [200] * len(OF_A_FILE), name
            continue
        for answer in answers:
            assert refusal(answer, 404, "NOT_FOUND")["detail"] == "No such FCS file.", name
    listed = town.client.get("/api/v1/fcs/files?count=true&limit=1000", headers=headers)
    shown = [file["file_id"] for file in listed.json()]
    assert {name for name, file_id in files.items() if file_id in shown} == found
    assert (listed.headers["x-total-count"], shown) == (str(len(shown)), sorted(shown, reverse=True))
    pages = town.client.get("/api/v1/fcs/files?limit=1", headers=headers)
    for file_id in shown:
        assert [file["file_id"] for file in pages.json()] == [file_id]
        if "next" in pages.links:
            pages = town.client.get(pages.links["next"]["url"], headers=headers)
    return found


@pytest.mark.slow  # each plot is a process
def test_who_administers_the_fcs_files_of_a_group_reads_them_as_long_as_in_it(
    town: Town, files: dict[str, int]
) -> None:
    """An admin reads all; everybody else the own; nobody through a token that may not administer."""
    lead = person(town, "user", "cytometrist", group_id=town.north)
    through = bearer(token(town.client, lead, "fcs:admin")["token"])
    assert opened_files(town, through, files) == {"nils", "nora"}
    assert opened_files(town, bearer(token(town.client, lead, "fcs:analyze")["token"]), files) == set()
    move(town, lead.id, town.south)
    assert opened_files(town, through, files) == {"sam"}
    move(town, lead.id, None)
    assert opened_files(town, through, files) == set()
    assert opened_files(town, town.people["nils"].headers, files) == {"nils"}
    for name in ("nora", "ann"):
        assert opened_files(town, town.people[name].headers, files) == {*files}


def test_who_administers_fcs_files_deletes_those_within_reach_alone(town: Town, files: dict[str, int]) -> None:
    client = town.client
    lead = person(town, "cytometrist", group_id=town.north)
    own = {name: measured(town, town.people[name]) for name in ("nils", "sam")}
    refusal(client.delete(f"/api/v1/fcs/files/{own['sam']}", headers=lead.headers), 404, "NOT_FOUND")
    assert client.delete(f"/api/v1/fcs/files/{own['nils']}", headers=lead.headers).status_code == 204
    nils, sam = (town.people[name].headers for name in own)
    refusal(client.get(f"/api/v1/fcs/files/{own['nils']}", headers=nils), 404, "NOT_FOUND")
    assert client.get(f"/api/v1/fcs/files/{own['sam']}", headers=sam).status_code == 200


def test_an_upload_in_chunks_is_for_who_began_it_alone(town: Town, files: dict[str, int]) -> None:
    """Whoever administers files: what is not yet one is nobody else's."""
    client, nils = town.client, town.people["nils"].headers
    new = {"filename": "a.fcs", "file_size": len(SAMPLE)}
    upload = f"/api/v1/fcs/uploads/{client.post('/api/v1/fcs/uploads', json=new, headers=nils).json()['id']}"
    lead = person(town, "user", "cytometrist", group_id=town.north)
    for headers in (lead.headers, town.people["nora"].headers, {}):
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/complete"), ("PUT", "/chunks/0")):
            more = {"content": SAMPLE} if method == "PUT" else {}
            answer = client.request(method, upload + path, headers=headers, **more)
            assert refusal(answer, 404, "NOT_FOUND")["detail"].startswith("No such upload"), (method, path)
        assert client.get("/api/v1/fcs/uploads", headers=headers).json() == []
    assert client.get(upload, headers=nils).json()["missing"] == [0]


Request = tuple[str, dict[str, Any]]
ABOUT: dict[str, Callable[[int], Request]] = {
    "GET /users/{id}": lambda who: (f"{USERS}/{who}", {}),
    "PATCH /users/{id}": lambda who: (f"{USERS}/{who}", {"json": {"bio": "x"}}),
    "PUT /users/{id}": lambda who: (f"{USERS}/{who}", {"json": {"bio": "x"}}),
    "DELETE /users/{id}": lambda who: (f"{USERS}/{who}", {}),
    "PATCH /users/{id}/status": lambda who: (f"{USERS}/{who}/status", {"json": {"status": "inactive"}}),
    "PATCH /users/{id}/password": lambda who: (f"{USERS}/{who}/password", {"json": {"password": "by an admin, new"}}),
    "PUT /users/{id}/group": lambda who: (f"{USERS}/{who}/group", {"json": {"group_id": None}}),
    "PUT /users/{id}/roles": lambda who: (f"{USERS}/{who}/roles", {"json": {"roles": ["guest"]}}),
    "POST /users/batch-delete": lambda who: (f"{USERS}/batch-delete", {"json": {"ids": [who]}}),
    "GET /authz/explain": lambda who: ("/api/v1/authz/explain", {"params": {"user_id": who, "permission": "*"}}),
}
"""Each route that is about somebody, and a call of it that is good where the caller reaches them."""
ABOUT_NOBODY = {"GET /users", "POST /users", "GET /users/me", "PATCH /users/me", "PUT /users/me"}
"""Those that name nobody: lists and new accounts have tests of their own, `me` is never anybody else."""


def title(line: RouteLine) -> str:
    return f"{line.method} {line.path.removeprefix('/api/v1')}"


def of_people(line: RouteLine) -> bool:
    """Whether a route is of the accounts, or explains one."""
    return title(line).split(" ")[1].startswith(("/users", "/authz"))


def test_every_route_about_people_is_tried_on_people_in_and_out_of_reach() -> None:
    """A new one must be entered above, or shown to name nobody."""
    assert {title(line) for line in ROUTES if of_people(line)} == ABOUT.keys() | ABOUT_NOBODY


@pytest.fixture(params=["nora", "lena"])
def leader(town: Town, request: pytest.FixtureRequest) -> dict[str, str]:
    """Calls of an admin of the group North, and of somebody there with a custom role whose reach is the group."""
    return town.people[request.param].headers


LED = [line for line in ROUTES if title(line) in ABOUT]


def ask_about(town: Town, line: RouteLine, headers: dict[str, str], who: int) -> Any:
    path, more = ABOUT[title(line)](who)
    return town.client.request(line.method, path, headers=headers, **more)


@pytest.mark.parametrize("line", LED, ids=title)
def test_a_leader_reaches_the_people_of_the_group(town: Town, leader: dict[str, str], line: RouteLine) -> None:
    inside = make_account(town.config, town.north)
    answer = ask_about(town, line, leader, inside)
    if line.path.endswith("/group"):
        assert refusal(answer, 403, "FORBIDDEN")["required"] == ["groups:write"]
    else:
        assert answer.status_code == line.status, answer.text


@pytest.mark.parametrize("line", LED, ids=title)
def test_a_leader_reaches_nobody_outside_and_does_not_learn_who_is_there(
    town: Town, leader: dict[str, str], line: RouteLine
) -> None:
    """Another group's people and admins, those without a group, the super admin and nobody at all look alike."""
    outside = [make_account(town.config, group) for group in (town.south, None)]
    outside += [make_account(town.config, town.south, role="admin"), *town.ids("ann", "lars")]
    before = [town.client.get(f"{USERS}/{user_id}").json() for user_id in [*outside, 1]]
    for user_id in [*outside, 1, 10**17]:
        answer = ask_about(town, line, leader, user_id)
        if line.path.endswith("/group"):
            refusal(answer, 403, "FORBIDDEN")
        else:
            assert refusal(answer, 404, "NOT_FOUND")["detail"] == "No such user."
    assert [town.client.get(f"{USERS}/{user_id}").json() for user_id in [*outside, 1]] == before


@pytest.mark.parametrize("line", LED, ids=title)
def test_a_leader_sees_an_admin_of_the_group_and_changes_none(
    town: Town, leader: dict[str, str], line: RouteLine
) -> None:
    """Nor a super admin who belongs to it."""
    for role in ("admin", "super_admin"):
        admin = make_account(town.config, town.north, role=role)
        before = town.client.get(f"{USERS}/{admin}").json()
        answer = ask_about(town, line, leader, admin)
        if line.method == "GET":
            assert answer.status_code == 200, answer.text
        else:
            required = "groups:write" if line.path.endswith("/group") else "*"
            assert refusal(answer, 403, "FORBIDDEN")["required"] == [required]
        assert town.client.get(f"{USERS}/{admin}").json() == before


@pytest.mark.parametrize("line", LED, ids=title)
def test_a_reach_of_a_group_without_one_is_the_own_account_alone(town: Town, line: RouteLine) -> None:
    other, lars = make_account(town.config), town.people["lars"]
    status = 403 if line.path.endswith("/group") else 404
    refusal(ask_about(town, line, lars.headers, other), status)
    assert town.client.get(f"{USERS}/{other}").json()["revision"] == 1
    if line.method == "GET":
        assert ask_about(town, line, lars.headers, lars.id).status_code == 200


def test_a_leader_lists_the_group_and_makes_accounts_in_it(town: Town, leader: dict[str, str]) -> None:
    found = town.client.get(USERS, params={"limit": 1000}, headers=leader).json()
    assert {user["group_id"] for user in found} == {town.north}
    assert {user["id"] for user in found} >= {*town.ids("nora", "nell", "nils", "lena")}
    new = {"email": f"new{next(_numbers)}@example.com", "name": "New", "password": PASSWORD}
    made = town.client.post(USERS, json=new, headers=leader)
    assert (made.status_code, made.json()["group_id"]) == (201, town.north)
