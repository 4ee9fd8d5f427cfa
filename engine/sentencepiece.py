"""SentencePiece's byte-pair encoding: `tokenizer.ggml.model` llama. Spaces are written as U+2581.

Of all neighbours that make a token together, the pair whose token has the best score is merged first. That order is
fixed, so it is written down as merges once. Characters that no token has are spelled in byte tokens.
"""

import re
from collections.abc import Iterator, Sequence

import tokenizers
from tokenizers import models, normalizers

from ktd.engine.errors import LoadRefused
from ktd.engine.vocabulary import TokenType, Vocabulary

SPACE = "\u2581"
_BYTE = re.compile("<0x([0-9A-F]{2})>")


def spaced(vocabulary: Vocabulary) -> Vocabulary:
    """User-defined tokens as they stand in a text: some files spell their spaces, some do not."""
    pairs = zip(vocabulary.texts, vocabulary.types, strict=True)
    texts = [text.replace(SPACE, " ") if type == TokenType.USER_DEFINED else text for text, type in pairs]
    return Vocabulary(texts, vocabulary.types)


def build(
    vocabulary: Vocabulary, scores: Sequence[float], *, unknown: int | None, space_first: bool
) -> tokenizers.Tokenizer:
    """`space_first`: a text, and what follows a special token, begins with a space of its own. Raises LoadRefused."""
    if len(scores) != len(vocabulary):
        problem = f"tokenizer.ggml.scores has {len(scores)} entries for {len(vocabulary)} tokens"
        raise LoadRefused("bad_file", problem)
    tokenizer = tokenizers.Tokenizer(
        models.BPE(
            vocab=vocabulary.ids(),
            merges=_merges(vocabulary, scores),
            unk_token=None if unknown is None else vocabulary.texts[unknown],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    first = [normalizers.Prepend(SPACE)] if space_first else []
    tokenizer.normalizer = normalizers.Sequence([*first, normalizers.Replace(" ", SPACE)])
    vocabulary.match_in(tokenizer)
    return tokenizer


def piece(text: str, type: int) -> bytes:
    """The bytes of a token."""
    if type == TokenType.BYTE and (byte := _BYTE.fullmatch(text)):
        return bytes.fromhex(byte[1])
    return (text.replace(SPACE, " ") if type == TokenType.NORMAL else text).encode()


def _merges(vocabulary: Vocabulary, scores: Sequence[float]) -> list[tuple[str, str]]:
    """Every way to make a token of two, best score first; of equal ones those of earlier tokens."""
    normal = {text: token for text, token in vocabulary.ids().items() if vocabulary.types[token] == TokenType.NORMAL}
    order = sorted(normal, key=lambda text: -scores[normal[text]])
    return [pair for text in order for pair in _halves(text, normal)]


def _halves(text: str, normal: dict[str, int]) -> Iterator[tuple[str, str]]:
    pairs = ((text[:at], text[at:]) for at in range(1, len(text)))
    known = [pair for pair in pairs if pair[0] in normal and pair[1] in normal]
    return iter(sorted(known, key=lambda pair: (normal[pair[0]], normal[pair[1]])))
