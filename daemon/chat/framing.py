"""Framing: what of a model decides how its prompts look."""

import asyncio
from dataclasses import dataclass

from ktd.registry.gaps import Gap, gap
from ktd.registry.record import ModelRecord
from ktd.registry.store import Registry

MOST_KEPT = 64


@dataclass(frozen=True, slots=True)
class Framing:
    template: str
    bos: str
    eos: str
    gap: Gap | None = None  # None: the model cannot fill in


class Framings:
    """Framings by the digest of their model: reading a header with a large vocabulary takes a moment."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._known: dict[str, Framing] = {}

    async def of(self, record: ModelRecord) -> Framing:
        """Raises ModelBroken."""
        framing = self._known.get(record.digest)
        if framing is None:
            framing = await asyncio.to_thread(_read, self._registry, record)
            if len(self._known) >= MOST_KEPT:
                self._known.clear()
            self._known[record.digest] = framing
        return framing


def _read(registry: Registry, record: ModelRecord) -> Framing:
    with registry.header(record.name) as gguf:
        tokens = gguf.metadata.texts("tokenizer.ggml.tokens", [])

        def token(kind: str) -> str:
            index = gguf.metadata.integer(f"tokenizer.ggml.{kind}_token_id", -1)
            return tokens[index] if 0 <= index < len(tokens) else ""

        return Framing(record.template or "", token("bos"), token("eos"), gap(gguf.metadata))
