"""What people keep, for tests: files, folders, documents, teams, made over HTTP by a person of a house."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode

import httpx2

from tests.accounts import Person
from tests.house import House
from tests.support import refusal

API = "/api/v1"
FILES, FOLDERS, DOCUMENTS, TEAMS = (f"{API}/{noun}" for noun in ("files", "folders", "documents", "teams"))


def made(answer: httpx2.Response, status: int = 201) -> dict[str, Any]:
    """The object that a call answered with."""
    assert answer.status_code == status, f"{answer.status_code} {answer.text[:500]}"
    found: dict[str, Any] = answer.json()
    return found


def put(house: House, who: Person, content: bytes = b"hello\n", name: str = "a.txt", **more: object) -> dict[str, Any]:
    """A file of this person's with these bytes; `more` is folder_id."""
    target = f"{FILES}/content?{urlencode({'name': name, **more})}"
    return made(house.client.put(target, content=content, headers=who.headers))


def form(house: House, who: Person, content: bytes, name: str, **fields: str) -> httpx2.Response:
    """The answer to a form with a file, as a browser sends it; its fields come before the file."""
    return house.client.post(FILES, data=fields, files={"file": (name, content)}, headers=who.headers)


def folder(house: House, who: Person, name: str = "folder", parent_id: int | None = None) -> dict[str, Any]:
    """A folder of this person's."""
    return made(house.client.post(FOLDERS, json={"name": name, "parent_id": parent_id}, headers=who.headers))


def document(house: House, who: Person, title: str = "Title", content: str = "", **more: object) -> dict[str, Any]:
    """A document of this person's; `more` is folder_id and tags."""
    return made(house.client.post(DOCUMENTS, json={"title": title, "content": content, **more}, headers=who.headers))


def team(house: House, owner: Person, *members: Person) -> int:
    """The id of a team of this person's, with these members."""
    team_id = made(house.client.post(TEAMS, json={"name": "team"}, headers=owner.headers))["id"]
    for member in members:
        made(house.client.post(f"{TEAMS}/{team_id}/members", json={"user_id": member.id}, headers=owner.headers))
    return int(team_id)


def share(house: House, owner: Person, what: str, **to: object) -> dict[str, Any]:
    """The answer to sharing something, `files/7` or `documents/7`, with user_id, team_id or link."""
    return made(house.client.post(f"{API}/{what}/share", json=to, headers=owner.headers), 200)


def sees(house: House, who: Person, what: str) -> bool:
    """Whether somebody may see something, `files/7` or `documents/7`; where not, it is not there for them."""
    answer = house.client.get(f"{API}/{what}", headers=who.headers)
    if answer.status_code != 200:
        refusal(answer, 404, "NOT_FOUND")
    return answer.status_code == 200


def listed(house: House, who: Person, noun: str, **query: object) -> list[int]:
    """The ids of a list, page after page, in its order."""
    target: str | None = f"{API}/{noun}?{urlencode(query, quote_via=quote)}"
    found: list[int] = []
    while target is not None:
        answer = house.client.get(target, headers=who.headers)
        assert answer.status_code == 200, answer.text
        found += [row["id"] for row in answer.json()]
        target = answer.links.get("next", {}).get("url")
    return found


@contextmanager
def statements(house: House) -> Iterator[list[tuple[str, int]]]:
    """Every transaction meanwhile, but those of the trail: its function, and how many statements it ran."""
    seen: list[tuple[str, int]] = []
    house.app.state.db.observe = lambda name, count, _: None if "add_many" in name else seen.append((name, count))
    try:
        yield seen
    finally:
        house.app.state.db.observe = None
