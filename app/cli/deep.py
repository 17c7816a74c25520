"""JSON of any depth: a tree of folders goes deeper than decoders that call themselves for each level."""

import re
from collections.abc import Iterator
from typing import TypeVar

import msgspec

T = TypeVar("T")

_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|[{}]|[^"{}]+', re.DOTALL)


def objects(document: bytes, kind: type[T]) -> tuple[list[T], list[int]]:
    """Returns all objects of an array, however deep they lie in each other, and which of them are the outermost.

    Each is decoded by itself as a `kind`, with the objects that lie in it as their places in the list; those come
    before it. ValueError when the document is something else.
    """
    found: list[T] = []
    begun: list[list[str]] = [[]]
    for piece in _pieces(document):
        if piece == "{":
            begun.append([])
        begun[-1].append(piece)
        if piece == "}":
            found.append(_decoded("".join(begun.pop()), kind))  # one that has not begun is no object
            begun[-1].append(f" {len(found) - 1} ")
    if len(begun) > 1:
        raise ValueError("an object has no end")
    return found, _decoded("".join(begun[0]), list[int])


def _decoded(text: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(text, type=kind)
    except RecursionError:
        raise ValueError("arrays in arrays without end") from None


def compact(document: bytes) -> str:
    """Returns a JSON document on one line."""
    return "".join(piece if piece[0] == '"' else "".join(piece.split()) for piece in _pieces(document))


def _pieces(document: bytes) -> Iterator[str]:
    """Yields strings, braces, and what stands between them."""
    text = document.decode()
    at = 0
    while at < len(text):
        piece = _PIECE.match(text, at)
        if piece is None:
            raise ValueError("a string has no end")
        yield piece[0]
        at = piece.end()
