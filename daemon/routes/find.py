"""Models by the name that a client sent."""

import asyncio

from aiohttp import web

from ktd.daemon import keys
from ktd.daemon.errors import ModelMissing
from ktd.registry.errors import ModelNotFound
from ktd.registry.record import ModelRecord


async def present(app: web.Application, name: str) -> ModelRecord:
    """The model, its files checked to be as they were. Raises RegistryError, or ModelMissing with the name as sent."""
    try:
        return await asyncio.to_thread(app[keys.REGISTRY].present, name)
    except ModelNotFound as error:
        raise ModelMissing(f"model '{name}' not found") from error
