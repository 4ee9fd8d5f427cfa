"""Answers in the records of OpenAI's /v1/completions."""

import secrets
import time
from collections.abc import Sequence

import msgspec

from ktd.daemon.chat.chat import Ask, Fill, Piece, Raw
from ktd.daemon.chat.ending import Ending
from ktd.daemon.wire.completions import Choice, Completion, Logprobs, Request, logprobs
from ktd.daemon.wire.openai import Usage
from ktd.daemon.wire.to_openai import finish_reason, usage
from ktd.engine.messages import TokenLogprob


class Reply:
    """One reply to one or more prompts: the same id and time in all its events."""

    def __init__(self, request: Request, asks: Sequence[Ask]) -> None:
        """`asks` has one element per choice."""
        self._model = request.model
        self._each = request.n
        self._told = logprobs(request)
        self._id = f"cmpl-{secrets.token_hex(12)}"
        self._created = int(time.time())
        self._echoes = [_echo(ask) if request.echo else "" for ask in asks]
        self._offsets = [0] * len(asks)

    def completion(self, answers: Sequence[tuple[Piece, Ending]]) -> Completion:
        found = [self._choice(index, piece, finish_reason(ending)) for index, (piece, ending) in enumerate(answers)]
        for choice, echo in zip(found, self._echoes, strict=True):
            choice.text = echo + choice.text
        return self._completion(found, usage([ending for _, ending in answers], self._each))

    def opening(self, index: int) -> Completion | None:
        """What comes before the answer, if something does."""
        echo = self._echoes[index]
        return self._completion([Choice(echo, index)]) if echo else None

    def part(self, index: int, piece: Piece) -> Completion:
        return self._completion([self._choice(index, piece)])

    def end(self, index: int, ending: Ending) -> Completion:
        return self._completion([Choice("", index, finish_reason(ending))])

    def usage(self, endings: Sequence[Ending]) -> Completion:
        """`endings` in the order of the choices."""
        return self._completion([], usage(endings, self._each))

    def _completion(self, choices: list[Choice], usage: Usage | msgspec.UnsetType = msgspec.UNSET) -> Completion:
        return Completion(self._id, self._created, self._model, choices, usage)

    def _choice(self, index: int, piece: Piece, reason: str | None = None) -> Choice:
        told = _logprobs(piece.logprobs, self._told or 0, self._offsets[index]) if self._told is not None else None
        self._offsets[index] += len(piece.content)
        return Choice(piece.content, index, reason, told)


def _echo(ask: Ask) -> str:
    return ask.prefix if isinstance(ask, Fill) else ask.text if isinstance(ask, Raw) else ""


def _logprobs(told: Sequence[TokenLogprob], top: int, offset: int) -> Logprobs:
    found = Logprobs(top_logprobs=[] if top else None)
    for each in told:
        found.tokens.append(_text(each))
        found.token_logprobs.append(each.logprob)
        found.text_offset.append(offset)
        offset += len(found.tokens[-1])
        if found.top_logprobs is not None:
            found.top_logprobs.append({_text(best): best.logprob for best in each.top})
    return found


def _text(token: TokenLogprob) -> str:
    """A token that is no text is told by its bytes, as OpenAI tells it."""
    try:
        return token.piece.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.piece)
