"""Anthropic's requests, made into chats and options."""

from collections.abc import Iterator
from typing import Any

import msgspec

from ktd.daemon.chat import schema as schemas
from ktd.daemon.chat.chat import Chat, Message, ToolCall
from ktd.daemon.errors import BadRequest, NotSupported
from ktd.daemon.wire import anthropic, from_openai, parts, tool_choice
from ktd.daemon.wire.conversation import Examples, role, with_system

THINKING = {"enabled": True, "disabled": False, "adaptive": None, "": None}
PASSED_OVER = ("redacted_thinking",)  # thoughts that only Anthropic can read


def chat(request: anthropic.CountRequest, system: str | None, examples: Examples, thinks: bool) -> Chat:
    """`thinks`: the model can; where it cannot, thinking is passed over. Raises BadRequest."""
    if not request.messages:
        raise BadRequest("messages is required")
    names = {
        block.id: block.name
        for message in request.messages
        if isinstance(message.content, list)
        for block in message.content
        if block.type == "tool_use"
    }
    messages = tuple(one for message in request.messages for one in _messages(message, names))
    own = _text(request.system) or system
    choice = request.tool_choice
    tools, forced = tool_choice.anthropic(choice.type, choice.name, tuple(map(_tool, request.tools)))
    if request.thinking.type not in THINKING:
        raise BadRequest(f"invalid thinking type: {request.thinking.type}")
    _, effort = from_openai.thinking(request.output_config.effort)
    return Chat(
        messages=with_system(messages, own, examples),
        tools=tools,
        think=THINKING[request.thinking.type] if thinks else None,
        effort=effort,
        budget=from_openai.budget(request.thinking.budget_tokens, "thinking.budget_tokens"),
        forced=forced,
        one_call=choice.disable_parallel_tool_use,
    )


def options(request: anthropic.Request) -> dict[str, Any]:
    """By Ollama's names, as the rest of the daemon knows them. Raises BadRequest."""
    if not isinstance(request.max_tokens, int) or request.max_tokens < 1:
        raise BadRequest("max_tokens is required and must be positive")
    return {
        "num_predict": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "stop": request.stop_sequences,
    }


def schema(config: anthropic.OutputConfig) -> str | None:
    """The JSON schema of the answer, if it shall have one. Raises BadRequest."""
    match config.format:
        case None:
            return None
        case anthropic.Format(type="json_schema", schema=dict() as found):
            return schemas.text(found)
    raise BadRequest("output_config.format must have type json_schema and a schema")


def _messages(message: anthropic.MessageIn, names: dict[str, str]) -> Iterator[Message]:
    """One message of Anthropic's may be several: the results of tools have messages of their own."""
    if isinstance(message.content, str):
        yield Message(role(message.role), message.content)
        return
    said: list[anthropic.Block] = []
    for block in message.content:
        if block.type == "tool_result":
            yield Message(
                "tool", _result(block), tool_name=names.get(block.tool_use_id, ""), tool_call_id=block.tool_use_id
            )
        elif block.type not in PASSED_OVER:
            said.append(block)
    if said:
        yield _said(role(message.role), said)


def _said(role: str, blocks: list[anthropic.Block]) -> Message:
    calls = tuple(ToolCall(block.name, block.input, block.id) for block in blocks if block.type == "tool_use")
    thinking = "\n".join(block.thinking for block in blocks if block.type == "thinking")
    return Message(
        role, _text([block for block in blocks if block.type not in ("thinking", "tool_use")]), thinking, calls
    )


def _result(block: anthropic.Block) -> str:
    try:
        content = msgspec.convert(block.content, str | list[anthropic.Block] | None, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(f"the content of a tool_result: {error}") from error
    text = _text(content or "")
    return f"Error: {text}" if block.is_error else text


def _text(content: str | list[anthropic.Block]) -> str:
    if isinstance(content, str):
        return content
    for block in content:
        if block.type != "text":
            raise parts.refusal(block.type)
    return "\n".join(block.text for block in content)


def _tool(tool: anthropic.Tool) -> dict[str, Any]:
    if tool.type != "custom":
        raise NotSupported(f"this version of ktd has no tool of type {tool.type!r}: only a client's own are called")
    function = {"name": tool.name, "description": tool.description, "parameters": tool.input_schema}
    return {"type": "function", "function": function}
