"""The models of tiny_families as GGUF files, in the conventions of llama.cpp's converter."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import tiny_nextn
from gguf import GGMLQuantizationType as Type
from numpy.typing import NDArray
from tiny_families import Tiny, by_input, narrow
from transformers import PreTrainedModel

Array = NDArray[np.float32]

TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
BLOCK = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "self_attn.sinks": "attn_sinks",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
    "mlp.router": "ffn_gate_inp",
    "mlp.gate.e_score_correction_bias": "exp_probs_b.bias",
    "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
    **{f"mlp.shared_expert{s}.{part}_proj": f"ffn_{part}_shexp" for s in ("", "s") for part in ("gate", "up", "down")},
    "mlp.experts.down_proj": "ffn_down_exps",
}
# The norm that follows attention is one before the feed-forward block in some, after attention in others.
NORMS = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
GLM4_NORMS = {"post_self_attn_layernorm": "post_attention_norm", "post_mlp_layernorm": "post_ffw_norm"}
RENAMED = {
    "gemma2": BLOCK | NORMS,
    "gemma3": BLOCK | NORMS,
    "glm4": BLOCK | GLM4_NORMS,
    "glm4moe": BLOCK | NORMS,
    "gpt-oss": BLOCK | NORMS,
}


LETTERS = [*map(chr, range(97, 123)), "\u2581", "he", "\u2581h", "llo"]
TOKENS = ["<pad>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(96 - 3 - len(LETTERS))), *LETTERS]


CODE_SPECIALS = ["<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<file_sep>"]
CODE_TOKENS = [*CODE_SPECIALS, "\u0120", "\u010a", *map(chr, range(0x21, 0x78)), "##"]


def export(
    model: PreTrainedModel,
    tiny: Tiny,
    path: Path,
    type: Type = Type.F32,
    pooling: int | None = None,
    code: bool = False,
) -> Path:
    """Experts and matrices are stored in `type`; with `pooling` it is a model for embeddings, `code` fills in."""
    writer = gguf.GGUFWriter(path, tiny.architecture)
    if pooling is not None:
        writer.add_pooling_type(gguf.PoolingType(pooling))
        writer.add_add_eos_token(True)
    _write_metadata(writer, model.config, tiny)
    (write_code_tokenizer if code else write_tokenizer)(writer)
    for name, value, wide in _tensors(model, tiny):
        stored = Type.F32 if wide else type
        data = gguf.quantize(np.ascontiguousarray(value, dtype=np.float32), stored)
        writer.add_tensor(name, data, raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tensors(model: PreTrainedModel, tiny: Tiny) -> Iterator[tuple[str, Array, bool]]:
    """(GGUF name, values, whether it is F32 in every file)"""
    for name, tensor in model.state_dict().items():
        value = by_input(tensor.float().numpy(), tiny)
        wide = not narrow(name, value)
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        if tiny.classes.startswith("Gemma") and "norm" in name:
            value = value + 1
        for ours, part in _renamed(tiny_nextn.renamed(name, model.config), value, model.config, tiny):
            yield ours, part, wide
    yield from _extra(model.config, tiny)


def _renamed(name: str, value: Array, config: Any, tiny: Tiny) -> Iterator[tuple[str, Array]]:
    if name.startswith("blk."):
        yield name, value
        return
    layer = re.match(r"model\.layers\.(\d+)\.(.+)", name)
    if layer is None:
        stem, _, kind = name.rpartition(".")
        yield f"{TOP[stem]}.{kind}", value
        return
    block, part = f"blk.{layer[1]}.", layer[2]
    if part.startswith("mlp.experts.gate_up_proj"):
        yield from ((block + ours, half) for ours, half in _experts(part, value, tiny))
        return
    kind = "bias" if part.endswith("bias") else "weight"
    stem = part.removesuffix("." + kind).removesuffix("_bias")
    names = RENAMED.get(tiny.architecture, BLOCK)
    ours = names[part] if part in names else names[stem]
    if ours in ("attn_q", "attn_k") and tiny.architecture == "llama":
        value = _permuted(value, config.num_attention_heads if ours == "attn_q" else config.num_key_value_heads)
    if tiny.apart and ours == "ffn_down_exps":
        yield from ((f"{block}ffn_down.{e}.weight", value[e]) for e in range(len(value)))
        return
    if ours == "ffn_gate_inp_shexp":
        value = value.reshape(-1)
    yield block + (ours if ours.endswith(".bias") else f"{ours}.{kind}"), value


def _experts(part: str, value: Array, tiny: Tiny) -> Iterator[tuple[str, Array]]:
    """Gate and up: halves, or in gpt-oss every other row."""
    kind = "bias" if part.endswith("bias") else "weight"
    if tiny.merged:
        yield f"ffn_gate_up_exps.{kind}", value
        return
    half = value.shape[1] // 2
    if tiny.apart:
        for e in range(len(value)):
            yield f"ffn_gate.{e}.{kind}", value[e, :half]
            yield f"ffn_up.{e}.{kind}", value[e, half:]
        return
    turns = tiny.classes == "GptOss"
    yield f"ffn_gate_exps.{kind}", value[:, ::2] if turns else value[:, :half]
    yield f"ffn_up_exps.{kind}", value[:, 1::2] if turns else value[:, half:]


def _permuted(value: Array, heads: int) -> Array:
    """Rows of each head reordered so that the halves which make pairs become neighbours."""
    return value.reshape(heads, 2, -1, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)


def _extra(config: Any, tiny: Tiny) -> Iterator[tuple[str, Array, bool]]:
    rope = config.rope_parameters
    if rope.get("rope_type") == "llama3":
        yield "rope_freqs.weight", _llama3_factors(rope, config.hidden_size // config.num_attention_heads), True
    if rope.get("rope_type") == "longrope":
        for length in ("long", "short"):
            yield f"rope_factors_{length}.weight", np.array(rope[f"{length}_factor"], dtype=np.float32), True


def _llama3_factors(rope: dict[str, Any], head: int) -> Array:
    """How much longer than without scaling each wave is (Llama 3.1's reference code)."""
    wave = 2 * np.pi * rope["rope_theta"] ** (np.arange(0, head, 2) / head)
    turns = rope["original_max_position_embeddings"] / wave
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    smooth = np.clip((turns - low) / (high - low), 0, 1)
    return np.asarray(1 / ((1 - smooth) / factor + smooth), dtype=np.float32)


def _write_metadata(w: gguf.GGUFWriter, c: Any, tiny: Tiny) -> None:
    head = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    w.add_block_count(c.num_hidden_layers + tiny.nextn)
    if tiny.nextn:
        w.add_nextn_predict_layers(1)
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(c.num_key_value_heads)
    if hasattr(c, "rms_norm_eps"):
        w.add_layer_norm_rms_eps(c.rms_norm_eps)
    else:
        w.add_layer_norm_eps(c.norm_epsilon)
    if "head_dim" in tiny.config:
        w.add_key_length(head)
        w.add_value_length(head)
    if tiny.architecture in ("gemma2", "gemma3", "gpt-oss", "phi3", "starcoder2") and c.sliding_window:
        w.add_sliding_window(c.sliding_window)
    if tiny.architecture == "gemma2":
        w.add_attn_logit_softcapping(c.attn_logit_softcapping)
        w.add_final_logit_softcapping(c.final_logit_softcapping)
    _write_experts(w, c, tiny)
    _write_rope(w, c, tiny, head)


def write_tokenizer(w: gguf.GGUFWriter) -> None:
    """Of 96 tokens."""
    w.add_tokenizer_model("llama")
    w.add_token_list(TOKENS)
    w.add_token_scores([-float(number) for number in range(len(TOKENS))])
    w.add_token_types([3] * 3 + [6] * (len(TOKENS) - 3 - len(LETTERS)) + [1] * len(LETTERS))
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)


def write_code_tokenizer(w: gguf.GGUFWriter) -> None:
    """Of 96 tokens: StarCoder's special ones, and characters."""
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("starcoder")
    w.add_token_list(CODE_TOKENS)
    w.add_token_types([3] * len(CODE_SPECIALS) + [1] * (len(CODE_TOKENS) - len(CODE_SPECIALS)))
    w.add_token_merges(["# #"])
    w.add_bos_token_id(0)
    w.add_eos_token_id(0)
    w.add_add_bos_token(False)


def _write_experts(w: gguf.GGUFWriter, c: Any, tiny: Tiny) -> None:
    count = getattr(c, "num_experts", None) or getattr(c, "num_local_experts", None)
    if not count:
        return
    w.add_expert_count(count)
    w.add_expert_used_count(c.num_experts_per_tok)
    if tiny.classes != "Mixtral":
        w.add_expert_feed_forward_length(getattr(c, "moe_intermediate_size", c.intermediate_size))
    if tiny.architecture == "qwen2moe":
        w.add_expert_shared_feed_forward_length(c.shared_expert_intermediate_size)
    if tiny.architecture == "glm4moe":
        w.add_leading_dense_block_count(c.first_k_dense_replace)
        w.add_expert_shared_count(c.n_shared_experts)
        w.add_expert_weights_scale(c.routed_scaling_factor)
        w.add_expert_weights_norm(c.norm_topk_prob)
        w.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)


def _write_rope(w: gguf.GGUFWriter, c: Any, tiny: Tiny, head: int) -> None:
    rope = c.rope_parameters.get("full_attention", c.rope_parameters)
    w.add_rope_freq_base(rope["rope_theta"])
    w.add_rope_dimension_count(int(head * rope.get("partial_rotary_factor", 1)))
    match rope["rope_type"]:
        case "yarn":
            w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
            w.add_rope_scaling_factor(rope["factor"])
            w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        case "linear":
            w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
            w.add_rope_scaling_factor(rope["factor"])
        case "longrope":
            original = rope["original_max_position_embeddings"]
            extension = np.log(c.max_position_embeddings / original)
            w.add_rope_scaling_orig_ctx_len(original)
            w.add_rope_scaling_attn_factors(float(np.sqrt(1 + extension / np.log(original))))
