"""The commands about packages: what is on the appliance, fetching it, switching to it and back."""

import argparse
import time
from typing import TYPE_CHECKING

from app.cli.answers import Attempt, Package, Started, StatusEvent, Switched, read
from app.cli.call import Call
from app.cli.options import Commands, Run, about_one, command, positive
from app.cli.outcomes import OK, Failed, NotPurser

if TYPE_CHECKING:
    from app.cli.client import Client

ACTIVATION_TIMEOUT_S = 60.0  # the service gives nix-env 30 s, one switch at a time

LIST = {
    "ID": "id",
    "NAME": "name",
    "VERSION": "version",
    "STATUS": "status",
    "SIZE": "closure_bytes",
    "UPDATED": "updated_at",
}
ATTEMPTS = {
    "ATTEMPT": "number",
    "STATUS": "status",
    "FAILURE": "failure",
    "EXIT": "exit_code",
    "QUEUED": "queued_at",
    "STARTED": "started_at",
    "FINISHED": "finished_at",
    "LOG": "log_bytes",
}

ACTIVATIONS = {
    "ID": "id",
    "ACT": "kind",
    "STATUS": "status",
    "FROM": "from_version",
    "TO": "to_version",
    "GENERATION": "generation",
    "BY": "by",
    "WHEN": "started_at",
}


def add(commands: Commands) -> None:
    """Declares the commands."""
    listing = command(commands, "list", index, "list the packages")
    listing.add_argument("--name", help="only this name")
    listing.add_argument("--status", help="only those created, downloading, downloaded, activated or failed")
    listing.add_argument("--q", help="only those whose name holds this text")
    listing.add_argument("--limit", type=positive, help="at most so many; default all")
    _about_one(commands, "show", show, "show everything about one package")
    creating = command(commands, "create", create, "register a name and version")
    creating.add_argument("name", metavar="NAME")
    creating.add_argument("version", metavar="VERSION")
    fetching = _about_one(commands, "download", download, "fetch a package with nix-build")
    fetching.add_argument("--wait", action="store_true", help="follow the log until it is downloaded or has failed")
    reading = _about_one(commands, "log", log, "print the log of a download")
    reading.add_argument("-f", "--follow", action="store_true", help="go on until the download has ended")
    reading.add_argument("--attempt", type=positive, metavar="N", help="that attempt's log; default the last one's")
    _about_one(commands, "cancel", cancel, "stop a download")
    _about_one(commands, "activate", activate, "switch the appliance to a downloaded package")
    _about_one(commands, "rollback", rollback, "switch from the active package back to the one before it")
    _about_one(commands, "delete", delete, "delete a package")
    _about_one(commands, "attempts", attempts, "list the downloads of a package")
    _about_one(commands, "activations", activations, "list the switches to a package")


def index(call: Call) -> int:
    """Lists packages, all pages of them unless there is a limit."""
    asked = call.arguments
    page = min(asked.limit or 1000, 1000)
    query = {"name": asked.name, "status": asked.status, "q": asked.q, "limit": page}
    call.print_list(call.client().items("/packages", query, asked.limit), LIST, "No packages.")
    return OK


def show(call: Call) -> int:
    """Prints every field of one package."""
    call.print_fields(call.client().send("GET", _path(call)))
    return OK


def create(call: Call) -> int:
    """Registers a package; prints its id, which the other commands want."""
    body = {"name": call.arguments.name, "version": call.arguments.version}
    answer = call.client().send("POST", "/packages", body=body)
    package = answer.decode(Package)
    call.print_answer(answer.content, f"Success: Created package {package.id}, {package.name} v{package.version}")
    return OK


def download(call: Call) -> int:
    """Starts a download, and with --wait stays until it has ended."""
    client = call.client()
    answer = client.send("POST", f"{_path(call)}/download")
    started = answer.decode(Started)
    if call.arguments.wait and started.status == "downloading":
        return _wait(call, client, started)
    if call.arguments.wait and call.as_json:
        return show(call)
    if started.status == "downloading":
        success = f"Success: Downloading package {call.arguments.id}, attempt {started.attempt}"
    else:
        success = f"Success: Package {call.arguments.id} is {started.status} already"
    call.print_answer(answer.content, success)
    return OK


def _wait(call: Call, client: "Client", started: Started) -> int:
    """Shows the log as it is written; prints the outcome."""
    from app.cli.follow import Follower

    number = call.arguments.id
    follower = Follower(client, number, started.attempt)
    begun = time.monotonic()

    def line() -> str:
        label = f"Downloading {started.name} v{started.version}"
        return f"{label}: {follower.state}, {time.monotonic() - begun:.0f} s, {follower.log_bytes} bytes of log"

    try:
        with call.screen.progress(line) as progress:
            for text in follower.texts():
                progress.log(text)
    except KeyboardInterrupt:
        call.screen.note(
            f"The download goes on: `pkgctl log {number} -f` follows it, `pkgctl cancel {number}` stops it"
        )
        raise
    if call.as_json:
        call.screen.json(client.send("GET", _path(call)).content)
    _judge(follower.outcome)
    if not call.as_json:
        call.screen.line(f"Success: Downloaded package v{started.version}")
    return OK


def _judge(outcome: StatusEvent | None) -> None:
    """Raises Failed unless the package is on the appliance."""
    if outcome is None:
        raise NotPurser("the events end before the download does")
    if outcome.package_status == "failed":
        raise Failed(f"Download failed: {outcome.failure or 'unknown'}: {outcome.failure_detail or 'see the log'}")
    if outcome.package_status != "downloaded":
        raise Failed("Download cancelled")


def log(call: Call) -> int:
    """Prints a log as far as it has come, or with -f to its end. It is text: --json changes nothing."""
    from app.cli.follow import Follower, logged

    asked, client = call.arguments, call.client()
    if not asked.follow:
        texts = logged(client, asked.id, asked.attempt)
    elif _has_attempt(call, client):
        texts = Follower(client, asked.id, asked.attempt, pinned=asked.attempt is not None).texts()
    else:
        return OK
    for text in texts:
        call.screen.text(text)
    return OK


def _has_attempt(call: Call, client: "Client") -> bool:
    """Whether there is any: the events would wait for the first one. Failed when the one that is asked for is not."""
    found = client.items(f"{_path(call)}/attempts", {"limit": 1000})
    numbers = [read(attempt, Attempt, "an attempt").number for attempt in found]
    wanted = call.arguments.attempt
    if wanted is not None and wanted not in numbers:
        raise Failed(f"Package {call.arguments.id} has no attempt {wanted}")
    return bool(numbers)


def cancel(call: Call) -> int:
    """Asks the service to stop a download."""
    return _act(call, "POST", "/cancel", f"Success: Cancelling the download of package {call.arguments.id}")


def activate(call: Call) -> int:
    """Switches to a package; returns when the switch is done."""
    return _switch(call, "activate", "Success: Activated package v{}")


def rollback(call: Call) -> int:
    """Switches back; returns when the switch is done."""
    return _switch(call, "rollback", "Success: Rolled back to package v{}")


def delete(call: Call) -> int:
    """Deletes a package, and what kept its files from Nix's garbage collector."""
    return _act(call, "DELETE", "", f"Success: Deleted package {call.arguments.id}")


def attempts(call: Call) -> int:
    """Lists the downloads of a package."""
    call.print_list(call.client().items(f"{_path(call)}/attempts"), ATTEMPTS, "No downloads yet.")
    return OK


def activations(call: Call) -> int:
    """Lists the switches to a package."""
    call.print_list(call.client().items(f"{_path(call)}/activations"), ACTIVATIONS, "No activations yet.")
    return OK


def _act(call: Call, method: str, act: str, success: str) -> int:
    """Does one thing to one package; the answer holds nothing people need."""
    call.print_answer(call.client().send(method, _path(call) + act).content, success)
    return OK


def _switch(call: Call, act: str, success: str) -> int:
    answer = call.client(ACTIVATION_TIMEOUT_S).send("POST", f"{_path(call)}/{act}")
    call.print_answer(answer.content, success.format(answer.decode(Switched).version))
    return OK


def _about_one(commands: Commands, name: str, run: Run, summary: str) -> argparse.ArgumentParser:
    return about_one(commands, name, run, summary, "the package's id, as `pkgctl list` shows it")


def _path(call: Call) -> str:
    return f"/packages/{call.arguments.id}"
