"""The rules of signing in: what a wrong password costs, how long a session lasts, and what ends it."""

from hmac import digest
from math import ceil
from typing import NamedTuple

from app.actor import CALLERS, Actor, Call, Identity
from app.audit import service as audit
from app.auth.guessing import FROM_ANYWHERE, FROM_ONE_PLACE, KNOWN_DAYS, shut_out_s
from app.auth.structs import Device, Failure, RefreshToken, Session, SessionRow
from app.db import Tx, load
from app.errors import Conflict, CredentialRefused, Forbidden, Invalid, NotFound, TooMany, Unauthorized
from app.permissions import Permissions
from app.users import service as users
from app.users.structs import Account, Credentials, User
from app.values import folded, hashed, later, new_number, new_secret, seconds

q = load("auth")

GRACE_S = 10
"""So long after its use a refresh token may be used once more: two tabs of a browser refresh at once."""
MOST_SESSIONS = 100
"""Of one account; the oldest end."""
DAY_S = 86400


class WrongPassword(Unauthorized):
    """A sign-in that failed: it is counted and leaves a row."""

    keeps = True


class NotActive(Forbidden):
    """The password was right, and the account may not sign in. Fact: `state`."""

    keeps = True


class TokenReused(Unauthorized):
    """A refresh token that was used before: its session has been ended."""

    keeps = True


class WrongOldPassword(Invalid):
    """The present password was given wrongly when changing it: it counts as a failed sign-in."""

    keeps = True


class Attempt(NamedTuple):
    """Somebody who wants to sign in. `subject` is what wrong passwords are counted for."""

    found: Credentials | None
    subject: str

    @property
    def password_hash(self) -> str | None:
        """What the password is held against; None where nothing is right."""
        return self.found.password_hash if self.found else None


class Opened(NamedTuple):
    """A session that was opened or renewed, with its new refresh token."""

    user_id: int
    session_id: int
    nonce: str
    refresh_token: str


def begin(tx: Tx, identifier: str, device: Device, key: bytes) -> Attempt:
    """Whom an identifier names. TooMany while there have been too many wrong passwords.

    What was typed for no account is kept as a keyed hash alone: it may have been a password.
    """
    found = users.credentials(tx, identifier)
    if found is None:
        name = digest(key, folded(identifier).encode(), "sha256").hex()[:32]
        return _not_shut_out(tx, Attempt(None, f"unknown/{name}"), device)
    return _not_shut_out(tx, Attempt(found, f"users/{found.id}"), device)


def begin_own(tx: Tx, actor: Actor, device: Device) -> Attempt:
    """The caller, who is about to give the present password."""
    found = users.credentials_of(tx, actor.user_id)
    return _not_shut_out(tx, Attempt(found, f"users/{found.id}"), device)


def _not_shut_out(tx: Tx, attempt: Attempt, device: Device) -> Attempt:
    wait_s = _shut_out_s(tx, attempt, device)
    if wait_s > 0:
        raise TooMany("Too many wrong passwords; try again later.", retry_after_s=ceil(wait_s))
    return attempt


def _shut_out_s(tx: Tx, attempt: Attempt, device: Device) -> float:
    subject = {"subject": attempt.subject, "now": tx.now}
    here = tx.many(q.failures_from, Failure, **subject, source=device.source, limit=FROM_ONE_PLACE.failures)
    wait_s = shut_out_s(FROM_ONE_PLACE, [failure.at for failure in here], tx.now)
    if not _is_known(tx, attempt, device):
        anywhere = tx.many(q.failures, Failure, **subject, limit=FROM_ANYWHERE.failures)
        wait_s = max(wait_s, shut_out_s(FROM_ANYWHERE, [failure.at for failure in anywhere], tx.now))
    return wait_s


def _is_known(tx: Tx, attempt: Attempt, device: Device) -> bool:
    """Whether the account has signed in from there lately."""
    if attempt.found is None:
        return False
    since = later(-KNOWN_DAYS * DAY_S)
    return bool(tx.value(q.is_known_source, int, user_id=attempt.found.id, source=device.source, since=since))


def sign_in(
    tx: Tx, attempt: Attempt, right: bool, rehashed: str | None, device: Device, call: Call | None, lasts_s: int
) -> tuple[Opened, User]:
    """Opens a session when the password was right; counts a wrong one. Looks again: guesses may come all at once."""
    _not_shut_out(tx, attempt, device)
    found = attempt.found
    if found is None or not right or _changed(tx, found):
        _fail(tx, attempt, device, call, 401)
        raise WrongPassword("Wrong identifier or password.")
    who = users.account(tx, found.id)
    if who.status != "active":
        audit.refused(tx, call, "auth.sign_in", attempt.subject, 403, f"The account is {who.status}.")
        raise NotActive(f"The account is {who.status}.", state=who.status)
    if rehashed is not None:
        users.rehash(tx, who.id, rehashed, found.password_hash or "")
    _note_success(tx, attempt, device)
    opened = _open(tx, who, device, lasts_s)
    user = users.signed_in(tx, who.id)
    audit.record(tx, _acting(who, opened, call), "auth.sign_in", attempt.subject)
    return opened, user


def _acting(who: Account, opened: Opened, call: Call | None) -> Actor:
    """Who has just got hold of a session, for the trail."""
    identity = Identity(who.id, who.username, Permissions(()), session_id=opened.session_id, group_id=who.group_id)
    return Actor(identity, call)


def _changed(tx: Tx, found: Credentials) -> bool:
    """Whether the password that was verified is no longer the account's; under stronger parameters it still is."""
    now = users.credentials_by_id(tx, found.id)
    return now is None or (now.password_hash != found.password_hash and now.session_epoch != found.session_epoch)


def _fail(tx: Tx, attempt: Attempt, device: Device, call: Call | None, status: int) -> None:
    tx.exec(q.forget_failures, before=later(-DAY_S))
    tx.exec(q.fail, subject=attempt.subject, source=device.source, now=tx.now)
    reason = "Wrong password" if attempt.found else "Unknown account"
    if _shut_out_s(tx, attempt, device) > 0:
        reason += "; shut out for a while"
    audit.refused(tx, call, "auth.sign_in", attempt.subject, status, reason)


def _note_success(tx: Tx, attempt: Attempt, device: Device) -> None:
    """Forgives the wrong passwords that came from here, and remembers the place."""
    tx.exec(q.forgive, subject=attempt.subject, source=device.source)
    if attempt.found is not None:
        tx.exec(q.note_source, user_id=attempt.found.id, source=device.source, now=tx.now)
        tx.exec(q.forget_sources, user_id=attempt.found.id, before=later(-KNOWN_DAYS * DAY_S))


def _open(tx: Tx, who: Account, device: Device, lasts_s: int) -> Opened:
    tx.exec(q.end_expired, now=tx.now)
    until = later(lasts_s)
    nonce = new_number()
    kept = {"epoch": who.session_epoch, "nonce": nonce, "ip": device.ip, "user_agent": device.user_agent}
    session_id = tx.value(q.open, int, user_id=who.id, **kept, now=tx.now, expires_at=until)
    if session_id is None:
        raise RuntimeError("a session was not made")
    if tx.exec(q.end_oldest, user_id=who.id, keep=MOST_SESSIONS):
        tx.notify(CALLERS, who.id)
    return Opened(who.id, session_id, nonce, _refresh_token(tx, session_id, until))


def _refresh_token(tx: Tx, session_id: int, until: str) -> str:
    secret = new_secret()
    tx.exec(q.add_refresh_token, session_id=session_id, secret_sha256=hashed(secret), now=tx.now, expires_at=until)
    return secret


def refresh(tx: Tx, secret: str, device: Device, call: Call | None, lasts_s: int) -> Opened:
    """Trades a refresh token for the next one of its session. TokenReused when it was used before, long enough ago."""
    token = tx.one(q.refresh_token, RefreshToken, secret_sha256=hashed(secret))
    if token is None:
        raise Unauthorized("Invalid refresh token")
    who = users.account(tx, token.user_id)
    if token.epoch != who.session_epoch or who.status != "active":
        raise Unauthorized("Invalid refresh token")
    if token.used_at is not None and seconds(tx.now) - seconds(token.used_at) > GRACE_S:
        tx.exec(q.end, id=token.session_id, user_id=who.id)
        tx.notify(CALLERS, who.id)
        reason = "A refresh token was used again; its session has ended"
        audit.refused(tx, call, "auth.refresh_reused", f"sessions/{token.session_id}", 401, reason)
        raise TokenReused("Invalid refresh token")
    if token.expires_at <= tx.now:
        raise Unauthorized("Refresh token expired")
    tx.exec(q.use_refresh_token, id=token.id, now=tx.now)
    tx.exec(q.forget_refresh_tokens, session_id=token.session_id, now=tx.now)
    until = later(lasts_s)
    agent = {"ip": device.ip, "user_agent": device.user_agent}
    tx.exec(q.prolong, id=token.session_id, **agent, now=tx.now, expires_at=until)
    opened = Opened(who.id, token.session_id, token.nonce, _refresh_token(tx, token.session_id, until))
    audit.record(tx, _acting(who, opened, call), "auth.refresh", f"sessions/{token.session_id}")
    return opened


def sign_out(tx: Tx, actor: Actor, *, everywhere: bool) -> None:
    """Ends the session in use, or all of the account's. Conflict for a token, which belongs to no session."""
    session_id = actor.who.session_id
    if everywhere:
        tx.exec(q.end_all, user_id=actor.user_id)
    elif session_id is None:
        raise Conflict("An access token belongs to no session; revoke it, or end all sessions.", state="token")
    else:
        tx.exec(q.end, id=session_id, user_id=actor.user_id)
    target = f"users/{actor.user_id}" if everywhere else f"sessions/{session_id}"
    audit.record(tx, actor, "auth.sign_out", target)
    tx.notify(CALLERS, actor.user_id)


def change_password(
    tx: Tx, actor: Actor, attempt: Attempt, right: bool, password_hash: str | None, device: Device
) -> None:
    """Replaces the own password and ends the other sessions. WrongOldPassword counts as a failed sign-in."""
    _not_shut_out(tx, attempt, device)
    if attempt.found is None or not right or password_hash is None:
        _fail(tx, attempt, device, actor.call, 400)
        message = "this is not the present password"
        raise WrongOldPassword(f"/old_password: {message}", errors=[{"field": "/old_password", "message": message}])
    epoch = users.set_password(tx, actor.user_id, password_hash, attempt.found.password_hash)
    if actor.who.session_id is not None:
        tx.exec(q.carry_over, id=actor.who.session_id, epoch=epoch)
    audit.record(tx, actor, "auth.change_password", f"users/{actor.user_id}")


def page(tx: Tx, actor: Actor, *, after: int, limit: int) -> list[Session]:
    """The caller's own sessions that hold, the oldest first."""
    rows = tx.many(q.of_user, SessionRow, **_own(tx, actor), after=after, limit=limit)
    return [_shown(row, actor) for row in rows]


def count(tx: Tx, actor: Actor) -> int:
    """How many sessions the caller has."""
    return tx.value(q.count_of_user, int, **_own(tx, actor)) or 0


def _own(tx: Tx, actor: Actor) -> dict[str, object]:
    epoch = users.account(tx, actor.user_id).session_epoch
    return {"user_id": actor.user_id, "epoch": epoch, "now": tx.now}


def _shown(row: SessionRow, actor: Actor) -> Session:
    known = {name: getattr(row, name) for name in Session.__struct_fields__ if name != "current"}
    return Session(**known, current=row.id == actor.who.session_id)


def end(tx: Tx, actor: Actor, session_id: int) -> None:
    """Ends one of the caller's own sessions."""
    if not tx.exec(q.end, id=session_id, user_id=actor.user_id):
        raise NotFound("No such session.")
    audit.record(tx, actor, "auth.end_session", f"sessions/{session_id}")
    tx.notify(CALLERS, actor.user_id)


def identify(tx: Tx, user_id: int, session_id: int, nonce: str, expires_at: str) -> tuple[Identity, str | None]:
    """The caller in a session, and when it was last used. CredentialRefused when it has ended."""
    session = tx.one(q.by_id, SessionRow, id=session_id)
    known = session is not None and (session.user_id, session.nonce) == (user_id, nonce)
    if session is None or not known or session.expires_at <= tx.now:
        raise CredentialRefused("Session ended", session_id=session_id)
    who = users.account(tx, user_id)
    if who.session_epoch != session.epoch or who.status != "active":
        raise CredentialRefused("Session ended", session_id=session_id)
    permissions = Permissions(users.grants(tx, who))
    found = Identity(
        who.id, who.username, permissions, session_id=session_id, expires_at=expires_at, group_id=who.group_id
    )
    return found, session.last_used_at


def touch(tx: Tx, session_id: int, ip: str) -> None:
    """Notes that a session is in use; called at most once a minute for each."""
    tx.exec(q.touch, id=session_id, ip=ip, now=tx.now)
