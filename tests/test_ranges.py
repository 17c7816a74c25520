"""Ranges of files: what a client may ask for, what is ignored or refused, and the bytes that come of it."""

import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote_to_bytes

import anyio
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response

from app.errors import RangeNotSatisfiable
from app.web.ranges import CHUNK_BYTES, attached, file_part, not_modified, part_of, requested, sent, unchanged
from tests.support import Service, until

TAG = '"5891b5b522d5df08"'
Message = dict[str, Any]


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=2-4", (2, 5)),
        ("bytes=2-", (2, 10)),
        ("bytes=2-99", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes=9-9", (9, 10)),
        ("bytes=00-09", (0, 10)),
        ("bytes=0-999999999999999999", (0, 10)),
        ("bytes = 1 - 2", (1, 3)),
        ("bytes=4-2", None),
        ("bytes=0-1,3-4", None),
        ("lines=1-2", None),
        ("bytes=a-b", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=--1", None),
        ("bytes=1-2-3", None),
        ("bytes=0-1000000000000000000", None),
        ("bytes=\u0661-\u0662", None),
        ("bytes=0-1\n", None),
        ("Bytes=0-1", None),
    ],
)
def test_a_range_is_taken_or_ignored(header: str | None, part: tuple[int, int] | None) -> None:
    assert requested(header, 10) == part


@pytest.mark.parametrize(
    ("header", "size"),
    [("bytes=10-", 10), ("bytes=99-100", 10), ("bytes=0-", 0), ("bytes=-0", 10), ("bytes=-1", 0), ("bytes=0-0", 0)],
)
def test_a_range_behind_the_end_is_refused(header: str, size: int) -> None:
    with pytest.raises(RangeNotSatisfiable) as refused:
        requested(header, size)
    assert refused.value.facts == {"size_bytes": size}


@given(st.text(max_size=30) | st.from_regex(r"bytes=[0-9 ]{0,20}-[0-9 ]{0,20}", fullmatch=True), st.integers(0, 10**6))
def test_whatever_is_asked_for_a_part_lies_in_the_file(header: str, size: int) -> None:
    try:
        begin, end = requested(header, size) or (0, size or 1)
    except RangeNotSatisfiable:
        begin, end = 0, 1
    assert 0 <= begin < end <= max(size, 1)


def asked(method: str = "GET", **headers: str) -> Request:
    """A call with these headers, written as names: `if_range`."""
    raw = [(name.replace("_", "-").encode(), text.encode("latin-1")) for name, text in headers.items()]
    return Request({"type": "http", "method": method, "headers": raw})


@pytest.mark.parametrize(
    ("method", "headers", "part"),
    [
        ("GET", {}, None),
        ("GET", {"range": "bytes=2-4"}, (2, 5)),
        ("GET", {"range": "bytes=2-4", "if_range": TAG}, (2, 5)),
        ("GET", {"range": "bytes=2-4", "if_range": '"another"'}, None),
        ("GET", {"range": "bytes=2-4", "if_range": f"W/{TAG}"}, None),
        ("GET", {"range": "bytes=2-4", "if_range": TAG.strip('"')}, None),
        ("GET", {"range": "bytes=2-4", "if_range": ""}, None),
        ("GET", {"range": "bytes=2-4", "if_range": "Sat, 21 Nov 2026 06:17:00 GMT"}, None),
        ("GET", {"range": "bytes=99-", "if_range": '"another"'}, None),
        ("GET", {"if_range": TAG}, None),
        ("HEAD", {"range": "bytes=2-4"}, None),
        ("HEAD", {"range": "bytes=99-"}, None),
    ],
)
def test_a_part_is_of_the_version_that_is_known(
    method: str, headers: dict[str, str], part: tuple[int, int] | None
) -> None:
    """RFC 9110, 13.1.5: only a strong tag that is the same; of another version the whole, whatever range it was."""
    assert part_of(asked(method, **headers), 10, TAG) == part


@pytest.mark.parametrize(
    ("known", "same"),
    [
        *((text, True) for text in (TAG, f"W/{TAG}", "*", f'"x", {TAG}', f'{TAG}, "x"', f' W/"x" ,{TAG} ')),
        *(
            (text, False)
            for text in ("", '"x"', TAG.strip('"'), f"{TAG}x", '"*"', "W/", ",,,", f"w/{TAG}", f"{TAG[:-1]}")
        ),
    ],
)
def test_who_has_this_version_already_is_told_so(known: str, same: bool) -> None:
    assert unchanged(asked(if_none_match=known), TAG) is same
    assert not unchanged(asked(), TAG)


def test_an_answer_without_change_has_no_bytes_and_no_length() -> None:
    answer = not_modified(TAG)
    assert (answer.status_code, answer.body, answer.raw_headers) == (304, b"", [(b"etag", TAG.encode())])


TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
EXACT = re.compile(r"UTF-8''((?:[A-Za-z0-9!#$&+.^_`|~-]|%[0-9A-F]{2})*)")
"""RFC 8187, 3.2.1: what stands for itself, and what is written as the hexadecimal of a byte."""


def parsed(header: str) -> tuple[str, dict[str, str]]:
    """A Content-Disposition read as RFC 6266, 4.1 writes it: a word, then parameters, quoted or not, each once."""
    found: dict[str, str] = {}
    kind = re.match(TOKEN, header)
    assert kind is not None
    at = kind.end()
    while at < len(header):
        part = re.compile(rf'; ({TOKEN})=(?:({TOKEN})|"((?:[^"\\]|\\.)*)")').match(header, at)
        assert part is not None, header[at:]
        name, word, quoted = part.groups()
        assert name not in found
        found[name] = word if word is not None else re.sub(r"\\(.)", r"\1", quoted)
        at = part.end()
    return kind[0], found


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
@example('a"; filename="b.exe')
@example("a\\")
@example("a\r\nSet-Cookie: x=1")
@example("100%.txt")
@example("%41.txt")
@example("naïve \u202egpj.exe \U0001f9c0.tar.gz")
@example("*/'();:@&=+$,?#[] .txt")
def test_any_name_is_told_in_one_line_of_ascii_and_read_as_it_was(name: str) -> None:
    key, value = attached(name)
    assert key == b"content-disposition"
    assert re.fullmatch(rb"[\x20-\x7e]+", value)
    kind, parameters = parsed(value.decode())
    assert (kind, {*parameters}) == ("attachment", {"filename", "filename*"})
    exact = EXACT.fullmatch(parameters["filename*"])
    assert exact is not None
    assert unquote_to_bytes(exact[1]).decode() == name
    plain = parameters["filename"]
    assert len(plain) == len(name)
    assert all(mine in (theirs, "_") for mine, theirs in zip(plain, name, strict=True))
    assert not set(plain) & set('"\\%/;')


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A file of a few chunks that are all different."""
    path = tmp_path / "blob"
    path.write_bytes(b"".join(b"%07d\n" % number for number in range((3 * CHUNK_BYTES) // 8 + 3)))
    return path


async def heard(answer: Response, method: str = "GET", during: Callable[[int], None] | None = None) -> list[Message]:
    """The messages of an answer; `during` hears how many have come before each."""
    messages: list[Message] = []

    async def send(message: Any) -> None:
        if during is not None:
            during(len(messages))
        messages.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    await answer({"type": "http", "method": method}, receive, send)
    return messages


def content(messages: list[Message]) -> bytes:
    assert [message["type"] for message in messages[1:]] == ["http.response.body"] * (len(messages) - 1)
    assert [message.get("more_body", False) for message in messages[1:]] == [True] * (len(messages) - 2) + [False]
    return b"".join(message["body"] for message in messages[1:])


def opened(path: Path) -> IO[bytes]:
    return path.open("rb", buffering=0)


@given(data=st.data())
async def test_the_bytes_of_a_range_are_exactly_those(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    size = data.draw(st.sampled_from([1, 7, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES + 5]))
    path = tmp_path_factory.getbasetemp() / f"range-{size}"
    if not path.exists():
        path.write_bytes(os.urandom(size))
    begin = data.draw(st.integers(0, size - 1))
    end = data.draw(st.integers(begin + 1, size))
    file = opened(path)
    messages = await heard(sent(file, "text/plain", size, (begin, end), [(b"etag", TAG.encode())]))
    assert messages[0]["status"] == 206
    assert messages[0]["headers"] == [
        (b"content-type", b"text/plain"),
        (b"accept-ranges", b"bytes"),
        (b"etag", TAG.encode()),
        (b"content-range", b"bytes %d-%d/%d" % (begin, end - 1, size)),
        (b"content-length", b"%d" % (end - begin)),
    ]
    assert content(messages) == path.read_bytes()[begin:end]
    assert max(len(message["body"]) for message in messages[1:]) <= CHUNK_BYTES
    assert file.closed


@pytest.mark.parametrize(
    ("part", "offset", "begin", "end"),
    [(None, 0, 0, None), (None, 100, 100, None), (None, 10**9, 10**9, None), ((0, 1), 0, 0, 1), ((5, 9), 100, 5, 9)],
)
async def test_a_file_is_sent_whole_from_an_offset_or_in_part(
    stored: Path, part: tuple[int, int] | None, offset: int, begin: int, end: int | None
) -> None:
    size, whole = stored.stat().st_size, stored.read_bytes()
    messages = await heard(await file_part(stored, "text/plain", size, part, offset=offset))
    assert messages[0]["status"] == (200 if part is None else 206)
    assert content(messages) == whole[begin:end]
    assert dict(messages[0]["headers"])[b"content-length"] == b"%d" % len(whole[begin:end])


async def test_of_a_file_that_grows_no_more_is_sent_than_was_said(stored: Path) -> None:
    size, whole = stored.stat().st_size, stored.read_bytes()

    def grow(_: int) -> None:
        with stored.open("ab") as more:
            more.write(b"more")

    assert content(await heard(sent(opened(stored), "text/plain", size, None), during=grow)) == whole


async def test_what_is_not_in_memory_is_waited_for(stored: Path) -> None:
    """From the disk, and from a file system where nobody can tell: either way the same bytes."""
    for path in (stored, Path("/proc/version")):
        whole = path.read_bytes()
        with path.open("rb") as file:
            if path is stored:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert content(await heard(sent(opened(path), "text/plain", len(whole), None))) == whole


@pytest.mark.parametrize(
    ("place", "flags"), [(".", os.O_RDONLY), ("b", os.O_WRONLY | os.O_CREAT)], ids=["folder", "shut"]
)
async def test_a_file_that_cannot_be_read_is_an_error_and_closed(tmp_path: Path, place: str, flags: int) -> None:
    """The answer has begun, so that nothing is left but to break it off."""
    (tmp_path / "a").touch()
    file = opened(tmp_path / "a")
    number = os.open(tmp_path / place, flags)
    os.dup2(number, file.fileno())
    os.close(number)
    with pytest.raises(OSError, match=r"Is a directory|Bad file descriptor"):
        await heard(sent(file, "text/plain", 10, None))
    assert file.closed


@pytest.mark.parametrize("part", [None, (5, 9)])
async def test_head_has_the_headers_and_no_bytes(stored: Path, part: tuple[int, int] | None) -> None:
    size = stored.stat().st_size
    file = opened(stored)
    messages = await heard(sent(file, "text/plain", size, part), "HEAD")
    told = await heard(sent(opened(stored), "text/plain", size, part))
    assert (messages[0], content(messages)) == (told[0], b"")
    assert file.closed


async def test_an_empty_file_is_an_empty_answer(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    messages = await heard(sent(opened(tmp_path / "empty"), "text/plain", 0, None))
    assert (messages[0]["status"], content(messages)) == (200, b"")


@pytest.mark.parametrize("left", [0, 1, 2])
async def test_a_client_that_leaves_leaves_no_file_open(stored: Path, left: int) -> None:
    """At the first message, at the first bytes, or in the middle; whether sending fails or its task is cancelled."""
    size = stored.stat().st_size

    def leave(count: int) -> None:
        if count == left:
            raise OSError("gone")

    file = opened(stored)
    with pytest.raises(OSError, match="gone"):
        await heard(sent(file, "text/plain", size, None), during=leave)
    assert file.closed

    file = opened(stored)
    with anyio.CancelScope() as scope:
        answer = sent(file, "text/plain", size, None)
        messages = 0

        async def send(message: Any) -> None:
            nonlocal messages
            messages += 1
            if messages > left:
                scope.cancel()
                await anyio.sleep_forever()

        await answer({"type": "http", "method": "GET"}, None, send)  # type: ignore[arg-type]
    assert scope.cancelled_caught
    assert file.closed


@pytest.mark.parametrize("kept", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 7])
async def test_a_file_that_is_cut_meanwhile_ends_the_answer(stored: Path, kept: int) -> None:
    """What there is is sent; nothing is made up, and nobody waits for bytes that will not come."""
    size, whole = stored.stat().st_size, stored.read_bytes()
    file = opened(stored)

    def cut(count: int) -> None:
        if count == 1:
            os.truncate(stored, kept)

    messages = await heard(sent(file, "text/plain", size, None), during=cut)
    assert content(messages) == whole[: max(CHUNK_BYTES, kept)]
    assert file.closed


def open_files(pid: int) -> Iterator[str]:
    """What a process has open."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            yield str(descriptor.readlink())


@pytest.mark.slow
def test_a_download_whose_file_is_cut_breaks_off_and_the_service_goes_on(service: Service) -> None:
    """Over a real connection, where the length was told before: whoever reads sees that it is not whole."""
    service.start()
    size = 32 * 2**20
    with service.client() as client:
        made = client.put("/api/v1/files/content?name=a.bin", content=b"\0" * size).json()
        path = f"/api/v1/files/{made['id']}/download"
        host, port = service.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as wire:
            request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Token {service.token}\r\n\r\n"
            wire.sendall(request.encode())
            head = wire.recv(4096)
            assert f"content-length: {size}".encode() in head.lower()
            (blob,) = (service.data_dir / "blobs").rglob(made["sha256"])
            os.truncate(blob, 1)
            came = len(head)
            while more := wire.recv(2**20):
                came += len(more)
        assert came < size
        os.truncate(blob, size)
        assert len(client.get(path).content) == size
        assert service.process is not None
        pid = service.process.pid
        until(lambda: not any(made["sha256"] in name for name in open_files(pid)), "the file is closed")
