"""Pre-tokenizers that transformers has no class for: against the patterns that the models' authors published.

The patterns are those of the models' tokenizer.json (Kimi: of its tiktoken encoding), matched here by the `regex`
module, whose Unicode tables and semantics are its own; the package tokenizers uses Oniguruma. StarCoder's is made of
two pre-tokenizers that the package has built in.
"""

import json
from functools import cache
from itertools import pairwise

import pytest
import regex
from gguf_writer import string
from strings import SPECIALS, TEXTS, corpus, metadata, texts
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

from ktd.engine import tokenizer as ours
from ktd.engine.gguf.metadata import Array, ValueType

LLM_LETTERS = (
    "41-5a 61-7a b5 c0-d6 d8-f6 f8-1ba 1bc-1bf 1c4-293 295-2af 370-373 376-377 37b-37d 37f 386 388-38a 38c 38e-3a1 "
    "3a3-3f5 3f7-481 48a-52f 531-556 10a0-10c5 13a0-13f5 13f8-13fd 1c90-1cba 1cbd-1cbf 1d00-1d2b 1d6b-1d77 1d79-1d9a "
    "1e00-1f15 1f18-1f1d 1f20-1f45 1f48-1f4d 1f50-1f57 1f59 1f5b 1f5d 1f5f-1f7d 1f80-1fb4 1fb6-1fbc 1fbe 1fc2-1fc4 "
    "1fc6-1fcc 1fd0-1fd3 1fd6-1fdb 1fe0-1fec 1ff2-1ff4 1ff6-1ffc 2102 2107 210a-2113 2115 2119-211d 2124 2126 2128 "
    "212a-212d 212f-2134 2139 213c-213f 2145-2149 214e 2183-2184 2c00-2c7b 2c7e-2ce4 2ceb-2cee 2cf2-2cf3 a640-a66d "
    "a680-a69b a722-a76f a771-a787 a78b-a78e ab70-abbf fb00-fb06 fb13-fb17 ff21-ff3a ff41-ff5a 10400-1044f "
    "104b0-104d3 104d8-104fb 10c80-10cb2 10cc0-10cf2 118a0-118df 1e900-1e943"
)


def ranges(codes: str) -> str:
    """As they stand between brackets."""
    return "".join("-".join(f"\\U{int(code, 16):08x}" for code in part.split("-")) for part in codes.split())


CJK = "[一-龥ࠀ-一가-퟿]+"
WHITE = r"\s*[\r\n]+|\s+(?!\S)|\s+"
KIMI_UPPER, KIMI_LOWER = (rf"[\p{{{case}}}\p{{Lm}}\p{{Lo}}\p{{M}}&&[^\p{{Han}}]]" for case in (r"Lu}\p{Lt", "Ll"))
KIMI_LEAD, KIMI_END = r"[^\r\n\p{L}\p{N}]?", "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
PUBLISHED = {
    "deepseek-llm": [
        r"[\r\n]",
        rf"\s?[{ranges(LLM_LETTERS)}]+",
        r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
        r"\s+$",
        CJK,
        r"\p{N}",
    ],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK, r"\p{N}"],
    "deepseek-v3": [
        r"\p{N}{1,3}",
        "[一-龥぀-ゟ゠-ヿ]+",
        r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
        rf"| ?[\p{{P}}\p{{S}}]+[\r\n]*|{WHITE}",
    ],
    "glm4": [GGUF_PRE_TOKENIZER_SPLITS["llama-bpe"]],
    "kimi-k2": [
        rf"[\p{{Han}}]+|{KIMI_LEAD}{KIMI_UPPER}*{KIMI_LOWER}+{KIMI_END}|{KIMI_LEAD}{KIMI_UPPER}+{KIMI_LOWER}*{KIMI_END}"
        rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{WHITE}"
    ],
}
BUILT_IN = {
    "starcoder": pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    ),
}
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)


def pieces(pre: str, text: str) -> list[str]:
    """The text cut by each pattern in turn, in the alphabet of bytes."""
    if pre in BUILT_IN:
        return [piece for piece, _ in BUILT_IN[pre].pre_tokenize_str(text)]
    found = [text]
    for pattern in PUBLISHED[pre]:
        found = [part for piece in found for part in cut(pattern, piece)]
    return [BYTES.pre_tokenize_str(piece)[0][0] for piece in found]


def cut(pattern: str, text: str) -> list[str]:
    spans = [match.span() for match in regex.finditer(pattern, text, regex.V1)]
    edges = sorted({0, len(text), *(edge for span in spans for edge in span)})
    return [text[begin:end] for begin, end in pairwise(edges)]


@cache
def trained(pre: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary and its merges, of texts cut as the pattern says."""
    tokenizer = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("\n", "removed")
    tokenizer.train_from_iterator(("\n".join(pieces(pre, text)) for text in corpus()), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


@pytest.mark.parametrize("pre", [*PUBLISHED, *BUILT_IN])
def test_tokens_are_those_of_the_published_pattern(pre: str) -> None:
    vocabulary, merges = trained(pre)
    joined = [" ".join(pair) for pair in merges]
    merged = Array(ValueType.STRING, len(joined), b"".join(map(string, joined)), "merges")
    tokenizer = ours.Tokenizer.from_metadata(
        metadata("gpt2", sorted(vocabulary, key=vocabulary.__getitem__), pre=pre, merges=merged)
    )
    model = models.BPE(vocab=vocabulary, merges=merges)
    tokens_of = cache(lambda piece: [token.id for token in model.tokenize(piece)])
    specials = regex.compile("(" + "|".join(map(regex.escape, SPECIALS[1:])) + ")")
    some = texts(100 + len(pre))
    assert len(some) == TEXTS
    for text in some:
        expected: list[int] = []
        for part in filter(None, specials.split(text)):
            special = part in SPECIALS[1:]
            expected += [vocabulary[part]] if special else [t for p in pieces(pre, part) for t in tokens_of(p)]
        assert tokenizer.encode(text) == expected, repr(text)
