"""Bodies of requests: read before their handlers begin, and held in memory until they are answered."""

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ktd.daemon.door import door_of
from ktd.daemon.errors import Busy, TooSlow

SECONDS = 120.0  # for a body to arrive
LONGEST = 64 << 20  # bytes of one
MOST = 8 * LONGEST  # bytes of all together
UPLOADS = "/api/blobs/"  # go to disk as they come, as long as they go on
BODY = web.RequestKey("body", bytearray)


def body_of(request: web.Request) -> bytearray:
    found: bytearray = request.get(BODY, bytearray())
    return found


class Bodies:
    def __init__(self) -> None:
        self._held = 0  # bytes

    def middleware(self) -> Middleware:
        @web.middleware
        async def bodies(request: web.Request, handler: Handler) -> web.StreamResponse:
            """Raises TooSlow, Busy, or HTTPRequestEntityTooLarge."""
            if not request.can_read_body or request.match_info.http_exception is not None:  # no such route
                return await handler(request)
            if request.path.startswith(UPLOADS):
                with door_of(request).listening(request.content):
                    return await handler(request)
            body = request[BODY] = bytearray()
            try:
                await self._fill(body, request)
                return await handler(request)
            finally:
                self._held -= len(body)

        return bodies

    async def _fill(self, body: bytearray, request: web.Request) -> None:
        length = request.content_length or 0
        if length > LONGEST:
            raise web.HTTPRequestEntityTooLarge(LONGEST, length)
        try:
            async with asyncio.timeout(SECONDS):
                async for piece in request.content.iter_any():
                    self._held += len(piece)
                    body += piece
                    if len(body) > LONGEST:
                        raise web.HTTPRequestEntityTooLarge(LONGEST, len(body))
                    if self._held > MOST:
                        raise Busy
        except TimeoutError:
            raise TooSlow from None
