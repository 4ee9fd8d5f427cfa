"""Pipeline: stages in order, each on its device; the hidden state follows them from one to the next."""

from collections.abc import Mapping, Sequence

from ktd.engine.batch import Batch
from ktd.engine.executor import Floats
from ktd.engine.gpu.cache import layer_cache
from ktd.engine.gpu.cpu_layers import CpuLayers
from ktd.engine.gpu.device import Device
from ktd.engine.gpu.embed import Combination, Embedding
from ktd.engine.gpu.ffn import Dense, DeviceExperts, Experts, Moe
from ktd.engine.gpu.gqa import Gqa
from ktd.engine.gpu.head import LogitHead, PlainNorm
from ktd.engine.gpu.mla import Mla
from ktd.engine.gpu.step import step_on
from ktd.engine.messages import CacheType
from ktd.engine.placement import PAGE_TOKENS
from ktd.engine.seat import CPU, Seat
from ktd.engine.spec import Combine, DenseFfn, Embed, GqaAttention, Head, LayerNorm, MlaAttention, MoeFfn, Stage

First = Embedding | Combination
Between = PlainNorm | Mla | Gqa | Dense | Moe


class Pipeline:
    def __init__(
        self, stages: Sequence[Stage], seats: Sequence[Seat], devices: Mapping[str, Device], runtime: CpuLayers
    ) -> None:
        """`runtime` has the routed experts whose seats are on the CPU, in order."""
        self._all = devices
        self._devices = [devices[seat.device] for seat in seats]
        self._runtime = runtime
        first, *between, last = stages
        assert isinstance(last, Head), "stages end with a head"
        self._first = _first(first, self._devices[0])
        middle = zip(between, self._devices[1:-1], seats[1:-1], strict=True)
        self._between = [self._stage(stage, device, seat) for stage, device, seat in middle]
        self._last = LogitHead(last, self._devices[-1])

    def open_cache(self, pages: int, type: CacheType) -> None:
        """Pages of every attention stage, on its device."""
        for stage, device in zip(self._between, self._devices[1:-1], strict=True):
            if isinstance(stage, Mla | Gqa):
                stage.cache = None  # what it held is free first
                stage.cache = layer_cache(type, pages, PAGE_TOKENS, stage.cache_width, device.place)

    def run(self, batch: Batch, given: Floats | None = None) -> tuple[Floats, Floats]:
        """Logits [len(batch.rows), vocab] and states [len(batch.kept), dim]; only these come back from the devices.

        Stages that begin with Combine are given the states [n, dim] that they continue.
        """
        steps = {device.place: step_on(device.place, batch, PAGE_TOKENS, given) for device in set(self._devices)}
        hidden = self._first.run(steps[self._devices[0].place])
        for stage, device in zip(self._between, self._devices[1:-1], strict=True):
            hidden = stage.run(hidden.to(device.place), steps[device.place])
        place = self._devices[-1].place
        logits, states = self._last.run(hidden.to(place), steps[place])
        return logits.cpu().numpy(), states.cpu().numpy()

    def _stage(self, spec: Stage, device: Device, seat: Seat) -> Between:
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
                return Moe(spec, device, self._experts(spec, device, seat))
            case _:
                raise AssertionError(f"a {type(spec).__name__} cannot stand between embedding and head")

    def _experts(self, spec: MoeFfn, device: Device, seat: Seat) -> Experts:
        if seat.experts is None or seat.experts == CPU:
            return self._runtime.next_layer(device.place)
        return DeviceExperts(spec.experts, self._all[seat.experts])


def _first(spec: Stage, device: Device) -> First:
    match spec:
        case Embed():
            return Embedding(spec, device)
        case Combine():
            return Combination(spec, device)
        case _:
            raise AssertionError(f"a model cannot begin with a {type(spec).__name__}")
