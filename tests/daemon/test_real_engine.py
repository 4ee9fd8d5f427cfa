"""A daemon process with the real engine and the demo model, driven by the official clients."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import aiohttp
import demo
import ollama
import openai
import pytest
from daemon_process import DaemonProcess, gone

Ask = list[dict[str, str]]

SUM = [{"role": "user", "content": "What is 12 + 30?"}]
GREEDY = {"temperature": 0}
NONSENSE = {"temperature": 100, "top_k": 0, "top_p": 1, "num_predict": 1500}
"""Even odds for every token: such an answer goes on for hundreds of tokens."""
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


async def test_an_answer_with_its_thinking(ollama_client: ollama.AsyncClient) -> None:
    answer = await ollama_client.chat("demo", SUM, options=GREEDY)
    assert "42" in answer.message.content
    assert answer.message.thinking
    assert "<" not in answer.message.content + answer.message.thinking
    assert answer.done_reason == "stop"
    figures = (answer.total_duration, answer.load_duration, answer.prompt_eval_duration, answer.eval_duration)
    assert all(figure > 0 for figure in figures)
    assert answer.total_duration >= answer.prompt_eval_duration + answer.eval_duration
    assert answer.prompt_eval_count > 10
    assert answer.eval_count > 10


async def test_a_stream_says_the_same_in_pieces(ollama_client: ollama.AsyncClient) -> None:
    whole = await ollama_client.chat("demo", SUM, options=GREEDY)
    parts = [part async for part in await ollama_client.chat("demo", SUM, options=GREEDY, stream=True)]
    assert "".join(part.message.content for part in parts) == whole.message.content
    assert "".join(part.message.thinking or "" for part in parts) == whole.message.thinking
    assert len(parts) > 5
    assert parts[-1].eval_count == whole.eval_count


@pytest.mark.parametrize("think", [True, False])
async def test_thinking_can_be_chosen(ollama_client: ollama.AsyncClient, think: bool) -> None:
    answer = await ollama_client.chat("demo", SUM, options=GREEDY, think=think)
    assert "42" in answer.message.content
    assert bool(answer.message.thinking) == think


async def test_openai_streams_and_not(openai_client: openai.AsyncOpenAI) -> None:
    asked: Any = SUM
    done = await openai_client.chat.completions.create(model="demo", messages=asked, temperature=0)
    assert "42" in (done.choices[0].message.content or "")
    stream = await openai_client.chat.completions.create(model="demo", messages=asked, temperature=0, stream=True)
    texts = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(texts) == done.choices[0].message.content


async def test_four_at_the_same_time_keep_apart(ollama_client: ollama.AsyncClient) -> None:
    sums = [(12, 30), (7, 8), (21, 5), (40, 9)]

    async def add(a: int, b: int) -> str:
        ask = [{"role": "user", "content": f"What is {a} + {b}?"}]
        parts = [part async for part in await ollama_client.chat("demo", ask, options=GREEDY, stream=True)]
        return "".join(part.message.content for part in parts)

    answers = await asyncio.gather(*(add(a, b) for a, b in sums))
    assert all(answer.endswith(str(a + b)) for answer, (a, b) in zip(answers, sums, strict=True)), answers


async def test_the_model_calls_a_tool_and_uses_what_it_says(ollama_client: ollama.AsyncClient) -> None:
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Oslo?"}]
    asked = await ollama_client.chat("demo", messages, tools=[WEATHER], options=GREEDY)
    (call,) = asked.message.tool_calls or []
    assert (call.function.name, call.function.arguments) == ("get_weather", {"city": "Oslo"})
    result = {
        "role": "tool",
        "content": json.dumps({"temperature": 21, "condition": "sunny"}),
        "tool_name": "get_weather",
    }
    told = await ollama_client.chat("demo", [*messages, asked.message, result], tools=[WEATHER], options=GREEDY)
    assert "21" in told.message.content
    assert "sunny" in told.message.content
    assert not told.message.tool_calls


async def test_generate_and_stop_strings(ollama_client: ollama.AsyncClient) -> None:
    asked = "Count from 1 to 9."
    whole = await ollama_client.generate("demo", asked, options=GREEDY, think=False)
    assert "4, 5, 6" in whole.response
    assert whole.context
    cut = await ollama_client.generate("demo", asked, options=GREEDY | {"stop": ["5"]}, think=False)
    assert cut.response == whole.response.partition("5")[0]
    assert cut.done_reason == "stop"


async def test_the_length_is_kept(ollama_client: ollama.AsyncClient) -> None:
    answer = await ollama_client.chat("demo", SUM, options=GREEDY | {"num_predict": 3})
    assert (answer.eval_count, answer.done_reason) == (3, "length")


async def test_a_seed_repeats_itself(ollama_client: ollama.AsyncClient) -> None:
    options = {"temperature": 2.0, "seed": 11, "num_predict": 20}
    ask = [{"role": "user", "content": "Tell me a story."}]
    first, second = [await ollama_client.chat("demo", ask, options=options, think=False) for _ in range(2)]
    assert first.message.content == second.message.content


async def test_a_prompt_too_long_names_both_figures(ollama_client: ollama.AsyncClient) -> None:
    with pytest.raises(ollama.ResponseError, match=r"\d{4}.*2048") as caught:
        await ollama_client.chat("demo", [{"role": "user", "content": "word " * 5000}])
    assert caught.value.status_code == 400


async def test_leaving_frees_the_engine(http: aiohttp.ClientSession, ollama_client: ollama.AsyncClient) -> None:
    body = {"model": "demo", "prompt": "a", "raw": True, "options": NONSENSE}
    for _ in range(6):
        async with http.post("/api/generate", json=body) as reply:
            await reply.content.readline()
    answer = await ollama_client.chat("demo", SUM, options=GREEDY)
    assert "42" in answer.message.content


async def test_a_killed_worker_is_an_error_line_and_the_next_request_works(
    real: DaemonProcess, http: aiohttp.ClientSession, ollama_client: ollama.AsyncClient
) -> None:
    body = {"model": "demo", "prompt": "a", "raw": True, "options": NONSENSE}
    async with http.post("/api/generate", json=body) as reply:
        await reply.content.readline()
        (worker,) = real.workers()
        os.kill(worker, signal.SIGKILL)
        *_, last = [json.loads(line) async for line in reply.content]
    assert "SIGKILL" in last["error"]
    assert "done" not in last
    assert (await ollama_client.ps()).models == []
    answer = await ollama_client.chat("demo", SUM, options=GREEDY)
    assert "42" in answer.message.content
    assert real.workers() != [worker]


async def test_contexts_grow_and_never_shrink(real: DaemonProcess, ollama_client: ollama.AsyncClient) -> None:
    await ollama_client.generate("demo", keep_alive=0)
    assert real.workers() == []

    async def answered(context: int) -> tuple[list[int], int]:
        await ollama_client.chat("demo", SUM, options={"num_ctx": context, "num_predict": 2})
        (model,) = (await ollama_client.ps()).models
        return real.workers(), model.context_length or 0

    first, length = await answered(512)
    assert length == 512
    assert await answered(256) == (first, 512)
    second, length = await answered(1024)
    assert length == 1024
    assert second != first
    assert await answered(512) == (second, 1024)


async def test_unloading_ends_the_process(real: DaemonProcess, ollama_client: ollama.AsyncClient) -> None:
    await ollama_client.chat("demo", SUM, options={"num_predict": 2})
    workers = real.workers()
    await ollama_client.generate("demo", keep_alive=0)
    assert gone(workers)
    assert (await ollama_client.ps()).models == []


async def test_health_answers_while_a_long_prompt_is_read(
    http: aiohttp.ClientSession, ollama_client: ollama.AsyncClient
) -> None:
    asking = asyncio.create_task(
        ollama_client.chat("demo", [{"role": "user", "content": "word " * 1500}], options={"num_predict": 2})
    )
    while not asking.done():
        for path in ("/", "/api/version", "/api/tags", "/api/ps"):
            async with http.get(path) as reply:
                assert reply.status == 200
    await asyncio.wait([asking])
    assert asking.exception() is None


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
async def test_a_damaged_file_is_refused_with_the_reason(
    real: DaemonProcess, http: aiohttp.ClientSession, tmp_path: Path, damage: str
) -> None:
    data = bytearray(demo.Q8_0.read_bytes())
    if damage == "truncated":
        data = data[: len(data) // 2]
    else:
        data[8 + 4] ^= 0xFF  # the tensor count
    path = tmp_path / f"{damage}.gguf"
    path.write_bytes(data)
    key = (real.home / "local.key").read_text()
    async with http.post("/api/import", json={"paths": [str(path)]}, headers={"X-Ktd-Local-Key": key}) as reply:
        assert reply.status == 400
        assert path.name in (await reply.json())["error"]


async def test_a_file_damaged_after_its_import_is_refused(
    real: DaemonProcess, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    path = tmp_path / "later.gguf"
    path.write_bytes(demo.Q8_0.read_bytes())
    key = (real.home / "local.key").read_text()
    async with http.post("/api/import", json={"paths": [str(path)]}, headers={"X-Ktd-Local-Key": key}) as reply:
        assert json.loads((await reply.text()).splitlines()[-1])["status"] == "success"
    with path.open("r+b") as file:
        file.truncate(1 << 20)
    async with http.post("/api/chat", json={"model": "later", "messages": SUM}) as reply:
        assert reply.status == 500
        assert "later.gguf" in (await reply.json())["error"]
