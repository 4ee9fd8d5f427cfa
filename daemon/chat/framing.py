"""Framing: what of a model decides how its prompts look."""

import asyncio
from dataclasses import dataclass

from ktd.registry.record import ModelRecord
from ktd.registry.store import Registry

MOST_KEPT = 64


@dataclass(frozen=True, slots=True)
class Gap:
    """The special tokens of fill-in-the-middle: before the text, in the gap, and where the filling shall come."""

    prefix: str
    suffix: str
    middle: str


KNOWN_GAPS = (
    Gap("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
    Gap("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    Gap("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    Gap("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    Gap("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),
)


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

        def token(*kinds: str) -> str:
            indices = (gguf.metadata.integer(f"tokenizer.ggml.{kind}_token_id", -1) for kind in kinds)
            return next((tokens[index] for index in indices if 0 <= index < len(tokens)), "")

        named = Gap(token("fim_pre", "prefix"), token("fim_suf", "suffix"), token("fim_mid", "middle"))
        return Framing(record.template or "", token("bos"), token("eos"), gap(named, tokens))


def gap(named: Gap, tokens: list[str]) -> Gap | None:
    """The one that the file names, else one that its vocabulary has."""
    if named.prefix and named.suffix and named.middle:
        return named
    known = set(tokens)
    return next((gap for gap in KNOWN_GAPS if {gap.prefix, gap.suffix, gap.middle} <= known), None)
