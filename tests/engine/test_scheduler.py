"""The scheduler against a cache that remembers which token stands in which slot."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktd.engine.batch import Batch
from ktd.engine.pace import BESIDE
from ktd.engine.pages import PagePool
from ktd.engine.scheduler import Chunk, Scheduler, batch_of
from ktd.engine.sequence import Sequence

PAGE = 4


class Cache:
    """What a real cache would hold: the prefix that each slot was computed from."""

    def __init__(self, pages: int) -> None:
        self._slots: dict[tuple[int, int], tuple[int, ...]] = {}
        self.computed = 0

    def compute(self, batch: Batch, chunks: list[Chunk]) -> list[list[int]]:
        """Write the batch's tokens, check that each sees exactly its own prefix, and choose the next tokens.

        Of each chunk that chooses, one, and another behind each guess that is right.
        """
        self.computed += len(batch.tokens)
        for token, position, row in zip(batch.tokens, batch.positions, batch.sequences, strict=True):
            before = self._slots[self._slot(batch, row, position - 1)] if position else ()
            self._slots[self._slot(batch, row, position)] = (*before, int(token))
        ends = [(chunk, count) for chunk in chunks if chunk.last for count in range(1 + len(chunk.guesses))]
        assert len(ends) == len(batch.rows)
        for index, (chunk, count) in zip(batch.rows, ends, strict=True):
            row, position = batch.sequences[index], batch.positions[index]
            prefix = (*chunk.sequence.tokens, *chunk.guesses[:count])
            assert self._slots[self._slot(batch, row, position)] == prefix
        return [chosen(chunk) for chunk in chunks if chunk.last]

    def _slot(self, batch: Batch, row: int, position: int) -> tuple[int, int]:
        return int(batch.pages[row, position // PAGE]), int(position % PAGE)


def next_token(tokens: list[int]) -> int:
    return (sum(tokens) * 31 + len(tokens)) % 7


def chosen(chunk: Chunk) -> list[int]:
    tokens = [next_token(chunk.sequence.tokens)]
    for guess in chunk.guesses:
        if tokens[-1] != guess:
            break
        tokens.append(next_token([*chunk.sequence.tokens, *tokens]))
    return tokens


class Run:
    """Steps a scheduler until all is said; of `guesses` at most the first so many are right."""

    def __init__(self, pages: int, budget: int = 8, parallel: int | None = None, guesses: int = 0) -> None:
        self.scheduler = Scheduler(PagePool(pages, PAGE), budget, parallel)
        self.cache = Cache(pages)
        self.left: dict[Sequence, int] = {}
        self.guesses = guesses
        self.steps = 0
        self.widest = 0

    def add(self, prompt: list[int], answer: int) -> Sequence:
        sequence = Sequence(list(prompt), len(prompt))
        self.left[sequence] = answer
        self.scheduler.add(sequence)
        return sequence

    def step(self) -> list[Chunk]:
        chunks = self.scheduler.plan()
        assert chunks and sum(chunk.size for chunk in chunks) <= self.scheduler.pace.most
        tokens = self.cache.compute(batch_of(chunks, PAGE), chunks)
        answering = [chunk.sequence for chunk in chunks if chunk.last]
        for sequence, more in zip(answering, tokens, strict=True):
            sequence.tokens += more
        self.scheduler.computed(chunks, 1e-9)
        for sequence, more in zip(answering, tokens, strict=True):
            self._advance(sequence, len(more))
        self.steps += 1
        self.widest = max(self.widest, len(chunks))
        self.check_pages()
        return chunks

    def drain(self) -> None:
        while not self.scheduler.idle:
            self.step()

    def check_pages(self) -> None:
        """Every page is free, or held once by each sequence and once by the prefix cache."""
        pool, scheduler = self.scheduler.pool, self.scheduler
        held = [0] * pool.count
        for sequence in scheduler.running:
            for page in sequence.pages:
                held[page] += 1
        for node in scheduler.prefixes._by_age:
            held[node.page] += 1
        assert held == [pool.holders(page) for page in range(pool.count)]
        assert pool.free == held.count(0)
        assert all(not sequence.pages for sequence in scheduler.waiting)

    def _advance(self, sequence: Sequence, tokens: int) -> None:
        self.left[sequence] -= tokens
        right = alone(sequence.tokens, min(self.guesses, self.left[sequence] - 1))[len(sequence.tokens) :]
        sequence.guesses = (*right[:-1], *((token + self.steps % 2) for token in right[-1:]))
        if not self.left[sequence]:
            del self.left[sequence]
            self.scheduler.remove(sequence)


def alone(prompt: list[int], answer: int) -> list[int]:
    tokens = list(prompt)
    for _ in range(answer):
        tokens.append(next_token(tokens))
    return tokens


requests = st.lists(
    st.tuples(st.lists(st.integers(0, 1), min_size=1, max_size=20), st.integers(1, 12), st.integers(0, 6)),
    min_size=1,
    max_size=8,
)


@given(requests, st.integers(8, 20), st.integers(1, 16), st.integers(0, 5))
@settings(max_examples=300, deadline=None)
def test_every_answer_is_what_it_would_be_alone(
    jobs: list[tuple[list[int], int, int]], pages: int, budget: int, guesses: int
) -> None:
    """Whatever arrives when, shares prefixes, waits, is guessed or preempted: each token sees its own prefix only."""
    run = Run(pages, budget, guesses=guesses)
    sequences = []
    for prompt, answer, wait in jobs:
        sequences.append(run.add(prompt, answer))
        for _ in range(wait):
            if not run.scheduler.idle:
                run.step()
    run.drain()
    assert [sequence.tokens for sequence in sequences] == [alone(prompt, answer) for prompt, answer, _ in jobs]
    assert run.scheduler.pool.free + run.scheduler.prefixes.evictable == pages


@given(requests, st.data())
@settings(max_examples=100, deadline=None)
def test_removing_at_any_time_frees_everything(jobs: list[tuple[list[int], int, int]], data: st.DataObject) -> None:
    run = Run(9)
    alive = [run.add(prompt, answer) for prompt, answer, _ in jobs]
    while not run.scheduler.idle:
        run.step()
        alive = [sequence for sequence in alive if sequence in run.left]
        if victims := alive[: data.draw(st.integers(0, 1))]:
            victim = victims[0]
            alive.remove(victim)
            run.scheduler.remove(victim)
            del run.left[victim]
            run.check_pages()
    assert run.scheduler.pool.free + run.scheduler.prefixes.evictable == 9


def test_four_requests_share_steps() -> None:
    run = Run(64)
    for number in range(4):
        run.add([number, 5], 10)
    run.drain()
    assert (run.steps, run.widest) == (10, 4)


def test_decode_goes_on_while_a_long_prompt_is_read() -> None:
    run = Run(64, budget=8)
    short = run.add([1, 2, 3], 30)
    run.step()
    run.add([0] * 40, 1)
    for _ in range(5):
        before = len(short.tokens)
        chunks = run.step()
        assert len(short.tokens) == before + 1
        assert [chunk.end - chunk.begin for chunk in chunks] == [1, 7]


def test_first_come_first_served() -> None:
    run = Run(64, budget=8)
    first, second = run.add([1] * 20, 1), run.add([2] * 20, 1)
    order = [[chunk.sequence for chunk in run.step()] for _ in range(3)]
    assert order == [[first], [first], [first, second]]


def test_a_repeated_prompt_is_not_read_again() -> None:
    run = Run(64)
    prompt = [1, 2, 3, 4, 5, 6, 7, 8, 9]
    run.add(prompt, 1)
    run.drain()
    read = run.cache.computed
    again = run.add(prompt, 1)
    run.drain()
    assert again.cached_tokens == 8 and run.cache.computed == read + 1


def test_at_least_one_token_is_computed() -> None:
    run = Run(64)
    run.add([1] * 8, 1)
    run.drain()
    again = run.add([1] * 8, 1)
    run.drain()
    assert again.cached_tokens == 4


def test_a_second_turn_continues_from_the_answer() -> None:
    run = Run(64)
    first = run.add([1, 2, 3], 9)
    run.drain()
    second = run.add([*first.tokens, 1, 1], 1)
    run.drain()
    assert second.cached_tokens == 8  # of 12 tokens the last was never computed


def test_the_latest_arrival_gives_way_and_loses_nothing() -> None:
    run = Run(6, budget=64)
    first, second = run.add([1] * 9, 12), run.add([2] * 9, 12)
    while len(run.scheduler.running) < 2 or not run.scheduler.waiting:
        run.step()
        if run.scheduler.waiting:
            break
    assert list(run.scheduler.waiting) == [second] and run.scheduler.running == [first]
    run.drain()
    assert (first.tokens, second.tokens) == (alone([1] * 9, 12), alone([2] * 9, 12))
    assert second.cached_tokens == 0  # what was read again counts as no cached prompt


def test_the_least_recently_used_prefix_goes_first() -> None:
    run = Run(6)
    for token in (1, 2):
        run.add([token] * 9, 1)
        run.drain()
    run.add([1] * 9, 1)  # touched again
    run.drain()
    run.add([3] * 9, 1)
    run.drain()
    kept = [len(run.scheduler.prefixes.match([token] * 9)) for token in (1, 2, 3)]
    assert kept == [2, 1, 2]


def test_two_equal_prompts_at_once_end_up_sharing_pages() -> None:
    run = Run(64, budget=64)
    one, other = run.add([1] * 9, 5), run.add([1] * 9, 5)
    run.step()
    assert one.pages[:2] == other.pages[:2] and one.pages[2] != other.pages[2]
    run.drain()


def test_batch_arrays() -> None:
    one, other = Sequence([5, 6, 7], 3, pages=[4]), Sequence([1, 2, 3, 4, 8, 9], 6, computed=3, pages=[2, 7])
    batch = batch_of([Chunk(one, 0, 2, last=False), Chunk(other, 3, 6, last=True, guesses=(0, 6))], PAGE)
    assert batch.tokens.tolist() == [5, 6, 4, 8, 9, 0, 6]
    assert batch.positions.tolist() == [0, 1, 3, 4, 5, 6, 7]
    assert batch.sequences.tolist() == [0, 0, 1, 1, 1, 1, 1]
    assert batch.pages.tolist() == [[4, 0], [2, 7]]
    assert batch.rows.tolist() == [4, 5, 6]
    assert {array.dtype for array in (batch.tokens, batch.positions, batch.sequences, batch.pages, batch.rows)} == {
        np.dtype(np.int32)
    }


def test_a_page_is_counted_by_its_holders() -> None:
    pool = PagePool(2, PAGE)
    page = pool.take()
    assert pool.share(page) == page and (pool.holders(page), pool.free) == (2, 1)
    pool.drop(page)
    assert pool.free == 1
    pool.drop(page)
    assert pool.free == 2
    with pytest.raises(AssertionError):
        pool.drop(page)
    with pytest.raises(AssertionError):
        pool.share(page)
    assert [pool.pages_for(tokens) for tokens in (0, 1, 4, 5)] == [0, 1, 1, 2]


def test_no_more_run_at_once_than_allowed() -> None:
    run = Run(pages=64, parallel=2)
    for first in range(5):
        run.add([first, 1, 2], 4)
    while not run.scheduler.idle:
        run.step()
        assert len(run.scheduler.running) <= 2
    assert run.widest == 2


def test_a_long_prompt_beside_an_answer_is_read_at_the_pace_of_the_machine() -> None:
    scheduler = Scheduler(PagePool(1000, PAGE), 1000)
    answering, reading = Sequence([1, 2], 2), Sequence([1] * 3000, 3000)
    scheduler.add(answering)
    scheduler.computed(scheduler.plan(), 1e-9)
    answering.tokens.append(3)
    scheduler.add(reading)
    # A hundred tokens in the time that others wait.
    scheduler.computed(scheduler.plan(), BESIDE.guess * BESIDE.seconds / 100)
    answering.tokens.append(4)
    widths = [chunk.end - chunk.begin for chunk in scheduler.plan()]
    assert widths == [1, pytest.approx(100, abs=2)]
    scheduler.remove(answering)
    assert [chunk.end - chunk.begin for chunk in scheduler.plan()] == [1000]


def test_a_text_that_is_read_whole_may_be_longer_than_a_first_step() -> None:
    """An encoder's: one that finds no room beside others comes first in the next step, however long it is."""
    scheduler = Scheduler(PagePool(1000, PAGE), 2000)
    short, long = (Sequence([1] * size, size, pooling="mean", whole=True) for size in (100, 1500))
    scheduler.add(short)
    scheduler.add(long)
    assert [chunk.size for chunk in scheduler.plan()] == [100]
    scheduler.remove(short)
    assert [chunk.size for chunk in scheduler.plan()] == [1500]
