"""A service whose builds wait until they are told how to end, and what holds of its packages at every moment."""

import errno
import itertools
import os
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from tests.nix_store import EXPRESSIONS
from tests.support import rows, until
from tests.test_main_job import Box, processes_of

WITH_A_CHILD, WITH_A_GRANDCHILD_OF_ITS_OWN, DEAF, UNGATED = "1.0", "2.0", "3.0", "4.0"  # see nix/gated.nix


class Gated(Box):
    """A service whose builds wait, each at a gate of its own, until they are told how to end."""

    def __init__(self, folder: Path, **settings: str) -> None:
        super().__init__(folder, **settings)
        self.gates = folder / "gates"
        self.gates.mkdir()
        self._made = itertools.count()
        self.settings |= {"NIX_EXPR": str(EXPRESSIONS / "gated.nix"), "NIX_TEST_GATES": str(self.gates)}
        self.nix("nix-store", "--init")  # a store that is stopped while it comes into being stays broken: Nix 2.8

    def prepare(self, name: str, version: str) -> None:
        """Makes the gate; the next package of this name and version will be built anew."""
        gate = self.gates / f"{name}-{version}"
        if not gate.exists():
            os.mkfifo(gate)
        gate.with_name(gate.name + ".made").write_text(str(next(self._made)))

    def create(self, name: str, version: str) -> int:
        self.prepare(name, version)
        return super().create(name, version)

    def gate_of(self, name: str, version: str) -> FileIO | None:
        """The gate, once the build stands at it; what is written to it tells the build how to end."""
        try:
            return FileIO(os.open(self.gates / f"{name}-{version}", os.O_WRONLY | os.O_NONBLOCK), "w")
        except OSError as error:
            if error.errno != errno.ENXIO:  # nobody stands there
                raise
            return None

    def at_gate(self, name: str, version: str) -> FileIO:
        """Waits until the build stands at its gate."""
        return until(lambda: self.gate_of(name, version), f"{name} {version} stands at its gate")

    def tell(self, name: str, version: str, word: str) -> None:
        """Waits until the build stands at its gate, and lets it through (`go`) or has it fail (any other word)."""
        with self.at_gate(name, version) as gate:
            gate.write(f"{word}\n".encode())

    def settled(self, package_id: int) -> dict[str, Any]:
        """The package, once nothing of it is being downloaded."""

        def ended() -> dict[str, Any] | None:
            found: dict[str, Any] = self.get(package_id)
            return found if found["status"] != "downloading" else None

        return until(ended, f"the download of package {package_id} has ended")

    def attempts(self, package_id: int) -> list[str]:
        return [attempt["status"] for attempt in self.get(package_id, "/attempts")]

    def roots(self) -> dict[int, str]:
        """What is held against the garbage collector by a package's root."""
        folder = self.data_dir / "roots"
        return {int(link.name): os.readlink(link) for link in folder.iterdir()} if folder.is_dir() else {}

    def built(self) -> set[str]:
        """What lies in the store, apart from the instructions how to build it."""
        store = Path(self.settings["NIX_STORE_DIR"])
        names = {entry.name for entry in store.iterdir()} if store.is_dir() else set()
        return {str(store / name) for name in names if not name.endswith((".drv", ".lock", ".links"))}


SNAPSHOT = """
    SELECT
        id, name, version, status, store_path, failure,
        (SELECT group_concat(number || ' ' || status) FROM (
            SELECT number, status FROM package_attempts WHERE package_id = packages.id ORDER BY number
        )) AS attempts
    FROM packages ORDER BY id
"""


@dataclass
class Seen:
    """A package as one statement shows it, together with its attempts."""

    id: int
    status: str
    store_path: str | None
    failure: str | None
    attempts: list[str]

    @property
    def is_there(self) -> bool:
        return self.status in ("downloaded", "activated")


def snapshot(box: Gated) -> dict[int, Seen]:
    """All packages at one moment, after checking what holds at every moment."""
    found: dict[int, Seen] = {}
    active: list[str] = []
    for row in rows(box.database, SNAPSHOT):
        attempts = [one.split(" ") for one in (row["attempts"] or "").split(",") if one]
        assert [int(number) for number, _ in attempts] == [*range(1, len(attempts) + 1)]
        seen = Seen(row["id"], row["status"], row["store_path"], row["failure"], [status for _, status in attempts])
        live = [status for status in seen.attempts if status in ("queued", "running")]
        assert len(live) == (seen.status == "downloading"), seen
        assert not live or seen.attempts[-1] == live[0]
        assert seen.is_there == bool(seen.attempts and seen.attempts[-1] == "succeeded"), seen
        active += [row["name"]] if seen.status == "activated" else []
        found[seen.id] = seen
    assert len(active) == len({*active})
    running = [seen for seen in found.values() if "running" in seen.attempts]
    assert len(running) <= int(box.settings.get("BUILD_CONCURRENCY", "1"))
    return found


def nothing_is_left(box: Gated) -> None:
    """Given that nothing is being downloaded: no process, no temporary folder, and a root for each package there is."""
    until(lambda: not processes_of(box), "every process of the builds has ended")
    found = snapshot(box)
    assert [*(box.data_dir / "tmp").iterdir()] == []
    assert box.roots() == {seen.id: seen.store_path for seen in found.values() if seen.is_there}
    assert all(os.path.exists(path) for path in box.roots().values())


def stops_well(box: Gated) -> None:
    """Asks the service to stop: it does, and has met no error of its own."""
    code, output = box.stop()
    assert code == 0
    assert '"level":"error"' not in output
