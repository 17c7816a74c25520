"""Load by wrk: how long, how often, over how many connections, and what came of it."""

import re
import subprocess
from typing import NamedTuple, Protocol

from tests.bench.servers import LOAD_CORE, ROOT


class Figures(NamedTuple):
    """One wrk run: requests per second, the median and the 99th percentile of the latency in milliseconds."""

    rate: float
    p50_ms: float
    p99_ms: float


class Target(Protocol):
    """What is loaded: where it listens, a token if it wants one, how many packages a load has made in it."""

    url: str
    token: str
    created: int


class Load(NamedTuple):
    """How long, how often and over how many connections."""

    seconds: int
    rounds: int
    connections: int

    def run(self, target: Target, path: str, method: str = "GET", connections: int = 0) -> Figures:
        """One wrk run; a request that failed ends the benchmark."""
        argv = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{connections or self.connections}"]
        argv += [f"-d{self.seconds}s", "-s", str(ROOT / "tests/bench/load.lua")]
        if target.token:
            argv += ["-H", f"Authorization: Token {target.token}"]
        output = subprocess.run(
            [*argv, target.url + path, "--", method, str(target.created)], capture_output=True, text=True, check=True
        ).stdout
        match = re.search(r"FIGURES (\d+) (\d+) (\d+) (\d+) (\d+)", output)
        assert match is not None, output
        requests, microseconds, p50, p99, errors = (int(part) for part in match.groups())
        if errors:
            raise SystemExit(f"bench: {errors} of {requests} requests to {path} failed")
        if method == "POST":
            target.created += requests + 1000
        return Figures(requests / microseconds * 1e6, p50 / 1000, p99 / 1000)
