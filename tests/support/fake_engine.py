"""An engine without a model: it answers what the test tells it to, when the test lets it."""

import asyncio
import struct
from collections.abc import AsyncGenerator, Callable, Sequence

from ktd.engine.client import JobFailed, LoadRefused, WorkerDied
from ktd.engine.messages import (
    Delta,
    Done,
    Embeddings,
    FinishReason,
    Load,
    Loaded,
    LoadProgress,
    Prompt,
    Sampling,
    TokenLogprob,
)


class FakeWorker:
    def __init__(self, engine: "FakeEngine", load: Load) -> None:
        self.loaded = Loaded("deepseek2", load.context or engine.context, 1000, 0, ())
        self.alive = True
        self.closed = False
        self._engine = engine
        self._ended = asyncio.Event()

    async def generate(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Delta | Done, None]:
        engine = self._engine
        engine.prompts.append(prompt)
        engine.samplings.append(sampling)
        engine.running += 1
        try:
            if len(await self.tokenize(prompt)) >= engine.longest:
                raise JobFailed("prompt_too_long", f"the prompt has {len(prompt.text)} tokens, more than it may have")
            if engine.failure is not None:
                raise engine.failure
            for number, text in enumerate(engine.answer):
                if number == engine.pause_at:
                    await self._paused()
                engine.produced += 1
                yield Delta(1, text, 1, tuple(engine.logprobs[number]) if engine.logprobs else ())
            count = len(engine.answer)
            yield Done(1, engine.reason, 10, 4, count, 5_000_000, 7_000_000, (1, 2, 3), engine.stop)
        finally:
            engine.running -= 1

    async def tokenize(self, prompt: Prompt, bos: bool = True) -> tuple[int, ...]:
        """One token a character, and BOS is 1."""
        return (*prompt.before, *([1] if bos and not prompt.before else []), *map(ord, prompt.text))

    async def detokenize(self, tokens: tuple[int, ...]) -> str:
        return "".join(map(chr, tokens))

    async def embed(self, prompts: Sequence[Prompt], truncate: bool = True, context: int | None = None) -> Embeddings:
        """(tokens, 4, 0, 0), or what the test says instead."""
        longest = self._engine.longest if context is None else min(context, self._engine.longest)
        counts = [len(await self.tokenize(prompt)) for prompt in prompts]
        if max(counts) > longest and not truncate:
            raise JobFailed("prompt_too_long", f"the prompt has {max(counts)} tokens, more than it may have")
        vectors = [self._engine.vector or (float(count), 4.0, 0.0, 0.0) for count in counts]
        packed = tuple(struct.pack(f"<{len(vector)}f", *vector) for vector in vectors)
        return Embeddings(1, packed, tuple(min(count, longest) for count in counts))

    async def _paused(self) -> None:
        waits = [asyncio.create_task(event.wait()) for event in (self._engine.go_on, self._ended)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not self.alive:
            raise WorkerDied("the engine worker was killed by SIGKILL")

    def die(self) -> None:
        self.alive = False
        self._ended.set()

    async def close(self) -> None:
        self.closed = True
        self.die()


class FakeEngine:
    """Loads wait for `may_load`; answers stop before piece `pause_at` until `go_on`."""

    def __init__(self) -> None:
        self.answer: list[str] = ["Hello", " world"]
        self.logprobs: list[Sequence[TokenLogprob]] = []  # told with each piece of the answer
        self.context = 2048
        self.vector: tuple[float, ...] = ()  # of every text
        self.longest = 1 << 40  # tokens of a prompt before it is refused
        self.reason: FinishReason = "stop"
        self.stop: str | None = None  # the stop string that ends answers
        self.pause_at: int | None = None
        self.go_on = asyncio.Event()
        self.may_load = asyncio.Event()
        self.may_load.set()
        self.progress_every = 0.0  # seconds, while a load waits; 0: only at its start
        self.refusals: list[LoadRefused] = []  # one per load, before loads succeed
        self.failure: JobFailed | None = None
        self.loads: list[Load] = []
        self.workers: list[FakeWorker] = []
        self.prompts: list[Prompt] = []
        self.samplings: list[Sampling] = []
        self.running = 0
        self.produced = 0  # pieces, of all answers
        self.loads_cancelled = 0

    async def load(self, load: Load, progress: Callable[[LoadProgress], None]) -> FakeWorker:
        self.loads.append(load)
        progress(LoadProgress(5, 10))
        try:
            while self.progress_every and not self.may_load.is_set():
                await asyncio.sleep(self.progress_every)
                progress(LoadProgress(5, 10))
            await self.may_load.wait()
        except asyncio.CancelledError:
            self.loads_cancelled += 1
            raise
        if self.refusals:
            raise self.refusals.pop(0)
        self.workers.append(FakeWorker(self, load))
        return self.workers[-1]
