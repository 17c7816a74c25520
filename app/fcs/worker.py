"""Has statistics and plots computed, each in a process of its own: a sort of ours would hold the event loop up."""

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from signal import SIGXCPU
from time import monotonic

import msgspec

from app.blobs import INCOMING, Blobs
from app.db import Database
from app.errors import TooMany, Unavailable
from app.fcs import service
from app.fcs.structs import ContentRow
from app.fcs.tasks import OUT_OF_MEMORY, DensityWish, HistogramWish, StatisticsWish, Task, Wish
from app.jobs import Bells, Worker, first_of
from app.supervision import Ended, supervise
from app.values import hashed

log = logging.getLogger("purser.fcs")

MEMORY_BYTES = 112 * 2**20
STATISTICS_S = 1800.0
PLOT_S = 60.0
PLOTS_AT_ONCE = 2
MOST_WAITING = 32
MOST_LISTENING = 256
RETRY_S = 5
MOST_ANSWER_BYTES = 16 * 2**20
_MOST_SAID = 4096
Command = Callable[[], list[str]]


class Died(Exception):
    """The process has not done its task; it says why, for the people who wait."""


def command() -> list[str]:
    """How the process is called; `-P`: nothing is imported from where it happens to run."""
    return [sys.executable, "-P", "-m", "app.fcs.compute"]


class Computing:
    """Computes statistics as they become due, one after the other, and plots as they are asked for."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs
        self._bells = Bells()
        self._plots = asyncio.Semaphore(PLOTS_AT_ONCE)
        self._waiting = 0
        self._listening = 0
        self._worker: Worker | None = None
        self.command: Command = command
        self.stopping = asyncio.Event()

    def start(self) -> None:
        """Begins with what was left undone."""
        self._worker = Worker("fcs-statistics", self._due, self._statistics)
        self._database.subscribe(service.PENDING, lambda _: self._ring())
        self._database.subscribe(service.COMPUTED, self._bells.ring)

    def _ring(self) -> None:
        if self._worker is not None:
            self._worker.bell.ring()

    def end_waits(self) -> None:
        """Lets go of those who wait: the service is about to stop."""
        self.stopping.set()

    async def stop(self) -> None:
        """Ends what is being computed; it is computed again by the next start."""
        self.end_waits()
        if self._worker is not None:
            await self._worker.stop()

    async def settled(self, look: Callable[[], Awaitable[ContentRow]], wait_s: float) -> ContentRow:
        """The content that `look` finds once its statistics have come to an end; as it is after `wait_s`, or at once
        when many wait already.
        """
        deadline = monotonic() + wait_s
        content = await look()
        bell = self._bells.of(content.id)
        self._listening += 1
        try:
            while content.status == "pending":
                rung, left_s = bell.next(), deadline - monotonic()
                content = await look()
                if content.status != "pending" or left_s <= 0 or self._listening > MOST_LISTENING:
                    break
                if self.stopping.is_set():
                    break
                await first_of(rung.wait(), self.stopping.wait(), timeout_s=left_s)
        finally:
            self._listening -= 1
        return content

    async def _due(self) -> ContentRow | None:
        return None if self.stopping.is_set() else await self._database.read(service.due)

    async def _statistics(self, content: ContentRow) -> None:
        wish = StatisticsWish(str(self._blobs.folder / INCOMING))
        try:
            answer = await self._compute(content, wish, STATISTICS_S)
        except Died as error:
            if not self.stopping.is_set():
                log.error("statistics failed", extra={"sha256": content.sha256, "detail": str(error)})
                await self._database.write(service.keep_failure, content.id, str(error))
            return
        await self._database.write(service.keep_statistics, content.id, answer)

    async def plot(self, plot: "Plot") -> bytes:
        """A histogram or a density. TooMany when many wait already; Unavailable when it cannot be had."""
        if self._waiting >= MOST_WAITING:
            raise TooMany(f"{MOST_WAITING} plots are being made or wait.", retry_after_s=RETRY_S)
        self._waiting += 1
        try:
            async with self._plots:
                return await self._compute(plot.content, plot.wish, PLOT_S)
        except Died as error:
            log.error("a plot failed", extra={"sha256": plot.content.sha256, "detail": str(error)})
            raise Unavailable(f"The plot could not be made: {error}") from None
        finally:
            self._waiting -= 1

    async def _compute(self, content: ContentRow, wish: Wish, timeout_s: float) -> bytes:
        path, described = str(self._blobs.path(content.sha256).absolute()), content.description
        task = Task(path, described.layout, described.parameters, wish, MEMORY_BYTES, round(timeout_s) + 1)
        return await compute(self.command(), task, timeout_s, self.stopping)


class Plot:
    """A plot of a content. `tag` is its ETag: of the same bytes and wishes the same."""

    def __init__(self, content: ContentRow, wish: HistogramWish | DensityWish) -> None:
        self.content = content
        self.wish = wish
        self.media_type = "image/svg+xml" if wish.as_svg else "application/json"
        self.tag = f'"{hashed(f"{content.sha256} {content.parser_version} {wish!r}")[:32]}"'


async def compute(words: list[str], task: Task, timeout_s: float, stop: asyncio.Event) -> bytes:
    """The answer of a process of ours to a task; Died when it gives none within the time, or `stop` is set."""
    said = bytearray()
    try:
        ended, answer = await supervise(
            words,
            env={"PYTHONPATH": _modules(), "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            cwd=Path("/"),
            output=lambda chunk: said.extend(chunk[: _MOST_SAID - len(said)]),
            timeout_s=timeout_s,
            stop=stop,
            stdout_bytes=MOST_ANSWER_BYTES + 1,
            stdin=msgspec.json.encode(task) + b"\n",
        )
    except OSError as error:
        raise Died(f"The process that computes could not be started: {error.strerror}.") from error
    if ended.exit_code == 0 and ended.cause == "exit" and _is_whole(answer, task):
        return answer
    if ended.cause != "stopped":
        told = {"exit_code": ended.exit_code, "signal": ended.signal, "said": said[-500:].decode("utf-8", "replace")}
        log.warning("a process that computes has failed", extra=told)
    raise Died(_why(ended, task, timeout_s))


def _modules() -> str:
    """Where modules lie: the process has nothing else of our environment."""
    return os.pathsep.join(os.path.abspath(path) for path in sys.path if path)


def _is_whole(answer: bytes, task: Task) -> bool:
    if len(answer) > MOST_ANSWER_BYTES:
        return False
    if not isinstance(task.wish, StatisticsWish) and task.wish.as_svg:
        return answer.startswith(b"<svg") and answer.endswith(b"</svg>\n")
    try:
        found = msgspec.json.decode(answer)
    except ValueError:
        return False
    return isinstance(found, list | dict)


def _why(ended: Ended, task: Task, timeout_s: float) -> str:
    """Why there is no answer, for the people who wait."""
    if ended.cause == "stopped":
        return "The service stops."
    if ended.cause == "timeout" or ended.signal == SIGXCPU:
        return f"It took longer than {timeout_s:g} s."
    if ended.signal is not None:
        return f"The process that computes was ended by signal {ended.signal}."
    if ended.exit_code == OUT_OF_MEMORY:
        return f"The process that computes has used the {task.memory_bytes} bytes that it may."
    if ended.exit_code:
        return f"The process that computes ended with exit code {ended.exit_code}."
    return "The process that computes gave no whole answer."
