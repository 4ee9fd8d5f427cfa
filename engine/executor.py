"""Executor: computes the steps of a model, on whatever devices it was placed."""

from collections.abc import Callable, Sequence, Set
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ktd.engine import _core
from ktd.engine.batch import Batch, Ints
from ktd.engine.gguf import Gguf, Tensor, TensorType
from ktd.engine.messages import Residence
from ktd.engine.placement import PAGE_TOKENS, routed_experts
from ktd.engine.spec import MlaAttention, ModelSpec

STEP_TOKENS = 2048  # most tokens of one step
POPULATE = 256 << 20  # bytes read between two words of progress
Progress = Callable[[int, int], None]
Floats = NDArray[np.float32]


class Executor(Protocol):
    def forward(self, batch: Batch) -> tuple[Floats, Floats]:
        """Logits [len(batch.rows), vocab] and states [len(batch.kept), dim]."""

    def guess(self, batch: Batch, states: Floats) -> Floats:
        """Logits [len(batch.rows), vocab] of the model's draft, where its spec has one.

        `states` [n, dim] are those of the tokens before the batch's, each at the position of its state.
        """


class CpuExecutor:
    """A whole model on the CPU: one call into the runtime per step."""

    def __init__(
        self,
        machine: _core.Machine,
        spec: ModelSpec,
        gguf: Gguf,
        tensors: Sequence[Tensor],
        residence: Residence = "mapped",
        step_tokens: int = STEP_TOKENS,
        progress: Progress = lambda done, total: None,
    ) -> None:
        """Read the weights, and make what is derived from them; a step has at most `step_tokens` tokens."""
        experts, others = parted(tensors, routed_experts(spec))
        streamed = residence == "streamed"
        held = file_weights(gguf, [*others, *experts], residence)
        wanted = sum(t.nbytes for t in others) if streamed else held.bytes  # before the first step
        populate(machine, held, wanted, progress)
        self._model = _core.Model(machine, held, spec.stages, step_tokens, streamed)
        self._draft = _core.Model(machine, held, spec.draft, step_tokens) if spec.draft else None
        self._cache: _core.KvCache | None = None
        self._draft_cache: _core.KvCache | None = None  # its pages go with those of the model's

    @property
    def scratch_bytes(self) -> int:
        return self._model.scratch_bytes + (self._draft.scratch_bytes if self._draft else 0)

    def open_cache(self, pages: int, type: str, filled: bool = False) -> None:
        """`filled`: with numbers that mean nothing, for measurements."""
        self._cache = self._draft_cache = None  # what they held is free first
        self._cache = _core.KvCache(self._model, pages, PAGE_TOKENS, type)
        if self._draft is not None:
            self._draft_cache = _core.KvCache(self._draft, pages, PAGE_TOKENS, type)
        if filled:
            self._cache.fill()

    def forward(self, batch: Batch) -> tuple[Floats, Floats]:
        assert self._cache is not None, "open_cache comes first"
        return self._model.forward(self._cache, *_arrays(batch))

    def guess(self, batch: Batch, states: Floats) -> Floats:
        assert self._draft is not None and self._draft_cache is not None, "the spec has a draft"
        return self._draft.forward(self._draft_cache, *_arrays(batch), states)[0]


def _arrays(batch: Batch) -> tuple[Ints, Ints, Ints, Ints, Ints, Ints]:
    return batch.tokens, batch.positions, batch.sequences, batch.pages, batch.rows, batch.kept


def file_weights(gguf: Gguf, tensors: Sequence[Tensor], residence: Residence) -> _core.Weights:
    """Tensors of the open files for the runtime; none is read yet."""
    places = [(t.name, t.shard, t.offset, int(t.type), t.shape) for t in tensors]
    return _core.Weights([str(path) for path in gguf.paths], places, "read" if residence == "read" else "mapped")


def populate(machine: _core.Machine, weights: _core.Weights, total: int, progress: Progress) -> None:
    """Bring the first `total` bytes into memory."""
    for begin in range(0, total, POPULATE):
        length = min(POPULATE, total - begin)
        weights.populate(machine, begin, length)
        progress(begin + length, total)


def parted(tensors: Sequence[Tensor], names: Set[str]) -> tuple[list[Tensor], list[Tensor]]:
    """Those of these names, and the others."""
    return [t for t in tensors if t.name in names], [t for t in tensors if t.name not in names]


def derived_bytes(spec: ModelSpec, gguf: Gguf) -> int:
    """Bytes of the weights that CpuExecutor makes: keys of latent attention, turned to the form a file lacks."""
    stages = (*spec.stages, *spec.draft)
    return sum(_turned_keys(stage, gguf) for stage in stages if isinstance(stage, MlaAttention))


def _turned_keys(stage: MlaAttention, gguf: Gguf) -> int:
    """Floats stay what they are; quantised weights become Q8_0, or F16 where rows are not whole blocks."""
    stored, row = (stage.k_b, stage.kv_lora) if stage.k_b is not None else (stage.kv_b, stage.nope)
    assert stored is not None, "the spec has one of the two"
    values = stage.heads * stage.nope * stage.kv_lora
    match gguf.tensors[stored.name].type:
        case TensorType.F32:
            return 4 * values
        case TensorType.F16 | TensorType.BF16:
            return 2 * values
        case _:
            return values // 32 * 34 if row % 32 == 0 else 2 * values
