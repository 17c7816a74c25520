"""The permission language: pure rules, as tables, then as laws that hold for anything hypothesis can think of."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.config import Config
from app.permissions import (
    ADMIN,
    ALIASES,
    GUEST,
    LADDER,
    LADDERS,
    NARROWED,
    NEEDS_GROUP,
    REACHES,
    RESOURCES,
    STANDING,
    SUPER_ADMIN,
    USER,
    Grant,
    Permissions,
    covers,
    includes,
    normalise,
    reaches,
    standing,
)
from tests.support import rows

ORDINARY = ("read", "write", "delete", "admin")
RUNGS = {
    **dict.fromkeys(("users", "roles", "groups", "teams", "tokens", "audit"), ORDINARY),
    **dict.fromkeys(("documents", "folders", "files", "messages", "notifications", "calendar"), ORDINARY),
    **dict.fromkeys(("dashboard", "security", "analytics", "settings", "system"), ORDINARY),
    **dict.fromkeys(("sites", "features", "streams", "projects", "workspaces"), ORDINARY),
    "packages": ("read", "write", "build", "activate", "admin"),
    "fcs": ("read", "write", "analyze", "admin"),
}
"""Every resource with its actions, the lowest first: the language as its users are told it, not as the code has it."""

WHOLE = (
    *("users", "teams", "tokens", "audit", "packages", "documents", "folders", "files", "messages", "notifications"),
    *("calendar", "dashboard", "security", "analytics", "settings", "sites", "streams", "projects", "workspaces"),
    "fcs",
)
GRANTED = {
    "super_admin": {"*": "all"},
    "admin": {
        **{f"{resource}:*": "all" for resource in WHOLE},
        **{f"{resource}:read": "all" for resource in ("roles", "groups", "features", "system")},
    },
    "user": {
        "users:write": "own",
        "tokens:write": "own",
        "teams:delete": "own",
        "documents:delete": "own",
        "folders:delete": "own",
        "files:delete": "own",
        "messages:delete": "own",
        "notifications:delete": "own",
        "calendar:delete": "own",
        "projects:delete": "own",
        "workspaces:admin": "own",
        "fcs:analyze": "own",
        "settings:write": "own",
        "packages:read": "all",
        "features:read": "all",
        "dashboard:read": "all",
    },
    "guest": {"dashboard:read": "all", "users:read": "own"},
}
"""What the roles that are built in grant from the start."""
GROUPED = {"users", "teams", "tokens", "sites", "streams", "projects", "audit"}
"""What of an admin's stays within the group, for one who has a group."""

ALL = sorted(f"{resource}:{action}" for resource in RESOURCES for action in LADDERS.get(resource, LADDER))
permission = st.sampled_from(ALL)
held = st.sampled_from([*ALL, *(f"{resource}:*" for resource in sorted(RESOURCES)), "*"])
scopes = st.lists(held, max_size=5)
grants = st.lists(st.builds(Grant, held, st.sampled_from(REACHES)), max_size=5)


@pytest.mark.parametrize(
    ("given_text", "normal"),
    [
        ("packages:read", "packages:read"),
        ("packages:view", "packages:read"),
        ("packages:list", "packages:read"),
        ("files:upload", "files:write"),
        ("messages:send", "messages:write"),
        ("users:create", "users:write"),
        ("users:update", "users:write"),
        ("users:edit", "users:write"),
        ("users:manage", "users:admin"),
        ("fcs:analyze", "fcs:analyze"),
        ("packages:activate", "packages:activate"),
        ("packages:*", "packages:*"),
        ("*", "*"),
    ],
)
def test_a_permission_has_one_normal_spelling(given_text: str, normal: str) -> None:
    assert normalise(given_text) == normal


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "packages",
            "packages:",
            ":read",
            "*:read",
            "**",
            "packages:read:write",
            "Packages:read",
            "packages:READ",
        ),
        *(" packages:read", "packages:read ", "packages:read\n", "*\n", "packages:*\n", "pack ages:read", "a:b"),
        *("packages:delete", "packages:analyze", "fcs:delete", "fcs:build", "users:build", "users:fly", "nobody:read"),
        *("packages:re\0ad", "pаckages:read", "'; DROP TABLE packages; --", "x" * 10_000),
    ],
)
def test_what_is_no_permission_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|no resource|no action"):
        normalise(text)


@pytest.mark.parametrize(
    ("holds", "wants", "yes"),
    [
        ("packages:read", "packages:read", True),
        ("packages:write", "packages:read", True),
        ("packages:read", "packages:write", False),
        ("packages:build", "packages:write", True),
        ("packages:activate", "packages:build", True),
        ("packages:build", "packages:activate", False),
        ("packages:admin", "packages:activate", True),
        ("packages:activate", "packages:admin", False),
        ("fcs:write", "fcs:analyze", False),
        ("fcs:analyze", "fcs:write", True),
        ("users:delete", "users:write", True),
        ("users:write", "users:delete", False),
        ("users:admin", "tokens:read", False),
        ("packages:*", "packages:admin", True),
        ("packages:admin", "packages:*", False),
        ("packages:*", "packages:*", True),
        ("packages:*", "tokens:read", False),
        ("*", "packages:*", True),
        ("*", "*", True),
        ("packages:*", "*", False),
    ],
)
def test_a_higher_action_includes_the_lower_ones_of_its_resource_alone(holds: str, wants: str, yes: bool) -> None:
    assert includes(holds, wants) is yes


@pytest.mark.parametrize(
    ("holds", "wants", "yes"),
    [
        *[("own", "own", True), ("own", "group", False), ("group", "own", True), ("group", "all", False)],
        *[("all", "own", True), ("all", "group", True), ("all", "all", True), ("own", "all", False)],
    ],
)
def test_a_wider_reach_does_for_a_narrower_one(holds: str, wants: str, yes: bool) -> None:
    assert reaches(holds, wants) is yes  # type: ignore[arg-type]


def test_every_alias_stands_for_an_action_of_every_ladder() -> None:
    assert {
        alias for alias, action in ALIASES.items() if any(action not in ladder for ladder in LADDERS.values())
    } == set()
    assert not ALIASES.keys() & {action for ladder in (LADDER, *LADDERS.values()) for action in ladder}


def test_every_ladder_begins_with_read_and_ends_with_admin() -> None:
    assert {(ladder[0], ladder[-1]) for ladder in (LADDER, *LADDERS.values())} == {("read", "admin")}
    assert LADDERS.keys() <= RESOURCES


def test_the_resources_and_their_ladders_are_these() -> None:
    assert {resource: LADDERS.get(resource, LADDER) for resource in RESOURCES} == RUNGS


@pytest.mark.parametrize("resource", sorted(RUNGS))
def test_a_scope_reaches_down_its_own_ladder_and_nowhere_else(resource: str) -> None:
    """`workspaces:admin` is all of workspaces and nothing of fcs; `fcs:analyze` is fcs but for its administration."""
    ladder = RUNGS[resource]
    for height, action in enumerate(ladder):
        reached = {wanted for wanted in ALL if includes(f"{resource}:{action}", wanted)}
        assert reached == {f"{resource}:{rung}" for rung in ladder[: height + 1]}
    assert {wanted for wanted in ALL if includes(f"{resource}:*", wanted)} == {f"{resource}:{rung}" for rung in ladder}


def test_the_built_in_roles_grant_from_the_start_what_is_written(stranger: TestClient, config: Config) -> None:
    seeded = rows(config.database_path, "SELECT name, built_in, grants FROM roles ORDER BY id")
    assert [(row["name"], row["built_in"]) for row in seeded] == [(name, 1) for name in STANDING]
    assert tuple(GRANTED) == (SUPER_ADMIN, ADMIN, USER, GUEST)
    for row in seeded:
        found = msgspec.json.decode(row["grants"], type=list[Grant])
        assert {grant.permission: grant.reach for grant in found} == GRANTED[row["name"]], row["name"]
        assert len(found) == len(GRANTED[row["name"]])


def granted(role: str) -> list[Grant]:
    """What a built-in role grants, as the code takes it."""
    return [Grant(permission, reach) for permission, reach in GRANTED[role].items()]  # type: ignore[arg-type]


def test_the_super_admin_may_do_everything_everywhere() -> None:
    who = Permissions(standing("super_admin", granted("super_admin"), grouped=False))
    assert {who.reach(wanted) for wanted in ALL} == {"all"}
    assert who.everything


def test_an_admin_may_do_everything_but_what_is_the_super_admins() -> None:
    """Of roles, groups, features and the system only read; nothing of sites and streams, which are a group's."""
    who = Permissions(standing("admin", granted("admin"), grouped=False))
    for resource, ladder in RUNGS.items():
        found = {action: who.reach(f"{resource}:{action}") for action in ladder}
        if resource in ("sites", "streams"):
            assert set(found.values()) == {None}
        elif resource in ("roles", "groups", "features", "system"):
            assert {action for action, reach in found.items() if reach} == {"read"}
        else:
            assert set(found.values()) == {"all"}, resource
    assert not who.everything


def test_an_admin_with_a_group_stays_within_it_where_groups_matter() -> None:
    who = Permissions(standing("admin", granted("admin"), grouped=True))
    found = {resource: who.reach(f"{resource}:read") for resource in RUNGS}
    assert found == {resource: "group" if resource in GROUPED else "all" for resource in RUNGS}
    assert {who.reach(f"{resource}:admin") for resource in GROUPED} == {"group"}
    assert who.reach("roles:write") is who.reach("groups:write") is who.reach("*") is None


@pytest.mark.parametrize(
    ("role", "wanted", "inside", "outside"),
    [
        ("super_admin", "groups:delete", "all", "all"),
        ("super_admin", "system:admin", "all", "all"),
        ("admin", "groups:read", "all", "all"),
        ("admin", "groups:write", None, None),
        ("admin", "teams:admin", "group", "all"),
        ("admin", "audit:read", "group", "all"),
        ("admin", "users:admin", "group", "all"),
        ("admin", "system:read", "all", "all"),
        ("admin", "system:write", None, None),
        ("user", "groups:read", None, None),
        ("user", "teams:delete", "own", "own"),
        ("user", "teams:admin", None, None),
        ("user", "audit:read", None, None),
        ("user", "users:admin", None, None),
        ("user", "tokens:read", "own", "own"),
        ("guest", "teams:read", None, None),
        ("guest", "audit:read", None, None),
        ("guest", "tokens:read", None, None),
    ],
)
def test_groups_teams_and_the_trail_are_reached_as_it_is_written(
    role: str, wanted: str, inside: str | None, outside: str | None
) -> None:
    """With a group and without one."""
    found = (Permissions(standing(role, granted(role), grouped=grouped)).reach(wanted) for grouped in (True, False))
    assert tuple(found) == (inside, outside)


@pytest.mark.parametrize("role", ["super_admin", "user", "guest", "a role of ones own"])
@pytest.mark.parametrize("grouped", [True, False])
def test_a_group_changes_nothing_for_any_other_role(role: str, grouped: bool) -> None:
    given_grants = (Grant("*", "all"), Grant("sites:read", "all"), Grant("users:admin", "group"))
    assert standing(role, given_grants, grouped=grouped) == given_grants


@given(st.lists(st.builds(Grant, held.filter(lambda text: text != "*"), st.sampled_from(REACHES)), max_size=8))
def test_an_admins_group_only_ever_narrows(given_grants: list[Grant]) -> None:
    """With a group nothing of it is reached beyond the group, without one nothing of what needs it, else all stays."""
    as_written = Permissions(given_grants)
    inside, outside = (Permissions(standing("admin", given_grants, grouped=grouped)) for grouped in (True, False))
    for wanted in ALL:
        resource, full = wanted.partition(":")[0], as_written.reach(wanted)
        narrow = "group" if full == "all" and resource in NARROWED else full
        assert inside.reach(wanted) == narrow
        assert outside.reach(wanted) == (None if resource in NEEDS_GROUP else full)


@given(permission, permission)
def test_the_ladder_is_monotone(one: str, other: str) -> None:
    """Of two rungs of one ladder the higher includes the lower, and never the other way round."""
    resource, action = one.split(":")
    ladder = LADDERS.get(resource, LADDER)
    lower = [f"{resource}:{rung}" for rung in ladder[: ladder.index(action) + 1]]
    assert includes(one, other) is (other in lower)


@given(held, held, held)
def test_what_includes_what_includes_includes_it(one: str, two: str, three: str) -> None:
    if includes(one, two) and includes(two, three):
        assert includes(one, three)
    assert includes(one, one)


@given(held, permission)
def test_nothing_crosses_from_one_resource_to_another(holds: str, wants: str) -> None:
    if holds != "*" and holds.split(":")[0] != wants.split(":")[0]:
        assert not includes(holds, wants)


@given(held)
def test_a_normal_spelling_stays_as_it_is(text: str) -> None:
    assert normalise(text) == text


@given(st.text(max_size=40))
def test_any_text_is_normal_or_refused(text: str) -> None:
    try:
        normal = normalise(text)
    except ValueError:
        return
    assert normal == "*" or normal.split(":")[0] in RESOURCES
    assert normalise(normal) == normal


@given(grants, scopes, permission)
def test_a_token_can_never_do_more_than_its_owner(granted: list[Grant], through: list[str], wanted: str) -> None:
    owner, token = Permissions(granted), Permissions(granted, through)
    assert token.reach(wanted) == (owner.reach(wanted) if covers(through, wanted) else None)
    assert token.reach(wanted) == token.reach(wanted)


@given(grants, st.none() | scopes, held)
def test_what_a_token_may_is_within_what_its_owner_may(
    owned: list[Grant], through: list[str] | None, wanted: str
) -> None:
    """Wildcards too, and whatever else the token's scopes say."""
    owner, token = Permissions(owned), Permissions(owned, through)
    reach, most = token.reach(wanted), owner.reach(wanted)
    assert reach is None or (most is not None and reaches(most, reach))
    assert token.unscoped().reach(wanted) == most
    assert not token.everything or owner.everything


@given(grants, st.none() | scopes, grants)
def test_grants_that_are_not_beyond_a_caller_are_covered_by_the_callers_own(
    own: list[Grant], through: list[str] | None, wanted: list[Grant]
) -> None:
    """Whoever is given what `beyond_grants` lets pass can do nothing, nowhere, that the giver could not."""
    giver = Permissions(own, through)
    beyond = giver.beyond_grants(wanted)
    receiver = Permissions([grant for grant in wanted if grant.permission not in beyond])
    for permission in [*ALL, "*"]:
        if reach := receiver.reach(permission):
            most = giver.reach(permission)
            assert most is not None
            assert reaches(most, reach)


@given(grants)
def test_nobody_is_beyond_themselves_but_through_a_narrower_token(own: list[Grant]) -> None:
    assert Permissions(own).beyond_grants(own) == []
    assert Permissions(own, []).beyond_grants(own) == [grant.permission for grant in own]


@pytest.mark.parametrize(
    ("has", "wants", "beyond"),
    [
        (("users:write", "group"), ("users:write", "group"), False),
        (("users:write", "group"), ("users:read", "own"), False),
        (("users:write", "group"), ("users:read", "all"), True),
        (("users:write", "group"), ("users:delete", "own"), True),
        (("users:admin", "all"), ("users:*", "all"), True),
        (("users:*", "all"), ("users:admin", "all"), False),
        (("users:*", "all"), ("tokens:read", "own"), True),
        (("*", "own"), ("fcs:read", "own"), False),
        (("*", "own"), ("fcs:read", "group"), True),
    ],
)
def test_a_grant_is_beyond_in_action_or_in_reach(has: tuple[str, str], wants: tuple[str, str], beyond: bool) -> None:
    wanted = Grant(*wants)  # type: ignore[arg-type]
    assert Permissions([Grant(*has)]).beyond_grants([wanted]) == ([wanted.permission] if beyond else [])  # type: ignore[arg-type]


@given(grants, st.none() | scopes)
def test_what_is_listed_as_effective_is_exactly_what_is_let_through(
    own: list[Grant], through: list[str] | None
) -> None:
    who = Permissions(own, through)
    listed = {grant.permission: grant.reach for grant in who.effective()}
    assert listed == {wanted: reach for wanted in ALL if (reach := who.reach(wanted)) is not None}
    assert [grant.permission.partition(":")[0] for grant in who.effective()] == sorted(
        grant.permission.partition(":")[0] for grant in who.effective()
    )


@given(grants, permission)
def test_the_widest_grant_decides_the_reach(granted: list[Grant], wanted: str) -> None:
    wide = [grant.reach for grant in granted if includes(grant.permission, wanted)]
    found = Permissions(granted).reach(wanted)
    assert (found is None) == (not wide)
    assert all(found is not None and reaches(found, reach) for reach in wide)


@given(grants, st.none() | scopes, scopes, permission)
def test_what_is_handed_on_is_held(granted: list[Grant], own: list[str] | None, asked: list[str], wanted: str) -> None:
    """A token made with scopes that `beyond` lets pass can do nothing that its maker cannot."""
    maker = Permissions(granted, own)
    passed = [scope for scope in asked if scope not in maker.beyond(asked)]
    if Permissions(granted, passed).reach(wanted) is not None:
        assert maker.reach(wanted) is not None


def test_a_refusal_names_a_tokens_scopes_or_the_roles_grants() -> None:
    granted = [Grant("users:read", "own"), Grant("*", "all"), Grant("*", "own")]
    assert Permissions(granted).held() == ["*", "users:read"]
    assert Permissions(granted, ["tokens:read", "packages:read"]).held() == ["packages:read", "tokens:read"]
    assert Permissions(granted, []).held() == []
    assert Permissions(granted, []).reach("users:read") is None
