"""The commands about files: sending and fetching them, where they lie, and who else has them."""

import argparse
import os
import re
from typing import TYPE_CHECKING

import msgspec

from app.cli import keeping
from app.cli.answers import Named, Shared, Storage, read
from app.cli.call import Call
from app.cli.options import Commands, about_one, about_some, changes, command, given, identifier, large_group, positive
from app.cli.outcomes import OK, Failure, Usage
from app.cli.output import Table, size

if TYPE_CHECKING:
    from app.cli.client import Client

LIST = {
    "ID": "id",
    "NAME": "name",
    "SIZE": "size_bytes",
    "TYPE": "media_type",
    "OWNER": "owner_name",
    "UPDATED": "updated_at",
}
SENT = {"ID": "id", "NAME": "name", "SIZE": "size_bytes", "TYPE": "media_type"}
SHARES = {
    "ID": "id",
    "WITH": "with",
    "MAY": "permission",
    "EXPIRES": "expires_at",
    "USED": "access_count",
    "MOST": "max_access_count",
    "SINCE": "created_at",
}
ID = "the file's id, as `pkgctl files ls` shows it"
WIDEST = 60
"""A name may be as long as its owner likes; the columns of the others stay where they are."""


def add(commands: Commands) -> None:
    """Declares the commands."""
    large_group(commands, "files", "send, fetch, list and share files", _declare)


def _declare(actions: Commands) -> None:
    putting = command(actions, "put", put, "send files to the appliance")
    putting.add_argument("paths", metavar="PATH", nargs="+", help="a file; - is standard input, and needs --name")
    keeping.add_folder(putting)
    putting.add_argument("--name", help="what one file is called there; default as here")
    _add_get(command(actions, "get", get, "fetch a file; what was interrupted goes on"))
    listing = command(actions, "ls", index, "list the files that you have or may see")
    listing.add_argument("-q", metavar="TEXT", help="only those whose name holds this text")
    listing.add_argument("--type", metavar="TYPE", help="only those whose media type holds this, such as image/")
    keeping.add_lists(listing)
    listing.add_argument("--favorite", action="store_true", help="only your favourites")
    about_one(actions, "info", info, "show everything about one file", ID)
    moving = about_one(actions, "mv", move, "rename a file, or put it into another folder", ID)
    copying = about_one(actions, "cp", copy, "make another file of the same content, of your own", ID)
    for parser in (moving, copying):
        parser.add_argument("--name", help="another name")
        keeping.add_folder(parser)
    about_some(actions, "rm", remove, "delete files, all or none", "files")
    _add_share(about_one(actions, "share", share, "let others have a file", ID))
    about_one(actions, "shares", shares, "list who else has a file", ID)
    revoking = about_one(actions, "revoke", revoke, "end a share", ID)
    revoking.add_argument("share", metavar="SHARE", type=identifier, help="its id, as `pkgctl files shares` shows it")
    command(actions, "usage", usage, "tell how much you keep, and may keep")


def _add_get(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("id", metavar="ID", nargs="?", type=identifier, help=ID)
    which.add_argument(
        "--link", metavar="URL", help="a link instead, or its secret part; no credential is sent with it"
    )
    parser.add_argument(
        "-o", dest="output", metavar="PATH", help="where to; a folder, a file, or - for stdout; default its name, here"
    )
    parser.add_argument("--force", action="store_true", help="replace a file or a symbolic link that is there")


def _add_share(parser: argparse.ArgumentParser) -> None:
    whom = keeping.add_whom(parser)
    whom.add_argument("--link", action="store_true", help="whoever has the link, which is printed, this once")
    keeping.add_terms(parser)
    parser.add_argument("--max", type=positive, metavar="N", help="so many downloads; default any number")


def put(call: Call) -> int:
    """Sends files one after the other, and prints each that is there; the first that fails is the last."""
    from app.cli.transfers import refuse_unreadable

    asked, client = call.arguments, call.client()
    refuse_unreadable(asked.paths, asked.name)
    longest = max(len(asked.name or os.path.basename(path)) for path in asked.paths)
    table = Table(call.screen, SENT, WIDEST, {"ID": 4, "NAME": longest, "SIZE": len("1023.9 KiB")})
    for path in asked.paths:
        try:
            answer = _send(call, client, path)
        except Failure:
            if len(asked.paths) > 1:
                call.screen.note(f"{path} was not sent, nor what comes after it")
            raise
        if call.as_json:
            call.screen.json(answer)
        else:
            table.add([read(answer, dict[str, object], "the answer")])
        call.screen.flush()
    return OK


def _send(call: Call, client: "Client", path: str) -> bytes:
    from app.cli.transfers import source

    asked = call.arguments
    query = {"name": asked.name or os.path.basename(path), "folder_id": asked.folder or None}
    with source(call.screen, path, asked.name) as sending, sending.meter.shown(call.screen):
        return client.upload("/files/content", query, sending.body).content


def get(call: Call) -> int:
    """Fetches a file to its place, or to stdout."""
    from app.cli.fetching import Fetch, print_file

    asked = call.arguments
    client, path = (call.client(), f"{_path(call)}/download") if asked.link is None else _linked(call, asked.link)
    if asked.output == "-":
        print_file(call.screen, client, path)
        return OK
    saved = Fetch(call.screen, client, path, asked.output, asked.force).run()
    told = {"path": str(saved.place), "size_bytes": saved.size_bytes, "sha256": saved.sha256}
    call.print_answer(msgspec.json.encode(told), f"Success: Saved {saved.place}, {size(saved.size_bytes)}")
    return OK


def _linked(call: Call, link: str) -> "tuple[Client, str]":
    """Where a link leads, and a client that shows no credential there. A whole URL says by itself which service it is.

    Unless `--url` says otherwise, where that is reached from here.
    """
    from app.cli.client import Client

    parts = re.fullmatch(r"(?:(.*)/files/shared/)?([A-Za-z0-9_-]{1,200})/?", link.strip())
    if parts is None:
        raise Usage("That is no link: give its URL, or the part behind the last slash")
    service = (parts[1] or "").removesuffix("/api/v1")
    elsewhere = "://" in service and getattr(call.arguments, "url", None) is None
    return Client(service if elsewhere else call.url), f"/files/shared/{parts[2]}"


def index(call: Call) -> int:
    """Lists files, the newest first, or by name within one folder."""
    asked = call.arguments
    query = keeping.listed(call) | {"type": asked.type, "favorite": "true" if asked.favorite else None}
    call.print_list(call.client().items("/files", query), LIST, "No files.")
    return OK


def info(call: Call) -> int:
    """Prints every field of one file."""
    call.print_fields(call.client().send("GET", _path(call)))
    return OK


def move(call: Call) -> int:
    """Renames a file, or puts it elsewhere."""
    wanted = changes(_place(call), "--name or --folder")
    answer = call.client().send("PATCH", _path(call), body=wanted)
    call.print_answer(answer.content, f"Success: File {call.arguments.id} is now {answer.decode(Named).name}")
    return OK


def copy(call: Call) -> int:
    """Makes another file of the same content; prints its id."""
    answer = call.client().send("POST", f"{_path(call)}/copy", body=_place(call))
    made = answer.decode(Named)
    call.print_answer(answer.content, f"Success: Created file {made.id}, {made.name}")
    return OK


def _place(call: Call) -> dict[str, object]:
    return given({"name": call.arguments.name}) | keeping.in_folder(call)


def remove(call: Call) -> int:
    """Deletes files."""
    return keeping.remove(call, "file")


def share(call: Call) -> int:
    """Shares a file; the URL of a link stands alone on stdout."""
    asked = call.arguments
    whom = {"link": True} if asked.link else keeping.whom(call)
    wanted = whom | keeping.terms(call) | given({"max_access_count": asked.max})
    answer = call.client().send("POST", f"{_path(call)}/share", body=wanted)
    made = answer.decode(Shared)
    until = f", until {made.expires_at}" if made.expires_at else ""
    if made.url is None:
        told = f"Success: Shared file {asked.id} with {keeping.names(call)}{until}; share {made.id}"
        call.print_answer(answer.content, told)
        return OK
    call.print_answer(answer.content, _whole(call, made.url))
    if not call.as_json:
        call.screen.note(f"Share {made.id}{until}; the link is not shown again.")
    return OK


def _whole(call: Call, url: str) -> str:
    """The URL of a link of which the service told the path alone: it does not know how people reach it."""
    from app.cli.client import Address

    address = Address.parse(call.url)
    if not url.startswith("/") or address.socket_path is not None:
        return url
    prefix = address.prefix
    host = address.url.removesuffix(prefix)
    return host + url if url.startswith(f"{prefix}/") else host + prefix + url


def shares(call: Call) -> int:
    """Lists the shares of a file."""
    keeping.print_shares(call, call.client().items(f"{_path(call)}/shares"), SHARES)
    return OK


def revoke(call: Call) -> int:
    """Ends a share."""
    asked = call.arguments
    answer = call.client().send("POST", f"{_path(call)}/revoke-share", body={"share_id": asked.share})
    call.print_answer(answer.content, f"Success: Share {asked.share} of file {asked.id} has ended")
    return OK


def usage(call: Call) -> int:
    """Prints what the caller keeps, and of what kind."""
    answer = call.client().send("GET", "/files/storage")
    if call.as_json:
        call.screen.json(answer.content)
        return OK
    found = answer.decode(Storage)
    whole = {"used": f"{size(found.used)} of {size(found.total)} ({found.percentage:g} %)"}
    call.screen.fields({**whole, **{kind: size(used) for kind, used in found.by_type.items()}})
    return OK


def _path(call: Call) -> str:
    return f"/files/{call.arguments.id}"
