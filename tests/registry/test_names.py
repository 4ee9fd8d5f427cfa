"""Model names: Ollama's grammar, its defaults and limits."""

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ktd.registry.errors import InvalidName
from ktd.registry.names import ModelName, name_from_file

ALNUM = string.ascii_letters + string.digits + "_"


def part(extra: str, longest: int) -> st.SearchStrategy[str]:
    rest = st.text(ALNUM + extra, max_size=longest - 1)
    return st.builds(str.__add__, st.sampled_from(ALNUM), rest)


NAMES = st.builds(
    lambda folders, model, tag: "/".join([*folders, model]) + tag,
    st.one_of(
        st.just([]),
        st.tuples(part("-", 80)).map(list),
        st.tuples(part("-.:", 350), part("-", 80)).map(list),
    ),
    part("-.", 80),
    st.one_of(st.just(""), part("-.", 80).map(":".__add__)),
)


@pytest.mark.parametrize(
    ("text", "parts", "shown"),
    [
        ("foo", ("registry.ollama.ai", "library", "foo", "latest"), "foo:latest"),
        ("foo:7b", ("registry.ollama.ai", "library", "foo", "7b"), "foo:7b"),
        (" me/foo \n", ("registry.ollama.ai", "me", "foo", "latest"), "me/foo:latest"),
        ("library/foo", ("registry.ollama.ai", "library", "foo", "latest"), "foo:latest"),
        ("Registry.Ollama.AI/LIBRARY/foo", ("Registry.Ollama.AI", "LIBRARY", "foo", "latest"), "foo:latest"),
        ("https://example.com/me/foo:x", ("example.com", "me", "foo", "x"), "example.com/me/foo:x"),
        (
            "localhost:5000/library/foo",
            ("localhost:5000", "library", "foo", "latest"),
            "localhost:5000/library/foo:latest",
        ),
        (
            "hf.co/unsloth/DeepSeek-R1-GGUF:IQ1_S",
            ("hf.co", "unsloth", "DeepSeek-R1-GGUF", "IQ1_S"),
            "hf.co/unsloth/DeepSeek-R1-GGUF:IQ1_S",
        ),
        ("foo:local", ("registry.ollama.ai", "library", "foo", "latest"), "foo:latest"),
        ("foo:7b:Local", ("registry.ollama.ai", "library", "foo", "7b"), "foo:7b"),
    ],
)
def test_parse(text, parts, shown):
    name = ModelName.parse(text)
    assert name.parts == parts
    assert str(name) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ":tag",
        "foo:",
        "/foo",
        "foo/",
        "a//foo",
        "a/b/c/d",
        "foo:a:b",
        "a b",
        "foo@sha256:" + "0" * 64,
        "-foo",
        ".foo",
        "..",
        "../foo",
        "a/../foo",
        "na.me/foo",
        "foo\0",
        "fo\no",
        "фу",
        "foo:tag/x:y:z/",
        "ftp://example.com/me/foo",
        "m" * 81,
        "foo:" + "t" * 81,
        "n" * 81 + "/foo",
        "h" * 351 + "/me/foo",
        "x" * 1_000_000,
    ],
)
def test_refused(text):
    with pytest.raises(InvalidName, match="invalid model name") as caught:
        ModelName.parse(text)
    assert len(str(caught.value)) < 1000


def test_limits_are_reachable():
    text = f"{'h' * 350}/{'n' * 80}/{'m' * 80}:{'t' * 80}"
    assert str(ModelName.parse(text)) == text


@settings(max_examples=2000)
@given(NAMES)
@example("a:local")
@example("a/local:local:local")
def test_parse_format_parse_is_the_identity(text):
    once = ModelName.parse(text)
    again = ModelName.parse(str(once))
    assert again == once
    assert str(again) == str(once)
    assert again.model == once.model and again.tag == once.tag


@settings(max_examples=500)
@given(NAMES)
def test_case_is_kept_and_ignored(text):
    name = ModelName.parse(text)
    for other in (text.upper(), text.lower(), text.swapcase()):
        assert ModelName.parse(other) == name
        assert hash(ModelName.parse(other)) == hash(name)
    assert text.removeprefix("https://").rstrip(":").startswith(name.model) or name.model in text


@settings(max_examples=1000)
@given(st.text(max_size=60))
def test_any_text_is_a_name_or_refused(text):
    try:
        name = ModelName.parse(text)
    except InvalidName:
        return
    assert name.key.isascii() and name.key == name.key.lower()
    assert not {"", ".", ".."} & set(name.parts)


def test_no_tag_is_latest_and_nothing_else():
    assert ModelName.parse("foo") == ModelName.parse("FOO:Latest")
    assert ModelName.parse("foo") != ModelName.parse("foo:7b")
    assert ModelName.parse("foo") != "foo:latest"


def test_case_of_known_names_is_taken_over():
    known = [ModelName.parse(text) for text in ("Me/Llama3:Big", "me/other", "Llama3")]
    assert str(ModelName.parse("ME/LLAMA3:BIG").cased_like(known)) == "Me/Llama3:Big"
    assert str(ModelName.parse("ME/LLAMA3:Small").cased_like(known)) == "Me/Llama3:Small"
    assert str(ModelName.parse("llama3:7B").cased_like(known)) == "Llama3:7B"
    assert str(ModelName.parse("New").cased_like(known)) == "New:latest"
    assert str(ModelName.parse("New").cased_like([])) == "New:latest"


def test_names_from_files():
    assert str(name_from_file("DeepSeek-R1-UD-IQ1_S")) == "DeepSeek-R1-UD-IQ1_S:latest"
    assert str(name_from_file("my model (2)")) == "my-model-2:latest"
    assert str(name_from_file("x" * 100)) == "x" * 80 + ":latest"
    with pytest.raises(InvalidName, match="no model name can be made of"):
        name_from_file("模型")
