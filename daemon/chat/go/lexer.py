"""Go templates into texts and actions, actions into words."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ktd.daemon.chat.go.errors import GoTemplateError

_WORD = re.compile(
    r"""
      (?P<blank>\s+)
    | (?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
    | (?P<number>[+-]?(?:\d+\.\d*|\.\d+|\d+)(?![\w.]))
    | (?P<variable>\$\w*)
    | (?P<field>\.[A-Za-z_]\w*)
    | (?P<name>[A-Za-z_]\w*)
    | (?P<sign>:=|[=|(),.])
    """,
    re.VERBOSE,
)
_COMMENT = re.compile(r"/\*.*?\*/(?=\s+-\}\}|\}\})", re.DOTALL)
_ACTION_START = re.compile(r"\{\{(-(?=\s))?\s*")
_ACTION_END = re.compile(r"(\s+-|\s*)\}\}")
_BLANKS = " \t\r\n"


@dataclass(frozen=True, slots=True)
class Word:
    kind: str  # a group of _WORD
    text: str
    joined: bool  # to the word before, with no blank between


@dataclass(frozen=True, slots=True)
class Action:
    line: int
    words: tuple[Word, ...]


def parts(template: str) -> Iterator[str | Action]:
    """Texts, trimmed as the actions beside them say, and actions. Raises GoTemplateError."""
    at, trims = 0, False
    while start := _ACTION_START.search(template, at):
        line = template.count("\n", 0, start.start()) + 1
        text = template[at : start.start()]
        text = text.lstrip(_BLANKS) if trims else text
        yield text.rstrip(_BLANKS) if start[1] else text
        words, at, trims = _action(template, start.end(), line)
        if words:
            yield Action(line, words)
    yield template[at:].lstrip(_BLANKS) if trims else template[at:]


def _action(template: str, at: int, line: int) -> tuple[tuple[Word, ...], int, bool]:
    """The words, where the action ends, and whether blanks behind it are dropped."""
    if comment := _COMMENT.match(template, at):
        at = comment.end()
    words: list[Word] = []
    while not (end := _ACTION_END.match(template, at)):
        word = _WORD.match(template, at)
        if not word or word.lastgroup is None:
            rest = template[at : at + 20].split("\n")[0]
            raise GoTemplateError(f"line {line}: {rest!r} is not understood" if rest else f"line {line}: no }}}}")
        if word.lastgroup != "blank":
            words.append(Word(word.lastgroup, word[0], joined=not template[at - 1].isspace()))
        at = word.end()
    return tuple(words), end.end(), end[1].endswith("-")
