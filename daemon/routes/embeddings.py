"""POST /api/embed, /api/embeddings and /v1/embeddings: vectors of texts."""

import asyncio
import json

from aiohttp import web

from ktd.daemon import keys, replies
from ktd.daemon.bodies import body_of
from ktd.daemon.chat.options import terms, whole_number
from ktd.daemon.embedder import floats
from ktd.daemon.errors import BadRequest, ModelMissing
from ktd.daemon.routes.find import present
from ktd.daemon.wire import embeddings as wire
from ktd.daemon.wire import from_ollama
from ktd.daemon.wire.decode import decode
from ktd.engine.messages import Prompt

FORMATS = ("float", "base64")


async def embed(request: web.Request) -> web.Response:
    body = decode(body_of(request), wire.EmbedRequest)
    texts = wire.texts(body.input)
    keep_alive = from_ollama.keep_alive(body.keep_alive)
    if not body.model:
        raise ModelMissing("model '' not found")
    record = await present(request.app, body.model)
    conditions = terms(record.parameters, body.options, keep_alive=keep_alive)
    context = whole_number(body.options, "num_ctx")
    found = await request.app[keys.EMBEDDER].embed(record, texts, conditions, body.truncate, context)
    return replies.json(await asyncio.to_thread(wire.embeddings, body, found))


async def old_embeddings(request: web.Request) -> web.Response:
    """One vector, as long as the model makes it."""
    body = decode(body_of(request), wire.OldRequest)
    keep_alive = from_ollama.keep_alive(body.keep_alive)
    if not body.model:
        raise BadRequest("model is required")
    record = await present(request.app, body.model)
    conditions = terms(record.parameters, body.options, keep_alive=keep_alive)
    texts = [Prompt(body.prompt)] if body.prompt else []
    found = await request.app[keys.EMBEDDER].embed(record, texts, conditions, truncate=True)
    return replies.json(wire.OldEmbedding(floats(b"".join(found.vectors))))


async def openai_embeddings(request: web.Request) -> web.Response:
    body = decode(body_of(request), wire.OpenAIRequest)
    if not body.model:
        raise BadRequest("model is required")
    if body.encoding_format not in FORMATS:
        value = json.dumps(body.encoding_format)
        raise BadRequest(f"Invalid value for 'encoding_format' = {value}. Supported values: {list(FORMATS)}.")
    texts = wire.texts_or_tokens(body.input)
    record = await present(request.app, body.model)
    found = await request.app[keys.EMBEDDER].embed(record, texts, terms(record.parameters), truncate=True)
    return replies.json(await asyncio.to_thread(wire.vectors, body, found))
