"""GET and POST /api/downloads, which are ktd's own: unfinished downloads, and what is to become of them."""

import asyncio

from aiohttp import web

from ktd.daemon import keys, replies, values
from ktd.daemon.bodies import body_of
from ktd.daemon.errors import BadRequest
from ktd.daemon.wire import pulls, to_ollama
from ktd.daemon.wire.decode import decode
from ktd.registry.errors import InvalidName
from ktd.registry.names import ModelName
from ktd.registry.pulls.journal import Unfinished
from ktd.registry.pulls.limits import Limits

LIMIT = "limit"
MOST_CONNECTIONS = 64


async def unfinished(request: web.Request) -> web.Response:
    running = request.app[keys.PULLS]
    found = await asyncio.to_thread(running.unfinished)
    states = [_state(one, received) for one, received in found]
    return replies.json(pulls.Downloads(states, running.limits.rate or 0, running.limits.connections))


async def change(request: web.Request) -> web.Response:
    body = decode(body_of(request), pulls.DownloadRequest)
    running = request.app[keys.PULLS]
    if body.action == LIMIT:
        _limit(running.limits, body)
        return web.Response()
    actions = {"pause": running.pause, "resume": running.resume, "cancel": running.cancel}
    if body.action not in actions:
        raise BadRequest(f"action must be one of {', '.join([*actions, LIMIT])}")
    try:
        name = ModelName.parse(body.model)
    except InvalidName as error:
        raise BadRequest("invalid model name") from error
    await asyncio.to_thread(actions[body.action], name)
    return web.Response()


def _limit(limits: Limits, body: pulls.DownloadRequest) -> None:
    """From now on, and until the daemon ends. Raises BadRequest, and changes nothing then."""
    if body.connections is not None and not 1 <= body.connections <= MOST_CONNECTIONS:
        raise BadRequest(f"connections must be a number from 1 to {MOST_CONNECTIONS}")
    if body.rate is not None:
        try:
            limits.rate = values.rate(str(body.rate))
        except ValueError as error:
            raise BadRequest(f"rate is {error}") from error
    if body.connections is not None:
        limits.connections = body.connections


def _state(one: Unfinished, received: int) -> pulls.DownloadState:
    return pulls.DownloadState(
        model=str(one.request.name),
        state=one.state,
        completed=received,
        total=one.total,
        updated_at=to_ollama.timestamp(one.updated_at),
        error=one.error or "",
    )
