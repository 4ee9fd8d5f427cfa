"""Answers by Ollama's routes, as its own client and as hand-written ones read them, over the fake engine."""

import json
from datetime import datetime
from typing import Any

import pytest

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


async def test_a_prompt_is_only_rendered(daemon: Any) -> None:
    """As Ollama's own suite asks: by both routes the same prompt, and nothing is loaded."""
    asked = {"model": "demo", "_debug_render_only": True}
    text = ASK[0]["content"]
    _, chatted = await daemon.post("/api/chat", asked | {"messages": ASK})
    _, generated = await daemon.post("/api/generate", asked | {"prompt": text})
    prompt = f"<｜begin▁of▁sentence｜><｜User｜>{text}<｜Assistant｜>"
    assert chatted["_debug_info"] == generated["_debug_info"] == {"rendered_template": prompt, "image_count": 0}
    assert (chatted["message"], generated["response"]) == ({"role": "assistant", "content": ""}, "")
    assert daemon.engine.loads == []


async def test_a_models_own_words_go_before_the_clients(daemon: Any) -> None:
    """Its system prompt, unless the client brings one, which then goes first; then its example messages."""
    examples = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    made = {"model": "polite", "from": "demo", "system": "Be kind.", "messages": examples, "stream": False}
    await daemon.post("/api/create", made)
    for messages in (ASK, [{"role": "system", "content": "Be brief."}, *ASK]):
        await daemon.post("/api/chat", {"model": "polite", "messages": messages, "stream": False})
    own, client = (prompt.text for prompt in daemon.engine.prompts)
    talk = f"<｜User｜>Hi<｜Assistant｜>Hello<｜end▁of▁sentence｜><｜User｜>{ASK[0]['content']}<｜Assistant｜>"
    assert (own, client) == tuple(f"<｜begin▁of▁sentence｜>{each}{talk}" for each in ("Be kind.", "Be brief."))


async def test_who_called_a_tool_is_found_by_the_calls_id(daemon: Any) -> None:
    template = "{% for message in messages %}{{ message.role }} {{ message.name }};{% endfor %}"
    await daemon.post("/api/create", {"model": "named", "from": "demo", "template": template, "stream": False})
    talk = [
        {"role": "developer", "content": "x"},
        {"role": "assistant", "tool_calls": [{"id": "call_1", "function": {"name": "f", "arguments": {}}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "y"},
    ]
    await daemon.post("/api/chat", {"model": "named", "messages": talk, "stream": False})
    assert daemon.engine.prompts[0].text == "system ;assistant ;tool f;"


@pytest.mark.parametrize(
    "template",
    ["{% for message in messages %}[{{ message.role }}] {{ message.content }} {% endfor %}",
     "{{ if .System }}[system] {{ .System }} {{ end }}[user] {{ .Prompt }} "],
    ids=["jinja", "go"],
)  # fmt: skip
async def test_a_template_of_the_clients_own(daemon: Any, template: str) -> None:
    asked = {"model": "demo", "prompt": "Hi", "system": "Be brief.", "template": template, "stream": False}
    assert (await daemon.post("/api/generate", asked))[0] == 200
    assert daemon.engine.prompts[0].text.strip() == "[system] Be brief. [user] Hi"


@pytest.mark.parametrize("path", ["/api/generate", "/api/chat"])
async def test_an_answer_goes_on_beyond_its_context_where_asked(daemon: Any, path: str) -> None:
    """Those of DeepSeek's architecture end with it, as Ollama's do."""
    body = {"model": "demo", "stream": False} | ({"messages": ASK} if path.endswith("chat") else {"prompt": "Hi"})
    for asked, wanted in (({}, False), ({"shift": True}, True), ({"shift": False}, False)):
        assert (await daemon.post(path, body | asked | {"options": {"num_keep": 9}}))[0] == 200
        assert (daemon.engine.samplings[-1].shift, daemon.engine.samplings[-1].keep) == (wanted, 9)
