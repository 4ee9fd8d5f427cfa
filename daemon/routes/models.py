"""Routes about models on disk and in memory."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import hdrs, web

from ktd.daemon import keys, replies
from ktd.daemon.bodies import body_of
from ktd.daemon.errors import BadRequest, ModelMissing
from ktd.daemon.wire import ollama, to_ollama
from ktd.daemon.wire.decode import decode
from ktd.daemon.wire.facts import facts
from ktd.registry.errors import InvalidName, ModelNotFound
from ktd.registry.record import ModelRecord
from ktd.registry.store import Registry

COPILOT = "GitHubCopilotChat/"  # it shows a model by its base name, where several would have the same


async def tags(request: web.Request) -> web.Response:
    registry = request.app[keys.REGISTRY]
    records = registry.listed()
    if records is None:
        records = await asyncio.to_thread(registry.list)
    return replies.json({"models": [to_ollama.model(record) for record in records]})


async def loaded(request: web.Request) -> web.Response:
    residents = request.app[keys.HOST].residents()
    models = [to_ollama.loaded_model(resident, record) for resident in residents for record in resident.records]
    return replies.json({"models": models})


async def show(request: web.Request) -> web.Response:
    body = decode(body_of(request), ollama.NameRequest)
    name = body.model or body.name
    if not name:
        raise BadRequest("model is required")
    record = await asyncio.to_thread(request.app[keys.REGISTRY].find, name)
    found = await asyncio.to_thread(_facts, request.app[keys.REGISTRY], record, body.verbose)
    for resident in request.app[keys.HOST].residents():
        if resident.weights == record.weights:
            found.placement = to_ollama.placement(resident)
    if request.headers.get(hdrs.USER_AGENT, "").startswith(COPILOT):
        found.model_info["general.basename"] = name
    return replies.json(found)


async def copy(request: web.Request) -> web.Response:
    body = decode(body_of(request), ollama.CopyRequest)
    registry = request.app[keys.REGISTRY]
    try:
        await asyncio.to_thread(registry.find, body.source)
    except InvalidName as error:
        raise BadRequest(f'source "{body.source}" is invalid') from error
    except ModelNotFound as error:
        raise ModelMissing(f'model "{body.source}" not found') from error
    try:
        await asyncio.to_thread(registry.copy, body.source, body.destination)
    except InvalidName as error:
        raise BadRequest(f'destination "{body.destination}" is invalid') from error
    return web.Response()


async def delete(request: web.Request) -> web.Response:
    body = decode(body_of(request), ollama.NameRequest)
    name = body.model or body.name
    try:
        record = await asyncio.to_thread(_delete, request.app[keys.REGISTRY], name)
    except InvalidName as error:
        raise BadRequest(f'name "{name}" is invalid') from error
    except ModelNotFound as error:
        raise ModelMissing(f"model '{name}' not found") from error
    if record is not None:
        await request.app[keys.HOST].unload(record)
    return web.Response()


def _delete(registry: Registry, name: str) -> ModelRecord | None:
    """The model that was deleted, unless it goes on under another name."""
    record = registry.find(name)
    registry.delete(name)
    return None if registry.has(record.digest) else record


def _facts(registry: Registry, record: ModelRecord, verbose: bool) -> ollama.ModelFacts:
    with registry.header(str(record.name)) as gguf:
        metadata: Mapping[str, Any] = gguf.metadata
        tensors = [(t.name, t.type.name, t.shape) for t in gguf.tensors.values()] if verbose else []
        return facts(record, metadata, tensors, verbose)
