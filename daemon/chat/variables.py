"""What chat templates are given: the names and shapes that transformers gives them."""

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ktd.daemon.chat.chat import Chat, Message, ToolCall
from ktd.daemon.chat.framing import Framing
from ktd.daemon.chat.style import Style

CUT = f"\ue000{secrets.token_hex(8)}\ue000"
"""Put behind a begun answer, to find where the prompt must end: nothing a client can send contains it."""

NO_PARAMETERS = {"type": "object", "properties": {}}
# DeepSeek's older templates know a message of calls by its missing content; most others fail on that.
_NONE = re.compile(r"content['\"]?\]? is none(?! or)")
HARMONY_LEVELS = {"max": "high"}  # the most there is


def variables(chat: Chat, framing: Framing, style: Style) -> dict[str, Any]:
    messages = list(_messages(chat.messages, framing.template, style))
    answer = begun(chat.messages)
    if answer:
        messages[-1]["content"] = answer + CUT
    found: dict[str, Any] = {
        "messages": messages,
        "add_generation_prompt": not answer,
        "bos_token": framing.bos,
        "eos_token": framing.eos,
    }
    if chat.tools:
        found["tools"] = [tool(each) for each in chat.tools]
    if chat.think is not None:
        found["thinking"] = found["enable_thinking"] = chat.think
    if chat.effort is not None:
        found["reasoning_effort"] = HARMONY_LEVELS.get(chat.effort, chat.effort) if style.harmony else chat.effort
    return found


def begun(messages: Iterable[Message]) -> str:
    """The begun answer that the model shall go on with, when the last message is one."""
    *_, last = messages
    return last.content.strip() if last.role == "assistant" and not last.calls else ""


def without_system(chat: Chat) -> Chat:
    """The same for templates that have no system messages: the user says what they said."""
    told = "\n\n".join(message.content for message in chat.messages if message.role in ("system", "developer"))
    others = [message for message in chat.messages if message.role not in ("system", "developer")]
    first = next((at for at, message in enumerate(others) if message.role == "user"), None)
    if told and first is not None:
        others[first] = replace(others[first], content=f"{told}\n\n{others[first].content}")
    return replace(chat, messages=tuple(others) if first is not None else chat.messages)


def tool(given: Mapping[str, Any]) -> dict[str, Any]:
    """A tool with everything that templates rely on; clients leave out what is empty, and at times the wrapping."""
    function = given.get("function")
    if not isinstance(function, Mapping):
        function = {key: value for key, value in given.items() if key != "type"}
    missing = {
        key: value for key, value in (("description", ""), ("parameters", NO_PARAMETERS)) if function.get(key) is None
    }
    return {**given, "type": "function", "function": {**function, **missing}}


def _messages(messages: Iterable[Message], template: str, style: Style) -> Iterator[dict[str, Any]]:
    ids, empty = _Ids(style), None if _NONE.search(template) else ""
    for message in messages:
        if message.role == "developer" and "developer" not in template:
            message = replace(message, role="system")
        if style.harmony and message.calls and message.thinking and message.content:
            # Its template refuses both beside calls.
            message = replace(message, thinking=f"{message.thinking}\n{message.content}", content="")
        yield _message(message, ids, empty)


def _message(message: Message, ids: "_Ids", empty: str | None) -> dict[str, Any]:
    """Keys are absent when there is nothing to say. `empty` is the content of a message that only calls."""
    known: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        known["content"] = message.content or empty
        known["tool_calls"] = [
            {
                "id": ids.called(call),
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.calls
        ]
    if message.thinking:
        known["thinking"] = known["reasoning_content"] = message.thinking
    if message.tool_name:
        known["name"] = known["tool_name"] = message.tool_name
    if message.role == "tool" and (id := ids.answered(message)):
        known["tool_call_id"] = id
    return known


class _Ids:
    """The ids of calls as the model has learnt them, which some templates check; else the client's own."""

    def __init__(self, style: Style) -> None:
        self._make = style.calls.call_id if style.calls else None
        self._made: dict[str, str] = {}  # by the client's
        self._waiting: list[str] = []  # of calls that have no result yet
        self._number = 0

    def called(self, call: ToolCall) -> str:
        id = self._make(call.name, self._number) if self._make else call.id
        self._number += 1
        self._made[call.id] = id
        self._waiting.append(id)
        return id

    def answered(self, message: Message) -> str:
        """Results without an id answer the calls in their order."""
        if not message.tool_call_id and not self._make:
            return ""
        first = self._waiting[0] if self._waiting else ""
        id = self._made.get(message.tool_call_id, message.tool_call_id) if message.tool_call_id else first
        if id in self._waiting:
            self._waiting.remove(id)
        return id
