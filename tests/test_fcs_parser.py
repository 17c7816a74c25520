"""What the parser makes of an FCS file: right ones exactly, wrong ones with a warning or refused with the place."""

import io
import math
import random
import re
import struct
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from app.errors import Invalid
from app.fcs import events
from app.fcs.layout import Amplification, Description, Parameter
from app.fcs.parser import LONGEST_NAME, MOST_PARAMETERS, MOST_WARNINGS, parse
from tests.fcs_writer import HEADER_BYTES, Value, changed, fcs, written

SAMPLE = Path(__file__).parent.parent.parent / "shared" / "data" / "sample-34297x26.fcs"
FLOATS = [[1.5, -2.25, 2.0**40], [0.0, 1.0, 2.0]]
INTEGERS = [[0, 1, 200], [3, 255, 7]]
LONG = pytest.param("9" * 5000, id="five thousand digits")


def described(content: bytes) -> Description:
    return parse(io.BytesIO(content)).description


def read(content: bytes) -> list[list[Value]]:
    """Every value, a list for each parameter: as one page, and the same piece by piece and event by event."""
    layout = described(content).layout
    every = range(len(layout.columns))
    page = [list(column) for column in events.rows(io.BytesIO(content), layout, every, 0, layout.total_events)]
    for pieces in (
        list(events.columns(io.BytesIO(content), layout, every)),
        [events.rows(io.BytesIO(content), layout, every, at, 1) for at in range(layout.total_events)],
    ):
        assert same([[value for piece in pieces for value in piece[place]] for place in every], page)
    assert {len(column) for column in page} <= {layout.total_events}
    return page


def same(left: Sequence[Sequence[Value]], right: Sequence[Sequence[Value]]) -> bool:
    """Whether two are alike; NaN is like NaN."""
    return repr([list(column) for column in left]) == repr([list(column) for column in right])


def well(content: bytes, values: Sequence[Sequence[Value]]) -> Description:
    """The file is read without a warning, and has these values."""
    found = described(content)
    assert found.warnings == ()
    assert read(content) == [list(column) for column in values]
    return found


def told(content: bytes, values: Sequence[Sequence[Value]], *patterns: str) -> Description:
    """The file is read, and has these values; each pattern is told by a warning, and nothing else is."""
    found = described(content)
    assert read(content) == [list(column) for column in values]
    assert len(found.warnings) == len(patterns), found.warnings
    for pattern in patterns:
        assert any(re.search(pattern, warning) for warning in found.warnings), (pattern, found.warnings)
    return found


def refused(content: bytes, pattern: str) -> str:
    """The file is refused, with a text that begins with the field and the place, and has the pattern in it."""
    with pytest.raises(Invalid) as caught:
        parse(io.BytesIO(content))
    text = caught.value.detail
    assert text.startswith("/file: ")
    assert re.search(pattern, text), text
    assert caught.value.facts["errors"] == [{"field": "/file", "message": text.removeprefix("/file: ")}]
    assert len(text) < 400
    return text


def printable(name: str) -> str:
    """A name without what nobody sees."""
    return "".join(filter(str.isprintable, name)).strip()


def first(content: bytes) -> Parameter:
    return described(content).parameters[0]


# what the file is


@pytest.mark.parametrize("version", ["FCS2.0", "FCS3.0", "FCS3.1", "FCS3.2"])
def test_every_version_is_read(version: str) -> None:
    found = well(fcs(FLOATS, version=version), FLOATS)
    assert found.fcs_version == version
    assert (found.layout.total_events, len(found.parameters)) == (3, 2)


@pytest.mark.parametrize(
    "version", ["FCS1.0", "FCS4.0", "FCS3.3", "FCS3,1", "fcs3.1", "FCS 3.", "LMD2.0", "\0\0\0\0\0\0"]
)
def test_another_version_is_refused(version: str) -> None:
    refused(fcs(FLOATS, version=version), r"HEADER, bytes 0 to 5: expected FCS2.0, FCS3.0, FCS3.1, FCS3.2, not ")


FOREIGN = {
    "empty": b"",
    "a letter": b"F",
    "text": b"Time,FSC-A\n1,2\n" * 20,
    "zip": b"PK\x03\x04" + bytes(200),
    "zeros": bytes(1000),
    "a byte order mark": b"\xef\xbb\xbf" + fcs(FLOATS),
    "shifted": b" " + fcs(FLOATS),
    "a copied head": fcs(FLOATS)[:20] + bytes(100),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_that_is_no_fcs_is_refused(name: str) -> None:
    refused(FOREIGN[name], "HEADER")


def test_the_magic_word_alone_is_refused() -> None:
    for length in range(6, HEADER_BYTES):
        refused(fcs(FLOATS)[:length], f"HEADER: expected 58 bytes; the file has {length}")


@pytest.mark.parametrize("mode", ["C", "U", "c", "list", "L,C", "*"])
def test_histograms_are_refused(mode: str) -> None:
    refused(fcs(FLOATS, keywords={"$MODE": mode}), r"\$MODE: expected L, a list of events, not ")


@pytest.mark.parametrize("mode", ["L", "l", " L ", None])
def test_a_list_of_events_is_read(mode: str | None) -> None:
    well(fcs(FLOATS, keywords={"$MODE": mode}), FLOATS)


# how values are stored


@pytest.mark.parametrize("byteord", ["1,2,3,4", "4,3,2,1", "1,2", "2,1", "1,2,3,4,5,6,7,8", "8,7,6,5,4,3,2,1"])
@pytest.mark.parametrize("bits", [8, 16, 24, 32, 40, 48, 56, 64])
def test_integers_of_whole_bytes_are_read(bits: int, byteord: str) -> None:
    most = 2**bits - 1
    columns = [[0, 1, most, most // 3], [most, 0, 128, most - 1]]
    found = well(fcs(columns, datatype="I", bits=bits, byteord=byteord), columns)
    assert [(parameter.datatype, parameter.bits) for parameter in found.parameters] == [("I", bits)] * 2


@pytest.mark.parametrize("byteord", ["1,2,3,4", "4,3,2,1"])
def test_widths_may_be_mixed_in_one_record(byteord: str) -> None:
    widths = [8, 16, 24, 32, 64, 8, 40]
    columns = [[0, 2**bits - 1, 2**bits // 5 + n] for n, bits in enumerate(widths)]
    found = well(fcs(columns, datatype="I", bits=widths, byteord=byteord), columns)
    assert [parameter.bits for parameter in found.parameters] == widths
    assert found.layout.record_bytes == sum(widths) // 8


@pytest.mark.parametrize("bits", [0, 1, 7, 9, 10, 12, 20, 63])
def test_packed_integers_are_refused(bits: int) -> None:
    refused(fcs(INTEGERS, datatype="I", keywords={"$P2B": str(bits)}), r"\$P2B: expected ")


@pytest.mark.parametrize("bits", ["", "x", "-8", "8.0", "72", "128", "1e1", "*", LONG, "８", None])
def test_a_width_that_is_none_is_refused(bits: str | None) -> None:
    refused(fcs(INTEGERS, datatype="I", keywords={"$P1B": bits}), r"\$P1B")
    refused(fcs(FLOATS, keywords={"$P1B": bits}), r"\$P1B")


@pytest.mark.parametrize(
    ("bits", "span", "counting"),
    [
        (16, "1024", 10),
        (16, "1023", 10),
        (16, "1025", 11),
        (16, "1000", 10),
        (16, "513", 10),
        (16, "512", 9),
        (16, "2", 1),
        (16, "3", 2),
        (16, "65535", 16),
        (16, "65536", 16),
        (16, "100000", 16),
        (8, "256", 8),
        (8, "100", 7),
        (24, "262144", 18),
        (32, "262144", 18),
        (32, "4294967296", 32),
        (32, "4294967295", 32),
        (64, "1099511627776", 40),
        (64, "18446744073709551615", 64),
        (64, "18446744073709551616", 64),
        (64, "99999999999999999999999", 64),
        (16, "1024.0", 10),
        (16, "1e3", 10),
        (16, " 1024 ", 10),
        (16, "0001024", 10),
    ],
)
@pytest.mark.parametrize("byteord", ["1,2,3,4", "4,3,2,1"])
def test_the_range_says_which_bits_count(bits: int, span: str, counting: int, byteord: str) -> None:
    stored = [0, 1, 2**bits - 1, 2**bits // 3, 2**bits // 3 * 2]
    content = fcs([stored, stored], datatype="I", bits=bits, byteord=byteord, keywords={"$P1R": span})
    well(content, [[value % 2**counting for value in stored], stored])


@pytest.mark.parametrize("span", ["1", "0", "-5", "0.5", "-1e300"])
def test_with_a_range_below_two_every_bit_counts(span: str) -> None:
    found = told(
        fcs([[0, 65535]], datatype="I", ranges=span), [[0, 65535]], r"\$P1R is .*; every bit of the value counts"
    )
    assert found.parameters[0].range == float(span)


@pytest.mark.parametrize("span", ["", "many", "nan", "inf", "1e999", "0x400", "1_024", None, LONG])
def test_integers_without_a_range_are_refused(span: str | None) -> None:
    refused(fcs([[0, 65535]], datatype="I", keywords={"$P1R": span}), r"\$P1R")


@pytest.mark.parametrize("span", [" ", "many", "nan", "1e999", None, LONG])
def test_floats_need_no_range(span: str | None) -> None:
    found = told(fcs([[0.5]], keywords={"$P1R": span}), [[0.5]], r"\$P1R")
    assert found.parameters[0].range is None


@pytest.mark.parametrize(
    ("text", "span"),
    [("262144", 262144), ("16777215", 16777215), ("1024.0", 1024), ("0.5", 0.5), ("1e3", 1000), ("-111.5", -111.5)],
)
def test_the_range_of_floats_is_told_and_does_nothing(text: str, span: float) -> None:
    values = [[1e30, -1e30]]
    found = well(fcs(values, datatype="D", ranges=text), values)
    assert found.parameters[0].range == span
    assert type(found.parameters[0].range) is type(span)


@pytest.mark.parametrize("byteord", ["1,2,3,4", "4,3,2,1", "1,2,3,4,5,6,7,8", "8,7,6,5,4,3,2,1", "1,2", "2,1"])
@pytest.mark.parametrize(("datatype", "bits"), [("F", 32), ("D", 64)])
def test_floats_are_read(datatype: str, bits: int, byteord: str) -> None:
    columns = [[0.0, -0.0, 1.5, -(2.0**-126)], [2.0**100, 0.1 if datatype == "D" else 0.125, 1e10, -1.0]]
    found = well(fcs(columns, datatype=datatype, byteord=byteord), columns)
    assert [(parameter.datatype, parameter.bits) for parameter in found.parameters] == [(datatype, bits)] * 2


@pytest.mark.parametrize(("datatype", "bits"), [("F", 64), ("D", 32), ("F", 16), ("D", 63), ("F", 31)])
def test_floats_of_another_width_are_refused(datatype: str, bits: int) -> None:
    refused(
        fcs([[1.0]], datatype=datatype, keywords={"$P1B": str(bits)}),
        rf"\$P1B: expected .* type {datatype}, not {bits}",
    )


@pytest.mark.parametrize("datatype", ["F", "D"])
def test_what_is_no_number_stays_none_and_infinities_stay(datatype: str) -> None:
    columns = [[math.nan, math.inf, -math.inf, 1.0], [0.0, math.nan, math.nan, -math.inf]]
    for byteord in ("1,2,3,4", "4,3,2,1", "3,4,1,2" if datatype == "F" else "3,4,1,2,7,8,5,6"):
        content = fcs(columns, datatype=datatype, byteord=byteord)
        assert described(content).warnings == ()
        assert same(read(content), columns)


@pytest.mark.parametrize("byteord", [",".join(map(str, order)) for order in permutations((1, 2, 3, 4))])
def test_any_order_of_four_bytes_is_read(byteord: str) -> None:
    well(fcs([[0x01020304, 7]], datatype="I", bits=32, byteord=byteord), [[0x01020304, 7]])
    well(fcs(FLOATS, byteord=byteord), FLOATS)


def test_any_order_of_other_widths_is_read() -> None:
    chance = random.Random(4)
    for width in (2, 3, 5, 6, 7, 8) * 5:
        order = chance.sample(range(1, width + 1), width)
        columns = [[chance.getrandbits(8 * width) for _ in range(5)], list(range(5))]
        byteord = ",".join(map(str, order))
        well(fcs(columns, datatype="I", bits=8 * width, byteord=byteord), columns)
        if width == 8:
            well(fcs([[0.1, 1e300]], datatype="D", byteord=byteord), [[0.1, 1e300]])


def test_the_numbers_of_an_order_are_those_of_the_bytes_as_they_lie() -> None:
    """FCS 3.1, 3.2.5: the least significant byte is 1; of 3,4,1,2 the third and fourth lie first."""
    stored = bytes([3, 4, 1, 2])
    content = fcs([[0]], datatype="I", bits=32, byteord="3,4,1,2", stored=stored)
    well(content, [[0x04030201]])
    content = fcs([[0]], datatype="I", bits=32, byteord="2,3,4,1", stored=bytes([2, 3, 4, 1]))
    well(content, [[0x04030201]])


@pytest.mark.parametrize("byteord", ["3,4,1,2", "2,1,4,3"])
def test_a_mixed_order_of_other_bytes_is_refused(byteord: str) -> None:
    content = fcs([[1, 2]], datatype="I", bits=16, byteord="1,2", keywords={"$BYTEORD": byteord})
    refused(content, r"\$BYTEORD: .* does not tell the order of 2 bytes")
    well(fcs(INTEGERS, datatype="I", bits=8, keywords={"$BYTEORD": byteord}), INTEGERS)


@pytest.mark.parametrize(
    "byteord",
    [
        *("", "1", "0,1,2,3", "1,1,2,2", "1234", "little", "1,2,3,5", ",,,", "1,2,3,4,", "-1,2", None, LONG),
        *("1,2,3,4,5,6,7,8,9,9,9", pytest.param(",".join("1" * 5000), id="five thousand bytes")),
    ],
)
def test_an_order_that_is_none_is_refused(byteord: str | None) -> None:
    refused(fcs(FLOATS, keywords={"$BYTEORD": byteord}), r"\$BYTEORD")


BLANKS = [" ", "\t", "\r\n", "\0", "\x0b", "\x0c", "\x1c", "\x1e", "\x1f", "\x85", "\xa0", "\u2003"]
NUMBERS = {"$PAR": "2", "$TOT": "3", "$BYTEORD": "1,2,3,4", "$P1B": "16", "$P1R": "65536", "$P1E": "0,0", "$P1G": "1"}
NUMBERS |= {"$BEGINSTEXT": "0", "$NEXTDATA": "0", "$TIMESTEP": "1"}


@pytest.mark.parametrize("blank", BLANKS, ids=ascii)
@pytest.mark.parametrize("keyword", NUMBERS)
def test_blanks_of_any_kind_in_numbers_do_no_harm(keyword: str, blank: str) -> None:
    value = NUMBERS[keyword]
    for text in (blank + value, value + blank, value.replace(",", "," + blank), value.replace(",", blank + ",")):
        content = fcs(INTEGERS, datatype="I", names=["FSC-A", "Time"], keywords={keyword: text})
        try:
            parse(io.BytesIO(content))
        except Invalid:
            refused(content, rf"{re.escape(keyword)}\b")
        else:
            assert read(content) == INTEGERS


def test_values_of_one_byte_need_no_order() -> None:
    well(fcs(INTEGERS, datatype="I", bits=8, keywords={"$BYTEORD": None}), INTEGERS)


ASCII = r"\$DATATYPE A is out of use"


def test_numbers_in_text_of_a_fixed_width_are_read() -> None:
    columns = [[0, 12345, -7], [1.5, 1e10, 0.25]]
    found = told(fcs(columns, datatype="A", bits=[5, 14]), columns, ASCII)
    assert [(parameter.datatype, parameter.bits) for parameter in found.parameters] == [("A", None)] * 2
    assert found.layout.record_bytes == 19


def test_numbers_in_text_of_any_width_are_read() -> None:
    columns = [[0, 12345, -7], [1.5, 1e10, 0.25]]
    found = told(fcs(columns, datatype="A"), columns, ASCII)
    assert (found.layout.total_events, found.parameters[0].bits) == (3, None)


@pytest.mark.parametrize(
    "stored", [b"1 2 3 4", b" 1,2\t3\r\n4\n", b"1,2,,3 , 4", b"\0 1 2 3\0 4 \0\0", b"001 2. +3 4e0 "]
)
def test_anything_may_stand_between_numbers_in_text(stored: bytes) -> None:
    assert read(fcs([[1, 3], [2, 4]], datatype="A", stored=stored)) == [[1, 3], [2, 4]]


RARE = [
    b"1 \x0c 2 3 4 ",
    b"1\x0c2 3 4 ",
    b"1 \x0b2 3 4",
    b"\x0c1 2 3 4\x0b",
    b"1 \x1c 2 3 4",
    b"\x0c 1 2 3 4 ",
    b"\x0b \x0c 1 2 3 4",
]


@pytest.mark.parametrize("stored", RARE)
def test_rare_blanks_in_text_do_not_shift_numbers(stored: bytes) -> None:
    """Parser and reader agree on how many numbers there are, whatever they take a form feed for."""
    content = fcs([[0, 0]], datatype="A", stored=stored, tot=None)
    numbers = read(content)[0]
    assert len(numbers) == described(content).layout.total_events
    assert numbers[-3:] == [2, 3, 4] or (numbers[-2:] == [3, 4] and math.isnan(numbers[-3]))


def test_what_is_no_number_in_text_is_missing() -> None:
    content = fcs([[0] * 6], datatype="A", bits=4, stored=b"  1 none 1_0 nan inf0x10")
    assert same(read(content), [[1.0, math.nan, math.nan, math.nan, math.inf, math.nan]])
    content = fcs([[0] * 6], datatype="A", stored=b"1 none 1_0 nan inf 0x10")
    assert same(read(content), [[1.0, math.nan, math.nan, math.nan, math.inf, math.nan]])


def test_numbers_in_text_have_widths_for_all_or_for_none() -> None:
    refused(
        fcs([[1], [2]], datatype="A", keywords={"$P1B": "4"}),
        r"\$P2B: either every parameter has the width \*, or none",
    )


def test_every_parameter_may_have_a_type_of_its_own_since_3_2() -> None:
    columns = [[1, 65535], [0.5, -1e10], [0.1, 1e300], [7, 255]]
    content = fcs(columns, version="FCS3.2", types="IFDI", bits=[16, 32, 64, 8], datatype="F")
    found = well(content, columns)
    assert [parameter.datatype for parameter in found.parameters] == ["I", "F", "D", "I"]
    assert found.layout.record_bytes == 15
    well(fcs(columns, version="FCS3.2", types="IFDI", bits=[16, 32, 64, 8], byteord="4,3,2,1", datatype="I"), columns)


@pytest.mark.parametrize("version", ["FCS2.0", "FCS3.0", "FCS3.1"])
def test_before_3_2_all_parameters_have_one_type(version: str) -> None:
    well(fcs(FLOATS, version=version, keywords={"$P1DATATYPE": "I"}), FLOATS)


@pytest.mark.parametrize("datatype", ["X", "", "FF", "f,d", None])
def test_an_unknown_type_is_refused(datatype: str | None) -> None:
    refused(fcs(FLOATS, keywords={"$DATATYPE": datatype}), r"\$DATATYPE")
    if datatype:
        refused(
            fcs(FLOATS, version="FCS3.2", keywords={"$P2DATATYPE": datatype}), r"\$P2DATATYPE: expected I, F, D, not "
        )


def test_text_is_no_type_for_a_single_parameter() -> None:
    refused(fcs(FLOATS, version="FCS3.2", keywords={"$P2DATATYPE": "A"}), r"\$P2DATATYPE: expected I, F, D, not ")


# delimiters


@pytest.mark.parametrize("delimiter", range(1, 127))
def test_any_delimiter_is_read(delimiter: int) -> None:
    """Where the keywords of the standard cannot be told from delimiters, the file is refused."""
    sign = chr(delimiter)
    lower = sign.isupper()
    name = f"FSC{sign}A"
    content = fcs(FLOATS, delimiter=delimiter, lower=lower, names=[name, "Time"], keywords={"VENDOR": "a" + sign + "b"})
    if sign in "$12":
        refused(content, r"TEXT: the keyword \$[A-Z0-9]+ is missing|\$P[0-9]")
        return
    found = well(content, FLOATS)
    assert [parameter.pnn for parameter in found.parameters] == [printable(name), "Time"]
    assert parse(io.BytesIO(content)).keywords["vendor" if lower else "VENDOR"] == "a" + sign + "b"


@pytest.mark.parametrize("delimiter", "ABCDEFGHIJKLMNOPQRSTUVWXYZ$0123456789")
def test_a_delimiter_that_is_part_of_keywords_is_read_or_refused_or_told(delimiter: str) -> None:
    """`$PPAR` may be the keyword $PAR, or $ without a value: no file is read otherwise than meant without a word."""
    content = fcs(FLOATS, delimiter=delimiter, names=["FSC-A", "Time"], keywords={"$P1S": "stain"})
    try:
        found = described(content)
    except Invalid:
        refused(content, r"/file: (TEXT|\$[A-Z0-9]+): ")
        return
    assert read(content) == FLOATS
    told = [(parameter.pnn, parameter.pns, parameter.range) for parameter in found.parameters]
    assert told == [("FSC-A", "stain", 262_144), ("Time", "Time", 262_144)] or found.warnings


@pytest.mark.parametrize("delimiter", [0, 127, 128, 200, 255])
def test_another_delimiter_is_refused(delimiter: int) -> None:
    content = fcs(FLOATS, delimiter=delimiter)
    refused(content, f"TEXT, byte 58: expected a delimiter from 1 to 126, not {delimiter}")


@pytest.mark.parametrize("delimiter", ["/", "|", "\\", "\f", ",", "*", "\x1e", "\t", "!"])
def test_doubled_delimiters_and_empty_values_may_stand_in_one_file(delimiter: str) -> None:
    values = [f"{delimiter}a", f"a{delimiter}", f"a{delimiter}b", f"a{delimiter * 2}b", delimiter, delimiter * 3, "a b"]
    keywords = {f"KEY{n}": value for n, value in enumerate(values)}
    content = fcs(FLOATS, delimiter=delimiter, keywords=keywords)
    well(content, FLOATS)
    assert parse(io.BytesIO(content)).keywords.items() >= keywords.items()
    keywords |= {"EMPTY1": "", "$P1S": "", "KEY9": f"b{delimiter}c", "EMPTY2": ""}
    content = fcs(FLOATS, delimiter=delimiter, keywords=keywords)
    found = told(content, FLOATS, "TEXT has 3 empty values, which the standard forbids")
    assert parse(io.BytesIO(content)).keywords.items() >= keywords.items()
    assert found.parameters[0].pns == found.parameters[0].pnn


def test_text_without_its_last_delimiter_is_read() -> None:
    told(fcs(FLOATS, more=[("LAST", "value")], ended=False, gap=8), FLOATS, "TEXT does not end with its delimiter")


def test_a_keyword_without_a_value_is_left_out() -> None:
    told(fcs(FLOATS, raw=b"LAST/"), FLOATS, "TEXT ends with a keyword that has no value; it is left out")


def test_a_keyword_given_twice_has_its_first_value() -> None:
    told(
        fcs(FLOATS, more=[("$TOT", "2")]), FLOATS, r"TEXT gives \$TOT more than once with other values; the first holds"
    )
    well(fcs(FLOATS, more=[("$tot", "3")]), FLOATS)


def test_keywords_are_found_in_small_letters_and_with_blanks_around() -> None:
    well(fcs(FLOATS, lower=True), FLOATS)
    blank = {
        "$PAR": " 2 ",
        "$TOT": "3   ",
        "$P1B": " 32",
        "$DATATYPE": " F",
        "$BYTEORD": " 1,2,3,4 ",
        "$P1R": "\t1024 ",
    }
    well(fcs(FLOATS, keywords=blank), FLOATS)
    well(fcs(FLOATS, keywords={"$PAR": "0000000000000002", "$TOT": "0000000000000003", "$P1B": "0032"}), FLOATS)


@pytest.mark.parametrize("keyword", ["$PAR", "$DATATYPE", "$BYTEORD", "$P1B", "$P2B"])
def test_a_keyword_that_is_needed_is_named_when_it_is_missing(keyword: str) -> None:
    refused(fcs(FLOATS, keywords={keyword: None}), rf"TEXT: the keyword {re.escape(keyword)} is missing")


# where segments lie


def test_text_may_lie_anywhere_behind_header() -> None:
    well(fcs(FLOATS, text_at=256, gap=1000), FLOATS)
    whole = written(FLOATS, gap=300, header={"data": (58, 81)}, said={"data": None}, text_at=500)
    begin, _ = whole.places["data"]
    before = changed(whole.content, 58, whole.content[begin : begin + 24])
    well(before[:begin], FLOATS)


@pytest.mark.parametrize("at", [(0, 0), ("", ""), (99_999_999, 99_999_999), (0, 99_999_999), ("00000000", "00000000")])
def test_header_may_leave_the_place_of_data_to_text(at: tuple[Any, Any]) -> None:
    well(fcs(FLOATS, header={"data": at}), FLOATS)


def test_text_may_leave_the_place_of_data_to_header() -> None:
    well(fcs(FLOATS, said={"data": None}), FLOATS)
    well(fcs(FLOATS, said={"data": (0, 0)}), FLOATS)
    well(fcs(FLOATS, version="FCS2.0"), FLOATS)


def test_somebody_must_say_where_data_is() -> None:
    refused(fcs(FLOATS, header={"data": (0, 0)}, said={"data": None}), r"DATA: neither HEADER nor \$BEGINDATA")
    refused(fcs(FLOATS, header={"data": (0, 0)}, said={"data": (0, 0)}), r"DATA: neither HEADER nor \$BEGINDATA")


def test_data_may_lie_where_header_cannot_reach(tmp_path: Path) -> None:
    begin = 150_000_000
    head = written(FLOATS, header={"data": (0, 0)}, said={"data": (begin, begin + 23)}, after=b"")
    path = tmp_path / "large.fcs"
    stored = head.content[head.places["data"][0] :]
    with path.open("wb") as file:
        file.write(head.content[: head.places["data"][0]])
        file.seek(begin)
        file.write(stored)
    with path.open("rb") as file:
        found = parse(file).description
        assert (found.warnings, found.layout.begin) == ((), begin)
        assert [list(column) for column in events.rows(file, found.layout, [0, 1], 0, 10)] == FLOATS
    with path.open("r+b") as file:
        file.truncate(begin + 23)
        with pytest.raises(Invalid, match=r"\$TOT|DATA"):
            parse(file)


def shorter(begin: int, end: int) -> tuple[int, int]:
    return begin, end - 8


def longer(begin: int, end: int) -> tuple[int, int]:
    return begin, end + 5


def elsewhere(begin: int, end: int) -> tuple[int, int]:
    return begin + 10**6, end + 10**6


def over_text(begin: int, end: int) -> tuple[int, int]:
    return 60, 60 + end - begin


def backwards(begin: int, end: int) -> tuple[int, int]:
    return end, begin


WRONG = {function.__name__: function for function in (shorter, longer, elsewhere, over_text, backwards)}


@pytest.mark.parametrize("wrong", WRONG)
def test_of_two_that_disagree_the_one_is_taken_whose_length_fits(wrong: str) -> None:
    place = WRONG[wrong]
    found = told(
        fcs(FLOATS, header={"data": place}), FLOATS, r"DATA: HEADER \(.*\) and TEXT \(.*\) disagree; TEXT is taken"
    )
    assert re.search(r"\d+ to \d+", found.warnings[0])
    told(fcs(FLOATS, said={"data": place}), FLOATS, r"DATA: HEADER \(.*\) and TEXT \(.*\) disagree; HEADER is taken")


@pytest.mark.parametrize("wrong", ["elsewhere", "over_text", "backwards", "longer"])
def test_without_a_count_the_one_is_taken_that_holds_whole_records(wrong: str) -> None:
    place, missing = WRONG[wrong], r"\$TOT is missing"
    told(fcs(FLOATS, tot=None, header={"data": place}), FLOATS, missing, "disagree; TEXT is taken")
    told(fcs(FLOATS, tot=None, said={"data": place}), FLOATS, missing, "disagree; HEADER is taken")


@pytest.mark.parametrize("wrong", ["elsewhere", "over_text", "backwards"])
def test_when_no_place_holds_the_file_is_refused(wrong: str) -> None:
    place = WRONG[wrong]
    for tot in (-1, None):
        refused(fcs(FLOATS, tot=tot, header={"data": place}, said={"data": place}), r"DATA: HEADER \(|\$TOT: ")
        refused(fcs(FLOATS, tot=tot, header={"data": (0, 0)}, said={"data": place}), r"DATA: TEXT \(|\$TOT: ")
        refused(fcs(FLOATS, tot=tot, header={"data": place}, said={"data": None}), r"DATA: HEADER \(|\$TOT: ")


def late(begin: int, end: int) -> tuple[int, int]:
    return begin, end + 1


def early(begin: int, end: int) -> tuple[int, int]:
    return begin, end - 1


@pytest.mark.parametrize(("off", "word"), [(late, "late"), (early, "early")], ids=["late", "early"])
@pytest.mark.parametrize("after", [b"", b"00000000"], ids=["at the end", "with more behind"])
def test_an_end_that_is_off_by_one_is_read(off: Any, word: str, after: bytes) -> None:
    by = rf"DATA: by (HEADER|TEXT) \(.*\) its end is a byte too {word}"
    told(fcs(FLOATS, after=after, header={"data": off}, said={"data": off}), FLOATS, by)
    told(fcs(FLOATS, after=after, header={"data": off}, said={"data": None}), FLOATS, by)
    told(fcs(FLOATS, after=after, header={"data": (0, 0)}, said={"data": off}), FLOATS, by)
    told(fcs(FLOATS, after=after, header={"data": off}), FLOATS, "disagree; TEXT is taken")
    told(fcs(FLOATS, after=after, said={"data": off}), FLOATS, "disagree; HEADER is taken")


def test_an_end_that_is_late_by_one_is_read_without_a_count() -> None:
    content = fcs(FLOATS, tot=None, header={"data": late}, said={"data": late})
    told(content, FLOATS, r"\$TOT is missing", "DATA ends with 1 bytes? that (is|are) no whole record")


def test_text_that_ends_a_byte_early_in_header_is_read() -> None:
    found = told(
        fcs(FLOATS, more=[("LAST", "value")], header={"text": early}), FLOATS, "TEXT ends a byte later than HEADER"
    )
    assert found.layout.total_events == 3


@pytest.mark.parametrize("gap", [0, 1, 100])
@pytest.mark.parametrize("first", [b"\x01", b"/", b"A", b" ", b"\xff"], ids=["1", "delimiter", "A", "blank", "255"])
def test_text_that_ends_a_byte_late_in_header_is_read(gap: int, first: bytes) -> None:
    """What comes next, of DATA or of the blanks before it, is none of its keywords."""
    values = [[first[0], 2, 3]]
    content = fcs(values, datatype="I", bits=8, gap=gap, header={"text": late}, more=[("LAST", "value")])
    assert read(content) == values
    assert parse(io.BytesIO(content)).keywords["LAST"] == "value"


@pytest.mark.parametrize(
    ("place", "pattern"),
    [
        ((0, 0), "HEADER: expected TEXT behind its 58 bytes, not at 0"),
        ((57, 500), "HEADER: expected TEXT behind its 58 bytes, not at 57"),
        ((58, 57), "HEADER: TEXT ends at 57, before it begins at 58"),
        ((58, 99_999_999), "HEADER: TEXT ends at byte 99999999; the file has .*: it is truncated"),
        ((90_000_000, 90_000_100), "HEADER: TEXT ends at byte 90000100"),
        (("", 500), "HEADER: expected TEXT behind"),
        (("x", 500), "HEADER, bytes 10 to 17: expected an offset of TEXT, not 'x'"),
        ((58, "-1"), "HEADER, bytes 18 to 25: expected an offset of TEXT, not '-1'"),
        ((58, "1e3"), "HEADER, bytes 18 to 25: expected an offset of TEXT"),
        ((58, "\xb2\xb2"), "HEADER, bytes 18 to 25: expected an offset of TEXT"),
        ((58, 58), r"TEXT: the keyword \$[A-Z]+ is missing"),
    ],
)
def test_text_that_lies_nowhere_is_refused(place: tuple[Any, Any], pattern: str) -> None:
    refused(fcs(FLOATS, header={"text": place}), pattern)


def test_text_that_is_too_long_is_refused() -> None:
    refused(fcs(FLOATS, keywords={"VENDOR": "x" * 2**22}), r"HEADER: TEXT has \d+ bytes; at most 4194304 are read")


def test_rubbish_in_header_where_text_says_it_all_is_told() -> None:
    content = fcs(FLOATS, header={"data": ("begin", "end"), "analysis": ("none", 0)})
    told(
        content,
        FLOATS,
        "HEADER, bytes 26 to 33.* DATA",
        "HEADER, bytes 34 to 41.* DATA",
        "HEADER, bytes 42 to 49.* ANALYSIS",
    )


@pytest.mark.parametrize("place", [("x", 100), (100, "y"), ("-5", "-1"), ("1.5", "9" * 5000)])
def test_rubbish_in_text_where_header_says_it_is_told(place: tuple[Any, Any]) -> None:
    found = described(fcs(FLOATS, said={"data": place}))
    assert read(fcs(FLOATS, said={"data": place})) == FLOATS
    assert any(re.search(r"\$(BEGIN|END)DATA: expected an offset, not ", warning) for warning in found.warnings)


@pytest.mark.parametrize("huge", [10**8, 2**31, 2**63 - 1, 2**63, 2**64, 10**29, 10**30, LONG])
def test_places_beyond_every_file_are_refused(huge: int | str) -> None:
    refused(fcs(FLOATS, header={"data": (0, 0)}, said={"data": (huge, huge)}), r"DATA|\$TOT")
    refused(fcs(FLOATS, header={"data": (0, 0)}, said={"data": (300, huge)}, tot=None), r"DATA|\$TOT")
    refused(fcs(FLOATS, header={"data": (0, 0)}, said={"data": (huge, huge)}, tot=0, keywords={"$PAR": "0"}), r"\$PAR")


def test_an_analysis_segment_is_not_in_the_way() -> None:
    well(fcs(FLOATS, analysis=b"/ANY/thing/"), FLOATS)


# how many events


@pytest.mark.parametrize("byteord", ["1,2,3,4", "4,3,2,1", "2,1,4,3"])
@pytest.mark.parametrize("count", [0, 1])
def test_no_event_and_one_event_are_read(count: int, byteord: str) -> None:
    columns = [[1.5][:count], [2.5][:count]]
    assert well(fcs(columns, byteord=byteord), columns).layout.total_events == count
    integers = [[1][:count], [2][:count]]
    assert well(fcs(integers, datatype="I", bits=32, byteord=byteord), integers).layout.total_events == count
    assert described(fcs(integers, datatype="A")).layout.total_events == count


def test_no_events_at_a_place_of_their_own_are_read() -> None:
    """Some write an empty DATA as a byte less than its begin, some as its begin, some as nothing."""
    none: list[list[Value]] = [[], []]
    empty = (1000, 999)
    well(fcs(none, gap=1000, header={"data": empty}, said={"data": empty}), none)
    well(fcs(none, gap=1000, header={"data": (0, 0)}, said={"data": empty}), none)
    well(fcs(none, header={"data": (0, 0)}, said={"data": None}), none)
    assert read(fcs(none, gap=1000, header={"data": (1000, 1000)}, said={"data": (1000, 1000)})) == none


def test_without_a_count_whole_records_are_counted() -> None:
    told(fcs(FLOATS, tot=None), FLOATS, r"\$TOT is missing; the whole records of DATA are counted")
    told(fcs(FLOATS, tot=None, version="FCS2.0"), FLOATS, r"\$TOT is missing")
    told(fcs(FLOATS, tot=""), FLOATS, "TEXT has 1 empty value", r"\$TOT is missing")


@pytest.mark.parametrize("tot", ["many", "3.0", "-3", "0x3", "3e0", LONG, "３"])
def test_a_count_that_is_no_number_does_not_count(tot: str) -> None:
    told(fcs(FLOATS, tot=tot), FLOATS, r"\$TOT is .*, no number; the whole records of DATA are counted")


@pytest.mark.parametrize("tot", [0, 1, 2])
def test_a_count_that_is_too_low_gives_way_to_whole_records(tot: int) -> None:
    told(fcs(FLOATS, tot=tot), FLOATS, rf"\$TOT says {tot} events; DATA has 3 whole records, which are read")


def test_a_count_that_is_too_high_gives_way_to_whole_records() -> None:
    """It would be possible: there are bytes enough behind DATA."""
    told(fcs(FLOATS, tot=4), FLOATS, r"\$TOT says 4 events; DATA has 3 whole records, which are read")


@pytest.mark.parametrize("tot", [5, 1000, 10**9, 2**63, 10**29])
def test_a_count_that_the_file_cannot_hold_is_refused(tot: int) -> None:
    refused(fcs(FLOATS, tot=tot), rf"\$TOT: {tot} events need \d+ bytes from byte \d+ on: it is truncated")


def test_records_that_are_not_whole_are_told() -> None:
    whole = fcs(FLOATS, tot=None, stored=bytes(21))
    told(whole, [[0.0] * 2] * 2, r"\$TOT is missing", "DATA ends with 5 bytes that are no whole record")


def test_a_right_count_is_not_called_wrong_when_data_has_a_few_bytes_more() -> None:
    content = fcs(FLOATS, header={"data": longer}, said={"data": longer})
    told(content, FLOATS, "DATA ends with 5 bytes that are no whole record")


@pytest.mark.parametrize("par", ["0", "-1", "", "x", "2.0", "1e9", "99999999", LONG, None, str(MOST_PARAMETERS + 1)])
def test_a_number_of_parameters_that_is_none_is_refused(par: str | None) -> None:
    refused(fcs(FLOATS, keywords={"$PAR": par}), r"\$PAR")


def test_more_parameters_than_are_told_of_are_refused() -> None:
    refused(fcs(FLOATS, keywords={"$PAR": "3"}), r"TEXT: the keyword \$P3B is missing")
    refused(fcs(FLOATS, keywords={"$PAR": str(MOST_PARAMETERS)}), r"TEXT: the keyword \$P3B is missing")


def test_fewer_parameters_than_are_told_of_change_the_records() -> None:
    found = described(fcs(FLOATS, keywords={"$PAR": "1"}))
    assert found.layout.total_events == 6
    assert found.warnings == ("$TOT says 3 events; DATA has 6 whole records, which are read.",)


def test_a_thousand_parameters_are_read() -> None:
    columns = [[n, n + 1] for n in range(1000)]
    well(fcs(columns, datatype="I"), columns)


# truncated files


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"version": "FCS2.0"},
        {"tot": None},
        {"datatype": "I", "bits": 8},
        {"datatype": "A"},
        {"supplement": [("$P1S", "stain")]},
        {"analysis": b"/a/b/"},
        {"header": {"data": (0, 0)}},
    ],
    ids=["3.1", "2.0", "no count", "integers", "text", "supplemental", "analysis", "only TEXT"],
)
def test_a_file_cut_anywhere_is_refused_or_told(how: dict[str, Any]) -> None:
    columns = [[1, 2], [3, 4]]
    whole = written(columns, after=b"", **how)
    lower = min(len(whole.content), max(end for name, (_, end) in whole.places.items() if name != "analysis") + 1)
    for length in range(lower):
        with pytest.raises(Invalid, match=r"HEADER|TEXT|DATA|\$[A-Z]+"):
            parse(io.BytesIO(whole.content[:length]))
    for length in range(lower, len(whole.content) + 1):
        assert read(whole.content[:length]) == columns


def test_a_file_that_has_become_shorter_since_is_not_read() -> None:
    whole = written(FLOATS, after=b"")
    layout = described(whole.content).layout
    assert len(events.rows(io.BytesIO(whole.content[:-1]), layout, [0, 1], 0, 2)[0]) == 2
    for missing in (1, 24):
        cut = io.BytesIO(whole.content[:-missing])
        with pytest.raises(events.Cut):
            events.rows(cut, layout, [0, 1], 2, 1)
        with pytest.raises(events.Cut):
            list(events.columns(cut, layout, [0, 1]))


# supplemental TEXT, further data sets


@pytest.mark.parametrize("leads", [True, False], ids=["with a delimiter before", "without"])
@pytest.mark.parametrize("delimiter", ["/", "|", "\f", "\\"])
def test_supplemental_text_adds_keywords(leads: bool, delimiter: str) -> None:
    further = [("$P1S", f"CD4{delimiter}CD8"), ("$P2S", "Zeit"), ("VENDOR", "x")]
    content = fcs(FLOATS, delimiter=delimiter, supplement=further, supplement_leads=leads)
    found = well(content, FLOATS)
    assert [parameter.pns for parameter in found.parameters] == [printable(f"CD4{delimiter}CD8"), "Zeit"]
    assert parse(io.BytesIO(content)).keywords.items() >= dict(further).items()


def test_supplemental_text_may_repeat_keywords() -> None:
    further = [("$PAR", "2"), ("$tot", "3"), ("$P1S", "CD4")]
    assert well(fcs(FLOATS, supplement=further), FLOATS).parameters[0].pns == "CD4"


def test_supplemental_text_does_not_change_keywords() -> None:
    content = fcs(FLOATS, supplement=[("$PAR", "1"), ("$P1S", "CD4")])
    found = told(content, FLOATS, r"Supplemental TEXT gives \$PAR another value; that of TEXT holds")
    assert found.parameters[0].pns == "CD4"


def test_supplemental_text_may_hold_what_is_needed() -> None:
    found = well(fcs(FLOATS, keywords={"$P2N": None}, supplement=[("$P2N", "Time")]), FLOATS)
    assert found.parameters[1].pnn == "Time"


@pytest.mark.parametrize("place", [None, (0, 0), ("0", "0"), ("", "")])
def test_without_supplemental_text_nothing_is_missing(place: Any) -> None:
    assert read(fcs(FLOATS, said={"stext": place})) == FLOATS


@pytest.mark.parametrize("place", [(10**6, 10**6 + 10), (300, 10**6), (10**29, 10**29), (2**63, 2**64)])
def test_supplemental_text_out_of_the_file_is_refused(place: tuple[int, int]) -> None:
    refused(fcs(FLOATS, said={"stext": place}), r"\$BEGINSTEXT and \$ENDSTEXT: Supplemental TEXT ends at byte")


@pytest.mark.parametrize("place", [("x", "y"), (500, 300), (500, 0), (500, "z")])
def test_a_place_of_supplemental_text_that_is_none_is_told(place: tuple[Any, Any]) -> None:
    found = described(fcs(FLOATS, said={"stext": place}))
    assert read(fcs(FLOATS, said={"stext": place})) == FLOATS
    assert any(re.search(r"\$(BEGIN|END)STEXT", warning) for warning in found.warnings)


def test_supplemental_text_of_any_bytes_is_read_or_refused() -> None:
    chance = random.Random(6)
    for length in range(1, 60):
        content = fcs(FLOATS, supplement=bytes(chance.choice(b"/ab\0\xff ") for _ in range(length)))
        assert read(content) == FLOATS


def test_of_several_data_sets_the_first_is_read() -> None:
    other = fcs([[9.0]])
    first = written(FLOATS, keywords={"$NEXTDATA": "1000"})
    content = first.content.ljust(1000, b"\0") + other
    told(content, FLOATS, r"The file holds another data set at byte 1000 \(\$NEXTDATA\); the first one is read")


def test_a_further_data_set_that_is_not_there_is_told() -> None:
    content = fcs(FLOATS, keywords={"$NEXTDATA": "99999999999999999999"})
    told(content, FLOATS, r"The file says that it holds another data set at byte 99999999999999999999 \(\$NEXTDATA\)")
    told(fcs(FLOATS, keywords={"$NEXTDATA": "none"}), FLOATS, r"\$NEXTDATA: expected an offset, not 'none'")
    well(fcs(FLOATS, keywords={"$NEXTDATA": None}), FLOATS)


# parameters


def test_a_parameter_is_told_as_the_file_has_it() -> None:
    keywords = {"$P1S": "CD4 PE", "$P1G": "2.5", "$P1E": "4,1", "$TIMESTEP": "0.01", "P1DISPLAY": "LOG"}
    found = well(
        fcs([[1, 2], [3, 4]], datatype="I", ranges=[1024, 4096], names=["FL2-A", "Time"], keywords=keywords),
        [[1, 2], [3, 4]],
    )
    assert found.parameters == (
        Parameter(1, "FL2-A", "CD4 PE", 1024, "LOG", "I", 16, Amplification(4.0, 1.0), 2.5),
        Parameter(2, "Time", "Time", 4096, "LIN", "I", 16, None, None, 0.01),
    )


@pytest.mark.parametrize("label", [None, " "])
def test_a_parameter_without_a_long_name_has_its_short_one(label: str | None) -> None:
    found = well(fcs(FLOATS, names=["FSC-A", "Time"], keywords={"$P1S": label}), FLOATS)
    assert (found.parameters[0].pnn, found.parameters[0].pns) == ("FSC-A", "FSC-A")


@pytest.mark.parametrize("text", [name.encode(code) for name in ("Größe µ", "CD3 ±") for code in ("utf-8", "latin-1")])
def test_names_are_utf_8_or_latin_1(text: bytes) -> None:
    content = fcs(FLOATS, keywords={"$P1N": text, "$P1S": b"stain " + text})
    name = "Größe µ" if text.startswith(b"Gr") else "CD3 ±"
    utf_8 = text == name.encode()
    found = well(content, FLOATS) if utf_8 else told(content, FLOATS, "TEXT is not UTF-8; it is read as Latin-1")
    assert (found.parameters[0].pnn, found.parameters[0].pns) == (name, "stain " + name)


def test_names_hold_no_control_characters() -> None:
    found = described(fcs(FLOATS, keywords={"$P1N": " F\0S\nC\x1b \x7f", "$P1S": "a\u202eb"}))
    assert (found.parameters[0].pnn, found.parameters[0].pns) == ("FSC", "ab")


@pytest.mark.parametrize("name", [None, "", "  ", "\0\0", "\x01\x02", "\u200b"])
def test_a_parameter_without_a_name_gets_one(name: str | None) -> None:
    found = described(fcs(FLOATS, keywords={"$P2N": name, "$P2S": "stain"}))
    assert (found.parameters[1].pnn, found.parameters[1].pns) == ("P2", "stain")
    assert any(re.search(r"\$P2N is missing; the parameter is called P2", warning) for warning in found.warnings)


def test_names_that_come_again_are_told_apart() -> None:
    columns = [[1.0], [2.0], [3.0], [4.0], [5.0]]
    found = told(
        fcs(columns, names=["A", "A", "B", "A", "A#2"]),
        columns,
        r"\$P2N is 'A' again; it is called 'A#2' here",
        r"\$P4N is 'A' again; it is called 'A#4' here",
        r"\$P5N is 'A#2' again; it is called 'A#2#5' here",
    )
    assert [parameter.pnn for parameter in found.parameters] == ["A", "A#2", "B", "A#4", "A#2#5"]


def test_names_are_told_apart_by_case() -> None:
    found = well(fcs(FLOATS, names=["fsc", "FSC"]), FLOATS)
    assert [parameter.pnn for parameter in found.parameters] == ["fsc", "FSC"]


def test_a_name_that_is_too_long_is_refused() -> None:
    assert first(fcs(FLOATS, names=["x" * LONGEST_NAME, "y"])).pnn == "x" * LONGEST_NAME
    refused(fcs(FLOATS, names=["x", "y" * (LONGEST_NAME + 1)]), r"\$P2N: expected at most 200 characters, not 201")
    refused(fcs(FLOATS, names=["x", "y" * 10**6]), r"\$P2N: expected at most 200 characters, not 1000000")
    refused(fcs(FLOATS, keywords={"$P2S": "y" * 10**6}), r"\$P2S: expected at most 1000 characters, not 1000000")


@pytest.mark.parametrize(
    ("text", "amplification", "pattern"),
    [
        ("0,0", None, None),
        ("0.0,0.0", None, None),
        ("0,1", None, None),
        ("4,1", Amplification(4.0, 1.0), None),
        (" 4.5 , 0.01 ", Amplification(4.5, 0.01), None),
        ("4,0", Amplification(4.0, 1.0), r"\$P1E is '4,0'; its offset is taken as 1"),
        ("4,-1", Amplification(4.0, 1.0), r"\$P1E is '4,-1'; its offset is taken as 1"),
        (None, None, r"\$P1E is missing; the parameter counts as linear"),
        ("4", None, r"\$P1E: expected decades and offset, not '4'"),
        ("4,1,1", None, r"\$P1E: expected decades and offset"),
        ("x,1", None, r"\$P1E: expected decades and offset"),
        ("4,nan", None, r"\$P1E: expected decades and offset"),
        ("inf,1", None, r"\$P1E: expected decades and offset"),
        ("1e999,1", None, r"\$P1E: expected decades and offset"),
        ("-4,1", None, r"\$P1E"),
        ("9" * 5000 + ",1", None, r"\$P1E: expected decades and offset"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_amplification_is_told_and_values_stay_raw(
    text: str | None, amplification: Amplification | None, pattern: str | None
) -> None:
    content = fcs([[0, 1023]], datatype="I", keywords={"$P1E": text, "$P1G": "2"})
    found = described(content)
    assert read(content) == [[0, 1023]]
    assert found.parameters[0].amplification == amplification
    assert found.parameters[0].display == ("LOG" if amplification else "LIN")
    if pattern is None:
        assert found.warnings == ()
    else:
        assert any(re.search(pattern, warning) for warning in found.warnings), found.warnings


@pytest.mark.parametrize("datatype", ["F", "D"])
def test_floats_are_not_amplified(datatype: str) -> None:
    content = fcs([[0.5, 1e5]], datatype=datatype, keywords={"$P1E": "4,1"})
    found = told(content, [[0.5, 1e5]], r"\$P1E is '4,1' although the values are floating-point")
    assert (found.parameters[0].amplification, found.parameters[0].display) == (None, "LIN")


@pytest.mark.parametrize(
    ("keywords", "display"),
    [
        ({}, "LIN"),
        ({"P1DISPLAY": "LOG"}, "LOG"),
        ({"P1DISPLAY": "LIN"}, "LIN"),
        ({"P1DISPLAY": " log "}, "LOG"),
        ({"P1DISPLAY": "LIN", "$P1E": "4,1"}, "LIN"),
        ({"$P1E": "4,1"}, "LOG"),
        ({"$P1D": "Logarithmic,4,0.1"}, "LOG"),
        ({"$P1D": "Linear,0,1024"}, "LIN"),
        ({"$P1D": "Linear,0,1024", "$P1E": "4,1"}, "LIN"),
        ({"P1DISPLAY": "LOG", "$P1D": "Linear,0,1024"}, "LOG"),
        ({"P1DISPLAY": "LIN", "$P1D": "Logarithmic,4,0.1"}, "LIN"),
        ({"P1DISPLAY": "BIEX"}, "LIN"),
        ({"P2DISPLAY": "LOG", "$P2D": "Logarithmic,4,0.1"}, "LIN"),
    ],
    ids=str,
)
def test_how_a_parameter_is_shown_is_as_the_file_says(keywords: dict[str, str], display: str) -> None:
    found = well(fcs([[1, 2], [3, 4]], datatype="I", keywords=keywords), [[1, 2], [3, 4]])
    assert found.parameters[0].display == display


@pytest.mark.parametrize(("text", "gain"), [("1", 1.0), ("2.5", 2.5), ("1e-2", 0.01), (" 8.0 ", 8.0), (None, None)])
def test_gain_is_told_and_values_stay_raw(text: str | None, gain: float | None) -> None:
    assert well(fcs(FLOATS, keywords={"$P1G": text}), FLOATS).parameters[0].gain == gain


@pytest.mark.parametrize("text", ["x", "nan", "1,5", "inf", LONG, "1e999"])
def test_gain_that_is_no_number_is_told(text: str) -> None:
    assert told(fcs(FLOATS, keywords={"$P1G": text}), FLOATS, r"\$P1G: expected a number").parameters[0].gain is None


@pytest.mark.parametrize("name", ["Time", "TIME", "time"])
def test_a_step_of_time_is_told_with_the_time(name: str) -> None:
    found = well(fcs(FLOATS, names=["FSC-A", name], keywords={"$TIMESTEP": "0.00002"}), FLOATS)
    assert [parameter.timestep_s for parameter in found.parameters] == [None, 0.00002]
    found = well(fcs(FLOATS, names=["FSC-A", name]), FLOATS)
    assert [parameter.timestep_s for parameter in found.parameters] == [None, None]


@pytest.mark.parametrize("text", ["x", "nan", "-0.1", "0", "inf", LONG])
def test_a_step_of_time_that_is_none_is_told(text: str) -> None:
    found = told(fcs(FLOATS, names=["FSC-A", "Time"], keywords={"$TIMESTEP": text}), FLOATS, r"\$TIMESTEP")
    assert found.parameters[1].timestep_s is None


def test_keywords_are_kept_as_they_are_written() -> None:
    further = {
        "$CYT": " Aria ",
        "lower Case": "x",
        "$SPILLOVER": "2,A,B,1,0,0,1",
        "ZWEI": "größer",
        "MANY": "x" * 100_000,
    }
    found = parse(io.BytesIO(fcs(FLOATS, keywords=further, supplement=[("LATER", "y")])))
    assert found.keywords.items() >= (further | {"LATER": "y", "$PAR": "2", "$TOT": "3"}).items()
    assert list(found.keywords)[-1] == "LATER"


def test_there_is_an_end_to_warnings() -> None:
    columns = [[1.0]] * 300
    found = described(fcs(columns, keywords={f"$P{n}{what}": None for n in range(1, 301) for what in "NER"}))
    assert len(found.warnings) == MOST_WARNINGS
    assert all(len(warning) < 300 for warning in found.warnings)


# pages of events


def test_pages_are_read_alone_and_in_any_order_of_parameters() -> None:
    columns = [[float(n) for n in range(100)], [n / 2 for n in range(100)], [-1.0 * n for n in range(100)]]
    content = fcs(columns)
    layout, file = described(content).layout, io.BytesIO(content)
    for offset, limit in [(0, 1), (0, 100), (10, 20), (99, 1), (95, 10), (100, 10), (10**18, 1), (0, 10**18), (5, 0)]:
        page = events.rows(file, layout, [2, 0, 2], offset, limit)
        assert [list(column) for column in page] == [columns[place][offset : offset + limit] for place in (2, 0, 2)]
    assert events.rows(file, layout, [], 0, 10) == []


def test_columns_come_in_pieces_of_a_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = [[n % 65536 for n in range(300_000)], [n * 7 % 65536 for n in range(300_000)]]
    content = fcs(columns, datatype="I")
    layout = described(content).layout
    pieces = list(events.columns(io.BytesIO(content), layout, [1, 0]))
    assert len(pieces) > 1
    assert (
        max(len(column) * events.value_bytes(layout.columns[0]) for piece in pieces for column in piece)
        <= events.PIECE_BYTES
    )
    assert [[value for piece in pieces for value in piece[place]] for place in (0, 1)] == columns[::-1]


# the real sample

CHANNELS = ["TCRgd FITC", "CD4 PE", "CD2 ECD", "CD56 PC5.5", "CD5 PC7", "CD34 APC", "CD7 APC-A700", "CD8 APC-A750"]
CHANNELS += ["CD3 PB450", "CD45 KO525"]
SCATTER = [(name, name, 16_777_215, "LIN") for name in ("FSC-H", "FSC-A", "SSC-H", "SSC-A")]
STAINS = [
    (f"FL{n}-{what}", f"{stain}-{what}", 16_777_215, "LOG")
    for n, stain in enumerate(CHANNELS, 1)
    for what in ("H", "A")
]
REST = [("FSC-Width", "FSC-Width", 10_000, "LIN"), ("Time", "Time", 900_000_000, "LIN")]


@pytest.mark.skipif(not SAMPLE.exists(), reason="the sample is not here")
def test_the_real_sample_is_read_as_it_is() -> None:
    with SAMPLE.open("rb") as file:
        found = parse(file).description
        layout = found.layout
        first, last = (events.rows(file, layout, range(26), at, 1) for at in (0, layout.total_events - 1))
        beyond = events.rows(file, layout, range(26), layout.total_events, 1)
    told = [(p.index, p.pnn, p.pns, p.range, p.display) for p in found.parameters]
    assert told == [(n, *parameter) for n, parameter in enumerate([*SCATTER, *STAINS, *REST], 1)]
    assert (found.fcs_version, layout.total_events, found.warnings) == ("FCS3.0", 34_297, ())
    assert (layout.begin, layout.record_bytes) == (11_856, 104)
    begun = [round(column[0], 1) for column in first]
    assert begun[:6] == [86328.1, 59898.4, 69472.2, 61658.9, 370.1, 265.0]
    assert (first[25][0], last[25][0]) == (0.0, 21_184_758.0)
    assert [len(column) for column in beyond] == [0] * 26
    with SAMPLE.open("rb") as file:
        file.seek(3_578_743 - 103)
        assert [column[0] for column in last] == list(struct.unpack("<26f", file.read(104)))
