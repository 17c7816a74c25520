"""What the commands about files and about documents have in common: sharing them, and deleting some at once."""

import argparse
from collections.abc import Sequence

import msgspec

from app.cli.answers import Deleted, read
from app.cli.call import Call
from app.cli.options import account, coming, given, identifier, place
from app.cli.outcomes import OK
from app.cli.output import Columns

FOLDER = "the folder's id, as `pkgctl folders ls` shows it, or none"


def add_folder(parser: argparse.ArgumentParser) -> None:
    """Declares where something lies."""
    parser.add_argument("--folder", type=place, metavar="ID", help=FOLDER)


def in_folder(call: Call) -> dict[str, object]:
    """The folder that was named, as a body takes it; nothing when none was."""
    folder_id: int | None = call.arguments.folder
    return {} if folder_id is None else {"folder_id": folder_id or None}


def add_lists(parser: argparse.ArgumentParser) -> None:
    """Declares which of all that there are a list shows."""
    add_folder(parser)
    parser.add_argument("--owner", type=identifier, metavar="ID", help="only this user's")
    parser.add_argument("--shared", action="store_true", help="only what others share with you")


def listed(call: Call) -> dict[str, str | int | None]:
    """Which of all that there are a list shows, as the API takes it."""
    asked = call.arguments
    shared = "true" if asked.shared else None
    return {"q": asked.q, "folder_id": asked.folder, "owner_id": asked.owner, "shared": shared, "limit": 1000}


def add_whom(parser: argparse.ArgumentParser) -> "argparse._MutuallyExclusiveGroup":
    """Declares whom something is shared with; returns where to add who else there may be."""
    whom = parser.add_mutually_exclusive_group(required=True)
    whom.add_argument("--user", type=account, metavar="USER", help="an account's id, or a username; digits are an id")
    whom.add_argument("--team", type=identifier, metavar="ID", help="a team's id, as `pkgctl teams` shows it")
    return whom


def add_terms(parser: argparse.ArgumentParser) -> None:
    """Declares what those may do with whom something is shared, and for how long."""
    parser.add_argument("--edit", action="store_true", help="they may also change it")
    parser.add_argument("--expires", type=coming, metavar="WHEN", help="an instant, or 7d, 12h, 30m; default never")


def whom(call: Call) -> dict[str, object]:
    """Whom something is shared with, as a body takes it."""
    asked = call.arguments
    return asked.user or {"team_id": asked.team}


def terms(call: Call) -> dict[str, object]:
    """What they may do with it, and for how long, as a body takes it."""
    asked = call.arguments
    return given({"permission": "edit" if asked.edit else None, "expires_at": asked.expires})


def names(call: Call) -> str:
    """Whom something is shared with, as people say it."""
    asked = call.arguments
    return f"team {asked.team}" if asked.user is None else f"user {next(iter(asked.user.values()))}"


def remove(call: Call, noun: str) -> int:
    """Deletes one thing, or several, all or none; `noun` is what one is called."""
    ids: Sequence[int] = call.arguments.ids
    client = call.client()
    if len(ids) == 1:
        answer = client.send("DELETE", f"/{noun}s/{ids[0]}")
        call.print_answer(answer.content, f"Success: Deleted {noun} {ids[0]}")
        return OK
    answer = client.send("POST", f"/{noun}s/batch-delete", body={"ids": ids})
    call.print_answer(answer.content, f"Success: Deleted {answer.decode(Deleted).deleted_count} {noun}s")
    return OK


def print_shares(call: Call, items: Sequence[msgspec.Raw], columns: Columns) -> None:
    """Prints shares; for people with the account or the team in one column."""
    if call.as_json or not items:
        call.print_list(items, columns, "It is shared with nobody.")
        return
    found = [read(item, dict[str, object], "a share") for item in items]
    call.screen.table([{**share, "with": recipient(share)} for share in found], columns)


def recipient(share: dict[str, object]) -> str:
    """Whom a share is with."""
    if share.get("team_name") is not None:
        return f"team {share['team_name']}"
    return "whoever has the link" if share.get("is_link") else str(share.get("username"))
