"""The engine as the daemon needs it. `ktd.engine.client.EngineClient` is one; tests have a small fake."""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Protocol

from ktd.engine.messages import Delta, Done, Embeddings, Load, Loaded, LoadProgress, Prompt, Sampling


class Worker(Protocol):
    """One loaded model."""

    @property
    def loaded(self) -> Loaded: ...

    @property
    def alive(self) -> bool: ...

    def generate(self, prompt: Prompt, sampling: Sampling) -> AsyncGenerator[Delta | Done, None]:
        """The answer as it grows, then Done. Closing the generator cancels the job.

        Raises JobFailed; WorkerDied when the worker ends, whoever ended it.
        """

    async def tokenize(self, prompt: Prompt, bos: bool = True) -> tuple[int, ...]:
        """The tokens that a prompt is read as; `bos` False leaves out the one that the model wants first.

        Raises JobFailed, "prompt_too_long" when it is sure not to fit the context; WorkerDied.
        """

    async def detokenize(self, tokens: tuple[int, ...]) -> str:
        """The text of tokens, special ones included. Raises JobFailed or WorkerDied."""

    async def embed(self, prompts: Sequence[Prompt], truncate: bool = True, context: int | None = None) -> Embeddings:
        """A vector for each prompt, of which `context` tokens are read at most. Cancelling is felt by the worker.

        Raises JobFailed, "prompt_too_long" when one is and must not be truncated; WorkerDied.
        """

    async def close(self) -> None:
        """End the worker and wait until its memory is given back; a second call does nothing."""


class Engine(Protocol):
    async def load(self, load: Load, progress: Callable[[LoadProgress], None]) -> Worker:
        """Start a worker and load a model into it; cancelling ends the worker.

        Raises LoadRefused or WorkerDied.
        """
