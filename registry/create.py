"""Create: a model out of another, or out of uploaded files, with texts of its own and, if asked, smaller weights."""

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ktd.engine.gguf import TensorType
from ktd.registry.errors import CreateRefused
from ktd.registry.names import ModelName
from ktd.registry.quantize import quantize, target_named
from ktd.registry.record import Changes, ModelRecord
from ktd.registry.reference import fingerprint
from ktd.registry.store import Registry

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Recipe:
    """`source` is a model that is here, or uploaded files by their digests; one of the two."""

    name: ModelName
    changes: Changes
    source: ModelName | None = None
    files: Sequence[str] = ()
    quantization: str | None = None


def create(registry: Registry, recipe: Recipe, say: Say) -> ModelRecord:
    """Blocks. Raises `CreateRefused`, `ImportRefused`, `ModelNotFound`."""
    target = target_named(recipe.quantization) if recipe.quantization else None
    source = recipe.source
    if source is None:
        say("parsing GGUF")
        source = _adopted(registry, recipe)
    if target is not None:
        _quantized(registry, recipe, source, target, say)
        source = recipe.name
    record = registry.create(recipe.name, source, recipe.changes)
    for reference in registry.references(record.name):
        say(f"using existing layer {reference.digest}")
    say("writing manifest")
    return record


def _adopted(registry: Registry, recipe: Recipe) -> ModelName:
    if not recipe.files:
        raise CreateRefused("neither 'from' or 'files' was specified")
    references = [registry.blob(digest) for digest in recipe.files]
    return registry.adopt(recipe.name, references).name


def _quantized(registry: Registry, recipe: Recipe, source: ModelName, target: TensorType, say: Say) -> None:
    """Register the model with new weights under its own name."""
    record = registry.present(source)
    if len(record.files) > 1:
        raise CreateRefused("a model in several files cannot be quantized; join them first")
    say(f"quantizing {record.details.quantization_level} model to {target.name}")
    descriptor, name = tempfile.mkstemp(dir=registry.blobs.staging, suffix=".gguf")
    os.close(descriptor)
    staged = Path(name)
    try:
        quantize(record.files[0], staged, target, lambda _: None)
        digest = fingerprint(staged, lambda _: None, lambda: False).digest
        say(f"creating new layer {digest}")
        registry.blobs.take(staged, digest)
    finally:
        staged.unlink(missing_ok=True)
    registry.adopt(recipe.name, [registry.blob(digest)], record.bundle)
    texts = Changes(record.template, record.system, record.license, record.parameters, record.messages)
    registry.create(recipe.name, recipe.name, texts)
