"""The permission language: `resource:action`, ladders of actions, reach. Pure functions from values to values.

A higher action includes the lower ones of the same resource and nothing of another. `users:*` is every action of a
resource, `*` everything. What a token may do is what its owner's roles allow, cut down to the token's scopes.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import msgspec

Reach = Literal["own", "group", "all"]
REACHES: tuple[Reach, ...] = get_args(Reach)

LADDER = ("read", "write", "delete", "admin")
LADDERS = {
    "fcs": ("read", "write", "analyze", "admin"),
    "packages": ("read", "write", "build", "activate", "admin"),
}
RESOURCES = frozenset(
    {"users", "roles", "groups", "teams", "tokens", "audit", "packages", "documents", "folders", "files", "messages"}
    | {"notifications", "calendar", "dashboard", "security", "analytics", "settings", "sites", "features", "streams"}
    | {"projects", "workspaces", "fcs", "system"}
)

ALIASES = {
    "view": "read",
    "list": "read",
    "create": "write",
    "update": "write",
    "edit": "write",
    "upload": "write",
    "send": "write",
    "manage": "admin",
}
PATTERN = re.compile(r"(\*|([a-z]+):(\*|[a-z]+))\Z")


class Grant(msgspec.Struct, frozen=True):
    """A permission (or wildcard) together with how far it reaches."""

    permission: str
    reach: Reach


SUPER_ADMIN, ADMIN, USER, GUEST = "super_admin", "admin", "user", "guest"
STANDING = (SUPER_ADMIN, ADMIN, USER, GUEST)
"""The built-in roles, the highest first; of several roles an account's first one is the highest of these."""

NARROWED = frozenset({"users", "tokens", "teams", "sites", "streams", "projects", "audit"})
"""What an admin who belongs to a group reaches within that group alone."""
NEEDS_GROUP = frozenset({"sites", "streams"})
"""What an admin without a group holds nothing of."""


def standing(role: str, grants: Sequence[Grant], *, grouped: bool) -> tuple[Grant, ...]:
    """What the grants of a role come to for an account: an admin's depend on whether the account has a group."""
    if role != ADMIN:
        return tuple(grants)
    found = []
    for grant in grants:
        resource = grant.permission.partition(":")[0]
        if grouped and resource in NARROWED and grant.reach == "all":
            found.append(Grant(grant.permission, "group"))
        elif grouped or resource not in NEEDS_GROUP:
            found.append(grant)
    return tuple(found)


def normalise(text: str) -> str:
    """The permission in its normal spelling (`files:upload` becomes `files:write`); ValueError says what is wrong."""
    match = PATTERN.match(text)
    if match is None:
        raise ValueError("expected `resource:action`, `resource:*` or `*`")
    if text == "*":
        return text
    resource, action = match.group(2), match.group(3)
    if resource not in RESOURCES:
        raise ValueError(f"there is no resource `{resource}`")
    action = ALIASES.get(action, action)
    if action != "*" and action not in LADDERS.get(resource, LADDER):
        raise ValueError(f"`{resource}` has no action `{action}`; it has {', '.join(LADDERS.get(resource, LADDER))}")
    return f"{resource}:{action}"


def includes(held: str, wanted: str) -> bool:
    """True when the permission `held` covers `wanted`; both in normal spelling."""
    if held in ("*", wanted):
        return True
    if wanted == "*":
        return False
    resource, action = held.split(":")
    wanted_resource, wanted_action = wanted.split(":")
    if resource != wanted_resource:
        return False
    if action == "*":
        return True
    ladder = LADDERS.get(resource, LADDER)
    return wanted_action != "*" and ladder.index(action) >= ladder.index(wanted_action)


def covers(scopes: Iterable[str], wanted: str) -> bool:
    """True when any of the scopes includes `wanted`."""
    return any(includes(scope, wanted) for scope in scopes)


class Permissions:
    """What one caller may do: the roles' grants, through a token only where its scopes cover them too."""

    __slots__ = ("_known", "grants", "scopes")

    def __init__(self, grants: Sequence[Grant], scopes: Sequence[str] | None = None) -> None:
        self.grants = tuple(grants)
        self.scopes = None if scopes is None else tuple(scopes)
        self._known: dict[str, Reach | None] = {}

    def reach(self, wanted: str) -> Reach | None:
        """How far the caller may do `wanted`; None when not at all."""
        try:
            return self._known[wanted]
        except KeyError:
            reach = self._known[wanted] = self._work_out(wanted)
            return reach

    def _work_out(self, wanted: str) -> Reach | None:
        if self.scopes is not None and not covers(self.scopes, wanted):
            return None
        reaches = [grant.reach for grant in self.grants if includes(grant.permission, wanted)]
        return max(reaches, key=REACHES.index, default=None)

    def held(self) -> list[str]:
        """The permissions to name in a refusal: a token's scopes, else what the roles grant."""
        return sorted(self.scopes) if self.scopes is not None else sorted({g.permission for g in self.grants})

    def own(self) -> list[str]:
        """The permissions to hand on when none are named: of scopes and grants those that hold as they are written."""
        written = {*(self.scopes or ()), *(grant.permission for grant in self.grants)}
        return sorted(permission for permission in written if self.reach(permission))

    def beyond(self, scopes: Iterable[str]) -> list[str]:
        """Those of the scopes that this caller may not hand on, because some of them is not theirs."""
        return [scope for scope in scopes if self.reach(scope) is None]

    def beyond_grants(self, grants: Iterable[Grant]) -> list[str]:
        """The permissions of those grants that go further than this caller's own, in action or in reach."""
        return [
            grant.permission
            for grant in grants
            if (reach := self.reach(grant.permission)) is None or not reaches(reach, grant.reach)
        ]

    def unscoped(self) -> "Permissions":
        """What the roles grant, whatever the scopes of the token in use."""
        return self if self.scopes is None else Permissions(self.grants)

    @property
    def everything(self) -> bool:
        """True for a super admin, through a token only when it has the scope `*`."""
        return self.reach("*") == "all"

    def effective(self) -> list[Grant]:
        """Every permission that the caller has, each action by name, with its reach."""
        wanted = (f"{resource}:{action}" for resource in sorted(RESOURCES) for action in LADDERS.get(resource, LADDER))
        return [Grant(permission, reach) for permission in wanted if (reach := self.reach(permission)) is not None]


def reaches(held: Reach, wanted: Reach) -> bool:
    """True when a reach is at least as wide as the wanted one."""
    return REACHES.index(held) >= REACHES.index(wanted)
