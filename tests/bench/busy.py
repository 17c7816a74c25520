"""The busy part: requests per second and latencies while four builds run, beside the same with none, in turn."""

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.bench.appliance import PACKAGES, Appliance
from tests.bench.load import Figures, Load

LISTED = 1000
BUILDS = 4
KINDS = (("computes", "compute without a pause"), ("prints", "print without a pause"))


class Asked(NamedTuple):
    """What is asked for, over how many connections."""

    path: str
    connections: int


def measure(load: Load) -> None:
    """For each kind of build: every path with and without the builds, several rounds; prints medians."""
    asked = (
        Asked(f"{PACKAGES}?limit={LISTED}", load.connections),
        Asked(PACKAGES, load.connections),
        Asked(f"{PACKAGES}/1", load.connections),
        Asked(f"{PACKAGES}/1", 1),
    )
    settings = {"BUILD_CONCURRENCY": str(BUILDS), "BUILD_LOG_LIMIT": str(2**50)}
    with tempfile.TemporaryDirectory() as folder, Appliance(Path(folder) / "box", **settings) as box:
        for number in range(LISTED):
            box.create(f"p{number}", "1.0.0")
        for kind, words in KINDS:
            builds = [box.create(kind, f"{number}.0.0") for number in range(BUILDS)]
            rounds = [_round(box, load, asked, builds, number) for number in range(load.rounds)]
            print(f"{BUILDS} builds that {words}:")
            for one in asked:
                _report(one, [idle[one] for idle, _ in rounds], [busy[one] for _, busy in rounds])


def _round(
    box: Appliance, load: Load, asked: Sequence[Asked], builds: Sequence[int], number: int
) -> tuple[dict[Asked, Figures], dict[Asked, Figures]]:
    """Each path once without builds and once with them; which comes first changes from round to round."""
    found: dict[bool, dict[Asked, Figures]] = {}
    for building in (False, True)[:: -1 if number % 2 else 1]:
        for package_id in builds if building else ():
            box.build(package_id)
        found[building] = {one: load.run(box, one.path, connections=one.connections) for one in asked}
        for package_id in builds if building else ():
            box.cancel(package_id)
    return found[False], found[True]


def _report(one: Asked, idle: Sequence[Figures], busy: Sequence[Figures]) -> None:
    ratios = sorted(after.rate / before.rate for before, after in zip(idle, busy, strict=True))
    print(
        f"  GET {one.path:28} c={one.connections:<3} without {_shown(idle)}  with {_shown(busy)}"
        f"  ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})",
        flush=True,
    )


def _shown(figures: Sequence[Figures]) -> str:
    rate, p50, p99 = (statistics.median(column) for column in zip(*figures, strict=True))
    return f"{rate:6.0f}/s p50 {p50:6.2f} p99 {p99:6.2f} ms"
