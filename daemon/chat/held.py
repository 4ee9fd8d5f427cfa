"""Held: text of a growing answer that may still turn out to be a tag, or part of one."""

_FIRST = 64


class Held:
    """However the text is cut into pieces, what is taken out of it is the same in the end."""

    def __init__(self) -> None:
        self.text = ""
        self.ended = False  # no more will come: nothing needs to be held back

    def begins(self, *starts: str, blanks: bool = True) -> bool | None:
        """Whether it begins with one of these, blanks before it left aside; None while that cannot be told.

        Without `blanks`, those within its first letters do not count either.
        """
        text = self.text.lstrip() if blanks else "".join(self.text[:_FIRST].split())
        if any(map(text.startswith, starts)):
            return True
        return None if not self.ended and any(start.startswith(text) for start in starts) else False

    def until(self, *tags: str) -> tuple[str, str | None]:
        """Take the text up to the first of the tags, and that tag; or all that cannot be part of a tag."""
        found = [(at, tag) for tag in tags if (at := self.text.find(tag)) >= 0]
        if found:
            at, tag = min(found)
            text, self.text = self.text[:at], self.text[at + len(tag) :]
            return text, tag
        at = len(self.text) - (0 if self.ended else _overlap(self.text, tags))
        text, self.text = self.text[:at], self.text[at:]
        return text, None

    def whole(self, *tags: str) -> tuple[str, str | None] | None:
        """As `until`, but all of it or nothing: None until there is one of the tags, or the text has ended."""
        if not self.ended and not any(tag in self.text for tag in tags):
            return None
        return self.until(*tags)


def _overlap(text: str, tags: tuple[str, ...]) -> int:
    """How many characters at the end of the text may be the beginning of a tag."""
    longest = max(map(len, tags), default=1) - 1
    if not longest or not any(tag[0] in text[-longest:] for tag in tags):
        return 0
    sizes = range(min(longest, len(text)), 0, -1)
    return next((size for size in sizes if any(tag.startswith(text[-size:]) for tag in tags)), 0)
