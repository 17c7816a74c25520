"""Keywords: all that a file says of itself, but who was examined and by whom for those alone who may analyse it."""

from typing import Any

import httpx2
import pytest

from tests.accounts import Person
from tests.fcs_writer import Text, fcs
from tests.house import House
from tests.office import API, made
from tests.support import refusal
from tests.test_fcs import FCS, SAMPLE, ask, put, with_sample

SECRET = "Zacharias-4711"
"""What no answer may tell to who only reads."""
PERSONAL = {
    "$SMNO": "a specimen",
    "$OP": "an operator",
    "$SRC": "a patient, as the source",
    "$EXP": "an investigator",
    "$COM": "a comment",
    "$FIL": "a file name, which is often the patient's",
    "$PROJ": "a project",
    "$LAST_MODIFIER": "somebody",
    "PATIENT": "a patient",
    "PATIENT ID": "a patient",
    "Patient Name": "a patient",
    "PatientDOB": "a day of birth",
    "patient_sex": "a sex",
    "#PATIENT": "a patient",
    "SUBJECT ID": "a patient",
    "DONOR": "a donor",
    "SAMPLE ID": "a specimen",
    "@SAMPLEID1": "a specimen",
    "SMID": "a specimen",
    "SPECIMEN NAME": "a specimen",
    "TUBE NAME": "a specimen",
    "EXPERIMENT NAME": "an experiment",
    "OPERATOR": "an operator",
    "USER NAME": "an operator",
    "CREATOR": "an operator",
    "MRN": "a medical record",
    "Date of Birth": "a day of birth",
    "DOB": "a day of birth",
    "AGE": "an age",
    "GENDER": "a sex",
    "DIAGNOSIS": "a diagnosis",
    "PHYSICIAN": "a physician",
    "ACCESSION NUMBER": "an examination",
}
PLAIN = {
    "$CYT": "Cytometer 1",
    "$DATE": "28-Oct-2024",
    "$BTIM": "16:39:04",
    "$INST": "Institute",
    "$VOL": "425927.1",
    "$SPILLOVER": "2,P1,P2,1,0,0,1",
    "$TIMESTEP": "0.01",
    "CYTOMETER CONFIG NAME": "4-blue",
    "LASER1NAME": "Blue",
    "THRESHOLD": "FSC,5000",
    "APPLY COMPENSATION": "TRUE",
    "WINDOW EXTENSION": "10.00",
    "SLASHES": "a/b//c/",
    "empty is not": " ",
    "µ": "Größe 細胞",
}


def content(**more: Any) -> bytes:
    """A file with every personal keyword, all with the same secret, and many others."""
    keywords: dict[str, Text | None] = {**PLAIN, **dict.fromkeys(PERSONAL, SECRET)}
    return fcs([[1.0, 2.0], [3.0, 4.0]], keywords=keywords, **more)


@pytest.fixture(scope="module")
def anna(house: House) -> Person:
    """Somebody who has the file."""
    who = house.person()
    put(house, who, content())
    return who


def keywords(house: House, headers: dict[str, str], **query: str | int) -> dict[str, Any]:
    answer = house.client.get(f"{FCS}/keywords", params=query, headers=headers)
    found = made(answer, 200)
    assert list(found) == ["file_id", "total_keywords", "keywords", "hidden"]
    assert len(found["keywords"]) + len(found["hidden"]) == found["total_keywords"]
    assert not {*found["keywords"]} & {*found["hidden"]}
    return found


def test_who_may_analyse_sees_every_keyword_as_it_is_written(house: House, anna: Person) -> None:
    for headers in (anna.headers, house.token(anna), house.token(anna, "fcs:analyze")):
        found = keywords(house, headers)
        assert found["hidden"] == []
        assert {name: found["keywords"][name] for name in PERSONAL} == dict.fromkeys(PERSONAL, SECRET)
        assert {name: found["keywords"][name] for name in PLAIN} == PLAIN
        assert found["keywords"]["$PAR"] == "2"


@pytest.mark.parametrize("scope", ["fcs:read", "fcs:write"])
def test_who_may_not_sees_the_names_and_not_what_they_say(house: House, anna: Person, scope: str) -> None:
    everything, found = keywords(house, anna.headers), keywords(house, house.token(anna, scope))
    assert found["hidden"] == sorted(PERSONAL)
    shown = {name: value for name, value in everything["keywords"].items() if name not in PERSONAL}
    assert found["keywords"] == shown
    assert found["total_keywords"] == everything["total_keywords"]
    assert found["file_id"] == everything["file_id"]


def answers(house: House, who: Person, headers: dict[str, str]) -> dict[str, httpx2.Response]:
    """Every answer of GET about somebody's file, and to what is refused."""
    file_id = ask(house, who, "files").json()[0]["file_id"]
    paths = ["files", f"files/{file_id}", "parameters", "events", "events?format=csv", "keywords", "uploads"]
    paths += [f"keywords?file_id={file_id}", "statistics", "histogram?x=P1", "density?x=P1&y=P2"]
    paths += ["events?parameters=none", "histogram?x=none", f"parameters?file_id={10**17}"]
    found = {path: house.client.get(f"{FCS}/{path}", headers=headers) for path in paths}
    return found | {"trail": house.client.get(f"{API}/audit", headers=headers)}


@pytest.mark.parametrize("scope", ["fcs:read", "fcs:write"])
def test_no_answer_but_the_download_tells_who_was_examined(house: House, anna: Person, scope: str) -> None:
    headers = house.token(anna, scope)
    found = answers(house, anna, headers)
    assert {path for path, answer in found.items() if SECRET in answer.text or SECRET in str(answer.headers)} == set()
    assert {answer.status_code for answer in found.values()} == {200, 400, 403, 404}
    file_id = ask(house, anna, "files").json()[0]["file_id"]
    download = house.client.get(f"{FCS}/files/{file_id}/download", headers=headers)
    assert (download.status_code, SECRET.encode() in download.content) == (200, True)


ODD: dict[str, dict[str, Any]] = {
    "in small letters": {"lower": True},
    "in supplemental TEXT": {"supplement": [("PATIENT FURTHER", SECRET), ("$CELLS", "blood")]},
    "in Latin-1": {"more": [("Nürnberg", b"N\xfcrnberg"), ("PATIENT FURTHER", b"\xfc" + SECRET.encode())]},
    "with another delimiter": {"delimiter": 12},
    "twice": {"more": [("PATIENT", SECRET + " again"), ("patient id", SECRET + " again")]},
    "in an older version": {"version": "FCS2.0"},
    "in a newer version": {"version": "FCS3.2"},
}


@pytest.mark.parametrize("how", ODD)
def test_however_a_file_is_written_the_same_is_hidden(house: House, how: str) -> None:
    who = house.person()
    put(house, who, content(**ODD[how]))
    found = keywords(house, house.token(who, "fcs:read"))
    assert {name.casefold() for name in found["hidden"]} >= {name.casefold() for name in PERSONAL}
    told = answers(house, who, house.token(who, "fcs:read"))
    assert {path for path, answer in told.items() if SECRET in answer.text} == set()
    everything = keywords(house, who.headers)
    assert everything["hidden"] == []
    assert SECRET in everything["keywords"][found["hidden"][0]]


def test_warnings_of_a_file_tell_nothing_of_persons(house: House) -> None:
    """Neither to its owner nor to others: they name keywords, not what these say."""
    who = house.person()
    file = put(house, who, content(more=[("PATIENT", SECRET + " again"), ("", SECRET)], ended=False))
    assert len(file["warnings"]) >= 2
    assert not any(SECRET in warning for warning in file["warnings"])


@with_sample
def test_the_keywords_of_the_sample(house: House) -> None:
    """Its patient's number is in `SMID` and in `$FIL`; all else is for everybody who reads."""
    who = house.person()
    put(house, who, SAMPLE.read_bytes())
    everything, found = keywords(house, who.headers), keywords(house, house.token(who, "fcs:read"))
    assert everything["keywords"]["$TOT"] == "0000000000034297"
    assert (everything["keywords"]["$OP"], everything["keywords"]["SMID"]) == ("CBSC", "6512447")
    assert {"$FIL", "$OP", "$SMNO", "SMID"} <= {*found["hidden"]}
    assert not any("6512447" in value or value == "CBSC" for value in found["keywords"].values())
    for name, value in {"$CYT": "DxFLEX", "$TIMESTEP": "0.00002", "$P6S": "TCRgd FITC-A", "P6DISPLAY": "LOG"}.items():
        assert found["keywords"][name] == value


def test_an_administrator_sees_others_keywords_and_through_a_narrow_token_none(house: House, anna: Person) -> None:
    file_id = ask(house, anna, "files").json()[0]["file_id"]
    admin = house.person("admin")
    found = keywords(house, admin.headers, file_id=file_id)
    assert (found["hidden"], found["keywords"]["PATIENT ID"]) == ([], SECRET)
    for scope in ("fcs:read", "fcs:write", "fcs:analyze"):
        answer = house.client.get(f"{FCS}/keywords?file_id={file_id}", headers=house.token(admin, scope))
        assert SECRET not in refusal(answer, 404, "NOT_FOUND")["detail"]


@pytest.mark.parametrize(("name", "value"), [("file_id", "0"), ("file_id", "x"), ("name", "$CYT"), ("format", "csv")])
def test_what_cannot_be_asked_for_is_refused_by_name(house: House, anna: Person, name: str, value: str) -> None:
    answer = ask(house, anna, "keywords", **{name: value})
    assert [error["field"] for error in refusal(answer, 400, "VALIDATION_ERROR")["errors"]] == [name]


def test_many_keywords_are_told_at_once(house: House) -> None:
    who = house.person()
    put(house, who, fcs([[1.0]], more=[(f"KEY{n}", str(n)) for n in range(5000)]))
    found = keywords(house, who.headers)
    assert [found["keywords"][f"KEY{n}"] for n in range(5000)] == [str(n) for n in range(5000)]
