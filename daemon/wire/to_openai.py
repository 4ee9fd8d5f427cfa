"""Answers in OpenAI's records."""

import secrets
import time
from collections.abc import Sequence

import msgspec
from msgspec import UNSET

from ktd.daemon.chat.chat import Piece, ToolCall
from ktd.daemon.chat.ending import Ending
from ktd.daemon.wire import openai
from ktd.engine.messages import TokenLogprob


class Reply:
    """One reply: the same id and time in all its chunks."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._id = f"chatcmpl-{secrets.token_hex(12)}"
        self._created = int(time.time())

    def completion(self, answers: Sequence[tuple[Piece, Ending]]) -> openai.Completion:
        choices = [_choice(index, piece, ending) for index, (piece, ending) in enumerate(answers)]
        told = usage([ending for _, ending in answers], len(answers))
        return openai.Completion(self._id, self._created, self._model, choices, told)

    def opening(self, index: int) -> openai.Chunk:
        return self._chunk(openai.Delta(openai.Message(role="assistant", content=""), index=index))

    def chunk(self, index: int, piece: Piece) -> openai.Chunk:
        message = _message(piece)
        message.content = piece.content or UNSET
        return self._chunk(openai.Delta(message, index=index, logprobs=_logprobs(piece)))

    def closing(self, index: int, ending: Ending) -> openai.Chunk:
        return self._chunk(openai.Delta(openai.Message(), finish_reason(ending), index))

    def usage(self, endings: Sequence[Ending]) -> openai.Chunk:
        return openai.Chunk(self._id, self._created, self._model, [], usage(endings, len(endings)))

    def _chunk(self, delta: openai.Delta) -> openai.Chunk:
        return openai.Chunk(self._id, self._created, self._model, [delta])


def _choice(index: int, piece: Piece, ending: Ending) -> openai.Choice:
    message = _message(piece)
    message.role = "assistant"
    message.content = piece.content or (None if piece.calls else "")
    return openai.Choice(message, finish_reason(ending), index, _logprobs(piece))


def _message(piece: Piece) -> openai.Message:
    thinking = piece.thinking or UNSET
    calls = [_call(call) for call in piece.calls] or UNSET
    return openai.Message(reasoning=thinking, reasoning_content=thinking, tool_calls=calls)


def logprobs(piece: Piece) -> list[openai.Logprob]:
    return [
        openai.Logprob(*_token(each), [openai.TopLogprob(*_token(best)) for best in each.top])
        for each in piece.logprobs
    ]


def _logprobs(piece: Piece) -> openai.Logprobs | None:
    told = logprobs(piece)
    return openai.Logprobs(told) if told else None


def _token(of: TokenLogprob) -> tuple[str, float, list[int]]:
    return of.piece.decode(errors="replace"), of.logprob, list(of.piece)


def _call(call: ToolCall) -> openai.ToolCall:
    arguments = msgspec.json.encode(call.arguments).decode()
    return openai.ToolCall(call.index, call.id, openai.Function(call.name, arguments))


def finish_reason(ending: Ending) -> str:
    if ending.called:
        return "tool_calls"
    return "length" if ending.done.reason == "length" else "stop"


def usage(endings: Sequence[Ending], each: int = 1) -> openai.Usage:
    """Of all these answers together; so many at a time are to one prompt, which is counted once."""
    prompts = [ending.done for ending in endings[::each]]
    prompt = sum(done.prompt_tokens for done in prompts)
    cached = sum(done.cached_tokens for done in prompts)
    output = sum(ending.done.output_tokens for ending in endings)
    thought = sum(ending.thought_tokens for ending in endings)
    return openai.Usage(prompt, output, prompt + output, {"cached_tokens": cached}, {"reasoning_tokens": thought})
