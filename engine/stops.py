"""StopFilter: text up to the first stop string, and none of a stop string that is still coming."""

from collections.abc import Iterable


class StopFilter:
    """Give it text in pieces of any size: the text that comes out does not depend on how it was cut.

    The stop that is complete first ends the text; of those complete at the same character, the longest.
    """

    def __init__(self, stops: Iterable[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.found: str | None = None  # the stop that has ended the text

    @property
    def stopped(self) -> bool:
        return self.found is not None

    def push(self, text: str) -> str:
        """The text that became certain; nothing more once `stopped`."""
        if self.stopped:
            return ""
        self._held += text
        stop = self._first_stop()
        if stop is not None:
            begin, end = stop
            self.found = self._held[begin:end]
            certain, self._held = self._held[:begin], ""
        else:
            cut = self._possible_stop()
            certain, self._held = self._held[:cut], self._held[cut:]
        return certain

    def finish(self) -> str:
        """The text held back for a stop that did not come."""
        held, self._held = self._held, ""
        return held

    def _first_stop(self) -> tuple[int, int] | None:
        """Where the stop that ends first begins and ends."""
        found = [(self._held.find(stop), stop) for stop in self._stops]
        ends = [(begin + len(stop), begin) for begin, stop in found if begin >= 0]
        return min(ends)[::-1] if ends else None

    def _possible_stop(self) -> int:
        """The least index from which the rest is the beginning of a stop."""
        longest = max((len(stop) for stop in self._stops), default=1)
        for begin in range(max(0, len(self._held) - longest + 1), len(self._held)):
            if any(stop.startswith(self._held[begin:]) for stop in self._stops):
                return begin
        return len(self._held)
