"""NextN: the block behind a model's own that predicts the token after the next (arXiv 2412.19437, section 2.2).

What it goes on from are the states after the model's last norm, as the implementation that came with DeepSeek-R1's
weights has it, and vLLM and SGLang.
"""

from collections.abc import Callable

from ktd.engine.models import ffn
from ktd.engine.models.family import Family
from ktd.engine.models.source import Source
from ktd.engine.spec import Combine, Head, Stage, Weight, weights


def stages(source: Source, family: Family, attention: Callable[[int], Stage]) -> tuple[Stage, ...]:
    """The first such block; none where the file has none, or not all of it."""
    layer = source.layers
    if not source.in_block(layer, "nextn.eh_proj.weight"):
        return ()
    block = (_combine(source, layer), attention(layer), ffn.read(source, family, layer), _head(source, layer))
    return block if all(source.has(weight.name) for weight in weights(block)) else ()


def _combine(source: Source, layer: int) -> Combine:
    """Embedding and head are the model's own in most files."""
    dim, shape = source.dim, source.table.shape
    return Combine(
        table=source.optional(layer, "nextn.embed_tokens.weight", *shape) or source.table,
        dim=dim,
        vocab=source.vocab,
        eps=source.eps,
        norm=source.weight(layer, "nextn.enorm.weight", dim),
        state_norm=source.weight(layer, "nextn.hnorm.weight", dim),
        project=source.weight(layer, "nextn.eh_proj.weight", 2 * dim, dim),
    )


def _head(source: Source, layer: int) -> Head:
    norm = source.optional(layer, "nextn.shared_head_norm.weight", source.dim)
    return Head(
        vocab=source.vocab,
        eps=source.eps,
        norm=norm or Weight("output_norm.weight", (source.dim,)),
        output=source.optional(layer, "nextn.shared_head_head.weight", *source.table.shape) or source.output,
    )
