"""Answers kept to JSON schemas: whatever the model would rather say, whoever else is answered."""

import json
import re
from typing import Any

import numpy as np
import pytest
from answers import GREEDY, chat, watched
from msgspec.structs import replace

from ktd.engine.constraint import Grammars
from ktd.engine.loader import OpenModel
from ktd.engine.messages import Document, Grammar, Prompt, Sampling

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "kind": {"enum": ["cat", "dog"]},
        "tags": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3},
    },
    "required": ["name", "age", "kind", "tags"],
    "additionalProperties": False,
}
WILD = Sampling(temperature=2.0, top_k=0, top_p=1.0)
ASK = chat("Tell me about Tom.")


def prompt(schema: Any, text: str = ASK, **thought: str) -> Prompt:
    return Prompt(text, markers=("<think>", "</think>"), grammar=Grammar((Document(json.dumps(schema)),), **thought))


def is_person(text: str) -> bool:
    person = json.loads(text)
    assert list(person) == ["name", "age", "kind", "tags"]
    assert isinstance(person["name"], str) and len(person["name"]) <= 12
    assert isinstance(person["age"], int) and 0 <= person["age"] <= 150
    assert person["kind"] in ("cat", "dog")
    assert 1 <= len(person["tags"]) <= 3 and all(isinstance(tag, bool) for tag in person["tags"])
    return True


def test_a_schema_is_obeyed_at_any_temperature(model: OpenModel) -> None:
    desk, _ = watched(model)
    wild = [desk.add(prompt(PERSON), replace(WILD, seed=seed)) for seed in range(16)]
    greedy = desk.add(prompt(PERSON))
    desk.drain()
    for heard in (*wild, greedy):
        assert heard.done.reason == "stop"
        assert is_person(heard.text)
    assert len({heard.text for heard in wild}) == len(wild)


def test_free_answers_beside_them_are_untouched(model: OpenModel) -> None:
    questions = [chat("What is 12 + 30?"), chat("What is the capital of France?")]
    alone = [watched(model)[0].ask(question).text for question in questions]
    desk, watch = watched(model)
    free = [desk.add(question) for question in questions]
    kept = [desk.add(prompt(PERSON), replace(WILD, seed=seed)) for seed in (1, 2)]
    desk.drain()
    assert max(len(batch.rows) for batch in watch.batches) == 4
    assert [heard.text for heard in free] == alone
    assert all(is_person(heard.text) for heard in kept)


def test_documents_stand_between_texts(model: OpenModel) -> None:
    """Special tokens in the texts are tokens; one of the documents comes, and another where there is a text between."""
    number = Document('{"type": "integer", "minimum": 0, "maximum": 9}', "number ", "!")
    flag = Document('{"type": "boolean"}', "<｜tool▁call▁begin｜>flag\n", "<｜tool▁call▁end｜>")
    markers = ("<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁calls▁begin｜>")
    one = Grammar((number, flag), before="<｜tool▁calls▁begin｜>", after="so.")
    several = replace(one, between=" é ")
    item = r"(number \d!|<｜tool▁call▁begin｜>flag\n(true|false)<｜tool▁call▁end｜>)"
    desk, _ = watched(model)
    for seed in range(8):
        wild = replace(WILD, seed=seed, max_tokens=200)
        single = desk.ask(Prompt(ASK, markers=markers, grammar=one), wild)
        assert single.done.reason == "stop"
        assert re.fullmatch(rf"<｜tool▁calls▁begin｜>{item}so\.", single.text)
        more = desk.ask(Prompt(ASK, markers=markers, grammar=several), wild)
        assert more.done.reason == "length" or re.fullmatch(rf"<｜tool▁calls▁begin｜>{item}( é {item})*so\.", more.text)
        assert model.tokenizer.special(markers[0]) in single.done.context or "flag" not in single.text


def test_the_model_ends_its_answer_only_where_the_grammar_does(model: OpenModel) -> None:
    """Whatever the model wants to do most, here to end at once, waits for the document to be whole."""
    eager = tuple((token, 100.0) for token in model.tokenizer.ends)
    heard = watched(model)[0].ask(prompt(PERSON), replace(GREEDY, logit_bias=eager))
    assert is_person(heard.text)


def test_numbers_end_where_the_model_says(model: OpenModel) -> None:
    heard = watched(model)[0].ask(prompt({"type": "integer"}, chat("What is 12 + 30?")), replace(GREEDY, max_tokens=50))
    assert heard.done.reason == "stop"
    assert isinstance(json.loads(heard.text), int)


def test_a_thought_that_the_prompt_began_is_free(model: OpenModel) -> None:
    asked = prompt(PERSON, chat("What is 12 + 30?", think=True), closing="</think>")
    heard = watched(model)[0].ask(asked)
    thought, closed, document = heard.text.partition("</think>")
    assert thought.strip() and closed
    assert is_person(document)


def test_a_thought_that_the_model_may_begin(model: OpenModel) -> None:
    open_ended = chat("What is 12 + 30?", think=True).removesuffix("<think>\n")
    asked = prompt(PERSON, open_ended, opening="<think>", closing="</think>")
    text = watched(model)[0].ask(asked).text
    assert is_person(text.rpartition("</think>")[2])
    assert text.startswith("<think>") == ("</think>" in text)
    think = model.tokenizer.special("<think>")
    assert think is not None
    barred = watched(model)[0].ask(asked, replace(GREEDY, logit_bias=((think, -100.0),)))
    assert is_person(barred.text)


def test_a_thought_cannot_end_the_answer(model: OpenModel) -> None:
    eager = tuple((token, 100.0) for token in model.tokenizer.ends)
    asked = prompt(PERSON, chat("Hi", think=True), closing="</think>")
    heard = watched(model)[0].ask(asked, replace(GREEDY, logit_bias=eager, max_tokens=400))
    assert heard.done.reason == "length" or is_person(heard.text.partition("</think>")[2])


def test_log_probabilities_are_of_the_free_choice(model: OpenModel) -> None:
    heard = watched(model)[0].ask(prompt({"const": {"a": 1}}), replace(GREEDY, logprobs=1))
    assert json.loads(heard.text) == {"a": 1}
    assert heard.logprobs[0].piece[:1] == b"{"
    assert heard.logprobs[0].top[0].logprob > heard.logprobs[0].logprob  # the model would have begun otherwise


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ('{"type": "objct"}', "Invalid type: objct"),
        ("{", "invalid"),
        ("[1]", "invalid"),
        ('{"type": "integer", "minimum": 3, "maximum": 1}', "minimum"),
        ('{"not": {}}', "not"),
        ('{"type": "string", "pattern": "["}', "regex"),
        ('{"$ref": "http://127.0.0.1:9/schema"}', "not fetch"),
        ('{"a":' * 500 + "1" + "}" * 500, "recursion"),
    ],
)
def test_a_schema_that_cannot_be_enforced_is_refused(model: OpenModel, schema: str, text: str) -> None:
    desk, watch = watched(model)
    failed = desk.ask(Prompt(ASK, grammar=Grammar((Document(schema),)))).failed
    assert failed.kind == "bad_request"
    assert text in failed.message
    assert watch.batches == [] and desk.jobs.idle


def test_the_grammars_tokens_are_the_tokenizers(model: OpenModel) -> None:
    """But for those that begin with byte 0xFF, which no text has: there llguidance keeps its special tokens."""
    ours, theirs = model.tokenizer, Grammars(model.tokenizer).tokens
    assert theirs.vocab_size == len(ours)
    assert set(theirs.eos_tokens) == ours.ends
    for token in range(len(ours)):
        assert theirs.is_special_token(token) == (ours.is_control(token) or ours.piece(token)[:1] == b"\xff")
        if ours.piece(token)[:1] != b"\xff":
            assert theirs.decode_bytes([token]) == ours.piece(token)


def test_masks_never_allow_what_is_not_text(model: OpenModel) -> None:
    grammars = Grammars(model.tokenizer)
    constraint = grammars.constraint(Grammar((Document('{"type": "string"}'),)))
    (quote,) = (token for token in range(len(model.tokenizer)) if model.tokenizer.piece(token) == b'"')
    constraint.accept(quote)
    bits = np.unpackbits(constraint.mask(), bitorder="little")[: len(model.tokenizer)]
    control = [token for token in range(len(model.tokenizer)) if model.tokenizer.is_control(token)]
    assert bits.sum() > len(model.tokenizer) / 2
    assert not bits[control].any()
