"""Byte-level byte-pair encoding: `tokenizer.ggml.model` gpt2. A token's text spells its bytes in GPT-2's alphabet."""

import tokenizers
from tokenizers import models, normalizers, pre_tokenizers

from ktd.engine.errors import LoadRefused
from ktd.engine.pretokenizers import PreTokenizer
from ktd.engine.vocabulary import TokenType, Vocabulary


def build(vocabulary: Vocabulary, merges: list[str], pre: PreTokenizer) -> tokenizers.Tokenizer:
    """Raises LoadRefused."""
    pairs = [_pair(merge, number) for number, merge in enumerate(merges)]
    try:
        model = models.BPE(vocab=vocabulary.ids(), merges=pairs, ignore_merges=pre.ignore_merges)
    except Exception as error:  # the package raises bare Exceptions, of a merge of unknown tokens for one
        raise LoadRefused("bad_file", f"tokenizer.ggml.merges: {error}") from error
    tokenizer = tokenizers.Tokenizer(model)
    if pre.composes:
        tokenizer.normalizer = normalizers.NFC()
    splits = [pre_tokenizers.Split(tokenizers.Regex(split), "isolated") for split in pre.splits]
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, byte_level])
    vocabulary.match_in(tokenizer)
    return tokenizer


def piece(text: str, type: int) -> bytes:
    """The bytes of a token."""
    if type == TokenType.NORMAL:
        return b"".join(_BYTES.get(character) or character.encode() for character in text)
    return text.encode()


def _pair(merge: str, number: int) -> tuple[str, str]:
    left, space, right = merge.partition(" ")
    if not left or not space or not right or " " in right:
        raise LoadRefused("bad_file", f"tokenizer.ggml.merges[{number}] is {merge!r:.60}, not two tokens")
    return left, right


def _byte_characters() -> dict[str, bytes]:
    """GPT-2's alphabet: printable Latin-1 is itself, every other byte a character from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    characters = {chr(byte): byte for byte in printable} | {
        chr(0x100 + index): byte for index, byte in enumerate(others)
    }
    return {character: bytes([byte]) for character, byte in characters.items()}


_BYTES = _byte_characters()
