"""Who a secret belongs to: looked up once, then cached, bounded; a revocation empties the cache before its answer."""

from collections import OrderedDict
from hashlib import sha256
from time import monotonic

import msgspec

from app.actor import Identity
from app.db import Database
from app.errors import PurserError
from app.tokens import service
from app.tokens.service import TokenRefused
from app.values import is_token, later, now

MOST_CACHED = 10_000
TOUCH_EVERY_S = 60.0


class _Cached(msgspec.Struct):
    who: Identity
    touched_at: float


class Authentication:
    """The cache of identities by the secret's SHA-256. A caller looked up before an invalidation is not cached."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache: OrderedDict[bytes, _Cached] = OrderedDict()
        self._generation = 0
        database.subscribe(service.TOPIC, self.forget)

    def forget(self, _user_id: object) -> None:
        """Drops every cached identity: revocations are rare, and none may be missed."""
        self._generation += 1
        self._cache.clear()

    def known(self, secret: str) -> Identity | None:
        """The identity when it is cached and has not expired."""
        cached = self._cache.get(sha256(secret.encode()).digest())
        if cached is None:
            return None
        who = cached.who
        if who.expires_at is not None and who.expires_at <= now():
            return None
        if monotonic() - cached.touched_at > TOUCH_EVERY_S and who.token_id is not None:
            self._touch(cached, who.token_id)
        return who

    async def identify(self, secret: str) -> Identity:
        """The identity behind a secret. TokenRefused (a 401) says why it does not hold."""
        if not is_token(secret):
            raise TokenRefused("Invalid token")
        key = sha256(secret.encode())
        generation = self._generation
        who, last_used_at = await self._database.read(service.identify, key.hexdigest())
        if generation == self._generation and key.digest() not in self._cache:
            cached = self._cache[key.digest()] = _Cached(who, monotonic())
            while len(self._cache) > MOST_CACHED:
                self._cache.popitem(last=False)
            if who.token_id is not None and not _recent(last_used_at):
                self._touch(cached, who.token_id)
        return who

    def _touch(self, cached: _Cached, token_id: int) -> None:
        cached.touched_at = monotonic()
        try:
            self._database.post(service.touch, token_id)
        except PurserError:
            return  # the database is stopping or full of work; the next minute will do


def _recent(used_at: str | None) -> bool:
    """True within a minute after `used_at`; an instant that is still to come, from a clock set back, is not."""
    return used_at is not None and later(-TOUCH_EVERY_S) < used_at <= now()
