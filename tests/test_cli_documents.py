"""`pkgctl docs` and `pkgctl folders`: texts from files and to terminals, trees of any depth, servers that draw others.

First against a small HTTP server, then against the real service.
"""

import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.cli.deep import compact, objects
from tests import test_cli, test_cli_fetching, test_cli_files
from tests.accounts import PASSWORD
from tests.support import ROOT, Service
from tests.test_cli import Pkgctl, Reply, Server, process, seen
from tests.test_cli_fetching import printed
from tests.test_cli_files import Calls, answer
from tests.test_cli_teams import number_of

server, pkgctl, nobody, here = test_cli.server, test_cli.pkgctl, test_cli.nobody, test_cli_fetching.here
box, person = test_cli_files.box, test_cli_files.person

slow = pytest.mark.slow
TEXT = "Grüße\n\n\x1b[31mred\ttab\r\nno end"
DOCUMENT = {
    "id": 4,
    "title": "Notes",
    "tags": ["a", "b c"],
    "size_bytes": 1536,
    "owner_name": "ann",
    "updated_at": "2026-11-21T06:18:00.123Z",
}
DETAIL = {**DOCUMENT, "content": TEXT, "shares": []}
REVISION = {"number": 2, "title": "Notes", "size_bytes": 3, "editor_name": "ann", "edited_at": "2026-11-21T06:17:00Z"}
FOLDER = {"id": 3, "name": "docs", "parent_id": 1, "owner_name": "ann", "updated_at": "2026-11-21T06:18:00.123Z"}
PLACED = {**FOLDER, "path": "/all/docs"}
ADD, EDIT = "POST /documents", "PATCH /documents/4"

SUCCESS = [
    ("docs add Notes", ADD, {"title": "Notes"}, Reply(DETAIL, 201), "Created document 4, Notes"),
    (
        "docs add Notes --file text --tags a,,b --folder 3",
        ADD,
        {"title": "Notes", "content": TEXT, "tags": ["a", "b"], "folder_id": 3},
        DETAIL,
        "Created document 4, Notes",
    ),
    ("docs edit 4 --title New --folder none", EDIT, {"title": "New", "folder_id": None}, DETAIL, "Updated document 4"),
    ("docs edit 4 --file text", EDIT, {"content": TEXT}, DETAIL, "Updated document 4"),
    ("docs edit 4 --file empty --tags ,", EDIT, {"content": "", "tags": []}, DETAIL, "Updated document 4"),
    ("docs rm 4", "DELETE /documents/4", None, Reply(b"", 204), "Deleted document 4"),
    ("docs rm 4 5", "POST /documents/batch-delete", {"ids": [4, 5]}, {"deleted_count": 2}, "Deleted 2 documents"),
    (
        "docs share 4 --user 12 --edit",
        "POST /documents/4/share",
        {"user_id": 12, "permission": "edit"},
        DETAIL,
        "Shared document 4 with user 12",
    ),
    ("docs share 4 --team 2", "POST /documents/4/share", {"team_id": 2}, DETAIL, "Shared document 4 with team 2"),
    (
        "docs unshare 4 --user ann",
        "POST /documents/4/unshare",
        {"username": "ann"},
        DETAIL,
        "Document 4 is no longer shared with user ann",
    ),
    (
        "docs restore 4 2",
        "POST /documents/4/revisions/2/restore",
        None,
        DETAIL,
        "Document 4 is what it was in revision 2",
    ),
    ("folders add docs", "POST /folders", {"name": "docs"}, Reply(PLACED, 201), "Created folder 3, docs"),
    ("folders add x --parent 1", "POST /folders", {"name": "x", "parent_id": 1}, PLACED, "Created folder 3, docs"),
    ("folders mv 3 --parent none", "PATCH /folders/3", {"parent_id": None}, PLACED, "Folder 3 is now /all/docs"),
    ("folders mv 3 --name docs", "PATCH /folders/3", {"name": "docs"}, PLACED, "Folder 3 is now /all/docs"),
    ("folders rm 3 --yes", "DELETE /folders/3", None, Reply(b"", 204), "Deleted folder 3"),
]


@pytest.mark.parametrize(("words", "line", "body", "answer", "printed"), SUCCESS)
def test_what_worked_is_told_in_one_line_or_as_the_json_of_the_server(
    pkgctl: Pkgctl, server: Server, here: Path, words: str, line: str, body: object, answer: Any, printed: str
) -> None:
    (here / "text").write_bytes(TEXT.encode())
    (here / "empty").touch()
    server.on(line, answer)
    assert pkgctl(*words.split()) == (0, f"Success: {printed}\n", "")
    assert server.asked[0].body == (b"" if body is None else msgspec.json.encode(body))
    code, out, err = pkgctl(*words.split(), "--json")
    assert (code, err) == (0, "")
    content = answer.content if isinstance(answer, Reply) else answer
    assert (msgspec.json.decode(out) if out else b"") == content


@pytest.mark.parametrize(
    ("words", "path", "items", "query", "rows"),
    [
        (
            "docs ls -q é --tags a,b --sort updated --folder none --owner 2 --shared",
            "/documents",
            [DOCUMENT],
            {"q": "é", "tags": "a,b", "sort": "-updated_at", "folder_id": "0", "owner_id": "2", "shared": "true"},
            ["ID TITLE TAGS SIZE OWNER UPDATED", "4 Notes a,b c 1.5 KiB ann 2026-11-21T06:18:00.123Z"],
        ),
        ("docs ls --sort title", "/documents", [], {"sort": "title"}, []),
        (
            "docs history 4",
            "/documents/4/revisions",
            [REVISION],
            {},
            ["REVISION TITLE SIZE BY WHEN", "2 Notes 3 B ann 2026-11-21T06:17:00Z"],
        ),
        (
            "folders ls -q d --parent none --owner 2",
            "/folders",
            [FOLDER],
            {"q": "d", "parent_id": "0", "owner_id": "2"},
            ["ID NAME IN OWNER UPDATED", "3 docs 1 ann 2026-11-21T06:18:00.123Z"],
        ),
        ("folders ls", "/folders", [], {}, []),
    ],
)
def test_lists_are_tables_and_their_filters_are_the_services(
    pkgctl: Pkgctl, server: Server, words: str, path: str, items: Any, query: dict[str, str], rows: list[str]
) -> None:
    server.on(f"GET {path}", items)
    code, out, err = pkgctl(*words.split())
    assert (code, [" ".join(line.split()) for line in out.splitlines()], bool(err)) == (0, rows, not rows)
    assert server.asked[0].query == {**query, "limit": "1000"}
    assert pkgctl(*words.split(), "--json") == (0, msgspec.json.encode(items).decode() + "\n", "")


@pytest.mark.parametrize(
    "words",
    [
        "docs",
        "docs add",
        "docs add T --file none",
        "docs add T --file .",
        "docs add T --file binary",
        "docs add T --file long",
        "docs edit 4",
        "docs ls --sort size",
        "docs share 4",
        "docs share 4 --user ann --team 2",
        "docs unshare 4",
        "docs restore 4",
        "docs show",
        "folders",
        "folders add",
        "folders add x --parent here",
        "folders mv 3",
        "folders tree --depth 0",
        "folders rm 3 4 --yes",
    ],
)
def test_words_without_sense_are_a_usage_error(pkgctl: Pkgctl, server: Server, here: Path, words: str) -> None:
    (here / "binary").write_bytes(b"\xff\xfe")
    (here / "long").write_bytes(b"x" * 2_000_001)
    code, out, err = pkgctl(*words.split())
    assert (code, out, server.asked) == (2, "", [])
    assert "usage: pkgctl " in err or re.fullmatch(r"pkgctl: [^\n]+\n", err)


# Texts


def test_a_text_comes_from_standard_input(pkgctl: Pkgctl, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.on(ADD, Reply(DETAIL, 201))
    for content, code in ((TEXT.encode(), 0), (b"", 0), (b"\xff", 2), (b"x" * 2_000_001, 2)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert pkgctl("docs", "add", "T", "--file", "-")[0] == code
    assert [msgspec.json.decode(asked.body)["content"] for asked in server.asked] == [TEXT, ""]


def test_a_pipe_is_given_the_text_and_nothing_else(server: Server) -> None:
    server.on("GET /documents/4", DETAIL)
    server.on("GET /documents/4/revisions/2", {**REVISION, "content": ""})
    words = ("docs", "show", "4", "--url", server.url)
    assert printed(*words) == TEXT.encode()
    assert printed(*words, PYTHONIOENCODING="ascii") == TEXT.encode()
    assert printed(*words, "--revision", "2") == b""


def test_a_terminal_is_told_what_it_is_and_shown_it_as_plain_text(server: Server, terminal: tuple[int, int]) -> None:
    shares = [{"username": "bob", "team_name": None}, {"username": None, "team_name": "x"}]
    server.on("GET /documents/4", {**DETAIL, "title": "\x1b]0;x\x07", "shares": shares})
    with process("docs", "show", "4", "--url", server.url, stdout=terminal[1]) as child:
        told = seen(terminal[0], "no end\r\n").replace("\r\n", "\n")
        assert child.wait(30) == 0
    fields, text = told.split("\n\n", 1)
    assert dict(re.split(" +", line, maxsplit=1) for line in fields.splitlines()) == {
        **{"id": "4", "title": "\\x1b]0;x\\x07", "tags": "a,b c", "size_bytes": "1.5 KiB", "owner_name": "ann"},
        **{"updated_at": "2026-11-21T06:18:00.123Z", "shares": "bob,team x"},
    }
    assert text == "Grüße\n\n\\x1b[31mred\ttab\nno end\n"


def test_what_was_shown_is_the_json_of_the_server(pkgctl: Pkgctl, server: Server) -> None:
    server.on("GET /documents/4", DETAIL)
    assert msgspec.json.decode(pkgctl("docs", "show", "4", "--json")[1]) == DETAIL
    server.on("GET /documents/4", {"title": "no text"})
    assert pkgctl("docs", "show", "4")[0] == 3


# Folders


def node(number: int, name: str, *children: object) -> dict[str, object]:
    return {"id": number, "name": name, "parent_id": None, "depth": 1, "revision": 1, "children": list(children)}


def test_a_tree_is_drawn_as_one(pkgctl: Pkgctl, server: Server) -> None:
    inner = node(2, "inner", node(3, 'q"},{\\'), node(4, "漢\x1b[2J\n"))
    server.on("GET /folders/tree", [node(1, "outer", inner, node(5, "last", node(6, "one"))), node(7, "alone")])
    code, out, err = pkgctl("folders", "tree", "--depth", "9", "--owner", "2")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "outer (1)",
        "├── inner (2)",
        '│   ├── q"},{\\ (3)',
        "│   └── 漢\\x1b[2J\\n (4)",
        "└── last (5)",
        "    └── one (6)",
        "alone (7)",
    ]
    assert pkgctl("folders", "tree", "3")[0] == 0
    assert [asked.query for asked in server.asked] == [{"depth": "9", "owner_id": "2"}, {"root_id": "3"}]
    server.on("GET /folders/tree", [])
    assert pkgctl("folders", "tree") == (0, "", "No folders.\n")


def nested(depth: int) -> bytes:
    """A tree of folders each of which lies in the one before, as the service writes it."""
    opened = "".join(f'{{"id":{number},"name":"f","children":[' for number in range(1, depth + 1))
    return f"[{opened}{']}' * depth}]".encode()


@pytest.mark.parametrize("depth", [1000, 5000])
def test_a_tree_may_be_deeper_than_decoders_go(pkgctl: Pkgctl, server: Server, depth: int) -> None:
    assert sys.getrecursionlimit() < 2 * depth
    server.on("GET /folders/tree", Reply(nested(depth)))
    code, out, err = pkgctl("folders", "tree")
    lines = out.splitlines()
    assert (code, err, len(lines)) == (0, "", depth)
    assert lines[2] == "    └── f (3)"
    assert lines[-1] == f"{' ' * 4 * (depth - 2)}└── f ({depth})"
    assert pkgctl("folders", "tree", "--json") == (0, nested(depth).decode() + "\n", "")


def test_a_tree_may_be_as_wide_as_an_account_may_have_folders(pkgctl: Pkgctl, server: Server) -> None:
    server.on("GET /folders/tree", [node(0, "all", *(node(number, "f") for number in range(1, 20_000)))])
    lines = pkgctl("folders", "tree")[1].splitlines()
    assert (len(lines), lines[1], lines[-1]) == (20_000, "├── f (1)", "└── f (19999)")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[",
        b"]",
        b"[}]",
        b"[{]",
        b'["',
        b'[{"id":1,"name":"a","children":[]}',
        b'[{"id":1,"name":"a"}]',
        b'[{"id":1,"name":"a","children":[]} {"id":2,"name":"a","children":[]}]',
        b'[{"id":1,"name":"\xff","children":[]}]',
        b'[{"id":1,"name":"a","children":[0]}]',
        b'[0,{"id":1,"name":"a","children":[]}]',
        b'[{"id":1,"name":"a","children":[]},{"id":2,"name":"b","children":[0,0,0]}]',
        b"[1{2}]",
        b'[{"id":1,"name":"a","children":[],"more":' + b"[" * 10_000 + b"]" * 10_000 + b"}]",
        b"[" * 100_000,
        b'[{"a":' * 100_000,
        nested(1000)[:-2],
    ],
)
def test_what_is_no_tree_is_unreachable(pkgctl: Pkgctl, server: Server, content: bytes) -> None:
    server.on("GET /folders/tree", Reply(content))
    for words in (["tree"], ["tree", "--json"]):
        code, out, err = pkgctl("folders", *words)
        assert (code, out) == (3, "")
        assert re.fullmatch(r"pkgctl: Not Purser's API: the tree [^\n]+\n", err)


def test_json_of_any_depth_is_put_on_one_line_and_stays_what_it_is() -> None:
    document = b' [ {"a b" : "x\\" {\\n}" ,\n "n" : -1.5e3 , "l" : [ true, null ] } ] \n'
    assert msgspec.json.decode(compact(document)) == msgspec.json.decode(document)
    assert compact(document) == '[{"a b":"x\\" {\\n}","n":-1.5e3,"l":[true,null]}]'
    found, outermost = objects(b'[{"a":{"b":{}}},{}]', dict)
    assert (found, outermost) == ([{}, {"b": 0}, {"a": 1}, {}], [2, 3])


def test_deleting_a_folder_asks_first(
    pkgctl: Pkgctl, server: Server, monkeypatch: pytest.MonkeyPatch, terminal: tuple[int, int]
) -> None:
    server.on("GET /folders/3", PLACED)
    server.on("DELETE /folders/3", Reply(b"", 204))
    told = "pkgctl: folders rm asks first, and there is no terminal: say --yes as well\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    assert pkgctl("folders", "rm", "3") == (2, "", told)
    with open(terminal[1], closefd=False) as source:
        monkeypatch.setattr("sys.stdin", source)
        os.write(terminal[0], b"no\n")
        code, out, err = pkgctl("folders", "rm", "3")
        assert (code, out) == (1, "")
        assert err.startswith("Delete folder 3, /all/docs, and everything in it? Type yes: ")
        assert [asked.method for asked in server.asked] == ["GET", "GET"]
        os.write(terminal[0], b"yes\n")
        assert pkgctl("folders", "rm", "3")[:2] == (0, "Success: Deleted folder 3\n")


def test_the_commands_cost_other_calls_next_to_nothing(nobody: str) -> None:
    code = "import sys; from app.cli import main; main(); print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code, "list", "--url", nobody],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    loaded = set(ran.stdout.split())
    assert "app.cli.files" in loaded
    assert not loaded & {"app.cli.deep", "app.cli.fetching", "app.cli.parts", "app.cli.transfers", "app.files"}


# Against the real service


@slow
def test_a_document_is_written_found_changed_restored_and_deleted(person: Callable[[str], Calls], here: Path) -> None:
    eve = person("eve")
    (here / "notes.md").write_bytes("Straße\r\n\tno end".encode())
    written = eve("docs", "add", "Notes", "--file", "notes.md", "--tags", "b, a")
    number = number_of(written, r"Created document (\d+), Notes")
    assert eve("docs", "show", number) == (0, "Straße\r\n\tno end", "")
    assert eve("docs", "edit", number, "--title", "More", "--tags", "c")[1] == f"Success: Updated document {number}\n"
    assert eve("docs", "edit", number, "--file", "/dev/null")[0] == 0
    header, *lines = eve("docs", "history", number)[1].splitlines()
    assert header.split() == ["REVISION", "TITLE", "SIZE", "BY", "WHEN"]
    numbers = [line.split()[0] for line in lines]
    assert eve("docs", "show", number) == (0, "", "")
    assert eve("docs", "show", number, "--revision", numbers[-1])[1] == "Straße\r\n\tno end"
    assert eve("docs", "restore", number, numbers[-1])[0] == 0
    found = answer(eve("docs", "ls", "-q", "STRASSE", "--tags", "c,d", "--json"))
    assert [document["title"] for document in found] == ["Notes"]
    assert eve("docs", "ls", "--sort", "title")[1].splitlines()[1].split()[:3] == [number, "Notes", "c"]
    assert eve("docs", "rm", number) == (0, f"Success: Deleted document {number}\n", "")
    assert eve("docs", "ls") == (0, "", "No documents.\n")


@slow
def test_a_document_is_shared_and_no_more(person: Callable[[str], Calls]) -> None:
    fay, gus = person("fay"), person("gus")
    number = number_of(fay("docs", "add", "Plan"), r"Created document (\d+), Plan")
    assert gus("docs", "show", number) == (1, "", "pkgctl: Not Found: No such document.\n")
    assert fay("docs", "share", number, "--user", "gus", "--edit", "--expires", "1h")[0] == 0
    assert gus("docs", "edit", number, "--title", "Plan B")[0] == 0
    assert gus("docs", "rm", number)[2].startswith("pkgctl: Forbidden: ")
    told = f"Success: Document {number} is no longer shared with user gus\n"
    assert fay("docs", "unshare", number, "--user", "gus") == (0, told, "")
    assert gus("docs", "show", number)[0] == 1
    assert answer(fay("docs", "show", number, "--json"))["title"] == "Plan B"


@slow
def test_folders_are_made_moved_drawn_and_deleted(person: Callable[[str], Calls]) -> None:
    hal = person("hal")
    assert hal("folders", "tree") == (0, "", "No folders.\n")
    outer = number_of(hal("folders", "add", "outer"), r"Created folder (\d+), outer")
    inner = number_of(hal("folders", "add", "inner", "--parent", outer), r"Created folder (\d+), inner")
    other = number_of(hal("folders", "add", "other"), r"Created folder (\d+), other")
    assert hal("folders", "tree")[1] == f"other ({other})\nouter ({outer})\n└── inner ({inner})\n"
    assert hal("folders", "mv", other, "--parent", inner, "--name", "x") == (
        0,
        f"Success: Folder {other} is now /outer/inner/x\n",
        "",
    )
    assert hal("folders", "tree", inner, "--depth", "2")[1] == f"inner ({inner})\n└── x ({other})\n"
    assert [folder["id"] for folder in answer(hal("folders", "ls", "--parent", "none", "--json"))] == [int(outer)]
    assert hal("folders", "mv", outer, "--parent", other)[2].startswith("pkgctl: Conflict: A folder cannot lie in ")
    assert hal("folders", "rm", outer, "--yes") == (0, f"Success: Deleted folder {outer}\n", "")
    assert hal("folders", "ls") == (0, "", "No folders.\n")


@slow
def test_the_deepest_tree_that_there_may_be_is_drawn(box: Service, person: Callable[[str], Calls]) -> None:
    ivy = person("ivy")
    with box.client() as client:
        signed_in = client.post("/api/v1/auth/login", json={"identifier": "ivy", "password": PASSWORD}).json()
        client.headers["Authorization"] = f"Token {signed_in['access_token']}"
        parent_id = None
        for _ in range(1000):
            made = client.post("/api/v1/folders", json={"name": "f", "parent_id": parent_id})
            assert made.status_code == 201, made.text
            parent_id = made.json()["id"]
    lines = ivy("folders", "tree")[1].splitlines()
    assert (len(lines), lines[-1]) == (1000, f"{' ' * 4 * 998}└── f ({parent_id})")
    code, out, err = ivy("folders", "tree", "--json")
    assert (code, err, out.count('"children":[')) == (0, "", 1000)
