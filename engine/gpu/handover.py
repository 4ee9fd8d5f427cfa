"""Handover: a layer's rows from a device to the CPU's experts and back, through memory that both reach."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ktd.engine import _core
from ktd.engine.gpu.ffn import Routed


class Mailbox:
    """Buffers for one layer at a time: pinned where the device is a GPU, so that copies run beside its work."""

    def __init__(self, device: torch.device, tokens: int, dim: int, used: int) -> None:
        pinned = device.type == "cuda"
        self._device = device
        self._sent = torch.cuda.Event() if pinned else None
        self.x = torch.empty(tokens, dim, pin_memory=pinned)
        self.ids = torch.empty(tokens, used, dtype=torch.int32, pin_memory=pinned)
        self.weights = torch.empty(tokens, used, pin_memory=pinned)
        self.out = torch.empty(tokens, dim, pin_memory=pinned)

    def send(self, x: Tensor, ids: Tensor, weights: Tensor) -> None:
        """Begin to copy x [n, dim], ids and weights [n, used]."""
        for box, value in ((self.x, x), (self.ids, ids), (self.weights, weights)):
            box[: len(value)].copy_(value, non_blocking=True)
        if self._sent is not None:
            self._sent.record()

    def wait(self) -> None:
        """Until all is here; spins, as the wait is a matter of microseconds."""
        if self._sent is not None:
            self._sent.synchronize()

    def answer(self, tokens: int) -> Tensor:
        """What was made of it [n, dim], on its way to the device; it is there before the next `send` is sent."""
        return self.out[:tokens].to(self._device, non_blocking=True, copy=True)


@dataclass(frozen=True, slots=True)
class CpuExperts:
    """The routed experts of a layer, in the CPU runtime."""

    runtime: _core.RoutedExperts
    layer: int  # as the runtime counts
    mailbox: Mailbox

    def start(self, x: Tensor, ids: Tensor, weights: Tensor) -> Routed:
        self.mailbox.send(x, ids, weights)
        return lambda: self._finish(len(x))

    def _finish(self, n: int) -> Tensor:
        box = self.mailbox
        box.wait()
        arrays = [tensor[:n].numpy() for tensor in (box.x, box.ids, box.weights, box.out)]
        self.runtime.run(self.layer, *arrays)
        return box.answer(n)
