"""Decoder: embedding, then attention and feed-forward in turn, then the head."""

import math
from collections.abc import Callable, Iterator

from ktd.engine.models import ffn, gqa, nextn
from ktd.engine.models.family import Family
from ktd.engine.models.pooling import pooling
from ktd.engine.models.source import Source
from ktd.engine.spec import Embed, Head, ModelSpec, Stage, Weight

Attention = Callable[[int], Stage]


def decoder(source: Source, family: Family) -> ModelSpec:
    """A model with grouped-query attention."""
    return assemble(source, family, gqa.reader(source, family))


def assemble(source: Source, family: Family, attention: Attention) -> ModelSpec:
    """A model with any attention, given by layer."""
    return ModelSpec(
        architecture=source.keys.architecture,
        dim=source.dim,
        vocab=source.vocab,
        context=source.keys.count("context_length"),
        stages=tuple(_stages(source, family, attention)),
        pooling=pooling(source.keys, "last"),
        draft=nextn.stages(source, family, attention),
    )


def _stages(source: Source, family: Family, attention: Attention) -> Iterator[Stage]:
    yield Embed(source.table, source.dim, source.vocab, math.sqrt(source.dim) if family.scaled_embedding else 1.0)
    for layer in range(source.layers):
        yield attention(layer)
        yield ffn.read(source, family, layer)
    yield Head(
        vocab=source.vocab,
        eps=source.eps,
        norm=Weight("output_norm.weight", (source.dim,)),
        output=source.output,
        norm_bias=Weight("output_norm.bias", (source.dim,)) if source.has("output_norm.bias") else None,
        softcap=source.keys.number("final_logit_softcapping", family.logits_cap, least=0.0, most=1e6),
    )
