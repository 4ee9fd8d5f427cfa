"""CpuLayers: the routed experts that stay on the CPU, one layer after the other."""

from collections.abc import Sequence

import torch

from ktd.engine import _core
from ktd.engine.executor import Progress, file_weights, populate
from ktd.engine.gguf import Gguf, Tensor
from ktd.engine.gpu.handover import CpuExperts, Mailbox
from ktd.engine.messages import Residence
from ktd.engine.seat import CPU, Seat
from ktd.engine.spec import MoeFfn, Stage, weights


class CpuLayers:
    def __init__(
        self,
        machine: _core.Machine,
        stages: Sequence[Stage],
        gguf: Gguf,
        tensors: Sequence[Tensor],
        seats: Sequence[Seat],
        residence: Residence,
        step_tokens: int,
        progress: Progress,
    ) -> None:
        """Read the weights of those whose seats are on the CPU."""
        self._layers = [
            stage
            for stage, seat in zip(stages, seats, strict=True)
            if isinstance(stage, MoeFfn) and seat.experts == CPU
        ]
        names = {weight.name for stage in self._layers for weight in weights(stage.experts)}
        held = file_weights(gguf, [tensor for tensor in tensors if tensor.name in names], residence)
        if residence != "streamed":
            populate(machine, held, held.bytes, progress)
        self.bytes = held.bytes
        self._runtime = _core.RoutedExperts(machine, held, self._layers, step_tokens, residence == "streamed")
        self._tokens = step_tokens
        self._taken = 0
        self._mailboxes: dict[tuple[torch.device, int, int], Mailbox] = {}

    @property
    def scratch_bytes(self) -> int:
        return self._runtime.scratch_bytes

    def next_layer(self, device: torch.device) -> CpuExperts:
        """The next of them, for a router on this device."""
        layer, self._taken = self._taken, self._taken + 1
        return CpuExperts(self._runtime, layer, self._mailbox(device, self._layers[layer]))

    def _mailbox(self, device: torch.device, stage: MoeFfn) -> Mailbox:
        """Layers of one device take turns with it."""
        dim, used = stage.norm.shape[0], stage.router.used
        if (device, dim, used) not in self._mailboxes:
            self._mailboxes[device, dim, used] = Mailbox(device, self._tokens, dim, used)
        return self._mailboxes[device, dim, used]
