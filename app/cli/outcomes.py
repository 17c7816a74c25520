"""How a call of pkgctl ends: the exit codes, and the errors that lead to them."""

from collections.abc import Sequence
from typing import ClassVar

OK = 0
REFUSED = 1
USAGE = 2
UNREACHABLE = 3
INTERRUPTED = 130  # 128 + SIGINT, what a shell reports
BROKEN_PIPE = 141  # 128 + SIGPIPE


class Failure(Exception):
    """Ends the call with `exit_code`; str() is one line for people."""

    exit_code: ClassVar[int] = REFUSED

    def lines(self) -> list[str]:
        """What goes to stderr, without the program's name."""
        return [str(self)]


class Failed(Failure):
    """The command was understood and carried out, and did not succeed."""


class Usage(Failure):
    """The command line or the environment makes no sense; nothing was tried."""

    exit_code = USAGE


class Unreachable(Failure):
    """Nobody answers at the URL, or what answers is not Purser."""

    exit_code = UNREACHABLE


class NotPurser(Unreachable):
    """What answers is not Purser: to try again would not help."""

    def __init__(self, why: str) -> None:
        super().__init__(f"Not Purser's API: {why}")


class PipeClosed(Failure):
    """Whoever read our output has gone (`| head`): no reason to complain."""

    exit_code = BROKEN_PIPE

    def lines(self) -> list[str]:
        return []


class Refused(Failure):
    """The server answered, and said no.

    `errors` are pairs of field and message, as in `("/version", "is no version")`.
    `code` is empty when the answer was no problem document, `retry_after_s` None when it names no time.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        code: str = "",
        errors: Sequence[tuple[str, str]] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(": ".join(part for part in (title, detail) if part))
        self.status = status
        self.title = title
        self.detail = detail
        self.code = code
        self.errors = list(errors)
        self.retry_after_s = retry_after_s

    def lines(self) -> list[str]:
        named = [f"{field}: {message}" for field, message in self.errors]
        return [self._told(), *(f"  {line}" for line in named if line != self.detail)]

    def _told(self) -> str:
        """Why not, and when to come back, where the service did not put that into words."""
        if self.retry_after_s is None or f" {self.retry_after_s:.0f} s" in self.detail:
            return str(self)
        return f"{self} (try again in {self.retry_after_s:.0f} s)"
