"""A claimed appliance with people in it, for the tests of signing in."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from starlette.testclient import TestClient

from app.config import Config
from app.main import Purser, create_app
from tests.accounts import PASSWORD, Person, bearer, make_person
from tests.support import claim, configured, refusal, rows

AUTH = "/api/v1/auth"
ME = "/api/v1/users/me"
NOBODY = {"Authorization": ""}
ENDED = "Session ended"
ACCESS_S, REFRESH_S = 900, 7 * 86400


class House:
    """A claimed appliance; `client` calls as its super admin, and every test makes its own people."""

    def __init__(self, client: TestClient, app: Purser, config: Config) -> None:
        self.client = client
        self.app = app
        self.config = config
        self._numbers = itertools.count(1)

    def person(self, *roles: str) -> Person:
        return make_person(self.client, self.config, f"person{next(self._numbers)}", *roles)

    def rows(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        return rows(self.config.database_path, sql, *parameters)

    def post(self, what: str, given: object, headers: dict[str, str] = NOBODY) -> httpx2.Response:
        """A call of /auth/… as a stranger, or with these headers."""
        return self.client.post(f"{AUTH}/{what}", json=given, headers=headers)

    def login(self, password: str = PASSWORD, **names: str) -> httpx2.Response:
        return self.post("login", {**names, "password": password})

    def refresh(self, pair: dict[str, Any]) -> httpx2.Response:
        return self.post("refresh", {"refresh_token": pair["refresh_token"]})

    def refreshed(self, pair: dict[str, Any]) -> dict[str, Any]:
        answer = self.refresh(pair)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def me(self, headers: dict[str, str]) -> httpx2.Response:
        return self.client.get(ME, headers=headers)

    def lets_in(self, pair: dict[str, Any]) -> bool:
        """Whether the pair's access token is good; where it is not, its session has ended."""
        answer = self.me(bearer(pair["access_token"]))
        if answer.status_code != 200:
            assert refusal(answer, 401, "UNAUTHORIZED")["detail"] == ENDED
        return answer.status_code == 200

    def sessions(self, user_id: int) -> int:
        return len(self.rows("SELECT id FROM sessions WHERE user_id = ?", user_id))

    def token(self, person: Person, *scopes: str) -> dict[str, str]:
        """A new access token of this person, as a header; without scopes it may do all that the person may."""
        wanted = {"scopes": [*scopes]} if scopes else {}
        answer = self.client.post("/api/v1/tokens", json=wanted, headers=person.headers)
        assert answer.status_code == 201, answer.text
        return {"Authorization": f"Token {answer.json()['token']}"}


@contextmanager
def opened(folder: Path) -> Iterator[House]:
    """A house in this folder."""
    config = configured(folder / "data")
    app = create_app(config)
    with TestClient(app, client=("127.0.0.1", 50000)) as client:
        client.headers["Authorization"] = f"Token {claim(client)}"
        yield House(client, app, config)
