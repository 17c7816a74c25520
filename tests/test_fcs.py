"""FCS files over HTTP: how they come in, what is refused and leaves nothing, lists, downloads, what goes in the end."""

import itertools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from app.fcs.parser import VERSION
from app.main import create_app
from app.web import uploads
from tests import office
from tests.accounts import Person
from tests.fcs_writer import fcs
from tests.house import NOBODY, House
from tests.office import API, DOCUMENTS, FILES, made
from tests.support import claim, configured, refusal, until
from tests.test_file_names import CLEANED
from tests.test_uploads import FORM, HEAD, Slow, blobs, no_trace, used

FCS = f"{API}/fcs"
SAMPLE = Path(__file__).parent.parent.parent / "shared" / "data" / "sample-34297x26.fcs"
with_sample = pytest.mark.skipif(not SAMPLE.exists(), reason="the real sample lies beside the repository, not in it")
SAMPLE_SHA256 = "bde3b3532acc62117acb24bf7e160344b2fb7f5754ec7e02937ae6362daa5725"
MOST, QUOTA = 1000, 2500
TAIL = b"\r\n--cut--\r\n"
_numbers = itertools.count(1)


@contextmanager
def served(folder: Path, token: str = "", **settings: str) -> Iterator[House]:
    """The appliance in this folder, with these settings; the token of its first start lets a later one be called."""
    config = configured(folder / "data", **settings)
    app = create_app(config)
    with TestClient(app, client=("127.0.0.1", 50000)) as client:
        client.headers["Authorization"] = token or f"Token {claim(client)}"
        yield House(client, app, config)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house where a file has at most MOST bytes, and an account keeps at most QUOTA."""
    limits = dict.fromkeys(("MAX_FCS_BYTES", "MAX_UPLOAD_BYTES"), str(MOST))
    with served(tmp_path_factory.mktemp("narrow"), USER_QUOTA_BYTES=str(QUOTA), **limits) as house:
        yield house


def fresh(size: int = 0, **how: Any) -> bytes:
    """A small FCS file that no test has had before; with a size it has as many bytes."""
    columns = [[next(_numbers) + 0.5]]
    content = fcs(columns, **how)
    return fcs(columns, after=bytes(8 + size - len(content)), **how) if size else content


def raw(house: House, who: Person, content: bytes, name: str = "a.fcs") -> httpx2.Response:
    return house.client.put(f"{FCS}/content", params={"name": name}, content=content, headers=who.headers)


def chunked(house: House, who: Person, content: bytes) -> httpx2.Response:
    pieces = [content[at : at + 100] for at in range(0, len(content), 100)]
    return house.client.put(f"{FCS}/content?name=a.fcs", content=iter(pieces), headers=who.headers)


def formed(house: House, who: Person, content: bytes, name: str = "a.fcs") -> httpx2.Response:
    """As `curl -F file=@a.fcs` does."""
    file = {"file": (name, content, "application/octet-stream")}
    return house.client.post(f"{FCS}/upload", files=file, headers=who.headers)


def put(house: House, who: Person, content: bytes, name: str = "a.fcs") -> dict[str, Any]:
    """A file of this person's with these bytes."""
    return made(raw(house, who, content, name))


def ask(house: House, who: Person, what: str, **query: str | int) -> httpx2.Response:
    """The answer to GET /fcs/…"""
    return house.client.get(f"{FCS}/{what}", params=query, headers=who.headers)


def remove(house: House, who: Person, file_id: int) -> None:
    assert house.client.delete(f"{FCS}/files/{file_id}", headers=who.headers).status_code == 204


def listed(house: House, who: Person, **query: str | int) -> list[int]:
    """The ids of the list, page after page."""
    answer, found = ask(house, who, "files", **query), []
    while True:
        assert answer.status_code == 200, answer.text
        found += [file["file_id"] for file in answer.json()]
        if "next" not in answer.links:
            return found
        answer = house.client.get(answer.links["next"]["url"], headers=who.headers)


def contents(house: House, content: bytes) -> int:
    """How often the table of contents has these bytes."""
    return len(house.rows("SELECT id FROM fcs_contents WHERE sha256 = ?", sha256(content).hexdigest()))


def kept(house: House, who: Person) -> int:
    return len(house.rows("SELECT id FROM fcs_files WHERE owner_id = ?", who.id))


def gone(house: House, content: bytes) -> None:
    """Returns when the bytes are."""
    until(lambda: not blobs(house, content), "the bytes are gone")


def nothing_left(house: House, who: Person, content: bytes) -> None:
    """No bytes, no row, nothing reserved."""
    no_trace(house)
    gone(house, content)
    assert (kept(house, who), contents(house, content), used(house, who)) == (0, 0, 0)


Sends = Callable[[House, Person, bytes], httpx2.Response]
WAYS = pytest.mark.parametrize("send", [raw, chunked, formed], ids=["raw", "chunked", "form"])


@with_sample
@WAYS
def test_the_sample_is_taken_and_told_as_it_is(house: House, send: Sends) -> None:
    anna = house.person()
    answer = send(house, anna, SAMPLE.read_bytes())
    file = made(answer)
    assert file == {
        "file_id": file["file_id"],
        "filename": "a.fcs",
        "owner_id": anna.id,
        "owner_name": anna.username,
        "size_bytes": 3_578_752,
        "sha256": SAMPLE_SHA256,
        "fcs_version": "FCS3.0",
        "total_events": 34_297,
        "total_parameters": 26,
        "warnings": [],
        "created_at": file["created_at"],
    }
    assert answer.headers["location"] == f"{FCS}/files/{file['file_id']}"
    assert house.client.get(answer.headers["location"], headers=anna.headers).json() == file
    download = ask(house, anna, f"files/{file['file_id']}/download")
    assert (download.status_code, sha256(download.content).hexdigest()) == (200, SAMPLE_SHA256)


SCATTER = ["FSC-H", "FSC-A", "SSC-H", "SSC-A"]
STAINS = ["TCRgd FITC", "CD4 PE", "CD2 ECD", "CD56 PC5.5", "CD5 PC7", "CD34 APC", "CD7 APC-A700", "CD8 APC-A750"]
STAINS += ["CD3 PB450", "CD45 KO525"]
IN_SAMPLE = [
    *((name, name, 16_777_215, "LIN") for name in SCATTER),
    *((f"FL{n}-{of}", f"{stain}-{of}", 16_777_215, "LOG") for n, stain in enumerate(STAINS, 1) for of in "HA"),
    ("FSC-Width", "FSC-Width", 10_000, "LIN"),
    ("Time", "Time", 900_000_000, "LIN"),
]


@with_sample
def test_what_was_measured_in_the_sample_is_told_as_the_file_has_it(house: House) -> None:
    """Long names as the stains are called; how each is shown is the file's word, not a guess from its name."""
    anna = house.person()
    file = put(house, anna, SAMPLE.read_bytes())
    told = made(ask(house, anna, "parameters"), 200)
    names = ("index", "pnn", "pns", "range", "display")
    assert {name: told[name] for name in ("file_id", "total_events", "total_parameters")} == {
        "file_id": file["file_id"],
        "total_events": 34_297,
        "total_parameters": 26,
    }
    found = [tuple(parameter[name] for name in names) for parameter in told["parameters"]]
    assert found == [(index, *expected) for index, expected in enumerate(IN_SAMPLE, 1)]
    beside = {(p["datatype"], p["bits"], p["amplification"], p["gain"]) for p in told["parameters"]}
    assert beside == {("F", 32, None, 1.0)}


def test_what_was_measured_is_told_with_what_the_amplifier_did(house: House) -> None:
    keywords = {"$P1E": "4,1", "$P1S": "CD4 µ", "$P2G": "2.5", "P2DISPLAY": "LOG"}
    anna = house.person()
    content = fcs([[1], [2]], datatype="I", bits=[16, 32], ranges=[1024, 262_144], keywords=keywords)
    put(house, anna, content)
    one, two = made(ask(house, anna, "parameters"), 200)["parameters"]
    assert one == {
        "index": 1,
        "pnn": "P1",
        "pns": "CD4 µ",
        "range": 1024,
        "display": "LOG",
        "datatype": "I",
        "bits": 16,
        "amplification": {"decades": 4.0, "offset": 1.0},
        "gain": None,
        "timestep_s": None,
    }
    assert (two["display"], two["amplification"], two["gain"], two["pns"]) == ("LOG", None, 2.5, "P2")


@WAYS
def test_what_does_not_hold_and_can_be_read_is_told_in_warnings(house: House, send: Sends) -> None:
    anna = house.person()
    file = made(send(house, anna, fcs([[1.0, 2.0, float(next(_numbers))]], tot=None)))
    (warning,) = file["warnings"]
    assert (file["total_events"], "$TOT" in warning) == (3, True)
    assert made(ask(house, anna, f"files/{file['file_id']}"), 200)["warnings"] == [warning]
    assert ask(house, anna, "files").json()[0]["warnings"] == [warning]


COMMON = fcs([[0.5]])
NAMES = {name: clean for name, clean in CLEANED.items() if name and name.isprintable() and len(name) <= 1000}
NAMES |= {"../../etc/x.fcs": "x.fcs", "C:\\lab\\x.FCS": "x.FCS", "x" * 900 + ".fcs": "x" * 251 + ".fcs"}


@pytest.fixture(scope="module")
def empty_handed(house: House) -> Person:
    """Somebody who never keeps anything."""
    return house.person()


@pytest.fixture(scope="module")
def owner(house: House) -> Person:
    """Somebody who has many files of the same bytes."""
    return house.person()


@pytest.mark.parametrize(("name", "clean"), NAMES.items(), ids=[ascii(name)[:40] for name in NAMES])
def test_a_file_gets_a_name_that_harms_nobody(house: House, owner: Person, name: str, clean: str) -> None:
    """And lies nowhere by it. A browser quotes what would end the name in a form."""
    answers = [raw(house, owner, COMMON, name)]
    if not set(name) & {'"', "\\"}:
        answers.append(formed(house, owner, COMMON, name))
    for answer in answers:
        assert made(answer)["filename"] == clean
    found = [path.name for path in house.config.data_dir.parent.rglob("*") if path.is_file()]
    assert clean not in found


def test_a_name_that_is_longer_than_any_is_cut_in_a_form_and_refused_in_an_address(house: House) -> None:
    anna, content, name = house.person(), fresh(), "x" * 2000 + ".fcs"
    assert made(formed(house, anna, content, name))["filename"] == "x" * 251 + ".fcs"
    refusal(formed(house, anna, content, 10 * name), 400, "VALIDATION_ERROR")
    for bad in (name, ""):
        assert refusal(raw(house, anna, content, bad), 400, "VALIDATION_ERROR")["errors"][0]["field"] == "name"
    refused = refusal(house.client.put(f"{FCS}/content", content=content, headers=anna.headers), 400)
    assert refused["errors"] == [{"field": "name", "message": "required, and missing"}]


WHOLE = fcs([[1.5, 2.5], [3.5, 4.5]])
NO_FCS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "HEADER, bytes 0 to 5"),
    "one byte": (b"F", "HEADER, bytes 0 to 5"),
    "html": (b"<!doctype html><script>alert(1)</script>" * 9, "HEADER, bytes 0 to 5"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "HEADER, bytes 0 to 5"),
    "another version": (b"FCS4.0" + WHOLE[6:], "HEADER, bytes 0 to 5"),
    "cut in HEADER": (WHOLE[:40], "HEADER"),
    "cut behind HEADER": (WHOLE[:58], "HEADER: TEXT"),
    "cut in TEXT": (WHOLE[:200], "HEADER: TEXT"),
    "cut in DATA": (WHOLE[:-12], "DATA"),
    "noise behind HEADER": (WHOLE[:58] + b"\xff" * (len(WHOLE) - 58), "TEXT, byte 58"),
    "a histogram": (fcs([[1.0]], keywords={"$MODE": "C"}), r"\$MODE"),
    "without its type": (fcs([[1.0]], keywords={"$DATATYPE": None}), "TEXT"),
    "more parameters than any": (fcs([[1.0]], keywords={"$PAR": "999999999"}), r"\$PAR"),
    "more events than it holds": (fcs([[1.0]], tot=10**15), r"\$TOT"),
}


@WAYS
@pytest.mark.parametrize("what", NO_FCS)
def test_what_is_no_fcs_file_is_refused_with_the_place_and_leaves_nothing(
    house: House, empty_handed: Person, what: str, send: Sends
) -> None:
    content, place = NO_FCS[what]
    (error,) = refusal(send(house, empty_handed, content), 400, "VALIDATION_ERROR")["errors"]
    assert (error["field"], bool(re.match(f"{place}[^:]*: ", error["message"]))) == ("/file", True), error
    nothing_left(house, empty_handed, content)


def test_what_is_refused_takes_nothing_away_that_others_keep(house: House) -> None:
    """Bytes that are no FCS file may well be somebody's file, and an FCS file may be a file like any other."""
    anna, otto = house.person(), house.person()
    page, whole = b"<html>kept as a file</html>", fresh()
    office.put(house, otto, page)
    office.put(house, otto, whole)
    refusal(raw(house, anna, page), 400, "VALIDATION_ERROR")
    remove(house, anna, put(house, anna, whole)["file_id"])
    body = HEAD.replace(b"a.txt", b"a.fcs") + whole
    late = body + b'\r\n--cut\r\nContent-Disposition: form-data; name="file"; filename="b.fcs"\r\n\r\nFCS' + TAIL
    answer = house.client.post(f"{FCS}/upload", content=late, headers=anna.headers | FORM)
    assert refusal(answer, 400)["errors"][0]["field"] == "/file"
    no_trace(house)
    assert (len(blobs(house, page)), len(blobs(house, whole)), kept(house, anna)) == (1, 1, 0)


FILE_PART = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.fcs"\r\n\r\n' + WHOLE
FIELD = b'--cut\r\nContent-Disposition: form-data; name="is_public"\r\n\r\nfalse'
BAD_FORMS: dict[str, tuple[bytes, str | None]] = {
    "no part at all": (b"--cut--\r\n", "/file"),
    "no file": (FIELD.replace(b"is_public", b"files") + TAIL, "/file"),
    "a file without a name": (FILE_PART.replace(b'"a.fcs"', b'""') + TAIL, "/file"),
    "a field instead of a file": (FILE_PART.replace(b'; filename="a.fcs"', b"") + TAIL, "/file"),
    "two files": (FILE_PART + b"\r\n" + FILE_PART + TAIL, "/file"),
    "a field before": (FIELD + b"\r\n" + FILE_PART + TAIL, "/is_public"),
    "a field behind": (FILE_PART + b"\r\n" + FIELD + TAIL, "/is_public"),
    "broken off": (FILE_PART, None),
    "empty": (b"", None),
}


@pytest.mark.parametrize("what", BAD_FORMS)
def test_a_form_that_does_not_hold_is_refused_and_leaves_nothing(house: House, empty_handed: Person, what: str) -> None:
    content, field = BAD_FORMS[what]
    answer = house.client.post(f"{FCS}/upload", content=content, headers=empty_handed.headers | FORM)
    errors = refusal(answer, 400, "VALIDATION_ERROR")["errors"]
    assert [error["field"] for error in errors] == ([] if field is None else [field])
    nothing_left(house, empty_handed, WHOLE)


def test_a_form_that_is_none_is_refused(house: House, empty_handed: Person) -> None:
    for kind in ("application/octet-stream", "application/json", "application/x-www-form-urlencoded"):
        headers = empty_handed.headers | {"content-type": kind}
        refusal(house.client.post(f"{FCS}/upload", content=WHOLE, headers=headers), 415, "UNSUPPORTED_MEDIA_TYPE")
    nothing_left(house, empty_handed, WHOLE)


@WAYS
def test_a_file_as_long_as_may_be_is_taken_and_one_byte_more_is_not(narrow: House, send: Sends) -> None:
    anna, content = narrow.person(), fresh(MOST + 1)
    assert refusal(send(narrow, anna, content), 413, "PAYLOAD_TOO_LARGE")["limit_bytes"] == MOST
    nothing_left(narrow, anna, content)
    assert made(send(narrow, anna, fresh(MOST)))["size_bytes"] == MOST


def test_what_is_declared_too_long_is_refused_before_it_is_read(narrow: House) -> None:
    anna, path = narrow.person(), f"{FCS}/content"
    for more in (1, 10**17):
        slow = Slow(narrow, anna.headers, path, length=MOST + more)
        assert refusal(slow.answer(), 413, "PAYLOAD_TOO_LARGE")["limit_bytes"] == MOST
        assert slow.asked == 0
    length = uploads.BESIDE_LIMIT_BYTES + MOST + 1
    slow = Slow(narrow, anna.headers | FORM, f"{FCS}/upload", length=length, query="", method="POST")
    refusal(slow.hungry().send(HEAD).answer(), 413, "PAYLOAD_TOO_LARGE")
    assert slow.asked == 1
    for _ in range(2):
        put(narrow, anna, fresh(MOST))
    slow = Slow(narrow, anna.headers, path, length=QUOTA - 2 * MOST + 1)
    document = refusal(slow.answer(), 507, "INSUFFICIENT_STORAGE")
    assert [document[name] for name in ("needed_bytes", "free_bytes", "quota_bytes")] == [501, 500, QUOTA]
    assert (slow.asked, kept(narrow, anna)) == (0, 2)
    no_trace(narrow)


def test_what_goes_on_and_on_is_refused_while_it_is_read(narrow: House) -> None:
    anna, content = narrow.person(), fresh(MOST)
    slow = Slow(narrow, anna.headers, f"{FCS}/content")
    slow.hungry().send(content[:500]).hungry().send(content[500:])
    assert refusal(slow.hungry().send(b"!").answer(), 413, "PAYLOAD_TOO_LARGE")["limit_bytes"] == MOST
    assert slow.asked == 3
    nothing_left(narrow, anna, content)


def test_files_documents_and_fcs_files_fill_one_quota(narrow: House) -> None:
    anna, client = narrow.person(), narrow.client
    file = put(narrow, anna, fresh(MOST))
    beside = office.put(narrow, anna, b"x" * MOST)
    office.document(narrow, anna, content="y" * 100)
    assert used(narrow, anna) == 2 * MOST + 100
    storage = made(client.get(f"{FILES}/storage", headers=anna.headers), 200)
    assert (storage["total"], storage["percentage"]) == (QUOTA, 84.0)
    assert {kind: size for kind, size in storage["by_type"].items() if size} == {
        "fcs": MOST,
        "texts": 100,
        "documents": MOST,
    }
    for send in (raw, chunked, formed):
        content = fresh(401)
        document = refusal(send(narrow, anna, content), 507, "INSUFFICIENT_STORAGE")
        assert [document[name] for name in ("needed_bytes", "free_bytes", "quota_bytes")] == [401, 400, QUOTA]
        gone(narrow, content)
    assert (kept(narrow, anna), used(narrow, anna)) == (1, 2 * MOST + 100)
    for answer in (
        client.put(f"{FILES}/content?name=a", content=b"z" * 401, headers=anna.headers),
        client.post(DOCUMENTS, json={"title": "T", "content": "z" * 401}, headers=anna.headers),
    ):
        assert refusal(answer, 507, "INSUFFICIENT_STORAGE")["free_bytes"] == 400
    put(narrow, anna, fresh(400))
    assert used(narrow, anna) == QUOTA
    remove(narrow, anna, file["file_id"])
    assert client.delete(f"{FILES}/{beside['id']}", headers=anna.headers).status_code == 204
    assert used(narrow, anna) == 500
    put(narrow, anna, fresh(MOST))
    no_trace(narrow)


def test_the_same_bytes_count_as_often_as_they_are_named_and_for_whom(narrow: House) -> None:
    anna, otto, content = narrow.person(), narrow.person(), fresh(MOST)
    files = [put(narrow, anna, content) for _ in range(2)]
    refusal(raw(narrow, anna, content), 507, "INSUFFICIENT_STORAGE")
    put(narrow, otto, content)
    assert (used(narrow, anna), used(narrow, otto)) == (2 * MOST, MOST)
    remove(narrow, anna, files[0]["file_id"])
    assert (used(narrow, anna), used(narrow, otto)) == (MOST, MOST)


def test_what_was_announced_is_reserved_until_its_upload_ends(narrow: House) -> None:
    anna, path = narrow.person(), f"{FCS}/content"
    content = fresh(MOST)
    first, second = (Slow(narrow, anna.headers, path, length=MOST).hungry() for _ in range(2))
    for answer in (
        raw(narrow, anna, fresh(501)),
        narrow.client.put(f"{FILES}/content?name=a", content=b"z" * 501, headers=anna.headers),
    ):
        document = refusal(answer, 507, "INSUFFICIENT_STORAGE")
        assert (document["needed_bytes"], document["free_bytes"]) == (501, 500)
    first.send(content[:100]).hungry().leave()
    until(lambda: len(narrow.rows("SELECT id FROM file_uploads")) == 1, "the place is given back")
    made(raw(narrow, anna, fresh(MOST)))
    made(second.end(content))
    no_trace(narrow)
    assert (kept(narrow, anna), used(narrow, anna)) == (2, 2 * MOST)


def test_who_may_no_more_when_the_last_byte_comes_has_uploaded_nothing(house: House) -> None:
    content = fresh()
    for path, change, status in (
        ("roles", {"roles": ["guest"]}, 403),
        ("status", {"status": "suspended"}, 401),
    ):
        anna = house.person()
        headers = house.token(anna) if status == 403 else anna.headers
        slow = Slow(house, headers, f"{FCS}/content").hungry().send(content[:100])
        slow.hungry()
        method = "PUT" if path == "roles" else "PATCH"
        assert house.client.request(method, f"{API}/users/{anna.id}/{path}", json=change).is_success
        refusal(slow.end(content[100:]), status)
        no_trace(house)
        gone(house, content)
        assert (kept(house, anna), contents(house, content)) == (0, 0)


def test_files_on_their_way_count_together_with_fcs_files_on_their_way(house: House) -> None:
    anna = house.person()
    running = [Slow(house, anna.headers, f"{(FCS, FILES)[n % 2]}/content").hungry() for n in range(16)]
    refusal(raw(house, anna, fresh()), 429, "TOO_MANY_REQUESTS")
    for slow in running:
        slow.leave()
    no_trace(house)
    put(house, anna, fresh())


def test_the_same_bytes_are_one_blob_and_one_content_by_whomever_they_are_uploaded(house: House) -> None:
    anna, otto, content = house.person(), house.person(), fresh()
    files = [put(house, anna, content, "a.fcs"), put(house, anna, content, "b.fcs")]
    third = made(formed(house, otto, content, "c.fcs"))
    assert len({file["file_id"] for file in (*files, third)}) == 3
    assert {file["sha256"] for file in (*files, third)} == {sha256(content).hexdigest()}
    assert (len(blobs(house, content)), contents(house, content)) == (1, 1)
    assert [file["filename"] for file in ask(house, anna, "files").json()] == ["b.fcs", "a.fcs"]
    for file in files:
        assert contents(house, content) == 1
        remove(house, anna, file["file_id"])
    assert contents(house, content) == 1
    answer = ask(house, otto, f"files/{third['file_id']}/download")
    assert (answer.status_code, answer.content) == (200, content)
    remove(house, otto, third["file_id"])
    assert (contents(house, content), len(blobs(house, content))) == (0, 1)


def test_a_content_goes_with_the_account_that_had_it_last(house: House) -> None:
    anna, otto, own, common = house.person(), house.person(), fresh(), fresh()
    for content in (own, common):
        put(house, anna, content)
    shared = put(house, otto, common)
    assert house.client.delete(f"{API}/users/{anna.id}").status_code == 204
    assert (contents(house, own), contents(house, common), kept(house, anna)) == (0, 1, 0)
    assert house.rows("SELECT * FROM storage_use WHERE owner_id = ?", anna.id) == []
    assert used(house, otto) == len(common)
    assert ask(house, otto, f"files/{shared['file_id']}/download").content == common


def test_a_content_that_went_and_comes_again_is_known_anew(house: House) -> None:
    anna, content = house.person(), fresh()
    first = put(house, anna, content)
    known = made(ask(house, anna, "statistics"), 200)["statistics"]
    remove(house, anna, first["file_id"])
    second = put(house, anna, content)
    assert second["file_id"] > first["file_id"]
    assert made(ask(house, anna, "statistics"), 200) == {
        "file_id": second["file_id"],
        "total_events": 1,
        "parser_version": VERSION,
        "statistics": known,
    }


@pytest.mark.slow
def test_bytes_are_swept_when_nothing_names_them_any_more_and_not_before(tmp_path: Path) -> None:
    """Neither while a file of another account names them, nor one of the other room, nor within the hour."""
    names = ("deleted", "young", "twice", "a file too", "kept")
    content = {name: fresh() for name in names}
    with served(tmp_path) as house:
        token = house.client.headers["Authorization"]
        anna, otto = house.person(), house.person()
        files = {name: put(house, anna, content[name]) for name in names}
        put(house, otto, content["twice"])
        office.put(house, otto, content["a file too"])
        for name in names[:4]:
            remove(house, anna, files[name]["file_id"])
        assert [len(blobs(house, content[name])) for name in names] == [1] * 5
        assert [contents(house, content[name]) for name in names] == [0, 0, 1, 0, 1]
    for path in (house.config.data_dir / "blobs").rglob("*"):
        if path.is_file() and path.read_bytes() != content["young"]:
            os.utime(path, (0, 0))
    with served(tmp_path, token) as house:
        until(lambda: not blobs(house, content["deleted"]), "the bytes are swept")
        assert [len(blobs(house, content[name])) for name in names] == [0, 1, 1, 1, 1]
        assert ask(house, otto, "events").json()["total_events"] == 1


def test_changes_and_refusals_are_in_the_trail_once(house: House) -> None:
    anna, otto = house.person(), house.person()
    file_id = made(formed(house, anna, fresh()))["file_id"]
    other = put(house, anna, fresh())["file_id"]
    refusal(raw(house, anna, b"<html>"), 400)
    refusal(house.client.delete(f"{FCS}/files/{file_id}", headers=otto.headers), 404)
    remove(house, anna, file_id)
    assert house.client.delete(f"{FCS}/files/{other}").status_code == 204
    answer = house.client.get(f"{API}/audit", params={"limit": 100})
    assert answer.status_code == 200
    told = [
        (row["kind"], row["actor_name"] == anna.username, row["method"], row["status"], row["action"], row["target"])
        for row in answer.json()
        if row["route"] is not None and row["route"].startswith(FCS) and row["method"] != "GET"
    ]
    assert told[:6][::-1] == [
        ("change", True, "POST", 201, "fcs.upload", f"fcs/files/{file_id}"),
        ("change", True, "PUT", 201, "fcs.upload", f"fcs/files/{other}"),
        ("call", True, "PUT", 400, None, None),
        ("call", False, "DELETE", 404, None, None),
        ("change", True, "DELETE", 204, "fcs.delete", f"fcs/files/{file_id}"),
        ("change", False, "DELETE", 204, "fcs.delete", f"fcs/files/{other}"),
    ]


def test_a_list_is_ones_own_the_newest_first_page_by_page(house: House) -> None:
    anna, otto, content = house.person(), house.person(), fresh()
    assert listed(house, anna) == []
    ids = [put(house, anna, content, f"{n}.fcs")["file_id"] for n in range(5)]
    theirs = put(house, otto, content)["file_id"]
    assert listed(house, anna) == ids[::-1]
    assert listed(house, otto) == [theirs]
    for limit in (1, 2, 5, 1000):
        assert listed(house, anna, limit=limit) == ids[::-1]
    answer = ask(house, anna, "files", limit=2, count=True)
    assert (answer.headers["x-total-count"], len(answer.json())) == ("5", 2)
    assert answer.json()[0] == ask(house, anna, f"files/{ids[-1]}").json()
    assert "x-total-count" not in ask(house, anna, "files").headers
    following = answer.links["next"]["url"]
    remove(house, anna, ids[-1])
    later = put(house, anna, content)["file_id"]
    rest = house.client.get(following, headers=anna.headers)
    assert [file["file_id"] for file in rest.json()] == [ids[2], ids[1]]
    assert listed(house, anna) == [later, *ids[-2::-1]]


BAD_LISTS = [("limit", "0"), ("limit", "1001"), ("limit", "x"), ("cursor", "made up"), ("count", "maybe")]


@pytest.mark.parametrize(("name", "value"), [*BAD_LISTS, ("owner_id", "1"), ("q", "a")])
def test_a_list_refuses_what_it_does_not_know(house: House, empty_handed: Person, name: str, value: str) -> None:
    answer = ask(house, empty_handed, "files", **{name: value})
    assert refusal(answer, 400, "VALIDATION_ERROR")["errors"][0]["field"] == name


def test_a_file_is_shown_until_it_is_deleted(house: House) -> None:
    anna = house.person()
    file = put(house, anna, fresh(), "Größe.fcs")
    path = f"{FCS}/files/{file['file_id']}"
    assert house.client.get(path, headers=anna.headers).json() == file
    head = house.client.head(path, headers=anna.headers)
    assert (head.status_code, head.content) == (200, b"")
    done = house.client.delete(path, headers=anna.headers)
    assert (done.status_code, done.content) == (204, b"")
    for method, more in (("GET", ""), ("GET", "/download"), ("DELETE", "")):
        refusal(house.client.request(method, path + more, headers=anna.headers), 404, "NOT_FOUND")
    assert listed(house, anna) == []


@pytest.mark.parametrize("method", ["PUT", "PATCH", "POST"])
def test_a_file_that_is_stored_is_never_changed(house: House, method: str) -> None:
    anna = house.person()
    file = put(house, anna, fresh())
    for path in (f"{FCS}/files/{file['file_id']}", f"{FCS}/files/{file['file_id']}/download"):
        answer = house.client.request(method, path, json={"filename": "b.fcs"}, headers=anna.headers)
        refusal(answer, 405, "METHOD_NOT_ALLOWED")
    assert ask(house, anna, f"files/{file['file_id']}").json() == file


def test_a_download_is_the_file_byte_by_byte_and_runs_nowhere(house: House) -> None:
    anna = house.person()
    content = fcs([[float(n) for n in range(100_000)]])
    file = put(house, anna, content)
    path, tag = f"{FCS}/files/{file['file_id']}/download", f'"{sha256(content).hexdigest()}"'
    answer = house.client.get(path, headers=anna.headers)
    assert (answer.status_code, answer.content == content) == (200, True)
    head = house.client.head(path, headers=anna.headers | {"Range": "bytes=0-1"})
    assert (head.status_code, head.content) == (200, b"")
    for found in (answer, head):
        assert found.headers["content-length"] == str(len(content))
        assert found.headers["content-type"] == "application/vnd.isac.fcs"
        assert found.headers["content-disposition"] == "attachment; filename=\"a.fcs\"; filename*=UTF-8''a.fcs"
        assert found.headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert found.headers["x-content-type-options"] == "nosniff"
        assert (found.headers["etag"], found.headers["accept-ranges"]) == (tag, "bytes")
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        found = house.client.get(path, headers=anna.headers | {"If-None-Match": known})
        assert (found.status_code, found.content, found.headers["etag"]) == (304, b"", tag)
    found = house.client.get(path, headers=anna.headers | {"If-None-Match": '"other"'})
    assert (found.status_code, len(found.content)) == (200, len(content))
    refusal(house.client.get(path, headers=NOBODY), 401, "UNAUTHORIZED")


RANGED = fcs([[float(n) for n in range(100)]])
SIZE = len(RANGED)
RANGES: list[tuple[str, slice | None]] = [
    ("bytes=0-", slice(0, None)),
    ("bytes=0-0", slice(0, 1)),
    ("bytes=100-199", slice(100, 200)),
    ("bytes=100-", slice(100, None)),
    (f"bytes=100-{10**9}", slice(100, None)),
    ("bytes=-24", slice(SIZE - 24, None)),
    (f"bytes=-{10**9}", slice(0, None)),
    ("bytes=9-3", None),
    ("bytes=0-1,5-6", None),
    ("pages=1-2", None),
]


@pytest.mark.parametrize(("wanted", "part"), RANGES, ids=[wanted for wanted, _ in RANGES])
def test_a_download_is_resumed_where_it_broke_off(house: House, owner: Person, wanted: str, part: slice | None) -> None:
    file = put(house, owner, RANGED)
    path, tag = f"{FCS}/files/{file['file_id']}/download", f'"{file["sha256"]}"'
    expected = RANGED[part or slice(None)]
    for more in ({}, {"If-Range": tag}):
        answer = house.client.get(path, headers=owner.headers | {"Range": wanted} | more)
        assert (answer.status_code, answer.content) == (200 if part is None else 206, expected)
        assert answer.headers["content-length"] == str(len(expected))
        begin, end, _ = (part or slice(0)).indices(SIZE)
        told = None if part is None else f"bytes {begin}-{end - 1}/{SIZE}"
        assert (answer.headers.get("content-range"), answer.headers["etag"]) == (told, tag)
    other = house.client.get(path, headers=owner.headers | {"Range": wanted, "If-Range": '"another"'})
    assert (other.status_code, other.content) == (200, RANGED)


def test_what_lies_behind_the_end_is_refused_with_the_size(house: House) -> None:
    anna = house.person()
    file = put(house, anna, fresh())
    size = file["size_bytes"]
    path = f"{FCS}/files/{file['file_id']}/download"
    for wanted in (f"bytes={size}-", "bytes=99999-100000", "bytes=-0"):
        answer = house.client.get(path, headers=anna.headers | {"Range": wanted})
        assert refusal(answer, 416, "RANGE_NOT_SATISFIABLE")["size_bytes"] == size
        assert answer.headers["content-range"] == f"bytes */{size}"


ODD = {
    'quote".fcs': ("quote_.fcs", "quote%22.fcs"),
    "semi;colon.fcs": ("semi_colon.fcs", "semi%3Bcolon.fcs"),
    "Größe µ.fcs": ("Gr__e _.fcs", "Gr%C3%B6%C3%9Fe%20%C2%B5.fcs"),
    "100%.fcs": ("100_.fcs", "100%25.fcs"),
    "a\r\nSet-Cookie: b=c.fcs": ("aSet-Cookie_ b=c.fcs", "aSet-Cookie%3A%20b%3Dc.fcs"),
    "<script>.html": ("_script_.html", "%3Cscript%3E.html"),
}


@pytest.mark.parametrize("name", ODD, ids=ascii)
def test_an_odd_name_stays_within_its_header(house: House, owner: Person, name: str) -> None:
    plain, exact = ODD[name]
    file = put(house, owner, COMMON, name)
    answer = ask(house, owner, f"files/{file['file_id']}/download")
    assert answer.headers["content-disposition"] == f"attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}"
    assert "set-cookie" not in answer.headers
    assert answer.headers["content-type"] == "application/vnd.isac.fcs"
