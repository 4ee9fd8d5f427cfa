"""OpenAI's requests, made into chats and options. What this build cannot do is refused here."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ktd.daemon.chat.chat import Chat, Message, ToolCall
from ktd.daemon.errors import BadRequest, NotSupported
from ktd.daemon.wire import openai
from ktd.daemon.wire.from_ollama import ANY_OBJECT, MOST_TOP_LOGPROBS, Examples, arguments, with_system

EFFORTS = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "max": "max",
    "xhigh": "max",
    "ultra": "max",
}
MOST_BIAS = 100
ROLES = {"developer": "system"}
USUAL = {"temperature": 1.0, "top_p": 1.0}  # where neither the request nor the model says otherwise


def chat(request: openai.ChatRequest, system: str | None, examples: Examples = ()) -> Chat:
    """Raises BadRequest."""
    if not request.messages:
        raise BadRequest("[] is too short - 'messages'")
    names = {call.id: call.function.name for message in request.messages for call in message.tool_calls}
    messages = tuple(_message(message, names) for message in request.messages)
    think, effort = thinking(request.reasoning_effort or request.reasoning.effort)
    tools = () if request.tool_choice == "none" else tuple(request.tools)
    return Chat(with_system(messages, system, examples), tools, think, effort, truncate=True)


def options(request: openai.ChatRequest) -> dict[str, Any]:
    """By Ollama's names, as the rest of the daemon knows them."""
    tokens = request.max_completion_tokens
    return {
        "num_predict": request.max_tokens if tokens is None else tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "stop": request.stop,
        "frequency_penalty": request.frequency_penalty,
        "presence_penalty": request.presence_penalty,
    }


def logprobs(request: openai.ChatRequest) -> int | None:
    """How many of the best tokens to tell at each place; None tells no log-probabilities. Raises BadRequest."""
    top = request.top_logprobs or 0
    if not 0 <= top <= MOST_TOP_LOGPROBS:
        raise BadRequest(f"top_logprobs must be between 0 and {MOST_TOP_LOGPROBS}")
    if top and not request.logprobs:
        raise BadRequest("top_logprobs needs logprobs to be true")
    return top if request.logprobs else None


def logit_bias(bias: Mapping[str, float] | None) -> tuple[tuple[int, float], ...]:
    """Pairs of a token and what is added to its logit. Raises BadRequest."""
    if any(not token.isascii() or not token.isdecimal() or len(token) > 9 for token in bias or ()):
        raise BadRequest("the keys of logit_bias must be token ids")
    if any(not -MOST_BIAS <= value <= MOST_BIAS for value in (bias or {}).values()):
        raise BadRequest(f"the values of logit_bias must be between -{MOST_BIAS} and {MOST_BIAS}")
    return tuple((int(token), value) for token, value in (bias or {}).items())


def schema(form: openai.ResponseFormat | None) -> str | None:
    """The JSON schema of the answer, if it shall have one. Raises BadRequest."""
    match form:
        case None | openai.ResponseFormat(type="text"):
            return None
        case openai.ResponseFormat(type="json_object"):
            return json.dumps(ANY_OBJECT)
        case openai.ResponseFormat(type="json_schema", json_schema=openai.NamedSchema(schema=dict() as found)):
            return json.dumps(found)
        case openai.ResponseFormat(type="json_schema"):
            raise BadRequest("response_format needs a JSON schema in json_schema.schema")
    raise BadRequest(f"response_format of type {json.dumps(form.type)} is unknown: text, json_object, json_schema")


def refuse_unsupported(request: openai.ChatRequest) -> None:
    """What this build lacks. Raises NotSupported."""
    lacking = {
        "n > 1": request.n != 1,
        "parallel_tool_calls: false": request.tools and not request.parallel_tool_calls,
        "a tool_choice that forces a call": request.tool_choice not in (None, "none", "auto"),
    }
    for feature, asked in lacking.items():
        if asked:
            raise NotSupported(f"this version of ktd does not support {feature}")


def thinking(effort: str | None) -> tuple[bool | None, str | None]:
    """Whether to think, and how hard, where that is said. Raises BadRequest."""
    if effort is None:
        return None, None
    if effort == "none":
        return False, None
    if effort not in EFFORTS:
        raise BadRequest(f"invalid reasoning value: {effort}")
    return True, EFFORTS[effort]


def _message(message: openai.MessageIn, names: dict[str, str]) -> Message:
    if message.content is None and not message.tool_calls:
        raise BadRequest("invalid message content type: <nil>")
    return Message(
        role=ROLES.get(message.role, message.role),
        content="".join(_texts(message.content)),
        thinking=message.reasoning or message.reasoning_content,
        calls=tuple(
            ToolCall(call.function.name, arguments(call.function.arguments), call.id) for call in message.tool_calls
        ),
        tool_name=message.name or names.get(message.tool_call_id, "") if message.role == "tool" else "",
        tool_call_id=message.tool_call_id,
    )


def _texts(content: str | list[openai.Part] | None) -> Iterator[str]:
    if isinstance(content, str):
        yield content
        return
    for part in content or []:
        if part.type != "text":
            raise NotSupported(f"this model does not support message parts of type {part.type!r}")
        yield part.text
