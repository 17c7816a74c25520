"""Pages of events: which, in which order, as JSON or CSV, every number as it is stored, and in how little memory."""

import asyncio
import csv
import gc
import io
import math
import os
import struct
import tracemalloc
import warnings
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import httpx2
import numpy
import pytest

from app.fcs.pages import PIECE_VALUES, Page
from app.fcs.parser import parse
from tests.accounts import Person
from tests.fcs_writer import Value, fcs
from tests.house import NOBODY, House
from tests.office import made
from tests.support import refusal
from tests.test_fcs import FCS, SAMPLE, ask, put, with_sample

MIB = 2**20
NAMES = ["FSC-A", "SSC-A", "FL1-H", "Time"]
COLUMNS = [[n + 0.5 for n in range(250)], [-1.25 * n for n in range(250)], [0.0] * 250, [float(n) for n in range(250)]]


@pytest.fixture(scope="module")
def anna(house: House) -> Person:
    """Whose the files are."""
    return house.person()


@pytest.fixture(scope="module")
def file_id(house: House, anna: Person) -> int:
    """A file of 250 events with four parameters."""
    return int(put(house, anna, fcs(COLUMNS, names=NAMES))["file_id"])


def page(house: House, who: Person, **query: str | int) -> dict[str, Any]:
    """A page as JSON, after checking that it is whole and says what was asked for."""
    answer = ask(house, who, "events", **query)
    found = made(answer, 200)
    assert answer.headers["content-type"] == "application/json"
    assert list(found) == ["total_events", "limit", "offset", "events"]
    assert (found["limit"], found["offset"]) == (query.get("limit", 100), query.get("offset", 0))
    return found


def sheet(answer: httpx2.Response) -> list[list[str]]:
    """The lines of a page as CSV."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    return [*csv.reader(io.StringIO(answer.content.decode(), newline=""), strict=True)]


def shown(columns: Sequence[Sequence[Value | None]], names: Sequence[str]) -> list[dict[str, Value | None]]:
    """The events as a page tells them."""
    return [dict(zip(names, event, strict=True)) for event in zip(*columns, strict=True)]


def told(house: House, who: Person, content: bytes, **query: str | int) -> list[list[Value | None]]:
    """The events of a new file, each a list of its values."""
    found = page(house, who, file_id=put(house, who, content)["file_id"], **query)
    return [[*event.values()] for event in found["events"]]


@with_sample
def test_the_first_and_the_last_event_of_the_sample(house: House) -> None:
    kim = house.person()
    put(house, kim, SAMPLE.read_bytes())
    (first,) = page(house, kim, limit=1)["events"]
    assert len(first) == 26
    assert [first[name] for name in ("FSC-H", "FSC-A", "SSC-H", "SSC-A", "FL1-H", "FL1-A")] == pytest.approx(
        [86328.1, 59898.4, 69472.2, 61658.9, 370.1, 265.0], abs=0.051
    )
    assert first["Time"] == 0
    (last,) = page(house, kim, limit=10, offset=34_296)["events"]
    assert last["Time"] == 21_184_758
    stored = numpy.frombuffer(SAMPLE.read_bytes(), "<f4", 34_297 * 26, 11_856).reshape(-1, 26)
    assert [*first.values()] == stored[0].tolist()
    assert [*last.values()] == stored[-1].tolist()


@with_sample
@pytest.mark.slow
@pytest.mark.parametrize("format", ["json", "csv"])
def test_the_pages_of_the_sample_are_the_sample(house: House, format: str) -> None:
    kim = house.person()
    put(house, kim, SAMPLE.read_bytes())
    found: list[list[float]] = []
    for offset in range(0, 40_000, 10_000):
        query: dict[str, str | int] = {"limit": 10_000, "offset": offset}
        if format == "json":
            found += [[*event.values()] for event in page(house, kim, **query)["events"]]
        else:
            lines = sheet(ask(house, kim, "events", format="csv", **query))
            found += [[float(value) for value in line] for line in lines[1:]]
    stored = numpy.frombuffer(SAMPLE.read_bytes(), "<f4", 34_297 * 26, 11_856).reshape(-1, 26)
    assert numpy.array_equal(numpy.array(found), stored)


def test_a_page_is_the_first_hundred_events_unless_asked_otherwise(house: House, anna: Person, file_id: int) -> None:
    found = page(house, anna, file_id=file_id)
    assert found == {
        "total_events": 250,
        "limit": 100,
        "offset": 0,
        "events": shown([column[:100] for column in COLUMNS], NAMES),
    }
    lines = sheet(ask(house, anna, "events", file_id=file_id, format="csv"))
    assert lines[0] == NAMES
    assert [[float(value) for value in line] for line in lines[1:]] == [
        [*event] for event in zip(*(column[:100] for column in COLUMNS), strict=True)
    ]


PLACES = [(1, 0), (1, 249), (10_000, 0), (250, 0), (10_000, 249), (100, 200), (7, 13)]
BEYOND = [(100, 250), (1, 251), (10_000, 10**6), (1, 10**18 - 1)]


@pytest.mark.parametrize(("limit", "offset"), [*PLACES, *BEYOND])
def test_a_page_begins_and_ends_where_it_was_asked_to(
    house: House, anna: Person, file_id: int, limit: int, offset: int
) -> None:
    """Behind the end there is nothing, which is no fault."""
    expected = shown([column[offset : offset + limit] for column in COLUMNS], NAMES)
    found = page(house, anna, file_id=file_id, limit=limit, offset=offset)
    assert (found["total_events"], found["events"]) == (250, expected)
    lines = sheet(ask(house, anna, "events", file_id=file_id, limit=limit, offset=offset, format="csv"))
    assert (lines[0], len(lines) - 1) == (NAMES, len(expected))
    assert len(expected) == (0 if (limit, offset) in BEYOND else min(limit, 250 - offset))


BAD = [
    *(("limit", value) for value in ("0", "10001", "-1", "1.5", "x", "", "9" * 40, "null")),
    *(("offset", value) for value in ("-1", "1.5", "x", "", str(10**18), "9" * 40)),
    *(("format", value) for value in ("xml", "", "JSON")),
    *(("file_id", value) for value in ("0", "-1", "x", "", "1.5", str(10**18))),
    *(("parameters", value) for value in ("", "x" * 20_001)),
    ("columns", "FSC-A"),
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=[f"{name}={value[:20]}" for name, value in BAD])
def test_what_cannot_be_asked_for_is_refused_by_name(
    house: House, anna: Person, file_id: int, name: str, value: str
) -> None:
    query: dict[str, str | int] = {"file_id": file_id, name: value}
    document = refusal(ask(house, anna, "events", **query), 400, "VALIDATION_ERROR")
    assert [error["field"] for error in document["errors"]] == [name]


def test_nothing_is_asked_for_twice(house: House, anna: Person) -> None:
    for name, value in (("limit", "1"), ("parameters", "Time"), ("file_id", "1")):
        answer = house.client.get(f"{FCS}/events?{name}={value}&{name}={value}", headers=anna.headers)
        assert refusal(answer, 400)["errors"][0] == {"field": name, "message": "given more than once"}


WANTED = {
    "Time": ["Time"],
    "FSC-A,Time": ["FSC-A", "Time"],
    "Time,FSC-A": ["Time", "FSC-A"],
    "Time,FL1-H,SSC-A,FSC-A": ["Time", "FL1-H", "SSC-A", "FSC-A"],
    "time,fsc-a": ["Time", "FSC-A"],
    " Time , SSC-A ": ["Time", "SSC-A"],
    "4,1": ["Time", "FSC-A"],
    "2,time,FSC-a": ["SSC-A", "Time", "FSC-A"],
    "004": ["Time"],
}


@pytest.mark.parametrize("format", ["json", "csv"])
@pytest.mark.parametrize("wanted", WANTED)
def test_some_parameters_come_in_the_order_in_which_they_are_asked_for(
    house: House, anna: Person, file_id: int, wanted: str, format: str
) -> None:
    """By their names as the file has them, however they are written, or by their numbers."""
    columns = [COLUMNS[NAMES.index(name)][10:13] for name in WANTED[wanted]]
    query: dict[str, str | int] = {"file_id": file_id, "parameters": wanted, "limit": 3, "offset": 10}
    if format == "json":
        events = page(house, anna, **query)["events"]
        assert (events, list(events[0])) == (shown(columns, WANTED[wanted]), WANTED[wanted])
    else:
        lines = sheet(ask(house, anna, "events", format="csv", **query))
        assert lines[0] == WANTED[wanted]
        assert [[float(value) for value in line] for line in lines[1:]] == [
            [*event] for event in zip(*columns, strict=True)
        ]


@pytest.mark.parametrize("wanted", ["FL9-A", "FSC-A,FL9-A", "FSC-A,,Time", "FSC-A,", ",", "0", "5", "-1", "FSC-A;Time"])
def test_an_unknown_parameter_is_refused_with_those_that_there_are(
    house: House, anna: Person, file_id: int, wanted: str
) -> None:
    answer = ask(house, anna, "events", file_id=file_id, parameters=wanted)
    (error,) = refusal(answer, 400, "VALIDATION_ERROR")["errors"]
    unknown = next(name for name in wanted.split(",") if name not in NAMES)
    assert error == {
        "field": "parameters",
        "message": f"there is no parameter {unknown!r}; there are FSC-A, SSC-A, FL1-H, Time",
    }


def test_of_many_parameters_some_are_named_where_one_is_unknown(house: House, anna: Person) -> None:
    file_id = put(house, anna, fcs([[1.0]] * 30))["file_id"]
    answer = ask(house, anna, "events", file_id=file_id, parameters="y" * 10_000)
    (error,) = refusal(answer, 400, "VALIDATION_ERROR")["errors"]
    assert error["message"].endswith("; there are " + ", ".join(f"P{n}" for n in range(1, 21)) + ", …")
    assert len(error["message"]) < 300


@pytest.mark.parametrize("wanted", ["Time,Time", "Time,time", "Time,4", "4,004", "FSC-A,Time,1", "1," * 300 + "1"])
def test_a_parameter_is_asked_for_once(house: House, anna: Person, file_id: int, wanted: str) -> None:
    answer = ask(house, anna, "events", file_id=file_id, parameters=wanted)
    (error,) = refusal(answer, 400, "VALIDATION_ERROR")["errors"]
    assert error == {"field": "parameters", "message": "a parameter is given more than once"}


def test_a_name_comes_before_a_number_and_its_case_counts_where_it_must(house: House, anna: Person) -> None:
    file_id = put(house, anna, fcs([[1.0], [2.0], [3.0], [4.0]], names=["2", "a", "A", "x,y"]))["file_id"]
    for wanted, names in (("2", ["2"]), ("a,A", ["a", "A"]), ("A", ["A"]), ("4", ["x,y"]), ("3,1", ["A", "2"])):
        (event,) = page(house, anna, file_id=file_id, parameters=wanted)["events"]
        assert list(event) == names
    assert page(house, anna, file_id=file_id)["events"] == [{"2": 1.0, "a": 2.0, "A": 3.0, "x,y": 4.0}]


HEADINGS = {
    "FSC-A": "FSC-A",
    "a,b": "a,b",
    'say "x"': 'say "x"',
    "µ Größe 細胞": "µ Größe 細胞",
    "=1+1": "'=1+1",
    "+1": "'+1",
    "-A": "'-A",
    "@SUM(A1)": "'@SUM(A1)",
    "＝1": "'＝1",
    '=HYPERLINK("http://x","y")': '\'=HYPERLINK("http://x","y")',
    "'quoted": "'quoted",
    "{}": "{}",
}


def test_the_heading_of_a_sheet_is_quoted_and_no_spreadsheet_runs_it(house: House, anna: Person) -> None:
    content = fcs([[-1.5]] * len(HEADINGS), names=[*HEADINGS], delimiter="|")
    query: dict[str, str | int] = {"file_id": put(house, anna, content)["file_id"]}
    answer = ask(house, anna, "events", format="csv", **query)
    assert sheet(answer) == [[*HEADINGS.values()], ["-1.5"] * len(HEADINGS)]
    assert answer.content.count(b"\r\n") == 2
    assert list(page(house, anna, **query)["events"][0]) == [*HEADINGS]


@pytest.mark.parametrize(("datatype", "bits"), [("F", 32), ("D", 64), ("A", 24), ("A", "*")])
def test_what_is_no_number_is_null_in_json_and_empty_in_a_sheet(
    house: House, anna: Person, datatype: str, bits: int | str
) -> None:
    columns = [[math.nan, 1.0, math.inf, -math.inf], [1.5, math.nan, 2.5, -0.5]]
    content = fcs(columns, datatype=datatype, bits=bits)
    expected = [[None, 1.5], [1.0, None], [None, 2.5], [None, -0.5]]
    assert told(house, anna, content) == expected
    lines = sheet(ask(house, anna, "events", format="csv"))
    assert lines[1:] == [["" if value is None else repr(value) for value in event] for event in expected]


WIDTHS = {8: [0, 127, 128, 255], 16: [0, 1, 2**15, 2**16 - 1], 24: [0, 2**23, 2**24 - 1, 5]}
WIDTHS |= {32: [0, 2**31, 2**32 - 1, 7], 40: [2**40 - 1, 1, 2**39, 2**32], 64: [2**64 - 1, 2**53 + 1, 2**63, 0]}


@pytest.mark.parametrize("byteord", ["1,2,3,4", "4,3,2,1"])
def test_integers_of_every_width_in_one_file_are_exact(house: House, anna: Person, byteord: str) -> None:
    content = fcs([*WIDTHS.values()], datatype="I", bits=[*WIDTHS], byteord=byteord)
    expected = [[*event] for event in zip(*WIDTHS.values(), strict=True)]
    found = told(house, anna, content)
    assert (found, {type(value) for event in found for value in event}) == (expected, {int})
    answer = ask(house, anna, "events")
    assert b":18446744073709551615}" in answer.content
    lines = sheet(ask(house, anna, "events", format="csv"))
    assert lines[1:] == [[str(value) for value in event] for event in expected]


def test_types_and_widths_may_be_mixed_since_3_2(house: House, anna: Person) -> None:
    columns: list[list[Value]] = [[1, 2**24 - 1], [1.5, -2.5], [math.pi, 1e300], [2**64 - 1, 0]]
    content = fcs(columns, version="FCS3.2", types="IFDI", bits=[24, 32, 64, 64])
    assert told(house, anna, content) == [[*event] for event in zip(*columns, strict=True)]


def test_only_the_bits_within_the_range_of_an_integer_are_told(house: House, anna: Person) -> None:
    content = fcs([[0xFFFF, 0x1401]], datatype="I", bits=16, ranges=1024)
    assert told(house, anna, content) == [[1023], [1]]


def test_floats_are_told_with_every_digit(house: House, anna: Person) -> None:
    random = Random(1)
    singles = [struct.unpack("<f", struct.pack("<I", random.getrandbits(32) & 0xFF7F_FFFF))[0] for _ in range(500)]
    doubles = [math.ldexp(random.uniform(-1, 1), random.randint(-1000, 1000)) for _ in range(500)]
    extremes = [5e-324, -5e-324, 1.7976931348623157e308, 2.2250738585072014e-308]
    assert told(house, anna, fcs([singles]), limit=500) == [[value] for value in singles]
    doubles += extremes
    assert told(house, anna, fcs([doubles], datatype="D"), limit=504) == [[value] for value in doubles]
    lines = sheet(ask(house, anna, "events", format="csv", limit=504))
    assert [float(value) for (value,) in lines[1:]] == doubles


def test_a_file_without_events_has_an_empty_page(house: House, anna: Person) -> None:
    file_id = put(house, anna, fcs([[], []]))["file_id"]
    assert page(house, anna, file_id=file_id) == {"total_events": 0, "limit": 100, "offset": 0, "events": []}
    assert sheet(ask(house, anna, "events", file_id=file_id, format="csv")) == [["P1", "P2"]]


KINDS: dict[str, dict[str, Any]] = {
    "floats": {},
    "doubles, the most significant byte first": {"datatype": "D", "byteord": "4,3,2,1"},
    "integers of mixed widths": {"datatype": "I", "bits": [8, 24, 32]},
    "text of fixed places": {"datatype": "A", "bits": 12},
    "text without places": {"datatype": "A", "bits": "*"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [1000, 333, 7])
def test_the_pages_of_a_file_put_together_are_the_file(house: House, anna: Person, kind: str, limit: int) -> None:
    count = 1000 if limit > 7 else 60
    columns: list[list[Value]] = [[(n * 7 + k) % 251 for n in range(count)] for k in range(3)]
    if "integers" not in kind:
        columns = [[value / 4 for value in column] for column in columns]
    file_id = put(house, anna, fcs(columns, **KINDS[kind]))["file_id"]
    found: list[dict[str, Any]] = []
    while len(found) < count:
        events = page(house, anna, file_id=file_id, limit=limit, offset=len(found))["events"]
        assert len(events) == min(limit, count - len(found))
        found += events
    assert found == shown(columns, ["P1", "P2", "P3"])
    assert page(house, anna, file_id=file_id, limit=limit, offset=count)["events"] == []


def test_a_page_comes_at_once_or_in_pieces_and_is_the_same(house: House, anna: Person) -> None:
    """However many values it has: one less than is told at once, as many, one more."""
    count = 10_000
    file_id = put(house, anna, fcs([[]] * 4, stored=_floats(count, 4).tobytes(), tot=count))["file_id"]
    for places in range(1, 5):
        wanted = ",".join(f"P{n}" for n in range(places, 0, -1))
        expected = _floats(count, 4)[:, :places][:, ::-1]
        for limit in {PIECE_VALUES // places + more for more in (-1, 0, 1)} & {*range(count + 1)} | {count}:
            answer = ask(house, anna, "events", file_id=file_id, parameters=wanted, limit=limit)
            assert ("content-length" in answer.headers) == (limit * places <= PIECE_VALUES)
            found = [[*event.values()] for event in made(answer, 200)["events"]]
            assert numpy.array_equal(numpy.array(found), expected[:limit])


def _floats(events: int, parameters: int) -> Any:
    return numpy.arange(events * parameters, dtype="<f4").reshape(events, parameters)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["json", "csv"])
def test_the_longest_page_of_many_parameters_is_whole(house: House, anna: Person, format: str) -> None:
    events, parameters = 10_000, 60
    stored = _floats(events, parameters)
    file_id = put(house, anna, fcs([[]] * parameters, stored=stored.tobytes(), tot=events))["file_id"]
    query: dict[str, str | int] = {"file_id": file_id, "limit": 10_000, "format": format}
    answer = ask(house, anna, "events", **query)
    assert "content-length" not in answer.headers
    if format == "json":
        found = [[*event.values()] for event in made(answer, 200)["events"]]
    else:
        found = [[float(value) for value in line] for line in sheet(answer)[1:]]
    assert numpy.array_equal(numpy.array(found), stored)


def test_head_answers_as_get_does_without_the_page(house: House, anna: Person, file_id: int) -> None:
    for format, kind in (("json", "application/json"), ("csv", "text/csv; charset=utf-8; header=present")):
        path = f"{FCS}/events?file_id={file_id}&format={format}"
        answer = house.client.head(path, headers=anna.headers)
        assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"", kind)
    assert house.client.head(f"{FCS}/events?file_id={file_id}&limit=0", headers=anna.headers).status_code == 400
    assert house.client.head(f"{FCS}/events?parameters=none&file_id={file_id}", headers=anna.headers).status_code == 400
    assert house.client.head(f"{FCS}/events?file_id={10**17}", headers=anna.headers).status_code == 404
    assert house.client.head(f"{FCS}/events?file_id={file_id}", headers=NOBODY).status_code == 401


def open_files(house: House) -> list[str]:
    """The blobs that this process has open."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:
            continue
    return [path for path in found if path.startswith(str(house.config.data_dir / "blobs"))]


def test_who_leaves_in_the_middle_of_a_page_leaves_no_file_open(house: House, anna: Person) -> None:
    events, parameters = 10_000, 8
    content = fcs([[]] * parameters, stored=_floats(events, parameters).tobytes(), tot=events)
    file_id = put(house, anna, content)["file_id"]
    left: list[Any] = []

    async def call() -> None:
        gone = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            left.append(message)
            if message["type"] == "http.response.body":
                gone.set()
                await asyncio.Event().wait()  # a client that takes no more

        scope = {"type": "http", "http_version": "1.1", "scheme": "http", "server": ("testserver", 80)}
        scope |= {"client": ("127.0.0.1", 50000), "method": "GET", "path": f"{FCS}/events", "root_path": ""}
        query = f"limit=10000&file_id={file_id}".encode()
        headers = [(b"authorization", anna.headers["Authorization"].encode())]
        await house.app(scope | {"query_string": query, "headers": headers}, receive, send)

    assert house.client.portal is not None
    house.client.portal.call(call)
    still = open_files(house)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()  # were it left open, it would be told again in a test that has nothing to do with it
    assert [message["type"] for message in left] == ["http.response.start", "http.response.body"]
    assert still == []


class Watched(io.BytesIO):
    """A file that notes which of its bytes are read."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.seen: list[tuple[int, int]] = []

    def read(self, size: int | None = -1, /) -> bytes:
        begin = self.tell()
        found = super().read(size)
        self.seen.append((begin, len(found)))
        return found


@pytest.mark.parametrize("offset", [0, 12_345, 99_990])
def test_of_a_file_only_the_page_is_read(offset: int) -> None:
    parameters, events = 3, 100_000
    file = Watched(fcs([[]] * parameters, stored=_floats(events, parameters).tobytes(), tot=events))
    described = parse(file).description
    file.seen.clear()
    names = [parameter.pnn for parameter in described.parameters]
    b"".join(Page(described.layout, names, range(parameters), offset, 10, "json").pieces(file))
    assert file.seen == [(described.layout.begin + offset * 4 * parameters, 10 * 4 * parameters)]


def peak_bytes(path: Path, places: Sequence[int], limit: int) -> int:
    """How much memory a page takes at most while it is told piece by piece."""
    with path.open("rb", buffering=0) as file:
        described = parse(file).description
        names = [described.parameters[place].pnn for place in places]
        tracemalloc.start()
        try:
            for _ in Page(described.layout, names, places, 0, limit, "json").pieces(file):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


def test_a_page_of_many_parameters_takes_little_memory(tmp_path: Path) -> None:
    path, events, parameters = tmp_path / "a.fcs", 1000, 256
    path.write_bytes(fcs([[]] * parameters, stored=bytes(4 * events * parameters), tot=events))
    assert peak_bytes(path, range(parameters), events) < 6 * MIB


def test_a_page_of_few_parameters_out_of_many_takes_little_memory(tmp_path: Path) -> None:
    """Not the whole of the events between which the values lie."""
    path, events, parameters = tmp_path / "a.fcs", 2000, 4096
    path.write_bytes(fcs([[]] * parameters, stored=bytes(4 * events * parameters), tot=events))
    assert path.stat().st_size > 31 * MIB
    assert peak_bytes(path, [17], events) < 6 * MIB


def test_a_page_of_numbers_without_places_takes_little_memory(tmp_path: Path) -> None:
    path, events = tmp_path / "a.fcs", 80_000
    path.write_bytes(fcs([[]] * 5, datatype="A", bits="*", stored=b"12.5 " * 5 * events, tot=events))
    assert peak_bytes(path, range(5), 1000) < 16 * MIB
