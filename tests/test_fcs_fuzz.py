"""Laws of the FCS parser and readers: what is written is read, and whatever the bytes, they are read or refused.

A file that is read has as many values as its description says, on every page; it takes no second and little memory.
"""

import io
import math
import re
import struct
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from app.errors import Invalid
from app.fcs import events
from app.fcs.layout import Description
from app.fcs.parser import MOST_DELIMITED_BYTES, MOST_PARAMETERS, MOST_TEXT_BYTES, Parsed, parse
from tests.fcs_writer import Value, fcs, written
from tests.test_fcs_parser import SAMPLE, printable, read, same

PLACE = re.compile(r"^/file: (HEADER|TEXT|Supplemental TEXT|DATA|\$[A-Z0-9]+)\b")
PAGE = 100
MIB = 2**20


def most_s() -> float:
    """The law's second; what counts lines, as the measuring of coverage does, takes its time as well."""
    return 1.0 if sys.gettrace() is None else 5.0


def parsed_or_refused(file: io.BytesIO) -> Parsed | str:
    """What a file is, or why it is refused."""
    try:
        return parse(file)
    except Invalid as refusal:
        return refusal.detail


def held(content: bytes) -> Parsed | None:
    """The law: a file is read with all its values, or refused (None) with the place, in less than a second."""
    began = time.process_time()
    file = io.BytesIO(content)
    parsed = parsed_or_refused(file)
    if isinstance(parsed, str):
        assert PLACE.match(parsed), parsed
        assert len(parsed) < 400
        assert time.process_time() - began < most_s()
        return None
    layout = parsed.description.layout
    total, every = layout.total_events, range(len(layout.columns))
    for offset in (0, total // 2, max(0, total - 1), total):
        page = events.rows(file, layout, every, offset, PAGE)
        assert [len(column) for column in page] == [min(PAGE, total - offset)] * len(every)
    counted = [0] * len(every)
    for piece in events.columns(file, layout, every):
        if not any(counted):
            assert same([column[:1] for column in piece], events.rows(file, layout, every, 0, 1))
        counted = [so_far + len(column) for so_far, column in zip(counted, piece, strict=True)]
    assert counted == [total] * len(every)
    assert len(parsed.description.parameters) == len(every)
    assert len({parameter.pnn for parameter in parsed.description.parameters}) == len(every)
    assert time.process_time() - began < most_s()
    kept = msgspec.json.encode(parsed.description)
    assert msgspec.json.decode(kept, type=Description) == parsed.description
    return parsed


def peak_bytes(content: bytes) -> int:
    """The most memory that reading a file took at a time, the file itself apart."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        file = io.BytesIO(content)
        parsed = parsed_or_refused(file)
        if isinstance(parsed, Parsed):
            layout = parsed.description.layout
            some = range(len(layout.columns))[:4]
            events.rows(file, layout, some, layout.total_events // 2, PAGE)
            for _ in islice(events.columns(file, layout, some), 3):
                pass
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


# what is written is read

SIGNS = [
    chr(code) for code in range(1, 127) if not chr(code).isupper() and not chr(code).isdigit() and chr(code) != "$"
]
"""Delimiters that are no part of the standard's keywords."""
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12)
VALUES = WORDS | st.text(st.sampled_from("/|\\,\f *a"), min_size=1, max_size=8) | st.text(min_size=1, max_size=20)
ORDERS = {
    size: st.permutations(range(1, size + 1)).map(lambda order: ",".join(map(str, order))) for size in range(2, 9)
}
EITHER = st.sampled_from(["1,2,3,4", "4,3,2,1", "1,2", "2,1"])


@st.composite
def datatypes(draw: st.DrawFn) -> tuple[str, list[str], list[int | str], str, list[int]]:
    """Version, types, widths, byte order and ranges that go together."""
    version = draw(st.sampled_from(["FCS2.0", "FCS3.0", "FCS3.1", "FCS3.2"]))
    count = draw(st.integers(1, 6))
    if version == "FCS3.2" and draw(st.booleans()):
        types = draw(st.lists(st.sampled_from("IFD"), min_size=count, max_size=count))
    else:
        types = [draw(st.sampled_from("IFDA"))] * count
    starred = draw(st.booleans())
    one = draw(st.sampled_from([8, 16, 24, 32, 40, 48, 56, 64])) if draw(st.booleans()) else None
    wide = st.sampled_from([8, 16, 24, 32, 64])
    width: dict[str, Callable[[], int | str]] = {
        "I": lambda: one or draw(wide),
        "F": lambda: 32,
        "D": lambda: 64,
        "A": lambda: "*" if starred else draw(st.integers(20, 25)),
    }
    widths = [width[of]() for of in types]
    sizes = {int(bits) // 8 for bits, of in zip(widths, types, strict=True) if of != "A"} - {1}
    byteord = draw(EITHER | ORDERS[sizes.pop()]) if len(sizes) == 1 else draw(EITHER)
    ranges = [
        draw(st.integers(2, 2 ** int(bits)) | st.just(2 ** int(bits))) if of == "I" else 1024
        for bits, of in zip(widths, types, strict=True)
    ]
    return version, types, widths, byteord, ranges


def numbers(of: str, bits: int | str) -> st.SearchStrategy[Value]:
    if of == "I":
        return st.integers(0, 2 ** int(bits) - 1)
    if of == "A":
        return st.integers(-(10**8), 10**8) | st.integers(-(10**6), 10**6).map(lambda number: number / 8)
    return st.floats(width=32 if of == "F" else 64)


@settings(max_examples=150, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    how=datatypes(),
    count=st.integers(0, 5),
    delimiter=st.sampled_from(SIGNS) | st.sampled_from("/|\\,*\f"),
    names=st.lists(WORDS, min_size=6, max_size=6, unique=True),
    labels=st.lists(VALUES, min_size=6, max_size=6),
    further=st.dictionaries(st.text("ABCXYZ_0123456789", min_size=1, max_size=8), VALUES, max_size=5),
    gap=st.integers(0, 20),
    later=st.booleans(),
    drawn=st.data(),
)
def test_what_is_written_is_read(
    how: tuple[str, list[str], list[int | str], str, list[int]],
    count: int,
    delimiter: str,
    names: list[str],
    labels: list[str],
    further: dict[str, str],
    gap: int,
    later: bool,
    drawn: st.DataObject,
) -> None:
    version, types, widths, byteord, ranges = how
    columns = [
        drawn.draw(st.lists(numbers(of, bits), min_size=count, max_size=count))
        for of, bits in zip(types, widths, strict=True)
    ]
    kept = [(f"$P{n}S", label) for n, label in enumerate(labels[: len(types)], 1)] + list(further.items())
    supplement = kept if later and version != "FCS2.0" else None
    content = fcs(
        columns,
        version=version,
        datatype=types[0],
        types=types,
        bits=widths,
        byteord=byteord,
        ranges=ranges,
        delimiter=delimiter,
        names=names[: len(types)],
        keywords={} if supplement else dict(kept),
        supplement=supplement,
        gap=gap,
    )
    parsed = held(content)
    assert parsed is not None
    found = parsed.description
    assert (found.fcs_version, found.layout.total_events) == (version, count)
    assert all(warning.startswith("$DATATYPE A") for warning in found.warnings), found.warnings
    assert [parameter.pnn for parameter in found.parameters] == [printable(name) for name in names[: len(types)]]
    shown = [printable(label) or name for label, name in zip(labels, names, strict=True)]
    assert [parameter.pns for parameter in found.parameters] == shown[: len(types)]
    assert parsed.keywords.items() >= dict(kept).items()
    assert same(read(content), [stored(*column) for column in zip(columns, types, ranges, strict=True)])


def stored(column: Sequence[Value], of: str, span: int) -> list[Value]:
    """The values of a parameter as they are stored: integers within the bits that count, others as floats."""
    if of == "I":
        return [int(value) % 2 ** (span - 1).bit_length() for value in column]
    return [struct.unpack("<f", struct.pack("<f", value))[0] if of == "F" else float(value) for value in column]


# whatever the bytes

GOOD: dict[str, dict[str, Any]] = {
    "floats": {"columns": [[1.5, math.nan, 3.5], [math.inf, 0.0, -1.0]], "names": ["FSC-A", "Time"]},
    "2.0": {"columns": [[1, 2, 3], [4, 5, 6]], "datatype": "I", "version": "FCS2.0", "ranges": 1024},
    "mixed": {"columns": [[1, 2], [3, 4], [5, 6]], "datatype": "I", "bits": [8, 24, 32], "byteord": "4,3,2,1"},
    "3.2": {"columns": [[1, 2], [3, 4], [5, 6]], "types": "IFD", "version": "FCS3.2", "byteord": "4,3,2,1"},
    "text": {"columns": [[1, 2, 3], [4, 5, 6]], "datatype": "A"},
    "fixed text": {"columns": [[1, 2, 3], [4, 5, 6]], "datatype": "A", "bits": 7},
    "supplemental": {
        "columns": [[1.0], [2.0]],
        "version": "FCS3.0",
        "delimiter": "\f",
        "supplement": [("$P1S", "CD4\f PE"), ("$P2S", "größer"), ("EMPTY", "")],
        "analysis": b"\fa\fb\f",
        "keywords": {"$P1E": "4,1", "$TIMESTEP": "0.1", "P1DISPLAY": "LOG", "$P2G": "2"},
    },
    "no count": {"columns": [[1.0] * 50], "tot": None, "datatype": "D", "header": {"data": (0, 0)}, "gap": 10},
}
SEEDS = {name: fcs(**how) for name, how in GOOD.items()}


def test_the_seeds_are_read() -> None:
    assert all(held(content) is not None for content in SEEDS.values())


Change = tuple[str, float, int, bytes]
CHANGES = st.tuples(
    st.sampled_from(["write", "insert", "delete", "cut", "copy", "flip"]),
    st.floats(0, 1) | st.floats(0, 0.3),
    st.integers(0, 2**16),
    st.binary(max_size=8) | st.sampled_from([b"/", b"//", b"$", b"0", b"\0", b" ", b"\xff", b"/$TOT/", b"/$PAR/4095/"]),
)


def spoiled(content: bytes, changes: Sequence[Change]) -> bytes:
    """The file after these changes, each at a part of its length."""
    for kind, where, number, new in changes:
        at = int(where * len(content))
        if kind == "write":
            content = content[:at] + new + content[at + len(new) :]
        elif kind == "insert":
            content = content[:at] + new + content[at:]
        elif kind == "delete":
            content = content[:at] + content[at + number % 64 :]
        elif kind == "cut":
            content = content[:at]
        elif kind == "copy":
            part = content[at : at + number % 256]
            to = number % (len(content) + 1)
            content = content[:to] + part + content[to:]
        elif at < len(content):
            content = content[:at] + bytes([content[at] ^ 1 << number % 8]) + content[at + 1 :]
    return content


@settings(max_examples=600, derandomize=True)
@given(seed=st.sampled_from(sorted(SEEDS)), changes=st.lists(CHANGES, min_size=1, max_size=6))
def test_a_file_changed_anyhow_is_read_or_refused(seed: str, changes: list[Change]) -> None:
    held(spoiled(SEEDS[seed], changes))


WHOLE = ["0", "1", "2", "3", "7", "58", "100", "200", "4096", "65536", "99999999", str(2**31), str(2**63), str(2**64)]
ODD = [
    "1\x1c",
    "\x1f2",
    "\u20031",
    "1,\x1e2,3,4",
    "2,1\x1d",
    "4\x1c,1",
    "4,\x851",
    "",
    " ",
    "-1",
    "1.5",
    "1e5",
    "nan",
    "x",
    "*",
    "9" * 4301,
    "٣",
    "0x10",
    "1_0",
    "+1",
    "A",
    "F",
    "D",
    "I",
    "L",
    "C",
]
LISTS = ["1,2", "2,1", "4,3,2,1", "3,4,1,2", "2,1,4,3", "1,2,3,4,5,6,7,8", "1", "1,1", "4,1", "4,0", "0,0", ",", "a,b"]
KEYWORDS = ["$PAR", "$TOT", "$BYTEORD", "$DATATYPE", "$MODE", "$NEXTDATA", "$TIMESTEP", "P1DISPLAY"]
KEYWORDS += [f"$P{n}{what}" for n in (1, 2, 3) for what in "BENRSGD"] + ["$P1DATATYPE", "$P2DATATYPE"]
TEXTS = st.sampled_from(WHOLE + ODD + LISTS) | st.integers(0, 300).map(str) | st.text(max_size=5)
PLACES = st.integers(0, 600) | st.sampled_from([10**7, 99_999_999, 10**9, 2**63, 2**64, 10**29, "", "x", "-1"])
PAIRS = st.tuples(PLACES, PLACES)


@settings(max_examples=500, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.sampled_from(sorted(GOOD)),
    keywords=st.dictionaries(st.sampled_from(KEYWORDS), TEXTS | st.none(), max_size=4),
    said=st.dictionaries(st.sampled_from(["data", "stext", "analysis"]), PAIRS | st.none(), max_size=2),
    header=st.dictionaries(st.sampled_from(["text", "data", "analysis"]), PAIRS, max_size=1),
    version=st.sampled_from(["FCS2.0", "FCS3.0", "FCS3.1", "FCS3.2"]),
)
@example(seed="floats", keywords={"$TOT": "0"}, said={"data": (10**29, 10**29)}, header={}, version="FCS3.1")
@example(seed="floats", keywords={}, said={"stext": (2**64, 2**64)}, header={}, version="FCS3.1")
@example(seed="text", keywords={"$PAR": "4096"}, said={}, header={}, version="FCS3.1")
def test_a_file_that_says_anything_is_read_or_refused(
    seed: str, keywords: dict[str, str | None], said: dict[str, Any], header: dict[str, Any], version: str
) -> None:
    how = dict(GOOD[seed])
    how["keywords"] = how.get("keywords", {}) | keywords
    how["said"] = said
    how["header"] = {place: tuple(str(at)[:8] for at in pair) for place, pair in header.items()}
    if "types" not in how:
        how["version"] = version
    held(fcs(**how))


@settings(max_examples=200, derandomize=True)
@given(
    segment=st.lists(
        st.sampled_from([b"/", b"//", b"$PAR", b"$TOT", b"1", b"2", b"$P1N", b"$P1B", b"8", b"\0"]), max_size=40
    ),
    behind=st.binary(max_size=40),
)
def test_text_of_anything_is_read_or_refused(segment: list[bytes], behind: bytes) -> None:
    raw = b"/" + b"".join(segment)
    head = "FCS3.1    " + "".join(
        f"{at:>8}" for at in (58, 57 + len(raw), 58 + len(raw), 57 + len(raw) + len(behind), 0, 0)
    )
    held(head.encode() + raw + behind)


@settings(max_examples=200, derandomize=True)
@given(
    stored=st.lists(st.sampled_from([*b"0123456789.,-+eEnN_ \t\r\n\x0b\x0c\0\x1c\x85\xa0\xff"]), max_size=60).map(bytes)
)
@example(stored=b"1 \x0c 2 ")
def test_numbers_in_text_of_anything_are_as_many_as_is_said(stored: bytes) -> None:
    for tot in (None, 3):
        for bits in ("*", 1, 3):
            for par in (1, 2):
                held(fcs([[0]] * par, datatype="A", bits=bits, stored=stored, tot=tot))


# memory and time


@cache
def large() -> dict[str, bytes]:
    """Well-formed files of 100 KB each."""
    floats = [[n / 4 for n in range(6_000)] for _ in range(4)]
    integers = [[n % 256 for n in range(9_000)] for _ in range(12)]
    return {
        "floats": fcs(floats, supplement=[(f"K{n}", "value") for n in range(100)]),
        "bytes": fcs(integers, datatype="I", bits=8, ranges=100),
        "text": fcs(integers[:3], datatype="A"),
        "keywords": fcs([[1.0]], keywords={f"KEYWORD{n}": "value" for n in range(6_000)}),
        "parameters": fcs([[n] for n in range(1_000)], datatype="I"),
    }


@settings(max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.sampled_from(["floats", "bytes", "text", "keywords", "parameters"]), changes=st.lists(CHANGES, max_size=4)
)
def test_a_changed_file_of_100_kb_takes_little_memory(seed: str, changes: list[Change]) -> None:
    content = spoiled(large()[seed], changes)
    held(content)
    peak = peak_bytes(content)
    assert peak < 32 * MIB


def with_text(raw: bytes, before: bytes = b"", delimiter: str = "/") -> bytes:
    """A good file with this at the end of its TEXT, over and over, until TEXT is nearly as long as may be."""
    times = (MOST_TEXT_BYTES - 1000) // len(raw)
    return fcs([[1.5]], delimiter=delimiter, raw=before + raw * times)


def parameters(count: int, **keywords: str) -> bytes:
    """A file of so many parameters, each of them with these keywords (N, S, …) in its own number."""
    given = {f"$P{n}{what}": text.format(n) for n in range(1, count + 1) for what, text in keywords.items()}
    return fcs([[n % 256] for n in range(count)], datatype="I", bits=8, keywords=given)


def delimited(stored: bytes, par: int = 1) -> bytes:
    return fcs([[0]] * par, datatype="A", stored=stored, tot=None)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "nothing but delimiters": lambda: with_text(b"/"),
    "one-letter keywords": lambda: with_text(b"a/b/"),
    "many keywords": lambda: with_text(b"".join(b"K%05d/%0117d/" % (n, n) for n in range(33_000))),
    "empty values": lambda: with_text(b"a//"),
    "doubled delimiters in one value": lambda: with_text(b"a//", b"K/"),
    "longer parts of one value": lambda: with_text(b"ab//", b"K/"),
    "many delimiters in one value": lambda: with_text(b"ab////", b"K/"),
    "one value": lambda: with_text(b"x", b"K/"),
    "one value of Latin-1": lambda: with_text(b"\xff", b"K/"),
    "one value of UTF-8": lambda: with_text("😀".encode(), b"K/"),
    "one value of blanks": lambda: with_text(b" ", b"K/"),
    "one value of NUL": lambda: with_text(b"\0", b"K/"),
    "one keyword": lambda: with_text(b"x"),
    "runs of three": lambda: with_text(b"a///"),
    "runs of four": lambda: with_text(b"a////"),
    "the same keyword": lambda: fcs([[1.5]], raw=b"".join(b"K/%0100d/" % n for n in range(32_000))),
    "blank delimiters": lambda: with_text(b"a b ", delimiter=" "),
    "parameters": lambda: parameters(MOST_PARAMETERS),
    "parameters of one name": lambda: parameters(MOST_PARAMETERS, N="Time", G="x", E="y", S="{}"),
    "parameters that look alike": lambda: parameters(MOST_PARAMETERS, N="a", S="b", R="x" * 100),
    "a long name": lambda: fcs([[1.5]], keywords={"$P1N": "n" * 4_000_000}),
    "a long label": lambda: fcs([[1.5]], keywords={"$P1S": "n" * 4_000_000}),
    "a long keyword": lambda: fcs([[1.5]], keywords={"N" * 4_000_000: "x"}),
    "digits everywhere": lambda: fcs(
        [[1.5]], keywords={name: "9" * 200_000 for name in KEYWORDS if "2" not in name and "3" not in name}
    ),
    "a long range": lambda: fcs([[1]], datatype="I", keywords={"$P1R": "1" * 4_000_000}),
    "a long order": lambda: fcs([[1.5]], byteord="1,2,3,4", keywords={"$BYTEORD": "1," * 2_000_000}),
    "a long amplification": lambda: fcs([[1.5]], keywords={"$P1E": "1," * 2_000_000}),
    "supplemental delimiters": lambda: fcs([[1.5]], supplement=b"/" * MOST_TEXT_BYTES),
    "supplemental keywords": lambda: fcs(
        [[1.5]], supplement=b"".join(b"K%05d/%0100d/" % (n, n) for n in range(32_000))
    ),
    "zeros": lambda: b"FCS3.1    " + b"0" * 4_000_000,
    "blanks": lambda: b"FCS3.1    " + b" " * 4_000_000,
}
DELIMITED: dict[str, Callable[[], bytes]] = {
    "one-digit numbers": lambda: delimited(b"1 " * (MOST_DELIMITED_BYTES // 2)),
    "many parameters": lambda: delimited(b"1 " * (MOST_DELIMITED_BYTES // 2), 1000),
    "blanks": lambda: delimited(b" " * MOST_DELIMITED_BYTES),
    "one number": lambda: delimited(b"9" * MOST_DELIMITED_BYTES),
    "no numbers": lambda: delimited(b"x," * (MOST_DELIMITED_BYTES // 2)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_read_or_refused_in_no_time(name: str) -> None:
    content = HOSTILE[name]()
    held(content)
    peak = peak_bytes(content)
    assert peak < 64 * MIB


@pytest.mark.slow
@pytest.mark.parametrize("name", DELIMITED)
def test_numbers_without_fixed_places_are_read_in_bounded_memory(name: str) -> None:
    """Their number is bounded by the bytes that are read at all, their memory by a few times that."""
    content = DELIMITED[name]()
    file, began = io.BytesIO(content), time.process_time()
    layout = parse(file).description.layout
    assert time.process_time() - began < most_s()
    for offset in (0, max(0, layout.total_events - 1)):
        began = time.process_time()
        page = events.rows(file, layout, [0], offset, PAGE)
        assert len(page[0]) == min(PAGE, layout.total_events - offset)
        assert time.process_time() - began < most_s()
    peak = peak_bytes(content)
    assert peak < 160 * MIB


def test_a_page_of_a_large_file_takes_the_memory_of_a_page(tmp_path: Path) -> None:
    """300 MB that are not on the disk: the rest of the file costs nothing, neither to describe nor to leaf through."""
    count, path = 12_000_000, tmp_path / "sparse.fcs"
    head = written([[0.0]] * 6, tot=count, said={"data": (1000, 999 + count * 24)}, header={"data": (0, 0)}, after=b"")
    with path.open("wb") as file:
        file.write(head.content[: head.places["data"][0]])
        file.truncate(1000 + count * 24)
    with path.open("rb") as file:
        tracemalloc.start()
        try:
            layout = parse(file).description.layout
            for offset in (0, count // 2, count - 1):
                assert [len(column) for column in events.rows(file, layout, [0, 5], offset, 1000)] == [
                    min(1000, count - offset)
                ] * 2
            assert len(next(events.columns(file, layout, [1]))[0]) * 24 <= events.PIECE_BYTES
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert layout.total_events == count
    assert peak < 4 * MIB


# the real sample, cut small


@pytest.mark.skipif(not SAMPLE.exists(), reason="the sample is not here")
@settings(max_examples=100, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(changes=st.lists(CHANGES, min_size=1, max_size=4))
def test_the_real_sample_changed_anyhow_is_read_or_refused(changes: list[Change]) -> None:
    held(spoiled(small_sample(), changes))


def small_sample() -> bytes:
    """Its first ten events alone, which $TOT and the places say."""
    with SAMPLE.open("rb") as file:
        content = file.read(11_856 + 10 * 104)
    content = content.replace(b"   11856 3578743", b"   11856%8d" % (11_856 + 1039))
    content = content.replace(b"0000000003578743", b"%016d" % (11_856 + 1039))
    return content.replace(b"0000000000034297", b"%016d" % 10)
