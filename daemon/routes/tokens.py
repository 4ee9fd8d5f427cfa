"""POST /api/tokenize and /api/detokenize, which are ktd's own: a model's tokens of a text, and the text of tokens."""

import time
from contextlib import AbstractAsyncContextManager

from aiohttp import web

from ktd.daemon import keys, replies
from ktd.daemon.bodies import body_of
from ktd.daemon.chat.options import terms
from ktd.daemon.engine_port import Worker
from ktd.daemon.errors import BadRequest
from ktd.daemon.routes.find import present
from ktd.daemon.wire import from_ollama, ollama
from ktd.daemon.wire.decode import decode
from ktd.engine.messages import Prompt


async def tokenize(request: web.Request) -> web.Response:
    body = decode(body_of(request), ollama.TokenizeRequest)
    began = time.monotonic_ns()
    async with await _leased(request.app, body) as worker:
        loaded = time.monotonic_ns()
        tokens = await worker.tokenize(Prompt(body.content or body.prompt), body.add_special)
    return replies.json(ollama.Tokens(body.model, list(tokens), time.monotonic_ns() - began, loaded - began))


async def detokenize(request: web.Request) -> web.Response:
    body = decode(body_of(request), ollama.DetokenizeRequest)
    began = time.monotonic_ns()
    async with await _leased(request.app, body) as worker:
        loaded = time.monotonic_ns()
        content = await worker.detokenize(tuple(body.tokens))
    return replies.json(ollama.Content(body.model, content, time.monotonic_ns() - began, loaded - began))


async def _leased(app: web.Application, body: ollama.TokenRequest) -> AbstractAsyncContextManager[Worker]:
    if not body.model:
        raise BadRequest("model is required")
    keep_alive = from_ollama.keep_alive(body.keep_alive)
    record = await present(app, body.model)
    conditions = terms(record.parameters, body.options, keep_alive=keep_alive)
    return app[keys.HOST].lease(record, conditions.context, conditions.keep_alive)
