"""`pkgctl files get`: servers that lie, break off, and name files as weapons; what is there already; what is left.

Against a small HTTP server; the real service is in test_cli_files.py.
"""

import errno
import hashlib
import io
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.cli import main
from app.cli.output import Screen
from app.cli.parts import local_name
from app.cli.sessions import SessionFile
from tests import test_cli
from tests.support import ROOT, until
from tests.test_cli import Asked, Pkgctl, Reply, Server, problem, process, seen
from tests.test_cli_login import keep

server, unix_server, pkgctl, nobody = test_cli.server, test_cli.unix_server, test_cli.pkgctl, test_cli.nobody

FILE = {
    "id": 7,
    "name": "a.txt",
    "folder_id": None,
    "owner_name": "ann",
    "media_type": "text/plain",
    "size_bytes": 1536,
    "updated_at": "2026-11-21T06:18:00.123Z",
}
CONTENT = b"0123456789" * 1000
SECRET = "s" * 43


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def download(content: bytes = CONTENT, name: str = 'filename="a.txt"', **headers: str) -> Callable[[Asked], Reply]:
    """Answers with bytes, or those of them from which on they are wanted, as the service does."""

    def answer(asked: Asked) -> Reply:
        tag = f'"{sha256(content)}"'
        told = {"ETag": tag, "Content-Disposition": f"attachment; {name}"} | headers
        wanted = re.fullmatch(r"bytes=(\d+)-", asked.headers.get("Range", ""))
        if wanted is None or asked.headers.get("If-Range") != tag:
            return Reply(content, 200, told)
        begin = int(wanted[1])
        if begin >= len(content):
            return problem(416, "Range Not Satisfiable", "There are not so many.")
        told["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        return Reply(content[begin:], 206, told)

    return answer


def cut(content: bytes, after: int) -> bytes:
    """An answer that breaks off after so many bytes."""
    head = f'HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\nETag: "{sha256(content)}"\r\n'
    disposition = 'Content-Disposition: attachment; filename="a.txt"\r\n\r\n'
    return (head + disposition).encode() + content[:after]


def part(folder: Path, content: bytes, here: bytes, name: str = "a.txt") -> Path:
    """What an earlier call has left of a file with this content."""
    path = folder / f"{name}.{sha256(content)}.part"
    path.write_bytes(here)
    return path


def ranges(server: Server) -> list[str | None]:
    return [asked.headers.get("Range") for asked in server.asked]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which pkgctl is called; beside it lies another with somebody's file."""
    folder = tmp_path / "here"
    folder.mkdir()
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside/precious").write_text("precious")
    monkeypatch.chdir(folder)
    return folder


# What a server can call a file


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ("attachment; filename=\"plain.txt\"; filename*=UTF-8''gr%C3%BC%C3%9Fe.txt", "grüße.txt"),
        ('attachment; filename="a \\"b\\".txt"', 'a "b".txt'),
        ("attachment; FILENAME=bare.txt", "bare.txt"),
        ('attachment; filename="../../beside/precious"', "precious"),
        ("attachment; filename*=UTF-8''..%2F..%2Fbeside%2Fprecious", "precious"),
        ('attachment; filename="/etc/passwd"', "passwd"),
        ('attachment; filename="C:\\\\dir\\\\x.exe"', "x.exe"),
        ("attachment; filename*=UTF-8''a%00b%0Ac%1B%5B2J.txt", "abc[2J.txt"),
        ("attachment; filename*=UTF-8''a%E2%80%AEgpj.exe", "agpj.exe"),
        ("attachment; filename*=UTF-8''%FF%FE.txt", "\ufffd\ufffd.txt"),
        ('attachment; filename=".bashrc"', "_bashrc"),
        ('attachment; filename="-rf"', "_rf"),
        ('attachment; filename="~root"', "_root"),
        ('attachment; filename=".."', "unnamed"),
        ('attachment; filename="a/"', "unnamed"),
        ('attachment; filename=""', "unnamed"),
        ("attachment", "unnamed"),
        ("", "unnamed"),
    ],
)
def test_a_name_from_a_server_is_one_harmless_name(disposition: str, name: str) -> None:
    assert local_name(disposition) == name


def test_a_name_is_as_long_as_the_file_system_takes(pkgctl: Pkgctl, server: Server, here: Path) -> None:
    server.routes["GET /files/7/download"] = download(name=f"filename*=UTF-8''{'%E6%BC%A2' * 255}.tar")
    assert pkgctl("files", "get", "7")[0] == 0
    assert [path.name for path in here.iterdir()] == ["漢" * 83 + ".tar"]


@pytest.mark.parametrize("name", ["../beside/precious", "%2Fetc%2Fpasswd", "..%5C..%5Cx", ".profile", "--force", "."])
def test_nothing_is_written_anywhere_but_here(pkgctl: Pkgctl, server: Server, here: Path, name: str) -> None:
    server.routes["GET /files/7/download"] = download(name=f"filename*=UTF-8''{name}")
    code, out, err = pkgctl("files", "get", "7")
    assert (code, err) == (0, "")
    (made,) = here.iterdir()
    assert out == f"Success: Saved {made.name}, 9.8 KiB\n"
    assert (made.read_bytes(), made.name[0] in ".-") == (CONTENT, False)
    assert (here.parent / "beside/precious").read_text() == "precious"


def test_a_name_cannot_drive_the_terminal(pkgctl: Pkgctl, server: Server, here: Path) -> None:
    hostile = {**FILE, "name": "\x1b]0;owned\x07"}
    server.on("GET /files", [hostile])
    server.on("PUT /files/content", Reply(hostile, 201))
    (here / "x").write_text("x")
    server.routes["GET /files/7/download"] = download(name="filename*=UTF-8''a%E2%80%8Bb.txt")
    shown = "".join(pkgctl("files", *words.split())[1] for words in ("ls", "put x", "get 7"))
    assert shown.count("\\x1b]0;owned\\x07") == 2
    assert "Saved a\\u200bb.txt" in shown
    assert shown.replace("\n", "").isprintable()


# What is there already


def test_nothing_is_replaced_without_force(pkgctl: Pkgctl, server: Server, here: Path) -> None:
    server.routes["GET /files/7/download"] = download()
    (here / "a.txt").write_text("mine")
    told = (1, "", "pkgctl: a.txt is there already; --force replaces it\n")
    assert pkgctl("files", "get", "7") == told
    assert pkgctl("files", "get", "7", "-o", "a.txt") == told
    assert len(server.asked) == 1
    assert (here / "a.txt").read_text() == "mine"
    assert pkgctl("files", "get", "7", "--force")[0] == 0
    assert [(path.name, path.read_bytes()) for path in here.iterdir()] == [("a.txt", CONTENT)]


def test_what_replaces_a_file_is_for_no_more_eyes(pkgctl: Pkgctl, server: Server, here: Path) -> None:
    server.routes["GET /files/7/download"] = download()
    (here / "a.txt").touch(0o600)
    assert pkgctl("files", "get", "7", "--force")[0] == 0
    assert (stat.S_IMODE((here / "a.txt").stat().st_mode), (here / "a.txt").read_bytes()) == (0o600, CONTENT)


def test_a_file_that_comes_into_being_meanwhile_is_not_replaced(
    pkgctl: Pkgctl, server: Server, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given somebody who makes the file at the last moment, also where there are no hard links, then it stays."""
    server.routes["GET /files/7/download"] = download()
    link = os.link

    def too_late(source: Path, target: Path, **how: bool) -> None:
        Path(target).write_text("mine")
        link(source, target, **how)

    def impossible(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", too_late)
    assert pkgctl("files", "get", "7") == (1, "", "pkgctl: a.txt is there already; --force replaces it\n")
    assert (here / "a.txt").read_text() == "mine"
    monkeypatch.setattr("os.link", impossible)
    assert pkgctl("files", "get", "7", "-o", "b.txt")[0] == 0
    assert (here / "b.txt").read_bytes() == CONTENT


@pytest.mark.parametrize("target", ["../beside/precious", "../beside/new", "../beside"])
def test_nothing_is_written_through_a_symbolic_link(pkgctl: Pkgctl, server: Server, here: Path, target: str) -> None:
    server.routes["GET /files/7/download"] = download()
    (here / "a.txt").symlink_to(target)
    assert pkgctl("files", "get", "7")[0] == 1
    assert (here / "a.txt").is_symlink()
    assert pkgctl("files", "get", "7", "--force")[0] == 0
    assert not (here / "a.txt").is_symlink()
    assert (here / "a.txt").read_bytes() == CONTENT
    assert {path.name: path.read_text() for path in (here.parent / "beside").iterdir()} == {"precious": "precious"}


def test_what_is_no_file_is_not_replaced(pkgctl: Pkgctl, server: Server, here: Path) -> None:
    server.routes["GET /files/7/download"] = download()
    os.mkfifo(here / "pipe")
    (here / "a.txt").mkdir()
    assert pkgctl("files", "get", "7", "-o", "pipe", "--force")[2] == "pkgctl: pipe is no file; it is not replaced\n"
    assert pkgctl("files", "get", "7", "--force")[2] == "pkgctl: a.txt is no file; it is not replaced\n"
    assert pkgctl("files", "get", "7", "-o", "/dev/null", "--force")[0] == 1
    assert pkgctl("files", "get", "7", "-o", "none/a.txt") == (1, "", "pkgctl: none is no folder\n")
    assert pkgctl("files", "get", "7", "-o", "a.txt") == (0, "Success: Saved a.txt/a.txt, 9.8 KiB\n", "")


def planted(kind: str, part: Path, precious: Path) -> None:
    match kind:
        case "symbolic link":
            part.symlink_to(precious)
        case "dangling link":
            part.symlink_to(precious.with_name("new"))
        case "hard link":
            part.hardlink_to(precious)
        case "pipe":
            os.mkfifo(part)
        case "folder":
            part.mkdir()


@pytest.mark.parametrize("kind", ["symbolic link", "dangling link", "hard link", "pipe", "folder"])
def test_a_part_that_somebody_has_planted_is_not_used(pkgctl: Pkgctl, server: Server, here: Path, kind: str) -> None:
    server.routes["GET /files/7/download"] = download()
    precious = here.parent / "beside/precious"
    planted(kind, here / f"a.txt.{sha256(CONTENT)}.part", precious)
    for words in (["7"], ["7", "-o", "a.txt"], ["7", "--force"]):
        code, out, err = pkgctl("files", "get", *words)
        assert (code, out) == (1, "")
        assert re.fullmatch(r"pkgctl: a\.txt\.[0-9a-f]{64}\.part[^\n]+\n", err)
    assert {path.name: path.read_text() for path in precious.parent.iterdir()} == {"precious": "precious"}
    assert not (here / "a.txt").exists()


# What breaks off, and goes on


@pytest.mark.parametrize("output", [[], ["-o", "a.txt"], ["-o", "b.bin"], ["-o", "."]])
def test_what_broke_off_goes_on_where_it_was(pkgctl: Pkgctl, server: Server, here: Path, output: list[str]) -> None:
    known = output[1:] not in ([], ["."])
    name = output[1] if known else "a.txt"
    server.on("GET /files/7/download", Reply(raw=cut(CONTENT, 6001)))
    code, out, err = pkgctl("files", "get", "7", *output)
    left = f"{name}.{sha256(CONTENT)}.part"
    assert (code, out, [path.name for path in here.iterdir()]) == (3, "", [left])
    kept = f"5.9 KiB are kept in {left}; the same command with -o {name} goes on from there\n"
    assert re.fullmatch(re.escape(kept) + r"pkgctl: Cannot talk to [^\n]+\n", err)
    server.routes["GET /files/7/download"] = download()
    server.asked.clear()
    assert pkgctl("files", "get", "7", *output) == (0, f"Success: Saved {name}, 9.8 KiB\n", "")
    assert [(path.name, path.read_bytes()) for path in here.iterdir()] == [(name, CONTENT)]
    assert ranges(server) == ["bytes=6000-"] if known else [None, "bytes=6000-"]
    assert server.asked[-1].headers["If-Range"] == f'"{sha256(CONTENT)}"'


@pytest.mark.parametrize("there", [b"", b"0", CONTENT[:-1], CONTENT, CONTENT + b"more than there is"])
def test_a_part_of_any_length_becomes_the_file(pkgctl: Pkgctl, server: Server, here: Path, there: bytes) -> None:
    server.routes["GET /files/7/download"] = download()
    part(here, CONTENT, there)
    assert pkgctl("files", "get", "7", "-o", "a.txt")[0] == 0
    assert [(path.name, path.read_bytes()) for path in here.iterdir()] == [("a.txt", CONTENT)]


def test_a_file_that_is_another_by_now_is_fetched_anew(pkgctl: Pkgctl, server: Server, here: Path) -> None:
    server.routes["GET /files/7/download"] = download(b"another")
    for number in range(3):
        part(here, CONTENT * (number + 1), CONTENT[:5000])
    assert pkgctl("files", "get", "7", "-o", "a.txt")[0] == 0
    assert [(path.name, path.read_bytes()) for path in here.iterdir()] == [("a.txt", b"another")]


def test_a_file_that_is_another_each_time_is_given_up(pkgctl: Pkgctl, server: Server, here: Path) -> None:
    server.routes["GET /files/7/download"] = download(b"another")
    for number in range(11):
        part(here, CONTENT * (number + 1), CONTENT[:5000])
    told = "pkgctl: a.txt changes at the service faster than it can be fetched\n"
    assert pkgctl("files", "get", "7", "-o", "a.txt") == (1, "", told)


def test_a_server_that_gives_no_parts_gives_the_whole(pkgctl: Pkgctl, server: Server, here: Path) -> None:
    whole = download()
    server.routes["GET /files/7/download"] = lambda asked: whole(Asked("GET", "", {}, b""))
    part(here, CONTENT, b"what is wrong")
    assert pkgctl("files", "get", "7", "-o", "a.txt")[0] == 0
    assert (here / "a.txt").read_bytes() == CONTENT


def test_what_is_not_what_the_service_has_is_thrown_away(pkgctl: Pkgctl, server: Server, here: Path) -> None:
    server.routes["GET /files/7/download"] = download(ETag=f'"{sha256(b"something else")}"')
    code, out, err = pkgctl("files", "get", "7")
    told = "pkgctl: What has come is not what the service has: the SHA-256 differs"
    assert (code, out, err) == (1, "", f"{told}. a.txt was not made\n")
    assert list(here.iterdir()) == []
    assert pkgctl("files", "get", "7", "-o", "-") == (1, CONTENT.decode(), f"{told}\n")
    server.routes["GET /files/7/download"] = download()
    part(here, CONTENT, b"tampered with")
    assert pkgctl("files", "get", "7")[0] == 1
    assert list(here.iterdir()) == []
    assert pkgctl("files", "get", "7")[0] == 0


PART = {"ETag": f'"{sha256(CONTENT)}"', "Content-Range": "bytes 4999-9999/10000"}


@pytest.mark.parametrize(
    "reply",
    [
        Reply(CONTENT),
        Reply(CONTENT, headers={"ETag": f'W/"{sha256(CONTENT)}"'}),
        Reply(CONTENT, headers={"ETag": '"../../x"'}),
        Reply(CONTENT[4999:], 206, PART | {"Content-Range": "bytes 5000-9999/10000"}),
        Reply(CONTENT[4999:], 206, PART | {"Content-Range": "nonsense"}),
        Reply(CONTENT[4999:], 206, PART | {"ETag": f'"{"0" * 64}"'}),
        Reply(CONTENT[4999:], 206, {"ETag": PART["ETag"]}),
    ],
)
def test_an_answer_that_is_no_download_is_unreachable(pkgctl: Pkgctl, server: Server, here: Path, reply: Reply) -> None:
    server.on("GET /files/7/download", reply)
    left = part(here, CONTENT, CONTENT[:5000])
    code, out, err = pkgctl("files", "get", "7", "-o", "a.txt")
    assert (code, out) == (3, "")
    assert err.startswith("pkgctl: Not Purser's API: an answer ")
    assert left.read_bytes() == CONTENT[:4999]


def test_a_part_that_was_not_asked_for_is_no_download(pkgctl: Pkgctl, server: Server, here: Path) -> None:
    server.on("GET /files/7/download", Reply(CONTENT[4999:], 206, PART))
    assert pkgctl("files", "get", "7")[0] == 3
    assert pkgctl("files", "get", "7", "-o", "-")[:2] == (3, "")
    assert list(here.iterdir()) == []


def test_two_calls_do_not_write_one_part(pkgctl: Pkgctl, server: Server, here: Path) -> None:
    """Given a call in the middle of a file, when another fetches the same one, then that stays away."""
    begun, go_on = threading.Event(), threading.Event()

    whole = cut(CONTENT, len(CONTENT))

    def pieces() -> Iterator[bytes]:
        yield whole[:-5000]
        begun.set()
        assert go_on.wait(30)
        yield whole[-5000:]

    server.on("GET /files/7/download", Reply(raw=pieces()), Reply(raw=whole))
    first: list[int] = []
    thread = threading.Thread(target=lambda: first.append(main(["files", "get", "7"], {"PURSER_URL": server.url})))
    thread.start()
    assert begun.wait(30)
    path = f"a.txt.{sha256(CONTENT)}.part"
    assert pkgctl("files", "get", "7") == (1, "", f"pkgctl: {path} is being written by another pkgctl\n")
    go_on.set()
    thread.join(30)
    assert first == [0]
    assert (here / "a.txt").read_bytes() == CONTENT


def test_ctrl_c_keeps_what_has_come(server: Server, here: Path) -> None:
    over = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield cut(CONTENT, 5000)
        assert over.wait(30)

    server.on("GET /files/7/download", Reply(raw=pieces()))
    path = here / f"a.txt.{sha256(CONTENT)}.part"
    with process("files", "get", "7", "-o", str(here), "--url", server.url) as child:
        until(lambda: path.exists() and path.stat().st_size == 5000, "it has come")
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
        over.set()
    told = f"4.9 KiB are kept in {path}; the same command with -o {here}/a.txt goes on from there\n"
    assert (child.returncode, out, err) == (130, "", told)


def test_a_full_disk_keeps_what_has_come(server: Server, here: Path) -> None:
    server.routes["GET /files/7/download"] = download()
    code = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    code += (
        "resource.setrlimit(resource.RLIMIT_FSIZE, (7000, 7000)); from app.cli import main; raise SystemExit(main())"
    )
    command = [sys.executable, "-c", code, "files", "get", "7", "--url", server.url]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(command, cwd=here, env=environ, capture_output=True, text=True, timeout=30)
    path = f"a.txt.{sha256(CONTENT)}.part"
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.splitlines()[0].startswith(f"6.8 KiB are kept in {path}; ")
    assert ran.stderr.splitlines()[1] == f"pkgctl: {path}: File too large"
    assert (here / path).read_bytes() == CONTENT[:7000]


# To standard output, and by links


def printed(*words: str, **environ: str) -> bytes:
    """What a call in a process of its own writes, byte by byte."""
    given = {"PATH": os.environ["PATH"]} | environ
    return subprocess.run([sys.executable, "-m", "app", *words], cwd=ROOT, env=given, stdout=-1, check=True).stdout


def test_stdout_is_given_the_bytes_as_they_are(server: Server, here: Path) -> None:
    server.routes["GET /files/7/download"] = download(bytes(range(256)) * 3)
    assert printed("files", "get", "7", "-o", "-", "--url", server.url) == bytes(range(256)) * 3


def test_a_terminal_is_given_text_that_does_nothing(terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    with open(theirs, "w", closefd=False) as out:
        Screen(out, io.StringIO(), io.StringIO()).content([b"gr\xc3", b"\xbcn\x1b[2J\r", b"\n\xff\x00end"])
    assert seen(ours, "end") == "grün\\x1b[2J\r\n\ufffd\\x00end"


def test_a_terminal_is_not_given_what_is_in_a_file(server: Server, terminal: tuple[int, int]) -> None:
    server.routes["GET /files/7/download"] = download(b"\x1b[2J\x9b1m\nend")
    with process("files", "get", "7", "-o", "-", "--url", server.url, stdout=terminal[1]) as child:
        assert seen(terminal[0], "end") == "\\x1b[2J\ufffd1m\r\nend"
        assert child.wait(30) == 0


def test_a_link_is_followed_without_a_credential(
    pkgctl: Pkgctl, server: Server, nobody: str, here: Path, tmp_path: Path
) -> None:
    server.routes[f"GET /files/shared/{SECRET}"] = download()
    keep(SessionFile(tmp_path / ".config/purser/sessions.json"), server.url)
    environ = {"PURSER_TOKEN": "pat_x", "HOME": str(tmp_path)}
    links = [SECRET, f"/api/v1/files/shared/{SECRET}", f"{server.url}/api/v1/files/shared/{SECRET}"]
    for link in links:
        url = nobody if "://" in link else server.url
        assert pkgctl("files", "get", "--link", link, "--force", **environ, PURSER_URL=url)[0] == 0
    assert (
        pkgctl("files", "get", "--link", f"{nobody}/api/v1/files/shared/{SECRET}", "--url", server.url, "-o", "b")[0]
        == 0
    )
    assert [asked.headers.get("Authorization") for asked in server.asked] == [None] * 4
    assert sorted(path.name for path in here.iterdir()) == ["a.txt", "b"]


@pytest.mark.parametrize("link", ["", "a b", f"{SECRET}?x=1", f"http://h/{SECRET}", f"ftp://h/files/shared/{SECRET}"])
def test_what_is_no_link_is_a_usage_error_that_repeats_no_secret(pkgctl: Pkgctl, server: Server, link: str) -> None:
    code, out, err = pkgctl("files", "get", "--link", link)
    assert (code, out, server.asked) == (2, "", [])
    assert SECRET not in err


def test_a_unix_socket_is_as_good_as_a_port(
    unix_server: Server, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unix_server.routes["GET /files/7/download"] = download()
    unix_server.on("PUT /files/content", Reply(FILE, 201), problem(507, "Insufficient Storage", "The disk is full."))
    environ = {"PURSER_URL": unix_server.url}
    assert main(["files", "get", "7"], environ) == 0
    assert main(["files", "put", "a.txt"], environ) == 0
    assert unix_server.asked[1].body == CONTENT
    assert main(["files", "put", "a.txt"], environ) == 1
    assert capsys.readouterr().err == "pkgctl: Insufficient Storage: The disk is full.\n"
