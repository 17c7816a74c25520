"""The TEXT segment: keywords and values between delimiters, as they are written and as they come."""

import re
from collections.abc import Callable

_PADDING = " \t\r\n\0"
MOST_KEYWORDS = 32_768
_MOST_RUNS = 4 * MOST_KEYWORDS
"""So many delimiters, or rows of them, are looked at."""
_LONGEST, _MOST_TOLD = 30, 5


class Malformed(Exception):
    """The text cannot be read; it says why."""


def pairs(segment: bytes, delimiter: bytes, warn: Callable[[str], None]) -> list[tuple[str, str]]:
    """The keywords with their values, in order. `segment` begins behind the first delimiter.

    Two delimiters in a row stand for one that belongs to a value (FCS 3.1, 3.2.6); where a keyword ends, they are an
    empty value, which the standard forbids and instruments write. Both occur in one file, so both are read in one.
    """
    twice = delimiter * 2
    pieces: list[bytes] = []
    empty, begin = 0, 0
    for number, run in enumerate(re.finditer(re.escape(delimiter) + b"+", segment)):
        first, behind = run.span()
        is_odd, is_last = (behind - first) % 2, behind == len(segment)
        if len(pieces) >= 2 * MOST_KEYWORDS or number >= _MOST_RUNS:
            raise Malformed(f"more than {MOST_KEYWORDS} keywords, or {_MOST_RUNS} delimiters")
        if len(pieces) % 2:
            if is_odd or is_last:  # its last delimiter ends the value; of an even last run two belong to nothing
                pieces.append(segment[begin : behind - (1 if is_odd else 2)].replace(twice, delimiter))
                begin = behind
            continue
        pieces.append(segment[begin:first])
        begin = first + 1
        if not is_odd:  # the first delimiter ends the keyword, the last one a value of what is between, often nothing
            pieces.append(segment[begin : behind - 1].replace(twice, delimiter))
            empty += behind - first == 2
            begin = behind
    rest = segment[begin:]
    if rest.strip(_PADDING.encode()):
        warn("TEXT does not end with its delimiter.")
        pieces.append(rest.replace(twice, delimiter) if len(pieces) % 2 else rest)
    if len(pieces) % 2:
        warn("TEXT ends with a keyword that has no value; it is left out.")
        pieces.pop()
    if empty:
        warn(f"TEXT has {empty} empty value{'s' if empty > 1 else ''}, which the standard forbids.")
    return _named(pieces, warn)


def _named(pieces: list[bytes], warn: Callable[[str], None]) -> list[tuple[str, str]]:
    texts = _decoded(pieces, warn)
    found, seen, nameless, twice = [], dict[str, str](), 0, set[str]()
    for keyword, value in zip(texts[::2], texts[1::2], strict=True):
        keyword = keyword.strip(_PADDING)
        name = keyword.upper()
        if not name:
            nameless += 1
        elif name not in seen:
            seen[name] = value
            found.append((keyword, value))
        elif seen[name] != value:
            twice.add(name)
    if nameless:
        warn(f"TEXT has {nameless} value{'s' if nameless > 1 else ''} without a keyword, left out.")
    if twice:
        warn(f"TEXT gives {told(twice)} more than once with other values; the first holds.")
    return found


def _decoded(pieces: list[bytes], warn: Callable[[str], None]) -> list[str]:
    """As UTF-8 (FCS 3.1), else as Latin-1, which instruments write: every byte is something then."""
    try:
        return [piece.decode() for piece in pieces]
    except UnicodeDecodeError:
        warn("TEXT is not UTF-8; it is read as Latin-1.")
        return [piece.decode("latin-1") for piece in pieces]


def told(names: set[str]) -> str:
    """Keywords as a warning tells them: the standard's by name; others may be what somebody is called, by mistake."""
    standard = sorted(name for name in names if name.startswith("$") and len(name) <= _LONGEST)[:_MOST_TOLD]
    others = len(names) - len(standard)
    more = [f"{others} {'keywords' if others > 1 else 'keyword'}"] if others else []
    return ", ".join(standard + more)


_PERSONAL = re.compile(
    r"PATIENT|SUBJECT|DONOR|SURNAME|(FIRST|LAST|GIVEN|FAMILY|FULL|USER|CASE|PT|FILE)NAME|BIRTH|GENDER|SPECIMEN|OPERATOR"
    r"|SAMPLE(ID|NAME|NO|NUM|DESC)|PHYSICIAN|DOCTOR|CLINICIAN|TECHNICIAN|INVESTIGATOR|MEDICALRECORD|ACCESSION|HOSPITAL"
    r"|CREATOR|EXPERIMENTER|RESEARCHER|REQUESTER|ANALYST|AUTHOR|BARCODE|(MODIFIED|CREATED|ORDERED)BY|CASE(ID|NO|NUM)|E?MAIL|PHONE|ADDRESS|ETHNICITY"
)
_PERSONAL_WHOLE = re.compile(
    r"SMNO|OP|SRC|EXP|COM|FIL|PROJ|LASTMODIFIER|TUBENAME|EXPERIMENTNAME|COMMENTS?|NOTES|REMARKS|DIAGNOSIS|DOB|MRN|SSN"
    r"|PID|SEX|AGE|RACE|NAME|USER(ID)?|ID[1-4]|SMID|SMNM|TBNM|SAMPLE|LOGIN"
)


def is_personal(keyword: str) -> bool:
    """Whether a keyword may tell who somebody is: the patient, or who examined them.

    By FCS 3.1, 3.2.20, that is `$SMNO` (specimen), `$OP` (operator), `$SRC` (source of the specimen), `$EXP`
    (investigator), `$COM` (comment), `$FIL` (file name), `$PROJ`; vendors' own keywords go by their names.
    """
    name = re.sub(r"[^0-9A-Z]", "", keyword.upper())
    return _PERSONAL_WHOLE.fullmatch(name) is not None or _PERSONAL.search(name) is not None
