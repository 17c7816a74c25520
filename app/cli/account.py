"""The commands about oneself: signing in and out, who one is, and the own password."""

from contextlib import suppress
from typing import TYPE_CHECKING

from app.cli.answers import Account, Me, SignedIn, read
from app.cli.call import Call
from app.cli.options import Commands, command, everywhere
from app.cli.outcomes import OK, Failed, Failure, Unreachable, Usage
from app.cli.passwords import add_file_option, add_options, code, new_password, password, tell

if TYPE_CHECKING:
    from app.cli.sessions import SessionFile


def add(commands: Commands) -> None:
    """Declares the commands."""
    entering = command(commands, "login", login, "sign in and keep the session", parents=[everywhere(token=False)])
    entering.add_argument("identifier", metavar="IDENTIFIER", nargs="?", help="your username or e-mail")
    add_file_option(entering, "--password-file", "your password")
    leaving = command(commands, "logout", logout, "end the session and forget it", parents=[everywhere(token=False)])
    leaving.add_argument("--all", action="store_true", help="end all your sessions, on other machines too")
    command(commands, "whoami", whoami, "tell who you are, and through which credential")
    changing = command(commands, "passwd", passwd, "change your password; your other sessions end")
    known = changing.add_mutually_exclusive_group()
    add_file_option(known, "--old-password-file", "the present password")
    known.add_argument(
        "--code", action="store_true", help="give the code that `pkgctl forgot` had mailed instead of it"
    )
    add_file_option(changing, "--code-file", "that code; default typed, or a line of standard input")
    add_options(changing)
    forgetting = command(
        commands, "forgot", forgot, "have a code mailed that sets a new password", parents=[everywhere(token=False)]
    )
    forgetting.add_argument("email", metavar="EMAIL", help="the account's e-mail address")


def login(call: Call) -> int:
    """Signs in and keeps the session, so that the commands that follow need no token."""
    file, shadowed = _file(call), call.token is not None
    with file.changing(mending=True):
        pass  # who cannot keep a session need not sign in
    body = {"identifier": _identifier(call), "password": password(call, "Password:", call.arguments.password_file)}
    answer = call.client(anonymous=True).send("POST", "/auth/login", body=body).decode(SignedIn)
    account = read(answer.user, Account, "the user in the answer")
    _keep(call, file, answer, account.username)
    roles = ", ".join(account.roles)
    call.print_answer(bytes(answer.user), f"Signed in as {account.username} ({roles})")
    if shadowed:
        call.screen.note("PURSER_TOKEN or PURSER_TOKEN_FILE is set, and goes before the session")
    return OK


def _file(call: Call) -> "SessionFile":
    file = call.session_file()
    if file is None:
        raise Usage("There is no place to keep a session: neither XDG_CONFIG_HOME nor HOME is set")
    return file


def _identifier(call: Call) -> str:
    asked: str | None = call.arguments.identifier or call.screen.ask("Username or e-mail:")
    if not asked:
        raise Usage("There is no terminal to ask who signs in: say pkgctl login IDENTIFIER")
    if not asked.isprintable():
        raise Usage("What was typed is no username and no e-mail")
    return asked


def _keep(call: Call, file: "SessionFile", answer: SignedIn, username: str) -> None:
    """Writes the session down; one that cannot be kept is ended again."""
    from app.cli.client import Address, Client
    from app.cli.sessions import Kept

    try:
        with file.changing(mending=True) as sessions:
            sessions[Address.parse(call.url).key] = Kept.of(answer, username)
    except Failure:
        with suppress(Failure):
            Client(call.url, answer.access_token).send("POST", "/auth/logout", body={})
        raise


def logout(call: Call) -> int:
    """Ends the session at the service, and forgets it here; here also when nobody answers there."""
    from app.cli.client import Address, Client
    from app.cli.sessions import SessionEnded

    session, file = call.session(), _file(call)
    if session is None:
        raise Failed(f"You are not signed in at {call.url}")
    unreachable: Unreachable | None = None
    content = b"{}"
    try:
        content = (
            Client(call.url, session=session).send("POST", "/auth/logout", body={"all": call.arguments.all}).content
        )
    except Unreachable as failure:
        unreachable = failure
    except SessionEnded:
        call.screen.note("The session had ended already")
    with file.changing() as sessions:
        sessions.pop(Address.parse(call.url).key, None)
    if unreachable is not None:
        raise Unreachable(f"{unreachable}. The session is forgotten here, and goes on there until it expires")
    call.print_answer(content, "Signed out everywhere" if call.arguments.all else "Signed out")
    return OK


def whoami(call: Call) -> int:
    """Prints who the caller is, and through which credential."""
    answer = call.client().send("GET", "/auth/me")
    me = answer.decode(Me)
    if call.as_json:
        call.screen.json(answer.content)
        return OK
    through = f"token {me.token_id}" if me.token_id is not None else f"session {me.session_id}"
    told: dict[str, object] = {"user": me.username, "id": me.id, "name": me.name, "email": me.email, "roles": me.roles}
    told |= {"group": (me.group or {}).get("name"), "through": through}
    if me.scopes is not None:
        told["scopes"] = me.scopes
    if me.limits is not None:
        told["limits"] = f"{me.limits.requests_per_minute} calls a minute, {me.limits.remaining} left"
    call.screen.fields(told)
    return OK


def passwd(call: Call) -> int:
    """Changes the own password; with a code also the password of who cannot sign in."""
    asked = call.arguments
    if asked.code or asked.code_file is not None:
        if asked.old_password_file is not None:
            raise Usage("A code takes the place of the present password: leave one of them out")
        return _reset(call)
    old = password(call, "Present password:", asked.old_password_file, "--old-password-file")
    new = new_password(call)
    answer = call.client().send("POST", "/auth/change-password", body={"old_password": old, "new_password": new.text})
    tell(call, answer.content, "Success: Changed your password; your other sessions have ended", new)
    return OK


def _reset(call: Call) -> int:
    """Sets a password by a code; whoever holds it needs no session and no token, and neither is sent."""
    body = {"token": code(call, call.arguments.code_file)}
    new = new_password(call)
    answer = call.client(anonymous=True).send("POST", "/auth/reset-password", body={**body, "password": new.text})
    tell(call, answer.content, "Success: Set your password; all your sessions have ended", new)
    return OK


def forgot(call: Call) -> int:
    """Has a code mailed. The service tells nobody whether there is such an account, and so neither do we."""
    answer = call.client(anonymous=True).send("POST", "/auth/forgot-password", body={"email": call.arguments.email})
    told = "If there is such an account, a letter is on its way; its code sets a new password: pkgctl passwd --code"
    call.print_answer(answer.content, told)
    return OK
