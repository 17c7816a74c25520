"""The commands about other people's accounts."""

import argparse

from app.cli.answers import Account, Explanation
from app.cli.call import Call
from app.cli.options import Commands, about_one, command, given, group, identifier
from app.cli.outcomes import OK, REFUSED
from app.cli.passwords import add_options, new_password, tell
from app.cli.service import offline, opened

LIST = {
    "ID": "id",
    "USERNAME": "username",
    "E-MAIL": "email",
    "NAME": "name",
    "STATUS": "status",
    "ROLES": "roles",
    "GROUP": "group_id",
    "LAST SIGN-IN": "last_login_at",
}
ID = "the user's id, as `pkgctl users list` shows it"


def add(commands: Commands) -> None:
    """Declares the commands."""
    actions = group(commands, "users", "list and manage accounts")
    listing = command(actions, "list", index, "list the accounts")
    listing.add_argument("--q", help="only those whose name, username or e-mail holds this text")
    listing.add_argument("--status", help="only those pending, active, inactive or suspended")
    listing.add_argument("--role", help="only those with this role")
    listing.add_argument("--group", type=identifier, metavar="ID", help="only those of this group")
    about_one(actions, "show", show, "show everything about one account", ID)
    creating = command(actions, "create", create, "make an active account")
    creating.add_argument("email", metavar="EMAIL")
    creating.add_argument("--username", help="default the part of the e-mail before the @")
    creating.add_argument("--name", help="the full name; default the username")
    add_options(creating)
    about_one(actions, "set-role", set_role, "give an account exactly these roles", ID).add_argument(
        "roles", metavar="ROLE", nargs="+"
    )
    about_one(actions, "set-status", set_status, "activate, deactivate or suspend an account", ID).add_argument(
        "status", metavar="STATUS", help="pending, active, inactive or suspended"
    )
    about_one(actions, "set-group", set_group, "put an account into a group, or take it out", ID).add_argument(
        "group_id", metavar="GROUP", type=_group, help="the group's id, as `pkgctl groups` shows it, or none"
    )
    explaining = about_one(actions, "explain", explain, "tell whether somebody may do something, and why", ID)
    explaining.add_argument("permission", metavar="PERMISSION", help="such as packages:build")
    explaining.add_argument(
        "--token-id", type=identifier, metavar="ID", help="through this token of theirs, not in person"
    )
    resetting = about_one(actions, "reset-password", reset_password, "set an account's password", ID)
    add_options(resetting)
    resetting.add_argument(
        "--offline", action="store_true", help="for a super admin's lost password: the service must be stopped"
    )
    deleting = about_one(actions, "delete", delete, "delete an account, and what only it owns", ID)
    deleting.add_argument("--yes", action="store_true", help="do not ask first")


def index(call: Call) -> int:
    """Lists the accounts within reach."""
    asked = call.arguments
    query = {"q": asked.q, "status": asked.status, "role": asked.role, "group_id": asked.group, "limit": 1000}
    call.print_list(call.client().items("/users", query), LIST, "No users.")
    return OK


def show(call: Call) -> int:
    """Prints every field of one account."""
    call.print_fields(call.client().send("GET", _path(call)))
    return OK


def create(call: Call) -> int:
    """Makes an account; prints its id, and the password if it was made here."""
    asked = call.arguments
    new = new_password(call)
    name = asked.name or asked.username or asked.email.partition("@")[0]
    wanted = {"email": asked.email, "username": asked.username, "name": name, "password": new.text}
    body = given(wanted)
    answer = call.client().send("POST", "/users", body=body)
    account = answer.decode(Account)
    tell(call, answer.content, f"Success: Created user {account.id}, {account.username}", new)
    return OK


def set_role(call: Call) -> int:
    """Gives an account roles in place of those it has."""
    answer = call.client().send("PUT", f"{_path(call)}/roles", body={"roles": call.arguments.roles})
    roles = ", ".join(call.arguments.roles)
    call.print_answer(answer.content, f"Success: User {call.arguments.id} is now {roles}")
    return OK


def set_status(call: Call) -> int:
    """Sets the status of an account."""
    status = call.arguments.status
    answer = call.client().send("PATCH", f"{_path(call)}/status", body={"status": status})
    call.print_answer(answer.content, f"Success: User {call.arguments.id} is now {status}")
    return OK


def _group(word: str) -> int | None:
    """The group that a word names; None for none."""
    try:
        return None if word == "none" else identifier(word)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{word!r} is neither an id nor none") from None


def set_group(call: Call) -> int:
    """Puts an account into a group, or into none."""
    group_id: int | None = call.arguments.group_id
    answer = call.client().send("PUT", f"{_path(call)}/group", body={"group_id": group_id})
    where = "no group" if group_id is None else f"group {group_id}"
    call.print_answer(answer.content, f"Success: User {call.arguments.id} belongs to {where}")
    return OK


def explain(call: Call) -> int:
    """Says yes or no, and why; the exit code says it too."""
    asked = call.arguments
    query = {"user_id": asked.id, "permission": asked.permission, "token_id": asked.token_id}
    answer = call.client().send("GET", "/authz/explain", query)
    why = answer.decode(Explanation)
    if call.as_json:
        call.screen.json(answer.content)
    else:
        _say(call, why)
    return OK if why.allowed else REFUSED


def _say(call: Call, why: Explanation) -> None:
    who = why.username if why.token_id is None else f"{why.username} with token {why.token_id}"
    if not why.allowed:
        call.screen.line(f"no: {who} may not {why.permission}")
        reasons = why.missing
    else:
        call.screen.line(f"yes: {who} may {why.permission}, reach {why.reach}")
        reasons = [f"The role {role.role} grants {role.permission}={role.reach}." for role in why.roles]
        reasons += [f"The token has the scope {scope}." for scope in why.scopes or ()]
    for reason in reasons:
        call.screen.line(f"  {reason}")


def reset_password(call: Call) -> int:
    """Sets the password of an account; its sessions end."""
    if call.arguments.offline:
        return _reset_offline(call)
    new = new_password(call)
    answer = call.client().send("PATCH", f"{_path(call)}/password", body={"password": new.text})
    tell(call, answer.content, f"Success: Set the password of user {call.arguments.id}", new)
    return OK


def _reset_offline(call: Call) -> int:
    """Sets a password in the database itself; looks for the account before anybody types."""
    from app.config import load
    from app.offline import account, set_password

    with offline():
        config = load(call.environ)
        found = account(config, call.arguments.id, opened(call))
        new = new_password(call)
        set_password(config, found, new.text)
    tell(call, b"{}", f"Success: Set the password of user {found.id}, {found.username}", new)
    if found.status != "active":
        call.screen.note(f"The account is {found.status}: it signs in once somebody makes it active.")
    return OK


def delete(call: Call) -> int:
    """Deletes an account."""
    call.confirm(f"Delete user {call.arguments.id} and everything that is theirs alone?", "users delete")
    answer = call.client().send("DELETE", _path(call))
    call.print_answer(answer.content, f"Success: Deleted user {call.arguments.id}")
    return OK


def _path(call: Call) -> str:
    return f"/users/{call.arguments.id}"
