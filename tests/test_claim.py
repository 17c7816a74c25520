"""The claim: one act, ever, on the appliance itself, makes it somebody's."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

from app.config import Config
from app.db.migrate import migrate
from app.main import create_app
from app.values import new_token
from tests.accounts import PASSWORD, bearer, sign_in
from tests.support import ROOT, START_S, Service, ask, claim, configured, refusal, rows

TOKENS = "/api/v1/tokens"
NOT_CLAIMED = "This appliance is not claimed yet; the first token is made on the appliance itself."
NEEDED = "A token is required: send `Authorization: Token …`."


def test_the_first_call_makes_the_first_token_and_its_owner(stranger: TestClient, config: Config) -> None:
    answer = stranger.post(TOKENS)
    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == "/api/v1/tokens/1"
    assert (made["scopes"], made["expires_at"], made["state"], made["user_id"]) == (["*"], None, "active", 1)
    (owner,) = rows(config.database_path, "SELECT * FROM users")
    assert (owner["username"], owner["role"], owner["status"]) == ("admin", "super_admin", "active")
    assert owner["password_hash"] is None
    stranger.headers["Authorization"] = f"Token {made['token']}"
    assert stranger.get(TOKENS).json()[0]["id"] == 1


def test_the_claim_is_a_change_in_the_trail(stranger: TestClient, config: Config) -> None:
    claim(stranger)
    (row,) = rows(config.database_path, "SELECT * FROM audit")
    assert (row["kind"], row["action"], row["target"]) == ("change", "appliance.claim", "tokens/1")
    assert (row["actor_name"], row["status"], row["ip"], row["route"]) == ("admin", 201, "127.0.0.1", TOKENS)


def test_the_first_token_may_be_named_and_nothing_else(stranger: TestClient) -> None:
    for more in ({"scopes": ["packages:read"]}, {"expires_in_days": 1}, {"expires_in": "never"}):
        assert refusal(stranger.post(TOKENS, json=more), 400)["errors"][0]["field"] == "/"
    refusal(stranger.post(TOKENS, json={"name": ""}), 400)
    assert stranger.post(TOKENS, json={"name": "bench"}).json()["name"] == "bench"


def test_after_the_claim_nobody_claims_again(client: TestClient, config: Config) -> None:
    """Not when every token is revoked, nor when they and their owner are gone."""
    own = client.headers.pop("authorization")
    assert refusal(client.post(TOKENS), 401, "UNAUTHORIZED")["detail"] == NEEDED
    client.delete(f"{TOKENS}/1", headers={"Authorization": own})
    refusal(client.get(TOKENS, headers={"Authorization": own}), 401)
    refusal(client.post(TOKENS), 401)
    for statement in ("DELETE FROM tokens", "DELETE FROM users"):
        with sqlite3.connect(config.database_path) as outside:
            outside.execute(statement)
        outside.close()
        refusal(client.post(TOKENS), 401)
    assert rows(config.database_path, "SELECT count(*) AS n FROM tokens") == [{"n": 0}]


def test_a_call_with_a_credential_never_claims(stranger: TestClient) -> None:
    for header in ("Token x", "Basic YTpi", "Bearer ", "Token"):
        assert refusal(stranger.post(TOKENS, headers={"Authorization": header}), 401)["detail"] == "Invalid token"
    claim(stranger)


@pytest.mark.parametrize(
    "host", ["192.0.2.7", "10.0.0.1", "::ffff:192.0.2.7", "fe80::1", "128.0.0.1", "localhost", "0.0.0.0"]
)
def test_a_call_from_elsewhere_does_not_claim(stranger: TestClient, host: str) -> None:
    assert refusal(ask(stranger, "POST", TOKENS, host=host), 403, "FORBIDDEN")["detail"] == NOT_CLAIMED
    claim(stranger)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_a_call_on_the_appliance_claims(stranger: TestClient, host: str) -> None:
    assert ask(stranger, "POST", TOKENS, host=host).status_code == 201


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Forwarded-For", ""),
        ("Forwarded", "for=127.0.0.1"),
        ("Via", "1.1 proxy"),
        ("Origin", "http://localhost:3000"),
        ("origin", "null"),
        ("x-FORWARDED-for", "::1"),
    ],
)
def test_a_call_through_a_proxy_or_from_a_page_does_not_claim(stranger: TestClient, name: str, value: str) -> None:
    assert refusal(stranger.post(TOKENS, headers={name: value}), 403)["detail"] == NOT_CLAIMED
    claim(stranger)


def test_a_trusted_proxy_does_not_make_a_caller_local(tmp_path: Path) -> None:
    app = create_app(configured(tmp_path / "data", TRUSTED_PROXIES="127.0.0.0/8"))
    with TestClient(app, client=("127.0.0.1", 7)) as client:
        refusal(client.post(TOKENS, headers={"X-Forwarded-For": "127.0.0.1"}), 403)


def test_claim_from_any_lets_everybody_claim_once(tmp_path: Path) -> None:
    app = create_app(configured(tmp_path / "data", CLAIM_FROM="any"))
    with TestClient(app, client=("192.0.2.7", 7)) as client:
        claim(client)
        refusal(client.post(TOKENS, headers={"Via": "1.1 proxy"}), 401)


def test_an_account_that_is_no_longer_active_has_no_tokens_that_work(client: TestClient, config: Config) -> None:
    for status in ("inactive", "suspended", "pending"):
        token = client.post(TOKENS).json()["token"]
        with sqlite3.connect(config.database_path) as outside:
            outside.execute("UPDATE users SET status = ?", (status,))
        outside.close()
        answer = client.get(TOKENS, headers={"Authorization": f"Token {token}"})
        assert refusal(answer, 401)["detail"] == "Invalid token"
        with sqlite3.connect(config.database_path) as outside:
            outside.execute("UPDATE users SET status = 'active'")
        outside.close()
        assert client.get(TOKENS, headers={"Authorization": f"Token {token}"}).status_code == 200


def test_a_role_that_nobody_defined_may_do_nothing(client: TestClient, config: Config) -> None:
    token = client.post(TOKENS).json()["token"]
    with sqlite3.connect(config.database_path) as outside:
        outside.execute("UPDATE users SET role = 'stranger'")
    outside.close()
    answer = client.get("/api/v1/packages", headers={"Authorization": f"Token {token}"})
    assert refusal(answer, 403)["required"] == ["packages:read"]


@pytest.mark.slow
def test_of_a_hundred_simultaneous_claims_exactly_one_succeeds(service: Service) -> None:
    """A hundred connections are open before the first byte is sent; then all send at once."""
    service.start(claimed=False)
    host, port = service.url.removeprefix("http://").split(":")
    wires = [socket.create_connection((host, int(port)), timeout=30) for _ in range(100)]
    go = threading.Barrier(len(wires))

    def knock(wire: socket.socket) -> tuple[int, bytes]:
        with wire:
            go.wait(30)
            wire.sendall(b"POST /api/v1/tokens HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            content = b""
            while more := wire.recv(65536):
                content += more
        return int(content.split()[1]), content

    with ThreadPoolExecutor(len(wires)) as pool:
        answers = list(pool.map(knock, wires))
    assert sorted(status for status, _ in answers) == [201] + [401] * 99
    assert all(b"application/problem+json" in content for status, content in answers if status == 401)
    assert service.stop()[0] == 0
    for table in ("claims", "users", "tokens"):
        assert rows(service.database, f"SELECT count(*) AS n FROM {table}") == [{"n": 1}]  # noqa: S608


def _spawn(folder: Path, command: list[str], **environ: str) -> "subprocess.Popen[str]":
    own = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=own | environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _until(process: "subprocess.Popen[str]", words: str) -> str:
    """Reads what a process says until it has said these words."""
    said = ""
    assert process.stdout is not None
    for line in process.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(said)


def _end(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGTERM)
    assert process.stdout is not None
    with process.stdout:
        process.stdout.read()
    process.wait(START_S)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["example-init", "no init"])
def test_the_example_of_the_first_page_gives_a_token(tmp_path: Path, first: str) -> None:
    """`example-init`, `uvicorn app.main:app`, `curl -X POST localhost:…/api/v1/tokens`."""
    scripts: Any = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, function = scripts["example-init"].partition(":")
    if first == "example-init":
        call = f"import sys; from {module} import {function}; sys.exit({function}())"
        initialized = _spawn(tmp_path, [sys.executable, "-W", "error", "-c", call])
        said, _ = initialized.communicate(timeout=START_S)
        assert initialized.returncode == 0
        assert sorted(said.splitlines()) == [f"Opened {tmp_path}/data/app.db", f"sqlite:///{tmp_path}/data/app.db"]
    served = _spawn(tmp_path, [sys.executable, "-m", "uvicorn", "app.main:app", "--port", "0"])
    try:
        said = _until(served, "Uvicorn running on")
        port = int(said.rsplit("http://127.0.0.1:", 1)[1].split()[0])
        curl = ["curl", "-sS", "-X", "POST", f"localhost:{port}/api/v1/tokens"]
        answer = httpx2.Response(201, content=subprocess.run(curl, capture_output=True, check=True).stdout)
        token = answer.json()["token"]
        headers = {"Authorization": f"Token {token}"}
        listed = httpx2.get(f"http://127.0.0.1:{port}/api/v1/tokens", headers=headers, trust_env=False)
        assert [entry["id"] for entry in listed.json()] == [1]
    finally:
        _end(served)


@pytest.mark.slow
def test_a_caller_on_a_unix_socket_claims(tmp_path: Path) -> None:
    path = tmp_path / "purser.sock"
    served = _spawn(tmp_path, [sys.executable, "-m", "app", "serve", "--uds", str(path)])
    try:
        _until(served, "listens on unix:")
        transport = httpx2.HTTPTransport(uds=str(path))
        with httpx2.Client(transport=transport, base_url="http://purser", trust_env=False) as client:
            refusal(client.post(TOKENS, headers={"X-Forwarded-For": "192.0.2.7"}), 403)
            claim(client)
            refusal(client.post(TOKENS), 401)
    finally:
        _end(served)


FIRST_OWNER = """
INSERT INTO claims (slot, claimed_at) VALUES (1, '2026-01-02T03:04:05.678Z');
INSERT INTO users (username, username_key, status, role, created_at, updated_at)
VALUES ('admin', 'admin', 'active', 'super_admin', '2026-01-02T03:04:05.678Z', '2026-01-02T03:04:05.678Z');
"""


@pytest.fixture
def first_token(config: Config, tmp_path: Path) -> str:
    """The token of an appliance that was claimed under the first schema, when it had one account and no roles."""
    source, secret, at = tmp_path / "migrations", new_token(), "2026-01-02T03:04:05.678Z"
    source.mkdir()
    (first,) = (ROOT / "sql/migrations").glob("0001_*.sql")
    (source / first.name).write_bytes(first.read_bytes())
    config.data_dir.mkdir()
    with closing(sqlite3.connect(config.database_path, isolation_level=None)) as connection:
        assert migrate(connection, now=at, source=source).version == 1
        connection.executescript(FIRST_OWNER)
        connection.execute(
            "INSERT INTO tokens (user_id, name, prefix, secret_sha256, scopes, created_at)"
            " VALUES (1, 'old', ?, ?, ?, ?)",
            (secret[:12], sha256(secret.encode()).hexdigest(), '["*"]', at),
        )
    return secret


@pytest.fixture
def owner(first_token: str, config: Config) -> Iterator[TestClient]:
    """The owner of that appliance, with today's program."""
    with TestClient(create_app(config), client=("127.0.0.1", 50000), headers=bearer(first_token)) as client:
        yield client


def test_who_claimed_under_the_first_schema_may_do_everything_after_an_update(
    owner: TestClient, config: Config
) -> None:
    me = owner.get("/api/v1/users/me").json()
    assert (me["id"], me["role"], me["roles"], me["token_id"]) == (1, "super_admin", ["super_admin"], 1)
    assert {grant["reach"] for grant in me["permissions"]} == {"all"}
    assert [user["username"] for user in owner.get("/api/v1/users?q=ADM").json()] == ["admin"]
    new = {"email": "una@example.com", "password": PASSWORD, "name": "Una"}
    user_id = owner.post("/api/v1/users", json=new).json()["id"]
    assert owner.put(f"/api/v1/users/{user_id}/roles", json={"roles": ["super_admin"]}).status_code == 200
    assert owner.patch("/api/v1/users/1/password", json={"password": PASSWORD}).status_code == 200
    assert sign_in(owner, "admin")["user"]["id"] == 1
    refusal(owner.post(TOKENS, headers={"Authorization": ""}), 401)
    assert [path.name for path in (config.data_dir / "backups").iterdir()] == ["before-migration-0001.db"]
