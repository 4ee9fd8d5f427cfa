"""A route that clients know and this version does not have: told in the client's own dialect, not by a bare 404."""

from aiohttp import web

from ktd.daemon.errors import NotSupported


async def transcriptions(_: web.Request) -> web.Response:
    raise NotSupported("this version of ktd does not transcribe audio")
