"""The routing index: from the literal segments of a path to its few candidate routes, then their own match decides.

A table of 130 routes costs a linear scan half of the throughput; the index costs the same for the first and the last.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from starlette._utils import get_route_path
from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import BaseRoute, Match, Route, Router
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from app.errors import StartError

_ID = re.compile(r"{((?:[a-z]+_)?id)}")


class IdConvertor(Convertor[int]):
    """1 to 18 digits: fits 64 bits, so a huge id is simply not found. The `$` behind it takes no newline."""

    regex = r"[0-9]{1,18}(?!\n)"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("id", IdConvertor())


def starlette_path(path: str) -> str:
    """`/packages/{id}` as Starlette wants it: ids get their convertor."""
    return _ID.sub(r"{\1:id}", path)


class _Node:
    """One segment of the tree: literal children, one for all parameters, the routes that end or run on here."""

    __slots__ = ("any", "ends", "literal", "rests")

    def __init__(self) -> None:
        self.literal: dict[str, _Node] = {}
        self.any: _Node | None = None
        self.ends: list[tuple[int, Route]] = []
        self.rests: list[tuple[int, BaseRoute]] = []

    def find(self, segments: Sequence[str], at: int, found: list[tuple[int, Any]]) -> None:
        """Adds every route that a path with these segments may match."""
        found.extend(self.rests)
        if at == len(segments):
            found.extend(self.ends)
            return
        child = self.literal.get(segments[at])
        if child is not None:
            child.find(segments, at + 1, found)
        if self.any is not None:
            self.any.find(segments, at + 1, found)


class IndexRouter(Router):
    """Starlette's Router with an index in place of the linear scan, aliases, and no redirects.

    `aliases` maps path prefixes to those they stand for; `not_found` and `not_allowed` answer what no route takes, the
    latter with `scope["allow"]`, all methods of the path.
    """

    def __init__(
        self,
        routes: Sequence[BaseRoute],
        *,
        not_found: ASGIApp,
        not_allowed: ASGIApp,
        aliases: Mapping[str, str],
        lifespan: Lifespan[Any],
    ) -> None:
        super().__init__(routes, redirect_slashes=False, default=not_found, lifespan=lifespan)
        self._not_allowed = not_allowed
        self._aliases = tuple(aliases.items())
        self._root = _Node()
        self._indexed = 0

    def _index(self) -> None:
        """Enters the routes that were added since the last time: an embedding host may add its own."""
        for number in range(self._indexed, len(self.routes)):
            route = self.routes[number]
            node = self._root
            path = route.path if isinstance(route, Route) else ""
            for segment in path.split("/")[1:] if path else ():
                if ":path}" in segment:
                    break
                if "{" in segment:
                    node.any = node = node.any or _Node()
                else:
                    node = node.literal.setdefault(segment, _Node())
            else:
                if path and isinstance(route, Route):
                    node.ends.append((number, route))
                    continue
            node.rests.append((number, route))
        self._indexed = len(self.routes)

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Routes one request, in the order of the table among those that match."""
        if scope["type"] == "lifespan":
            await self.lifespan(scope, receive, send)
            return
        if self._indexed != len(self.routes):
            self._index()
        path = get_route_path(scope)
        if await self._route(path, scope, receive, send):
            return
        other = self._canonical(path)
        if other != path:
            scope["path"] = scope.get("root_path", "") + other
            if await self._route(other, scope, receive, send):
                return
        await self.default(scope, receive, send)

    async def _route(self, path: str, scope: Scope, receive: Receive, send: Send) -> bool:
        found: list[tuple[int, Any]] = []
        self._root.find(path.split("/"), 1, found)
        if len(found) > 1:
            found.sort(key=_number)
        allowed: set[str] = set()
        for _, route in found:
            match, child_scope = route.matches(scope)
            if match is Match.FULL:
                scope["route"] = route
                scope.update(child_scope)
                await route.handle(scope, receive, send)
                return True
            if match is Match.PARTIAL:
                if not allowed:
                    scope["route"] = route
                allowed |= route.methods or set()
        if not allowed:
            return False
        scope["allow"] = sorted(allowed)
        await self._not_allowed(scope, receive, send)
        return True

    def _canonical(self, path: str) -> str:
        """The path without trailing slash, an alias replaced by what it stands for."""
        path = path.rstrip("/") or "/"
        for prefix, meant in self._aliases:
            if path == prefix or path.startswith(prefix + "/"):
                return meant + path[len(prefix) :]
        return path

    async def lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As Starlette's, but a StartError is told in one clear line instead of a traceback."""
        await receive()
        step = "startup"
        try:
            async with self.lifespan_context(scope.get("app")):
                await send({"type": "lifespan.startup.complete"})
                step = "shutdown"
                await receive()
        except StartError as error:
            await send({"type": f"lifespan.{step}.failed", "message": str(error)})
        except BaseException as error:
            await send({"type": f"lifespan.{step}.failed", "message": f"{type(error).__name__}: {error}"})
            raise
        else:
            await send({"type": "lifespan.shutdown.complete"})


def _number(entry: tuple[int, Any]) -> int:
    return entry[0]
