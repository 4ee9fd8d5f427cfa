"""TagSplitter: reads answers of models that put tags around thoughts and calls."""

from ktd.daemon.chat.format import CallFormat, Tags
from ktd.daemon.chat.splitter import Splitter, State
from ktd.daemon.chat.toolbox import Toolbox

_BARE_STARTS = ('{"name":', '{"function":', '{"type":"function",')


class TagSplitter(Splitter):
    """`thinking`: the prompt already began a thought."""

    def __init__(
        self,
        thought: Tags | None = None,
        calls: CallFormat | None = None,
        toolbox: Toolbox | None = None,
        thinking: bool = False,
    ) -> None:
        super().__init__(self._thinking if thinking else self._start)
        self._thought = thought
        self._calls = calls if toolbox else None
        self._toolbox = toolbox or Toolbox(())
        self._trim = thinking  # drop blanks before the next text
        self._blanks = ""  # those before a tag
        self._interrupted: State = self._content  # the state that goes on if a call is none

    def _start(self) -> bool:
        """A thought begins with its tag, at the very beginning and nowhere else."""
        begins = self._held.begins(self._thought.opening) if self._thought else False
        if begins and self._thought:
            self._held.until(self._thought.opening)
            return self._go(self._thinking, trim=True)
        return begins is not None and self._go(self._answer)

    def _thinking(self) -> bool:
        text, tag = self._until(*self._thought_end(), *self._call_tags())
        self._out.thinking(self._without_last_blanks(text, tag))
        return self._behind(tag)

    def _answer(self) -> bool:
        """Without tags, calls are known by how the answer begins."""
        if self._calls is None or not self._calls.bare:
            return self._go(self._content)
        bare = self._held.begins(*_BARE_STARTS, blanks=False)
        return bare is not None and self._go(self._bare_call if bare else self._content)

    def _content(self) -> bool:
        text, tag = self._until(*self._call_tags())
        held_back = self._calls and not (self._held.ended and tag is None)  # blanks before a call are not content
        self._out.content(self._without_last_blanks(text, tag) if held_back else text)
        return self._behind(tag)

    def _call(self) -> bool:
        """A call is held back until it is whole. What is none after all is text, so that nothing is lost."""
        assert self._calls is not None
        if (found := self._held.whole(*self._call_ends())) is None:
            return False
        text, tag = found
        if calls := self._calls.read(text, self._toolbox):
            self._out.calls(calls)
            self._go(self._content, trim=True)
            return self._behind(tag)
        self._say(self._blanks + self._calls.call.opening + text)
        self._trim = False
        self._held.text = (tag or "") + self._held.text
        return self._go(self._interrupted)

    def _bare_call(self) -> bool:
        assert self._calls is not None
        if (found := self._held.whole()) is None:
            return False
        text, _ = found
        calls = self._calls.read(text, self._toolbox)
        self._out.calls(calls)
        self._out.content("" if calls else text)
        return False

    def _behind(self, tag: str | None) -> bool:
        """To the state that a tag leads to. Those around several calls are read over."""
        if tag is None:
            return False
        if self._calls and tag == self._calls.call.opening:
            self._interrupted = self._state
            return self._go(self._call)
        if tag in self._thought_end():
            return self._go(self._answer, trim=True)
        return self._go(self._state, trim=True)

    def _go(self, state: State, trim: bool = False) -> bool:
        self._state, self._trim = state, trim or self._trim
        return True

    def _until(self, *tags: str) -> tuple[str, str | None]:
        if self._trim:
            self._held.text = self._held.text.lstrip()
        text, tag = self._held.until(*tags)
        self._trim = self._trim and not text
        return text, tag

    def _without_last_blanks(self, text: str, tag: str | None) -> str:
        """Blanks are held back like the beginning of a tag: before one they are not part of the text."""
        kept = text.rstrip()
        self._blanks = text[len(kept) :]
        if tag is None:
            self._held.text = self._blanks + self._held.text
        return kept

    def _say(self, text: str) -> None:
        (self._out.thinking if self._interrupted == self._thinking else self._out.content)(text)

    def _thought_end(self) -> tuple[str, ...]:
        return (self._thought.closing,) if self._thought else ()

    def _call_tags(self) -> tuple[str, ...]:
        """Those that end a text."""
        if self._calls is None:
            return ()
        section = self._calls.section
        return (self._calls.call.opening, *((section.opening, section.closing) if section else ()))

    def _call_ends(self) -> tuple[str, ...]:
        assert self._calls is not None
        call, section = self._calls.call, self._calls.section
        thought = self._thought_end() if self._interrupted == self._thinking else ()
        return (call.closing or call.opening, *((section.closing,) if section else ()), *thought)
