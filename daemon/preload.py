"""The model that the settings name by its files: registered before the daemon listens, loaded when it does."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from ktd.daemon import duration, keys
from ktd.daemon.errors import DaemonError
from ktd.daemon.settings import Settings
from ktd.engine.client import EngineError
from ktd.registry.record import ModelRecord
from ktd.registry.store import Registry

SAID_EVERY = 10  # percent


def registered(settings: Settings, registry: Registry) -> ModelRecord | None:
    """Blocks while unknown files are read. Raises RegistryError."""
    if settings.gguf_path is None:
        return None
    record = registry.import_files([settings.gguf_path], None, settings.model_path, _percent())
    print(f"{settings.gguf_path} is the model {record.name}", flush=True)
    return record


def _percent() -> Callable[[int, int], None]:
    said = 0

    def progress(done: int, total: int) -> None:
        nonlocal said
        if (percent := 100 * done // max(total, 1)) >= said + SAID_EVERY:
            said = percent
            print(f"reading the files: {percent}%", file=sys.stderr, flush=True)

    return progress


def loading(record: ModelRecord) -> Callable[[web.Application], AsyncIterator[None]]:
    """A cleanup context of aiohttp's: requests that come meanwhile wait for the same load."""

    async def context(app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(_load(app, record))
        yield
        task.cancel()
        await asyncio.wait([task])

    return context


async def _load(app: web.Application, record: ModelRecord) -> None:
    try:
        async with app[keys.HOST].lease(record, None, duration.FOREVER) as worker:
            print(f"{record.name} is loaded, with a context of {worker.loaded.context} tokens", flush=True)
    except (DaemonError, EngineError) as error:
        print(f"ktd: {record.name} is not loaded: {error}", file=sys.stderr, flush=True)
