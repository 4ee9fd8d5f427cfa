"""The NextN block: its guesses against the paper's formula in torch, and answers that are the same with it as without.

Tolerance of logits: as in test_numbers, a few times what float32 costs the reference itself.
"""

from collections.abc import Sequence as Items
from dataclasses import replace
from pathlib import Path

import headers
import numpy as np
import pytest
import tiny_deepseek
import tiny_export
import tiny_families
import tiny_nextn
import torch
from answers import Desk, Watched, chat
from numpy.typing import NDArray
from transformers import PreTrainedModel

from ktd.engine import loader
from ktd.engine.batch import Batch
from ktd.engine.check import check
from ktd.engine.draft import Growth
from ktd.engine.executor import Executor, Floats
from ktd.engine.hybrid import RESERVE
from ktd.engine.jobs import Jobs
from ktd.engine.loader import OpenModel, open_model
from ktd.engine.messages import Document, Grammar, Load, Prompt, Sampling, Thought
from ktd.engine.models import spec_for
from ktd.engine.placement import PAGE_TOKENS, Budget, Wish, draft_fits, place
from ktd.engine.seat import TORCH_CPU
from ktd.engine.spec import Combine, Head, MlaAttention, MoeFfn

FACTOR = 8
TOKENS = [int(t) for t in np.random.default_rng(11).integers(3, 96, 120)]
F32 = 0


def made(kind: str) -> PreTrainedModel:
    if kind == "glm4moe":
        return tiny_families.make(tiny_families.MODELS["glm4moe"])
    return tiny_deepseek.make(kind, nextn=True)


def written(kind: str, model: PreTrainedModel, path: Path) -> Path:
    if kind == "glm4moe":
        return tiny_export.export(model, tiny_families.MODELS["glm4moe"], path)
    return tiny_deepseek.export(model, path)


def opened(path: Path, drafting: int = 1, context: int | None = None) -> OpenModel:
    load = Load((str(path),), cache_type="f32", drafting=drafting, context=context)
    return open_model(load, lambda done, total: None)[0]


class Reading:
    """Texts read step by step by the model and its draft, which follows it a token later."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def step(self, parts: dict[int, tuple[list[int], int]]) -> dict[int, Floats]:
        """Of each text its tokens and the place of the first; logits of the draft for all but the last."""
        _, states = self._executor.forward(self._batch(parts, kept=True))
        later = {text: (tokens[1:], first) for text, (tokens, first) in parts.items()}
        before = np.concatenate([np.arange(len(tokens)) < len(tokens) - 1 for tokens, _ in parts.values()])
        logits = self._executor.guess(self._batch(later, kept=False), np.ascontiguousarray(states[before]))
        ends = np.cumsum([len(tokens) for tokens, _ in later.values()])[:-1]
        return dict(zip(parts, np.split(logits, ends), strict=True))

    @staticmethod
    def _batch(parts: dict[int, tuple[list[int], int]], kept: bool) -> Batch:
        """Every text has eight pages of its own."""
        count = sum(len(tokens) for tokens, _ in parts.values())
        every = np.arange(count, dtype=np.int32)
        return Batch(
            tokens=np.array([token for tokens, _ in parts.values() for token in tokens], np.int32),
            positions=np.concatenate(
                [np.arange(at, at + len(tokens), dtype=np.int32) for tokens, at in parts.values()]
            ),
            sequences=np.repeat(np.arange(len(parts), dtype=np.int32), [len(tokens) for tokens, _ in parts.values()]),
            pages=np.array([range(8 * text, 8 * text + 8) for text in parts], np.int32),
            rows=every[:0] if kept else every,
            kept=every if kept else every[:0],
        )


KINDS = pytest.mark.parametrize("kind", ["v3", "v3-yarn", "glm-4.7-flash", "glm4moe"])


@KINDS
def test_guesses_are_those_of_the_paper(kind: str, tmp_path: Path) -> None:
    """In chunks of every length, beside another text; each chunk is read with the token that follows it."""
    model = made(kind)
    exact = tiny_nextn.guesses(model, TOKENS, torch.float64)
    tolerance = FACTOR * float(np.abs(tiny_nextn.guesses(model, TOKENS) - exact).max())
    reading = Reading(opened(written(kind, model, tmp_path / "model.gguf")).executor)
    ours: list[NDArray[np.float32]] = []
    at = 0
    for size in (1, 1, 7, 64, 2, 44):
        text = (TOKENS[at : at + size + 1], at)
        ours.append(reading.step({0: text, 1: (TOKENS[:6], 0)})[0])
        at += size
    worst = float(np.abs(np.concatenate(ours) - exact).max())
    assert worst <= tolerance, f"off by {worst:.2e}, allowed {tolerance:.2e}"


def copycat(kind: str) -> PreTrainedModel:
    """A model whose next token is mostly a matter of the last one, and a block that goes by the same rule."""
    model = made(kind)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "o_proj" in name or "down_proj" in name:
                weight.mul_(0.004)
        dim = model.config.hidden_size
        model.nextn.eh_proj.weight.copy_(torch.eye(dim, 2 * dim))
        model.nextn.enorm.weight.fill_(1.0)
        model.nextn.norm.weight.copy_(model.model.norm.weight)
    return model


PROMPTS = ["hello the end", "he said hello " * 4, "the"]
SAMPLINGS = [
    Sampling(temperature=0.0, max_tokens=60),
    Sampling(temperature=0.4, seed=5, max_tokens=60),
    Sampling(temperature=0.0, max_tokens=120, shift=True, keep=3),
    Sampling(temperature=0.0, max_tokens=40, repeat_penalty=1.3, repeat_last_n=-1, logprobs=3),
]


@pytest.mark.parametrize("kind", ["v3-yarn", "glm4moe"])
def test_answers_are_the_same_as_without(kind: str, tmp_path: Path) -> None:
    """Greedy, sampled with a seed, beyond the context, with penalties; most guesses are right, some are not."""
    path = written(kind, copycat(kind), tmp_path / "model.gguf")
    guessing, plain = (Desk(Jobs(opened(path, drafting, context=80))) for drafting in (1, 0))
    guessed = right = 0
    for prompt in PROMPTS:
        for sampling in SAMPLINGS:
            ours, theirs = guessing.ask(prompt, sampling), plain.ask(prompt, sampling)
            assert ours.done.context == theirs.done.context
            assert (ours.text, ours.logprobs) == (theirs.text, theirs.logprobs)
            assert theirs.done.guessed == theirs.done.right == 0
            guessed, right = guessed + ours.done.guessed, right + ours.done.right
    print(f"\n{kind}: {right} of {guessed} guesses were right")
    assert guessed // 4 < right < guessed


class Foreseen:
    """A draft that knows the answers, and errs at every fifth token."""

    def __init__(self, answers: Items[Items[int]], most: int) -> None:
        self._answers = answers
        self._most = most
        self.states = 0

    def guess(self, grown: Items[Growth], states: Floats) -> list[tuple[int, ...]]:
        assert len(states) == sum(growth.size for growth in grown)
        self.states += len(states)
        return [self._behind(growth.sequence.tokens, min(self._most, growth.wanted)) for growth in grown]

    def _behind(self, tokens: list[int], count: int) -> tuple[int, ...]:
        length = len(tokens)
        for answer in self._answers:
            if [*answer[:length]] == tokens:
                known = answer[length : length + count]
                return tuple(token if (length + i) % 5 else 0 for i, token in enumerate(known))
        return ()


JSON = Grammar((Document('{"type": "object", "properties": {"answer": {"type": "integer"}}}'),))
THOUGHT = Thought(tokens=4, closing="</think>", ending="</think>")
REQUESTS = [
    (Prompt(chat("What is 12 + 30?")), Sampling(temperature=0.0)),
    (Prompt(chat("Tell me a story.")), Sampling(temperature=1.5, seed=11, max_tokens=70)),
    (Prompt(chat("What is 7 + 8?", think=True), stops=("7+8",)), Sampling(temperature=0.0, max_tokens=60)),
    (Prompt(chat("What is 9 + 9?", think=True), thought=THOUGHT), Sampling(temperature=0.0, max_tokens=40)),
    (Prompt(chat("What is 3 + 4?"), grammar=JSON), Sampling(temperature=0.0, max_tokens=50)),
    (Prompt(chat("Sort: 5, 3, 9, 1")), Sampling(temperature=0.8, seed=3, presence_penalty=0.5, logprobs=2)),
]


@pytest.mark.parametrize("most", [1, 3])
@pytest.mark.parametrize("pages", [None, 14])
def test_any_draft_leaves_answers_as_they_are(model: OpenModel, most: int, pages: int | None) -> None:
    """Together, in fewer steps, with stops, formats and limits, and while pages run out and texts are read again."""
    model = replace(model, pages=pages or model.pages)
    plain = [Desk(Jobs(model)).ask(prompt, sampling) for prompt, sampling in REQUESTS]
    watch, draft = Watched(model.executor), Foreseen([heard.done.context for heard in plain], most)
    desk = Desk(Jobs(replace(model, executor=watch), draft=draft))
    together = [desk.add(prompt, sampling) for prompt, sampling in REQUESTS]
    desk.drain()
    for ours, theirs in zip(together, plain, strict=True):
        assert (ours.text, ours.logprobs, ours.done.reason) == (theirs.text, theirs.logprobs, theirs.done.reason)
        assert ours.done.context == theirs.done.context
    assert sum(heard.done.right for heard in together) < sum(heard.done.guessed for heard in together)
    scheduler = desk.jobs.scheduler
    assert scheduler.pool.free + scheduler.prefixes.evictable == scheduler.pool.count
    longest = max(heard.done.output_tokens for heard in plain)
    assert pages or len(watch.batches) < longest * (0.8 if most == 1 else 0.6)


def test_what_was_answered_with_guesses_is_cached(model: OpenModel) -> None:
    """The pages that right guesses filled too: the next turn of a chat goes on from them."""
    prompt = chat("Tell me a story.")
    story = Sampling(temperature=1.5, seed=11, max_tokens=70)
    told = Desk(Jobs(model)).ask(prompt, story).done
    desk = Desk(Jobs(model, draft=Foreseen([told.context], 3)))
    desk.ask(prompt, story)
    again = desk.ask(Prompt(before=told.context, text=" more"), Sampling(temperature=0.0, max_tokens=1)).done
    assert again.cached_tokens == (len(told.context) - 1) // PAGE_TOKENS * PAGE_TOKENS


def test_no_guesses_are_made_for_more_answers_than_wanted(tmp_path: Path) -> None:
    """But the block has read them all: who is left alone is guessed for again, as well as ever."""
    path = written("glm4moe", copycat("glm4moe"), tmp_path / "model.gguf")
    loaded = opened(path)
    watch = Watched(loaded.executor)
    desk = Desk(Jobs(replace(loaded, executor=watch)))
    short = [desk.add(prompt, Sampling(temperature=0.0, max_tokens=10)) for prompt in PROMPTS[:2]]
    long = desk.add(PROMPTS[2], Sampling(temperature=0.0, max_tokens=40))
    desk.drain()
    assert all(heard.done.guessed == 0 for heard in short)
    assert long.done.right > long.done.guessed // 2 > 4
    assert sum(len(batch.tokens) for batch in watch.guesses) >= sum(
        len(heard.done.context) - 1 for heard in (long, *short)
    )


def test_the_stages_of_a_block() -> None:
    gguf = headers.nextn()
    spec = spec_for(gguf)
    combine, attention, ffn, head = spec.draft
    assert isinstance(combine, Combine) and isinstance(attention, MlaAttention)
    assert isinstance(ffn, MoeFfn) and isinstance(head, Head)
    assert (combine.table.name, head.norm and head.norm.name) == (
        "token_embd.weight",
        "blk.2.nextn.shared_head_norm.weight",
    )
    assert head.output and head.output.name == "output.weight"
    assert "blk.2.nextn.eh_proj.weight" in {tensor.name for tensor in check(spec, gguf, {F32})}
    for own in ("embed_tokens", "shared_head_head"):
        name = f"blk.2.nextn.{own}.weight"
        gguf.tensors[name] = replace(gguf.tensors["output.weight"], name=name)
    del gguf.tensors["blk.2.nextn.shared_head_norm.weight"]
    combine, _, _, head = spec_for(gguf).draft
    assert isinstance(combine, Combine) and combine.table.name == "blk.2.nextn.embed_tokens.weight"
    assert isinstance(head, Head) and head.output and head.output.name == "blk.2.nextn.shared_head_head.weight"
    assert head.norm and head.norm.name == "output_norm.weight"


@pytest.mark.parametrize("part", ["nextn.hnorm", "ffn_down_exps", "attn_output"])
def test_an_incomplete_block_is_left_out(part: str) -> None:
    gguf = headers.nextn()
    del gguf.tensors[f"blk.2.{part}.weight"]
    assert spec_for(gguf).draft == () and len(spec_for(gguf).stages) == 6


def test_the_block_takes_only_memory_that_nothing_else_wants() -> None:
    spec = spec_for(headers.nextn())
    sizes = {tensor.name: 1 << 30 for tensor in check(spec, headers.nextn(), {F32})}
    alone = replace(spec, draft=())
    needed = place(alone, sizes, Budget(1 << 50, "f16"), Wish()).bytes
    of_block = place(spec, sizes, Budget(1 << 50, "f16"), Wish()).bytes - needed
    assert of_block > 10 << 30
    assert draft_fits(spec, sizes, Budget(needed + of_block + (1 << 30), "f16"), Wish())
    assert not draft_fits(spec, sizes, Budget(needed + of_block, "f16"), Wish())
    assert not draft_fits(spec, sizes, Budget(1 << 30, "f16"), Wish())
    assert not draft_fits(spec, sizes, Budget(1 << 50, "f16", residence="streamed"), Wish())
    rows = {row.part: row.bytes for row in place(spec, sizes, Budget(1 << 50, "f16"), Wish()).rows}
    assert rows["NextN block"] >= 10 << 30
    assert "NextN block" not in {row.part for row in place(alone, sizes, Budget(1 << 50, "f16"), Wish()).rows}


class Spoiling(Watched):
    """Makes the first row of a step's logits useless, where there are two."""

    def forward(self, batch: Batch) -> tuple[Floats, Floats]:
        logits, states = super().forward(batch)
        if len(self.batches) == 3:
            assert len(logits) > 1
            logits[0] = np.nan
        return logits, states


def test_an_answer_that_fails_takes_no_other_with_it(tmp_path: Path) -> None:
    loaded = opened(written("glm4moe", copycat("glm4moe"), tmp_path / "model.gguf"), drafting=2)
    sampling = Sampling(temperature=0.0, max_tokens=30)
    alone = Desk(Jobs(loaded)).ask(PROMPTS[1], sampling)
    desk = Desk(Jobs(replace(loaded, executor=Spoiling(loaded.executor))))
    spoilt, other = desk.add(PROMPTS[0], sampling), desk.add(PROMPTS[1], sampling)
    desk.drain()
    assert spoilt.failed.kind == "engine"
    assert other.done.context == alone.done.context


@pytest.mark.parametrize("spare", [0, 64 << 20])
def test_a_card_holds_the_block_only_beside_all_of_the_model(
    spare: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card that is half of memory and just holds the model, or the block too."""
    path = written("glm4moe", made("glm4moe"), tmp_path / "model.gguf")
    load, plain = (
        Load((str(path),), devices=TORCH_CPU, context=64, cache_tokens=64, drafting=drafting) for drafting in (1, 0)
    )
    _, alone = open_model(plain, lambda done, total: None)
    needed = sum(row.bytes for row in alone.placement if row.device == TORCH_CPU) + RESERVE
    monkeypatch.setattr(loader, "available_memory", lambda: 2 * (needed + spare))
    model, loaded = open_model(load, lambda done, total: None)
    assert bool(model.spec.draft) == bool(spare)
    assert "routed experts" in " ".join(row.part for row in loaded.placement if row.device == TORCH_CPU)
    assert spare or loaded.placement == alone.placement
