"""The commands about documents: reading, writing, and what they were before."""

import argparse
from typing import TYPE_CHECKING

from app.cli import keeping
from app.cli.answers import Document, Shares, read
from app.cli.call import Call
from app.cli.options import Commands, about_one, about_some, changes, command, given, identifier, large_group, words
from app.cli.outcomes import OK, Usage

if TYPE_CHECKING:
    from app.cli.client import Answer

LIST = {
    "ID": "id",
    "TITLE": "title",
    "TAGS": "tags",
    "SIZE": "size_bytes",
    "OWNER": "owner_name",
    "UPDATED": "updated_at",
}
HISTORY = {
    "REVISION": "number",
    "TITLE": "title",
    "SIZE": "size_bytes",
    "BY": "editor_name",
    "WHEN": "edited_at",
}
SORTS = {"updated": "-updated_at", "title": "title"}
ID = "the document's id, as `pkgctl docs ls` shows it"
REVISION = "its number, as `pkgctl docs history` shows it"
TAGS = "words with commas between"
LONGEST_BYTES = 2_000_000
"""A document has at most 500,000 signs, of which none takes more than four bytes."""


def add(commands: Commands) -> None:
    """Declares the commands."""
    large_group(commands, "docs", "list, read, write and share documents", _declare)


def _declare(actions: Commands) -> None:
    listing = command(actions, "ls", index, "list the documents that you have or may see")
    listing.add_argument("-q", metavar="TEXT", help="only those whose title or text holds this")
    listing.add_argument("--tags", metavar="A,B", help="only those with one of these tags")
    listing.add_argument("--sort", choices=SORTS, help="by title, or the newest first, which is the default")
    keeping.add_lists(listing)
    showing = about_one(actions, "show", show, "print a document; nothing but its text, unless on a terminal", ID)
    showing.add_argument("--revision", type=identifier, metavar="N", help=f"what it was: {REVISION}")
    creating = command(actions, "add", create, "write a document")
    creating.add_argument("title", metavar="TITLE")
    editing = about_one(actions, "edit", edit, "change a document; what it was stays in its history", ID)
    editing.add_argument("--title", help="another title")
    for parser in (creating, editing):
        _add_content(parser)
    about_some(actions, "rm", remove, "delete documents with their history, all or none", ID)
    sharing = about_one(actions, "share", share, "let others have a document", ID)
    keeping.add_whom(sharing)
    keeping.add_terms(sharing)
    keeping.add_whom(about_one(actions, "unshare", unshare, "let others have a document no more", ID))
    about_one(actions, "history", history, "list what a document is and was", ID)
    restoring = about_one(
        actions, "restore", restore, "make a document what it was; what it is stays in its history", ID
    )
    restoring.add_argument("revision", metavar="REVISION", type=identifier, help=REVISION)


def _add_content(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--file", metavar="PATH", help="the file that holds its text; - is standard input")
    parser.add_argument("--tags", type=words, metavar="A,B", help=f"{TAGS}, in the place of those it has")
    keeping.add_folder(parser)


def index(call: Call) -> int:
    """Lists documents."""
    asked = call.arguments
    query = keeping.listed(call) | {"tags": asked.tags, "sort": None if asked.sort is None else SORTS[asked.sort]}
    call.print_list(call.client().items("/documents", query), LIST, "No documents.")
    return OK


def show(call: Call) -> int:
    """Prints the text of a document, as it is or was; for people beneath what else is known of it."""
    number = call.arguments.revision
    path = _path(call) if number is None else f"{_path(call)}/revisions/{number}"
    answer = call.client().send("GET", path)
    if call.as_json:
        call.screen.json(answer.content)
        return OK
    text = answer.decode(Document).content
    if call.screen.for_people:
        _introduce(call, answer)
        text = f"\n{text.rstrip()}\n" if text.strip() else ""
    call.screen.content([text.encode()])
    return OK


def _introduce(call: Call, answer: "Answer") -> None:
    told = answer.decode(dict[str, object])
    told.pop("content")
    if "shares" in told:
        shares = read(answer.content, Shares, "the answer").shares
        told["shares"] = [keeping.recipient(share) for share in shares]
    call.screen.fields(told)


def create(call: Call) -> int:
    """Writes a document; prints its id."""
    body = {"title": call.arguments.title} | _content(call)
    answer = call.client().send("POST", "/documents", body=body)
    made = answer.decode(Document)
    call.print_answer(answer.content, f"Success: Created document {made.id}, {made.title}")
    return OK


def edit(call: Call) -> int:
    """Changes what is given of a document."""
    wanted = changes(given({"title": call.arguments.title}) | _content(call), "--title, --file, --tags or --folder")
    answer = call.client().send("PATCH", _path(call), body=wanted)
    call.print_answer(answer.content, f"Success: Updated document {call.arguments.id}")
    return OK


def _content(call: Call) -> dict[str, object]:
    asked = call.arguments
    text = None if asked.file is None else _read(call, asked.file)
    return given({"content": text, "tags": asked.tags}) | keeping.in_folder(call)


def _read(call: Call, path: str) -> str:
    """The text in a file, or of standard input; Usage when it is none."""
    what = "Standard input" if path == "-" else path
    content = bytearray()
    try:
        if path == "-":
            while len(content) <= LONGEST_BYTES and (piece := call.screen.read_bytes(65536)):
                content += piece
        else:
            with open(path, "rb") as file:
                content += file.read(LONGEST_BYTES + 1)
        if len(content) > LONGEST_BYTES:
            raise Usage(f"{what} is too long for a document; keep it as a file: pkgctl files put")
        return content.decode()
    except OSError as error:
        raise Usage(f"{what}: {error.strerror}") from None
    except ValueError:
        raise Usage(f"{what} is not text in UTF-8") from None


def remove(call: Call) -> int:
    """Deletes documents."""
    return keeping.remove(call, "document")


def share(call: Call) -> int:
    """Shares a document; who has it already has it as is said now."""
    answer = call.client().send("POST", f"{_path(call)}/share", body=keeping.whom(call) | keeping.terms(call))
    call.print_answer(answer.content, f"Success: Shared document {call.arguments.id} with {keeping.names(call)}")
    return OK


def unshare(call: Call) -> int:
    """Ends a share."""
    answer = call.client().send("POST", f"{_path(call)}/unshare", body=keeping.whom(call))
    told = f"Success: Document {call.arguments.id} is no longer shared with {keeping.names(call)}"
    call.print_answer(answer.content, told)
    return OK


def history(call: Call) -> int:
    """Lists what a document is and was, the newest first."""
    call.print_list(call.client().items(f"{_path(call)}/revisions", {"limit": 1000}), HISTORY, "Nothing yet.")
    return OK


def restore(call: Call) -> int:
    """Makes a document what it was in one of its revisions."""
    asked = call.arguments
    answer = call.client().send("POST", f"{_path(call)}/revisions/{asked.revision}/restore")
    call.print_answer(answer.content, f"Success: Document {asked.id} is what it was in revision {asked.revision}")
    return OK


def _path(call: Call) -> str:
    return f"/documents/{call.arguments.id}"
