"""Signs of life while nothing is said: comments to OpenAI's clients, empty pieces to Ollama's."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from ktd.daemon import streams

ASK: Any = [{"role": "user", "content": "What is 12 + 30?"}]


@pytest.fixture
async def silent(daemon: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """A daemon whose answers wait before their first word."""
    monkeypatch.setattr(streams, "PULSE", 0.01)
    daemon.engine.pause_at = 0
    yield daemon
    daemon.engine.go_on.set()


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/chat/completions", {"messages": ASK}), ("/v1/completions", {"prompt": "12 + 30 ="})],
)
async def test_comments_come_to_openai(silent: Any, path: str, body: Any) -> None:
    async with silent.http.post(silent.url + path, json=body | {"model": "demo", "stream": True}) as reply:
        for _ in range(3):
            assert [await reply.content.readline() for _ in range(2)] == [b": \n", b"\n"]
        silent.engine.go_on.set()
        assert (await reply.text()).endswith("data: [DONE]\n\n")


async def test_openais_client_passes_over_them(silent: Any) -> None:
    stream = await silent.openai.chat.completions.create(model="demo", messages=ASK, stream=True)
    silent.engine.go_on.set()
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "Hello world"


async def test_empty_pieces_come_to_ollama(silent: Any) -> None:
    texts = []
    async for part in await silent.ollama.chat("demo", ASK, stream=True):
        texts.append(part.message.content)
        if len(texts) == 3:
            silent.engine.go_on.set()
    assert texts[:3] == ["", "", ""] and "".join(texts) == "Hello world" and part.done
    silent.engine.go_on.clear()
    texts.clear()
    async for part in await silent.ollama.generate("demo", "Hi", stream=True):
        texts.append(part.response)
        if len(texts) == 3:
            silent.engine.go_on.set()
    assert texts[:3] == ["", "", ""] and "".join(texts) == "Hello world" and part.done


async def test_who_does_not_stream_hears_nothing(silent: Any) -> None:
    silent.engine.pause_at = None
    assert (await silent.ollama.chat("demo", ASK)).message.content == "Hello world"
