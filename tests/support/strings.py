"""Texts in every order of words, spaces, special tokens and stray characters, and metadata of small tokenizers."""

import random
from functools import cache

import headers
import numpy as np
from gguf_writer import string

from ktd.engine.gguf import Metadata, Value
from ktd.engine.gguf.metadata import Array, ValueType

SPECIALS = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<think>"]
TYPES = [2, 3, 3, 3, 3, 4]
WORDS = [
    *("the", "The", "token", "Token", "IDs", "HTTPServer", "camelCase", "don't", "I'M", "we'll", "it's", "'S", "naïve"),
    *(
        "def f(x):",
        "return x+1",
        "{}",
        "[[",
        "]]",
        "->",
        "//",
        "/*",
        "*/",
        "</s",
        "s>",
        "==",
        "!=",
        "...",
        "!?",
        "，。",
    ),
    *("1", "12", "1234567", "٣٤", "½", "Ⅷ", "3.14", "0x1F"),
    *(
        "你好",
        "小明",
        "漢字かな",
        "カタカナ",
        "한국어",
        "é",
        "e\u0301",
        "ñ",
        "ß",
        "ǅ",
        "ʰ",
        "Привет",
        "שלום",
        "नमस्ते",
        "ไทย",
    ),
    *("😀", "👨\u200d👩\u200d👧", "🏳️\u200d🌈", "\u00a0", "\u3000", "\u200d", "\ufffd", "\x00", "\U0010ffff"),
    *(" ", " ", " ", "  ", "    ", "\n", "\n\n", " \n", "\r\n", "\t", "\u2028"),
]
TEXTS = 10_000


@cache
def corpus() -> list[str]:
    r = random.Random(1)
    return [" ".join(r.choice(WORDS[:44]) for _ in range(12)) for _ in range(2000)]


def texts(seed: int) -> list[str]:
    """Words, spaces, special tokens and stray characters in every order."""
    r = random.Random(seed)
    stray = [chr(c) for c in (*range(1, 0x250), *range(0x300, 0x600), *range(0x2000, 0x3100)) if chr(c) != "\u2581"]
    choices = [*WORDS, *WORDS, *SPECIALS[1:]]
    return [
        "".join(r.choice(stray) if r.random() < 0.1 else r.choice(choices) for _ in range(r.randrange(1, 25)))
        for _ in range(TEXTS)
    ]


def metadata(model: str, vocabulary: list[str], **more: Value) -> Metadata:
    """Special tokens first, then byte tokens if there are any, then normal ones."""
    types = [*TYPES, *(6 if text.startswith("<0x") else 1 for text in vocabulary[len(TYPES) :])]
    keys: dict[str, Value] = {
        "model": model,
        "tokens": Array(ValueType.STRING, len(vocabulary), b"".join(map(string, vocabulary)), "tokens"),
        "token_type": Array(ValueType.INT32, len(types), np.array(types, "<i4").tobytes(), "types"),
        "add_bos_token": False,
        **more,
    }
    return headers.header({f"tokenizer.ggml.{key}": value for key, value in keys.items()}, {}).metadata
