"""The commands about flow-cytometry files: sending them, whole or in chunks, listing, fetching and deleting them.

What they tell of the content of a file is in `measured`.
"""

import argparse
import math
import os
import stat
from typing import TYPE_CHECKING

import msgspec

from app.cli.answers import FcsFile, FcsUpload, read
from app.cli.call import Call
from app.cli.options import Commands, about_one, about_some, command, identifier, large_group, positive, whole
from app.cli.outcomes import OK, Failure, Usage
from app.cli.output import Table, size

if TYPE_CHECKING:
    from app.cli.client import Client

LIST = {
    "ID": "file_id",
    "NAME": "filename",
    "SIZE": "size_bytes",
    "EVENTS": "total_events",
    "PARAMETERS": "total_parameters",
    "VERSION": "fcs_version",
    "OWNER": "owner_name",
    "CREATED": "created_at",
}
SENT = {
    "ID": "file_id",
    "NAME": "filename",
    "EVENTS": "total_events",
    "PARAMETERS": "total_parameters",
    "VERSION": "fcs_version",
}
UPLOADS = {
    "ID": "id",
    "NAME": "filename",
    "SIZE": "size_bytes",
    "SENT": "uploaded_bytes",
    "CREATED": "created_at",
    "EXPIRES": "expires_at",
}
ID = "the file's id, as `pkgctl fcs ls` shows it"
UPLOAD = "its id, as `pkgctl fcs uploads` shows it"
SCALES = ("linear", "log", "asinh")
MIB = 2**20
MOST_CHUNK_MIB = 10
WIDEST = 60
"""A name may be as long as its owner likes; the columns of the others stay where they are."""


def add(commands: Commands) -> None:
    """Declares the commands."""
    large_group(commands, "fcs", "send, list and read flow-cytometry files", _declare)


def _declare(actions: Commands) -> None:
    uploading = command(actions, "upload", upload, "send FCS files to the appliance, large ones in chunks")
    uploading.add_argument("paths", metavar="PATH", nargs="+", help="a file; - is standard input, and needs --name")
    uploading.add_argument("--name", help="what one file is called there; default as here")
    uploading.add_argument(
        "--chunk-size",
        type=_chunk_bytes,
        metavar="MIB",
        help=f"of files over 32 MiB so much at a time, 1 to {MOST_CHUNK_MIB}; default 5",
    )
    uploading.add_argument("--resume", type=identifier, metavar="UPLOAD", help=f"send what is missing of it: {UPLOAD}")
    command(actions, "ls", index, "list your FCS files")
    getting = about_one(actions, "get", get, "fetch a file; what was interrupted goes on", ID)
    _add_output(getting, "where to; a folder, a file, or - for stdout; default its name, here")
    about_some(actions, "rm", remove, "delete FCS files, one after the other", ID)
    command(actions, "uploads", uploads, "list the uploads in chunks that are not complete")
    aborting = command(actions, "abort", abort, "give up an upload in chunks")
    aborting.add_argument("upload", metavar="UPLOAD", type=identifier, help=UPLOAD)
    _declare_measured(actions)


def _declare_measured(actions: Commands) -> None:
    from app.cli import measured

    showing = command(actions, "info", measured.info, "show everything about a file, and what was measured")
    showing.add_argument("id", metavar="ID", nargs="?", type=identifier, help=f"{ID}; default your newest")
    telling = command(actions, "keywords", measured.keywords, "list the keywords of a file")
    counting = command(actions, "stats", measured.statistics, "print the statistics of every parameter")
    listing = command(actions, "events", measured.events, "print events of a file")
    listing.add_argument("--limit", type=positive, metavar="N", help="so many events, at most 10000; default 100")
    listing.add_argument("--offset", type=whole, metavar="N", help="leave out so many before them")
    listing.add_argument("--parameters", metavar="A,B", help="only these, by their names or numbers")
    listing.add_argument("--csv", action="store_true", help="print the service's CSV")
    plotting = command(actions, "plot", measured.plot, "draw a histogram of X, or a density of X and Y, as SVG")
    plotting.add_argument("x", metavar="X", help="a parameter, by its name or number")
    plotting.add_argument("y", metavar="Y", nargs="?", help="another one")
    _add_plot(plotting)
    for parser in (telling, counting, listing, plotting):
        parser.add_argument("--file", type=identifier, metavar="ID", help=f"{ID}; default your newest")


def _add_plot(parser: argparse.ArgumentParser) -> None:
    _add_output(parser, "the file to be written, or - for stdout, which is the default unless it is a terminal")
    parser.add_argument("--scale", choices=SCALES, help="how values stand on the axes; default as the file suggests")
    parser.add_argument("--bins", type=positive, metavar="N", help="of a histogram 2 to 1024, of a density 2 to 256")
    parser.add_argument("--min", type=_number, metavar="VALUE", help="where the axis of a histogram begins")
    parser.add_argument("--max", type=_number, metavar="VALUE", help="and ends")
    for axis in "xy":
        parser.add_argument(f"--{axis}-scale", choices=SCALES, help=f"of a density, how values stand on {axis.upper()}")
        parser.add_argument(f"--{axis}-min", type=_number, metavar="VALUE", help=f"where {axis.upper()} begins")
        parser.add_argument(f"--{axis}-max", type=_number, metavar="VALUE", help="and ends")
    parser.add_argument("--cofactor", type=_number, metavar="VALUE", help="that of the scale asinh; default 150")


def _add_output(parser: argparse.ArgumentParser, where: str) -> None:
    parser.add_argument("-o", dest="output", metavar="PATH", help=where)
    parser.add_argument("--force", action="store_true", help="replace a file or a symbolic link that is there")


def _chunk_bytes(word: str) -> int:
    """Returns the bytes of so many MiB as a chunk may have."""
    if not 1 <= (mib := positive(word)) <= MOST_CHUNK_MIB:
        raise argparse.ArgumentTypeError(f"{word!r} is none of 1 to {MOST_CHUNK_MIB}")
    return mib * MIB


def _number(word: str) -> float:
    """Returns the number that `word` writes."""
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{word!r} is no number")
    return value


def upload(call: Call) -> int:
    """Sends files one after the other, and prints each that is there; the first that fails is the last."""
    from app.cli.transfers import refuse_unreadable

    asked = call.arguments
    refuse_unreadable(asked.paths, asked.name)
    if asked.resume is not None:
        _check_resumed(asked)
    client = call.client()
    longest = max(len(asked.name or os.path.basename(path)) for path in asked.paths)
    table = Table(call.screen, SENT, WIDEST, {"ID": 4, "NAME": longest, "EVENTS": len("1000000")})
    for path in asked.paths:
        try:
            answer = _send(call, client, path)
        except Failure:
            if len(asked.paths) > 1:
                call.screen.note(f"{path} was not sent, nor what comes after it")
            raise
        _print(call, table, answer)
    return OK


def _check_resumed(asked: argparse.Namespace) -> None:
    if len(asked.paths) > 1 or asked.paths == ["-"]:
        raise Usage("--resume is for one file")
    if asked.chunk_size is not None:
        raise Usage("The chunks of an upload are as long as they were: leave --chunk-size out")
    if not stat.S_ISREG(os.stat(asked.paths[0]).st_mode):
        raise Usage(f"{asked.paths[0]} is no file that can be read from its middle on")


def _send(call: Call, client: "Client", path: str) -> bytes:
    """Sends one file; returns what the service answers."""
    from app.cli import chunks
    from app.cli.transfers import source
    from app.files.naming import sanitised

    asked = call.arguments
    name = asked.name or os.path.basename(path)
    if asked.resume is not None:
        return chunks.Sending(call, path, asked.name, sanitised(name)).go_on(asked.resume).content
    if path != "-":
        status = os.stat(path)
        if stat.S_ISREG(status.st_mode) and status.st_size > chunks.ONE_REQUEST_BYTES:
            return chunks.Sending(call, path, asked.name, sanitised(name)).begin(asked.chunk_size).content
    with source(call.screen, path, asked.name) as content, content.meter.shown(call.screen):
        return client.upload("/fcs/content", {"name": name}, content.body).content


def _print(call: Call, table: Table, answer: bytes) -> None:
    if call.as_json:
        call.screen.json(answer)
        call.screen.flush()
        return
    table.add([read(answer, dict[str, object], "the answer")])
    call.screen.flush()
    made = read(answer, FcsFile, "the answer")
    for warning in made.warnings:
        call.screen.note(f"{made.filename}: {warning}")


def index(call: Call) -> int:
    """Lists files, the newest first."""
    call.print_list(call.client().items("/fcs/files", {"limit": 1000}), LIST, "No FCS files.")
    return OK


def get(call: Call) -> int:
    """Fetches a file to its place, or to stdout."""
    from app.cli.fetching import Fetch, print_file

    asked = call.arguments
    client, path = call.client(), f"/fcs/files/{asked.id}/download"
    if asked.output == "-":
        print_file(call.screen, client, path)
        return OK
    saved = Fetch(call.screen, client, path, asked.output, asked.force).run()
    told = {"path": str(saved.place), "size_bytes": saved.size_bytes, "sha256": saved.sha256}
    call.print_answer(msgspec.json.encode(told), f"Success: Saved {saved.place}, {size(saved.size_bytes)}")
    return OK


def remove(call: Call) -> int:
    """Deletes files one after the other; the first that fails is the last."""
    client, ids = call.client(), list(dict.fromkeys(call.arguments.ids))
    for at, file_id in enumerate(ids):
        try:
            answer = client.send("DELETE", f"/fcs/files/{file_id}")
        except Failure:
            if left := ids[at + 1 :]:
                call.screen.note(f"FCS file {file_id} was not deleted, nor {', '.join(map(str, left))}")
            raise
        call.print_answer(answer.content, f"Success: Deleted FCS file {file_id}")
        call.screen.flush()
    return OK


def uploads(call: Call) -> int:
    """Lists the uploads that can be gone on with, the newest first."""
    found = call.client().items("/fcs/uploads", {"limit": 1000})
    left = [(item, told) for item in found if (told := read(item, FcsUpload, "an upload")).status == "processing"]
    if call.as_json or not left:
        call.print_list([item for item, _ in left], UPLOADS, "No uploads.")
        return OK
    rows = [read(item, dict[str, object], "an upload") | {"size_bytes": told.file_size} for item, told in left]
    call.screen.table(rows, UPLOADS)
    return OK


def abort(call: Call) -> int:
    """Gives an upload up, with all that was sent of it."""
    answer = call.client().send("DELETE", f"/fcs/uploads/{call.arguments.upload}")
    call.print_answer(answer.content, f"Success: Gave up upload {call.arguments.upload}")
    return OK
