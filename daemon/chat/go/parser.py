"""Go templates read into nodes. What Ollama's templates never use is refused by its name."""

import ast
from collections.abc import Sequence

from ktd.daemon.chat.go.errors import GoTemplateError
from ktd.daemon.chat.go.functions import FUNCTIONS
from ktd.daemon.chat.go.lexer import Action, Word, parts
from ktd.daemon.chat.go.nodes import (
    Assign,
    Body,
    Call,
    Const,
    Dot,
    Emit,
    Field,
    If,
    Leave,
    Node,
    Range,
    Text,
    Value,
    Variable,
    With,
)

_NOT_DONE = ("define", "template", "block")
_CONSTANTS: dict[str, bool | None] = {"true": True, "false": False, "nil": None}
_LAZY = ("and", "or")


def parse(template: str) -> Body:
    """Raises GoTemplateError."""
    return _Blocks(list(parts(template))).whole()


class _Blocks:
    """Nodes out of the template's parts, one after the other."""

    def __init__(self, items: list[str | Action]) -> None:
        self._items = items
        self._at = 0
        self._ranges = 0

    def whole(self) -> Body:
        body, end = self._body()
        if end is not None:
            raise GoTemplateError(f"line {end.line}: {{{{{end.words[0].text}}}}} belongs to nothing")
        return body

    def _body(self) -> tuple[Body, Action | None]:
        """Up to the `else` or `end` that closes it, or the end of the template."""
        nodes: list[Node] = []
        while self._at < len(self._items):
            item = self._items[self._at]
            self._at += 1
            if isinstance(item, str):
                nodes.extend([Text(item)] if item else [])
            elif item.words[0].text in ("else", "end"):
                return tuple(nodes), item
            else:
                nodes.append(self._node(item))
        return tuple(nodes), None

    def _node(self, action: Action) -> Node:
        first, words = action.words[0], _Words(action.line, action.words)
        if first.kind == "name":
            match first.text:
                case "if" | "with" | "range" as keyword:
                    words.take()
                    return self._block(keyword, words)
                case "break" | "continue" as word:
                    if not self._ranges:
                        raise GoTemplateError(f"line {action.line}: {{{{{word}}}}} outside of a range")
                    words.take()
                    words.done()
                    return Leave(word)
                case name if name in _NOT_DONE:
                    raise GoTemplateError(f"line {action.line}: {{{{{name}}}}} is not supported")
        if first.kind == "variable" and words.second() in (":=", "="):
            (name,), declares = words.names()
            return Assign(name, words.pipeline(), declares)
        return Emit(words.pipeline())

    def _block(self, keyword: str, words: "_Words") -> Node:
        names, declares = words.names()
        if (names and not declares) or len(names) > (2 if keyword == "range" else 1):
            raise GoTemplateError(f"line {words.line}: {keyword} may declare variables, not this")
        value = words.pipeline()
        self._ranges += keyword == "range"
        body, end = self._body()
        self._ranges -= keyword == "range"
        otherwise = self._otherwise(end, keyword, words.line)
        if keyword == "range":
            return Range(value, body, otherwise, names)
        return (With if keyword == "with" else If)(value, body, otherwise, names[0] if names else None)

    def _otherwise(self, end: Action | None, keyword: str, line: int) -> Body:
        if end is None:
            raise GoTemplateError(f"line {line}: {{{{{keyword}}}}} has no {{{{end}}}}")
        words = _Words(end.line, end.words)
        if words.take().text == "end":
            words.done()
            return ()
        if words.left:
            word = words.take()
            if word.text not in ("if", "with"):
                raise GoTemplateError(f"line {end.line}: {word.text!r} is not expected after else")
            return (self._block(word.text, words),)
        body, last = self._body()
        if last is None or last.words[0].text != "end":
            raise GoTemplateError(f"line {end.line}: {{{{else}}}} has no {{{{end}}}}")
        return body


class _Words:
    """Values out of the words of one action."""

    def __init__(self, line: int, words: Sequence[Word]) -> None:
        self.line = line
        self._words = words
        self._at = 0

    @property
    def left(self) -> bool:
        return self._at < len(self._words)

    def take(self) -> Word:
        if not self.left:
            raise GoTemplateError(f"line {self.line}: something is missing at the end")
        self._at += 1
        return self._words[self._at - 1]

    def second(self) -> str:
        return self._words[1].text if len(self._words) > 1 else ""

    def done(self) -> None:
        if self.left:
            raise GoTemplateError(f"line {self.line}: {self._words[self._at].text!r} is not expected")

    def names(self) -> tuple[tuple[str, ...], bool]:
        """The variables before `:=` or `=`, and whether they are new ones."""
        for at in range(self._at, min(self._at + 4, len(self._words))):
            if (sign := self._words[at].text) in (":=", "="):
                found = self._words[self._at : at]
                self._at = at + 1
                return tuple(word.text[1:] for word in found if word.kind == "variable"), sign == ":="
        return (), False

    def pipeline(self) -> Value:
        """The rest of the action. The value before a `|` is the last argument of what is behind it."""
        value = self._command(None)
        while self._next_is("|"):
            self.take()
            value = self._command(value)
        if not self._next_is(")"):
            self.done()
        return value

    def _command(self, last: Value | None) -> Value:
        word = self.take()
        if word.kind == "name" and word.text not in _CONSTANTS:
            return self._call(word.text, last)
        self._at -= 1
        if last is not None:
            raise GoTemplateError(f"line {self.line}: {word.text!r} is no function")
        return self._operand()

    def _call(self, name: str, last: Value | None = None) -> Value:
        if name not in FUNCTIONS and name not in _LAZY:
            raise GoTemplateError(f"line {self.line}: function {name!r} is not supported")
        arguments: list[Value] = []
        while self.left and not self._next_is("|") and not self._next_is(")"):
            arguments.append(self._operand())
        return Call(name, (*arguments, *([last] if last is not None else ())))

    def _operand(self) -> Value:
        value = self._base(self.take())
        while self.left and (word := self._words[self._at]).kind == "field" and word.joined:
            value = Field(value, self.take().text[1:])
        return value

    def _base(self, word: Word) -> Value:
        match word.kind:
            case "string":
                return Const(_unquoted(word.text))
            case "number":
                return Const(float(word.text) if "." in word.text else int(word.text))
            case "variable":
                return Variable(word.text[1:])
            case "field":
                return Field(Dot(), word.text[1:])
            case "name" if word.text in _CONSTANTS:
                return Const(_CONSTANTS[word.text])
            case "name":
                return self._call_alone(word.text)
        if word.text == ".":
            return Dot()
        if word.text == "(":
            value = self.pipeline()
            if self.take().text == ")":
                return value
        raise GoTemplateError(f"line {self.line}: {word.text!r} is not expected")

    def _call_alone(self, name: str) -> Value:
        """A function among arguments has none of its own."""
        if name not in FUNCTIONS:
            raise GoTemplateError(f"line {self.line}: function {name!r} is not supported")
        return Call(name, ())

    def _next_is(self, sign: str) -> bool:
        return self.left and self._words[self._at].kind == "sign" and self._words[self._at].text == sign


def _unquoted(text: str) -> str:
    """Go's escapes are Python's, as far as templates use them."""
    if text.startswith("`"):
        return text[1:-1]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise GoTemplateError(f"{text} is no string") from error
    return str(value)
