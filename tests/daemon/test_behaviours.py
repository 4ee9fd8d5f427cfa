"""The 25 behaviours that clients break on first, one test each, as raw as the clients see them.

The order is that of how many clients break. What only the real engine can show is named where it is tested; the
official clients are driven in test_real_dialects, test_responses and test_other_clients.
"""

import asyncio
import json
from datetime import datetime
from typing import Any

import aiohttp
import pytest
from pulling import MODEL
from until import until

from ktd.engine.client import JobFailed, LoadRefused

ASK = [{"role": "user", "content": "What is 12 + 30?"}]
CHAT: dict[str, Any] = {"model": "demo", "messages": ASK}
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}
CALL = (
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
    '{"city": "Oslo"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>'
)


async def raw(daemon: Any, path: str, body: Any) -> tuple[str, bytes]:
    """Content type and bytes of a reply."""
    async with daemon.http.post(daemon.url + path, json=body) as reply:
        assert reply.status == 200
        return reply.headers["Content-Type"], await reply.read()


async def lines(daemon: Any, path: str, body: Any) -> list[Any]:
    kind, text = await raw(daemon, path, body)
    assert kind == "application/x-ndjson"
    return [json.loads(line) for line in text.removesuffix(b"\n").split(b"\n")]


async def events(daemon: Any, body: Any) -> list[Any]:
    kind, text = await raw(daemon, "/v1/chat/completions", body | {"stream": True})
    assert kind == "text/event-stream"
    *found, done, rest = text.decode().split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(event.removeprefix("data: ")) for event in found]


async def test_01_one_json_object_per_line_sent_at_once(daemon: Any) -> None:
    daemon.engine.answer, daemon.engine.pause_at = ["a\nb", "c"], 1
    async with daemon.http.post(daemon.url + "/api/chat", json=CHAT) as reply:
        assert reply.headers["Content-Type"] == "application/x-ndjson"
        first = await reply.content.readline()
        assert json.loads(first)["message"]["content"] == "a\nb"  # while the next is not yet there
        daemon.engine.go_on.set()
        rest = await reply.read()
    assert first.endswith(b"}\n") and rest.endswith(b"}\n")
    assert all(isinstance(json.loads(line), dict) for line in rest.removesuffix(b"\n").split(b"\n"))


async def test_02_native_routes_stream_unless_told_not_to_and_v1_does_not(served: Any) -> None:
    asked = {"model": "demo", "prompt": "x", "max_tokens": 9, "messages": ASK, "input": "x"}
    for path in ("/api/chat", "/api/generate"):
        assert len(await lines(served, path, asked)) > 1
    assert len(await lines(served, "/api/create", {"model": "copy", "from": "demo"})) > 1
    assert len(await lines(served, "/api/pull", {"model": MODEL})) > 1
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"):
        kind, text = await raw(served, path, asked)
        assert kind.startswith("application/json") and json.loads(text)


async def test_03_the_last_line_says_so(served: Any) -> None:
    for path in ("/api/chat", "/api/generate"):
        *middle, last = await lines(served, path, CHAT | {"prompt": "x"})
        assert last["done"] is True and not any(line["done"] for line in middle)
    for path, body in (("/api/create", {"model": "copy", "from": "demo"}), ("/api/pull", {"model": MODEL})):
        assert (await lines(served, path, body))[-1] == {"status": "success"}


async def test_04_errors_are_an_object_with_a_text(daemon: Any) -> None:
    async with daemon.http.post(daemon.url + "/api/chat", json={"model": "nope"}) as reply:
        assert reply.headers["Content-Type"].startswith("application/json")
        assert await reply.json() == {"error": "model 'nope' not found"}
    daemon.engine.pause_at = 1
    async with daemon.http.post(daemon.url + "/api/chat", json=CHAT) as reply:
        await reply.content.readline()
        daemon.engine.workers[0].die()
        (last,) = (await reply.read()).splitlines()
    assert json.loads(last) == {"error": "the engine worker was killed by SIGKILL"}


async def test_05_a_model_that_is_not_there_is_a_404(daemon: Any) -> None:
    for path in ("/api/show", "/api/chat", "/api/generate", "/api/embed", "/v1/chat/completions", "/v1/messages"):
        status, body = await daemon.post(path, {"model": "nope", "messages": ASK, "max_tokens": 9, "input": "x"})
        assert (status, "not found" in json.dumps(body)) == (404, True)
    async with daemon.http.delete(daemon.url + "/api/delete", json={"model": "nope"}) as reply:
        assert (reply.status, "not found" in (await reply.json())["error"]) == (404, True)


async def test_06_tags_have_every_key(daemon: Any) -> None:
    (model,) = (await daemon.get("/api/tags"))["models"]
    assert set(model) >= {"name", "model", "modified_at", "size", "digest", "details", "capabilities"}
    assert set(model["details"]) >= {"format", "family", "families", "parameter_size", "quantization_level"}
    daemon.registry.delete("demo")
    assert await daemon.get("/api/tags") == {"models": []}


async def test_07_the_version_is_bare_and_high_enough(daemon: Any) -> None:
    version = (await daemon.get("/api/version"))["version"]
    assert tuple(map(int, version.split("."))) >= (0, 6, 4)


async def test_08_names_are_one_model_however_they_are_written(daemon: Any) -> None:
    await daemon.ollama.copy("demo", "hf.co/Org/Repo-GGUF:Q4_K_M")
    for name in ("demo", "demo:latest", "DEMO", "library/demo:LATEST"):
        assert (await daemon.post("/api/show", {"model": name}))[0] == 200
        assert (await daemon.post("/api/chat", CHAT | {"model": name, "stream": False}))[1]["model"] == name
    for name in ("hf.co/Org/Repo-GGUF:Q4_K_M", "HF.co/org/repo-gguf:q4_k_m"):
        assert (await daemon.post("/api/generate", {"model": name}))[0] == 200
        for path in (name, name.replace("/", "%2F")):
            assert (await daemon.get(f"/v1/models/{path}"))["id"] == "hf.co/Org/Repo-GGUF:Q4_K_M"
    assert (await daemon.post("/api/show", {"model": "demo:7b"}))[0] == 404


async def test_09_chat_completions_as_events(daemon: Any) -> None:
    first, *middle, last = await events(daemon, CHAT)
    assert first["choices"][0]["delta"]["role"] == "assistant"
    assert "".join(event["choices"][0]["delta"]["content"] for event in middle) == "Hello world"
    assert [event["choices"][0]["finish_reason"] for event in (first, *middle, last)] == [None, None, None, "stop"]
    for key, value in {"id": first["id"], "object": "chat.completion.chunk", "model": "demo"}.items():
        assert all(event[key] == value for event in (first, *middle, last))
    assert all(isinstance(event["created"], int) for event in (first, *middle, last))


async def test_10_errors_of_openai_have_its_envelope(start: Any) -> None:
    """Its SDK tries again after 408, 409, 429 and 5xx, and not where the reply says that it is of no use."""
    daemon = await start(max_queue=1)
    status, body = await daemon.post("/v1/chat/completions", CHAT | {"temperature": "hot"})
    assert (status, set(body["error"])) == (400, {"message", "type", "param", "code"})
    daemon.engine.refusals = [LoadRefused("out_of_memory", "needs 400 GB")]
    async with daemon.http.post(daemon.url + "/v1/chat/completions", json=CHAT) as reply:
        assert (reply.status, reply.headers["x-should-retry"]) == (500, "false")
    daemon.engine.pause_at = 0
    asking = asyncio.create_task(daemon.post("/v1/chat/completions", CHAT))
    await until(lambda: daemon.engine.running == 1)
    async with daemon.http.post(daemon.url + "/v1/chat/completions", json=CHAT) as reply:
        assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    daemon.engine.go_on.set()
    assert (await asking)[0] == 200


async def test_11_tool_calls_in_both_dialects(daemon: Any) -> None:
    daemon.engine.answer = [CALL]
    _, native = await daemon.post("/api/chat", CHAT | {"tools": [TOOL], "stream": False})
    (call,) = native["message"]["tool_calls"]
    assert call["function"] == {"index": 0, "name": "get_weather", "arguments": {"city": "Oslo"}}
    assert (native["message"]["content"], native["done_reason"]) == ("", "stop")
    found = await events(daemon, CHAT | {"tools": [TOOL]})
    (call,) = (call for event in found for call in event["choices"][0]["delta"].get("tool_calls", []))
    assert (call["index"], call["type"], call["id"][:5]) == (0, "function", "call_")
    assert json.loads(call["function"]["arguments"]) == {"city": "Oslo"}
    assert found[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_12_show_has_what_editors_read(daemon: Any) -> None:
    for key in ("model", "name"):
        _, shown = await daemon.post("/api/show", {key: "demo"})
        assert shown["model_info"]["general.architecture"] == "deepseek2"
        assert shown["model_info"]["deepseek2.context_length"] == 2048
        assert {"completion", "tools", "thinking"} <= set(shown["capabilities"])
        assert "messages" in shown["template"] and isinstance(shown.get("parameters", ""), str)


async def test_13_figures_are_whole_numbers_on_the_last_line(daemon: Any) -> None:
    keys = {f"{each}_duration" for each in ("total", "load", "prompt_eval", "eval")} | {
        "prompt_eval_count",
        "eval_count",
    }
    for path in ("/api/chat", "/api/generate"):
        *middle, last = await lines(daemon, path, CHAT | {"prompt": "x"})
        assert all(type(last[key]) is int and last[key] > 0 for key in keys)
        assert not any(keys & set(line) for line in middle)
        assert last["total_duration"] < 60e9  # nanoseconds


async def test_14_timestamps_can_be_read(daemon: Any) -> None:
    _, answer = await daemon.post("/api/chat", CHAT | {"stream": False, "keep_alive": -1})
    (tag,), (loaded,) = (await daemon.get("/api/tags"))["models"], await daemon.loaded()
    for text in (answer["created_at"], tag["modified_at"], loaded["expires_at"]):
        assert datetime.fromisoformat(text).tzinfo is not None
        assert len(text.partition(".")[2].removesuffix("Z")) == 6  # what every Python takes


@pytest.mark.parametrize("keep_alive", [1800, 0.5, 0, -1, "5m", "-1m", "0", "10", "1h30m", None])
async def test_15_keep_alive_in_every_form(daemon: Any, keep_alive: Any) -> None:
    status, _ = await daemon.post("/api/chat", CHAT | {"keep_alive": keep_alive, "stream": False})
    assert status == 200
    assert len(await daemon.loaded()) == (keep_alive not in (0, "0"))


@pytest.mark.parametrize("body", [{"prompt": ""}, {"messages": []}, {}])
async def test_16_nothing_asked_loads_and_unloads(daemon: Any, body: Any) -> None:
    path = "/api/chat" if "messages" in body else "/api/generate"
    for keep_alive, reason in (({}, "load"), ({"keep_alive": 0}, "unload"), ({"keep_alive": 0}, "unload")):
        kind, text = await raw(daemon, path, {"model": "demo"} | body | keep_alive)
        assert kind.startswith("application/json")
        assert (json.loads(text)["done"], json.loads(text)["done_reason"]) == (True, reason)
        assert len(await daemon.loaded()) == (reason == "load")
    assert daemon.engine.prompts == []


async def test_17_openais_models_are_those_that_chat_accepts(daemon: Any) -> None:
    found = await daemon.get("/v1/models")
    (model,) = found["data"]
    assert (found["object"], set(model)) == ("list", {"id", "object", "created", "owned_by"})
    assert (await daemon.post("/v1/chat/completions", CHAT | {"model": model["id"]}))[0] == 200
    daemon.registry.delete("demo")
    assert (await daemon.get("/v1/models"))["data"] == []


async def test_18_thoughts_are_apart(daemon: Any) -> None:
    daemon.engine.answer = ["<think>I ad", "d.</think>", "42"]
    found = await lines(daemon, "/api/chat", CHAT)
    assert "".join(line["message"].get("thinking", "") for line in found) == "I add."
    assert "".join(line["message"]["content"] for line in found) == "42"
    assert "" not in [line["message"].get("thinking") for line in found]
    deltas = [event["choices"][0]["delta"] for event in await events(daemon, CHAT)]
    for key in ("reasoning", "reasoning_content"):
        assert "".join(delta.get(key, "") for delta in deltas) == "I add."
    made = {"model": "plain", "from": "demo", "template": "{{ messages[0].content }}", "stream": False}
    await daemon.post("/api/create", made)
    for think, expected in ((False, 200), (True, 400), ("low", 400)):
        body = CHAT | {"model": "plain", "think": think, "stream": False}
        assert (await daemon.post("/api/chat", body))[0] == expected


async def test_19_options_are_taken_as_they_come(daemon: Any) -> None:
    options = {
        "mirostat": 1, "mirostat_tau": 5.0, "mirostat_eta": 0.1, "tfs_z": 1, "num_gpu": 1, "numa": False, "nothing": {},
        "num_ctx": 512.0, "top_k": 3.9, "seed": None, "temperature": 1, "stop": "x", "use_mmap": True,
        "num_thread": None, "num_batch": 512, "penalize_newline": True, "low_vram": False, "num_keep": 4, "main_gpu": 0,
    }  # fmt: skip
    assert (await daemon.post("/api/chat", CHAT | {"options": options, "stream": False}))[0] == 200
    (sampling,) = daemon.engine.samplings
    assert (sampling.top_k, sampling.temperature, daemon.engine.loads[0].context) == (3, 1.0, 512)


async def test_20_embeddings_are_lists_in_order(daemon: Any) -> None:
    """`/v1/embeddings` and its base64 are in test_embeddings."""
    _, one = await daemon.post("/api/embed", {"model": "demo", "input": "ab"})
    _, two = await daemon.post("/api/embed", {"model": "demo", "input": ["ab", "abc"]})
    assert len(one["embeddings"]) == 1 and two["embeddings"][0] == one["embeddings"][0] != two["embeddings"][1]
    _, old = await daemon.post("/api/embeddings", {"model": "demo", "prompt": "ab"})
    assert all(isinstance(number, float) for number in old["embedding"])


async def test_21_browsers_are_told_what_they_may(daemon: Any) -> None:
    """Which origins may is in test_guards."""
    asked = {"Origin": "app://obsidian.md", "Access-Control-Request-Method": "POST"}
    async with daemon.http.options(daemon.url + "/api/chat", headers=asked) as reply:
        assert reply.status == 204
        assert reply.headers["Access-Control-Allow-Origin"] == "app://obsidian.md"
        allowed = reply.headers["Access-Control-Allow-Headers"].lower()
    for header in ("authorization", "content-type", "x-stainless-os", "x-api-key", "anthropic-version"):
        assert header in allowed


async def test_22_a_client_that_leaves_frees_its_place(start: Any) -> None:
    """That a pull ends when its last client leaves is in the registry's tests; the real engine in test_real_engine."""
    daemon = await start(max_queue=1)
    daemon.engine.pause_at = 1
    async with aiohttp.ClientSession() as session, session.post(daemon.url + "/api/chat", json=CHAT) as reply:
        await reply.content.readline()
        assert (await daemon.post("/api/chat", CHAT))[0] == 503
    await until(lambda: daemon.engine.running == 0)
    daemon.engine.pause_at = None
    assert (await daemon.post("/api/chat", CHAT | {"stream": False}))[0] == 200


async def test_23_usage_is_told(daemon: Any) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}
    _, whole = await daemon.post("/v1/chat/completions", CHAT)
    assert usage.items() <= whole["usage"].items()
    *others, last = await events(daemon, CHAT | {"stream_options": {"include_usage": True}})
    assert last["choices"] == [] and usage.items() <= last["usage"].items()
    assert not any("usage" in event for event in (*others, *await events(daemon, CHAT)))


async def test_24_formats_begin_behind_the_thought(daemon: Any) -> None:
    """What the model then writes is in test_format and test_responses."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    named = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    await daemon.post("/api/chat", CHAT | {"format": schema, "stream": False, "think": True})
    await daemon.post(
        "/api/generate", {"model": "demo", "prompt": "x", "format": "json", "think": False, "stream": False}
    )
    await daemon.post("/v1/chat/completions", CHAT | {"response_format": named})
    native, free, openai = (prompt.grammar for prompt in daemon.engine.prompts)
    assert (native.opening, native.closing, free.closing) == ("", "</think>", "")
    assert native.documents == openai.documents != free.documents
    assert json.loads(native.documents[0].schema)["required"] == ["a"]


async def test_25_progress_of_pulls_can_be_drawn(served: Any) -> None:
    found = [line for line in await lines(served, "/api/pull", {"name": MODEL}) if "digest" in line]
    for line in found:
        assert line["status"] == f"pulling {line['digest'].removeprefix('sha256:')[:12]}"
        assert 0 <= line.get("completed", 0) <= line["total"]
    async with served.http.post(served.url + "/api/pull", json={"model": "ns/nothing"}) as reply:
        *_, last = (await reply.read()).splitlines()
        assert (reply.status, "file does not exist" in json.loads(last)["error"]) == (200, True)


async def test_and_what_comes_just_below(daemon: Any) -> None:
    for path in ("/", "/api/tags"):
        async with daemon.http.head(daemon.url + path) as reply:
            assert reply.status == 200
    body = {"source": "demo", "destination": "other"}
    async with daemon.http.post(daemon.url + "/api/copy", json=body) as reply:
        assert (reply.status, await reply.read()) == (200, b"")
    nulls = dict.fromkeys(("options", "format", "keep_alive", "think", "tools", "stream", "logprobs"))
    assert (await lines(daemon, "/api/chat", CHAT | nulls))[-1]["message"] == {"role": "assistant", "content": ""}
    daemon.engine.failure = JobFailed("prompt_too_long", "the prompt is too long: 9 tokens")
    assert (await daemon.post("/api/chat", CHAT))[0] == 400  # before the first byte, not in the stream
