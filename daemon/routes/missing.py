"""Routes that clients know and ktd does not have: told in the client's own dialect, not by a bare 404."""

from aiohttp import web

from ktd.daemon import replies
from ktd.daemon.errors import Failure, NotSupported

CLOUD = Failure(404, "ktd has no cloud: models run on this machine only")


async def cloud(request: web.Request) -> web.Response:
    return replies.in_dialect(request.path, CLOUD)


async def transcriptions(_: web.Request) -> web.Response:
    raise NotSupported("this version of ktd does not transcribe audio")
