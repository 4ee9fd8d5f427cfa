import random

import demo
import headers
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from ktd.engine.detokenizer import Detokenizer
from ktd.engine.errors import LoadRefused
from ktd.engine.gguf import Gguf, Metadata, Value
from ktd.engine.pretokenizers import PRE_TOKENIZERS
from ktd.engine.tokenizer import Tokenizer
from ktd.engine.vocabulary import Vocabulary

REFERENCE = tokenizers.Tokenizer.from_file(str(demo.BUNDLE / "tokenizer.json"))
with Gguf.open(demo.Q8_0) as _gguf:
    METADATA = _gguf.metadata
DEMO = Tokenizer.from_metadata(METADATA)
BOS, EOS = 0, 1
ALL = frozenset(range(len(DEMO)))

FRAGMENTS = [
    *("<think>", "</think>", "<｜User｜>", "<｜Assistant｜>", "<｜tool▁sep｜>", "<｜end▁of▁sentence｜>", "<|EOT|>"),
    *("<｜User", "｜>", "<thi", "nk>", " ", "  ", "\n", "\n\n", " \n", "\t", "\r\n", "\u00a0", "\u3000", "\u200d"),
    *("Hello", "world", " the", "I'm", "don't", "x_y", "(foo", "a.b", "1", "12", "1234567", "٣٤", "Ⅷ", "½"),
    *(
        "你好",
        "小明",
        "カタカナ",
        "ひらがな",
        "한국어",
        "é",
        "e\u0301",
        "ß",
        "Привет",
        "שלום",
        "😀",
        "👨\u200d👩\u200d👧",
    ),
    *("!", "...", "，。", "{}", "$", "€", "+=", "[[", "\\", "\x00", "\ufffd", "\U0010ffff"),
]


def changed(**keys: Value | None) -> Metadata:
    values = {**METADATA, **{f"tokenizer.ggml.{key}": value for key, value in keys.items()}}
    return headers.header({key: value for key, value in values.items() if value is not None}, {}).metadata


def expected(text: str) -> list[int]:
    tokens: list[int] = REFERENCE.encode(text, add_special_tokens=False).ids
    return tokens if tokens[:1] == [BOS] else [BOS, *tokens]


def decoded(tokens: list[int], tokenizer: Tokenizer = DEMO, markers: frozenset[int] = frozenset()) -> str:
    detokenizer = Detokenizer(tokenizer, markers)
    return "".join(detokenizer.push(token) for token in tokens) + detokenizer.finish()


def test_equal_to_the_bundle_on_mixed_fragments() -> None:
    r = random.Random(5)
    for _ in range(4000):
        text = "".join(r.choice(FRAGMENTS) for _ in range(r.randrange(1, 30)))
        assert DEMO.encode(text) == expected(text), text


@given(st.text(max_size=60))
@settings(max_examples=500)
def test_equal_to_the_bundle_on_any_text(text: str) -> None:
    assert DEMO.encode(text) == expected(text)


def test_equal_to_the_bundle_on_what_the_model_was_trained_for() -> None:
    for item in demo.script("gen").eval_set(5):
        assert DEMO.encode(item["prompt"]) == expected(item["prompt"])


@given(st.text(max_size=60))
def test_decoding_gives_the_text_back(text: str) -> None:
    assert decoded(DEMO.encode(text, bos=False), markers=ALL) == text


@given(st.lists(st.integers(2, len(DEMO) - 1), max_size=40))
@settings(max_examples=500)
def test_pieces_add_up_and_no_character_is_split(tokens: list[int]) -> None:
    """Any tokens, also those that no text gives: what comes out step by step is what all bytes together give."""
    text = b"".join(DEMO.piece(token) for token in tokens if not DEMO.is_control(token))
    assert decoded(tokens) == text.decode(errors="replace")


def test_a_character_of_several_tokens_comes_out_once_complete() -> None:
    tokens = DEMO.encode("🦀")[1:]
    assert len(tokens) > 1
    detokenizer = Detokenizer(DEMO)
    assert [detokenizer.push(token) for token in tokens] == [""] * (len(tokens) - 1) + ["🦀"]
    assert decoded(tokens[:-1]) == "\ufffd"


def test_control_tokens_are_dropped_but_for_markers() -> None:
    user, think = DEMO.special("<｜User｜>"), DEMO.special("<think>")
    assert user is not None and think is not None
    assert decoded([user, think, EOS]) == "<think>"  # user-defined: text like any other
    assert decoded([user, EOS], markers=frozenset([user])) == "<｜User｜>"
    assert DEMO.special("Hello") is None and DEMO.special("no such token") is None


def test_special_tokens_are_told_from_the_text_between_them() -> None:
    user, think = DEMO.special("<｜User｜>"), DEMO.special("<think>")
    assert DEMO.parts("<｜User｜>a b<think><｜User｜>") == [user, "a b", think, user]
    assert DEMO.parts("<｜begin▁of▁sentence｜>") == [BOS]
    assert (DEMO.parts("plain"), DEMO.parts("")) == (["plain"], [])


def test_ids_past_the_vocabulary_are_padding() -> None:
    assert DEMO.is_control(1 << 20) and DEMO.piece(1 << 20) == b""


def test_bos_is_added_once_and_only_if_wanted() -> None:
    assert DEMO.encode("") == [BOS]
    assert DEMO.encode("<｜begin▁of▁sentence｜>a") == DEMO.encode("a")
    without = Tokenizer.from_metadata(changed(add_bos_token=False))
    assert without.encode("a") == DEMO.encode("a")[1:]
    assert without.encode("") == []
    assert not Tokenizer.from_metadata(changed(add_bos_token=None)).adds_bos
    assert Tokenizer.from_metadata(changed(add_bos_token=None, pre="llama-bpe")).adds_bos
    assert not Tokenizer.from_metadata(changed(bos_token_id=None)).adds_bos


def test_ends_are_those_of_the_file_and_the_well_known() -> None:
    eot = DEMO.special("<|EOT|>")
    assert DEMO.ends == {EOS, eot}
    assert Tokenizer.from_metadata(changed(eos_token_id=None, eom_token_id=7)).ends == {EOS, eot, 7}


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"model": "rwkv"}, "tokenizer model 'rwkv' is not supported; supported are bert, gpt2, llama, t5"),
        ({"pre": "viking"}, "tokenizer.ggml.pre 'viking' is unknown; known are chatglm-bpe, deepseek-coder"),
        ({"pre": None}, "tokenizer.ggml.pre is missing"),
        ({"eos_token_id": 1 << 30}, "tokenizer.ggml.eos_token_id is 1073741824, outside the vocabulary of 2560"),
        ({"bos_token_id": -1}, "tokenizer.ggml.bos_token_id is -1"),
    ],
)
def test_what_cannot_be_a_tokenizer_is_refused(keys: dict[str, Value | None], problem: str) -> None:
    with pytest.raises(LoadRefused, match=problem):
        Tokenizer.from_metadata(changed(**keys))


@pytest.mark.parametrize("merge", ["ab", "a  b", " ab", "a ", "a b c", "zz zz"])
def test_bad_merges_are_refused(merge: str) -> None:
    with pytest.raises(LoadRefused, match=r"tokenizer\.ggml\.merges"):
        Tokenizer.byte_level(Vocabulary(["a", "b", "ab"], [1, 1, 1]), [merge], PRE_TOKENIZERS["qwen2"])


def cut(pre: str, text: str) -> list[str]:
    """The pieces of a text, as pre-tokenizer `pre` cuts it."""
    splits = [pre_tokenizers.Split(tokenizers.Regex(s), "isolated") for s in PRE_TOKENIZERS[pre].splits]
    return [piece for piece, _ in pre_tokenizers.Sequence(splits).pre_tokenize_str(text)]


@pytest.mark.parametrize(
    ("pre", "pieces"),
    [
        ("deepseek-v3", ["123", "456", "7", " ", "8"]),
        ("deepseek-v3", ["don", "'t", " stop", "!!\n", "你好カナ", " x"]),
        ("deepseek-v3", ["a", "  ", " b", "\n\n"]),
        ("deepseek-llm", ["\n", "\n", " Hello", ",", " мир", " ", "你好", "1", "2", "!?"]),
        ("deepseek-coder", ["\n", " def", " f", "(", "x", "1", "2", "):", "+"]),
        ("qwen2", ["I", "'m", " here", " ", "1", "2", "?\n", "  ", " x"]),
        ("qwen2", ["I", "'M", " (", "x", ")"]),
        ("llama-bpe", ["a", " ", "123", "45", " don", "'t", "."]),
        ("glm4", ["123", "4"]),
    ],
)
def test_pre_tokenizers_cut_as_described(pre: str, pieces: list[str]) -> None:
    assert cut(pre, "".join(pieces)) == pieces


@pytest.mark.parametrize("name", sorted(PRE_TOKENIZERS))
def test_every_pre_tokenizer_keeps_all_text(name: str) -> None:
    r = random.Random(6)
    for _ in range(200):
        text = "".join(r.choice(FRAGMENTS) for _ in range(20))
        assert "".join(cut(name, text)) == text


def test_cased_letters_of_deepseek_llm() -> None:
    """Latin, Greek and Cyrillic letters run together; Georgian and mathematical letters do not join them."""
    assert cut("deepseek-llm", "éλж") == ["éλж"]
    assert cut("deepseek-llm", "éაé") == ["é", "ა", "é"]
    assert cut("deepseek-llm", "é𝐀é") == ["é", "𝐀", "é"]
    assert cut("deepseek-llm", "abé") == ["ab", "é"]  # the authors' punctuation runs from ":" to "~"


def test_a_whole_piece_is_taken_when_merges_are_ignored() -> None:
    vocabulary = Vocabulary(["a", "b", "c", "ab", "abc"], [1] * 5)
    assert Tokenizer.byte_level(vocabulary, ["a b"], PRE_TOKENIZERS["llama-bpe"]).encode("abc") == [4]
    assert Tokenizer.byte_level(vocabulary, ["a b"], PRE_TOKENIZERS["qwen2"]).encode("abc") == [3, 2]
