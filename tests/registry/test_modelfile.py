"""Modelfiles as people write them, and as `ktd show --modelfile` prints them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktd.registry.errors import CreateRefused, ModelfileError
from ktd.registry.modelfile import Modelfile, parse
from ktd.registry.parameters import checked

WHOLE = '''\ufeff
# a comment
from  llama3:8b
PARAMETER temperature 0.7
parameter num_ctx 4096
PARAMETER stop "<|end|>"
PARAMETER stop second
PARAMETER mirostat 1
SYSTEM """You are
  "kind".

Very."""
TEMPLATE "{{ messages }}"
LICENSE one
LICENSE """two"""
MESSAGE user Hello there
MESSAGE assistant """General
Kenobi"""
REQUIRES 0.14.0
'''


def test_every_instruction():
    assert parse(WHOLE) == Modelfile(
        sources=("llama3:8b",),
        template="{{ messages }}",
        system='You are\n  "kind".\n\nVery.',
        licenses=("one", "two"),
        parameters={"temperature": 0.7, "num_ctx": 4096, "stop": ["<|end|>", "second"]},
        messages=(("user", "Hello there"), ("assistant", "General\nKenobi")),
    )


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "no FROM line"),
        ("# FROM x", "no FROM line"),
        ("FROM x\nFORM y", r'\(line 2\): command must be one of "from", '),
        ("FROM x\nMESSAGE king hi", r'message role must be one of "system", "user", or "assistant"'),
        ('FROM x\nSYSTEM """never', r"\(line 2\): .* is never closed"),
        ("FROM x\nADAPTER a", "ADAPTER is not supported"),
        ("FROM x\nPARAMETER nonsense 1", "unknown parameter 'nonsense'"),
        ("FROM x\nPARAMETER top_k 1.5", "'top_k' must be a whole number"),
        ("FROM x\nPARAMETER top_p much", "'top_p' must be a number"),
    ],
)
def test_what_cannot_be_read(text, error):
    with pytest.raises(CreateRefused, match=error):
        parse(text)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=60))
def test_no_text_breaks_the_reader(text):
    try:
        parse(f"FROM x\n{text}")
    except ModelfileError:
        pass
    except CreateRefused as error:
        assert "parameter" in str(error)


@pytest.mark.parametrize("value", [True, None, {}, [1, 2], "nan?", float("inf")])
def test_values_are_of_their_kinds(value):
    with pytest.raises(CreateRefused):
        checked({"top_k": value})
