"""Thoughts of a bounded length."""

import pytest
from answers import chat, watched

from ktd.engine.budget import Budget
from ktd.engine.loader import OpenModel
from ktd.engine.messages import Document, Grammar, Prompt, Thought

QUESTION = "What is 12 + 30?"
OPENING, CLOSING = "<think>", "</think>"
SUM = (
    '{"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"], "additionalProperties": false}'
)


def prompt(text: str, tokens: int | None, opening: str = "", grammar: Grammar | None = None) -> Prompt:
    thought = None if tokens is None else Thought(tokens, CLOSING, f"\n{CLOSING}", opening)
    return Prompt(text, markers=(OPENING, CLOSING), grammar=grammar, thought=thought)


def test_a_thought_ends_when_its_tokens_are_used(model: OpenModel) -> None:
    desk, _ = watched(model)
    asked = chat(QUESTION, think=True)
    free = desk.ask(prompt(asked, None)).text
    thought, _, answer = free.partition(CLOSING)
    for tokens in (0, 1, 5):
        cut, closed, rest = desk.ask(prompt(asked, tokens)).text.partition(f"\n{CLOSING}")
        assert closed and thought.startswith(cut) and len(cut) < len(thought)
        assert rest == answer
    enough = len(model.tokenizer.encode(thought, bos=False)) + 1
    assert desk.ask(prompt(asked, enough)).text == free


@pytest.mark.parametrize("begun", [True, False])
def test_a_thought_that_the_answer_begins_itself(model: OpenModel, begun: bool) -> None:
    """Where there is none, nothing is ended."""
    desk, _ = watched(model)
    asked = chat(QUESTION, think=True).removesuffix(f"{OPENING}\n") if begun else chat(QUESTION)
    free = desk.ask(prompt(asked, None)).text
    bounded = desk.ask(prompt(asked, 3, OPENING)).text
    assert (OPENING in free) == begun
    assert bounded == free if not begun else bounded.startswith(OPENING) and len(bounded) < len(free)


def test_a_document_comes_behind_a_thought_that_was_ended(model: OpenModel) -> None:
    desk, _ = watched(model)
    grammar = Grammar((Document(SUM),), closing=CLOSING)
    thought, closed, document = desk.ask(prompt(chat(QUESTION, think=True), 4, grammar=grammar)).text.partition(CLOSING)
    assert thought and closed and document.strip().startswith('{"sum":')


def test_a_character_is_never_cut(model: OpenModel) -> None:
    tokens, ending = (model.tokenizer.encode(text, bos=False) for text in ("\U0001f600", f"\n{CLOSING}"))
    budget = Budget(model.tokenizer, Thought(1, CLOSING, f"\n{CLOSING}"))
    assert len(tokens) > 1
    for token in tokens:
        assert budget.due() is None
        budget.accept(token)
    assert [budget.due() for _ in range(len(ending) + 1)] == [*ending, None]
