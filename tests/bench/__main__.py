"""Measures the service beside what it stands on, in one run and in turn: ratios and differences are what counts.

Parts: http (calls beside a bare Starlette hello), callers (each kind of credential, and 200 sign-ins at once),
storage (lists, searches, trees and transfers with 100,000 documents), fcs (a million events beside FlowIO and numpy),
download (a whole download beside nix-build alone), busy (calls while four builds run), flood (a build that prints
1 GiB). `builds` are the last three.
"""

import argparse
import platform
import sqlite3
import sys

from tests.bench import busy, callers, calls, cytometry, downloads, flood, storage
from tests.bench.load import Load
from tests.bench.servers import CORES, LOAD_CORE, SERVER_CORE

BUILDS = ("download", "busy", "flood")
PARTS = ("http", "callers", "storage", "fcs", *BUILDS)


def parts(only: str) -> tuple[tuple[str, ...], str]:
    """Which parts are wanted, and how the paths end that the http part asks for."""
    if only == "builds":
        return BUILDS, ""
    if only in PARTS:
        return (only,), ""
    return ("http",) if only else PARTS, only


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=3, help="length of one load run (3)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of load, in turn (5)")
    parser.add_argument("--downloads", type=int, default=20, help="rounds of downloads, in turn (20)")
    parser.add_argument("--only", default="", help="a part, builds, or how the paths end that http asks for")
    parser.add_argument("--connections", type=int, default=32, help="connections at once (32)")
    parser.add_argument("--documents", type=int, default=100_000, help="how many storage searches through (100,000)")
    options = parser.parse_args()
    load = Load(options.seconds, options.rounds, options.connections)
    print(
        f"{platform.machine()}, {len(CORES)} cores, Python {platform.python_version()}, SQLite"
        f" {sqlite3.sqlite_version}; servers on core {SERVER_CORE}, wrk on core {LOAD_CORE};"
        f" medians of {load.rounds} rounds of {load.seconds} s, of {options.downloads} downloads",
        flush=True,
    )
    wanted, ending = parts(options.only)
    if "http" in wanted:
        calls.measure(load, ending)
    if "callers" in wanted:
        callers.measure(load)
    if "storage" in wanted:
        storage.measure(load, options.documents)
    if "fcs" in wanted:
        cytometry.measure(load.rounds)
    if "download" in wanted:
        downloads.measure(options.downloads)
    if "busy" in wanted:
        busy.measure(load)
    if "flood" in wanted:
        flood.measure()
    return 0


if __name__ == "__main__":
    sys.exit(main())
