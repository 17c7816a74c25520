"""Who acts: the account behind a call, with its permissions, and the call itself as plain values."""

from collections.abc import Sequence

import msgspec

from app.errors import Forbidden
from app.permissions import Permissions, Reach
from app.values import Network

CALLERS = "callers"
"""Message after commit: something changed that decides who somebody is or what they may do; the key is a user's id."""


class Identity(msgspec.Struct, frozen=True):
    """A signed-in caller, as looked up once and cached: nothing in it belongs to one request."""

    user_id: int
    user_name: str
    permissions: Permissions
    token_id: int | None = None
    token_name: str | None = None
    session_id: int | None = None
    expires_at: str | None = None
    group_id: int | None = None
    networks: tuple[Network, ...] | None = None
    """Where a token may be used from; None for anywhere."""


class Call(msgspec.Struct, gc=False):
    """One request as values that a transaction may take: never the request itself."""

    request_id: str
    ip: str
    method: str
    path: str
    route: str = ""
    status: int = 0
    """The status that the route declares for success: what a write's own audit row says."""


class Actor(msgspec.Struct, frozen=True, gc=False):
    """An identity acting through one call. `call` is None where the appliance itself or an offline command acts."""

    who: Identity
    call: Call | None = None

    @property
    def user_id(self) -> int:
        return self.who.user_id

    @property
    def permissions(self) -> Permissions:
        return self.who.permissions

    @property
    def beside_the_call(self) -> "Actor":
        """The same account, for what follows from a call and is told beside its one row."""
        return Actor(Identity(self.who.user_id, self.who.user_name, self.permissions, group_id=self.who.group_id))

    def reach(self, wanted: str) -> Reach:
        """How far the actor may do what the route's guard has let through; `own` at the least."""
        return self.who.permissions.reach(wanted) or "own"

    def within(self, permission: str) -> dict[str, object]:
        """The parameters that keep a statement to what the actor reaches with this permission, by who owns it."""
        reach = self.reach(permission)
        group_id = self.who.group_id if reach == "group" else None
        return {"everyone": reach == "all", "self_id": self.user_id, "own_group_id": group_id}

    def lacks(self, required: Sequence[str], why: str) -> Forbidden:
        """The refusal of what needs more than the actor holds."""
        return Forbidden(why, required=list(required), held=self.who.permissions.held())


EVERYBODY: dict[str, object] = {"everyone": 1, "self_id": 0, "own_group_id": None}
"""What `Actor.within` gives, for statements that shall leave nobody out."""

APPLIANCE = Actor(Identity(0, "purser", Permissions(())))
"""Who acts when something happens by itself: a build ends, a mail leaves."""
