"""Budget: how long a thought may become before it is ended in the model's stead."""

import codecs

from ktd.engine.messages import Thought
from ktd.engine.tokenizer import Tokenizer


class Budget:
    """Feed it every token of one answer. Only the first thought is bounded, and never in the middle of a character."""

    def __init__(self, tokenizer: Tokenizer, thought: Thought) -> None:
        self._tokenizer = tokenizer
        self._thought = thought
        self._left = thought.tokens
        self._thinking: bool | None = None if thought.opening else True  # None: it cannot be told yet
        self._text = ""  # of the answer, as far back as a tag may reach
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._due: list[int] = []  # the last one first

    def due(self) -> int | None:
        """The token that has to come next, if one has."""
        if self._thinking and self._left <= 0 and not self._decoder.getstate()[0]:
            self._thinking = False
            self._due = self._tokenizer.encode(self._thought.ending, bos=False)[::-1]
        return self._due.pop() if self._due else None

    def accept(self, token: int) -> None:
        if self._thinking is False:
            return
        self._text += self._decoder.decode(self._tokenizer.piece(token))
        if self._thinking is None:
            self._thinking = _begins(self._text.lstrip(), self._thought.opening)
        if self._thinking:
            self._left -= 1
            self._thinking = self._thought.closing not in self._text
            self._text = self._text[-len(self._thought.closing) :]


def _begins(text: str, opening: str) -> bool | None:
    """None while that cannot be told."""
    return None if len(text) < len(opening) and opening.startswith(text) else text.startswith(opening)
