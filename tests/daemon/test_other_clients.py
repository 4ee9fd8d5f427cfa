"""Clients that others build on, with the demo model: LangChain's, and Ollama's own in JavaScript."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from daemon_process import DaemonProcess
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings
from pydantic import BaseModel

ROOT = Path(__file__).resolve().parents[2]
JS_CLIENT = ROOT / "build" / "js" / "node_modules" / "ollama" / "dist" / "index.mjs"
SUM = "What is 12 + 30?"


M = TypeVar("M", ChatOllama, OllamaEmbeddings)


class Sum(BaseModel):
    """A sum."""

    answer: int


@tool
def get_weather(city: str) -> str:
    """Get the weather of a city"""
    return json.dumps({"temperature": 21, "condition": "sunny", "city": city})


@asynccontextmanager
async def closing(model: M) -> AsyncIterator[M]:
    """LangChain leaves its client's connections to the end of the process."""
    try:
        yield model
    finally:
        await model._async_client.close()


def chat(real: DaemonProcess, **options: Any) -> AbstractAsyncContextManager[ChatOllama]:
    return closing(ChatOllama(model="demo", base_url=real.address, temperature=0, **options))


async def test_langchain_thinks_and_streams(real: DaemonProcess) -> None:
    async with chat(real, reasoning=True) as model:
        answer = await model.ainvoke(SUM)
        parts = [part async for part in model.astream(SUM)]
    assert answer.content == "12 + 30 = 42"
    assert "42" in answer.additional_kwargs["reasoning_content"]
    assert answer.usage_metadata and answer.usage_metadata["output_tokens"] > 5
    assert answer.response_metadata["done_reason"] == "stop"
    assert "".join(str(part.content) for part in parts) == answer.content
    assert len(parts) > 5


async def test_langchain_calls_a_tool_and_uses_what_it_says(real: DaemonProcess) -> None:
    asked = HumanMessage("What is the weather in Oslo?")
    async with chat(real) as plain:
        model = plain.bind_tools([get_weather])
        called = await model.ainvoke([asked])
        (call,) = called.tool_calls
        assert (call["name"], call["args"]) == ("get_weather", {"city": "Oslo"})
        result = ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
        told = await model.ainvoke([asked, called, result])
    assert "21" in str(told.content) and "sunny" in str(told.content)


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
async def test_langchain_gets_what_it_can_parse(real: DaemonProcess, method: Any) -> None:
    """By function_calling LangChain only offers the tool; whether the model calls it is the model's choice."""
    async with chat(real, reasoning=False) as model:
        found: Any = await model.with_structured_output(Sum, method=method).ainvoke(SUM)
    assert isinstance(found, Sum) or (method == "function_calling" and found is None)


async def test_langchain_embeds(real: DaemonProcess) -> None:
    """The same text has the same direction alone and among others, to the 0.99 that Ollama's own suite asks for."""
    texts = [SUM, "The weather in Oslo is sunny today."]
    async with closing(OllamaEmbeddings(model="demo", base_url=real.address)) as model:
        first, second = await model.aembed_documents(texts)
        alone = await model.aembed_query(SUM)
    assert len(first) == len(second) == len(alone) == 256
    assert cosine(first, first) == pytest.approx(1, abs=1e-6)
    assert cosine(first, alone) > 0.99 > cosine(first, second)


def cosine(one: list[float], other: list[float]) -> float:
    """Of vectors of length 1."""
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.fixture
async def told(real: DaemonProcess) -> Any:
    """What the JavaScript client was told."""
    node = shutil.which("node")
    if node is None or not JS_CLIENT.exists():
        pytest.skip("node is not installed" if node is None else "`make dev` could not get the npm package ollama")
    script = Path(__file__).parents[1] / "support" / "ollama_js.mjs"
    process = await asyncio.create_subprocess_exec(
        node, str(script), str(JS_CLIENT), real.address, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(output)


async def test_ollama_in_javascript(told: Any, http: aiohttp.ClientSession) -> None:
    assert told["whole"]["message"]["content"] == "12 + 30 = 42"
    assert "42" in told["whole"]["message"]["thinking"]
    assert "".join(part["message"]["content"] for part in told["parts"]) == "12 + 30 = 42"
    assert [part["done"] for part in told["parts"]].index(True) == len(told["parts"]) - 1 > 5
    assert told["generated"]["response"] == "12 + 30 = 42"
    assert list(json.loads(told["formatted"]["message"]["content"])) == ["answer"]
    (call,) = told["called"]["message"]["tool_calls"]
    assert call["function"]["arguments"] == {"city": "Oslo"}
    assert "demo:latest" in [model["name"] for model in told["list"]["models"]]
    assert "demo:latest" in [model["name"] for model in told["ps"]["models"]]
    assert told["shown"]["model_info"]["general.architecture"] == "deepseek2"
    assert [len(vector) > 100 for vector in told["embedded"]["embeddings"]] == [True, True]
    assert told["missing"] == [404, "model 'nope' not found"]
    assert told["aborted"] == "AbortError"

    async def requests() -> float:
        async with http.get("/metrics") as reply:
            (line,) = (line for line in (await reply.text()).splitlines() if line.startswith("ktd_queue_requests "))
        return float(line.split()[1])

    async with asyncio.timeout(60):
        while await requests():
            await asyncio.sleep(0.01)
