"""glm4: GLM-4-0414 and GLM-Z1. glm4moe: GLM-4.5 and later (arXiv 2508.06471)."""

from ktd.engine.models.decoder import decoder
from ktd.engine.models.family import Family
from ktd.engine.models.source import Source
from ktd.engine.spec import ModelSpec

GLM4 = Family(layout="adjacent")
GLM4MOE = Family(layout="halves", sigmoid=True)


def glm4(source: Source) -> ModelSpec:
    return decoder(source, GLM4)


def glm4moe(source: Source) -> ModelSpec:
    return decoder(source, GLM4MOE)
