"""starcoder2: code in 600 languages (arXiv 2402.19173); LayerNorm, biases everywhere, plain blocks."""

from ktd.engine.models.decoder import decoder
from ktd.engine.models.family import Family
from ktd.engine.models.source import Source
from ktd.engine.spec import ModelSpec

STARCODER2 = Family(layout="halves", full_every=0, activation="gelu")


def spec(source: Source) -> ModelSpec:
    return decoder(source, STARCODER2)
