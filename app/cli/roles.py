"""The commands about roles: what there is, and what each grants."""

from typing import TYPE_CHECKING

from app.cli.answers import Role
from app.cli.call import Call
from app.cli.options import Commands, about_one, command, given, grant, group
from app.cli.outcomes import OK

if TYPE_CHECKING:
    from app.cli.client import Answer

LIST = {
    "ID": "id",
    "NAME": "name",
    "LABEL": "label",
    "BUILT IN": "built_in",
    "USERS": "user_count",
    "UPDATED": "updated_at",
}
ID = "the role's id, as `pkgctl roles list` shows it"
GRANT = "a permission and how far it reaches: own (the default), group or all; may be repeated"


def add(commands: Commands) -> None:
    """Declares the commands."""
    actions = group(commands, "roles", "list and change what roles grant", index)
    command(actions, "list", index, "list the roles")
    about_one(actions, "show", show, "show one role and what it grants", ID)
    creating = command(actions, "create", create, "make a role")
    creating.add_argument("name", metavar="NAME")
    creating.add_argument("--label", help="what people read; default its name")
    creating.add_argument("--description", help="what it is for")
    creating.add_argument("--grant", action="append", type=grant, metavar="PERMISSION=REACH", help=GRANT)
    about_one(actions, "delete", delete, "delete a role that nobody has", ID)
    granting = about_one(actions, "set-permissions", set_permissions, "replace all that a role grants", ID)
    wanted = granting.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--grant", action="append", type=grant, metavar="PERMISSION=REACH", help=GRANT)
    wanted.add_argument("--none", action="store_true", help="it grants nothing any more")


def index(call: Call) -> int:
    """Lists all roles."""
    call.print_list(call.client().items("/roles", {"limit": 1000}), LIST, "No roles.")
    return OK


def show(call: Call) -> int:
    """Prints one role, its grants as `permission=reach`."""
    answer = call.client().send("GET", _path(call))
    if call.as_json:
        call.screen.json(answer.content)
    else:
        call.screen.fields({**answer.decode(dict[str, object]), "permissions": _grants(answer)})
    return OK


def create(call: Call) -> int:
    """Makes a role; prints its id."""
    asked = call.arguments
    wanted = {"name": asked.name, "label": asked.label, "description": asked.description, "permissions": asked.grant}
    body = given(wanted)
    answer = call.client().send("POST", "/roles", body=body)
    role = answer.decode(Role)
    call.print_answer(answer.content, f"Success: Created role {role.id}, {role.name}")
    return OK


def delete(call: Call) -> int:
    """Deletes a role."""
    call.print_answer(call.client().send("DELETE", _path(call)).content, f"Success: Deleted role {call.arguments.id}")
    return OK


def set_permissions(call: Call) -> int:
    """Replaces what a role grants."""
    answer = call.client().send("PUT", f"{_path(call)}/permissions", body={"permissions": call.arguments.grant or []})
    granted = ", ".join(_grants(answer)) or "nothing"
    call.print_answer(answer.content, f"Success: Role {call.arguments.id} grants {granted}")
    return OK


def _grants(answer: "Answer") -> list[str]:
    return [f"{granted.permission}={granted.reach}" for granted in answer.decode(Role).permissions]


def _path(call: Call) -> str:
    return f"/roles/{call.arguments.id}"
