"""Routes that say that the daemon is there."""

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from ktd import __version__
from ktd.daemon import keys, replies
from ktd.daemon.errors import Failure

OLLAMA_LEVEL = "0.14.0"  # whose API this is: clients compare it, as a bare version
SERVER = f"ktd/{__version__}"


async def root(_: web.Request) -> web.Response:
    return web.Response(text="Ollama is running")  # some clients look for these very words


async def health(_: web.Request) -> web.Response:
    return replies.json({"status": "ok"})


async def metrics(request: web.Request) -> web.Response:
    return web.Response(body=request.app[keys.METRICS].text(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def status(_: web.Request) -> web.Response:
    """Ollama's clients ask whether models in the cloud are to be had: never here."""
    return replies.json({"cloud": {"disabled": True, "source": "none"}})


async def me(_: web.Request) -> web.Response:
    """Who is signed in at ollama.com: nobody, as there is no such thing here."""
    failure = Failure(401, "unauthorized: ktd has no accounts, and needs none")
    return replies.in_dialect("/api/me", failure)


async def version(_: web.Request) -> web.Response:
    return replies.json({"version": OLLAMA_LEVEL, "ktd": __version__})
