"""Answers that must be tool calls: what of them is given by the model's format, and what the model chooses."""

from collections.abc import Iterator

from ktd.daemon.chat import schema
from ktd.daemon.chat.chat import Chat
from ktd.daemon.chat.format import Script
from ktd.daemon.errors import BadRequest
from ktd.engine.messages import Document, Grammar


def forced(chat: Chat, script: Script) -> Grammar:
    """One call or more to the tools that must be called. Raises BadRequest."""
    several = len(chat.forced) > 1 and not chat.one_call
    return Grammar(
        tuple(_calls(chat, script)),
        before=script.before,
        between=script.between if several else None,
        after=script.after,
    )


def _calls(chat: Chat, script: Script) -> Iterator[Document]:
    for tool in chat.tools:
        name = tool["function"]["name"]
        if name in chat.forced:
            parameters = tool["function"].get("parameters") or {}
            if not isinstance(parameters, dict):
                raise BadRequest(f"the parameters of tool {name!r} must be a JSON schema")
            before, after = script.around(name)
            yield Document(schema.text({"type": "object"} | parameters), before, after)
