"""Mail: to a server over SMTP, or into a folder from which people take it.

The standard library's mail modules are large, so they are imported with the first message.
"""

import asyncio
import ipaddress
import logging
import ssl
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import anyio
import msgspec

from app.config import Smtp
from app.durable import write_durably
from app.errors import Unavailable
from app.values import instant, now, seconds, unix

if TYPE_CHECKING:
    import smtplib
    from email.message import EmailMessage

log = logging.getLogger("purser.mail")

TIMEOUT_S = 20.0
"""For each step of a conversation with a mail server."""
_MOST_WORDS = 200


class MailFailed(Unavailable):
    """A message was not taken; `final` says that trying again will not help."""

    def __init__(self, detail: str, *, final: bool = False) -> None:
        super().__init__(detail)
        self.final = final


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message to one person. `name` is its own, `expires_at` is when it is of no use any more."""

    name: str
    to: str
    subject: str
    text: str
    expires_at: str


class Stored(Message, frozen=True, kw_only=True):
    """A message in the outbox."""

    created_at: str


class Mailer(Protocol):
    """Sends messages."""

    async def send(self, message: Message) -> None:
        """Hands a message over; MailFailed when it is not taken."""


class Outbox:
    """A folder of messages, each in a file that only the service's own user may read."""

    def __init__(self, folder: Path, sender: str) -> None:
        self._folder = folder
        self._sender = sender

    async def send(self, message: Message) -> None:
        """Writes the message to a file of its name."""
        from email import policy

        content = _composed(self._sender, message).as_bytes(policy=policy.default.clone(utf8=True))
        try:
            await anyio.to_thread.run_sync(write_durably, self._folder / f"{message.name}.eml", content)
        except OSError as error:
            raise MailFailed(f"The outbox cannot be written: {error.strerror}.") from None

    async def stored(self) -> list[Stored]:
        """The messages that are still of use, the oldest first. Unavailable when they cannot be read."""
        try:
            return await anyio.to_thread.run_sync(stored, self._folder)
        except OSError as error:
            raise Unavailable(f"The outbox cannot be read: {error.strerror}.") from None

    async def keep(self, names: Collection[str]) -> None:
        """Removes every message but these, and what was begun and never finished."""
        await anyio.to_thread.run_sync(self._keep, names)

    def _keep(self, names: Collection[str]) -> None:
        try:
            for path in self._folder.iterdir():
                if path.is_file() and (path.suffix != ".eml" or path.stem not in names):
                    path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("the outbox cannot be tidied", extra={"detail": error.strerror})


def stored(folder: Path) -> list[Stored]:
    """The messages in an outbox that are still of use, the oldest first; none where there is no such folder."""
    from email import message_from_bytes, policy
    from email.utils import parsedate_to_datetime

    found = []
    for path in folder.glob("*.eml"):
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # just removed
            continue
        try:
            parsed = message_from_bytes(content, policy=policy.default.clone(utf8=True))
            dates = [parsedate_to_datetime(str(parsed[name])) for name in ("Date", "Expires")]
            words = {name: str(parsed[name]) for name in ("to", "subject")}
            words["text"] = str(parsed.get_content()).replace("\r\n", "\n")
        except Exception:  # none of ours: the library's parser raises whatever it stumbles over
            log.warning("a file in the outbox is no letter", extra={"path": str(path)})
            continue
        created_at, expires_at = (instant(date.timestamp()) for date in dates)
        if expires_at > now():
            found.append(Stored(name=path.stem, **words, created_at=created_at, expires_at=expires_at))
    return sorted(found, key=lambda message: (message.created_at, message.name))


def _composed(sender: str, message: Message) -> "EmailMessage":
    """The message as it travels (RFC 5322; `Expires` is RFC 4021's). MailFailed for an address that cannot."""
    from email import policy
    from email.message import EmailMessage
    from email.utils import formatdate, make_msgid

    composed = EmailMessage(policy=policy.SMTPUTF8)
    try:
        composed["From"] = sender
        composed["To"] = message.to
        composed["Subject"] = message.subject
        composed["Date"] = formatdate(unix())
        composed["Expires"] = formatdate(seconds(message.expires_at))
        composed["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2].rstrip(">"))
        composed["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence answers
        composed.set_content(message.text)
        composed.as_bytes()
        to = [address.addr_spec for address in composed["To"].addresses]
    except Exception as error:  # the library's parser raises whatever it stumbles over
        raise MailFailed(f"A mail cannot be written: {type(error).__name__}.", final=True) from error
    if to != [message.to] or "=?" in message.to:  # encoded words could hide further headers and recipients
        raise MailFailed("A mail cannot be written: its address is none that mail can be sent to.", final=True)
    return composed


class MailServer:
    """A mail server, spoken to in a thread of its own for each message."""

    def __init__(self, server: Smtp, sender: str) -> None:
        self._server = server
        self._sender = sender

    async def send(self, message: Message) -> None:
        """Hands the message over. Who is cancelled leaves; the thread ends with its conversation or the process."""
        composed = _composed(self._sender, message)
        await _in_thread(lambda: self._deliver(composed, message.to))

    def _deliver(self, composed: "EmailMessage", to: str) -> None:
        import smtplib

        try:
            connection = self._connected()
        except smtplib.SMTPResponseException as error:
            raise _answered(error.smtp_code, error.smtp_error, final=False) from None
        except (OSError, smtplib.SMTPException, ValueError) as error:
            raise _unusable(error) from None
        try:
            connection.send_message(composed, to_addrs=[to])
        except smtplib.SMTPRecipientsRefused as error:
            code, text = next(iter(error.recipients.values()))
            raise _answered(code, text, final=code >= 500) from None
        except smtplib.SMTPResponseException as error:
            raise _answered(error.smtp_code, error.smtp_error, final=error.smtp_code >= 500) from None
        except smtplib.SMTPNotSupportedError as error:
            raise MailFailed(f"The mail server cannot take it: {error}.", final=True) from None
        except (OSError, smtplib.SMTPException, ValueError) as error:
            raise _unusable(error) from None
        else:
            with suppress(OSError, smtplib.SMTPException):  # the message is theirs already
                connection.quit()
        finally:
            connection.close()

    def _connected(self) -> "smtplib.SMTP":
        """A connection, encrypted as the settings want it, and signed in."""
        import smtplib

        server = self._server
        if server.tls == "implicit":
            context = ssl.create_default_context()
            connection: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT_S, context=context)
        else:
            connection = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S)
        try:
            self._protect(connection)
            if server.user is not None:
                connection.login(server.user, server.password or "")
        except BaseException:
            connection.close()
            raise
        return connection

    def _protect(self, connection: "smtplib.SMTP") -> None:
        """STARTTLS where it is wanted or offered; no password travels in clear but on the machine itself."""
        server = self._server
        if server.tls == "implicit" or (server.tls is None and _is_here(server.host)):
            return
        connection.ehlo_or_helo_if_needed()
        must = server.tls == "starttls" or server.user is not None
        if must or connection.has_extn("starttls"):
            connection.starttls(context=ssl.create_default_context() if must else _unverified())
            connection.ehlo()


def _unverified() -> ssl.SSLContext:
    """Better than nothing, where nothing was asked for: RFC 7435."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _answered(code: int, text: bytes | str, *, final: bool) -> MailFailed:
    words = text if isinstance(text, str) else text.decode(errors="replace")
    return MailFailed(f"The mail server answered {code} {words[:_MOST_WORDS]}.", final=final)


def _unusable(error: Exception) -> MailFailed:
    return MailFailed(f"The mail server cannot be used: {type(error).__name__}: {str(error)[:_MOST_WORDS]}.")


async def _in_thread(deliver: Callable[[], None]) -> None:
    """Runs a conversation that may hang, in a thread that the end of the process does not wait for."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: MailFailed | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        failed = None
        try:
            deliver()
        except MailFailed as error:
            failed = error
        except BaseException as error:  # whoever waits must hear of it
            log.error("a mail failed in an unknown way", exc_info=error)
            failed = MailFailed(f"A mail failed: {type(error).__name__}.", final=True)
        with suppress(RuntimeError):  # the loop has closed
            loop.call_soon_threadsafe(settle, failed)

    threading.Thread(target=run, name="purser-mail", daemon=True).start()
    await done
