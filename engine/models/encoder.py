"""Encoder: all tokens of a text see each other, each block's sum is normed, and the last states are pooled."""

from collections.abc import Iterator

from ktd.engine.models import ffn, gqa
from ktd.engine.models.family import Family
from ktd.engine.models.pooling import pooling
from ktd.engine.models.source import Source
from ktd.engine.spec import Embed, Head, LayerNorm, ModelSpec, Stage, Weight


def encoder(source: Source, family: Family) -> ModelSpec:
    return ModelSpec(
        architecture=source.keys.architecture,
        dim=source.dim,
        vocab=source.vocab,
        context=source.keys.count("context_length"),
        stages=tuple(_stages(source, family)),
        pooling=pooling(source.keys, "mean"),
    )


def _stages(source: Source, family: Family) -> Iterator[Stage]:
    attention = gqa.reader(source, family)
    yield _embed(source)
    yield _norm(source, "token_embd_norm")
    for layer in range(source.layers):
        yield attention(layer)
        yield _norm(source, f"blk.{layer}.attn_output_norm")
        yield ffn.read(source, family, layer)
        yield _norm(source, f"blk.{layer}.layer_output_norm")
    yield Head(source.vocab, source.eps, norm=None, output=None)


def _embed(source: Source) -> Embed:
    """Positions and types are optional: rope, or models of one type."""
    dim, keys = source.dim, source.keys
    positions = Weight("position_embd.weight", (dim, keys.count("context_length")))
    types = source.gguf.tensors.get("token_types.weight")
    return Embed(
        table=Weight("token_embd.weight", (dim, source.vocab)),
        dim=dim,
        vocab=source.vocab,
        positions=positions if source.has(positions.name) else None,
        types=None if types is None else Weight(types.name, (dim, types.shape[-1] if len(types.shape) > 1 else 1)),
    )


def _norm(source: Source, name: str) -> LayerNorm:
    shape = (source.dim,)
    return LayerNorm(source.eps, Weight(f"{name}.weight", shape), Weight(f"{name}.bias", shape))
