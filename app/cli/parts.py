"""Files on their way here: what they may be called, and the `.part` in which they lie until they are whole.

A `.part` stands beside the file that it will be, under its name and the SHA-256 that it must have. So it says by itself
what it is a part of, and a call that was interrupted is gone on with; whatever happens, no file is there by halves.
"""

import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Self
from urllib.parse import unquote

from app.cli.outcomes import Failed
from app.durable import sync_folder

MOST_NAME_BYTES = 255
"""So long a name may be on the file systems there are."""
_ENDING = re.compile(r"\.([0-9a-f]{64})\.part")
_ENDING_BYTES = 70
_PIECE_BYTES = 2**20
_EXACT = re.compile(r"""(?:^|;)\s*filename\*\s*=\s*UTF-8'[^']*'([^;\s]+)""", re.IGNORECASE)
_PLAIN = re.compile(r'(?:^|;)\s*filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s"]+))', re.IGNORECASE)


def local_name(disposition: str) -> str:
    """What a file is called here, by its Content-Disposition (RFC 6266).

    Whatever the server says, it is one name and no path, neither hidden nor taken for an option, and not too long.
    """
    from app.files.naming import sanitised

    told = ""
    if exact := _EXACT.search(disposition):
        told = unquote(exact[1])
    elif plain := _PLAIN.search(disposition):
        told = re.sub(r"\\(.)", r"\1", plain[1]) if plain[2] is None else plain[2]
    name = sanitised(told)
    return _shortened(f"_{name[1:]}" if name[0] in ".-~" else name, MOST_NAME_BYTES)


def _shortened(name: str, most_bytes: int) -> str:
    from app.files.naming import split

    stem, ending = split(name)
    room = most_bytes - len(ending.encode())
    return stem.encode()[:room].decode(errors="ignore") + ending


def refuse_existing(place: Path, force: bool) -> int | None:
    """Failed when there is something already: anything, or with `force` what is neither a file nor a symbolic link.

    Returns the permissions of the file that is to be replaced; None when there is none.
    """
    with _told(place):
        try:
            mode = os.lstat(place).st_mode
        except FileNotFoundError:
            return None
    if not force:
        raise Failed(f"{place} is there already; --force replaces it")
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
        raise Failed(f"{place} is no file; it is not replaced")
    return mode & 0o777 if stat.S_ISREG(mode) else None


def left(place: Path) -> str | None:
    """The SHA-256 of the file of which a part was left for this place, the newest; None when there is none."""
    begin = _shortened(place.name, MOST_NAME_BYTES - _ENDING_BYTES)
    found: list[tuple[float, str]] = []
    with suppress(OSError), os.scandir(place.parent) as entries:
        for entry in entries:
            if entry.name.startswith(begin) and (rest := _ENDING.fullmatch(entry.name[len(begin) :])):
                found.append((entry.stat(follow_symlinks=False).st_mtime, rest[1]))
    return max(found)[1] if found else None


class Part:
    """The bytes that have come for `place`, in a file of their own that no other call writes meanwhile.

    `size_bytes` is how many there are. Of what was left the last byte is given up: so there is always one to ask for.
    """

    def __init__(self, place: Path, wanted_sha256: str) -> None:
        begin = _shortened(place.name, MOST_NAME_BYTES - _ENDING_BYTES)
        self.path = place.with_name(f"{begin}.{wanted_sha256}.part")
        self.place = place
        self.size_bytes = 0
        self.sha256 = wanted_sha256
        self._hash = sha256()
        self._file = -1

    def __enter__(self) -> Self:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with _told(self.path):
            self._file = os.open(self.path, flags, 0o666)
        try:
            self._check()
            self._take_up()
        except BaseException:
            os.close(self._file)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Keeps what has come, unless that is nothing."""
        with suppress(OSError):
            if not self.size_bytes and self._is_ours():
                self.path.unlink()
        os.close(self._file)

    def _check(self) -> None:
        """Failed unless the file is nobody's but ours, and no other call is writing it."""
        with _told(self.path):
            status = os.fstat(self._file)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1 or status.st_uid != os.geteuid():
                raise Failed(f"{self.path} is no file of ours alone; remove it")
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Failed(f"{self.path} is being written by another pkgctl") from None
            if not self._is_ours():
                raise Failed(f"{self.path} was taken away by another pkgctl; try again")

    def _is_ours(self) -> bool:
        """Whether the file still has its name: whoever completes one renames it, and unlocks it then."""
        try:
            there = os.lstat(self.path)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._file))

    def _take_up(self) -> None:
        with _told(self.path):
            keep = max(0, os.fstat(self._file).st_size - 1)
            while self.size_bytes < keep:
                piece = os.pread(self._file, min(_PIECE_BYTES, keep - self.size_bytes), self.size_bytes)
                if not piece:
                    break
                self._hash.update(piece)
                self.size_bytes += len(piece)
            os.ftruncate(self._file, self.size_bytes)

    def restart(self) -> None:
        """Gives up all that has come."""
        with _told(self.path):
            os.ftruncate(self._file, 0)
        self.size_bytes, self._hash = 0, sha256()

    def add(self, piece: bytes) -> None:
        """Writes the next bytes."""
        view = memoryview(piece)
        with _told(self.path):
            while view:
                count = os.pwrite(self._file, view, self.size_bytes)
                self._hash.update(view[:count])
                self.size_bytes += count
                view = view[count:]

    def complete(self, force: bool) -> None:
        """Makes it the file; Failed when the bytes are not those of the hash, or when there is something by now."""
        if self._hash.hexdigest() != self.sha256:
            self.restart()
            raise Failed(f"What has come is not what the service has: the SHA-256 differs. {self.place} was not made")
        mode = refuse_existing(self.place, force)
        with _told(self.place):
            if mode is not None:  # what was for few remains so
                os.fchmod(self._file, mode)
            os.fsync(self._file)
            if force:
                self.path.replace(self.place)
            else:
                _rename_new(self.path, self.place)
            with suppress(OSError):  # not every file system can
                sync_folder(self.place.parent)


def _rename_new(path: Path, place: Path) -> None:
    """Renames a file, and replaces nothing by it; also not what somebody has put there this very moment."""
    try:
        os.link(path, place, follow_symlinks=False)
    except FileExistsError:
        raise Failed(f"{place} is there already; --force replaces it") from None
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        path.rename(place)  # a file system without hard links, such as FAT
    else:
        path.unlink()


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turns what can go wrong with a file into outcomes of the call."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Failed(f"{path} is a symbolic link; it is not used") from None
        raise Failed(f"{path}: {error.strerror}") from None
