"""Create: a model out of another, or out of uploaded files, with texts of its own and, if asked, smaller weights."""

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ktd.registry.disk import writing
from ktd.registry.errors import CreateRefused, ImportCancelled
from ktd.registry.names import ModelName
from ktd.registry.quantize import quantize
from ktd.registry.recipes import Recipe as Quantization
from ktd.registry.record import Changes, ModelRecord
from ktd.registry.reference import Reference, fingerprint
from ktd.registry.store import Registry

Say = Callable[[str], None]
Cancelled = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Recipe:
    """`source` is a model that is here, or uploaded files by their digests; one of the two."""

    name: ModelName
    changes: Changes
    source: ModelName | None = None
    files: Sequence[str] = ()
    quantization: Quantization | None = None


def create(registry: Registry, recipe: Recipe, say: Say, cancelled: Cancelled = lambda: False) -> ModelRecord:
    """Blocks. The name is given last: what fails or is cancelled before leaves every model as it was.

    Raises `CreateRefused`, `ImportRefused`, `ImportCancelled`, `ModelNotFound`, `DiskFailed`.
    """
    base = None if recipe.source is None else registry.present(recipe.source)
    if base is None:
        say("parsing GGUF")
    files = _uploaded(registry, recipe) if base is None else registry.references(base.name)
    if recipe.quantization:
        level = base.details.quantization_level if base else "float"
        say(f"quantizing {level} model to {recipe.quantization.name}")
        files = [_quantized(registry, files, recipe.quantization, cancelled)]
        say(f"creating new layer {files[0].digest}")
    record = _named(registry, recipe, base, files, new=base is None or recipe.quantization is not None)
    for reference in registry.references(record.name):
        say(f"using existing layer {reference.digest}")
    say("writing manifest")
    return record


def _uploaded(registry: Registry, recipe: Recipe) -> Sequence[Reference]:
    if not recipe.files:
        raise CreateRefused("neither 'from' or 'files' was specified")
    return [registry.blob(digest) for digest in recipe.files]


def _quantized(registry: Registry, files: Sequence[Reference], recipe: Quantization, cancelled: Cancelled) -> Reference:
    """The weights of a model, in however many files they are, as a new file of the store."""
    descriptor, name = tempfile.mkstemp(dir=registry.blobs.staging, suffix=".gguf")
    os.close(descriptor)
    staged = Path(name)

    def advance(_: int) -> None:
        if cancelled():
            raise ImportCancelled("the model was not created: the client left")

    try:
        with writing(staged):
            quantize([file.path for file in files], staged, recipe, advance)
        digest = fingerprint(staged, lambda _: None, cancelled).digest
        registry.blobs.take(staged, digest)
    finally:
        staged.unlink(missing_ok=True)
    return registry.blob(digest)


def _named(
    registry: Registry, recipe: Recipe, base: ModelRecord | None, files: Sequence[Reference], *, new: bool
) -> ModelRecord:
    if not new:
        assert base is not None
        return registry.create(recipe.name, base.name, recipe.changes)
    registry.adopt(recipe.name, list(files), base.bundle if base else None)
    if base is not None:
        texts = Changes(base.template, base.system, base.license, base.parameters, base.messages)
        registry.create(recipe.name, recipe.name, texts)
    return registry.create(recipe.name, recipe.name, recipe.changes)
