"""Ending: what is told of an answer when it has ended."""

import time
from dataclasses import dataclass

from ktd.daemon.chat.chat import Piece
from ktd.engine.messages import Done


@dataclass(frozen=True, slots=True)
class Ending:
    """The last item of an answer. Durations are nanoseconds."""

    done: Done
    load_ns: int
    total_ns: int
    called: bool  # whether tools were called
    thought_tokens: int
    first_ns: int | None  # from the request to the first word; None: it had none


@dataclass(slots=True)
class Tally:
    """What the ending will tell, while the answer grows."""

    began_ns: int
    tokens: int = 0
    thought_tokens: int = 0
    called: bool = False
    first_ns: int | None = None

    def add(self, piece: Piece) -> None:
        self.first_ns = self.first_ns or self.now_ns
        self.called = self.called or bool(piece.calls)
        self.tokens += piece.tokens
        if piece.thinking:
            self.thought_tokens = self.tokens

    def ending(self, done: Done, load_ns: int) -> Ending:
        return Ending(done, load_ns, self.now_ns, self.called, self.thought_tokens, self.first_ns)

    @property
    def now_ns(self) -> int:
        """Since the request came."""
        return time.monotonic_ns() - self.began_ns
