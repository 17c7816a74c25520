"""The shape of the house: who may import whom, what lies where, and that importing does nothing.

The rules speak of kinds of modules, so a room that is added is held to them without a line here.
"""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
APP = ROOT / "app"
TOP_LEVEL = {"pyproject.toml", "app", "sql", "tests", "scripts", "Dockerfile", "README.md"}
NO_ROOMS = {"db", "web", "cli", "guide"}
ROOMS = sorted(path.parent.name for path in APP.glob("*/__init__.py") if path.parent.name not in NO_ROOMS)
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(APP.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}

LEAVES = {"audit", "notifications"}
ROOMS_WITHOUT_HTTP: set[str] = set()
# Rooms that are one house with another: whose service they may call, and whose structs they may show.
HOUSES = {
    "auth": {"users"},
    "roles": {"users"},
    "tokens": {"users"},
    "groups": {"users", "roles"},
    "teams": {"users"},
    "files": {"teams"},
    "documents": {"files", "teams"},
    "fcs": {"files"},
}
FLOOR = {"db", "errors", "actor", "permissions", "values"}
EVERYTHING = {"main", "routes", "server", "offline", "cli", "__main__", "__init__"}
# What each part of the frame may import; a part that is not here is unknown and refused.
FRAME = {
    **dict.fromkeys(FLOOR, FLOOR),
    "config": {"errors", "values"},
    "datadir": {"config", "db", "durable", "errors", "values"},
    "durable": set(),
    "cores": set(),
    "supervision": {"cores", "jobs"},
    "logs": {"values"},
    "signals": set(),
    "jobs": {"db", "errors", "values"},
    "blobs": {"db", "durable", "errors", "jobs", "values"},
    "passwords": {"cores", "db", "errors", "values"},
    "mail": {"config", "durable", "errors", "values"},
    "web": FLOOR | {"web", "config", "logs", "jobs", "passwords"},
    "guide": {"web", "errors", "values"},
}
# What the modules of a room may import beside their own room; `worker` is every other module of a room.
ROOM = {
    "__init__": set[str](),
    "routes": {"web", "actor", "errors", "mail", "passwords", "values"},
    "service": FLOOR | {"blobs"},
    "structs": {"values", "permissions"},
    "pure": {"errors", "values"},
    "worker": FLOOR | {"jobs", "supervision", "blobs", "config", "passwords", "mail"},
}
# From values and an open file to values: nothing of a database, of other rooms or of HTTP.
PURE = {
    "fcs": {"events", "layout", "pages", "parser", "plots", "scales", "statistics", "svg", "tasks", "text"},
}
# A large service is several modules; routes may also hand work to their own room's workers.
SERVICES = {"accounts", "activations", "attempts", "authorization", "recovery", "sharing", "uploads"}
WORKERS = {"authentication", "downloads", "storing", "switching", "worker"}
OWN = {
    "__init__": set[str](),
    "routes": {"service", "structs"} | SERVICES | WORKERS,
    "service": {"structs"},
    "structs": {"structs", "layout"},
    "pure": set[str](),
}
HTTP = {"starlette", "uvicorn", "multipart", "python_multipart"}
SPEAKS_HTTP = re.compile(r"app\.(web|cli|guide|main|routes|server|__main__)(\..*)?|app\.\w+\.routes")
ONLY_IN = {
    "aiosqlite": re.compile(r"app\.db\.sqlite"),
    "sqlite3": re.compile(r"app\.db\..*"),
    "argparse": re.compile(r"app\.(cli|__main__).*|app\.\w+\.compute"),
    "httpx": re.compile("-"),
    "requests": re.compile("-"),
}


def imports(module: str, tree: ast.AST) -> Iterator[str]:
    """The dotted names a module imports anywhere in it; `from app.x import y` is app.x.y when that is a module.

    The version is everybody's.
    """
    package = module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*up, *([node.module] if node.module else [])])
            for alias in node.names:
                if (source, alias.name) == ("app", "__version__"):
                    continue
                whole = f"{source}.{alias.name}"
                is_module = whole in MODULES or f"{whole}.__init__" in MODULES
                yield whole if is_module else source


def complaint(module: str, imported: str, rooms: list[str]) -> str | None:
    """Why a module of `app` may not import another; None when it may."""
    here, there = module.split(".")[1:] or ["__init__"], imported.split(".")[1:] or ["__init__"]
    if here[0] in EVERYTHING:
        return None
    if here[0] not in rooms:
        allowed = FRAME.get(here[0])
        if allowed is None:
            return f"{module} has no arrows: give it a line in FRAME"
        return None if there[0] in allowed | {here[0]} else f"{module} imports {imported}"
    if len(here) == 2 and here[1] in SERVICES:
        here[1] = "service"
    pure = PURE.get(here[0], set())
    if len(here) == 2 and here[1] in pure:
        here[1] = "pure"
    kind = here[1] if len(here) == 2 and here[1] in ROOM else "__init__" if len(here) == 1 else "worker"
    if there[0] == here[0]:
        own = OWN.get(kind, set()) | (pure if kind in ("routes", "pure") else set())
        allowed_here = there[1:] and (kind == "worker" or there[1] in own or _is_service_part(kind, there[1]))
        return None if allowed_here else f"{module} imports {imported}"
    if there[0] in rooms:
        return None if _may_call(here[0], kind, there) else f"{module} imports {imported}"
    return None if there[0] in ROOM[kind] else f"{module} imports {imported}"


def _is_service_part(kind: str, name: str) -> bool:
    """A service may use its room's own pure modules (a parser, a state table), never its routes."""
    return kind == "service" and name != "routes"


def _may_call(room: str, kind: str, there: list[str]) -> bool:
    """Whether a module of a room may use one of another: a leaf's service, or the service and structs of its house."""
    house = HOUSES.get(room, set())
    if there[1:] == ["structs"]:
        return kind in ("service", "structs") and there[0] in house
    return kind == "service" and there[1:] == ["service"] and room not in LEAVES and there[0] in LEAVES | house


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("app.db.sqlite", "app.web.codec"),
        ("app.db.sqlite", "app.packages.service"),
        ("app.errors", "app.web"),
        ("app.values", "app.config"),
        ("app.web.access", "app.users.service"),
        ("app.web.access", "app.main"),
        ("app.web.limits", "app.audit.trail"),
        ("app.mail", "app.db"),
        ("app.mail", "app.web.codec"),
        ("app.config", "app.web"),
        ("app.jobs", "app.web"),
        ("app.blobs", "app.packages.service"),
        ("app.unheard", "app.errors"),
        ("app.packages.routes", "app.db"),
        ("app.packages.routes", "app.db.queries"),
        ("app.packages.routes", "app.users.service"),
        ("app.packages.routes", "app.packages.builder"),
        ("app.packages.service", "app.web.codec"),
        ("app.packages.service", "app.users.service"),
        ("app.packages.service", "app.audit.structs"),
        ("app.packages.service", "app.packages.routes"),
        ("app.packages.service", "app.passwords"),
        ("app.packages.structs", "app.users.structs"),
        ("app.tokens.routes", "app.users.structs"),
        ("app.packages.structs", "app.errors"),
        ("app.packages.structs", "app.packages.service"),
        ("app.packages.builder", "app.web.codec"),
        ("app.packages.builder", "app.users.service"),
        ("app.packages", "app.db"),
        ("app.audit.service", "app.users.service"),
        ("app.audit.service", "app.notifications.service"),
        ("app.users.service", "app.tokens.service"),
        ("app.fcs.compute.deep", "app.web"),
        ("app.fcs.parser", "app.db"),
        ("app.fcs.parser", "app.blobs"),
        ("app.fcs.parser", "app.fcs.structs"),
        ("app.fcs.pages", "app.fcs.service"),
        ("app.fcs.structs", "app.fcs.parser"),
        ("app.fcs.routes", "app.fcs.compute"),
        ("app.fcs.routes", "app.blobs"),
    ],
)
def test_a_forbidden_arrow_is_noticed(module: str, imported: str) -> None:
    assert complaint(module, imported, ["audit", "fcs", "notifications", "packages", "tokens", "users"]) is not None


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("app.main", "app.packages.builder"),
        ("app.routes", "app.packages.routes"),
        ("app.cli.service", "app.main"),
        ("app", "app.main"),
        ("app.web.access", "app.db"),
        ("app.db.sqlite", "app.errors"),
        ("app.packages.routes", "app.packages.service"),
        ("app.packages.routes", "app.web.codec"),
        ("app.packages.service", "app.packages.structs"),
        ("app.packages.service", "app.audit.service"),
        ("app.packages.service", "app.db"),
        ("app.packages.builder", "app.packages.service"),
        ("app.packages.builder", "app.jobs"),
        ("app.packages.structs", "app.values"),
        ("app.tokens.service", "app.users.service"),
        ("app.tokens.structs", "app.users.structs"),
        ("app.fcs.service", "app.fcs.parser"),
        ("app.fcs.parser", "app.fcs.layout"),
        ("app.fcs.routes", "app.fcs.pages"),
        ("app.fcs.structs", "app.fcs.layout"),
        ("app.fcs.compute", "app.fcs.statistics"),
    ],
)
def test_the_arrows_of_the_design_are_let_pass(module: str, imported: str) -> None:
    assert complaint(module, imported, ["audit", "fcs", "packages", "tokens", "users"]) is None


def test_imports_are_read_wherever_they_stand() -> None:
    code = "import a.b\nfrom app import db\ndef f():\n    from app.errors import NotFound\n    from . import structs\n"
    assert list(imports("app.packages.service", ast.parse(code))) == [
        "a.b",
        "app.db",
        "app.errors",
        "app.packages.structs" if "app.packages.structs" in MODULES else "app.packages",
    ]


@pytest.mark.parametrize("module", TREES)
def test_a_module_imports_only_what_it_may(module: str) -> None:
    name = module.removesuffix(".__init__")
    ours = {imported for imported in imports(module, TREES[module]) if imported.split(".")[0] == "app"}
    assert [problem for imported in sorted(ours) if (problem := complaint(name, imported, ROOMS))] == []


@pytest.mark.parametrize("module", TREES)
def test_http_and_the_engine_stay_where_they_belong(module: str) -> None:
    theirs = {imported.split(".")[0] for imported in imports(module, TREES[module])}
    if not SPEAKS_HTTP.fullmatch(module):
        assert sorted(theirs & HTTP) == []
    assert sorted(name for name in theirs & ONLY_IN.keys() if not ONLY_IN[name].fullmatch(module)) == []
    if re.fullmatch(r"app\.\w+\.structs", module):
        assert sorted(theirs - sys.stdlib_module_names - {"app", "msgspec"}) == []


@pytest.mark.parametrize("module", TREES)
def test_a_module_says_what_it_is(module: str) -> None:
    assert ast.get_docstring(TREES[module]), f"{module} has no docstring"


def test_an_ignored_type_error_names_its_code() -> None:
    bare = re.compile(r"#\s*type:\s*ignore(?!\[)|#\s*noqa(?!:)")
    sources = [*APP.rglob("*.py"), *(ROOT / "tests").glob("*.py")]
    lines = ((path, number, line) for path in sources for number, line in enumerate(path.read_text().splitlines(), 1))
    found = [f"{path.relative_to(ROOT)}:{number}" for path, number, line in lines if bare.search(line)]
    assert [place for place in found if not place.startswith("tests/test_architecture.py")] == []


def listed() -> list[str]:
    """The files of the repository that Git knows or would add; every file where there is no Git."""
    try:
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        return [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file()]


def test_the_top_level_holds_nothing_else() -> None:
    tops = {path.partition("/")[0] for path in listed()}
    assert {"pyproject.toml", "app", "sql", "tests"} <= tops
    assert sorted(top for top in tops - TOP_LEVEL if not top.startswith(".")) == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_whole(room: str) -> None:
    """One noun, four places: the routes, listed in the table of contents, the SQL file, the tests."""
    present = {part for part in ("service", "structs", "routes") if f"app.{room}.{part}" in MODULES}
    if "routes" in present and "app.routes" in MODULES:
        assert f"app.{room}.routes" in set(imports("app.routes", TREES["app.routes"])), "not listed in app/routes.py"
    if "routes" not in present:
        assert room in ROOMS_WITHOUT_HTTP, f"app/{room} has no routes"
    if "app.main" in MODULES:
        assert (ROOT / f"tests/test_{room}.py").exists(), f"tests/test_{room}.py is missing"
    if (ROOT / f"sql/{room}.sql").exists():
        assert "service" in present, f"sql/{room}.sql has no service that runs it"


def test_the_table_of_contents_is_nothing_else() -> None:
    kinds = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.Expr)
    assert [type(node).__name__ for node in TREES["app.routes"].body if not isinstance(node, kinds)] == []


IMPORTER = """
import os, sys

app, modules = sys.argv[1], sys.argv[2:]
sys.dont_write_bytecode = True
seen = []

def reader():
    # The file that asked, past the standard library's own steps.
    frame = sys._getframe(2)
    while frame and (frame.f_code.co_filename.startswith("<frozen") or frame.f_code.co_filename == os.__file__):
        frame = frame.f_back
    return frame.f_code.co_filename if frame else ""

class Watched(type(os.environ)):
    def __getitem__(self, name):
        if reader().startswith(app):
            seen.append(f"environment {name}")
        return super().__getitem__(name)

def watch(event, arguments):
    if event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        seen.append(f"writes {arguments[0]}")
    if event in ("sqlite3.connect", "subprocess.Popen", "socket.connect", "socket.bind", "os.mkdir", "os.rename"):
        seen.append(f"{event} {arguments}")

os.environ.__class__ = Watched
sys.addaudithook(watch)
for module in modules:
    __import__(module)
print("\\n".join(seen))
"""


def watched(folder: Path, app: Path, path: Path, *modules: str) -> list[str]:
    """What importing modules did that it should not have, in a process with a senseless environment."""
    senseless = {
        "PORT": "x",
        "SECRET_KEY": "x",
        "DATABASE_URL": "nothing://",
        "DB_PATH": "\x01",
        "APP_ENV": "x",
        "DEBUG": "x",
    }
    senseless |= {"PATH": os.environ["PATH"], "PYTHONPATH": str(path), "DATA_DIR": "/proc/no", "CORS_ORIGINS": "{"}
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORTER, str(app), *modules],
        cwd=folder,
        env=senseless,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split("\n")[:-1] if run.stdout.strip() else []


def test_importing_reads_no_environment_and_touches_nothing(tmp_path: Path) -> None:
    modules = [name for name in ("app", "app.main", "app.cli", "app.routes", "app.config") if _exists(name)]
    assert watched(tmp_path, APP, ROOT, *modules) == []
    assert list(tmp_path.iterdir()) == []


def test_an_import_that_does_something_is_noticed(tmp_path: Path) -> None:
    code = "import os, sqlite3\nport = os.environ['PORT']\nos.getenv('DEBUG')\n'HOME' in os.environ\n"
    (tmp_path / "busy.py").write_text(code + "sqlite3.connect('x.db')\nopen('left', 'w').close()\n")
    seen = watched(tmp_path, tmp_path, tmp_path, "busy")
    assert seen[:3] == ["environment PORT", "environment DEBUG", "environment HOME"]
    assert [line.partition(" ")[0] for line in seen[3:]] == ["sqlite3.connect", "writes"]


def _exists(module: str) -> bool:
    return module in MODULES or f"{module}.__init__" in MODULES
