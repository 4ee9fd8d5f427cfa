"""Seat: which device computes a stage."""

from dataclasses import dataclass

CPU = "cpu"  # the CPU runtime
CUDA = "cuda"  # what the names of GPUs begin with
TORCH_CPU = "torch-cpu"  # torch on the CPU, in place of a GPU: for tests and for finding faults


@dataclass(frozen=True, slots=True)
class Seat:
    """The device of a stage; of a MoeFfn, that of all but its routed experts, and theirs.

    Devices are CPU, TORCH_CPU, and cuda:0, cuda:1, .. for GPUs.
    """

    device: str
    experts: str | None = None
