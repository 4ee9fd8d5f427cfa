"""Draft: guesses how answers go on. A step computes guesses beside the newest token, which checks them at once."""

from collections.abc import Sequence as Items
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ktd.engine.batch import Batch
from ktd.engine.executor import Executor, Floats
from ktd.engine.placement import PAGE_TOKENS
from ktd.engine.scheduler import page_table
from ktd.engine.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Growth:
    """What a step made certain of a sequence: its tokens [begin, end) are in the cache, and the one at `end` is known.

    `wanted` is how many tokens behind the newest one may be guessed.
    """

    sequence: Sequence
    begin: int
    end: int
    wanted: int

    @property
    def size(self) -> int:
        return self.end - self.begin


class Draft(Protocol):
    """Guesses cost time only: an answer has the tokens that it would have without them."""

    def guess(self, grown: Items[Growth], states: Floats) -> list[tuple[int, ...]]:
        """How each sequence may go on behind its newest token, at most `wanted` tokens.

        `states` [all sizes, dim] are the model's, of the tokens that were read. Called after every step, so that a
        draft may follow the sequences in a cache of its own, with the pages they have.
        """


class NextN:
    """The model's own block for the token after the next, which reads what the model has read, one token later.

    It follows every sequence, and guesses while no more than `most` want it: with more, a step has enough to do.
    """

    def __init__(self, executor: Executor, most: int) -> None:
        self._executor = executor
        self._most = most

    def guess(self, grown: Items[Growth], states: Floats) -> list[tuple[int, ...]]:
        wanting = [bool(growth.wanted) for growth in grown]
        if sum(wanting) > self._most:
            wanting = [False] * len(grown)
        logits = iter(self._executor.guess(_batch(grown, wanting), states))
        return [(int(next(logits).argmax()),) if wants else () for wants in wanting]


def _batch(grown: Items[Growth], wanting: Items[bool]) -> Batch:
    """Where the model read a token, the draft reads the next one."""
    ends = np.cumsum([growth.size for growth in grown])
    return Batch(
        tokens=np.array([t for g in grown for t in g.sequence.tokens[g.begin + 1 : g.end + 1]], np.int32),
        positions=np.concatenate([np.arange(g.begin, g.end, dtype=np.int32) for g in grown]),
        sequences=np.repeat(np.arange(len(grown), dtype=np.int32), [growth.size for growth in grown]),
        pages=page_table([(growth.sequence, growth.end) for growth in grown], PAGE_TOKENS),
        rows=np.array([end - 1 for end, wants in zip(ends, wanting, strict=True) if wants], np.int32),
        kept=np.zeros(0, np.int32),
    )
