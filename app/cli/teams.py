"""The commands about teams: which there are, and who is in them."""

from app.cli.answers import Account, Named, TeamMembers
from app.cli.call import Call
from app.cli.options import Commands, about_one, changes, command, given, group, identifier
from app.cli.outcomes import OK

LIST = {"ID": "id", "NAME": "name", "OWNER": "owner_name", "MEMBERS": "member_count", "UPDATED": "updated_at"}
MEMBERS = {"USER": "id", "USERNAME": "username", "NAME": "name", "ROLE": "role", "SINCE": "joined_at"}
ID = "the team's id, as `pkgctl teams` shows it"


def add(commands: Commands) -> None:
    """Declares the commands."""
    actions = group(commands, "teams", "list and change teams, and who is in them", index)
    command(actions, "list", index, "list the teams that you are in or may see")
    about_one(actions, "show", show, "show one team and who is in it", ID)
    creating = command(actions, "create", create, "make a team of your own")
    creating.add_argument("name", metavar="NAME")
    creating.add_argument("--description", help="what it is for")
    updating = about_one(actions, "update", update, "change a team, or hand it over", ID)
    updating.add_argument("--name", help="another name")
    updating.add_argument("--description", help="what it is for")
    updating.add_argument("--owner", type=identifier, metavar="ID", help="the member whose team it is from now on")
    about_one(actions, "add", add_member, "take somebody into a team", ID).add_argument(
        "user", metavar="USER", help="an account's id, or a username; digits alone are an id"
    )
    about_one(actions, "remove", remove_member, "take somebody out of a team", ID).add_argument(
        "user_id", metavar="USER_ID", type=identifier, help="the account's id, as `pkgctl teams show` tells it"
    )
    about_one(actions, "leave", leave, "leave a team", ID)
    deleting = about_one(actions, "delete", delete, "delete a team; its accounts stay", ID)
    deleting.add_argument("--yes", action="store_true", help="do not ask first")


def index(call: Call) -> int:
    """Lists the teams within reach."""
    call.print_list(call.client().items("/teams", {"limit": 1000}), LIST, "No teams.")
    return OK


def show(call: Call) -> int:
    """Prints one team, and its members in a table."""
    answer = call.client().send("GET", _path(call))
    if call.as_json:
        call.screen.json(answer.content)
        return OK
    members = answer.decode(TeamMembers).members
    told = answer.decode(dict[str, object])
    call.screen.fields({field: value for field, value in told.items() if field != "members"})
    call.screen.line("")
    call.screen.table(members, MEMBERS)
    return OK


def create(call: Call) -> int:
    """Makes a team of the caller's; prints its id."""
    asked = call.arguments
    answer = call.client().send("POST", "/teams", body=given({"name": asked.name, "description": asked.description}))
    made = answer.decode(Named)
    call.print_answer(answer.content, f"Success: Created team {made.id}, {made.name}")
    return OK


def update(call: Call) -> int:
    """Changes what is given of a team."""
    asked = call.arguments
    wanted = given({"name": asked.name, "description": asked.description, "owner_id": asked.owner})
    answer = call.client().send("PATCH", _path(call), body=changes(wanted, "--name, --description or --owner"))
    call.print_answer(answer.content, f"Success: Updated team {asked.id}")
    return OK


def add_member(call: Call) -> int:
    """Takes somebody into a team; it is no error when they are in it already."""
    asked = call.arguments
    body = {"user_id": identifier(asked.user)} if _is_id(asked.user) else {"username": asked.user}
    answer = call.client().send("POST", f"{_path(call)}/members", body=body)
    call.print_answer(answer.content, f"Success: Team {asked.id} has {asked.user} as a member")
    return OK


def _is_id(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= 18


def remove_member(call: Call) -> int:
    """Takes somebody out of a team."""
    asked = call.arguments
    answer = call.client().send("DELETE", f"{_path(call)}/members/{asked.user_id}")
    call.print_answer(answer.content, f"Success: User {asked.user_id} has left team {asked.id}")
    return OK


def leave(call: Call) -> int:
    """Takes the caller out of a team."""
    client = call.client()
    me = client.get("/auth/me", Account)
    answer = client.send("DELETE", f"{_path(call)}/members/{me.id}")
    call.print_answer(answer.content, f"Success: You have left team {call.arguments.id}")
    return OK


def delete(call: Call) -> int:
    """Deletes a team."""
    number = call.arguments.id
    call.confirm(f"Delete team {number}? What was shared with it is no longer shared.", "teams delete")
    call.print_answer(call.client().send("DELETE", _path(call)).content, f"Success: Deleted team {number}")
    return OK


def _path(call: Call) -> str:
    return f"/teams/{call.arguments.id}"
