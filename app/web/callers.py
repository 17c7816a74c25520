"""Who a credential belongs to: looked up once, then cached, bounded; a change empties the cache before its answer."""

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha256
from math import inf
from time import monotonic
from typing import Protocol

import msgspec

from app.actor import CALLERS, Identity
from app.db import Database
from app.errors import CredentialRefused, Forbidden, PurserError
from app.values import address, later, now
from app.web.access import Credential

MOST_CACHED = 2_000  # an admin's takes 3 KiB
TOUCH_EVERY_S = 60.0


class Kind(Protocol):
    """One kind of credential: access tokens, sessions."""

    def recognises(self, secret: str) -> bool:
        """Whether the text looks like one of this kind."""

    async def find(self, secret: str, shown_at: float | None) -> tuple[Identity, str | None]:
        """Who it belongs to, and when it was last used; CredentialRefused says why it does not hold.

        What is only short-lived is good if it was when it was shown; None: now.
        """

    def touch(self, who: Identity, ip: str) -> None:
        """Notes that it is in use, without waiting; asked for at most once a minute."""


class _Cached(msgspec.Struct):
    who: Identity
    kind: Kind
    touched_at: float


class Callers:
    """The cache of identities by the credential's SHA-256. One looked up before an invalidation is not cached."""

    def __init__(self, database: Database, kinds: Sequence[Kind]) -> None:
        self._kinds = tuple(kinds)
        self._cache: OrderedDict[bytes, _Cached] = OrderedDict()
        self._generation = 0
        database.subscribe(CALLERS, self.forget)

    def forget(self, _user_id: object) -> None:
        """Drops every cached identity: such changes are rare, and none may be missed."""
        self._generation += 1
        self._cache.clear()

    def known(self, credential: Credential) -> Identity | None:
        """The identity when it is cached and has not expired; Forbidden away from the token's own addresses."""
        key = sha256((credential.secret or "").encode()).digest()
        cached = self._cache.get(key)
        if cached is None:
            return None
        who = cached.who
        if who.expires_at is not None and who.expires_at <= now():
            del self._cache[key]
            return None
        _refuse_elsewhere(who, credential)
        self._touch(cached, credential)
        return who

    async def identify(self, credential: Credential) -> Identity:
        """The identity behind a credential, looked up anew."""
        secret = credential.secret or ""
        kind = next((kind for kind in self._kinds if kind.recognises(secret)), None)
        if kind is None:
            raise CredentialRefused("Invalid token")
        generation = self._generation
        try:
            who, last_used_at = await kind.find(secret, credential.shown_at)
        except CredentialRefused as refused:
            credential.token_id, credential.session_id = refused.token_id, refused.session_id
            raise
        key = sha256(secret.encode()).digest()
        if generation == self._generation and key not in self._cache:
            self._cache[key] = _Cached(who, kind, monotonic() if _recent(last_used_at) else -inf)
            while len(self._cache) > MOST_CACHED:
                self._cache.popitem(last=False)
        _refuse_elsewhere(who, credential)
        cached = self._cache.get(key)
        if cached is not None:
            self._touch(cached, credential)
        return who

    def _touch(self, cached: _Cached, credential: Credential) -> None:
        """Notes the use of a credential, unless that was done within a minute."""
        if monotonic() - cached.touched_at <= TOUCH_EVERY_S:
            return
        cached.touched_at = monotonic()
        try:
            cached.kind.touch(cached.who, credential.call.ip)
        except PurserError:
            return  # the database is stopping or full of work; the next minute will do


def _refuse_elsewhere(who: Identity, credential: Credential) -> None:
    """Forbidden when the caller's address is none that the token may be used from; which those are is not told."""
    if who.networks is None:
        return
    try:
        ip = address(credential.call.ip)
    except ValueError:  # a Unix socket has no address
        ip = None
    if ip is None or not any(ip in network for network in who.networks):
        credential.token_id = who.token_id
        raise Forbidden("Address not allowed")


def _recent(used_at: str | None) -> bool:
    """True within a minute after `used_at`; an instant that is still to come, from a clock set back, is not."""
    return used_at is not None and later(-TOUCH_EVERY_S) < used_at <= now()
