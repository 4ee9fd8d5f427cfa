"""Embeddings of decoders, and how their requests go along with jobs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_export
import tiny_families
import torch
from answers import GREEDY, Desk, chat, watched

from ktd.engine.jobs import Jobs
from ktd.engine.loader import OpenModel, open_model
from ktd.engine.messages import Embed, Load, Prompt, Sampling

MEAN, CLS, LAST = 1, 2, 3
LONG = "hello the end " * 12


@pytest.mark.parametrize("pooling", [MEAN, CLS, LAST])
def test_vectors_are_those_of_transformers(pooling: int, tmp_path: Path) -> None:
    """In chunks of 16 tokens, several texts in a step; the model wants an end token behind each."""
    tiny = tiny_families.MODELS["qwen3"]
    made = tiny_families.make(tiny)
    path = tiny_export.export(made, tiny, tmp_path / "model.gguf", pooling=pooling)
    model = open_model(Load((str(path),), cache_type="f32"), lambda done, total: None)[0]
    texts = ["hello", LONG, "the end"]
    for text, vector in zip(texts, Desk(Jobs(model, step_tokens=16)).embed(*texts), strict=True):
        tokens = [*model.tokenizer.encode(text), 2]
        with torch.no_grad():
            states = made.model(torch.tensor([tokens])).last_hidden_state[0].double().numpy()
        expected = {MEAN: states.mean(axis=0), CLS: states[0], LAST: states[-1]}[pooling]
        assert vector @ expected / np.sqrt((vector @ vector) * (expected @ expected)) > 0.99999


def test_jobs_go_on_beside_them(model: OpenModel) -> None:
    desk = Desk(Jobs(model))
    alone, vectors = desk.ask(chat("What is 12 + 30?")).text, desk.embed("a", LONG)
    answer = desk.add(chat("What is 12 + 30?"), GREEDY)
    desk.step()
    heard = desk.add_texts("a", LONG)
    desk.drain()
    assert answer.text == alone
    np.testing.assert_array_equal(heard.vectors, vectors)
    assert desk.jobs.idle and desk.jobs.scheduler.pool.free + desk.jobs.scheduler.prefixes.evictable == model.pages


def test_pages_that_run_out_change_nothing(model: OpenModel) -> None:
    """The texts wait for the answer's pages, and give their own back when it needs more."""
    vectors = Desk(Jobs(model)).embed(*[LONG] * 6)
    tight = Desk(Jobs(replace(model, pages=9), step_tokens=32))
    answer = tight.add(chat("Tell me a story."), Sampling(temperature=2.0, top_k=0, top_p=1.0, seed=3, max_tokens=60))
    heard = tight.add_texts(*[LONG] * 6)
    tight.drain()
    assert answer.done.output_tokens == 60
    # Short pieces of a text look back another way than long ones: the same sums, in another order.
    np.testing.assert_allclose(heard.vectors, vectors, atol=0.001)


def test_no_texts_have_no_vectors(model: OpenModel) -> None:
    assert len(Desk(Jobs(model)).embed()) == 0


def test_too_long_a_text_fails_or_is_cut(model: OpenModel) -> None:
    desk = Desk(Jobs(replace(model, context=8)))
    failed = desk.add_texts("a", LONG, truncate=False).failed
    assert failed.kind == "prompt_too_long" and "more than the context of 8 tokens" in failed.message
    tokens = model.tokenizer.encode(LONG)[:8]
    cut = model.tokenizer.decode(tokens[1:])
    np.testing.assert_array_equal(desk.embed(LONG), desk.embed(cut))
    assert Desk(Jobs(replace(model, context=1))).add_texts("a").failed.kind == "bad_request"


def test_what_cannot_be_embedded_fails(model: OpenModel) -> None:
    jobs = Jobs(model)
    (outside,) = jobs.embed(Embed(1, (Prompt("", before=(1 << 30,)),)))
    assert outside.kind == "bad_request" and "outside the vocabulary" in outside.message
    (many,) = jobs.embed(Embed(1, (Prompt("a"),) * 300_000))
    assert many.kind == "bad_request" and "300000 texts in one request" in many.message
    assert jobs.embed(Embed(1, (Prompt("a"),))) == []
    (twice,) = jobs.embed(Embed(1, (Prompt("a"),)))
    assert twice.kind == "bad_request"


def test_cancel_frees_at_once(model: OpenModel) -> None:
    desk = Desk(Jobs(model, step_tokens=16))
    heard = desk.add_texts(*[LONG] * 3)
    desk.step()
    desk.cancel(heard)
    assert desk.jobs.idle and heard.end is None
    assert desk.jobs.scheduler.pool.free == model.pages


def test_a_failed_step_fails_a_request_once(model: OpenModel) -> None:
    desk, watch = watched(model)
    heard = desk.add_texts("a", "b", "c")
    watch.fail = RuntimeError("no more")
    desk.step()
    assert (heard.failed.kind, heard.failed.message) == ("engine", "no more")
    assert desk.jobs.idle and len(desk.embed("a")) == 1
