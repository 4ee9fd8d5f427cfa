"""PagePool: who holds which page of the KV cache."""


class PagePool:
    """Pages 0 .. count-1 of `page_tokens` cache rows each, counted by holder; a page nobody holds is free."""

    def __init__(self, count: int, page_tokens: int) -> None:
        self.page_tokens = page_tokens
        self.count = count
        self._holders = [0] * count
        self._free = list(range(count - 1, -1, -1))

    @property
    def free(self) -> int:
        return len(self._free)

    def pages_for(self, tokens: int) -> int:
        return -(-tokens // self.page_tokens)

    def holders(self, page: int) -> int:
        return self._holders[page]

    def take(self) -> int:
        """A free page, now held once. There must be one."""
        page = self._free.pop()
        self._holders[page] = 1
        return page

    def share(self, page: int) -> int:
        assert self._holders[page] > 0, "a free page has nothing to share"
        self._holders[page] += 1
        return page

    def drop(self, page: int) -> None:
        assert self._holders[page] > 0, "a free page cannot be dropped"
        self._holders[page] -= 1
        if not self._holders[page]:
            self._free.append(page)
