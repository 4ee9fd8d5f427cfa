"""The architectures ktd runs: GGUF's name of each, and the function that reads its spec."""

from collections.abc import Callable

from ktd.engine.errors import LoadRefused
from ktd.engine.gguf import Gguf
from ktd.engine.models import deepseek2
from ktd.engine.spec import ModelSpec

SUPPORTED: dict[str, Callable[[Gguf], ModelSpec]] = {
    "deepseek2": deepseek2.spec,
}


def spec_for(gguf: Gguf) -> ModelSpec:
    """The model of a GGUF as stages. Raises GGUFError and LoadRefused."""
    read = SUPPORTED.get(gguf.architecture)
    if read is None:
        known = ", ".join(sorted(SUPPORTED))
        raise LoadRefused("unsupported", f"architecture {gguf.architecture!r} is not supported; supported are {known}")
    return read(gguf)
