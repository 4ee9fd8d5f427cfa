"""Step: the arrays of a batch on a device, with its tokens in groups that look back over the cache together."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ktd.engine.batch import Batch
from ktd.engine.demand import LOOK_ROWS

Array = NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Group:
    """The same number of tokens of each of some sequences."""

    tokens: Tensor  # [s, c] indices into the step
    positions: Tensor  # [s, c]
    lengths: Tensor  # [s, 1] tokens that each sequence has after this step
    pages: Tensor  # [s, p] those that hold them; what is behind a shorter sequence's is any page


@dataclass(frozen=True, slots=True)
class Step:
    tokens: Tensor  # [n] ids
    positions: Tensor  # [n]
    slots: Tensor  # [n] places in every layer's cache
    groups: tuple[Group, ...]  # every token is in one of them
    rows: Tensor  # [m] tokens whose logits are wanted
    kept: Tensor  # tokens whose states are wanted
    given: Tensor | None  # [n, dim] states to go on from


def step_on(device: torch.device, batch: Batch, page_tokens: int, given: NDArray[np.float32] | None = None) -> Step:
    """Shapes come from the batch alone: nothing is read back from the device."""

    def there(values: NDArray[np.integer]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.int64)).to(device, non_blocking=True)

    pages = batch.pages[batch.sequences, batch.positions // page_tokens].astype(np.int64)
    return Step(
        tokens=there(batch.tokens),
        positions=there(batch.positions),
        slots=there(pages * page_tokens + batch.positions % page_tokens),
        groups=tuple(Group(*map(there, arrays)) for arrays in _groups(batch, page_tokens)),
        rows=there(batch.rows),
        kept=there(batch.kept),
        given=None if given is None else torch.from_numpy(given).to(device, non_blocking=True),
    )


def _groups(batch: Batch, page_tokens: int) -> Iterator[tuple[Array, Array, Array, Array]]:
    """Single tokens of sequences together; a sequence with more of them by itself."""
    changes = np.flatnonzero(np.diff(batch.sequences)) + 1
    runs = np.split(np.arange(len(batch.tokens)), changes)
    singles = np.array([run[0] for run in runs if len(run) == 1], np.int64)
    for tokens in (*_alike(singles, batch, page_tokens), *(run[None] for run in runs if len(run) > 1)):
        positions = batch.positions[tokens]
        lengths = positions[:, -1:] + 1
        used = -(-int(lengths.max()) // page_tokens)
        yield tokens, positions, lengths, batch.pages[batch.sequences[tokens[:, 0]], :used]


def _alike(singles: Array, batch: Batch, page_tokens: int) -> Iterator[Array]:
    """Tokens [s, 1] of texts about as long: each takes the memory of the longest beside it, LOOK_ROWS all together.

    One of a longer text than that looks back alone.
    """
    singles = singles[np.argsort(batch.positions[singles], kind="stable")]
    first = 0
    for last, rows in enumerate((batch.positions[singles] // page_tokens + 1) * page_tokens):
        if last > first and (last + 1 - first) * int(rows) > LOOK_ROWS:
            yield singles[first:last, None]
            first = last
    if len(singles):
        yield singles[first:, None]
