"""Jobs: the requests of a worker, from prompt to the last word."""

import secrets
import time
import traceback
from collections.abc import Iterable
from collections.abc import Sequence as Items
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ktd.engine import _core
from ktd.engine.answer import Answer
from ktd.engine.budget import Budget
from ktd.engine.constraint import Constraint, Grammars
from ktd.engine.draft import Draft, Growth, NextN
from ktd.engine.embedder import Embedder
from ktd.engine.errors import DeviceLost, JobFailed
from ktd.engine.executor import Floats
from ktd.engine.loader import OpenModel
from ktd.engine.lookup import Lookup
from ktd.engine.messages import (
    Delta,
    Detokenize,
    Done,
    Embed,
    Embeddings,
    Failed,
    FailureKind,
    FinishReason,
    Job,
    Sampling,
    Text,
    Tokenize,
    Tokens,
)
from ktd.engine.pages import PagePool
from ktd.engine.placement import PAGE_TOKENS
from ktd.engine.reader import PromptReader
from ktd.engine.scheduler import Chunk, Scheduler, batch_of, states_by_chunk
from ktd.engine.sequence import Sequence

Record = Delta | Done | Embeddings | Failed
Logits = NDArray[np.float32]  # [vocab]

_MOST_TOP_K = (1 << 31) - 1
_SEEDS = 1 << 64
MOST_LOGPROBS = 20
MOST_SHIFTED = 10  # contexts of one answer that nothing else ends


@dataclass(slots=True, eq=False)
class Running:
    """One request. Times are of the monotonic clock."""

    id: int
    sequence: Sequence
    sampler: _core.Sampler
    answer: Answer
    limit: int  # tokens of the answer
    constraint: Constraint | None = None
    budget: Budget | None = None
    keep: int | None = None  # tokens that stay when the oldest make way; None: the answer ends with the context
    ended: bool = False  # its last record was made; what it holds goes back after the step
    told: int = 0  # tokens whose text was sent
    guessed: int = 0  # tokens that were computed before they were chosen
    right: int = 0  # those of them that were chosen
    began_ns: int | None = None  # its first step
    answered_ns: int | None = None  # its first token


class Jobs:
    """All calls come from one thread; each returns what is to be sent."""

    def __init__(self, model: OpenModel, step_tokens: int | None = None, draft: Draft | None = None) -> None:
        """`draft` takes the place of the model's own."""
        self._model = model
        self._grammars = Grammars(model.tokenizer)
        self._reader = PromptReader(model.tokenizer, model.context)
        self.scheduler = Scheduler(PagePool(model.pages, PAGE_TOKENS), step_tokens or model.step_tokens, model.parallel)
        self._embedder = Embedder(model.spec, self._reader, self.scheduler)
        self._draft = draft or _draft(model)
        self._running: dict[int, Running] = {}
        self._by_sequence: dict[Sequence, Running] = {}

    @property
    def idle(self) -> bool:
        return self.scheduler.idle

    def add(self, job: Job) -> list[Record]:
        try:
            running = self._start(job)
        except JobFailed as error:
            return [Failed(job.id, error.kind, str(error))]
        if not running.limit:
            return [_done(running, "length")]
        self._running[job.id] = self._by_sequence[running.sequence] = running
        self.scheduler.add(running.sequence)
        return []

    def embed(self, request: Embed) -> list[Record]:
        return [*self._embedder.add(request)]

    def tokenize(self, request: Tokenize) -> Tokens | Failed:
        """As a job would read it, but of any number of tokens that may come near the context."""
        try:
            return Tokens(request.id, tuple(self._reader.read(request.prompt, request.bos)))
        except JobFailed as error:
            return Failed(request.id, error.kind, str(error))

    def detokenize(self, request: Detokenize) -> Text | Failed:
        try:
            self._reader.check(request.tokens)
        except JobFailed as error:
            return Failed(request.id, error.kind, str(error))
        return Text(request.id, self._model.tokenizer.decode(request.tokens))

    def cancel(self, id: int) -> list[Record]:
        self._embedder.cancel(id)
        running = self._running.get(id)
        if running is None:
            return []
        records = self._finish(running, "cancelled")
        self._forget(running)
        return records

    def step(self) -> list[Record]:
        """Compute one step of everything that runs."""
        chunks = self.scheduler.plan()
        if not chunks:
            return []
        began = time.monotonic()
        try:
            logits, states = self._forward(chunks)
            records = self._answer(chunks, logits)
            self._guess(chunks, states)
        except DeviceLost:
            raise
        except Exception as error:  # whatever it was, the worker goes on without these jobs
            traceback.print_exc()
            failed = [self._fail(job, "engine", str(error)) for job in self._jobs(chunks)]
            self._forget_ended(chunks)
            return [*failed, *self._embedder.fail(chunks, str(error))]
        self.scheduler.computed(chunks, time.monotonic() - began)
        self._forget_ended(chunks)
        self._shift_full(chunks)
        return [*records, *self._embedder.computed(chunks, states)]

    def _jobs(self, chunks: Iterable[Chunk]) -> list[Running]:
        """Whose chunks they are; those of embeddings are nobody's."""
        return [self._by_sequence[chunk.sequence] for chunk in chunks if chunk.sequence in self._by_sequence]

    def _start(self, job: Job) -> Running:
        if job.id in self._running:
            raise JobFailed("bad_request", f"job {job.id} is already running")
        if not self._model.spec.generates:
            raise JobFailed("bad_request", f"a {self._model.spec.architecture} model embeds texts and generates none")
        tokens = self._reader.to_answer(job.prompt)
        self._reader.check([token for token, _ in job.sampling.logit_bias])
        sampler = _sampler(job.sampling)
        for token in tokens:
            sampler.accept(token)
        answer = Answer(self._model.tokenizer, job.prompt, job.sampling.logprobs)
        room = self._model.context * MOST_SHIFTED if job.sampling.shift else self._model.context - len(tokens)
        limits = (room, job.sampling.max_tokens, self._model.answer_tokens)
        grammar, thought = job.prompt.grammar, job.prompt.thought
        return Running(
            id=job.id,
            sequence=Sequence(tokens, len(tokens), followed=self._draft is not None),
            sampler=sampler,
            answer=answer,
            limit=min(limit for limit in limits if limit is not None),
            constraint=self._grammars.constraint(grammar) if grammar else None,
            budget=Budget(self._model.tokenizer, thought) if thought else None,
            keep=min(job.sampling.keep, self._model.context // 2) if job.sampling.shift else None,
        )

    def _forward(self, chunks: list[Chunk]) -> tuple[Floats, Floats]:
        now = time.monotonic_ns()
        for job in self._jobs(chunks):
            job.began_ns = job.began_ns or now
        return self._model.executor.forward(batch_of(chunks, PAGE_TOKENS))

    def _answer(self, chunks: list[Chunk], logits: Floats) -> list[Record]:
        """Choose the next tokens of all whose newest one was computed."""
        rows = iter(logits)
        records: list[Record] = []
        for chunk in chunks:
            if chunk.chooses:
                job = self._by_sequence[chunk.sequence]
                own = [next(rows) for _ in range(1 + len(chunk.guesses))]
                records += self._advance(job, chunk.guesses, own)
        return records

    def _advance(self, job: Running, guesses: Items[int], logits: Items[Logits]) -> list[Record]:
        """A token from the first logits, and one more behind each guess that was right."""
        records = self._choose(job, logits[0])
        for guess, row in zip(guesses, logits[1:], strict=True):
            job.guessed += 1
            if job.ended or job.sequence.tokens[-1] != guess:
                break
            job.right += 1
            records += self._choose(job, row)
        return records

    def _choose(self, job: Running, logits: Logits) -> list[Record]:
        """Choose the next token of an answer."""
        job.answered_ns = job.answered_ns or time.monotonic_ns()
        try:
            token, complete = _chosen(job, logits)
            text = job.answer.push(token, logits)
        except _core.EngineError as error:
            return [self._fail(job, "engine", str(error))]
        job.sampler.accept(token)
        job.sequence.tokens.append(token)
        if job.answer.stopped or complete:
            return self._finish(job, "stop", text)
        if job.answer.tokens == job.limit:
            return self._finish(job, "length", text)
        return _delta(job, text)

    def _guess(self, chunks: list[Chunk], states: Floats) -> None:
        """Let the draft see what is certain now. Where choosing failed, no next token is known."""
        if self._draft is None:
            return
        seen = [
            (chunk, rows[: chunk.reached - chunk.begin])
            for chunk, rows in zip(chunks, states_by_chunk(chunks, states), strict=True)
            if chunk.sequence.followed and len(chunk.sequence.tokens) > chunk.reached
        ]
        if not seen:
            return
        followed, certain = zip(*seen, strict=True)
        grown = [Growth(chunk.sequence, chunk.begin, chunk.reached, self._wanted(chunk)) for chunk in followed]
        for growth, guesses in zip(grown, self._draft.guess(grown, np.concatenate(certain)), strict=True):
            growth.sequence.guesses = guesses

    def _wanted(self, chunk: Chunk) -> int:
        """How many tokens the next step may choose beside one."""
        job = self._by_sequence[chunk.sequence]
        room = min(job.limit - job.answer.tokens, self._model.context - len(job.sequence.tokens))
        return 0 if job.ended or not chunk.last else room - 1

    def _finish(self, job: Running, reason: FinishReason, text: str = "") -> list[Record]:
        job.ended = True
        return [*_delta(job, text + job.answer.finish(), last=True), _done(job, reason)]

    def _fail(self, job: Running, kind: FailureKind, message: str) -> Failed:
        job.ended = True
        return Failed(job.id, kind, message)

    def _forget_ended(self, chunks: Iterable[Chunk]) -> None:
        for job in self._jobs(chunks):
            if job.ended:
                self._forget(job)

    def _shift_full(self, chunks: Iterable[Chunk]) -> None:
        """Where the context is full, let the oldest tokens go; what stays is read anew, at its new places."""
        for job in self._jobs(chunks):
            tokens = job.sequence.tokens
            if job.keep is not None and len(tokens) >= self._model.context:
                self.scheduler.remove(job.sequence)
                del tokens[job.keep : (job.keep + len(tokens)) // 2]
                self.scheduler.add(job.sequence)

    def _forget(self, job: Running) -> None:
        self.scheduler.remove(job.sequence)
        del self._running[job.id], self._by_sequence[job.sequence]


def _chosen(job: Running, logits: Logits) -> tuple[int, bool]:
    """The next token, and whether it makes the answer complete."""
    due = job.budget.due() if job.budget else None
    mask = job.constraint.mask() if job.constraint else None
    token = job.sampler.sample(logits, mask) if due is None else due
    if job.budget is not None:
        job.budget.accept(token)
    if job.constraint is None:
        return token, False
    job.constraint.accept(token)
    return token, job.constraint.complete


def _draft(model: OpenModel) -> Draft | None:
    block = NextN(model.executor, model.drafting) if model.spec.draft else None
    return Lookup(model.lookup, model.drafting, block) if model.lookup and model.drafting else block


def _sampler(sampling: Sampling) -> _core.Sampler:
    if sampling.max_tokens is not None and sampling.max_tokens < 0:
        raise JobFailed("bad_request", f"max_tokens {sampling.max_tokens} is negative")
    if not 0 <= (sampling.logprobs or 0) <= MOST_LOGPROBS:
        raise JobFailed("bad_request", f"logprobs {sampling.logprobs} is not between 0 and {MOST_LOGPROBS}")
    seed = secrets.randbelow(_SEEDS) if sampling.seed is None else sampling.seed % _SEEDS
    try:
        return _core.Sampler(
            temperature=sampling.temperature,
            top_k=min(sampling.top_k, _MOST_TOP_K),
            top_p=sampling.top_p,
            min_p=sampling.min_p,
            typical_p=sampling.typical_p,
            repeat_penalty=sampling.repeat_penalty,
            repeat_last_n=sampling.repeat_last_n,
            presence_penalty=sampling.presence_penalty,
            frequency_penalty=sampling.frequency_penalty,
            bias=sampling.logit_bias,
            seed=seed,
        )
    except (_core.EngineError, TypeError) as error:
        raise JobFailed("bad_request", str(error)) from error


def _delta(job: Running, text: str, last: bool = False) -> list[Record]:
    logprobs = job.answer.logprobs(text, last)
    if not text and not logprobs:
        return []
    told, job.told = job.told, job.answer.tokens
    return [Delta(job.id, text, job.told - told, logprobs)]


def _done(job: Running, reason: FinishReason) -> Done:
    now = time.monotonic_ns()
    answered = job.answered_ns or now
    tokens = job.sequence.tokens[:-1] if job.answer.ended else job.sequence.tokens
    return Done(
        id=job.id,
        reason=reason,
        prompt_tokens=job.sequence.prompt_tokens,
        cached_tokens=job.sequence.cached_tokens or 0,
        output_tokens=job.answer.tokens,
        prompt_ns=answered - (job.began_ns or now),
        output_ns=now - answered,
        context=tuple(tokens),
        stop=job.answer.stop,
        guessed=job.guessed,
        right=job.right,
    )
