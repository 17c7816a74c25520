"""The events of a package's downloads: live, again from any of them on, over a restart, until the service stops."""

import itertools
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.packages.attempt_log import part
from app.packages.events import Position
from app.packages.structs import AttemptRow, status_events
from tests.support import refusal, rows
from tests.test_main_job import PACKAGES, Box

# Positions


@given(st.integers(0, 10**9 - 1), st.integers(0, 3), st.integers(0, 10**18 - 1))
def test_a_position_is_read_as_it_was_written(attempt: int, statuses: int, log_bytes: int) -> None:
    position = Position(attempt, statuses, log_bytes)
    assert Position.read(str(position)) == position


@pytest.mark.parametrize("text", ["", "1", "1.2", "1.2.3.4", "1.4.0", "-1.0.0", "1.1.1\n", "١.1.1", "1" * 10 + ".1.1"])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected the id of an event"):
        Position.read(text)


# Pieces of a log


@given(st.text(st.sampled_from("aä漢🌱\n"), max_size=60), st.lists(st.integers(0, 9), max_size=30), st.integers(4, 20))
def test_the_pieces_of_a_growing_log_are_the_log(text: str, steps: list[int], size: int) -> None:
    """However it grows, byte by byte in the middle of a character too, and however small the pieces are."""
    log = text.encode()
    path = Path("/dev/shm") / f"purser-log-{threading.get_ident()}"
    told: list[bytes] = []
    try:
        for written in [*itertools.accumulate(steps), len(log)]:
            path.write_bytes(log[:written])
            while piece := part(path, sum(map(len, told)), size, whole=False):
                told.append(piece)
        while piece := part(path, sum(map(len, told)), size, whole=True):
            told.append(piece)
    finally:
        path.unlink(missing_ok=True)
    assert b"".join(told) == log
    assert "".join(piece.decode() for piece in told) == text


def test_a_log_that_was_cut_in_a_character_is_told_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes("line\nä".encode()[:-1])
    assert part(path, 0, 100, whole=False) == b"line\n"
    assert part(path, 5, 100, whole=False) == b""
    assert part(path, 5, 100, whole=True) == b"\xc3"
    assert part(path, 50, 100, whole=True) == b""
    assert part(path, 10**18 - 1, 100, whole=True) == b""
    assert part(tmp_path / "none", 0, 100, whole=True) == b""


# Statuses


ROW = AttemptRow(1, 7, 3, "queued", None, None, None, 0, 0, False, "t0", None, None)


def told(**changed: Any) -> list[tuple[str, str, str]]:
    events = status_events(msgspec.structs.replace(ROW, **changed))
    return [(event.status, event.package_status, event.at) for event in events]


def test_a_row_tells_all_statuses_that_the_attempt_has_had() -> None:
    queued, running = ("queued", "downloading", "t0"), ("running", "downloading", "t1")
    assert told() == [queued]
    assert told(status="running", started_at="t1") == [queued, running]
    assert told(status="cancelled", finished_at="t2") == [queued, ("cancelled", "created", "t2")]
    ended = {"started_at": "t1", "finished_at": "t2"}
    assert told(status="succeeded", **ended) == [queued, running, ("succeeded", "downloaded", "t2")]
    assert told(status="cancelled", **ended) == [queued, running, ("cancelled", "created", "t2")]
    assert told(status="failed", failure_detail="why", **ended)[2] == ("failed", "failed", "t2")
    assert told(status="interrupted", **ended)[2] == ("interrupted", "downloading", "t2")
    assert told(status="interrupted", failure_detail="three times", **ended)[2] == ("interrupted", "failed", "t2")


# Over HTTP


class Event(NamedTuple):
    """An event as it came."""

    id: str
    kind: str
    content: dict[str, Any]


def parsed(stream: str) -> list[Event]:
    """The events of a stream, after a look at every line's form."""
    found = []
    for block in stream.split("\n\n")[:-1]:
        fields = dict(re.fullmatch(r"(id|event|data|retry|): ?(.*)", line).groups() for line in block.split("\n"))  # type: ignore[union-attr]
        if "event" in fields:
            found.append(Event(fields.get("id", ""), fields["event"], msgspec.json.decode(fields["data"])))
    return found


def heard(client: httpx2.Client, package_id: int, **headers: str) -> list[Event]:
    """All events of a stream that ends."""
    answer = client.get(f"{PACKAGES}/{package_id}/events", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.text.startswith("retry: 2000\n\n")
    return parsed(answer.text)


def log_of(events: list[Event], attempt: int) -> str:
    """The log as the events tell it, after a look at every offset."""
    text = ""
    for event in events:
        if event.kind == "log" and event.content["attempt"] == attempt:
            assert event.content["offset"] == len(text.encode())
            text += event.content["text"]
    return text


def statuses(events: list[Event]) -> list[str]:
    return [f"{event.content['attempt']} {event.content['status']}" for event in events if event.kind == "status"]


class Listener:
    """A stream that is read in the background, as a browser would: until it ends or breaks."""

    def __init__(self, box: Box, package_id: int, since: str | None = None, token: str | None = None) -> None:
        self.text = ""
        self.ended_at = 0.0
        self._client = httpx2.Client(base_url=box.url, timeout=60, trust_env=False)
        self._path = f"{PACKAGES}/{package_id}/events"
        self._headers = {"Authorization": f"Token {token or box.token}"} | ({"Last-Event-ID": since} if since else {})
        self._more = threading.Condition()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        try:
            with self._client, self._client.stream("GET", self._path, headers=self._headers) as answer:
                assert answer.status_code == 200, answer.status_code
                for text in answer.iter_text():
                    with self._more:
                        self.text += text
                        self._more.notify_all()
        except httpx2.TransportError:
            pass  # the service was killed
        self.ended_at = time.monotonic()

    @property
    def events(self) -> list[Event]:
        return parsed(self.text)

    def until(self, text: str) -> "Listener":
        """Returns once the text has come."""
        with self._more:
            assert self._more.wait_for(lambda: text in self.text, 30), self.text
        return self

    def end(self) -> list[Event]:
        """All that came until the end of the stream."""
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.events


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    running = Box(tmp_path / "box")
    yield running
    running.stop()


def begun(box: Box, name: str = "tool") -> int:
    """A package whose build stands at the gate; a listener hears of that."""
    package_id = box.create(name, "7.0.0")
    box.post(package_id, "download")
    return package_id


@pytest.mark.slow
@pytest.mark.nix
@pytest.mark.skipif(shutil.which("curl") is None, reason="it is curl that listens")
def test_curl_sees_status_and_log_live(box: Box) -> None:
    box.start()
    package_id = box.create("tool", "7.0.0")
    words = ["curl", "-sN", "-H", f"Authorization: Token {box.token}", f"{box.url}{PACKAGES}/{package_id}/events"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as curl:
        assert curl.stdout is not None
        seen = ""

        def until(text: str) -> None:
            nonlocal seen
            assert curl.stdout is not None
            while text not in seen:
                line = curl.stdout.readline()
                assert line, seen
                seen += line

        until("retry")
        box.post(package_id, "download")
        until('"status":"running"')
        until("waiting for the gate")  # while the build stands at it
        assert box.get(package_id)["status"] == "downloading"
        box.open_gate()
        seen += curl.stdout.read()
    assert curl.returncode == 0
    events = parsed(seen)
    assert statuses(events) == ["1 queued", "1 running", "1 succeeded"]
    assert events[-1] == Event("", "end", {"reason": "finished"})
    with box.client() as client:
        assert log_of(events, 1) == client.get(f"{PACKAGES}/{package_id}/log").text
    assert events[-2].content["package_status"] == "downloaded"


@pytest.mark.slow
@pytest.mark.nix
def test_from_every_event_on_the_rest_is_told_and_nothing_twice(box: Box) -> None:
    box.start()
    package_id = box.create("tool", "8.0.0")
    for _ in range(2):
        box.run("download", str(package_id), "--wait")
    with box.client() as client:
        whole = heard(client, package_id, **{"Last-Event-ID": "0"})
        assert statuses(whole) == [f"{n} {s}" for n in (1, 2) for s in ("queued", "running", "failed")]
        assert whole[-2].content["failure"] == "build"
        assert whole[-2].content["failure_detail"]
        assert whole[-2].content["exit_code"] == 100
        for attempt in (1, 2):
            assert log_of(whole, attempt) == client.get(f"{PACKAGES}/{package_id}/log?attempt={attempt}").text
        ids = [event.id for event in whole[:-1]]
        assert len(set(ids)) == len(ids)
        for number, event in enumerate(whole[:-2]):
            assert heard(client, package_id, **{"Last-Event-ID": event.id}) == whole[number + 1 :]
        first_of_last = next(n for n, event in enumerate(whole) if event.content.get("attempt") == 2)
        assert heard(client, package_id) == whole[first_of_last:]
        path = f"{PACKAGES}/{package_id}/events"
        assert client.get(path, params={"since": ids[2]}).text.count("id: ") == len(ids) - 3
        assert client.get(path, params={"since": "0"}, headers={"Last-Event-ID": ids[-1]}).status_code == 204
        middle = ids[2].split(".")
        middle[2] = str(int(middle[2]) - 3)  # a client may have kept a part of an event
        begin = int(middle[2])
        piece = heard(client, package_id, **{"Last-Event-ID": ".".join(middle)})[0].content
        assert piece["offset"] == begin
        assert log_of(whole, 1).encode()[begin:].startswith(piece["text"].encode())


@pytest.mark.slow
@pytest.mark.nix
@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_listener_that_comes_back_after_a_restart_misses_nothing_and_hears_nothing_twice(box: Box, end: str) -> None:
    box.start()
    package_id = begun(box)
    first = Listener(box, package_id).until("waiting for the gate")
    with box.gate.open("w"):
        getattr(box, end)()
        before = first.end()
        assert [event.content for event in before if event.kind == "end"] == [{"reason": "stopping"}] * (end == "stop")
        before = [event for event in before if event.kind != "end"]
        box.start()
    second = Listener(box, package_id, since=before[-1].id).until('"attempt":2')
    box.open_gate()
    events = before + second.end()
    assert statuses(events) == ["1 queued", "1 running", "1 interrupted", "2 queued", "2 running", "2 succeeded"]
    ids = [event.id for event in events[:-1]]
    assert len(set(ids)) == len(ids)
    with box.client() as client:
        for attempt in (1, 2):
            text = client.get(f"{PACKAGES}/{package_id}/log?attempt={attempt}").text
            assert log_of(events, attempt) == text
            assert "waiting for the gate" in text
    first_attempt = box.get(package_id, "/attempts")[0]
    assert first_attempt["log_bytes"] == len(log_of(events, 1).encode())


@pytest.mark.slow
@pytest.mark.nix
@pytest.mark.parametrize("module", [("app", "serve"), ("uvicorn", "app.main:app", "--port", "0")])
def test_fifty_streams_end_in_time_with_a_last_event(box: Box, module: tuple[str, ...]) -> None:
    box.module = module
    box.start()
    package_id = begun(box)
    listeners = [Listener(box, package_id) for _ in range(50)]
    for listener in listeners:
        listener.until("waiting for the gate")
    with box.gate.open("w"):
        told_at = time.monotonic()
        code, output = box.stop()
        gone_at = time.monotonic()
    for listener in listeners:
        assert listener.end()[-1] == Event("", "end", {"reason": "stopping"})
        assert listener.ended_at - told_at < 5
    assert gone_at - told_at < 5
    assert code == (0 if module[0] == "app" else -15)  # uvicorn raises the signal again
    assert "error" not in output.lower()


@pytest.mark.slow
@pytest.mark.nix
def test_a_revoked_token_s_stream_ends_and_others_go_on(box: Box) -> None:
    box.start()
    with box.client() as client:
        made = client.post("/api/v1/tokens", json={"name": "reader", "scopes": ["packages:read"]}).json()
        package_id = begun(box)
        theirs, own = Listener(box, package_id, token=made["token"]), Listener(box, package_id)
        for listener in (theirs, own):
            listener.until("waiting for the gate")
        client.delete(f"/api/v1/tokens/{made['id']}").raise_for_status()
        assert theirs.end()[-1].content == {"reason": "revoked"}
    box.open_gate()
    assert own.end()[-1].content == {"reason": "finished"}


@pytest.mark.slow
@pytest.mark.nix
def test_listeners_that_leave_are_forgotten(box: Box) -> None:
    """Sixty-four at once are as many as one caller may have: that there is room again shows that all have gone."""
    box.start()
    package_id = begun(box)
    path = f"{PACKAGES}/{package_id}/events"
    for _ in range(2):
        with httpx2.Client(
            base_url=box.url, headers={"Authorization": f"Token {box.token}"}, trust_env=False
        ) as client:
            opened = [client.send(client.build_request("GET", path), stream=True) for _ in range(64)]
            assert {answer.status_code for answer in opened} == {200}
            with box.client() as other:
                refused = refusal(other.get(path), 429, "TOO_MANY_REQUESTS")
                assert refused["retry_after_s"] > 0
            for answer in opened:
                answer.close()
        room_again(box, path)
    box.open_gate()
    with box.client() as client:
        assert heard(client, package_id)[-1].content == {"reason": "finished"}


def room_again(box: Box, path: str) -> None:
    """Waits until as many streams may be opened as before."""
    deadline = time.monotonic() + 10
    with box.client() as client:
        while True:
            with client.stream("GET", path) as answer:
                if answer.status_code == 200:
                    return
            assert time.monotonic() < deadline


@pytest.mark.slow
@pytest.mark.nix
def test_a_stream_ends_when_its_package_is_deleted(box: Box) -> None:
    box.start()
    package_id = box.create("tool", "1.0.0")
    listener = Listener(box, package_id).until("retry")
    with box.client() as client:
        client.delete(f"{PACKAGES}/{package_id}").raise_for_status()
        assert listener.end() == [Event("", "end", {"reason": "deleted"})]
        refusal(client.get(f"{PACKAGES}/{package_id}/events"), 404)


# In process


def test_what_is_no_event_of_this_package_is_refused_by_name(client: TestClient) -> None:
    client.post(PACKAGES, json={"name": "hello", "version": "1.0"})
    path = f"{PACKAGES}/1/events"
    for text in ("x", "1.2", "-1", "9" * 41):
        document = refusal(client.get(path, params={"since": text}), 400, "VALIDATION_ERROR")
        assert document["errors"][0]["field"] == "since"
    document = refusal(client.get(path, headers={"Last-Event-ID": "1.1.1"}), 400, "VALIDATION_ERROR")
    assert document["errors"][0]["field"] == "Last-Event-ID"
    assert "0 attempts" in document["detail"]
    assert client.head(path).headers["content-type"] == "text/event-stream"
    refusal(client.get(f"{PACKAGES}/2/events"), 404)


def test_a_finished_download_is_told_from_its_rows_alone(client: TestClient, tmp_path: Path) -> None:
    """A download that was cancelled while it waited has no log; its events are all there."""
    client.post(PACKAGES, json={"name": "hello", "version": "1.0"})
    client.app.state.packages.downloads._worker.stopping.set()  # type: ignore[attr-defined]  # nothing is taken up
    client.post(f"{PACKAGES}/1/download")
    client.post(f"{PACKAGES}/1/cancel")
    events = heard(client, 1)
    assert statuses(events) == ["1 queued", "1 cancelled"]
    assert events[1].content["package_status"] == "created"
    assert rows(tmp_path / "data/app.db", "SELECT status FROM packages") == [{"status": "created"}]
