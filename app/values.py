"""Time and randomness, asked of the machine here alone; and the few types that every room shares."""

import calendar
import ipaddress
import itertools
import re
import secrets
import time
import unicodedata
import zlib
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from typing import Annotated

import msgspec

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TOKEN_PREFIX = "pat_"  # noqa: S105 - the public part
_TOKENS = re.compile(rf"({TOKEN_PREFIX}|eyJ)[0-9A-Za-z_-]+(?:\.[0-9A-Za-z_-]*)*")
"""Access tokens, and JWTs, whose first part is always an object: base64url of `{"` is `eyJ`."""
_SECRET_LENGTH = 43  # 62^43 > 2^256
_CHECKSUM_LENGTH = 6  # 62^6 > 2^32

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

clock: Callable[[], float] = time.time
"""Seconds since 1970; tests put their own here."""

_stamp = (-1, "")
"""The last second that was formatted, with its text; one tuple, because several threads ask for the time."""


def now() -> str:
    """The present instant as `2026-11-21T06:17:00.123Z`: RFC 3339, UTC, fixed width, so text order is time order."""
    global _stamp
    at = clock()
    second = int(at)
    stamp = _stamp
    if stamp[0] != second:
        stamp = _stamp = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
    return f"{stamp[1]}.{int((at - second) * 1000):03d}Z"


def unix() -> float:
    """The present instant as seconds since 1970."""
    return clock()


def later(seconds: float) -> str:
    """The instant `seconds` from now, in the format of `now`."""
    return instant(clock() + seconds)


def instant(at: float) -> str:
    """Seconds since 1970 in the format of `now`."""
    second = int(at)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)) + f".{int((at - second) * 1000):03d}Z"


def seconds(text: str) -> float:
    """An instant in the format of `now` as seconds since 1970; ValueError for a day or hour that is none."""
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) + int(text[20:23]) / 1000


def folded(text: str) -> str:
    """The text as it is compared and searched without regard to case, in every script."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def like(text: str) -> str:
    """A LIKE pattern (`ESCAPE '\\'`) that finds what contains the text, whose own wildcards stand for themselves."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


@lru_cache(maxsize=4096)
def address(ip: str) -> Address:
    """The address, an IPv4 one also when a dual-stack socket wrote it as `::ffff:192.0.2.1`; ValueError."""
    found = ipaddress.ip_address(ip)
    return getattr(found, "ipv4_mapped", None) or found


def source_of(ip: str) -> str:
    """Where an address counts: an IPv4 address as itself, an IPv6 one as its /64 network, which one house shares."""
    try:
        found = address(ip.partition("%")[0])
    except ValueError:
        return ip
    return str(found if found.version == 4 else ipaddress.ip_network((int(found) >> 64 << 64, 64)))


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


def without_tokens(text: str) -> str:
    """The text with every access token in it, of both kinds, cut down to how it begins."""
    return _TOKENS.sub(lambda found: f"{found[1]}…", text)


def new_secret() -> str:
    """A new refresh token or another secret of one use: 43 URL-safe characters, 256 random bits."""
    return secrets.token_urlsafe(32)


def hashed(secret: str) -> str:
    """What is kept of a secret: its SHA-256, hexadecimal. 256 random bits need no salt and no key."""
    return sha256(secret.encode()).hexdigest()


def new_salt() -> bytes:
    """16 random bytes."""
    return secrets.token_bytes(16)


def new_number() -> str:
    """32 hexadecimal characters that no two things share: 128 random bits."""
    return secrets.token_hex(16)


def new_key() -> str:
    """A new secret key: 64 hexadecimal characters, 256 random bits."""
    return secrets.token_hex(32)


_run = secrets.token_hex(4)
_requests = itertools.count(1)


def new_request_id() -> str:
    """A request id: 8 random characters of this process, then a running number; cheap, unique, sortable."""
    return f"{_run}-{next(_requests):08x}"


Id = Annotated[int, msgspec.Meta(ge=1, le=10**18 - 1)]
"""An id in a body or a query; in a path it is 1 to 18 digits."""


class Paging(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The query parameters of every list."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    cursor: Annotated[str, msgspec.Meta(max_length=1000)] | None = None
    count: bool = False
