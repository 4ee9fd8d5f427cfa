"""Planes hold what the file held, bit for bit, for every type."""

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, quants

from ktd.engine.gguf import TensorType
from ktd.engine.gpu import planes
from ktd.engine.gpu.planes import PLANES, laid_bytes

WEIGHTS = [t for t in TensorType if not t.name.startswith(("I8", "I16", "I32", "I64", "F64"))]
each_type = pytest.mark.parametrize("type", WEIGHTS, ids=lambda t: t.name)


def any_blocks(type: TensorType, rows: int, blocks: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(int(type))
    return torch.randint(0, 256, (rows, blocks * type.bytes), dtype=torch.uint8, generator=generator)


@each_type
def test_every_bit_comes_back(type: TensorType) -> None:
    stored = any_blocks(type, 5, 3)
    if type is TensorType.TQ1_0:
        stored = planes.ternary_pairs(stored.view(-1, type.bytes)).view(5, -1)
        type = TensorType.TQ2_0
    laid = planes.lay(type, stored)
    assert len(laid.bytes) == laid_bytes(type, laid.rows * laid.k) == stored.numel()
    assert torch.equal(planes.blocks_of(laid), stored)
    if type.block > 1 and len(PLANES[type]) > 1:
        assert not torch.equal(laid.bytes, stored.flatten())


def test_ternary_digits_become_pairs_of_bits() -> None:
    """TQ1_0 keeps five digits in a byte, so only its weights can be compared: they are gguf's, to the last bit."""
    rng = np.random.default_rng(1)
    stored = quants.quantize(rng.standard_normal((4, 512)).astype(np.float32), GGMLQuantizationType.TQ1_0)
    laid = planes.lay(TensorType.TQ1_0, torch.from_numpy(stored))
    pairs = planes.blocks_of(laid).numpy()
    want = quants.dequantize(stored, GGMLQuantizationType.TQ1_0)
    got = quants.dequantize(pairs, GGMLQuantizationType.TQ2_0)
    np.testing.assert_array_equal(got.view(np.uint32), want.view(np.uint32))


@each_type
def test_planes_are_aligned_to_their_words(type: TensorType) -> None:
    """Behind any number of blocks, a plane begins at a multiple of the widest power of two that divides its size."""
    before = 0
    for plane in PLANES.get(type, ()):
        word = min(16, plane.size & -plane.size)
        assert before % word == 0
        before += plane.size
    assert type is TensorType.TQ1_0 or before == type.bytes


@each_type
def test_rows_can_be_laid_one_by_one_and_copied(type: TensorType) -> None:
    stored = any_blocks(type, 6, 2)
    laid = planes.lay(type, stored)
    k = 2 * type.block
    slots = planes.empty(type, 4, k)
    planes.put(slots, 1, type, stored[2:4])
    for slot, matrix in zip(slots.planes(), laid.planes(), strict=True):
        assert torch.equal(slot[1:3], matrix[2:4])


def test_slices_bound_the_scratch_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = any_blocks(TensorType.Q4_K, 7, 2)
    whole = planes.lay(TensorType.Q4_K, stored)
    monkeypatch.setattr(planes, "SLICE", 3 * 512)
    assert torch.equal(planes.lay(TensorType.Q4_K, stored).bytes, whole.bytes)


def test_codes_of_four_neighbours_share_a_register() -> None:
    """The order that kernels count on: 32 crumbs 0..3 in 8 bytes, weight 8 j + b at bits 2 j of byte b."""
    codes = torch.arange(32, dtype=torch.uint8)[None] % 4
    packed = planes.gathered(codes, 2, 8)[0]
    for weight in range(32):
        assert packed[weight % 8] >> 2 * (weight // 8) & 3 == weight % 4
