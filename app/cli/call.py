"""One call of pkgctl: what was asked, in which environment, with which screen."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from app.cli.answers import Pair, read
from app.cli.outcomes import Failed, Usage
from app.cli.output import Columns, Screen

if TYPE_CHECKING:
    from app.cli.client import Answer, Client
    from app.cli.sessions import Session, SessionFile

URL = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Call:
    """What every command is given. `arguments` are those of its own parser, beside the global ones."""

    arguments: argparse.Namespace
    environ: Mapping[str, str]
    screen: Screen

    @property
    def as_json(self) -> bool:
        """True when programs read the output."""
        return bool(getattr(self.arguments, "json", False))

    @property
    def token(self) -> str | None:
        """The token to present; None when nothing names one."""
        given: str | None = getattr(self.arguments, "token", None)
        if given is not None:
            return given
        if token := self.environ.get("PURSER_TOKEN"):
            return token
        if path := self.environ.get("PURSER_TOKEN_FILE"):
            return _first_line(path)
        return None

    @property
    def url(self) -> str:
        """The service that `--url` or `PURSER_URL` names."""
        return getattr(self.arguments, "url", None) or self.environ.get("PURSER_URL") or URL

    def session_file(self) -> "SessionFile | None":
        """Where `pkgctl login` keeps its sessions; None when the environment names no place."""
        from app.cli.sessions import SessionFile

        return SessionFile.of(self.environ)

    def session(self) -> "Session | None":
        """The session that was opened with the service; None without one."""
        from app.cli.client import Address, Client
        from app.cli.sessions import Session

        file = self.session_file()
        kept = file.read() if file is not None else {}
        if file is None or not kept:
            return None
        key = Address.parse(self.url).key

        def refresh(secret: str) -> Pair:
            return Client(self.url).send("POST", "/auth/refresh", body={"refresh_token": secret}).decode(Pair)

        return Session(file, key, kept[key], refresh) if key in kept else None

    def client(self, timeout_s: float | None = None, anonymous: bool = False, label: str | None = None) -> "Client":
        """Returns a client of the service with the token that was given, else with the session."""
        from app.cli.client import TIMEOUT_S, Client  # `pkgctl serve` stays without http.client and its 4 MiB

        token = None if anonymous else self.token
        session = self.session() if token is None and not anonymous else None
        return Client(self.url, token, timeout_s or TIMEOUT_S, session, label)

    def confirm(self, question: str, option: str) -> None:
        """Asks before what cannot be undone, unless `--yes` was said; Failed on any answer but yes."""
        if self.arguments.yes:
            return
        answer = self.screen.ask(f"{question} Type yes:")
        if answer is None:
            raise Usage(f"{option} asks first, and there is no terminal: say --yes as well")
        if answer != "yes":
            raise Failed("Nothing was deleted")

    def print_answer(self, content: bytes, success: str) -> None:
        """Prints the answer itself with --json, otherwise the line that tells people it worked."""
        if self.as_json:
            self.screen.json(content)
        else:
            self.screen.line(success)

    def print_fields(self, answer: "Answer") -> None:
        """Prints everything that an answer tells of one thing."""
        if self.as_json:
            self.screen.json(answer.content)
        else:
            self.screen.fields(answer.decode(dict[str, object]))

    def print_list(self, items: Sequence[msgspec.Raw], columns: Columns, none: str) -> None:
        """Prints a collection; for people, `none` goes to stderr when it is empty."""
        if self.as_json:
            self.screen.json(msgspec.json.encode(items))
        elif items:
            self.screen.table([read(item, dict[str, object], "an item of the list") for item in items], columns)
        else:
            self.screen.note(none)


def _first_line(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.readline(4096).strip()
    except OSError as error:
        raise Usage(f"PURSER_TOKEN_FILE: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Usage(f"PURSER_TOKEN_FILE: {path} is not text") from None
