"""What a killed nix-build leaves behind: processes that go on building, and their folders. Linux; blocks its thread."""

import os
import select
import shutil
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

GRACE_S = 5.0
_TEMPORARY = (b"TMPDIR", b"NIX_BUILD_TOP")


def end_survivors(folder: Path) -> int:
    """Ends every process whose temporary folder is inside `folder`, and says how many there were. Blocks.

    A builder runs in a session of its own and survives a killed nix-build; its environment tells where it belongs.
    Nix's own programs get TERM and 5 s to clean up after themselves, then whatever is left is killed.
    """
    seen = survivors(folder)
    if not seen:
        return 0
    _signal_and_wait([pid for pid, is_nix in seen.items() if is_nix], folder, signal.SIGTERM)
    for _ in range(10):  # a process may be forked while we look
        left = survivors(folder)
        if not left:
            break
        seen |= left
        _signal_and_wait(list(left), folder, signal.SIGKILL)
    return len(seen)


def survivors(folder: Path) -> dict[int, bool]:
    """The processes that belong to `folder`, and whether each is one of Nix's programs."""
    builds = _builds(folder)
    pids = [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and int(entry) != os.getpid()]
    return {pid: is_nix for pid in pids if (is_nix := _belongs(pid, folder, builds)) is not None}


def _builds(folder: Path) -> set[tuple[int, int]]:
    """Device and inode of every folder in which Nix has a builder at work. Newer ones put it one folder deeper."""
    found = [path for pattern in ("nix-build-*", "*/nix-build-*") for path in folder.glob(pattern)]
    return {identity for path in [*found, *(path / "build" for path in found)] if (identity := _identity(path))}


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _belongs(pid: int, folder: Path, builds: set[tuple[int, int]]) -> bool | None:
    """None when the process is not of `folder`, has ended, or may not be read; else whether it is a Nix program."""
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    places = {os.fsencode(folder), os.fsencode(folder.resolve())}
    homes = [value for entry in environ for key, _, value in [entry.partition(b"=")] if key in _TEMPORARY]
    inside = any(home == place or home.startswith(place + b"/") for home in homes for place in places)
    # Nix manual, sandbox-build-dir: in a sandbox the folder is mounted at /build, and the environment says so
    if not inside and _identity(Path(f"/proc/{pid}/root/build")) not in builds:
        return None
    return any(os.path.basename(word).startswith(b"nix") for word in words[:2])


def _signal_and_wait(pids: Sequence[int], folder: Path, number: signal.Signals) -> None:
    """Signals the processes and waits until they have ended, 5 s at most. A pidfd names one process for ever."""
    with ExitStack() as stack:
        poll, waiting, builds = select.poll(), 0, _builds(folder)
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                handle = os.pidfd_open(pid)
                stack.callback(os.close, handle)
                if _belongs(pid, folder, builds) is not None:  # the number may have been given to another one meanwhile
                    signal.pidfd_send_signal(handle, number)
                    poll.register(handle, select.POLLIN)
                    waiting += 1
        deadline = time.monotonic() + GRACE_S
        while waiting and (left_s := deadline - time.monotonic()) > 0:
            for handle, _ in poll.poll(left_s * 1000):
                poll.unregister(handle)
                waiting -= 1


def remove_tree(folder: Path) -> None:
    """Removes a folder with everything in it; builders leave read-only folders behind."""
    for parent, names, _ in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            if not path.is_symlink():
                with suppress(OSError):
                    path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
