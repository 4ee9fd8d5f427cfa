"""llama: Llama 1 to 3.3, Mistral, Mixtral, and whatever else was converted as one (arXiv 2407.21783, 2401.04088)."""

from ktd.engine.models.decoder import decoder
from ktd.engine.models.family import Family
from ktd.engine.models.source import Source
from ktd.engine.spec import ModelSpec

# The converter reorders the rows of q and k, so that pairs are neighbours.
LLAMA = Family(layout="adjacent", always_normalised=True)


def spec(source: Source) -> ModelSpec:
    return decoder(source, LLAMA)
