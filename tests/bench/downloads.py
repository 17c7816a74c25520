"""The download part: how much longer a whole download takes than nix-build alone, in the same run, in turn."""

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from app.packages import nix
from tests.bench.appliance import EXPRESSION, Appliance, until

LOG_LIMIT = ["--option", "max-build-log-size", str(16 * 2**20)]  # what the service adds by itself
KINDS = (("known", "already built"), ("new", "really built"))
WARM_UP = 1
EXPECTED_MS = 100
Times = dict[str, float]


class Bare:
    """nix-build as somebody would call it who has the same store, expression, options and environment."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._roots = folder / "roots"
        self._roots.mkdir(parents=True)
        home, tmpdir = folder / "home", folder / "tmp"
        home.mkdir()
        tmpdir.mkdir()
        self._environ = nix.environment(environ, home=home, tmpdir=tmpdir)
        self._tmpdir = tmpdir

    def run(self, *words: str) -> tuple[str, float]:
        """What the program printed, and the milliseconds it took."""
        began = time.perf_counter()
        ended = subprocess.run(words, env=self._environ, cwd=self._tmpdir, capture_output=True, text=True, check=False)
        took_ms = (time.perf_counter() - began) * 1000
        if ended.returncode:
            raise SystemExit(f"bench: {' '.join(words)}: {ended.stderr}")
        return ended.stdout.strip(), took_ms

    def build(self, name: str, version: str) -> tuple[str, float]:
        """The store path, and the milliseconds until it was there."""
        root = self._roots / f"{name}-{version}"
        given = ["--argstr", "name", name, "--argstr", "version", version, "--out-link", str(root)]
        return self.run("nix-build", str(EXPRESSION), *given, "--log-format", "internal-json", *LOG_LIMIT)

    def parts(self, path: str) -> Times:
        """What else the service asks of Nix and of the kernel for each download, by itself, in milliseconds."""
        took = {
            "closure": self.run("nix-store", "--query", "--requisites", path)[1],
            "verify": self.run("nix-store", "--verify-path", path)[1],
            "size": self.run("nix-store", "--query", "--size", path)[1],
        }
        began = time.perf_counter()
        os.sync()
        return took | {"sync": (time.perf_counter() - began) * 1000}


def ours(box: Appliance, name: str, version: str) -> tuple[str, Times]:
    """A download from the package's creation until the answer that says downloaded: its path, and where the time went.

    `build` is from taking the attempt up until its outcome is recorded, by the service's clock. The end is noticed by
    asking every 10 ms, which costs little of the core: the event stream tells things up to 50 ms late, so that they
    travel together.
    """
    began = time.perf_counter()
    package_id = box.create(name, version)
    created = time.perf_counter()
    box.download(package_id)
    asked = time.perf_counter()
    until(lambda: box.status(package_id) != "downloading")
    seen = time.perf_counter()
    found = box.caller.ask("GET", f"/api/v1/packages/{package_id}")
    if found["status"] != "downloaded":
        raise SystemExit(f"bench: the download ended as {found}")
    attempt = box.attempt(package_id)
    build_s = (_instant(attempt["finished_at"]) - _instant(attempt["started_at"])).total_seconds()
    return found["store_path"], {
        "whole": (seen - began) * 1000,
        "create": (created - began) * 1000,
        "ask": (asked - created) * 1000,
        "build": build_s * 1000,
        "rest": (seen - asked - build_s) * 1000,
    }


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def measure(rounds: int) -> None:
    """Both kinds of build, ours and nix-build in turn and to and fro; prints medians and where the difference is."""
    if shutil.which("nix-build") is None:
        raise SystemExit("bench: nix-build is missing; scripts/setup says how to install it")
    with tempfile.TemporaryDirectory() as name, Appliance(Path(name) / "box") as box:
        bare = Bare(Path(name) / "bare", box.settings)
        for kind, words in KINDS:
            _compare(box, bare, kind, words, rounds)


def _compare(box: Appliance, bare: Bare, kind: str, words: str, rounds: int) -> None:
    seen: set[str] = set()
    found = [_round(box, bare, kind, number, seen) for number in range(WARM_UP + rounds)][WARM_UP:]
    if len(seen) != (1 if kind == "known" else 2 * (WARM_UP + rounds)):
        raise SystemExit(f"bench: {len(seen)} paths were built of {kind}")
    print(
        f"download, {words:13}  ours {_spread([download['whole'] for _, download, _ in found])}"
        f"  nix-build {_spread([bare_ms for bare_ms, _, _ in found])}"
        f"  more {_spread([download['whole'] - bare_ms for bare_ms, download, _ in found])}"
        f"  (expected: {EXPECTED_MS} ms at most)"
    )
    print(f"  of ours: {_medians([download for _, download, _ in found])}")
    print(f"  beside nix-build, each alone: {_medians([parts for _, _, parts in found])}", flush=True)


def _round(box: Appliance, bare: Bare, kind: str, number: int, seen: set[str]) -> tuple[float, Times, Times]:
    """One download and one nix-build; the order changes from round to round."""
    if number % 2:
        path, download = ours(box, kind, f"2.0.{number}")
        bare_path, bare_ms = bare.build(kind, f"1.0.{number}")
    else:
        bare_path, bare_ms = bare.build(kind, f"1.0.{number}")
        path, download = ours(box, kind, f"2.0.{number}")
    seen |= {path, bare_path}
    return bare_ms, download, bare.parts(path)


def _spread(figures: Sequence[float]) -> str:
    return f"{statistics.median(figures):6.1f} ms ({min(figures):.0f}-{max(figures):.0f})"


def _medians(times: Sequence[Times]) -> str:
    """The median of each column but the whole."""
    columns = [name for name in times[0] if name != "whole"]
    return ", ".join(f"{name} {statistics.median([one[name] for one in times]):.1f}" for name in columns) + " ms"
