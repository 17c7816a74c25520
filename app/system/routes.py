"""Health, readiness, version."""

import platform

from starlette.requests import Request
from starlette.responses import Response

from app import __version__
from app.mail import Stored
from app.system import service
from app.system.structs import Health, Hello, Readiness, Version
from app.web.access import PUBLIC, SIGNED_IN, route
from app.web.asked import database
from app.web.codec import respond


async def health(request: Request) -> Response:
    return respond(Health())


async def ready(request: Request) -> Response:
    answer = service.readiness(database(request), builder=request.app.state.packages.downloads.running)
    return respond(answer, 200 if answer.status == "ok" else 503)


async def hello(request: Request) -> Response:
    return respond(Hello())


async def version(request: Request) -> Response:
    return respond(service.version(__version__, platform.python_version(), database(request)))


async def outbox(request: Request) -> Response:
    """What waits to be taken: for super admins, since its codes set anybody's password."""
    return respond(await request.app.state.outbox.stored())


ROOT_ROUTES = (
    route("GET", "/health", health, PUBLIC, limited=False, answer=Health),
    route("GET", "/livez", health, PUBLIC, limited=False, answer=Health),
    route("GET", "/readyz", ready, PUBLIC, limited=False, answer=Readiness),
    route("GET", "/hello", hello, PUBLIC, answer=Hello),
)
ROUTES = (
    route("GET", "/version", version, SIGNED_IN, answer=Version),
    route("GET", "/system/outbox", outbox, "*", reach="all", answer=list[Stored]),
)
