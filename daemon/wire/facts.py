"""The reply of /api/show: everything about one model."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ktd.daemon.wire import ollama, to_ollama
from ktd.registry.modelfile import parameter_lines, written
from ktd.registry.record import ModelRecord

LEFT_OUT = ("general.name", "tokenizer.chat_template")
LONGEST_ARRAY = 5  # elements, unless everything is asked for

TensorRow = tuple[str, str, Sequence[int]]


def facts(
    record: ModelRecord, metadata: Mapping[str, Any], tensors: Iterable[TensorRow], verbose: bool
) -> ollama.ModelFacts:
    """Reads the arrays of the metadata, which must still be open."""
    info = {key: _plain(value, verbose) for key, value in metadata.items() if key not in LEFT_OUT}
    info["general.parameter_count"] = record.details.parameter_count
    parameters = "\n".join(f"{name:<30} {value}" for name, value in parameter_lines(record.parameters))
    return ollama.ModelFacts(
        modelfile=written(record),
        template=record.template or "",
        details=to_ollama.details(record.details),
        model_info=info,
        capabilities=list(record.capabilities),
        modified_at=to_ollama.timestamp(record.modified_at),
        license=record.license or "",
        parameters=parameters,
        system=record.system or "",
        messages=[ollama.Example(role, text) for role, text in record.messages],
        tensors=[ollama.Tensor(name, type, list(shape)) for name, type, shape in tensors],
    )


def _plain(value: Any, verbose: bool) -> Any:
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.to_list() if verbose or len(value) <= LONGEST_ARRAY else []
