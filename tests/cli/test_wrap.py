"""Word wrap, seen by a terminal that knows no more than newline, cursor left and clear to the end."""

import re

from hypothesis import given
from hypothesis import strategies as st

from ktd.cli.wrap import WordWrap, cells

LEFT = re.compile(r"\x1b\[(\d+)D\x1b\[K")


class Screen:
    """Lines of characters, the last one open."""

    def __init__(self) -> None:
        self.lines: list[str] = [""]

    def write(self, text: str) -> None:
        while text:
            if match := LEFT.match(text):
                self._back(int(match[1]))
                text = text[match.end() :]
                continue
            first, text = text[0], text[1:]
            if first == "\n":
                self.lines.append("")
            else:
                self.lines[-1] += first

    def _back(self, columns: int) -> None:
        while columns > 0:
            columns -= cells(self.lines[-1][-1])
            self.lines[-1] = self.lines[-1][:-1]


def shown(pieces: list[str], width: int) -> list[str]:
    screen = Screen()
    wrap = WordWrap(screen.write, width)
    for piece in pieces:
        wrap.write(piece)
    return screen.lines


def test_words_are_kept_whole() -> None:
    assert shown(["the quick br", "own fox"], 11) == ["the quick ", "brown fox"]


def test_a_word_longer_than_a_line_is_broken() -> None:
    assert shown(["abcdefghij"], 6) == ["abcde", "fghij"]


def test_chinese_breaks_between_characters() -> None:
    assert shown(["十二加三十"], 7) == ["十二加", "三十"]


def test_a_word_stays_where_chinese_follows_it() -> None:
    assert shown([" aa十"], 4) == [" aa", "十"]


text = st.text(st.sampled_from("ab 十\n"), max_size=60)


@given(st.lists(text, max_size=6), st.integers(4, 20))
def test_nothing_is_lost_and_no_line_is_too_long(pieces: list[str], width: int) -> None:
    lines = shown(pieces, width)
    blanks = str.maketrans("", "", " \n")
    assert "".join(lines).translate(blanks) == "".join(pieces).translate(blanks)
    assert all(sum(map(cells, line)) < width for line in lines)
