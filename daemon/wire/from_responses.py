"""Requests to /v1/responses, made into chats and options. Nothing is stored, so that every request says all."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from ktd.daemon.chat import schema as schemas
from ktd.daemon.chat.chat import Chat, Message, ToolCall
from ktd.daemon.errors import BadRequest, NotSupported
from ktd.daemon.wire import parts, responses, tool_choice
from ktd.daemon.wire.conversation import Examples, arguments, role, with_system
from ktd.daemon.wire.from_openai import checked_top, thinking

LOGPROBS = "message.output_text.logprobs"
TEXTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")


def chat(request: responses.Request, system: str | None, examples: Examples = ()) -> Chat:
    """Raises BadRequest."""
    _refuse_stored(request)
    items = request.input
    said = (Message("user", items),) if isinstance(items, str) else tuple(_messages(items))
    if not said or said == (Message("user"),):
        raise BadRequest("input is required")
    if request.instructions:
        said = (Message("system", request.instructions), *said)
    tools, forced = tool_choice.openai(request.tool_choice, tuple(map(_tool, request.tools)))
    think, effort = thinking(request.reasoning.effort)
    return Chat(
        with_system(said, system, examples),
        tools,
        think,
        effort,
        forced=forced,
        one_call=not request.parallel_tool_calls,
        truncate=request.truncation == "auto",
    )


def options(request: responses.Request) -> dict[str, Any]:
    """By Ollama's names, as the rest of the daemon knows them."""
    return {
        "num_predict": request.max_output_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
    }


def logprobs(request: responses.Request) -> int | None:
    """How many of the best tokens to tell at each place; None tells no log-probabilities. Raises BadRequest."""
    top = checked_top(request.top_logprobs)
    return top if top or LOGPROBS in request.include else None


def schema(request: responses.Request) -> str | None:
    """The JSON schema of the answer, if it shall have one. Raises BadRequest."""
    match request.text.format:
        case responses.Format(type="text"):
            return None
        case responses.Format(type="json_object"):
            return schemas.text(schemas.ANY_OBJECT)
        case responses.Format(type="json_schema", schema=dict() as found):
            return schemas.text(found)
    raise BadRequest("text.format must have type text, json_object, or json_schema with a schema")


def _refuse_stored(request: responses.Request) -> None:
    if request.previous_response_id or request.conversation:
        raise NotSupported("ktd stores no responses: send the whole conversation as input")
    if request.background:
        raise NotSupported("ktd does not answer in the background: use stream")


def _messages(items: Iterable[responses.ItemIn]) -> Iterator[Message]:
    """What the model did in one go (reasoning, a message, calls) is several items, and one message for templates."""
    names: dict[str, str] = {}
    said: Message | None = None  # of the model, and perhaps not all of it
    for item in items:
        names |= {item.call_id: item.name} if item.type == "function_call" else {}
        message = _message(item, names)
        if message.role == "assistant" and said is not None and _goes_on(said, message):
            said = replace(said, content=said.content or message.content, calls=said.calls + message.calls)
            continue
        if said is not None:
            yield said
        said = message if message.role == "assistant" else None
        if said is None:
            yield message
    if said is not None:
        yield said


def _goes_on(said: Message, more: Message) -> bool:
    """Whether this is the rest of what was said: calls always are, text behind a thought is."""
    return not more.thinking and (bool(more.calls) or not (said.content or said.calls))


def _message(item: responses.ItemIn, names: dict[str, str]) -> Message:
    match item.type:
        case "message":
            return Message(role(item.role), _text(item.content))
        case "reasoning":
            return Message("assistant", thinking=_text(item.content) or _text(item.summary))
        case "function_call":
            return Message("assistant", calls=(ToolCall(item.name, arguments(item.arguments), item.call_id),))
        case "function_call_output":
            known = names.get(item.call_id, item.name)
            return Message("tool", _text(item.output), tool_name=known, tool_call_id=item.call_id)
        case "item_reference":
            raise NotSupported("ktd stores no responses: send the items themselves as input")
    raise NotSupported(f"this version of ktd does not read input items of type {item.type!r}")


def _text(content: str | list[responses.Part]) -> str:
    if isinstance(content, str):
        return content
    for part in content:
        if part.type not in (*TEXTS, "refusal"):
            raise parts.refusal(part.type)
    return "".join(part.text or part.refusal for part in content)


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    if tool.get("type") != "function":
        kind = tool.get("type")
        raise NotSupported(f"this version of ktd has no tool of type {kind!r}: only a client's own are called")
    kept = ("name", "description", "parameters", "strict")
    return {"type": "function", "function": {key: tool[key] for key in kept if tool.get(key) is not None}}
