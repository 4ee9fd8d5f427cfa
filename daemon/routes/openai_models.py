"""GET /v1/models and /v1/models/{name}."""

import asyncio

from aiohttp import web

from ktd.daemon import keys, replies
from ktd.daemon.errors import ModelMissing
from ktd.daemon.wire import openai
from ktd.registry.errors import InvalidName, ModelNotFound
from ktd.registry.record import ModelRecord


async def models(request: web.Request) -> web.Response:
    records = await asyncio.to_thread(request.app[keys.REGISTRY].list)
    return replies.json(openai.Models([_model(record) for record in records]))


async def model(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    try:
        record = await asyncio.to_thread(request.app[keys.REGISTRY].find, name)
    except (InvalidName, ModelNotFound) as error:
        raise ModelMissing(f"model '{name}' not found") from error
    return replies.json(_model(record))


def _model(record: ModelRecord) -> openai.Model:
    return openai.Model(str(record.name), int(record.modified_at.timestamp()), record.name.namespace)
