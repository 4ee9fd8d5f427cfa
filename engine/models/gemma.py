"""gemma2, gemma3: windows, softcaps, norms on both sides (arXiv 2408.00118, 2503.19786). Text only."""

from ktd.engine.models.decoder import decoder
from ktd.engine.models.family import Family
from ktd.engine.models.source import Source
from ktd.engine.spec import ModelSpec

GEMMA2 = Family(
    layout="halves",
    full_every=2,
    wide_layers=46,  # 27B
    scores_cap=50.0,
    logits_cap=30.0,
    scaled_embedding=True,
    activation="gelu",
)
GEMMA3 = Family(
    layout="halves",
    full_every=6,
    window_base=10000.0,
    wide_layers=62,  # 27B
    scaled_embedding=True,
    activation="gelu",
)


def gemma2(source: Source) -> ModelSpec:
    return decoder(source, GEMMA2)


def gemma3(source: Source) -> ModelSpec:
    return decoder(source, GEMMA3)
