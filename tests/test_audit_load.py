"""The trail of a real service under load: every call has its row after a clean stop, every change after a crash."""

import http.client
import itertools
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from tests.support import Service, create_until, rows

pytestmark = pytest.mark.slow

CALLS, CALLERS = 10_000, 8
TURN = (
    ("GET", "/api/v1/version", None, 200),
    ("GET", "/api/v1/packages", None, 200),
    ("POST", "/api/v1/packages", '{{"name": "load-{0}", "version": "1.{1}"}}', 201),
    ("GET", "/none", None, 404),
    ("POST", "/api/v1/packages", '{{"name": "load-{0}"}}', 400),
    ("GET", "/health", None, 200),
    ("GET", "/api/v1/audit?limit=1", None, 200),
    ("GET", "/api/v1/tokens", None, 200),
)


def call_on(service: Service, caller: int, wait: threading.Barrier) -> Counter[int]:
    """One connection's share of the calls, each with a number of its own; how often each status came."""
    where = urlsplit(service.url)
    assert where.hostname is not None
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
    headers = {"Authorization": f"Token {service.token}", "Content-Type": "application/json"}
    wait.wait(30)
    told: Counter[int] = Counter()
    for number, (method, path, body, status) in zip(range(CALLS // CALLERS), itertools.cycle(TURN), strict=False):
        sent = None if body is None else body.format(caller, number)
        connection.request(method, path, sent, {**headers, "X-Request-ID": f"load-{caller}-{number}"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
        told[status] += 1
    connection.close()
    return told


def test_ten_thousand_calls_are_ten_thousand_rows_after_a_clean_stop(service: Service) -> None:
    """Reads, changes and refusals over several connections at once; the stop comes right behind the last answer."""
    service.settings |= {"NIX_BUILD": "false"}
    service.start()
    wait = threading.Barrier(CALLERS)
    with ThreadPoolExecutor(CALLERS) as pool:
        told = sum(pool.map(lambda caller: call_on(service, caller, wait), range(CALLERS)), Counter[int]())
    code, _ = service.stop()
    assert code == 0
    found = rows(service.database, "SELECT request_id, status, kind FROM audit WHERE request_id LIKE 'load-%'")
    assert len(found) == len({row["request_id"] for row in found}) == told.total() == CALLS
    assert Counter(row["status"] for row in found) == told
    assert sum(row["kind"] == "change" for row in found) == told[201]


def test_a_stop_in_the_middle_of_a_load_keeps_a_row_for_every_answer(service: Service) -> None:
    """Calls go on coming while it stops; whatever was answered is told once."""
    service.settings |= {"NIX_BUILD": "false"}
    service.start()
    answers, (code, _) = create_until(service, service.stop, writers=6, enough=400)
    assert code == 0
    told = Counter(
        row["request_id"] for row in rows(service.database, "SELECT request_id FROM audit WHERE method = 'POST'")
    )
    assert {told[answer.headers["x-request-id"]] for answer in answers if answer.status_code == 201} == {1}


@pytest.mark.parametrize("enough", [100, 170, 240, 310, 380])
def test_after_a_crash_every_acknowledged_change_has_its_row(service: Service, enough: int) -> None:
    """Eight callers create packages until the plug is pulled; the appliance starts again on what is left.

    Whatever was answered 201 stands in both tables, and no row tells of a package that there is not.
    """
    service.settings |= {"NIX_BUILD": "false"}
    service.start()
    answers, _ = create_until(service, service.kill, writers=8, enough=enough)
    assert {answer.status_code for answer in answers} == {201}
    acknowledged = {f"packages/{answer.json()['id']}" for answer in answers}
    assert len(acknowledged) >= enough
    service.start()
    assert service.stop()[0] == 0
    told = [row["target"] for row in rows(service.database, "SELECT * FROM audit WHERE action = 'packages.create'")]
    assert acknowledged <= {*told}
    assert sorted(told) == sorted(f"packages/{row['id']}" for row in rows(service.database, "SELECT id FROM packages"))
