"""The container image: what Dockerfile, .dockerignore and compose.yaml say, and what the image's own steps make.

The steps run without a container engine: the build stage's in a temporary folder that stands for `/`. What needs root
and Debian's packages is left out; the linter reads it all.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from app import __version__
from app.config import ALIASES, SETTINGS, load
from tests.nix_store import private_store
from tests.support import ROOT, START_S, Service

NAMES = {setting.name for setting in SETTINGS}
OF_OTHERS = {"PATH", "LANG", "NIX_PATH"}  # what the image or compose.yaml sets for other programs
FIXED = {
    "HOST",
    "PORT",
    "DATA_DIR",
    "DATABASE_URL",
    "DB_PATH",
    "NIX_BUILD",
}  # by the image, or by where the volumes are


# Reading the files


class Stage:
    """One stage of the Dockerfile: what it starts from, and its instructions as (keyword, rest)."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.steps: list[tuple[str, str]] = []

    def all(self, keyword: str) -> list[str]:
        return [rest for found, rest in self.steps if found == keyword]


def stages() -> dict[str, Stage]:
    """The Dockerfile's stages by name, in order; each step is one line, with the comments left out."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    found: dict[str, Stage] = {}
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        keyword, _, rest = line.partition(" ")
        if keyword == "FROM":
            base, _, name = rest.partition(" AS ")
            stage = found[name] = Stage(base)
        elif keyword:
            stage.steps.append((keyword, rest))
    return found


STAGES = stages()


def last(stage: str, keyword: str) -> str:
    """The instruction that holds in a stage: its own last one, else that of the stage it starts from."""
    own = STAGES[stage].all(keyword)
    return own[-1] if own else last(STAGES[stage].base, keyword)


def words(stage: str, keyword: str) -> list[str]:
    """The same for an instruction in its exec form, a JSON list: no shell stands between it and the signals."""
    found: list[str] = json.loads(last(stage, keyword))
    return found


def image_environment() -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S+)", last("run", "ENV")))


def copied(stage: str) -> Iterator[tuple[list[str], str]]:
    """What a stage copies from the build context: the sources, and where they go."""
    for rest in STAGES[stage].all("COPY"):
        if "--from=" not in rest:
            *sources, target = re.sub(r"--\S+ ", "", rest).split()
            yield sources, target


def health_check() -> str:
    """The image's health check as one line for a shell."""
    sh, c, line = json.loads(last("run", "HEALTHCHECK").partition(" CMD ")[2])
    assert (sh, c) == ("sh", "-c")
    return str(line)


def in_context(path: str) -> bool:
    """What .dockerignore lets into the build. The last rule that matches the path, or a folder it is in, decides."""
    carried = True
    places = [path, *map(str, PurePosixPath(path).parents)][:-1] if path != "." else []
    for rule in (ROOT / ".dockerignore").read_text().splitlines():
        if rule and not rule.startswith("#"):
            pattern = re.escape(rule.removeprefix("!")).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
            if any(re.fullmatch(pattern, place) for place in places):
                carried = rule.startswith("!")
    return carried


def compose() -> dict[str, Any]:
    """scripts/compose.yaml, which keeps to the YAML that these lines read: block mappings, values in JSON or plain."""
    whole: dict[str, Any] = {}
    open_mappings = [(-2, whole)]
    for number, line in enumerate((ROOT / "scripts/compose.yaml").read_text().splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = re.fullmatch(r"((?:  )*)([\w-]+):(?: ([^\s#].*))?", line)
        assert match, f"scripts/compose.yaml:{number}"
        indent, key, value = len(match[1]), match[2], match[3]
        while open_mappings[-1][0] >= indent:
            open_mappings.pop()
        depth, mapping = open_mappings[-1]
        assert indent == depth + 2, f"scripts/compose.yaml:{number}"
        assert key not in mapping, f"scripts/compose.yaml:{number}"
        mapping[key] = {} if value is None else json.loads(value) if value[0] in '["' else value
        if value is None:
            open_mappings.append((indent, mapping[key]))
    return whole


SERVICES = compose()["services"]


# The Dockerfile


def test_the_linter_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    ran = subprocess.run([hadolint, "--no-color", "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout + ran.stderr) == (0, "")


def test_the_linter_is_told_to_look_away_only_where_versions_cannot_be_pinned() -> None:
    ignored = re.findall(r"^# hadolint .*\n(RUN .*)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert ignored == ["RUN apt-get update \\"] * 2
    assert re.findall(r"hadolint (\S+)", (ROOT / "Dockerfile").read_text()) == ["ignore=DL3008"] * 2


def test_the_image_runs_the_service_as_a_user_without_rights() -> None:
    assert [*STAGES][-1] == "run", "a build without --target makes the last stage"
    assert [*words("run", "ENTRYPOINT"), *words("run", "CMD")] == ["tini", "--", "pkgctl", "serve"]
    assert last("run", "USER") == last("test", "USER") == "10001:10001"
    assert last("run", "WORKDIR") == last("test", "WORKDIR") == "/app"
    assert f'image.version="{__version__}"' in last("run", "LABEL")


def test_the_image_holds_neither_pip_nor_a_compiler() -> None:
    """Its packages are the base's, its Python packages come from another stage, and nothing is run on top of them."""
    assert (STAGES["run"].base, STAGES["run"].all("RUN")) == ("base", [])
    assert "--from=build /opt/purser /opt/purser" in STAGES["run"].all("COPY")
    installed = " ".join(STAGES["base"].all("RUN"))
    assert not re.search(r"pip|venv|gcc|build-essential|-dev\b", installed)
    assert "--no-install-recommends" in installed


def test_the_settings_in_the_image_are_settings_and_hold() -> None:
    environ = image_environment()
    assert environ.keys() - OF_OTHERS <= NAMES
    config = load(environ, dotenv=Path("none"))
    assert (config.host, config.port, str(config.data_dir)) == ("0.0.0.0", 8000, "/app/data")
    assert last("run", "EXPOSE") == environ["PORT"]


def test_what_is_copied_is_there_and_gets_into_the_build() -> None:
    sources = [source for stage in STAGES for some, _ in copied(stage) for source in some]
    assert {"app", "sql", "scripts/demo.nix", "."} <= {*sources}
    assert [source for source in sources if not ((ROOT / source).exists() and in_context(source))] == []


@pytest.mark.parametrize(
    "path",
    [
        ".git",
        ".git/config",
        ".venv/bin/python",
        ".env",
        "scripts/.env",
        "data",
        "data/app.db",
        "data/secret.key",
        "dist/purser.whl",
        ".coverage",
        ".hypothesis/unicode_data",
        ".mypy_cache/3.11",
        "app/__pycache__",
        "app/__pycache__/main.cpython-311.pyc",
        "tests/fakes/__pycache__/x.pyc",
        "notes.txt",
    ],
)
def test_what_does_not_belong_in_an_image_stays_out_of_the_build(path: str) -> None:
    assert not in_context(path)


def test_the_tests_get_into_the_build_with_all_that_they_read() -> None:
    read = ["app/main.py", "sql/migrations", "tests/test_image.py", "scripts/compose.yaml", "pyproject.toml"]
    read += ["README.md", "Dockerfile", ".dockerignore", ".env.example"]
    assert [path for path in read if not ((ROOT / path).exists() and in_context(path))] == []


# scripts/compose.yaml


def test_compose_starts_the_image_and_keeps_data_and_store() -> None:
    api = SERVICES["api"]
    assert (api["build"], api["restart"]) == ({"context": "..", "target": "run"}, "unless-stopped")
    assert api["ports"] == ["${HOST:-127.0.0.1}:${PORT:-8000}:8000"]
    assert api["volumes"] == ["data:/app/data", "nix:/nix"]
    kept = {
        name for service in SERVICES.values() for name in re.findall(r"^([\w-]+):", "\n".join(service["volumes"]), re.M)
    }
    assert compose()["volumes"].keys() == kept
    made = STAGES["base"].all("RUN")[1]
    assert "install --directory --owner=purser --group=purser /app/data /nix" in made


def test_compose_asks_for_health_as_the_image_does() -> None:
    test = ["CMD-SHELL", health_check().replace("$", "$$")]
    options = dict(re.findall(r"--([\w-]+)=(\S+)", last("run", "HEALTHCHECK").partition(" CMD ")[0]))
    expected = {name.replace("-", "_"): value for name, value in options.items()}
    assert SERVICES["api"]["healthcheck"] == {"test": test, **expected}


def test_compose_passes_on_every_setting_that_is_not_the_images_own() -> None:
    assert SERVICES["api"]["environment"].keys() - OF_OTHERS == (NAMES | ALIASES.keys()) - FIXED
    assert SERVICES["dev"]["environment"].keys() - OF_OTHERS <= NAMES


def test_compose_fetches_the_demos_packages_until_it_is_told_otherwise() -> None:
    default = re.fullmatch(r"\$\{NIX_EXPR-(.*)\}", SERVICES["api"]["environment"]["NIX_EXPR"])
    assert default is not None
    assert (["scripts/demo.nix"], default[1]) in copied("run")


def test_compose_has_a_profile_that_mounts_the_source_and_reloads() -> None:
    dev = SERVICES["dev"]
    assert (dev["profiles"], dev["build"]) == (["dev"], {"context": "..", "target": "test"})
    assert "profiles" not in SERVICES["api"]
    mounted = [volume.split(":") for volume in dev["volumes"] if volume.startswith("..")]
    assert [(ROOT / "scripts" / source).resolve().name for source, _, _ in mounted] == [
        "app",
        "sql",
        "tests",
        "scripts",
    ]
    assert [source for source, _, _ in mounted if not (ROOT / "scripts" / source).is_dir()] == []
    assert {target for _, target, _ in mounted} == {f"/app/{name}" for name in ("app", "sql", "tests", "scripts")}
    command = dev["command"]
    assert command[:2] == ["uvicorn", "app.main:app"]
    assert "--reload" in command
    assert not {volume.split(":")[0] for volume in dev["volumes"]} & {"data", "nix"}, "two services on one file"


# What the steps make


class Root:
    """A folder that stands for `/`: the Dockerfile's steps run in it as they stand, but for where they write."""

    OURS = re.compile(r"(?<![\w.$}])/(?=(?:src|dist|opt|app|nix)\b)")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cwd = folder
        self.environ = dict(os.environ)

    def within(self, text: str) -> str:
        return self.OURS.sub(f"{self.folder}/", text)

    def take(self, stage: str) -> None:
        """Runs a stage's steps; those that install Debian's packages or make users are not for this machine."""
        for keyword, rest in STAGES[stage].steps:
            if keyword == "WORKDIR":
                self.cwd = Path(self.within(rest))
                self.cwd.mkdir(parents=True, exist_ok=True)
            elif keyword == "ARG":
                self.environ.update([rest.split("=", 1)])
            elif keyword == "COPY":
                self._copy(rest)
            elif keyword == "RUN" and not re.match(r"apt-get|useradd", rest):
                self._run(rest)

    def _copy(self, rest: str) -> None:
        *sources, target = rest.split()
        if sources[0] == "--from=build":
            assert sources[1:] == [target], "a venv works only where it was made"
            return
        for source in sources:
            place = self.cwd / self.within(target)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=self._left_out)
            else:
                place = place / source if target.endswith("/") else place
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, place)

    @staticmethod
    def _left_out(folder: str, names: list[str]) -> list[str]:
        inside = Path(folder).relative_to(ROOT)
        return [name for name in names if not in_context(str(inside / name))]

    def _run(self, line: str) -> None:
        ran = subprocess.run(
            ["/bin/sh", "-ec", self.within(line)],
            cwd=self.cwd,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, f"{line}\n{ran.stdout}"


class Container(Service):
    """The image's command in the image's environment, with the folder for `/` and a free port."""

    def __init__(self, root: Root, **settings: str) -> None:
        super().__init__(root.folder / "app", **settings)
        self.root = root

    def environ(self) -> dict[str, str]:
        """The image's environment; what is there beside it is this machine's PATH, for Nix."""
        image = {name: self.root.within(value) for name, value in image_environment().items()}
        image["PATH"] = image["PATH"].replace("$PATH", os.environ["PATH"])
        return image | {"PORT": "0"} | self.settings

    def spawn(self, *arguments: str) -> "subprocess.Popen[str]":
        """The command as process 1 would start it; tini passes on signals and exit codes as they are."""
        return subprocess.Popen(
            words("run", "CMD"),
            cwd=self.folder,
            env=self.environ(),
            executable=self.program,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @property
    def program(self) -> str:
        return str(self.root.folder / "opt/purser/bin" / words("run", "CMD")[0])

    def sh(self, line: str) -> "subprocess.CompletedProcess[str]":
        """A command inside, as `docker compose exec api` would run it."""
        port = self.url.rpartition(":")[2]
        inside = self.environ() | {"PORT": port, "PURSER_URL": f"http://127.0.0.1:{port}", "PURSER_TOKEN": self.token}
        return subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=self.folder,
            env=inside,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.mark.slow
@pytest.mark.nix
def test_the_steps_build_a_service_that_does_the_main_job(tmp_path: Path) -> None:
    """Healthy by the image's own check, claimed from inside, demo package activated; ends with 0 when told to stop."""
    root = Root(tmp_path)
    root.take("build")
    root.take("run")
    box = Container(root, NIX_EXPR=root.within("/app/scripts/demo.nix"), **private_store(tmp_path / "nix"))
    try:
        box.start(claimed=False)
        healthy = box.sh(health_check())
        assert (healthy.returncode, healthy.stdout) == (0, '{"status":"ok"}')
        box.token = box.sh("pkgctl init --token").stdout.splitlines()[-1]
        steps = ["create security-patch 2.1.0", "download 1 --wait", "activate 1"]
        done = [box.sh(f"pkgctl {step}") for step in steps]
        assert [ran.returncode for ran in done] == [0, 0, 0], done
        assert box.sh("data/profiles/security-patch/current/bin/security-patch").stdout == "security-patch 2.1.0\n"
    finally:
        code, said = box.stop()
    assert code == 0, said
    assert box.sh(health_check()).returncode != 0


# A data folder that is not the user's


def without_root() -> list[str]:
    """Words in front of a command, by which root may write no more than what the modes of files allow."""
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


@pytest.mark.slow
@pytest.mark.parametrize("locked", ["data", "data/logs", "data/profiles"])
def test_a_data_folder_that_cannot_be_written_stops_the_start_with_one_line(tmp_path: Path, locked: str) -> None:
    """As when a container is given a folder that belongs to somebody else."""
    folder = tmp_path / locked
    folder.mkdir(parents=True)
    folder.chmod(0o555)
    ran = subprocess.run(
        [*without_root(), sys.executable, "-m", "app", "serve"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DATA_DIR": str(tmp_path / "data"), "PORT": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )
    told = [json.loads(line)["message"] for line in (ran.stdout + ran.stderr).splitlines()]
    reason = f"DATA_DIR {tmp_path}/data cannot be used: user {os.getuid()} cannot write to {folder}"
    assert (ran.returncode, told) == (3, [reason, "Application startup failed. Exiting."])
