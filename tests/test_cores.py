"""Cores: a thread that keeps to one starts processes on all of them, and keeps to its own again afterwards."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from app import cores
from app.cores import all_cores, take_all

ALL = os.sched_getaffinity(0)
ONE = {max(ALL)}
ASKS = [sys.executable, "-S", "-c", "import os; print(*os.sched_getaffinity(0))"]


@pytest.fixture
def on_one_core() -> Iterator[Callable[..., object]]:
    """Calls in a thread that keeps to one core, as those of the service do; the test's own thread stays as it is."""
    with ThreadPoolExecutor(1, initializer=os.sched_setaffinity, initargs=(0, ONE)) as pool:
        yield lambda call: pool.submit(call).result(20)
    assert os.sched_getaffinity(0) == ALL


def mine() -> set[int]:
    return os.sched_getaffinity(0)


def of_a_child() -> set[int]:
    """The cores of a process that is started now."""
    asked = subprocess.run(ASKS, stdout=subprocess.PIPE, check=True, timeout=20)
    return {int(number) for number in asked.stdout.split()}


def test_a_process_that_is_started_within_has_all_cores_and_one_started_later_has_not(
    on_one_core: Callable[..., object],
) -> None:
    def starts() -> list[set[int]]:
        with all_cores():
            within = of_a_child()
        return [within, of_a_child(), mine()]

    assert on_one_core(starts) == [ALL, ONE, ONE]


def test_starts_within_starts_keep_all_cores_until_the_last_is_over(on_one_core: Callable[..., object]) -> None:
    def starts() -> list[set[int]]:
        seen = []
        with all_cores():
            with all_cores():
                seen.append(mine())
            seen.append(mine())
        return [*seen, mine()]

    assert on_one_core(starts) == [ALL, ALL, ONE]


def test_starts_that_overlap_may_end_in_any_order(on_one_core: Callable[..., object]) -> None:
    """Two processes are started at once: the one that was first to begin is first to be there."""

    def starts() -> list[set[int]]:
        first, second = all_cores(), all_cores()
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        seen = [mine()]
        second.__exit__(None, None, None)
        return [*seen, mine()]

    assert on_one_core(starts) == [ALL, ONE]


def test_a_start_that_fails_gives_the_cores_back(on_one_core: Callable[..., object]) -> None:
    def fails() -> None:
        with all_cores(), all_cores():
            raise FileNotFoundError

    with pytest.raises(FileNotFoundError):
        on_one_core(fails)
    assert on_one_core(mine) == ONE
    assert cores._starting == 0


def test_what_the_thread_keeps_to_is_asked_anew_each_time(on_one_core: Callable[..., object]) -> None:
    """The service keeps to one core only from `pkgctl serve` on; and somebody may move it."""

    def starts() -> list[set[int]]:
        found = []
        for own in (ONE, {min(ALL)}, ALL):
            os.sched_setaffinity(0, own)
            with all_cores():
                pass
            found.append(mine())
        return found

    assert on_one_core(starts) == [ONE, {min(ALL)}, ALL]


def test_a_thread_takes_all_cores_and_leaves_the_others_theirs(on_one_core: Callable[..., object]) -> None:
    def both() -> list[set[int]]:
        taken: list[set[int]] = []
        other = threading.Thread(target=lambda: (take_all(), taken.append(mine())))
        other.start()
        other.join(20)
        return [*taken, mine()]

    assert on_one_core(both) == [ALL, ONE]


def test_cores_that_were_taken_from_us_meanwhile_stop_nothing(
    on_one_core: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cores, "_CORES", {4095})

    def starts() -> set[int]:
        with all_cores():
            take_all()
            return mine()

    assert on_one_core(starts) == ONE
    assert on_one_core(mine) == ONE
