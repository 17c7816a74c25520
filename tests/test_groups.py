"""Groups: made, shown, changed and deleted by super admins; what an input takes, and a number that is one group's."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx2
import pytest

from app.config import Config
from app.main import Purser
from tests.accounts import Person, bearer, make_account, make_group, make_person
from tests.house import House
from tests.support import refusal
from tests.test_roles import at_once

GROUPS = "/api/v1/groups"
_numbers = count(10_000_000)


def number() -> str:
    """A uniform number that no group has yet."""
    return str(next(_numbers))


def made(house: House, **more: object) -> dict[str, Any]:
    """A group of this test alone, made by the super admin."""
    answer = house.client.post(GROUPS, json={"name": "Optics", "uniform_number": number(), **more})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def stored(house: House) -> list[dict[str, Any]]:
    return house.rows("SELECT * FROM groups ORDER BY id")


def told(house: House, group_id: int) -> list[tuple[str, int, int]]:
    """What the trail says was done to a group: the action, by whom, with which status."""
    found = house.rows("SELECT * FROM audit WHERE kind = 'change' AND target = ? ORDER BY id", f"groups/{group_id}")
    return [(row["action"], row["actor_id"], row["status"]) for row in found]


@pytest.fixture(scope="module")
def people(house: House) -> dict[str, Person]:
    """Those who change no group, and some who hold a part of what it needs."""
    client, config = house.client, house.config
    for name, grants in {
        "maker": [("groups:write", "all")],
        "remover": [("groups:delete", "all")],
        "near": [("groups:admin", "group")],
    }.items():
        wanted = [{"permission": permission, "reach": reach} for permission, reach in grants]
        assert client.post("/api/v1/roles", json={"name": name, "permissions": wanted}).status_code == 201
    north = make_group(client, "North", "00000001")
    return {
        "user": make_person(client, config, "una"),
        "guest": make_person(client, config, "gus", "guest"),
        "admin": make_person(client, config, "ann", "admin"),
        "group admin": make_person(client, config, "nora", "admin", group_id=north),
        "maker": make_person(client, config, "mia", "maker"),
        "remover": make_person(client, config, "rolf", "remover"),
        "near": make_person(client, config, "nell", "near", group_id=north),
    }


def test_a_group_is_made_shown_listed_changed_and_deleted(house: House) -> None:
    client, wanted = house.client, {"name": "Optics", "uniform_number": number(), "max_allowed_streams": 3}
    answer = client.post(GROUPS, json=wanted)
    group = answer.json()
    path = f"{GROUPS}/{group['id']}"
    assert (answer.status_code, answer.headers["location"], answer.headers["etag"]) == (201, path, '"1"')
    assert group == {
        **wanted,
        **{"id": group["id"], "user_count": 0, "revision": 1},
        **{"created_at": group["created_at"], "updated_at": group["created_at"]},
    }
    shown = client.get(path)
    assert (shown.status_code, shown.json(), shown.headers["etag"]) == (200, group, '"1"')
    assert group in client.get(GROUPS, params={"limit": 1000}).json()
    changed = client.patch(path, json={"name": "Photonics"})
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    assert changed.json() == {**group, "name": "Photonics", "revision": 2, "updated_at": changed.json()["updated_at"]}
    assert client.get(path).json() == changed.json()
    gone = client.delete(path)
    assert (gone.status_code, gone.content) == (204, b"")
    for answer in (client.get(path), client.patch(path, json={"name": "x"}), client.delete(path)):
        assert refusal(answer, 404, "NOT_FOUND")["detail"] == "No such group."
    assert group["id"] not in [other["id"] for other in client.get(GROUPS, params={"limit": 1000}).json()]


def test_a_patch_changes_what_it_names_alone(house: House) -> None:
    group = made(house)
    path = f"{GROUPS}/{group['id']}"
    for field, value in (("name", "Else"), ("uniform_number", number()), ("max_allowed_streams", 0)):
        answer = house.client.patch(path, json={field: value})
        assert answer.status_code == 200, answer.text
        before, group = group, answer.json()
        assert {name for name in group if group[name] != before[name]} - {"updated_at"} == {field, "revision"}
        assert group[field] == value


@pytest.mark.parametrize("streams", [0, 1, 10_000, None])
def test_a_group_has_so_many_streams_and_eight_when_nothing_is_said(house: House, streams: int | None) -> None:
    group = made(house, **({} if streams is None else {"max_allowed_streams": streams}))
    assert group["max_allowed_streams"] == (8 if streams is None else streams)


@pytest.mark.parametrize(
    "name",
    [
        "O'Brien",
        '"',
        "100%",
        "_",
        "\\",
        "'; DROP TABLE groups; --",
        "🔬",
        "\u202eabc",
        "x" * 100,
        "🔬" * 100,
        " ",
        "${x}",
    ],
)
def test_a_name_is_kept_as_it_was_written(house: House, name: str) -> None:
    group = made(house, name=name)
    assert (group["name"], house.client.get(f"{GROUPS}/{group['id']}").json()["name"]) == (name, name)


NUMBERS: tuple[object, ...] = (
    *("", "1234567", "123456789", "12345678\n", "\n12345678", " 1234567", "1234567a", "-1234567", "+1234567"),
    *("1_345678", "0x123456", "12.45678", "１２３４５６７８", "٠١٢٣٤٥٦٧", "1234567²", "' OR 1=1", "1234567\0"),
    *(12345678, 1.5, None, True, ["12345678"], {"$ne": 1}),
)
NAMES: tuple[object, ...] = ("", "x" * 101, "a\nb", "a\n", "\t", "\x7f", "a\u2028b", "a\0b", "\0", None, 5, ["x"], {})
STREAMS: tuple[object, ...] = (-1, 10_001, 1.5, "8", None, True, 10**30, [], -(10**30))
BAD = [
    *(("uniform_number", number) for number in NUMBERS),
    *(("name", name) for name in NAMES),
    *(("max_allowed_streams", streams) for streams in STREAMS),
    *((field, 1) for field in ("id", "user_count", "revision", "created_at", "members", "Name", "")),
]


@pytest.mark.parametrize(("field", "value"), BAD)
def test_a_bad_field_is_named_and_nothing_is_written(house: House, field: str, value: object) -> None:
    client = house.client
    path = f"{GROUPS}/{(stored(house) or [made(house)])[0]['id']}"
    before = stored(house)
    good = {"name": "Optics", "uniform_number": number()}
    for answer in (client.post(GROUPS, json={**good, field: value}), client.patch(path, json={field: value})):
        assert refusal(answer, 400, "VALIDATION_ERROR")["errors"][0]["field"] == f"/{field}"
    assert stored(house) == before


@pytest.mark.parametrize("missing", ["name", "uniform_number"])
def test_a_new_group_has_a_name_and_a_number(house: House, missing: str) -> None:
    given = {"name": "Optics", "uniform_number": number()}
    del given[missing]
    document = refusal(house.client.post(GROUPS, json=given), 400, "VALIDATION_ERROR")
    assert document["errors"] == [{"field": f"/{missing}", "message": "required, and missing"}]


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"null", b'"x"', b"{", b'{"name": "\\ud800", "uniform_number": "00000009"}']
)
def test_a_body_that_is_no_group_is_refused(house: House, raw: bytes) -> None:
    refusal(house.client.post(GROUPS, content=raw), 400, "VALIDATION_ERROR")


def test_a_number_is_one_groups(house: House) -> None:
    """Also for the second of two groups that would take it in a change; it is free again when its group is gone."""
    client, first, second = house.client, made(house), made(house)
    taken = first["uniform_number"]
    before = stored(house)
    for answer in (
        client.post(GROUPS, json={"name": "Other", "uniform_number": taken}),
        client.patch(f"{GROUPS}/{second['id']}", json={"name": "Other", "uniform_number": taken}),
    ):
        document = refusal(answer, 409, "CONFLICT")
        assert (document["field"], taken in document["detail"]) == ("uniform_number", True)
    assert stored(house) == before
    same = client.patch(f"{GROUPS}/{first['id']}", json={"uniform_number": taken})
    assert (same.status_code, same.json()["uniform_number"]) == (200, taken)
    assert client.delete(f"{GROUPS}/{first['id']}").status_code == 204
    again = made(house, uniform_number=taken)
    assert again["id"] > second["id"]


def test_of_twenty_groups_made_at_once_with_one_number_there_is_one(house: House) -> None:
    body = {"name": "Optics", "uniform_number": number()}
    answers = at_once(*[lambda: house.client.post(GROUPS, json=body)] * 20)
    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 19]
    assert len(house.rows("SELECT id FROM groups WHERE uniform_number = ?", body["uniform_number"])) == 1


def test_of_twenty_groups_changed_at_once_to_one_number_one_gets_it(house: House) -> None:
    wanted = {"uniform_number": number()}
    ids = [made(house)["id"] for _ in range(20)]

    def change(group_id: int) -> httpx2.Response:
        return house.client.patch(f"{GROUPS}/{group_id}", json=wanted)

    answers = at_once(*[lambda group_id=group_id: change(group_id) for group_id in ids])
    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 19]
    assert len(house.rows("SELECT id FROM groups WHERE uniform_number = ?", wanted["uniform_number"])) == 1


def test_a_group_that_has_changed_meanwhile_is_neither_changed_nor_deleted(house: House) -> None:
    client, group = house.client, made(house)
    path = f"{GROUPS}/{group['id']}"
    assert client.patch(path, json={"name": "Two"}, headers={"If-Match": '"1"'}).status_code == 200
    for wanted in ('"1"', "1", 'W/"3"'):
        for method, more in (("PATCH", {"json": {"name": "Three"}}), ("DELETE", {})):
            answer = client.request(method, path, headers={"If-Match": wanted}, **more)  # type: ignore[arg-type]
            assert refusal(answer, 412, "PRECONDITION_FAILED")["revision"] == 2
    for wanted in ("yesterday", '"1", "2"', '"-2"', '"٢"', ""):
        refusal(client.delete(path, headers={b"If-Match": wanted.encode()}), 412, "PRECONDITION_FAILED")
    assert client.get(path).json()["name"] == "Two"
    assert client.patch(path, json={"name": "Three"}, headers={"If-Match": "*"}).headers["etag"] == '"3"'
    assert client.delete(path, headers={"If-Match": '"3"'}).status_code == 204


@pytest.mark.parametrize("group_id", ["999999", "1" + "0" * 17, "1" + "0" * 18, "0", "-1", "x", "1.0", "1%00"])
def test_there_is_no_such_group(house: House, group_id: str) -> None:
    for method, more in (("GET", {}), ("PATCH", {"json": {"name": "x"}}), ("DELETE", {})):
        refusal(house.client.request(method, f"{GROUPS}/{group_id}", **more), 404, "NOT_FOUND")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("who", "may"),
    [
        ("user", set()),
        ("guest", set()),
        ("near", set()),
        ("admin", {"GET"}),
        ("group admin", {"GET"}),
        ("maker", {"GET", "POST", "PATCH"}),
        ("remover", {"GET", "POST", "PATCH", "DELETE"}),
    ],
)
def test_who_reads_and_who_changes_groups(house: House, people: dict[str, Person], who: str, may: set[str]) -> None:
    """Admins look, of a group as well as of all; a reach that ends at a group is none here."""
    group = made(house)
    path, before = f"{GROUPS}/{group['id']}", stored(house)
    needed = {"GET": "groups:read", "POST": "groups:write", "PATCH": "groups:write", "DELETE": "groups:delete"}
    for method, url, more in (
        ("GET", GROUPS, {}),
        ("GET", path, {}),
        ("PATCH", path, {"json": {"name": "Taken"}}),
        ("POST", GROUPS, {"json": {"name": "Mine", "uniform_number": number()}}),
        ("DELETE", path, {}),
    ):
        answer = house.client.request(method, url, headers=people[who].headers, **more)  # type: ignore[arg-type]
        assert answer.headers["x-accepted-scopes"] == needed[method]
        if method in may:
            assert answer.is_success, answer.text
        else:
            document = refusal(answer, 403, "FORBIDDEN")
            assert (document["required"], document["reach"]) == ([needed[method]], "all")
    assert may - {"GET"} or stored(house) == before


def test_a_stranger_learns_nothing_of_groups(house: House) -> None:
    group = made(house)
    for method in ("GET", "POST", "PATCH", "DELETE"):
        for url in (GROUPS, f"{GROUPS}/{group['id']}", f"{GROUPS}/999999"):
            answer = house.client.request(method, url, headers={"Authorization": ""})
            if answer.status_code != 405:
                refusal(answer, 401, "UNAUTHORIZED")
    assert house.client.get(f"{GROUPS}/{group['id']}").json() == group


def test_a_token_changes_groups_as_far_as_its_scopes_go(house: House) -> None:
    for scope, statuses in (
        ("groups:read", [200, 403, 403]),
        ("groups:write", [200, 200, 403]),
        ("groups:delete", [200, 200, 204]),
        ("users:admin", [403, 403, 403]),
    ):
        path = f"{GROUPS}/{made(house)['id']}"
        secret = house.client.post("/api/v1/tokens", json={"scopes": [scope]}).json()["token"]
        client, headers = house.client, bearer(secret)
        calls = (client.get(path, headers=headers), client.patch(path, json={"name": "x"}, headers=headers))
        assert [answer.status_code for answer in (*calls, client.delete(path, headers=headers))] == statuses


def test_the_trail_tells_of_every_change_and_of_no_refusal(house: House, people: dict[str, Person]) -> None:
    client, maker = house.client, people["maker"]
    wanted = {"name": "Optics", "uniform_number": number()}
    group = client.post(GROUPS, json=wanted, headers=maker.headers).json()
    path = f"{GROUPS}/{group['id']}"
    refusal(client.post(GROUPS, json=wanted, headers=maker.headers), 409)
    refusal(client.patch(path, json={"name": ""}), 400)
    refusal(client.patch(path, json={"name": "x"}, headers={"If-Match": '"9"'}), 412)
    refusal(client.delete(path, headers=maker.headers), 403)
    assert client.patch(path, json={"name": "x"}, headers=maker.headers).status_code == 200
    assert client.delete(path).status_code == 204
    assert told(house, group["id"]) == [
        ("groups.create", maker.id, 201),
        ("groups.update", maker.id, 200),
        ("groups.delete", 1, 204),
    ]


def test_a_group_counts_its_accounts(house: House) -> None:
    """Whatever their status, and no others."""
    client, config, group, other = house.client, house.config, made(house), made(house)
    path = f"{GROUPS}/{group['id']}"
    ids = [make_account(config, group["id"], status=status) for status in ("active", "pending", "suspended")]
    make_account(config, other["id"])
    make_account(config)
    assert client.get(path).json() == {**group, "user_count": 3}
    listed = {found["id"]: found["user_count"] for found in client.get(GROUPS, params={"limit": 1000}).json()}
    assert (listed[group["id"]], listed[other["id"]]) == (3, 1)
    assert client.delete(f"/api/v1/users/{ids[0]}").status_code == 204
    assert client.put(f"/api/v1/users/{ids[1]}/group", json={"group_id": other["id"]}).status_code == 200
    assert [client.get(f"{GROUPS}/{found['id']}").json()["user_count"] for found in (group, other)] == [1, 2]
    assert client.patch(path, json={"name": "x", "max_allowed_streams": 1}).json()["user_count"] == 1


def pages(house: House, limit: int) -> Iterator[list[dict[str, Any]]]:
    answer = house.client.get(GROUPS, params={"limit": limit})
    yield answer.json()
    while "next" in answer.links:
        answer = house.client.get(answer.links["next"]["url"])
        yield answer.json()


def test_pages_hold_every_group_once_while_others_come_and_go(house: House) -> None:
    stay = {made(house)["id"] for _ in range(6)}
    seen: list[int] = []
    for page in pages(house, 2):
        seen += [group["id"] for group in page]
        if len(seen) < 30:
            house.client.delete(f"{GROUPS}/{made(house)['id']}")
            if page[-1]["id"] not in stay:
                house.client.delete(f"{GROUPS}/{page[-1]['id']}")
    assert seen == sorted(set(seen))
    assert stay <= set(seen)
    answer = house.client.get(GROUPS, params={"count": True, "limit": 1})
    assert (len(answer.json()), answer.headers["x-total-count"]) == (1, str(len(stored(house))))
    for params in ({"limit": 0}, {"limit": 1001}, {"cursor": "x"}, {"name": "x"}):
        refusal(house.client.get(GROUPS, params=params), 400, "VALIDATION_ERROR")


def test_a_list_costs_the_same_however_many_groups_and_accounts_there_are(
    client: Any, app: Purser, config: Config
) -> None:
    heard: list[tuple[str, int]] = []
    app.state.db.observe = lambda name, statements, seconds: heard.append((name, statements))
    for step in range(2):
        assert client.get(GROUPS, params={"limit": 1000}).status_code == 200
        for offset in range(5):
            group_id = make_group(client, "Optics", f"{step * 5 + offset:08d}")
            make_account(config, group_id)
    app.state.db.observe = None
    assert [entry for entry in heard if entry[0] == "page"] == [("page", 1)] * 2
