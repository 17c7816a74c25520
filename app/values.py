"""Time and randomness, asked of the machine here alone; and the few types that every room shares."""

import itertools
import secrets
import time
import zlib
from collections.abc import Callable
from typing import Annotated

import msgspec

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TOKEN_PREFIX = "pat_"  # noqa: S105 - the public part
_SECRET_LENGTH = 43  # 62^43 > 2^256
_CHECKSUM_LENGTH = 6  # 62^6 > 2^32

clock: Callable[[], float] = time.time
"""Seconds since 1970; tests put their own here."""

_stamp = (-1, "")
"""The last second that was formatted, with its text; one tuple, because several threads ask for the time."""


def now() -> str:
    """The present instant as `2026-11-21T06:17:00.123Z`: RFC 3339, UTC, fixed width, so text order is time order."""
    global _stamp
    instant = clock()
    second = int(instant)
    stamp = _stamp
    if stamp[0] != second:
        stamp = _stamp = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
    return f"{stamp[1]}.{int((instant - second) * 1000):03d}Z"


def later(seconds: float) -> str:
    """The instant `seconds` from now, in the format of `now`."""
    instant = clock() + seconds
    second = int(instant)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)) + f".{int((instant - second) * 1000):03d}Z"


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, 62)
        digits.append(BASE62[digit])
    return "".join(reversed(digits))


def new_token() -> str:
    """A new access token: `pat_`, 43 base62 characters (256 random bits), 6 of CRC-32 over what precedes."""
    body = TOKEN_PREFIX + _base62(secrets.randbits(256), _SECRET_LENGTH)
    return body + _base62(zlib.crc32(body.encode()), _CHECKSUM_LENGTH)


def is_token(text: str) -> bool:
    """True when the text has the form and the checksum of an access token: a typo or a guess fails here."""
    if len(text) != len(TOKEN_PREFIX) + _SECRET_LENGTH + _CHECKSUM_LENGTH or not text.startswith(TOKEN_PREFIX):
        return False
    body, checksum = text[:-_CHECKSUM_LENGTH], text[-_CHECKSUM_LENGTH:]
    return body.isascii() and _base62(zlib.crc32(body.encode()), _CHECKSUM_LENGTH) == checksum


def new_key() -> str:
    """A new secret key: 64 hexadecimal characters, 256 random bits."""
    return secrets.token_hex(32)


_run = secrets.token_hex(4)
_requests = itertools.count(1)


def new_request_id() -> str:
    """A request id: 8 random characters of this process, then a running number; cheap, unique, sortable."""
    return f"{_run}-{next(_requests):08x}"


class Paging(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The query parameters of every list."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    cursor: Annotated[str, msgspec.Meta(max_length=1000)] | None = None
    count: bool = False
