"""A mail server of the tests' own on a port of this machine, and an appliance whose people forget their passwords."""

import asyncio
import email
import re
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import policy
from email.message import EmailMessage
from pathlib import Path
from queue import Queue
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx2
from aiosmtpd.smtp import MISSING, SMTP, AuthResult, Envelope, LoginPassword, Session
from starlette.testclient import TestClient

from app import values
from app.main import create_app
from tests.accounts import Person
from tests.house import House
from tests.support import claim, configured, until

HANGS, CLOSES = "hangs", "closes"
USER, PASSWORD = "purser", "s3cret of the mail server"
ELSEWHERE = "0.0.0.0"
"""Leads to this machine like 127.0.0.1, and is no loopback address: a password must not travel there in clear."""
_CODE = re.compile(r"^    ([\w-]{43})$", re.MULTILINE)


def code_in(text: str) -> str:
    """The code that the text of a letter tells."""
    (code,) = _CODE.findall("\n".join(text.splitlines()))
    return str(code)


class Mail(NamedTuple):
    """A message that the server was given; whether it came encrypted, and from whom."""

    sender: str
    recipients: list[str]
    content: bytes
    secured: bool
    user: str | None

    @property
    def parsed(self) -> EmailMessage:
        return email.message_from_bytes(self.content, policy=policy.default)

    @property
    def code(self) -> str:
        return code_in(self.parsed.get_content())


class MailServer:
    """A mail server. `in_clear` is what came unencrypted, `conversations` how often somebody called.

    `answers` says what it does instead of greeting (CONNECT) or at EHLO, AUTH, MAIL, RCPT and DATA: a reply, HANGS or
    CLOSES.
    """

    def __init__(
        self,
        *,
        implicit: ssl.SSLContext | None = None,
        starttls: ssl.SSLContext | None = None,
        with_utf8: bool = True,
        auth: bool = False,
    ) -> None:
        self.answers: dict[str, str] = {}
        self.conversations = 0
        self.in_clear = b""
        self.port = 0
        self.hanging = threading.Semaphore(0)
        """Is released once for each conversation that has come to where it hangs."""
        self.rejected: list[Mail] = []
        """What it was given and did not take."""
        self._implicit = implicit
        self._starttls = starttls
        self._with_utf8 = with_utf8
        self._auth = auth
        self._mails: Queue[Mail] = Queue()
        self._ready = threading.Event()
        self._open: set[_Conversation] = set()

    def url(self, scheme: str = "smtp", host: str = "127.0.0.1", *, user: bool = False) -> str:
        who = f"{USER}:{quote(PASSWORD)}@" if user else ""
        return f"{scheme}://{who}{host}:{self.port}"

    def next(self) -> Mail:
        """The next message, as soon as there is one."""
        return self._mails.get(timeout=15)

    def has_none(self) -> bool:
        return self._mails.empty()

    def start(self) -> "MailServer":
        """Listens; again on the same port after a stop."""
        self._ready.clear()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def stop(self) -> None:
        """Ends, and every conversation with it."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopped.set)
            self._thread.join(10)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        listening = await self._loop.create_server(self._conversation, "127.0.0.1", self.port, ssl=self._implicit)
        self.port = listening.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopped.wait()
        listening.close()
        for one in self._open:
            if one.transport is not None:
                one.transport.abort()  # type: ignore[attr-defined]
        self._open.clear()
        await asyncio.sleep(0)

    def _conversation(self) -> "_Conversation":
        self.conversations += 1
        made = _Conversation(
            self,
            hostname="mail.example",
            enable_SMTPUTF8=self._with_utf8,
            tls_context=self._starttls,
            auth_require_tls=not self._auth,
            authenticator=self._authenticate,
            auth_exclude_mechanism=() if self._auth else ("PLAIN", "LOGIN"),
            loop=self._loop,
        )
        self._open.add(made)
        return made

    def _authenticate(self, server: SMTP, session: Session, envelope: Envelope, way: str, given: Any) -> AuthResult:
        right = given == LoginPassword(USER.encode(), PASSWORD.encode()) and "AUTH" not in self.answers
        session.login_name = USER if right else None  # type: ignore[attr-defined]
        return AuthResult(success=right, handled=False, message=self.answers.get("AUTH"))

    async def answer(self, server: SMTP, command: str) -> Any:
        """What is answered instead, MISSING for nothing."""
        answer = self.answers.get(command, MISSING)
        if answer is HANGS:
            self.hanging.release()
            await asyncio.Event().wait()
        if answer is CLOSES:
            assert server.transport is not None
            server.transport.abort()  # type: ignore[attr-defined]
            await asyncio.Event().wait()
        return answer

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        answer = await self.answer(server, "EHLO")
        return responses if answer is MISSING else [answer]

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> Any:
        return await self.answer(server, "MAIL")

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> Any:
        return await self.answer(server, "RCPT")

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content, sender = envelope.original_content, envelope.mail_from
        assert content is not None
        assert sender is not None
        user = getattr(session, "login_name", None)
        mail = Mail(sender, [str(one) for one in envelope.rcpt_tos], content, is_secured(server), user)
        if "DATA" in self.answers:
            self.rejected.append(mail)
        answer = await self.answer(server, "DATA")
        if answer is not MISSING:
            return str(answer)
        self._mails.put(mail)
        return "250 taken"


def is_secured(conversation: SMTP) -> bool:
    """Whether what comes now comes encrypted."""
    transport = conversation.transport
    return transport is not None and transport.get_extra_info("sslcontext") is not None


class _Conversation(SMTP):
    def __init__(self, server: MailServer, **how: Any) -> None:
        super().__init__(server, **how)
        self._server = server

    async def _handle_client(self) -> None:
        answer = await self._server.answer(self, "CONNECT")
        if answer is MISSING:
            await super()._handle_client()
            return
        await self.push(str(answer))
        assert self.transport is not None
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        if not is_secured(self):
            self._server.in_clear += data
        super().data_received(data)


class Certificates(NamedTuple):
    """A throw-away authority's own certificate, and what servers show that it vouches for, or that nobody does."""

    authority: Path
    here: ssl.SSLContext
    another_name: ssl.SSLContext
    self_signed: ssl.SSLContext


HERE = f"DNS:localhost,IP:127.0.0.1,IP:{ELSEWHERE}"


def certificates(folder: Path) -> Certificates:
    """Makes them with the openssl program."""
    authority = ["-CA", "authority.pem", "-CAkey", "authority.key"]

    def shown(name: str, names: str, by: list[str]) -> ssl.SSLContext:
        leaf = ["-addext", f"subjectAltName={names}", "-addext", "basicConstraints=critical,CA:FALSE"]
        _certificate(folder, name, *leaf, *by)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
        return context

    _certificate(folder, "authority")
    return Certificates(
        folder / "authority.pem",
        shown("here", HERE, authority),
        shown("another", "DNS:mail.example", authority),
        shown("alone", HERE, []),
    )


def _certificate(folder: Path, name: str, *more: str) -> None:
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", f"{name}.key"]
    made = ["openssl", "req", "-x509", *key, "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN={name}", *more]
    subprocess.run(made, cwd=folder, check=True, capture_output=True)


class Office(House):
    """A house whose people forget their passwords."""

    def forgot(self, address: str, **headers: str) -> httpx2.Response:
        """Asks for a new password as a stranger."""
        return self.post("forgot-password", {"email": address}, {"Authorization": "", **headers})

    def asks(self, address: str) -> None:
        """A new password is asked for, and whoever asked has been seen to, as far as that goes now."""
        answer = self.forgot(address)
        assert (answer.status_code, answer.json()) == (202, {})
        self.settle()

    def wake(self) -> None:
        """Has the service look whether something is due: it does whenever anybody asks."""
        self.asks("nobody@nowhere.example")

    def settle(self) -> None:
        """Waits until nothing is due."""
        due = "SELECT id FROM password_reset_requests WHERE due_at <= ?"
        until(lambda: not self.rows(due, values.now()), "everything due has been seen to")

    def letters(self, address: str = "") -> list[dict[str, Any]]:
        """The letters in the outbox, to this address."""
        answer = self.client.get("/api/v1/system/outbox")
        assert answer.status_code == 200, answer.text
        return [letter for letter in answer.json() if address in ("", letter["to"])]

    def code(self, person: Person) -> str:
        """The code of a letter that this person asks for now."""
        self.asks(address_of(person))
        return code_in(self.letters(address_of(person))[-1]["text"])

    def reset(self, code: str, password: str) -> httpx2.Response:
        return self.post("reset-password", {"token": code, "password": password})

    def waiting(self) -> int:
        return len(self.rows("SELECT id FROM password_reset_requests"))


def address_of(person: Person) -> str:
    return f"{person.username}@example.com"


@contextmanager
def office(folder: Path, token: str = "", **settings: str) -> Iterator[Office]:
    """A claimed appliance in this folder; `token` is that of its super admin when it has run there before."""
    config = configured(folder / "data", **settings)
    app = create_app(config)
    with TestClient(app, client=("127.0.0.1", 50000)) as client:
        client.headers["Authorization"] = f"Token {token or claim(client)}"
        yield Office(client, app, config)
