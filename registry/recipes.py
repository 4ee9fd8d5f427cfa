"""Recipes: which type each tensor of a model gets, by the name users know the whole by ("Q4_K_M").

The mixtures are those that llama.cpp made usual. What it leaves alone stays as it is: norms, biases, routers.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from ktd.engine.gguf import Tensor, TensorType
from ktd.registry.errors import CreateRefused

T = TensorType
Layers = Callable[[int, int], bool]  # layer, of how many

KEPT = ("ffn_gate_inp", "_norm", "position_embd", "token_types", "ssm_conv1d")
VALUES = re.compile(r"attn_(v|v_b|kv_b|qkv)\.")
DOWN = re.compile(r"ffn_down")
ATTENDED = re.compile(r"attn_output\.")
NARROW = {T.Q2_K: T.Q4_0, T.Q3_K: T.Q4_0, T.Q4_K: T.Q5_0, T.Q5_K: T.Q5_1, T.Q6_K: T.Q8_0}  # for rows of no whole 256


def every(layer: int, layers: int) -> bool:
    return True


def first(share: int) -> Layers:
    return lambda layer, layers: layer < layers // share


def outer_and_every_third(layer: int, layers: int) -> bool:
    """The first and the last eighth, and between them every third."""
    eighth = layers // 8
    return layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2


@dataclass(frozen=True, slots=True)
class Recipe:
    name: str
    file_type: int  # general.file_type
    base: TensorType
    head: TensorType  # output.weight, and token_embd.weight where that serves as it
    finer: tuple[tuple[re.Pattern[str], TensorType, Layers], ...] = ()  # the first that fits

    def type_for(self, tensor: Tensor, layers: int, tied: bool) -> TensorType:
        """`tied`: the model's embedding is its head too."""
        if len(tensor.shape) < 2 or not tensor.name.endswith("weight") or any(part in tensor.name for part in KEPT):
            return tensor.type
        wanted = self._wanted(tensor.name, layers, tied)
        if tensor.shape[0] % wanted.block:
            wanted = NARROW.get(wanted, wanted)
        return tensor.type if tensor.shape[0] % wanted.block else wanted

    def _wanted(self, name: str, layers: int, tied: bool) -> TensorType:
        if name == "output.weight" or (name == "token_embd.weight" and (tied or self.base not in NARROW)):
            return self.head
        if layer := re.match(r"blk\.(\d+)\.", name):
            for pattern, type, fits in self.finer:
                if pattern.search(name) and fits(int(layer[1]), layers):
                    return type
        return self.base


def _mixed(type: TensorType) -> tuple[tuple[re.Pattern[str], TensorType, Layers], ...]:
    return (VALUES, type, outer_and_every_third), (DOWN, type, outer_and_every_third)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("Q2_K", 10, T.Q2_K, T.Q6_K, ((VALUES, T.Q4_K, every), (DOWN, T.Q3_K, every), (ATTENDED, T.Q3_K, every))),
        Recipe("Q3_K_S", 11, T.Q3_K, T.Q6_K),
        Recipe(
            "Q3_K_M",
            12,
            T.Q3_K,
            T.Q6_K,
            (
                (VALUES, T.Q5_K, first(16)),
                (VALUES, T.Q4_K, every),
                (DOWN, T.Q5_K, first(16)),
                (DOWN, T.Q4_K, outer_and_every_third),
                (ATTENDED, T.Q4_K, every),
            ),
        ),
        Recipe("Q3_K_L", 13, T.Q3_K, T.Q6_K, tuple((part, T.Q5_K, every) for part in (VALUES, DOWN, ATTENDED))),
        Recipe("Q4_K_S", 14, T.Q4_K, T.Q6_K, ((VALUES, T.Q5_K, first(8)), (DOWN, T.Q5_K, first(8)))),
        Recipe("Q4_K_M", 15, T.Q4_K, T.Q6_K, _mixed(T.Q6_K)),
        Recipe("Q5_K_S", 16, T.Q5_K, T.Q6_K),
        Recipe("Q5_K_M", 17, T.Q5_K, T.Q6_K, _mixed(T.Q6_K)),
        Recipe("Q6_K", 18, T.Q6_K, T.Q6_K),
        Recipe("Q8_0", 7, T.Q8_0, T.Q8_0),
        Recipe("Q4_0", 2, T.Q4_0, T.Q8_0),
        Recipe("Q4_1", 3, T.Q4_1, T.Q8_0),
        Recipe("Q5_0", 8, T.Q5_0, T.Q8_0),
        Recipe("Q5_1", 9, T.Q5_1, T.Q8_0),
        Recipe("BF16", 32, T.BF16, T.BF16),
        Recipe("F16", 1, T.F16, T.F16),
        Recipe("F32", 0, T.F32, T.F32),
    )
}
ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}


def recipe_named(text: str) -> Recipe:
    """In any case. Raises `CreateRefused` for what is not made here."""
    name = text.upper()
    recipe = RECIPES.get(ALIASES.get(name, name))
    if recipe is None:
        raise CreateRefused(f"unsupported quantization type {text:.40}: this version makes {', '.join(RECIPES)}")
    return recipe
