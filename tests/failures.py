"""What a failed download looks like from every side: the API, the log, pkgctl, the disk; and the way back from it."""

import io
import os
import re
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from app.cli import main as pkgctl
from app.packages.survivors import survivors
from tests import support
from tests.nix_store import EXPRESSIONS
from tests.test_main_job import PACKAGES, Box

until = partial(support.until, patience_s=20)


class Failure(NamedTuple):
    """How a download is expected to fail: kind, a part of the detail, exit code, parts of the log in their order."""

    kind: str
    detail: str
    exit_code: int | None = 1
    said: tuple[str, ...] = ()


class Told(NamedTuple):
    """What a call of pkgctl ended with and wrote."""

    code: int
    out: str
    err: str


class Workshop(Box):
    """A box whose packages fail, each in the way that its name says, until they are mended."""

    def __init__(self, folder: Path, **settings: str) -> None:
        super().__init__(folder)
        self.mended = folder / "mended"
        self.mended.mkdir()
        self.gates = folder / "gates"
        self.gates.mkdir()
        self.settings |= {
            "NIX_EXPR": str(EXPRESSIONS / "failures.nix"),
            "NIX_TEST_MENDED": str(self.mended),
            "NIX_TEST_GATES": str(self.gates),
            "MIN_FREE_BYTES": "0",  # a test's disk may be small
            **settings,
        }

    def mend(self, name: str) -> None:
        """Takes away the cause for which a package fails."""
        (self.mended / name).touch()

    def restart(self, **settings: str) -> None:
        """Starts the service again with other settings."""
        self.stop()
        self.settings |= settings
        self.start()

    def pkgctl(self, *words: object) -> "Told":
        """Runs pkgctl in this process: what matters here is what it says, and there is a lot to ask."""
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
            code = pkgctl([str(word) for word in words], {"PURSER_URL": self.url, "PURSER_TOKEN": self.token})
        return Told(code, out.getvalue(), err.getvalue())

    def wait_at_gate(self, name: str) -> int:
        """Begins a download, which has come to the package's gate when this returns."""
        os.mkfifo(self.gates / name)
        package_id = self.create(name, "1.0.0")
        assert self.post(package_id, "download").status_code == 202
        until(lambda: f"{name} waits" in self.log(package_id).decode())
        return package_id

    def let_through(self, name: str) -> None:
        """Opens the gate for the build that waits at it."""
        with (self.gates / name).open("w") as gate:
            gate.write("go\n")

    def log(self, package_id: int, attempt: int | None = None) -> bytes:
        """The log of an attempt, by default the last."""
        with self.client() as client:
            answer = client.get(f"{PACKAGES}/{package_id}/log", params={} if attempt is None else {"attempt": attempt})
            assert answer.status_code == 200, answer.text
            return answer.content

    def nix_programs(self) -> list[int]:
        """The Nix programs that the service runs now."""
        return [pid for pid, is_nix in survivors(self.data_dir / "tmp").items() if is_nix]


def fails(box: Workshop, package_id: int, failure: Failure) -> bytes:
    """Downloads, and expects pkgctl to say that it failed and why; the log, after everything `has_failed` looks at."""
    told = box.pkgctl("download", package_id, "--wait")
    log = has_failed(box, package_id, failure)
    detail = box.get(package_id)["failure_detail"]
    assert told == (1, "", f"{log.decode()}pkgctl: Download failed: {failure.kind}: {detail}\n")
    return log


def has_failed(box: Workshop, package_id: int, failure: Failure) -> bytes:
    """Expects the last download to have failed like this, wherever it can be seen; the log."""
    package, attempt = box.get(package_id), box.get(package_id, "/attempts")[-1]
    detail = package["failure_detail"]
    assert (package["status"], package["failure"]) == ("failed", failure.kind), detail
    assert failure.detail in detail
    assert is_readable(detail, box)
    outcome = [attempt[key] for key in ("status", "failure", "failure_detail", "exit_code")]
    assert outcome == ["failed", failure.kind, detail, failure.exit_code]
    assert attempt["queued_at"] <= attempt["started_at"] <= attempt["finished_at"]
    log = box.log(package_id)
    assert attempt["log_bytes"] == len(log)
    assert re.search(".*".join(map(re.escape, failure.said)), log.decode(), re.DOTALL), log.decode()
    assert all(line.isprintable() for line in log.decode().split("\n"))
    pkgctl_agrees(box, package_id, detail, log)
    nothing_is_left(box, package_id)
    return log


def is_readable(detail: str, box: Workshop) -> bool:
    """True for one line of 500 characters at most, without control characters and names of temporary files."""
    return 0 < len(detail) <= 500 and detail.isprintable() and str(box.data_dir / "tmp") not in detail


def pkgctl_agrees(box: Workshop, package_id: int, detail: str, log: bytes) -> None:
    """Expects show, attempts and log to say what the API says."""
    attempt = box.get(package_id, "/attempts")[-1]
    shown = box.pkgctl("show", package_id).out
    assert re.search(rf"^failure +{attempt['failure']}$", shown, re.MULTILINE)
    assert re.search(rf"^failure_detail +{re.escape(detail)}$", shown, re.MULTILINE)
    last = box.pkgctl("attempts", package_id).out.splitlines()[-1].split()
    exit_code = "-" if attempt["exit_code"] is None else str(attempt["exit_code"])
    assert last[:4] == [str(attempt["number"]), "failed", attempt["failure"], exit_code]
    assert box.pkgctl("log", package_id).out == log.decode()


def nothing_is_left(box: Workshop, package_id: int) -> None:
    """Expects no process, no temporary folder and no root of the package."""
    assert survivors(box.data_dir / "tmp") == {}
    assert list((box.data_dir / "tmp").iterdir()) == []
    assert list((box.data_dir / "roots").glob(f"{package_id}*")) == []


def succeeds_afterwards(box: Workshop, package_id: int, log: bytes) -> None:
    """Expects the next download to succeed, with a log of its own, and the failed one to be shown as before."""
    before = box.get(package_id, "/attempts")
    told = box.pkgctl("download", package_id, "--wait")
    package = box.get(package_id)
    assert (told.code, told.out) == (0, f"Success: Downloaded package v{package['version']}\n"), told.err
    assert [package[key] for key in ("status", "failure", "failure_detail")] == ["downloaded", None, None]
    assert os.readlink(box.data_dir / "roots" / str(package_id)) == package["store_path"]
    *earlier, last = box.get(package_id, "/attempts")
    assert earlier == before
    assert (last["number"], last["status"], last["exit_code"]) == (len(before) + 1, "succeeded", 0)
    assert box.log(package_id, len(before)) == log
    assert last["log_bytes"] == len(box.log(package_id))
    assert survivors(box.data_dir / "tmp") == {}
    assert list((box.data_dir / "tmp").iterdir()) == []


def curl(box: Workshop, path: str) -> str:
    """What plain curl prints of an address."""
    words = ["curl", "--silent", "--show-error", "--header", f"Authorization: Token {box.token}", box.url + path]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def decoded(text: str) -> object:
    """The JSON as an object."""
    return msgspec.json.decode(text)
