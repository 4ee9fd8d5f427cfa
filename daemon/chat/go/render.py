"""Renders Ollama's templates, which are Go's, from what Jinja templates are given."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from ktd.daemon.chat.go.errors import GoTemplateError
from ktd.daemon.chat.go.nodes import Body, until_answer, with_answer
from ktd.daemon.chat.go.parser import parse
from ktd.daemon.chat.go.run import Run
from ktd.daemon.chat.go.values import Record

_GO = re.compile(r"\{\{-?\s*(?:\.[A-Za-z]|\$|/\*|(?:if|range|end|else|with|define|block|template)\b)")
_KNOWS_MESSAGES = re.compile(r"\{\{[^}]*\.Messages\b")


def is_go(template: str) -> bool:
    """Whether it is Go's, not Jinja's."""
    return "{%" not in template and _GO.search(template) is not None


def flaw(template: str) -> str | None:
    """Why a template of Go's cannot be run; None when it can, and for any other."""
    try:
        if is_go(template):
            parse(template)
    except (GoTemplateError, RecursionError) as error:
        return str(error)
    return None


def render(template: str, variables: Mapping[str, Any]) -> str:
    """Raises GoTemplateError."""
    body = _parsed(template)
    facts = {
        "Tools": [_tool(tool) for tool in variables.get("tools") or ()],
        "Suffix": "",
        "Think": bool(variables.get("thinking")),
        "ThinkLevel": variables.get("reasoning_effort", ""),
        "IsThinkSet": "thinking" in variables,
    }
    messages = list(_merged(variables["messages"]))
    if _KNOWS_MESSAGES.search(template):
        system = "\n\n".join(message["content"] for message in messages if message["role"] == "system")
        records = [_message(message) for message in messages]
        return Run(facts | {"System": system, "Messages": records, "Prompt": "", "Response": ""}).text(body)
    return "".join(_turns(with_answer(body), facts, messages))


@lru_cache(maxsize=16)
def _parsed(template: str) -> Body:
    return parse(template)


def _turns(body: Body, facts: dict[str, Any], messages: list[dict[str, Any]]) -> Iterator[str]:
    """Older templates know one question and its answer: they are run for each turn, the last one left open."""
    turn = {"System": "", "Prompt": "", "Response": ""}
    names = {"system": "System", "user": "Prompt", "assistant": "Response"}
    for message in messages:
        name = names.get(message["role"])
        if name is None:
            continue
        later = {"System": ("Prompt", "Response"), "Prompt": ("Response",), "Response": ()}[name]
        if any(turn[each] for each in later):
            yield Run(facts | turn).text(body)
            turn = dict.fromkeys(turn, "")
        turn[name] = message["content"] or ""
    yield Run(facts | turn).text(until_answer(body))


def _merged(messages: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Neighbours of one role become one message, but for the results of tools."""
    last: dict[str, Any] | None = None
    for message in messages:
        message = message | {"content": message.get("content") or ""}
        if last and last["role"] == message["role"] != "tool" and not last.get("tool_calls"):
            contents = [content for content in (last["content"], message["content"]) if content]
            last = last | message | {"content": "\n\n".join(contents)}
            continue
        if last:
            yield last
        last = message
    if last:
        yield last


def _message(message: Mapping[str, Any]) -> Record:
    fields = {
        "Role": message["role"],
        "Content": message["content"],
        "Thinking": message.get("thinking", ""),
        "Images": [],
        "ToolName": message.get("tool_name", ""),
        "ToolCallID": message.get("tool_call_id", ""),
        "ToolCalls": [_call(number, call) for number, call in enumerate(message.get("tool_calls", ()))],
    }
    return Record(fields, dict(message))


def _call(number: int, call: Mapping[str, Any]) -> Record:
    function = {"name": call["function"]["name"], "arguments": dict(call["function"]["arguments"])}
    inner = Record({"Index": number, "Name": function["name"], "Arguments": function["arguments"]}, function)
    return Record({"ID": call["id"], "Function": inner}, {"function": function})


def _tool(tool: Mapping[str, Any]) -> Record:
    function = tool["function"]
    parameters = function["parameters"] if isinstance(function["parameters"], Mapping) else {}
    properties = {name: _property(schema) for name, schema in _mapping(parameters.get("properties")).items()}
    inner = Record(
        {
            "Type": parameters.get("type", "object"),
            "Required": parameters.get("required") or [],
            "Properties": properties,
        },
        parameters,
    )
    fields = {"Name": function.get("name", ""), "Description": function["description"], "Parameters": inner}
    return Record({"Type": tool["type"], "Function": Record(fields, function)}, tool)


def _property(schema: object) -> Record:
    known = _mapping(schema)
    fields = {
        "Type": known.get("type", ""),
        "Description": known.get("description", ""),
        "Enum": known.get("enum") or [],
        "Items": known.get("items"),
    }
    return Record(fields, known)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
