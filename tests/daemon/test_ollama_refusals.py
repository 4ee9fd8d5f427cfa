"""What Ollama's routes refuse, and in what words."""

from io import BytesIO
from typing import Any

import pytest

ASK = [{"role": "user", "content": "What is 12 + 30?"}]


CHAT, GENERATE = "/api/chat", "/api/generate"


@pytest.mark.parametrize(
    ("path", "body", "status", "text"),
    [
        (CHAT, {}, 400, "model is required"),
        (CHAT, {"model": "a b"}, 400, "invalid model name"),
        (CHAT, {"model": "Nope", "messages": ASK}, 404, "model 'Nope' not found"),
        (CHAT, {"model": "demo:7b", "messages": ASK}, 404, "model 'demo:7b' not found"),
        (CHAT, {"model": "nope", "keep_alive": 0}, 404, "model 'nope' not found"),
        (CHAT, {"model": "demo", "think": "x"}, 400,
         'invalid think value: "x" (must be "high", "medium", "low", "max", true, or false)'),
        (CHAT, {"model": "demo", "think": 3}, 400, "think must be a boolean or string"),
        (CHAT, {"model": "demo", "keep_alive": "soon"}, 400, "invalid keep_alive"),
        (CHAT, {"model": "demo", "keep_alive": [1]}, 400, "Unsupported type: 'list'"),
        (CHAT, {"model": "demo", "top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
        (CHAT, {"model": "demo", "messages": ASK, "format": "xml"}, 400,
         'invalid format: "xml"; expected "json" or a valid JSON Schema object'),
        (GENERATE, {"model": "demo", "prompt": "x", "format": [1]}, 400, "invalid format: [1]; expected"),
        (CHAT, {"model": "demo", "messages": [{"role": "user", "images": ["aGk="]}]}, 400, "does not support images"),
        (CHAT, {"model": "demo", "messages": ASK, "options": {"num_ctx": "x"}}, 400,
         'option "num_ctx" must be of type integer'),
        (GENERATE, {}, 404, "model '' not found"),
        (GENERATE, {"model": "x"}, 404, "model 'x' not found"),
        (GENERATE, {"model": "demo", "prompt": "x", "raw": True, "system": "y"}, 400,
         "raw mode does not support template, system, or context"),
        (GENERATE, {"model": "demo", "prompt": "x", "suffix": "y", "context": [1]}, 400, "a context cannot go before"),
        (GENERATE, {"model": "demo", "prompt": "x", "template": "y"}, 400, "Ollama's template language"),
        (GENERATE, {"model": "demo", "prompt": "x", "raw": True, "context": [1]}, 400, "raw mode does not support"),
        (GENERATE, {"model": "demo", "prompt": "x", "images": ["aGk="]}, 400, "does not support images"),
        ("/api/show", {}, 400, "model is required"),
        ("/api/show", {"model": "nope"}, 404, "model 'nope:latest' not found"),
        ("/api/copy", {"source": "", "destination": "x"}, 400, 'source "" is invalid'),
        ("/api/copy", {"source": "nope", "destination": "x"}, 404, 'model "nope" not found'),
        ("/api/copy", {"source": "demo", "destination": "a b"}, 400, 'destination "a b" is invalid'),
    ],
)  # fmt: skip
async def test_refusals(daemon: Any, path: str, body: Any, status: int, text: str) -> None:
    found, answer = await daemon.post(path, body)
    assert found == status
    assert list(answer) == ["error"]
    assert text in answer["error"]
    assert daemon.engine.prompts == []


@pytest.mark.parametrize(("name", "status"), [("nope", 404), ("", 400), ("a/b/c/d", 400)])
async def test_refused_deletes(daemon: Any, name: str, status: int) -> None:
    async with daemon.http.delete(daemon.url + "/api/delete", json={"model": name}) as reply:
        assert (reply.status, list(await reply.json())) == (status, ["error"])


async def test_bodies_that_cannot_be_read(daemon: Any) -> None:
    for body, text in ((b"", "missing request body"), (b"{", "invalid JSON"), (b"[1]", "must be a JSON object")):
        async with daemon.http.post(daemon.url + "/api/chat", data=body) as reply:
            assert reply.status == 400
            assert text in (await reply.json())["error"]


async def test_a_body_too_large(daemon: Any) -> None:
    async with daemon.http.post(daemon.url + "/api/show", data=BytesIO(b" " * ((64 << 20) + 1))) as reply:
        assert (reply.status, await reply.json()) == (413, {"error": "the request body is too large"})


async def test_the_content_type_does_not_matter(daemon: Any) -> None:
    body, headers = b'{"model": "demo"}', {"Content-Type": "application/x-www-form-urlencoded"}
    async with daemon.http.post(daemon.url + "/api/show", data=body, headers=headers) as reply:
        assert reply.status == 200


async def test_paths_and_verbs_that_are_not_there(daemon: Any) -> None:
    async with daemon.http.get(daemon.url + "/api/nothing") as reply:
        assert (reply.status, await reply.text()) == (404, "404 page not found")
        assert reply.headers["Content-Type"].startswith("text/plain")
    async with daemon.http.get(daemon.url + "/api/chat") as reply:
        assert (reply.status, reply.headers["Allow"]) == (405, "POST")
    for method, status in (("GET", 301), ("HEAD", 301)):
        async with daemon.http.request(method, daemon.url + "/api/tags/", allow_redirects=False) as reply:
            assert (reply.status, reply.headers["Location"]) == (status, "/api/tags")
    async with daemon.http.post(daemon.url + "/api/show/", json={"model": "demo"}) as reply:
        assert reply.status == 200
    async with daemon.http.get(daemon.url + "//evil.example/", allow_redirects=False) as reply:
        assert reply.status == 404


async def test_what_this_version_lacks_is_told_in_the_dialect(daemon: Any) -> None:
    async with daemon.http.post(daemon.url + "/api/embed", json={"model": "demo", "input": "x"}) as reply:
        assert (reply.status, await reply.json()) == (400, {"error": "this version of ktd does not compute embeddings"})
    async with daemon.http.post(daemon.url + "/v1/audio/transcriptions", data=b"RIFF") as reply:
        assert reply.status == 400
        error = (await reply.json())["error"]
        assert (error["type"], "transcribe audio" in error["message"]) == ("invalid_request_error", True)
