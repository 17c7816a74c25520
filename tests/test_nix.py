"""Given what Nix writes, when it is read, then people get a plain log and the failure gets its right name."""

import errno
from pathlib import Path

import msgspec
import pytest

from app.packages import nix
from app.packages.nix import LogReader, classify, condition
from app.supervision import Cause, Ended

DRV = "/nix/store/kr8jwdi519nrvc659syiny7dcwfc70z2-big.drv"
OUT = "/nix/store/kr8jwdi519nrvc659syiny7dcwfc70z2-big"


def line(**fields: object) -> bytes:
    return b"@nix " + msgspec.json.encode(fields) + b"\n"


def said(text: str) -> bytes:
    """One line of a builder."""
    return line(action="result", fields=[text], id=1, type=101)


def error(text: str) -> bytes:
    """An error as Nix 2.8 tells it: coloured for people, and plain enough to read."""
    return line(action="msg", column=None, level=0, msg=f"\x1b[31;1merror:\x1b[0m {text}", raw_msg=text)


BUILDING = line(action="start", fields=[DRV, "", 1, 1], id=1, level=3, text=f"building '{DRV}'", type=105)


def read(*chunks: bytes) -> tuple[LogReader, bytes]:
    reader = LogReader()
    told = b"".join(map(reader.feed, chunks))
    return reader, told + reader.close()


# --- command lines and environments


def test_a_build_names_everything_as_a_word_of_its_own() -> None:
    name, version = 'a"${x}`id`', "1.0.0; reboot"
    words = nix.build_command("nix-build", Path("/e.nix"), name, version, Path("/d/roots/7"), ["--cores", "1"])
    given = ["--argstr", "name", name, "--argstr", "version", version]
    assert words[:2] == ["nix-build", "/e.nix"]
    assert words[2:8] == given
    assert words[8:] == ["--out-link", "/d/roots/7", "--log-format", "internal-json", "--cores", "1"]


def test_nix_sees_path_language_and_its_own_variables_and_nothing_else() -> None:
    inherited = {"PATH": "/bin", "LANG": "C", "NIX_PATH": "x", "SECRET_KEY": "s", "HOME": "/root", "TMPDIR": "/tmp"}
    seen = nix.environment(inherited, home=Path("/d/home"), tmpdir=Path("/d/tmp/1"))
    assert seen == {"PATH": "/bin", "LANG": "C", "NIX_PATH": "x", "HOME": "/d/home", "TMPDIR": "/d/tmp/1"}


@pytest.mark.parametrize(
    ("options", "inherited", "first"),
    [
        (["-I", "nixpkgs=/given"], {"NIX_PATH": "nixpkgs=/named"}, "/given"),
        (["-Inixpkgs=/given"], {}, "/given"),
        ([], {"NIX_PATH": "nixpkgs=/named:/folder"}, "/named"),
        ([], {"NIX_PATH": "/folder"}, "/folder/nixpkgs"),
        ([], {"NIX_PATH": "nixpkgs=https://example.org/x.tar.gz:/folder"}, "/folder/nixpkgs"),
        ([], {"HOME": "/home/p"}, "/home/p/.nix-defexpr/channels/nixpkgs"),
        ([], {"NIX_STATE_DIR": "/s"}, "/s/profiles/per-user/root/channels/nixpkgs"),
    ],
)
def test_nixpkgs_is_looked_for_where_nix_would(options: list[str], inherited: dict[str, str], first: str) -> None:
    assert nix.nixpkgs_candidates(options, inherited)[0] == Path(first)


def test_an_empty_nix_path_names_no_place() -> None:
    assert nix.nixpkgs_candidates([], {"NIX_PATH": "", "HOME": "/home/p"}) == []


# --- the log


def test_people_read_builder_lines_notices_and_errors_without_colours() -> None:
    reader, told = read(
        line(action="start", id=9, level=6, text="querying info about missing paths", type=0),
        line(action="msg", level=3, msg="this derivation will be built:"),
        line(action="start", id=2, level=0, text="", type=102),
        line(action="result", fields=[0, 1, 0, 0], id=2, type=105),
        BUILDING,
        said("\x1b[31mred\x1b[0m \x07and \x1b]0;title\x07plain"),
        line(action="stop", id=1),
        line(action="msg", level=1, msg="\x1b[35;1mwarning:\x1b[0m slow"),
        error(f"builder for '\x1b[35;1m{DRV}\x1b[0m' failed with exit code 3"),
        line(action="msg", level=0, msg="(use '--show-trace' to show detailed location information)"),
    )
    assert told.decode().splitlines() == [
        "this derivation will be built:",
        f"building '{DRV}'...",
        "red and plain",
        "warning: slow",
        f"error: builder for '{DRV}' failed with exit code 3",
    ]
    assert reader.building
    assert reader.last_line == f"builder for '{DRV}' failed with exit code 3"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
def test_it_does_not_matter_how_the_bytes_are_cut(size: int) -> None:
    whole = BUILDING + said('café \\ "quoted" \u2028') + b"plain \xc3\xa9\n" + error("last")
    chunks = [whole[start : start + size] for start in range(0, len(whole), size)]
    assert read(*chunks)[1] == read(whole)[1]


@pytest.mark.parametrize(
    "strange",
    [
        b"@nix not json\n",
        b"@nix [1, 2]\n",
        b'@nix {"no": "action"}\n',
        b"@nix " + b"[" * 20000 + b"\n",
        b"@nix \xff\xfe\n",
        b'@nix {"action": "msg", "level": "high"}\n',
    ],
)
def test_a_line_in_no_format_we_know_passes_through(strange: bytes) -> None:
    _, told = read(strange, said("after"))
    assert told.startswith(strange[:20].replace(b"\xff\xfe", "\ufffd\ufffd".encode()))
    assert told.endswith(b"after\n")


def test_unknown_messages_are_left_out() -> None:
    assert read(line(action="result", fields=["x"], id=1, type=999), line(action="dance"))[1] == b""


def test_a_log_line_without_text_or_end_does_no_harm() -> None:
    assert read(line(action="result", fields=[], id=1, type=101))[1] == b"\n"
    assert read(b"no newline")[1] == b"no newline\n"


def test_carriage_returns_become_line_ends() -> None:
    assert read(b"10%\r20%\r\n")[1] == b"10%\n20%\n"


@pytest.mark.parametrize("text", ["x" * 300_000, "é" * 150_000, 'a\\"\t\u0001' * 60_000, "\\" * 200_000])
def test_a_very_long_builder_line_comes_in_pieces_and_whole(text: str) -> None:
    reader = LogReader()
    whole = said(text) + said("after")
    told = b""
    for start in range(0, len(whole), 4096):
        told += reader.feed(whole[start : start + 4096])
        assert len(reader._rest) <= nix.LINE_BYTES
    assert told.decode() == nix.clean(text) + "\nafter\n"


def test_a_very_long_plain_line_comes_in_pieces_and_whole() -> None:
    reader, told = read(*[b"y" * 50_000] * 10)
    assert told == b"y" * 500_000 + b"\n"
    assert len(reader.last_line) <= 1000


def test_a_very_long_message_of_an_unknown_form_is_left_out_up_to_its_end() -> None:
    long = b'@nix {"action":"other","text":"' + b"z" * 200_000 + b'"}\n'
    assert read(long[:70_000], long[70_000:], b"after\n")[1] == b"\nafter\n"


def test_what_is_kept_for_judging_is_bounded() -> None:
    reader = LogReader()
    for number in range(5000):
        reader.feed(error(f"{number} " + "long " * 2000) + said("word " * 2000))
    assert sum(map(len, [*reader.errors, *reader.tail])) < 100_000
    assert reader.errors[0].startswith("0 ")
    assert reader.last_line.startswith("4999 ")


# --- failures


BUILDER_FAILED = error(f"builder for '{DRV}' failed with exit code 1")


@pytest.mark.parametrize(
    ("failure", "exit_code", "chunks"),
    [
        ("evaluation", 1, [error("cannot add a string to an integer\n\n at /e.nix:14:13:")]),
        (
            "evaluation",
            1,
            [error("file 'nixpkgs' was not found in the Nix search path (add it)")],
        ),
        ("evaluation", 1, [b"error: syntax error, unexpected end of file\n"]),
        ("version_unavailable", 1, [error("version 9.9.9 of hello is not available: nixpkgs has version 2.10")]),
        (
            "version_unavailable",
            1,
            [b"error:\n  while calling\n  error: version 1 of x is not available\n"],
        ),
        ("build", 100, [BUILDING, said("last words"), BUILDER_FAILED]),
        ("build", 1, [BUILDING, said("last words"), BUILDER_FAILED]),
        ("build", 100, [BUILDER_FAILED, error(f"1 dependencies of derivation '{DRV}' failed to build")]),
        ("build", 102, [error(f"hash mismatch in fixed-output derivation '{DRV}':\n  specified: a\n  got: b")]),
        ("build", 1, [error(f"builder for '{DRV}' failed to produce output path for output 'out' at '/nix/store/x'")]),
        ("build", 1, [error(f"a 'riscv' with features {{}} is required to build '{DRV}', but I am a 'x86_64-linux'")]),
        ("build", 100, [b"an older Nix says it otherwise\n"]),
        ("build", 1, [BUILDING, error("something new")]),
        ("timeout", 101, [error(f"building of '{DRV}!out' from .drv file timed out after 1 seconds")]),
        ("timeout", 1, [error(f"building of '{DRV}!out' from .drv file timed out after 1 seconds")]),
        ("timeout", 101, []),
        (
            "silent_timeout",
            101,
            [error(f"building of '{DRV}!out' timed out after 1 seconds of silence")],
        ),
        ("log_limit", 1, [error(f"building of '{DRV}!out' killed after writing more than 1000 bytes of log output")]),
        ("no_space", 1, [error("writing to file: No space left on device")]),
        ("no_space", 1, [error("setting journal mode: database or disk is full (in '/nix/var/nix/db/db.sqlite')")]),
        ("no_space", 100, [error(f"builder for '{DRV}' failed with exit code 1\nnote: … lack of free disk space")]),
        ("no_space", 100, [said("head: error writing: No space left on device"), BUILDER_FAILED]),
        ("out_of_memory", 100, [error(f"builder for '{DRV}' failed due to signal 9 (Killed)")]),
        ("out_of_memory", 100, [said("c++: fatal error: Killed signal terminated program cc1plus"), BUILDER_FAILED]),
        ("out_of_memory", 1, [error("unable to fork: Cannot allocate memory")]),
        ("damaged", 1, [error("executing SQLite statement: database disk image is malformed")]),
        ("damaged", 1, [error("executing SQLite statement: file is not a database (in '/nix/var/nix/db/db.sqlite')")]),
        ("damaged", 1, [error(f"opening file '{DRV}': No such file or directory")]),
        ("evaluation", 1, [error(f"getting status of '{DRV}/default.nix': No such file or directory")]),
        ("damaged", 1, [error(f"some paths in the output closure of derivation '{DRV}' could not be repaired")]),
        ("damaged", 1, [BUILDING, error("repairing is not allowed because you are not in 'trusted-users'")]),
        ("interrupted", 1, [error("interrupted by the user")]),
        ("interrupted", 1, [BUILDING, said("last words"), error("unexpected end-of-file")]),
        ("interrupted", 1, [BUILDING, error("Nix daemon disconnected unexpectedly (maybe it crashed?)")]),
        ("nix_missing", 127, [b"env: nix-build: No such file or directory\n"]),
        ("unknown", 1, [error("cannot connect to socket at '/nix/var/nix/daemon-socket/socket': Connection refused")]),
        ("unknown", 1, [error("creating directory '/nix/store': Permission denied")]),
        ("unknown", 1, [error("opening pseudoterminal master: No such device")]),
        ("unknown", 1, [b"error: unrecognised flag '--nonsense'\n", b"Try 'nix-build --help'\n"]),
        ("unknown", 1, []),
    ],
)
def test_nix_s_words_name_the_failure(failure: str, exit_code: int, chunks: list[bytes]) -> None:
    named, detail = classify(Ended(exit_code, None, "exit"), read(*chunks)[0])
    assert named == failure
    assert 0 < len(detail) <= 500
    assert "\n" not in detail


@pytest.mark.parametrize(
    "phrase", ["version 1 of x is not available", "interrupted by the user", "error: out of memory"]
)
def test_a_builder_cannot_name_the_failure_of_its_choice(phrase: str) -> None:
    reader, _ = read(BUILDING, said(phrase), BUILDER_FAILED)
    assert classify(Ended(100, None, "exit"), reader)[0] == "build"


def test_the_detail_carries_the_builder_s_last_words() -> None:
    reader, _ = read(BUILDING, said("first"), said("last words"), BUILDER_FAILED)
    assert classify(Ended(100, None, "exit"), reader)[1] == f"builder for '{DRV}' failed with exit code 1: last words"


def test_the_detail_carries_the_line_that_tells_most() -> None:
    reader, _ = read(
        BUILDING, said("cc1plus: out of memory: Cannot allocate memory"), said("make: Error 1"), BUILDER_FAILED
    )
    detail = f"builder for '{DRV}' failed with exit code 1: cc1plus: out of memory: Cannot allocate memory"
    assert classify(Ended(100, None, "exit"), reader) == ("out_of_memory", detail)
    reader, _ = read(said("make: Error 1"), error(f"builder for '{DRV}' failed\nnote: … lack of free disk space"))
    detail = f"builder for '{DRV}' failed: note: … lack of free disk space"
    assert classify(Ended(1, None, "exit"), reader) == ("no_space", detail)


def test_a_hash_mismatch_says_both_hashes() -> None:
    reader, _ = read(said("fetching"), error("hash mismatch in 'x':\n   specified: sha256-A\n   got: sha256-B"))
    detail = classify(Ended(102, None, "exit"), reader)[1]
    assert detail == "hash mismatch in 'x': specified: sha256-A got: sha256-B"


@pytest.mark.parametrize(
    ("cause", "failure"),
    [
        ("stopped", "interrupted"),
        ("timeout", "timeout"),
        ("silent_timeout", "silent_timeout"),
        ("log_limit", "log_limit"),
    ],
)
def test_what_we_ended_ourselves_is_named_by_why(cause: Cause, failure: str) -> None:
    reader, _ = read(said("working"), error("interrupted by the user"))
    named, detail = classify(Ended(1, None, cause), reader)
    assert named == failure
    assert detail.startswith("Stopped")
    assert detail.endswith("the builder's last line was: working")
    assert classify(Ended(1, None, cause), LogReader())[1].endswith(".")


@pytest.mark.parametrize(
    ("signal", "failure"), [(9, "out_of_memory"), (15, "interrupted"), (2, "interrupted"), (11, "unknown")]
)
def test_a_signal_that_was_not_ours_is_named(signal: int, failure: str) -> None:
    named, detail = classify(Ended(None, signal, "exit"), LogReader())
    assert named == failure
    assert f"signal {signal}" in detail


@pytest.mark.parametrize(
    ("number", "failure"),
    [
        (errno.ENOENT, "nix_missing"),
        (errno.EACCES, "nix_missing"),
        (errno.ENOSPC, "no_space"),
        (errno.ENOMEM, "out_of_memory"),
        (errno.EMFILE, "unknown"),
    ],
)
def test_a_process_that_could_not_be_started_is_a_failure_too(number: int, failure: str) -> None:
    named, detail = nix.refused_start(OSError(number, "no", "/x"), "nix-build")
    assert named == failure
    assert detail
    assert ("apt-get install nix-bin" in detail) == (failure == "nix_missing")


def test_a_full_disk_is_told_with_what_could_not_be_written() -> None:
    path, log = OSError(errno.ENOSPC, "No space", "/d/tmp/7"), OSError(errno.ENOSPC, "No space")
    assert nix.refused_start(path, "nix-build")[1] == "/d/tmp/7 could not be written: No space"
    assert nix.refused_start(log, "The log")[1] == "The log could not be written: No space"


def test_a_detail_is_one_short_line() -> None:
    assert nix.short("a\n  b\tc") == "a b c"
    assert len(nix.short("word " * 200)) == 500


def test_every_failure_of_the_contract_is_known() -> None:
    contract = (
        "evaluation version_unavailable build timeout silent_timeout log_limit no_space out_of_memory nix_missing "
        "damaged interrupted unknown"
    )
    assert contract.split() == list(nix.FAILURES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"error: path '{OUT}' is not valid", "gone"),
        (f"don't know how to build these paths:\n  {OUT}\nerror: build of '{OUT}' failed", "gone"),
        ("error: path '/etc' is not in the Nix store", "gone"),
        (f"error: path '{OUT}' was modified! expected hash 'sha256:1', got 'sha256:2'", "changed"),
        (f"error: getting status of '{OUT}': No such file or directory", "changed"),
        ("error: cannot connect to socket at '/nix/var/nix/socket': No such file or directory", None),
        ("error: opening lock file '/nix/var/nix/db/big-lock': Permission denied", None),
        ("", None),
    ],
)
def test_what_is_wrong_with_a_path_is_told_apart_from_not_looking(text: str, expected: str | None) -> None:
    log = LogReader()
    log.feed(text.encode() + b"\n")
    assert condition(log) == expected
