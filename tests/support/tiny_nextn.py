"""A block that predicts the token after the next, behind a small random model (arXiv 2412.19437, section 2.2).

transformers leaves these blocks out; here its own layer stands in the formula of the paper. The states it goes on
from are those after the model's last norm.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

PARTS = {"enorm": "enorm", "hnorm": "hnorm", "eh_proj": "eh_proj", "norm": "shared_head_norm"}


class NextN(torch.nn.Module):
    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        config, last = model.config, model.model.layers[-1]
        norm = type(model.model.norm)
        self.enorm, self.hnorm, self.norm = (norm(config.hidden_size, config.rms_norm_eps) for _ in range(3))
        self.eh_proj = torch.nn.Linear(2 * config.hidden_size, config.hidden_size, bias=False)
        self.block = type(last)(config, config.num_hidden_layers - 1)


def attach(model: PreTrainedModel) -> None:
    model.add_module("nextn", NextN(model))


def renamed(name: str, config: Any) -> str:
    """The block as one more layer of the model, its other parts by their names in GGUF."""
    _, _, rest = name.rpartition("nextn.")
    if rest == name:
        return name
    part, _, end = rest.partition(".")
    layer = config.num_hidden_layers
    return f"model.layers.{layer}.{end}" if part == "block" else f"blk.{layer}.nextn.{PARTS[part]}.{end}"


def parts(state: dict[str, NDArray[np.float32]]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """What the block has beside a layer's weights, out of renamed ones."""
    return ((name, value) for name, value in state.items() if ".nextn." in name)


def states(model: PreTrainedModel, tokens: list[int], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """[1, tokens, dim], after the last norm."""
    hidden: torch.Tensor = model.to(dtype).model(torch.tensor([tokens]), use_cache=False).last_hidden_state
    return hidden


def guesses(model: PreTrainedModel, tokens: list[int], dtype: torch.dtype = torch.float32) -> NDArray[np.float64]:
    """Logits [tokens - 1, vocab] of the tokens from the third on."""
    nextn: Any = model.nextn
    trunk: Any = model.model
    with torch.no_grad():
        before = states(model, tokens, dtype)[:, :-1]
        embedded = trunk.embed_tokens(torch.tensor([tokens[1:]]))
        joined = nextn.eh_proj(torch.cat([nextn.enorm(embedded), nextn.hnorm(before)], dim=-1))
        kept = trunk.layers, trunk.norm
        trunk.layers, trunk.norm = torch.nn.ModuleList([nextn.block]), nextn.norm
        try:
            out = model(inputs_embeds=joined, use_cache=False).logits[0].double().numpy()
        finally:
            trunk.layers, trunk.norm = kept
    model.to(torch.float32)
    return np.asarray(out, dtype=np.float64)
