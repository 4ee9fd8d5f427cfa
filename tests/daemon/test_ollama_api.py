"""Ollama's routes as its own client and as hand-written ones use them, over the fake engine."""

import asyncio
import contextlib
import json
import random
from collections.abc import Callable
from datetime import datetime
from io import BytesIO
from typing import Any

import aiohttp
import ollama
import pytest
from until import until

from ktd.engine.client import JobFailed, LoadRefused

ASK = [{"role": "user", "content": "What is 12 + 30?"}]
WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}
CALL = (
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
    '{"city": "Oslo"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>'
)


async def lines(daemon: Any, path: str, body: Any) -> list[Any]:
    async with daemon.http.post(daemon.url + path, json=body) as reply:
        assert reply.status == 200
        assert reply.headers["Content-Type"] == "application/x-ndjson"
        text = await reply.text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.removesuffix("\n").split("\n")]


# --- what is there ---


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


async def test_deleting_unloads(daemon: Any) -> None:
    await daemon.ollama.generate("demo")
    await daemon.ollama.delete("demo")
    assert daemon.engine.workers[0].closed


# --- answers ---


async def test_a_streamed_chat(daemon: Any) -> None:
    found = await lines(daemon, "/api/chat", {"model": "demo", "messages": ASK})
    *middle, last = found
    assert [line["message"] for line in middle] == [
        {"role": "assistant", "content": "Hello"},
        {"role": "assistant", "content": " world"},
    ]
    assert all(line["done"] is False and line["model"] == "demo" for line in middle)
    assert last["message"] == {"role": "assistant", "content": ""}
    assert (last["done"], last["done_reason"]) == (True, "stop")
    assert (last["prompt_eval_count"], last["eval_count"]) == (10, 2)
    assert (last["prompt_eval_duration"], last["eval_duration"]) == (5_000_000, 7_000_000)
    assert last["total_duration"] >= last["load_duration"] > 0
    assert all(datetime.fromisoformat(line["created_at"]).tzinfo is not None for line in found)


async def test_chat_with_the_official_client(daemon: Any) -> None:
    daemon.engine.answer = ["<think>\nI ", "add.\n</thi", "nk>\n\n42", "."]
    whole = await daemon.ollama.chat("demo", ASK)
    assert (whole.message.content, whole.message.thinking, whole.eval_count) == ("42.", "I add.", 4)
    parts = [part async for part in await daemon.ollama.chat("demo", ASK, stream=True)]
    assert "".join(part.message.content for part in parts) == "42."
    assert "".join(part.message.thinking or "" for part in parts) == "I add."
    assert [part.done for part in parts].index(True) == len(parts) - 1


async def test_the_prompt_is_the_models_own(daemon: Any) -> None:
    await daemon.ollama.chat("demo", [{"role": "system", "content": "Be brief."}, *ASK])
    await daemon.ollama.chat("demo", ASK, think=True)
    await daemon.ollama.chat("demo", ASK, think=False)
    texts = [prompt.text for prompt in daemon.engine.prompts]
    assert texts[0] == "<｜begin▁of▁sentence｜>Be brief.<｜User｜>What is 12 + 30?<｜Assistant｜>"
    assert texts[1].endswith("<｜Assistant｜><think>\n")
    assert texts[2].endswith("<｜Assistant｜><think>\n\n</think>\n\n")


async def test_a_thought_opened_by_the_prompt_is_thinking(daemon: Any) -> None:
    daemon.engine.answer = ["I add.\n</think>\n\n42"]
    answer = await daemon.ollama.chat("demo", ASK, think=True)
    assert (answer.message.content, answer.message.thinking) == ("42", "I add.")
    assert (await daemon.ollama.chat("demo", ASK, think=False)).message.thinking is None


@pytest.mark.parametrize("stream", [True, False])
async def test_a_tool_call(daemon: Any, stream: bool) -> None:
    daemon.engine.answer = ["<think>\nneeded\n</think>\n\n", *CALL]
    asked = {"model": "demo", "messages": ASK, "tools": [WEATHER], "stream": stream}
    if stream:
        found = await lines(daemon, "/api/chat", asked)
        (message,) = [line["message"] for line in found if "tool_calls" in line["message"]]
        last = found[-1]
    else:
        _, last = await daemon.post("/api/chat", asked)
        message = last["message"]
    (call,) = message["tool_calls"]
    assert call["function"] == {"index": 0, "name": "get_weather", "arguments": {"city": "Oslo"}}
    assert call["id"].startswith("call_")
    assert (message["content"], last["done_reason"]) == ("", "stop")
    assert "get_weather" in daemon.engine.prompts[0].text
    assert "<｜tool▁sep｜>" in daemon.engine.prompts[0].markers


async def test_a_tools_answer_goes_back(daemon: Any) -> None:
    messages = [
        *ASK,
        {"role": "assistant", "content": "", "tool_calls": [
            {"index": 0, "id": "call_1", "function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}]},
        {"role": "tool", "content": "rain", "tool_call_id": "call_1"},
    ]  # fmt: skip
    status, _ = await daemon.post("/api/chat", {"model": "demo", "messages": messages, "stream": False})
    assert status == 200
    assert '<｜tool▁sep｜>get_weather\n```json\n{"city": "Oslo"}\n```' in daemon.engine.prompts[0].text
    assert daemon.engine.prompts[0].text.endswith("<｜tool▁output▁end｜><｜tool▁outputs▁end｜>")


async def test_generate(daemon: Any) -> None:
    daemon.engine.answer = ["<think>a</think>", "4", "2"]
    *middle, last = await lines(daemon, "/api/generate", {"model": "demo", "prompt": "Add", "system": "Be brief."})
    assert "".join(line["response"] for line in middle) == "42"
    assert "".join(line.get("thinking", "") for line in middle) == "a"
    assert (last["response"], last["context"], last["done_reason"]) == ("", [1, 2, 3], "stop")
    assert daemon.engine.prompts[0].text == "<｜begin▁of▁sentence｜>Be brief.<｜User｜>Add<｜Assistant｜>"
    whole = await daemon.ollama.generate("demo", "Add")
    assert (whole.response, whole.thinking) == ("42", "a")


async def test_a_raw_prompt_is_left_alone(daemon: Any) -> None:
    daemon.engine.answer = ["<think>", "x"]
    _, answer = await daemon.post(
        "/api/generate", {"model": "demo", "prompt": "<｜User｜>Hi", "raw": True, "stream": False}
    )
    assert answer["response"] == "<think>x"
    assert "context" not in answer
    assert daemon.engine.prompts[0].text == "<｜User｜>Hi"
    assert daemon.engine.prompts[0].markers == ()


async def test_options_reach_the_engine(daemon: Any) -> None:
    options = {"temperature": 0, "seed": 7, "num_predict": 5, "stop": ["\n"], "num_ctx": 512, "mirostat": 1}
    await daemon.ollama.chat("demo", ASK, options=options)
    (sampling,) = daemon.engine.samplings
    assert (sampling.temperature, sampling.seed, sampling.max_tokens) == (0, 7, 5)
    assert daemon.engine.prompts[0].stops == ("\n",)
    assert daemon.engine.loads[0].context == 512


async def test_the_name_is_echoed_as_sent(daemon: Any) -> None:
    for name in ("demo", "DEMO:latest", "library/demo", "http://demo", "demo:local"):
        status, answer = await daemon.post("/api/chat", {"model": name, "messages": ASK, "stream": False})
        assert (status, answer["model"]) == (200, name)
    assert len(daemon.engine.loads) == 1


# --- loading and unloading ---


@pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
async def test_nothing_asked_loads_and_unloads(daemon: Any, path: str) -> None:
    status, answer = await daemon.post(path, {"model": "demo", "stream": True})
    assert (status, answer["done"], answer["done_reason"]) == (200, True, "load")
    assert answer.get("message", {"role": "assistant", "content": ""}) == {"role": "assistant", "content": ""}
    assert "eval_count" not in answer
    (model,) = await daemon.loaded()
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


# --- endings ---


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


# --- what is refused ---

CHAT, GENERATE = "/api/chat", "/api/generate"


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        (CHAT, {}, 400, "model is required"),
        (CHAT, {"model": "a b"}, 400, "invalid model name"),
        (CHAT, {"model": "Nope", "messages": ASK}, 404, "model 'Nope' not found"),
        (CHAT, {"model": "demo:7b", "messages": ASK}, 404, "model 'demo:7b' not found"),
        (CHAT, {"model": "nope", "keep_alive": 0}, 404, "model 'nope' not found"),
        (CHAT, {"model": "demo", "think": "x"}, 400,
         'invalid think value: "x" (must be "high", "medium", "low", "max", true, or false)'),
        (CHAT, {"model": "demo", "think": 3}, 400, "think must be a boolean or string"),
        (CHAT, {"model": "demo", "keep_alive": "soon"}, 400, "invalid keep_alive"),
        (CHAT, {"model": "demo", "keep_alive": [1]}, 400, "Unsupported type: 'list'"),
        (CHAT, {"model": "demo", "top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
        (CHAT, {"model": "demo", "messages": ASK, "logprobs": True}, 400, "does not support logprobs"),
        (CHAT, {"model": "demo", "messages": ASK, "format": "json"}, 400, "does not support format"),
        (CHAT, {"model": "demo", "messages": [{"role": "user", "images": ["aGk="]}]}, 400, "does not support images"),
        (CHAT, {"model": "demo", "messages": ASK, "options": {"num_ctx": "x"}}, 400,
         'option "num_ctx" must be of type integer'),
        (CHAT, {"model": "demo", "messages": ASK, "_debug_render_only": True}, 400, "_debug_render_only"),
        (GENERATE, {}, 404, "model '' not found"),
        (GENERATE, {"model": "x"}, 404, "model 'x' not found"),
        (GENERATE, {"model": "demo", "prompt": "x", "raw": True, "system": "y"}, 400,
         "raw mode does not support template, system, or context"),
        (GENERATE, {"model": "demo", "prompt": "x", "suffix": "y"}, 400, "does not support suffix"),
        (GENERATE, {"model": "demo", "prompt": "x", "template": "y"}, 400, "does not support template"),
        (GENERATE, {"model": "demo", "prompt": "x", "context": [1]}, 400, "does not support context"),
        (GENERATE, {"model": "demo", "prompt": "x", "images": ["aGk="]}, 400, "does not support images"),
        ("/api/show", {}, 400, "model is required"),
        ("/api/show", {"model": "nope"}, 404, "model 'nope:latest' not found"),
        ("/api/copy", {"source": "", "destination": "x"}, 400, 'source "" is invalid'),
        ("/api/copy", {"source": "nope", "destination": "x"}, 404, 'model "nope" not found'),
        ("/api/copy", {"source": "demo", "destination": "a b"}, 400, 'destination "a b" is invalid'),
    ],
)  # fmt: skip
async def test_refusals(daemon: Any, path: str, body: Any, status: int, text: str) -> None:
    found, answer = await daemon.post(path, body)
    assert found == status
    assert list(answer) == ["error"]
    assert text in answer["error"]
    assert daemon.engine.prompts == []


@pytest.mark.parametrize(("name", "status"), [("nope", 404), ("", 400), ("a/b/c/d", 400)])
async def test_refused_deletes(daemon: Any, name: str, status: int) -> None:
    async with daemon.http.delete(daemon.url + "/api/delete", json={"model": name}) as reply:
        assert (reply.status, list(await reply.json())) == (status, ["error"])


async def test_bodies_that_cannot_be_read(daemon: Any) -> None:
    for body, text in ((b"", "missing request body"), (b"{", "invalid JSON"), (b"[1]", "must be a JSON object")):
        async with daemon.http.post(daemon.url + "/api/chat", data=body) as reply:
            assert reply.status == 400
            assert text in (await reply.json())["error"]


async def test_a_body_too_large(daemon: Any) -> None:
    async with daemon.http.post(daemon.url + "/api/show", data=BytesIO(b" " * ((64 << 20) + 1))) as reply:
        assert (reply.status, await reply.json()) == (413, {"error": "the request body is too large"})


async def test_the_content_type_does_not_matter(daemon: Any) -> None:
    body, headers = b'{"model": "demo"}', {"Content-Type": "application/x-www-form-urlencoded"}
    async with daemon.http.post(daemon.url + "/api/show", data=body, headers=headers) as reply:
        assert reply.status == 200


async def test_paths_and_verbs_that_are_not_there(daemon: Any) -> None:
    async with daemon.http.get(daemon.url + "/api/nothing") as reply:
        assert (reply.status, await reply.text()) == (404, "404 page not found")
        assert reply.headers["Content-Type"].startswith("text/plain")
    async with daemon.http.get(daemon.url + "/api/chat") as reply:
        assert (reply.status, reply.headers["Allow"]) == (405, "POST")
    for method, status in (("GET", 301), ("HEAD", 301)):
        async with daemon.http.request(method, daemon.url + "/api/tags/", allow_redirects=False) as reply:
            assert (reply.status, reply.headers["Location"]) == (status, "/api/tags")
    async with daemon.http.post(daemon.url + "/api/show/", json={"model": "demo"}) as reply:
        assert reply.status == 200
    async with daemon.http.get(daemon.url + "//evil.example/", allow_redirects=False) as reply:
        assert reply.status == 404
