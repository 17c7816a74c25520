"""The commands about groups: what there is, and how many streams each may have."""

import argparse

from app.cli.answers import Named
from app.cli.call import Call
from app.cli.options import Commands, about_one, changes, command, given, group, whole
from app.cli.outcomes import OK

LIST = {
    "ID": "id",
    "NAME": "name",
    "NUMBER": "uniform_number",
    "MAX STREAMS": "max_allowed_streams",
    "USERS": "user_count",
    "UPDATED": "updated_at",
}
ID = "the group's id, as `pkgctl groups` shows it"


def add(commands: Commands) -> None:
    """Declares the commands."""
    actions = group(commands, "groups", "list and change groups of accounts", index)
    command(actions, "list", index, "list the groups")
    about_one(actions, "show", show, "show one group", ID)
    creating = command(actions, "create", create, "make a group")
    creating.add_argument("name", metavar="NAME")
    creating.add_argument("number", metavar="NUMBER", help="its uniform number, 8 digits")
    _add_streams(creating)
    updating = about_one(actions, "update", update, "change a group", ID)
    updating.add_argument("--name", help="another name")
    updating.add_argument("--number", help="another uniform number, 8 digits")
    _add_streams(updating)
    deleting = about_one(actions, "delete", delete, "delete a group; its accounts stay", ID)
    deleting.add_argument("--yes", action="store_true", help="do not ask first")


def _add_streams(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--max-streams", type=whole, metavar="N", help="so many streams at once; a new group has 8")


def index(call: Call) -> int:
    """Lists all groups."""
    call.print_list(call.client().items("/groups", {"limit": 1000}), LIST, "No groups.")
    return OK


def show(call: Call) -> int:
    """Prints every field of one group."""
    call.print_fields(call.client().send("GET", _path(call)))
    return OK


def create(call: Call) -> int:
    """Makes a group; prints its id."""
    answer = call.client().send("POST", "/groups", body=_given(call))
    made = answer.decode(Named)
    call.print_answer(answer.content, f"Success: Created group {made.id}, {made.name}")
    return OK


def update(call: Call) -> int:
    """Changes what is given of a group."""
    answer = call.client().send("PATCH", _path(call), body=changes(_given(call), "--name, --number or --max-streams"))
    call.print_answer(answer.content, f"Success: Updated group {call.arguments.id}")
    return OK


def delete(call: Call) -> int:
    """Deletes a group; its accounts belong to none from then on."""
    number = call.arguments.id
    call.confirm(f"Delete group {number}? Its accounts stay; those who are admins in it become users.", "groups delete")
    call.print_answer(call.client().send("DELETE", _path(call)).content, f"Success: Deleted group {number}")
    return OK


def _given(call: Call) -> dict[str, object]:
    asked = call.arguments
    wanted = {"name": asked.name, "uniform_number": asked.number, "max_allowed_streams": asked.max_streams}
    return given(wanted)


def _path(call: Call) -> str:
    return f"/groups/{call.arguments.id}"
