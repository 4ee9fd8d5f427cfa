"""What a step must read and multiply, from shapes alone: the roofs that measured speeds are compared with."""

from collections.abc import Iterator, Mapping
from math import prod

from ktd.engine.spec import Embed, GqaAttention, Head, MlaAttention, ModelSpec, MoeFfn, Stage, Weight, weights


def weight_bytes(spec: ModelSpec, sizes: Mapping[str, int], tokens: int = 1) -> int:
    """Bytes of weights that a step of `tokens` reads: of the embedding their rows, of experts those that are chosen.

    Tokens are taken to choose experts evenly and independently of each other.
    """
    total = 0.0
    for stage in spec.stages:
        if isinstance(stage, Embed):
            total += tokens * sizes[stage.table.name] / stage.vocab
            continue
        total += sum(sizes[weight.name] * share for weight, share in _read(stage, tokens))
    return round(total)


def _read(stage: Stage, tokens: int) -> Iterator[tuple[Weight, float]]:
    """Each weight with the part of it that is read."""
    experts = {weight.name for weight in weights(stage.experts)} if isinstance(stage, MoeFfn) else set()
    chosen = 1.0
    if isinstance(stage, MoeFfn):
        chosen -= (1 - stage.router.used / stage.router.experts) ** tokens
    for weight in weights(stage):
        yield weight, chosen if weight.name in experts else 1.0


def products(spec: ModelSpec, ctx: int, logits: bool = True) -> int:
    """Multiplications for one token that sees `ctx` others: with weights, and with the KV cache."""
    total = 0
    for stage in spec.stages:
        if isinstance(stage, Embed) or (isinstance(stage, Head) and not logits):
            continue
        total += sum(_matrix(stage, weight) for weight in weights(stage)) + seen(stage, ctx)
    return total


def _matrix(stage: Stage, weight: Weight) -> int:
    size = prod(weight.shape)
    if len(weight.shape) < 2:
        return 0
    if isinstance(stage, MoeFfn) and weight in tuple(weights(stage.experts)):
        return size * stage.router.used // stage.router.experts
    return size


def seen(stage: Stage, ctx: int) -> int:
    """Multiplications of scores and mixed values: of latent attention absorbed, as single tokens are computed."""
    if isinstance(stage, MlaAttention):
        return stage.heads * (stage.cache_width + stage.kv_lora) * (ctx + 1)
    if isinstance(stage, GqaAttention):
        reach = min(ctx + 1, stage.window) if stage.window else ctx + 1
        return 2 * stage.heads * stage.head * reach
    return 0
