"""Tokenizer: text to tokens and back, built from a GGUF's metadata."""

from collections.abc import Iterable
from enum import IntEnum

import tokenizers
from tokenizers import AddedToken, models, pre_tokenizers

from ktd.engine.errors import LoadRefused
from ktd.engine.gguf import Metadata
from ktd.engine.pretokenizers import PRE_TOKENIZERS, PreTokenizer


class TokenType(IntEnum):
    """What `tokenizer.ggml.token_type` says of a token."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


# Tokens that end an answer in the models that have them; files often name only one of theirs.
_WELL_KNOWN_ENDS = (
    "<｜end▁of▁sentence｜>",
    "<|EOT|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<end_of_turn>",
    "</s>",
)


class Tokenizer:
    """Byte-level byte-pair encoding with special tokens.

    `types[token]` is the token's type; tokens from `len(self)` up to the model's vocabulary are padding.
    """

    def __init__(self, texts: list[str], types: list[int], merges: list[str], pre: PreTokenizer) -> None:
        self._texts = texts
        self._types = types
        self._tokenizer = _build(texts, types, merges, pre)
        self.longest = max(1, *(len(text) for text in texts))  # characters of text one token can stand for
        self.bos: int | None = None
        self.adds_bos = False
        self.ends: frozenset[int] = frozenset()

    @classmethod
    def from_metadata(cls, metadata: Metadata) -> "Tokenizer":
        """Raises GGUFError and LoadRefused."""
        model = metadata.text("tokenizer.ggml.model")
        if model != "gpt2":
            raise LoadRefused("unsupported", f"tokenizer model {model!r} is not supported, only 'gpt2' is")
        texts = metadata.texts("tokenizer.ggml.tokens")
        types = _token_types(metadata, len(texts))
        pre = _pre_tokenizer(metadata)
        tokenizer = cls(texts, types, metadata.texts("tokenizer.ggml.merges"), pre)
        tokenizer.bos = tokenizer._named(metadata, "bos")
        adds_bos = metadata.flag("tokenizer.ggml.add_bos_token", pre.adds_bos)
        tokenizer.adds_bos = adds_bos and tokenizer.bos is not None
        named = (tokenizer._named(metadata, name) for name in ("eos", "eot", "eom"))
        known = (tokenizer.special(text) for text in _WELL_KNOWN_ENDS)
        tokenizer.ends = frozenset(token for token in (*named, *known) if token is not None)
        return tokenizer

    def __len__(self) -> int:
        return len(self._texts)

    def encode(self, text: str, bos: bool = True) -> list[int]:
        """The tokens of a rendered prompt; special tokens are recognised, `bos` added if the model wants it."""
        (encoding,) = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)
        tokens = encoding.ids
        if bos and self.adds_bos and self.bos is not None and tokens[:1] != [self.bos]:
            tokens.insert(0, self.bos)
        return tokens

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens, special ones included."""
        return b"".join(map(self.piece, tokens)).decode(errors="replace")

    def piece(self, token: int) -> bytes:
        """The bytes a token stands for; they may be part of a character. Padding stands for nothing."""
        if token >= len(self._texts):
            return b""
        text = self._texts[token]
        if self._types[token] == TokenType.NORMAL:
            return b"".join(_BYTES.get(character) or character.encode() for character in text)
        return text.encode()

    def is_control(self, token: int) -> bool:
        """Not text: control tokens, and those the vocabulary does not use."""
        return token >= len(self._types) or self._types[token] not in _TEXT

    def special(self, text: str) -> int | None:
        """The control or user-defined token of exactly this text."""
        token = self._tokenizer.token_to_id(text)
        return token if token is not None and self._types[token] in _MATCHED else None

    def _named(self, metadata: Metadata, name: str) -> int | None:
        key = f"tokenizer.ggml.{name}_token_id"
        token = metadata.integer(key, None)
        if token is not None and not 0 <= token < len(self):
            raise LoadRefused("bad_file", f"{key} is {token}, outside the vocabulary of {len(self)}")
        return token


_TEXT = (TokenType.NORMAL, TokenType.USER_DEFINED, TokenType.BYTE)
_MATCHED = (TokenType.CONTROL, TokenType.USER_DEFINED)


def _build(texts: list[str], types: list[int], merges: list[str], pre: PreTokenizer) -> tokenizers.Tokenizer:
    vocabulary = {texts[token]: token for token in reversed(range(len(texts)))}
    pairs = [_pair(merge, number) for number, merge in enumerate(merges)]
    try:
        model = models.BPE(vocab=vocabulary, merges=pairs, ignore_merges=pre.ignore_merges)
    except Exception as error:  # the package raises bare Exceptions, of a merge of unknown tokens for one
        raise LoadRefused("bad_file", f"tokenizer.ggml.merges: {error}") from error
    tokenizer = tokenizers.Tokenizer(model)
    splits = [pre_tokenizers.Split(tokenizers.Regex(split), "isolated") for split in pre.splits]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, byte_level])
    matched = [text for text, type in zip(texts, types, strict=True) if type in _MATCHED and text]
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in matched])
    return tokenizer


def _pair(merge: str, number: int) -> tuple[str, str]:
    left, space, right = merge.partition(" ")
    if not left or not space or not right or " " in right:
        raise LoadRefused("bad_file", f"tokenizer.ggml.merges[{number}] is {merge!r:.60}, not two tokens")
    return left, right


def _token_types(metadata: Metadata, count: int) -> list[int]:
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


def _pre_tokenizer(metadata: Metadata) -> PreTokenizer:
    name = metadata.text("tokenizer.ggml.pre", None)
    if name not in PRE_TOKENIZERS:
        known = ", ".join(sorted(PRE_TOKENIZERS))
        what = "is missing" if name is None else f"{name!r} is unknown"
        raise LoadRefused("unsupported", f"tokenizer.ggml.pre {what}; known are {known}")
    return PRE_TOKENIZERS[name]


def _byte_characters() -> dict[str, bytes]:
    """GPT-2's alphabet: printable Latin-1 is itself, every other byte a character from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = {chr(byte): byte for byte in printable} | {
        chr(0x100 + index): byte for index, byte in enumerate(others)
    }
    return {character: bytes([byte]) for character, byte in characters.items()}


_BYTES = _byte_characters()
