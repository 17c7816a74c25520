"""What files are called, what they are told to be, how they are handed out: hostile ones harm nobody."""

import re
import unicodedata
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.files.naming import UNNAMED, copied, sanitised, split
from app.files.sniffing import UNKNOWN, kind, media_type
from app.values import MOST_NAME, FileName
from app.web.ranges import attached
from tests.accounts import Person
from tests.house import House
from tests.office import FILES, made, put, share
from tests.support import refusal

SIGNS = st.one_of(
    st.characters(), st.sampled_from("./\\ \0\n\r\"';%:a\u0301\u0338\u00e9\u3000\u2028\u202e\u200f\ud800\U0001f52c")
)
NAMES = st.one_of(st.text(SIGNS), st.text(SIGNS, min_size=200, max_size=400))
BIDI_CONTROLS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""All that Unicode's PropList.txt calls Bidi_Control."""
EXTENSIONS = st.from_regex(r"\A\.[A-Za-z0-9]{1,15}\Z")

CLEANED = {
    "report.pdf": "report.pdf",
    "../../etc/passwd\x00.html": "passwd.html",
    "/etc/passwd": "passwd",
    "C:\\x\\y.txt": "y.txt",
    "C:\\fakepath\\Größe.csv": "Größe.csv",
    "\\\\server\\share\\a.doc": "a.doc",
    "..\\..\\boot.ini": "boot.ini",
    "a/b\\c/d.txt": "d.txt",
    "a/..": UNNAMED,
    "folder/": UNNAMED,
    "": UNNAMED,
    ".": UNNAMED,
    "..": UNNAMED,
    ".....": UNNAMED,
    "   ": UNNAMED,
    " .. ": UNNAMED,
    "\0\n\r\t": UNNAMED,
    "\ud800\udfff": UNNAMED,
    "\u202e": UNNAMED,
    ".htaccess": ".htaccess",
    "a\r\nSet-Cookie: b=c.txt": "aSet-Cookie: b=c.txt",
    "line\u2028one\u2029.txt": "lineone.txt",
    "\x85a\x0b\x0c.txt": "a.txt",
    "photo\u202egpj.exe": "photogpj.exe",
    "x\u2067y\u2069.txt": "xy.txt",
    "a\ud83d.txt": "a.txt",
    "e\u0301t\u0301.txt": "\u00e9t\u0301.txt",
    " a b .txt ": "a b .txt",
    "quotes\"and'.txt": "quotes\"and'.txt",
    "\U0001f52c.png": "\U0001f52c.png",
    "x" * 5000: "x" * MOST_NAME,
    "x" * 5000 + ".tar.gz": "x" * 252 + ".gz",
    "." + "x" * 5000: "." + "x" * 254,
    "../" * 5000 + "a.txt": "a.txt",
    "a." + "x" * 5000: "a." + "x" * 253,
}


@pytest.mark.parametrize(("name", "clean"), CLEANED.items(), ids=[ascii(name)[:40] for name in CLEANED])
def test_a_name_becomes_one_that_harms_nobody(name: str, clean: str) -> None:
    assert sanitised(name) == clean


@given(NAMES)
@example("../" * 1000)
@example("." * 300)
@example(" " * 300 + ".txt")
@example("\u0338/" * 200)
def test_whatever_is_sent_becomes_a_name_that_could_be_given_in_a_rename(name: str) -> None:
    found = sanitised(name)
    assert 1 <= len(found) <= MOST_NAME
    assert found.splitlines() == [found]
    assert not set(found) & set("/\\\0")
    assert found.strip(".")
    assert found.encode().decode() == found
    assert msgspec.convert(found, FileName) == found


@given(NAMES)
@example("x" * 254 + " y")
@example("e\u200e\u0301")
@example("a\ud800\u030a.txt")
def test_a_clean_name_stays_as_it_is(name: str) -> None:
    once = sanitised(name)
    assert sanitised(once) == once


@pytest.mark.parametrize("sign", BIDI_CONTROLS, ids=ascii)
def test_nothing_turns_the_direction_of_a_name(house: House, sign: str) -> None:
    """Neither in an upload nor in a rename: `exe.gpj` would read as `jpg.exe`."""
    assert sanitised(f"photo{sign}gpj.exe") == "photogpj.exe"
    file = put(house, house.person(), name="a.exe")
    answer = house.client.patch(f"{FILES}/{file['id']}", json={"name": f"photo{sign}gpj.exe"})
    assert refusal(answer, 400, "VALIDATION_ERROR")["errors"][0]["field"] == "/name"


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z", "M"]), min_size=1, max_size=400), EXTENSIONS)
def test_a_name_that_is_cut_keeps_its_extension(stem: str, ending: str) -> None:
    stem = "x" + unicodedata.normalize("NFC", re.sub(r"[/\\]", "_", stem))
    found = sanitised(stem + ending)
    assert found == stem[: MOST_NAME - len(ending)] + ending
    assert split(found) == (found[: -len(ending)], ending)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.txt", ("a", ".txt")),
        ("a.tar.gz", ("a.tar", ".gz")),
        ("a", ("a", "")),
        ("a.", ("a.", "")),
        (".bashrc", (".bashrc", "")),
        ("", ("", "")),
        ("a." + "x" * 16, ("a", "." + "x" * 16)),
        ("a." + "x" * 17, ("a." + "x" * 17, "")),
    ],
)
def test_a_name_has_an_extension_or_none(name: str, parts: tuple[str, str]) -> None:
    assert split(name) == parts


@pytest.mark.parametrize(
    ("name", "copy"),
    [
        ("report.pdf", "report (copy).pdf"),
        ("report (copy).pdf", "report (copy) (copy).pdf"),
        ("README", "README (copy)"),
        (".bashrc", ".bashrc (copy)"),
        ("a.tar.gz", "a.tar (copy).gz"),
        ("x" * 255, "x" * 248 + " (copy)"),
        ("x" * 251 + ".pdf", "x" * 244 + " (copy).pdf"),
    ],
)
def test_a_copy_is_called_one(name: str, copy: str) -> None:
    assert copied(name) == copy


@given(NAMES)
def test_the_name_of_a_copy_holds_for_any_name(name: str) -> None:
    found = copied(sanitised(name))
    assert msgspec.convert(found, FileName) == found
    assert sanitised(found) == found


PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
ZIP, OLE = b"PK\x03\x04\x14\x00", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00"
OFFICE = "application/vnd.openxmlformats-officedocument."
HTML, SVG, PLAIN, XML = "text/html", "image/svg+xml", "text/plain", "application/xml"
FCS, ZIPPED = "application/vnd.isac.fcs", "application/zip"
TYPES: list[tuple[bytes, str, str]] = [
    (PNG, "a.png", "image/png"),
    (PNG, "a.html", "image/png"),
    (b"\xff\xd8\xff\xe0\x00\x10JFIF", "a", "image/jpeg"),
    (b"GIF89a\x01\x00", "a.txt", "image/gif"),
    (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "a", "image/webp"),
    (b"RIFF\x00\x00\x00\x00WAVEfmt ", "a", "audio/wav"),
    (b"RIFF\x00\x00\x00\x00AVI LIST", "a", "video/x-msvideo"),
    (b"nowWhat?WEBP is text", "a.txt", PLAIN),
    (b"FORM\x00\x00\x00\x00AIFFCOMM", "a", "audio/aiff"),
    (b"The old AIFF files", "a.txt", PLAIN),
    (b"\x00\x00\x00\x18ftypmp42", "a", "video/mp4"),
    (b"\x00\x00\x00\x18ftypavif", "a", "image/avif"),
    (b"ID3\x03\x00", "a", "audio/mpeg"),
    (b"%PDF-1.7\n<script>", "a.html", "application/pdf"),
    (ZIP, "a.zip", ZIPPED),
    (ZIP, "a", ZIPPED),
    (ZIP, "a.html", ZIPPED),
    (ZIP, "a.DOCX", OFFICE + "wordprocessingml.document"),
    (ZIP, "a.xlsx", OFFICE + "spreadsheetml.sheet"),
    (ZIP, "a.odt", "application/vnd.oasis.opendocument.text"),
    (b"PK\x05\x06" + bytes(18), "empty.zip", ZIPPED),
    (OLE, "a.doc", "application/msword"),
    (OLE, "a.bin", "application/x-ole-storage"),
    (b"\x1f\x8b\x08", "a.tgz", "application/gzip"),
    (bytes(257) + b"ustar\x0000", "a.tar", "application/x-tar"),
    (b"7z\xbc\xaf\x27\x1c", "a", "application/x-7z-compressed"),
    (b"\x7fELF\x02", "a.txt", "application/x-executable"),
    (b"MZ\x90\x00\x03\x00", "a.txt", "application/x-msdownload"),
    (b"SQLite format 3\x00", "a.csv", "application/vnd.sqlite3"),
    (b"FCS2.0    ", "a.fcs", FCS),
    (b"FCS3.0    ", "a", FCS),
    (b"FCS3.1          58    1024", "a.txt", FCS),
    (b"FCS3.2    ", "a.LMD", FCS),
    (b"FCS files are described in a book", "a.txt", PLAIN),
    (b"", "empty", PLAIN),
    (b"", "empty.csv", "text/csv"),
    (b"", "empty.png", PLAIN),
    (b"plain words\n", "a", PLAIN),
    (b"plain words\n", "a.png", PLAIN),
    (b"plain words\n", "a.exe", PLAIN),
    ("Größe\n".encode(), "a.txt", PLAIN),
    ("\ufeffGröße\n".encode(), "a.csv", "text/csv"),
    ("Größe\n".encode("utf-16"), "a.txt", PLAIN),
    (b"a,b\n1,2\n", "a.CSV", "text/csv"),
    (b"# Title\n", "a.md", "text/markdown"),
    (b"{}", "a.json", "application/json"),
    (b"alert(1)", "a.js", "text/javascript"),
    (b"BEGIN:VCALENDAR", "a.ics", "text/calendar"),
    (b"words", "a.html", HTML),
    (b"BMI,age\n21,40\n", "cohort.csv", "text/csv"),
    (b"MZ,RT,intensity\n", "peaks.csv", "text/csv"),
    (b"\x00\x01\x02", "a.txt", UNKNOWN),
    (b"text and\x00NUL", "a.html", UNKNOWN),
    (b"<!DOCTYPE html><p>", "a.txt", HTML),
    (b" \r\n\t<HTML>", "a.png", HTML),
    (b"<script>alert(1)</script>", "photo.jpg", HTML),
    (b"<!-- x --><script>", "a", HTML),
    (b"<iframe src=x>", "a.csv", HTML),
    (b"<bodybuilder>", "a.txt", PLAIN),
    (b"a < b <script>", "a.txt", PLAIN),
    (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'>", "a.png", SVG),
    (b"\n <SVG>", "a", SVG),
    (b"<?xml version='1.0'?>\n<!-- x -->\n<svg ", "a.txt", SVG),
    (b"<?xml version='1.0'?><feed>", "a.txt", XML),
]
TAGS = {"HTML", "HEAD", "SCRIPT", "IFRAME", "H1", "DIV", "FONT", "TABLE", "A", "STYLE", "TITLE", "B", "BODY", "BR", "P"}


@pytest.mark.parametrize(("head", "name", "expected"), TYPES, ids=[f"{h[:20]!a} {n}" for h, n, _ in TYPES])
def test_bytes_are_told_by_how_they_begin_and_text_by_its_extension(head: bytes, name: str, expected: str) -> None:
    assert media_type(head, name) == expected


@pytest.mark.parametrize("tag", sorted(TAGS))
def test_each_tag_of_the_standard_makes_a_page(tag: str) -> None:
    """The WHATWG's MIME Sniffing Standard, 7.1, the first table."""
    for written in (f"<{tag}>", f" <{tag.lower()} "):
        assert media_type(written.encode(), "a.txt") == "text/html"


@given(st.binary(max_size=300), NAMES)
def test_whatever_it_is_it_has_a_type_and_a_kind(head: bytes, name: str) -> None:
    found = media_type(head, sanitised(name))
    assert re.fullmatch(r"[a-z]+/[a-z0-9.+-]+", found)
    assert kind(found) in ("image", "video", "audio", "document", "archive", "other")


@pytest.mark.parametrize(
    ("media_type", "expected"),
    [
        *((f"{family}/x", family) for family in ("image", "video", "audio")),
        *((text, "document") for text in (PLAIN, HTML, "text/csv", XML, "application/pdf", "application/json")),
        *((text, "document") for text in (OFFICE + "spreadsheetml.sheet", "application/msword")),
        *((text, "archive") for text in (ZIPPED, "application/gzip", "application/x-tar", "application/java-archive")),
        *((text, "other") for text in (FCS, UNKNOWN, "application/x-executable", "font/woff")),
        (SVG, "image"),
    ],
)
def test_a_type_is_of_a_kind(media_type: str, expected: str) -> None:
    assert kind(media_type) == expected


SCRIPT = b"<!DOCTYPE html><script>fetch('/api/v1/tokens', {method: 'POST'})</script>"
DISPOSITION = re.compile(r"attachment; filename=\"([^\"\\\x00-\x1f\x7f-\U0010ffff]*)\"; filename\*=UTF-8''([!-~]+)")
"""RFC 6266, with a quoted string that needs no escapes."""
ATTRIBUTE = re.compile(r"(?:[A-Za-z0-9!#$&+.^_`|~-]|%[0-9A-F]{2})+")
"""RFC 8187, 3.2.1: value-chars."""


def told(header: str) -> tuple[str, str]:
    """The two names in a Content-Disposition, as an old and a new browser read them."""
    match = DISPOSITION.fullmatch(header)
    assert match is not None, header
    assert ATTRIBUTE.fullmatch(match[2])
    return match[1], unquote(match[2], errors="strict")


@given(NAMES)
@example('a"; filename="evil.exe')
@example("a%22.txt")
@example("%0d%0aSet-Cookie: a=b")
@example("';\\\"*=UTF-8''x.txt")
def test_no_name_breaks_the_header_of_a_download(name: str) -> None:
    field, value = attached(sanitised(name))
    assert field == b"content-disposition"
    plain, exact = told(value.decode("ascii"))
    assert exact == sanitised(name)
    assert len(plain) == len(exact)
    assert "%" not in plain  # some browsers would decode it: RFC 6266, appendix D


@pytest.fixture(scope="module")
def who(house: House) -> Person:
    return house.person()


def handed_over(house: House, who: Person, file: dict[str, Any]) -> None:
    """Checks that its owner gets the bytes under its name, to be kept, and shown by no browser as a page of ours."""
    answer = house.client.get(f"{FILES}/{file['id']}/download", headers=who.headers)
    assert (answer.status_code, answer.content) == (200, SCRIPT)
    assert told(answer.headers["content-disposition"])[1] == file["name"]
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"


def form(house: House, who: Person, name: bytes, content: bytes, declared: bytes = b"image/png") -> dict[str, Any]:
    """The file made by a form whose file is called so, byte by byte."""
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="' + name + b'"\r\nContent-Type: ' + declared
    headers = {**who.headers, "Content-Type": "multipart/form-data; boundary=b"}
    return made(house.client.post(FILES, content=head + b"\r\n\r\n" + content + b"\r\n--b--\r\n", headers=headers))


@pytest.mark.parametrize(
    ("sent", "clean"),
    [
        (b"../../etc/passwd\x00.html", "passwd.html"),
        (b"C:\\\\x\\\\y.html", "y.html"),
        (b"..", UNNAMED),
        (b"/", UNNAMED),
        (b"x" * 3000 + b".html", "x" * 250 + ".html"),
        ("photo\u202egpj.html".encode(), "photogpj.html"),
        (b"a\xff\xfe.html", "a\ufffd\ufffd.html"),
        (b"\xed\xa0\x80.html", "\ufffd\ufffd\ufffd.html"),
        ("日本語; \U0001f52c.html".encode(), "日本語; \U0001f52c.html"),
    ],
    ids=ascii,
)
def test_a_page_with_a_script_is_kept_under_a_harmless_name_and_never_shown(
    house: House, who: Person, sent: bytes, clean: str
) -> None:
    file = form(house, who, sent, SCRIPT)
    assert (file["name"], file["media_type"], file["kind"]) == (clean, "text/html", "document")
    handed_over(house, who, file)


@pytest.mark.parametrize(
    ("sent", "clean"),
    [
        ('a"b\r\nSet-Cookie: c=d\r\n\r\n<script>é.html', 'a"bSet-Cookie: c=d<script>é.html'),
        ("a\\b/c\\d\n.html", "d.html"),
        ("..", UNNAMED),
        ("\u202e\u2028", UNNAMED),
    ],
    ids=ascii,
)
def test_a_name_in_the_address_of_an_upload_is_cleaned_too(house: House, who: Person, sent: str, clean: str) -> None:
    file = put(house, who, SCRIPT, sent)
    assert file["name"] == clean
    handed_over(house, who, file)


@pytest.mark.parametrize("name", ['"; filename="x.exe', "é'%0d%0a.txt", "日本語.txt", "…", "a;b=c,d"], ids=ascii)
def test_a_file_is_downloaded_under_the_name_that_a_rename_gave_it(house: House, who: Person, name: str) -> None:
    file = put(house, who, SCRIPT, "a.html")
    renamed = made(house.client.post(f"{FILES}/{file['id']}/rename", json={"name": name}, headers=who.headers), 200)
    assert (renamed["name"], renamed["media_type"]) == (name, "text/html")
    handed_over(house, who, renamed)


@pytest.mark.parametrize(
    "declared", [b"text/html", b"image/svg+xml", b"text/html\r\nX-Other: y", b"", b"\xff"], ids=ascii
)
def test_a_type_that_the_sender_declares_is_not_believed(house: House, who: Person, declared: bytes) -> None:
    file = form(house, who, b"a.html", PNG, declared)
    answer = house.client.get(f"{FILES}/{file['id']}/download", headers=who.headers)
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "image/png", PNG)


def test_a_download_tells_what_the_bytes_are_and_keeps_them_off_the_page(house: House, who: Person) -> None:
    content = b"<svg onload='alert(1)'>"
    file = put(house, who, content, 'Größe "1".svg')
    path = f"{FILES}/{file['id']}/download"
    expected = {
        "etag": f'"{file["sha256"]}"',
        "content-type": "image/svg+xml",
        "content-length": "23",
        "accept-ranges": "bytes",
        "content-disposition": "attachment; filename=\"Gr__e _1_.svg\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe%20%221%22.svg",
        "content-security-policy": "sandbox; default-src 'none'",
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
    }
    for answer, body in ((house.client.get(path), content), (house.client.head(path), b"")):
        assert (answer.status_code, answer.content) == (200, body)
        assert {name: answer.headers[name] for name in expected} == expected
    made(house.client.patch(f"{FILES}/{file['id']}", json={"name": "b"}), 200)
    assert house.client.get(path).headers["etag"] == expected["etag"]


CONDITIONS: list[tuple[dict[str, str], int, bytes]] = [
    ({"If-None-Match": '"{tag}"'}, 304, b""),
    ({"If-None-Match": 'W/"{tag}"'}, 304, b""),
    ({"If-None-Match": '"other", "{tag}"'}, 304, b""),
    ({"If-None-Match": "*"}, 304, b""),
    ({"If-None-Match": '"{tag}"', "Range": "bytes=1-2"}, 304, b""),
    ({"If-None-Match": '"1"'}, 200, b"0123456789"),
    ({"If-None-Match": "{tag}"}, 200, b"0123456789"),
    ({"Range": "bytes=2-4"}, 206, b"234"),
    ({"Range": "bytes=7-"}, 206, b"789"),
    ({"Range": "bytes=-3"}, 206, b"789"),
    ({"Range": "bytes=2-99"}, 206, b"23456789"),
    ({"Range": "bytes=2-4", "If-Range": '"{tag}"'}, 206, b"234"),
    ({"Range": "bytes=2-4", "If-Range": 'W/"{tag}"'}, 200, b"0123456789"),
    ({"Range": "bytes=2-4", "If-Range": '"1"'}, 200, b"0123456789"),
    ({"Range": "bytes=99-", "If-Range": '"1"'}, 200, b"0123456789"),
    ({"Range": "bytes=0-1,4-5"}, 200, b"0123456789"),
    ({"Range": "lines=1-2"}, 200, b"0123456789"),
    ({"Range": "bytes=5-2"}, 200, b"0123456789"),
]


@pytest.mark.parametrize("given", CONDITIONS, ids=lambda given: str(given)[:60])
@pytest.mark.parametrize("shared", [False, True], ids=["owner", "reader"])
def test_a_download_comes_on_conditions(
    house: House, who: Person, given: tuple[dict[str, str], int, bytes], shared: bool
) -> None:
    headers, status, content = given
    file, reader = put(house, who, b"0123456789"), house.person() if shared else who
    if shared:
        share(house, who, f"files/{file['id']}", user_id=reader.id)
    wanted = {name: text.replace("{tag}", file["sha256"]) for name, text in headers.items()}
    answer = house.client.get(f"{FILES}/{file['id']}/download", headers={**reader.headers, **wanted})
    assert (answer.status_code, answer.content) == (status, content)
    assert answer.headers["etag"] == f'"{file["sha256"]}"'
    if status == 206:
        begin = b"0123456789".index(content)
        assert answer.headers["content-range"] == f"bytes {begin}-{begin + len(content) - 1}/10"
    assert ("content-length" in answer.headers) is (status != 304)


@pytest.mark.parametrize(("content", "wanted"), [(b"0123456789", "bytes=10-"), (b"", "bytes=0-"), (b"", "bytes=-1")])
def test_a_range_behind_the_end_is_refused_with_the_length(
    house: House, who: Person, content: bytes, wanted: str
) -> None:
    path = f"{FILES}/{put(house, who, content)['id']}/download"
    answer = house.client.get(path, headers={**who.headers, "Range": wanted})
    assert refusal(answer, 416, "RANGE_NOT_SATISFIABLE")["size_bytes"] == len(content)
    assert answer.headers["content-range"] == f"bytes */{len(content)}"
    whole = house.client.get(path, headers=who.headers)
    assert (whole.status_code, whole.content) == (200, content)
