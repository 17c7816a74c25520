"""What bytes are, told from how they begin: what a sender declares is not believed.

Signatures as in the WHATWG's MIME Sniffing Standard (mimesniff.spec.whatwg.org, sections 5 and 6), and of a few
formats that it leaves out. What is text by the standard (section 7.2), or a ZIP archive, is told further by the file's
extension.
"""

import re

from app.files.naming import split
from app.files.structs import Kind

UNKNOWN = "application/octet-stream"

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"BM", "image/bmp"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"\x00\x00\x01\x00", "image/x-icon"),
    (8, b"WEBP", "image/webp"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftypqt", "video/quicktime"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (8, b"AVI ", "video/x-msvideo"),
    (0, b"\x00\x00\x01\xba", "video/mpeg"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"OggS", "audio/ogg"),
    (8, b"WAVE", "audio/wav"),
    (8, b"AIFF", "audio/aiff"),
    (0, b"MThd", "audio/midi"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"{\\rtf", "application/rtf"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"PK\x05\x06", "application/zip"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (257, b"ustar", "application/x-tar"),
    (0, b"SQLite format 3\x00", "application/vnd.sqlite3"),
    (0, b"\x7fELF", "application/x-executable"),
    (0, b"MZ", "application/x-msdownload"),
    (0, b"\x00asm", "application/wasm"),
    (0, b"wOFF", "font/woff"),
    (0, b"wOF2", "font/woff2"),
    (0, b"FCS2.0", "application/vnd.isac.fcs"),
    (0, b"FCS3.", "application/vnd.isac.fcs"),
)
_FRAMES = {"image/webp": b"RIFF", "video/x-msvideo": b"RIFF", "audio/wav": b"RIFF", "audio/aiff": b"FORM"}
"""What stands before some of them."""
_UTF_16 = (b"\xfe\xff", b"\xff\xfe")
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
"""The bytes that text does not hold: the standard's binary data bytes (section 3)."""
_MARKUP = re.compile(
    rb"\s*<(!doctype html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p|!--)[\s>]", re.IGNORECASE
)
_XML = re.compile(rb"\s*<\?xml")
_SVG = re.compile(rb"<svg[\s>]", re.IGNORECASE)
_OFFICE = "application/vnd.openxmlformats-officedocument."
_ZIPPED = {
    ".docx": _OFFICE + "wordprocessingml.document",
    ".xlsx": _OFFICE + "spreadsheetml.sheet",
    ".pptx": _OFFICE + "presentationml.presentation",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odp": "application/vnd.oasis.opendocument.presentation",
    ".epub": "application/epub+zip",
    ".jar": "application/java-archive",
}
_OLE = {".doc": "application/msword", ".xls": "application/vnd.ms-excel", ".ppt": "application/vnd.ms-powerpoint"}
_TEXTS = {
    ".csv": "text/csv",
    ".md": "text/markdown",
    ".json": "application/json",
    ".xml": "application/xml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".css": "text/css",
    ".js": "text/javascript",
    ".html": "text/html",
    ".htm": "text/html",
    ".ics": "text/calendar",
}
_ARCHIVES = frozenset({"application/zip", "application/gzip", "application/x-bzip2", "application/x-xz"})
_ARCHIVES |= {"application/zstd", "application/x-7z-compressed", "application/vnd.rar", "application/x-tar"}
_ARCHIVES |= {"application/java-archive"}
_DOCUMENTS = frozenset(
    {"application/pdf", "application/rtf", "application/json", "application/xml", "application/yaml"}
)
_DOCUMENTS |= {*_ZIPPED.values(), *_OLE.values()} - {"application/java-archive"}
_FAMILIES: dict[str, Kind] = {"image": "image", "video": "video", "audio": "audio"}


def media_type(head: bytes, name: str) -> str:
    """The media type of a file that begins with `head` and is called `name`."""
    ending = split(name)[1].lower()
    for at, signature, found in _SIGNATURES:
        if head.startswith(signature, at) and head.startswith(_FRAMES.get(found, b"")):
            if len(signature) == 2 and not _BINARY.search(head):
                continue  # a word that begins so
            if found == "application/zip":
                return _ZIPPED.get(ending, found)
            return _OLE.get(ending, found) if found == "application/x-ole-storage" else found
    if _BINARY.search(head) and not head.startswith(_UTF_16):
        return UNKNOWN
    if _SVG.search(head) and (_XML.match(head) or head.lstrip()[:4].lower() == b"<svg"):
        return "image/svg+xml"
    if _MARKUP.match(head):
        return "text/html"
    if _XML.match(head):
        return "application/xml"
    return _TEXTS.get(ending, "text/plain")


def kind(media_type: str) -> Kind:
    """Which of the six kinds a media type belongs to, by which use of space is told."""
    family = media_type.partition("/")[0]
    if family in _FAMILIES:
        return _FAMILIES[family]
    if family == "text" or media_type in _DOCUMENTS:
        return "document"
    return "archive" if media_type in _ARCHIVES else "other"
