"""Two daemons on a real registry with the demo model: one in this process over a fake engine, one as `ktd serve`."""

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import ollama
import openai
import pytest
from daemon_process import DaemonProcess, gone
from fake_engine import FakeEngine
from fake_hub import FakeHub
from pulling import BASE, big, r1

from ktd.daemon.listening import listening
from ktd.daemon.settings import Settings
from ktd.registry.store import Registry


@dataclass
class Daemon:
    url: str
    engine: FakeEngine
    registry: Registry
    settings: Settings
    http: aiohttp.ClientSession
    stack: AsyncExitStack

    @cached_property
    def ollama(self) -> ollama.AsyncClient:
        client = ollama.AsyncClient(host=self.url)
        self.stack.push_async_callback(client.close)
        return client

    @cached_property
    def openai(self) -> openai.AsyncOpenAI:
        client = openai.AsyncOpenAI(base_url=f"{self.url}/v1", api_key="any", max_retries=0)
        self.stack.push_async_callback(client.close)
        return client

    @cached_property
    def anthropic(self) -> anthropic.AsyncAnthropic:
        client = anthropic.AsyncAnthropic(base_url=self.url, api_key="any", max_retries=0)
        self.stack.push_async_callback(client.close)
        return client

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


@pytest.fixture(scope="session")
def new_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home as it is after the first start: tests take copies, which is quicker than starting anew."""
    home = tmp_path_factory.mktemp("new") / "home"
    with Registry.open(home) as registry:
        registry.ensure_demo()
    return home


@pytest.fixture
def registry(settings: Settings, new_home: Path) -> Iterator[Registry]:
    shutil.copytree(new_home, settings.home)
    with Registry.open(settings.home) as registry:
        yield registry


@pytest.fixture
async def start(settings: Settings, registry: Registry) -> AsyncIterator[Callable[..., Any]]:
    """Starts a daemon with other settings: `await start(max_loaded=1)`."""
    async with AsyncExitStack() as stack:

        async def start(**changes: Any) -> Daemon:
            engine, chosen = FakeEngine(), replace(settings, **changes)
            url = await stack.enter_async_context(listening(chosen, registry, engine))
            http = await stack.enter_async_context(aiohttp.ClientSession())
            return Daemon(url, engine, registry, chosen, http, stack)

        yield start


@pytest.fixture
async def daemon(start: Callable[..., Any]) -> Daemon:
    started: Daemon = await start()
    return started


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub on loopback, with some models."""
    with FakeHub() as hub:
        hub.repos["unsloth/DeepSeek-R1-GGUF"] = r1(tmp_path)
        hub.repos["deepseek-ai/DeepSeek-R1"] = BASE
        hub.repos["ns/Big-GGUF"] = big(mib=1)
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
async def served(hub: FakeHub, start: Callable[..., Any]) -> Daemon:
    """A daemon that has this hub."""
    started: Daemon = await start()
    return started


@pytest.fixture(scope="module")
def real(real_daemon: DaemonProcess) -> Iterator[DaemonProcess]:
    """A daemon process with the real engine, and nothing in memory. Models that others have imported may be there."""
    yield real_daemon
    real_daemon.unload()


@pytest.fixture(scope="session")
def real_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """It has to end well."""
    process = DaemonProcess(tmp_path_factory.mktemp("real") / "home")
    process.address = process.url()
    yield process
    workers = process.workers()
    process.process.terminate()
    assert process.end() == (0, "", "")
    assert gone(workers)


@pytest.fixture
async def ollama_client(real: DaemonProcess) -> AsyncIterator[ollama.AsyncClient]:
    async with ollama.AsyncClient(host=real.address) as client:
        yield client


@pytest.fixture
async def openai_client(real: DaemonProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{real.address}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
async def anthropic_client(real: DaemonProcess) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=real.address, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
async def http(real: DaemonProcess) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(real.address) as session:
        yield session
