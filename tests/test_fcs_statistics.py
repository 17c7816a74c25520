"""Statistics: exact for whatever is stored, computed once for the same bytes, waited for, never an error of ours."""

import io
import math
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.fcs import routes
from app.fcs import statistics as computing
from app.fcs.parser import VERSION, parse
from app.fcs.statistics import HELD_BYTES, RUN, Statistic
from tests.accounts import Person
from tests.fcs_writer import Value, fcs
from tests.house import House
from tests.office import made, statements
from tests.support import Clock, refusal, until
from tests.test_fcs import FCS, SAMPLE, ask, fresh, put, remove, served, with_sample

PERCENTS = {"p5": 5, "p25": 25, "median": 50, "p75": 75, "p95": 95}
WORDS = ["parameter", "pns", "display", "n", "min", "max", "mean", "median", "std"]
WORDS += ["p5", "p25", "p75", "p95", "negative_fraction", "nan_count", "above_range"]
NONE_OF = ["min", "max", "mean", "std", *PERCENTS, "negative_fraction"]
GOLDEN = {
    "FSC-H": (44997, 3001639.5, 238162.52232657, 127398.3984375, 218305.53624556),
    "FSC-A": (-737655.6875, 72790440, 311222.21800836, 107810.5, 1337280.03625573),
    "SSC-A": (-66891776, 96639416, 321965.28860936, 123168.703125, 2384446.48442700),
    "FL1-A": (-47690, 26285008, 3423.41683884, 529.5, 148709.32351753),
    "FL2-A": (-27175.30078125, 47656200, 27906.16372122, 1115.09997559, 479810.46152693),
    "FL9-A": (-463067.3125, 90561640, 13624.64080092, 658.70001221, 606059.42151291),
    "FL10-A": (-112678.296875, 87719752, 71535.33026172, 4463.89990234, 846310.38844776),
    "FSC-Width": (-8283.185546875, 27853.20703125, 1024.26982761, 867.52404785, 994.70335202),
    "Time": (0, 21184758, 7518982.40210514, 7370931, 4458696.89565161),
}


@pytest.fixture(scope="module")
def anna(house: House) -> Person:
    """Somebody who uploads."""
    return house.person()


def told(house: House, who: Person, content: bytes) -> list[dict[str, Any]]:
    """The statistics of a new file, asked for once and at once."""
    file = put(house, who, content)
    found = made(ask(house, who, "statistics", file_id=file["file_id"]), 200)
    assert list(found) == ["file_id", "total_events", "parser_version", "statistics"]
    assert (found["file_id"], found["total_events"]) == (file["file_id"], file["total_events"])
    assert found["parser_version"] == VERSION
    assert all(list(one) == WORDS for one in found["statistics"])
    statistics: list[dict[str, Any]] = found["statistics"]
    return statistics


@contextmanager
def processes(house: House) -> Iterator[list[list[str]]]:
    """How each process that computes is called meanwhile."""
    computer, seen = house.app.state.fcs_computing, list[list[str]]()
    usual = computer.command

    def command() -> list[str]:
        seen.append(usual())
        return seen[-1]

    computer.command = command
    try:
        yield seen
    finally:
        computer.command = usual


@contextmanager
def program(house: House, *words: str) -> Iterator[None]:
    """Meanwhile this is what computes."""
    computer = house.app.state.fcs_computing
    usual, computer.command = computer.command, lambda: [*words]
    try:
        yield
    finally:
        computer.command = usual


@contextmanager
def held_up(house: House, folder: Path) -> Iterator[Callable[[], None]]:
    """What computes waits meanwhile, until that which is given is called."""
    gate = folder / "gate"
    os.mkfifo(gate)
    writer = os.open(gate, os.O_RDWR)

    def release() -> None:
        gate.unlink()  # whoever comes now finds no gate, whoever waits before it sees its end
        os.close(writer)

    words = house.app.state.fcs_computing.command()
    with program(house, "/bin/sh", "-c", 'read -r _ 2>/dev/null < "$0"; exec "$@"', str(gate), *words):
        try:
            yield release
        finally:
            if gate.exists():
                release()


# what is computed


@with_sample
def test_the_statistics_of_the_sample_are_golden(house: House, anna: Person) -> None:
    """Long names are kept, and how the file wants each to be shown."""
    found = {one["parameter"]: one for one in told(house, anna, SAMPLE.read_bytes())}
    assert len(found) == 26
    for name, (least, most, mean, median, std) in GOLDEN.items():
        one = found[name]
        assert (one["n"], one["nan_count"], one["min"], one["max"]) == (34_297, 0, least, most)
        for word, value in (("mean", mean), ("median", median), ("std", std)):
            assert one[word] == pytest.approx(value, rel=1e-9), (name, word)
    shown = {name: (one["pns"], one["display"]) for name, one in found.items()}
    assert (shown["FL1-A"], shown["FL10-H"]) == (("TCRgd FITC-A", "LOG"), ("CD45 KO525-H", "LOG"))
    assert (shown["FSC-A"], shown["Time"]) == (("FSC-A", "LIN"), ("Time", "LIN"))


@with_sample
def test_every_statistic_of_the_sample_is_what_numpy_finds(house: House, anna: Person) -> None:
    stored = numpy.frombuffer(SAMPLE.read_bytes(), "<f4", 34_297 * 26, 11_856).reshape(-1, 26).astype(float)
    limits = [16_777_215] * 24 + [10_000, 900_000_000]
    for place, one in enumerate(told(house, anna, SAMPLE.read_bytes())):
        agrees_with_numpy(one, stored[:, place], limits[place])


@with_sample
def test_statistics_of_the_same_bytes_are_computed_once_and_told_alike(house: House) -> None:
    """However often they are uploaded, by whomever, and asked for."""
    content = SAMPLE.read_bytes() + b"of this test"
    anna, otto = house.person(), house.person()
    with processes(house) as started:
        files = [(who, put(house, who, content)["file_id"]) for who in (anna, anna, otto)]
        answers = [ask(house, who, "statistics", file_id=file_id) for who, file_id in (*files, *files)]
        assert {answer.status_code for answer in answers} == {200}
        assert [answer.json()["file_id"] for answer in answers] == [file_id for _, file_id in (*files, *files)]
        assert len({answer.content.partition(b'"total_events"')[2] for answer in answers}) == 1
        assert answers[0].content == answers[3].content
        assert len(started) == 1


def agrees_with_numpy(one: dict[str, Any], values: Any, limit: float | None, *, whole: bool = False) -> None:
    """Whether a parameter's statistics are those of its values, in float64."""
    numbers = values[numpy.isfinite(values)].astype(float)
    assert (one["n"], one["nan_count"]) == (len(numbers), len(values) - len(numbers))
    assert (one["min"], one["max"]) == (numbers.min(), numbers.max())
    scale = float(numpy.abs(numbers).max()) * 1e-12
    for word, percent in PERCENTS.items():
        assert one[word] == pytest.approx(numpy.percentile(numbers, percent), rel=1e-9, abs=scale), word
    assert one["median"] == pytest.approx(numpy.median(numbers), rel=1e-9, abs=scale)
    assert one["mean"] == pytest.approx(numpy.mean(numbers), rel=1e-9, abs=scale)
    assert one["std"] == pytest.approx(numpy.std(numbers), rel=1e-9, abs=scale)
    assert one["negative_fraction"] == pytest.approx(numpy.mean(numbers < 0), rel=1e-12)
    beyond = None if limit is None else int(numpy.sum(numbers >= limit if whole else numbers > limit))
    assert one["above_range"] == beyond


def statistics(content: bytes, folder: Path) -> list[Statistic]:
    """The statistics of a file, computed in this process."""
    file = io.BytesIO(content)
    described = parse(file).description
    return computing.statistics(file, described.layout, described.parameters, folder)


def numbered(statistic: Statistic) -> dict[str, Any]:
    return msgspec.structs.asdict(statistic)


class Kind(NamedTuple):
    """A way to store values: how numpy calls it, and how the file says so."""

    dtype: str
    how: dict[str, Any]

    def content(self, stored: Any) -> bytes:
        """A file of these values, an array with a column for each parameter."""
        raw = stored.astype(self.dtype).tobytes()
        return fcs([[]] * stored.shape[1], stored=raw, tot=len(stored), **self.how)


KINDS = {
    "floats": Kind("<f4", {"datatype": "F"}),
    "floats, the most significant byte first": Kind(">f4", {"datatype": "F", "byteord": "4,3,2,1"}),
    "doubles": Kind("<f8", {"datatype": "D"}),
    "doubles, the most significant byte first": Kind(">f8", {"datatype": "D", "byteord": "4,3,2,1"}),
    "integers of a byte": Kind("u1", {"datatype": "I", "bits": 8}),
    "integers of two bytes": Kind("<u2", {"datatype": "I", "bits": 16}),
    "integers of four bytes": Kind(">u4", {"datatype": "I", "bits": 32, "byteord": "4,3,2,1"}),
    "integers of eight bytes": Kind("<u8", {"datatype": "I", "bits": 64}),
}


def columns(kind: str, events: int, seed: int) -> Any:
    """Values as they occur: dense and spread out, with many ties, negative ones, none of them beyond the type."""
    spread: Any
    ties: Any
    chance = numpy.random.default_rng(seed)
    if kind.startswith("integers"):
        most = numpy.iinfo(numpy.dtype(KINDS[kind].dtype)).max
        spread = chance.integers(0, most, events, dtype=numpy.uint64, endpoint=True)
        ties = chance.integers(0, 3, events, dtype=numpy.uint64)
        return numpy.stack([spread, ties, numpy.sort(spread)[::-1]], axis=1)
    dense, spread = chance.normal(1000, 250, events), chance.lognormal(5, 4, events) - 500
    ties = chance.integers(-3, 3, events) / 2
    return numpy.stack([dense, spread, ties], axis=1).astype(KINDS[kind].dtype)


SIZES = [1, 2, 21, 1000, RUN + 1, 2 * RUN + 4321]


@pytest.mark.parametrize("events", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_statistics_are_what_numpy_finds(tmp_path: Path, kind: str, events: int) -> None:
    stored = columns(kind, events, events)
    whole = kind.startswith("integers")
    limit = 2 ** (8 * numpy.dtype(KINDS[kind].dtype).itemsize) if whole else 262_144
    found = statistics(KINDS[kind].content(stored), tmp_path)
    for place, one in enumerate(found):
        agrees_with_numpy(numbered(one), stored[:, place], limit, whole=whole)
        assert not whole or (one.min, one.max) == (int(stored[:, place].min()), int(stored[:, place].max()))


@pytest.mark.parametrize("kind", ["floats", "doubles", "integers of two bytes", "integers of eight bytes"])
@pytest.mark.parametrize("held_bytes", [1, 20_000, 200_000])
def test_statistics_are_the_same_in_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, held_bytes: int
) -> None:
    """One parameter after the other, or each through a file, of which nothing is left; in short runs."""
    content = KINDS[kind].content(columns(kind, 10_000, 7))
    expected = [numbered(one) for one in statistics(content, tmp_path)]
    monkeypatch.setattr(computing, "RUN", 777)
    monkeypatch.setattr(computing, "HELD_BYTES", held_bytes)
    found = [numbered(one) for one in statistics(content, tmp_path)]
    assert [*tmp_path.iterdir()] == []
    for one, known in zip(found, expected, strict=True):
        for word in ("mean", "std"):
            assert one.pop(word) == pytest.approx(known.pop(word), rel=1e-12)
        assert one == known


def test_only_what_the_memory_does_not_hold_goes_through_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no folder for it, nothing else fails."""
    content, nowhere = fcs([[float(n) for n in range(1000)]] * 3), tmp_path / "none"
    expected = statistics(content, nowhere)
    monkeypatch.setattr(computing, "HELD_BYTES", 4000)
    assert statistics(content, nowhere) == expected
    monkeypatch.setattr(computing, "HELD_BYTES", 3999)
    with pytest.raises(FileNotFoundError):
        statistics(content, nowhere)


@pytest.mark.slow
def test_a_parameter_beyond_the_memory_is_exact(tmp_path: Path) -> None:
    """With the bounds as they are."""
    events = HELD_BYTES // 8 + 1000
    stored = numpy.random.default_rng(3).normal(-5, 100, (events, 1)).round(3)
    content = Kind("<f8", {"datatype": "D"}).content(stored)
    with pytest.raises(FileNotFoundError):
        statistics(content, tmp_path / "none")
    (found,) = statistics(content, tmp_path)
    agrees_with_numpy(numbered(found), stored[:, 0], 262_144)
    assert [*tmp_path.iterdir()] == []


class Exact(NamedTuple):
    """What statistics are, worked out with fractions."""

    numbers: list[Value]

    @property
    def scale(self) -> float:
        return max(abs(float(number)) for number in self.numbers)

    def mean(self) -> Fraction:
        return sum(map(Fraction, self.numbers), Fraction(0)) / len(self.numbers)

    def std(self) -> Fraction:
        mean = self.mean()
        square = sum(((Fraction(number) - mean) ** 2 for number in self.numbers), Fraction(0)) / len(self.numbers)
        shift = 4**1200  # so that the whole part of the root has all the digits of a float
        return Fraction(math.isqrt(square.numerator * square.denominator * shift), square.denominator * 2**1200)

    def percentile(self, percent: int) -> Fraction:
        rank = Fraction((len(self.numbers) - 1) * percent, 100)
        low = int(rank)
        here, there = (Fraction(self.numbers[min(at, len(self.numbers) - 1)]) for at in (low, low + 1))
        return here + (there - here) * (rank - low)

    def agrees(self, found: float | None, exact: Fraction, *, may_be_null: bool = False) -> bool:
        """Whether a float is as near as float64 comes by; null only where a sum would be beyond it."""
        if found is None:
            return may_be_null and len(self.numbers) * Fraction(self.scale) > Fraction(sys.float_info.max) / 2
        most = abs(exact) / 10**12 + Fraction(self.scale) * 4 / 10**15 + Fraction(10 * 5e-324)
        return math.isfinite(found) and abs(Fraction(found) - exact) <= most


def of(datatype: str, bits: int) -> st.SearchStrategy[tuple[dict[str, Any], list[Value]]]:
    """Columns of a type: anything it holds, and often the same again."""
    if datatype == "I":
        values: Any = st.integers(0, 2**bits - 1)
        some: list[Any] = [0, 1, 2 ** (bits - 1), 2**bits - 1]
    else:
        values = st.floats(width=32 if datatype == "F" else 64)
        most = float(numpy.finfo(numpy.float32).max) if datatype == "F" else sys.float_info.max
        some = [0.0, -0.0, 1.5, -1.5, math.nan, math.inf, -math.inf, most, -most]
    how = {"datatype": datatype, "bits": bits}
    return st.tuples(st.just(how), st.lists(st.one_of(values, st.sampled_from(some)), max_size=40))


TYPES = [("F", 32), ("D", 64), ("A", 26), *(("I", bits) for bits in (8, 16, 24, 32, 56, 64))]
DOUBLE: dict[str, Any] = {"datatype": "D", "bits": 64}
HUGE = sys.float_info.max


@settings(max_examples=250)
@given(st.one_of([of(*type) for type in TYPES]), st.sampled_from([(RUN, HELD_BYTES), (4, HELD_BYTES), (3, 1)]))
@example((DOUBLE, [HUGE, HUGE]), (RUN, HELD_BYTES))
@example((DOUBLE, [HUGE, -HUGE]), (RUN, HELD_BYTES))
@example((DOUBLE, [HUGE, HUGE, -HUGE, -HUGE] * 3), (3, 1))
@example((DOUBLE, [5e-324, -5e-324, 0.0]), (RUN, HELD_BYTES))
@example((DOUBLE, [1e15, 1e15 + 0.125, 1e15 - 0.125]), (RUN, HELD_BYTES))
@example((DOUBLE, [-0.0]), (RUN, HELD_BYTES))
@example((DOUBLE, [math.nan, math.inf]), (3, 1))
@example(({"datatype": "I", "bits": 64}, [2**64 - 1] * 5 + [2**64 - 2]), (4, HELD_BYTES))
def test_whatever_is_stored_has_statistics_that_are_right(
    tmp_path_factory: pytest.TempPathFactory, column: tuple[dict[str, Any], list[Value]], bounds: tuple[int, int]
) -> None:
    how, values = column
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(computing, "RUN", bounds[0])
        patch.setattr(computing, "HELD_BYTES", bounds[1])
        content = fcs([values], ranges=1000 if how["datatype"] != "I" else None, **how)
        (one,) = statistics(content, tmp_path_factory.getbasetemp())
    exact = Exact(sorted(value for value in values if math.isfinite(value)))
    assert (one.n, one.nan_count) == (len(exact.numbers), len(values) - len(exact.numbers))
    if not exact.numbers:
        assert [getattr(one, word) for word in NONE_OF] == [None] * len(NONE_OF)
        assert one.above_range == 0
        return
    assert (one.min, one.max) == (exact.numbers[0], exact.numbers[-1])
    assert (type(one.min), type(one.max)) == ((int, int) if how["datatype"] == "I" else (float, float))
    for word, percent in PERCENTS.items():
        assert exact.agrees(getattr(one, word), exact.percentile(percent)), (word, one)
    assert exact.agrees(one.mean, exact.mean(), may_be_null=True), one
    assert exact.agrees(one.std, exact.std(), may_be_null=True), one
    assert one.negative_fraction == sum(value < 0 for value in exact.numbers) / one.n
    beyond = 0 if how["datatype"] == "I" else sum(value > 1000 for value in exact.numbers)
    assert one.above_range == beyond
    msgspec.json.encode(one)


def test_one_event_is_its_own_statistics(house: House, anna: Person) -> None:
    (one,) = told(house, anna, fcs([[-2.5]]))
    assert one == {
        "parameter": "P1",
        "pns": "P1",
        "display": "LIN",
        "n": 1,
        **dict.fromkeys(("min", "max", "mean", "median", "p5", "p25", "p75", "p95"), -2.5),
        "std": 0.0,
        "negative_fraction": 1.0,
        "nan_count": 0,
        "above_range": 0,
    }


def test_of_no_events_there_is_nothing_to_tell(house: House, anna: Person) -> None:
    for one in told(house, anna, fcs([[], []])):
        assert (one["n"], one["nan_count"], one["above_range"]) == (0, 0, 0)
        assert [one[word] for word in NONE_OF] == [None] * len(NONE_OF)


def test_what_is_no_number_is_counted_apart(house: House, anna: Person) -> None:
    nothing, some = [math.nan, math.inf, -math.inf, math.nan], [math.nan, 1.0, 3.0, -math.inf]
    none, two = told(house, anna, fcs([nothing, some]))
    assert (none["n"], none["nan_count"], none["above_range"]) == (0, 4, 0)
    assert [none[word] for word in NONE_OF] == [None] * len(NONE_OF)
    assert (two["n"], two["nan_count"], two["min"], two["max"], two["mean"], two["std"]) == (2, 2, 1, 3, 2, 1)


def test_the_deviation_is_that_of_the_population(house: House, anna: Person) -> None:
    (one,) = told(house, anna, fcs([[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]]))
    assert (one["mean"], one["std"], one["median"], one["p25"], one["p75"]) == (5, 2, 4.5, 4, 5.5)


def test_doubles_at_their_limit_are_null_where_no_float_holds_the_answer(house: House, anna: Person) -> None:
    one, two = told(house, anna, fcs([[HUGE, HUGE, HUGE], [1e308, -1e308, 0.0]], datatype="D"))
    assert (one["min"], one["max"], one["median"], one["p95"]) == (HUGE, HUGE, HUGE, HUGE)
    assert (one["mean"], one["std"]) == (None, None)
    assert (two["mean"], two["median"], two["p25"]) == (0, 0, -5e307)
    assert two["std"] == pytest.approx(math.sqrt(2 / 3) * 1e308, rel=1e-12)


def test_integers_are_told_as_integers(house: House, anna: Person) -> None:
    (one,) = told(house, anna, fcs([[2**64 - 1, 2**64 - 1, 1]], datatype="I", bits=64))
    assert (one["min"], one["max"], one["median"]) == (1, 2**64 - 1, 2**64)
    assert b'"max":18446744073709551615,' in ask(house, anna, "statistics").content


def test_floats_are_above_their_range_beyond_it_and_integers_when_they_reach_it(house: House, anna: Person) -> None:
    values = [999, 1000, 1000, 1001, 1023]
    floats = fcs([[*values, math.inf, math.nan]], ranges=1000)
    assert [one["above_range"] for one in told(house, anna, floats)] == [2]
    integers = fcs([values], datatype="I", bits=16, ranges=1000)
    assert [one["above_range"] for one in told(house, anna, integers)] == [4]
    text = fcs([values], datatype="A", bits=8, ranges=1000)
    assert [one["above_range"] for one in told(house, anna, text)] == [2]


def test_without_a_range_nothing_is_above_it(house: House, anna: Person) -> None:
    one, two = told(house, anna, fcs([[1.0], [10.5]], ranges=[0, "9.5"], keywords={"$P1R": None}))
    assert (one["above_range"], two["above_range"]) == (None, 1)


def test_only_what_is_below_zero_is_negative(house: House, anna: Person) -> None:
    (one,) = told(house, anna, fcs([[-1.0, -0.0, 0.0, -1e-30, 5.0, math.nan, -math.inf, 2.0]]))
    assert (one["negative_fraction"], one["n"]) == (2 / 6, 6)


def test_numbers_in_text_have_statistics(house: House, anna: Person) -> None:
    for bits in (12, "*"):
        (one,) = told(house, anna, fcs([[1.5, -2.5, 4.0]], datatype="A", bits=bits))
        assert (one["min"], one["max"], one["median"], one["mean"]) == (-2.5, 4.0, 1.5, 1.0)


@pytest.mark.slow
def test_numbers_in_text_without_places_have_statistics_as_long_as_they_may_be(house: House, anna: Person) -> None:
    """As many as are taken at an upload fit into the memory of what computes."""
    events = 4 * 2**20 // 6
    content = fcs([[]] * 2, datatype="A", bits="*", stored=b"12 34 " * events, tot=events)
    one, two = told(house, anna, content)
    assert (one["n"], one["mean"], two["n"], two["mean"]) == (events, 12, events, 34)


# when it is computed


def test_the_first_to_ask_gets_them_and_need_not_ask_again(house: House, anna: Person, tmp_path: Path) -> None:
    with held_up(house, tmp_path) as release, ThreadPoolExecutor(1) as pool, statements(house) as seen:
        file_id = put(house, anna, fresh())["file_id"]
        answer = pool.submit(ask, house, anna, "statistics", file_id=file_id)
        until(lambda: sum("chosen" in name for name, _ in seen) >= 2, "the caller waits")
        assert not answer.done()
        release()
        assert made(answer.result(30), 200)["statistics"][0]["n"] == 1


def test_who_asks_too_early_is_told_to_come_again(
    house: House, anna: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "WAIT_S", 0.05)
    with held_up(house, tmp_path) as release:
        file_id = put(house, anna, fresh())["file_id"]
        for _ in range(2):
            answer = ask(house, anna, "statistics", file_id=file_id)
            assert (answer.status_code, answer.json()) == (202, {"status": "computing"})
            assert 1 <= int(answer.headers["retry-after"]) <= 60
        for what in ("parameters", "events", "keywords", f"files/{file_id}/download"):
            assert ask(house, anna, what).status_code == 200
        release()
        monkeypatch.undo()
        assert made(ask(house, anna, "statistics", file_id=file_id), 200)["statistics"][0]["n"] == 1


def test_many_who_wait_hear_of_one_computation(house: House, anna: Person, tmp_path: Path) -> None:
    with held_up(house, tmp_path) as release, ThreadPoolExecutor(8) as pool, statements(house) as seen:
        file_id = put(house, anna, fresh())["file_id"]
        answers = [pool.submit(ask, house, anna, "statistics", file_id=file_id) for _ in range(8)]
        until(lambda: sum("chosen" in name for name, _ in seen) >= 16, "all of them wait")
        release()
        assert len({answer.result(30).content for answer in answers}) == 1
        assert {answer.result().status_code for answer in answers} == {200}
        assert sum("keep_statistics" in name for name, _ in seen) == 1


def test_of_a_file_that_goes_meanwhile_there_are_none(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "WAIT_S", 0.5)
    anna = house.person()
    with held_up(house, tmp_path), ThreadPoolExecutor(1) as pool, statements(house) as seen:
        file_id = put(house, anna, fresh())["file_id"]
        answer = pool.submit(ask, house, anna, "statistics")
        until(lambda: sum("chosen" in name for name, _ in seen) >= 2, "the caller waits")
        remove(house, anna, file_id)
        refusal(answer.result(30), 404, "NOT_FOUND")
    assert made(ask(house, put_again(house, anna), "statistics"), 200)["statistics"][0]["n"] == 1


def put_again(house: House, who: Person) -> Person:
    put(house, who, fresh())
    return who


DEATHS = {
    "it ends": ("/bin/false",),
    "it is killed": ("/bin/sh", "-c", "kill -9 $$"),
    "there is none": ("/nonexistent/program",),
}


@pytest.mark.parametrize("how", DEATHS)
def test_statistics_that_failed_say_why_and_are_tried_again_after_a_minute(
    house: House, anna: Person, clock: Clock, how: str
) -> None:
    file_id = put(house, anna, fresh())["file_id"]
    made(ask(house, anna, "statistics", file_id=file_id), 200)
    with program(house, *DEATHS[how]):
        file_id = put(house, anna, fresh())["file_id"]
        answer = ask(house, anna, "statistics", file_id=file_id)
        document = refusal(answer, 503, "UNAVAILABLE")
        assert document["detail"].startswith("The statistics could not be computed: The process that computes ")
        assert answer.headers["retry-after"] == "60"
    with processes(house) as started:
        refusal(ask(house, anna, "statistics", file_id=file_id), 503, "UNAVAILABLE")
        assert started == []
        clock.at += 61
        assert made(ask(house, anna, "statistics", file_id=file_id), 200)["statistics"][0]["n"] == 1
        assert len(started) == 1
    assert ask(house, anna, "events", file_id=file_id).status_code == 200


def test_one_whose_statistics_fail_does_not_stand_in_the_way_of_others(house: House, anna: Person) -> None:
    with program(house, "/bin/false"):
        bad = put(house, anna, fresh())["file_id"]
        refusal(ask(house, anna, "statistics", file_id=bad), 503)
    assert told(house, anna, fresh())[0]["n"] == 1


def test_who_waits_is_let_go_when_the_service_stops(tmp_path: Path) -> None:
    with served(tmp_path) as house, held_up(house, tmp_path), ThreadPoolExecutor(1) as pool:
        anna = house.person()
        with statements(house) as seen:
            put(house, anna, fresh())
            answer = pool.submit(ask, house, anna, "statistics")
            until(lambda: sum("chosen" in name for name, _ in seen) >= 2, "the caller waits")
        assert house.client.portal is not None
        house.client.portal.call(house.app.state.fcs_computing.end_waits)
        assert (answer.result(10).status_code, answer.result().json()) == (202, {"status": "computing"})


def test_what_a_stop_interrupted_is_computed_after_the_next_start(tmp_path: Path) -> None:
    contents = [fresh(), fresh()]
    with served(tmp_path) as house, held_up(house, tmp_path):
        token, anna = house.client.headers["Authorization"], house.person()
        ids = [put(house, anna, content)["file_id"] for content in contents]
    assert [row["status"] for row in house.rows("SELECT status FROM fcs_contents")] == ["pending"] * 2
    with served(tmp_path, token) as house:
        for file_id in ids[::-1]:
            assert made(ask(house, anna, "statistics", file_id=file_id), 200)["statistics"][0]["n"] == 1


def kept(house: House) -> list[dict[str, Any]]:
    return house.rows("SELECT parser_version, status, statistics, ended_at FROM fcs_contents ORDER BY id")


def change(house: House, sql: str) -> None:
    """Changes the database of a service that has stopped."""
    with sqlite3.connect(house.config.database_path) as outside:
        outside.execute(sql)
    outside.close()


def test_what_was_computed_is_kept_until_another_parser_reads_the_bytes(tmp_path: Path) -> None:
    with served(tmp_path) as house:
        token, anna = house.client.headers["Authorization"], house.person()
        first = made(ask(house, put_again(house, anna), "statistics"), 200)
    before = kept(house)
    with served(tmp_path, token) as house:
        assert made(ask(house, anna, "statistics"), 200) == first
    assert kept(house) == before
    change(house, "UPDATE fcs_contents SET parser_version = 0, statistics = '[]', total_events = 77")
    with served(tmp_path, token) as house:
        assert made(ask(house, anna, "statistics"), 200) == first
        assert ask(house, anna, "files").json()[0]["total_events"] == 1
    assert [(row["parser_version"], row["status"]) for row in kept(house)] == [(VERSION, "done")]


def test_what_the_parser_would_refuse_today_stays_and_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its statistics, which were pending when the service was replaced, come to an end one way or the other."""
    with served(tmp_path) as house, held_up(house, tmp_path):
        token, anna = house.client.headers["Authorization"], house.person()
        old = put(house, anna, fresh())
    change(house, "UPDATE fcs_contents SET parser_version = 0")
    (blob,) = (house.config.data_dir / "blobs").glob(f"??/??/{old['sha256']}")
    blob.write_bytes(b"NOT" + blob.read_bytes()[3:])
    monkeypatch.setattr(routes, "WAIT_S", 3)
    with served(tmp_path, token) as house:
        assert ask(house, anna, "parameters", file_id=old["file_id"]).status_code == 200
        assert made(ask(house, put_again(house, anna), "statistics"), 200)["statistics"][0]["n"] == 1
        assert ask(house, anna, "statistics", file_id=old["file_id"]).status_code in (200, 503)


BAD = [("file_id", "0"), ("file_id", "x"), ("file_id", ""), ("parameters", "P1"), ("limit", "1")]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_what_cannot_be_asked_for_is_refused_by_name(house: House, anna: Person, name: str, value: str) -> None:
    answer = ask(house, anna, "statistics", **{name: value})
    assert [error["field"] for error in refusal(answer, 400, "VALIDATION_ERROR")["errors"]] == [name]


def test_head_answers_as_get_does_without_the_statistics(house: House) -> None:
    anna = put_again(house, house.person())
    answer = house.client.head(f"{FCS}/statistics", headers=anna.headers)
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"", "application/json")
