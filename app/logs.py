"""Log lines: one JSON object each on standard output, or text for people; with the request id, never a secret."""

import logging
import sys
from contextvars import ContextVar
from typing import Any

import msgspec

from app.values import now

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request being served: log lines carry it, also those of the database's thread."""

_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class Lines(logging.Formatter):
    """A record as one line: constant message, fields from `extra`, the request id, the trace of an exception."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        fields: dict[str, Any] = {"at": now(), "level": record.levelname.lower(), "logger": record.name}
        fields["message"] = record.getMessage()
        if number := request_id.get():
            fields["request_id"] = number
        fields |= {name: value for name, value in vars(record).items() if name not in _KNOWN}
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        return msgspec.json.encode(fields, enc_hook=str).decode() if self._as_json else _text(fields)


def _text(fields: dict[str, Any]) -> str:
    """For people: the message, then the fields; one with odd characters is quoted, so that no line can be forged."""
    trace = fields.pop("trace", None)
    head = f"{fields.pop('at')} {fields.pop('level').upper():7} {fields.pop('logger')}: {fields.pop('message')}"
    members = ((name, str(value)) for name, value in fields.items())
    text = " ".join([head, *(f"{name}={value if value.isprintable() else repr(value)}" for name, value in members)])
    return f"{text}\n{trace}" if trace else text


def configure(*, as_json: bool, debug: bool, logger: str | None = None) -> None:
    """Sends log lines to standard output in our form: all of the process's, or those of one logger and below."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(Lines(as_json=as_json))
    top = logging.getLogger(logger)
    top.handlers[:] = [handler]
    top.setLevel(logging.DEBUG if debug else logging.INFO)
    top.propagate = False
    logging.getLogger("aiosqlite").setLevel(logging.INFO)
    if logger is None:
        for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
            logging.getLogger(name).handlers.clear()
            logging.getLogger(name).propagate = True
