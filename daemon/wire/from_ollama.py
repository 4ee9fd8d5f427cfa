"""Ollama's requests, made into chats. What makes no sense is refused here, where possible in Ollama's words."""

import json

from ktd.daemon import duration
from ktd.daemon.chat import schema as schemas
from ktd.daemon.chat.chat import Ask, Chat, Fill, Message, Raw, Terms, ToolCall
from ktd.daemon.chat.options import MOST_TOP_LOGPROBS, terms
from ktd.daemon.errors import BadRequest, NotSupported
from ktd.daemon.wire import ollama
from ktd.daemon.wire.conversation import Examples, arguments, role, with_system
from ktd.registry.record import ModelRecord

UNSHIFTED = ("deepseek2",)  # architectures whose answers end with their context, as Ollama's do, unless asked to go on
LEVELS = ("high", "medium", "low", "max")


def chat(request: ollama.ChatRequest, system: str | None, examples: Examples = ()) -> Chat:
    """Raises BadRequest."""
    names = {call.id: call.function.name for message in request.messages for call in message.tool_calls}
    messages = tuple(_message(message, names) for message in request.messages)
    think, effort = thinking(request.think)
    messages = with_system(messages, system, examples)
    return Chat(messages, tuple(request.tools), think, effort, truncate=request.truncate)


def prompt(request: ollama.GenerateRequest, system: str | None) -> Ask:
    """Raises BadRequest."""
    if request.suffix:
        return Fill(request.prompt, request.suffix)
    if request.raw:
        return Raw(request.prompt)
    think, effort = thinking(request.think)
    message, before = Message("user", request.prompt), tuple(request.context)
    own = None if before else system  # it is in the context already
    messages = with_system((message,), request.system or own)
    template = request.template or None
    return Chat(messages, think=think, effort=effort, template=template, before=before, truncate=request.truncate)


def refuse_broken(request: ollama.Request) -> None:
    """What makes no sense for any model. Raises BadRequest."""
    thinking(request.think)
    keep_alive(request.keep_alive)
    if not 0 <= request.top_logprobs <= MOST_TOP_LOGPROBS:
        raise BadRequest(f"top_logprobs must be between 0 and {MOST_TOP_LOGPROBS}")


def conditions(request: ollama.ChatRequest | ollama.GenerateRequest, record: ModelRecord) -> Terms:
    """The terms of a request for a model. Raises BadRequest."""
    return terms(
        record.parameters,
        request.options,
        shift=record.details.family not in UNSHIFTED if request.shift is None else request.shift,
        keep_alive=keep_alive(request.keep_alive),
        logprobs=logprobs(request),
        schema=schema(request.format),
    )


def logprobs(request: ollama.Request) -> int | None:
    """How many of the best tokens to tell at each place; None tells no log-probabilities."""
    return request.top_logprobs if request.logprobs else None


def schema(format: object) -> str | None:
    """The JSON schema of the answer, if it shall have one. Raises BadRequest."""
    if format in (None, ""):
        return None
    if format == "json":
        return schemas.text(schemas.ANY_OBJECT)
    if not isinstance(format, dict):
        raise BadRequest(f'invalid format: {json.dumps(format)}; expected "json" or a valid JSON Schema object')
    return schemas.text(format)


def refuse_images(request: ollama.ChatRequest | ollama.GenerateRequest) -> None:
    """This version's models read text only. Raises NotSupported."""
    messages = request.messages if isinstance(request, ollama.ChatRequest) else [request]
    if any(message.images for message in messages):
        raise NotSupported(f'"{request.model}" does not support images')


def refuse_mixed(request: ollama.GenerateRequest) -> None:
    """Ways to ask that exclude each other. Raises BadRequest."""
    if request.raw and (request.template or request.system or request.context):
        raise BadRequest("raw mode does not support template, system, or context")
    if request.suffix and request.context:
        raise BadRequest("a context cannot go before a prompt with a suffix")
    if request.suffix and request.template:
        raise BadRequest("what goes before a suffix is filled in by the model's own tokens, without a template")


def thinking(value: object) -> tuple[bool | None, str | None]:
    """Whether to think, and how hard, where that is said. Raises BadRequest."""
    levels = ", ".join(f'"{level}"' for level in LEVELS)
    if value is None or isinstance(value, bool):
        return value, None
    if not isinstance(value, str):
        raise BadRequest(f"think must be a boolean or string ({levels}, true, or false)")
    if value not in LEVELS:
        raise BadRequest(f'invalid think value: "{value}" (must be {levels}, true, or false)')
    return True, value


def keep_alive(value: object) -> float | None:
    """Seconds, or None when nothing was said. Raises BadRequest."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadRequest(f"Unsupported type: '{type(value).__name__}'")
    try:
        return duration.seconds(value) if isinstance(value, str) else duration.lasting(float(value))
    except (ValueError, OverflowError) as error:
        raise BadRequest(f"invalid keep_alive: {error}") from error


def _message(message: ollama.MessageIn, names: dict[str, str]) -> Message:
    """`names` is of earlier calls by their ids: some clients tell only the id of the call that a tool answers."""
    return Message(
        role=role(message.role),
        content=message.content,
        thinking=message.thinking,
        calls=tuple(
            ToolCall(call.function.name, arguments(call.function.arguments), call.id) for call in message.tool_calls
        ),
        tool_name=message.tool_name or names.get(message.tool_call_id, ""),
        tool_call_id=message.tool_call_id,
    )
