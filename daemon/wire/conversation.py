"""What conversations have in common in all dialects."""

import json
from typing import Any

from ktd.daemon.chat.chat import Message
from ktd.daemon.errors import BadRequest

ROLES = {"developer": "system"}

Examples = tuple[tuple[str, str], ...]  # role and text, as a ModelRecord has them


def role(text: str) -> str:
    """As templates know it."""
    lowered = text.lower()
    return ROLES.get(lowered, lowered)


def with_system(messages: tuple[Message, ...], system: str | None, examples: Examples = ()) -> tuple[Message, ...]:
    """The model's own example messages go before the client's, its system prompt first; the client's goes before it."""
    if messages and messages[0].role == "system":
        first, messages = messages[:1], messages[1:]
    else:
        first = (Message("system", system),) if system else ()
    return (*first, *(Message(speaker, text) for speaker, text in examples), *messages)


def arguments(value: dict[str, Any] | str) -> dict[str, Any]:
    """Of an earlier tool call; some clients send them as JSON text. Raises BadRequest."""
    try:
        found = json.loads(value or "{}") if isinstance(value, str) else value
    except (ValueError, RecursionError) as error:
        raise BadRequest("invalid tool call arguments") from error
    if not isinstance(found, dict):
        raise BadRequest("invalid tool call arguments")
    return found
