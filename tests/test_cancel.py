"""Given the real service and the real Nix, when downloads are cancelled at every moment, alone and by the dozen, then
what was acknowledged holds: one outcome for each attempt, nothing left on disk, no process left behind.
"""

import itertools
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import httpx2
import pytest

from app.packages.survivors import end_survivors
from tests.gated import (
    DEAF,
    UNGATED,
    WITH_A_CHILD,
    WITH_A_GRANDCHILD_OF_ITS_OWN,
    Gated,
    nothing_is_left,
    snapshot,
    stops_well,
)
from tests.support import refusal, until
from tests.test_main_job import PACKAGES

pytestmark = [pytest.mark.slow, pytest.mark.nix]

WAIT_S = 30  # for what has to happen; only a failure waits that long
ROUNDS = 20
CANCEL_S = 2  # from the request until the attempt has ended


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Gated]:
    running = Gated(tmp_path / "box")
    yield running
    running.stop()
    end_survivors(running.data_dir / "tmp")


# --- one cancel


def test_a_build_that_waits_its_turn_is_cancelled_and_never_begins(box: Gated) -> None:
    box.start()
    first, second = box.create("tool", WITH_A_CHILD), box.create("tool", UNGATED)
    box.post(first, "download")
    with box.at_gate("tool", WITH_A_CHILD) as gate:
        box.post(second, "download")
        answer = box.post(second, "cancel")
        assert (answer.status_code, answer.json()) == (202, {"status": "cancelling", "id": second, "attempt": 1})
        assert box.get(second)["status"] == "created"
        [attempt] = box.get(second, "/attempts")
        assert (attempt["status"], attempt["started_at"], attempt["log_bytes"]) == ("cancelled", None, 0)
        gate.write(b"go\n")
    path = box.settled(first)["store_path"]
    assert box.built() == {path}
    nothing_is_left(box)


@pytest.mark.parametrize("version", [WITH_A_CHILD, WITH_A_GRANDCHILD_OF_ITS_OWN, DEAF])
def test_a_running_build_is_cancelled_in_time_and_leaves_nothing(box: Gated, version: str) -> None:
    box.start()
    package_id = box.create("tool", version)
    box.post(package_id, "download")
    with box.at_gate("tool", version):
        began = time.monotonic()
        assert box.post(package_id, "cancel").status_code == 202
        assert box.settled(package_id)["status"] == "created"
        assert time.monotonic() - began < CANCEL_S
    assert box.attempts(package_id) == ["cancelled"]
    nothing_is_left(box)

    box.post(package_id, "download")
    box.tell("tool", version, "go")
    assert box.settled(package_id)["status"] == "downloaded"
    assert box.attempts(package_id) == ["cancelled", "succeeded"]
    nothing_is_left(box)


def test_what_a_build_has_left_running_ends_with_it(box: Gated) -> None:
    box.start()
    for word, status in (("stop", "failed"), ("go", "downloaded")):
        package_id = box.create(word, WITH_A_GRANDCHILD_OF_ITS_OWN)
        box.post(package_id, "download")
        box.tell(word, WITH_A_GRANDCHILD_OF_ITS_OWN, word)
        assert box.settled(package_id)["status"] == status
        nothing_is_left(box)


def test_a_cancel_is_refused_with_the_state_when_nothing_runs(box: Gated) -> None:
    box.start()
    created, failed = box.create("new", UNGATED), box.create("bad", WITH_A_CHILD)
    downloaded, activated = box.create("tool", UNGATED), box.create("app", UNGATED)
    box.post(failed, "download")
    box.tell("bad", WITH_A_CHILD, "fail")
    for package_id in (downloaded, activated):
        box.post(package_id, "download")
    assert {box.settled(package_id)["status"] for package_id in (downloaded, activated)} == {"downloaded"}
    box.activate(activated)
    states = {created: "created", failed: "failed", downloaded: "downloaded", activated: "activated"}
    for package_id, state in states.items():
        before = box.get(package_id)
        assert refusal(box.post(package_id, "cancel"), 409, "CONFLICT")["state"] == state
        assert box.get(package_id) == before
    refusal(box.post(999, "cancel"), 404, "NOT_FOUND")


def test_a_second_cancel_changes_nothing(box: Gated) -> None:
    box.start()
    package_id = box.create("tool", DEAF)
    box.post(package_id, "download")
    with box.at_gate("tool", DEAF):
        assert box.post(package_id, "cancel").status_code == 202
        second = box.post(package_id, "cancel")
        assert second.status_code == 202 or refusal(second, 409)["state"] == "created"
        assert box.settled(package_id)["status"] == "created"
    assert box.attempts(package_id) == ["cancelled"]
    nothing_is_left(box)


def test_twenty_cancels_at_once_are_one(box: Gated) -> None:
    box.start()
    package_id = box.create("tool", WITH_A_CHILD)
    box.post(package_id, "download")
    with box.at_gate("tool", WITH_A_CHILD), ThreadPoolExecutor(20) as pool:
        answers = [*pool.map(lambda _: box.post(package_id, "cancel"), range(20))]
    accepted = [answer.json()["attempt"] for answer in answers if answer.status_code == 202]
    assert {*accepted} == {1}
    for answer in answers:
        assert answer.status_code == 202 or refusal(answer, 409)["state"] == "created"
    assert box.settled(package_id)["status"] == "created"
    assert box.attempts(package_id) == ["cancelled"]
    nothing_is_left(box)


# --- the same instant


def test_a_cancel_at_the_instant_of_the_end_decides_it_or_is_refused(box: Gated) -> None:
    """What a round shows makes the next one's delay between the two shorter or longer: they stay neck and neck."""
    box.start()
    for cancel_first in (True, False):
        delay_s = 0.02
        for number in range(ROUNDS):
            version = f"1.{number}.{int(cancel_first)}"
            package_id = box.create("tool", version)
            box.post(package_id, "download")
            cancelled = raced(box, package_id, version, delay_s, cancel_first=cancel_first)
            later = cancelled != cancel_first
            delay_s = delay_s * 1.1 if later else delay_s * 0.9
        nothing_is_left(box)


def raced(box: Gated, package_id: int, version: str, delay_s: float, *, cancel_first: bool) -> bool:
    """Opens the gate and cancels, one `delay_s` after the other; True when the cancel was in time."""
    with ThreadPoolExecutor(1) as pool, box.client() as client, box.at_gate("tool", version) as gate:
        cancel = partial(client.post, f"{PACKAGES}/{package_id}/cancel")
        answering = pool.submit(cancel) if cancel_first else None
        if answering is not None:
            time.sleep(delay_s)
        with suppress(BrokenPipeError):  # the builder has gone
            gate.write(b"go\n")
        if answering is None:
            time.sleep(delay_s)
        answer = answering.result(WAIT_S) if answering else cancel()
    found = box.settled(package_id)
    outcome = (answer.status_code, found["status"], box.attempts(package_id), package_id in box.roots())
    assert outcome in [
        (202, "created", ["cancelled"], False),
        (409, "downloaded", ["succeeded"], True),
    ]
    assert answer.status_code == 202 or refusal(answer, 409)["state"] == "downloaded"
    return answer.status_code == 202


FOLDERS = 100


def cluttering(box: Gated) -> None:
    """Has nix-build leave so much in its temporary folder that to clear it takes a while."""
    program = box.folder / "nix-build"
    fill = f'for folder in $(seq {FOLDERS}); do mkdir "$folder"; for n in $(seq 50); do : > "$folder/$n"; done; done'
    program.write_text(f'#!/bin/sh\n{shutil.which("nix-build")} "$@"\ncode=$?\n{fill}\nexit $code\n')
    program.chmod(0o755)
    box.settings["NIX_BUILD"] = str(program)


def entries(folder: Path) -> int:
    try:
        return len(os.listdir(folder))
    except FileNotFoundError:
        return 0


@pytest.mark.parametrize(("word", "end"), [("go", "succeeded"), ("fail", "failed")])
def test_a_cancel_between_the_end_of_a_build_and_the_record_of_it_decides(box: Gated, word: str, end: str) -> None:
    cluttering(box)
    box.start()
    package_id = box.create("tool", WITH_A_CHILD)
    box.post(package_id, "download")
    folder = box.data_dir / "tmp" / "1"
    box.tell("tool", WITH_A_CHILD, word)
    until(lambda: entries(folder) == FOLDERS, "the build has ended")
    until(lambda: entries(folder) < FOLDERS, "the outcome is known, and the temporary folder is being cleared")
    answer = box.post(package_id, "cancel")
    found = box.settled(package_id)
    outcome = (answer.status_code, found["status"], box.attempts(package_id))
    assert outcome in [(202, "created", ["cancelled"]), (409, "downloaded" if word == "go" else "failed", [end])]
    nothing_is_left(box)


# --- over the end of the service


def test_what_kill_9_interrupted_is_cancelled_after_the_restart(box: Gated) -> None:
    box.start()
    running, waiting = box.create("tool", WITH_A_CHILD), box.create("tool", DEAF)
    box.post(running, "download")
    box.post(waiting, "download")
    with box.at_gate("tool", WITH_A_CHILD):
        box.kill()
    box.start()
    # What was interrupted stands behind what had waited all along.
    with box.at_gate("tool", DEAF):
        for package_id, attempt in ((running, 2), (waiting, 1)):
            answer = box.post(package_id, "cancel")
            assert (answer.status_code, answer.json()["attempt"]) == (202, attempt)
        assert box.settled(waiting)["status"] == "created"
    assert box.settled(running)["status"] == "created"
    assert (box.attempts(running), box.attempts(waiting)) == (["interrupted", "cancelled"], ["cancelled"])
    nothing_is_left(box)


@pytest.mark.parametrize("end", [Gated.stop, Gated.kill])
def test_an_acknowledged_cancel_holds_although_the_service_ends_at_once(
    box: Gated, end: Callable[[Gated], object]
) -> None:
    box.start()
    package_id = box.create("tool", DEAF)
    for number in range(1, 6):
        box.post(package_id, "download")
        with box.at_gate("tool", DEAF):
            assert box.post(package_id, "cancel").status_code == 202
            end(box)
        box.start()
        assert box.get(package_id)["status"] == "created"
        assert box.attempts(package_id) == ["cancelled"] * number
        nothing_is_left(box)


def test_a_cancel_while_the_service_stops_is_acknowledged_and_holds_or_is_not(box: Gated) -> None:
    box.start()
    for number in range(6):
        version = f"1.{number}"
        package_id = box.create("tool", version)
        box.post(package_id, "download")
        with box.at_gate("tool", version), ThreadPoolExecutor(1) as pool:
            stopping = pool.submit(box.stop)
            acknowledged = answered(box, package_id)
            assert stopping.result(WAIT_S)[0] == 0
        box.start()
        expected = ["cancelled"] if acknowledged else ["interrupted"]
        assert box.attempts(package_id)[:1] == expected
        assert box.get(package_id)["status"] == ("created" if acknowledged else "downloading")
        if not acknowledged:
            box.tell("tool", version, "go")
            box.settled(package_id)
        nothing_is_left(box)


def answered(box: Gated, package_id: int) -> bool:
    """Cancels; False when the service, which is stopping, refuses or is not there any more."""
    try:
        answer = box.post(package_id, "cancel")
    except httpx2.TransportError:
        return False
    assert answer.status_code in (202, 503)
    return answer.status_code == 202


class SlowStore:
    """Nix's programs in a folder, of which nix-store waits at a gate before it verifies what was built."""

    def __init__(self, box: Gated) -> None:
        folder = box.folder / "programs"
        folder.mkdir()
        self.gate = folder / "gate"
        os.mkfifo(self.gate)
        for name in ("nix-build", "nix-env"):
            (folder / name).symlink_to(shutil.which(name) or name)
        self.program = folder / "nix-store"
        script = f'test "$1" != --verify-path || read -r go < {self.gate}; exec {shutil.which("nix-store")} "$@"'
        self.program.write_text(f"#!/bin/sh\n{script}\n")
        self.program.chmod(0o755)
        box.settings["NIX_BUILD"] = str(folder / "nix-build")

    def hasten(self) -> None:
        self.program.unlink()
        self.program.symlink_to(shutil.which("nix-store") or "nix-store")


def test_the_root_of_a_build_that_kill_9_cut_off_goes_when_it_is_cancelled(box: Gated) -> None:
    slow = SlowStore(box)
    box.start()
    built, other = box.create("tool", UNGATED), box.create("tool", WITH_A_CHILD)
    box.post(built, "download")
    with slow.gate.open("w"):  # the build has ended, its root is there, and it is being verified
        assert built in box.roots()
        box.post(other, "download")
        box.kill()
    slow.hasten()
    box.start()
    with box.at_gate("tool", WITH_A_CHILD):
        assert box.post(built, "cancel").status_code == 202
        assert box.post(other, "cancel").status_code == 202
    for package_id in (built, other):
        assert box.settled(package_id)["status"] == "created"
    nothing_is_left(box)
    box.collect_garbage()
    assert box.built() == set()


# --- many at once


SLOTS = [*itertools.product(["tool", "app"], [UNGATED, "4.1", WITH_A_CHILD, "1.1", DEAF])]


@pytest.mark.parametrize("seed", range(3))
def test_fifty_cancels_and_downloads_at_once_leave_one_outcome_each(tmp_path: Path, seed: int) -> None:
    box = Gated(tmp_path / "box", BUILD_CONCURRENCY="2")
    box.start()
    try:
        ids = {box.create(*slot): slot for slot in SLOTS}
        calls = [(package_id, action) for package_id in ids for action in ["download", "cancel"] * 5]
        random.Random(seed).shuffle(calls)
        with box.client() as client, ThreadPoolExecutor(8) as pool:
            answers = [*pool.map(lambda call: client.post(f"{PACKAGES}/{call[0]}/{call[1]}"), calls)]
        let_all_through(box, ids)
        found = snapshot(box)
        for (package_id, action), answer in zip(calls, answers, strict=True):
            seen = found[package_id]
            if action == "download":
                known = (answer.status_code, answer.json().get("state", seen.status))
                assert answer.status_code == 202 or known in [(200, "downloaded"), (409, "cancelling")]
            elif answer.status_code == 202:
                assert seen.attempts[answer.json()["attempt"] - 1] == "cancelled"
            else:
                assert refusal(answer, 409, "CONFLICT")["state"] in ("created", "downloaded")
        assert {status for seen in found.values() for status in seen.attempts} <= {"cancelled", "succeeded"}
        nothing_is_left(box)
        stops_well(box)
    finally:
        box.stop()
        end_survivors(box.data_dir / "tmp")


def let_all_through(box: Gated, ids: dict[int, tuple[str, str]]) -> None:
    """Opens every gate at which a build stands, until nothing is being downloaded any more."""

    def through() -> bool:
        live = [package_id for package_id, seen in snapshot(box).items() if seen.status == "downloading"]
        for slot in (ids[package_id] for package_id in live if ids[package_id][1] not in (UNGATED, "4.1")):
            if gate := box.gate_of(*slot):
                with gate, suppress(BrokenPipeError):
                    gate.write(b"go\n")
        return not live

    until(through, "every download has ended")
