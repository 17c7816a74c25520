"""The flood part: a build that prints 1 GiB, with the usual limit of the log and with everything kept."""

import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.bench.appliance import PACKAGES, Appliance, until
from tests.bench.servers import memory_mib
from tests.bench.watching import Followed, Spread, Watcher, follow, forget_peak, latencies, memory

USUAL_LIMIT = 16 * 2**20
KEPT = 2**31
LIMIT_S = 1800
IDLE_S = 2
# Nix packs its own copy of the log with bzip2 at 5 MB/s; without it Nix is several times as fast.
OPTIONS = "--option keep-build-log false"


def measure() -> None:
    """Both limits, one after the other, each in a fresh service."""
    for limit in (USUAL_LIMIT, KEPT):
        settings = {"NIX_OPTIONS": OPTIONS, "BUILD_LOG_LIMIT": str(limit)}
        with tempfile.TemporaryDirectory() as folder, Appliance(Path(folder) / "box", **settings) as box:
            for followed in (False, True):
                _flood(box, limit, followed)


def _flood(box: Appliance, limit: int, followed: bool) -> None:
    """One build, with or without somebody who follows its events; prints what it did to everybody else."""
    version = f"1.0.{int(followed)}"
    _small_download(box, version)
    package_id = box.create("floods", version)
    path = f"{PACKAGES}/{package_id}"
    asking = Watcher(latencies, box.url, box.token, path)
    time.sleep(IDLE_S)
    idle = asking.end()
    forget_peak(box.pid)
    before_mib = memory_mib(box.pid, "VmRSS")
    asking, looking = Watcher(latencies, box.url, box.token, path), Watcher(memory, box.pid)
    box.download(package_id)
    following = Watcher(follow, box.url, box.token, package_id) if followed else None
    until(lambda: box.status(package_id) != "downloading", limit_s=LIMIT_S, look_again_s=0.1)
    late = following.end() if following else None
    most_mib, answers, peak_mib = looking.end(), asking.end(), memory_mib(box.pid, "VmHWM")
    _report(limit, _checked(limit, box.attempt(package_id)), answers, idle, late)
    grown = f"before {before_mib:.1f}, most seen {most_mib:.1f}, peak {peak_mib:.1f}"
    print(f"  memory {grown}: grew by {peak_mib - before_mib:.1f} MiB", flush=True)
    box.caller.call("DELETE", path)  # its log may be large


def _small_download(box: Appliance, version: str) -> None:
    """A download before anything is measured: what the first one imports and allocates is no growth."""
    package_id = box.create("known", version)
    box.download(package_id)
    until(lambda: box.status(package_id) == "downloaded")


def _checked(limit: int, attempt: dict[str, Any]) -> dict[str, Any]:
    """The attempt, if nothing was kept beyond the limit, and nothing lost below it."""
    whole = limit == KEPT
    expected = ("succeeded", None) if whole else ("failed", "log_limit")
    fits = attempt["log_bytes"] >= 2**30 if whole else attempt["log_bytes"] <= limit
    if (attempt["status"], attempt["failure"]) != expected or not fits:
        raise SystemExit(f"bench: the flood ended as {attempt}")
    return attempt


def _report(limit: int, attempt: dict[str, Any], answers: Spread, idle: Spread, late: Followed | None) -> None:
    took_s = (_instant(attempt["finished_at"]) - _instant(attempt["started_at"])).total_seconds()
    size_mib = attempt["log_bytes"] / 2**20
    print(f"1 GiB of log, limit {limit / 2**20:.0f} MiB, {'followed' if late else 'nobody follows'}:")
    print(
        f"  {attempt['status']} {attempt['failure'] or ''} after {took_s:.1f} s, {size_mib:.1f} MiB kept,"
        f" {size_mib / took_s:.1f} MiB/s"
    )
    print(f"  GET /packages/ID meanwhile {answers}, before {idle}")
    if late:
        print(f"  events behind the builder {late.lag}, {late.mib:.0f} MiB, at the end {late.ended.decode()}")


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)
