"""deepseek2: DeepSeek-V2, V2-Lite, V3, R1 and their relatives (arXiv 2405.04434, 2412.19437)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ktd.engine import rope
from ktd.engine.errors import LoadRefused
from ktd.engine.gguf import Gguf
from ktd.engine.models.keys import Keys
from ktd.engine.spec import (
    DenseFfn,
    Embed,
    Gated,
    Head,
    MlaAttention,
    ModelSpec,
    MoeFfn,
    Rope,
    Router,
    Stage,
    Weight,
)

SOFTMAX, SIGMOID = 1, 2  # expert_gating_func
MOST_HEAD_WIDTH = 1 << 16  # far above any model; bounds what is computed before shapes are checked


def spec(gguf: Gguf) -> ModelSpec:
    """The stages of a file, of today's layout (k_b, v_b) or that of early 2025 (kv_b)."""
    return _Reader(gguf, Keys(gguf)).spec()


@dataclass(frozen=True, slots=True)
class _Reader:
    gguf: Gguf
    keys: Keys

    @property
    def dim(self) -> int:
        return self.keys.count("embedding_length")

    @property
    def eps(self) -> float:
        return self.keys.number("attention.layer_norm_rms_epsilon", least=1e-12, most=1.0)

    def spec(self) -> ModelSpec:
        vocab = self._vocab()
        return ModelSpec(
            architecture=self.keys.architecture,
            dim=self.dim,
            vocab=vocab,
            context=self.keys.count("context_length"),
            stages=tuple(self._stages(vocab)),
        )

    def _stages(self, vocab: int) -> Iterator[Stage]:
        table = Weight("token_embd.weight", (self.dim, vocab))
        yield Embed(table, self.dim, vocab)
        rope, scale = self._rope_and_scale()
        router = self._has_experts()
        dense = self.keys.count("leading_dense_block_count", 0, least=0)
        for layer in range(self._layers()):
            yield self._attention(layer, rope, scale)
            yield self._moe(layer) if router and layer >= dense else self._dense(layer)
        output = Weight("output.weight", table.shape) if "output.weight" in self.gguf.tensors else table
        yield Head(vocab, self.eps, Weight("output_norm.weight", (self.dim,)), output)

    def _vocab(self) -> int:
        """Rows of the embedding; the key is missing in old files, and the tokens may be fewer."""
        table = self.gguf.tensors.get("token_embd.weight")
        if table is None or len(table.shape) != 2:
            raise LoadRefused("bad_file", "tensor 'token_embd.weight' is missing or is no matrix")
        return self.keys.count("vocab_size", table.shape[1])

    def _layers(self) -> int:
        """Blocks of the model itself: those for predicting further tokens come last and are left out."""
        layers = self.keys.count("block_count", most=len(self.gguf.tensors))
        while layers and f"blk.{layers - 1}.nextn.eh_proj.weight" in self.gguf.tensors:
            layers -= 1
        return layers

    def _head_widths(self) -> tuple[int, int]:
        """Of a query and key, and of a value; in files with k_b and v_b the plain keys describe the cache."""
        suffix = "_mla" if self.keys.has("attention.key_length_mla") else ""
        key = self.keys.count(f"attention.key_length{suffix}", most=MOST_HEAD_WIDTH)
        value = self.keys.count(f"attention.value_length{suffix}", most=MOST_HEAD_WIDTH)
        turned = self.keys.count("rope.dimension_count")
        if turned % 2 or turned >= key:
            raise self.keys.refuse("rope.dimension_count", f"{turned} is odd or leaves nothing of {key}")
        return key, value

    def _rope_and_scale(self) -> tuple[Rope, float]:
        """The rotation, and the factor of the attention scores, YaRN's mscale squared included."""
        keys = self.keys
        scale = 1 / math.sqrt(self._head_widths()[0])
        dims = keys.count("rope.dimension_count")
        base = keys.number("rope.freq_base", 10000.0, least=2.0, most=1e12)
        factor = keys.number("rope.scaling.factor", 1.0, least=1.0, most=1e6)
        match keys.text("rope.scaling.type", "none"):
            case "none":
                return Rope(dims, rope.plain(dims, base), "adjacent"), scale
            case "linear":
                return Rope(dims, rope.plain(dims, base, factor), "adjacent"), scale
            case "yarn":
                multiplier = keys.number("rope.scaling.yarn_log_multiplier", 0.0, least=0.0, most=1.0)
                mscale = rope.yarn_mscale(factor, multiplier)
                return Rope(dims, rope.yarn(dims, base, self._yarn(factor)), "adjacent"), mscale**2 * scale
            case other:
                raise LoadRefused("unsupported", f"rope scaling {other!r} is not supported for deepseek2")

    def _yarn(self, factor: float) -> rope.Yarn:
        return rope.Yarn(
            factor,
            self.keys.count("rope.scaling.original_context_length"),
            self.keys.number("rope.scaling.yarn_beta_fast", 32.0, least=0.01, most=1e6),
            self.keys.number("rope.scaling.yarn_beta_slow", 1.0, least=0.01, most=1e6),
        )

    def _attention(self, layer: int, rope: Rope, scale: float) -> MlaAttention:
        key, value = self._head_widths()
        heads, latent = self.keys.count("attention.head_count"), self.keys.count("attention.kv_lora_rank")
        q_lora, nope = self.keys.count("attention.q_lora_rank", 0, least=0), key - rope.dims
        dim, name = self.dim, f"blk.{layer}.attn_{{}}.weight".format
        split = len(getattr(self.gguf.tensors.get(name("k_b")), "shape", ())) == 3
        return MlaAttention(
            heads=heads,
            q_lora=q_lora,
            kv_lora=latent,
            nope=nope,
            value=value,
            rope=rope,
            scale=scale,
            eps=self.eps,
            norm=Weight(name("norm"), (dim,)),
            kv_a=Weight(name("kv_a_mqa"), (dim, latent + rope.dims)),
            kv_a_norm=Weight(name("kv_a_norm"), (latent,)),
            output=Weight(name("output"), (heads * value, dim)),
            q=None if q_lora else Weight(name("q"), (dim, heads * key)),
            q_a=Weight(name("q_a"), (dim, q_lora)) if q_lora else None,
            q_a_norm=Weight(name("q_a_norm"), (q_lora,)) if q_lora else None,
            q_b=Weight(name("q_b"), (q_lora, heads * key)) if q_lora else None,
            k_b=Weight(name("k_b"), (nope, latent, heads)) if split else None,
            v_b=Weight(name("v_b"), (latent, value, heads)) if split else None,
            kv_b=None if split else Weight(name("kv_b"), (latent, heads * (nope + value))),
        )

    def _dense(self, layer: int) -> DenseFfn:
        width = self.keys.count("feed_forward_length")
        return DenseFfn(self.eps, self._ffn_norm(layer), self._gated(layer, "", width))

    def _moe(self, layer: int) -> MoeFfn:
        if f"blk.{layer}.ffn_gate_up_exps.weight" in self.gguf.tensors:
            raise LoadRefused(
                "unsupported",
                f"tensor 'blk.{layer}.ffn_gate_up_exps.weight': gate and up in one tensor are not supported",
            )
        router = self._router(layer)
        width = self.keys.count("expert_feed_forward_length")
        shared = self.keys.count("expert_shared_count", 0, least=0)
        return MoeFfn(
            eps=self.eps,
            norm=self._ffn_norm(layer),
            router=router,
            experts=self._gated(layer, "_exps", width, router.experts),
            shared=self._gated(layer, "_shexp", width * shared) if shared else None,
        )

    def _has_experts(self) -> bool:
        return self.keys.count("expert_count", 0, least=0) > 0

    def _router(self, layer: int) -> Router:
        keys, experts = self.keys, self.keys.count("expert_count")
        bias = f"blk.{layer}.exp_probs_b.bias"
        biased = bias in self.gguf.tensors
        sigmoid = self._gating(biased) == SIGMOID
        used = keys.count("expert_used_count")
        if used > experts:
            raise keys.refuse("expert_used_count", f"{used} of {experts} experts are impossible")
        groups, groups_used = self._groups(experts, used, sigmoid and biased)
        return Router(
            gating="sigmoid" if sigmoid else "softmax",
            experts=experts,
            used=used,
            groups=groups,
            groups_used=groups_used,
            group_score="top2" if sigmoid else "max",
            normalise=keys.flag("expert_weights_norm", sigmoid),
            scale=keys.number("expert_weights_scale", 1.0, least=0.0, most=1e6) or 1.0,
            logits=Weight(f"blk.{layer}.ffn_gate_inp.weight", (self.dim, experts)),
            bias=Weight(bias, (experts,)) if biased else None,
        )

    def _gating(self, biased: bool) -> int:
        """Early files lack the key: only models with sigmoid scores have a selection bias."""
        gating = self.keys.count("expert_gating_func", SIGMOID if biased else SOFTMAX, least=0)
        if gating not in (SOFTMAX, SIGMOID):
            raise LoadRefused("unsupported", f"expert_gating_func {gating} is not supported for deepseek2")
        return gating

    def _groups(self, experts: int, used: int, like_v3: bool) -> tuple[int, int]:
        """Groups of experts, and how many of them a token uses; early files of V3 and R1 lack the keys."""
        default = (8, 4) if like_v3 and experts == 256 else (1, 1)
        groups = self.keys.count("expert_group_count", default[0], least=0)
        if groups <= 1:
            return 1, 1
        groups_used = self.keys.count("expert_group_used_count", default[1])
        if experts % groups or groups_used > groups or used > experts // groups * groups_used:
            raise self.keys.refuse(
                "expert_group_count",
                f"{groups} groups, {groups_used} used, do not fit {experts} experts, {used} used",
            )
        return groups, groups_used

    def _ffn_norm(self, layer: int) -> Weight:
        return Weight(f"blk.{layer}.ffn_norm.weight", (self.dim,))

    def _gated(self, layer: int, suffix: str, width: int, *experts: int) -> Gated:
        name = f"blk.{layer}.ffn_{{}}{suffix}.weight".format
        return Gated(
            width,
            gate=Weight(name("gate"), (self.dim, width, *experts)),
            up=Weight(name("up"), (self.dim, width, *experts)),
            down=Weight(name("down"), (width, self.dim, *experts)),
        )
