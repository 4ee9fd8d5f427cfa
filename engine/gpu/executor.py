"""TorchExecutor: a model whose stages compute on GPUs, its routed experts there or on the CPU."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ktd.engine import _core
from ktd.engine.batch import Batch
from ktd.engine.executor import STEP_TOKENS, Floats, Progress
from ktd.engine.gguf import Gguf
from ktd.engine.gguf import Tensor as Place
from ktd.engine.gpu.cache import layer_cache
from ktd.engine.gpu.cpu_layers import CpuLayers
from ktd.engine.gpu.device import Device
from ktd.engine.gpu.embed import Embedding
from ktd.engine.gpu.ffn import Dense, DeviceExperts, Experts, Moe
from ktd.engine.gpu.gqa import Gqa
from ktd.engine.gpu.head import LogitHead, PlainNorm
from ktd.engine.gpu.mla import Mla
from ktd.engine.gpu.places import products_on
from ktd.engine.gpu.step import step_on
from ktd.engine.gpu.stored import StoredWeights
from ktd.engine.messages import CacheType, Residence
from ktd.engine.placement import PAGE_TOKENS
from ktd.engine.seat import CPU, Seat
from ktd.engine.spec import DenseFfn, Embed, GqaAttention, Head, LayerNorm, MlaAttention, ModelSpec, MoeFfn

Between = PlainNorm | Mla | Gqa | Dense | Moe


class TorchExecutor:
    """Walks the stages in order; the hidden state follows them from device to device."""

    def __init__(
        self,
        machine: _core.Machine,
        spec: ModelSpec,
        gguf: Gguf,
        tensors: Sequence[Place],
        seats: Sequence[Seat],
        residence: Residence = "mapped",
        step_tokens: int = STEP_TOKENS,
        progress: Progress = lambda done, total: None,
    ) -> None:
        """Bring the weights to where the seats, one for each stage, say; a step has at most `step_tokens` tokens."""
        torch.set_num_threads(1)  # the cores are the runtime's: two teams that spin would starve each other
        self._runtime = CpuLayers(machine, spec, gguf, tensors, seats, residence, step_tokens, progress)
        stored = StoredWeights(gguf)
        self._devices = {name: Device(products_on(name), stored) for name in dict.fromkeys(s.device for s in seats)}
        first, *between, last = spec.stages
        assert isinstance(first, Embed) and isinstance(last, Head), "a model begins and ends with these"
        self._names = [seat.device for seat in seats]
        self._first = Embedding(first, self._devices[self._names[0]])
        self._between = [self._stage(stage, seat) for stage, seat in zip(between, seats[1:-1], strict=True)]
        self._last = LogitHead(last, self._devices[self._names[-1]])

    @property
    def scratch_bytes(self) -> int:
        """Of main memory."""
        return self._runtime.scratch_bytes

    def open_cache(self, pages: int, type: CacheType) -> None:
        """Pages of every attention stage, on its device."""
        for name, stage in zip(self._names[1:-1], self._between, strict=True):
            if isinstance(stage, Mla | Gqa):
                stage.cache = None  # what it held is free first
                place = self._devices[name].place
                stage.cache = layer_cache(type, pages, PAGE_TOKENS, stage.cache_width, place)

    @torch.inference_mode()
    def forward(self, batch: Batch) -> tuple[Floats, Floats]:
        """Only what was asked for comes back from the devices."""
        steps = {name: step_on(device.place, batch, PAGE_TOKENS) for name, device in self._devices.items()}
        hidden = self._first.run(steps[self._names[0]])
        for name, stage in zip(self._names[1:-1], self._between, strict=True):
            hidden = stage.run(self._on(name, hidden), steps[name])
        logits, states = self._last.run(self._on(self._names[-1], hidden), steps[self._names[-1]])
        return logits.cpu().numpy(), states.cpu().numpy()

    def _on(self, name: str, hidden: Tensor) -> Tensor:
        return hidden.to(self._devices[name].place)

    def _stage(self, spec: object, seat: Seat) -> Between:
        device = self._devices[seat.device]
        match spec:
            case LayerNorm():
                return PlainNorm(spec, device)
            case MlaAttention():
                return Mla(spec, device)
            case GqaAttention():
                return Gqa(spec, device)
            case DenseFfn():
                return Dense(spec, device)
            case MoeFfn():
                return Moe(spec, device, self._experts(spec, seat))
        raise AssertionError(f"a {type(spec).__name__} cannot stand between embedding and head")

    def _experts(self, spec: MoeFfn, seat: Seat) -> Experts:
        if seat.experts == CPU:
            return self._runtime.next_layer(self._devices[seat.device].place)
        assert seat.experts == seat.device, "routed experts are where their router is, or on the CPU"
        return DeviceExperts(spec.experts, self._devices[seat.device])
