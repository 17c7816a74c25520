"""FlowIO, a reader of FCS files that is not ours, finds the same in well-formed files: names, keywords, numbers."""

import io
import struct
from collections.abc import Sequence
from typing import Any

import flowio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.fcs import events
from app.fcs.parser import parse
from tests.fcs_writer import Value, fcs
from tests.test_fcs_parser import FLOATS, SAMPLE, same


def agreed(content: bytes) -> list[list[Value]]:
    """The values, a list for each parameter, once both readers have found the same in a file."""
    theirs = flowio.FlowData(io.BytesIO(content))
    parsed = parse(io.BytesIO(content))
    ours, count = parsed.description, len(parsed.description.parameters)
    assert ours.fcs_version == "FCS" + theirs.version
    assert (ours.layout.total_events, count) == (theirs.event_count, theirs.channel_count)
    assert [parameter.pnn for parameter in ours.parameters] == theirs.pnn_labels
    assert [parameter.pns for parameter in ours.parameters] == [
        label or name for label, name in zip(theirs.pns_labels, theirs.pnn_labels, strict=True)
    ]
    assert [parameter.range for parameter in ours.parameters] == theirs.pnr_values
    assert [parameter.gain or 1.0 for parameter in ours.parameters if parameter.pnn.upper() != "TIME"] == [
        theirs.channels[n]["png"] for n, name in enumerate(theirs.pnn_labels, 1) if name.upper() != "TIME"
    ]
    for n, parameter in enumerate(ours.parameters, 1):
        if parameter.amplification is not None:
            assert (parameter.amplification.decades, parameter.amplification.offset) == theirs.channels[n]["pne"]
    keywords = {keyword.lower().replace("$", ""): value.replace("$", "") for keyword, value in parsed.keywords.items()}
    assert keywords == theirs.text
    found = events.rows(io.BytesIO(content), ours.layout, range(count), 0, ours.layout.total_events)
    columns = [list(column) for column in found]
    raw = list(theirs.events)
    assert same(columns, [raw[place::count] for place in range(count)])
    return columns


VERSIONS = ["FCS2.0", "FCS3.0", "FCS3.1"]
ORDERS = ["1,2,3,4", "4,3,2,1"]


@pytest.mark.parametrize("byteord", [*ORDERS, "1,2", "2,1"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("datatype", ["F", "D"])
def test_floats_are_the_same(version: str, datatype: str, byteord: str) -> None:
    content = fcs(FLOATS, version=version, datatype=datatype, byteord=byteord, names=["FSC-A", "Time"])
    assert agreed(content) == FLOATS


@pytest.mark.parametrize("byteord", ORDERS)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("bits", [8, 16, 32])
def test_integers_are_the_same(version: str, bits: int, byteord: str) -> None:
    most = 2**bits - 1
    columns = [[0, most, most // 3], [1, most - 1, 100]]
    assert agreed(fcs(columns, version=version, datatype="I", bits=bits, byteord=byteord)) == columns


@pytest.mark.parametrize("byteord", ORDERS)
@pytest.mark.parametrize("span", [64, 100, 128, 200, 250])
@pytest.mark.parametrize("bits", [8, 16, 32, [8, 16, 32], [32, 8, 16]], ids=str)
def test_the_bits_that_count_are_the_same(bits: Any, span: int, byteord: str) -> None:
    columns = [[0, 255, 170], [85, 127, 128], [99, 100, 201]]
    agreed(fcs(columns, datatype="I", bits=bits, byteord=byteord, ranges=[span, 256, 2]))


@pytest.mark.parametrize("delimiter", ["/", "|", "\\", "\f", "\x1e", "!", ",", "\t", "@", "*"])
def test_the_delimiter_makes_no_difference(delimiter: str) -> None:
    names = ["FSC-A", "Größe"]
    assert agreed(fcs(FLOATS, delimiter=delimiter, names=names)) == FLOATS


@pytest.mark.parametrize("delimiter", ["/", "\f", "!"])
def test_doubled_delimiters_are_the_same(delimiter: str) -> None:
    keywords = {"VENDOR": f"a{delimiter}b{delimiter}c", "$CYT": f"Größe{delimiter}µ"}
    keywords |= {"$P1S": f"CD4{delimiter}CD8"} if delimiter.isprintable() else {}
    assert agreed(fcs(FLOATS, delimiter=delimiter, keywords=keywords)) == FLOATS


def test_what_is_said_of_parameters_is_the_same() -> None:
    keywords = {"$P1S": "CD4 PE", "$P1G": "2.5", "$P1E": "4,1", "$P2E": "4.5,0.01", "$TIMESTEP": "0.01"}
    agreed(fcs([[1, 2], [3, 4]], datatype="I", ranges=1024, names=["FL1", "FL2"], keywords=keywords))


def test_segments_may_lie_apart() -> None:
    assert agreed(fcs(FLOATS, text_at=256, gap=1000)) == FLOATS
    assert agreed(fcs(FLOATS, text_at=100, after=b"")) == FLOATS


def test_latin_1_is_the_same() -> None:
    agreed(fcs(FLOATS, keywords={"$P1S": "Größe µ".encode("latin-1")}))


FLOAT_VALUES = st.lists(st.floats(width=32), min_size=12, max_size=12)


@settings(max_examples=60, derandomize=True)
@given(
    values=FLOAT_VALUES,
    par=st.sampled_from([1, 2, 3, 4, 6, 12]),
    datatype=st.sampled_from("FD"),
    byteord=st.sampled_from(ORDERS),
    version=st.sampled_from(VERSIONS),
)
def test_any_floats_are_the_same(values: list[float], par: int, datatype: str, byteord: str, version: str) -> None:
    columns = [values[place::par] for place in range(par)]
    assert same(agreed(fcs(columns, datatype=datatype, byteord=byteord, version=version)), columns)


@settings(max_examples=100, derandomize=True)
@given(
    widths=st.lists(st.sampled_from([8, 16, 32]), min_size=1, max_size=5),
    stored=st.binary(min_size=0, max_size=60),
    spans=st.lists(st.integers(2, 2**32), min_size=5, max_size=5),
    byteord=st.sampled_from(ORDERS),
)
def test_any_integers_are_the_same(widths: list[int], stored: bytes, spans: list[int], byteord: str) -> None:
    record = sum(widths) // 8
    whole = stored[: len(stored) // record * record] or bytes(record)
    ranges = [min(span, 2**bits) for span, bits in zip(spans, widths, strict=False)]
    count = len(whole) // record
    columns: Sequence[Sequence[Value]] = [[0] * count for _ in widths]
    agreed(fcs(columns, datatype="I", bits=widths, stored=whole, ranges=ranges, byteord=byteord))


@pytest.mark.skipif(not SAMPLE.exists(), reason="the sample is not here")
def test_the_real_sample_is_the_same() -> None:
    with SAMPLE.open("rb") as file:
        content = file.read()
    columns = agreed(content)
    assert [len(column) for column in columns] == [34_297] * 26
    assert struct.pack("<26f", *(column[-1] for column in columns)) == content[3_578_743 - 103 : 3_578_744]
