"""Does a file hold the weights its spec names? Asked before any memory is taken."""

from collections.abc import Collection

from ktd.engine.errors import LoadRefused
from ktd.engine.gguf import Gguf, Tensor
from ktd.engine.spec import ModelSpec, Weight, weights


def check(spec: ModelSpec, gguf: Gguf, types: Collection[int]) -> tuple[Tensor, ...]:
    """The tensors of a spec, each once, in its order; `types` are the numbers of those the runtime knows.

    Raises LoadRefused for the first tensor that is missing, misshapen or of another type.
    """
    found: dict[str, Tensor] = {}
    for stage in (*spec.stages, *spec.draft):
        for weight in weights(stage):
            found[weight.name] = _checked(weight, gguf, types)
    return tuple(found.values())


def _checked(weight: Weight, gguf: Gguf, types: Collection[int]) -> Tensor:
    tensor = gguf.tensors.get(weight.name)
    if tensor is None:
        raise LoadRefused("bad_file", f"tensor {weight.name!r} of shape {_shown(weight.stored)} is missing")
    if tensor.shape != weight.stored:
        raise LoadRefused(
            "bad_file",
            f"tensor {weight.name!r} has the shape {_shown(tensor.shape)}, "
            f"the model's metadata asks for {_shown(weight.stored)}",
        )
    if int(tensor.type) not in types:
        raise LoadRefused("unsupported", f"tensor {weight.name!r} is of type {tensor.type.name}")
    return tensor


def _shown(shape: tuple[int, ...]) -> str:
    return "{" + ", ".join(map(str, shape)) + "}"
