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
from typing import Annotated, NamedTuple

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
"""Seconds since 1970, as the machine's clock reads; tests put their own here."""

SLACK_S = 60.0
"""So far a clock may be set back and is still believed: people and time servers correct it by seconds."""
_PACE = 0.5
"""How fast the reckoned time goes on: slower than the clock, which catches up in the end however it was wrong."""
LEAP_S = 3600.0
"""A clock that leaps ahead by more than this must hold for as long before its time is known: it may be a mistake."""


class _Known(NamedTuple):
    """What is known of the time: an instant, how far the machine's run had come then, how fast time goes on from there.

    `leapt` is how far the run had come when the clock leapt ahead of it; None when it did not.
    """

    at: float
    since: float
    pace: float = 1.0
    leapt: float | None = None


_known = _Known(clock(), time.monotonic())

_stamp = (-1, "")
"""The last millisecond that was asked for, with its text; one tuple, because several threads ask for the time."""


def now() -> str:
    """The present instant as `2026-11-21T06:17:00.123Z`: RFC 3339, UTC, fixed width, so text order is time order."""
    global _stamp
    at = _milliseconds(unix())
    known, text = _stamp
    if at != known:
        same_second = at // 1000 == known // 1000
        text = f"{text[:20]}{at % 1000:03d}Z" if same_second else _written(at)
        _stamp = (at, text)
    return text


def _milliseconds(seconds: float) -> int:
    """Whole milliseconds; what was read from text comes out as it was, although no float holds it exactly."""
    return int(seconds * 1000 + 0.0005)


def _written(milliseconds: int) -> str:
    second, part = divmod(milliseconds, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)) + f".{part:03d}Z"


def unix() -> float:
    """The present instant as seconds since 1970: by the clock, unless it reads what is past already.

    Appliances without a battery boot in 1970. Until somebody tells them the time, it is reckoned from what is known.
    """
    global _known
    at, here, known = clock(), time.monotonic(), _known
    reckoned = known.at + (here - known.since) * known.pace
    if known.pace == 1.0:
        if at > reckoned - SLACK_S:
            if known.leapt is not None or at > reckoned + 1.0:
                _known = _ahead(known, at, reckoned, here)
            return at
        _known = _Known(reckoned, here, _PACE)
    elif at >= reckoned:
        _known = _ahead(_Known(reckoned, here), at, reckoned, here)
        return at
    return reckoned


def _ahead(known: _Known, at: float, reckoned: float, here: float) -> _Known:
    """What is known when the clock is ahead of it: its time, after a leap once that has held for long enough."""
    if at <= reckoned + LEAP_S or (known.leapt is not None and here - known.leapt > LEAP_S):
        return _Known(at, here)
    return known if known.leapt is not None else known._replace(leapt=here)


def not_before(at: float) -> None:
    """Makes an instant known to be past: the clock is not believed while it reads earlier."""
    global _known
    if at > unix():
        _known = _Known(at, time.monotonic(), _PACE)


def clock_behind_s() -> float:
    """How far the clock is behind the time that is reckoned instead; 0 while it is believed."""
    behind_s = unix() - clock()
    return behind_s if behind_s > SLACK_S else 0.0


def later(seconds: float) -> str:
    """The instant `seconds` from now, in the format of `now`."""
    return instant(unix() + seconds)


def instant(at: float) -> str:
    """Seconds since 1970 in the format of `now`."""
    return _written(_milliseconds(at))


def seconds(text: str) -> float:
    """An instant in the format of `now` as seconds since 1970; ValueError for a day or hour that is none."""
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) + int(text[20:23]) / 1000


def instant_of(text: str) -> str:
    """What an `Instant` writes, in the format of `now`; ValueError for a day or hour that there is not."""
    wanted = f"{text[:19]}.{text[20:-1]:0<3}Z"
    try:
        seconds(wanted)
    except ValueError:
        raise ValueError("there is no such day or hour") from None
    return wanted


def coming(text: str) -> str:
    """As `instant_of`; ValueError also for an instant that is over."""
    wanted = instant_of(text)
    if seconds(wanted) <= unix():
        raise ValueError("expected an instant that is to come")
    return wanted


def folded(text: str) -> str:
    """The text as it is compared and searched without regard to case, in every script."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def sort_key(text: str) -> str:
    """What a text is put in order by: its first hundred folded characters, so that a cursor holds it."""
    return folded(text)[:100]


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
    return sha256(secret.encode(errors="surrogatepass")).hexdigest()


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


FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""How text begins that a spreadsheet would run (OWASP, CSV injection)."""

LINE = r"^[^\x00-\x1f\x7f\u2028\u2029]*$(?!\n)"
"""The pattern of text without a line break or another control character."""
OneLine = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=LINE, description="one line of text")]
"""What people call a thing."""
Description = Annotated[str, msgspec.Meta(max_length=1000)]
"""What people say of a thing."""

MOST_NAME = 255
FileName = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=MOST_NAME,
        pattern=r"^(?!\.+$)(?!\s)[^/\\\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+(?<!\s)$(?!\n)",
        description="a name in one line, without / and \\, not of dots alone, without blanks around it",
    ),
]
"""What a file or a folder is called."""

Instant = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,3})?Z$(?!\n)",
        description="an instant in UTC such as 2027-01-31T12:00:00Z",
    ),
]
"""An instant in a body or a query; `instant_of` reads it."""


class Paging(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The query parameters of every list."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    cursor: Annotated[str, msgspec.Meta(max_length=1000)] | None = None
    count: bool = False


class BatchDelete(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What to delete, all or none."""

    ids: Annotated[list[Id], msgspec.Meta(min_length=1, max_length=100)]


class BatchDeleted(msgspec.Struct, frozen=True):
    """How many are gone."""

    deleted_count: int


class Quota(msgspec.Struct, frozen=True, gc=False):
    """What a caller may still ask within a window; `reset_s` is when the next call that was counted leaves it."""

    limit: int
    remaining: int
    reset_s: int
    taken: bool
    """False: this call was one too many, and `reset_s` is how long to wait."""
