"""Server-sent events as they come over a connection: WHATWG HTML, 9.2."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from app.cli.outcomes import NotPurser

MEDIA_TYPE = "text/event-stream"
LIMIT_BYTES = 1024 * 1024  # an event holds 64 KiB of log, and JSON writes a byte as six at most
RETRY_S = 1.0
SHORTEST_RETRY_S = 0.1
_FIELDS = (b"id", b"event", b"data", b"retry")  # anything else is a comment, or not known yet


class Event(NamedTuple):
    """One event; `data` is what it holds, as it was sent."""

    kind: str
    data: bytes


class EventReader:
    """Reads events over one connection after the other.

    `last_id` is that of the last event that came whole: behind it the next connection continues. `retry_s` is how long
    the server wants us to wait before that.
    """

    def __init__(self, last_id: str | None) -> None:
        self.last_id = last_id
        self.retry_s = RETRY_S

    def events(self, pieces: Iterable[bytes]) -> Iterator[Event]:
        """Yields the events of one connection; one that breaks off in the middle is none."""
        for fields in _blocks(pieces):
            retry = fields.get(b"retry", [b""])[-1]
            if re.fullmatch(rb"[0-9]{1,9}", retry):
                self.retry_s = max(int(retry) / 1000, SHORTEST_RETRY_S)
            if b"id" in fields:
                self.last_id = fields[b"id"][-1].decode("utf-8", "replace")
            if b"data" in fields:
                kind = fields.get(b"event", [b"message"])[-1]
                yield Event(kind.decode("utf-8", "replace"), b"\n".join(fields[b"data"]))


def _blocks(pieces: Iterable[bytes]) -> Iterator[dict[bytes, list[bytes]]]:
    """Yields the values of each field of every block of lines that is whole."""
    fields: dict[bytes, list[bytes]] = {}
    size = 0
    for line in _lines(pieces):
        name, _, value = line.partition(b":")
        if not line:
            yield fields
            fields, size = {}, 0
        elif name in _FIELDS:
            fields.setdefault(name, []).append(value.removeprefix(b" "))
            size += len(line) + 1
            if size > LIMIT_BYTES:
                raise _endless()


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yields the lines that are whole, without their ends."""
    begun = bytearray()
    for piece in pieces:
        *ends, rest = piece.split(b"\n")
        for end in ends:
            yield bytes(begun + end).removesuffix(b"\r")
            begun.clear()
        begun += rest
        if len(begun) > LIMIT_BYTES:
            raise _endless()


def _endless() -> NotPurser:
    return NotPurser(f"an event of more than {LIMIT_BYTES} bytes")
