"""Rotary embedding frequencies, with linear or YaRN scaling (arXiv 2309.00071) folded in."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Yarn:
    """`original` is the context length before the extension by `factor`.

    Pairs that turn more than `beta_fast` times within it keep their frequency, those that turn less than
    `beta_slow` times are slowed by `factor`, the ones between are blended. `rounds` moves the ends of the blend
    outwards to whole pairs.
    """

    factor: float
    original: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    rounds: bool = True


def plain(dims: int, base: float, factor: float = 1.0) -> tuple[float, ...]:
    """Radians per position of each pair, [dims / 2]; positions are divided by `factor`."""
    return tuple(base ** (-2 * pair / dims) / factor for pair in range(dims // 2))


def yarn(dims: int, base: float, scaling: Yarn) -> tuple[float, ...]:
    """As `plain`, scaled by YaRN."""
    first = _pair_turning(scaling.beta_fast, dims, base, scaling.original)
    last = _pair_turning(scaling.beta_slow, dims, base, scaling.original)
    low = max(math.floor(first) if scaling.rounds else first, 0)
    high = min(math.ceil(last) if scaling.rounds else last, dims - 1)
    width = max(high - low, 0.001)
    return tuple(
        frequency * _blend(1.0, 1.0 / scaling.factor, (pair - low) / width)
        for pair, frequency in enumerate(plain(dims, base))
    )


def yarn_mscale(factor: float, log_multiplier: float) -> float:
    """What YaRN multiplies queries and keys with each, 1 + log_multiplier * ln(factor).

    GGUF's `rope.scaling.yarn_log_multiplier` is 0.1 times the `mscale_all_dim` of DeepSeek's configuration.
    """
    return 1.0 + log_multiplier * math.log(factor) if factor > 1 else 1.0


def _pair_turning(turns: float, dims: int, base: float, original: int) -> float:
    """The (fractional) pair that makes this many turns in `original` positions."""
    return dims * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base))


def _blend(kept: float, slowed: float, ramp: float) -> float:
    share = min(max(ramp, 0.0), 1.0)
    return kept * (1 - share) + slowed * share
