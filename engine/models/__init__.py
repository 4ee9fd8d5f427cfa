"""The architectures ktd runs: GGUF's name of each, and the function that reads its spec."""

from collections.abc import Callable

from ktd.engine.errors import LoadRefused
from ktd.engine.gguf import Gguf
from ktd.engine.models import bert, deepseek2, gemma, glm, gpt_oss, llama, phi3, qwen, starcoder2
from ktd.engine.models.keys import Keys
from ktd.engine.models.source import Source
from ktd.engine.spec import ModelSpec

SUPPORTED: dict[str, Callable[[Source], ModelSpec]] = {
    "bert": bert.bert,
    "deepseek2": deepseek2.spec,
    "gemma2": gemma.gemma2,
    "gemma3": gemma.gemma3,
    "glm4": glm.glm4,
    "glm4moe": glm.glm4moe,
    "gpt-oss": gpt_oss.spec,
    "llama": llama.spec,
    "nomic-bert": bert.nomic,
    "phi3": phi3.spec,
    "qwen2": qwen.spec,
    "qwen2moe": qwen.spec,
    "qwen3": qwen.spec,
    "qwen3moe": qwen.qwen3moe,
    "starcoder2": starcoder2.spec,
}


def spec_for(gguf: Gguf, context: int | None = None) -> ModelSpec:
    """The model of a GGUF as stages, for texts of up to `context` tokens; None: as long as it was trained for.

    Raises GGUFError and LoadRefused.
    """
    read = SUPPORTED.get(gguf.architecture)
    if read is None:
        known = ", ".join(sorted(SUPPORTED))
        raise LoadRefused("unsupported", f"architecture {gguf.architecture!r} is not supported; supported are {known}")
    return read(Source(gguf, Keys(gguf), context))
