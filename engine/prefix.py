"""PrefixCache: pages of earlier requests, found again by the tokens that lead to them."""

from collections.abc import Iterator, Sequence

from ktd.engine.pages import PagePool


class Node:
    """One full page, after the pages of its parents. The root stands for the empty prefix and has no page."""

    __slots__ = ("children", "key", "page", "parent")

    def __init__(self, parent: "Node | None", key: tuple[int, ...], page: int) -> None:
        self.parent = parent
        self.key = key
        self.page = page
        self.children: dict[tuple[int, ...], Node] = {}


class PrefixCache:
    """A tree of full pages; each node holds its page once.

    Whoever uses a node's page also holds the pages of all its parents, and touching a node touches its
    parents after it. So the oldest page that only the tree holds is always a leaf: that one goes first.
    """

    def __init__(self, pool: PagePool) -> None:
        self.root = Node(None, (), -1)
        self._pool = pool
        self._by_age: dict[Node, None] = {}  # the least recently used first

    @property
    def evictable(self) -> int:
        """How many pages `evict` could free, called again and again."""
        return sum(1 for node in self._by_age if self._pool.holders(node.page) == 1)

    def match(self, tokens: Sequence[int]) -> list[Node]:
        """The nodes of the longest known prefix of `tokens`, in whole pages."""
        node, found, step = self.root, [], self._pool.page_tokens
        for begin in range(0, len(tokens) - step + 1, step):
            child = node.children.get(tuple(tokens[begin : begin + step]))
            if child is None:
                break
            found.append(child)
            node = child
        self._touch(node)
        return found

    def insert(self, parent: Node, key: tuple[int, ...], page: int) -> Node:
        """Remember a page under its prefix. Where the same one is known already, the node keeps its page."""
        node = parent.children.get(key)
        if node is None:
            node = parent.children[key] = Node(parent, key, self._pool.share(page))
        self._touch(node)
        return node

    def evict(self) -> bool:
        """Free the least recently used page that nobody else holds; False when there is none."""
        oldest = next((node for node in self._by_age if self._pool.holders(node.page) == 1), None)
        if oldest is None:
            return False
        assert not oldest.children and oldest.parent is not None
        del oldest.parent.children[oldest.key]
        del self._by_age[oldest]
        self._pool.drop(oldest.page)
        return True

    def _touch(self, node: Node) -> None:
        for each in _upwards(node):
            self._by_age.pop(each, None)
            self._by_age[each] = None


def _upwards(node: Node) -> Iterator[Node]:
    while node.parent is not None:
        yield node
        node = node.parent
