"""Routes that clients know and this version does not have: told in the client's own dialect, not by a bare 404."""

from aiohttp import web

from ktd.daemon.errors import NotSupported

ABSENT = {
    "/api/embed": "compute embeddings",
    "/api/embeddings": "compute embeddings",
    "/v1/embeddings": "compute embeddings",
    "/v1/audio/transcriptions": "transcribe audio",
}


async def absent(request: web.Request) -> web.Response:
    raise NotSupported(f"this version of ktd does not {ABSENT[request.path]}")
