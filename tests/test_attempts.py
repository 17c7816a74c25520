"""Attempts as rows: room on the disk before they begin, and leases, by which builders know whose an attempt is."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app import values
from app.actor import Actor
from app.config import Config
from app.datadir import open_database, prepare
from app.db import Database, Tx
from app.main import create_app
from app.packages import attempts, downloads, service
from app.packages.builder import Failed, Nix
from app.packages.downloads import Downloads
from app.packages.space import Space, free_bytes
from app.packages.structs import PackageCreate, Queued
from app.users import service as users
from app.values import later
from tests.nix_store import FAKES, nix_environment
from tests.notes import HANG_S, soon
from tests.support import claim, configured, refusal
from tests.test_packages import PACKAGES, create

ROOM = Space(1, 0)


@pytest.fixture
async def database(config: Config) -> AsyncIterator[Database]:
    prepare(config)
    opened = await open_database(config)
    yield opened
    await opened.close()


@pytest.fixture
async def actor(database: Database) -> Actor:
    """The appliance's first user."""

    def act(tx: Tx) -> Actor:
        return users.acting(tx, users.claim(tx))

    return await database.write(act)


async def queued(database: Database, actor: Actor, name: str = "tool") -> int:
    """The id of a package whose download waits."""
    package = await database.write(service.create, actor, PackageCreate(name, "1.0.0"))
    await database.write(attempts.download, actor, package.id, ROOM)
    return package.id


async def taken(database: Database, *own: int, lease_s: float = 60) -> Queued | None:
    """What a builder gets that looks for work and is building the attempts `own`."""
    return await database.write(attempts.claim, later(lease_s), frozenset(own))


async def statuses(database: Database, package_id: int) -> list[str]:
    return [attempt.status for attempt in await database.read(attempts.page, package_id, after=0, limit=10)]


# Room


def test_without_room_a_download_does_not_begin_and_both_numbers_are_told(tmp_path: Path) -> None:
    config = configured(tmp_path / "data", MIN_FREE_BYTES=str(10**17))
    with TestClient(create_app(config), client=("127.0.0.1", 50000)) as client:
        client.headers["Authorization"] = f"Token {claim(client)}"
        create(client)
        document = refusal(client.post(f"{PACKAGES}/1/download"), 507, "INSUFFICIENT_STORAGE")
        assert document["needed_bytes"] == 10**17
        assert 0 < document["free_bytes"] < 10**17
        assert document["detail"] == f"{document['free_bytes']} bytes are free, {10**17} are needed."
        found = client.get(f"{PACKAGES}/1").json()
        assert (found["status"], found["failure"]) == ("created", None)
        assert client.get(f"{PACKAGES}/1/attempts").json() == []
        refusal(client.post(f"{PACKAGES}/2/download"), 404)


async def test_what_is_under_way_or_there_needs_no_more_room(database: Database, actor: Actor) -> None:
    package_id = await queued(database, actor)
    full = Space(0, 1)
    again = await database.write(attempts.download, actor, package_id, full)
    assert (again.status, again.attempt) == ("downloading", 1)
    claimed = await taken(database)
    assert claimed is not None
    await database.write(attempts.succeed, claimed.id, "/nix/store/x", 7, 9)
    assert (await database.write(attempts.download, actor, package_id, full)).status == "downloaded"


async def test_room_that_has_gone_while_a_download_waited_is_a_failure(tmp_path: Path) -> None:
    nix = stand_in(tmp_path, min_free_bytes=10**17)
    ended = await nix.build(1, 1, "ok", "1.0.0", stop=asyncio.Event())
    assert isinstance(ended, Failed)
    assert ended.failure == "no_space"
    assert f"{10**17} are needed" in ended.detail
    assert not (tmp_path / "data" / "tmp" / "1").exists()


def test_the_fuller_file_system_counts(tmp_path: Path) -> None:
    there, to_come = tmp_path, tmp_path / "a" / "b"
    assert free_bytes([Path("/proc"), there]) == 0
    assert free_bytes([to_come]) > 0


# Leases


def stand_in(tmp_path: Path, **more: int) -> Nix:
    """Nix with the stand-in for nix-build, which does what the package's name says."""
    return Nix(
        program=str(FAKES / "nix-build"),
        expression=None,
        options=[],
        inherited=nix_environment(tmp_path),
        data_dir=tmp_path / "data",
        timeout_s=HANG_S,
        silent_timeout_s=HANG_S,
        log_limit_bytes=100_000,
        **more,
    )


async def test_an_attempt_is_taken_once(database: Database, actor: Actor) -> None:
    await queued(database, actor)
    claims = await asyncio.gather(*(taken(database) for _ in range(20)))
    assert [claim.number for claim in claims if claim is not None] == [1]


async def test_an_attempt_whose_builder_is_silent_is_taken_over(
    database: Database, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    package_id = await queued(database, actor)
    first = await taken(database)
    assert first is not None
    assert await taken(database) is None
    instant = values.clock()
    monkeypatch.setattr(values, "clock", lambda: instant + 61)
    second = await taken(database)
    assert second is not None
    assert (second.package_id, second.number) == (package_id, 2)
    assert await statuses(database, package_id) == ["interrupted", "running"]
    assert not await database.write(attempts.renew_lease, first.id, later(60))
    await database.write(attempts.succeed, first.id, "/nix/store/late", 7, 9)  # what a builder that was away finds
    assert (await database.read(service.row, package_id)).status == "downloading"
    assert await statuses(database, package_id) == ["interrupted", "running"]
    assert await database.write(attempts.renew_lease, second.id, later(60))


async def test_a_renewed_lease_holds(database: Database, actor: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    await queued(database, actor)
    first = await taken(database)
    assert first is not None
    instant = values.clock()
    monkeypatch.setattr(values, "clock", lambda: instant + 59)
    assert await database.write(attempts.renew_lease, first.id, later(60))
    monkeypatch.setattr(values, "clock", lambda: instant + 100)
    assert await taken(database) is None


async def test_a_builder_does_not_take_its_own_attempts_over(
    database: Database, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that was set forward, or a machine that slept: the build goes on, and its lease is renewed."""
    package_id = await queued(database, actor)
    first = await taken(database)
    assert first is not None
    instant = values.clock()
    monkeypatch.setattr(values, "clock", lambda: instant + 86_400)
    assert await taken(database, first.id) is None
    assert await statuses(database, package_id) == ["running"]


async def test_a_cancelled_attempt_that_is_taken_over_is_not_built_again(
    database: Database, actor: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    package_id = await queued(database, actor)
    await taken(database)
    await database.write(attempts.cancel, actor, package_id)
    instant = values.clock()
    monkeypatch.setattr(values, "clock", lambda: instant + 61)
    assert await taken(database) is None
    assert await statuses(database, package_id) == ["cancelled"]
    assert (await database.read(service.row, package_id)).status == "created"


async def test_a_builder_that_has_lost_its_lease_ends_its_build(
    database: Database, actor: Actor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "LEASE_S", 0.15)
    works = Downloads(database, stand_in(tmp_path), tmp_path / "data", 1)
    await works.start()
    try:
        package_id = await queued(database, actor, "hang")
        begun = works.log_path(1)
        async with asyncio.timeout(HANG_S):
            while not begun.exists() or b"begun" not in begun.read_bytes():
                await asyncio.sleep(0.01)
        instant = values.clock()
        monkeypatch.setattr(values, "clock", lambda: instant + 61)
        other = await taken(database)
        assert other is not None
        assert other.number == 2
        async with asyncio.timeout(HANG_S):
            while list((tmp_path / "data" / "tmp").glob("1*")):
                await asyncio.sleep(0.01)
        assert await statuses(database, package_id) == ["interrupted", "running"]
    finally:
        await soon(works.stop())
