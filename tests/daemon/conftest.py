"""A daemon that really listens, on a real registry with the demo model, over a fake engine."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import ollama
import openai
import pytest
from fake_engine import FakeEngine

from ktd.daemon.main import listening
from ktd.daemon.settings import Settings
from ktd.registry.store import Registry


@dataclass
class Daemon:
    url: str
    engine: FakeEngine
    registry: Registry
    settings: Settings
    http: aiohttp.ClientSession
    ollama: ollama.AsyncClient
    openai: openai.AsyncOpenAI

    async def post(self, path: str, body: Any, **options: Any) -> tuple[int, Any]:
        """Status and JSON of a reply."""
        async with self.http.post(self.url + path, json=body, **options) as reply:
            return reply.status, await reply.json(content_type=None)

    async def get(self, path: str, **options: Any) -> Any:
        async with self.http.get(self.url + path, **options) as reply:
            return await reply.json()

    async def loaded(self) -> list[Any]:
        models: list[Any] = (await self.get("/api/ps"))["models"]
        return models


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", port=0)


@pytest.fixture
def registry(settings: Settings) -> Iterator[Registry]:
    with Registry.open(settings.home) as registry:
        registry.ensure_demo()
        yield registry


@pytest.fixture
async def start(settings: Settings, registry: Registry) -> AsyncIterator[Callable[..., Any]]:
    """Starts a daemon with other settings: `await start(max_loaded=1)`."""
    async with AsyncExitStack() as stack:

        async def start(**changes: Any) -> Daemon:
            engine, chosen = FakeEngine(), replace(settings, **changes)
            url = await stack.enter_async_context(listening(chosen, registry, engine))
            return Daemon(
                url,
                engine,
                registry,
                chosen,
                await stack.enter_async_context(aiohttp.ClientSession()),
                await stack.enter_async_context(ollama.AsyncClient(host=url)),
                await stack.enter_async_context(openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0)),
            )

        yield start


@pytest.fixture
async def daemon(start: Callable[..., Any]) -> Daemon:
    started: Daemon = await start()
    return started
