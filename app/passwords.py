"""Password rules and hashing: scrypt off the event loop, two at a time, so a small appliance keeps its memory."""

import asyncio
import ctypes
import hashlib
import hmac
import os
import re
import threading
import unicodedata
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from importlib.resources import files
from typing import Any, NamedTuple, TypeVar

from app.cores import take_all
from app.errors import Invalid, Unavailable
from app.values import folded, new_salt

T = TypeVar("T")

SHORTEST, LONGEST = 8, 128
AT_ONCE = 2
MOST_WAITING = 1000
MOST_WAITING_OF_A_CALLER = 256
RETRY_S = 10
NICENESS = 5  # added to the service's own


def check(password: str, *, field: str, email: str | None, username: str | None) -> None:
    """Raises Invalid for `field` when the password is too short, too long, the account's own name, or too common."""
    if not SHORTEST <= len(unicodedata.normalize("NFC", password)) <= LONGEST:
        raise Invalid.field(field, f"expected {SHORTEST} to {LONGEST} characters")
    wanted = folded(password)
    if wanted in {folded(name) for name in (email, username) if name is not None}:
        raise Invalid.field(field, "expected something other than the e-mail address or the username")
    if wanted in _commonest():
        raise Invalid.field(field, "expected a less common password: this one is among the first that are tried")


@cache
def _commonest() -> frozenset[str]:
    lines = files("app").joinpath("common_passwords.txt").read_text("utf-8").splitlines()
    return frozenset(folded(line) for line in lines[1:])


class Cost(NamedTuple):
    """scrypt's parameters (RFC 7914): N = 2 ** ln and r decide on the memory, p on the time besides."""

    ln: int
    r: int
    p: int


TODAY = Cost(ln=14, r=8, p=5)
_MOST_BYTES = 64 * 2**20  # four times what TODAY needs
_ENCODED = re.compile(
    r"\$scrypt\$ln=([1-9][0-9]?),r=([1-9][0-9]?),p=([1-9][0-9]?)\$([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})"
)


class _Stored(NamedTuple):
    cost: Cost
    salt: bytes
    key: bytes


_NOBODY = _Stored(TODAY, bytes(16), bytes(32))
"""What a password is compared with where there is nothing to compare it with: the work is the same."""


def _read(hashed: str) -> _Stored | None:
    """The parts of an encoded hash; None when it is malformed, or asks for what scrypt would refuse."""
    if (match := _ENCODED.fullmatch(hashed)) is None:
        return None
    ln, r, p = (int(number) for number in match.groups()[:3])
    if ln >= 16 * r or 128 * r * (2**ln + p + 2) > _MOST_BYTES:  # RFC 7914, 2; what OpenSSL allocates
        return None
    return _Stored(Cost(ln, r, p), b64decode(match[4] + "=="), b64decode(match[5] + "="))


def _key(password: str, salt: bytes, cost: Cost) -> bytes:
    """The key that scrypt derives. The same text in another Unicode form is the same password."""
    text = unicodedata.normalize("NFC", password).encode()
    return hashlib.scrypt(text, salt=salt, n=1 << cost.ln, r=cost.r, p=cost.p, maxmem=_MOST_BYTES, dklen=32)


def _hashed(password: str, salt: bytes) -> str:
    """`$scrypt$ln=14,r=8,p=5$salt$key`, both in base64 without padding."""
    key = _key(password, salt, TODAY)
    ends = "$".join(b64encode(part).decode().rstrip("=") for part in (salt, key))
    return f"$scrypt$ln={TODAY.ln},r={TODAY.r},p={TODAY.p}${ends}"


def _matches(password: str, hashed: str | None) -> bool:
    """Whether the password is the one that was hashed."""
    stored = None if hashed is None else _read(hashed)
    cost, salt, key = stored or _NOBODY
    is_equal = hmac.compare_digest(_key(password, salt, cost), key)
    return is_equal and stored is not None


def outdated(hashed: str) -> bool:
    """True when a parameter is below today's, or the hash is malformed: to be hashed anew at the next sign-in."""
    stored = _read(hashed)
    return stored is None or any(had < wanted for had, wanted in zip(stored.cost, TODAY, strict=True))


def _settle() -> None:
    """What a thread does first: takes all cores, gives way to the event loop, and has memory given back."""
    take_all()
    thread = threading.get_native_id()  # on Linux each thread has a priority of its own: setpriority(2), NOTES
    with suppress(PermissionError):  # a sandbox forbids the call
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)
    _give_back()


_M_MMAP_THRESHOLD = -3  # malloc.h


def _give_back() -> None:
    """Has the C library return the 16 MiB of a hash to the system as soon as they are free.

    Unset, glibc's threshold follows the largest block that was freed (mallopt(3)): from the second hash on the memory
    would come from the thread's heap, and stay there, 32 MiB for good. Blocks below 8 MiB are treated as before.
    """
    with suppress(AttributeError, OSError):  # musl has no mallopt, and needs none; a static build has no symbols
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 8 * 2**20)


class Turns:
    """Computations on threads of its own, AT_ONCE at a time; those who wait are served in turn, caller by caller.

    However many one caller has waiting, another waits for what runs and for one of each other caller at most.
    All but the computations happens on the loop, so there is nothing to lock.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, "purser-passwords", _settle)
        self._running: set[asyncio.Future[Any]] = set()
        self._waiting: OrderedDict[str, dict[asyncio.Future[Any], Callable[[], Any]]] = OrderedDict()  # next one first
        self._closed = False

    async def run(self, caller: str, compute: Callable[[], T]) -> T:
        """What `compute` returns or raises. Unavailable when too many wait, and after `close`.

        Who is cancelled while waiting leaves the queue; what runs already ends in its thread, and only then frees it.
        """
        self._admit(caller)
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, {})[done] = compute
        self._serve()
        try:
            return await done
        finally:
            self._leave(caller, done)

    def _admit(self, caller: str) -> None:
        if self._closed:
            raise Unavailable("Purser is stopping.", retry_after_s=RETRY_S)
        of_this_caller = len(self._waiting.get(caller, ()))
        if of_this_caller >= MOST_WAITING_OF_A_CALLER or sum(map(len, self._waiting.values())) >= MOST_WAITING:
            raise Unavailable("Too many passwords wait to be checked.", retry_after_s=RETRY_S)

    def _leave(self, caller: str, done: asyncio.Future[Any]) -> None:
        """Takes one out of the queue, if still there; a caller without any is forgotten."""
        queue = self._waiting.get(caller, {})
        if queue.pop(done, None) is not None and not queue:
            del self._waiting[caller]

    def _serve(self) -> None:
        """Starts whoever is next while a thread is free; a caller that has had its turn goes to the end."""
        while self._waiting and len(self._running) < AT_ONCE:
            caller, queue = next(iter(self._waiting.items()))
            done, compute = next(iter(queue.items()))
            self._leave(caller, done)
            if done.cancelled():  # in this turn of the loop: it had no time to leave, and takes nobody's turn
                continue
            if queue:
                self._waiting.move_to_end(caller)
            running = asyncio.get_running_loop().run_in_executor(self._threads, compute)
            self._running.add(running)
            running.add_done_callback(partial(self._ended, done))

    def _ended(self, done: asyncio.Future[Any], running: asyncio.Future[Any]) -> None:
        self._running.remove(running)
        error = running.exception()
        if done.cancelled():
            pass  # nobody asks any more
        elif error is not None:
            done.set_exception(error)
        else:
            done.set_result(running.result())
        self._serve()

    async def close(self) -> None:
        """Refuses those who wait and those who come; returns when what runs has ended."""
        self._closed = True
        queues, self._waiting = self._waiting, OrderedDict()
        for done in (done for queue in queues.values() for done in queue if not done.cancelled()):
            done.set_exception(Unavailable("Purser is stopping.", retry_after_s=RETRY_S))
        try:
            if self._running:
                await asyncio.wait(self._running)
        finally:
            self._threads.shutdown(wait=False)


class Passwords:
    """Hashes and verifies off the event loop. `caller` is the client's address: addresses take turns, see Turns."""

    def __init__(self) -> None:
        self.turns = Turns()

    async def hash(self, password: str, caller: str = "") -> str:
        """The password's hash under a new salt, with its parameters, as text to be stored."""
        return await self.turns.run(caller, partial(_hashed, password, new_salt()))

    async def verify(self, password: str, hashed: str | None, caller: str = "") -> bool:
        """Whether it is the right password; None (no such account, or none without a password) costs the same."""
        return await self.turns.run(caller, partial(_matches, password, hashed))

    async def close(self) -> None:
        """Refuses those who wait and those who come; returns when what runs has ended."""
        await self.turns.close()
