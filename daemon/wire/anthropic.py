"""Anthropic's wire records, of /v1/messages."""

from typing import Any, Literal

import msgspec

from ktd.daemon.streams import Event


class Block(msgspec.Struct):
    """One block of a message: text, thinking, tool_use or tool_result, by its type."""

    type: str = ""
    text: str = ""
    thinking: str = ""
    id: str = ""
    name: str = ""
    input: dict[str, Any] = msgspec.field(default_factory=dict)
    tool_use_id: str = ""
    content: Any = None  # of a tool_result: text or blocks
    is_error: bool = False


class MessageIn(msgspec.Struct):
    role: str = ""
    content: str | list[Block] = ""


class Tool(msgspec.Struct):
    name: str = ""
    description: str = ""
    input_schema: dict[str, Any] = msgspec.field(default_factory=dict)
    type: str = "custom"


class ToolChoice(msgspec.Struct):
    type: str = "auto"
    name: str = ""
    disable_parallel_tool_use: bool = False


class Thinking(msgspec.Struct):
    type: str = ""
    budget_tokens: int | None = None


class Format(msgspec.Struct):
    type: str = ""
    schema: dict[str, Any] | None = None


class OutputConfig(msgspec.Struct):
    effort: str | None = None
    format: Format | None = None


class CountRequest(msgspec.Struct):
    """Of /v1/messages/count_tokens."""

    model: str = ""
    messages: list[MessageIn] = msgspec.field(default_factory=list)
    system: str | list[Block] = ""
    tools: list[Tool] = msgspec.field(default_factory=list)
    tool_choice: ToolChoice = msgspec.field(default_factory=ToolChoice)
    thinking: Thinking = msgspec.field(default_factory=Thinking)
    output_config: OutputConfig = msgspec.field(default_factory=OutputConfig)


class Request(CountRequest):
    max_tokens: Any = None
    stream: bool = False
    temperature: Any = None
    top_p: Any = None
    top_k: Any = None
    stop_sequences: Any = None


class Text(msgspec.Struct):
    text: str
    type: Literal["text"] = "text"


class Thought(msgspec.Struct):
    thinking: str
    signature: str = ""  # only Anthropic can sign
    type: Literal["thinking"] = "thinking"


class ToolUse(msgspec.Struct):
    id: str
    name: str
    input: dict[str, Any]
    type: Literal["tool_use"] = "tool_use"


Content = Text | Thought | ToolUse


class Usage(msgspec.Struct):
    """`input_tokens` are those that were not in the cache."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0


class Message(msgspec.Struct):
    id: str
    model: str
    content: list[Content]
    usage: Usage
    stop_reason: str | None = None
    stop_sequence: str | None = None
    role: Literal["assistant"] = "assistant"
    type: Literal["message"] = "message"


class TokenCount(msgspec.Struct):
    input_tokens: int


class MessageStart(Event, tag="message_start"):
    message: Message


class Ping(Event, tag="ping"):
    pass


class BlockStart(Event, tag="content_block_start"):
    index: int
    content_block: Content


class BlockDelta(Event, tag="content_block_delta"):
    """`delta` is a text_delta, thinking_delta or input_json_delta."""

    index: int
    delta: dict[str, str]


class BlockStop(Event, tag="content_block_stop"):
    index: int


class StopDelta(msgspec.Struct):
    stop_reason: str
    stop_sequence: str | None


class MessageDelta(Event, tag="message_delta"):
    delta: StopDelta
    usage: Usage


class MessageStop(Event, tag="message_stop"):
    pass


class ErrorBody(msgspec.Struct):
    type: str
    message: str


class Error(Event, tag="error"):
    error: ErrorBody
    request_id: str
