"""GET and POST /api/downloads, which are ktd's own: unfinished downloads, and what is to become of them."""

import asyncio

from aiohttp import web

from ktd.daemon import keys, replies
from ktd.daemon.errors import BadRequest
from ktd.daemon.wire import pulls, to_ollama
from ktd.daemon.wire.decode import decode
from ktd.registry.errors import InvalidName
from ktd.registry.names import ModelName
from ktd.registry.pulls.journal import Unfinished


async def unfinished(request: web.Request) -> web.Response:
    found = await asyncio.to_thread(request.app[keys.PULLS].unfinished)
    return replies.json(pulls.Downloads([_state(one, received) for one, received in found]))


async def change(request: web.Request) -> web.Response:
    body = decode(await request.read(), pulls.DownloadRequest)
    running = request.app[keys.PULLS]
    actions = {"pause": running.pause, "resume": running.resume, "cancel": running.cancel}
    if body.action not in actions:
        raise BadRequest(f"action must be one of {', '.join(actions)}")
    try:
        name = ModelName.parse(body.model)
    except InvalidName as error:
        raise BadRequest("invalid model name") from error
    await asyncio.to_thread(actions[body.action], name)
    return web.Response()


def _state(one: Unfinished, received: int) -> pulls.DownloadState:
    return pulls.DownloadState(
        model=str(one.request.name),
        state=one.state,
        completed=received,
        total=one.total,
        updated_at=to_ollama.timestamp(one.updated_at),
        error=one.error or "",
    )
