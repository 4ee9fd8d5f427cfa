"""OpenAI's requests, made into chats and options."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ktd.daemon.chat import schema as schemas
from ktd.daemon.chat.chat import Chat, Message, ToolCall
from ktd.daemon.chat.options import MOST_TOP_LOGPROBS
from ktd.daemon.errors import BadRequest
from ktd.daemon.wire import openai, parts, tool_choice
from ktd.daemon.wire.conversation import Examples, arguments, role, with_system

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
MOST_CHOICES = 128
USUAL = {"temperature": 1.0, "top_p": 1.0}  # where neither the request nor the model says otherwise


def chat(request: openai.ChatRequest, system: str | None, examples: Examples = ()) -> Chat:
    """Raises BadRequest."""
    if not request.messages:
        raise BadRequest("[] is too short - 'messages'")
    names = {call.id: call.function.name for message in request.messages for call in message.tool_calls}
    messages = tuple(_message(message, names) for message in request.messages)
    think, effort = thinking(request.reasoning_effort or request.reasoning.effort)
    tools, forced = tool_choice.openai(request.tool_choice, tuple(request.tools))
    return Chat(
        messages=with_system(messages, system, examples),
        tools=tools,
        think=think,
        effort=effort,
        budget=budget(request.reasoning.max_tokens, "reasoning.max_tokens"),
        forced=forced,
        one_call=not request.parallel_tool_calls,
        truncate=True,
    )


def choices(request: openai.Request) -> int:
    """How many answers to each prompt. Raises BadRequest."""
    if not 1 <= request.n <= MOST_CHOICES:
        raise BadRequest(f"n must be between 1 and {MOST_CHOICES}")
    return request.n


def options(request: openai.Request, tokens: object = None) -> dict[str, Any]:
    """By Ollama's names, as the rest of the daemon knows them; `tokens` goes before max_tokens."""
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
    top = checked_top(request.top_logprobs)
    if top and not request.logprobs:
        raise BadRequest("top_logprobs needs logprobs to be true")
    return top if request.logprobs else None


def checked_top(top: int | None) -> int:
    """Raises BadRequest."""
    if not 0 <= (top or 0) <= MOST_TOP_LOGPROBS:
        raise BadRequest(f"top_logprobs must be between 0 and {MOST_TOP_LOGPROBS}")
    return top or 0


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
            return schemas.text(schemas.ANY_OBJECT)
        case openai.ResponseFormat(type="json_schema", json_schema=openai.NamedSchema(schema=dict() as found)):
            return schemas.text(found)
        case openai.ResponseFormat(type="json_schema"):
            raise BadRequest("response_format needs a JSON schema in json_schema.schema")
    raise BadRequest(f"response_format of type {json.dumps(form.type)} is unknown: text, json_object, json_schema")


def thinking(effort: str | None) -> tuple[bool | None, str | None]:
    """Whether to think, and how hard, where that is said. Raises BadRequest."""
    if effort is None:
        return None, None
    if effort == "none":
        return False, None
    if effort not in EFFORTS:
        raise BadRequest(f"invalid reasoning value: {effort}")
    return True, EFFORTS[effort]


def budget(tokens: int | None, name: str) -> int | None:
    """Tokens of a thought. Raises BadRequest."""
    if tokens is not None and tokens < 1:
        raise BadRequest(f"{name} must be positive")
    return tokens


def _message(message: openai.MessageIn, names: dict[str, str]) -> Message:
    if message.content is None and not message.tool_calls:
        raise BadRequest("invalid message content type: <nil>")
    return Message(
        role=role(message.role),
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
        if part.type not in ("text", "refusal"):
            raise parts.refusal(part.type)
        yield part.text or part.refusal
