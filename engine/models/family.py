"""Family: what an architecture's name says about a model and its file does not."""

from dataclasses import dataclass
from typing import Literal

from ktd.engine.spec import Activation


@dataclass(frozen=True, slots=True)
class Family:
    """Facts about attention and feed-forward blocks.

    Whatever a file can show by its keys and tensors (biases, norms, fused or stacked weights, tied heads) is read
    from it instead.
    """

    layout: Literal["adjacent", "halves"]  # of the pairs that rope turns
    full_every: int = 1  # every n-th layer sees all tokens, the others a window; 0: none does
    window_base: float | None = None  # of the rope of layers with a window, which is then not scaled; None: as all
    wide_layers: int = 0  # the number of layers of the one size whose scores are scaled by dim / heads
    yarn_rounds: bool = True  # the ends of YaRN's blend to whole pairs
    scores_cap: float = 0.0  # softcaps, when the file does not say
    logits_cap: float = 0.0
    scaled_embedding: bool = False  # by the root of the dimension
    activation: Activation = "silu"
    encoder: bool = False  # every token sees all of its text
    sigmoid: bool = False  # router scores, when the file does not say
    normalised: bool = False  # expert weights, when the file does not say
    always_normalised: bool = False  # ... whatever it says
