"""Content-addressed bytes on disk: `blobs/aa/bb/<sha256>`, written whole or not at all, however often uploaded.

Rows name blobs; rooms never remove one. The sweeper removes a blob that no row of any room names and that has been
there for an hour. Between the end of its upload and the row that names it, a blob is held.
"""

import asyncio
import errno
import logging
import os
import re
import shutil
import threading
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import IO

import anyio
import msgspec

from app import values
from app.db import Database, Tx
from app.durable import sync_folder
from app.errors import NoSpace, NotFound, PurserError
from app.jobs import Bell, first_of
from app.values import new_number

log = logging.getLogger("purser.blobs")

Named = Callable[[Tx, Sequence[str]], list[str]]
"""Which of these blobs the rows of a room name."""

INCOMING = "incoming"
PIECE_BYTES = 256 * 1024
"""So much of an upload is gathered before it goes to the disk, and is all of it that is in memory."""
LOOK_BYTES = 16 * 2**20
"""After so many bytes the free space is looked at again."""
HEAD_BYTES = 4096
"""So much of the beginning is handed on: its type is told from it."""
AGE_S = 3600.0
AT_ONCE = float("-inf")
SWEEP_S = 3600.0
TOGETHER = 500
_OUTER = re.compile("[0-9a-f]{2}")
_BLOB = re.compile("[0-9a-f]{64}")


class Blob(msgspec.Struct, frozen=True):
    """Bytes that have been received; `head` is how they begin."""

    sha256: str
    size_bytes: int
    head: bytes


class Blobs:
    """The folder of blobs. `min_free_bytes` of its disk stay free."""

    def __init__(self, folder: Path, min_free_bytes: int = 0) -> None:
        self.folder = folder
        self._min_free_bytes = min_free_bytes
        self._held: Counter[str] = Counter()
        self._turn = asyncio.Lock()
        self._doubted: set[str] = set()
        self.doubt = Bell()
        """Rings when an upload was refused after all: nobody may come to name its bytes."""

    def path(self, sha256: str) -> Path:
        """Where a blob lies."""
        return self.folder / sha256[:2] / sha256[2:4] / sha256

    async def open(self, sha256: str) -> IO[bytes]:
        """A blob to read from; it stays readable when it is removed meanwhile. NotFound when it is not there."""
        try:
            return await anyio.to_thread.run_sync(lambda: self.path(sha256).open("rb", buffering=0))
        except FileNotFoundError:
            log.error("a blob is missing", extra={"sha256": sha256})
            raise NotFound("The bytes of this are gone.") from None

    @asynccontextmanager
    async def receive(self, chunks: AsyncIterator[bytes], limit: "Limit") -> AsyncIterator[Blob]:
        """Keeps what comes and gives the blob, held until the block ends: by then a row names it.

        Raises the limit's refusal as soon as it is passed, NoSpace when the disk is full, and what `chunks` raises;
        nothing is left behind then.
        """
        arriving = _Arriving(self.folder / INCOMING / new_number())
        held: str | None = None
        try:
            await anyio.to_thread.run_sync(arriving.open)
            await self._gather(chunks, limit, arriving)
            blob = arriving.blob()
            held = blob.sha256
            self._held[held] += 1
            async with self._turn:
                await anyio.to_thread.run_sync(arriving.install, self.path(held))
            yield blob
        except BaseException as error:
            if held is not None and isinstance(error, Exception):  # of a cancelled call the row may still be written
                self.let_go([held])
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpace("The disk is full.") from error
            raise
        finally:
            if held is not None:
                self._held -= Counter([held])
                if held in self._doubted:
                    self.doubt.ring()
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, arriving.discard))

    async def _gather(self, chunks: AsyncIterator[bytes], limit: "Limit", arriving: "_Arriving") -> None:
        """Brings what comes to the disk, in pieces that are worth a trip there."""
        size, looked, piece = 0, 0, bytearray()
        self.refuse_without_space(0)
        async for chunk in chunks:
            size += len(chunk)
            if size > limit.most_bytes:
                raise limit.refusal()
            piece += chunk
            if len(piece) >= PIECE_BYTES:
                await anyio.to_thread.run_sync(arriving.add, piece)
                piece = bytearray()
            if size - looked >= LOOK_BYTES:
                looked = size
                self.refuse_without_space(0)
        await anyio.to_thread.run_sync(arriving.add, piece)

    def refuse_without_space(self, needed_bytes: int) -> None:
        """NoSpace when so many bytes more would leave less than `min_free_bytes`."""
        free = shutil.disk_usage(self.folder).free
        if free - needed_bytes < self._min_free_bytes:
            raise NoSpace(
                f"The disk has {free} bytes left, of which {self._min_free_bytes} stay free.",
                needed_bytes=needed_bytes,
                free_bytes=max(0, free - self._min_free_bytes),
            )

    def prepare(self) -> None:
        """Removes what uploads left behind when the service was killed; nothing may be arriving."""
        incoming = self.folder / INCOMING
        incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in incoming.iterdir():
            path.unlink()

    async def sweep(self, database: Database, rooms: Sequence[Named], stopping: asyncio.Event) -> int:
        """Removes the old blobs that no room names; how many."""
        removed = 0
        for outer in await anyio.to_thread.run_sync(_folders, self.folder):
            if stopping.is_set():
                break
            old = await anyio.to_thread.run_sync(_older, outer, values.clock() - AGE_S)
            for start in range(0, len(old), TOGETHER):
                removed += await self._sweep(database, rooms, old[start : start + TOGETHER], AGE_S)
        return removed

    def let_go(self, blobs: Iterable[str]) -> None:
        """Has blobs removed soon that something named until now, unless something else does."""
        self._doubted.update(blobs)
        self.doubt.ring()

    async def sweep_doubted(self, database: Database, rooms: Sequence[Named]) -> None:
        """Removes what uploads have brought that were refused after all, and what was let go, unless a row names it."""
        doubted, self._doubted = self._doubted, set()
        try:
            if doubted:
                await self._sweep(database, rooms, list(doubted), AT_ONCE)
        except BaseException:
            self._doubted |= doubted
            raise
        self._doubted |= doubted & self._held.keys()

    async def _sweep(self, database: Database, rooms: Sequence[Named], old: Sequence[str], age_s: float) -> int:
        """No upload ends meanwhile: what is asked about here is neither named nor made young before it is removed."""
        async with self._turn:
            free = [sha256 for sha256 in old if sha256 not in self._held]
            named = await database.read(_named, rooms, free)
            lost = [sha256 for sha256 in free if sha256 not in named]
            return await anyio.to_thread.run_sync(self._remove, lost, values.clock() - age_s)

    def _remove(self, lost: Sequence[str], before: float) -> int:
        removed = 0
        for blob in lost:
            path = self.path(blob)
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()
                    removed += 1
        return removed


class Limit(msgspec.Struct, frozen=True):
    """How many bytes are taken, and what is raised when more come."""

    most_bytes: int
    refusal: Callable[[], PurserError]


class Sweeper:
    """A task that sweeps at the start and every hour, and after uploads that were refused in the end.

    `rooms` say which blobs their rows name.
    """

    def __init__(self, blobs: Blobs, database: Database, rooms: Sequence[Named]) -> None:
        self._blobs = blobs
        self._database = database
        self._rooms = rooms
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins with a sweep."""
        self._task = asyncio.create_task(self._run(), name="blob-sweeper")

    async def stop(self) -> None:
        """Ends after the folder in hand."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        due = monotonic()
        while not self._stopping.is_set():
            rung = self._blobs.doubt.next()
            try:
                await self._blobs.sweep_doubted(self._database, self._rooms)
                if monotonic() >= due:
                    due = monotonic() + SWEEP_S
                    await self._sweep_all()
            except (PurserError, OSError) as error:  # the database is busy or closing, or the disk ails: later again
                log.warning("blobs are not swept for now", extra={"detail": str(error)})
            await first_of(rung.wait(), self._stopping.wait(), timeout_s=max(1.0, due - monotonic()))

    async def _sweep_all(self) -> None:
        began = monotonic()
        removed = await self._blobs.sweep(self._database, self._rooms, self._stopping)
        if removed:
            log.info("blobs removed", extra={"count": removed, "ms": round((monotonic() - began) * 1000)})


class _Arriving:
    """A file that grows. Its methods run in threads; one that nobody waits for any more still has its turn."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._over = False
        self._turn = threading.Lock()
        self._hash = sha256()
        self._head = b""
        self._size_bytes = 0

    def open(self) -> None:
        with self._turn:
            if not self._over:
                self._file = open(  # noqa: SIM115 - closed by `discard`
                    self._path, "xb", buffering=0, opener=lambda name, flags: os.open(name, flags, 0o600)
                )

    def add(self, piece: bytearray) -> None:
        with self._turn:
            if self._file is None:
                return
            self._hash.update(piece)
            view = memoryview(piece)
            while view:
                view = view[self._file.write(view) :]
            if len(self._head) < HEAD_BYTES:
                self._head += bytes(piece[: HEAD_BYTES - len(self._head)])
            self._size_bytes += len(piece)

    def blob(self) -> Blob:
        return Blob(self._hash.hexdigest(), self._size_bytes, self._head)

    def install(self, place: Path) -> None:
        """Puts the bytes where they belong; what is there already is only made young again."""
        with self._turn:
            if self._file is None:
                return
            with suppress(FileNotFoundError):
                if place.stat().st_size == self._size_bytes:
                    os.utime(place)
                    return
            os.fsync(self._file.fileno())
            for folder in (place.parent.parent, place.parent):
                if not folder.exists():
                    folder.mkdir(mode=0o700, exist_ok=True)
                    sync_folder(folder.parent)
            self._path.rename(place)
            sync_folder(place.parent)

    def discard(self) -> None:
        """Closes the file, and removes it unless it was installed."""
        with self._turn:
            self._over = True
            if self._file is not None:
                self._file.close()
                self._file = None
                self._path.unlink(missing_ok=True)


def _named(tx: Tx, rooms: Sequence[Named], blobs: Sequence[str]) -> set[str]:
    return {sha256 for named in rooms for sha256 in named(tx, blobs)}


def _folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(
            entry.path for entry in entries if _OUTER.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
        )


def _older(outer: str, before: float) -> list[str]:
    """The blobs below a folder that were there before an instant of the machine's own clock."""
    found = []
    for inner in _folders(Path(outer)):
        with os.scandir(inner) as entries:
            blobs = [entry for entry in entries if _BLOB.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)]
            found += [entry.name for entry in blobs if entry.stat(follow_symlinks=False).st_mtime < before]
    return found
