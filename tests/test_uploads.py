"""Uploads over HTTP: what limits them, what interrupts them, and that nothing is left of one that was refused."""

import asyncio
import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.web import uploads
from tests.accounts import Person
from tests.house import House
from tests.office import DOCUMENTS, FILES, document, folder, form, listed, made, put, share
from tests.support import claim, configured, refusal, until

MOST, QUOTA = 1000, 2500
WAIT_S = 20
HEAD = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
FORM = {"content-type": "multipart/form-data; boundary=cut"}


@contextmanager
def housed(folder: Path, **settings: str) -> Iterator[House]:
    """A house with settings of its own."""
    config = configured(folder / "data", **settings)
    app = create_app(config)
    with TestClient(app, client=("127.0.0.1", 50000)) as client:
        client.headers["Authorization"] = f"Token {claim(client)}"
        yield House(client, app, config)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house where a file has at most MOST bytes, and an account keeps at most QUOTA."""
    folder = tmp_path_factory.mktemp("narrow")
    with housed(folder, MAX_UPLOAD_BYTES=str(MOST), USER_QUOTA_BYTES=str(QUOTA)) as house:
        yield house


class Slow:
    """A call past every client, whose body comes when the test says so; `length` None: of a length that is not told."""

    def __init__(
        self,
        house: House,
        headers: dict[str, str],
        path: str = f"{FILES}/content",
        *,
        length: int | None = None,
        query: str = "name=slow.txt",
        method: str = "PUT",
    ) -> None:
        assert house.client.portal is not None
        self._house, self._portal = house, house.client.portal
        size = {"transfer-encoding": "chunked"} if length is None else {"content-length": str(length)}
        given = [(name.lower().encode(), text.encode()) for name, text in (headers | size).items()]
        scope = {"type": "http", "http_version": "1.1", "scheme": "http", "server": ("testserver", 80)}
        scope |= {"client": ("127.0.0.1", 50000), "method": method, "path": path, "root_path": ""}
        self._scope: dict[str, Any] = scope | {"query_string": query.encode(), "headers": given}
        self._messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._asks = threading.Semaphore(0)
        self._sent: list[Any] = []
        self.asked = 0
        self._ended = self._portal.start_task_soon(self._run)

    async def _run(self) -> None:
        await self._house.app(self._scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        self.asked += 1
        self._asks.release()
        return await self._messages.get()

    async def _send(self, message: Any) -> None:
        self._sent.append(message)

    def hungry(self) -> "Slow":
        """Returns when the next piece of the body is waited for."""
        assert self._asks.acquire(timeout=WAIT_S), self._sent
        return self

    def _give(self, message: dict[str, Any]) -> None:
        self._portal.call(self._messages.put_nowait, message)

    def send(self, piece: bytes) -> "Slow":
        self._give({"type": "http.request", "body": piece, "more_body": True})
        return self

    def leave(self) -> None:
        """Goes away; returns when the service is done with the call."""
        self._give({"type": "http.disconnect"})
        self._ended.result(WAIT_S)
        assert self._sent == []

    def end(self, piece: bytes = b"") -> httpx2.Response:
        """The answer to what was sent, and this."""
        self._give({"type": "http.request", "body": piece, "more_body": False})
        return self.answer()

    def answer(self) -> httpx2.Response:
        """The answer, of which the body may not have been read to its end."""
        self._ended.result(WAIT_S)
        content = b"".join(message["body"] for message in self._sent[1:])
        return httpx2.Response(self._sent[0]["status"], headers=self._sent[0]["headers"], content=content)


def form_of(house: House, headers: dict[str, str], begun: bytes = b"", *, length: int | None = None) -> Slow:
    """A form that begins so, and goes on when the test says so."""
    slow = Slow(house, headers | FORM, FILES, length=length, query="", method="POST")
    return slow.hungry().send(begun) if begun else slow


def files_of(house: House, who: Person) -> int:
    return len(house.rows("SELECT id FROM files WHERE owner_id = ?", who.id))


def used(house: House, who: Person) -> int:
    return int(made(house.client.get(f"{FILES}/storage", headers=who.headers), 200)["used"])


def no_trace(house: House) -> None:
    """No upload is on its way, neither in the database nor on the disk."""
    until(lambda: house.rows("SELECT id FROM file_uploads") == [], "an upload is given up")
    assert [*(house.config.data_dir / "blobs" / "incoming").iterdir()] == []


def blobs(house: House, content: bytes) -> list[Path]:
    return [*(house.config.data_dir / "blobs").glob(f"??/??/{hashlib.sha256(content).hexdigest()}")]


Sends = Callable[[House, Person, bytes], httpx2.Response]


def raw(house: House, who: Person, content: bytes) -> httpx2.Response:
    return house.client.put(f"{FILES}/content?name=a.txt", content=content, headers=who.headers)


def chunked(house: House, who: Person, content: bytes) -> httpx2.Response:
    pieces = [content[at : at + 100] for at in range(0, len(content), 100)]
    return house.client.put(f"{FILES}/content?name=a.txt", content=iter(pieces), headers=who.headers)


def formed(house: House, who: Person, content: bytes) -> httpx2.Response:
    return form(house, who, content, "a.txt")


def formed_elsewhere(house: House, who: Person, content: bytes) -> httpx2.Response:
    return house.client.post(f"{FILES}/upload", files={"file": ("a.txt", content)}, headers=who.headers)


WAYS = pytest.mark.parametrize("send", [raw, chunked, formed, formed_elsewhere], ids=lambda way: way.__name__)


@WAYS
def test_a_file_as_long_as_may_be_is_taken_and_one_byte_more_is_not(narrow: House, send: Sends) -> None:
    anna = narrow.person()
    document = refusal(send(narrow, anna, b"x" * (MOST + 1)), 413, "PAYLOAD_TOO_LARGE")
    assert document["limit_bytes"] == MOST
    no_trace(narrow)
    assert (files_of(narrow, anna), blobs(narrow, b"x" * (MOST + 1))) == (0, [])
    assert made(send(narrow, anna, b"x" * MOST))["size_bytes"] == MOST


@WAYS
def test_a_quota_is_filled_to_its_last_byte_and_no_further(narrow: House, send: Sends) -> None:
    anna = narrow.person()
    for _ in range(2):
        made(send(narrow, anna, b"x" * MOST))
    document = refusal(send(narrow, anna, b"y" * 501), 507, "INSUFFICIENT_STORAGE")
    assert [document[name] for name in ("needed_bytes", "free_bytes", "quota_bytes")] == [501, 500, QUOTA]
    no_trace(narrow)
    assert (files_of(narrow, anna), blobs(narrow, b"y" * 501)) == (2, [])
    made(send(narrow, anna, b"y" * 500))
    assert used(narrow, anna) == QUOTA


def test_what_is_declared_too_long_is_refused_before_it_is_read(narrow: House) -> None:
    anna = narrow.person()
    slow = Slow(narrow, anna.headers, length=MOST + 1)
    assert refusal(slow.answer(), 413, "PAYLOAD_TOO_LARGE")["limit_bytes"] == MOST
    assert slow.asked == 0
    for _ in range(2):
        put(narrow, anna, b"x" * MOST)
    slow = Slow(narrow, anna.headers, length=MOST)
    document = refusal(slow.answer(), 507, "INSUFFICIENT_STORAGE")
    assert [document[name] for name in ("needed_bytes", "free_bytes", "quota_bytes")] == [MOST, 500, QUOTA]
    assert slow.asked == 0
    slow = form_of(narrow, anna.headers, HEAD, length=uploads.BESIDE_LIMIT_BYTES + MOST + 1)
    refusal(slow.answer(), 413, "PAYLOAD_TOO_LARGE")
    assert slow.asked == 1
    no_trace(narrow)
    put(narrow, anna, b"later")


@pytest.mark.parametrize("more", [0, 1, 10**18, 10**40])
def test_no_declared_length_is_too_long_for_a_number(narrow: House, more: int) -> None:
    """One that no number of 64 bits holds counts as not declared; the body is refused while it is read."""
    anna = narrow.person()
    slow = Slow(narrow, anna.headers, length=MOST + 1 + more)
    if more >= 10**18:
        slow.hungry().send(b"x" * (MOST + 1))
    assert refusal(slow.answer(), 413, "PAYLOAD_TOO_LARGE")["limit_bytes"] == MOST
    no_trace(narrow)


@pytest.mark.parametrize(("kept", "status"), [(0, 413), (2, 507)])
def test_what_goes_on_and_on_is_refused_while_it_is_read(narrow: House, kept: int, status: int) -> None:
    anna = narrow.person()
    for _ in range(kept):
        put(narrow, anna, b"x" * MOST)
    slow = Slow(narrow, anna.headers)
    for _ in range(2):
        slow.hungry().send(b"x" * 250)
    refusal(slow.hungry().send(b"y" * (1 if kept else 501)).answer(), status)
    assert slow.asked == 3
    no_trace(narrow)
    assert files_of(narrow, anna) == kept
    put(narrow, anna, b"later")


def test_uploads_side_by_side_never_exceed_the_quota_together(narrow: House) -> None:
    """However their ends follow each other: none of them knows at its beginning what the others will be."""
    anna = narrow.person()
    running = [Slow(narrow, anna.headers).hungry().send(bytes([at]) * 999) for at in range(6)]
    for slow in running:
        slow.hungry()
    answers = [slow.end(b"!") for slow in running]
    assert [answer.status_code for answer in answers] == [201, 201, 507, 507, 507, 507]
    assert refusal(answers[2], 507)["free_bytes"] == 500
    assert used(narrow, anna) == 2 * MOST
    no_trace(narrow)


def test_what_was_announced_is_reserved_until_its_upload_ends(narrow: House) -> None:
    anna = narrow.person()
    first, second = (Slow(narrow, anna.headers, length=MOST).hungry() for _ in range(2))
    document = refusal(raw(narrow, anna, b"z" * 501), 507, "INSUFFICIENT_STORAGE")
    assert (document["needed_bytes"], document["free_bytes"]) == (501, 500)
    refusal(formed(narrow, anna, b"z" * 501), 507, "INSUFFICIENT_STORAGE")
    refusal(Slow(narrow, anna.headers).hungry().send(b"z" * 501).answer(), 507, "INSUFFICIENT_STORAGE")
    given = {"title": "Long", "content": "z" * 501}
    refusal(narrow.client.post(DOCUMENTS, json=given, headers=anna.headers), 507, "INSUFFICIENT_STORAGE")
    first.leave()
    until(lambda: len(narrow.rows("SELECT id FROM file_uploads")) == 1)
    made(raw(narrow, anna, b"z" * MOST))
    made(second.end(b"x" * MOST))
    no_trace(narrow)


def test_a_body_shorter_or_longer_than_announced_counts_as_what_came(narrow: House) -> None:
    anna = narrow.person()
    assert made(Slow(narrow, anna.headers, length=900).hungry().end(b"x" * 3))["size_bytes"] == 3
    assert used(narrow, anna) == 3
    assert made(Slow(narrow, anna.headers, length=1).hungry().end(b"y" * MOST))["size_bytes"] == MOST
    refusal(Slow(narrow, anna.headers, length=1).hungry().send(b"y" * (MOST + 1)).answer(), 413)
    assert used(narrow, anna) == MOST + 3
    no_trace(narrow)


def test_what_was_not_announced_finds_no_room_where_something_else_came_first(narrow: House) -> None:
    anna = narrow.person()
    slow = Slow(narrow, anna.headers).hungry().send(b"x" * 500)
    for _ in range(2):
        put(narrow, anna, b"y" * MOST)
    document(narrow, anna, content="z")
    refused = refusal(slow.hungry().end(), 507, "INSUFFICIENT_STORAGE")
    assert [refused[name] for name in ("needed_bytes", "free_bytes", "quota_bytes")] == [500, 499, QUOTA]
    assert (files_of(narrow, anna), used(narrow, anna)) == (2, 2 * MOST + 1)
    no_trace(narrow)


def test_copies_and_documents_count_in_the_quota(narrow: House) -> None:
    anna = narrow.person()
    file = put(narrow, anna, b"x" * MOST)
    path = f"{FILES}/{file['id']}/copy"
    made(narrow.client.post(path, json={}, headers=anna.headers), 200)
    document(narrow, anna, content="é" * 200)
    for answer, needed in (
        (narrow.client.post(path, json={}, headers=anna.headers), MOST),
        (raw(narrow, anna, b"y" * 101), 101),
        (narrow.client.post(DOCUMENTS, json={"title": "T", "content": "é" * 51}, headers=anna.headers), 102),
    ):
        refused = refusal(answer, 507, "INSUFFICIENT_STORAGE")
        assert [refused[name] for name in ("needed_bytes", "free_bytes", "quota_bytes")] == [needed, 100, QUOTA]
    assert (files_of(narrow, anna), used(narrow, anna)) == (2, QUOTA - 100)
    made(raw(narrow, anna, b"y" * 100))


def test_a_copy_of_what_others_share_counts_for_who_makes_it(narrow: House) -> None:
    anna, otto = narrow.person(), narrow.person()
    file = put(narrow, anna, b"x" * MOST)
    share(narrow, anna, f"files/{file['id']}", user_id=otto.id, max_access_count=3)
    path = f"{FILES}/{file['id']}/copy"
    for _ in range(2):
        made(narrow.client.post(path, json={}, headers=otto.headers), 200)
    refusal(narrow.client.post(path, json={}, headers=otto.headers), 507, "INSUFFICIENT_STORAGE")
    assert (used(narrow, anna), used(narrow, otto)) == (MOST, 2 * MOST)
    shares = narrow.client.get(f"{FILES}/{file['id']}/shares", headers=anna.headers).json()
    assert [one["access_count"] for one in shares] == [2], "a copy that was refused has used nothing up"


def test_without_a_quota_nothing_but_emptiness_is_kept(tmp_path: Path) -> None:
    with housed(tmp_path, USER_QUOTA_BYTES="0") as house:
        anna = house.person()
        for send in (raw, chunked, formed):
            refused = refusal(send(house, anna, b"x"), 507, "INSUFFICIENT_STORAGE")
            assert [refused[name] for name in ("needed_bytes", "free_bytes", "quota_bytes")] == [1, 0, 0]
        no_trace(house)
        assert made(raw(house, anna, b""))["size_bytes"] == 0
        storage = made(house.client.get(f"{FILES}/storage", headers=anna.headers), 200)
        assert (storage["used"], storage["total"], storage["percentage"]) == (0, 0, 100.0)


def test_a_disk_that_shall_stay_free_takes_nothing(tmp_path: Path) -> None:
    with housed(tmp_path, MIN_FREE_BYTES=str(10**17)) as house:
        anna = house.person()
        for send in (raw, chunked, formed):
            refused = refusal(send(house, anna, b"xyz"), 507, "INSUFFICIENT_STORAGE")
            assert (refused["free_bytes"], "quota_bytes" in refused) == (0, False)
        slow = Slow(house, anna.headers, length=3)
        assert refusal(slow.answer(), 507, "INSUFFICIENT_STORAGE")["needed_bytes"] == 3
        assert (slow.asked, files_of(house, anna), blobs(house, b"xyz")) == (0, 0, [])
        no_trace(house)


def test_sixteen_uploads_of_one_account_are_on_their_way_and_no_more(house: House) -> None:
    anna, otto = house.person(), house.person()
    running = [Slow(house, anna.headers).hungry() for _ in range(16)]
    slow = Slow(house, anna.headers)
    answer = slow.answer()
    refusal(answer, 429, "TOO_MANY_REQUESTS")
    assert (int(answer.headers["retry-after"]) > 0, slow.asked) == (True, 0)
    refusal(formed(house, anna, b"x"), 429, "TOO_MANY_REQUESTS")
    refusal(Slow(house, house.token(anna)).answer(), 429, "TOO_MANY_REQUESTS")
    put(house, otto)
    running.pop().leave()
    until(lambda: len(house.rows("SELECT id FROM file_uploads")) == 15)
    put(house, anna)
    for slow in running:
        made(slow.end(b"done"))
    assert files_of(house, anna) == 16
    no_trace(house)


def test_a_folder_of_another_is_not_there_before_a_byte_is_read(house: House) -> None:
    anna, otto = house.person(), house.person()
    for folder_id in (folder(house, otto)["id"], 10**17):
        slow = Slow(house, anna.headers, query=f"name=a&folder_id={folder_id}")
        refusal(slow.answer(), 404, "NOT_FOUND")
        field = b'--cut\r\nContent-Disposition: form-data; name="folder_id"\r\n\r\n%d\r\n' % folder_id
        early = form_of(house, anna.headers, field + HEAD)
        refusal(early.answer(), 404, "NOT_FOUND")
        assert (slow.asked, early.asked) == (0, 1)
        late = form_of(house, anna.headers, HEAD)
        refusal(late.end(b"late\r\n" + field + b"--cut--"), 404, "NOT_FOUND")
    assert (files_of(house, anna), files_of(house, otto)) == (0, 0)
    no_trace(house)


def test_the_same_bytes_are_one_blob_however_often_and_by_whomever_they_are_uploaded(house: House) -> None:
    anna, otto = house.person(), house.person()
    content = b"the same bytes\n"
    first, second = put(house, anna, content, "a.txt"), put(house, anna, content, "b.txt")
    third = made(form(house, otto, content, "c.txt"))
    assert len({file["id"] for file in (first, second, third)}) == 3
    assert len(blobs(house, content)) == 1
    for file in (first, second):
        assert house.client.delete(f"{FILES}/{file['id']}", headers=anna.headers).status_code == 204
    answer = house.client.get(f"{FILES}/{third['id']}/download", headers=otto.headers)
    assert (answer.status_code, answer.content) == (200, content)


def test_nobody_is_told_that_another_has_the_same_bytes(house: House) -> None:
    """Neither by the answer, nor by the quota, nor by asking for a hash."""
    anna, otto = house.person(), house.person()
    content = b"known to one\n"
    file = put(house, anna, content, "secret.txt")
    known, unknown = raw(house, otto, content), raw(house, otto, b"known to none\n")
    own = {"id", "sha256", "size_bytes", "created_at", "updated_at"}
    assert {name: value for name, value in known.json().items() if name not in own} == {
        name: value for name, value in unknown.json().items() if name not in own
    }
    assert known.headers.keys() == unknown.headers.keys()
    assert used(house, otto) == len(content) + len(b"known to none\n")
    for answer in (
        house.client.get(f"{FILES}?sha256={file['sha256']}", headers=otto.headers),
        house.client.put(f"{FILES}/content?name=a&sha256={file['sha256']}", content=b"", headers=otto.headers),
    ):
        refusal(answer, 400, "VALIDATION_ERROR")
    tag = {"If-None-Match": f'"{file["sha256"]}"', "Range": "bytes=1-"}
    refusal(house.client.get(f"{FILES}/{file['id']}/download", headers=otto.headers | tag), 404, "NOT_FOUND")
    refusal(house.client.post(f"{FILES}/{file['id']}/copy", json={}, headers=otto.headers), 404, "NOT_FOUND")
    assert listed(house, otto, "files", q="secret") == []


CONTENT = bytes(range(256)) * 4
RANGES: list[tuple[str, int, bytes, str | None]] = [
    ("bytes=0-", 206, CONTENT, "bytes 0-1023/1024"),
    ("bytes=0-0", 206, b"\0", "bytes 0-0/1024"),
    ("bytes=1000-", 206, CONTENT[1000:], "bytes 1000-1023/1024"),
    ("bytes=1000-999999", 206, CONTENT[1000:], "bytes 1000-1023/1024"),
    ("bytes=-24", 206, CONTENT[1000:], "bytes 1000-1023/1024"),
    ("bytes=-99999", 206, CONTENT, "bytes 0-1023/1024"),
    ("bytes=9-3", 200, CONTENT, None),
    ("bytes=0-1,5-6", 200, CONTENT, None),
    ("pages=1-2", 200, CONTENT, None),
]


@pytest.mark.parametrize(("wanted", "status", "part", "told"), RANGES, ids=[case[0] for case in RANGES])
def test_a_download_is_resumed_where_it_broke_off(
    house: House, wanted: str, status: int, part: bytes, told: str | None
) -> None:
    anna = house.person()
    file = put(house, anna, CONTENT, "a.bin")
    path, tag = f"{FILES}/{file['id']}/download", f'"{file["sha256"]}"'
    for more in ({}, {"If-Range": tag}):
        answer = house.client.get(path, headers=anna.headers | {"Range": wanted} | more)
        assert (answer.status_code, answer.content, answer.headers.get("content-range")) == (status, part, told)
        assert (answer.headers["etag"], answer.headers["accept-ranges"]) == (tag, "bytes")
        assert answer.headers["content-length"] == str(len(part))
    for other in ('"another"', f"W/{tag}", file["updated_at"]):
        answer = house.client.get(path, headers=anna.headers | {"Range": wanted, "If-Range": other})
        assert (answer.status_code, answer.content) == (200, CONTENT)


@pytest.mark.parametrize("wanted", ["bytes=1024-", "bytes=99999-100000", "bytes=-0"])
def test_what_lies_behind_the_end_is_refused_with_the_size(house: House, wanted: str) -> None:
    anna = house.person()
    file = put(house, anna, CONTENT, "a.bin")
    path = f"{FILES}/{file['id']}/download"
    answer = house.client.get(path, headers=anna.headers | {"Range": wanted})
    assert refusal(answer, 416, "RANGE_NOT_SATISFIABLE")["size_bytes"] == 1024
    assert answer.headers["content-range"] == "bytes */1024"
    other = house.client.get(path, headers=anna.headers | {"Range": wanted, "If-Range": '"another"'})
    assert (other.status_code, other.content) == (200, CONTENT)


def test_what_is_refused_after_its_last_byte_is_kept_nowhere(house: House) -> None:
    """Nobody's quota counts it: an hour of such uploads would fill the disk."""
    anna, ben = house.person(), house.person()
    named, unnamed = b"somebody's already", b"nobody's"
    put(house, ben, named)
    for content in (named, unnamed):
        late = HEAD + content + b'\r\n--cut\r\nContent-Disposition: form-data; name="odd"\r\n\r\n1\r\n--cut--\r\n'
        answer = house.client.post(FILES, content=late, headers=anna.headers | FORM)
        assert refusal(answer, 400)["errors"][0]["field"] == "/odd"
    until(lambda: not blobs(house, unnamed), "the bytes are gone")
    assert len(blobs(house, named)) == 1
    assert files_of(house, anna) == 0
