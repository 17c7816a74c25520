"""Starts one process and never leaves it behind: with fcs's worker the only place where processes are started."""

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from app.packages.nix import Cause, Ended

T = TypeVar("T")

CHUNK_BYTES = 16 * 1024  # at once, so that whatever else waits for the loop does not wait long
GRACE_S = 5.0  # from TERM to KILL; nix-build needs 10 ms to end its builder, which KILL would leave running
DRAIN_S = 0.5  # for what is left in the pipes when the process has gone and something else holds them
_CORES = os.sched_getaffinity(0)  # as given to us, before `pkgctl serve` keeps itself to one of them


class _Pipe:
    """The reading end of a pipe: each chunk goes to `sink` as it comes; `closed` is set when there is no more.

    Pipes of our own, because asyncio's `wait()` may last as long as a grandchild keeps its pipes open.
    """

    def __init__(self, sink: Callable[[bytes], None]) -> None:
        self._end, self.writing_end = os.pipe()
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self.closed = asyncio.Event()
        self.heard_at = self._loop.time()
        os.set_blocking(self._end, False)
        self._loop.add_reader(self._end, self._read)

    def _read(self) -> None:
        with suppress(BlockingIOError):
            if chunk := os.read(self._end, CHUNK_BYTES):
                self.heard_at = self._loop.time()
                self._sink(chunk)
            else:
                self.close()

    def close(self) -> None:
        if not self.closed.is_set():
            self._loop.remove_reader(self._end)
            os.close(self._end)
            self.closed.set()


async def supervise(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    output: Callable[[bytes], None],
    timeout_s: float,
    silent_timeout_s: float | None = None,
    stop: asyncio.Event | None = None,
    enough: asyncio.Event | None = None,
    stdout_bytes: int = CHUNK_BYTES,
) -> tuple[Ended, bytes]:
    """Runs a process to its end, and says how it ended and what it printed (`stdout_bytes` at most).

    What it writes to stderr goes to `output` chunk by chunk. It is ended early when `stop` is set ("stopped"), when
    `enough` is set ("log_limit"), and by the two time limits: TERM to its group, KILL after 5 s. A cancelled caller
    waits for that too. OSError when it cannot be started.
    """
    if stop is not None and stop.is_set():
        return Ended(None, None, "stopped"), b""
    printed = bytearray()
    out, err = _Pipe(lambda chunk: printed.extend(chunk[: stdout_bytes - len(printed)])), _Pipe(output)
    try:
        process = await _started(argv, env, cwd, out, err)
        try:
            wishes: dict[Cause, asyncio.Event | None] = {"stopped": stop, "log_limit": enough}
            cause = await _cause(process, err, timeout_s, silent_timeout_s, wishes)
            if cause != "exit":
                await _end(process)
        except BaseException:
            await in_any_case(_end(process))
            raise
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await asyncio.gather(out.closed.wait(), err.closed.wait())
    finally:
        out.close()
        err.close()
    code = process.returncode
    assert code is not None
    return Ended(code if code >= 0 else None, -code if code < 0 else None, cause), bytes(printed)


async def _started(argv: Sequence[str], env: Mapping[str, str], cwd: Path, out: _Pipe, err: _Pipe) -> Process:
    """The process, in a session of its own. A caller that is cancelled meanwhile does not lose it."""
    starting = asyncio.ensure_future(_start(argv, env, cwd, out, err))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with suppress(OSError):
            await in_any_case(_end(await in_any_case(starting)))
        raise
    finally:
        os.close(out.writing_end)
        os.close(err.writing_end)


async def _start(argv: Sequence[str], env: Mapping[str, str], cwd: Path, out: _Pipe, err: _Pipe) -> Process:
    with _all_cores():
        return await asyncio.create_subprocess_exec(
            *argv,
            stdin=DEVNULL,
            stdout=out.writing_end,
            stderr=err.writing_end,
            cwd=cwd,
            env=env,
            start_new_session=True,
        )


_starting = 0
_own_cores = _CORES


@contextmanager
def _all_cores() -> Iterator[None]:
    """A process inherits the cores of the thread that starts it: all of them, or it would begin on our one core."""
    global _starting, _own_cores
    if not _starting:
        _own_cores = os.sched_getaffinity(0)
        _keep_to(_CORES)
    _starting += 1
    try:
        yield
    finally:
        _starting -= 1
        if not _starting:
            _keep_to(_own_cores)


def _keep_to(cores: set[int]) -> None:
    with suppress(OSError):  # they were taken from us meanwhile
        os.sched_setaffinity(0, cores)


async def _cause(
    process: Process,
    heard: _Pipe,
    timeout_s: float,
    silent_timeout_s: float | None,
    wishes: Mapping[Cause, asyncio.Event | None],
) -> Cause:
    """Waits until the process has ended or is to be ended, and says why."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    waits = {asyncio.ensure_future(event.wait()): cause for cause, event in wishes.items() if event is not None}
    exited = asyncio.ensure_future(process.wait())
    try:
        while True:
            silence = deadline if silent_timeout_s is None else heard.heard_at + silent_timeout_s
            left_s = min(deadline, silence) - loop.time()
            if left_s <= 0:
                return "timeout" if deadline <= silence else "silent_timeout"
            await asyncio.wait([exited, *waits], timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            if exited.done():
                return "exit"
            for wish, cause in waits.items():
                if wish.done():
                    return cause
    finally:
        for task in (exited, *waits):
            task.cancel()


async def _end(process: Process) -> None:
    """TERM to the process and its group; KILL for what is left of it as soon as it has gone, after 5 s at most."""
    if process.returncode is None:
        _signal(process.pid, signal.SIGTERM)
    with suppress(TimeoutError):
        async with asyncio.timeout(GRACE_S):
            await process.wait()
    _signal(process.pid, signal.SIGKILL)
    await process.wait()


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


async def in_any_case(doing: Awaitable[T]) -> T:
    """Waits for the end of `doing` however often the caller is cancelled; the caller raises again itself."""
    task = asyncio.ensure_future(doing)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
    return task.result()
