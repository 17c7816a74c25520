"""Where the service is, as its URL says: a TCP port, with TLS or without, or a Unix socket."""

import http.client
import re
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from app.cli.outcomes import Usage


@dataclass(frozen=True)
class Address:
    """Where the service is. `socket_path` is None over TCP; `prefix` is the path it is mounted under, or empty."""

    url: str
    scheme: str
    host: str
    port: int | None
    prefix: str
    socket_path: str | None = None

    @classmethod
    def parse(cls, url: str) -> "Address":
        """Returns the address in `http://host:port[/prefix]`, `https://…` or `unix:/path`; Usage when it is none."""
        if url.startswith("unix:"):
            path = url.removeprefix("unix:")
            path = path[2:] if path.startswith("///") else path
            if not path or path.startswith("//"):
                raise Usage(f"Not a Unix socket's URL: {url} (unix:/run/purser.sock is one)")
            return cls(url, "unix", "localhost", None, "", path)
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            parts, host, port = urlsplit(""), None, None
        if (
            parts.scheme not in ("http", "https")
            or not host
            or not re.fullmatch(r"[!-~]+", url)
            or set("?#@") & set(url)
        ):
            raise Usage("Not a URL pkgctl can use: give http://host:port, https://host or unix:/path")
        return cls(url.rstrip("/"), parts.scheme, host, port, parts.path.rstrip("/"))

    @property
    def key(self) -> str:
        """One spelling of the URL, by which what belongs to the service is found again."""
        if self.socket_path is not None:
            return f"unix:{self.socket_path}"
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.lower()}{self.prefix}"

    def connection(self, timeout_s: float) -> http.client.HTTPConnection:
        """Returns a connection that is not open yet."""
        if self.socket_path is not None:
            return UnixConnection(self.socket_path, timeout_s)
        if self.scheme == "https":
            return http.client.HTTPSConnection(self.host, self.port, timeout=timeout_s)
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
