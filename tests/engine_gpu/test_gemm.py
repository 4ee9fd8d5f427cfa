"""Many tokens: grouping by expert, and the grouped product of every type."""

import numpy as np
import pytest
import torch
from blocks import BY_NAME, TYPES, Type, dequantized, random_rows, width
from torch import Tensor

from ktd.engine.gguf import TensorType
from ktd.engine.gpu.cuda_kernels import Kernels
from ktd.engine.gpu.grouping import TILE, grouped
from ktd.engine.gpu.planes import lay

QUANTISED = [t for t in TYPES if t.block > 1]
EXPERTS = 5


def choices(n: int, used: int) -> Tensor:
    """Expert 3 is never chosen, expert 1 most often."""
    likely = torch.tensor([1.0, 9.0, 1.0, 0.0, 2.0])
    return torch.multinomial(likely.expand(n, -1), used).int()


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 300])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_tiles_hold_every_entry_once(n: int, elsewhere: bool) -> None:
    ids = choices(n, 3)
    places = torch.tensor([1, 0, -1, -1, 2], dtype=torch.int32) if elsewhere else None
    made = grouped(ids, EXPERTS, places)
    seen = []
    for place, first, count in made.tiles.tolist():
        assert 0 <= count <= TILE
        entries = made.order[first : first + count].tolist() if count else []
        expert = {ids.flatten()[entry].item() for entry in entries}
        assert len(expert) <= 1
        assert all((int(places[e]) if places is not None else e) == place for e in expert)
        assert made.rows[first : first + count].tolist() == [entry // 3 for entry in entries] or not count
        seen += entries
    wanted = [i for i, e in enumerate(ids.flatten().tolist()) if places is None or places[e] >= 0]
    assert sorted(seen) == wanted


@pytest.mark.parametrize("t", QUANTISED, ids=lambda t: t.name)
def test_grouped_product(kernels: Kernels, t: Type) -> None:
    """Against float64 of the same bf16 numbers. A weight is rounded to bf16 once, half a step of 2^-8, after a few
    roundings of its float (6 units of 2^-24 of what its code and offset are); sums are floats."""
    rows, k, n = 70, width(t, 96), 67
    stored = random_rows(t, EXPERTS * rows, k, np.random.default_rng(t.number))
    laid = lay(TensorType(t.number), torch.from_numpy(stored))
    values = torch.from_numpy(dequantized(t, stored)).double().view(EXPERTS, rows, k)
    x, ids = torch.randn(n, k).to(torch.bfloat16), choices(n, 2)
    grouping = grouped(ids, EXPERTS)
    out = torch.full((2 * n, rows), torch.nan)
    kernels.grouped_gemm(laid, rows, x, grouping, out, gathered=False)
    made = torch.empty(EXPERTS * rows, k, dtype=torch.bfloat16)
    kernels.dequantise(laid, 0, made)
    for entry, choice in enumerate(grouping.order.tolist()):
        expert, token = int(ids.flatten()[choice]), x[choice // 2].double()
        halves = made.view(EXPERTS, rows, k)[expert].double()
        sizes = token.abs() @ halves.abs().T
        assert ((out[entry].double() - token @ halves.T).abs() <= (k / 16 + 16) * 2**-24 * sizes).all()
        assert ((halves - values[expert]).abs() <= 2**-8 * values[expert].abs() + 1e-3 * values.abs().max()).all()


def test_rows_that_are_gathered_already(kernels: Kernels) -> None:
    """As between two products of the same tokens."""
    laid = lay(
        TensorType.Q8_0, torch.from_numpy(random_rows(BY_NAME["Q8_0"], EXPERTS * 9, 64, np.random.default_rng(0)))
    )
    x, grouping = torch.randn(30, 64).to(torch.bfloat16), grouped(choices(30, 2), EXPERTS)
    out, again = torch.empty(60, 9), torch.empty(60, 9)
    kernels.grouped_gemm(laid, 9, x, grouping, out, gathered=False)
    kernels.grouped_gemm(laid, 9, x[grouping.rows.long()].contiguous(), grouping, again, gathered=True)
    assert torch.equal(out, again)
