"""Likelihoods: how probable the tokens of one answer were, told together with their text."""

import numpy as np
from numpy.typing import NDArray

from ktd.engine import _core
from ktd.engine.messages import TokenLogprob
from ktd.engine.tokenizer import Tokenizer


class Likelihoods:
    """Tokens wait here until their text is certain; those that a stop string cuts off are never told."""

    def __init__(self, tokenizer: Tokenizer, top: int) -> None:
        self._tokenizer = tokenizer
        self._top = top
        self._waiting: list[tuple[int, TokenLogprob]] = []  # with the byte of the answer at which each begins
        self._heard = 0  # bytes of text that the tokens stand for
        self._told = 0  # bytes of text that were told

    def add(self, logits: NDArray[np.float32], token: int, size: int) -> None:
        """A token chosen from logits [vocab], which adds `size` bytes to the answer."""
        (_, logprob), *best = _core.logprobs(logits, token, self._top)
        top = tuple(TokenLogprob(self._tokenizer.piece(each), value) for each, value in best)
        self._waiting.append((self._heard, TokenLogprob(self._tokenizer.piece(token), logprob, top)))
        self._heard += size

    def tell(self, text: str) -> tuple[TokenLogprob, ...]:
        """What goes with this text: all that waits, or nothing when there is no text."""
        if not text:
            return ()
        self._told += len(text.encode())
        return self._take()

    def finish(self, text: str, cut: bool) -> tuple[TokenLogprob, ...]:
        """What goes with the last text; `cut`: a stop string took away what does not begin in it."""
        self._told += len(text.encode())
        if cut:
            self._waiting = [(begin, each) for begin, each in self._waiting if begin < self._told]
        return self._take()

    def _take(self) -> tuple[TokenLogprob, ...]:
        waiting, self._waiting = self._waiting, []
        return tuple(each for _, each in waiting)
