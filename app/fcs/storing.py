"""The way of an FCS file into the house: whole or in chunks, its bytes a blob, described before a row names it."""

import os
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from errno import EINVAL
from pathlib import Path
from stat import S_ISREG
from typing import IO, Protocol

import anyio

from app.actor import Actor
from app.blobs import PIECE_BYTES, Blobs, Limit
from app.db import Database
from app.errors import Invalid, NotFound, PurserError, StartError, TooLarge, TooMany
from app.fcs import parser, service, uploads
from app.fcs.layout import Description
from app.fcs.pages import Page
from app.fcs.structs import Chunk, FcsFile, Upload, UploadRow
from app.fcs.text import is_personal
from app.jobs import Locks

MOST_CHUNKS = 16
"""So many chunks of one account may be on their way."""
RETRY_S = 5


class Incoming(Protocol):
    """A file on its way, chunk by chunk."""

    name: str

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, to be read once, to the end."""


class Storing:
    """Takes FCS files in and hands their bytes out. One has at most `most_bytes`, an account keeps `quota_bytes`."""

    def __init__(self, database: Database, blobs: Blobs, most_bytes: int, quota_bytes: int) -> None:
        self._database = database
        self._blobs = blobs
        self._chunks: Counter[int] = Counter()
        self._locks = Locks()
        self.most_bytes = most_bytes
        self.quota_bytes = quota_bytes

    async def store(
        self, actor: Actor, incoming: Incoming, at_least: int, again: Callable[[], Awaitable[Actor]]
    ) -> FcsFile:
        """Makes a file of what comes, `at_least` so many bytes as is known; `again` tells in the end who sent it.

        Whatever goes wrong, nothing is left of it, and nothing reserved.
        """
        if at_least > self.most_bytes:
            raise TooLarge(f"An FCS file may have {self.most_bytes} bytes.", limit_bytes=self.most_bytes)
        self._blobs.refuse_without_space(at_least)
        upload = await self._database.write(service.begin, actor, at_least, self.most_bytes, self.quota_bytes)
        try:
            limit = Limit(upload.most_bytes, lambda: service.refusal(upload, self.quota_bytes))
            async with self._blobs.receive(incoming.chunks(), limit) as blob:
                described = await self.describe(blob.sha256)
                actor = await again()
                return await self._database.write(
                    service.finish, actor, upload.id, incoming.name, blob, described, self.quota_bytes
                )
        except BaseException:
            with suppress(PurserError):  # the service is stopping: its start gives up what is left
                self._database.post(service.abandon, upload.id)
            raise

    async def put_chunk(
        self,
        actor: Actor,
        upload_id: int,
        number: int,
        incoming: Incoming,
        declared: int | None,
        again: Callable[[], Awaitable[Actor]],
    ) -> Upload:
        """Keeps a chunk of an upload, of which `declared` bytes are said to come; None: nobody says how many."""
        length = await self._database.read(uploads.expected, actor, upload_id, number)
        if declared not in (None, length):
            raise _wrong_length(number, length)
        if self._chunks[actor.user_id] >= MOST_CHUNKS:
            raise TooMany(f"{MOST_CHUNKS} chunks of yours are on their way.", retry_after_s=RETRY_S)
        self._chunks[actor.user_id] += 1
        try:
            self._blobs.refuse_without_space(length)
            limit = Limit(length, lambda: _wrong_length(number, length))
            async with self._blobs.receive(incoming.chunks(), limit) as blob:
                upload, before = await self._database.write(uploads.put, await again(), upload_id, number, blob)
        finally:
            self._chunks[actor.user_id] -= 1
            self._chunks += Counter()  # forgets who has none on their way
        if before is not None:
            self._blobs.let_go([before])
        return upload

    async def complete(self, actor: Actor, upload_id: int) -> FcsFile:
        """The file that an upload is, once all its chunks are there; asked for again, the same one."""
        async with self._locks.of(str(actor.user_id)):  # each takes the disk for its whole length
            upload, chunks = await self._database.read(uploads.gathered, actor, upload_id)
            if upload.file_id is not None:
                return await self._database.write(uploads.complete_again, actor, upload_id)
            self._blobs.refuse_without_space(upload.size_bytes)
            try:
                file = await self._complete(actor, upload, chunks)
            except NotFound:  # a chunk that came again in this moment has let its former bytes go
                await self._database.read(uploads.unchanged, actor, upload_id, chunks)
                raise
        self._blobs.let_go(chunk.sha256 for chunk in chunks)
        return file

    async def _complete(self, actor: Actor, upload: UploadRow, chunks: Sequence[Chunk]) -> FcsFile:
        limit = Limit(upload.size_bytes, lambda: TooLarge("The chunks are longer than the upload."))
        async with self._blobs.receive(self._joined(chunks), limit) as blob:
            if upload.sha256 not in (None, blob.sha256):
                raise Invalid.field("/sha256", f"expected {upload.sha256}; the chunks together have {blob.sha256}")
            if blob.size_bytes != upload.size_bytes:
                raise NotFound("The bytes of this are gone.")
            described = await self.describe(blob.sha256)
            return await self._database.write(uploads.complete, actor, upload.id, chunks, blob, described)

    async def abort(self, actor: Actor, upload_id: int) -> None:
        """Gives an upload up, and lets its chunks go."""
        self._blobs.let_go(await self._database.write(uploads.abort, actor, upload_id))

    async def _joined(self, chunks: Sequence[Chunk]) -> AsyncIterator[bytes]:
        for chunk in chunks:
            async with aclosing(_pieces(await self._blobs.open(chunk.sha256))) as pieces:
                async for piece in pieces:
                    yield piece

    async def open(self, sha256: str) -> IO[bytes]:
        """The bytes that a file names, to read from."""
        return await self._blobs.open(sha256)

    async def describe(self, sha256: str) -> Description:
        """What a blob says of itself; Invalid where it is no FCS file."""
        return (await anyio.to_thread.run_sync(_parsed, await self._blobs.open(sha256))).description

    async def keywords(self, sha256: str, with_persons: bool) -> tuple[dict[str, str], list[str]]:
        """The keywords of a blob with their values; apart the names of those that tell who was examined, or by whom."""

        def told(file: IO[bytes]) -> tuple[dict[str, str], list[str]]:
            found = _parsed(file).keywords
            hidden = set() if with_persons else set(filter(is_personal, found))
            return {name: value for name, value in found.items() if name not in hidden}, sorted(hidden)

        return await anyio.to_thread.run_sync(told, await self._blobs.open(sha256))

    async def text(self, sha256: str, page: Page) -> bytes:
        """A short page of events as text."""

        def whole(file: IO[bytes]) -> bytes:
            with file:
                return b"".join(page.pieces(file))

        return await anyio.to_thread.run_sync(whole, await self._blobs.open(sha256))

    async def told(self, sha256: str, page: Page) -> AsyncGenerator[bytes, None]:
        """A page of events as text, piece by piece, each read and told in a thread."""
        return _told(page, await self._blobs.open(sha256))

    # at the start

    async def recover(self, default: Path | None) -> None:
        """Describes again what another version of the parser described, and keeps the appliance's own file."""
        after_id = 0
        while found := await self._database.read(service.outdated, after_id):
            for content in found:
                after_id = content.id
                with suppress(Invalid, NotFound):  # it stays as it was understood
                    described = await self.describe(content.sha256)
                    await self._database.write(service.describe_again, content.id, described)
        if default is None:
            await self._database.write(service.remove_default)
        else:
            await self._keep_default(default)

    async def _keep_default(self, path: Path) -> None:
        """StartError where the file cannot be read, or is no FCS file."""
        try:
            file = await anyio.to_thread.run_sync(_opened, path)
            limit = Limit(self.most_bytes, lambda: TooLarge(f"it has more than {self.most_bytes} bytes"))
            async with self._blobs.receive(_pieces(file), limit) as blob:
                described = await self.describe(blob.sha256)
                await self._database.write(service.replace_default, path.name, blob, described)
        except OSError as error:
            raise StartError(f"DEFAULT_FCS_FILE {path}: {error.strerror}") from None
        except PurserError as error:
            raise StartError(f"DEFAULT_FCS_FILE {path}: {error.detail}") from None


def _parsed(file: IO[bytes]) -> parser.Parsed:
    with file:
        return parser.parse(file)


async def _told(page: Page, file: IO[bytes]) -> AsyncGenerator[bytes, None]:
    with file:
        pieces = page.pieces(file)
        while (piece := await anyio.to_thread.run_sync(next, pieces, None)) is not None:
            yield piece


def _opened(path: Path) -> IO[bytes]:
    """The file to read from; OSError also for what would never end, or never begin."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NONBLOCK)

    file = open(path, "rb", buffering=0, opener=opener)  # noqa: SIM115 - closed by whoever reads it
    if not S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(EINVAL, "expected a file of bytes")
    return file


async def _pieces(file: IO[bytes]) -> AsyncGenerator[bytes, None]:
    """The bytes of an open file, which is closed in the end."""
    with file:
        while piece := await anyio.to_thread.run_sync(file.read, PIECE_BYTES):
            yield piece


def _wrong_length(number: int, length: int) -> Invalid:
    return Invalid(f"Chunk {number} of this upload has {length} bytes; expected a body of as many.")
