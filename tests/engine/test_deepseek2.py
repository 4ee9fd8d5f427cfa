import math
from dataclasses import replace

import headers
import pytest

from ktd.engine.check import check
from ktd.engine.errors import LoadRefused
from ktd.engine.gguf import Gguf, GGUFError, Value
from ktd.engine.models import SUPPORTED, spec_for
from ktd.engine.spec import DenseFfn, Embed, Head, MlaAttention, MoeFfn, Router, Weight, weights

F32 = 0


def attention(gguf: Gguf) -> MlaAttention:
    stage = spec_for(gguf).stages[1]
    assert isinstance(stage, MlaAttention)
    return stage


def moe(gguf: Gguf) -> MoeFfn:
    stage = spec_for(gguf).stages[-2]
    assert isinstance(stage, MoeFfn)
    return stage


def router(**changed: Value | None) -> Router:
    return moe(headers.deepseek2(changed=changed)).router


@pytest.mark.parametrize("layout", ["split", "kvb", "both"])
@pytest.mark.parametrize("q_lora", [48, None, 0])
def test_every_layout_names_weights_that_the_file_has(layout: str, q_lora: int | None) -> None:
    gguf = headers.deepseek2(layout=layout, changed={"attention.q_lora_rank": q_lora})
    spec = spec_for(gguf)
    kinds = [type(stage) for stage in spec.stages]
    assert kinds == [Embed, MlaAttention, DenseFfn, MlaAttention, MoeFfn, Head]
    assert {tensor.name for tensor in check(spec, gguf, {F32})} >= {"blk.1.ffn_down_exps.weight"}
    stage = attention(gguf)
    assert (stage.nope, stage.value, stage.kv_lora, stage.cache_width) == (24, 20, 32, 48)
    assert (stage.k_b is None) == (stage.v_b is None) == (stage.kv_b is not None) == (layout != "split")
    assert (stage.q is None) == (stage.q_a is not None) == bool(q_lora)


def test_scale_and_rope_without_scaling() -> None:
    stage = attention(headers.deepseek2())
    assert stage.scale == pytest.approx(1 / math.sqrt(40))
    assert (stage.rope.layout, stage.rope.dims, len(stage.rope.frequencies)) == ("adjacent", 16, 8)


def test_counted_blocks_that_a_file_lacks_are_left_out() -> None:
    """Those that predict further tokens, where whoever made the file dropped them."""
    trunk = headers.deepseek2(changed={"block_count": 3, "nextn_predict_layers": 1})
    assert spec_for(trunk) == spec_for(headers.deepseek2())


def test_a_growing_temperature_is_refused() -> None:
    with pytest.raises(LoadRefused, match="temperature grows"):
        spec_for(headers.deepseek2(changed={"attention.temperature_scale": 0.1}))


def test_yarn_scales_the_scores() -> None:
    yarn: dict[str, Value | None] = {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": 40.0,
        "rope.scaling.original_context_length": 64,
        "rope.scaling.yarn_log_multiplier": 0.1,
    }
    scaled, plain = attention(headers.deepseek2(changed=yarn)), attention(headers.deepseek2())
    assert scaled.scale / plain.scale == pytest.approx((1 + 0.1 * math.log(40)) ** 2)
    assert scaled.rope.frequencies[-1] == pytest.approx(plain.rope.frequencies[-1] / 40)
    without = attention(headers.deepseek2(changed=yarn | {"rope.scaling.yarn_log_multiplier": None}))
    assert without.scale == plain.scale


def test_shared_experts_are_one_block() -> None:
    stage = moe(headers.deepseek2())
    assert stage.shared is not None
    assert (stage.experts.width, stage.shared.width) == (24, 48)
    assert moe(headers.deepseek2(changed={"expert_shared_count": None})).shared is None


def test_a_bias_means_sigmoid_when_the_file_does_not_say() -> None:
    assert (router().gating, router().group_score, router().normalise) == ("sigmoid", "top2", True)
    assert router(expert_gating_func=1).gating == "softmax"
    gguf = headers.deepseek2()
    del gguf.tensors["blk.1.exp_probs_b.bias"]
    unbiased = moe(gguf).router
    assert (unbiased.gating, unbiased.group_score, unbiased.normalise) == ("softmax", "max", False)
    assert unbiased.bias is None


def test_groups() -> None:
    assert (router().groups, router().groups_used) == (1, 1)
    grouped = router(expert_group_count=4, expert_group_used_count=2)
    assert (grouped.groups, grouped.groups_used) == (4, 2)
    early_r1 = router(expert_count=256, expert_used_count=8)
    assert (early_r1.groups, early_r1.groups_used) == (8, 4)
    softmax = router(expert_count=256, expert_used_count=8, expert_gating_func=1)
    assert softmax.groups == 1
    assert router(expert_count=256, expert_group_count=1).groups == 1


def test_weights_scale() -> None:
    assert router().scale == router(expert_weights_scale=0.0).scale == 1.0
    assert router(expert_weights_scale=2.5).scale == 2.5
    assert router(expert_weights_norm=False).normalise is False


def test_head_without_its_own_matrix_is_the_embedding() -> None:
    gguf = headers.deepseek2()
    del gguf.tensors["output.weight"]
    spec = spec_for(gguf)
    head = spec.stages[-1]
    assert isinstance(head, Head) and head.output == Weight("token_embd.weight", (64, 96))
    names = [weight.name for weight in weights(spec.stages)]
    assert len(check(spec, gguf, {F32})) == len(set(names)) == len(names) - 1


def test_blocks_that_predict_further_tokens_are_left_out() -> None:
    gguf = headers.deepseek2(layers=3)
    gguf.tensors["blk.2.nextn.eh_proj.weight"] = gguf.tensors["output.weight"]
    assert len(spec_for(gguf).stages) == 6


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"embedding_length": 0}, "embedding_length': 0 is not in 1 to"),
        ({"block_count": 1 << 40}, "block_count': 1099511627776 is not in 1 to 3"),
        ({"attention.layer_norm_rms_epsilon": -1.0}, "rms_epsilon': -1 is not in"),
        ({"rope.dimension_count": 15}, "15 is odd"),
        ({"rope.dimension_count": 40}, "leaves nothing of 40"),
        ({"rope.freq_base": 0.0}, "freq_base': 0 is not in"),
        ({"rope.scaling.type": "longrope"}, "'longrope' is not supported"),
        ({"expert_used_count": 9}, "9 of 8 experts"),
        ({"expert_group_count": 3, "expert_group_used_count": 1}, "3 groups, 1 used"),
        ({"expert_group_count": 4, "expert_group_used_count": 5}, "4 groups, 5 used"),
        ({"expert_group_count": 8, "expert_group_used_count": 1}, "8 groups, 1 used"),
        ({"expert_gating_func": 4}, "expert_gating_func 4 is not supported"),
    ],
)
def test_impossible_hyper_parameters_are_refused_by_name(changed: dict[str, Value | None], problem: str) -> None:
    with pytest.raises(LoadRefused, match=problem):
        spec_for(headers.deepseek2(changed=changed))


@pytest.mark.parametrize("key", ["embedding_length", "attention.kv_lora_rank", "attention.key_length_mla"])
def test_a_missing_key_is_named(key: str) -> None:
    changed: dict[str, Value | None] = {key: None}
    gguf = headers.deepseek2(changed=changed)
    with pytest.raises((GGUFError, LoadRefused), match=r"deepseek2|attn"):
        check(spec_for(gguf), gguf, {F32})


def test_merged_gate_and_up_are_two_parts_of_one_tensor() -> None:
    gguf = headers.deepseek2()
    merged = "blk.1.ffn_gate_up_exps.weight"
    gguf.tensors[merged] = replace(gguf.tensors["blk.1.ffn_gate_exps.weight"], name=merged, shape=(64, 48, 8))
    experts = moe(gguf).experts
    assert experts.gate == Weight(merged, (64, 24, 8), first=0, of=48)
    assert experts.up == Weight(merged, (64, 24, 8), first=24, of=48)
    assert merged in {tensor.name for tensor in check(spec_for(gguf), gguf, {F32})}
    gguf.tensors[merged] = gguf.tensors["blk.1.ffn_gate_exps.weight"]
    with pytest.raises(LoadRefused, match=r"gate_up_exps.* has the shape .* asks for \{64, 48, 8\}"):
        check(spec_for(gguf), gguf, {F32})


def test_unknown_architectures_are_refused_with_the_known() -> None:
    known = ", ".join(sorted(SUPPORTED))
    with pytest.raises(LoadRefused, match=f"'gpt9' is not supported; supported are {known}") as refused:
        spec_for(headers.header({"general.architecture": "gpt9"}, {}))
    assert refused.value.kind == "unsupported"


def test_missing_misshapen_and_unknown_tensors_are_named() -> None:
    gguf = headers.deepseek2()
    spec = spec_for(gguf)
    with pytest.raises(LoadRefused, match=r"'token_embd\.weight' is of type F32"):
        check(spec, gguf, {1})
    del gguf.tensors["blk.1.attn_kv_a_norm.weight"]
    with pytest.raises(LoadRefused, match=r"'blk\.1\.attn_kv_a_norm\.weight' of shape \{32\} is missing"):
        check(spec, gguf, {F32})
    gguf.tensors["blk.1.attn_kv_a_norm.weight"] = gguf.tensors["blk.0.attn_q_b.weight"]
    with pytest.raises(LoadRefused, match=r"has the shape \{48, 160\}, the model's metadata asks for \{32\}"):
        check(spec, gguf, {F32})
