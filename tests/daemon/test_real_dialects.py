"""Every dialect against a daemon process with the real engine: the demo model's answers are asserted."""

from typing import Any

import aiohttp
import anthropic
import ollama
import openai
import pytest

SUM = [{"role": "user", "content": "What is 12 + 30?"}]
GREEDY = {"temperature": 0}
GAP, FILLING = ("10, 11, 12, 13,", " 17, 18, 19, 20"), " 14, 15, 16,"


async def test_the_model_fills_in(ollama_client: ollama.AsyncClient, openai_client: openai.AsyncOpenAI) -> None:
    prefix, suffix = GAP
    filled = await ollama_client.generate("demo", prefix, suffix=suffix, options=GREEDY)
    done = await openai_client.completions.create(model="demo", prompt=prefix, suffix=suffix, temperature=0)
    assert (filled.response, filled.done_reason) == (FILLING, "stop")
    assert (done.choices[0].text, done.choices[0].finish_reason) == (FILLING, "stop")


async def test_raw_prompts(openai_client: openai.AsyncOpenAI) -> None:
    prompt = "<｜User｜>What is 12 + 30?<｜Assistant｜><think>\n\n</think>\n\n"
    texts = await openai_client.completions.create(model="demo", prompt=[prompt, prompt], temperature=0, echo=True)
    assert [choice.text for choice in texts.choices] == [prompt + "12 + 30 = 42"] * 2
    cut = await openai_client.completions.create(model="demo", prompt=prompt, temperature=0, stop=["="], max_tokens=50)
    assert cut.choices[0].text == "12 + 30 "
    short = await openai_client.completions.create(model="demo", prompt=prompt, temperature=0, max_tokens=2)
    assert (short.choices[0].finish_reason, short.usage and short.usage.completion_tokens) == ("length", 2)


async def test_a_context_is_remembered(ollama_client: ollama.AsyncClient) -> None:
    first = await ollama_client.generate("demo", "My name is Anna.", think=False, options=GREEDY)
    second = await ollama_client.generate(
        "demo", "What is my name?", context=first.context, think=False, options=GREEDY
    )
    assert "Anna" in second.response
    assert second.context[: len(first.context)] == first.context
    with pytest.raises(ollama.ResponseError, match="token 99999 is outside the vocabulary of 2560"):
        await ollama_client.generate("demo", "x", context=[99999])


async def test_old_turns_make_way_and_the_system_message_stays(ollama_client: ollama.AsyncClient) -> None:
    old = [{"role": "user", "content": "word " * 2100}, {"role": "assistant", "content": "Yes."}]
    system = {"role": "system", "content": "Your name is Nora."}
    talk = [system, *old, *old, {"role": "user", "content": "What is your name?"}]
    answer = await ollama_client.chat("demo", talk, think=False, options=GREEDY)
    assert "Nora" in (answer.message.content or "")
    assert (answer.prompt_eval_count or 0) < 50
    with pytest.raises(ollama.ResponseError, match=r"\d{4} tokens.*2048") as caught:
        await ollama_client.chat("demo", [system, {"role": "user", "content": "word " * 5000}])
    assert caught.value.status_code == 400


async def test_tokens_are_read_and_written(http: aiohttp.ClientSession) -> None:
    text = "<｜User｜>What is 12 + 30? ✓"
    async with http.post("/api/tokenize", json={"model": "demo", "content": text}) as reply:
        tokens = (await reply.json())["tokens"]
    assert all(0 <= token < 2560 for token in tokens)
    async with http.post("/api/detokenize", json={"model": "demo", "tokens": tokens}) as reply:
        assert (await reply.json())["content"] == text
    async with http.post("/api/detokenize", json={"model": "demo", "tokens": [2560]}) as reply:
        assert (reply.status, await reply.json()) == (400, {"error": "token 2560 is outside the vocabulary of 2560"})


async def test_messages_with_thinking_and_tools(anthropic_client: anthropic.AsyncAnthropic) -> None:
    talk: Any = [{"role": "user", "content": "What is 12 + 30?"}]
    cold: Any = {"model": "demo", "max_tokens": 200, "extra_body": {"temperature": 0}}
    async with anthropic_client.messages.stream(
        **cold, messages=talk, thinking={"type": "enabled", "budget_tokens": 99}
    ) as stream:
        thought, text = (await stream.get_final_message()).content
    assert thought.type == "thinking" and "42" in thought.thinking
    assert text.type == "text" and text.text == "12 + 30 = 42"

    async with anthropic_client.messages.stream(
        **cold, messages=talk, thinking={"type": "enabled", "budget_tokens": 5}
    ) as stream:
        short, answer = (await stream.get_final_message()).content
    assert short.type == "thinking" and thought.thinking.startswith(short.thinking) and len(short.thinking) < 10
    assert answer == text

    tools: Any = [{"name": "get_weather", "description": "Get the weather of a city", "input_schema": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}]  # fmt: skip
    talk = [{"role": "user", "content": "What is the weather in Paris?"}]
    called = await anthropic_client.messages.create(**cold, messages=talk, tools=tools, thinking={"type": "disabled"})
    (use,) = [block for block in called.content if block.type == "tool_use"]
    assert (called.stop_reason, use.name, use.input) == ("tool_use", "get_weather", {"city": "Paris"})
    result = {"type": "tool_result", "tool_use_id": use.id, "content": '{"temperature": 21, "condition": "sunny"}'}
    talk += [{"role": "assistant", "content": called.content}, {"role": "user", "content": [result]}]
    told = await anthropic_client.messages.create(**cold, messages=talk, tools=tools, thinking={"type": "disabled"})
    (said,) = [block for block in told.content if block.type == "text"]
    assert told.stop_reason == "end_turn" and "21" in said.text and "Paris" in said.text


async def test_messages_end_and_are_counted(anthropic_client: anthropic.AsyncAnthropic) -> None:
    ask: Any = {"model": "demo", "messages": [{"role": "user", "content": "What is 12 + 30?"}]}
    counted = await anthropic_client.messages.count_tokens(**ask, thinking={"type": "disabled"})
    done = await anthropic_client.messages.create(
        **ask, max_tokens=99, stop_sequences=["="], thinking={"type": "disabled"}
    )
    assert (done.stop_reason, done.stop_sequence) == ("stop_sequence", "=")
    usage = done.usage
    assert counted.input_tokens == usage.input_tokens + (usage.cache_read_input_tokens or 0)
    with pytest.raises(anthropic.BadRequestError, match=r"\d{4} tokens.*2048"):
        long: Any = [{"role": "user", "content": "word " * 3000}]
        await anthropic_client.messages.create(model="demo", max_tokens=9, messages=[*long, *long])
