"""Embedder: texts to vectors, by any model that is here."""

import math
import sys
import time
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from ktd.daemon.chat.chat import Terms
from ktd.daemon.errors import BadRequest
from ktd.daemon.host import ModelHost
from ktd.engine.client import JobFailed
from ktd.engine.messages import Prompt
from ktd.registry.record import ModelRecord


@dataclass(frozen=True, slots=True)
class Embedded:
    """`vectors` are little-endian float32, as the model pools them and of any length. Durations are nanoseconds."""

    vectors: tuple[bytes, ...]
    tokens: int  # of all texts together
    load_ns: int
    total_ns: int


class Embedder:
    def __init__(self, host: ModelHost) -> None:
        self._host = host

    async def embed(
        self,
        record: ModelRecord,
        prompts: Sequence[Prompt],
        terms: Terms,
        truncate: bool,
        context: int | None = None,
    ) -> Embedded:
        """One vector per prompt; with none of them the model is loaded. Long texts lose their end if `truncate`.

        `context` is how many tokens of each are read at most, however large the model's own context is.

        Raises DaemonError or EngineError.
        """
        began = time.monotonic_ns()
        async with self._host.lease(record, terms.context, terms.keep_alive) as worker:
            load_ns = time.monotonic_ns() - began
            try:
                found = await worker.embed(prompts, truncate, context) if prompts else None
            except JobFailed as error:
                if error.kind != "prompt_too_long":
                    raise
                raise BadRequest(f"the input length exceeds the context length: {error}") from error
        vectors, tokens = (found.vectors, sum(found.tokens)) if found else ((), 0)
        return Embedded(vectors, tokens, load_ns, time.monotonic_ns() - began)


def floats(vector: bytes) -> list[float]:
    """Raises BadRequest for one that JSON cannot hold."""
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    if not all(map(math.isfinite, numbers)):
        raise BadRequest("embedding contains NaN or Inf values")
    return numbers.tolist()


def unit(vector: bytes, dimensions: int | None = None) -> list[float]:
    """The vector, or its first `dimensions` elements, made as long as 1. Raises BadRequest."""
    numbers = floats(vector)
    if dimensions is not None and not 1 <= dimensions <= len(numbers):
        raise BadRequest(f"dimensions must be between 1 and {len(numbers)}, which is what the model has")
    kept = numbers[:dimensions]
    length = math.hypot(*kept)
    return [number / length for number in kept] if length else kept
