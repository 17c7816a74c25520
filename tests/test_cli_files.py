"""`pkgctl files`: what every command asks and prints, against a small HTTP server; and the real service."""

import io
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.cli import main
from tests import test_cli, test_cli_fetching
from tests.accounts import PASSWORD
from tests.support import Service
from tests.test_cli import Outcome, Pkgctl, Reply, Server, process
from tests.test_cli_fetching import FILE, sha256
from tests.test_cli_teams import number_of
from tests.test_cli_transfers import shown

server, pkgctl, here = test_cli.server, test_cli.pkgctl, test_cli_fetching.here

slow = pytest.mark.slow
SHARE = {
    "id": 3,
    "username": None,
    "team_name": None,
    "is_link": False,
    "permission": "read",
    "expires_at": None,
    "access_count": 0,
    "max_access_count": None,
    "created_at": "2026-11-21T06:18:00.123Z",
}
MAY = {"user": {"username": "ann"}, "read": {"permission": "read"}, "edit": {"permission": "edit"}}
SUCCESS = [
    ("mv 7 --name b", "PATCH /files/7", {"name": "b"}, {**FILE, "name": "b"}, "File 7 is now b"),
    ("mv 7 --folder none", "PATCH /files/7", {"folder_id": None}, FILE, "File 7 is now a.txt"),
    ("cp 7", "POST /files/7/copy", {}, {**FILE, "id": 8}, "Created file 8, a.txt"),
    ("cp 7 --folder 2 --name b", "POST /files/7/copy", {"name": "b", "folder_id": 2}, FILE, "Created file 7, a.txt"),
    ("rm 7", "DELETE /files/7", None, Reply(b"", 204), "Deleted file 7"),
    ("rm 7 8 7", "POST /files/batch-delete", {"ids": [7, 8, 7]}, {"deleted_count": 2}, "Deleted 2 files"),
    ("share 7 --user ann", "POST /files/7/share", {"username": "ann"}, SHARE, "Shared file 7 with user ann; share 3"),
    (
        "share 7 --team 2 --edit --max 5 --expires 2027-01-31T12:00:00Z",
        "POST /files/7/share",
        {"team_id": 2, "permission": "edit", "expires_at": "2027-01-31T12:00:00Z", "max_access_count": 5},
        {**SHARE, "expires_at": "2027-01-31T12:00:00.000Z"},
        "Shared file 7 with team 2, until 2027-01-31T12:00:00.000Z; share 3",
    ),
    ("revoke 7 3", "POST /files/7/revoke-share", {"share_id": 3}, FILE, "Share 3 of file 7 has ended"),
]


@pytest.mark.parametrize(("words", "line", "body", "answer", "printed"), SUCCESS)
def test_what_worked_is_told_in_one_line_or_as_the_json_of_the_server(
    pkgctl: Pkgctl, server: Server, words: str, line: str, body: object, answer: Any, printed: str
) -> None:
    server.on(line, answer)
    assert pkgctl("files", *words.split()) == (0, f"Success: {printed}\n", "")
    assert server.asked[0].body == (b"" if body is None else msgspec.json.encode(body))
    code, out, err = pkgctl("files", *words.split(), "--json")
    assert (code, err) == (0, "")
    assert out == ("" if isinstance(answer, Reply) else msgspec.json.encode(answer).decode() + "\n")


def test_lists_are_tables_and_their_filters_are_the_services(pkgctl: Pkgctl, server: Server) -> None:
    server.on("GET /files", [FILE])
    server.on(
        "GET /files/7/shares", [{**SHARE, "username": "ann"}, {**SHARE, "team_name": "x"}, SHARE | {"is_link": True}]
    )
    code, out, err = pkgctl("files", "ls")
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()] == [
        ["ID", "NAME", "SIZE", "TYPE", "OWNER", "UPDATED"],
        ["7", "a.txt", "1.5", "KiB", "text/plain", "ann", "2026-11-21T06:18:00.123Z"],
    ]
    words = "-q é --type image/ --folder none --owner 3 --shared --favorite --json"
    assert msgspec.json.decode(pkgctl("files", "ls", *words.split())[1]) == [FILE]
    assert server.asked[1].query == {
        **{"q": "é", "type": "image/", "folder_id": "0", "owner_id": "3"},
        **{"shared": "true", "favorite": "true", "limit": "1000"},
    }
    shares = pkgctl("files", "shares", "7")[1].splitlines()
    assert [re.split("  +", line)[1] for line in shares] == ["WITH", "ann", "team x", "whoever has the link"]
    server.on("GET /files", [])
    server.on("GET /files/7/shares", [])
    assert pkgctl("files", "ls") == (0, "", "No files.\n")
    assert pkgctl("files", "shares", "7") == (0, "", "It is shared with nobody.\n")


@pytest.mark.parametrize(
    ("prefix", "told", "printed"),
    [
        ("", "/api/v1/files/shared/x", "{url}/api/v1/files/shared/x"),
        ("/box", "/api/v1/files/shared/x", "{url}/box/api/v1/files/shared/x"),
        ("/box", "/box/api/v1/files/shared/x", "{url}/box/api/v1/files/shared/x"),
        ("", "https://box.example/api/v1/files/shared/x", "https://box.example/api/v1/files/shared/x"),
    ],
)
def test_a_link_stands_alone_on_stdout(pkgctl: Pkgctl, server: Server, prefix: str, told: str, printed: str) -> None:
    answer = {**SHARE, "is_link": True, "url": told, "expires_at": "2027-01-31T12:00:00.000Z"}
    server.on(f"POST {prefix}/api/v1/files/7/share" if prefix else "POST /files/7/share", answer)
    code, out, err = pkgctl("files", "share", "7", "--link", "--url", f"{server.url}{prefix}")
    assert (code, out) == (0, printed.format(url=server.url) + "\n")
    assert err == "Share 3, until 2027-01-31T12:00:00.000Z; the link is not shown again.\n"
    assert msgspec.json.decode(server.asked[0].body) == {"link": True}


@pytest.mark.parametrize(
    "words",
    [
        "get",
        "get 7 --link x",
        "put",
        "rm",
        "share 7",
        "share 7 --user ann --link",
        "share 7 --link --expires soon",
        "share 7 --link --expires 99999999d",
        "share 7 --link --max 0",
        "mv 7",
        "mv 7 --folder here",
        "revoke 7",
        "ls --folder x",
    ],
)
def test_words_without_sense_are_a_usage_error(pkgctl: Pkgctl, server: Server, words: str) -> None:
    code, out, err = pkgctl("files", *words.split())
    assert (code, out, server.asked) == (2, "", [])
    assert "usage: pkgctl files" in err or err == "pkgctl: There is nothing to change: give --name or --folder\n"


def test_an_answer_that_is_no_json_is_unreachable(pkgctl: Pkgctl, server: Server) -> None:
    for content in (b"<html>", b'{"name": "\xff"}', b"[" * 100_000):
        server.on("GET /files/7", Reply(content))
        for words in ("info 7", "info 7 --json"):
            code, out, err = pkgctl("files", *words.split())
            assert (code, out) == (3, "")
            assert err.startswith("pkgctl: Not Purser's API: ")


# Against the real service

Calls = Callable[..., Outcome]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A claimed service that takes files of 3 MB, and 5 MB of each account."""
    service = Service(tmp_path_factory.mktemp("keeping"), MAX_UPLOAD_BYTES="3000000", USER_QUOTA_BYTES="5000000")
    service.start()
    yield service
    code, said = service.stop()
    assert code == 0, said


@pytest.fixture
def person(box: Service, here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str], Calls]:
    """Makes an account; returns pkgctl as they call it. `url` is where they reach the service."""

    def make(name: str) -> Calls:
        with box.client() as client:
            new = {"email": f"{name}@example.com", "name": name, "password": PASSWORD}
            assert client.post("/api/v1/users", json=new).status_code == 201
            signed_in = client.post("/api/v1/auth/login", json={"identifier": name, "password": PASSWORD}).json()

        def run(*words: str, url: str = box.url) -> Outcome:
            code = main(words, {"PURSER_URL": url, "PURSER_TOKEN": signed_in["access_token"]})
            told = capsys.readouterr()
            return code, told.out, told.err

        return run

    return make


def answer(outcome: Outcome) -> Any:
    code, out, err = outcome
    assert (code, err) == (0, "")
    return msgspec.json.decode(out)


def put(pkgctl: Calls, path: str) -> str:
    """The id of a file that is sent."""
    return str(answer(pkgctl("files", "put", path, "--json"))["id"])


@slow
def test_a_file_is_sent_found_moved_copied_fetched_and_deleted(person: Callable[[str], Calls], here: Path) -> None:
    ann = person("ann")
    content = bytes(range(256)) * 5000
    (here / "größe.bin").write_bytes(content)
    (here / "empty").touch()
    header, first, second = ann("files", "put", "größe.bin", "empty")[1].splitlines()
    assert header.split() == ["ID", "NAME", "SIZE", "TYPE"]
    number, other = first.split()[0], second.split()[0]
    assert first.split()[1:] == ["größe.bin", "1.2", "MiB", "application/octet-stream"]
    assert [line.split()[0] for line in ann("files", "ls")[1].splitlines()] == ["ID", other, number]
    assert [file["id"] for file in answer(ann("files", "ls", "-q", "GRÖSSE", "--json"))] == [int(number)]
    found = answer(ann("files", "info", number, "--json"))
    assert (found["sha256"], found["owner_name"]) == (sha256(content), "ann")
    folder = number_of(ann("folders", "add", "reports"), r"Created folder (\d+), reports")
    moved = ann("files", "mv", number, "--folder", folder, "--name", "b.bin")
    assert moved == (0, f"Success: File {number} is now b.bin\n", "")
    assert [file["name"] for file in answer(ann("files", "ls", "--folder", folder, "--json"))] == ["b.bin"]
    copied = number_of(ann("files", "cp", number, "--folder", "none"), r"Created file (\d+), b \(copy\)\.bin")
    assert ann("files", "get", copied) == (0, "Success: Saved b (copy).bin, 1.2 MiB\n", "")
    assert (here / "b (copy).bin").read_bytes() == content
    assert ann("files", "get", other, "-o", "nothing") == (0, "Success: Saved nothing, 0 B\n", "")
    usage = ann("files", "usage")[1].splitlines()
    assert usage[0] == "used       2.4 MiB of 4.8 MiB (51.2 %)"
    assert ann("files", "rm", number, "999") == (
        1,
        "",
        "pkgctl: Not Found: Of these files you have not 999; none was deleted.\n",
    )
    assert ann("files", "rm", number, copied) == (0, "Success: Deleted 2 files\n", "")
    assert ann("files", "rm", other) == (0, f"Success: Deleted file {other}\n", "")
    assert ann("files", "ls") == (0, "", "No files.\n")
    assert ann("files", "get", number) == (1, "", "pkgctl: Not Found: No such file.\n")


@slow
def test_standard_input_is_sent_with_progress_and_comes_back_as_it_was(box: Service, terminal: tuple[int, int]) -> None:
    environ = {"PURSER_URL": box.url, "PURSER_TOKEN": box.token}
    words = ("files", "put", "-", "--name", "in.bin", "--json")
    with process(*words, environ=environ, stdin=-1, stderr=terminal[1]) as child:
        assert child.stdin is not None
        child.stdin.write("x" * 5000)
        child.stdin.flush()
        assert "\n" not in shown(terminal[0], r"\r\x1b\[K4\.9 KiB  \S+ \S+/s  in\.bin")
        child.stdin.write("\n")
        out, _ = child.communicate(timeout=30)
        assert child.returncode == 0
    number = msgspec.json.decode(out)["id"]
    with process("files", "get", str(number), "-o", "-", environ=environ) as child:
        assert child.communicate(timeout=30) == ("x" * 5000 + "\n", "")


@slow
@pytest.mark.parametrize("chunked", [False, True])
def test_what_is_too_much_is_refused_with_the_numbers(
    box: Service, person: Callable[[str], Calls], here: Path, chunked: bool
) -> None:
    ben = person("ben" if chunked else "bea")
    (here / "small").write_bytes(bytes(2_500_000))
    (here / "large").write_bytes(bytes(9_000_000))

    def send(name: str) -> Outcome:
        if not chunked:
            return ben("files", "put", name)
        with (here / name).open("rb") as source, pytest.MonkeyPatch.context() as patch:
            patch.setattr("sys.stdin", io.TextIOWrapper(source))
            return ben("files", "put", "-", "--name", name)

    assert send("large") == (1, "", "pkgctl: Payload Too Large: A file may have 3000000 bytes.\n")
    assert send("small")[0] == 0
    assert send("small")[0] == 0
    told = "pkgctl: Insufficient Storage: Of the quota of 5000000 bytes 0 are left.\n"
    assert send("small") == (1, "", told)
    assert answer(ben("files", "usage", "--json"))["used"] == 5_000_000


# What breaks off


@contextmanager
def cutting(service: Service, after: int) -> Iterator[str]:
    """The URL of a way to the service that carries one answer, of which it lets so many bytes pass."""
    port = int(service.url.rpartition(":")[2])

    def carry() -> None:
        near, _ = listener.accept()
        with near, socket.create_connection(("127.0.0.1", port)) as far:
            far.sendall(near.recv(65536))
            left = after
            while left and (piece := far.recv(min(65536, left))):
                near.sendall(piece)
                left -= len(piece)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=carry)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(30)


@slow
def test_a_download_that_broke_off_goes_on(box: Service, person: Callable[[str], Calls], here: Path) -> None:
    cut = person("cut")
    content = bytes(range(251)) * 8000
    (here / "sent.bin").write_bytes(content)
    number = put(cut, "sent.bin")
    with cutting(box, 1_000_000) as url:
        code, out, err = cut("files", "get", number, "-o", "got.bin", url=url)
    assert (code, out) == (3, "")
    left = here / f"got.bin.{sha256(content)}.part"
    assert err.startswith(f"{left.stat().st_size / 1024:.1f} KiB are kept in {left.name}; ")
    assert 900_000 < left.stat().st_size < 1_000_000
    assert cut("files", "get", number, "-o", "got.bin") == (0, "Success: Saved got.bin, 1.9 MiB\n", "")
    assert (here / "got.bin").read_bytes() == content
    assert not left.exists()


@slow
def test_a_link_for_one_download_outlives_a_break(box: Service, person: Callable[[str], Calls], here: Path) -> None:
    """Given a link that is good once, when its download breaks off, then it goes on, and is over after that."""
    once = person("once")
    content = bytes(range(253)) * 8000
    (here / "sent.bin").write_bytes(content)
    number = put(once, "sent.bin")
    code, link, err = once("files", "share", number, "--link", "--max", "1", "--expires", "1h")
    assert code == 0
    assert re.fullmatch(r"Share \d+, until \S+Z; the link is not shown again\.\n", err)
    assert re.fullmatch(re.escape(f"{box.url}/api/v1/files/shared/") + r"[A-Za-z0-9_-]{43}\n", link)
    words = ("files", "get", "--link", link.strip(), "-o", "got.bin")
    with cutting(box, 1_000_000) as url:
        assert once(*words, "--url", url)[0] == 3
    assert once(*words) == (0, "Success: Saved got.bin, 1.9 MiB\n", "")
    assert (here / "got.bin").read_bytes() == content
    assert [share["access_count"] for share in answer(once("files", "shares", number, "--json"))] == [1]
    told = "pkgctl: Forbidden: This link has been used as often as it may.\n"
    assert once(*words, "--force") == (1, "", told)


@slow
def test_a_file_is_shared_and_the_share_revoked(box: Service, person: Callable[[str], Calls], here: Path) -> None:
    cat, dan = person("cat"), person("dan")
    (here / "a.txt").write_text("hello\n")
    number = put(cat, "a.txt")
    assert dan("files", "get", number)[0] == 1
    shared = cat("files", "share", number, "--user", "dan", "--edit", "--expires", "7d")
    share = number_of(shared, rf"Shared file {number} with user dan, until \S+Z; share (\d+)")
    assert dan("files", "get", number, "-o", "b.txt") == (0, "Success: Saved b.txt, 6 B\n", "")
    assert dan("files", "mv", number, "--name", "c.txt")[0] == 0
    assert [file["id"] for file in answer(dan("files", "ls", "--shared", "--json"))] == [int(number)]
    assert dan("files", "rm", number)[0] == 1
    assert cat("files", "share", number, "--user", "dan")[2].startswith("pkgctl: Conflict: It is shared with them ")
    header, line = cat("files", "shares", number)[1].splitlines()
    assert header.split() == ["ID", "WITH", "MAY", "EXPIRES", "USED", "MOST", "SINCE"]
    assert line.split()[:3] == [share, "dan", "edit"]
    assert cat("files", "revoke", number, share) == (0, f"Success: Share {share} of file {number} has ended\n", "")
    assert dan("files", "info", number) == (1, "", "pkgctl: Not Found: No such file.\n")
