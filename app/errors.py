"""The few ways in which Purser refuses. Codes are stable; app/web/problems.py maps them to HTTP, unknown here."""

from typing import Any, ClassVar


class PurserError(Exception):
    """A refusal with a stable code and a text for people; `facts` are further members of the answer."""

    code: ClassVar[str] = "INTERNAL_ERROR"
    keeps: ClassVar[bool] = False
    """True: the transaction that raised it is committed first, with the row of the trail that tells of the refusal."""

    def __init__(self, detail: str, **facts: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.facts = facts


class Invalid(PurserError):
    """The input does not hold. `errors` lists `{"field": JSON pointer or parameter name, "message": …}`."""

    code = "VALIDATION_ERROR"

    @classmethod
    def field(cls, field: str, message: str) -> "Invalid":
        """One field and its rule; a field name that the caller made up is cut short."""
        field = field if len(field) <= 100 else field[:99] + "…"
        return cls(f"{field}: {message}", errors=[{"field": field, "message": message}])


TOKEN_REQUIRED = "A token is required: send `Authorization: Token …`."  # noqa: S105 - words, no secret


class Unauthorized(PurserError):
    """Nobody is signed in, or the credential does not hold."""

    code = "UNAUTHORIZED"


class CredentialRefused(Unauthorized):
    """A credential that does not hold, and the token or session that it names; None for one nobody was ever given."""

    def __init__(self, detail: str, *, token_id: int | None = None, session_id: int | None = None) -> None:
        super().__init__(detail)
        self.token_id = token_id
        self.session_id = session_id


class Forbidden(PurserError):
    """The caller is known and may not. Facts: `required` and `held` permissions where that is the reason."""

    code = "FORBIDDEN"


class NotFound(PurserError):
    """There is no such thing, or the caller may not know of it."""

    code = "NOT_FOUND"


class MethodNotAllowed(PurserError):
    """The path exists, the method does not. Fact: `allow`, the methods that do."""

    code = "METHOD_NOT_ALLOWED"


class Conflict(PurserError):
    """The state of things stands in the way; the facts say which state."""

    code = "CONFLICT"


class PreconditionFailed(PurserError):
    """If-Match named another revision. Fact: `revision`, the one that there is."""

    code = "PRECONDITION_FAILED"

    @classmethod
    def unless_same(cls, what: str, revision: int, wanted: int | None) -> None:
        """Raises it when the caller wants another revision than there is; None wants none."""
        if wanted not in (None, revision):
            raise cls(f"The {what} has changed since.", revision=revision)


class TooLarge(PurserError):
    """More bytes than are taken. Fact: `limit_bytes`."""

    code = "PAYLOAD_TOO_LARGE"


class UnsupportedMedia(PurserError):
    """A body of a type that is not taken here."""

    code = "UNSUPPORTED_MEDIA_TYPE"


class RangeNotSatisfiable(PurserError):
    """The range begins behind the end. Fact: `size_bytes`."""

    code = "RANGE_NOT_SATISFIABLE"


class TooMany(PurserError):
    """Too many calls. Fact: `retry_after_s`."""

    code = "TOO_MANY_REQUESTS"


class Unavailable(PurserError):
    """Not now; the same call may succeed later."""

    code = "UNAVAILABLE"


class NoSpace(PurserError):
    """The disk is full. Facts: `needed_bytes` and `free_bytes` where they are known."""

    code = "INSUFFICIENT_STORAGE"


class StartError(Exception):
    """The service cannot start (a bad setting, a file in use, a foreign database): one clear line for people."""
