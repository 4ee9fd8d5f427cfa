"""Experts as the CPU's router chooses them, written once more in torch's float64."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ktd.engine.gpu.cuda_kernels import Choice, Kernels
from ktd.engine.spec import Router, Weight

R1 = Router("sigmoid", 256, 8, 8, 4, "top2", True, 2.5, Weight("router", (1, 256)))
ROUTERS = {
    "r1": R1,
    "v2": Router("softmax", 160, 6, 8, 3, "max", False, 16.0, Weight("router", (1, 160))),
    "k2": replace(R1, experts=384, groups=1, groups_used=1),
    "plain": Router("softmax", 5, 2, 1, 1, "max", True, 1.0, Weight("router", (1, 5))),
    "most": replace(R1, experts=512, used=32, groups=32, groups_used=9),
}
each_router = pytest.mark.parametrize("router", ROUTERS.values(), ids=ROUTERS)


def expected(router: Router, logits: Tensor, bias: Tensor | None) -> tuple[list[int], Tensor]:
    """Of one token."""
    scores = logits.sigmoid() if router.gating == "sigmoid" else logits.softmax(0)
    choice = scores if bias is None else scores + bias
    choice = choice.where(~choice.isnan(), torch.finfo(torch.float32).min)
    if router.groups > 1:
        grouped = choice.view(router.groups, -1)
        best = grouped.topk(2, dim=1).values
        worth = best.sum(dim=1) if router.group_score == "top2" else best[:, 0]
        kept = worth.argsort(descending=True, stable=True)[: router.groups_used]
        allowed = (
            torch.zeros(router.groups, dtype=torch.bool).index_fill(0, kept, True).repeat_interleave(grouped.shape[1])
        )
        choice = choice.where(allowed, torch.finfo(torch.float32).min)
    ids = choice.argsort(descending=True, stable=True)[: router.used]
    factors = scores[ids] * router.scale
    return ids.tolist(), factors / scores[ids].sum().clamp_min(1e-20) if router.normalise else factors


def route(kernels: Kernels, router: Router, logits: Tensor, logits_bias: Tensor | None, bias: Tensor | None) -> Choice:
    shape = (len(logits), router.used)
    made = Choice(torch.empty(shape, dtype=torch.int32), torch.empty(shape))
    kernels.route(router, logits, logits_bias, bias, made)
    return made


@each_router
@pytest.mark.parametrize("biased", [False, True])
def test_choices_and_factors(kernels: Kernels, router: Router, biased: bool) -> None:
    """A factor is rounded by its function (2 units), its sum (experts of a softmax) and a quotient."""
    logits = 3 * torch.randn(7, router.experts)
    added, bias = torch.randn(2, router.experts) if biased else (None, None)
    made = route(kernels, router, logits, added, bias)
    exact = (logits if added is None else logits + added).double()
    for token in range(7):
        ids, factors = expected(router, exact[token], None if bias is None else bias.double())
        assert made.ids[token].tolist() == ids
        assert torch.allclose(made.factors[token].double(), factors, rtol=(router.experts / 32 + 32) * 2**-23, atol=0)


@each_router
def test_of_equals_the_lower_is_better(kernels: Kernels, router: Router) -> None:
    logits = torch.zeros(1, router.experts)
    assert route(kernels, router, logits, None, None).ids[0].tolist() == expected(router, logits[0], None)[0]


def test_what_is_no_number_comes_last_and_ids_stay_unique(kernels: Kernels) -> None:
    logits = torch.full((2, 256), torch.nan)
    logits[1, 100:110] = torch.arange(10.0)
    made = route(kernels, R1, logits, None, None)
    assert len(set(made.ids[0].tolist())) == len(set(made.ids[1].tolist())) == 8
    assert made.ids[1].tolist() == [109, 108, 107, 106, 105, 104, 103, 102]
    assert made.factors[1].isfinite().all()
