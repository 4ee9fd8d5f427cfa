"""ModelSpec: a model as a list of stages, each a frozen record of facts and weight names.

No device, no kernel, no loop over tokens. A backend walks the stages in order; each stage reads and writes the
hidden state, float32 [tokens, dim], and adds its own residual.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from typing import Literal

Activation = Literal["silu", "gelu", "erf_gelu", "clamped_silu"]
Pooling = Literal["mean", "cls", "last"]


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor by its GGUF name and the shape it must have, GGUF order: the contiguous dimension first.

    Where a file keeps several weights in one tensor, this one is the rows (dimension 1) from `first` on, out of
    `of` rows.
    """

    name: str
    shape: tuple[int, ...]
    first: int = 0
    of: int | None = None

    @property
    def stored(self) -> tuple[int, ...]:
        """The shape of the whole tensor in the file."""
        return self.shape if self.of is None else (self.shape[0], self.of, *self.shape[2:])


@dataclass(frozen=True, slots=True)
class Stack:
    """A weight per expert, each in a tensor of its own, as files of early 2024 keep them."""

    parts: tuple[Weight, ...]


@dataclass(frozen=True, slots=True)
class Rope:
    """Rotary embedding. `frequencies` are radians per position, one per pair, with any scaling folded in.

    `layout` says which elements make a pair: neighbours (2i, 2i+1), or the two halves (i, i + dims/2). Without
    dims nothing is rotated.
    """

    dims: int
    frequencies: tuple[float, ...]
    layout: Literal["adjacent", "halves"]
    magnitude: float = 1.0  # what the rotated values are multiplied by (YaRN, longrope)


@dataclass(frozen=True, slots=True)
class Embed:
    table: Weight  # {dim, vocab}
    dim: int
    vocab: int
    scale: float = 1.0  # of the rows
    positions: Weight | None = None  # {dim, context}: the row of a token's position is added
    types: Weight | None = None  # {dim, types}: row 0 is added, as all tokens are of the first text


@dataclass(frozen=True, slots=True)
class Combine:
    """How a block that predicts further tokens begins (DeepSeek-V3, arXiv 2412.19437, section 2.2).

    hidden = project . [norm(row of a token), state_norm(the model's state of the token before it)].
    """

    table: Weight  # {dim, vocab}
    dim: int
    vocab: int
    eps: float
    norm: Weight  # {dim}
    state_norm: Weight  # {dim}
    project: Weight  # {2 dim, dim}


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """hidden = norm(hidden) * weight + bias: in models that norm what a block made instead of what it reads."""

    eps: float
    norm: Weight  # {dim}
    norm_bias: Weight  # {dim}


@dataclass(frozen=True, slots=True)
class MlaAttention:
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1).

    The cache row is the normed latent [kv_lora] then the rotated key [rope.dims]. Either `q` or the three `q_a`,
    `q_a_norm`, `q_b`; either `kv_b` or `k_b` and `v_b`.
    """

    heads: int
    q_lora: int  # 0: q is one matrix
    kv_lora: int
    nope: int
    value: int
    rope: Rope
    scale: float  # of the scores, YaRN's mscale squared included
    eps: float
    norm: Weight  # {dim}
    kv_a: Weight  # {dim, kv_lora + rope}
    kv_a_norm: Weight  # {kv_lora}
    output: Weight  # {heads * value, dim}
    q: Weight | None = None  # {dim, heads * (nope + rope)}
    q_a: Weight | None = None  # {dim, q_lora}
    q_a_norm: Weight | None = None  # {q_lora}
    q_b: Weight | None = None  # {q_lora, heads * (nope + rope)}
    k_b: Weight | None = None  # {nope, kv_lora, heads}
    v_b: Weight | None = None  # {kv_lora, value, heads}
    kv_b: Weight | None = None  # {kv_lora, heads * (nope + value)}; per head nope key rows, then value rows

    @property
    def cache_width(self) -> int:
        return self.kv_lora + self.rope.dims


@dataclass(frozen=True, slots=True)
class GqaAttention:
    """Grouped-query attention (arXiv 2305.13245): `heads` / `kv_heads` query heads share a key and value head.

    The cache row is all keys, normed and rotated, then all values. `q_norm` and `k_norm` are RMS norms per head,
    before the rotation; `post_norm` is one of the output, before it is added. A sink is a score per head that
    takes its part of the softmax and has no value.

    Here and in the other stages, what a block reads is RMS-normed; with a `norm_bias` it is LayerNorm, without a
    `norm` the hidden state is read as it is.
    """

    heads: int
    kv_heads: int
    head: int  # values of one head
    rope: Rope
    scale: float  # of the scores
    eps: float
    norm: Weight | None  # {dim}
    q: Weight  # {dim, heads * head}
    k: Weight  # {dim, kv_heads * head}
    v: Weight  # {dim, kv_heads * head}
    output: Weight  # {heads * head, dim}
    norm_bias: Weight | None = None  # {dim}
    q_bias: Weight | None = None  # {heads * head}
    k_bias: Weight | None = None  # {kv_heads * head}
    v_bias: Weight | None = None  # {kv_heads * head}
    q_norm: Weight | None = None  # {head}
    k_norm: Weight | None = None  # {head}
    output_bias: Weight | None = None  # {dim}
    post_norm: Weight | None = None  # {dim}
    sinks: Weight | None = None  # {heads}
    window: int = 0  # tokens seen, the own included; 0: all
    softcap: float = 0.0  # scores become softcap * tanh(score / softcap); 0: they stay
    causal: bool = True  # a token sees none after it; else all of its text, which then takes one step

    @property
    def cache_width(self) -> int:
        return 2 * self.kv_heads * self.head


@dataclass(frozen=True, slots=True)
class Gated:
    """A gated feed-forward block, down(activation(gate(x)) * up(x)), or `experts` of them in dimension 2.

    Without `up` nothing is multiplied: a plain block. `gelu` is its tanh form, `erf_gelu` the exact one;
    `clamped_silu` is that of gpt-oss, g * sigmoid(1.702 g) * (u + 1) with g at most 7 and u within 7 of zero.
    """

    width: int
    gate: Weight | Stack  # {dim, width[, experts]}
    up: Weight | Stack | None  # {dim, width[, experts]}
    down: Weight | Stack  # {width, dim[, experts]}
    activation: Activation = "silu"
    gate_bias: Weight | None = None  # {width[, experts]}
    up_bias: Weight | None = None  # {width[, experts]}
    down_bias: Weight | None = None  # {dim[, experts]}


@dataclass(frozen=True, slots=True)
class DenseFfn:
    eps: float
    norm: Weight | None  # {dim}
    block: Gated
    norm_bias: Weight | None = None  # {dim}
    post_norm: Weight | None = None  # {dim}, of the output before it is added


@dataclass(frozen=True, slots=True)
class Router:
    """Which experts a token takes and with what weights (DeepSeek-V3, arXiv 2412.19437, section 2.1.2).

    Scores are softmax or sigmoid of the logits plus `logits_bias`; `bias` is added for the choice only. With
    `groups` > 1 only the `groups_used` best groups compete; a group is worth its best score, or the sum of its two
    best.
    """

    gating: Literal["softmax", "sigmoid"]
    experts: int
    used: int
    groups: int
    groups_used: int
    group_score: Literal["max", "top2"]
    normalise: bool
    scale: float
    logits: Weight  # {dim, experts}
    bias: Weight | None = None  # {experts}
    logits_bias: Weight | None = None  # {experts}


@dataclass(frozen=True, slots=True)
class MoeFfn:
    eps: float
    norm: Weight  # {dim}
    router: Router
    experts: Gated
    shared: Gated | None = None
    shared_gate: Weight | None = None  # {dim}: the shared block counts sigmoid(shared_gate . x)


@dataclass(frozen=True, slots=True)
class Head:
    """Final norm and logits [rows, vocab], only for the rows that need them; without `output` there are none.

    The states of a model are the rows after this norm.
    """

    vocab: int
    eps: float
    norm: Weight | None  # {dim}
    output: Weight | None  # {dim, vocab}
    norm_bias: Weight | None = None  # {dim}
    softcap: float = 0.0  # logits become softcap * tanh(logit / softcap); 0: they stay


Stage = Embed | Combine | LayerNorm | MlaAttention | GqaAttention | DenseFfn | MoeFfn | Head


@dataclass(frozen=True, slots=True)
class ModelSpec:
    architecture: str
    dim: int
    vocab: int
    context: int  # tokens the model was trained for
    stages: tuple[Stage, ...]
    pooling: Pooling = "last"  # of the states to an embedding
    draft: tuple[Stage, ...] = ()  # goes on from the states: guesses the token after the next

    @property
    def generates(self) -> bool:
        """It has logits, and a token sees none after it; else it is an encoder."""
        return all(stage.causal for stage in self.stages if isinstance(stage, GqaAttention))


def weights(part: object) -> Iterator[Weight]:
    """Every weight of a stage or spec, in the order of the fields."""
    if isinstance(part, Weight):
        yield part
    elif isinstance(part, tuple):
        for item in part:
            yield from weights(item)
    elif is_dataclass(part):
        for field in fields(part):
            yield from weights(getattr(part, field.name))
