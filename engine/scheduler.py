"""Scheduler: which tokens the next step computes. Continuous batching, first come, first served."""

from collections import deque
from collections.abc import Sequence as Items
from dataclasses import dataclass

import numpy as np

from ktd.engine.batch import Batch
from ktd.engine.pace import Pace
from ktd.engine.pages import PagePool
from ktd.engine.prefix import PrefixCache
from ktd.engine.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens [begin, end) of a sequence, computed in one step."""

    sequence: Sequence
    begin: int
    end: int

    @property
    def last(self) -> bool:
        """It reaches the newest token."""
        return self.end == len(self.sequence.tokens)

    @property
    def chooses(self) -> bool:
        """The logits of its last token choose the next one."""
        return self.last and self.sequence.pooling is None

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
                return range(0)


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
        room = self.pace.room(len(chunks)) - len(chunks)
        while room and (sequence := self._next_prompt(chunks)) is not None:
            chunk = _prompt_chunk(sequence, room)
            if sequence.whole and not chunk.last:
                break  # it comes first in the next step
            chunks.append(chunk)
            room -= chunk.end - chunk.begin
        return chunks

    def computed(self, chunks: Items[Chunk], seconds: float) -> None:
        """The step is done: its tokens are in the cache, and full pages are there for everyone."""
        self.pace.took(sum(chunk.end - chunk.begin for chunk in chunks), seconds)
        for chunk in chunks:
            chunk.sequence.computed = chunk.end
            if chunk.sequence.pooling is None:
                self._publish(chunk)

    def _decode_chunks(self) -> list[Chunk]:
        chunks: list[Chunk] = []
        for sequence in list(self.running):
            if sequence.decoding and len(chunks) < self.pace.most and self._grow(sequence):
                chunks.append(_prompt_chunk(sequence, 1))
        return chunks

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

    def _publish(self, chunk: Chunk) -> None:
        """Put the pages a chunk filled into the prefix cache; of two equal pages, the cache's is kept."""
        sequence, size = chunk.sequence, self.pool.page_tokens
        for index in range(chunk.begin // size, chunk.end // size):
            key = tuple(sequence.tokens[index * size : (index + 1) * size])
            node = self.prefixes.insert(sequence.node or self.prefixes.root, key, sequence.pages[index])
            if node.page != sequence.pages[index]:
                self.pool.drop(sequence.pages[index])
                sequence.pages[index] = self.pool.share(node.page)
            sequence.node = node


def _prompt_chunk(sequence: Sequence, room: int) -> Chunk:
    return Chunk(sequence, sequence.computed, min(len(sequence.tokens), sequence.computed + room))


def batch_of(chunks: Items[Chunk], page_tokens: int) -> Batch:
    """The step's arrays; rows are the last tokens of the chunks that choose a next one, in order."""
    lengths = [chunk.end - chunk.begin for chunk in chunks]
    ends = np.cumsum(lengths)
    begins = ends - lengths
    pages = np.zeros((len(chunks), max(-(-chunk.end // page_tokens) for chunk in chunks)), np.int32)
    for row, chunk in enumerate(chunks):
        used = chunk.sequence.pages[: -(-chunk.end // page_tokens)]
        pages[row, : len(used)] = used
    return Batch(
        tokens=np.array([t for c in chunks for t in c.sequence.tokens[c.begin : c.end]], np.int32),
        positions=np.concatenate([np.arange(c.begin, c.end, dtype=np.int32) for c in chunks]),
        sequences=np.repeat(np.arange(len(chunks), dtype=np.int32), lengths),
        pages=pages,
        rows=np.array([end - 1 for end, chunk in zip(ends, chunks, strict=True) if chunk.chooses], np.int32),
        kept=np.array([b + k for b, chunk in zip(begins, chunks, strict=True) for k in chunk.kept], np.int32),
    )
