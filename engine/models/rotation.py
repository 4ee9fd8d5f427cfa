"""How a model turns queries and keys by their position: from its keys, and its tensors of factors."""

import math
import struct

from ktd.engine import rope
from ktd.engine.errors import LoadRefused
from ktd.engine.gguf import TensorType
from ktd.engine.models.family import Family
from ktd.engine.models.keys import Keys
from ktd.engine.models.source import Source
from ktd.engine.spec import Rope

NONE = Rope(0, (), "halves")  # of models with a table of positions


def everywhere(source: Source, family: Family, head: int) -> Rope:
    """The rotation of a layer that sees all tokens; `head` is the width of a query and key."""
    keys, dims = source.keys, _dims(source.keys, head)
    longrope = source.has("rope_factors_long.weight")
    scaled = rope.plain(dims, _base(keys)) if longrope else frequencies(keys, family, dims)
    turned = zip(scaled, _factors(source, dims // 2), strict=True)
    magnitude = keys.number("rope.scaling.attn_factor", 1.0, least=1e-3, most=1e3)
    if scaling(keys) == "yarn":
        magnitude *= rope.yarn_mscale(scaling_factor(keys), 0.1)
    return Rope(dims, tuple(frequency / factor for frequency, factor in turned), family.layout, magnitude)


def windowed(source: Source, family: Family, head: int) -> Rope:
    """That of a layer with a window, in families where it differs: of its own base, never scaled."""
    assert family.window_base is not None
    dims = _dims(source.keys, head)
    return Rope(dims, rope.plain(dims, _base(source.keys, "_swa", family.window_base)), family.layout)


def frequencies(keys: Keys, family: Family, dims: int) -> tuple[float, ...]:
    """Radians per position of each pair, scaled."""
    base = _base(keys)
    match scaling(keys):
        case "none":
            return rope.plain(dims, base)
        case "linear":
            return rope.plain(dims, base, scaling_factor(keys))
        case "yarn":
            return rope.yarn(dims, base, _yarn(keys, rounds=family.yarn_rounds))
        case other:
            raise LoadRefused("unsupported", f"rope scaling {other!r} is not supported for {keys.architecture}")


def scaling(keys: Keys) -> str:
    """How the context was extended; a factor without a name is linear."""
    return keys.text("rope.scaling.type", "linear")


def scaling_factor(keys: Keys) -> float:
    """How far the context was extended; 1: it was not."""
    old = keys.number("rope.scale_linear", 1.0, least=1.0, most=1e6)
    return keys.number("rope.scaling.factor", old, least=1.0, most=1e6)


def _yarn(keys: Keys, *, rounds: bool = True) -> rope.Yarn:
    return rope.Yarn(
        scaling_factor(keys),
        keys.count("rope.scaling.original_context_length"),
        keys.number("rope.scaling.yarn_beta_fast", 32.0, least=0.01, most=1e6),
        keys.number("rope.scaling.yarn_beta_slow", 1.0, least=0.01, most=1e6),
        rounds,
    )


def _base(keys: Keys, suffix: str = "", default: float = 10000.0) -> float:
    return keys.number(f"rope.freq_base{suffix}", default, least=2.0, most=1e12)


def _dims(keys: Keys, head: int) -> int:
    dims = keys.count("rope.dimension_count", head)
    if dims % 2 or dims > head:
        raise keys.refuse("rope.dimension_count", f"{dims} is odd or more than the {head} of a head")
    return dims


def _factors(source: Source, pairs: int) -> list[float]:
    """What frequencies are divided by: of Llama 3.1, or of longrope for its long or its short texts.

    A cache serves texts of one length or the other: longrope's long factors, where texts may be longer than the
    model was first trained for.
    """
    keys = source.keys
    trained = keys.count("context_length")
    longest = trained if source.context is None else min(trained, source.context)
    extended = longest > keys.count("rope.scaling.original_context_length", trained)
    name = "rope_freqs.weight"
    if source.has("rope_factors_long.weight"):
        name = f"rope_factors_{'long' if extended else 'short'}.weight"
    tensor = source.gguf.tensors.get(name)
    if tensor is None:
        return [1.0] * pairs
    if tensor.type is not TensorType.F32 or tensor.shape != (pairs,):
        raise LoadRefused("bad_file", f"tensor {name!r} must be F32 of {pairs} factors")
    factors = list(struct.unpack(f"<{pairs}f", source.gguf.data(name)))
    if not all(math.isfinite(factor) and factor > 0 for factor in factors):
        raise LoadRefused("bad_file", f"tensor {name!r} has factors that are not positive")
    return factors
