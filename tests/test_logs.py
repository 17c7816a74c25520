"""Log lines: one object each, the request's id in them, nothing forged."""

import logging
import sys

import msgspec

from app.logs import Lines, request_id


def record(message: str, **extra: object) -> logging.LogRecord:
    return logging.getLogger("purser.test").makeRecord(
        "purser.test", logging.WARNING, __file__, 1, message, (), None, extra=extra
    )


def test_a_line_is_one_json_object_with_its_fields() -> None:
    found = msgspec.json.decode(Lines(as_json=True).format(record("a build ended", attempt=7)))
    assert (found["level"], found["logger"], found["message"], found["attempt"]) == (
        "warning", "purser.test", "a build ended", 7
    )  # fmt: skip
    assert found["at"].endswith("Z")


def test_a_line_carries_the_request_it_belongs_to() -> None:
    token = request_id.set("abc-1")
    try:
        assert msgspec.json.decode(Lines(as_json=True).format(record("hello")))["request_id"] == "abc-1"
    finally:
        request_id.reset(token)
    assert "request_id" not in msgspec.json.decode(Lines(as_json=True).format(record("hello")))


def test_no_value_can_forge_a_line() -> None:
    forged = "x\n2026-01-01 ERROR purser: all is lost"
    for as_json in (True, False):
        assert len(Lines(as_json=as_json).format(record("seen", name_of_it=forged)).splitlines()) == 1


def test_a_trace_is_kept() -> None:
    try:
        raise ValueError("why")
    except ValueError:
        failed = record("it failed")
        failed.exc_info = sys.exc_info()
    assert "ValueError: why" in msgspec.json.decode(Lines(as_json=True).format(failed))["trace"]
    assert Lines(as_json=False).format(failed).endswith("ValueError: why")
