"""Sequence: one growing text in the cache."""

from dataclasses import dataclass, field

from ktd.engine.prefix import Node
from ktd.engine.spec import Pooling


@dataclass(slots=True, weakref_slot=True, eq=False)
class Sequence:
    """A prompt and its answer so far, and where the cache rows of the first `computed` tokens are."""

    tokens: list[int]
    prompt_tokens: int
    computed: int = 0
    pages: list[int] = field(default_factory=list)
    node: Node | None = None  # the last of its pages in the prefix cache
    cached_tokens: int | None = None  # prompt tokens found in the cache when it first ran
    pooling: Pooling | None = None  # of its states, where they are wanted and not its logits
    whole: bool = False  # all in one step
    followed: bool = False  # a draft wants the states of its tokens
    guesses: tuple[int, ...] = ()  # how it may go on; computed with its newest token, to be checked

    @property
    def decoding(self) -> bool:
        """Only its newest token is still to be computed."""
        return self.computed == len(self.tokens) - 1
