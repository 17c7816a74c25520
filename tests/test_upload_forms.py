"""Files in forms: what browsers and curl send comes through byte for byte, and what nobody should send is refused."""

import hashlib
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, pairwise, repeat
from pathlib import Path

import httpx2
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.web.uploads import BESIDE_LIMIT_BYTES, FIELD_LIMIT_BYTES, MOST_PARTS
from tests.accounts import Person
from tests.house import House
from tests.office import FILES, folder, made, put
from tests.support import Service, ask, refusal
from tests.test_uploads import Slow, files_of, no_trace

Part = tuple[bytes, bytes]
CUT = b"multipart/form-data; boundary=cut"
INVALID = "VALIDATION_ERROR"


@pytest.fixture(scope="module")
def anna(house: House) -> Person:
    return house.person()


def file(content: bytes = b"x", name: bytes = b"a.txt", field: bytes = b"file") -> Part:
    """A part that is a file."""
    return b'Content-Disposition: form-data; name="%s"; filename="%s"' % (field, name), content


def field(name: bytes, text: bytes) -> Part:
    """A part that is a field."""
    return b'Content-Disposition: form-data; name="%s"' % name, text


def body(*parts: Part, cut: bytes = b"cut", end: bytes = b"--\r\n") -> bytes:
    """A whole form of these parts."""
    begun = b"".join(b"--%s\r\n%s\r\n\r\n%s\r\n" % (cut, *part) for part in parts)
    return begun + b"--" + cut + end


def send(house: House, who: Person, chunks: Sequence[bytes], kind: bytes = CUT) -> httpx2.Response:
    """The answer to a form that comes in these chunks."""
    given = [(b"authorization", who.headers["Authorization"].encode()), (b"content-type", kind)]
    return ask(house.client, "POST", FILES, headers=given, body=chunks)


def download(house: House, who: Person, file_id: int) -> bytes:
    answer = house.client.get(f"{FILES}/{file_id}/download", headers=who.headers)
    assert answer.status_code == 200, answer.text
    return answer.content


def pieces(whole: bytes, cuts: Iterable[int]) -> list[bytes]:
    """The text cut at these places, some of which may be the same."""
    places = [0, *sorted(at % (len(whole) + 1) for at in cuts), len(whole)]
    return [whole[begin:end] for begin, end in pairwise(places)]


BEGINNINGS = [b"\r\n--cu", b"\r\n--cutX", b"\r\n--cut-", b"\r\n--cut\r", b"--cut", b"--cut--", b"\r\n", b"\r", b"\r\n-"]
CONTENTS = st.lists(st.sampled_from(BEGINNINGS) | st.binary(max_size=12), max_size=12).map(b"".join)
"""Any bytes, most of all those that are nearly a boundary."""
ENDS = (b"\r\n--cut\r\n", b"\r\n--cut--", b"\r\n--cut ", b"\r\n--cut\t")


@settings(max_examples=100)
@given(
    content=CONTENTS.filter(lambda text: not any(end in b"\r\n" + text + b"\r\n--cut" for end in ENDS)),
    cuts=st.lists(st.integers(0, 10**6), max_size=40),
    before=st.booleans(),
    preamble=st.sampled_from([b"", b"\r\n", b"\r\n\r\n"]),
    end=st.sampled_from([b"--", b"--\r\n", b"--\r\nepilogue\r\n--cut\r\n"]),
)
@example(content=b"\r\n--cut-\r\n--cu", cuts=range(1000), before=False, preamble=b"", end=b"--")
@example(content=b"\r\n--cut\rx\r\n--cutx\r\r\n--cu", cuts=range(1000), before=True, preamble=b"", end=b"--")
def test_any_bytes_come_out_as_they_were_wherever_the_form_is_cut(
    house: House, anna: Person, content: bytes, cuts: Iterable[int], before: bool, preamble: bytes, end: bytes
) -> None:
    name, place = field(b"name", "größe.bin".encode()), field(b"folder_id", b"0")
    parts = [name, file(content), place] if before else [place, file(content), name]
    made_of = made(send(house, anna, pieces(preamble + body(*parts, end=end), cuts)))
    expected = (len(content), hashlib.sha256(content).hexdigest(), "größe.bin")
    assert (made_of["size_bytes"], made_of["sha256"], made_of["name"]) == expected
    assert download(house, anna, made_of["id"]) == content


@pytest.mark.parametrize("size", [0, 1, 262_143, 262_144, 262_145, 3_000_000])
def test_a_file_of_any_length_comes_out_whole(house: House, anna: Person, size: int) -> None:
    content = (b"\r\n--cu" * (size // 6 + 1))[:size]
    whole = body(file(content))
    sent = made(send(house, anna, [whole[at : at + 65_536] for at in range(0, len(whole), 65_536)]))
    assert sent["size_bytes"] == size
    assert download(house, anna, sent["id"]) == content
    assert made(send(house, anna, [whole]))["sha256"] == sent["sha256"]


GRAMMAR = [b"--cut", b"\r\n", b"--", b"\r", b"\n", b":", b";", b'"', b"\\", b"=", b" ", b"\0", b"Content-Disposition"]
GRAMMAR += [b'form-data; name="file"; filename="a"', b'form-data; name="name"', b'form-data; name="folder_id"', b"\xff"]
GRAMMAR += [body(file())[:-10], body(field(b"name", b"b"))[:-10], b"\r\n--cut--\r\n", b"\r\n--cut\r\n"]
GARBAGE = st.lists(st.sampled_from(GRAMMAR) | st.binary(max_size=20), max_size=25)


@settings(max_examples=100)
@given(chunks=GARBAGE, begins=st.booleans())
def test_garbage_is_refused_and_nothing_worse(house: House, anna: Person, chunks: list[bytes], begins: bool) -> None:
    answer = send(house, anna, [b"--cut\r\n", *chunks] if begins else [*chunks, b""])
    if answer.status_code != 201:
        assert answer.status_code < 500, answer.text
        refusal(answer, answer.status_code)


VALUES = st.lists(st.sampled_from(GRAMMAR) | st.binary(max_size=8), max_size=8).map(b"".join)


@settings(max_examples=100)
@given(value=VALUES.filter(lambda text: b"\r" not in text), of_type=st.booleans())
def test_a_header_of_any_bytes_is_taken_or_refused_and_nothing_worse(
    house: House, anna: Person, value: bytes, of_type: bool
) -> None:
    if of_type:
        answer = send(house, anna, [body(file())], b"multipart/form-data; boundary=" + value)
    else:
        answer = send(house, anna, [body((b'Content-Disposition: form-data; name="file"' + value, b"x"))])
    if answer.status_code != 201:
        assert answer.status_code in (400, 415), answer.text
        refusal(answer, answer.status_code)


KINDS: list[tuple[bytes, int]] = [
    (b"", 415),
    (b"application/json", 415),
    (b"application/x-www-form-urlencoded", 415),
    (b"multipart/mixed; boundary=cut", 415),
    (b"multipart/form-data", 415),
    (b"multipart/form-data; boundary=", 415),
    (b'multipart/form-data; boundary=""', 415),
    (b"multipart/form-data, multipart/form-data; boundary=cut", 415),
    (b"multipart/form-data; boundary=" + b"c" * 257, 400),
    (b"multipart/form-data; boundary=another", 400),
    (b"multipart/form-data;boundary=cut", 201),
    (b'Multipart/Form-Data; charset=utf-8; Boundary="cut"', 201),
]


@pytest.mark.parametrize(("kind", "status"), KINDS)
def test_a_form_says_what_it_is_and_where_it_is_cut(house: House, anna: Person, kind: bytes, status: int) -> None:
    answer = send(house, anna, [body(file())], kind)
    if status == 201:
        made(answer)
        return
    refusal(answer, status, "UNSUPPORTED_MEDIA_TYPE" if status == 415 else INVALID)
    if status == 415:
        slow = Slow(house, anna.headers | {"content-type": kind.decode()}, FILES, query="", method="POST")
        refusal(slow.answer(), 415)
        assert slow.asked == 0


MANY = [field(b"f%d" % number, b"x") for number in range(MOST_PARTS)]
LONG = b"x" * (FIELD_LIMIT_BYTES + 1)
REFUSED: dict[str, tuple[bytes, str | None]] = {
    "no part": (body(), "/file"),
    "nothing": (b"", None),
    "no file": (body(field(b"name", b"a.txt")), "/file"),
    "another file": (body(file(field=b"attachment")), "/file"),
    "a text as file": (body(field(b"file", b"x")), "/file"),
    "no filename": (body(file(name=b"")), "/file"),
    "two files": (body(file(), file()), "/file"),
    "the same field twice": (body(file(), field(b"name", b"a"), field(b"name", b"b")), "/name"),
    "an unknown field": (body(field(b"_csrf", b"x"), file()), "/_csrf"),
    "an unknown field behind": (body(file(), field(b"_csrf", b"x")), "/_csrf"),
    "another file behind": (body(file(), file(field=b"thumbnail")), "/thumbnail"),
    "no name": (body((b"Content-Disposition: form-data", b"x"), file()), None),
    "no header": (body((b"", b"x"), file()), None),
    "a field too long": (body(field(b"name", LONG), file()), "/name"),
    "a field too long behind": (body(file(), field(b"name", LONG)), "/name"),
    "a name too long": (body(field(b"name", b"x" * 1001), file()), "/name"),
    "bad UTF-8": (body(field(b"name", b"\xff\xfe"), file()), "/name"),
    "a surrogate": (body(file(), field(b"name", b"\xed\xa0\x80")), "/name"),
    "a NUL": (body(field(b"name", b"a\0b"), file()), "/name"),
    "too many parts": (body(*MANY, file()), None),
    "too many parts behind": (body(file(), *MANY), None),
    "breaks off in a header": (b"--cut\r\nContent-Dispo", None),
    "breaks off in the file": (body(file())[:-10], None),
    "breaks off in its end": (body(file(), end=b"-"), None),
    "another part that never comes": (body(file(), end=b"\r\n"), None),
    "line feeds alone": (body(file()).replace(b"\r\n", b"\n"), None),
    "a long header": (body((b"X-A: " + b"x" * 5000, b""), file()), None),
    "a long header's name": (body((b"X" * 5000 + b": a", b""), file()), None),
    "many headers": (body((b"\r\n".join([b"X-A: b"] * 100 + [file()[0]]), b"x")), None),
    "an endless header": (b"--cut\r\nX-A: " + b"x" * 2**20, None),
    "no header's name": (b"--cut\r\n: x\r\n\r\n" + body(file()), None),
}


@pytest.mark.parametrize("cut", [1, 10**9], ids=["byte by byte", "at once"])
@pytest.mark.parametrize("what", REFUSED)
def test_a_form_that_does_not_hold_is_refused_and_leaves_nothing(
    house: House, anna: Person, what: str, cut: int
) -> None:
    content, named = REFUSED[what]
    before = files_of(house, anna)
    start = content[:10_000]
    chunks = [*(start[at : at + cut] for at in range(0, len(start), cut)), content[10_000:]]
    errors = refusal(send(house, anna, chunks), 400, INVALID)["errors"]
    assert [error["field"] for error in errors] == ([] if named is None else [named])
    assert files_of(house, anna) == before
    no_trace(house)


PLACES: list[tuple[bytes, int]] = [(b"", 201), (b"0", 201), (b"abc", 400), (b"-1", 400), (b"1.5", 400), (b"null", 400)]
PLACES += [(b"true", 400), (b" 1", 400), (b"1\n", 400), (b"9" * 4000, 400), (b"1e400", 400), (b"123456789012345", 404)]


@pytest.mark.parametrize(("text", "status"), PLACES)
@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
def test_a_form_says_where_the_file_shall_lie(
    house: House, anna: Person, text: bytes, status: int, behind: bool
) -> None:
    place = field(b"folder_id", text)
    answer = send(house, anna, [body(file(), place) if behind else body(place, file())])
    if status == 201:
        assert made(answer)["folder_id"] is None
    elif status == 404:
        refusal(answer, 404, "NOT_FOUND")
    else:
        assert [error["field"] for error in refusal(answer, 400, INVALID)["errors"]] == ["/folder_id"]


def test_a_name_in_the_form_is_preferred_to_the_files_own(house: House, anna: Person) -> None:
    place = folder(house, anna, "forms")
    more = [field(b"name", b"other.txt"), field(b"folder_id", b"%d" % place["id"])]
    for parts in ([*more, file()], [file(), *more]):
        sent = made(send(house, anna, [body(*parts)]))
        assert (sent["name"], sent["folder_id"]) == ("other.txt", place["id"])
    assert made(send(house, anna, [body(field(b"name", b""), file())]))["name"] == "a.txt"


def endless(begun: bytes, more: bytes) -> Iterator[bytes]:
    """A body that begins so and goes on like that; it ends when it is far too late."""
    return chain([begun], islice(repeat(more * 16_384), 200))


@pytest.mark.parametrize(
    ("begun", "more"),
    [
        (body(file()), b"e"),
        (body(file()), b"\r\n--cut\r\n"),
        (b"\r\n", b"\r\np"),
        (b"\r\n", b"\r\n"),
        (body(*[field(b"f%d" % number, b"x") for number in range(3)])[:-4], b" "),
    ],
    ids=["epilogue", "parts in the epilogue", "preamble", "line breaks", "padding"],
)
def test_what_is_beside_the_file_is_not_read_for_ever(house: House, anna: Person, begun: bytes, more: bytes) -> None:
    slow = Slow(house, anna.headers | {"content-type": CUT.decode()}, FILES, query="", method="POST")
    for piece in endless(begun, more):
        slow.send(piece)
    refused = refusal(slow.answer(), 413, "PAYLOAD_TOO_LARGE")
    assert refused["limit_bytes"] == BESIDE_LIMIT_BYTES
    assert slow.asked * 16_384 * len(more) < 3 * BESIDE_LIMIT_BYTES
    no_trace(house)


def test_a_large_file_is_no_reason_to_refuse_what_is_beside_it(house: House, anna: Person) -> None:
    content = b"x" * (2 * BESIDE_LIMIT_BYTES)
    whole = body(field(b"name", b"a.bin"), file(content), field(b"folder_id", b"0")) + b"e" * 500_000
    assert made(send(house, anna, [whole]))["size_bytes"] == len(content)


WEBKIT = "----WebKitFormBoundary7MA4YWxkTrZu0gW7"
GECKO = "---------------------------9051914041544843365972754266"
BROWSERS: list[tuple[str, str, str, str]] = [
    (WEBKIT, 'name="file"; filename="Grüße 日本 🎈.txt"', "text/plain", "Grüße 日本 🎈.txt"),
    (WEBKIT, 'name="file"; filename="say %22hi%22.txt"', "text/plain", "say %22hi%22.txt"),
    (GECKO, 'name="file"; filename="say %22hi%22; ok.txt"', "text/plain", "say %22hi%22; ok.txt"),
    (GECKO, 'name="file"; filename="say \\"hi\\"; ok.txt"', "text/plain", 'say "hi"; ok.txt'),
    (WEBKIT, 'name="file"; filename="C:\\Users\\anna\\report.pdf"', "application/pdf", "report.pdf"),
    (WEBKIT, 'name="file"; filename="../../etc/passwd"', "application/octet-stream", "passwd"),
    (GECKO, 'name="file"; filename="a=b; name=\'c\'.txt"', "", "a=b; name='c'.txt"),
    (GECKO, 'name="file"; filename="100%.txt"', "text/plain", "100%.txt"),
    (GECKO, "name=file; filename=plain.txt", "text/plain", "plain.txt"),
    (GECKO, 'name="file"; filename="a\x1fb\x7f\x00c\u202egpj.exe"', "text/plain", "abcgpj.exe"),
]


@pytest.mark.parametrize(("cut", "said", "kind", "name"), BROWSERS)
def test_a_form_comes_through_as_browsers_send_it(
    house: House, anna: Person, cut: str, said: str, kind: str, name: str
) -> None:
    """They write UTF-8 into the headers, `%22` for a quotation mark, and a type that is their guess."""
    content = b"GIF89a\r\n--" + cut.encode()[:-1] + b"\r\n"
    lines = [f"--{cut}", 'Content-Disposition: form-data; name="folder_id"', "", "0"]
    lines += [
        f"--{cut}",
        f"Content-Disposition: form-data; {said}",
        *([f"Content-Type: {kind}"] if kind else []),
        "",
        "",
    ]
    whole = "\r\n".join(lines).encode() + content + f"\r\n--{cut}--\r\n".encode()
    sent = made(send(house, anna, [whole], f"multipart/form-data; boundary={cut}".encode()))
    assert (sent["name"], sent["media_type"], sent["size_bytes"]) == (name, "image/gif", len(content))
    assert download(house, anna, sent["id"]) == content


def test_a_name_that_is_no_utf_8_is_mended(house: House, anna: Person) -> None:
    assert made(send(house, anna, [body(file(name=b"a\xe9\xffb.txt"))]))["name"] == "a\ufffd\ufffdb.txt"


def test_a_form_of_a_python_client_comes_through(house: House, anna: Person) -> None:
    content = bytes(range(256)) * 5000
    given = {"file": ('a "b".bin', content, "image/png")}
    answer = house.client.post(FILES, data={"folder_id": ""}, files=given, headers=anna.headers)
    sent = made(answer)
    assert (sent["media_type"], sent["size_bytes"]) == ("application/octet-stream", len(content))
    assert answer.headers["location"] == f"{FILES}/{sent['id']}"
    assert download(house, anna, sent["id"]) == content
    assert put(house, anna, content)["sha256"] == sent["sha256"]


def curl(service: Service, *arguments: str) -> tuple[int, dict[str, object]]:
    """The status and the object that curl was answered with."""
    told = ["--silent", "--show-error", "--max-time", "30", "--write-out", "\n%{http_code}"]
    given = ["curl", "--noproxy", "*", *told, "--header", f"Authorization: Token {service.token}", *arguments]
    ended = subprocess.run(given, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    text, _, status = ended.stdout.rpartition(b"\n")
    return int(status), msgspec.json.decode(text)


@pytest.mark.slow
def test_curl_uploads_by_form_by_body_and_in_chunks(service: Service, tmp_path: Path) -> None:
    service.settings["MAX_UPLOAD_BYTES"] = str(8 * 2**20)
    service.start()
    content = bytes(range(251)) * 20_000
    (tmp_path / "größe; x.bin").write_bytes(content)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "long").write_bytes(b"\0" * (30 * 2**20))
    files, long, source = f"{service.url}{FILES}", str(tmp_path / "long"), str(tmp_path / "größe; x.bin")
    to = f"{files}/content?name=b.bin"
    ways: list[tuple[str, list[str]]] = [
        ("größe; x.bin", ["--form", f'file=@"{source}"', files]),
        ("c.bin", ["--form", f'file=@"{source}";type=text/html', "--form", "name=c.bin", f"{files}/upload"]),
        ("d e.bin", ["--form", "folder_id=", "--form", f'file=@"{source}";filename="d e.bin"', files]),
        ("b.bin", ["--upload-file", source, to]),
        ("b.bin", ["--header", "Transfer-Encoding: chunked", "--upload-file", source, to]),
        ("b.bin", ["--header", "Expect: 100-continue", "--upload-file", source, to]),
        ("b.bin", ["--request", "PUT", "--data-binary", f"@{source}", to]),
    ]
    for name, arguments in ways:
        status, sent = curl(service, *arguments)
        expected = (201, name, len(content), hashlib.sha256(content).hexdigest())
        assert (status, sent["name"], sent["size_bytes"], sent["sha256"]) == expected, arguments
    assert curl(service, "--upload-file", str(tmp_path / "empty"), to)[1]["size_bytes"] == 0
    for arguments in (
        ["--upload-file", long, to],
        ["--header", "Expect:", "--upload-file", long, to],
        ["--header", "Transfer-Encoding: chunked", "--upload-file", long, to],
        ["--form", f"file=@{long}", files],
        ["--header", "Expect:", "--form", f"file=@{long}", files],
    ):
        status, refused = curl(service, *arguments)
        assert (status, refused["code"], refused["limit_bytes"]) == (413, "PAYLOAD_TOO_LARGE", 8 * 2**20), arguments
    assert curl(service, "--upload-file", source, to)[0] == 201
    assert [*(service.data_dir / "blobs" / "incoming").iterdir()] == []
