"""What is refused, with which status and in what words: Ollama's, where it has some. By route, in every dialect.

Refusals that need more than a request are tested with what they are about: full queues in test_ollama_loading, workers
that die in test_endings, uploads and pulls in test_bringing, formats in test_format, choices in test_tool_choice.
"""

from io import BytesIO
from typing import Any

import pytest

ASK = [{"role": "user", "content": "What is 12 + 30?"}]

CHAT, GENERATE, EMBED, OLD_EMBED = "/api/chat", "/api/generate", "/api/embed", "/api/embeddings"
SHOW, COPY, CREATE, PULL = "/api/show", "/api/copy", "/api/create", "/api/pull"
OPENAI, TEXTS, VECTORS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"
CLAUDE, COUNT = "/v1/messages", "/v1/messages/count_tokens"
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
THINK = 'invalid think value: "x" (must be "high", "medium", "low", "max", true, or false)'
FORMAT = 'invalid format: "xml"; expected "json" or a valid JSON Schema object'
NOTHING = "sha256:" + "0" * 64
PLAIN = "{% for message in messages %}{{ message.content }}{% endfor %}"
"""A template of a model that neither thinks nor calls tools."""

ROWS: list[tuple[str, dict[str, Any], int, str]] = [
    (GENERATE, {"think": "x"}, 400, THINK),
    (GENERATE, {"think": 3}, 400, "think must be a boolean or string"),
    (GENERATE, {"keep_alive": "soon"}, 400, "invalid keep_alive"),
    (GENERATE, {"keep_alive": True}, 400, "Unsupported type: 'bool'"),
    (GENERATE, {"top_logprobs": -1}, 400, "top_logprobs must be between 0 and 20"),
    (GENERATE, {"model": ""}, 404, "model '' not found"),
    (GENERATE, {"model": "a b"}, 400, "invalid model name"),
    (GENERATE, {"model": "x"}, 404, "model 'x' not found"),
    (GENERATE, {"model": "x", "keep_alive": 0}, 404, "model 'x' not found"),
    (GENERATE, {"prompt": "x", "raw": True, "template": "y"}, 400, "raw mode does not support template, system, or"),
    (GENERATE, {"prompt": "x", "raw": True, "system": "y"}, 400, "raw mode does not support template, system, or"),
    (GENERATE, {"prompt": "x", "raw": True, "context": [1]}, 400, "raw mode does not support template, system, or"),
    (GENERATE, {"prompt": "x", "suffix": "y", "context": [1]}, 400, "a context cannot go before"),
    (GENERATE, {"prompt": "x", "suffix": "y", "template": "z"}, 400, "without a template"),
    (GENERATE, {"prompt": "x", "template": "{{ nothing.at.all }}"}, 400, "chat template failed"),
    (GENERATE, {"prompt": "x", "template": "{{ if .Prompt }}"}, 400, "template failed"),
    (GENERATE, {"prompt": "x", "images": ["aGk="]}, 400, '"demo" does not support images'),
    (GENERATE, {"prompt": "x", "images": ["https://example.com/cat.png"]}, 400, '"demo" does not support images'),
    (GENERATE, {"prompt": "x", "model": "plain", "think": True}, 400, '"plain" does not support thinking'),
    (GENERATE, {"prompt": "x", "model": "plain", "think": "low"}, 400, '"plain" does not support thinking'),
    (GENERATE, {"prompt": "x", "format": "xml"}, 400, FORMAT),
    (GENERATE, {"prompt": "x", "format": [1]}, 400, "invalid format: [1]; expected"),
    (GENERATE, {"prompt": "x", "options": {"temperature": []}}, 400, 'option "temperature" must be of type float32'),
    (CHAT, {"model": ""}, 400, "model is required"),
    (CHAT, {"model": "a b"}, 400, "invalid model name"),
    (CHAT, {"model": "Nope", "messages": ASK}, 404, "model 'Nope' not found"),
    (CHAT, {"model": "demo:7b", "messages": ASK}, 404, "model 'demo:7b' not found"),
    (CHAT, {"model": "nope", "keep_alive": 0}, 404, "model 'nope' not found"),
    (CHAT, {"think": "x"}, 400, THINK),
    (CHAT, {"think": 3}, 400, "think must be a boolean or string"),
    (CHAT, {"keep_alive": "soon"}, 400, "invalid keep_alive"),
    (CHAT, {"keep_alive": [1]}, 400, "Unsupported type: 'list'"),
    (CHAT, {"top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
    (CHAT, {"messages": ASK, "format": "xml"}, 400, FORMAT),
    (CHAT, {"messages": [{"role": "user", "images": ["aGk="]}]}, 400, '"demo" does not support images'),
    (CHAT, {"messages": ASK, "options": {"num_ctx": "x"}}, 400, 'option "num_ctx" must be of type integer'),
    (CHAT, {"messages": ASK, "options": {"stop": 5}}, 400, 'option "stop" must be of type array'),
    (CHAT, {"messages": ASK, "stream": "often"}, 400, "stream"),
    (CHAT, {"messages": ASK, "model": "plain", "think": True}, 400, '"plain" does not support thinking'),
    (CHAT, {"messages": ASK, "model": "plain", "tools": [TOOL]}, 400, "plain:latest does not support tools"),
    (EMBED, {"input": 5}, 400, "invalid input type"),
    (EMBED, {"input": "x", "model": ""}, 404, "model '' not found"),
    (EMBED, {"input": "x", "model": "nope"}, 404, "model 'nope' not found"),
    (OLD_EMBED, {"prompt": "x", "model": ""}, 400, "model is required"),
    (OLD_EMBED, {"prompt": "x", "model": "nope"}, 404, "model 'nope' not found"),
    (SHOW, {"model": ""}, 400, "model is required"),
    (SHOW, {"model": "a b"}, 400, "invalid model name"),
    (SHOW, {"model": "nope"}, 404, "model 'nope:latest' not found"),
    (COPY, {"source": "", "destination": "x"}, 400, 'source "" is invalid'),
    (COPY, {"source": "nope", "destination": "x"}, 404, 'model "nope" not found'),
    (COPY, {"source": "demo", "destination": "a b"}, 400, 'destination "a b" is invalid'),
    (CREATE, {"model": "a b", "from": "demo"}, 400, "invalid model name"),
    (CREATE, {"model": "x"}, 400, "neither 'from' or 'files' was specified"),
    (CREATE, {"model": "x", "files": {"/a": NOTHING}}, 400, "file path must be relative"),
    (CREATE, {"model": "x", "files": {"a": "sha256:1"}}, 400, "invalid digest format"),
    (PULL, {"model": ""}, 400, "invalid model name"),
    ("/api/experimental/web_search", {"query": "x"}, 404, "ktd has no cloud"),
    ("/api/signout", {}, 404, "ktd has no cloud"),
    ("/api/push", {"model": "demo"}, 501, "ktd does not push models"),
    (OPENAI, {"model": "", "messages": ASK}, 400, "model is required"),
    (OPENAI, {"model": "nope", "messages": ASK}, 404, "model 'nope' not found"),
    (OPENAI, {"messages": []}, 400, "[] is too short - 'messages'"),
    (OPENAI, {"messages": [{"role": "user", "content": None}]}, 400, "invalid message content type: <nil>"),
    (OPENAI, {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "does not support images"),
    (OPENAI, {"messages": ASK, "reasoning_effort": "huge"}, 400, "invalid reasoning value: huge"),
    (OPENAI, {"messages": ASK, "model": "plain", "tools": [TOOL]}, 400, "plain:latest does not support tools"),
    (OPENAI, {"messages": ASK, "model": "plain", "reasoning_effort": "low"}, 400, "does not support thinking"),
    (TEXTS, {"prompt": "x", "model": "nope"}, 404, "model 'nope' not found"),
    (TEXTS, {"prompt": "x", "stop": 5}, 400, 'option "stop" must be of type array'),
    (VECTORS, {}, 400, "invalid input"),
    (VECTORS, {"input": "x", "encoding_format": "x"}, 400, "Invalid value for 'encoding_format' = \"x\". Supported"),
    (VECTORS, {"input": "x", "model": "nope"}, 404, "model 'nope' not found"),
    (RESPONSES, {"input": "x", "model": "nope"}, 404, "model 'nope' not found"),
    (RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, 400, "does not support files"),
    (CLAUDE, {"messages": ASK}, 400, "max_tokens is required and must be positive"),
    (CLAUDE, {"messages": ASK, "max_tokens": 0}, 400, "max_tokens is required and must be positive"),
    (CLAUDE, {"max_tokens": 5}, 400, "messages is required"),
    (CLAUDE, {"messages": ASK, "max_tokens": 5, "model": "nope"}, 404, "model 'nope' not found"),
    (COUNT, {"messages": ASK, "model": "nope"}, 404, "model 'nope' not found"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "status", "text"), ROWS)
async def test_refusals(daemon: Any, path: str, body: Any, status: int, text: str) -> None:
    if body.get("model") == "plain":
        made = {"model": "plain", "from": "demo", "template": PLAIN, "stream": False}
        assert (await daemon.post(CREATE, made))[0] == 200
    found, answer = await daemon.post(path, {"model": "demo"} | body)
    assert (found, text in told(path, found, answer)) == (status, True), answer
    assert daemon.engine.prompts == []


def told(path: str, status: int, answer: Any) -> str:
    """The text, out of the shape of the dialect."""
    if path.startswith("/api/"):
        assert list(answer) == ["error"]
        text: str = answer["error"]
        return text
    text = answer["error"]["message"]
    kind = "not_found_error" if status == 404 else "invalid_request_error"
    if path.startswith("/v1/messages"):
        assert set(answer) == {"type", "error", "request_id"}
        assert (answer["type"], answer["error"]["type"]) == ("error", kind)
    else:
        assert answer == {"error": {"message": text, "type": kind, "param": None, "code": None}}
    return text


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
    async with daemon.http.post(daemon.url + "/v1/audio/transcriptions", data=b"RIFF") as reply:
        assert reply.status == 400
        error = (await reply.json())["error"]
        assert (error["type"], "transcribe audio" in error["message"]) == ("invalid_request_error", True)
