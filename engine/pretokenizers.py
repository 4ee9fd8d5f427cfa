"""How a text is cut before byte pairs are merged: one row per `tokenizer.ggml.pre`.

The patterns are Oniguruma's. The splits of a row are applied in turn, each to the pieces the one before left.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    splits: tuple[str, ...]
    ignore_merges: bool = False  # a piece that is itself a token is taken whole
    adds_bos: bool = False  # when the file does not say
    composes: bool = False  # letters and their accents become one character (NFC) first


_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_LINES_AND_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_NEWLINE = r"[\r\n]"
_CJK_OR_HANGUL = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"


def _words(digits: str, letter: str = r"\p{L}", mark: str = "") -> str:
    """The split of the tiktoken family: contractions, words with one leading mark, digits, the rest.

    `mark` are characters that count as letters but begin no word.
    """
    return "|".join(
        (
            _CONTRACTIONS,
            rf"[^\r\n\p{{L}}\p{{N}}]?{letter}+",
            digits,
            rf" ?[^\s\p{{L}}{mark}\p{{N}}]+[\r\n]*",
            _LINES_AND_SPACES,
        )
    )


def _cased_words(digits: str, ending: str = "", swallowed: str = r"\r\n/", without: str = "") -> str:
    """The split of o200k: words end where capitals begin again. `without` narrows its letters."""
    first = rf"[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}{without}]"
    further = rf"[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}{without}]"
    lead = r"[^\r\n\p{L}\p{N}]?"
    return "|".join(
        (
            f"{lead}{first}*{further}+{ending}",
            f"{lead}{first}+{further}*{ending}",
            digits,
            rf" ?[^\s\p{{L}}\p{{N}}]+[{swallowed}]*",
            _LINES_AND_SPACES,
        )
    )


# Cased letters, but for scripts and symbols that the authors' Unicode tables did not count among them yet.
_DEEPSEEK_LETTER = (
    "(?:(?!["
    "\u0560-\u0588\u10c7\u10cd\u10d0-\u10fa\u10fd-\u10ff\u1c80-\u1c8a\u2d00-\u2d2d"
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
_QWEN2 = PreTokenizer((_words(r"\p{N}"),), composes=True)
_R1_QWEN = PreTokenizer(_QWEN2.splits)
_QWEN35 = PreTokenizer((_words(r"\p{N}", r"[\p{L}\p{M}]", r"\p{M}"),), composes=True)
_O200K = PreTokenizer((_cased_words(r"\p{N}{1,3}", f"{_CONTRACTIONS}?"),))
_TEKKEN = PreTokenizer((_cased_words(r"\p{N}"),), ignore_merges=True, adds_bos=True)
_KIMI_K2 = PreTokenizer(
    (r"\p{Han}+|" + _cased_words(r"\p{N}{1,3}", f"{_CONTRACTIONS}?", r"\r\n", r"&&[^\p{Han}]"),),
)
_GPT2 = PreTokenizer((r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",))
_STARCODER = PreTokenizer((r"\p{N}", *_GPT2.splits))

PRE_TOKENIZERS = {
    "chatglm-bpe": PreTokenizer(_LLAMA3.splits),
    "deepseek-coder": _DEEPSEEK_CODER,
    "deepseek-llm": _DEEPSEEK_LLM,
    "deepseek-r1-qwen": _R1_QWEN,
    "deepseek-v3": _DEEPSEEK_V3,
    "glm4": PreTokenizer(_LLAMA3.splits),
    "gpt-2": _GPT2,
    "gpt-4o": _O200K,
    "kimi-k2": _KIMI_K2,
    "llama-bpe": _LLAMA3,
    "llama-v3": _LLAMA3,
    "llama3": _LLAMA3,
    "qwen2": _QWEN2,
    "qwen35": _QWEN35,
    "refact": _STARCODER,
    "smollm": _STARCODER,
    "starcoder": _STARCODER,
    "tekken": _TEKKEN,
}
