"""The way of an upload: a row that reserves its place, the bytes, the row that is the file."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import IO, Protocol

from app.actor import Actor
from app.blobs import Blobs, Limit
from app.db import Database
from app.errors import PurserError, TooLarge
from app.files import service
from app.files.structs import File, FileUpload
from app.values import new_secret


class Incoming(Protocol):
    """A file on its way, chunk by chunk."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes, to be read once, to the end."""


class Storing:
    """Takes uploads in and hands bytes out. A file has at most `most_bytes`, an account keeps at most `quota_bytes`."""

    def __init__(self, database: Database, blobs: Blobs, most_bytes: int, quota_bytes: int) -> None:
        self._database = database
        self._blobs = blobs
        self.most_bytes = most_bytes
        self.quota_bytes = quota_bytes

    async def recover(self) -> None:
        """Gives up what was on its way when the service ended."""
        await self._database.write(service.abandon_all)

    async def store(
        self,
        actor: Actor,
        incoming: Incoming,
        at_least: int,
        folder_id: int | None,
        said: Callable[[], Awaitable[tuple[Actor, FileUpload]]],
    ) -> File:
        """Makes a file of what comes, `at_least` so many bytes as is known. When it is all there, `said` tells who has
        sent it and what is said of it.

        Whatever goes wrong, nothing is left of it, and nothing reserved.
        """
        if at_least > self.most_bytes:
            raise TooLarge(f"A file may have {self.most_bytes} bytes.", limit_bytes=self.most_bytes)
        self._blobs.refuse_without_space(at_least)
        upload = await self._database.write(
            service.begin, actor, folder_id, at_least, self.most_bytes, self.quota_bytes
        )
        try:
            limit = Limit(upload.most_bytes, lambda: service.refusal(upload, self.quota_bytes))
            async with self._blobs.receive(incoming.chunks(), limit) as blob:
                actor, found = await said()
                return await self._database.write(service.finish, actor, upload.id, found, blob, self.quota_bytes)
        except BaseException:
            with suppress(PurserError):  # the service is stopping: its start gives up what is left
                self._database.post(service.abandon, upload.id)
            raise

    def new_link(self) -> str:
        """What a link is known by: 256 random bits."""
        return new_secret()

    async def open(self, sha256: str) -> IO[bytes]:
        """The bytes that a file names, to read from."""
        return await self._blobs.open(sha256)
