"""Reading the log of a download: as far as it has come, or as it is written, until the download has ended."""

import codecs
import io
import time
from collections.abc import Iterable, Iterator

from app.cli.answers import EndEvent, LogEvent, Package, StatusEvent, read
from app.cli.client import Client
from app.cli.events import MEDIA_TYPE, SHORTEST_RETRY_S, Event, EventReader
from app.cli.outcomes import NotPurser, Refused, Unreachable

PATIENCE_S = 30.0  # a service that restarts, or asks for a pause, goes on with the download afterwards
SILENCE_S = 30.0  # the service lets itself be heard every ten seconds
LIVE = {"queued": "queued", "running": "building"}
_PASSING = (429, 502, 503, 504)


def logged(client: Client, package_id: int, attempt: int | None) -> Iterator[str]:
    """Yields the log of one attempt, the last one by default, as far as it has come."""
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
    with client.stream(f"/packages/{package_id}/log", {"attempt": attempt}) as pieces:
        for piece in pieces or ():
            yield decoder.decode(piece)
    yield decoder.decode(b"", final=True)


class Patience:
    """Bears with a service that restarts or asks for a pause, unless that lasts for `PATIENCE_S`."""

    def __init__(self) -> None:
        self._since: float | None = None

    @property
    def tried(self) -> bool:
        """Whether the service has not been heard since something failed."""
        return self._since is not None

    def heard(self) -> None:
        """The service is there."""
        self._since = None

    def endure(self, failure: Refused | Unreachable, pause_s: float) -> None:
        """Waits for `pause_s`, or as the service asks; raises `failure` when that is no use, or has been too long."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
        left_s = self._since + PATIENCE_S - now
        passing = failure.status in _PASSING if isinstance(failure, Refused) else not isinstance(failure, NotPurser)
        if not passing or left_s <= 0:
            raise failure
        asked_s = failure.retry_after_s if isinstance(failure, Refused) else None
        time.sleep(min(pause_s if asked_s is None else max(asked_s, SHORTEST_RETRY_S), left_s))


class Follower:
    """Reads a package's log as it is written, over as many connections as that takes.

    After a restart of the service the download goes on as a new attempt, and so does the follower, unless it is to stay
    with the one it began with (`pinned`). `state` and `log_bytes` say how far it has come; `outcome` is how it ended.
    """

    def __init__(self, client: Client, package_id: int, attempt: int | None = None, pinned: bool = False) -> None:
        self.log_bytes = 0
        self.outcome: StatusEvent | None = None
        self._client = client
        self._path = f"/packages/{package_id}"
        self._pinned = pinned
        self._status = "queued"
        self._patience = Patience()
        self._reader = EventReader(None if attempt is None else f"{attempt}.0.0")
        self._newlines = io.IncrementalNewlineDecoder(None, translate=True)  # CR LF may come in two events

    @property
    def state(self) -> str:
        """What the download is doing, in a word."""
        return "reconnecting" if self._patience.tried else LIVE.get(self._status, self._status)

    def texts(self) -> Iterator[str]:
        """Yields the log as it comes, and an empty text when there is news without any; raises when it cannot go on."""
        while True:
            try:
                yield from self._connection()
                return
            except (Refused, Unreachable) as failure:
                self._patience.endure(failure, self._reader.retry_s)

    def _connection(self) -> Iterator[str]:
        """Yields what one connection brings; returns when nothing will follow, raises when it breaks off."""
        query = {"since": self._reader.last_id}
        with self._client.stream(f"{self._path}/events", query, MEDIA_TYPE, SILENCE_S) as pieces:
            for event in self._reader.events(self._heard(pieces or ())):
                if event.kind == "end":
                    self._end(read(event.data, EndEvent, "an end event").reason)
                    return
                yield self._text(event)
                if self.outcome is not None:
                    return
            if pieces is not None:
                raise Unreachable("The service ended the stream without a reason")
        self._end("finished")

    def _heard(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._patience.heard()
            yield piece

    def _text(self, event: Event) -> str:
        """The text that an event adds to the log; notes what else it tells. Events of other kinds say nothing to us."""
        if event.kind == "log":
            log = read(event.data, LogEvent, "a log event")
            self.log_bytes = log.offset + len(log.text.encode())
            return self._newlines.decode(log.text)
        if event.kind != "status":
            return ""
        told = read(event.data, StatusEvent, "a status event")
        self._status = told.status
        if told.status in LIVE:
            return ""
        if self._pinned or told.package_status != "downloading":
            self.outcome = told
        else:
            self.log_bytes = 0
        return self._newlines.decode("", final=True)

    def _end(self, reason: str) -> None:
        """Returns when nothing will follow; otherwise raises, and `Patience` decides.

        Asking for the package is refused where that is why, in the service's own words; and it renews a session whose
        access token has ended, with which the next connection goes on.
        """
        if reason in ("finished", "deleted", "revoked"):
            self._client.get(self._path, Package)
        if reason != "finished":
            raise Unreachable(f"The service ended the stream: {reason}")
