"""OpenAI's wire records, of /v1/models and /v1/chat/completions."""

from typing import Any, Literal

import msgspec


class Part(msgspec.Struct):
    """One part of a message's content."""

    type: str = ""
    text: str = ""
    refusal: str = ""


class FunctionIn(msgspec.Struct):
    name: str = ""
    arguments: str | dict[str, Any] = ""


class ToolCallIn(msgspec.Struct):
    function: FunctionIn
    id: str = ""


class MessageIn(msgspec.Struct):
    role: str = ""
    content: str | list[Part] | None = None
    name: str = ""
    tool_call_id: str = ""
    tool_calls: list[ToolCallIn] = msgspec.field(default_factory=list)
    reasoning: str = ""
    reasoning_content: str = ""


class StreamOptions(msgspec.Struct):
    include_usage: bool = False


class Reasoning(msgspec.Struct):
    """`max_tokens` is what OpenRouter's clients call the budget of a thought."""

    effort: str | None = None
    max_tokens: int | None = None


class NamedSchema(msgspec.Struct):
    schema: dict[str, Any] | None = None


class ResponseFormat(msgspec.Struct):
    type: str = "text"
    json_schema: NamedSchema | None = None


class Request(msgspec.Struct):
    """What /v1/chat/completions and /v1/completions have in common."""

    model: str = ""
    stream: bool = False
    stream_options: StreamOptions = msgspec.field(default_factory=StreamOptions)
    n: int = 1
    max_tokens: Any = None
    temperature: Any = None
    top_p: Any = None
    seed: Any = None
    stop: Any = None
    frequency_penalty: Any = None
    presence_penalty: Any = None
    logit_bias: dict[str, float] | None = None


class ChatRequest(Request):
    messages: list[MessageIn] = msgspec.field(default_factory=list)
    max_completion_tokens: Any = None
    tools: list[dict[str, Any]] = msgspec.field(default_factory=list)
    tool_choice: Any = None
    parallel_tool_calls: bool = True
    reasoning_effort: str | None = None
    reasoning: Reasoning = msgspec.field(default_factory=Reasoning)
    response_format: ResponseFormat | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


class Function(msgspec.Struct):
    name: str
    arguments: str  # JSON


class ToolCall(msgspec.Struct):
    index: int
    id: str
    function: Function
    type: Literal["function"] = "function"


class Message(msgspec.Struct):
    """`reasoning` and `reasoning_content` are the same text under the two names that clients look for."""

    role: str | msgspec.UnsetType = msgspec.UNSET
    content: str | msgspec.UnsetType | None = msgspec.UNSET
    reasoning: str | msgspec.UnsetType = msgspec.UNSET
    reasoning_content: str | msgspec.UnsetType = msgspec.UNSET
    tool_calls: list[ToolCall] | msgspec.UnsetType = msgspec.UNSET


class TopLogprob(msgspec.Struct):
    """The token's text, and its exact bytes, which may be part of a character."""

    token: str
    logprob: float
    bytes: list[int]


class Logprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class Logprobs(msgspec.Struct):
    content: list[Logprob]


class Choice(msgspec.Struct):
    message: Message
    finish_reason: str
    index: int = 0
    logprobs: Logprobs | None = None


class Delta(msgspec.Struct):
    delta: Message
    finish_reason: str | None = None
    index: int = 0
    logprobs: Logprobs | None = None


class Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int]
    completion_tokens_details: dict[str, int]


class Completion(msgspec.Struct):
    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    object: Literal["chat.completion"] = "chat.completion"
    system_fingerprint: str = "fp_ktd"


class Chunk(msgspec.Struct):
    id: str
    created: int
    model: str
    choices: list[Delta]
    usage: Usage | msgspec.UnsetType = msgspec.UNSET
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    system_fingerprint: str = "fp_ktd"


class Model(msgspec.Struct):
    id: str
    created: int
    owned_by: str
    object: Literal["model"] = "model"


class Models(msgspec.Struct):
    data: list[Model]
    object: Literal["list"] = "list"


class ErrorBody(msgspec.Struct):
    message: str
    type: str
    param: None = None
    code: None = None


class Error(msgspec.Struct):
    error: ErrorBody
