"""What runs here, and whether it can do its work: no I/O, for probes call it every second."""

from app.db import Database
from app.errors import Unavailable
from app.system.structs import Readiness, Version
from app.values import clock_behind_s


def readiness(database: Database, *, builder: bool) -> Readiness:
    """`ok` when everything the appliance is for can be done now."""
    checks = {
        "database": "ok" if database.writable else "not writable",
        "schema": "ok" if database.schema > 0 else "not migrated",
        "builder": "ok" if builder else "not running",
    }
    ready = all(check == "ok" for check in checks.values())
    behind_s = clock_behind_s()
    # Everything works without the clock, so it alone makes nothing unavailable.
    checks["clock"] = f"reads {behind_s:.0f} s before the time that is known; not believed" if behind_s else "ok"
    return Readiness("ok" if ready else "unavailable", checks)


def version(release: str, python: str, database: Database) -> Version:
    """The versions of Purser, Python and the engine."""
    if not database.engine:
        raise Unavailable("The database is not open.")
    return Version(release, python, database.engine, database.schema, database.dialect)
