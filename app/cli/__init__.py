"""pkgctl: the appliance from the command line.

A call parses its words, runs one command and ends with 0 (done), 1 (refused, or it did not succeed), 2 (the words or
the environment make no sense) or 3 (nobody answers). Every command that is not about the machine itself is one of
the API's requests; pkgctl never opens the database of a running service.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from app import __version__
from app.cli import (
    account,
    audit,
    documents,
    fcs,
    files,
    folders,
    groups,
    outbox,
    packages,
    roles,
    service,
    teams,
    tokens,
    users,
)
from app.cli.call import Call
from app.cli.options import Parser, everywhere
from app.cli.outcomes import INTERRUPTED, Failure, Usage
from app.cli.output import Screen

__all__ = ["example_init", "main"]


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Runs one command and returns its exit code. The defaults are the process's own words and environment."""
    screen = Screen.standard()
    words = sys.argv[1:] if argv is None else argv
    try:
        code = _run(words, os.environ if environ is None else environ, screen)
        screen.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except Failure as failure:
        return _end(failure, screen)


def example_init() -> int:
    """Is `pkgctl init` under another name."""
    return main(["init", *sys.argv[1:]])


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the whole command line."""
    whole = Parser(
        prog="pkgctl",
        description="Fetches software onto the appliance, switches to it and back.",
        epilog="exit codes: 0 done, 1 refused or failed, 2 usage, 3 unreachable",
        parents=[everywhere()],
        allow_abbrev=False,
    )
    whole.add_argument("--version", action="version", version=f"pkgctl {__version__}")
    commands = whole.add_subparsers(metavar="COMMAND", required=True, title="commands")
    for room in (
        service,
        account,
        packages,
        files,
        folders,
        documents,
        fcs,
        users,
        roles,
        groups,
        teams,
        tokens,
        audit,
        outbox,
    ):
        room.add(commands)
    return whole


def _run(words: Sequence[str], environ: Mapping[str, str], screen: Screen) -> int:
    if any("\ud800" <= character <= "\udfff" for word in words for character in word):
        raise Usage("The command line is not UTF-8")
    try:
        arguments = parser().parse_args(words)
    except SystemExit as stop:  # argparse has said what is wrong, or printed the help
        return int(stop.code or 0)
    return int(arguments.run(Call(arguments, environ, screen)))


def _end(failure: Failure, screen: Screen) -> int:
    """Tells why the call failed, as far as anybody can still read it."""
    with suppress(Failure):
        screen.flush()
    with suppress(Failure):
        screen.complain(failure)
    screen.abandon()
    return failure.exit_code
