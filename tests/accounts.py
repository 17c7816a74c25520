"""Accounts for tests: people with a password, a role, a group and a session."""

import sqlite3
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from starlette.testclient import TestClient

from app.config import Config

PASSWORD = "correct horse battery"
_numbers = count(1)


@dataclass
class Person:
    """An account that is signed in; `headers` make a call of its own."""

    id: int
    username: str
    pair: dict[str, Any]
    headers: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.headers = bearer(self.pair["access_token"])


def bearer(secret: str) -> dict[str, str]:
    """The header of a call with this credential."""
    return {"Authorization": f"Bearer {secret}"}


def sign_in(client: TestClient, identifier: str, password: str = PASSWORD) -> dict[str, Any]:
    """The pair of tokens of a new session; the call carries no other credential."""
    answer = client.post(
        "/api/v1/auth/login", json={"identifier": identifier, "password": password}, headers={"Authorization": ""}
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def make_group(client: TestClient, name: str, number: str) -> int:
    """The id of a group made by the caller of `client`, a super admin."""
    made = client.post("/api/v1/groups", json={"name": name, "uniform_number": number})
    assert made.status_code == 201, made.text
    return int(made.json()["id"])


def make_person(client: TestClient, config: Config, username: str, *roles: str, group_id: int | None = None) -> Person:
    """An account made by the caller of `client`, a super admin, with these roles, in this group, then signed in."""
    made = client.post(
        "/api/v1/users",
        json={"email": f"{username}@example.com", "username": username, "name": username, "password": PASSWORD},
    )
    assert made.status_code == 201, made.text
    path = f"/api/v1/users/{made.json()['id']}"
    if roles:
        assert client.put(f"{path}/roles", json={"roles": [*roles]}).status_code == 200
    if group_id is not None:
        assert client.put(f"{path}/group", json={"group_id": group_id}).status_code == 200
    return Person(made.json()["id"], username, sign_in(client, username))


def make_account(config: Config, group_id: int | None = None, *, role: str = "user", status: str = "active") -> int:
    """The id of an account that nobody signs in to, put into the database from outside: no password is hashed."""
    name, at = f"account{next(_numbers)}", "2026-11-21T00:00:00.000Z"
    with sqlite3.connect(config.database_path) as outside:
        made = outside.execute(
            "INSERT INTO users (username, username_key, status, role, group_id, created_at, updated_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (name, name, status, role, group_id, at, at),
        ).lastrowid
    outside.close()
    assert made is not None
    return made
