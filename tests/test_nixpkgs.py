"""Given the bundled expression and a <nixpkgs>, when a package is downloaded, then it is what nixpkgs has under that
attribute in that version; or the download fails as `version_unavailable`, and says why."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.failures import Failure, Workshop, fails, succeeds_afterwards
from tests.nix_store import EXPRESSIONS

pytestmark = [pytest.mark.slow, pytest.mark.nix]

NIXPKGS = EXPRESSIONS / "nixpkgs" / "default.nix"


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """A service without NIX_EXPR: its packages are those of a <nixpkgs> of its own."""
    folder = tmp_path_factory.mktemp("stocked")
    running = Workshop(folder / "box", NIX_PATH=f"nixpkgs={folder}/nixpkgs")
    del running.settings["NIX_EXPR"]
    running.start()
    yield running
    running.stop()


@pytest.fixture
def channel(stocked: Workshop) -> Path:
    """The file of that <nixpkgs>, as it was at first."""
    file = stocked.folder.with_name("nixpkgs") / "default.nix"
    file.parent.mkdir(exist_ok=True)
    file.write_text(NIXPKGS.read_text())
    return file


@pytest.mark.parametrize(
    ("name", "version", "why", "old", "new"),
    [
        ("hello", "2.12", "nixpkgs has version 2.10", "2.10", "2.12"),
        ("unversioned", "1.2.4", "nixpkgs has version 1.2.3", "unversioned-1.2.3", "unversioned-1.2.4"),
        ("absent", "1.0.0", "nixpkgs has nothing of that name", "# absent", 'absent = package { name = "a-1.0.0"; };'),
        (
            "lib",
            "1.0.0",
            "what nixpkgs has under that name is no package",
            "lib =",
            'lib = package { name = "lib"; } //',
        ),
        ("python3Packages.numpy", "1.22.0", "nixpkgs has version 1.21.5", "1.21.5", "1.22.0"),
        ("python3Packages.scipy", "1.21.5", "nixpkgs has nothing of that name", "numpy =", "scipy ="),
        (
            "python3Packages",
            "1.0.0",
            "what nixpkgs has under that name is no package",
            "python3Packages =",
            'python3Packages = package { name = "p-1.0.0"; } //',
        ),
    ],
)
def test_what_nixpkgs_has_not_is_refused_until_it_has_it(
    stocked: Workshop, channel: Path, name: str, version: str, why: str, old: str, new: str
) -> None:
    detail = f"version {version} of {name} is not available: {why}"
    package_id = stocked.create(name, version)
    log = fails(stocked, package_id, Failure("version_unavailable", detail, 1, (f"error: {detail}\n",)))
    assert old in channel.read_text()
    channel.write_text(channel.read_text().replace(old, new))
    succeeds_afterwards(stocked, package_id, log)


@pytest.mark.parametrize(
    ("name", "version"), [("hello", "2.10"), ("python3Packages.numpy", "1.21.5"), ("dotted.name", "1.0.0")]
)
def test_what_nixpkgs_has_is_downloaded_by_its_attribute(
    stocked: Workshop, channel: Path, name: str, version: str
) -> None:
    package_id = stocked.create(name, version)
    assert stocked.pkgctl("download", package_id, "--wait").code == 0
    path = stocked.get(package_id)["store_path"]
    assert Path(path).read_text() == Path(path).name.partition("-")[2] + "\n"
    assert stocked.activate(package_id)["status"] == "activated"


def test_what_nixpkgs_says_itself_is_told(stocked: Workshop, channel: Path) -> None:
    package_id = stocked.create("removed", "1.0.0")
    fails(stocked, package_id, Failure("evaluation", "removed has been removed; use hello"))
