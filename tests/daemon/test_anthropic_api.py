"""Anthropic's routes as its own client uses them, over the fake engine."""

import json
from typing import Any

import anthropic
import pytest

from ktd.daemon import streams
from ktd.engine.client import JobFailed

ASK: Any = [{"role": "user", "content": "What is 12 + 30?"}]
WEATHER: Any = {"name": "get_weather", "description": "Weather", "input_schema": {"type": "object"}}
CALL = (
    "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n"
    '{"city": "Oslo"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>'
)


async def test_a_message(daemon: Any) -> None:
    daemon.engine.answer = ["<think>\nI add.\n</think>\n\n", "42"]
    done = await daemon.anthropic.messages.create(
        model="demo", max_tokens=9, messages=ASK, extra_body={"top_k": 3, "temperature": 0.5}
    )
    thought, text = done.content
    assert (thought.type, thought.thinking, thought.signature) == ("thinking", "I add.", "")
    assert (text.type, text.text) == ("text", "42")
    assert (done.id[:4], done.type, done.role, done.model) == ("msg_", "message", "assistant", "demo")
    assert (done.stop_reason, done.stop_sequence) == ("end_turn", None)
    assert (done.usage.input_tokens, done.usage.cache_read_input_tokens, done.usage.output_tokens) == (6, 4, 2)
    (sampling,) = daemon.engine.samplings
    assert (sampling.max_tokens, sampling.top_k, sampling.temperature) == (9, 3, 0.5)


async def test_events_of_a_stream(daemon: Any) -> None:
    daemon.engine.answer = ["<think>I add", ".</think>", "4", "2", CALL[:30], CALL[30:]]
    body = {"model": "demo", "max_tokens": 9, "messages": ASK, "tools": [WEATHER], "stream": True}
    async with daemon.http.post(daemon.url + "/v1/messages", json=body) as reply:
        assert reply.headers["Content-Type"] == "text/event-stream"
        text = await reply.text()
    events = [event.removeprefix("event: ").split("\ndata: ") for event in text.strip().split("\n\n")]
    records = [json.loads(data) for _, data in events]
    assert [name for name, _ in events] == [record["type"] for record in records]
    start, stop = "content_block_start", "content_block_stop"
    delta = "content_block_delta"
    assert [(record["type"], record.get("index")) for record in records] == [
        ("message_start", None), (start, 0), (delta, 0), (delta, 0), (stop, 0), (start, 1), (delta, 1), (delta, 1),
        (stop, 1), (start, 2), (delta, 2), (stop, 2), ("message_delta", None), ("message_stop", None),
    ]  # fmt: skip
    assert records[-2]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}


async def test_the_official_client_puts_a_stream_together(daemon: Any) -> None:
    daemon.engine.answer = ["<think>I add.</think>", "4", "2", CALL]
    async with daemon.anthropic.messages.stream(model="demo", max_tokens=9, messages=ASK, tools=[WEATHER]) as stream:
        assert [text async for text in stream.text_stream] == ["4", "2"]
        done = await stream.get_final_message()
    thought, text, use = done.content
    assert (thought.thinking, text.text, use.name, use.input) == ("I add.", "42", "get_weather", {"city": "Oslo"})
    assert use.id.startswith("call_")
    assert (done.stop_reason, done.usage.input_tokens, done.usage.output_tokens) == ("tool_use", 6, 4)


async def test_a_conversation_with_everything(daemon: Any) -> None:
    messages: Any = [
        {"role": "user", "content": [{"type": "text", "text": "Weather", "cache_control": {"type": "ephemeral"}},
                                     {"type": "text", "text": "in Oslo?"}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "I look.", "signature": ""},
            {"type": "redacted_thinking", "data": "x"},
            {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Oslo"}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "rain"}]},
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": "no station", "is_error": True},
            {"type": "text", "text": "And now?"}]},
    ]  # fmt: skip
    system: Any = [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}]
    await daemon.anthropic.messages.create(
        model="demo", max_tokens=9, messages=messages, system=system, tools=[WEATHER], metadata={"user_id": "u"}
    )
    text = daemon.engine.prompts[0].text
    assert "Be brief.\nBe kind." in text
    assert "<｜User｜>Weather\nin Oslo?<｜Assistant｜><｜tool▁calls▁begin｜>" in text
    assert 'get_weather\n```json\n{"city": "Oslo"}' in text
    assert "rain" in text and "Error: no station" in text and "<｜User｜>And now?" in text
    assert "## Tools" in text and '"input_schema"' not in text


@pytest.mark.parametrize(
    ("options", "ending"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "<think>\n"),
        ({"thinking": {"type": "disabled"}}, "<think>\n\n</think>\n\n"),
        ({}, "<｜Assistant｜>"),
    ],
)
async def test_thinking(daemon: Any, options: Any, ending: str) -> None:
    await daemon.anthropic.messages.create(model="demo", max_tokens=2000, messages=ASK, **options)
    assert daemon.engine.prompts[0].text.endswith(ending)


async def test_a_begun_answer_is_gone_on_with(daemon: Any) -> None:
    await daemon.anthropic.messages.create(
        model="demo", max_tokens=5, messages=[*ASK, {"role": "assistant", "content": "12 + 30 ="}]
    )
    assert daemon.engine.prompts[0].text.endswith("12 + 30 =")


@pytest.mark.parametrize(
    ("reason", "stop", "found"),
    [("length", None, ("max_tokens", None)), ("stop", "END", ("stop_sequence", "END"))],
)
async def test_how_answers_end(daemon: Any, reason: Any, stop: Any, found: Any) -> None:
    daemon.engine.reason, daemon.engine.stop = reason, stop
    done = await daemon.anthropic.messages.create(model="demo", max_tokens=5, messages=ASK, stop_sequences=["END"])
    assert (done.stop_reason, done.stop_sequence) == found
    assert daemon.engine.prompts[0].stops == ("END",)


async def test_pings_come_while_nothing_is_said(daemon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "PULSE", 0.01)
    daemon.engine.pause_at = 0
    body = {"model": "demo", "max_tokens": 9, "messages": ASK, "stream": True}
    async with daemon.http.post(daemon.url + "/v1/messages", json=body) as reply:
        names = [line async for line in until_pings(reply, 3)]
        daemon.engine.go_on.set()
        rest = await reply.text()
    assert names[0] == "message_start" and set(names[1:]) == {"ping"}
    assert rest.count("message_start") == 0 and rest.count("event: message_stop") == 1


async def until_pings(reply: Any, count: int) -> Any:
    while count:
        line = (await reply.content.readline()).decode()
        if line.startswith("event: "):
            count -= line == "event: ping\n"
            yield line[7:-1]


async def test_tokens_are_counted(daemon: Any) -> None:
    found = await daemon.anthropic.messages.count_tokens(model="demo", messages=ASK, system="Be brief.")
    await daemon.anthropic.messages.create(model="demo", max_tokens=5, messages=ASK, system="Be brief.")
    assert found.input_tokens == len(daemon.engine.prompts[0].text) + 1


async def test_an_error_in_the_middle_is_an_event(daemon: Any) -> None:
    daemon.engine.pause_at = 1
    async with daemon.anthropic.messages.stream(model="demo", max_tokens=9, messages=ASK) as stream:
        with pytest.raises(anthropic.APIStatusError, match="SIGKILL"):
            async for event in stream:
                if event.type == "text":
                    daemon.engine.workers[0].die()


@pytest.mark.parametrize(
    ("change", "status", "kind", "text"),
    [
        ({"max_tokens": None}, 400, "invalid_request_error", "max_tokens is required and must be positive"),
        ({"max_tokens": 0}, 400, "invalid_request_error", "max_tokens is required and must be positive"),
        ({"messages": []}, 400, "invalid_request_error", "messages is required"),
        ({"model": ""}, 400, "invalid_request_error", "model is required"),
        ({"model": "nope"}, 404, "not_found_error", "model 'nope' not found"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, 400, "invalid_request_error",
         "does not support images"),
        ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, 400, "invalid_request_error",
         "does not support files"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result", "content": 5}]}]}, 400,
         "invalid_request_error", "tool_result"),
        ({"thinking": {"type": "huge"}}, 400, "invalid_request_error", "invalid thinking type: huge"),
        ({"tool_choice": {"type": "any"}}, 400, "invalid_request_error", "needs tools"),
        ({"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "f"}}, 400, "invalid_request_error",
         "none of the tools"),
        ({"tools": [WEATHER], "tool_choice": {"type": "x"}}, 400, "invalid_request_error", "tool_choice type: x"),
        ({"output_config": {"format": {"type": "xml"}}}, 400, "invalid_request_error", "json_schema and a schema"),
        ({"tools": [{"type": "web_search_20250305", "name": "w"}]}, 400, "invalid_request_error", "web_search"),
        ({"temperature": "hot"}, 400, "invalid_request_error", "temperature"),
    ],
)  # fmt: skip
async def test_refusals(daemon: Any, change: dict[str, Any], status: int, kind: str, text: str) -> None:
    found, answer = await daemon.post("/v1/messages", {"model": "demo", "max_tokens": 9, "messages": ASK} | change)
    assert (found, answer["type"], answer["error"]["type"]) == (status, "error", kind)
    assert text in answer["error"]["message"]
    assert answer["request_id"].startswith("req_")


async def test_an_answer_in_a_format(daemon: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    form: Any = {"format": {"type": "json_schema", "schema": schema}}
    await daemon.anthropic.messages.create(model="demo", max_tokens=5, messages=ASK, output_config=form)
    (document,) = daemon.engine.prompts[0].grammar.documents
    assert json.loads(document.schema) == schema | {"additionalProperties": False}


async def test_a_chat_too_long_is_refused_not_truncated(daemon: Any) -> None:
    daemon.engine.failure = JobFailed("prompt_too_long", "the prompt has 3000 tokens, the context 2048")
    with pytest.raises(anthropic.BadRequestError, match="3000 tokens"):
        await daemon.anthropic.messages.create(model="demo", max_tokens=5, messages=[*ASK, *ASK])
    assert len(daemon.engine.prompts) == 1
