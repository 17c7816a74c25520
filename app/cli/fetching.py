"""Fetching a file: to its place, over as many calls as that takes, or to standard output."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from app.cli.client import Client, Download
from app.cli.outcomes import Failed, Failure, Refused
from app.cli.output import Screen, size
from app.cli.parts import Part, left, local_name, refuse_existing
from app.cli.transfers import Meter

MOST_TRIES = 10
"""So many parts of what the file was before may be in the way."""


class Saved(NamedTuple):
    """A file that is here now."""

    place: Path
    size_bytes: int
    sha256: str


def print_file(screen: Screen, client: Client, path: str) -> None:
    """Writes the file at `path` of the API to stdout; Failed at the end when it was not what the service has."""
    with client.download(path) as told:
        meter, found = Meter(local_name(told.disposition), told.size_bytes), sha256()
        pieces = _heard(meter.counted(told.pieces), found.update)
        if screen.for_people:
            screen.content(pieces)
        else:
            with meter.shown(screen):
                screen.content(pieces)
    if found.hexdigest() != told.sha256:
        raise Failed("What has come is not what the service has: the SHA-256 differs")


def _heard(pieces: Iterable[bytes], hear: Callable[[bytes], object]) -> Iterator[bytes]:
    for piece in pieces:
        hear(piece)
        yield piece


class Fetch:
    """Brings the file at `path` of the API here: to `output`, or into it where that is a folder.

    Without `output` it goes into the folder in which we are, under the name that the service gives it.
    """

    def __init__(self, screen: Screen, client: Client, path: str, output: str | None, force: bool) -> None:
        self._screen = screen
        self._client = client
        self._path = path
        self._force = force
        named = output is not None and not Path(output).is_dir()
        self._place = Path(output) if output is not None and named else None
        self._folder = Path(output or ".")

    def run(self) -> Saved:
        """Returns the file when it is whole and right. What has come by the time of a failure is kept for next time."""
        if self._place is not None:
            if not self._place.parent.is_dir():
                raise Failed(f"{self._place.parent} is no folder")
            refuse_existing(self._place, self._force)
        for _ in range(MOST_TRIES):
            known = None if self._place is None else left(self._place)
            saved = self._begin() if self._place is None or known is None else self._go_on(self._place, known)
            if saved is not None:
                return saved
        raise Failed(f"{self._place} changes at the service faster than it can be fetched")

    def _begin(self) -> Saved | None:
        """Fetches the whole; None when a part of it is here already."""
        with self._client.download(self._path) as told:
            place = self._place or self._folder / local_name(told.disposition)
            refuse_existing(place, self._force)
            self._place = place
            with Part(place, told.sha256) as part:
                return None if part.size_bytes else self._receive(told, part)

    def _go_on(self, place: Path, known: str) -> Saved | None:
        """Fetches the rest; None when what was left is of no use any more, and gone."""
        with Part(place, known) as part:
            try:
                with self._client.download(self._path, part.size_bytes, known) as told:
                    if told.begin != part.size_bytes or told.sha256 != known:
                        part.restart()
                    return self._receive(told, part) if told.sha256 == known else None
            except Refused as refused:
                if refused.status != 416:
                    raise
                part.restart()
                return None

    def _receive(self, told: Download, part: Part) -> Saved:
        meter = Meter(part.place.name, told.size_bytes, part.size_bytes)
        try:
            with meter.shown(self._screen):
                for piece in meter.counted(told.pieces):
                    part.add(piece)
        except BaseException:
            with suppress(Failure):
                self._tell(part)
            raise
        part.complete(self._force)
        return Saved(part.place, part.size_bytes, part.sha256)

    def _tell(self, part: Part) -> None:
        if part.size_bytes:
            kept = f"{size(part.size_bytes)} are kept in {part.path}"
            self._screen.note(f"{kept}; the same command with -o {part.place} goes on from there")
