"""OpenAI's wire records of /v1/responses, and the events of its streams."""

from typing import Any, Literal

import msgspec

from ktd.daemon.streams import Event
from ktd.daemon.wire.openai import Logprob

Status = Literal["in_progress", "completed", "incomplete", "failed"]


class Part(msgspec.Struct):
    """One part of an item's content, output or summary."""

    type: str = ""
    text: str = ""
    refusal: str = ""


class ItemIn(msgspec.Struct):
    """A message, reasoning, function_call or function_call_output, by its type; without one, a message."""

    type: str = "message"
    role: str = ""
    content: str | list[Part] = ""
    summary: list[Part] = msgspec.field(default_factory=list)
    call_id: str = ""
    name: str = ""
    arguments: str = ""
    output: str | list[Part] = ""


class Reasoning(msgspec.Struct):
    effort: str | None = None
    summary: str | None = None


class Format(msgspec.Struct, omit_defaults=True):
    type: str = "text"
    name: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class TextOptions(msgspec.Struct):
    format: Format = msgspec.field(default_factory=lambda: Format(type="text"))


class Request(msgspec.Struct):
    model: str = ""
    input: str | list[ItemIn] = ""
    instructions: str | None = None
    stream: bool = False
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    include: list[str] = msgspec.field(default_factory=list)
    tools: list[dict[str, Any]] = msgspec.field(default_factory=list)
    tool_choice: Any = "auto"
    parallel_tool_calls: bool = True
    reasoning: Reasoning = msgspec.field(default_factory=Reasoning)
    text: TextOptions = msgspec.field(default_factory=TextOptions)
    truncation: str = "disabled"
    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    previous_response_id: str | None = None
    conversation: Any = None
    background: bool = False


class Summary(msgspec.Struct, tag="summary_text"):
    text: str = ""


class OutputText(msgspec.Struct, tag="output_text"):
    text: str = ""
    annotations: list[Any] = msgspec.field(default_factory=list)
    logprobs: list[Logprob] = msgspec.field(default_factory=list)


class Thought(msgspec.Struct, tag="reasoning"):
    id: str
    summary: list[Summary] = msgspec.field(default_factory=list)
    status: Status = "in_progress"


class Message(msgspec.Struct, tag="message"):
    id: str
    content: list[OutputText] = msgspec.field(default_factory=list)
    role: Literal["assistant"] = "assistant"
    status: Status = "in_progress"


class FunctionCall(msgspec.Struct, tag="function_call"):
    id: str
    call_id: str
    name: str
    arguments: str = ""  # JSON
    status: Status = "in_progress"


Item = Thought | Message | FunctionCall


class Usage(msgspec.Struct):
    input_tokens: int
    input_tokens_details: dict[str, int]
    output_tokens: int
    output_tokens_details: dict[str, int]
    total_tokens: int


class Problem(msgspec.Struct):
    code: str
    message: str


class Incomplete(msgspec.Struct):
    reason: Literal["max_output_tokens"] = "max_output_tokens"


class Response(msgspec.Struct, kw_only=True):
    """What was asked, and what is answered so far. Nothing is stored."""

    id: str
    created_at: int
    model: str
    status: Status = "in_progress"
    output: list[Item] = msgspec.field(default_factory=list)
    usage: Usage | None = None
    error: Problem | None = None
    incomplete_details: Incomplete | None = None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, Any]
    parallel_tool_calls: bool
    reasoning: Reasoning
    temperature: float | None
    text: TextOptions
    tool_choice: Any
    tools: list[dict[str, Any]]
    top_p: float | None
    truncation: str
    store: bool = False
    previous_response_id: None = None
    object: Literal["response"] = "response"


class Numbered(Event, kw_only=True):
    sequence_number: int = 0


class Created(Numbered, tag="response.created"):
    response: Response


class InProgress(Numbered, tag="response.in_progress"):
    response: Response


class Completed(Numbered, tag="response.completed"):
    response: Response


class Cut(Numbered, tag="response.incomplete"):
    response: Response


class Failed(Numbered, tag="response.failed"):
    response: Response


class ItemAdded(Numbered, tag="response.output_item.added"):
    output_index: int
    item: Item


class ItemDone(Numbered, tag="response.output_item.done"):
    output_index: int
    item: Item


class InItem(Numbered, kw_only=True):
    item_id: str
    output_index: int


class SummaryAdded(InItem, tag="response.reasoning_summary_part.added"):
    part: Summary
    summary_index: int = 0


class SummaryDelta(InItem, tag="response.reasoning_summary_text.delta"):
    delta: str
    summary_index: int = 0


class SummaryTextDone(InItem, tag="response.reasoning_summary_text.done"):
    text: str
    summary_index: int = 0


class SummaryDone(InItem, tag="response.reasoning_summary_part.done"):
    part: Summary
    summary_index: int = 0


class PartAdded(InItem, tag="response.content_part.added"):
    part: OutputText
    content_index: int = 0


class TextDelta(InItem, tag="response.output_text.delta"):
    delta: str
    logprobs: list[Logprob]
    content_index: int = 0


class TextDone(InItem, tag="response.output_text.done"):
    text: str
    logprobs: list[Logprob]
    content_index: int = 0


class PartDone(InItem, tag="response.content_part.done"):
    part: OutputText
    content_index: int = 0


class ArgumentsDelta(InItem, tag="response.function_call_arguments.delta"):
    delta: str


class ArgumentsDone(InItem, tag="response.function_call_arguments.done"):
    name: str
    arguments: str
