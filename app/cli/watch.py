"""Following the audit trail: what was written last, then what is being written, each row once."""

import time
from collections.abc import Iterator

import msgspec

from app.cli.answers import AuditRow, read
from app.cli.client import Client, Query
from app.cli.follow import Patience
from app.cli.outcomes import Refused, Unreachable

PAUSE_S = 1.0
PAGE = 1000
_ROUTE = "/api/v1/audit"
_OVERLAP = 100


class Watcher:
    """Asks for the rows that are wanted, again and again.

    What was written since is asked for without the filters, which are applied here: otherwise a filter that little
    passes would have the service look through ever more rows. The questions leave rows of their own; by `label`, the
    id that all requests of `client` have, they are known and left out.
    """

    def __init__(self, client: Client, wanted: Query, label: str) -> None:
        self._client = client
        self._wanted = wanted
        self._label = label
        self._after = 0
        self._told: frozenset[int] = frozenset()
        self._patience = Patience()

    def rows(self, newest: int) -> Iterator[list[msgspec.Raw]]:
        """Yields the newest rows, the oldest of them first, then what comes; raises when it cannot go on."""
        yield self._begin(newest)
        while True:
            try:
                page = self._page()
            except (Refused, Unreachable) as failure:
                self._patience.endure(failure, PAUSE_S)
                continue
            self._patience.heard()
            yield [raw for row, raw in page if self._passes(row)]
            if len(page) < PAGE:
                time.sleep(PAUSE_S)

    def _begin(self, newest: int) -> list[msgspec.Raw]:
        """The newest rows. Where to go on is asked before: what is written meanwhile comes, and not twice."""
        last = self._client.items("/audit", {"limit": _OVERLAP}, _OVERLAP)
        self._after = max((row.id for row, _ in _decoded(last)), default=0)
        found = _decoded(self._client.items("/audit", {**self._wanted, "limit": min(newest + 1, PAGE)}, newest + 1))
        self._told = frozenset(row.id for row, _ in found if row.id > self._after)
        return [raw for row, raw in found[::-1] if not self._is_ours(row)][-newest:]

    def _page(self) -> list[tuple[AuditRow, msgspec.Raw]]:
        """What was written since the last page, in the order of writing; a row that came before is not among it."""
        query = {"after": self._after, "since": self._wanted["since"], "limit": PAGE}
        answer = self._client.get("/audit", list[msgspec.Raw], query)
        page = [(row, raw) for row, raw in _decoded(answer) if row.id > self._after]
        self._after = max((row.id for row, _ in page), default=self._after)
        return page

    def _is_ours(self, row: AuditRow) -> bool:
        return row.authorized and row.request_id == self._label and row.route == _ROUTE

    def _passes(self, row: AuditRow) -> bool:
        wanted = self._wanted
        return (
            row.id not in self._told
            and not self._is_ours(row)
            and all(wanted[name] in (None, getattr(row, name)) for name in ("actor_id", "token_id", "action", "target"))
            and (wanted["authorized"] is None or not row.authorized)
        )


def _decoded(found: list[msgspec.Raw]) -> list[tuple[AuditRow, msgspec.Raw]]:
    return [(read(raw, AuditRow, "a row of the trail"), raw) for raw in found]
