"""Bundle: a model's original repository without its weights. It refines defaults; nothing in it is ever executed."""

import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ktd.registry.errors import BundleRefused
from ktd.registry.record import Details, Parameter

MIB = 1 << 20
FILES = {
    "config.json": MIB,
    "generation_config.json": MIB,
    "tokenizer_config.json": 16 * MIB,
    "chat_template.jinja": MIB,
    "tokenizer.json": 128 * MIB,
}
"""What a bundle may hold, with the largest size accepted."""

PARSED = ("config.json", "generation_config.json", "tokenizer_config.json")

OPTIONS = {
    "temperature": ("temperature", 0.0, 100.0),
    "top_p": ("top_p", 0.0, 1.0),
    "top_k": ("top_k", 0, 1 << 30),
    "min_p": ("min_p", 0.0, 1.0),
    "repetition_penalty": ("repeat_penalty", 0.0, 100.0),
}
"""generation_config.json's name -> Ollama's, and the range."""


@dataclass(frozen=True, slots=True)
class Bundle:
    path: Path
    files: dict[str, str]  # name -> sha256
    config: Mapping[str, Any]
    template: str | None
    parameters: dict[str, Parameter]

    def check(self, details: Details) -> None:
        """Raise `BundleRefused` when config.json describes another model than the weights."""
        width = self.config.get("hidden_size")
        if width is not None and details.embedding_length not in (None, width):
            raise BundleRefused(
                f"{self.path / 'config.json'} is of another model: its hidden_size is {width!r:.40}, "
                f"the weights have {details.embedding_length}"
            )


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle's directory; raises `BundleRefused`."""
    if not folder.is_dir():
        raise BundleRefused(f"{folder} is not a directory of configuration files")
    contents = {name: raw for name, limit in FILES.items() if (raw := _read(folder / name, limit)) is not None}
    if not contents:
        raise BundleRefused(f"{folder} holds none of {', '.join(FILES)}")
    documents = {name: _parse(folder / name, raw) for name, raw in contents.items() if name in PARSED}
    return Bundle(
        path=folder,
        files={name: hashlib.sha256(raw).hexdigest() for name, raw in contents.items()},
        config=documents.get("config.json", {}),
        template=_template(folder, contents, documents.get("tokenizer_config.json", {})),
        parameters=_parameters(folder / "generation_config.json", documents.get("generation_config.json", {})),
    )


def _read(path: Path, limit: int) -> bytes | None:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise BundleRefused(f"{path} is not a regular file")
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BundleRefused(f"{path} cannot be read: {error.strerror}") from error
    if len(raw) > limit:
        raise BundleRefused(f"{path} has {status.st_size} bytes, more than the {limit} accepted")
    return raw


def _parse(path: Path, raw: bytes) -> dict[str, Any]:
    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    try:
        document = json.loads(raw, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise BundleRefused(f"{path} is not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise BundleRefused(f"{path} is not a JSON object")
    return document


def _template(folder: Path, contents: Mapping[str, bytes], tokenizer: Mapping[str, Any]) -> str | None:
    """chat_template.jinja, or else the (default) template inside tokenizer_config.json."""
    raw = contents.get("chat_template.jinja")
    if raw is not None:
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            raise BundleRefused(f"{folder / 'chat_template.jinja'} is not UTF-8: {error}") from error
    template = tokenizer.get("chat_template")
    if isinstance(template, list):
        named = {item.get("name"): item.get("template") for item in template if isinstance(item, dict)}
        template = named.get("default")
    if template is None or isinstance(template, str):
        return template
    raise BundleRefused(f"{folder / 'tokenizer_config.json'}: chat_template is not text")


def _parameters(path: Path, document: Mapping[str, Any]) -> dict[str, Parameter]:
    found: dict[str, Parameter] = {}
    for key, (option, least, most) in OPTIONS.items():
        value = document.get(key)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BundleRefused(f"{path}: {key} is {value!r:.40}, not a number")
        if not least <= value <= most:
            raise BundleRefused(f"{path}: {key} is {value!r:.40}, outside {least} to {most}")
        found[option] = int(value) if isinstance(least, int) else float(value)
    if document.get("do_sample") is False:
        found["temperature"] = 0.0
    return found
