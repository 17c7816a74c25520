"""Given a disk that is really full, when a download runs, then it fails as that and nothing is lost: what cannot be
written is written by the same service once there is room again."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.failures import Failure, Workshop, fails, has_failed, succeeds_afterwards, until
from tests.support import refusal
from tests.test_main_job import PACKAGES

MOUNT = ["mount", "-t", "tmpfs", "-o", "size=16m", "none"]
CAN_MOUNT = subprocess.run(["unshare", "--mount", *MOUNT, "/mnt"], capture_output=True).returncode == 0
pytestmark = [
    pytest.mark.slow,
    pytest.mark.nix,
    pytest.mark.skipif(not CAN_MOUNT, reason="a small disk needs root with CAP_SYS_ADMIN"),
]


class Disk:
    """A small file system at a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        subprocess.run([*MOUNT, folder], check=True)

    def fill(self) -> None:
        """Leaves no room for anything more, however much the service writes meanwhile."""
        with (self.folder / "filler").open("wb") as filler:
            while free := os.statvfs(self.folder).f_bavail * os.statvfs(self.folder).f_frsize:
                with suppress(OSError):
                    os.posix_fallocate(filler.fileno(), os.fstat(filler.fileno()).st_size, free)

    def clear(self) -> None:
        """Gives the room back."""
        (self.folder / "filler").unlink()

    def unmount(self) -> None:
        subprocess.run(["umount", self.folder], check=True)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a short path: tmpfs needs a page for a link of 128 bytes and more, and a full disk has none."""
    return tmp_path_factory.mktemp("full")


@pytest.fixture
def disk(folder: Path) -> Iterator[Disk]:
    """A small disk where the box has its data folder."""
    small = Disk(folder / "box" / "data")
    yield small
    small.unmount()


@pytest.fixture
def box(folder: Path, disk: Disk) -> Iterator[Workshop]:
    running = Workshop(folder / "box")
    yield running
    running.stop()


@pytest.mark.parametrize("name", ["fills", "fills-unheard"])
def test_a_build_that_fills_the_store_fails_as_no_space(box: Workshop, disk: Disk, name: str) -> None:
    box.settings |= {"NIX_STORE_DIR": str(disk.folder / "store"), "DATABASE_URL": f"sqlite:///{box.folder}/app.db"}
    box.start()
    package_id = box.create(name, "1.0.0")
    failure = Failure("no_space", "No space left on device", 1, ("begun", "No space left on device"))
    log = fails(box, package_id, failure)
    assert os.statvfs(disk.folder).f_bavail == 0
    box.collect_garbage()  # what was built so far is still there, and nothing else has room
    box.mend(name)
    succeeds_afterwards(box, package_id, log)


def test_a_log_that_cannot_be_written_fails_as_no_space_and_ends_the_build(box: Workshop, disk: Disk) -> None:
    box.settings["DATABASE_URL"] = f"sqlite:///{box.folder}/app.db"
    box.start()
    package_id = box.wait_at_gate("waits-and-tells")
    disk.fill()
    box.let_through("waits-and-tells")
    until(lambda: box.get(package_id)["status"] != "downloading")
    detail = "The log could not be written: No space left on device"
    log = has_failed(box, package_id, Failure("no_space", detail, 1, ("waits-and-tells waits\n",)))
    disk.clear()
    box.mend("waits-and-tells")
    succeeds_afterwards(box, package_id, log)


def test_outcomes_that_the_database_has_no_room_for_are_written_once_it_has(box: Workshop, disk: Disk) -> None:
    box.settings["BUILD_CONCURRENCY"] = "2"
    box.start()
    well, ill = box.wait_at_gate("waits-well"), box.wait_at_gate("waits-and-dies")
    disk.fill()
    box.let_through("waits-well")
    box.let_through("waits-and-dies")
    until(lambda: "".join(box.output).count("an outcome cannot be written for now") >= 2)
    assert {box.get(package_id)["status"] for package_id in (well, ill)} == {"downloading"}
    with box.client() as client:
        refusal(client.post(PACKAGES, json={"name": "more", "version": "1.0.0"}), 507, "INSUFFICIENT_STORAGE")
    service = box.process
    disk.clear()
    until(lambda: "downloading" not in [box.get(package_id)["status"] for package_id in (well, ill)])
    assert box.process is service
    assert box.get(well)["status"] == "downloaded", box.get(well)["failure_detail"]
    assert [attempt["status"] for attempt in box.get(well, "/attempts")] == ["succeeded"]
    because = "failed with exit code 5: note: build failure may have been caused by lack of free disk space"
    log = has_failed(box, ill, Failure("no_space", because, 1, ("waits-and-dies waits\n",)))
    box.mend("waits-and-dies")
    succeeds_afterwards(box, ill, log)


def test_kill_9_on_a_full_disk_loses_nothing(box: Workshop, disk: Disk) -> None:
    box.start()
    package_id = box.wait_at_gate("waits-well")
    disk.fill()
    box.let_through("waits-well")
    until(lambda: "an outcome cannot be written for now" in "".join(box.output))
    box.kill()
    disk.clear()
    box.start()
    until(lambda: box.get(package_id)["status"] == "downloaded")
    assert [attempt["status"] for attempt in box.get(package_id, "/attempts")] == ["interrupted", "succeeded"]
