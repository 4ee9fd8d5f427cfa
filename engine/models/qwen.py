"""qwen2, qwen3 and their mixtures of experts (arXiv 2407.10671, 2505.09388)."""

from dataclasses import replace

from ktd.engine.models.decoder import decoder
from ktd.engine.models.family import Family
from ktd.engine.models.source import Source
from ktd.engine.spec import ModelSpec

QWEN2 = Family(layout="halves")
QWEN3MOE = replace(QWEN2, always_normalised=True)


def spec(source: Source) -> ModelSpec:
    """Of qwen2, qwen2moe and qwen3: biases and norms show in the file."""
    return decoder(source, QWEN2)


def qwen3moe(source: Source) -> ModelSpec:
    return decoder(source, QWEN3MOE)
