"""The answers of the system room."""

from typing import Literal

import msgspec


class Health(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(msgspec.Struct, frozen=True):
    """Whether the appliance can do its work, and each check in a word."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, str]


class Hello(msgspec.Struct, frozen=True):
    """A greeting."""

    message: str = "Hello World!"


class Version(msgspec.Struct, frozen=True):
    """What runs here. `schema` is the number of the newest migration."""

    version: str
    python: str
    sqlite: str
    schema: int
    dialect: str
