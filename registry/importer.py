"""Candidate: GGUF files and a bundle, read and judged before anything is registered."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ktd.engine.gguf import Gguf, GGUFError, SplitName, read_split
from ktd.registry.bundle import Bundle, read_bundle
from ktd.registry.details import capabilities, describe, sampling_defaults
from ktd.registry.errors import ImportRefused
from ktd.registry.names import ModelName, name_from_file
from ktd.registry.record import Details, Parameter
from ktd.registry.supported import Supported

ANYTHING = Supported()
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

    def default_name(self) -> ModelName:
        split = SplitName.parse(self.files[0])
        return name_from_file(split.prefix if split else self.files[0].name.removesuffix(".gguf"))


def read_candidate(paths: Sequence[Path], config: Path | None = None, supported: Supported = ANYTHING) -> Candidate:
    """Read the one model that these files and directories hold; raises `ImportRefused`.

    `config` is a bundle's directory; without it, an imported directory with a config.json is its own bundle.
    """
    try:
        given = [_absolute(path) for path in paths]
        folder = _absolute(config) if config else _own_bundle(given)
        with _open(_weights(given)) as gguf:
            supported.check(gguf.paths[0], gguf.metadata)
            if not gguf.tensors:
                raise ImportRefused(f"{gguf.paths[0]}: holds no weights")
            return _candidate(gguf, read_bundle(folder) if folder else None)
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
        found = folder.glob("*/" * depth + "*.gguf")
        files = sorted(path for path in found if not path.name.lower().startswith("mmproj"))
        if files:
            return files
    raise ImportRefused(f"{folder} holds no .gguf file")


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


def _candidate(gguf: Gguf, bundle: Bundle | None) -> Candidate:
    details = describe(gguf)
    if bundle:
        bundle.check(details)
    embedded = gguf.metadata.text("tokenizer.chat_template", None)
    template = (bundle.template if bundle else None) or embedded or None
    return Candidate(
        files=gguf.paths,
        details=details,
        capabilities=capabilities(gguf, template),
        template=template,
        license=gguf.metadata.text("general.license", None),
        parameters=sampling_defaults(gguf) | (bundle.parameters if bundle else {}),
        bundle=bundle,
    )
