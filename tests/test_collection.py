"""Given a garbage collector that never rests, when packages are fetched, switched to and back, and deleted, then
nothing that a package needs is ever taken, and in the end nothing is kept that no package needs.
"""

import itertools
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.packages.survivors import end_survivors
from tests.gated import UNGATED, WITH_A_CHILD, Gated, nothing_is_left
from tests.support import rows, until
from tests.test_main_job import PACKAGES

pytestmark = [pytest.mark.slow, pytest.mark.nix]

ROUNDS = 60
KEPT = 4  # versions of a name that are kept; an older one is deleted as a newer one comes
COLLECTORS = [["nix-collect-garbage"], ["nix-store", "--gc"]]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Gated]:
    running = Gated(tmp_path / "box", BUILD_CONCURRENCY="2")
    running.start()
    yield running
    running.stop()
    end_survivors(running.data_dir / "tmp")


class Collector:
    """Collects garbage again and again, as long as it is entered; `times` says how often."""

    def __init__(self, box: Gated) -> None:
        self._box = box
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._collect)
        self._error: subprocess.CalledProcessError | None = None
        self.times = 0

    def _collect(self) -> None:
        for words in itertools.cycle(COLLECTORS):
            if self._enough.is_set():
                return
            try:
                self._box.collect_garbage(*words)
            except subprocess.CalledProcessError as error:
                self._error = error
                return
            self.times += 1

    def __enter__(self) -> "Collector":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()
        if self._error is not None:
            raise AssertionError(self._error.stderr) from self._error

    def once_more(self) -> None:
        """Returns when one collection that began after this call has ended."""
        wanted = self.times + 2
        until(lambda: self.times >= wanted or self._error, "garbage was collected")


class Name:
    """One name with its versions: the ids, and the store path of each, in the order in which they came."""

    def __init__(self, box: Gated, name: str) -> None:
        self.name = name
        self.paths: dict[int, str] = {}
        self.active: list[int] = []  # what a rollback walks back through
        self._box = box
        self._versions = itertools.count()

    def fetch(self) -> int:
        """Downloads a version that there was not before."""
        package_id = self._box.create(self.name, f"{UNGATED}.{next(self._versions)}")
        assert self._box.post(package_id, "download").status_code == 202
        found = self._box.settled(package_id)
        assert found["status"] == "downloaded", (found["failure"], found["failure_detail"])
        self.paths[package_id] = found["store_path"]
        return package_id

    def activate(self, package_id: int) -> None:
        """Switches to it; a rollback would lead to the version that was active before."""
        answer = self._box.activate(package_id)
        assert answer["previous_id"] == (self.active[-1] if self.active else None)
        self.active.append(package_id)
        self.is_whole()

    def roll_back(self) -> None:
        from_id = self.active.pop()
        answer = self._box.post(from_id, "rollback")
        assert (answer.status_code, answer.json()["id"]) == (200, self.active[-1]), answer.text
        self.is_whole()

    def delete(self, package_id: int) -> None:
        with self._box.client() as client:
            assert client.delete(f"{PACKAGES}/{package_id}").status_code == 204
        del self.paths[package_id]
        self.active = [one for one in self.active if one != package_id]

    def is_whole(self) -> None:
        """The profile points at the active version; it and the one before are in the store, unchanged."""
        assert self._box.profile(self.name) == self.paths[self.active[-1]]
        self._box.nix("nix-store", "--verify-path", *{self.paths[one] for one in self.active[-2:]})


def test_the_collector_takes_nothing_while_versions_come_and_go(box: Gated) -> None:
    tool, app = Name(box, "tool"), Name(box, "app")
    with Collector(box) as collector:
        for name in (tool, app):
            name.activate(name.fetch())
        for number in range(ROUNDS):
            name, other = (tool, app) if number % 2 else (app, tool)
            fresh = name.fetch()
            name.activate(fresh)
            if number % 4 > 1:
                name.roll_back()
            other.is_whole()
            while len(name.paths) > KEPT:
                name.delete(next(one for one in name.paths if one not in name.active[-2:]))
            name.is_whole()
            assert all(Path(path).exists() for path in (*tool.paths.values(), *app.paths.values()))
        collector.once_more()
        assert box.built() == {*tool.paths.values(), *app.paths.values()}
    assert collector.times > ROUNDS / 10
    nothing_is_left(box)


def test_rollbacks_lead_all_the_way_back_while_garbage_is_collected(box: Gated) -> None:
    tool = Name(box, "tool")
    with Collector(box) as collector:
        for _ in range(8):
            tool.activate(tool.fetch())
        collector.once_more()
        while len(tool.active) > 1:
            tool.roll_back()
        collector.once_more()
    assert box.post(tool.active[0], "rollback").status_code == 409
    box.nix("nix-store", "--verify-path", *tool.paths.values())


def test_a_build_that_waits_loses_nothing_to_the_collector(box: Gated) -> None:
    ids = {version: box.create("tool", version) for version in (f"{WITH_A_CHILD}.0", f"{WITH_A_CHILD}.1")}
    for package_id in ids.values():
        box.post(package_id, "download")
    with Collector(box) as collector:
        for version, package_id in ids.items():
            with box.at_gate("tool", version) as gate:
                collector.once_more()
                gate.write(b"go\n")
            path = box.settled(package_id)["store_path"]
            collector.once_more()
            box.nix("nix-store", "--verify-path", path)
    nothing_is_left(box)


def test_the_paths_of_a_package_whose_deletion_was_cut_off_go_in_the_end(box: Gated) -> None:
    tool = Name(box, "tool")
    old, new = tool.fetch(), tool.fetch()
    tool.activate(old)
    tool.activate(new)  # the profile has a generation that points at the old version
    box.kill()
    without_its_row(box, old)
    box.start()
    box.collect_garbage()
    assert box.built() == {tool.paths[new]}
    assert box.profile("tool") == tool.paths[new]


def without_its_row(box: Gated, package_id: int) -> None:
    """Deletes the row alone: as if the service had died right after it."""
    script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA foreign_keys = ON');"
    script += "c.execute('DELETE FROM packages WHERE id = ?', sys.argv[2:]); c.commit()"
    subprocess.run([sys.executable, "-c", script, str(box.database), str(package_id)], check=True)
    assert not rows(box.database, "SELECT id FROM packages WHERE id = ?", package_id)
