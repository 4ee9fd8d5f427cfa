"""What OpenAI's and Anthropic's tool_choice mean: which tools are offered, and which of them must be called."""

import json
from typing import Any

from ktd.daemon.errors import BadRequest

Tools = tuple[dict[str, Any], ...]  # {"type": "function", "function": {...}}
Choice = tuple[Tools, tuple[str, ...]]  # the tools, and the names of those that one must be called of


def openai(choice: Any, tools: Tools) -> Choice:
    """Of chat/completions and of responses, which nest the same words differently. Raises BadRequest."""
    match choice:
        case None | "auto":
            return tools, ()
        case "none":
            return (), ()
        case "required":
            return tools, _all(tools)
        case {"type": "function", "function": {"name": str(name)}} | {"type": "function", "name": str(name)}:
            return tools, _one(name, tools)
        case {"type": "allowed_tools", "allowed_tools": dict(allowed)}:
            return _allowed(allowed, tools)
        case {"type": "allowed_tools"}:
            return _allowed(choice, tools)
    raise BadRequest(f"invalid tool_choice: {json.dumps(choice)}")


def anthropic(kind: str, name: str, tools: Tools) -> Choice:
    """Raises BadRequest."""
    match kind:
        case "auto":
            return tools, ()
        case "none":
            return (), ()
        case "any":
            return tools, _all(tools)
        case "tool":
            return tools, _one(name, tools)
    raise BadRequest(f"invalid tool_choice type: {kind}")


def _allowed(allowed: dict[str, Any], tools: Tools) -> Choice:
    """Some of the tools, as if there were no others."""
    named = allowed.get("tools")
    if not isinstance(named, list) or allowed.get("mode") not in ("auto", "required"):
        raise BadRequest("allowed_tools needs tools, and a mode of auto or required")
    names = [each.get("name") or each.get("function", {}).get("name") for each in named if isinstance(each, dict)]
    kept = tuple(tool for tool in tools if _name(tool) in names)
    return kept, _all(kept) if allowed["mode"] == "required" else ()


def _all(tools: Tools) -> tuple[str, ...]:
    if not tools:
        raise BadRequest("a tool_choice that forces a call needs tools")
    return tuple(map(_name, tools))


def _one(name: str, tools: Tools) -> tuple[str, ...]:
    if name not in map(_name, tools):
        raise BadRequest(f"tool_choice names {json.dumps(name)}, which is none of the tools")
    return (name,)


def _name(tool: dict[str, Any]) -> str:
    name = tool.get("function", {}).get("name")
    if not isinstance(name, str) or not name:
        raise BadRequest("a tool needs a function with a name")
    return name
