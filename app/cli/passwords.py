"""Where pkgctl takes passwords and codes from: a terminal, without echo, or a file. Never the command line."""

import argparse
from typing import NamedTuple

import msgspec

from app.cli.call import Call
from app.cli.outcomes import Failed, Usage

_LONGEST_BYTES = 4096


class NewPassword(NamedTuple):
    """A password that is to be set; one that was generated is told, once."""

    text: str
    generated: bool


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declares where a new password may come from instead of the terminal."""
    ways = parser.add_mutually_exclusive_group()
    add_file_option(ways, "--password-file", "the new password")
    ways.add_argument("--generate", action="store_true", help="make a password and print it, this once")


def add_file_option(parser: "argparse._ActionsContainer", name: str, what: str) -> None:
    """Declares a file to take a password from."""
    parser.add_argument(name, metavar="PATH", help=f"the file whose first line is {what}; - is standard input")


def new_password(call: Call) -> NewPassword:
    """The password that the options name; else one that is typed, twice."""
    asked = call.arguments
    if asked.generate:
        from app.values import new_secret

        return NewPassword(new_secret(), True)
    return NewPassword(typed_twice(call, asked.password_file, "--password-file"), False)


def typed_twice(call: Call, path: str | None, option: str) -> str:
    """A new password from a file, or typed twice, so that a slip does not shut anybody out."""
    first = password(call, "New password:", path, option)
    if path is None and password(call, "New password again:", None, option) != first:
        raise Failed("The two passwords differ; nothing was changed")
    return first


def password(call: Call, question: str, path: str | None, option: str = "--password-file") -> str:
    """A password from the file, else typed at the terminal; Usage where there is none."""
    if path is not None:
        return _first_line(call, path, "password")
    typed = call.screen.ask_secretly(question)
    if typed is None:
        raise Usage(f"There is no terminal to type a password at: give {option}")
    return _checked(typed, "What was typed", "password")


def code(call: Call, path: str | None) -> str:
    """The code of a letter, from the file, else typed, else through a pipe; without the spaces it was copied with."""
    typed = None if path is not None else call.screen.ask_secretly("Code:")
    found = _first_line(call, path or "-", "code") if typed is None else _checked(typed, "What was typed", "code")
    if not found.strip():
        raise Usage("The code is nothing but spaces")
    return found.strip()


def _first_line(call: Call, path: str, kind: str) -> str:
    """The first line without its end, and nothing else taken off it; what it holds is in no error."""
    what = "Standard input" if path == "-" else path
    try:
        if path == "-":
            line = call.screen.read_line(_LONGEST_BYTES)
        else:
            with open(path, encoding="utf-8", newline="\n") as file:
                line = file.readline(_LONGEST_BYTES)
    except OSError as error:
        raise Usage(f"{what}: {error.strerror}") from None
    except ValueError:  # of which UnicodeDecodeError is one, and a path with a NUL another
        raise Usage(f"{what} is not text") from None
    if len(line) == _LONGEST_BYTES:
        raise Usage(f"{what}: the first line is too long for a {kind}")
    return _checked(line.removesuffix("\n").removesuffix("\r"), what, kind)


def _checked(text: str, what: str, kind: str) -> str:
    if not text:
        raise Usage(f"{what} holds no {kind}")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise Usage(f"{what} is not text")
    return text


def tell(call: Call, content: bytes, success: str, new: NewPassword) -> None:
    """Prints what was done; a generated password stands alone on stdout, with --json it is part of the answer."""
    if not new.generated:
        call.print_answer(content, success)
    elif call.as_json:
        answer = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        call.screen.json(msgspec.json.encode({**answer, "password": new.text}))
    else:
        call.screen.line(new.text)
        call.screen.note(f"{success}; the password is not shown again.")
