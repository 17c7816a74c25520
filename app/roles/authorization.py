"""Why somebody may do something, or what is missing: the guard's own judgement, told in words."""

from app.actor import Actor
from app.db import Tx, load
from app.errors import Invalid, NotFound
from app.permissions import ADMIN, NEEDS_GROUP, Permissions, covers, includes, normalise
from app.roles.structs import Explanation, Granting, Question, TokenScopes
from app.users import service as users
from app.users.structs import Account

q = load("roles")


def explain(tx: Tx, actor: Actor, asked: Question) -> Explanation:
    """What the roles of an account within reach, and the scopes of a token of it, say to a permission."""
    try:
        wanted = normalise(asked.permission)
    except ValueError as error:
        raise Invalid.field("permission", f"{error}, not `{asked.permission}`") from None
    users.row_of(tx, asked.user_id, actor.within("users:admin"))
    who = users.account(tx, asked.user_id)
    token = _token(tx, asked)
    roles = users.roles_of(tx, who)
    grants = [grant for role in roles for grant in role.grants]
    missing = [*_of_account(who), *_of_token(tx, token, wanted)]
    reach = Permissions(grants).reach(wanted)
    if reach is None:
        missing.append(_of_roles(who, [role.name for role in roles], wanted))
    return Explanation(
        user_id=who.id,
        username=who.username,
        token_id=asked.token_id,
        permission=wanted,
        allowed=not missing,
        reach=None if missing else reach,
        roles=[
            Granting(role.name, grant.permission, grant.reach)
            for role in roles
            for grant in role.grants
            if includes(grant.permission, wanted)
        ],
        scopes=None if token is None else [scope for scope in token.scopes if includes(scope, wanted)],
        missing=missing,
    )


def _token(tx: Tx, asked: Question) -> TokenScopes | None:
    if asked.token_id is None:
        return None
    token = tx.one(q.scopes_of_token, TokenScopes, id=asked.token_id, user_id=asked.user_id)
    if token is None:
        raise NotFound("This account has no such token.")
    return token


def _of_account(who: Account) -> list[str]:
    return [] if who.status == "active" else [f"The account is {who.status}."]


def _of_token(tx: Tx, token: TokenScopes | None, wanted: str) -> list[str]:
    if token is None:
        return []
    missing = []
    if token.revoked_at is not None:
        missing.append("The token is revoked.")
    elif token.expires_at is not None and token.expires_at <= tx.now:
        missing.append("The token has expired.")
    if not covers(token.scopes, wanted):
        missing.append(f"None of the token's scopes ({', '.join(token.scopes)}) covers {wanted}.")
    return missing


def _of_roles(who: Account, roles: list[str], wanted: str) -> str:
    told = f"None of the roles ({', '.join(roles)}) grants {wanted}."
    if ADMIN in roles and who.group_id is None and wanted.partition(":")[0] in NEEDS_GROUP:
        told += " An admin holds it in a group, and this account belongs to none."
    return told
