"""A small DeepSeek-V3 whose matrices are all of one tensor type, of random blocks: every type there is has one."""

from collections.abc import Iterator
from pathlib import Path

import gguf_writer as raw
import numpy as np
from blocks import BY_NAME, Type, spread_rows

DIM = 256  # and the width of everything that is a row: a whole block of any type
VOCAB, HEADS, HEAD, ROPE, EXPERTS, USED = 96, 2, 128, 32, 8, 3
KEYS = {
    "block_count": 2,
    "context_length": 4096,
    "embedding_length": DIM,
    "feed_forward_length": DIM,
    "attention.head_count": HEADS,
    "attention.q_lora_rank": DIM,
    "attention.kv_lora_rank": DIM,
    "rope.dimension_count": ROPE,
    "leading_dense_block_count": 1,
    "expert_count": EXPERTS,
    "expert_used_count": USED,
    "expert_shared_count": 1,
    "expert_feed_forward_length": DIM,
    "expert_group_count": 4,
    "expert_group_used_count": 2,
    "expert_gating_func": 2,
}
WIDTHS = {
    "split": {
        "attention.key_length": DIM + ROPE,
        "attention.value_length": DIM,
        "attention.key_length_mla": HEAD + ROPE,
        "attention.value_length_mla": HEAD,
    },
    "kvb": {"attention.key_length": HEAD + ROPE, "attention.value_length": HEAD},
}


def write(path: Path, type: str, layout: str, seed: int = 5) -> Path:
    """`layout`: split has k_b and v_b, kvb has kv_b."""
    file = raw.RawGguf().key("general.architecture", raw.STRING, "deepseek2")
    for name, value in (KEYS | WIDTHS[layout]).items():
        file = file.key(f"deepseek2.{name}", raw.UINT32, value)
    file = file.key("deepseek2.attention.layer_norm_rms_epsilon", raw.FLOAT32, 1e-6)
    rng = np.random.default_rng(seed)
    return file.tensor(*(_tensor(name, shape, BY_NAME[type], rng) for name, shape in _shapes(layout))).write(path)


def _tensor(name: str, shape: tuple[int, ...], type: Type, rng: np.random.Generator) -> raw.RawTensor:
    if len(shape) == 1 or "ffn_gate_inp" in name:
        centre = 1.0 if "norm" in name else 0.0
        values = rng.normal(centre, 0.1 if len(shape) == 1 else DIM**-0.5, shape[::-1]).astype(np.float32)
        return raw.RawTensor(name, shape, BY_NAME["F32"].number, values.tobytes())
    fitting = type if shape[0] % type.block == 0 else BY_NAME["Q8_0"]
    rows = spread_rows(fitting, int(np.prod(shape[1:])), shape[0], rng, shape[0] ** -0.5)
    return raw.RawTensor(name, shape, fitting.number, rows.tobytes())


def _shapes(layout: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "token_embd.weight", (DIM, VOCAB)
    for layer in range(2):
        for name, shape in (_attention(layout) | (_moe() if layer else _gated(""))).items():
            yield f"blk.{layer}.{name}", shape
    yield "output_norm.weight", (DIM,)
    yield "output.weight", (DIM, VOCAB)


def _attention(layout: str) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "attn_norm.weight": (DIM,),
        "attn_q_a.weight": (DIM, DIM),
        "attn_q_a_norm.weight": (DIM,),
        "attn_q_b.weight": (DIM, HEADS * (HEAD + ROPE)),
        "attn_kv_a_mqa.weight": (DIM, DIM + ROPE),
        "attn_kv_a_norm.weight": (DIM,),
        "attn_output.weight": (HEADS * HEAD, DIM),
        "ffn_norm.weight": (DIM,),
    }
    if layout == "kvb":
        return shapes | {"attn_kv_b.weight": (DIM, HEADS * 2 * HEAD)}
    return shapes | {"attn_k_b.weight": (HEAD, DIM, HEADS), "attn_v_b.weight": (DIM, HEAD, HEADS)}


def _moe() -> dict[str, tuple[int, ...]]:
    routing: dict[str, tuple[int, ...]] = {"ffn_gate_inp.weight": (DIM, EXPERTS), "exp_probs_b.bias": (EXPERTS,)}
    return routing | _gated("_exps", EXPERTS) | _gated("_shexp")


def _gated(suffix: str, *experts: int) -> dict[str, tuple[int, ...]]:
    return {f"ffn_{part}{suffix}.weight": (DIM, DIM, *experts) for part in ("gate", "up", "down")}
