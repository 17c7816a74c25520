"""Access tokens as credentials: a typo or a guess is refused before the database is asked."""

from app.actor import Identity
from app.db import Database
from app.errors import CredentialRefused
from app.tokens import service
from app.values import TOKEN_PREFIX, hashed, is_token


class Tokens:
    """Finds out whose an access token is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def recognises(self, secret: str) -> bool:
        """Whether the text begins as an access token does."""
        return secret.startswith(TOKEN_PREFIX)

    async def find(self, secret: str, shown_at: float | None) -> tuple[Identity, str | None]:
        """Who it belongs to, and when it was last used; an access token ends when it ends, whenever it was shown."""
        if not is_token(secret):
            raise CredentialRefused("Invalid token")
        return await self._database.read(service.identify, hashed(secret))

    def touch(self, who: Identity, ip: str) -> None:
        """Notes that it is in use."""
        self._database.post(service.touch, who.token_id or 0)
