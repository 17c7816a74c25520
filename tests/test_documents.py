"""Documents over HTTP: who may what, what a change keeps, what it costs, and that nothing is lost by it."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from app.main import create_app
from tests.accounts import Person, make_group, make_person
from tests.house import NOBODY, House
from tests.office import DOCUMENTS, document, folder, listed, made, put, sees, share, statements
from tests.support import claim, configured, refusal
from tests.test_roles import at_once

pytestmark = pytest.mark.slow  # every call by everybody

Answer = httpx2.Response
ACTION = ("POST", "PATCH", "PUT")
CHANGES: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
    *((method, "", {"title": "New"}) for method in ("PATCH", "PUT")),
    *((method, "/rename", {"title": "New"}) for method in ACTION),
    *((method, "/move", {"folder_id": None}) for method in ACTION),
    *((method, "/tags", {"tags": ["new"]}) for method in ACTION),
    *((method, "/share", {"user_id": 1}) for method in ACTION),
    *((method, "/unshare", {"user_id": 1}) for method in ACTION),
    *((method, "/revisions/1/restore", None) for method in ACTION),
    ("DELETE", "", None),
)
READS = (("GET", "", None), ("GET", "/revisions", None), ("GET", "/revisions/1", None))
PARTS = {"documents": "id"} | dict.fromkeys(
    ("document_texts", "document_signs", "document_revisions", "document_tags", "document_shares"), "document_id"
)


def call(house: House, who: Person, method: str, path: str, given: object = None, **headers: str) -> Answer:
    """The answer to a call below /documents, `path` an id with what follows."""
    more: dict[str, Any] = {} if given is None else {"json": given}
    sent_with = who.headers | {name.replace("_", "-"): value for name, value in headers.items()}
    return house.client.request(method, f"{DOCUMENTS}/{path}", headers=sent_with, **more)


def edited(house: House, who: Person, document_id: int, **patch: object) -> dict[str, Any]:
    return made(call(house, who, "PATCH", str(document_id), patch), 200)


def kept(house: House, document_id: int) -> list[list[dict[str, Any]]]:
    """All that is stored of a document."""
    return [house.rows(f"SELECT * FROM {name} WHERE {key} = ?", document_id) for name, key in PARTS.items()]  # noqa: S608


def revisions(house: House, who: Person, document_id: int) -> list[int]:
    answer = call(house, who, "GET", f"{document_id}/revisions?limit=1000")
    assert answer.status_code == 200, answer.text
    return [row["number"] for row in answer.json()]


def with_editor(house: House, owner: Person, document_id: int) -> Person:
    """Somebody who has the document to edit."""
    other = house.person()
    share(house, owner, f"documents/{document_id}", user_id=other.id, permission="edit")
    return other


def test_a_document_is_made_shown_listed_changed_and_deleted(house: House) -> None:
    client, anna = house.client, house.person()
    lies_in = folder(house, anna)["id"]
    given = {"title": "Plan", "content": "Grüße\n漢字", "folder_id": lies_in, "tags": ["b", "A"]}
    answer = client.post(DOCUMENTS, json=given, headers=anna.headers)
    found = made(answer)
    path = f"{DOCUMENTS}/{found['id']}"
    assert (answer.headers["location"], answer.headers["etag"]) == (path, '"1"')
    assert found == {
        **given,
        **{"id": found["id"], "owner_id": anna.id, "owner_name": anna.username, "access": "full", "shares": []},
        **{"size_bytes": 14, "revision": 1, "created_at": found["created_at"], "updated_at": found["created_at"]},
    }
    shown = client.get(path, headers=anna.headers)
    assert (shown.status_code, shown.json(), shown.headers["etag"]) == (200, found, '"1"')
    (entry,) = client.get(DOCUMENTS, headers=anna.headers).json()
    assert entry == {name: value for name, value in found.items() if name not in ("content", "shares")}
    changed = client.patch(path, json={"title": "Plan B", "content": ""}, headers=anna.headers)
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    new = {"title": "Plan B", "content": "", "size_bytes": 0, "revision": 2, "updated_at": changed.json()["updated_at"]}
    assert changed.json() == found | new
    gone = client.delete(path, headers=anna.headers)
    assert (gone.status_code, gone.content) == (204, b"")
    assert refusal(client.get(path, headers=anna.headers), 404, "NOT_FOUND")["detail"] == "No such document."
    assert kept(house, found["id"]) == [[]] * len(PARTS)
    assert document(house, anna)["id"] > found["id"]


@pytest.mark.parametrize("method", ACTION)
def test_each_action_answers_with_the_document_as_it_is_now(house: House, method: str) -> None:
    anna, other = house.person(), house.person()
    one, lies_in = document(house, anna, "Old", "text")["id"], folder(house, anna)["id"]
    steps: tuple[tuple[str, dict[str, Any] | None, dict[str, Any]], ...] = (
        ("rename", {"title": "New"}, {"title": "New", "revision": 2}),
        ("move", {"folder_id": lies_in}, {"folder_id": lies_in, "revision": 3}),
        ("tags", {"tags": ["x", "y"]}, {"tags": ["x", "y"], "revision": 4}),
        ("share", {"user_id": other.id}, {"revision": 4}),
        ("unshare", {"user_id": other.id}, {"shares": [], "revision": 4}),
        ("revisions/1/restore", None, {"title": "Old", "content": "text", "revision": 5}),
    )
    for what, given, expected in steps:
        answer = call(house, anna, method, f"{one}/{what}", given)
        found = made(answer, 200)
        assert (found, answer.headers["etag"]) == (found | expected, f'"{expected["revision"]}"')
        assert made(call(house, anna, "GET", str(one)), 200) == found
    gone = house.client.request(method, f"{DOCUMENTS}/batch-delete", json={"ids": [one]}, headers=anna.headers)
    assert (gone.status_code, gone.json()) == (200, {"deleted_count": 1})


@pytest.mark.parametrize(("method", "what", "given"), CHANGES + READS, ids=lambda part: str(part or "-"))
def test_nobody_else_does_anything_with_a_document(
    house: House, crowd: dict[str, Person], method: str, what: str, given: object
) -> None:
    """Nor with one that is not there; and nothing of it is changed by trying."""
    one = document(house, crowd["owner"], "Title", "text", tags=["old"])["id"]
    before = kept(house, one)
    for who in (crowd["other"], crowd["admin of another group"]):
        assert refusal(call(house, who, method, f"{one}{what}", given), 404, "NOT_FOUND")["detail"]
    refusal(call(house, crowd["guest"], method, f"{one}{what}", given), 403, "FORBIDDEN")
    refusal(house.client.request(method, f"{DOCUMENTS}/{one}{what}", json=given, headers=NOBODY), 401, "UNAUTHORIZED")
    assert kept(house, one) == before
    for missing in (0, 10**17):
        refusal(call(house, crowd["owner"], method, f"{missing}{what}", given), 404, "NOT_FOUND")
    for no_id in (10**18, "-1", "x", "1.0"):
        assert call(house, crowd["owner"], method, f"{no_id}{what}", given).status_code in (404, 405)
    narrow = house.token(crowd["owner"], "documents:read" if method != "GET" else "files:delete")
    answer = house.client.request(method, f"{DOCUMENTS}/{one}{what}", json=given, headers=narrow)
    refusal(answer, 403, "FORBIDDEN")


@pytest.fixture(scope="module")
def crowd(house: House) -> dict[str, Person]:
    """People of this module who change nothing."""
    client, config = house.client, house.config
    near = {"name": "near", "permissions": [{"permission": "documents:admin", "reach": "group"}]}
    assert client.post("/api/v1/roles", json=near).status_code == 201
    north, south = make_group(client, "North", "00000011"), make_group(client, "South", "00000012")
    return {
        "owner": make_person(client, config, "crowd-owner", "user", group_id=north),
        "chief": make_person(client, config, "crowd-chief", "user", "near", group_id=north),
        "other": make_person(client, config, "crowd-other", "user", group_id=north),
        "admin of another group": make_person(client, config, "crowd-admin", "user", "near", group_id=south),
        "guest": make_person(client, config, "crowd-guest", "guest", group_id=north),
    }


def test_a_guest_and_a_stranger_neither_list_nor_make_nor_delete(house: House, crowd: dict[str, Person]) -> None:
    for headers, status, code in ((crowd["guest"].headers, 403, "FORBIDDEN"), (NOBODY, 401, "UNAUTHORIZED")):
        refusal(house.client.get(DOCUMENTS, headers=headers), status, code)
        refusal(house.client.post(DOCUMENTS, json={"title": "x"}, headers=headers), status, code)
        for method in ACTION:
            answer = house.client.request(method, f"{DOCUMENTS}/batch-delete", json={"ids": [1]}, headers=headers)
            refusal(answer, status, code)


def test_who_reaches_the_group_does_all_with_what_its_people_have(house: House, crowd: dict[str, Person]) -> None:
    """And it stays its owner's: it lies in their folders alone, and counts as theirs."""
    owner, chief = crowd["owner"], crowd["chief"]
    one, theirs, own = document(house, owner, "Old")["id"], folder(house, owner)["id"], folder(house, chief)["id"]
    assert made(call(house, chief, "GET", str(one)), 200)["access"] == "full"
    refusal(call(house, chief, "POST", f"{one}/move", {"folder_id": own}), 404, "NOT_FOUND")
    found = edited(house, chief, one, title="New", content="12345", folder_id=theirs, tags=["x"])
    assert (found["owner_id"], found["folder_id"], found["access"]) == (owner.id, theirs, "full")
    (use,) = house.rows("SELECT used_bytes FROM storage_use WHERE owner_id = ? AND kind = 'text'", owner.id)
    sums = house.rows("SELECT sum(stored_bytes) AS used_bytes FROM documents WHERE owner_id = ?", owner.id)
    assert [use] == sums
    assert made(call(house, chief, "POST", "batch-delete", {"ids": [one]}), 200) == {"deleted_count": 1}


@pytest.mark.parametrize(("method", "what", "given"), CHANGES, ids=lambda part: str(part or "-"))
def test_a_change_demands_the_revision_that_the_caller_has_seen(
    house: House, crowd: dict[str, Person], method: str, what: str, given: dict[str, Any] | None
) -> None:
    owner, other = crowd["owner"], crowd["other"]
    one = document(house, owner, "Title", "text")["id"]
    share(house, owner, f"documents/{one}", user_id=other.id)
    given = {"user_id": other.id} if what in ("/share", "/unshare") else given
    before = kept(house, one)
    for wanted in ('"2"', "0", '"x"', "", '"1", "2"', "9" * 30):
        answer = call(house, owner, method, f"{one}{what}", given, If_Match=wanted)
        assert refusal(answer, 412, "PRECONDITION_FAILED")["detail"]
    assert refusal(call(house, owner, method, f"{one}{what}", given, If_Match='"2"'), 412)["revision"] == 1
    assert kept(house, one) == before
    assert call(house, owner, method, f"{one}{what}", given, If_Match='"1"').status_code in (200, 204)


TITLES: tuple[object, ...] = ("", "x" * 256, "a\nb", "a\n", "\t", "\x7f", "a\u2028b", "a\0b", None, 5, ["x"], {}, True)
TAGS: tuple[object, ...] = ("", " a", "a ", "a,b", ",", "a\nb", "a\n", "\t", "a\u2028b", "a\0b", "x" * 51, 5, None, [])
CONTENTS: tuple[object, ...] = (None, 5, [], "a\0b")
LISTS: tuple[object, ...] = (None, "a,b", {}, 5, [str(number) for number in range(51)])
ENDS: tuple[object, ...] = ("2099-01-01", 1, "", "x")
IDS: tuple[object, ...] = (0, -1, "1", 1.5, True, 10**18, [1], {})
BAD: tuple[tuple[str, object, str], ...] = (
    *(("rename", {"title": title}, "/title") for title in TITLES),
    *(("", {"title": title}, "/title") for title in TITLES),
    *(("", {"content": content}, "/content") for content in CONTENTS),
    *(("tags", {"tags": ["ok", tag]}, "/tags/1") for tag in TAGS),
    *(("", {"tags": tags}, "/tags") for tags in LISTS),
    *((what, {"folder_id": given}, "/folder_id") for what in ("", "move") for given in IDS),
    *(("", {name: 1}, f"/{name}") for name in ("id", "owner_id", "revision", "shares", "size_bytes", "Title", "")),
    *((what, {name: None, "x": 1}, "/x") for what, name in (("move", "folder_id"), ("share", "user_id"))),
    *(("rename", {}, "/title"), ("move", {}, "/folder_id"), ("tags", {}, "/tags")),
    *((what, {"user_id": given}, "/user_id") for what in ("share", "unshare") for given in IDS),
    *((what, {"team_id": given}, "/team_id") for what in ("share", "unshare") for given in IDS),
    *((what, {}, "/user_id") for what in ("share", "unshare")),
    *((what, {"user_id": 1, "team_id": 1}, "/user_id") for what in ("share", "unshare")),
    *((what, {"username": ""}, "/username") for what in ("share", "unshare")),
    *(("share", {"user_id": 1, "permission": given}, "/permission") for given in ("full", "", None, "READ", 1)),
    *(("share", {"user_id": 1, "expires_at": given}, "/expires_at") for given in ENDS),
    *(("", given, "/") for given in CONTENTS[1:]),
)


@pytest.mark.parametrize(("what", "given", "field"), BAD, ids=lambda part: repr(part)[:40])
def test_a_bad_field_is_named_and_nothing_is_written(
    house: House, crowd: dict[str, Person], what: str, given: object, field: str
) -> None:
    one = document(house, crowd["owner"], "Title", "text", tags=["old"])["id"]
    before = kept(house, one)
    answers = [call(house, crowd["owner"], "PATCH", f"{one}/{what}".rstrip("/"), given)]
    if what == "" and isinstance(given, dict):
        whole = {"title": "x"} | given
        answers.append(house.client.post(DOCUMENTS, json=whole, headers=crowd["owner"].headers))
    for answer in answers:
        assert refusal(answer, 400, "VALIDATION_ERROR")["errors"][0]["field"] == field
    assert kept(house, one) == before


@pytest.mark.parametrize("ids", [[], [0], ["1"], [1.5], None, 1, [*range(1, 102)], [10**18], [None]], ids=repr)
def test_what_is_deleted_together_is_named_by_ids(house: House, crowd: dict[str, Person], ids: object) -> None:
    answer = call(house, crowd["owner"], "POST", "batch-delete", {"ids": ids})
    assert refusal(answer, 400, "VALIDATION_ERROR")["errors"][0]["field"].startswith("/ids")


QUESTIONS = "q= tags= folder_id=-1 folder_id=x owner_id=0 shared=2 sort=content sort= x=1 limit=0 limit=1001 count=2"
QUESTIONS += " cursor=x q=a&q=b q=%00 q=%ed%a0%80 q=%ff shared=null q=" + "x" * 201


@pytest.mark.parametrize("query", QUESTIONS.split())
def test_a_bad_question_is_refused_by_name(house: House, crowd: dict[str, Person], query: str) -> None:
    answer = house.client.get(f"{DOCUMENTS}?{query}", headers=crowd["owner"].headers)
    errors = refusal(answer, 400, "VALIDATION_ERROR")["errors"]
    assert [error["field"] for error in errors] == ([] if query in ("q=%ed%a0%80", "q=%ff") else [query.split("=")[0]])


@pytest.mark.parametrize("bad", ["\\u0000", "\\ud800", "\\udfff\\ud800"])
@pytest.mark.parametrize("field", ["title", "content", "tags"])
def test_what_no_engine_stores_is_refused(house: House, crowd: dict[str, Person], field: str, bad: str) -> None:
    text = f'["{bad}"]' if field == "tags" else f'"{bad}"'
    raw = f'{{"title": "x", "{field}": {text}}}' if field != "title" else f'{{"title": {text}}}'
    before = listed(house, crowd["owner"], "documents", limit=1000)
    answer = house.client.post(DOCUMENTS, content=raw, headers=crowd["owner"].headers)
    refusal(answer, 400, "VALIDATION_ERROR")
    assert listed(house, crowd["owner"], "documents", limit=1000) == before


def sent(house: House, who: Person, content: str, spaces: int = 0) -> Answer:
    """The answer to a document as UTF-8, whatever a client would make of it, with spaces behind."""
    raw = f'{{"title":"x","content":"{content}"}}'.encode()
    return house.client.post(DOCUMENTS, content=raw + b" " * spaces, headers=who.headers)


def test_half_a_million_characters_are_taken_and_no_more(house: House) -> None:
    anna = house.person()
    for sign, size in (("a", 500_000), ("é", 1_000_000)):
        found = made(sent(house, anna, sign * 500_000))
        assert (found["size_bytes"], len(found["content"])) == (size, 500_000)
        answer = sent(house, anna, sign * 500_001)
        assert refusal(answer, 400, "VALIDATION_ERROR")["errors"][0]["field"] == "/content"


def test_a_body_has_a_mebibyte_at_most(house: House) -> None:
    anna = house.person()
    room = 2**20 - len('{"title":"x","content":""}')
    made(sent(house, anna, "", room))
    assert refusal(sent(house, anna, "", room + 1), 413, "PAYLOAD_TOO_LARGE")["limit_bytes"] == 2**20
    refusal(sent(house, anna, "漢" * (room // 3 + 1)), 413, "PAYLOAD_TOO_LARGE")


def test_tags_are_replaced_and_of_two_that_differ_in_case_the_first_stays(house: House) -> None:
    anna = house.person()
    one = document(house, anna, tags=["Straße", "STRASSE", "b", "B", "two words"])
    assert one["tags"] == ["Straße", "b", "two words"]
    most = [f"tag {number}" for number in range(50)]
    for tags, expected in ((most, most), (["ｆｕｌｌ", "Full", "x" * 50], ["ｆｕｌｌ", "x" * 50]), ([], [])):
        found = made(call(house, anna, "POST", f"{one['id']}/tags", {"tags": tags}), 200)
        assert found["tags"] == expected
    assert (found["title"], revisions(house, anna, one["id"])) == ("Title", [1])


def test_a_document_moves_within_its_owners_folders_alone(house: House) -> None:
    anna, ben = house.person(), house.person()
    first, second, theirs = folder(house, anna, "1")["id"], folder(house, anna, "2")["id"], folder(house, ben)["id"]
    one = document(house, anna, folder_id=first)["id"]
    for there in (theirs, 10**17):
        for answer in (
            call(house, anna, "POST", f"{one}/move", {"folder_id": there}),
            call(house, anna, "PATCH", str(one), {"folder_id": there, "title": "New", "tags": ["new"]}),
            house.client.post(DOCUMENTS, json={"title": "x", "folder_id": there}, headers=anna.headers),
        ):
            assert refusal(answer, 404, "NOT_FOUND")["detail"] == "No such folder."
    assert made(call(house, anna, "GET", str(one)), 200)["title"] == "Title"
    for there, shows in ((second, {first: [], second: [one], 0: []}), (None, {first: [], second: [], 0: [one]})):
        assert made(call(house, anna, "POST", f"{one}/move", {"folder_id": there}), 200)["folder_id"] == there
        assert {place: listed(house, anna, "documents", folder_id=place) for place in shows} == shows
    assert listed(house, ben, "documents", folder_id=second) == []
    assert revisions(house, anna, one) == [1]


def test_documents_are_deleted_together_all_or_none(house: House) -> None:
    anna, ben = house.person(), house.person()
    mine = [document(house, anna)["id"] for _ in range(3)]
    theirs = document(house, ben)["id"]
    share(house, ben, f"documents/{theirs}", user_id=anna.id, permission="edit")
    for wrong in (theirs, 10**17):
        answer = call(house, anna, "POST", "batch-delete", {"ids": [*mine, wrong]})
        assert str(wrong) in refusal(answer, 404, "NOT_FOUND")["detail"]
    assert sorted(listed(house, anna, "documents")) == sorted([*mine, theirs])
    found = made(call(house, anna, "POST", "batch-delete", {"ids": [mine[0], mine[2], mine[0]]}), 200)
    assert found == {"deleted_count": 2}
    assert listed(house, anna, "documents", shared="false") == [mine[1]]


def test_what_a_document_was_is_listed_page_by_page_shown_and_restored(house: House) -> None:
    anna = house.person()
    one = document(house, anna, "T0", "C0")["id"]
    edited(house, anna, one, title="T1")
    edited(house, anna, one, tags=["x"], folder_id=None)  # revisions 3 and 4, of which nothing is to be kept
    edited(house, anna, one, content="C1é")
    edited(house, anna, one, title="T1", content="C1é")
    first = house.client.get(f"{DOCUMENTS}/{one}/revisions?limit=2&count=true", headers=anna.headers)
    assert (first.status_code, first.headers["x-total-count"], len(first.json())) == (200, "3", 2)
    rest = house.client.get(first.links["next"]["url"], headers=anna.headers)
    assert "next" not in rest.links
    whole = first.json() + rest.json()
    facts = [(row["number"], row["title"], row["size_bytes"], row["edited_by"], row["editor_name"]) for row in whole]
    assert facts == [(number, title, size, anna.id, anna.username) for number, title, size in HISTORY]
    texts = [made(call(house, anna, "GET", f"{one}/revisions/{row['number']}"), 200) for row in whole]
    assert [text.pop("content") for text in texts] == ["C1é", "C0", "C0"]
    assert texts == whole
    found = made(call(house, anna, "POST", f"{one}/revisions/1/restore"), 200)
    assert (found["title"], found["content"], found["tags"], found["revision"]) == ("T0", "C0", ["x"], 6)
    assert revisions(house, anna, one) == [6, 5, 2, 1]
    assert made(call(house, anna, "POST", f"{one}/revisions/6/restore"), 200)["revision"] == 6
    assert made(call(house, anna, "POST", f"{one}/revisions/1/restore"), 200)["revision"] == 6  # the same text
    before = kept(house, one)
    for number in (0, 3, 4, 7, 10**17):
        for method, what in (("GET", ""), ("POST", "/restore")):
            answer = call(house, anna, method, f"{one}/revisions/{number}{what}")
            assert refusal(answer, 404, "NOT_FOUND")["detail"] == "No such revision."
    assert kept(house, one) == before


HISTORY = [(5, "T1", 4), (2, "T1", 2), (1, "T0", 2)]


def test_fifty_earlier_revisions_stay(house: House) -> None:
    anna = house.person()
    one = document(house, anna, content="0")["id"]
    for number in range(1, 54):
        edited(house, anna, one, content=str(number))
    assert revisions(house, anna, one) == [*range(54, 3, -1)]
    refusal(call(house, anna, "POST", f"{one}/revisions/3/restore"), 404, "NOT_FOUND")
    assert made(call(house, anna, "POST", f"{one}/revisions/4/restore"), 200)["content"] == "3"
    assert revisions(house, anna, one) == [*range(55, 4, -1)]
    sizes = house.rows("SELECT sum(length(content)) AS bytes FROM document_revisions WHERE document_id = ?", one)
    assert house.rows("SELECT stored_bytes - 1 AS bytes FROM documents WHERE id = ?", one) == sizes


def test_who_wrote_a_revision_is_told_also_when_that_account_is_gone(house: House) -> None:
    anna = house.person()
    one = document(house, anna, content="first")["id"]
    ben = with_editor(house, anna, one)
    edited(house, ben, one, content="second")
    edited(house, anna, one, content="third")
    edited(house, ben, one, content="fourth")
    told = [(row["edited_by"], row["editor_name"]) for row in call(house, anna, "GET", f"{one}/revisions").json()]
    assert told == [(ben.id, ben.username), (anna.id, anna.username)] * 2
    assert house.client.delete(f"/api/v1/users/{ben.id}").status_code == 204
    told = [(row["edited_by"], row["editor_name"]) for row in call(house, anna, "GET", f"{one}/revisions").json()]
    assert told == [(None, None), (anna.id, anna.username)] * 2
    assert made(call(house, anna, "GET", f"{one}/revisions/2"), 200)["content"] == "second"
    assert made(call(house, anna, "GET", str(one)), 200)["shares"] == []


@pytest.fixture
def small(tmp_path: Path) -> Iterator[House]:
    """A house in which each account may keep a thousand bytes."""
    config = configured(tmp_path / "data", USER_QUOTA_BYTES="1000")
    app = create_app(config)
    with TestClient(app, client=("127.0.0.1", 50000)) as client:
        client.headers["Authorization"] = f"Token {claim(client)}"
        yield House(client, app, config)


def use(house: House, who: Person) -> int:
    """What an account keeps, after checking that it is the sum of what there is."""
    told = house.rows("SELECT sum(used_bytes) AS used FROM storage_use WHERE owner_id = ?", who.id)[0]["used"] or 0
    counted = house.rows(
        "SELECT coalesce((SELECT sum(length(CAST(content AS BLOB))) FROM document_texts JOIN documents ON id ="
        " document_id WHERE owner_id = ?1), 0) + coalesce((SELECT sum(length(CAST(r.content AS BLOB))) FROM"
        " document_revisions r JOIN documents d ON d.id = r.document_id WHERE d.owner_id = ?1), 0) +"
        " coalesce((SELECT sum(size_bytes) FROM files WHERE owner_id = ?1), 0) AS used",
        who.id,
    )[0]["used"]
    assert (told, house.client.get("/api/v1/files/storage", headers=who.headers).json()["used"]) == (counted, counted)
    return int(told)


def test_what_an_account_keeps_has_a_bound_that_revisions_count_in(small: House) -> None:
    anna, ben = small.person(), small.person()

    def refused(answer: Answer, needed: int, free: int) -> None:
        facts = refusal(answer, 507, "INSUFFICIENT_STORAGE")
        assert (facts["needed_bytes"], facts["free_bytes"], facts["quota_bytes"]) == (needed, free, 1000)

    one = document(small, anna, content="é" * 300)["id"]
    refused(small.client.post(DOCUMENTS, json={"title": "x", "content": "a" * 401}, headers=anna.headers), 401, 400)
    refused(call(small, anna, "PATCH", str(one), {"tags": ["new"], "title": "New", "content": "a" * 401}), 401, 400)
    found = made(call(small, anna, "GET", str(one)), 200)
    assert (found["tags"], found["title"], found["revision"], use(small, anna)) == ([], "Title", 1, 600)
    share(small, anna, f"documents/{one}", user_id=ben.id, permission="edit")
    edited(small, ben, one, content="a" * 400)  # what an editor writes is its owner's to keep
    assert (use(small, anna), use(small, ben)) == (1000, 0)
    refused(call(small, anna, "POST", f"{one}/rename", {"title": "New"}), 400, 0)
    refused(call(small, ben, "POST", f"{one}/revisions/1/restore"), 600, 0)
    refused(small.client.put("/api/v1/files/content?name=a", content=b"a", headers=anna.headers), 1, 0)
    assert edited(small, anna, one, tags=["x"], content="a" * 400)["tags"] == ["x"]
    made(call(small, anna, "GET", str(document(small, anna)["id"])), 200)  # an empty one takes nothing
    assert call(small, anna, "DELETE", str(one)).status_code == 204
    assert use(small, anna) == 0
    put(small, anna, b"a" * 500)
    lies_in = folder(small, anna)["id"]
    two = document(small, anna, content="a" * 500, folder_id=lies_in)["id"]
    refused(small.client.post(DOCUMENTS, json={"title": "x", "content": "a"}, headers=anna.headers), 1, 0)
    assert use(small, anna) == 1000
    assert small.client.delete(f"/api/v1/folders/{lies_in}", headers=anna.headers).status_code == 204
    assert (sees(small, anna, f"documents/{two}"), use(small, anna)) == (False, 500)


def test_of_many_documents_at_once_no_more_are_kept_than_fit(small: House) -> None:
    anna = small.person()
    new = partial(small.client.post, DOCUMENTS, json={"title": "x", "content": "a" * 300}, headers=anna.headers)
    assert sorted(answer.status_code for answer in at_once(*[new] * 8)) == [201] * 3 + [507] * 5
    assert use(small, anna) == 900


def test_of_changes_that_were_made_at_once_to_what_was_seen_one_holds(house: House) -> None:
    anna = house.person()
    one = document(house, anna, content="first")["id"]
    tries = [
        partial(call, house, anna, "PATCH", str(one), {"content": f"{number}"}, If_Match='"1"') for number in range(8)
    ]
    answers = at_once(*tries)
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 7
    (won,) = (answer.json() for answer in answers if answer.status_code == 200)
    assert (made(call(house, anna, "GET", str(one)), 200), won["revision"]) == (won, 2)
    assert revisions(house, anna, one) == [2, 1]


def test_of_changes_at_once_to_whatever_there_is_none_is_lost(house: House) -> None:
    anna = house.person()
    one = document(house, anna, content="first")["id"]
    ben = with_editor(house, anna, one)
    tries = [
        partial(call, house, (anna, ben)[number % 2], "PATCH", str(one), {"content": f"{number}"})
        for number in range(12)
    ]
    assert [answer.status_code for answer in at_once(*tries)] == [200] * 12
    numbers = revisions(house, anna, one)
    assert numbers == [*range(13, 0, -1)]
    texts = [call(house, anna, "GET", f"{one}/revisions/{number}").json()["content"] for number in numbers]
    assert sorted(texts) == sorted(["first", *map(str, range(12))])
    assert texts[0] == call(house, anna, "GET", str(one)).json()["content"]


@pytest.mark.parametrize(
    "question", ["", "q=e", "sort=title", "tags=x,y", "shared=true", "q=text&sort=title&count=true"]
)
def test_a_list_of_many_takes_as_many_statements_as_one_of_few(house: House, question: str) -> None:
    anna, ben = house.person(), house.person()
    taken = []
    for wanted in (3, 60):
        while len(listed(house, ben, "documents", limit=1000)) < wanted:
            one = document(house, anna, "Title", "text", tags=["x", "y"])["id"]
            share(house, anna, f"documents/{one}", user_id=ben.id)
        with statements(house) as seen:
            answer = house.client.get(f"{DOCUMENTS}?{question}", headers=ben.headers)
        assert (answer.status_code, len(answer.json())) == (200, wanted)
        taken.append(sorted(seen))
    assert taken[0] == taken[1] != []
    assert sum(count for _, count in taken[0]) <= 8


def test_each_change_is_told_in_the_trail(house: House) -> None:
    anna = house.person()
    one = document(house, anna)["id"]
    for method, what, given in (
        ("PATCH", "", {"title": "N"}),
        ("POST", "/revisions/1/restore", None),
        ("DELETE", "", None),
    ):
        assert call(house, anna, method, f"{one}{what}", given).status_code in (200, 204)
    rows = house.rows("SELECT action, target FROM audit WHERE actor_id = ? AND action LIKE 'doc%' ORDER BY id", anna.id)
    told = [("create", ""), ("update", ""), ("restore", "/revisions/1"), ("delete", "")]
    assert [(row["action"], row["target"]) for row in rows] == [
        (f"documents.{what}", f"documents/{one}{more}") for what, more in told
    ]
