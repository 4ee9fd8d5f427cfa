"""OpenAI's Responses API as its own client uses it: over the fake engine, and with the demo model."""

import json
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from ktd.daemon import streams
from ktd.engine.client import JobFailed
from ktd.engine.messages import TokenLogprob

SUM = "What is 12 + 30?"
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}
CALL = (
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
    '{"city": "Oslo"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>'
)
THOUGHT, TEXT, ARGUMENTS = "response.reasoning_summary_", "response.output_text.", "response.function_call_arguments."
ADDED, DONE, PART = "response.output_item.added", "response.output_item.done", "response.content_part."


async def test_a_response(daemon: Any) -> None:
    daemon.engine.answer = ["<think>\nI add.\n</think>\n\n", "4", "2", CALL]
    done = await daemon.openai.responses.create(
        model="demo", input=SUM, instructions="Be brief.", tools=[WEATHER], max_output_tokens=9, temperature=0.5,
        metadata={"a": "b"}, store=True,
    )  # fmt: skip
    thought, message, call = done.output
    assert (thought.type, thought.summary[0].text, thought.id[:3]) == ("reasoning", "I add.", "rs_")
    assert (message.type, message.role, message.content[0].text, message.id[:4]) == (
        "message", "assistant", "42", "msg_")  # fmt: skip
    assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "get_weather", {"city": "Oslo"})
    assert call.call_id.startswith("call_") and call.id.startswith("fc_")
    assert {item.status for item in done.output} == {done.status} == {"completed"}
    assert (done.output_text, done.id[:5], done.object, done.model) == ("42", "resp_", "response", "demo")
    assert (done.usage.input_tokens, done.usage.output_tokens, done.usage.total_tokens) == (10, 4, 14)
    assert done.usage.input_tokens_details.cached_tokens == 4
    assert done.usage.output_tokens_details.reasoning_tokens == 1
    assert (done.instructions, done.metadata, done.temperature) == ("Be brief.", {"a": "b"}, 0.5)
    assert (done.error, done.incomplete_details, done.store, done.tools[0].name) == (None, None, False, "get_weather")
    (sampling,), (prompt,) = daemon.engine.samplings, daemon.engine.prompts
    assert (sampling.max_tokens, sampling.temperature) == (9, 0.5)
    assert "Be brief." in prompt.text and prompt.text.endswith(f"<｜User｜>{SUM}<｜Assistant｜>")


async def test_events_of_a_stream(daemon: Any) -> None:
    daemon.engine.answer = ["<think>I add", ".</think>", "4", "2", CALL[:30], CALL[30:]]
    stream = await daemon.openai.responses.create(model="demo", input=SUM, tools=[WEATHER], stream=True)
    events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [(event.type, getattr(event, "output_index", None)) for event in events] == [
        ("response.created", None), ("response.in_progress", None),
        (ADDED, 0), (THOUGHT + "part.added", 0), (THOUGHT + "text.delta", 0), (THOUGHT + "text.delta", 0),
        (THOUGHT + "text.done", 0), (THOUGHT + "part.done", 0), (DONE, 0),
        (ADDED, 1), (PART + "added", 1), (TEXT + "delta", 1), (TEXT + "delta", 1), (TEXT + "done", 1),
        (PART + "done", 1), (DONE, 1),
        (ADDED, 2), (ARGUMENTS + "delta", 2), (ARGUMENTS + "done", 2), (DONE, 2),
        ("response.completed", None),
    ]  # fmt: skip
    added = [event.item for event in events if event.type == ADDED]
    assert [item.status for item in added] == ["in_progress"] * 3
    assert (added[0].summary, added[1].content, added[2].arguments) == ([], [], "")
    assert events[0].response.output == [] and events[0].response.usage is None
    assert len(events[-1].response.output) == 3


async def test_the_official_client_puts_a_stream_together(daemon: Any) -> None:
    daemon.engine.answer = ["<think>I add.</think>", "4", "2", CALL]
    async with daemon.openai.responses.stream(model="demo", input=SUM, tools=[WEATHER]) as stream:
        texts = [event.delta async for event in stream if event.type == TEXT + "delta"]
        done = await stream.get_final_response()
    assert (texts, done.output_text) == (["4", "2"], "42")
    assert [item.type for item in done.output] == ["reasoning", "message", "function_call"]


async def test_a_conversation_with_everything(daemon: Any) -> None:
    """As clients send back what they were given: reasoning, text and calls of one go are one message."""
    first: Any = [{"role": "developer", "content": "Be kind."}, {"role": "user", "content": SUM}]
    daemon.engine.answer = ["<think>I look.</think>", "Well:", CALL]
    done = await daemon.openai.responses.create(model="demo", input=first, tools=[WEATHER])
    call = done.output[-1]
    back: Any = [
        *first,
        *(item.to_dict() for item in done.output),
        {"type": "function_call_output", "call_id": call.call_id, "output": [{"type": "input_text", "text": "rain"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "And now?"}]},
    ]
    await daemon.openai.responses.create(model="demo", input=back, instructions="Be brief.", tools=[WEATHER])
    text = daemon.engine.prompts[1].text
    assert "Be brief." in text and "Be kind." in text
    assert f"<｜Assistant｜>Well:{CALL}" in text
    assert "rain" in text and text.endswith("<｜User｜>And now?<｜Assistant｜>")


async def test_how_responses_end_and_fail(daemon: Any) -> None:
    daemon.engine.reason = "length"
    done = await daemon.openai.responses.create(model="demo", input=SUM, max_output_tokens=2)
    assert (done.status, done.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert done.output[0].status == "incomplete"
    *_, last = [event async for event in await daemon.openai.responses.create(model="demo", input=SUM, stream=True)]
    assert (last.type, last.response.status) == ("response.incomplete", "incomplete")
    daemon.engine.pause_at = 1
    stream = await daemon.openai.responses.create(model="demo", input=SUM, stream=True)
    async for event in stream:
        if event.type == TEXT + "delta":
            daemon.engine.workers[0].die()
    assert (event.type, event.response.status) == ("response.failed", "failed")
    assert "SIGKILL" in event.response.error.message
    daemon.engine.failure = JobFailed("prompt_too_long", "the prompt is too long: 3000 tokens")
    with pytest.raises(openai.BadRequestError, match="3000 tokens"):
        await daemon.openai.responses.create(model="demo", input=SUM, stream=True)


async def test_signs_of_life(daemon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "PULSE", 0.01)
    daemon.engine.pause_at = 0
    found = []
    async for event in await daemon.openai.responses.create(model="demo", input=SUM, stream=True):
        found.append(event.type)
        if len(found) == 4:
            daemon.engine.go_on.set()
    assert found[:4] == ["response.created", *["response.in_progress"] * 3]
    assert found[-1] == "response.completed" and found.count("response.created") == 1


async def test_log_probabilities(daemon: Any) -> None:
    daemon.engine.logprobs = [[TokenLogprob(b"Hello", -0.5)], [TokenLogprob(b" world", -1.5)]]
    done = await daemon.openai.responses.create(
        model="demo", input=SUM, include=["message.output_text.logprobs"], top_logprobs=3
    )
    told = done.output[0].content[0].logprobs
    assert [(each.token, each.logprob) for each in told] == [("Hello", -0.5), (" world", -1.5)]
    assert daemon.engine.samplings[0].logprobs == 3


@pytest.mark.parametrize(("truncation", "asked"), [("auto", 2), ("disabled", 1)])
async def test_truncation(daemon: Any, truncation: Any, asked: int) -> None:
    """Chats that are too long lose their oldest turns when that is wanted, and not otherwise."""
    old: Any = [{"role": "user", "content": "x" * 200}, {"role": "assistant", "content": "y"}]
    daemon.engine.context = daemon.engine.longest = 150
    asking = daemon.openai.responses.create(
        model="demo", input=[*old, {"role": "user", "content": SUM}], truncation=truncation
    )
    if truncation == "auto":
        assert (await asking).output_text == "Hello world"
    else:
        with pytest.raises(openai.BadRequestError, match="tokens"):
            await asking
    assert len(daemon.engine.prompts) == asked


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"model": ""}, "model is required"),
        ({"input": []}, "input is required"),
        ({"input": ""}, "input is required"),
        ({"previous_response_id": "resp_1"}, "stores no responses"),
        ({"conversation": "conv_1"}, "stores no responses"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "stores no responses"),
        ({"background": True}, "in the background"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "does not support images"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "does not support files"),
        ({"input": [{"type": "computer_call"}]}, "input items of type 'computer_call'"),
        ({"input": [{"type": "function_call", "name": "f", "arguments": "{"}]}, "invalid tool call arguments"),
        ({"tools": [{"type": "web_search"}]}, "no tool of type 'web_search'"),
        ({"tool_choice": "required"}, "needs tools"),
        ({"reasoning": {"effort": "huge"}}, "invalid reasoning value: huge"),
        ({"text": {"format": {"type": "xml"}}}, "text.format must have type"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format must have type"),
        ({"top_logprobs": 21}, "top_logprobs must be between 0 and 20"),
        ({"temperature": -1}, "temperature"),
    ],
)
async def test_refusals(daemon: Any, change: dict[str, Any], text: str) -> None:
    status, answer = await daemon.post("/v1/responses", {"model": "demo", "input": SUM} | change)
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
    assert text in answer["error"]["message"]
    assert daemon.engine.prompts == []


async def test_a_model_that_is_not_there(daemon: Any) -> None:
    with pytest.raises(openai.NotFoundError, match="model 'nope' not found"):
        await daemon.openai.responses.create(model="nope", input=SUM)


class Sum(BaseModel, extra="forbid"):
    answer: int


async def test_the_demo_model_thinks_answers_and_keeps_to_formats(openai_client: openai.AsyncOpenAI) -> None:
    cold: Any = {"model": "demo", "temperature": 0}
    async with openai_client.responses.stream(**cold, input=SUM, reasoning={"effort": "low"}) as stream:
        kinds = [event.type async for event in stream]
        done = await stream.get_final_response()
    thought = done.output[0]
    assert thought.type == "reasoning" and "42" in thought.summary[0].text
    assert done.output_text == "12 + 30 = 42"
    assert done.usage and 0 < done.usage.output_tokens_details.reasoning_tokens < done.usage.output_tokens
    assert kinds.count(TEXT + "delta") > 3
    parsed = await openai_client.responses.parse(**cold, input=SUM, text_format=Sum, reasoning={"effort": "none"})
    assert isinstance(parsed.output_parsed, Sum)


async def test_the_demo_model_calls_a_tool_and_uses_what_it_says(openai_client: openai.AsyncOpenAI) -> None:
    ask: Any = {"model": "demo", "temperature": 0, "tools": [WEATHER], "reasoning": {"effort": "none"}}
    talk: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
    called = await openai_client.responses.create(**ask, input=talk)
    (call,) = called.output
    assert call.type == "function_call" and json.loads(call.arguments) == {"city": "Paris"}
    result = json.dumps({"temperature": 21, "condition": "sunny"})
    talk += [*called.output, {"type": "function_call_output", "call_id": call.call_id, "output": result}]
    told = await openai_client.responses.create(**ask, input=talk)
    assert "21" in told.output_text and "sunny" in told.output_text
