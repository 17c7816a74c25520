"""The rules of access tokens: made within what the caller holds, looked up by hash, revoked for good."""

from collections.abc import Sequence
from typing import NamedTuple

from app.actor import CALLERS, Actor, Call, Identity
from app.audit import service as audit
from app.db import Tx, load
from app.db.rows import to_json
from app.errors import TOKEN_REQUIRED, Conflict, CredentialRefused, Forbidden, Invalid, NotFound, Unauthorized
from app.permissions import Permissions, covers, normalise
from app.tokens.addresses import network, within, written
from app.tokens.structs import (
    PREFIX_LENGTH,
    AllowedIps,
    Holder,
    LogEntry,
    Logged,
    NewToken,
    Regenerate,
    Token,
    TokenCreate,
    TokenFilter,
    TokenRow,
    shown,
    state,
)
from app.users import service as users
from app.values import Network, hashed, instant_of, later, new_token, now

q = load("tokens")

DAYS = {"30d": 30, "90d": 90, "1y": 365}
EVERYWHERE = (network("0.0.0.0/0"), network("::/0"))
OUTLIVES = "A token cannot outlive the token that makes it."


def claim(tx: Tx, call: Call | None, new: TokenCreate, *, local: bool) -> NewToken:
    """The first token: claims the appliance, scope `*`, no expiry. Only for a local caller, only once."""
    if users.claimed(tx):
        raise Unauthorized(TOKEN_REQUIRED)
    if not local:
        raise Forbidden("This appliance is not claimed yet; the first token is made on the appliance itself.")
    if new != TokenCreate(name=new.name):
        raise Invalid.field("/", "the first token has the scope * and no end; only its name may be given")
    actor = users.acting(tx, users.claim(tx), call)
    made = _add(tx, actor.user_id, new.name, ("*",), None, None)
    audit.record(tx, actor, "appliance.claim", f"tokens/{made.id}")
    return made


def create(tx: Tx, actor: Actor, new: TokenCreate) -> NewToken:
    """A token of the caller's, never beyond the caller: neither in scopes nor, through a token, in time or place."""
    scopes, expires_at, allowed = _scopes(actor, new), _expiry(actor, new), _allowed(actor, new)
    made = _add(tx, actor.user_id, new.name, scopes, expires_at, allowed)
    audit.record(tx, actor, "tokens.create", f"tokens/{made.id}")
    return made


def _scopes(actor: Actor, new: TokenCreate) -> tuple[str, ...]:
    if new.scopes is None:
        return tuple(actor.permissions.own())
    wanted = []
    for index, scope in enumerate(new.scopes):
        try:
            wanted.append(normalise(scope))
        except ValueError as error:
            raise Invalid.field(f"/scopes/{index}", f"{error}, not `{scope}`") from None
    beyond = actor.permissions.beyond(wanted)
    if beyond:
        raise actor.lacks(beyond, "A token cannot be given more than its maker holds.")
    return tuple(dict.fromkeys(wanted))


def _expiry(actor: Actor, new: TokenCreate) -> str | None:
    """When the new token ends; None for never, which only tokens:admin may ask for."""
    asked = [name for name in ("expires_in_days", "expires_in", "expires_at") if getattr(new, name) is not None]
    if len(asked) > 1:
        raise Invalid.field(f"/{asked[1]}", f"give either {' or '.join(asked)}")
    own = actor.who.expires_at if actor.who.token_id is not None else None
    if new.expires_in == "never":
        _require(actor, "tokens:admin", "A token without end needs tokens:admin.")
        if own is not None:
            raise Forbidden(OUTLIVES, expires_at=own)
        return None
    wanted = _instant(new.expires_at) if new.expires_at else _in_days(new)
    if own is None or wanted <= own:
        return wanted
    if asked:
        raise Forbidden(OUTLIVES, expires_at=own)
    return own


def _in_days(new: TokenCreate) -> str:
    return later((new.expires_in_days or DAYS[new.expires_in or "90d"]) * 86400)


def _instant(text: str) -> str:
    """An instant within the next year in the format of all times."""
    try:
        wanted = instant_of(text)
    except ValueError as error:
        raise Invalid.field("/expires_at", str(error)) from None
    if not now() < wanted <= later(DAYS["1y"] * 86400):
        raise Invalid.field("/expires_at", "expected an instant within the next 365 days")
    return wanted


def _require(actor: Actor, permission: str, why: str) -> None:
    if actor.permissions.reach(permission) is None:
        raise actor.lacks([permission], why)


def _allowed(actor: Actor, new: TokenCreate) -> tuple[str, ...] | None:
    """Where the new token may be used from; None for anywhere."""
    own = actor.who.networks
    if new.allowed_ips is None:
        return None if own is None else written(own)
    return _addresses(actor, new.allowed_ips)


def _addresses(actor: Actor, wanted: Sequence[str]) -> tuple[str, ...] | None:
    """The addresses in their normal spelling; None for anywhere. Never beyond those of the token in use."""
    networks = []
    for index, text in enumerate(wanted):
        try:
            networks.append(network(text))
        except ValueError as error:
            raise Invalid.field(f"/allowed_ips/{index}", str(error)) from None
    if not within(networks or EVERYWHERE, actor.who.networks):
        raise Forbidden("A token cannot be used from more addresses than the token that makes it.")
    return written(networks) or None


def _add(
    tx: Tx, user_id: int, name: str, scopes: Sequence[str], expires_at: str | None, allowed: Sequence[str] | None
) -> NewToken:
    secret = new_token()
    row = tx.one(
        q.add,
        TokenRow,
        user_id=user_id,
        name=name,
        prefix=secret[:PREFIX_LENGTH],
        secret_sha256=hashed(secret),
        scopes=to_json(scopes),
        allowed_ips=None if allowed is None else to_json(allowed),
        expires_at=expires_at,
        now=tx.now,
    )
    if row is None:
        raise RuntimeError("two equal secrets of 256 random bits")
    return _with_secret(row, secret)


def _with_secret(row: TokenRow, secret: str) -> NewToken:
    known = {name: getattr(row, name) for name in NewToken.__struct_fields__ if hasattr(row, name)}
    known |= {"prefix": secret[:PREFIX_LENGTH], "state": state(row.expires_at, row.revoked_at)}
    return NewToken(**known, token=secret)


def offline(tx: Tx, new: TokenCreate) -> NewToken:
    """A token of the first super admin's, made by an offline command: how a lost first token is replaced."""
    return create(tx, users.acting(tx, users.first_super_admin(tx)), new)


def page(tx: Tx, actor: Actor, wanted: TokenFilter, *, after: int, limit: int) -> list[Token]:
    """Tokens, the oldest first, expired and revoked ones too: the caller's own unless more is asked for and allowed."""
    whose = _whose(tx, actor, wanted)
    rows = tx.many(q.page, TokenRow, **whose, state=wanted.state, now=tx.now, after=after, limit=limit)
    return [shown(row) for row in rows]


def count(tx: Tx, actor: Actor, wanted: TokenFilter) -> int:
    """How many tokens match, on all pages together."""
    return tx.value(q.count, int, **_whose(tx, actor, wanted), state=wanted.state, now=tx.now) or 0


def _whose(tx: Tx, actor: Actor, wanted: TokenFilter) -> dict[str, object]:
    """The parameters that keep a list to the tokens that are asked for; Forbidden beyond the caller's reach."""
    if wanted.all and wanted.user_id is not None:
        raise Invalid.field("user_id", "give either user_id or all")
    if wanted.user_id in (None, actor.user_id) and not wanted.all:
        return {"everyone": 0, "user_id": actor.user_id, "group_id": None}
    _require(actor, "tokens:admin", "Only tokens:admin lists the tokens of others.")
    reach = actor.reach("tokens:admin")
    if wanted.all:
        return {"everyone": reach == "all", "user_id": actor.user_id, "group_id": _group(actor)}
    owner = users.account(tx, wanted.user_id or 0)
    if reach != "all" and (owner.group_id is None or owner.group_id != _group(actor)):
        raise NotFound("No such user.")
    return {"everyone": 0, "user_id": owner.id, "group_id": None}


def _group(actor: Actor) -> int | None:
    """The group whose tokens the actor administers; None where the reach is another."""
    return actor.who.group_id if actor.permissions.reach("tokens:admin") == "group" else None


def get(tx: Tx, actor: Actor, token_id: int) -> Token:
    """One of the caller's own tokens, with `tokens:admin` any within reach."""
    return shown(_row(tx, actor, token_id))


class TokenLogs(NamedTuple):
    """What was called with a token: how often in all, and some of it."""

    token_name: str
    total: int
    calls: list[Logged]


def logs(tx: Tx, actor: Actor, token_id: int, behind: tuple[str, int] | None, limit: int) -> TokenLogs:
    """What was called with a token that the actor may see, the newest first."""
    row = _row(tx, actor, token_id)
    calls = [
        Logged(
            LogEntry(found.at, found.ip, found.method, found.path, found.status, found.authorized, found.reason),
            (found.at, found.id),
        )
        for found in audit.page_of_token(tx, row.id, behind, limit)
    ]
    return TokenLogs(row.name, audit.count_of_token(tx, row.id), calls)


def _row(tx: Tx, actor: Actor, token_id: int, *, own: bool = False) -> TokenRow:
    everyone = not own and actor.permissions.reach("tokens:admin") == "all"
    group_id = None if own else _group(actor)
    row = tx.one(q.by_id, TokenRow, id=token_id, user_id=actor.user_id, everyone=everyone, group_id=group_id)
    if row is None:
        raise NotFound("No such token.")
    return row


def revoke(tx: Tx, actor: Actor, token_id: int) -> None:
    """Ends a token; a second time is no error. Those of admins are ended by themselves and by super admins."""
    row = _row(tx, actor, token_id)
    users.refuse_above(tx, actor, row.user_id)
    tx.exec(q.revoke, id=token_id, now=tx.now)
    audit.record(tx, actor, "tokens.revoke", f"tokens/{token_id}")
    tx.notify(CALLERS, row.user_id)


def revoke_others(tx: Tx, actor: Actor) -> None:
    """Ends all of the caller's tokens but the one in use."""
    tx.exec(q.revoke_others, user_id=actor.user_id, keep=actor.who.token_id or 0, now=tx.now)
    audit.record(tx, actor, "tokens.revoke_others", f"users/{actor.user_id}")
    tx.notify(CALLERS, actor.user_id)


def regenerate(tx: Tx, actor: Actor, token_id: int, asked: Regenerate) -> NewToken:
    """Gives one of the caller's own tokens a new secret; the old one works `grace_seconds` longer."""
    row = _not_beyond(actor, _row(tx, actor, token_id, own=True))
    held = state(row.expires_at, row.revoked_at)
    if held != "active":
        raise Conflict(f"The token is {held}.", state=held)
    secret = new_token()
    until = later(asked.grace_seconds)
    changed = {"prefix": secret[:PREFIX_LENGTH], "secret_sha256": hashed(secret), "old_until": until}
    if not tx.exec(q.replace_secret, id=token_id, **changed):
        raise Conflict("The token is revoked.", state="revoked")
    audit.record(tx, actor, "tokens.regenerate", f"tokens/{token_id}")
    tx.notify(CALLERS, actor.user_id)
    return _with_secret(row, secret)


def set_allowed_ips(tx: Tx, actor: Actor, token_id: int, asked: AllowedIps) -> Token:
    """Says where one of the caller's own tokens may be used from."""
    _not_beyond(actor, _row(tx, actor, token_id, own=True))
    allowed = _addresses(actor, asked.allowed_ips or ())
    tx.exec(q.set_allowed_ips, id=token_id, allowed_ips=None if allowed is None else to_json(allowed))
    audit.record(tx, actor, "tokens.set_allowed_ips", f"tokens/{token_id}")
    tx.notify(CALLERS, actor.user_id)
    return shown(_row(tx, actor, token_id, own=True))


def _not_beyond(actor: Actor, row: TokenRow) -> TokenRow:
    """The token, unless it can do more, or longer, or from elsewhere, than the token in use."""
    own = actor.who
    if own.token_id is None:
        return row
    beyond = [scope for scope in row.scopes if not covers(own.permissions.scopes or (), scope)]
    longer = own.expires_at is not None and (row.expires_at is None or row.expires_at > own.expires_at)
    if beyond or longer or not within(_networks(row.allowed_ips) or EVERYWHERE, own.networks):
        raise actor.lacks(beyond, "That token may do more than the one in use.")
    return row


def _networks(allowed: Sequence[str] | None) -> tuple[Network, ...] | None:
    return None if allowed is None else tuple(map(network, allowed))


def identify(tx: Tx, secret_sha256: str) -> tuple[Identity, str | None]:
    """The caller behind a secret, and when the token was last used. CredentialRefused says why it does not hold."""
    holder = tx.one(q.holder, Holder, secret_sha256=secret_sha256)
    if holder is None:
        raise CredentialRefused("Invalid token")
    held = state(holder.expires_at, holder.revoked_at)
    until = holder.expires_at
    if holder.old:
        until = min(filter(None, (holder.old_until, holder.expires_at)))
        if holder.old_until is None or holder.old_until <= now():
            held = "revoked"
    if held != "active":
        raise CredentialRefused(f"Token {held}", token_id=holder.id)
    owner = users.account(tx, holder.user_id)
    if owner.status != "active":
        raise CredentialRefused("Invalid token", token_id=holder.id)
    who = Identity(
        owner.id,
        owner.username,
        Permissions(users.grants(tx, owner), holder.scopes),
        token_id=holder.id,
        token_name=holder.name,
        expires_at=until,
        group_id=owner.group_id,
        networks=_networks(holder.allowed_ips),
    )
    return who, holder.last_used_at


def touch(tx: Tx, token_id: int) -> None:
    """Notes that a token is in use; called at most once a minute for each."""
    tx.exec(q.touch, id=token_id, now=tx.now)
