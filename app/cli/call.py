"""One call of pkgctl: what was asked, in which environment, with which screen."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from app.cli.answers import read
from app.cli.outcomes import Usage
from app.cli.output import Columns, Screen

if TYPE_CHECKING:
    from app.cli.client import Client

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

    def client(self, timeout_s: float | None = None, anonymous: bool = False) -> "Client":
        """Returns a client of the service that `--url` or `PURSER_URL` names."""
        from app.cli.client import TIMEOUT_S, Client  # `pkgctl serve` stays without http.client and its 4 MiB

        url: str = getattr(self.arguments, "url", None) or self.environ.get("PURSER_URL") or URL
        return Client(url, None if anonymous else self.token, timeout_s or TIMEOUT_S)

    def print_answer(self, content: bytes, success: str) -> None:
        """Prints the answer itself with --json, otherwise the line that tells people it worked."""
        if self.as_json:
            self.screen.json(content)
        else:
            self.screen.line(success)

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
