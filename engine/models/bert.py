"""bert: BERT's encoders, E5, BGE, GTE, MiniLM (arXiv 1810.04805). nomic-bert: with rope and gates (2402.01613)."""

from ktd.engine.models.encoder import encoder
from ktd.engine.models.family import Family
from ktd.engine.models.source import Source
from ktd.engine.spec import ModelSpec

BERT = Family(layout="halves", encoder=True, activation="erf_gelu")
NOMIC = Family(layout="halves", encoder=True)


def bert(source: Source) -> ModelSpec:
    return encoder(source, BERT)


def nomic(source: Source) -> ModelSpec:
    return encoder(source, NOMIC)
