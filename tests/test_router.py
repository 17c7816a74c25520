"""The routing index: it decides as Starlette's own linear scan does, and adds aliases, trailing slashes and Allow."""

import random
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any

import anyio
import pytest
from starlette.routing import BaseRoute, Match, Mount, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from app.errors import StartError
from app.web.router import IndexRouter, starlette_path

WORDS = ("packages", "tokens", "users", "files", "all", "log", "me", "v1", "{x}")
PARAMETERS = ("{id:id}", "{name}", "{number:int}", "{file}.{ext}", "v{n:int}")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
VALUES = ("1", "42", "0", "9" * 18, "9" * 19, "all", "me", "a.b", "v7", "ü", "a b", "%41", "", ".", "-1", "1\n", "{x}")


async def _endpoint(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("only the decision is looked at")


class Told(Exception):
    """What a router decided: a status, and for a found route which one with which parameters."""

    def __init__(self, *decision: object) -> None:
        self.decision = decision


class Telling(Route):
    """A route that tells instead of answering."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.methods and scope["method"] not in self.methods:
            raise Told(405, scope["route"].path)
        raise Told(200, scope["route"].path, scope["endpoint"] is self.endpoint, scope["path_params"])


class TellingMount(Mount):
    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise Told(200, self.path, scope["root_path"])


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    raise Told(404)


async def _wrong_method(scope: Scope, receive: Receive, send: Send) -> None:
    raise Told(405, scope["route"].path)


def indexed(routes: list[BaseRoute], **aliases: str) -> IndexRouter:
    def lifespan(_: Any) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    return IndexRouter(routes, not_found=_nothing, not_allowed=_wrong_method, aliases=aliases, lifespan=lifespan)


async def _receive() -> Any:
    raise AssertionError


async def _send(message: Any) -> None:
    raise AssertionError


async def decided(router: ASGIApp, method: str, path: str, root_path: str = "") -> tuple[object, ...]:
    scope = {"type": "http", "method": method, "path": root_path + path, "root_path": root_path, "headers": []}
    try:
        await router(scope, _receive, _send)
    except Told as told:
        return told.decision
    raise AssertionError("nothing was decided")


def some_path(dice: random.Random) -> str:
    depth = dice.randint(0, 5)
    words = [dice.choice(PARAMETERS) if dice.random() < 0.35 else dice.choice(WORDS[:-1]) for _ in range(depth)]
    if dice.random() < 0.06:
        words.append("{rest:path}")
    return "/" + "/".join(_numbered(word, at) for at, word in enumerate(words))


def _numbered(word: str, at: int) -> str:
    """Parameter names must differ within one path."""
    for name in ("id", "name", "number", "file", "ext", "n", "rest"):
        word = word.replace(f"{{{name}:", f"{{{name}{at}:").replace(f"{{{name}}}", f"{{{name}{at}}}")
    return word


def some_table(dice: random.Random, size: int) -> list[tuple[str, list[str] | None]]:
    return [
        (some_path(dice), dice.sample(METHODS, dice.randint(1, 3)) if dice.random() < 0.95 else None)
        for _ in range(size)
    ]


def some_request(dice: random.Random, table: list[tuple[str, list[str] | None]]) -> tuple[str, str]:
    method = dice.choice((*METHODS, "HEAD", "OPTIONS", "BREW"))
    if dice.random() < 0.2:
        return method, "/" + "/".join(dice.choice((*WORDS, *VALUES)) for _ in range(dice.randint(0, 6)))
    segments = [
        dice.choice(VALUES) if "{" in segment or dice.random() < 0.05 else segment
        for segment in dice.choice(table)[0].split("/")[1:]
    ]
    return method, "/" + "/".join(segments)


# A newline at the very end of a path is where Python's `$` matches too early, and stock routing with it: it is not
# found here, and found there; and a trailing slash is taken off here.
def comparable(path: str) -> bool:
    return not path.endswith("\n") and (path == "/" or not path.endswith("/"))


@pytest.mark.parametrize("seed", range(8))
async def test_the_index_decides_as_stock_routing_does(seed: int) -> None:
    """Status, route, endpoint and parameters are the same for a thousand requests over a random table of routes."""
    dice = random.Random(seed)
    table = some_table(dice, 120)
    routes: list[BaseRoute] = [Telling(path, _endpoint, methods=methods) for path, methods in table]
    stock = Router(routes, redirect_slashes=False, default=_nothing)
    index = indexed(routes)
    asked = [request for _ in range(1000) if comparable((request := some_request(dice, table))[1])]
    seen = set()
    for method, path in asked:
        expected = await decided(stock, method, path)
        assert await decided(index, method, path) == expected, (method, path)
        assert await decided(index, method, path, "/box") == expected, (method, path)
        seen.add(expected[0])
    assert seen == {200, 404, 405}
    assert len(asked) > 700


async def test_a_route_that_is_added_later_is_found_in_its_place() -> None:
    index = indexed([Telling("/a/{x}", _endpoint)])
    assert await decided(index, "GET", "/b") == (404,)
    index.routes.append(Telling("/b", _endpoint))
    index.routes.append(Telling("/a/c", _endpoint))
    assert (await decided(index, "GET", "/b"))[:2] == (200, "/b")
    assert (await decided(index, "GET", "/a/c"))[:2] == (200, "/a/{x}")


async def test_a_mount_that_a_host_adds_is_tried_in_its_place() -> None:
    index = indexed([Telling("/a", _endpoint), TellingMount("/m", app=_nothing), Telling("/m/x", _endpoint)])
    assert (await decided(index, "GET", "/a"))[:2] == (200, "/a")
    assert await decided(index, "GET", "/m/x") == (200, "/m", "/m")


@pytest.mark.parametrize("path", ["/packages/7/", "/packages/7//", "/package/7", "/package/7/"])
async def test_slashes_at_the_end_and_aliases_lead_to_the_same_route(path: str) -> None:
    index = indexed([Telling(starlette_path("/packages/{id}"), _endpoint)], **{"/package": "/packages"})
    for root_path in ("", "/box", "/package"):
        assert await decided(index, "GET", path, root_path) == (200, "/packages/{id:id}", True, {"id": 7})


async def test_an_alias_is_a_whole_segment_and_never_hides_a_route() -> None:
    index = indexed([Telling("/packages", _endpoint), Telling("/old/kept", _endpoint)], **{"/old": "/packages"})
    assert (await decided(index, "GET", "/old"))[:2] == (200, "/packages")
    assert (await decided(index, "GET", "/old/kept"))[:2] == (200, "/old/kept")
    assert await decided(index, "GET", "/older") == (404,)
    assert await decided(index, "GET", "/old/other") == (404,)


async def test_all_methods_of_a_path_are_allowed_whichever_route_takes_them() -> None:
    said: list[list[str]] = []

    async def not_allowed(scope: Scope, receive: Receive, send: Send) -> None:
        said.append(scope["allow"])

    routes = [Telling("/a/{x}", _endpoint, methods=["GET"]), Telling("/a/b", _endpoint, methods=["DELETE", "PATCH"])]
    index = IndexRouter(
        routes, not_found=_nothing, not_allowed=not_allowed, aliases={}, lifespan=lambda _: nullcontext()
    )
    for path in ("/a/b", "/a/c"):
        await index({"type": "http", "method": "PUT", "path": path, "headers": []}, _receive, _send)
    assert said == [["DELETE", "GET", "HEAD", "PATCH"], ["GET", "HEAD"]]


@pytest.mark.parametrize(
    ("text", "status"),
    [
        *[("0", 200), ("7", 200), ("007", 200), ("9" * 18, 200), ("9" * 19, 404), ("9" * 30, 404), ("", 404)],
        *[("-1", 404), ("+1", 404), ("1.0", 404), ("1e3", 404), ("٧", 404), ("1 ", 404), ("1\n", 404)],
        *[("12\n", 404), ("1\0", 404)],
    ],
)
async def test_an_id_is_1_to_18_digits(text: str, status: int) -> None:
    index = indexed([Telling(starlette_path("/packages/{id}"), _endpoint)])
    assert (await decided(index, "GET", f"/packages/{text}"))[0] == status


def test_only_ids_get_the_convertor_of_ids() -> None:
    assert starlette_path("/a/{id}/b/{user_id}/{name}/{idea}") == "/a/{id:id}/b/{user_id:id}/{name}/{idea}"
    assert Route(starlette_path("/a/{id}"), _endpoint, name="a").url_path_for("a", id=7) == "/a/7"


async def test_the_last_of_many_routes_is_looked_up_not_searched_for() -> None:
    """Of 500 routes one is looked at, wherever it stands in the table, and none for a path that nobody takes."""
    routes: list[BaseRoute] = [Telling(f"/room{number}/{{id:id}}", _endpoint) for number in range(500)]
    index = indexed(routes)
    tried = 0
    matches = Telling.matches

    def counted(self: Telling, scope: Scope) -> tuple[Match, Scope]:
        nonlocal tried
        tried += 1
        return matches(self, scope)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Telling, "matches", counted)
        for number in (0, 499):
            await decided(index, "GET", f"/room{number}/1")
        await decided(index, "GET", "/room499/1/2/3")
    assert tried == 2


async def test_a_failing_lifespan_tells_a_start_error_in_one_line_and_raises_anything_else() -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        await anyio.lowlevel.checkpoint()
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    def failing(error: Exception) -> IndexRouter:
        class Lifespan:
            async def __aenter__(self) -> None:
                raise error

            async def __aexit__(self, *_: object) -> None:
                return None

        return IndexRouter([], not_found=_nothing, not_allowed=_nothing, aliases={}, lifespan=lambda _: Lifespan())

    await failing(StartError("no disk"))({"type": "lifespan"}, receive, send)
    assert sent == [{"type": "lifespan.startup.failed", "message": "no disk"}]
    with pytest.raises(KeyError):
        await failing(KeyError("x"))({"type": "lifespan"}, receive, send)
    assert sent[1:] == [{"type": "lifespan.startup.failed", "message": "KeyError: 'x'"}]
