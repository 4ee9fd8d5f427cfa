"""Doors: every connection comes through one, which closes it when its client keeps the daemon waiting.

aiohttp alone waits for ever: for the first request of a connection, for the rest of a body, for a client that does
not read its answer. A connection that is closed here ends its request as any closed connection does.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiohttp import ClientConnectionResetError, StreamReader, web
from aiohttp.typedefs import Handler

HEAD_SECONDS = 20.0  # from a connection's beginning to the end of its first request's headers
IDLE_SECONDS = 75.0  # from one answer to the end of the next request's headers
SILENCE_SECONDS = 60.0  # without a byte of an upload, or of an answer that is to be taken
FULL = b'{"error":"server busy, please try again.  too many connections"}'
REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(FULL), FULL)
)


class Doors:
    """Makes the protocol of each connection. No more than `limit` get in."""

    def __init__(self, inside: Callable[[], asyncio.Protocol], limit: int) -> None:
        self._inside = inside
        self._limit = limit
        self._open: set[Door] = set()

    def __call__(self) -> "Door":
        return Door(self)

    def enter(self, door: "Door") -> asyncio.Protocol | None:
        """What is behind the door; None when there is no room."""
        if len(self._open) >= self._limit:
            return None
        self._open.add(door)
        return self._inside()

    def leave(self, door: "Door") -> None:
        self._open.discard(door)


class Fuse:
    """Does something after a time, unless it is put out before."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def light(self, seconds: float, end: Callable[[], None]) -> None:
        self.put_out()
        self._timer = asyncio.get_running_loop().call_later(seconds, end)

    def put_out(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Door(asyncio.Protocol):
    """Hands everything through, and watches the clock."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors
        self._inner: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._head, self._body, self._answer = Fuse(), Fuse(), Fuse()
        self._heard = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._inner = self._doors.enter(self)
        if self._inner is None:
            transport.write(REFUSAL)
            transport.close()
            return
        self._head.light(HEAD_SECONDS, transport.abort)
        self._inner.connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        for fuse in (self._head, self._body, self._answer):
            fuse.put_out()
        self._doors.leave(self)
        if self._inner is not None:
            self._inner.connection_lost(error)

    def data_received(self, data: bytes) -> None:
        self._heard = asyncio.get_running_loop().time()
        if self._inner is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._inner is None else self._inner.eof_received()

    def pause_writing(self) -> None:
        """The client has not taken what was written before."""
        if self._inner is not None and self._transport is not None:
            self._answer.light(SILENCE_SECONDS, self._transport.abort)
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._answer.put_out()
        if self._inner is not None:
            self._inner.resume_writing()

    def welcome(self) -> None:
        """The headers of a request have come."""
        self._head.put_out()

    @contextmanager
    def listening(self, body: StreamReader) -> Iterator[None]:
        """Close the connection when bytes of the body stay away too long."""
        self._heard = asyncio.get_running_loop().time()
        self._listen(body)
        try:
            yield
        finally:
            self._body.put_out()

    def _listen(self, body: StreamReader) -> None:
        left = self._heard + SILENCE_SECONDS - asyncio.get_running_loop().time()
        if body.is_eof() or self._transport is None:
            return
        if left > 0:
            self._body.light(left, lambda: self._listen(body))
        else:
            self._transport.abort()


@web.middleware
async def welcome(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tells the door that its client has said what it wants."""
    door_of(request).welcome()
    return await handler(request)


def door_of(request: web.Request) -> Door:
    """Raises ClientConnectionResetError when the client has gone."""
    if request.transport is None:
        raise ClientConnectionResetError("the client has gone")
    door = request.transport.get_protocol()
    assert isinstance(door, Door)
    return door
