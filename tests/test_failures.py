"""Given a download that fails, when one looks, then the row, the attempt, the log, curl and pkgctl say the same; and
once the cause is gone the next download succeeds. Each kind with the real Nix where Nix does it on demand."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.failures import Failure, Workshop, curl, decoded, fails, has_failed, succeeds_afterwards, until
from tests.nix_store import FAKES
from tests.test_main_job import PACKAGES

pytestmark = [pytest.mark.slow, pytest.mark.nix]

Make = Callable[..., Workshop]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """One service for all failures that need no settings of their own: each has a package of its own."""
    running = Workshop(tmp_path_factory.mktemp("failures") / "box")
    running.start()
    yield running
    running.stop()


FAILURES = {
    "thrown": Failure("evaluation", "nothing is known of thrown", 1, ("error: nothing is known of thrown",)),
    "mistyped": Failure("evaluation", "cannot add a string to an integer", 1, ("cannot add", "failures.nix:")),
    "misspelt": Failure("evaluation", "syntax error", 1, ("error: syntax error",)),
    "text": Failure("evaluation", "does not evaluate to a derivation"),
    "none": Failure("evaluation", "The expression gives 0 packages for this name and version; it must give one.", 0),
    "two": Failure("evaluation", "The expression gives 2 packages for this name and version; it must give one.", 0),
    "unoffered": Failure("version_unavailable", "version 1.0.0 of unoffered is not available"),
    "fails": Failure(
        "build",
        "failed with exit code 3: no rule to make it",
        100,
        ("building '", "building fails 1.0.0\nabout to fail\nno rule to make it\n", "error: builder for '"),
    ),
    "mute": Failure("build", "failed with exit code 1: building mute 1.0.0", 100),
    "coloured": Failure("build", "0000000", 100, ("0" * 1999 + "7\n",)),
    "terminated": Failure("build", "failed due to signal 15", 100),
    "unmade": Failure("build", "failed to produce output path", 1, ("made nothing",)),
    "needy": Failure(
        "build", "part.drv' failed with exit code 4: a part fails", 100, ("a part fails", "1 dependencies")
    ),
    "foreign": Failure("build", "a 'riscv128-linux' with features {} is required", 1),
    "tampered": Failure("build", "specified: sha256-", 102, ("hash mismatch", "specified", "got")),
    "killed": Failure("out_of_memory", "failed due to signal 9", 100),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_told_everywhere_and_ends_with_its_cause(workshop: Workshop, name: str) -> None:
    package_id = workshop.create(name, "1.0.0")
    log = fails(workshop, package_id, FAILURES[name])
    workshop.mend(name)
    succeeds_afterwards(workshop, package_id, log)


# --- limits

TOO_LONG = "Stopped: the build took longer than allowed; the builder's last line was: again"
TOO_SILENT = "Stopped: the build said nothing for longer than allowed; the builder's last line was: begun"
TOO_MUCH = "Stopped: the log grew beyond its limit; the builder's last line was: 000"


@pytest.mark.parametrize(
    ("name", "setting", "failure"),
    [
        ("slow", "BUILD_SILENT_TIMEOUT", Failure("silent_timeout", TOO_SILENT, 1, ("begun",))),
        ("chatty", "BUILD_TIMEOUT", Failure("timeout", TOO_LONG, 1, ("again", "again"))),
    ],
)
def test_a_build_beyond_its_time_fails_until_it_has_more(make: Make, name: str, setting: str, failure: Failure) -> None:
    box = make(**{setting: "2"})
    box.start()
    package_id = box.create(name, "1.0.0")
    log = fails(box, package_id, failure)
    box.mend(name)
    box.restart(**{setting: "60"})
    succeeds_afterwards(box, package_id, log)


LIMITED = {"NIX_OPTIONS": "--timeout 3 --max-silent-time 2", "BUILD_LOG_LIMIT": "8000"}
LIMITS = {
    "slow": Failure("silent_timeout", "timed out after 2 seconds of silence", 101, ("begun", "error: ")),
    "chatty": Failure("timeout", "timed out after 3 seconds", 101, ("again", "again", "error: ")),
    "colours": Failure("log_limit", "killed after writing more than 8000 bytes", 1, (".\n.\n",)),
    "parts": Failure("log_limit", TOO_MUCH, 1, ("000", "\n... the log has reached its limit\n")),
}


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """A service with limits that Nix keeps, and with one of ours: for the log of all that is built."""
    running = Workshop(tmp_path_factory.mktemp("limited") / "box", **LIMITED)
    running.start()
    yield running
    running.stop()


@pytest.mark.parametrize("name", LIMITS)
def test_a_build_beyond_a_limit_fails_until_it_keeps_to_it(limited: Workshop, name: str) -> None:
    package_id = limited.create(name, "1.0.0")
    log = fails(limited, package_id, LIMITS[name])
    limited.mend(name)
    succeeds_afterwards(limited, package_id, log)


# --- without Nix


def nowhere(box: Workshop, programs: Path) -> None:
    box.settings["NIX_BUILD"] = str(programs / "nix-build")


def not_executable(box: Workshop, programs: Path) -> None:
    nowhere(box, programs)
    (programs / "nix-build").write_text("#!/bin/sh\n")


def not_on_path(box: Workshop, programs: Path) -> None:
    box.settings["PATH"] = str(programs)


def without_its_shell(box: Workshop, programs: Path) -> None:
    nowhere(box, programs)
    (programs / "nix-build").write_text("#!/nowhere/sh\n")
    (programs / "nix-build").chmod(0o755)


@pytest.mark.parametrize("missing", [nowhere, not_executable, not_on_path, without_its_shell])
def test_without_nix_the_service_runs_on_and_downloads_once_it_is_there(
    make: Make, missing: Callable[[Workshop, Path], None]
) -> None:
    box = make()
    programs = box.folder / "programs"
    programs.mkdir()
    missing(box, programs)
    box.start()
    package_id = box.create("any", "1.0.0")
    log = fails(box, package_id, Failure("nix_missing", "Install Nix: apt-get install nix-bin", None))
    assert log == b""
    for name in ("nix-build", "nix-store", "nix-env"):
        (programs / name).unlink(missing_ok=True)
        (programs / name).symlink_to(shutil.which(name) or name)
    box.mend("any")
    succeeds_afterwards(box, package_id, log)


def test_nix_build_alone_is_not_nix(make: Make) -> None:
    box = make()
    programs = box.folder / "programs"
    programs.mkdir()
    (programs / "nix-build").symlink_to(shutil.which("nix-build") or "nix-build")
    box.settings["PATH"] = str(programs)
    box.start()
    box.mend("any")
    package_id = box.create("any", "1.0.0")
    log = fails(box, package_id, Failure("nix_missing", "Install Nix", None, ("building any 1.0.0",)))
    (programs / "nix-store").symlink_to(shutil.which("nix-store") or "nix-store")
    succeeds_afterwards(box, package_id, log)


# --- damage, signals, and what no other kind covers


def test_a_package_with_a_damaged_part_that_cannot_be_repaired_is_damaged(make: Make) -> None:
    box = make()
    source = box.folder / "part"
    source.write_text("a part that nothing builds\n")
    part = Path(box.nix("nix-store", "--add", str(source)).strip())
    box.settings["NIX_TEST_PART"] = str(part)
    box.start()
    part.chmod(0o644)
    part.write_text("something else\n")
    package_id = box.create("composed", "1.0.0")
    expected = Failure("damaged", "could not be repaired", 1, ("building composed", f"path '{part}' is corrupted"))
    log = fails(box, package_id, expected)
    part.write_text(source.read_text())
    succeeds_afterwards(box, package_id, log)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_nix_build_that_somebody_ends_is_interrupted(workshop: Workshop, number: signal.Signals) -> None:
    name = f"waits-{number.name}"
    package_id = workshop.wait_at_gate(name)
    [nix_build] = workshop.nix_programs()
    os.kill(nix_build, number)
    until(lambda: workshop.get(package_id)["status"] != "downloading")
    log = has_failed(workshop, package_id, Failure("interrupted", "interrupted by the user", 1, (f"{name} waits",)))
    workshop.mend(name)
    succeeds_afterwards(workshop, package_id, log)


def test_three_restarts_in_a_row_are_an_interruption_that_can_be_looked_at(make: Make) -> None:
    box = make()
    box.start()
    package_id = box.wait_at_gate("waits-long")
    for number in (1, 2, 3):
        until(lambda number=number: b"waits-long waits" in box.log(package_id, number))
        box.kill()
        box.start()
    attempts = box.get(package_id, "/attempts")
    assert [attempt["status"] for attempt in attempts] == ["interrupted"] * 3
    assert all(attempt["log_bytes"] == len(box.log(package_id, attempt["number"])) > 0 for attempt in attempts)
    detail = "The service stopped 3 times in a row while this was being built."
    package = box.get(package_id)
    assert [package[key] for key in ("status", "failure", "failure_detail")] == ["failed", "interrupted", detail]
    assert (attempts[-1]["failure"], attempts[-1]["failure_detail"]) == ("interrupted", detail)
    box.mend("waits-long")
    succeeds_afterwards(box, package_id, box.log(package_id))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """A service whose nix-build is the stand-in: it does what the package's name says."""
    running = Workshop(tmp_path_factory.mktemp("played") / "box", NIX_BUILD=str(FAKES / "nix-build"))
    running.start()
    yield running
    running.stop()


@pytest.mark.parametrize(
    ("name", "failure"),
    [
        ("die", Failure("out_of_memory", "nix-build was killed (signal 9)", None, ("begun",))),
        ("crash", Failure("unknown", "nix-build was ended by signal 11.", None)),
        ("mute", Failure("unknown", "nix-build ended with exit code 1 and said nothing.", 1)),
    ],
)
def test_what_the_real_nix_does_not_do_on_demand(played: Workshop, name: str, failure: Failure) -> None:
    package_id = played.create(name, "1.0.0")
    log = fails(played, package_id, failure)
    played.mend(name)
    succeeds_afterwards(played, package_id, log)


def test_options_that_nix_does_not_know_are_no_fault_of_the_package(make: Make) -> None:
    box = make(NIX_OPTIONS="--nonsense")
    box.start()
    box.mend("any")
    package_id = box.create("any", "1.0.0")
    log = fails(box, package_id, Failure("unknown", "unrecognised flag '--nonsense'", 1))
    box.restart(NIX_OPTIONS="")
    succeeds_afterwards(box, package_id, log)


def test_plain_curl_shows_why_a_download_failed(workshop: Workshop) -> None:
    package_id = workshop.create("fails-for-curl", "1.0.0")
    workshop.pkgctl("download", package_id, "--wait")
    path = f"{PACKAGES}/{package_id}"
    assert decoded(curl(workshop, path)) == workshop.get(package_id)
    assert '"status":"failed","store_path":null' in curl(workshop, path)
    assert '"failure":"version_unavailable"' in curl(workshop, path)
    assert '"failure":"version_unavailable"' in curl(workshop, f"{path}/attempts")
    assert curl(workshop, f"{path}/log") == "error: version 1.0.0 of fails-for-curl is not available\n"
