"""Tool calls as DeepSeek models write them between the tool-call tags."""

import json
import re
import secrets
import string
from typing import Any

from ktd.daemon.chat.chat import ToolCall
from ktd.daemon.chat.style import TOOL_SEPARATOR

_FENCED = re.compile(r"\s*(?P<name>[^\s`]+)\s*```(?:json)?\s*(?P<arguments>.*)", re.DOTALL)
_ID_LETTERS = string.ascii_lowercase + string.digits


def read_call(text: str, index: int) -> ToolCall | None:
    """The call in the text between one pair of call tags, or None when it is not one.

    R1 and V3 write `function<sep>name`, then the arguments in a fenced block; V3.1 writes `name<sep>{arguments}`.
    What follows the arguments is ignored.
    """
    head, separator, rest = text.partition(TOOL_SEPARATOR)
    if not separator:
        return None
    if fenced := _FENCED.fullmatch(rest):
        name, body = fenced["name"], fenced["arguments"]
    else:
        name, body = head.strip(), rest.lstrip()
    arguments = _object(body)
    return ToolCall(name, arguments, new_id(), index) if name and arguments is not None else None


def new_id() -> str:
    return "call_" + "".join(secrets.choice(_ID_LETTERS) for _ in range(8))


def _object(text: str) -> dict[str, Any] | None:
    try:
        value, _ = json.JSONDecoder(parse_constant=_refuse).raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
