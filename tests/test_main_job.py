"""The product's heart with the real Nix: created, downloaded, activated, rolled back; and what happens in between."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from app.main import mounted
from tests.nix_store import EXPRESSIONS, private_store
from tests.support import ROOT, Service, claim, configured, rows

pytestmark = [pytest.mark.slow, pytest.mark.nix]

PACKAGES = "/api/v1/packages"
WAIT_S = 60


class Box(Service):
    """The service with a Nix store of its own, and a gate that builds of version 7 wait at."""

    def __init__(self, folder: Path, **settings: str) -> None:
        super().__init__(folder, **settings)
        folder.mkdir(parents=True, exist_ok=True)
        self.counter = folder / "counter"
        self.gate = folder / "gate"
        os.mkfifo(self.gate)
        self.settings |= private_store(folder) | {
            "NIX_EXPR": str(EXPRESSIONS / "releases.nix"),
            "NIX_TEST_COUNTER": str(self.counter),
            "NIX_TEST_GATE": str(self.gate),
        }

    def create(self, name: str, version: str) -> int:
        with self.client() as client:
            answer = client.post(PACKAGES, json={"name": name, "version": version})
            assert answer.status_code == 201, answer.text
            return int(answer.json()["id"])

    def post(self, package_id: int, action: str) -> httpx2.Response:
        with self.client() as client:
            return client.post(f"{PACKAGES}/{package_id}/{action}")

    def get(self, package_id: int, what: str = "") -> Any:
        with self.client() as client:
            return client.get(f"{PACKAGES}/{package_id}{what}").json()

    def download(self, name: str, version: str) -> int:
        """Creates and downloads; waits for the end as a user would."""
        package_id = self.create(name, version)
        done = self.run("download", str(package_id), "--wait")
        assert done.returncode == 0, done.stderr
        return package_id

    def activate(self, package_id: int) -> dict[str, Any]:
        answer = self.post(package_id, "activate")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def open_gate(self) -> None:
        """Lets one build of version 7 through; returns once it has been let through."""
        with self.gate.open("w") as gate:
            gate.write("go\n")

    def profile(self, name: str) -> str:
        return os.path.realpath(self.data_dir / "profiles" / name / "current")

    def counted(self) -> list[str]:
        return self.counter.read_text().splitlines() if self.counter.exists() else []

    def nix(self, *words: str) -> str:
        """A Nix command on the same store."""
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.folder), **self.settings}
        return subprocess.run(words, env=environ, capture_output=True, text=True, check=True).stdout

    def collect_garbage(self, *words: str) -> None:
        """Collects garbage. Nix 2.8 gives up when a process ends while it looks what all of them have open: again."""
        while True:
            try:
                self.nix(*(words or ("nix-collect-garbage",)))
                return
            except subprocess.CalledProcessError as error:
                if "/proc/" not in error.stderr:
                    raise


def processes_of(box: Box) -> set[int]:
    """The processes whose environment names the service's temporary folder: Nix, its builders, what they started."""
    mark = str(box.data_dir / "tmp").encode()
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark in (entry / "environ").read_bytes():
                    found.add(int(entry.name))
            except OSError:
                continue  # it has just ended
    return found


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    running = Box(tmp_path / "box")
    yield running
    running.stop()


def test_a_package_goes_from_created_to_activated_and_back(box: Box) -> None:
    box.start()
    first, second = box.download("tool", "1.0.0"), box.download("tool", "2.0.0")
    found = box.get(first)
    assert found["status"] == "downloaded"
    assert Path(found["store_path"]).read_text() == "tool 1.0.0\n"
    assert found["closure_bytes"] > 0

    answer = box.activate(first)
    assert answer["status"] == "activated"
    assert (answer["id"], answer["name"], answer["version"]) == (first, "tool", "1.0.0")
    assert (answer["generation"], answer["previous_id"]) == (1, None)
    assert answer["store_path"] == found["store_path"] == box.profile("tool")
    assert box.get(first)["active"] is True

    assert box.activate(second)["previous_id"] == first
    assert (box.get(first)["status"], box.get(second)["status"]) == ("downloaded", "activated")

    back = box.post(second, "rollback").json()
    assert (back["id"], back["from_id"], back["generation"]) == (first, second, 3)
    assert box.profile("tool") == found["store_path"]
    assert [(a["kind"], a["from_version"], a["to_version"], a["by"]) for a in box.get(first, "/activations")] == [
        ("activate", None, "1.0.0", "admin"),
        ("activate", "1.0.0", "2.0.0", "admin"),
        ("rollback", "2.0.0", "1.0.0", "admin"),
    ]


def test_activating_again_answers_the_same_and_makes_no_generation(box: Box) -> None:
    box.start()
    package_id = box.download("tool", "1.0.0")
    assert box.activate(package_id) == box.activate(package_id)
    assert box.activate(package_id)["generation"] == 1


def test_downloading_what_is_there_starts_nothing(box: Box) -> None:
    box.start()
    package_id = box.download("tool", "1.0.0")
    answer = box.post(package_id, "download")
    assert (answer.status_code, answer.json()["status"]) == (200, "downloaded")
    box.activate(package_id)
    assert box.post(package_id, "download").json()["status"] == "activated"
    assert len(box.get(package_id, "/attempts")) == 1


def test_twenty_simultaneous_downloads_build_once(box: Box) -> None:
    box.start()
    package_id = box.create("tool", "7.0.0")
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: box.post(package_id, "download"), range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert {answer.json()["attempt"] for answer in answers} == {1}
    box.open_gate()
    assert box.run("download", str(package_id), "--wait").returncode == 0
    assert box.counted() == ["tool 7.0.0"]
    assert [attempt["status"] for attempt in box.get(package_id, "/attempts")] == ["succeeded"]


def test_a_failing_build_says_why_and_can_be_tried_again(box: Box) -> None:
    box.start()
    package_id = box.create("tool", "8.0.0")
    failed = box.run("download", str(package_id), "--wait")
    assert failed.returncode == 1
    found = box.get(package_id)
    assert (found["status"], found["failure"]) == ("failed", "build")
    assert box.post(package_id, "activate").json()["state"] == "failed"
    box.run("download", str(package_id), "--wait")
    first, second = box.get(package_id, "/attempts")
    assert (first["number"], second["number"]) == (1, 2)
    assert first["status"] == second["status"] == "failed"
    with box.client() as client:
        log = client.get(f"{PACKAGES}/{package_id}/log?attempt=1").text
        assert "about to fail" in log
        assert "no rule to make it" in log


def test_a_version_that_is_not_offered_is_named_so(box: Box) -> None:
    box.start()
    package_id = box.create("tool", "9.0.0")
    assert box.run("download", str(package_id), "--wait").returncode == 1
    found = box.get(package_id)
    assert found["failure"] == "version_unavailable"
    assert "version 9.0.0 of tool is not available" in found["failure_detail"]


def test_a_log_can_be_read_in_parts_and_while_it_grows(box: Box) -> None:
    box.start()
    package_id = box.create("tool", "7.0.0")
    box.post(package_id, "download")
    box.open_gate()
    box.run("download", str(package_id), "--wait")
    path = f"{PACKAGES}/{package_id}/log"
    with box.client() as client:
        whole = client.get(path)
        assert whole.headers["content-type"] == "text/plain; charset=utf-8"
        assert "waiting for the gate" in whole.text
        assert client.get(f"{path}?offset=10").content == whole.content[10:]
        assert client.get(f"{path}?offset={len(whole.content)}").content == b""
        assert client.get(f"{path}?offset=999999").content == b""
        part = client.get(path, headers={"Range": "bytes=5-14"})
        assert (part.status_code, part.content) == (206, whole.content[5:15])
        assert client.get(f"{path}?offset=-1").status_code == 400
        behind = client.get(path, headers={"Range": "bytes=999999-"})
        assert (behind.status_code, behind.json()["code"]) == (416, "RANGE_NOT_SATISFIABLE")
        assert behind.headers["content-range"] == f"bytes */{len(whole.content)}"
        assert client.get(path, headers={"Range": "nonsense"}).content == whole.content
    assert box.get(package_id, "/attempts")[0]["log_bytes"] == len(whole.content)


def test_a_running_build_is_cancelled_and_leaves_nothing(box: Box) -> None:
    box.start()
    package_id = box.create("tool", "7.0.0")
    box.post(package_id, "download")
    with box.gate.open("w"):  # returns once the build has come to the gate
        answer = box.post(package_id, "cancel")
        assert (answer.status_code, answer.json()["status"]) == (202, "cancelling")
        box.run("log", str(package_id), "-f")  # ends with the attempt
        assert not processes_of(box)
    assert box.get(package_id)["status"] == "created"
    assert [attempt["status"] for attempt in box.get(package_id, "/attempts")] == ["cancelled"]
    assert box.post(package_id, "cancel").status_code == 409


def test_a_waiting_build_is_cancelled_at_once(box: Box) -> None:
    box.start()
    first, second = box.create("tool", "7.0.0"), box.create("tool", "7.0.1")
    box.post(first, "download")
    with box.gate.open("w") as gate:
        box.post(second, "download")
        assert box.post(second, "cancel").status_code == 202
        assert box.get(second)["status"] == "created"
        assert box.post(second, "cancel").status_code == 409
        gate.write("go\n")
    assert box.run("download", str(first), "--wait").returncode == 0
    assert box.counted() == ["tool 7.0.0"]


def test_kill_9_in_the_middle_of_a_build_loses_nothing_and_leaves_no_process(box: Box) -> None:
    box.start()
    package_id = box.create("tool", "7.0.0")
    box.post(package_id, "download")
    with box.gate.open("w"):  # the build stands at the gate
        before = processes_of(box)
        assert before
        box.kill()
        box.start()
        assert not before & processes_of(box)
    box.open_gate()
    assert box.run("download", str(package_id), "--wait").returncode == 0
    first, second = box.get(package_id, "/attempts")
    assert (first["status"], second["status"]) == ("interrupted", "succeeded")
    assert box.get(package_id)["status"] == "downloaded"
    assert not processes_of(box)


def test_a_cancelled_build_stays_cancelled_over_kill_9(box: Box) -> None:
    box.start()
    package_id = box.create("tool", "7.0.0")
    box.post(package_id, "download")
    with box.gate.open("w"):
        connection_rows = rows(box.database, "SELECT id FROM package_attempts")
        assert len(connection_rows) == 1
        os.kill(box.process.pid if box.process else 0, signal.SIGSTOP)
        box.kill()
        subprocess.run(
            [sys.executable, "-c", "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]);"
             "c.execute('UPDATE package_attempts SET cancel_requested = 1'); c.commit()", str(box.database)],
            check=True,
        )  # fmt: skip
        box.start()
    assert box.get(package_id)["status"] == "created"
    assert box.get(package_id, "/attempts")[0]["status"] == "cancelled"


def test_three_interruptions_in_a_row_are_a_failure_and_a_retry_works(box: Box) -> None:
    box.start()
    package_id = box.create("tool", "7.0.0")
    box.post(package_id, "download")
    for _ in range(3):
        with box.gate.open("w"):
            box.kill()
            box.start()
    found = box.get(package_id)
    assert (found["status"], found["failure"]) == ("failed", "interrupted")
    assert [attempt["status"] for attempt in box.get(package_id, "/attempts")] == ["interrupted"] * 3
    opener = threading.Thread(target=box.open_gate)
    opener.start()
    assert box.run("download", str(package_id), "--wait").returncode == 0
    opener.join(WAIT_S)


def test_a_stop_in_the_middle_of_a_build_ends_in_time_and_the_build_goes_on_afterwards(box: Box) -> None:
    box.start()
    package_id = box.create("tool", "7.0.0")
    box.post(package_id, "download")
    with box.gate.open("w"):
        code, output = box.stop()
    assert code == 0
    assert '"level":"error"' not in output
    assert not processes_of(box)
    box.start()
    box.open_gate()
    assert box.run("download", str(package_id), "--wait").returncode == 0
    assert [attempt["status"] for attempt in box.get(package_id, "/attempts")] == ["interrupted", "succeeded"]


class Programs:
    """The real Nix programs in a folder, so that nix-env can be replaced for a while."""

    def __init__(self, box: Box) -> None:
        self.folder = box.folder / "programs"
        self.folder.mkdir()
        for name in ("nix-build", "nix-store", "nix-instantiate", "nix-env"):
            (self.folder / name).symlink_to(self._real(name))
        box.settings["NIX_BUILD"] = str(self.folder / "nix-build")

    def _real(self, name: str) -> Path:
        return Path(shutil.which(name) or name)

    def replace_nix_env(self, script: str) -> None:
        program = self.folder / "nix-env"
        program.unlink()
        program.write_text(f"#!/bin/sh\n{script}\n".replace("REAL", str(self._real("nix-env"))))
        program.chmod(0o755)

    def restore(self) -> None:
        (self.folder / "nix-env").unlink()
        (self.folder / "nix-env").symlink_to(self._real("nix-env"))


@pytest.mark.parametrize(
    ("moment", "script"),
    [("before", "kill -9 $PPID"), ("after", 'REAL "$@"; kill -9 $PPID')],
)
def test_kill_9_around_the_switch_is_settled_by_the_next_start(box: Box, moment: str, script: str) -> None:
    programs = Programs(box)
    box.start()
    first, second = box.download("tool", "1.0.0"), box.download("tool", "2.0.0")
    box.activate(first)
    programs.replace_nix_env(script)
    with pytest.raises(httpx2.HTTPError):
        box.post(second, "activate")
    box.kill()
    [begun] = rows(box.database, "SELECT status FROM package_activations WHERE to_package_id = ?", second)
    assert begun["status"] == "switching"

    programs.restore()
    box.start()
    active, other = (second, first) if moment == "after" else (first, second)
    assert (box.get(active)["status"], box.get(other)["status"]) == ("activated", "downloaded")
    assert box.profile("tool") == box.get(active)["store_path"]
    last = box.get(second, "/activations")[-1]
    assert (last["status"], last["to_id"]) == ("done" if moment == "after" else "undone", second)
    assert box.activate(second)["previous_id"] == first


def test_a_switch_that_fails_leaves_the_old_version_active(box: Box) -> None:
    programs = Programs(box)
    box.start()
    first, second = box.download("tool", "1.0.0"), box.download("tool", "2.0.0")
    box.activate(first)
    programs.replace_nix_env("echo 'error: the profile is on fire' >&2; exit 1")
    answer = box.post(second, "activate")
    assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
    assert "the profile is on fire" in answer.json()["detail"]
    assert (box.get(first)["status"], box.get(second)["status"]) == ("activated", "downloaded")
    assert box.profile("tool") == box.get(first)["store_path"]
    programs.restore()
    assert box.activate(second)["version"] == "2.0.0"


def test_a_damaged_path_is_not_switched_to(box: Box) -> None:
    box.start()
    first, second = box.download("tool", "1.0.0"), box.download("tool", "2.0.0")
    box.activate(first)
    path = Path(box.get(second)["store_path"])
    path.chmod(0o644)
    path.write_text("something else\n")
    answer = box.post(second, "activate")
    assert (answer.status_code, answer.json()["failure"]) == (409, "damaged")
    assert (box.get(second)["status"], box.get(second)["failure"]) == ("failed", "damaged")
    assert box.profile("tool") == box.get(first)["store_path"]
    assert box.run("download", str(second), "--wait").returncode == 0
    assert path.read_text() == "tool 2.0.0\n"
    assert box.activate(second)["id"] == second


def test_the_garbage_collector_takes_nothing_that_a_package_needs(box: Box) -> None:
    box.start()
    package_id = box.download("tool", "1.0.0")
    path = Path(box.get(package_id)["store_path"])
    box.collect_garbage()
    assert path.exists()
    box.activate(package_id)
    box.collect_garbage()
    assert path.exists()
    other = box.download("tool", "2.0.0")
    box.activate(other)
    box.collect_garbage()
    assert path.exists()  # a rollback would need it
    with box.client() as client:
        assert client.delete(f"{PACKAGES}/{package_id}").status_code == 204
    box.collect_garbage()
    assert not path.exists()
    assert Path(box.get(other)["store_path"]).exists()
    assert box.post(other, "rollback").status_code == 409  # deleted versions are skipped


def test_what_a_deletion_left_behind_is_cleared_at_the_next_start(box: Box) -> None:
    box.start()
    package_id = box.download("tool", "1.0.0")
    path = Path(box.get(package_id)["store_path"])
    box.kill()
    subprocess.run(
        [sys.executable, "-c", "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]);"
         "c.execute('PRAGMA foreign_keys=ON'); c.execute('DELETE FROM packages'); c.commit()", str(box.database)],
        check=True,
    )  # fmt: skip
    box.start()
    box.collect_garbage()
    assert not path.exists()
    assert list((box.data_dir / "logs").iterdir()) == []


def test_a_bad_b_a_bad_c_and_a_rollback_give_a(box: Box) -> None:
    box.start()
    a, b, c = (box.download("tool", version) for version in ("1.0.0", "2.0.0", "3.0.0"))
    box.activate(a)
    box.activate(b)
    assert box.post(b, "rollback").json()["id"] == a
    box.activate(c)
    answer = box.post(c, "rollback").json()
    assert (answer["id"], answer["from_id"]) == (a, c)
    assert box.profile("tool") == box.get(a)["store_path"]
    assert box.get(a)["active"] is True
    # A second rollback goes further back, never to what was rolled back from: there is nothing before A.
    assert box.post(a, "rollback").status_code == 409
    assert box.post(c, "rollback").json()["state"] == "downloaded"


def test_rollbacks_walk_back_through_what_was_active(box: Box) -> None:
    box.start()
    a, b, c = (box.download("tool", version) for version in ("1.0.0", "2.0.0", "3.0.0"))
    for package_id in (a, b, a, c):
        box.activate(package_id)
    for package_id, before in ((c, a), (a, b), (b, a)):
        assert box.post(package_id, "rollback").json()["id"] == before
        assert box.profile("tool") == box.get(before)["store_path"]
    assert box.post(a, "rollback").status_code == 409


def test_profiles_of_packages_whose_names_look_like_generations_do_not_meet(box: Box) -> None:
    box.start()
    old, new = box.download("foo", "1.0.0"), box.download("foo", "2.0.0")
    odd = box.download("foo-2-link", "1.0.0")
    box.activate(old)
    box.activate(new)
    box.activate(odd)
    box.post(new, "rollback")
    assert box.profile("foo") == box.get(old)["store_path"]
    assert box.profile("foo-2-link") == box.get(odd)["store_path"]
    with box.client() as client:
        assert client.delete(f"{PACKAGES}/{new}").status_code == 204
    assert box.profile("foo-2-link") == box.get(odd)["store_path"]


def test_the_secret_key_is_not_visible_to_a_nix_expression(box: Box) -> None:
    expression = box.folder / "peek.nix"
    expression.write_text(
        """{ name, version }: derivation { inherit name version; system = builtins.currentSystem; builder = "/bin/sh";
        args = [ "-c" "echo \\"[$seen]\\" > $out" ];
        seen = builtins.getEnv "SECRET_KEY" + builtins.getEnv "PURSER_X"; }"""
    )
    box.settings |= {"NIX_EXPR": str(expression), "SECRET_KEY": "k" * 16 + "7" * 32, "PURSER_X": "visible"}
    box.start()
    package_id = box.download("tool", "1.0.0")
    assert Path(box.get(package_id)["store_path"]).read_text() == "[]\n"


def test_simultaneous_activations_leave_one_version_active(box: Box) -> None:
    box.start()
    ids = [box.download("tool", version) for version in ("1.0.0", "2.0.0", "3.0.0")]
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: box.post(ids[n % 3], "activate"), range(12)))
    assert {answer.status_code for answer in answers} == {200}
    active = [package_id for package_id in ids if box.get(package_id)["active"]]
    assert len(active) == 1
    assert box.profile("tool") == box.get(active[0])["store_path"]


def test_a_package_cannot_be_deleted_while_it_is_downloading_or_active(box: Box) -> None:
    box.start()
    package_id = box.create("tool", "7.0.0")
    box.post(package_id, "download")
    with box.gate.open("w") as gate, box.client() as client:
        answer = client.delete(f"{PACKAGES}/{package_id}")
        assert (answer.status_code, answer.json()["state"]) == (409, "downloading")
        gate.write("go\n")
    box.run("download", str(package_id), "--wait")
    box.activate(package_id)
    with box.client() as client:
        answer = client.delete(f"{PACKAGES}/{package_id}")
    assert (answer.status_code, answer.json()["state"]) == (409, "activated")


def test_pkgctl_does_the_main_job(box: Box) -> None:
    box.start()
    assert box.run("create", "tool", "1.0.0").returncode == 0
    assert box.run("create", "tool", "2.0.0").returncode == 0
    for package_id in ("1", "2"):
        assert box.run("download", package_id, "--wait").returncode == 0
    assert box.run("activate", "1").stdout == "Success: Activated package v1.0.0\n"
    assert box.run("activate", "2").stdout == "Success: Activated package v2.0.0\n"
    assert box.run("rollback", "2").stdout == "Success: Rolled back to package v1.0.0\n"
    assert "activated" in box.run("list").stdout
    assert "building tool 1.0.0" in box.run("log", "1").stdout
    refused = box.run("delete", "1")
    assert refused.returncode == 1
    assert "activated" in refused.stderr
    assert box.run("delete", "2").returncode == 0


def test_mounted_in_another_application_it_does_the_main_job(tmp_path: Path) -> None:
    store = private_store(tmp_path)
    config = configured(tmp_path / "data", NIX_EXPR=str(EXPRESSIONS / "releases.nix"), **store)
    mount, purser = mounted(config, "/box")

    @asynccontextmanager
    async def lifespan(app: Starlette) -> Any:
        async with purser:
            yield

    with TestClient(Starlette(routes=[mount], lifespan=lifespan), client=("127.0.0.1", 1)) as client:
        client.headers["Authorization"] = f"Token {claim(_Under(client, '/box'))}"
        made = client.post(f"/box{PACKAGES}", json={"name": "tool", "version": "1.0.0"})
        assert made.headers["location"] == f"/box{PACKAGES}/1"
        assert client.post(f"/box{PACKAGES}/1/download").status_code == 202
        ended = threading.Event()
        while not ended.wait(0.05):
            if client.get(f"/box{PACKAGES}/1").json()["status"] != "downloading":
                ended.set()
        answer = client.post(f"/box{PACKAGES}/1/activate").json()
        assert answer["status"] == "activated"
        assert Path(os.path.realpath(answer["profile"])).read_text() == "tool 1.0.0\n"


class _Under:
    """A client whose paths are below a prefix."""

    def __init__(self, client: TestClient, prefix: str) -> None:
        self._client, self._prefix = client, prefix

    def post(self, path: str) -> httpx2.Response:
        return self._client.post(self._prefix + path)


def test_the_wheel_in_an_empty_venv_does_the_main_job(tmp_path: Path) -> None:
    wheels, venv = tmp_path / "wheels", tmp_path / "venv"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(wheels), str(ROOT)], check=True, cwd=tmp_path)
    [wheel] = wheels.glob("purser-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"app/sql/packages.sql", "app/packages/default.nix"} <= set(names)
    assert not [name for name in names if not name.startswith(("app/", "purser-"))]

    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    subprocess.run([venv / "bin/pip", "--quiet", "--disable-pip-version-check", "install", str(wheel)], check=True)
    elsewhere = tmp_path / "elsewhere"
    box = Box(elsewhere)
    box.settings["PYTHONPATH"] = ""
    box.interpreter = str(venv / "bin/python")
    try:
        assert box.run("init").stdout == f"sqlite:///{box.database}\n"
        box.start()
        package_id = box.download("tool", "1.0.0")
        assert box.activate(package_id)["status"] == "activated"
    finally:
        box.stop()
