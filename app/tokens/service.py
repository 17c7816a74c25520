"""The rules of access tokens: made within what the caller holds, looked up by hash, revoked for good."""

from hashlib import sha256

from app.actor import Actor, Call, Identity
from app.audit import service as audit
from app.db import Tx, load
from app.db.rows import to_json
from app.errors import TOKEN_REQUIRED, Forbidden, Invalid, NotFound, Unauthorized
from app.permissions import ROLES, Permissions, normalise
from app.tokens.structs import PREFIX_LENGTH, Holder, NewToken, Token, TokenCreate, TokenRow, shown, state
from app.users import service as users
from app.values import later, new_token

q = load("tokens")

DAYS = {"30d": 30, "90d": 90, "1y": 365}
OUTLIVES = "A token cannot outlive the token that makes it."
TOPIC = "tokens"
"""Message after commit: a user id whose cached identities no longer hold."""


class TokenRefused(Unauthorized):
    """A credential that is no valid token; `token_id` is the token it names, None for one nobody was ever given."""

    def __init__(self, detail: str, token_id: int | None = None) -> None:
        super().__init__(detail)
        self.token_id = token_id


def hashed(secret: str) -> str:
    """What is kept of a secret: its SHA-256, hexadecimal. 256 random bits need no salt and no key."""
    return sha256(secret.encode()).hexdigest()


def claim(tx: Tx, call: Call | None, new: TokenCreate, *, local: bool) -> NewToken:
    """The first token: claims the appliance, scope `*`, no expiry. Only for a local caller, only once."""
    if users.claimed(tx):
        raise Unauthorized(TOKEN_REQUIRED)
    if not local:
        raise Forbidden("This appliance is not claimed yet; the first token is made on the appliance itself.")
    if new != TokenCreate(name=new.name):
        raise Invalid.field("/", "the first token has the scope * and no end; only its name may be given")
    actor = users.acting(users.claim(tx), call)
    made = _add(tx, actor.user_id, new.name, ("*",), None)
    audit.record(tx, actor, "appliance.claim", f"tokens/{made.id}")
    return made


def create(tx: Tx, actor: Actor, new: TokenCreate) -> NewToken:
    """A token of the caller's, never beyond the caller: neither in scopes nor, through a token, in time."""
    scopes = _scopes(actor, new)
    made = _add(tx, actor.user_id, new.name, scopes, _expiry(actor, new))
    audit.record(tx, actor, "tokens.create", f"tokens/{made.id}")
    return made


def _scopes(actor: Actor, new: TokenCreate) -> tuple[str, ...]:
    if new.scopes is None:
        return tuple(actor.permissions.held())
    wanted = []
    for index, scope in enumerate(new.scopes):
        try:
            wanted.append(normalise(scope))
        except ValueError as error:
            raise Invalid.field(f"/scopes/{index}", f"{error}, not `{scope}`") from None
    beyond = actor.permissions.beyond(wanted)
    if beyond:
        raise Forbidden(
            "A token cannot be given more than its maker holds.", required=beyond, held=actor.permissions.held()
        )
    return tuple(dict.fromkeys(wanted))


def _expiry(actor: Actor, new: TokenCreate) -> str | None:
    """When the new token ends; None for never, which only tokens:admin may ask for."""
    if new.expires_in_days is not None and new.expires_in is not None:
        raise Invalid.field("/expires_in", "give either expires_in or expires_in_days")
    own = actor.who.expires_at
    if new.expires_in == "never":
        if actor.permissions.reach("tokens:admin") is None:
            raise Forbidden(
                "A token without end needs tokens:admin.", required=["tokens:admin"], held=actor.permissions.held()
            )
        if own is not None:
            raise Forbidden(OUTLIVES, expires_at=own)
        return None
    asked = new.expires_in_days is not None or new.expires_in is not None
    days = new.expires_in_days or DAYS[new.expires_in or "90d"]
    wanted = later(days * 86400)
    if own is not None and own < wanted:
        if asked:
            raise Forbidden(OUTLIVES, expires_at=own)
        return own
    return wanted


def _add(tx: Tx, user_id: int, name: str, scopes: tuple[str, ...], expires_at: str | None) -> NewToken:
    secret = new_token()
    row = tx.one(
        q.add,
        TokenRow,
        user_id=user_id,
        name=name,
        prefix=secret[:PREFIX_LENGTH],
        secret_sha256=hashed(secret),
        scopes=to_json(scopes),
        expires_at=expires_at,
        now=tx.now,
    )
    if row is None:
        raise RuntimeError("two equal secrets of 256 random bits")
    return NewToken(
        row.id, secret, row.user_id, row.name, row.prefix, row.scopes, "active", row.created_at, row.expires_at
    )


def offline(tx: Tx, new: TokenCreate) -> NewToken:
    """A token of the first super admin's, made by an offline command: how a lost first token is replaced."""
    return create(tx, users.acting(users.first_super_admin(tx)), new)


def page(tx: Tx, actor: Actor, *, after: int, limit: int) -> list[Token]:
    """The caller's own tokens, the oldest first, expired and revoked ones too."""
    return [shown(row) for row in tx.many(q.own, TokenRow, user_id=actor.user_id, after=after, limit=limit)]


def count(tx: Tx, actor: Actor) -> int:
    """How many tokens the caller has ever made."""
    return tx.value(q.count_own, int, user_id=actor.user_id) or 0


def get(tx: Tx, actor: Actor, token_id: int) -> Token:
    """One of the caller's own tokens."""
    row = tx.one(q.own_by_id, TokenRow, id=token_id, user_id=actor.user_id)
    if row is None:
        raise NotFound("No such token.")
    return shown(row)


def revoke(tx: Tx, actor: Actor, token_id: int) -> None:
    """Ends one of the caller's own tokens; a second time is no error."""
    get(tx, actor, token_id)
    tx.exec(q.revoke, id=token_id, user_id=actor.user_id, now=tx.now)
    audit.record(tx, actor, "tokens.revoke", f"tokens/{token_id}")
    tx.notify(TOPIC, actor.user_id)


def revoke_others(tx: Tx, actor: Actor) -> None:
    """Ends all of the caller's tokens but the one in use."""
    tx.exec(q.revoke_others, user_id=actor.user_id, keep=actor.who.token_id or 0, now=tx.now)
    audit.record(tx, actor, "tokens.revoke_others", f"users/{actor.user_id}")
    tx.notify(TOPIC, actor.user_id)


def identify(tx: Tx, secret_sha256: str) -> tuple[Identity, str | None]:
    """The caller behind a secret, and when the token was last used. TokenRefused says why it does not hold."""
    holder = tx.one(q.holder, Holder, secret_sha256=secret_sha256)
    if holder is None:
        raise TokenRefused("Invalid token")
    held = state(holder.expires_at, holder.revoked_at)
    if held != "active":
        raise TokenRefused(f"Token {held}", holder.id)
    if holder.status != "active":
        raise TokenRefused("Invalid token", holder.id)
    permissions = Permissions(ROLES.get(holder.role, ()), holder.scopes)
    who = Identity(
        holder.user_id,
        holder.username,
        permissions,
        token_id=holder.id,
        token_name=holder.name,
        expires_at=holder.expires_at,
    )
    return who, holder.last_used_at


def touch(tx: Tx, token_id: int) -> None:
    """Notes that a token is in use; called at most once a minute for each."""
    tx.exec(q.touch, id=token_id, now=tx.now)
