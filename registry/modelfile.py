"""Modelfile: Ollama's text form of a model, read and written."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ktd.registry.errors import ModelfileError
from ktd.registry.parameters import checked
from ktd.registry.record import ModelRecord, Parameter

COMMANDS = (
    "from",
    "license",
    "template",
    "system",
    "adapter",
    "renderer",
    "parser",
    "parameter",
    "message",
    "requires",
)
NOT_DONE = ("adapter", "renderer", "parser")
ROLES = ("system", "user", "assistant")
QUOTES = '"""'


@dataclass(frozen=True, slots=True)
class Modelfile:
    sources: tuple[str, ...]  # what FROM names
    template: str | None = None
    system: str | None = None
    licenses: tuple[str, ...] = ()
    parameters: dict[str, Parameter] = field(default_factory=dict)
    messages: tuple[tuple[str, str], ...] = ()  # role and text


def parse(text: str) -> Modelfile:
    """Raises `ModelfileError` naming the line, `CreateRefused` for an unknown parameter."""
    found: dict[str, list[str]] = {}
    messages, parameters = list[tuple[str, str]](), dict[str, list[str]]()
    for number, command, rest in _instructions(text):
        if command in NOT_DONE:
            raise ModelfileError(f"(line {number}): {command.upper()} is not supported")
        if command == "message":
            messages.append(_message(number, rest))
        elif command == "parameter":
            name, _, value = rest.partition(" ")
            parameters.setdefault(name, []).append(_bare(value.strip()))
        else:
            found.setdefault(command, []).append(_bare(rest))
    if "from" not in found:
        raise ModelfileError("no FROM line")
    return Modelfile(
        sources=tuple(found["from"]),
        template=found.get("template", [None])[-1],
        system=found.get("system", [None])[-1],
        licenses=tuple(found.get("license", [])),
        parameters=checked({name: values if name == "stop" else values[-1] for name, values in parameters.items()}),
        messages=tuple(messages),
    )


def written(record: ModelRecord) -> str:
    """The Modelfile that makes such a model."""
    lines = [f"FROM {record.name}"]
    for keyword, text in (("TEMPLATE", record.template), ("SYSTEM", record.system), ("LICENSE", record.license)):
        if text:
            lines.append(f"{keyword} {QUOTES}{text}{QUOTES}")
    lines += [f"PARAMETER {name} {value}" for name, value in parameter_lines(record.parameters)]
    lines += [f"MESSAGE {role} {QUOTES}{text}{QUOTES}" for role, text in record.messages]
    return "\n".join(lines) + "\n"


def parameter_lines(parameters: dict[str, Parameter]) -> Iterator[tuple[str, str]]:
    """Names and values, text in quotes, a list as several lines."""
    for name, value in parameters.items():
        items: Sequence[int | float | str] = value if isinstance(value, list) else [value]
        for item in items:
            yield name, f'"{item}"' if isinstance(item, str) else f"{item:g}" if isinstance(item, float) else str(item)


def _instructions(text: str) -> Iterator[tuple[int, str, str]]:
    """Line numbers (from 1), commands in lower case, and the rest with the lines that belong to it."""
    lines = text.lstrip("\ufeff").splitlines()
    number = 0
    while number < len(lines):
        line = lines[number].strip()
        number += 1
        if not line or line.startswith("#"):
            continue
        command, _, rest = line.partition(" ")
        if command.lower() not in COMMANDS:
            names = ", ".join(f'"{name}"' for name in COMMANDS)
            raise ModelfileError(f"(line {number}): command must be one of {names}")
        start, rest = number, rest.strip()
        if rest.count(QUOTES) == 1:
            rest = lines[number - 1].lstrip()[len(command) :].lstrip()
            while number < len(lines) and rest.count(QUOTES) == 1:
                rest += "\n" + lines[number]
                number += 1
            if rest.count(QUOTES) == 1:
                raise ModelfileError(f"(line {start}): {QUOTES} is never closed")
            rest = rest.rstrip()
        yield start, command.lower(), rest


def _message(number: int, rest: str) -> tuple[str, str]:
    role, _, text = rest.partition(" ")
    if role.lower() not in ROLES:
        names = '"system", "user", or "assistant"'
        raise ModelfileError(f"(line {number}): message role must be one of {names}")
    return role.lower(), _bare(text.strip())


def _bare(text: str) -> str:
    """A value without its quotes."""
    for pattern in (rf"{QUOTES}(.*){QUOTES}", r'"(.*)"'):
        if match := re.fullmatch(pattern, text, re.DOTALL):
            return match[1]
    return text
