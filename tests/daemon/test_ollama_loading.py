"""Loading, keeping and unloading by Ollama's routes."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from until import until

ASK = [{"role": "user", "content": "What is 12 + 30?"}]


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
async def test_nothing_asked_loads_and_unloads(daemon: Any, path: str) -> None:
    status, answer = await daemon.post(path, {"model": "demo", "stream": True})
    assert (status, answer["done"], answer["done_reason"]) == (200, True, "load")
    assert answer.get("message", {"role": "assistant", "content": ""}) == {"role": "assistant", "content": ""}
    assert "eval_count" not in answer
    (model,) = await daemon.loaded()
    assert model["kv_cache_type"] == "f16"
    assert (model["name"], model["context_length"], model["size"], model["size_vram"]) == ("demo:latest", 2048, 1000, 0)
    assert "loading" not in model
    status, answer = await daemon.post(path, {"model": "demo", "keep_alive": 0})
    assert (status, answer["done_reason"]) == (200, "unload")
    assert await daemon.loaded() == []
    assert daemon.engine.workers[0].closed
    status, answer = await daemon.post(path, {"model": "demo", "keep_alive": "0"})
    assert (status, answer["done_reason"]) == (200, "unload")


@pytest.mark.parametrize("keep_alive", [-1, "-1", "-1m", -0.5])
async def test_never_unload(daemon: Any, keep_alive: Any) -> None:
    await daemon.ollama.generate("demo", keep_alive=keep_alive)
    (model,) = (await daemon.ollama.ps()).models
    assert model.expires_at.year > 2200


@pytest.mark.parametrize("keep_alive", [600, "10m", "600", "600s", 600.0])
async def test_keep_alive_in_all_its_forms(daemon: Any, keep_alive: Any) -> None:
    await daemon.post("/api/generate", {"model": "demo", "keep_alive": keep_alive})
    (model,) = await daemon.loaded()
    left = datetime.fromisoformat(model["expires_at"]) - datetime.now().astimezone()
    assert 300 < left.total_seconds() <= 600


async def test_a_model_that_loads_is_seen_and_health_answers(daemon: Any) -> None:
    daemon.engine.may_load.clear()
    asking = asyncio.create_task(daemon.ollama.chat("demo", ASK))
    await until(lambda: bool(daemon.engine.loads))
    (model,) = (await daemon.ollama.ps()).models
    assert model.model == "demo:latest"
    (raw,) = await daemon.loaded()
    assert raw["loading"] == {"completed": 5, "total": 10}
    assert (await daemon.get("/api/tags"))["models"]
    assert (await daemon.get("/api/version"))["version"]
    daemon.engine.may_load.set()
    assert (await asking).message.content == "Hello world"


async def test_queue_full(start: Callable[..., Any]) -> None:
    daemon = await start(max_queue=1)
    daemon.engine.may_load.clear()
    first = asyncio.create_task(daemon.ollama.chat("demo", ASK))
    await until(lambda: bool(daemon.engine.loads))
    async with daemon.http.post(daemon.url + "/api/chat", json={"model": "demo", "messages": ASK}) as reply:
        assert (reply.status, "Retry-After" in reply.headers) == (503, True)
        assert await reply.json() == {"error": "server busy, please try again.  maximum pending requests exceeded"}
    daemon.engine.may_load.set()
    await first
