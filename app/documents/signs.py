"""A signature of the words of a text: a bit for each three signs that follow each other in them.

What contains a word has all its bits; so of a hundred thousand documents those few alone are looked through whose
signature has every bit of what is searched (superimposed coding: C. N. Mooers, Zatocoding, 1951). It runs on every
engine. Scripts in which two signs are a word have bits for each two as well.
"""

from zlib import crc32

_BITS = 62
"""Of a 64-bit integer; the two highest stay clear of the sign."""
_THREES = tuple(f"t{number}" for number in range(16))
_TWOS = tuple(f"p{number}" for number in range(4))
NAMES = _THREES + _TWOS


def signature(text: str) -> dict[str, int]:
    """The bits of a folded text, by column."""
    words = set(text.split())
    found = dict.fromkeys(NAMES, 0)
    _set(found, _THREES, {word[at : at + 3] for word in words for at in range(len(word) - 2)})
    foreign = (word for word in words if not word.isascii())
    twos = {word[at : at + 2] for word in foreign for at in range(len(word) - 1)}
    _set(found, _TWOS, {two for two in twos if not two.isascii()})
    return found


def _set(found: dict[str, int], names: tuple[str, ...], parts: set[str]) -> None:
    for part in parts:
        bit = crc32(part.encode()) % (len(names) * _BITS)
        found[names[bit // _BITS]] |= 1 << bit % _BITS
