"""What Open WebUI sends, and how it reads the answers: its requests as seen on the wire, its parsing without mercy."""

import asyncio
import json
import re
from datetime import datetime
from typing import Any

import aiohttp
import pytest
from until import until

from ktd.engine.client import JobFailed

SUM = {"role": "user", "content": "What is 12 + 30?"}
AGENT = {"User-Agent": "Python/3.11 aiohttp/3.14.1", "Content-Type": "application/json", "Accept": "*/*"}
CALLS = "<｜tool▁calls▁begin｜>{}<｜tool▁calls▁end｜>"
CALL = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>{}\n```json\n{}\n```<｜tool▁call▁end｜>"


def tool(name: str) -> Any:
    """Built-in tools have every shape of schema that there is."""
    properties = {
        "query": {"type": "string", "description": "What to look for"},
        "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None},
        "tags": {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
        "kind": {"type": ["string", "null"], "enum": ["a", "b", None]},
    }
    shape: Any = {"type": "object", "properties": properties, "required": ["query"]}
    if name.endswith("timestamp"):
        shape = {"type": "object", "properties": {}}
    return {"type": "function", "function": {"name": name, "description": "Does " * 60, "parameters": shape}}


TOOLS = [tool("get_current_timestamp"), *(tool(f"tool_{number}") for number in range(35))]


class Turn:
    """A streamed chat as Open WebUI takes it apart: each line by itself, and nothing forgiven."""

    def __init__(self) -> None:
        self.content = self.thinking = ""
        self.calls: dict[int, dict[str, str]] = {}
        self.usage: dict[str, float] = {}

    def read(self, line: str) -> None:
        data = json.loads(line)
        message = data["message"]
        self.content += message.get("content", "")
        self.thinking += message.get("thinking", "") or ""
        for call in message.get("tool_calls", []):
            index = call.get("index", call["function"].get("index", 0))
            known = self.calls.setdefault(index, {"id": call["id"], "name": call["function"]["name"], "arguments": ""})
            known["arguments"] += json.dumps(call["function"]["arguments"])
        if data.get("done"):
            for key in ("eval", "prompt_eval"):
                count, duration = int(data[f"{key}_count"]), data.get(f"{key}_duration", 0)
                self.usage[key] = count / (duration / 1e9) if duration > 0 else 0
            assert data["total_duration"] > 0 and data["done_reason"] in ("stop", "length")


async def turn(daemon: Any, messages: list[Any], **more: Any) -> Turn:
    found = Turn()
    body = {"model": "demo:latest", "messages": messages, "stream": True, "tools": TOOLS} | more
    async with daemon.http.post(f"{daemon.url}/api/chat", json=body, headers=AGENT) as reply:
        assert reply.status == 200
        for line in (await reply.text()).removesuffix("\n").split("\n"):
            found.read(line)
    return found


async def test_a_page_is_loaded(daemon: Any) -> None:
    (entry,) = (await daemon.get("/api/tags", headers=AGENT))["models"]
    assert entry["model"] == entry["name"] == "demo:latest"
    assert entry["details"]["parameter_size"] and entry["details"]["quantization_level"] and entry["digest"]
    assert (await daemon.get("/api/ps", headers=AGENT)) == {"models": []}
    version = (await daemon.get("/api/version", headers=AGENT))["version"]
    assert tuple(map(int, re.sub(r"^v|-.*", "", version).split(".")))


async def test_tools_come_with_every_message(daemon: Any) -> None:
    assert len(json.dumps(TOOLS)) > 20_000
    found = await turn(daemon, [SUM])
    assert (found.content, found.thinking, found.calls) == ("Hello world", "", {})
    assert found.usage["eval"] > 0
    (prompt,) = daemon.engine.prompts
    assert all(f'"{each["function"]["name"]}"' in prompt.text for each in TOOLS)


async def test_a_prompts_beginning_stays_the_same_over_turns(daemon: Any) -> None:
    """Or the tools would be read anew each time."""
    daemon.engine.answer = ["Well."]
    await turn(daemon, [SUM])
    await turn(daemon, [SUM, {"role": "assistant", "content": "Well."}, {"role": "user", "content": "And 1 + 1?"}])
    first, second = (prompt.text for prompt in daemon.engine.prompts)
    assert second.startswith(first)


async def test_tools_are_called_and_answered(daemon: Any) -> None:
    several = CALL.format("tool_1", '{"query": "x", "limit": null}') + "\n" + CALL.format("get_current_timestamp", "{}")
    daemon.engine.answer = ["<think>I look.</think>", *CALLS.format(several)]
    found = await turn(daemon, [SUM])
    assert found.thinking == "I look."
    assert [(index, call["name"], json.loads(call["arguments"])) for index, call in found.calls.items()] == [
        (0, "tool_1", {"query": "x", "limit": None}),
        (1, "get_current_timestamp", {}),
    ]
    asked = [
        {
            "index": index,
            "id": call["id"],
            "function": {"name": call["name"], "arguments": json.loads(call["arguments"])},
        }
        for index, call in found.calls.items()
    ]
    daemon.engine.answer = ["Done."]
    again = await turn(daemon, [
        SUM,
        {"role": "assistant", "content": "", "thinking": "I look.", "tool_calls": asked},
        *({"role": "tool", "content": "found", "tool_call_id": call["id"]} for call in asked),
    ])  # fmt: skip
    assert (again.content, again.calls) == ("Done.", {})
    assert "found" in daemon.engine.prompts[1].text


async def test_a_title_is_asked_for_beside_the_chat(daemon: Any) -> None:
    daemon.engine.pause_at = 0
    title = {"model": "demo:latest", "messages": [SUM], "stream": False, "options": {"num_predict": 1000}}
    chat, asked = (
        asyncio.create_task(turn(daemon, [SUM])),
        asyncio.create_task(daemon.post("/api/chat", title, headers=AGENT)),
    )
    await until(lambda: daemon.engine.running == 2)
    daemon.engine.go_on.set()
    assert ((await chat).content, (await asked)[1]["message"]["content"]) == ("Hello world", "Hello world")


async def test_options_of_the_page(daemon: Any) -> None:
    options = {
        "temperature": 0.7, "top_p": 0.9, "top_k": 40, "min_p": 0.1, "seed": 3, "mirostat": 0, "mirostat_eta": 0.1,
        "mirostat_tau": 5.0, "num_ctx": 1024, "num_batch": 512, "num_keep": 24, "num_predict": 128, "stop": ["END"],
        "repeat_last_n": 64, "repeat_penalty": 1.1, "presence_penalty": 0.1, "frequency_penalty": 0.2, "num_gpu": 0,
        "use_mmap": True, "use_mlock": False, "num_thread": 4, "made_up": "x",
    }  # fmt: skip
    await turn(daemon, [SUM], options=options, keep_alive="10m", think=True, format="json")
    (sampling,), (prompt,) = daemon.engine.samplings, daemon.engine.prompts
    assert (sampling.seed, sampling.max_tokens, sampling.repeat_penalty, prompt.stops) == (3, 128, 1.1, ("END",))
    (loaded,) = await daemon.loaded()
    assert loaded["context_length"] == 1024 and datetime.fromisoformat(loaded["expires_at"]).tzinfo is not None


async def test_what_can_be_known_is_told_before_the_first_byte(daemon: Any) -> None:
    """An error in the stream is swallowed there: the user would see an empty answer."""
    image = {"role": "user", "images": ["https://example.com/cat.png"]}
    asked: list[tuple[Any, str]] = [
        ({"messages": [image]}, "does not support images"),
        ({"messages": [SUM], "format": "xml"}, "invalid format"),
        ({"messages": [SUM], "think": "hard"}, "invalid think value"),
    ]
    for body, text in asked:
        status, answer = await daemon.post("/api/chat", {"model": "demo:latest", "stream": True} | body, headers=AGENT)
        assert (status, text in answer["error"]) == (400, True)
    daemon.engine.failure = JobFailed("prompt_too_long", "the prompt is too long: 9000 tokens")
    status, answer = await daemon.post("/api/chat", {"model": "demo:latest", "messages": [SUM]}, headers=AGENT)
    assert (status, answer) == (400, {"error": "the prompt is too long: 9000 tokens"})


@pytest.mark.parametrize("drop", [False, True])
async def test_models_that_call_no_tools(start: Any, drop: bool) -> None:
    """Refused as Ollama refuses them, unless the daemon is told to leave the tools out; a forced call is refused."""
    daemon = await start(drop_tools=drop)
    template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    await daemon.post("/api/create", {"model": "plain", "from": "demo", "template": template, "stream": False})
    body = {"model": "plain", "messages": [SUM], "tools": TOOLS, "stream": False}
    status, answer = await daemon.post("/api/chat", body, headers=AGENT)
    if drop:
        assert (status, answer["message"]["content"]) == (200, "Hello world")
        assert daemon.engine.prompts[0].text == SUM["content"]
    else:
        assert (status, answer) == (400, {"error": "plain:latest does not support tools"})
    status, answer = await daemon.post("/v1/chat/completions", body | {"tool_choice": "required"})
    assert (status, answer["error"]["message"]) == (400, "plain:latest does not support tools")


async def test_the_stop_button_closes_the_connection(daemon: Any) -> None:
    daemon.engine.pause_at = 1
    body = {"model": "demo:latest", "messages": [SUM], "stream": True, "tools": TOOLS}
    async with aiohttp.ClientSession() as session, session.post(daemon.url + "/api/chat", json=body) as reply:
        await reply.content.readline()
    await until(lambda: daemon.engine.running == 0)
    assert len(await daemon.loaded()) == 1


async def test_the_eject_button_unloads_whatever_is_loaded(daemon: Any) -> None:
    body = {"model": "demo:latest", "keep_alive": 0, "prompt": ""}
    assert (await daemon.post("/api/generate", body, headers=AGENT))[0] == 200
    await turn(daemon, [SUM])
    assert (await daemon.post("/api/generate", body, headers=AGENT))[0] == 200
    assert await daemon.loaded() == []


async def test_models_are_pulled_copied_shown_and_deleted(served: Any) -> None:
    name = "ns/Big-GGUF:Q8_0"
    body = {"name": name, "model": name, "insecure": True}
    async with served.http.post(served.url + "/api/pull", json=body, headers=AGENT) as reply:
        progress = [json.loads(line) for line in (await reply.text()).removesuffix("\n").split("\n")]
    assert progress[-1]["status"] == "success" and not any("error" in each for each in progress)
    assert all(each["completed"] / each["total"] <= 1 for each in progress if each.get("completed"))
    assert (await served.post("/api/show", {"model": name}, headers=AGENT))[1]["model_info"]
    await served.http.post(served.url + "/api/copy", json={"source": name, "destination": "b:one"}, headers=AGENT)
    for gone in ({"model": name}, {"model": "b:one", "name": "b:one"}):
        async with served.http.delete(served.url + "/api/delete", json=gone, headers=AGENT) as reply:
            assert reply.status == 200
    assert [model["name"] for model in (await served.get("/api/tags"))["models"]] == ["demo:latest"]


async def test_documents_are_embedded_all_at_once(daemon: Any) -> None:
    async def one(number: int) -> Any:
        body = {"input": ["x" * number], "model": "demo:latest", "truncate": True}
        return (await daemon.post("/api/embed", body, headers=AGENT))[1]["embeddings"]

    found = await asyncio.gather(*(one(number) for number in range(1, 65)))
    assert all(len(each) == 1 and len(each[0]) == 4 for each in found)
    assert len(daemon.engine.loads) == 1


@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions"])
async def test_as_an_openai_connection(daemon: Any, path: str) -> None:
    headers = AGENT | {"Authorization": "Bearer sk-any"}
    if path == "/v1/models":
        assert [model["id"] for model in (await daemon.get(path, headers=headers))["data"]] == ["demo:latest"]
        return
    daemon.engine.answer = ["<think>Hm.</think>", "42"]
    body = {"model": "demo:latest", "messages": [SUM], "stream": True, "stream_options": {"include_usage": True}}
    async with daemon.http.post(daemon.url + path, json=body, headers=headers) as reply:
        *events, done, _ = (await reply.text()).split("\n\n")
    assert done == "data: [DONE]"
    found = [json.loads(event.removeprefix("data: ")) for event in events]
    deltas = [choice["delta"] for event in found for choice in event["choices"]]
    assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == "Hm."
    assert "".join(delta.get("content") or "" for delta in deltas) == "42"
    assert found[-1]["usage"]["total_tokens"] == 12
