"""Runs a Go template over its data."""

from collections.abc import Iterator, Mapping
from typing import Any

from ktd.daemon.chat.go.errors import GoTemplateError
from ktd.daemon.chat.go.functions import FUNCTIONS
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
from ktd.daemon.chat.go.values import field, printed, true


class _Left(Exception):
    """Break or continue, on its way to its range."""


class Run:
    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data
        self._scopes: list[dict[str, Any]] = [{"": data}]
        self._out: list[str] = []

    def text(self, body: Body) -> str:
        """Raises GoTemplateError."""
        self._body(body, self._data, {})
        return "".join(self._out)

    def _body(self, body: Body, dot: Any, names: dict[str, Any]) -> None:
        self._scopes.append(names)
        try:
            for node in body:
                self._node(node, dot)
        finally:
            self._scopes.pop()

    def _node(self, node: Node, dot: Any) -> None:
        match node:
            case Text(text):
                self._out.append(text)
            case Emit(value):
                self._out.append(printed(self._value(value, dot)))
            case Assign(name, value, declares):
                self._assign(name, self._value(value, dot), declares)
            case If():
                self._if(node, dot)
            case Range():
                self._range(node, dot)
            case Leave(word):
                raise _Left(word)

    def _if(self, node: If, dot: Any) -> None:
        found = self._value(node.value, dot)
        names = {} if node.name is None else {node.name: found}
        inner = found if isinstance(node, With) else dot
        if true(found):
            self._body(node.body, inner, names)
        else:
            self._body(node.otherwise, dot, names)

    def _range(self, node: Range, dot: Any) -> None:
        items = list(_items(self._value(node.value, dot)))
        for item in items:
            values = item[-len(node.names) :] if node.names else ()
            try:
                self._body(node.body, item[1], dict(zip(node.names, values, strict=True)))
            except _Left as left:
                if str(left) == "break":
                    break
        if not items:
            self._body(node.otherwise, dot, {})

    def _assign(self, name: str, value: Any, declares: bool) -> None:
        scope = self._scopes[-1] if declares else self._scope(name)
        scope[name] = value

    def _scope(self, name: str) -> dict[str, Any]:
        scope = next((scope for scope in self._scopes[::-1] if name in scope), None)
        if scope is None:
            raise GoTemplateError(f"there is no variable ${name}")
        return scope

    def _value(self, value: Value, dot: Any) -> Any:
        match value:
            case Const(constant):
                return constant
            case Dot():
                return dot
            case Variable(name):
                named: Any = self._scope(name)[name]
                return named
            case Field(base, name):
                return field(self._value(base, dot), name)
            case Call("and" | "or" as function, arguments):
                return self._first(arguments, dot, wanted=function == "or")
            case Call(function, arguments):
                return self._call(function, [self._value(each, dot) for each in arguments])

    def _first(self, arguments: tuple[Value, ...], dot: Any, wanted: bool) -> Any:
        """The first value that is true (or false), else the last; those behind it are not looked at."""
        found: Any = None
        for each in arguments:
            found = self._value(each, dot)
            if true(found) == wanted:
                break
        return found

    def _call(self, function: str, arguments: list[Any]) -> Any:
        try:
            return FUNCTIONS[function](*arguments)
        except TypeError as error:
            raise GoTemplateError(f"{function} cannot be used so: {error}") from error


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    """Pairs of an index (or a key) and what is there."""
    match value:
        case None:
            return iter(())
        case list():
            return enumerate(value)
        case Mapping():
            return iter(value.items())
    raise GoTemplateError("a range needs a list")
