"""Pace: how many tokens the next step may compute, so that long prompts neither stall others nor crawl."""

from typing import NamedTuple

WEIGHT = 0.5  # of the newest measurement
SMALL = 64  # tokens; fewer say nothing of the rate at which prompts are read


class Patience(NamedTuple):
    """How long a step may take, and its tokens at the least, and before anything was measured."""

    seconds: float
    least: int
    guess: int


# Beside answers that wait for their next token. Fewer than 64 would read all weights for next to nothing.
BESIDE = Patience(0.5, least=64, guess=128)
# Alone: only who comes next waits. Experts get more tokens at once the larger a step is.
ALONE = Patience(8.0, least=512, guess=512)


class Pace:
    """As many tokens as patience allows at the rate of the last steps, and at most `most`."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._seconds: float | None = None  # per token, of steps that read prompts

    def room(self, others: int) -> int:
        """Tokens for the next step, in which `others` answers wait for their next one."""
        patience = BESIDE if others else ALONE
        wanted = patience.guess if self._seconds is None else int(patience.seconds / self._seconds)
        return min(self.most, others + max(patience.least, wanted))

    def took(self, tokens: int, seconds: float) -> None:
        """A step computed so many tokens in so long; small ones say nothing of large ones."""
        if tokens < SMALL:
            return
        newest = seconds / tokens
        self._seconds = newest if self._seconds is None else WEIGHT * newest + (1 - WEIGHT) * self._seconds
