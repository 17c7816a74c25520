"""The database as rooms see it: `Database` runs plain functions as transactions, `Tx` runs named statements."""

from app.db.database import Database, Tx, limit_s
from app.db.queries import Query, load

__all__ = ["Database", "Query", "Tx", "limit_s", "load"]
