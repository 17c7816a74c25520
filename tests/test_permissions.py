"""The permission language: pure rules, as tables, then as laws that hold for anything hypothesis can think of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.permissions import (
    ALIASES,
    LADDER,
    LADDERS,
    REACHES,
    RESOURCES,
    ROLES,
    Grant,
    Permissions,
    covers,
    includes,
    normalise,
    reaches,
)

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


def test_the_super_admin_may_do_everything_everywhere() -> None:
    assert {Permissions(ROLES["super_admin"]).reach(wanted) for wanted in ALL} == {"all"}


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
