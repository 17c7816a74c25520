"""Given a Nix whose store belongs to nix-daemon, when downloads succeed, fail, are cancelled or cut off, then all is as
with a store of one's own, although every exit code is 1 there; and the daemon's builders go away, too."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from app.packages.survivors import survivors
from tests.failures import Failure, Workshop, fails, has_failed, succeeds_afterwards, until
from tests.nix_store import private_store
from tests.support import ROOT
from tests.test_failures import FAILURES, LIMITED, LIMITS
from tests.test_no_space import CAN_MOUNT, Disk

pytestmark = [pytest.mark.slow, pytest.mark.nix]

Make = Callable[..., Workshop]


class Daemon:
    """A nix-daemon with a store of its own in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._tmpdir = folder / "daemon"
        self._tmpdir.mkdir(parents=True)
        self._socket = folder / "nix-state" / "daemon-socket" / "socket"
        self._store = private_store(folder)
        self.settings = self._store | {"NIX_REMOTE": "daemon"}

    def start(self, **settings: str) -> "Daemon":
        """Starts it; it listens when this returns."""
        self.settings |= settings
        own = {"PATH": os.environ["PATH"], "HOME": str(self._tmpdir), "TMPDIR": str(self._tmpdir)}
        environ = own | self._store | settings
        self._process = subprocess.Popen(["nix-daemon"], env=environ, stderr=subprocess.DEVNULL, start_new_session=True)
        until(self._socket.exists)
        return self

    def stop(self) -> None:
        """Kills it with all that it has started."""
        while left := survivors(self._tmpdir):
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._socket.unlink()

    def builders(self) -> list[int]:
        """What it builds with now."""
        mark = f"\0NIX_BUILD_TOP={self._tmpdir}".encode()
        return [pid for pid in processes() if mark in b"\0" + environ_of(pid)]


def processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def environ_of(pid: int) -> bytes:
    """The environment that a process was started with; empty when it has just ended."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    running = Daemon(tmp_path_factory.mktemp("daemon")).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def workshop(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """One service for all tests that need no settings of their own: each has packages of its own."""
    running = Workshop(tmp_path_factory.mktemp("client") / "box", **daemon.settings)
    running.start()
    yield running
    running.stop()


@pytest.mark.parametrize("name", ["thrown", "unoffered", "fails", "needy", "tampered", "killed"])
def test_a_failure_is_told_as_without_a_daemon(workshop: Workshop, name: str) -> None:
    package_id = workshop.create(name, "1.0.0")
    log = fails(workshop, package_id, FAILURES[name]._replace(exit_code=1))
    workshop.mend(name)
    succeeds_afterwards(workshop, package_id, log)


def test_a_build_beyond_a_limit_fails_and_its_builder_goes(make: Make, daemon: Daemon) -> None:
    box = make(**LIMITED, **daemon.settings)
    box.start()
    for name, failure in LIMITS.items():
        fails(box, box.create(name, "1.0.0"), failure._replace(exit_code=1))
        until(lambda: daemon.builders() == [])


def test_a_build_that_we_end_takes_its_builder_with_it(make: Make, daemon: Daemon) -> None:
    box = make(BUILD_TIMEOUT="2", **daemon.settings)
    box.start()
    fails(box, box.create("slow", "1.0.1"), Failure("timeout", "took longer than allowed", 1, ("begun",)))
    until(lambda: daemon.builders() == [])


def test_a_cancelled_build_ends_at_once_and_its_builder_soon(workshop: Workshop, daemon: Daemon) -> None:
    package_id = workshop.wait_at_gate("waits-cancelled")
    assert daemon.builders()
    asked_at = time.monotonic()
    assert workshop.post(package_id, "cancel").status_code == 202
    until(lambda: workshop.get(package_id)["status"] == "created")
    assert time.monotonic() - asked_at < 2
    assert [attempt["status"] for attempt in workshop.get(package_id, "/attempts")] == ["cancelled"]
    until(lambda: daemon.builders() == [])


def test_kill_9_of_the_service_leaves_no_builder_and_the_build_begins_again(make: Make, daemon: Daemon) -> None:
    box = make(**daemon.settings)
    box.start()
    package_id = box.wait_at_gate("waits-killed")
    builders = daemon.builders()
    box.kill()
    box.start()
    until(lambda: not set(builders) & set(daemon.builders()))
    until(lambda: b"waits-killed waits" in box.log(package_id, 2))
    box.let_through("waits-killed")
    until(lambda: box.get(package_id)["status"] == "downloaded")
    assert [attempt["status"] for attempt in box.get(package_id, "/attempts")] == ["interrupted", "succeeded"]


def test_a_damaged_package_is_repaired_by_the_daemon(workshop: Workshop) -> None:
    package_id = workshop.create("damaged-later", "1.0.0")
    workshop.mend("damaged-later")
    assert workshop.pkgctl("download", package_id, "--wait").code == 0
    path = Path(workshop.get(package_id)["store_path"])
    path.unlink()
    assert workshop.post(package_id, "activate").json()["failure"] == "damaged"
    assert workshop.pkgctl("download", package_id, "--wait").code == 0
    assert path.read_text() == "damaged-later 1.0.0\n"
    assert workshop.activate(package_id)["status"] == "activated"


@pytest.mark.skipif(not CAN_MOUNT, reason="a small disk needs root with CAP_SYS_ADMIN")
def test_a_build_that_fills_the_daemon_s_store_fails_as_no_space(make: Make, tmp_path: Path) -> None:
    disk = Disk(tmp_path / "disk")
    daemon = Daemon(tmp_path / "nix").start(NIX_STORE_DIR=str(disk.folder / "store"))
    box = make(**daemon.settings)
    try:
        box.start()
        package_id = box.create("fills", "1.0.0")
        log = fails(box, package_id, Failure("no_space", "No space left on device", 1, ("begun",)))
        box.collect_garbage()
        box.mend("fills")
        succeeds_afterwards(box, package_id, log)
    finally:
        box.stop()
        daemon.stop()
        disk.unmount()


def test_a_daemon_that_is_not_there_is_no_fault_of_the_package(make: Make, tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "nix")
    box = make(**daemon.settings)
    box.start()
    box.mend("any")
    package_id = box.create("any", "1.0.0")
    log = fails(box, package_id, Failure("unknown", "cannot connect to socket", 1))
    daemon.start()
    try:
        succeeds_afterwards(box, package_id, log)
    finally:
        box.stop()
        daemon.stop()


def test_a_daemon_that_goes_away_in_the_middle_interrupts_the_build(make: Make, tmp_path: Path) -> None:
    daemon = Daemon(tmp_path / "nix").start()
    box = make(**daemon.settings)
    box.start()
    package_id = box.wait_at_gate("waits-cut-off")
    daemon.stop()
    until(lambda: box.get(package_id)["status"] == "failed")
    log = has_failed(box, package_id, Failure("interrupted", "lost the connection to its daemon", 1, ("waits",)))
    daemon.start()
    box.mend("waits-cut-off")
    try:
        succeeds_afterwards(box, package_id, log)
    finally:
        box.stop()
        daemon.stop()


# --- a service that is not root

AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


OTHERS_RUN_PYTHON = [*AS_NOBODY, sys.executable, "-c", "import app.main"]


@pytest.fixture
def nobody_s() -> Iterator[Workshop]:
    """A service of the user nobody, and a daemon of root's, in a folder that everybody may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="purser-"))
    folder.chmod(0o755)
    daemon = Daemon(folder / "nix").start()
    box = Workshop(folder / "box", **daemon.settings)
    os.chown(box.folder, 65534, 65534)
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec {" ".join(AS_NOBODY)} {sys.executable} "$@"\n')
    python.chmod(0o755)
    box.interpreter = str(python)
    yield box.start()
    box.stop()
    daemon.stop()
    shutil.rmtree(folder)


@pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(OTHERS_RUN_PYTHON, cwd=ROOT).returncode != 0,
    reason="needs root, and an interpreter that every user may run",
)
def test_a_service_without_rights_lives_on_a_daemon_that_has_them(nobody_s: Workshop) -> None:
    package_id = nobody_s.create("fails", "1.0.0")
    log = fails(nobody_s, package_id, FAILURES["fails"]._replace(exit_code=1))
    nobody_s.mend("fails")
    succeeds_afterwards(nobody_s, package_id, log)
    assert nobody_s.activate(package_id)["profile"] == str(nobody_s.data_dir / "profiles" / "fails" / "current")
    path = Path(nobody_s.get(package_id)["store_path"])
    assert (nobody_s.database.stat().st_uid, path.stat().st_uid) == (65534, 0)

    other = nobody_s.create("any", "1.0.0")
    nobody_s.mend("any")
    assert nobody_s.pkgctl("download", other, "--wait").code == 0
    path = Path(nobody_s.get(other)["store_path"])
    path.unlink()
    assert nobody_s.post(other, "activate").json()["failure"] == "damaged"
    told = nobody_s.pkgctl("download", other, "--wait")
    assert "Download failed: damaged: repairing is not allowed" in told.err
    nobody_s.nix("env", "NIX_REMOTE=", "nix-store", "--repair-path", str(path))  # root, past the daemon
    assert nobody_s.pkgctl("download", other, "--wait").code == 0
    assert nobody_s.activate(other)["status"] == "activated"
