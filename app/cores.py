"""The processor's cores: the service's own threads keep to one of them, what computes beside it gets all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CORES = os.sched_getaffinity(0)  # as given to us, before `pkgctl serve` keeps itself to one of them

_starting = 0
_own = _CORES


def take_all() -> None:
    """Lets the thread that calls run on every core."""
    _keep_to(_CORES)


@contextmanager
def all_cores() -> Iterator[None]:
    """A process inherits the cores of the thread that starts it: all of them, or it would begin on our one core."""
    global _starting, _own
    if not _starting:
        _own = os.sched_getaffinity(0)
        _keep_to(_CORES)
    _starting += 1
    try:
        yield
    finally:
        _starting -= 1
        if not _starting:
            _keep_to(_own)


def _keep_to(cores: set[int]) -> None:
    with suppress(OSError):  # they were taken from us meanwhile
        os.sched_setaffinity(0, cores)
