"""Uploads that are interrupted: by what becomes of their sender, by silence, by kill -9. Nothing is left of what was
not acknowledged, and all of what was. And how little memory they take."""

import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import httpx2
import pytest

from app.web import uploads
from tests.accounts import Person
from tests.house import House
from tests.office import API, FILES, FOLDERS, folder, listed, put
from tests.support import Service, refusal, rows, until
from tests.test_uploads import HEAD, Slow, files_of, form_of, no_trace

USERS = f"{API}/users"
MIB = 2**20
LONG = 300
GROWTH_KIB = 16 * 1024
TAIL = b"\r\n--cut--\r\n"
FORM = {"content-type": "multipart/form-data; boundary=cut"}


def suspended(house: House, who: Person) -> httpx2.Response:
    return house.client.patch(f"{USERS}/{who.id}/status", json={"status": "suspended"})


def demoted(house: House, who: Person) -> httpx2.Response:
    return house.client.put(f"{USERS}/{who.id}/roles", json={"roles": ["guest"]})


def signed_out(house: House, who: Person) -> httpx2.Response:
    return house.post("logout", {"all": True}, who.headers)


def deleted(house: House, who: Person) -> httpx2.Response:
    return house.client.delete(f"{USERS}/{who.id}")


def revoked(house: House, who: Person) -> httpx2.Response:
    [token] = [token for token in house.rows("SELECT id FROM tokens WHERE user_id = ?", who.id)]
    return house.client.delete(f"{API}/tokens/{token['id']}", headers=who.headers)


HAPPENS = [("session", suspended, 401), ("session", demoted, 401), ("session", signed_out, 401)]
HAPPENS += [("session", deleted, 401), ("token", suspended, 401), ("token", demoted, 403), ("token", revoked, 401)]


@pytest.mark.parametrize("formed", [False, True], ids=["raw", "form"])
@pytest.mark.parametrize(("credential", "meanwhile", "status"), HAPPENS)
def test_who_may_no_more_when_the_last_byte_comes_has_uploaded_nothing(
    house: House, credential: str, meanwhile: Callable[[House, Person], httpx2.Response], status: int, formed: bool
) -> None:
    anna = house.person()
    headers = anna.headers if credential == "session" else house.token(anna)
    slow = form_of(house, headers, HEAD) if formed else Slow(house, headers)
    slow.hungry().send(b"half").hungry()
    assert meanwhile(house, anna).is_success
    refusal(slow.end(b" whole\r\n--cut--"), status)
    assert files_of(house, anna) == 0
    no_trace(house)


def test_a_folder_that_goes_meanwhile_takes_nothing(house: House) -> None:
    anna = house.person()
    place = folder(house, anna)
    slow = Slow(house, anna.headers, query=f"name=a&folder_id={place['id']}").hungry().send(b"half")
    slow.hungry()
    assert house.client.delete(f"{FOLDERS}/{place['id']}", headers=anna.headers).status_code == 204
    refusal(slow.end(b"whole"), 404, "NOT_FOUND")
    assert listed(house, anna, "files") == []
    no_trace(house)


@pytest.mark.parametrize("formed", [False, True], ids=["raw", "form"])
@pytest.mark.parametrize("pieces", [[], [b"x"], [b"x" * 300_000, b"y" * 300_000]])
def test_who_leaves_in_the_middle_leaves_nothing(house: House, pieces: list[bytes], formed: bool) -> None:
    anna = house.person()
    slow = form_of(house, anna.headers, HEAD) if formed else Slow(house, anna.headers, length=10**6)
    for piece in pieces:
        slow.hungry().send(piece)
    slow.hungry().leave()
    no_trace(house)
    assert files_of(house, anna) == 0
    assert put(house, anna)["size_bytes"] == 6


@pytest.mark.parametrize("pieces", [[], [b"--cut\r\nCon"], [HEAD + b"half"]], ids=["nothing", "before", "within"])
@pytest.mark.parametrize("formed", [False, True], ids=["raw", "form"])
def test_an_upload_that_pauses_for_too_long_is_refused(
    house: House, monkeypatch: pytest.MonkeyPatch, pieces: list[bytes], formed: bool
) -> None:
    monkeypatch.setattr(uploads, "SILENCE_S", 0.05)
    anna = house.person()
    slow = form_of(house, anna.headers) if formed else Slow(house, anna.headers)
    for piece in pieces:
        slow.send(piece)
    assert "0.05 s" in refusal(slow.answer(), 400, "VALIDATION_ERROR")["detail"]
    assert files_of(house, anna) == 0
    no_trace(house)
    put(house, anna)


def megabytes(count: int, seed: int = 0) -> Iterator[bytes]:
    """So many MiB, each another, without ever holding more than one."""
    block = bytearray(Random(seed).randbytes(MIB))
    for number in range(count):
        block[:8] = number.to_bytes(8, "big")
        yield bytes(block)


def sha256_of(chunks: Iterator[bytes]) -> str:
    found = hashlib.sha256()
    for chunk in chunks:
        found.update(chunk)
    return found.hexdigest()


class Memory:
    """How much more of it a service takes at its height than it did when the block began, in KiB."""

    def __init__(self, service: Service) -> None:
        assert service.process is not None
        self._proc = Path("/proc") / str(service.process.pid)
        self.growth_kib = 0

    def _now(self, what: str) -> int:
        found = re.search(rf"^{what}:\s+(\d+) kB$", (self._proc / "status").read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1])

    def __enter__(self) -> "Memory":
        (self._proc / "clear_refs").write_text("5")  # proc(5): the height is counted anew
        self._before = self._now("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.growth_kib = max(self._now("VmHWM"), self._now("VmRSS")) - self._before


def accepted(answer: httpx2.Response) -> dict[str, object]:
    assert answer.status_code == 201, answer.text
    found: dict[str, object] = answer.json()
    return found


@pytest.mark.slow
def test_a_large_file_never_lies_in_memory(service: Service) -> None:
    """Neither on its way in, by body or by form, nor on its way out, nor for a client that reads slowly."""
    service.settings |= {"MAX_UPLOAD_BYTES": str(400 * MIB), "MIN_FREE_BYTES": "0"}
    service.start()
    whole = sha256_of(megabytes(LONG))
    with service.client() as client:
        small = accepted(client.put(f"{FILES}/content?name=small", content=b"x" * MIB))
        assert client.get(f"{FILES}/{small['id']}/download").status_code == 200
        with Memory(service) as memory:
            sent = accepted(client.put(f"{FILES}/content?name=a.bin", content=megabytes(LONG)))
        assert (sent["sha256"], sent["size_bytes"]) == (whole, LONG * MIB)
        assert memory.growth_kib < GROWTH_KIB
        with Memory(service) as memory:
            pieces = (piece for part in ([HEAD], megabytes(LONG, 1), [TAIL]) for piece in part)
            formed = accepted(client.post(FILES, content=pieces, headers=FORM))
        assert (formed["sha256"], formed["size_bytes"]) == (sha256_of(megabytes(LONG, 1)), LONG * MIB)
        assert memory.growth_kib < GROWTH_KIB
        with Memory(service) as memory, client.stream("GET", f"{FILES}/{sent['id']}/download") as answer:
            assert sha256_of(answer.iter_raw()) == whole
        assert memory.growth_kib < GROWTH_KIB
        with Memory(service) as memory, client.stream("GET", f"{FILES}/{sent['id']}/download") as answer:
            next(answer.iter_raw())
            assert client.get(f"{FILES}/{small['id']}").status_code == 200
        assert memory.growth_kib < GROWTH_KIB
    assert files_in(service) == 3


def files_in(service: Service) -> int:
    return len(rows(service.database, "SELECT id FROM files"))


def incoming(service: Service) -> list[Path]:
    return [*(service.data_dir / "blobs" / "incoming").iterdir()]


def nothing_is_left(service: Service, kept: int) -> None:
    """After a start: of what was on its way."""
    assert (incoming(service), rows(service.database, "SELECT id FROM file_uploads")) == ([], [])
    assert files_in(service) == kept
    with service.client() as client:
        assert len(client.get(FILES).json()) == kept
        used = client.get(f"{FILES}/storage").json()["used"]
        assert used == sum(row["size_bytes"] for row in rows(service.database, "SELECT size_bytes FROM files"))


def have_arrived(service: Service, sizes: list[int]) -> bool:
    """Whether uploads of so many MiB lie there, but for the last pieces, which are still in memory."""
    found = sorted(path.stat().st_size for path in incoming(service))
    return len(found) == len(sizes) and all(
        there > MIB * (size - 0.6) for there, size in zip(found, sorted(sizes), strict=True)
    )


def broken_off(service: Service, sizes: list[int], end: Callable[[], object]) -> list[httpx2.Response]:
    """Uploads side by side, of which so many MiB are sent before `end` cuts them off; what is answered all the same."""
    over, answers = threading.Event(), []

    def pieces(number: int) -> Iterator[bytes]:
        yield from megabytes(sizes[number], number)
        assert over.wait(60)
        yield b"never"

    def upload(number: int) -> None:
        with service.client() as client:
            try:
                answers.append(client.put(f"{FILES}/content?name=lost{number}", content=pieces(number)))
            except httpx2.TransportError:
                return

    with ThreadPoolExecutor(len(sizes)) as pool:
        running = [pool.submit(upload, number) for number in range(len(sizes))]
        try:
            until(lambda: have_arrived(service, sizes), "it arrives")
            end()
        finally:
            over.set()
        for one in running:
            one.result(30)
    return answers


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [[0], [1], [0, 3, 20]], ids=str)
def test_kill_9_in_the_middle_of_uploads_leaves_nothing_of_them(service: Service, sizes: list[int]) -> None:
    service.start()
    for turn in range(2):
        with service.client() as client:
            accepted(client.put(f"{FILES}/content?name=kept{turn}", content=b"%d" % turn))
        assert broken_off(service, sizes, service.kill) == []
        assert len(incoming(service)) == len(sizes)
        assert len(rows(service.database, "SELECT id FROM file_uploads")) == len(sizes)
        service.start()
        nothing_is_left(service, kept=turn + 1)
    with service.client() as client:
        sent = accepted(client.put(f"{FILES}/content?name=later", content=megabytes(2)))
        assert sha256_of(client.get(f"{FILES}/{sent['id']}/download").iter_bytes()) == sent["sha256"]


@pytest.mark.slow
def test_kill_9_right_after_the_answer_loses_nothing(service: Service) -> None:
    service.start()
    sent: list[tuple[dict[str, object], str]] = []
    for turn in range(4):
        with service.client() as client:
            if turn % 2:
                content = b"".join((HEAD, *megabytes(3, turn), TAIL))
                answer = client.post(FILES, content=content, headers=FORM)
            else:
                answer = client.put(f"{FILES}/content?name=a.txt", content=megabytes(3, turn))
            service.kill()
        sent.append((accepted(answer), sha256_of(megabytes(3, turn))))
        service.start()
        nothing_is_left(service, kept=turn + 1)
        with service.client() as client:
            for file, whole in sent:
                answer = client.get(f"{FILES}/{file['id']}/download")
                assert (answer.status_code, file["sha256"]) == (200, whole)
                assert hashlib.sha256(answer.content).hexdigest() == whole


@pytest.mark.slow
def test_kill_9_at_any_moment_keeps_each_file_that_was_answered_and_each_that_is_listed(service: Service) -> None:
    """Several upload one small file after the other; whatever there is a row of afterwards is whole."""
    random = Random(9)
    for _ in range(3):
        service.start()
        answered: list[int] = []
        enough = threading.Event()

        def upload(writer: int, url: str, answered: list[int], enough: threading.Event, least: int) -> None:
            with service.client() as client:
                for number in range(10_000):
                    content = b"%d %d %s" % (writer, number % 7, os.urandom(number % 3))
                    try:
                        answer = client.put(f"{url}{FILES}/content?name=x", content=content * 5000)
                    except httpx2.TransportError:
                        return
                    answered.append(int(str(accepted(answer)["id"])))
                    if len(answered) >= least:
                        enough.set()

        least = random.randrange(5, 40)
        with ThreadPoolExecutor(4) as pool:
            running = [pool.submit(upload, writer, service.url, answered, enough, least) for writer in range(4)]
            assert enough.wait(60)
            service.kill()
            for one in running:
                one.result(30)
        service.start()
        found = {row["id"]: row for row in rows(service.database, "SELECT id, sha256, size_bytes FROM files")}
        assert {*answered} <= found.keys()
        nothing_is_left(service, kept=len(found))
        for row in found.values():
            path = service.data_dir / "blobs" / row["sha256"][:2] / row["sha256"][2:4] / row["sha256"]
            content = path.read_bytes()
            assert (hashlib.sha256(content).hexdigest(), len(content)) == (row["sha256"], row["size_bytes"])
        service.kill()


@pytest.mark.slow
def test_a_service_that_is_told_to_stop_gives_up_what_is_on_its_way(service: Service) -> None:
    """It waits for it a little, and ends as it should."""
    service.start()
    ended: list[tuple[int, str]] = []
    answers = broken_off(service, [1, 2], lambda: ended.append(service.stop()))
    assert [answer.status_code for answer in answers if answer.status_code < 400] == []
    [(code, output)] = ended
    assert code == 0
    assert "internal error" not in output
    assert incoming(service) == [], "what was cancelled has cleared up after itself"
    service.start()
    nothing_is_left(service, kept=0)
