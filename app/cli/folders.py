"""The commands about folders: the tree in which files and documents lie."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from app.cli.answers import Folder, Located, Named
from app.cli.call import Call
from app.cli.options import Commands, about_one, changes, command, given, identifier, large_group, place, positive
from app.cli.outcomes import OK, NotPurser

if TYPE_CHECKING:
    from app.cli.client import Answer

LIST = {"ID": "id", "NAME": "name", "IN": "parent_id", "OWNER": "owner_name", "UPDATED": "updated_at"}
ID = "the folder's id, as `pkgctl folders ls` shows it"
PARENT = "the folder in which it lies, by its id, or none"


def add(commands: Commands) -> None:
    """Declares the commands."""
    large_group(commands, "folders", "list, make, move and delete folders", _declare)


def _declare(actions: Commands) -> None:
    listing = command(actions, "ls", index, "list the folders that you may see")
    listing.add_argument("-q", metavar="TEXT", help="only those whose name holds this text")
    listing.add_argument("--parent", type=place, metavar="ID", help="only those in this folder, or in none")
    listing.add_argument("--owner", type=identifier, metavar="ID", help="only this user's")
    drawing = command(actions, "tree", tree, "draw your folders as a tree, each with its id")
    drawing.add_argument("id", metavar="ID", nargs="?", type=identifier, help="only what is below this folder")
    drawing.add_argument("--owner", type=identifier, metavar="ID", help="this user's instead")
    drawing.add_argument("--depth", type=positive, metavar="N", help="only so many levels; default all")
    creating = command(actions, "add", create, "make a folder")
    creating.add_argument("name", metavar="NAME")
    creating.add_argument("--parent", type=place, metavar="ID", help=PARENT)
    moving = about_one(actions, "mv", move, "rename a folder, or put it into another", ID)
    moving.add_argument("--name", help="another name")
    moving.add_argument("--parent", type=place, metavar="ID", help=PARENT)
    deleting = about_one(actions, "rm", remove, "delete a folder, with all that is in it", ID)
    deleting.add_argument("--yes", action="store_true", help="do not ask first")


def index(call: Call) -> int:
    """Lists folders, in the order in which they were made."""
    asked = call.arguments
    query = {"q": asked.q, "parent_id": asked.parent, "owner_id": asked.owner, "limit": 1000}
    call.print_list(call.client().items("/folders", query), LIST, "No folders.")
    return OK


def tree(call: Call) -> int:
    """Draws a tree, however deep it is."""
    asked = call.arguments
    query = {"root_id": asked.id, "owner_id": asked.owner, "depth": asked.depth}
    answer = call.client().send("GET", "/folders/tree", query)
    folders, outermost = _read(answer)
    if call.as_json:
        call.screen.json(answer.content, deep=True)
        return OK
    for line in _drawn(folders, outermost):
        call.screen.line(line)
    if not outermost:
        call.screen.note("No folders.")
    return OK


def _read(answer: "Answer") -> tuple[Sequence[Folder], Sequence[int]]:
    """The folders of a tree and which of them are the outermost; NotPurser unless each has exactly one place."""
    from app.cli.deep import objects

    try:
        folders, outermost = objects(answer.content, Folder)
    except ValueError:
        raise NotPurser("the tree is not the JSON that was expected") from None
    places = [*outermost, *(child for folder in folders for child in folder.children)]
    if sorted(places) != list(range(len(folders))):
        raise NotPurser("the tree is none")
    return folders, outermost


def _drawn(folders: Sequence[Folder], outermost: Sequence[int]) -> Iterator[str]:
    """Yields a line for each folder, those in it beneath it; without recursion, which ends before trees do."""
    pending = [("", "", number) for number in reversed(outermost)]
    while pending:
        before, beneath, number = pending.pop()
        folder = folders[number]
        yield f"{before}{folder.name} ({folder.id})"
        for child in reversed(folder.children):
            last = child == folder.children[-1]
            pending.append((beneath + ("└── " if last else "├── "), beneath + ("    " if last else "│   "), child))


def create(call: Call) -> int:
    """Makes a folder; prints its id."""
    body = {"name": call.arguments.name} | _parent(call)
    answer = call.client().send("POST", "/folders", body=body)
    made = answer.decode(Named)
    call.print_answer(answer.content, f"Success: Created folder {made.id}, {made.name}")
    return OK


def move(call: Call) -> int:
    """Renames a folder, or puts it elsewhere."""
    wanted = given({"name": call.arguments.name}) | _parent(call)
    answer = call.client().send("PATCH", _path(call), body=changes(wanted, "--name or --parent"))
    call.print_answer(answer.content, f"Success: Folder {call.arguments.id} is now {_where(answer)}")
    return OK


def remove(call: Call) -> int:
    """Deletes a folder, and all that is in it."""
    client, number = call.client(), call.arguments.id
    if not call.arguments.yes:
        where = _where(client.send("GET", _path(call)))
        call.confirm(f"Delete folder {number}, {where}, and everything in it?", "folders rm")
    call.print_answer(client.send("DELETE", _path(call)).content, f"Success: Deleted folder {number}")
    return OK


def _parent(call: Call) -> dict[str, object]:
    parent_id: int | None = call.arguments.parent
    return {} if parent_id is None else {"parent_id": parent_id or None}


def _where(answer: "Answer") -> str:
    """The path of a folder, as the service tells it."""
    return answer.decode(Located).path


def _path(call: Call) -> str:
    return f"/folders/{call.arguments.id}"
