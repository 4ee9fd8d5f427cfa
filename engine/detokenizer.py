"""Detokenizer: tokens to text, one at a time, never half a character."""

import codecs

from ktd.engine.tokenizer import Tokenizer


class Detokenizer:
    """Bytes of an incomplete character are held back; control tokens are dropped, but for `markers`."""

    def __init__(self, tokenizer: Tokenizer, markers: frozenset[int] = frozenset()) -> None:
        self._tokenizer = tokenizer
        self._markers = markers
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The text that became complete with this token."""
        return self._decoder.decode(self.piece(token))

    def piece(self, token: int) -> bytes:
        """What a token adds to the text."""
        if self._tokenizer.is_control(token) and token not in self._markers:
            return b""
        return self._tokenizer.piece(token)

    def finish(self) -> str:
        """A replacement character where the last one never became complete, else nothing."""
        return self._decoder.decode(b"", final=True)
