"""OpenAI's routes as its own client uses them, over the fake engine."""

import asyncio
import json
from typing import Any

import openai
import pytest

from ktd.engine.client import JobFailed

ASK: list[Any] = [{"role": "user", "content": "What is 12 + 30?"}]
WEATHER: Any = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
CALL = (
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
    '{"city": "Oslo"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>'
)


async def test_models(daemon: Any) -> None:
    (model,) = [model async for model in daemon.openai.models.list()]
    assert (model.id, model.object, model.owned_by) == ("demo:latest", "model", "library")
    assert (await daemon.openai.models.retrieve("demo")).id == "demo:latest"
    daemon.registry.copy("demo", "hf.co/unsloth/Tiny:Q8_0")
    for path in ("hf.co%2Funsloth%2FTiny:Q8_0", "hf.co/unsloth/Tiny:Q8_0"):
        assert (await daemon.get(f"/v1/models/{path}"))["id"] == "hf.co/unsloth/Tiny:Q8_0"
    with pytest.raises(openai.NotFoundError, match="model 'nope' not found"):
        await daemon.openai.models.retrieve("nope")


async def test_a_completion(daemon: Any) -> None:
    daemon.engine.answer = ["<think>\nI add.\n</think>\n\n", "42"]
    done = await daemon.openai.chat.completions.create(model="demo", messages=ASK)
    (choice,) = done.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", "42", "stop")
    assert choice.message.reasoning_content == choice.message.reasoning == "I add."
    assert (done.usage.prompt_tokens, done.usage.completion_tokens, done.usage.total_tokens) == (10, 2, 12)
    assert done.usage.prompt_tokens_details.cached_tokens == 4
    assert done.id.startswith("chatcmpl-")


async def test_a_streamed_completion(daemon: Any) -> None:
    daemon.engine.answer = ["<think>a</think>", "4", "2"]
    stream = await daemon.openai.chat.completions.create(
        model="demo", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert len({(chunk.id, chunk.created, chunk.model, chunk.object) for chunk in chunks}) == 1
    first, *middle, last, usage = chunks
    assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "")
    assert "".join(chunk.choices[0].delta.content or "" for chunk in middle) == "42"
    assert [getattr(chunk.choices[0].delta, "reasoning", None) for chunk in middle] == ["a", None, None]
    assert last.choices[0].finish_reason == "stop"
    assert (usage.choices, usage.usage.total_tokens) == ([], 13)
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_the_stream_as_it_is_on_the_wire(daemon: Any) -> None:
    body = {"model": "demo", "messages": ASK, "stream": True}
    async with daemon.http.post(daemon.url + "/v1/chat/completions", json=body) as reply:
        assert reply.headers["Content-Type"] == "text/event-stream"
        text = await reply.text()
    *events, done, rest = text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    assert all(event.startswith("data: {") for event in events)
    assert not any('"usage"' in event for event in events)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_tool_call(daemon: Any, stream: bool) -> None:
    daemon.engine.answer = ["<think>x</think>\n\n", CALL[:30], CALL[30:]]
    options: dict[str, Any] = {"model": "demo", "messages": ASK, "tools": [WEATHER]}
    if stream:
        chunks = [c async for c in await daemon.openai.chat.completions.create(**options, stream=True)]
        (call,) = [c.choices[0].delta.tool_calls[0] for c in chunks if c.choices[0].delta.tool_calls]
        assert call.index == 0
        reason = chunks[-1].choices[0].finish_reason
    else:
        done = await daemon.openai.chat.completions.create(**options)
        (call,) = done.choices[0].message.tool_calls
        assert done.choices[0].message.content is None
        reason = done.choices[0].finish_reason
    assert (call.type, call.function.name) == ("function", "get_weather")
    assert json.loads(call.function.arguments) == {"city": "Oslo"}
    assert reason == "tool_calls"


async def test_a_conversation_with_everything(daemon: Any) -> None:
    messages: list[Any] = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is "}, {"type": "text", "text": "it?"}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
    ]  # fmt: skip
    await daemon.openai.chat.completions.create(model="demo", messages=messages)
    text = daemon.engine.prompts[0].text
    assert "Be brief.<｜User｜>What is it?<｜Assistant｜><｜tool▁calls▁begin｜>" in text
    assert 'get_weather\n```json\n{"city": "Oslo"}' in text


async def test_parameters_reach_the_engine(daemon: Any) -> None:
    await daemon.openai.chat.completions.create(
        model="demo", messages=ASK, max_completion_tokens=5, seed=3, stop="x", presence_penalty=0.5, temperature=0.2
    )
    await daemon.openai.chat.completions.create(model="demo", messages=ASK, max_tokens=6)
    first, second = daemon.engine.samplings
    assert (first.max_tokens, first.seed, first.presence_penalty, first.temperature) == (5, 3, 0.5, 0.2)
    assert daemon.engine.prompts[0].stops == ("x",)
    parameters = daemon.registry.find("demo").parameters
    assert second.max_tokens == 6
    assert (second.temperature, second.top_p) == (parameters.get("temperature", 1.0), parameters.get("top_p", 1.0))


@pytest.mark.parametrize(
    ("effort", "ending"),
    [("none", "<think>\n\n</think>\n\n"), ("high", "<think>\n"), ("minimal", "<think>\n"), (None, "<｜Assistant｜>")],
)
async def test_reasoning_effort(daemon: Any, effort: Any, ending: str) -> None:
    await daemon.openai.chat.completions.create(model="demo", messages=ASK, reasoning_effort=effort)
    assert daemon.engine.prompts[0].text.endswith(ending)


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        ({"model": ""}, 400, "model is required"),
        ({"model": "nope"}, 404, "model 'nope' not found"),
        ({"messages": []}, 400, "[] is too short - 'messages'"),
        ({"messages": [{"role": "user", "content": None}]}, 400, "invalid message content type: <nil>"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, 400,
         "does not support images"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, 400, "does not support audio"),
        ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, 400, "unknown type of content: 'smell'"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]}, 400,
         "invalid tool call arguments"),
        ({"n": 0}, 400, "n must be between 1 and 128"),
        ({"n": 129}, 400, "n must be between 1 and 128"),
        ({"logprobs": True, "top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
        ({"top_logprobs": 2}, 400, "top_logprobs needs logprobs to be true"),
        ({"logit_bias": {"1": 101}}, 400, "the values of logit_bias must be between -100 and 100"),
        ({"logit_bias": {"a": 1}}, 400, "the keys of logit_bias must be token ids"),
        ({"response_format": {"type": "xml"}}, 400, 'response_format of type "xml" is unknown'),
        ({"response_format": {"type": "json_schema"}}, 400, "needs a JSON schema"),
        ({"reasoning_effort": "huge"}, 400, "invalid reasoning value: huge"),
        ({"temperature": -1}, 400, "temperature"),
    ],
)  # fmt: skip
async def test_refusals(daemon: Any, change: dict[str, Any], status: int, text: str) -> None:
    body = {"model": "demo", "messages": ASK} | change
    found, answer = await daemon.post("/v1/chat/completions", body)
    assert found == status
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert text in answer["error"]["message"]
    assert answer["error"]["type"] == ("not_found_error" if status == 404 else "invalid_request_error")


async def test_the_official_client_knows_the_errors(daemon: Any) -> None:
    with pytest.raises(openai.NotFoundError):
        await daemon.openai.chat.completions.create(model="nope", messages=ASK)
    daemon.engine.failure = JobFailed("prompt_too_long", "the prompt has 3000 tokens, the context 2048")
    with pytest.raises(openai.BadRequestError, match="3000 tokens"):
        await daemon.openai.chat.completions.create(model="demo", messages=ASK)


async def test_an_error_in_mid_stream_is_sent(daemon: Any) -> None:
    daemon.engine.pause_at = 1
    stream = await daemon.openai.chat.completions.create(model="demo", messages=ASK, stream=True)
    with pytest.raises(openai.APIError, match="killed by SIGKILL"):
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                daemon.engine.workers[0].die()


@pytest.mark.parametrize("stream", [True, False])
async def test_several_choices(daemon: Any, stream: bool) -> None:
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if stream else {}
    done = await daemon.openai.chat.completions.create(
        model="demo", messages=ASK, n=3, seed=7, stream=stream, **options
    )
    if stream:
        *chunks, last = [chunk async for chunk in done]
        texts = dict.fromkeys(range(3), "")
        for choice in (choice for chunk in chunks for choice in chunk.choices):
            texts[choice.index] += choice.delta.content or ""
        assert [choice.finish_reason for chunk in chunks for choice in chunk.choices].count("stop") == 3
        assert (list(texts.values()), last.choices) == (["Hello world"] * 3, [])
        usage = last.usage
    else:
        assert [(one.index, one.message.content) for one in done.choices] == [(at, "Hello world") for at in range(3)]
        usage = done.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (10, 6, 16)
    assert sorted(sampling.seed for sampling in daemon.engine.samplings) == [7, 8, 9]


async def test_clients_do_not_mix(daemon: Any) -> None:
    async def one(number: int) -> None:
        text = f"number {number}"
        asked: list[Any] = [{"role": "user", "content": text}]
        done = await daemon.openai.chat.completions.create(model="demo", messages=asked)
        assert done.choices[0].message.content == "Hello world"

    await asyncio.gather(*(one(number) for number in range(8)))
    texts = {prompt.text for prompt in daemon.engine.prompts}
    assert texts == {f"<｜begin▁of▁sentence｜><｜User｜>number {number}<｜Assistant｜>" for number in range(8)}
