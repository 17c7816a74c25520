"""Following a download: its log and its status, poll by poll, until it has ended."""

import codecs
import io
import time
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from app.cli.answers import Package
from app.cli.client import Client, Refused, Unreachable

POLL_S = 0.25
SLOWEST_POLL_S = 2.0
PATIENCE_S = 30.0  # a service that restarts, or asks for a pause, goes on with the download afterwards


class Attempt(msgspec.Struct, frozen=True):
    """What pkgctl reads of an attempt."""

    number: int


@dataclass(frozen=True)
class Step:
    """The package as it was at a poll, and the text its log has grown by since the step before."""

    package: Package
    text: str
    log_bytes: int


class Log:
    """One attempt's log, the last one's when `attempt` is None; each reading continues where the one before stopped."""

    def __init__(self, client: Client, package_id: int, attempt: int | None = None) -> None:
        self.attempt = attempt
        self.offset = 0
        self._client = client
        self._path = f"/packages/{package_id}/log"
        # Both may be cut in two by the end of a reading: a character of several bytes, and CR LF.
        self._decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)

    def read(self) -> Iterator[str]:
        """Yields what there is and was not read yet."""
        for chunk in self._client.stream(self._path, {"attempt": self.attempt, "offset": self.offset}):
            self.offset += len(chunk)
            yield self._decoder.decode(chunk)

    def rest(self) -> str:
        """Returns what was held back for a continuation that will not come."""
        return self._decoder.decode(b"", final=True)


class Follower:
    """Reads a package's log and status until the download has ended.

    After a restart of the service the download goes on as a new attempt; unless `attempt` was asked for by the
    user (`pinned`) the follower goes on with that one. `package` is what the last poll found.
    """

    package: Package

    def __init__(self, client: Client, package_id: int, attempt: int | None = None, pinned: bool = False) -> None:
        self._client = client
        self._id = package_id
        self._pinned = pinned
        self._failing_since: float | None = None
        self._met = False
        self._log = Log(client, package_id, attempt)

    def steps(self) -> Iterator[Step]:
        """Yields a step for every piece of log, and one for every poll that brought nothing."""
        pause_s = POLL_S
        while True:
            before = self._log.offset
            try:
                self.package = self._client.get(f"/packages/{self._id}", Package)
                for text in self._log.read():
                    yield self._step(text)
                if self._ended(came=self._log.offset > before):
                    break
                self._failing_since, self._met = None, True
            except (Refused, Unreachable) as failure:
                self._endure(failure)
            if self._log.offset > before:
                pause_s = POLL_S
            else:
                yield self._step("")
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, SLOWEST_POLL_S)
        yield self._step(self._log.rest())

    def _step(self, text: str) -> Step:
        return Step(self.package, text, self._log.offset)

    def _ended(self, came: bool) -> bool:
        """Tells whether all is read; goes on with a newer attempt when there is one."""
        running = self.package.status == "downloading"
        if running and came:
            return False
        newest = self._newest()
        if newest in (None, self._log.attempt):
            return not running
        if self._pinned:
            return True
        if self._log.attempt is None:  # the service chose the last one by itself
            self._log.attempt = newest
            return not running
        self._log = Log(self._client, self._id, newest)
        return False

    def _newest(self) -> int | None:
        found = self._client.items(f"/packages/{self._id}/attempts")
        numbers = (msgspec.json.decode(attempt, type=Attempt).number for attempt in found)
        return max(numbers, default=None)

    def _endure(self, failure: Refused | Unreachable) -> None:
        """Raises `failure` unless it may pass: it was well before, and not long ago."""
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        passing = isinstance(failure, Unreachable) or failure.status in (429, 502, 503, 504)
        if not (self._met and passing) or now - self._failing_since > PATIENCE_S:
            raise failure
