"""Lists of accounts: searched, cut down, ordered, and paged while others come and go."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.config import Config
from app.main import Purser, create_app
from app.values import folded
from tests.accounts import make_group
from tests.support import claim, configured
from tests.test_users import USERS, field, insert, names, plant

ORDERS = ["created_at", "-created_at", "username", "-username", "name", "-name"]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A super admin among people whose names are hard to search for; these tests only read."""
    config = configured(tmp_path_factory.mktemp("crowd") / "data")
    with TestClient(create_app(config), client=("127.0.0.1", 50000)) as client:
        client.headers["Authorization"] = f"Token {claim(client)}"
        group_id = make_group(client, "North", "00000001")
        client.post("/api/v1/roles", json={"name": "viewer", "permissions": []})
        for username, name in [
            ("percent", "100% sure"),
            ("under_score", "plain"),
            ("backslash", "C:\\temp"),
            ("o'brien", "It's me"),
            ("quote", 'the "great"'),
            ("arger", "Ärger Größe"),
            ("wang", "王漢字"),
        ]:
            plant(config, username, name=name)
        plant(config, "gone", status="inactive", group_id=group_id)
        plant(config, "banned", status="suspended")
        plant(config, "waiting", "guest", status="pending", group_id=group_id)
        further = plant(config, "further", email="mixed.Case@Example.ORG")
        insert(config, "INSERT INTO user_roles SELECT ?, id FROM roles WHERE name = 'viewer'", further.id)
        yield client


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("%", ["percent"]),
        ("_", ["under_score"]),
        ("\\", ["backslash"]),
        ("'", ["o'brien"]),
        ('"', ["quote"]),
        ("ä", ["arger"]),
        ("Ä", ["arger"]),
        ("GRÖSSE", ["arger"]),
        ("a\u0308rger", ["arger"]),
        ("漢", ["wang"]),
        ("MIXED.case@", ["further"]),
        ("UNDER_", ["under_score"]),
        ("sure", ["percent"]),
        ("%' OR 1=1 --", []),
        ("a%e", []),
    ],
)
def test_a_search_finds_exactly_what_contains_the_text(crowd: TestClient, wanted: str, found: list[str]) -> None:
    answer = crowd.get(USERS, params={"q": wanted, "count": "true"})
    assert names(answer) == found
    assert answer.headers["x-total-count"] == str(len(found))


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"status": "inactive"}, ["gone"]),
        ({"status": "suspended"}, ["banned"]),
        ({"status": "pending"}, ["waiting"]),
        ({"role": "super_admin"}, ["admin"]),
        ({"role": "guest"}, ["waiting"]),
        ({"role": "viewer"}, ["further"]),
        ({"role": "nobody"}, []),
        ({"group_id": "1"}, ["gone", "waiting"]),
        ({"group_id": "1", "status": "pending", "role": "guest", "q": "ait"}, ["waiting"]),
        ({"group_id": "9"}, []),
    ],
)
def test_a_list_is_cut_down_by_filters(crowd: TestClient, wanted: dict[str, str], found: list[str]) -> None:
    answer = crowd.get(USERS, params={"count": "true", **wanted})
    assert names(answer) == found
    assert answer.headers["x-total-count"] == str(len(found))


def test_a_list_shows_all_roles_of_an_account(crowd: TestClient) -> None:
    (further,) = crowd.get(USERS, params={"q": "further"}).json()
    assert (further["role"], further["roles"]) == ("user", ["user", "viewer"])
    assert crowd.get(f"{USERS}/{further['id']}").json() == further


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sort", "password_hash"),
        ("sort", "email"),
        ("sort", "name desc"),
        ("status", "gone"),
        ("group_id", "0"),
        ("group_id", "x"),
        ("limit", "0"),
        ("limit", "1001"),
        ("q", ""),
        ("q", "x" * 101),
        ("search", "x"),
    ],
)
def test_a_parameter_that_is_none_is_refused_by_name(crowd: TestClient, name: str, value: str) -> None:
    assert field(crowd.get(USERS, params={name: value})).strip("/") == name


def walk(client: TestClient, path: str, between: Callable[[list[str]], None]) -> list[str]:
    """All usernames of a list, page by page; `between` hears of those seen so far."""
    answer = client.get(path)
    found = names(answer)
    while "next" in answer.links:
        assert len(found) == len(set(found)), "an account came twice"
        between(found)
        answer = client.get(answer.links["next"]["url"])
        found += names(answer)
    return found


@pytest.mark.parametrize("order", ORDERS)
def test_pages_hold_every_account_once_while_others_come_and_go(client: TestClient, config: Config, order: str) -> None:
    """Half of the accounts share one name; the row that a page ended with may be the one that goes."""
    total = 10
    for number in range(total):
        plant(config, f"u{number * 7 % total}", name="Same" if number % 2 else f"N{number}")
    for limit in (1, 2, 3, 7):
        stay = set(names(client.get(USERS)))

        def come_and_go(seen: list[str], limit: int = limit, stay: set[str] = stay) -> None:
            last = seen[-1]
            if last != "admin":
                insert(config, "DELETE FROM users WHERE username = ?", last)
            stay.discard(last)
            for name in ("", "Same", "zz"):
                plant(config, f"new-{order}-{limit}-{len(seen)}-{name}", name=name)

        seen = walk(
            client, f"{USERS}?limit={limit}&sort={order}", lambda seen: come_and_go(seen) if len(seen) < 9 else None
        )
        assert len(seen) == len(set(seen))
        assert stay <= set(seen)


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_is_what_it_says(client: TestClient, config: Config, order: str) -> None:
    """Also for the last character there is, and for the account without a name."""
    for username, name in [("B", "same"), ("a", "same"), ("\U0010ffffz", "\U0010ffffz"), ("ä", "Zed"), ("z", "same")]:
        plant(config, username, name=name)
    key: dict[str, Callable[[dict[str, Any]], object]] = {
        "created_at": lambda user: user["id"],
        "username": lambda user: folded(user["username"]),
        "name": lambda user: (user["name"], user["id"]),
    }
    everybody = sorted(client.get(USERS).json(), key=key[order.lstrip("-")], reverse=order.startswith("-"))
    assert len(everybody) == 6
    assert walk(client, f"{USERS}?limit=2&sort={order}", lambda seen: None) == [user["username"] for user in everybody]


def test_a_page_costs_as_many_statements_with_many_accounts_as_with_one(
    client: TestClient, app: Purser, config: Config
) -> None:
    def statements() -> list[int]:
        heard: list[int] = []
        app.state.db.observe = lambda name, statements, seconds: heard.append(statements) if name == "page" else None
        assert client.get(USERS, params={"count": "true", "limit": 1000}).status_code == 200
        app.state.db.observe = None
        return heard

    one = statements()
    for number in range(50):
        plant(config, f"u{number}", name="Same")
    assert (len(one), statements()) == (1, one)
