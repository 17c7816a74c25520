"""Links to files: secrets that whoever has them may use, told once, kept nowhere, and good for one file alone."""

import logging
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.config import Config
from app.main import create_app, mounted
from app.values import instant, new_secret, new_token
from tests.accounts import Person, bearer, make_group, make_person
from tests.house import ME, NOBODY, House, opened
from tests.office import FILES, FOLDERS, folder, made, put, share
from tests.support import Clock, Service, ask, claim, configured, refusal
from tests.test_limits_http import STRANGERS, limited
from tests.test_roles import at_once

SHARED, USERS, AUDIT = f"{FILES}/shared", "/api/v1/users", "/api/v1/audit"
HOUR_S = 3600
CONTENT = b"0123456789"
File = dict[str, Any]
Headers = dict[str, str]


@pytest.fixture(scope="module")
def anna(house: House) -> Person:
    """Whose files they are."""
    return house.person()


@pytest.fixture(scope="module")
def bert(house: House) -> Person:
    return house.person()


def linked(house: House, owner: Person, file: File, **more: object) -> str:
    """The secret of a new link."""
    return str(share(house, owner, f"files/{file['id']}", link=True, **more)["link"])


def opens(house: House, link: str, method: str = "GET", **headers: str) -> httpx2.Response:
    """The answer to whoever has a link and no credential; `headers` are written as names, `if_none_match`."""
    given = {name.replace("_", "-"): text for name, text in headers.items()}
    return house.client.request(method, f"{SHARED}/{link}", headers={**NOBODY, **given})


def from_address(house: House, link: str, host: str, *headers: tuple[bytes, bytes]) -> httpx2.Response:
    return ask(house.client, "GET", f"{SHARED}/{link}", headers=[(b"authorization", b""), *headers], host=host)


def used(house: House, owner: Person, file: File) -> list[int]:
    answer = house.client.get(f"{FILES}/{file['id']}/shares", headers=owner.headers)
    return [one["access_count"] for one in answer.json()]


def log(house: House, owner: Person, file: File) -> list[dict[str, Any]]:
    return list(house.client.get(f"{FILES}/{file['id']}/access-logs", headers=owner.headers).json())


def where(folder_: Path, *secrets: str) -> list[str]:
    """The files below a folder in whose names or bytes one of these stands."""
    paths = [path for path in folder_.rglob("*") if path.is_file()]
    return [
        str(path.relative_to(folder_))
        for path in paths
        for secret in secrets
        if secret in str(path) or secret.encode() in path.read_bytes()
    ]


def test_a_link_is_told_once(house: House, anna: Person) -> None:
    file = put(house, anna, CONTENT)
    told = share(house, anna, f"files/{file['id']}", link=True, max_access_count=9)
    link = told["link"]
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", link)
    assert told == {
        **{"id": told["id"], "user_id": None, "username": None, "team_id": None, "team_name": None, "is_link": True},
        **{"permission": "read", "expires_at": None, "max_access_count": 9, "access_count": 0},
        **{"created_by": anna.id, "created_at": told["created_at"], "link": link, "url": f"{SHARED}/{link}"},
    }
    other = linked(house, anna, file)
    assert other != link
    answer = house.client.get(f"{FILES}/{file['id']}/shares", headers=anna.headers)
    assert answer.json()[0] == {name: told[name] for name in told if name not in ("link", "url")}
    assert [row["is_link"] for row in answer.json()] == [True, True]
    for path in (FILES, f"{FILES}/{file['id']}", f"{FILES}/{file['id']}/shares", f"{FILES}/{file['id']}/access-logs"):
        shown = house.client.get(path, headers=anna.headers).text
        assert all(secret not in shown for secret in (link, sha256(link.encode()).hexdigest(), other))


def wander(client: TestClient | httpx2.Client, link: str, *people: Headers) -> None:
    """All that is done with a link in good faith, by these people and others, who are signed in or not."""
    for headers in (NOBODY, *people, bearer("nobody's"), bearer(new_token())):
        for more in ({}, {"Range": "bytes=2-4"}, {"Range": "bytes=99-"}, {"If-None-Match": "*"}, {"If-Match": '"1"'}):
            for method in ("GET", "HEAD"):
                client.request(method, f"{SHARED}/{link}", headers={**headers, **more})
        for path in (f"{SHARED}/{link}/", f"{SHARED}/{link}?again=1", f"{SHARED}/{link[:-1]}"):
            client.get(path, headers=headers)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[House]:
    """A house for one test, whose files can be searched."""
    with opened(tmp_path) as house:
        yield house


def test_of_a_link_only_its_hash_is_kept(alone: House, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    anna, bert = alone.person(), alone.person()
    file = put(alone, anna, CONTENT)
    links = [linked(alone, anna, file), linked(alone, anna, file, max_access_count=1)]
    url = made(alone.client.get(f"{FILES}/{file['id']}/download-url", headers=anna.headers), 200)["url"]
    links.append(url.rpartition("/")[2])
    for link in links:
        wander(alone.client, link, anna.headers, bert.headers)
    assert alone.client.get(AUDIT).status_code == 200
    kept = {row["link_sha256"] for row in alone.rows("SELECT link_sha256 FROM file_shares")}
    assert kept == {sha256(link.encode()).hexdigest() for link in links}
    heard = alone.rows("SELECT path FROM audit WHERE route = ?", f"{SHARED}/{{link}}")
    assert len(heard) > 100
    assert where(alone.config.data_dir, *links) == []
    told = [record for record in caplog.records if not record.name.startswith("http")]
    assert [record for record in told for link in links if link in f"{record.getMessage()} {vars(record)}"] == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        *((method, "/api/v1/files/shared/{}", 405) for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS")),
        ("GET", "/api/v1/files/shared/{}/download", 404),
        ("GET", "/api/v1/files/shared//{}", 404),
        ("GET", "/files/shared/{}", 404),
    ],
)
def test_who_is_signed_in_and_goes_astray_with_a_link_leaves_none_in_the_trail(
    house: House, anna: Person, method: str, path: str, status: int
) -> None:
    link = linked(house, anna, put(house, anna, CONTENT))
    answer = house.client.request(method, path.format(link), headers=anna.headers)
    refusal(answer, status, "METHOD_NOT_ALLOWED" if status == 405 else "NOT_FOUND")
    assert status == 404 or answer.headers["allow"] == "GET, HEAD"
    assert house.client.get(AUDIT).status_code == 200
    (row,) = house.rows("SELECT * FROM audit WHERE request_id = ?", answer.headers["x-request-id"])
    assert (row["method"], row["status"]) == (method, status)
    assert link not in str(row)
    assert opens(house, link).content == CONTENT


@pytest.mark.slow
def test_a_process_that_tells_all_it_does_tells_no_link(service: Service) -> None:
    service.settings["DEBUG"] = "true"
    service.start()
    with service.client() as client:
        own = {"Authorization": f"Token {service.token}"}
        file = made(client.put(f"{FILES}/content?name=a", content=CONTENT))
        link = made(client.post(f"{FILES}/{file['id']}/share", json={"link": True}), 200)["link"]
        wander(client, link, own)
        assert client.get(f"{SHARED}/{link}", headers=NOBODY).content == CONTENT
    code, said = service.stop()
    assert (code, link in said, where(service.folder, link)) == (0, False, [])
    assert "Started server process" in said


def test_whoever_has_a_link_is_given_the_file_and_nothing_else_of_us(house: House, anna: Person) -> None:
    file = put(house, anna, b"<script>alert(1)</script>", "päge.html", folder_id=folder(house, anna)["id"])
    link = linked(house, anna, file)
    answer, head = opens(house, link), opens(house, link, "HEAD")
    assert (answer.status_code, answer.content) == (200, b"<script>alert(1)</script>")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "25")
    for name, text in {
        "etag": f'"{file["sha256"]}"',
        "content-disposition": "attachment; filename=\"p_ge.html\"; filename*=UTF-8''p%C3%A4ge.html",
        "content-security-policy": "sandbox; default-src 'none'",
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
        "accept-ranges": "bytes",
    }.items():
        assert (answer.headers[name], head.headers[name]) == (text, text)
    for name in ("set-cookie", "x-accepted-scopes", "x-token-expires", "access-control-allow-origin"):
        assert name not in answer.headers
    part = opens(house, link, range="bytes=1-6", if_range=f'"{file["sha256"]}"')
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"script", "bytes 1-6/25")
    beyond = refusal(opens(house, link, range="bytes=25-"), 416)
    assert beyond["size_bytes"] == 25
    refusal(opens(house, f"{link}?download=1"), 400, "VALIDATION_ERROR")


def test_a_link_is_counted_when_it_gives_bytes(house: House, anna: Person, clock: Clock) -> None:
    file = put(house, anna, CONTENT)
    share_id = share(house, anna, f"files/{file['id']}", link=True)["id"]
    link, tag = linked(house, anna, file), f'"{file["sha256"]}"'
    assert [opens(house, link, if_none_match=known).status_code for known in (tag, f"W/{tag}", "*")] == [304] * 3
    for headers in ({}, {"range": "bytes=1-"}):
        head = opens(house, link, "HEAD", **headers)
        assert (head.is_success, head.content) == (True, b"")
    assert used(house, anna, file) == [0, 0]
    assert opens(house, link, if_none_match='"x"').content == from_address(house, link, "192.0.2.9").content == CONTENT
    signed_in = house.client.get(f"{SHARED}/{link}", headers=anna.headers)
    assert (signed_in.content, used(house, anna, file)) == (CONTENT, [0, 3])
    rows = log(house, anna, file)
    assert [row["ip"] for row in rows] == ["127.0.0.1", "192.0.2.9", "127.0.0.1"]
    told = {(row["user_id"], row["username"], row["action"], row["at"], row["share_id"] > share_id) for row in rows}
    assert told == {(None, None, "download", instant(clock.at), True)}


def test_of_many_at_once_a_link_lets_in_just_as_many_as_it_may(house: House, anna: Person) -> None:
    file = put(house, anna, CONTENT)
    link = linked(house, anna, file, max_access_count=3)
    answers = at_once(*[lambda: opens(house, link)] * 8)
    assert [answer.content for answer in answers if answer.status_code == 200] == [CONTENT] * 3
    for answer in answers:
        assert answer.status_code == 200 or refusal(answer, 403, "FORBIDDEN")
    assert used(house, anna, file) == [3]
    assert len(log(house, anna, file)) == 3


def test_a_download_through_a_link_may_be_gone_on_with_from_the_same_place(
    house: House, anna: Person, clock: Clock
) -> None:
    anna = Person(anna.id, anna.username, {"access_token": house.token(anna)["Authorization"][6:]})
    file = put(house, anna, CONTENT)
    link = linked(house, anna, file, max_access_count=3)
    rest = (b"range", b"bytes=5-")
    for host, headers, later, count in (
        ("192.0.2.1", [rest], 0, 1),
        ("192.0.2.1", [rest], HOUR_S - 1, 1),
        ("192.0.2.2", [rest], 0, 2),
        ("192.0.2.1", [rest], 1, 3),
        ("192.0.2.1", [rest], 0, 3),
        ("192.0.2.2", [rest], 0, 3),
    ):
        clock.at += later
        answer = from_address(house, link, host, *headers)
        assert (answer.status_code, answer.content, used(house, anna, file)) == (206, b"56789", [count])
    for host, headers in (("192.0.2.1", []), ("192.0.2.1", [(b"range", b"bytes=0-")]), ("192.0.2.3", [rest])):
        refusal(from_address(house, link, host, *headers), 403, "FORBIDDEN")
    clock.at += HOUR_S
    refusal(from_address(house, link, "192.0.2.1", rest), 403, "FORBIDDEN")


@pytest.mark.parametrize("wanted", ["bytes=-10", "bytes=00-", "bytes=1-,0-", "bytes=x"])
def test_who_asks_for_the_whole_file_by_a_link_does_not_go_on_with_it(house: House, anna: Person, wanted: str) -> None:
    link = linked(house, anna, put(house, anna, CONTENT), max_access_count=1)
    assert opens(house, link).content == CONTENT
    refusal(opens(house, link, range=wanted), 403, "FORBIDDEN")


def test_a_link_is_not_used_up_by_a_part_that_the_file_has_not(house: House, anna: Person) -> None:
    link = linked(house, anna, put(house, anna, CONTENT), max_access_count=1)
    refusal(opens(house, link, range="bytes=10-"), 416)
    assert opens(house, link).content == CONTENT


def test_a_link_that_has_ended_says_so_and_one_that_is_none_does_not(house: House, anna: Person, clock: Clock) -> None:
    file = put(house, anna, CONTENT)
    expiring = linked(house, anna, file, expires_at=instant(clock.at + 60))
    spent, revoked = linked(house, anna, file, max_access_count=1), linked(house, anna, file)
    numbers = [one["id"] for one in house.client.get(f"{FILES}/{file['id']}/shares", headers=anna.headers).json()]
    gone = house.client.post(f"{FILES}/{file['id']}/revoke-share", json={"share_id": numbers[2]}, headers=anna.headers)
    assert gone.status_code == 200
    assert opens(house, spent).content == opens(house, expiring).content == CONTENT
    clock.at += 3601
    tag = f'"{file["sha256"]}"'
    for link, status, why in (
        (expiring, 403, "This link has expired."),
        (spent, 403, "This link has been used as often as it may."),
        (revoked, 404, "There is nothing behind this link."),
        (new_secret(), 404, "There is nothing behind this link."),
    ):
        for headers in ({}, {"if_none_match": tag}, {"if_none_match": "*"}, {"if_none_match": '"x"'}):
            assert refusal(opens(house, link, **headers), status)["detail"] == why
        head = opens(house, link, "HEAD")
        assert (head.status_code, head.content, "etag" in head.headers) == (status, b"", False)
    kept = house.rows("SELECT access_count FROM file_shares WHERE file_id = ?", file["id"])
    assert [row["access_count"] for row in kept] == [1, 1]


def test_a_link_that_has_ended_says_so_also_when_there_is_a_new_one(house: House, anna: Person) -> None:
    file = put(house, anna, CONTENT)
    link = linked(house, anna, file, max_access_count=1)
    assert opens(house, link).status_code == 200
    made(house.client.get(f"{FILES}/{file['id']}/download-url", headers=anna.headers), 200)
    refusal(opens(house, link), 403, "FORBIDDEN")


def suspend(house: House, owner: Person, file: File) -> None:
    assert house.client.patch(f"{USERS}/{owner.id}/status", json={"status": "suspended"}).status_code == 200


def delete_owner(house: House, owner: Person, file: File) -> None:
    assert house.client.delete(f"{USERS}/{owner.id}").status_code == 204


def delete_file(house: House, owner: Person, file: File) -> None:
    assert house.client.delete(f"{FILES}/{file['id']}", headers=owner.headers).status_code == 204


def delete_folder(house: House, owner: Person, file: File) -> None:
    assert house.client.delete(f"{FOLDERS}/{file['folder_id']}", headers=owner.headers).status_code == 204


@pytest.mark.parametrize("end", [suspend, delete_owner, delete_file, delete_folder])
def test_a_link_ends_with_the_file_and_its_owner(house: House, end: Callable[[House, Person, File], None]) -> None:
    """Also for who was in the middle of it."""
    owner = house.person()
    file = put(house, owner, CONTENT, folder_id=folder(house, owner)["id"])
    link = linked(house, owner, file)
    assert opens(house, link).status_code == 200
    assert opens(house, link, range="bytes=5-").content == CONTENT[5:]
    end(house, owner, file)
    refusal(opens(house, link), 404, "NOT_FOUND")
    refusal(opens(house, link, range="bytes=5-"), 404, "NOT_FOUND")
    refusal(house.client.get(f"{SHARED}/{link}"), 404, "NOT_FOUND")
    assert opens(house, link, "HEAD").status_code == 404
    if end is suspend:
        assert house.client.patch(f"{USERS}/{owner.id}/status", json={"status": "active"}).status_code == 200
        assert opens(house, link).content == CONTENT


def test_a_link_follows_its_file(house: House, anna: Person) -> None:
    file, place = put(house, anna, CONTENT), folder(house, anna, "elsewhere")["id"]
    link = linked(house, anna, file)
    renamed = {"name": "new.txt", "folder_id": place, "is_favorite": True}
    made(house.client.patch(f"{FILES}/{file['id']}", json=renamed, headers=anna.headers), 200)
    copy = made(house.client.post(f"{FILES}/{file['id']}/copy", json={}, headers=anna.headers), 200)
    answer = opens(house, link)
    assert (answer.content, "new.txt" in answer.headers["content-disposition"]) == (CONTENT, True)
    made(house.client.post(f"{FOLDERS}/{place}/rename", json={"name": "x"}, headers=anna.headers), 200)
    assert opens(house, link).content == CONTENT
    assert used(house, anna, copy) == []
    delete_file(house, anna, file)
    refusal(opens(house, link), 404, "NOT_FOUND")
    assert house.client.get(f"{FILES}/{copy['id']}/download", headers=anna.headers).content == CONTENT


def test_a_link_gives_reading_and_one_file(house: House, anna: Person, bert: Person) -> None:
    file, other = put(house, anna, CONTENT), put(house, anna, b"other")
    for wrong, field in (({"permission": "edit"}, "/permission"), ({"user_id": bert.id}, "/link")):
        answer = house.client.post(f"{FILES}/{file['id']}/share", json={"link": True, **wrong}, headers=anna.headers)
        assert refusal(answer, 400)["errors"][0]["field"] == field
    link = linked(house, anna, file)
    (row,) = house.rows("SELECT * FROM file_shares WHERE file_id = ?", file["id"])
    for headers in (bearer(link), {"Authorization": f"Token {link}"}):
        for path in (ME, FILES, f"{FILES}/{file['id']}", f"{FILES}/{file['id']}/download"):
            refusal(house.client.get(path, headers=headers), 401, "UNAUTHORIZED")
    for guess in (row["link_sha256"], file["sha256"], row["id"], file["id"], other["id"], link[:-1], f"{link}A"):
        refusal(opens(house, str(guess)), 404, "NOT_FOUND")
    for beyond in (f"{link}/download", f"{link}/../{other['id']}/download", f"..%2f{other['id']}%2fdownload"):
        assert opens(house, beyond).status_code in (401, 404)
    for action in ("", "/download", "/shares", "/access-logs"):
        refusal(house.client.get(f"{FILES}/{file['id']}{action}", headers=bert.headers), 404, "NOT_FOUND")
    assert used(house, anna, file) == [0]


def test_a_link_needs_no_credential_and_is_harmed_by_none(house: House, anna: Person) -> None:
    """A page of another tab or a program sends what it has; the link alone decides."""
    file = put(house, anna, CONTENT)
    link, gone, ended = linked(house, anna, file), house.person(), house.person("guest")
    suspend(house, gone, file)
    narrow = house.token(anna, "documents:read")
    credentials = [
        bearer("nobody's"),
        bearer(new_token()),
        {"Authorization": "Basic YTpi"},
        gone.headers,
        ended.headers,
    ]
    for headers in (*credentials, narrow, anna.headers):
        answer = house.client.get(f"{SHARED}/{link}", headers=headers)
        assert (answer.status_code, answer.content) == (200, CONTENT)
    assert {row["user_id"] for row in log(house, anna, file)} == {None}
    for headers in (*credentials, narrow):
        refusal(house.client.get(f"{SHARED}/{new_secret()}", headers=headers), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    ("public_url", "begins"),
    [("", ""), ("https://box.example/", "https://box.example"), ("http://b:81/purser", "http://b:81/purser")],
)
def test_the_address_of_a_link_is_that_of_the_settings_never_that_of_the_call(
    tmp_path: Path, public_url: str, begins: str
) -> None:
    config = configured(tmp_path / "data", PUBLIC_URL=public_url)
    app = create_app(config)
    with TestClient(app, client=("127.0.0.1", 50000)) as client:
        client.headers["Authorization"] = f"Token {claim(client)}"
        file = made(client.put(f"{FILES}/content?name=a", content=CONTENT))
        poison = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "evil"}
        told = client.post(f"{FILES}/{file['id']}/share", json={"link": True}, headers=poison).json()
        assert told["url"] == f"{begins}{SHARED}/{told['link']}"
        again = client.get(f"{FILES}/{file['id']}/download-url", headers=poison).json()
        assert again == {"url": begins + again["path"], "path": again["path"], "expires_in": HOUR_S}
        assert re.fullmatch(rf"{SHARED}/[A-Za-z0-9_-]{{43}}", again["path"])
        for path in (f"{SHARED}/{told['link']}", again["path"]):
            assert client.get(path, headers=NOBODY).content == CONTENT


def test_the_address_of_a_link_tells_where_the_application_is_mounted(config: Config) -> None:
    mount, ours = mounted(config, "/box")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> Any:
        async with AsyncExitStack() as stack:
            yield await stack.enter_async_context(ours)

    with TestClient(Starlette(routes=[mount], lifespan=lifespan), client=("127.0.0.1", 7)) as client:
        client.headers["Authorization"] = f"Token {client.post('/box/api/v1/tokens').json()['token']}"
        file = made(client.put(f"/box{FILES}/content?name=a", content=CONTENT))
        told = client.post(f"/box{FILES}/{file['id']}/share", json={"link": True}).json()
        again = client.get(f"/box{FILES}/{file['id']}/download-url").json()
        assert told["url"] == f"/box{SHARED}/{told['link']}"
        assert again["url"] == again["path"]
        for url in (told["url"], again["path"]):
            assert url.startswith(f"/box{SHARED}/")
            assert client.get(url).content == client.get(url, headers=NOBODY).content == CONTENT
        assert client.get(f"/box{AUDIT}").status_code == 200
    assert where(config.data_dir, told["link"], again["path"].rpartition("/")[2]) == []


def test_a_download_url_is_good_for_an_hour(house: House, anna: Person, clock: Clock) -> None:
    file, reads = put(house, anna, CONTENT), house.token(anna, "files:read")
    refused = refusal(house.client.get(f"{FILES}/{file['id']}/download-url", headers=reads), 403, "FORBIDDEN")
    assert refused["required"] == ["files:write"]  # it gives the file away
    told = made(house.client.get(f"{FILES}/{file['id']}/download-url", headers=anna.headers), 200)
    for later in (0, HOUR_S - 1):
        clock.at += later
        assert house.client.get(told["url"], headers=NOBODY).content == CONTENT
    clock.at += 1
    refusal(house.client.get(told["url"], headers=NOBODY), 403, "FORBIDDEN")
    refusal(house.client.get(told["url"], headers={**NOBODY, "Range": "bytes=5-"}), 403, "FORBIDDEN")
    (one,) = house.client.get(f"{FILES}/{file['id']}/shares", headers=reads).json()
    assert (one["is_link"], one["permission"], one["expires_at"]) == (True, "read", instant(clock.at))


def test_a_download_url_is_for_owners_and_who_reaches_them(house: House, anna: Person, bert: Person) -> None:
    number = make_group(house.client, "North", "00000001")
    owner, near, admin = (
        make_person(house.client, house.config, name, *roles, group_id=number)
        for name, roles in (("ina", ["user"]), ("ole", ["user"]), ("una", ["admin"]))
    )
    house.client.post(
        "/api/v1/roles", json={"name": "keeper", "permissions": [{"permission": "files:admin", "reach": "group"}]}
    )
    keeper = make_person(house.client, house.config, "kim", "user", "keeper", group_id=number)
    file, far = put(house, owner, CONTENT), put(house, anna, CONTENT)
    share(house, owner, f"files/{file['id']}", user_id=near.id, permission="edit")
    for who, what, status in (
        (owner, file, 200),
        (admin, file, 200),
        (keeper, file, 200),
        (near, file, 403),
        (bert, file, 404),
        (keeper, far, 404),
        (bert, far, 404),
        (house.person("guest"), far, 403),
    ):
        answer = house.client.get(f"{FILES}/{what['id']}/download-url", headers=who.headers)
        assert answer.status_code == status or refusal(answer, status)
    assert len(used(house, owner, file)) == 4
    assert used(house, anna, far) == []
    for path in (f"{FILES}/{10**17}/download-url", f"{FILES}/x/download-url"):
        refusal(house.client.get(path), 404, "NOT_FOUND")


def test_guessing_links_is_slowed_by_address(tmp_path: Path) -> None:
    """Bad credentials do not help; who is signed in is counted as ever."""
    with limited(tmp_path) as box:
        anna = box.newcomer()
        file = put(box, anna, CONTENT)
        link = linked(box, anna, file, max_access_count=5)
        guesses = [box.call(f"{SHARED}/{new_secret()}") for _ in range(STRANGERS)]
        assert [answer.status_code for answer in guesses] == [404] * STRANGERS
        for headers in ({}, bearer(new_token()), bearer("x")):
            refusal(box.call(f"{SHARED}/{link}", headers=headers), 429, "TOO_MANY_REQUESTS")
        assert int(box.call(f"{SHARED}/{link}").headers["retry-after"]) > 0
        assert box.call(f"{SHARED}/{link}", headers=anna.headers).status_code == 200
        assert box.call(f"{SHARED}/{link}", host="192.0.2.2").content == CONTENT
        box.later()
        assert box.call(f"{SHARED}/{link}").content == CONTENT
        assert used(box, anna, file) == [3]


HOSTILE = [
    "..",
    ".",
    "...",
    "%00",
    "%2F",
    "%2e%2e",
    "%2e%2e%2f%2e%2e%2fapp.db",
    "%5c",
    "%ff",
    "%ed%b2%80",
    "%0a",
    "%0d%0a",
]
HOSTILE += ["é", "%F0%9F%98%80", "%25", "'", "';--", "%27%20OR%201=1", "*", "%", "_" * 43, "-" * 43, "0" * 43, " ", "+"]
HOSTILE += ["a" * 60_000, "%C3%A9" * 10_000, "{link}", "null"]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:12])
def test_a_hostile_link_leads_nowhere(house: House, text: str) -> None:
    path = f"{SHARED}/{unquote(text)}"
    for method in ("HEAD", "GET"):
        answer = ask(house.client, method, path, headers=[(b"authorization", b"")])
        assert answer.status_code == 404
    refusal(answer, 404, "NOT_FOUND")


@pytest.mark.slow
def test_hostile_links_are_refused_by_the_real_server(service: Service) -> None:
    """Whose way of reading a path is its own."""
    service.start()
    address = httpx2.URL(service.url)
    for text in HOSTILE:
        target = quote(f"{SHARED}/{text}", safe="%/").encode()
        with socket.create_connection((address.host, address.port or 80), 30) as line:
            line.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % target)
            begun = line.makefile("rb").readline().split(b" ")
        assert int(begun[1]) in (400, 404, 414, 431), text[:50]
    code, said = service.stop()
    assert (code, "internal error" in said) == (0, False)
