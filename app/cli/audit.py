"""The command that reads the audit trail: what was done last, and with -f what is being done."""

import codecs
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from app.cli.answers import AuditRow, read
from app.cli.call import Call
from app.cli.options import Commands, command, identifier, instant, positive
from app.cli.outcomes import OK, Usage
from app.cli.output import Item, Table

if TYPE_CHECKING:
    from app.cli.client import Query

NEWEST = 50
WIDEST = 60
"""A path may be as long as its caller likes; the columns of the others stay where they are."""
COLUMNS = {"TIME": "at", "WHO": "who", "ADDRESS": "ip", "WHAT": "what", "STATUS": "status", "REASON": "reason"}


def add(commands: Commands) -> None:
    """Declares the command."""
    reading = command(commands, "audit", audit, "print the newest rows of the audit trail, the last one at the end")
    ways = reading.add_mutually_exclusive_group()
    ways.add_argument(
        "-f", "--follow", action="store_true", help="go on with what is written from now on, until Ctrl-C"
    )
    ways.add_argument(
        "--csv", action="store_true", help="print all rows that match, as the service's CSV, newest first"
    )
    reading.add_argument("-n", type=positive, metavar="N", help=f"so many rows; default {NEWEST}")
    reading.add_argument("--actor", type=identifier, metavar="ID", help="only what this user did")
    reading.add_argument("--token-id", type=identifier, metavar="ID", help="only what was done with this token")
    reading.add_argument("--action", metavar="ACTION", help="only this change, such as users.create")
    reading.add_argument("--target", metavar="TARGET", help="only what was done to this, such as users/3")
    when = "an instant such as 2027-01-31T12:00:00Z, or so long ago: 2h, 30m, 7d"
    reading.add_argument("--since", type=instant, metavar="WHEN", help=f"only from then on; {when}")
    reading.add_argument("--until", type=instant, metavar="WHEN", help="only before then")
    reading.add_argument("--refused", action="store_true", help="only what was not let in")


def audit(call: Call) -> int:
    """Prints the newest rows that match, the oldest of them first."""
    asked = call.arguments
    if asked.csv:
        return _sheet(call)
    if asked.follow:
        return _follow(call)
    count = asked.n or NEWEST
    found = call.client().items("/audit", {**_wanted(call), "limit": min(count, 1000)}, count)[::-1]
    if call.as_json:
        call.screen.json(msgspec.json.encode(found))
    elif found:
        Table(call.screen, COLUMNS, WIDEST).add([_shown(read(row, AuditRow, "a row of the trail")) for row in found])
    else:
        call.screen.note("Nothing in the audit trail.")
    return OK


def _wanted(call: Call) -> "Query":
    asked = call.arguments
    return {
        "actor_id": asked.actor,
        "token_id": asked.token_id,
        "action": asked.action,
        "target": asked.target,
        "since": asked.since,
        "until": asked.until,
        "authorized": "false" if asked.refused else None,
    }


def _shown(row: AuditRow) -> Item:
    """The row as people read it: a change by what it did, a call by what it asked."""
    parts = (row.method, row.path) if row.action is None else (row.action, row.target)
    return {
        "at": row.at,
        "who": _who(row),
        "ip": row.ip,
        "what": " ".join(part for part in parts if part),
        "status": row.status,
        "reason": row.reason,
    }


def _who(row: AuditRow) -> str:
    """Who it was and through which credential; of a credential that was refused nothing but that is known."""
    through = ""
    if row.token_id is not None:
        through = f"token {row.token_id}"
    elif row.session_id is not None:
        through = f"session {row.session_id}"
    if row.actor_name is None:
        return through
    return f"{row.actor_name} ({through})" if through else row.actor_name


def _sheet(call: Call) -> int:
    """Hands the service's CSV on, however much it is."""
    if call.arguments.n is not None or call.as_json:
        raise Usage("--csv prints all rows that match, and nothing else: leave -n and --json out")
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    with call.client().stream("/audit", {**_wanted(call), "format": "csv"}, "text/csv") as pieces:
        for piece in pieces or ():
            call.screen.sheet(decoder.decode(piece))
    return OK


def _follow(call: Call) -> int:
    """Prints the newest rows, then each that is written, until it is told to stop; with --json a line for each."""
    from app.cli.watch import Watcher

    if call.arguments.until is not None:
        raise Usage("-f goes on from now: leave --until out")
    label = f"pkgctl-{os.urandom(12).hex()}"
    watcher = Watcher(call.client(label=label), _wanted(call), label)
    table = Table(call.screen, COLUMNS, WIDEST)
    for rows in watcher.rows(call.arguments.n or NEWEST):
        _print(call, table, rows)
    return OK


def _print(call: Call, table: Table, rows: Sequence[msgspec.Raw]) -> None:
    if call.as_json:
        for row in rows:
            call.screen.json(bytes(row))
    elif rows:
        table.add([_shown(read(row, AuditRow, "a row of the trail")) for row in rows])
    call.screen.flush()
