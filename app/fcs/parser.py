"""Reads what an FCS file says of itself: a seekable file becomes a Description and keywords. Its events stay there.

The standards: FCS 2.0 (Cytometry 11:323), 3.0 (Cytometry 28:118), 3.1 (Cytometry A 77A:97), 3.2 (Cytometry A 99:100).
What does not hold is refused with Invalid, which says where and what was expected; what can be read in one way only
although it is not as it should be is read, and told in `warnings`. Of a file of any length HEADER and TEXT are read.
"""

import math
import re
from typing import IO, NoReturn, cast

import msgspec

from app.errors import Invalid
from app.fcs.events import count_numbers
from app.fcs.layout import Amplification, Column, Datatype, Description, Display, Layout, Parameter
from app.fcs.text import Malformed, pairs, told

VERSION = 1
"""Raised whenever another reading of the same bytes becomes possible: what was computed before is computed again."""

MOST_TEXT_BYTES = 4 * 2**20
MOST_DELIMITED_BYTES = 4 * 2**20
"""Numbers without fixed places are counted before they are read."""
MOST_PARAMETERS = 4096
MOST_WARNINGS = 50
LONGEST_NAME = 200
_HEADER_BYTES = 58
_VERSIONS = ("FCS2.0", "FCS3.0", "FCS3.1", "FCS3.2")
_IN_TEXT = 99_999_999
"""What HEADER cannot say, or says with this number, TEXT does (FCS 3.1, 3.1)."""
_FLOAT = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?")
_WHOLE = re.compile(r"\+?[0-9]{1,30}")
_OFFSETS = ("TEXT", "DATA", "ANALYSIS")


class Parsed(msgspec.Struct, frozen=True):
    """A data set: what it is, and all its keywords as they are written, with their values."""

    description: Description
    keywords: dict[str, str]


class _Segment(msgspec.Struct, frozen=True):
    """The first byte of a segment and its last, and who says so."""

    said_by: str
    begin: int
    end: int

    def __str__(self) -> str:
        return f"{self.said_by} ({self.begin} to {self.end})"


def parse(file: IO[bytes]) -> Parsed:
    """The first data set of a file; Invalid where it is none, or cannot be read without a guess."""
    return _Parser(file).parsed()


def refused(where: str, why: str) -> Invalid:
    """The refusal of a file: where in it, and why."""
    return Invalid.field("/file", f"{where}: {why}")


class _Parser:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._size = file.seek(0, 2)
        self._warnings: list[str] = []
        self._keywords: dict[str, str] = {}
        """By name in capitals."""

    def parsed(self) -> Parsed:
        version, segments = self._header()
        written = self._text(segments["TEXT"])
        self._keywords = {keyword.upper(): value for keyword, value in written}
        self._supplement(segments["TEXT"], written)
        self._next_data_set()
        mode = self._value("$MODE", "L").upper()
        if mode != "L":
            raise refused("$MODE", f"expected L, a list of events, not {_shown(mode)}")
        datatype = self._datatype("$DATATYPE")
        count = self._count("$PAR", 1, MOST_PARAMETERS)
        types = [self._datatype(f"$P{n}DATATYPE", datatype) if version == "FCS3.2" else datatype for n in _upto(count)]
        columns, record_bytes = self._columns(types)
        parameters = tuple(self._parameter(n, types[n - 1], columns[n - 1]) for n in _upto(count))
        begin, data_bytes, events = self._data(segments["DATA"], segments["TEXT"], record_bytes, count)
        if "A" in types:
            self._warn("$DATATYPE A is out of use; what is no number counts as missing.")
        layout = Layout(begin, data_bytes, events, record_bytes, tuple(columns))
        described = Description(version, self._distinct(parameters), layout, tuple(self._warnings))
        return Parsed(described, dict(written))

    # HEADER

    def _header(self) -> tuple[str, dict[str, _Segment]]:
        header = self._bytes(0, _HEADER_BYTES)
        version = header[:6].decode("latin-1")
        if version not in _VERSIONS:
            raise refused("HEADER, bytes 0 to 5", f"expected {', '.join(_VERSIONS)}, not {_shown(version)}")
        if len(header) < _HEADER_BYTES:
            raise refused("HEADER", f"expected {_HEADER_BYTES} bytes; the file has {self._size}")
        segments = {}
        for number, name in enumerate(_OFFSETS):
            begin, end = (self._offset(header, 10 + 16 * number + 8 * half, name) for half in (0, 1))
            segments[name] = _Segment("HEADER", begin, end)
        return version, segments

    def _offset(self, header: bytes, at: int, name: str) -> int:
        text = header[at : at + 8].decode("latin-1").strip(" \0")
        if re.fullmatch(r"[0-9]{1,8}", text):
            return int(text)
        if text and name == "TEXT":
            raise refused(f"HEADER, bytes {at} to {at + 7}", f"expected an offset of {name}, not {_shown(text)}")
        if text:
            self._warn(f"HEADER, bytes {at} to {at + 7}: expected an offset of {name}, not {_shown(text)}.")
        return 0

    # TEXT

    def _text(self, segment: _Segment) -> list[tuple[str, str]]:
        if segment.begin < _HEADER_BYTES:
            raise refused("HEADER", f"expected TEXT behind its {_HEADER_BYTES} bytes, not at {segment.begin}")
        raw = self._segment("TEXT", segment)
        delimiter = raw[:1]
        if not 1 <= delimiter[0] <= 126:
            raise refused(f"TEXT, byte {segment.begin}", f"expected a delimiter from 1 to 126, not {delimiter[0]}")
        ended = raw.endswith(delimiter) or raw.rstrip(b" \r\n\t\0").endswith(delimiter)
        if not ended and self._bytes(segment.end + 1, 1) == delimiter:
            raw += delimiter
            self._warn(f"TEXT ends a byte later than HEADER says, at {segment.end + 1}.")
        return self._pairs(raw[1:], delimiter, "TEXT")

    def _pairs(self, raw: bytes, delimiter: bytes, where: str) -> list[tuple[str, str]]:
        try:
            return pairs(raw, delimiter, self._warn)
        except Malformed as error:
            raise refused(where, str(error)) from None

    def _supplement(self, text: _Segment, written: list[tuple[str, str]]) -> None:
        """Adds the keywords of the supplemental TEXT segment, which FCS 3.0 has for what HEADER cannot reach."""
        begin, end = self._place("$BEGINSTEXT"), self._place("$ENDSTEXT")
        segment = _Segment("$BEGINSTEXT and $ENDSTEXT", begin, end)
        if not (begin or end) or (begin, end) == (text.begin, text.end):
            return
        if not begin or end < begin:
            self._warn(f"{segment} are no place of supplemental TEXT.")
            return
        delimiter = self._bytes(text.begin, 1)
        raw = self._segment("Supplemental TEXT", segment)
        for keyword, value in self._pairs(raw.removeprefix(delimiter), delimiter, "Supplemental TEXT"):
            name = keyword.upper()
            if name not in self._keywords:
                self._keywords[name] = value
                written.append((keyword, value))
            elif self._keywords[name] != value:
                self._warn(f"Supplemental TEXT gives {told({name})} another value; that of TEXT holds.")

    def _segment(self, name: str, segment: _Segment) -> bytes:
        length = segment.end - segment.begin + 1
        if segment.end < segment.begin:
            raise refused(segment.said_by, f"{name} ends at {segment.end}, before it begins at {segment.begin}")
        if segment.end >= self._size:
            raise refused(
                segment.said_by, f"{name} ends at byte {segment.end}; the file has {self._size}: it is truncated"
            )
        if length > MOST_TEXT_BYTES:
            raise refused(segment.said_by, f"{name} has {length} bytes; at most {MOST_TEXT_BYTES} are read")
        return self._bytes(segment.begin, length)

    # keywords

    def _value(self, name: str, otherwise: str | None = None) -> str:
        value = self._keywords.get(name, "").strip(" \t\r\n\0")
        if value:
            return value
        if otherwise is None:
            raise refused("TEXT", f"the keyword {name} is missing")
        return otherwise

    def _count(self, name: str, least: int, most: int) -> int:
        text = self._value(name)
        if not _WHOLE.fullmatch(text) or not least <= int(text) <= most:
            raise refused(name, f"expected a whole number from {least} to {most}, not {_shown(text)}")
        return int(text)

    def _place(self, name: str) -> int:
        """An offset that TEXT gives; 0 where it gives none."""
        text = self._value(name, "0")
        if not _WHOLE.fullmatch(text):
            self._warn(f"{name}: expected an offset, not {_shown(text)}.")
            return 0
        return int(text)

    def _float(self, name: str, text: str) -> float | None:
        """A number; None, and a warning, where it is none."""
        value = float(text) if _FLOAT.fullmatch(text) else math.nan
        if math.isfinite(value):
            return value
        self._warn(f"{name}: expected a number, not {_shown(text)}.")
        return None

    def _next_data_set(self) -> None:
        at = self._place("$NEXTDATA")
        if at:
            there = "holds another data set" if at < self._size else "says that it holds another data set"
            self._warn(f"The file {there} at byte {at} ($NEXTDATA); the first one is read.")

    # parameters

    def _datatype(self, name: str, otherwise: str | None = None) -> Datatype:
        text = self._value(name, otherwise).upper()
        if text not in ("I", "F", "D", "A") or (otherwise is not None and text == "A" != otherwise):
            raise refused(name, f"expected I, F, D{' or A' if otherwise is None else ''}, not {_shown(text)}")
        return cast(Datatype, text)

    def _columns(self, types: list[Datatype]) -> tuple[list[Column], int]:
        """Where in a record the values lie, and how long it is; 0: values have no fixed places."""
        columns: list[Column] = []
        offset = 0
        free = [n for n in _upto(len(types)) if types[n - 1] == "A" and self._value(f"$P{n}B") == "*"]
        if free:
            if len(free) < len(types):
                raise refused(f"$P{free[0]}B", "either every parameter has the width *, or none")
            return [Column(0, 0, "text") for _ in types], 0
        for n, datatype in enumerate(types, 1):
            column = self._column(n, datatype, offset)
            columns.append(column)
            offset += column.width
        return columns, offset

    def _column(self, n: int, datatype: str, offset: int) -> Column:
        name = f"$P{n}B"
        if datatype == "A":
            return Column(offset, self._count(name, 1, 64), "text")
        bits = self._count(name, 1, 64)
        if datatype in "FD":
            wanted = 32 if datatype == "F" else 64
            if bits != wanted:
                raise refused(name, f"expected {wanted} for values of the type {datatype}, not {bits}")
            return Column(offset, bits // 8, "float", self._order(bits // 8))
        if bits % 8:
            raise refused(name, f"expected whole bytes, not {bits} bits: packed values are not read")
        return Column(offset, bits // 8, "integer", self._order(bits // 8), self._mask(n, bits))

    def _order(self, width: int) -> tuple[int, ...]:
        """Where in a value its bytes lie, the least significant first, by $BYTEORD.

        FCS 3.0, 3.2.20: the numbers of the bytes from the least significant, 1, on, in the order in which they lie.
        """
        if width == 1:
            return (0,)
        text = self._value("$BYTEORD")
        parts = map(str.strip, text.split(",", 9))
        given = [int(part) if _WHOLE.fullmatch(part) else 0 for part in parts]
        rising = list(_upto(len(given)))
        if sorted(given) != rising or not 2 <= len(given) <= 8:
            raise refused("$BYTEORD", f"expected 1,2,3,4 or 4,3,2,1 or another order of 1 to n, not {_shown(text)}")
        if given == rising:
            return tuple(range(width))
        if given == rising[::-1]:
            return tuple(reversed(range(width)))
        if len(given) != width:
            raise refused("$BYTEORD", f"{_shown(text)} does not tell the order of {width} bytes")
        return tuple(given.index(number) for number in _upto(width))

    def _mask(self, n: int, bits: int) -> int | None:
        """The bits of an integer that count (FCS 3.1, 3.2.20, $PnR): as many as the range needs, unless that is all."""
        name = f"$P{n}R"
        text = self._value(name)
        wanted = int(text) if _WHOLE.fullmatch(text) else self._float(name, text)
        if wanted is None:
            raise refused(name, f"expected a range, which says how many bits count, not {_shown(text)}")
        if wanted < 2:
            self._warn(f"{name} is {_shown(text)}; every bit of the value counts.")
            return None
        needed = (math.ceil(wanted) - 1).bit_length()
        return (1 << needed) - 1 if needed < bits else None

    def _parameter(self, n: int, datatype: Datatype, column: Column) -> Parameter:
        pnn = self._name(f"$P{n}N", LONGEST_NAME)
        if not pnn:
            pnn = f"P{n}"
            self._warn(f"$P{n}N is missing; the parameter is called {pnn}.")
        amplification = self._amplification(n, datatype)
        bits = column.width * 8 if datatype != "A" else None
        gain = self._keywords.get(f"$P{n}G", "").strip()
        return Parameter(
            index=n,
            pnn=pnn,
            pns=self._name(f"$P{n}S", 5 * LONGEST_NAME) or pnn,
            range=self._range(n),
            display=self._display(n, amplification),
            datatype=datatype,
            bits=bits,
            amplification=amplification,
            gain=self._float(f"$P{n}G", gain) if gain else None,
            timestep_s=self._timestep() if pnn.upper() == "TIME" else None,
        )

    def _name(self, keyword: str, longest: int) -> str:
        name = "".join(filter(str.isprintable, self._keywords.get(keyword, ""))).strip()
        if len(name) > longest:
            raise refused(keyword, f"expected at most {longest} characters, not {len(name)}")
        return name

    def _range(self, n: int) -> int | float | None:
        text = self._value(f"$P{n}R", "")
        if not text:
            self._warn(f"$P{n}R is missing.")
            return None
        if _WHOLE.fullmatch(text) and int(text) < 2**63:
            return int(text)
        value = self._float(f"$P{n}R", text)
        return int(value) if value is not None and value.is_integer() and abs(value) < 2**63 else value

    def _amplification(self, n: int, datatype: str) -> Amplification | None:
        """`$PnE` is "decades,offset", "0,0" for a linear amplifier (FCS 3.1, 3.2.20)."""
        name = f"$P{n}E"
        text = self._value(name, "")
        if not text:
            self._warn(f"{name} is missing; the parameter counts as linear.")
            return None
        parts = [self._float(name, part.strip()) for part in text.split(",")[:3]]
        if len(parts) != 2 or None in parts:
            self._warn(f"{name}: expected decades and offset, not {_shown(text)}; the parameter counts as linear.")
            return None
        decades, offset = cast(list[float], parts)
        if decades < 0:
            self._warn(f"{name} is {_shown(text)}, of less than no decades; the parameter counts as linear.")
        if decades <= 0:
            return None
        if datatype in "FD":
            self._warn(f"{name} is {_shown(text)} although the values are floating-point; it says nothing of them.")
            return None
        if offset <= 0:
            self._warn(f"{name} is {_shown(text)}; its offset is taken as 1.")
        return Amplification(decades, offset if offset > 0 else 1.0)

    def _display(self, n: int, amplification: Amplification | None) -> Display:
        """As the vendor's keyword says, else FCS 3.1's `$PnD`, else by the amplifier."""
        said = self._keywords.get(f"P{n}DISPLAY", "") or self._keywords.get(f"$P{n}D", "")
        said = said.strip().upper()
        if said.startswith("LOG") or (amplification is not None and not said.startswith("LIN")):
            return "LOG"
        return "LIN"

    def _timestep(self) -> float | None:
        text = self._value("$TIMESTEP", "")
        value = self._float("$TIMESTEP", text) if text else None
        if value is None or value > 0:
            return value
        self._warn(f"$TIMESTEP is {_shown(text)}, no length of time.")
        return None

    def _distinct(self, parameters: tuple[Parameter, ...]) -> tuple[Parameter, ...]:
        """No two of the same name: events are told by them."""
        known: set[str] = set()
        found = []
        for parameter in parameters:
            name = parameter.pnn
            if name in known:
                while name in known:
                    name += f"#{parameter.index}"
                self._warn(f"$P{parameter.index}N is {_shown(parameter.pnn)} again; it is called {_shown(name)} here.")
            known.add(name)
            found.append(msgspec.structs.replace(parameter, pnn=name))
        return tuple(found)

    # DATA

    def _data(self, header: _Segment, text: _Segment, record_bytes: int, parameters: int) -> tuple[int, int, int]:
        """The first byte of DATA, how many bytes are read of it, and how many events they are."""
        said = [header, _Segment("TEXT", self._place("$BEGINDATA"), self._place("$ENDDATA"))]
        candidates = [segment for segment in said if segment.begin > 0 and _IN_TEXT not in (segment.begin, segment.end)]
        candidates = [*dict.fromkeys(candidates)]
        total = self._total()
        if not candidates and not total:
            return 0, 0, 0
        if not candidates:
            raise refused("DATA", "neither HEADER nor $BEGINDATA and $ENDDATA say where it is")
        if not record_bytes:
            return self._delimited(candidates, parameters, total)
        if total is not None:
            for more in (0, -1, 1):
                for segment in candidates:
                    if self._fits(segment, more, total * record_bytes, text):
                        self._tell(segment, candidates, more)
                        return segment.begin, total * record_bytes, total
        return self._whole_records(candidates, text, record_bytes, total)

    def _fits(self, segment: _Segment, more: int, needed: int, text: _Segment) -> bool:
        return (
            segment.end - segment.begin + 1 + more == needed
            and (segment.begin >= _HEADER_BYTES or not needed)
            and segment.begin + needed <= self._size
            and not (needed and segment.begin < text.end and text.begin < segment.begin + needed)
        )

    def _tell(self, taken: _Segment, candidates: list[_Segment], more: int) -> None:
        if len({(segment.begin, segment.end) for segment in candidates}) > 1:
            both = " and ".join(map(str, candidates))
            self._warn(f"DATA: {both} disagree; {taken.said_by} is taken, whose length fits.")
        if more:
            self._warn(f"DATA: by {taken} its end is a byte too {'late' if more < 0 else 'early'}.")

    def _whole_records(
        self, candidates: list[_Segment], text: _Segment, record_bytes: int, total: int | None
    ) -> tuple[int, int, int]:
        """As many whole records as there are, where no one says how many there should be, or wrongly."""
        inside = self._inside(candidates)
        inside = [segment for segment in inside if segment.begin >= text.end or segment.end < text.begin]
        inside.sort(key=lambda segment: (segment.end - segment.begin + 1) % record_bytes != 0)
        if not inside:
            self._refuse_outside(candidates, total)
        taken = inside[0]
        length = taken.end - taken.begin + 1
        events, rest = divmod(length, record_bytes)
        if total is not None and taken.begin + total * record_bytes > self._size:
            needed = total * record_bytes
            raise refused("$TOT", f"{total} events need {needed} bytes from byte {taken.begin} on: it is truncated")
        self._tell(taken, candidates, 0)
        if total not in (None, events):
            self._warn(f"$TOT says {total} events; DATA has {events} whole records, which are read.")
        if rest:
            self._warn(f"DATA ends with {rest} bytes that are no whole record.")
        return taken.begin, events * record_bytes, events

    def _inside(self, candidates: list[_Segment]) -> list[_Segment]:
        return [segment for segment in candidates if _HEADER_BYTES <= segment.begin <= segment.end < self._size]

    def _refuse_outside(self, candidates: list[_Segment], total: int | None) -> NoReturn:
        said = " and ".join(map(str, candidates))
        if total == 0 or any(segment.end < segment.begin for segment in candidates):
            raise refused("DATA", f"{said} is no place for {'its' if total is None else total} events")
        raise refused("DATA", f"{said} is not within the file, which has {self._size} bytes, or lies over TEXT")

    def _delimited(self, candidates: list[_Segment], parameters: int, total: int | None) -> tuple[int, int, int]:
        inside = self._inside(candidates)
        if not inside:
            self._refuse_outside(candidates, total)
        taken = inside[0]
        length = taken.end - taken.begin + 1
        if length > MOST_DELIMITED_BYTES:
            most = MOST_DELIMITED_BYTES
            raise refused("DATA", f"numbers without fixed places in {length} bytes; at most {most} are read")
        events, rest = divmod(count_numbers(self._bytes(taken.begin, length)), parameters)
        self._tell(taken, candidates, 0)
        if total is not None and total != events:
            self._warn(f"$TOT says {total} events; DATA has the values of {events}, which are read.")
        if rest:
            self._warn(f"DATA ends with {rest} values that are no whole record.")
        return taken.begin, length, events

    def _total(self) -> int | None:
        """$TOT; None, and a warning, where it is absent or no number."""
        text = self._value("$TOT", "")
        if _WHOLE.fullmatch(text):
            return int(text)
        said = f"is {_shown(text)}, no number" if text else "is missing"
        self._warn(f"$TOT {said}; the whole records of DATA are counted.")
        return None

    # bytes

    def _bytes(self, begin: int, length: int) -> bytes:
        self._file.seek(begin)
        return self._file.read(length)

    def _warn(self, text: str) -> None:
        if len(self._warnings) < MOST_WARNINGS and text not in self._warnings:
            self._warnings.append(text)


def _upto(count: int) -> range:
    return range(1, count + 1)


def _shown(text: str) -> str:
    """A value of the file in quotation marks, as ASCII and cut short."""
    told = ascii(text)
    return told if len(told) <= 50 else told[:49] + "…" + told[-1]
