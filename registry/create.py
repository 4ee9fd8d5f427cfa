"""Create: a model out of another, or out of uploaded files, with texts of its own and, if asked, smaller weights."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ktd.registry.disk import writing
from ktd.registry.errors import CreateRefused, ImportCancelled, RegistryError
from ktd.registry.names import ModelName
from ktd.registry.news import Said, Step
from ktd.registry.quantize import quantize
from ktd.registry.recipes import Recipe
from ktd.registry.record import Changes, ModelRecord
from ktd.registry.reference import Cancelled, Progress, Reference
from ktd.registry.store import Registry

Tell = Callable[[Said | Step], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """`source` is a model that is here, or uploaded files by their digests; one of the two."""

    name: ModelName
    changes: Changes
    source: ModelName | None = None
    files: Sequence[str] = ()
    recipe: Recipe | None = None  # of smaller weights


def create(registry: Registry, wish: Wish, tell: Tell, cancelled: Cancelled = lambda: False) -> ModelRecord:
    """Blocks. The name is given last: what fails or is cancelled before leaves every model as it was, and no file.

    Raises `CreateRefused`, `ImportRefused`, `ImportCancelled`, `ModelNotFound`, `DiskFailed`.
    """
    base = None if wish.source is None else registry.present(wish.source)
    if base is None:
        tell(Said("parsing GGUF"))
    files = _uploaded(registry, wish) if base is None else registry.references(base.name)
    if wish.recipe:
        level = base.details.quantization_level if base else "float"
        status = f"quantizing {level} model to {wish.recipe.name}"

        def progress(done: int, total: int) -> None:
            if cancelled():
                raise ImportCancelled("the model was not created: the client left")
            tell(Step(status, done, total))

        files = [_quantized(registry, files, wish.recipe, progress)]
        tell(Said(f"creating new layer {files[0].digest}"))
    else:
        for file in files:
            tell(Said(f"using existing layer {file.digest}"))
    tell(Said("writing manifest"))
    return _named(registry, wish, base, files)


def _uploaded(registry: Registry, wish: Wish) -> Sequence[Reference]:
    if not wish.files:
        raise CreateRefused("neither 'from' or 'files' was specified")
    return [registry.blob(digest) for digest in wish.files]


def _quantized(registry: Registry, files: Sequence[Reference], recipe: Recipe, progress: Progress) -> Reference:
    """The weights of a model, in however many files they are, as a new file of the store."""
    with registry.blobs.staged_file() as staged:
        with writing(staged):
            digest = quantize([file.path for file in files], staged, recipe, progress)
        registry.blobs.take(staged, digest)
    return registry.blob(digest)


def _named(registry: Registry, wish: Wish, base: ModelRecord | None, files: Sequence[Reference]) -> ModelRecord:
    if base is not None and wish.recipe is None:
        return registry.create(wish.name, base.name, wish.changes)
    changes = wish.changes if base is None else Changes.of(base).then(wish.changes)
    try:
        return registry.adopt(wish.name, files, base.bundle if base else None, changes)
    except RegistryError:
        if wish.recipe:
            registry.discard_unused([file.digest for file in files])
        raise
