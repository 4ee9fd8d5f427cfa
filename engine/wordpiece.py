"""WordPiece: `tokenizer.ggml.model` bert. Words are cut into the longest tokens that begin them.

A file writes tokens that begin a word with U+2581 in front and those that go on bare; here they are spelled as BERT's
own vocabularies do: beginnings bare, what goes on with "##" in front.
"""

from dataclasses import replace

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from ktd.engine.errors import LoadRefused
from ktd.engine.gguf import Metadata
from ktd.engine.vocabulary import TokenType, Vocabulary

BEGINNING, GOING_ON = "\u2581", "##"
LONGEST_WORD = 100  # characters; longer ones are unknown
_CAPITALS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def spelled(vocabulary: Vocabulary) -> Vocabulary:
    """As BERT spells tokens. Special ones are what they are."""
    pairs = zip(vocabulary.texts, vocabulary.types, strict=True)
    return replace(vocabulary, texts=[_spelled(text, type) for text, type in pairs])


def build(vocabulary: Vocabulary, metadata: Metadata, unknown: int | None) -> tokenizers.Tokenizer:
    """A vocabulary as `spelled`. Raises LoadRefused."""
    if unknown is None:
        raise LoadRefused("bad_file", "the tokenizer has no token for unknown words")
    small = metadata.flag("tokenizer.ggml.normalizer.lowercase", not _cased(vocabulary))
    tokenizer = tokenizers.Tokenizer(
        models.WordPiece(
            vocab=vocabulary.ids(),
            unk_token=vocabulary.texts[unknown],
            max_input_chars_per_word=LONGEST_WORD,
            continuing_subword_prefix=GOING_ON,
        )
    )
    bare = metadata.flag("tokenizer.ggml.normalizer.strip_accents", small)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=small, strip_accents=bare)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    vocabulary.match_in(tokenizer)
    return tokenizer


def piece(text: str, type: int) -> bytes:
    """The bytes of a token, a space before each word."""
    if type != TokenType.NORMAL:
        return text.encode()
    return (text[len(GOING_ON) :] if text.startswith(GOING_ON) else f" {text}").encode()


def _spelled(text: str, type: int) -> str:
    if type != TokenType.NORMAL or (text.startswith("[") and text.endswith("]")):
        return text
    return text[1:] if text.startswith(BEGINNING) else GOING_ON + text


def _cased(vocabulary: Vocabulary) -> bool:
    """Files seldom say; but only of cased texts does one learn tokens with capitals."""
    pairs = zip(vocabulary.texts, vocabulary.types, strict=True)
    words = (text for text, type in pairs if type == TokenType.NORMAL and not text.startswith("["))
    return any(not _CAPITALS.isdisjoint(word) for word in words)
