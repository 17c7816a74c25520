"""Sessions as credentials: access tokens are JWTs (RFC 7519), signed with HS256 and nothing else.

The signature alone lets nobody in: the session is looked up, so that it ends when it is ended.
"""

import jwt
import msgspec
from jwt.types import Options

from app.actor import Identity
from app.auth import service
from app.auth.service import Opened
from app.auth.structs import Claims
from app.db import Database
from app.errors import CredentialRefused
from app.values import instant, new_number, unix

ALGORITHM = "HS256"
_MOST_CHARACTERS = 2000
_JUDGED_HERE: Options = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}
"""By our own clock, and by the session."""


class Sessions:
    """Makes access tokens and finds out whose they are. `key` signs them and hides unknown identifiers."""

    def __init__(self, database: Database, key: bytes, access_expires_s: int, refresh_expires_s: int) -> None:
        self.key = key
        self.access_expires_s = access_expires_s
        self.refresh_expires_s = refresh_expires_s
        self._database = database

    def access_token(self, opened: Opened) -> str:
        """A new access token of a session."""
        at = int(unix())
        sid = f"{opened.session_id}.{opened.nonce}"
        claims = Claims(str(opened.user_id), sid, new_number(), at, at + self.access_expires_s, "access")
        return jwt.encode(msgspec.to_builtins(claims), self.key, ALGORITHM)

    def recognises(self, secret: str) -> bool:
        """Whether the text has the three parts of a JWT."""
        return secret.count(".") == 2 and len(secret) <= _MOST_CHARACTERS

    async def find(self, secret: str, shown_at: float | None) -> tuple[Identity, str | None]:
        """Who is in the session, and when it was last used. A session goes on while one of its tokens is in use."""
        claims = self._claims(secret)
        number, _, nonce = claims.sid.partition(".")
        user_id, session_id = int(claims.sub), int(number)
        if claims.exp <= (unix() if shown_at is None else shown_at):
            raise CredentialRefused("Token expired", session_id=session_id)
        return await self._database.read(service.identify, user_id, session_id, nonce, instant(claims.exp))

    def _claims(self, secret: str) -> Claims:
        try:
            given = jwt.decode(secret, self.key, algorithms=[ALGORITHM], options=_JUDGED_HERE)
            return msgspec.convert(given, Claims)
        except (jwt.PyJWTError, ValueError):  # msgspec's too
            raise CredentialRefused("Invalid token") from None

    def touch(self, who: Identity, ip: str) -> None:
        """Notes that the session is in use."""
        self._database.post(service.touch, who.session_id or 0, ip)
