"""Writes FCS files, right ones and wrong ones. It shares no code with the product: it is what the product is held to.

fcs([[1.5, 2.5], [3.5, 4.5]], names=["FSC-A", "Time"])         # two parameters, two events, FCS 3.1, floats
fcs([[1, 2]], datatype="I", bits=24, byteord="4,3,2,1")        # big-endian integers of three bytes
fcs([[1.5]], keywords={"$CYT": "Aria", "$P1E": None})          # one keyword more, one left out
fcs([[1.5]], header={"data": (0, 0)})                          # only TEXT says where DATA is
fcs([[1.5]], said={"data": lambda begin, end: (begin, end + 1)})  # $ENDDATA is off by one
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

Value: TypeAlias = int | float
Text: TypeAlias = str | bytes
"""Bytes stand in the file as they are, a str in UTF-8."""
Place: TypeAlias = "tuple[int | str, int | str] | Callable[[int, int], tuple[int | str, int | str]] | None"
"""What a file says of a segment's first and last byte: this, or made of what is so; None: nothing."""

HEADER_BYTES = 58
MOST_IN_HEADER = 99_999_999
_WIDTHS = {"I": 16, "F": 32, "D": 64, "A": "*"}
_KEYWORDS = {
    "analysis": ("$BEGINANALYSIS", "$ENDANALYSIS"),
    "data": ("$BEGINDATA", "$ENDDATA"),
    "stext": ("$BEGINSTEXT", "$ENDSTEXT"),
}


class Written(NamedTuple):
    """A file, and where its segments really are: first and last byte by name (text, data, stext, analysis)."""

    content: bytes
    places: dict[str, tuple[int, int]]


def fcs(columns: Sequence[Sequence[Value]], **how: object) -> bytes:
    """An FCS file with these values, a sequence for each parameter; `written` tells what else can be asked for."""
    return written(columns, **how).content  # type: ignore[arg-type]


def written(
    columns: Sequence[Sequence[Value]],
    *,
    version: str = "FCS3.1",
    datatype: str = "F",
    types: Sequence[str] | None = None,
    bits: int | str | Sequence[int | str] | None = None,
    byteord: str = "1,2,3,4",
    delimiter: str | int = "/",
    names: Sequence[str] | None = None,
    ranges: Value | str | Sequence[Value | str] | None = None,
    tot: int | str | None = -1,
    keywords: Mapping[str, Text | None] | None = None,
    more: Sequence[tuple[Text, Text]] = (),
    lower: bool = False,
    doubled: bool = True,
    raw: bytes = b"",
    ended: bool = True,
    header: Mapping[str, Place] | None = None,
    said: Mapping[str, Place] | None = None,
    supplement: Sequence[tuple[Text, Text]] | bytes | None = None,
    supplement_leads: bool = True,
    analysis: bytes = b"",
    stored: bytes | None = None,
    text_at: int = HEADER_BYTES,
    gap: int = 0,
    after: bytes = b"00000000",
) -> Written:
    """An FCS file, well-formed unless asked otherwise, and where its segments are.

    What it holds: `datatype` is $DATATYPE, `types` are those of each parameter, told by $PnDATATYPE where they differ
    (FCS 3.2); `bits` is $PnB for all or for each, `"*"` for numbers in text of any length (by default 16 for I, 32 for
    F, 64 for D, * for A, whose numbers in $PnB characters stand to the right); `byteord` is $BYTEORD, any permutation;
    `ranges` is $PnR (by default all bits of an integer); `names` is $PnN.

    Its keywords: `keywords` are further ones, or replace what is there, None leaves one out; `more` come last even when
    they are there already; `tot` is $TOT (-1 as it is, None left out); `lower` writes the names in small letters;
    `doubled` False leaves delimiters within values alone; `ended` False leaves the last delimiter out; `raw` follows,
    as it is, and is part of TEXT.

    Its segments: `header` is what HEADER says of `text`, `data`, `analysis`; `said` is what TEXT says of `data`,
    `stext`, `analysis`; `supplement` are keywords in a supplemental TEXT, or all of its bytes, without its first
    delimiter if not `supplement_leads`; `stored` is DATA instead of the values; `text_at` is where TEXT begins, `gap`
    so many blanks lie before DATA; `after` is what follows (FCS 3.0: a check sum, eight zeros for none).
    """
    count = len(columns)
    types = list(types or datatype * count)
    widths = _each(bits, count) if bits is not None else [_WIDTHS[of] for of in types]
    spans = _each(ranges, count) if ranges is not None else [_span(*pair) for pair in zip(types, widths, strict=True)]
    events = len(columns[0]) if columns else 0
    data = values_stored(columns, types, widths, byteord) if stored is None else stored
    mark = delimiter.encode() if isinstance(delimiter, str) else bytes([delimiter])
    said = _said_by_default(version) | dict(said or {})

    known: dict[str, Text | None] = {
        "$BYTEORD": byteord,
        "$DATATYPE": datatype,
        "$MODE": "L",
        "$NEXTDATA": "0",
        "$PAR": str(count),
        "$TOT": None if tot is None else str(events if tot == -1 else tot),
    }
    for n in range(count):
        known[f"$P{n + 1}B"] = str(widths[n])
        known[f"$P{n + 1}E"] = "0,0"
        known[f"$P{n + 1}N"] = names[n] if names else f"P{n + 1}"
        known[f"$P{n + 1}R"] = str(spans[n])
        if types[n] != datatype:
            known[f"$P{n + 1}DATATYPE"] = types[n]
    if version == "FCS3.2":
        known["$CYT"] = "Cytometer"

    def text(places: Mapping[str, tuple[int, int]]) -> bytes:
        offsets: dict[str, Text | None] = {}
        for segment, pair in _KEYWORDS.items():
            told = _told(said.get(segment), places[segment])
            offsets |= {} if told is None else {name: str(at) for name, at in zip(pair, told, strict=True)}
        everything = offsets | known | dict(keywords or {})
        pairs = [(name, value) for name, value in everything.items() if value is not None]
        return mark + joined([*pairs, *more], mark, lower=lower, doubled=doubled)[: None if ended else -1] + raw

    if isinstance(supplement, bytes):
        extra = supplement
    else:
        extra = mark * supplement_leads + joined(supplement, mark, lower=lower, doubled=doubled) if supplement else b""
    begin = text_at
    while True:
        places = _laid({"data": (begin, data), "stext": (0, extra), "analysis": (0, analysis)})
        written_text = text(places)
        if text_at + len(written_text) + gap <= begin:
            break
        begin = text_at + len(written_text) + gap
    places["text"] = (text_at, text_at + len(written_text) - 1)

    content = _header(version, places, header or {}).ljust(text_at) + written_text
    return Written(content.ljust(begin) + data + extra + analysis + after, places)


def values_stored(
    columns: Sequence[Sequence[Value]], types: Sequence[str], widths: Sequence[int | str], byteord: str = "1,2,3,4"
) -> bytes:
    """DATA: the values event by event, each by its type, its bits (characters with A), and the order of its bytes."""
    events = zip(*columns, strict=True)
    if "*" in widths:
        return b"".join(b"%s " % repr(value).encode() for event in events for value in event)
    made = [_maker(of, int(width), byteord) for of, width in zip(types, widths, strict=True)]
    return b"".join(make(value) for event in events for make, value in zip(made, event, strict=True))


def joined(pairs: Sequence[tuple[Text, Text]], mark: bytes, *, lower: bool = False, doubled: bool = True) -> bytes:
    """Keywords and values, a delimiter behind each; delimiters within them are doubled."""
    pieces = [piece for name, value in pairs for piece in (name.lower() if lower else name, value)]
    raw = [piece if isinstance(piece, bytes) else piece.encode() for piece in pieces]
    return b"".join((piece.replace(mark, 2 * mark) if doubled else piece) + mark for piece in raw)


def changed(content: bytes, at: int, new: bytes) -> bytes:
    """The file with these bytes written over those at a place."""
    return content[:at] + new + content[at + len(new) :]


def _maker(of: str, width: int, byteord: str) -> Callable[[Value], bytes]:
    if of == "A":
        return lambda value: repr(value).rjust(width).encode()
    size = width // 8
    order = _places(size, byteord)
    if of == "I":
        return lambda value: _ordered(int(value).to_bytes(size, "little"), order)
    code = {"F": "<f", "D": "<d"}[of]
    return lambda value: _ordered(struct.pack(code, value), order)


def _places(size: int, byteord: str) -> list[int]:
    """Which byte, the least significant being 0, lies at each place of a value."""
    numbers = [int(number) - 1 for number in byteord.split(",")]
    if numbers == sorted(numbers):
        return list(range(size))
    if numbers == sorted(numbers, reverse=True):
        return list(range(size))[::-1]
    if size == 1:
        return [0]
    if len(numbers) != size:
        raise ValueError(f"{byteord} is no order of {size} bytes")
    return numbers


def _ordered(little: bytes, order: Sequence[int]) -> bytes:
    return bytes(little[place] for place in order)


def _each(given: object, count: int) -> list[int | str]:
    return list(given) if isinstance(given, list | tuple) else [given] * count  # type: ignore[list-item]


def _span(of: str, width: int | str) -> int:
    return 2 ** int(width) if of == "I" else 262_144


def _said_by_default(version: str) -> dict[str, Place]:
    """FCS 2.0 has no such keywords."""
    return {} if version == "FCS2.0" else dict.fromkeys(_KEYWORDS, lambda begin, end: (begin, end))


def _told(place: Place, so: tuple[int, int]) -> tuple[int | str, int | str] | None:
    return place(*so) if callable(place) else place


def _laid(segments: Mapping[str, tuple[int, bytes]]) -> dict[str, tuple[int, int]]:
    """The segments one behind the other, the first where it says; an empty one is 0 to 0."""
    places = {}
    at = 0
    for name, (begin, raw) in segments.items():
        at = max(at, begin)
        places[name] = (at, at + len(raw) - 1) if raw else (0, 0)
        at += len(raw)
    return places


def _header(version: str, places: Mapping[str, tuple[int, int]], header: Mapping[str, Place]) -> bytes:
    line = f"{version:<6}    "
    for segment in ("text", "data", "analysis"):
        so = places[segment]
        told = _told(header[segment], so) if segment in header else so if so[1] <= MOST_IN_HEADER else (0, 0)
        line += "".join(f"{at:>8}" for at in (told or ("", "")))
    return line.encode("latin-1")
