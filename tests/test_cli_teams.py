"""Groups and teams from the command line, and why somebody may do something: against the real service."""

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from app.cli import main
from tests import test_cli, test_cli_accounts
from tests.support import Service
from tests.test_cli import Outcome, Pkgctl, Reply, Server, problem
from tests.test_cli_accounts import fields

box, pkgctl, made = test_cli_accounts.box, test_cli_accounts.pkgctl, test_cli_accounts.made
server = test_cli.server

slow = pytest.mark.slow


def number_of(outcome: Outcome, pattern: str) -> str:
    """The id in the line that tells of success."""
    code, out, err = outcome
    assert (code, err) == (0, "")
    told = re.fullmatch(rf"Success: {pattern}\n", out)
    assert told, out
    return told[1]


# Groups


@slow
def test_a_group_is_made_listed_shown_changed_and_deleted(pkgctl: Pkgctl) -> None:
    assert pkgctl("groups") == (0, "", "No groups.\n")
    number = number_of(pkgctl("groups", "create", "North Wing", "01234567"), r"Created group (\d+), North Wing")
    header, line = pkgctl("groups", "list")[1].splitlines()
    assert header.split() == ["ID", "NAME", "NUMBER", "MAX", "STREAMS", "USERS", "UPDATED"]
    assert line.split()[:6] == [number, "North", "Wing", "01234567", "8", "0"]
    assert pkgctl("groups") == pkgctl("groups", "list")
    updated = (0, f"Success: Updated group {number}\n", "")
    assert pkgctl("groups", "update", number, "--name", "South", "--max-streams", "0") == updated
    assert pkgctl("groups", "update", number, "--number", "00000000") == updated
    shown = fields(pkgctl("groups", "show", number)[1])
    assert (shown["name"], shown["uniform_number"], shown["max_allowed_streams"]) == ("South", "00000000", "0")
    assert msgspec.json.decode(pkgctl("groups", "show", number, "--json")[1])["name"] == "South"
    taken = (1, "", "pkgctl: Conflict: Another group has the uniform number 00000000.\n")
    assert pkgctl("groups", "create", "Other", "00000000") == taken
    assert pkgctl("groups", "delete", number, "--yes") == (0, f"Success: Deleted group {number}\n", "")
    assert pkgctl("groups", "show", number) == (1, "", "pkgctl: Not Found: No such group.\n")


@slow
def test_an_account_enters_a_group_and_leaves_it(pkgctl: Pkgctl, made: Callable[[str], int]) -> None:
    number = str(made("gil"))
    group = number_of(
        pkgctl("groups", "create", "West", "11111111", "--max-streams", "3"), r"Created group (\d+), West"
    )
    told = (0, f"Success: User {number} belongs to group {group}\n", "")
    assert pkgctl("users", "set-group", number, group) == told
    assert fields(pkgctl("users", "show", number)[1])["group_id"] == group
    assert [line.split()[0] for line in pkgctl("users", "list", "--group", group)[1].splitlines()] == ["ID", number]
    answer = msgspec.json.decode(pkgctl("users", "set-group", number, "none", "--json")[1])
    assert answer["group_id"] is None
    assert pkgctl("users", "set-group", number, "999")[0] == 1
    assert pkgctl("groups", "delete", group, "--yes")[0] == 0


# Teams


@slow
def test_a_team_is_made_filled_handed_over_left_and_deleted(
    pkgctl: Pkgctl, made: Callable[[str], int], tmp_path: Path
) -> None:
    ann, bob = made("tam"), made("tom")
    assert pkgctl("login", "tam", "--password-file", f"{tmp_path}/password", PURSER_TOKEN="")[0] == 0

    def tam(*words: str) -> Outcome:
        return pkgctl("teams", *words, PURSER_TOKEN="")

    assert tam() == (0, "", "No teams.\n")
    number = number_of(tam("create", "Kitchen", "--description", "They cook.\nWell."), r"Created team (\d+), Kitchen")
    assert tam("add", number, "tom") == (0, f"Success: Team {number} has tom as a member\n", "")
    assert tam("add", number, str(bob)) == (0, f"Success: Team {number} has {bob} as a member\n", "")
    header, line = tam()[1].splitlines()
    assert header.split() == ["ID", "NAME", "OWNER", "MEMBERS", "UPDATED"]
    assert line.split()[:4] == [number, "Kitchen", "tam", "2"]
    whole, members = tam("show", number)[1].split("\n\n")
    assert fields(whole)["description"] == "They cook.\\nWell."
    assert "members" not in fields(whole)
    table = [line.split()[:4] for line in members.splitlines()]
    assert table[0] == ["USER", "USERNAME", "NAME", "ROLE"]
    assert table[1:] == [[str(ann), "tam", "tam", "owner"], [str(bob), "tom", "tom", "member"]]
    assert [member["id"] for member in msgspec.json.decode(tam("show", number, "--json")[1])["members"]] == [ann, bob]
    stays = (1, "", "pkgctl: Conflict: The owner of a team hands it over before leaving it.\n")
    assert tam("leave", number) == stays
    assert tam("update", number, "--owner", str(bob), "--name", "Scullery", "--description", "") == (
        0,
        f"Success: Updated team {number}\n",
        "",
    )
    assert tam("remove", number, str(bob))[0] == 1
    assert tam("leave", number) == (0, f"Success: You have left team {number}\n", "")
    assert tam("show", number) == (1, "", "pkgctl: Not Found: No such team.\n")
    assert pkgctl("teams", "add", number, "tam")[0] == 0
    told = (0, f"Success: User {ann} has left team {number}\n", "")
    assert pkgctl("teams", "remove", number, str(ann)) == told
    assert pkgctl("teams", "delete", number, "--yes") == (0, f"Success: Deleted team {number}\n", "")


@slow
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("teams show 999", "Not Found: No such team."),
        ("teams add 999 ann", "Not Found: No such team."),
        ("teams remove 999 1", "Not Found: No such team."),
        ("teams leave 999", "Not Found: No such team."),
        ("teams delete 999 --yes", "Not Found: No such team."),
        ("teams update 999 --name x", "Not Found: No such team."),
        ("groups show 999", "Not Found: No such group."),
        ("groups update 999 --name x", "Not Found: No such group."),
        ("groups delete 999 --yes", "Not Found: No such group."),
        ("groups create x 123", "Bad Request: /uniform_number: "),
        ("groups create x 12345678 --max-streams 999999", "Bad Request: /max_allowed_streams: "),
        ("users set-group 999 none", "Not Found: No such user."),
        ("users explain 999 packages:build", "Not Found: No such user."),
        ("users explain 1 fly", "Bad Request: permission: expected "),
        ("users explain 1 packages:build --token-id 999", "Not Found: This account has no such token."),
    ],
)
def test_a_refusal_is_one_clear_line(pkgctl: Pkgctl, words: str, told: str) -> None:
    code, out, err = pkgctl(*words.split())
    assert (code, out) == (1, "")
    assert re.fullmatch(rf"pkgctl: {re.escape(told)}[^\n]*\n", err)


@slow
@pytest.mark.parametrize(
    "words",
    [
        "groups create East 22222222",
        "groups delete 1 --yes",
        "users set-group 1 none",
        "users explain 1 users:read",
        "outbox --online",
        "audit --csv --actor 1",
    ],
)
def test_who_may_not_is_told_so(pkgctl: Pkgctl, box: Service, words: str) -> None:
    with box.client() as client:
        made = client.post("/api/v1/tokens", json={"scopes": ["packages:read"]}).json()
    code, out, err = pkgctl(*words.split(), PURSER_TOKEN=made["token"])
    assert (code, out) == (1, "")
    assert re.fullmatch(r"pkgctl: Forbidden: [^\n]+\n", err)


@slow
@pytest.mark.parametrize("words", ["groups delete", "teams delete"])
def test_what_cannot_be_undone_is_asked_about(pkgctl: Pkgctl, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("yes\n"))
    told = f"pkgctl: {words} asks first, and there is no terminal: say --yes as well\n"
    assert pkgctl(*words.split(), "999") == (2, "", told)


# Why


@slow
def test_whether_somebody_may_and_why(pkgctl: Pkgctl, made: Callable[[str], int], tmp_path: Path) -> None:
    number = str(made("exa"))
    may_not = "no: exa may not packages:build\n  None of the roles (user) grants packages:build.\n"
    assert pkgctl("users", "explain", number, "packages:build") == (1, may_not, "")
    assert pkgctl("users", "set-role", number, "admin")[0] == 0
    code, out, err = pkgctl("users", "explain", number, "packages:build")
    assert (code, err) == (0, "")
    assert re.fullmatch(
        r"yes: exa may packages:build, reach all\n  The role admin grants packages:(build|\*)=all\.\n", out
    )
    assert pkgctl("login", "exa", "--password-file", f"{tmp_path}/password", PURSER_TOKEN="")[0] == 0
    wide, narrow = (
        msgspec.json.decode(pkgctl("tokens", "create", "--scopes", scope, "--json", PURSER_TOKEN="")[1])["id"]
        for scope in ("packages:*", "packages:read")
    )
    code, out, err = pkgctl("users", "explain", number, "packages:build", "--token-id", str(wide))
    assert (code, err) == (0, "")
    assert out.startswith(f"yes: exa with token {wide} may packages:build, reach all\n")
    assert out.endswith("  The token has the scope packages:*.\n")
    code, out, err = pkgctl("users", "explain", number, "packages:build", "--token-id", str(narrow))
    assert (code, err) == (1, "")
    assert out == (
        f"no: exa with token {narrow} may not packages:build\n"
        "  None of the token's scopes (packages:read) covers packages:build.\n"
    )
    code, out, err = pkgctl("users", "explain", number, "packages:build", "--token-id", str(narrow), "--json")
    assert (code, err) == (1, "")
    assert msgspec.json.decode(out)["allowed"] is False


# Words, and servers that lie


@pytest.mark.parametrize(
    "words",
    [
        "groups show north",
        "groups create North",
        "groups create North 12345678 --max-streams -1",
        "groups update 1",
        "groups update 1 --max-streams many",
        "teams create",
        "teams update 1",
        "teams update 1 --owner ann",
        "teams add 1",
        "teams remove 1 ann",
        "teams leave",
        "teams fly",
        "users set-group 1",
        "users set-group 1 north",
        "users explain 1",
        "users explain ann packages:read",
        "users explain 1 packages:read --token-id x",
    ],
)
def test_words_without_sense_are_a_usage_error(server: Server, capsys: pytest.CaptureFixture[str], words: str) -> None:
    assert main(words.split(), {"PURSER_URL": server.url}) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "usage: pkgctl" in told.err or told.err.startswith("pkgctl: There is nothing to change: give --name, ")
    assert server.asked == []


NASTY = "\x1b[2J\n\t\u202e"
TEAM = {"id": 1, "name": NASTY, "owner_name": NASTY, "description": NASTY, "member_count": 1, "updated_at": "T"}
GROUP = {"id": 1, "name": NASTY, "uniform_number": NASTY, "max_allowed_streams": 8, "user_count": 0, "updated_at": "T"}
WHY = {"username": NASTY, "permission": NASTY, "allowed": True, "missing": [NASTY], "reach": "all", "scopes": [NASTY]}
WHY |= {"roles": [{"role": NASTY, "permission": NASTY, "reach": NASTY}]}


def test_names_that_could_act_on_a_terminal_are_shown_and_not_obeyed(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.on("GET /teams", [TEAM])
    server.on("GET /teams/1", {**TEAM, "members": [{"id": 1, "username": NASTY, "name": NASTY, "role": NASTY}]})
    server.on("POST /teams", Reply(TEAM, 201))
    server.on("PATCH /teams/1", problem(409, NASTY, NASTY))
    server.on("GET /groups", [GROUP])
    server.on("GET /groups/1", GROUP)
    server.on("POST /groups", Reply(GROUP, 201))
    server.on("GET /authz/explain", WHY, {**WHY, "allowed": False})
    for words, code, lines in (
        ("teams", 0, 2),
        ("teams show 1", 0, 9),
        ("teams show 1 --json", 0, 1),
        ("teams create x", 0, 1),
        ("teams update 1 --name x", 1, 1),
        ("groups", 0, 2),
        ("groups show 1", 0, 6),
        ("groups create x 12345678", 0, 1),
        ("users explain 1 x", 0, 3),
        ("users explain 1 x", 1, 2),
    ):
        assert main(words.split(), {"PURSER_URL": server.url}) == code, words
        told = capsys.readouterr()
        shown = told.out + told.err
        assert shown.replace("\n", "").isprintable(), words
        assert shown.count("\n") == lines, words
        assert "\\x1b[2J" in shown or "\\u001b[2J" in shown, words


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("teams show 1", "GET /teams/1"),
        ("teams create x", "POST /teams"),
        ("teams leave 1", "GET /auth/me"),
        ("groups create x 12345678", "POST /groups"),
        ("users explain 1 x", "GET /authz/explain"),
        ("outbox --online", "GET /system/outbox"),
    ],
)
def test_what_does_not_answer_like_purser_is_unreachable(
    server: Server, capsys: pytest.CaptureFixture[str], words: str, line: str
) -> None:
    server.on(line, {"id": "one", "members": "none", "username": 7})
    assert main(words.split(), {"PURSER_URL": server.url}) == 3
    told = capsys.readouterr()
    assert told.out == ""
    assert re.fullmatch(r"pkgctl: Not Purser's API: [^\n]+ is not the JSON that was expected\n", told.err)


def test_digits_are_the_id_of_who_joins_a_team(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.on("POST /teams/1/members", Reply({}, 201))
    for word, body in (("7", {"user_id": 7}), ("ann", {"username": "ann"}), ("٧", {"username": "٧"})):
        assert main(["teams", "add", "1", word], {"PURSER_URL": server.url}) == 0
        assert msgspec.json.decode(server.asked[-1].body) == body
    assert capsys.readouterr().err == ""
