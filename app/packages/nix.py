"""What Purser says to Nix and what it makes of the answer: command lines, environments, the log, the failures.

Pure: values in, values out. `builder.py` starts the processes.
"""

import errno
import re
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Literal

import msgspec

from app.supervision import Cause, Ended

Failure = Literal[
    "evaluation",
    "version_unavailable",
    "build",
    "timeout",
    "silent_timeout",
    "log_limit",
    "no_space",
    "out_of_memory",
    "nix_missing",
    "damaged",
    "interrupted",
    "unknown",
]
FAILURES: tuple[Failure, ...] = Failure.__args__  # type: ignore[attr-defined]  # the typing stubs do not show it

DETAIL_CHARS = 500
LINE_BYTES = 64 * 1024
LINK_NUMBER = re.compile(r"current-(\d{1,9})-link")  # how nix-env names the generations of the profile `current`
HOW_TO_INSTALL = "Install Nix: apt-get install nix-bin, or see https://nixos.org/download"


# --- command lines: lists of words, never a shell


def build_command(
    program: str, expression: Path, name: str, version: str, out_link: Path, options: Sequence[str]
) -> list[str]:
    """The nix-build call of one package; `out_link` becomes the garbage collector's root."""
    given = ["--argstr", "name", name, "--argstr", "version", version]
    return [program, str(expression), *given, "--out-link", str(out_link), "--log-format", "internal-json", *options]


def restricted(expression: Path, nixpkgs: Path | None) -> list[str]:
    """Options under which an evaluation reads nothing but `expression` and `nixpkgs` (a path without symlinks)."""
    found = [] if nixpkgs is None else ["-I", f"nixpkgs={nixpkgs}"]
    return ["--option", "restrict-eval", "true", "-I", f"purser={expression}", *found]


def verify_command(program: str, store_paths: Sequence[str]) -> list[str]:
    """Exits 0 when the paths are in the store with the contents that were registered."""
    return [program, "--verify-path", *store_paths]


def hold_command(program: str, store_path: str, root: Path) -> list[str]:
    """Makes `root` a root of the garbage collector that holds the path."""
    return [program, "--realise", store_path, "--add-root", str(root), "--indirect"]


def closure_command(program: str, store_path: str) -> list[str]:
    """Prints the path and everything it needs at run time, one per line."""
    return [program, "--query", "--requisites", store_path]


def size_command(program: str, store_paths: Sequence[str]) -> list[str]:
    """Prints the size of each path in bytes, one per line."""
    return [program, "--query", "--size", *store_paths]


def switch_command(program: str, profile: Path, store_path: str) -> list[str]:
    """Makes `store_path` the current generation of `profile`; what is not in the store is not looked for elsewhere."""
    return [program, "--profile", str(profile), "--set", store_path, "--option", "substitute", "false"]


def environment(inherited: Mapping[str, str], *, home: Path, tmpdir: Path) -> dict[str, str]:
    """What a Nix process sees: an expression can read all of it with builtins.getEnv."""
    passed = {key: value for key, value in inherited.items() if key in ("PATH", "LANG") or key.startswith("NIX_")}
    return {**passed, "HOME": str(home), "TMPDIR": str(tmpdir)}


def nixpkgs_candidates(options: Sequence[str], inherited: Mapping[str, str]) -> list[Path]:
    """Where <nixpkgs> may lie, in Nix's own order: -I, NIX_PATH, the user's channels, root's channels."""
    entries = [after for word, after in pairwise(options) if word in ("-I", "--include")]
    entries += [word[2:] for word in options if word.startswith("-I") and word != "-I"]
    entries += re.split(r":(?!//)", inherited.get("NIX_PATH", ""))
    if "NIX_PATH" not in inherited:
        state = inherited.get("NIX_STATE_DIR", "/nix/var/nix")
        homes = [inherited["HOME"]] if "HOME" in inherited else []
        entries += [*(f"{home}/.nix-defexpr/channels" for home in homes), f"{state}/profiles/per-user/root/channels"]
    named = [entry.removeprefix("nixpkgs=") if "=" in entry else f"{entry}/nixpkgs" for entry in entries if entry]
    return [Path(place) for place in named if place.startswith("/")]


# --- the log

# Nix 2.8, libutil/logging.hh: ResultType
_BUILD_LOG_LINE, _POST_BUILD_LOG_LINE = 101, 107
_BUILD_ACTIVITY = 105
_SHOWN_LEVEL = 3  # libutil/logging.hh: lvlInfo, what nix-build prints without -v
_PREFIX = b"@nix "
_HINT = "(use '--show-trace'"
_TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_LONG_HEAD = re.compile(rb'@nix \{"action":"(?:result","fields":\["|msg",[^\[]*?"msg":")')
_LONG_TAIL = re.compile(rb'"(?:\],"id":\d+,"type":\d+|,"raw_msg":.*)?\}\r?$', re.DOTALL)
_WHOLE_ESCAPES = re.compile(rb"(?:[^\\]+|\\u[0-9a-fA-F]{4}|\\[^u])*")
_TAIL_BYTES = 128


class _Message(msgspec.Struct):
    action: str
    level: int = 0
    type: int = 0
    msg: str = ""
    raw_msg: str | None = None
    text: str = ""
    fields: list[object] = []


_decode = msgspec.json.Decoder(_Message).decode


def clean(text: str) -> str:
    """The text without terminal colours and control characters; line ends are kept, carriage returns become them."""
    if text.isprintable():  # most lines are: three times as fast
        return text
    text = _TERMINAL.sub("", text)
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


class LogReader:
    """Turns what nix-build writes with `--log-format internal-json` into a log for people.

    Lines in no format we know pass through as they are. Memory is bounded, whatever arrives: a line over 64 KiB is
    passed on in pieces. `errors`, `tail` and `building` are what `classify` judges by.
    """

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.tail: deque[str] = deque(maxlen=10)  # what builders said, and lines in no format we know
        self.building = False
        self._noted = ""
        self._rest = b""
        self._long: Literal["", "plain", "quoted", "dropped"] = ""

    @property
    def last_line(self) -> str:
        """The last line that says something: Nix's last error, else the last line of the log; may be empty."""
        return self.errors[-1].partition("\n")[0] if self.errors else self._noted

    def feed(self, chunk: bytes) -> bytes:
        """What people should read of this chunk and of what was held back before it."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        told = [self._end_of_long(line) if self._long else self._line(line) for line in lines]
        if len(self._rest) > LINE_BYTES:
            told.append(self._piece())
        return b"".join(told)

    def close(self) -> bytes:
        """What is left when the process has ended in the middle of a line."""
        return self.feed(b"\n") if self._rest or self._long else b""

    def _line(self, line: bytes) -> bytes:
        if not line.startswith(_PREFIX):
            return self._plain(line)
        try:
            message = _decode(line[len(_PREFIX) :])
        except (ValueError, RecursionError):
            return self._plain(line)
        return self._message(message)

    def _plain(self, line: bytes) -> bytes:
        text = clean(line.decode("utf-8", "replace").removesuffix("\r"))
        if not text.lstrip().startswith("error:"):
            return self._told(text, by_builder=True)
        self._error(text.lstrip().removeprefix("error:"))
        return self._told(text)

    def _message(self, message: _Message) -> bytes:
        if message.action == "result" and message.type in (_BUILD_LOG_LINE, _POST_BUILD_LOG_LINE):
            said = "".join(field for field in message.fields[:1] if isinstance(field, str))
            return self._told(clean(said), by_builder=True)
        if message.action == "start":
            self.building = self.building or message.type == _BUILD_ACTIVITY
            shown = message.text and message.level <= _SHOWN_LEVEL
            return self._told(clean(message.text) + "...") if shown else b""
        if message.action != "msg" or message.level > _SHOWN_LEVEL:
            return b""
        text = clean(message.msg)
        if text.startswith(_HINT):
            return b""
        if message.raw_msg is not None or text.startswith("error:"):
            self._error(clean(message.raw_msg or text.removeprefix("error:")))
        return self._told(text)

    def _error(self, text: str) -> None:
        if text.strip():
            self.errors = [*self.errors[:9], text.strip()[:4096]]

    def _told(self, text: str, *, by_builder: bool = False, end: bytes = b"\n") -> bytes:
        if said := text.strip()[-1000:]:
            self._noted = said
            if by_builder:
                self.tail.append(said)
        return text.encode("utf-8", "replace") + end

    # a line over 64 KiB

    def _piece(self) -> bytes:
        """Passes on most of a line whose end is not in sight."""
        if not self._long:
            self._long = "plain"
            if self._rest.startswith(_PREFIX):
                head = _LONG_HEAD.match(self._rest[:4096])
                self._long = "quoted" if head else "dropped"
                self._rest = self._rest[head.end() :] if head else self._rest
        cut = len(self._rest) - _TAIL_BYTES
        if self._long == "quoted" and (whole := _WHOLE_ESCAPES.match(self._rest[:cut])):
            cut = whole.end()
        for _ in range(3):  # not inside a character: in UTF-8 its later bytes are 10xxxxxx
            cut -= self._rest[cut] & 0xC0 == 0x80
        piece, self._rest = self._rest[:cut], self._rest[cut:]
        return self._shown(piece)

    def _end_of_long(self, line: bytes) -> bytes:
        shown = self._shown(_LONG_TAIL.sub(b"", line) if self._long == "quoted" else line)
        self._long = ""
        return shown + b"\n"

    def _shown(self, piece: bytes) -> bytes:
        if self._long == "dropped":
            return b""
        text = piece.decode("utf-8", "replace")
        if self._long == "quoted":
            with suppress(ValueError):
                text = msgspec.json.decode(f'"{text}"', type=str)
        return self._told(clean(text), by_builder=True, end=b"")


# --- failures

# In this order, each against the first line of every error. The words are Nix 2.8's: libstore/build/*.cc
_BY_ERROR: tuple[tuple[Failure, str], ...] = (
    ("version_unavailable", r"version .{0,200} of .{0,200} is not available"),
    ("silent_timeout", r"timed out after .{1,20} seconds of silence"),
    ("timeout", r"timed out after .{1,20} seconds"),
    ("log_limit", r"killed after writing more than .{1,20} bytes of log output"),
    ("interrupted", r"interrupted by the user"),
    ("no_space", r"no space left on device|database or disk is full|disk quota exceeded"),
    ("out_of_memory", r"failed due to signal 9\b|cannot allocate memory|out of memory|std::bad_alloc"),
    ("damaged", r"database disk image is malformed|file is not a database|is corrupt"),
    ("damaged", r"could not be repaired|repairing is not allowed|/[0-9a-z]{32}-[^/']+': no such file"),
    ("build", r"builder for .* failed|failed to build|hash mismatch|but I am a|may not be deterministic"),
    ("unknown", r"cannot connect to|unrecognised flag|opening pseudoterminal"),
    ("unknown", r"\b(creating|lock).{0,300}(permission denied|read-only file)"),
)
# What a builder's own last lines give away when Nix only says that it failed.
_BY_TAIL: tuple[tuple[Failure, re.Pattern[str]], ...] = (
    ("no_space", re.compile(r"no space left on device|disk quota exceeded|lack of free disk space", re.IGNORECASE)),
    ("out_of_memory", re.compile(r"cannot allocate memory|virtual memory exhausted|killed signal terminated", re.I)),
)
_DAEMON_LOST = re.compile(
    r"^unexpected end-of-file|daemon disconnected|^(reading from|writing to) file: (connection reset|broken pipe)", re.I
)
_ENDED_BY_OTHERS = {1, 2, 3, 15}  # HUP, INT, QUIT, TERM: somebody's wish, and not ours
_BY_CAUSE: dict[str, tuple[Failure, str]] = {
    "stopped": ("interrupted", "Stopped before its end"),
    "timeout": ("timeout", "Stopped: the build took longer than allowed"),
    "silent_timeout": ("silent_timeout", "Stopped: the build said nothing for longer than allowed"),
    "log_limit": ("log_limit", "Stopped: the log grew beyond its limit"),
}


ENDED_BY_US: dict[Cause, str] = {
    "stopped": "ended by Purser: cancelled, or the service stops",
    "timeout": "ended by Purser: it took longer than allowed",
    "silent_timeout": "ended by Purser: it said nothing for longer than allowed",
}
"""What a log says at its end of a build that we ended; Nix's own last word is "interrupted by the user"."""


def classify(ended: Ended, log: LogReader) -> tuple[Failure, str]:
    """Why a build did not succeed, and the line that says so: never empty, 500 characters at most.

    Through nix-daemon the exit code is 1 for everything, so Nix's words count before it.
    """
    if ended.cause in _BY_CAUSE:
        failure, said = _BY_CAUSE[ended.cause]  # Nix's own last word is only that it was interrupted: by us
        return failure, short(f"{said}; the builder's last line was: {log.tail[-1]}" if log.tail else f"{said}.")
    if ended.signal is not None:
        return _by_signal(ended.signal)
    for error in log.errors:
        first = error.partition("\n")[0]
        if _DAEMON_LOST.search(first):
            return "interrupted", short(f"Nix lost the connection to its daemon: {first}")
        for failure, pattern in _BY_ERROR:
            if re.search(pattern, first, re.IGNORECASE):
                return _with_tail(failure, error, log)
    return _by_exit_code(ended.exit_code, log)


def refused_start(error: OSError, program: str) -> tuple[Failure, str]:
    """The failure for a process, or a folder it needs, that could not be had at all."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no_space", short(f"{error.filename or program} could not be written: {error.strerror}")
    if error.errno in (errno.ENOMEM, errno.EAGAIN):
        return "out_of_memory", short(f"{program} could not be started: {error.strerror}")
    if error.errno in (errno.ENOENT, errno.EACCES, errno.ENOTDIR, errno.ENOEXEC):
        return "nix_missing", short(f"{program} cannot be run ({error.strerror}). {HOW_TO_INSTALL}")
    return "unknown", short(f"{program} could not be started: {error}")


def short(text: str) -> str:
    """The text as one line of 500 characters at most."""
    line = " ".join(text.split())
    return line if len(line) <= DETAIL_CHARS else line[: DETAIL_CHARS - 1] + "…"


def _by_signal(signal: int) -> tuple[Failure, str]:
    if signal == 9:
        return "out_of_memory", "nix-build was killed (signal 9): the machine was most likely out of memory."
    return "interrupted" if signal in _ENDED_BY_OTHERS else "unknown", f"nix-build was ended by signal {signal}."


def _with_tail(failure: Failure, error: str, log: LogReader) -> tuple[Failure, str]:
    """The failure, made more exact by the builder's own last lines; the detail carries the line that tells most."""
    first, *more = error.splitlines()
    if failure != "build":
        return failure, short(error if first.endswith(":") else first)
    for better, pattern in _BY_TAIL:
        for line in [*reversed(log.tail), *more, first]:
            if pattern.search(line):
                return better, short(f"{first.rstrip('.;')}: {line}")
    if first.endswith(":"):
        return failure, short(error)
    return failure, short(f"{first.rstrip('.;')}: {log.tail[-1]}" if log.tail else first)


def _by_exit_code(exit_code: int | None, log: LogReader) -> tuple[Failure, str]:
    detail = short(log.last_line) or f"nix-build ended with exit code {exit_code} and said nothing."
    if exit_code in (126, 127):
        return "nix_missing", short(f"{detail} {HOW_TO_INSTALL}")
    if exit_code is not None and 100 <= exit_code < 112:  # Nix manual, nix-build: 100, or-ed with 1, 2, 4 and 8
        return _with_tail("timeout" if exit_code & 1 else "build", log.last_line or detail, log)
    if log.building:
        return _with_tail("build", log.last_line or detail, log)
    return ("evaluation" if log.errors else "unknown"), detail


Condition = Literal["gone", "changed"]
"""What is wrong with a store path: it is not there at all, or not as it was registered."""
# Nix 2.8: libstore/local-store.cc, nix-store.cc
_GONE = re.compile(r"is not valid|don't know how to build|valid store path|not in the nix store", re.I)
_CHANGED = re.compile(r"was modified!|/[0-9a-z]{32}-[^']*': no such file|corrupted or missing", re.I)


def condition(log: LogReader) -> Condition | None:
    """What nix-store says is wrong with a path; None when it could not look at all."""
    said = [*log.errors, *log.tail]
    if any(map(_GONE.search, said)):
        return "gone"
    return "changed" if any(map(_CHANGED.search, said)) else None
