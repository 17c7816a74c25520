"""What a file is called: names that people send become names that harm nobody."""

import re
import unicodedata

from app.values import MOST_NAME

_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, line breaks, what turns the direction of text (`exe.gpj` would read as `jpg.exe`), surrogates."""
UNNAMED = "unnamed"


def sanitised(name: str) -> str:
    """The last part of a path, one line of at most 255 characters, its extension kept; `unnamed` for nothing."""
    last = name.replace("\\", "/").rpartition("/")[2]
    name = unicodedata.normalize("NFC", _HARMFUL.sub("", last)).strip()
    if not name.strip("."):
        return UNNAMED
    stem, ending = split(name)
    return (stem[: MOST_NAME - len(ending)] + ending).strip()


def split(name: str) -> tuple[str, str]:
    """The name without its extension, and the extension with its dot, empty when there is none."""
    stem, dot, ending = name.rpartition(".")
    if not stem or not ending or len(ending) > 16:
        return name, ""
    return stem, dot + ending


def copied(name: str) -> str:
    """What a copy is called: `report (copy).pdf`."""
    stem, ending = split(name)
    mark = " (copy)"
    return stem[: MOST_NAME - len(mark + ending)] + mark + ending
