"""Drives an executor step by step, without scheduler or tokenizer: what the numeric tests compare."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ktd.engine import _core
from ktd.engine.batch import Batch
from ktd.engine.check import check
from ktd.engine.executor import Executor
from ktd.engine.gguf import Gguf
from ktd.engine.messages import CacheType
from ktd.engine.models import spec_for
from ktd.engine.placement import PAGE_TOKENS
from ktd.engine.seat import CPU, TORCH_CPU, Seat
from ktd.engine.spec import Embed, ModelSpec, MoeFfn

PAGES = 256
STEP_TOKENS = 2048
NUMBERS = {number for number, *_ in _core.tensor_types()}


class Steps:
    """An executor with its cache. Pages are dealt out in a shuffled order, so that every page table is real."""

    def __init__(self, executor: Executor, generates: bool, page_tokens: int) -> None:
        self.generates = generates
        self._executor = executor
        self._page_tokens = page_tokens
        self._free = list(np.random.default_rng(3).permutation(PAGES))
        self._tables: dict[int, list[int]] = {}

    def step(self, parts: dict[int, tuple[list[int], int]]) -> dict[int, NDArray[np.float32]]:
        """One step: per sequence its next tokens and the position of the first. Returns logits for each of them.

        Of an encoder, which has none, states.
        """
        for sequence, (tokens, start) in parts.items():
            table = self._tables.setdefault(sequence, [])
            while len(table) * self._page_tokens < start + len(tokens):
                table.append(int(self._free.pop()))
        order = list(parts)
        widest = max(len(self._tables[s]) for s in order)
        every = np.arange(sum(len(parts[s][0]) for s in order), dtype=np.int32)
        batch = Batch(
            tokens=np.array([t for s in order for t in parts[s][0]], dtype=np.int32),
            positions=np.array([parts[s][1] + i for s in order for i in range(len(parts[s][0]))], dtype=np.int32),
            sequences=np.array([row for row, s in enumerate(order) for _ in parts[s][0]], dtype=np.int32),
            pages=np.array([self._tables[s] + [0] * (widest - len(self._tables[s])) for s in order], dtype=np.int32),
            rows=every if self.generates else every[:0],
            kept=every[:0] if self.generates else every,
        )
        outputs = self._executor.forward(batch)
        ends = np.cumsum([len(parts[s][0]) for s in order])[:-1]
        return dict(zip(order, np.split(outputs[0 if self.generates else 1], ends), strict=True))

    def read(self, tokens: list[int], sequence: int = 0) -> NDArray[np.float32]:
        return self.step({sequence: (tokens, 0)})[sequence]


class Stepper(Steps):
    """The CPU runtime."""

    def __init__(
        self, path: Path, *, cache: str = "f32", isa: str = "", threads: int = 0, page_tokens: int = 8
    ) -> None:
        with Gguf.open(path) as gguf:
            places = [(t.name, t.shard, t.offset, int(t.type), t.shape) for t in gguf.tensors.values()]
            spec = spec_for(gguf)
        self._machine = _core.Machine(threads, isa)
        self._weights = _core.Weights([str(path)], places)
        self._model = _core.Model(self._machine, self._weights, spec.stages, STEP_TOKENS)
        self._cache = _core.KvCache(self._model, PAGES, page_tokens, cache)
        super().__init__(self, spec.generates, page_tokens)

    def forward(self, batch: Batch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        places = (batch.tokens, batch.positions, batch.sequences, batch.pages)
        return self._model.forward(self._cache, *places, batch.rows, batch.kept)


class TorchStepper(Steps):
    """Every stage in torch, on its CPU device; with `hybrid`, embedding and routed experts in the CPU runtime."""

    def __init__(self, path: Path, *, cache: CacheType = "f32", hybrid: bool = False) -> None:
        from ktd.engine.gpu.executor import TorchExecutor

        with Gguf.open(path) as gguf:
            spec = spec_for(gguf)
            tensors = check(spec, gguf, NUMBERS)
            executor = TorchExecutor(
                _core.Machine(0), spec, gguf, tensors, seats(spec, hybrid), step_tokens=STEP_TOKENS
            )
            executor.open_cache(PAGES, cache)
        super().__init__(executor, spec.generates, PAGE_TOKENS)


def seats(spec: ModelSpec, hybrid: bool) -> list[Seat]:
    aside = CPU if hybrid else TORCH_CPU
    return [
        Seat(aside if isinstance(stage, Embed) else TORCH_CPU, aside if isinstance(stage, MoeFfn) else None)
        for stage in (*spec.stages, *spec.draft)
    ]
