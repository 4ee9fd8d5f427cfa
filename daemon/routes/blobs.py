"""HEAD and POST /api/blobs/{digest}: files that clients upload for /api/create."""

import asyncio

from aiohttp import web

from ktd.daemon import keys
from ktd.daemon.errors import BadRequest
from ktd.registry.blobs import digest_hex
from ktd.registry.errors import InvalidDigest
from ktd.registry.upload import Upload

GATHERED = 4 << 20  # bytes handed to the disk at a time


async def exists(request: web.Request) -> web.Response:
    digest = checked(request.match_info["digest"])
    there = await asyncio.to_thread(request.app[keys.REGISTRY].stored, digest)
    return web.Response(status=200 if there else 404)


async def upload(request: web.Request) -> web.Response:
    digest, registry = checked(request.match_info["digest"]), request.app[keys.REGISTRY]
    if await asyncio.to_thread(registry.stored, digest):
        await _drain(request)
        return web.Response(status=200)
    with Upload(registry.blobs, digest) as file:
        waiting = bytearray()
        async for chunk in request.content.iter_any():
            waiting += chunk
            if len(waiting) >= GATHERED:
                await asyncio.to_thread(file.write, bytes(waiting))
                waiting.clear()
        await asyncio.to_thread(file.write, bytes(waiting))
        await asyncio.to_thread(file.finish)
    return web.Response(status=201)


async def _drain(request: web.Request) -> None:
    async for _ in request.content.iter_any():
        pass


def checked(digest: str) -> str:
    """A client's digest as it is spelled here. Raises BadRequest."""
    try:
        return f"sha256:{digest_hex(digest.lower())}"
    except InvalidDigest as error:
        raise BadRequest("invalid digest format") from error
