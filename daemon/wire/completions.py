"""OpenAI's /v1/completions: its records, and what they mean. Prompts are raw: no chat template is applied."""

import secrets
import time
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from ktd.daemon.chat.answer import Ending
from ktd.daemon.chat.chat import Ask, Fill, Raw
from ktd.daemon.errors import BadRequest, NotSupported
from ktd.daemon.wire.openai import StreamOptions, Usage
from ktd.daemon.wire.to_openai import finish_reason, usage

MOST_PROMPTS = 128


class Request(msgspec.Struct):
    model: str = ""
    prompt: str | list[Any] = ""
    suffix: str = ""
    echo: bool = False
    stream: bool = False
    stream_options: StreamOptions = msgspec.field(default_factory=StreamOptions)
    max_tokens: Any = None
    temperature: Any = None
    top_p: Any = None
    seed: Any = None
    stop: Any = None
    frequency_penalty: Any = None
    presence_penalty: Any = None
    n: int = 1
    best_of: int = 1
    logprobs: Any = None
    logit_bias: Any = None


class Choice(msgspec.Struct):
    text: str
    index: int
    finish_reason: str | None = None
    logprobs: None = None


class Completion(msgspec.Struct):
    """The whole, or one event of a stream."""

    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: Usage | msgspec.UnsetType = msgspec.UNSET
    object: Literal["text_completion"] = "text_completion"
    system_fingerprint: str = "fp_ktd"


class Reply:
    """One reply to one or more prompts: the same id and time in all its events."""

    def __init__(self, request: Request) -> None:
        self._model = request.model
        self._id = f"cmpl-{secrets.token_hex(12)}"
        self._created = int(time.time())

    def part(self, *choices: Choice) -> Completion:
        return Completion(self._id, self._created, self._model, list(choices))

    def completion(self, choices: list[Choice], endings: Sequence[Ending]) -> Completion:
        """All choices, or none of them, with the figures of all answers together."""
        return Completion(self._id, self._created, self._model, choices, usage(*endings))

    def end(self, index: int, ending: Ending) -> Completion:
        return self.part(Choice("", index, finish_reason(ending)))


def asks(request: Request) -> list[Ask]:
    """What to answer, one choice each. Raises BadRequest."""
    found = [_ask(prompt, request.suffix) for prompt in _prompts(request.prompt)]
    if len(found) > MOST_PROMPTS:
        raise BadRequest(f"at most {MOST_PROMPTS} prompts are answered at once, not {len(found)}")
    if request.echo and any(isinstance(ask, Raw) and ask.before for ask in found):
        raise BadRequest("echo needs prompts of text, not of tokens")
    return found


def echo(ask: Ask) -> str:
    return ask.prefix if isinstance(ask, Fill) else ask.text if isinstance(ask, Raw) else ""


def options(request: Request) -> dict[str, Any]:
    """By Ollama's names, as the rest of the daemon knows them."""
    return {
        "num_predict": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "stop": request.stop,
        "frequency_penalty": request.frequency_penalty,
        "presence_penalty": request.presence_penalty,
    }


def refuse_unsupported(request: Request) -> None:
    """What this build lacks. Raises NotSupported."""
    lacking = {
        "n or best_of > 1": request.n != 1 or request.best_of != 1,
        "logprobs": request.logprobs,
        "logit_bias": request.logit_bias,
    }
    for feature, asked in lacking.items():
        if asked:
            raise NotSupported(f"this version of ktd does not support {feature}")


def _prompts(prompt: str | list[Any]) -> list[Any]:
    """A list is one prompt when it holds tokens, else it holds prompts."""
    if isinstance(prompt, str) or (prompt and all(map(_is_token, prompt))):
        return [prompt]
    if not prompt:
        raise BadRequest("[] is too short - 'prompt'")
    return prompt


def _ask(prompt: Any, suffix: str) -> Ask:
    if isinstance(prompt, str):
        return Fill(prompt, suffix) if suffix else Raw(prompt)
    if not isinstance(prompt, list) or not prompt or not all(map(_is_token, prompt)):
        raise BadRequest("a prompt must be text or a list of tokens")
    if suffix:
        raise BadRequest("suffix needs prompts of text, not of tokens")
    return Raw("", tuple(prompt))


def _is_token(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
