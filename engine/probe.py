"""What this machine is, and which models fit it: `python -P -m ktd.engine.probe`, for `ktd doctor`.

Reads {"models": {name: [shards in order]}} from stdin and writes a Report as JSON. Of the models only headers are
read; each is judged as if it were alone.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ktd.engine import _core
from ktd.engine.bench import BANDWIDTH_BUFFER
from ktd.engine.check import check
from ktd.engine.errors import LoadRefused
from ktd.engine.executor import derived_bytes
from ktd.engine.gguf import Gguf, GGUFError
from ktd.engine.memory import available_memory
from ktd.engine.models import spec_for
from ktd.engine.placement import Budget, Wish, place
from ktd.engine.roofline import weight_bytes

CPUINFO = Path("/proc/cpuinfo")
NVIDIA = Path("/proc/driver/nvidia/gpus")  # one folder for each GPU, whoever uses them


class Ask(msgspec.Struct, frozen=True):
    models: dict[str, tuple[str, ...]] = {}


class Machine(msgspec.Struct, frozen=True):
    """Bytes, and bytes a second that all threads read together."""

    processor: str
    isa: str
    threads: int
    memory: int
    available: int
    bandwidth: float
    gpus: tuple[str, ...]


class Fit(msgspec.Struct, frozen=True):
    """`needs` is bytes in memory, `most` the tokens a second that no decoding can exceed, by what a token reads.

    A model that does not fit has the reason as its `problem`.
    """

    needs: int = 0
    context: int = 0
    on_disk: bool = False  # experts for which there is no memory
    most: float = 0.0
    problem: str = ""


class Report(msgspec.Struct, frozen=True):
    machine: Machine
    models: dict[str, Fit]


def report(ask: Ask) -> Report:
    """Raises EngineError where the processor is not enough."""
    here = _core.Machine(0)
    available = available_memory()
    bandwidth = here.read_bandwidth(min(BANDWIDTH_BUFFER, available // 4))
    machine = Machine(
        processor=_field(CPUINFO.read_text(), "model name"),
        isa=here.isa,
        threads=here.threads,
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        available=available,
        bandwidth=bandwidth,
        gpus=tuple(_field(path.read_text(), "Model") for path in sorted(NVIDIA.glob("*/information"))),
    )
    return Report(machine, {name: fit(files, available, bandwidth) for name, files in ask.models.items()})


def fit(files: Sequence[str], available: int, bandwidth: float) -> Fit:
    """How the model would lie in so much memory."""
    try:
        with Gguf.open(files) as gguf:
            spec = spec_for(gguf)
            tensors = check(spec, gguf, {number for number, *_ in _core.tensor_types()})
            sizes = {tensor.name: tensor.nbytes for tensor in tensors}
            placement = place(spec, sizes, Budget(available, "f16", derived_bytes(spec, gguf)), Wish())
    except (LoadRefused, GGUFError) as error:
        return Fit(problem=str(error))
    most = bandwidth / weight_bytes(spec, sizes)
    return Fit(placement.bytes, placement.context, placement.residence == "streamed", most)


def _field(text: str, name: str) -> str:
    """The value of the first `name: value` line; empty without one."""
    lines = (line.partition(":") for line in text.splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "")


def main() -> None:
    ask = msgspec.json.decode(sys.stdin.buffer.read(), type=Ask)
    try:
        sys.stdout.buffer.write(msgspec.json.encode(report(ask)))
    except _core.EngineError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
