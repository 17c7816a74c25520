"""Finding documents: what a search finds in whatever script, page by page, and how little it reads for that."""

import sqlite3
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.actor import Actor, Identity
from app.documents import service
from app.documents.signs import NAMES, signature
from app.documents.structs import DocumentFilter, Place
from app.permissions import Grant, Permissions, Reach
from app.values import folded, like
from tests.accounts import Person, make_group, make_person
from tests.house import House, opened
from tests.office import DOCUMENTS, document, folder, listed, made, share
from tests.support import refusal
from tests.test_audit_plans import steps
from tests.test_documents import call, edited

pytestmark = pytest.mark.slow  # texts by the thousand

SIGNS = [*"abcABC Ää ßẞ éÉ 漢字かな한글 İıIi ſ ﬁﬀ Σσς Å K ½ ² ﷺ ǅ ａ", "\u0301", "\u0307", "\u1100", "\u1161", "\u00a0"]
SIGNS += [
    "🔬",
    "👩‍🔬",
    "%",
    "_",
    '"',
    "'",
    "\\",
    "\\%",
    "*",
    "?",
    "[a]",
    "^",
    "-",
    ";",
    "\n",
    "\t",
    "  ",
    "\u3000",
    "\u200d",
]
ANY = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TEXTS = st.lists(st.one_of(st.sampled_from(SIGNS), ANY), max_size=40).map("".join)
LINES = st.lists(
    st.sampled_from([sign for sign in SIGNS if sign.isprintable() or sign == "\u3000"]), min_size=1, max_size=12
)


@st.composite
def parts(draw: st.DrawFn, text: str) -> str:
    """A part of a text."""
    begin = draw(st.integers(0, len(text)))
    return text[begin : draw(st.integers(begin, len(text)))]


@given(st.data())
@settings(max_examples=500)
def test_what_contains_a_text_has_all_its_signs(data: st.DataObject) -> None:
    text = data.draw(TEXTS)
    key = folded(text)
    part = data.draw(parts(key))
    assert folded(part) == part  # so that what is searched for is found where it stands
    whole, signs = signature(key), signature(part)
    assert whole.keys() == signs.keys() == set(NAMES)
    assert {name for name in NAMES if whole[name] & signs[name] != signs[name]} == set()
    assert all(0 <= value < 2**62 for value in whole.values())
    asked = folded(data.draw(parts(text)))
    if asked in key:
        assert all(whole[name] & value == value for name, value in signature(asked).items())


@pytest.mark.parametrize("text", ["", "a", "ab", "ab cd", " \n ", "漢", "é", "a é 漢"])
def test_what_is_too_short_for_signs_leaves_nothing_out(text: str) -> None:
    assert set(signature(text).values()) == {0}


def test_a_text_of_all_there_is_has_the_signs_of_each_and_no_more_than_fit() -> None:
    """Signs of each part of Unicode, and so many words that each bit is set."""
    everything = folded("".join(chr(code) for code in range(1, 0x110000, 17) if not 0xD800 <= code < 0xE000))
    words = " ".join(map(str, range(1000, 9999)))
    assert all(0 <= value < 2**62 for value in signature(everything).values())
    full = signature(everything + words)
    assert {full[f"t{number}"] for number in range(16)} == {2**62 - 1}


@given(st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_a_document_is_found_by_what_it_contains_and_by_nothing_else(house: House, data: st.DataObject) -> None:
    """Also when the first look does not do, and all that may match is asked for."""
    texts = data.draw(st.lists(st.tuples(LINES.map("".join), TEXTS), min_size=1, max_size=5))
    keys = [folded(f"{title}\n{text}") for title, text in texts]
    source = data.draw(st.sampled_from([f"{title}\n{text}" for title, text in texts] + keys))
    questions = data.draw(st.lists(st.one_of(parts(source), st.sampled_from(SIGNS), TEXTS), min_size=1, max_size=6))
    look = data.draw(st.sampled_from([1, 2, service.LOOK]))
    ids = [document(house, SEEKER[0], title, text)["id"] for title, text in texts]
    try:
        for question in filter(None, (question[:200] for question in questions)):
            expected = [number for number, key in zip(ids, keys, strict=True) if folded(question) in key]
            assert all_that_is_found(house, SEEKER[0], question, look) == [expected] * 3
    finally:
        made(call(house, SEEKER[0], "POST", "batch-delete", {"ids": ids}), 200)


def all_that_is_found(house: House, who: Person, question: str, look: int) -> list[list[int]]:
    """What a search finds in each order, and one by one, after checking that the count says the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "LOOK", look)
        orders: tuple[dict[str, object], ...] = ({}, {"sort": "title"}, {"limit": 1})
        found = [sorted(listed(house, who, "documents", q=question, **asked)) for asked in orders]
        answer = house.client.get(DOCUMENTS, params={"q": question, "count": "true"}, headers=who.headers)
    assert int(answer.headers["x-total-count"]) == len(found[0])
    return found


SEEKER: list[Person] = []


@pytest.fixture(scope="module", autouse=True)
def seeker(house: House) -> Iterator[None]:
    """Somebody who has nothing but what an example gives them."""
    SEEKER[:] = [house.person()]
    yield
    SEEKER.clear()


FOUND = [
    ("Straße", "STRASSE"),
    ("STRASSE", "straße"),
    ("Weiẞ", "weiss"),
    ("ÄRGER", "ärger"),
    ("cafe\u0301", "CAFÉ"),
    ("CAFÉ", "cafe\u0301"),
    ("ﬁnden", "FIND"),
    ("ſonne", "SONNE"),
    ("ΟΔΟΣ", "οδος"),
    ("οδος", "ΟΔΟΣ"),
    ("İstanbul", "i\u0307stan"),
    ("Ｆｕｌｌ", "full"),
    ("5 K", "5 k"),
    ("m²", "m2"),
    ("漢字かな", "字か"),
    ("\u1112\u1161\u11ab글", "한글"),
    ("a🔬b", "🔬"),
    ("100%", "0%"),
    ("a_b", "_"),
    ("C:\\temp", ":\\T"),
    ('say "hi"', '"HI"'),
    ("O'Brien", "'b"),
    ("two  blanks", "o  b"),
    ("title", "title\ntext"),
    ("non\u00a0breaking", "n b"),
]
MISSED = [
    ("abc", "%"),
    ("abc", "a_c"),
    ("abc", "a%c"),
    ("abc", "\\"),
    ("two  blanks", "o b"),
    ("ab", "ba"),
    ("abc", "ab c"),
]


@pytest.mark.parametrize("look", [service.LOOK, 1])
def test_case_form_and_wildcards_make_no_difference(house: House, monkeypatch: pytest.MonkeyPatch, look: int) -> None:
    monkeypatch.setattr(service, "LOOK", look)
    anna = house.person()
    for words in (FOUND, MISSED):
        for text, question in words:
            for one in (document(house, anna, text, "text"), document(house, anna, "title", f"more\n{text}\ntext")):
                found = listed(house, anna, "documents", q=question)
                assert (one["id"] in found) == (words is FOUND), (text, question)
                assert call(house, anna, "DELETE", str(one["id"])).status_code == 204


def test_a_search_finds_what_a_document_is_and_not_what_it_was(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LOOK", 1)
    anna = house.person()
    others = [document(house, anna, "other")["id"] for _ in range(3)]
    one = document(house, anna, "elephant", "savannah")["id"]

    def found(*words: str) -> list[bool]:
        return [listed(house, anna, "documents", q=word) == [one] for word in words]

    assert found("elephant", "savannah", "giraffe", "desert") == [True, True, False, False]
    edited(house, anna, one, title="giraffe")
    assert found("elephant", "savannah", "giraffe", "desert") == [False, True, True, False]
    edited(house, anna, one, content="desert", tags=["elephant"])
    assert found("elephant", "savannah", "giraffe", "desert") == [False, False, True, True]
    made(call(house, anna, "POST", f"{one}/revisions/1/restore"), 200)
    assert found("elephant", "savannah", "giraffe", "desert") == [True, True, False, False]
    assert sorted(listed(house, anna, "documents", q="other")) == others


@pytest.mark.parametrize("look", [service.LOOK, 5])
@pytest.mark.parametrize("sort", ["-updated_at", "title"])
@pytest.mark.parametrize(
    "asked", [{}, {"q": "fox"}, {"q": "fox", "tags": "a"}, {"q": "fox", "shared": "true"}], ids=str
)
def test_page_by_page_nothing_is_lost_or_told_twice_while_more_is_written(
    house: House, monkeypatch: pytest.MonkeyPatch, asked: dict[str, str], sort: str, look: int
) -> None:
    monkeypatch.setattr(service, "LOOK", look)
    pick, anna, ben = Random(sort), house.person(), house.person()

    def write() -> int:
        title = pick.choice(["Fox", "fox", "A fox", "z fox", "ä FOX"])
        one = document(house, anna, title, "nothing", tags=pick.choice([["A"], ["a", "b"]]))["id"]
        share(house, anna, f"documents/{one}", user_id=ben.id)
        return int(one)

    there, seen = {write() for _ in range(17)}, []
    who = ben if "shared" in asked else anna
    target: str | None = f"{DOCUMENTS}?sort={sort}&limit=4&" + "&".join(f"{name}={of}" for name, of in asked.items())
    while target is not None:
        answer = house.client.get(target, headers=who.headers)
        assert answer.status_code == 200
        seen += [row["id"] for row in answer.json()]
        write()
        assert call(house, anna, "DELETE", str(document(house, anna, "gone fox", tags=["a"])["id"])).status_code == 204
        target = answer.links.get("next", {}).get("url")
    assert len(seen) == len(set(seen))
    assert there <= set(seen)
    if sort != "title":
        assert there == set(seen)  # what is new stands before all that is told


HOSTILE = ["O'Brien", '"', "100%", "_", "\\", "'; DROP TABLE documents; --", "\u202eabc", "🔬" * 255, " ", "<script>"]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:20])
def test_a_text_comes_back_as_it_was_written(house: House, text: str) -> None:
    anna = house.person()
    found = document(house, anna, text, f"{text}\r\n\t{text}", tags=[text.strip()[:50]] if text.strip() else [])
    shown = made(call(house, anna, "GET", str(found["id"])), 200)
    assert (shown["title"], shown["content"]) == (text, f"{text}\r\n\t{text}")
    assert shown == found
    assert listed(house, anna, "documents", q=text[:200]) == [found["id"]]


def test_a_list_shows_what_has_any_of_the_tags(house: House) -> None:
    anna = house.person()
    both, one, _ = (document(house, anna, tags=tags)["id"] for tags in (["A", "Ä"], ["ä", "c d"], ["abc"]))
    for tags, expected in (("a", [both]), ("ä,A", [one, both]), (" C D ,x", [one]), ("ab", []), (",", []), ("%", [])):
        assert listed(house, anna, "documents", tags=tags) == expected, tags


@pytest.mark.parametrize("tag", ["\u00a0x", "x\u3000", "漢\u2003", "\u3000"])
def test_a_tag_has_no_blanks_around_it(house: House, tag: str) -> None:
    answer = house.client.post(DOCUMENTS, json={"title": "t", "tags": [tag]}, headers=house.person().headers)
    assert refusal(answer, 400)["errors"][0]["field"] == "/tags/0"


@pytest.mark.parametrize("tag", ["\u00a8x", "a，b", "é", "ﬁ"])
def test_each_tag_that_is_taken_is_found(house: House, tag: str) -> None:
    anna = house.person()
    one = document(house, anna, tags=[tag])
    assert listed(house, anna, "documents", tags=one["tags"][0]) == [one["id"]]


@pytest.mark.parametrize("title", ["x" * 255, "漢" * 255, "🔬" * 255, "ﷺ" * 255], ids=lambda title: title[0])
def test_a_list_by_title_goes_on_behind_the_longest(house: House, title: str) -> None:
    """The place where the next page begins is a title of whatever script."""
    anna = house.person()
    ids = [document(house, anna, title)["id"] for _ in range(3)]
    assert listed(house, anna, "documents", sort="title", limit=1) == ids


def test_a_cursor_is_of_no_use_where_it_was_not_given(house: House) -> None:
    anna = house.person()
    one = document(house, anna)["id"]
    edited(house, anna, one, title="New")
    answer = house.client.get(f"{DOCUMENTS}/{one}/revisions?limit=1", headers=anna.headers)
    cursor = answer.links["next"]["url"].split("cursor=")[1]
    for wrong in (cursor, cursor[:-2], "AAAA", ""):
        answer = house.client.get(f"{DOCUMENTS}?cursor={wrong}", headers=anna.headers)
        assert refusal(answer, 400, "VALIDATION_ERROR")["errors"][0]["field"] == "cursor"


MANY, FEW = 100_000, 300
RARE = "xylophone"


def fill(outside: sqlite3.Connection, many: int, few: int, lies_in: int) -> None:
    """Writes what two accounts keep, as the service would: a few of one between those of the other."""
    pick, at = Random(3), "2026-11-%02dT%02d:%02d:%02d.000Z"
    words = ["".join(pick.choices("abcdefghijklmnopqrstuvw", k=pick.randint(3, 9))) for _ in range(4000)]
    rows, texts, signs, tags = [], [], [], []
    first = outside.execute("SELECT coalesce(max(id), 0) + 1 FROM documents").fetchone()[0]
    for number in range(first, first + MANY + FEW):
        theirs = number % (MANY // FEW) == 0
        title, content = f"{pick.choice(words)} {number}", " ".join(pick.choices(words, k=20))
        if number % (MANY // 20) == 0:
            content += f" {RARE.upper()}"
        moment = at % (1 + number // 86_400, number // 3600 % 24, number // 60 % 60, number % 60)
        key, size = folded(f"{title}\n{content}"), len(content)
        place = lies_in if number % 500 == 1 else None
        rows.append((number, few if theirs else many, place, title, folded(title), size, size, moment, moment, moment))
        texts.append((number, content, key))
        signs.append((number, *signature(key).values()))
        tags.append((number, "a", "a") if number % 1000 else (number, "B", "b"))
    outside.executemany(
        "INSERT INTO documents (id, owner_id, folder_id, title, title_key, size_bytes, stored_bytes, edited_at,"
        " created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )
    outside.executemany("INSERT INTO document_texts (document_id, content, search_text) VALUES (?, ?, ?)", texts)
    outside.executemany(f"INSERT INTO document_signs VALUES ({', '.join('?' * (1 + len(NAMES)))})", signs)  # noqa: S608
    outside.executemany("INSERT INTO document_tags (document_id, name, name_key) VALUES (?, ?, ?)", tags)
    outside.execute(
        "INSERT INTO document_shares (document_id, user_id, permission, created_at)"
        " SELECT id, ?, 'read', created_at FROM documents WHERE owner_id = ? AND id % 2000 = 7",
        (few, many),
    )


class Library(House):
    """A house with a hundred thousand documents of one account, a few of another, to whom some are shared."""

    many: Person
    few: Person
    folder_id: int

    def of(self, who: Person | None, reach: Reach = "own") -> Actor:
        """Somebody with this reach of documents; None for the super admin."""
        permissions = Permissions([Grant("documents:admin", reach if who else "all")])
        return Actor(Identity(who.id if who else 1, "reader", permissions, group_id=self.group_id))

    group_id: int


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with opened(tmp_path_factory.mktemp("library")) as house:
        found = Library(house.client, house.app, house.config)
        found.group_id = make_group(house.client, "North", "00000041")
        found.many = make_person(house.client, house.config, "many")
        found.few = make_person(house.client, house.config, "few", group_id=found.group_id)
        found.folder_id = folder(house, found.many)["id"]
        with sqlite3.connect(house.config.database_path) as outside:
            fill(outside, found.many.id, found.few.id, found.folder_id)
        outside.close()
        yield found


def page(library: Library, who: Actor, behind: Place | None = None, **asked: Any) -> tuple[int, list[int]]:
    """How many steps a page of a list takes, and what is on it."""
    taken, (rows, _) = steps(library, service.page, who, DocumentFilter(**asked), behind, 100)
    return taken, [row.id for row in rows]


MIDDLE = {"-updated_at": Place("2026-11-01T14:00:00.000Z", 10**9), "title": Place("m", 10**9)}


@pytest.mark.slow
@pytest.mark.parametrize("sort", ["-updated_at", "title"])
@pytest.mark.parametrize(
    ("whose", "asked"),
    [
        ("many", {}),
        ("all", {}),
        ("all", {"owner_id": "many"}),
        ("all", {"owner_id": "few"}),
        ("many", {"shared": False}),
        ("many", {"folder_id": 0}),
        ("many", {"tags": "a"}),
        ("few", {"shared": True}),
        ("few", {"owner_id": "many"}),
    ],
    ids=str,
)
def test_a_page_reads_little_however_much_there_is(
    library: Library, whose: str, asked: dict[str, Any], sort: str
) -> None:
    """As much as a page of who has few documents, or some times that; the first and one from the middle."""
    asked = {name: getattr(library, of).id if name == "owner_id" else of for name, of in asked.items()}
    plain, rows = page(library, library.of(library.few), shared=False, sort=sort)
    assert len(rows) == 100
    who = library.of(None) if whose == "all" else library.of(getattr(library, whose))
    for behind in (None, MIDDLE[sort]):
        taken, rows = page(library, who, behind, **asked, sort=sort)
        assert len(rows) >= 20
        assert taken < 3 * plain


@pytest.mark.slow
@pytest.mark.parametrize("sort", ["-updated_at", "title"])
def test_who_has_few_does_not_make_others_be_read(library: Library, sort: str) -> None:
    """Neither for the own nor for what is shared; through a group of few some steps for each that is passed."""
    plain, _ = page(library, library.of(library.few), shared=False, sort=sort)
    bounds: tuple[tuple[Reach, int], ...] = (("own", 10 * plain), ("group", 12 * MANY))
    for reach, most in bounds:
        taken, rows = page(library, library.of(library.few, reach), sort=sort)
        assert len(rows) == 100
        assert taken < most


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["search_newest", "search_titles", "count_search"])
def test_a_search_looks_through_the_few_documents_that_have_the_signs(library: Library, kind: str) -> None:
    query = getattr(service.q, kind)
    key, looked = folded(RARE), 0
    asked: dict[str, Any] = {"everyone": True, "self_id": 1, "own_group_id": None, "reached": True, "shared": False}
    asked |= dict.fromkeys(("owner_id", "folder_id", "tags")) | {"now": "2026", "behind_id": 0, "limit": 101}
    asked |= {"behind": "" if "titles" in kind else "9999", "pattern": like(key), **signature(key)}

    def look(pattern: str, text: str, _: str) -> bool:
        nonlocal looked
        looked += 1
        return pattern.strip("%") in text

    outside = sqlite3.connect(f"file:{library.config.database_path}?mode=ro", uri=True)
    outside.create_function("like", 3, look, deterministic=True)
    given = {name: asked[name] for name in query.parameters}
    plan = "; ".join(row[3] for row in outside.execute(f"EXPLAIN QUERY PLAN {query.sql}", given))
    found = outside.execute(query.sql, given).fetchall()
    outside.close()
    assert "SEARCH document_texts USING INTEGER PRIMARY KEY" in plan
    assert found[0][0] == 20 if kind == "count_search" else len(found) == 20
    assert 20 <= looked < MANY / 100


@pytest.mark.slow
def test_who_searches_reads_little_of_what_others_have(library: Library) -> None:
    """The few of one's own are looked through at once."""
    plain, _ = page(library, library.of(library.few), shared=False)
    taken, rows = page(library, library.of(library.few), q=RARE)
    assert rows == []
    assert taken < 20 * plain


@pytest.mark.slow
def test_a_hundred_thousand_documents_are_listed_found_and_deleted_with_their_account(library: Library) -> None:
    client, headers = library.client, library.many.headers
    of_many = library.rows("SELECT count(*) AS n FROM documents WHERE owner_id = ?", library.many.id)[0]["n"]
    assert of_many >= MANY - FEW
    questions: tuple[tuple[dict[str, Any], int], ...] = (
        ({}, of_many),
        ({"sort": "title"}, of_many),
        ({"q": RARE}, 15),
        ({"q": RARE, "sort": "title"}, 15),
        ({"q": f"{RARE} nowhere"}, 0),
        ({"q": "xy"}, 15),
        ({"q": "e"}, 10_000),
        ({"q": "漢字"}, 0),
        ({"tags": "b"}, 50),
        ({"tags": "b", "q": "e"}, 20),
        ({"folder_id": library.folder_id}, 150),
        ({"folder_id": library.folder_id, "q": "e"}, 50),
    )
    for asked, least in questions:
        answer = client.get(DOCUMENTS, params={**asked, "count": "true"}, headers=headers)
        assert answer.status_code == 200, (asked, answer.text)
        counted = int(answer.headers["x-total-count"])
        assert (counted >= least, len(answer.json())) == (True, min(100, counted)), asked
        assert (least == 0) == (counted == 0)
    made(client.post(DOCUMENTS, json={"title": "one more", "content": RARE}, headers=headers))
    assert client.delete(f"/api/v1/users/{library.many.id}").status_code == 204
    left = {name: library.rows(f"SELECT count(*) AS n FROM {name}")[0]["n"] for name in TABLES}  # noqa: S608
    few = library.rows("SELECT count(*) AS n FROM documents WHERE owner_id = ?", library.few.id)[0]["n"]
    assert left == dict.fromkeys(TABLES, few) | {"document_revisions": 0, "document_shares": 0}
    assert library.rows("SELECT * FROM storage_use WHERE owner_id = ?", library.many.id) == []


TABLES = ("documents", "document_texts", "document_signs", "document_tags", "document_revisions", "document_shares")
