"""Given the real Nix in a store of its own, when packages are built, switched, forgotten, stopped and killed, then
nothing is lost and nothing is left behind. A stand-in plays nix-build only where the real one will not do it on demand.
"""

import asyncio
import gc
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from app.packages.builder import Built, Failed, Nix, Stopped
from app.packages.store import NixFailed
from app.packages.survivors import end_survivors, remove_tree, survivors
from app.supervision import Ended, supervise
from tests.nix_store import EXPRESSIONS, FAKES, nix_environment

pytestmark = [pytest.mark.slow, pytest.mark.nix]

DEMO = Path(__file__).parents[1] / "scripts" / "demo.nix"

Make = Callable[..., Nix]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Makes a Nix of this test's store; at the end of the test no process of it may be left."""

    def made(**changed: Any) -> Nix:
        more = changed.pop("more", {})
        settings: dict[str, Any] = {
            "program": "nix-build",
            "expression": EXPRESSIONS / "packages.nix",
            "options": [],
            "inherited": nix_environment(tmp_path, **more),
            "data_dir": tmp_path / "data",
            "timeout_s": 30,
            "silent_timeout_s": 20,
            "log_limit_bytes": 1_000_000,
        }
        return Nix(**settings | changed)

    yield made
    left = await left_running(tmp_path)
    end_survivors(tmp_path / "data" / "tmp")
    assert left == {}


async def left_running(tmp_path: Path) -> dict[int, bool]:
    """The processes of this test's builds; what has been killed gets a moment to die."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 1
    while (left := survivors(tmp_path / "data" / "tmp")) and loop.time() < deadline:
        await asyncio.sleep(0.01)
    return left


async def build(nix: Nix, version: str, *, name: str = "foo", package: int = 1, attempt: int = 1) -> Any:
    return await nix.build(package, attempt, name, version, stop=asyncio.Event())


def log_of(tmp_path: Path, attempt: int = 1) -> str:
    return (tmp_path / "data" / "logs" / f"{attempt}.log").read_text()


async def collect_garbage(tmp_path: Path) -> None:
    """Nix 2.8 gives up when a process ends while it looks what all of them have open; then it is asked again."""
    said = [b"/proc/"]
    while b"/proc/" in b"".join(said):
        said.clear()
        ended, _ = await supervise(
            ["nix-collect-garbage"],
            env={**nix_environment(tmp_path), "HOME": str(tmp_path)},
            cwd=tmp_path,
            output=said.append,
            timeout_s=30,
        )
    assert ended == Ended(0, None, "exit")


# --- builds


async def test_a_package_is_built_verified_and_held(make: Make, tmp_path: Path) -> None:
    heard: list[None] = []
    built = await make().build(7, 3, "foo", "1.0.0", stop=asyncio.Event(), on_log=lambda: heard.append(None))
    assert isinstance(built, Built)
    assert Path(built.store_path).read_text() == "foo\n"
    assert os.readlink(tmp_path / "data" / "roots" / "7") == built.store_path
    assert built.closure_bytes > 0
    assert built.exit_code == 0
    assert "hello\nred\n" in log_of(tmp_path, 3)
    assert built.log_bytes == (tmp_path / "data" / "logs" / "3.log").stat().st_size
    assert heard
    assert not list((tmp_path / "data" / "tmp").iterdir())


async def test_the_size_is_that_of_everything_the_package_needs(make: Make) -> None:
    nix = make()
    whole, part = await build(nix, "closure"), await build(nix, "1.0.0", package=2, attempt=2)
    assert whole.closure_bytes > part.closure_bytes


async def test_a_package_whose_default_output_is_another_has_the_same_root(make: Make, tmp_path: Path) -> None:
    nix = make()
    built = await build(nix, "bin")
    assert built.store_path.endswith("-foo-bin")
    assert {link.name: os.readlink(link) for link in (tmp_path / "data" / "roots").iterdir()} == {"1": built.store_path}
    await collect_garbage(tmp_path)
    assert await nix.verify(built.store_path)


@pytest.mark.parametrize(
    ("version", "failure", "exit_code", "detail"),
    [
        ("fails", "build", 100, "failed with exit code 3: last words"),
        ("needs", "build", 100, "failed with exit code 4: in need"),
        ("nothing", "build", 1, "failed to produce output path"),
        ("killed", "out_of_memory", 100, "signal 9"),
        ("full", "no_space", 100, "No space left on device"),
        ("hash", "build", 102, "got:"),
        ("elsewhere", "build", 1, "riscv128-linux"),
        ("thrown", "evaluation", 1, "no such thing as foo"),
        ("type", "evaluation", 1, "cannot add"),
        ("9.9.9", "version_unavailable", 1, "version 9.9.9 of foo is not available"),
        ("two", "evaluation", 0, "2 packages"),
    ],
)
async def test_a_failure_is_named(
    make: Make, tmp_path: Path, version: str, failure: str, exit_code: int, detail: str
) -> None:
    failed = await build(make(), version)
    assert isinstance(failed, Failed)
    assert (failed.failure, failed.exit_code) == (failure, exit_code)
    assert detail in failed.detail
    assert not list((tmp_path / "data" / "roots").iterdir())
    assert not list((tmp_path / "data" / "tmp").iterdir())


async def test_a_failure_through_the_daemon_gets_the_same_name(make: Make, tmp_path: Path) -> None:
    """There every exit code is 1."""
    (tmp_path / "nix-state" / "daemon-socket").mkdir(parents=True)
    stop = asyncio.Event()
    daemon = asyncio.create_task(
        supervise(
            ["nix-daemon"],
            env=nix_environment(tmp_path) | {"HOME": str(tmp_path)},
            cwd=tmp_path,
            output=lambda _: None,
            timeout_s=60,
            stop=stop,
        )
    )
    nix = make(more={"NIX_REMOTE": f"unix://{tmp_path}/nix-state/daemon-socket/socket"}, options=["--timeout", "1"])
    async with asyncio.timeout(10):
        while not (tmp_path / "nix-state" / "daemon-socket" / "socket").exists():
            await asyncio.sleep(0.01)
    try:
        named = {v: (await build(nix, v, attempt=n)).failure for n, v in enumerate(("fails", "killed", "slow", "9.9"))}
        assert named == {"fails": "build", "killed": "out_of_memory", "slow": "timeout", "9.9": "version_unavailable"}
        assert isinstance(await build(nix, "1.0.0", attempt=9), Built)
    finally:
        stop.set()
        await daemon


@pytest.mark.parametrize("text", ['"', "${builtins.currentSystem}", "`id`", "''", "\\", "$(id)", "ä"])
async def test_names_and_versions_are_words_and_never_evaluated(make: Make, text: str) -> None:
    failed = await build(make(), text, name="thing-" + text)
    assert failed.failure == "version_unavailable"
    assert f"version {text} of thing-{text} is not available" in failed.detail


async def test_no_expression_sees_the_secret_key(make: Make, tmp_path: Path) -> None:
    failed = await build(make(more={"SECRET_KEY": "s3cret", "HOME": "/root"}), "secret")
    assert f"the secret is (), home is {tmp_path}/data/home" in failed.detail
    assert "s3cret" not in log_of(tmp_path)


async def test_a_damaged_package_is_built_again(make: Make) -> None:
    """Nix itself takes a path for built as long as its database says so."""
    nix = make()
    built = await build(nix, "closure")
    needed = Path(Path(built.store_path).read_text().strip())
    assert needed.read_text() == "needed\n"
    for damaged in (needed, Path(built.store_path)):
        damaged.unlink()
        again = await build(nix, "closure", attempt=2)
        assert again.store_path == built.store_path
        assert damaged.exists()
    assert await nix.verify(built.store_path)


async def test_a_build_that_does_not_succeed_leaves_the_root_of_an_earlier_one(make: Make, tmp_path: Path) -> None:
    nix = make()
    built = await build(nix, "1.0.0")
    assert isinstance(await build(nix, "fails", attempt=2), Failed)
    assert os.readlink(tmp_path / "data" / "roots" / "1") == built.store_path


async def test_read_only_folders_of_a_builder_are_cleared_away(make: Make, tmp_path: Path) -> None:
    stuck = tmp_path / "tree" / "a" / "b"
    stuck.mkdir(parents=True)
    (stuck / "file").write_text("left")
    (stuck / "link").symlink_to(tmp_path)
    stuck.chmod(0o555)
    remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
    assert isinstance(await build(make(), "readonly"), Failed)
    assert not list((tmp_path / "data" / "tmp").iterdir())


# --- the bundled expression


@pytest.mark.parametrize(
    ("name", "version", "detail"),
    [
        ("hello", "2.12", "version 2.12 of hello is not available: nixpkgs has version 2.10"),
        ("missing", "1.0.0", "version 1.0.0 of missing is not available: nixpkgs has nothing of that name"),
        ("lib", "1.0.0", "version 1.0.0 of lib is not available: what nixpkgs has under that name is no package"),
    ],
)
async def test_the_bundled_expression_refuses_what_nixpkgs_has_not(
    make: Make, name: str, version: str, detail: str
) -> None:
    nix = make(expression=None, more={"NIX_PATH": f"nixpkgs={EXPRESSIONS}/nixpkgs"})
    failed = await build(nix, version, name=name)
    assert (failed.failure, failed.detail) == ("version_unavailable", detail)


@pytest.mark.parametrize(("name", "version"), [("hello", "2.10"), ("unversioned", "1.2.3")])
async def test_the_bundled_expression_takes_a_package_of_nixpkgs(
    make: Make, tmp_path: Path, name: str, version: str
) -> None:
    (tmp_path / "channel").symlink_to(EXPRESSIONS / "nixpkgs")
    nix = make(expression=None, options=["-I", f"nixpkgs={tmp_path}/channel"])
    built = await build(nix, version, name=name)
    assert isinstance(built, Built), built


async def test_the_bundled_expression_reads_nothing_but_nixpkgs(make: Make) -> None:
    nix = make(expression=None, more={"NIX_PATH": f"nixpkgs={EXPRESSIONS}/nixpkgs:/etc"})
    failed = await build(nix, "1.0.0", name="curious")
    assert failed.failure == "evaluation"
    assert "'/etc/hostname' is forbidden in restricted mode" in failed.detail


async def test_without_nixpkgs_the_failure_says_so(make: Make) -> None:
    failed = await build(make(expression=None, more={"NIX_PATH": ""}), "2.10", name="hello")
    assert failed.failure == "evaluation"
    assert "nixpkgs" in failed.detail


@pytest.mark.parametrize("version", ["2.1.0", "2.2.0", "2.3.0"])
async def test_the_demo_builds_a_program_that_tells_its_version(make: Make, tmp_path: Path, version: str) -> None:
    built = await build(make(expression=DEMO), version, name="security-patch")
    program = Path(built.store_path) / "bin" / "security-patch"
    ended, printed = await supervise([str(program)], env={}, cwd=tmp_path, output=lambda _: None, timeout_s=5)
    assert (ended.exit_code, printed) == (0, f"security-patch {version}\n".encode())
    assert log_of(tmp_path).count("compiling part") == 5


@pytest.mark.parametrize(("name", "version"), [("security-patch", "9.9.9"), ("nothing", "2.1.0")])
async def test_the_demo_refuses_what_it_has_not(make: Make, name: str, version: str) -> None:
    failed = await build(make(expression=DEMO), version, name=name)
    assert failed.failure == "version_unavailable"


# --- limits and stops


async def begun(tmp_path: Path, attempt: int = 1) -> None:
    """Waits until the builder has said its first word."""
    async with asyncio.timeout(10):
        while not (tmp_path / "data" / "logs" / f"{attempt}.log").exists() or "begun" not in log_of(tmp_path, attempt):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("version", ["slow", "deaf"])
async def test_a_build_is_stopped_with_its_builder(make: Make, tmp_path: Path, version: str) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(make().build(1, 1, "foo", version, stop=stop))
    await begun(tmp_path)
    stop.set()
    async with asyncio.timeout(2):
        stopped = await running
    assert isinstance(stopped, Stopped)
    assert stopped.log_bytes > 0
    assert not list((tmp_path / "data" / "roots").iterdir())


async def test_a_build_that_is_stopped_beforehand_does_not_begin(make: Make, tmp_path: Path) -> None:
    stop = asyncio.Event()
    stop.set()
    assert isinstance(await make().build(1, 1, "foo", "1.0.0", stop=stop), Stopped)
    assert log_of(tmp_path) == "... ended by Purser: cancelled, or the service stops\n"
    assert not (tmp_path / "nix-store").exists()


@pytest.mark.parametrize("version", ["slow", "deaf"])
async def test_a_cancelled_build_leaves_nothing_behind(make: Make, tmp_path: Path, version: str) -> None:
    running = asyncio.create_task(make().build(1, 1, "foo", version, stop=asyncio.Event()))
    await begun(tmp_path)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await left_running(tmp_path) == {}
    assert not list((tmp_path / "data" / "tmp").iterdir())


@pytest.mark.parametrize(
    ("version", "changed", "failure"),
    [
        ("slow", {"timeout_s": 0.5}, "timeout"),
        ("chatty", {"timeout_s": 0.7, "silent_timeout_s": 0.5}, "timeout"),
        ("slow", {"silent_timeout_s": 0.5}, "silent_timeout"),
        ("flood", {"log_limit_bytes": 5000}, "log_limit"),
        ("endless", {"log_limit_bytes": 200_000}, "log_limit"),
    ],
)
async def test_a_build_beyond_its_limits_is_ended(
    make: Make, tmp_path: Path, version: str, changed: dict[str, float], failure: str
) -> None:
    async with asyncio.timeout(6):
        failed = await build(make(**changed), version)
    assert isinstance(failed, Failed)
    assert failed.failure == failure
    assert (tmp_path / "data" / "logs" / "1.log").stat().st_size <= changed.get("log_limit_bytes", 1_000_000)
    assert failed.log_bytes == (tmp_path / "data" / "logs" / "1.log").stat().st_size


# --- what survives a kill


async def test_recovery_ends_a_build_whose_parent_died(make: Make, tmp_path: Path) -> None:
    nix = make()
    tmpdir = tmp_path / "data" / "tmp" / "1"
    words = ["nix-build", str(EXPRESSIONS / "packages.nix"), "--argstr", "name", "foo", "--no-out-link"]
    for version, killed_first in (("slow", False), ("deaf", False), ("deaf", True)):
        tmpdir.mkdir(parents=True, exist_ok=True)
        process = await asyncio.create_subprocess_exec(
            *words,
            *("--argstr", "version", version),
            env=nix_environment(tmp_path) | {"TMPDIR": str(tmpdir), "HOME": str(tmp_path)},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stderr is not None
        while b"begun" not in await process.stderr.readline():
            pass
        async with asyncio.timeout(60):  # nix-build, the builder, and its sleep: alone the last outlives nix-build
            while len(survivors(tmp_path / "data" / "tmp")) < 3:
                await asyncio.sleep(0.005)
        if killed_first:
            process.kill()
            await process.wait()
        assert len(survivors(tmp_path / "data" / "tmp")) >= 2 - killed_first
        assert await nix.recover() >= 2 - killed_first
        assert survivors(tmp_path / "data" / "tmp") == {}
        await process.communicate()
        assert process.returncode == (-signal.SIGKILL if killed_first else 1)
        assert list((tmp_path / "data" / "tmp").iterdir()) == []
        assert (tmp_path / "data" / "tmp").stat().st_mode & 0o777 == 0o700


async def test_recovery_leaves_other_processes_alone(make: Make, tmp_path: Path) -> None:
    beside = tmp_path / "data" / "tmp-2"
    beside.mkdir(parents=True)
    process = await asyncio.create_subprocess_exec("sleep", "60", env={"TMPDIR": str(beside)})
    assert await make().recover() == 0
    assert process.returncode is None
    process.kill()
    await process.wait()


SANDBOX = {"sandbox": ["--option", "sandbox", "true", "--option", "sandbox-paths", "/bin /usr /lib /lib64"]}
ISOLATED = subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], capture_output=True).returncode == 0
BUILDERS = {"bare": []} | (SANDBOX if ISOLATED else {})  # where there are no namespaces, Nix has no sandbox


@pytest.mark.parametrize("options", BUILDERS.values(), ids=BUILDERS.keys())
async def test_a_killed_nix_build_takes_its_builder_with_it(make: Make, tmp_path: Path, options: list[str]) -> None:
    nix = make(options=options)
    running = asyncio.create_task(build(nix, "deaf"))
    await begun(tmp_path)
    nix_build = next(pid for pid, is_nix in survivors(tmp_path / "data" / "tmp").items() if is_nix)
    os.kill(nix_build, signal.SIGKILL)
    failed = await running
    assert (failed.failure, failed.exit_code) == ("out_of_memory", None)
    assert await left_running(tmp_path) == {}


# --- profiles and roots


async def test_switching_makes_generations_and_back(make: Make) -> None:
    nix = make()
    paths = [(await build(nix, f"{n}.0.0", package=n, attempt=n)).store_path for n in (1, 2)]
    assert nix.profiles.current("foo") is None
    assert await nix.profiles.switch("foo", paths[0]) == 1
    assert await nix.profiles.switch("foo", paths[0]) == 1
    assert await nix.profiles.switch("foo", paths[1]) == 2
    assert nix.profiles.current("foo") == (paths[1], 2)
    assert await nix.profiles.switch("foo", paths[0]) == 3
    assert os.path.realpath(nix.profiles.path("foo")) == paths[0]


async def test_a_path_that_is_not_there_is_not_switched_to(make: Make, tmp_path: Path) -> None:
    nix = make()
    built = await build(nix, "1.0.0")
    assert await nix.profiles.switch("foo", built.store_path) == 1
    for wrong in ("/etc", built.store_path[:-3] + "bar", ""):
        with pytest.raises(NixFailed) as refused:
            await nix.profiles.switch("foo", wrong)
        assert 0 < len(refused.value.detail) <= 500
        assert not await nix.verify(wrong)
    assert nix.profiles.current("foo") == (built.store_path, 1)


async def test_switches_of_one_name_come_one_after_the_other(make: Make) -> None:
    nix = make()
    paths = [(await build(nix, f"{n}.0.0", package=n, attempt=n)).store_path for n in (1, 2, 3)]
    numbers = await asyncio.gather(*(nix.profiles.switch("foo", path) for path in paths * 3))
    assert sorted(numbers) == list(range(1, 10))
    gc.collect()
    assert not nix.profiles._switching


async def test_names_that_look_like_another_name_s_generation_do_not_meet(make: Make) -> None:
    nix = make()
    names = ("foo", "foo-2-link", "current", "current-1-link")
    paths = {}
    for number, name in enumerate(names):
        for version in ("1.0.0", "2.0.0"):
            paths[name] = (await build(nix, version, name=name, package=number, attempt=number)).store_path
            await nix.profiles.switch(name, paths[name])
    assert {name: nix.profiles.current(name) for name in names} == {name: (paths[name], 2) for name in names}
    first = (await build(nix, "1.0.0", name="foo", attempt=9)).store_path
    await nix.forget(0, "foo", first)
    assert {name: nix.profiles.current(name) for name in names} == {name: (paths[name], 2) for name in names}
    assert sorted(path.name for path in nix.profiles.path("foo-2-link").parent.iterdir()) == [
        "current",
        "current-1-link",
        "current-2-link",
    ]


async def test_garbage_collection_takes_a_package_only_when_it_is_forgotten(make: Make, tmp_path: Path) -> None:
    nix = make()
    one, two = await build(nix, "closure", package=1), await build(nix, "2.0.0", package=2, attempt=2)
    needed = Path(one.store_path).read_text().strip()
    await collect_garbage(tmp_path)
    assert all([await nix.verify(path) for path in (one.store_path, needed, two.store_path)])
    await nix.profiles.switch("foo", one.store_path)
    await nix.profiles.switch("foo", two.store_path)
    await collect_garbage(tmp_path)
    assert all([await nix.verify(path) for path in (one.store_path, needed, two.store_path)])
    await nix.forget(1, "foo", one.store_path)
    await nix.forget(2, "foo", two.store_path)
    await collect_garbage(tmp_path)
    assert [await nix.verify(path) for path in (one.store_path, needed)] == [False, False]
    assert await nix.verify(two.store_path), "what a profile points at stays"


async def test_forgetting_what_was_never_there_is_no_error(make: Make) -> None:
    await make().forget(99, "", None)
    await make().forget(99, "foo", "/nix/store/x")


# --- without Nix


async def test_without_nix_build_the_failure_says_how_to_install_it(make: Make, tmp_path: Path) -> None:
    nix = make(program="/nowhere/nix-build", inherited={"PATH": str(tmp_path)})
    assert not await nix.available()
    failed = await build(nix, "1.0.0")
    assert failed.failure == "nix_missing"
    assert "apt-get install nix-bin" in failed.detail
    assert nix.missing in failed.detail
    with pytest.raises(NixFailed, match="cannot be run"):
        await nix.profiles.switch("foo", "/nix/store/x")
    with pytest.raises(NixFailed, match="cannot be run"):
        await nix.verify("/nix/store/x")


async def test_with_nix_on_the_path_it_is_available(make: Make) -> None:
    assert await make().available()


async def test_a_log_that_cannot_be_written_is_a_full_disk(make: Make, tmp_path: Path) -> None:
    (tmp_path / "data" / "logs").mkdir(parents=True)
    (tmp_path / "data" / "logs" / "1.log").symlink_to("/dev/full")
    failed = await build(make(), "slow")
    assert (failed.failure, failed.log_bytes) == ("no_space", 0)
    assert "No space left on device" in failed.detail


# --- one process, played by the stand-in


async def played(tmp_path: Path, mode: str, **changed: Any) -> tuple[Ended, bytes, bytes]:
    heard = bytearray()
    settings: dict[str, Any] = {
        "env": {"PATH": os.environ["PATH"], "NIX_FAKE": mode, "TMPDIR": str(tmp_path / "data" / "tmp" / "x")},
        "cwd": tmp_path,
        "output": heard.extend,
        "timeout_s": 10,
    }
    (tmp_path / "data" / "tmp" / "x").mkdir(parents=True, exist_ok=True)
    async with asyncio.timeout(20):
        ended, printed = await supervise([str(FAKES / "nix-build")], **settings | changed)
    return ended, printed, bytes(heard)


async def test_an_exit_code_and_a_signal_are_told_apart(make: Make, tmp_path: Path) -> None:
    assert (await played(tmp_path, "fail"))[0] == Ended(100, None, "exit")
    assert (await played(tmp_path, "die"))[0] == Ended(None, 9, "exit")
    assert (await played(tmp_path, "crash"))[0] == Ended(None, 11, "exit")


async def test_a_process_that_ignores_term_is_killed_after_five_seconds(make: Make, tmp_path: Path) -> None:
    began = asyncio.get_running_loop().time()
    ended, _, _ = await played(tmp_path, "ignore-term", timeout_s=0.3)
    assert ended == Ended(None, 9, "timeout")
    assert 5 <= asyncio.get_running_loop().time() - began < 7


@pytest.mark.parametrize("mode", ["grandchild", "flooding-grandchild"])
async def test_a_grandchild_that_keeps_the_pipe_does_not_hold_us(make: Make, tmp_path: Path, mode: str) -> None:
    async with asyncio.timeout(3):
        ended, _, heard = await played(tmp_path, mode)
    assert ended == Ended(1, None, "exit")
    assert heard
    assert end_survivors(tmp_path / "data" / "tmp") >= (mode == "grandchild")


async def test_a_flood_does_not_stop_the_loop_or_fill_the_memory(make: Make, tmp_path: Path) -> None:
    loop, worst_s, heard = asyncio.get_running_loop(), 0.0, 0

    def count(chunk: bytes) -> None:
        nonlocal heard
        heard += len(chunk)

    running = asyncio.create_task(played(tmp_path, "flood", output=count, timeout_s=1))
    while not running.done():
        before = loop.time()
        await asyncio.sleep(0.005)
        worst_s = max(worst_s, loop.time() - before)
    assert (await running)[0].cause == "timeout"
    assert heard > 1_000_000
    assert worst_s < 0.25


async def test_one_huge_line_is_heard_whole(make: Make, tmp_path: Path) -> None:
    ended, _, heard = await played(tmp_path, "long-line")
    assert (ended.exit_code, len(heard)) == (1, 5_000_000)


async def test_what_is_printed_is_bounded(make: Make, tmp_path: Path) -> None:
    ended, printed = await supervise(
        ["head", "-c", "1000000", "/dev/zero"],
        env={"PATH": os.environ["PATH"]},
        cwd=tmp_path,
        output=lambda _: None,
        timeout_s=10,
        stdout_bytes=5000,
    )
    assert (ended.exit_code, len(printed)) == (0, 5000)


async def test_a_caller_that_is_cancelled_again_and_again_still_ends_the_process(make: Make, tmp_path: Path) -> None:
    heard = asyncio.Event()
    running = asyncio.create_task(played(tmp_path, "ignore-term", output=lambda _: heard.set()))
    await heard.wait()
    for _ in range(5):
        running.cancel()
        await asyncio.sleep(0.05)
    assert not running.done()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_process_that_cannot_be_started_leaves_no_pipe_open(make: Make, tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(FileNotFoundError):
            await supervise(["/nowhere"], env={}, cwd=tmp_path, output=lambda _: None, timeout_s=1)
    assert len(os.listdir("/proc/self/fd")) == before


async def test_a_cancel_at_any_moment_leaves_no_process_and_no_pipe(make: Make, tmp_path: Path) -> None:
    await played(tmp_path, "fail")
    before = len(os.listdir("/proc/self/fd"))
    for moment in range(20):
        running = asyncio.create_task(played(tmp_path, "hang"))
        await asyncio.sleep(moment / 2000)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await left_running(tmp_path) == {}
    assert len(os.listdir("/proc/self/fd")) == before


async def test_the_log_is_bounded_whatever_nix_itself_does(make: Make, tmp_path: Path) -> None:
    failed = await build(make(program=str(FAKES / "nix-build"), more={"NIX_FAKE": "flood"}, log_limit_bytes=5000), "1")
    assert (failed.failure, failed.exit_code) == ("log_limit", None)
    assert 4000 < failed.log_bytes <= 5000
    assert log_of(tmp_path).endswith("\n... the log has reached its limit\n")


def beside(tmp_path: Path, program: str, script: str) -> str:
    """A folder with the real nix-build and a stand-in for one of its siblings; the path of the former.

    What the script lets through goes to the real sibling.
    """
    folder = tmp_path / "programs"
    folder.mkdir()
    real = shutil.which("nix-build")
    assert real
    (folder / "nix-build").symlink_to(real)
    (folder / program).write_text(f'#!/bin/sh\n{script}\nexec {Path(real).with_name(program)} "$@"\n')
    (folder / program).chmod(0o755)
    return str(folder / "nix-build")


async def test_a_build_can_be_stopped_while_it_is_verified(make: Make, tmp_path: Path) -> None:
    program = beside(tmp_path, "nix-store", f"case $1 in --verify-path) : > {tmp_path}/asked; exec sleep 60 ;; esac")
    stop = asyncio.Event()
    running = asyncio.create_task(make(program=program).build(1, 1, "foo", "1.0.0", stop=stop))
    async with asyncio.timeout(5):
        while not (tmp_path / "asked").exists():
            await asyncio.sleep(0.01)
        stop.set()
        assert isinstance(await running, Stopped)
    assert not list((tmp_path / "data" / "roots").iterdir())


async def test_a_store_that_cannot_be_asked_is_no_damage(make: Make, tmp_path: Path) -> None:
    said = "cannot connect to socket at 'socket': No such file or directory"
    nix = make(program=beside(tmp_path, "nix-store", f'echo "error: {said}" >&2; exit 1'))
    failed = await build(nix, "1.0.0")
    assert (failed.failure, failed.detail) == ("unknown", said)
    with pytest.raises(NixFailed, match="cannot connect to socket"):
        await nix.verify("/nix/store/x")


async def test_a_path_that_the_collector_took_at_the_last_instant_is_built_again(make: Make, tmp_path: Path) -> None:
    """As when a collector has read the roots just before nix-build made its link (seen with Nix 2.8)."""
    first, real = tmp_path / "first", shutil.which("nix-build")
    program = tmp_path / "nix-build"
    program.write_text(
        f'#!/bin/sh\n{real} "$@" || exit\nif test ! -e {first}; then\n: > {first}\n'
        f"rm {tmp_path}/data/roots/1\nuntil nix-collect-garbage > /dev/null 2>&1; do :; done\nfi\n"
    )
    program.chmod(0o755)
    built = await build(make(program=str(program)), "1.0.0")
    assert isinstance(built, Built)
    assert first.exists()
    assert log_of(tmp_path).count("building '") == 2
    await collect_garbage(tmp_path)
    assert Path(built.store_path).exists()


async def test_a_path_that_stays_damaged_is_named(make: Make, tmp_path: Path) -> None:
    script = "if test $1 = --verify-path; then echo \"path '$2' was modified! expected\" >&2; exit 1; fi"
    failed = await build(make(program=beside(tmp_path, "nix-store", script)), "1.0.0")
    assert failed.failure == "damaged"
    assert "could not be repaired" in failed.detail


async def test_a_switch_takes_no_longer_than_it_may(make: Make, tmp_path: Path) -> None:
    nix = make(program=beside(tmp_path, "nix-env", "exec sleep 60"))
    with pytest.raises(NixFailed) as refused:
        await nix.profiles.switch("foo", "/nix/store/x", timeout_s=0.3)
    assert refused.value.detail == "nix-env did not end within 0.3 s."
    assert nix.profiles.current("foo") is None


async def test_a_generation_is_let_go_without_asking_nix(make: Make, tmp_path: Path) -> None:
    whole = make()
    paths = [(await build(whole, f"{n}.0.0", package=n, attempt=n)).store_path for n in (1, 2)]
    for path in paths:
        await whole.profiles.switch("foo", path)
    await make(program="/nowhere/nix-build", inherited={"PATH": str(tmp_path)}).forget(1, "foo", paths[0])
    assert whole.profiles.current("foo") == (paths[1], 2)
    await collect_garbage(tmp_path)
    assert [Path(path).exists() for path in paths] == [False, True]
    assert whole.profiles.current("foo") == (paths[1], 2)


async def test_the_stand_in_can_build(make: Make) -> None:
    nix = make(program=str(FAKES / "nix-build"), more={"NIX_FAKE": "ok"})
    built = await build(nix, "1.0.0")
    assert isinstance(built, Built)
    assert await nix.verify(built.store_path)


async def test_a_mute_failure_has_a_detail(make: Make) -> None:
    failed = await build(make(program=str(FAKES / "nix-build"), more={"NIX_FAKE": "mute"}), "1.0.0")
    assert (failed.failure, failed.detail) == ("unknown", "nix-build ended with exit code 1 and said nothing.")


def test_uvloop_works_too(tmp_path: Path) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def all_of_it() -> None:
        nix = Nix(
            program="nix-build",
            expression=EXPRESSIONS / "packages.nix",
            options=[],
            inherited=nix_environment(tmp_path),
            data_dir=tmp_path / "data",
            timeout_s=20,
            silent_timeout_s=0.5,
            log_limit_bytes=100_000,
        )
        built = await build(nix, "1.0.0")
        assert isinstance(built, Built)
        assert await nix.profiles.switch("foo", built.store_path) == 1
        assert (await build(nix, "deaf", package=2, attempt=2)).failure == "silent_timeout"
        assert (await build(nix, "endless", package=3, attempt=3)).failure == "log_limit"
        assert (await played(tmp_path, "grandchild"))[0] == Ended(1, None, "exit")
        running = asyncio.create_task(build(nix, "slow", package=4, attempt=4))
        await begun(tmp_path, 4)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        end_survivors(tmp_path / "data" / "tmp")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(all_of_it())


async def test_a_process_gets_every_core_although_the_service_keeps_to_one(tmp_path: Path) -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        # The cores are given right after the start, so it may have to look twice.
        ended, printed = await supervise(
            ["/bin/sh", "-c", "until [ $(nproc) = $CORES ]; do :; done; nproc"],
            env={"PATH": os.environ["PATH"], "CORES": str(len(cores))},
            cwd=tmp_path,
            output=lambda _: None,
            timeout_s=10,
        )
    finally:
        os.sched_setaffinity(0, cores)
    assert (ended.exit_code, printed.decode().strip()) == (0, str(len(cores)))
