"""Our tokenizers against transformers', with small vocabularies trained here, on thousands of random texts."""

import io
import json
import re
import unicodedata
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import sentencepiece as spm
import transformers
from gguf_writer import string
from strings import SPECIALS, corpus, metadata, texts
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS
from transformers.tokenization_utils_base import generate_merges

from ktd.engine import tokenizer as ours
from ktd.engine.detokenizer import Detokenizer
from ktd.engine.errors import LoadRefused
from ktd.engine.gguf import Value
from ktd.engine.gguf.metadata import Array, ValueType
from ktd.engine.pretokenizers import PRE_TOKENIZERS

DECODED = 2000


def composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def decoded(tokenizer: ours.Tokenizer, tokens: list[int]) -> str:
    markers = frozenset(range(len(tokenizer)))
    detokenizer = Detokenizer(tokenizer, markers)
    return "".join(map(detokenizer.push, tokens)) + detokenizer.finish()


@cache
def byte_pairs(pre: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """A vocabulary and its merges, trained on texts cut as `pre` says."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = reference_split(pre)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def reference_split(pre: str) -> pre_tokenizers.PreTokenizer:
    if pre == "gpt-2":
        return pre_tokenizers.ByteLevel(add_prefix_space=False)
    split = pre_tokenizers.Split(Regex(GGUF_PRE_TOKENIZER_SPLITS[pre]), "isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def reference(pre: str) -> Tokenizer:
    """transformers' tokenizer of the family that the pre-tokenizer belongs to."""
    vocabulary, merges = byte_pairs(pre)
    kinds = {"qwen2": transformers.Qwen2Tokenizer, "qwen35": transformers.Qwen3_5Tokenizer}
    backend = kinds.get(pre, transformers.GPT2Tokenizer)(vocab=vocabulary, merges=merges).backend_tokenizer
    if pre not in kinds:
        backend.pre_tokenizer = reference_split(pre)
    backend.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in SPECIALS[1:]])
    return backend


@pytest.mark.parametrize("pre", ["qwen2", "qwen35", "deepseek-r1-qwen", "llama-bpe", "gpt-4o", "tekken", "gpt-2"])
def test_byte_level_is_that_of_transformers(pre: str) -> None:
    vocabulary, merges = byte_pairs(pre)
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    joined = [" ".join(pair) for pair in merges]
    merged = Array(ValueType.STRING, len(joined), b"".join(map(string, joined)), "merges")
    tokenizer = ours.Tokenizer.from_metadata(metadata("gpt2", tokens, pre=pre, merges=merged))
    theirs = reference(pre)
    some = texts(len(pre))
    for text, expected in zip(some, theirs.encode_batch(some, add_special_tokens=False), strict=True):
        assert tokenizer.encode(text) == expected.ids, repr(text)
    for text in some[:DECODED]:
        back = decoded(tokenizer, tokenizer.encode(text))
        assert back == text or (PRE_TOKENIZERS[pre].composes and composed(back) == composed(text))


@cache
def pieces() -> tuple[list[str], list[float]]:
    """A SentencePiece vocabulary and its scores: bytes, characters, and what merges of them made, best first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=700, show_progress=False))
    trained = json.loads(tokenizer.to_str())["model"]["vocab"]
    learned = [text for text in sorted(trained, key=trained.__getitem__) if text not in SPECIALS]
    tokens = [*SPECIALS, *(f"<0x{byte:02X}>" for byte in range(256)), *learned]
    return tokens, [0.0] * (len(tokens) - len(learned)) + [-float(i) for i in range(len(learned))]


def sentencepiece(space_first: bool) -> ours.Tokenizer:
    tokens, scores = pieces()
    return ours.Tokenizer.from_metadata(
        metadata(
            "llama",
            tokens,
            scores=Array(ValueType.FLOAT32, len(scores), np.array(scores, "<f4").tobytes(), "scores"),
            unknown_token_id=0,
            add_space_prefix=space_first,
        )
    )


def test_sentencepiece_is_that_of_transformers() -> None:
    tokens, scores = pieces()
    vocabulary = {text: token for token, text in enumerate(tokens)}
    merges = generate_merges(vocabulary, dict(zip(tokens, scores, strict=True)))
    theirs = transformers.GemmaTokenizer(vocab=vocabulary, merges=merges, bos_token="<s>", eos_token="</s>")
    backend, tokenizer = theirs.backend_tokenizer, sentencepiece(space_first=False)
    backend.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in SPECIALS[1:]])
    some = texts(31)
    for text, expected in zip(some, backend.encode_batch(some, add_special_tokens=False), strict=True):
        assert tokenizer.encode(text) == expected.ids, repr(text)
    for text in some[:DECODED]:
        assert decoded(tokenizer, tokenizer.encode(text)) == text


@pytest.mark.parametrize("cased", [False, True])
def test_wordpiece_is_that_of_transformers(cased: bool) -> None:
    """Files do not say whether capitals count; the vocabulary shows it."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<think>"]
    trained = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    trained.normalizer = normalizers.BertNormalizer(lowercase=not cased)
    trained.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=700, special_tokens=special, show_progress=False)
    trained.train_from_iterator(corpus(), trainer)
    ids = json.loads(trained.to_str())["model"]["vocab"]
    spelled = sorted(ids, key=ids.__getitem__)
    stored = [text[2:] if text.startswith("##") else f"\u2581{text}" for text in spelled[6:]]
    tokenizer = ours.Tokenizer.from_metadata(metadata("bert", [*special, *stored], unknown_token_id=1))
    theirs = transformers.BertTokenizer(vocab=ids, do_lower_case=not cased).backend_tokenizer
    theirs.add_special_tokens([AddedToken("<think>", normalized=False, special=True)])
    some = texts(33)
    expected = [encoding.ids for encoding in theirs.encode_batch(some)]
    assert [[*tokenizer.encode(text), *tokenizer.after] for text in some] == expected


@cache
def unigram() -> tuple[list[tuple[str, float]], bytes]:
    """Pieces with their scores, and the compiled normalisation (NFKC and more), as SentencePiece makes them."""
    made = io.BytesIO()
    ids = {"bos_id": 0, "pad_id": 1, "eos_id": 2, "unk_id": 3}
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()), model_writer=made, model_type="unigram", vocab_size=110, minloglevel=2, **ids
    )
    processor = spm.SentencePieceProcessor(model_proto=made.getvalue())
    pieces = [(processor.id_to_piece(id), processor.get_score(id)) for id in range(len(processor))]
    return pieces, field(field(made.getvalue(), 3), 2)  # normalizer_spec, precompiled_charsmap


def field(message: bytes, wanted: int) -> bytes:
    """The first field of this number in a message of protocol buffers."""
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        kind = key & 7
        size = {1: 8, 5: 4}.get(kind, 0)
        if kind in (0, 2):  # a number, or a length before so many bytes
            number, at = varint(message, at)
            size = number if kind == 2 else 0
        if key >> 3 == wanted:
            return message[at : at + size]
        at += size
    raise ValueError(f"no field {wanted}")


def varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while message[at] & 0x80:
        value |= (message[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | message[at] << shift, at + 1


def test_unigram_is_that_of_transformers() -> None:
    """With the normalisation that SentencePiece compiled; full-width letters, ligatures, every kind of blank."""
    pieces, characters = unigram()
    spelled, scores = zip(*pieces, strict=True)
    types = [3, 3, 3, 2, *([1] * (len(pieces) - 4))]
    tokenizer = ours.Tokenizer.from_metadata(
        metadata(
            "t5",
            list(spelled),
            token_type=Array(ValueType.INT32, len(types), np.array(types, "<i4").tobytes(), "types"),
            scores=Array(ValueType.FLOAT32, len(scores), np.array(scores, "<f4").tobytes(), "scores"),
            precompiled_charsmap=Array(ValueType.INT8, len(characters), characters, "characters"),
            unknown_token_id=3,
            bos_token_id=0,
            eos_token_id=2,
            add_bos_token=True,
        )
    )
    theirs = transformers.XLMRobertaTokenizer(vocab=pieces, _spm_precompiled_charsmap=characters).backend_tokenizer
    some = texts(34)
    expected = [encoding.ids for encoding in theirs.encode_batch(some, add_special_tokens=False)]
    assert [tokenizer.encode(text, bos=False) for text in some] == expected
    assert [*tokenizer.encode("a token"), *tokenizer.after] == theirs.encode("a token").ids
    assert tokenizer.encode("ｔｏｋｅｎ\u3000ﬁ") == tokenizer.encode("token fi")


def test_sentencepiece_with_a_space_first() -> None:
    """Of the text and of what follows a special token; by the definition, one best merge after the other."""
    tokens, scores = pieces()
    tokenizer = sentencepiece(space_first=True)
    for text in texts(32)[:400]:
        assert tokenizer.encode(text) == defined(text, tokens, scores), repr(text)


def defined(text: str, tokens: list[str], scores: list[float]) -> list[int]:
    """SentencePiece's algorithm at its plainest."""
    ids = {text: token for token, text in enumerate(tokens)}
    found: list[int] = []
    for part in re.split("(" + "|".join(map(re.escape, SPECIALS[1:])) + ")", text):
        if part in SPECIALS:
            found.append(ids[part])
        elif part:
            symbols = list("\u2581" + part.replace(" ", "\u2581"))
            while pairs := [(scores[ids[a + b]], -i) for i, (a, b) in enumerate(pairwise(symbols)) if a + b in ids]:
                at = -max(pairs)[1]
                symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
            for symbol in symbols:
                spelled = [ids[f"<0x{byte:02X}>"] for byte in symbol.encode()]
                found += [ids[symbol]] if symbol in ids else spelled
    return found


def test_unigrams_that_cannot_be_are_refused() -> None:
    scores = {"scores": Array(ValueType.FLOAT32, 6, bytes(24), "scores")}
    with pytest.raises(LoadRefused, match="no token for unknown characters"):
        ours.Tokenizer.from_metadata(metadata("t5", SPECIALS, **scores))
    with pytest.raises(LoadRefused, match="scores has 6 entries for 7 tokens"):
        ours.Tokenizer.from_metadata(metadata("t5", [*SPECIALS, "a"], unknown_token_id=0, **scores))
    for damaged in (b"abc", unigram()[1][:-5000]):
        characters = Array(ValueType.INT8, len(damaged), damaged, "characters")
        with pytest.raises(LoadRefused, match="precompiled_charsmap"):
            ours.Tokenizer.from_metadata(
                metadata("t5", SPECIALS, unknown_token_id=0, precompiled_charsmap=characters, **scores)
            )


def test_sentencepiece_without_scores_is_refused() -> None:
    tokens, _ = pieces()
    short = Array(ValueType.FLOAT32, 1, bytes(4), "scores")
    with pytest.raises(LoadRefused, match=r"scores has 1 entries for \d+ tokens"):
        ours.Tokenizer.from_metadata(metadata("llama", tokens, scores=short))


def test_ends_are_found_where_files_are_wrong() -> None:
    """A token that can only be an end is one, even if the file calls it text and names another."""
    wrong = metadata("llama", [*SPECIALS, "<|end|>", "a", "<|endoftext|>"], **flat(9))
    assert ours.Tokenizer.from_metadata(wrong).ends == {2, 4, 6, 8}
    harmony = metadata("llama", [*SPECIALS, "<|end|>", "<|return|>", "<|call|>"], **flat(9))
    assert ours.Tokenizer.from_metadata(harmony).ends == {2, 4, 7, 8}


def flat(count: int) -> dict[str, Value]:
    return {"scores": Array(ValueType.FLOAT32, count, bytes(4 * count), "scores")}


def test_kimi_cuts_chinese_apart() -> None:
    split = [pre_tokenizers.Split(Regex(s), "isolated") for s in PRE_TOKENIZERS["kimi-k2"].splits]
    cut = pre_tokenizers.Sequence(split).pre_tokenize_str("Hello世界HTTPServer's 12345カナx")
    assert [piece for piece, _ in cut] == ["Hello", "世界", "HTTPServer's", " ", "123", "45", "カナx"]


def test_starcoder_takes_digits_one_by_one() -> None:
    split = [pre_tokenizers.Split(Regex(s), "isolated") for s in PRE_TOKENIZERS["starcoder"].splits]
    cut = pre_tokenizers.Sequence(split).pre_tokenize_str("x = 42; don't")
    assert [piece for piece, _ in cut] == ["x", " =", " ", "4", "2", ";", " don", "'t"]
