"""Candidate: GGUF files and a bundle, read and judged before anything is registered."""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ktd.engine.gguf import Gguf, GGUFError, SplitName, read_split
from ktd.registry.bundle import Bundle, read_bundle
from ktd.registry.details import capabilities, describe, sampling_defaults
from ktd.registry.errors import ImportRefused
from ktd.registry.names import ModelName, name_from_file
from ktd.registry.ollama_store import find_model
from ktd.registry.record import Changes, Details, Parameter
from ktd.registry.supported import Supported

ANYTHING = Supported()
NOTHING = Changes()
FOLDERS_DEEP = 4  # a hub's cache: snapshots/<revision>/<quant>/model.gguf


@dataclass(frozen=True, slots=True)
class Candidate:
    """What would become a model: its shards in order and all that their header and the bundle say."""

    files: tuple[Path, ...]
    details: Details
    capabilities: tuple[str, ...]
    template: str | None
    license: str | None
    parameters: dict[str, Parameter]
    bundle: Bundle | None
    system: str | None
    messages: tuple[tuple[str, str], ...]
    name: ModelName | None  # that it has where it comes from

    def default_name(self) -> ModelName:
        if self.name:
            return self.name
        split = SplitName.parse(self.files[0])
        return name_from_file(split.prefix if split else self.files[0].name.removesuffix(".gguf"))


def read_candidate(
    paths: Sequence[Path],
    config: Path | None = None,
    supported: Supported = ANYTHING,
    changes: Changes = NOTHING,
) -> Candidate:
    """Read the one model that these files and directories hold; raises `ImportRefused`.

    One may be a manifest of Ollama's. `config` is a bundle's directory; without it, an imported directory with a
    config.json is its own bundle. `changes` are texts that take the place of the model's own.
    """
    try:
        given, name = [_absolute(path) for path in paths], None
        if len(given) == 1 and (stored := find_model(given[0], supported)):
            given, name, changes = list(stored.files), stored.name, stored.changes.then(changes)
        given = [_current(path) for path in given]
        folder = _absolute(config) if config else _own_bundle(given)
        with _open(_weights(given)) as gguf:
            supported.check(gguf.paths[0], gguf.metadata)
            if not gguf.tensors:
                raise ImportRefused(f"{gguf.paths[0]}: holds no weights")
            return _candidate(gguf, read_bundle(folder) if folder else None, name, changes)
    except GGUFError as error:
        raise ImportRefused(str(error)) from error
    except OSError as error:
        raise ImportRefused(f"{error.filename} cannot be read: {error.strerror}") from error


def _absolute(path: Path) -> Path:
    """Not resolved: a link's name may say which shard it is, and its target may be replaced."""
    absolute = os.path.abspath(path)
    try:
        absolute.encode()
    except UnicodeEncodeError:
        raise ImportRefused(f"{absolute!a} is not a UTF-8 name and cannot be registered; rename it") from None
    return Path(absolute)


def _weights(given: Sequence[Path]) -> list[Path]:
    """The GGUF files meant, each once."""
    found: dict[Path, None] = {}
    for path in given:
        if not path.exists():
            raise ImportRefused(f"{path} does not exist")
        found.update(dict.fromkeys(map(_absolute, _in_folder(path)) if path.is_dir() else [path]))
    if not found:
        raise ImportRefused("no file was given")
    return list(found)


def _in_folder(folder: Path) -> list[Path]:
    """The GGUF files nearest to the top of a directory; vision projectors are no models."""
    for depth in range(FOLDERS_DEEP):
        found = (path for path in folder.glob("*/" * depth + "*.gguf") if not _is_apart(path.relative_to(folder)))
        files = sorted(found)
        if files:
            return files
    raise ImportRefused(f"{folder} holds no .gguf file")


def _is_apart(path: Path) -> bool:
    """Vision projectors, and what a hub's tool keeps for itself in hidden folders, half downloads among it."""
    return path.name.lower().startswith("mmproj") or any(part.startswith(".") for part in path.parts)


def _current(path: Path) -> Path:
    """Of a repository in Hugging Face's cache, which may hold several revisions, the newest that was fetched."""
    snapshots = path / "snapshots"
    if not snapshots.is_dir():
        return path
    with suppress(OSError):
        main = snapshots / (path / "refs" / "main").read_text().strip()
        if main.parent == snapshots and main.is_dir():
            return main
    return path


def _own_bundle(given: Sequence[Path]) -> Path | None:
    return next((path for path in given if (path / "config.json").is_file()), None)


def _open(files: Sequence[Path]) -> Gguf:
    """Open the files as the shards of one model, in whatever order they came."""
    if len(files) == 1:
        return Gguf.open(files[0])
    groups = {(split.folder, split.prefix, split.count) if (split := SplitName.parse(path)) else path for path in files}
    if len(groups) == 1:
        return Gguf.open(sorted(files))
    positions = {path: read_split(path) for path in files}
    if any(position.count != len(files) for position in positions.values()):
        names = ", ".join(path.name for path in files[:8])
        raise ImportRefused(f"these are several models, import them one at a time: {names}")
    return Gguf.open([path for path, _ in sorted(positions.items(), key=lambda item: item[1].number)])


def _candidate(gguf: Gguf, bundle: Bundle | None, name: ModelName | None, changes: Changes) -> Candidate:
    details = describe(gguf)
    if bundle:
        bundle.check(details)
    embedded = gguf.metadata.text("tokenizer.chat_template", None)
    own = Changes(
        template=(bundle.template if bundle else None) or embedded or None,
        license=gguf.metadata.text("general.license", None),
        parameters=sampling_defaults(gguf) | (bundle.parameters if bundle else {}),
    )
    texts = own.then(changes)
    return Candidate(
        files=gguf.paths,
        details=details,
        capabilities=capabilities(gguf, texts.template),
        template=texts.template,
        license=texts.license,
        parameters=texts.parameters,
        bundle=bundle,
        system=texts.system,
        messages=texts.messages or (),
        name=name,
    )
