"""Guesses from a text's own past: where it repeats itself, and answers that are the same with them."""

from dataclasses import replace

import numpy as np
import pytest
from answers import Desk, Watched, chat

from ktd.engine.draft import Growth
from ktd.engine.executor import Floats
from ktd.engine.jobs import Jobs
from ktd.engine.loader import OpenModel
from ktd.engine.lookup import Lookup
from ktd.engine.messages import Prompt, Sampling
from ktd.engine.sequence import Sequence

NO_STATES: Floats = np.zeros((0, 1), np.float32)


class Other:
    """A draft that always says 99."""

    def guess(self, grown: list[Growth], states: Floats) -> list[tuple[int, ...]]:
        return [(99,)] * len(grown)


def guessed(lookup: Lookup, *sequences: Sequence, wanted: int = 8) -> list[tuple[int, ...]]:
    ends = [len(sequence.tokens) - 1 for sequence in sequences]
    return lookup.guess([Growth(s, 0, end, wanted) for s, end in zip(sequences, ends, strict=True)], NO_STATES)


def text(*tokens: int) -> Sequence:
    return Sequence([*tokens], len(tokens))


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ([], ()),
        ([1, 2], ()),
        ([1, 2, 3], ()),
        ([1, 2, 3, 4, 2, 3], ()),  # two alike are not enough
        ([1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3], (4, 5, 6, 7)),
        ([1, 2, 3, 4, 1, 2, 3, 5, 1, 2, 3], (5, 1, 2, 3)),  # the last place counts
        ([7, 7, 7, 7], (7,)),
        ([7, 7, 7, 7, 7, 7], (7,)),
    ],
)
def test_what_followed_before(tokens: list[int], expected: tuple[int, ...]) -> None:
    assert guessed(Lookup(4, 1), text(*tokens)) == [expected]


def test_a_text_that_grows_is_read_on() -> None:
    lookup, sequence = Lookup(3, 1), text(1, 2, 3, 4, 5)
    assert guessed(lookup, sequence) == [()]
    sequence.tokens += [1, 2]
    assert guessed(lookup, sequence) == [()]
    sequence.tokens.append(3)
    assert guessed(lookup, sequence) == [(4, 5, 1)]
    assert guessed(lookup, sequence, wanted=1) == [(4,)]
    assert guessed(lookup, sequence, wanted=0) == [()]
    sequence.tokens[:] = [9, 1, 2, 3]  # its oldest tokens made way
    assert guessed(lookup, sequence) == [()]
    sequence.tokens += [8, 1, 2, 3]
    assert guessed(lookup, sequence) == [(8, 1, 2)]


def test_the_other_draft_guesses_elsewhere_and_for_many() -> None:
    repeats, fresh = text(1, 2, 3, 4, 1, 2, 3), text(1, 2, 3)
    assert guessed(Lookup(1, 2, Other()), repeats, fresh) == [(4,), (99,)]
    assert guessed(Lookup(1, 1, Other()), repeats, fresh) == [(99,), (99,)]
    assert guessed(Lookup(1, 1), repeats, fresh) == [(), ()]


def test_texts_that_ended_are_forgotten() -> None:
    lookup, sequence = Lookup(4, 1), text(1, 2, 3, 4)
    guessed(lookup, sequence)
    assert len(lookup._places) == 1
    del sequence
    assert len(lookup._places) == 0


def test_the_trained_model_answers_the_same_in_fewer_steps(model: OpenModel) -> None:
    prompt = Prompt(chat("What is 12 + 30?", think=True))  # it says twice what that is
    for sampling in (Sampling(temperature=0.0, max_tokens=60), Sampling(temperature=1.0, seed=5, max_tokens=60)):
        before, after = Watched(model.executor), Watched(model.executor)
        plain = Desk(Jobs(replace(model, executor=before))).ask(prompt, sampling)
        ours = Desk(Jobs(replace(model, executor=after, lookup=4))).ask(prompt, sampling)
        assert ours.text == plain.text
        assert ours.done.context == plain.done.context
        assert ours.done.guessed > ours.done.right > 0 == plain.done.guessed
        assert len(after.batches) == len(before.batches) - ours.done.right
    assert model.lookup == 0  # off unless asked for
