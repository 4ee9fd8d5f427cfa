"""Requests through tokenizer, scheduler, runtime and sampler, in this process."""

from dataclasses import replace

import numpy as np
import pytest
from answers import GREEDY, Desk, Heard, chat, watched
from msgspec import structs

from ktd.engine.jobs import Jobs
from ktd.engine.loader import OpenModel
from ktd.engine.messages import Detokenize, Failed, FailureKind, Prompt, Sampling, Text, Tokenize, Tokens
from ktd.engine.placement import PAGE_TOKENS

QUESTIONS = [
    "What is 12 + 30?",
    "Hello!",
    "What is the capital of France?",
    "Sort: 5, 3, 9, 1",
    "What color is the sky?",
]
LONG = chat("Please repeat: " + "one two three four five six seven eight nine ten " * 12)


@pytest.fixture
def desk(model: OpenModel) -> Desk:
    return watched(model)[0]


def nothing_left(desk: Desk) -> bool:
    """Idle, and every page is free or only remembered."""
    scheduler = desk.jobs.scheduler
    free = scheduler.pool.free + scheduler.prefixes.evictable
    return desk.jobs.idle and scheduler.idle and free == scheduler.pool.count


def test_a_greedy_answer(desk: Desk) -> None:
    heard = desk.ask(chat("What is 12 + 30?"))
    assert "42" in heard.text and heard.done.reason == "stop"
    assert heard.told == heard.done.output_tokens - 1  # the end of the sentence is a token without text
    assert heard.deltas > 1
    tokens = desk.jobs._model.tokenizer.encode(chat("What is 12 + 30?"))
    assert heard.done.prompt_tokens == len(tokens)
    assert heard.done.context[: len(tokens)] == tuple(tokens)
    assert len(heard.done.context) == len(tokens) + heard.done.output_tokens - 1
    assert heard.done.prompt_ns > 0 and heard.done.output_ns > 0
    assert nothing_left(desk)


def test_four_requests_share_steps(model: OpenModel) -> None:
    desk, watch = watched(model)
    heard = [desk.add(chat(question)) for question in QUESTIONS[:4]]
    desk.drain()
    longest = max(each.done.output_tokens for each in heard)
    assert max(len(batch.rows) for batch in watch.batches) == 4
    assert len(watch.batches) == longest  # the prompts were read in the first step, then each step was everyone's
    assert nothing_left(desk)


def test_answers_are_the_same_alone_and_together(desk: Desk, model: OpenModel) -> None:
    together = [desk.add(chat(question)) for question in QUESTIONS]
    desk.drain()
    for question, each in zip(QUESTIONS, together, strict=True):
        assert watched(model)[0].ask(chat(question)).text == each.text


def test_seeds_reproduce_alone_and_in_a_batch(desk: Desk, model: OpenModel) -> None:
    sampling = Sampling(temperature=1.5, top_k=0, top_p=1.0, seed=1234, max_tokens=40)
    alone = watched(model)[0].ask(chat("Tell me a story."), sampling)
    others = [desk.add(chat(question), replace_seed(sampling, n)) for n, question in enumerate(QUESTIONS)]
    batched = desk.add(chat("Tell me a story."), sampling)
    desk.drain()
    assert batched.text == alone.text
    assert len({heard.text for heard in others}) == len(others)
    other = watched(model)[0].ask(chat("Tell me a story."), replace_seed(sampling, 99))
    assert other.text != alone.text


def replace_seed(sampling: Sampling, seed: int | None) -> Sampling:
    return Sampling(temperature=sampling.temperature, top_k=0, top_p=1.0, seed=seed, max_tokens=sampling.max_tokens)


def test_without_a_seed_answers_differ(desk: Desk) -> None:
    hot = Sampling(temperature=3.0, top_k=0, top_p=1.0, max_tokens=30)
    assert len({desk.ask(chat("Tell me a story."), hot).text for _ in range(3)}) == 3


def test_negative_seeds_are_seeds(model: OpenModel) -> None:
    hot = Sampling(temperature=3.0, top_k=0, top_p=1.0, max_tokens=10, seed=-1)
    assert watched(model)[0].ask("a", hot).text == watched(model)[0].ask("a", hot).text


def test_penalties_count_prompt_and_answer(desk: Desk) -> None:
    prompt = chat("Tell me a story.")
    told = desk.ask(prompt, Sampling(temperature=0.0, max_tokens=30)).done
    barred = Sampling(temperature=0.0, presence_penalty=1000.0, repeat_last_n=-1, max_tokens=30)
    fresh = desk.ask(prompt, barred).done
    assert len(set(fresh.context)) >= len(set(told.context[: told.prompt_tokens])) + fresh.output_tokens - 1
    nobody = Sampling(temperature=0.0, presence_penalty=1000.0, repeat_last_n=0, max_tokens=30)
    assert desk.ask(prompt, nobody).done.context == told.context


def test_a_long_prompt_is_read_in_chunks_while_others_answer(model: OpenModel) -> None:
    watch = watched(model)[1]
    desk = Desk(Jobs(replace(model, executor=watch), step_tokens=64))
    short = desk.add(chat("Tell me a story."), GREEDY)
    desk.step()
    long = desk.add(LONG, Sampling(temperature=0.0, max_tokens=5))
    told = []
    while not long.text and long.end is None:
        before = short.deltas
        desk.step()
        told.append(short.deltas - before)
    assert len(told) > 2 and sum(told) >= len(told) - 1  # at most a token that is half a character says nothing
    assert all(len(batch.tokens) <= 64 for batch in watch.batches)
    desk.drain()
    assert long.text == watched(model)[0].ask(LONG, Sampling(temperature=0.0, max_tokens=5)).text


def test_cancel_frees_at_once(desk: Desk) -> None:
    running, waiting = desk.add(LONG), desk.add(LONG)
    desk.step()
    desk.step()
    desk.cancel(running)
    desk.cancel(waiting)
    assert running.done.reason == waiting.done.reason == "cancelled"
    assert nothing_left(desk)
    assert desk.jobs.cancel(77) == []


def test_a_prompt_longer_than_the_context_fails_with_both_figures(model: OpenModel) -> None:
    desk, watch = watched(model, context=64)
    heard = desk.add(LONG)
    tokens = len(model.tokenizer.encode(LONG))
    assert heard.failed.kind == "prompt_too_long"
    assert f"{tokens} tokens" in heard.failed.message and "64 tokens" in heard.failed.message
    huge = desk.add("x" * 10_000_000)
    assert huge.failed.kind == "prompt_too_long" and "64 tokens" in huge.failed.message
    assert not watch.batches and nothing_left(desk)


def test_an_answer_ends_with_the_context(model: OpenModel) -> None:
    prompt = chat("Tell me a story.")
    length = len(model.tokenizer.encode(prompt))
    heard = watched(model, context=length + 7)[0].ask(prompt)
    assert heard.done.reason == "length"
    assert heard.done.output_tokens == 7 and len(heard.done.context) == length + 7
    full = watched(model, context=length)[0].ask(prompt)
    assert full.failed.kind == "prompt_too_long"


def test_max_tokens(desk: Desk) -> None:
    whole = desk.ask(chat("Tell me a story."))
    part = desk.ask(chat("Tell me a story."), Sampling(temperature=0.0, max_tokens=5))
    assert part.done.reason == "length" and part.done.output_tokens == 5
    assert part.text and whole.text.startswith(part.text)
    none = desk.ask(chat("Tell me a story."), Sampling(temperature=0.0, max_tokens=0))
    assert none.done.reason == "length" and none.done.output_tokens == 0 and none.text == ""


def test_stop_strings_end_the_answer_and_are_not_part_of_it(desk: Desk) -> None:
    whole = desk.ask(chat("Tell me a story.")).text
    stop = whole[20:27]
    heard = desk.ask(Prompt(chat("Tell me a story."), stops=("never said", stop)))
    assert heard.text == whole[: whole.index(stop)]
    assert heard.done.reason == "stop"


def test_a_special_token_can_be_a_stop_and_a_marker(desk: Desk) -> None:
    prompt = chat("What is 12 + 30?", think=True)
    whole = desk.ask(prompt)
    assert "</think>" in whole.text
    cut = desk.ask(Prompt(prompt, stops=("</think>",)))
    assert cut.text == whole.text.split("</think>")[0] and cut.done.reason == "stop"
    ignored = desk.ask(Prompt(prompt, markers=("<no such token>",)))
    assert ignored.text == whole.text


def test_a_repeated_prompt_is_cached_and_the_answer_the_same(model: OpenModel) -> None:
    desk, watch = watched(model)
    first, again = desk.ask(LONG), desk.ask(LONG)
    length = first.done.prompt_tokens
    assert first.done.cached_tokens == 0
    assert again.done.cached_tokens == (length - 1) // PAGE_TOKENS * PAGE_TOKENS > 0
    assert again.done.prompt_tokens == length
    assert again.text == first.text
    assert sum(len(batch.tokens) for batch in watch.batches) == (
        2 * length - again.done.cached_tokens + first.done.output_tokens + again.done.output_tokens - 2
    )
    # Many tokens look back in each head's own space, few in the latent one: the same sums, in another order. Logits of
    # up to 13 stand 1e-4 apart for that; a token missing from the cache would show in their first digits.
    np.testing.assert_allclose(watch.logits[0], watch.logits[first.done.output_tokens], atol=0.001)


def test_a_second_turn_reads_only_what_is_new(desk: Desk) -> None:
    first = desk.ask(LONG)
    prompt = LONG + first.text + "<｜end▁of▁sentence｜><｜User｜>And now?<｜Assistant｜>"
    second = desk.ask(prompt, Sampling(temperature=0.0, max_tokens=3))
    assert second.done.cached_tokens >= first.done.prompt_tokens // PAGE_TOKENS * PAGE_TOKENS


def test_preemption_changes_no_answer(model: OpenModel) -> None:
    """Pages for about two of five stories: some start over, and say what they would have said."""
    story = [chat(f"Tell me a story about a {animal}.") for animal in ("cat", "dog", "fox", "bear", "lion")]
    free = [watched(model)[0].ask(prompt).text for prompt in story]
    desk, _ = watched(model, context=192, pages=192 // PAGE_TOKENS)
    scheduler, preempted = desk.jobs.scheduler, 0
    heard = [desk.add(prompt) for prompt in story]
    while not desk.jobs.idle:
        waiting = len(scheduler.waiting)
        desk.step()
        preempted += len(scheduler.waiting) > waiting
    assert preempted
    assert [each.text for each in heard] == free
    assert nothing_left(desk)


@pytest.mark.parametrize(
    ("sampling", "option"),
    [
        (Sampling(temperature=-1.0), "temperature"),
        (Sampling(temperature=float("nan")), "temperature"),
        (Sampling(top_k=-1), "top_k"),
        (Sampling(top_p=1.5), "top_p"),
        (Sampling(min_p=-0.1), "min_p"),
        (Sampling(repeat_penalty=0.0), "repeat_penalty"),
        (Sampling(repeat_last_n=-2), "repeat_last_n"),
        (Sampling(max_tokens=-1), "max_tokens"),
    ],
)
def test_impossible_options_are_named(desk: Desk, sampling: Sampling, option: str) -> None:
    failed = desk.add("a", sampling).failed
    expected: FailureKind = "bad_request"
    assert failed.kind == expected and option in failed.message
    assert nothing_left(desk)


def test_huge_counts_are_no_error(desk: Desk) -> None:
    sampling = Sampling(temperature=0.0, top_k=1 << 40, max_tokens=3)
    assert desk.ask("a", sampling).done.output_tokens == 3


def test_an_empty_prompt_is_begun_with_bos(desk: Desk) -> None:
    heard = desk.ask("", Sampling(temperature=0.0, max_tokens=3))
    assert heard.done.prompt_tokens == 1


def test_a_failing_step_fails_its_jobs_and_no_others(model: OpenModel, capsys: pytest.CaptureFixture[str]) -> None:
    desk, watch = watched(model)
    watch.fail = RuntimeError("a device is gone")
    heard: Heard = desk.ask(chat("Hello!"))
    assert heard.failed.kind == "engine" and "a device is gone" in heard.failed.message
    assert "RuntimeError" in capsys.readouterr().err
    assert nothing_left(desk)
    assert desk.ask(chat("Hello!")).done.reason == "stop"


def test_prompts_are_read_as_tokens_and_back(desk: Desk, model: OpenModel) -> None:
    text = chat("Hello — 12 + 30 = 42 ✓")
    found = desk.jobs.tokenize(Tokenize(7, Prompt(text)))
    assert found == Tokens(7, tuple(model.tokenizer.encode(text)))
    assert isinstance(found, Tokens)
    assert desk.jobs.detokenize(Detokenize(8, found.tokens)) == Text(8, text)
    plain = desk.jobs.tokenize(Tokenize(9, Prompt("42"), bos=False))
    assert isinstance(plain, Tokens) and model.tokenizer.bos not in plain.tokens
    assert desk.jobs.detokenize(Detokenize(1, ())) == Text(1, "")
    assert nothing_left(desk)


def test_half_characters_become_replacement_characters(desk: Desk) -> None:
    tokens = desk.jobs.tokenize(Tokenize(1, Prompt("\U0001f9ff"), bos=False))
    assert isinstance(tokens, Tokens) and len(tokens.tokens) > 1
    assert desk.jobs.detokenize(Detokenize(1, tokens.tokens[:-1])) == Text(1, "\ufffd")


@pytest.mark.parametrize("token", [-1, 2560, 1 << 40])
def test_tokens_outside_the_vocabulary_are_refused(desk: Desk, token: int) -> None:
    for refused in (
        desk.jobs.detokenize(Detokenize(1, (5, token))),
        desk.jobs.tokenize(Tokenize(1, Prompt("a", before=(token,)))),
        desk.ask(Prompt("a", before=(token,))).failed,
    ):
        assert isinstance(refused, Failed) and refused.kind == "bad_request"
        assert str(token) in refused.message and "2560" in refused.message


def test_a_text_sure_to_be_too_long_is_not_read(desk: Desk) -> None:
    refused = desk.jobs.tokenize(Tokenize(1, Prompt("x" * 10_000_000)))
    assert isinstance(refused, Failed) and refused.kind == "prompt_too_long"


def test_a_conversation_goes_on_from_its_tokens(desk: Desk, model: OpenModel) -> None:
    whole = chat("What is 12 + 30?")
    tokens = tuple(model.tokenizer.encode(whole))
    rest = whole[len(model.tokenizer.decode(tokens[:9])) :]
    begun = desk.ask(Prompt(rest, before=tokens[:9]))
    assert begun.text == desk.ask(whole).text
    assert begun.done.context[: len(tokens)] == tokens


def test_the_stop_that_ended_an_answer_is_named(desk: Desk) -> None:
    assert desk.ask(chat("What is 12 + 30?")).done.stop is None
    assert desk.ask(Prompt(chat("What is 12 + 30?"), stops=("x", " ="))).done.stop == " ="
    ended = desk.ask(Prompt(chat("What is 12 + 30?"), stops=("<｜end▁of▁sentence｜>",))).done
    assert (ended.reason, ended.stop) == ("stop", "<｜end▁of▁sentence｜>")


@pytest.mark.parametrize("keep", [0, 10, 10_000])
def test_an_answer_goes_on_beyond_the_context(model: OpenModel, keep: int) -> None:
    """When it is full the oldest half is forgotten: what follows is what follows the rest alone."""
    desk, context = watched(model, context=64)[0], 64
    endless = Sampling(temperature=0.0, logit_bias=tuple((end, -1e9) for end in model.tokenizer.ends))
    full = desk.ask("one two three", endless).done
    assert (full.reason, len(full.context)) == ("length", context)
    wanted = full.output_tokens + 10
    shifted = desk.ask("one two three", structs.replace(endless, shift=True, keep=keep, max_tokens=wanted)).done
    kept = min(keep, context // 2)
    rest = full.context[:kept] + full.context[(kept + context) // 2 :]
    again = desk.ask(Prompt("", before=rest), structs.replace(endless, max_tokens=10)).done
    assert shifted.context == again.context
    assert (shifted.output_tokens, shifted.prompt_tokens) == (wanted, full.prompt_tokens)
    for_long = desk.ask("one two three", structs.replace(endless, shift=True)).done
    assert (for_long.reason, for_long.output_tokens) == ("length", 10 * context)
    assert nothing_left(desk)
