"""Files over HTTP: what each operation does, who may, and what it refuses."""

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest
from starlette.testclient import TestClient

from app.main import create_app
from tests.accounts import Person, make_person
from tests.house import NOBODY, House
from tests.office import API, FILES, FOLDERS, folder, form, listed, made, put, sees, share, team
from tests.support import claim, configured, refusal, until

NONE_SUCH = 10**17
Cast = dict[str, Person]


class Call(NamedTuple):
    """An operation on a file, with a body that holds."""

    methods: str
    path: str
    permission: str
    body: dict[str, Any] | None = None
    matched: bool = False
    """Whether If-Match counts."""
    status: int = 200


CALLS = {
    "show": Call("GET", "/{id}", "files:read"),
    "download": Call("GET HEAD", "/{id}/download", "files:read"),
    "change": Call("PATCH PUT", "/{id}", "files:write", {"name": "b", "folder_id": None, "is_favorite": True}, True),
    "rename": Call("POST PATCH PUT", "/{id}/rename", "files:write", {"name": "b.txt"}, True),
    "move": Call("POST PATCH PUT", "/{id}/move", "files:write", {"folder_id": None}, True),
    "favorite": Call("POST PATCH PUT", "/{id}/favorite", "files:write", {}, True),
    "copy": Call("POST PATCH PUT", "/{id}/copy", "files:write", {}),
    "delete": Call("DELETE", "/{id}", "files:delete", None, True, 204),
    "delete many": Call("POST PATCH PUT", "/batch-delete", "files:delete", {"ids": ["id"]}),
}
NAMES = ["", "x" * 256, "a/b", "a\\b", "..", ".", "a\nb", "a\n", "a\0b", "\u202ea", "a\u2028b", "\x85", 5, ["x"], {}]
IDS = [0, -1, "1", 1.5, True, 10**18, [1]]
BAD: dict[str, dict[str, list[Any]]] = {
    "change": {"name": [*NAMES, None], "folder_id": IDS, "is_favorite": [1, "true", None]},
    "rename": {"name": [*NAMES, None]},
    "move": {"folder_id": IDS},
    "favorite": {"favorite": [1, "yes", []]},
    "copy": {"name": NAMES, "folder_id": IDS},
    "delete many": {"ids": [[], [*range(1, 102)], "1", 1, None, {}], "ids/0": [*IDS, None]},
}
UNKNOWN = {field: [1] for field in ("id", "owner_id", "sha256", "size_bytes", "media_type", "kind", "revision", "Name")}
EACH = [(what, method) for what, call in CALLS.items() for method in call.methods.split()]


@pytest.fixture(scope="module")
def people(house: House) -> Cast:
    """Those whom the tests share; none of them is changed."""
    roles = {"owner": "user", "other": "user", "guest": "guest", "admin of all": "admin"}
    return {name: make_person(house.client, house.config, name.replace(" ", "-"), role) for name, role in roles.items()}


def ask(house: House, what: str, method: str, file_id: int, headers: dict[str, str], **more: Any) -> httpx2.Response:
    """One of the calls about a file, with the body that holds, or another."""
    call = CALLS[what]
    body = call.body if "body" not in more else more.pop("body")
    if body and body.get("ids") == ["id"]:
        body = {**body, "ids": [file_id]}
    path = FILES + call.path.replace("{id}", str(file_id))
    return house.client.request(method, path, json=body, headers={**headers, **more})


def kept(house: House, file_id: int) -> list[dict[str, Any]]:
    """A file as it lies in its table."""
    return house.rows("SELECT * FROM files WHERE id = ?", file_id)


def used(house: House, who: Person, path: str = "/storage") -> dict[str, Any]:
    return made(house.client.get(FILES + path, headers=who.headers), 200)


def blobs(data_dir: Path) -> list[str]:
    """The names of all the bytes that are on the disk."""
    return sorted(path.name for path in (data_dir / "blobs").rglob("*") if path.is_file())


@pytest.mark.parametrize(("what", "method"), EACH)
def test_whom_an_operation_refuses_and_whom_it_serves(house: House, people: Cast, what: str, method: str) -> None:
    call, owner = CALLS[what], people["owner"]
    file_id = put(house, owner)["id"]
    before = kept(house, file_id)
    for headers, status, code in (
        (NOBODY, 401, "UNAUTHORIZED"),
        (people["other"].headers, 404, "NOT_FOUND"),
        (people["guest"].headers, 403, "FORBIDDEN"),
        (house.token(owner, "folders:delete"), 403, "FORBIDDEN"),
    ):
        answer = ask(house, what, method, file_id, headers)
        if method == "HEAD":
            assert (answer.status_code, answer.content) == (status, b"")
        elif refusal(answer, status, code)["status"] == 403:
            assert answer.json()["required"] == [call.permission]
    assert ask(house, what, method, NONE_SUCH, owner.headers).status_code == 404
    assert kept(house, file_id) == before
    done = ask(house, what, method, file_id, house.token(owner, call.permission))
    assert (done.status_code, done.headers["x-accepted-scopes"]) == (call.status, call.permission)


@pytest.mark.parametrize("what", [what for what, call in CALLS.items() if call.permission != "files:read"])
def test_a_token_that_reads_changes_nothing(house: House, people: Cast, what: str) -> None:
    file_id = put(house, people["owner"])["id"]
    before = kept(house, file_id)
    headers = house.token(people["owner"], "files:read", "files:write" if "delete" in what else "folders:write")
    refusal(ask(house, what, CALLS[what].methods.split()[0], file_id, headers), 403, "FORBIDDEN")
    assert kept(house, file_id) == before


@pytest.mark.parametrize(("what", "method"), [(what, method) for what, method in EACH if CALLS[what].matched])
def test_a_file_that_has_changed_meanwhile_is_left_alone(house: House, people: Cast, what: str, method: str) -> None:
    owner, file_id = people["owner"], put(house, people["owner"])["id"]
    assert ask(house, "rename", "POST", file_id, owner.headers).headers["etag"] == '"2"'
    before = kept(house, file_id)
    for stale in ('"1"', '"3"', 'W/"1"', "1"):
        answer = ask(house, what, method, file_id, owner.headers, **{"If-Match": stale})
        assert refusal(answer, 412, "PRECONDITION_FAILED")["revision"] == 2
    refusal(ask(house, what, method, file_id, owner.headers, **{"If-Match": f'"{"a" * 64}"'}), 412)
    assert kept(house, file_id) == before
    done = ask(house, what, method, file_id, owner.headers, **{"If-Match": '"2"'})
    assert done.status_code == CALLS[what].status
    assert done.headers.get("etag") == (None if what == "delete" else '"3"')


@pytest.mark.parametrize("what", BAD)
def test_a_bad_field_is_named_and_nothing_is_changed(house: House, people: Cast, what: str) -> None:
    call, owner = CALLS[what], people["owner"]
    file_id = put(house, owner)["id"]
    before = house.rows("SELECT * FROM files")
    for field, values in {**BAD[what], **UNKNOWN}.items():
        name, _, index = field.partition("/")
        for value in values:
            body = {**(call.body or {}), name: [value] if index else value}
            answer = ask(house, what, call.methods.split()[0], file_id, owner.headers, body=body)
            assert refusal(answer, 400, "VALIDATION_ERROR")["errors"][0]["field"] == f"/{field}", value
    assert house.rows("SELECT * FROM files") == before


def test_a_file_is_uploaded_shown_changed_and_deleted(house: House, people: Cast) -> None:
    client, owner = house.client, people["owner"]
    inside = folder(house, owner, "uploads")["id"]
    answer = form(house, owner, b"a,b\n", "Größe.csv", folder_id=str(inside))
    file = made(answer)
    path = f"{FILES}/{file['id']}"
    assert (answer.headers["location"], answer.headers["etag"]) == (path, '"1"')
    assert file == {
        **{"id": file["id"], "name": "Größe.csv", "folder_id": inside, "owner_id": owner.id, "owner_name": "owner"},
        **{"media_type": "text/csv", "kind": "document", "size_bytes": 4, "sha256": sha256(b"a,b\n").hexdigest()},
        **{"is_favorite": False, "access": "full", "revision": 1},
        **{"created_at": file["created_at"], "updated_at": file["created_at"]},
    }
    shown = client.get(path, headers=owner.headers)
    assert (shown.status_code, shown.json(), shown.headers["etag"]) == (200, file, '"1"')
    changed = client.patch(path, json={"name": "b.html", "is_favorite": True}, headers=owner.headers)
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    differs = {"name": "b.html", "is_favorite": True, "revision": 2, "updated_at": changed.json()["updated_at"]}
    assert changed.json() == {**file, **differs}
    assert client.get(path, headers=owner.headers).json() == changed.json()
    gone = client.delete(path, headers=owner.headers)
    assert (gone.status_code, gone.content) == (204, b"")
    refusal(client.get(path, headers=owner.headers), 404, "NOT_FOUND")
    assert put(house, owner)["id"] > file["id"]


@pytest.mark.parametrize("path", [FILES, f"{FILES}/upload", f"{API}/upload", f"{FILES}/upload/", f"{API}/upload/"])
def test_a_form_is_taken_at_several_addresses(house: House, people: Cast, path: str) -> None:
    owner, parts = people["owner"].headers, {"file": ("a.txt", b"hello")}
    answer = house.client.post(path, files=parts, data={"name": "called.txt", "folder_id": ""}, headers=owner)
    file = made(answer)
    assert (file["name"], file["size_bytes"], file["folder_id"]) == ("called.txt", 5, None)
    assert answer.headers["location"] == f"{FILES}/{file['id']}"
    refusal(house.client.post(path, files=parts, headers=NOBODY), 401, "UNAUTHORIZED")
    refusal(house.client.post(path, files=parts, headers=people["guest"].headers), 403, "FORBIDDEN")


BAD_FIELDS: dict[str, list[str]] = {
    "folder_id": ["-1", "x", "1.5", "null", "1" + "0" * 18, "true"],
    "name": ["x" * 1001],
    "owner_id": ["1"],
    "sha256": ["a" * 64],
}


@pytest.mark.parametrize("field", BAD_FIELDS)
def test_an_upload_names_the_field_that_does_not_hold(house: House, people: Cast, field: str) -> None:
    """And keeps nothing of it: no row, no bytes, nothing reserved."""
    before, owner = house.rows("SELECT * FROM files"), people["owner"]
    content = os.urandom(20)
    for value in BAD_FIELDS[field]:
        query = {"name": "a.txt", field: value}
        raw = house.client.put(f"{FILES}/content", params=query, content=content, headers=owner.headers)
        assert refusal(raw, 400, "VALIDATION_ERROR")["errors"][0]["field"] == field, value
        parts = {"file": ("a.txt", content)}
        answer = house.client.post(FILES, data={field: value}, files=parts, headers=owner.headers)
        assert refusal(answer, 400, "VALIDATION_ERROR")["errors"][0]["field"] == f"/{field}", value
    assert house.rows("SELECT * FROM files") == before
    assert house.rows("SELECT * FROM file_uploads") == []
    assert sha256(content).hexdigest() not in blobs(house.config.data_dir)


def test_an_upload_needs_a_name_and_a_file(house: House, people: Cast) -> None:
    client, owner = house.client, people["owner"].headers
    for query in ("", "?name="):
        answer = client.put(f"{FILES}/content{query}", content=b"x", headers=owner)
        assert refusal(answer, 400, "VALIDATION_ERROR")["errors"][0]["field"] == "name"
    refusal(client.post(FILES, content=b"x", headers=owner), 415, "UNSUPPORTED_MEDIA_TYPE")
    refusal(client.post(FILES, json={"file": "x"}, headers=owner), 415, "UNSUPPORTED_MEDIA_TYPE")
    answer = client.post(FILES, files={"picture": ("a.png", b"x")}, headers=owner)
    assert refusal(answer, 400, "VALIDATION_ERROR")["errors"][0]["field"] == "/file"
    refusal(client.put(f"{FILES}/content?name=a", content=b"x", headers=NOBODY), 401, "UNAUTHORIZED")
    refusal(client.put(f"{FILES}/content?name=a", content=b"x", headers=people["guest"].headers), 403, "FORBIDDEN")


def test_nothing_is_put_into_a_folder_of_somebody_else(house: House, people: Cast) -> None:
    """Whoever tries, and however: what an admin keeps does not lie in the tree of somebody else either."""
    theirs, owner = folder(house, people["other"], "theirs")["id"], people["owner"]
    file_id = put(house, owner)["id"]
    before = house.rows("SELECT * FROM files")
    for who in (owner, people["admin of all"]):
        for folder_id in (theirs, NONE_SUCH):
            place = {"folder_id": folder_id}
            for answer in (
                *(ask(house, what, "POST", file_id, who.headers, body=place) for what in ("move", "copy")),
                ask(house, "change", "PATCH", file_id, who.headers, body=place),
                form(house, who, b"x", "x", folder_id=str(folder_id)),
                house.client.put(f"{FILES}/content?name=x&folder_id={folder_id}", content=b"x", headers=who.headers),
            ):
                assert refusal(answer, 404, "NOT_FOUND")["detail"] == "No such folder."
    assert house.rows("SELECT * FROM files") == before
    assert house.rows("SELECT * FROM file_uploads") == []


def test_a_file_is_moved_through_its_owners_folders(house: House, people: Cast) -> None:
    owner = people["owner"]
    outer = folder(house, owner, "outer")["id"]
    inner = folder(house, owner, "inner", outer)["id"]
    file = put(house, owner, folder_id=outer)
    for revision, (method, who, folder_id) in enumerate(
        [
            ("POST", owner, inner),
            ("PATCH", owner, None),
            ("PUT", people["admin of all"], inner),
            ("POST", owner, inner),
        ],
        2,
    ):
        answer = ask(house, "move", method, file["id"], who.headers, body={"folder_id": folder_id})
        moved = made(answer, 200)
        assert (moved["folder_id"], moved["revision"], moved["name"]) == (folder_id, revision, file["name"])
        assert answer.headers["etag"] == f'"{revision}"'
        assert listed(house, owner, "files", folder_id=inner) == ([file["id"]] if folder_id else [])
    answer = ask(house, "move", "POST", file["id"], owner.headers, body={})
    assert refusal(answer, 400)["errors"] == [{"field": "/folder_id", "message": "required, and missing"}]


def test_a_file_is_a_favourite_or_the_other_way_round(house: House, people: Cast) -> None:
    owner, file_id = people["owner"], put(house, people["owner"])["id"]
    for body, expected in (({}, True), (None, False), ({"favorite": None}, True), ({"favorite": True}, True)):
        found = made(ask(house, "favorite", "POST", file_id, owner.headers, body=body), 200)
        assert found["is_favorite"] is expected
        assert (file_id in listed(house, owner, "files", favorite="true")) is expected
    assert made(ask(house, "favorite", "PUT", file_id, owner.headers, body={"favorite": False}), 200)["revision"] == 6


def test_what_a_patch_leaves_out_stays(house: House, people: Cast) -> None:
    owner = people["owner"]
    inside = folder(house, owner, "stays")["id"]
    file = put(house, owner, folder_id=inside)
    for body in ({}, {"name": "b"}, {"is_favorite": True}, {"name": "c", "folder_id": inside}):
        file = {**file, **body}
        found = made(ask(house, "change", "PUT", file["id"], owner.headers, body=body), 200)
        assert {name: found[name] for name in ("name", "folder_id", "is_favorite")} == {
            name: file[name] for name in ("name", "folder_id", "is_favorite")
        }


def test_a_copy_names_the_same_bytes_and_counts_once_more(house: House, people: Cast) -> None:
    who = house.person()
    inside = folder(house, who, "copies")["id"]
    content = os.urandom(1000)
    file = put(house, who, content, "a.bin", folder_id=inside)
    ask(house, "favorite", "POST", file["id"], who.headers)
    answer = ask(house, "copy", "POST", file["id"], who.headers)
    copy = made(answer, 200)
    assert answer.headers["location"] == f"{FILES}/{copy['id']}"
    assert answer.headers["etag"] == '"1"'
    same = {name: copy[name] for name in ("folder_id", "sha256", "size_bytes", "media_type", "kind", "owner_id")}
    assert same == {name: file[name] for name in same}
    assert (copy["name"], copy["is_favorite"], copy["access"]) == ("a (copy).bin", False, "full")
    other = made(ask(house, "copy", "PUT", file["id"], who.headers, body={"name": "b", "folder_id": None}), 200)
    assert (other["name"], other["folder_id"]) == ("b", None)
    assert blobs(house.config.data_dir).count(file["sha256"]) == 1
    assert used(house, who)["used"] == 3000
    assert house.client.delete(f"{FILES}/{file['id']}", headers=who.headers).status_code == 204
    assert house.client.get(f"{FILES}/{copy['id']}/download", headers=who.headers).content == content
    assert used(house, who)["used"] == 2000
    again = put(house, people["other"], content, "mine.bin")
    assert blobs(house.config.data_dir).count(again["sha256"]) == 1


def test_what_is_shared_is_copied_into_the_readers_own(house: House) -> None:
    owner, reader = house.person(), house.person()
    file = put(house, owner, b"12345", "a.txt", folder_id=folder(house, owner)["id"])
    share(house, owner, f"files/{file['id']}", user_id=reader.id)
    copy = made(ask(house, "copy", "POST", file["id"], reader.headers), 200)
    assert (copy["owner_id"], copy["folder_id"], copy["access"]) == (reader.id, None, "full")
    assert (used(house, reader)["used"], used(house, owner)["used"]) == (5, 5)
    assert not sees(house, owner, f"files/{copy['id']}")
    assert house.client.delete(f"{FILES}/{file['id']}", headers=owner.headers).status_code == 204
    assert house.client.get(f"{FILES}/{copy['id']}/download", headers=reader.headers).content == b"12345"


def test_a_copy_is_an_access_whatever_range_its_caller_names(house: House) -> None:
    """Only the rest of a download is not counted again."""
    owner, reader = house.person(), house.person()
    file_id = put(house, owner)["id"]
    share(house, owner, f"files/{file_id}", user_id=reader.id, max_access_count=1)
    assert house.client.get(f"{FILES}/{file_id}/download", headers=reader.headers).status_code == 200
    refusal(ask(house, "copy", "POST", file_id, reader.headers, Range="bytes=1-"), 404, "NOT_FOUND")
    assert listed(house, reader, "files") == []


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """An appliance on which everybody keeps 100 bytes."""
    config = configured(tmp_path_factory.mktemp("small") / "data", USER_QUOTA_BYTES="100")
    app = create_app(config)
    with TestClient(app, client=("127.0.0.1", 50000)) as client:
        client.headers["Authorization"] = f"Token {claim(client)}"
        yield House(client, app, config)


def test_copies_fill_the_quota_of_whoever_makes_them(small: House) -> None:
    owner, reader = small.person(), small.person()
    file = put(small, owner, bytes(40))
    share(small, owner, f"files/{file['id']}", user_id=reader.id, max_access_count=3)
    for who in (owner, reader):
        for _ in range(1 if who is owner else 2):
            made(ask(small, "copy", "POST", file["id"], who.headers), 200)
        document = refusal(ask(small, "copy", "POST", file["id"], who.headers), 507, "INSUFFICIENT_STORAGE")
        assert (document["needed_bytes"], document["free_bytes"], document["quota_bytes"]) == (40, 20, 100)
        assert used(small, who)["used"] == 80
    (held,) = small.client.get(f"{FILES}/{file['id']}/shares", headers=owner.headers).json()
    assert held["access_count"] == 2  # the copy that was refused is no access


def test_the_use_of_space_is_told_by_type(small: House) -> None:
    who = small.person()
    nothing = dict.fromkeys(("images", "videos", "audio", "documents", "archives", "others", "texts", "fcs"), 0)
    assert used(small, who) == {"used": 0, "total": 100, "percentage": 0.0, "by_type": nothing}
    heads = {"images": b"GIF89a", "videos": b"\x1aE\xdf\xa3", "audio": b"ID3", "documents": b"words", "others": b"\0"}
    files = {name: put(small, who, head) for name, head in {**heads, "archives": b"PK\3\4"}.items()}
    expected = {name: file["size_bytes"] for name, file in files.items()}
    for path in ("/storage", "/storage-info"):
        found = used(small, who, path)
        assert found == {"used": 23, "total": 100, "percentage": 23.0, "by_type": {**nothing, **expected}}
        refusal(small.client.get(FILES + path, headers=NOBODY), 401, "UNAUTHORIZED")
        refusal(small.client.get(FILES + path, headers=small.person("guest").headers), 403, "FORBIDDEN")
        refusal(small.client.get(f"{FILES}{path}?owner_id=1", headers=who.headers), 400, "VALIDATION_ERROR")
    renamed = {"name": "a.zip"}
    made(ask(small, "rename", "POST", files["images"]["id"], who.headers, body=renamed), 200)
    assert used(small, who)["by_type"] == {**nothing, **expected}  # a name says nothing of the bytes
    ask(small, "delete many", "POST", 0, who.headers, body={"ids": [file["id"] for file in files.values()]})
    assert used(small, who)["used"] == 0


def test_files_are_deleted_together_or_not_at_all(house: House, people: Cast) -> None:
    owner, other = people["owner"], people["other"]
    ids = [put(house, owner)["id"] for _ in range(3)]
    theirs, lent = (put(house, other)["id"] for _ in range(2))
    share(house, other, f"files/{lent}", user_id=owner.id, permission="edit")
    for missing in (theirs, lent, NONE_SUCH):
        answer = ask(house, "delete many", "POST", 0, owner.headers, body={"ids": [*ids, missing]})
        detail = refusal(answer, 404, "NOT_FOUND")["detail"]
        assert str(missing) in detail
        assert not any(str(file_id) in detail for file_id in ids)
    assert [len(kept(house, file_id)) for file_id in (*ids, theirs, lent)] == [1] * 5
    answer = ask(house, "delete many", "PUT", 0, owner.headers, body={"ids": [*ids, ids[0]]})
    assert (answer.status_code, answer.json()) == (200, {"deleted_count": 3})
    assert [kept(house, file_id) for file_id in ids] == [[]] * 3


def test_who_has_a_file_through_a_share_may_not_do_what_its_owner_may(house: House, people: Cast) -> None:
    owner, reader, editor = people["owner"], house.person(), house.person()
    file = put(house, owner, folder_id=folder(house, owner, "lent")["id"])
    share(house, owner, f"files/{file['id']}", user_id=reader.id)
    share(house, owner, f"files/{file['id']}", user_id=editor.id, permission="edit")
    before = kept(house, file["id"])
    for who, access in ((reader, "read"), (editor, "edit")):
        shown = made(ask(house, "show", "GET", file["id"], who.headers), 200)
        assert (shown["access"], shown["folder_id"], shown["is_favorite"]) == (access, None, False)
        refused = ["move", "favorite", "change", "delete", *(["rename"] if who is reader else [])]
        for what in refused:
            method = CALLS[what].methods.split()[-1]
            assert refusal(ask(house, what, method, file["id"], who.headers), 403, "FORBIDDEN")["access"] == access
        body = {"favorite": True}
        refusal(ask(house, "favorite", "POST", file["id"], who.headers, body=body), 403, "FORBIDDEN")
    assert kept(house, file["id"]) == before
    answer = ask(house, "rename", "POST", file["id"], editor.headers, body={"name": "corrected"})
    assert (made(answer, 200)["name"], made(answer, 200)["folder_id"]) == ("corrected", None)
    assert made(ask(house, "show", "GET", file["id"], owner.headers), 200)["folder_id"] == file["folder_id"]


TRACES = """
    SELECT
        (SELECT count(*) FROM files WHERE id = ?1) AS files,
        (SELECT count(*) FROM file_shares WHERE file_id = ?1) AS shares,
        (SELECT count(*) FROM file_accesses WHERE file_id = ?1) AS accesses
"""


@pytest.mark.parametrize("what", ["file", "folder above", "account"])
def test_what_is_deleted_takes_its_rows_along_and_leaves_the_bytes(house: House, people: Cast, what: str) -> None:
    """The bytes go later, when nobody else has them."""
    owner, reader = house.person(), people["other"]
    above = folder(house, owner, "above")["id"]
    file = put(house, owner, os.urandom(50), folder_id=folder(house, owner, "inside", above)["id"])
    beside = put(house, owner, b"stays")["id"]
    share(house, owner, f"files/{file['id']}", user_id=reader.id)
    share(house, owner, f"files/{file['id']}", team_id=team(house, owner))
    link = share(house, owner, f"files/{file['id']}", link=True)["link"]
    assert ask(house, "download", "GET", file["id"], reader.headers).status_code == 200
    assert house.rows(TRACES, file["id"]) == [{"files": 1, "shares": 3, "accesses": 1}]
    path = {"file": f"{FILES}/{file['id']}", "folder above": f"{FOLDERS}/{above}", "account": f"{API}/users/{owner.id}"}
    assert house.client.delete(path[what]).status_code == 204
    assert house.rows(TRACES, file["id"]) == [{"files": 0, "shares": 0, "accesses": 0}]
    assert len(kept(house, beside)) == (what != "account")
    refusal(ask(house, "show", "GET", file["id"], reader.headers), 404, "NOT_FOUND")
    refusal(house.client.get(f"{FILES}/shared/{link}", headers=NOBODY), 404, "NOT_FOUND")
    left = house.rows("SELECT sum(used_bytes) AS bytes FROM storage_use WHERE owner_id = ?", owner.id)
    assert left == [{"bytes": None if what == "account" else 5}]
    assert file["sha256"] in blobs(house.config.data_dir)


@pytest.mark.slow
def test_bytes_that_no_file_names_any_more_are_swept_at_the_next_start(tmp_path: Path) -> None:
    config = configured(tmp_path / "data")
    with TestClient(create_app(config), client=("127.0.0.1", 50000)) as client:
        client.headers["Authorization"] = token = f"Token {claim(client)}"
        files = [
            made(client.put(f"{FILES}/content?name=a", content=content))
            for content in (b"copied", b"deleted", b"young", b"kept")
        ]
        made(client.post(f"{FILES}/{files[0]['id']}/copy"), 200)
        assert client.post(f"{FILES}/batch-delete", json={"ids": [file["id"] for file in files[:3]]}).status_code == 200
        assert len(blobs(config.data_dir)) == 4
    for path in (config.data_dir / "blobs").rglob("*"):
        if path.is_file() and path.read_bytes() != b"young":
            os.utime(path, (0, 0))
    with TestClient(create_app(config), headers={"Authorization": token}) as client:
        left = sorted(file["sha256"] for file in files if file is not files[1])
        until(lambda: blobs(config.data_dir) == left, "the bytes are swept")
        (copy, other) = client.get(FILES).json()
        assert client.get(f"{FILES}/{copy['id']}/download").content == b"copied"
        assert client.get(f"{FILES}/{other['id']}/download").content == b"kept"
