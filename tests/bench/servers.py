"""The servers that are loaded: the yardstick, the service, and what of their figures /proc tells."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2

ROOT = Path(__file__).parents[2]
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[-1], CORES[0]
LISTED = 50


def memory_mib(pid: int, field: str) -> float:
    """VmHWM (peak) or VmRSS (now) of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(rf"{field}:\s+(\d+) kB", status)
    assert match is not None
    return int(match.group(1)) / 1024


class Server:
    """A server process on its core."""

    token = ""
    created = 0

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
        return memory_mib(self.process.pid, field)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


class Service(Server):
    """Purser, claimed, with a page of packages in it; or, with its token, as it was."""

    def __init__(self, folder: Path, entry: list[str], token: str = "") -> None:
        folder.mkdir(exist_ok=True)
        environ = {"PATH": os.environ["PATH"], "DATA_DIR": str(folder), "PORT": "0", "CORS_ORIGINS": "[]"}
        environ |= {
            "RATE_LIMIT_PER_MINUTE": "1000000000",
            "RATE_LIMIT_USER_PER_MINUTE": "1000000000",
        }  # on, and never met
        environ["MAX_UPLOAD_BYTES"] = environ["USER_QUOTA_BYTES"] = str(10**15)
        super().__init__([sys.executable, *entry], environ)
        self.token = token
        if token:
            return
        with httpx2.Client(base_url=self.url, trust_env=False) as client:
            self.token = client.post("/api/v1/tokens").raise_for_status().json()["token"]
            client.headers["Authorization"] = f"Token {self.token}"
            for number in range(LISTED):
                client.post("/api/v1/packages", json={"name": f"p{number}", "version": "1.0.0"}).raise_for_status()
