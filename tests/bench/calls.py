"""The http part: requests per second, latencies and memory beside a bare Starlette hello, in the same run."""

import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.bench.load import Load
from tests.bench.servers import LISTED, Server, Service

EXTRA = 130


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


def measure(load: Load, ending: str) -> None:
    """Starts the three and loads the paths that end with `ending`."""
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
            if path.endswith(ending):
                compare(load, hello, plain, crowded, path, method, connections)
        print(f"peak RSS {plain.memory_mib('VmHWM'):.1f} MiB (hello {hello.memory_mib('VmHWM'):.1f} MiB)")
