"""Mails the codes that set new passwords, and takes back from the outbox what is of no use any more."""

import asyncio
import logging

from app.actor import CALLERS
from app.auth import recovery
from app.auth.structs import Letter, ResetRequest
from app.db import Database
from app.jobs import Worker, first_of
from app.mail import Mailer, MailFailed, Message, Outbox

log = logging.getLogger("purser.mail")

TEXT = """\
Hello {username},

somebody at {ip} asked for a new password for your account{place}.
This code sets one. It works once, until {expires_at} (UTC):

    {code}

On a command line:

    pkgctl passwd --code

or over HTTP:

    curl -X POST {url}/api/v1/auth/reset-password \\
        -H 'Content-Type: application/json' \\
        -d '{{"token": "{code}",
             "password": "the new one"}}'

If that was not you, there is nothing to do: your password stays as it is.
"""


class Letters:
    """The worker that sees to those who ask, one after the other."""

    def __init__(self, database: Database, mailer: Mailer, outbox: Outbox, public_url: str) -> None:
        self._database = database
        self._mailer = mailer
        self._outbox = outbox
        self._public_url = public_url
        self._kept: frozenset[str] | None = None
        self._worker: Worker | None = None

    def start(self) -> None:
        """Begins; what was asked for before the last stop is seen to now."""
        self._worker = worker = Worker("letters", self._next, self._see_to)
        for topic in (recovery.RESETS, CALLERS):  # a new password, another e-mail: codes that were mailed are dead
            self._database.subscribe(topic, lambda _: worker.bell.ring())

    async def stop(self) -> None:
        """Ends after the letter in hand, which is not waited for when the mail server hangs."""
        if self._worker is not None:
            await self._worker.stop()

    async def _next(self) -> ResetRequest | None:
        live = await self._database.read(recovery.live)
        if live != self._kept:
            await self._database.write(recovery.tidy)
            await self._outbox.keep(live)
            self._kept = live
        return await self._database.read(recovery.due)

    async def _see_to(self, request: ResetRequest) -> None:
        letter = await self._database.write(recovery.write_letter, request)
        if letter is None:
            return
        failed = await self._sent(letter)
        if failed is None:
            await self._database.write(recovery.sent, request, letter)
        else:
            log.warning("a mail was not taken", extra={"detail": failed.detail, "tries": request.tries + 1})
            await self._database.write(recovery.not_sent, request, letter, final=failed.final)

    async def _sent(self, letter: Letter) -> MailFailed | None:
        """Sends a letter; returns why it was not taken. A stop of the service does not wait for a server that hangs."""
        sending = asyncio.ensure_future(self._mailer.send(self._message(letter)))
        await first_of(asyncio.wait([sending]), self._stopping())
        if not sending.done():
            sending.cancel()
            return MailFailed("The service stops.")
        error = sending.exception()
        if error is None or isinstance(error, MailFailed):
            return error
        log.error("a mail failed in an unknown way", exc_info=error)
        return MailFailed(f"A mail failed: {type(error).__name__}.", final=True)

    async def _stopping(self) -> None:
        if self._worker is not None:
            await self._worker.stopping.wait()

    def _message(self, letter: Letter) -> Message:
        text = TEXT.format(
            username=letter.username,
            ip=letter.ip or "the appliance itself",
            place=f" at {self._public_url}" if self._public_url else "",
            code=letter.code,
            expires_at=letter.expires_at[11:16],
            url=self._public_url or "http://localhost:8000",
        )
        return Message(
            name=letter.name, to=letter.to, subject="A new password", text=text, expires_at=letter.expires_at
        )
