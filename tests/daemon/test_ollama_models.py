"""Ollama's routes about the daemon and its models."""

import json
from datetime import datetime
from typing import Any

import pytest


async def test_health(daemon: Any) -> None:
    async with daemon.http.get(daemon.url + "/") as reply:
        assert (reply.status, await reply.text()) == (200, "Ollama is running")
        assert reply.headers["Server"].startswith("ktd/")
    for path in ("/", "/api/tags", "/api/version"):
        async with daemon.http.head(daemon.url + path) as reply:
            assert (reply.status, await reply.read()) == (200, b"")
    version = (await daemon.get("/api/version"))["version"]
    assert tuple(map(int, version.split("."))) >= (0, 6, 4)


async def test_tags_have_what_clients_index(daemon: Any) -> None:
    (model,) = (await daemon.get("/api/tags"))["models"]
    assert model["name"] == model["model"] == "demo:latest"
    assert len(model["digest"]) == 64
    assert model["size"] > 1_000_000
    assert datetime.fromisoformat(model["modified_at"]).tzinfo is not None
    assert set(model["details"]) >= {"format", "family", "families", "parameter_size", "quantization_level"}
    (listed,) = (await daemon.ollama.list()).models
    assert (listed.model, listed.details.quantization_level) == ("demo:latest", "Q8_0")


async def test_an_empty_store_is_an_empty_list(daemon: Any) -> None:
    daemon.registry.delete("demo")
    assert await daemon.get("/api/tags") == {"models": []}
    assert await daemon.get("/v1/models") == {"object": "list", "data": []}


@pytest.mark.parametrize("key", ["model", "name"])
async def test_show(daemon: Any, key: str) -> None:
    status, shown = await daemon.post("/api/show", {key: "DEMO"})
    assert status == 200
    info = shown["model_info"]
    assert info["general.architecture"] == "deepseek2"
    assert info["deepseek2.context_length"] == 2048
    assert info["general.parameter_count"] > 12_000_000
    assert info["tokenizer.ggml.tokens"] == []
    assert not {"general.name", "tokenizer.chat_template"} & set(info)
    assert set(shown["capabilities"]) >= {"completion", "tools", "thinking"}
    assert "tensors" not in shown
    assert "<｜User｜>" in shown["template"]
    assert str(daemon.registry.find("demo").files[0]) not in json.dumps(shown)


async def test_what_only_some_see(daemon: Any) -> None:
    """Copilot tells models apart by their base names; example messages are there when a model has some."""
    headers = {"User-Agent": "GitHubCopilotChat/0.29.1"}
    _, shown = await daemon.post("/api/show", {"model": "demo:latest"}, headers=headers)
    assert shown["model_info"]["general.basename"] == "demo:latest" and "messages" not in shown
    examples = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    await daemon.post("/api/create", {"model": "polite", "from": "demo", "messages": examples, "stream": False})
    _, shown = await daemon.post("/api/show", {"model": "polite"})
    assert shown["messages"] == examples and shown["model_info"].get("general.basename") != "polite"


async def test_show_everything(daemon: Any) -> None:
    _, shown = await daemon.post("/api/show", {"model": "demo", "verbose": True})
    assert len(shown["model_info"]["tokenizer.ggml.tokens"]) == 2560
    names = {tensor["name"]: tensor for tensor in shown["tensors"]}
    assert names["output_norm.weight"] == {"name": "output_norm.weight", "type": "F32", "shape": [256]}


async def test_the_official_client_shows(daemon: Any) -> None:
    shown = await daemon.ollama.show("demo")
    assert shown.modelinfo["general.architecture"] == "deepseek2"


async def test_copy_and_delete(daemon: Any) -> None:
    await daemon.ollama.copy("demo", "second:one")
    assert {model.model for model in (await daemon.ollama.list()).models} == {"demo:latest", "second:one"}
    async with daemon.http.delete(daemon.url + "/api/delete", json={"name": "second:one"}) as reply:
        assert (reply.status, await reply.read()) == (200, b"")
    await daemon.ollama.delete("demo")
    assert (await daemon.ollama.list()).models == []


async def test_deleting_a_copy_leaves_the_model_in_memory(daemon: Any) -> None:
    daemon.registry.copy("demo", "second")
    await daemon.ollama.generate(model="demo", prompt="")
    await daemon.ollama.delete("second")
    assert [model["name"] for model in await daemon.loaded()] == ["demo:latest"]


async def test_deleting_unloads(daemon: Any) -> None:
    await daemon.ollama.generate("demo")
    await daemon.ollama.delete("demo")
    assert daemon.engine.workers[0].closed
