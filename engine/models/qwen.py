"""qwen2, qwen3 and their mixtures of experts (arXiv 2407.10671, 2505.09388)."""

from dataclasses import replace

from ktd.engine.gguf import Gguf
from ktd.engine.models.decoder import decoder
from ktd.engine.models.family import Family
from ktd.engine.spec import ModelSpec

QWEN2 = Family(layout="halves")
QWEN3MOE = replace(QWEN2, always_normalised=True)


def spec(gguf: Gguf) -> ModelSpec:
    """Of qwen2, qwen2moe and qwen3: biases and norms show in the file."""
    return decoder(gguf, QWEN2)


def qwen3moe(gguf: Gguf) -> ModelSpec:
    return decoder(gguf, QWEN3MOE)
