"""Routes for the machine's own command line: they take and give paths, so only the same user may call them.

A client proves that by what only this user can read, the key in the daemon's folder; web pages never get this far.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from ipaddress import ip_address
from pathlib import Path

from aiohttp import hdrs, web

from ktd.daemon import keys, replies
from ktd.daemon.access import LOCAL_KEY_HEADER
from ktd.daemon.bodies import body_of
from ktd.daemon.chores import Cancelled, Chores, Tell, Work
from ktd.daemon.errors import BadRequest, Forbidden
from ktd.daemon.routes.find import present
from ktd.daemon.streams import ndjson, stream
from ktd.daemon.wire import ollama
from ktd.daemon.wire.decode import decode
from ktd.registry.news import Step
from ktd.registry.record import ModelRecord
from ktd.registry.store import Registry

FORM = ndjson(replies.ollama_error)


async def import_model(request: web.Request) -> web.StreamResponse:
    _require_same_user(request)
    body = decode(body_of(request), ollama.ImportRequest)
    work = _work(request.app[keys.REGISTRY], body)
    return await stream(request, _lines(request.app[keys.IMPORTS], work), FORM)


async def files(request: web.Request) -> web.Response:
    """The absolute paths of a model's shards, in order."""
    _require_same_user(request)
    record = await present(request.app, request.query.get("model", ""))
    return replies.json({"files": [str(path) for path in record.files]})


def _require_same_user(request: web.Request) -> None:
    peer = request.get_extra_info("peername")
    local = isinstance(peer, tuple) and ip_address(peer[0]).is_loopback
    key = request.headers.get(LOCAL_KEY_HEADER, "")
    if not local or hdrs.ORIGIN in request.headers or not request.app[keys.LOCAL_KEY].opens(key):
        raise Forbidden("only the ktd command of the user who runs the daemon, on the same machine, may do this")


def _work(registry: Registry, body: ollama.ImportRequest) -> Work:
    """Raises BadRequest."""
    if body.demo:
        return lambda tell, cancelled: registry.restore_demo()
    if not body.paths:
        raise BadRequest("paths is required")
    paths = [_absolute(path) for path in body.paths]
    config = _absolute(body.config) if body.config else None

    def work(tell: Tell, cancelled: Cancelled) -> ModelRecord:
        def progress(done: int, total: int) -> None:
            tell(Step("verifying", done, total))

        return registry.import_files(paths, body.name or None, config, progress, cancelled)

    return work


def _absolute(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute() or "\0" in text:
        raise BadRequest(f"{text!r} is not an absolute path")
    return path


async def _lines(imports: Chores, work: Work) -> AsyncGenerator[ollama.ImportStatus, None]:
    async with aclosing(imports.run(work)) as news:
        async for one in news:
            if isinstance(one, Step):
                yield ollama.ImportStatus(one.status, one.done, one.total)
            elif isinstance(one, ModelRecord):
                yield ollama.ImportStatus("success", model=str(one.name))
