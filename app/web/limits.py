"""Rate limits: so many calls within a window that slides, for each caller; bounded, however many callers there are."""

from array import array
from collections import OrderedDict
from collections.abc import Hashable
from math import ceil
from time import monotonic
from typing import Generic, TypeVar

from app.values import Quota

K = TypeVar("K", bound=Hashable)

WINDOW_S = 60
MOST_CALLERS = 5_000
"""Of one limit; about 600 bytes each. Beyond it those are forgotten who have been silent for longest."""


class _Window:
    """One caller's calls by seconds, counted from the first call of the window: `counts` is a ring of them.

    `first` and `last` number the second of the oldest call that counts and the newest second that was looked at.
    """

    __slots__ = ("began", "counts", "first", "last", "total")

    def __init__(self, at: float) -> None:
        self.began = at
        self.counts = array("I", bytes(4 * WINDOW_S))
        self.first = self.last = self.total = 0

    def slide(self, at: float) -> None:
        """Forgets the calls that are a whole window old."""
        second = int(at - self.began)
        if second == self.last:
            return
        self.last = second
        counts = self.counts
        while self.total and (self.first <= second - WINDOW_S or not counts[self.first % WINDOW_S]):
            self.total -= counts[self.first % WINDOW_S]
            counts[self.first % WINDOW_S] = 0
            self.first += 1
        if not self.total:
            self.began, self.first, self.last = at, 0, 0


class Limit(Generic[K]):
    """At most `calls` within 60 seconds for each caller; a call counts for that long, give or take its second."""

    def __init__(self, calls: int) -> None:
        self.calls = calls
        self._windows: OrderedDict[K, _Window] = OrderedDict()

    def __len__(self) -> int:
        """How many callers are remembered."""
        return len(self._windows)

    def take(self, caller: K) -> Quota:
        """Counts a call, unless the caller has had all; one that is refused does not count."""
        at = monotonic()
        window = self._windows.get(caller)
        if window is None:
            window = self._windows[caller] = _Window(at)
            if len(self._windows) > MOST_CALLERS:
                self._windows.popitem(last=False)
        else:
            self._windows.move_to_end(caller)
            window.slide(at)
        taken = window.total < self.calls
        if taken:
            window.counts[window.last % WINDOW_S] += 1
            window.total += 1
        reset_s = max(1, ceil(window.began + window.first + WINDOW_S - at))
        return Quota(self.calls, self.calls - window.total, reset_s, taken)
