"""How commands are declared: the options they share, and the words that stand for ids and numbers."""

import argparse
import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

from app.cli.call import URL, Call

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Run: TypeAlias = Callable[[Call], int]


def everywhere(token: bool = True) -> argparse.ArgumentParser:
    """Returns the global options, to be accepted before the command and after it.

    They have no default of their own: the parser that runs last would overwrite what the first one found.
    """
    parent = argparse.ArgumentParser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    group = parent.add_argument_group("global options")
    group.add_argument("--url", help=f"the service: http://host:port, https://host or unix:/path (PURSER_URL; {URL})")
    group.add_argument("--json", action="store_true", help="print the server's JSON")
    if token:
        group.add_argument(
            "--token",
            help="the access token; the process list shows it, so prefer PURSER_TOKEN or PURSER_TOKEN_FILE",
        )
    return parent


def command(
    commands: Commands,
    name: str,
    run: Run,
    summary: str,
    parents: Sequence[argparse.ArgumentParser] | None = None,
) -> argparse.ArgumentParser:
    """Adds a command that `run` carries out; returns its parser for what it takes beside the global options."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        parents=[everywhere()] if parents is None else parents,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    return parser


def identifier(word: str) -> int:
    """Returns the id that `word` writes; the API knows ids of 1 to 18 digits."""
    if not re.fullmatch(r"[0-9]{1,18}", word):
        raise argparse.ArgumentTypeError(f"{word!r} is no id")
    return int(word)


def positive(word: str) -> int:
    """Returns a whole number from 1 on."""
    if not re.fullmatch(r"[0-9]{1,9}", word) or int(word) == 0:
        raise argparse.ArgumentTypeError(f"{word!r} is no whole number above 0")
    return int(word)


def port(word: str) -> int:
    """Returns a TCP port; 0 takes a free one."""
    if not re.fullmatch(r"[0-9]{1,5}", word) or int(word) > 65535:
        raise argparse.ArgumentTypeError(f"{word!r} is no port")
    return int(word)


def words(text: str) -> list[str]:
    """Returns the words between the commas of `a,b`."""
    return [word.strip() for word in text.split(",") if word.strip()]
