"""Pace: how many tokens the next step may compute, so that long prompts neither stall other answers nor crawl."""

PATIENCE = 0.5  # seconds that a step with a prompt in it may keep others' next tokens waiting
LEAST = 64  # tokens; fewer would read all weights for next to nothing
GUESS = 128  # tokens, before anything was measured
WEIGHT = 0.5  # of the newest measurement


class Pace:
    """`most` tokens while nobody is kept waiting, then as many as PATIENCE allows at the rate of the last steps."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._seconds: float | None = None  # per token, of steps that read prompts

    def room(self, others: int) -> int:
        """Tokens for the next step, in which `others` answers wait for their next one."""
        if not others:
            return self.most
        wanted = GUESS if self._seconds is None else int(PATIENCE / self._seconds)
        return min(self.most, others + max(LEAST, wanted))

    def took(self, tokens: int, seconds: float) -> None:
        """A step computed so many tokens in so long; small ones say nothing of large ones."""
        if tokens < LEAST:
            return
        newest = seconds / tokens
        self._seconds = newest if self._seconds is None else WEIGHT * newest + (1 - WEIGHT) * self._seconds
