"""Rotation, the way to the cache, and looking back over its pages, against float64."""

from dataclasses import dataclass, replace

import pytest
import torch
from host_kernels import HostLauncher
from torch import Tensor

from ktd.engine.gpu.cuda_attention import AttentionKernels, Look, Places, Turning

PAGE = 16
NOTHING = torch.empty(0)
each_cell = pytest.mark.parametrize("cell", [torch.bfloat16, torch.float16, torch.float32], ids=str)


@pytest.fixture(scope="session")
def attention(host: HostLauncher) -> AttentionKernels:
    return AttentionKernels(host)


def places(positions: list[int], length: int = 1024) -> Places:
    """A sequence per token, its pages scattered over the cache."""
    n, columns = len(positions), -(-length // PAGE)
    pages = torch.randperm(n * columns).view(n, columns)
    ints = (torch.tensor(positions), torch.arange(n), pages)
    return Places(*(part.to(torch.int32) for part in ints), PAGE)


def slots(where: Places, token: int, count: int) -> Tensor:
    """Of positions 0 .. count of a token's sequence."""
    at = torch.arange(count)
    return where.pages[int(where.sequences[token])].long()[at // PAGE] * PAGE + at % PAGE


# --- turn ---


def turned(x: Tensor, turning: Turning, positions: Tensor) -> Tensor:
    """x float64 [n, heads, size]."""
    if turning.norm is not None:
        x = torch.nn.functional.rms_norm(x, x.shape[-1:], turning.norm.double(), turning.eps)
    pairs, out = len(turning.frequencies), x.clone()
    steps = 2 * torch.arange(pairs) if turning.adjacent else torch.arange(pairs)
    first, second = turning.at + steps, turning.at + steps + (1 if turning.adjacent else pairs)
    angles = (positions.float()[:, None] * turning.frequencies).double()[:, None]  # as everywhere: floats
    cos, sin = turning.magnitude * angles.cos(), turning.magnitude * angles.sin()
    out[..., first] = x[..., first] * cos - x[..., second] * sin
    out[..., second] = x[..., second] * cos + x[..., first] * sin
    return out


def turning(adjacent: bool, at: int, dims: int, size: int | None) -> Turning:
    frequencies = 10000.0 ** (-torch.arange(0, dims, 2) / dims)
    return Turning(frequencies, adjacent, at, 1.25, None if size is None else torch.randn(size), 1e-6)


def bound(x: Tensor, t: Turning) -> float:
    """A few roundings of the norm's sum, of cosine and sine (2 units each) and of their products."""
    largest = float(turned(x, replace(t, frequencies=NOTHING), torch.zeros(len(x))).abs().max())
    return (x.shape[2] / 32 + 24) * 2**-24 * 2 * largest


@pytest.mark.parametrize("adjacent", [True, False])
@pytest.mark.parametrize(("at", "dims"), [(0, 64), (16, 32), (0, 10), (0, 0)])
@pytest.mark.parametrize("normed", [True, False])
def test_heads_are_turned_in_place(
    attention: AttentionKernels, adjacent: bool, at: int, dims: int, normed: bool
) -> None:
    t = turning(adjacent, at, dims, 64 if normed else None)
    where = places([0, 7, 163839])
    x = torch.randn(3, 5 * 64)
    before = x.view(3, 5, 64).double()
    attention.turn(x, 5, t, where, None)
    want = turned(before, t, where.positions)
    assert ((x.view(3, 5, 64).double() - want).abs() <= bound(before, t)).all()


@each_cell
def test_a_latent_and_its_key_go_to_the_cache(attention: AttentionKernels, cell: torch.dtype) -> None:
    """The first 512 columns of a wider row normed, the last 64 rotated: what MLA keeps. Other rows stay."""
    where, row, cache = places([0, 17, 1000]), torch.randn(3, 576), torch.full((3 * 1024, 576), 9.0, dtype=cell)
    latent, key = turning(True, 0, 0, 512), turning(True, 0, 64, None)
    attention.turn(row[:, :512], 1, latent, where, cache)
    attention.turn(row[:, 512:], 1, key, where, cache, 512)
    parts = ((row[:, :512], latent), (row[:, 512:], key))
    want = torch.cat([turned(x[:, None].double(), t, where.positions)[:, 0] for x, t in parts], dim=1)
    for token, position in enumerate([0, 17, 1000]):
        slot = slots(where, token, position + 1)[-1]
        steps = torch.finfo(cell).eps * want[token].abs() + 1e-5
        assert ((cache[slot].double() - want[token]).abs() <= steps).all()
        cache[slot] = 9.0
    assert (cache == 9.0).all()


# --- attend ---


@dataclass(frozen=True)
class Case:
    look: Look
    heads: int
    positions: tuple[int, ...]


CASES = {
    "r1": Case(Look(1, 576, 512, True, 0.1352), 128, (40,)),
    "latent": Case(Look(1, 80, 64, True, 0.1), 20, (0, 15, 16, 300, 777)),
    "grouped": Case(Look(2, 64, 64, False, 0.125), 6, (0, 3, 255, 256, 600)),
    "wide": Case(Look(1, 256, 256, False, 0.06), 3, (31, 511)),
    "window": Case(Look(2, 64, 64, False, 0.125, window=20), 6, (5, 19, 20, 270, 600)),
    "softcap": Case(Look(1, 128, 128, False, 1.0, softcap=5.0), 17, (9, 80)),
    "sinks": Case(Look(2, 64, 64, False, 0.125, window=128, sinks=torch.linspace(-3, 8, 6)), 6, (0, 400)),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def looked(case: Case, q: Tensor, cache: Tensor, where: Places, token: int) -> tuple[Tensor, Tensor]:
    """Of one token in float64: out [heads, value], and the shares' mix of magnitudes."""
    look, end = case.look, int(where.positions[token]) + 1
    rows = cache[slots(where, token, end)].double()
    rows = rows[max(0, end - look.window) if look.window else 0 :]
    keys = rows[:, : look.kv_heads * look.key].view(len(rows), look.kv_heads, -1)
    values = keys[..., : look.value] if look.latent else rows[:, look.kv_heads * look.key :].view(*keys.shape[:2], -1)
    keys, values = (part.repeat_interleave(case.heads // look.kv_heads, dim=1) for part in (keys, values))
    scores = look.scale * torch.einsum("hk,lhk->hl", q[token].double(), keys)
    if look.softcap:
        scores = look.softcap * (scores / look.softcap).tanh()
    if look.sinks is not None:
        scores = torch.cat((scores, look.sinks.double()[:, None]), dim=1)
    shares = scores.softmax(1)[:, : len(rows)]
    return torch.einsum("hl,lhv->hv", shares, values), torch.einsum("hl,lhv->hv", shares, values.abs())


def given(case: Case, cell: torch.dtype) -> tuple[Tensor, Tensor, Places]:
    look = case.look
    width = look.key if look.latent else look.kv_heads * (look.key + look.value)
    where = places(list(case.positions), max(case.positions) + 1)
    cache = torch.full((where.pages.numel() * PAGE, width), torch.nan, dtype=cell)  # what nobody wrote nobody reads
    for token, position in enumerate(case.positions):
        own = slots(where, token, position + 1)
        cache[own] = torch.randn(len(own), width).to(torch.bfloat16).to(cell)
    q = torch.randn(len(case.positions), case.heads, look.key).to(torch.bfloat16).float()
    return q, cache, where


def attend(attention: AttentionKernels, case: Case, q: Tensor, cache: Tensor, where: Places) -> Tensor:
    out = torch.full((len(q), case.heads, case.look.value), torch.nan)
    attention.attend(q, cache, case.look, where, out, max(case.positions) + 1)
    return out


@each_case
def test_single_tokens_look_back(attention: AttentionKernels, case: Case) -> None:
    """Queries and cache are numbers of bf16, so scores are off by floats' roundings alone; then a share is rounded to
    eight bits, and mixed: half a step of every value's magnitude, and the same for the whole."""
    q, cache, where = given(case, torch.bfloat16)
    got = attend(attention, case, q, cache, where)
    for token in range(len(case.positions)):
        want, sizes = looked(case, q, cache, where, token)
        assert ((got[token].double() - want).abs() <= (2 * 2**-9 + 2**-12) * sizes).all()


@pytest.mark.parametrize("cell", [torch.float16, torch.float32], ids=str)
def test_other_cells_give_the_same(attention: AttentionKernels, cell: torch.dtype) -> None:
    """The same numbers of bf16, kept as f16 or f32."""
    case = CASES["grouped"]
    q, cache, where = given(case, torch.bfloat16)
    cache[cache.abs() < 2**-14] = 0  # below, f16 has fewer bits
    want = attend(attention, case, q, cache, where)
    assert torch.equal(attend(attention, case, q, cache.to(cell), where), want)


def test_a_token_sees_the_same_beside_longer_ones(attention: AttentionKernels) -> None:
    """Splits are cut by position alone."""
    case = CASES["grouped"]
    q, cache, where = given(case, torch.bfloat16)
    together = attend(attention, case, q, cache, where)
    for token, position in enumerate(case.positions):
        alone = Places(where.positions[token : token + 1], where.sequences[token : token + 1], where.pages, PAGE)
        got = attend(attention, replace(case, positions=(position,)), q[token : token + 1], cache, alone)
        assert torch.equal(got[0], together[token])
