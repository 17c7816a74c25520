"""RFC 9457 problem+json: the one shape of every refusal, and the one table from codes to HTTP statuses."""

from typing import Any

import msgspec

from app.errors import PurserError
from app.web.codec import Header, Reply

STATUSES = {
    "VALIDATION_ERROR": (400, "Bad Request"),
    "UNAUTHORIZED": (401, "Unauthorized"),
    "FORBIDDEN": (403, "Forbidden"),
    "NOT_FOUND": (404, "Not Found"),
    "METHOD_NOT_ALLOWED": (405, "Method Not Allowed"),
    "CONFLICT": (409, "Conflict"),
    "PRECONDITION_FAILED": (412, "Precondition Failed"),
    "PAYLOAD_TOO_LARGE": (413, "Payload Too Large"),
    "UNSUPPORTED_MEDIA_TYPE": (415, "Unsupported Media Type"),
    "RANGE_NOT_SATISFIABLE": (416, "Range Not Satisfiable"),
    "TOO_MANY_REQUESTS": (429, "Too Many Requests"),
    "INTERNAL_ERROR": (500, "Internal Server Error"),
    "UNAVAILABLE": (503, "Service Unavailable"),
    "INSUFFICIENT_STORAGE": (507, "Insufficient Storage"),
}
_TYPE: Header = (b"content-type", b"application/problem+json")
_CHALLENGE: Header = (b"www-authenticate", b'Bearer realm="purser"')
_MOST_DETAIL = 2000


def problem(error: PurserError, request_id: str) -> Reply:
    """The answer that a refusal gets. An error of an unknown kind is an internal error, and says nothing more."""
    status, title = STATUSES[error.code]
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": error.detail[:_MOST_DETAIL],
        "code": error.code,
        "request_id": request_id,
        "errors": [],
    }
    return Reply(msgspec.json.encode(document | error.facts), status, (_TYPE, *refusal_headers(error)))


def refusal_headers(error: PurserError) -> list[Header]:
    """The headers that a refusal comes with, in whatever shape it is told."""
    if error.code == "UNAUTHORIZED":
        return [_CHALLENGE]
    if "retry_after_s" in error.facts:
        return [(b"retry-after", b"%d" % error.facts["retry_after_s"])]
    if error.code == "RANGE_NOT_SATISFIABLE":
        return [(b"content-range", b"bytes */%d" % error.facts["size_bytes"])]
    if "allow" in error.facts:
        return [(b"allow", ", ".join(error.facts["allow"]).encode())]
    return []


def internal() -> PurserError:
    """What is told of an error that nobody expected: never its text."""
    return PurserError("Something went wrong here; the request id finds it in the log.")
