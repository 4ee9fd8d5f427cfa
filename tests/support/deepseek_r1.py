"""DeepSeek-R1's header: its true shapes, in the types that its published files of January 2025 have."""

import math
from pathlib import Path

from ktd.engine.gguf import Gguf, Metadata, Tensor, Value
from ktd.engine.gguf import TensorType as T
from ktd.engine.gguf.shard import Shard

LAYERS, DENSE = 61, 3
DIM, VOCAB, HEADS, LOW_Q, LATENT, ROPE, HEAD = 7168, 129280, 128, 1536, 512, 64, 128
KEYS: dict[str, Value] = {
    "general.architecture": "deepseek2",
    **{
        f"deepseek2.{name}": value
        for name, value in {
            "block_count": LAYERS,
            "context_length": 163840,
            "embedding_length": DIM,
            "feed_forward_length": 18432,
            "attention.head_count": HEADS,
            "attention.q_lora_rank": LOW_Q,
            "attention.kv_lora_rank": LATENT,
            "attention.key_length": HEAD + ROPE,
            "attention.value_length": HEAD,
            "attention.layer_norm_rms_epsilon": 1e-6,
            "rope.dimension_count": ROPE,
            "leading_dense_block_count": DENSE,
            "expert_count": 256,
            "expert_used_count": 8,
            "expert_shared_count": 1,
            "expert_feed_forward_length": 2048,
        }.items()
    },
}
# Gate and up of the experts; their down, of the first layers and of the others; gate and up of the shared expert.
MIXES = {
    "UD-IQ1_S": (T.IQ1_S, T.IQ2_XXS, 6, T.IQ1_S, T.Q5_K),
    "UD-Q2_K_XL": (T.Q2_K, T.Q3_K, 3, T.Q2_K, T.Q4_K),
}


def header(mix: str) -> Gguf:
    tensors = []
    for name, shape, type in _tensors(mix):
        tensors.append(Tensor(name, type, shape, 0, 0, type.size(math.prod(shape))))
    path = Path("r1.gguf")
    return Gguf([Shard(path, Metadata(path, dict(KEYS)), tuple(tensors), 0)])


def _tensors(mix: str) -> list[tuple[str, tuple[int, ...], T]]:
    top = [("token_embd", (DIM, VOCAB), T.Q4_K), ("output_norm", (DIM,), T.F32), ("output", (DIM, VOCAB), T.Q6_K)]
    blocks = [
        (f"blk.{layer}.{name}", shape, type)
        for layer in range(LAYERS)
        for name, shape, type in [*_attention(), *(_dense() if layer < DENSE else _moe(mix, layer))]
    ]
    return [
        (name if name.endswith(".bias") else f"{name}.weight", shape, type) for name, shape, type in [*top, *blocks]
    ]


def _attention() -> list[tuple[str, tuple[int, ...], T]]:
    return [
        ("attn_norm", (DIM,), T.F32),
        ("attn_q_a", (DIM, LOW_Q), T.Q4_K),
        ("attn_q_a_norm", (LOW_Q,), T.F32),
        ("attn_q_b", (LOW_Q, HEADS * (HEAD + ROPE)), T.Q4_K),
        ("attn_kv_a_mqa", (DIM, LATENT + ROPE), T.Q6_K),
        ("attn_kv_a_norm", (LATENT,), T.F32),
        ("attn_kv_b", (LATENT, HEADS * 2 * HEAD), T.Q6_K),
        ("attn_output", (HEADS * HEAD, DIM), T.Q4_K),
        ("ffn_norm", (DIM,), T.F32),
    ]


def _dense() -> list[tuple[str, tuple[int, ...], T]]:
    return [
        ("ffn_gate", (DIM, 18432), T.Q4_K),
        ("ffn_up", (DIM, 18432), T.Q4_K),
        ("ffn_down", (18432, DIM), T.Q6_K),
    ]


def _moe(mix: str, layer: int) -> list[tuple[str, tuple[int, ...], T]]:
    gate, first, layers, down, shared = MIXES[mix]
    return [
        ("ffn_gate_inp", (DIM, 256), T.F32),
        ("exp_probs_b.bias", (256,), T.F32),
        ("ffn_gate_exps", (DIM, 2048, 256), gate),
        ("ffn_up_exps", (DIM, 2048, 256), gate),
        ("ffn_down_exps", (2048, DIM, 256), first if layer < DENSE + layers else down),
        ("ffn_gate_shexp", (DIM, 2048), shared),
        ("ffn_up_shexp", (DIM, 2048), shared),
        ("ffn_down_shexp", (2048, DIM), T.Q6_K),
    ]
