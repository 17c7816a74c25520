"""The mail that the appliance could not send: read from the folder in which it lies, or asked of the service."""

import msgspec

from app.cli.answers import Mail, read
from app.cli.call import Call
from app.cli.options import Commands, command
from app.cli.outcomes import OK
from app.cli.service import offline


def add(commands: Commands) -> None:
    """Declares the command."""
    reading = command(commands, "outbox", outbox, "print the mail that waits in DATA_DIR/outbox")
    reading.add_argument("--online", action="store_true", help="ask the service instead, as a super admin")


def outbox(call: Call) -> int:
    """Prints the messages that are still of use, the oldest first."""
    content = call.client().send("GET", "/system/outbox").content if call.arguments.online else _stored(call)
    if call.as_json:
        call.screen.json(content)
        return OK
    messages = read(content, list[Mail], "the outbox")
    for number, message in enumerate(messages):
        if number:
            call.screen.line("")
        call.screen.fields({"to": message.to, "subject": message.subject, "until": message.expires_at})
        call.screen.text(f"\n{message.text.rstrip()}\n")
    if not messages:
        call.screen.note("The outbox is empty.")
    return OK


def _stored(call: Call) -> bytes:
    """What lies in the folder, as the service would tell it; the service may run beside this."""
    from app.config import load
    from app.offline import outbox

    with offline():
        return msgspec.json.encode(outbox(load(call.environ)))
