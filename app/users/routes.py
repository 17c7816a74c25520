"""Accounts over HTTP: /api/v1/users."""

from starlette.requests import Request
from starlette.responses import Response

from app.passwords import check
from app.users import accounts
from app.users.structs import (
    BatchDelete,
    BatchDeleted,
    GroupSet,
    Me,
    PasswordPatch,
    Register,
    StatusPatch,
    User,
    UserCreate,
    UserFilter,
    UserPatch,
)
from app.web.access import PUBLIC, SIGNED_IN, route
from app.web.asked import (
    actor,
    caller,
    credential,
    database,
    etag,
    if_match,
    is_local,
    item,
    location,
    passwords,
    quota,
)
from app.web.codec import body, query, respond
from app.web.paging import listing, position


async def index(request: Request) -> Response:
    wanted = query(request, UserFilter)
    after = position(request, wanted, tuple[str, int])
    db, who = database(request), actor(request)
    return await listing(
        request,
        wanted,
        rows=lambda limit: db.read(accounts.page, who, wanted, after, limit),
        total=lambda: db.read(accounts.count, who, wanted),
        at=lambda user: accounts.place(wanted, user),
    )


async def create(request: Request) -> Response:
    new = await body(request, UserCreate)
    accounts.named(new)
    check(new.password, field="/password", email=new.email, username=accounts.username_of(new))
    hashed = await passwords(request).hash(new.password, caller(request))
    user = await database(request).write(accounts.create, actor(request), new, hashed)
    return respond(user, 201, location(request, f"/users/{user.id}"), etag(user.revision))


async def register(request: Request) -> Response:
    new = await body(request, Register)
    accounts.named(new)
    check(new.password, field="/password", email=new.email, username=accounts.username_of(new))
    db, call = database(request), credential(request).call
    policy, local = request.app.state.config.registration, is_local(request)
    await db.read(accounts.may_register, policy, local=local)
    hashed = await passwords(request).hash(new.password, caller(request))
    user = await db.write(accounts.register, call, new, hashed, policy, local=local)
    return respond(user, 201, location(request, f"/users/{user.id}"), etag(user.revision))


async def show(request: Request) -> Response:
    user = await database(request).read(accounts.get, actor(request), item(request))
    return respond(user, 200, etag(user.revision))


async def update(request: Request) -> Response:
    patch = await body(request, UserPatch)
    user = await database(request).write(accounts.update, actor(request), item(request), patch, if_match(request))
    return respond(user, 200, etag(user.revision))


async def remove(request: Request) -> Response:
    await database(request).write(accounts.remove, actor(request), item(request), if_match(request))
    return respond(None, 204)


async def remove_many(request: Request) -> Response:
    wanted = await body(request, BatchDelete)
    return respond(BatchDeleted(await database(request).write(accounts.remove_many, actor(request), wanted.ids)))


async def set_status(request: Request) -> Response:
    wanted = await body(request, StatusPatch)
    user = await database(request).write(
        accounts.set_status, actor(request), item(request), wanted.status, if_match(request)
    )
    return respond(user, 200, etag(user.revision))


async def set_group(request: Request) -> Response:
    wanted = await body(request, GroupSet)
    user = await database(request).write(
        accounts.set_group, actor(request), item(request), wanted.group_id, if_match(request)
    )
    return respond(user, 200, etag(user.revision))


async def reset_password(request: Request) -> Response:
    new = await body(request, PasswordPatch)
    db, who = database(request), actor(request)
    revision = if_match(request)
    found = await db.read(accounts.resettable, who, item(request), revision)
    check(new.password, field="/password", email=found.email, username=found.username)
    hashed = await passwords(request).hash(new.password, caller(request))
    await db.write(accounts.reset_password, who, item(request), hashed, revision)
    return respond({})


async def me(request: Request) -> Response:
    found = await database(request).read(accounts.me, actor(request), quota(request))
    return respond(found, 200, etag(found.revision))


async def update_me(request: Request) -> Response:
    patch = await body(request, UserPatch)
    user = await database(request).write(accounts.update_own, actor(request), patch, if_match(request))
    return respond(user, 200, etag(user.revision))


ROUTES = (
    route("POST", "/auth/register", register, PUBLIC, body=Register, answer=User, status=201),
    route("GET", "/users", index, "users:read", reach="group", query=UserFilter, answer=list[User]),
    route("POST", "/users", create, "users:write", reach="group", body=UserCreate, answer=User, status=201),
    route("POST", "/users/batch-delete", remove_many, "users:delete", body=BatchDelete, answer=BatchDeleted),
    *(
        line
        for path in ("/users/me", "/auth/me")
        for line in (
            route("GET", path, me, SIGNED_IN, scope="users:read", answer=Me),
            route("PATCH", path, update_me, "users:write", body=UserPatch, answer=User),
            route("PUT", path, update_me, "users:write", body=UserPatch, answer=User),
        )
    ),
    route("GET", "/users/{id}", show, "users:read", answer=User),
    route("PATCH", "/users/{id}", update, "users:write", body=UserPatch, answer=User),
    route("PUT", "/users/{id}", update, "users:write", body=UserPatch, answer=User),
    route("DELETE", "/users/{id}", remove, "users:delete", status=204),
    route("PATCH", "/users/{id}/status", set_status, "users:write", reach="group", body=StatusPatch, answer=User),
    route("PUT", "/users/{id}/group", set_group, "groups:write", reach="all", body=GroupSet, answer=User),
    route(
        "PATCH", "/users/{id}/password", reset_password, "users:write", reach="group", body=PasswordPatch, answer=dict
    ),
)
