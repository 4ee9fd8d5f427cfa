"""What a Go template consists of (pkg.go.dev/text/template), as far as Ollama's templates use it."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Const:
    value: str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Dot:
    pass


@dataclass(frozen=True, slots=True)
class Variable:
    """`$` has the name ""."""

    name: str


@dataclass(frozen=True, slots=True)
class Field:
    base: "Value"
    name: str


@dataclass(frozen=True, slots=True)
class Call:
    function: str
    arguments: tuple["Value", ...]


Value = Const | Dot | Variable | Field | Call


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Emit:
    value: Value


@dataclass(frozen=True, slots=True)
class Assign:
    name: str
    value: Value
    declares: bool


@dataclass(frozen=True, slots=True)
class If:
    value: Value
    body: "Body"
    otherwise: "Body" = ()
    name: str | None = None  # of the variable that holds the value within


@dataclass(frozen=True, slots=True)
class With(If):
    """As `if`, and the dot is the value."""


@dataclass(frozen=True, slots=True)
class Range:
    value: Value
    body: "Body"
    otherwise: "Body" = ()
    names: tuple[str, ...] = ()  # of the element, or of its index and the element


@dataclass(frozen=True, slots=True)
class Leave:
    """Out of the innermost range: `break`, or `continue`."""

    word: str


Node = Text | Emit | Assign | If | Range | Leave
Body = tuple[Node, ...]

_ANSWER = Field(Dot(), "Response")


def with_answer(body: Body) -> Body:
    """The template with a place for the answer at its end, if it has none."""
    return body if _cut(body)[1] else (*body, Emit(_ANSWER))


def until_answer(body: Body) -> Body:
    """The template up to the place of the answer, which is where a model goes on."""
    return _cut(body)[0]


def _cut(body: Body) -> tuple[Body, bool]:
    """The nodes up to the answer, in the order in which they are written, and whether it is there."""
    kept: list[Node] = []
    for node in body:
        found = False
        match node:
            case Emit(value):
                found = _asks(value)
            case If() | Range():
                inner, found = _cut(node.body)
                otherwise, also = ((), False) if found else _cut(node.otherwise)
                node, found = replace(node, body=inner, otherwise=otherwise), found or also
        kept.append(node)
        if found:
            return tuple(kept), True
    return tuple(kept), False


def _asks(value: Value) -> bool:
    return value == _ANSWER or (isinstance(value, Call) and any(map(_asks, value.arguments)))
