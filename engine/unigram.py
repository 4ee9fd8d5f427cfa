"""SentencePiece's unigram model (arXiv 1804.10959): `tokenizer.ggml.model` t5, in files of XLM-RoBERTa's kind.

Of all ways to cut a word into tokens, the one whose scores sum up highest. Words begin with U+2581.
"""

from collections.abc import Sequence

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from ktd.engine.errors import LoadRefused
from ktd.engine.gguf import Metadata
from ktd.engine.sentencepiece import SPACE
from ktd.engine.vocabulary import Vocabulary

CHARACTERS = "tokenizer.ggml.precompiled_charsmap"
FIRST_SURROGATE, LAST_SURROGATE = 0xD800, 0xDFFF  # no characters
PANIC = "PanicException"


def build(
    vocabulary: Vocabulary, scores: Sequence[float], metadata: Metadata, unknown: int | None
) -> tokenizers.Tokenizer:
    """Raises GGUFError and LoadRefused."""
    if unknown is None:
        raise LoadRefused("bad_file", "the tokenizer has no token for unknown characters")
    if len(scores) != len(vocabulary):
        problem = f"tokenizer.ggml.scores has {len(scores)} entries for {len(vocabulary)} tokens"
        raise LoadRefused("bad_file", problem)
    pairs = list(zip(vocabulary.texts, scores, strict=True))
    tokenizer = tokenizers.Tokenizer(models.Unigram(vocab=pairs, unk_id=unknown, byte_fallback=False))
    if (characters := metadata.numbers(CHARACTERS, None)) is not None:
        tokenizer.normalizer = _normaliser(characters.tobytes())
    words = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), words])
    vocabulary.match_in(tokenizer)
    return tokenizer


def _normaliser(characters: bytes) -> normalizers.Normalizer:
    """What every character becomes first, as SentencePiece compiled it. Raises LoadRefused.

    All characters are tried, which takes half a second: the package only finds out then whether a damaged map points
    out of itself, and panics.
    """
    try:
        normaliser = normalizers.Precompiled(characters)
        normaliser.normalize_str(" ".join(map(chr, (*range(FIRST_SURROGATE), *range(LAST_SURROGATE + 1, 0x110000)))))
    except BaseException as error:  # the package raises bare Exceptions, and panics are not even those
        if isinstance(error, Exception) or type(error).__name__ == PANIC:
            raise LoadRefused("bad_file", f"{CHARACTERS}: {error}") from error
        raise
    return normaliser
