"""The architectures ktd runs: GGUF's name of each, and the function that reads its spec."""

from collections.abc import Callable

from ktd.engine.errors import LoadRefused
from ktd.engine.gguf import Gguf
from ktd.engine.models import deepseek2, gemma, glm, gpt_oss, llama, phi3, qwen
from ktd.engine.spec import ModelSpec

SUPPORTED: dict[str, Callable[[Gguf], ModelSpec]] = {
    "deepseek2": deepseek2.spec,
    "gemma2": gemma.gemma2,
    "gemma3": gemma.gemma3,
    "glm4": glm.glm4,
    "glm4moe": glm.glm4moe,
    "gpt-oss": gpt_oss.spec,
    "llama": llama.spec,
    "phi3": phi3.spec,
    "qwen2": qwen.spec,
    "qwen2moe": qwen.spec,
    "qwen3": qwen.spec,
    "qwen3moe": qwen.qwen3moe,
}


def spec_for(gguf: Gguf) -> ModelSpec:
    """The model of a GGUF as stages. Raises GGUFError and LoadRefused."""
    read = SUPPORTED.get(gguf.architecture)
    if read is None:
        known = ", ".join(sorted(SUPPORTED))
        raise LoadRefused("unsupported", f"architecture {gguf.architecture!r} is not supported; supported are {known}")
    return read(gguf)
