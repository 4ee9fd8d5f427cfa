"""Small random DeepSeek models: made by transformers, exported to GGUF as llama.cpp's converter writes them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import tiny_export
import tiny_families
import tiny_nextn
import torch
from gguf import GGMLQuantizationType as Type
from numpy.typing import NDArray
from transformers import (
    DeepseekV2Config,
    DeepseekV2ForCausalLM,
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    Glm4MoeLiteConfig,
    Glm4MoeLiteForCausalLM,
    PreTrainedModel,
)

Array = NDArray[np.float32]

SHAPE = {
    "vocab_size": 96,
    "hidden_size": 64,
    "intermediate_size": 96,
    "moe_intermediate_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "kv_lora_rank": 64,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16,
    "v_head_dim": 32,
    "first_k_dense_replace": 1,
    "max_position_embeddings": 256,
    "attn_implementation": "eager",
    "experts_implementation": "eager",
}
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": 0.707,
    "mscale_all_dim": 0.707,
}
V3 = {
    "n_routed_experts": 16,
    "num_experts_per_tok": 4,
    "n_group": 4,
    "topk_group": 2,
    "n_shared_experts": 1,
    "num_mtp_layers": 0,
}
PLAIN = {"n_group": 1, "topk_group": 1, "norm_topk_prob": True}
V2 = {"n_routed_experts": 8, "num_experts_per_tok": 3, "n_shared_experts": 2, "routed_scaling_factor": 1.5}

VARIANTS: dict[str, dict[str, Any]] = {
    "v3": {**V3, "q_lora_rank": 48},
    "v3-yarn": {**V3, "q_lora_rank": 96, "rope_parameters": YARN},
    "v3-no-q-lora": {**V3, "q_lora_rank": None},
    "v2-lite": {**V2, "q_lora_rank": None, "topk_method": "greedy"},
    "v2-lite-yarn": {**V2, "q_lora_rank": None, "topk_method": "greedy", "rope_parameters": YARN},
    "v2-groups": {
        **V2,
        "q_lora_rank": 96,
        "topk_method": "group_limited_greedy",
        "n_group": 4,
        "topk_group": 2,
    },
}
# Other models of this architecture, small: what is unusual in their configurations is as there.
RELATIVES: dict[str, dict[str, Any]] = {
    "moonlight": {
        **V3,
        **PLAIN,
        "q_lora_rank": None,
        "n_routed_experts": 16,
        "num_experts_per_tok": 6,
        "n_shared_experts": 2,
        "routed_scaling_factor": 2.446,
        "rope_parameters": {"rope_type": "default", "rope_theta": 50000.0},
    },
    "kimi-k2": {
        **V3,
        **PLAIN,
        "q_lora_rank": 96,
        "n_routed_experts": 24,
        "num_experts_per_tok": 8,
        "routed_scaling_factor": 2.827,
        "rope_parameters": {**YARN, "rope_theta": 50000.0, "factor": 32.0, "mscale": 1.0, "mscale_all_dim": 1.0}
        | {"beta_fast": 1.0},
    },
    "glm-4.7-flash": {
        **V3,
        **PLAIN,
        "q_lora_rank": 96,
        "v_head_dim": 64,
        "routed_scaling_factor": 1.8,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        "mlp_layer_types": ["dense", "sparse", "sparse"],
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
}

WEIGHTS = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_q_a": "self_attn.q_a_proj",
    "attn_q_a_norm": "self_attn.q_a_layernorm",
    "attn_q_b": "self_attn.q_b_proj",
    "attn_kv_a_mqa": "self_attn.kv_a_proj_with_mqa",
    "attn_kv_a_norm": "self_attn.kv_a_layernorm",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_gate_inp": "mlp.gate",
    "ffn_gate_shexp": "mlp.shared_experts.gate_proj",
    "ffn_up_shexp": "mlp.shared_experts.up_proj",
    "ffn_down_shexp": "mlp.shared_experts.down_proj",
}


def make(variant: str, *, seed: int = 7, layers: int = 3, nextn: bool = False) -> PreTrainedModel:
    """A random model whose logits and routings are spread out.

    `nextn`: with a block that predicts the token after the next.
    """
    torch.manual_seed(seed)
    facts = SHAPE | (VARIANTS | RELATIVES)[variant] | {"num_hidden_layers": layers}
    model: PreTrainedModel
    if variant == "glm-4.7-flash":
        model = Glm4MoeLiteForCausalLM(Glm4MoeLiteConfig(**facts))
    elif variant.startswith("v2"):
        model = DeepseekV2ForCausalLM(DeepseekV2Config(**facts))
    else:
        model = DeepseekV3ForCausalLM(DeepseekV3Config(**facts))
    if nextn:
        tiny_nextn.attach(model)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            spread = 0.2 if name.endswith("norm.weight") else 1.5 * weight.shape[-1] ** -0.5
            weight.normal_(1.0 if name.endswith("norm.weight") else 0.0, spread)
        for name, module in model.named_modules():  # transformers has 1e-6 here whatever the model; a GGUF has one
            if name.endswith("_a_layernorm"):
                module.variance_epsilon = model.config.rms_norm_eps
        for name, buffer in model.named_buffers():
            if name.endswith("e_score_correction_bias"):
                buffer.normal_(0.0, 0.1)
    return model.eval()


def round_weights(model: PreTrainedModel, how: "Export") -> PreTrainedModel:
    """What such a file rounds, so that it holds exactly the numbers of the model."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "kv_b_proj" in name:
                parts = [tiny_families.rounded(part, how.type) for part in _kv_parts(weight.numpy(), model.config, how)]
                weight.copy_(torch.from_numpy(_joined(parts, how)))
            elif tiny_families.narrow(name, weight):
                weight.copy_(torch.from_numpy(tiny_families.rounded(weight.numpy(), how.type)))
    return model


def logits(model: PreTrainedModel, tokens: list[int], dtype: torch.dtype = torch.float32) -> NDArray[np.float64]:
    """[tokens, vocab] of one sequence, read in one go."""
    with torch.no_grad():
        out = model.to(dtype)(torch.tensor([tokens])).logits[0].double().numpy()
    model.to(torch.float32)
    return np.asarray(out, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Export:
    """`style` split: k_b and v_b, the keys of today; kvb: kv_b only, the keys of early 2025.

    `merged`: gate and up experts in one tensor. `type` is that of matrices and experts.
    """

    style: str = "split"
    type: Type = Type.F32
    merged: bool = False


def export(model: PreTrainedModel, path: Path, how: Export = Export()) -> Path:
    config = model.config
    writer = gguf.GGUFWriter(path, "deepseek2")
    nextn = hasattr(model, "nextn")
    _write_metadata(writer, config, how.style, nextn)
    tiny_export.write_tokenizer(writer)
    state = {tiny_nextn.renamed(name, config): value.float().numpy() for name, value in model.state_dict().items()}
    for name, value, narrow in _tensors(state, config, how, config.num_hidden_layers + nextn):
        stored = how.type if narrow else Type.F32
        data = gguf.quantize(np.ascontiguousarray(value, dtype=np.float32), stored)
        writer.add_tensor(name, data, raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tensors(state: dict[str, Array], config: Any, how: Export, blocks: int) -> Any:
    """(GGUF name, values, whether it is stored in the type of the file)"""
    yield "token_embd.weight", state["model.embed_tokens.weight"], True
    yield "output_norm.weight", state["model.norm.weight"], False
    yield "output.weight", state["lm_head.weight"], True
    yield from ((name, value, value.ndim > 1) for name, value in tiny_nextn.parts(state))
    for i in range(blocks):
        block, layer = f"blk.{i}.", f"model.layers.{i}."
        for ours, theirs in WEIGHTS.items():
            if (value := state.get(layer + theirs + ".weight")) is not None:
                yield block + ours + ".weight", value, value.ndim > 1 and ours != "ffn_gate_inp"
        parts = _kv_parts(state[layer + "self_attn.kv_b_proj.weight"], config, how)
        names = ("attn_kv_b",) if how.style == "kvb" else ("attn_k_b", "attn_v_b")
        yield from ((f"{block}{name}.weight", part, True) for name, part in zip(names, parts, strict=True))
        if (bias := state.get(layer + "mlp.gate.e_score_correction_bias")) is not None:
            yield block + "exp_probs_b.bias", bias, False
        if (gate_up := state.get(layer + "mlp.experts.gate_up_proj")) is not None:
            width = config.moe_intermediate_size
            if how.merged:
                yield block + "ffn_gate_up_exps.weight", gate_up, True
            else:
                yield block + "ffn_gate_exps.weight", gate_up[:, :width], True
                yield block + "ffn_up_exps.weight", gate_up[:, width:], True
            yield block + "ffn_down_exps.weight", state[layer + "mlp.experts.down_proj"], True


def _kv_parts(kv_b: Array, config: Any, how: Export) -> list[Array]:
    """As a file keeps it: whole, or of each head the keys turned round, and the values."""
    if how.style == "kvb":
        return [kv_b]
    heads = kv_b.reshape(config.num_attention_heads, -1, config.kv_lora_rank)
    return [heads[:, : config.qk_nope_head_dim].transpose(0, 2, 1), heads[:, config.qk_nope_head_dim :]]


def _joined(parts: list[Array], how: Export) -> Array:
    """What _kv_parts took apart."""
    if how.style == "kvb":
        return parts[0]
    heads = np.concatenate([parts[0].transpose(0, 2, 1), parts[1]], axis=1)
    return heads.reshape(-1, heads.shape[-1])


def _write_metadata(w: gguf.GGUFWriter, c: Any, style: str, nextn: bool) -> None:
    head = c.qk_nope_head_dim + c.qk_rope_head_dim
    w.add_block_count(c.num_hidden_layers + nextn)
    if nextn:
        w.add_nextn_predict_layers(1)
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    if style == "split":
        w.add_head_count_kv(1)
        w.add_key_length(c.kv_lora_rank + c.qk_rope_head_dim)
        w.add_value_length(c.kv_lora_rank)
        w.add_key_length_mla(head)
        w.add_value_length_mla(c.v_head_dim)
    else:
        w.add_head_count_kv(c.num_attention_heads)
        w.add_key_length(head)
        w.add_value_length(c.v_head_dim)
    if c.q_lora_rank:
        w.add_q_lora_rank(c.q_lora_rank)
    w.add_kv_lora_rank(c.kv_lora_rank)
    w.add_vocab_size(c.vocab_size)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    w.add_leading_dense_block_count(SHAPE["first_k_dense_replace"])
    _write_experts(w, c)
    _write_rope(w, c)


def _write_experts(w: gguf.GGUFWriter, c: Any) -> None:
    w.add_expert_count(c.n_routed_experts)
    w.add_expert_used_count(c.num_experts_per_tok)
    w.add_expert_shared_count(c.n_shared_experts)
    w.add_expert_feed_forward_length(c.moe_intermediate_size)
    w.add_expert_weights_scale(c.routed_scaling_factor)
    w.add_expert_weights_norm(bool(c.norm_topk_prob))
    if c.model_type == "deepseek_v3":
        w.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    elif c.model_type == "deepseek_v2":
        w.add_expert_gating_func(gguf.ExpertGatingFuncType.SOFTMAX)  # files of GLM-4.7-Flash do not say
    if c.n_group:
        w.add_expert_group_count(c.n_group)
        w.add_expert_group_used_count(c.topk_group)


def _write_rope(w: gguf.GGUFWriter, c: Any) -> None:
    rope = c.rope_parameters
    w.add_rope_dimension_count(c.qk_rope_head_dim)
    w.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "yarn":
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(rope["factor"])
        w.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        w.add_rope_scaling_yarn_beta_fast(float(rope["beta_fast"]))
        w.add_rope_scaling_yarn_beta_slow(float(rope["beta_slow"]))
        w.add_rope_scaling_yarn_log_mul(0.1 * rope["mscale_all_dim"])
