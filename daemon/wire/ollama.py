"""Ollama's wire records. Requests are what clients may send; of replies, fields equal to their default are left out."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec


class FunctionIn(msgspec.Struct):
    name: str = ""
    arguments: dict[str, Any] | str = msgspec.field(default_factory=dict)


class ToolCallIn(msgspec.Struct):
    function: FunctionIn
    id: str = ""


class MessageIn(msgspec.Struct):
    role: str = ""
    content: str = ""
    thinking: str = ""
    images: list[Any] = msgspec.field(default_factory=list)
    tool_calls: list[ToolCallIn] = msgspec.field(default_factory=list)
    tool_name: str = ""
    tool_call_id: str = ""


class Request(msgspec.Struct):
    """What /api/generate and /api/chat have in common."""

    model: str = ""
    stream: bool = True
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    keep_alive: Any = None
    think: Any = None
    format: Any = None
    logprobs: bool = False
    top_logprobs: int = 0
    truncate: bool = True
    shift: bool | None = None
    debug_render_only: bool = msgspec.field(default=False, name="_debug_render_only")


class ChatRequest(Request):
    messages: list[MessageIn] = msgspec.field(default_factory=list)
    tools: list[dict[str, Any]] = msgspec.field(default_factory=list)


class GenerateRequest(Request):
    prompt: str = ""
    suffix: str = ""
    system: str = ""
    template: str = ""
    context: list[int] = msgspec.field(default_factory=list)
    raw: bool = False
    images: list[Any] = msgspec.field(default_factory=list)


class TokenRequest(msgspec.Struct):
    """What /api/tokenize and /api/detokenize, which are ktd's own, have in common."""

    model: str = ""
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    keep_alive: Any = None


class TokenizeRequest(TokenRequest):
    content: str = ""
    prompt: str = ""
    add_special: bool = False  # whether to put BOS first, where the model wants it


class DetokenizeRequest(TokenRequest):
    tokens: list[int] = msgspec.field(default_factory=list)


class Tokens(msgspec.Struct):
    """Durations are nanoseconds."""

    model: str
    tokens: list[int]
    total_duration: int
    load_duration: int


class Content(msgspec.Struct):
    model: str
    content: str
    total_duration: int
    load_duration: int


class NameRequest(msgspec.Struct):
    """Of /api/show and /api/delete; `name` is what `model` was called once."""

    model: str = ""
    name: str = ""
    verbose: bool = False


class CopyRequest(msgspec.Struct):
    source: str = ""
    destination: str = ""


class ImportRequest(msgspec.Struct):
    """Of /api/import, which is ktd's own."""

    paths: list[str] = msgspec.field(default_factory=list)
    config: str | None = None
    name: str | None = None
    demo: bool = False


class Function(msgspec.Struct):
    index: int
    name: str
    arguments: dict[str, Any]


class ToolCall(msgspec.Struct):
    id: str
    function: Function


class Message(msgspec.Struct, omit_defaults=True):
    role: str
    content: str
    thinking: str = ""
    tool_calls: list[ToolCall] = msgspec.field(default_factory=list)


class TokenLogprob(msgspec.Struct):
    """The token's text, and its exact bytes, which may be part of a character."""

    token: str
    logprob: float
    bytes: list[int]


class Logprob(TokenLogprob, omit_defaults=True):
    """With the best tokens at its place, best first, where asked for."""

    top_logprobs: list[TokenLogprob] = msgspec.field(default_factory=list)


class DebugInfo(msgspec.Struct):
    """What the model would have been asked."""

    rendered_template: str
    image_count: int = 0


class Answer(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One line of an answer; the figures (durations in ns) are on the last."""

    model: str
    created_at: datetime = msgspec.field(default_factory=partial(datetime.now, UTC))
    done: bool
    done_reason: str = ""
    total_duration: int = 0
    load_duration: int = 0
    prompt_eval_count: int = 0
    prompt_eval_duration: int = 0
    eval_count: int = 0
    eval_duration: int = 0
    logprobs: list[Logprob] = msgspec.field(default_factory=list)
    debug_info: DebugInfo | None = msgspec.field(default=None, name="_debug_info")


class ChatAnswer(Answer, kw_only=True):
    message: Message


class GenerateAnswer(Answer, kw_only=True):
    response: str
    thinking: str = ""
    context: list[int] = msgspec.field(default_factory=list)


class Details(msgspec.Struct, omit_defaults=True):
    parent_model: str
    format: str
    family: str
    families: list[str]
    parameter_size: str
    quantization_level: str
    context_length: int = 0
    embedding_length: int = 0


class Model(msgspec.Struct):
    name: str
    model: str
    modified_at: str
    size: int
    digest: str
    details: Details
    capabilities: list[str]


class Progress(msgspec.Struct):
    completed: int
    total: int


class Placed(msgspec.Struct):
    """A part of a loaded model: which device it is on, how large it is in bytes, and why it is there."""

    part: str
    device: str
    size: int
    reason: str


class LoadedModel(msgspec.Struct, omit_defaults=True):
    """Sizes in bytes; `size_vram` is the part on GPUs.

    ktd's own are `kv_cache_type` and `placement`, absent until the model is ready, and `loading`, absent then.
    """

    name: str
    model: str
    size: int
    digest: str
    details: Details
    expires_at: str
    size_vram: int
    context_length: int
    kv_cache_type: str = ""
    loading: Progress | None = None
    placement: list[Placed] = msgspec.field(default_factory=list)


class Tensor(msgspec.Struct):
    name: str
    type: str
    shape: list[int]


class Example(msgspec.Struct):
    role: str
    content: str


class ModelFacts(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The reply of /api/show."""

    modelfile: str
    template: str
    details: Details
    model_info: dict[str, Any]
    capabilities: list[str]
    modified_at: str
    license: str = ""
    parameters: str = ""
    system: str = ""
    messages: list[Example] = msgspec.field(default_factory=list)
    tensors: list[Tensor] = msgspec.field(default_factory=list)
    placement: list[Placed] = msgspec.field(default_factory=list)  # ktd's own, of a model in memory


class ImportStatus(msgspec.Struct, omit_defaults=True):
    """One line of an import: what is being done, in bytes; the last has the model's name."""

    status: str
    completed: int | None = None
    total: int | None = None
    model: str = ""


class Error(msgspec.Struct):
    error: str
