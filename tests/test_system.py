"""Is it alive, is it ready, which version is it."""

import platform
import re
import sqlite3

import pytest
from starlette.testclient import TestClient

from app import __version__
from app.main import Purser
from tests.support import ROOT, refusal

PROBES = ("/health", "/livez", "/readyz")


@pytest.mark.parametrize("path", ["/health", "/livez"])
def test_it_says_that_it_lives(stranger: TestClient, path: str) -> None:
    answer = stranger.get(path)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_it_says_hello(stranger: TestClient) -> None:
    assert stranger.get("/hello").json() == {"message": "Hello World!"}


def test_it_is_ready_when_it_can_do_its_work(stranger: TestClient) -> None:
    answer = stranger.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ok",
        "checks": {"database": "ok", "schema": "ok", "builder": "ok", "clock": "ok"},
    }


def test_it_is_not_ready_without_its_builder_and_says_so(stranger: TestClient, app: Purser) -> None:
    assert stranger.portal is not None
    stranger.portal.call(app.state.packages.downloads.stop)
    answer = stranger.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"] == {"database": "ok", "schema": "ok", "builder": "not running", "clock": "ok"}
    assert answer.json()["status"] == "unavailable"
    assert stranger.get("/livez").status_code == 200


def test_it_is_not_ready_while_the_disk_is_full_and_is_again_when_there_is_room(
    client: TestClient, app: Purser
) -> None:
    """The database is held to its present size; reading goes on, writing answers 507."""
    pages = fill(client, app)
    refusal(client.post("/api/v1/packages", json={"name": "x" * 100, "version": "1.0"}), 507, "INSUFFICIENT_STORAGE")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["database"]) == (503, "not writable")
    assert client.get("/api/v1/packages").status_code == 200
    limit(client, app, pages + 1000)
    assert client.post("/api/v1/packages", json={"name": "x" * 100, "version": "1.0"}).status_code == 201
    assert client.get("/readyz").status_code == 200


def limit(client: TestClient, app: Purser, pages: int) -> int:
    """Holds the database file to so many pages; returns how many it has."""

    def set_limit(tx: object) -> int:
        connection: sqlite3.Connection = tx._connection  # type: ignore[attr-defined]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return int(connection.execute("PRAGMA page_count").fetchone()[0])

    async def write() -> int:
        return int(await app.state.db.write(set_limit))

    assert client.portal is not None
    return int(client.portal.call(write))


def fill(client: TestClient, app: Purser) -> int:
    """Takes all room from the database: no page may be added, and those there are, are full."""
    pages = limit(client, app, 1)
    for number in range(3000):
        answer = client.post("/api/v1/packages", json={"name": "x" * 90 + str(number), "version": "1.0"})
        if answer.status_code == 507:
            return pages
    raise AssertionError("the database never became full")


def test_the_version_tells_what_runs_here(client: TestClient) -> None:
    found = client.get("/api/v1/version").json()
    migrations = sorted((ROOT / "sql" / "migrations").glob("*.sql"))
    assert found == {
        "version": __version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "schema": int(migrations[-1].name[:4]),
        "dialect": "sqlite",
    }
    assert re.search(rf'^version = "{re.escape(__version__)}"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


def test_the_version_is_for_those_who_are_signed_in(stranger: TestClient) -> None:
    refusal(stranger.get("/api/v1/version"), 401)


@pytest.mark.parametrize("path", PROBES)
def test_a_probe_leaves_no_trace_and_takes_no_parameters(stranger: TestClient, path: str) -> None:
    assert refusal(stranger.get(path, params={"verbose": 1}), 400)["errors"][0]["field"] == "verbose"
    assert stranger.head(path).status_code == 200
    refusal(stranger.post(path), 405)
