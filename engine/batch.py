"""Batch: what one step computes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Batch:
    """Tokens of one step, of one or many sequences.

    Tokens of a sequence stand together in rising position; position p of sequence s lives in page
    `pages[s, p // page_tokens]`, slot `p % page_tokens`, of every layer's cache.
    """

    tokens: Ints  # [n] token ids
    positions: Ints  # [n]
    sequences: Ints  # [n] row of `pages`
    pages: Ints  # [sequences, most pages any of them has]
    rows: Ints  # [m] indices into `tokens` whose logits are wanted
    kept: Ints  # indices into `tokens` whose states are wanted
