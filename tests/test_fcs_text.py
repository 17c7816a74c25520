"""TEXT of a flow-cytometry file: keywords and values between delimiters, by both readings, and which are personal."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.fcs.text import MOST_KEYWORDS, Malformed, is_personal, pairs
from tests.fcs_writer import joined

LEFT_OUT = "TEXT ends with a keyword that has no value; it is left out."
UNENDED = "TEXT does not end with its delimiter."
FORBIDDEN = "TEXT has {} empty value{}, which the standard forbids."
LATIN = "TEXT is not UTF-8; it is read as Latin-1."


def told(segment: bytes, delimiter: bytes = b"/") -> tuple[list[tuple[str, str]], list[str]]:
    """The keywords with their values, and the warnings."""
    warnings: list[str] = []
    return pairs(segment, delimiter, warnings.append), warnings


GOOD: dict[str, tuple[bytes, list[tuple[str, str]]]] = {
    "nothing": (b"", []),
    "a pair": (b"k/v/", [("k", "v")]),
    "in order": (b"z/1/a/2/", [("z", "1"), ("a", "2")]),
    "a delimiter within": (b"k/a//b/", [("k", "a/b")]),
    "delimiters within": (b"k/a//b//c/l/w/", [("k", "a/b/c"), ("l", "w")]),
    "two within": (b"k/a////b/", [("k", "a//b")]),
    "three within": (b"k/a//////b/", [("k", "a///b")]),
    "one at the end": (b"k/a///l/w/", [("k", "a/"), ("l", "w")]),
    "two at the end": (b"k/a/////l/w/", [("k", "a//"), ("l", "w")]),
    "one at the beginning": (b"k///a/", [("k", "/a")]),
    "two at the beginning": (b"k/////a/", [("k", "//a")]),
    "nothing but one": (b"k////l/w/", [("k", "/"), ("l", "w")]),
    "nothing but two": (b"k//////l/w/", [("k", "//"), ("l", "w")]),
    "one at the very end": (b"k/a///", [("k", "a/")]),
    "at the beginning and within": (b"k///a//b/", [("k", "/a/b")]),
    "blanks around a keyword": (b" k /v/\r\n$PAR/2/", [("k", "v"), ("$PAR", "2")]),
    "blanks within a value": (b"k/ v /", [("k", " v ")]),
    "padding at the end": (b"k/v/ \r\n\0", [("k", "v")]),
    "small letters": (b"$par/2/", [("$par", "2")]),
    "the same again": (b"k/v/K/v/", [("k", "v")]),
    "UTF-8": ("k/größe µ/".encode(), [("k", "größe µ")]),
    "no sign": (b"k/a\0b\nc/", [("k", "a\0b\nc")]),
}


@pytest.mark.parametrize("name", GOOD)
def test_keywords_and_values_are_read_as_they_were_meant(name: str) -> None:
    segment, expected = GOOD[name]
    assert told(segment) == (expected, [])


TOLERATED: dict[str, tuple[bytes, list[tuple[str, str]], list[str]]] = {
    "an empty value": (b"k//l/w/", [("k", ""), ("l", "w")], [FORBIDDEN.format(1, "")]),
    "the first is empty": (b"k//", [("k", "")], [FORBIDDEN.format(1, "")]),
    "the last is empty": (b"k/v/l//", [("k", "v"), ("l", "")], [FORBIDDEN.format(1, "")]),
    "all are empty": (b"k//l//m//", [("k", ""), ("l", ""), ("m", "")], [FORBIDDEN.format(3, "s")]),
    "both readings": (
        b"k//l/a//b/m//n/w/",
        [("k", ""), ("l", "a/b"), ("m", ""), ("n", "w")],
        [FORBIDDEN.format(2, "s")],
    ),
    "no last delimiter": (b"k/v/l/w", [("k", "v"), ("l", "w")], [UNENDED]),
    "no last delimiter, one within": (b"k/v/l/a//b", [("k", "v"), ("l", "a/b")], [UNENDED]),
    "no last value": (b"k/v/l/", [("k", "v")], [LEFT_OUT]),
    "cut in a keyword": (b"k/v/l", [("k", "v")], [UNENDED, LEFT_OUT]),
    "two values": (
        b"k/v/l/w/K/x/",
        [("k", "v"), ("l", "w")],
        ["TEXT gives 1 keyword more than once with other values; the first holds."],
    ),
    "many with two values": (
        b"".join(b"$k%d/1/$k%d/2/" % (n, n) for n in range(7)),
        [(f"$k{n}", "1") for n in range(7)],
        ["TEXT gives $K0, $K1, $K2, $K3, $K4, 2 keywords more than once with other values; the first holds."],
    ),
    "a value without keyword": (b" /v/k/w/", [("k", "w")], ["TEXT has 1 value without a keyword, left out."]),
    "Latin-1": (b"k/gr\xf6\xdfe \xb5/", [("k", "größe µ")], [LATIN]),
    "Latin-1 and UTF-8": (b"k/\xb5/l/\xc2\xb5/", [("k", "µ"), ("l", "Âµ")], [LATIN]),
}


@pytest.mark.parametrize("name", TOLERATED)
def test_what_is_not_as_it_should_be_is_read_and_told(name: str) -> None:
    segment, expected, warnings = TOLERATED[name]
    assert told(segment) == (expected, warnings)


@pytest.mark.parametrize("delimiter", range(1, 127))
def test_any_delimiter_parts_and_is_doubled_within(delimiter: int) -> None:
    mark = bytes([delimiter])
    keyword = "K" if mark != b"K" else "L"
    value = f"a{chr(delimiter)}b{chr(delimiter)}{chr(delimiter)}c"
    assert told(joined([(keyword, value), ("¤", "w")], mark), mark) == ([(keyword, value), ("¤", "w")], [])


LETTERS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=10)
DELIMITERS = st.integers(1, 126).map(chr)


@settings(max_examples=200, derandomize=True)
@given(
    delimiter=DELIMITERS | st.sampled_from("/|\\,*\f "),
    keywords=st.lists(LETTERS, max_size=8, unique_by=lambda text: text.upper()),
    values=st.lists(LETTERS | st.text(st.sampled_from("/|\\,*\f a"), min_size=1, max_size=8), min_size=8, max_size=8),
)
def test_whatever_is_written_by_the_standard_is_read_as_it_was(
    delimiter: str, keywords: list[str], values: list[str]
) -> None:
    named = [word for word in keywords if delimiter not in word and word == word.strip(" \t\r\n\0") != ""]
    written = list(zip(named, values, strict=False))
    assert told(joined(written, delimiter.encode()), delimiter.encode()) == (written, [])


@settings(max_examples=200, derandomize=True)
@given(
    values=st.lists(
        st.text(st.sampled_from("/ab"), max_size=6).filter(lambda text: text != ""), min_size=1, max_size=8
    ),
    empty=st.sets(st.integers(0, 7)),
)
def test_empty_values_and_doubled_delimiters_may_stand_in_one_file(values: list[str], empty: set[int]) -> None:
    written = [(f"$K{n}", "" if n in empty else value) for n, value in enumerate(values)]
    read, warnings = told(joined(written, b"/"))
    assert read == written
    assert len(warnings) == any(value == "" for _, value in written)


@settings(max_examples=200, derandomize=True)
@given(segment=st.lists(st.sampled_from([b"/", b"//", b"a", b" ", b"\0", b"\xff", "é".encode()]), max_size=30))
def test_any_bytes_are_keywords_with_values(segment: list[bytes]) -> None:
    read, _ = told(b"".join(segment))
    names = [keyword.upper() for keyword, _ in read]
    assert len(names) == len(set(names))
    assert "" not in names


@pytest.mark.parametrize("value", ["v", ""], ids=["with values", "with empty values"])
def test_there_are_at_most_so_many_keywords(value: str) -> None:
    many = joined([(f"k{n}", value) for n in range(MOST_KEYWORDS)], b"/")
    assert len(told(many)[0]) == MOST_KEYWORDS
    with pytest.raises(Malformed, match=f"more than {MOST_KEYWORDS} keywords"):
        told(many + b"l/w/")


PERSONAL = """
    $SMNO $OP $SRC $EXP $COM $FIL $PROJ $LAST_MODIFIER
    PATIENT, PATIENTID, PATIENT_NAME, Patient-Name, patient.birth_date, @PATIENT-SEX, #PATIENTNAME, LOCATION_OF_PATIENT
    SUBJECT, SUBJECT ID, Donor, DonorID, SURNAME, FIRSTNAME, First Name, LAST-NAME, BirthDate, DATE OF BIRTH, DOB, MRN
    SSN, SEX, GENDER, AGE, NAME, USER, UserName, EXPORT USER NAME, OPERATOR, @OPERATOR, PHYSICIAN, REFERRING_PHYSICIAN
    DOCTOR, INVESTIGATOR, MedicalRecordNumber, ACCESSION_NUMBER, Hospital, CREATOR, SPECIMEN, SpecimenID
    SAMPLE ID, @SAMPLEID1, Sample_Name, SAMPLENO, SAMPLE DESCRIPTION, COMMENT, Comments, NOTES, REMARKS, DIAGNOSIS
    TUBE NAME, EXPERIMENT NAME, ID1, $op, SMID, SMNM, TBNM
    FILENAME, CASE NUMBER, PT NAME, GIVEN NAME, FULL NAME, FAMILY NAME, E-MAIL, PHONE, ADDRESS, USER ID
    TECHNICIAN, CLINICIAN, RACE, ETHNICITY
"""
CHANNELS = """
    $PAR $TOT $P1N $P1S $P1B $P1E $P1R $P1G $P1D $P1V $P12DATATYPE $P1TYPE $P1L $P1O $P1T $P1CALIBRATION $MODE $NEXTDATA
    $SPILLOVER $COMP $CYT $CYTSN $DATE $BTIM $ETIM $BYTEORD $DATATYPE $BEGINDATA $ENDDATA $BEGINSTEXT $ENDSTEXT
    $BEGINANALYSIS $ENDANALYSIS $TIMESTEP $TR $VOL $ABRT $LOST $CELLS $CSMODE $GATE $G1N $R1I $RNI $SYS $UNICODE
    $ORIGINALITY $PLATEID $PLATENAME $WELLID $CARRIERID $CARRIERTYPE $LOCATIONID $BEGINDATETIME $ENDDATETIME
    SPILL, P1DISPLAY, P1BS, P1MS, CYTNUM, THRESHOLD, LASER1NAME, LASER1DELAY, LASER1ASF, FSC ASF, WINDOW EXTENSION
    APPLY COMPENSATION, AUTOBS, CST SETUP STATUS, CH1GAIN, CH3LBL, CH3FLNMS, SWVER, COMPCHH, FILVER, GAINSTGDATETIME
"""


def listed(words: str) -> list[str]:
    """Keywords between commas; those that begin with $ have no blanks, nor commas between them."""
    lines = [line.strip() for line in words.strip().splitlines()]
    return [word.strip() for line in lines for word in line.split(" " if line.startswith("$") else ",") if word.strip()]


@pytest.mark.parametrize("keyword", listed(PERSONAL))
def test_what_tells_who_somebody_is_is_personal(keyword: str) -> None:
    assert is_personal(keyword)
    assert is_personal(keyword.lower())


@pytest.mark.parametrize("keyword", listed(CHANNELS))
def test_what_tells_of_channels_and_the_instrument_is_not(keyword: str) -> None:
    assert not is_personal(keyword)
    assert not is_personal(keyword.lower())
