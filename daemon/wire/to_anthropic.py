"""Answers in Anthropic's records."""

import secrets
from collections.abc import Iterator

import msgspec

from ktd.daemon.chat.chat import Piece, ToolCall
from ktd.daemon.chat.ending import Ending
from ktd.daemon.streams import Event
from ktd.daemon.wire import anthropic


def message(model: str, piece: Piece, ending: Ending) -> anthropic.Message:
    content: list[anthropic.Content] = []
    if piece.thinking:
        content.append(anthropic.Thought(piece.thinking))
    if piece.content:
        content.append(anthropic.Text(piece.content))
    content += [_tool_use(call) for call in piece.calls]
    return anthropic.Message(_id(), model, content, _usage(ending), _reason(ending), _stop(ending))


class Events:
    """One reply as events: blocks follow each other, each with a number."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._begun = False
        self._index = -1
        self._open: type[anthropic.Content] | None = None

    def opening(self) -> Iterator[Event]:
        """What comes before all else, once."""
        if not self._begun:
            self._begun = True
            yield anthropic.MessageStart(anthropic.Message(_id(), self._model, [], anthropic.Usage()))

    def pulse(self) -> Iterator[Event]:
        yield from self.opening()
        yield anthropic.Ping()

    def of(self, piece: Piece) -> Iterator[Event]:
        if piece.thinking:
            yield from self._enter(anthropic.Thought(""))
            yield self._delta(type="thinking_delta", thinking=piece.thinking)
        if piece.content:
            yield from self._enter(anthropic.Text(""))
            yield self._delta(type="text_delta", text=piece.content)
        for call in piece.calls:
            yield from self._leave()
            yield from self._enter(anthropic.ToolUse(call.id, call.name, {}))
            yield self._delta(type="input_json_delta", partial_json=msgspec.json.encode(call.arguments).decode())

    def closing(self, ending: Ending) -> Iterator[Event]:
        yield from self._leave()
        yield anthropic.MessageDelta(anthropic.StopDelta(_reason(ending), _stop(ending)), _usage(ending))
        yield anthropic.MessageStop()

    def _enter(self, block: anthropic.Content) -> Iterator[Event]:
        """Have a block of this kind open."""
        if self._open is not type(block):
            yield from self._leave()
            self._index += 1
            self._open = type(block)
            yield anthropic.BlockStart(self._index, block)

    def _leave(self) -> Iterator[Event]:
        if self._open is not None:
            self._open = None
            yield anthropic.BlockStop(self._index)

    def _delta(self, **delta: str) -> Event:
        return anthropic.BlockDelta(self._index, delta)


def _tool_use(call: ToolCall) -> anthropic.ToolUse:
    return anthropic.ToolUse(call.id, call.name, call.arguments)


def _id() -> str:
    return f"msg_{secrets.token_hex(12)}"


def _reason(ending: Ending) -> str:
    if ending.called:
        return "tool_use"
    if ending.done.reason == "length":
        return "max_tokens"
    return "end_turn" if ending.done.stop is None else "stop_sequence"


def _stop(ending: Ending) -> str | None:
    return ending.done.stop if _reason(ending) == "stop_sequence" else None


def _usage(ending: Ending) -> anthropic.Usage:
    done = ending.done
    return anthropic.Usage(done.prompt_tokens - done.cached_tokens, done.output_tokens, done.cached_tokens)
