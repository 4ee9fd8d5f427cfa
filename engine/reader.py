"""PromptReader: prompts as the tokens that a model reads, within its context."""

from collections.abc import Iterable

from ktd.engine.errors import JobFailed
from ktd.engine.messages import Prompt
from ktd.engine.tokenizer import Tokenizer


class PromptReader:
    """`context` is in tokens. Every method raises JobFailed."""

    def __init__(self, tokenizer: Tokenizer, context: int) -> None:
        self._tokenizer = tokenizer
        self._context = context

    def to_answer(self, prompt: Prompt) -> list[int]:
        """A prompt that leaves room for an answer."""
        tokens = self.read(prompt)
        if not tokens:
            raise JobFailed("bad_request", "the prompt is empty")
        if len(tokens) >= self._context:
            raise self._too_long(str(len(tokens)))
        return tokens

    def to_embed(self, prompt: Prompt, truncate: bool, context: int | None = None) -> list[int]:
        """A whole text with the tokens that end one; what is too long loses its end if `truncate`.

        `context` is how much of the model's own may be used, in tokens.
        """
        context = self._context if context is None else min(context, self._context)
        after = self._tokenizer.after
        room = context - len(after)
        tokens = self._tokens(prompt, prompt.text[: self._longest] if truncate else prompt.text, bos=True)
        if not tokens and not after:
            raise JobFailed("bad_request", "the prompt is empty")
        if len(tokens) > room and not truncate:
            count = len(tokens) + len(after)
            problem = f"the input is too long: {count} tokens, more than the context of {context} tokens"
            raise JobFailed("prompt_too_long", problem)
        if room < 1 or (room == 1 and self._tokenizer.bos in tokens[:1]):
            problem = "input after truncation exceeds maximum context length"
            raise JobFailed("bad_request", f"{problem}: {context} tokens leave no room for a text")
        return [*tokens[:room], *after]

    def read(self, prompt: Prompt, bos: bool = True) -> list[int]:
        """Any number of tokens that may come near the context."""
        if len(prompt.text) > self._longest:  # sure to be too long: not worth the time to know
            raise self._too_long(f"at least {-(-len(prompt.text) // self._tokenizer.longest)}")
        return self._tokens(prompt, prompt.text, bos)

    def check(self, tokens: Iterable[int]) -> None:
        """Are they of the vocabulary?"""
        count = len(self._tokenizer)
        for token in tokens:
            if not 0 <= token < count:
                raise JobFailed("bad_request", f"token {token} is outside the vocabulary of {count}")

    @property
    def _longest(self) -> int:
        """Characters that can fit the context."""
        return self._context * self._tokenizer.longest

    def _tokens(self, prompt: Prompt, text: str, bos: bool) -> list[int]:
        self.check(prompt.before)
        return [*prompt.before, *self._tokenizer.encode(text, bos and not prompt.before)]

    def _too_long(self, tokens: str) -> JobFailed:
        rule = f"which with an answer must fit the context of {self._context} tokens"
        return JobFailed("prompt_too_long", f"the prompt is too long: {tokens} tokens, {rule}")
