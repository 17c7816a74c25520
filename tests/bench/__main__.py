"""Starts the yardstick and the service on one core, loads them in turn from the other, prints figures and ratios."""

import argparse
import os
import platform
import re
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import httpx2

ROOT = Path(__file__).parents[2]
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[-1], CORES[0]
LISTED = 50
EXTRA = 130


class Figures(NamedTuple):
    """One wrk run: requests per second, the median and the 99th percentile of the latency in milliseconds."""

    rate: float
    p50_ms: float
    p99_ms: float


class Server:
    """A server process on its core."""

    def __init__(self, argv: list[str], environ: dict[str, str]) -> None:
        began = time.perf_counter()
        self.process = subprocess.Popen(
            ["taskset", "-c", str(SERVER_CORE), *argv],
            cwd=ROOT,
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if match := re.search(r"(?:listens|running) on (http://\S+)", line):
                self.url = match.group(1)
                break
        else:
            raise SystemExit(f"bench: {argv} did not start")
        with httpx2.Client(trust_env=False) as client:
            client.get(self.url + ("/" if "uvicorn" in argv else "/health")).raise_for_status()
        self.healthy_s = time.perf_counter() - began

    def memory_mib(self, field: str) -> float:
        """VmHWM (peak) or VmRSS (now) of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(rf"{field}:\s+(\d+) kB", status)
        assert match is not None
        return int(match.group(1)) / 1024

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


class Service(Server):
    """Purser, claimed, with a page of packages in it."""

    def __init__(self, folder: Path, entry: list[str]) -> None:
        folder.mkdir()
        environ = {"PATH": os.environ["PATH"], "DATA_DIR": str(folder), "PORT": "0", "CORS_ORIGINS": "[]"}
        super().__init__([sys.executable, *entry], environ)
        self.created = 0
        with httpx2.Client(base_url=self.url, trust_env=False) as client:
            self.token = client.post("/api/v1/tokens").raise_for_status().json()["token"]
            client.headers["Authorization"] = f"Token {self.token}"
            for number in range(LISTED):
                client.post("/api/v1/packages", json={"name": f"p{number}", "version": "1.0.0"}).raise_for_status()


class Load(NamedTuple):
    """How long, how often and over how many connections."""

    seconds: int
    rounds: int
    connections: int

    def run(self, server: Server, path: str, method: str = "GET", connections: int = 0) -> Figures:
        """One wrk run; a request that failed ends the benchmark."""
        argv = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{connections or self.connections}"]
        argv += [f"-d{self.seconds}s", "-s", str(ROOT / "tests/bench/load.lua")]
        first = 0
        if isinstance(server, Service):
            argv += ["-H", f"Authorization: Token {server.token}"]
            first = server.created
        output = subprocess.run(
            [*argv, server.url + path, "--", method, str(first)], capture_output=True, text=True, check=True
        ).stdout
        match = re.search(r"FIGURES (\d+) (\d+) (\d+) (\d+) (\d+)", output)
        assert match is not None, output
        requests, microseconds, p50, p99, errors = (int(part) for part in match.groups())
        if errors:
            raise SystemExit(f"bench: {errors} of {requests} requests to {path} failed")
        if isinstance(server, Service) and method == "POST":
            server.created += requests + 1000
        return Figures(requests / microseconds * 1e6, p50 / 1000, p99 / 1000)


def compare(
    load: Load, hello: Server, plain: Service, crowded: Service, path: str, method: str, connections: int
) -> None:
    """The three in turn, to and fro, several rounds; prints the medians of the figures and of a round's ratios."""
    rounds = []
    for number in range(load.rounds):
        found = {}
        for server in (hello, plain, crowded)[:: -1 if number % 2 else 1]:  # who comes first must not matter
            asked, verb = ("/", "GET") if server is hello else (path, method)
            found[server] = load.run(server, asked, verb, connections)
        rounds.append((found[hello], found[plain], found[crowded]))
    rate, p50, p99 = (statistics.median(column) for column in zip(*(found for _, found, _ in rounds), strict=True))
    ratios = sorted(found.rate / base.rate for base, found, _ in rounds)
    print(
        f"{method:4} {path:32} c={connections:<3} {rate:7.0f}/s  p50 {p50:5.2f} ms  p99 {p99:5.2f} ms"
        f"  hello {statistics.median(base.rate for base, _, _ in rounds):7.0f}/s"
        f"  ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"
        f"  with {EXTRA} more routes x {statistics.median(other.rate / found.rate for _, found, other in rounds):.2f}",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--seconds", type=int, default=3, help="length of one load run (3)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of yardstick and service in turn (5)")
    parser.add_argument("--only", default="", help="only paths that end with this")
    parser.add_argument("--connections", type=int, default=32, help="connections at once (32)")
    options = parser.parse_args()
    load = Load(options.seconds, options.rounds, options.connections)
    print(
        f"{platform.machine()}, {len(CORES)} cores, Python {platform.python_version()}, SQLite"
        f" {sqlite3.sqlite_version}; servers on core {SERVER_CORE}, wrk on core {LOAD_CORE};"
        f" medians of {load.rounds} rounds of {load.seconds} s"
    )
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        plain = Service(Path(folder) / "plain", ["-m", "app", "serve"])
        stack.callback(plain.stop)
        print(f"healthy after {plain.healthy_s:.2f} s, RSS {plain.memory_mib('VmRSS'):.1f} MiB", flush=True)
        crowded = Service(Path(folder) / "crowded", ["-m", "tests.bench.crowded"])
        stack.callback(crowded.stop)
        hello = Server([sys.executable, "-m", "uvicorn", "tests.bench.hello:app", "--port", "0", "--no-access-log"], {})
        stack.callback(hello.stop)
        for path, method, connections in (
            ("/health", "GET", load.connections),
            ("/api/v1/packages/1", "GET", load.connections),
            (f"/api/v1/packages?limit={LISTED}", "GET", load.connections),
            ("/api/v1/packages", "POST", load.connections),
            ("/api/v1/packages", "POST", 4 * load.connections),
            ("/api/v1/packages/1", "GET", 1),
        ):
            if path.endswith(options.only):
                compare(load, hello, plain, crowded, path, method, connections)
        print(f"peak RSS {plain.memory_mib('VmHWM'):.1f} MiB (hello {hello.memory_mib('VmHWM'):.1f} MiB)")
    return 0


sys.exit(main())
