"""The kernel sources of the GPU, run on the CPU, against exact products: every type, odd sizes, one to eight tokens."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from blocks import BY_NAME, TYPES, Type, apart, dequantized, random_rows, width
from host_kernels import HostLauncher
from torch import Tensor

from ktd.engine import _core
from ktd.engine.gguf import TensorType
from ktd.engine.gpu.cuda_kernels import Activations, Choice, GateUp, Kernels
from ktd.engine.gpu.planes import Laid, lay

QUANTISED = [t for t in TYPES if t.block > 1]
EPSILON = 2.0**-24  # half a unit in the last place, relative
each_type = pytest.mark.parametrize("t", QUANTISED, ids=lambda t: t.name)


class Matrix:
    """Random weights, laid, and the same as numbers."""

    def __init__(self, t: Type, rows: int, k: int, seed: int = 0) -> None:
        stored = random_rows(t, rows, k, np.random.default_rng(seed + t.number))
        self.laid = lay(TensorType(t.number), torch.from_numpy(stored))
        self.values = torch.from_numpy(dequantized(t, stored)).double()
        self.sizes = self.values.abs() + 2 * torch.from_numpy(apart(t, stored))[:, None]


def quantised(kernels: Kernels, n: int, k: int, seed: int = 0) -> Activations:
    made = Activations.empty(n, k)
    kernels.quantise(torch.randn(n, k, generator=torch.Generator().manual_seed(seed)), made)
    return made


def tolerance(m: Matrix, x: Activations) -> Tensor:
    """[n, rows]. A product of 32 is exact but for its scales, then at most k / 32 of them are added by three steps
    each; every step is off by EPSILON of what has been added so far, which the sum of magnitudes bounds."""
    return (x.q.shape[1] / 32 * 3 + 16) * EPSILON * (x.floats().abs().double() @ m.sizes.T) + 1e-30


def assert_product(m: Matrix, x: Activations, got: Tensor) -> None:
    assert ((got.double() - x.floats().double() @ m.values.T).abs() <= tolerance(m, x)).all()


@each_type
@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_matvec(kernels: Kernels, t: Type, n: int) -> None:
    """Rows that no team of threads divides."""
    k = width(t, 512)
    m, x, out = Matrix(t, 11, k), quantised(kernels, n, k), torch.full((n, 11), torch.nan)
    kernels.matvec(m.laid, x, out)
    assert_product(m, x, out)


@each_type
def test_matvec_of_odd_widths(kernels: Kernels, t: Type) -> None:
    """Rows shorter than a warp, and such that its lanes take different numbers of groups."""
    for about in (32, 288, 1312):
        k = width(t, about)
        m, x, out = Matrix(t, 3, k), quantised(kernels, 2, k), torch.full((2, 3), torch.nan)
        kernels.matvec(m.laid, x, out)
        assert_product(m, x, out)


@each_type
def test_a_token_keeps_every_bit_beside_others(kernels: Kernels, t: Type) -> None:
    k = width(t, 512)
    m, x = Matrix(t, 5, k), quantised(kernels, 7, k)
    together, alone = torch.empty(7, 5), torch.empty(1, 5)
    kernels.matvec(m.laid, x, together)
    for token in range(7):
        kernels.matvec(m.laid, rows_of(x, token, token + 1), alone)
        assert torch.equal(alone[0], together[token])


def rows_of(x: Activations, first: int, end: int) -> Activations:
    return Activations(x.q[first:end], x.scales[first:end], x.sums[first:end])


@pytest.mark.parametrize("name", ["Q8_0", "Q4_K", "IQ1_S", "IQ2_XXS"])
def test_a_row_can_take_a_whole_block_of_threads(host: HostLauncher, name: str) -> None:
    """On a device so large that few rows would not fill it."""
    large = Kernels(host.with_processors(1000))
    m, x = Matrix(BY_NAME[name], 5, 4352), quantised(Kernels(host), 3, 4352)
    out = torch.full((3, 5), torch.nan)
    large.matvec(m.laid, x, out)
    assert_product(m, x, out)


@pytest.mark.parametrize("name", ["Q8_0", "Q6_K", "IQ3_S"])
def test_rows_go_round_a_small_grid(host: HostLauncher, name: str) -> None:
    kernels = Kernels(host.with_processors(1))
    m, x = Matrix(BY_NAME[name], 131, 256), quantised(kernels, 1, 256)
    out = torch.full((1, 131), torch.nan)
    kernels.matvec(m.laid, x, out)
    assert_product(m, x, out)


def test_parts_have_activations_of_their_own(kernels: Kernels) -> None:
    """As the keys and values of heads: rows of head h see row t * heads + h."""
    m, x = Matrix(BY_NAME["Q8_0"], 3 * 5, 64), quantised(kernels, 2 * 3, 64)
    out = torch.empty(2, 15)
    kernels.matvec(m.laid, x, out, parts=3)
    for token in range(2):
        for part in range(3):
            alone = torch.empty(1, 5)
            kernels.matvec(m.laid, rows_of(x, 3 * token + part, 3 * token + part + 1), alone, first=5 * part)
            assert torch.equal(alone[0], out[token, 5 * part : 5 * part + 5])


def test_products_are_added(kernels: Kernels) -> None:
    m, x = Matrix(BY_NAME["Q4_K"], 6, 256), quantised(kernels, 2, 256)
    out, before = torch.empty(2, 6), torch.randn(2, 6)
    kernels.matvec(m.laid, x, out)
    sum = before.clone()
    kernels.matvec(m.laid, x, sum, add=True)
    assert torch.equal(sum, before + out)


@pytest.mark.parametrize("name", ["F32", "F16", "BF16"])
@pytest.mark.parametrize("k", [1, 100, 520])
def test_float_matvec(kernels: Kernels, name: str, k: int) -> None:
    m = Matrix(BY_NAME[name], 9, k)
    for n in (1, 3, 8):
        x, out = torch.randn(n, k), torch.full((n, 9), torch.nan)
        kernels.float_matvec(m.laid, x, out)
        off = (out.double() - x.double() @ m.values.T).abs()
        assert (off <= (k + 8) * EPSILON * (x.abs().double() @ m.values.abs().T)).all()


@each_type
def test_dequantise(kernels: Kernels, t: Type) -> None:
    """A scale is rounded a few times, and so is its product with the code; then bf16 has 8 bits."""
    k = width(t, 512)
    m = Matrix(t, 7, k)
    floats, halves = torch.empty(4, k), torch.empty(4, k, dtype=torch.bfloat16)
    kernels.dequantise(m.laid, 2, floats)
    kernels.dequantise(m.laid, 2, halves)
    assert ((floats.double() - m.values[2:6]).abs() <= 6 * EPSILON * m.sizes[2:6]).all()
    assert torch.equal(halves, floats.to(torch.bfloat16))


# --- blocks of experts ---

USED, EXPERTS, WIDTH = 3, 4, 64


def choice(places: list[int] | None = None) -> Choice:
    ids = torch.tensor([[2, 0, 3], [1, 3, 2]], dtype=torch.int32)
    factors = torch.tensor([[0.5, -1.0, 2.0], [1.5, 0.25, 1.0]])
    return Choice(ids, factors, None if places is None else torch.tensor(places, dtype=torch.int32))


def entries(c: Choice) -> Iterator[tuple[int, int, int, int]]:
    """Entry, token, expert and place of what is on the device."""
    for entry, expert in enumerate(c.ids.flatten().tolist()):
        place = expert if c.places is None else int(c.places[expert])
        if place >= 0:
            yield entry, entry // USED, expert, place


def silu(gate: Tensor, up: Tensor) -> Tensor:
    return torch.nn.functional.silu(gate) * up


def gate_up_of(kernels: Kernels, gate: Laid, up: Laid | None, c: Choice, x: Activations) -> Activations:
    made = Activations.empty(c.ids.numel(), WIDTH)
    kernels.gate_up(GateUp(gate, up, "silu"), c, x, made)
    return made


@each_type
def test_gate_and_up(kernels: Kernels, t: Type) -> None:
    """Against the exact block. What matvec may be off moves gate by its tolerance, silu by 1.1 of that, and up by its
    own; then 32 values are rounded to 127 steps of the largest, half a step off."""
    k, c = width(t, 512), choice()
    gate, up = Matrix(t, EXPERTS * WIDTH, k), Matrix(t, EXPERTS * WIDTH, k, seed=100)
    x = quantised(kernels, 2, k)
    x.scales.mul_(scale := 1 / float((x.floats().double() @ gate.values.T).abs().max()))  # silu of moderate numbers
    x.sums.mul_(scale)
    got = gate_up_of(kernels, gate.laid, up.laid, c, x).floats().double()
    for entry, token, expert, _ in entries(c):
        rows, one = slice(expert * WIDTH, (expert + 1) * WIDTH), rows_of(x, token, token + 1)
        g, u = ((one.floats().double() @ m.values.T)[0, rows] for m in (gate, up))
        off = 1.1 * tolerance(gate, one)[0, rows] * u.abs() + g.abs() * tolerance(up, one)[0, rows]
        steps = silu(g, u).view(-1, 32).abs().amax(dim=1).repeat_interleave(32) / 127
        assert ((got[entry] - silu(g, u)).abs() <= 0.51 * steps + 3 * off + 1e-7 * steps).all()


@each_type
def test_down_sums_in_the_order_of_the_experts(kernels: Kernels, t: Type) -> None:
    k, c = width(t, 256), choice()
    m, x = Matrix(t, EXPERTS * 7, k), quantised(kernels, 2 * USED, k)
    out, want, off = torch.empty(2, 7), torch.zeros(2, 7, dtype=torch.double), torch.zeros(2, 7, dtype=torch.double)
    kernels.down(m.laid, c, x, out)
    for entry, token, expert, _ in entries(c):
        rows, one = slice(expert * 7, (expert + 1) * 7), rows_of(x, entry, entry + 1)
        factor = float(c.factors.flatten()[entry])
        want[token] += factor * (one.floats().double() @ m.values.T)[0, rows]
        off[token] += 2 * abs(factor) * tolerance(m, one)[0, rows]
    assert ((out.double() - want).abs() <= off).all()


@pytest.mark.parametrize(("one", "other"), [("IQ1_S", "IQ2_XXS"), ("Q2_K", "Q4_K"), ("IQ1_M", "IQ1_S")])
def test_gate_and_up_of_different_types(kernels: Kernels, one: str, other: str) -> None:
    gate, up = Matrix(BY_NAME[one], EXPERTS * WIDTH, 256), Matrix(BY_NAME[other], EXPERTS * WIDTH, 256)
    x, c = quantised(kernels, 2, 256), choice()
    got = gate_up_of(kernels, gate.laid, up.laid, c, x)
    g, u = torch.empty(2, EXPERTS * WIDTH), torch.empty(2, EXPERTS * WIDTH)
    kernels.matvec(gate.laid, x, g)
    kernels.matvec(up.laid, x, u)
    want = Activations.empty(c.ids.numel(), WIDTH)
    picked = [(g.view(2, EXPERTS, -1)[t, e], u.view(2, EXPERTS, -1)[t, e]) for _, t, e, _ in entries(c)]
    kernels.activate("silu", torch.stack([p[0] for p in picked]), torch.stack([p[1] for p in picked]), want)
    assert torch.equal(got.q, want.q)
    assert torch.equal(got.scales, want.scales)


def test_experts_elsewhere_add_nothing(kernels: Kernels) -> None:
    """Two of four experts are in slots of a smaller stack, in another order; the sum is that of these two alone."""
    gate, up = Matrix(BY_NAME["IQ2_XXS"], EXPERTS * WIDTH, 256), Matrix(BY_NAME["IQ2_XXS"], EXPERTS * WIDTH, 256, 9)
    last, x = Matrix(BY_NAME["Q4_0"], EXPERTS * 7, WIDTH), quantised(kernels, 2, 256)
    whole, here = choice(), choice([1, -1, 0, -1])
    made = gate_up_of(kernels, gate.laid, up.laid, whole, x)
    some = gate_up_of(kernels, slots(gate.laid, WIDTH), slots(up.laid, WIDTH), here, x)
    for entry, *_ in entries(here):
        assert torch.equal(some.q[entry], made.q[entry])
    out, want = torch.empty(2, 7), torch.empty(2, 7)
    kernels.down(slots(last.laid, 7), here, made, out)
    kept = torch.isin(whole.ids, torch.tensor([0, 2], dtype=torch.int32))
    kernels.down(last.laid, Choice(whole.ids, whole.factors * kept), made, want)
    assert torch.equal(out, want)


def slots(stack: Laid, rows: int) -> Laid:
    """Experts 2 and 0 of a stack, in this order."""
    small = lay(stack.type, torch.zeros(2 * rows, stack.k // stack.type.block * stack.type.bytes, dtype=torch.uint8))
    for to, source in zip(small.planes(), stack.planes(), strict=True):
        to[:rows], to[rows:] = source[2 * rows : 3 * rows], source[:rows]
    return small


def test_biases_and_a_block_without_up(kernels: Kernels) -> None:
    gate, x, c = Matrix(BY_NAME["Q8_0"], EXPERTS * WIDTH, 64), quantised(kernels, 2, 64), choice()
    bias, made, want = torch.randn(EXPERTS, WIDTH), Activations.empty(6, WIDTH), Activations.empty(6, WIDTH)
    kernels.gate_up(GateUp(gate.laid, None, "erf_gelu", bias), c, x, made)
    g = torch.empty(2, EXPERTS * WIDTH)
    kernels.matvec(gate.laid, x, g)
    biased = torch.stack([g.view(2, EXPERTS, -1)[t, e] + bias[e] for _, t, e, _ in entries(c)])
    kernels.activate("erf_gelu", biased, None, want)
    assert torch.equal(made.q, want.q)
    last, down_bias, plain, out = (
        Matrix(BY_NAME["Q8_0"], EXPERTS * 7, WIDTH),
        torch.randn(EXPERTS, 7),
        *torch.empty(2, 2, 7),
    )
    kernels.down(last.laid, c, made, plain)
    kernels.down(last.laid, c, made, out, down_bias)
    added = (c.factors[..., None] * down_bias[c.ids.long()]).sum(dim=1)
    off = 2 * (c.factors.abs().view(-1, 1) * sums_of(tolerance(last, made), c)).view(2, USED, 7).sum(dim=1)
    assert ((out - plain - added).abs() <= off + 8 * EPSILON * (added.abs() + 2)).all()


def sums_of(all_experts: Tensor, c: Choice) -> Tensor:
    """[entries, experts * 7] to what belongs to the expert of each entry, [entries, 7]."""
    return torch.stack([all_experts.view(-1, EXPERTS, 7)[entry, expert] for entry, _, expert, _ in entries(c)])


# --- between products ---


def test_quantise_rounds_as_the_cpu_does(kernels: Kernels) -> None:
    x = torch.randn(5, 96) * torch.logspace(-30, 30, 5)[:, None]
    x[1, :32], x[2, 40], x[3, 70] = 0, torch.nan, torch.inf
    made = Activations.empty(5, 96)
    kernels.quantise(x, made)
    cpu = _core.Kernels.of(_core.isas()[-1])
    for row in range(5):
        q, scales, sums = cpu.quantize_q8(x[row].numpy())
        np.testing.assert_array_equal(made.scales[row].numpy(), scales)
        finite = np.isfinite(scales)
        np.testing.assert_array_equal(made.q[row].numpy().reshape(3, 32)[finite], q.reshape(3, 32)[finite])
        np.testing.assert_array_equal(made.sums[row].numpy().reshape(3, 2)[finite], sums.reshape(3, 2)[finite])


@pytest.mark.parametrize("weighted", [False, True])
def test_norm_of_the_first_values_of_wider_rows(kernels: Kernels, weighted: bool) -> None:
    """512 of 576, as of a latent; and 288, whose last round has one warp."""
    for n in (288, 512):
        x, weight = 1e4 * torch.randn(3, n + 64), torch.randn(n) if weighted else None
        out, made, want = torch.empty(3, n), Activations.empty(3, n), Activations.empty(3, n)
        kernels.norm(x, weight, 1e-6, out, made)
        exact = torch.nn.functional.rms_norm(x[:, :n].double(), (n,), weight.double() if weighted else None, 1e-6)
        assert ((out.double() - exact).abs() <= (n / 256 + 16) * EPSILON * exact.abs()).all()
        kernels.quantise(out, want)
        assert torch.equal(made.q, want.q)
        assert torch.equal(made.scales, want.scales)
        assert torch.equal(made.sums, want.sums)


def test_norm_of_any_number_of_floats(kernels: Kernels) -> None:
    x, out = torch.randn(2, 101), torch.empty(2, 101)
    kernels.norm(x, None, 1e-5, out, None)
    assert torch.allclose(out, torch.nn.functional.rms_norm(x, (101,), None, 1e-5), rtol=1e-5, atol=0)


@pytest.mark.parametrize("activation", ["silu", "gelu", "erf_gelu", "clamped_silu"])
@pytest.mark.parametrize("gated", [True, False])
def test_activations(kernels: Kernels, activation: str, gated: bool) -> None:
    gate, up = 4 * torch.randn(3, 64), 8 * torch.randn(3, 64) if gated else None
    made = Activations.empty(3, 64)
    kernels.activate(activation, gate, up, made)  # type: ignore[arg-type]
    want = activated(activation, gate.double(), None if up is None else up.double())
    steps = want.view(-1, 32).abs().amax(dim=1).repeat_interleave(32).view(3, 64) / 127
    assert ((made.floats() - want).abs() <= 0.501 * steps).all()


def activated(activation: str, gate: Tensor, up: Tensor | None) -> Tensor:
    if activation == "clamped_silu":
        gate, up = gate.clamp(max=7), (torch.zeros_like(gate) if up is None else up.clamp(-7, 7)) + 1
        return gate * torch.sigmoid(1.702 * gate) * up
    functions = {
        "silu": torch.nn.functional.silu,
        "gelu": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
        "erf_gelu": torch.nn.functional.gelu,
    }
    return functions[activation](gate) * (1 if up is None else up)
