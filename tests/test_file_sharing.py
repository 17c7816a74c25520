"""Files shared with accounts and teams: who has them, what they may do, how often, and what the owner is told of it."""

import sqlite3
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.values import instant
from tests.accounts import Person, make_account, make_group, make_person
from tests.house import House
from tests.office import FILES, TEAMS, folder, listed, made, put, sees, share, statements, team
from tests.support import Clock, ask, claim, configured, refusal
from tests.test_roles import at_once

USERS = "/api/v1/users"
HOUR_S = 3600
CONTENT = b"0123456789"
File = dict[str, Any]


@pytest.fixture(scope="module")
def anna(house: House) -> Person:
    """Whose files they are."""
    return house.person()


@pytest.fixture(scope="module")
def bert(house: House) -> Person:
    return house.person()


@pytest.fixture(scope="module")
def carl(house: House) -> Person:
    return house.person()


@pytest.fixture(scope="module")
def groups(house: House) -> tuple[int, int]:
    return make_group(house.client, "North", "00000001"), make_group(house.client, "South", "00000002")


def at(file: File, action: str = "") -> str:
    return f"{FILES}/{file['id']}/{action}".rstrip("/")


def fetch(house: House, who: Person, file: File, **headers: str) -> httpx2.Response:
    """The answer to a download; `headers` are written as names, `if_none_match`."""
    given = {name.replace("_", "-"): text for name, text in headers.items()}
    return house.client.get(at(file, "download"), headers=who.headers | given)


def gets(house: House, who: Person, file: File, **headers: str) -> bool:
    """Whether somebody is given the bytes; where not, there is no such file for them."""
    answer = fetch(house, who, file, **headers)
    if answer.status_code not in (200, 206):
        refusal(answer, 404, "NOT_FOUND")
    return answer.status_code in (200, 206)


def shared(house: House, owner: Person, file: File, **to: object) -> dict[str, Any]:
    return share(house, owner, f"files/{file['id']}", **to)


def shares(house: House, owner: Person, file: File) -> list[dict[str, Any]]:
    return list(house.client.get(at(file, "shares"), headers=owner.headers).json())


def counts(house: House, owner: Person, file: File) -> list[int]:
    return [one["access_count"] for one in shares(house, owner, file)]


def log(house: House, owner: Person, file: File) -> list[dict[str, Any]]:
    answer = house.client.get(at(file, "access-logs"), headers=owner.headers)
    assert answer.status_code == 200, answer.text
    return list(answer.json())


def asked_to_share(house: House, owner: Person, file: File, **to: object) -> httpx2.Response:
    return house.client.post(at(file, "share"), json=to, headers=owner.headers)


def lasting(house: House, person: Person) -> Person:
    """The same with a token, which goes on when time does."""
    return Person(person.id, person.username, {"access_token": house.token(person)["Authorization"][6:]})


def soon(clock: Clock, seconds: float = 60) -> str:
    return instant(clock.at + seconds)


@pytest.mark.parametrize("by", ["user_id", "username", "another case", "team_id"])
@pytest.mark.parametrize("permission", ["read", "edit"])
def test_a_share_does_not_show_where_a_file_lies(
    house: House, anna: Person, bert: Person, by: str, permission: str
) -> None:
    place = folder(house, anna, f"{by} {permission}")["id"]
    file = put(house, anna, CONTENT, folder_id=place)
    file = made(house.client.patch(at(file), json={"is_favorite": True}, headers=anna.headers), 200)
    assert not sees(house, bert, f"files/{file['id']}")
    to: dict[str, dict[str, object]] = {
        "user_id": {"user_id": bert.id},
        "username": {"username": bert.username},
        "another case": {"username": bert.username.upper()},
        "team_id": {"team_id": team(house, anna, bert)},
    }
    told = shared(house, anna, file, permission=permission, **to[by])
    is_team = by == "team_id"
    assert told == {
        **{"id": told["id"], "permission": permission, "is_link": False, "link": None, "url": None},
        **{"user_id": None if is_team else bert.id, "username": None if is_team else bert.username},
        **{"team_id": to[by].get("team_id"), "team_name": "team" if is_team else None},
        **{"expires_at": None, "max_access_count": None, "access_count": 0},
        **{"created_by": anna.id, "created_at": told["created_at"]},
    }
    assert shares(house, anna, file) == [{name: told[name] for name in told if name not in ("link", "url")}]
    card = {**file, "folder_id": None, "is_favorite": False, "access": permission}
    answer = house.client.get(at(file), headers=bert.headers)
    assert (answer.status_code, answer.json(), answer.headers["etag"]) == (200, card, f'"{file["revision"]}"')
    for seen in ("", "?shared=true", f"?shared=true&owner_id={anna.id}"):
        rows = house.client.get(f"{FILES}{seen}", headers=bert.headers).json()
        assert [row for row in rows if row["id"] == file["id"]] == [card]
    for hidden in ("shared=false", f"folder_id={place}", "folder_id=0", "favorite=true"):
        rows = house.client.get(f"{FILES}?{hidden}", headers=bert.headers).json()
        assert file["id"] not in [row["id"] for row in rows]
    assert listed(house, anna, "files", folder_id=place) == [file["id"]]
    assert file["id"] not in listed(house, anna, "files", shared="true")
    assert fetch(house, bert, file).content == CONTENT


ONLY_OWNERS: list[tuple[str, str, object]] = [
    *(("PATCH", "", body) for body in ({"folder_id": None}, {"is_favorite": True}, {"name": "b", "folder_id": 1})),
    *(("PUT", "", body) for body in ({"name": "b", "folder_id": None}, {"name": "b", "is_favorite": False})),
    *(("POST", "move", body) for body in ({"folder_id": None}, {"folder_id": 1})),
    *(("PATCH", "favorite", body) for body in ({}, {"favorite": True})),
    *(("POST", "share", body) for body in ({"link": True}, {"user_id": 1})),
    *(("GET", action, None) for action in ("shares", "access-logs", "access-logs?count=true", "download-url")),
    ("POST", "revoke-share", {"share_id": 1}),
    ("DELETE", "", None),
]
RENAMING: list[tuple[str, str, object]] = [
    (method, action, {"name": f"{method} {action}.txt"})
    for method, action in (("POST", "rename"), ("PATCH", "rename"), ("PUT", "rename"), ("PATCH", ""), ("PUT", ""))
]


@pytest.mark.parametrize("permission", ["", "read", "edit"])
def test_a_share_lets_do_what_it_says_and_nothing_else(
    house: House, anna: Person, bert: Person, permission: str
) -> None:
    file = put(house, anna, CONTENT)
    if permission:
        shared(house, anna, file, user_id=bert.id, permission=permission)
    status, code = (403, "FORBIDDEN") if permission else (404, "NOT_FOUND")
    for method, action, body in [*ONLY_OWNERS, *([] if permission == "edit" else RENAMING)]:
        answer = house.client.request(method, at(file, action), json=body, headers=bert.headers)
        assert refusal(answer, status, code).get("access") == (permission or None), (method, action, body)
    batch = house.client.post(f"{FILES}/batch-delete", json={"ids": [file["id"]]}, headers=bert.headers)
    refusal(batch, 404, "NOT_FOUND")
    assert house.client.get(at(file), headers=anna.headers).json() == file
    for revision, (method, action, body) in enumerate(RENAMING if permission == "edit" else [], 2):
        answer = house.client.request(method, at(file, action), json=body, headers=bert.headers)
        changed = {**file, **dict(body), "revision": revision, "access": "edit"}  # type: ignore[call-overload]
        assert (answer.status_code, answer.headers["etag"]) == (200, f'"{revision}"')
        assert answer.json() == {**changed, "updated_at": answer.json()["updated_at"]}
    assert len(shares(house, anna, file)) == bool(permission)


def test_an_editor_changes_only_what_was_seen(house: House, anna: Person, bert: Person) -> None:
    file = put(house, anna)
    shared(house, anna, file, user_id=bert.id, permission="edit")
    named = {"name": "mine.txt"}
    stale = house.client.patch(at(file), json=named, headers={**bert.headers, "If-Match": '"9"'})
    refusal(stale, 412, "PRECONDITION_FAILED")
    made(house.client.patch(at(file), json=named, headers={**bert.headers, "If-Match": '"1"'}), 200)
    stale = house.client.post(at(file, "share"), json={"link": True}, headers={**anna.headers, "If-Match": '"1"'})
    refusal(stale, 412, "PRECONDITION_FAILED")
    assert len(shares(house, anna, file)) == 1


def test_a_guest_has_nothing_of_a_share(house: House, anna: Person) -> None:
    file, guest = put(house, anna), house.person("guest")
    shared(house, anna, file, user_id=guest.id, permission="edit")
    for path in (at(file), at(file, "download"), FILES):
        refusal(house.client.get(path, headers=guest.headers), 403, "FORBIDDEN")
    refusal(house.client.post(at(file, "copy"), json={}, headers=guest.headers), 403, "FORBIDDEN")
    assert counts(house, anna, file) == [0]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "/user_id"),
        ({"user_id": None, "team_id": None}, "/user_id"),
        ({"user_id": "bert", "username": "bert"}, "/user_id"),
        ({"user_id": "bert", "team_id": "team"}, "/user_id"),
        ({"username": "bert", "team_id": "team"}, "/user_id"),
        ({"user_id": "bert", "link": True}, "/link"),
        ({"team_id": "team", "link": True}, "/link"),
        ({"user_id": "anna"}, "/user_id"),
        ({"username": "anna"}, "/user_id"),
        ({"user_id": "bert", "permission": "comment"}, "/permission"),
        ({"user_id": "bert", "permission": "full"}, "/permission"),
        ({"user_id": "bert", "max_access_count": 0}, "/max_access_count"),
        ({"user_id": "bert", "max_access_count": -1}, "/max_access_count"),
        ({"user_id": "bert", "max_access_count": 10**9 + 1}, "/max_access_count"),
        ({"user_id": "bert", "max_access_count": 1.5}, "/max_access_count"),
        ({"user_id": "bert", "expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"user_id": "bert", "expires_at": "2999-02-30T00:00:00Z"}, "/expires_at"),
        ({"user_id": "bert", "expires_at": "2999-01-01T00:00:00+01:00"}, "/expires_at"),
        ({"user_id": "bert", "expires_at": 4102444800}, "/expires_at"),
        ({"user_id": 0}, "/user_id"),
        ({"user_id": "bert", "access_count": -9}, None),
    ],
)
def test_a_share_that_makes_no_sense_is_refused(
    house: House, anna: Person, bert: Person, given: dict[str, object], field: str | None
) -> None:
    file = put(house, anna)
    ids = {"anna": anna.id, "bert": bert.id, "team": team(house, anna, bert)}
    names = {"anna": anna.username, "bert": bert.username}
    body = {name: (names if name == "username" else ids).get(str(value), value) for name, value in given.items()}
    document = refusal(asked_to_share(house, anna, file, **body), 400, "VALIDATION_ERROR")
    assert field is None or [error["field"] for error in document["errors"]] == [field]
    assert shares(house, anna, file) == []


def test_neighbours_and_own_teams_alone_are_shared_with(
    house: House, anna: Person, bert: Person, groups: tuple[int, int]
) -> None:
    """One answer for all others, so that nobody finds out by trying whom there is."""
    north, south = groups
    ida, ivo = (make_person(house.client, house.config, name, group_id=north) for name in ("ida", "ivo"))
    file, theirs = put(house, anna), put(house, ida)
    away = make_account(house.config, south)
    gone = make_account(house.config, north, status="suspended")
    foreign, own = team(house, bert), team(house, ida, ivo)
    for owner, what, to in (
        (anna, file, {"user_id": ida.id}),
        (anna, file, {"username": "ida"}),
        (ida, theirs, {"user_id": anna.id}),
        (ida, theirs, {"username": anna.username}),
        (ida, theirs, {"user_id": away}),
        (ida, theirs, {"user_id": gone}),
        (ida, theirs, {"user_id": 10**17}),
        (ida, theirs, {"username": "nobody-of-this-name"}),
    ):
        assert refusal(asked_to_share(house, owner, what, **to), 404, "NOT_FOUND")["detail"] == "No such user."
    for team_id in (foreign, own, 10**17):
        answer = asked_to_share(house, anna, file, team_id=team_id)
        assert refusal(answer, 404, "NOT_FOUND")["detail"] == "No such team."
    assert shares(house, anna, file) == shares(house, ida, theirs) == []
    shared(house, ida, theirs, team_id=own)
    assert sees(house, ivo, f"files/{theirs['id']}")
    shared(house, house.person("super_admin"), theirs, user_id=anna.id)
    assert sees(house, anna, f"files/{theirs['id']}")


def test_a_share_ends_at_its_instant(house: House, anna: Person, bert: Person, clock: Clock) -> None:
    file = put(house, anna, CONTENT)
    shared(house, anna, file, user_id=bert.id, permission="edit", expires_at=soon(clock))
    clock.at += 59
    assert gets(house, bert, file)
    clock.at += 1
    assert not sees(house, bert, f"files/{file['id']}")
    assert file["id"] not in listed(house, bert, "files", shared="true")
    for method, action, body in [*RENAMING, *ONLY_OWNERS, ("POST", "copy", {})]:
        refusal(house.client.request(method, at(file, action), json=body, headers=bert.headers), 404, "NOT_FOUND")
    assert not gets(house, bert, file)
    assert not gets(house, bert, file, range="bytes=5-")
    assert [one["expires_at"] for one in shares(house, anna, file)] == [instant(clock.at)]


def test_of_many_at_once_just_as_many_are_let_in_as_may(house: House, anna: Person, bert: Person) -> None:
    file = put(house, anna, CONTENT)
    shared(house, anna, file, user_id=bert.id, max_access_count=3)
    copy = partial(house.client.post, at(file, "copy"), json={}, headers=bert.headers)
    answers = at_once(*[partial(fetch, house, bert, file), copy] * 5)
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [404] * 7
    for answer in answers:
        if answer.status_code == 404:
            assert refusal(answer, 404, "NOT_FOUND")["detail"] == "No such file."
    assert counts(house, anna, file) == [3]
    assert len(log(house, anna, file)) == 3


def test_a_share_that_is_used_up_is_over_for_who_had_it(house: House, anna: Person, bert: Person) -> None:
    file = put(house, anna, CONTENT)
    shared(house, anna, file, user_id=bert.id, permission="edit", max_access_count=2)
    for used in (1, 2):
        assert sees(house, bert, f"files/{file['id']}")
        assert file["id"] in listed(house, bert, "files")
        assert gets(house, bert, file)
        assert counts(house, anna, file) == [used]
    assert not sees(house, bert, f"files/{file['id']}")
    assert file["id"] not in listed(house, bert, "files") + listed(house, bert, "files", shared="true")
    total = house.client.get(FILES, params={"shared": "true", "count": "true"}, headers=bert.headers)
    assert int(total.headers["x-total-count"]) == len(total.json())
    refusal(house.client.post(at(file, "rename"), json={"name": "b"}, headers=bert.headers), 404, "NOT_FOUND")
    assert not gets(house, bert, file)
    assert gets(house, anna, file)


@pytest.mark.parametrize("end", ["expired", "used up"])
def test_a_share_is_made_anew_after_its_end(house: House, anna: Person, bert: Person, clock: Clock, end: str) -> None:
    file, team_id = put(house, anna), team(house, anna, bert)
    limit = {"expires_at": soon(clock)} if end == "expired" else {"max_access_count": 1}
    for to in ({"user_id": bert.id}, {"team_id": team_id}):
        shared(house, anna, file, **to, **limit)
        for again in (to, {**to, "permission": "edit"}, {**to, "max_access_count": 5}):
            assert refusal(asked_to_share(house, anna, file, **again), 409, "CONFLICT")["state"] == "shared"
    if end == "expired":
        clock.at += 61
    else:
        assert [gets(house, bert, file) for _ in range(3)] == [True, True, False]
    for to in ({"user_id": bert.id}, {"team_id": team_id}):
        assert not sees(house, bert, f"files/{file['id']}")
        share_id = shared(house, anna, file, **to)["id"]
        assert gets(house, bert, file)
        assert [one["access_count"] for one in shares(house, anna, file) if one["id"] == share_id] == [1]
        revoked = house.client.post(at(file, "revoke-share"), json={"share_id": share_id}, headers=anna.headers)
        assert (revoked.status_code, revoked.json()) == (200, file)


def test_what_is_shared_twice_at_once_is_shared_once(house: House, anna: Person, bert: Person) -> None:
    file = put(house, anna)
    answers = at_once(*[lambda: asked_to_share(house, anna, file, user_id=bert.id)] * 4)
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert len(shares(house, anna, file)) == 1


def many_shares(house: House, owner: Person, file: File, number: int, *, used: int) -> None:
    """So many links of a file that may be used once, put into the database from outside."""
    with sqlite3.connect(house.config.database_path) as outside:
        outside.executemany(
            "INSERT INTO file_shares"
            " (file_id, link_sha256, permission, max_access_count, access_count, created_by, created_at)"
            " VALUES (?, ?, 'read', 1, ?, ?, '2026-11-21T00:00:00.000Z')",
            [
                (file["id"], sha256(f"{file['id']} {index}".encode()).hexdigest(), used, owner.id)
                for index in range(number)
            ],
        )
    outside.close()


def test_a_file_has_a_thousand_shares_at_most(house: House, anna: Person, bert: Person, carl: Person) -> None:
    file, old = put(house, anna), put(house, anna)
    many_shares(house, anna, file, 999, used=0)
    shared(house, anna, file, user_id=bert.id)
    for to in ({"user_id": carl.id}, {"team_id": team(house, anna)}, {"link": True}):
        assert refusal(asked_to_share(house, anna, file, **to), 409, "CONFLICT")["share_count"] == 1000
    refusal(house.client.get(at(file, "download-url"), headers=anna.headers), 409, "CONFLICT")
    assert len(shares(house, anna, file)) == 1000
    many_shares(house, anna, old, 1000, used=1)
    shared(house, anna, old, user_id=carl.id)
    assert [one["user_id"] for one in shares(house, anna, old)] == [carl.id]


ENDS: dict[str, Callable[[Person, Person, File, int, int], tuple[str, str, object, Person | None]]] = {
    "revoked": lambda anna, _, file, __, number: ("PUT", at(file, "revoke-share"), {"share_id": number}, anna),
    "left": lambda _, bert, __, number, ___: ("DELETE", f"{TEAMS}/{number}/members/{bert.id}", None, bert),
    "taken out": lambda anna, bert, _, number, __: ("DELETE", f"{TEAMS}/{number}/members/{bert.id}", None, anna),
    "team deleted": lambda anna, _, __, number, ___: ("DELETE", f"{TEAMS}/{number}", None, anna),
    "owner deleted": lambda anna, *_: ("DELETE", f"{USERS}/{anna.id}", None, None),
    "file deleted": lambda anna, _, file, *__: ("DELETE", at(file), None, anna),
}
"""Ways in which a share ends: the call, its body, and who makes it; None: the super admin."""


@pytest.mark.parametrize(
    ("by", "end"), [*(("team", end) for end in ENDS), *(("user", end) for end in ENDS if end[0] in "rof")]
)
def test_a_share_ends_with_what_it_came_by(house: House, bert: Person, by: str, end: str) -> None:
    """Also for who was in the middle of the file."""
    owner = house.person()
    file, team_id = put(house, owner, CONTENT), team(house, owner, bert)
    to = {"team_id": team_id} if by == "team" else {"user_id": bert.id}
    share_id = shared(house, owner, file, **to)["id"]
    assert gets(house, bert, file)
    assert gets(house, bert, file, range="bytes=5-")
    method, path, body, who = ENDS[end](owner, bert, file, team_id, share_id)
    answer = house.client.request(method, path, json=body, headers=who.headers if who else None)
    assert answer.status_code == (200 if end == "revoked" else 204)
    assert not sees(house, bert, f"files/{file['id']}")
    assert not gets(house, bert, file)
    assert not gets(house, bert, file, range="bytes=5-")
    assert file["id"] not in listed(house, bert, "files")
    lasts, gone = end in ("left", "taken out"), end in ("owner deleted", "file deleted")
    assert len(house.rows("SELECT id FROM file_shares WHERE file_id = ?", file["id"])) == lasts
    noted = house.rows("SELECT share_id FROM file_accesses WHERE file_id = ?", file["id"])
    assert [row["share_id"] for row in noted] == ([] if gone else [share_id if lasts else None])


def test_who_had_a_file_and_is_gone_leaves_an_access_without_a_name(house: House, anna: Person) -> None:
    file, dora = put(house, anna, CONTENT), house.person()
    shared(house, anna, file, user_id=dora.id)
    assert gets(house, dora, file)
    suspended = {"status": "suspended"}
    assert house.client.patch(f"{USERS}/{dora.id}/status", json=suspended).status_code == 200
    refusal(fetch(house, dora, file), 401, "UNAUTHORIZED")
    refusal(fetch(house, dora, file, range="bytes=5-"), 401, "UNAUTHORIZED")
    assert [(one["user_id"], one["username"]) for one in shares(house, anna, file)] == [(dora.id, dora.username)]
    assert house.client.delete(f"{USERS}/{dora.id}").status_code == 204
    assert shares(house, anna, file) == []
    assert [(one["user_id"], one["username"], one["share_id"]) for one in log(house, anna, file)] == [(None,) * 3]


def test_revoking_takes_a_share_of_this_very_file(house: House, anna: Person, bert: Person) -> None:
    file, other = put(house, anna), put(house, anna)
    share_id = shared(house, anna, file, user_id=bert.id)["id"]
    for path, number in ((at(other), share_id), (at(file), 10**17), (f"{FILES}/{10**17}", share_id)):
        answer = house.client.post(f"{path}/revoke-share", json={"share_id": number}, headers=anna.headers)
        refusal(answer, 404, "NOT_FOUND")
    stale = {**anna.headers, "If-Match": '"7"'}
    answer = house.client.post(at(file, "revoke-share"), json={"share_id": share_id}, headers=stale)
    refusal(answer, 412, "PRECONDITION_FAILED")
    assert sees(house, bert, f"files/{file['id']}")
    for status in (200, 404):
        answer = house.client.post(at(file, "revoke-share"), json={"share_id": share_id}, headers=anna.headers)
        assert answer.status_code == status


def test_who_is_in_two_teams_has_a_file_as_long_as_in_one_of_them(house: House, anna: Person, bert: Person) -> None:
    file, teams = put(house, anna), [team(house, anna, bert) for _ in range(2)]
    for team_id, permission in zip(teams, ("read", "edit"), strict=True):
        shared(house, anna, file, team_id=team_id, permission=permission)
    for access, team_id in (("edit", teams[1]), ("read", teams[0])):
        answer = house.client.get(at(file), headers=bert.headers)
        assert (answer.status_code, answer.json()["access"]) == (200, access)
        assert listed(house, bert, "files", shared="true").count(file["id"]) == 1
        left = house.client.delete(f"{TEAMS}/{team_id}/members/{bert.id}", headers=bert.headers)
        assert left.status_code == 204
    assert not sees(house, bert, f"files/{file['id']}")


def test_of_several_shares_the_unlimited_is_used_first(house: House, anna: Person, bert: Person) -> None:
    file, teams = put(house, anna, CONTENT), [team(house, anna, bert) for _ in range(2)]
    shared(house, anna, file, user_id=bert.id, max_access_count=1)
    shared(house, anna, file, team_id=teams[0], max_access_count=2)
    free = shared(house, anna, file, team_id=teams[1])["id"]
    assert all(gets(house, bert, file) for _ in range(4))
    assert counts(house, anna, file) == [0, 0, 4]
    house.client.post(at(file, "revoke-share"), json={"share_id": free}, headers=anna.headers)
    assert [gets(house, bert, file) for _ in range(4)] == [True, True, True, False]
    assert counts(house, anna, file) == [1, 2]


def test_a_team_uses_up_a_share_together(house: House, anna: Person, bert: Person, carl: Person) -> None:
    file = put(house, anna, CONTENT)
    shared(house, anna, file, team_id=team(house, anna, bert, carl), max_access_count=2)
    assert [gets(house, who, file) for who in (bert, carl, bert, carl, anna)] == [True, True, False, False, True]


def test_a_copy_of_what_is_shared_is_ones_own(house: House, anna: Person, bert: Person) -> None:
    file = put(house, anna, CONTENT, "a.txt", folder_id=folder(house, anna, "kept")["id"])
    share_id = shared(house, anna, file, user_id=bert.id, max_access_count=2)["id"]
    theirs = folder(house, anna, "not bert's")["id"]
    for folder_id in (theirs, file["folder_id"], 10**17):
        answer = house.client.post(at(file, "copy"), json={"folder_id": folder_id}, headers=bert.headers)
        refusal(answer, 404, "NOT_FOUND")
    assert counts(house, anna, file) == [0]
    used = house.client.get(f"{FILES}/storage", headers=bert.headers).json()["used"]
    copy = made(house.client.post(at(file, "copy"), json={}, headers=bert.headers), 200)
    assert copy == {
        **{**file, "id": copy["id"], "name": "a (copy).txt", "folder_id": None, "revision": 1, "access": "full"},
        **{"owner_id": bert.id, "owner_name": bert.username, "is_favorite": False},
        **{"created_at": copy["created_at"], "updated_at": copy["created_at"]},
    }
    own = folder(house, bert, "own")["id"]
    second = house.client.post(at(file, "copy"), json={"name": "b", "folder_id": own}, headers=bert.headers)
    assert (made(second, 200)["folder_id"], second.json()["name"]) == (own, "b")
    refusal(house.client.post(at(file, "copy"), json={}, headers=bert.headers), 404, "NOT_FOUND")
    assert house.client.get(f"{FILES}/storage", headers=bert.headers).json()["used"] == used + 2 * len(CONTENT)
    assert [(one["action"], one["share_id"]) for one in log(house, anna, file)] == [("copy", share_id)] * 2
    assert not sees(house, anna, f"files/{copy['id']}")
    assert house.client.delete(at(file), headers=anna.headers).status_code == 204
    assert fetch(house, bert, copy).content == CONTENT


def test_a_copy_beyond_the_copiers_quota_is_no_access(tmp_path: Path) -> None:
    config = configured(tmp_path / "data", USER_QUOTA_BYTES="25")
    app = create_app(config)
    with TestClient(app, client=("127.0.0.1", 50000)) as client:
        client.headers["Authorization"] = f"Token {claim(client)}"
        house = House(client, app, config)
        anna, bert = house.person(), house.person()
        file = put(house, anna, CONTENT)
        put(house, bert, b"x" * 16)
        shared(house, anna, file, user_id=bert.id, max_access_count=1)
        told = refusal(client.post(at(file, "copy"), json={}, headers=bert.headers), 507, "INSUFFICIENT_STORAGE")
        assert (told["needed_bytes"], told["free_bytes"], told["quota_bytes"]) == (10, 9, 25)
        assert (counts(house, anna, file), log(house, anna, file)) == ([0], [])
        assert gets(house, bert, file)


def test_an_owner_is_told_who_had_a_file_when_and_how(house: House, anna: Person, bert: Person, clock: Clock) -> None:
    file = put(house, anna, CONTENT)
    share_id = shared(house, anna, file, user_id=bert.id)["id"]
    assert (gets(house, anna, file), log(house, anna, file)) == (True, [])
    made(house.client.post(at(file, "copy"), json={}, headers=anna.headers), 200)
    expected = []
    for number, agent in enumerate(("curl/8", "x" * 300, "\xe9<script>", "")):
        clock.at += 1
        headers = [(b"authorization", bert.headers["Authorization"].encode()), (b"user-agent", agent.encode("latin-1"))]
        answer = ask(house.client, "GET", at(file, "download"), headers=headers, host=f"192.0.2.{number}")
        assert answer.content == CONTENT
        row = {"share_id": share_id, "user_id": bert.id, "username": bert.username, "action": "download"}
        expected.append({**row, "ip": f"192.0.2.{number}", "user_agent": agent[:200], "at": instant(clock.at)})
    admin = house.client.get(at(file, "download"), headers={"User-Agent": "admin's"})
    assert admin.content == CONTENT
    rows = log(house, anna, file)
    assert [{name: row[name] for name in row if name != "id"} for row in rows[:0:-1]] == expected
    assert [rows[0][name] for name in ("share_id", "user_id", "user_agent")] == [None, 1, "admin's"]
    assert counts(house, anna, file) == [4]
    pages, target = [], f"{at(file, 'access-logs')}?limit=2&count=true"
    while target:
        page = house.client.get(target, headers=anna.headers)
        pages.append(page.json())
        target = page.links.get("next", {}).get("url", "")
    assert ([len(page) for page in pages], [row for page in pages for row in page]) == ([2, 2, 1], rows)
    first = house.client.get(f"{at(file, 'access-logs')}?limit=2&count=true")
    assert (first.json(), first.headers["x-total-count"]) == (rows[:2], "5")
    for wrong in ("limit=0", "limit=1001", "cursor=x", "user_id=3"):
        refusal(house.client.get(f"{at(file, 'access-logs')}?{wrong}", headers=anna.headers), 400, "VALIDATION_ERROR")


def test_about_ten_thousand_accesses_of_a_file_are_kept(house: House, anna: Person, bert: Person) -> None:
    """Those of other files stay, whatever becomes of this one's."""
    file, other = put(house, anna, CONTENT), put(house, anna, CONTENT)
    for one in (file, other):
        shared(house, anna, one, user_id=bert.id)
    assert gets(house, bert, other)
    with sqlite3.connect(house.config.database_path) as outside:
        row = (file["id"], bert.id, "2026-11-21T00:00:00.000Z")
        outside.executemany(
            "INSERT INTO file_accesses (file_id, user_id, action, ip, user_agent, at)"
            " VALUES (?, ?, 'download', '192.0.2.1', 'old', ?)",
            [row] * 10_200,
        )
    outside.close()
    assert all(gets(house, bert, file) for _ in range(64))
    (kept,) = house.rows("SELECT count(*) AS number FROM file_accesses WHERE file_id = ?", file["id"])
    assert 10_000 <= kept["number"] <= 10_064
    newest = house.client.get(at(file, "access-logs"), params={"limit": 65}, headers=anna.headers).json()
    assert [row["user_agent"] == "old" for row in newest] == [False] * 64 + [True]
    assert len(log(house, anna, other)) == 1


def test_going_on_within_an_hour_is_the_same_access(
    house: House, anna: Person, bert: Person, carl: Person, clock: Clock
) -> None:
    anna, bert, carl = (lasting(house, who) for who in (anna, bert, carl))
    file = put(house, anna, CONTENT)
    shared(house, anna, file, team_id=team(house, anna, bert, carl), max_access_count=4)
    steps: list[tuple[Person, str, float, int]] = [
        (bert, "bytes=5-", 0, 1),
        (bert, "bytes=7-", 0, 1),
        (bert, "bytes=8-", HOUR_S - 1, 1),
        (carl, "bytes=5-", 0, 2),
        (bert, "bytes=9-9", 1, 3),
        (bert, "bytes=0-4", 0, 4),
        (bert, "bytes=5-", 0, 4),
        (carl, "bytes=1-2", 0, 4),
    ]
    for who, wanted, later, count in steps:
        clock.at += later
        answer = fetch(house, who, file, range=wanted)
        begin, _, end = wanted.removeprefix("bytes=").partition("-")
        part = CONTENT[int(begin) : int(end or 9) + 1]
        assert (answer.status_code, answer.content, counts(house, anna, file)) == (206, part, [count])
    assert len(log(house, anna, file)) == 4
    assert not gets(house, bert, file, range="bytes=0-")
    clock.at += HOUR_S
    assert not gets(house, bert, file, range="bytes=5-")


@pytest.mark.parametrize(
    "wanted",
    ["bytes=-10", "bytes=-999", "bytes=00-", "bytes= 000-9", "bytes=1-,0-", "bytes=9-1", "bytes=x", "Bytes=5-"],
)
def test_asking_for_the_whole_is_no_going_on(house: House, anna: Person, bert: Person, wanted: str) -> None:
    """However it is said: or one access would be any number of them."""
    file = put(house, anna, CONTENT)
    shared(house, anna, file, user_id=bert.id, max_access_count=2)
    assert gets(house, bert, file)
    assert (fetch(house, bert, file, range=wanted).content, counts(house, anna, file)) == (CONTENT, [2])
    assert not gets(house, bert, file, range=wanted)


def test_the_rest_of_another_version_is_the_whole(house: House, anna: Person, bert: Person) -> None:
    file = put(house, anna, CONTENT)
    shared(house, anna, file, user_id=bert.id, max_access_count=1)
    assert gets(house, bert, file)
    tag = f'"{file["sha256"]}"'
    assert fetch(house, bert, file, range="bytes=5-", if_range=tag).content == CONTENT[5:]
    assert not gets(house, bert, file, range="bytes=5-", if_range='"another"')


def test_a_copy_is_never_the_rest_of_a_download(house: House, anna: Person, bert: Person) -> None:
    file = put(house, anna, CONTENT)
    shared(house, anna, file, user_id=bert.id, max_access_count=1)
    assert gets(house, bert, file)
    answer = house.client.post(at(file, "copy"), json={}, headers={**bert.headers, "Range": "bytes=5-"})
    refusal(answer, 404, "NOT_FOUND")


def test_what_brings_no_bytes_is_no_access(house: House, anna: Person, bert: Person) -> None:
    file = put(house, anna, CONTENT)
    shared(house, anna, file, user_id=bert.id, max_access_count=2)
    tag = f'"{file["sha256"]}"'
    for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        answer = fetch(house, bert, file, if_none_match=known)
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    answer = house.client.head(at(file, "download"), headers=bert.headers)
    assert (answer.status_code, answer.headers["content-length"], answer.headers["etag"]) == (200, "10", tag)
    assert (counts(house, anna, file), log(house, anna, file)) == ([0], [])
    for count in (1, 2):
        assert fetch(house, bert, file, if_none_match='"another"').content == CONTENT
        assert counts(house, anna, file) == [count]
    # Who was given them just now may look before going on.
    assert house.client.head(at(file, "download"), headers=bert.headers).status_code == 200
    assert fetch(house, bert, file, if_none_match=tag).status_code == 304
    refusal(fetch(house, bert, file), 404)


def test_a_part_that_the_file_has_not_is_no_access(house: House, anna: Person, bert: Person) -> None:
    file = put(house, anna, CONTENT)
    shared(house, anna, file, user_id=bert.id, max_access_count=1)
    refusal(fetch(house, bert, file, range="bytes=10-"), 416)
    assert gets(house, bert, file)


def test_who_goes_on_with_a_file_may_say_which_version_is_known(house: House, anna: Person, bert: Person) -> None:
    file = put(house, anna, CONTENT)
    shared(house, anna, file, user_id=bert.id, max_access_count=1)
    assert gets(house, bert, file)
    assert gets(house, bert, file, range="bytes=5-")
    assert gets(house, bert, file, range="bytes=5-", if_none_match='"another"')


def test_new_shares_do_not_stop_who_goes_on(house: House, anna: Person, bert: Person, carl: Person) -> None:
    file = put(house, anna, CONTENT)
    shared(house, anna, file, user_id=bert.id, max_access_count=1)
    assert gets(house, bert, file)
    shared(house, anna, file, user_id=carl.id)
    assert gets(house, bert, file, range="bytes=5-")


def test_a_token_that_only_reads_shares_nothing(house: House, anna: Person, bert: Person) -> None:
    file = put(house, anna, CONTENT)
    share_id = shared(house, anna, file, user_id=bert.id)["id"]
    reads = house.token(anna, "files:read")
    bodies = {"share": {"link": True}, "revoke-share": {"share_id": share_id}, "rename": {"name": "b"}, "copy": {}}
    for action, body in bodies.items():
        for method in ("POST", "PATCH", "PUT"):
            answer = house.client.request(method, at(file, action), json=body, headers=reads)
            assert refusal(answer, 403, "FORBIDDEN")["required"] == ["files:write"]
    for action in ("shares", "access-logs", "download"):
        assert house.client.get(at(file, action), headers=reads).status_code == 200
    assert [one["id"] for one in shares(house, anna, file)] == [share_id]
    elsewhere = house.token(bert, "documents:write")
    refusal(house.client.get(at(file, "download"), headers=elsewhere), 403, "FORBIDDEN")


def test_the_number_of_statements_does_not_grow_with_the_shares(house: House, anna: Person) -> None:
    dora = house.person()
    seen: list[list[tuple[str, int]]] = []
    for round_ in range(2):
        for _ in range(1 if round_ == 0 else 6):
            file = put(house, anna, CONTENT)
            shared(house, anna, file, team_id=team(house, anna, dora))
            shared(house, anna, file, user_id=dora.id, max_access_count=99)
            for _ in range(1 if round_ == 0 else 6):
                shared(house, anna, file, user_id=make_account(house.config))
                assert gets(house, dora, file)
        with statements(house) as asked:
            for query in ("", "?shared=true&count=true", "?shared=true&q=a&limit=5"):
                assert house.client.get(f"{FILES}{query}", headers=dora.headers).status_code == 200
            for action in ("", "download"):
                assert house.client.get(at(file, action), headers=dora.headers).status_code == 200
            for action in ("shares", "access-logs?count=true"):
                assert house.client.get(at(file, action), headers=anna.headers).status_code == 200
        seen.append(list(asked))
    assert seen[0] == seen[1]
    assert max(number for _, number in seen[1]) <= 6
