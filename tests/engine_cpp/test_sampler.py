"""The sampler: what each parameter does to the choice, against the definitions written out in numpy."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from ktd.engine import _core

Logits = NDArray[np.float32]
OPEN: dict[str, Any] = {
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": 0.0,
    "typical_p": 1.0,
    "repeat_penalty": 1.0,
    "repeat_last_n": 64,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "bias": (),
    "seed": 1,
}

finite = st.floats(-30, 30, width=32)
some_logits = npst.arrays(np.float32, st.integers(2, 50), elements=finite)


def sampler(**changes: Any) -> _core.Sampler:
    return _core.Sampler(**(OPEN | changes))


def probabilities(logits: Logits) -> NDArray[np.float64]:
    weights = np.exp(logits.astype(np.float64) - logits.max())
    return np.asarray(weights / weights.sum())


@given(some_logits)
def test_temperature_zero_takes_the_largest_and_the_lowest_id_of_equals(logits: Logits) -> None:
    assert sampler(temperature=0.0).sample(logits) == int(np.argmax(logits))


def test_draws_follow_the_softmax() -> None:
    """4000 draws: each count lies within 5 standard deviations of its binomial mean."""
    logits, n = np.array([0.0, 1.0, 2.0, -1.0], np.float32), 4000
    one = sampler(temperature=0.7)
    counts = Counter(one.sample(logits) for _ in range(n))
    expected = probabilities(logits / np.float32(0.7))
    for token, p in enumerate(expected):
        assert abs(counts[token] - n * p) <= 5 * np.sqrt(n * p * (1 - p))


@given(some_logits, st.integers(0, 2**64 - 1))
def test_a_seed_repeats_its_draws(logits: Logits, seed: int) -> None:
    a, b = sampler(seed=seed), sampler(seed=seed)
    assert [a.sample(logits) for _ in range(8)] == [b.sample(logits) for _ in range(8)]


@given(some_logits, st.integers(1, 10))
def test_top_k_draws_only_from_the_k_best(logits: Logits, k: int) -> None:
    best = np.argsort(-logits, kind="stable")[:k]
    one = sampler(top_k=k, temperature=5.0)
    assert {one.sample(logits) for _ in range(20)} <= set(best.tolist())


@given(some_logits, st.floats(0.05, 0.95))
def test_top_p_draws_from_the_smallest_set_that_holds_p(logits: Logits, p: float) -> None:
    order = np.argsort(-logits, kind="stable")
    before = np.concatenate([[0.0], np.cumsum(probabilities(logits)[order])[:-1]])
    allowed = order[before < p + 1e-6]
    one = sampler(top_p=p, temperature=5.0)
    assert {one.sample(logits) for _ in range(20)} <= set(allowed.tolist())


@given(some_logits, st.floats(0.05, 1.0))
def test_min_p_drops_what_is_far_below_the_best(logits: Logits, p: float) -> None:
    shares = probabilities(logits)
    allowed = np.flatnonzero(shares >= shares.max() * p * (1 - 1e-6))
    one = sampler(min_p=p, temperature=5.0)
    assert {one.sample(logits) for _ in range(20)} <= set(allowed.tolist())


@given(some_logits, st.floats(0.05, 0.95))
def test_typical_p_draws_from_the_least_surprising_set_that_holds_p(logits: Logits, p: float) -> None:
    shares = probabilities(logits)
    surprise = -np.log(shares)
    oddness = np.abs(surprise - (shares * surprise).sum())
    # The mass of all that is clearly less odd than each: 1e-9 is far above the rounding of doubles.
    before = np.array([shares[oddness < own - 1e-9].sum() for own in oddness])
    allowed = np.flatnonzero(before < p + 1e-6)
    one = sampler(typical_p=p, temperature=5.0)
    assert {one.sample(logits) for _ in range(20)} <= set(allowed.tolist())


@given(some_logits, st.data())
def test_a_mask_leaves_only_the_tokens_of_its_bits(logits: Logits, data: st.DataObject) -> None:
    bits = np.array(data.draw(st.lists(st.booleans(), min_size=len(logits), max_size=len(logits))))
    mask, one = np.packbits(bits, bitorder="little"), sampler(temperature=5.0)
    if bits.any():
        assert {one.sample(logits, mask) for _ in range(20)} <= set(np.flatnonzero(bits).tolist())
        best = int(np.argmax(np.where(bits, logits, -np.inf)))
        assert sampler(temperature=0.0).sample(logits, mask) == best
    else:
        with pytest.raises(_core.EngineError, match="no logit"):
            one.sample(logits, mask)


def test_what_lies_beyond_a_mask_is_not_allowed() -> None:
    logits = np.arange(20, dtype=np.float32)
    assert sampler(temperature=0.0).sample(logits, np.full(2, 255, np.uint8)) == 15


def test_bias_is_added_before_anything_else() -> None:
    logits = np.array([3.0, 1.0, 0.0], np.float32)
    assert sampler(temperature=0.0, bias=[(1, 2.5)]).sample(logits) == 1
    assert sampler(temperature=0.0, bias=[(0, -100.0), (1, -100.0), (99, 5.0), (-1, 5.0)]).sample(logits) == 2


@given(some_logits, st.integers(0, 20), st.data())
def test_logprobs_are_the_log_softmax_of_the_raw_logits(logits: Logits, top: int, data: st.DataObject) -> None:
    """Computed in doubles, told as floats: of magnitudes up to 64 a float's half step is 2e-6."""
    expected = np.log(probabilities(logits))
    token = data.draw(st.integers(0, len(logits) - 1))
    (chosen, logprob), *best = _core.logprobs(logits, token, top)
    assert chosen == token
    assert abs(logprob - expected[token]) <= 4e-6
    assert [each for each, _ in best] == np.argsort(-logits, kind="stable")[:top].tolist()
    np.testing.assert_allclose([value for _, value in best], expected[[each for each, _ in best]], rtol=0, atol=4e-6)


def test_logprobs_leave_out_what_is_not_a_number() -> None:
    logits = np.array([np.nan, 0.0, -np.inf, 0.0], np.float32)
    assert _core.logprobs(logits, 3, 20) == [
        (3, pytest.approx(np.log(0.5))),
        *[(t, pytest.approx(np.log(0.5))) for t in (1, 3)],
    ]
    for token in (0, 2, 4, -1):
        with pytest.raises(_core.EngineError, match="has no logit"):
            _core.logprobs(logits, token, 1)


def test_repeat_penalty_divides_positive_and_multiplies_negative_logits() -> None:
    one = sampler(temperature=0.0, repeat_penalty=2.0)
    one.accept(0)
    one.accept(1)
    assert one.sample(np.array([3.0, -1.0, 1.6], np.float32)) == 2
    assert one.sample(np.array([3.0, -1.0, 1.4], np.float32)) == 0
    assert one.sample(np.array([-9.0, -1.0, -1.9], np.float32)) == 2


def test_presence_counts_once_and_frequency_every_time() -> None:
    logits = np.array([2.0, 1.0], np.float32)
    presence, frequency = (sampler(temperature=0.0, **{f"{kind}_penalty": 0.6}) for kind in ("presence", "frequency"))
    for one in (presence, frequency):
        one.accept(0)
        one.accept(0)
    assert presence.sample(logits) == 0
    assert frequency.sample(logits) == 1


def test_penalties_see_only_the_last_n_tokens() -> None:
    logits = np.array([2.0, 1.0, 0.0], np.float32)
    one = sampler(temperature=0.0, presence_penalty=5.0, repeat_last_n=2)
    for token in (0, 2, 2):
        one.accept(token)
    assert one.sample(logits) == 0


def test_what_is_not_a_number_is_never_chosen() -> None:
    logits = np.array([np.nan, -np.inf, -5.0, np.nan], np.float32)
    assert sampler().sample(logits) == 2
    with pytest.raises(_core.EngineError, match="no logit"):
        sampler().sample(np.full(4, np.nan, np.float32))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -0.1),
        ("temperature", float("nan")),
        ("top_k", -1),
        ("top_p", 1.5),
        ("min_p", -0.5),
        ("typical_p", 1.1),
        ("repeat_penalty", 0.0),
        ("repeat_last_n", -2),
        ("presence_penalty", float("inf")),
        ("bias", [(0, float("nan"))]),
    ],
)
def test_values_out_of_range_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(_core.EngineError, match=name):
        sampler(**{name: value})
