"""The commands on the machine itself: setting the database up, serving, migrating, and which version this is.

What opens the database is imported inside the commands, so that `pkgctl list` starts at once.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from app import __version__
from app.cli.answers import Created
from app.cli.call import Call
from app.cli.options import Commands, command, everywhere, port
from app.cli.outcomes import OK, Failed, Refused, Unreachable, Usage

if TYPE_CHECKING:
    from app.config import Config

VERSION_TIMEOUT_S = 3.0


def add(commands: Commands) -> None:
    """Declares the commands."""
    starting = command(
        commands,
        "init",
        init,
        "create or migrate the database and print its URL",
        parents=[everywhere(token=False)],
    )
    starting.add_argument(
        "--token", dest="claim", action="store_true", help="claim the appliance: print its first token"
    )
    starting.add_argument("--drop-all", action="store_true", help="delete the database first, and everything in it")
    starting.add_argument("--yes", action="store_true", help="do not ask before --drop-all")
    serving = command(commands, "serve", serve, "run the service", parents=[])
    serving.add_argument("--host", help="the address to listen on (HOST)")
    serving.add_argument("--port", type=port, metavar="N", help="the port to listen on (PORT)")
    serving.add_argument("--uds", metavar="PATH", help="listen on a Unix socket instead")
    serving.add_argument(
        "--fd", type=int, metavar="N", help="listen on a socket that is open already, as systemd gives"
    )
    migrating = command(commands, "migrate", migrate, "bring the database to this version's schema", parents=[])
    migrating.add_argument("--check", action="store_true", help="only tell whether there is something to do")
    command(commands, "version", version, "print the version of pkgctl, and with a token the service's")


@contextmanager
def offline() -> Iterator[None]:
    """Turns what the product's own modules say about settings and files into outcomes of the call."""
    from app.config import ConfigError
    from app.errors import PurserError, StartError
    from app.offline import OfflineError

    try:
        yield
    except ConfigError as error:
        raise Usage(str(error)) from None
    except (OfflineError, StartError, PurserError) as error:
        raise Failed(str(error)) from None
    except OSError as error:
        raise Failed(": ".join(str(part) for part in (error.filename, error.strerror) if part)) from None


def init(call: Call) -> int:
    """Creates or migrates the database; with --token makes the first token as well."""
    from app.config import load
    from app.offline import InUse, initialize

    asked = call.arguments
    with offline():
        config = load(call.environ)
        if asked.drop_all:
            call.confirm(f"Delete {config.database_url} and everything in it?", "--drop-all")
        try:
            url, held = initialize(config, asked.drop_all, opened(call)).url, False
        except InUse:
            if asked.drop_all:
                raise
            url, held = config.database_url, True  # the service migrated it when it started
        if not call.as_json:
            call.screen.line(url)
            call.screen.flush()
        token = (_claim_through_service(call) if held else _claim(config)) if asked.claim else None
    if call.as_json:
        call.screen.json(msgspec.json.encode({"database_url": url, "token": token}))
    elif token:
        call.screen.line(token)
    return OK


def opened(call: Call) -> Callable[[Path], None]:
    """Returns what tells people which database file was opened."""
    return lambda path: call.screen.note(f"Opened {path}")


def _claim(config: "Config") -> str:
    from app.offline import claim

    return claim(config)


def _claim_through_service(call: Call) -> str:
    """Asks the service that holds the database for the first token: it gives one to loopback alone, and once."""
    try:
        return call.client(anonymous=True).send("POST", "/tokens").decode(Created).token
    except Refused as refused:
        if refused.code == "UNAUTHORIZED":
            raise Failed("The appliance is claimed already; make further tokens with one that you have") from None
        raise


def offline_token(
    call: Call, name: str | None, scopes: Sequence[str] | None, days: int, allowed_ips: Sequence[str] | None
) -> int:
    """Makes a token in the database itself, for those who lost theirs; prints it alone on stdout. 0 days: no end."""
    from app.config import load
    from app.offline import new_token

    with offline():
        token = new_token(load(call.environ), name, scopes, days, allowed_ips, opened(call))
    call.print_answer(msgspec.json.encode({"token": token}), token)
    return OK


def serve(call: Call) -> int:
    """Runs the service until it is told to stop."""
    from app.config import load

    with offline():
        config = load(call.environ)
    asked = call.arguments
    given = {name: getattr(asked, name) for name in ("host", "port") if getattr(asked, name) is not None}
    from app.server import serve as run

    return run(msgspec.structs.replace(config, **given), uds=asked.uds, fd=asked.fd)


def migrate(call: Call) -> int:
    """Migrates the database; with --check only fails when there is something to do."""
    from app.config import load
    from app.offline import check_schema, initialize

    with offline():
        config = load(call.environ)
        if call.arguments.check:
            check_schema(config)
            call.screen.line("The schema is up to date")
            return OK
        done = initialize(config, False, opened(call))
    call.screen.line(f"Schema at {done.version:04d} ({done.applied} applied)")
    return OK


def version(call: Call) -> int:
    """Prints the client's version, and the service's when there is a token or a session and somebody answers."""
    if not call.as_json:
        call.screen.line(f"pkgctl {__version__}")
        call.screen.flush()
    found: dict[str, object] | None = None
    if call.token is not None or call.session() is not None:
        try:
            found = call.client(VERSION_TIMEOUT_S).get("/version", dict[str, object])
        except Unreachable as failure:
            call.screen.note(f"pkgctl: {failure}")
    if call.as_json:
        call.screen.json(msgspec.json.encode({"client": __version__, "server": found}))
    elif found is not None:
        parts = ", ".join(f"{name} {value}" for name, value in found.items() if name != "version")
        call.screen.line(f"server {found.get('version')} ({parts})")
    return OK
