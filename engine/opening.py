"""Opening: from a file that was read and checked to an executor with its cache."""

from dataclasses import dataclass, replace

from msgspec import structs

from ktd.engine import _core
from ktd.engine.check import check
from ktd.engine.executor import STEP_TOKENS, CpuExecutor, Executor, Progress, derived_bytes
from ktd.engine.gguf import Gguf, Tensor
from ktd.engine.messages import Load, Residence
from ktd.engine.placement import Budget, Placement, Wish, draft_fits, place
from ktd.engine.spec import ModelSpec

TYPES = frozenset(number for number, *_ in _core.tensor_types())


@dataclass(frozen=True, slots=True)
class Reading:
    """An open file as a model, and what was asked of it."""

    machine: _core.Machine
    gguf: Gguf
    spec: ModelSpec
    load: Load
    free: int  # bytes of main memory that may be taken
    progress: Progress

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Those of model and draft. Raises LoadRefused for the first that is missing or unknown."""
        return check(self.spec, self.gguf, TYPES)

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each tensor, by name."""
        return {tensor.name: tensor.nbytes for tensor in self.tensors}

    @property
    def wish(self) -> Wish:
        return Wish(self.load.context, self.load.cache_tokens, self.load.whole)

    @property
    def budget(self) -> Budget:
        derived = derived_bytes(self.spec, self.gguf)
        return Budget(self.free, self.load.cache_type, derived, residence=self.load.weights or self._residence())

    def without_draft(self) -> "Reading":
        return replace(self, spec=replace(self.spec, draft=()))

    def streamed(self) -> "Reading":
        return replace(self, load=structs.replace(self.load, weights="streamed"))

    def step_tokens(self, context: int, usual: int = STEP_TOKENS) -> int:
        """The most of one step; an encoder takes a text at once."""
        step = self.load.step_tokens or usual
        return step if self.spec.generates else max(step, context)

    def _residence(self) -> Residence:
        """Mapping costs nothing, but is slow to read from where the kernel does not map files in huge pages."""
        return "mapped" if all(map(_core.maps_huge, self.load.files)) else "read"


@dataclass(frozen=True, slots=True)
class Opened:
    spec: ModelSpec
    executor: Executor
    placement: Placement
    step_tokens: int


def on_cpu(reading: Reading) -> Opened:
    """All of it. Raises LoadRefused."""
    if reading.spec.draft and not draft_fits(reading.spec, reading.sizes, reading.budget, reading.wish):
        reading = reading.without_draft()
    spec, sizes, budget = reading.spec, reading.sizes, reading.budget
    largest = place(spec, sizes, budget, reading.wish)  # what is sure to be too large ends here
    step = reading.step_tokens(largest.context)
    executor = CpuExecutor(
        reading.machine, spec, reading.gguf, reading.tensors, largest.residence, step, reading.progress
    )
    budget = replace(budget, scratch=executor.scratch_bytes, residence=largest.residence)
    placement = place(spec, sizes, budget, reading.wish)
    if placement.residence != largest.residence:  # beside the scratch, memory does not hold the experts after all
        del executor
        return on_cpu(reading.streamed())
    executor.open_cache(placement.pages, reading.load.cache_type)
    return Opened(spec, executor, placement, step)
