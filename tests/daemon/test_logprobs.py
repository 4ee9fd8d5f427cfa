"""Log-probabilities as the official clients see them: the real engine, in each dialect, whole and streamed."""

import math
from typing import Any

import ollama
import openai
import pytest

ASK: Any = [{"role": "user", "content": "What is 12 + 30?"}]
GREEDY = {"temperature": 0}


def sound(told: Any, top: int) -> None:
    """Every entry by itself: exact bytes, shares of one whole, the greedy choice first."""
    for each in told:
        assert each.logprob <= 0
        best = each.top_logprobs or []
        assert len(best) == top
        assert [one.logprob for one in best] == sorted((one.logprob for one in best), reverse=True)
        assert sum(math.exp(one.logprob) for one in best) <= 1 + 1e-5
        if best:
            assert (best[0].token, best[0].logprob) == (each.token, each.logprob)


async def test_by_ollama(ollama_client: ollama.AsyncClient) -> None:
    ask: dict[str, Any] = {"options": GREEDY, "logprobs": True, "top_logprobs": 2, "think": False}
    whole = await ollama_client.chat("demo", ASK, **ask)
    assert "".join(each.token for each in whole.logprobs or []) == whole.message.content
    sound(whole.logprobs, 2)
    parts = [part async for part in await ollama_client.chat("demo", ASK, **ask, stream=True)]
    assert [each for part in parts for each in part.logprobs or []] == whole.logprobs
    assert all("".join(each.token for each in part.logprobs or []) == part.message.content for part in parts)
    assert sum(bool(part.logprobs) for part in parts) > 3
    generated = await ollama_client.generate("demo", ASK[0]["content"], **ask)
    assert generated.logprobs == whole.logprobs


async def test_thoughts_are_told_too(ollama_client: ollama.AsyncClient) -> None:
    answer = await ollama_client.chat("demo", ASK, options=GREEDY, logprobs=True, think=True)
    text = "".join(each.token for each in answer.logprobs or [])
    assert answer.message.thinking and answer.message.thinking in text
    assert text.endswith(answer.message.content)
    assert len(answer.logprobs or []) == answer.eval_count - 1
    sound(answer.logprobs, 0)


async def test_none_unless_asked(ollama_client: ollama.AsyncClient, openai_client: openai.AsyncOpenAI) -> None:
    assert (await ollama_client.chat("demo", ASK, options=GREEDY, top_logprobs=2)).logprobs is None
    done = await openai_client.chat.completions.create(model="demo", messages=ASK)
    assert done.choices[0].logprobs is None


async def test_openai(openai_client: openai.AsyncOpenAI) -> None:
    ask: dict[str, Any] = {"model": "demo", "messages": ASK, "temperature": 0, "reasoning_effort": "none"}
    ask |= {"logprobs": True, "top_logprobs": 3}
    (choice,) = (await openai_client.chat.completions.create(**ask)).choices
    assert choice.logprobs and choice.logprobs.content
    told = choice.logprobs.content
    assert b"".join(bytes(each.bytes or []) for each in told).decode() == choice.message.content
    sound(told, 3)
    stream = await openai_client.chat.completions.create(**ask, stream=True)
    parts = [chunk.choices[0].logprobs async for chunk in stream]
    assert [each.logprob for part in parts if part for each in part.content or []] == [each.logprob for each in told]


async def test_a_bias_bars_what_would_have_been_said(
    openai_client: openai.AsyncOpenAI, ollama_client: ollama.AsyncClient
) -> None:
    greedy: dict[str, Any] = {"model": "demo", "messages": ASK, "temperature": 0, "reasoning_effort": "none"}
    free = await openai_client.chat.completions.create(**greedy, max_tokens=1)
    context = (
        await ollama_client.generate("demo", ASK[0]["content"], think=False, options=GREEDY | {"num_predict": 1})
    ).context
    barred = await openai_client.chat.completions.create(
        **greedy, max_tokens=1, logit_bias={str((context or [])[-1]): -100}
    )
    assert barred.choices[0].message.content != free.choices[0].message.content
    with pytest.raises(openai.BadRequestError, match="outside the vocabulary"):
        await openai_client.chat.completions.create(**greedy, logit_bias={"999999999": 1})
