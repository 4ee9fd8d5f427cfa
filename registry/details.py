"""What a GGUF header says about a model: details, capabilities, defaults."""

import re
from collections import Counter
from collections.abc import Sequence

from ktd.engine.gguf import Gguf, Tensor, TensorType, Value
from ktd.registry.gaps import gap
from ktd.registry.record import Details, Parameter

UNITS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))

SAMPLING = {
    "general.sampling.temp": "temperature",
    "general.sampling.top_k": "top_k",
    "general.sampling.top_p": "top_p",
    "general.sampling.min_p": "min_p",
    "general.sampling.penalty_repeat": "repeat_penalty",
    "general.sampling.penalty_last_n": "repeat_last_n",
}
INTEGERS = ("top_k", "repeat_last_n")

# Of templates: Jinja's, and Go's as Ollama's models have them.
TOOLS = re.compile(r"tools|tool_call|\{\{[^}]*\.Tools\b")
THINKING = re.compile(
    r"""<think>.*</think>|</think>.*<think>|split\(\s*["']</think>|\[THINK\].*\[/THINK\]|<\|channel\|>analysis"""
    r"""|enable_thinking.*</think>|\{\{[^}]*\.Thinking\b""",
    re.DOTALL,
)


def describe(gguf: Gguf) -> Details:
    """Raises `GGUFError` when a key is ill-typed."""
    family = gguf.architecture
    count = sum(_weights(tensor) for tensor in gguf.tensors.values())
    return Details(
        family=family,
        families=(family,),
        parameter_count=count,
        parameter_size=size_label(count),
        quantization_level=quantization(list(gguf.tensors.values())),
        context_length=gguf.metadata.integer(f"{family}.context_length", None),
        embedding_length=gguf.metadata.integer(f"{family}.embedding_length", None),
    )


def size_label(count: int) -> str:
    """671026404352 -> "671B"; one decimal below a hundred, where it says something."""
    for unit, letter in UNITS:
        if count >= unit:
            number = count / unit
            return f"{number:.0f}{letter}" if number >= 100 else f"{number:.1f}".removesuffix(".0") + letter
    return str(count)


def quantization(tensors: Sequence[Tensor]) -> str:
    """The level as users know it, from the types themselves: general.file_type is often wrong."""
    weights: Counter[TensorType] = Counter()
    for tensor in tensors:
        if len(tensor.shape) > 1:
            weights[tensor.type] += _weights(tensor)
    if not weights:
        return "unknown"
    main = weights.most_common(1)[0][0]
    return main.name + _mixture(main, tensors)


def _mixture(main: TensorType, tensors: Sequence[Tensor]) -> str:
    """The suffix of a k-quant: which larger types its layers mix in (llama.cpp's recipes)."""
    inner = {tensor.type for tensor in tensors if tensor.name.startswith("blk.") and len(tensor.shape) > 1}
    if main is TensorType.Q3_K:
        down = Counter[TensorType]()
        for tensor in tensors:
            if "ffn_down" in tensor.name:
                down[tensor.type] += _weights(tensor)
        if down[TensorType.Q5_K] > down[TensorType.Q4_K] + down[TensorType.Q3_K]:
            return "_L"
        return "_M" if {TensorType.Q4_K, TensorType.Q5_K} & inner else "_S"
    if main in (TensorType.Q4_K, TensorType.Q5_K):
        return "_M" if TensorType.Q6_K in inner else "_S"
    return ""


def _weights(tensor: Tensor) -> int:
    return tensor.nbytes // tensor.type.bytes * tensor.type.block


def capabilities(gguf: Gguf, template: str | None) -> tuple[str, ...]:
    """What a client may ask of the model, in Ollama's words."""
    if f"{gguf.architecture}.pooling_type" in gguf.metadata:
        return ("embedding",)
    found = ["completion"]
    if template and TOOLS.search(template):
        found.append("tools")
    if gap(gguf.metadata):
        found.append("insert")
    if template and THINKING.search(template):
        found.append("thinking")
    return tuple(found)


def sampling_defaults(gguf: Gguf) -> dict[str, Parameter]:
    """Defaults that the file itself carries."""
    found: dict[str, Parameter] = {}
    for key, option in SAMPLING.items():
        value: Value | None = gguf.metadata.get(key)
        if value is not None:
            found[option] = gguf.metadata.integer(key) if option in INTEGERS else gguf.metadata.number(key)
    return found
