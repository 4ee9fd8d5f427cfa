"""Asks engines: `Jobs` in this process, or a worker through its client."""

from dataclasses import dataclass, field, replace

import demo
import numpy as np
from numpy.typing import NDArray

from ktd.engine.batch import Batch
from ktd.engine.client import WorkerHandle
from ktd.engine.executor import Executor, Floats
from ktd.engine.jobs import Jobs
from ktd.engine.loader import OpenModel
from ktd.engine.messages import Delta, Done, Embed, Embeddings, Failed, Job, Prompt, Sampling, TokenLogprob

GREEDY = Sampling(temperature=0.0)


def chat(question: str, *, think: bool = False) -> str:
    """A rendered prompt of the demo model."""
    text: str = demo.script("gen").render(None, None, [], question, think_mode="on" if think else "off")
    return text


@dataclass
class Heard:
    """What was sent for one job."""

    text: str = ""
    told: int = 0
    deltas: int = 0
    logprobs: tuple[TokenLogprob, ...] = ()
    end: Done | Failed | Embeddings | None = None

    @property
    def done(self) -> Done:
        assert isinstance(self.end, Done), self.end
        return self.end

    @property
    def failed(self) -> Failed:
        assert isinstance(self.end, Failed), self.end
        return self.end

    @property
    def vectors(self) -> NDArray[np.float64]:
        """[texts, dim]"""
        assert isinstance(self.end, Embeddings), self.end
        return np.array([np.frombuffer(vector, "<f4") for vector in self.end.vectors], np.float64)

    def hear(self, record: Delta | Done | Failed | Embeddings) -> None:
        assert self.end is None, "nothing comes after the end"
        if isinstance(record, Delta):
            assert record.tokens and (record.text or record.logprobs)
            self.text += record.text
            self.logprobs += record.logprobs
            self.told += record.tokens
            self.deltas += 1
        else:
            self.end = record


@dataclass
class Desk:
    """`Jobs` with everything they send sorted by job."""

    jobs: Jobs
    heard: dict[int, Heard] = field(default_factory=dict)

    def add(self, text: str | Prompt, sampling: Sampling = GREEDY) -> Heard:
        prompt = Prompt(text) if isinstance(text, str) else text
        id = len(self.heard) + 1
        heard = self.heard[id] = Heard()
        self._hear(self.jobs.add(Job(id, prompt, sampling)))
        return heard

    def add_texts(self, *texts: str, truncate: bool = True) -> Heard:
        id = len(self.heard) + 1
        heard = self.heard[id] = Heard()
        self._hear(self.jobs.embed(Embed(id, tuple(map(Prompt, texts)), truncate)))
        return heard

    def embed(self, *texts: str) -> NDArray[np.float64]:
        heard = self.add_texts(*texts)
        self.drain()
        return heard.vectors

    def cancel(self, heard: Heard) -> None:
        self._hear(self.jobs.cancel(next(id for id, each in self.heard.items() if each is heard)))

    def step(self) -> None:
        self._hear(self.jobs.step())

    def drain(self) -> None:
        while not self.jobs.idle:
            self.step()

    def ask(self, text: str | Prompt, sampling: Sampling = GREEDY) -> Heard:
        heard = self.add(text, sampling)
        self.drain()
        return heard

    def _hear(self, records: list[Delta | Done | Failed | Embeddings]) -> None:
        for record in records:
            self.heard[record.id].hear(record)


class Watched:
    """An executor that keeps what went through it. `fail` makes its next step fail."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner
        self.batches: list[Batch] = []
        self.logits: list[NDArray[np.float32]] = []
        self.guesses: list[Batch] = []
        self.fail: Exception | None = None

    def forward(self, batch: Batch) -> tuple[Floats, Floats]:
        self.batches.append(batch)
        if self.fail is not None:
            error, self.fail = self.fail, None
            raise error
        logits, states = self._inner.forward(batch)
        self.logits.append(logits)
        return logits, states

    def guess(self, batch: Batch, states: Floats) -> Floats:
        self.guesses.append(batch)
        return self._inner.guess(batch, states)


def watched(model: OpenModel, *, context: int | None = None, pages: int | None = None) -> tuple[Desk, Watched]:
    """A desk over a model, with a smaller context or cache if asked for."""
    watch = Watched(model.executor)
    smaller = replace(model, executor=watch, context=context or model.context, pages=pages or model.pages)
    return Desk(Jobs(smaller)), watch


async def ask(worker: WorkerHandle, text: str | Prompt, sampling: Sampling = GREEDY) -> Heard:
    heard = Heard()
    async for record in worker.generate(Prompt(text) if isinstance(text, str) else text, sampling):
        heard.hear(record)
    return heard
