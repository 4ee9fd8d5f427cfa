"""Memo: what was read of the database, for as long as that has not changed."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")


class Memo:
    """`version` tells of every change, whoever makes it; while it is None, nothing is remembered."""

    def __init__(self, version: Callable[[], int | None]) -> None:
        self._version = version
        self._known: tuple[int | None, dict[Hashable, Any]] = (None, {})

    def recall(self, key: Hashable, read: Callable[[], T]) -> T:
        """What `read` has returned, or returns now."""
        known = self._current()
        if key in known:
            found: T = known[key]
            return found
        value = known[key] = read()  # if the database changes meanwhile, nobody looks here any more
        return value

    def known(self, key: Hashable) -> Any | None:
        """What is remembered, if anything is. It never waits."""
        return self._current().get(key)

    def _current(self) -> dict[Hashable, Any]:
        version = self._version()
        if version is None:
            return {}
        if version != self._known[0]:
            self._known = (version, {})
        return self._known[1]
