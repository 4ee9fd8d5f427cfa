"""Scheduler: which tokens the next step computes. Continuous batching, first come, first served."""

from collections import deque
from collections.abc import Sequence as Items
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ktd.engine.batch import Batch, Ints
from ktd.engine.pace import Pace
from ktd.engine.pages import PagePool
from ktd.engine.prefix import PrefixCache
from ktd.engine.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens [begin, end) of a sequence, computed in one step, and guesses of those that follow.

    Its logits choose the token at `end`, and one more behind each guess that turns out right.
    """

    sequence: Sequence
    begin: int
    end: int
    last: bool  # it reaches the newest token
    guesses: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        return self.end - self.begin + len(self.guesses)

    @property
    def chooses(self) -> bool:
        """The logits of its last tokens choose the next ones."""
        return self.last and self.sequence.pooling is None

    @property
    def reached(self) -> int:
        """The end of what is certain, once the next tokens are chosen: guesses that were right are in the cache."""
        return max(self.end, len(self.sequence.tokens) - 1) if self.last else self.end

    @property
    def kept(self) -> range:
        """Those of its tokens whose states count, as places in the chunk."""
        match self.sequence.pooling:
            case "mean":
                return range(self.end - self.begin)
            case "cls":
                return range(1 if self.begin == 0 else 0)
            case "last":
                return range(self.end - self.begin - 1 if self.last else self.end, self.end - self.begin)
            case None:
                return range(self.size if self.sequence.followed else 0)


class Scheduler:
    """Every step computes the newest token of each answer, then as much of the prompts as the pace allows.

    A sequence starts when the pages of all its known tokens are there, and takes one page at a time from then
    on. When pages run out the latest arrival gives its own back and starts over later with the answer it has.
    """

    def __init__(self, pool: PagePool, most: int, parallel: int | None = None) -> None:
        self.pool = pool
        self.prefixes = PrefixCache(pool)
        self.pace = Pace(most)
        self.parallel = parallel  # most sequences that run; None: as many as the pool holds
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []  # in order of arrival

    @property
    def idle(self) -> bool:
        return not self.waiting and not self.running

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence; the pool must be able to hold all it will ever be."""
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Forget a sequence and free its pages at once; what the prefix cache knows of it stays."""
        if sequence in self.running:
            self.running.remove(sequence)
            self._release(sequence)
        else:
            self.waiting.remove(sequence)

    def plan(self) -> list[Chunk]:
        """The chunks of the next step; empty only when idle."""
        chunks = self._decode_chunks()
        room = self.pace.room(len(chunks)) - sum(chunk.size for chunk in chunks)
        while room > 0 and (sequence := self._next_prompt(chunks)) is not None:
            alone = sequence.whole and not chunks
            chunk = _prompt_chunk(sequence, self.pace.most if alone else room)
            if sequence.whole and not chunk.last:
                break  # it comes first in the next step
            chunks.append(chunk)
            room -= chunk.size
        return chunks

    def computed(self, chunks: Items[Chunk], seconds: float) -> None:
        """The step is done, and the next tokens chosen: full pages of the cache are there for everyone."""
        self.pace.took(sum(chunk.size for chunk in chunks), seconds)
        for chunk in chunks:
            chunk.sequence.computed = chunk.reached
            if chunk.sequence.pooling is None:
                self._publish(chunk)

    def _decode_chunks(self) -> list[Chunk]:
        grown: list[Sequence] = []
        for sequence in list(self.running):
            if sequence.decoding and len(grown) < self.pace.most and self._grow(sequence):
                grown.append(sequence)
        chunks: list[Chunk] = []
        room = self.pace.most - len(grown)
        for sequence in grown:
            end, guesses = len(sequence.tokens), self._guesses(sequence, room)
            chunks.append(Chunk(sequence, end - 1, end, True, guesses))
            room -= len(guesses)
        return chunks

    def _guesses(self, sequence: Sequence, room: int) -> tuple[int, ...]:
        """As many as there is room for; they get a page only if no sequence has to give one."""
        guesses = sequence.guesses[:room]
        wanted = self.pool.pages_for(len(sequence.tokens) + len(guesses))
        while len(sequence.pages) < wanted and (self.pool.free or self.prefixes.evict()):
            sequence.pages.append(self.pool.take())
        return guesses[: len(sequence.pages) * self.pool.page_tokens - len(sequence.tokens)]

    def _grow(self, sequence: Sequence) -> bool:
        """Give a sequence the page its newest token needs; False if it was itself put back to wait."""
        while len(sequence.pages) < self.pool.pages_for(len(sequence.tokens)):
            if sequence not in self.running:
                return False
            if self.pool.free or self.prefixes.evict():
                sequence.pages.append(self.pool.take())
            else:
                self._preempt(self.running[-1])
        return sequence in self.running

    def _preempt(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self._release(sequence)
        self.waiting.appendleft(sequence)

    def _next_prompt(self, chunks: list[Chunk]) -> Sequence | None:
        """The first sequence with a prompt to compute, admitted from the queue if need be."""
        taken = {chunk.sequence for chunk in chunks}
        for sequence in self.running:
            if sequence not in taken and not sequence.decoding:
                return sequence
        return self._admit()

    def _admit(self) -> Sequence | None:
        if not self.waiting or len(self.running) == self.parallel:
            return None
        sequence = self.waiting[0]
        # One token at least is computed, for its logits; where states are wanted, all are.
        nodes = [] if sequence.pooling else self.prefixes.match(sequence.tokens[:-1])
        shared = [self.pool.share(node.page) for node in nodes]
        missing = self.pool.pages_for(len(sequence.tokens)) - len(shared)
        if missing > self.pool.free + self.prefixes.evictable:
            for page in shared:
                self.pool.drop(page)
            return None
        sequence.pages = shared + [self._take() for _ in range(missing)]
        sequence.node = nodes[-1] if nodes else None
        sequence.computed = len(shared) * self.pool.page_tokens
        if sequence.cached_tokens is None:
            sequence.cached_tokens = sequence.computed
        self.running.append(self.waiting.popleft())
        return sequence

    def _take(self) -> int:
        if not self.pool.free:
            self.prefixes.evict()
        return self.pool.take()

    def _release(self, sequence: Sequence) -> None:
        for page in sequence.pages:
            self.pool.drop(page)
        sequence.pages = []
        sequence.node = None
        sequence.computed = 0
        sequence.guesses = ()

    def _publish(self, chunk: Chunk) -> None:
        """Put the pages a chunk filled into the prefix cache; of two equal pages, the cache's is kept."""
        sequence, size = chunk.sequence, self.pool.page_tokens
        for index in range(chunk.begin // size, chunk.reached // size):
            key = tuple(sequence.tokens[index * size : (index + 1) * size])
            node = self.prefixes.insert(sequence.node or self.prefixes.root, key, sequence.pages[index])
            if node.page != sequence.pages[index]:
                self.pool.drop(sequence.pages[index])
                sequence.pages[index] = self.pool.share(node.page)
            sequence.node = node


def _prompt_chunk(sequence: Sequence, room: int) -> Chunk:
    end = min(len(sequence.tokens), sequence.computed + room)
    return Chunk(sequence, sequence.computed, end, end == len(sequence.tokens))


def batch_of(chunks: Items[Chunk], page_tokens: int) -> Batch:
    """The step's arrays; rows are the last tokens of the chunks that choose, and their guesses, in order."""
    lengths = [chunk.size for chunk in chunks]
    begins = np.cumsum(lengths) - lengths
    choosing = [
        range(begin + chunk.end - chunk.begin - 1, begin + chunk.size)
        for begin, chunk in zip(begins, chunks, strict=True)
        if chunk.chooses
    ]
    return Batch(
        tokens=np.array([t for c in chunks for t in (*c.sequence.tokens[c.begin : c.end], *c.guesses)], np.int32),
        positions=np.concatenate([np.arange(c.begin, c.begin + c.size, dtype=np.int32) for c in chunks]),
        sequences=np.repeat(np.arange(len(chunks), dtype=np.int32), lengths),
        pages=page_table([(chunk.sequence, chunk.begin + chunk.size) for chunk in chunks], page_tokens),
        rows=np.array([row for rows in choosing for row in rows], np.int32),
        kept=np.array([b + k for b, chunk in zip(begins, chunks, strict=True) for k in chunk.kept], np.int32),
    )


def states_by_chunk(chunks: Items[Chunk], states: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """A batch's states [kept, dim], to each chunk its own."""
    return np.split(states, np.cumsum([len(chunk.kept) for chunk in chunks])[:-1])


def page_table(ends: Items[tuple[Sequence, int]], page_tokens: int) -> Ints:
    """The pages of each sequence up to an end in tokens [sequences, most of them]."""
    pages = np.zeros((len(ends), max(-(-end // page_tokens) for _, end in ends)), np.int32)
    for row, (sequence, end) in enumerate(ends):
        used = sequence.pages[: -(-end // page_tokens)]
        pages[row, : len(used)] = used
    return pages
