"""`pkgctl serve`: the service as a process of its own, on uvicorn's server with our way of stopping."""

import contextlib
import gc
import os
import socket
from collections.abc import Iterator

import uvicorn

from app import __version__, logs
from app.config import Config
from app.main import Purser, create_app

STOP_S = 4
"""Seconds that open requests are given when the service is told to stop."""


class Server(uvicorn.Server):
    """uvicorn's server: says where it listens, exits 0 when told to stop, and keeps its threads on one core."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts, then leaves what was imported and built until now out of every garbage collection."""
        await super().startup(sockets=sockets)
        gc.collect()
        gc.freeze()
        if self.started:
            print(f"Purser {__version__} listens on {self._address()}", flush=True)

    def _address(self) -> str:
        name = self.servers[0].sockets[0].getsockname()
        if not isinstance(name, tuple):
            return f"unix:{name.decode() if isinstance(name, bytes) else name}"
        host = f"[{name[0]}]" if ":" in name[0] else name[0]
        return f"http://{host}:{name[1]}"

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but a stop that was asked for is a success: the signal is not raised again."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()


def serve(config: Config, *, uds: str | None = None, fd: int | None = None, app: Purser | None = None) -> int:
    """Runs the service (or an application made of it) until SIGTERM or SIGINT; returns the exit code."""
    logs.configure(as_json=config.log_format == "json", debug=config.debug)
    _keep_to_one_core()
    server = Server(
        uvicorn.Config(
            app or create_app(config),
            host=config.host,
            port=config.port,
            uds=uds,
            fd=fd,
            lifespan="on",
            ws="none",
            proxy_headers=False,
            server_header=False,
            access_log=False,
            log_config=None,
            log_level="debug" if config.debug else "warning",
            timeout_graceful_shutdown=STOP_S,
        )
    )
    try:
        server.run()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except KeyboardInterrupt:
        return 130
    return 0


def _keep_to_one_core() -> None:
    """The interpreter lock moving between cores costs more than a second core gives; children get all of them."""
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {allowed[-1]})
