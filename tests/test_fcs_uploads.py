"""Uploads of FCS files in chunks: what is taken and what is refused, what counts, what becomes of them in the end."""

import asyncio
import fcntl
import hashlib
import itertools
import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import IO, Any

import httpx2
import pytest
from starlette.testclient import TestClient

from app.blobs import Blobs, Limit
from app.db.sqlite import SqliteDatabase
from app.errors import TooLarge
from app.main import create_app
from app.values import instant, seconds
from app.web import uploads
from tests.accounts import Person
from tests.fcs_writer import fcs
from tests.house import House
from tests.office import API, DOCUMENTS, FILES, made, put
from tests.support import Clock, configured, refusal, until
from tests.test_no_space import CAN_MOUNT, Disk
from tests.test_upload_crash import HAPPENS
from tests.test_uploads import Slow, housed

FCS, UPLOADS = f"{API}/fcs", f"{API}/fcs/uploads"
MIB = 2**20
QUOTA, MOST = 40 * MIB, 64 * MIB
DAY_S = 24 * 3600
WAIT_S = 20
EVENTS = [[1.5, 2.5, -3.5], [4.0, 5.0, 6.0]]


_seeds = itertools.count()


def content_of(size: int) -> bytes:
    """An FCS file of exactly so many bytes, each time another; its events are few: statistics take no time."""
    begins = fcs(EVENTS, analysis=noise(size - 2000))
    return begins + noise(size - len(begins))


def noise(size: int) -> bytes:
    """Bytes that no other test has."""
    return Random(next(_seeds)).randbytes(size)


class Sent:
    """A file that is sent in chunks: its upload, and the calls of it."""

    def __init__(
        self,
        client: TestClient | httpx2.Client,
        headers: dict[str, str],
        content: bytes,
        chunk_size: int = MIB,
        **more: object,
    ) -> None:
        self.client, self.headers, self.content, self.chunk_size = client, headers, content, chunk_size
        given = {"filename": "a.fcs", "file_size": len(content), "chunk_size": chunk_size, **more}
        self.begun = made(client.post(UPLOADS, json=given, headers=headers))
        self.id, self.count = int(self.begun["id"]), int(self.begun["total_chunks"])
        self.path = f"{UPLOADS}/{self.id}"

    def chunk(self, number: int) -> bytes:
        return self.content[number * self.chunk_size : (number + 1) * self.chunk_size]

    def put(self, number: int, content: bytes | None = None) -> httpx2.Response:
        sent = self.chunk(number) if content is None else content
        return self.client.put(f"{self.path}/chunks/{number}", content=sent, headers=self.headers)

    def put_all(self, *but: int) -> "Sent":
        for number in range(self.count):
            if number not in but:
                made(self.put(number), 200)
        return self

    def shown(self) -> dict[str, Any]:
        return made(self.client.get(self.path, headers=self.headers), 200)

    def missing(self) -> list[int]:
        found: list[int] = self.shown()["missing"]
        return found

    def complete(self) -> httpx2.Response:
        return self.client.post(f"{self.path}/complete", headers=self.headers)

    def abort(self) -> httpx2.Response:
        return self.client.delete(self.path, headers=self.headers)

    def calls(self) -> list[httpx2.Response]:
        """What each route answers."""
        return [self.client.get(self.path, headers=self.headers), self.put(0), self.complete(), self.abort()]

    def downloaded(self) -> bytes:
        """The bytes of the file that it has become."""
        answer = self.client.get(f"{FCS}/files/{self.shown()['file_id']}/download", headers=self.headers)
        assert answer.status_code == 200, answer.text
        return answer.content


def sent(house: House, who: Person, content: bytes, chunk_size: int = MIB, **more: object) -> Sent:
    return Sent(house.client, who.headers, content, chunk_size, **more)


def slowly(house: House, upload: Sent, number: int, *, length: int | None = None) -> Slow:
    """A chunk that comes when the test says so."""
    return Slow(house, upload.headers, f"{upload.path}/chunks/{number}", length=length, query="")


def begin(house: House, who: Person, size: int, **more: object) -> httpx2.Response:
    return house.client.post(UPLOADS, json={"filename": "a.fcs", "file_size": size, **more}, headers=who.headers)


def left(house: House, who: Person) -> int:
    """How much of the quota is left: told to whom asks for more than there is."""
    refused = refusal(begin(house, who, MOST), 507, "INSUFFICIENT_STORAGE")
    assert (refused["needed_bytes"], refused["quota_bytes"]) == (MOST, QUOTA)
    return int(refused["free_bytes"])


def storage(house: House, who: Person) -> dict[str, Any]:
    return made(house.client.get(f"{FILES}/storage", headers=who.headers), 200)


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def place(data_dir: Path, content: bytes) -> Path:
    """Where the blob of these bytes lies, if it does."""
    found = sha256_of(content)
    return data_dir / "blobs" / found[:2] / found[2:4] / found


def lies(house: House, content: bytes) -> bool:
    return place(house.config.data_dir, content).exists()


def is_swept(house: House, *contents: bytes) -> None:
    """The blobs go at once, not with the hour."""
    until(lambda: not any(lies(house, content) for content in contents), "what nothing names is swept")


def nothing_arrives(house: House) -> None:
    assert [*(house.config.data_dir / "blobs" / "incoming").iterdir()] == []


def opened(house: House) -> list[str]:
    """The blobs that this process has open."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return [path for path in found if path.startswith(str(house.config.data_dir / "blobs"))]


def files_of(house: House, who: Person) -> int:
    return len(house.rows("SELECT id FROM fcs_files WHERE owner_id = ?", who.id))


def chunks_of(house: House, upload: Sent) -> list[tuple[int, str]]:
    found = house.rows("SELECT number, sha256 FROM fcs_chunks WHERE upload_id = ? ORDER BY number", upload.id)
    return [(row["number"], row["sha256"]) for row in found]


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house where an FCS file has at most MOST bytes, and an account keeps at most QUOTA, which is less."""
    folder = tmp_path_factory.mktemp("narrow")
    with housed(folder, MAX_FCS_BYTES=str(MOST), USER_QUOTA_BYTES=str(QUOTA)) as house:
        yield house


# how an upload begins


def test_an_upload_begins_with_everything_missing_and_a_day_to_live(narrow: House, clock: Clock) -> None:
    anna = narrow.person()
    answer = begin(narrow, anna, 3 * MIB + 1, chunk_size=MIB, filename="Größe 1.FCS", sha256="0" * 64)
    begun = made(answer)
    created_at = begun.pop("created_at")
    upload_id = begun.pop("id")
    assert answer.headers["location"] == f"{UPLOADS}/{upload_id}"
    assert begun == {
        "filename": "Größe 1.FCS",
        "file_size": 3 * MIB + 1,
        "chunk_size": MIB,
        "total_chunks": 4,
        "uploaded_chunks": 0,
        "uploaded_bytes": 0,
        "progress_percentage": 0.0,
        "status": "processing",
        "file_id": None,
        "expires_at": instant(seconds(created_at) + DAY_S),
        "missing": [0, 1, 2, 3],
    }
    assert created_at == instant(clock.at)
    shown = narrow.client.get(answer.headers["location"], headers=anna.headers)
    assert (shown.status_code, shown.json()) == (200, answer.json())


@pytest.mark.parametrize(
    ("size", "chunk_size", "chunks"),
    [
        (1, None, 1),
        (5 * MIB, None, 1),
        (5 * MIB + 1, None, 2),
        (MIB, MIB, 1),
        (2 * MIB, MIB, 2),
        (2 * MIB + 1, MIB, 3),
        (30 * MIB, 10 * MIB, 3),
        (30 * MIB, 10 * MIB - 1, 4),
        (1, 10 * MIB, 1),
    ],
)
def test_a_file_is_cut_into_chunks_of_which_the_last_is_shorter(
    narrow: House, size: int, chunk_size: int | None, chunks: int
) -> None:
    more = {} if chunk_size is None else {"chunk_size": chunk_size}
    begun = made(begin(narrow, narrow.person(), size, **more))
    assert (begun["chunk_size"], begun["total_chunks"]) == (chunk_size or 5 * MIB, chunks)
    assert begun["missing"] == [*range(chunks)]


GOOD = {"filename": "a.fcs", "file_size": 10}
LONG = "x" * 255
BAD: list[tuple[str, dict[str, object], str]] = [
    ("no name", {"filename": None}, "/filename"),
    ("empty name", {"filename": ""}, "/filename"),
    ("a dot", {"filename": "."}, "/filename"),
    ("dots", {"filename": ".."}, "/filename"),
    ("slash", {"filename": "../a.fcs"}, "/filename"),
    ("backslash", {"filename": "..\\a.fcs"}, "/filename"),
    ("blank before", {"filename": " a.fcs"}, "/filename"),
    ("blank behind", {"filename": "a.fcs "}, "/filename"),
    ("line break", {"filename": "a.fcs\n"}, "/filename"),
    ("NUL", {"filename": "a\x00.fcs"}, "/filename"),
    ("backwards", {"filename": "a\u202escf.exe"}, "/filename"),
    ("long name", {"filename": LONG + "x"}, "/filename"),
    ("number as name", {"filename": 7}, "/filename"),
    ("no bytes", {"file_size": 0}, "/file_size"),
    ("fewer", {"file_size": -1}, "/file_size"),
    ("a part of a byte", {"file_size": 1.5}, "/file_size"),
    ("size in words", {"file_size": "10"}, "/file_size"),
    ("true", {"file_size": True}, "/file_size"),
    ("null", {"file_size": None}, "/file_size"),
    ("petabytes", {"file_size": 10**15 + 1}, "/file_size"),
    ("no number of 64 bits", {"file_size": 10**30}, "/file_size"),
    ("small chunks", {"chunk_size": MIB - 1}, "/chunk_size"),
    ("large chunks", {"chunk_size": 10 * MIB + 1}, "/chunk_size"),
    ("chunks of nothing", {"chunk_size": 0}, "/chunk_size"),
    ("no chunks", {"chunk_size": None}, "/chunk_size"),
    ("chunks in words", {"chunk_size": "5 MiB"}, "/chunk_size"),
    ("short hash", {"sha256": "0" * 63}, "/sha256"),
    ("long hash", {"sha256": "0" * 65}, "/sha256"),
    ("hash in capitals", {"sha256": "A" * 64}, "/sha256"),
    ("hash with a line break", {"sha256": "0" * 64 + "\n"}, "/sha256"),
    ("no hash", {"sha256": "g" * 64}, "/sha256"),
    ("a field more", {"is_public": True}, "/is_public"),
    ("whose", {"owner_id": 1}, "/owner_id"),
]


@pytest.mark.parametrize(("given", "field"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_what_cannot_be_an_upload_is_refused_by_its_field(narrow: House, given: dict[str, object], field: str) -> None:
    anna = narrow.person()
    answer = narrow.client.post(UPLOADS, content=json.dumps(GOOD | given), headers=anna.headers)
    errors = refusal(answer, 400, "VALIDATION_ERROR")["errors"]
    assert field.removeprefix("/") in f"{errors[0]['field']} {errors[0]['message']}"
    assert narrow.client.get(UPLOADS, headers=anna.headers).json() == []


def test_a_name_of_half_a_character_is_refused(narrow: House) -> None:
    given = rb'{"filename": "a\ud800.fcs", "file_size": 10}'
    answer = narrow.client.post(UPLOADS, content=given, headers=narrow.person().headers)
    refusal(answer, 400, "VALIDATION_ERROR")


@pytest.mark.parametrize("missing", ["filename", "file_size"])
def test_name_and_size_are_needed(narrow: House, missing: str) -> None:
    given = {name: value for name, value in GOOD.items() if name != missing}
    answer = narrow.client.post(UPLOADS, json=given, headers=narrow.person().headers)
    assert missing in refusal(answer, 400, "VALIDATION_ERROR")["detail"]


def test_a_name_may_be_as_long_as_any_and_in_any_script(narrow: House) -> None:
    anna = narrow.person()
    for name in (LONG, "細胞 1.fcs", "a", "...fcs", "a.b.c", "it's #1 (100%).fcs"):
        assert made(begin(narrow, anna, 1, filename=name))["filename"] == name


def test_a_file_longer_than_may_be_is_refused_at_its_beginning(tmp_path: Path) -> None:
    with housed(tmp_path, MAX_FCS_BYTES=str(3 * MIB)) as house:
        anna = house.person()
        assert refusal(begin(house, anna, 3 * MIB + 1), 413, "PAYLOAD_TOO_LARGE")["limit_bytes"] == 3 * MIB
        assert refusal(begin(house, anna, 10**15), 413, "PAYLOAD_TOO_LARGE")["limit_bytes"] == 3 * MIB
        assert house.client.get(UPLOADS, headers=anna.headers).json() == []
        upload = sent(house, anna, content_of(3 * MIB)).put_all()
        assert made(upload.complete())["size_bytes"] == 3 * MIB


def test_sixteen_uploads_of_one_account_are_open_and_no_more(narrow: House) -> None:
    anna, otto = narrow.person(), narrow.person()
    content = content_of(4000)
    begun = [sent(narrow, anna, content) for _ in range(16)]
    answer = begin(narrow, anna, 1)
    refusal(answer, 429, "TOO_MANY_REQUESTS")
    assert int(answer.headers["retry-after"]) > 0
    assert left(narrow, anna) == QUOTA - 16 * 4000, "what was refused reserves nothing"
    made(begin(narrow, otto, 1))
    assert begun[3].abort().status_code == 204
    begun[3] = sent(narrow, anna, content)
    refusal(begin(narrow, anna, 1), 429)
    made(begun[5].put_all().complete())
    made(begin(narrow, anna, 1))
    refusal(begin(narrow, anna, 1), 429)


def test_of_uploads_that_begin_at_once_sixteen_do(narrow: House) -> None:
    anna = narrow.person()
    with ThreadPoolExecutor(8) as pool:
        answers = [*pool.map(lambda _: begin(narrow, anna, 1), range(24))]
    assert sorted(answer.status_code for answer in answers) == [201] * 16 + [429] * 8
    listed = narrow.client.get(UPLOADS, headers=anna.headers).json()
    assert sorted(upload["id"] for upload in listed) == sorted(
        answer.json()["id"] for answer in answers if answer.status_code == 201
    )


def test_the_whole_length_is_reserved_at_once_beside_files_and_documents(narrow: House) -> None:
    anna, otto = narrow.person(), narrow.person()
    put(narrow, anna, b"x" * 1000)
    made(narrow.client.post(DOCUMENTS, json={"title": "T", "content": "é" * 50}, headers=anna.headers))
    assert left(narrow, anna) == QUOTA - 1100
    upload = sent(narrow, anna, content_of(2 * MIB))
    assert left(narrow, anna) == QUOTA - 1100 - 2 * MIB
    upload.put_all()
    assert left(narrow, anna) == QUOTA - 1100 - 2 * MIB
    room = QUOTA - 1100 - 2 * MIB
    rest = made(begin(narrow, anna, room - 5))
    for answer in (
        begin(narrow, anna, 6),
        Slow(narrow, anna.headers, length=6).answer(),
        Slow(narrow, anna.headers).hungry().send(b"x" * 6).answer(),
        Slow(narrow, anna.headers, f"{FCS}/content", length=6, query="name=a.fcs").answer(),
        narrow.client.post(DOCUMENTS, json={"title": "T", "content": "é" * 3}, headers=anna.headers),
    ):
        refused = refusal(answer, 507, "INSUFFICIENT_STORAGE")
        assert [refused[name] for name in ("needed_bytes", "free_bytes", "quota_bytes")] == [6, 5, QUOTA]
    made(narrow.client.post(DOCUMENTS, json={"title": "T", "content": "abc"}, headers=anna.headers))
    put(narrow, anna, b"de")
    assert left(narrow, anna) == 0
    made(upload.complete())
    assert left(narrow, anna) == 0, "its place was reserved"
    assert narrow.client.delete(f"{UPLOADS}/{rest['id']}", headers=anna.headers).status_code == 204
    assert left(narrow, anna) == room - 5
    assert left(narrow, otto) == QUOTA


def test_uploads_that_begin_at_once_never_exceed_the_quota_together(narrow: House) -> None:
    anna = narrow.person()
    with ThreadPoolExecutor(8) as pool:
        answers = [*pool.map(lambda _: begin(narrow, anna, 6 * MIB), range(14))]
    assert sorted(answer.status_code for answer in answers) == [201] * 6 + [507] * 8
    assert left(narrow, anna) == QUOTA - 36 * MIB


def test_an_upload_may_fill_the_quota_to_its_last_byte(narrow: House) -> None:
    anna = narrow.person()
    refusal(begin(narrow, anna, QUOTA + 1), 507, "INSUFFICIENT_STORAGE")
    made(begin(narrow, anna, QUOTA))
    refusal(begin(narrow, anna, 1), 507, "INSUFFICIENT_STORAGE")


def test_own_uploads_are_listed_the_newest_first_and_page_by_page(narrow: House) -> None:
    anna = narrow.person()
    begun = [sent(narrow, anna, content_of(4000)) for number in range(3)]
    made(begun[1].put_all().complete())
    begun[2].put_all()
    pages = [narrow.client.get(f"{UPLOADS}?limit=2&count=true", headers=anna.headers)]
    pages.append(narrow.client.get(pages[0].links["next"]["url"], headers=anna.headers))
    assert (pages[0].headers["x-total-count"], "next" in pages[1].links) == ("3", False)
    found = [upload for page in pages for upload in page.json()]
    assert [upload["id"] for upload in found] == [upload.id for upload in reversed(begun)]
    assert [(upload["status"], upload["uploaded_bytes"]) for upload in found] == [
        ("processing", 4000),
        ("completed", 4000),
        ("processing", 0),
    ]
    for upload, other in zip(found, reversed(begun), strict=True):
        assert upload == other.shown() | {"missing": None}


# chunks


def figures(upload: dict[str, Any]) -> tuple[int, int, float, list[int]]:
    found = upload["uploaded_chunks"], upload["uploaded_bytes"], upload["progress_percentage"], upload["missing"]
    return found  # type: ignore[return-value]


def test_chunks_come_in_any_order_and_each_tells_how_far_it_has_come(narrow: House) -> None:
    anna = narrow.person()
    content = content_of(3 * MIB + MIB // 2)
    upload = sent(narrow, anna, content)
    part = 100 / 3.5
    told = [figures(made(upload.put(number), 200)) for number in (2, 3, 0, 1)]
    assert told == [
        (1, MIB, round(part, 2), [0, 1, 3]),
        (2, MIB + MIB // 2, round(1.5 * part, 2), [0, 1]),
        (3, 2 * MIB + MIB // 2, round(2.5 * part, 2), [1]),
        (4, len(content), 100.0, []),
    ]
    assert (figures(upload.shown()), upload.shown()["status"]) == (told[-1], "processing")
    file = made(upload.complete())
    assert (file["sha256"], file["size_bytes"]) == (sha256_of(content), len(content))
    assert upload.downloaded() == content


def test_progress_is_not_whole_before_the_last_chunk_has_come(narrow: House) -> None:
    """However short it is: who waits for 100 % would complete too early."""
    upload = sent(narrow, narrow.person(), content_of(MIB + 1)).put_all(1)
    assert upload.shown()["missing"] == [1]
    assert upload.shown()["progress_percentage"] < 100
    assert made(upload.put(1), 200)["progress_percentage"] == 100


def test_chunks_come_side_by_side_and_more_than_once(narrow: House) -> None:
    """Each three times: nothing is lost, nothing counts twice, whatever overtakes what."""
    anna = narrow.person()
    content = content_of(6 * MIB + 7)
    upload = sent(narrow, anna, content)
    numbers = [*range(7)] * 3
    Random(5).shuffle(numbers)
    with ThreadPoolExecutor(8) as pool:
        answers = [*pool.map(upload.put, numbers)]
    for answer in answers:
        told = made(answer, 200)
        assert 0 < told["uploaded_bytes"] <= len(content)
        assert told["uploaded_chunks"] + len(told["missing"]) == 7
        assert told["progress_percentage"] <= 100
    assert figures(upload.shown()) == (7, len(content), 100.0, [])
    assert left(narrow, anna) == QUOTA - len(content)
    made(upload.complete())
    assert upload.downloaded() == content
    nothing_arrives(narrow)


def test_a_chunk_that_comes_again_with_the_same_bytes_changes_nothing(narrow: House) -> None:
    anna = narrow.person()
    upload = sent(narrow, anna, content_of(2 * MIB + 9))
    first = made(upload.put(2), 200)
    assert figures(first)[:2] == (1, 9)
    before = chunks_of(narrow, upload)
    for _ in range(3):
        assert made(upload.put(2), 200) == first
    assert chunks_of(narrow, upload) == before
    assert lies(narrow, upload.chunk(2))
    assert left(narrow, anna) == QUOTA - (2 * MIB + 9)


def test_of_a_chunk_that_comes_again_with_other_bytes_the_last_holds(narrow: House) -> None:
    anna = narrow.person()
    upload = sent(narrow, anna, content_of(2 * MIB + 100))
    wrong, worse = noise(MIB), noise(MIB)
    first = made(upload.put(1, wrong), 200)
    assert lies(narrow, wrong)
    assert made(upload.put(1, worse), 200) == first
    is_swept(narrow, wrong)
    assert made(upload.put(1), 200) == first
    is_swept(narrow, worse)
    made(upload.put_all(1).complete())
    assert upload.downloaded() == upload.content


def test_of_a_chunk_that_comes_at_once_with_many_bytes_one_holds_and_the_others_are_swept(narrow: House) -> None:
    upload = sent(narrow, narrow.person(), content_of(MIB + 100)).put_all()
    versions = [noise(100) for _ in range(12)]
    with ThreadPoolExecutor(6) as pool:
        answers = [*pool.map(lambda version: upload.put(1, version), versions)]
    assert {answer.status_code for answer in answers} == {200}
    [_, (_, holds)] = chunks_of(narrow, upload)
    others = [version for version in versions if sha256_of(version) != holds]
    assert len(others) == 11
    is_swept(narrow, *others, upload.chunk(1))
    assert place(narrow.config.data_dir, next(v for v in versions if sha256_of(v) == holds)).stat().st_size == 100


def test_bytes_that_another_chunk_or_file_has_too_stay_when_a_chunk_is_replaced(narrow: House) -> None:
    anna, otto = narrow.person(), narrow.person()
    same, witness = noise(MIB), noise(MIB)
    content = content_of(MIB) + same + same + content_of(MIB)
    upload = sent(narrow, anna, content).put_all()
    made(upload.put(2, witness), 200)
    made(upload.put(2, content_of(MIB)), 200)
    is_swept(narrow, witness)  # so the sweep behind `same` is over too
    assert lies(narrow, same)
    made(upload.put(2), 200)
    kept = noise(MIB)
    put(narrow, otto, kept)
    made(upload.put(2, kept), 200)
    made(upload.put(2, witness), 200)
    made(upload.put(2), 200)
    is_swept(narrow, witness)
    assert lies(narrow, kept)
    made(upload.complete())
    assert upload.downloaded() == content
    assert (upload.chunk(1), upload.chunk(2)) == (same, same)


@pytest.mark.parametrize("length", [0, 1, 99, 101, 10**9, 10**18 - 1])
def test_a_chunk_declared_too_short_or_too_long_is_refused_before_it_is_read(narrow: House, length: int) -> None:
    upload = sent(narrow, narrow.person(), content_of(MIB + 100)).put_all(1)
    slow = slowly(narrow, upload, 1, length=length)
    refused = refusal(slow.answer(), 400, "VALIDATION_ERROR")
    assert "Chunk 1 of this upload has 100 bytes" in refused["detail"]
    assert slow.asked == 0
    assert upload.missing() == [1]


@pytest.mark.parametrize("came", [0, 1, 99])
@pytest.mark.parametrize("length", [None, 100], ids=["undeclared", "declared"])
def test_a_chunk_that_ends_too_early_is_not_kept(narrow: House, came: int, length: int | None) -> None:
    upload = sent(narrow, narrow.person(), content_of(MIB + 100)).put_all(1)
    piece = noise(came)
    refused = refusal(slowly(narrow, upload, 1, length=length).end(piece), 400, "VALIDATION_ERROR")
    assert "100 bytes" in refused["detail"]
    assert upload.missing() == [1]
    is_swept(narrow, piece)
    nothing_arrives(narrow)


@pytest.mark.parametrize("length", [None, 100], ids=["undeclared", "declared"])
def test_a_chunk_that_goes_on_and_on_is_refused_while_it_is_read(narrow: House, length: int | None) -> None:
    upload = sent(narrow, narrow.person(), content_of(MIB + 100)).put_all(1)
    piece = noise(100)
    slow = slowly(narrow, upload, 1, length=length).hungry().send(piece[:60]).hungry().send(piece[60:])
    refused = refusal(slow.hungry().send(b"y").answer(), 400, "VALIDATION_ERROR")
    assert "100 bytes" in refused["detail"]
    assert slow.asked == 3
    assert upload.missing() == [1]
    nothing_arrives(narrow)
    assert not lies(narrow, piece)


def test_a_chunk_may_come_without_a_declared_length_and_in_pieces(narrow: House) -> None:
    upload = sent(narrow, narrow.person(), content_of(MIB + 100)).put_all(1)
    slow = slowly(narrow, upload, 1)
    for at in range(0, 100, 7):
        slow.hungry().send(upload.chunk(1)[at : at + 7])
    assert figures(made(slow.hungry().end(), 200)) == (2, MIB + 100, 100.0, [])
    made(upload.complete())
    assert upload.downloaded() == upload.content


@pytest.mark.parametrize(("number", "status"), [("3", 400), ("4", 400), (str(10**18 - 1), 400)])
def test_a_number_beyond_the_end_is_refused_before_a_byte_is_read(narrow: House, number: str, status: int) -> None:
    upload = sent(narrow, narrow.person(), content_of(2 * MIB + 1))
    slow = Slow(narrow, upload.headers, f"{upload.path}/chunks/{number}", length=1, query="")
    refused = refusal(slow.answer(), status, "VALIDATION_ERROR")
    assert refused["errors"] == [{"field": "chunk", "message": f"expected 0 to 2, not {number}"}]
    assert slow.asked == 0
    assert upload.missing() == [0, 1, 2]


@pytest.mark.parametrize(
    "number", [str(10**18), pytest.param("9" * 400, id="long"), "-1", "+1", "1.0", "1e3", "x", "%00", "٣", ""]
)
def test_what_is_no_number_is_no_chunk(narrow: House, number: str) -> None:
    upload = sent(narrow, narrow.person(), content_of(2 * MIB))
    answer = narrow.client.put(f"{upload.path}/chunks/{number}", content=b"x", headers=upload.headers)
    refusal(answer, 404, "NOT_FOUND")
    assert upload.missing() == [0, 1]


@pytest.mark.parametrize("begins", [b"", b"fcs3.1", b"FC\0", b"\x89PNG", b"\0FCS3.1"], ids=repr)
def test_a_first_chunk_that_is_no_fcs_file_is_refused(narrow: House, begins: bytes) -> None:
    upload = sent(narrow, narrow.person(), content_of(MIB + 10)).put_all(0)
    wrong = begins + noise(MIB - len(begins))
    [error] = refusal(upload.put(0, wrong), 400, "VALIDATION_ERROR")["errors"]
    assert (error["field"], "byte 0" in error["message"]) == ("/file", True)
    assert upload.missing() == [0]
    is_swept(narrow, wrong)
    made(upload.put(1, (begins or b"none").ljust(10)), 200)


def test_a_file_too_short_for_its_magic_is_refused_too(narrow: House) -> None:
    upload = sent(narrow, narrow.person(), b"FC")
    refusal(upload.put(0), 400, "VALIDATION_ERROR")
    assert upload.missing() == [0]


def test_an_upload_of_another_is_not_there_on_any_route(narrow: House) -> None:
    """Not even for a super admin, nor is a byte of it read."""
    anna, otto, sue = narrow.person(), narrow.person(), narrow.person("super_admin")
    upload = sent(narrow, anna, content_of(MIB + 10)).put_all(0)
    for who in (otto, sue):
        own = narrow.client.get(UPLOADS, headers=who.headers)
        assert (own.status_code, own.json()) == (200, [])
        for upload_id in (upload.id, 10**17):
            path = f"{UPLOADS}/{upload_id}"
            slow = Slow(narrow, who.headers, f"{path}/chunks/1", length=10, query="")
            answers = [slow.answer(), narrow.client.get(path, headers=who.headers)]
            answers.append(narrow.client.post(f"{path}/complete", headers=who.headers))
            answers.append(narrow.client.delete(path, headers=who.headers))
            details = {refusal(answer, 404, "NOT_FOUND")["detail"] for answer in answers}
            assert details == {"No such upload, or it has expired."}
            assert slow.asked == 0
    assert upload.missing() == [0]
    made(upload.put_all().complete())
    for who in (otto, sue):
        refusal(narrow.client.get(upload.path, headers=who.headers), 404)


def test_an_upload_needs_the_scope_to_write(narrow: House) -> None:
    anna = narrow.person()
    upload = sent(narrow, anna, content_of(MIB + 10))
    upload.headers = narrow.token(anna, "fcs:read")
    for answer in [*upload.calls(), narrow.client.get(UPLOADS, headers=upload.headers)]:
        assert refusal(answer, 403, "FORBIDDEN")["required"] == ["fcs:write"]
    upload.headers = narrow.token(anna, "fcs:write")
    made(upload.put_all().complete())


def test_sixteen_chunks_of_one_account_are_on_their_way_and_no_more(narrow: House) -> None:
    anna, otto = narrow.person(), narrow.person()
    upload, other = sent(narrow, anna, content_of(MIB + 10)), sent(narrow, anna, content_of(MIB + 10))
    running = [slowly(narrow, one, 1, length=10).hungry() for one in [upload, other] * 8]
    slow = slowly(narrow, upload, 1, length=10)
    answer = slow.answer()
    refusal(answer, 429, "TOO_MANY_REQUESTS")
    assert (int(answer.headers["retry-after"]) > 0, slow.asked) == (True, 0)
    upload.headers = narrow.token(anna)
    refusal(slowly(narrow, upload, 1, length=10).answer(), 429)
    sent(narrow, otto, content_of(MIB + 10)).put_all()
    running.pop().leave()
    made(upload.put(0), 200)
    for one in running:
        made(one.end(upload.chunk(1)), 200)
    assert figures(upload.shown()) == (2, MIB + 10, 100.0, [])
    with ThreadPoolExecutor(4) as pool:
        answers = [*pool.map(upload.put, [1] * 8)]
    assert {answer.status_code for answer in answers} == {200}
    nothing_arrives(narrow)


@pytest.mark.parametrize("pieces", [[], [b"x"], [b"x" * 300_000, b"y" * 300_000]], ids=["none", "one", "two"])
def test_who_leaves_in_the_middle_of_a_chunk_leaves_nothing_of_it(narrow: House, pieces: list[bytes]) -> None:
    anna = narrow.person()
    upload = sent(narrow, anna, content_of(2 * MIB))
    slow = slowly(narrow, upload, 1, length=MIB)
    for piece in pieces:
        slow.hungry().send(piece)
    slow.hungry().leave()
    nothing_arrives(narrow)
    assert upload.missing() == [0, 1]
    made(upload.put_all().complete())


def test_a_chunk_that_pauses_for_too_long_is_refused_and_may_come_again(
    narrow: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = sent(narrow, narrow.person(), content_of(2 * MIB))
    with monkeypatch.context() as patch:
        patch.setattr(uploads, "SILENCE_S", 0.05)
        slow = slowly(narrow, upload, 1, length=MIB).send(b"half")
        assert "0.05 s" in refusal(slow.answer(), 400, "VALIDATION_ERROR")["detail"]
    assert upload.missing() == [0, 1]
    nothing_arrives(narrow)
    made(upload.put_all().complete())


@pytest.mark.parametrize(("credential", "meanwhile", "status"), HAPPENS)
def test_a_chunk_of_whom_may_no_more_at_its_end_is_not_kept(
    narrow: House, credential: str, meanwhile: Callable[[House, Person], httpx2.Response], status: int
) -> None:
    anna = narrow.person()
    headers = anna.headers if credential == "session" else narrow.token(anna)
    upload = Sent(narrow.client, headers, content_of(MIB + 30)).put_all(1)
    slow = slowly(narrow, upload, 1, length=30).hungry().send(upload.chunk(1)[:10])
    slow.hungry()
    assert meanwhile(narrow, anna).is_success
    refusal(slow.end(upload.chunk(1)[10:]), status)
    assert [number for number, _ in chunks_of(narrow, upload)] in ([0], [])
    assert files_of(narrow, anna) == 0
    nothing_arrives(narrow)
    is_swept(narrow, upload.chunk(1))


# how an upload is completed


def test_an_upload_with_chunks_missing_is_not_completed_and_they_are_named(narrow: House) -> None:
    upload = sent(narrow, narrow.person(), content_of(4 * MIB)).put_all(0, 2)
    refused = refusal(upload.complete(), 409, "CONFLICT")
    assert (refused["state"], refused["missing"]) == ("processing", [0, 2])
    assert "missing" in refused["detail"]
    made(upload.put(0), 200)
    assert refusal(upload.complete(), 409, "CONFLICT")["missing"] == [2]
    made(upload.put(2), 200)
    made(upload.complete())


def test_of_many_missing_chunks_the_first_hundred_are_named(house: House) -> None:
    anna = house.person()
    begun = made(begin(house, anna, 300 * MIB, chunk_size=MIB))
    path = f"{UPLOADS}/{begun['id']}"
    assert (begun["total_chunks"], begun["missing"]) == (300, [*range(100)])
    content = b"x" * MIB
    for number in (7, 250):
        told = made(house.client.put(f"{path}/chunks/{number}", content=content, headers=anna.headers), 200)
    expected = [*range(7), *range(8, 101)]
    assert told["missing"] == expected
    refused = refusal(house.client.post(f"{path}/complete", headers=anna.headers), 409, "CONFLICT")
    assert refused["missing"] == expected


def test_a_completed_upload_is_the_file_that_was_sent(narrow: House) -> None:
    """Its statistics come, its chunks go, and what it takes of the quota goes over to the file exactly once."""
    anna = narrow.person()
    content = content_of(2 * MIB + 77)
    upload = sent(narrow, anna, content, sha256=sha256_of(content), filename="Panel 7.fcs").put_all()
    assert (storage(narrow, anna)["used"], left(narrow, anna)) == (0, QUOTA - len(content))
    answer = upload.complete()
    file = made(answer)
    assert answer.headers["location"] == f"{FCS}/files/{file['file_id']}"
    assert (file["filename"], file["sha256"], file["size_bytes"]) == ("Panel 7.fcs", sha256_of(content), len(content))
    assert (file["total_events"], file["total_parameters"], file["fcs_version"]) == (3, 2, "FCS3.1")
    assert file["owner_id"] == anna.id
    assert upload.downloaded() == content
    computed = narrow.client.get(f"{FCS}/statistics?file_id={file['file_id']}", headers=anna.headers)
    assert (computed.status_code, computed.json()["total_events"]) == (200, 3)
    assert [column["mean"] for column in computed.json()["statistics"]] == [pytest.approx(0.5 / 3), 5.0]
    is_swept(narrow, *(upload.chunk(number) for number in range(3)))
    assert storage(narrow, anna)["used"] == storage(narrow, anna)["by_type"]["fcs"] == len(content)
    assert left(narrow, anna) == QUOTA - len(content)
    shown = upload.shown()
    assert (shown["status"], shown["file_id"], figures(shown)) == (
        "completed",
        file["file_id"],
        (3, len(content), 100.0, []),
    )
    nothing_arrives(narrow)


def test_a_file_of_one_chunk_keeps_its_bytes(narrow: House) -> None:
    """They are the chunk's, too, which goes."""
    anna, witness = narrow.person(), noise(15)
    upload = sent(narrow, anna, content_of(9000)).put_all()
    made(upload.complete())
    other = sent(narrow, anna, content_of(MIB + len(witness)))
    made(other.put(1, witness), 200)
    assert other.abort().status_code == 204
    is_swept(narrow, witness)
    assert upload.downloaded() == upload.content


def test_a_completed_upload_is_over(narrow: House) -> None:
    anna = narrow.person()
    upload = sent(narrow, anna, content_of(MIB + 10)).put_all()
    file = made(upload.complete())
    shown = upload.shown()
    slow = slowly(narrow, upload, 1, length=10)
    assert refusal(slow.answer(), 409, "CONFLICT")["state"] == "completed"
    assert slow.asked == 0
    refused = refusal(upload.abort(), 409, "CONFLICT")
    assert (refused["state"], refused["file_id"]) == ("completed", file["file_id"])
    assert upload.shown() == shown
    assert upload.downloaded() == upload.content
    again = upload.complete()
    assert (again.status_code, again.json(), again.headers["location"]) == (
        201,
        file,
        f"{FCS}/files/{file['file_id']}",
    )
    assert (files_of(narrow, anna), storage(narrow, anna)["used"]) == (1, MIB + 10)


def test_completed_many_times_at_once_it_is_one_file(narrow: House) -> None:
    anna = narrow.person()
    upload = sent(narrow, anna, content_of(2 * MIB + 5)).put_all()
    with ThreadPoolExecutor(6) as pool:
        answers = [*pool.map(lambda _: upload.complete(), range(6))]
    first = made(answers[0])
    assert [made(answer) for answer in answers] == [first] * 6
    assert (files_of(narrow, anna), storage(narrow, anna)["used"]) == (1, 2 * MIB + 5)
    assert left(narrow, anna) == QUOTA - (2 * MIB + 5)
    assert len(narrow.rows("SELECT id FROM audit WHERE actor_id = ? AND action = 'fcs.upload'", anna.id)) == 1


def test_two_uploads_of_the_same_bytes_are_two_files_with_one_content(narrow: House) -> None:
    """Each counts for who sent it; what one of them lets go is still the other's."""
    anna, otto = narrow.person(), narrow.person()
    content = content_of(2 * MIB + 6)
    first, second, third = (sent(narrow, who, content).put_all() for who in (anna, anna, otto))
    with ThreadPoolExecutor(3) as pool:
        files = [made(answer) for answer in pool.map(Sent.complete, (first, second))]
    assert third.shown()["uploaded_chunks"] == 3
    assert len({file["file_id"] for file in files}) == 2
    assert storage(narrow, anna)["used"] == 2 * len(content)
    assert third.abort().status_code == 204
    is_swept(narrow, *(third.chunk(number) for number in range(3)))
    assert [upload.downloaded() for upload in (first, second)] == [content] * 2
    for file, used in zip(files, (len(content), 0), strict=True):
        path = f"{FCS}/files/{file['file_id']}"
        assert narrow.client.delete(path, headers=anna.headers).status_code == 204
        assert storage(narrow, anna)["used"] == used
    assert left(narrow, anna) == QUOTA


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        (lambda good: b"FCS3.1" + b"?" * (MIB - 6), "HEADER"),
        (lambda good: b"FCS9.9" + good[6:MIB], "HEADER"),
        (lambda good: good[:58] + b"/" * 400 + good[458:MIB], "TEXT"),
        (lambda good: good[:MIB].replace(b"$PAR/2/", b"$PAR/x/"), "$PAR"),
        (lambda good: good[:MIB].replace(b"$MODE/L/", b"$MODE/C/"), "$MODE"),
    ],
    ids=["junk", "version", "delimiters", "count", "mode"],
)
def test_what_is_no_fcs_file_after_all_is_refused_and_may_be_put_right(
    narrow: House, wrong: Callable[[bytes], bytes], where: str
) -> None:
    anna = narrow.person()
    content = content_of(2 * MIB)
    upload = sent(narrow, anna, content).put_all(0)
    bad = wrong(content)
    assert (len(bad), bad == upload.chunk(0)) == (MIB, False)
    made(upload.put(0, bad), 200)
    for _ in range(2):
        [error] = refusal(upload.complete(), 400, "VALIDATION_ERROR")["errors"]
        assert (error["field"], where in error["message"]) == ("/file", True), error
    assert (upload.shown()["status"], upload.missing(), files_of(narrow, anna)) == ("processing", [], 0)
    assert left(narrow, anna) == QUOTA - len(content)
    is_swept(narrow, bad + upload.chunk(1))
    nothing_arrives(narrow)
    made(upload.put(0), 200)
    made(upload.complete())
    assert upload.downloaded() == content


def test_a_single_chunk_that_is_no_fcs_file_stays_a_chunk(narrow: House) -> None:
    """The bytes that were joined are the chunk's own: who refuses the one does not lose the other."""
    upload = sent(narrow, narrow.person(), b"FCS3.1 and nothing more".ljust(100)).put_all()
    other = sent(narrow, narrow.person(), content_of(MIB + 11)).put_all(0)
    for _ in range(2):
        refusal(upload.complete(), 400, "VALIDATION_ERROR")
        assert other.abort().status_code == 204
        is_swept(narrow, other.chunk(1))
        assert lies(narrow, upload.content)
        other = sent(narrow, narrow.person(), content_of(MIB + 11)).put_all(0)


def test_bytes_that_are_not_those_that_were_announced_are_refused(narrow: House) -> None:
    anna = narrow.person()
    content = content_of(2 * MIB + 50)
    other = content[: 2 * MIB] + noise(50)
    upload = sent(narrow, anna, content, sha256=sha256_of(content)).put_all(2)
    made(upload.put(2, other[2 * MIB :]), 200)
    for _ in range(2):
        [error] = refusal(upload.complete(), 400, "VALIDATION_ERROR")["errors"]
        assert error["field"] == "/sha256"
        assert sha256_of(content) in error["message"]
        assert sha256_of(other) in error["message"]
    assert (upload.shown()["status"], upload.missing(), files_of(narrow, anna)) == ("processing", [], 0)
    is_swept(narrow, other)
    made(upload.put(2), 200)
    assert made(upload.complete())["sha256"] == sha256_of(content)


def test_completing_takes_no_body(narrow: House) -> None:
    upload = sent(narrow, narrow.person(), content_of(3000)).put_all()
    answer = narrow.client.post(f"{upload.path}/complete", json={"sha256": "0" * 64}, headers=upload.headers)
    refusal(answer, 400, "VALIDATION_ERROR")
    made(narrow.client.post(f"{upload.path}/complete", json={}, headers=upload.headers))


def test_with_its_file_an_upload_goes_too(narrow: House) -> None:
    anna = narrow.person()
    upload = sent(narrow, anna, content_of(MIB + 10)).put_all()
    file = made(upload.complete())
    path = f"{FCS}/files/{file['file_id']}"
    assert narrow.client.delete(path, headers=anna.headers).status_code == 204
    for answer in upload.calls():
        refusal(answer, 404, "NOT_FOUND")
    assert narrow.client.get(UPLOADS, headers=anna.headers).json() == []
    assert (left(narrow, anna), storage(narrow, anna)["used"]) == (QUOTA, 0)


class Gate:
    """In place of a blob a pipe: who joins the chunks waits there until it is let through."""

    def __init__(self, path: Path, content: bytes) -> None:
        self._path, self._content = path, content
        self._kept = path.with_name("kept")
        path.rename(self._kept)
        os.mkfifo(path)
        self._pipe: IO[bytes] | None = None

    def reached(self) -> "Gate":
        """Returns when somebody reads the blob."""

        def opened() -> int | None:
            with suppress(OSError):  # ENXIO: nobody stands there
                return os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
            return None

        number = until(opened, "a blob is read")
        fcntl.fcntl(number, fcntl.F_SETPIPE_SZ, MIB)  # a whole chunk fits in, though nobody should read on
        os.set_blocking(number, True)
        self._pipe = os.fdopen(number, "wb", buffering=0)
        return self

    def write(self, content: bytes) -> None:
        assert self._pipe is not None
        view = memoryview(content)
        while view:
            view = view[self._pipe.write(view) or 0 :]

    def let_through(self) -> None:
        """Gives whoever stands there the bytes, and has the blob there again unless it was removed meanwhile."""
        if self._path.exists():
            self._kept.rename(self._path)
        else:
            self._kept.unlink()
        with suppress(BrokenPipeError):
            self.write(self._content)
        self.close()

    def close(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None


@contextmanager
def completing(house: House, upload: Sent, gated: int = 0) -> Iterator[tuple[Gate, "Future[httpx2.Response]"]]:
    """The upload is being completed, and its chunks are joined up to the one that is gated."""
    gate = Gate(place(house.config.data_dir, upload.chunk(gated)), upload.chunk(gated))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(upload.complete)
        try:
            yield gate.reached(), answer
        finally:
            gate.close()


def test_the_same_chunk_that_comes_again_while_it_is_completed_changes_nothing(narrow: House) -> None:
    anna = narrow.person()
    upload = sent(narrow, anna, content_of(2 * MIB + 20)).put_all()
    with completing(narrow, upload) as (gate, answer):
        for number in (1, 2):
            assert figures(made(upload.put(number), 200))[0] == 3
        gate.let_through()
        made(answer.result(WAIT_S))
    assert upload.downloaded() == upload.content
    assert files_of(narrow, anna) == 1


@pytest.mark.parametrize(("gated", "replaced"), [(0, 1), (1, 0), (1, 2), (2, 1)])
def test_another_chunk_that_comes_while_it_is_completed_decides(narrow: House, gated: int, replaced: int) -> None:
    """Whether or not the former one was read already: it is not joined with what it was not sent for."""
    anna = narrow.person()
    right = content_of(2 * MIB + 20)
    upload = sent(narrow, anna, right).put_all()
    former = content_of(2 * MIB + 20)[replaced * MIB : (replaced + 1) * MIB]
    made(upload.put(replaced, former), 200)
    with completing(narrow, upload, gated) as (gate, answer):
        made(upload.put(replaced), 200)
        is_swept(narrow, former)
        gate.let_through()
        refused = refusal(answer.result(WAIT_S), 409, "CONFLICT")
        assert refused["state"] == "processing"
    assert (upload.shown()["status"], upload.missing(), files_of(narrow, anna)) == ("processing", [], 0)
    nothing_arrives(narrow)
    made(upload.complete())
    assert upload.downloaded() == right


@pytest.mark.parametrize("gated", [0, 2])
def test_an_upload_that_is_aborted_while_it_is_completed_is_gone(narrow: House, gated: int) -> None:
    anna = narrow.person()
    upload = sent(narrow, anna, content_of(2 * MIB + 20)).put_all()
    with completing(narrow, upload, gated) as (gate, answer):
        assert upload.abort().status_code == 204
        gate.let_through()
        refusal(answer.result(WAIT_S), 404, "NOT_FOUND")
    assert (files_of(narrow, anna), left(narrow, anna)) == (0, QUOTA)
    is_swept(narrow, upload.content, upload.chunk(1))
    nothing_arrives(narrow)
    refusal(upload.complete(), 404, "NOT_FOUND")


def test_who_completes_meanwhile_waits_for_the_same_file(narrow: House) -> None:
    anna = narrow.person()
    upload = sent(narrow, anna, content_of(2 * MIB + 21)).put_all()
    with completing(narrow, upload) as (gate, answer), ThreadPoolExecutor(1) as pool:
        second = pool.submit(upload.complete)
        assert upload.shown()["status"] == "processing"
        gate.let_through()
        assert made(second.result(WAIT_S)) == made(answer.result(WAIT_S))
    assert files_of(narrow, anna) == 1


def test_an_account_that_goes_while_its_upload_is_completed_leaves_nothing(narrow: House) -> None:
    anna = narrow.person()
    upload = sent(narrow, anna, content_of(2 * MIB + 22)).put_all()
    with completing(narrow, upload) as (gate, answer):
        assert narrow.client.delete(f"{API}/users/{anna.id}").is_success
        gate.let_through()
        assert answer.result(WAIT_S).status_code in (401, 404)
    assert (files_of(narrow, anna), chunks_of(narrow, upload)) == (0, [])
    nothing_arrives(narrow)
    is_swept(narrow, upload.content)


# how an upload is given up


def test_an_aborted_upload_is_gone_with_all_that_came_of_it(narrow: House) -> None:
    anna = narrow.person()
    upload = sent(narrow, anna, content_of(3 * MIB)).put_all(1)
    assert left(narrow, anna) == QUOTA - 3 * MIB
    answer = upload.abort()
    assert (answer.status_code, answer.content) == (204, b"")
    is_swept(narrow, upload.chunk(0), upload.chunk(2))
    for answer in upload.calls():
        refusal(answer, 404, "NOT_FOUND")
    assert (left(narrow, anna), narrow.client.get(UPLOADS, headers=anna.headers).json()) == (QUOTA, [])
    assert chunks_of(narrow, upload) == []


def test_an_upload_aborted_twice_at_once_is_aborted_once(narrow: House) -> None:
    anna = narrow.person()
    upload = sent(narrow, anna, content_of(MIB + 3)).put_all()
    with ThreadPoolExecutor(4) as pool:
        answers = [*pool.map(lambda _: upload.abort(), range(4))]
    assert sorted(answer.status_code for answer in answers) == [204, 404, 404, 404]
    assert len(narrow.rows("SELECT id FROM audit WHERE action = 'fcs.upload_abort' AND actor_id = ?", anna.id)) == 1
    assert left(narrow, anna) == QUOTA


def test_a_chunk_on_its_way_to_an_upload_that_is_aborted_goes_with_it(narrow: House) -> None:
    anna = narrow.person()
    upload = sent(narrow, anna, content_of(2 * MIB)).put_all(1)
    slow = slowly(narrow, upload, 1, length=MIB).hungry().send(upload.chunk(1)[:300_000])
    slow.hungry()
    assert upload.abort().status_code == 204
    refusal(slow.end(upload.chunk(1)[300_000:]), 404, "NOT_FOUND")
    is_swept(narrow, upload.chunk(0), upload.chunk(1))
    nothing_arrives(narrow)
    assert left(narrow, anna) == QUOTA


def test_an_aborted_upload_takes_nothing_from_another_with_the_same_bytes(narrow: House) -> None:
    anna, otto = narrow.person(), narrow.person()
    content = content_of(2 * MIB + 8)
    upload, other = sent(narrow, anna, content).put_all(), sent(narrow, otto, content).put_all()
    witness = noise(8)
    made(upload.put(2, witness), 200)
    assert upload.abort().status_code == 204
    is_swept(narrow, witness)
    assert other.missing() == []
    made(other.complete())
    assert other.downloaded() == content


# a day later


@pytest.fixture
def days(tmp_path: Path, clock: Clock) -> Iterator[tuple[House, Clock]]:
    """A house of its own, whose clock a test may set."""
    with housed(tmp_path, MAX_FCS_BYTES=str(MOST), USER_QUOTA_BYTES=str(QUOTA)) as house:
        yield house, clock


def with_token(house: House) -> Person:
    """Somebody whose credential outlasts the day."""
    anna = house.person()
    anna.headers = house.token(anna)
    return anna


def test_an_upload_lives_to_the_last_moment_of_its_day(days: tuple[House, Clock]) -> None:
    house, clock = days
    anna = with_token(house)
    upload = sent(house, anna, content_of(2 * MIB)).put_all(1)
    expires_at = seconds(upload.begun["expires_at"])
    clock.at = expires_at - 0.002
    assert upload.missing() == [1]
    made(upload.put(1), 200)
    assert left(house, anna) == QUOTA - 2 * MIB
    made(upload.complete())
    assert upload.downloaded() == upload.content


def test_an_upload_is_gone_after_its_day_and_what_it_had_reserved_is_free(days: tuple[House, Clock]) -> None:
    house, clock = days
    anna = with_token(house)
    for _ in range(15):
        made(begin(house, anna, 1))
    upload = sent(house, anna, content_of(2 * MIB)).put_all()
    refusal(begin(house, anna, 1), 429)
    clock.at = seconds(upload.begun["expires_at"])
    assert left(house, anna) == QUOTA
    for answer in upload.calls():
        assert refusal(answer, 404, "NOT_FOUND")["detail"] == "No such upload, or it has expired."
    listed = house.client.get(f"{UPLOADS}?count=true", headers=anna.headers)
    assert (listed.json(), listed.headers["x-total-count"]) == ([], "0")
    assert files_of(house, anna) == 0
    put(house, anna, b"x")
    for _ in range(16):
        made(begin(house, anna, 1))
    refusal(begin(house, anna, 1), 429)
    for answer in upload.calls():
        refusal(answer, 404, "NOT_FOUND")


def test_a_chunk_whose_upload_expires_on_its_way_is_not_kept(days: tuple[House, Clock]) -> None:
    house, clock = days
    upload = sent(house, with_token(house), content_of(2 * MIB)).put_all(1)
    slow = slowly(house, upload, 1, length=MIB).hungry().send(upload.chunk(1)[:1000])
    slow.hungry()
    clock.at = seconds(upload.begun["expires_at"])
    refusal(slow.end(upload.chunk(1)[1000:]), 404, "NOT_FOUND")
    is_swept(house, upload.chunk(1))
    nothing_arrives(house)


def test_an_upload_that_expires_while_it_is_completed_is_gone(days: tuple[House, Clock]) -> None:
    house, clock = days
    anna = with_token(house)
    upload = sent(house, anna, content_of(2 * MIB)).put_all()
    with completing(house, upload) as (gate, answer):
        clock.at = seconds(upload.begun["expires_at"])
        gate.let_through()
        refusal(answer.result(WAIT_S), 404, "NOT_FOUND")
    assert (files_of(house, anna), left(house, anna)) == (0, QUOTA)
    is_swept(house, upload.content)


def test_a_file_outlasts_its_upload(days: tuple[House, Clock]) -> None:
    house, clock = days
    anna = with_token(house)
    upload = sent(house, anna, content_of(2 * MIB)).put_all()
    file = made(upload.complete())
    clock.at = seconds(upload.begun["expires_at"])
    for answer in upload.calls():
        refusal(answer, 404, "NOT_FOUND")
    made(begin(house, anna, 1))  # forgets what has expired
    answer = house.client.get(f"{FCS}/files/{file['file_id']}/download", headers=anna.headers)
    assert (answer.status_code, answer.content == upload.content) == (200, True)
    assert storage(house, anna)["used"] == 2 * MIB


def sweeps(house: House) -> None:
    """Starts the appliance again, which begins with a sweep, and waits for its end."""
    last = house.config.data_dir / "blobs" / "ff" / "ff" / ("f" * 64)
    last.parent.mkdir(parents=True, exist_ok=True)
    last.write_bytes(b"nobody's")
    with TestClient(create_app(house.config)):
        until(lambda: not last.exists(), "what lies behind everything else is swept")


def test_chunks_are_swept_by_the_hour_once_their_day_is_over_and_not_before(tmp_path: Path, clock: Clock) -> None:
    with housed(tmp_path) as house:
        anna = with_token(house)
        upload = sent(house, anna, content_of(3 * MIB)).put_all(1)
        whole = sent(house, anna, content_of(2 * MIB)).put_all()
        made(whole.complete())
    expires_at = seconds(upload.begun["expires_at"])
    clock.at = expires_at - 0.002
    sweeps(house)
    assert [lies(house, upload.chunk(number)) for number in (0, 2)] == [True, True]
    clock.at = expires_at
    sweeps(house)
    assert [lies(house, upload.chunk(number)) for number in (0, 2)] == [False, False]
    assert lies(house, whole.content)


def test_an_upload_goes_on_after_a_restart(tmp_path: Path) -> None:
    with housed(tmp_path) as house:
        upload = sent(house, with_token(house), content_of(3 * MIB)).put_all(1)
        before = upload.shown()
    with TestClient(create_app(house.config)) as upload.client:
        assert upload.shown() == before
        made(upload.put(1), 200)
        made(upload.complete())
        assert upload.downloaded() == upload.content


# what is let go


async def test_what_is_let_go_during_a_sweep_is_swept_by_the_next(tmp_path: Path) -> None:
    """It was named when the sweep asked, and is not any more when the sweep ends."""
    database = await SqliteDatabase.open(tmp_path / "app.db", data_dir=tmp_path)
    blobs = Blobs(tmp_path / "blobs")
    blobs.prepare()
    asked, goes_on = threading.Event(), threading.Event()
    names: set[str] = set()

    def named(_: object, wanted: Sequence[str]) -> list[str]:
        found = [sha256 for sha256 in wanted if sha256 in names]
        asked.set()
        assert goes_on.wait(WAIT_S)
        return found

    async def content() -> Any:
        yield b"a chunk of two uploads"

    try:
        async with blobs.receive(content(), Limit(100, lambda: TooLarge("Enough."))) as blob:
            names.add(blob.sha256)
        blobs.let_go([blob.sha256])  # one upload is given up
        sweep = asyncio.create_task(blobs.sweep_doubted(database, [named]))
        assert await asyncio.to_thread(asked.wait, WAIT_S)
        names.clear()
        blobs.let_go([blob.sha256])  # and then the other
        goes_on.set()
        await sweep
        assert blobs.path(blob.sha256).exists()
        await blobs.sweep_doubted(database, [named])
        assert not blobs.path(blob.sha256).exists()
    finally:
        goes_on.set()
        await database.close()


# a full disk


def test_a_disk_that_shall_stay_free_takes_no_chunk(tmp_path: Path) -> None:
    with housed(tmp_path) as house:
        upload = sent(house, with_token(house), content_of(2 * MIB)).put_all(1)
    with housed_again(house, MIN_FREE_BYTES=str(10**17)) as other:
        upload.client = other.client
        slow = slowly(other, upload, 1, length=MIB)
        refused = refusal(slow.answer(), 507, "INSUFFICIENT_STORAGE")
        assert (refused["needed_bytes"], refused["free_bytes"], slow.asked) == (MIB, 0, 0)
        assert upload.missing() == [1]
    with housed_again(house) as other:
        upload.client = other.client
        made(upload.put(1), 200)
    with housed_again(house, MIN_FREE_BYTES=str(10**17)) as other:
        upload.client = other.client
        assert refusal(upload.complete(), 507, "INSUFFICIENT_STORAGE")["needed_bytes"] == 2 * MIB
        assert upload.missing() == []
    with housed_again(house) as other:
        upload.client = other.client
        made(upload.complete())
        assert upload.downloaded() == upload.content


@contextmanager
def housed_again(house: House, **settings: str) -> Iterator[House]:
    """The same house with other settings."""
    config = configured(house.config.data_dir, **settings)
    app = create_app(config)
    with TestClient(app, client=("127.0.0.1", 50000)) as client:
        yield House(client, app, config)


@pytest.fixture
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    """A small disk where a house has its data folder."""
    if not CAN_MOUNT:
        pytest.skip("a small disk needs root with CAP_SYS_ADMIN")
    small = Disk(tmp_path_factory.mktemp("full") / "data")
    yield small
    small.unmount()


ROOMY = {"MIN_FREE_BYTES": "0", "MAX_FCS_BYTES": str(MOST), "USER_QUOTA_BYTES": str(QUOTA)}


@pytest.mark.slow
def test_a_chunk_that_is_not_read_on_because_the_disk_is_full_is_closed(disk: Disk) -> None:
    """At once, and not when the last memory of it is cleared away."""
    with housed(disk.folder.parent, **ROOMY) as house:
        upload = sent(house, with_token(house), content_of(3 * MIB)).put_all()
        with completing(house, upload, 1) as (gate, answer):
            disk.fill()
            gate.let_through()
            refusal(answer.result(WAIT_S), 507, "INSUFFICIENT_STORAGE")
        disk.clear()
        until(lambda: opened(house) == [], "no blob is open", patience_s=5)


@pytest.mark.slow
@pytest.mark.parametrize("elsewhere", [True, False], ids=["database elsewhere", "database on it"])
def test_a_disk_that_fills_up_loses_no_chunk_and_goes_on_once_it_has_room(
    tmp_path: Path, disk: Disk, elsewhere: bool
) -> None:
    settings = {"DATABASE_URL": f"sqlite:///{tmp_path}/app.db"} if elsewhere else {}
    with housed(disk.folder.parent, **ROOMY, **settings) as house:
        anna = with_token(house)
        upload = sent(house, anna, content_of(3 * MIB)).put_all(1)
        slow = slowly(house, upload, 1, length=MIB).hungry().send(upload.chunk(1)[:300_000])
        slow.hungry()
        disk.fill()
        refusal(slow.end(upload.chunk(1)[300_000:]), 507, "INSUFFICIENT_STORAGE")
        refusal(upload.put(1), 507, "INSUFFICIENT_STORAGE")
        nothing_arrives(house)
        disk.clear()
        assert upload.missing() == [1]
        made(upload.put(1), 200)
        with completing(house, upload, 1) as (gate, answer):
            disk.fill()
            gate.let_through()
            refusal(answer.result(WAIT_S), 507, "INSUFFICIENT_STORAGE")
        refusal(upload.complete(), 507, "INSUFFICIENT_STORAGE")
        nothing_arrives(house)
        disk.clear()
        assert (upload.missing(), upload.shown()["status"]) == ([], "processing")
        made(upload.complete())
        assert upload.downloaded() == upload.content
        assert storage(house, anna)["used"] == 3 * MIB
