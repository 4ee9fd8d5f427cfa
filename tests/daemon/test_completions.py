"""Prompts without a chat: /v1/completions, fill-in-the-middle, and contexts of tokens; over the fake engine."""

import asyncio
import json
from typing import Any

import ollama
import openai
import pytest
from until import until

from ktd.engine.client import JobFailed
from ktd.engine.messages import TokenLogprob
from ktd.registry import gaps

GAP = "<｜fim▁begin｜>1, 2,<｜fim▁hole｜> 5, 6<｜fim▁end｜>"


async def test_a_completion(daemon: Any) -> None:
    done = await daemon.openai.completions.create(model="demo", prompt="Once", max_tokens=9, stop=["x"], seed=4)
    (choice,) = done.choices
    assert (choice.text, choice.index, choice.finish_reason, choice.logprobs) == ("Hello world", 0, "stop", None)
    assert (done.object, done.id[:5], done.usage.total_tokens) == ("text_completion", "cmpl-", 12)
    assert (daemon.engine.prompts[0].text, daemon.engine.prompts[0].stops) == ("Once", ("x",))
    assert (daemon.engine.samplings[0].max_tokens, daemon.engine.samplings[0].seed) == (9, 4)


async def test_a_streamed_completion_with_echo(daemon: Any) -> None:
    stream = await daemon.openai.completions.create(
        model="demo", prompt="Once", echo=True, stream=True, stream_options={"include_usage": True}
    )
    *parts, last, usage = [part async for part in stream]
    assert [part.choices[0].text for part in parts] == ["Once", "Hello", " world"]
    assert (last.choices[0].text, last.choices[0].finish_reason) == ("", "stop")
    assert (usage.choices, usage.usage.prompt_tokens, usage.usage.completion_tokens) == ([], 10, 2)
    assert all(part.usage is None for part in (*parts, last))


async def test_the_stream_ends_with_done(daemon: Any) -> None:
    body = {"model": "demo", "prompt": "a", "stream": True}
    async with daemon.http.post(daemon.url + "/v1/completions", json=body) as reply:
        text = await reply.text()
    *events, done, rest = text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    assert [json.loads(event[6:])["choices"][0]["text"] for event in events] == ["Hello", " world", ""]


@pytest.mark.parametrize("stream", [True, False])
async def test_several_prompts_are_answered_together(daemon: Any, stream: bool) -> None:
    daemon.engine.pause_at = 1
    prompts = ["a", "b", "c"]
    asking = asyncio.create_task(
        daemon.openai.completions.create(model="demo", prompt=prompts, echo=True, stream=stream)
    )
    await until(lambda: daemon.engine.running == 3)
    daemon.engine.go_on.set()
    done = await asking
    texts = {0: "", 1: "", 2: ""}
    for part in [part async for part in done] if stream else [done]:
        for choice in part.choices:
            texts[choice.index] += choice.text
    assert texts == {0: "aHello world", 1: "bHello world", 2: "cHello world"}
    if not stream:
        assert done.usage.total_tokens == 36


@pytest.mark.parametrize("stream", [True, False])
async def test_several_answers_to_each_prompt(daemon: Any, stream: bool) -> None:
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if stream else {}
    done = await daemon.openai.completions.create(
        model="demo", prompt=["a", "b"], n=2, best_of=2, seed=5, echo=True, stream=stream, **options
    )
    texts, usage = dict.fromkeys(range(4), ""), None
    for part in [part async for part in done] if stream else [done]:
        usage = part.usage or usage
        for choice in part.choices:
            texts[choice.index] += choice.text
    assert list(texts.values()) == ["aHello world", "aHello world", "bHello world", "bHello world"]
    assert sorted(sampling.seed for sampling in daemon.engine.samplings) == [5, 5, 6, 6]
    assert usage and (usage.prompt_tokens, usage.completion_tokens) == (20, 8)  # each prompt is counted once


async def test_log_probabilities_as_completions_tell_them(daemon: Any) -> None:
    told = [TokenLogprob(b"Hel", -0.5, (TokenLogprob(b"Hel", -0.5), TokenLogprob(b"J", -1.5)))]
    told += [TokenLogprob(b"lo", -0.25, (TokenLogprob(b"\xff", -0.125),))]
    daemon.engine.answer, daemon.engine.logprobs = ["Hello", "."], [told, [TokenLogprob(b".", -2.0)]]
    for stream in (False, True):
        done = await daemon.openai.completions.create(model="demo", prompt="a", logprobs=2, stream=stream)
        parts = [part.choices[0].logprobs async for part in done] if stream else [done.choices[0].logprobs]
        found = [part for part in parts if part]
        assert [text for part in found for text in part.tokens] == ["Hel", "lo", "."]
        assert [each for part in found for each in part.token_logprobs] == [-0.5, -0.25, -2.0]
        assert [each for part in found for each in part.text_offset] == [0, 3, 5]
        best = [each for part in found for each in part.top_logprobs]
        assert best == [{"Hel": -0.5, "J": -1.5}, {"bytes:\\xff": -0.125}, {}]
    assert daemon.engine.samplings[0].logprobs == 2


async def test_one_failure_ends_all_answers(daemon: Any) -> None:
    daemon.engine.failure = JobFailed("prompt_too_long", "the prompt has 3000 tokens")
    with pytest.raises(openai.BadRequestError, match="3000 tokens"):
        await daemon.openai.completions.create(model="demo", prompt=["a", "b"])
    await until(lambda: daemon.engine.running == 0)


@pytest.mark.parametrize(("prompt", "before"), [([5, 6], [(5, 6)]), ([[5], [6, 7]], [(5,), (6, 7)])])
async def test_prompts_of_tokens(daemon: Any, prompt: Any, before: Any) -> None:
    await daemon.openai.completions.create(model="demo", prompt=prompt)
    assert [(prompt.text, prompt.before) for prompt in daemon.engine.prompts] == [("", ids) for ids in before]


async def test_filling_in(daemon: Any) -> None:
    await daemon.openai.completions.create(model="demo", prompt="1, 2,", suffix=" 5, 6")
    await daemon.ollama.generate("demo", "1, 2,", suffix=" 5, 6")
    await daemon.ollama.generate("demo", "", suffix="x")
    texts = [prompt.text for prompt in daemon.engine.prompts]
    assert texts == [GAP, GAP, "<｜fim▁begin｜><｜fim▁hole｜>x<｜fim▁end｜>"]


async def test_a_context_goes_before_the_next_turn(daemon: Any) -> None:
    first = await daemon.ollama.generate("demo", "Hello", system="Be brief.")
    await daemon.ollama.generate("demo", "And now?", context=first.context)
    prompt = daemon.engine.prompts[1]
    assert prompt.before == (1, 2, 3)
    assert prompt.text.startswith("<｜end▁of▁sentence｜><｜User｜>And now?")
    assert "Be brief." not in prompt.text


async def test_a_model_without_the_tokens_cannot_fill_in(daemon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gaps, "KNOWN", ())
    with pytest.raises(ollama.ResponseError, match="demo:latest does not support insert") as caught:
        await daemon.ollama.generate("demo", "a", suffix="b")
    assert caught.value.status_code == 400


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"model": ""}, "model is required"),
        ({"prompt": []}, "[] is too short"),
        ({"prompt": ["a", 1]}, "text or a list of tokens"),
        ({"prompt": [[]]}, "text or a list of tokens"),
        ({"prompt": ["a"] * 129}, "at most 128 prompts"),
        ({"prompt": [1], "echo": True}, "echo needs prompts of text"),
        ({"prompt": [1], "suffix": "x"}, "suffix needs prompts of text"),
        ({"n": 0}, "n must be between 1 and 128"),
        ({"prompt": ["a"] * 65, "n": 2}, "at most 128 prompts are answered at once, not 130"),
        ({"best_of": 2}, "does not support best_of"),
        ({"logprobs": 21}, "logprobs must be a number from 0 to 20"),
        ({"logprobs": 1, "echo": True}, "log-probabilities of an echoed prompt"),
        ({"logit_bias": {"1": 101}}, "the values of logit_bias must be between -100 and 100"),
        ({"stop": 5}, 'option "stop"'),
    ],
)
async def test_refusals(daemon: Any, change: dict[str, Any], text: str) -> None:
    status, answer = await daemon.post("/v1/completions", {"model": "demo", "prompt": "a"} | change)
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
    assert text in answer["error"]["message"]
    assert daemon.engine.prompts == []
