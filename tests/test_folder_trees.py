"""Trees of folders, deep, wide and full, changed by many at once: always trees, told whole by one statement."""

import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from itertools import accumulate, count
from random import Random
from typing import Any

import httpx2
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from app.folders.structs import Branch, FolderNode, nested
from app.values import folded
from tests.accounts import Person
from tests.house import House
from tests.office import API, FILES, FOLDERS, folder, listed, made, put, statements
from tests.support import refusal
from tests.test_roles import at_once

MOST_DEPTH, MOST_FOLDERS, MISSING = 1_000, 20_000, 10**17
CHAIN: list[int | None] = [None, *range(MOST_DEPTH - 1)]
"""Where the folders of a tree lie, each by its place in this list: here each in the one before."""
Telling = list[tuple[int, str, int | None, int]]


def plant(house: House, owner_id: int, parents: Sequence[int | None], names: Sequence[str] = ()) -> list[int]:
    """The ids of a tree that is put into the database from outside, with a name for each folder, or numbers."""
    names, at = names or [str(number) for number in range(len(parents))], "2026-11-21T00:00:00.000Z"
    with closing(sqlite3.connect(house.config.database_path, isolation_level=None)) as outside:
        outside.execute("BEGIN IMMEDIATE")
        known = outside.execute("SELECT seq FROM sqlite_sequence WHERE name = 'folders'").fetchone()
        first = 1 + (known[0] if known else 0)
        outside.executemany(
            "INSERT INTO folders (id, owner_id, parent_id, name, name_key, created_at, updated_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (first + place, owner_id, None if parent is None else first + parent, name, folded(name), at, at)
                for place, (parent, name) in enumerate(zip(parents, names, strict=True))
            ),
        )
        outside.execute("COMMIT")
    return [*range(first, first + len(parents))]


def plant_files(house: House, owner: Person, folder_ids: Sequence[int]) -> None:
    """A file in each of the folders, all but the first put there from outside."""
    file = put(house, owner, b"ten bytes\n", folder_id=folder_ids[0])
    with closing(sqlite3.connect(house.config.database_path)) as outside, outside:
        outside.execute("CREATE TEMP TABLE one AS SELECT * FROM files WHERE id = ?", (file["id"],))
        for folder_id in folder_ids[1:]:
            outside.execute("UPDATE one SET id = NULL, folder_id = ?", (folder_id,))
            outside.execute("INSERT INTO files SELECT * FROM one")


def bushy(number: int, seed: int) -> list[int | None]:
    """A tree as chance has it."""
    chance = Random(seed)
    return [None if place == 0 or chance.random() < 0.05 else chance.randrange(place) for place in range(number)]


@contextmanager
def deep_json() -> Iterator[None]:
    """JSON of a thousand levels is read by recursion, too."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10 * MOST_DEPTH)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def told(house: House, headers: Mapping[str, str], **query: int) -> Telling:
    """What GET /folders/tree tells, from top to bottom, each child checked to be told below its parent."""
    answer = house.client.get(f"{FOLDERS}/tree", params=query, headers=dict(headers))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json"), answer.text[:500]
    found: Telling = []
    with deep_json():
        pending = [(node, 1, None) for node in reversed(answer.json())]
    while pending:
        node, depth, parent_id = pending.pop()
        assert node.keys() == {"id", "name", "parent_id", "depth", "revision", "children"}
        assert (node["depth"], depth == 1 or node["parent_id"] == parent_id) == (depth, True)
        found.append((node["id"], node["name"], node["parent_id"], depth))
        pending += [(child, depth + 1, node["id"]) for child in reversed(node["children"])]
    return found


def in_tables(house: House, owner_id: int, root_id: int | None = None, depth: int = MOST_DEPTH) -> Telling:
    """The same from the rows themselves."""
    rows = house.rows("SELECT id, name, parent_id FROM folders WHERE owner_id = ?", owner_id)
    children: dict[int | None, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: (folded(row["name"]), row["id"]), reverse=True):
        children.setdefault(row["parent_id"], []).append(row)
    pending = [
        (row, 1) for row in (children.get(None, []) if root_id is None else rows) if root_id in (None, row["id"])
    ]
    found: Telling = []
    while pending:
        row, level = pending.pop()
        found.append((row["id"], row["name"], row["parent_id"], level))
        if level < depth:
            pending += [(child, level + 1) for child in children.get(row["id"], ())]
    return found


def is_a_tree(house: House, owner_id: int) -> bool:
    """Whether every folder is found from the root: none lies in itself, and none in what is gone."""
    rows = house.rows("SELECT id FROM folders WHERE owner_id = ?", owner_id)
    return sorted(row["id"] for row in rows) == sorted(one[0] for one in in_tables(house, owner_id, depth=10**6))


def move(house: House, headers: Mapping[str, str], folder_id: int, parent_id: int | None) -> httpx2.Response:
    target = f"{FOLDERS}/{folder_id}/move"
    return house.client.post(target, json={"parent_id": parent_id}, headers=dict(headers))


def create(house: House, headers: Mapping[str, str], name: str, parent_id: int | None = None) -> httpx2.Response:
    return house.client.post(FOLDERS, json={"name": name, "parent_id": parent_id}, headers=dict(headers))


def remove(house: House, headers: Mapping[str, str], folder_id: int) -> httpx2.Response:
    return house.client.delete(f"{FOLDERS}/{folder_id}", headers=dict(headers))


NAMES = ["b", "B", "a", "A", "ä", "a\u0308", "Z", "z", "10", "9", "_", "~", "ß", "ss", "🔬", "ﬁ", "é", " ", '"', "]}"]


def test_a_tree_is_told_whole_nested_and_by_name(house: House) -> None:
    anna, ben = house.person(), house.person()
    assert told(house, anna.headers) == []
    parents = bushy(200, 1)
    places: dict[int | None, Iterator[str]] = {
        parent: (f"{name}{n}" for n in count() for name in NAMES) for parent in parents
    }
    ids = plant(house, anna.id, parents, [next(places[parent]) for parent in parents])
    folder(house, ben, "ben's")
    whole = in_tables(house, anna.id)
    assert len(whole) == 200
    assert told(house, anna.headers) == told(house, {}, owner_id=anna.id) == whole
    for depth in (1, 2, 3, 1000):
        assert told(house, anna.headers, depth=depth) == in_tables(house, anna.id, depth=depth)
        for root_id in (ids[0], ids[3], ids[-1]):
            wanted = in_tables(house, anna.id, root_id, depth)
            assert told(house, anna.headers, root_id=root_id, depth=depth) == wanted
            assert told(house, {}, root_id=root_id, depth=depth) == wanted
    top, low = whole[0], whole[-1]
    assert told(house, anna.headers, root_id=low[0], depth=1) == [(*low[:3], 1)]
    assert told(house, anna.headers, root_id=top[0], owner_id=anna.id)[0] == top


def test_a_tree_of_another_is_not_there(house: House) -> None:
    anna, ben = house.person(), house.person()
    top = folder(house, anna, "top")["id"]
    for query in ({"owner_id": anna.id}, {"root_id": top}, {"root_id": top, "owner_id": anna.id}, {"root_id": MISSING}):
        answer = house.client.get(f"{FOLDERS}/tree", params=query, headers=ben.headers)
        refusal(answer, 404, "NOT_FOUND")
    mixed = {"root_id": folder(house, ben, "own")["id"], "owner_id": anna.id}
    assert house.client.get(f"{FOLDERS}/tree", params=mixed, headers=ben.headers).json() == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        *((f"depth={depth}", "depth") for depth in ("0", "-1", "1001", "x", "1.5", "null", "")),
        *(
            (f"{name}={number}", name)
            for name in ("root_id", "owner_id")
            for number in ("0", "-1", "x", "null", 10**18)
        ),
        *((name, name.partition("=")[0]) for name in ("limit=1", "parent_id=1", "q=a")),
    ],
)
def test_a_tree_that_cannot_be_is_refused(house: House, query: str, field: str) -> None:
    asked = refusal(house.client.get(f"{FOLDERS}/tree?{query}"), 400, "VALIDATION_ERROR")
    assert asked["errors"][0]["field"] == field


SHAPES: dict[str, list[int | None]] = {
    "deep": CHAIN,
    "wide": [None, *([0] * 9_999)],
    "flat": [None] * 10_000,
    "deep and full": [*CHAIN, *([0] * 10_000), *range(500, 999), *([998] * 8_000)],
    "by chance": bushy(MOST_FOLDERS, 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_however_large_a_tree_is_told_by_one_statement(house: House, shape: str) -> None:
    anna, ben = house.person(), house.person()
    root_id = plant(house, anna.id, SHAPES[shape])[0]
    small = folder(house, ben, "one")["id"]
    told(house, anna.headers, depth=1)
    for large, little in (({}, {}), ({"root_id": root_id}, {"root_id": small}), ({"depth": 1}, {"depth": 1})):
        with statements(house) as seen:
            found, single = told(house, anna.headers, **large), told(house, ben.headers, **little)
        assert seen == [("tree", 2 if "root_id" in large else 1)] * 2
        assert (found, len(single)) == (in_tables(house, anna.id, **large), 1)
    assert remove(house, anna.headers, root_id).status_code == 204
    assert is_a_tree(house, anna.id)


@pytest.mark.slow
def test_the_deepest_folder_is_shown_changed_and_emptied(house: House) -> None:
    anna = house.person()
    ids = plant(house, anna.id, CHAIN, [f"{place:04d}" + "🔬" * 251 for place in range(MOST_DEPTH)])
    low = f"{FOLDERS}/{ids[-1]}"
    answer = made(house.client.get(low, headers=anna.headers), 200)
    assert (len(answer["path"]), len(answer["ancestors"])) == (256 * MOST_DEPTH, MOST_DEPTH - 1)
    assert [step["id"] for step in answer["ancestors"]] == ids[:-1]
    same = {"name": "lowest", "parent_id": ids[-2]}
    assert made(house.client.patch(low, json=same, headers=anna.headers), 200)["path"].endswith("/lowest")
    put(house, anna, folder_id=ids[-1])
    assert listed(house, anna, "files", folder_id=ids[-1])
    assert remove(house, anna.headers, ids[-1]).status_code == 204
    assert listed(house, anna, "files") == []


@pytest.mark.slow
def test_no_folder_lies_deeper_than_a_thousand_levels(house: House) -> None:
    anna = house.person()
    ids = plant(house, anna.id, CHAIN)
    answer = refusal(create(house, anna.headers, "x", ids[-1]), 409, "CONFLICT")
    assert answer["depth"] == MOST_DEPTH + 1
    assert create(house, anna.headers, "x", ids[-2]).status_code == 201
    assert remove(house, anna.headers, ids[-1]).status_code == 204
    assert create(house, anna.headers, "y", ids[-2]).status_code == 201
    small = plant(house, anna.id, [None, 0, 1, 1, 0], ["small", "1", "2", "3", "4"])
    for headers in (anna.headers, {}):
        for parent_id, depth in ((ids[997], 1001), (ids[998], 1002)):
            assert refusal(move(house, headers, small[0], parent_id), 409, "CONFLICT")["depth"] == depth
        patch = {"parent_id": ids[997], "name": "z"}
        refusal(house.client.patch(f"{FOLDERS}/{small[0]}", json=patch, headers=dict(headers)), 409, "CONFLICT")
    assert move(house, anna.headers, small[0], ids[996]).status_code == 200
    assert move(house, anna.headers, small[0], None).status_code == 200
    assert refusal(move(house, anna.headers, ids[0], small[4]), 409, "CONFLICT")["depth"] == MOST_DEPTH + 2
    assert move(house, anna.headers, ids[2], small[4]).status_code == 200
    assert told(house, anna.headers) == in_tables(house, anna.id)
    assert max(one[3] for one in told(house, anna.headers)) == MOST_DEPTH


@pytest.mark.slow
def test_an_account_has_at_most_twenty_thousand_folders(house: House) -> None:
    anna, ben = house.person(), house.person()
    ids = plant(house, anna.id, [None, *([0] * (MOST_FOLDERS - 1))])
    for parent_id in (None, ids[0], ids[-1]):
        answer = refusal(create(house, anna.headers, "one more", parent_id), 409, "CONFLICT")
        assert answer["folder_count"] == MOST_FOLDERS
    assert create(house, ben.headers, "one more").status_code == 201
    assert move(house, anna.headers, ids[-1], None).status_code == 200
    for folder_id in ids[1:5]:
        assert remove(house, anna.headers, folder_id).status_code == 204
    calls = [partial(create, house, anna.headers, str(number), ids[-1]) for number in range(12)]
    assert sorted(answer.status_code for answer in at_once(*calls)) == [201] * 4 + [409] * 8
    assert len(house.rows("SELECT id FROM folders WHERE owner_id = ?", anna.id)) == MOST_FOLDERS


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["deep", "deep and full"])
@pytest.mark.parametrize("way", ["folder", "account"])
def test_a_huge_tree_goes_with_its_files(house: House, shape: str, way: str) -> None:
    """With its root folder, or with the account that it is of."""
    anna = house.person()
    ids = plant(house, anna.id, SHAPES[shape])
    plant_files(house, anna, ids)
    used = "SELECT used_bytes FROM storage_use WHERE owner_id = ?"
    assert house.rows(used, anna.id) == [{"used_bytes": 10 * len(ids)}]
    target = f"{FOLDERS}/{ids[0]}" if way == "folder" else f"{API}/users/{anna.id}"
    assert house.client.delete(target).status_code == 204
    for table in ("folders", "files"):
        assert house.rows(f"SELECT id FROM {table} WHERE owner_id = ?", anna.id) == []  # noqa: S608
    assert house.rows(used, anna.id) == ([{"used_bytes": 0}] if way == "folder" else [])


def test_of_two_folders_moved_into_each_other_at_once_one_is(house: House) -> None:
    anna = house.person()
    for number in range(20):
        a, b = (folder(house, anna, f"{name}{number}")["id"] for name in "ab")
        answers = at_once(partial(move, house, anna.headers, a, b), partial(move, house, {}, b, a))
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        assert is_a_tree(house, anna.id)


def test_of_three_folders_moved_round_in_a_ring_at_once_one_is_refused(house: House) -> None:
    anna = house.person()
    for number in range(10):
        ids = [folder(house, anna, f"{name}{number}")["id"] for name in "abc"]
        answers = at_once(*(partial(move, house, anna.headers, ids[place], ids[place - 1]) for place in range(3)))
        assert sorted(answer.status_code for answer in answers) == [200, 200, 409]
        assert is_a_tree(house, anna.id)


def test_of_one_name_given_many_times_at_once_there_is_one_folder(house: House) -> None:
    anna = house.person()
    top, others = folder(house, anna, "top")["id"], [folder(house, anna, str(number))["id"] for number in range(4)]
    for name in ("x", "é"):
        calls = [partial(create, house, anna.headers, name, top) for _ in range(4)]
        calls += [
            partial(house.client.patch, f"{FOLDERS}/{one}", json={"name": name, "parent_id": top}, headers=anna.headers)
            for one in others
        ]
        statuses = [answer.status_code for answer in at_once(*calls)]
        assert sum(status < 300 for status in statuses) == 1, statuses
        assert statuses.count(409) == 7
        assert [row[1] for row in told(house, anna.headers) if row[2] == top].count(name) == 1


def test_what_is_put_into_a_folder_while_it_is_deleted_goes_with_it_or_is_refused(house: House) -> None:
    anna = house.person()
    beside = folder(house, anna, "beside")["id"]
    for _ in range(15):
        top = folder(house, anna, "top")["id"]
        low = folder(house, anna, "low", top)["id"]
        file = put(house, anna)["id"]
        gone, *answers = at_once(
            partial(remove, house, anna.headers, top),
            partial(create, house, anna.headers, "new", low),
            partial(move, house, anna.headers, beside, low),
            partial(house.client.put, f"{FILES}/content?name=b&folder_id={low}", content=b"x", headers=anna.headers),
            partial(house.client.post, f"{FILES}/{file}/move", json={"folder_id": low}, headers=anna.headers),
        )
        assert gone.status_code == 204
        assert {answer.status_code for answer in answers} <= {200, 201, 404}
        left = {row["id"] for row in house.rows("SELECT id FROM folders WHERE owner_id = ?", anna.id)}
        assert left == (set() if answers[1].status_code == 200 else {beside})
        assert listed(house, anna, "files") == ([] if answers[3].status_code == 200 else [file])
        if not left:
            beside = folder(house, anna, "beside")["id"]
        house.client.delete(f"{FILES}/{file}", headers=anna.headers)


@pytest.mark.slow
def test_of_two_moves_that_are_too_deep_together_one_is_refused(house: House) -> None:
    anna = house.person()
    for _ in range(5):
        upper, lower = (plant(house, anna.id, CHAIN[:500], [name] * 500) for name in ("upper", "lower"))
        small = plant(house, anna.id, [None], ["small"])[0]
        answers = at_once(
            partial(move, house, anna.headers, lower[0], upper[-1]),
            partial(move, house, anna.headers, small, lower[-1]),
        )
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        assert is_a_tree(house, anna.id)
        for folder_id in (small, lower[0], upper[0]):
            remove(house, anna.headers, folder_id)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_many_who_move_folders_about_at_once_leave_a_tree(house: House, seed: int) -> None:
    """The owner, an admin and tokens of both, a thousand calls in all, with folders that come and go meanwhile."""
    anna = house.person()
    ids = [folder(house, anna, str(number))["id"] for number in range(14)]
    callers = [anna.headers, {}, house.token(anna, "folders:delete", "files:delete"), anna.headers] * 2

    def act(mover: int) -> list[int]:
        chance, headers, statuses = Random(100 * seed + mover), callers[mover], []
        for turn in range(125):
            one, other = chance.choice(ids), chance.choice([*ids, None])
            if mover == 7 and turn % 10 == 9:
                answer = remove(house, headers, one)
            elif mover == 6 and turn % 3 == 2:
                answer = create(house, anna.headers, str(chance.randrange(5)), other)
            else:
                answer = move(house, headers, one, other)
            statuses.append(answer.status_code)
        return statuses

    with ThreadPoolExecutor(len(callers)) as pool:
        seen = {status for statuses in pool.map(act, range(len(callers))) for status in statuses}
    assert {200, 409} <= seen <= {200, 201, 204, 404, 409}
    assert is_a_tree(house, anna.id)
    assert told(house, anna.headers) == in_tables(house, anna.id)
    names = house.rows("SELECT owner_id, parent_id, name FROM folders WHERE owner_id = ?", anna.id)
    assert len({tuple(row.values()) for row in names}) == len(names)


class Place(msgspec.Struct):
    """What the model knows of a folder."""

    owner_id: int
    parent_id: int | None
    name: str


class Trees(RuleBasedStateMachine):
    """Three people and an admin who reaches all make, rename, move and delete folders; a dictionary says what is so."""

    def __init__(self, house: House, people: list[Person]) -> None:
        super().__init__()
        self.house = house
        self.people = people
        self.model: dict[int, Place] = {}

    who = st.integers(0, 3)
    place = st.integers(0, 40)
    name = st.sampled_from(["a", "A", "b", "e\u0301", "é"])

    def caller(self, who: int) -> tuple[int, Mapping[str, str]]:
        return (1, {}) if who == 3 else (self.people[who].id, self.people[who].headers)

    def pick(self, place: int) -> int:
        ids = sorted(self.model)
        return ids[place % len(ids)] if ids and place < 38 else MISSING

    def above(self, folder_id: int | None) -> list[int]:
        """A folder and those it lies in."""
        found = []
        while folder_id is not None:
            found.append(folder_id)
            folder_id = self.model[folder_id].parent_id
        return found

    def free(self, owner_id: int, parent_id: int | None, name: str, but: int = 0) -> bool:
        wanted = Place(owner_id, parent_id, name)
        return all(there != wanted for one, there in self.model.items() if one != but)

    @rule(who=who, place=place, at_root=st.booleans(), name=name)
    def create(self, who: int, place: int, at_root: bool, name: str) -> None:
        own_id, headers = self.caller(who)
        parent_id = None if at_root else self.pick(place)
        answer = create(self.house, headers, name, parent_id)
        if parent_id is not None and (parent_id not in self.model or self.model[parent_id].owner_id != own_id):
            refusal(answer, 404, "NOT_FOUND")
        elif not self.free(own_id, parent_id, name):
            refusal(answer, 409, "CONFLICT")
        else:
            self.model[made(answer)["id"]] = Place(own_id, parent_id, name)

    @rule(who=who, place=place, name=name)
    def rename(self, who: int, place: int, name: str) -> None:
        self.change(who, self.pick(place), {"name": name})

    @rule(who=who, place=place, to=st.none() | place)
    def move(self, who: int, place: int, to: int | None) -> None:
        self.change(who, self.pick(place), {"parent_id": None if to is None else self.pick(to)})

    @rule(who=who, place=place, to=st.none() | place, name=name)
    def rename_and_move(self, who: int, place: int, to: int | None, name: str) -> None:
        self.change(who, self.pick(place), {"parent_id": None if to is None else self.pick(to), "name": name})

    def change(self, who: int, folder_id: int, patch: dict[str, Any]) -> None:
        own_id, headers = self.caller(who)
        answer = self.house.client.patch(f"{FOLDERS}/{folder_id}", json=patch, headers=dict(headers))
        was = self.model.get(folder_id)
        if was is None or own_id not in (was.owner_id, 1):
            refusal(answer, 404, "NOT_FOUND")
            return
        parent_id, name = patch.get("parent_id", was.parent_id), patch.get("name", was.name)
        if parent_id is not None and (parent_id not in self.model or self.model[parent_id].owner_id != was.owner_id):
            refusal(answer, 404, "NOT_FOUND")
        elif folder_id in self.above(parent_id) or not self.free(was.owner_id, parent_id, name, folder_id):
            refusal(answer, 409, "CONFLICT")
        else:
            self.model[folder_id] = Place(was.owner_id, parent_id, name)
            path = made(answer, 200)["path"]
            assert path == "/" + "/".join(self.model[one].name for one in reversed(self.above(folder_id)))

    @rule(who=who, place=place)
    def remove(self, who: int, place: int) -> None:
        own_id, headers = self.caller(who)
        folder_id = self.pick(place)
        answer = remove(self.house, headers, folder_id)
        if folder_id not in self.model or own_id not in (self.model[folder_id].owner_id, 1):
            refusal(answer, 404, "NOT_FOUND")
            return
        assert answer.status_code == 204
        self.model = {one: there for one, there in self.model.items() if folder_id not in self.above(one)}

    @invariant()
    def trees_are_as_the_model_says(self) -> None:
        for who in range(4):
            own_id, headers = self.caller(who)
            found = told(self.house, headers)
            wanted = {one: there for one, there in self.model.items() if there.owner_id == own_id}
            assert {one: Place(own_id, parent_id, name) for one, name, parent_id, _ in found} == wanted
            assert [(one, depth) for one, _, _, depth in found] == [(one, len(self.above(one))) for one, *_ in found]

    def teardown(self) -> None:
        for one, there in self.model.items():
            if there.parent_id is None:
                assert remove(self.house, {}, one).status_code == 204


@pytest.mark.slow
def test_trees_are_what_the_model_says_whatever_is_done_to_them(house: House) -> None:
    people = [house.person() for _ in range(3)]
    run_state_machine_as_test(
        lambda: Trees(house, people),  # type: ignore[arg-type]  # whatever makes one will do
        settings=settings(
            max_examples=25,
            stateful_step_count=50,
            derandomize=True,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


@st.composite
def branches(draw: st.DrawFn) -> list[Branch]:
    """The folders of some tree, in any order; the outermost may lie in a folder that is not told."""
    drawn = draw(st.lists(st.tuples(st.integers(0, 8), st.text(max_size=5)), max_size=40))
    found: list[Branch] = []
    for number, (back, name) in enumerate(drawn, 1):
        above = found[-back] if 0 < back <= len(found) else None
        outside = draw(st.none() | st.just(1_000))
        found.append(
            Branch(
                number, name, above.id if above else outside, above.depth + 1 if above else 1, draw(st.integers(1, 9))
            )
        )
    return draw(st.permutations(found))


@given(branches())
def test_branches_are_nested_as_recursion_would(given: list[Branch]) -> None:
    def node(branch: Branch) -> FolderNode:
        children = [node(one) for one in given if one.depth > 1 and one.parent_id == branch.id]
        return FolderNode(**msgspec.structs.asdict(branch), children=children)

    assert nested(given) == msgspec.json.encode([node(branch) for branch in given if branch.depth == 1])


@pytest.mark.parametrize("number", [0, 1, 1_000, 50_000])
def test_branches_are_nested_however_deep(number: int) -> None:
    chain = [Branch(one, "x", one - 1 or None, one, 1) for one in range(1, number + 1)]
    written = nested(chain[::-1])
    assert written.count(b'"children":[') == number
    assert max(accumulate({91: 1, 93: -1}.get(sign, 0) for sign in written)) == number + 1
    assert written.endswith(b"]}" * number + b"]")
