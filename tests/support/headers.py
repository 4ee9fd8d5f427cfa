"""GGUF headers made in memory: real `Gguf` objects whose tensors have shapes and no bytes."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ktd.engine.gguf import Gguf, Metadata, Tensor, TensorType, Value
from ktd.engine.gguf.shard import Shard

Shapes = Mapping[str, tuple[int, ...]]


def header(values: Mapping[str, Value], shapes: Shapes, type: TensorType = TensorType.F32) -> Gguf:
    path = Path("memory.gguf")
    tensors = tuple(Tensor(name, type, shape, 0, 0, type.size(math.prod(shape))) for name, shape in shapes.items())
    return Gguf([Shard(path, Metadata(path, dict(values)), tensors, 0)])


def deepseek2(*, changed: Mapping[str, Value | None] = {}, layout: str = "split", layers: int = 2) -> Gguf:
    """A two-layer model, dense then MoE; `changed` keys (without the prefix) replace or, with None, remove.

    `layout` split has k_b and v_b, kvb only kv_b, both what ik_llama.cpp's converter writes.
    """
    keys = BASE | (SPLIT if layout == "split" else OLD) | {"block_count": layers} | dict(changed)
    values: dict[str, Value] = {f"deepseek2.{key}": v for key, v in keys.items() if v is not None}
    return header({"general.architecture": "deepseek2", **values}, _shapes(keys, layout, layers))


def nextn() -> Gguf:
    """Two layers and a block that predicts the token after the next; it shares embedding and head."""
    gguf = deepseek2(layers=3)
    for part, shape in (("eh_proj", (128, 64)), ("enorm", (64,)), ("hnorm", (64,)), ("shared_head_norm", (64,))):
        name = f"blk.2.nextn.{part}.weight"
        gguf.tensors[name] = replace(gguf.tensors["output_norm.weight"], name=name, shape=shape)
    return gguf


BASE: dict[str, Value] = {
    "context_length": 256,
    "embedding_length": 64,
    "feed_forward_length": 96,
    "attention.head_count": 4,
    "attention.q_lora_rank": 48,
    "attention.kv_lora_rank": 32,
    "attention.layer_norm_rms_epsilon": 1e-6,
    "rope.dimension_count": 16,
    "leading_dense_block_count": 1,
    "expert_count": 8,
    "expert_used_count": 2,
    "expert_shared_count": 2,
    "expert_feed_forward_length": 24,
}
SPLIT: dict[str, Value] = {
    "attention.key_length": 48,
    "attention.value_length": 32,
    "attention.key_length_mla": 40,
    "attention.value_length_mla": 20,
}
OLD: dict[str, Value] = {"attention.key_length": 40, "attention.value_length": 20}
DIM, VOCAB, HEADS, KV, NOPE, ROPE, VALUE = 64, 96, 4, 32, 24, 16, 20


def _shapes(keys: Mapping[str, Value | None], layout: str, layers: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"token_embd.weight": (DIM, VOCAB), "output_norm.weight": (DIM,)}
    shapes["output.weight"] = (DIM, VOCAB)
    for layer in range(layers):
        parts = _attention(bool(keys["attention.q_lora_rank"]), layout)
        parts |= _dense() if layer < 1 else _moe(int(str(keys["expert_count"])))
        shapes |= {f"blk.{layer}.{name}": shape for name, shape in parts.items()}
    return shapes


def _attention(q_lora: bool, layout: str) -> dict[str, tuple[int, ...]]:
    heads = HEADS * (NOPE + ROPE)
    shapes: dict[str, tuple[int, ...]] = {
        "attn_norm.weight": (DIM,),
        "attn_kv_a_mqa.weight": (DIM, KV + ROPE),
        "attn_kv_a_norm.weight": (KV,),
        "attn_output.weight": (HEADS * VALUE, DIM),
    }
    if q_lora:
        shapes |= {"attn_q_a.weight": (DIM, 48), "attn_q_a_norm.weight": (48,), "attn_q_b.weight": (48, heads)}
    else:
        shapes |= {"attn_q.weight": (DIM, heads)}
    if layout == "split":
        shapes |= {"attn_k_b.weight": (NOPE, KV, HEADS), "attn_v_b.weight": (KV, VALUE, HEADS)}
    else:
        shapes |= {"attn_kv_b.weight": (KV, HEADS * (NOPE + VALUE))}
    if layout == "both":
        shapes |= {"attn_k_b.weight": (NOPE, KV * HEADS), "attn_v_b.weight": (KV, VALUE * HEADS)}
    return shapes


def _dense() -> dict[str, tuple[int, ...]]:
    return {"ffn_norm.weight": (DIM,)} | _gated("", 96)


def _moe(experts: int) -> dict[str, tuple[int, ...]]:
    return {
        "ffn_norm.weight": (DIM,),
        "ffn_gate_inp.weight": (DIM, experts),
        "exp_probs_b.bias": (experts,),
        **_gated("_exps", 24, experts),
        **_gated("_shexp", 48),
    }


def _gated(suffix: str, width: int, *experts: int) -> dict[str, tuple[int, ...]]:
    return {
        f"ffn_gate{suffix}.weight": (DIM, width, *experts),
        f"ffn_up{suffix}.weight": (DIM, width, *experts),
        f"ffn_down{suffix}.weight": (width, DIM, *experts),
    }
