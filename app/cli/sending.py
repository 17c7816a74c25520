"""Sending requests whose bodies may be long, and may be refused while they are on their way."""

import http.client
import select
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from app.cli.outcomes import NotPurser

KEPT_BYTES = 128 * 1024
REFUSAL_S = 2.0
"""So long an answer is waited for when sending has failed: it is there already, or there is none."""


@dataclass(frozen=True)
class Upload:
    """A body that is sent as it is read. `length` is in bytes, None where nobody knows it.

    `pieces` gives the bytes from the first one on, more than once if it `rewinds`; it raises a Failure, never OSError.
    """

    pieces: Callable[[], Iterator[bytes]]
    length: int | None
    rewinds: bool


class _Answered(Exception):
    """The answer has come before everything was sent."""


def response_to(
    connection: http.client.HTTPConnection, method: str, target: str, body: object, headers: Mapping[str, str]
) -> http.client.HTTPResponse:
    """Sends a request and returns the response. Who refuses a body stops reading it: then the answer says why.

    `body` is an Upload, or what becomes JSON; None: there is none.
    """
    try:
        if isinstance(body, Upload):
            _send(connection, method, target, body, headers)
        else:
            connection.request(method, target, None if body is None else msgspec.json.encode(body), headers)
    except (_Answered, OSError) as stopped:
        if connection.sock is None:  # there was never a connection
            raise
        return _early(connection, stopped)
    return connection.getresponse()


def _send(
    connection: http.client.HTTPConnection, method: str, target: str, body: Upload, headers: Mapping[str, str]
) -> None:
    """Sends a request with a body that is read meanwhile; _Answered when the server has something to say before."""
    connection.putrequest(method, target)
    length = ("Transfer-Encoding", "chunked") if body.length is None else ("Content-Length", str(body.length))
    for name, value in (*headers.items(), length):
        connection.putheader(name, value)
    connection.endheaders()
    _keep_little(connection.sock)
    for piece in body.pieces():
        _push(connection, piece if body.length is not None else b"%X\r\n%b\r\n" % (len(piece), piece))
    if body.length is None:
        _push(connection, b"0\r\n\r\n")


def _keep_little(sock: socket.socket) -> None:
    """Has the system take no more than it can send soon: what it keeps counts as sent, and takes long to get there."""
    if sock.family != socket.AF_UNIX:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, KEPT_BYTES)


def _push(connection: http.client.HTTPConnection, content: bytes) -> None:
    """Sends so much of a body as soon as it can be sent; _Answered when something comes from the server instead.

    Below TLS nobody can tell, since what comes may be tickets: there the server has to hang up.
    """
    sock: socket.socket = connection.sock
    if isinstance(connection, http.client.HTTPSConnection):
        sock.sendall(content)
        return
    moves = select.poll()
    moves.register(sock, select.POLLIN | select.POLLOUT)
    timeout_s = sock.gettimeout()
    left = memoryview(content)
    while left:
        found = moves.poll(None if timeout_s is None else timeout_s * 1000)
        if not found:
            raise TimeoutError
        if found[0][1] != select.POLLOUT:
            raise _Answered
        left = left[sock.send(left) :]


def _early(connection: http.client.HTTPConnection, stopped: Exception) -> http.client.HTTPResponse:
    """The refusal of a request that was not sent to its end; raises what stopped the sending when there is none."""
    try:
        connection.sock.settimeout(REFUSAL_S)
        response = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        raise (error if isinstance(stopped, _Answered) else stopped) from None
    if response.status < 400:
        raise NotPurser("it answers before it has everything")
    return response
