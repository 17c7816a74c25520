"""`pkgctl fcs`: what every command asks and prints, against a small HTTP server; and the real service.

The small server takes chunks, loses some, and asks for what there is not.
"""

import hashlib
import io
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from app.cli import chunks, main
from app.cli.figures import figure
from tests import test_cli, test_cli_fetching, test_cli_files
from tests.fcs_writer import fcs, written
from tests.support import ROOT, Service
from tests.test_cli import Asked, Outcome, Pkgctl, Reply, Server, problem, process
from tests.test_cli_fetching import CONTENT, cut, download, part, ranges, sha256
from tests.test_cli_files import Calls, answer
from tests.test_cli_transfers import receiving, shown

server, pkgctl, here = test_cli.server, test_cli.pkgctl, test_cli_fetching.here
person = test_cli_files.person

slow = pytest.mark.slow
SAMPLE = ROOT.parent / "shared/data/sample-34297x26.fcs"
HOSTILE = "\x1b]0;owned\x07"
FILE = {
    "file_id": 7,
    "filename": "a.fcs",
    "owner_id": 1,
    "owner_name": "ann",
    "size_bytes": 1536,
    "sha256": "0" * 64,
    "fcs_version": "FCS3.1",
    "total_events": 3,
    "total_parameters": 2,
    "warnings": [],
    "created_at": "2026-11-21T06:18:00.123Z",
}
UNTIL = "2026-11-22T06:18:00.123Z"
UPLOAD = {
    "id": 5,
    "filename": "a.fcs",
    "file_size": 2500,
    "chunk_size": 1000,
    "total_chunks": 3,
    "uploaded_chunks": 0,
    "uploaded_bytes": 0,
    "progress_percentage": 0.0,
    "status": "processing",
    "file_id": None,
    "created_at": "2026-11-21T06:18:00.123Z",
    "expires_at": UNTIL,
}
PARAMETER = {
    "index": 1,
    "pnn": "FSC-A",
    "pns": "Forward",
    "range": 262144,
    "display": "LIN",
    "datatype": "F",
    "bits": 32,
    "amplification": None,
    "gain": None,
}
STATISTIC = {
    "parameter": "FSC-A",
    "pns": "Forward",
    "display": "LIN",
    "n": 3,
    "min": -1.5,
    "max": 72790440.0,
    "mean": 311222.21800836,
    "median": 0.25,
    "std": None,
    "p5": 1,
    "p25": 2,
    "p75": 3,
    "p95": 4,
    "negative_fraction": 1 / 3,
    "nan_count": 0,
    "above_range": None,
}
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


def as_json(content: object, status: int = 200, **headers: str) -> Reply:
    """An answer whose type is told, as that of a stream must be."""
    return Reply(content, status, {"Content-Type": "application/json"} | headers)


def lines(*told: str) -> str:
    return "".join(f"{line}\n" for line in told)


# One request


def test_a_small_file_is_sent_in_one_request(pkgctl: Pkgctl, server: Server, here: Path) -> None:
    server.on("PUT /fcs/content", Reply({**FILE, "warnings": ["$TOT is missing.", HOSTILE]}, 201))
    (here / "a.fcs").write_bytes(CONTENT)
    code, out, err = pkgctl("fcs", "upload", "a.fcs", "--token", "pat_x")
    assert (code, out) == (
        0,
        lines(
            "ID    NAME   EVENTS   PARAMETERS  VERSION",
            "7     a.fcs  3        2           FCS3.1",
        ),
    )
    assert err == lines("a.fcs: $TOT is missing.", "a.fcs: \\x1b]0;owned\\x07")
    assert [(asked.query, asked.body) for asked in server.asked] == [({"name": "a.fcs"}, CONTENT)]
    assert server.asked[0].headers["Authorization"] == "Token pat_x"
    code, out, err = pkgctl("fcs", "upload", "a.fcs", "--name", "b.fcs", "--json")
    assert (code, err, msgspec.json.decode(out)["filename"]) == (0, "", "a.fcs")
    assert server.asked[1].query == {"name": "b.fcs"}


def test_standard_input_is_sent_in_one_request_under_its_name(pkgctl: Pkgctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "ONE_REQUEST_BYTES", 1000)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(CONTENT)))
    with receiving(b"HTTP/1.1 201 Created\r\n\r\n" + msgspec.json.encode(FILE)) as (url, got):
        assert pkgctl("fcs", "upload", "-", "--name", "a.fcs", "--url", url)[0] == 0
    assert got.startswith(b"PUT /api/v1/fcs/content?name=a.fcs HTTP/1.1\r\n")
    assert got.endswith(b"\r\n\r\n2710\r\n" + CONTENT + b"\r\n0\r\n\r\n")


def test_the_first_file_that_is_refused_is_the_last(pkgctl: Pkgctl, server: Server, here: Path) -> None:
    server.on("PUT /fcs/content", Reply(FILE, 201), problem(400, "Bad Request", "This is no FCS file."))
    for name in "abc":
        (here / name).write_text(name)
    code, out, err = pkgctl("fcs", "upload", "a", "b", "c")
    assert (code, len(out.splitlines()), len(server.asked)) == (1, 2, 2)
    assert err == lines("b was not sent, nor what comes after it", "pkgctl: Bad Request: This is no FCS file.")


@pytest.mark.parametrize(
    "words",
    [
        "upload",
        "upload none.fcs",
        "upload .",
        "upload -",
        "upload a.fcs a.fcs --name b",
        "upload a.fcs --chunk-size 0",
        "upload a.fcs --chunk-size 11",
        "upload a.fcs --resume x",
        "upload a.fcs --resume 5 --chunk-size 2",
        "upload a.fcs a.fcs --resume 5",
        "upload - --name a.fcs --resume 5",
        "upload /dev/null --resume 5",
        "get",
        "rm",
        "abort",
        "abort x",
        "info x",
        "stats 7",
        "keywords --file x",
        "events --limit 0",
        "events --offset -1",
        "events --csv --json",
        "plot",
        "plot A B C",
        "plot A --scale curved",
        "plot A --bins 0",
        "plot A --min wide",
        "plot A --min nan",
        "plot A --x-min 1",
        "plot A --y-scale log",
        "plot A B --max 1",
        "plot A --json -o a.svg",
        "plot A -o .",
    ],
)
def test_words_without_sense_are_a_usage_error(pkgctl: Pkgctl, server: Server, here: Path, words: str) -> None:
    (here / "a.fcs").write_bytes(CONTENT)
    code, out, err = pkgctl("fcs", *words.split())
    assert (code, out, server.asked) == (2, "", [])
    assert re.search(r"^usage: pkgctl|^pkgctl: [^\n]+\n$", err)


# In chunks


class Taking:
    """Takes an upload of 2500 bytes in chunks of 1000; `fails` are answers to chunks in the place of the right one."""

    def __init__(self, server: Server, *has: int) -> None:
        self.got: dict[int, bytes] = dict.fromkeys(has, b"")
        self.fails: dict[int, list[Reply]] = {}
        self.server = server
        server.on("PUT /fcs/content", Reply(FILE, 201))
        server.routes["POST /fcs/uploads"] = lambda _: Reply(self.upload(), 201)
        server.routes["GET /fcs/uploads/5"] = lambda _: Reply(self.upload())
        server.on("POST /fcs/uploads/5/complete", Reply(FILE, 201))
        server.on("DELETE /fcs/uploads/5", Reply(b"", 204))
        for number in range(3):
            server.routes[f"PUT /fcs/uploads/5/chunks/{number}"] = lambda asked, number=number: self.take(number, asked)

    def upload(self) -> dict[str, Any]:
        missing = [number for number in range(3) if number not in self.got]
        return UPLOAD | {"missing": missing, "uploaded_bytes": min(2500, 1000 * len(self.got))}

    def take(self, number: int, asked: Asked) -> Reply:
        if self.fails.get(number):
            return self.fails[number].pop(0)
        self.got[number] = asked.body
        return Reply(self.upload())

    @property
    def lines(self) -> list[str]:
        """What was asked, method and path."""
        return [f"{asked.method} {asked.target.removeprefix('/api/v1/fcs')}" for asked in self.server.asked]


LARGE = bytes(range(250)) * 10
WHOLE = ["POST /uploads", *(f"PUT /uploads/5/chunks/{n}" for n in range(3)), "POST /uploads/5/complete"]
GO_ON = f"are kept until {UNTIL}; the rest goes with: pkgctl fcs upload"


@pytest.fixture
def taking(server: Server, here: Path, monkeypatch: pytest.MonkeyPatch) -> Taking:
    """A server that takes chunks; `a.fcs` is a file that is large, since 1000 bytes are."""
    monkeypatch.setattr(chunks, "ONE_REQUEST_BYTES", 1000)
    monkeypatch.setattr(chunks, "PAUSES_S", (0.0, 0.001, 0.002))
    (here / "a.fcs").write_bytes(LARGE)
    return Taking(server)


def test_a_large_file_is_sent_in_chunks_and_its_hash_with_it(pkgctl: Pkgctl, taking: Taking) -> None:
    code, out, err = pkgctl("fcs", "upload", "a.fcs", "--token", "pat_x")
    assert (code, err, out.splitlines()[1].split()) == (0, "", ["7", "a.fcs", "3", "2", "FCS3.1"])
    assert taking.lines == WHOLE
    assert msgspec.json.decode(taking.server.asked[0].body) == {
        "filename": "a.fcs",
        "file_size": 2500,
        "sha256": sha256(LARGE),
    }
    assert taking.got == {0: LARGE[:1000], 1: LARGE[1000:2000], 2: LARGE[2000:]}
    assert {asked.headers["Authorization"] for asked in taking.server.asked} == {"Token pat_x"}


def test_what_is_as_long_as_one_request_may_be_is_sent_in_one(pkgctl: Pkgctl, taking: Taking, here: Path) -> None:
    (here / "a.fcs").write_bytes(LARGE[:1000])
    assert pkgctl("fcs", "upload", "a.fcs")[0] == 0
    assert taking.lines == ["PUT /content?name=a.fcs"]


def test_the_length_of_chunks_and_the_name_are_the_callers(pkgctl: Pkgctl, taking: Taking) -> None:
    assert pkgctl("fcs", "upload", "a.fcs", "--chunk-size", "2", "--name", "x/ b\n.fcs ")[0] == 0
    begun = msgspec.json.decode(taking.server.asked[0].body)
    assert (begun["chunk_size"], begun["filename"]) == (2 * 2**20, "b.fcs")


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (problem(503, "Service Unavailable", "Not now."), "Service Unavailable: Not now."),
        (problem(500, "Internal Server Error", "Oh."), "Internal Server Error: Oh."),
        (problem(429, "Too Many Requests", "Too many."), "Too Many Requests: Too many."),
        (Reply(b"<html>", 502), "502 Bad Gateway"),
        (Reply(raw=b""), r"Cannot (reach|talk to) http://\S+: [^\n]+"),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), r"Cannot talk to http://\S+: [^\n]+"),
    ],
    ids=["503", "500", "429", "502", "hangs up", "breaks off"],
)
def test_a_chunk_that_fails_for_the_moment_is_sent_again(
    pkgctl: Pkgctl, taking: Taking, failure: Reply, told: str
) -> None:
    taking.fails[1] = [failure, failure]
    code, out, err = pkgctl("fcs", "upload", "a.fcs")
    assert (code, len(out.splitlines())) == (0, 2)
    assert re.fullmatch(rf"chunk 1: {told}; once more in 0 s\nchunk 1: {told}; once more in 0.001 s\n", err)
    assert taking.lines == [*WHOLE[:2], *WHOLE[2:3] * 3, *WHOLE[3:]]
    assert b"".join(taking.got[number] for number in range(3)) == LARGE


def test_a_pause_is_as_long_as_the_service_asks(
    pkgctl: Pkgctl, taking: Taking, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("app.cli.chunks.time.sleep", slept.append)
    refused = problem(429, "Too Many Requests", "Too many.")
    refused.headers["Retry-After"] = "17"
    taking.fails[0] = [refused]
    assert pkgctl("fcs", "upload", "a.fcs")[::2] == (
        0,
        "chunk 0: Too Many Requests: Too many.; once more in 17 s\n",
    )
    assert slept == [17]
    refused.headers["Retry-After"] = "3600"
    taking.got.clear()
    taking.fails[0] = [refused]
    code, out, err = pkgctl("fcs", "upload", "a.fcs")
    assert (code, out, slept) == (1, "", [17])
    assert err.endswith("pkgctl: Too Many Requests: Too many. (try again in 3600 s)\n")


def test_the_end_is_asked_for_again_as_well(pkgctl: Pkgctl, taking: Taking) -> None:
    taking.server.on("POST /fcs/uploads/5/complete", Reply(raw=b""), Reply(FILE, 201))
    code, _, err = pkgctl("fcs", "upload", "a.fcs")
    assert (code, taking.lines[-2:]) == (0, [WHOLE[-1]] * 2)
    assert re.fullmatch(r"the end: Cannot [^\n]+; once more in 0 s\n", err)


def test_who_gives_up_says_how_to_go_on(pkgctl: Pkgctl, taking: Taking, here: Path) -> None:
    away = problem(503, "Service Unavailable", "Not now.")
    (here / "a.fcs").rename(here / "my file.fcs")
    taking.fails[2] = [away] * 9
    code, out, err = pkgctl("fcs", "upload", "my file.fcs", "--name", "a.fcs")
    assert (code, out, len(taking.lines)) == (1, "", 7)
    assert err.splitlines()[3:] == [
        f"2.0 KiB of 2.4 KiB {GO_ON} 'my file.fcs' --name a.fcs --resume 5",
        "pkgctl: Service Unavailable: Not now.",
    ]


@pytest.mark.parametrize("status", [401, 403, 409, 507])
def test_what_does_not_pass_is_tried_once(pkgctl: Pkgctl, taking: Taking, status: int) -> None:
    taking.fails[1] = [problem(status, "No", "Not like this.")]
    code, out, err = pkgctl("fcs", "upload", "a.fcs")
    assert (code, out, taking.lines) == (1, "", WHOLE[:3])
    assert err == lines(f"1000 B of 2.4 KiB {GO_ON} a.fcs --resume 5", "pkgctl: No: Not like this.")


def test_an_upload_that_is_gone_is_not_gone_on_with(pkgctl: Pkgctl, taking: Taking) -> None:
    taking.fails[1] = [problem(404, "Not Found", "No such upload.")]
    assert pkgctl("fcs", "upload", "a.fcs") == (1, "", "pkgctl: Not Found: No such upload.\n")


def test_a_file_that_is_none_leaves_nothing_behind(pkgctl: Pkgctl, taking: Taking) -> None:
    """Given an upload that was begun in this call, when its bytes are refused, then it is given up."""
    refused = problem(400, "Bad Request", "This is no FCS file.")
    taking.fails[0] = [refused]
    assert pkgctl("fcs", "upload", "a.fcs") == (1, "", "pkgctl: Bad Request: This is no FCS file.\n")
    assert taking.lines == [*WHOLE[:2], "DELETE /uploads/5"]
    taking.server.on("POST /fcs/uploads/5/complete", refused)
    assert pkgctl("fcs", "upload", "a.fcs")[0] == 1
    assert taking.lines[-2:] == [WHOLE[-1], "DELETE /uploads/5"]
    code, out, err = pkgctl("fcs", "upload", "a.fcs", "--resume", "5")
    assert (code, out, taking.lines[-1]) == (1, "", WHOLE[-1])
    assert err == lines(
        "To go on is no use; give it up: pkgctl fcs abort 5", "pkgctl: Bad Request: This is no FCS file."
    )


def test_an_upload_that_may_not_begin_leaves_nothing_to_say(pkgctl: Pkgctl, taking: Taking) -> None:
    taking.server.on("POST /fcs/uploads", problem(413, "Payload Too Large", "It may have 3 bytes."))
    assert pkgctl("fcs", "upload", "a.fcs") == (1, "", "pkgctl: Payload Too Large: It may have 3 bytes.\n")
    assert taking.lines == WHOLE[:1]


def test_a_file_that_shrinks_meanwhile_is_told(pkgctl: Pkgctl, taking: Taking, here: Path) -> None:
    def shrink(asked: Asked) -> Reply:
        (here / "a.fcs").write_bytes(LARGE[:1500])
        return taking.take(0, asked)

    taking.server.routes["PUT /fcs/uploads/5/chunks/0"] = shrink
    code, out, err = pkgctl("fcs", "upload", "a.fcs")
    assert (code, out) == (1, "")
    assert err.endswith("pkgctl: a.fcs has become shorter while it was sent\n")


# Going on


def test_only_what_is_missing_is_sent(pkgctl: Pkgctl, taking: Taking) -> None:
    taking.got = {0: b"", 2: b""}
    code, out, err = pkgctl("fcs", "upload", "a.fcs", "--resume", "5")
    assert (code, err, out.splitlines()[1].split()[0]) == (0, "", "7")
    assert taking.lines == ["GET /uploads/5", "PUT /uploads/5/chunks/1", WHOLE[-1]]
    assert taking.got[1] == LARGE[1000:2000]
    assert pkgctl("fcs", "upload", "a.fcs", "--resume", "5")[0] == 0
    assert taking.lines[3:] == ["GET /uploads/5", WHOLE[-1]]


def test_another_file_is_not_gone_on_with(pkgctl: Pkgctl, taking: Taking, here: Path) -> None:
    (here / "b.fcs").write_bytes(LARGE)
    assert pkgctl("fcs", "upload", "b.fcs", "--resume", "5") == (
        1,
        "",
        "pkgctl: Upload 5 is to be a.fcs, and not b.fcs; if that is the same file, say so: --name a.fcs\n",
    )
    (here / "a.fcs").write_bytes(LARGE + b"x")
    told = "pkgctl: a.fcs has 2501 bytes, and upload 5 is to have 2500: it is another file\n"
    assert pkgctl("fcs", "upload", "a.fcs", "--resume", "5") == (1, "", told)
    assert taking.lines == ["GET /uploads/5"] * 2
    assert pkgctl("fcs", "upload", "b.fcs", "--name", "a.fcs", "--resume", "5")[0] == 0


@pytest.mark.parametrize("missing", [[3], [-1], [10**12]])
def test_a_chunk_that_there_is_not_is_not_sent(pkgctl: Pkgctl, taking: Taking, missing: list[int]) -> None:
    taking.server.on("GET /fcs/uploads/5", UPLOAD | {"missing": missing})
    code, out, err = pkgctl("fcs", "upload", "a.fcs", "--resume", "5")
    assert (code, out, taking.lines) == (3, "", ["GET /uploads/5"])
    assert f"Not Purser's API: it asks for chunk {missing[0]}, which there is not" in err


def test_a_server_that_asks_for_ever_is_left(pkgctl: Pkgctl, taking: Taking) -> None:
    taking.server.on("PUT /fcs/uploads/5/chunks/1", UPLOAD | {"missing": [1]})
    taking.got = {0: b"", 2: b""}
    code, _, err = pkgctl("fcs", "upload", "a.fcs", "--resume", "5")
    assert (code, len(taking.lines)) == (3, 2)
    assert "Not Purser's API: it asks for chunk 1 again, which it has taken" in err


def test_how_far_it_is_stands_on_the_terminal_and_ctrl_c_says_how_to_go_on(
    taking: Taking, terminal: tuple[int, int], here: Path
) -> None:
    """Given an upload of which a part is there already, then what shows is how far the whole has come."""
    over = threading.Event()

    def hold(asked: Asked) -> Reply:
        assert over.wait(30)
        return taking.take(1, asked)

    taking.got = {0: b""}
    taking.server.routes["PUT /fcs/uploads/5/chunks/1"] = hold
    words = ("fcs", "upload", str(here / "a.fcs"), "--resume", "5", "--url", taking.server.url)
    with process(*words, stderr=terminal[1]) as child:
        line = r"\r\x1b\[K\[#{16}-{4}\]  80 %  2\.0 KiB of 2\.4 KiB  \S+ \S+/s  (\d+:\d\d left  )?a\.fcs"
        assert "\n" not in shown(terminal[0], line)
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == 130
        over.set()
        told = re.escape(f"\r\x1b[K1000 B of 2.4 KiB {GO_ON} {here}/a.fcs --resume 5\r\n")
        shown(terminal[0], f"{told}$")


def test_that_the_service_puts_chunks_together_stands_on_the_terminal(
    taking: Taking, terminal: tuple[int, int], here: Path
) -> None:
    over = threading.Event()

    def complete(_: Asked) -> Reply:
        assert over.wait(30)
        return Reply(FILE, 201)

    taking.server.routes["POST /fcs/uploads/5/complete"] = complete
    words = ("fcs", "upload", str(here / "a.fcs"), "--resume", "5", "--url", taking.server.url)
    with process(*words, stderr=terminal[1]) as child:
        shown(terminal[0], r"\r\x1b\[K2\.4 KiB are there, and are put together  a\.fcs")
        over.set()
        assert child.wait(30) == 0


# Lists, fetching, deleting


def test_lists_are_tables(pkgctl: Pkgctl, server: Server) -> None:
    server.on("GET /fcs/files", [FILE, {**FILE, "file_id": 12, "filename": HOSTILE, "owner_name": None}])
    code, out, err = pkgctl("fcs", "ls")
    assert (code, err) == (0, "")
    assert out == lines(
        "ID  NAME              SIZE     EVENTS  PARAMETERS  VERSION  OWNER  CREATED",
        "7   a.fcs             1.5 KiB  3       2           FCS3.1   ann    2026-11-21T06:18:00.123Z",
        "12  \\x1b]0;owned\\x07  1.5 KiB  3       2           FCS3.1   -      2026-11-21T06:18:00.123Z",
    )
    assert [row["file_id"] for row in answer(pkgctl("fcs", "ls", "--json"))] == [7, 12]
    server.on("GET /fcs/files", [])
    assert pkgctl("fcs", "ls") == (0, "", "No FCS files.\n")


def test_uploads_that_are_complete_are_not_listed(pkgctl: Pkgctl, server: Server) -> None:
    server.on("GET /fcs/uploads", [{**UPLOAD, "uploaded_bytes": 1000}, {**UPLOAD, "id": 6, "status": "completed"}])
    assert pkgctl("fcs", "uploads") == (
        0,
        lines(
            "ID  NAME   SIZE     SENT    CREATED                   EXPIRES",
            f"5   a.fcs  2.4 KiB  1000 B  2026-11-21T06:18:00.123Z  {UNTIL}",
        ),
        "",
    )
    assert [row["id"] for row in answer(pkgctl("fcs", "uploads", "--json"))] == [5]
    server.on("GET /fcs/uploads", [])
    assert pkgctl("fcs", "uploads") == (0, "", "No uploads.\n")


def test_files_are_deleted_one_after_the_other_and_uploads_given_up(pkgctl: Pkgctl, server: Server) -> None:
    for number in (7, 8):
        server.on(f"DELETE /fcs/files/{number}", Reply(b"", 204))
    server.on("DELETE /fcs/uploads/5", Reply(b"", 204))
    told = lines("Success: Deleted FCS file 7", "Success: Deleted FCS file 8")
    assert pkgctl("fcs", "rm", "7", "8", "7") == (0, told, "")
    assert pkgctl("fcs", "rm", "7", "8", "--json") == (0, "", "")
    assert pkgctl("fcs", "rm", "7", "9", "8") == (
        1,
        "Success: Deleted FCS file 7\n",
        lines("FCS file 9 was not deleted, nor 8", "pkgctl: Not Found: No such path."),
    )
    assert pkgctl("fcs", "abort", "5") == (0, "Success: Gave up upload 5\n", "")


def test_a_download_that_broke_off_goes_on(pkgctl: Pkgctl, server: Server, here: Path) -> None:
    server.on("GET /fcs/files/7/download", Reply(raw=cut(CONTENT, 5000)))
    code, out, err = pkgctl("fcs", "get", "7", "-o", "a.fcs")
    assert (code, out) == (3, "")
    assert "the same command with -o a.fcs goes on from there" in err
    server.routes["GET /fcs/files/7/download"] = download()
    assert pkgctl("fcs", "get", "7", "-o", "a.fcs") == (0, "Success: Saved a.fcs, 9.8 KiB\n", "")
    assert ranges(server)[-1] == "bytes=4999-"
    assert (here / "a.fcs").read_bytes() == CONTENT
    told = {"path": "a.fcs", "size_bytes": 10000, "sha256": sha256(CONTENT)}
    assert answer(pkgctl("fcs", "get", "7", "-o", "a.fcs", "--force", "--json")) == told
    assert pkgctl("fcs", "get", "7", "-o", "a.fcs")[0] == 1
    assert pkgctl("fcs", "get", "7", "-o", "-") == (0, CONTENT.decode(), "")


# What is in a file


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, "-"),
        (0, "0"),
        (-3, "-3"),
        (2**64 - 1, "18446744073709551615"),
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (72790440.0, "72790440"),
        (-737655.6875, "-737656"),
        (311222.21800836, "311222"),
        (3423.41683884, "3423.42"),
        (86328.1015625, "86328.1"),
        (999999.4, "999999"),
        (999999.7, "1000000"),
        (9999999.5, "10000000"),
        (1 / 3, "0.333333"),
        (0.000125, "0.000125"),
        (1.5e-9, "1.5e-09"),
        (3.4e38, "3.4e+38"),
        (-1e300, "-1e+300"),
        ("x\x1b", "x\\x1b"),
    ],
)
def test_numbers_have_six_significant_digits_and_all_before_their_point(value: object, told: str) -> None:
    assert figure(value) == told


def test_everything_about_a_file_is_shown(pkgctl: Pkgctl, server: Server) -> None:
    log = {**PARAMETER, "index": 10, "pnn": HOSTILE, "pns": "", "range": None, "display": "LOG", "datatype": "I"}
    measured = [PARAMETER, {**log, "bits": 8, "amplification": {"decades": 4.5, "offset": 1}, "gain": 0.125}]
    server.on("GET /fcs/parameters", {"file_id": 7, "total_events": 3, "total_parameters": 2, "parameters": measured})
    server.on("GET /fcs/files/7", {**FILE, "warnings": ["$TOT is missing.", "x, y"], "invented_later": 1.5})
    code, out, err = pkgctl("fcs", "info")
    assert (code, err) == (0, "")
    assert out == lines(
        "file_id           7",
        "filename          a.fcs",
        "owner_id          1",
        "owner_name        ann",
        "size_bytes        1.5 KiB",
        f"sha256            {'0' * 64}",
        "fcs_version       FCS3.1",
        "total_events      3",
        "total_parameters  2",
        "created_at        2026-11-21T06:18:00.123Z",
        "invented_later    1.5",
        "warnings          2",
        "  $TOT is missing.",
        "  x, y",
        "",
        "NO  PARAMETER         STAIN     RANGE  DISPLAY  TYPE  BITS  DECADES   GAIN",
        " 1  FSC-A             Forward  262144  LIN      F       32        -      -",
        "10  \\x1b]0;owned\\x07  -             -  LOG      I        8    4.5,1  0.125",
    )
    assert [asked.query for asked in server.asked] == [{}, {}]
    told = answer(pkgctl("fcs", "info", "7", "--json"))
    assert (told["filename"], told["parameters"]) == ("a.fcs", measured)
    assert server.asked[2].query == {"file_id": "7"}


def test_keywords_are_a_table_and_those_that_are_hidden_are_told(pkgctl: Pkgctl, server: Server) -> None:
    found = {"$CYT": "Aria", "$PAR": "2", "EMPTY": "", "K" * 50: HOSTILE}
    server.on("GET /fcs/keywords", {"file_id": 7, "total_keywords": 5, "keywords": found, "hidden": ["$OP", "$SMNO"]})
    code, out, err = pkgctl("fcs", "keywords", "--file", "7")
    assert (code, server.asked[0].query) == (0, {"file_id": "7"})
    assert out == lines(
        "KEYWORD  VALUE",
        "$CYT     Aria",
        "$PAR     2",
        "EMPTY    -",
        f"{'K' * 50}  \\x1b]0;owned\\x07",
    )
    assert err == "Only with fcs:analyze, since they may tell of persons: $OP, $SMNO\n"
    assert answer(pkgctl("fcs", "keywords", "--json"))["hidden"] == ["$OP", "$SMNO"]


def test_statistics_are_a_table_with_numbers_to_the_right(pkgctl: Pkgctl, server: Server) -> None:
    other = {**STATISTIC, "parameter": HOSTILE, "pns": "", "above_range": 12, "negative_fraction": None}
    server.on("GET /fcs/statistics", as_json({"file_id": 7, "statistics": [STATISTIC, other]}))
    code, out, err = pkgctl("fcs", "stats", "--file", "7")
    assert (code, err, server.asked[0].query) == (0, "", {"file_id": "7"})
    assert out == lines(
        "PARAMETER         STAIN     MIN  P5  P25  MEDIAN  P75  P95       MAX    MEAN  STD  NEGATIVE  NAN  ABOVE",
        "FSC-A             Forward  -1.5   1    2    0.25    3    4  72790440  311222    -     33.3%    0      -",
        "\\x1b]0;owned\\x07  -        -1.5   1    2    0.25    3    4  72790440  311222    -         -    0     12",
    )
    assert answer(pkgctl("fcs", "stats", "--json"))["statistics"][1] == other


def test_statistics_that_are_being_computed_are_waited_for(
    pkgctl: Pkgctl, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr("app.cli.measured.time.sleep", slept.append)
    told_later = ({"Retry-After": "7"}, {}, {"Retry-After": "0"})
    later = [as_json({"status": "computing"}, 202, **headers) for headers in told_later]
    server.on("GET /fcs/statistics", *later, as_json({"file_id": 7, "statistics": [STATISTIC]}))
    code, out, err = pkgctl("fcs", "stats")
    assert (code, len(out.splitlines()), slept) == (0, 2, [7, 5, 1])
    assert err == "The statistics are being computed; waiting for them\n"
    failed = problem(503, "Service Unavailable", "The statistics could not be computed: memory.")
    server.on("GET /fcs/statistics", failed)
    told = "pkgctl: Service Unavailable: The statistics could not be computed: memory.\n"
    assert pkgctl("fcs", "stats") == (1, "", told)


def test_events_are_a_table_with_numbers_to_the_right(pkgctl: Pkgctl, server: Server) -> None:
    rows = [{"FSC-A": 1.5, HOSTILE: None, "P" * 50: 1}, {"FSC-A": -70000.25, HOSTILE: 2, "P" * 50: 1000000}]
    server.on("GET /fcs/events", as_json({"total_events": 9, "limit": 2, "offset": 3, "events": rows}))
    words = "--limit 2 --offset 3 --parameters FSC-A,2 --file 7"
    code, out, err = pkgctl("fcs", "events", *words.split())
    assert (code, err) == (0, "")
    assert out == lines(
        f"   FSC-A  \\x1b]0;owned\\x07  {'P' * 50}",
        "     1.5                 -        1",
        "-70000.2                 2  1000000",
    )
    assert server.asked[0].query == {"limit": "2", "offset": "3", "parameters": "FSC-A,2", "file_id": "7"}
    assert answer(pkgctl("fcs", "events", "--json"))["events"] == rows
    server.on("GET /fcs/events", as_json({"total_events": 9, "limit": 2, "offset": 30, "events": []}))
    assert pkgctl("fcs", "events", "--offset", "30") == (0, "", "No events there: the file has 9.\n")


def test_an_answer_without_an_end_is_left(pkgctl: Pkgctl, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cli.measured.MOST_BYTES", 1000)
    server.on("GET /fcs/events", as_json(b"[" * 2000))
    told = "pkgctl: Not Purser's API: an answer of more than 1000 bytes\n"
    assert pkgctl("fcs", "events") == (3, "", told)


def test_events_are_the_services_csv_as_it_is(pkgctl: Pkgctl, server: Server) -> None:
    sheet = "FSC-A,größe\r\n1.5,2\r\n"
    headers = {"Content-Type": "text/csv; charset=utf-8; header=present"}
    server.on("GET /fcs/events", Reply(sheet.encode(), 200, headers))
    assert pkgctl("fcs", "events", "--csv") == (0, sheet, "")
    assert server.asked[0].query == {"format": "csv"}


def test_an_answer_that_is_something_else_is_unreachable(pkgctl: Pkgctl, server: Server, here: Path) -> None:
    for content in (b"<html>", b"[1]", b'{"statistics": 1, "events": 2, "total_events": "x"}', b"[" * 100_000):
        for path in ("parameters", "keywords", "statistics", "events", "histogram", "files", "uploads"):
            server.on(f"GET /fcs/{path}", as_json(content))
        for words in ("info", "keywords", "stats", "events", "uploads", "plot A -o a.svg"):
            code, out, err = pkgctl("fcs", *words.split())
            assert (code, out) == (3, ""), words
            assert err.startswith("pkgctl: Not Purser's API: ")
    assert list(here.iterdir()) == []


# Plots


@pytest.fixture
def drawing(server: Server) -> list[Asked]:
    """The server draws whatever it is asked for."""

    def draw(asked: Asked) -> Reply:
        if asked.query.get("format") == "svg":
            return Reply(SVG, 200, {"Content-Type": "image/svg+xml"})
        return as_json({"counts": [1, 2]})

    server.routes |= {"GET /fcs/histogram": draw, "GET /fcs/density": draw}
    return server.asked


@pytest.mark.parametrize(
    ("words", "path", "query"),
    [
        ("FSC-A", "histogram", {"x": "FSC-A"}),
        (
            "3 --file 7 --scale asinh --bins 64 --min -1000.5 --max 1e6 --cofactor 5",
            "histogram",
            {
                **{"x": "3", "file_id": "7", "scale": "asinh", "bins": "64"},
                **{"min": "-1000.5", "max": "1000000.0", "cofactor": "5.0"},
            },
        ),
        ("FSC-A SSC-A", "density", {"x": "FSC-A", "y": "SSC-A"}),
        (
            "A B --scale log --x-scale linear --y-scale asinh --x-min 0 --x-max 1 --y-min 2 --y-max 3",
            "density",
            {
                **{"x": "A", "y": "B", "scale": "log", "x_scale": "linear", "y_scale": "asinh"},
                **{"x_min": "0.0", "x_max": "1.0", "y_min": "2.0", "y_max": "3.0"},
            },
        ),
    ],
)
def test_one_parameter_is_a_histogram_and_two_are_a_density(
    pkgctl: Pkgctl, drawing: list[Asked], words: str, path: str, query: dict[str, str]
) -> None:
    assert pkgctl("fcs", "plot", *words.split()) == (0, SVG.decode(), "")
    assert answer(pkgctl("fcs", "plot", *words.split(), "--json")) == {"counts": [1, 2]}
    assert [asked.target.partition("?")[0] for asked in drawing] == [f"/api/v1/fcs/{path}"] * 2
    assert [asked.query for asked in drawing] == [{**query, "format": "svg"}, query]


def test_a_plot_becomes_a_file_and_replaces_none_by_itself(pkgctl: Pkgctl, drawing: list[Asked], here: Path) -> None:
    place = here / "a.svg"
    assert pkgctl("fcs", "plot", "A", "-o", "a.svg") == (0, "Success: Saved a.svg, 41 B\n", "")
    assert place.read_bytes() == SVG
    place.write_text("mine")
    told = "pkgctl: a.svg is there already; --force replaces it\n"
    assert pkgctl("fcs", "plot", "A", "-o", "a.svg") == (1, "", told)
    assert (place.read_text(), len(drawing)) == ("mine", 1)
    part(here, SVG, b"what was left", name="a.svg")
    assert pkgctl("fcs", "plot", "A", "-o", "a.svg", "--force")[0] == 0
    assert {path.name: path.read_bytes() for path in here.iterdir()} == {"a.svg": SVG}
    assert pkgctl("fcs", "plot", "A", "-o", "none/a.svg")[0] == 1


def test_a_terminal_is_not_drawn_upon(drawing: list[Asked], server: Server, terminal: tuple[int, int]) -> None:
    with process("fcs", "plot", "A", "--url", server.url, stdout=terminal[1]) as child:
        _, err = child.communicate(timeout=30)
    told = "pkgctl: A plot is SVG, which is nothing for a terminal: give -o FILE.svg\n"
    assert (child.returncode, err, drawing) == (2, told, [])


def test_other_commands_load_nothing_of_these(server: Server) -> None:
    """`pkgctl list` must start at once on a small machine."""
    server.on("GET /packages", [])
    code = "import sys; from app.cli import main; main(); print(*sys.modules)"
    words = [sys.executable, "-c", code, "list", "--url", server.url]
    loaded = set(subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=30).stdout.split())
    assert "app.cli.fcs" in loaded
    assert not loaded & {"app.cli.measured", "app.cli.figures", "app.cli.chunks", "app.cli.transfers", "app.fcs"}


# Against the real service


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A claimed service."""
    service = Service(tmp_path_factory.mktemp("fcs"))
    service.start()
    yield service
    code, said = service.stop()
    assert code == 0, said


SMALL = fcs(
    [[1.5, -2.25, 1000000, math.nan], [0, 1, 2, 3]],
    names=["FSC-A", "Time"],
    ranges=[1024, 3],
    keywords={"$P1S": "Forward", "$CYT": "Aria", "$OP": "Ann", "$P1DISPLAY": "LIN", "P2DISPLAY": "LIN"},
)


@slow
def test_a_file_is_sent_read_fetched_and_deleted(person: Callable[[str], Calls], here: Path) -> None:
    ann = person("ann")
    assert ann("fcs", "stats")[::2] == (
        1,
        "pkgctl: Not Found: You have no FCS file; upload one, or name another with file_id.\n",
    )
    (here / "a.fcs").write_bytes(SMALL)
    code, out, err = ann("fcs", "upload", "a.fcs")
    assert (code, err) == (0, "")
    number = out.splitlines()[1].split()[0]
    assert out.splitlines()[1].split()[1:] == ["a.fcs", "4", "2", "FCS3.1"]
    shown_whole = ann("fcs", "info")[1]
    assert f"file_id           {number}\n" in shown_whole
    assert shown_whole.endswith(
        lines(
            "warnings          0",
            "",
            "NO  PARAMETER  STAIN    RANGE  DISPLAY  TYPE  BITS  DECADES  GAIN",
            " 1  FSC-A      Forward   1024  LIN      F       32        -     -",
            " 2  Time       Time         3  LIN      F       32        -     -",
        )
    )
    assert ann("fcs", "stats") == (
        0,
        lines(
            "PARAMETER  STAIN      MIN      P5     P25  MEDIAN     P75     P95      MAX    MEAN      STD"
            "  NEGATIVE  NAN  ABOVE",
            "FSC-A      Forward  -2.25  -1.875  -0.375     1.5  500001  900000  1000000  333333   471405"
            "     33.3%    1      1",
            "Time       Time         0    0.15    0.75     1.5    2.25    2.85        3     1.5  1.11803"
            "      0.0%    0      0",
        ),
        "",
    )
    assert ann("fcs", "events", "--limit", "3", "--offset", "1") == (
        0,
        lines("  FSC-A  Time", "  -2.25     1", "1000000     2", "      -     3"),
        "",
    )
    assert ann("fcs", "events", "--parameters", "Time", "--limit", "2", "--csv") == (0, "Time\r\n0.0\r\n1.0\r\n", "")
    keywords = dict(line.split(maxsplit=1) for line in ann("fcs", "keywords", "--file", number)[1].splitlines())
    assert (keywords["$CYT"], keywords["$P1S"]) == ("Aria", "Forward")
    assert ann("fcs", "get", number, "-o", "b.fcs")[0] == 0
    assert (here / "b.fcs").read_bytes() == SMALL
    assert ann("fcs", "rm", number) == (0, f"Success: Deleted FCS file {number}\n", "")
    assert ann("fcs", "ls") == (0, "", "No FCS files.\n")


@slow
def test_plots_are_svg(person: Callable[[str], Calls], here: Path) -> None:
    pia = person("pia")
    (here / "a.fcs").write_bytes(SMALL)
    assert pia("fcs", "upload", "a.fcs")[0] == 0
    for words in ("FSC-A --scale asinh --bins 16", "Time FSC-A --x-min 0 --x-max 5 --y-scale linear"):
        assert pia("fcs", "plot", *words.split(), "-o", "a.svg", "--force")[0] == 0
        assert ElementTree.parse(here / "a.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - ours
    assert sum(answer(pia("fcs", "plot", "Time", "--json"))["counts"]) == 4
    code, out, err = pia("fcs", "plot", "Area", "-o", "b.svg")
    assert (code, out) == (1, "")
    assert err.startswith("pkgctl: Bad Request: x: there is no parameter 'Area'; there are FSC-A, Time")
    assert not (here / "b.svg").exists()


LARGE_BYTES = 33 * 2**20


@pytest.fixture
def large(here: Path) -> Path:
    """An FCS file of a little more than is sent in one request."""
    path = here / "large.fcs"
    events = LARGE_BYTES // 8
    path.write_bytes(written([[0.0], [0.0]], stored=os.urandom(4096) * (LARGE_BYTES // 4096), tot=events).content)
    return path


@slow
def test_a_large_file_goes_in_chunks_and_comes_back_as_it_was(
    box: Service, person: Callable[[str], Calls], large: Path, here: Path
) -> None:
    lea = person("lea")
    sent = answer(lea("fcs", "upload", "large.fcs", "--chunk-size", "10", "--json"))
    assert (sent["total_events"], sent["size_bytes"]) == (LARGE_BYTES // 8, large.stat().st_size)
    with large.open("rb") as file:
        assert sent["sha256"] == hashlib.file_digest(file, "sha256").hexdigest()
    assert lea("fcs", "uploads") == (0, "", "No uploads.\n")
    assert lea("fcs", "get", str(sent["file_id"]), "-o", "b.fcs")[0] == 0
    assert (here / "b.fcs").read_bytes() == large.read_bytes()


@slow
def test_what_is_no_fcs_file_leaves_no_upload(person: Callable[[str], Calls], here: Path) -> None:
    kim = person("kim")
    with (here / "zero.fcs").open("wb") as file:
        file.truncate(LARGE_BYTES)
    code, out, err = kim("fcs", "upload", "zero.fcs")
    assert (code, out) == (1, "")
    assert err.startswith("pkgctl: Bad Request: /file: byte 0: expected FCS")
    assert kim("fcs", "uploads") == (0, "", "No uploads.\n")


@contextmanager
def cutting(service: Service, after: int, end: Callable[[], object]) -> Iterator[str]:
    """The URL of a way to the service; when so many bytes have gone there, `end` happens once, and it is cut."""
    left = [after]

    def carry(near: socket.socket) -> None:
        with near, suppress(OSError):
            far = socket.create_connection(("127.0.0.1", int(service.url.rpartition(":")[2])))
            with far:
                back = threading.Thread(target=pour, args=(far, near))
                back.start()
                while piece := near.recv(65536):
                    left[0] -= len(piece)
                    if left[0] < 0 <= left[0] + len(piece):
                        end()
                        break
                    far.sendall(piece)
                far.shutdown(socket.SHUT_RDWR)
                back.join(30)

    def listen() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                carriers.append(threading.Thread(target=carry, args=(near,)))
                carriers[-1].start()

    carriers: list[threading.Thread] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=listen)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        for running in (thread, *carriers):
            running.join(30)


def pour(far: socket.socket, near: socket.socket) -> None:
    with suppress(OSError):
        while piece := far.recv(65536):
            near.sendall(piece)


def run(service: Service, url: str, capsys: pytest.CaptureFixture[str], *words: str) -> Outcome:
    code = main(words, {"PURSER_URL": url, "PURSER_TOKEN": service.token})
    told = capsys.readouterr()
    return code, told.out, told.err


@slow
def test_an_upload_goes_on_in_another_call_after_the_service_was_killed(
    service: Service, large: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a service that is killed on the way, when the upload is resumed, then only the rest is sent."""
    monkeypatch.setattr(chunks, "PAUSES_S", (0.01,))
    service.start()
    with cutting(service, 18 * 2**20, service.kill) as url:
        code, out, err = run(service, url, capsys, "fcs", "upload", "large.fcs", "--chunk-size", "4")
    assert (code, out) == (3, "")
    hint = re.search(r"^16\.0 MiB of 33\.0 MiB are kept until \S+; the rest goes with: pkgctl (.+)$", err, re.MULTILINE)
    assert hint, err
    assert hint[1] == "fcs upload large.fcs --resume 1"
    service.start()
    (left,) = answer(run(service, service.url, capsys, "fcs", "uploads", "--json"))
    assert (left["id"], left["uploaded_bytes"]) == (1, 16 * 2**20)
    with cutting(service, 18 * 2**20, lambda: None) as url:
        code, out, err = run(service, url, capsys, *hint[1].split())
    assert (code, err, out.splitlines()[1].split()[1:3]) == (0, "", ["large.fcs", str(LARGE_BYTES // 8)])
    (made,) = answer(run(service, service.url, capsys, "fcs", "ls", "--json"))
    assert made["sha256"] == sha256(large.read_bytes())


@slow
def test_an_upload_outlives_a_restart_of_the_service(
    service: Service, large: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "PAUSES_S", (0.01, 0.01))
    service.start()

    def restart() -> None:
        service.kill()
        service.start()

    with cutting(service, 18 * 2**20, restart) as url:
        code, out, err = run(service, url, capsys, "fcs", "upload", "large.fcs", "--json")
    assert (code, msgspec.json.decode(out)["sha256"]) == (0, sha256(large.read_bytes()))
    assert re.fullmatch(r"chunk 3: Cannot [^\n]+; once more in 0\.01 s\n", err)


@slow
@pytest.mark.skipif(not SAMPLE.exists(), reason="the sample is not here")
def test_the_sample_shows_its_golden_statistics(person: Callable[[str], Calls]) -> None:
    sam = person("sam")
    code, out, err = sam("fcs", "upload", str(SAMPLE))
    assert (code, err, out.splitlines()[1].split()[1:]) == (0, "", [SAMPLE.name, "34297", "26", "FCS3.0"])
    heading, *rows = sam("fcs", "stats")[1].splitlines()
    row = next(row for row in rows if row.startswith("FSC-A "))
    assert dict(zip(heading.split(), row.split(), strict=True)) == {
        **{"PARAMETER": "FSC-A", "STAIN": "FSC-A", "MIN": "-737656", "MAX": "72790440", "MEAN": "311222"},
        **{"P5": "36524.7", "P25": "51456.8", "MEDIAN": "107810", "P75": "479594", "P95": "863235"},
        **{"STD": "1337280", "NEGATIVE": "0.0%", "NAN": "0", "ABOVE": "19"},
    }
    first = sam("fcs", "events", "--limit", "1", "--parameters", "FSC-H,FSC-A,Time")[1].splitlines()[1]
    assert first.split() == ["86328.1", "59898.4", "0"]
