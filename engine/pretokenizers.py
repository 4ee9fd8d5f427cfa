"""How a text is cut before byte pairs are merged: one row per `tokenizer.ggml.pre`.

The patterns are Oniguruma's. The splits of a row are applied in turn, each to the pieces the one before left.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    splits: tuple[str, ...]
    ignore_merges: bool = False  # a piece that is itself a token is taken whole
    adds_bos: bool = False  # when the file does not say


_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LINES_AND_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_NEWLINE = r"[\r\n]"
_CJK_OR_HANGUL = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"


def _words(digits: str) -> str:
    """The split of the tiktoken family: contractions, words with one leading mark, digits, the rest."""
    return "|".join(
        (
            _CONTRACTIONS,
            r"[^\r\n\p{L}\p{N}]?\p{L}+",
            digits,
            r" ?[^\s\p{L}\p{N}]+[\r\n]*",
            _LINES_AND_SPACES,
        )
    )


# Cased letters, but for scripts and symbols that the authors' Unicode tables did not count among them yet.
_DEEPSEEK_LETTER = (
    "(?:(?!["
    "\u0560-\u0588\u10c7\u10cd\u10d0-\u10fa\u10fd-\u10ff\u1c80-\u1c8a\u2cf2\u2cf3\u2d00-\u2d2d"
    "\ua790-\ua7dc\ua7f5-\ua7fa\uab30-\uab5a\uab60-\uab68"
    "\U00010570-\U000105bc\U00010d50-\U00010d85\U00016e40-\U00016e7f\U0001d400-\U0001d7cb\U0001df00-\U0001df2a"
    r"])[\p{Lu}\p{Ll}\p{Lt}])"
)
_DEEPSEEK_LLM = PreTokenizer(
    (
        _NEWLINE,
        rf"\s?{_DEEPSEEK_LETTER}+",
        "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
        r"\s+$",
        _CJK_OR_HANGUL,
        r"\p{N}",
    )
)
_DEEPSEEK_CODER = PreTokenizer((_NEWLINE, r"\s?\p{L}+", r"\s?\p{P}+", _CJK_OR_HANGUL, r"\p{N}"))
_DEEPSEEK_V3 = PreTokenizer(
    (
        r"\p{N}{1,3}",
        "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
        "|".join(
            (
                r"[!-/:-@\[-`{-~][A-Za-z]+",
                r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
                r" ?[\p{P}\p{S}]+[\r\n]*",
                _LINES_AND_SPACES,
            )
        ),
    )
)
_LLAMA3 = PreTokenizer((_words(r"\p{N}{1,3}"),), ignore_merges=True, adds_bos=True)
_QWEN2 = PreTokenizer((_words(r"\p{N}"),))

PRE_TOKENIZERS = {
    "deepseek-coder": _DEEPSEEK_CODER,
    "deepseek-llm": _DEEPSEEK_LLM,
    "deepseek-r1-qwen": _QWEN2,
    "deepseek-v3": _DEEPSEEK_V3,
    "glm4": PreTokenizer(_LLAMA3.splits),
    "llama-bpe": _LLAMA3,
    "qwen2": _QWEN2,
}
