"""TorchExecutor: a model whose stages compute on GPUs, its routed experts there or on the CPU."""

from collections.abc import Sequence

import torch

from ktd.engine import _core
from ktd.engine.batch import Batch
from ktd.engine.errors import DeviceLost
from ktd.engine.executor import STEP_TOKENS, Floats, Progress
from ktd.engine.gguf import Gguf, Tensor
from ktd.engine.gpu.cpu_layers import CpuLayers
from ktd.engine.gpu.device import Device
from ktd.engine.gpu.pipeline import Pipeline
from ktd.engine.gpu.places import products_on
from ktd.engine.gpu.stored import StoredWeights, Tally
from ktd.engine.messages import CacheType, Residence
from ktd.engine.seat import CPU, Seat
from ktd.engine.spec import ModelSpec


class TorchExecutor:
    """Everything but what the seats leave to the CPU runtime."""

    def __init__(
        self,
        machine: _core.Machine,
        spec: ModelSpec,
        gguf: Gguf,
        tensors: Sequence[Tensor],
        seats: Sequence[Seat],
        residence: Residence = "mapped",
        step_tokens: int = STEP_TOKENS,
        progress: Progress = lambda done, total: None,
    ) -> None:
        """Bring the weights to where the seats say, one for each stage of the model and then of its draft.

        A step has at most `step_tokens` tokens.
        """
        torch.set_num_threads(1)  # the cores are the runtime's: two teams that spin would starve each other
        stages, total = (*spec.stages, *spec.draft), sum(tensor.nbytes for tensor in tensors)
        self._runtime = CpuLayers(
            machine, stages, gguf, tensors, seats, residence, step_tokens, lambda done, _: progress(done, total)
        )
        stored = StoredWeights(gguf, Tally(self._runtime.bytes, total, progress))
        names = [seat.device for seat in seats] + [seat.experts for seat in seats if seat.experts not in (None, CPU)]
        devices = {name: Device(products_on(name), stored) for name in dict.fromkeys(filter(None, names))}
        count = len(spec.stages)
        self._model = Pipeline(spec.stages, seats[:count], devices, self._runtime)
        self._draft = Pipeline(spec.draft, seats[count:], devices, self._runtime) if spec.draft else None

    @property
    def scratch_bytes(self) -> int:
        """Of main memory."""
        return self._runtime.scratch_bytes

    def open_cache(self, pages: int, type: CacheType) -> None:
        self._model.open_cache(pages, type)
        if self._draft is not None:
            self._draft.open_cache(pages, type)

    def forward(self, batch: Batch) -> tuple[Floats, Floats]:
        return _run(self._model, batch)

    def guess(self, batch: Batch, states: Floats) -> Floats:
        assert self._draft is not None, "the spec has a draft"
        return _run(self._draft, batch, states)[0]


@torch.inference_mode()
def _run(pipeline: Pipeline, batch: Batch, given: Floats | None = None) -> tuple[Floats, Floats]:
    try:
        return pipeline.run(batch, given)
    except torch.OutOfMemoryError:
        raise  # it costs this step alone
    except torch.AcceleratorError as error:
        raise DeviceLost(f"a GPU faulted: {error}") from error
