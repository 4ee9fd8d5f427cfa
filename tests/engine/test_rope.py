import math

import pytest
from transformers import DeepseekV3Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from ktd.engine import rope

# transformers computes in float32: a power, a quotient and a blend of two, each rounded once.
RELATIVE = 4 * 2.0**-23


@pytest.mark.parametrize(
    ("dims", "base", "factor", "original", "fast", "slow"),
    [
        (64, 10000.0, 40.0, 4096, 32, 1),  # DeepSeek-V3, R1, V2-Lite
        (64, 50000.0, 32.0, 4096, 1, 1),  # Kimi-K2: both ends of the blend close together
        (64, 10000.0, 4.0, 512, 32, 1),  # the demo model
        (16, 10000.0, 4.0, 64, 32, 1),
        (128, 1e6, 8.0, 32768, 16, 2),
    ],
)
def test_yarn_is_that_of_transformers(
    dims: int, base: float, factor: float, original: int, fast: float, slow: float
) -> None:
    config = DeepseekV3Config(
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": base,
            "factor": factor,
            "original_max_position_embeddings": original,
            "beta_fast": fast,
            "beta_slow": slow,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
        },
    )
    config.head_dim = dims
    expected, attention_factor = ROPE_INIT_FUNCTIONS["yarn"](config, "cpu")
    ours = rope.yarn(dims, base, rope.Yarn(factor, original, fast, slow))
    assert ours == pytest.approx(expected.tolist(), rel=RELATIVE)
    assert attention_factor == 1.0  # rotated vectors keep their length; mscale goes into the scores


def test_plain_and_linear() -> None:
    assert rope.plain(8, 10000.0) == pytest.approx([1.0, 0.1, 0.01, 0.001])
    assert rope.plain(8, 10000.0, 4.0) == pytest.approx([0.25, 0.025, 0.0025, 0.00025])


def test_a_factor_of_one_changes_nothing() -> None:
    assert rope.yarn(64, 10000.0, rope.Yarn(1.0, 4096)) == pytest.approx(rope.plain(64, 10000.0))


def test_mscale_of_r1_and_v2_lite() -> None:
    assert rope.yarn_mscale(40.0, 0.1) == pytest.approx(1.3688879)
    assert rope.yarn_mscale(40.0, 0.1) ** 2 / math.sqrt(192) == pytest.approx(0.13523, abs=1e-5)
    assert rope.yarn_mscale(40.0, 0.0707) == pytest.approx(1 + 0.0707 * math.log(40))
    assert rope.yarn_mscale(40.0, 0.0) == rope.yarn_mscale(0.5, 0.1) == 1.0
