"""The commands about access tokens."""

import msgspec

from app.cli.answers import Created, Logs, Token, read
from app.cli.call import Call
from app.cli.options import Commands, about_one, command, given, group, identifier, lifetime, positive, seconds, words
from app.cli.outcomes import OK
from app.cli.service import offline_token

LIST = {
    "ID": "id",
    "NAME": "name",
    "TOKEN": "prefix",
    "SCOPES": "scopes",
    "STATE": "state",
    "EXPIRES": "expires_at",
    "LAST USED": "last_used_at",
}
LOGS = {
    "TIME": "timestamp",
    "ADDRESS": "ip",
    "METHOD": "method",
    "PATH": "endpoint",
    "STATUS": "status_code",
    "REASON": "reason",
}
LIST_OF_ALL = {"ID": "id", "USER": "user_id"} | LIST
DAYS = 90
NEWEST = 50
ID = "the token's id, as `pkgctl tokens list` shows it"


def add(commands: Commands) -> None:
    """Declares the commands."""
    actions = group(commands, "tokens", "list, create and revoke access tokens")
    listing = command(actions, "list", index, "list your tokens, the expired and revoked ones too")
    whose = listing.add_mutually_exclusive_group()
    whose.add_argument("--all", action="store_true", help="everybody's, which needs tokens:admin")
    whose.add_argument("--user", type=identifier, metavar="ID", help="that user's, which needs tokens:admin")
    listing.add_argument("--state", help="only those active, expired or revoked")
    creating = command(actions, "create", create, "make a token and print it, this once")
    creating.add_argument("--name", help="what it is for")
    creating.add_argument("--scopes", type=words, metavar="A,B", help="what it may do; default all that you may")
    creating.add_argument(
        "--expires", type=lifetime, metavar="WHEN", help=f"30d, 90d, 1y, never, or days; default {DAYS}d"
    )
    creating.add_argument(
        "--allowed-ips", type=words, metavar="A,B", help="the addresses or networks it may be used from; default any"
    )
    creating.add_argument("--offline", action="store_true", help="for a lost token: the service must be stopped")
    reading = about_one(actions, "logs", logs, "list the newest calls with a token, the last one at the end", ID)
    reading.add_argument("-n", type=positive, metavar="N", default=NEWEST, help=f"so many; default {NEWEST}")
    renewing = about_one(actions, "regenerate", regenerate, "give a token a new secret and print it, this once", ID)
    renewing.add_argument(
        "--grace", type=seconds, metavar="SECONDS", help="so long the old secret goes on working; default 0"
    )
    placing = about_one(actions, "allowed-ips", allow, "say where a token may be used from", ID)
    where = placing.add_mutually_exclusive_group(required=True)
    where.add_argument("addresses", metavar="ADDR", nargs="*", default=[], help="an address or a network")
    where.add_argument("--anywhere", action="store_true", help="from any address")
    about_one(actions, "revoke", revoke, "revoke a token, at once", ID)
    command(actions, "revoke-all", revoke_all, "revoke all your tokens but the one in use")


def index(call: Call) -> int:
    """Lists the caller's tokens, or those of others."""
    asked = call.arguments
    others = asked.all or asked.user is not None
    query = {"all": "true" if asked.all else None, "user_id": asked.user, "state": asked.state}
    found = call.client().items("/tokens", query)
    call.print_list(found, LIST_OF_ALL if others else LIST, "No tokens.")
    return OK


def create(call: Call) -> int:
    """Makes a token: alone on stdout, so that `TOKEN=$(pkgctl tokens create)` works."""
    asked = call.arguments
    if asked.offline:
        days = DAYS if asked.expires is None else asked.expires
        return offline_token(call, asked.name, asked.scopes, days, asked.allowed_ips)
    wanted = {
        "name": asked.name,
        "scopes": asked.scopes,
        "expires_in": "never" if asked.expires == 0 else None,
        "expires_in_days": asked.expires or None,
        "allowed_ips": asked.allowed_ips,
    }
    body = given(wanted)
    return _tell(call, call.client().send("POST", "/tokens", body=body or None).content)


def logs(call: Call) -> int:
    """Lists the newest calls with a token, the oldest of them first."""
    count = call.arguments.n
    told: dict[str, object] = {}
    found: list[msgspec.Raw] = []
    for page in call.client().pages(f"{_path(call)}/logs", {"limit": min(count, 1000)}):
        told = told or page.decode(dict[str, object])
        found += page.decode(Logs).logs
        if len(found) >= count:
            break
    found = found[:count][::-1]
    if call.as_json:
        call.screen.json(msgspec.json.encode({**told, "logs": found}))
    else:
        call.print_list(found, LOGS, "No calls.")
    return OK


def regenerate(call: Call) -> int:
    """Gives a token another secret, alone on stdout."""
    body = {} if call.arguments.grace is None else {"grace_seconds": call.arguments.grace}
    return _tell(call, call.client().send("POST", f"{_path(call)}/regenerate", body=body).content)


def allow(call: Call) -> int:
    """Says where a token may be used from."""
    answer = call.client().send("PUT", f"{_path(call)}/allowed-ips", body={"allowed_ips": call.arguments.addresses})
    token = answer.decode(Token)
    where = ", ".join(token.allowed_ips or ()) or "anywhere"
    call.print_answer(answer.content, f"Success: Token {token.id} may be used from {where}")
    return OK


def revoke(call: Call) -> int:
    """Revokes one token; revoking it again is no error."""
    answer = call.client().send("DELETE", _path(call))
    call.print_answer(answer.content, f"Success: Revoked token {call.arguments.id}")
    return OK


def revoke_all(call: Call) -> int:
    """Revokes the caller's other tokens."""
    call.print_answer(call.client().send("DELETE", "/tokens/all").content, "Success: Revoked all your other tokens")
    return OK


def _tell(call: Call, content: bytes) -> int:
    """Prints a secret that is shown once."""
    created = read(content, Created, "the answer")
    call.print_answer(content, created.token)
    if not call.as_json:
        until = f"expires {created.expires_at}" if created.expires_at else "does not expire"
        call.screen.note(f"Token {created.id} {until}; it is not shown again.")
    return OK


def _path(call: Call) -> str:
    return f"/tokens/{call.arguments.id}"
