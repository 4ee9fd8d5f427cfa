"""Constraint: which tokens an answer may go on with, so that it is JSON of a schema, or texts around such JSON."""

import json
from functools import cached_property
from typing import Any

import numpy as np
from llguidance import LLMatcher, LLParserLimits, LLTokenizer, TokenizerWrapper
from numpy.typing import NDArray

from ktd.engine import _core
from ktd.engine.errors import JobFailed
from ktd.engine.messages import Grammar
from ktd.engine.tokenizer import Tokenizer

Mask = NDArray[np.uint8]

MOST_KEPT = 32
# Between JSON's tokens: without a bound a model may write blanks for ever.
_BLANKS = r"\x20|\x0A{1,2}[\x20\x09]{0,40}"
# Behind a thought models are used to an empty line.
_AFTER_THOUGHT = "BLANKS: /\\n{1,2}/"


class Constraint:
    """Feed it every token of one answer; before the first it allows what may begin one.

    Two phases: a thought, in which everything is allowed but the end of the answer, then the document.
    """

    def __init__(self, grammars: "Grammars", grammar: Grammar, matcher: LLMatcher) -> None:
        self._grammars = grammars
        self._matcher = matcher
        self._closing = grammar.closing.encode()
        self._opening = grammars.tokenizer.special(grammar.opening) if grammar.opening else None
        self._thought: bytes | None = b"" if grammar.closing and not grammar.opening else None

    @property
    def complete(self) -> bool:
        """The document is whole, and nothing may follow it."""
        return self._thought is None and self._matcher.is_stopped()

    def mask(self) -> Mask:
        """One bit per token, lowest first, as the sampler takes it."""
        if self._thought is not None:
            return self._grammars.all_but_ends
        mask = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        if self._opening is not None:
            mask = mask.copy()
            mask[self._opening // 8] |= 1 << self._opening % 8
        self._require()
        return mask

    def accept(self, token: int) -> None:
        opening, self._opening = self._opening, None
        if self._thought is not None:
            self._think(self._thought + self._grammars.tokenizer.piece(token))
        elif token == opening:
            self._thought = b""
        else:
            self._matcher.consume_token(token)
            self._require()

    def _think(self, thought: bytes) -> None:
        """A token may reach from the thought into the document."""
        _, closed, document = thought.partition(self._closing)
        if not closed:
            self._thought = thought[-len(self._closing) :]
            return
        self._thought = None
        self._matcher.consume_tokens(self._grammars.tokens.tokenize_bytes(document))
        self._require()

    def _require(self) -> None:
        if self._matcher.is_error():
            raise _core.EngineError(f"the answer cannot be kept to its format: {self._matcher.get_error()}")


class Grammars:
    """What the constraints of one model have in common: its tokens as llguidance knows them, compiled grammars."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._compiled: dict[Grammar, LLMatcher] = {}

    def constraint(self, grammar: Grammar) -> Constraint:
        """Raises JobFailed for a schema that is invalid, or that cannot be enforced."""
        if not self.tokenizer.ends:
            raise JobFailed("bad_request", "this model knows no end of an answer, so it cannot keep to a format")
        matcher = self._compiled.get(grammar) or self._compile(grammar)
        if len(self._compiled) >= MOST_KEPT:
            self._compiled.clear()
        self._compiled[grammar] = matcher
        return Constraint(self, grammar, matcher.deep_copy())

    @cached_property
    def tokens(self) -> LLTokenizer:
        """Made when first needed: it takes a moment with a large vocabulary."""
        return LLTokenizer(TokenizerWrapper(_Vocabulary(self.tokenizer)), eos_token=sorted(self.tokenizer.ends))

    @cached_property
    def all_but_ends(self) -> Mask:
        bits = np.ones(len(self.tokenizer), np.bool_)
        bits[sorted(self.tokenizer.ends)] = False
        return np.packbits(bits, bitorder="little")

    def _compile(self, grammar: Grammar) -> LLMatcher:
        documents = [
            _json(document.schema) | {"name": f"document{number}"} for number, document in enumerate(grammar.documents)
        ]
        rules = json.dumps({"grammars": [{"lark_grammar": self._rules(grammar)}, *documents]})
        matcher = LLMatcher(self.tokens, rules, log_level=0, limits=LLParserLimits(verbose_errors=False))
        if matcher.is_error():
            raise JobFailed("bad_request", f"the JSON schema cannot be enforced: {matcher.get_error()}")
        return matcher

    def _rules(self, grammar: Grammar) -> str:
        """The grammar around the documents, in llguidance's dialect of Lark."""
        before, after, between = self._text(grammar.before), self._text(grammar.after), self._text(grammar.between)
        more = "" if grammar.between is None else f"({between} item)*"
        items = [
            f"{self._text(document.before)} @document{number} {self._text(document.after)}"
            for number, document in enumerate(grammar.documents)
        ]
        blanks, rule = ("BLANKS?", _AFTER_THOUGHT) if grammar.closing else ("", "")
        return f"start: {blanks} {before} item {more} {after}\nitem: {' | '.join(items)}\n{rule}"

    def _text(self, text: str | None) -> str:
        """A text as Lark writes it, its special tokens by their numbers."""
        parts = self.tokenizer.parts(text or "")
        return " ".join(f"<[{part}]>" if isinstance(part, int) else json.dumps(part) for part in parts)


def _json(schema: str) -> dict[str, Any]:
    try:
        grammar = LLMatcher.grammar_from_json_schema(schema, overrides={"whitespace_pattern": _BLANKS})
    except ValueError as error:
        raise JobFailed("bad_request", f"the JSON schema is invalid: {error}") from error
    (document,) = json.loads(grammar)["grammars"]
    return {"json_schema": document["json_schema"]}


class _Vocabulary:
    """A tokenizer in the form that llguidance reads. What is not text can be no part of a document."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id = min(tokenizer.ends)
        self.tokens = [tokenizer.piece(token) for token in range(len(tokenizer))]
        self.special_token_ids = [token for token in range(len(tokenizer)) if tokenizer.is_control(token)]

    def __call__(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, bos=False)
