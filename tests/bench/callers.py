"""The callers part: what each kind of credential costs beside a bare hello; and what 200 sign-ins at once cost."""

import http.client
import statistics
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx2
import msgspec

from tests.bench.appliance import PACKAGES, Appliance
from tests.bench.load import Load
from tests.bench.servers import Server, Service, memory_mib
from tests.bench.watching import Watcher, forget_peak, latencies

PASSWORD = "correct horse battery"
SIGN_INS = 200
IDLE_S = 2.0
_REST_S = 3.0
LOGIN = msgspec.json.encode({"identifier": "ann", "password": PASSWORD})


class Called(NamedTuple):
    """The service as one caller sees it."""

    url: str
    token: str
    created: int = 0


def measure(load: Load) -> None:
    """Both halves, each on a service of its own."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        service = Service(Path(folder) / "plain", ["-m", "app", "serve"])
        stack.callback(service.stop)
        hello = Server([sys.executable, "-m", "uvicorn", "tests.bench.hello:app", "--port", "0", "--no-access-log"], {})
        stack.callback(hello.stop)
        _compare(load, hello, _credentials(service))
    with tempfile.TemporaryDirectory() as folder, Appliance(Path(folder) / "box") as box:
        _sign_ins(box)


def _credentials(service: Service) -> dict[str, Called]:
    """One caller of each kind."""
    with httpx2.Client(base_url=f"{service.url}/api/v1", trust_env=False, timeout=60) as client:
        _register(client, service.token)
        session = client.post("/auth/login", content=LOGIN).raise_for_status().json()["access_token"]
        bounds = {"scopes": ["packages:read"], "allowed_ips": ["127.0.0.0/8", "::1"], "expires_in": "30d"}
        own = {"Authorization": f"Token {service.token}"}
        narrow = client.post("/tokens", json=bounds, headers=own).raise_for_status().json()["token"]
    kinds = {"token *": service.token, "session": session, "restricted token": narrow}
    return {kind: Called(service.url, secret) for kind, secret in kinds.items()}


def _register(client: httpx2.Client, token: str) -> None:
    new = {"email": "ann@example.com", "username": "ann", "name": "Ann", "password": PASSWORD}
    client.post("/users", json=new, headers={"Authorization": f"Token {token}"}).raise_for_status()


def _compare(load: Load, hello: Server, callers: dict[str, Called]) -> None:
    """GET of one package by each caller and the hello in turn, to and fro; prints medians."""
    rounds = []
    for number in range(load.rounds):
        found = {}
        for kind in ("hello", *callers)[:: -1 if number % 2 else 1]:
            target, path = (hello, "/") if kind == "hello" else (callers[kind], f"{PACKAGES}/1")
            found[kind] = load.run(target, path)
        rounds.append(found)
    for kind in callers:
        rate, p50, p99 = (statistics.median(column) for column in zip(*(found[kind] for found in rounds), strict=True))
        ratios = sorted(found[kind].rate / found["hello"].rate for found in rounds)
        print(
            f"GET {PACKAGES}/1 by {kind:16} {rate:7.0f}/s  p50 {p50:5.2f} ms  p99 {p99:5.2f} ms"
            f"  ratio to hello {statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})",
            flush=True,
        )


def _sign_ins(box: Appliance) -> None:
    """200 at once: how long they take, what another caller waits meanwhile, and what it costs in memory."""
    with httpx2.Client(base_url=f"{box.url}/api/v1", trust_env=False, timeout=60) as client:
        _register(client, box.token)
    package_id = box.create("known", "1.0.0")
    _sign_in(box.url)
    path = f"{PACKAGES}/{package_id}"
    asking = Watcher(latencies, box.url, box.token, path)
    time.sleep(IDLE_S)
    idle = asking.end()
    forget_peak(box.pid)
    before_mib = memory_mib(box.pid, "VmRSS")
    asking = Watcher(latencies, box.url, box.token, path)
    took = _at_once(box.url)
    others = asking.end()
    peak_mib = memory_mib(box.pid, "VmHWM")
    time.sleep(_REST_S)
    after_mib = memory_mib(box.pid, "VmRSS")
    print(
        f"{SIGN_INS} sign-ins at once: all done after {max(took):.1f} s, {SIGN_INS / max(took):.1f}/s;"
        f" first after {min(took) * 1000:.0f} ms\n"
        f"  GET {path} meanwhile: {others}\n"
        f"  GET {path} before:    {idle}\n"
        f"  memory before {before_mib:.1f}, peak {peak_mib:.1f}, {_REST_S:g} s later {after_mib:.1f} MiB",
        flush=True,
    )


def _at_once(url: str) -> list[float]:
    """How long each took, in seconds, from the moment when all began."""
    took: list[float] = []
    ready = threading.Barrier(SIGN_INS + 1)

    def one() -> None:
        ready.wait()
        _sign_in(url)
        took.append(time.perf_counter() - began)

    threads = [threading.Thread(target=one) for _ in range(SIGN_INS)]
    for thread in threads:
        thread.start()
    began = time.perf_counter()
    ready.wait()
    for thread in threads:
        thread.join()
    if len(took) != SIGN_INS:
        raise SystemExit(f"bench: {SIGN_INS - len(took)} sign-ins failed")
    return took


def _sign_in(url: str) -> None:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=300)
    connection.request("POST", "/api/v1/auth/login", LOGIN)
    status = connection.getresponse().status
    connection.close()
    if status != 200:
        raise SystemExit(f"bench: a sign-in was answered {status}")
