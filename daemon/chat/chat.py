"""Chat: a request after its dialect has been taken off. Nothing below here knows Ollama from OpenAI."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from ktd.engine.messages import Sampling, TokenLogprob


@dataclass(frozen=True, slots=True)
class ToolCall:
    name: str
    arguments: dict[str, Any]
    id: str = ""
    index: int = 0  # within its answer


@dataclass(frozen=True, slots=True)
class Message:
    role: str
    content: str = ""
    thinking: str = ""
    calls: tuple[ToolCall, ...] = ()
    tool_name: str = ""
    tool_call_id: str = ""


@dataclass(frozen=True, slots=True)
class Chat:
    """`think` None leaves the choice to the template; `effort` is a level for templates that know levels, and a
    thought ends after `budget` tokens.

    The answer calls one of the tools named in `forced`, if there are any; it calls no more than one if `one_call`.
    `template` stands in for the model's own.
    `before` are the tokens of an earlier prompt and answer that the messages go on from. `truncate` lets go of the
    oldest turns when all of them are longer than the context.
    """

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()  # {"type": "function", "function": {...}}, as the client wrote them
    think: bool | None = None
    effort: str | None = None
    budget: int | None = None
    forced: tuple[str, ...] = ()
    one_call: bool = False
    template: str | None = None
    before: tuple[int, ...] = ()
    truncate: bool = False


@dataclass(frozen=True, slots=True)
class Raw:
    """Text that goes to the model untouched, behind tokens that do."""

    text: str
    before: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Fill:
    """Two texts, between which something is missing."""

    prefix: str
    suffix: str


Ask = Chat | Raw | Fill


@dataclass(frozen=True, slots=True)
class Terms:
    """How to answer. `context` is the least the worker must have been loaded with; `keep_alive` is in seconds.

    With a JSON schema (as text), the content is JSON that it allows, and nothing else.
    """

    sampling: Sampling = field(default_factory=Sampling)
    stops: tuple[str, ...] = ()
    context: int | None = None
    keep_alive: float | None = None  # None: the daemon's default
    schema: str | None = None


class Piece(msgspec.Struct, frozen=True):
    """Some more of the answer; every tool call comes whole.

    `tokens` is how many there were since the last piece, tags included, and `logprobs` of these, where asked for.
    There is one for every token: that is why it is no dataclass, which takes ten times as long to make.
    """

    content: str = ""
    thinking: str = ""
    calls: tuple[ToolCall, ...] = ()
    tokens: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()

    @property
    def says(self) -> bool:
        return bool(self.content or self.thinking or self.calls or self.logprobs)
