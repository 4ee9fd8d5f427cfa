"""Tools that must be called, and not more than one: what the dialects say, and what the demo model then writes."""

from typing import Any

import aiohttp
import anthropic
import openai
import pytest
from pydantic import BaseModel

from ktd.daemon.chat.formats import harmony
from ktd.daemon.chat.style import FORMATS

ASK: Any = [{"role": "user", "content": "What is 12 + 30?"}]
WILD: Any = {"temperature": 2, "top_p": 1, "max_tokens": 400}


class Trip(BaseModel, extra="forbid"):
    city: str
    days: int
    by: list[str]


class Clock(BaseModel, extra="forbid"):
    zone: str


def tool(name: str, record: type[BaseModel]) -> Any:
    schema = record.model_json_schema()
    del schema["additionalProperties"]  # as clients send it
    schema["properties"] = {key: bounded(each) for key, each in schema["properties"].items()}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": schema}}


def bounded(schema: Any) -> Any:
    """So that an answer drawn at random ends."""
    match schema["type"]:
        case "string":
            return schema | {"maxLength": 8}
        case "array":
            return schema | {"maxItems": 2, "items": bounded(schema["items"])}
    return schema | {"minimum": 0, "maximum": 99}


TOOLS = [tool("plan_trip", Trip), tool("get_time", Clock)]
RECORDS: dict[str, type[BaseModel]] = {"plan_trip": Trip, "get_time": Clock}


@pytest.mark.parametrize("effort", ["none", "low", None])
async def test_a_named_tool_is_called(openai_client: openai.AsyncOpenAI, effort: Any) -> None:
    choice: Any = {"type": "function", "function": {"name": "plan_trip"}}
    done = await openai_client.chat.completions.create(
        model="demo", messages=ASK, tools=TOOLS, tool_choice=choice, reasoning_effort=effort, temperature=0
    )
    (call,) = done.choices[0].message.tool_calls or []
    assert call.type == "function" and call.function.name == "plan_trip"
    assert Trip.model_validate_json(call.function.arguments)
    assert (done.choices[0].finish_reason, done.choices[0].message.content) == ("tool_calls", None)


async def test_some_tool_is_called_at_any_temperature(openai_client: openai.AsyncOpenAI) -> None:
    """One call that is forced is enough: with more, a wild answer has no end."""
    done = await openai_client.chat.completions.create(
        model="demo", messages=ASK, tools=TOOLS, tool_choice="required", parallel_tool_calls=False,
        reasoning_effort="none", seed=1, n=6, **WILD,
    )  # fmt: skip
    names = []
    for choice in done.choices:
        (call,) = choice.message.tool_calls or []
        assert call.type == "function"
        names.append(call.function.name)
        assert RECORDS[call.function.name].model_validate_json(call.function.arguments)
    assert set(names) <= set(RECORDS)


async def test_a_forced_call_is_streamed(openai_client: openai.AsyncOpenAI) -> None:
    stream = await openai_client.chat.completions.create(
        model="demo", messages=ASK, tools=TOOLS, tool_choice="required", stream=True, seed=3, **WILD,
        parallel_tool_calls=False, reasoning_effort="none",
    )  # fmt: skip
    deltas = [chunk.choices[0].delta async for chunk in stream]
    (call,) = [call for delta in deltas for call in delta.tool_calls or []]
    assert call.function and call.function.name
    assert RECORDS[call.function.name].model_validate_json(call.function.arguments or "")
    assert not any(delta.content for delta in deltas)


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_time"}])
async def test_anthropics_ways_to_force(anthropic_client: anthropic.AsyncAnthropic, choice: Any) -> None:
    tools: Any = [{"name": each["function"]["name"], "input_schema": each["function"]["parameters"]} for each in TOOLS]
    done = await anthropic_client.messages.create(
        model="demo", messages=ASK, tools=tools, max_tokens=400, thinking={"type": "disabled"},
        tool_choice=choice | {"disable_parallel_tool_use": True}, extra_body={"temperature": 0},
    )  # fmt: skip
    (block,) = done.content
    assert block.type == "tool_use" and done.stop_reason == "tool_use"
    assert block.name == choice.get("name", block.name)
    assert RECORDS[block.name].model_validate(block.input)


async def test_a_schema_that_cannot_be_enforced_is_refused(openai_client: openai.AsyncOpenAI) -> None:
    broken: Any = {"type": "function", "function": {"name": "f", "parameters": {"type": "objct"}}}
    with pytest.raises(openai.BadRequestError, match="objct"):
        await openai_client.chat.completions.create(model="demo", messages=ASK, tools=[broken], tool_choice="required")
    await openai_client.chat.completions.create(model="demo", messages=ASK, tools=[broken], max_tokens=1)


CALL = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>{}\n```json\n{{}}\n```<｜tool▁call▁end｜>"
CALLS = f"<｜tool▁calls▁begin｜>{CALL.format('plan_trip')}\n{CALL.format('get_time')}<｜tool▁calls▁end｜>"


@pytest.mark.parametrize(("parallel", "names"), [(True, ["plan_trip", "get_time"]), (False, ["plan_trip"])])
async def test_no_more_than_one_call(daemon: Any, parallel: bool, names: list[str]) -> None:
    daemon.engine.answer = ["Now: ", *CALLS]
    done = await daemon.openai.chat.completions.create(
        model="demo", messages=ASK, tools=TOOLS, parallel_tool_calls=parallel
    )
    message = done.choices[0].message
    assert ([call.function.name for call in message.tool_calls], message.content) == (names, "Now:")
    assert daemon.engine.prompts[0].grammar is None


@pytest.mark.parametrize(
    ("choice", "offered", "documents"),
    [
        ("auto", 2, 0),
        ("none", 0, 0),
        ("required", 2, 2),
        ({"type": "function", "function": {"name": "get_time"}}, 2, 1),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"name": "get_time"}]}}, 1, 0),
        ({"type": "allowed_tools", "allowed_tools": {
            "mode": "required", "tools": [{"type": "function", "function": {"name": "get_time"}}]}}, 1, 1),
    ],
)  # fmt: skip
async def test_what_a_choice_offers_and_forces(daemon: Any, choice: Any, offered: int, documents: int) -> None:
    await daemon.openai.chat.completions.create(model="demo", messages=ASK, tools=TOOLS, tool_choice=choice)
    (prompt,) = daemon.engine.prompts
    assert sum(f'"name": "{name}"' in prompt.text for name in RECORDS) == offered
    assert len(prompt.grammar.documents if prompt.grammar else ()) == documents


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"tool_choice": "required", "tools": []}, "needs tools"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, '"f", which is none of the tools'),
        ({"tool_choice": "often"}, 'invalid tool_choice: "often"'),
        ({"tool_choice": {"type": "allowed_tools", "mode": "all"}}, "allowed_tools needs"),
        ({"tool_choice": "required", "tools": [{"type": "function"}]}, "a function with a name"),
        ({"tool_choice": "required", "tools": [{"function": {"name": "f", "parameters": [1]}}]}, "a JSON schema"),
    ],
)
async def test_choices_that_make_no_sense(daemon: Any, change: Any, text: str) -> None:
    status, answer = await daemon.post(
        "/v1/chat/completions", {"model": "demo", "messages": ASK, "tools": TOOLS} | change
    )
    assert (status, text in answer["error"]["message"]) == (400, True), answer


PLAIN = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}{% if tools %}{% endif %}"
ENDINGS = ["<｜Assistant｜>{# " + " ".join(each.marks) + " #}" for each in FORMATS]


@pytest.mark.parametrize("ending", [*ENDINGS, "<|start|>assistant{# " + " ".join(harmony.MARKS) + " #}"])
async def test_calls_are_forced_in_every_format(
    ending: str, http: aiohttp.ClientSession, openai_client: openai.AsyncOpenAI
) -> None:
    """The demo model under a template with the marks of another family."""
    body = {"model": "other", "from": "demo", "template": PLAIN + ending, "stream": False}
    async with http.post("/api/create", json=body) as reply:
        assert reply.status == 200
    done = await openai_client.chat.completions.create(
        model="other", messages=ASK, tools=TOOLS, tool_choice="required", parallel_tool_calls=False,
        reasoning_effort="none", seed=1, **WILD,
    )  # fmt: skip
    (call,) = done.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert RECORDS[call.function.name].model_validate_json(call.function.arguments)
    assert done.choices[0].message.content is None
