"""How answers end before their time: clients that leave, workers that die, requests that fail."""

import asyncio
import contextlib
import json
import random
from typing import Any

import aiohttp
import ollama
import pytest
from until import until

from ktd.engine.client import JobFailed, LoadRefused

ASK = [{"role": "user", "content": "What is 12 + 30?"}]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_stops_its_answer(daemon: Any, stream: bool) -> None:
    daemon.engine.pause_at = 1
    async with aiohttp.ClientSession() as session:
        body = {"model": "demo", "messages": ASK, "stream": stream}
        asking = asyncio.create_task(session.post(daemon.url + "/api/chat", json=body))
        await until(lambda: daemon.engine.running == 1)
        if stream:
            async with await asking as reply:
                await reply.content.readline()
        else:
            asking.cancel()
    await until(lambda: daemon.engine.running == 0)
    assert not daemon.engine.workers[0].closed


async def test_an_answer_is_made_no_faster_than_it_is_read(daemon: Any) -> None:
    daemon.engine.answer = ["x" * 10_000] * 5000  # 50 MB: more than the sockets between us hold
    async with daemon.http.post(daemon.url + "/api/chat", json={"model": "demo", "messages": ASK}) as reply:
        await reply.content.readline()
        await asyncio.sleep(0.2)
        assert daemon.engine.produced < 5000
        count = 1 + len([line async for line in reply.content])
    assert (count, daemon.engine.produced) == (5001, 5000)


async def test_clients_that_come_and_go_leave_nothing_behind(daemon: Any) -> None:
    await daemon.ollama.chat("demo", ASK)
    before = asyncio.all_tasks()
    chance = random.Random(5)
    daemon.engine.pause_at = 1

    async def visit(patience: float) -> None:
        body = {"model": "demo", "messages": ASK}
        with contextlib.suppress(TimeoutError):
            async with (
                asyncio.timeout(patience),
                aiohttp.ClientSession() as session,
                session.post(daemon.url + "/api/chat", json=body) as reply,
            ):
                await reply.read()

    await asyncio.gather(*(visit(chance.uniform(0, 0.3)) for _ in range(64)))
    daemon.engine.go_on.set()
    await until(lambda: daemon.engine.running == 0)
    await until(lambda: asyncio.all_tasks() <= before)
    assert (await daemon.ollama.chat("demo", ASK)).message.content == "Hello world"
    assert len(daemon.engine.loads) == 1


async def test_answers_end_with_an_error_line_when_the_worker_dies(daemon: Any) -> None:
    daemon.engine.pause_at = 1
    async with daemon.http.post(daemon.url + "/api/chat", json={"model": "demo", "messages": ASK}) as reply:
        assert json.loads(await reply.content.readline())["message"]["content"] == "Hello"
        daemon.engine.workers[0].die()
        assert json.loads(await reply.content.readline()) == {"error": "the engine worker was killed by SIGKILL"}
        assert await reply.content.read() == b""
    daemon.engine.pause_at = None
    assert (await daemon.ollama.chat("demo", ASK)).message.content == "Hello world"
    assert len(daemon.engine.loads) == 2


async def test_a_worker_that_dies_before_the_first_word_is_a_500(daemon: Any) -> None:
    daemon.engine.pause_at = 0
    asking = asyncio.create_task(daemon.post("/api/chat", {"model": "demo", "messages": ASK}))
    await until(lambda: daemon.engine.running == 1)
    daemon.engine.workers[0].die()
    assert await asking == (500, {"error": "the engine worker was killed by SIGKILL"})


async def test_a_prompt_too_long_is_a_400(daemon: Any) -> None:
    daemon.engine.failure = JobFailed("prompt_too_long", "the prompt has 3000 tokens, the context 2048")
    with pytest.raises(ollama.ResponseError, match="3000 tokens, the context 2048") as caught:
        await daemon.ollama.chat("demo", ASK)
    assert caught.value.status_code == 400


async def test_a_model_that_cannot_be_loaded_is_a_500(daemon: Any) -> None:
    daemon.engine.refusals = [LoadRefused("bad_file", "tensor blk.0 lies past the end")]
    with pytest.raises(ollama.ResponseError, match="past the end") as caught:
        await daemon.ollama.chat("demo", ASK)
    assert caught.value.status_code == 500


async def test_files_that_changed_are_refused(daemon: Any) -> None:
    record = daemon.registry.find("demo")
    copy = daemon.settings.home / "own.gguf"
    copy.write_bytes(record.files[0].read_bytes())
    daemon.registry.import_files([copy], "own")
    copy.unlink()
    status, answer = await daemon.post("/api/chat", {"model": "own", "messages": ASK})
    assert status == 500
    assert "own.gguf" in answer["error"]
    assert daemon.engine.loads == []
