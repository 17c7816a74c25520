"""Packages over HTTP: what may follow what. The life of a build with the real Nix is in test_main_job.py."""

import itertools
from typing import Any

import pytest
import semver
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.config import Config
from app.packages.structs import PackageCreate
from app.web.codec import decode
from tests.support import rows

PACKAGES = "/api/v1/packages"
MEMBERS = ["id", "name", "version", "status", "store_path", "closure_bytes", "failure", "failure_detail", "active"]
MEMBERS += ["created_at", "updated_at", "downloaded_at", "activated_at"]


def create(client: TestClient, name: str = "hello", version: str = "2.10") -> dict[str, Any]:
    answer = client.post(PACKAGES, json={"name": name, "version": version})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def test_a_created_package_is_shown_as_the_contract_says(client: TestClient) -> None:
    made = create(client)
    assert list(made) == MEMBERS
    assert made["status"] == "created"
    assert made["active"] is False
    assert made["store_path"] is None
    answer = client.get(f"{PACKAGES}/{made['id']}")
    assert answer.json() == made
    assert answer.headers["etag"] == '"1"'


def test_creating_says_where_the_package_is(client: TestClient) -> None:
    answer = client.post(PACKAGES, json={"name": "hello", "version": "2.10"})
    assert answer.headers["location"] == f"{PACKAGES}/{answer.json()['id']}"
    assert client.get(answer.headers["location"]).json() == answer.json()


def test_the_same_name_and_version_twice_is_a_conflict(client: TestClient) -> None:
    create(client)
    answer = client.post(PACKAGES, json={"name": "hello", "version": "2.10"})
    assert answer.status_code == 409
    assert answer.json()["code"] == "CONFLICT"
    assert create(client, version="2.11")["version"] == "2.11"


@pytest.mark.parametrize("name", ["a", "0", "A+b._-", "x" * 100, "foo-2-link", "libstdc++"])
def test_these_names_are_taken(client: TestClient, name: str) -> None:
    assert create(client, name=name)["name"] == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "-a", "a b", "a/b", "../etc", "a\n", "ä", "x" * 101, "a${b}", "a'", "_x"]
)
def test_these_names_are_refused(client: TestClient, name: str) -> None:
    answer = client.post(PACKAGES, json={"name": name, "version": "1.0"})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "/name"


@pytest.mark.parametrize(
    "version", ["2.10", "0.0", "1.0.0-rc.1", "1.2.3+build.7", "10.20.30-alpha-x.0+001", "1.2-beta"]
)
def test_these_versions_are_taken(client: TestClient, version: str) -> None:
    assert create(client, version=version)["version"] == version


@pytest.mark.parametrize(
    "version", ["", "1", "1.2.3.4", "01.2", "1.02.3", "v1.2.3", "1.2.3-01", "1.2.3-", "1.2.3\n", "1..2"]
)
def test_these_versions_are_refused(client: TestClient, version: str) -> None:
    answer = client.post(PACKAGES, json={"name": "hello", "version": version})
    assert answer.status_code == 400
    [error] = answer.json()["errors"]
    assert error["field"] == "/version"
    assert "semantic version" in error["message"]


@given(st.from_regex(r"[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}([-+][0-9A-Za-z.+-]{0,12})?", fullmatch=True))
def test_three_part_versions_are_judged_as_semver_judges_them(version: str) -> None:
    body = f'{{"name":"x","version":"{version}"}}'.encode()
    try:
        taken = decode(body, PackageCreate).version == version
    except Exception:
        taken = False
    assert taken == semver.Version.is_valid(version)


def test_lists_are_in_the_order_asked_for(client: TestClient) -> None:
    for name in ("beta", "alpha", "gamma"):
        create(client, name=name)

    def names(query: str) -> list[str]:
        return [package["name"] for package in client.get(PACKAGES + query).json()]

    assert names("") == ["beta", "alpha", "gamma"]
    assert names("?sort=-created_at") == ["gamma", "alpha", "beta"]
    assert names("?sort=name") == ["alpha", "beta", "gamma"]
    assert names("?sort=-name") == ["gamma", "beta", "alpha"]
    assert client.get(PACKAGES + "?sort=version").status_code == 400


@pytest.mark.parametrize("sort", ["name", "-name", "created_at", "-created_at"])
def test_pages_follow_each_other_without_gap_or_repetition(client: TestClient, sort: str) -> None:
    for name, version in itertools.product(("c", "a", "b"), ("1.0", "2.0", "3.0")):
        create(client, name, version)
    whole = client.get(f"{PACKAGES}?sort={sort}").json()
    found, path = [], f"{PACKAGES}?sort={sort}&limit=2&count=true"
    while path:
        answer = client.get(path)
        assert answer.status_code == 200, answer.text
        found += answer.json()
        create(client, "zz" if sort == "name" else "0", f"9.{len(found)}") if sort in ("-created_at", "name") else None
        path = answer.links["next"]["url"] if "next" in answer.links else ""
    kept = [package for package in found if package["name"] in "abc"]
    assert kept == whole
    assert len({package["id"] for package in found}) == len(found)


def test_a_count_is_given_when_it_is_asked_for(client: TestClient) -> None:
    for number in range(3):
        create(client, name=f"p{number}")
    assert client.get(PACKAGES + "?limit=1&count=true").headers["x-total-count"] == "3"
    assert client.get(PACKAGES + "?q=p1&count=true").headers["x-total-count"] == "1"
    assert "x-total-count" not in client.get(PACKAGES).headers


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name=lib_x", ["lib_x"]),
        ("q=LIB", ["lib_x", "libstdc++"]),
        ("q=_", ["lib_x"]),
        ("q=%25", []),
        ("q=%2B%2B", ["libstdc++"]),
        ("q=%5C", []),
        ("q=%27%20OR%201%3D1", []),
        ("status=created&q=h", ["hello"]),
        ("status=activated", []),
    ],
)
def test_filters_find_what_they_say(client: TestClient, query: str, names: list[str]) -> None:
    for name in ("hello", "lib_x", "libstdc++"):
        create(client, name=name)
    answer = client.get(f"{PACKAGES}?{query}")
    assert [package["name"] for package in answer.json()] == names


@pytest.mark.parametrize("cursor", ["x", "AAAA", "%00", "a" * 1000, "🙂"])
def test_a_cursor_that_no_list_gave_is_refused(client: TestClient, cursor: str) -> None:
    answer = client.get(PACKAGES, params={"cursor": cursor})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "cursor"


def test_the_cursor_of_one_list_is_refused_by_another(client: TestClient) -> None:
    create(client), create(client, version="2.11")
    link = client.get(PACKAGES + "?limit=1").links["next"]["url"]
    cursor = link.partition("cursor=")[2]
    assert client.get(f"/api/v1/tokens?cursor={cursor}").status_code == 400


def test_a_deleted_package_is_gone_and_its_id_never_comes_back(client: TestClient) -> None:
    first = create(client)
    assert client.delete(f"{PACKAGES}/{first['id']}").status_code == 204
    assert client.get(f"{PACKAGES}/{first['id']}").status_code == 404
    assert client.delete(f"{PACKAGES}/{first['id']}").status_code == 404
    assert create(client)["id"] > first["id"]


def test_deleting_honours_if_match(client: TestClient) -> None:
    made = create(client)
    path = f"{PACKAGES}/{made['id']}"
    assert client.delete(path, headers={"If-Match": '"7"'}).status_code == 412
    assert client.delete(path, headers={"If-Match": "nonsense"}).status_code == 412
    assert client.delete(path, headers={"If-Match": '"1"'}).status_code == 204


@pytest.mark.parametrize("action", ["cancel", "activate", "rollback"])
def test_what_needs_a_download_is_a_conflict_before_it(client: TestClient, action: str) -> None:
    made = create(client)
    answer = client.post(f"{PACKAGES}/{made['id']}/{action}")
    assert answer.status_code == 409
    assert answer.json()["state"] == "created"


@pytest.mark.parametrize("action", ["download", "cancel", "activate", "rollback"])
def test_what_is_not_there_cannot_be_acted_on(client: TestClient, action: str) -> None:
    assert client.post(f"{PACKAGES}/77/{action}").status_code == 404


@pytest.mark.parametrize("what", ["attempts", "activations", "log"])
def test_a_package_without_history_has_an_empty_one(client: TestClient, what: str) -> None:
    made = create(client)
    answer = client.get(f"{PACKAGES}/{made['id']}/{what}")
    assert answer.status_code == 200
    assert answer.text in ("", "[]")
    assert client.get(f"{PACKAGES}/77/{what}").status_code == 404


def test_the_log_of_an_unknown_attempt_is_not_found(client: TestClient) -> None:
    made = create(client)
    assert client.get(f"{PACKAGES}/{made['id']}/log?attempt=1").status_code == 404


def test_every_change_leaves_its_row_in_the_trail(client: TestClient, config: Config) -> None:
    made = create(client)
    client.delete(f"{PACKAGES}/{made['id']}")
    trail = rows(config.database_path, "SELECT action, target, status FROM audit WHERE kind = 'change' ORDER BY id")
    assert [tuple(row.values()) for row in trail] == [
        ("appliance.claim", "tokens/1", 201),
        ("packages.create", f"packages/{made['id']}", 201),
        ("packages.delete", f"packages/{made['id']}", 204),
    ]
