"""phi3: Phi-3, Phi-3.5 and Phi-4 (arXiv 2404.14219); q, k and v in one tensor, gate and up in another."""

from ktd.engine.models.decoder import decoder
from ktd.engine.models.family import Family
from ktd.engine.models.source import Source
from ktd.engine.spec import ModelSpec

PHI3 = Family(layout="halves", full_every=0)


def spec(source: Source) -> ModelSpec:
    return decoder(source, PHI3)
