"""Chat templates: Jinja in the immutable sandbox, with what transformers gives templates (`apply_chat_template`),
and those of models that come from Ollama, which are Go's.

Templates come with model files, so they are untrusted programs. The sandbox keeps them away from the interpreter;
`render_process` keeps their time and memory bounded.
"""

import json
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ktd.daemon.chat.go import render as go


def render(template: str, variables: dict[str, Any]) -> str:
    """Raises whatever a hostile or broken template makes Jinja raise."""
    for message in variables.get("messages", ()):
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = Arguments(call["function"]["arguments"])
    return go.render(template, variables) if go.is_go(template) else _compiled(template).render(variables)


class Arguments(dict[str, Any]):
    """The arguments of an earlier tool call: an object, and JSON text to a template that wants text.

    Half of the templates take one, half the other; clients of each dialect have only one of them.
    """

    def __str__(self) -> str:
        return json.dumps(self, ensure_ascii=False)

    def __add__(self, other: object) -> str:
        return str(self) + str(other)

    def __radd__(self, other: object) -> str:
        return str(other) + str(self)


class _Generation(Extension):
    """{% generation %} marks what is trained on; to a prompt it says nothing."""

    tags = {"generation"}  # noqa: RUF012 (Jinja's base class says so)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True)).set_lineno(line)


@lru_cache(maxsize=16)
def _compiled(template: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _tojson
    environment.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now)
    return environment.from_string(template)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Plain JSON; Jinja's own filter escapes it for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: object) -> NoReturn:
    raise TemplateError(str(message))


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)
