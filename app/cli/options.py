"""How commands are declared: the options they share, and the words that stand for ids and numbers."""

import argparse
import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, TypeAlias

from app.cli.call import URL, Call
from app.cli.outcomes import USAGE, Usage

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
Run: TypeAlias = Callable[[Call], int]

LIFETIMES = {"30d": 30, "90d": 90, "1y": 365, "never": 0}
REACHES = ("own", "group", "all")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LAST = 253402300799
"""The end of the year 9999, in seconds since 1970."""


class Parser(argparse.ArgumentParser):
    """A parser to which `declare` adds what may follow its word, once it is asked to parse anything."""

    declare: Callable[[Commands], None] | None = None

    def parse_known_args(self, *words: Any, **more: Any) -> Any:
        """As its superclass."""
        declare, self.declare = self.declare, None
        if declare is not None:
            declare(self.add_subparsers(metavar="ACTION"))
        return super().parse_known_args(*words, **more)


@cache  # parsers only read their parents, and there are many
def everywhere(token: bool = True) -> Parser:
    """Returns the global options, to be accepted before the command and after it.

    They have no default of their own: the parser that runs last would overwrite what the first one found.
    """
    parent = Parser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
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
    parents: Sequence[Parser] | None = None,
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


def group(commands: Commands, name: str, summary: str, alone: Run | None = None) -> Commands:
    """Adds a word that is followed by the command itself, as in `pkgctl tokens list`; returns where to add those.

    `alone` is what the word does by itself; by default it tells what may follow.
    """
    return _grouping(commands, name, summary, alone).add_subparsers(metavar="ACTION")


def large_group(commands: Commands, name: str, summary: str, declare: Callable[[Commands], None]) -> None:
    """As `group`, but what may follow the word is declared when it was said: most calls are about something else."""
    _grouping(commands, name, summary, None).declare = declare


def _grouping(commands: Commands, name: str, summary: str, alone: Run | None) -> "Parser":
    parser = commands.add_parser(name, help=summary, allow_abbrev=False)

    def explain(call: Call) -> int:
        call.screen.note(parser.format_usage().strip())
        return USAGE

    parser.set_defaults(run=alone or explain)
    return parser


def about_one(commands: Commands, name: str, run: Run, summary: str, whose: str) -> argparse.ArgumentParser:
    """Adds a command on one thing, named by its id."""
    parser = command(commands, name, run, summary)
    parser.add_argument("id", metavar="ID", type=identifier, help=whose)
    return parser


def about_some(commands: Commands, name: str, run: Run, summary: str, whose: str) -> argparse.ArgumentParser:
    """Adds a command on one thing or several, named by their ids."""
    parser = command(commands, name, run, summary)
    parser.add_argument("ids", metavar="ID", nargs="+", type=identifier, help=whose)
    return parser


def identifier(word: str) -> int:
    """Returns the id that `word` writes; the API knows ids of 1 to 18 digits."""
    if not re.fullmatch(r"[0-9]{1,18}", word):
        raise argparse.ArgumentTypeError(f"{word!r} is no id")
    return int(word)


def place(word: str) -> int:
    """Returns the id of a folder in which something lies; 0, which the API takes for it in lists, for `none`."""
    try:
        return 0 if word == "none" else identifier(word)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{word!r} is neither an id nor none") from None


def account(word: str) -> dict[str, object]:
    """Returns the account that `word` names, as the API takes it; digits alone are an id."""
    return {"user_id": identifier(word)} if re.fullmatch(r"[0-9]{1,18}", word) else {"username": word}


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


def seconds(word: str) -> int:
    """Returns a whole number of seconds from 0 on."""
    if not re.fullmatch(r"[0-9]{1,9}", word):
        raise argparse.ArgumentTypeError(f"{word!r} is no whole number of seconds")
    return int(word)


def whole(word: str) -> int:
    """Returns a whole number from 0 on."""
    if not re.fullmatch(r"[0-9]{1,9}", word):
        raise argparse.ArgumentTypeError(f"{word!r} is no whole number")
    return int(word)


def instant(word: str) -> str:
    """Returns the instant that `word` writes, or that lies `2h`, `30m` or `7d` back, as the API takes it."""
    return _instant(word, -1)


def coming(word: str) -> str:
    """Returns the instant that `word` writes, or that is to come in `2h`, `30m` or `7d`, as the API takes it."""
    return _instant(word, 1)


def _instant(word: str, sign: int) -> str:
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,3})?Z", word, re.ASCII):
        return word
    away = re.fullmatch(r"([0-9]{1,8})([smhd])", word, re.ASCII)
    if away is None:
        raise argparse.ArgumentTypeError(f"{word!r} is neither an instant such as 2027-01-31T12:00:00Z nor 2h, 30m, 7d")
    from app import values  # few calls need it

    at = values.clock() + sign * int(away[1]) * SECONDS[away[2]]
    if at > LAST:
        raise argparse.ArgumentTypeError(f"{word!r} is beyond the year 9999")
    return values.instant(max(0.0, at))


def lifetime(word: str) -> int:
    """Returns the days that `30d`, `90d`, `1y`, `never` or a number of days stand for; 0 for never."""
    if word in LIFETIMES:
        return LIFETIMES[word]
    if not re.fullmatch(r"[0-9]{1,3}", word) or not 1 <= int(word) <= 365:
        raise argparse.ArgumentTypeError(f"{word!r} is none of {', '.join(LIFETIMES)}, or 1 to 365 days")
    return int(word)


def grant(word: str) -> dict[str, str]:
    """Returns the grant that `packages:read=all` writes; without a reach it is the own things alone."""
    permission, equals, reach = word.partition("=")
    if not permission or (equals and reach not in REACHES):
        raise argparse.ArgumentTypeError(f"{word!r} is no PERMISSION=REACH, REACH being one of {', '.join(REACHES)}")
    return {"permission": permission, "reach": reach or "own"}


def given(wanted: dict[str, object]) -> dict[str, object]:
    """Returns those of the fields that the caller gave."""
    return {field: value for field, value in wanted.items() if value is not None}


def changes(wanted: dict[str, object], options: str) -> dict[str, object]:
    """Returns what is to change; Usage, naming the options, when that is nothing."""
    if not wanted:
        raise Usage(f"There is nothing to change: give {options}")
    return wanted
