"""POST /api/verify and /api/prune, which are ktd's own: whether files are sound, and which of them nothing uses."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

from ktd.daemon import keys, replies
from ktd.daemon.bodies import body_of
from ktd.daemon.errors import BadRequest
from ktd.daemon.routes.pull import FORM
from ktd.daemon.streams import stream
from ktd.daemon.wire import pulls
from ktd.daemon.wire.decode import decode
from ktd.registry.news import Said


async def verify(request: web.Request) -> web.StreamResponse:
    body = decode(body_of(request), pulls.VerifyRequest)
    if body.model:
        await asyncio.to_thread(request.app[keys.REGISTRY].find, body.model)
    return await stream(request, _lines(request.app, body), FORM)


async def prune(request: web.Request) -> web.Response:
    body = decode(body_of(request) or b"{}", pulls.PruneRequest)
    if request.app[keys.PULLS].busy:
        raise BadRequest("a download is running; wait for it, or pause it first")
    files, freed = await asyncio.to_thread(request.app[keys.REGISTRY].prune, body.downloads)
    return replies.json(pulls.Pruned(freed, files))


async def _lines(app: web.Application, body: pulls.VerifyRequest) -> AsyncGenerator[pulls.Status, None]:
    async with aclosing(app[keys.VERIFIER].run(body.model or None, body.repair)) as events:
        async for event in events:
            if isinstance(event, Said):
                yield pulls.Status(event.status)
            else:
                status, digest = f"verifying {event.digest[:12]}", f"sha256:{event.digest}"
                yield pulls.Status(status, digest, event.size, event.received, event.path)
    yield pulls.Status("success")
