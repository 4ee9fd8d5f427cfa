"""Looking back over the cache: softmax-weighted sums of values, for groups of tokens."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ktd.engine.gpu.step import Group, Step

SCORES = 8 << 20  # that are there at a time, and so
QUERIES = 8 << 20  # their values: what bounds the memory of a long look


@dataclass(frozen=True, slots=True)
class Sight:
    """What tokens see of their sequence, and how they weigh it; see spec.GqaAttention."""

    window: int = 0
    causal: bool = True
    softcap: float = 0.0
    sinks: Tensor | None = None  # [heads]


@dataclass(frozen=True, slots=True)
class Look:
    """How the tokens of a step look back. Heads that follow each other share a key head."""

    heads: int
    width: int  # of a query
    sight: Sight
    queries: Callable[[Tensor], Tensor]  # of these tokens [m] of the step: [m, heads, width], scaled
    load: Callable[[Tensor], tuple[Tensor, Tensor]]  # of pages [s, p]: keys and values [s, l, kv_heads, ..]
    finish: Callable[[Tensor], Tensor]  # what becomes of mixed values [m, heads, ..]: [m, any]


def look_back(step: Step, look: Look) -> Tensor:
    """What every token finds, [n, any]."""
    found = [part for group in step.groups for part in _look(group, look)]
    tokens, values = (torch.cat(each) for each in zip(*found, strict=True))
    return torch.empty_like(values).index_copy_(0, tokens, values)


def _look(group: Group, look: Look) -> Iterator[tuple[Tensor, Tensor]]:
    """Tokens [m] and what they find [m, any], some at a time."""
    keys, values = (rows.transpose(1, 2) for rows in look.load(group.pages))  # [s, kv_heads, l, ..]
    ends = group.positions + 1 if look.sight.causal else group.lengths.expand_as(group.positions)
    rows = len(group.tokens) * look.heads
    some = max(1, min(SCORES // (rows * keys.shape[2]), QUERIES // (rows * look.width)))
    for first in range(0, group.tokens.shape[1], some):
        part = slice(first, first + some)
        tokens = group.tokens[:, part].flatten()
        q: Tensor = look.queries(tokens).unflatten(0, (len(group.tokens), -1))
        yield tokens, look.finish(_mix(q, keys, values, ends[:, part], look.sight).flatten(0, 1))


def _mix(q: Tensor, keys: Tensor, values: Tensor, ends: Tensor, sight: Sight) -> Tensor:
    """q [s, c, heads, k]; keys and values [s, kv_heads, l, ..]; ends [s, c], past the last key that a token sees."""
    grouped: Tensor = q.unflatten(2, (keys.shape[1], -1)).permute(0, 2, 1, 3, 4)  # [s, kv_heads, c, group, k]
    scores = (grouped.flatten(2, 3) @ keys.transpose(2, 3)).unflatten(2, grouped.shape[2:4])
    if sight.softcap:
        scores = sight.softcap * torch.tanh(scores / sight.softcap)
    at = torch.arange(keys.shape[2], device=q.device)
    seen = at < ends[..., None]  # [s, c, l]
    if sight.window:
        seen &= at >= ends[..., None] - sight.window
    scores = scores.masked_fill(~seen[:, None, :, None], -torch.inf)
    shares = _softmax(scores, sight.sinks)
    mixed: Tensor = (shares.flatten(2, 3) @ values).unflatten(2, grouped.shape[2:4])
    return mixed.permute(0, 2, 1, 3, 4).flatten(2, 3)


def _softmax(scores: Tensor, sinks: Tensor | None) -> Tensor:
    """Over the keys of scores [s, kv_heads, c, group, l]; a sink takes its part and has no value."""
    if sinks is None:
        return scores.softmax(-1)
    column = sinks.view(1, scores.shape[1], 1, -1, 1).expand(*scores.shape[:-1], 1)
    return torch.cat((scores, column), dim=-1).softmax(-1)[..., :-1]
