"""Grouped-query attention, with whatever of it a file has."""

import math
from collections.abc import Callable

from ktd.engine.errors import LoadRefused
from ktd.engine.models import rotation
from ktd.engine.models.family import Family
from ktd.engine.models.source import Source
from ktd.engine.spec import GqaAttention, Rope, Weight

MOST_HEAD_WIDTH = 1 << 16  # far above any model; bounds what is computed before shapes are checked


def reader(source: Source, family: Family) -> Callable[[int], GqaAttention]:
    """What gives the attention of a layer; the rotations are computed once."""
    head = _head(source)
    everywhere = rotation.everywhere(source, family, head) if source.rotates else rotation.NONE
    windowed = everywhere if family.window_base is None else rotation.windowed(source, family, head)

    def read(layer: int) -> GqaAttention:
        window = _window(source, family, layer)
        return _attention(source, family, layer, windowed if window else everywhere, window)

    return read


def _attention(source: Source, family: Family, layer: int, rope: Rope, window: int) -> GqaAttention:
    heads, kv_heads, head, dim = _heads(source), _kv_heads(source), _head(source), source.dim
    q, k, v = _projections(source, layer, heads * head, kv_heads * head)
    return GqaAttention(
        heads=heads,
        kv_heads=kv_heads,
        head=head,
        rope=rope,
        scale=_scale(source, family, head),
        eps=source.eps,
        norm=None if family.encoder else source.weight(layer, "attn_norm.weight", dim),
        q=q,
        k=k,
        v=v,
        output=source.weight(layer, "attn_output.weight", heads * head, dim),
        norm_bias=source.optional(layer, "attn_norm.bias", dim),
        q_bias=source.optional(layer, "attn_q.bias", heads * head),
        k_bias=source.optional(layer, "attn_k.bias", kv_heads * head),
        v_bias=source.optional(layer, "attn_v.bias", kv_heads * head),
        q_norm=source.optional(layer, "attn_q_norm.weight", head),
        k_norm=source.optional(layer, "attn_k_norm.weight", head),
        output_bias=source.optional(layer, "attn_output.bias", dim),
        post_norm=_post_norm(source, layer),
        sinks=source.optional(layer, "attn_sinks.weight", heads),
        window=window,
        softcap=source.keys.number("attn_logit_softcapping", family.scores_cap, least=0.0, most=1e6),
        causal=not family.encoder,
    )


def _projections(source: Source, layer: int, queries: int, keys: int) -> tuple[Weight, Weight, Weight]:
    """q, k and v, each a tensor or the three in one."""
    dim, fused = source.dim, f"blk.{layer}.attn_qkv.weight"
    if source.in_block(layer, "attn_qkv.bias"):
        raise LoadRefused("unsupported", f"tensor 'blk.{layer}.attn_qkv.bias': fused biases are not supported")
    if source.has(fused):
        rows = queries + 2 * keys
        q, k = Weight(fused, (dim, queries), 0, rows), Weight(fused, (dim, keys), queries, rows)
        return q, k, Weight(fused, (dim, keys), queries + keys, rows)
    q, k = source.weight(layer, "attn_q.weight", dim, queries), source.weight(layer, "attn_k.weight", dim, keys)
    return q, k, source.weight(layer, "attn_v.weight", dim, keys)


def _post_norm(source: Source, layer: int) -> Weight | None:
    """In blocks without ffn_norm, post_attention_norm takes its place."""
    if not source.in_block(layer, "ffn_norm.weight"):
        return None
    return source.optional(layer, "post_attention_norm.weight", source.dim)


def _heads(source: Source) -> int:
    return source.keys.count("attention.head_count")


def _kv_heads(source: Source) -> int:
    heads = _heads(source)
    kv_heads = source.keys.count("attention.head_count_kv", heads)
    if heads % kv_heads:
        raise source.keys.refuse("attention.head_count_kv", f"{heads} heads cannot share {kv_heads} key heads")
    return kv_heads


def _head(source: Source) -> int:
    """Values of a head; keys and values are equally wide."""
    keys = source.keys
    head = keys.count("attention.key_length", max(1, source.dim // _heads(source)), most=MOST_HEAD_WIDTH)
    value = keys.count("attention.value_length", head)
    if value != head:
        raise keys.refuse("attention.value_length", f"values of {value} beside keys of {head} are not supported")
    return head


def _scale(source: Source, family: Family, head: int) -> float:
    wide = source.layers == family.wide_layers
    width = source.dim / _heads(source) if wide else head
    return source.keys.number("attention.scale", 0.0, least=0.0, most=1e6) or 1 / math.sqrt(width)


def _window(source: Source, family: Family, layer: int) -> int:
    """Tokens that a layer sees; 0: all."""
    if family.full_every and (layer + 1) % family.full_every == 0:
        return 0
    return source.keys.count("attention.sliding_window", 0, least=0)
