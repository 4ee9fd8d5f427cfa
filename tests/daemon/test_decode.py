from typing import Any

import pytest

from ktd.daemon.errors import BadRequest
from ktd.daemon.wire import ollama, openai
from ktd.daemon.wire.decode import decode


def test_keys_match_without_case_and_null_is_unset() -> None:
    body = b'{"MODEL": "m", "Stream": null, "Messages": [{"Role": "user", "content": null, "x": 1}], "unknown": {}}'
    request = decode(body, ollama.ChatRequest)
    assert (request.model, request.stream) == ("m", True)
    assert [(message.role, message.content) for message in request.messages] == [("user", "")]


def test_what_is_not_a_record_of_ours_keeps_its_keys() -> None:
    tool = b'{"type": "function", "function": {"name": "F", "parameters": {"Properties": {"X": null}}}}'
    request = decode(b'{"tools": [' + tool + b"]}", ollama.ChatRequest)
    assert request.tools[0]["function"]["parameters"] == {"Properties": {"X": None}}


def test_numbers_and_booleans_may_come_as_text() -> None:
    request = decode(b'{"stream": "false", "top_logprobs": "3"}', ollama.ChatRequest)
    assert (request.stream, request.top_logprobs) == (False, 3)


def test_what_follows_the_first_value_is_ignored() -> None:
    assert decode(b' {"model": "m"} trailing', ollama.NameRequest).model == "m"


def test_content_may_be_text_or_parts() -> None:
    body = b'{"messages": [{"content": "a"}, {"content": [{"type": "text", "text": "b"}]}, {"content": null}]}'
    contents = [message.content for message in decode(body, openai.ChatRequest).messages]
    assert contents == ["a", [openai.Part("text", "b")], None]


def test_half_a_surrogate_pair_is_replaced() -> None:
    request = decode(rb'{"model": "a\ud800b \ud83d\ude00"}', ollama.NameRequest)
    assert request.model == "a\ufffdb \N{GRINNING FACE}"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "missing request body"),
        (b"  ", "missing request body"),
        (b"{", "invalid JSON"),
        (b"\xff{}", "invalid JSON"),
        (b'{"model": NaN}', "NaN is not a number"),
        (b"[" * 100_000, "invalid JSON"),
        (b"[]", "must be a JSON object, not an array"),
        (b"3", "not a number"),
        (b'{"stream": "maybe"}', "stream"),
        (b'{"messages": {}}', "messages"),
        (b'{"messages": [{"content": [1]}]}', "content"),
        (b'{"top_logprobs": 1e400}', "invalid JSON|top_logprobs|int"),
    ],
)
def test_what_cannot_be_read_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        decode(body, ollama.ChatRequest)


def test_every_record_survives_hostile_values() -> None:
    hostile: list[Any] = [b"{}", b'{"model": {}}', b'{"messages": [null]}', b'{"tools": [null]}', b'{"options": []}']
    for body in hostile:
        for record in (ollama.ChatRequest, ollama.GenerateRequest, openai.ChatRequest):
            try:
                decode(body, record)
            except BadRequest as error:
                assert str(error)
