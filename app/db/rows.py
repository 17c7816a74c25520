"""Rows become structs: by column name, 0/1 as booleans, JSON text where the struct's field is a list or an object."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

T = TypeVar("T")
_JSON = (list, tuple, dict, set, frozenset)


def converter(columns: Sequence[str], row: type[T]) -> Callable[[Sequence[object]], T]:
    """A function from a raw row with these columns to a `row`; made once per statement and type."""
    names = tuple(columns)
    if names == _plain_fields(row):
        return lambda raw: row(*raw)
    nested = _json_fields(row) & set(names)

    def convert(raw: Sequence[object]) -> T:
        members: dict[str, Any] = dict(zip(names, raw, strict=True))
        for name in nested:
            if members[name] is not None:
                members[name] = msgspec.json.decode(members[name])
        return msgspec.convert(members, row, strict=False)

    return convert


def _plain_fields(row: type) -> tuple[str, ...] | None:
    """The fields of a struct that takes columns as they are, neither booleans nor JSON in it; else None."""
    if not issubclass(row, msgspec.Struct):
        return None
    fields = msgspec.structs.fields(row)
    names = tuple(field.name for field in fields)
    positional = names == row.__match_args__  # not so where members are given by name alone
    return names if positional and all(_holds_plain(field.type) for field in fields) else None


def _holds_plain(kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return True
    parts = get_args(kind)
    return all(map(_holds_plain, parts)) if parts else kind in (int, float, str, bytes, type(None))


def _json_fields(row: type) -> set[str]:
    """The fields of a struct whose columns hold JSON text."""
    if not issubclass(row, msgspec.Struct):
        return set()
    return {field.name for field in msgspec.structs.fields(row) if _holds_json(field.type)}


def _holds_json(kind: Any) -> bool:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return True
    if kind in _JSON or get_origin(kind) in _JSON:
        return True
    return any(_holds_json(part) for part in getattr(kind, "__args__", ()) if part is not type(None))


def to_json(members: object) -> str:
    """The JSON text to bind for a list or an object."""
    return msgspec.json.encode(members).decode()
