"""Feed-forward blocks: one of them, or experts with a router."""

from ktd.engine.errors import LoadRefused
from ktd.engine.models.family import Family
from ktd.engine.models.keys import Keys
from ktd.engine.models.source import Source
from ktd.engine.spec import DenseFfn, Gated, MoeFfn, Router, Stack, Weight

SOFTMAX, SIGMOID, CHOSEN_SOFTMAX = 1, 2, 3  # expert_gating_func


def read(source: Source, family: Family, layer: int) -> DenseFfn | MoeFfn:
    experts = source.keys.count("expert_count", 0, least=0)
    dense = source.keys.count("leading_dense_block_count", 0, least=0)
    return _moe(source, family, layer) if experts and layer >= dense else _dense(source, family, layer)


def _dense(source: Source, family: Family, layer: int) -> DenseFfn:
    return DenseFfn(
        eps=source.eps,
        norm=None if family.encoder else _norm(source, layer),
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
    """One block. Without ffn_gate, ffn_up is both of them in halves, or by its size the one of a plain block."""
    dim, up = source.dim, f"ffn_up{suffix}"
    stored = source.gguf.tensors.get(f"blk.{layer}.{up}.weight")
    first, second = f"ffn_gate{suffix}", up
    if stored is not None and not source.in_block(layer, f"{first}.weight"):
        if stored.shape[1:] != (width,):
            gate, other = _halves(source, layer, f"{up}.weight", (dim, width))
            return Gated(width, gate, other, _down(source, layer, width, suffix), family.activation)
        first, second = up, ""
    return Gated(
        width,
        gate=source.weight(layer, f"{first}.weight", dim, width),
        up=source.weight(layer, f"{second}.weight", dim, width) if second else None,
        down=_down(source, layer, width, suffix),
        activation=family.activation,
        gate_bias=source.optional(layer, f"{first}.bias", width),
        up_bias=source.optional(layer, f"{second}.bias", width),
        down_bias=source.optional(layer, f"ffn_down{suffix}.bias", dim),
    )


def _down(source: Source, layer: int, width: int, suffix: str) -> Weight:
    return source.weight(layer, f"ffn_down{suffix}.weight", width, source.dim)


def _experts(source: Source, family: Family, layer: int, width: int, experts: int) -> Gated:
    shape, merged = (source.dim, width, experts), "ffn_gate_up_exps.weight"
    gate: Weight | Stack
    up: Weight | Stack
    if source.in_block(layer, merged):
        gate, up = _halves(source, layer, merged, shape)
    else:
        gate, up = (_stacked(source, layer, part, shape) for part in ("gate", "up"))
    return Gated(
        width,
        gate=gate,
        up=up,
        down=_stacked(source, layer, "down", (width, source.dim, experts)),
        activation=family.activation,
        gate_bias=source.optional(layer, "ffn_gate_exps.bias", width, experts),
        up_bias=source.optional(layer, "ffn_up_exps.bias", width, experts),
        down_bias=source.optional(layer, "ffn_down_exps.bias", source.dim, experts),
    )


def _stacked(source: Source, layer: int, part: str, shape: tuple[int, int, int]) -> Weight | Stack:
    """The experts in one tensor; in files of early 2024 each in its own."""
    rows, columns, experts = shape
    if not source.in_block(layer, f"ffn_{part}.0.weight"):
        return source.weight(layer, f"ffn_{part}_exps.weight", *shape)
    most = min(experts, len(source.gguf.tensors) + 1)  # one that is missing is found before memory is taken
    return Stack(tuple(source.weight(layer, f"ffn_{part}.{e}.weight", rows, columns) for e in range(most)))


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
