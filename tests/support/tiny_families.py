"""Small random models of every family with grouped-query attention, made by transformers."""

from dataclasses import dataclass, field
from typing import Any

import gguf
import numpy as np
import tiny_nextn
import torch
import transformers
from gguf import GGMLQuantizationType as Type
from numpy.typing import NDArray
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

BLOCK = 32  # weights of a block, and activations that share a scale
WINDOW = 24


@dataclass(frozen=True, slots=True)
class Tiny:
    """`classes` is what the names of transformers' classes begin with."""

    architecture: str
    classes: str
    config: dict[str, Any] = field(default_factory=dict)
    model: str = "ForCausalLM"
    merged: bool = False  # gate and up experts in one tensor
    apart: bool = False  # every expert in tensors of its own
    nextn: bool = False  # one more block, that predicts the token after the next


SHAPE = {
    "vocab_size": 96,
    "hidden_size": 128,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "attn_implementation": "eager",
    "experts_implementation": "eager",
}
EXPERTS = {"num_experts": 10, "num_experts_per_tok": 3, "moe_intermediate_size": 32}
LLAMA31 = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {"rope_type": "yarn", "rope_theta": 1e6, "factor": 4.0, "original_max_position_embeddings": 64}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "long_factor": [1.0 + i / 4 for i in range(12)],
    "short_factor": [1.0 + i / 16 for i in range(12)],
    "original_max_position_embeddings": 64,
    "partial_rotary_factor": 0.75,
}
NEVER_LONG = LONGROPE | {"original_max_position_embeddings": 256}
GEMMA3_ROPE = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
}
GLM_MOE = {
    "head_dim": 32,
    "n_routed_experts": 10,
    "num_experts_per_tok": 3,
    "moe_intermediate_size": 32,
    "n_shared_experts": 1,
    "n_group": 1,
    "topk_group": 1,
    "norm_topk_prob": True,
    "routed_scaling_factor": 1.5,
    "first_k_dense_replace": 1,
    "attention_bias": True,
}

MODELS = {
    "llama": Tiny("llama", "Llama"),
    "llama-tied-factors": Tiny("llama", "Llama", {"tie_word_embeddings": True, "rope_parameters": LLAMA31}),
    "llama-biases-one-key-head": Tiny(
        "llama",
        "Llama",
        {"attention_bias": True, "mlp_bias": True, "head_dim": 32, "num_attention_heads": 16, "num_key_value_heads": 1},
    ),
    "mixtral": Tiny("llama", "Mixtral", {"num_local_experts": 6, "num_experts_per_tok": 2, "sliding_window": None}),
    "mixtral-of-2023": Tiny(
        "llama", "Mixtral", {"num_local_experts": 6, "num_experts_per_tok": 2, "sliding_window": None}, apart=True
    ),
    "qwen2": Tiny("qwen2", "Qwen2"),
    "qwen2-tied-yarn": Tiny("qwen2", "Qwen2", {"tie_word_embeddings": True, "rope_parameters": YARN}),
    "qwen2moe": Tiny("qwen2moe", "Qwen2Moe", {**EXPERTS, "shared_expert_intermediate_size": 64}),
    "qwen3": Tiny("qwen3", "Qwen3", {"head_dim": 64}),
    "qwen3moe": Tiny("qwen3moe", "Qwen3Moe", {**EXPERTS, "head_dim": 64, "norm_topk_prob": True}),
    "qwen3moe-merged": Tiny("qwen3moe", "Qwen3Moe", {**EXPERTS, "head_dim": 32, "norm_topk_prob": True}, merged=True),
    "gemma2": Tiny("gemma2", "Gemma2", {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": WINDOW}),
    "gemma3": Tiny(
        "gemma3",
        "Gemma3",
        {
            "head_dim": 32,
            "query_pre_attn_scalar": 32,
            "sliding_window": WINDOW,
            "num_hidden_layers": 6,
            "rope_parameters": GEMMA3_ROPE,
        },
    ),
    "phi3-window": Tiny("phi3", "Phi3", {"sliding_window": WINDOW}),
    "phi3-longrope": Tiny("phi3", "Phi3", {"rope_parameters": LONGROPE, "original_max_position_embeddings": 64}),
    "phi3-longrope-short": Tiny(
        "phi3", "Phi3", {"rope_parameters": NEVER_LONG, "original_max_position_embeddings": 256}
    ),
    "starcoder2": Tiny("starcoder2", "Starcoder2", {"tie_word_embeddings": False}),
    "starcoder2-tied-window": Tiny("starcoder2", "Starcoder2", {"tie_word_embeddings": True, "sliding_window": WINDOW}),
    "glm4": Tiny("glm4", "Glm4", {"head_dim": 32, "attention_bias": True}),
    "glm4moe": Tiny("glm4moe", "Glm4Moe", GLM_MOE, nextn=True),
    "glm4moe-norms": Tiny("glm4moe", "Glm4Moe", {**GLM_MOE, "use_qk_norm": True, "attention_bias": False}),
    "gpt-oss": Tiny(
        "gpt-oss",
        "GptOss",
        {"head_dim": 32, "num_local_experts": 8, "num_experts_per_tok": 3, "sliding_window": WINDOW},
    ),
}


def make(tiny: Tiny, *, seed: int = 7) -> PreTrainedModel:
    """Random weights that spread logits and routings out."""
    torch.manual_seed(seed)
    text = "TextConfig" if tiny.classes == "Gemma3" else "Config"
    config = getattr(transformers, tiny.classes + text)(**SHAPE | tiny.config)
    model: PreTrainedModel = getattr(transformers, tiny.classes + tiny.model)(config)
    if tiny.nextn:
        tiny_nextn.attach(model)
    centre = 0.0 if tiny.classes.startswith("Gemma") else 1.0  # Gemma's norms multiply by 1 + weight
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("norm.weight") or "layernorm.weight" in name or "LayerNorm.weight" in name:
                weight.normal_(centre, 0.2)
            elif weight.dim() == 1 or name.endswith("bias"):
                weight.normal_(0.0, 0.3)
            else:
                weight.normal_(0.0, 1.5 * _inputs(weight, tiny) ** -0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("e_score_correction_bias"):
                buffer.normal_(0.0, 0.1)
    return model.eval()


def round_weights(model: PreTrainedModel, tiny: Tiny, type: Type) -> None:
    """What a file of this type rounds, so that it holds exactly the numbers of the model."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if narrow(name, weight):
                once = rounded(by_input(weight.numpy(), tiny), type)
                weight.copy_(torch.from_numpy(np.ascontiguousarray(by_input(once, tiny))))


def rounded(weight: NDArray[np.float32], type: Type) -> NDArray[np.float32]:
    """As a file of this type holds it; rounding that again changes nothing."""
    once = _round(weight, type)
    assert np.array_equal(once, _round(once, type)), "a weight has no exact form"
    return once


def narrow(name: str, weight: Any) -> bool:
    """Is it stored in fewer bits? Norms, biases and routers never are."""
    aside = "position_embeddings" in name or "token_type_embeddings" in name
    router = "mlp.gate.weight" in name or "mlp.router" in name or "shared_expert_gate" in name
    return weight.ndim > 1 and not router and not aside and not name.endswith("bias")


def by_input(weight: NDArray[np.float32], tiny: Tiny) -> NDArray[np.float32]:
    """With the inputs last; gpt-oss has its experts the other way round."""
    return weight.swapaxes(1, 2) if tiny.classes == "GptOss" and weight.ndim == 3 else weight


def logits(model: PreTrainedModel, tokens: list[int], dtype: torch.dtype = torch.float32) -> NDArray[np.float64]:
    """[tokens, vocab] of one sequence, read in one go."""
    with torch.no_grad():
        out = model.to(dtype)(torch.tensor([tokens]), use_cache=False).logits[0].double().numpy()
    model.to(torch.float32)
    return np.asarray(out, dtype=np.float64)


def rounded_logits(model: PreTrainedModel, tokens: list[int]) -> NDArray[np.float64]:
    """As `logits` in float64, with the inputs of every narrow weight rounded as the kernels round them."""
    model.to(torch.float64)
    with RoundedInputs(model):
        return logits(model, tokens, torch.float64)


class RoundedInputs(TorchFunctionMode):
    """What multiplies a narrow weight is rounded: 32 inputs become integers of up to 127 times a scale."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        narrowed = (weight for name, weight in model.named_parameters() if narrow(name, weight))
        self._storages = {weight.untyped_storage().data_ptr() for weight in narrowed}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _PRODUCTS and args[1].untyped_storage().data_ptr() in self._storages:
            args = (_rounded(args[0]), *args[1:])
        return func(*args, **(kwargs or {}))


_PRODUCTS = (torch.nn.functional.linear, torch.Tensor.matmul, torch.Tensor.__matmul__)


def _rounded(x: torch.Tensor) -> torch.Tensor:
    blocks = x.reshape(-1, BLOCK)
    scale = (blocks.abs().amax(dim=1, keepdim=True) / 127).clamp_min(1e-30)
    return (torch.round(blocks / scale) * scale).reshape(x.shape)


def _round(weight: NDArray[np.float32], type: Type) -> NDArray[np.float32]:
    if type is Type.F32:
        return weight
    if type is Type.F16:
        return weight.astype(np.float16).astype(np.float32)
    rounded: NDArray[np.float32] = gguf.dequantize(gguf.quantize(np.ascontiguousarray(weight), type), type)
    return rounded


def _inputs(weight: torch.Tensor, tiny: Tiny) -> int:
    return int(weight.shape[-2 if tiny.classes == "GptOss" and weight.dim() == 3 else -1])
