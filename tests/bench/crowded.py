"""`pkgctl serve` with 130 further routes, as later rooms will bring them: the figures should not notice."""

import sys

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app.config import load
from app.main import create_app
from app.server import serve
from app.web.access import PUBLIC, Guarded, route
from app.web.codec import respond

EXTRA = 130


async def nothing(request: Request) -> Response:
    return respond({})


def main() -> int:
    config = load()
    app = create_app(config)
    some = app.router.routes[0]
    assert isinstance(some, Guarded)
    lines = [
        route("GET", f"/api/v1/room{n // 5}/{{id}}/{'abcde'[n % 5]}", nothing, PUBLIC, query=dict) for n in range(EXTRA)
    ]
    extra = [Guarded(msgspec.structs.replace(line), some.app.desk) for line in lines]
    app.router.routes[:0] = extra
    return serve(config, app=app)


sys.exit(main())
