"""Feed-forward blocks: one of them, or experts with a router."""

from ktd.engine.errors import LoadRefused
from ktd.engine.models.family import Family
from ktd.engine.models.keys import Keys
from ktd.engine.models.source import Source
from ktd.engine.spec import DenseFfn, Gated, MoeFfn, Router, Weight

SOFTMAX, SIGMOID, CHOSEN_SOFTMAX = 1, 2, 3  # expert_gating_func


def read(source: Source, family: Family, layer: int) -> DenseFfn | MoeFfn:
    experts = source.keys.count("expert_count", 0, least=0)
    dense = source.keys.count("leading_dense_block_count", 0, least=0)
    return _moe(source, family, layer) if experts and layer >= dense else _dense(source, family, layer)


def _dense(source: Source, family: Family, layer: int) -> DenseFfn:
    return DenseFfn(
        eps=source.eps,
        norm=_norm(source, layer),
        block=_gated(source, family, layer, source.keys.count("feed_forward_length")),
        norm_bias=source.optional(layer, "ffn_norm.bias", source.dim),
        post_norm=source.optional(layer, "post_ffw_norm.weight", source.dim),
    )


def _moe(source: Source, family: Family, layer: int) -> MoeFfn:
    keys = source.keys
    router = _router(source, family, layer)
    width = keys.count("expert_feed_forward_length", keys.count("feed_forward_length", 0, least=0))
    shared = _shared_width(keys, width)
    return MoeFfn(
        eps=source.eps,
        norm=_norm(source, layer),
        router=router,
        experts=_experts(source, family, layer, width, router.experts),
        shared=_gated(source, family, layer, shared, "_shexp") if shared else None,
        shared_gate=source.optional(layer, "ffn_gate_inp_shexp.weight", source.dim),
    )


def _shared_width(keys: Keys, width: int) -> int:
    """Of all shared experts together; 0: there are none."""
    together = width * keys.count("expert_shared_count", 0, least=0)
    return keys.count("expert_shared_feed_forward_length", together, least=0)


def _norm(source: Source, layer: int) -> Weight:
    """Before the block; where post_attention_norm stands alone it is this one."""
    old = source.in_block(layer, "post_attention_norm.weight") and not source.in_block(layer, "ffn_norm.weight")
    return source.weight(layer, "post_attention_norm.weight" if old else "ffn_norm.weight", source.dim)


def _gated(source: Source, family: Family, layer: int, width: int, suffix: str = "") -> Gated:
    """One block; gate and up may be the two halves of an ffn_up without ffn_gate."""
    dim, up = source.dim, f"ffn_up{suffix}.weight"
    gate = source.optional(layer, f"ffn_gate{suffix}.weight", dim, width)
    halves = _halves(source, layer, up, (dim, width)) if gate is None and source.in_block(layer, up) else None
    return Gated(
        width,
        gate=halves[0] if halves else source.weight(layer, f"ffn_gate{suffix}.weight", dim, width),
        up=halves[1] if halves else source.weight(layer, up, dim, width),
        down=source.weight(layer, f"ffn_down{suffix}.weight", width, dim),
        activation=family.activation,
    )


def _experts(source: Source, family: Family, layer: int, width: int, experts: int) -> Gated:
    shape, merged = (source.dim, width, experts), "ffn_gate_up_exps.weight"
    if source.in_block(layer, merged):
        gate, up = _halves(source, layer, merged, shape)
    else:
        gate, up = (source.weight(layer, f"ffn_{part}_exps.weight", *shape) for part in ("gate", "up"))
    return Gated(
        width,
        gate=gate,
        up=up,
        down=source.weight(layer, "ffn_down_exps.weight", width, source.dim, experts),
        activation=family.activation,
        gate_bias=source.optional(layer, "ffn_gate_exps.bias", width, experts),
        up_bias=source.optional(layer, "ffn_up_exps.bias", width, experts),
        down_bias=source.optional(layer, "ffn_down_exps.bias", source.dim, experts),
    )


def _halves(source: Source, layer: int, part: str, shape: tuple[int, ...]) -> tuple[Weight, Weight]:
    """Gate and up of one tensor: the gate's rows come first."""
    name, width = f"blk.{layer}.{part}", shape[1]
    return Weight(name, shape, 0, 2 * width), Weight(name, shape, width, 2 * width)


def _router(source: Source, family: Family, layer: int) -> Router:
    keys, experts = source.keys, source.keys.count("expert_count")
    bias = source.optional(layer, "exp_probs_b.bias", experts)
    gating = _gating(source, family, bias is not None)
    sigmoid = gating == SIGMOID
    used = keys.count("expert_used_count")
    if used > experts:
        raise keys.refuse("expert_used_count", f"{used} of {experts} experts are impossible")
    groups, groups_used = _groups(source, experts, used, sigmoid and bias is not None)
    # A softmax over the chosen ones alone is one over all, normalised.
    fixed = gating == CHOSEN_SOFTMAX or family.always_normalised
    return Router(
        gating="sigmoid" if sigmoid else "softmax",
        experts=experts,
        used=used,
        groups=groups,
        groups_used=groups_used,
        group_score="top2" if sigmoid else "max",
        normalise=fixed or keys.flag("expert_weights_norm", sigmoid or family.normalised),
        scale=keys.number("expert_weights_scale", 1.0, least=0.0, most=1e6) or 1.0,
        logits=source.weight(layer, "ffn_gate_inp.weight", source.dim, experts),
        bias=bias,
        logits_bias=source.optional(layer, "ffn_gate_inp.bias", experts),
    )


def _gating(source: Source, family: Family, biased: bool) -> int:
    """Early files lack the key: only models with sigmoid scores have a selection bias."""
    default = SIGMOID if biased or family.sigmoid else SOFTMAX
    gating = source.keys.count("expert_gating_func", default, least=0) or default
    if gating not in (SOFTMAX, SIGMOID, CHOSEN_SOFTMAX):
        architecture = source.keys.architecture
        raise LoadRefused("unsupported", f"expert_gating_func {gating} is not supported for {architecture}")
    return gating


def _groups(source: Source, experts: int, used: int, like_v3: bool) -> tuple[int, int]:
    """Groups of experts, and how many of them a token uses; early files of V3 and R1 lack the keys."""
    keys = source.keys
    default = (8, 4) if like_v3 and experts == 256 and keys.architecture == "deepseek2" else (1, 1)
    groups = keys.count("expert_group_count", default[0], least=0)
    if groups <= 1:
        return 1, 1
    groups_used = keys.count("expert_group_used_count", default[1])
    if experts % groups or groups_used > groups or used > experts // groups * groups_used:
        raise keys.refuse(
            "expert_group_count",
            f"{groups} groups, {groups_used} used, do not fit {experts} experts, {used} used",
        )
    return groups, groups_used
