"""What `ktd show` and /api/show tell of a file of every architecture."""

from pathlib import Path

import pytest
import tiny_deepseek
import tiny_encoders
import tiny_export
import tiny_families
from gguf import GGMLQuantizationType as Type

from ktd.engine.client import ARCHITECTURES
from ktd.engine.gguf import Gguf
from ktd.registry.details import capabilities, describe

DECODERS = {tiny.architecture: name for name, tiny in tiny_families.MODELS.items()}
THINKS_AND_CALLS = "{% if tools %}{{ tools }}{% endif %}<think></think>"


def written(architecture: str, path: Path) -> tuple[int, int]:
    """A small file in Q8_0 (deepseek2 in F16): its parameters and context."""
    if architecture == "deepseek2":
        made = tiny_deepseek.make("v3")
        tiny_deepseek.export(made, path, tiny_deepseek.Export(type=Type.F16))
    elif architecture in tiny_encoders.MODELS:
        made = tiny_encoders.make(architecture, Type.Q8_0)
        tiny_encoders.export(made, architecture, path, Type.Q8_0)
    else:
        tiny = tiny_families.MODELS[DECODERS[architecture]]
        made = tiny_families.make(tiny)
        tiny_export.export(made, tiny, path, Type.Q8_0)
    spare = ("pooler", "e_score_correction_bias")
    state = dict(made.named_parameters())
    return sum(
        v.numel() for k, v in state.items() if not any(s in k for s in spare)
    ), made.config.max_position_embeddings


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_family_tells_what_it_is(architecture: str, tmp_path: Path) -> None:
    parameters, context = written(architecture, tmp_path / "model.gguf")
    with Gguf.open(tmp_path / "model.gguf") as gguf:
        details, found = describe(gguf), capabilities(gguf, THINKS_AND_CALLS)
    assert (details.family, details.context_length) == (architecture, context)
    assert details.quantization_level == ("F16" if architecture == "deepseek2" else "Q8_0")
    assert 0 <= details.parameter_count - parameters < 200, "more than selection biases and rope factors"
    encodes = architecture in tiny_encoders.MODELS
    assert found == (("embedding",) if encodes else ("completion", "tools", "thinking"))
