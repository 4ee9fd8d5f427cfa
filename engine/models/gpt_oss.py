"""gpt-oss: windows on every other layer, sinks, biases everywhere, experts in MXFP4 (arXiv 2508.10925)."""

from ktd.engine.models.decoder import decoder
from ktd.engine.models.family import Family
from ktd.engine.models.source import Source
from ktd.engine.spec import ModelSpec

GPT_OSS = Family(layout="halves", full_every=2, yarn_rounds=False, activation="clamped_silu", always_normalised=True)


def spec(source: Source) -> ModelSpec:
    return decoder(source, GPT_OSS)
