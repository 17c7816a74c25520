"""Accounts for tests: people with a password, a role, a group and a session."""

import sqlite3
from dataclasses import dataclass, field
from typing import Any

from starlette.testclient import TestClient

from app.config import Config

PASSWORD = "correct horse battery"


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


def make_group(config: Config, name: str, number: str) -> int:
    """A group, put into the database from outside: nothing serves groups yet."""
    with sqlite3.connect(config.database_path) as outside:
        made = outside.execute(
            "INSERT INTO groups (name, uniform_number, created_at, updated_at) VALUES (?, ?, ?, ?)",
            (name, number, "2026-11-21T00:00:00.000Z", "2026-11-21T00:00:00.000Z"),
        ).lastrowid
    outside.close()
    assert made is not None
    return made


def make_person(client: TestClient, config: Config, username: str, *roles: str, group_id: int | None = None) -> Person:
    """An account made by the caller of `client`, a super admin, with these roles, signed in."""
    made = client.post(
        "/api/v1/users",
        json={"email": f"{username}@example.com", "username": username, "name": username, "password": PASSWORD},
    )
    assert made.status_code == 201, made.text
    user_id = made.json()["id"]
    if roles:
        assert client.put(f"/api/v1/users/{user_id}/roles", json={"roles": [*roles]}).status_code == 200
    if group_id is not None:
        with sqlite3.connect(config.database_path) as outside:
            outside.execute("UPDATE users SET group_id = ? WHERE id = ?", (group_id, user_id))
        outside.close()
    return Person(user_id, username, sign_in(client, username))
