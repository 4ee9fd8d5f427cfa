"""Vectors of texts by the three routes, as clients ask for them; the fake engine's vectors are (tokens, 4, 0, 0)."""

import base64
import sqlite3
import struct
from typing import Any

import ollama
import openai
import pytest

THREE = [0.6, 0.8, 0, 0]
"""Of a text of two characters, which with BOS is three tokens."""


async def test_by_ollama(daemon: Any) -> None:
    found = await daemon.ollama.embed("demo", "ab")
    assert [list(each) for each in found.embeddings] == [pytest.approx(THREE)]
    assert (found.model, found.prompt_eval_count) == ("demo", 3)
    assert found.total_duration >= found.load_duration > 0
    several = await daemon.ollama.embed("demo", ["ab", "", "abcd"])
    assert [round(each[0] / each[1] * 4) for each in several.embeddings] == [3, 1, 5]
    assert several.prompt_eval_count == 9


async def test_vectors_are_cut_and_made_unit_again(daemon: Any) -> None:
    daemon.engine.vector = (3.0, 4.0, 12.0, 84.0)
    assert (await daemon.ollama.embed("demo", "ab", dimensions=2)).embeddings == [pytest.approx([0.6, 0.8])]
    found = await daemon.openai.embeddings.create(model="demo", input="ab", dimensions=3)
    assert found.data[0].embedding == pytest.approx([3 / 13, 4 / 13, 12 / 13])
    assert (await daemon.ollama.embed("demo", "ab", dimensions=0)).embeddings[0][3] == pytest.approx(84 / 85)
    daemon.engine.vector = (0.0, 0.0)
    assert (await daemon.ollama.embed("demo", "ab")).embeddings == [[0, 0]]


async def test_by_the_older_route(daemon: Any) -> None:
    found = await daemon.ollama.embeddings("demo", "ab", keep_alive="1h")
    assert list(found.embedding) == [3, 4, 0, 0]
    assert await daemon.post("/api/embeddings", {"model": "demo", "prompt": ""}) == (200, {"embedding": []})


@pytest.mark.parametrize("nothing", [{}, {"input": ""}, {"input": []}, {"input": None}])
async def test_nothing_to_embed_loads_the_model(daemon: Any, nothing: Any) -> None:
    status, found = await daemon.post("/api/embed", {"model": "demo"} | nothing)
    assert (status, found["model"], found["embeddings"]) == (200, "demo", [])
    assert len(await daemon.loaded()) == 1


@pytest.mark.parametrize(
    ("given", "lengths"),
    [("ab", [3]), (["ab", "c"], [3, 2]), ([5, 6], [2]), ([[5, 6], [7]], [2, 1]), (["ab", [7]], [3, 1])],
)
async def test_by_openai(daemon: Any, given: Any, lengths: list[int]) -> None:
    """Its client asks for base64 unless told otherwise."""
    plain = await daemon.openai.embeddings.create(model="demo", input=given, encoding_format="float")
    packed = await daemon.openai.embeddings.create(model="demo", input=given)
    assert [each.index for each in plain.data] == list(range(len(lengths)))
    assert [round(each.embedding[0] / each.embedding[1] * 4) for each in plain.data] == lengths
    assert [list(each.embedding) for each in packed.data] == [pytest.approx(each.embedding) for each in plain.data]
    assert (plain.object, plain.data[0].object, plain.model) == ("list", "embedding", "demo")
    assert (plain.usage.prompt_tokens, plain.usage.total_tokens) == (sum(lengths), sum(lengths))


async def test_base64_is_of_little_endian_floats(daemon: Any) -> None:
    body = {"model": "demo", "input": "ab", "encoding_format": "base64"}
    _, found = await daemon.post("/v1/embeddings", body)
    assert struct.unpack("<4f", base64.b64decode(found["data"][0]["embedding"])) == pytest.approx(THREE)


async def test_long_texts_are_truncated_or_refused(daemon: Any) -> None:
    daemon.engine.longest = 10
    found = await daemon.ollama.embed("demo", ["ab", "x" * 50])
    assert found.prompt_eval_count == 13
    with pytest.raises(ollama.ResponseError, match="the input length exceeds the context length") as caught:
        await daemon.ollama.embed("demo", "x" * 50, truncate=False)
    assert caught.value.status_code == 400
    assert (await daemon.ollama.embed("demo", "ab", truncate=False)).prompt_eval_count == 3
    assert (await daemon.ollama.embed("demo", "abcd", options={"num_ctx": 4})).prompt_eval_count == 4
    with pytest.raises(ollama.ResponseError, match="exceeds the context length"):
        await daemon.ollama.embed("demo", "abcd", truncate=False, options={"num_ctx": 4})


async def test_a_model_that_only_embeds(daemon: Any) -> None:
    """It embeds, loads and unloads; what it cannot do is told before it is loaded."""
    with sqlite3.connect(daemon.settings.home / "registry.db") as database:
        database.execute("""update models set capabilities = '["embedding"]'""")
    database.close()
    ask = [{"role": "user", "content": "Hi"}]
    for path, body, what in [
        ("/api/chat", {"messages": ask}, "chat"),
        ("/api/chat", {}, "chat"),
        ("/api/generate", {"prompt": "Hi"}, "generate"),
        ("/api/generate", {}, "generate"),
    ]:
        assert await daemon.post(path, {"model": "demo"} | body) == (400, {"error": f'"demo" does not support {what}'})
    for path, body, what in [
        ("/v1/chat/completions", {"messages": ask}, "chat"),
        ("/v1/completions", {"prompt": "Hi"}, "generate"),
        ("/v1/responses", {"input": "Hi"}, "chat"),
        ("/v1/messages", {"messages": ask, "max_tokens": 5}, "chat"),
    ]:
        status, answer = await daemon.post(path, {"model": "demo"} | body)
        assert (status, answer["error"]["message"]) == (400, f'"demo" does not support {what}')
    assert daemon.engine.loads == []
    assert (await daemon.ollama.embed("demo", "ab")).prompt_eval_count == 3
    assert (await daemon.post("/api/generate", {"model": "demo", "keep_alive": 0}))[1]["done_reason"] == "unload"


NEW, OLD, OPENAI = "/api/embed", "/api/embeddings", "/v1/embeddings"


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        (NEW, {"input": 5}, 400, "invalid input type"),
        (NEW, {"input": ["a", 5]}, 400, "invalid input type"),
        (NEW, {"input": "a", "model": ""}, 404, "model '' not found"),
        (NEW, {"input": "a", "model": "nope"}, 404, "model 'nope' not found"),
        (NEW, {"input": "a", "keep_alive": "soon"}, 400, "invalid keep_alive"),
        (NEW, {"input": "a", "dimensions": 5}, 400, "dimensions must be between 1 and 4"),
        (NEW, {"input": "a", "dimensions": -1}, 400, "dimensions must be between 1 and 4"),
        (NEW, {"input": "a", "options": {"num_ctx": "x"}}, 400, 'option "num_ctx" must be of type integer'),
        (OLD, {"prompt": "a", "model": ""}, 400, "model is required"),
        (OLD, {"prompt": "a", "model": "nope"}, 404, "model 'nope' not found"),
        (OPENAI, {}, 400, "invalid input"),
        (OPENAI, {"input": []}, 400, "invalid input"),
        (OPENAI, {"input": ""}, 400, "invalid input"),
        (OPENAI, {"input": [""]}, 400, "invalid input"),
        (OPENAI, {"input": {"a": 1}}, 400, "invalid input"),
        (OPENAI, {"input": [1, "a"]}, 400, "invalid input"),
        (OPENAI, {"input": "a", "model": ""}, 400, "model is required"),
        (OPENAI, {"input": "a", "model": "nope"}, 404, "model 'nope' not found"),
        (OPENAI, {"input": "a", "dimensions": 0}, 400, "dimensions must be between 1 and 4"),
        (OPENAI, {"input": "a", "encoding_format": "hex"}, 400,
         "Invalid value for 'encoding_format' = \"hex\". Supported values: ['float', 'base64']."),
    ],
)  # fmt: skip
async def test_refusals(daemon: Any, path: str, body: Any, status: int, text: str) -> None:
    found, answer = await daemon.post(path, {"model": "demo"} | body)
    told = answer["error"]["message"] if path == OPENAI else answer["error"]
    assert (found, text in told) == (status, True), told


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
async def test_vectors_that_json_cannot_hold(daemon: Any, number: float) -> None:
    daemon.engine.vector = (1.0, number)
    with pytest.raises(ollama.ResponseError, match="embedding contains NaN or Inf values"):
        await daemon.ollama.embed("demo", "ab")
    with pytest.raises(openai.BadRequestError, match="embedding contains NaN or Inf values"):
        await daemon.openai.embeddings.create(model="demo", input="ab")


async def test_how_much_of_a_text_the_demo_model_reads(ollama_client: ollama.AsyncClient) -> None:
    """As Ollama's own suite asks, whose num_ctx of 0 and 1 leaves no room; the loaded model stays as large as it is."""
    text = "What is 12 + 30?"
    whole = (await ollama_client.embed("demo", text)).prompt_eval_count or 0
    assert whole > 5
    for context in (3, 4):
        short = await ollama_client.embed("demo", text, options={"num_ctx": context})
        assert (short.prompt_eval_count, len(short.embeddings[0])) == (context, 256)
        with pytest.raises(ollama.ResponseError, match="the input length exceeds the context length"):
            await ollama_client.embed("demo", text, truncate=False, options={"num_ctx": context})
    for context in (0, 1):
        with pytest.raises(ollama.ResponseError, match="input after truncation exceeds maximum context length"):
            await ollama_client.embed("demo", text, options={"num_ctx": context})
    again = await ollama_client.embed("demo", text, truncate=False, options={"num_ctx": 16})
    assert again.prompt_eval_count == whole
