"""The yardstick of transfers: a bare Starlette file response, and an upload written to a file as it comes."""

import os
import tempfile
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

FOLDER = Path(os.environ.get("BARE_FOLDER", tempfile.gettempdir()))


async def download(request: Request) -> FileResponse:
    return FileResponse(FOLDER / "file")


async def upload(request: Request) -> Response:
    with (FOLDER / "uploaded").open("wb") as file:
        async for chunk in request.stream():
            file.write(chunk)
    return Response(status_code=201)


async def hello(request: Request) -> Response:
    return Response("hello")


app = Starlette(routes=[Route("/", hello), Route("/file", download), Route("/upload", upload, methods=["PUT"])])
