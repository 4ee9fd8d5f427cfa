"""OllamaModel: a model in the store of an Ollama installation, to be used where it lies.

The store has `manifests/<host>/<namespace>/<model>/<tag>`, small JSON files, and `blobs/sha256-<hex>` that they name.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ktd.registry.blobs import digest_hex
from ktd.registry.errors import CreateRefused, ImportRefused, InvalidDigest, InvalidName
from ktd.registry.modelfile import ROLES
from ktd.registry.names import ModelName
from ktd.registry.parameters import checked
from ktd.registry.record import Changes, Parameter
from ktd.registry.supported import Supported

MANIFESTS, BLOBS = "manifests", "blobs"
LAYER = "application/vnd.ollama.image."
LARGEST = 1 << 20  # bytes of a manifest or of a text
SHOWN = 20
TEXTS = ("template", "prompt", "system", "license")  # "prompt" is what templates were called at first
NO_TEMPLATE = "{{ .Prompt }}"


@dataclass(frozen=True, slots=True)
class OllamaModel:
    """`changes` are the texts that it has besides those in its files."""

    name: ModelName
    files: tuple[Path, ...]
    changes: Changes


def find_model(path: Path, supported: Supported) -> OllamaModel | None:
    """The model of a manifest, or the only one of a whole store; None when the path is neither.

    Raises `ImportRefused`.
    """
    if path.is_dir() and (path / MANIFESTS).is_dir() and (path / BLOBS).is_dir():
        there = sorted(file for file in (path / MANIFESTS).glob("*/*/*/*") if file.is_file())
        if len(there) != 1:
            shown = "".join(f"\n  {file}" for file in there[:SHOWN])
            raise ImportRefused(f"{path} is Ollama's store of {len(there)} models; import one by its manifest:{shown}")
        return _read(there[0], supported)
    in_store = path.is_file() and len(path.parents) > 4 and path.parents[3].name == MANIFESTS
    return _read(path, supported) if in_store else None


def _read(manifest: Path, supported: Supported) -> OllamaModel:
    store = manifest.parents[4]
    document = _json(manifest)
    layers = document.get("layers") if isinstance(document, dict) else None
    if not isinstance(layers, list):
        raise ImportRefused(f"{manifest} is not a manifest of Ollama's")
    parts: dict[str, list[Path]] = {}
    for layer in layers:
        kind = str(layer.get("mediaType", "")) if isinstance(layer, dict) else ""
        if kind.startswith(LAYER):
            parts.setdefault(kind.removeprefix(LAYER), []).append(_blob(manifest, store, layer))
    if "model" not in parts or "adapter" in parts:
        raise ImportRefused(f"{manifest} names no model file that can be used alone")
    texts = {kind: "\n\n".join(map(_text, parts[kind])) for kind in TEXTS if kind in parts}
    changes = Changes(
        template=_template(manifest, document, texts.get("template") or texts.get("prompt"), supported),
        system=texts.get("system"),
        license=texts.get("license"),
        parameters=_parameters([_json(path) for path in parts.get("params", [])]),
        messages=_messages([_json(path) for path in parts.get("messages", [])]),
    )
    return OllamaModel(_name(manifest), tuple(parts["model"]), changes)


def _template(manifest: Path, document: Any, text: str | None, supported: Supported) -> str | None:
    """None where the file's own template serves better: Ollama knew none, or wrote its prompts by built-in code."""
    if text is None or text.strip() == NO_TEMPLATE or _config(manifest, document).get("renderer"):
        return None
    if flaw := supported.flaw(text):
        weights = "its model file alone, in the blobs beside it, can be imported"
        raise ImportRefused(f"{manifest}: its template cannot be run: {flaw}; {weights}")
    return text


def _config(manifest: Path, document: Any) -> Mapping[str, Any]:
    """What a model says besides its layers; older ones say nothing of interest."""
    named = document.get("config")
    if not isinstance(named, dict):
        return {}
    with suppress(OSError):
        found = _json(_blob(manifest, manifest.parents[4], named))
        return found if isinstance(found, dict) else {}
    return {}


def _blob(manifest: Path, store: Path, layer: Mapping[str, Any]) -> Path:
    try:
        return store / BLOBS / f"sha256-{digest_hex(str(layer.get('digest')))}"
    except InvalidDigest as error:
        raise ImportRefused(f"{manifest}: {error}") from error


def _name(manifest: Path) -> ModelName:
    host, namespace, model, tag = manifest.parts[-4:]
    try:
        return ModelName.of(str(manifest), host=host, namespace=namespace, model=model, tag=tag)
    except InvalidName as error:
        raise ImportRefused(str(error)) from error


def _text(path: Path) -> str:
    with path.open("rb") as file:
        raw = file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise ImportRefused(f"{path} has more than {LARGEST} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise ImportRefused(f"{path} is not UTF-8 text") from error


def _json(path: Path) -> Any:
    try:
        return json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        raise ImportRefused(f"{path} is not valid JSON: {error}") from error


def _parameters(documents: list[Any]) -> dict[str, Parameter]:
    """Those that are known here; the rest did nothing for this kind of model."""
    found: dict[str, Parameter] = {}
    for document in documents:
        for name, value in document.items() if isinstance(document, dict) else ():
            with suppress(CreateRefused):
                found |= checked({name: value})
    return found


def _messages(documents: list[Any]) -> tuple[tuple[str, str], ...]:
    messages = [one for document in documents if isinstance(document, list) for one in document]
    pairs = ((one.get("role"), one.get("content")) for one in messages if isinstance(one, dict))
    return tuple((role, text) for role, text in pairs if role in ROLES and isinstance(text, str))
