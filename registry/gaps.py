"""Gaps: how models that fill in mark the text before and after what is missing."""

from dataclasses import dataclass

from ktd.engine.gguf import Metadata


@dataclass(frozen=True, slots=True)
class Gap:
    """The special tokens of fill-in-the-middle: before the text, in the gap, and where the filling shall come."""

    prefix: str
    suffix: str
    middle: str


KNOWN = (
    Gap("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),
    Gap("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    Gap("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    Gap("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
    Gap("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"),
    Gap("<PRE>", "<SUF>", "<MID>"),
)
NAMES = (("fim_pre", "prefix"), ("fim_suf", "suffix"), ("fim_mid", "middle"))  # of keys, today's and older


def gap(metadata: Metadata) -> Gap | None:
    """The one that a file names, else one that its vocabulary has; None: the model cannot fill in."""
    tokens = metadata.texts("tokenizer.ggml.tokens", [])
    named = [_token(metadata, tokens, names) for names in NAMES]
    if all(named):
        return Gap(*named)
    known = set(tokens)
    return next((gap for gap in KNOWN if {gap.prefix, gap.suffix, gap.middle} <= known), None)


def _token(metadata: Metadata, tokens: list[str], names: tuple[str, ...]) -> str:
    indices = (metadata.integer(f"tokenizer.ggml.{name}_token_id", -1) for name in names)
    return next((tokens[index] for index in indices if 0 <= index < len(tokens)), "")
