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
from pathlib import Path
from typing import NamedTuple

import httpx2

ROOT = Path(__file__).parents[2]
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[-1], CORES[0]
LISTED = 50


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
            env=environ,
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


class Bench:
    """One service with its yardstick beside it."""

    def __init__(self, folder: Path, options: argparse.Namespace, entry: list[str]) -> None:
        self.options = options
        environ = {"PATH": os.environ["PATH"], "DATA_DIR": str(folder / "data"), "PORT": "0", "CORS_ORIGINS": "[]"}
        self.service = Server([sys.executable, *entry], environ)
        self.hello = Server(
            [sys.executable, "-m", "uvicorn", "tests.bench.hello:app", "--port", "0", "--no-access-log"], environ
        )
        self.created = 0
        with httpx2.Client(base_url=self.service.url, trust_env=False) as client:
            self.token = client.post("/api/v1/tokens").raise_for_status().json()["token"]
            client.headers["Authorization"] = f"Token {self.token}"
            for number in range(LISTED):
                client.post("/api/v1/packages", json={"name": f"p{number}", "version": "1.0.0"}).raise_for_status()
        self.database = folder / "data" / "app.db"

    def load(self, url: str, method: str = "GET", connections: int = 0) -> Figures:
        """One wrk run; a request that failed ends the benchmark."""
        argv = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{connections or self.options.connections}"]
        argv += [f"-d{self.options.seconds}s", "-H", f"Authorization: Token {self.token}", "-s"]
        argv += [str(ROOT / "tests/bench/load.lua"), url, "--", method, str(self.created)]
        output = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        match = re.search(r"FIGURES (\d+) (\d+) (\d+) (\d+) (\d+)", output)
        assert match is not None, output
        requests, microseconds, p50, p99, errors = (int(part) for part in match.groups())
        if errors:
            raise SystemExit(f"bench: {errors} of {requests} requests to {url} failed")
        if method == "POST":
            self.created += requests + 1000
        return Figures(requests / microseconds * 1e6, p50 / 1000, p99 / 1000)

    def compare(self, title: str, path: str, method: str = "GET", connections: int = 0) -> float:
        """Yardstick and path in turn; prints the medians, returns the ratio's."""
        pairs = []
        for _ in range(self.options.rounds):
            hello = self.load(self.hello.url + "/", connections=connections)
            pairs.append((hello, self.load(self.service.url + path, method, connections)))
        ratio = statistics.median(found.rate / hello.rate for hello, found in pairs)
        hello_rate = statistics.median(hello.rate for hello, _ in pairs)
        rate, p50, p99 = (statistics.median(column) for column in zip(*(found for _, found in pairs), strict=True))
        print(
            f"{title:42} {rate:8.0f}/s  p50 {p50:6.2f} ms  p99 {p99:6.2f} ms  hello {hello_rate:7.0f}/s"
            f"  ratio {ratio:.2f}",
            flush=True,
        )
        return ratio

    def stop(self) -> None:
        self.service.stop()
        self.hello.stop()


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--seconds", type=int, default=4, help="length of one load run (4)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of yardstick and path in turn (3)")
    parser.add_argument("--connections", type=int, default=32, help="connections at once (32)")
    options = parser.parse_args()
    print(
        f"{platform.machine()}, {len(CORES)} cores, Python {platform.python_version()}, SQLite"
        f" {sqlite3.sqlite_version}; server on core {SERVER_CORE}, wrk on core {LOAD_CORE},"
        f" {options.connections} connections, medians of {options.rounds} runs of {options.seconds} s"
    )
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options, ["-m", "app", "serve"])
        print(f"healthy after {bench.service.healthy_s:.2f} s, RSS {bench.service.memory_mib('VmRSS'):.1f} MiB")
        alone = _paths(bench)
        creates = bench.compare("POST /api/v1/packages, 64 connections", "/api/v1/packages", "POST", 64)
        print(f"peak RSS {bench.service.memory_mib('VmHWM'):.1f} MiB (hello {bench.hello.memory_mib('VmHWM'):.1f} MiB)")
        bench.stop()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options, ["-m", "tests.bench.crowded"])
        print("with 130 further routes:")
        crowded = _paths(bench)
        bench.stop()
    for title, before in alone.items():
        print(f"{title:42} with / without the further routes: {crowded[title] / before:.2f}")
    return 0 if creates else 1


def _paths(bench: Bench) -> dict[str, float]:
    return {
        title: bench.compare(title, path, method)
        for title, path, method in (
            ("GET /health", "/health", "GET"),
            ("GET /api/v1/packages/{id}", "/api/v1/packages/1", "GET"),
            (f"GET /api/v1/packages ({LISTED} rows)", f"/api/v1/packages?limit={LISTED}", "GET"),
            ("POST /api/v1/packages (durable)", "/api/v1/packages", "POST"),
        )
    }


sys.exit(main())
