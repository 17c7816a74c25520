"""What pkgctl writes: plain text for people, the server's JSON for programs.

Nothing that came from a server reaches the terminal with a control character in it.
"""

import codecs
import io
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol, Self, TextIO

import msgspec

from app.cli.outcomes import Failed, Failure, NotPurser, PipeClosed, Usage

Item = Mapping[str, object]
Columns = Mapping[str, str]  # heading -> field

TICK_S = 1.0


def plain(text: str, keep: str = "") -> str:
    r"""Returns `text` with everything a terminal could act upon written as `\x1b`, `\u202e`, …"""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def plain_json(document: bytes, deep: bool = False) -> str:
    """Returns the same JSON on one line, with unprintable characters as JSON escapes; NotPurser when it is none.

    `deep` says that it is JSON, as deep as it may be.
    """
    try:
        text = _deep(document) if deep else msgspec.json.format(document, indent=-1).decode()
    except (ValueError, RecursionError):
        raise NotPurser("the answer is not the JSON that was expected") from None
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _json_escaped(c) for c in text)


def _deep(document: bytes) -> str:
    from app.cli.deep import compact  # few calls need it

    return compact(document)


def _json_escaped(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def size(count_bytes: int) -> str:
    """Returns `512 B`, `1.5 KiB`, `3.0 GiB`."""
    if count_bytes < 1024:
        return f"{count_bytes} B"
    amount = float(count_bytes)
    for unit in ("KiB", "MiB", "GiB"):
        amount /= 1024
        if amount < 1024:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1024:.1f} TiB"


def cell(item: Item, field: str) -> str:
    """Returns the field's value as one short piece of text; `-` when it is null, missing or empty."""
    value = item.get(field)
    if value is None or value is False or value in ("", []):
        return "-"
    if value is True:
        return "yes"
    if isinstance(value, int) and field.endswith("_bytes"):
        return size(value)
    if isinstance(value, list):
        return plain(",".join(str(part) for part in value))
    return plain(str(value))


class Screen:
    """Standard output, error and input of one call."""

    def __init__(self, out: TextIO, err: TextIO, source: TextIO) -> None:
        self._out = out
        self._err = err
        self._source = source

    @classmethod
    def standard(cls) -> "Screen":
        """Returns the process's own; a stream that was closed before the start reads and writes nothing."""
        return cls(sys.stdout or io.StringIO(), sys.stderr or io.StringIO(), sys.stdin or io.StringIO())

    def line(self, text: str) -> None:
        """Writes one line to stdout."""
        self._write(self._out, plain(text) + "\n")

    def text(self, text: str) -> None:
        """Writes text of many lines to stdout, as it comes."""
        self._write(self._out, _lines(text))
        self.flush()

    def sheet(self, text: str) -> None:
        """Writes text that is meant for programs to stdout as it is, unless a terminal would act upon it."""
        self._write(self._out, _lines(text, keep="\t\r") if self._out.isatty() else text, flush=True)

    def json(self, document: bytes, deep: bool = False) -> None:
        """Writes a JSON document to stdout; nothing when the answer was empty. `deep` is that of `plain_json`."""
        if document:
            self._write(self._out, plain_json(document, deep) + "\n")

    @property
    def for_people(self) -> bool:
        """Whether stdout is a terminal."""
        return self._out.isatty()

    def content(self, pieces: Iterable[bytes]) -> None:
        """Writes bytes to stdout as they are; on a terminal, which might act upon them, as plain text."""
        if self.for_people:
            decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")("replace"), translate=True)
            for piece in pieces:
                self.text(decoder.decode(piece))
            self.text(decoder.decode(b"", final=True))
            return
        self.flush()
        out = getattr(self._out, "buffer", None)  # none where stdout was closed before the start
        for piece in pieces:
            with _told():
                if out is not None:
                    out.write(piece)

    def read_bytes(self, limit: int) -> bytes:
        """Returns the next bytes of stdin as soon as there are any, at most `limit`; none at its end."""
        buffer = getattr(self._source, "buffer", None)  # none where stdin was closed before the start
        source = getattr(buffer, "raw", buffer)
        try:
            piece: bytes | None = b"" if source is None else source.read(limit)
        except OSError as error:
            raise Failed(f"Standard input: {error.strerror}") from None
        if piece is None:
            raise Failed("Standard input does not wait for what is to come: somebody has made it non-blocking")
        return piece

    def table(self, items: Sequence[Item], columns: Columns) -> None:
        """Writes aligned columns under their headings."""
        Table(self, columns).add(items)

    def fields(self, item: Item) -> None:
        """Writes one line per field, values aligned."""
        width = max(map(len, item), default=0)
        for field in item:
            self.line(f"{field.ljust(width)}  {cell(item, field)}")

    def note(self, text: str) -> None:
        """Writes one line to stderr."""
        self._write(self._err, plain(text) + "\n")

    def complain(self, failure: Failure) -> None:
        """Writes why the call failed to stderr, one line and one for each field at fault."""
        for number, text in enumerate(failure.lines()):
            self.note(text if number else f"pkgctl: {text}")

    def ask(self, question: str) -> str | None:
        """Returns the line typed in answer; None when nobody sits at a terminal."""
        if not self._source.isatty():
            return None
        self._write(self._err, plain(question) + " ")
        self._err.flush()
        return self._source.readline().strip()

    def ask_secretly(self, question: str) -> str | None:
        """Returns the line typed in answer, which does not show; None when nobody sits at a terminal."""
        if not self._source.isatty():
            return None
        from getpass import getpass

        try:
            return getpass(plain(question) + " ", self._err)
        except EOFError:
            return ""
        except UnicodeDecodeError:
            raise Usage("What was typed is not text") from None

    def read_line(self, limit: int) -> str:
        """Returns the next line of stdin with its end, at most `limit` characters of it."""
        return self._source.readline(limit)

    def progress(self, line: Callable[[], str], every_s: float | None = None) -> "Progress":
        """Returns a log on stderr with a progress line beneath it; `line` says what stands there now.

        It is first written when `every_s` have gone by, a second by default, and then again and again.
        """
        return Progress(self._err, self._write, line, every_s or TICK_S)

    def flush(self) -> None:
        """Hands stdout to the system, so that an error of writing shows now and not at exit."""
        self._write(self._out, "", flush=True)

    def abandon(self) -> None:
        """Drops what could not be written, so that the interpreter does not try again at exit."""
        for stream in (self._out, self._err):
            try:
                stream.flush()
            except OSError:
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)

    def _write(self, stream: TextIO, text: str, flush: bool = False) -> None:
        encoding = stream.encoding or "utf-8"
        with _told():
            stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            if flush:
                stream.flush()


@contextmanager
def _told() -> Iterator[None]:
    """Turns what can go wrong with a stream into outcomes of the call."""
    try:
        yield
    except BrokenPipeError:
        raise PipeClosed from None
    except OSError as error:
        raise Failed(f"Cannot write the output: {error.strerror}") from None


class Table:
    """Aligned columns under their headings, whose rows may come by and by.

    A column is as wide as the widest of its cells so far, and as `least` says for those that are known to come; one
    that is wider than `most` makes the others no wider.
    """

    def __init__(
        self, screen: Screen, columns: Columns, most: int | None = None, least: Mapping[str, int] | None = None
    ) -> None:
        self._screen = screen
        self._columns = columns
        self._most = most
        known = [(least or {}).get(heading, 0) for heading in columns]
        self._widths = known if most is None else [min(width, most) for width in known]
        self._begun = False

    def add(self, items: Sequence[Item]) -> None:
        """Writes rows, the first ones beneath the headings."""
        rows = [[cell(item, field) for field in self._columns.values()] for item in items]
        if not self._begun:
            rows.insert(0, list(self._columns))
            self._begun = True
        for at in range(len(self._columns)):
            widths = [len(row[at]) for row in rows if self._most is None or len(row[at]) <= self._most]
            self._widths[at] = max([self._widths[at], *widths])
        for row in rows:
            self._screen.line("  ".join(map(str.ljust, row, self._widths)).rstrip())


class Write(Protocol):
    """Writes text to a stream, errors told as failures of the call."""

    def __call__(self, stream: TextIO, text: str, flush: bool = False) -> None: ...


class Progress:
    """Log lines on stderr and, on a terminal, one line beneath them that is written anew every `every_s`."""

    def __init__(self, stream: TextIO, write: Write, line: Callable[[], str], every_s: float) -> None:
        self._stream = stream
        self._every_s = every_s
        self._write = write
        self._line = line
        self._terminal = stream.isatty()
        self._begun = ""  # a log line whose end has not come yet
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._ticking = threading.Thread(target=self._tick, name="progress", daemon=True)

    def __enter__(self) -> Self:
        if self._terminal:
            self._ticking.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Writes what is left of the log and takes the progress line away."""
        self._closed.set()
        if self._terminal:
            self._ticking.join()
        with self._lock:
            self._log("\n" if self._begun else "")
            self._replace("")

    def log(self, text: str) -> None:
        """Writes the lines that `text` completes, above the progress line."""
        with self._lock:
            self._log(text)
            self._replace(self._line())

    def _log(self, text: str) -> None:
        self._begun += text
        complete, newline, rest = self._begun.rpartition("\n")
        if len(rest) > 65536:  # a line without an end is not gathered for ever
            complete, newline, rest = self._begun, "\n", ""
        self._begun = rest
        if newline:
            self._replace("")
            self._write(self._stream, _lines(complete) + "\n", flush=True)

    def _tick(self) -> None:
        """Runs in a thread of its own, since the build may be silent for long: whoever reads the log hears nothing."""
        with suppress(Failure):  # whoever writes the log next will meet it too
            while not self._closed.wait(self._every_s):
                with self._lock:
                    self._replace(self._line())

    def _replace(self, text: str) -> None:
        """Writes over the progress line; on anything but a terminal there is none."""
        if self._terminal:
            self._write(self._stream, "\r\x1b[K" + plain(text)[: self._width() - 1], flush=True)

    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except OSError:
            return 80


def _lines(text: str, keep: str = "\t") -> str:
    return "\n".join(plain(line, keep) for line in text.split("\n"))
