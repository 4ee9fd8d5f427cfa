"""Which special tokens fill-in-the-middle takes."""

import headers
import pytest
from gguf_writer import string

from ktd.engine.gguf import Metadata
from ktd.engine.gguf.metadata import Array, ValueType
from ktd.registry.gaps import KNOWN, Gap, gap


def metadata(tokens: list[str], **keys: int) -> Metadata:
    texts = Array(ValueType.STRING, len(tokens), b"".join(map(string, tokens)), "tokens")
    values = {f"tokenizer.ggml.{key}_token_id": value for key, value in keys.items()}
    return headers.header({"tokenizer.ggml.tokens": texts, **values}, {}).metadata


NAMED = ["a", "<P>", "<S>", "<M>", "<fim_prefix>", "<fim_suffix>", "<fim_middle>"]


def test_what_a_file_names_comes_first() -> None:
    assert gap(metadata(NAMED, fim_pre=1, fim_suf=2, fim_mid=3)) == Gap("<P>", "<S>", "<M>")
    assert gap(metadata(NAMED, prefix=1, suffix=2, middle=3)) == Gap("<P>", "<S>", "<M>")


@pytest.mark.parametrize("keys", [{"fim_pre": 1, "fim_mid": 3}, {"fim_pre": 1, "fim_suf": 2, "fim_mid": 99}, {}])
def test_what_it_does_not_name_whole_is_known_by_its_text(keys: dict[str, int]) -> None:
    assert gap(metadata(NAMED, **keys)) == Gap(*NAMED[4:])
    assert gap(metadata(NAMED[:6], **keys)) is None


@pytest.mark.parametrize("known", KNOWN)
def test_tokens_of_known_models(known: Gap) -> None:
    assert gap(metadata(["a", known.middle, known.prefix, known.suffix])) == known
