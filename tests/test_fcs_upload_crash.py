"""Uploads in chunks under kill -9, at any moment: what was acknowledged is there after the start, and what was not may
come again. And a chunk that never ends takes no memory."""

import select
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from random import Random
from typing import Any

import httpx2
import pytest

from tests.office import FILES, made
from tests.support import Service, refusal, rows, until
from tests.test_fcs_parser import SAMPLE
from tests.test_fcs_uploads import FCS, MIB, UPLOADS, Gate, Sent, content_of, figures, place, sha256_of
from tests.test_upload_crash import GROWTH_KIB, Memory, incoming, megabytes

pytestmark = pytest.mark.slow


@pytest.fixture
def service(service: Service) -> Service:
    """One that is told nothing of how much of this machine's disk shall stay free."""
    service.settings["MIN_FREE_BYTES"] = "0"
    return service.start()


def begun(service: Service, content: bytes, **more: object) -> Sent:
    """An upload by the claimer of this service; each call of it has a connection of its own, as after a restart."""
    return Sent(Calls(service), {}, content, **more)  # type: ignore[arg-type]


class Calls:
    """A client that finds the service wherever it listens by now."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def __getattr__(self, method: str) -> Callable[..., httpx2.Response]:
        def call(path: str, **more: Any) -> httpx2.Response:
            with self._service.client() as client:
                answer: httpx2.Response = getattr(client, method)(path, **more)
                return answer

        return call


def restart(service: Service) -> None:
    """After it was killed: nothing that was on its way is left."""
    service.start()
    assert incoming(service) == []


def becomes_a_file(service: Service, upload: Sent) -> None:
    """Sends what is missing, completes, and finds the bytes and one file, whatever was answered before."""
    for number in upload.shown()["missing"]:
        made(upload.put(number), 200)
    file = made(upload.complete())
    assert (file["sha256"], file["size_bytes"]) == (sha256_of(upload.content), len(upload.content))
    assert upload.downloaded() == upload.content
    assert made(upload.complete()) == file
    shown = upload.shown()
    assert (shown["status"], shown["file_id"], shown["progress_percentage"]) == ("completed", file["file_id"], 100.0)
    owned = rows(service.database, "SELECT id FROM fcs_files WHERE filename = ?", upload.begun["filename"])
    assert [row["id"] for row in owned] == [file["file_id"]]
    assert rows(service.database, "SELECT id FROM fcs_chunks WHERE upload_id = ?", upload.id) == []
    assert incoming(service) == []


def have_begun(service: Service, count: int) -> bool:
    """Whether so many have arrived, but for their last pieces, which are still in memory."""
    found = [path.stat().st_size for path in incoming(service)]
    return len(found) == count and all(size > 0 for size in found)


def uses(service: Service) -> int:
    """What its claimer's FCS files count in the quota."""
    with service.client() as client:
        found: int = made(client.get(f"{FILES}/storage"), 200)["by_type"]["fcs"]
        return found


def test_kill_9_between_chunks_loses_none(service: Service) -> None:
    upload = begun(service, content_of(4 * MIB + 5))
    for number in (3, 0, 4):
        acknowledged = made(upload.put(number), 200)
        service.kill()
        restart(service)
        assert upload.shown() == acknowledged
        assert made(upload.put(number), 200) == acknowledged
    assert figures(upload.shown())[:2] == (3, 2 * MIB + 5)
    becomes_a_file(service, upload)
    assert uses(service) == 4 * MIB + 5


def test_kill_9_in_the_middle_of_chunks_leaves_nothing_of_them(service: Service) -> None:
    upload = begun(service, content_of(4 * MIB)).put_all(1, 2)
    over = threading.Event()

    def half(number: int) -> Iterator[bytes]:
        yield upload.chunk(number)[: MIB // 2]
        assert over.wait(60)
        yield upload.chunk(number)[MIB // 2 :]

    def send(number: int) -> bool:
        with service.client() as client:
            try:
                client.put(f"{upload.path}/chunks/{number}", content=half(number))
            except httpx2.TransportError:
                return False
        return True

    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(send, number) for number in (1, 2)]
        try:
            until(lambda: have_begun(service, 2), "two chunks lie there in part")
            service.kill()
        finally:
            over.set()
        assert [one.result(30) for one in running] == [False, False]
    assert len(incoming(service)) == 2
    restart(service)
    assert figures(upload.shown()) == (2, 2 * MIB, 50.0, [1, 2])
    becomes_a_file(service, upload)


@pytest.mark.parametrize("gated", [0, 2])
def test_kill_9_while_an_upload_is_completed_loses_no_chunk(service: Service, gated: int) -> None:
    upload = begun(service, content_of(3 * MIB)).put_all()
    gate = Gate(place(service.data_dir, upload.chunk(gated)), upload.chunk(gated))

    def complete() -> bool:
        try:
            upload.complete()
        except httpx2.TransportError:
            return False
        return True

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(complete)
        gate.reached().write(upload.chunk(gated)[: MIB // 2])
        joined = gated * MIB + MIB // 2
        until(lambda: [path.stat().st_size for path in incoming(service)] == [joined], "half of it is joined")
        service.kill()
        assert running.result(30) is False
    gate.let_through()
    assert len(incoming(service)) == 1
    restart(service)
    assert figures(upload.shown()) == (3, 3 * MIB, 100.0, [])
    assert rows(service.database, "SELECT id FROM fcs_files") == []
    becomes_a_file(service, upload)
    assert uses(service) == 3 * MIB


def test_kill_9_right_after_an_answer_undoes_nothing(service: Service) -> None:
    upload = begun(service, content_of(2 * MIB)).put_all()
    file = made(upload.complete())
    service.kill()
    restart(service)
    assert made(upload.complete()) == file
    becomes_a_file(service, upload)
    other = begun(service, content_of(2 * MIB)).put_all()
    assert other.abort().status_code == 204
    service.kill()
    restart(service)
    refusal(other.complete(), 404, "NOT_FOUND")
    assert uses(service) == 2 * MIB
    with service.client() as client:
        assert [found["id"] for found in client.get(UPLOADS).json()] == [upload.id]


def test_kill_9_at_any_moment_keeps_each_chunk_that_was_acknowledged(service: Service) -> None:
    """Four senders at once, each chunk twice, and in the end the call that completes; killed again and again."""
    random = Random(17)
    content = content_of(8 * MIB + 123)
    upload = begun(service, content, filename="often.fcs", sha256=sha256_of(content))
    acknowledged: set[int] = set()
    for _ in range(4):
        numbers = [*range(upload.count)] * 2
        random.shuffle(numbers)
        enough, least = threading.Event(), random.randrange(1, 9)
        answered: list[int] = []

        def send(
            numbers: list[int], answered: list[int] = answered, enough: threading.Event = enough, least: int = least
        ) -> None:
            with service.client() as client:
                for number in numbers:
                    try:
                        answer = client.put(f"{upload.path}/chunks/{number}", content=upload.chunk(number))
                        answered.append(number)
                        if len(answered) >= least:
                            enough.set()
                        if answer.status_code == 200 and not answer.json()["missing"]:
                            client.post(f"{upload.path}/complete")
                    except httpx2.TransportError:
                        return
                    assert answer.status_code in (200, 409), answer.text

        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(send, numbers[at::4]) for at in range(4)]
            assert enough.wait(60)
            service.kill()
            for one in running:
                one.result(30)
        acknowledged.update(answered)
        restart(service)
        shown = upload.shown()
        there = {*range(upload.count)} - {*shown["missing"]}
        assert acknowledged <= there
        assert shown["uploaded_chunks"] == len(there)
        assert shown["uploaded_bytes"] == sum(len(upload.chunk(number)) for number in there)
        if shown["status"] == "completed":
            break
    becomes_a_file(service, upload)
    assert uses(service) == len(content)


def test_kill_9_at_any_moment_of_completing_gives_one_file(service: Service) -> None:
    random = Random(23)
    for turn in range(3):
        upload = begun(service, content_of(3 * MIB), filename=f"turn{turn}.fcs").put_all()
        begins = threading.Event()

        def complete(upload: Sent = upload, begins: threading.Event = begins) -> int | None:
            with service.client() as client:
                client.get(upload.path)
                begins.set()
                try:
                    return client.post(f"{upload.path}/complete").status_code
                except httpx2.TransportError:
                    return None

        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(complete)
            assert begins.wait(60)
            threading.Event().wait(random.uniform(0, 0.06))  # anywhere in it: there is nothing to wait for
            service.kill()
            answered = running.result(30)
        restart(service)
        shown = upload.shown()
        assert answered in (None, 201)
        assert shown["status"] == "completed" or answered is None
        becomes_a_file(service, upload)
        assert uses(service) == (turn + 1) * 3 * MIB


def test_a_service_that_is_told_to_stop_keeps_what_was_acknowledged(service: Service) -> None:
    upload = begun(service, content_of(3 * MIB)).put_all(1)
    over = threading.Event()

    def half() -> Iterator[bytes]:
        yield upload.chunk(1)[: MIB // 2]
        over.wait(60)

    def send() -> None:
        with service.client() as client:
            try:
                client.put(f"{upload.path}/chunks/1", content=half())
            except httpx2.TransportError:
                return

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(send)
        try:
            until(lambda: have_begun(service, 1), "a chunk lies there in part")
            code, output = service.stop()
        finally:
            over.set()
        running.result(30)
    assert (code, "internal error" in output, incoming(service)) == (0, False, [])
    restart(service)
    assert upload.missing() == [1]
    becomes_a_file(service, upload)


def sent_until_answered(service: Service, path: str, length: int | None) -> tuple[int, bytes]:
    """How many bytes of a body without end a caller sends before there is an answer, and the answer's first line."""
    host, port = service.url.removeprefix("http://").split(":")
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    head = f"PUT {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Token {service.token}\r\n{size}\r\n\r\n"
    piece = b"x" * 65_536 if length is not None else b"10000\r\n%s\r\n" % (b"x" * 65_536)
    with socket.create_connection((host, int(port)), timeout=30) as caller:
        caller.sendall(head.encode())
        sent, patience_s = 0, 0 if length is None else 30
        while sent < 1024 * MIB and not select.select([caller], [], [], patience_s)[0]:
            caller.sendall(piece)
            sent += 65_536
        return sent, caller.recv(4096).partition(b"\r\n")[0]


def test_a_gigabyte_in_place_of_a_chunk_is_refused_at_the_chunks_length(service: Service) -> None:
    upload = begun(service, content_of(4 * MIB), chunk_size=2 * MIB)
    made(upload.put(0), 200)
    path = f"{upload.path}/chunks/1"
    sent, answer = sent_until_answered(service, path, 1024 * MIB)
    assert (sent, answer.split()[1]) == (0, b"400")
    sent, answer = sent_until_answered(service, path, None)
    assert (2 * MIB < sent < 32 * MIB, answer.split()[1]) == (True, b"400")  # what is under way is sent for nothing
    assert (upload.missing(), incoming(service)) == ([1], [])
    becomes_a_file(service, upload)


def test_chunks_take_no_memory_however_long_and_many_they_are(service: Service) -> None:
    """A gigabyte in place of one, from a caller who does not listen; a dozen at once; and all of them joined."""
    upload = begun(service, content_of(20 * MIB), chunk_size=10 * MIB)
    made(upload.put(0), 200)
    with Memory(service) as memory, service.client() as client, suppress(httpx2.TransportError):
        answer = client.put(f"{upload.path}/chunks/1", content=megabytes(1024))
        refusal(answer, 400, "VALIDATION_ERROR")
    assert memory.growth_kib < GROWTH_KIB
    assert (upload.missing(), incoming(service)) == ([1], [])
    with Memory(service) as memory, ThreadPoolExecutor(12) as pool:
        answers = [*pool.map(lambda _: upload.put(1), range(12))]
    assert {answer.status_code for answer in answers} == {200}
    assert memory.growth_kib < GROWTH_KIB
    with Memory(service) as memory:
        made(upload.complete())
    assert memory.growth_kib < GROWTH_KIB
    becomes_a_file(service, upload)


@pytest.mark.skipif(not SAMPLE.exists(), reason="the sample is not here")
def test_the_sample_comes_in_chunks_over_a_real_connection(service: Service) -> None:
    content = SAMPLE.read_bytes()
    upload = begun(service, content, filename="sample.fcs", sha256=sha256_of(content))
    refusal(upload.put(3, upload.chunk(3) + b"x"), 400, "VALIDATION_ERROR")
    refusal(upload.put(4, upload.chunk(3)), 400, "VALIDATION_ERROR")
    upload.put_all()
    file = made(upload.complete())
    assert (file["total_events"], file["total_parameters"], file["warnings"]) == (34_297, 26, [])
    becomes_a_file(service, upload)

    def statistics() -> dict[str, Any] | None:
        with service.client() as client:
            answer = client.get(f"{FCS}/statistics?file_id={file['file_id']}")
        return made(answer, 200) if answer.status_code == 200 else None

    time = until(statistics, "the statistics are computed")["statistics"][-1]
    assert (time["parameter"], time["max"], time["median"]) == ("Time", 21_184_758, 7_370_931)
