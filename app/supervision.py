"""Starts one process and never leaves it behind: the only place where processes are started."""

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from app.cores import all_cores
from app.jobs import in_any_case

Cause = Literal["exit", "stopped", "timeout", "silent_timeout", "log_limit"]

CHUNK_BYTES = 16 * 1024  # at once, so that whatever else waits for the loop does not wait long
GRACE_S = 5.0  # from TERM to KILL; nix-build needs 10 ms to end its builder, which KILL would leave running
DRAIN_S = 0.5  # for what is left in the pipes when the process has gone and something else holds them


class Ended(msgspec.Struct, frozen=True):
    """How a process ended. `exit_code` or `signal` is None, both when none was started; "exit": it ended by itself."""

    exit_code: int | None
    signal: int | None
    cause: Cause


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


class _Feed:
    """The writing end of a pipe to a process. It stays open when all is written: that it closes tells of our end."""

    def __init__(self, content: bytes) -> None:
        self.reading_end, self._end = os.pipe()
        self._left = memoryview(content)
        self._loop = asyncio.get_running_loop()
        os.set_blocking(self._end, False)
        self._loop.add_writer(self._end, self._write)

    def _write(self) -> None:
        try:
            self._left = self._left[os.write(self._end, self._left[:CHUNK_BYTES]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:  # it reads no more
            self._left = self._left[:0]
        if not self._left:
            self._loop.remove_writer(self._end)

    def close(self) -> None:
        self._loop.remove_writer(self._end)
        os.close(self._end)


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
    stdin: bytes | None = None,
) -> tuple[Ended, bytes]:
    """Runs a process to its end, and says how it ended and what it printed (`stdout_bytes` at most).

    It is given `stdin`, which stays open behind that for as long as we live, and then leaves nothing of its group
    behind; None: nothing. What it writes to stderr goes to `output` chunk by chunk. It is ended early when `stop` is
    set ("stopped"), when `enough` is set ("log_limit"), and by the two time limits: TERM to its group, KILL after 5 s.
    A cancelled caller waits for that too. OSError when it cannot be started.
    """
    if stop is not None and stop.is_set():
        return Ended(None, None, "stopped"), b""
    printed = bytearray()
    out, err = _Pipe(lambda chunk: printed.extend(chunk[: stdout_bytes - len(printed)])), _Pipe(output)
    feed = None if stdin is None else _Feed(stdin)
    try:
        process = await _started(argv, env, cwd, feed, out, err)
        try:
            wishes: dict[Cause, asyncio.Event | None] = {"stopped": stop, "log_limit": enough}
            cause = await _cause(process, err, timeout_s, silent_timeout_s, wishes)
            if cause != "exit":
                await _end(process)
            if feed is not None:
                _signal(process.pid, signal.SIGKILL)  # what it has left behind in its group
        except BaseException:
            await in_any_case(_end(process))
            raise
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                await asyncio.gather(out.closed.wait(), err.closed.wait())
    finally:
        out.close()
        err.close()
        if feed is not None:
            feed.close()
    code = process.returncode
    assert code is not None
    return Ended(code if code >= 0 else None, -code if code < 0 else None, cause), bytes(printed)


async def _started(
    argv: Sequence[str], env: Mapping[str, str], cwd: Path, feed: _Feed | None, out: _Pipe, err: _Pipe
) -> Process:
    """The process, in a session of its own. A caller that is cancelled meanwhile does not lose it."""
    stdin = DEVNULL if feed is None else feed.reading_end
    starting = asyncio.ensure_future(_start(argv, env, cwd, stdin, out, err))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with suppress(OSError):
            await in_any_case(_end(await in_any_case(starting)))
        raise
    finally:
        os.close(out.writing_end)
        os.close(err.writing_end)
        if feed is not None:
            os.close(feed.reading_end)


async def _start(argv: Sequence[str], env: Mapping[str, str], cwd: Path, stdin: int, out: _Pipe, err: _Pipe) -> Process:
    with all_cores():
        return await asyncio.create_subprocess_exec(
            *argv,
            stdin=stdin,
            stdout=out.writing_end,
            stderr=err.writing_end,
            cwd=cwd,
            env=env,
            start_new_session=True,
        )


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
