"""deepseek2: DeepSeek-V2, V2-Lite, V3, R1 and their relatives (arXiv 2405.04434, 2412.19437)."""

import math
from dataclasses import dataclass

from ktd.engine.errors import LoadRefused
from ktd.engine.models import rotation
from ktd.engine.models.decoder import assemble
from ktd.engine.models.family import Family
from ktd.engine.models.gqa import MOST_HEAD_WIDTH
from ktd.engine.models.source import Source
from ktd.engine.rope import yarn_mscale
from ktd.engine.spec import MlaAttention, ModelSpec, Rope

DEEPSEEK = Family(layout="adjacent")


def spec(source: Source) -> ModelSpec:
    """The stages of a file, of today's layout (k_b, v_b) or that of early 2025 (kv_b)."""
    if source.keys.number("attention.temperature_scale", 0.0, least=0.0, most=1e6):
        raise LoadRefused("unsupported", "attention whose temperature grows with the position is not supported")
    mla = _Mla(source)
    rope, scale = mla.rope(), mla.scale()
    return assemble(source, DEEPSEEK, lambda layer: mla.attention(layer, rope, scale))


@dataclass(frozen=True, slots=True)
class _Mla:
    source: Source

    def rope(self) -> Rope:
        keys = self.source.keys
        dims = keys.count("rope.dimension_count")
        if dims % 2 or dims >= self._head_widths()[0]:
            problem = f"{dims} is odd or leaves nothing of {self._head_widths()[0]}"
            raise keys.refuse("rope.dimension_count", problem)
        return Rope(dims, rotation.frequencies(keys, DEEPSEEK, dims), DEEPSEEK.layout)

    def scale(self) -> float:
        """Of the scores; YaRN's mscale squared is in it instead of in the rotation."""
        keys, scale = self.source.keys, 1 / math.sqrt(self._head_widths()[0])
        if rotation.scaling(keys) != "yarn":
            return scale
        multiplier = keys.number("rope.scaling.yarn_log_multiplier", 0.0, least=0.0, most=1.0)
        return scale * yarn_mscale(rotation.scaling_factor(keys), multiplier) ** 2

    def attention(self, layer: int, rope: Rope, scale: float) -> MlaAttention:
        source, keys, dim = self.source, self.source.keys, self.source.dim
        key, value = self._head_widths()
        heads, latent = keys.count("attention.head_count"), keys.count("attention.kv_lora_rank")
        q_lora, nope = keys.count("attention.q_lora_rank", 0, least=0), key - rope.dims
        split = len(getattr(source.gguf.tensors.get(f"blk.{layer}.attn_k_b.weight"), "shape", ())) == 3
        return MlaAttention(
            heads=heads,
            q_lora=q_lora,
            kv_lora=latent,
            nope=nope,
            value=value,
            rope=rope,
            scale=scale,
            eps=source.eps,
            norm=source.weight(layer, "attn_norm.weight", dim),
            kv_a=source.weight(layer, "attn_kv_a_mqa.weight", dim, latent + rope.dims),
            kv_a_norm=source.weight(layer, "attn_kv_a_norm.weight", latent),
            output=source.weight(layer, "attn_output.weight", heads * value, dim),
            q=None if q_lora else source.weight(layer, "attn_q.weight", dim, heads * key),
            q_a=source.weight(layer, "attn_q_a.weight", dim, q_lora) if q_lora else None,
            q_a_norm=source.weight(layer, "attn_q_a_norm.weight", q_lora) if q_lora else None,
            q_b=source.weight(layer, "attn_q_b.weight", q_lora, heads * key) if q_lora else None,
            k_b=source.weight(layer, "attn_k_b.weight", nope, latent, heads) if split else None,
            v_b=source.weight(layer, "attn_v_b.weight", latent, value, heads) if split else None,
            kv_b=None if split else source.weight(layer, "attn_kv_b.weight", latent, heads * (nope + value)),
        )

    def _head_widths(self) -> tuple[int, int]:
        """Of a query and key, and of a value; in files with k_b and v_b the plain keys describe the cache."""
        keys = self.source.keys
        suffix = "_mla" if keys.has("attention.key_length_mla") else ""
        key = keys.count(f"attention.key_length{suffix}", most=MOST_HEAD_WIDTH)
        return key, keys.count(f"attention.value_length{suffix}", most=MOST_HEAD_WIDTH)
