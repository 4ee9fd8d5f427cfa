"""Style: how a model marks thoughts and tool calls in its text, read off its chat template."""

from collections.abc import Sequence
from dataclasses import dataclass

from ktd.daemon.chat.format import CallFormat, Script, Tags
from ktd.daemon.chat.formats import deepseek, dsml, glm, harmony, hermes, kimi, llama, mistral, qwen_coder
from ktd.daemon.chat.harmony_splitter import HarmonySplitter
from ktd.daemon.chat.splitter import Splitter
from ktd.daemon.chat.tag_splitter import TagSplitter
from ktd.daemon.chat.toolbox import Toolbox

THOUGHTS = (Tags("<think>", "</think>"), Tags("[THINK]", "[/THINK]"))

# The first whose marks are all there is taken: what has more marks comes before what has some of them.
FORMATS = (
    dsml.DSML,
    deepseek.FENCED,
    deepseek.PLAIN,
    kimi.KIMI,
    glm.GLM,
    qwen_coder.QWEN_CODER,
    hermes.HERMES,
    mistral.NAMED,
    mistral.LISTED,
    llama.LLAMA,
)


@dataclass(frozen=True, slots=True)
class Style:
    """`harmony`: everything is a message with a channel, so that neither thoughts nor calls have tags of their own."""

    thought: Tags | None = None
    calls: CallFormat | None = None
    harmony: bool = False

    @staticmethod
    def of(template: str) -> "Style":
        if _all(harmony.MARKS, template):
            return Style(harmony=True)
        return Style(
            thought=next((tags for tags in THOUGHTS if tags.closing in template), None),
            calls=next((each for each in FORMATS if _all(each.marks, template)), None),
        )

    @property
    def calls_tools(self) -> bool:
        return self.harmony or self.calls is not None

    @property
    def script(self) -> Script | None:
        """By which calls are forced."""
        return harmony.SCRIPT if self.harmony else self.calls.script if self.calls else None

    def markers(self, tools: bool) -> tuple[str, ...]:
        """Special tokens that must reach us as text; tool tags only when the client offered tools."""
        if self.harmony:
            return harmony.TAGS
        think = (self.thought.opening, self.thought.closing) if self.thought else ()
        return think + (self.calls.tags if tools and self.calls else ())

    def splitter(self, prompt: str, thinking: bool, toolbox: Toolbox) -> Splitter:
        """For the answer to a prompt, which may have begun a thought already."""
        if self.harmony:
            return HarmonySplitter(prompt, toolbox)
        return TagSplitter(self.thought, self.calls, toolbox, thinking)


def _all(marks: Sequence[str], template: str) -> bool:
    return all(mark in template for mark in marks)
