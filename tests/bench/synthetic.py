"""Writes GGUF files of true shapes and mixed quants with random weights, for speed measurements.

    python tests/bench/synthetic.py v2-lite Q4_K_M out.gguf
    python tests/bench/synthetic.py v3 IQ1_S out.gguf --layers 5
    python tests/bench/synthetic.py qwen-0.5b Q8_0 out.gguf

The numbers are noise of the right size, so that activations stay finite and routing stays even; the answers are noise
too. The type mixes follow what llama.cpp's quantiser and Unsloth's dynamic quants give to the same tensors.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Q
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
TILE = 4099  # random blocks that a tensor repeats; a prime, so that rows differ


@dataclass(frozen=True, slots=True)
class Shape:
    """A DeepSeek model's dimensions; `q_lora` 0 means that q is one matrix.

    Without experts it is a Qwen2 model: `groups` of key heads, `nope` values a head, the head tied to the embedding.
    """

    dim: int
    layers: int
    dense: int
    dense_width: int
    experts: int
    used: int
    shared: int
    width: int
    heads: int
    q_lora: int
    vocab: int
    groups: int = 1
    groups_used: int = 1
    kv_lora: int = 512
    nope: int = 128
    rope: int = 64
    value: int = 128


SHAPES = {
    "v2-lite": Shape(2048, 27, 1, 10944, 64, 6, 2, 1408, 16, 0, 102400),
    "v3": Shape(7168, 61, 3, 18432, 256, 8, 1, 2048, 128, 1536, 129280, groups=8, groups_used=4),
    "qwen-0.5b": Shape(896, 24, 24, 4864, 0, 0, 0, 0, 14, 0, 151936, groups=2, nope=64),
}


def dynamic(experts: Q) -> dict[str, Q]:
    """Few bits for the routed experts, many for what every token reads."""
    return {
        "output": Q.Q6_K,
        "ffn_gate_exps": experts,
        "ffn_up_exps": experts,
        "ffn_down_exps": experts,
        "ffn_gate_shexp": Q.Q5_K,
        "ffn_up_shexp": Q.Q5_K,
        "ffn_down_shexp": Q.Q6_K,
        "ffn_down": Q.Q6_K,
        "attn_kv_a_mqa": Q.Q6_K,
        "*": Q.Q4_K,
    }


# tensor kind -> type; "*" for the rest
MIXES: dict[str, dict[str, Q]] = {
    "F16": {"*": Q.F16},
    "Q8_0": {"*": Q.Q8_0},
    "Q4_0": {"output": Q.Q6_K, "*": Q.Q4_0},
    "Q4_K_M": {"output": Q.Q6_K, "ffn_down": Q.Q6_K, "ffn_down_shexp": Q.Q6_K, "ffn_down_exps": Q.Q6_K, "*": Q.Q4_K},
    "Q2_K": {
        "token_embd": Q.Q4_K,
        "output": Q.Q6_K,
        "ffn_gate_exps": Q.Q2_K,
        "ffn_up_exps": Q.Q2_K,
        "ffn_down_exps": Q.Q2_K,
        "ffn_down": Q.Q6_K,
        "ffn_down_shexp": Q.Q6_K,
        "attn_kv_a_mqa": Q.Q6_K,
        "*": Q.Q4_K,
    },
    **{kind.name: dynamic(kind) for kind in (Q.IQ1_S, Q.IQ1_M, Q.IQ2_XXS, Q.IQ2_XS, Q.IQ2_S)},
    **{kind.name: dynamic(kind) for kind in (Q.IQ3_XXS, Q.IQ3_S, Q.IQ4_XS)},
}
# What the quantisers fall back to where a row is not whole blocks of 256.
FALLBACK = {Q.Q2_K: Q.Q4_0, Q.Q4_K: Q.Q5_0, Q.Q5_K: Q.Q5_1, Q.Q6_K: Q.Q8_0}
FALLBACK_OF_CODEBOOKS = Q.IQ4_NL

# Where a block keeps its half-precision scale, and for types with a minimum where that is and the mean it takes off.
SCALE_AT = {
    Q.Q4_0: 0, Q.Q4_1: 0, Q.Q5_0: 0, Q.Q5_1: 0, Q.Q8_0: 0, Q.IQ4_NL: 0,
    Q.Q2_K: 80, Q.Q3_K: 108, Q.Q4_K: 0, Q.Q5_K: 0, Q.Q6_K: 208,
    Q.IQ2_XXS: 0, Q.IQ2_XS: 0, Q.IQ2_S: 0, Q.IQ3_XXS: 0, Q.IQ3_S: 0, Q.IQ1_S: 0, Q.IQ4_XS: 0,
    Q.TQ1_0: 52, Q.TQ2_0: 64,
}  # fmt: skip
MINIMUM_AT = {Q.Q4_1: (2, -7.5), Q.Q5_1: (2, -15.5), Q.Q2_K: (82, 1.5), Q.Q4_K: (2, 7.5), Q.Q5_K: (2, 15.5)}


class Noise:
    """Random weights of any type, with standard deviation k^-1/2 for rows of k."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._tiles: dict[Q, tuple[Bytes, float]] = {}

    def floats(self, shape: tuple[int, ...], spread: float) -> NDArray[np.float32]:
        return (self._random.standard_normal(shape, np.float32) * np.float32(spread)).astype(np.float32)

    def blocks(self, kind: Q, rows: int, k: int) -> Bytes:
        """[rows, bytes of a row]"""
        tile, spread = self._tile(kind)
        tile = tile.copy()
        self._set_scale(tile, kind, k**-0.5 / spread)
        block, size = gguf.GGML_QUANT_SIZES[kind]
        count = rows * k // block
        return np.resize(tile, (count, size)).reshape(rows, -1)

    def _tile(self, kind: Q) -> tuple[Bytes, float]:
        """Random blocks, and the spread of their weights at scale one."""
        if kind not in self._tiles:
            tile = self._random.integers(0, 256, (TILE, gguf.GGML_QUANT_SIZES[kind][1]), dtype=np.uint8)
            self._set_scale(tile, kind, 1.0)
            self._tiles[kind] = tile, float(gguf.quants.dequantize(tile, kind).std())
        return self._tiles[kind]

    @staticmethod
    def _set_scale(tile: Bytes, kind: Q, scale: float) -> None:
        at = SCALE_AT[kind]
        tile[:, at : at + 2] = np.array([scale], np.float16).view(np.uint8)
        if kind in MINIMUM_AT:
            at, factor = MINIMUM_AT[kind]
            tile[:, at : at + 2] = np.array([scale * factor], np.float16).view(np.uint8)


def tensors(s: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(name, shape in numpy's order)"""
    yield "token_embd", (s.vocab, s.dim)
    for i in range(s.layers):
        at = f"blk.{i}."
        yield at + "attn_norm", (s.dim,)
        yield from _latent(at, s) if s.experts else _grouped(at, s)
        yield at + "ffn_norm", (s.dim,)
        if i < s.dense:
            yield from _gated(at, "", s.dim, s.dense_width)
        else:
            yield at + "ffn_gate_inp", (s.experts, s.dim)
            if s.groups > 1:
                yield at + "exp_probs_b.bias", (s.experts,)
            yield from _gated(at, "_exps", s.dim, s.width, s.experts)
            yield from _gated(at, "_shexp", s.dim, s.width * s.shared)
    yield "output_norm", (s.dim,)
    if s.experts:
        yield "output", (s.vocab, s.dim)


def _latent(at: str, s: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    head = s.nope + s.rope
    if s.q_lora:
        yield at + "attn_q_a", (s.q_lora, s.dim)
        yield at + "attn_q_a_norm", (s.q_lora,)
        yield at + "attn_q_b", (s.heads * head, s.q_lora)
    else:
        yield at + "attn_q", (s.heads * head, s.dim)
    yield at + "attn_kv_a_mqa", (s.kv_lora + s.rope, s.dim)
    yield at + "attn_kv_a_norm", (s.kv_lora,)
    yield at + "attn_k_b", (s.heads, s.kv_lora, s.nope)
    yield at + "attn_v_b", (s.heads, s.value, s.kv_lora)
    yield at + "attn_output", (s.dim, s.heads * s.value)


def _grouped(at: str, s: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield at + "attn_q", (s.heads * s.nope, s.dim)
    yield at + "attn_q.bias", (s.heads * s.nope,)
    for name in ("attn_k", "attn_v"):
        yield at + name, (s.groups * s.nope, s.dim)
        yield at + name + ".bias", (s.groups * s.nope,)
    yield at + "attn_output", (s.dim, s.heads * s.nope)


def _gated(at: str, suffix: str, dim: int, width: int, *experts: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield f"{at}ffn_gate{suffix}", (*experts, width, dim)
    yield f"{at}ffn_up{suffix}", (*experts, width, dim)
    yield f"{at}ffn_down{suffix}", (*experts, dim, width)


def type_of(name: str, k: int, mix: dict[str, Q]) -> Q:
    kind = name.split(".")[-1]
    if kind in ("attn_k_b", "attn_v_b"):
        return Q.F16 if mix["*"] == Q.F16 else Q.Q8_0
    wanted = mix.get(kind, mix["*"])
    return wanted if k % gguf.GGML_QUANT_SIZES[wanted][0] == 0 else FALLBACK.get(wanted, FALLBACK_OF_CODEBOOKS)


def metadata(w: gguf.GGUFWriter, s: Shape) -> None:
    w.add_block_count(s.layers)
    w.add_context_length(16384)
    w.add_embedding_length(s.dim)
    w.add_feed_forward_length(s.dense_width)
    w.add_head_count(s.heads)
    w.add_layer_norm_rms_eps(1e-6)
    w.add_rope_freq_base(10000.0)
    w.add_vocab_size(s.vocab)
    if s.experts:
        latent_metadata(w, s)
    else:
        w.add_head_count_kv(s.groups)
    vocabulary(w, s)


def latent_metadata(w: gguf.GGUFWriter, s: Shape) -> None:
    w.add_head_count_kv(1)
    w.add_key_length(s.kv_lora + s.rope)
    w.add_value_length(s.kv_lora)
    w.add_key_length_mla(s.nope + s.rope)
    w.add_value_length_mla(s.value)
    if s.q_lora:
        w.add_q_lora_rank(s.q_lora)
    w.add_kv_lora_rank(s.kv_lora)
    w.add_rope_dimension_count(s.rope)
    w.add_leading_dense_block_count(s.dense)
    w.add_expert_count(s.experts)
    w.add_expert_used_count(s.used)
    w.add_expert_shared_count(s.shared)
    w.add_expert_feed_forward_length(s.width)
    w.add_expert_weights_scale(2.5 if s.groups > 1 else 1.0)
    w.add_expert_weights_norm(s.groups > 1)
    w.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID if s.groups > 1 else gguf.ExpertGatingFuncType.SOFTMAX)
    if s.groups > 1:
        w.add_expert_group_count(s.groups)
        w.add_expert_group_used_count(s.groups_used)


def vocabulary(w: gguf.GGUFWriter, s: Shape) -> None:
    """The bytes, then tokens nobody will meet; a tokenizer that every reader accepts."""
    letters = [chr(c) for c in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324))]
    letters.append(letters[0] + letters[1])
    size = s.vocab
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("deepseek-llm" if s.experts else "qwen2")
    w.add_token_list(letters + [f"<w{i}>" for i in range(size - len(letters))])
    w.add_token_types([1] * len(letters) + [1] * (size - len(letters) - 2) + [3, 3])
    w.add_token_merges([f"{letters[0]} {letters[1]}"])
    w.add_bos_token_id(size - 2)
    w.add_eos_token_id(size - 1)
    w.add_add_bos_token(False)


def write(path: Path, shape: Shape, mix: dict[str, Q]) -> None:
    noise = Noise(seed=1)
    w = gguf.GGUFWriter(path, "deepseek2" if shape.experts else "qwen2")
    metadata(w, shape)
    plan = list(tensors(shape))
    for name, dims in plan:
        kind, full = _stored(name, dims, mix), name if name.endswith(".bias") else name + ".weight"
        block, size = gguf.GGML_QUANT_SIZES[kind]
        bytes_shape = (*dims[:-1], dims[-1] // block * size)
        is_float = kind in (Q.F32, Q.F16)
        dtype = np.dtype(np.float32 if kind == Q.F32 else np.float16 if kind == Q.F16 else np.uint8)
        count = int(np.prod(dims)) // block * size
        w.add_tensor_info(full, dims if is_float else bytes_shape, dtype, count, raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_ti_data_to_file()
    for name, dims in plan:
        w.write_tensor_data(_values(noise, name, dims, _stored(name, dims, mix)))
    w.close()


def _stored(name: str, dims: tuple[int, ...], mix: dict[str, Q]) -> Q:
    return Q.F32 if len(dims) == 1 or name.endswith("ffn_gate_inp") else type_of(name, dims[-1], mix)


def _values(noise: Noise, name: str, dims: tuple[int, ...], kind: Q) -> NDArray[np.generic]:
    if len(dims) == 1:
        return noise.floats(dims, 0.01) + np.float32(0.0 if name.endswith(".bias") else 1.0)
    if kind in (Q.F32, Q.F16):
        return noise.floats(dims, dims[-1] ** -0.5).astype(np.float32 if kind == Q.F32 else np.float16)
    return noise.blocks(kind, int(np.prod(dims[:-1])), dims[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("mix", choices=MIXES)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", type=int, help="all layers, dense ones included; default: the model's")
    parser.add_argument("--dense", type=int, help="leading dense layers; default: the model's")
    args = parser.parse_args()
    shape = SHAPES[args.shape]
    changes = {k: v for k in ("layers", "dense") if (v := getattr(args, k)) is not None}
    write(args.out, Shape(**({f: getattr(shape, f) for f in Shape.__dataclass_fields__} | changes)), MIXES[args.mix])
    print(args.out, f"{args.out.stat().st_size / 1e9:.2f} GB")


if __name__ == "__main__":
    main()
