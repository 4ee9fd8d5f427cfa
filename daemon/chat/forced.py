"""Answers that must be tool calls: what of them is given by the model's format, and what the model chooses."""

from collections.abc import Iterator

from ktd.daemon.chat import schema
from ktd.daemon.chat.chat import Chat
from ktd.daemon.chat.style import TOOL_CALL, TOOL_CALLS, Style
from ktd.daemon.errors import BadRequest
from ktd.engine.messages import Document, Grammar


def forced(chat: Chat, style: Style) -> Grammar:
    """One call or more, in DeepSeek's format, to the tools that must be called. Raises BadRequest."""
    several = len(chat.forced) > 1 and not chat.one_call
    return Grammar(
        tuple(_calls(chat, style)),
        before=TOOL_CALLS.opening,
        between=style.between_calls if several else None,
        after=TOOL_CALLS.closing,
    )


def _calls(chat: Chat, style: Style) -> Iterator[Document]:
    for tool in chat.tools:
        name = tool["function"]["name"]
        if name in chat.forced:
            parameters = tool["function"].get("parameters") or {}
            if not isinstance(parameters, dict):
                raise BadRequest(f"the parameters of tool {name!r} must be a JSON schema")
            before, after = style.around_arguments(name)
            arguments = schema.text({"type": "object"} | parameters)
            yield Document(arguments, TOOL_CALL.opening + before, after + TOOL_CALL.closing)
