"""Tokenizer: text to tokens and back, built from a GGUF's metadata."""

import re
from collections.abc import Callable, Iterable
from functools import cached_property

import tokenizers

from ktd.engine import byte_level, sentencepiece, unigram, wordpiece
from ktd.engine.errors import LoadRefused
from ktd.engine.gguf import Metadata
from ktd.engine.pretokenizers import PRE_TOKENIZERS, PreTokenizer
from ktd.engine.vocabulary import MATCHED, TEXT, Vocabulary

# Tokens that end an answer in the models that have them; files often name only one of theirs, or call them text.
_ENDS = frozenset(
    {
        "<｜end▁of▁sentence｜>",
        "<|EOT|>",
        "<|im_end|>",
        "<|endoftext|>",
        "<|end_of_text|>",
        "<|fim_pad|>",
        "<|repo_name|>",
        "<|file_sep|>",
        "<fim_pad>",
        "<repo_name>",
        "<file_sep>",
        "<EOT>",
        "<|eot_id|>",
        "<|eom_id|>",
        "<|end|>",
        "<|return|>",
        "<|call|>",
        "<|observation|>",
        "<end_of_turn>",
    }
)
_PLAIN_END = "</s>"  # only as a control token: as text it is HTML
_MESSAGE_END, _ANSWER_END = "<|end|>", "<|return|>"  # in models with both, an answer has several messages


class Tokenizer:
    """Byte-pair encoding with special tokens, of one kind or another.

    `types[token]` is the token's type; tokens from `len(self)` up to the model's vocabulary are padding.
    """

    def __init__(
        self, vocabulary: Vocabulary, tokenizer: tokenizers.Tokenizer, piece: Callable[[str, int], bytes]
    ) -> None:
        """`piece` gives the bytes of a token from its text and type."""
        self._texts = vocabulary.texts
        self._types = vocabulary.types
        self._tokenizer = tokenizer
        self._piece = piece
        self.longest = max(1, *(len(text) for text in self._texts))  # characters of text one token can stand for
        self.bos: int | None = None
        self.adds_bos = False
        self.ends: frozenset[int] = frozenset()
        self.after: tuple[int, ...] = ()  # what ends a text that is embedded

    @classmethod
    def byte_level(cls, vocabulary: Vocabulary, merges: list[str], pre: PreTokenizer) -> "Tokenizer":
        return cls(vocabulary, byte_level.build(vocabulary, merges, pre), byte_level.piece)

    @classmethod
    def sentencepiece(
        cls, vocabulary: Vocabulary, scores: list[float], *, unknown: int | None, space_first: bool
    ) -> "Tokenizer":
        vocabulary = sentencepiece.spaced(vocabulary)
        tokenizer = sentencepiece.build(vocabulary, scores, unknown=unknown, space_first=space_first)
        return cls(vocabulary, tokenizer, sentencepiece.piece)

    @classmethod
    def wordpiece(cls, vocabulary: Vocabulary, metadata: Metadata) -> "Tokenizer":
        """Of an encoder: a text stands between two special tokens. Raises GGUFError and LoadRefused."""
        vocabulary = wordpiece.spelled(vocabulary)
        ids = vocabulary.ids()

        def token(text: str, *names: str) -> int | None:
            named = (_named(metadata, name, len(vocabulary)) for name in names)
            return next((each for each in named if each is not None), ids.get(text))

        tokenizer = cls(vocabulary, wordpiece.build(vocabulary, metadata, token("[UNK]", "unknown")), wordpiece.piece)
        tokenizer.longest = max(tokenizer.longest, wordpiece.LONGEST_WORD)
        tokenizer.bos = token("[CLS]", "cls", "bos")
        tokenizer.adds_bos = tokenizer.bos is not None
        end = token("[SEP]", "seperator", "separator", "eos")  # the first is how GGUF spells it
        tokenizer.after = () if end is None else (end,)
        return tokenizer

    @classmethod
    def unigram(cls, vocabulary: Vocabulary, metadata: Metadata) -> "Tokenizer":
        """Raises GGUFError and LoadRefused."""
        unknown = _named(metadata, "unknown", len(vocabulary))
        return cls(vocabulary, unigram.build(vocabulary, _scores(metadata), metadata, unknown), sentencepiece.piece)

    @classmethod
    def from_metadata(cls, metadata: Metadata) -> "Tokenizer":
        """Raises GGUFError and LoadRefused."""
        vocabulary = Vocabulary.from_metadata(metadata).with_control(_ENDS)
        match model := metadata.text("tokenizer.ggml.model"):
            case "gpt2":
                pre = _pre_tokenizer(metadata)
                tokenizer = cls.byte_level(vocabulary, metadata.texts("tokenizer.ggml.merges"), pre)
                wants_bos = pre.adds_bos
            case "llama":
                tokenizer = cls.sentencepiece(
                    vocabulary,
                    _scores(metadata),
                    unknown=_named(metadata, "unknown", len(vocabulary)),
                    space_first=metadata.flag("tokenizer.ggml.add_space_prefix", True),
                )
                wants_bos = True
            case "t5":
                tokenizer = cls.unigram(vocabulary, metadata)
                wants_bos = True
            case "bert":
                return cls.wordpiece(vocabulary, metadata)
            case _:
                problem = f"tokenizer model {model!r} is not supported; supported are bert, gpt2, llama, t5"
                raise LoadRefused("unsupported", problem)
        tokenizer.bos = _named(metadata, "bos", len(vocabulary))
        tokenizer.adds_bos = metadata.flag("tokenizer.ggml.add_bos_token", wants_bos) and tokenizer.bos is not None
        eos, eot, eom = (_named(metadata, name, len(vocabulary)) for name in ("eos", "eot", "eom"))
        tokenizer.ends = tokenizer._all_ends((eos, eot, eom))
        if metadata.flag("tokenizer.ggml.add_eos_token", model == "t5") and eos is not None:
            tokenizer.after = (eos,)
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
        return self._piece(self._texts[token], self._types[token])

    def is_control(self, token: int) -> bool:
        """Not text: control tokens, and those the vocabulary does not use."""
        return token >= len(self._types) or self._types[token] not in TEXT

    def special(self, text: str) -> int | None:
        """The control or user-defined token of exactly this text."""
        token = self._tokenizer.token_to_id(text)
        return token if token is not None and self._types[token] in MATCHED else None

    def parts(self, text: str) -> list[int | str]:
        """The text with its special tokens as numbers, and what is between them left as text."""
        parts = ((part, self.special(part)) for part in self._specials.split(text) if part)
        return [part if token is None else token for part, token in parts]

    @cached_property
    def _specials(self) -> re.Pattern[str]:
        kinds = zip(self._texts, self._types, strict=True)
        texts = sorted((text for text, kind in kinds if kind in MATCHED and text), key=len, reverse=True)
        return re.compile(f"({'|'.join(map(re.escape, texts))})" if texts else "(?!)")

    def _all_ends(self, named: Iterable[int | None]) -> frozenset[int]:
        known = {text: self.special(text) for text in (*_ENDS, _PLAIN_END)}
        if known[_ANSWER_END] is not None:
            del known[_MESSAGE_END]
        return frozenset(token for token in (*named, *known.values()) if token is not None)


def _scores(metadata: Metadata) -> list[float]:
    return [float(score) for score in metadata.numbers("tokenizer.ggml.scores")]


def _named(metadata: Metadata, name: str, count: int) -> int | None:
    key = f"tokenizer.ggml.{name}_token_id"
    token = metadata.integer(key, None)
    if token is not None and not 0 <= token < count:
        raise LoadRefused("bad_file", f"{key} is {token}, outside the vocabulary of {count}")
    return token


def _pre_tokenizer(metadata: Metadata) -> PreTokenizer:
    name = metadata.text("tokenizer.ggml.pre", None)
    if name not in PRE_TOKENIZERS:
        known = ", ".join(sorted(PRE_TOKENIZERS))
        what = "is missing" if name is None else f"{name!r} is unknown"
        raise LoadRefused("unsupported", f"tokenizer.ggml.pre {what}; known are {known}")
    return PRE_TOKENIZERS[name]
