"""The rules of a forgotten password: who asks is told nothing, a code is mailed, and it sets a new password once."""

from app.actor import APPLIANCE, Call
from app.audit import service as audit
from app.auth.structs import Letter, Reset, ResetRequest
from app.db import Tx, load
from app.errors import Invalid, Unavailable
from app.users import service as users
from app.users.structs import Credentials
from app.values import folded, hashed, later, new_secret, seconds

q = load("auth")

RESETS = "auth.resets"
"""Message after commit: somebody asked for a new password, or a code is of no use any more."""
LASTS_S = 30 * 60
APART_S = 60
"""So far apart are two letters to one account."""
MOST_CODES = 5
"""Of one account, within the time that a code lasts."""
MOST_WAITING = 1_000
_FIRST_WAIT_S = 10.0


def ask(tx: Tx, email: str, ip: str) -> None:
    """Notes that a password was forgotten. One row whether there is such an account or not: it takes the same time."""
    if (tx.value(q.waiting_resets, int) or 0) >= MOST_WAITING:
        raise Unavailable("Too many ask for new passwords; try again later.")
    tx.exec(q.ask_reset, email_key=folded(email), ip=ip, now=tx.now)
    tx.notify(RESETS, 0)


def due(tx: Tx) -> ResetRequest | None:
    """The request that is to be seen to next."""
    return tx.one(q.due_reset, ResetRequest, now=tx.now)


def live(tx: Tx) -> frozenset[str]:
    """The names of the letters whose codes may still be used."""
    return frozenset(_name(reset.id) for reset in tx.many(q.live_resets, Reset, now=tx.now))


def _name(reset_id: int) -> str:
    return f"password-reset-{reset_id}"


def tidy(tx: Tx) -> None:
    """Removes codes that have expired."""
    tx.exec(q.forget_expired_resets, now=tx.now)


def write_letter(tx: Tx, request: ResetRequest) -> Letter | None:
    """A letter with a new code. None where nobody gets one: no active account, or it was written to just now."""
    tx.exec(q.forget_reset_of_request, request_id=request.id)
    found = users.credentials(tx, request.email_key)
    if found is None or found.email is None or found.status != "active" or folded(found.email) != request.email_key:
        tx.exec(q.settle_reset, id=request.id)
        return None
    latest = tx.many(q.latest_resets, Reset, user_id=found.id, now=tx.now, limit=MOST_CODES)
    if len(latest) == MOST_CODES or (latest and seconds(tx.now) - seconds(latest[0].created_at) < APART_S):
        tx.exec(q.settle_reset, id=request.id)
        return None
    code, until = new_secret(), later(LASTS_S)
    account = {"user_id": found.id, "epoch": found.session_epoch, "email_key": request.email_key}
    kept = account | {"request_id": request.id, "code_sha256": hashed(code), "expires_at": until}
    reset_id = tx.value(q.add_reset, int, **kept, now=tx.now)
    if reset_id is None:
        raise RuntimeError("a code was not made")
    return Letter(_name(reset_id), reset_id, found.id, found.email, found.username, code, request.ip, until)


def sent(tx: Tx, request: ResetRequest, letter: Letter) -> None:
    """Notes that a letter is on its way."""
    tx.exec(q.settle_reset, id=request.id)
    audit.record(tx, APPLIANCE, "auth.mail_reset", f"users/{letter.user_id}")


def not_sent(tx: Tx, request: ResetRequest, letter: Letter, *, final: bool) -> None:
    """Takes the code of a letter back. It is tried again, ever later, for as long as the code would have lasted."""
    tx.exec(q.forget_reset, id=letter.reset_id)
    wait_s = _FIRST_WAIT_S * 2 ** min(request.tries, 10)
    if final or seconds(tx.now) + wait_s > seconds(request.asked_at) + LASTS_S:
        tx.exec(q.settle_reset, id=request.id)
    else:
        tx.exec(q.put_off_reset, id=request.id, due_at=later(wait_s))


def holder(tx: Tx, code: str) -> Credentials:
    """The account whose password a code sets.

    Invalid for a code that was used, has expired or was never given, and when the account has got another password,
    status, role, group or e-mail since.
    """
    reset = tx.one(q.reset_by_code, Reset, code_sha256=hashed(code), now=tx.now)
    if reset is None:
        raise Invalid.field("/token", "expected a code that was mailed within half an hour and has not been used")
    return users.credentials_of(tx, reset.user_id)


def set_password(tx: Tx, call: Call | None, code: str, password_hash: str) -> None:
    """Sets the password that a code is for, and ends all sessions and all such codes of the account."""
    found = holder(tx, code)
    tx.exec(q.forget_resets, user_id=found.id)
    users.set_password(tx, found.id, password_hash, found.password_hash)
    tx.exec(q.forgive_everywhere, subject=f"users/{found.id}")
    audit.record(tx, users.acting(tx, users.account(tx, found.id), call), "auth.reset_password", f"users/{found.id}")
    tx.notify(RESETS, 0)
