"""Routes that say that the daemon is there."""

from aiohttp import web

from ktd import __version__
from ktd.daemon import replies

OLLAMA_LEVEL = "0.14.0"  # whose API this is: clients compare it, as a bare version
SERVER = f"ktd/{__version__}"


async def root(_: web.Request) -> web.Response:
    return web.Response(text="Ollama is running")  # some clients look for these very words


async def version(_: web.Request) -> web.Response:
    return replies.json({"version": OLLAMA_LEVEL, "ktd": __version__})
