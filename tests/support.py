"""What the tests stand on: configurations, a claimed caller, the service as a real process, its database file."""

import itertools
import os
import re
import signal
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import anyio
import httpx2
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from app import values
from app.config import Config, load

ROOT = Path(__file__).parent.parent
START_S = 20
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients that speak plain HTTP: each would load the machine's certificates, which takes longer than a call."""
T = TypeVar("T")


UNLIMITED = {"RATE_LIMIT_PER_MINUTE": "0", "RATE_LIMIT_USER_PER_MINUTE": "0"}
"""Tests call more often than people; what limits them is told in test_limits.py."""


def configured(data_dir: Path, **settings: str) -> Config:
    """A configuration as the environment would give it; nothing of the real environment but PATH gets in."""
    environ = {"PATH": os.environ["PATH"], "DATA_DIR": str(data_dir), **UNLIMITED, **settings}
    return load(environ, dotenv=data_dir / "no.env")


def claim(client: TestClient | httpx2.Client) -> str:
    """Claims the appliance; returns its first token."""
    answer = client.post("/api/v1/tokens")
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


def rows(database: Path, sql: str, *parameters: object) -> list[dict[str, Any]]:
    """Rows of a database file as dictionaries, read from outside."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(sql, parameters)]
    finally:
        connection.close()


MEMBERS = {"type", "title", "status", "detail", "code", "request_id", "errors"}


def refusal(answer: httpx2.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """The problem document of a refused call, after checking that it is whole and has the one shape of all errors."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text[:500]}"
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    document: dict[str, Any] = answer.json()
    assert document.keys() >= MEMBERS
    assert (document["type"], document["status"]) == ("about:blank", status)
    assert document["request_id"] == answer.headers["x-request-id"]
    assert document["detail"]
    assert document["title"]
    assert all(error.keys() == {"field", "message"} for error in document["errors"])
    assert code is None or document["code"] == code
    return document


def ask(
    client: TestClient,
    method: str,
    path: str,
    *,
    query: bytes = b"",
    headers: Sequence[tuple[bytes, bytes]] = (),
    body: Sequence[bytes] = (),
    root_path: str = "",
    host: str = "127.0.0.1",
    meanwhile: Callable[[], object] | None = None,
) -> httpx2.Response:
    """One call past every client: the path, query string, headers and body exactly as given, `body` chunk by chunk.

    `meanwhile` happens when the caller has been let in and the body is waited for.
    """
    own = [(name.encode().lower(), value.encode()) for name, value in client.headers.items()]
    given = [pair for pair in own if pair[0] == b"authorization"] + [*headers]
    if body and not {name for name, _ in given} & {b"content-length", b"transfer-encoding"}:
        given.append((b"content-length", b"%d" % sum(map(len, body))))
    chunks = [*body] or [b""]
    sent: list[Any] = []
    begun: list[anyio.Event] = []

    happens = [meanwhile] if meanwhile is not None else []

    async def receive() -> dict[str, Any]:
        if happens:
            await anyio.to_thread.run_sync(happens.pop())
        if not chunks:
            await begun[0].wait()  # the client stays until its answer begins
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

    async def send(message: Any) -> None:
        sent.append(message)
        begun[0].set()

    async def call(app: ASGIApp) -> None:
        begun.append(anyio.Event())
        scope = {"type": "http", "http_version": "1.1", "scheme": "http", "server": ("testserver", 80)}
        scope |= {"client": (host, 50000), "method": method, "path": path, "root_path": root_path}
        await app(scope | {"query_string": query, "headers": given}, receive, send)

    assert client.portal is not None
    client.portal.call(call, client.app)
    content = b"".join(message["body"] for message in sent[1:])
    return httpx2.Response(sent[0]["status"], headers=sent[0]["headers"], content=content)


def call_meanwhile(
    client: TestClient,
    method: str,
    path: str,
    body: Sequence[bytes],
    headers: dict[str, str],
    happens: Callable[[], object],
) -> httpx2.Response:
    """A call whose caller is let in, and whose body arrives only when something else has happened."""
    given = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return ask(client, method, path, headers=given, body=body, meanwhile=happens)


class Clock:
    """The time as a test sets it: it stands still at `at`, the present at first."""

    def __init__(self) -> None:
        self.at = values.clock()

    def __call__(self) -> float:
        return self.at


class Service:
    """`pkgctl serve` in a process of its own, on a free port, with its data in `folder/data`."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.data_dir = folder / "data"
        self.settings: dict[str, str] = settings
        self.process: subprocess.Popen[str] | None = None
        self.interpreter = sys.executable
        self.module: tuple[str, ...] = ("app", "serve")
        self.url = ""
        self.token = ""
        self.output: list[str] = []
        self._listens = threading.Event()
        self._reader: threading.Thread | None = None

    @property
    def database(self) -> Path:
        return self.data_dir / "app.db"

    def environ(self) -> dict[str, str]:
        """The environment the process is given."""
        own = {"PATH": os.environ["PATH"], "DATA_DIR": str(self.data_dir), "PORT": "0", "PYTHONPATH": str(ROOT)}
        return own | UNLIMITED | self.settings

    def start(self, *, claimed: bool = True) -> "Service":
        """Starts it and waits until it listens; claims the appliance at the first start."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = self.spawn()
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._listens.clear()
        self.output = []
        self._reader.start()
        if not self._listens.wait(START_S) or not self.url:
            self.kill()
            raise AssertionError("the service did not start:\n" + "".join(self.output))
        if claimed and not self.token:
            with self.client() as client:
                self.token = claim(client)
        return self

    def _read(self, process: "subprocess.Popen[str]") -> None:
        """Keeps what the process says; the pipe never fills up."""
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self.output.append(line)
                if match := re.search(r"(?:listens|running) on (http://\S+)", line):
                    self.url = match.group(1)
                    self._listens.set()
        self._listens.set()

    def spawn(self, *arguments: str) -> "subprocess.Popen[str]":
        """`pkgctl serve` (or other arguments) with its output on a pipe."""
        return subprocess.Popen(
            [self.interpreter, "-W", "error", "-m", *(("app", *arguments) if arguments else self.module)],
            cwd=self.folder,
            env=self.environ(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def client(self, **more: Any) -> httpx2.Client:
        """An HTTP client with the token, if there is one."""
        headers = {"Authorization": f"Token {self.token}"} if self.token else {}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False, verify=NO_TLS, **more)

    def run(self, *arguments: str, environ: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
        """Runs pkgctl to its end against this service."""
        own = self.environ() | {"PURSER_URL": self.url, "PURSER_TOKEN": self.token}
        return subprocess.run(
            [self.interpreter, "-m", "app", *arguments],
            cwd=self.folder,
            env=own | dict(environ or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def kill(self) -> None:
        """Pulls the plug: SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> tuple[int, str]:
        """Asks it to stop; returns its exit code and all that it said."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> tuple[int, str]:
        if self.process is None:
            return 0, ""
        process, self.process = self.process, None
        process.send_signal(number)
        code = process.wait(START_S)
        if self._reader is not None:
            self._reader.join(START_S)
        return code, "".join(self.output)


def until(look: Callable[[], T | None], what: str = "it came to be so", *, patience_s: float = 30) -> T:
    """What `look` returns, as soon as it is anything; a failure says `what` did not happen in time."""
    deadline = time.monotonic() + patience_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {patience_s} s: {what}"
        time.sleep(0.005)
    return found


def create_until(
    service: Service, end: Callable[[], T], *, writers: int, enough: int
) -> tuple[list[httpx2.Response], T]:
    """Several callers create packages until `end` cuts them off, which is called once `enough` were acknowledged.

    Returns every answer that was received, and what `end` returned.
    """
    answers: list[httpx2.Response] = []
    reached = threading.Event()

    def write(writer: int) -> None:
        with service.client() as client:
            for number in itertools.count():
                try:
                    answer = client.post("/api/v1/packages", json={"name": f"w{writer}", "version": f"1.{number}"})
                except httpx2.TransportError:
                    return
                answers.append(answer)
                if len(answers) >= enough:
                    reached.set()

    with ThreadPoolExecutor(writers) as pool:
        running = [pool.submit(write, writer) for writer in range(writers)]
        assert reached.wait(60)
        ended = end()
        for one in running:
            one.result(30)
    return answers, ended
