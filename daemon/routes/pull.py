"""POST /api/pull: a model from a hub, with Ollama's lines of progress; and /api/push, which ktd does not do."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

from ktd.daemon import keys, replies
from ktd.daemon.bodies import body_of
from ktd.daemon.errors import BadRequest, Failure, PullFailed
from ktd.daemon.streams import ndjson, stream
from ktd.daemon.wire import pulls
from ktd.daemon.wire.decode import decode
from ktd.registry.errors import InvalidName, NotAtHub
from ktd.registry.names import ModelName
from ktd.registry.news import Arrived, Said
from ktd.registry.pulls.journal import Request
from ktd.registry.pulls.pulls import Event
from ktd.registry.sources.hubs import source_named

FORM = ndjson(replies.ollama_error)
MOST_PATTERNS = 100
PUSH = Failure(501, "ktd does not push models: use the hub's own tool (hf upload, modelscope upload)")


async def pull(request: web.Request) -> web.StreamResponse:
    body = decode(body_of(request), pulls.PullRequest)
    lines = pull_lines(request.app, wanted(body))
    if body.stream:
        return await stream(request, lines, FORM)
    async with aclosing(lines):
        async for _ in lines:
            pass
    return replies.json(pulls.Status("success"))


async def push(_: web.Request) -> web.Response:
    return replies.json(replies.ollama_error(PUSH), PUSH)


def wanted(body: pulls.PullRequest) -> Request:
    """Raises BadRequest."""
    try:
        name = ModelName.parse(body.model or body.name)
    except InvalidName as error:
        raise BadRequest("invalid model name") from error
    if len(body.include) + len(body.exclude) > MOST_PATTERNS:
        raise BadRequest(f"more than {MOST_PATTERNS} patterns")
    try:
        source = source_named(body.source) if body.source else None
    except InvalidName as error:
        raise BadRequest(str(error)) from error
    return Request(name, source, body.revision or None, tuple(body.include), tuple(body.exclude), body.token or None)


async def pull_lines(app: web.Application, request: Request) -> AsyncGenerator[pulls.Status, None]:
    """Raises PullFailed where Ollama has words for it, else RegistryErrors."""
    events = app[keys.PULLS].follow(request)
    try:
        async with aclosing(events):
            async for event in events:
                yield _line(event)
    except NotAtHub as error:
        raise PullFailed(f"pull model manifest: file does not exist: {error}") from error


def _line(event: Event) -> pulls.Status:
    match event:
        case Said():
            return pulls.Status(event.status)
        case Arrived():
            status = f"pulling {event.digest[:12]}"
            return pulls.Status(status, f"sha256:{event.digest}", event.size, event.received, event.path)
    return pulls.Status("success")
