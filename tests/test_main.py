"""Starting, stopping, embedding: what the whole application does around its requests."""

import os
import random
import re
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from stat import S_IMODE

import httpx2
import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

import app.main
from app.config import Config
from app.datadir import derive_key, prepare, secret_key
from app.errors import StartError
from app.main import Purser, create_app, mounted
from tests.support import ROOT, START_S, Service, claim, configured, create_until, refusal, rows

PACKAGES = "/api/v1/packages"


# Embedding


def host(*boxes: tuple[Config, str]) -> Starlette:
    """Another application with ours inside, each at its path."""
    inside = [mounted(config, path) for config, path in boxes]

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for _mount, ours in inside:
                await stack.enter_async_context(ours)
            yield

    async def home(request: Request) -> PlainTextResponse:
        return PlainTextResponse("the host's own page")

    return Starlette(routes=[*(mount for mount, _ in inside), Route("/{rest:path}", home)], lifespan=lifespan)


def test_it_lives_inside_another_application(config: Config) -> None:
    with TestClient(host((config, "/box")), client=("127.0.0.1", 7)) as client:
        assert client.get("/hello").text == "the host's own page"
        made = client.post("/box/api/v1/tokens")
        assert (made.status_code, made.headers["location"]) == (201, "/box/api/v1/tokens/1")
        client.headers["Authorization"] = f"Token {made.json()['token']}"
        for number in range(3):
            package = client.post(f"/box{PACKAGES}", json={"name": f"p{number}", "version": "1.0"})
            assert package.headers["location"] == f"/box{PACKAGES}/{number + 1}"
            assert client.get(package.headers["location"]).json() == package.json()
        listed = client.get(f"/box{PACKAGES}?limit=2")
        assert listed.links["next"]["url"].startswith(f"/box{PACKAGES}?")
        assert [entry["id"] for entry in client.get(listed.links["next"]["url"]).json()] == [3]
        assert client.get("/box/api/v1/package/3/").json()["id"] == 3
        assert client.get("/box/readyz").json()["status"] == "ok"
        for path in ("/box/", "/box/api", "/box/nothing"):
            refusal(client.get(path), 404)
        refusal(client.put(f"/box{PACKAGES}/1"), 405)
        assert client.get(PACKAGES).text == "the host's own page"
    told = rows(config.database_path, "SELECT DISTINCT route FROM audit WHERE path = '/box/api/v1/packages/1'")
    assert [entry["route"] for entry in told] == ["/api/v1/packages/{id}", "(method)"]


def test_a_singular_name_inside_a_host_gives_links_that_work(config: Config) -> None:
    with TestClient(host((config, "/box")), client=("127.0.0.1", 7)) as client:
        client.headers["Authorization"] = f"Token {client.post('/box/api/v1/token').json()['token']}"
        for number in range(2):
            client.post(f"/box{PACKAGES}", json={"name": f"p{number}", "version": "1.0"})
        url = client.get("/box/api/v1/package/?limit=1").links["next"]["url"]
        assert url.startswith(f"/box{PACKAGES}?")
        assert [entry["id"] for entry in client.get(url).json()] == [2]


def test_two_live_side_by_side_and_know_nothing_of_each_other(tmp_path: Path) -> None:
    one, two = configured(tmp_path / "one"), configured(tmp_path / "two")
    with TestClient(host((one, "/one"), (two, "/two")), client=("127.0.0.1", 7)) as client:
        tokens = {box: client.post(f"/{box}/api/v1/tokens").json()["token"] for box in ("one", "two")}
        for box, other in (("one", "two"), ("two", "one")):
            theirs = {"Authorization": f"Token {tokens[other]}"}
            refusal(client.get(f"/{box}{PACKAGES}", headers=theirs), 401)
            own = {"Authorization": f"Token {tokens[box]}"}
            made = client.post(f"/{box}{PACKAGES}", json={"name": box, "version": "1.0"}, headers=own)
            assert made.json()["id"] == 1
            assert [entry["name"] for entry in client.get(f"/{box}{PACKAGES}", headers=own).json()] == [box]
    keys = {(config.data_dir / "secret.key").read_text() for config in (one, two)}
    assert len(keys) == 2


def test_it_can_be_left_and_entered_again(config: Config) -> None:
    """The lifespan gives back all that it took: another application opens the same folder at once."""
    token = ""
    for _ in range(2):
        with TestClient(create_app(config), client=("127.0.0.1", 7)) as client:
            token = token or claim(client)
            assert client.get(PACKAGES, headers={"Authorization": f"Token {token}"}).json() == []


@pytest.mark.slow
def test_create_app_touches_nothing(tmp_path: Path) -> None:
    """No file, no folder, no socket, no process: Python itself reports what is done while the application is made."""
    code = """
import os, sys
from pathlib import Path
from app.config import load
from app.main import create_app, mounted
config = load({"DATA_DIR": sys.argv[1] + "/data"}, dotenv=Path("none"))
create_app(config)
seen = []
class Shut(dict):
    def __getitem__(self, name): seen.append(("environ", name))
    def get(self, name, default=None): seen.append(("environ", name))
os.environ = Shut()
watched = ("open", "os.", "socket.", "sqlite3.", "subprocess.", "shutil.")
sys.addaudithook(lambda event, given: seen.append((event, given)) if event.startswith(watched) else None)
create_app(config)
mounted(config, "/box")
print(seen)
"""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.stdout, ran.stderr, ran.returncode) == ("[]\n", "", 0)
    assert list(tmp_path.iterdir()) == []


def test_the_module_makes_its_application_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.delitem(vars(app.main), "app", raising=False)
    made = app.main.app
    assert isinstance(made, Purser)
    assert made is app.main.app
    assert made.state.config.data_dir == tmp_path / "elsewhere"
    monkeypatch.delitem(vars(app.main), "app")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = app.main.nothing


# The data folder


def mode(path: Path) -> int:
    return S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o022, 0o000, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_the_data_folder_is_closed_to_strangers(config: Config, umask: int) -> None:
    """Whatever the umask is: others may pass through to the profiles, and read nothing else."""
    with TestClient(create_app(config), client=("127.0.0.1", 7)) as client:
        claim(client)
        found = {path.name: mode(path) for path in config.data_dir.iterdir()}
    assert found.keys() >= {
        "app.db",
        "app.db-wal",
        "app.db-shm",
        "lock",
        "secret.key",
        "logs",
        "outbox",
        "roots",
        "profiles",
    }
    for name, bits in found.items():
        assert bits & 0o077 == 0 or name == "profiles", (name, oct(bits))
    assert found["secret.key"] == found["app.db"] == found["app.db-wal"] == found["lock"] == 0o600
    assert mode(config.data_dir) & 0o066 == 0
    if umask == 0o022:
        assert (mode(config.data_dir), found["profiles"]) == (0o711, 0o755)


def test_the_secret_key_is_made_once(config: Config) -> None:
    prepare(config)
    key = secret_key(config)
    assert len(key) == 64
    assert mode(config.data_dir / "secret.key") == 0o600
    assert secret_key(config) == key
    assert (config.data_dir / "secret.key").read_bytes() == key
    assert not (config.data_dir / "secret.key.part").exists()


def test_a_secret_key_that_is_set_makes_no_file(tmp_path: Path) -> None:
    config = configured(tmp_path / "data", SECRET_KEY="s" * 31 + "ä")
    prepare(config)
    assert secret_key(config) == ("s" * 31 + "ä").encode()
    assert not (config.data_dir / "secret.key").exists()


def test_a_damaged_secret_key_is_refused_and_left_alone(config: Config) -> None:
    prepare(config)
    path = config.data_dir / "secret.key"
    for damaged in (b"", b"\n", b"x" * 31, b" " * 64):
        path.write_bytes(damaged)
        with pytest.raises(StartError, match=r"secret\.key is damaged: it holds fewer than 32 bytes"):
            secret_key(config)
        assert path.read_bytes() == damaged
    path.unlink()
    path.mkdir()
    with pytest.raises(StartError, match=r"secret\.key cannot be used: Is a directory"):
        secret_key(config)


def test_each_purpose_has_a_key_of_its_own() -> None:
    assert len({derive_key(secret, purpose) for secret in (b"a" * 32, b"b" * 32) for purpose in ("one", "two")}) == 4
    assert derive_key(b"a" * 32, "one") == derive_key(b"a" * 32, "one")


def test_cursors_outlive_a_restart_and_not_the_key(config: Config) -> None:
    def page(app_: Purser, path: str, token: str = "") -> tuple[httpx2.Response, str]:
        with TestClient(app_, client=("127.0.0.1", 7)) as client:
            token = token or claim(client)
            client.headers["Authorization"] = f"Token {token}"
            for number in range(2):
                client.post(PACKAGES, json={"name": f"p{number}", "version": "1.0"})
            return client.get(path), token

    first, token = page(create_app(config), f"{PACKAGES}?limit=1")
    url = first.links["next"]["url"]
    assert page(create_app(config), url, token)[0].json()[0]["id"] == 2
    other = msgspec.structs.replace(config, secret_key="k" * 40)
    assert refusal(page(create_app(other), url, token)[0], 400)["errors"][0]["field"] == "cursor"


# Starts that fail


def started(folder: Path, *command: str, **environ: str) -> tuple[int, list[str]]:
    """Runs a command that is expected to end by itself; returns its exit code and what it said in lines."""
    own = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "DATA_DIR": str(folder / "data"), "PORT": "0"}
    ran = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=own | environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=START_S,
        check=False,
    )
    return ran.returncode, ran.stdout.splitlines()


def complaints(lines: list[str]) -> list[str]:
    """What uvicorn calls errors, but for its own closing line."""
    errors = [line.partition(":")[2].strip() for line in lines if line.startswith("ERROR")]
    return [line for line in errors if line != "Application startup failed. Exiting."]


UVICORN = ("uvicorn", "app.main:app", "--port", "0")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environ", "complaint"),
    [
        ({"CLAIM_FROM": "everybody"}, "CLAIM_FROM: expected loopback or any, not 'everybody'"),
        ({"SECRET_KEY": "s3same"}, "SECRET_KEY: expected at least 32 bytes"),
        ({"DATABASE_URL": "postgresql://u:s3same@h/d"}, "DATABASE_URL: expected sqlite:///relative/path or "),
        ({"APP_ENV": "production", "JWT_SECRET": "changeme" * 5}, "SECRET_KEY is a placeholder; in production it must"),
        ({"NODE_ENV": "development", "APP_ENV": "production"}, "APP_ENV and NODE_ENV say different things; set one"),
        ({"SMTP_URL": "smtp://ann:s3same@"}, "SMTP_URL: expected smtp://, smtp+starttls:// or smtps://, then user"),
        ({"SMTP_URL": "https://ann:s3same@mail.example"}, "SMTP_URL: expected smtp://, smtp+starttls:// or smtps://"),
        ({"RATE_LIMIT_PER_MINUTE": "-1"}, "RATE_LIMIT_PER_MINUTE: expected "),
        ({"AUDIT_RETENTION": "for ever"}, "AUDIT_RETENTION: expected "),
        ({"DATA_DIR": "file/data"}, "DATA_DIR {folder}/file/data cannot be used: Not a directory"),
        ({"DATA_DIR": "/proc/purser"}, "DATA_DIR /proc/purser cannot be used: No such file or directory"),
        ({"DB_PATH": "file/app.db"}, "{folder}/file cannot be used: "),
        ({"DB_PATH": "/proc/purser/app.db"}, "/proc/purser"),
        ({"DB_PATH": "file"}, "{folder}/file: file is not a database"),
        ({"DB_PATH": "folder"}, "{folder}/folder"),
    ],
)
def test_a_start_that_cannot_be_is_told_in_one_line(tmp_path: Path, environ: dict[str, str], complaint: str) -> None:
    """No traceback, no secret, exit code 3; `pkgctl serve` says the same and fails as well."""
    (tmp_path / "file").write_text("This is no database, whatever its name says.\n" * 100)
    (tmp_path / "folder").mkdir()
    code, lines = started(tmp_path, *UVICORN, **environ)
    assert code == 3, lines
    (line,) = complaints(lines)
    assert line.startswith(complaint.format(folder=tmp_path)), line
    assert "s3same" not in "".join(lines)
    assert not [line for line in lines if "Traceback" in line or "  File " in line]
    code, lines = started(tmp_path, "app", "serve", **environ)
    assert code in (1, 2, 3)
    assert sum(complaint.format(folder=tmp_path) in line for line in lines) == 1
    assert not [line for line in lines if "Traceback" in line or "  File " in line]
    assert (tmp_path / "file").read_text().startswith("This is no database")


@pytest.mark.slow
def test_a_second_service_on_the_same_file_is_refused_and_the_first_goes_on(service: Service) -> None:
    service.start()
    folder = service.folder
    in_use = f"{service.database} is in use: another Purser holds {service.data_dir}/lock"
    code, lines = started(folder, *UVICORN)
    assert (code, complaints(lines)) == (3, [in_use])
    other = {"DATA_DIR": str(folder / "other"), "DB_PATH": str(service.database)}
    code, lines = started(folder, *UVICORN, **other)
    assert code == 3
    assert complaints(lines)[0].startswith(f"{service.database} is in use: another Purser holds ")
    code, lines = started(folder, "app", "serve")
    assert code == 3
    assert sum(in_use in line for line in lines) == 1
    with service.client() as client:
        assert client.post(PACKAGES, json={"name": "vim", "version": "9.1"}).status_code == 201
    service.kill()
    service.start()
    with service.client() as client:
        assert len(client.get(PACKAGES).json()) == 1


@pytest.mark.slow
def test_a_damaged_secret_key_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "secret.key").write_text("short")
    code, lines = started(tmp_path, *UVICORN)
    assert code == 3
    assert complaints(lines) == [f"{tmp_path}/data/secret.key is damaged: it holds fewer than 32 bytes"]


# Stopping


@pytest.mark.slow
def test_a_stop_keeps_everything_that_was_acknowledged(service: Service) -> None:
    """Told to stop while four callers write: exit code 0, and every 201 is in the file, with its audit row."""
    service.start()
    answers, (code, output) = create_until(service, service.stop, writers=4, enough=200)
    acknowledged = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    assert len(acknowledged) >= 200
    assert code == 0
    assert '"level":"error"' not in output
    assert {entry["id"] for entry in rows(service.database, "SELECT id FROM packages")} >= set(acknowledged)
    told = rows(service.database, "SELECT target FROM audit WHERE action = 'packages.create'")
    assert {entry["target"] for entry in told} >= {f"packages/{number}" for number in acknowledged}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_stop_that_was_asked_for_is_a_success(service: Service, name: str) -> None:
    service.start()
    assert service.process is not None
    process = service.process
    process.send_signal(signal.Signals[name])
    assert process.wait(START_S) in ((0,) if name == "SIGTERM" else (0, 130))
    assert not re.search("Traceback|error", "".join(service.output))


def abort(address: tuple[str, int], token: str, dice: random.Random, number: int) -> None:
    """One request whose client leaves at a random moment, politely or not."""
    body = b'{"name":"aborted-%d","version":"1.0"}' % number
    head = f"Host: x\r\nAuthorization: Token {token}\r\n".encode()
    whole = dice.choice(
        [
            b"GET /api/v1/packages HTTP/1.1\r\n" + head + b"\r\n",
            b"GET /api/v1/packages/1/log HTTP/1.1\r\n" + head + b"\r\n",
            b"POST /api/v1/packages HTTP/1.1\r\n" + head + b"Content-Length: %d\r\n\r\n" % len(body) + body,
            b"POST /api/v1/packages HTTP/1.1\r\n" + head + b"Transfer-Encoding: chunked\r\n\r\n"
            b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body),
            b"POST /api/v1/packages/1/cancel HTTP/1.1\r\n" + head + b"Content-Length: 2\r\n\r\n{}",
            b"DELETE /api/v1/packages/%d HTTP/1.1\r\n" % dice.randrange(2, 5000) + head + b"\r\n",
        ]
    )
    sent = whole if dice.random() < 0.5 else whole[: dice.randrange(len(whole))]
    with socket.create_connection(address, timeout=30) as wire, suppress(ConnectionError):
        wire.sendall(sent)
        if dice.random() < 0.3 and sent == whole:
            wire.recv(dice.randrange(1, 300))
        if dice.random() < 0.5:
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not a goodbye


@pytest.mark.slow
def test_clients_that_leave_at_any_moment_leave_nothing_behind(service: Service) -> None:
    """5,000 aborted requests: no open transaction, no error in the log, and the next write works."""
    service.start()
    name, port = service.url.removeprefix("http://").split(":")
    with service.client() as client:
        assert client.post(PACKAGES, json={"name": "first", "version": "1.0"}).status_code == 201

        def leave(seed: int) -> None:
            dice = random.Random(seed)
            for number in range(625):
                abort((name, int(port)), service.token, dice, seed * 1000 + number)

        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(leave, seed) for seed in range(8)]:
                done.result(120)
        assert client.post(PACKAGES, json={"name": "last", "version": "1.0"}).status_code == 201
        outside = sqlite3.connect(service.database, isolation_level=None, timeout=0)
        outside.execute("BEGIN IMMEDIATE")
        outside.execute("ROLLBACK")
        outside.close()
        assert client.get("/readyz").json()["status"] == "ok"
    code, output = service.stop()
    assert code == 0
    assert '"level":"error"' not in output
    assert "Traceback" not in output
    names = {entry["name"] for entry in rows(service.database, "SELECT name FROM packages")}
    assert {"first", "last"} <= names
    assert len(names) > 100, "too few of the requests arrived to show anything"
