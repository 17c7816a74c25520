"""The window that slides, held against an exact list of instants; and how much it remembers, however many call."""

import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.config import ConfigError, load
from app.values import Quota
from app.web import limits
from app.web.limits import MOST_CALLERS, WINDOW_S, Limit
from tests.support import ROOT

TICKS = 1024
"""Of a second: all instants are whole numbers of them, so that sums of instants are exact."""
KIB = 1024
CALLER_BYTES = 800
"""What one remembered caller may take, with its key and its place in the order."""


class Run:
    """How far the machine's run has come, in seconds, as a test sets it."""

    def __init__(self) -> None:
        self.at = 1000.5

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def run() -> Iterator[Run]:
    """The run that the limits see; it stands still."""
    with pytest.MonkeyPatch.context() as patch:
        run = Run()
        patch.setattr(limits, "monotonic", run)
        yield run


def times(limit: Limit[str], number: int, caller: str = "ann") -> list[Quota]:
    return [limit.take(caller) for _ in range(number)]


def test_so_many_are_taken_and_what_is_left_is_told(run: Run) -> None:
    assert times(Limit(3), 5) == [
        Quota(3, 2, 60, True),
        Quota(3, 1, 60, True),
        Quota(3, 0, 60, True),
        Quota(3, 0, 60, False),
        Quota(3, 0, 60, False),
    ]


def test_the_window_slides_and_does_not_begin_anew(run: Run) -> None:
    """Two halves of the calls, half a minute apart, come back half a minute apart."""
    limit = Limit[str](4)
    times(limit, 2)
    run.at += 30
    assert times(limit, 3)[-2:] == [Quota(4, 0, 30, True), Quota(4, 0, 30, False)]
    run.at += 30
    assert times(limit, 3) == [Quota(4, 1, 30, True), Quota(4, 0, 30, True), Quota(4, 0, 30, False)]


def test_a_burst_at_the_end_of_one_minute_leaves_nothing_for_the_beginning_of_the_next(run: Run) -> None:
    """What a counter that begins anew each minute would let through: twice the limit within two seconds."""
    limit = Limit[str](100)
    limit.take("ann")
    run.at += 59.5
    assert sum(quota.taken for quota in times(limit, 200)) == 99
    run.at += 1
    assert sum(quota.taken for quota in times(limit, 200)) == 1


def test_a_refused_call_does_not_count(run: Run) -> None:
    """Whoever goes on asking all the time has a call again as soon as whoever waits."""
    limit = Limit[str](2)
    times(limit, 2)
    for _ in range(59):
        run.at += 1
        assert not any(quota.taken for quota in times(limit, 10))
    run.at += 1
    assert [quota.taken for quota in times(limit, 3)] == [True, True, False]


def test_callers_do_not_share(run: Run) -> None:
    limit = Limit[str](1)
    assert [limit.take(caller).taken for caller in ("ann", "bob", "ann", "bob", "kim")] == [
        True,
        True,
        False,
        False,
        True,
    ]


def seen(instants: list[int], at: int, tick_s: float) -> int:
    """How many of the instants are at most so many seconds old."""
    return sum(at - instant <= tick_s * TICKS for instant in instants)


GAPS = st.one_of(
    st.just(0),
    st.integers(0, 3 * TICKS),
    st.integers(0, 70).map(lambda whole: whole * TICKS),
    st.integers(58 * TICKS, 62 * TICKS),
    st.integers(0, 200 * TICKS),
)
"""Between two calls: none, little, whole seconds, about a window, much."""
PHASES = st.integers(0, 10**6 * TICKS)


@given(st.integers(1, 6), PHASES, st.lists(GAPS, max_size=80))
def test_the_window_is_that_of_an_exact_list_give_or_take_a_second(calls: int, phase: int, gaps: list[int]) -> None:
    """Never more than the limit in 59 seconds; never a refusal without that many in less than 60."""
    with pytest.MonkeyPatch.context() as patch:
        run = Run()
        patch.setattr(limits, "monotonic", run)
        limit, taken, at = Limit[str](calls), list[int](), phase
        for gap in gaps:
            at += gap
            run.at = at / TICKS
            before = sum(at - instant < WINDOW_S * TICKS for instant in taken)
            quota = limit.take("ann")
            assert quota.taken or before >= calls
            if quota.taken:
                taken.append(at)
            assert seen(taken, at, WINDOW_S - 1) <= calls - quota.remaining <= before + quota.taken
            assert 0 <= quota.remaining < calls
            assert 1 <= quota.reset_s <= WINDOW_S
            assert quota.taken or quota.remaining == 0


@given(st.integers(1, 6), PHASES, st.lists(GAPS, min_size=1, max_size=40))
def test_who_waits_as_long_as_told_is_let_in_and_a_second_less_is_too_little(
    calls: int, phase: int, gaps: list[int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        run = Run()
        patch.setattr(limits, "monotonic", run)
        run.at = phase / TICKS
        limit = Limit[str](calls)
        for gap in gaps:
            run.at += gap / TICKS
            if limit.take("ann").taken:
                continue
            told = limit.take("ann")
            refused_at = run.at
            run.at = refused_at + told.reset_s - 1
            assert limit.take("ann") == Quota(calls, 0, 1, False)
            run.at = refused_at + told.reset_s
            assert limit.take("ann").taken


@given(st.integers(1, 6), PHASES, st.lists(GAPS, min_size=1, max_size=40), st.integers(0, 10**4 * TICKS))
def test_who_waits_a_minute_has_all_again(calls: int, phase: int, gaps: list[int], longer: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        run = Run()
        patch.setattr(limits, "monotonic", run)
        run.at = phase / TICKS
        limit = Limit[str](calls)
        for gap in gaps:
            run.at += gap / TICKS
            limit.take("ann")
        run.at += WINDOW_S + longer / TICKS
        assert [quota.taken for quota in times(limit, calls + 1)] == [True] * calls + [False]


@given(st.integers(1, 4), st.lists(st.tuples(st.sampled_from("abc"), GAPS), max_size=60))
def test_one_caller_is_never_told_what_another_has_left(calls: int, asked: list[tuple[str, int]]) -> None:
    """Each is told exactly what it would be told if it were alone."""
    with pytest.MonkeyPatch.context() as patch:
        run = Run()
        patch.setattr(limits, "monotonic", run)
        together = Limit[str](calls)
        alone = {caller: Limit[str](calls) for caller in "abc"}
        for caller, gap in asked:
            run.at += gap / TICKS
            assert together.take(caller) == alone[caller].take(caller)


def test_a_limit_of_many_counts_as_exactly_as_a_small_one(run: Run) -> None:
    limit = Limit[str](100_000)
    assert sum(quota.taken for quota in times(limit, 100_010)) == 100_000


def test_those_are_forgotten_first_who_have_been_silent_for_longest(run: Run) -> None:
    """Also a call that is refused is heard: whoever goes on asking while limited does not get free that way."""
    limit = Limit[int](1)
    for caller in range(MOST_CALLERS):
        limit.take(caller)
    assert not limit.take(0).taken
    limit.take(MOST_CALLERS)
    assert len(limit) == MOST_CALLERS
    assert not limit.take(0).taken
    assert limit.take(1).taken
    assert not limit.take(MOST_CALLERS).taken
    assert limit.take(2).taken  # it was the next to be forgotten, for the one who came back


def test_one_who_goes_on_asking_stays_limited_however_many_others_call(run: Run) -> None:
    limit = Limit[int](2)
    others = count(1)
    taken = 0
    for _ in range(30):
        taken += limit.take(0).taken
        for _ in range(MOST_CALLERS - 1):
            limit.take(next(others))
    assert taken == 2


CROWD = """
import os
from app.web.limits import MOST_CALLERS, Limit
from tests.bench.servers import memory_mib

limit = Limit(60)
before = memory_mib(os.getpid(), "VmHWM")
for number in range(1_000_000):
    limit.take(f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::/64")
print(len(limit) == MOST_CALLERS, memory_mib(os.getpid(), "VmHWM") - before)
"""


@pytest.mark.slow
def test_a_million_addresses_take_no_more_memory_than_the_first_thousands() -> None:
    """In a process of its own, whose peak is its own: 3 to 4 MiB are theirs; all of them would take 600."""
    ended = subprocess.run([sys.executable, "-c", CROWD], cwd=ROOT, capture_output=True, text=True, check=True)
    is_full, grown_mib = ended.stdout.split()
    assert is_full == "True"
    assert 1 < float(grown_mib) < MOST_CALLERS * CALLER_BYTES / 2**20 + 1


def test_one_caller_takes_no_more_memory_however_often_it_calls(run: Run) -> None:
    limit = Limit[str](10**9)
    limit.take("ann")
    tracemalloc.start()
    try:
        for _ in range(50_000):
            run.at += 0.01
            limit.take("ann")
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(limit) == 1
    assert most_bytes < 8 * KIB


def test_a_stranger_has_60_calls_a_minute_and_a_person_3000_unless_told_otherwise(tmp_path: Path) -> None:
    usual = load({}, dotenv=tmp_path / "none")
    assert (usual.rate_limit, usual.rate_limit_user) == (60, 3000)
    own = load({"RATE_LIMIT_PER_MINUTE": "0", "RATE_LIMIT_USER_PER_MINUTE": "1000000000"}, dotenv=tmp_path / "none")
    assert (own.rate_limit, own.rate_limit_user) == (0, 10**9)


@pytest.mark.parametrize("name", ["RATE_LIMIT_PER_MINUTE", "RATE_LIMIT_USER_PER_MINUTE"])
@pytest.mark.parametrize("text", ["-1", "1.5", "60/m", "none", "1000000001", "٦٠", "1e3"])
def test_a_limit_that_is_no_number_stops_the_start(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=name):
        load({name: text}, dotenv=tmp_path / "none")
