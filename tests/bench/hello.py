"""The yardstick: a bare Starlette application with one route, as uvicorn serves it."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


async def hello(request: Request) -> JSONResponse:
    return JSONResponse({"message": "Hello World!"})


app = Starlette(routes=[Route("/", hello)])
