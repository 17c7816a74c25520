"""Log lines: one JSON object each on standard output, or text for people; with the request id, never a secret."""

import logging
import sys
from typing import Any

import msgspec

from app.values import now
from app.web.middleware import request_id

_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}


class Lines(logging.Formatter):
    """A record as one line: constant message, fields from `extra`, the request id, the trace of an exception."""

    def __init__(self, *, as_json: bool) -> None:
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {"at": now(), "level": record.levelname.lower(), "logger": record.name}
        fields["message"] = record.getMessage()
        if number := request_id.get():
            fields["request_id"] = number
        fields |= {name: value for name, value in vars(record).items() if name not in _KNOWN}
        if record.exc_info:
            fields["trace"] = self.formatException(record.exc_info)
        if self._as_json:
            return msgspec.json.encode(fields, enc_hook=str).decode()
        trace = fields.pop("trace", None)
        head = f"{fields.pop('at')} {fields.pop('level').upper():7} {fields.pop('logger')}: {fields.pop('message')}"
        text = " ".join([head, *(f"{name}={value}" for name, value in fields.items())])
        return f"{text}\n{trace}" if trace else text


def configure(*, as_json: bool, debug: bool) -> None:
    """Sends all log lines of the process to standard output in our form. For a process that is Purser alone."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(Lines(as_json=as_json))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    logging.getLogger("aiosqlite").setLevel(logging.INFO)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
