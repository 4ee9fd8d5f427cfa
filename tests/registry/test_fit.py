"""Whether a model runs here, said before it is fetched."""

import pytest
from gguf_writer import STRING, UINT32, RawGguf, RawTensor

from ktd.engine.gguf import read_beginning
from ktd.registry.fit import Machine, fit

GB = 10**9
R1 = {"block_count": 61, "embedding_length": 7168, "context_length": 163840, "leading_dense_block_count": 3,
      "expert_count": 256, "expert_feed_forward_length": 2048, "attention.kv_lora_rank": 512,
      "rope.dimension_count": 64}  # fmt: skip
DENSE = {"block_count": 64, "embedding_length": 5120, "context_length": 40960, "attention.head_count": 40,
         "attention.head_count_kv": 8}  # fmt: skip


def metadata(keys):
    raw = RawGguf().key("general.architecture", STRING, "deepseek2").tensor(RawTensor("x", (8,)))
    for key, value in keys.items():
        raw = raw.key(f"deepseek2.{key}", UINT32, value)
    data = raw.build()
    return read_beginning("x.gguf", data, len(data)).metadata


@pytest.mark.parametrize(
    ("keys", "weights", "ram", "verdict"),
    [
        (R1, 140 * GB, 200 * GB, "fits"),
        (R1, 140 * GB, 64 * GB, "streams"),
        (R1, 404 * GB, 128 * GB, "streams"),
        (R1, 140 * GB, 8 * GB, "too large"),
        (DENSE, 20 * GB, 48 * GB, "fits"),
        (DENSE, 20 * GB, 16 * GB, "too large"),
    ],
)
def test_verdicts(keys, weights, ram, verdict):
    assert fit(weights, metadata(keys), Machine(ram)).verdict == verdict


def test_the_cache_counts():
    """R1's latent cache: 61 layers of 576 values of 4 bytes for each of 32768 tokens."""
    found = fit(140 * GB, metadata(R1), Machine(200 * GB))
    assert found.needed - 140 * GB - (256 << 20) == 61 * 32768 * 576 * 4


def test_what_is_said():
    said = str(fit(140 * GB, metadata(R1), Machine(64 * GB, 48 * GB, 2)))
    assert said.startswith("LARGER than this machine's memory: about 145 GB of memory needed, 64 GB of RAM available")
    assert "48 GB of VRAM on 2 GPUs (used with --devices)" in said
    assert str(fit(140 * GB, None, Machine(64 * GB))).startswith("TOO LARGE for this machine: about 140 GB")
