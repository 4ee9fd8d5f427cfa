"""Log-probabilities of answers: what is told, and with which text."""

import numpy as np
import pytest
from answers import Heard, chat, watched

from ktd.engine.loader import OpenModel
from ktd.engine.messages import Prompt, Sampling

ASK = chat("What is 12 + 30?")
TOLD = Sampling(temperature=0.0, logprobs=3)


def answered(heard: Heard) -> bytes:
    return b"".join(each.piece for each in heard.logprobs)


def test_they_are_the_log_softmax_of_each_step(model: OpenModel) -> None:
    """Float32 logits of magnitude below 64: told as floats they are within 4e-6 of the doubles."""
    desk, watch = watched(model)
    heard = desk.ask(ASK, TOLD)
    tokens = heard.done.context[heard.done.prompt_tokens :]
    assert answered(heard) == heard.text.encode()
    assert len(heard.logprobs) == len(tokens) == heard.done.output_tokens - 1  # all but the token that ends it
    for token, told, (row,) in zip(tokens, heard.logprobs, watch.logits, strict=False):
        wide = row.astype(np.float64)
        shares = wide - wide.max() - np.log(np.exp(wide - wide.max()).sum())
        best = np.argsort(-row, kind="stable")[:3]
        assert told.logprob == pytest.approx(shares[token], abs=4e-6)
        assert [each.piece for each in told.top] == [model.tokenizer.piece(int(each)) for each in best]
        assert [each.logprob for each in told.top] == pytest.approx(shares[best], abs=4e-6)


def test_neither_temperature_nor_penalties_nor_bias_change_them(model: OpenModel) -> None:
    plain = watched(model)[0].ask(ASK, Sampling(temperature=0.0, logprobs=0, max_tokens=1))
    (token,) = plain.done.context[plain.done.prompt_tokens :]
    bent = Sampling(
        temperature=0.7, top_k=1, presence_penalty=1.0, logit_bias=((token, 50.0),), logprobs=0, max_tokens=1
    )
    assert watched(model)[0].ask(ASK, bent).logprobs == plain.logprobs
    assert plain.logprobs[0].top == ()


def test_a_bias_bars_a_token(model: OpenModel) -> None:
    plain = watched(model)[0].ask(ASK, Sampling(temperature=0.0, max_tokens=1))
    (token,) = plain.done.context[plain.done.prompt_tokens :]
    barred = watched(model)[0].ask(ASK, Sampling(temperature=0.0, max_tokens=1, logit_bias=((token, -100.0),)))
    assert barred.done.context[barred.done.prompt_tokens :] != (token,)


def test_what_a_stop_cuts_off_is_not_told(model: OpenModel) -> None:
    whole = watched(model)[0].ask(ASK, TOLD)
    stop = whole.text[6:9]
    heard = watched(model)[0].ask(Prompt(ASK, (stop,)), TOLD)
    assert heard.text == whole.text[: whole.text.index(stop)]
    told = answered(heard)
    assert told.startswith(heard.text.encode())
    assert len(told) - len(heard.logprobs[-1].piece) < len(heard.text.encode())
    assert whole.logprobs[: len(heard.logprobs)] == heard.logprobs


def test_they_come_with_their_text(model: OpenModel) -> None:
    desk, _ = watched(model)
    heard = desk.add(ASK, TOLD)
    while not desk.jobs.idle:
        desk.step()
        assert answered(heard) == heard.text.encode()


def test_none_are_told_unasked(model: OpenModel) -> None:
    assert watched(model)[0].ask(ASK).logprobs == ()


@pytest.mark.parametrize(
    ("sampling", "text"),
    [
        (Sampling(logprobs=21), "logprobs 21"),
        (Sampling(logprobs=-1), "logprobs -1"),
        (Sampling(logit_bias=((1 << 20, 1.0),)), "token 1048576 is outside the vocabulary"),
        (Sampling(logit_bias=((1, float("nan")),)), "bias"),
        (Sampling(typical_p=2.0), "typical_p"),
    ],
)
def test_refusals(model: OpenModel, sampling: Sampling, text: str) -> None:
    failed = watched(model)[0].ask(ASK, sampling).failed
    assert failed.kind == "bad_request"
    assert text in failed.message
