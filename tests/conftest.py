"""Fixtures that every test may use: a configuration in an empty folder, the application over HTTP, a real process."""

import os
import pty
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from starlette.testclient import TestClient

from app import passwords, values
from app.config import Config
from app.main import Purser, create_app
from app.passwords import Cost
from tests.house import House, opened
from tests.support import Clock, Service, claim, configured

pytest.register_assert_rewrite("tests.failures", "tests.gated")
hypothesis.settings.register_profile("purser", deadline=None)  # how long an example takes says nothing here
hypothesis.settings.load_profile("purser")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, as the service does."""
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
def cheap_hashes() -> Iterator[None]:
    """Passwords are hashed with little work in this process: what it must cost is told in test_passwords.py."""
    cheap = Cost(4, 8, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "TODAY", cheap)
        patch.setattr(passwords, "_NOBODY", passwords._NOBODY._replace(cost=cheap))
        yield


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """The defaults, in an empty data folder."""
    return configured(tmp_path / "data")


@pytest.fixture
def app(config: Config) -> Purser:
    return create_app(config)


@pytest.fixture
def stranger(app: Purser) -> Iterator[TestClient]:
    """A caller on the appliance without a token; the appliance is not claimed."""
    with TestClient(app, client=("127.0.0.1", 50000)) as client:
        yield client


@pytest.fixture
def client(stranger: TestClient) -> TestClient:
    """The first caller, who has claimed the appliance and sends the token with every request."""
    stranger.headers["Authorization"] = f"Token {claim(stranger)}"
    return stranger


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A claimed appliance that all tests of a module share; each makes its own people."""
    with opened(tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest.fixture(autouse=True)
def present(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is known of the time is the machine's own clock, whatever instants the tests before have seen."""
    monkeypatch.setattr(values, "_known", values._Known(values.clock(), time.monotonic()))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The product's clock, standing still."""
    own = Clock()
    monkeypatch.setattr(values, "clock", own)
    return own


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """`pkgctl serve` as a process of its own, not yet started."""
    running = Service(tmp_path)
    yield running
    running.stop()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Makes a `Workshop`, a service whose packages fail, with settings of its own; not yet started."""
    from tests.failures import Workshop

    made: list[Workshop] = []

    def make(**settings: str) -> Workshop:
        made.append(Workshop(tmp_path / "box", **settings))
        return made[-1]

    yield make
    for box in made:
        box.stop()


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """Both ends of a terminal: what a person types and sees, and what a program has for its streams."""
    ours, theirs = pty.openpty()
    yield ours, theirs
    os.close(ours)
    os.close(theirs)
