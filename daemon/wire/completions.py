"""OpenAI's /v1/completions: its records, and what requests mean. Prompts are raw: no chat template is applied."""

from typing import Any, Literal

import msgspec

from ktd.daemon.chat.chat import Ask, Fill, Raw
from ktd.daemon.chat.options import MOST_TOP_LOGPROBS
from ktd.daemon.errors import BadRequest, NotSupported
from ktd.daemon.wire import openai
from ktd.daemon.wire.from_openai import MOST_CHOICES, choices


class Request(openai.Request):
    prompt: str | list[Any] = ""
    suffix: str = ""
    echo: bool = False
    best_of: int | None = None
    logprobs: Any = None


class Logprobs(msgspec.Struct):
    """One element per token; offsets are characters from the beginning of the choice's text."""

    tokens: list[str] = msgspec.field(default_factory=list)
    token_logprobs: list[float] = msgspec.field(default_factory=list)
    top_logprobs: list[dict[str, float]] | None = None
    text_offset: list[int] = msgspec.field(default_factory=list)


class Choice(msgspec.Struct):
    text: str
    index: int
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class Completion(msgspec.Struct):
    """The whole, or one event of a stream."""

    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: openai.Usage | msgspec.UnsetType = msgspec.UNSET
    object: Literal["text_completion"] = "text_completion"
    system_fingerprint: str = "fp_ktd"


def asks(request: Request) -> list[Ask]:
    """What to answer, each prompt as often as `n` says. Raises BadRequest."""
    found = [_ask(prompt, request.suffix) for prompt in _prompts(request.prompt)]
    if len(found) * choices(request) > MOST_CHOICES:
        raise BadRequest(f"at most {MOST_CHOICES} prompts are answered at once, not {len(found) * request.n}")
    if request.echo and any(isinstance(ask, Raw) and ask.before for ask in found):
        raise BadRequest("echo needs prompts of text, not of tokens")
    if request.echo and logprobs(request) is not None:
        raise NotSupported("this version of ktd does not tell the log-probabilities of an echoed prompt")
    if request.best_of not in (None, request.n):
        raise NotSupported("this version of ktd does not support best_of: ask for n choices")
    return found


def logprobs(request: Request) -> int | None:
    """How many of the best tokens to tell at each place; None tells no log-probabilities. Raises BadRequest."""
    asked = request.logprobs
    if asked is None or asked is False:
        return None
    if not isinstance(asked, int) or not 0 <= asked <= MOST_TOP_LOGPROBS:
        raise BadRequest(f"logprobs must be a number from 0 to {MOST_TOP_LOGPROBS}")
    return int(asked)


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
