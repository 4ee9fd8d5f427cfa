"""Answers in a format, as the official clients ask for them: the real engine, thinking and not, whole and streamed."""

import json
from typing import Any, Literal

import ollama
import openai
import pytest
from pydantic import BaseModel

ASK: Any = [{"role": "user", "content": "What is 12 + 30?"}]
GREEDY = {"temperature": 0}
WILD = {"temperature": 2, "top_k": 0, "top_p": 1}


class Sum(BaseModel, extra="forbid"):
    answer: int
    parity: Literal["even", "odd"]
    sure: bool


SCHEMA = Sum.model_json_schema()


@pytest.mark.parametrize("think", [None, True, False])
async def test_a_thought_then_the_document(ollama_client: ollama.AsyncClient, think: Any) -> None:
    answer = await ollama_client.chat("demo", ASK, format=SCHEMA, think=think, options=GREEDY)
    assert Sum.model_validate_json(answer.message.content)
    assert answer.done_reason == "stop"
    if think is not None:
        assert bool(answer.message.thinking) == think


async def test_streamed_and_by_generate(ollama_client: ollama.AsyncClient) -> None:
    ask: dict[str, Any] = {"format": SCHEMA, "think": False, "options": WILD | {"seed": 7}}
    parts = [part async for part in await ollama_client.chat("demo", ASK, **ask, stream=True)]
    text = "".join(part.message.content for part in parts)
    assert Sum.model_validate_json(text)
    assert len(parts) > 3
    generated = await ollama_client.generate("demo", ASK[0]["content"], **ask)
    assert Sum.model_validate_json(generated.response)
    raw = await ollama_client.generate("demo", "The sum is", raw=True, format=SCHEMA, options=WILD)
    assert Sum.model_validate_json(raw.response)


async def test_any_object(ollama_client: ollama.AsyncClient, openai_client: openai.AsyncOpenAI) -> None:
    """Such an object may go on for ever: only its beginning is certain."""
    options = WILD | {"num_predict": 30, "seed": 1}
    answer = await ollama_client.chat("demo", ASK, format="json", think=False, options=options)
    done = await openai_client.chat.completions.create(
        model="demo", messages=ASK, response_format={"type": "json_object"}, reasoning_effort="none", max_tokens=30
    )
    for text, reason in (
        (answer.message.content, answer.done_reason),
        (done.choices[0].message.content or "", done.choices[0].finish_reason),
    ):
        assert text.startswith("{")
        assert reason == "length" or isinstance(json.loads(text), dict)


async def test_openai_parses_what_it_asked_for(openai_client: openai.AsyncOpenAI) -> None:
    for seed in range(2):
        done = await openai_client.chat.completions.parse(
            model="demo", messages=ASK, response_format=Sum, reasoning_effort="none", temperature=2, seed=seed
        )
        assert isinstance(done.choices[0].message.parsed, Sum)


async def test_a_bad_schema_is_refused_before_the_first_byte(
    ollama_client: ollama.AsyncClient, openai_client: openai.AsyncOpenAI
) -> None:
    for stream in (False, True):
        with pytest.raises(ollama.ResponseError, match="Invalid type: objct") as error:
            answer: Any = await ollama_client.chat("demo", ASK, format={"type": "objct"}, stream=stream)
            [part async for part in answer]
        assert error.value.status_code == 400
        with pytest.raises(openai.BadRequestError, match="Invalid type: objct"):
            await openai_client.chat.completions.create(
                model="demo",
                messages=ASK,
                stream=stream,
                response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "objct"}}},
            )


async def test_a_format_does_not_touch_the_next_answer(ollama_client: ollama.AsyncClient) -> None:
    answer = await ollama_client.chat("demo", ASK, think=False, options=GREEDY)
    assert "42" in answer.message.content and "{" not in answer.message.content
