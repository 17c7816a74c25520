"""The sessions that `pkgctl login` opens, kept between calls: one for each service, in a file for its owner alone.

Whoever changes the file holds a lock beside it, and a refresh happens under that lock: a refresh token is good for one
use, and two calls side by side must not both spend it.
"""

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from app.cli.answers import Pair, Secret
from app.cli.outcomes import Failed, Refused
from app.durable import write_durably

MARGIN_S = 30.0  # a token that ends sooner is renewed before it is sent
PATIENCE_S = 30.0  # a call that refreshes gives the service 15 s; one that was suspended must not hold the others
PAUSE_S = 0.05
_LIMIT_BYTES = 1024 * 1024
_ENDED = ("UNAUTHORIZED", "VALIDATION_ERROR")  # how the service says that a refresh token is good for nothing


class SessionEnded(Failed):
    """The session is over at the service, and forgotten here."""

    def __init__(self) -> None:
        super().__init__("Your session has ended; sign in again: pkgctl login")


class Busy(Failed):
    """Another call holds the lock."""


class Kept(msgspec.Struct, frozen=True):
    """A session as it lies in the file; `expires_at`, the access token's end, is in seconds since 1970."""

    access_token: Secret
    refresh_token: Secret
    expires_at: float
    username: str

    @classmethod
    def of(cls, pair: Pair, username: str) -> "Kept":
        """The session that an answer to signing in or refreshing opens."""
        return cls(pair.access_token, pair.refresh_token, time.time() + pair.expires_in, username)


class SessionFile:
    """`sessions.json`: the sessions by the URL of their service. Whatever is wrong with the file is a clear Failed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "SessionFile | None":
        """The file in the configuration folder; None when the environment names none."""
        folder = environ.get("XDG_CONFIG_HOME", "")
        if not os.path.isabs(folder):  # XDG Base Directory Specification: a relative path is ignored
            home = environ.get("HOME", "")
            if not os.path.isabs(home):
                return None
            folder = os.path.join(home, ".config")
        return cls(Path(folder) / "purser" / "sessions.json")

    def read(self) -> dict[str, Kept]:
        """All sessions; none without a file. Refuses a file that others can read or that somebody else made."""
        return self._read(mending=False)

    @contextmanager
    def changing(self, mending: bool = False) -> Iterator[dict[str, Kept]]:
        """Gives the sessions under the lock, to be changed in place; they are written unless this fails.

        `mending` takes over what can be taken over of a file that `read` refuses, and leaves one that it does not.
        """
        with self._locked():
            kept = self._read(mending)
            before = None if mending else dict(kept)
            yield kept
            if kept != before:
                self._write(kept)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        folder = self.path.parent
        with self._told():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.chmod(0o700)
            lock = os.open(folder / "sessions.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            self._wait_for(lock)
            yield
        finally:
            os.close(lock)

    def _wait_for(self, lock: int) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                with self._told():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except Busy:
                if time.monotonic() > deadline:
                    raise
                time.sleep(PAUSE_S)

    def _read(self, mending: bool) -> dict[str, Kept]:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):  # HOME=/dev/null is how some accounts have none
            return {}
        except OSError as error:
            why = "is a symbolic link; it is not used" if error.errno == errno.ELOOP else _cannot(error)
            raise Failed(f"{self.path} {why}") from None
        try:
            mode = self._mode(os.fstat(descriptor), mending)
            with self._told(), open(descriptor, "rb", closefd=False) as file:
                content = file.read(_LIMIT_BYTES)
        finally:
            os.close(descriptor)
        if mode & 0o022:  # somebody else may have written what it says
            return {}
        try:
            return msgspec.json.decode(content, type=dict[str, Kept])
        except (ValueError, RecursionError):
            if mending:
                return {}
            raise Failed(f"{self.path} is damaged; sign in again: pkgctl login") from None

    def _mode(self, status: os.stat_result, mending: bool) -> int:
        """The file's mode, if it may be used."""
        if not stat.S_ISREG(status.st_mode):
            raise Failed(f"{self.path} is no regular file; it is not used")
        if status.st_uid != os.geteuid():
            raise Failed(f"{self.path} belongs to somebody else; it is not used")
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077 and not mending:
            raise Failed(f"{self.path} is open to others (mode {mode:04o}); sign in again: pkgctl login")
        return mode

    def _write(self, kept: Mapping[str, Kept]) -> None:
        with self._told():
            write_durably(self.path, msgspec.json.format(msgspec.json.encode(kept)) + b"\n")

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except BlockingIOError:
            raise Busy(f"{self.path} is being changed by another pkgctl, for too long") from None
        except OSError as error:
            raise Failed(f"{self.path} {_cannot(error)}") from None


def _cannot(error: OSError) -> str:
    return f"cannot be used: {error.strerror}"


class Session:
    """The session with one service as a credential that renews itself. `refresh` trades a refresh token for a pair."""

    def __init__(self, file: SessionFile, key: str, kept: Kept, refresh: Callable[[str], Pair]) -> None:
        self._file = file
        self._key = key
        self._kept = kept
        self._refresh = refresh

    def token(self) -> str:
        """The access token to send, which is not about to end."""
        if self._kept.expires_at - time.time() < MARGIN_S:
            self.renew()
        return self._kept.access_token

    def renew(self) -> None:
        """Replaces an access token that has ended, or takes the one that another call got meanwhile; SessionEnded."""
        with self._file.changing() as sessions:
            kept = sessions.get(self._key)
            if kept is None or kept.username != self._kept.username:
                raise SessionEnded  # signed out meanwhile, or in as somebody else
            if kept == self._kept or kept.expires_at <= time.time():
                kept = self._renewed(kept)
            if kept is None:
                del sessions[self._key]
            else:
                sessions[self._key] = self._kept = kept
        if kept is None:
            raise SessionEnded

    def _renewed(self, kept: Kept) -> Kept | None:
        """The session with a new pair; None when it has ended. Any other refusal leaves it as it is."""
        try:
            return Kept.of(self._refresh(kept.refresh_token), kept.username)
        except Refused as refused:
            if refused.code not in _ENDED:
                raise
            return None
