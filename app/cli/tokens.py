"""The commands about access tokens."""

from app.cli.answers import Created
from app.cli.call import Call
from app.cli.options import Commands, command, identifier, words
from app.cli.outcomes import OK, USAGE
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
DAYS = {"30d": 30, "90d": 90, "1y": 365, "never": 0}


def add(commands: Commands) -> None:
    """Declares the commands."""
    group = commands.add_parser("tokens", help="list, create and revoke access tokens", allow_abbrev=False)
    group.set_defaults(run=lambda call: _explain(call, group.format_usage()))
    actions = group.add_subparsers(metavar="ACTION")
    command(actions, "list", index, "list your tokens, the revoked ones too")
    creating = command(actions, "create", create, "make a token and print it, this once")
    creating.add_argument("--name", help="what it is for")
    creating.add_argument("--scopes", type=words, metavar="A,B", help="what it may do; default all that you may")
    creating.add_argument("--expires", choices=list(DAYS), help="when it ends; default 90d")
    creating.add_argument("--offline", action="store_true", help="for a lost token: the service must be stopped")
    revoking = command(actions, "revoke", revoke, "revoke a token, at once")
    revoking.add_argument("id", metavar="ID", type=identifier, help="the token's id, as `pkgctl tokens list` shows it")
    command(actions, "revoke-all", revoke_all, "revoke all your tokens but the one in use")


def index(call: Call) -> int:
    """Lists the caller's tokens."""
    call.print_list(call.client().items("/tokens"), LIST, "No tokens.")
    return OK


def create(call: Call) -> int:
    """Makes a token: alone on stdout, so that `TOKEN=$(pkgctl tokens create)` works."""
    asked = call.arguments
    if asked.offline:
        return offline_token(call, asked.name, asked.scopes, DAYS[asked.expires or "90d"])
    wanted = {"name": asked.name, "scopes": asked.scopes, "expires_in": asked.expires}
    body = {field: value for field, value in wanted.items() if value is not None}
    answer = call.client().send("POST", "/tokens", body=body or None)
    created = answer.decode(Created)
    call.print_answer(answer.content, created.token)
    if not call.as_json:
        until = f"expires {created.expires_at}" if created.expires_at else "does not expire"
        call.screen.note(f"Token {created.id} {until}; it is not shown again.")
    return OK


def revoke(call: Call) -> int:
    """Revokes one token; revoking it again is no error."""
    answer = call.client().send("DELETE", f"/tokens/{call.arguments.id}")
    call.print_answer(answer.content, f"Success: Revoked token {call.arguments.id}")
    return OK


def revoke_all(call: Call) -> int:
    """Revokes the caller's other tokens."""
    call.print_answer(call.client().send("DELETE", "/tokens/all").content, "Success: Revoked all your other tokens")
    return OK


def _explain(call: Call, usage: str) -> int:
    call.screen.note(usage.strip())
    return USAGE
