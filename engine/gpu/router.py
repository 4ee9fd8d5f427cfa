"""Choosing experts on a device; see spec.Router."""

import torch
from torch import Tensor

from ktd.engine.spec import Router

LEAST_SUM = 1e-20  # what weights are divided by at least


def choose(router: Router, logits: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """ids and weights [n, used] of logits [n, experts]: best first, of equals the lower id; NaN loses."""
    scores = logits.sigmoid() if router.gating == "sigmoid" else logits.softmax(-1)
    choice = scores if bias is None else scores + bias
    choice = choice.nan_to_num(nan=torch.finfo(choice.dtype).min)
    if router.groups > 1:
        choice = _of_best_groups(router, choice)
    ids = _best(choice, router.used)
    weights = scores.gather(1, ids)
    if router.normalise:
        weights = weights / weights.sum(1, keepdim=True).clamp_min(LEAST_SUM)
    return ids, weights * router.scale


def _of_best_groups(router: Router, choice: Tensor) -> Tensor:
    """With experts outside the best groups out of the choice."""
    lowest = torch.finfo(choice.dtype).min
    groups = choice.unflatten(1, (router.groups, -1))
    counted = min(2, groups.shape[2]) if router.group_score == "top2" else 1
    best = _best(groups.topk(counted, dim=2).values.sum(2), router.groups_used)
    kept = torch.zeros(len(choice), router.groups, dtype=torch.bool, device=choice.device).scatter(1, best, True)
    left: Tensor = groups.masked_fill(~kept[..., None], lowest)
    return left.flatten(1)


def _best(scores: Tensor, count: int) -> Tensor:
    """Indices [n, count] of the best of scores [n, m]."""
    return scores.sort(dim=1, descending=True, stable=True).indices[:, :count]
