"""Lookup: guesses that an answer goes on as its text went on before. Code that is edited, and quotes, often do."""

from collections.abc import Sequence as Items
from itertools import islice
from weakref import WeakKeyDictionary

from ktd.engine.draft import Draft, Growth
from ktd.engine.executor import Floats
from ktd.engine.sequence import Sequence

ALIKE = 3  # newest tokens that must have stood together before

Triple = tuple[int, int, int]


class Lookup:
    """Guesses `most` tokens while no more than `answers` want them; elsewhere `other` guesses, if there is one.

    The last place where the newest three tokens stood counts.
    """

    def __init__(self, most: int, answers: int, other: Draft | None = None) -> None:
        self._most = most
        self._answers = answers
        self._other = other
        self._places: WeakKeyDictionary[Sequence, Places] = WeakKeyDictionary()

    def guess(self, grown: Items[Growth], states: Floats) -> list[tuple[int, ...]]:
        none: list[tuple[int, ...]] = [()] * len(grown)
        guesses = self._other.guess(grown, states) if self._other else none
        if sum(growth.wanted > 0 for growth in grown) > self._answers:
            return guesses
        return [self._behind(growth) or guess for growth, guess in zip(grown, guesses, strict=True)]

    def _behind(self, growth: Growth) -> tuple[int, ...]:
        if not growth.wanted:
            return ()
        places = self._places.setdefault(growth.sequence, Places())
        return places.behind(growth.sequence.tokens, min(self._most, growth.wanted))


class Places:
    """Where each three tokens of a text stood last, apart from its end."""

    def __init__(self) -> None:
        self._ends: dict[Triple, int] = {}
        self._known = ALIKE  # ends before this are in the table

    def behind(self, tokens: list[int], count: int) -> tuple[int, ...]:
        """The tokens behind the last place that was as the end is now."""
        if len(tokens) < ALIKE:
            return ()
        if len(tokens) < self._known:  # its oldest tokens made way for new ones
            self._ends, self._known = {}, ALIKE
        for end in range(self._known, len(tokens)):
            self._ends[_triple(tokens, end)] = end
        self._known = max(self._known, len(tokens))
        place = self._ends.get(_triple(tokens, len(tokens)))
        return () if place is None else tuple(islice(tokens, place, place + count))


def _triple(tokens: list[int], end: int) -> Triple:
    return tokens[end - 3], tokens[end - 2], tokens[end - 1]
