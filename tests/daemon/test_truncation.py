"""Chats that are longer than the context, and the counting of tokens; over the fake engine."""

from typing import Any

import msgspec
import ollama
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktd.daemon.chat.chat import Chat, Message
from ktd.daemon.chat.truncation import beginnings, shortened


def chat(roles: str) -> Chat:
    """One message a letter: system, user, assistant, tool."""
    names = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    return Chat(tuple(Message(names[letter], str(at)) for at, letter in enumerate(roles)))


@pytest.mark.parametrize(
    ("roles", "starts"),
    [
        ("u", []),
        ("su", [1]),
        ("uau", [2]),
        ("suauau", [1, 3, 5]),
        ("uauatat", [2, 3, 5, 6]),
        ("sua", [1, 2]),
        ("uatt", [1, 3]),
        ("ss", [1]),
        ("auau", [1, 3]),
    ],
)
def test_where_a_shorter_chat_may_begin(roles: str, starts: list[int]) -> None:
    assert beginnings(chat(roles).messages) == starts


@given(st.text("suat", min_size=1, max_size=12), st.integers(0, 12))
async def test_as_little_as_possible_is_left_out(roles: str, room: int) -> None:
    whole = chat(roles)

    async def fits(shorter: Chat) -> bool:
        return len(shorter.messages) <= room

    found = await shortened(whole, fits)
    kept = [message for message in whole.messages if message.role == "system"]
    if found is None:
        assert not beginnings(whole.messages) or len({*kept, whole.messages[-1]}) > room
    else:
        assert len(found.messages) <= room
        assert found.messages[-1] == whole.messages[-1]
        assert [message for message in found.messages if message.role == "system"] == kept


@given(st.integers(1, 9), st.integers(0, 9))
async def test_of_an_earlier_context_the_beginning_makes_way(tokens: int, room: int) -> None:
    """But for its first token, as long as there is another."""
    whole = Chat((Message("user", "x"),), before=tuple(range(tokens)))

    async def fits(shorter: Chat) -> bool:
        return len(shorter.before) <= room

    found = await shortened(whole, fits)
    assert found is not None
    if room >= tokens:
        room = tokens - 1
    expected = (0, *range(tokens - room + 1, tokens)) if room > 1 else (0,) * (room == 1)
    assert found.before == expected or (room == 1 and found.before == (0,))


def shrink(daemon: Any, context: int) -> None:
    """Have the loaded model take this many tokens only."""
    (worker,) = daemon.engine.workers
    worker.loaded = msgspec.structs.replace(worker.loaded, context=context)
    daemon.engine.longest = context


TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "one " * 100},
    {"role": "assistant", "content": "1"},
    {"role": "user", "content": "two " * 100},
    {"role": "assistant", "content": "2"},
    {"role": "user", "content": "three"},
]


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
async def test_the_oldest_turns_go_first(daemon: Any, path: str) -> None:
    await daemon.ollama.generate("demo")
    shrink(daemon, 700)
    status, _ = await daemon.post(path, {"model": "demo", "messages": TALK, "stream": False})
    assert status == 200
    text = daemon.engine.prompts[-1].text
    assert "Be brief." in text and "two two" in text and text.count("three") == 1
    assert "one one" not in text


async def test_what_is_still_too_long_is_refused(daemon: Any) -> None:
    await daemon.ollama.generate("demo")
    shrink(daemon, 30)
    with pytest.raises(ollama.ResponseError, match=r"the prompt has \d+ tokens") as caught:
        await daemon.ollama.chat("demo", TALK)
    assert caught.value.status_code == 400
    assert len(daemon.engine.prompts) == 1


async def test_a_context_too_long_loses_its_beginning(daemon: Any) -> None:
    await daemon.ollama.generate("demo")
    shrink(daemon, 60)
    body = {"model": "demo", "prompt": "And now?", "context": [1, *range(200, 300)], "stream": False}
    assert (await daemon.post("/api/generate", body | {"truncate": False}))[0] == 400
    assert (await daemon.post("/api/generate", body))[0] == 200
    before = daemon.engine.prompts[-1].before
    assert before[0] == 1 and before[-1] == 299 and len(before) + len(daemon.engine.prompts[-1].text) == 59


async def test_truncate_false_refuses_at_once(daemon: Any) -> None:
    daemon.engine.longest = 700
    status, answer = await daemon.post("/api/chat", {"model": "demo", "messages": TALK, "truncate": False})
    assert (status, "the prompt has" in answer["error"]) == (400, True)


async def test_tokens_and_back(daemon: Any) -> None:
    status, answer = await daemon.post("/api/tokenize", {"model": "demo", "content": "ab"})
    assert (status, answer["model"], answer["tokens"]) == (200, "demo", [97, 98])
    assert answer["total_duration"] >= answer["load_duration"] > 0
    assert (await daemon.post("/api/tokenize", {"model": "demo", "prompt": "a", "add_special": True}))[1]["tokens"] == [
        1,
        97,
    ]
    _, answer = await daemon.post("/api/detokenize", {"model": "demo", "tokens": [97, 98]})
    assert answer["content"] == "ab"


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        ("/api/tokenize", {}, 400, "model is required"),
        ("/api/tokenize", {"model": "nope"}, 404, "model 'nope' not found"),
        ("/api/detokenize", {"model": "demo", "tokens": "a"}, 400, "tokens"),
        ("/api/detokenize", {"model": "demo", "keep_alive": []}, 400, "Unsupported type"),
    ],
)
async def test_refusals(daemon: Any, path: str, body: Any, status: int, text: str) -> None:
    found, answer = await daemon.post(path, body)
    assert (found, text in answer["error"]) == (status, True)
