"""Parameters: the options a model may set, by Ollama's names, and what their values are."""

from collections.abc import Mapping
from typing import Any

from ktd.registry.errors import CreateRefused
from ktd.registry.record import Parameter

INTEGERS = {
    "num_ctx",
    "num_predict",
    "num_keep",
    "num_batch",
    "num_thread",
    "num_gpu",
    "seed",
    "top_k",
    "repeat_last_n",
}
NUMBERS = {"temperature", "top_p", "min_p", "typical_p", "repeat_penalty", "presence_penalty", "frequency_penalty"}
TEXTS = {"stop"}
FORMER = {  # Ollama once had them: files that still name them are read, and they do nothing
    "penalize_newline", "low_vram", "f16_kv", "logits_all", "vocab_only", "use_mlock", "use_mmap", "numa", "main_gpu",
    "mirostat", "mirostat_tau", "mirostat_eta", "tfs_z", "draft_num_predict",
}  # fmt: skip


def checked(values: Mapping[str, Any]) -> dict[str, Parameter]:
    """Options with values of their kinds; text is read as a number where one is meant. Raises `CreateRefused`."""
    found: dict[str, Parameter] = {}
    for given, value in values.items():
        name = given.lower()
        if name in FORMER:
            continue
        if name in TEXTS:
            found[name] = _texts(name, value)
        elif name in INTEGERS | NUMBERS:
            found[name] = _number(name, value)
        else:
            raise CreateRefused(f"unknown parameter '{given:.100}'")
    return found


def _texts(name: str, value: Any) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise CreateRefused(f"parameter '{name}' must be text, or a list of it")
    return list(texts)


def _number(name: str, value: Any) -> int | float:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
        if name in INTEGERS:
            if not number.is_integer():
                raise ValueError
            return int(number)
        return number
    except (ValueError, TypeError, OverflowError):
        kind = "a whole number" if name in INTEGERS else "a number"
        raise CreateRefused(f"parameter '{name}' must be {kind}, not {value!r:.60}") from None
