"""A conversation: what has been said, and how the next answer is asked for."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from ktd.cli.answer import Style, show
from ktd.cli.client import Client, Record

Value = int | float | list[str]
Format = str | Record  # "json", or a JSON schema
THINK: dict[str, bool | str] = {"true": True, "false": False}
THINK |= {level: level for level in ("low", "medium", "high", "max")}
PARAMETERS: dict[str, type] = {
    "temperature": float,
    "top_k": int,
    "top_p": float,
    "min_p": float,
    "typical_p": float,
    "repeat_penalty": float,
    "repeat_last_n": int,
    "presence_penalty": float,
    "frequency_penalty": float,
    "seed": int,
    "num_predict": int,
    "num_ctx": int,
    "num_keep": int,
    "stop": list,
}


@dataclass
class Chat:
    """Settings of a session with one model, and its messages without the system one."""

    model: str
    style: Style
    think: bool | str | None = None
    keep_alive: str | None = None
    format: Format | None = None
    system: str | None = None
    options: dict[str, Value] = field(default_factory=dict)
    messages: list[Record] = field(default_factory=list)

    async def load(self, client: Client) -> None:
        """Bring the model into memory, so that the first answer need not wait for it."""
        await client.request("POST", "/api/chat", self._request([]) | {"stream": False})

    async def say(self, client: Client, text: str) -> None:
        """Send a message and show the answer; what is refused or broken off is not remembered."""
        message = {"role": "user", "content": text}
        history = [*self.messages, message]
        if self.system:
            history.insert(0, {"role": "system", "content": self.system})
        answer = await show(client, self._request(history), self.style)
        self.messages += [message, {"role": "assistant", "content": answer}]

    def _request(self, messages: list[Record]) -> Record:
        wanted = {"think": self.think, "keep_alive": self.keep_alive, "format": self.format}
        asked = {key: value for key, value in wanted.items() if value is not None}
        return {"model": self.model, "messages": messages, "options": self.options, **asked}


def parameter(name: str, words: list[str]) -> Value:
    """The value of an option as typed. Raises ValueError with what is wrong."""
    kind = PARAMETERS.get(name)
    if kind is None:
        raise ValueError(f"unknown parameter '{name}'; there are {', '.join(PARAMETERS)}")
    if kind is list:
        return words
    if len(words) != 1:
        raise ValueError(f"{name} takes one value")
    try:
        return int(words[0]) if kind is int else float(words[0])
    except ValueError:
        raise ValueError(f"{name} must be {'a whole number' if kind is int else 'a number'}, not {words[0]}") from None


def wanted_format(text: str) -> Format:
    """`json`, a JSON schema, or the file of one. Raises ValueError with what is wrong."""
    if text == "json":
        return text
    try:
        schema = json.loads(text if text.startswith("{") else Path(text).read_text())
    except OSError as error:
        raise ValueError(
            f"{text or 'nothing'} is not json, a JSON schema, or a file of one: {error.strerror}"
        ) from None
    except ValueError as error:
        raise ValueError(f"the schema is not JSON: {error}") from None
    if not isinstance(schema, dict):
        raise ValueError("a JSON schema is an object")
    return schema
