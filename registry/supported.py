"""Supported: which models the engine runs, judged by a header before anything is fetched or registered."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from ktd.engine.gguf import Metadata
from ktd.registry.errors import ImportRefused

BYTE_PAIRS = "gpt2"  # the kind of tokenizer that `tokenizer.ggml.pre` says more about


@dataclass(frozen=True, slots=True)
class Supported:
    """Names as GGUF spells them; None takes all. `flaw` tells why a chat template cannot be run, or None."""

    architectures: Collection[str] | None = None
    pre_tokenizers: Collection[str] | None = None
    flaw: Callable[[str], str | None] = lambda _: None

    def check(self, path: Path, metadata: Metadata) -> None:
        """Raises `ImportRefused` with the name and with those that are supported, GGUFError for ill-typed keys."""
        kind = metadata.text("general.type", "model")
        if kind != "model":
            raise ImportRefused(f"{path}: is not a model but of type {kind!r}")
        _check(path, "architecture", metadata.text("general.architecture"), self.architectures)
        if metadata.text("tokenizer.ggml.model", "") == BYTE_PAIRS:
            _check(path, "pre-tokenizer", metadata.text("tokenizer.ggml.pre", None), self.pre_tokenizers)


def _check(path: Path, what: str, name: str | None, known: Collection[str] | None) -> None:
    if known is None or name in known:
        return
    said = f"{what} {name!r} is not supported" if name else f"the {what} is not named"
    raise ImportRefused(f"{path}: {said} (supported: {', '.join(sorted(known))})")
