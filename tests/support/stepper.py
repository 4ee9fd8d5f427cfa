"""Drives the CPU runtime step by step, without scheduler or tokenizer: what the numeric tests compare."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ktd.engine import _core
from ktd.engine.gguf import Gguf
from ktd.engine.models import spec_for


class Stepper:
    """A model with its cache. Pages are small and dealt out in a shuffled order, so that every page table is real."""

    def __init__(
        self, path: Path, *, cache: str = "f32", isa: str = "", threads: int = 0, page_tokens: int = 8
    ) -> None:
        with Gguf.open(path) as gguf:
            places = [(t.name, t.shard, t.offset, int(t.type), t.shape) for t in gguf.tensors.values()]
            spec = spec_for(gguf)
        self.generates = spec.generates
        self._machine = _core.Machine(threads, isa)
        self._weights = _core.Weights([str(path)], places)
        self._model = _core.Model(self._machine, self._weights, spec.stages, 2048)
        self._cache = _core.KvCache(self._model, 256, page_tokens, cache)
        self._free = list(np.random.default_rng(3).permutation(256))
        self._tables: dict[int, list[int]] = {}

    def step(self, parts: dict[int, tuple[list[int], int]]) -> dict[int, NDArray[np.float32]]:
        """One step: per sequence its next tokens and the position of the first. Returns logits for each of them.

        Of an encoder, which has none, states.
        """
        for sequence, (tokens, start) in parts.items():
            table = self._tables.setdefault(sequence, [])
            while len(table) * self._cache.page_tokens < start + len(tokens):
                table.append(int(self._free.pop()))
        order = list(parts)
        widest = max(len(self._tables[s]) for s in order)
        pages = np.array([self._tables[s] + [0] * (widest - len(self._tables[s])) for s in order], dtype=np.int32)
        every = np.arange(sum(len(parts[s][0]) for s in order), dtype=np.int32)
        outputs = self._model.forward(
            self._cache,
            np.array([t for s in order for t in parts[s][0]], dtype=np.int32),
            np.array([parts[s][1] + i for s in order for i in range(len(parts[s][0]))], dtype=np.int32),
            np.array([row for row, s in enumerate(order) for _ in parts[s][0]], dtype=np.int32),
            pages,
            every if self.generates else every[:0],
            every[:0] if self.generates else every,
        )
        ends = np.cumsum([len(parts[s][0]) for s in order])[:-1]
        return dict(zip(order, np.split(outputs[0 if self.generates else 1], ends), strict=True))

    def read(self, tokens: list[int], sequence: int = 0) -> NDArray[np.float32]:
        return self.step({sequence: (tokens, 0)})[sequence]
