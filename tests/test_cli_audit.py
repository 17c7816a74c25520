"""`pkgctl audit` and `pkgctl tokens logs`: what was done, as people and programs read it; and -f, which tells it once.

Against a small HTTP server that lies, breaks off and refuses; test_cli_watch.py has the real service.
"""

import re
import socket
import time
from typing import Any

import msgspec
import pytest

from app.cli import follow, watch
from app.cli.client import TIMEOUT_S
from app.values import seconds, unix
from tests import test_cli
from tests.test_cli import Asked, Pkgctl, Reply, Server, problem, process, seen

server, pkgctl = test_cli.server, test_cli.pkgctl

AUDIT = "GET /audit"
SHEET = {"Content-Type": "text/csv; charset=utf-8; header=present"}


def row(number: int, **more: object) -> dict[str, object]:
    """A row of the trail: a read by admin, unless told otherwise."""
    return {
        "id": number,
        "at": f"2026-11-21T06:17:{number:02}.000Z",
        "kind": "call",
        "request_id": f"r-{number}",
        "actor_id": 1,
        "actor_name": "admin",
        "token_id": 1,
        "session_id": None,
        "ip": "127.0.0.1",
        "method": "GET",
        "path": "/api/v1/packages",
        "route": "/api/v1/packages",
        "status": 200,
        "authorized": True,
        "reason": None,
        "action": None,
        "target": None,
    } | more


MADE = row(2, kind="change", token_id=None, session_id=7, actor_id=3, actor_name="ann", action="teams.create")
MADE |= {"target": "teams/5", "status": 201, "ip": "2001:db8::1"}
REVOKED = row(3, actor_id=None, actor_name=None, token_id=4, status=401, authorized=False, reason="Token revoked")
BUILT = row(
    4, token_id=None, ip=None, method=None, path=None, status=None, actor_name="purser", action="packages.built"
)
UNKNOWN = row(5, actor_id=None, actor_name=None, token_id=None, status=401, authorized=False, reason="Invalid token")


# What was done


def test_the_newest_rows_are_lines_of_a_table_the_oldest_first(pkgctl: Pkgctl, server: Server) -> None:
    server.on(AUDIT, [UNKNOWN, BUILT, REVOKED, MADE, row(1)])
    code, out, err = pkgctl("audit")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "TIME                      WHO              ADDRESS      WHAT                  STATUS  REASON",
        "2026-11-21T06:17:01.000Z  admin (token 1)  127.0.0.1    GET /api/v1/packages  200     -",
        "2026-11-21T06:17:02.000Z  ann (session 7)  2001:db8::1  teams.create teams/5  201     -",
        "2026-11-21T06:17:03.000Z  token 4          127.0.0.1    GET /api/v1/packages  401     Token revoked",
        "2026-11-21T06:17:04.000Z  purser           -            packages.built        -       -",
        "2026-11-21T06:17:05.000Z  -                127.0.0.1    GET /api/v1/packages  401     Invalid token",
    ]
    assert server.asked[0].query == {"limit": "50"}


def test_json_is_what_the_server_wrote_in_the_same_order(pkgctl: Pkgctl, server: Server) -> None:
    server.on(AUDIT, [REVOKED, row(1, later="unheard of")])
    code, out, err = pkgctl("audit", "--json")
    assert (code, err, msgspec.json.decode(out)) == (0, "", [row(1, later="unheard of"), REVOKED])
    server.on(AUDIT, [])
    assert pkgctl("audit", "--json") == (0, "[]\n", "")
    assert pkgctl("audit") == (0, "", "Nothing in the audit trail.\n")


def test_more_rows_than_a_page_come_over_its_links(pkgctl: Pkgctl, server: Server) -> None:
    link = {"Link": '</api/v1/audit?limit=1000&cursor=x>; rel="next"'}
    server.on(AUDIT, Reply([row(1)] * 1000, headers=link), Reply([row(2)] * 1000, headers=link))
    assert len(pkgctl("audit", "-n", "1500", "--json")[1].split('"id":1,')) == 1001
    assert [asked.query.get("cursor") for asked in server.asked] == [None, "x"]


@pytest.mark.parametrize(
    ("words", "query"),
    [
        ("-n 7", {"limit": "7"}),
        ("-n 5000", {"limit": "1000"}),
        ("--actor 3 --token-id 4", {"actor_id": "3", "token_id": "4", "limit": "50"}),
        ("--action users.create --target users/3", {"action": "users.create", "target": "users/3", "limit": "50"}),
        ("--refused", {"authorized": "false", "limit": "50"}),
        ("--since 2027-01-31T12:00:00Z", {"since": "2027-01-31T12:00:00Z", "limit": "50"}),
        ("--until 2027-01-31T12:00:00.5Z", {"until": "2027-01-31T12:00:00.5Z", "limit": "50"}),
        ("--since 99999999d", {"since": "1970-01-01T00:00:00.000Z", "limit": "50"}),
    ],
)
def test_what_is_asked_for_is_what_the_service_is_asked(
    pkgctl: Pkgctl, server: Server, words: str, query: dict[str, str]
) -> None:
    server.on(AUDIT, [])
    assert pkgctl("audit", *words.split())[0] == 0
    assert server.asked[0].query == query


@pytest.mark.parametrize(("word", "back_s"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("7d", 7 * 86400)])
def test_a_time_may_be_so_long_ago(pkgctl: Pkgctl, server: Server, word: str, back_s: int) -> None:
    server.on(AUDIT, [])
    assert pkgctl("audit", "--since", word, "--until", word)[0] == 0
    asked = server.asked[0].query
    assert seconds(asked["since"]) == pytest.approx(unix() - back_s, abs=60)
    assert seconds(asked["until"]) == pytest.approx(unix() - back_s, abs=60)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("audit -n 0", "'0' is no whole number above 0"),
        ("audit --actor ann", "'ann' is no id"),
        ("audit --token-id -1", "--token-id"),
        ("audit --since yesterday", "'yesterday' is neither an instant such as 2027-01-31T12:00:00Z nor 2h, 30m, 7d"),
        ("audit --since 2", "'2' is neither"),
        ("audit --since 2w", "'2w' is neither"),
        ("audit --until ٢h", "'٢h' is neither"),
        ("audit --since 2027-01-31", "'2027-01-31' is neither"),
        ("audit -f --csv", "not allowed with argument"),
        ("audit -f --until 2h", "-f goes on from now: leave --until out"),
        ("audit --csv -n 5", "--csv prints all rows that match, and nothing else: leave -n and --json out"),
        ("audit --csv --json", "--csv prints all rows that match, and nothing else: leave -n and --json out"),
        ("audit 7", "unrecognized arguments: 7"),
        ("tokens logs", "ID"),
        ("tokens logs 1 -n many", "'many' is no whole number above 0"),
    ],
)
def test_words_without_sense_are_a_usage_error(pkgctl: Pkgctl, server: Server, words: str, told: str) -> None:
    code, out, err = pkgctl(*words.split())
    assert (code, out) == (2, "")
    assert told in err
    assert server.asked == []


HOSTILE = row(1, actor_name="\x1b]0;owned\x07", path="/\x1b[2J\n\t\u202e", reason="\r\x9b31m", ip="\x00")


def test_a_hostile_row_is_shown_and_not_obeyed(pkgctl: Pkgctl, server: Server) -> None:
    server.on(AUDIT, [HOSTILE], [HOSTILE], [HOSTILE], [HOSTILE], problem(403, "For\x1bbidden", "a\nb"))
    answers = [pkgctl("audit"), pkgctl("audit", "--json"), pkgctl("audit", "-f")]
    assert [code for code, _, _ in answers] == [0, 0, 1]
    shown = "".join(out + err for _, out, err in answers)
    assert shown.replace("\n", "").isprintable()
    assert shown.count("\n") == 2 + 1 + 2 + 1
    assert "\\x1b]0;owned\\x07 (token 1)" in shown
    assert "GET /\\x1b[2J\\n\\t\\u202e" in shown


def test_a_path_without_end_leaves_the_columns_of_the_others_where_they_are(pkgctl: Pkgctl, server: Server) -> None:
    server.on(AUDIT, [row(2), row(1, path="/" + "x" * 500)])
    _, long, short = pkgctl("audit")[1].splitlines()
    assert len(long) > 500
    assert len(short) < 120


@pytest.mark.parametrize("content", [{}, [1], ["x"], [{}], [{"id": "one"}], [{**row(1), "authorized": 3}]])
def test_what_is_no_trail_is_not_printed(pkgctl: Pkgctl, server: Server, content: object) -> None:
    server.on(AUDIT, content)
    for words in ("audit", "audit -f"):
        code, out, err = pkgctl(*words.split())
        assert (code, out) == (3, "")
        assert err.startswith("pkgctl: Not Purser's API: ")


# As a sheet


def test_the_sheet_is_handed_on_as_it_is(pkgctl: Pkgctl, server: Server) -> None:
    sheet = 'id,path\r\n1,"/a,\t\x1b[2J\nb é"\r\n'
    server.on(AUDIT, Reply(sheet.encode(), headers=SHEET))
    assert pkgctl("audit", "--csv", "--refused") == (0, sheet, "")
    assert server.asked[0].query == {"format": "csv", "authorized": "false"}


def test_a_sheet_cannot_drive_a_terminal(server: Server, terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    server.on(AUDIT, Reply(b"id,path\r\n1,/\x1b[2J\r\nend\r\n", headers=SHEET))
    with process("audit", "--csv", "--url", server.url, stdout=theirs) as child:
        assert "\\x1b[2J" in seen(ours, "end\r\r\n")
    assert child.returncode == 0


@pytest.mark.parametrize(
    ("reply", "code", "told"),
    [
        (problem(403, "Forbidden", "audit:read is needed."), 1, "Forbidden: audit:read is needed."),
        (Reply([], headers={"Content-Type": "application/json"}), 3, "Not Purser's API: application/json where text"),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\nContent-Length: 9\r\n\r\nid,"), 3, "Cannot talk to"),
    ],
)
def test_a_sheet_that_does_not_come_whole_is_told(
    pkgctl: Pkgctl, server: Server, reply: Reply, code: int, told: str
) -> None:
    server.on(AUDIT, reply)
    found = pkgctl("audit", "--csv")
    assert found[0] == code
    assert found[2].startswith(f"pkgctl: {told}")


# What is being done


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pause between two questions to a server that is in this process."""
    monkeypatch.setattr(watch, "PAUSE_S", 0.0)


END = problem(403, "Forbidden", "No more.")


def told(out: str) -> list[int]:
    """The numbers of the rows, by the seconds of their instants."""
    return [int(line[17:19]) for line in out.splitlines() if line[0].isdigit()]


@pytest.mark.usefixtures("hurried")
def test_following_begins_with_the_newest_and_tells_each_row_once(pkgctl: Pkgctl, server: Server) -> None:
    """Rows that come between the first two questions are in the list already; a server that repeats is not believed."""
    server.on(
        AUDIT,
        [row(2), row(1)],  # where to go on
        [row(3), row(2), row(1)],  # the newest
        [row(3), row(4)],
        [row(4)],
        [],
        [row(5), row(6)],
        END,
    )
    code, out, err = pkgctl("audit", "-f", "-n", "2")
    assert (code, told(out), err) == (1, [2, 3, 4, 5, 6], "pkgctl: Forbidden: No more.\n")
    assert [asked.query.get("after") for asked in server.asked] == [None, None, "2", "4", "4", "4", "6"]
    assert out.count("TIME") == 1


@pytest.mark.usefixtures("hurried")
def test_following_sorts_out_what_was_asked_for(pkgctl: Pkgctl, server: Server) -> None:
    """The service is asked for all that was written since, so that the next question begins behind it."""
    server.on(AUDIT, [row(1)], [], [MADE, REVOKED, BUILT, UNKNOWN], END)
    for words, wanted in (
        ("--refused", [3, 5]),
        ("--actor 3", [2]),
        ("--token-id 4 --refused", [3]),
        ("--action teams.create", [2]),
        ("--target teams/5 --since 2h", [2]),
        ("--target teams/6", []),
    ):
        server.on(AUDIT, [row(1)], [], [MADE, REVOKED, BUILT, UNKNOWN], END)
        server.asked.clear()
        assert told(pkgctl("audit", "-f", *words.split())[1]) == wanted, words
        assert [asked.query["after"] for asked in server.asked[2:]] == ["1", "5"]
        assert server.asked[2].query.keys() == {"after", "limit"} | ({"since"} if "since" in words else set())


@pytest.mark.usefixtures("hurried")
def test_the_questions_of_who_follows_are_not_told(pkgctl: Pkgctl, server: Server) -> None:
    """They leave rows of their own, known by their id; whoever borrows it hides nothing but reading the trail."""
    borrowed = {"route": "/api/v1/packages"}
    left: list[Any] = [[], [{}], [{}, borrowed, {}], [{"authorized": False}], [{}, {}], END]

    def answer(asked: Asked) -> Reply:
        replies = left.pop(0)
        if isinstance(replies, Reply):
            return replies
        ours = {"request_id": asked.headers["X-Request-Id"], "path": "/box/api/v1/audit", "route": "/api/v1/audit"}
        number = 10 * (6 - len(left))
        return Reply([row(number + at, **(ours | more)) for at, more in enumerate(replies)])

    server.routes[AUDIT] = answer
    code, out, _ = pkgctl("audit", "-f")
    assert (code, told(out)) == (1, [31, 40])
    labels = {asked.headers["X-Request-Id"] for asked in server.asked}
    assert len(labels) == 1
    assert re.fullmatch(r"pkgctl-[0-9a-f]{24}", labels.pop())
    server.on("GET /packages", [])
    assert pkgctl("list")[0] == 0
    assert "X-Request-Id" not in server.asked[-1].headers


def test_following_goes_on_at_once_while_pages_are_full(
    pkgctl: Pkgctl, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PAUSE_S", 3600.0)
    pages = [[row(n, at="2026-11-21T06:17:00.000Z") for n in range(at, at + 1000)] for at in (2, 1002)]
    server.on(AUDIT, [row(1)], [row(1)], *pages, END)
    assert len(told(pkgctl("audit", "-f")[1])) == 2001


def test_there_is_a_pause_between_two_questions(
    pkgctl: Pkgctl, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PAUSE_S", 0.1)
    server.on(AUDIT, [row(1)], [row(1)], [], [row(2)], END)
    begun = time.monotonic()
    assert told(pkgctl("audit", "-f")[1]) == [1, 2]
    assert time.monotonic() - begun >= 0.2


def test_with_json_each_row_is_a_line(pkgctl: Pkgctl, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PAUSE_S", 0.0)
    server.on(AUDIT, [row(1)], [row(1)], [row(2, later=True)], END)
    _, out, _ = pkgctl("audit", "-f", "--json")
    assert [msgspec.json.decode(line) for line in out.splitlines()] == [row(1), row(2, later=True)]


@pytest.mark.parametrize(
    ("away", "code", "said"),
    [
        (problem(503, "Service Unavailable", "Purser is stopping."), 1, "Service Unavailable: Purser is stopping."),
        (Reply(b"", 429, {"Retry-After": "3600"}), 1, "429 Too Many Requests (try again in 3600 s)"),
        (Reply(raw=b""), 3, "Cannot reach http://127.0.0.1"),
    ],
)
def test_a_service_that_comes_back_is_followed_and_one_that_stays_away_is_not(
    pkgctl: Pkgctl, server: Server, monkeypatch: pytest.MonkeyPatch, away: Reply, code: int, said: str
) -> None:
    monkeypatch.setattr(watch, "PAUSE_S", 0.01)
    monkeypatch.setattr(follow, "PATIENCE_S", 0.25)
    server.on(AUDIT, [row(1)], [row(1)], away, [row(2)], away)
    found = pkgctl("audit", "-f")
    assert (found[0], told(found[1])) == (code, [1, 2])
    assert found[2].startswith(f"pkgctl: {said}")
    assert [asked.query.get("after") for asked in server.asked][2:5] == ["1", "1", "2"]


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    ("reply", "code", "said"),
    [
        (problem(401, "Unauthorized", "Token revoked"), 1, "Unauthorized: Token revoked"),
        (problem(500, "Internal Server Error", "Something went wrong here."), 1, "Internal Server Error: Something"),
        (Reply(b"<html>"), 3, "Not Purser's API: the answer is not the JSON that was expected"),
    ],
)
def test_what_will_not_pass_ends_the_following(
    pkgctl: Pkgctl, server: Server, reply: Reply, code: int, said: str
) -> None:
    server.on(AUDIT, [], [], reply, [row(2)])
    found = pkgctl("audit", "-f")
    assert found[:2] == (code, "")
    assert found[2].startswith(f"pkgctl: {said}")
    assert len(server.asked) == 3


def test_nobody_there_at_the_beginning_is_told_at_once(pkgctl: Pkgctl) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    begun = time.monotonic()
    assert pkgctl("audit", "-f", "--url", url)[:2] == (3, "")
    assert time.monotonic() - begun < TIMEOUT_S


# The logs of a token


def test_the_logs_of_a_token_are_lines_of_a_table(pkgctl: Pkgctl, server: Server) -> None:
    call = {
        "timestamp": "T2",
        "ip": "::1",
        "method": "GET",
        "endpoint": "/\x1b",
        "status_code": 200,
        "authorized": True,
    }
    refused = call | {"timestamp": "T1", "status_code": 403, "authorized": False, "reason": "Address not allowed"}
    document = {"token_id": 7, "token_name": "ci", "total_logs": 2, "logs": [call, refused]}
    server.on("GET /tokens/7/logs", document)
    code, out, err = pkgctl("tokens", "logs", "7")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "TIME  ADDRESS  METHOD  PATH   STATUS  REASON",
        "T1    ::1      GET     /\\x1b  403     Address not allowed",
        "T2    ::1      GET     /\\x1b  200     -",
    ]
    assert server.asked[0].query == {"limit": "50"}
    whole = msgspec.json.decode(pkgctl("tokens", "logs", "7", "-n", "1", "--json")[1])
    assert whole == document | {"logs": [call]}
    server.on("GET /tokens/7/logs", {**document, "logs": []})
    assert pkgctl("tokens", "logs", "7") == (0, "", "No calls.\n")


def test_the_logs_of_a_token_come_over_links_too(pkgctl: Pkgctl, server: Server) -> None:
    link = {"Link": '</api/v1/tokens/7/logs?limit=1000&cursor=x>; rel="next"'}
    page = {"token_id": 7, "logs": [{"timestamp": "T"}] * 1000}
    server.on("GET /tokens/7/logs", Reply(page, headers=link), Reply(page, headers=link))
    assert len(pkgctl("tokens", "logs", "7", "-n", "1200")[1].splitlines()) == 1201
    assert len(server.asked) == 2
    server.on("GET /tokens/7/logs", {"token_id": 7, "logs": "none"})
    assert pkgctl("tokens", "logs", "7")[0] == 3
