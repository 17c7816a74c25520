"""The service with the real Nix in a private store, and what a measuring caller asks of it."""

import http.client
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from tests.nix_store import nix_environment
from tests.support import Service

EXPRESSION = Path(__file__).with_name("builds.nix")
PACKAGES = "/api/v1/packages"
LOOK_AGAIN_S = 0.01
REST_S = 2.0  # uvicorn closes a connection that has rested for 5 s


class Caller:
    """One kept connection. Python's own client: httpx takes longer than the service for a small answer."""

    def __init__(self, url: str, token: str) -> None:
        address = urlsplit(url)
        self._connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=60)
        self._headers = {"Authorization": f"Token {token}"}
        self._used_at = 0.0

    def call(self, method: str, path: str, content: object = None, **headers: str) -> bytes:
        """The body of the answer; a refusal ends the benchmark."""
        body = None if content is None else msgspec.json.encode(content)
        kind = {} if content is None else {"Content-Type": "application/json"}
        if time.monotonic() - self._used_at > REST_S:
            self._connection.close()
        self._connection.request(method, path, body, self._headers | kind | headers)
        answer = self._connection.getresponse()
        said = answer.read()
        self._used_at = time.monotonic()
        if answer.status >= 300:
            raise SystemExit(f"bench: {method} {path}: {answer.status} {said.decode(errors='replace')}")
        return said

    def ask(self, method: str, path: str, content: object = None) -> Any:
        """The decoded answer."""
        return msgspec.json.decode(self.call(method, path, content))

    def close(self) -> None:
        self._connection.close()


class Appliance(Service):
    """Purser on a free port with a store of its own, claimed; builds are given every core, as in the field."""

    created = 0

    def __init__(self, folder: Path, **settings: str) -> None:
        own = {"NIX_EXPR": str(EXPRESSION), "CORS_ORIGINS": "[]"}
        super().__init__(folder, **nix_environment(folder), **own, **settings)

    def __enter__(self) -> Self:
        self.start()
        self.caller = Caller(self.url, self.token)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.caller.close()
        self.stop()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def create(self, name: str, version: str) -> int:
        """Makes a package known; its id."""
        return int(self.caller.ask("POST", PACKAGES, {"name": name, "version": version})["id"])

    def download(self, package_id: int) -> None:
        self.caller.call("POST", f"{PACKAGES}/{package_id}/download")

    def status(self, package_id: int) -> str:
        return str(self.caller.ask("GET", f"{PACKAGES}/{package_id}")["status"])

    def attempt(self, package_id: int) -> dict[str, Any]:
        """The package's last attempt."""
        found: dict[str, Any] = self.caller.ask("GET", f"{PACKAGES}/{package_id}/attempts")[-1]
        return found

    def build(self, package_id: int) -> None:
        """Starts a build that does not end, and waits until the builder itself has said that it has begun."""
        self.download(package_id)
        until(lambda: b"begun" in self.caller.call("GET", f"{PACKAGES}/{package_id}/log"))

    def cancel(self, package_id: int) -> None:
        """Stops the build and waits until it is over."""
        self.caller.call("POST", f"{PACKAGES}/{package_id}/cancel")
        until(lambda: self.status(package_id) != "downloading")


def until(so: Callable[[], bool], *, limit_s: float = 60, look_again_s: float = LOOK_AGAIN_S) -> None:
    """Waits for a condition; the benchmark ends when it does not come."""
    deadline = time.monotonic() + limit_s
    while not so():
        if time.monotonic() > deadline:
            raise SystemExit(f"bench: waited {limit_s:g} s in vain")
        time.sleep(look_again_s)
