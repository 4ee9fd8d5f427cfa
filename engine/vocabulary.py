"""Vocabulary: the texts of tokens and what each is, from a GGUF's metadata."""

from dataclasses import dataclass, replace
from enum import IntEnum

import tokenizers
from tokenizers import AddedToken

from ktd.engine.errors import LoadRefused
from ktd.engine.gguf import Metadata


class TokenType(IntEnum):
    """What `tokenizer.ggml.token_type` says of a token."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


TEXT = (TokenType.NORMAL, TokenType.USER_DEFINED, TokenType.BYTE)
MATCHED = (TokenType.CONTROL, TokenType.USER_DEFINED)  # found in a text before anything else


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """`types[token]` is the type of `texts[token]`."""

    texts: list[str]
    types: list[int]

    @classmethod
    def from_metadata(cls, metadata: Metadata) -> "Vocabulary":
        """Raises GGUFError and LoadRefused."""
        texts = metadata.texts("tokenizer.ggml.tokens")
        return cls(texts, _types(metadata, len(texts)))

    def __len__(self) -> int:
        return len(self.texts)

    def ids(self) -> dict[str, int]:
        """The token of each text; of equal texts the first."""
        return {self.texts[token]: token for token in reversed(range(len(self)))}

    def match_in(self, tokenizer: tokenizers.Tokenizer) -> None:
        """Let a tokenizer find the special tokens of a text, the longest first, before it does anything else."""
        pairs = zip(self.texts, self.types, strict=True)
        matched = [text for text, type in pairs if type in MATCHED and text]
        tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in matched])

    def with_control(self, texts: frozenset[str]) -> "Vocabulary":
        """These are control tokens, whatever the file says."""
        pairs = zip(self.texts, self.types, strict=True)
        return replace(self, types=[TokenType.CONTROL if text in texts else type for text, type in pairs])


def _types(metadata: Metadata, count: int) -> list[int]:
    types = metadata.numbers("tokenizer.ggml.token_type", None)
    if count == 0:
        raise LoadRefused("bad_file", "tokenizer.ggml.tokens is empty")
    if types is None:
        return [TokenType.NORMAL] * count
    if len(types) != count:
        raise LoadRefused("bad_file", f"tokenizer.ggml.token_type has {len(types)} entries for {count} tokens")
    if types.dtype.kind not in "iu":
        raise LoadRefused("bad_file", f"tokenizer.ggml.token_type holds {types.dtype} instead of integers")
    return [int(type) for type in types]
